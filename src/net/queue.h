/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A growing first-in first-out list of messages with due times, used by the
 * service thread only. It takes memory from vm tables, never from malloc: the
 * service thread must go on while an application thread sits in a page fault
 * inside malloc.
 */
#ifndef RECTO_SRC_NET_QUEUE_H
#define RECTO_SRC_NET_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"

struct net_queue_entry {
    struct net_msg msg;
    uint64_t due;
};

/* All zero is an empty queue. entries[head % room .. ) in a circle. */
struct net_queue {
    struct net_queue_entry *entries;
    uint64_t room;
    uint64_t head;
    uint64_t count;
};

static inline bool net_queue_empty(const struct net_queue *q)
{
    return q->count == 0;
}

/* Ends the process when no memory can be had. */
void net_queue_put(struct net_queue *q, const struct net_msg *msg,
                   uint64_t due);
/* Takes the first entry if it is due at `now`. */
bool net_queue_take(struct net_queue *q, struct net_msg *msg, uint64_t now);
/* Due time of the first entry; UINT64_MAX when empty. */
uint64_t net_queue_due(const struct net_queue *q);
void net_queue_free(struct net_queue *q);

#endif
