/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that the interval between checkpoints is the one at which a run takes least
 * time: against Daly's exact expression for that time, minimised by search.
 */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "ckpt/due.h"

/* Time of a run, over that without failures and checkpoints, where a checkpoint costs
 * d, the work between two is t, and failures come at random, one in m on average. */
static double cost_of(double t, double d, double m)
{
    return m * expm1((t + d) / m) / t;
}

/* The least of it; it falls, then grows. */
static double least(double d, double m)
{
    double low = 1e-6 * m;
    double high = 10 * m;
    for (int i = 0; i < 200; i++) {
        double a = low + (high - low) / 3;
        double b = high - (high - low) / 3;
        if (cost_of(a, d, m) < cost_of(b, d, m)) {
            high = b;
        } else {
            low = a;
        }
    }
    return cost_of(low, d, m);
}

START_TEST(costs_least)
{
    static const double mtbf[] = {10, 3600, 86400, 3e6};
    static const double shares[] = {1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1};
    for (size_t i = 0; i < sizeof mtbf / sizeof mtbf[0]; i++) {
        for (size_t j = 0; j < sizeof shares / sizeof shares[0]; j++) {
            double m = mtbf[i];
            double d = shares[j] * m;
            double t = 1e-9 * (double)ckpt_due_best((uint64_t)(d * 1e9),
                                                    (uint64_t)(m * 1e9));
            ck_assert_double_le(cost_of(t, d, m), 1.003 * least(d, m));
        }
    }
}
END_TEST

START_TEST(ends)
{
    ck_assert_uint_eq(ckpt_due_best(20, 10), 10);
    ck_assert_uint_eq(ckpt_due_best(UINT64_MAX / 2, 10), 10);
    ck_assert_uint_eq(ckpt_due_best(0, 1000), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("due");
    TCase *tests = tcase_create("interval");
    tcase_add_test(tests, costs_least);
    tcase_add_test(tests, ends);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
