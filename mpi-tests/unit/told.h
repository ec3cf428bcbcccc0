/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs of pages as recto_vm_dirty_runs tells them: ascending; neighbours are joined.
 */
#ifndef RECTO_TESTS_TOLD_H
#define RECTO_TESTS_TOLD_H

#include <check.h>
#include <stdint.h>

struct told {
    uint64_t first[8];
    uint64_t count[8];
    int runs;
};

static inline void tell(uint64_t first, uint64_t count, void *argument)
{
    struct told *told = argument;
    int last = told->runs - 1;
    if (last >= 0) {
        uint64_t end = told->first[last] + told->count[last];
        ck_assert_uint_ge(first, end);
        if (first == end) {
            told->count[last] += count;
            return;
        }
    }
    ck_assert_int_lt(told->runs, 8);
    told->first[told->runs] = first;
    told->count[told->runs++] = count;
}

#endif
