/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recording into memory that an upper floor has mapped: trace.h. Called by fault
 * handlers, the service thread, threads of checkpoints and the program's.
 */
#include "base/trace.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"

struct trace_header *_Atomic base_trace;

static struct trace_slot *slot_of(struct trace_header *h, uint64_t i)
{
    return (struct trace_slot *)((char *)h + TRACE_HEADER) + i;
}

/* The first of `count` slots in a row, or NULL: no room. */
static struct trace_slot *claim(struct trace_header *h, uint64_t count)
{
    uint64_t i =
        atomic_fetch_add_explicit(&h->claimed, count, memory_order_relaxed);
    return i < h->slots && count <= h->slots - i ? slot_of(h, i) : NULL;
}

/* Constant in a thread, and no system call: where its errno lies. */
static uint32_t thread_of(void)
{
    return (uint32_t)((uintptr_t)&errno >> 4);
}

/* The kind last: who reads a dead rank's file takes what has one. */
static void publish(struct trace_slot *slot, enum trace_kind kind)
{
    atomic_store_explicit(&slot->kind, (uint16_t)kind, memory_order_release);
}

uint64_t base_trace_clock(void)
{
    return base_tracing() ? base_now() : 0;
}

void base_trace_add(const struct base_event *event)
{
    struct trace_header *h =
        atomic_load_explicit(&base_trace, memory_order_acquire);
    struct trace_slot *slot =
        h != NULL && event->e.start != 0 ? claim(h, 1) : NULL;
    if (slot == NULL) {
        return;
    }
    /* the next one's line is not in the cache either */
    __builtin_prefetch(slot + 2, 1);
    slot->what = (uint8_t)event->what;
    slot->flags = (uint8_t)event->flags;
    slot->thread = thread_of();
    slot->u.event = event->e;
    if (event->e.ns == 0) {
        slot->u.event.ns = base_now() - event->e.start;
    }
    publish(slot, event->kind);
}

void base_trace_define(enum trace_kind kind, const void *payload, size_t bytes)
{
    struct trace_header *h =
        atomic_load_explicit(&base_trace, memory_order_acquire);
    size_t more = (bytes + TRACE_BODY - 1) / TRACE_BODY;
    struct trace_slot *slot = h != NULL ? claim(h, 1 + more) : NULL;
    RECTO_ASSERT(more < TRACE_DEFINITION_MOST);
    if (slot == NULL) {
        return;
    }
    for (size_t i = 0; i < more; i++) {
        size_t rest = bytes - i * TRACE_BODY;
        memcpy(slot[1 + i].u.body, (const char *)payload + i * TRACE_BODY,
               rest < TRACE_BODY ? rest : TRACE_BODY);
        publish(&slot[1 + i], TRACE_MORE);
    }
    slot->u.definition.bytes = bytes;
    publish(slot, kind);
}

void base_trace_use(struct trace_header *header)
{
    /* pairs with the acquires above */
    atomic_store_explicit(&base_trace, header, memory_order_release);
}
