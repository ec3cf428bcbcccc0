/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * matmul-mpi: every rank holds its rows of the matrices; the owner of a panel
 * of B sends it to all, the next one while this one is used.
 */
#include <mpi.h>
#include <stdlib.h>

#include "matmul.h"

static const char name[] = "matmul-mpi";
static const char launch[] = "mpirun -n RANKS matmul-mpi";

static int ranks;
static int rank;

/* This rank's rows. */
struct local {
    double *a, *b, *c;
    double *panel[2]; /* used, and arriving */
    double *y;        /* all n rows */
};

static int allocate(struct local *l, const struct matmul_task *task)
{
    size_t n = task->n;
    size_t rows = task->rows.last - task->rows.first + 1; /* never empty */
    l->a = malloc(rows * n * sizeof *l->a);
    l->b = malloc(rows * n * sizeof *l->b);
    l->c = malloc(rows * n * sizeof *l->c);
    l->panel[0] = malloc(MATMUL_PANEL * n * sizeof(double));
    l->panel[1] = malloc(MATMUL_PANEL * n * sizeof(double));
    l->y = malloc(n * sizeof(double[MATMUL_VECTORS]));
    return l->a != NULL && l->b != NULL && l->c != NULL &&
                   l->panel[0] != NULL && l->panel[1] != NULL && l->y != NULL
               ? 0
               : -1;
}

static void release(struct local *l)
{
    free(l->a);
    free(l->b);
    free(l->c);
    free(l->panel[0]);
    free(l->panel[1]);
    free(l->y);
}

/* The owner sends its rows from where they are. */
static double *panel_rows(const struct matmul_task *task, const struct local *l,
                          struct program_part panel, int buffer)
{
    return panel.first >= task->rows.first && panel.first < task->rows.last
               ? l->b + (panel.first - task->rows.first) * task->n
               : l->panel[buffer];
}

static void panel_start(const struct matmul_task *task, const struct local *l,
                        struct program_part panel, int buffer,
                        MPI_Request *request)
{
    size_t per = program_part(task->n, task->n * sizeof(double), 0, ranks).last;
    (void)MPI_Ibcast(panel_rows(task, l, panel, buffer),
                     (int)((panel.last - panel.first) * task->n), MPI_DOUBLE,
                     (int)(panel.first / per), MPI_COMM_WORLD, request);
}

static void multiply(const struct matmul_task *task, const struct local *l)
{
    size_t n = task->n;
    MPI_Request request;
    struct program_part panel = matmul_panel_at(n, 0, ranks);
    panel_start(task, l, panel, 0, &request);
    for (int buffer = 0; panel.first < n; buffer = 1 - buffer) {
        (void)MPI_Wait(&request, MPI_STATUS_IGNORE);
        struct program_part next = {n, n};
        if (panel.last < n) {
            next = matmul_panel_at(n, panel.last, ranks);
            panel_start(task, l, next, 1 - buffer, &request);
        }
        matmul_panel(task, panel, l->a, panel_rows(task, l, panel, buffer),
                     l->c);
        panel = next;
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
}

/* Every rank's rows of Y, to all. */
static int gather_y(const struct matmul_task *task, double *y)
{
    int *counts = malloc(2 * (size_t)ranks * sizeof *counts);
    if (counts == NULL) {
        return -1;
    }
    int *starts = counts + ranks;
    for (int r = 0; r < ranks; r++) {
        struct program_part part =
            program_part(task->n, task->n * sizeof(double), r, ranks);
        counts[r] = (int)((part.last - part.first) * MATMUL_VECTORS);
        starts[r] = (int)(part.first * MATMUL_VECTORS);
    }
    (void)MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, y, counts, starts,
                         MPI_DOUBLE, MPI_COMM_WORLD);
    free(counts);
    return 0;
}

/* Returns the exit code. */
static int run(const struct matmul_options *o, const struct matmul_task *task,
               const struct local *l)
{
    struct program_report report = {"matmul", "mpi", ranks, o->json, 0, {{0}}};
    size_t n = task->n;
    if (rank == 0) {
        matmul_say(&report, n);
    }
    double started = program_now();
    matmul_fill(task, l->a, l->b, l->c);
    (void)MPI_Barrier(MPI_COMM_WORLD);
    double filled = program_now();
    multiply(task, l);
    double multiplied = program_now();
    if (o->spoil && rank == 0) {
        l->c[n - 1] += 1.0;
    }
    matmul_vectors(task, l->b, l->y + task->rows.first * MATMUL_VECTORS);
    if (gather_y(task, l->y) != 0) {
        return PROGRAM_FAILED;
    }
    int64_t wrong = matmul_check(task, l->a, l->c, l->y);
    uint64_t sum = matmul_sum(task, l->c);
    (void)MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM,
                        MPI_COMM_WORLD);
    (void)MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM,
                        MPI_COMM_WORLD);
    if (rank != 0) {
        return wrong == 0 ? PROGRAM_OK : PROGRAM_FAILED;
    }
    program_phase(&report, "fill", filled - started);
    program_phase(&report, "multiply", multiplied - filled);
    program_phase(&report, "check", program_now() - multiplied);
    return matmul_end(&report, n, sum, wrong);
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
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct matmul_task task;
        struct local l = {0};
        if (matmul_task_init(&task, (size_t)o.n, rank, ranks) != 0 ||
            allocate(&l, &task) != 0) {
            (void)program_fail(name, "rank %d: out of memory", rank);
            (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
        }
        code = run(&o, &task, &l);
        release(&l);
        matmul_task_free(&task);
    } else if (rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
