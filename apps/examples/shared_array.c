/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared_array: a matrix that all ranks share. Each rank writes a block of rows, then
 * adds up a block of columns, most of which others wrote: pages move by themselves, when
 * they are touched. All that the program says is when it is time to look: recto_barrier.
 *
 *     mpicc shared_array.c -o shared_array $(pkg-config --cflags --libs recto)
 *     mpirun -n 3 ./shared_array
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROWS = 600,
    COLUMNS = 500
};

static void must(int good)
{
    if (!good) {
        fprintf(stderr, "%s\n", recto_last_error());
        exit(EXIT_FAILURE);
    }
}

/* The first of n things that are rank's. */
static int first(int n, int rank)
{
    return (int)((long)n * rank / recto_size());
}

int main(int argc, char **argv)
{
    must(recto_init(&argc, &argv) == 0);
    int rank = recto_rank();

    /* Its type and its dimensions are what checkpoints and HDF5 tools know of it. */
    double(*a)[COLUMNS] =
        recto_array("a", RECTO_DOUBLE, 2, (uint64_t[]){ROWS, COLUMNS}, NULL);
    double *sums =
        recto_array("sums", RECTO_DOUBLE, 1, (uint64_t[]){COLUMNS}, NULL);
    must(a != NULL && sums != NULL);

    for (int i = first(ROWS, rank); i < first(ROWS, rank + 1); i++) {
        for (int j = 0; j < COLUMNS; j++) {
            a[i][j] = (double)i * j;
        }
    }
    must(recto_barrier() == 0);

    /* Ranks may write neighbouring elements, even in one page, at the same time. */
    for (int j = first(COLUMNS, rank); j < first(COLUMNS, rank + 1); j++) {
        for (int i = 0; i < ROWS; i++) {
            sums[j] += a[i][j];
        }
    }
    must(recto_barrier() == 0);

    int right = 1; /* every rank looks at all of them */
    for (int j = 0; j < COLUMNS; j++) {
        right = right && sums[j] == j * (ROWS * (ROWS - 1) / 2.0);
    }
    if (rank == 0) {
        printf("the last column's sum is %.0f: %s\n", sums[COLUMNS - 1],
               right ? "ok" : "WRONG");
    }
    must(recto_finalize() == 0);
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
