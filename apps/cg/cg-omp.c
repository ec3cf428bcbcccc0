/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cg-omp: one process, the threads of an OpenMP team as workers.
 */
#include <omp.h>
#include <stdlib.h>

#include "cg.h"

static const char name[] = "cg-omp";
static const char launch[] = "cg-omp";

/* A cache line of its own for each thread's sums. */
struct slot {
    _Alignas(64) struct cg_sums sums;
};

/* Shared by all threads. */
struct solver {
    const struct cg_options *options;
    struct mtx_matrix m; /* all rows */
    double *r;           /* all rows */
    struct slot *slots;  /* by thread */
    int failed;          /* threads without memory */
    double prepared, solved;
    struct cg_state state; /* of thread 0 */
    struct cg_sums errors;
};

/* Sums over all threads. The next call's sums are stored after another barrier,
 * that of r. */
static struct cg_sums add(struct solver *s, struct cg_sums mine)
{
    s->slots[omp_get_thread_num()].sums = mine;
#pragma omp barrier
    struct cg_sums all = {{0.0}};
    for (int t = 0; t < omp_get_num_threads(); t++) {
        for (int i = 0; i < CG_SUMS; i++) {
            all.of[i] += s->slots[t].sums.of[i];
        }
    }
    return all;
}

static void solve(struct solver *s, struct cg_vectors *v,
                  struct cg_state *state)
{
    for (;;) {
#pragma omp barrier
        cg_multiply(v, &s->m, s->r);
        if (!cg_next(state, add(s, cg_dots(v)))) {
            return;
        }
        cg_update(v, state);
    }
}

/* x takes the place of r, for A x needs others' rows of it. */
static struct cg_sums check(struct solver *s, struct cg_vectors *v)
{
    if (s->options->spoil && omp_get_thread_num() == 0) {
        v->x[0] += 1.0;
    }
    for (size_t i = 0; i < v->rows.last - v->rows.first; i++) {
        v->r[i] = v->x[i];
    }
#pragma omp barrier
    cg_multiply(v, &s->m, s->r);
    return add(s, cg_errors(v));
}

static void work(struct solver *s, struct cg_vectors *v)
{
    bool first = omp_get_thread_num() == 0;
    struct cg_state state = {.options = s->options};
    cg_start(v, &s->m);
#pragma omp barrier
    if (first) {
        s->prepared = program_now();
    }
    solve(s, v, &state);
    if (first) {
        s->solved = program_now();
    }
    struct cg_sums errors = check(s, v);
    if (first) {
        s->state = state;
        s->errors = errors;
    }
}

static void team(struct solver *s)
{
#pragma omp parallel
    {
        struct cg_vectors v;
        struct program_part rows =
            program_part(s->m.n, sizeof(double), omp_get_thread_num(),
                         omp_get_num_threads());
        if (cg_vectors_init(&v, rows) != 0) {
#pragma omp atomic
            s->failed++;
        }
        v.r = s->r + rows.first;
#pragma omp barrier
        if (s->failed == 0) { /* the same for all threads */
            work(s, &v);
        }
        cg_vectors_free(&v);
    }
}

static int run(struct solver *s)
{
    struct program_report report = {
        "cg", "omp", omp_get_max_threads(), s->options->json, 0, {{0}}};
    char wrong[PROGRAM_LINE];
    double started = program_now();
    if (mtx_read(s->options->file, 0, 1, &s->m, wrong) != 0) {
        (void)program_fail(name, "%s", wrong);
        return PROGRAM_FAILED;
    }
    cg_say(&report, s->options, &s->m);
    s->r = malloc(s->m.n * sizeof *s->r);
    s->slots = aligned_alloc(_Alignof(struct slot),
                             (size_t)report.ranks * sizeof *s->slots);
    if (s->r != NULL && s->slots != NULL) {
        team(s);
    } else {
        s->failed = 1;
    }
    if (s->failed != 0) {
        (void)program_fail(name, "out of memory");
        return PROGRAM_FAILED;
    }
    program_phase(&report, "read", s->prepared - started);
    program_phase(&report, "solve", s->solved - s->prepared);
    program_phase(&report, "check", program_now() - s->solved);
    return cg_end(&report, &s->state, s->errors, s->m.smallest);
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
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    omp_set_dynamic(0);
    if (o.threads > 0) {
        omp_set_num_threads((int)o.threads);
    }
    struct solver s = {.options = &o};
    int code = run(&s);
    free(s.r);
    free(s.slots);
    mtx_free(&s.m);
    return code;
}
