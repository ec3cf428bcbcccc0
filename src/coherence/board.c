/* SPDX-License-Identifier: BSD-3-Clause */
/* Boards, see board.h. */
#include "coherence/board.h"

#include <sched.h>

static uint64_t lap_of(const struct board *b, uint64_t position)
{
    /* from 1: a slot of zeros was never written */
    uint64_t lap = position / b->capacity + 1;
    return lap & ((UINT64_C(1) << BOARD_LAP_BITS) - 1);
}

size_t board_bytes(uint64_t capacity)
{
    return sizeof(struct board) + capacity * sizeof(uint64_t);
}

void board_init(struct board *b, uint64_t capacity)
{
    b->capacity = capacity;
    atomic_store_explicit(&b->tail, 0, memory_order_release);
}

/* Is the entry of a later lap than `lap`? Laps are compared modulo their bits:
 * half of all laps may pass while a poster is between claim and store. */
static bool later(uint64_t entry, uint64_t lap)
{
    uint64_t found = entry >> (BOARD_SEGMENT_BITS + BOARD_PAGE_BITS);
    uint64_t ahead = (found - lap) & ((UINT64_C(1) << BOARD_LAP_BITS) - 1);
    return entry != 0 && ahead != 0 &&
           ahead < UINT64_C(1) << (BOARD_LAP_BITS - 1);
}

void board_post(struct board *b, struct board_page page)
{
    uint64_t at = atomic_fetch_add_explicit(&b->tail, 1, memory_order_seq_cst);
    uint64_t lap = lap_of(b, at);
    uint64_t entry = lap << (BOARD_SEGMENT_BITS + BOARD_PAGE_BITS) |
                     (uint64_t)page.segment << BOARD_PAGE_BITS | page.page;
    _Atomic uint64_t *slot = &b->slots[at & (b->capacity - 1)];
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    /* A poster that was overtaken by a whole lap must not hide the later post;
     * its own is lost to overflow already. Pairs with board_read. */
    while (!later(old, lap) &&
           !atomic_compare_exchange_weak_explicit(
               slot, &old, entry, memory_order_seq_cst, memory_order_relaxed)) {
    }
}

uint64_t board_tail(const struct board *b)
{
    return atomic_load_explicit(&b->tail, memory_order_seq_cst);
}

bool board_read(const struct board *b, uint64_t position,
                struct board_page *page)
{
    const _Atomic uint64_t *slot = &b->slots[position & (b->capacity - 1)];
    uint64_t lap = lap_of(b, position);
    for (unsigned tries = 0;; tries++) {
        /* pairs with the store in board_post */
        uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
        uint64_t found = entry >> (BOARD_SEGMENT_BITS + BOARD_PAGE_BITS);
        if (entry != 0 && found == lap) {
            page->segment = (uint32_t)(entry >> BOARD_PAGE_BITS) &
                            ((1U << BOARD_SEGMENT_BITS) - 1);
            page->page = (uint32_t)entry;
            return true;
        }
        if (board_tail(b) - position > b->capacity) {
            return false; /* overwritten, or about to be */
        }
        /* of an earlier lap: its poster is between claim and store */
        if (tries > 100) {
            sched_yield();
        }
    }
}
