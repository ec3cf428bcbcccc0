/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that reader-writer locks exclude, that events, semaphores and conditions
 * wake whom they should, that each makes what was written before it visible to
 * who passes it (also through a chain of different ones), that objects which are
 * held cannot be freed, and that wrong use is told. From several threads of each
 * rank. argv[1]: rounds per thread; argv[2]: locks that live at once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "test.h"

enum {
    THREADS = 3,
    PAGE_WORDS = 512,
    CELLS = 4 /* of the bounded buffers */
};

static int rounds = 60;
static long (*pages)[PAGE_WORDS]; /* a page each */

static void threads_run(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t t = 0; t < THREADS; t++) {
        uintptr_t id = (uintptr_t)recto_rank() * THREADS + t;
        CHECK_OK(pthread_create(&threads[t], NULL, work, (void *)id));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
}

/* ---- reader-writer locks ---------------------------------------------------------- */

static recto_rwlock_t rwlock;

/* Two words on two pages that a writer moves together. */
static void *read_or_write(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument + 77;
    for (int i = 0; i < rounds; i++) {
        uint64_t dice = test_random(&state) % 8;
        bool write = dice < 3;
        int r = RECTO_EBUSY;
        if (dice == 0 || dice == 7) {
            while (r == RECTO_EBUSY) {
                r = write ? recto_rwlock_trywrlock(rwlock)
                          : recto_rwlock_tryrdlock(rwlock);
            }
        } else {
            r = write ? recto_rwlock_wrlock(rwlock)
                      : recto_rwlock_rdlock(rwlock);
        }
        CHECK_OK(r);
        long seen = pages[0][0];
        CHECK(pages[1][5] == seen);
        if (write) {
            pages[0][0] = seen + 1;
            pages[1][5] = seen + 1;
            pages[2][recto_rank()]++;
        }
        CHECK_OK(recto_rwlock_unlock(rwlock));
    }
    return NULL;
}

static void rwlocks(void)
{
    CHECK_OK(recto_rwlock_create(&rwlock));
    threads_run(read_or_write);
    CHECK_OK(recto_barrier());
    long writes = 0;
    for (int r = 0; r < recto_size(); r++) {
        writes += pages[2][r];
    }
    CHECK(pages[0][0] == writes && pages[1][5] == writes);
    /* all ranks read at the same time: they meet inside */
    CHECK_OK(recto_rwlock_rdlock(rwlock));
    CHECK_OK(recto_barrier());
    CHECK(recto_rwlock_trywrlock(rwlock) == RECTO_EBUSY);
    CHECK_OK(recto_barrier());
    CHECK(recto_rwlock_free(&rwlock) == RECTO_EBUSY);
    CHECK_OK(recto_rwlock_unlock(rwlock));
    CHECK_OK(recto_barrier());
    CHECK(recto_rwlock_unlock(rwlock) == RECTO_ESTATE);
    CHECK_OK(recto_rwlock_free(&rwlock));
    CHECK(recto_rwlock_rdlock(rwlock) == RECTO_ENOENT);
}

/* ---- bounded buffers: numbers pass through cells in release consistent memory -------- */

static recto_sem_t room;
static recto_sem_t filled;
static recto_lock_t lock;
static recto_cond_t not_full;
static recto_cond_t not_empty;

/* pages[3]: 0 = put, 1 = taken, 2 = sum taken; the cells have a page each */
static void put(long number)
{
    long at = pages[3][0]++;
    pages[4 + at % CELLS][7] = number;
}

static void take(void)
{
    long at = pages[3][1]++;
    pages[3][2] += pages[4 + at % CELLS][7];
    pages[4 + at % CELLS][7] = -1;
}

static void *by_semaphores(void *argument)
{
    long id = (long)(uintptr_t)argument;
    for (long i = 0; i < rounds; i++) {
        CHECK_OK(recto_sem_wait(room));
        CHECK_OK(recto_lock(lock));
        put(id * rounds + i);
        CHECK_OK(recto_unlock(lock));
        CHECK_OK(recto_sem_post(filled));
        CHECK_OK(recto_sem_wait(filled));
        CHECK_OK(recto_lock(lock));
        take();
        CHECK_OK(recto_unlock(lock));
        CHECK_OK(recto_sem_post(room));
    }
    return NULL;
}

static void *by_conditions(void *argument)
{
    long id = (long)(uintptr_t)argument;
    for (long i = 0; i < rounds; i++) {
        CHECK_OK(recto_lock(lock));
        while (pages[3][0] - pages[3][1] == CELLS) {
            CHECK_OK(recto_cond_wait(not_full, lock));
        }
        put(id * rounds + i);
        CHECK_OK(recto_cond_signal(not_empty));
        CHECK_OK(recto_unlock(lock));
        CHECK_OK(recto_lock(lock));
        while (pages[3][0] == pages[3][1]) {
            CHECK_OK(recto_cond_wait(not_empty, lock));
        }
        take();
        CHECK_OK(recto_cond_signal(not_full));
        CHECK_OK(recto_unlock(lock));
    }
    return NULL;
}

static void buffer_check(void)
{
    long n = (long)recto_size() * THREADS * rounds;
    CHECK_OK(recto_barrier());
    CHECK(pages[3][0] == n && pages[3][1] == n);
    CHECK(pages[3][2] == n * (n - 1) / 2);
    CHECK_OK(recto_barrier());
    if (recto_rank() == 0) {
        memset(pages[3], 0, sizeof pages[3]);
    }
    CHECK_OK(recto_barrier());
}

static void buffers(void)
{
    recto_sem_t wrong;
    CHECK(recto_sem_create(&wrong, -1) == RECTO_EINVAL);
    CHECK_OK(recto_sem_create(&room, CELLS));
    CHECK_OK(recto_sem_create(&filled, 0));
    CHECK_OK(recto_lock_create(&lock));
    CHECK_OK(recto_cond_create(&not_full));
    CHECK_OK(recto_cond_create(&not_empty));
    CHECK(recto_sem_trywait(filled) == RECTO_EBUSY);
    CHECK_OK(recto_barrier());
    threads_run(by_semaphores);
    buffer_check();
    threads_run(by_conditions);
    buffer_check();
    CHECK(recto_cond_wait(not_full, lock) == RECTO_ESTATE);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_sem_free(&room));
    CHECK_OK(recto_sem_free(&filled));
    CHECK_OK(recto_cond_free(&not_full));
    CHECK_OK(recto_cond_free(&not_empty));
}

/* ---- events, broadcast --------------------------------------------------------------- */

static recto_event_t gate;
static recto_cond_t all;
static _Atomic long here;

/* All wait at the gate, see what was written before it opened, then wait for the
 * broadcast. */
static void *wait_at_gate(void *argument)
{
    (void)argument;
    CHECK_OK(recto_event_wait(gate));
    CHECK(pages[8][3] == 42);
    CHECK_OK(recto_lock(lock));
    pages[8][4]++;
    while (pages[8][5] == 0) {
        CHECK_OK(recto_cond_wait(all, lock));
    }
    CHECK_OK(recto_unlock(lock));
    atomic_fetch_add(&here, 1);
    return NULL;
}

static void gates(void)
{
    pthread_t threads[THREADS];
    CHECK_OK(recto_event_create(&gate));
    CHECK_OK(recto_cond_create(&all));
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_create(&threads[t], NULL, wait_at_gate, NULL));
    }
    CHECK(recto_event_test(gate) == 0);
    CHECK_OK(recto_barrier());
    if (recto_rank() == recto_size() - 1) {
        pages[8][3] = 42;
        CHECK_OK(recto_event_set(gate));
        for (long seen = 0; seen < (long)THREADS * recto_size();) {
            CHECK_OK(recto_lock(lock));
            seen = pages[8][4];
            CHECK_OK(recto_unlock(lock));
        }
        CHECK_OK(recto_lock(lock));
        pages[8][5] = 1;
        CHECK_OK(recto_cond_broadcast(all));
        CHECK_OK(recto_unlock(lock));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
    CHECK(here == THREADS);
    CHECK(recto_event_test(gate) == 1);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_event_clear(gate));
    CHECK_OK(recto_barrier());
    CHECK(recto_event_test(gate) == 0);
    CHECK_OK(recto_event_free(&gate));
    CHECK_OK(recto_cond_free(&all));
    CHECK(recto_event_set(gate) == RECTO_ENOENT);
}

/* ---- chains ---------------------------------------------------------------------------- */

/* A word goes from rank to rank by objects of changing kind: the last sees what
 * each wrote on its own page. */
static void chains(void)
{
    int n = recto_size();
    recto_event_t events[64];
    recto_sem_t sems[64];
    CHECK(n <= 64);
    for (int r = 0; r < n; r++) {
        CHECK_OK(recto_event_create(&events[r]));
        CHECK_OK(recto_sem_create(&sems[r], 0));
    }
    int me = recto_rank();
    for (int round = 1; round <= 10; round++) {
        if (me > 0) {
            CHECK_OK(me % 2 != 0 ? recto_event_wait(events[me])
                                 : recto_sem_wait(sems[me]));
        }
        for (int r = 0; r < me; r++) {
            CHECK(pages[9 + r][r] == round);
        }
        pages[9 + me][me] = round;
        if (me + 1 < n) {
            CHECK_OK((me + 1) % 2 != 0 ? recto_event_set(events[me + 1])
                                       : recto_sem_post(sems[me + 1]));
        }
        CHECK_OK(recto_barrier());
        CHECK_OK(recto_event_clear(events[me]));
        CHECK_OK(recto_barrier());
    }
    for (int r = 0; r < n; r++) {
        CHECK_OK(recto_event_free(&events[r]));
        CHECK_OK(recto_sem_free(&sems[r]));
    }
}

/* ---- many ------------------------------------------------------------------------------- */

static void many(size_t count)
{
    recto_lock_t *locks = calloc(count, sizeof *locks);
    CHECK(locks != NULL);
    CHECK_OK(recto_lock_create_many(locks, count));
    size_t mine = (size_t)recto_rank();
    size_t step = (size_t)recto_size();
    for (size_t i = mine; i < count; i += step) {
        CHECK_OK(recto_lock(locks[i])); /* all of them held at once */
    }
    CHECK_OK(recto_barrier());
    CHECK(recto_trylock(locks[0]) == RECTO_EBUSY);
    CHECK_OK(recto_barrier());
    CHECK(recto_lock_free_many(locks, count) == RECTO_EBUSY);
    for (size_t i = mine; i < count; i += step) {
        CHECK_OK(recto_unlock(locks[i]));
    }
    CHECK_OK(recto_barrier());
    recto_lock_t old = locks[0];
    CHECK_OK(recto_lock_free_many(locks, count));
    CHECK(recto_lock(old) == RECTO_ENOENT);
    free(locks);
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    rounds = argc > 1 ? atoi(argv[1]) : rounds;
    pages =
        recto_alloc("pages", sizeof *pages * (size_t)(9 + recto_size()), NULL);
    CHECK(pages != NULL);
    CHECK_OK(recto_barrier());
    rwlocks();
    buffers();
    gates();
    chains();
    CHECK_OK(recto_lock_free(&lock));
    many(argc > 2 ? strtoul(argv[2], NULL, 10) : 500);
    CHECK_OK(recto_free(pages));
    return test_end("synchronisation objects");
}
