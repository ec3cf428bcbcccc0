/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of ranks in a word, exact: who holds a page of sequential memory, as its
 * directory entry knows it. The protocol waits for an answer of each member and asks
 * one of them for the data, so members may neither be lost nor made up.
 *
 *   at most 64 ranks    a bit each
 *   more, few members   their numbers + 1, in ascending order, three of 20 bits
 *   more, more of them  a list in the segment's pool
 *
 * So memory follows the copies that there are, which RECTO_CACHE bounds, and not the
 * product of pages and ranks. 0 is the empty set.
 *
 * One thread at a time uses a pool and its sets: the home's service thread, or any
 * when nothing is under way. Memory comes from vm tables.
 */
#ifndef RECTO_SRC_HOLDERS_H
#define RECTO_SRC_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HOLDERS_BITS = 64,
    HOLDERS_NOBODY = -1,
    HOLDERS_CLASSES = 20 /* lists of 6, 14, 30, ... ranks */
};

/* Lists, by size; all zero is an empty pool. */
struct holders_pool {
    uint32_t *base; /* NULL: no list yet */
    uint64_t used;  /* in blocks */
    uint32_t free[HOLDERS_CLASSES];
};

/* Ranks of the job; before the first set is made. At most 2^20 - 1. */
void holders_init(int ranks);
/* How many ranks may have a bit each; tests of few ranks lower it before
 * recto_init. */
extern int holders_exact_most;

uint64_t holders_add(struct holders_pool *pool, uint64_t set, int rank);
uint64_t holders_remove(struct holders_pool *pool, uint64_t set, int rank);
bool holders_has(const struct holders_pool *pool, uint64_t set, int rank);
/* The lowest member at or above `from`, or HOLDERS_NOBODY. */
int holders_next(const struct holders_pool *pool, uint64_t set, int from);
/* The set is not used any more; its list is. */
void holders_clear(struct holders_pool *pool, uint64_t set);
void holders_pool_free(struct holders_pool *pool);

#endif
