/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cg-recto: r and the ranks' sums lie in shared memory. A rank writes its own
 * rows of r, which are at home with it, and reads others' by plain loads.
 *
 * So do the other vectors that an iteration needs from the one before, and its
 * scalars: a checkpoint holds all of them and nothing else, so that the run goes on
 * from it on any number of ranks.
 *
 * Invariants
 * 1. A rank writes its rows of r and its own sums only.
 * 2. r is written between the barriers of `add` and `publish`, and read by others
 *    between those of `publish` and `add`; for the sums it is the other way round.
 * 3. A checkpoint is written after an iteration, before `publish`: what it holds is
 *    what `publish` publishes.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

#include "cg.h"

static const char name[] = "cg-recto";
static const char launch[] = "mpirun -n RANKS cg-recto";

struct solver {
    const struct cg_options *options;
    struct mtx_matrix m;
    struct cg_vectors v;
    struct program_part reach; /* columns that occur in this rank's rows */
    double *r;                 /* shared, all rows */
    struct cg_sums *sums;      /* shared, a rank's at sums[rank] */
    struct saved *saved;       /* shared */
};

/* What else an iteration follows from, written by rank 0 before a checkpoint. */
struct saved {
    uint64_t rows; /* of the matrix that is solved, and its entries */
    uint64_t entries;
    int64_t iteration;
    double first, gamma, alpha, beta;
};

/* ---- errors -------------------------------------------------------------- */

/* Collective calls fail on all ranks alike, so one of them says why, and all
 * end: nothing is left to be done. */
static void library_failed(void)
{
    if (recto_rank() <= 0) {
        (void)program_fail(name, "%s", recto_last_error());
    }
    exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
}

static void barrier(void)
{
    if (recto_barrier() != 0) {
        library_failed();
    }
}

/* What has to do with the ranks of this run only is not saved. */
static void *allocate(const char *what, size_t bytes, bool saved)
{
    const recto_attr attr = {.flags = saved ? 0 : RECTO_NO_CHECKPOINT};
    void *p = recto_alloc(what, bytes, &attr);
    if (p == NULL) {
        library_failed();
    }
    return p;
}

/* ---- what is shared ------------------------------------------------------ */

/* From here on all ranks may read r as it is. */
static void publish(void)
{
    barrier();
}

/* Sums over all ranks, added in the same order by each. */
static struct cg_sums add(struct solver *s, struct cg_sums mine)
{
    s->sums[recto_rank()] = mine;
    barrier();
    struct cg_sums all = {{0.0}};
    for (int rank = 0; rank < recto_size(); rank++) {
        for (int i = 0; i < CG_SUMS; i++) {
            all.of[i] += s->sums[rank].of[i];
        }
    }
    return all;
}

/* w = A r. What others changed is fetched in large pieces. */
static void multiply(struct solver *s)
{
    const struct program_part *rows = &s->v.rows;
    if (s->reach.first < rows->first) {
        (void)recto_prefetch(s->r + s->reach.first,
                             (rows->first - s->reach.first) * sizeof *s->r);
    }
    if (s->reach.last > rows->last) {
        (void)recto_prefetch(s->r + rows->last,
                             (s->reach.last - rows->last) * sizeof *s->r);
    }
    cg_multiply(&s->v, &s->m, s->r);
}

/* ---- the run ------------------------------------------------------------- */

/* Reads the matrix; the lowest rank that fails says why. 0 if none did. */
static int read_matrix(struct solver *s)
{
    char wrong[PROGRAM_LINE];
    int32_t *failed =
        allocate("failed", sizeof *failed, false); /* ranks from 1 */
    int rank = recto_rank();
    int code = mtx_read(s->options->file, rank, recto_size(), &s->m, wrong);
    if (code != 0) {
        (void)recto_cas_i32(failed, 0, rank + 1);
    }
    barrier();
    if (*failed == rank + 1) {
        (void)program_fail(name, "%s", wrong);
    }
    return *failed == 0 ? 0 : -1;
}

/* All rows of a vector in shared memory; *mine are this rank's. */
static double *share(struct solver *s, const char *what, double **mine)
{
    double *all = allocate(what, s->m.n * sizeof *all, true);
    free(*mine);
    *mine = all + s->m.rows.first;
    return all;
}

static int prepare(struct solver *s)
{
    if (read_matrix(s) != 0) {
        return -1;
    }
    s->sums = allocate("sums", (size_t)recto_size() * sizeof *s->sums, false);
    s->saved = allocate("saved", sizeof *s->saved, true);
    if (cg_vectors_init(&s->v, s->m.rows) != 0) {
        (void)program_fail(name, "rank %d: out of memory", recto_rank());
        exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
    }
    s->r = share(s, "r", &s->v.r);
    (void)share(s, "x", &s->v.x);
    (void)share(s, "p", &s->v.p);
    (void)share(s, "s", &s->v.s);
    s->reach = s->m.rows;
    size_t entries = s->m.start[s->m.rows.last - s->m.rows.first];
    for (size_t k = 0; k < entries; k++) {
        size_t column = s->m.column[k];
        s->reach.first = column < s->reach.first ? column : s->reach.first;
        s->reach.last = column >= s->reach.last ? column + 1 : s->reach.last;
    }
    return 0;
}

/* ---- checkpoints --------------------------------------------------------- */

/* The state of iteration 0, or that of the newest checkpoint. -1: it is another
 * matrix's. */
static int start(struct solver *s, struct cg_state *state)
{
    const struct saved *saved = s->saved;
    cg_start(&s->v, &s->m);
    int restored = s->options->checkpoint_every > 0 ? recto_restart(NULL) : 0;
    if (restored < 0) {
        library_failed();
    }
    if (restored == 0) {
        return 0;
    }
    if (saved->rows != s->m.n || saved->entries != s->m.entries) {
        return recto_rank() > 0
                   ? -1
                   : program_fail(name,
                                  "the checkpoint is of a matrix with "
                                  "%llu rows and %llu entries; give that, "
                                  "or another folder in RECTO_CKPT_DIR",
                                  (unsigned long long)saved->rows,
                                  (unsigned long long)saved->entries);
    }
    state->iteration = saved->iteration;
    state->first = saved->first;
    state->gamma = saved->gamma;
    state->alpha = saved->alpha;
    state->beta = saved->beta;
    if (recto_rank() == 0) {
        (void)printf("restarted at iteration %lld\n",
                     (long long)state->iteration);
        (void)fflush(stdout);
    }
    return 0;
}

/* After an iteration. true: the run is to end here. */
static bool look_after(struct solver *s, const struct cg_state *state)
{
    int64_t every = s->options->checkpoint_every;
    int due = every > 0 ? recto_checkpoint_due() : RECTO_DUE_NO;
    if (due < 0) {
        library_failed();
    }
    if (due == RECTO_DUE_NO && (every == 0 || state->iteration % every != 0)) {
        return false;
    }
    if (recto_rank() == 0) {
        *s->saved = (struct saved){.rows = s->m.n,
                                   .entries = s->m.entries,
                                   .iteration = state->iteration,
                                   .first = state->first,
                                   .gamma = state->gamma,
                                   .alpha = state->alpha,
                                   .beta = state->beta};
    }
    int code = recto_checkpoint();
    if (code == RECTO_ENOSPC ||
        code == RECTO_EIO) { /* the last one is intact */
        if (recto_rank() == 0) {
            (void)program_fail(name, "no checkpoint: %s", recto_last_error());
        }
    } else if (code != 0) {
        library_failed();
    }
    return due == RECTO_DUE_STOP;
}

/* false: it was told to end before it was done. */
static bool solve(struct solver *s, struct cg_state *state)
{
    publish();
    for (;;) {
        multiply(s);
        if (!cg_next(state, add(s, cg_dots(&s->v)))) {
            return true;
        }
        cg_update(&s->v, state);
        if (look_after(s, state)) {
            return false;
        }
        publish();
    }
}

/* x takes the place of r, for A x needs others' rows of it. */
static struct cg_sums check(struct solver *s)
{
    size_t rows = s->v.rows.last - s->v.rows.first;
    if (s->options->spoil && recto_rank() == 0) {
        s->v.x[0] += 1.0;
    }
    for (size_t i = 0; i < rows; i++) {
        s->v.r[i] = s->v.x[i];
    }
    publish();
    multiply(s);
    return add(s, cg_errors(&s->v));
}

/* Returns the exit code. */
static int run(struct solver *s)
{
    struct program_report report = {
        "cg", "recto", recto_size(), s->options->json, 0, {{0}}};
    struct cg_state state = {.options = s->options};
    bool first = recto_rank() == 0;
    double started = program_now();
    if (prepare(s) != 0 || start(s, &state) != 0) {
        return PROGRAM_FAILED;
    }
    if (first) {
        cg_say(&report, s->options, &s->m);
    }
    barrier();
    double prepared = program_now();
    if (!solve(s, &state)) {
        if (first) {
            (void)printf("ended after iteration %lld, as it was told; give the "
                         "same command again to continue\n",
                         (long long)state.iteration);
        }
        return RECTO_EXIT_CONTINUE;
    }
    double solved = program_now();
    struct cg_sums errors = check(s);
    if (!first) {
        return cg_right(&state, errors, s->m.smallest) ? PROGRAM_OK
                                                       : PROGRAM_FAILED;
    }
    program_phase(&report, "read", prepared - started);
    program_phase(&report, "solve", solved - prepared);
    program_phase(&report, "check", program_now() - solved);
    return cg_end(&report, &state, errors, s->m.smallest);
}

int main(int argc, char **argv)
{
    struct cg_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        cg_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        cg_options_help(name, launch);
        return PROGRAM_OK;
    }
    if (recto_init(&argc, &argv) != 0) {
        library_failed();
    }
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct solver s = {.options = &o};
        code = run(&s);
        s.v.x = s.v.p = s.v.s = NULL; /* shared */
        cg_vectors_free(&s.v);
        mtx_free(&s.m);
    } else if (recto_rank() == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    if (recto_finalize() != 0) {
        library_failed();
    }
    return code;
}
