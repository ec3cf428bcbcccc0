/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The `recto` command. Reads checkpoint folders without MPI and without HDF5, which
 * only lays out the files that `recto compact` and `recto export` write. Takes no lock and
 * writes nothing into a folder but requests of `recto halt`; `recto prune` and `recto
 * compact` do both. `recto run` stands in run.h.
 */
#ifndef RECTO_SRC_CLI_CLI_H
#define RECTO_SRC_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/base.h"
#include "ckpt/reader.h"
#include "ckpt/view.h"

/* What the command returns to the shell. */
enum cli_exit {
    CLI_GOOD = 0,
    CLI_DAMAGED = 1, /* something of the checkpoint is damaged or missing */
    CLI_USAGE = 2,
    CLI_NO_CHECKPOINT = 3 /* no such folder, or it holds none */
};

struct cli_request {
    char **argv; /* of the program */
    bool json;
    const char *path;
    bool has_epoch;
    uint64_t epoch;
    uint64_t second;  /* epoch of `recto diff` */
    const char *file; /* of `recto export` */
    int deflate;      /* its level; 0: none */
    struct ckpt_dir dir;
    struct ckpt_folder folder;
    const struct ckpt_manifest *manifest; /* the one that counts */
    char **locals;                        /* ls: folders of nodes */
    size_t nlocals;
};

/* Each prints to stdout and returns what the shell gets. */
enum cli_exit cli_ls(const struct cli_request *request);
/* What `ls` adds for folders of nodes: a table, or the rows of a JSON list. */
enum cli_exit cli_local(const struct cli_request *request);
enum cli_exit cli_info(const struct cli_request *request);
enum cli_exit cli_verify(const struct cli_request *request);
enum cli_exit cli_diff(const struct cli_request *request);
/* These two in a program of their own: elsewhere.c. */
enum cli_exit cli_export(const struct cli_request *request);
enum cli_exit cli_compact(const struct cli_request *request);

/* Commands with their own command lines: argv[0] is the word after `recto`. Return what the
 * shell gets. */
int cli_doctor(int argc, char **argv);
int cli_env(int argc, char **argv);
int cli_prune(int argc, char **argv);
int cli_halt(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_run(int argc, char **argv);

/* Does Recto take the variable's value? RECTO_EINVAL with a message. */
int cli_env_good(enum base_env id);

/* ---- progress.c ------------------------------------------------------------------ */

struct cli_progress {
    struct ckpt_progress told; /* hand it on; the progress stays where it is */
    const char *what;
    uint64_t done;
    uint64_t all;
    uint64_t drawn;
    bool shown;
};

/* A bar on stderr when that is a terminal, nothing else. */
void cli_progress_begin(struct cli_progress *progress, const char *what,
                        uint64_t all);
void cli_progress_end(const struct cli_progress *progress);
/* Of all objects of an epoch. */
uint64_t cli_epoch_bytes(const struct ckpt_epoch *epoch);

/* ---- text.c -------------------------------------------------------------------- */

/* The path of a program that is installed beside this one; false: it is too long, and
 * errno says so. */
bool cli_beside(const char *name, char *path, size_t size);
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void cli_json_string(FILE *out, const char *text);
/* "2026-11-20T10:00:00Z" into at least 32 bytes. */
const char *cli_time(uint64_t seconds, char *text);
/* The last error without the words "recto: " before it. */
const char *cli_last_error(void);
/* "12.5 MiB" into at least 32 bytes. */
const char *cli_size(uint64_t bytes, char *text);
/* Index of the epoch asked for, the newest by default; false, and a message: none such. */
bool cli_epoch_index(const struct cli_request *request, uint64_t *index);

#endif
