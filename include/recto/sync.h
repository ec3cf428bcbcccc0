/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/sync.h: locks, reader-writer locks, events, semaphores, conditions. Part of
 * recto.h, which includes it.
 */
#ifndef RECTO_SYNC_H
#define RECTO_SYNC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Synchronisation objects. Each is created and freed collectively: every rank
 * gets the same value, which may be stored in shared memory and used by any
 * thread of any rank; all these other calls are local. Up to 65 536 of all kinds
 * per rank of the job live at once.
 *
 *   create   RECTO_ENOMEM; RECTO_EINVAL for NULL
 *   free     RECTO_EBUSY on every rank, and nothing happens, while it is held or
 *            waited for; RECTO_ENOENT
 *   others   RECTO_ENOENT for what does not exist (any more); RECTO_ENOMEM when
 *            65 536 threads of a rank wait already
 *   try...   RECTO_EBUSY, with no message, instead of waiting
 *
 * Who waits spins for a moment, then sleeps. Waiting lasts as long as it must: a
 * rank that dies ends the job. None of them may be called in a signal handler.
 */

/*
 * A queue lock, not recursive; holder and thread are not recorded, so any may
 * give it. Who has it sees what was written before each earlier recto_unlock of
 * it. It goes to the one who waited longest, but rather to one of the first 16
 * who is of the giver's domain, or else machine; the longest waiting is passed
 * over at most 64 times in a row (lock cohorting, Dice et al., PPoPP'12).
 */
typedef struct {
    uint64_t id;
} recto_lock_t;

int recto_lock_create(recto_lock_t *lock);
int recto_lock_free(recto_lock_t *lock);
int recto_lock(recto_lock_t lock);
int recto_trylock(recto_lock_t lock);
int recto_unlock(recto_lock_t lock); /* RECTO_ESTATE when nobody holds it */
/* Creates or frees `count` locks in one step: all or none. */
int recto_lock_create_many(recto_lock_t *locks, size_t count);
int recto_lock_free_many(recto_lock_t *locks, size_t count);

/*
 * A lock for one writer or many readers, in the order of their asking: a reader
 * that comes after a waiting writer waits behind it, so neither starves and who
 * reads must not ask to read again. Memory as for locks, readers too.
 */
typedef struct {
    uint64_t id;
} recto_rwlock_t;

int recto_rwlock_create(recto_rwlock_t *lock);
int recto_rwlock_free(recto_rwlock_t *lock);
int recto_rwlock_rdlock(recto_rwlock_t lock);
int recto_rwlock_wrlock(recto_rwlock_t lock);
int recto_rwlock_tryrdlock(recto_rwlock_t lock);
int recto_rwlock_trywrlock(recto_rwlock_t lock);
/* Of a reader or the writer. RECTO_ESTATE when nobody holds it. */
int recto_rwlock_unlock(recto_rwlock_t lock);

/*
 * An event, at first not set. While it is set recto_event_wait returns at once;
 * set wakes all who wait. Who returns from wait sees what was written before the
 * set.
 */
typedef struct {
    uint64_t id;
} recto_event_t;

int recto_event_create(recto_event_t *event);
int recto_event_free(recto_event_t *event);
int recto_event_set(recto_event_t event);
int recto_event_clear(recto_event_t event);
int recto_event_wait(recto_event_t event);
int recto_event_test(recto_event_t event); /* 1: set, as after wait; 0: not */

/*
 * A counting semaphore: wait takes one from the count when it is above 0, in the
 * order of asking; post adds one. Who returns from wait sees what was written
 * before the posts so far. RECTO_EINVAL for initial < 0; post: RECTO_ESTATE past
 * INT64_MAX.
 */
typedef struct {
    uint64_t id;
} recto_sem_t;

int recto_sem_create(recto_sem_t *sem, int64_t initial);
int recto_sem_free(recto_sem_t *sem);
int recto_sem_wait(recto_sem_t sem);
int recto_sem_trywait(recto_sem_t sem);
int recto_sem_post(recto_sem_t sem);

/*
 * A condition: recto_cond_wait gives the lock, waits for a signal and takes the
 * lock again. Signal wakes the one who waited longest, broadcast all who wait;
 * who stood in the queue before the call is never missed, and nobody wakes
 * without one. As others may have the lock first, look again at what was waited
 * for. RECTO_ESTATE when nobody holds the lock: it does not wait then.
 */
typedef struct {
    uint64_t id;
} recto_cond_t;

int recto_cond_create(recto_cond_t *cond);
int recto_cond_free(recto_cond_t *cond);
int recto_cond_wait(recto_cond_t cond, recto_lock_t lock);
int recto_cond_signal(recto_cond_t cond);
int recto_cond_broadcast(recto_cond_t cond);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
