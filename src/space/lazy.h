/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lazy: home pages that a restart loads while the program goes on (RECTO_RESTART=lazy).
 *
 * A page is *present* once its home has loaded it. Until then nobody may look at its
 * memory, or get a right to it: whoever wants to first asks the page's home, whose
 * loader (ckpt/lazy.c) loads what is asked for before what is not.
 */
#ifndef RECTO_SRC_SPACE_LAZY_H
#define RECTO_SRC_SPACE_LAZY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "space/space.h"

/* Does the environment want it? */
bool space_lazy_wanted(void);
/* May pages of a segment come late? The same on all ranks. */
bool space_lazy_may(const struct space_segment *s);

/* Bytes of a domain's memory for each segment; 0 where no page comes late. */
uint64_t space_lazy_bytes(const struct space_segment *s);
uint64_t space_lazy_offset(const struct space_segment *s); /* alloc.c */

/* ---- the restart ---------------------------------------------------------------- */

/* Takes my rights to all pages; none is present any more. After coherence_recall; local,
 * no thread uses the segment. */
int space_lazy_begin(struct space_segment *s);
/* Then, on all ranks: pages are what space_lazy_arrive tells from now on. */
void space_lazy_start(struct space_segment *s);
/* All pages of all homes are present, or none will come. Local. */
void space_lazy_end(struct space_segment *s);

/* ---- the loader ----------------------------------------------------------------- */

/* The first page at or after *page that I home and somebody has asked for; false: none
 * is found. It counts as not asked for afterwards. */
bool space_lazy_take(const struct space_segment *s, uint64_t *page);
bool space_lazy_present(const struct space_segment *s, uint64_t page);
/* Pages that I home are loaded: wakes who waits. */
void space_lazy_arrive(const struct space_segment *s, uint64_t first,
                       uint64_t count);

/* ---- those who touch ------------------------------------------------------------ */

void space_lazy_wait(const struct space_segment *s, uint64_t first,
                     uint64_t count);
bool space_lazy_ask(const struct space_segment *s, uint64_t first,
                    uint64_t count);

static inline bool space_lazy_loads(const struct space_segment *s)
{
    /* acquire: pairs with space_lazy_start */
    return atomic_load_explicit(&s->loading, memory_order_acquire);
}

/*
 * Before a look at the memory of pages, or a right to them, whose homes share memory
 * with me. Async-signal-safe; may wait for the loader of a home, which needs neither MPI
 * nor a lock nor memory.
 */
static inline void space_before_touch(const struct space_segment *s,
                                      uint64_t first, uint64_t count)
{
    if (space_lazy_loads(s)) {
        space_lazy_wait(s, first, count);
    }
}

/* The same for the service thread, which waits for nobody: false, and they are asked
 * for; to be called again. */
static inline bool space_may_touch(const struct space_segment *s,
                                   uint64_t first, uint64_t count)
{
    return !space_lazy_loads(s) || space_lazy_ask(s, first, count);
}

/* How many pages from `first` on, at most `most`, may be touched. */
uint64_t space_lazy_run(const struct space_segment *s, uint64_t first,
                        uint64_t most);

#endif
