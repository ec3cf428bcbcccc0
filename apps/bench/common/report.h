/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a benchmark leaves: two tables on stdout and, with --json, a file that
 * holds all rounds, the machine and the settings.
 *
 * A *row* sets a figure of Recto against its floor: a measure of the same run,
 * or the sum of several.
 */
#ifndef RECTO_BENCH_REPORT_H
#define RECTO_BENCH_REPORT_H

#include "bench.h"

enum {
    REPORT_FLOORS = 3, /* measures that a floor is made of, at most */
    REPORT_NONE = -1
};

struct report_row {
    int figure;               /* index into the measures */
    int floor[REPORT_FLOORS]; /* likewise; filled up with REPORT_NONE */
};

struct report {
    const char *program;
    const struct bench_options *options;
    const struct bench_measure *measures;
    int measures_count;
    const struct report_row *rows;
    int rows_count;
    const char *size_is; /* what options->size counts, NULL: shared bytes */
    int ranks;           /* these by report_begin */
    int domains;
    double load_before; /* load average of a minute */
};

/* While Recto runs. */
void report_begin(struct report *r);

/* Called by all ranks; rank 0 writes. */
void report_all(const struct report *r);

#endif
