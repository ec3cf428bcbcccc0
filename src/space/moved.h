/* SPDX-License-Identifier: BSD-3-Clause */
/* moved: tables of pages that have another home than their placement gave them
 * (src/space/moved.c). */
#ifndef RECTO_SRC_SPACE_MOVED_H
#define RECTO_SRC_SPACE_MOVED_H

#include "space/space.h"

struct space_moved_run {
    uint64_t first;
    uint64_t end; /* behind the last page */
    int home;
};

struct space_moved {
    uint64_t count;
    struct space_moved_run runs[];
};

/* A table of one run; of none if it is empty. NULL: no memory. */
struct space_moved *space_moved_of(struct space_moved_run run);
/* What `over` says, and elsewhere what `under` says, which may be NULL: nothing. In
 * one pass over both. NULL: no memory. */
struct space_moved *space_moved_join(const struct space_moved *under,
                                     const struct space_moved *over);
void space_moved_free(struct space_moved *m);
/* The run that holds `page`, or the first one behind it; NULL: none. */
const struct space_moved_run *space_moved_next(const struct space_moved *m,
                                               uint64_t page);

/* In a segment's table, async-signal-safe: the run that holds a page, or NULL; it
 * or the first one behind it. */
const struct space_moved_run *space_moved_at(const struct space_segment *s,
                                             uint64_t page);
const struct space_moved_run *space_moved_after(const struct space_segment *s,
                                                uint64_t page);

/* The segment's table is m from now on, which becomes its own; NULL: the placement
 * holds everywhere. Collective, as invariant 2 of moved.c says. */
void space_homes_move(struct space_segment *s, struct space_moved *m);

#endif
