/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Atomics on shared words: the processor's own. The access faults like any
 * other until this rank has the page Modified; then its domain alone may write
 * it, and between the processors of the domain the hardware keeps order. When
 * the page is revoked the instruction has either completed before the last
 * processor lost the mapping or faults and runs again.
 */
#include <recto.h>

/* NOLINTBEGIN(bugprone-macro-parentheses,readability-non-const-parameter):
 * types take no parentheses; the words are written. */
#define ATOMICS(suffix, type)                                                  \
    type recto_fetch_add_##suffix(type *p, type value)                         \
    {                                                                          \
        return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                 \
    }                                                                          \
    type recto_exchange_##suffix(type *p, type value)                          \
    {                                                                          \
        return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                \
    }                                                                          \
    type recto_cas_##suffix(type *p, type expected, type desired)              \
    {                                                                          \
        __atomic_compare_exchange_n(p, &expected, desired, 0,                  \
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
        return expected;                                                       \
    }

ATOMICS(i32, int32_t)
ATOMICS(i64, int64_t)
ATOMICS(u32, uint32_t)
ATOMICS(u64, uint64_t)

/* NOLINTEND(bugprone-macro-parentheses,readability-non-const-parameter) */

/* NOLINTNEXTLINE(readability-non-const-parameter) */
double recto_fetch_add_f64(double *p, double value)
{
    double old = 0;
    double sum = 0;
    __atomic_load(p, &old, __ATOMIC_SEQ_CST);
    do {
        sum = old + value;
    } while (!__atomic_compare_exchange(p, &old, &sum, 1, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST));
    return old;
}
