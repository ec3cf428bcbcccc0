/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank-recto: the graph, ranks, contributions and sums lie in shared memory.
 * A rank writes what belongs to its vertices, and reads others' by plain loads.
 * Pages have their home with the rank that owns their vertices: it touches them
 * first.
 *
 * Invariants
 * 1. A rank writes its own vertices' elements and its own blocks' sums only.
 * 2. The graph is written before the first barrier of `iterate`, then read.
 * 3. After iteration k contributions and sums lie in c[k % 2] and sums[k % 2]; the
 *    others are free to be written by iteration k + 1. One barrier ends each
 *    iteration: nobody is more than one iteration ahead.
 * 4. x and `run` are all that a checkpoint holds: c and sums follow from x. The
 *    graph is made anew from the file, for any number of ranks.
 */
#include <inttypes.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagerank.h"

static const char name[] = "pagerank-recto";
static const char launch[] = "mpirun -n RANKS pagerank-recto";

enum {
    PAGE = 4096,
    WORDS = PAGE / sizeof(uint64_t)
};

/* What a checkpoint knows of its run. Rank 0 writes it. */
struct run {
    uint64_t fingerprint; /* of the graph */
    double damping;
    int64_t iteration;
    double moved; /* by the last iteration */
};

/* Blocks of others' contributions that this rank reads. */
struct reach {
    struct program_part *runs; /* of blocks, rising */
    size_t count;
    size_t first; /* to be fetched first: the one behind this rank's blocks */
};

struct solver {
    const struct pagerank_options *options;
    struct team team;
    struct graph graph;
    struct pagerank_state state;
    struct pagerank_rows rows;
    struct reach reach;
    size_t *sums_at; /* each rank's from a new page; size + 1 */
    /* Shared; n elements, where nothing else is said. */
    uint64_t *start;  /* n + 1 */
    uint32_t *source; /* as many as edges */
    uint32_t *degree;
    double *x;
    double *c[2];
    struct pagerank_sums *sums[2]; /* rank w's blocks from sums_at[w] */
    struct run *run;
};

/* ---- errors -------------------------------------------------------------- */

static void end(void) __attribute__((noreturn));

static void end(void)
{
    exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
}

/* Collective calls fail on all ranks alike, so one of them says why, and all
 * end: nothing is left to be done. */
static void library_failed(void)
{
    if (recto_rank() <= 0) {
        (void)program_fail(name, "%s", recto_last_error());
    }
    end();
}

static void must(int code)
{
    if (code < 0) {
        library_failed();
    }
}

/* At home, page by page, with the rank that first writes it. */
static void *allocate(const char *what, recto_type type, uint64_t count,
                      unsigned flags)
{
    const recto_attr attr = {
        .placement = RECTO_FIRST_TOUCH, .granule = PAGE, .flags = flags};
    uint64_t dims[] = {count > 0 ? count : 1};
    void *p = recto_array(what, type, 1, dims, &attr);
    if (p == NULL) {
        library_failed();
    }
    return p;
}

static void release(void *p)
{
    must(recto_free(p));
}

/* ---- the team: words in shared memory ------------------------------------ */

/* Each rank's words from a new page. */
static size_t padded(size_t words)
{
    return (words + WORDS - 1) / WORDS * WORDS;
}

static void all(struct team *t, const uint64_t *mine, size_t count,
                uint64_t *everyone)
{
    size_t row = padded(count);
    uint64_t *table = allocate("all", RECTO_UINT64, row * (size_t)t->size,
                               RECTO_NO_CHECKPOINT);
    memcpy(table + row * (size_t)t->rank, mine, count * sizeof *mine);
    must(recto_barrier());
    for (size_t w = 0; w < (size_t)t->size; w++) {
        memcpy(everyone + w * count, table + w * row, count * sizeof *mine);
    }
    release(table);
}

/* Words are laid out, and each takes what is for it. */
static uint64_t *exchange(struct team *t, const uint64_t *words,
                          const size_t *cut, size_t *from)
{
    size_t size = (size_t)t->size;
    size_t rank = (size_t)t->rank;
    uint64_t *mine = team_memory(t, (size + 1) * (size + 2), sizeof *mine);
    uint64_t *cuts = mine + size + 1; /* of rank w: cuts[w * (size + 1)] */
    for (size_t w = 0; w <= size; w++) {
        mine[w] = cut[w];
    }
    all(t, mine, size + 1, cuts);
    size_t total = 0;
    size_t *begin = team_memory(t, size, sizeof *begin); /* of rank w's words */
    from[0] = 0;
    for (size_t w = 0; w < size; w++) {
        const uint64_t *row = cuts + w * (size + 1);
        begin[w] = total;
        total += padded(row[size]);
        from[w + 1] = from[w] + (row[rank + 1] - row[rank]);
    }
    uint64_t *table =
        allocate("exchange", RECTO_UINT64, total, RECTO_NO_CHECKPOINT);
    memcpy(table + begin[rank], words, cut[size] * sizeof *words);
    must(recto_barrier());
    uint64_t *got = team_memory(t, from[size], sizeof *got);
    for (size_t i = 0; i < size; i++) {
        size_t w = (rank + i) % size; /* not all from the same rank at once */
        const uint64_t *theirs = table + begin[w] + cuts[w * (size + 1) + rank];
        size_t bytes = (from[w + 1] - from[w]) * sizeof *got;
        (void)recto_prefetch(theirs, bytes);
        memcpy(got + from[w], theirs, bytes);
    }
    release(table);
    free(begin);
    free(mine);
    return got;
}

/* ---- prepare ------------------------------------------------------------- */

/* The rows of this rank's vertices go into shared memory. */
static void share_graph(struct solver *s)
{
    struct graph *g = &s->graph;
    size_t first = g->mine.first;
    size_t count = g->mine.last - first;
    s->start = allocate("start", RECTO_UINT64, g->n + 1, RECTO_NO_CHECKPOINT);
    s->source = allocate("source", RECTO_UINT32, g->edges, RECTO_NO_CHECKPOINT);
    s->degree = allocate("degree", RECTO_UINT32, g->n, RECTO_NO_CHECKPOINT);
    graph_rows(g, g->before, s->start + first, s->source + g->before);
    if (s->team.rank == s->team.size - 1) {
        s->start[g->n] = g->edges;
    }
    memcpy(s->degree + first, g->degree, count * sizeof *s->degree);
    s->rows = (struct pagerank_rows){g->mine, s->start + first, s->source,
                                     s->degree + first};
}

/* Which blocks of others this rank needs, as runs. */
static void find_reach(struct solver *s)
{
    const struct graph *g = &s->graph;
    struct reach *r = &s->reach;
    size_t blocks = graph_blocks(g->n);
    bool *needed = team_memory(&s->team, blocks + 1, sizeof *needed);
    for (size_t k = 0; k < g->in_count; k++) {
        needed[(uint32_t)g->in[k] / GRAPH_BLOCK] = true;
    }
    for (size_t b = g->mine.first / GRAPH_BLOCK; b < graph_blocks(g->mine.last);
         b++) {
        needed[b] = false;
    }
    r->runs = team_memory(&s->team, blocks / 2 + 1, sizeof *r->runs);
    for (size_t b = 0; b < blocks; b++) {
        if (needed[b]) {
            if (b == 0 || !needed[b - 1]) {
                r->runs[r->count++].first = b;
            }
            r->runs[r->count - 1].last = b + 1;
        }
    }
    while (r->first < r->count &&
           r->runs[r->first].first * GRAPH_BLOCK < g->mine.first) {
        r->first++;
    }
    free(needed);
}

/* Where each rank's sums lie. */
static void place_sums(struct solver *s)
{
    enum {
        UNIT = PAGE / sizeof(struct pagerank_sums)
    };
    size_t size = (size_t)s->team.size;
    s->sums_at = team_memory(&s->team, size + 1, sizeof *s->sums_at);
    for (size_t w = 0; w < size; w++) {
        size_t count = s->graph.bounds[w + 1] - s->graph.bounds[w];
        s->sums_at[w + 1] =
            s->sums_at[w] + (graph_blocks(count) + UNIT - 1) / UNIT * UNIT;
    }
}

static void allocate_vectors(struct solver *s)
{
    place_sums(s);
    size_t sums = s->sums_at[s->team.size];
    s->x = allocate("rank", RECTO_DOUBLE, s->graph.n, 0);
    s->run = recto_alloc("run", sizeof *s->run, NULL);
    if (s->run == NULL) {
        library_failed();
    }
    for (int i = 0; i < 2; i++) {
        char what[32];
        (void)snprintf(what, sizeof what, "contribution/%d", i);
        s->c[i] = allocate(what, RECTO_DOUBLE, s->graph.n, RECTO_NO_CHECKPOINT);
        (void)snprintf(what, sizeof what, "sums/%d", i);
        s->sums[i] =
            allocate(what, RECTO_DOUBLE, 2 * sums, RECTO_NO_CHECKPOINT);
    }
}

/* Is the restored run this one? */
static int examine(const struct solver *s)
{
    static const char remedy[] =
        "give the same options, or another folder in RECTO_CKPT_DIR";
    const struct pagerank_options *o = s->options;
    const char *wrong = NULL;
    if (s->run->fingerprint != s->graph.fingerprint) {
        wrong = "of another graph";
    } else if (s->run->damping != o->damping) {
        wrong = "of a run with another --damping";
    } else if (s->run->iteration > o->iterations) {
        wrong = "past --iterations";
    }
    if (wrong != NULL && s->team.rank == 0) {
        (void)program_fail(
            name, "the checkpoint is %s (it is at iteration %" PRId64 "); %s",
            wrong, s->run->iteration, remedy);
    }
    return wrong == NULL ? 0 : -1;
}

/* x = 1 / n, or what the checkpoint holds. */
static int begin(struct solver *s)
{
    for (size_t v = s->graph.mine.first; v < s->graph.mine.last; v++) {
        s->x[v] = 1.0 / (double)s->graph.n;
    }
    if (s->options->checkpoint_every > 0) {
        must(recto_barrier()); /* all pages of x have their homes */
        int64_t epoch = -1;
        int restored = recto_restart(&epoch);
        must(restored);
        if (restored > 0) {
            if (examine(s) != 0) {
                return -1;
            }
            s->state.iteration = s->run->iteration;
            if (s->team.rank == 0) {
                (void)printf("restarted from epoch %" PRId64
                             " at iteration %" PRId64 "\n",
                             epoch, s->state.iteration);
            }
            return 0;
        }
    }
    if (s->team.rank == 0) {
        *s->run = (struct run){.fingerprint = s->graph.fingerprint,
                               .damping = s->options->damping};
    }
    return 0;
}

static int prepare(struct solver *s)
{
    if (graph_build(&s->team, s->options->file, &s->graph) != 0) {
        return -1;
    }
    share_graph(s);
    find_reach(s);
    free(s->graph.in);
    s->graph.in = NULL;
    allocate_vectors(s);
    s->state = (struct pagerank_state){.options = s->options, .n = s->graph.n};
    return begin(s);
}

/* ---- iterate ------------------------------------------------------------- */

/* Contributions are written: waits, then adds all blocks' sums, in order. */
static struct pagerank_sums publish(const struct solver *s, int which)
{
    must(recto_barrier());
    struct pagerank_sums total = {0.0, 0.0};
    for (size_t w = 0; w < (size_t)s->team.size; w++) {
        size_t count = s->graph.bounds[w + 1] - s->graph.bounds[w];
        pagerank_add(&total, s->sums[which] + s->sums_at[w],
                     graph_blocks(count));
    }
    return total;
}

/*
 * Own contributions are all written in every iteration. Pinned, their pages keep
 * the right to be written, where otherwise the first write to each would fault again
 * once others have read it.
 */
static void pin(const struct solver *s, int (*how)(void *, size_t, int))
{
    const struct program_part *mine = &s->graph.mine;
    for (int i = 0; i < 2 && mine->first < mine->last; i++) {
        must(how(s->c[i] + mine->first,
                 (mine->last - mine->first) * sizeof *s->c[i], RECTO_WRITE));
    }
}

/* What others have changed is fetched in large pieces. */
static void fetch(const struct solver *s, const double *c)
{
    const struct reach *r = &s->reach;
    for (size_t i = 0; i < r->count; i++) {
        const struct program_part *run = &r->runs[(r->first + i) % r->count];
        size_t first = run->first * GRAPH_BLOCK;
        size_t last = run->last * GRAPH_BLOCK;
        last = last < s->graph.n ? last : s->graph.n;
        (void)recto_prefetch(c + first, (last - first) * sizeof *c);
    }
}

/* A full disk does not end the run: the epochs before are intact. */
static void checkpoint(struct solver *s, double moved)
{
    int64_t every = s->options->checkpoint_every;
    if (every == 0 || s->state.iteration % every != 0) {
        return;
    }
    if (s->team.rank == 0) {
        s->run->iteration = s->state.iteration;
        s->run->moved = moved;
    }
    pin(s, recto_unpin); /* no checkpoint while there are pins */
    int code = recto_checkpoint();
    pin(s, recto_pin);
    if (code == RECTO_ENOSPC || code == RECTO_EIO) {
        if (s->team.rank == 0) {
            (void)program_fail(
                name, "no checkpoint, going on at iteration %" PRId64 ": %s",
                s->state.iteration, recto_last_error());
        }
    } else {
        must(code);
    }
}

static struct pagerank_sums *my_sums(const struct solver *s, int which)
{
    return s->sums[which] + s->sums_at[s->team.rank];
}

static void iterate(struct solver *s)
{
    struct pagerank_state *state = &s->state;
    size_t first = s->graph.mine.first;
    int now = (int)(state->iteration % 2);
    pin(s, recto_pin);
    pagerank_start(&s->rows, s->x + first, s->c[now] + first, my_sums(s, now));
    struct pagerank_sums total = publish(s, now);
    if (state->iteration > 0) {
        total.moved = s->run->moved; /* restored */
    }
    while (pagerank_next(state, total)) {
        int next = 1 - now;
        fetch(s, s->c[now]);
        pagerank_step(&s->rows, state, s->c[now], s->x + first,
                      s->c[next] + first, my_sums(s, next));
        now = next;
        total = publish(s, now);
        checkpoint(s, total.moved);
    }
    pin(s, recto_unpin);
}

/* Each rank checks an equal number of vertices, most of which others have ranked. */
static struct pagerank_check check(struct solver *s)
{
    int now = (int)((s->state.iteration + 1) % 2);
    size_t first = s->graph.mine.first;
    pagerank_spoil(&s->rows, s->options, s->x + first);
    pagerank_start(&s->rows, s->x + first, s->c[now] + first, my_sums(s, now));
    struct pagerank_sums total = publish(s, now);
    struct program_part part =
        program_part(s->graph.n, sizeof *s->x, s->team.rank, s->team.size);
    size_t count = part.last - part.first;
    const struct pagerank_rows rows = {part, s->start + part.first, s->source,
                                       s->degree + part.first};
    (void)recto_prefetch(rows.start, (count + 1) * sizeof *rows.start);
    (void)recto_prefetch(s->x + part.first, count * sizeof *s->x);
    uint64_t edge = rows.start[0];
    (void)recto_prefetch(s->source + edge,
                         (rows.start[count] - edge) * sizeof *s->source);
    (void)recto_prefetch(s->c[now], s->graph.n * sizeof *s->x);
    return pagerank_verify(&rows, &s->state, total, s->c[now],
                           s->x + part.first);
}

/* ---- the run ------------------------------------------------------------- */

/* Returns the exit code. */
static int run(struct solver *s)
{
    struct program_report report = {"pagerank",       "recto", recto_size(),
                                    s->options->json, 0,       {{0}}};
    double at[4];
    at[0] = program_now();
    if (prepare(s) != 0) {
        return PROGRAM_FAILED;
    }
    if (s->team.rank == 0) {
        pagerank_say(&report, s->options, &s->graph);
    }
    must(recto_barrier());
    at[1] = program_now();
    iterate(s);
    at[2] = program_now();
    struct pagerank_check mine = check(s);
    at[3] = program_now();
    const double seconds[] = {at[1] - at[0], at[2] - at[1], at[3] - at[2]};
    const struct pagerank_answer a = {&s->team, &s->graph, &s->state,
                                      s->x + s->graph.mine.first};
    return pagerank_finish(&a, &report, mine, seconds);
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
    must(recto_init(&argc, &argv));
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct solver s = {
            .options = &o,
            .team = {recto_rank(), recto_size(), name, "rank", all, exchange,
                     end}
        };
        code = run(&s);
        graph_free(&s.graph);
        free(s.reach.runs);
        free(s.sums_at);
    } else if (recto_rank() == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    must(recto_finalize());
    return code;
}
