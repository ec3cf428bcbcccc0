/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of net/queue.h. */
#include "net/queue.h"

#include <recto/vm.h>

#include "base/base.h"

enum {
    FIRST_ROOM = 1024
};

static void grow(struct net_queue *q)
{
    uint64_t room = q->room > 0 ? 2 * q->room : FIRST_ROOM;
    void *table = NULL;
    if (recto_vm_table_create(room * sizeof *q->entries, &table) != 0) {
        base_fatal("no memory for %lu waiting messages", (unsigned long)room);
    }
    struct net_queue_entry *entries = table;
    for (uint64_t i = 0; i < q->count; i++) {
        entries[i] = q->entries[(q->head + i) % q->room];
    }
    uint64_t count = q->count;
    net_queue_free(q);
    q->entries = entries;
    q->room = room;
    q->count = count;
}

void net_queue_put(struct net_queue *q, const struct net_msg *msg, uint64_t due)
{
    if (q->count == q->room) {
        grow(q);
    }
    struct net_queue_entry *e = &q->entries[(q->head + q->count) % q->room];
    e->msg = *msg;
    e->due = due;
    q->count++;
}

bool net_queue_take(struct net_queue *q, struct net_msg *msg, uint64_t now)
{
    if (q->count == 0 || q->entries[q->head].due > now) {
        return false;
    }
    *msg = q->entries[q->head].msg;
    q->head = (q->head + 1) % q->room;
    q->count--;
    return true;
}

uint64_t net_queue_due(const struct net_queue *q)
{
    return q->count > 0 ? q->entries[q->head].due : UINT64_MAX;
}

void net_queue_free(struct net_queue *q)
{
    if (q->entries != NULL) {
        recto_vm_unmap(q->entries, q->room * sizeof *q->entries);
    }
    *q = (struct net_queue){0};
}
