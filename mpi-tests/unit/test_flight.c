/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checkpoint that is written while its program goes on, seen by one rank: what it
 * holds, whom its errors are told, who waits for it. The disk takes its time by
 * injection, so that the checkpoint is still under way when the program goes on.
 */
#include <check.h>
#include <ckpt/ckpt.h>
#include <ckpt/io.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGES = 200,
    BYTES = PAGES * 4096
};

#define SLOW  "label=data-write,hit=0,do=slow"
#define FAILS "label=data-sync,hit=1,do=eio"

static char base[64];
static char folder[128];
static unsigned char *shared;
static unsigned char mine[10000];

static void begin(void)
{
    ckpt_finalize();
    ck_assert_int_eq(ckpt_init(folder, 16), 0);
    ck_assert_int_eq(recto_protect("mine", mine, RECTO_UINT8, sizeof mine), 0);
}

static void setup(void)
{
    (void)snprintf(base, sizeof base, "/tmp/recto-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    (void)snprintf(folder, sizeof folder, "%s/ckpt", base);
    ck_assert_int_eq(recto_init(NULL, NULL), 0);
    begin();
    shared = recto_alloc("shared", BYTES, NULL);
    ck_assert_ptr_nonnull(shared);
}

static void teardown(void)
{
    char command[128];
    (void)ckpt_io_inject("");
    ck_assert_int_eq(recto_finalize(), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}

static void set(unsigned char value)
{
    memset(shared, value, BYTES);
    memset(mine, value, sizeof mine);
}

static void begin_with(const char *rule, unsigned char value)
{
    ck_assert_int_eq(ckpt_io_inject(rule), 0);
    set(value);
    ck_assert_int_eq(recto_checkpoint(), 0);
}

static size_t others(const unsigned char *p, size_t bytes, unsigned char value)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        n += p[i] != value;
    }
    return n;
}

static void is(unsigned char value)
{
    ck_assert_uint_eq(others(shared, BYTES, value), 0);
    ck_assert_uint_eq(others(mine, sizeof mine, value), 0);
}

static void restores(int64_t epoch, unsigned char value)
{
    int64_t got = -1;
    begin();
    set(99);
    ck_assert_int_eq(recto_restart(&got), 1);
    ck_assert_int_eq(got, epoch);
    is(value);
}

START_TEST(it_holds_the_moment_of_its_call)
{
    begin_with(SLOW, 1);
    ck_assert_int_eq(recto_epoch(), -1);
    set(2);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_int_eq(recto_epoch(), 0);
    is(2);
    restores(0, 1);
}
END_TEST

START_TEST(the_next_one_waits_for_it)
{
    begin_with(SLOW, 1);
    set(2);
    ck_assert_int_eq(recto_checkpoint(), 0);
    ck_assert_int_eq(recto_epoch(), 0); /* on disk, while 1 is under way */
    set(3);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_int_eq(recto_epoch(), 1);
    restores(1, 2);
}
END_TEST

START_TEST(or_is_refused_if_one_likes)
{
    (void)setenv("RECTO_CKPT_BUSY", "refuse", 1);
    begin();
    (void)unsetenv("RECTO_CKPT_BUSY");
    begin_with(SLOW, 1);
    set(2);
    ck_assert_int_eq(recto_checkpoint(), RECTO_EBUSY);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_CKPT_BUSY"));
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    restores(0, 1);
}
END_TEST

START_TEST(its_error_comes_with_the_wait)
{
    begin_with("", 1);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    begin_with(FAILS, 2);
    set(3);
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), folder));
    ck_assert_int_eq(recto_epoch(), 0);
    ck_assert_int_eq(recto_checkpoint_wait(), 0); /* told once */
    restores(0, 1);
}
END_TEST

START_TEST(or_with_the_next_checkpoint_which_is_not_begun)
{
    begin_with("", 1);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    begin_with(FAILS, 2);
    ck_assert_int_eq(recto_checkpoint(), RECTO_EIO);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_int_eq(recto_epoch(), 0);
    restores(0, 1);
}
END_TEST

/* Pages written before the failure, while it was written, and after it. */
START_TEST(the_next_epoch_holds_what_a_failed_one_lost)
{
    begin_with("", 1);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    begin_with("", 1);
    ck_assert_int_eq(recto_checkpoint_wait(), 0); /* the second is full, too */
    ck_assert_int_eq(ckpt_io_inject(FAILS), 0);
    memset(shared, 5, BYTES / 4);
    ck_assert_int_eq(recto_checkpoint(), 0);
    memset(shared + BYTES / 4, 5, BYTES / 4);
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    memset(shared + BYTES / 2, 5, BYTES / 2);
    memset(mine, 5, sizeof mine);
    ck_assert_int_eq(recto_checkpoint(), 0);
    restores(2, 5);
}
END_TEST

/* A full epoch is read back when it is on disk already. */
START_TEST(one_that_reads_back_wrong_does_not_count)
{
    begin_with("", 1);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    begin_with("label=read,hit=1,do=eio", 2);
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    ck_assert_int_eq(recto_epoch(), 0);
    begin_with("", 3);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_int_eq(recto_epoch(), 1);
    restores(1, 3);
}
END_TEST

START_TEST(a_restart_after_it_comes_too_late)
{
    begin_with(SLOW, 1);
    ck_assert_int_eq(recto_restart(NULL), RECTO_ESTATE);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
}
END_TEST

START_TEST(an_array_is_freed_when_it_is_on_disk)
{
    begin_with(SLOW, 1);
    ck_assert_int_eq(recto_free(shared), 0);
    ck_assert_int_eq(recto_epoch(), 0);
    shared = recto_alloc("shared", BYTES, NULL);
    ck_assert_ptr_nonnull(shared);
    restores(0, 1);
}
END_TEST

START_TEST(memory_may_be_unprotected_meanwhile)
{
    begin_with(SLOW, 1);
    ck_assert_int_eq(recto_unprotect("mine"), 0);
    memset(mine, 2, sizeof mine);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    restores(0, 1);
}
END_TEST

/* Private memory that the buffer has no room for is written before the call returns. */
START_TEST(a_small_buffer_holds_the_program_up)
{
    (void)setenv("RECTO_CKPT_BUFFER", "4096", 1);
    begin();
    (void)unsetenv("RECTO_CKPT_BUFFER");
    begin_with(SLOW, 1);
    set(2);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    begin_with(FAILS, 3); /* and if it fails before */
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    ck_assert_int_eq(ckpt_io_inject("label=epoch-open,hit=1,do=eio"), 0);
    ck_assert_int_eq(recto_checkpoint(), 0);
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    restores(0, 1);
}
END_TEST

START_TEST(wrong_settings_are_refused)
{
    static const char *const wrong[][2] = {
        {"RECTO_CKPT_MODE",   "fast"},
        {"RECTO_CKPT_BUSY",   "no"  },
        {"RECTO_CKPT_BUFFER", "some"}
    };
    ckpt_finalize();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        (void)setenv(wrong[i][0], wrong[i][1], 1);
        ck_assert_int_eq(ckpt_init(folder, 16), RECTO_EINVAL);
        ck_assert_ptr_nonnull(strstr(recto_last_error(), wrong[i][0]));
        (void)unsetenv(wrong[i][0]);
    }
    ck_assert_int_eq(ckpt_init(folder, 16), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flight");
    TCase *t = tcase_create("concurrent checkpoints");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, it_holds_the_moment_of_its_call);
    tcase_add_test(t, the_next_one_waits_for_it);
    tcase_add_test(t, or_is_refused_if_one_likes);
    tcase_add_test(t, its_error_comes_with_the_wait);
    tcase_add_test(t, or_with_the_next_checkpoint_which_is_not_begun);
    tcase_add_test(t, the_next_epoch_holds_what_a_failed_one_lost);
    tcase_add_test(t, one_that_reads_back_wrong_does_not_count);
    tcase_add_test(t, a_restart_after_it_comes_too_late);
    tcase_add_test(t, an_array_is_freed_when_it_is_on_disk);
    tcase_add_test(t, memory_may_be_unprotected_meanwhile);
    tcase_add_test(t, a_small_buffer_holds_the_program_up);
    tcase_add_test(t, wrong_settings_are_refused);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
