/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy on write for a snapshot of home pages.
 *
 * The set `needed` of a segment and domain holds the pages whose contents of the stop
 * are nowhere but in the page. It lies behind the domain's marks, with locks, so that
 * every rank that can reach the page can reach it.
 *
 *   who writes to the page               the home's writer thread
 *     needed? no: write                    lock; needed? copy to its file buffer,
 *     a place in the home's ring             take from needed; unlock
 *     lock; needed? copy there,            not needed: the ring has it, or had it
 *       take from needed; unlock
 *     the place is full, or void
 *
 * Invariants
 * 1. A page is taken from `needed` after its copy is complete, under its lock. So who
 *    finds it not needed may write at once, and its contents are copied once.
 * 2. A page that was written since the stop is not needed: who stores into it, or is
 *    given the right to, has passed space_before_write.
 * 3. Places of a ring are given in the order of tickets and emptied in that order; a
 *    place whose page turned out to be saved already is void, but emptied like others.
 * 4. Nobody waits for a place with a lock held, and a holder of a lock waits for
 *    nothing; neither is interrupted by a signal. So the writer thread always comes on.
 * 5. The writer thread waits for a place that is being filled, by a thread that does
 *    nothing but copy a page.
 * 6. When the snapshot is over, or given up, no page is needed, and who waits for a
 *    place goes on without.
 */
#include "space/snapshot.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/set.h"
#include "net/net.h"
#include "space/space.h"
#include "space/touch.h"

enum {
    LOCKS = 256, /* of a segment and domain */
    LINE = 64,
    SPINS = 200,
    NAP_FIRST = 2000, /* ns */
    NAP_LAST = 200000,
    SLOTS_LEAST = 16
};

/* A place of a ring. */
struct slot {
    _Atomic uint64_t full; /* its ticket + 1 when the page is there */
    uint64_t page;
    uint32_t segment;
    bool none; /* void */
};

/* In the memory of each rank; `slots` of them, and as many pages, follow. */
struct ring {
    _Alignas(LINE) _Atomic uint64_t tail; /* tickets given */
    _Alignas(LINE) _Atomic uint64_t head; /* places emptied */
    _Atomic uint32_t waiters;
};

atomic_bool space_snapshot_on;

static struct {
    struct net_memory memory;
    uint64_t slots; /* of each ring; 0: there are none */
} rings;

/* ---- rings -------------------------------------------------------------------------- */

static size_t slots_at(void)
{
    return (sizeof(struct ring) + LINE - 1) / LINE * LINE;
}

static size_t pages_at(uint64_t slots)
{
    size_t end = slots_at() + slots * sizeof(struct slot);
    return (end + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
}

static struct ring *ring_of(int rank)
{
    return rings.memory.views[rank];
}

static struct slot *slot_at(struct ring *ring, uint64_t ticket)
{
    return (struct slot *)(void *)((char *)ring + slots_at()) +
           ticket % rings.slots;
}

static char *page_at(struct ring *ring, uint64_t ticket)
{
    return (char *)ring + pages_at(rings.slots) +
           ticket % rings.slots * SPACE_PAGE;
}

int space_snapshot_create(uint64_t bytes)
{
    if (rings.slots > 0) {
        return 0;
    }
    uint64_t slots = bytes / SPACE_PAGE;
    slots = slots > SLOTS_LEAST ? slots : SLOTS_LEAST;
    int r = net_memory_create(&rings.memory, "recto-snapshot",
                              pages_at(slots) + slots * SPACE_PAGE);
    if (r == 0) {
        rings.slots = slots;
    } else {
        net_memory_free(&rings.memory);
    }
    return r;
}

void space_snapshot_destroy(void)
{
    if (rings.slots > 0) {
        net_memory_free(&rings.memory);
        rings.slots = 0;
    }
}

/* ---- what a domain's memory holds ------------------------------------------------- */

static uint64_t locks_at(const struct space_segment *s)
{
    return (base_set_bytes(s->pages) + LINE - 1) / LINE * LINE;
}

uint64_t space_snapshot_bytes(const struct space_segment *s)
{
    return locks_at(s) + LOCKS * sizeof(uint32_t);
}

static char *memory_of(const struct space_segment *s, int domain)
{
    return s->versos[domain] + space_snapshot_offset(s);
}

static struct base_set needed_of(const struct space_segment *s, int domain)
{
    struct base_set needed;
    base_set_place(&needed, memory_of(s, domain), s->pages);
    return needed;
}

static _Atomic uint32_t *lock_of(const struct space_segment *s, int domain,
                                 uint64_t page)
{
    _Atomic uint32_t *locks =
        (_Atomic uint32_t *)(void *)(memory_of(s, domain) + locks_at(s));
    return &locks[(page ^ page >> 8) % LOCKS];
}

/* ---- waiting ------------------------------------------------------------------------ */

/* A little, longer with each try. Async-signal-safe. */
static void pause_some(unsigned *tries)
{
    if (++*tries < SPINS) {
        return;
    }
    long ns = NAP_FIRST;
    for (unsigned i = SPINS; i < *tries && ns < NAP_LAST; i++) {
        ns *= 2;
    }
    struct timespec nap = {0, ns};
    (void)nanosleep(&nap, NULL);
}

static void block(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

static void restore(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void lock(_Atomic uint32_t *l)
{
    unsigned tries = 0;
    while (atomic_exchange_explicit(l, 1, memory_order_acquire) != 0) {
        pause_some(&tries);
    }
}

static void unlock(_Atomic uint32_t *l)
{
    atomic_store_explicit(l, 0, memory_order_release);
}

/* A place in the ring; false: the snapshot ended while it was waited for. */
static bool place_take(struct ring *ring, uint64_t *ticket)
{
    uint64_t t = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    unsigned tries = 0;
    bool waits = false;
    bool got = false;
    while (!got &&
           atomic_load_explicit(&space_snapshot_on, memory_order_acquire)) {
        /* acquire: the writer thread has read the place before it moved head */
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (t - head < rings.slots) {
            got = atomic_compare_exchange_weak_explicit(&ring->tail, &t, t + 1,
                                                        memory_order_relaxed,
                                                        memory_order_relaxed);
            continue;
        }
        if (!waits) {
            waits = true;
            atomic_fetch_add_explicit(&ring->waiters, 1, memory_order_relaxed);
        }
        pause_some(&tries);
        t = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    }
    if (waits) {
        atomic_fetch_sub_explicit(&ring->waiters, 1, memory_order_relaxed);
    }
    *ticket = t;
    return got;
}

/* ---- the stop ------------------------------------------------------------------------ */

void space_snapshot_add(const struct space_segment *s, uint64_t first,
                        uint64_t count)
{
    struct base_set needed = needed_of(s, net_domain());
    base_set_add_run(&needed, first, first + count);
}

void space_snapshot_drop(const struct space_segment *s, uint64_t first,
                         uint64_t count)
{
    struct base_set needed = needed_of(s, net_domain());
    base_set_take_run(&needed, first, first + count);
}

void space_snapshot_begin(void)
{
    uint32_t segment = 0;
    uint64_t page = 0;
    const char *data = NULL;
    /* what came too late for the last one */
    while (space_snapshot_pop(&segment, &page, &data)) {
        space_snapshot_free();
    }
    /* release: pairs with space_before_write_at */
    atomic_store_explicit(&space_snapshot_on, true, memory_order_release);
}

bool space_snapshot_needs(const struct space_segment *s)
{
    struct base_set needed = needed_of(s, net_domain());
    uint64_t page = 0;
    return base_set_next(&needed, 0, &page);
}

int space_snapshot_shut(struct space_segment *s)
{
    return recto_vm_dirty_shut(s->range);
}

void space_snapshot_open(struct space_segment *s)
{
    recto_vm_dirty_open(s->range);
}

void space_snapshot_end(void)
{
    atomic_store_explicit(&space_snapshot_on, false, memory_order_release);
    /* the places' memory goes; who comes too late writes into new one */
    (void)recto_vm_memory_discard(rings.memory.fd, pages_at(rings.slots),
                                  rings.slots * SPACE_PAGE);
}

/* ---- the writer thread ----------------------------------------------------------------- */

bool space_snapshot_take(const struct space_segment *s, uint64_t page, void *to)
{
    struct base_set needed = needed_of(s, net_domain());
    sigset_t before;
    if (!base_set_has(&needed, page)) {
        return false;
    }
    _Atomic uint32_t *l = lock_of(s, net_domain(), page);
    block(&before);
    lock(l);
    bool mine = base_set_has(&needed, page);
    if (mine) {
        memcpy(to, space_verso(s, page), SPACE_PAGE);
        base_set_take_run(&needed, page, page + 1);
    }
    unlock(l);
    restore(&before);
    return mine;
}

bool space_snapshot_pop(uint32_t *segment, uint64_t *page, const char **data)
{
    struct ring *ring = ring_of(net_rank());
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    while (head != atomic_load_explicit(&ring->tail, memory_order_relaxed)) {
        struct slot *slot = slot_at(ring, head);
        unsigned tries = 0;
        /* acquire: pairs with space_snapshot_save */
        while (atomic_load_explicit(&slot->full, memory_order_acquire) !=
               head + 1) {
            pause_some(&tries);
        }
        if (!slot->none) {
            *segment = slot->segment;
            *page = slot->page;
            *data = page_at(ring, head);
            return true;
        }
        space_snapshot_free();
        head++;
    }
    return false;
}

void space_snapshot_free(void)
{
    struct ring *ring = ring_of(net_rank());
    /* release: pairs with place_take */
    atomic_fetch_add_explicit(&ring->head, 1, memory_order_release);
}

bool space_snapshot_presses(void)
{
    struct ring *ring = ring_of(net_rank());
    uint64_t used = atomic_load_explicit(&ring->tail, memory_order_relaxed) -
                    atomic_load_explicit(&ring->head, memory_order_relaxed);
    return used > rings.slots / 2 ||
           atomic_load_explicit(&ring->waiters, memory_order_relaxed) > 0;
}

/* ---- those who write ------------------------------------------------------------------- */

/* Under way from the ticket to the full place nothing interrupts the thread: a handler
 * of the program's that came here would wait for a place behind its own. */
static void save(const struct space_segment *s, uint64_t page, int domain,
                 struct ring *ring, uint64_t ticket)
{
    struct base_set needed = needed_of(s, domain);
    struct slot *slot = slot_at(ring, ticket);
    _Atomic uint32_t *l = lock_of(s, domain, page);
    lock(l);
    slot->none = !base_set_has(&needed, page);
    if (!slot->none) {
        memcpy(page_at(ring, ticket), s->versos[domain] + page * SPACE_PAGE,
               SPACE_PAGE);
        base_set_take_run(&needed, page, page + 1);
    }
    unlock(l);
    slot->segment = s->id;
    slot->page = page;
    /* release: pairs with space_snapshot_pop */
    atomic_store_explicit(&slot->full, ticket + 1, memory_order_release);
}

void space_snapshot_save(const struct space_segment *s, uint64_t page, int home)
{
    int domain = net_domain_of(home);
    struct base_set needed = needed_of(s, domain);
    sigset_t before;
    uint64_t ticket = 0;
    if (!base_set_has(&needed, page)) {
        return;
    }
    block(&before);
    if (place_take(ring_of(home), &ticket)) {
        save(s, page, domain, ring_of(home), ticket);
    }
    restore(&before);
}

void space_before_write(const struct space_segment *s, uint64_t page)
{
    if (atomic_load_explicit(&space_snapshot_on, memory_order_acquire)) {
        int home = space_home(s, page);
        if (net_shares(home)) {
            space_snapshot_save(s, page, home);
        }
    }
}

void space_before_writes(uint64_t first, uint64_t count, void *segment)
{
    const struct space_segment *s = segment;
    if (!atomic_load_explicit(&space_snapshot_on, memory_order_acquire)) {
        return;
    }
    for (uint64_t page = first; page < first + count; page++) {
        int home = space_home(s, page);
        if (net_domain_of(home) == net_domain()) {
            space_snapshot_save(s, page, home);
        }
    }
}

/* ---- changes of segments --------------------------------------------------------------- */

static void (*landing)(void);

void space_landing_set(void (*land)(void))
{
    landing = land;
}

void space_land(void)
{
    if (landing != NULL) {
        landing();
    }
}
