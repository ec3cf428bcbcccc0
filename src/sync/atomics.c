/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Atomics on shared words. On sequentially consistent memory, and where all
 * ranks use one memory, they are the processor's own: the access faults like
 * any other until this rank has the page Modified; then its domain alone may
 * write it, and between the processors of the domain the hardware keeps order.
 * When the page is revoked the instruction has either completed before the last
 * processor lost the mapping or faults and runs again. On release consistent
 * memory they are made at the page's home (coherence_atomic).
 */
#include <recto.h>
#include <string.h>

#include "coherence/coherence.h"

/* NOLINTBEGIN(bugprone-macro-parentheses,readability-non-const-parameter):
 * types take no parentheses; the words are written. */
#define ATOMICS(suffix, type, bits)                                            \
    type recto_fetch_add_##suffix(type *p, type value)                         \
    {                                                                          \
        uint64_t old = 0;                                                      \
        return coherence_atomic(COHERENCE_ADD_##bits, p, (uint64_t)value, 0,   \
                                &old)                                          \
                   ? (type)old                                                 \
                   : __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);           \
    }                                                                          \
    type recto_exchange_##suffix(type *p, type value)                          \
    {                                                                          \
        uint64_t old = 0;                                                      \
        return coherence_atomic(COHERENCE_EXCHANGE_##bits, p, (uint64_t)value, \
                                0, &old)                                       \
                   ? (type)old                                                 \
                   : __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);          \
    }                                                                          \
    type recto_cas_##suffix(type *p, type expected, type desired)              \
    {                                                                          \
        uint64_t old = 0;                                                      \
        if (coherence_atomic(COHERENCE_CAS_##bits, p, (uint64_t)expected,      \
                             (uint64_t)desired, &old)) {                       \
            return (type)old;                                                  \
        }                                                                      \
        __atomic_compare_exchange_n(p, &expected, desired, 0,                  \
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
        return expected;                                                       \
    }                                                                          \
    type recto_load_##suffix(type *p)                                          \
    {                                                                          \
        uint64_t now = 0;                                                      \
        return coherence_atomic(COHERENCE_LOAD_##bits, p, 0, 0, &now)          \
                   ? (type)now                                                 \
                   : __atomic_load_n(p, __ATOMIC_SEQ_CST);                     \
    }                                                                          \
    void recto_store_##suffix(type *p, type value)                             \
    {                                                                          \
        uint64_t old = 0;                                                      \
        if (!coherence_atomic(COHERENCE_EXCHANGE_##bits, p, (uint64_t)value,   \
                              0, &old)) {                                      \
            __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                      \
        }                                                                      \
    }

ATOMICS(i32, int32_t, 32)
ATOMICS(i64, int64_t, 64)
ATOMICS(u32, uint32_t, 32)
ATOMICS(u64, uint64_t, 64)

/* NOLINTEND(bugprone-macro-parentheses,readability-non-const-parameter) */

/* NOLINTNEXTLINE(readability-non-const-parameter) */
double recto_fetch_add_f64(double *p, double value)
{
    double old = 0;
    double sum = 0;
    uint64_t bits = 0;
    uint64_t before = 0;
    memcpy(&bits, &value, sizeof bits);
    if (coherence_atomic(COHERENCE_ADD_F64, p, bits, 0, &before)) {
        memcpy(&old, &before, sizeof old);
        return old;
    }
    __atomic_load(p, &old, __ATOMIC_SEQ_CST);
    do {
        sum = old + value;
    } while (!__atomic_compare_exchange(p, &old, &sum, 1, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST));
    return old;
}

double recto_load_f64(double *p)
{
    double value = 0;
    uint64_t now = 0;
    if (coherence_atomic(COHERENCE_LOAD_64, p, 0, 0, &now)) {
        memcpy(&value, &now, sizeof value);
    } else {
        __atomic_load(p, &value, __ATOMIC_SEQ_CST);
    }
    return value;
}

/* NOLINTNEXTLINE(readability-non-const-parameter) */
void recto_store_f64(double *p, double value)
{
    uint64_t bits = 0;
    uint64_t old = 0;
    memcpy(&bits, &value, sizeof bits);
    if (!coherence_atomic(COHERENCE_EXCHANGE_64, p, bits, 0, &old)) {
        __atomic_store(p, &value, __ATOMIC_SEQ_CST);
    }
}
