/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * matmul-recto: the matrices lie in shared memory, every rank's rows at home
 * with it, and each rank reads B by plain loads.
 *
 * Invariants
 * 1. A rank writes its own rows only.
 * 2. Between two barriers nobody writes what another rank reads.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

#include "matmul.h"

static const char name[] = "matmul-recto";
static const char launch[] = "mpirun -n RANKS matmul-recto";

/* Shared by all ranks. */
struct shared {
    double *a, *b, *c; /* n x n */
    double *y;         /* n x MATMUL_VECTORS */
    uint64_t *sum;     /* of all ranks' rows of C */
    int64_t *wrong;    /* rows */
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

static int allocate(struct shared *s, size_t n)
{
    const uint64_t square[] = {n, n};
    const uint64_t tall[] = {n, MATMUL_VECTORS};
    /* NULL: blocks of pages go to the ranks in order, as rows do */
    s->a = recto_array("a", RECTO_DOUBLE, 2, square, NULL);
    s->b = recto_array("b", RECTO_DOUBLE, 2, square, NULL);
    s->c = recto_array("c", RECTO_DOUBLE, 2, square, NULL);
    s->y = recto_array("y", RECTO_DOUBLE, 2, tall, NULL);
    s->sum = recto_alloc("sum", sizeof *s->sum, NULL);
    s->wrong = recto_alloc("wrong", sizeof *s->wrong, NULL);
    return s->a != NULL && s->b != NULL && s->c != NULL && s->y != NULL &&
                   s->sum != NULL && s->wrong != NULL
               ? 0
               : library_failed();
}

static int multiply(const struct matmul_task *task, const struct shared *s)
{
    size_t n = task->n;
    size_t mine = task->rows.first * n;
    struct program_part panel;
    for (size_t k = 0; k < n; k = panel.last) {
        panel = matmul_panel_at(n, k, recto_size());
        const double *b = s->b + k * n;
        (void)recto_prefetch(b, (panel.last - k) * n * sizeof *b);
        matmul_panel(task, panel, s->a + mine, b, s->c + mine);
    }
    return barrier();
}

static int check(const struct matmul_task *task, const struct shared *s)
{
    size_t mine = task->rows.first * task->n;
    matmul_vectors(task, s->b + mine, s->y + task->rows.first * MATMUL_VECTORS);
    if (barrier() != 0) {
        return -1;
    }
    int64_t wrong = matmul_check(task, s->a + mine, s->c + mine, s->y);
    (void)recto_fetch_add_i64(s->wrong, wrong);
    (void)recto_fetch_add_u64(s->sum, matmul_sum(task, s->c + mine));
    return barrier();
}

/* Returns the exit code. */
static int run(const struct matmul_options *o, struct matmul_task *task)
{
    struct program_report report = {"matmul", "recto", recto_size(),
                                    o->json,  0,       {{0}}};
    struct shared s;
    size_t n = (size_t)o->n;
    bool first = recto_rank() == 0;
    if (allocate(&s, n) != 0) {
        return PROGRAM_FAILED;
    }
    if (first) {
        matmul_say(&report, n);
    }
    size_t mine = task->rows.first * n;
    double started = program_now();
    matmul_fill(task, s.a + mine, s.b + mine, s.c + mine);
    if (barrier() != 0) {
        return PROGRAM_FAILED;
    }
    double filled = program_now();
    if (multiply(task, &s) != 0) {
        return PROGRAM_FAILED;
    }
    double multiplied = program_now();
    if (o->spoil && first) {
        s.c[n - 1] += 1.0;
    }
    if (check(task, &s) != 0) {
        return PROGRAM_FAILED;
    }
    int64_t wrong = *s.wrong;
    if (!first) {
        return wrong == 0 ? PROGRAM_OK : PROGRAM_FAILED;
    }
    program_phase(&report, "fill", filled - started);
    program_phase(&report, "multiply", multiplied - filled);
    program_phase(&report, "check", program_now() - multiplied);
    return matmul_end(&report, n, *s.sum, wrong);
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
    if (recto_init(&argc, &argv) != 0) {
        (void)library_failed();
        return PROGRAM_FAILED;
    }
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct matmul_task task;
        if (matmul_task_init(&task, (size_t)o.n, recto_rank(), recto_size()) !=
            0) {
            (void)program_fail(name, "out of memory");
            exit(PROGRAM_FAILED); /* NOLINT(concurrency-mt-unsafe) */
        }
        code = run(&o, &task);
        matmul_task_free(&task);
    } else if (recto_rank() == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    if (recto_finalize() != 0) {
        (void)library_failed();
        code = PROGRAM_FAILED;
    }
    return code;
}
