/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protection back end on userfaultfd, where it differs from mprotect: own
 * pages cost no fault and take system calls; holes of the memory appear when
 * they are touched and stay holes until then; entries that the kernel takes come
 * back; memory that it cannot protect goes to mprotect; a forked child does not
 * reach its parent's pages. Exits 77 where the kernel has none.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <recto/vm.h>

#define PAGE 4096

/* NOLINTBEGIN(readability-function-cognitive-complexity) */
/* NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTBEGIN(concurrency-mt-unsafe) */

struct pages {
    int fd;
    size_t bytes;
    volatile char *recto;
    volatile char *verso;
    recto_vm_range *range;
};

static void pages_open(struct pages *m, size_t count, enum recto_vm_right right)
{
    void *recto = NULL;
    void *verso = NULL;
    m->bytes = count * PAGE;
    ck_assert_int_eq(recto_vm_memory_create("test", m->bytes, &m->fd), 0);
    ck_assert_int_eq(recto_vm_map(m->fd, 0, m->bytes, NULL, right, &recto), 0);
    ck_assert_int_eq(
        recto_vm_map(m->fd, 0, m->bytes, NULL, RECTO_VM_WRITE, &verso), 0);
    ck_assert_int_eq(recto_vm_range_create(recto, m->bytes, right, &m->range),
                     0);
    m->recto = recto;
    m->verso = verso;
}

static void pages_close(struct pages *m)
{
    recto_vm_check();
    recto_vm_range_destroy(m->range);
    ck_assert_int_eq(recto_vm_unmap((void *)m->recto, m->bytes), 0);
    ck_assert_int_eq(recto_vm_unmap((void *)m->verso, m->bytes), 0);
    ck_assert_int_eq(close(m->fd), 0);
}

static uint64_t memory_pages(const struct pages *m)
{
    struct stat status;
    ck_assert_int_eq(fstat(m->fd, &status), 0);
    return (uint64_t)status.st_blocks * 512 / PAGE;
}

static uint64_t faults(void)
{
    struct recto_vm_counters stats;
    recto_vm_stats(&stats);
    return stats.faults;
}

static _Thread_local sigjmp_buf refused;

static void owner_jump(int signal)
{
    (void)signal;
    siglongjmp(refused, 1);
}

static void start(void)
{
    struct sigaction action = {.sa_handler = owner_jump};
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
    ck_assert_msg(recto_vm_init() == 0, "%s", recto_last_error());
    ck_assert_str_eq(recto_vm_backend(), "pte");
}

static enum recto_vm_right right_seen(volatile char *at)
{
    volatile enum recto_vm_right seen = RECTO_VM_NONE;
    if (sigsetjmp(refused, 1) == 0) {
        char value = *at;
        seen = RECTO_VM_READ;
        *at = value;
        seen = RECTO_VM_WRITE;
    }
    return seen;
}

/* ---- own pages ------------------------------------------------------------- */

START_TEST(own_pages_cost_no_fault_and_take_system_calls)
{
    struct pages m;
    int ends[2];
    start();
    pages_open(&m, 128, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_own(m.range, 32, 64), 0);
    uint64_t before = faults();
    for (size_t i = 32; i < 64; i++) {
        m.recto[i * PAGE] = (char)i;
    }
    ck_assert_uint_eq(faults(), before);
    ck_assert_int_eq(m.verso[(size_t)40 * PAGE], 40);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "shared", 6), 6);
    ck_assert_int_eq(read(ends[0], (char *)m.recto + (size_t)70 * PAGE, 6), 6);
    ck_assert_int_eq(memcmp((char *)m.verso + (size_t)70 * PAGE, "shared", 6),
                     0);
    ck_assert_int_eq(write(ends[1], "refused", 7), 7);
    ck_assert_int_eq(read(ends[0], (char *)m.recto, 7), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(right_seen(m.recto + 31 * PAGE), RECTO_VM_NONE);
    ck_assert_int_eq(right_seen(m.recto + 96 * PAGE), RECTO_VM_NONE);
    pages_close(&m);
}
END_TEST

START_TEST(own_pages_are_tracked_and_watched)
{
    struct pages m;
    uint64_t bits[2] = {0};
    start();
    pages_open(&m, 128, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_own(m.range, 0, 128), 0);
    m.recto[0] = 1;
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    m.recto[3 * PAGE] = 1;   /* a hole until now */
    (void)m.recto[5 * PAGE]; /* reading does not count */
    m.recto[0] = 2;
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 0, 128, bits), 0);
    ck_assert_uint_eq(bits[0], 1U << 0 | 1U << 3);
    ck_assert_int_eq(recto_vm_protn(m.range, 64, 64, RECTO_VM_READ), 0);
    ck_assert_int_eq(right_seen(m.recto + 64 * PAGE), RECTO_VM_READ);
    ck_assert_int_eq(recto_vm_unprot(m.range, 64, 1, RECTO_VM_WRITE), 0);
    ck_assert_int_eq(right_seen(m.recto + 64 * PAGE), RECTO_VM_WRITE);
    ck_assert_int_eq(right_seen(m.recto + 65 * PAGE), RECTO_VM_READ);
    pages_close(&m);
}
END_TEST

static uint64_t mappings(void)
{
    struct recto_vm_counters stats;
    recto_vm_stats(&stats);
    return stats.mappings;
}

/* Pages cease to be own with all rights, touched or not, tracked or not; then
 * they can be taken, given and owned again. */
START_TEST(own_pages_can_be_had_back)
{
    struct pages m;
    uint64_t bits[2] = {0};
    start();
    pages_open(&m, 128, RECTO_VM_NONE);
    uint64_t before = mappings();
    ck_assert_int_eq(recto_vm_own(m.range, 16, 96), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    m.recto[33 * PAGE] = 1;
    ck_assert_int_eq(recto_vm_protn(m.range, 48, 8, RECTO_VM_READ), 0);
    ck_assert_int_eq(recto_vm_disown(m.range, 0, 64), 0);
    ck_assert_int_eq(right_seen(m.recto + 32 * PAGE), RECTO_VM_WRITE);
    ck_assert_int_eq(m.recto[33 * PAGE], 1);
    ck_assert_int_eq(right_seen(m.recto + 50 * PAGE), RECTO_VM_READ);
    ck_assert_int_eq(right_seen(m.recto + 70 * PAGE), RECTO_VM_WRITE);
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 0, 128, bits), 0);
    ck_assert_uint_eq(bits[0], UINT64_C(3) << 32);
    ck_assert_uint_eq(bits[1], UINT64_C(1) << 6);
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 64, RECTO_VM_NONE), 0);
    ck_assert_int_eq(right_seen(m.recto + 33 * PAGE), RECTO_VM_NONE);
    ck_assert_int_eq(right_seen(m.recto + 50 * PAGE), RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_memory_discard(m.fd, 0, 64 * PAGE), 0);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 16, RECTO_VM_READ), 0);
    ck_assert_int_eq(recto_vm_own(m.range, 16, 48), 0);
    ck_assert_int_eq(m.recto[33 * PAGE], 0);
    m.recto[50 * PAGE] = 2;
    ck_assert_int_eq(m.verso[50 * PAGE], 2);
    ck_assert_int_eq(right_seen(m.recto + 5 * PAGE), RECTO_VM_READ);
    ck_assert_int_eq(recto_vm_disown(m.range, 0, 128), 0);
    ck_assert_int_eq(recto_vm_disown(m.range, 0, 128), 0);
    ck_assert_uint_eq(mappings(), before);
    ck_assert_int_eq(recto_vm_disown(m.range, 1, 128), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_disown(NULL, 0, 1), RECTO_EINVAL);
    pages_close(&m);
}
END_TEST

START_TEST(wrong_own_pages_are_refused)
{
    struct pages m;
    start();
    pages_open(&m, 4, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_own(NULL, 0, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_own(m.range, 0, 5), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_own(m.range, 5, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_own(m.range, 0, 0), RECTO_EINVAL);
    ck_assert_int_eq(right_seen(m.recto), RECTO_VM_NONE);
    pages_close(&m);
}
END_TEST

/* ---- holes ----------------------------------------------------------------- */

START_TEST(long_grants_stay_sparse)
{
    struct pages m;
    const size_t count = (size_t)1 << 20; /* 4 GiB */
    start();
    pages_open(&m, count, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, count / 2, RECTO_VM_READ), 0);
    ck_assert_int_eq(
        recto_vm_unprot(m.range, count / 2, count / 2, RECTO_VM_WRITE), 0);
    ck_assert_uint_le(memory_pages(&m), 4);
    for (size_t i = 1000; i < count / 2; i += 100000) {
        ck_assert_int_eq(m.recto[i * PAGE + 7], 0);
        ck_assert_int_eq(right_seen(m.recto + i * PAGE), RECTO_VM_READ);
        ck_assert_int_eq(right_seen(m.recto + (count / 2 + i) * PAGE),
                         RECTO_VM_WRITE);
    }
    ck_assert_uint_le(memory_pages(&m), 64);
    pages_close(&m);
}
END_TEST

enum {
    HUGE = 1 << 24, /* pages: 64 GiB */
    PLACES = 97,
    ROUNDS = 40
};

static struct {
    uint64_t page[PLACES];
    bool written[PLACES]; /* and not told of yet */
    uint64_t told;
} huge;

static void huge_told(uint64_t first, uint64_t count, void *argument)
{
    (void)argument;
    for (uint64_t page = first; page < first + count; page++) {
        size_t i = 0;
        while (i < PLACES && huge.page[i] != page) {
            i++;
        }
        ck_assert_msg(i < PLACES && huge.written[i], "page %llu: not written",
                      (unsigned long long)page);
        huge.written[i] = false;
        huge.told++;
    }
}

/* Own pages, nearly all of them never touched: each that is written is told of once,
 * be its chunk untouched till then or not, and a part of it asked for first; and the
 * kernel is called for what was written, not for all there is. */
START_TEST(a_huge_range_costs_what_is_written)
{
    struct pages m;
    struct recto_vm_counters before;
    struct recto_vm_counters after;
    const char *given = getenv("TEST_SEED");
    unsigned seed =
        given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    printf("TEST_SEED=%u\n", seed);
    start();
    pages_open(&m, HUGE, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_range_memory(m.range, m.fd, 0), 0);
    ck_assert_int_eq(recto_vm_own(m.range, 0, HUGE), 0);
    for (size_t i = 0; i < PLACES; i++) {
        /* neighbours, the same chunk, far apart; all different */
        huge.page[i] = i % 3 == 0
                           ? i * (HUGE / PLACES) + (uint64_t)rand_r(&seed) % 512
                       : i % 3 == 1 ? huge.page[i - 1] + 1
                                    : huge.page[i - 2] + 600;
    }
    m.recto[huge.page[0] * PAGE] = 1;
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t count = 0;
        uint64_t cut = huge.page[(unsigned)rand_r(&seed) % PLACES] +
                       (unsigned)rand_r(&seed) % 3;
        recto_vm_stats(&before);
        for (size_t i = 0; i < PLACES; i++) {
            if (rand_r(&seed) % 4 == 0) {
                m.recto[huge.page[i] * PAGE + i] = (char)round;
                count += !huge.written[i];
                huge.written[i] = true;
            }
        }
        huge.told = 0;
        if (round % 2 != 0) {
            ck_assert_int_eq(
                recto_vm_dirty_runs(m.range, 0, cut, huge_told, NULL), 0);
        }
        ck_assert_int_eq(recto_vm_dirty_runs(m.range, round % 2 != 0 ? cut : 0,
                                             HUGE - (round % 2 != 0 ? cut : 0),
                                             huge_told, NULL),
                         0);
        ck_assert_uint_eq(huge.told, count);
        recto_vm_stats(&after);
        ck_assert_uint_le(after.protect_calls - before.protect_calls,
                          8 + 4 * count);
    }
    ck_assert_int_eq(recto_vm_dirty_stop(m.range), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    huge.told = 0;
    m.recto[huge.page[5] * PAGE] = 1;
    huge.written[5] = true;
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, HUGE, huge_told, NULL), 0);
    ck_assert_uint_eq(huge.told, 1);
    pages_close(&m);
}
END_TEST

START_TEST(what_the_kernel_takes_comes_back)
{
    struct pages m;
    start();
    pages_open(&m, 64, RECTO_VM_NONE);
    memset((char *)m.verso, 7, m.bytes);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 32, RECTO_VM_READ), 0);
    ck_assert_int_eq(recto_vm_unprot(m.range, 32, 16, RECTO_VM_WRITE), 0);
    /* entries only */
    ck_assert_int_eq(madvise((void *)m.recto, m.bytes, MADV_DONTNEED), 0);
    ck_assert_int_eq(m.recto[PAGE], 7);
    ck_assert_int_eq(right_seen(m.recto + 2 * PAGE), RECTO_VM_READ);
    ck_assert_int_eq(right_seen(m.recto + 33 * PAGE), RECTO_VM_WRITE);
    ck_assert_int_eq(right_seen(m.recto + 50 * PAGE), RECTO_VM_NONE);
    /* entries and memory */
    ck_assert_int_eq(recto_vm_memory_discard(m.fd, 0, m.bytes), 0);
    ck_assert_int_eq(m.recto[PAGE], 0);
    ck_assert_int_eq(right_seen(m.recto + PAGE), RECTO_VM_READ);
    ck_assert_int_eq(right_seen(m.recto + 34 * PAGE), RECTO_VM_WRITE);
    ck_assert_int_eq(right_seen(m.recto + 50 * PAGE), RECTO_VM_NONE);
    /* a run with holes and entries */
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 64, RECTO_VM_WRITE), 0);
    for (size_t i = 0; i < 64; i++) {
        ck_assert_int_eq(right_seen(m.recto + i * PAGE), RECTO_VM_WRITE);
    }
    pages_close(&m);
}
END_TEST

enum {
    HOLE_PAGES = 1024,
    HOLE_THREADS = 4
};

struct race {
    struct pages *pages;
    atomic_int *turn;
};

static void *add_everywhere(void *argument)
{
    struct race *race = argument;
    for (size_t i = 0; i < HOLE_PAGES; i++) {
        /* all threads meet the same hole at about the same time */
        atomic_fetch_add(race->turn, 1);
        while (atomic_load(race->turn) < (int)(i * HOLE_THREADS)) {
            sched_yield();
        }
        atomic_fetch_add((_Atomic int *)(race->pages->recto + i * PAGE), 1);
    }
    return NULL;
}

START_TEST(threads_that_meet_in_a_hole_see_one_page)
{
    struct pages m;
    atomic_int turn = 0;
    pthread_t threads[HOLE_THREADS];
    start();
    pages_open(&m, HOLE_PAGES, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, HOLE_PAGES, RECTO_VM_WRITE),
                     0);
    struct race race = {.pages = &m, .turn = &turn};
    for (int i = 0; i < HOLE_THREADS; i++) {
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, add_everywhere, &race), 0);
    }
    for (int i = 0; i < HOLE_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    int wrong = 0;
    for (size_t i = 0; i < HOLE_PAGES; i++) {
        wrong += *(volatile int *)(m.verso + i * PAGE) != HOLE_THREADS;
    }
    ck_assert_int_eq(wrong, 0);
    pages_close(&m);
}
END_TEST

/* ---- other memory, other processes ----------------------------------------- */

START_TEST(private_memory_is_protected_too)
{
    recto_vm_range *range = NULL;
    volatile char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    start();
    ck_assert(at != MAP_FAILED);
    ck_assert_int_eq(
        recto_vm_range_create((void *)at, 4 * PAGE, RECTO_VM_WRITE, &range), 0);
    ck_assert_int_eq(recto_vm_prot1(range, 1, RECTO_VM_READ), 0);
    ck_assert_int_eq(recto_vm_prot1(range, 2, RECTO_VM_NONE), 0);
    ck_assert_int_eq(right_seen(at), RECTO_VM_WRITE);
    ck_assert_int_eq(right_seen(at + PAGE), RECTO_VM_READ);
    ck_assert_int_eq(right_seen(at + (ptrdiff_t)2 * PAGE), RECTO_VM_NONE);
    recto_vm_range_destroy(range);
    (void)munmap((void *)at, 4 * PAGE);
}
END_TEST

/* The child protects pages at the addresses where its parent has some. */
static bool child_protects(const struct pages *parent)
{
    int fd = -1;
    void *view = NULL;
    recto_vm_range *range = NULL;
    if (recto_vm_memory_create("child", parent->bytes, &fd) != 0 ||
        recto_vm_map(fd, 0, parent->bytes, (void *)parent->recto,
                     RECTO_VM_WRITE, &view) != 0 ||
        recto_vm_range_create(view, parent->bytes, RECTO_VM_WRITE, &range) !=
            0) {
        return false;
    }
    ((volatile char *)view)[0] = 1;
    return recto_vm_protn(range, 0, parent->bytes / PAGE, RECTO_VM_NONE) == 0 &&
           right_seen(view) == RECTO_VM_NONE;
}

START_TEST(a_child_does_not_reach_its_parents_pages)
{
    struct pages m;
    start();
    pages_open(&m, 16, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 16, RECTO_VM_WRITE), 0);
    memset((char *)m.recto, 5, m.bytes);
    uint64_t before = faults();
    pid_t child = fork();
    if (child == 0) {
        _exit(child_protects(&m) ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    for (size_t i = 0; i < 16; i++) {
        ck_assert_int_eq(m.recto[i * PAGE], 5);
        m.recto[i * PAGE] = 6;
    }
    ck_assert_uint_eq(faults(), before);
    pages_close(&m);
}
END_TEST

START_TEST(a_refused_access_dies_of_sigsegv)
{
    struct pages m;
    start();
    pages_open(&m, 4, RECTO_VM_READ);
    pid_t child = fork();
    if (child == 0) {
        void *view = NULL;
        recto_vm_range *range = NULL;
        (void)signal(SIGSEGV, SIG_DFL);
        if (recto_vm_map(m.fd, 0, m.bytes, NULL, RECTO_VM_WRITE, &view) == 0 &&
            recto_vm_range_create(view, m.bytes, RECTO_VM_WRITE, &range) == 0 &&
            recto_vm_prot1(range, 1, RECTO_VM_READ) == 0) {
            ((volatile char *)view)[PAGE] = 1;
        }
        _exit(1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
    pages_close(&m);
}
END_TEST

int main(void)
{
    setenv("RECTO_VM", "pte", 1);
    int code = recto_vm_init();
    if (code == RECTO_EUNSUPPORTED) {
        printf("skipped: %s\n", recto_last_error());
        return 77;
    }
    if (code != 0 || recto_vm_finalize() != 0) {
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("vm pte");
    TCase *t = tcase_create("pte");
    suite_add_tcase(suite, t);
    tcase_add_test(t, own_pages_cost_no_fault_and_take_system_calls);
    tcase_add_test(t, own_pages_are_tracked_and_watched);
    tcase_add_test(t, own_pages_can_be_had_back);
    tcase_add_test(t, a_huge_range_costs_what_is_written);
    tcase_add_test(t, wrong_own_pages_are_refused);
    tcase_add_test(t, long_grants_stay_sparse);
    tcase_add_test(t, what_the_kernel_takes_comes_back);
    tcase_add_test(t, threads_that_meet_in_a_hole_see_one_page);
    tcase_add_test(t, private_memory_is_protected_too);
    tcase_add_test(t, a_child_does_not_reach_its_parents_pages);
    tcase_add_test(t, a_refused_access_dies_of_sigsegv);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* NOLINTEND(concurrency-mt-unsafe) */
/* NOLINTEND(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTEND(readability-function-cognitive-complexity) */
