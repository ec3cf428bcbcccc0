/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt/io: folders and files are private to their owner; short writes are
 * continued; a failed write or fsync condemns the file; errors say what, where
 * and what to do; RLIMIT_FSIZE is an error and not a death; injected faults
 * strike the step they name and no other.
 */
#include <base/base.h>
#include <check.h>
#include <ckpt/format.h>
#include <ckpt/io.h>
#include <ckpt/store.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[64];
static struct ckpt_dir dir;
static struct ckpt_io_file file;

static void setup(void)
{
    char path[128];
    (void)snprintf(base, sizeof base, "/tmp/recto-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    (void)snprintf(path, sizeof path, "%s/ckpt/", base);
    ck_assert_int_eq(ckpt_io_inject(""), 0);
    ck_assert_int_eq(ckpt_io_dir_open(&dir, path, true), 0);
    ck_assert_int_eq(
        ckpt_io_open(&file, &dir, "f", O_RDWR | O_CREAT | O_EXCL, "open"), 0);
}

static void teardown(void)
{
    char command[128];
    ckpt_io_close(&file);
    ckpt_io_dir_close(&dir);
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}

static void inject(const char *rule)
{
    ck_assert_int_eq(ckpt_io_inject(rule), 0);
}

static void content_is(const char *text)
{
    char *data = NULL;
    size_t bytes = 0;
    ck_assert_int_eq(ckpt_io_slurp(&dir, "f", 1000, &data, &bytes), 0);
    ck_assert_str_eq(data, text);
    free(data);
}

START_TEST(files_are_private)
{
    struct stat status;
    ck_assert_int_eq(fstat(dir.fd, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0700);
    ck_assert_int_eq(fstat(file.fd, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
}
END_TEST

START_TEST(missing_things_are_told_apart)
{
    struct ckpt_dir other;
    struct ckpt_io_file none;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/none", base);
    ck_assert_int_eq(ckpt_io_dir_open(&other, path, false), RECTO_ENOENT);
    (void)snprintf(path, sizeof path, "%s/none/none", base);
    ck_assert_int_eq(ckpt_io_dir_open(&other, path, true), RECTO_EIO);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), path));
    ck_assert_int_eq(ckpt_io_open(&none, &dir, "g", O_RDONLY, "open"),
                     RECTO_ENOENT);
    ck_assert_int_eq(ckpt_io_unlink(&dir, "g", "unlink"), 0);
    ck_assert_int_eq(ckpt_io_dir_open(&other, "", true), RECTO_EINVAL);
}
END_TEST

START_TEST(short_writes_are_continued)
{
    inject("label=w,do=short");
    ck_assert_int_eq(ckpt_io_write(&file, "hello, world", 12, 0, "w"), 0);
    content_is("hello, world");
    char data[20];
    ck_assert_int_eq(ckpt_io_read(&file, data, 12, 0), 0);
    ck_assert_int_eq(ckpt_io_read(&file, data, 13, 0), RECTO_ECORRUPT);
}
END_TEST

START_TEST(a_failed_write_condemns_the_file)
{
    inject("label=w,hit=2,do=enospc");
    ck_assert_int_eq(ckpt_io_write(&file, "1", 1, 0, "w"), 0);
    ck_assert_int_eq(ckpt_io_write(&file, "2", 1, 1, "w"), RECTO_ENOSPC);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), dir.path));
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_ENOSPC"));
    ck_assert_int_eq(ckpt_io_write(&file, "3", 1, 1, "w"), RECTO_EIO);
    ck_assert_int_eq(ckpt_io_sync(&file, "s"), RECTO_EIO);
    content_is("1");
}
END_TEST

START_TEST(a_failed_sync_condemns_the_file)
{
    inject("label=s,do=eio,when=after");
    ck_assert_int_eq(ckpt_io_write(&file, "1", 1, 0, "w"), 0);
    ck_assert_int_eq(ckpt_io_sync(&file, "s"), RECTO_EIO);
    ck_assert_int_eq(ckpt_io_sync(&file, "s"), RECTO_EIO);
    content_is("1");
}
END_TEST

START_TEST(after_means_that_it_was_done)
{
    inject("label=r,do=eio,when=after");
    ck_assert_int_eq(ckpt_io_rename(&dir, "f", "g", "r"), RECTO_EIO);
    ck_assert_int_eq(faccessat(dir.fd, "g", F_OK, 0), 0);
    inject("label=r,do=eio,when=before");
    ck_assert_int_eq(ckpt_io_rename(&dir, "g", "f", "r"), RECTO_EIO);
    ck_assert_int_eq(faccessat(dir.fd, "g", F_OK, 0), 0);
    ck_assert_int_eq(ckpt_io_rename(&dir, "g", "f", "r"), 0);
}
END_TEST

START_TEST(a_point_is_counted_on_this_rank)
{
    inject("point=2,do=eio");
    ck_assert_int_eq(ckpt_io_write(&file, "1", 1, 0, "w"), 0);
    ck_assert_int_eq(ckpt_io_sync(&file, "s"), 0);
    ck_assert_int_eq(ckpt_io_dir_sync(&dir, "d"), RECTO_EIO);
    ck_assert_int_eq(ckpt_io_dir_sync(&dir, "d"), 0);
    inject("rank=5,point=0,do=eio"); /* we are rank -1 */
    ck_assert_int_eq(ckpt_io_dir_sync(&dir, "d"), 0);
}
END_TEST

START_TEST(points_can_be_listed)
{
    char rule[CKPT_PATH_MAX + 32];
    char *text = NULL;
    size_t bytes = 0;
    (void)snprintf(rule, sizeof rule, "count=%s/list", dir.path);
    inject(rule);
    ck_assert_int_eq(ckpt_io_write(&file, "1", 1, 0, "w"), 0);
    ck_assert_int_eq(ckpt_io_sync(&file, "s"), 0);
    inject("");
    ck_assert_int_eq(ckpt_io_slurp(&dir, "list", 100, &text, &bytes), 0);
    ck_assert_str_eq(text, "-1 0 w\n-1 1 s\n");
    free(text);
}
END_TEST

START_TEST(kill_and_tear_end_the_process)
{
    static const char *const rules[] = {"label=w,do=kill", "label=w,do=tear",
                                        "label=w,do=kill,when=after"};
    static const char *const left[] = {"", "ab", "abcd"};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ftruncate(file.fd, 0), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)ckpt_io_inject(rules[i]);
            (void)ckpt_io_write(&file, "abcd", 4, 0, "w");
            _exit(0);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        content_is(left[i]);
    }
}
END_TEST

START_TEST(unknown_rules_are_refused)
{
    static const char *const rules[] = {"x",        "do=die",     "when=now",
                                        "point=-1", "point=abc",  "do",
                                        "rank=",    "point=1;x=2"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        ck_assert_int_eq(ckpt_io_inject(rules[i]), RECTO_EINVAL);
    }
    ck_assert_int_eq(ckpt_io_inject(""), 0);
}
END_TEST

START_TEST(a_file_size_limit_is_an_error)
{
    struct rlimit limit = {4096, RLIM_INFINITY};
    char block[8192] = {1};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int status = ckpt_io_write(&file, block, sizeof block, 0, "w");
    int reserved = ckpt_io_allocate(&file, 100000, true, "a");
    struct ckpt_io_file other;
    ck_assert_int_eq(ckpt_io_open(&other, &dir, "g", O_RDWR | O_CREAT, "open"),
                     0);
    int fresh = ckpt_io_allocate(&other, 100000, true, "a");
    ckpt_io_close(&other);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(status, RECTO_ENOSPC);
    ck_assert_int_eq(reserved, RECTO_EIO); /* condemned */
    ck_assert_int_eq(fresh, RECTO_ENOSPC);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "ulimit"));
}
END_TEST

START_TEST(a_folder_has_one_holder)
{
    struct ckpt_lock first = {0};
    struct ckpt_lock second = {0};
    ck_assert_int_eq(ckpt_lock_take(&first, &dir, false), 0);
    ck_assert_int_eq(ckpt_lock_take(&first, &dir, false), 0);
    ck_assert_int_eq(ckpt_lock_take(&second, &dir, false), RECTO_ELOCKED);
    char pid[32];
    (void)snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    ck_assert_ptr_nonnull(strstr(recto_last_error(), pid));
    ckpt_lock_release(&first);
    ck_assert_int_eq(ckpt_lock_take(&second, &dir, false), 0);
    ckpt_lock_release(&second);
}
END_TEST

START_TEST(a_dead_holder_holds_nothing)
{
    struct ckpt_lock mine = {0};
    pid_t child = fork();
    if (child == 0) {
        struct ckpt_lock lock = {0};
        (void)ckpt_lock_take(&lock, &dir, false);
        (void)kill(getpid(), SIGKILL);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(ckpt_lock_take(&mine, &dir, false), 0);
    ckpt_lock_release(&mine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ckpt_io");
    TCase *t = tcase_create("io");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, files_are_private);
    tcase_add_test(t, missing_things_are_told_apart);
    tcase_add_test(t, short_writes_are_continued);
    tcase_add_test(t, a_failed_write_condemns_the_file);
    tcase_add_test(t, a_failed_sync_condemns_the_file);
    tcase_add_test(t, after_means_that_it_was_done);
    tcase_add_test(t, a_point_is_counted_on_this_rank);
    tcase_add_test(t, points_can_be_listed);
    tcase_add_test(t, kill_and_tear_end_the_process);
    tcase_add_test(t, unknown_rules_are_refused);
    tcase_add_test(t, a_file_size_limit_is_an_error);
    tcase_add_test(t, a_folder_has_one_holder);
    tcase_add_test(t, a_dead_holder_holds_nothing);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
