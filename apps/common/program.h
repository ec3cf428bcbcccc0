/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * program: what the example programs have in common: a command line, a clock,
 * equal parts, and the report of a run. Nothing here knows of Recto or MPI.
 *
 * Exit codes of every program: 0 the answer is right; 1 it is wrong, or input,
 * output or a library failed; 2 wrong option.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROGRAM_OK = 0,
    PROGRAM_FAILED = 1,
    PROGRAM_USAGE = 2
};

/* ---- the command line ---------------------------------------------------- */

enum program_kind {
    PROGRAM_FLAG,   /* bool */
    PROGRAM_COUNT,  /* int64_t from min to max */
    PROGRAM_NUMBER, /* double, finite, > 0 */
    PROGRAM_TEXT    /* const char * */
};

struct program_option {
    const char *name; /* without "--" */
    enum program_kind kind;
    void *value; /* set when the option is given */
    int64_t min;
    int64_t max;
    const char *help; /* one line; NULL ends a table of options */
};

struct program_usage {
    const char *name;   /* of the program, as in "cg-mpi" */
    const char *launch; /* how it is started, as in "mpirun -n RANKS cg-mpi" */
    const char *about;  /* lines that end in \n */
    const struct program_option *options;
    const char **operand;     /* the argument without an option; NULL: none */
    const char *operand_name; /* must be given, if there is one */
};

enum program_action {
    PROGRAM_RUN,
    PROGRAM_HELP, /* program_help prints what was asked for */
    PROGRAM_WRONG
};

enum {
    PROGRAM_LINE = 512
};

/* Reads a command line and prints nothing, since every rank reads the same
 * one. `wrong`, PROGRAM_LINE bytes, receives what is wrong. */
enum program_action program_read(const struct program_usage *usage, int argc,
                                 char **argv, char *wrong);

/* Prints the text of --help, or of --version if program_read found that. */
void program_help(const struct program_usage *usage);

/* ---- errors, time, parts ------------------------------------------------- */

/* Prints "NAME: ..." to stderr in one piece; returns -1. */
int program_fail(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Words for errno. */
const char *program_errno(void);

/* Seconds since some moment. */
double program_now(void);

/* Items first .. last - 1 of a whole. */
struct program_part {
    size_t first;
    size_t last;
};

/*
 * The part of `rank` when `items` are dealt in equal runs of whole pages, as
 * RECTO_BLOCK deals the pages of an array of items of `bytes`; in runs of single
 * items where there are few pages or an item fills pages.
 */
struct program_part program_part(size_t items, size_t bytes, int rank,
                                 int ranks);

/* ---- the report of a run ------------------------------------------------- */

enum {
    PROGRAM_PHASES = 8
};

struct program_report {
    const char *program;
    const char *version; /* "recto", "mpi" or "omp" */
    int ranks;           /* or threads */
    bool json;           /* ends with one line of JSON */
    int phases;
    struct program_phase {
        const char *name;
        double seconds;
    } phase[PROGRAM_PHASES];
};

/* A phase has ended: prints its line "time NAME 1.234 s". The one named as
 * `program_end` is told counts as the run's time. */
void program_phase(struct program_report *report, const char *name,
                   double seconds);

/* Prints "answer ok" or "answer wrong" and, if asked for, the line of JSON.
 * Returns the exit code. */
int program_end(const struct program_report *report, const char *main_phase,
                bool ok);

#endif
