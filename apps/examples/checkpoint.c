/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint [STEPS]: checkpoint_before.c with checkpoints: five lines are added, and MPI
 * is started and ended by Recto, which needs it to be safe for threads. Kill any rank
 * half-way (kill -9) and start the program again: it goes on from its last checkpoint.
 *
 *     mpicc checkpoint.c -o checkpoint $(pkg-config --cflags --libs recto) -lm
 *     mpirun -n 3 ./checkpoint
 */
#include <math.h>
#include <mpi.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = 100000 /* in all; u[0] and u[CELLS + 1] are the ends, always cold */
};

/* A wave of so many halves loses the same part of itself in each step. */
static const double WAVE = 2000 * 3.14159265358979323846 / (CELLS + 1);

static void must(int good, const char *message)
{
    if (!good) {
        fprintf(stderr, "%s\n", message);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    must(recto_init(&argc, &argv) == 0, recto_last_error());
    int rank = 0;
    int ranks = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    long steps = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;

    /* u[1] to u[count] are mine, u[0] and u[count + 1] copies of the neighbours'. */
    long first = (long)CELLS * rank / ranks;
    long count = (long)CELLS * (rank + 1) / ranks - first;
    double *u = calloc((size_t)count + 2, sizeof *u);
    double *next = calloc((size_t)count + 2, sizeof *u);
    must(u != NULL && next != NULL, "out of memory");
    for (long i = 1; i <= count; i++) {
        u[i] = sin(WAVE * (double)(first + i));
    }
    long step = 0;
    recto_protect("u", u, RECTO_DOUBLE, (uint64_t)count + 2);
    recto_protect("step", &step, RECTO_LONG, 1);
    must(recto_restart(NULL) >= 0, recto_last_error());
    if (rank == 0) {
        printf("from step %ld\n", step);
    }
    int left = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    int right = rank < ranks - 1 ? rank + 1 : MPI_PROC_NULL;
    while (step < steps) {
        MPI_Sendrecv(u + 1, 1, MPI_DOUBLE, left, 0, u + count + 1, 1,
                     MPI_DOUBLE, right, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Sendrecv(u + count, 1, MPI_DOUBLE, right, 1, u, 1, MPI_DOUBLE, left,
                     1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (long i = 1; i <= count; i++) {
            next[i] = u[i] + 0.25 * (u[i - 1] - 2 * u[i] + u[i + 1]);
        }
        memcpy(u + 1, next + 1, (size_t)count * sizeof *u);
        step++;
        must(step % 100 != 0 || recto_checkpoint() == 0, recto_last_error());
    }

    double left_over = pow(1 - pow(sin(WAVE / 2), 2), (double)steps);
    double error = 0;
    for (long i = 1; i <= count; i++) {
        double exact = left_over * sin(WAVE * (double)(first + i));
        error = fmax(error, fabs(u[i] - exact));
    }
    MPI_Allreduce(MPI_IN_PLACE, &error, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%.4f of the heat is left after %ld steps: %s\n", left_over,
               steps, error < 1e-9 ? "ok" : "WRONG");
    }
    free(next);
    free(u);
    must(recto_finalize() == 0, recto_last_error());
    return error < 1e-9 ? EXIT_SUCCESS : EXIT_FAILURE;
}
