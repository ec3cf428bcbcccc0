/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coherence: what the floors above and below ask of the protocol of a segment.
 */
#ifndef RECTO_SRC_COHERENCE_H
#define RECTO_SRC_COHERENCE_H

#include <recto.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/trace.h"

struct recto_vm_fault;
struct space_segment;

struct space_protocol;

/* Registers with net, before the service thread starts, and gives the protocol
 * that space_init needs. */
int coherence_init(const struct space_protocol **protocol);
int coherence_start(void); /* collective, between init and the service thread */
void coherence_stop(void); /* collective, before net ends */
void coherence_finalize(void); /* after the service thread ended */

/*
 * Makes the master copy of every page the page: domains that own pages of
 * other homes write them back and keep reading (`drop` false), or lose the
 * page wholly (`drop` true: nobody but the home's domain has any right
 * afterwards, so that the memory may be written through the verso).
 * Collective, no thread writes the segment meanwhile.
 */
int coherence_recall(struct space_segment *s, bool drop);

/*
 * Release consistency: what the floors above call at their synchronisation
 * points, from any thread, also when there is nothing to do.
 *
 * coherence_release: all writes of this rank's threads that happened before
 * the call reach their homes, and every other holder of the pages is told,
 * before it returns. Call it before a lock is given, a flag set, a barrier
 * entered.
 * coherence_acquire: every page of which a release told before the call is
 * fetched anew when next used. Call it after a lock was got, a flag seen, a
 * barrier left.
 */
void coherence_release(void);
void coherence_acquire(void);
/* The same for a part of memory; other parts may go home too. */
void coherence_release_range(const void *p, uint64_t bytes);

/* Who wants to know when this rank's writes are home: `begin` is called before a
 * release starts, and its result, unless 0, given to `end` when it is done. */
void coherence_on_release(uint64_t (*begin)(void), void (*end)(uint64_t));

/* What this rank has of a part of memory is fetched anew when next used. */
void coherence_drop(const void *p, uint64_t bytes);

/* Fetches what I lack of a part of release consistent memory. */
void coherence_prefetch(const void *p, uint64_t bytes);

/*
 * Loans: memory, shared or not, made fit for a call that cannot fault (a system
 * call, MPI) until it is returned. coherence_lend gives where the call finds it,
 * NULL when that fails (RECTO_ENOMEM, with its message); *loan NULL: nothing to
 * return. `write`: the call may change it. Any thread, not in signal handlers;
 * coherence_lendable is local and async-signal-safe: may it need a loan at all?
 */
struct coherence_loan;
bool coherence_lendable(const void *p);
void *coherence_lend(void *p, uint64_t bytes, bool write,
                     struct coherence_loan **loan);
void coherence_return(struct coherence_loan *loan);

/* The wrappers of system calls and MPI lend shared buffers from now on
 * (RECTO_INTERPOSE), and no more. */
int coherence_calls_start(void);
void coherence_calls_stop(void);

/* Atomic operations on words of release consistent memory, which are made at
 * the page's home. */
enum coherence_operation {
    COHERENCE_ADD_32,
    COHERENCE_ADD_64,
    COHERENCE_ADD_F64,
    COHERENCE_EXCHANGE_32,
    COHERENCE_EXCHANGE_64,
    COHERENCE_CAS_32,
    COHERENCE_CAS_64,
    COHERENCE_LOAD_32, /* the home's value; no write */
    COHERENCE_LOAD_64
};

/* Does what the operation says to the word at p, where p needs it, and sets
 * *old; false where the processor's own operation on p is right. CAS: operand
 * is the expected value. */
bool coherence_atomic(enum coherence_operation op, void *p, uint64_t operand,
                      uint64_t desired, uint64_t *old);

/* Nanoseconds now if times are to be measured (RECTO_STATS) or recorded (RECTO_TRACE),
 * else 0. */
uint64_t coherence_clock(void);
/* Count and record a fault, a barrier that began at a coherence_clock. */
void coherence_fault_took(const struct recto_vm_fault *fault,
                          enum trace_fault what, uint64_t start);
void coherence_barrier_took(uint64_t start, const void *caller);
/* Records that pages were copied from a home, or asked of it. */
void coherence_fetched(const struct space_segment *s, uint64_t page,
                       uint64_t count, int home);
/* Records that the bytes from `low` to `high` of a page, `changed` of them, went home; `now`: base_trace_clock. */
void coherence_sent(const struct space_segment *s, uint64_t page, int home,
                    const uint32_t *range, uint64_t changed, uint64_t now);
/* Pages that this rank has written and not yet published. Any thread. */
uint64_t coherence_written(void);

void coherence_stats(recto_counters *counters);

#endif
