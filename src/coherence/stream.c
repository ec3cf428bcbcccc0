/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault streams, see stream.h. */
#include "coherence/stream.h"

#include "base/base.h"

/* A slot: the page that would continue the stream, its stride, how much was moved,
 * and whether it writes. A length of 0: none. */
enum {
    STRIDE_SHIFT = 32,
    STRIDE_BITS = 21,
    LENGTH_SHIFT = STRIDE_SHIFT + STRIDE_BITS,
    LENGTH_BITS = 10,
    WRITE_SHIFT = LENGTH_SHIFT + LENGTH_BITS
};
static const int64_t stride_most = (INT64_C(1) << (STRIDE_BITS - 1)) - 1;

/* The last pages that this thread moved. Initial-exec: reading it in a handler
 * never allocates. */
static _Thread_local struct {
    const struct stream_table *table;
    uint64_t page;
    int64_t distance; /* to the one before; 0: unknown */
} last __attribute__((tls_model("initial-exec")));

static _Atomic uint64_t *slot_of(struct stream_table *table, uint64_t page,
                                 bool write)
{
    uint64_t mixed = (page * 2 + write) * UINT64_C(0x9e3779b97f4a7c15);
    return &table->slots[mixed >> 32 & (STREAM_SLOTS - 1)];
}

static uint64_t pack(uint64_t next, int64_t stride, uint64_t length, bool write)
{
    uint64_t mask = (UINT64_C(1) << STRIDE_BITS) - 1;
    return (next & UINT32_MAX) | ((uint64_t)stride & mask) << STRIDE_SHIFT |
           length << LENGTH_SHIFT | (uint64_t)write << WRITE_SHIFT;
}

static int64_t stride_in(uint64_t slot)
{
    uint64_t raw = slot >> STRIDE_SHIFT;
    return (int64_t)(raw << (64 - STRIDE_BITS)) >> (64 - STRIDE_BITS);
}

static uint64_t length_in(uint64_t slot)
{
    return slot >> LENGTH_SHIFT & ((UINT64_C(1) << LENGTH_BITS) - 1);
}

/* The distance to the thread's last fault, if the one before was as far. */
static int64_t stride_guess(const struct stream_table *table, uint64_t page)
{
    int64_t distance =
        last.table == table ? (int64_t)page - (int64_t)last.page : 0;
    bool again = distance != 0 && distance == last.distance;
    last.distance = distance;
    return again && distance <= stride_most && distance >= -stride_most
               ? distance
               : 1;
}

struct stream stream_find(struct stream_table *table, uint64_t page, bool write,
                          uint64_t most)
{
    _Atomic uint64_t *at = slot_of(table, page, write);
    uint64_t slot = atomic_load_explicit(at, memory_order_relaxed);
    struct stream s = {.first = page, .length = 1, .write = write};
    if (length_in(slot) != 0 && (uint32_t)slot == (uint32_t)page &&
        (slot >> WRITE_SHIFT & 1) == (uint64_t)write) {
        atomic_store_explicit(at, 0, memory_order_relaxed);
        s.stride = stride_in(slot);
        s.length = length_in(slot) * 2;
        s.length = s.length < most ? s.length : most;
        last.distance = s.stride;
    } else {
        s.stride = stride_guess(table, page);
    }
    return s;
}

void stream_note(struct stream_table *table, const struct stream *s,
                 uint64_t moved)
{
    int64_t end = (int64_t)s->first + s->stride * (int64_t)moved;
    RECTO_ASSERT(moved > 0 && moved < UINT64_C(1) << LENGTH_BITS);
    last.table = table;
    last.page = (uint64_t)(end - s->stride);
    if (end >= 0) {
        atomic_store_explicit(slot_of(table, (uint64_t)end, s->write),
                              pack((uint64_t)end, s->stride, moved, s->write),
                              memory_order_relaxed);
    }
}
