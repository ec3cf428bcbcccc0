/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows which epochs stay: the two newest chains whatever the rule, of the others what
 * it names and what that builds on, nothing else; and that wrong rules are refused.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <recto/error.h>

#include "ckpt/keep.h"

enum {
    MOST = 40,
    NOW = 1000000
};

static struct ckpt_epoch epochs[MOST];
static const struct ckpt_epoch *list[MOST];
static bool stay[MOST];
static uint64_t count;

/* Epochs 0, 1, ... as their kinds say: 'F' full, 'd' differential; one an hour. */
static void given(const char *kinds)
{
    count = strlen(kinds);
    for (uint64_t i = 0; i < count; i++) {
        epochs[i] = (struct ckpt_epoch){
            .number = i,
            .full = kinds[i] == 'F',
            .time = NOW - 3600 * (count - 1 - i),
        };
        list[i] = &epochs[i];
    }
}

/* What stays by a rule, an 'x' each. */
static const char *kept(const char *rule)
{
    static char text[MOST + 1];
    struct ckpt_keep keep;
    ck_assert_int_eq(ckpt_keep_read(rule, &keep), 0);
    ckpt_keep_choose(&keep, list, count, NOW, stay);
    for (uint64_t i = 0; i < count; i++) {
        text[i] = stay[i] ? 'x' : '.';
    }
    text[count] = '\0';
    return text;
}

START_TEST(two_chains_stay)
{
    static const char *const rules[] = {"chains", "last=1", "every=1000",
                                        "age=1s", "last=0"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        given("FddFddFd");
        /* epoch 0 is a multiple of anything */
        ck_assert_str_eq(kept(rules[i]) + 1, "..xxxxx");
        given("Fdd");
        ck_assert_str_eq(kept(rules[i]), "xxx");
        given("FF");
        ck_assert_str_eq(kept(rules[i]), "xx");
        given("FFF");
        ck_assert_str_eq(kept(rules[i]) + 1, "xx");
    }
    given("FddFddFd");
    ck_assert_str_eq(kept("chains"), "...xxxxx");
    ck_assert_str_eq(kept("all"), "xxxxxxxx");
}
END_TEST

START_TEST(rules)
{
    given("FdddFdddFdddFd"); /* 8 to 13 are the newest two */
    ck_assert_str_eq(kept("last=5"), "........xxxxxx");
    ck_assert_str_eq(kept("last=8"), "....xxxxxxxxxx");
    ck_assert_str_eq(kept("last=9"), "....xxxxxxxxxx");
    ck_assert_str_eq(kept("last=11"), "xxxxxxxxxxxxxx");
    ck_assert_str_eq(kept("every=6"), "x...xxx.xxxxxx"); /* 0; 4 5 6 */
    ck_assert_str_eq(kept("every=5"), "x...xx..xxxxxx"); /* 0; 4 5 */
    ck_assert_str_eq(kept("age=8h"), "....xxxxxxxxxx");  /* 5 and newer */
    ck_assert_str_eq(kept("age=25200"), "....xxxxxxxxxx");
    ck_assert_str_eq(kept("age=1d"), "xxxxxxxxxxxxxx");
    ck_assert_str_eq(kept("every=2,last=1"), "xxx.xxx.xxxxxx");
    ck_assert_str_eq(kept("age=600m,every=7"), "xxxxxxxxxxxxxx");
}
END_TEST

START_TEST(wrong_rules)
{
    static const char *const wrong[] = {
        "",        "lots",    "last", "last=",  "last=-1",
        "last=1x", "age=3w",  "age=", "Last=1", "last=1 ",
        "age=1dd", "last= 1", "=1",   "all,",   "every=99999999999999999999"};
    struct ckpt_keep keep;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(ckpt_keep_read(wrong[i], &keep) == RECTO_EINVAL, "%s",
                      wrong[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep");
    TCase *tests = tcase_create("rules");
    tcase_add_test(tests, two_chains_stay);
    tcase_add_test(tests, rules);
    tcase_add_test(tests, wrong_rules);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
