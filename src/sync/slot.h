/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One slot is one synchronisation object of any kind; a table of slots and a
 * pool of waiters lie in memory that the ranks which share with their home map.
 * All kinds are one machine: a value, a queue of waiters, and three rules.
 *
 *   kind       value                       a waiter is admitted while
 *   lock       1 held                      0
 *   rwlock     readers, or -1: a writer    >= 0 (reads), 0 (writes)
 *   event      1 set                       1; admission leaves it
 *   semaphore  the count                   > 0
 *   condition  wake-ups being given out    > 0, never at rest
 *
 * Invariants
 * 1. All fields but `guard` are read and written under `guard` only, by CPU
 *    atomics and stores of the home's machine. Nothing that may fault, wait or
 *    send happens under it.
 * 2. Who arrives is admitted at once only if nobody waits; a change of the value
 *    admits waiters from the queue until one is not admitted. So at rest the
 *    first waiter is not admitted, and what is given goes to a waiter directly:
 *    nobody barges in.
 * 3. The queue is served in order of arrival. Locks alone prefer a waiter near
 *    the holder (same domain, then same machine) among the first SLOT_LOOK, and
 *    pass over the first waiter at most SLOT_PASSES times in a row: lock cohorting
 *    (Dice, Marathe, Shavit, PPoPP'12), with one queue as in Dice and Kogan's
 *    compact NUMA-aware locks (EuroSys'19). Waiter number n, from 0, is served
 *    after at most (n + 1) * (SLOT_PASSES + 1) hand-overs.
 * 4. A waiter belongs to who took it from its pool until it is queued, to the
 *    queue until it is taken out, then to whoever took it out, until waiter_end
 *    gives it back (the thread that waits, or, for another machine, the granter).
 */
#ifndef RECTO_SRC_SYNC_SLOT_H
#define RECTO_SRC_SYNC_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sync/guard.h"

enum {
    SLOT_PASSES = 64,
    SLOT_LOOK = 16
};

enum slot_kind {
    SLOT_NONE,
    SLOT_LOCK,
    SLOT_RWLOCK,
    SLOT_EVENT,
    SLOT_COND,
    SLOT_SEM,
    SLOT_KINDS
};

enum slot_operation {
    SLOT_WAIT,        /* lock, write lock, wait: queues unless admitted */
    SLOT_WAIT_SHARED, /* read lock */
    SLOT_TRY,         /* RECTO_EBUSY unless admitted */
    SLOT_TRY_SHARED,
    SLOT_GIVE,     /* unlock, set, post, signal */
    SLOT_GIVE_ALL, /* broadcast */
    SLOT_CLEAR,    /* of an event */
    SLOT_LEAVE,    /* of a condition: gives up; RECTO_EBUSY: was woken */
    SLOT_OPERATIONS
};

struct slot {
    _Alignas(64) sync_guard guard;
    uint32_t generation; /* of its id; 0: no object */
    int32_t kind;        /* enum slot_kind */
    int32_t holder;      /* lock: rank that got it last */
    int64_t value;
    uint64_t first; /* queue of waiters; 0 is none */
    uint64_t last;
    uint32_t passed; /* times that `first` was passed over */
};

struct waiter {
    _Alignas(64) _Atomic uint32_t word; /* sync/wait.h */
    int32_t rank;                       /* who waits */
    uint64_t token; /* 0: a rank that sees this memory, else its answer */
    uint64_t next;  /* in the queue, in a list of admitted ones, or unused */
    bool shared;    /* wants to read */
};

_Static_assert(sizeof(struct slot) == 64 && sizeof(struct waiter) == 64,
               "a cache line each");

/* Who asks for what. */
struct slot_request {
    enum slot_operation operation;
    enum slot_kind kind;
    uint32_t generation;
    int32_t rank;
    uint64_t token;  /* of another machine's caller, else 0 */
    uint64_t waiter; /* SLOT_LEAVE of a rank that sees this memory */
};

/* What came of it: the caller's waiter when it was queued, and those that are
 * to be told that their wait is over. */
struct slot_outcome {
    struct waiter *queued;
    uint64_t waiter; /* the id of `queued` */
    uint64_t admitted;
};

/* Where waiters are, by id; set by sync_init. */
struct waiter *waiter_at(uint64_t id);
/* Takes a waiter from this rank's pool: its id, 0 when none is left. */
uint64_t waiter_begin(void);
void waiter_end(uint64_t id);
/* 2: same domain, 1: same machine, 0: apart. */
int slot_nearness(int rank, int other);

/* Under the guard: does what is asked. 0, RECTO_EBUSY, RECTO_ENOENT for another
 * generation or kind, RECTO_ESTATE for what is not held, RECTO_ENOMEM. */
int slot_operate(struct slot *s, const struct slot_request *q,
                 struct slot_outcome *o);

/* Under the guard: is it held or waited for? */
bool slot_busy(const struct slot *s);

#endif
