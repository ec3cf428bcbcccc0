/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options: the command line of heat2d.
 */
#ifndef HEAT2D_OPTIONS_H
#define HEAT2D_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Exit codes; --help lists them. */
enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* input, output, or a call of Recto */
    EXIT_USAGE = 2,
    EXIT_DIFFERS = 3,  /* --check found a difference */
    EXIT_CONTINUE = 75 /* RECTO_EXIT_CONTINUE: told to end before the end */
};

enum options_progress {
    OPTIONS_PROGRESS_AUTO = 0,
    OPTIONS_PROGRESS_LINE = 1, /* one line, rewritten */
    OPTIONS_PROGRESS_LOG = 2   /* a line every 10 % */
};

struct options {
    const char *input;
    const char *field;        /* dataset with the temperature at step 0 */
    const char *conductivity; /* dataset with the conductivity */
    const char *output;       /* NULL: none */
    const char *picture;      /* NULL: none */
    const char *pids;         /* NULL: none */
    int64_t steps;
    int64_t checkpoint_every; /* 0: never */
    double dt;                /* 0: the program chooses */
    bool fixed_boundary;
    bool check;
    bool json;
    bool stats;
    bool quiet;
    int progress; /* enum options_progress */
    /* For demonstrations */
    int64_t crash_step; /* -1: never */
    int64_t crash_rank;
    int64_t pause_step; /* -1: never */
    int64_t pause_seconds;
    int64_t slow; /* microseconds that each step waits */
};

enum options_action {
    OPTIONS_RUN = 0,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_WRONG /* the text says what is wrong */
};

/*
 * Reads the command line and prints nothing: every rank reads the same one,
 * and one of them is enough to complain. `wrong` receives the complaint.
 */
enum options_action options_read(int argc, char **argv, struct options *o,
                                 char *wrong, unsigned wrong_size);

/*
 * Can the outputs be written? A run of hours should not learn at its end that
 * a folder is missing. Returns 0, or -1 after a line on stderr.
 */
int options_check_outputs(const struct options *o);

/* The text of --help. */
const char *options_help(void);

#endif
