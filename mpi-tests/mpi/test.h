/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of several ranks share. A failed CHECK prints rank, place and
 * Recto's last message and ends the whole job at once (mpirun sees the exit
 * code and ends the other ranks), so a failing test never hangs.
 */
#ifndef RECTO_TESTS_MPI_H
#define RECTO_TESTS_MPI_H

#include <recto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                               \
    do {                                                                       \
        if (!(x)) {                                                            \
            test_fail(#x, __FILE__, __LINE__);                                 \
        }                                                                      \
    } while (0)

#define CHECK_OK(call) CHECK((call) == 0)

static inline void test_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "rank %d: %s:%d: failed: %s\n  last error: %s\n",
            recto_rank(), file, line, what, recto_last_error());
    fflush(stderr);
    _exit(1);
}

/* xorshift64*: the tests' own numbers, the same on every machine. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717U;
}

/* A number that follows from its arguments alone: the oracle of the tests. */
static inline uint64_t test_hash(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = a * 0x9e3779b97f4a7c15U ^ b * 0xc2b2ae3d27d4eb4fU ^
                 c * 0x165667b19e3779f9U;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9U;
    x ^= x >> 32;
    return x;
}

/* TEST_SEED or the time, made the same on every rank through shared memory,
 * and printed, so that a failure can be run again. */
static inline uint64_t test_seed(const char *name)
{
    uint64_t *shared = recto_alloc(name, 8, NULL);
    CHECK(shared != NULL);
    if (recto_rank() == 0) {
        const char *given = getenv("TEST_SEED");
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        *shared = given != NULL
                      ? strtoull(given, NULL, 10)
                      : (uint64_t)t.tv_sec * 1000003U + (uint64_t)t.tv_nsec;
        *shared |= 1;
        printf("TEST_SEED=%llu\n", (unsigned long long)*shared);
        fflush(stdout);
    }
    CHECK_OK(recto_barrier());
    uint64_t seed = *shared;
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(shared));
    return seed;
}

static inline void test_begin(int *argc, char ***argv)
{
    CHECK_OK(recto_init(argc, argv));
}

/* TEST_EVICTS: the test runs with a RECTO_CACHE that is too small for it, and is to
 * use more pages than that. */
static inline int test_evicts(void)
{
    return getenv("TEST_EVICTS") != NULL;
}

/* Then copies must have been given up where there are copies. */
static inline void test_evicted(void)
{
    recto_attr attr = {.consistency = RECTO_SEQUENTIAL};
    int64_t *all = recto_alloc("evictions", sizeof *all, &attr);
    recto_counters mine;
    CHECK(all != NULL);
    CHECK_OK(recto_stats(&mine));
    (void)recto_fetch_add_i64(all, (int64_t)mine.evictions);
    CHECK_OK(recto_barrier());
    CHECK(recto_nodes() == 1 ? *all == 0 : *all > 0);
    CHECK_OK(recto_free(all));
}

/* Are some ranks reached by MPI only: on other hosts, or kept apart? Collective. */
static inline int test_far(void)
{
    struct {
        char host[64];
        int64_t others;
    } *first = recto_alloc("hosts", sizeof *first, NULL);
    const char *transport = getenv("RECTO_TRANSPORT");
    char host[64] = {0};
    CHECK(first != NULL && gethostname(host, sizeof host - 1) == 0);
    if (recto_rank() == 0) {
        memcpy(first->host, host, sizeof host);
    }
    CHECK_OK(recto_barrier());
    if (strcmp(first->host, host) != 0) {
        (void)recto_fetch_add_i64(&first->others, 1);
    }
    CHECK_OK(recto_barrier());
    int far = first->others > 0 || (recto_nodes() > 1 && transport != NULL &&
                                    strcmp(transport, "mpi") == 0);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(first));
    return far;
}

static inline int test_end(const char *what)
{
    if (test_evicts()) {
        test_evicted();
    }
    int rank = recto_rank();
    int size = recto_size();
    int nodes = recto_nodes();
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_finalize());
    if (rank == 0) {
        printf("passed: %s (%d ranks, %d domains)\n", what, size, nodes);
    }
    return 0;
}

#endif
