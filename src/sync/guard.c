/* SPDX-License-Identifier: BSD-3-Clause */
/* Short locks between ranks of a machine: see sync/guard.h. */
#include "sync/guard.h"

#include "base/order.h"
#include "net/net.h"
#include "sync/wait.h"

enum {
    GUARD_SPINS = 200
};

bool sync_guard_try(sync_guard *guard)
{
    for (int i = 0; i < GUARD_SPINS; i++) {
        uint32_t free = 0;
        /* acquire: pairs with the release in sync_guard_give */
        if (atomic_compare_exchange_strong_explicit(
                guard, &free, 1, memory_order_acquire, memory_order_relaxed)) {
            base_order_in();
            return true;
        }
        sync_pause();
    }
    return false;
}

void sync_guard_take(sync_guard *guard)
{
    if (sync_guard_try(guard)) {
        return;
    }
    while (atomic_exchange_explicit(guard, 2, memory_order_acquire) != 0) {
        net_futex_wait((const uint32_t *)guard, 2, 0, true);
    }
    base_order_in();
}

void sync_guard_give(sync_guard *guard)
{
    base_order_out();
    if (atomic_exchange_explicit(guard, 0, memory_order_release) == 2) {
        net_futex_wake((const uint32_t *)guard, 1, true);
    }
}
