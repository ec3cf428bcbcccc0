/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that what threads record is in the file, all of it and whole, as long as there is
 * room, and counted where there is none; that failed tries are all counted and take few
 * records; and that the reader gets it back, and neither
 * crashes nor hangs on damaged, cut and hostile files.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/report.h"
#include "random.h"
#include "sync/record.h"

enum {
    SLOTS = 4096,
    THREADS = 4,
    EACH = 900,
    BYTES = TRACE_HEADER + SLOTS * TRACE_SLOT
};

static _Alignas(64) unsigned char memory[BYTES];
static char path[] = "/tmp/trace-test-XXXXXX";

static struct trace_header *header_make(uint64_t slots)
{
    struct trace_header *h = (struct trace_header *)memory;
    memset(memory, 0, sizeof memory);
    memcpy(h->magic, TRACE_MAGIC, sizeof h->magic);
    h->major = TRACE_MAJOR;
    h->order = TRACE_ORDER;
    h->slot_bytes = TRACE_SLOT;
    h->slots = slots;
    h->run = 7;
    h->size = 1;
    h->domains = 1;
    h->page_bytes = REPORT_PAGE;
    h->started = base_now();
    return h;
}

static void file_write(const void *bytes, size_t count)
{
    strcpy(path, "/tmp/trace-test-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, count), (ssize_t)count);
    close(fd);
}

/* Reads it and makes everything of it. */
static bool file_report(struct report *r)
{
    char *paths[] = {path};
    bool good = report_read(r, paths, 1);
    if (good) {
        FILE *out = fopen("/dev/null", "w");
        report_sum(r);
        report_pages(r);
        report_locks(r);
        report_text(r, out);
        report_json(r, out);
        report_html(r, out);
        report_perfetto(r, out);
        fclose(out);
    }
    unlink(path);
    return good;
}

static void segment_define(uint64_t base)
{
    struct trace_segment s = {
        .base = base,
        .bytes = 8 * 4096,
        .birth = base_now(),
        .dims = {64, 64},
        .ndims = 2,
        .element = 8,
        .type = "RECTO_DOUBLE",
        .name = "u"
    };
    base_trace_define(TRACE_SEGMENT, &s, sizeof s);
}

static void fault_add(uint64_t at)
{
    base_trace_add(&(struct base_event){
        .kind = TRACE_FAULT,
        .what = TRACE_UPGRADE,
        .flags = TRACE_WRITES,
        .e = {.start = base_now(), .ns = 5, .at = at, .pc = 0x1234}
    });
}

static void *record(void *argument)
{
    uint64_t base = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < EACH; i++) {
        fault_add(base + i % 64 * 8);
    }
    return NULL;
}

static void threads_record(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, record, (void *)(0x10000 + i * 4096));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

START_TEST(records_of_all_threads_come_back)
{
    struct report r;
    struct trace_header *h = header_make(SLOTS);
    base_trace_use(h);
    segment_define(0x10000);
    threads_record();
    base_trace_use(NULL);
    h->ended = base_now();
    fault_add(0x10000); /* nobody records any more */
    file_write(memory, sizeof memory);
    ck_assert(file_report(&r));
    ck_assert_uint_eq(r.nproblems, 0);
    ck_assert_uint_eq(r.nevents, THREADS * EACH);
    ck_assert_uint_eq(r.all.faults[TRACE_UPGRADE], THREADS * EACH);
    ck_assert_uint_eq(r.all.fault_ns, THREADS * EACH * 5);
    ck_assert_uint_eq(r.ranks[0].nthreads, THREADS);
    ck_assert_uint_eq(r.npages, THREADS);
    ck_assert_uint_eq(r.segments[0].pages_faulted, THREADS);
    char text[160];
    ck_assert_str_eq(report_range(&r, 0, 1, 0, 7, text), "u[8][0]");
    ck_assert_str_eq(report_range(&r, 0, 1, 0, 511, text), "u[8][0..63]");
    ck_assert_str_eq(report_range(&r, 0, 1, 0, 4095, text), "u[8..15][..]");
    report_free(&r);
}
END_TEST

START_TEST(what_has_no_room_is_counted)
{
    struct report r;
    struct trace_header *h = header_make(1000);
    base_trace_use(h);
    segment_define(0x10000);
    uint64_t before = h->claimed;
    threads_record();
    base_trace_use(NULL);
    h->ended = base_now();
    for (size_t i = TRACE_HEADER + 1000 * TRACE_SLOT; i < sizeof memory; i++) {
        ck_assert_uint_eq(memory[i], 0);
    }
    file_write(memory, TRACE_HEADER + 1000 * TRACE_SLOT);
    ck_assert(file_report(&r));
    ck_assert_uint_eq(r.nevents, 1000 - before);
    ck_assert_uint_eq(r.ranks[0].dropped, THREADS * EACH + before - 1000);
    ck_assert_uint_eq(r.nproblems, 1);
    report_free(&r);
}
END_TEST

START_TEST(definitions_that_do_not_fit_are_dropped_whole)
{
    struct report r;
    struct trace_header *h = header_make(5);
    base_trace_use(h);
    fault_add(0x10000);
    segment_define(0x10000);
    base_trace_use(NULL);
    file_write(memory, sizeof memory);
    ck_assert(file_report(&r));
    ck_assert_uint_eq(r.nsegments, 0);
    ck_assert_uint_eq(r.nevents, 1);
    report_free(&r);
}
END_TEST

START_TEST(what_was_claimed_and_not_written_is_passed_over)
{
    struct report r;
    struct trace_header *h = header_make(SLOTS);
    base_trace_use(h);
    segment_define(0x10000);
    fault_add(0x10008);
    h->claimed += 3; /* threads that died */
    fault_add(0x10010);
    base_trace_use(NULL);
    file_write(memory, sizeof memory);
    ck_assert(file_report(&r));
    ck_assert_uint_eq(r.nevents, 2);
    ck_assert_uint_eq(r.ranks[0].torn, 3);
    ck_assert_uint_eq(r.nproblems, 2); /* nor did it end in order */
    report_free(&r);
}
END_TEST

/* A small trace with something of everything. */
static size_t sample(void)
{
    struct trace_header *h = header_make(SLOTS);
    struct trace_module m = {.low = 0x1000, .high = 0x2000, .path = "/nowhere"};
    base_trace_use(h);
    base_trace_define(TRACE_MODULE, &m, sizeof m);
    segment_define(0x10000);
    for (unsigned kind = TRACE_SEGMENT_END + 1; kind < TRACE_KINDS; kind++) {
        for (unsigned i = 0; i < 8; i++) {
            base_trace_add(&(struct base_event){
                .kind = kind,
                .what = i % 5,
                .flags = i % 4,
                .e = {.start = base_now(),
                      .ns = 1000 * i + 1,
                      .at = 0x10000 + 4096 * i,
                      .pc = 0x1000 + i,
                      .bytes = 64,
                      .low = 8 * i,
                      .high = 8 * i + 7,
                      .peer = (int32_t)(i % 2),
                      .pages = 1}
            });
        }
    }
    base_trace_use(NULL);
    h->ended = base_now();
    return TRACE_HEADER + h->claimed * TRACE_SLOT;
}

static uint64_t seed;

static uint64_t below(uint64_t most)
{
    return random_next(&seed) % most;
}

START_TEST(damaged_files_are_read_or_refused)
{
    static unsigned char hurt[BYTES];
    static const uint64_t values[] = {
        0, 1, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX / 8, 0x10000};
    size_t bytes = sample();
    unsigned read = 0;
    for (int round = 0; round < 3000; round++) {
        size_t count = bytes;
        memcpy(hurt, memory, bytes);
        for (uint64_t n = below(6) + 1; n > 0; n--) {
            /* the header's used part, or any slot */
            size_t at = below(4) == 0 ? below(160)
                                      : (size_t)TRACE_HEADER +
                                            below(bytes - TRACE_HEADER - 8);
            if (below(2) == 0) {
                hurt[at] ^= (unsigned char)(1U << below(8));
            } else {
                memcpy(hurt + at / 8 * 8, &values[below(7)], 8);
            }
        }
        if (below(4) == 0) {
            count = below(bytes);
        }
        struct report r;
        file_write(hurt, count);
        read += file_report(&r);
        report_free(&r);
    }
    ck_assert_uint_gt(read, 1000);
}
END_TEST

static void call_add(enum trace_kind kind, enum trace_lock what, uint64_t ns,
                     unsigned flags, uint32_t tries)
{
    base_trace_add(&(struct base_event){
        .kind = kind,
        .what = what,
        .flags = flags,
        .e = {.start = base_now(),
              .ns = ns,
              .at = 0x100 + (what < TRACE_EVENT ? 0 : what),
              .pages = tries}
    });
}

/* By its kind. */
static const struct report_lock *object(const struct report *r, uint32_t what)
{
    for (size_t i = 0; i < r->nlocks; i++) {
        if (r->locks[i].what == what) {
            return &r->locks[i];
        }
    }
    ck_abort_msg("none is of kind %u", what);
    return NULL;
}

START_TEST(waits_and_failed_tries_are_told_apart)
{
    struct report r;
    char text[64];
    struct trace_header *h = header_make(SLOTS);
    base_trace_use(h);
    call_add(TRACE_TRY, TRACE_LOCK, 9, 0, 1);
    call_add(TRACE_TRY, TRACE_LOCK, 9, 0, 41);
    call_add(TRACE_TAKE, TRACE_LOCK, 100, 0, 0);
    call_add(TRACE_TAKE, TRACE_LOCK, 1000, TRACE_CONDITION, 0);
    call_add(TRACE_WAIT, TRACE_EVENT, 20000, 0, 0);
    call_add(TRACE_WAIT, TRACE_EVENT, 30000, 0, 0);
    call_add(TRACE_WAIT, TRACE_SEM, 7000, 0, 0);
    call_add(TRACE_RECOVER, 0, 12345, 0, 0);
    base_trace_use(NULL);
    h->ended = base_now() + 1000000;
    file_write(memory, sizeof memory);
    ck_assert(file_report(&r));
    ck_assert_uint_eq(r.all.takes, 2);
    ck_assert_uint_eq(r.all.wait_ns, 100);
    ck_assert_uint_eq(r.all.tries, 42);
    ck_assert_uint_eq(r.all.waits, 4);
    ck_assert_uint_eq(r.all.told_ns, 58000);
    ck_assert_uint_eq(r.all.recover_ns, 12345);
    ck_assert_uint_eq(r.nlocks, 3);
    ck_assert_uint_eq(object(&r, TRACE_LOCK)->tries, 42);
    ck_assert_uint_eq(object(&r, TRACE_LOCK)->takes, 2);
    ck_assert_uint_eq(object(&r, TRACE_EVENT)->wait_most, 30000);
    ck_assert_uint_eq(object(&r, TRACE_EVENT)->takes, 2);
    ck_assert_str_eq(report_lock_name(object(&r, TRACE_SEM), text),
                     "semaphore 104");
    report_free(&r);
}
END_TEST

static void *tries_fail(void *argument)
{
    for (int i = 0; i < EACH; i++) {
        for (uint64_t id = 1; id <= 3; id++) { /* in turn */
            record_call(TRACE_TAKE, TRACE_LOCK, id, base_trace_clock(),
                        RECTO_EBUSY, argument);
        }
    }
    for (uint64_t id = 1; id <= 3; id++) {
        record_call(TRACE_TAKE, TRACE_LOCK, id, base_trace_clock(), 0,
                    argument);
    }
    return NULL;
}

START_TEST(polling_a_lock_takes_few_records_and_counts_all)
{
    struct report r;
    for (int again = 0; again < 2; again++) {
        pthread_t threads[THREADS];
        struct trace_header *h = header_make(SLOTS);
        base_trace_use(h);
        for (int i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, tries_fail, memory);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        /* left untold: not to be in the next trace */
        for (int i = 0; i < 3; i++) {
            record_call(TRACE_TAKE, TRACE_LOCK, 1, base_trace_clock(),
                        RECTO_EBUSY, memory);
        }
        base_trace_use(NULL);
        h->ended = base_now();
        file_write(memory, sizeof memory);
        ck_assert(file_report(&r));
        ck_assert_uint_eq(r.all.tries, 3 * THREADS * EACH + 2);
        ck_assert_uint_eq(r.all.takes, 3 * THREADS);
        /* 1, 2, 4, ... 512, the rest, the take */
        ck_assert_uint_eq(r.nevents, 3 * THREADS * 12 + 2);
        ck_assert_uint_eq(r.nproblems, 0);
        report_free(&r);
    }
}
END_TEST

int main(void)
{
    seed = random_seed();
    Suite *suite = suite_create("trace");
    TCase *tests = tcase_create("trace");
    tcase_add_test(tests, records_of_all_threads_come_back);
    tcase_add_test(tests, what_has_no_room_is_counted);
    tcase_add_test(tests, definitions_that_do_not_fit_are_dropped_whole);
    tcase_add_test(tests, what_was_claimed_and_not_written_is_passed_over);
    tcase_add_test(tests, waits_and_failed_tries_are_told_apart);
    tcase_add_test(tests, polling_a_lock_takes_few_records_and_counts_all);
    tcase_add_test(tests, damaged_files_are_read_or_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
