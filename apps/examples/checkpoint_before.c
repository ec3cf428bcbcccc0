/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_before [STEPS]: heat in a rod, an MPI program like many others: each rank has
 * a part of the rod in its own memory, and sends its neighbours what they need. It knows
 * nothing of Recto. checkpoint.c is the same program with checkpoints; compare them.
 *
 *     mpicc checkpoint_before.c -o checkpoint_before -lm
 *     mpirun -n 3 ./checkpoint_before
 */
#include <math.h>
#include <mpi.h>
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
    must(MPI_Init(&argc, &argv) == 0, "MPI_Init");
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
    must(MPI_Finalize() == 0, "MPI_Finalize");
    return error < 1e-9 ? EXIT_SUCCESS : EXIT_FAILURE;
}
