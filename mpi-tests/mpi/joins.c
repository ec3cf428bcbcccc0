/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many ranks write the same pages and release them at once, so that releases find notices
 * of others on their way and wait for these (src/coherence/rel_tell.c).
 *
 *   together  all hold pages; each writes its words of some of them and releases; who
 *             has seen the flag of another's release, while the rest still
 *             release, acquires and must find what that one wrote
 *   locks     threads of all ranks under a few locks, whose words share pages: the two
 *             words of a lock are always equal, and none of their increments is lost
 *
 * And no release sends a notice that another has sent: where the directory knows the
 * readers exactly, there are at most as many notices as pages were fetched.
 *
 * argv[1]: scale (1 is quick). TEST_SEED repeats.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "test.h"

enum {
    PAGES = 6,
    PER_PAGE = 512,
    ROUNDS = 25,
    LOCKS = 8,
    THREADS = 2,
    ENTRIES = 40,
    EXACT = 62 /* ranks: sharers.h */
};

typedef uint64_t page[PER_PAGE];

static uint64_t seed;
static uint64_t scale = 1;
static page *data;
static _Atomic uint64_t *flags; /* of each rank, on pages of their own */

static page *pages_new(const char *name, uint64_t count, int consistency)
{
    recto_attr attr = {.placement = RECTO_CYCLIC,
                       .granule = sizeof(page),
                       .consistency = consistency};
    page *p = recto_alloc(name, count * sizeof(page), &attr);
    CHECK(p != NULL);
    return p;
}

/* ---- together ---- */

/* What a word of rank r on page p is after `round`: written, or as before. */
static uint64_t expected(uint64_t round, int r, uint64_t p)
{
    while (round > 0 &&
           test_hash(seed ^ p, (uint64_t)r, round) % 4 == 0) { /* not written */
        round--;
    }
    return round;
}

static void look(uint64_t round, int r)
{
    for (uint64_t p = 0; p < PAGES; p++) {
        if (data[p][r] != expected(round, r, p)) {
            fprintf(stderr,
                    "rank %d, TEST_SEED=%llu, round %llu: page %llu, word of "
                    "rank %d is %llu, not %llu\n",
                    recto_rank(), (unsigned long long)seed,
                    (unsigned long long)round, (unsigned long long)p, r,
                    (unsigned long long)data[p][r],
                    (unsigned long long)expected(round, r, p));
            CHECK(!"stale or lost");
        }
    }
}

static void look_at_all(uint64_t round)
{
    for (int r = 0; r < recto_size(); r++) {
        look(round, r);
    }
}

static void together(void)
{
    int me = recto_rank();
    int n = recto_size();
    for (uint64_t round = 1; round <= ROUNDS * scale; round++) {
        uint64_t by = test_hash(seed, (uint64_t)me, round);
        int other = (me + 1 + (int)(by % (uint64_t)(n > 1 ? n - 1 : 1))) % n;
        look_at_all(round - 1);
        CHECK_OK(recto_barrier());
        if (by % 8 == 0) { /* late */
            usleep((useconds_t)(by >> 32) % 500);
        }
        for (uint64_t p = 0; p < PAGES; p++) {
            if (expected(round, me, p) == round) {
                data[p][me] = round;
            }
        }
        CHECK_OK(recto_release());
        atomic_store(&flags[me * PER_PAGE], round);
        while (atomic_load(&flags[other * PER_PAGE]) < round) {
            sched_yield();
        }
        CHECK_OK(recto_acquire());
        look(round, other);
        look(round, me);
        CHECK_OK(recto_barrier());
    }
    look_at_all(ROUNDS * scale);
    CHECK_OK(recto_barrier());
}

/* ---- locks ---- */

static recto_lock_t locks[LOCKS];
static _Atomic uint64_t entries[LOCKS]; /* of this rank */

/* Past the words of `together`. */
static uint64_t *word(uint64_t lock, uint64_t copy)
{
    return &data[(lock * 5 + copy) % PAGES][PER_PAGE / 2 + 2 * lock + copy];
}

static void *enter(void *argument)
{
    uint64_t state =
        test_hash(seed, (uint64_t)recto_rank(), *(uint64_t *)argument) | 1;
    for (uint64_t i = 0; i < ENTRIES * scale; i++) {
        uint64_t l = test_random(&state) % LOCKS;
        CHECK_OK(recto_lock(locks[l]));
        CHECK(*word(l, 0) == *word(l, 1));
        *word(l, 0) += 1;
        *word(l, 1) += 1;
        atomic_fetch_add(&entries[l], 1);
        CHECK_OK(recto_unlock(locks[l]));
    }
    return NULL;
}

static void under_locks(void)
{
    pthread_t threads[THREADS];
    uint64_t numbers[THREADS];
    uint64_t(*all)[LOCKS] = (void *)pages_new("entries", 1, RECTO_SEQUENTIAL);
    CHECK_OK(recto_lock_create_many(locks, LOCKS));
    for (uint64_t t = 0; t < THREADS; t++) {
        numbers[t] = t;
        CHECK_OK(pthread_create(&threads[t], NULL, enter, &numbers[t]));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
    for (int l = 0; l < LOCKS; l++) {
        (void)recto_fetch_add_i64((int64_t *)&(*all)[l], (int64_t)entries[l]);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t l = 0; l < LOCKS; l++) {
        CHECK(*word(l, 0) == (*all)[l] && *word(l, 1) == (*all)[l]);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_lock_free_many(locks, LOCKS));
    CHECK_OK(recto_free(all));
}

/* ---- notices ---- */

static void count(void)
{
    int64_t *sums = (int64_t *)pages_new("sums", 1, RECTO_SEQUENTIAL);
    recto_counters mine;
    CHECK_OK(recto_stats(&mine));
    (void)recto_fetch_add_i64(&sums[0], (int64_t)mine.notices);
    (void)recto_fetch_add_i64(&sums[1],
                              (int64_t)(mine.bytes_fetched / sizeof(page)));
    CHECK_OK(recto_barrier());
    if (recto_rank() == 0) {
        printf("%lld notices, %lld pages fetched\n", (long long)sums[0],
               (long long)sums[1]);
    }
    if (recto_size() <= EXACT && getenv("TEST_SHARERS") == NULL) {
        CHECK(sums[0] <= sums[1]);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(sums));
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    seed = test_seed("seed");
    CHECK(recto_size() <= PER_PAGE / 2);
    data = pages_new("data", PAGES, RECTO_RELEASE);
    flags =
        (void *)pages_new("flags", (uint64_t)recto_size(), RECTO_SEQUENTIAL);
    together();
    under_locks();
    count();
    CHECK_OK(recto_free((void *)flags));
    CHECK_OK(recto_free(data));
    return test_end("joins");
}
