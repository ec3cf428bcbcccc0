/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bounded queue of messages in memory shared inside a machine: any thread of
 * any of its processes pushes, one service thread pops. After D. Vyukov's
 * bounded queue: each slot's sequence number says whose turn it is.
 *
 * Invariants
 * 1. slot.turn == position: free for the producer that claims `position`.
 *    slot.turn == position + 1: full, for the consumer at `position`.
 * 2. A producer never waits for the consumer between claim and publication,
 *    and nothing may interrupt it there that itself waits for the consumer:
 *    pushes are made with asynchronous signals blocked.
 * 3. `sleeping` is 1 only while the consumer is about to wait or waits on
 *    `wake`; who exchanges it for 0 wakes it.
 */
#ifndef RECTO_SRC_NET_RING_H
#define RECTO_SRC_NET_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"

enum {
    NET_RING_SLOTS = 4096
};

struct net_slot {
    _Alignas(64) _Atomic uint64_t turn;
    struct net_msg msg;
};

struct net_ring {
    _Alignas(64) _Atomic uint64_t tail; /* next position to push */
    _Alignas(64) uint64_t head;         /* next to pop; the consumer's own */
    _Alignas(64) _Atomic uint32_t sleeping;
    _Atomic uint32_t wake; /* futex word, counts wake-ups */
    struct net_slot slots[NET_RING_SLOTS];
};

void net_ring_init(struct net_ring *ring);

/* False when full. Async-signal-safe. */
bool net_ring_push(struct net_ring *ring, const struct net_msg *msg);

/* Wakes the consumer if it sleeps; after a push. */
void net_ring_ring(struct net_ring *ring);

/* Consumer: false when empty. */
bool net_ring_pop(struct net_ring *ring, struct net_msg *msg);

/* Consumer: waits until a push or for at most `timeout_ns` (0: no limit). */
void net_ring_sleep(struct net_ring *ring, uint64_t timeout_ns);

#endif
