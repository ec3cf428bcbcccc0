/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the benchmarks share: options, clock, samples, meeting points.
 *
 * Map
 *   common/bench     these
 *   common/report    the tables and the JSON file
 *   common/floors    costs of the machine that two ranks measure together
 *   pages.c          bench-pages: page faults
 *   release.c        bench-release: release consistent memory
 *   scale.c          bench-scale: segments of all sizes
 *   sync.c           bench-sync: barrier, locks, atomics
 *   ckpt.c           bench-ckpt: checkpoints, restart, disk space
 *   dirty.c          bench-dirty: tracking of writes
 *   trace.c          bench-trace: recording a trace
 *   sparse.c         bench-sparse: checkpoints of arrays of which little is used
 *
 * How a number comes about. A *measure* is one thing that is timed; a program
 * has a table of them. A program runs in *rounds*. In each, every measure gets
 * *samples*, on one rank, of which the quantiles are kept. So the figures of
 * Recto and their floors alternate, and what disturbs the machine for a while
 * disturbs both. A ratio is formed per round; the report gives the median of
 * the rounds.
 *
 * Caveats
 * - Timing decides nothing: a benchmark fails only on wrong data or an error.
 * - All ranks call these functions in the same order.
 */
#ifndef RECTO_BENCH_H
#define RECTO_BENCH_H

#include <recto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- failure ----------------------------------------------------------------- */

/* Also while Recto is not started. */
int bench_rank(void);

/* Prints one line and ends the job. */
_Noreturn void bench_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* For calls of Recto that return a code: its last message is the reason. */
#define BENCH_OK(call)                                                         \
    do {                                                                       \
        if ((call) < 0) {                                                      \
            bench_fail("%s: %s", #call, recto_last_error());                   \
        }                                                                      \
    } while (0)

/* Zeroes; never NULL. Free it. */
void *bench_memory(size_t count, size_t bytes);

/* ---- clock ------------------------------------------------------------------- */

uint64_t bench_now(void); /* nanoseconds */

void bench_sleep(long microseconds);

/* ---- options ----------------------------------------------------------------- */

struct bench_options {
    int rounds;
    bool quick;
    uint64_t size;         /* bytes of shared memory */
    uint64_t private_size; /* bench-ckpt: protected bytes per rank */
    const char *dir;       /* bench-ckpt: where checkpoints go */
    const char *json;      /* file to write, or NULL */
};

/*
 * Reads the command line. What is not given stays as it is in *o, except that
 * `rounds` and `size` 0 mean the caller's default. --help and --version end the
 * program, as does a wrong option. `files`: --dir and --private are allowed. Before
 * MPI_Init.
 */
void bench_options_read(struct bench_options *o, int argc, char **argv,
                        const char *help, bool files);

#define BENCH_OPTIONS_HELP                                                     \
    "  --quick       a short run: less data, fewer rounds\n"                   \
    "  --repeat N    rounds\n"                                                 \
    "  --json FILE   write all numbers to FILE as well\n"                      \
    "  --help, --version\n"

/* ---- meeting ----------------------------------------------------------------- */

/*
 * A barrier that waits asleep, so that a rank which has nothing to do takes no
 * core from the one that measures. It lasts up to 0.2 ms longer than a
 * barrier.
 */
void bench_meet(void);

/* ---- random order ------------------------------------------------------------ */

/* 0 .. count - 1 in an order that follows from `seed`, not 0. Free it. */
uint64_t *bench_order(uint64_t count, uint64_t seed);

/* ---- samples and rounds ------------------------------------------------------ */

struct bench_quantiles {
    double low; /* 10 % of the samples are below */
    double median;
    double high; /* 90 % are below */
};

struct bench_measure {
    const char *name;
    const char *unit; /* of all its samples: "us", "ms", "MiB" */
    double *samples;  /* of this round */
    size_t count;
    size_t room;
    struct bench_quantiles *rounds; /* one a round, the same on all ranks */
    int rounds_done;
};

void bench_sample(struct bench_measure *m, double value);

/* The time since `start` in the measure's unit, divided by `operations`. */
void bench_sample_time(struct bench_measure *m, uint64_t start,
                       double operations);

/* A collective operation took until its last rank: the longest of the ranks'
 * times since `start` is the sample, on all of them. */
void bench_sample_longest(struct bench_measure *m, uint64_t start);

/* Ends a round of a measure: the samples of `rank` become its quantiles. */
void bench_round(struct bench_measure *m, int rank);

/* Sorts the values. `part` between 0 and 1; NaN when there are none. */
double bench_quantile(double *values, size_t count, double part);

void bench_measures_free(struct bench_measure *m, int count);

#endif
