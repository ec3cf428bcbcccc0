/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of segments: its changing half, for src/space only. */
#ifndef RECTO_SRC_SPACE_TABLE_H
#define RECTO_SRC_SPACE_TABLE_H

#include "space/space.h"

/* Slots [0, space_table_slots()), NULL where empty; async-signal-safe. */
uint32_t space_table_slots(void);
struct space_segment *space_table_slot(uint32_t i);
/* Length of the views in s->versos. */
uint64_t space_verso_bytes(const struct space_segment *s);
int space_table_id(uint32_t *id); /* RECTO_ENOMEM when the table is full */
void space_table_add(struct space_segment *s);
void space_table_remove(struct space_segment *s);
void space_table_clear(void);

/*
 * Maps the recto of a segment at an address that is free on every rank and
 * sets s->recto. Collective. RECTO_EADDRESS on every rank when there is none.
 */
int space_address_map(struct space_segment *s);

/* ---- commit.c: RECTO_COMMIT ---------------------------------------------------- */

enum space_commit {
    SPACE_CHECK,
    SPACE_RESERVE,
    SPACE_SPARSE
};

struct space_room; /* limits.h */

int space_commit_init(void); /* RECTO_EINVAL */
void space_commit_end(void);
enum space_commit space_commit_of(const struct space_segment *s);
const char *space_commit_name(const struct space_segment *s);
/* RECTO_ENOMEM on every rank, with the figures, when a machine cannot hold what
 * would be homed on it with `s`. Collective, where
 * space_commit_of is not SPACE_SPARSE. */
int space_commit_check(struct space_segment *s);
/* Makes the kernel allocate my home pages, if that is the mode. Local. */
int space_commit_reserve(const struct space_segment *s);
/* What can be had now. Async-signal-safe. */
void space_room(struct space_room *room);
/* Does the kernel refuse to promise more than there is? Async-signal-safe. */
bool space_overcommit_strict(void);
/* Bytes that my domain's memory of a segment takes. Async-signal-safe. */
uint64_t space_touched(const struct space_segment *s);

/* ---- shortage.c: memory that runs out ------------------------------------------- */

int space_shortage_start(void);
void space_shortage_stop(void);
/* Around changes of the list of segments. */
void space_shortage_lock(void);
void space_shortage_unlock(void);

#endif
