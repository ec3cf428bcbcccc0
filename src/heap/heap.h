/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heap: recto_malloc and recto_mfree, blocks of shared memory that any thread of
 * any rank gets and gives back at any time. Here what the life cycle and
 * checkpoints need; chunk.h says how it works.
 *
 *   chunk.c    blocks in chunks, chunks in a rank's table: by those who share
 *   ask.c      the same by message; chunks that nobody had
 *   heap.c     the public calls, blocks freed and not yet home, life cycle
 *   rebuild.c  what a checkpoint holds of it, and its tables made from that
 */
#ifndef RECTO_SRC_HEAP_H
#define RECTO_SRC_HEAP_H

#include <recto.h>
#include <stdbool.h>
#include <stdint.h>

#include "space/space.h"

int heap_init(void);      /* collective, before the service thread starts */
int heap_create(void);    /* collective, after it: makes the segment */
void heap_finalize(void); /* after the service thread ended */
void heap_stats(recto_counters *counters);

/* Waits until no thread of this rank is in the allocator, and keeps them out
 * until heap_go. What it asked of other ranks is done then. After a release. */
void heap_stop(void);
void heap_go(void);

/* For rank 0, between stop and go: bytes from the start that a checkpoint has to
 * hold, 0 while the heap was never used; grows in steps. Notes in the heap what
 * a restart needs. */
uint64_t heap_extent(void);

/* The heap as its memory now says: after a restart that loaded `extent` bytes of
 * it, of any number of ranks; 0: empty. Collective, between stop and go.
 * RECTO_ECORRUPT. */
int heap_rebuild(uint64_t extent);

#endif
