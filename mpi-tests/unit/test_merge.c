/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compaction of a chain by the job, seen by one rank: when it comes, what it leaves, whom
 * it holds up (nobody), and what a failure costs. The disk takes its time by injection
 * where the compaction is to be still under way.
 */
#include <check.h>
#include <ckpt/ckpt.h>
#include <ckpt/reader.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAGE = 4096,
    PAGES = 400,
    BYTES = PAGES * PAGE,
    PART =
        150 * PAGE /* of an array and a half at most, two parts are too much */
};

#define SLOW "label=compact-write,hit=0,do=slow,ms=300"

static char base[64];
static char folder[128];
static unsigned char *shared;
static unsigned char mine[10000];

static void begin(void)
{
    ckpt_finalize();
    ck_assert_int_eq(ckpt_init(folder, 500), 0);
    ck_assert_int_eq(recto_protect("mine", mine, RECTO_UINT8, sizeof mine), 0);
}

static void setup(void)
{
    (void)snprintf(base, sizeof base, "/tmp/recto-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    (void)snprintf(folder, sizeof folder, "%s/ckpt", base);
    ck_assert_int_eq(setenv("RECTO_CKPT_COMPACT", "150", 1), 0);
    ck_assert_int_eq(setenv("RECTO_QUIET", "1", 1), 0);
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

static void rule(const char *text)
{
    ck_assert_int_eq(ckpt_io_inject(text), 0);
}

/* A checkpoint after a part of the array was written. */
static void epoch(unsigned char value, size_t bytes)
{
    memset(shared, value, bytes);
    mine[0] = value;
    ck_assert_int_eq(recto_checkpoint(), 0);
}

static void epoch_wait(unsigned char value, size_t bytes)
{
    epoch(value, bytes);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
}

/* Two full epochs, and a differential one: the next one is too much. */
static void chain_make(void)
{
    epoch_wait(1, BYTES);
    epoch_wait(2, PAGE);
    epoch_wait(3, PART);
}

static uint64_t compactions(void)
{
    recto_counters counters;
    ck_assert_int_eq(recto_stats(&counters), 0);
    return counters.compactions;
}

static void compacted(uint64_t count)
{
    const struct timespec moment = {0, 1000000};
    for (int i = 0; i < 20000 && compactions() < count; i++) {
        (void)nanosleep(&moment, NULL);
    }
    ck_assert_uint_eq(compactions(), count);
}

/* "FFd": the epochs' kinds, as the manifest has them. */
static const char *kinds(void)
{
    static char text[64];
    struct ckpt_dir dir;
    struct ckpt_folder found;
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_folder_load(&dir, &found), 0);
    const struct ckpt_manifest *m = found.chosen->manifest;
    memset(text, 0, sizeof text);
    for (uint64_t i = 0; i < m->nepochs; i++) {
        text[i] = m->epochs[i].full ? 'F' : 'd';
    }
    ckpt_folder_clear(&found);
    ckpt_io_dir_close(&dir);
    return text;
}

static int count_one(const char *name, void *count)
{
    *(int *)count +=
        strncmp(name, "e0", 2) == 0 || strncmp(name, ".tmp", 4) == 0;
    return 0;
}

/* Epoch files and temporaries. */
static int files(void)
{
    int count = 0;
    struct ckpt_dir dir;
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_folder_scan(&dir, count_one, &count), 0);
    ckpt_io_dir_close(&dir);
    return count;
}

/* It tries, and leaves nothing of what it made. */
static void failed(void)
{
    struct timespec moment = {1, 0};
    for (int i = 0; i < 20 && (i == 0 || files() > 4); i++) {
        (void)nanosleep(&moment, NULL);
    }
}

static void restores(int64_t number, unsigned char value, size_t bytes,
                     unsigned char rest)
{
    int64_t got = -1;
    size_t wrong = 0;
    begin();
    memset(shared, 99, BYTES);
    ck_assert_int_eq(recto_restart(&got), 1);
    ck_assert_int_eq(got, number);
    for (size_t i = 0; i < BYTES; i++) {
        wrong += shared[i] != (i < bytes ? value : rest);
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(mine[0], value);
}

START_TEST(a_chain_that_is_too_long_becomes_one_file)
{
    chain_make();
    ck_assert_str_eq(kinds(), "FFd");
    ck_assert_uint_eq(compactions(), 0);
    epoch(4, PART);
    memset(shared, 55, BYTES); /* is no business of the file's */
    compacted(1);
    ck_assert_str_eq(kinds(), "FdF"); /* the first chain goes: two are newer */
    ck_assert_int_eq(files(), 3);
    restores(3, 4, PART, 1);
    ck_assert_int_eq(setenv("RECTO_RESTART_EPOCH", "2", 1), 0);
    restores(2, 3, PART, 1); /* the chain before it is whole */
    ck_assert_int_eq(unsetenv("RECTO_RESTART_EPOCH"), 0);
}
END_TEST

START_TEST(later_epochs_build_on_it)
{
    chain_make();
    epoch(4, PART);
    compacted(1);
    epoch_wait(5, PAGE);
    ck_assert_int_eq(recto_checkpoint(), 0); /* nothing new */
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_str_eq(kinds(), "FdFdd");
    ck_assert_int_eq(files(), 4);
    begin();
    ck_assert_int_eq(recto_restart(NULL), 1);
    ck_assert_uint_eq(shared[0], 5);
    ck_assert_uint_eq(shared[PAGE], 4);
    ck_assert_uint_eq(shared[PART], 1);
}
END_TEST

START_TEST(nobody_waits_for_it)
{
    ck_assert_int_eq(setenv("RECTO_CKPT_BUSY", "refuse", 1), 0);
    begin();
    chain_make();
    rule(SLOW);
    epoch_wait(4, PART);
    ck_assert_int_eq(recto_epoch(), 3);
    ck_assert_uint_eq(compactions(), 0); /* under way */
    ck_assert_str_eq(kinds(), "FFdd");
    ck_assert_int_eq(recto_checkpoint(), 0);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
    ck_assert_int_eq(unsetenv("RECTO_CKPT_BUSY"), 0);
}
END_TEST

START_TEST(the_next_checkpoint_ends_it_and_is_full)
{
    chain_make();
    rule(SLOW);
    epoch(4, PART);
    epoch_wait(5, PAGE);
    ck_assert_uint_eq(compactions(), 0);
    ck_assert_str_eq(kinds(), "FddF");
    ck_assert_int_eq(files(), 4);
    begin();
    memset(shared, 99, BYTES);
    ck_assert_int_eq(recto_restart(NULL), 1);
    ck_assert_uint_eq(shared[0], 5);
    ck_assert_uint_eq(shared[PAGE], 4);
    ck_assert_uint_eq(shared[PART], 1);
}
END_TEST

START_TEST(so_does_the_end_of_the_job)
{
    chain_make();
    rule(SLOW);
    epoch(4, PART);
    begin();
    ck_assert_int_eq(files(), 4);
    ck_assert_str_eq(kinds(), "FFdd");
    restores(3, 4, PART, 1);
    epoch_wait(5, PAGE); /* the next job's first one is full */
    ck_assert_str_eq(kinds(), "FddF");
}
END_TEST

static const char *const failures[] = {
    "label=read,hit=0,do=eio",
    "label=compact-open,hit=0,do=eio",
    "label=compact-allocate,hit=0,do=enospc",
    "label=compact-write,hit=3,do=enospc",
    "label=compact-sums,hit=1,do=eio",
    "label=compact-sync,hit=1,do=eio",
};

START_TEST(a_failure_costs_the_compaction_alone)
{
    chain_make();
    rule(failures[_i]);
    epoch_wait(4, PART);
    failed();
    rule("");
    ck_assert_uint_eq(compactions(), 0);
    ck_assert_int_eq(files(), 4);
    epoch_wait(5, PAGE); /* no full one, for which there may be no room */
    ck_assert_str_eq(kinds(), "FFddd");
    epoch_wait(6, PART);
    epoch_wait(7, PART);
    epoch_wait(8, PART); /* one array longer: another try */
    compacted(1);
    ck_assert_int_eq(kinds()[strlen(kinds()) - 1], 'F');
    restores(7, 8, PART, 1);
}
END_TEST

START_TEST(a_failure_of_its_commit_too)
{
    chain_make();
    rule("label=epoch-rename,hit=2,do=eio");
    epoch_wait(4, PART);
    failed();
    rule("");
    ck_assert_uint_eq(compactions(), 0);
    ck_assert_int_eq(files(), 4);
    restores(3, 4, PART, 1);
}
END_TEST

START_TEST(a_program_that_writes_all_gets_full_epochs)
{
    epoch_wait(1, BYTES);
    epoch_wait(2, BYTES);
    epoch_wait(3, BYTES);
    epoch_wait(4, BYTES);
    ck_assert_str_eq(kinds(), "FF");
    epoch_wait(5, PAGE); /* by what the last one changed */
    epoch_wait(6, PAGE);
    ck_assert_str_eq(kinds(), "FFd");
    ck_assert_uint_eq(compactions(), 0);
}
END_TEST

START_TEST(without_a_bound_nothing_is_compacted)
{
    ck_assert_int_eq(setenv("RECTO_CKPT_COMPACT", "0", 1), 0);
    begin();
    chain_make();
    for (unsigned char i = 0; i < 6; i++) {
        epoch_wait(4 + i, PART);
    }
    ck_assert_str_eq(kinds(), "FFddddddd");
    ck_assert_uint_eq(compactions(), 0);
}
END_TEST

START_TEST(a_bound_makes_sense)
{
    static const char *const wrong[] = {"1", "100", "109", "100001", "x", "-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(setenv("RECTO_CKPT_COMPACT", wrong[i], 1), 0);
        ckpt_finalize();
        ck_assert_int_eq(ckpt_init(folder, 16), RECTO_EINVAL);
        ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_CKPT_COMPACT"));
    }
    ck_assert_int_eq(setenv("RECTO_CKPT_COMPACT", "150", 1), 0);
    begin();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge");
    TCase *tests = tcase_create("merge");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_chain_that_is_too_long_becomes_one_file);
    tcase_add_test(tests, later_epochs_build_on_it);
    tcase_add_test(tests, nobody_waits_for_it);
    tcase_add_test(tests, the_next_checkpoint_ends_it_and_is_full);
    tcase_add_test(tests, so_does_the_end_of_the_job);
    tcase_add_loop_test(tests, a_failure_costs_the_compaction_alone, 0,
                        sizeof failures / sizeof failures[0]);
    tcase_add_test(tests, a_failure_of_its_commit_too);
    tcase_add_test(tests, a_program_that_writes_all_gets_full_epochs);
    tcase_add_test(tests, without_a_bound_nothing_is_compacted);
    tcase_add_test(tests, a_bound_makes_sense);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
