/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queue locks: tickets. A lock lives in the lock table of its home rank, memory
 * that the ranks that share with the home map; they take and serve tickets with
 * CPU atomics and wait on a futex. Other ranks ask the home's service thread,
 * which takes a ticket for them and answers when it is served.
 *
 *   id = generation << 32 | index;  home = index mod size;
 *   slot = index / size in the home's table
 *
 * Invariants
 * 1. tickets = next << 32 | serving. The lock is held or on its way to a waiter
 *    while next != serving; ticket t holds it while serving == t. Served in
 *    order.
 * 2. Words of a lock are touched by CPU atomics of the home's machine only.
 * 3. `remote` counts the tickets that the service thread holds for other
 *    machines; who serves a ticket while it is not zero tells the service
 *    thread. It counts first and looks at `serving` afterwards, the unlocker
 *    serves first and looks at `remote` afterwards (both sequentially
 *    consistent), so one of them sees the other.
 * 4. `generation` is 0 in a slot that holds no lock, else the id's.
 */
#include <recto.h>
#include <recto/vm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "net/net.h"
#include "sync/sync.h"

enum {
    SLOTS = 1 << 16,
    SPINS = 200
};

struct lock {
    _Alignas(64) _Atomic uint64_t tickets;
    _Atomic uint32_t generation;
    _Atomic uint32_t remote;
};

enum lock_message {
    LOCK_ASK,
    LOCK_TRY,
    LOCK_GIVE,
    LOCK_SERVED,
    LOCK_ANSWER
};

/* A remote ticket that waits at the home. */
struct waiter {
    uint32_t slot;
    uint32_t ticket;
    int32_t rank;
    uint32_t next; /* in the list of waiters or free ones, index + 1 */
    uint64_t token;
};

/* Where a thread waits for the answer of another machine's service thread;
 * its address is the token. */
struct answer {
    _Atomic uint32_t come; /* futex word */
    int32_t code;
};

static struct {
    bool started;
    int fd;
    struct lock **tables; /* by rank; NULL where not shared */
    uint32_t next_index;
    uint32_t generation;
    uint32_t *unused; /* indices freed, to be used again */
    uint32_t unused_count;
    /* the service thread's own */
    struct waiter *waiters;
    uint32_t waiting;
    uint32_t free_waiters;
    uint32_t waiters_used;
} locks;

enum {
    WAITERS = 1 << 20
};

enum {
    TABLE_BYTES = sizeof(struct lock) * SLOTS
};

static int home_of(recto_lock_t l)
{
    return (int)((uint32_t)l.id % (uint32_t)net_size());
}

static uint32_t slot_of(recto_lock_t l)
{
    return (uint32_t)l.id / (uint32_t)net_size();
}

static int absent(recto_lock_t l)
{
    return base_error(RECTO_ENOENT, "lock %lx does not exist",
                      (unsigned long)l.id);
}

/* ---- the ticket lock, by ranks that share with its home -------------------------- */

static uint32_t serving(uint64_t tickets)
{
    return (uint32_t)tickets;
}

static uint32_t next_ticket(uint64_t tickets)
{
    return (uint32_t)(tickets >> 32);
}

static const uint32_t *serving_word(const struct lock *l)
{
    return (const uint32_t *)(const void *)&l->tickets; /* the low half */
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the low half of a word comes first");

static uint32_t ticket_take(struct lock *l)
{
    return next_ticket(atomic_fetch_add(&l->tickets, (uint64_t)1 << 32));
}

static bool ticket_try(struct lock *l, uint32_t *ticket)
{
    uint64_t t = atomic_load(&l->tickets);
    *ticket = next_ticket(t);
    return next_ticket(t) == serving(t) &&
           atomic_compare_exchange_strong(&l->tickets, &t,
                                          t + ((uint64_t)1 << 32));
}

static void ticket_wait(struct lock *l, uint32_t ticket)
{
    int spins = net_local_cores() > net_local_ranks() ? SPINS : 1;
    for (;;) {
        uint32_t now = serving(atomic_load(&l->tickets));
        if (now == ticket) {
            return;
        }
        if (spins-- <= 0) {
            net_futex_wait_bits(serving_word(l), now,
                                (uint32_t)1 << ticket % 32);
        }
    }
}

/* Serves the next ticket. RECTO_ESTATE when nobody holds the lock. The low half
 * alone wraps: no carry may reach the tickets. */
static int ticket_serve(struct lock *l)
{
    uint64_t t = atomic_load(&l->tickets);
    uint64_t served;
    do {
        if (next_ticket(t) == serving(t)) {
            return RECTO_ESTATE;
        }
        served = (t & ~(uint64_t)UINT32_MAX) | (uint32_t)(serving(t) + 1);
    } while (!atomic_compare_exchange_weak(&l->tickets, &t, served));
    if (next_ticket(served) != serving(served)) {
        net_futex_wake_bits(serving_word(l),
                            (uint32_t)1 << serving(served) % 32);
    }
    return 0;
}

/* ---- the home's service thread ----------------------------------------------------- */

static struct waiter *waiter_at(uint32_t index)
{
    return &locks.waiters[index - 1];
}

static void waiter_add(struct lock *l, const struct net_msg *msg,
                       uint32_t ticket)
{
    uint32_t index = locks.free_waiters;
    if (index != 0) {
        locks.free_waiters = waiter_at(index)->next;
    } else if (locks.waiters_used < WAITERS) {
        index = ++locks.waiters_used;
    } else {
        base_fatal("more than %d threads of other machines wait for locks",
                   WAITERS);
    }
    *waiter_at(index) = (struct waiter){(uint32_t)msg->a, ticket, msg->source,
                                        locks.waiting, msg->b};
    locks.waiting = index;
    atomic_fetch_add(&l->remote, 1);
}

static void answer_send(int rank, uint64_t token, int code)
{
    struct net_msg msg = {.service = NET_SERVICE_SYNC,
                          .type = LOCK_ANSWER,
                          .a = (uint64_t)(int64_t)code,
                          .b = token};
    net_post(rank, &msg);
}

/* Answers the waiter whose ticket is served, if it is one of ours. */
static void waiters_check(uint32_t slot)
{
    struct lock *l = &locks.tables[net_rank()][slot];
    uint32_t now = serving(atomic_load(&l->tickets));
    for (uint32_t *at = &locks.waiting; *at != 0; at = &waiter_at(*at)->next) {
        struct waiter *w = waiter_at(*at);
        if (w->slot == slot && w->ticket == now) {
            uint32_t index = *at;
            *at = w->next;
            w->next = locks.free_waiters;
            locks.free_waiters = index;
            atomic_fetch_sub(&l->remote, 1);
            answer_send(w->rank, w->token, 0);
            return;
        }
    }
}

static void asked(const struct net_msg *msg)
{
    uint32_t slot = (uint32_t)msg->a;
    struct lock *l = &locks.tables[net_rank()][slot];
    uint32_t ticket = 0;
    if (atomic_load(&l->generation) != (uint32_t)msg->c) {
        answer_send(msg->source, msg->b, RECTO_ENOENT);
    } else if (msg->type == LOCK_ASK) {
        waiter_add(l, msg, ticket_take(l));
        waiters_check(slot);
    } else if (msg->type == LOCK_TRY) {
        answer_send(msg->source, msg->b,
                    ticket_try(l, &ticket) ? 0 : RECTO_EBUSY);
    } else {
        answer_send(msg->source, msg->b, ticket_serve(l));
        waiters_check(slot);
    }
}

static void receive(const struct net_msg *msg)
{
    if (msg->type == LOCK_ANSWER) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
        struct answer *a = (struct answer *)(uintptr_t)msg->b;
        a->code = (int32_t)(int64_t)msg->a;
        /* pairs with the acquire in remote_call; *a may be gone after it, so
         * the wake is on an address only */
        atomic_store_explicit(&a->come, 1, memory_order_release);
        net_futex_wake((const uint32_t *)&a->come, 1, false);
    } else if (msg->type == LOCK_SERVED) {
        waiters_check((uint32_t)msg->a);
    } else {
        asked(msg);
    }
}

/* ---- calls ------------------------------------------------------------------------ */

/* A signal handler that faulted between claim and publication of a message
 * would wait for itself (net/ring.h). */
static void post(int rank, const struct net_msg *msg)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    net_post(rank, msg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Asks the home on another machine and waits for its answer, however long the
 * lock is held: a rank that dies ends the job. */
static int remote_call(recto_lock_t l, enum lock_message type)
{
    struct answer a = {0};
    struct net_msg msg = {.service = NET_SERVICE_SYNC,
                          .type = (uint8_t)type,
                          .a = slot_of(l),
                          .b = (uintptr_t)&a,
                          .c = l.id >> 32};
    post(home_of(l), &msg);
    while (atomic_load_explicit(&a.come, memory_order_acquire) == 0) {
        net_futex_wait((const uint32_t *)&a.come, 0, 0, false);
    }
    return a.code;
}

/* The lock if its home shares memory with me; *remote tells when it does not.
 * NULL with a message otherwise. */
static struct lock *lock_find(recto_lock_t l, bool *remote)
{
    *remote = false;
    if (!locks.started || l.id >> 32 == 0 || slot_of(l) >= SLOTS) {
        absent(l);
        return NULL;
    }
    struct lock *table = locks.tables[home_of(l)];
    if (table == NULL) {
        *remote = true;
        return NULL;
    }
    if (atomic_load(&table[slot_of(l)].generation) != l.id >> 32) {
        absent(l);
        return NULL;
    }
    return &table[slot_of(l)];
}

static int remote_result(recto_lock_t l, int code)
{
    switch (code) {
    case RECTO_ENOENT: return absent(l);
    case RECTO_ESTATE:
        return base_error(code, "lock %lx is not held", (unsigned long)l.id);
    default: return code; /* RECTO_EBUSY is an answer, not an error */
    }
}

static int lock_take(recto_lock_t lock)
{
    bool remote = false;
    struct lock *l = lock_find(lock, &remote);
    if (remote) {
        return remote_result(lock, remote_call(lock, LOCK_ASK));
    }
    if (l == NULL) {
        return RECTO_ENOENT;
    }
    ticket_wait(l, ticket_take(l));
    return 0;
}

int recto_lock(recto_lock_t lock)
{
    int r = lock_take(lock);
    if (r == 0) {
        coherence_acquire();
    }
    return r;
}

static int lock_try(recto_lock_t lock)
{
    bool remote = false;
    uint32_t ticket = 0;
    struct lock *l = lock_find(lock, &remote);
    if (remote) {
        return remote_result(lock, remote_call(lock, LOCK_TRY));
    }
    if (l == NULL) {
        return RECTO_ENOENT;
    }
    return ticket_try(l, &ticket) ? 0 : RECTO_EBUSY;
}

int recto_trylock(recto_lock_t lock)
{
    int r = lock_try(lock);
    if (r == 0) {
        coherence_acquire();
    }
    return r;
}

int recto_unlock(recto_lock_t lock)
{
    bool remote = false;
    coherence_release();
    struct lock *l = lock_find(lock, &remote);
    if (remote) {
        return remote_result(lock, remote_call(lock, LOCK_GIVE));
    }
    if (l == NULL) {
        return RECTO_ENOENT;
    }
    int r = ticket_serve(l);
    if (r != 0) {
        return remote_result(lock, r);
    }
    if (atomic_load(&l->remote) > 0) {
        struct net_msg msg = {.service = NET_SERVICE_SYNC,
                              .type = LOCK_SERVED,
                              .a = slot_of(lock)};
        post(home_of(lock), &msg);
    }
    return 0;
}

/* ---- creation ------------------------------------------------------------------------ */

static struct lock *my_slot(recto_lock_t l)
{
    return home_of(l) == net_rank() ? &locks.tables[net_rank()][slot_of(l)]
                                    : NULL;
}

int recto_lock_create(recto_lock_t *lock)
{
    int r = !locks.started ? base_error(RECTO_ESTATE,
                                        "recto_lock_create before recto_init")
            : lock == NULL ? base_error(RECTO_EINVAL, "recto_lock_create(NULL)")
            : locks.unused_count == 0 &&
                    locks.next_index / (uint32_t)net_size() >= SLOTS
                ? base_error(RECTO_ENOMEM, "more than %u locks",
                             SLOTS * (unsigned)net_size())
                : 0;
    if (!locks.started) {
        return r;
    }
    r = net_agree(NET_CALL_LOCK_CREATE, r, "recto_lock_create()");
    if (r != 0) {
        return r;
    }
    uint32_t index = locks.unused_count > 0 ? locks.unused[--locks.unused_count]
                                            : locks.next_index++;
    recto_lock_t created = {(uint64_t)++locks.generation << 32 | index};
    struct lock *l = my_slot(created);
    if (l != NULL) {
        atomic_store(&l->tickets, 0);
        atomic_store(&l->remote, 0);
        atomic_store(&l->generation, locks.generation);
    }
    r = net_verdict(0); /* nobody uses it before its home made it */
    if (r == 0) {
        *lock = created;
    }
    return r;
}

int recto_lock_free(recto_lock_t *lock)
{
    char text[64];
    if (!locks.started) {
        return base_error(RECTO_ESTATE, "recto_lock_free before recto_init");
    }
    recto_lock_t l = lock != NULL ? *lock : (recto_lock_t){0};
    struct lock *mine = l.id >> 32 != 0 ? my_slot(l) : NULL;
    int r = l.id >> 32 == 0 || slot_of(l) >= SLOTS ? absent(l) : 0;
    snprintf(text, sizeof text, "recto_lock_free(%lx)", (unsigned long)l.id);
    if (r == 0 && mine != NULL) {
        uint64_t t = atomic_load(&mine->tickets);
        r = atomic_load(&mine->generation) != l.id >> 32 ? absent(l)
            : next_ticket(t) != serving(t)
                ? base_error(RECTO_EBUSY, "lock %lx is held",
                             (unsigned long)l.id)
                : 0;
    }
    r = net_agree(NET_CALL_LOCK_FREE, r, text);
    if (r != 0) {
        return r;
    }
    if (mine != NULL) {
        atomic_store(&mine->generation, 0);
    }
    uint32_t *more =
        realloc(locks.unused, (locks.unused_count + 1) * sizeof *locks.unused);
    r = net_verdict(more != NULL ? 0 : base_error(RECTO_ENOMEM, "lock list"));
    locks.unused = more != NULL ? more : locks.unused;
    if (r == 0) {
        locks.unused[locks.unused_count++] = (uint32_t)l.id;
        *lock = (recto_lock_t){0};
    }
    return r;
}

/* ---- life cycle ------------------------------------------------------------------------ */

static int table_map(int rank, const int *fds)
{
    int fd = locks.fd;
    void *view = NULL;
    int r = rank != net_rank() ? net_fd_open(rank, fds[rank], &fd) : 0;
    if (r == 0) {
        r = recto_vm_map(fd, 0, TABLE_BYTES, NULL, RECTO_VM_WRITE, &view);
        if (rank != net_rank()) {
            close(fd);
        }
    }
    locks.tables[rank] = view;
    return r;
}

int sync_init(void)
{
    int n = net_size();
    locks.tables = calloc((size_t)n, sizeof(struct lock *));
    int *fds = calloc((size_t)n, sizeof *fds);
    void *waiters = NULL;
    int r = locks.tables != NULL && fds != NULL
                ? recto_vm_memory_create("recto-locks", TABLE_BYTES, &locks.fd)
                : base_error(RECTO_ENOMEM, "lock tables");
    r = r == 0
            ? recto_vm_table_create(sizeof(struct waiter) * WAITERS, &waiters)
            : r;
    locks.waiters = waiters;
    r = net_verdict(r);
    r = r == 0 ? net_allgather(&locks.fd, sizeof locks.fd, fds) : r;
    for (int i = 0; r == 0 && i < n; i++) {
        r = net_shares(i) ? table_map(i, fds) : 0;
    }
    r = net_verdict(r);
    free(fds);
    net_service_receiver(NET_SERVICE_SYNC, receive);
    locks.started = r == 0;
    return r;
}

void sync_finalize(void)
{
    for (int i = 0; locks.tables != NULL && i < net_size(); i++) {
        if (locks.tables[i] != NULL) {
            recto_vm_unmap(locks.tables[i], TABLE_BYTES);
        }
    }
    if (locks.waiters != NULL) {
        recto_vm_unmap(locks.waiters, sizeof(struct waiter) * WAITERS);
    }
    if (locks.started) {
        close(locks.fd);
    }
    free(locks.tables);
    free(locks.unused);
    memset(&locks, 0, sizeof locks);
}
