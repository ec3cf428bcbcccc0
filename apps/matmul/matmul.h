/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * matmul: C = A B for square matrices of doubles, row-major; the part of it
 * that the versions for Recto, MPI and OpenMP share.
 *
 * Work is dealt by rows: a worker (rank or thread) makes its rows of A and B,
 * and computes its rows of C. For that it needs all of B, a panel of rows at a
 * time: C += A[.., panel] B[panel, ..]. How a worker comes by other workers'
 * rows of B is the one thing in which the versions differ.
 *
 * Elements of A and B are whole numbers from -8 to 8, so that every sum is
 * exact and does not depend on its order. The answer is checked by Freivalds'
 * method ("Probabilistic machines can use less running time", IFIP 1977): for
 * random vectors x, C x must be A (B x). With MATMUL_VECTORS vectors of elements
 * from 2^10 a wrong C passes with probability 2^-40 at most.
 */
#ifndef MATMUL_H
#define MATMUL_H

#include <program.h>

enum {
    MATMUL_PANEL = 128, /* rows of B in a panel */
    MATMUL_VECTORS = 4,
    MATMUL_MAX = 1 << 15 /* C x stays below 2^53 */
};

struct matmul_options {
    int64_t n;
    int64_t threads; /* the OpenMP version's */
    bool json;
    bool spoil; /* for tests: change one element of C before the check */
};

/* Reads the command line of the program `name`. */
enum program_action matmul_options_read(struct matmul_options *o,
                                        const char *name, const char *launch,
                                        int argc, char **argv, char *wrong);
void matmul_options_help(const char *name, const char *launch);

/* What one worker does. Matrices are given by its first row of them. */
struct matmul_task {
    size_t n;
    struct program_part rows; /* the worker's */
    double *pack;             /* a tile of B in the order of its use */
};

/* -1: out of memory. */
int matmul_task_init(struct matmul_task *task, size_t n, int rank, int ranks);
void matmul_task_free(struct matmul_task *task);

/* Makes the worker's rows of A and B, and zeroes those of C. */
void matmul_fill(const struct matmul_task *task, double *a, double *b,
                 double *c);

/* Rows first .. last - 1 of B: the next panel from row k on. No panel has
 * rows of two workers. */
struct program_part matmul_panel_at(size_t n, size_t k, int ranks);

/* The worker's rows of C += A[.., panel] B[panel, ..]; `b` is the panel's first
 * row. */
void matmul_panel(const struct matmul_task *task, struct program_part panel,
                  const double *a, const double *b, double *c);

/* The worker's rows of Y = B X; `y` is its first row, of MATMUL_VECTORS. */
void matmul_vectors(const struct matmul_task *task, const double *b, double *y);

/* Number of the worker's rows in which C X is not A Y; `y` is all of Y. */
int64_t matmul_check(const struct matmul_task *task, const double *a,
                     const double *c, const double *y);

/* A sum over the worker's rows of C, modulo 2^64; the workers' add up to one
 * that does not depend on their number. */
uint64_t matmul_sum(const struct matmul_task *task, const double *c);

/* The line that says what was multiplied. */
void matmul_say(const struct program_report *report, size_t n);

/* Prints speed, checksum and verdict; returns the exit code. */
int matmul_end(const struct program_report *report, size_t n, uint64_t sum,
               int64_t wrong_rows);

#endif
