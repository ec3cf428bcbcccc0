/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events, semaphores, conditions: objects of sync/slot.h. What tells releases
 * memory first, who was told acquires it; a condition leaves that to its lock.
 */
#include <recto.h>

#include "base/trace.h"
#include "coherence/coherence.h"
#include "sync/object.h"
#include "sync/record.h"

static int told(enum slot_kind kind, uint64_t id, enum slot_operation operation,
                const void *caller)
{
    uint64_t start = base_trace_clock();
    int r = object_call(kind, id, operation);
    if (r == 0) {
        coherence_acquire();
    }
    record_call(TRACE_WAIT, kind == SLOT_EVENT ? TRACE_EVENT : TRACE_SEM, id,
                start, r, caller);
    return r;
}

static int tell(enum slot_kind kind, uint64_t id)
{
    coherence_release();
    return object_call(kind, id, SLOT_GIVE);
}

/* ---- events --------------------------------------------------------------------- */

int recto_event_create(recto_event_t *event)
{
    return object_create(SLOT_EVENT, 0, (uint64_t *)event, 1,
                         "recto_event_create");
}

int recto_event_free(recto_event_t *event)
{
    return object_free(SLOT_EVENT, (uint64_t *)event, 1, "recto_event_free");
}

int recto_event_set(recto_event_t event)
{
    return tell(SLOT_EVENT, event.id);
}

int recto_event_clear(recto_event_t event)
{
    return object_call(SLOT_EVENT, event.id, SLOT_CLEAR);
}

int recto_event_wait(recto_event_t event)
{
    return told(SLOT_EVENT, event.id, SLOT_WAIT, caller());
}

int recto_event_test(recto_event_t event)
{
    int r = told(SLOT_EVENT, event.id, SLOT_TRY, caller());
    return r == 0 ? 1 : r == RECTO_EBUSY ? 0 : r;
}

/* ---- semaphores --------------------------------------------------------------------- */

int recto_sem_create(recto_sem_t *sem, int64_t initial)
{
    return object_create(SLOT_SEM, initial, (uint64_t *)sem, 1,
                         "recto_sem_create");
}

int recto_sem_free(recto_sem_t *sem)
{
    return object_free(SLOT_SEM, (uint64_t *)sem, 1, "recto_sem_free");
}

int recto_sem_wait(recto_sem_t sem)
{
    return told(SLOT_SEM, sem.id, SLOT_WAIT, caller());
}

int recto_sem_trywait(recto_sem_t sem)
{
    return told(SLOT_SEM, sem.id, SLOT_TRY, caller());
}

int recto_sem_post(recto_sem_t sem)
{
    return tell(SLOT_SEM, sem.id);
}

/* ---- conditions ---------------------------------------------------------------------- */

int recto_cond_create(recto_cond_t *cond)
{
    return object_create(SLOT_COND, 0, (uint64_t *)cond, 1,
                         "recto_cond_create");
}

int recto_cond_free(recto_cond_t *cond)
{
    return object_free(SLOT_COND, (uint64_t *)cond, 1, "recto_cond_free");
}

int recto_cond_wait(recto_cond_t cond, recto_lock_t lock)
{
    uint64_t start = base_trace_clock();
    struct base_event event = {
        .kind = TRACE_GIVE,
        .what = TRACE_LOCK,
        .e = {
              .start = start, .ns = 1, .at = lock.id, .pc = (uintptr_t)caller()}
    };
    base_trace_add(&event);
    int r = object_cond_wait(cond.id, lock.id);
    event.kind = TRACE_TAKE;
    event.e.ns = 0;
    event.flags = TRACE_CONDITION;
    base_trace_add(&event);
    return r;
}

int recto_cond_signal(recto_cond_t cond)
{
    return object_call(SLOT_COND, cond.id, SLOT_GIVE);
}

int recto_cond_broadcast(recto_cond_t cond)
{
    return object_call(SLOT_COND, cond.id, SLOT_GIVE_ALL);
}
