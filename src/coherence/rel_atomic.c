/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Atomic operations on words of release consistent memory. They are made on
 * the home's bytes, by processors of the home's machine, and count as a write
 * of the interval, of which the ranks of my own domain are told too.
 *
 * Invariants
 * 1. Program order: a copy that this rank may read, now or without another
 *    fetch (REL_AGED), gets the new value before the call returns.
 * 2. Home first, copy afterwards, both under the page lock: the copy never has
 *    a value that the home has not had.
 * 3. While any rank of my domain writes the page, copy and twin get the value
 *    together, whatever my right: else the old one would be sent over it.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "coherence/release.h"
#include "space/lazy.h"
#include "space/snapshot.h"

static unsigned width(enum coherence_operation op)
{
    return op == COHERENCE_ADD_32 || op == COHERENCE_EXCHANGE_32 ||
                   op == COHERENCE_CAS_32 || op == COHERENCE_LOAD_32
               ? 4
               : 8;
}

static bool loads(enum coherence_operation op)
{
    return op == COHERENCE_LOAD_32 || op == COHERENCE_LOAD_64;
}

static uint64_t add_f64(void *word, uint64_t operand, uint64_t *now)
{
    double by = 0;
    double sum = 0;
    uint64_t old = __atomic_load_n((uint64_t *)word, __ATOMIC_SEQ_CST);
    memcpy(&by, &operand, sizeof by);
    do {
        memcpy(&sum, &old, sizeof sum);
        sum += by;
        memcpy(now, &sum, sizeof sum);
    } while (!__atomic_compare_exchange_n((uint64_t *)word, &old, *now, 1,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return old;
}

uint64_t rel_operate(enum coherence_operation op, void *word, uint64_t operand,
                     uint64_t desired, uint64_t *now)
{
    uint32_t *w32 = word;
    uint64_t *w64 = word;
    uint32_t old32 = (uint32_t)operand;
    uint64_t old = operand;
    switch (op) {
    case COHERENCE_ADD_32:
        old32 = __atomic_fetch_add(w32, (uint32_t)operand, __ATOMIC_SEQ_CST);
        *now = (uint32_t)(old32 + (uint32_t)operand);
        return old32;
    case COHERENCE_ADD_64:
        old = __atomic_fetch_add(w64, operand, __ATOMIC_SEQ_CST);
        *now = old + operand;
        return old;
    case COHERENCE_ADD_F64: return add_f64(word, operand, now);
    case COHERENCE_EXCHANGE_32:
        *now = (uint32_t)operand;
        return __atomic_exchange_n(w32, (uint32_t)operand, __ATOMIC_SEQ_CST);
    case COHERENCE_EXCHANGE_64:
        *now = operand;
        return __atomic_exchange_n(w64, operand, __ATOMIC_SEQ_CST);
    case COHERENCE_CAS_32:
        *now = __atomic_compare_exchange_n(w32, &old32, (uint32_t)desired, 0,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
                   ? (uint32_t)desired
                   : old32;
        return old32;
    case COHERENCE_LOAD_32:
        *now = __atomic_load_n(w32, __ATOMIC_SEQ_CST);
        return *now;
    case COHERENCE_LOAD_64:
        *now = __atomic_load_n(w64, __ATOMIC_SEQ_CST);
        return *now;
    default:
        *now = __atomic_compare_exchange_n(w64, &old, desired, 0,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
                   ? desired
                   : old;
        return old;
    }
}

/* The operation's new value, from its old one. */
static uint64_t result(enum coherence_operation op, uint64_t old,
                       uint64_t operand, uint64_t desired)
{
    uint64_t word = old;
    uint64_t now = 0;
    rel_operate(op, &word, operand, desired, &now);
    return now;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written */
static void word_store(char *at, uint64_t value, unsigned bytes)
{
    if (bytes == 4) {
        __atomic_store_n((uint32_t *)(void *)at, (uint32_t)value,
                         __ATOMIC_RELEASE);
    } else {
        __atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELEASE);
    }
}

static uint64_t at_home(struct rel_segment *m, enum coherence_operation op,
                        uint64_t offset, uint64_t operand, uint64_t desired,
                        uint64_t *now)
{
    uint64_t page = offset / SPACE_PAGE;
    int home = space_home(m->s, page);
    if (net_shares(home)) {
        space_before_touch(m->s, page, 1);
        if (!loads(op)) {
            space_before_write(m->s, page);
            space_dirty_mark(m->s, page);
        }
        return rel_operate(op, m->s->versos[net_domain_of(home)] + offset,
                           operand, desired, now);
    }
    uint64_t old = rel_far_atomic(m, op, offset, operand, desired);
    *now = result(op, old, operand, desired);
    return old;
}

/* May I read the copy without a fetch? Under the page's lock. */
static bool valid(const struct rel_segment *m, uint64_t page)
{
    return recto_vm_right_of(m->s->range, page) != RECTO_VM_NONE ||
           (atomic_load_explicit(&m->flags[page], memory_order_relaxed) &
            REL_AGED) != 0;
}

uint64_t rel_atomic(struct rel_segment *m, enum coherence_operation op,
                    uint64_t offset, uint64_t operand, uint64_t desired)
{
    uint64_t page = offset / SPACE_PAGE;
    uint64_t now = 0;
    sigset_t all;
    sigset_t before;
    (void)space_home_claim(m->s, page);
    if (loads(op)) {
        return at_home(m, op, offset, 0, 0, &now);
    }
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    rel_lock(m, page);
    uint64_t old = at_home(m, op, offset, operand, desired, &now);
    if (!rel_is_home(m, page)) {
        bool twin = rel_writers(m, page) > 0;
        if (twin || valid(m, page)) {
            word_store(space_verso(m->s, 0) + offset, now, width(op));
        }
        if (twin) {
            word_store(m->twins + offset, now, width(op));
        }
        rel_list(m, page, REL_ATOMIC);
    } else if (recto_vm_right_of(m->s->range, page) != RECTO_VM_WRITE) {
        rel_list(m, page, REL_ATOMIC);
    }
    rel_unlock(m, page);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return old;
}
