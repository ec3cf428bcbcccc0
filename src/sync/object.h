/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Synchronisation objects of all ranks, by id: what the public calls of locks,
 * events and the rest have in common.
 *
 *   id = generation << 32 | index;  home = index mod size;
 *   slot = index / size in the home's table
 */
#ifndef RECTO_SRC_SYNC_OBJECT_H
#define RECTO_SRC_SYNC_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "sync/slot.h"

/* Makes `count` objects; ids[0 .. count) when it returns 0. Collective; `call`
 * is the public call, for messages and comparison. */
int object_create(enum slot_kind kind, int64_t value, uint64_t *ids,
                  size_t count, const char *call);
/* Frees them, or none: RECTO_EBUSY when one is held or waited for. Collective. */
int object_free(enum slot_kind kind, uint64_t *ids, size_t count,
                const char *call);

/* Does it, waiting if it must; from any thread. As slot_operate, with a message
 * (RECTO_EBUSY is an answer and has none). */
int object_call(enum slot_kind kind, uint64_t id,
                enum slot_operation operation);

/* Waits on a condition: releases memory and gives the lock once it stands in the
 * queue; takes the lock again when it was woken, and acquires. */
int object_cond_wait(uint64_t cond, uint64_t lock);

#endif
