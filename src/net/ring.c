/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue of net/ring.h. */
#include "net/ring.h"

#include "base/order.h"

void net_ring_init(struct net_ring *ring)
{
    for (uint64_t i = 0; i < NET_RING_SLOTS; i++) {
        atomic_store_explicit(&ring->slots[i].turn, i, memory_order_relaxed);
    }
    atomic_store_explicit(&ring->tail, 0, memory_order_release);
}

bool net_ring_push(struct net_ring *ring, const struct net_msg *msg)
{
    uint64_t position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        struct net_slot *slot = &ring->slots[position % NET_RING_SLOTS];
        /* pairs with the release in net_ring_pop */
        uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
        if (turn == position) {
            if (atomic_compare_exchange_weak_explicit(
                    &ring->tail, &position, position + 1, memory_order_relaxed,
                    memory_order_relaxed)) {
                base_order_in();
                slot->msg = *msg;
                base_order_out();
                /* pairs with the acquire in net_ring_pop */
                atomic_store_explicit(&slot->turn, position + 1,
                                      memory_order_release);
                return true;
            }
        } else if ((int64_t)(turn - position) < 0) {
            return false; /* the slot of the previous lap is still full */
        } else {
            position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        }
    }
}

void net_ring_ring(struct net_ring *ring)
{
    /* pairs with the fence in net_ring_sleep: either we see it sleeping or it
     * sees our message */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ring->sleeping, memory_order_relaxed) == 0 ||
        atomic_exchange_explicit(&ring->sleeping, 0, memory_order_acq_rel) ==
            0) {
        return;
    }
    atomic_fetch_add_explicit(&ring->wake, 1, memory_order_release);
    net_futex_wake((const uint32_t *)&ring->wake, 1, true);
}

static struct net_slot *full_slot(struct net_ring *ring)
{
    struct net_slot *slot = &ring->slots[ring->head % NET_RING_SLOTS];
    /* pairs with the release in net_ring_push */
    uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
    return turn == ring->head + 1 ? slot : NULL;
}

bool net_ring_pop(struct net_ring *ring, struct net_msg *msg)
{
    struct net_slot *slot = full_slot(ring);
    if (slot == NULL) {
        return false;
    }
    base_order_in();
    *msg = slot->msg;
    base_order_out();
    /* pairs with the acquire in net_ring_push */
    atomic_store_explicit(&slot->turn, ring->head + NET_RING_SLOTS,
                          memory_order_release);
    ring->head++;
    return true;
}

void net_ring_sleep(struct net_ring *ring, uint64_t timeout_ns)
{
    uint32_t seen = atomic_load_explicit(&ring->wake, memory_order_acquire);
    atomic_store_explicit(&ring->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with net_ring_ring */
    if (full_slot(ring) == NULL) {
        net_futex_wait((const uint32_t *)&ring->wake, seen, timeout_ns, true);
    }
    atomic_store_explicit(&ring->sleeping, 0, memory_order_relaxed);
}
