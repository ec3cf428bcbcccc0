/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank: the ranks of a graph's vertices (S. Brin, L. Page, "The anatomy of a
 * large-scale hypertextual web search engine", WWW7, 1998) by power iteration; the
 * part of it that the versions for Recto, MPI and OpenMP share.
 *
 * With damping d, n vertices, and D the ranks of vertices from which no edge leads:
 *
 *     x'[v] = (1 - d) / n + d D / n + d * sum over edges u -> v of x[u] / edges of u
 *
 * from x = 1 / n until the ranks move, in all, by no more than the tolerance.
 *
 * A worker (rank or thread) has a range of vertices with the edges that end there
 * (graph.h), and pulls: it adds what its vertices get, c[u] = x[u] / edges of u,
 * the *contributions*, most of which are others'. How it comes by those, and by
 * the sums of others' blocks, is the one thing in which the versions differ.
 *
 * Answers do not depend on version or workers, to the last bit: a vertex's
 * contributions are added in the order of the vertices that they come from; D and
 * the movement are added by blocks of GRAPH_BLOCK vertices, then over all blocks,
 * in order, by every worker.
 *
 * The answer is right when the ranks add up to 1, and the equation above, computed
 * anew, holds as well as was asked for.
 */
#ifndef PAGERANK_H
#define PAGERANK_H

#include "graph.h"

struct pagerank_options {
    const char *file;
    double damping;
    double tolerance;
    int64_t iterations;
    int64_t top;
    const char *output;
    int64_t checkpoint_every; /* the Recto version's; 0: never */
    int64_t threads;          /* the OpenMP version's */
    bool check;
    bool json;
    bool spoil; /* for tests: change a rank before the check */
};

enum program_action pagerank_options_read(struct pagerank_options *o,
                                          const char *name, const char *launch,
                                          int argc, char **argv, char *wrong);
void pagerank_options_help(const char *name, const char *launch);

/* ---- the iteration ------------------------------------------------------- */

/* Vertices part.first + i, i from 0. */
struct pagerank_rows {
    struct program_part part;
    const uint64_t *start;  /* edges start[i] .. start[i + 1] - 1 end there */
    const uint32_t *source; /* and come from source[...] */
    const uint32_t *degree; /* edges that begin there */
};

/* Over vertices: of a block, or of all. */
struct pagerank_sums {
    double stuck; /* D */
    double moved; /* sum of |x' - x| */
};

/* The state of the iteration, equal on all workers. */
struct pagerank_state {
    const struct pagerank_options *options;
    size_t n;
    int64_t iteration; /* how many there have been */
    double base;       /* what every vertex gets */
    double moved;      /* by the last iteration */
};

/* Contributions c[i] and the blocks' sums, from the ranks x[i] of a worker's
 * vertices. What the ranks moved is not known then: infinite. */
void pagerank_start(const struct pagerank_rows *rows, const double *x,
                    double *c, struct pagerank_sums *blocks);

/* An iteration: new ranks x[i], contributions c[i] and blocks' sums from the old
 * contributions of all, z[source]. */
void pagerank_step(const struct pagerank_rows *rows,
                   struct pagerank_state *state, const double *z, double *x,
                   double *c, struct pagerank_sums *blocks);

/* Adds sums of blocks, in order. */
void pagerank_add(struct pagerank_sums *all, const struct pagerank_sums *blocks,
                  size_t count);

/* Takes the sums of all blocks, from pagerank_start or pagerank_step. true: go on
 * with a step; false: ended. */
bool pagerank_next(struct pagerank_state *state, struct pagerank_sums all);

/* ---- the answer ---------------------------------------------------------- */

/* A worker's ranks, with what is needed to tell whose they are. */
struct pagerank_answer {
    struct team *team;
    const struct graph *graph;
    const struct pagerank_state *state;
    const double *x; /* of graph->mine */
};

/* A worker's part of the check: sum of its ranks; sum of |x - x'|, where x' is what
 * the equation makes of contributions `z` and of the sums of all blocks, both from
 * pagerank_start of x. */
struct pagerank_check {
    double sum;
    double residual;
};

struct pagerank_check pagerank_verify(const struct pagerank_rows *rows,
                                      const struct pagerank_state *state,
                                      struct pagerank_sums all, const double *z,
                                      const double *x);

/* --spoil */
void pagerank_spoil(const struct pagerank_rows *rows,
                    const struct pagerank_options *o, double *x);

/* The line that says what is ranked; worker 0's. */
void pagerank_say(const struct program_report *report,
                  const struct pagerank_options *o, const struct graph *g);

/* What follows the check: comparison with a serial iteration, the output file, and
 * on worker 0 the report. `seconds` of read, iterate, check. Returns the exit code,
 * the same on all workers. Collective. */
int pagerank_finish(const struct pagerank_answer *a,
                    struct program_report *report, struct pagerank_check mine,
                    const double seconds[3]);

#endif
