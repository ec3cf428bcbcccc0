/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbody-omp: one process, the threads of an OpenMP team as workers; OpenMP's
 * locks guard the tops of the tree. What others read is shared and when, is as in
 * nbody-recto.c.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

static const char name[] = "nbody-omp";
static const char launch[] = "nbody-omp";

/* What a thread tells the others. */
struct row {
    _Alignas(64) struct nbody_bounds bounds;
    struct nbody_sample sample;
    struct nbody_sums before;
    struct nbody_sums after;
    uint32_t *starts;
    struct nbody_run run;
    struct nbody_tree tree;
    struct nbody_piece *pieces;
    struct nbody_probe *sums;
    struct nbody_top *tops;
};

/* Shared by all threads. */
struct team {
    const struct nbody_options *options;
    int threads;
    struct row *rows; /* by thread */
    struct nbody_probe *probes;
    omp_lock_t *locks; /* of tops, by thread and number */
    int failed;        /* threads without memory */
    bool overflow;     /* a thread has too many bodies */
    double times[4];
};

static void lock(void *locks, uint32_t which)
{
    omp_set_lock((omp_lock_t *)locks + which);
}

static void unlock(void *locks, uint32_t which)
{
    omp_unset_lock((omp_lock_t *)locks + which);
}

/* ---- memory -------------------------------------------------------------- */

/* False: out of memory. */
static bool start(const struct team *t, struct row *row)
{
    int me = omp_get_thread_num();
    struct nbody_run *run = &row->run;
    struct nbody_tree *tree = &row->tree;
    size_t workers = (size_t)t->threads;
    if (nbody_run_init(run, t->options, me, t->threads) != 0) {
        return false;
    }
    size_t n = run->capacity;
    size_t probes = nbody_probes(t->options);
    run->bodies = malloc(n * sizeof *run->bodies);
    run->staged = malloc(n * sizeof *run->staged);
    run->points = malloc(n * sizeof *run->points);
    tree->cells = malloc(2 * n * sizeof *tree->cells);
    row->tops = malloc(NBODY_TOPS * sizeof *row->tops);
    row->starts = malloc((workers + 1) * sizeof *row->starts);
    row->pieces = malloc(workers * sizeof *row->pieces);
    row->sums = malloc(probes * sizeof *row->sums);
    if (run->bodies == NULL || run->staged == NULL || run->points == NULL ||
        tree->cells == NULL || row->tops == NULL || row->starts == NULL ||
        row->pieces == NULL || row->sums == NULL) {
        return false;
    }
    tree->run = run;
    tree->pool = row->tops;
    tree->first_lock = (uint32_t)(me * NBODY_TOPS);
    tree->lock = lock;
    tree->unlock = unlock;
    tree->context = t->locks;
    nbody_fill(run);
    return true;
}

static void stop(struct row *row)
{
    nbody_run_free(&row->run);
    free(row->run.bodies);
    free(row->run.staged);
    free(row->run.points);
    free(row->tree.cells);
    free(row->tops);
    free(row->starts);
    free(row->pieces);
    free(row->sums);
}

/* ---- a step -------------------------------------------------------------- */

static struct nbody_cube cube_of_all(const struct team *t)
{
    struct nbody_bounds all = t->rows[0].bounds;
    for (int i = 1; i < t->threads; i++) {
        nbody_bounds_add(&all, &t->rows[i].bounds);
    }
    return nbody_cube_of(&all);
}

/* False: the bodies do not fit. */
static bool gather(const struct team *t, struct row *row)
{
    int me = omp_get_thread_num();
    size_t count = 0;
    for (int i = 0; i < t->threads; i++) {
        const uint32_t *starts = t->rows[i].starts;
        row->pieces[i] = (struct nbody_piece){
            t->rows[i].run.staged + starts[me], starts[me + 1] - starts[me]};
        count += row->pieces[i].count;
    }
    if (count > row->run.capacity) {
        return false;
    }
    nbody_gather(&row->run, row->pieces);
    return true;
}

/* Forces on all bodies where they are now. False, for all threads: they do not
 * fit. */
static bool step(struct team *t, struct row *row)
{
    struct nbody_tree *tree = &row->tree;
    int me = omp_get_thread_num();
    row->bounds = nbody_bounds_of(&row->run);
#pragma omp barrier
    row->run.cube = cube_of_all(t);
    tree->root = t->rows[0].tops;
    if (me == 0) {
        nbody_root_init(tree->root);
    }
    tree->pool_used = me == 0 ? 1 : 0;
    nbody_stage(&row->run, &row->sample);
#pragma omp barrier
    nbody_split(&row->run, &t->rows[0].sample, sizeof *row, row->starts);
#pragma omp barrier
    if (gather(t, row)) {
        nbody_branches(tree);
    } else {
#pragma omp atomic write
        t->overflow = true;
    }
#pragma omp barrier
    if (t->overflow) {
        return false;
    }
    nbody_join(tree, me, tree->branch, tree->branches);
#pragma omp barrier
    nbody_forces(tree, &row->run);
    return true;
}

static bool steps(struct team *t, struct row *row)
{
    if (!step(t, row)) {
        return false;
    }
    row->before =
        nbody_sums_of(&row->run, row->tree.interactions, row->tree.missing);
    for (int64_t i = 0; i < t->options->steps; i++) {
        nbody_kick(&row->run, i == 0 ? 0.5 : 1.0);
        nbody_drift(&row->run, 1.0);
        if (!step(t, row)) {
            return false;
        }
    }
    nbody_kick(&row->run, 0.5);
#pragma omp barrier
    return true;
}

static void check(const struct team *t, struct row *row)
{
    if (t->options->spoil) {
        nbody_spoil(&row->run);
    }
    row->after =
        nbody_sums_of(&row->run, row->tree.interactions, row->tree.missing);
    nbody_probes_fill(&row->run, t->probes);
#pragma omp barrier
    memcpy(row->sums, t->probes, nbody_probes(t->options) * sizeof *row->sums);
    nbody_probes_sum(&row->run, row->sums);
}

static void work(struct team *t)
{
    struct row *row = &t->rows[omp_get_thread_num()];
#pragma omp master
    t->times[0] = program_now();
    if (!start(t, row)) {
#pragma omp atomic
        t->failed++;
    }
#pragma omp barrier
    if (t->failed != 0) { /* the same for all threads */
        return;
    }
#pragma omp master
    t->times[1] = program_now();
    if (!steps(t, row)) {
        return;
    }
#pragma omp master
    t->times[2] = program_now();
    check(t, row);
}

/* ---- the whole ------------------------------------------------------------- */

/* Returns the exit code. */
static int report(struct team *t)
{
    const struct nbody_options *o = t->options;
    struct program_report report = {"nbody", "omp", t->threads,
                                    o->json, 0,     {{0}}};
    struct nbody_answer answer = {.probes = t->probes};
    for (int i = 0; i < t->threads; i++) {
        const struct row *row = &t->rows[i];
        nbody_sums_add(&answer.before, &row->before);
        nbody_sums_add(&answer.after, &row->after);
        nbody_probes_add(o, t->probes, row->sums);
    }
    nbody_say(&report, o);
    program_phase(&report, "fill", t->times[1] - t->times[0]);
    program_phase(&report, "steps", t->times[2] - t->times[1]);
    program_phase(&report, "check", program_now() - t->times[2]);
    return nbody_end(&report, o, &answer);
}

static int run(struct team *t)
{
    size_t rows = (size_t)t->threads;
    size_t locks = rows * NBODY_TOPS;
    int code = PROGRAM_FAILED;
    t->rows = aligned_alloc(_Alignof(struct row), rows * sizeof *t->rows);
    t->locks = malloc(locks * sizeof *t->locks);
    t->probes = calloc(nbody_probes(t->options), sizeof *t->probes);
    if (t->rows == NULL || t->locks == NULL || t->probes == NULL) {
        (void)program_fail(name, "out of memory");
        return code;
    }
    memset(t->rows, 0, rows * sizeof *t->rows);
    for (size_t i = 0; i < locks; i++) {
        omp_init_lock(&t->locks[i]);
    }
#pragma omp parallel num_threads(t->threads)
    work(t);
    if (t->failed != 0) {
        (void)program_fail(name, "out of memory");
    } else if (t->overflow) {
        (void)program_fail(name, "a thread would get more bodies than its "
                                 "share: too many in one place");
    } else {
        code = report(t);
    }
    for (size_t i = 0; i < locks; i++) {
        omp_destroy_lock(&t->locks[i]);
    }
    for (size_t i = 0; i < rows; i++) {
        stop(&t->rows[i]);
    }
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
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    omp_set_dynamic(0);
    if (o.threads > 0) {
        omp_set_num_threads((int)o.threads);
    }
    struct team t = {.options = &o, .threads = omp_get_max_threads()};
    int code = run(&t);
    free(t.rows);
    free(t.locks);
    free(t.probes);
    return code;
}
