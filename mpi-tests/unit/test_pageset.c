/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a set of pages gives back each page that was added, once and in
 * ascending order, as a plain array of flags would; and that this holds while
 * threads add and empty it at once. TEST_SEED repeats a run.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>

#include "coherence/pageset.h"
#include "random.h"

enum {
    WORD = 64,
    PAGES =
        3 * WORD * WORD * WORD + 77, /* four words of tops, the last in part */
    TURNS = 300,
    THREADS = 4,
    ADDS = 20000,
    NARROW = 200 /* pages that the threads fight for */
};

static uint64_t seed;

START_TEST(in_order_and_once)
{
    struct pageset set;
    unsigned char *there = calloc(PAGES, 1);
    ck_assert_ptr_nonnull(there);
    ck_assert_int_eq(pageset_create(&set, PAGES), 0);
    uint64_t state = seed;
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t count = random_next(&state) % 500;
        uint64_t spread = random_next(&state) % 2 != 0 ? PAGES : 300;
        uint64_t expected = 0;
        for (uint64_t i = 0; i < count; i++) {
            /* the last page in most turns */
            uint64_t page = i == 0 ? PAGES - 1 : random_next(&state) % spread;
            ck_assert_int_eq(pageset_add(&set, page), there[page] == 0);
            expected += there[page] == 0;
            there[page] = 1;
        }
        struct pageset_pass pass = {0};
        uint64_t page = 0;
        uint64_t before = 0;
        uint64_t taken = 0;
        while (pageset_take(&set, &pass, &page)) {
            ck_assert_uint_lt(page, PAGES);
            ck_assert(taken == 0 || page > before);
            ck_assert_int_eq(there[page], 1);
            there[page] = 0;
            before = page;
            taken++;
        }
        ck_assert_uint_eq(taken, expected);
        pass = (struct pageset_pass){0};
        ck_assert(!pageset_take(&set, &pass, &page));
    }
    pageset_destroy(&set);
    free(there);
}
END_TEST

START_TEST(one_page)
{
    struct pageset set;
    struct pageset_pass pass = {0};
    uint64_t page = 7;
    ck_assert_int_eq(pageset_create(&set, 1), 0);
    ck_assert(pageset_add(&set, 0));
    ck_assert(!pageset_add(&set, 0));
    ck_assert(pageset_take(&set, &pass, &page));
    ck_assert_uint_eq(page, 0);
    ck_assert(!pageset_take(&set, &pass, &page));
    pageset_destroy(&set);
}
END_TEST

/* Threads add, and every so often one empties the set as a release does. What a
 * thread has added is then taken, by itself or by another before. */
static struct {
    struct pageset set;
    pthread_mutex_t emptying;
    _Atomic uint64_t added[NARROW];
    _Atomic uint64_t taken[NARROW]; /* under `emptying` */
} shared;

static uint64_t page_of(uint64_t i)
{
    return i * (PAGES / NARROW); /* few in a word */
}

static void empty(void)
{
    struct pageset_pass pass = {0};
    uint64_t page = 0;
    pthread_mutex_lock(&shared.emptying);
    while (pageset_take(&shared.set, &pass, &page)) {
        ck_assert_uint_eq(page % (PAGES / NARROW), 0);
        atomic_fetch_add(&shared.taken[page / (PAGES / NARROW)], 1);
    }
    pthread_mutex_unlock(&shared.emptying);
}

static void *adder(void *argument)
{
    uint64_t state = seed + (uint64_t)(uintptr_t)argument * 977;
    for (int n = 0; n < ADDS; n++) {
        uint64_t i = random_next(&state) % NARROW;
        /* as many takes as this show that the page was taken after its add */
        uint64_t before = atomic_load(&shared.taken[i]);
        bool added = pageset_add(&shared.set, page_of(i));
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

START_TEST(threads_add_while_one_empties)
{
    pthread_t threads[THREADS];
    ck_assert_int_eq(pageset_create(&shared.set, PAGES), 0);
    ck_assert_int_eq(pthread_mutex_init(&shared.emptying, NULL), 0);
    for (uintptr_t t = 0; t < THREADS; t++) {
        ck_assert_int_eq(
            pthread_create(&threads[t], NULL, adder, (void *)(t + 1)), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
    }
    empty();
    for (int i = 0; i < NARROW; i++) {
        ck_assert_uint_gt(shared.added[i], 0);
        ck_assert_uint_eq(shared.added[i], shared.taken[i]);
    }
    pthread_mutex_destroy(&shared.emptying);
    pageset_destroy(&shared.set);
}
END_TEST

int main(void)
{
    seed = random_seed();
    Suite *suite = suite_create("pageset");
    TCase *tests = tcase_create("pageset");
    tcase_add_test(tests, in_order_and_once);
    tcase_add_test(tests, one_page);
    tcase_add_test(tests, threads_add_while_one_empties);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
