/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DIRTY, the same by every method of tracking and back end: pages written are told,
 * once, as runs, of any part; none that was only read, none lost while threads write;
 * holes stay holes. A range that is shut shows every page before its first write, also
 * with few kernel mappings, and loses no write; a hidden one before its first access,
 * and what came there by other ways is no write. The counters tell which method ran.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <recto/vm.h>

#include "random.h"
#include "told.h"

enum {
    PAGE = 4096
};

/* Assertions are macros with branches; setenv runs before there are threads. */
/* NOLINTBEGIN(readability-function-cognitive-complexity) */
/* NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTBEGIN(concurrency-mt-unsafe) */

static const struct way {
    const char *method;
    const char *backend;
} ways[] = {
    {"fault", "mprotect"},
    {"fault", "auto"    },
    {"scan",  "mprotect"},
    {"scan",  "auto"    },
    {"hash",  "mprotect"},
    {"hash",  "auto"    },
};

enum {
    WAYS = sizeof ways / sizeof ways[0]
};

static uint64_t run_seed;

struct pages {
    int fd;
    size_t bytes;
    size_t count;
    volatile char *recto;
    volatile char *verso;
    recto_vm_range *range;
};

/* False: the kernel cannot do that. */
static bool begin(int way)
{
    setenv("RECTO_DIRTY", ways[way].method, 1);
    setenv("RECTO_VM", ways[way].backend, 1);
    int code = recto_vm_init();
    ck_assert_msg(code == 0 || code == RECTO_EUNSUPPORTED, "%s",
                  recto_last_error());
    if (code != 0) {
        printf("not here: %s\n", recto_last_error());
    }
    return code == 0;
}

static bool is_way(int way, const char *method)
{
    return strcmp(ways[way].method, method) == 0;
}

static void pages_open(struct pages *m, size_t count)
{
    void *recto = NULL;
    void *verso = NULL;
    m->count = count;
    m->bytes = count * PAGE;
    ck_assert_int_eq(recto_vm_memory_create("test", m->bytes, &m->fd), 0);
    ck_assert_int_eq(
        recto_vm_map(m->fd, 0, m->bytes, NULL, RECTO_VM_NONE, &recto), 0);
    ck_assert_int_eq(
        recto_vm_map(m->fd, 0, m->bytes, NULL, RECTO_VM_WRITE, &verso), 0);
    ck_assert_int_eq(
        recto_vm_range_create(recto, m->bytes, RECTO_VM_NONE, &m->range), 0);
    ck_assert_int_eq(recto_vm_range_memory(m->range, m->fd, 0), 0);
    ck_assert_int_eq(recto_vm_own_all(m->range), 0);
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

static void track(struct pages *m)
{
    ck_assert_int_eq(recto_vm_dirty_start(m->range), 0);
    ck_assert_int_eq(recto_vm_dirty_runs(m->range, 0, m->count, NULL, NULL), 0);
}

static void put(struct pages *m, uint64_t page, char value)
{
    m->recto[page * PAGE + 100] = value;
}

/* Fills pages, so that they are data and mapped. */
static void fill(struct pages *m, uint64_t first, uint64_t count)
{
    for (uint64_t page = first; page < first + count; page++) {
        put(m, page, 1);
    }
}

/* ---- what is told ------------------------------------------------------------------ */

static struct told collect(struct pages *m, uint64_t first, uint64_t count)
{
    struct told told = {.runs = 0};
    ck_assert_int_eq(recto_vm_dirty_runs(m->range, first, count, tell, &told),
                     0);
    return told;
}

START_TEST(pages_written_are_told_once_as_runs)
{
    enum {
        COUNT = 20000
    };
    static const uint64_t expected[][2] = {
        {0,         1   },
        {511,       2   },
        {4090,      20  },
        {8192,      4096},
        {COUNT - 1, 1   }
    };
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, COUNT);
    fill(&m, 0, COUNT);
    track(&m);
    ck_assert_str_eq(recto_vm_dirty_method(), ways[_i].method);
    ck_assert_str_eq(recto_vm_dirty_method_of(m.range), ways[_i].method);
    (void)m.recto[(ptrdiff_t)300 * PAGE];
    ck_assert_int_eq(collect(&m, 0, COUNT).runs, 0);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        for (uint64_t page = 0; page < expected[i][1]; page++) {
            put(&m, expected[i][0] + page, 2);
        }
    }
    struct told told = collect(&m, 1, 511);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], 511);
    ck_assert_uint_eq(told.count[0], 1);
    put(&m, 511, 3);
    told = collect(&m, 0, COUNT);
    ck_assert_int_eq(told.runs, 5);
    for (int i = 0; i < told.runs; i++) {
        ck_assert_uint_eq(told.first[i], expected[i][0]);
        ck_assert_uint_eq(told.count[i], expected[i][1]);
    }
    ck_assert_int_eq(collect(&m, 0, COUNT).runs, 0);
    recto_vm_check();
    ck_assert_int_eq(recto_vm_dirty_stop(m.range), 0);
    put(&m, 5, 4);
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, 1, tell, &told),
                     RECTO_ESTATE);
    pages_close(&m);
}
END_TEST

START_TEST(writes_through_the_verso_are_told_if_marked_or_hashed)
{
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, 64);
    fill(&m, 0, 64);
    track(&m);
    m.verso[(ptrdiff_t)7 * PAGE] = 5;
    ck_assert_int_eq(collect(&m, 0, 64).runs, is_way(_i, "hash"));
    m.verso[(ptrdiff_t)7 * PAGE] = 6;
    ck_assert_int_eq(recto_vm_dirty_mark(m.range, 7, 1), 0);
    struct told told = collect(&m, 0, 64);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], 7);
    /* what was forgotten is told again */
    recto_vm_dirty_forget(m.range, 9, 1);
    ck_assert_int_eq(collect(&m, 0, 64).runs, is_way(_i, "hash"));
    pages_close(&m);
}
END_TEST

static blkcnt_t blocks(const struct pages *m)
{
    struct stat status;
    ck_assert_int_eq(fstat(m->fd, &status), 0);
    return status.st_blocks;
}

/* KiB of this process's page tables. */
static long tables(void)
{
    char line[128];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "re");
    ck_assert_ptr_nonnull(file);
    while (kib < 0 && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "VmPTE: %ld", &kib);
    }
    (void)fclose(file);
    return kib;
}

START_TEST(holes_stay_holes)
{
    enum {
        COUNT = 1 << 22 /* 16 GiB */
    };
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    setenv("RECTO_QUIET", "1", 1);
    pages_open(&m, COUNT);
    fill(&m, 1000, 10);
    track(&m);
    blkcnt_t before = blocks(&m);
    long kib = tables();
    put(&m, 1005, 2);
    struct told told = collect(&m, 0, COUNT);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], 1005);
    ck_assert_uint_eq(told.count[0], 1);
    ck_assert_int_eq(blocks(&m), before);
    put(&m, COUNT - 2, 3);
    told = collect(&m, 0, COUNT);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], COUNT - 2);
    ck_assert_int_eq(recto_vm_dirty_shut(m.range), 0);
    put(&m, COUNT - 2, 4);
    recto_vm_dirty_open(m.range);
    ck_assert_int_eq(collect(&m, 0, COUNT).runs, 1);
    ck_assert_int_eq(collect(&m, 0, COUNT).runs, 0);
    ck_assert_int_le(blocks(&m), before + 16);
    ck_assert_int_lt(tables() - kib, 256);
    pages_close(&m);
}
END_TEST

/* Pages of [from, end) that hold data, as the range tells and as the memory does. */
static void data_compare(struct pages *m, uint64_t from, uint64_t end)
{
    uint64_t stop = from;
    uint64_t first = 0;
    uint64_t at = from * PAGE;
    uint64_t bytes = 0;
    while (at < end * PAGE &&
           recto_vm_memory_next(m->fd, at, end * PAGE, &at, &bytes) == 1) {
        for (uint64_t page = at / PAGE; page < (at + bytes) / PAGE;
             page = stop) {
            ck_assert_int_eq(
                recto_vm_range_next(m->range, page, end, &first, &stop), 1);
            ck_assert_uint_eq(first, page);
            ck_assert_uint_gt(stop, page);
            ck_assert_uint_le(stop, (at + bytes) / PAGE);
        }
        at += bytes;
        if (at < end * PAGE && /* what follows is a hole */
            recto_vm_range_next(m->range, at / PAGE, end, &first, &stop) == 1) {
            ck_assert_uint_gt(first, at / PAGE);
        }
    }
}

START_TEST(data_is_told_without_asking_twice)
{
    enum {
        COUNT = 5 * 512 + 100,
        STEPS = 60
    };
    struct pages m;
    uint64_t state = run_seed;
    uint64_t first = 0;
    uint64_t stop = 0;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, COUNT);
    ck_assert_int_eq(recto_vm_range_next(m.range, 0, COUNT, &first, &stop), 0);
    for (int step = 0; step < STEPS; step++) {
        uint64_t page = random_next(&state) % COUNT;
        uint64_t more = random_next(&state) % (COUNT - page) / 4;
        fill(&m, page, more);
        if (step == STEPS / 3) {
            track(&m);
        }
        uint64_t from = random_next(&state) % COUNT;
        data_compare(&m, from, from + random_next(&state) % (COUNT + 1 - from));
        data_compare(&m, 0, COUNT);
    }
    pages_close(&m);
}
END_TEST

/* What one of two views has learned the other need not ask for: a chunk that was full
 * counts as data there even when it has been given back since. */
START_TEST(data_is_told_to_other_views)
{
    enum {
        COUNT = 3 * 512
    };
    struct pages m;
    struct pages other;
    void *view = NULL;
    uint64_t first = 0;
    uint64_t stop = 0;
    if (!begin(_i)) {
        return;
    }
    char *shared = calloc(1, recto_vm_found_bytes(COUNT));
    ck_assert_ptr_nonnull(shared);
    pages_open(&m, COUNT);
    other = m;
    ck_assert_int_eq(
        recto_vm_map(m.fd, 0, m.bytes, NULL, RECTO_VM_NONE, &view), 0);
    ck_assert_int_eq(
        recto_vm_range_create(view, m.bytes, RECTO_VM_NONE, &other.range), 0);
    ck_assert_int_eq(recto_vm_range_memory(other.range, m.fd, 0), 0);
    ck_assert_int_eq(recto_vm_own_all(other.range), 0);
    recto_vm_range_share(m.range, shared);
    recto_vm_range_share(other.range, shared);
    fill(&m, 512, 512);
    track(&m);
    (void)collect(&m, 0, COUNT);
    ck_assert_int_eq(recto_vm_range_next(m.range, 0, COUNT, &first, &stop), 1);
    bool learned = !is_way(_i, "fault"); /* the range is plain */
    ck_assert_int_eq(
        recto_vm_memory_discard(m.fd, (uint64_t)512 * PAGE, 512 * PAGE), 0);
    ck_assert_int_eq(
        recto_vm_range_next(other.range, 0, COUNT, &first, &stop), learned);
    if (learned) {
        ck_assert_uint_eq(first, 512);
        ck_assert_uint_eq(stop, 1024);
    }
    recto_vm_range_destroy(other.range);
    ck_assert_int_eq(recto_vm_unmap(view, m.bytes), 0);
    pages_close(&m);
    free(shared);
}
END_TEST

START_TEST(memory_given_back_is_tracked_on)
{
    enum {
        COUNT = 4 * 512,
        GONE = 700
    };
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, COUNT);
    fill(&m, 0, COUNT);
    track(&m);
    ck_assert_int_eq(
        recto_vm_memory_discard(m.fd, (uint64_t)GONE * PAGE, 600 * PAGE), 0);
    (void)collect(&m, 0, COUNT); /* it may be told, for it has changed */
    put(&m, GONE + 5, 7);
    struct told told = collect(&m, GONE + 5, 1);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_int_eq(m.verso[(GONE + 5) * PAGE + 100], 7);
    ck_assert_int_eq(m.verso[(GONE + 6) * PAGE + 100], 0);
    pages_close(&m);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------- */

enum {
    RACE_PAGES = 64,
    RACE_ROUNDS = 300
};

static atomic_bool stop_writing;

static void *write_on(void *argument)
{
    struct pages *m = argument;
    for (uint64_t n = 1; !atomic_load(&stop_writing); n++) {
        *(volatile uint64_t *)(m->recto + n * 13 % RACE_PAGES * PAGE) = n;
    }
    return NULL;
}

static bool copy_dirty(struct pages *m, uint64_t *copy)
{
    uint64_t bits = 0;
    ck_assert_int_eq(recto_vm_dirty_collect(m->range, 0, RACE_PAGES, &bits), 0);
    for (size_t i = 0; i < RACE_PAGES; i++) {
        if (bits >> i & 1) {
            copy[i] = *(volatile uint64_t *)(m->verso + i * PAGE);
        }
    }
    return bits != 0;
}

START_TEST(no_write_is_lost_by_collecting)
{
    struct pages m;
    pthread_t writer;
    uint64_t copy[RACE_PAGES] = {0};
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, RACE_PAGES);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, &m), 0);
    for (int rounds = 0, calls = 0; rounds < RACE_ROUNDS; calls++) {
        if (calls % 3 == 0) {
            ck_assert_int_eq(recto_vm_dirty_shut(m.range), 0);
        }
        rounds += copy_dirty(&m, copy);
        recto_vm_dirty_open(m.range);
    }
    atomic_store(&stop_writing, true);
    pthread_join(writer, NULL);
    (void)copy_dirty(&m, copy);
    for (size_t i = 0; i < RACE_PAGES; i++) {
        ck_assert_uint_eq(copy[i], *(volatile uint64_t *)(m.verso + i * PAGE));
    }
    pages_close(&m);
}
END_TEST

/* ---- shut ------------------------------------------------------------------------------ */

enum {
    WRITERS = 3,
    SHUT_ROUNDS = 30
};

/* Pages as they were when the range was shut; each under a lock. */
static struct saver {
    struct pages *m;
    atomic_int *locks;
    atomic_bool *saved;
    char (*copies)[PAGE];
} saver;

static void save(uint64_t page)
{
    if (atomic_load(&saver.saved[page])) {
        return;
    }
    while (atomic_exchange(&saver.locks[page], 1)) {
    }
    if (!atomic_load(&saver.saved[page])) {
        memcpy(saver.copies[page], (const char *)saver.m->verso + page * PAGE,
               PAGE);
        atomic_store(&saver.saved[page], true);
    }
    atomic_store(&saver.locks[page], 0);
}

static void before(uint64_t first, uint64_t count, void *argument)
{
    (void)argument;
    for (uint64_t page = first; page < first + count; page++) {
        save(page);
    }
}

static void saver_make(struct pages *m)
{
    saver.m = m;
    saver.locks = calloc(m->count, sizeof *saver.locks);
    saver.saved = calloc(m->count, sizeof *saver.saved);
    saver.copies = calloc(m->count, PAGE);
    ck_assert(saver.locks && saver.saved && saver.copies);
    recto_vm_dirty_before(m->range, before, NULL);
}

static void saver_free(void)
{
    free((void *)saver.locks);
    free((void *)saver.saved);
    free(saver.copies);
}

static atomic_int running;

static void *write_round(void *argument)
{
    struct pages *m = argument;
    uint64_t seed = (uint64_t)atomic_fetch_add(&running, 1) * 7919 + 1;
    for (size_t n = 0; n < m->count; n++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        atomic_fetch_add(
            (_Atomic uint32_t *)(m->recto + (seed >> 33) % m->count * PAGE), 1);
    }
    return NULL;
}

/* One snapshot of pages while writers go on; then what was written since is told. */
static void shut_round(struct pages *m, char *expected)
{
    pthread_t writers[WRITERS];
    memcpy(expected, (const char *)m->verso, m->bytes);
    for (size_t i = 0; i < m->count; i++) {
        atomic_store(&saver.saved[i], false);
    }
    ck_assert_int_eq(recto_vm_dirty_runs(m->range, 0, m->count, NULL, NULL), 0);
    ck_assert_int_eq(recto_vm_dirty_shut(m->range), 0);
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_round, m), 0);
    }
    before(0, m->count, NULL); /* the rest, as the writer of a snapshot does */
    recto_vm_dirty_open(m->range);
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_join(writers[i], NULL), 0);
    }
    ck_assert_int_eq(memcmp(saver.copies, expected, m->bytes), 0);
    uint64_t *bits = calloc(m->count / 64 + 1, sizeof *bits);
    ck_assert_ptr_nonnull(bits);
    ck_assert_int_eq(recto_vm_dirty_collect(m->range, 0, m->count, bits), 0);
    for (size_t i = 0; i < m->count; i++) {
        bool changed = memcmp((const char *)m->verso + i * PAGE,
                              expected + i * PAGE, PAGE) != 0;
        ck_assert_int_eq(bits[i / 64] >> i % 64 & 1, changed);
    }
    free(bits);
}

static void shut_rounds(size_t count)
{
    struct pages m;
    struct recto_vm_counters stats;
    pages_open(&m, count);
    fill(&m, 0, count);
    saver_make(&m);
    char *expected = malloc(m.bytes);
    ck_assert_ptr_nonnull(expected);
    track(&m);
    for (int round = 0; round < SHUT_ROUNDS; round++) {
        shut_round(&m, expected);
        recto_vm_check();
    }
    free(expected);
    recto_vm_stats(&stats);
    const char *method = recto_vm_dirty_method();
    ck_assert_int_eq(stats.scans > 0, strcmp(method, "scan") == 0);
    ck_assert_int_eq(stats.hashed > 0, strcmp(method, "hash") == 0);
    ck_assert_int_eq(stats.tracked > 0, strcmp(method, "fault") == 0);
    ck_assert_int_eq(stats.opened > 0, strcmp(method, "fault") != 0);
    pages_close(&m);
    saver_free();
}

START_TEST(a_shut_range_shows_pages_before_they_are_written)
{
    if (begin(_i)) {
        shut_rounds(1000);
    }
}
END_TEST

START_TEST(few_mappings_are_enough)
{
    struct recto_vm_counters stats;
    setenv("RECTO_MAX_MAPPINGS", "2", 1);
    if (begin(_i)) {
        shut_rounds(3000);
        recto_vm_stats(&stats);
        ck_assert_uint_le(stats.mappings, 1);
    }
}
END_TEST

START_TEST(a_shut_range_can_be_destroyed)
{
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, 100);
    fill(&m, 0, 100);
    ck_assert_int_eq(recto_vm_dirty_shut(m.range), RECTO_ESTATE);
    track(&m);
    ck_assert_int_eq(recto_vm_dirty_shut(m.range), 0);
    put(&m, 50, 2);
    ck_assert_int_eq(recto_vm_dirty_shut(m.range), 0);
    recto_vm_range_destroy(m.range);
    for (uint64_t page = 0; page < 100; page++) {
        put(&m, page, 3); /* by the rights it keeps */
    }
    recto_vm_unmap((void *)m.recto, m.bytes);
}
END_TEST

/* ---- hidden ranges ------------------------------------------------------------------ */

static struct {
    struct pages *m;
    atomic_int asked; /* pages */
} loader;

static bool is_data(uint64_t page)
{
    return page % 7 != 6;
}

/* What a loader does for the pages that are touched, unless it has done it. */
static void load(uint64_t first, uint64_t count, void *argument)
{
    (void)argument;
    atomic_fetch_add(&loader.asked, (int)count);
    for (uint64_t page = first; page < first + count; page++) {
        if (is_data(page) && loader.m->verso[page * PAGE + 1] == 0) {
            loader.m->verso[page * PAGE + 1] = (char)(page % 100 + 1);
        }
    }
    recto_vm_dirty_learn(loader.m->range, first, count);
}

static bool hide(struct pages *m)
{
    bool can = recto_vm_hides(m->range);
    ck_assert_int_eq(can, strcmp(recto_vm_dirty_method(), "fault") != 0);
    loader.m = m;
    atomic_store(&loader.asked, 0);
    ck_assert_int_eq(recto_vm_hide(m->range, load, NULL),
                     can ? 0 : RECTO_EINVAL);
    return can;
}

static void loaded(const struct pages *m, uint64_t page)
{
    ck_assert_int_eq(m->recto[page * PAGE + 1], (char)(page % 100 + 1));
}

/* Only what is written through the range, before or after it is shown, is told. */
static void hidden_round(size_t count, int few)
{
    struct pages m;
    pages_open(&m, count);
    if (hide(&m)) {
        track(&m);
        loaded(&m, 700);
        ck_assert_int_le(atomic_load(&loader.asked), few);
        loaded(&m, 703);
        put(&m, 702, 5);
        put(&m, 300, 5);
        recto_vm_check();
        load(0, count,
             NULL); /* learns before anybody else may write: not 300, 702 */
        put(&m, 300, 6);
        put(&m, 702, 6);
        recto_vm_show(m.range);
        put(&m, 100, 5);
        for (uint64_t page = 0; page < count; page++) {
            if (is_data(page)) {
                loaded(&m, page);
            }
        }
        struct told told = collect(&m, 0, count);
        ck_assert_int_eq(told.runs, 3);
        ck_assert_int_eq(collect(&m, 0, count).runs, 0);
        recto_vm_show(m.range); /* does nothing */
    }
    pages_close(&m);
}

START_TEST(a_hidden_range_shows_pages_before_they_are_touched)
{
    if (begin(_i)) {
        hidden_round(1000, 64);
    }
}
END_TEST

START_TEST(a_hidden_range_is_shown_where_mappings_are_few)
{
    setenv("RECTO_MAX_MAPPINGS", "2", 1);
    if (begin(_i)) {
        hidden_round(3000, 4000);
    }
}
END_TEST

START_TEST(a_hidden_range_can_be_shut_and_destroyed)
{
    struct pages m;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, 100);
    if (hide(&m)) {
        track(&m);
        loaded(&m, 50);
        load(0, 100, NULL);
        ck_assert_int_eq(recto_vm_dirty_shut(m.range), 0);
        loaded(&m, 10);
        recto_vm_dirty_open(m.range);
        ck_assert_int_eq(collect(&m, 0, 100).runs, 0);
        ck_assert_int_eq(recto_vm_hide(m.range, load, NULL), 0);
        recto_vm_check();
    }
    pages_close(&m);
}
END_TEST

START_TEST(a_forked_child_does_not_disturb)
{
    struct pages m;
    int status = 0;
    if (!begin(_i)) {
        return;
    }
    pages_open(&m, 100);
    fill(&m, 0, 100);
    track(&m);
    put(&m, 3, 2);
    pid_t child = fork();
    if (child == 0) {
        struct pages own;
        bool bad = recto_vm_dirty_shut(m.range) != RECTO_ESTATE;
        pages_open(&own, 10);
        fill(&own, 0, 10);
        track(&own);
        put(&own, 4, 2);
        bad = bad || collect(&own, 0, 10).runs != 1;
        recto_vm_dirty_open(m.range);
        _exit(bad);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    put(&m, 4, 2);
    struct told told = collect(&m, 0, 100);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], 3);
    ck_assert_uint_eq(told.count[0], 2);
    pages_close(&m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vm_dirty");
    run_seed = random_seed();
    TCase *t = tcase_create("dirty");
    tcase_set_timeout(t, 120);
    suite_add_tcase(suite, t);
    tcase_add_loop_test(t, pages_written_are_told_once_as_runs, 0, WAYS);
    tcase_add_loop_test(
        t, writes_through_the_verso_are_told_if_marked_or_hashed, 0, WAYS);
    tcase_add_loop_test(t, holes_stay_holes, 0, WAYS);
    tcase_add_loop_test(t, data_is_told_without_asking_twice, 0, WAYS);
    tcase_add_loop_test(t, data_is_told_to_other_views, 0, WAYS);
    tcase_add_loop_test(t, memory_given_back_is_tracked_on, 0, WAYS);
    tcase_add_loop_test(t, no_write_is_lost_by_collecting, 0, WAYS);
    tcase_add_loop_test(t, a_shut_range_shows_pages_before_they_are_written, 0,
                        WAYS);
    tcase_add_loop_test(t, few_mappings_are_enough, 0, WAYS);
    tcase_add_loop_test(t, a_shut_range_can_be_destroyed, 0, WAYS);
    tcase_add_loop_test(t, a_hidden_range_shows_pages_before_they_are_touched,
                        0, WAYS);
    tcase_add_loop_test(t, a_hidden_range_is_shown_where_mappings_are_few, 0,
                        WAYS);
    tcase_add_loop_test(t, a_hidden_range_can_be_shut_and_destroyed, 0, WAYS);
    tcase_add_loop_test(t, a_forked_child_does_not_disturb, 0, WAYS);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* NOLINTEND(concurrency-mt-unsafe) */
/* NOLINTEND(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTEND(readability-function-cognitive-complexity) */
