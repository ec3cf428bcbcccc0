/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * False sharing, planted for `recto report`: two ranks, each with a function of its own,
 * write neighbouring elements of one page, round after round. Also a page that both
 * write truly (under a lock, the same element) and pages that are one rank's own, which
 * the report is not to name. Words: `checkpoint` writes two, `sequential` has memory so,
 * `slow` takes seconds, `die` kills the last rank half-way.
 */
#include "test.h"

enum {
    PAGE = 4096,
    ROUNDS = 100
};

static int has(int argc, char **argv, const char *word)
{
    int found = 0;
    for (int i = 1; i < argc; i++) {
        found |= strcmp(argv[i], word) == 0;
    }
    return found;
}

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

static void rounds(int argc, char **argv, double *x, double *own, double *sum)
{
    const struct timespec nap = {0, 30000000};
    recto_lock_t lock;
    CHECK_OK(recto_lock_create(&lock));
    for (int round = 1; round <= ROUNDS; round++) {
        round_make(x, own, sum, lock, round);
        if (has(argc, argv, "checkpoint") && round % 40 == 0) {
            CHECK_OK(recto_checkpoint());
        }
        if (has(argc, argv, "slow")) {
            nanosleep(&nap, NULL);
        }
        if (has(argc, argv, "die") && round == ROUNDS / 2 &&
            recto_rank() == recto_size() - 1) {
            raise(SIGKILL);
        }
    }
    CHECK_OK(recto_checkpoint_wait());
    CHECK_OK(recto_lock_free(&lock));
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    recto_attr attr = {.placement = RECTO_CYCLIC,
                       .consistency = has(argc, argv, "sequential")
                                          ? RECTO_SEQUENTIAL
                                          : RECTO_RELEASE};
    uint64_t dims[2] = {4, 512};
    double *x = recto_array("grid", RECTO_DOUBLE, 2, dims, &attr);
    double *own = recto_alloc("own", (uint64_t)recto_size() * PAGE, &attr);
    double *sum = recto_alloc("sum", sizeof *sum, &attr);
    CHECK(x != NULL && own != NULL && sum != NULL);
    rounds(argc, argv, x, own, sum);
    CHECK(*sum == ROUNDS * recto_size());
    CHECK(x[10] == ROUNDS && (recto_size() < 2 || x[11] == ROUNDS));
    CHECK_OK(recto_barrier());
    return test_end("false sharing");
}
