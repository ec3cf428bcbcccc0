/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long to spin. A wake-up from the kernel costs as much as a thousand cache
 * misses. A waiter that has a core to itself spins until a wake-up is a small part
 * of what it has waited (2 ms: about 1 in 100); nobody else wants the core, and
 * MPI's own waits never leave theirs. Where ranks have no core each, or several threads of a rank wait, it
 * spins for a moment, lets others run, and sleeps.
 */
#include "sync/wait.h"

#include <sched.h>

#include "base/base.h"
#include "base/order.h"
#include "net/net.h"

enum {
    WAITING,
    ASLEEP,
    DONE
};

enum {
    LONG_NS = 2000000,
    SHORT_TURNS = 64, /* also between looks at the clock */
    YIELDS = 4
};

/* Threads of this rank that spin for long. */
static _Atomic int spinners;

static bool done(sync_word *word)
{
    /* pairs with the exchange in sync_word_end */
    return atomic_load_explicit(word, memory_order_acquire) == DONE;
}

static bool spin_short(sync_word *word)
{
    for (int i = 0; i < SHORT_TURNS; i++) {
        if (done(word)) {
            return true;
        }
        sync_pause();
    }
    return done(word);
}

static bool spin_yielding(sync_word *word)
{
    for (int i = 0; i < YIELDS; i++) {
        if (spin_short(word)) {
            return true;
        }
        sched_yield();
    }
    return done(word);
}

static bool spin_long(sync_word *word)
{
    uint64_t start = base_now();
    while (!spin_short(word)) {
        if (base_now() - start > LONG_NS) {
            return false;
        }
    }
    return true;
}

static bool spin(sync_word *word)
{
    int cores = net_local_cores() / net_local_ranks(); /* of this rank */
    bool mine =
        atomic_fetch_add_explicit(&spinners, 1, memory_order_relaxed) < cores;
    bool found = mine ? spin_long(word) : spin_yielding(word);
    atomic_fetch_sub_explicit(&spinners, 1, memory_order_relaxed);
    return found;
}

void sync_word_start(sync_word *word)
{
    atomic_store_explicit(word, WAITING, memory_order_relaxed);
}

static bool wait_until_done(sync_word *word, bool shared, uint64_t timeout_ns)
{
    uint32_t seen = WAITING;
    if (spin(word) ||
        (!atomic_compare_exchange_strong_explicit(
             word, &seen, ASLEEP, memory_order_acquire, memory_order_acquire) &&
         seen == DONE)) {
        return true;
    }
    while (!done(word)) {
        if (net_futex_wait((const uint32_t *)word, ASLEEP, timeout_ns,
                           shared) != 0 &&
            !done(word)) {
            return false;
        }
    }
    return true;
}

void sync_word_wait(sync_word *word, bool shared)
{
    (void)wait_until_done(word, shared, 0);
    base_order_in();
}

bool sync_word_wait_for(sync_word *word, bool shared, uint64_t timeout_ns)
{
    bool ended = wait_until_done(word, shared, timeout_ns);
    if (ended) {
        base_order_in();
    }
    return ended;
}

void sync_word_end(sync_word *word, bool shared)
{
    base_order_out();
    /* the waiter may be gone after this, so the wake is on an address only; a
     * later sleeper there looks again */
    if (atomic_exchange_explicit(word, DONE, memory_order_acq_rel) == ASLEEP) {
        net_futex_wake((const uint32_t *)word, 1, shared);
    }
}
