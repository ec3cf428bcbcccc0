/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * False sharing, planted for `recto report`: two ranks, each with a function of its own,
 * write neighbouring elements of one page, round after round. Also a page that both
 * write truly (under a lock, the same element) and pages that are one rank's own, which
 * the report is not to name. Words: `checkpoint` writes two, `sequential` has memory so,
 * `slow FILE` goes on, slowly, until there is a file, `die` kills the last rank half-way.
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

/* `slow`: is the file there? The same on all ranks, for rank 0 tells in a page of its own. */
static int is_over(int argc, char **argv, double *own)
{
    const struct timespec nap = {0, 30000000};
    if (recto_rank() == 0) {
        own[1] = access(argv[argc - 1], F_OK) == 0;
    }
    nanosleep(&nap, NULL);
    CHECK_OK(recto_barrier());
    return own[1] > 0;
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

/* Returns how many there were. */
static int rounds(int argc, char **argv, double *x, double *own, double *sum)
{
    int slow = has(argc, argv, "slow");
    int round = 0;
    int over = 0;
    recto_lock_t lock;
    CHECK_OK(recto_lock_create(&lock));
    while (!over) {
        round++;
        round_make(x, own, sum, lock, round);
        if (has(argc, argv, "checkpoint") && round % 40 == 0) {
            CHECK_OK(recto_checkpoint());
        }
        if (has(argc, argv, "die") && round == ROUNDS / 2 &&
            recto_rank() == recto_size() - 1) {
            raise(SIGKILL);
        }
        over = slow ? is_over(argc, argv, own) : round == ROUNDS;
    }
    CHECK_OK(recto_checkpoint_wait());
    CHECK_OK(recto_lock_free(&lock));
    return round;
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
    int n = rounds(argc, argv, x, own, sum);
    CHECK(*sum == n * recto_size());
    CHECK(x[10] == n && (recto_size() < 2 || x[11] == n));
    CHECK_OK(recto_barrier());
    return test_end("false sharing");
}
