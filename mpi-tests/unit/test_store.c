/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt/store: an epoch whose commit failed at the manifest may be in it or not; when the
 * same one, of the same uuid, is tried again, as local epochs are, its file stays,
 * whether that fails early, or succeeds. Files that wait for their removal go with the
 * next manifest.
 */
#include <check.h>
#include <ckpt/store.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LENGTH = 5000
};

static struct ckpt_store store;
static char path[64];

static struct ckpt_epoch epoch_make(uint64_t number)
{
    struct ckpt_epoch e = {.number = number,
                           .base = number,
                           .full = true,
                           .has_file = true,
                           .length = LENGTH,
                           .ranks = 1};
    ck_assert_int_eq(ckpt_uuid_make(e.uuid), 0);
    return e;
}

/* As a job leaves it before a commit. */
static void temporary_write(const struct ckpt_epoch *e)
{
    static const char bytes[LENGTH] = "epoch";
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_io_file file;
    ckpt_store_temporary(e, name);
    ck_assert_int_eq(ckpt_io_open(&file, &store.dir, name,
                                  O_RDWR | O_CREAT | O_EXCL, "epoch-open"),
                     0);
    ck_assert_int_eq(ckpt_io_write(&file, bytes, LENGTH, 0, "data-write"), 0);
    ckpt_io_close(&file);
}

static bool there(const struct ckpt_epoch *e)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    ckpt_epoch_file(e, name);
    return faccessat(store.dir.fd, name, F_OK, 0) == 0;
}

static void open_store(void)
{
    (void)snprintf(path, sizeof path, "/tmp/recto-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    memset(&store, 0, sizeof store);
    store.dir.fd = -1;
    ck_assert_int_eq(ckpt_store_open(&store, path, true), 0);
}

static void close_store(void)
{
    char command[128];
    ckpt_store_close(&store);
    (void)snprintf(command, sizeof command, "rm -r %s", path);
    ck_assert_int_eq(system(command), 0);
}

static int commit(const struct ckpt_epoch *e, const char *rule)
{
    ck_assert_int_eq(ckpt_io_inject(rule), 0);
    int status = ckpt_store_commit(&store, e);
    ck_assert_int_eq(ckpt_io_inject(""), 0);
    return status;
}

static const char *const unknown[] = {"label=manifest-rename,do=eio",
                                      "label=manifest-rename,do=eio,when=after",
                                      "label=manifest-dir,do=eio"};

START_TEST(an_epoch_that_is_tried_again_keeps_its_file)
{
    struct ckpt_epoch e = epoch_make(0);
    temporary_write(&e);
    ck_assert_int_lt(commit(&e, unknown[_i]), 0);
    ck_assert(there(&e));
    temporary_write(&e);
    ck_assert_int_eq(commit(&e, ""), 0);
    ck_assert(there(&e));
    ck_assert_uint_eq(store.manifest->nepochs, 1);
}
END_TEST

START_TEST(what_a_manifest_may_name_is_not_abandoned)
{
    struct ckpt_epoch e = epoch_make(0);
    temporary_write(&e);
    ck_assert_int_lt(commit(&e, unknown[_i]), 0);
    temporary_write(&e);
    ckpt_store_abandon(&store, &e);
    ck_assert(there(&e));
}
END_TEST

START_TEST(what_waits_goes_with_the_next_manifest)
{
    struct ckpt_epoch first = epoch_make(0);
    struct ckpt_epoch second = epoch_make(0);
    temporary_write(&first);
    ck_assert_int_lt(commit(&first, unknown[_i]), 0);
    temporary_write(&second);
    ck_assert_int_eq(commit(&second, "label=copy-sync,do=eio"), 0);
    ck_assert(there(&first)); /* the copy on disk may name it */
    ck_assert_int_eq(ckpt_store_prune(&store), 0);
    ck_assert(!there(&first));
    ck_assert(there(&second));
}
END_TEST

START_TEST(a_uuid_that_is_renewed_is_the_same_epoch)
{
    struct ckpt_epoch old = epoch_make(3);
    struct ckpt_epoch fresh = old;
    struct ckpt_epoch other = epoch_make(3);
    char a[CKPT_FILE_NAME_MAX + 1];
    char b[CKPT_FILE_NAME_MAX + 1];
    ck_assert_int_eq(ckpt_uuid_renew(fresh.uuid), 0);
    ckpt_epoch_file(&old, a);
    ckpt_epoch_file(&fresh, b);
    ck_assert_str_ne(a, b);
    ck_assert(ckpt_uuid_same(old.uuid, fresh.uuid));
    ck_assert(!ckpt_uuid_same(old.uuid, other.uuid));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *t = tcase_create("store");
    tcase_add_checked_fixture(t, open_store, close_store);
    tcase_add_loop_test(t, an_epoch_that_is_tried_again_keeps_its_file, 0, 3);
    tcase_add_loop_test(t, what_a_manifest_may_name_is_not_abandoned, 0, 3);
    tcase_add_loop_test(t, what_waits_goes_with_the_next_manifest, 0, 3);
    tcase_add_test(t, a_uuid_that_is_renewed_is_the_same_epoch);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
