/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cache of sequentially consistent pages: copies of other domains' pages are
 * given up; cache.h says how the clock's hands go, msi.h how a copy is evicted.
 *
 *   faulting thread                service thread
 *     | no room                      |
 *     |-- SHRINK ------------------->| front hand: Shared, Modified become aged
 *     | waits                        | back hand: what is still aged, and Invalid
 *     |                              |   pages whose memory is kept, become MI
 *     |                              |-- req_evict ---------------> home
 *     |                              |<------------- ack_evict ----|
 *     |                              | copies home, gives memory back
 *     |<----- room, or all ended ----|-- done -------------------->|
 *
 * An Invalid page stays in the ring until the back hand comes to it: pages that
 * go to and fro between writers keep their memory.
 *
 * Invariants
 * 1. Rights and hands are moved by the service thread alone, as every right to a
 *    sequential page. So a fault on an aged page costs a message to it (REVIVE).
 * 2. A page has MSI_COPY from the grant to the `done` of its eviction, and an entry
 *    in the ring as long as it is not in MI besides.
 * 3. `under_way` counts a segment's SHRINK, REVIVE and evictions; an eviction is
 *    counted before the SHRINK that begot it is done. Closed and 0 it stays 0 as
 *    long as no thread accesses the segment.
 * 4. A page in its hold time is not aged: progress rests on that (msi.h).
 */
#include <sched.h>

#include "base/base.h"
#include "coherence/msi.h"
#include "coherence/release.h"

/* All segments': a thread that waits for room sleeps on `ended`. */
static struct {
    struct msi_segment *first;  /* under `releasing` */
    _Atomic uint32_t under_way; /* SHRINK and evictions */
    _Atomic uint32_t ended;     /* of these, modulo 2^32; futex word */
    _Atomic uint32_t waiters;
    uint32_t evicting; /* pages in MI; the service thread's own */
} cache;

static uint64_t copies_of(const struct msi_segment *m)
{
    return atomic_load_explicit(&m->copies, memory_order_relaxed);
}

/* ---- life cycle ---------------------------------------------------------------------- */

void msi_cache_link(struct msi_segment *m)
{
    sigset_t before;
    rel_enter(&before);
    m->next = cache.first;
    cache.first = m;
    rel_leave(&before);
}

void msi_cache_unlink(struct msi_segment *m)
{
    sigset_t before;
    struct msi_segment **at = &cache.first;
    rel_enter(&before);
    while (*at != m) {
        at = &(*at)->next;
    }
    *at = m->next;
    rel_leave(&before);
    cache_count(CACHE_SEQUENTIAL, -(int64_t)copies_of(m));
}

void msi_cache_close(struct msi_segment *m)
{
    sigset_t before;
    uint64_t start = base_now();
    rel_enter(&before);
    m->closed = true;
    rel_leave(&before);
    /* pairs with the release in ended */
    while (atomic_load_explicit(&m->under_way, memory_order_acquire) > 0) {
        if (net_timeout() > 0 && base_now() - start > net_timeout()) {
            base_fatal("\"%s\": pages given up were not taken back by their "
                       "homes within %s; raise it if that rank is only slow",
                       m->s->name, base_env_name(BASE_ENV_TIMEOUT));
        }
        sched_yield();
    }
}

void msi_cache_open(struct msi_segment *m)
{
    sigset_t before;
    rel_enter(&before);
    m->closed = false;
    rel_leave(&before);
}

void msi_cache_forget(struct msi_segment *m,
                      bool (*leaves)(void *segment, uint64_t page))
{
    uint64_t gone = cache_ring_forget(&m->ring, leaves, m);
    cache_count(CACHE_SEQUENTIAL, -(int64_t)gone);
    atomic_fetch_sub_explicit(&m->copies, gone, memory_order_relaxed);
}

/* ---- what is under way ------------------------------------------------------------------ */

static void begun(struct msi_segment *m)
{
    atomic_fetch_add_explicit(&m->under_way, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache.under_way, 1, memory_order_relaxed);
}

static void ended(struct msi_segment *m)
{
    atomic_fetch_sub_explicit(&cache.under_way, 1, memory_order_relaxed);
    /* a thread counts itself among the waiters, then looks; and we the reverse */
    atomic_fetch_add_explicit(&cache.ended, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&cache.waiters, memory_order_seq_cst) > 0) {
        net_futex_wake((const uint32_t *)&cache.ended, INT32_MAX, false);
    }
    /* pairs with the acquire in msi_cache_close; m may be gone afterwards */
    atomic_fetch_sub_explicit(&m->under_way, 1, memory_order_release);
}

/* The segment with most copies gives them. */
void msi_cache_shrink(void)
{
    struct msi_segment *most = NULL;
    for (struct msi_segment *m = cache.first; m != NULL; m = m->next) {
        if (!m->closed && copies_of(m) > 0 &&
            (most == NULL || copies_of(m) > copies_of(most))) {
            most = m;
        }
    }
    if (most != NULL && atomic_exchange_explicit(&most->shrinking, 1,
                                                 memory_order_relaxed) == 0) {
        begun(most);
        msi_post(most, net_rank(), MSI_SHRINK, 0, 0);
    }
}

void msi_cache_wait(int64_t more)
{
    atomic_fetch_add_explicit(&cache.waiters, 1, memory_order_seq_cst);
    uint32_t start = atomic_load_explicit(&cache.ended, memory_order_seq_cst);
    uint32_t most =
        atomic_load_explicit(&cache.under_way, memory_order_relaxed) +
        (uint32_t)cache_step();
    uint32_t now = start;
    while (cache_full(more) && now - start < most &&
           atomic_load_explicit(&cache.under_way, memory_order_relaxed) > 0) {
        if (net_futex_wait((const uint32_t *)&cache.ended, now, net_timeout(),
                           false) != 0) {
            base_fatal("pages given up were not taken back by their homes "
                       "within %s; raise it if that rank is only slow",
                       base_env_name(BASE_ENV_TIMEOUT));
        }
        now = atomic_load_explicit(&cache.ended, memory_order_seq_cst);
    }
    atomic_fetch_sub_explicit(&cache.waiters, 1, memory_order_relaxed);
}

void msi_cache_revive(struct msi_segment *m, uint64_t page)
{
    atomic_fetch_add_explicit(&m->under_way, 1, memory_order_relaxed);
    msi_post(m, net_rank(), MSI_REVIVE, page, 0);
}

/* ---- the service thread -------------------------------------------------------------------- */

void msi_cache_add(struct msi_segment *m, uint64_t page)
{
    cache_count(CACHE_SEQUENTIAL, 1);
    atomic_fetch_add_explicit(&m->copies, 1, memory_order_relaxed);
    cache_ring_put(&m->ring, &page, 1);
}

void msi_cache_gone(struct msi_segment *m)
{
    cache_count(CACHE_SEQUENTIAL, -1);
    atomic_fetch_sub_explicit(&m->copies, 1, memory_order_relaxed);
    cache.evicting--;
    atomic_fetch_add_explicit(&msi_counts.evictions, 1, memory_order_relaxed);
    ended(m);
}

/* Under the front hand; false if it has to wait here. The word says so first: no
 * thread asks for more than the page's state while its right goes. */
static bool age(struct msi_segment *m, uint64_t page)
{
    _Atomic uint32_t *at = &m->pages[page];
    uint32_t word = atomic_load_explicit(at, memory_order_acquire);
    enum msi_state state = msi_state_of(word);
    if (state != MSI_SHARED && state != MSI_MODIFIED) {
        return true;
    }
    if (msi_page_held(word)) {
        return false;
    }
    if (atomic_compare_exchange_strong_explicit(at, &word, word | MSI_AGED,
                                                memory_order_acq_rel,
                                                memory_order_relaxed)) {
        msi_page_lower(m, page);
    }
    return true;
}

/* Under the back hand; false if the page is in use. */
static bool evict(struct msi_segment *m, uint64_t page)
{
    _Atomic uint32_t *at = &m->pages[page];
    uint32_t word = atomic_load_explicit(at, memory_order_acquire);
    bool idle = (word & (MSI_AGED | MSI_WANTED)) == MSI_AGED ||
                msi_state_of(word) == MSI_INVALID;
    uint32_t next =
        (word & ~(uint32_t)(MSI_STATE_MASK | MSI_AGED)) | (uint32_t)MSI_MI;
    if (!idle ||
        !atomic_compare_exchange_strong_explicit(
            at, &word, next, memory_order_acq_rel, memory_order_relaxed)) {
        return false;
    }
    cache.evicting++;
    begun(m);
    msi_post(m, space_home(m->s, page), MSI_REQ_EVICT, page, 0);
    return true;
}

/* Moves the front hand until enough pages lie between the hands. */
static void front_move(struct msi_segment *m)
{
    struct cache_ring *ring = &m->ring;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t ahead = cache_ring_ahead(ring);
    while (ring->front < tail && ring->front - ring->back < ahead &&
           age(m, cache_ring_get(ring, ring->front, false))) {
        ring->front++;
    }
}

/* Is there too little room for a step, evictions under way done? */
static bool wanting(void)
{
    return cache_full(cache_step() - (int64_t)cache.evicting);
}

/* Twice around suffices: then what was not accessed meanwhile is gone. */
static void shrink(struct msi_segment *m)
{
    struct cache_ring *ring = &m->ring;
    for (uint64_t i = 2 * cache_ring_count(ring); i > 0 && wanting(); i--) {
        front_move(m);
        if (ring->back == ring->front) {
            break; /* all are in their hold time */
        }
        uint64_t page = cache_ring_get(ring, ring->back++, true);
        if (!evict(m, page)) {
            cache_ring_put(ring, &page, 1);
        }
    }
}

/* Comes late when the page was lost or evicted meanwhile. */
static void revive(struct msi_segment *m, uint64_t page)
{
    _Atomic uint32_t *at = &m->pages[page];
    uint32_t word = atomic_load_explicit(at, memory_order_acquire);
    if ((word & MSI_AGED) == 0) {
        return;
    }
    msi_page_raise(m, page, msi_state_of(word));
    word = atomic_fetch_and_explicit(
        at, ~(uint32_t)(MSI_AGED | MSI_WANTED | MSI_WAITERS),
        memory_order_acq_rel);
    if (word & MSI_WAITERS) {
        net_futex_wake((const uint32_t *)at, INT32_MAX, false);
    }
}

void msi_cache_receive(struct msi_segment *m, const struct net_msg *msg)
{
    if (msg->type == MSI_SHRINK) {
        /* one that comes from now on sees what we leave */
        atomic_store_explicit(&m->shrinking, 0, memory_order_relaxed);
        shrink(m);
        ended(m);
    } else {
        revive(m, msg->a);
        /* pairs with the acquire in msi_cache_close */
        atomic_fetch_sub_explicit(&m->under_way, 1, memory_order_release);
    }
}
