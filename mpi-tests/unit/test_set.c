/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a set of indices says of itself what a plain array of flags would: what
 * is in it, the next one, runs, and that each index that was added is taken once and
 * in ascending order; that this holds while threads add and empty it at once; and
 * that threads which take different indices of the same words, while others add,
 * each find all that was added before they began. TEST_SEED repeats a run.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <recto/vm.h>

#include "base/set.h"
#include "random.h"

enum {
    WORD = 64,
    SIZE =
        3 * WORD * WORD * WORD + 77, /* four levels, the last words in part */
    SMALL = 2 * WORD * WORD + 5,
    TURNS = 300,
    THREADS = 4,
    ADDS = 20000,
    NARROW = 200 /* indices that the threads fight for */
};

static uint64_t seed;

static void set_make(struct base_set *set, uint64_t size)
{
    void *memory = NULL;
    ck_assert_int_eq(recto_vm_table_create(base_set_bytes(size), &memory), 0);
    base_set_place(set, memory, size);
}

static void set_end(struct base_set *set, uint64_t size)
{
    recto_vm_unmap((void *)set->words, base_set_bytes(size));
}

/* At rest every bit above a word that is not zero is set (invariant 3). */
static void set_check(const struct base_set *set)
{
    for (unsigned level = 0; level + 1 < set->levels; level++) {
        uint64_t words = set->start[level + 1] - set->start[level];
        for (uint64_t w = 0; w < words; w++) {
            uint64_t above =
                set->words[set->start[level + 1] + w / WORD] >> w % WORD & 1;
            ck_assert(set->words[set->start[level] + w] == 0 || above == 1);
        }
    }
}

/* ---- one thread, against flags --------------------------------------------- */

struct model {
    struct base_set set;
    uint64_t size;
    unsigned char *there;
};

static uint64_t model_next(const struct model *m, uint64_t from)
{
    while (from < m->size && m->there[from] == 0) {
        from++;
    }
    return from;
}

static void look(const struct model *m, uint64_t from, uint64_t end)
{
    uint64_t at = 0;
    uint64_t stop = 0;
    uint64_t next = model_next(m, from);
    ck_assert_int_eq(base_set_next(&m->set, from, &at), next < m->size);
    ck_assert(next == m->size || at == next);
    ck_assert_int_eq(base_set_run(&m->set, from, end, &at, &stop), next < end);
    if (next < end) {
        ck_assert_uint_eq(at, next);
        while (next < end && m->there[next] != 0) {
            next++;
        }
        ck_assert_uint_eq(stop, next);
    }
}

static void change(struct model *m, uint64_t *state)
{
    uint64_t first = random_next(state) % m->size;
    uint64_t most = random_next(state) % 2 != 0 ? 10 : 3 * WORD;
    uint64_t end = first + random_next(state) % most;
    end = end < m->size ? end : m->size;
    uint64_t word = first / WORD;
    uint64_t mask = random_next(state) & random_next(state);
    uint64_t expected = 0;
    switch (random_next(state) % 6) {
    case 0:
        ck_assert_int_eq(base_set_add(&m->set, first), m->there[first] == 0);
        m->there[first] = 1;
        break;
    case 1:
        base_set_keep(&m->set, first);
        m->there[first] = 1;
        break;
    case 2:
        base_set_add_run(&m->set, first, end);
        memset(m->there + first, 1, end - first);
        break;
    case 3:
        base_set_take_run(&m->set, first, end);
        memset(m->there + first, 0, end - first);
        break;
    case 4:
        for (uint64_t i = 0; i < WORD && word * WORD + i < m->size; i++) {
            if (mask >> i & 1) {
                expected |= (uint64_t)m->there[word * WORD + i] << i;
                m->there[word * WORD + i] = 0;
            }
        }
        ck_assert_uint_eq(base_set_take(&m->set, word, mask), expected);
        break;
    default: look(m, first, random_next(state) % 2 != 0 ? m->size : end);
    }
    ck_assert_int_eq(base_set_has(&m->set, first), m->there[first]);
}

START_TEST(as_an_array_of_flags)
{
    static const uint64_t sizes[] = {
        1, 2, WORD - 1, WORD, WORD + 1, WORD * WORD, WORD * WORD + 1, SMALL};
    uint64_t state = seed;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct model m = {.size = sizes[i], .there = calloc(sizes[i], 1)};
        ck_assert_ptr_nonnull(m.there);
        set_make(&m.set, m.size);
        for (int turn = 0; turn < 20 * TURNS; turn++) {
            change(&m, &state);
        }
        set_check(&m.set);
        base_set_take_run(&m.set, 0, m.size);
        uint64_t at = 0;
        ck_assert(!base_set_next(&m.set, 0, &at));
        set_end(&m.set, m.size);
        free(m.there);
    }
}
END_TEST

START_TEST(in_order_and_once)
{
    struct base_set set;
    unsigned char *there = calloc(SIZE, 1);
    ck_assert_ptr_nonnull(there);
    set_make(&set, SIZE);
    uint64_t state = seed;
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t count = random_next(&state) % 500;
        uint64_t spread = random_next(&state) % 2 != 0 ? SIZE : 300;
        uint64_t expected = 0;
        for (uint64_t i = 0; i < count; i++) {
            /* the last one in most turns */
            uint64_t index = i == 0 ? SIZE - 1 : random_next(&state) % spread;
            ck_assert_int_eq(base_set_add(&set, index), there[index] == 0);
            expected += there[index] == 0;
            there[index] = 1;
        }
        struct base_set_pass pass = {0};
        uint64_t index = 0;
        uint64_t before = 0;
        uint64_t taken = 0;
        while (base_set_pop(&set, &pass, &index)) {
            ck_assert_uint_lt(index, SIZE);
            ck_assert(taken == 0 || index > before);
            ck_assert_int_eq(there[index], 1);
            there[index] = 0;
            before = index;
            taken++;
        }
        ck_assert_uint_eq(taken, expected);
        pass = (struct base_set_pass){0};
        ck_assert(!base_set_pop(&set, &pass, &index));
    }
    set_end(&set, SIZE);
    free(there);
}
END_TEST

/* As many pages as an address space has: looking for a few takes no time, which a loop
 * over 2^35 bits would. */
START_TEST(a_few_of_very_many)
{
    const uint64_t size = UINT64_C(1) << 35;
    struct base_set set;
    uint64_t state = seed;
    uint64_t put[16];
    set_make(&set, size);
    for (size_t i = 0; i < 16; i++) {
        put[i] = i * (size / 16) + random_next(&state) % (size / 16);
        ck_assert(base_set_add(&set, put[i]));
    }
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t at = 0;
        for (size_t i = 0; i < 16; i++, at++) {
            ck_assert(base_set_next(&set, at, &at));
            ck_assert_uint_eq(at, put[i]);
        }
        ck_assert(!base_set_next(&set, at, &at));
    }
    base_set_take_run(&set, 1, size);
    uint64_t at = 0;
    ck_assert_int_eq(base_set_next(&set, 0, &at), put[0] == 0);
    set_end(&set, size);
}
END_TEST

/* ---- threads ------------------------------------------------------------------ */

/* Threads add, and every so often one empties the set as a release does. What a
 * thread has added is then taken, by itself or by another before. */
static struct {
    struct base_set set;
    pthread_mutex_t emptying;
    _Atomic uint64_t added[NARROW];
    _Atomic uint64_t taken[NARROW]; /* under `emptying` */
} shared;

static uint64_t index_of(uint64_t i)
{
    return i * (SIZE / NARROW); /* few in a word */
}

static void empty(void)
{
    struct base_set_pass pass = {0};
    uint64_t index = 0;
    pthread_mutex_lock(&shared.emptying);
    while (base_set_pop(&shared.set, &pass, &index)) {
        ck_assert_uint_eq(index % (SIZE / NARROW), 0);
        atomic_fetch_add(&shared.taken[index / (SIZE / NARROW)], 1);
    }
    pthread_mutex_unlock(&shared.emptying);
}

static void *adder(void *argument)
{
    uint64_t state = seed + (uint64_t)(uintptr_t)argument * 977;
    for (int n = 0; n < ADDS; n++) {
        uint64_t i = random_next(&state) % NARROW;
        /* as many takes as this show that it was taken after its add */
        uint64_t before = atomic_load(&shared.taken[i]);
        bool added = base_set_add(&shared.set, index_of(i));
        if (added) {
            atomic_fetch_add(&shared.added[i], 1);
        }
        if (n % 16 == 0) {
            empty();
            ck_assert(!added || atomic_load(&shared.taken[i]) > before);
        } else if (n % 64 == 1) {
            sched_yield();
        }
    }
    return NULL;
}

static void threads_run(void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t t = 0; t < THREADS; t++) {
        ck_assert_int_eq(pthread_create(&threads[t], NULL, run, (void *)t), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
    }
}

START_TEST(threads_add_while_one_empties)
{
    set_make(&shared.set, SIZE);
    ck_assert_int_eq(pthread_mutex_init(&shared.emptying, NULL), 0);
    threads_run(adder);
    empty();
    set_check(&shared.set);
    for (int i = 0; i < NARROW; i++) {
        ck_assert_uint_gt(shared.added[i], 0);
        ck_assert_uint_eq(shared.added[i], shared.taken[i]);
    }
    pthread_mutex_destroy(&shared.emptying);
    set_end(&shared.set, SIZE);
}
END_TEST

/*
 * The ranks of a domain at a checkpoint: each takes the marks of what it homes, which
 * is every fourth page, so all take from the same words; before that all have added
 * theirs and met. Marks that come late, from a thread that takes nothing, are found
 * then or in the next round.
 */
enum {
    ROUNDS = 400,
    PLACES = 64 /* indices of a rank, in a handful of words */
};

static struct {
    struct base_set set;
    pthread_barrier_t met;
    /* adds, and takes, of each index; one that is there is not added again */
    _Atomic uint64_t added[THREADS * PLACES];
    _Atomic uint64_t taken[THREADS * PLACES];
    atomic_bool over;
} ranks;

/* Neighbours belong to different ranks; every eighth word is used. */
static uint64_t place(uint64_t n)
{
    return n / 16 * (8 * WORD) + n % 16;
}

static uint64_t place_number(uint64_t index)
{
    return index / (8 * WORD) * 16 + index % (8 * WORD);
}

static void mark(uint64_t n)
{
    if (base_set_add(&ranks.set, place(n))) {
        atomic_fetch_add(&ranks.added[n], 1);
    }
}

static void *late(void *argument)
{
    uint64_t state = seed * 31 + (uint64_t)(uintptr_t)argument;
    while (!atomic_load(&ranks.over)) {
        mark(random_next(&state) % (THREADS * PLACES));
        if (random_next(&state) % 8 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* Takes what thread `rank` homes, as src/space/dirty.c does. */
static void collect(uint64_t rank)
{
    uint64_t at = 0;
    while (base_set_next(&ranks.set, at, &at)) {
        uint64_t mask = UINT64_C(0x1111111111111111) << rank;
        uint64_t got = base_set_take(&ranks.set, at / WORD, mask);
        for (; got != 0; got &= got - 1) {
            uint64_t index = at / WORD * WORD + (unsigned)__builtin_ctzll(got);
            atomic_fetch_add(&ranks.taken[place_number(index)], 1);
        }
        at = (at / WORD + 1) * WORD;
    }
}

static void *rank_run(void *argument)
{
    uint64_t rank = (uint64_t)(uintptr_t)argument;
    uint64_t state = seed + rank * 7919;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t before[8];
        uint64_t mine[8];
        for (int i = 0; i < 8; i++) {
            mine[i] = random_next(&state) % PLACES * THREADS + rank;
            before[i] = atomic_load(&ranks.taken[mine[i]]);
            mark(mine[i]);
            mark(random_next(&state) % (THREADS * PLACES)); /* anybody's */
        }
        pthread_barrier_wait(&ranks.met);
        collect(rank);
        for (int i = 0; i < 8; i++) {
            ck_assert_uint_gt(atomic_load(&ranks.taken[mine[i]]), before[i]);
        }
        pthread_barrier_wait(&ranks.met);
    }
    return NULL;
}

START_TEST(each_takes_its_own)
{
    pthread_t writer;
    set_make(&ranks.set, SIZE);
    ck_assert_int_eq(pthread_barrier_init(&ranks.met, NULL, THREADS), 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, late, NULL), 0);
    threads_run(rank_run);
    atomic_store(&ranks.over, true);
    ck_assert_int_eq(pthread_join(writer, NULL), 0);
    set_check(&ranks.set);
    for (uint64_t r = 0; r < THREADS; r++) {
        collect(r);
    }
    for (int n = 0; n < THREADS * PLACES; n++) {
        ck_assert_uint_gt(ranks.added[n], 0);
        ck_assert_uint_eq(ranks.added[n], ranks.taken[n]);
    }
    uint64_t at = 0;
    ck_assert(!base_set_next(&ranks.set, 0, &at));
    pthread_barrier_destroy(&ranks.met);
    set_end(&ranks.set, SIZE);
}
END_TEST

/*
 * One index is added while the word is just being emptied of another, again and
 * again, in all ways that the two can meet: neither is ever lost. The thread that adds
 * waits until both were taken, and nobody else adds, which would put bits above right
 * again.
 */
enum {
    MEETINGS = 200000,
    SOME = 200, /* where a core is too busy for all of them in ... */
    SECONDS = 2,
    PATIENCE = 20000 /* yields before it waits in earnest */
};

static struct {
    struct base_set set;
    _Atomic uint64_t taken;
    atomic_bool over;
} two;

static void *taker(void *argument)
{
    unsigned idle = 0;
    (void)argument;
    while (!atomic_load(&two.over)) {
        uint64_t at = 0;
        if (base_set_next(&two.set, 0, &at)) {
            uint64_t got = base_set_take(&two.set, at / WORD, UINT64_MAX);
            atomic_fetch_add(&two.taken, (unsigned)__builtin_popcountll(got));
        } else if (++idle % 1000 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* A minute is for ever. */
static bool taken_by_now(uint64_t count)
{
    for (int tries = 0; atomic_load(&two.taken) < count; tries++) {
        struct timespec pause = {.tv_nsec = 20000000};
        if (tries > PATIENCE + 1500) {
            return false;
        }
        if (tries > PATIENCE) {
            nanosleep(&pause, NULL);
        } else if (tries > PATIENCE / 20) {
            sched_yield();
        }
    }
    return atomic_load(&two.taken) == count;
}

START_TEST(added_while_the_word_is_emptied)
{
    pthread_t thread;
    uint64_t state = seed;
    set_make(&two.set, SIZE);
    ck_assert_int_eq(pthread_create(&thread, NULL, taker, NULL), 0);
    time_t end = time(NULL) + SECONDS;
    for (uint64_t n = 1; n <= SOME || (n <= MEETINGS && time(NULL) < end);
         n++) {
        uint64_t word = random_next(&state) % (SIZE / WORD);
        uint64_t other = random_next(&state) % 2 != 0
                             ? word /* or another one of the same word above */
                             : word / WORD * WORD + random_next(&state) % WORD;
        other = other < SIZE / WORD ? other : word;
        (void)base_set_add(&two.set, word * WORD + 1);
        for (uint64_t i = random_next(&state) % 64; i > 0; i--) {
            __asm__ volatile("" ::: "memory"); /* a few nanoseconds */
        }
        (void)base_set_add(&two.set, other * WORD + 2);
        ck_assert_msg(taken_by_now(2 * n), "meeting %llu: word %llu and %llu",
                      (unsigned long long)n, (unsigned long long)word,
                      (unsigned long long)other);
    }
    atomic_store(&two.over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    set_end(&two.set, SIZE);
}
END_TEST

int main(void)
{
    seed = random_seed();
    Suite *suite = suite_create("set");
    TCase *tests = tcase_create("set");
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, as_an_array_of_flags);
    tcase_add_test(tests, in_order_and_once);
    tcase_add_test(tests, a_few_of_very_many);
    tcase_add_test(tests, threads_add_while_one_empties);
    tcase_add_test(tests, each_takes_its_own);
    tcase_add_test(tests, added_while_the_word_is_emptied);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
