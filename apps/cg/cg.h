/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cg: conjugate gradients for A x = b; the part of it that the versions for
 * Recto, MPI and OpenMP share.
 *
 * A worker (rank or thread) has the same rows of A and of all vectors. The
 * iteration is that of Chronopoulos and Gear ("s-step iterative methods for
 * symmetric linear systems", J. Comput. Appl. Math. 25, 1989), which adds over
 * all workers once:
 *
 *     w = A r                             needs others' rows of r
 *     gamma = r.r, delta = r.w            added over all workers
 *     p = r + beta p, s = w + beta s      (cg_update)
 *     x = x + alpha p, r = r - alpha s
 *
 * How a worker comes by others' rows of r and their sums is the one thing in which
 * the versions differ. The scalars follow from the sums, so they are
 * equal on all workers.
 *
 * b is A x* for a known x*. The answer is right when |b - A x|, computed anew, is
 * at most twice what was asked for, and, where the smallest eigenvalue l of A
 * is known, |x - x*| at most |b - A x| / l.
 */
#ifndef CG_H
#define CG_H

#include "mtx.h"

struct cg_options {
    const char *file;
    double tolerance; /* |r| <= tolerance |b| */
    int64_t iterations;
    int64_t threads;
    int64_t checkpoint_every; /* iterations; 0: none, and no restart */
    bool json;
    bool spoil; /* for tests: change x before the check */
};

enum program_action cg_options_read(struct cg_options *o, const char *name,
                                    const char *launch, int argc, char **argv,
                                    char *wrong);
void cg_options_help(const char *name, const char *launch);

enum {
    CG_SUMS = 4
};

/* Sums over rows: a worker's, or all workers'. */
struct cg_sums {
    double of[CG_SUMS];
};

/* A worker's rows of the vectors; r belongs to the version, for others read
 * it. */
struct cg_vectors {
    struct program_part rows;
    double *x, *p, *s, *w, *b;
    double *r;
};

/* Allocates all but r. -1: out of memory. */
int cg_vectors_init(struct cg_vectors *v, struct program_part rows);
void cg_vectors_free(struct cg_vectors *v);

/* b = A x*, x = 0, r = b. Columns of `m` are those of the whole matrix. */
void cg_start(struct cg_vectors *v, const struct mtx_matrix *m);

/* w = A z; z[column] for the columns as `m` has them now. */
void cg_multiply(struct cg_vectors *v, const struct mtx_matrix *m,
                 const double *z);

/* r.r and r.w */
struct cg_sums cg_dots(const struct cg_vectors *v);

/* The state of the iteration, equal on all workers. */
struct cg_state {
    const struct cg_options *options;
    int64_t iteration;
    double first; /* |b|^2 */
    double gamma, alpha, beta;
    bool broken; /* A is not positive definite */
};

/* Takes the sums of all workers. true: update and go on; false: ended. */
bool cg_next(struct cg_state *state, struct cg_sums sums);

/* The four vectors of this step. */
void cg_update(struct cg_vectors *v, const struct cg_state *state);

/* For the check: when w = A x: |b - A x|^2, |x - x*|^2, |b|^2. */
struct cg_sums cg_errors(const struct cg_vectors *v);

/* The line that says what is solved. */
void cg_say(const struct program_report *report, const struct cg_options *o,
            const struct mtx_matrix *m);

/* Is the answer right? */
bool cg_right(const struct cg_state *state, struct cg_sums errors,
              double smallest);

/* Prints iterations, errors and verdict; returns the exit code. */
int cg_end(const struct program_report *report, const struct cg_state *state,
           struct cg_sums errors, double smallest);

#endif
