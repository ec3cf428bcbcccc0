/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hello: each rank leaves a greeting in memory that all ranks share, and rank 0 reads
 * them. Nobody sends a message.
 *
 *     mpicc hello.c -o hello $(pkg-config --cflags --libs recto)
 *     mpirun -n 3 ./hello
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Functions that return an int return 0 or an error code, functions that return a
 * pointer NULL; recto_last_error says what happened and what to do. */
static void must(int good)
{
    if (!good) {
        fprintf(stderr, "%s\n", recto_last_error());
        exit(EXIT_FAILURE); /* mpirun ends the other ranks */
    }
}

int main(int argc, char **argv)
{
    must(recto_init(&argc, &argv) == 0); /* and MPI, if need be */
    int rank = recto_rank();
    int ranks = recto_size();

    /* All ranks call it and get the same address; the memory is zero at first. */
    struct greeting {
        int from;
        char text[60];
    } *greetings = recto_alloc("greetings",
                               (uint64_t)ranks * sizeof(struct greeting), NULL);
    must(greetings != NULL);

    greetings[rank].from = rank;
    snprintf(greetings[rank].text, sizeof greetings[rank].text,
             "hello from rank %d of %d", rank, ranks);

    /* After it all ranks see what any of them wrote before. */
    must(recto_barrier() == 0);

    int right = 1;
    if (rank == 0) {
        for (int i = 0; i < ranks; i++) {
            printf("%s\n", greetings[i].text);
            right = right && greetings[i].from == i;
        }
        printf("%s\n", right ? "ok" : "WRONG");
    }
    must(recto_finalize() == 0);
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
