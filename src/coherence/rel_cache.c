/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cache of release consistent pages; cache.h says how its hands go.
 *
 * The front hand sends home what was written before it takes a page's rights.
 *
 * Invariants
 * 1. A page has one entry in the ring exactly while it has the flag HELD, which
 *    changes under its lock.
 * 2. Hands move under `releasing`.
 * 3. Memory of a page goes when no rank of the domain holds it.
 */
#include "base/base.h"
#include "coherence/release.h"

enum {
    CHUNK = 64 /* pages that enter the ring at once */
};

/* Flags of a page change under its lock only. */
static bool hold(struct rel_segment *m, uint64_t page)
{
    uint8_t flags = atomic_load_explicit(&m->flags[page], memory_order_relaxed);
    /* release: pairs with the look at REL_AGED in release.c */
    atomic_store_explicit(&m->flags[page],
                          (uint8_t)((flags | REL_HELD) & ~REL_AGED),
                          memory_order_release);
    if (flags & REL_HELD) {
        return false;
    }
    atomic_fetch_add_explicit(&m->words[page], REL_HOLDER,
                              memory_order_relaxed);
    return true;
}

void rel_cache_add(struct rel_segment *m, uint64_t first, uint64_t count)
{
    uint64_t pages[CHUNK]; /* in a fault handler: a small frame */
    for (uint64_t p = first; p < first + count;) {
        uint64_t added = 0;
        for (; p < first + count && added < CHUNK; p++) {
            if (hold(m, p)) {
                pages[added++] = p;
            }
        }
        if (added > 0) {
            cache_count(CACHE_RELEASE, (int64_t)added);
            cache_ring_put(&m->ring, pages, added);
        }
    }
}

static void discard(struct rel_segment *m, const char *at, uint64_t page)
{
    uint64_t offset = (uint64_t)(at - space_verso(m->s, 0));
    rel_check_code(m, page,
                   recto_vm_memory_discard(m->s->fd, offset, SPACE_PAGE));
}

/* Under the page's lock: this rank does not hold it any more. */
static void unhold(struct rel_segment *m, uint64_t page)
{
    atomic_fetch_and_explicit(&m->flags[page],
                              (uint8_t) ~(REL_HELD | REL_AGED | REL_LEAVES),
                              memory_order_relaxed);
    uint32_t word = atomic_fetch_sub_explicit(&m->words[page], REL_HOLDER,
                                              memory_order_relaxed);
    if (word / REL_HOLDER != 1) {
        return;
    }
    discard(m, space_verso(m->s, page), page);
    if (word & REL_TWINNED) {
        discard(m, m->twins + page * SPACE_PAGE, page);
        atomic_fetch_and_explicit(&m->words[page], ~(uint32_t)REL_TWINNED,
                                  memory_order_relaxed);
    }
}

/* Gives up a page if it was not accessed since it was aged; false otherwise. */
static bool give_up(struct rel_segment *m, uint64_t page)
{
    rel_lock(m, page);
    bool idle = recto_vm_right_of(m->s->range, page) == RECTO_VM_NONE;
    if (idle) {
        unhold(m, page);
    }
    rel_unlock(m, page);
    return idle;
}

/* Moves the front hand until enough pages lie between the hands. */
static void front_move(struct rel_segment *m)
{
    struct rel_batch *b = &rel.batch;
    struct cache_ring *ring = &m->ring;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t ahead = cache_ring_ahead(ring);
    b->m = m;
    b->count = 0;
    while (ring->front < tail && ring->front - ring->back < ahead) {
        b->pages[b->count++] = cache_ring_get(ring, ring->front++, false);
        if (b->count == REL_BATCH) {
            rel_flush(b, REL_AGE, false);
        }
    }
    rel_flush(b, REL_AGE, false);
}

/* Moves the back hand by a step. */
static void back_move(struct rel_segment *m)
{
    struct cache_ring *ring = &m->ring;
    uint64_t gone = 0;
    for (int64_t i = 0; i < cache_step() && ring->back < ring->front; i++) {
        uint64_t page = cache_ring_get(ring, ring->back++, true);
        if (give_up(m, page)) {
            gone++;
        } else {
            cache_ring_put(ring, &page, 1);
        }
    }
    cache_count(CACHE_RELEASE, -(int64_t)gone);
    rel_count(&rel_counts.evictions, gone);
}

void rel_cache_shrink(void)
{
    /* enough for what one fault brings, when nobody else faults */
    int64_t most = 2 + 2 * (int64_t)cache_transfer() / cache_step();
    for (int64_t i = 0; i < most && cache_full(cache_step()); i++) {
        for (struct rel_segment *m = rel.first;
             m != NULL && cache_full(cache_step()); m = m->next) {
            front_move(m);
            back_move(m);
        }
    }
}

static bool leave(void *segment, uint64_t page)
{
    struct rel_segment *m = segment;
    rel_lock(m, page);
    bool leaves = (atomic_load_explicit(&m->flags[page], memory_order_relaxed) &
                   REL_LEAVES) != 0;
    if (leaves) {
        unhold(m, page);
    }
    rel_unlock(m, page);
    return leaves;
}

void rel_cache_forget(struct rel_segment *m)
{
    cache_count(CACHE_RELEASE, -(int64_t)cache_ring_forget(&m->ring, leave, m));
}
