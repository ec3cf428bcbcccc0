/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that any m pieces of k + m can be lost and come back, over all subsets of small
 * codes and random ones of large codes; that one more cannot; and that a single parity
 * is the exclusive or.
 */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <recto/error.h>

#include "ckpt/erasure.h"

enum {
    LENGTH = 1237, /* no multiple of a vector */
    PIECES = CKPT_ERASURE_DATA + CKPT_ERASURE_PARITY
};

static unsigned char pieces[PIECES][LENGTH];
static struct ckpt_erasure code;
static uint64_t seed = 88172645463325252;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Random data, its parity; data added in a random order. */
static void make(unsigned k, unsigned m)
{
    void *parity[CKPT_ERASURE_PARITY];
    bool added[CKPT_ERASURE_DATA] = {false};
    ck_assert_int_eq(ckpt_erasure_open(&code, k, m), 0);
    for (unsigned i = 0; i < k; i++) {
        for (size_t b = 0; b < LENGTH; b++) {
            pieces[i][b] = (unsigned char)(draw() >> 40);
        }
    }
    for (unsigned i = 0; i < m; i++) {
        memset(pieces[k + i], 0, LENGTH);
        parity[i] = pieces[k + i];
    }
    for (unsigned n = 0; n < k; n++) {
        unsigned i = (unsigned)(draw() % k);
        while (added[i]) {
            i = (i + 1) % k;
        }
        added[i] = true;
        ckpt_erasure_add(&code, i, pieces[i], parity, LENGTH);
    }
}

/* Loses what is not there and makes it again from what the plan reads. */
static void lose(const bool *there)
{
    static unsigned char back[CKPT_ERASURE_PARITY][LENGTH];
    void *lost[CKPT_ERASURE_PARITY];
    struct ckpt_erasure_plan plan;
    ck_assert_int_eq(ckpt_erasure_plan_make(&code, there, &plan), 0);
    memset(back, 0, sizeof back);
    for (unsigned l = 0; l < plan.lost; l++) {
        lost[l] = back[l];
        ck_assert(!there[plan.to[l]]);
    }
    for (unsigned i = 0; i < plan.k; i++) {
        ck_assert(there[plan.from[i]]);
        ckpt_erasure_rebuild(&plan, i, pieces[plan.from[i]], lost, LENGTH);
    }
    for (unsigned l = 0; l < plan.lost; l++) {
        ck_assert_mem_eq(back[l], pieces[plan.to[l]], LENGTH);
    }
}

START_TEST(all_subsets)
{
    for (unsigned k = 1; k <= 6; k++) {
        for (unsigned m = 1; m <= 4; m++) {
            make(k, m);
            for (unsigned set = 0; set < 1U << (k + m); set++) {
                bool there[PIECES];
                for (unsigned i = 0; i < k + m; i++) {
                    there[i] = (set >> i & 1) != 0;
                }
                struct ckpt_erasure_plan plan;
                if ((unsigned)__builtin_popcount(set) >= k) {
                    lose(there);
                } else {
                    ck_assert_int_eq(
                        ckpt_erasure_plan_make(&code, there, &plan),
                        RECTO_ENOENT);
                }
            }
        }
    }
}
END_TEST

START_TEST(large_codes)
{
    for (int round = 0; round < 60; round++) {
        unsigned k = 1 + (unsigned)(draw() % CKPT_ERASURE_DATA);
        unsigned m = 1 + (unsigned)(draw() % CKPT_ERASURE_PARITY);
        bool there[PIECES];
        if (round == 0) {
            k = CKPT_ERASURE_DATA;
            m = CKPT_ERASURE_PARITY;
        }
        make(k, m);
        for (unsigned i = 0; i < k + m; i++) {
            there[i] = true;
        }
        for (unsigned lost = 0; lost < m;) {
            unsigned i = (unsigned)(draw() % (k + m));
            lost += there[i];
            there[i] = false;
        }
        lose(there);
    }
}
END_TEST

START_TEST(one_parity_is_xor)
{
    make(9, 3);
    for (size_t b = 0; b < LENGTH; b++) {
        unsigned char sum = 0;
        for (unsigned i = 0; i < 9; i++) {
            sum ^= pieces[i][b];
        }
        if (pieces[9][b] != sum) {
            ck_abort_msg("byte %zu", b);
        }
    }
}
END_TEST

START_TEST(bounds)
{
    ck_assert_int_eq(ckpt_erasure_open(&code, 0, 1), RECTO_EINVAL);
    ck_assert_int_eq(ckpt_erasure_open(&code, 1, 0), RECTO_EINVAL);
    ck_assert_int_eq(ckpt_erasure_open(&code, CKPT_ERASURE_DATA + 1, 1),
                     RECTO_EINVAL);
    ck_assert_int_eq(ckpt_erasure_open(&code, 1, CKPT_ERASURE_PARITY + 1),
                     RECTO_EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("erasure");
    TCase *tests = tcase_create("code");
    tcase_add_test(tests, all_subsets);
    tcase_add_test(tests, large_codes);
    tcase_add_test(tests, one_parity_is_xor);
    tcase_add_test(tests, bounds);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
