/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * snapshot: home pages as they were at one moment, while the program goes on writing.
 *
 * At the *stop*, when no thread of any rank writes, each rank says which of its home
 * pages belong to the snapshot. Afterwards its writer thread takes them one by one
 * (space_snapshot_take). Whoever is about to write to such a page first, through a
 * recto or a verso, copies it into the *ring* of its home, a bounded buffer, where the
 * writer thread finds it (space_snapshot_pop); when the ring is full he waits.
 */
#ifndef RECTO_SRC_SPACE_SNAPSHOT_H
#define RECTO_SRC_SPACE_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct space_segment;

/* Bytes of a domain's memory for each segment, behind the marks. */
uint64_t space_snapshot_bytes(const struct space_segment *s);
uint64_t space_snapshot_offset(const struct space_segment *s); /* alloc.c */

/* Makes the rings, of `bytes` for pages each, unless they are there. Collective. */
int space_snapshot_create(uint64_t bytes);
void space_snapshot_destroy(void); /* local */

/* ---- the stop ------------------------------------------------------------------- */

/* Home pages of mine. Local; no thread of any rank writes to them yet. */
void space_snapshot_add(const struct space_segment *s, uint64_t first,
                        uint64_t count);
/* The writes of this rank's threads to home pages of any rank are looked at from here
 * on. Before the verdict that ends the stop. */
void space_snapshot_begin(void);
/* Is a page of the segment, of those that ranks of my domain home, in it? */
bool space_snapshot_needs(const struct space_segment *s);
/* Writes through my recto of a segment that is tracked pass space_before_writes from
 * here on, whatever tracks them; until the snapshot is over. Local. */
int space_snapshot_shut(struct space_segment *s);
void space_snapshot_open(struct space_segment *s);

/* ---- the writer thread ---------------------------------------------------------- */

/* Copies a page of mine as it was at the stop to `to`; false: it is in the ring, or was
 * taken before. */
bool space_snapshot_take(const struct space_segment *s, uint64_t page,
                         void *to);
/* A page that waits in my ring; false: none does. *data is valid until space_snapshot_
 * free, which must come before the next pop. */
bool space_snapshot_pop(uint32_t *segment, uint64_t *page, const char **data);
void space_snapshot_free(void);
/* Is my ring so full that it should be emptied first? */
bool space_snapshot_presses(void);

/* All ranks have taken all, or the snapshot is given up: nobody waits any more. Local,
 * by the writer thread; `mine` as given to space_snapshot_add is forgotten by
 * space_snapshot_drop. */
void space_snapshot_end(void);
void space_snapshot_drop(const struct space_segment *s, uint64_t first,
                         uint64_t count);

/* ---- those who write ------------------------------------------------------------ */

extern atomic_bool space_snapshot_on;
void space_snapshot_save(const struct space_segment *s, uint64_t page,
                         int home);

/*
 * Before a store into the memory of a page's home, whose home shares memory with me,
 * while the page may belong to a snapshot. Async-signal-safe; may wait for the writer
 * thread of the home, which needs neither MPI nor a lock.
 */
static inline void space_before_write_at(const struct space_segment *s,
                                         uint64_t page, int home)
{
    /* acquire: pairs with space_snapshot_begin, after which there are rings */
    if (atomic_load_explicit(&space_snapshot_on, memory_order_acquire)) {
        space_snapshot_save(s, page, home);
    }
}

void space_before_write(const struct space_segment *s, uint64_t page);
/* The same for pages that are written through a recto, recto_vm_before_write: those that
 * my domain homes. */
void space_before_writes(uint64_t first, uint64_t count, void *segment);

/* ---- changes of segments --------------------------------------------------------- */

/* What recto_free and recto_migrate call before they change anything, after all ranks
 * have met: no snapshot is under way when it returns. NULL: nobody. */
void space_landing_set(void (*land)(void));
void space_land(void);

#endif
