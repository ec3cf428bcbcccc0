/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks in chunks and chunks in tables, as chunk.h specifies them: what any
 * rank does that shares with the owner. A service thread is not `patient`: it
 * gives up where it finds a guard taken, leaving all as it was but for what it
 * has finished.
 */
#include "heap/chunk.h"

#include <string.h>

#include "base/base.h"
#include "net/net.h"
#include "space/snapshot.h"

static const uint32_t sizes[CHUNK_SIZES] = {
    16,   32,   48,   64,   80,   96,   112,  128,   160,   192,   224,   256,
    320,  384,  448,  512,  640,  768,  896,  1024,  1280,  1536,  1792,  2048,
    2560, 3072, 3584, 4096, 5120, 6144, 7680, 10240, 12288, 15360, 20480, 30720,
};

uint32_t chunk_size_bytes(uint32_t size)
{
    return sizes[size];
}

static uint32_t size_of(uint64_t bytes)
{
    uint32_t low = 0;
    uint32_t high = CHUNK_SIZES - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sizes[middle] < bytes) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t chunk_count_of(uint64_t bytes)
{
    return (bytes + CHUNK_HEADER + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

/* ---- headers -------------------------------------------------------------------- */

struct chunk *chunk_at(int owner, uint64_t chunk)
{
    return (struct chunk *)(void *)(heap.s->versos[net_domain_of(owner)] +
                                    chunk * CHUNK_BYTES);
}

/* The header is about to change: the snapshot under way gets it as it is. */
static void changes(uint64_t chunk)
{
    space_before_write(heap.s, chunk * CHUNK_PAGES);
}

/* It changed: the next checkpoint has it. */
static void changed(int owner, uint64_t chunk)
{
    space_dirty_mark_in(heap.s, chunk * CHUNK_PAGES, net_domain_of(owner));
}

void chunk_set(int owner, uint64_t chunk, enum chunk_kind kind, uint64_t count)
{
    struct chunk *c = chunk_at(owner, chunk);
    changes(chunk);
    memset((void *)c, 0, sizeof *c);
    c->count = (uint32_t)count;
    c->owner = owner;
    atomic_store_explicit(&c->kind, (uint32_t)kind, memory_order_release);
    changed(owner, chunk);
}

uint32_t chunk_blocks(const struct chunk *c)
{
    return CHUNK_DATA / sizes[c->size];
}

static bool guard(sync_guard *g, bool patient)
{
    if (patient) {
        sync_guard_take(g);
        return true;
    }
    return sync_guard_try(g);
}

/* ---- the pool ---------------------------------------------------------------------- */

static bool pooled(const struct heap_table *t, uint64_t chunk)
{
    return (t->pool[chunk / 64] >> chunk % 64 & 1) != 0;
}

/* The first chunk in the pool at or after `from`; heap.chunks if none. */
static uint64_t pool_next(const struct heap_table *t, uint64_t from)
{
    uint64_t chunk = from;
    while (chunk < heap.chunks && !pooled(t, chunk)) {
        chunk = t->pool[chunk / 64] >> chunk % 64 == 0 ? (chunk / 64 + 1) * 64
                                                       : chunk + 1;
    }
    return chunk < heap.chunks ? chunk : heap.chunks;
}

/* Neighbouring chunks in the pool from `first` on, up to `most`. */
static uint64_t pool_run(const struct heap_table *t, uint64_t first,
                         uint64_t most)
{
    uint64_t n = 0;
    while (n < most && first + n < heap.chunks && pooled(t, first + n)) {
        n++;
    }
    return n;
}

/* The lowest run of `count`: first fit. */
static uint64_t pool_fit(const struct heap_table *t, uint64_t count)
{
    uint64_t first = pool_next(t, t->lowest);
    while (first < heap.chunks) {
        uint64_t n = pool_run(t, first, count);
        if (n == count) {
            return first;
        }
        first = pool_next(t, first + n);
    }
    return 0;
}

/* Chunks of the free runs that begin at `first` and follow each other, until they
 * are `count` at least. */
static uint64_t runs_length(int owner, uint64_t first, uint64_t count)
{
    uint64_t n = 0;
    while (n < count) {
        n += chunk_at(owner, first + n)->count;
    }
    return n;
}

/* Takes a run out; what is left of the free run behind it gets a header. */
static int pool_take(int owner, uint64_t count, bool patient, uint64_t *first)
{
    struct heap_table *t = heap.tables[owner];
    if (!guard(&t->pool_guard, patient)) {
        return HEAP_BUSY;
    }
    uint64_t at = pool_fit(t, count);
    if (at != 0) {
        uint64_t had = runs_length(owner, at, count);
        for (uint64_t i = at; i < at + count; i++) {
            t->pool[i / 64] &= ~((uint64_t)1 << i % 64);
        }
        if (had > count) {
            chunk_set(owner, at + count, CHUNK_FREE, had - count);
        }
        if (count == 1 || at == t->lowest) {
            t->lowest = at + count;
        }
    }
    sync_guard_give(&t->pool_guard);
    *first = at;
    return at != 0 ? HEAP_DONE : HEAP_NONE;
}

int pool_give(int owner, uint64_t first, uint64_t count, bool patient)
{
    struct heap_table *t = heap.tables[owner];
    if (!guard(&t->pool_guard, patient)) {
        return HEAP_BUSY;
    }
    chunk_set(owner, first, CHUNK_FREE, count);
    for (uint64_t i = first; i < first + count; i++) {
        t->pool[i / 64] |= (uint64_t)1 << i % 64;
    }
    t->lowest = first < t->lowest ? first : t->lowest;
    sync_guard_give(&t->pool_guard);
    return HEAP_DONE;
}

/* ---- lists of chunks with free blocks, under the guard of their size -------------------- */

static struct heap_size *size_at(int owner, uint32_t size)
{
    return &heap.tables[owner]->sizes[size];
}

static void list_add(int owner, uint64_t chunk)
{
    struct chunk *c = chunk_at(owner, chunk);
    struct heap_size *z = size_at(owner, c->size);
    c->before = 0;
    c->after = z->available;
    if (z->available != 0) {
        chunk_at(owner, z->available)->before = (uint32_t)chunk;
    }
    z->available = (uint32_t)chunk;
    c->available = true;
}

static void list_remove(int owner, uint64_t chunk)
{
    struct chunk *c = chunk_at(owner, chunk);
    struct heap_size *z = size_at(owner, c->size);
    if (c->before != 0) {
        chunk_at(owner, c->before)->after = c->after;
    } else {
        z->available = c->after;
    }
    if (c->after != 0) {
        chunk_at(owner, c->after)->before = c->before;
    }
    c->available = false;
}

void table_list(int owner, uint64_t chunk)
{
    list_add(owner, chunk);
}

/* ---- blocks that became ready ------------------------------------------------------------- */

/* Any rank: the chunk is on its owner's stack, once. */
static void ready_push(struct chunk *c, uint64_t chunk)
{
    /* acq_rel: pairs with the exchange in chunk_collect, so that either it sees
     * the ready bit or we see the chunk unlisted */
    if (atomic_exchange_explicit(&c->listed, 1, memory_order_acq_rel) != 0) {
        return;
    }
    struct heap_size *z = size_at(c->owner, c->size);
    uint32_t head = atomic_load_explicit(&z->freed, memory_order_relaxed);
    do {
        atomic_store_explicit(&c->next, head, memory_order_relaxed);
        /* nobody takes single chunks from the stack, so no ABA */
    } while (!atomic_compare_exchange_weak_explicit(
        &z->freed, &head, (uint32_t)chunk, memory_order_release,
        memory_order_relaxed));
}

static void chunk_collect(int owner, uint64_t chunk)
{
    struct chunk *c = chunk_at(owner, chunk);
    changes(chunk);
    atomic_exchange_explicit(&c->listed, 0, memory_order_acq_rel);
    for (uint32_t w = 0; w < CHUNK_WORDS; w++) {
        if (atomic_load_explicit(&c->ready[w], memory_order_relaxed) == 0) {
            continue;
        }
        uint64_t ready =
            atomic_exchange_explicit(&c->ready[w], 0, memory_order_acq_rel);
        atomic_fetch_and_explicit(&c->freed[w], ~ready, memory_order_acq_rel);
        atomic_fetch_and_explicit(&c->used[w], ~ready, memory_order_acq_rel);
        c->in_use -= (uint32_t)__builtin_popcountll(ready);
        c->hint = w < c->hint ? w : c->hint;
    }
    changed(owner, chunk);
    if (!c->available && c->in_use < chunk_blocks(c)) {
        list_add(owner, chunk);
    }
}

/* A chunk without blocks goes back to the pool; the only one of its size with room
 * stays unless `last`. */
static void empty_give(int owner, uint64_t chunk, bool last, bool patient)
{
    struct chunk *c = chunk_at(owner, chunk);
    bool only = c->before == 0 && c->after == 0;
    if (!c->available || c->in_use > 0 || (only && !last) ||
        /* acquire: pairs with the release in block_ready */
        atomic_load_explicit(&c->givers, memory_order_acquire) != 0 ||
        atomic_load_explicit(&c->listed, memory_order_acquire) != 0) {
        return;
    }
    list_remove(owner, chunk);
    if (pool_give(owner, chunk, 1, patient) != HEAP_DONE) {
        list_add(owner, chunk);
    }
}

/* Under the size's guard. `last`: empty chunks are all given back. */
static void size_collect(int owner, uint32_t size, bool last, bool patient)
{
    struct heap_size *z = size_at(owner, size);
    /* acquire: pairs with the release in ready_push */
    uint32_t chunk =
        atomic_exchange_explicit(&z->freed, 0, memory_order_acquire);
    while (chunk != 0) {
        uint32_t next = atomic_load_explicit(&chunk_at(owner, chunk)->next,
                                             memory_order_relaxed);
        chunk_collect(owner, chunk);
        empty_give(owner, chunk, last, patient);
        chunk = next;
    }
    chunk = last ? z->available : 0;
    while (chunk != 0) {
        uint32_t next = chunk_at(owner, chunk)->after;
        empty_give(owner, chunk, true, patient);
        chunk = next;
    }
}

int table_collect(int owner, bool patient)
{
    for (uint32_t i = 0; i < CHUNK_SIZES; i++) {
        struct heap_size *z = size_at(owner, i);
        if (!guard(&z->guard, patient)) {
            return HEAP_BUSY;
        }
        size_collect(owner, i, true, patient);
        sync_guard_give(&z->guard);
    }
    return HEAP_DONE;
}

/* ---- taking --------------------------------------------------------------------------------- */

/* A block of a chunk that has one, under its size's guard. */
static uint64_t block_take(int owner, uint64_t chunk)
{
    struct chunk *c = chunk_at(owner, chunk);
    uint32_t word = c->hint;
    uint64_t used = UINT64_MAX;
    while ((used = atomic_load_explicit(&c->used[word],
                                        memory_order_relaxed)) == UINT64_MAX) {
        word++;
    }
    uint32_t bit = (uint32_t)__builtin_ctzll(~used);
    uint32_t block = word * 64 + bit;
    RECTO_ASSERT(block < chunk_blocks(c));
    changes(chunk);
    atomic_fetch_or_explicit(&c->used[word], (uint64_t)1 << bit,
                             memory_order_relaxed);
    c->hint = word;
    c->in_use++;
    if (c->in_use == chunk_blocks(c)) {
        list_remove(owner, chunk);
    }
    changed(owner, chunk);
    return chunk * CHUNK_BYTES + CHUNK_HEADER +
           (uint64_t)block * sizes[c->size];
}

static int small_take(int owner, uint32_t size, bool patient, uint64_t *offset)
{
    struct heap_size *z = size_at(owner, size);
    int r = HEAP_DONE;
    if (!guard(&z->guard, patient)) {
        return HEAP_BUSY;
    }
    if (z->available == 0) {
        size_collect(owner, size, false, patient);
    }
    if (z->available == 0) {
        uint64_t chunk = 0;
        r = pool_take(owner, 1, patient, &chunk);
        if (r == HEAP_DONE) {
            chunk_set(owner, chunk, CHUNK_BLOCKS, 1);
            chunk_at(owner, chunk)->size = size;
            list_add(owner, chunk);
        }
    }
    if (r == HEAP_DONE) {
        *offset = block_take(owner, z->available);
        atomic_fetch_add_explicit(&heap.tables[owner]->live, sizes[size],
                                  memory_order_relaxed);
    }
    sync_guard_give(&z->guard);
    return r;
}

static int large_take(int owner, uint64_t bytes, bool patient, uint64_t *offset)
{
    uint64_t count = chunk_count_of(bytes);
    uint64_t chunk = 0;
    int r = pool_take(owner, count, patient, &chunk);
    if (r == HEAP_DONE) {
        chunk_set(owner, chunk, CHUNK_LARGE, count);
        struct chunk *c = chunk_at(owner, chunk);
        c->bytes = bytes;
        atomic_store_explicit(&c->used[0], 1, memory_order_release);
        *offset = chunk * CHUNK_BYTES + CHUNK_HEADER;
        atomic_fetch_add_explicit(&heap.tables[owner]->live, (int64_t)bytes,
                                  memory_order_relaxed);
    }
    return r;
}

int table_take(int owner, uint64_t bytes, bool patient, uint64_t *offset)
{
    return bytes <= CHUNK_SMALL
               ? small_take(owner, size_of(bytes), patient, offset)
               : large_take(owner, bytes, patient, offset);
}

/* ---- giving back -------------------------------------------------------------------------------- */

/* Can a block begin at the offset, and which? */
static bool block_find(const struct chunk *c, uint64_t offset, uint32_t *block)
{
    uint64_t at = offset % CHUNK_BYTES;
    uint32_t kind = atomic_load_explicit(&c->kind, memory_order_acquire);
    *block = 0;
    if (kind == CHUNK_LARGE) {
        return at == CHUNK_HEADER;
    }
    if (kind != CHUNK_BLOCKS || at < CHUNK_HEADER ||
        (at - CHUNK_HEADER) % sizes[c->size] != 0) {
        return false;
    }
    *block = (uint32_t)(at - CHUNK_HEADER) / sizes[c->size];
    return *block < chunk_blocks(c);
}

static uint64_t bytes_of(const struct chunk *c)
{
    return atomic_load_explicit(&c->kind, memory_order_relaxed) == CHUNK_LARGE
               ? c->bytes
               : sizes[c->size];
}

enum block_fault block_free(int home, uint64_t offset)
{
    struct chunk *c = chunk_at(home, offset / CHUNK_BYTES);
    uint32_t block = 0;
    if (!block_find(c, offset, &block)) {
        return BLOCK_NOT;
    }
    uint64_t bit = (uint64_t)1 << block % 64;
    changes(offset / CHUNK_BYTES);
    if ((atomic_load_explicit(&c->used[block / 64], memory_order_acquire) &
         bit) == 0 ||
        (atomic_fetch_or_explicit(&c->freed[block / 64], bit,
                                  memory_order_acq_rel) &
         bit) != 0) {
        return BLOCK_TWICE;
    }
    atomic_fetch_sub_explicit(&heap.tables[c->owner]->live,
                              (int64_t)bytes_of(c), memory_order_relaxed);
    changed(home, offset / CHUNK_BYTES);
    return BLOCK_FREED;
}

/* After a restart the chunks of a block may have several homes: each gets its
 * own. Who may not wait sends messages, for all or none must be given; it is the
 * owner, which has asked for these homes (large_keep). */
static void mixed_ready(uint64_t first, uint64_t count, bool patient)
{
    if (patient) {
        space_homes_ask(heap.s, first * CHUNK_PAGES, count * CHUNK_PAGES);
    }
    for (uint64_t at = first; at < first + count;) {
        uint64_t n = 1;
        RECTO_ASSERT(space_home_known(heap.s, at * CHUNK_PAGES));
        int home = space_home(heap.s, at * CHUNK_PAGES);
        while (at + n < first + count &&
               space_home(heap.s, (at + n) * CHUNK_PAGES) == home) {
            n++;
        }
        if (patient && heap.tables[home] != NULL) {
            (void)pool_give(home, at, n, true);
        } else {
            heap_far_give(home, at, n);
        }
        at += n;
    }
}

int block_ready(int home, uint64_t offset, bool patient)
{
    uint64_t chunk = offset / CHUNK_BYTES;
    struct chunk *c = chunk_at(home, chunk);
    uint32_t block = 0;
    bool is = block_find(c, offset, &block);
    RECTO_ASSERT(is);
    if (is &&
        atomic_load_explicit(&c->kind, memory_order_relaxed) == CHUNK_LARGE) {
        if (!c->mixed) {
            return pool_give(c->owner, chunk, c->count, patient);
        }
        mixed_ready(chunk, c->count, patient);
        return HEAP_DONE;
    }
    changes(chunk);
    atomic_fetch_add_explicit(&c->givers, 1, memory_order_relaxed);
    atomic_fetch_or_explicit(&c->ready[block / 64], (uint64_t)1 << block % 64,
                             memory_order_acq_rel);
    ready_push(c, chunk);
    atomic_fetch_sub_explicit(&c->givers, 1, memory_order_release);
    return HEAP_DONE;
}
