/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that protection scales: range operations join runs into few kernel
 * calls; kernel mappings are counted exactly; past the budget or the kernel's
 * own limit (65 530) rights are taken away instead of a call failing, and every
 * page stays accessible as granted; random rights from several threads agree
 * with a model and the kernel never grants more than the client did.
 *
 * With a sanitizer: ASAN_OPTIONS=allow_user_segv_handler=1 (its default) or
 * handle_segv=0.
 */
#include <check.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <recto/vm.h>

enum {
    PAGE = 4096
};

/* Assertions are macros with branches; products of small constants fit an int;
 * setenv, getenv and the like run before there are threads. */
/* NOLINTBEGIN(readability-function-cognitive-complexity) */
/* NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTBEGIN(concurrency-mt-unsafe) */

/* ---- helpers ------------------------------------------------------------- */

struct pages {
    int fd;
    size_t bytes;
    volatile char *recto;
    recto_vm_range *range;
};

static void pages_open(struct pages *m, size_t count, enum recto_vm_right right)
{
    void *recto = NULL;
    m->bytes = count * PAGE;
    ck_assert_int_eq(recto_vm_memory_create("test", m->bytes, &m->fd), 0);
    ck_assert_int_eq(recto_vm_map(m->fd, 0, m->bytes, NULL, right, &recto), 0);
    ck_assert_int_eq(recto_vm_range_create(recto, m->bytes, right, &m->range),
                     0);
    m->recto = recto;
}

static void pages_close(struct pages *m)
{
    recto_vm_check();
    recto_vm_range_destroy(m->range);
    ck_assert_int_eq(recto_vm_unmap((void *)m->recto, m->bytes), 0);
    ck_assert_int_eq(close(m->fd), 0);
}

static _Thread_local sigjmp_buf refused;

static void owner_jump(int signal)
{
    (void)signal;
    siglongjmp(refused, 1);
}

static void start(const char *max_mappings)
{
    struct sigaction action = {.sa_handler = owner_jump};
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
    setenv("RECTO_MAX_MAPPINGS", max_mappings, 1);
    ck_assert_msg(recto_vm_init() == 0, "%s", recto_last_error());
}

static bool can_read(const volatile char *at)
{
    if (sigsetjmp(refused, 1) != 0) {
        return false;
    }
    (void)*at;
    return true;
}

static bool can_write(volatile char *at)
{
    if (sigsetjmp(refused, 1) != 0) {
        return false;
    }
    *at = 1;
    return true;
}

static enum recto_vm_right right_seen(volatile char *at)
{
    if (can_write(at)) {
        return RECTO_VM_WRITE;
    }
    return can_read(at) ? RECTO_VM_READ : RECTO_VM_NONE;
}

/* Whether runs of equal rights are kernel mappings. */
static bool splits(void)
{
    return strcmp(recto_vm_backend(), "mprotect") == 0;
}

/* Reads the kernel's own list: no page may have more than was granted, and
 * the range's mappings are returned. */
static uint64_t kernel_mappings(const struct pages *m)
{
    uint64_t count = 0;
    char line[512];
    uintptr_t base = (uintptr_t)m->recto;
    FILE *file = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *next = NULL;
        uintptr_t low = strtoull(line, &next, 16);
        uintptr_t high = strtoull(next + 1, &next, 16);
        if (low < base || high > base + m->bytes) {
            continue;
        }
        enum recto_vm_right right = next[2] == 'w'
                                        ? RECTO_VM_WRITE
                                        : (enum recto_vm_right)(next[1] == 'r');
        count++;
        for (uint64_t i = (low - base) / PAGE; i < (high - base) / PAGE; i++) {
            ck_assert(right <= recto_vm_right_of(m->range, i) || !splits());
        }
    }
    (void)fclose(file);
    return count;
}

static struct recto_vm_counters numbers(void)
{
    struct recto_vm_counters stats;
    recto_vm_stats(&stats);
    return stats;
}

/* Rights were taken to save mappings, where there are any to save. */
static void check_coarsened(void)
{
    if (splits()) {
        ck_assert_uint_ge(numbers().coarsened, 1);
    } else {
        ck_assert_uint_eq(numbers().coarsened, 0);
    }
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t random_seed(void)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL
                        ? strtoull(given, NULL, 10)
                        : (uint64_t)time(NULL) * 1000003U + (uint64_t)getpid();
    printf("seed: TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return seed | 1;
}

/* ---- joined runs --------------------------------------------------------- */

START_TEST(neighbours_are_changed_in_one_call)
{
    struct pages m;
    start("0");
    pages_open(&m, 1000, RECTO_VM_WRITE);
    uint64_t calls = numbers().protect_calls;
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 1000, RECTO_VM_READ), 0);
    ck_assert_uint_eq(numbers().protect_calls - calls, 1);
    /* again: nothing to do */
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 1000, RECTO_VM_READ), 0);
    ck_assert_uint_eq(numbers().protect_calls - calls, 1);
    /* a hole of less right in the middle splits a run, and only there */
    ck_assert_int_eq(recto_vm_prot1(m.range, 500, RECTO_VM_NONE), 0);
    ck_assert_uint_eq(numbers().mappings, splits() ? 3 : 1);
    ck_assert_int_eq(recto_vm_unprot(m.range, 100, 800, RECTO_VM_WRITE), 0);
    ck_assert_uint_eq(numbers().protect_calls - calls, splits() ? 3 : 6);
    ck_assert_uint_eq(numbers().mappings, splits() ? 3 : 1);
    ck_assert_uint_eq(kernel_mappings(&m), numbers().mappings);
    for (uint64_t i = 0; i < 1000; i += 2) {
        recto_vm_prot1(m.range, i, RECTO_VM_NONE);
    }
    calls = numbers().protect_calls;
    ck_assert_uint_eq(kernel_mappings(&m), numbers().mappings);
    /* pages that have less already lie inside the one call */
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 1000, RECTO_VM_NONE), 0);
    ck_assert_uint_eq(numbers().protect_calls - calls, 1);
    ck_assert_uint_eq(numbers().mappings, 1);
    pages_close(&m);
    ck_assert_uint_eq(numbers().mappings, 0);
}
END_TEST

START_TEST(two_million_pages_are_one_call)
{
    struct pages m;
    start("0");
    pages_open(&m, (size_t)1 << 21, RECTO_VM_NONE); /* 8 GiB */
    uint64_t calls = numbers().protect_calls;
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 1U << 21, RECTO_VM_WRITE), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    m.recto[m.bytes / 2] = 1;
    struct timespec a;
    struct timespec b;
    uint64_t *bits = calloc((size_t)1 << 15, sizeof *bits);
    clock_gettime(CLOCK_MONOTONIC, &a);
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 0, 1U << 21, bits), 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    ck_assert_uint_eq(bits[(1U << 20) / 64], 1);
    free(bits);
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 +
                (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    printf("collecting 2 097 152 pages, one dirty: %.1f ms\n", ms);
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 1U << 21, RECTO_VM_NONE), 0);
    if (splits()) {
        ck_assert_uint_eq(numbers().protect_calls - calls, 5);
    }
    pages_close(&m);
}
END_TEST

/* Odd pages are granted, even ones refused in part. Under a sanitizer a jump
 * out of a handler reads the list of all mappings, so few of these are tried. */
static bool tried(uint64_t page)
{
#ifdef __SANITIZE_ADDRESS__
    return page % 2 == 1 || page % 994 == 0;
#else
    (void)page;
    return true;
#endif
}

/* ---- the limit ----------------------------------------------------------- */

START_TEST(alternating_pages_go_past_the_kernel_limit)
{
    struct pages m;
    const uint64_t count = 160000;
    start("0");
    pages_open(&m, count, RECTO_VM_WRITE);
    for (uint64_t i = 0; i < count; i += 2) {
        ck_assert_int_eq(recto_vm_prot1(m.range, i, RECTO_VM_NONE), 0);
    }
    check_coarsened();
    ck_assert_uint_eq(kernel_mappings(&m), numbers().mappings);
    for (uint64_t i = 0; i < count; i++) {
        if (!tried(i)) {
            continue;
        }
        ck_assert_int_eq(right_seen(m.recto + i * PAGE),
                         i % 2 == 0 ? RECTO_VM_NONE : RECTO_VM_WRITE);
    }
    ck_assert_uint_eq(kernel_mappings(&m), numbers().mappings);
    pages_close(&m);
}
END_TEST

/* The budget says there is room, the kernel says there is none. */
START_TEST(a_refusal_by_the_kernel_is_survived)
{
    struct pages a;
    struct pages b;
    const uint64_t count = 70000;
    start("10000000");
    pages_open(&a, count, RECTO_VM_WRITE);
    pages_open(&b, count, RECTO_VM_WRITE);
    for (uint64_t i = 0; i < count; i += 2) {
        ck_assert_int_eq(recto_vm_prot1(a.range, i, RECTO_VM_READ), 0);
        ck_assert_int_eq(recto_vm_prot1(b.range, i, RECTO_VM_NONE), 0);
    }
    check_coarsened();
    for (uint64_t i = 0; i < count; i += 7) {
        if (!tried(i)) {
            continue;
        }
        ck_assert_int_eq(right_seen(a.recto + i * PAGE),
                         i % 2 == 0 ? RECTO_VM_READ : RECTO_VM_WRITE);
        ck_assert_int_eq(right_seen(b.recto + i * PAGE),
                         i % 2 == 0 ? RECTO_VM_NONE : RECTO_VM_WRITE);
    }
    ck_assert_uint_eq(kernel_mappings(&a) + kernel_mappings(&b),
                      numbers().mappings);
    pages_close(&a);
    pages_close(&b);
}
END_TEST

START_TEST(destroying_a_range_gives_back_what_was_taken)
{
    struct pages m;
    start("70");
    pages_open(&m, 200, RECTO_VM_WRITE);
    for (uint64_t i = 0; i < 200; i += 2) {
        ck_assert_int_eq(recto_vm_prot1(m.range, i, RECTO_VM_READ), 0);
    }
    check_coarsened();
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 200, RECTO_VM_READ), 0);
    recto_vm_range_destroy(m.range);
    for (uint64_t i = 0; i < 200; i++) {
        ck_assert_int_eq(right_seen(m.recto + i * PAGE), RECTO_VM_READ);
    }
}
END_TEST

/* ---- random rights ------------------------------------------------------- */

enum {
    MODEL_RANGES = 3,
    MODEL_PAGES = 301,
    MODEL_STEPS = 20000
};

static struct pages model_pages[MODEL_RANGES];
static enum recto_vm_right model_right[MODEL_RANGES][MODEL_PAGES];
static bool model_dirty[MODEL_RANGES][MODEL_PAGES];

static void model_collect(unsigned r, uint64_t first, uint64_t count)
{
    uint64_t bits[(MODEL_PAGES + 63) / 64] = {0};
    ck_assert_int_eq(
        recto_vm_dirty_collect(model_pages[r].range, first, count, bits), 0);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_int_eq(bits[i / 64] >> (i % 64) & 1,
                         model_dirty[r][first + i]);
        model_dirty[r][first + i] = false;
    }
}

static void model_access(unsigned r, uint64_t page, bool write)
{
    enum recto_vm_right right = model_right[r][page];
    volatile char *at = model_pages[r].recto + page * PAGE + page % PAGE;
    if (write) {
        ck_assert_int_eq(can_write(at), right == RECTO_VM_WRITE);
        /* only the first range is tracked */
        model_dirty[r][page] |= r == 0 && right == RECTO_VM_WRITE;
    } else {
        ck_assert_int_eq(can_read(at), right != RECTO_VM_NONE);
    }
}

static void model_change(unsigned r, uint64_t first, uint64_t count,
                         enum recto_vm_right right, bool raise)
{
    recto_vm_range *range = model_pages[r].range;
    ck_assert_int_eq(raise ? recto_vm_unprot(range, first, count, right)
                           : recto_vm_protn(range, first, count, right),
                     0);
    for (uint64_t i = first; i < first + count; i++) {
        enum recto_vm_right *model = &model_right[r][i];
        if (raise ? *model < right : *model > right) {
            *model = right;
        }
    }
}

static void model_step(uint64_t *random)
{
    uint64_t n = random_next(random);
    unsigned r = (unsigned)(n % MODEL_RANGES);
    uint64_t first = (n >> 8) % MODEL_PAGES;
    uint64_t count = 1 + (n >> 20) % 8;
    count = (n >> 24) % 16 == 0 ? count * 20 : count;
    count = first + count > MODEL_PAGES ? MODEL_PAGES - first : count;
    switch ((n >> 32) % 8) {
    case 0:
    case 1:
        model_change(r, first, count, (enum recto_vm_right)((n >> 40) % 3),
                     false);
        break;
    case 2:
    case 3:
        model_change(r, first, count, (enum recto_vm_right)((n >> 40) % 3),
                     true);
        break;
    case 4:
        if (r == 0) {
            model_collect(r, first, count);
        }
        break;
    default: model_access(r, first, (n >> 44) & 1); break;
    }
}

START_TEST(random_rights_agree_with_a_model)
{
    uint64_t random = random_seed();
    start("80");
    for (int r = 0; r < MODEL_RANGES; r++) {
        pages_open(&model_pages[r], MODEL_PAGES, RECTO_VM_NONE);
    }
    ck_assert_int_eq(recto_vm_dirty_start(model_pages[0].range), 0);
    for (int step = 0; step < MODEL_STEPS; step++) {
        model_step(&random);
        if (step % 500 == 0) {
            uint64_t sum = 0;
            recto_vm_check();
            for (int r = 0; r < MODEL_RANGES; r++) {
                sum += kernel_mappings(&model_pages[r]);
            }
            ck_assert_uint_eq(sum, numbers().mappings);
            ck_assert_uint_le(sum, 80);
        }
    }
    check_coarsened();
    for (int r = 0; r < MODEL_RANGES; r++) {
        for (uint64_t i = 0; i < MODEL_PAGES; i++) {
            ck_assert_int_eq(right_seen(model_pages[r].recto + i * PAGE),
                             model_right[r][i]);
        }
        pages_close(&model_pages[r]);
    }
}
END_TEST

/* Each thread owns every fourth page, so claims and runs always overlap. */
enum {
    OWN_THREADS = 4,
    OWN_PAGES = 256,
    OWN_STEPS = 8000
};

struct own {
    struct pages *pages;
    uint64_t random;
    unsigned index;
    enum recto_vm_right right[OWN_PAGES];
    int wrong;
};

static void *change_own(void *argument)
{
    struct own *own = argument;
    for (int step = 0; step < OWN_STEPS; step++) {
        uint64_t n = random_next(&own->random);
        uint64_t page =
            n % (OWN_PAGES / OWN_THREADS) * OWN_THREADS + own->index;
        enum recto_vm_right right = (enum recto_vm_right)((n >> 16) % 3);
        enum recto_vm_right now = own->right[page];
        int code = right > now
                       ? recto_vm_unprot(own->pages->range, page, 1, right)
                       : recto_vm_prot1(own->pages->range, page, right);
        own->right[page] = right;
        own->wrong += code != 0;
        own->wrong += right_seen(own->pages->recto + page * PAGE) != right;
    }
    return NULL;
}

START_TEST(threads_change_neighbouring_pages_at_the_limit)
{
    static struct own owns[OWN_THREADS];
    pthread_t threads[OWN_THREADS];
    struct pages m;
    uint64_t random = random_seed();
    start("100");
    pages_open(&m, OWN_PAGES, RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    for (unsigned i = 0; i < OWN_THREADS; i++) {
        owns[i].pages = &m;
        owns[i].index = i;
        owns[i].random = random_next(&random);
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, change_own, &owns[i]), 0);
    }
    int wrong = 0;
    for (int i = 0; i < OWN_THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += owns[i].wrong;
    }
    ck_assert_int_eq(wrong, 0);
    check_coarsened();
    recto_vm_check();
    ck_assert_uint_eq(kernel_mappings(&m), numbers().mappings);
    pages_close(&m);
}
END_TEST

/* ---- the suite ----------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("vm limits");
    TCase *t = tcase_create("limits");
    tcase_set_timeout(t, 240);
    suite_add_tcase(suite, t);
    tcase_add_test(t, neighbours_are_changed_in_one_call);
    tcase_add_test(t, two_million_pages_are_one_call);
    tcase_add_test(t, alternating_pages_go_past_the_kernel_limit);
    tcase_add_test(t, a_refusal_by_the_kernel_is_survived);
    tcase_add_test(t, destroying_a_range_gives_back_what_was_taken);
    tcase_add_test(t, random_rights_agree_with_a_model);
    tcase_add_test(t, threads_change_neighbouring_pages_at_the_limit);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* NOLINTEND(concurrency-mt-unsafe) */
/* NOLINTEND(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTEND(readability-function-cognitive-complexity) */
