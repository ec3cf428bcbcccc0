/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes to private memory of the program's are found by the kernel's scan: those of
 * the program and of system calls, each once, with nothing made unwritable and nothing
 * untouched filled; what cannot be watched is refused, what is mapped anew is told.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <recto/vm.h>

enum {
    PAGES = 256
};

static char data[16 * 4096] __attribute__((aligned(4096))) = {1};

struct told {
    char written[PAGES];
    char absent[PAGES];
};

static struct told told;

static void on_written(uint64_t first, uint64_t count, void *argument)
{
    memset(((struct told *)argument)->written + first, 1, count);
}

static void on_absent(uint64_t first, uint64_t count, void *argument)
{
    memset(((struct told *)argument)->absent + first, 1, count);
}

static size_t scan(recto_vm_watch *watch)
{
    size_t n = 0;
    memset(&told, 0, sizeof told);
    ck_assert_int_eq(recto_vm_watch_scan(watch, on_written, on_absent, &told),
                     0);
    for (size_t i = 0; i < PAGES; i++) {
        n += told.written[i] != 0;
    }
    return n;
}

static void *map_pages(int flags)
{
    void *p = mmap(NULL, (size_t)PAGES * 4096, PROT_READ | PROT_WRITE,
                   flags | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    return p;
}

static void setup(void)
{
    ck_assert_int_eq(recto_vm_init(), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(recto_vm_finalize(), 0);
}

static size_t resident(const char *p)
{
    unsigned char in[PAGES];
    size_t n = 0;
    ck_assert_int_eq(mincore((void *)p, (size_t)PAGES * 4096, in), 0);
    for (size_t i = 0; i < PAGES; i++) {
        n += in[i] & 1;
    }
    return n;
}

START_TEST(writes_are_found_once)
{
    char *p = map_pages(MAP_PRIVATE);
    recto_vm_watch *watch = NULL;
    int pipes[2];
    p[3 * 4096] = 1;
    ck_assert_int_eq(recto_vm_watch_create(p, (size_t)PAGES * 4096, &watch), 0);
    ck_assert_uint_eq(scan(watch), 0);
    p[3 * 4096] = 2;
    p[7 * 4096] = 2;
    ck_assert_uint_eq(scan(watch), 2);
    ck_assert(told.written[3] && told.written[7] && !told.absent[7]);
    ck_assert_uint_eq(scan(watch), 0);
    /* a system call writes without an error */
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(write(pipes[1], "abc", 3), 3);
    ck_assert_int_eq(read(pipes[0], p + 3 * 4096 + 8, 3), 3);
    ck_assert_uint_eq(scan(watch), 1);
    ck_assert(told.written[3]);
    close(pipes[0]);
    close(pipes[1]);
    recto_vm_watch_destroy(watch);
    ck_assert_int_eq(munmap(p, (size_t)PAGES * 4096), 0);
}
END_TEST

START_TEST(untouched_pages_stay_untouched)
{
    char *p = map_pages(MAP_PRIVATE);
    recto_vm_watch *watch = NULL;
    madvise(p, (size_t)PAGES * 4096, MADV_NOHUGEPAGE);
    ck_assert_int_eq(recto_vm_watch_create(p, (size_t)PAGES * 4096, &watch), 0);
    p[9 * 4096] = 1;
    ck_assert_uint_eq(scan(watch), 1);
    for (int i = 0; i < PAGES; i++) {
        ck_assert_int_eq(told.absent[i], i != 9);
    }
    ck_assert_uint_eq(resident(p), 1);
    /* given back, it is zeros again */
    ck_assert_int_eq(madvise(p + 9 * 4096, 4096, MADV_DONTNEED), 0);
    ck_assert_uint_eq(scan(watch), 0);
    ck_assert(told.absent[9]);
    recto_vm_watch_destroy(watch);
    munmap(p, (size_t)PAGES * 4096);
}
END_TEST

START_TEST(static_data_is_watched)
{
    recto_vm_watch *watch = NULL;
    ck_assert_int_eq(recto_vm_watch_create(data, sizeof data, &watch), 0);
    ck_assert_uint_eq(scan(watch), 0);
    data[4096 * 2] = 3;
    ck_assert_uint_eq(scan(watch), 1);
    ck_assert(told.written[2]);
    recto_vm_watch_destroy(watch);
}
END_TEST

START_TEST(what_cannot_be_watched_is_refused)
{
    recto_vm_watch *watch = NULL;
    recto_vm_watch *other = NULL;
    char *shared = map_pages(MAP_SHARED);
    char *p = map_pages(MAP_PRIVATE);
    ck_assert_int_eq(recto_vm_watch_create(shared, 4096, &watch),
                     RECTO_EUNSUPPORTED);
    ck_assert_int_eq(recto_vm_watch_create(p + 1, 4096, &watch), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_watch_create(p, 4097, &watch), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_watch_create(p, 8192, &watch), 0);
    ck_assert_int_eq(recto_vm_watch_create(p + 4096, 8192, &other),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_watch_create(p + 8192, 8192, &other), 0);
    recto_vm_watch_destroy(other);
    recto_vm_watch_destroy(watch);
    munmap(p + 4096, 4096);
    ck_assert_int_eq(recto_vm_watch_create(p, 12288, &watch),
                     RECTO_EUNSUPPORTED);
    munmap(p, (size_t)PAGES * 4096);
    munmap(shared, (size_t)PAGES * 4096);
}
END_TEST

START_TEST(what_is_mapped_anew_is_told)
{
    recto_vm_watch *watch = NULL;
    char *p = map_pages(MAP_PRIVATE);
    ck_assert_int_eq(recto_vm_watch_create(p, (size_t)PAGES * 4096, &watch), 0);
    ck_assert_ptr_eq(mmap(p + 4096, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     p + 4096);
    ck_assert_int_eq(recto_vm_watch_scan(watch, NULL, NULL, NULL),
                     RECTO_ESTATE);
    recto_vm_watch_destroy(watch);
    ck_assert_int_eq(recto_vm_watch_create(p, (size_t)PAGES * 4096, &watch), 0);
    recto_vm_watch_destroy(watch);
    munmap(p, (size_t)PAGES * 4096);
}
END_TEST

START_TEST(a_forked_child_does_not_disturb)
{
    recto_vm_watch *watch = NULL;
    char *p = map_pages(MAP_PRIVATE);
    int status = 0;
    ck_assert_int_eq(recto_vm_watch_create(p, (size_t)PAGES * 4096, &watch), 0);
    p[0] = 1;
    pid_t child = fork();
    if (child == 0) {
        p[4096] = 1;
        recto_vm_watch *own = NULL;
        int bad = recto_vm_watch_scan(watch, NULL, NULL, NULL) != RECTO_ESTATE;
        bad = bad || recto_vm_watch_create(p, 8192, &own) != 0;
        recto_vm_watch_destroy(watch);
        _exit(bad);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(scan(watch), 1);
    ck_assert(told.written[0]);
    recto_vm_watch_destroy(watch);
    munmap(p, (size_t)PAGES * 4096);
}
END_TEST

int main(void)
{
    recto_vm_watch *watch = NULL;
    setenv("RECTO_DIRTY", "auto", 1);
    if (recto_vm_init() != 0 ||
        recto_vm_watch_create(data, 4096, &watch) != 0) {
        printf("skipped: %s\n", recto_last_error());
        return 77;
    }
    recto_vm_watch_destroy(watch);
    recto_vm_finalize();
    Suite *suite = suite_create("vm_watch");
    TCase *t = tcase_create("watch");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, writes_are_found_once);
    tcase_add_test(t, untouched_pages_stay_untouched);
    tcase_add_test(t, static_data_is_watched);
    tcase_add_test(t, what_cannot_be_watched_is_refused);
    tcase_add_test(t, what_is_mapped_anew_is_told);
    tcase_add_test(t, a_forked_child_does_not_disturb);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
