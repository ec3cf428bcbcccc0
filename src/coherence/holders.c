/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sets of holders.h.
 *
 *   a set that is no bit mask    bit 0: it is a list
 *     numbers                    bits 1 .. 60: three times rank + 1, 0 for none
 *     list                       bits 1 .. 32: its first block + 1
 *   a list                       count, class, ranks in ascending order
 *
 * Invariants
 * 1. A set has one form: bits, numbers while they fit, else a list.
 * 2. A list of class k lies in 2^k blocks of 8 words. Free ones of a class are
 *    chained by their first word.
 */
#include "coherence/holders.h"

#include <recto/vm.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"

enum {
    NUMBERS = 3,
    WIDTH = 20,
    BLOCK = 8,  /* words */
    HEADER = 2, /* words */
    POOL_BLOCKS = 1 << 28
};
#define LIST   UINT64_C(1)
#define NUMBER ((UINT64_C(1) << WIDTH) - 1)
#define POOL_BYTES                                                             \
    ((uint64_t)POOL_BLOCKS * BLOCK * sizeof(uint32_t)) /* 8 GiB, sparse */

int holders_exact_most = HOLDERS_BITS;
static bool bits; /* a bit each */

void holders_init(int ranks)
{
    RECTO_ASSERT(ranks > 0 && (uint64_t)ranks < NUMBER);
    bits = ranks <= holders_exact_most;
}

/* ---- lists ------------------------------------------------------------------------- */

static uint32_t *list_at(const struct holders_pool *pool, uint64_t set)
{
    return pool->base + ((set >> 1) - 1) * BLOCK;
}

static uint32_t room(unsigned class)
{
    return (BLOCK << class) - HEADER;
}

/* The number of a free list's first block. */
static uint64_t list_new(struct holders_pool *pool, unsigned class)
{
    if (pool->base == NULL) {
        void *table = NULL;
        if (recto_vm_table_create(POOL_BYTES, &table) != 0) {
            base_fatal("no memory for the directory: %s", recto_last_error());
        }
        pool->base = table;
    }
    uint64_t block = pool->free[class];
    if (class >= HOLDERS_CLASSES ||
        (block == 0 && pool->used + (UINT64_C(1) << class) > POOL_BLOCKS)) {
        base_fatal("the directory has no room for the holders of a page");
    }
    if (block != 0) {
        block--;
        pool->free[class] = pool->base[block * BLOCK];
    } else {
        block = pool->used;
        pool->used += UINT64_C(1) << class;
    }
    pool->base[block * BLOCK] = 0;
    pool->base[block * BLOCK + 1] = class;
    return block;
}

static void list_free(struct holders_pool *pool, uint64_t set)
{
    uint32_t *list = list_at(pool, set);
    uint32_t class = list[1];
    list[0] = pool->free[class];
    pool->free[class] = (uint32_t)(set >> 1);
}

/* ---- members in order --------------------------------------------------------------- */

/* Where the members of a set that is no bit mask are: in its list, or in `inside`. */
static const uint32_t *members(const struct holders_pool *pool, uint64_t set,
                               uint32_t inside[NUMBERS], uint32_t *count)
{
    if (set & LIST) {
        const uint32_t *list = list_at(pool, set);
        *count = list[0];
        return list + HEADER;
    }
    uint32_t n = 0;
    for (uint64_t left = set >> 1; left != 0; left >>= WIDTH) {
        inside[n++] = (uint32_t)(left & NUMBER) - 1;
    }
    *count = n;
    return inside;
}

static uint64_t inside_set(const uint32_t *ranks, uint32_t count)
{
    uint64_t set = 0;
    for (uint32_t i = count; i > 0; i--) {
        set = set << WIDTH | (ranks[i - 1] + 1);
    }
    return set << 1;
}

/* The first of the members that is not below `rank`. */
static uint32_t place(const uint32_t *ranks, uint32_t count, uint32_t rank)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ranks[middle] < rank) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- sets --------------------------------------------------------------------------- */

int holders_next(const struct holders_pool *pool, uint64_t set, int from)
{
    if (bits) {
        uint64_t left = from < HOLDERS_BITS ? set >> from : 0;
        return left != 0 ? from + __builtin_ctzll(left) : HOLDERS_NOBODY;
    }
    uint32_t inside[NUMBERS];
    uint32_t count = 0;
    const uint32_t *ranks = members(pool, set, inside, &count);
    uint32_t i = place(ranks, count, (uint32_t)from);
    return i < count ? (int)ranks[i] : HOLDERS_NOBODY;
}

bool holders_has(const struct holders_pool *pool, uint64_t set, int rank)
{
    return holders_next(pool, set, rank) == rank;
}

/* The list with room for one more, and a gap at `i`. */
static uint64_t list_widen(struct holders_pool *pool, uint64_t set, uint32_t i)
{
    uint32_t *list = list_at(pool, set);
    uint32_t count = list[0];
    if (count == room(list[1])) {
        uint64_t wider = (list_new(pool, list[1] + 1) + 1) << 1 | LIST;
        uint32_t *to = list_at(pool, wider);
        memcpy(to + HEADER, list + HEADER, count * sizeof *to);
        list_free(pool, set);
        set = wider;
        list = to;
    }
    memmove(list + HEADER + i + 1, list + HEADER + i,
            (count - i) * sizeof *list);
    list[0] = count + 1;
    return set;
}

uint64_t holders_add(struct holders_pool *pool, uint64_t set, int rank)
{
    if (bits) {
        return set | UINT64_C(1) << rank;
    }
    uint32_t inside[NUMBERS + 1];
    uint32_t count = 0;
    const uint32_t *ranks = members(pool, set, inside, &count);
    uint32_t i = place(ranks, count, (uint32_t)rank);
    if (i < count && ranks[i] == (uint32_t)rank) {
        return set;
    }
    if (set & LIST) {
        set = list_widen(pool, set, i);
        list_at(pool, set)[HEADER + i] = (uint32_t)rank;
        return set;
    }
    memmove(inside + i + 1, inside + i, (count - i) * sizeof *inside);
    inside[i] = (uint32_t)rank;
    count++;
    if (count <= NUMBERS) {
        return inside_set(inside, count);
    }
    set = (list_new(pool, 0) + 1) << 1 | LIST;
    uint32_t *list = list_at(pool, set);
    memcpy(list + HEADER, inside, count * sizeof *list);
    list[0] = count;
    return set;
}

uint64_t holders_remove(struct holders_pool *pool, uint64_t set, int rank)
{
    if (bits) {
        return set & ~(UINT64_C(1) << rank);
    }
    uint32_t inside[NUMBERS];
    uint32_t count = 0;
    const uint32_t *ranks = members(pool, set, inside, &count);
    uint32_t i = place(ranks, count, (uint32_t)rank);
    if (i == count || ranks[i] != (uint32_t)rank) {
        return set;
    }
    uint32_t *from = set & LIST ? list_at(pool, set) + HEADER : inside;
    memmove(from + i, from + i + 1, (count - i - 1) * sizeof *from);
    count--;
    if ((set & LIST) == 0) {
        return inside_set(inside, count);
    }
    list_at(pool, set)[0] = count;
    if (count > NUMBERS) {
        return set;
    }
    uint64_t few = inside_set(from, count);
    list_free(pool, set);
    return few;
}

void holders_clear(struct holders_pool *pool, uint64_t set)
{
    if (!bits && (set & LIST) != 0) {
        list_free(pool, set);
    }
}

void holders_pool_free(struct holders_pool *pool)
{
    if (pool->base != NULL) {
        recto_vm_unmap(pool->base, POOL_BYTES);
    }
    memset(pool, 0, sizeof *pool);
}
