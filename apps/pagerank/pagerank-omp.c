/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank-omp: one process, the threads of an OpenMP team as workers.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "pagerank.h"

static const char name[] = "pagerank-omp";
static const char launch[] = "pagerank-omp";

/* What a thread shows the others, in a cache line of its own. */
struct slot {
    _Alignas(64) const uint64_t *words;
    const size_t *cut;
};

/* Shared by all threads. */
struct shared {
    const struct pagerank_options *options;
    int threads;
    struct slot *slots;            /* by thread */
    uint64_t *start;               /* n + 1 */
    uint32_t *source;              /* as many as edges */
    double *x;                     /* n */
    double *c[2];                  /* n */
    struct pagerank_sums *sums[2]; /* of all blocks */
    int code;
};

/* A thread's. */
struct worker {
    struct team team; /* first: the team's calls find the worker by it */
    struct shared *shared;
    struct graph graph;
    struct pagerank_state state;
    struct pagerank_rows rows;
};

static void end(void) __attribute__((noreturn));

static void end(void)
{
    exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
}

static void barrier(void)
{
#pragma omp barrier
}

/* ---- the team: threads read each other's words --------------------------- */

static struct slot *slots_of(struct team *t)
{
    return ((struct worker *)(void *)t)->shared->slots;
}

static void all(struct team *t, const uint64_t *mine, size_t count,
                uint64_t *everyone)
{
    struct slot *slots = slots_of(t);
    slots[t->rank].words = mine;
    barrier();
    for (size_t w = 0; w < (size_t)t->size; w++) {
        memcpy(everyone + w * count, slots[w].words, count * sizeof *mine);
    }
    barrier();
}

static uint64_t *exchange(struct team *t, const uint64_t *words,
                          const size_t *cut, size_t *from)
{
    struct slot *slots = slots_of(t);
    slots[t->rank] = (struct slot){words, cut};
    barrier();
    from[0] = 0;
    for (int w = 0; w < t->size; w++) {
        const size_t *theirs = slots[w].cut + t->rank;
        from[w + 1] = from[w] + (theirs[1] - theirs[0]);
    }
    uint64_t *got = team_memory(t, from[t->size], sizeof *got);
    for (int w = 0; w < t->size; w++) {
        memcpy(got + from[w], slots[w].words + slots[w].cut[t->rank],
               (from[w + 1] - from[w]) * sizeof *got);
    }
    barrier();
    return got;
}

/* ---- prepare ------------------------------------------------------------- */

/* One thread's, for all. */
static void allocate(struct worker *w)
{
    struct shared *s = w->shared;
    struct team *t = &w->team;
    const struct graph *g = &w->graph;
    s->start = team_memory(t, g->n + 1, sizeof *s->start);
    s->source = team_memory(t, g->edges, sizeof *s->source);
    s->x = team_memory(t, g->n, sizeof *s->x);
    for (int i = 0; i < 2; i++) {
        s->c[i] = team_memory(t, g->n, sizeof *s->c[i]);
        s->sums[i] = team_memory(t, graph_blocks(g->n), sizeof *s->sums[i]);
    }
    s->start[g->n] = g->edges;
}

static int prepare(struct worker *w)
{
    struct shared *s = w->shared;
    struct graph *g = &w->graph;
    if (graph_build(&w->team, s->options->file, g) != 0) {
        return -1;
    }
    if (w->team.rank == 0) {
        allocate(w);
    }
    barrier();
    size_t first = g->mine.first;
    graph_rows(g, g->before, s->start + first, s->source + g->before);
    free(g->in);
    g->in = NULL;
    w->rows =
        (struct pagerank_rows){g->mine, s->start + first, s->source, g->degree};
    for (size_t v = first; v < g->mine.last; v++) {
        s->x[v] = 1.0 / (double)g->n;
    }
    w->state = (struct pagerank_state){.options = s->options, .n = g->n};
    return 0;
}

/* ---- iterate ------------------------------------------------------------- */

/* As in pagerank-recto: after iteration k contributions and sums lie in c[k % 2]
 * and sums[k % 2]. */
static struct pagerank_sums publish(const struct worker *w, int which)
{
    struct pagerank_sums total = {0.0, 0.0};
    barrier();
    pagerank_add(&total, w->shared->sums[which], graph_blocks(w->graph.n));
    return total;
}

static void start(const struct worker *w, int which)
{
    const struct shared *s = w->shared;
    size_t first = w->graph.mine.first;
    pagerank_start(&w->rows, s->x + first, s->c[which] + first,
                   s->sums[which] + graph_blocks(first));
}

static void iterate(struct worker *w)
{
    const struct shared *s = w->shared;
    size_t first = w->graph.mine.first;
    int now = 0;
    start(w, now);
    while (pagerank_next(&w->state, publish(w, now))) {
        pagerank_step(&w->rows, &w->state, s->c[now], s->x + first,
                      s->c[1 - now] + first,
                      s->sums[1 - now] + graph_blocks(first));
        now = 1 - now;
    }
}

static struct pagerank_check check(const struct worker *w)
{
    const struct shared *s = w->shared;
    int now = (int)((w->state.iteration + 1) % 2);
    double *x = s->x + w->graph.mine.first;
    pagerank_spoil(&w->rows, s->options, x);
    start(w, now);
    struct pagerank_sums total = publish(w, now);
    return pagerank_verify(&w->rows, &w->state, total, s->c[now], x);
}

/* ---- the run ------------------------------------------------------------- */

/* Returns the exit code, the same on all threads. */
static int work(struct worker *w)
{
    struct shared *s = w->shared;
    struct program_report report = {"pagerank",       "omp", w->team.size,
                                    s->options->json, 0,     {{0}}};
    double at[4];
    at[0] = program_now();
    if (prepare(w) != 0) {
        return PROGRAM_FAILED;
    }
    if (w->team.rank == 0) {
        pagerank_say(&report, s->options, &w->graph);
    }
    barrier();
    at[1] = program_now();
    iterate(w);
    at[2] = program_now();
    struct pagerank_check mine = check(w);
    at[3] = program_now();
    const double seconds[] = {at[1] - at[0], at[2] - at[1], at[3] - at[2]};
    const struct pagerank_answer a = {&w->team, &w->graph, &w->state,
                                      s->x + w->graph.mine.first};
    return pagerank_finish(&a, &report, mine, seconds);
}

static void team(struct shared *s)
{
#pragma omp parallel
    {
        struct worker w = {
            .team = {omp_get_thread_num(), omp_get_num_threads(), name,
                     "thread", all, exchange, end},
            .shared = s
        };
        int code = work(&w);
        graph_free(&w.graph);
        if (w.team.rank == 0) {
            s->code = code;
        }
    }
}

static int run(struct shared *s)
{
    s->slots = aligned_alloc(_Alignof(struct slot),
                             (size_t)s->threads * sizeof *s->slots);
    if (s->slots == NULL) {
        (void)program_fail(name, "out of memory");
        return PROGRAM_FAILED;
    }
    team(s);
    free(s->slots);
    free(s->start);
    free(s->source);
    free(s->x);
    for (int i = 0; i < 2; i++) {
        free(s->c[i]);
        free(s->sums[i]);
    }
    return s->code;
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
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    omp_set_dynamic(0);
    if (o.threads > 0) {
        omp_set_num_threads((int)o.threads);
    }
    struct shared s = {.options = &o, .threads = omp_get_max_threads()};
    return run(&s);
}
