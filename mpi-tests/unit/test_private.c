/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of protected private memory an epoch holds: those that changed, whoever
 * wrote them, at any alignment and size; after failures, other memory, and memory given
 * back. By hash, and, as the test unit.private.scan, by the kernel's scan.
 */
#include <check.h>
#include <ckpt/ckpt.h>
#include <ckpt/io.h>
#include <ckpt/reader.h>
#include <fcntl.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    PAGES = 300,
    BYTES = PAGES * PAGE + 333
};

static char base[64];
static char folder[128];
static char *mapping;        /* two pages more than BYTES */
static unsigned char *mine;  /* somewhere in it */
static unsigned char *model; /* what it must be */

static void begin(void)
{
    ckpt_finalize();
    ck_assert_int_eq(ckpt_init(folder, 500), 0);
    ck_assert_int_eq(recto_protect("mine", mine, RECTO_UINT8, BYTES), 0);
}

static void setup(void)
{
    (void)snprintf(base, sizeof base, "/tmp/recto-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    (void)snprintf(folder, sizeof folder, "%s/ckpt", base);
    int status = recto_init(NULL, NULL);
    if (status == RECTO_EUNSUPPORTED) {
        (void)printf("SKIP: %s\n", recto_last_error());
        exit(77);
    }
    ck_assert_int_eq(status, 0);
    mapping = mmap(NULL, BYTES + 2 * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(mapping != MAP_FAILED);
    mine = (unsigned char *)mapping + 1234;
    model = calloc(1, BYTES);
    ck_assert_ptr_nonnull(model);
    begin();
}

static void teardown(void)
{
    char command[128];
    (void)ckpt_io_inject("");
    ck_assert_int_eq(recto_finalize(), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
    free(model);
    (void)munmap(mapping, BYTES + 2 * PAGE);
}

static void set(size_t at, unsigned char value)
{
    mine[at] = value;
    model[at] = value;
}

static void save(void)
{
    ck_assert_int_eq(recto_checkpoint(), 0);
    ck_assert_int_eq(recto_checkpoint_wait(), 0);
}

/* Two full epochs, of memory all written. */
static void start(void)
{
    for (size_t i = 0; i < BYTES; i++) {
        set(i, (unsigned char)(i * 7 + i / PAGE));
    }
    save();
    save();
}

/* Pages in the newest epoch's log. */
static uint64_t entries(void)
{
    struct ckpt_dir dir;
    struct ckpt_folder f;
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_folder_load(&dir, &f), 0);
    const struct ckpt_manifest *m = f.chosen->manifest;
    uint64_t n = m->epochs[m->nepochs - 1].entries;
    ck_assert(!m->epochs[m->nepochs - 1].full);
    ckpt_folder_clear(&f);
    ckpt_io_dir_close(&dir);
    return n;
}

static void restores(void)
{
    begin();
    memset(mine, 0xee, BYTES);
    ck_assert_int_eq(recto_restart(NULL), 1);
    ck_assert_int_eq(memcmp(mine, model, BYTES), 0);
}

START_TEST(an_epoch_holds_what_changed)
{
    static const size_t places[] = {
        0, 1, PAGE - 1, PAGE, 7 * PAGE + 5, BYTES - 1, BYTES - 334, 100 * PAGE};
    start();
    save();
    ck_assert_uint_eq(entries(), 0);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        set(places[i], (unsigned char)(model[places[i]] + 1));
        save();
        ck_assert_uint_eq(entries(), 1);
    }
    restores();
}
END_TEST

START_TEST(random_writes_come_back)
{
    unsigned seed = 5;
    start();
    for (int round = 0; round < 30; round++) {
        for (int i = rand_r(&seed) % 50; i > 0; i--) {
            set((size_t)rand_r(&seed) % BYTES, (unsigned char)rand_r(&seed));
        }
        save();
    }
    restores();
}
END_TEST

START_TEST(the_kernel_writes_too)
{
    int fds[2];
    char bytes[3 * PAGE];
    start();
    ck_assert_int_eq(pipe(fds), 0);
    memset(bytes, 0x5a, sizeof bytes);
    ck_assert_int_eq(write(fds[1], bytes, sizeof bytes), sizeof bytes);
    ck_assert_int_eq(read(fds[0], mine + 50 * PAGE + 7, sizeof bytes),
                     sizeof bytes);
    memcpy(model + 50 * PAGE + 7, bytes, sizeof bytes);
    struct iovec from = {bytes, 10};
    struct iovec to = {mine + 90 * PAGE, 10};
    ck_assert_int_eq(process_vm_writev(getpid(), &from, 1, &to, 1, 0), 10);
    memcpy(model + 90 * PAGE, bytes, 10);
    save();
    ck_assert_uint_eq(entries(), 5);
    restores();
    (void)close(fds[0]);
    (void)close(fds[1]);
}
END_TEST

START_TEST(a_failed_epoch_loses_nothing)
{
    start();
    set(10 * PAGE, 1);
    ck_assert_int_eq(ckpt_io_inject("label=data-sync,hit=1,do=eio"), 0);
    ck_assert_int_eq(recto_checkpoint(), 0);
    set(20 * PAGE, 2); /* while it is written */
    ck_assert_int_eq(recto_checkpoint_wait(), RECTO_EIO);
    ck_assert_int_eq(ckpt_io_inject(""), 0);
    set(30 * PAGE, 3);
    save();
    ck_assert_uint_eq(entries(), 3);
    restores();
}
END_TEST

START_TEST(memory_given_back_is_zero)
{
    size_t whole = PAGE - 1234;
    start();
    ck_assert_int_eq(
        madvise(mine + whole + 40 * PAGE, 20 * PAGE, MADV_DONTNEED), 0);
    memset(model + whole + 40 * PAGE, 0, 20 * PAGE);
    save();
    ck_assert_uint_eq(entries(), 21);
    save();
    ck_assert_uint_eq(entries(), 0);
    restores();
}
END_TEST

START_TEST(memory_mapped_anew_is_seen)
{
    start();
    ck_assert_ptr_eq(mmap(mapping + 30 * PAGE, 10 * PAGE,
                          PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     mapping + 30 * PAGE);
    memset(model + 30 * PAGE - 1234, 0, 10 * PAGE);
    save();
    ck_assert_uint_eq(entries(), 11);
    set(31 * PAGE, 1);
    set(200 * PAGE, 1);
    save();
    ck_assert_uint_eq(entries(), 2);
    restores();
}
END_TEST

START_TEST(other_memory_of_that_name)
{
    unsigned char *other = malloc(BYTES);
    start();
    ck_assert_ptr_nonnull(other);
    memcpy(other, mine, BYTES);
    other[77 * PAGE]++;
    ck_assert_int_eq(recto_protect("mine", other, RECTO_UINT8, BYTES), 0);
    save();
    ck_assert_uint_eq(entries(), 1);
    model[77 * PAGE]++;
    restores();
    free(other);
}
END_TEST

START_TEST(overlapping_names)
{
    start();
    ck_assert_int_eq(
        recto_protect("part", mine + 10 * PAGE, RECTO_UINT8, 100 * PAGE), 0);
    save();
    set(50 * PAGE, 9);
    save();
    ck_assert_uint_eq(entries(), 2);
    ck_assert_int_eq(recto_unprotect("part"), 0);
    set(51 * PAGE, 9);
    save();
    ck_assert_uint_eq(entries(), 1);
    restores();
}
END_TEST

int main(void)
{
    /* a chain that is compacted holds other entries */
    (void)setenv("RECTO_CKPT_COMPACT", "0", 1);
    Suite *suite = suite_create("private");
    TCase *t = tcase_create("private memory");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_epoch_holds_what_changed);
    tcase_add_test(t, random_writes_come_back);
    tcase_add_test(t, the_kernel_writes_too);
    tcase_add_test(t, a_failed_epoch_loses_nothing);
    tcase_add_test(t, memory_given_back_is_zero);
    tcase_add_test(t, memory_mapped_anew_is_seen);
    tcase_add_test(t, other_memory_of_that_name);
    tcase_add_test(t, overlapping_names);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
