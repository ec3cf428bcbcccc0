/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbody-recto: bodies and tree lie in shared memory, what a rank writes at home
 * with it. The tops of the tree are linked under Recto's locks by all ranks at
 * the same time; in the forces each rank reads the others' cells and bodies by
 * plain loads.
 *
 * Invariants
 * 1. A rank writes its own rows only, but for tops, which their locks guard.
 * 2. Four barriers part a step, A to D in `step`. Others read a rank's bounds
 *    from A to B, samples from B to C, starts and staged bodies from C to D,
 *    points, cells and tops from D to the next A. They are written before that,
 *    each in the part that follows the reading of something else.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

static const char name[] = "nbody-recto";
static const char launch[] = "mpirun -n RANKS nbody-recto";

/* What a rank tells the others. */
struct row {
    struct nbody_bounds bounds;
    struct nbody_sums before;
    struct nbody_sums after;
    struct nbody_sample sample;
};

/* An array with a row of whole pages for each rank, at home with it. */
struct rows {
    char *base;
    size_t stride; /* bytes */
};

struct shared {
    struct rows row;
    struct rows starts; /* of pieces in a rank's staged bodies */
    struct rows bodies, staged, points, cells;
    struct rows tops;
    struct rows sums;           /* a rank's direct forces on the probes */
    struct nbody_probe *probes; /* written by those who have the bodies */
    recto_lock_t *locks;        /* of tops, by rank and number */
};

/* Collective calls fail on all ranks alike, so one of them says why. */
static int library_failed(void)
{
    if (recto_rank() <= 0) {
        (void)program_fail(name, "%s", recto_last_error());
    }
    return -1;
}

static int barrier(void)
{
    return recto_barrier() == 0 ? 0 : library_failed();
}

/* The job ends with a rank that ends before its time. */
static void lock_checked(int code)
{
    if (code != 0) {
        (void)program_fail(name, "%s", recto_last_error());
        exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
    }
}

static void lock(void *locks, uint32_t which)
{
    lock_checked(recto_lock(((const recto_lock_t *)locks)[which]));
}

static void unlock(void *locks, uint32_t which)
{
    lock_checked(recto_unlock(((const recto_lock_t *)locks)[which]));
}

/* ---- memory -------------------------------------------------------------- */

static void *at(const struct rows *rows, int rank)
{
    return rows->base + (size_t)rank * rows->stride;
}

static void *mine(const struct rows *rows)
{
    return at(rows, recto_rank());
}

static bool make_rows(struct rows *rows, const char *label, size_t bytes)
{
    enum {
        PAGE = 4096
    };
    rows->stride = (bytes + PAGE - 1) / PAGE * PAGE;
    const uint64_t dims[] = {(uint64_t)recto_size(), rows->stride};
    rows->base = recto_array(label, RECTO_BYTE, 2, dims, NULL);
    return rows->base != NULL;
}

static int allocate(struct shared *s, const struct nbody_run *run)
{
    size_t ranks = (size_t)recto_size();
    size_t n = run->capacity;
    size_t probes = nbody_probes(run->options) * sizeof *s->probes;
    size_t locks = ranks * NBODY_TOPS;
    if (!make_rows(&s->row, "row", sizeof(struct row)) ||
        !make_rows(&s->starts, "starts", (ranks + 1) * sizeof(uint32_t)) ||
        !make_rows(&s->bodies, "bodies", n * sizeof(struct nbody_body)) ||
        !make_rows(&s->staged, "staged", n * sizeof(struct nbody_body)) ||
        !make_rows(&s->points, "points", n * sizeof(struct nbody_point)) ||
        !make_rows(&s->cells, "cells", 2 * n * sizeof(struct nbody_cell)) ||
        !make_rows(&s->tops, "tops", NBODY_TOPS * sizeof(struct nbody_top)) ||
        !make_rows(&s->sums, "sums", probes) ||
        (s->probes = recto_alloc("probes", probes, NULL)) == NULL ||
        recto_lock_create_many(s->locks, locks) != 0) {
        return library_failed();
    }
    return 0;
}

static void start(struct shared *s, struct nbody_run *run,
                  struct nbody_tree *tree)
{
    run->bodies = mine(&s->bodies);
    run->staged = mine(&s->staged);
    run->points = mine(&s->points);
    tree->run = run;
    tree->cells = mine(&s->cells);
    tree->root = at(&s->tops, 0);
    tree->pool = mine(&s->tops);
    tree->first_lock = (uint32_t)(recto_rank() * NBODY_TOPS);
    tree->lock = lock;
    tree->unlock = unlock;
    tree->context = s->locks;
    nbody_fill(run);
}

/* ---- a step -------------------------------------------------------------- */

static struct nbody_cube cube_of_all(const struct shared *s)
{
    struct nbody_bounds all = ((const struct row *)at(&s->row, 0))->bounds;
    for (int r = 1; r < recto_size(); r++) {
        const struct row *row = at(&s->row, r);
        nbody_bounds_add(&all, &row->bounds);
    }
    return nbody_cube_of(&all);
}

/* Staged bodies of rank `from` for rank `to`. */
static struct nbody_piece piece_of(const struct shared *s, int from, int to)
{
    const uint32_t *starts = at(&s->starts, from);
    const struct nbody_body *staged = at(&s->staged, from);
    return (struct nbody_piece){staged + starts[to],
                                starts[to + 1] - starts[to]};
}

/* All ranks come to the same verdict, on all ranks. */
static int all_fit(const struct shared *s, size_t capacity)
{
    for (int to = 0; to < recto_size(); to++) {
        size_t count = 0;
        for (int from = 0; from < recto_size(); from++) {
            count += piece_of(s, from, to).count;
        }
        if (count > capacity) {
            return recto_rank() != 0
                       ? -1
                       : program_fail(name,
                                      "rank %d would get %zu bodies, more "
                                      "than its share: too many in one place",
                                      to, count);
        }
    }
    return 0;
}

static void gather(const struct shared *s, struct nbody_run *run,
                   struct nbody_piece *pieces)
{
    for (int r = 0; r < recto_size(); r++) {
        pieces[r] = piece_of(s, r, recto_rank());
        (void)recto_prefetch(pieces[r].bodies,
                             pieces[r].count * sizeof *pieces[r].bodies);
    }
    nbody_gather(run, pieces);
}

/* Forces on all bodies where they are now. */
static int step(struct shared *s, struct nbody_run *run,
                struct nbody_tree *tree, struct nbody_piece *pieces)
{
    struct row *row = mine(&s->row);
    row->bounds = nbody_bounds_of(run);
    if (barrier() != 0) { /* A */
        return -1;
    }
    run->cube = cube_of_all(s);
    if (recto_rank() == 0) {
        nbody_root_init(tree->root);
    }
    tree->pool_used = recto_rank() == 0 ? 1 : 0;
    nbody_stage(run, &row->sample);
    if (barrier() != 0) { /* B */
        return -1;
    }
    const struct row *first = at(&s->row, 0);
    nbody_split(run, &first->sample, s->row.stride, mine(&s->starts));
    if (barrier() != 0 || all_fit(s, run->capacity) != 0) { /* C */
        return -1;
    }
    gather(s, run, pieces);
    nbody_branches(tree);
    nbody_join(tree, recto_rank(), tree->branch, tree->branches);
    if (barrier() != 0) { /* D */
        return -1;
    }
    nbody_forces(tree, run);
    return 0;
}

static int steps(struct shared *s, struct nbody_run *run,
                 struct nbody_tree *tree, struct nbody_piece *pieces)
{
    struct row *row = mine(&s->row);
    int64_t count = run->options->steps;
    if (step(s, run, tree, pieces) != 0) {
        return -1;
    }
    row->before = nbody_sums_of(run, tree->interactions, tree->missing);
    for (int64_t i = 0; i < count; i++) {
        nbody_kick(run, i == 0 ? 0.5 : 1.0);
        nbody_drift(run, 1.0);
        if (step(s, run, tree, pieces) != 0) {
            return -1;
        }
    }
    nbody_kick(run, 0.5);
    return barrier();
}

/* ---- the check ----------------------------------------------------------- */

/* Sets probes, private memory of all ranks, and the answer's sums. */
static int check(struct shared *s, struct nbody_run *run,
                 const struct nbody_tree *tree, struct nbody_probe *probes,
                 struct nbody_answer *answer)
{
    size_t count = nbody_probes(run->options);
    struct row *row = mine(&s->row);
    if (run->options->spoil) {
        nbody_spoil(run);
    }
    row->after = nbody_sums_of(run, tree->interactions, tree->missing);
    nbody_probes_fill(run, s->probes);
    if (barrier() != 0) {
        return -1;
    }
    struct nbody_probe *sums = mine(&s->sums);
    memcpy(sums, s->probes, count * sizeof *sums);
    nbody_probes_sum(run, sums);
    if (barrier() != 0) {
        return -1;
    }
    for (int r = 0; r < recto_size(); r++) {
        row = at(&s->row, r);
        nbody_sums_add(&answer->before, &row->before);
        nbody_sums_add(&answer->after, &row->after);
        nbody_probes_add(run->options, probes, at(&s->sums, r));
    }
    answer->probes = probes;
    return 0;
}

/* Returns the exit code. */
static int report(const struct nbody_options *o,
                  const struct nbody_answer *answer, const double times[4])
{
    struct program_report report = {"nbody", "recto", recto_size(),
                                    o->json, 0,       {{0}}};
    if (recto_rank() != 0) {
        return nbody_right(o, answer) ? PROGRAM_OK : PROGRAM_FAILED;
    }
    nbody_say(&report, o);
    program_phase(&report, "fill", times[1] - times[0]);
    program_phase(&report, "steps", times[2] - times[1]);
    program_phase(&report, "check", times[3] - times[2]);
    return nbody_end(&report, o, answer);
}

/* Private memory of a rank. */
struct private
{
    struct nbody_run run;
    struct nbody_tree tree;
    struct nbody_piece *pieces;
    struct nbody_probe *probes;
};

static int run(const struct nbody_options *o, struct shared *s,
               struct private *p)
{
    struct nbody_answer answer = {.probes = NULL};
    double times[4];
    if (allocate(s, &p->run) != 0) {
        return PROGRAM_FAILED;
    }
    times[0] = program_now();
    start(s, &p->run, &p->tree);
    if (barrier() != 0) {
        return PROGRAM_FAILED;
    }
    times[1] = program_now();
    if (steps(s, &p->run, &p->tree, p->pieces) != 0) {
        return PROGRAM_FAILED;
    }
    times[2] = program_now();
    if (check(s, &p->run, &p->tree, p->probes, &answer) != 0) {
        return PROGRAM_FAILED;
    }
    times[3] = program_now();
    return report(o, &answer, times);
}

static int allocate_and_run(const struct nbody_options *o)
{
    struct shared s = {.probes = NULL};
    struct private *p = calloc(1, sizeof *p);
    size_t ranks = (size_t)recto_size();
    s.locks = malloc(ranks * NBODY_TOPS * sizeof *s.locks);
    if (p == NULL || s.locks == NULL ||
        nbody_run_init(&p->run, o, recto_rank(), recto_size()) != 0 ||
        (p->pieces = malloc(ranks * sizeof *p->pieces)) == NULL ||
        (p->probes = calloc(nbody_probes(o), sizeof *p->probes)) == NULL) {
        (void)program_fail(name, "rank %d: out of memory", recto_rank());
        exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
    }
    int code = run(o, &s, p);
    nbody_run_free(&p->run);
    free(p->pieces);
    free(p->probes);
    free(p);
    free(s.locks);
    return code;
}

int main(int argc, char **argv)
{
    struct nbody_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        nbody_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        nbody_options_help(name, launch);
        return PROGRAM_OK;
    }
    if (recto_init(&argc, &argv) != 0) {
        (void)library_failed();
        return PROGRAM_FAILED;
    }
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        code = allocate_and_run(&o);
    } else if (recto_rank() == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    if (recto_finalize() != 0) {
        (void)library_failed();
        code = PROGRAM_FAILED;
    }
    return code;
}
