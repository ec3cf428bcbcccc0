/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of segments, found by name, identifier and address.
 *
 * Invariants
 * 1. Identifiers are given in the same order on all ranks and never again.
 *    A segment's slot is its identifier modulo SLOTS.
 * 2. Slots are read without a lock by fault handlers and the service thread;
 *    they change inside collective calls only, and a segment is freed only
 *    after the protocol made sure that nobody works on it.
 * 3. A search by address reads no segment but the one that has it: any thread may
 *    search for any address, in a call with a private buffer, while a segment that
 *    is not concerned is freed.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"
#include "space/table.h"

enum {
    SLOTS = 16384
};

static struct space_segment *_Atomic slots[SLOTS];
/* Where the segments in the slots lie; bytes is 0 while there is none. */
static struct {
    _Atomic uintptr_t start;
    _Atomic uint64_t bytes;
} places[SLOTS];
static _Atomic uint32_t slots_used; /* slots [0, slots_used) were ever used */
static struct space_segment *first;
static uint32_t next_id;

struct space_segment *space_segment_first(void)
{
    return first;
}

struct space_segment *space_segment_find(const char *name)
{
    struct space_segment *s = first;
    while (s != NULL && strcmp(s->name, name) != 0) {
        s = s->next;
    }
    return s;
}

struct space_segment *space_segment_by_id(uint32_t id)
{
    struct space_segment *s =
        atomic_load_explicit(&slots[id % SLOTS], memory_order_acquire);
    return s != NULL && s->id == id ? s : NULL;
}

struct space_segment *space_segment_at(const void *p)
{
    uintptr_t a = (uintptr_t)p;
    uint32_t n = atomic_load_explicit(&slots_used, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        /* pairs with the releases in space_table_add; twice, since the slot may be
         * used again between the two */
        uintptr_t start =
            atomic_load_explicit(&places[i].start, memory_order_acquire);
        uint64_t bytes =
            atomic_load_explicit(&places[i].bytes, memory_order_acquire);
        if (a - start < bytes &&
            atomic_load_explicit(&places[i].start, memory_order_acquire) ==
                start) {
            return atomic_load_explicit(&slots[i], memory_order_acquire);
        }
    }
    return NULL;
}

uint32_t space_table_slots(void)
{
    return atomic_load_explicit(&slots_used, memory_order_acquire);
}

struct space_segment *space_table_slot(uint32_t i)
{
    return atomic_load_explicit(&slots[i], memory_order_acquire);
}

int space_table_id(uint32_t *id)
{
    for (uint32_t i = 0; i < SLOTS; i++, next_id++) {
        if (atomic_load_explicit(&slots[next_id % SLOTS],
                                 memory_order_relaxed) == NULL) {
            *id = next_id++;
            return 0;
        }
    }
    return base_error(RECTO_ENOMEM, "more than %d segments", SLOTS);
}

void space_table_add(struct space_segment *s)
{
    struct space_segment **end = &first;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    s->next = NULL;
    *end = s;
    /* pairs with the acquires in space_segment_by_id and _at */
    atomic_store_explicit(&slots[s->id % SLOTS], s, memory_order_release);
    atomic_store_explicit(&places[s->id % SLOTS].start, (uintptr_t)s->recto,
                          memory_order_release);
    atomic_store_explicit(&places[s->id % SLOTS].bytes, s->pages * SPACE_PAGE,
                          memory_order_release);
    if (s->id % SLOTS >= slots_used) {
        atomic_store_explicit(&slots_used, s->id % SLOTS + 1,
                              memory_order_release);
    }
}

void space_table_remove(struct space_segment *s)
{
    struct space_segment **at = &first;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    atomic_store_explicit(&places[s->id % SLOTS].bytes, 0,
                          memory_order_release);
    atomic_store_explicit(&slots[s->id % SLOTS], NULL, memory_order_release);
}

void space_table_clear(void)
{
    RECTO_ASSERT(first == NULL);
    next_id = 0;
    atomic_store_explicit(&slots_used, 0, memory_order_release);
}
