/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of homes that recto_migrate gave: of tables laid over each other each page
 * has the home that the uppermost names, and the runs are as few as can be.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "space/moved.h"

enum {
    PAGES = 200,
    NONE = -1
};

static int home_of(const struct space_moved *m, uint64_t page)
{
    const struct space_moved_run *run = space_moved_next(m, page);
    return run != NULL && run->first <= page ? run->home : NONE;
}

static void same(const struct space_moved *m, const int *homes, uint64_t seed)
{
    uint64_t runs = 0;
    for (uint64_t p = 0; p < PAGES; p++) {
        ck_assert_msg(home_of(m, p) == homes[p],
                      "seed %llu, page %llu: home %d, not %d",
                      (unsigned long long)seed, (unsigned long long)p,
                      home_of(m, p), homes[p]);
        runs += homes[p] != NONE && (p == 0 || homes[p - 1] != homes[p]);
    }
    ck_assert_uint_eq(m->count, runs);
    for (uint64_t i = 0; i < m->count; i++) {
        ck_assert_uint_lt(m->runs[i].first, m->runs[i].end);
        ck_assert(i == 0 || m->runs[i - 1].end <= m->runs[i].first);
    }
}

/* Lays `over` over *m; both go. */
static void lay(struct space_moved **m, struct space_moved *over)
{
    ck_assert_ptr_nonnull(over);
    struct space_moved *joined = space_moved_join(*m, over);
    ck_assert_ptr_nonnull(joined);
    space_moved_free(*m);
    space_moved_free(over);
    *m = joined;
}

static uint64_t seed_next(void)
{
    static uint64_t k;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_nsec + k++;
}

/* A run somewhere, short or long; noted in `homes`. */
static struct space_moved *run_random(uint64_t *x, int *homes)
{
    *x = *x * 6364136223846793005U + 1442695040888963407U;
    uint64_t first = (*x >> 33) % PAGES;
    uint64_t most = (*x >> 20) % 4 == 0 ? PAGES - first : 1 + (*x >> 17) % 9;
    uint64_t end = first + 1 + (*x >> 45) % most;
    int home = (int)((*x >> 55) % 3);
    end = end < PAGES ? end : PAGES;
    for (uint64_t p = first; p < end; p++) {
        homes[p] = home;
    }
    return space_moved_of((struct space_moved_run){first, end, home});
}

START_TEST(the_uppermost_counts)
{
    for (int k = 0; k < 60; k++) {
        uint64_t seed = seed_next();
        uint64_t x = seed * 0x9e3779b97f4a7c15U | 1;
        int homes[PAGES];
        memset(homes, NONE, sizeof homes);
        struct space_moved *m = NULL;
        for (int i = 0; i < 60; i++) {
            lay(&m, run_random(&x, homes));
            same(m, homes, seed);
        }
        space_moved_free(m);
    }
}
END_TEST

/* Joining is associative: what the ranks name is joined two by two. */
START_TEST(tables_of_many_runs_join_alike)
{
    for (int k = 0; k < 200; k++) {
        uint64_t seed = seed_next();
        uint64_t x = seed * 0x9e3779b97f4a7c15U | 1;
        int homes[2][PAGES];
        struct space_moved *m[2] = {NULL, NULL};
        memset(homes, NONE, sizeof homes);
        for (int i = 0; i < 50; i++) {
            int which = (x >> 60) % 2 == 0;
            lay(&m[which], run_random(&x, homes[which]));
        }
        for (int p = 0; p < PAGES; p++) {
            homes[0][p] = homes[1][p] != NONE ? homes[1][p] : homes[0][p];
        }
        lay(&m[0], m[1] != NULL
                       ? m[1]
                       : space_moved_of((struct space_moved_run){0, 0, 0}));
        same(m[0], homes[0], seed);
        space_moved_free(m[0]);
    }
}
END_TEST

START_TEST(no_table_moves_nothing)
{
    ck_assert_ptr_null(space_moved_next(NULL, 0));
    struct space_moved *m = space_moved_of((struct space_moved_run){5, 5, 1});
    ck_assert_ptr_nonnull(m);
    ck_assert_ptr_null(space_moved_next(m, 5));
    lay(&m, space_moved_of((struct space_moved_run){7, 9, 2}));
    ck_assert_int_eq(home_of(m, 6), NONE);
    ck_assert_uint_eq(space_moved_next(m, 0)->first, 7);
    ck_assert_ptr_null(space_moved_next(m, 9));
    lay(&m, space_moved_of((struct space_moved_run){3, 3, 1}));
    ck_assert_uint_eq(m->count, 1);
    space_moved_free(m);
    space_moved_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moved");
    TCase *t = tcase_create("moved");
    suite_add_tcase(suite, t);
    tcase_add_test(t, the_uppermost_counts);
    tcase_add_test(t, tables_of_many_runs_join_alike);
    tcase_add_test(t, no_table_moves_nothing);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
