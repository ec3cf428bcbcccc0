/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * False sharing, planted for `recto report`: two ranks, each with a function of its own,
 * write neighbouring elements of one page, round after round. Also a page that both
 * write truly (under a lock, the same element) and pages that are one rank's own, which
 * the report is not to name. With a folder: three checkpoints there.
 */
#include "test.h"

enum {
    PAGE = 4096,
    ROUNDS = 100
};

static __attribute__((noinline)) void write_by_first(double *x, int round)
{
    x[10] = round; /* planted: first */
}

static __attribute__((noinline)) void write_by_second(double *x, int round)
{
    x[11] = round; /* planted: second */
}

static void round_make(double *x, double *own, double *sum, recto_lock_t lock,
                       int round)
{
    int rank = recto_rank();
    if (rank == 0) {
        write_by_first(x, round);
    } else if (rank == 1) {
        write_by_second(x, round);
    }
    own[(size_t)rank * PAGE / sizeof *own] += 1;
    CHECK_OK(recto_lock(lock));
    *sum += 1;
    CHECK_OK(recto_unlock(lock));
    CHECK_OK(recto_barrier());
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    recto_attr attr = {.placement = RECTO_CYCLIC};
    uint64_t dims[2] = {4, 512};
    double *x = recto_array("grid", RECTO_DOUBLE, 2, dims, &attr);
    double *own = recto_alloc("own", (uint64_t)recto_size() * PAGE, NULL);
    double *sum = recto_alloc("sum", sizeof *sum, NULL);
    recto_lock_t lock;
    CHECK(x != NULL && own != NULL && sum != NULL);
    CHECK_OK(recto_lock_create(&lock));
    for (int round = 1; round <= ROUNDS; round++) {
        round_make(x, own, sum, lock, round);
        if (argc > 1 && round % 40 == 0) {
            CHECK_OK(recto_checkpoint());
        }
    }
    CHECK_OK(recto_checkpoint_wait());
    CHECK(*sum == ROUNDS * recto_size());
    CHECK(x[10] == ROUNDS && (recto_size() < 2 || x[11] == ROUNDS));
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_lock_free(&lock));
    return test_end("false sharing");
}
