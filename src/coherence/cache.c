/* SPDX-License-Identifier: BSD-3-Clause */
/* Count, policy and rings of cache.h. */
#include "coherence/cache.h"

#include <sched.h>

#include "base/base.h"
#include "coherence/msi.h"
#include "coherence/release.h"

enum {
    STEP = 64,     /* pages given up at a time, at most */
    STEP_PART = 8, /* and of the bound */
    FRACTION = 4,  /* of a ring that is aged */
    SHARES = 4     /* of memory: what all ranks of a machine may hold */
};

static uint64_t bound;                    /* pages */
static _Atomic int64_t held[CACHE_KINDS]; /* pages */

static int64_t held_of(enum cache_kind kind)
{
    return atomic_load_explicit(&held[kind], memory_order_relaxed);
}

int cache_init(void)
{
    uint64_t bytes = 0;
    int r = base_env_bytes(BASE_ENV_CACHE, &bytes);
    if (r == 0 && bytes == 0) {
        bytes = space_machine_bytes() / SHARES / (uint64_t)net_local_ranks();
    }
    bound = bytes / SPACE_PAGE;
    for (int i = 0; i < CACHE_KINDS; i++) {
        atomic_store_explicit(&held[i], 0, memory_order_relaxed);
    }
    return r;
}

void cache_count(enum cache_kind kind, int64_t by)
{
    atomic_fetch_add_explicit(&held[kind], by, memory_order_relaxed);
}

bool cache_full(int64_t more)
{
    return held_of(CACHE_RELEASE) + held_of(CACHE_SEQUENTIAL) + more >
           (int64_t)bound;
}

int64_t cache_step(void)
{
    return bound / STEP_PART < STEP ? (int64_t)(bound / STEP_PART) : STEP;
}

uint64_t cache_transfer(void)
{
    uint64_t part = bound / 16;
    return part < REL_TRANSFER ? part : REL_TRANSFER;
}

static void released_shrink(void)
{
    sigset_t before;
    rel_enter(&before);
    rel_cache_shrink();
    rel_leave(&before);
}

static void sequential_shrink(int64_t more)
{
    sigset_t before;
    rel_enter(&before);
    msi_cache_shrink();
    rel_leave(&before);
    msi_cache_wait(more);
}

void cache_shrink(int64_t more)
{
    /* giving up may need MPI, which this thread may keep from the service
     * thread; a later fault makes up for it */
    if (!cache_full(more) || net_mpi_inside()) {
        return;
    }
    bool first = held_of(CACHE_RELEASE) > held_of(CACHE_SEQUENTIAL);
    if (first) {
        released_shrink();
    }
    if (cache_full(more)) {
        sequential_shrink(more);
    }
    if (!first && cache_full(more)) {
        released_shrink();
    }
}

/* ---- rings -------------------------------------------------------------------------- */

int cache_ring_create(struct cache_ring *ring, uint64_t pages)
{
    void *entries = NULL;
    int r = recto_vm_table_create(pages * sizeof(uint64_t), &entries);
    *ring = (struct cache_ring){.entries = entries, .room = pages};
    return r;
}

void cache_ring_free(struct cache_ring *ring)
{
    if (ring->entries != NULL) {
        recto_vm_unmap((void *)ring->entries, ring->room * sizeof(uint64_t));
    }
    ring->entries = NULL;
}

void cache_ring_put(struct cache_ring *ring, const uint64_t *pages,
                    uint64_t count)
{
    uint64_t at =
        atomic_fetch_add_explicit(&ring->tail, count, memory_order_relaxed);
    for (uint64_t i = 0; i < count; i++) {
        /* pairs with the acquire in cache_ring_get */
        atomic_store_explicit(&ring->entries[(at + i) % ring->room],
                              pages[i] + 1, memory_order_release);
    }
}

/* The entry's writer is at most a few instructions away. */
uint64_t cache_ring_get(struct cache_ring *ring, uint64_t at, bool take)
{
    _Atomic uint64_t *slot = &ring->entries[at % ring->room];
    uint64_t page = 0;
    while ((page = atomic_load_explicit(slot, memory_order_acquire)) == 0) {
        sched_yield();
    }
    if (take) {
        atomic_store_explicit(slot, 0, memory_order_relaxed);
    }
    return page - 1;
}

uint64_t cache_ring_forget(struct cache_ring *ring,
                           bool (*leaves)(void *segment, uint64_t page),
                           void *segment)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t aged = 0;
    uint64_t gone = 0;
    for (uint64_t at = ring->back; at < tail; at++) {
        uint64_t page = cache_ring_get(ring, at, true);
        if (leaves(segment, page)) {
            gone++;
        } else {
            cache_ring_put(ring, &page, 1);
            aged += at < ring->front;
        }
    }
    ring->back = tail;
    ring->front = tail + aged;
    return gone;
}

uint64_t cache_ring_count(const struct cache_ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_acquire) - ring->back;
}

uint64_t cache_ring_ahead(const struct cache_ring *ring)
{
    return cache_ring_count(ring) / FRACTION + (uint64_t)cache_step();
}
