/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bound on copies of other domains' pages: CLOCK with two hands (S. J.
 * Leffler et al., The Design and Implementation of the 4.3BSD UNIX Operating
 * System, 1989), with faults for reference bits (O. Babaoglu and W. Joy,
 * SOSP'81). Each segment has a ring of the pages held, in the order of their
 * coming:
 *
 *     back hand              front hand                        tail
 *        | aged: rights taken    | as the program left them       | new
 *
 * The front hand sends home what was written and takes all rights; the copy
 * stays valid and the next access gets it back by a fault without a fetch. The
 * back hand gives up pages that were not accessed since, and puts the others at
 * the tail. New pages are at the tail, so a thread's last faults are safe while
 * the cache holds some pages per thread.
 *
 * Invariants
 * 1. A page has one entry in the ring exactly while it has the flag HELD, which
 *    changes under its lock.
 * 2. Hands move under `releasing`.
 * 3. Memory of a page goes when no rank of the domain holds it.
 */
#include <sched.h>

#include "base/base.h"
#include "coherence/release.h"

enum {
    LEAST_PAGES = 64,
    STEP = 64,    /* pages given up at a time, at most */
    FRACTION = 4, /* of a ring that is aged */
    SHARES = 4    /* of memory: what all ranks of a machine may hold */
};

int rel_cache_init(void)
{
    uint64_t bytes = 0;
    int r = base_env_bytes(BASE_ENV_CACHE, &bytes);
    if (r == 0 && bytes == 0) {
        bytes = space_machine_bytes() / SHARES / (uint64_t)net_local_ranks();
    } else if (r == 0 && bytes < (uint64_t)LEAST_PAGES * SPACE_PAGE) {
        r = base_error(RECTO_EINVAL, "%s: 0, or at least %d bytes",
                       base_env_name(BASE_ENV_CACHE), LEAST_PAGES * SPACE_PAGE);
    }
    rel.cache_pages = bytes / SPACE_PAGE;
    return r;
}

uint64_t rel_cache_transfer(void)
{
    uint64_t part = rel.cache_pages / 16;
    return part < REL_TRANSFER ? part : REL_TRANSFER;
}

static void ring_put(struct rel_segment *m, const uint64_t *pages,
                     uint64_t count)
{
    uint64_t at =
        atomic_fetch_add_explicit(&m->ring_tail, count, memory_order_relaxed);
    for (uint64_t i = 0; i < count; i++) {
        /* pairs with the acquire in ring_get */
        atomic_store_explicit(&m->ring[(at + i) % m->s->pages], pages[i] + 1,
                              memory_order_release);
    }
}

/* The entry at a position below the tail; its writer is at most a few
 * instructions away. */
static uint64_t ring_get(struct rel_segment *m, uint64_t at, bool take)
{
    _Atomic uint64_t *slot = &m->ring[at % m->s->pages];
    uint64_t page = 0;
    while ((page = atomic_load_explicit(slot, memory_order_acquire)) == 0) {
        sched_yield();
    }
    if (take) {
        atomic_store_explicit(slot, 0, memory_order_relaxed);
    }
    return page - 1;
}

/* Flags of a page change under its lock only. */
static bool hold(struct rel_segment *m, uint64_t page)
{
    uint8_t flags = atomic_load_explicit(&m->flags[page], memory_order_relaxed);
    atomic_store_explicit(&m->flags[page],
                          (uint8_t)((flags | REL_HELD) & ~REL_AGED),
                          memory_order_relaxed);
    if (flags & REL_HELD) {
        return false;
    }
    atomic_fetch_add_explicit(&m->words[page], REL_HOLDER,
                              memory_order_relaxed);
    return true;
}

void rel_cache_add(struct rel_segment *m, uint64_t first, uint64_t count)
{
    uint64_t pages[STEP]; /* in a fault handler: a small frame */
    for (uint64_t p = first; p < first + count;) {
        uint64_t added = 0;
        for (; p < first + count && added < STEP; p++) {
            if (hold(m, p)) {
                pages[added++] = p;
            }
        }
        if (added > 0) {
            atomic_fetch_add_explicit(&rel.held, added, memory_order_relaxed);
            ring_put(m, pages, added);
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

/* Moves the front hand until `ahead` pages lie between the hands. */
static void front_move(struct rel_segment *m, uint64_t tail, uint64_t ahead)
{
    struct rel_batch *b = &rel.batch;
    b->m = m;
    b->count = 0;
    while (m->ring_front < tail && m->ring_front - m->ring_back < ahead) {
        b->pages[b->count++] = ring_get(m, m->ring_front++, false);
        if (b->count == REL_BATCH) {
            rel_flush(b, REL_AGE, false);
        }
    }
    rel_flush(b, REL_AGE, false);
}

/* Moves the back hand over at most STEP pages; returns how many went. */
static uint64_t back_move(struct rel_segment *m)
{
    uint64_t gone = 0;
    for (int i = 0; i < STEP && m->ring_back < m->ring_front; i++) {
        uint64_t page = ring_get(m, m->ring_back++, true);
        if (give_up(m, page)) {
            gone++;
        } else {
            ring_put(m, &page, 1);
        }
    }
    atomic_fetch_sub_explicit(&rel.held, gone, memory_order_relaxed);
    rel_count(&rel_counts.evictions, gone);
    return gone;
}

static bool full(uint64_t room)
{
    return atomic_load_explicit(&rel.held, memory_order_relaxed) + room >
           rel.cache_pages;
}

void rel_cache_shrink(void)
{
    if (!full(0)) {
        return;
    }
    uint64_t room = rel.cache_pages / 8 < STEP ? rel.cache_pages / 8 : STEP;
    sigset_t before;
    rel_enter(&before);
    /* twice around suffices when nobody else faults; more is their turn */
    for (int turns = 0; turns < 2 && full(room); turns++) {
        for (struct rel_segment *m = rel.first; m != NULL && full(room);
             m = m->next) {
            uint64_t tail =
                atomic_load_explicit(&m->ring_tail, memory_order_acquire);
            uint64_t ahead = (tail - m->ring_back) / FRACTION + STEP;
            front_move(m, tail, ahead);
            back_move(m);
        }
    }
    rel_leave(&before);
}

/* Goes once around the ring; the others keep their order, and those that are aged
 * stay before the front hand. */
void rel_cache_forget(struct rel_segment *m)
{
    uint64_t tail = atomic_load_explicit(&m->ring_tail, memory_order_acquire);
    uint64_t aged = 0;
    uint64_t gone = 0;
    for (uint64_t at = m->ring_back; at < tail; at++) {
        uint64_t page = ring_get(m, at, true);
        rel_lock(m, page);
        bool leaves =
            (atomic_load_explicit(&m->flags[page], memory_order_relaxed) &
             REL_LEAVES) != 0;
        if (leaves) {
            unhold(m, page);
            gone++;
        }
        rel_unlock(m, page);
        if (!leaves) {
            ring_put(m, &page, 1);
            aged += at < m->ring_front;
        }
    }
    m->ring_back = tail;
    m->ring_front = tail + aged;
    atomic_fetch_sub_explicit(&rel.held, gone, memory_order_relaxed);
}
