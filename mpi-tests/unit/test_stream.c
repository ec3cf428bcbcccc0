/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows how faults that go on where others ended grow what is moved: forwards, with
 * strides of any length and sign, hundreds of streams at once; and that faults
 * in no order, and reads and writes of each other's streams, stay at one page.
 */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#include "coherence/stream.h"

enum {
    MOST = 256
};

static struct stream_table *table;

static void fresh(void)
{
    table = calloc(1, sizeof *table);
    ck_assert_ptr_nonnull(table);
}

static void gone(void)
{
    free(table);
}

/* A fault at `page` that moves all it may; returns how many. */
static uint64_t fault(uint64_t page, bool write, int64_t *stride)
{
    struct stream s = stream_find(table, page, write, MOST);
    ck_assert_uint_eq(s.first, page);
    ck_assert_uint_ge(s.length, 1);
    ck_assert_uint_le(s.length, MOST);
    stream_note(table, &s, s.length);
    *stride = s.stride;
    return s.length;
}

/* Faults of a walk over `pages` pages of a stride. */
static uint64_t walk(uint64_t from, int64_t stride, uint64_t pages, bool write)
{
    uint64_t faults = 0;
    for (uint64_t done = 0; done < pages; faults++) {
        int64_t found = 0;
        uint64_t n =
            fault(from + (uint64_t)(stride * (int64_t)done), write, &found);
        ck_assert(n == 1 || found == stride);
        done += n;
    }
    return faults;
}

START_TEST(forwards)
{
    /* 1 + 2 + ... + 256 are 511 pages in 9 faults, 256 each from then on */
    ck_assert_uint_eq(walk(1000, 1, 511, false), 9);
    ck_assert_uint_eq(walk(5000, 1, 511 + 10 * 256, true), 19);
}
END_TEST

START_TEST(of_any_stride)
{
    static const int64_t strides[] = {2, 7, 1024, 1000000, -1, -3, -100000};
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        /* the third fault shows the stride, the fourth may move two */
        uint64_t faults = walk(1500000000, strides[i], 513, i % 2 != 0);
        ck_assert_uint_eq(faults, 3 + 8);
    }
}
END_TEST

START_TEST(many_at_once)
{
    enum {
        STREAMS = 300,
        LONG = 511
    };
    uint64_t done[STREAMS] = {0};
    uint64_t faults = 0;
    for (int going = 1; going > 0;) {
        going = 0;
        for (uint64_t i = 0; i < STREAMS; i++) {
            if (done[i] < LONG) {
                int64_t stride = 0;
                done[i] += fault(i * 10007 + done[i], true, &stride);
                faults++;
                going++;
            }
        }
    }
    /* some lose their slot to another now and then */
    ck_assert_uint_le(faults, (uint64_t)STREAMS * 9 * 3);
}
END_TEST

START_TEST(no_order_no_stream)
{
    uint64_t state = 12345;
    uint64_t moved = 0;
    for (int i = 0; i < 10000; i++) {
        int64_t stride = 0;
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
        moved += fault(state >> 33, false, &stride);
    }
    ck_assert_uint_le(moved, 10000 + 10);
}
END_TEST

START_TEST(reads_and_writes_apart)
{
    int64_t stride = 0;
    ck_assert_uint_eq(fault(100, false, &stride), 1);
    ck_assert_uint_eq(fault(101, true, &stride), 1);
    ck_assert_uint_eq(fault(101, false, &stride), 2);
    ck_assert_uint_eq(fault(102, true, &stride), 2);
}
END_TEST

START_TEST(below_zero_is_no_page)
{
    int64_t stride = 0;
    for (uint64_t page = 30; page >= 10; page -= 10) {
        (void)fault(page, false, &stride);
    }
    ck_assert_uint_ge(fault(0, false, &stride), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tests = tcase_create("stream");
    tcase_add_checked_fixture(tests, fresh, gone);
    tcase_add_test(tests, forwards);
    tcase_add_test(tests, of_any_stride);
    tcase_add_test(tests, many_at_once);
    tcase_add_test(tests, no_order_no_stream);
    tcase_add_test(tests, reads_and_writes_apart);
    tcase_add_test(tests, below_zero_is_no_page);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
