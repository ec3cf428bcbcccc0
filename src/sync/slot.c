/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine of sync/slot.h: what each operation does to a slot, under its guard.
 */
#include "sync/slot.h"

#include <recto.h>

#include "sync/wait.h"

/* ---- the three rules --------------------------------------------------------------- */

static bool admits(const struct slot *s, bool shared)
{
    switch (s->kind) {
    case SLOT_LOCK: return s->value == 0;
    case SLOT_RWLOCK: return shared ? s->value >= 0 : s->value == 0;
    default: return s->value > 0;
    }
}

static void enter(struct slot *s, int rank, bool shared)
{
    switch (s->kind) {
    case SLOT_LOCK:
        s->value = 1;
        s->holder = rank;
        break;
    case SLOT_RWLOCK: s->value = shared ? s->value + 1 : -1; break;
    case SLOT_EVENT: break;
    default: s->value--;
    }
}

static int give(struct slot *s, bool all)
{
    bool held = s->value != 0;
    switch (s->kind) {
    case SLOT_LOCK: s->value = 0; return held ? 0 : RECTO_ESTATE;
    case SLOT_RWLOCK:
        s->value = s->value > 0 ? s->value - 1 : 0;
        return held ? 0 : RECTO_ESTATE;
    case SLOT_SEM:
        if (s->value == INT64_MAX) {
            return RECTO_ESTATE;
        }
        s->value++;
        return 0;
    case SLOT_COND: s->value = all ? INT64_MAX : 1; return 0;
    default: s->value = 1; return 0;
    }
}

/* ---- the queue ------------------------------------------------------------------------ */

static void queue_add(struct slot *s, uint64_t id)
{
    waiter_at(id)->next = 0;
    if (s->last != 0) {
        waiter_at(s->last)->next = id;
    } else {
        s->first = id;
    }
    s->last = id;
}

/* Takes out the waiter behind `before` (0: the first). */
static uint64_t queue_take(struct slot *s, uint64_t before)
{
    uint64_t id = before != 0 ? waiter_at(before)->next : s->first;
    uint64_t next = waiter_at(id)->next;
    if (before != 0) {
        waiter_at(before)->next = next;
    } else {
        s->first = next;
        s->passed = 0;
    }
    s->last = s->last == id ? before : s->last;
    return id;
}

/* Whom a lock goes to: the waiter behind the one returned. */
static uint64_t nearest(struct slot *s)
{
    uint64_t best = 0;
    int nearness = slot_nearness(s->holder, waiter_at(s->first)->rank);
    if (s->passed >= SLOT_PASSES) {
        return 0;
    }
    uint64_t before = s->first;
    for (int i = 1; i < SLOT_LOOK && nearness < 2; i++) {
        uint64_t id = waiter_at(before)->next;
        if (id == 0) {
            break;
        }
        int n = slot_nearness(s->holder, waiter_at(id)->rank);
        if (n > nearness) {
            nearness = n;
            best = before;
        }
        before = id;
    }
    s->passed += best != 0;
    return best;
}

/* Admits waiters while the value allows; they form the list *admitted, in
 * order. */
static void serve(struct slot *s, uint64_t *admitted)
{
    uint64_t end = 0;
    while (s->first != 0) {
        uint64_t before =
            s->kind == SLOT_LOCK && s->value == 0 ? nearest(s) : 0;
        if (!admits(s, waiter_at(s->first)->shared)) {
            break;
        }
        uint64_t id = queue_take(s, before);
        struct waiter *w = waiter_at(id);
        enter(s, w->rank, w->shared);
        w->next = 0;
        if (end != 0) {
            waiter_at(end)->next = id;
        } else {
            *admitted = id;
        }
        end = id;
    }
    if (s->kind == SLOT_COND) {
        s->value = 0; /* nobody is there for the rest */
    }
}

static int leave(struct slot *s, const struct slot_request *q)
{
    uint64_t before = 0;
    for (uint64_t id = s->first; id != 0; id = waiter_at(id)->next) {
        const struct waiter *w = waiter_at(id);
        if (q->token != 0 ? w->token == q->token && w->rank == q->rank
                          : id == q->waiter) {
            queue_take(s, before);
            waiter_end(id);
            return 0;
        }
        before = id;
    }
    return RECTO_EBUSY;
}

/* ---- operations -------------------------------------------------------------------------- */

static int arrive(struct slot *s, const struct slot_request *q,
                  struct slot_outcome *o)
{
    bool shared =
        q->operation == SLOT_WAIT_SHARED || q->operation == SLOT_TRY_SHARED;
    if (s->first == 0 && admits(s, shared)) {
        enter(s, q->rank, shared);
        return 0;
    }
    if (q->operation == SLOT_TRY || q->operation == SLOT_TRY_SHARED) {
        return RECTO_EBUSY;
    }
    uint64_t id = waiter_begin();
    if (id == 0) {
        return RECTO_ENOMEM;
    }
    struct waiter *w = waiter_at(id);
    w->rank = q->rank;
    w->token = q->token;
    w->shared = shared;
    sync_word_start(&w->word);
    queue_add(s, id);
    o->queued = w;
    o->waiter = id;
    return 0;
}

int slot_operate(struct slot *s, const struct slot_request *q,
                 struct slot_outcome *o)
{
    int r = 0;
    *o = (struct slot_outcome){0};
    if (s->generation != q->generation || s->kind != (int32_t)q->kind) {
        return RECTO_ENOENT;
    }
    switch (q->operation) {
    case SLOT_GIVE:
    case SLOT_GIVE_ALL:
        r = give(s, q->operation == SLOT_GIVE_ALL);
        if (r == 0) {
            serve(s, &o->admitted);
        }
        return r;
    case SLOT_CLEAR: s->value = 0; return 0;
    case SLOT_LEAVE: return leave(s, q);
    default: return arrive(s, q, o);
    }
}

bool slot_busy(const struct slot *s)
{
    bool held = s->kind == SLOT_LOCK || s->kind == SLOT_RWLOCK;
    return s->first != 0 || (held && s->value != 0);
}
