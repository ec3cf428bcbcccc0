/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Boards: bounded rings in shared memory on which any thread posts page numbers
 * and never waits for a reader. Each rank has one as *inbox* (write notices for
 * its copies), each domain one as *log* (pages of its homes that got a reader
 * where none was before).
 *
 * Invariants
 * 1. A post claims a position by adding to `tail`, then stores its entry, with
 *    the lap it belongs to, in one 8-byte word, unless a later lap is there
 *    already. All posts below a tail that
 *    was read are found by a reader that waits for claimed, empty slots.
 * 2. A reader keeps its own cursor. tail - cursor > capacity, or an entry of a
 *    later lap than expected, means that posts were lost to it: it must do for
 *    all pages what posts ask for some.
 */
#ifndef RECTO_SRC_BOARD_H
#define RECTO_SRC_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct board {
    _Alignas(64) _Atomic uint64_t tail;
    uint64_t capacity; /* a power of two */
    _Alignas(64) _Atomic uint64_t slots[];
};

/* A page of a segment. Both fit in an entry beside its lap. */
struct board_page {
    uint32_t segment;
    uint32_t page;
};

enum {
    BOARD_SEGMENT_BITS = 20,
    BOARD_PAGE_BITS = 32,
    BOARD_LAP_BITS = 64 - BOARD_SEGMENT_BITS - BOARD_PAGE_BITS
};

size_t board_bytes(uint64_t capacity);
void board_init(struct board *b, uint64_t capacity);

/* Async-signal-safe; sequentially consistent with later loads of the poster. */
void board_post(struct board *b, struct board_page page);

/* Number of posts so far; a sequentially consistent load. */
uint64_t board_tail(const struct board *b);

/* Reads the entry at `position`, below a tail that was read; waits until it is
 * there. False when it was overwritten. */
bool board_read(const struct board *b, uint64_t position,
                struct board_page *page);

#endif
