/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_malloc and recto_mfree: where a block is looked for, blocks that are
 * freed and not yet home, the gate that a checkpoint closes, life cycle.
 *
 * Invariants
 * 1. Who works on tables or waits for an answer holds the gate for reading;
 *    nobody waits for memory (a release, a page) meanwhile.
 * 2. `freed` holds the blocks that this rank freed and whose bytes may not be home
 *    yet, in the order of their freeing. A release makes ready those that were in
 *    it when it began.
 */
#include "heap/heap.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "heap/chunk.h"
#include "net/net.h"

struct heap heap;

enum {
    BATCH = 16,       /* chunks taken at once */
    FREED_MOST = 1024 /* blocks that may wait for a release */
};

static struct net_memory memory;
static pthread_rwlock_t gate;
static bool *told; /* by rank: was sent frees that no fence followed */
static bool gate_made;

/* ---- blocks freed and not yet home ------------------------------------------------- */

struct freed_block {
    int32_t home;
    uint64_t offset;
};

static struct {
    pthread_mutex_t mutex;
    struct freed_block blocks[2 * FREED_MOST]; /* number n at n mod size */
    _Atomic uint64_t tail;                     /* numbers start at 1 */
    _Atomic uint64_t head;
} freed = {.mutex = PTHREAD_MUTEX_INITIALIZER};

enum {
    FREED_ROOM = sizeof freed.blocks / sizeof freed.blocks[0]
};

static uint64_t freed_count(void)
{
    uint64_t head = atomic_load_explicit(&freed.head, memory_order_acquire);
    return atomic_load_explicit(&freed.tail, memory_order_acquire) - head;
}

static uint64_t freed_begin(void)
{
    return freed_count() > 0
               ? atomic_load_explicit(&freed.tail, memory_order_acquire)
               : 0;
}

static void ready(const struct freed_block *b)
{
    if (net_shares(b->home)) {
        (void)block_ready(b->home, b->offset, true);
    } else {
        heap_far_free(b->home, b->offset);
        told[b->home] = true;
    }
}

static void freed_end(uint64_t ticket)
{
    pthread_mutex_lock(&freed.mutex);
    uint64_t head = atomic_load_explicit(&freed.head, memory_order_relaxed);
    while (head < ticket) {
        ready(&freed.blocks[head++ % FREED_ROOM]);
    }
    atomic_store_explicit(&freed.head, head, memory_order_release);
    pthread_mutex_unlock(&freed.mutex);
}

/* False when there is no room. */
static bool freed_add(int home, uint64_t offset)
{
    pthread_mutex_lock(&freed.mutex);
    bool room = freed_count() < FREED_ROOM;
    if (room) {
        uint64_t tail = atomic_load_explicit(&freed.tail, memory_order_relaxed);
        freed.blocks[tail % FREED_ROOM] = (struct freed_block){home, offset};
        atomic_store_explicit(&freed.tail, tail + 1, memory_order_release);
    }
    pthread_mutex_unlock(&freed.mutex);
    return room;
}

/* ---- taking ------------------------------------------------------------------------- */

static bool grow(uint64_t bytes)
{
    uint64_t count = bytes <= CHUNK_SMALL ? 1 : chunk_count_of(bytes);
    uint64_t share = heap.chunks / (4 * (uint64_t)heap.ranks);
    uint64_t batch = share < BATCH ? share : BATCH;
    uint64_t got = count > batch ? count : batch;
    uint64_t first = heap_next(got);
    if (first == 0 && got > count) {
        got = count;
        first = heap_next(got);
    }
    return first != 0 && pool_give(net_rank(), first, got, true) == HEAP_DONE;
}

/* From this rank's own table. */
static bool take_mine(uint64_t bytes, uint64_t *offset)
{
    int me = net_rank();
    while (table_take(me, bytes, true, offset) != HEAP_DONE) {
        if (!grow(bytes)) {
            (void)table_collect(me, true);
            return table_take(me, bytes, true, offset) == HEAP_DONE;
        }
    }
    return true;
}

static bool take_from(int owner, uint64_t bytes, uint64_t *offset)
{
    if (!net_shares(owner)) {
        return heap_far_take(owner, bytes, offset) == HEAP_DONE;
    }
    if (table_take(owner, bytes, true, offset) == HEAP_DONE) {
        return true;
    }
    (void)table_collect(owner, true);
    return table_take(owner, bytes, true, offset) == HEAP_DONE;
}

/* Mine, or where another rank has room; sets its owner. */
static bool take(uint64_t bytes, int *owner, uint64_t *offset)
{
    pthread_rwlock_rdlock(&gate);
    *owner = net_rank();
    bool took = take_mine(bytes, offset);
    for (int i = 1; i < heap.ranks && !took; i++) {
        *owner = (net_rank() + i) % heap.ranks;
        took = take_from(*owner, bytes, offset);
    }
    pthread_rwlock_unlock(&gate);
    return took;
}

static int no_room(uint64_t bytes)
{
    return heap.s == NULL
               ? base_error(RECTO_ENOMEM,
                            "recto_malloc(%" PRIu64 "): %s=0 leaves no heap",
                            bytes, base_env_name(BASE_ENV_HEAP))
               : base_error(RECTO_ENOMEM,
                            "recto_malloc(%" PRIu64 "): the heap of %" PRIu64
                            " bytes has no room for it on any rank: set %s to "
                            "more",
                            bytes, heap.chunks * CHUNK_BYTES,
                            base_env_name(BASE_ENV_HEAP));
}

void *recto_malloc(size_t bytes)
{
    int owner = 0;
    uint64_t offset = 0;
    if (!gate_made) {
        base_error(RECTO_ESTATE, "recto_malloc before recto_init");
        return NULL;
    }
    if (heap.s == NULL || bytes > heap.chunks * CHUNK_BYTES) {
        no_room(bytes);
        return NULL;
    }
    if (!take(bytes, &owner, &offset)) {
        coherence_release(); /* gives back what I have freed */
        if (!take(bytes, &owner, &offset)) {
            no_room(bytes);
            return NULL;
        }
    }
    void *p = heap.s->recto + offset;
    if (net_domain_of(owner) != net_domain()) {
        coherence_drop(p, bytes);
    }
    return p;
}

/* ---- freeing -------------------------------------------------------------------------- */

/* Whose header tells; for one domain that is anybody's. */
static int home_of(uint64_t offset)
{
    return net_domains() > 1 ? space_home_ask(heap.s, offset / SPACE_PAGE)
                             : net_rank();
}

/* May the next owner write it at once? */
static bool is_home(int home, uint64_t offset)
{
    return net_domain_of(home) == net_domain() &&
           !chunk_at(home, offset / CHUNK_BYTES)->mixed;
}

/* Under the gate. *waits: until a release. */
static enum block_fault give(uint64_t offset, int *home, bool *waits)
{
    *home = home_of(offset);
    *waits = true;
    if (!net_shares(*home)) {
        return BLOCK_FREED; /* its owner will see */
    }
    enum block_fault fault = block_free(*home, offset);
    if (fault == BLOCK_FREED && is_home(*home, offset)) {
        *waits = false;
        (void)block_ready(*home, offset, true);
    }
    return fault;
}

int recto_mfree(void *p)
{
    if (p == NULL) {
        return 0;
    }
    if (!gate_made) {
        return base_error(RECTO_ESTATE, "recto_mfree before recto_init");
    }
    if (heap.s == NULL || space_segment_at(p) != heap.s) {
        return base_error(
            RECTO_EINVAL,
            "recto_mfree(%p): not memory of recto_malloc; give a pointer that "
            "it returned, once",
            p);
    }
    uint64_t offset = (uint64_t)((char *)p - heap.s->recto);
    int home = 0;
    bool waits = false;
    pthread_rwlock_rdlock(&gate);
    enum block_fault fault = give(offset, &home, &waits);
    pthread_rwlock_unlock(&gate);
    if (fault != BLOCK_FREED) {
        return base_error(RECTO_EINVAL,
                          fault == BLOCK_NOT
                              ? "recto_mfree(%p): no block begins there"
                              : "recto_mfree(%p): the block is free already",
                          p);
    }
    while (waits && !freed_add(home, offset)) {
        coherence_release();
    }
    if (waits && freed_count() >= FREED_MOST) {
        coherence_release();
    }
    return 0;
}

/* ---- life cycle -------------------------------------------------------------------------- */

void heap_stop(void)
{
    pthread_rwlock_wrlock(&gate);
    pthread_mutex_lock(&freed.mutex);
    for (int i = 0; i < heap.ranks; i++) {
        if (told[i]) {
            heap_far_fence(i);
        }
        told[i] = false;
    }
    pthread_mutex_unlock(&freed.mutex);
}

void heap_go(void)
{
    pthread_rwlock_unlock(&gate);
}

void heap_stats(recto_counters *counters)
{
    counters->heap_bytes =
        heap.s == NULL
            ? 0
            : (uint64_t)atomic_load_explicit(&heap.tables[net_rank()]->live,
                                             memory_order_relaxed);
}

static int size_read(uint64_t *chunks)
{
    uint64_t bytes = 0;
    int r = base_env_bytes(BASE_ENV_HEAP, &bytes);
    *chunks = bytes / CHUNK_BYTES;
    return r;
}

/* Writers come first: a checkpoint must not wait for ever. */
static int gate_make(void)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int r = pthread_rwlock_init(&gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    gate_made = r == 0;
    return r == 0 ? 0
                  : base_error(RECTO_ENOMEM, "gate: %s", base_errno_text(r));
}

int heap_init(void)
{
    memset(&heap, 0, sizeof heap);
    freed.head = 1;
    freed.tail = 1;
    heap.ranks = net_size();
    heap_ask_init();
    int64_t sizes[2];
    told = calloc((size_t)heap.ranks, sizeof *told);
    int r = told != NULL ? size_read(&heap.chunks)
                         : base_error(RECTO_ENOMEM, "heap");
    r = net_verdict(r == 0 ? gate_make() : r);
    sizes[0] = (int64_t)heap.chunks;
    sizes[1] = -(int64_t)heap.chunks;
    r = r == 0 ? net_allreduce_max(sizes, 2) : r;
    if (r == 0 && sizes[0] != -sizes[1]) {
        r = base_error(
            RECTO_EMISMATCH,
            "%s differs between ranks; pass the environment to all ranks "
            "(mpirun -x NAME)",
            base_env_name(BASE_ENV_HEAP));
    }
    if (r == 0 && heap.chunks > 0) {
        r = net_memory_create(&memory, "recto-heap",
                              sizeof(struct heap_table) +
                                  (heap.chunks + 63) / 64 * sizeof(uint64_t));
        heap.tables = (struct heap_table **)memory.views;
    }
    return r;
}

int heap_create(void)
{
    if (heap.chunks == 0) {
        return 0;
    }
    struct space_segment *s = NULL;
    int r = space_heap_create(heap.chunks * CHUNK_BYTES, CHUNK_BYTES, &s);
    if (r != 0) {
        return r;
    }
    if (net_rank() == 0) {
        space_homes_claim(s, 0, CHUNK_PAGES);
        heap.tables[0]->next = 1;
    }
    heap.s = s;
    coherence_on_release(freed_begin, freed_end);
    return net_verdict(0);
}

void heap_finalize(void)
{
    coherence_on_release(NULL, NULL);
    net_memory_free(&memory);
    free(told);
    told = NULL;
    if (gate_made) {
        pthread_rwlock_destroy(&gate);
    }
    gate_made = false;
    memset(&heap, 0, sizeof heap);
}
