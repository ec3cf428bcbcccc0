/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * matmul-omp: one process, the threads of an OpenMP team as workers.
 */
#include <omp.h>
#include <stdlib.h>

#include "matmul.h"

static const char name[] = "matmul-omp";
static const char launch[] = "matmul-omp";

/* Shared by all threads. */
struct shared {
    size_t n;
    double *a, *b, *c, *y;
    bool spoil;
    uint64_t sum;
    int64_t wrong;
    int failed; /* threads without memory */
    double filled, multiplied;
};

static void multiply(const struct matmul_task *task, struct shared *s)
{
    size_t n = task->n;
    size_t mine = task->rows.first * n;
    struct program_part panel;
    for (size_t k = 0; k < n; k = panel.last) {
        panel = matmul_panel_at(n, k, omp_get_num_threads());
        matmul_panel(task, panel, s->a + mine, s->b + k * n, s->c + mine);
    }
}

static void work(const struct matmul_task *task, struct shared *s)
{
    size_t mine = task->rows.first * task->n;
    matmul_fill(task, s->a + mine, s->b + mine, s->c + mine);
#pragma omp barrier
#pragma omp master
    s->filled = program_now();
    multiply(task, s);
#pragma omp barrier
#pragma omp master
    {
        s->multiplied = program_now();
        if (s->spoil) {
            s->c[s->n - 1] += 1.0;
        }
    }
    matmul_vectors(task, s->b + mine, s->y + task->rows.first * MATMUL_VECTORS);
#pragma omp barrier
    int64_t wrong = matmul_check(task, s->a + mine, s->c + mine, s->y);
    uint64_t sum = matmul_sum(task, s->c + mine);
#pragma omp atomic
    s->wrong += wrong;
#pragma omp atomic
    s->sum += sum;
}

static void team(struct shared *s)
{
#pragma omp parallel
    {
        struct matmul_task task;
        if (matmul_task_init(&task, s->n, omp_get_thread_num(),
                             omp_get_num_threads()) != 0) {
#pragma omp atomic
            s->failed++;
        }
#pragma omp barrier
        if (s->failed == 0) { /* the same for all threads */
            work(&task, s);
        }
        matmul_task_free(&task);
    }
}

static int run(const struct matmul_options *o)
{
    size_t n = (size_t)o->n;
    struct shared s = {.n = n, .spoil = o->spoil};
    struct program_report report = {"matmul", "omp", omp_get_max_threads(),
                                    o->json,  0,     {{0}}};
    s.a = malloc(n * n * sizeof *s.a);
    s.b = malloc(n * n * sizeof *s.b);
    s.c = malloc(n * n * sizeof *s.c);
    s.y = malloc(n * sizeof(double[MATMUL_VECTORS]));
    int code = PROGRAM_FAILED;
    double started = program_now();
    if (s.a != NULL && s.b != NULL && s.c != NULL && s.y != NULL) {
        matmul_say(&report, n);
        team(&s);
    } else {
        s.failed = 1;
    }
    if (s.failed != 0) {
        (void)program_fail(name, "out of memory");
    } else {
        program_phase(&report, "fill", s.filled - started);
        program_phase(&report, "multiply", s.multiplied - s.filled);
        program_phase(&report, "check", program_now() - s.multiplied);
        code = matmul_end(&report, n, s.sum, s.wrong);
    }
    free(s.a);
    free(s.b);
    free(s.c);
    free(s.y);
    return code;
}

int main(int argc, char **argv)
{
    struct matmul_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        matmul_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        matmul_options_help(name, launch);
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
    return run(&o);
}
