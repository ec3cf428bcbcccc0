/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that recto_finalize waits for blocks that were given back just before: their
 * homes are other machines', told by messages that nobody answers, and a home that is
 * in recto_finalize already still has the heap when they come.
 * argv: [ROUNDS]: of a whole life of Recto each.
 */
#include <mpi.h>
#include <recto/mpi.h>

#include "test.h"

enum {
    BLOCKS = 900, /* fewer than make recto_mfree release by itself */
    BUSY = 300
};

static size_t size_of(uint64_t i)
{
    return i % 16 == 0 ? 70000 : 16 + i % 3 * 100;
}

/* Takes and gives back blocks of the sizes that others give back meanwhile. */
static void keep_busy(uint64_t *seed)
{
    uint64_t turns = test_random(seed) % BUSY;
    for (uint64_t i = 0; i < turns; i++) {
        void *p = recto_malloc(size_of(i));
        CHECK(p != NULL);
        CHECK_OK(recto_mfree(p));
    }
}

static void live(uint64_t *seed)
{
    CHECK_OK(recto_init_comm(MPI_COMM_WORLD, NULL));
    int me = recto_rank();
    int next = (me + 1) % recto_size();
    uint64_t bytes = (uint64_t)recto_size() * BLOCKS * sizeof(void *);
    void **blocks = recto_alloc("blocks", bytes, NULL);
    CHECK(blocks != NULL);
    for (int i = 0; i < BLOCKS; i++) {
        void *p = recto_malloc(size_of((uint64_t)i));
        CHECK(p != NULL);
        blocks[me * BLOCKS + i] = p;
    }
    CHECK_OK(recto_barrier());
    for (int i = 0; i < BLOCKS; i++) {
        CHECK_OK(recto_mfree(blocks[next * BLOCKS + i]));
    }
    keep_busy(seed);
    CHECK_OK(recto_release()); /* only this tells their home */
    keep_busy(seed);
    CHECK_OK(recto_finalize());
}

int main(int argc, char **argv)
{
    int level = 0;
    int rank = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 10;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    uint64_t seed = (uint64_t)rank + 1;
    for (int i = 0; i < rounds; i++) {
        live(&seed);
    }
    MPI_Finalize();
    if (rank == 0) {
        printf("passed: last frees, %d rounds\n", rounds);
    }
    return 0;
}
