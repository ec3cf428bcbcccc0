/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank-mpi: every rank holds its vertices and the edges that end there; ranks
 * exchange those contributions that others' edges need (halo.h) and all blocks'
 * sums.
 */
#include <halo.h>
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "pagerank.h"

static const char name[] = "pagerank-mpi";
static const char launch[] = "mpirun -n RANKS pagerank-mpi";

struct solver {
    const struct pagerank_options *options;
    struct team team;
    struct graph graph;
    struct pagerank_state state;
    struct pagerank_rows rows; /* of `start`, `source` */
    uint64_t *start;
    uint32_t *source; /* own vertices from 0, then ghosts */
    struct halo halo;
    double *x;
    double *c[2];               /* with ghosts */
    struct pagerank_sums *sums; /* of all blocks */
    int *counts, *starts;       /* doubles of each rank's sums */
};

static void end(void) __attribute__((noreturn));

static void end(void)
{
    (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
    exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
}

/* ---- the team ------------------------------------------------------------ */

/* MPI counts by int. */
static int narrow(size_t count)
{
    if (count > INT_MAX) {
        (void)program_fail(name, "%zu words in one message: give more ranks",
                           count);
        end();
    }
    return (int)count;
}

static void all(struct team *t, const uint64_t *mine, size_t count,
                uint64_t *everyone)
{
    (void)t;
    (void)MPI_Allgather(mine, narrow(count), MPI_UINT64_T, everyone,
                        narrow(count), MPI_UINT64_T, MPI_COMM_WORLD);
}

static uint64_t *exchange(struct team *t, const uint64_t *words,
                          const size_t *cut, size_t *from)
{
    size_t size = (size_t)t->size;
    int *send = team_memory(t, 4 * size, sizeof *send);
    int *send_at = send + size;
    int *take = send_at + size;
    int *take_at = take + size;
    for (size_t w = 0; w < size; w++) {
        send[w] = narrow(cut[w + 1] - cut[w]);
        send_at[w] = narrow(cut[w]);
    }
    (void)MPI_Alltoall(send, 1, MPI_INT, take, 1, MPI_INT, MPI_COMM_WORLD);
    from[0] = 0;
    for (size_t w = 0; w < size; w++) {
        take_at[w] = narrow(from[w]);
        from[w + 1] = from[w] + (size_t)take[w];
    }
    uint64_t *got = team_memory(t, from[size], sizeof *got);
    (void)MPI_Alltoallv(words, send, send_at, MPI_UINT64_T, got, take, take_at,
                        MPI_UINT64_T, MPI_COMM_WORLD);
    free(send);
    return got;
}

/* ---- prepare ------------------------------------------------------------- */

static void make_halo(struct solver *s)
{
    const struct graph *g = &s->graph;
    size_t size = (size_t)s->team.size;
    struct program_part *parts = team_memory(&s->team, size, sizeof *parts);
    for (size_t w = 0; w < size; w++) {
        parts[w] = (struct program_part){g->bounds[w], g->bounds[w + 1]};
    }
    if (halo_init(&s->halo, parts, s->team.rank, s->team.size, s->source,
                  g->in_count) != 0) {
        (void)program_fail(name, "rank %d: out of memory", s->team.rank);
        end();
    }
    free(parts);
}

static void allocate_vectors(struct solver *s)
{
    struct team *t = &s->team;
    const struct graph *g = &s->graph;
    size_t size = (size_t)t->size;
    s->x = team_memory(t, s->halo.rows, sizeof *s->x);
    for (int i = 0; i < 2; i++) {
        s->c[i] =
            team_memory(t, s->halo.rows + s->halo.ghosts, sizeof *s->c[i]);
    }
    s->sums = team_memory(t, graph_blocks(g->n), sizeof *s->sums);
    s->counts = team_memory(t, 2 * size, sizeof *s->counts);
    s->starts = s->counts + size;
    for (size_t w = 0; w < size; w++) {
        s->starts[w] = (int)(2 * graph_blocks(g->bounds[w]));
        s->counts[w] = (int)(2 * graph_blocks(g->bounds[w + 1] - g->bounds[w]));
    }
    for (size_t i = 0; i < s->halo.rows; i++) {
        s->x[i] = 1.0 / (double)g->n;
    }
}

static int prepare(struct solver *s)
{
    struct team *t = &s->team;
    struct graph *g = &s->graph;
    if (graph_build(t, s->options->file, g) != 0) {
        return -1;
    }
    size_t count = g->mine.last - g->mine.first;
    s->start = team_memory(t, count + 1, sizeof *s->start);
    s->source = team_memory(t, g->in_count, sizeof *s->source);
    graph_rows(g, 0, s->start, s->source);
    s->start[count] = g->in_count;
    free(g->in);
    g->in = NULL;
    s->rows = (struct pagerank_rows){g->mine, s->start, s->source, g->degree};
    make_halo(s);
    allocate_vectors(s);
    s->state = (struct pagerank_state){.options = s->options, .n = g->n};
    return 0;
}

/* ---- iterate ------------------------------------------------------------- */

static struct pagerank_sums *my_sums(const struct solver *s)
{
    return s->sums + graph_blocks(s->graph.mine.first);
}

/* Own contributions and sums are written: gets those of others, and adds all
 * blocks' sums, in order. */
static struct pagerank_sums publish(struct solver *s, double *c)
{
    struct pagerank_sums total = {0.0, 0.0};
    halo_exchange(&s->halo, c);
    (void)MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, s->sums, s->counts,
                         s->starts, MPI_DOUBLE, MPI_COMM_WORLD);
    pagerank_add(&total, s->sums, graph_blocks(s->graph.n));
    return total;
}

static void iterate(struct solver *s)
{
    int now = 0;
    pagerank_start(&s->rows, s->x, s->c[now], my_sums(s));
    while (pagerank_next(&s->state, publish(s, s->c[now]))) {
        pagerank_step(&s->rows, &s->state, s->c[now], s->x, s->c[1 - now],
                      my_sums(s));
        now = 1 - now;
    }
}

static struct pagerank_check check(struct solver *s)
{
    pagerank_spoil(&s->rows, s->options, s->x);
    pagerank_start(&s->rows, s->x, s->c[0], my_sums(s));
    struct pagerank_sums total = publish(s, s->c[0]);
    return pagerank_verify(&s->rows, &s->state, total, s->c[0], s->x);
}

/* ---- the run ------------------------------------------------------------- */

/* Returns the exit code. */
static int run(struct solver *s)
{
    struct program_report report = {"pagerank",       "mpi", s->team.size,
                                    s->options->json, 0,     {{0}}};
    double at[4];
    at[0] = program_now();
    if (prepare(s) != 0) {
        return PROGRAM_FAILED;
    }
    if (s->team.rank == 0) {
        pagerank_say(&report, s->options, &s->graph);
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
    at[1] = program_now();
    iterate(s);
    at[2] = program_now();
    struct pagerank_check mine = check(s);
    at[3] = program_now();
    const double seconds[] = {at[1] - at[0], at[2] - at[1], at[3] - at[2]};
    const struct pagerank_answer a = {&s->team, &s->graph, &s->state, s->x};
    return pagerank_finish(&a, &report, mine, seconds);
}

static void free_solver(struct solver *s)
{
    graph_free(&s->graph);
    halo_free(&s->halo);
    free(s->start);
    free(s->source);
    free(s->x);
    free(s->c[0]);
    free(s->c[1]);
    free(s->sums);
    free(s->counts);
}

int main(int argc, char **argv)
{
    struct pagerank_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        pagerank_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        pagerank_options_help(name, launch);
        return PROGRAM_OK;
    }
    struct solver s = {
        .options = &o, .team = {0, 1, name, "rank", all, exchange, end}
    };
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &s.team.rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &s.team.size);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        code = run(&s);
        free_solver(&s);
    } else if (s.team.rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
