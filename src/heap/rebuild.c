/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heap in checkpoints. Headers are memory of the segment, so an epoch holds
 * the allocator's state with the blocks; tables are made from the headers when
 * one is restored, by any number of ranks.
 *
 * Invariants
 * 1. A restored chunk belongs to its home. Chunks that this run had taken before
 *    and the epoch had not stay with their homes, unused: homes do not change.
 * 2. What was freed before the checkpoint is free after the restart: nobody's
 *    writes to it are on their way any more.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "heap/chunk.h"
#include "heap/heap.h"
#include "net/net.h"

/* What a rank tells about a header of its own: kind | chunks << 2. */
enum head {
    HEAD_FREE = 1,
    HEAD_BLOCKS = 2,
    HEAD_LARGE = 3
};

static bool mine(uint64_t chunk)
{
    return space_home(heap.s, chunk * CHUNK_PAGES) == net_rank();
}

/* ---- checkpoint ------------------------------------------------------------------- */

uint64_t heap_extent(void)
{
    if (heap.s == NULL || heap.tables[0]->next <= 1) {
        return 0;
    }
    uint64_t next = heap.tables[0]->next;
    struct chunk_first *first =
        (struct chunk_first *)(void *)space_verso(heap.s, 0);
    memcpy(first->magic, CHUNK_MAGIC, sizeof first->magic);
    first->next = next;
    space_dirty_mark(heap.s, 0);
    /* steps of an eighth: a heap that grows is seldom written whole */
    uint64_t step = 16;
    while (step * 16 <= next) {
        step *= 2;
    }
    uint64_t chunks = (next + step - 1) / step * step;
    return (chunks < heap.chunks ? chunks : heap.chunks) * CHUNK_BYTES;
}

/* ---- restart: what the headers say --------------------------------------------------- */

static int corrupt(uint64_t chunk, const char *what)
{
    return base_error(RECTO_ECORRUPT, "heap, chunk %" PRIu64 ": %s", chunk,
                      what);
}

/* The first virgin chunk, which the home of chunk 0 knows; on all ranks. */
static int next_share(uint64_t extent, uint64_t *next)
{
    int64_t value = 1;
    int r = 0;
    if (extent > 0 && mine(0)) {
        const struct chunk_first *first =
            (const struct chunk_first *)(const void *)space_verso(heap.s, 0);
        value = (int64_t)first->next;
        if (memcmp(first->magic, CHUNK_MAGIC, sizeof first->magic) != 0 ||
            first->next == 0 || first->next > extent / CHUNK_BYTES) {
            r = corrupt(0, "not the beginning of a heap");
        }
    }
    r = net_verdict(r);
    r = r == 0 ? net_allreduce_max(&value, 1) : r;
    *next = (uint64_t)value;
    return r;
}

static int64_t head_of(uint64_t chunk)
{
    struct chunk *c = chunk_at(net_rank(), chunk);
    int64_t count = (int64_t)c->count << 2;
    switch (atomic_load_explicit(&c->kind, memory_order_relaxed)) {
    case CHUNK_BLOCKS: return c->size < CHUNK_SIZES ? HEAD_BLOCKS | count : 0;
    case CHUNK_LARGE:
        return c->freed[0] & 1 ? HEAD_FREE | count : HEAD_LARGE | count;
    case CHUNK_FREE: return HEAD_FREE | count;
    default: return 0;
    }
}

/* heads[chunk] of all chunks below next; of those that are none, what it may be. */
static int heads_share(uint64_t next, int64_t **heads)
{
    *heads = calloc(next, sizeof **heads);
    int r = *heads != NULL ? 0 : base_error(RECTO_ENOMEM, "heap: headers");
    r = net_verdict(r);
    for (uint64_t g = 1; r == 0 && g < next; g++) {
        (*heads)[g] = mine(g) ? head_of(g) : 0;
    }
    return r == 0 && next > 1 ? net_allreduce_max(*heads, (int)next) : r;
}

static int heads_check(const int64_t *heads, uint64_t next)
{
    uint64_t g = 1;
    while (g < next) {
        uint64_t count = (uint64_t)heads[g] >> 2;
        if (count == 0 || count > next - g ||
            ((heads[g] & 3) == HEAD_BLOCKS && count != 1)) {
            return corrupt(g, "no header where one must be");
        }
        g += count;
    }
    return 0;
}

/* ---- restart: the tables ---------------------------------------------------------------- */

/* Chunks of a free run that are mine. */
static void free_keep(uint64_t first, uint64_t count)
{
    for (uint64_t g = first; g < first + count; g++) {
        uint64_t n = 0;
        while (g + n < first + count && mine(g + n)) {
            n++;
        }
        if (n > 0) {
            (void)pool_give(net_rank(), g, n, true);
            g += n - 1;
        }
    }
}

static void links_clear(struct chunk *c)
{
    c->owner = net_rank();
    c->available = false;
    c->before = 0;
    c->after = 0;
    c->givers = 0;
    c->listed = 0;
    c->next = 0;
}

static void blocks_keep(uint64_t chunk)
{
    struct chunk *c = chunk_at(net_rank(), chunk);
    links_clear(c);
    c->in_use = 0;
    c->hint = 0;
    for (uint32_t w = 0; w < CHUNK_WORDS; w++) {
        c->used[w] &= ~c->freed[w];
        c->freed[w] = 0;
        c->ready[w] = 0;
        c->in_use += (uint32_t)__builtin_popcountll(c->used[w]);
    }
    if (c->in_use == 0) {
        (void)pool_give(net_rank(), chunk, 1, true);
        return;
    }
    heap.tables[net_rank()]->live +=
        (int64_t)c->in_use * chunk_size_bytes(c->size);
    if (c->in_use < chunk_blocks(c)) {
        table_list(net_rank(), chunk);
    }
    space_dirty_mark(heap.s, chunk * CHUNK_PAGES);
}

static void large_keep(uint64_t chunk)
{
    struct chunk *c = chunk_at(net_rank(), chunk);
    links_clear(c);
    c->mixed = false;
    for (uint64_t g = chunk; net_domains() > 1 && g < chunk + c->count; g++) {
        c->mixed = c->mixed || !mine(g);
    }
    if (c->mixed) { /* the service thread will free it, and may not ask then */
        space_homes_ask(heap.s, chunk * CHUNK_PAGES,
                        (uint64_t)c->count * CHUNK_PAGES);
    }
    heap.tables[net_rank()]->live += (int64_t)c->bytes;
    space_dirty_mark(heap.s, chunk * CHUNK_PAGES);
}

static void keep(const int64_t *heads, uint64_t next)
{
    for (uint64_t g = 1; g < next; g += (uint64_t)heads[g] >> 2) {
        switch (heads[g] & 3) {
        case HEAD_FREE: free_keep(g, (uint64_t)heads[g] >> 2); break;
        case HEAD_BLOCKS:
            if (mine(g)) {
                blocks_keep(g);
            }
            break;
        default:
            if (mine(g)) {
                large_keep(g);
            }
        }
    }
}

/* What I keep becomes my own where nobody is the home, as the load assumed. */
static int homes_settle(uint64_t next)
{
    for (uint64_t g = 0; g < next; g++) {
        if (mine(g)) {
            space_homes_claim(heap.s, g * CHUNK_PAGES, CHUNK_PAGES);
        }
    }
    return net_verdict(0);
}

int heap_rebuild(uint64_t extent)
{
    if (heap.s == NULL) {
        return net_verdict(0);
    }
    struct heap_table *t = heap.tables[net_rank()];
    uint64_t old = t->next;
    uint64_t next = 1;
    int64_t *heads = NULL;
    int r = net_bcast(&old, sizeof old, 0);
    r = r == 0 ? next_share(extent, &next) : r;
    r = r == 0 ? homes_settle(next) : r;
    r = r == 0 ? heads_share(next, &heads) : r;
    r = r == 0 ? net_verdict(heads_check(heads, next)) : r;
    if (r == 0) {
        memset((void *)t, 0, offsetof(struct heap_table, live));
        atomic_store_explicit(&t->live, 0, memory_order_relaxed);
        memset(t->pool, 0, (heap.chunks + 63) / 64 * 8);
        keep(heads, next);
        if (old > next) {
            free_keep(next, old - next);
        }
        if (net_rank() == 0) {
            t->next = old > next ? old : next;
        }
    }
    free(heads);
    return net_verdict(r);
}
