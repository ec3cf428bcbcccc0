/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that differences of pages hold exactly the changed bytes, on each path of
 * diff.c that this processor has: against a loop over bytes for random changes
 * of every density, and with another thread that writes the bytes in between.
 * TEST_SEED repeats a run.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "coherence/diff.h"
#include "random.h"

enum {
    PAGE = 4096,
    TURNS = 1000
};

static uint64_t state;

static void random_page(char *p)
{
    for (int i = 0; i < PAGE; i++) {
        p[i] = (char)random_next(&state);
    }
}

/* Changes about one byte in `sparseness`, or runs of bytes; returns how many
 * differ from `twin`. */
static size_t change(char *page, const char *twin)
{
    uint64_t sparseness = (uint64_t)1 << random_next(&state) % 13;
    uint64_t run =
        random_next(&state) % 2 != 0 ? 1 : 1 + random_next(&state) % 100;
    for (uint64_t i = 0; i < PAGE; i++) {
        if (random_next(&state) % (sparseness * run) == 0) {
            for (uint64_t k = i; k < i + run && k < PAGE; k++) {
                page[k] = (char)random_next(&state);
            }
        }
    }
    size_t changed = 0;
    for (int i = 0; i < PAGE; i++) {
        changed += page[i] != twin[i];
    }
    return changed;
}

struct pages {
    _Alignas(64) char page[PAGE];
    char twin[PAGE];
    char twin_before[PAGE];
    char home[PAGE];
    char home_before[PAGE];
};

static void pages_make(struct pages *p, size_t *changed)
{
    random_page(p->twin);
    random_page(p->home);
    memcpy(p->page, p->twin, PAGE);
    memcpy(p->twin_before, p->twin, PAGE);
    memcpy(p->home_before, p->home, PAGE);
    *changed = change(p->page, p->twin);
}

/* One assertion a page: Check reports each to its parent. */
static void home_check(const struct pages *p)
{
    int wrong = -1;
    for (int i = 0; i < PAGE; i++) {
        char want =
            p->page[i] != p->twin_before[i] ? p->page[i] : p->home_before[i];
        wrong = p->home[i] != want ? i : wrong;
    }
    ck_assert_msg(wrong < 0, "byte %d", wrong);
}

/* It is that of the changes, if it was wanted. */
static void range_check(const struct pages *p, const uint32_t *range,
                        bool wanted)
{
    uint32_t low = 0;
    uint32_t high = PAGE;
    while (low < PAGE && p->page[low] == p->twin_before[low]) {
        low++;
    }
    while (high > low && p->page[high - 1] == p->twin_before[high - 1]) {
        high--;
    }
    ck_assert_uint_eq(range[0], !wanted ? 7 : low < PAGE ? low : 0);
    ck_assert_uint_eq(range[1], !wanted ? 7 : low < PAGE ? high - 1 : 0);
}

/* False when the processor lacks the path of this loop. */
static bool path_take(int which)
{
    if (diff_init((enum diff_path)which) == (enum diff_path)which) {
        return true;
    }
    printf("path %d: not on this processor\n", which);
    return false;
}

START_TEST(stores_what_changed)
{
    static struct pages p;
    for (int turn = 0; path_take(_i) && turn < TURNS; turn++) {
        size_t changed = 0;
        int keep = turn % 2;
        bool wanted = turn / 2 % 2 == 0;
        pages_make(&p, &changed);
        uint32_t range[2] = {7, 7};
        ck_assert_uint_eq(
            diff_store(p.home, p.page, p.twin, keep, wanted ? range : NULL),
            changed);
        range_check(&p, range, wanted);
        home_check(&p);
        ck_assert(memcmp(p.twin, keep ? p.page : p.twin_before, PAGE) == 0);
    }
}
END_TEST

START_TEST(packs_what_changed)
{
    static struct pages p;
    static char packed[DIFF_MOST];
    for (int turn = 0; path_take(_i) && turn < TURNS; turn++) {
        size_t changed = 0;
        size_t counted = 0;
        uint32_t range[2] = {7, 7};
        bool wanted = turn % 2 == 0;
        pages_make(&p, &changed);
        size_t length = diff_pack(packed, p.page, p.twin, 1, &counted,
                                  wanted ? range : NULL);
        ck_assert_uint_eq(counted, changed);
        range_check(&p, range, wanted);
        ck_assert(memcmp(p.twin, p.page, PAGE) == 0);
        ck_assert((length == 0) == (changed == 0));
        if (length > 0) {
            ck_assert_uint_eq(diff_apply(p.home, packed, length - 1), 0);
            memcpy(p.home, p.home_before, PAGE);
            ck_assert_uint_eq(diff_apply(p.home, packed, length), length);
        }
        home_check(&p);
    }
}
END_TEST

/* `home` takes the part of the local copy, `page` that of what comes in. */
START_TEST(patches_what_changed)
{
    static struct pages p;
    for (int turn = 0; path_take(_i) && turn < TURNS; turn++) {
        size_t changed = 0;
        pages_make(&p, &changed);
        diff_patch(p.home, p.twin, p.page);
        home_check(&p);
        ck_assert(memcmp(p.twin, p.page, PAGE) == 0);
    }
}
END_TEST

/* The neighbour owns the odd bytes of the home. */
static _Atomic char shared[PAGE];
static _Atomic bool stop;

static void *neighbour(void *unused)
{
    (void)unused;
    for (char c = 1; !atomic_load(&stop); c++) {
        for (int i = 1; i < PAGE; i += 2) {
            atomic_store_explicit(&shared[i], c, memory_order_relaxed);
            if (atomic_load_explicit(&shared[i], memory_order_relaxed) != c) {
                return (void *)&shared[i];
            }
        }
    }
    return NULL;
}

START_TEST(leaves_neighbours_alone)
{
    static char page[PAGE];
    static char twin[PAGE];
    pthread_t thread;
    void *lost = NULL;
    if (!path_take(_i)) {
        return;
    }
    atomic_store(&stop, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, neighbour, NULL), 0);
    for (int turn = 0; turn < 50 * TURNS; turn++) {
        for (int i = 0; i < PAGE; i += 2 + 2 * (turn % 5)) {
            page[i] = (char)(turn + 1);
        }
        (void)diff_store((char *)shared, page, twin, 1, NULL);
    }
    atomic_store(&stop, true);
    ck_assert_int_eq(pthread_join(thread, &lost), 0);
    ck_assert_ptr_null(lost);
}
END_TEST

int main(void)
{
    state = random_seed();
    Suite *suite = suite_create("diff");
    TCase *tests = tcase_create("diff");
    int paths = DIFF_AVX512 + 1;
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, stores_what_changed, 0, paths);
    tcase_add_loop_test(tests, packs_what_changed, 0, paths);
    tcase_add_loop_test(tests, patches_what_changed, 0, paths);
    tcase_add_loop_test(tests, leaves_neighbours_alone, 0, paths);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
