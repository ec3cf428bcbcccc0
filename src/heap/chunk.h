/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heap is one release consistent segment in chunks of 64 KiB. A chunk's
 * first page is its header; what follows it is blocks of one size, or the
 * beginning of one block that needs chunks of its own.
 *
 *   chunk 0    what a restart must know (struct chunk_first)
 *   1 .. next  taken by a rank, its owner, in runs; `next` counts up in rank 0's
 *              table, and what lies behind was never used
 *
 * A rank's table, in memory that those who share with it map, holds the lists of
 * its chunks: with free blocks, by size; with blocks freed since; unused ones.
 * Any rank that shares with the owner works on table and headers as the owner
 * does; others ask the owner's service thread.
 *
 *   used  freed  ready   a block is
 *    0      0      0     free
 *    1      0      0     in use
 *    1      1      0     freed by a rank whose writes to it may not be home yet
 *    1      1      1     to be had again: collected when its size runs out
 *
 * Invariants
 * 1. Headers are read and written through versos by atomics and under guards,
 *    never through the recto; a copy that comes along with the pages behind it
 *    means nothing. The segment holds the allocator's whole state: tables are
 *    made from headers.
 * 2. With several domains a chunk's owner is its home, so a block that its owner
 *    gives to its own ranks is written at its home: no older copy of theirs
 *    can win over it, and their next release tells other holders. A block of
 *    another domain's table is dropped from the taker's copies first.
 * 3. A block becomes ready only when all that the freeing rank wrote is home: at
 *    once if it is of the home's domain, else at its next release. Others who
 *    wrote it have released before they told the freeing rank (no data races).
 * 4. `used` changes under the guard of the chunk's size (large: when it changes
 *    hands), `freed` and `ready` by any rank's fetch_or; who sets `freed` alone
 *    has freed the block, so a second free is seen.
 * 5. Walking from chunk 1 by `count` meets headers only, up to `next`.
 * 6. Order of guards: of a size, then of the pool.
 * 7. A chunk becomes another kind only while no block is used and nobody stands
 *    between making one ready and telling so (`givers`).
 */
#ifndef RECTO_SRC_HEAP_CHUNK_H
#define RECTO_SRC_HEAP_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "space/space.h"
#include "sync/guard.h"

enum {
    CHUNK_BYTES = 65536,
    CHUNK_PAGES = CHUNK_BYTES / SPACE_PAGE,
    CHUNK_HEADER = SPACE_PAGE,
    CHUNK_DATA = CHUNK_BYTES - CHUNK_HEADER,
    CHUNK_WORDS = CHUNK_DATA / 16 / 64, /* of a bit per block */
    CHUNK_SIZES = 36,                   /* sizes of small blocks */
    CHUNK_SMALL = CHUNK_DATA / 2        /* the largest of them */
};

enum chunk_kind {
    CHUNK_VIRGIN = 0,
    CHUNK_FREE = 0x46524545, /* `count` unused chunks */
    CHUNK_BLOCKS = 0x424c4b53,
    CHUNK_LARGE = 0x4c415247 /* one block in `count` chunks */
};

struct chunk {
    _Atomic uint32_t kind;
    uint32_t count;
    int32_t owner;
    uint32_t size;   /* number of the blocks' size */
    uint64_t bytes;  /* large: of the block */
    uint32_t in_use; /* blocks with `used` */
    uint32_t hint;   /* no block below this word is free */
    uint32_t before; /* in the list of chunks with free blocks; 0: none */
    uint32_t after;
    bool available;          /* is in that list */
    bool mixed;              /* large: its chunks have several homes */
    _Atomic uint32_t givers; /* threads between `ready` and the list of such */
    _Atomic uint32_t listed; /* is in that list */
    _Atomic uint32_t next;   /* in it */
    _Atomic uint64_t used[CHUNK_WORDS];
    _Atomic uint64_t freed[CHUNK_WORDS];
    _Atomic uint64_t ready[CHUNK_WORDS];
};
_Static_assert(sizeof(struct chunk) <= CHUNK_HEADER, "one page");

/* The beginning of chunk 0. */
struct chunk_first {
    char magic[8];
    uint64_t next;
};
#define CHUNK_MAGIC "recto h1"

struct heap_size {
    _Alignas(64) sync_guard guard;
    uint32_t available;     /* chunks with free blocks; 0: none */
    _Atomic uint32_t freed; /* chunks with ready blocks, a stack */
};

/* Of a rank. `pool` has a bit per chunk of the heap: mine and unused. */
struct heap_table {
    struct heap_size sizes[CHUNK_SIZES];
    _Alignas(64) sync_guard pool_guard;
    uint64_t lowest;                    /* no chunk below is in the pool */
    _Alignas(64) _Atomic uint64_t next; /* rank 0's: first virgin chunk */
    _Alignas(64) _Atomic int64_t live;  /* bytes of blocks in use */
    _Alignas(4096) uint64_t pool[];
};

struct heap {
    struct space_segment *s; /* NULL: there is none */
    uint64_t chunks;
    int ranks;
    struct heap_table **tables; /* by rank; NULL where not shared */
};
extern struct heap heap;

/* Outcomes of what service threads try as well as threads of the program. */
enum {
    HEAP_DONE = 0,
    HEAP_NONE = -1, /* no room in this table */
    HEAP_BUSY = -2  /* a guard was taken; only if !patient */
};

/* ---- chunk.c ------------------------------------------------------------------ */

/* Bytes of the blocks of a size. */
uint32_t chunk_size_bytes(uint32_t size);

/* The header of a chunk; `owner`: its owner or another rank of that domain, which
 * shares with this one. */
struct chunk *chunk_at(int owner, uint64_t chunk);
/* Makes it a header; that of the whole run. */
void chunk_set(int owner, uint64_t chunk, enum chunk_kind kind, uint64_t count);
uint32_t chunk_blocks(const struct chunk *c);

/* Takes a block of at least `bytes` from a rank's table, as its offset in the
 * segment. */
int table_take(int owner, uint64_t bytes, bool patient, uint64_t *offset);
/* Moves blocks that are ready, of all sizes, back to where they can be had. */
int table_collect(int owner, bool patient);
/* For rebuild.c: the chunk has free blocks. */
void table_list(int owner, uint64_t chunk);
/* Puts a run of chunks of one owner in its pool. */
int pool_give(int owner, uint64_t first, uint64_t count, bool patient);
/* Chunks that a block takes which is too large for the sizes. */
uint64_t chunk_count_of(uint64_t bytes);

/* The block at an offset is freed: 0, or why it cannot be. `home`: as `owner`
 * in chunk_at. */
enum block_fault {
    BLOCK_FREED = 0,
    BLOCK_NOT,  /* no block begins there */
    BLOCK_TWICE /* it is free already */
};
enum block_fault block_free(int home, uint64_t offset);
/* It can be had again. */
int block_ready(int home, uint64_t offset, bool patient);

/* ---- ask.c ---------------------------------------------------------------------- */

void heap_ask_init(void); /* registers with net */
/* Takes `count` chunks that nobody had: the first, or 0 when they are used up. */
uint64_t heap_next(uint64_t count);
/* As the functions of chunk.c, at `rank`, which does not share. */
int heap_far_take(int rank, uint64_t bytes, uint64_t *offset);
/* Frees and makes ready; an error is a warning there. */
void heap_far_free(int rank, uint64_t offset);
/* Waits until that is done, for this rank's. */
void heap_far_fence(int rank);
/* Any rank, also one that shares; for the service thread too. */
void heap_far_give(int rank, uint64_t first, uint64_t count);

/* ---- rebuild.c: see heap.h -------------------------------------------------------- */

#endif
