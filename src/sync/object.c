/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects by id. Threads of ranks that share with an object's home operate on
 * its slot themselves; others ask the home's service thread, which does the
 * same on their behalf:
 *
 *   thread             its service thread     home's service thread    granter
 *     |-- operation, token ------------------------>| slot_operate
 *     | waits on answer     |<-- ANSWER ------------| done, or refused
 *     :                     |                       | queued: nothing yet
 *     |                     |<-- ANSWER ------------------------------------|
 *
 * A condition's queue is entered before the lock is given, so a far waiter gets
 * two answers, to two tokens: it is queued; it was woken.
 *
 * Invariants
 * 1. A caller's answer arrives exactly once for each token it sent, but not if
 *    SLOT_LEAVE took it out of the queue.
 * 2. Nothing is sent or woken under a slot's guard.
 * 3. The service thread waits for no guard: it puts the message aside.
 * 4. A pool's unused waiters are a stack with a count of its changes in the upper
 *    half (no ABA); those never used yet lie from `fresh` on. Pushed by any thread
 *    of the machine, popped by threads of the pool's rank.
 */
#include "sync/object.h"

#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "net/net.h"
#include "sync/sync.h"
#include "sync/wait.h"

enum {
    SLOTS = 1 << 16,   /* objects with one home */
    WAITERS = 1 << 16, /* waits at a time, per rank */
    MESSAGE_ANSWER = SLOT_OPERATIONS,
    MESSAGE_PROBE, /* answered at once: the home lives */
    RETRY_NS = 2000
};

/* A rank's part, mapped by those that share with it; pages are touched as they
 * are used. */
struct table {
    struct slot slots[SLOTS];
    struct waiter waiters[WAITERS];
    _Alignas(4096) _Atomic uint64_t unused; /* changes << 32 | index + 1 */
    _Atomic uint32_t fresh;
};

_Static_assert(sizeof(struct table) % 4096 == 0, "whole pages");

/* Where a thread waits for another machine; its address is the token. */
struct answer {
    sync_word come;
    int32_t code;
};

static struct {
    bool started;
    struct net_memory memory;
    struct table **tables; /* by rank; NULL where not shared */
    int32_t *machines;     /* by rank: lowest rank that it shares with */
    uint32_t next_index;
    uint32_t generation;
    uint32_t *freed; /* indices to be used again */
    size_t freed_count;
} objects;

static const char *const kind_names[SLOT_KINDS] = {
    [SLOT_NONE] = "object", [SLOT_LOCK] = "lock",      [SLOT_RWLOCK] = "rwlock",
    [SLOT_EVENT] = "event", [SLOT_COND] = "condition", [SLOT_SEM] = "semaphore",
};

static int home_of(uint64_t id)
{
    return (int)((uint32_t)id % (uint32_t)net_size());
}

static uint32_t slot_of(uint64_t id)
{
    return (uint32_t)id / (uint32_t)net_size();
}

static uint32_t generation_of(uint64_t id)
{
    return (uint32_t)(id >> 32);
}

/* The error of a code, with its message. */
static int result(enum slot_kind kind, uint64_t id, int code)
{
    const char *name = kind_names[kind];
    unsigned long number = (unsigned long)id;
    switch (code) {
    case RECTO_ENOENT:
        return base_error(code, "%s %lx does not exist", name, number);
    case RECTO_ESTATE:
        return kind == SLOT_SEM
                   ? base_error(code, "%s %lx overflows", name, number)
                   : base_error(code, "%s %lx is not held", name, number);
    case RECTO_ENOMEM:
        return base_error(code, "%s %lx: more than %d threads wait", name,
                          number, WAITERS);
    default: return code;
    }
}

/* ---- waiters: id = rank + 1 << 32 | index + 1 ---------------------------------------- */

struct waiter *waiter_at(uint64_t id)
{
    return &objects.tables[(id >> 32) - 1]->waiters[(uint32_t)id - 1];
}

static uint64_t changed(uint64_t head, uint64_t index)
{
    return ((head >> 32) + 1) << 32 | (uint32_t)index;
}

uint64_t waiter_begin(void)
{
    struct table *t = objects.tables[net_rank()];
    uint64_t pool = (uint64_t)(net_rank() + 1) << 32;
    /* acquire: pairs with the release in waiter_end */
    uint64_t head = atomic_load_explicit(&t->unused, memory_order_acquire);
    while ((uint32_t)head != 0) {
        uint64_t next = __atomic_load_n(&waiter_at(pool | (uint32_t)head)->next,
                                        __ATOMIC_RELAXED);
        if (atomic_compare_exchange_weak_explicit(
                &t->unused, &head, changed(head, next), memory_order_acquire,
                memory_order_acquire)) {
            return pool | (uint32_t)head;
        }
    }
    uint32_t fresh = atomic_load_explicit(&t->fresh, memory_order_relaxed);
    while (fresh < WAITERS) {
        if (atomic_compare_exchange_weak_explicit(&t->fresh, &fresh, fresh + 1,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return pool | (fresh + 1);
        }
    }
    return 0;
}

void waiter_end(uint64_t id)
{
    struct table *t = objects.tables[(id >> 32) - 1];
    uint64_t head = atomic_load_explicit(&t->unused, memory_order_relaxed);
    do {
        /* who loses the race in waiter_begin may read it meanwhile */
        __atomic_store_n(&waiter_at(id)->next, (uint32_t)head,
                         __ATOMIC_RELAXED);
    } while (!atomic_compare_exchange_weak_explicit(
        &t->unused, &head, changed(head, id), memory_order_release,
        memory_order_relaxed));
}

int slot_nearness(int rank, int other)
{
    return net_domain_of(rank) == net_domain_of(other)         ? 2
           : objects.machines[rank] == objects.machines[other] ? 1
                                                               : 0;
}

/* ---- messages ------------------------------------------------------------------------------ */

static void answer_post(int rank, uint64_t token, int code)
{
    struct net_msg msg = {.service = NET_SERVICE_SYNC,
                          .type = MESSAGE_ANSWER,
                          .a = (uint64_t)(int64_t)code,
                          .b = token};
    net_post_masked(rank, &msg);
}

/* Tells those whose wait is over. */
static void admitted_tell(uint64_t id)
{
    while (id != 0) {
        struct waiter *w = waiter_at(id);
        uint64_t next = w->next;
        if (w->token == 0) {
            sync_word_end(&w->word, true);
        } else {
            int rank = w->rank;
            uint64_t token = w->token;
            waiter_end(id);
            answer_post(rank, token, 0);
        }
        id = next;
    }
}

/* The home's service thread, for a caller on another machine. msg->d is the
 * token of the waiter where that is another than the answer's. */
static void asked(const struct net_msg *msg)
{
    struct slot *s = &objects.tables[net_rank()]->slots[(uint32_t)msg->a];
    struct slot_request q = {.operation = (enum slot_operation)msg->type,
                             .kind = (enum slot_kind)msg->object,
                             .generation = (uint32_t)msg->c,
                             .rank = msg->source,
                             .token = msg->d != 0 ? msg->d : msg->b};
    struct slot_outcome o;
    if (!sync_guard_try(&s->guard)) {
        net_defer(msg, base_now() + RETRY_NS);
        return;
    }
    int r = slot_operate(s, &q, &o);
    sync_guard_give(&s->guard);
    admitted_tell(o.admitted);
    if (o.queued == NULL || msg->d != 0) {
        answer_post(msg->source, msg->b, r);
    }
}

static void receive(const struct net_msg *msg)
{
    if (msg->type == MESSAGE_ANSWER) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
        struct answer *a = (struct answer *)(uintptr_t)msg->b;
        a->code = (int32_t)(int64_t)msg->a;
        sync_word_end(&a->come, false);
    } else if (msg->type == MESSAGE_PROBE) {
        answer_post(msg->source, msg->b, 0);
    } else {
        asked(msg);
    }
}

/* Ends the job if the home does not answer. */
static void probe(enum slot_kind kind, uint64_t id)
{
    int home = home_of(id);
    struct answer a;
    sync_word_start(&a.come);
    struct net_msg msg = {
        .service = NET_SERVICE_SYNC, .type = MESSAGE_PROBE, .b = (uintptr_t)&a};
    net_post_masked(home, &msg);
    if (!sync_word_wait_for(&a.come, false, net_timeout())) {
        base_fatal("%s %lx: its home, rank %d on %s, did not answer within "
                   "%s; raise it if that rank is only slow",
                   kind_names[kind], (unsigned long)id, home, net_host(home),
                   base_env_name(BASE_ENV_TIMEOUT));
    }
}

/* Waits however long the object is held, as long as its home answers. */
static int answer_wait(struct answer *a, enum slot_kind kind, uint64_t id)
{
    net_await_begin();
    while (!sync_word_wait_for(&a->come, false, net_timeout())) {
        probe(kind, id);
    }
    net_await_end();
    return a->code;
}

static int far_call(enum slot_kind kind, uint64_t id,
                    enum slot_operation operation, struct answer *woken)
{
    struct answer a;
    sync_word_start(&a.come);
    struct net_msg msg = {.service = NET_SERVICE_SYNC,
                          .type = (uint8_t)operation,
                          .object = (uint32_t)kind,
                          .a = slot_of(id),
                          .b = (uintptr_t)&a,
                          .c = generation_of(id),
                          .d = (uintptr_t)woken};
    net_post_masked(home_of(id), &msg);
    return answer_wait(&a, kind, id);
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* The slot if its home shares memory with me; *far tells when it does not. NULL
 * and 0 for what cannot be an id. */
static struct slot *slot_find(uint64_t id, bool *far)
{
    *far = false;
    if (!objects.started || generation_of(id) == 0 || slot_of(id) >= SLOTS) {
        return NULL;
    }
    struct table *t = objects.tables[home_of(id)];
    *far = t == NULL;
    return t != NULL ? &t->slots[slot_of(id)] : NULL;
}

static int near_call(struct slot *s, const struct slot_request *q,
                     struct slot_outcome *o)
{
    sync_guard_take(&s->guard);
    int r = slot_operate(s, q, o);
    sync_guard_give(&s->guard);
    if (o->admitted != 0) {
        admitted_tell(o->admitted);
    }
    return r;
}

static struct slot_request request(enum slot_kind kind, uint64_t id,
                                   enum slot_operation operation)
{
    return (struct slot_request){.operation = operation,
                                 .kind = kind,
                                 .generation = generation_of(id),
                                 .rank = net_rank()};
}

int object_call(enum slot_kind kind, uint64_t id, enum slot_operation operation)
{
    bool far = false;
    struct slot *s = slot_find(id, &far);
    if (far) {
        return result(kind, id, far_call(kind, id, operation, NULL));
    }
    if (s == NULL) {
        return result(kind, id, RECTO_ENOENT);
    }
    struct slot_request q = request(kind, id, operation);
    struct slot_outcome o;
    int r = near_call(s, &q, &o);
    if (o.queued != NULL) {
        sync_word_wait(&o.queued->word, true);
        waiter_end(o.waiter);
    }
    return r == 0 ? 0 : result(kind, id, r);
}

/* ---- conditions ------------------------------------------------------------------------------- */

/* A wait on a condition between its two halves. */
struct stay {
    uint64_t cond;
    struct slot *slot; /* NULL: on another machine */
    struct slot_outcome near;
    struct answer far;
};

static int stay_begin(struct stay *y)
{
    bool far = false;
    struct slot_request q = request(SLOT_COND, y->cond, SLOT_WAIT);
    y->slot = slot_find(y->cond, &far);
    sync_word_start(&y->far.come);
    return far               ? far_call(SLOT_COND, y->cond, SLOT_WAIT, &y->far)
           : y->slot == NULL ? RECTO_ENOENT
                             : near_call(y->slot, &q, &y->near);
}

static int stay_wait(struct stay *y)
{
    if (y->slot == NULL) {
        return answer_wait(&y->far, SLOT_COND, y->cond);
    }
    sync_word_wait(&y->near.queued->word, true);
    waiter_end(y->near.waiter);
    return 0;
}

/* The wait is off; who was woken already takes it. */
static void stay_end(struct stay *y)
{
    struct slot_request q = request(SLOT_COND, y->cond, SLOT_LEAVE);
    struct slot_outcome o;
    q.waiter = y->near.waiter;
    int r = y->slot == NULL ? far_call(SLOT_COND, y->cond, SLOT_LEAVE, &y->far)
                            : near_call(y->slot, &q, &o);
    if (r != 0) {
        (void)stay_wait(y);
    }
}

int object_cond_wait(uint64_t cond, uint64_t lock)
{
    struct stay y = {.cond = cond};
    int r = stay_begin(&y);
    if (r != 0) {
        return result(SLOT_COND, cond, r);
    }
    coherence_release();
    r = object_call(SLOT_LOCK, lock, SLOT_GIVE);
    if (r != 0) {
        stay_end(&y);
        return r;
    }
    r = stay_wait(&y);
    r = r == 0 ? object_call(SLOT_LOCK, lock, SLOT_WAIT) : r;
    coherence_acquire();
    return r;
}

/* ---- creation --------------------------------------------------------------------------------- */

static struct slot *my_slot(uint64_t id)
{
    return home_of(id) == net_rank()
               ? &objects.tables[net_rank()]->slots[slot_of(id)]
               : NULL;
}

static int room_check(size_t count)
{
    size_t most = (size_t)SLOTS * (size_t)net_size();
    return count > objects.freed_count + (most - objects.next_index)
               ? base_error(RECTO_ENOMEM,
                            "more than %zu locks and other objects", most)
               : 0;
}

static uint64_t id_make(void)
{
    uint32_t index = objects.freed_count > 0
                         ? objects.freed[--objects.freed_count]
                         : objects.next_index++;
    objects.generation += objects.generation == UINT32_MAX ? 2 : 1;
    return (uint64_t)objects.generation << 32 | index;
}

static void slot_start(struct slot *s, enum slot_kind kind, uint64_t id,
                       int64_t value)
{
    sync_guard_take(&s->guard);
    s->generation = generation_of(id);
    s->kind = (int32_t)kind;
    s->value = value;
    s->holder = net_rank();
    s->first = 0;
    s->last = 0;
    s->passed = 0;
    sync_guard_give(&s->guard);
}

int object_create(enum slot_kind kind, int64_t value, uint64_t *ids,
                  size_t count, const char *call)
{
    char text[96];
    if (!objects.started) {
        return base_error(RECTO_ESTATE, "%s before recto_init", call);
    }
    int r = ids == NULL ? base_error(RECTO_EINVAL, "%s: NULL", call)
            : value < 0 ? base_error(RECTO_EINVAL, "%s: below 0", call)
                        : room_check(count);
    snprintf(text, sizeof text, "%s(%zu, %lld)", call, count, (long long)value);
    r = net_agree(NET_CALL_LOCK_CREATE, r, text);
    for (size_t i = 0; r == 0 && i < count; i++) {
        ids[i] = id_make();
        struct slot *s = my_slot(ids[i]);
        if (s != NULL) {
            slot_start(s, kind, ids[i], value);
        }
    }
    return r == 0 ? net_verdict(0) : r; /* nobody uses it before it is there */
}

/* ---- end ----------------------------------------------------------------------------------------- */

/* May the object be freed? Only its home knows. */
static int free_check(enum slot_kind kind, uint64_t id)
{
    if (generation_of(id) == 0 || slot_of(id) >= SLOTS) {
        return result(kind, id, RECTO_ENOENT);
    }
    struct slot *s = my_slot(id);
    if (s == NULL) {
        return 0;
    }
    sync_guard_take(&s->guard);
    bool there = s->generation == generation_of(id) && s->kind == (int32_t)kind;
    bool busy = there && slot_busy(s);
    sync_guard_give(&s->guard);
    return !there ? result(kind, id, RECTO_ENOENT)
           : busy ? base_error(RECTO_EBUSY, "%s %lx is held or waited for",
                               kind_names[kind], (unsigned long)id)
                  : 0;
}

/* Takes it from its home; RECTO_EBUSY when a thread came in between. */
static int slot_stop(enum slot_kind kind, uint64_t id)
{
    struct slot *s = my_slot(id);
    if (s == NULL) {
        return 0;
    }
    sync_guard_take(&s->guard);
    bool busy = slot_busy(s);
    s->generation = busy ? s->generation : 0;
    sync_guard_give(&s->guard);
    return busy ? base_error(RECTO_EBUSY, "%s %lx was taken while it was freed",
                             kind_names[kind], (unsigned long)id)
                : 0;
}

static uint64_t ids_hash(const uint64_t *ids, size_t count)
{
    uint64_t h = count;
    for (size_t i = 0; i < count; i++) {
        h = (h ^ ids[i]) * 1099511628211U;
    }
    return h;
}

static int freed_grow(size_t count)
{
    uint32_t *more = realloc(objects.freed, (objects.freed_count + count + 1) *
                                                sizeof *objects.freed);
    objects.freed = more != NULL ? more : objects.freed;
    return more != NULL ? 0 : base_error(RECTO_ENOMEM, "list of freed objects");
}

int object_free(enum slot_kind kind, uint64_t *ids, size_t count,
                const char *call)
{
    char text[96];
    if (!objects.started) {
        return base_error(RECTO_ESTATE, "%s before recto_init", call);
    }
    int r = ids == NULL ? base_error(RECTO_EINVAL, "%s: NULL", call)
                        : freed_grow(count);
    size_t known = ids != NULL ? count : 0;
    for (size_t i = 0; r == 0 && i < known; i++) {
        r = free_check(kind, ids[i]);
    }
    snprintf(text, sizeof text, "%s(%lx)", call,
             (unsigned long)(known == 1 ? ids[0] : ids_hash(ids, known)));
    r = net_agree(NET_CALL_LOCK_FREE, r, text);
    if (r != 0) {
        return r;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = slot_stop(kind, ids[i]);
    }
    r = net_verdict(r);
    for (size_t i = 0; r == 0 && i < count; i++) {
        objects.freed[objects.freed_count++] = (uint32_t)ids[i];
        ids[i] = 0;
    }
    return r;
}

/* ---- life cycle -------------------------------------------------------------------------------------- */

/* The lowest rank that each rank shares with. */
static int machines_share(void)
{
    int32_t lowest = 0;
    while (objects.tables[lowest] == NULL && lowest < net_size() - 1) {
        lowest++;
    }
    return net_allgather(&lowest, sizeof lowest, objects.machines);
}

int sync_init(void)
{
    objects.machines = calloc((size_t)net_size(), sizeof *objects.machines);
    int r =
        objects.machines != NULL ? 0 : base_error(RECTO_ENOMEM, "lock tables");
    r = net_verdict(r);
    r = r == 0 ? net_memory_create(&objects.memory, "recto-locks",
                                   sizeof(struct table))
               : r;
    objects.tables = (struct table **)objects.memory.views;
    r = r == 0 ? machines_share() : r;
    net_service_receiver(NET_SERVICE_SYNC, receive);
    objects.started = r == 0;
    return r;
}

void sync_finalize(void)
{
    net_memory_free(&objects.memory);
    free(objects.machines);
    free(objects.freed);
    memset(&objects, 0, sizeof objects);
}
