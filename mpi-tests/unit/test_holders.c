/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a set of ranks in a word and a pool knows its members exactly, whatever
 * is added and removed, for jobs of few and of many ranks; that its memory follows the
 * members, and is used again. TEST_SEED repeats a run.
 */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "coherence/holders.h"
#include "random.h"

enum {
    MOST = 20000,
    SETS = 8
};

static uint64_t seed;
static struct holders_pool pool;
static unsigned char in[SETS][MOST];
static uint64_t sets[SETS];

static void compare(int s, int ranks)
{
    int next = holders_next(&pool, sets[s], 0);
    for (int r = 0; r < ranks; r++) {
        ck_assert_int_eq(holders_has(&pool, sets[s], r), in[s][r]);
        ck_assert_int_eq(next == r, in[s][r]);
        if (next == r) {
            next = holders_next(&pool, sets[s], r + 1);
        }
    }
    ck_assert_int_eq(next, HOLDERS_NOBODY);
    ck_assert_int_eq(sets[s] == 0, memchr(in[s], 1, (size_t)ranks) == NULL);
}

static void change(int s, int rank, bool add)
{
    in[s][rank] = add;
    sets[s] = add ? holders_add(&pool, sets[s], rank)
                  : holders_remove(&pool, sets[s], rank);
}

/* A walk that grows and shrinks the sets by turns, among few ranks or all. */
static void walk(int ranks, uint64_t *state)
{
    for (int turn = 0; turn < 12; turn++) {
        int among = turn % 3 == 0 && ranks > 9 ? 9 : ranks;
        uint64_t favour = random_next(state) % 9 + 1;
        for (int i = 0; i < 300; i++) {
            change((int)(random_next(state) % SETS),
                   (int)(random_next(state) % (uint64_t)among),
                   random_next(state) % 10 < favour);
        }
        for (int s = 0; s < SETS; s++) {
            compare(s, ranks);
        }
    }
}

static const int jobs[] = {1, 2, 63, 64, 65, 66, 1000, MOST};

START_TEST(members)
{
    uint64_t state = seed + (uint64_t)_i;
    memset(sets, 0, sizeof sets);
    memset(in, 0, sizeof in);
    holders_init(jobs[_i]);
    walk(jobs[_i], &state);
    holders_pool_free(&pool);
}
END_TEST

/* Jobs of few ranks in the form of many, as other tests use it. */
START_TEST(lowered)
{
    uint64_t state = seed;
    memset(sets, 0, sizeof sets);
    memset(in, 0, sizeof in);
    holders_exact_most = 0;
    holders_init(8);
    walk(8, &state);
    holders_exact_most = HOLDERS_BITS;
    holders_pool_free(&pool);
}
END_TEST

START_TEST(memory)
{
    holders_init(MOST);
    memset(sets, 0, sizeof sets);
    memset(in, 0, sizeof in);
    for (int r = 0; r < 3; r++) { /* fit into the word */
        change(0, MOST - 1 - r, true);
    }
    ck_assert_ptr_null(pool.base);
    for (int r = 0; r < MOST; r++) {
        change(1, (r * 7919) % MOST, true); /* a prime: each once */
    }
    compare(0, MOST);
    compare(1, MOST);
    uint64_t used = pool.used * 32;
    ck_assert_uint_le(used, (uint64_t)MOST * 4 * 5);
    for (int turn = 0; turn < 5; turn++) { /* nothing more for the same again */
        for (int r = 0; r < MOST; r++) {
            change(1, r, false);
        }
        compare(1, MOST);
        for (int r = 0; r < MOST; r++) {
            change(1, MOST - 1 - r, true);
        }
        ck_assert_uint_eq(pool.used * 32, used);
    }
    holders_clear(&pool, sets[1]);
    sets[1] = 0;
    memset(in[1], 0, sizeof in[1]);
    for (int r = 0; r < MOST; r++) {
        change(1, r, true);
    }
    ck_assert_uint_eq(pool.used * 32, used);
    compare(1, MOST);
    holders_pool_free(&pool);
}
END_TEST

int main(void)
{
    seed = random_seed();
    Suite *suite = suite_create("holders");
    TCase *tc = tcase_create("holders");
    tcase_add_loop_test(tc, members, 0, (int)(sizeof jobs / sizeof jobs[0]));
    tcase_add_test(tc, lowered);
    tcase_add_test(tc, memory);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
