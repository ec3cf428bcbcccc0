/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks and reader-writer locks: objects of sync/slot.h whose taking acquires
 * memory and whose giving releases it.
 */
#include <recto.h>

#include "coherence/coherence.h"
#include "sync/object.h"
#include "sync/record.h"

/* What it is in a trace. */
static enum trace_lock traced(enum slot_kind kind,
                              enum slot_operation operation)
{
    return kind == SLOT_LOCK ? TRACE_LOCK
           : operation == SLOT_WAIT_SHARED || operation == SLOT_TRY_SHARED
               ? TRACE_LOCK_READ
               : TRACE_LOCK_WRITE;
}

/* Takes by `operation`; what was given to us is to be seen. */
static int take(enum slot_kind kind, uint64_t id, enum slot_operation operation,
                const void *caller)
{
    uint64_t start = base_trace_clock();
    int r = object_call(kind, id, operation);
    if (r == 0) {
        coherence_acquire();
    }
    record_call(TRACE_TAKE, traced(kind, operation), id, start, r, caller);
    return r;
}

/* What we wrote is to be seen by who takes next. */
static int give(enum slot_kind kind, uint64_t id, const void *caller)
{
    uint64_t start = base_trace_clock();
    coherence_release();
    int r = object_call(kind, id, SLOT_GIVE);
    record_call(TRACE_GIVE, traced(kind, SLOT_GIVE), id, start, r, caller);
    return r;
}

_Static_assert(sizeof(recto_lock_t) == sizeof(uint64_t),
               "an array of locks is one of ids");

/* ---- locks ---------------------------------------------------------------------- */

int recto_lock_create(recto_lock_t *lock)
{
    return object_create(SLOT_LOCK, 0, (uint64_t *)lock, 1,
                         "recto_lock_create");
}

int recto_lock_free(recto_lock_t *lock)
{
    return object_free(SLOT_LOCK, (uint64_t *)lock, 1, "recto_lock_free");
}

int recto_lock_create_many(recto_lock_t *locks, size_t count)
{
    return object_create(SLOT_LOCK, 0, (uint64_t *)locks, count,
                         "recto_lock_create_many");
}

int recto_lock_free_many(recto_lock_t *locks, size_t count)
{
    return object_free(SLOT_LOCK, (uint64_t *)locks, count,
                       "recto_lock_free_many");
}

int recto_lock(recto_lock_t lock)
{
    return take(SLOT_LOCK, lock.id, SLOT_WAIT, caller());
}

int recto_trylock(recto_lock_t lock)
{
    return take(SLOT_LOCK, lock.id, SLOT_TRY, caller());
}

int recto_unlock(recto_lock_t lock)
{
    return give(SLOT_LOCK, lock.id, caller());
}

/* ---- reader-writer locks ---------------------------------------------------------- */

int recto_rwlock_create(recto_rwlock_t *lock)
{
    return object_create(SLOT_RWLOCK, 0, (uint64_t *)lock, 1,
                         "recto_rwlock_create");
}

int recto_rwlock_free(recto_rwlock_t *lock)
{
    return object_free(SLOT_RWLOCK, (uint64_t *)lock, 1, "recto_rwlock_free");
}

int recto_rwlock_rdlock(recto_rwlock_t lock)
{
    return take(SLOT_RWLOCK, lock.id, SLOT_WAIT_SHARED, caller());
}

int recto_rwlock_wrlock(recto_rwlock_t lock)
{
    return take(SLOT_RWLOCK, lock.id, SLOT_WAIT, caller());
}

int recto_rwlock_tryrdlock(recto_rwlock_t lock)
{
    return take(SLOT_RWLOCK, lock.id, SLOT_TRY_SHARED, caller());
}

int recto_rwlock_trywrlock(recto_rwlock_t lock)
{
    return take(SLOT_RWLOCK, lock.id, SLOT_TRY, caller());
}

int recto_rwlock_unlock(recto_rwlock_t lock)
{
    return give(SLOT_RWLOCK, lock.id, caller());
}
