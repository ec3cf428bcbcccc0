/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that locks exclude (a plain counter that they protect loses nothing,
 * from several threads of each rank), that trylock never waits, that wrong use
 * is told, that many locks live at once, and that atomics lose nothing.
 * argv[1]: rounds per thread.
 */
#include <pthread.h>

#include "test.h"

enum {
    THREADS = 3,
    LOCKS = 5
};

static recto_lock_t lock[LOCKS];
static long (*counters)[512]; /* a page each */
static int rounds = 200;

static void *count(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument + 99;
    for (int i = 0; i < rounds; i++) {
        unsigned k = (unsigned)(test_random(&state) % LOCKS);
        if (test_random(&state) % 4 == 0) {
            int r;
            while ((r = recto_trylock(lock[k])) == RECTO_EBUSY) {
                usleep(50);
            }
            CHECK_OK(r);
        } else {
            CHECK_OK(recto_lock(lock[k]));
        }
        /* two words that must move together */
        long seen = counters[k][0];
        CHECK(counters[k][300] == seen);
        counters[k][0] = seen + 1;
        counters[k][300] = seen + 1;
        CHECK_OK(recto_unlock(lock[k]));
    }
    return NULL;
}

static void threads_run(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t t = 0; t < THREADS; t++) {
        uintptr_t id = (uintptr_t)recto_rank() * THREADS + t + 1;
        CHECK_OK(pthread_create(&threads[t], NULL, work, (void *)id));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
}

static struct words {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    double f64;
    int64_t claimed;
    uint64_t last;
} * words;

static void *add(void *argument)
{
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < rounds; i++) {
        recto_fetch_add_i32(&words->i32, -1);
        recto_fetch_add_u32(&words->u32, 2);
        recto_fetch_add_i64(&words->i64, 3);
        recto_fetch_add_f64(&words->f64, 0.5);
        uint64_t old = 0;
        uint64_t seen;
        while ((seen = recto_cas_u64(&words->u64, old, old + 1)) != old) {
            old = seen;
        }
        /* what is exchanged in comes out exactly once */
        uint64_t got = recto_exchange_u64(&words->last, me);
        recto_fetch_add_i64(&words->claimed, (int64_t)got);
    }
    return NULL;
}

/* Every rank in its turn stores, all see it at once; a rank that loads takes
 * nothing from the one that stores. */
static void loads_and_stores(void)
{
    for (int turn = 0; turn < recto_size(); turn++) {
        CHECK_OK(recto_barrier());
        if (recto_rank() == turn) {
            recto_store_i32(&words->i32, -7 - turn);
            recto_store_u32(&words->u32, 4000000000U + (uint32_t)turn);
            recto_store_i64(&words->i64, INT64_MIN + turn);
            recto_store_u64(&words->u64, UINT64_MAX - (uint64_t)turn);
            recto_store_f64(&words->f64, 0.25 + turn);
            CHECK(recto_load_i32(&words->i32) == -7 - turn);
        }
        CHECK_OK(recto_barrier());
        CHECK(recto_load_i32(&words->i32) == -7 - turn);
        CHECK(recto_load_u32(&words->u32) == 4000000000U + (uint32_t)turn);
        CHECK(recto_load_i64(&words->i64) == INT64_MIN + turn);
        CHECK(recto_load_u64(&words->u64) == UINT64_MAX - (uint64_t)turn);
        CHECK(recto_load_f64(&words->f64) == 0.25 + turn);
        CHECK(words->f64 == 0.25 + turn);
    }
    CHECK_OK(recto_barrier());
}

static void wrong_use(void)
{
    recto_lock_t l = {0};
    CHECK(recto_lock(l) == RECTO_ENOENT);
    CHECK(recto_unlock(l) == RECTO_ENOENT);
    CHECK_OK(recto_lock_create(&l));
    recto_lock_t copy = l;
    CHECK(recto_unlock(l) == RECTO_ESTATE);
    CHECK_OK(recto_barrier());
    if (recto_rank() == 0) {
        CHECK_OK(recto_lock(l));
        CHECK(recto_trylock(l) == RECTO_EBUSY);
    }
    CHECK_OK(recto_barrier());
    CHECK(recto_trylock(l) == RECTO_EBUSY);
    CHECK(recto_lock_free(&l) == RECTO_EBUSY);
    /* any rank may give it back */
    if (recto_rank() == recto_size() - 1) {
        CHECK_OK(recto_unlock(l));
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_lock_free(&l));
    CHECK(recto_lock(copy) == RECTO_ENOENT);
    CHECK(recto_lock_free(&copy) == RECTO_ENOENT);
    CHECK_OK(recto_lock_create(&l));
    CHECK(recto_trylock(copy) == RECTO_ENOENT); /* not the old one again */
    CHECK_OK(recto_lock_free(&l));
}

static void many(void)
{
    enum {
        MANY = 300
    };
    static recto_lock_t l[MANY];
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(recto_lock_create(&l[i]));
    }
    for (int i = recto_rank(); i < MANY; i += recto_size()) {
        CHECK_OK(recto_lock(l[i])); /* all held at once */
    }
    CHECK_OK(recto_barrier());
    for (int i = 0; i < MANY; i++) {
        CHECK(recto_trylock(l[i]) == RECTO_EBUSY);
    }
    CHECK_OK(recto_barrier());
    for (int i = recto_rank(); i < MANY; i += recto_size()) {
        CHECK_OK(recto_unlock(l[i]));
    }
    CHECK_OK(recto_barrier());
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(recto_lock_free(&l[i]));
    }
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    rounds = argc > 1 ? atoi(argv[1]) : rounds;
    recto_attr cyclic = {.placement = RECTO_CYCLIC};
    counters = recto_alloc("counters", LOCKS * sizeof *counters, &cyclic);
    words = recto_alloc("words", sizeof *words, &cyclic);
    CHECK(counters != NULL && words != NULL);
    for (int i = 0; i < LOCKS; i++) {
        CHECK_OK(recto_lock_create(&lock[i]));
    }
    threads_run(count);
    CHECK_OK(recto_barrier());
    long total = 0;
    for (int i = 0; i < LOCKS; i++) {
        CHECK(counters[i][0] == counters[i][300]);
        total += counters[i][0];
    }
    CHECK(total == (long)recto_size() * THREADS * rounds);

    threads_run(add);
    CHECK_OK(recto_barrier());
    int64_t n = (int64_t)recto_size() * THREADS * rounds;
    int64_t people = (int64_t)recto_size() * THREADS;
    CHECK(words->i32 == -n && words->u32 == 2 * n && words->i64 == 3 * n);
    CHECK(words->u64 == (uint64_t)n && words->f64 == 0.5 * (double)n);
    CHECK(words->claimed + (int64_t)words->last ==
          rounds * people * (people + 1) / 2);
    CHECK_OK(recto_barrier());

    loads_and_stores();
    wrong_use();
    many();
    for (int i = 0; i < LOCKS; i++) {
        CHECK_OK(recto_lock_free(&lock[i]));
    }
    return test_end("locks and atomics");
}
