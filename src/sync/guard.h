/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock in memory that ranks of a machine share, held for some tens of
 * instructions: who finds it taken spins for as long, then sleeps (the three
 * states of Drepper's "Futexes Are Tricky", mutex 2). Nothing that may fault,
 * wait or send happens under it. Service threads only ever try it: a thread may
 * be stopped in it by a signal handler that waits for a page from that service
 * thread.
 */
#ifndef RECTO_SRC_SYNC_GUARD_H
#define RECTO_SRC_SYNC_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t sync_guard; /* futex: 0 free, 1 taken, 2 wanted */

bool sync_guard_try(sync_guard *guard); /* gives up soon */
void sync_guard_take(sync_guard *guard);
void sync_guard_give(sync_guard *guard);

#endif
