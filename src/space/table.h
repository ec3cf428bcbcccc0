/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of segments: its changing half, for src/space only. */
#ifndef RECTO_SRC_SPACE_TABLE_H
#define RECTO_SRC_SPACE_TABLE_H

#include "space/space.h"

int space_table_id(uint32_t *id); /* RECTO_ENOMEM when the table is full */
void space_table_add(struct space_segment *s);
void space_table_remove(struct space_segment *s);
void space_table_clear(void);

/*
 * Maps the recto of a segment at an address that is free on every rank and
 * sets s->recto. Collective. RECTO_EADDRESS on every rank when there is none.
 */
int space_address_map(struct space_segment *s);

/* RECTO_ENOMEM, with the figures, when the machine cannot hold what would be
 * homed on it with `s`. Local. */
int space_memory_check(const struct space_segment *s);

#endif
