/* SPDX-License-Identifier: BSD-3-Clause */
/* touch: homes by first touch (src/space/touch.c); for the floor itself. */
#ifndef RECTO_SRC_SPACE_TOUCH_H
#define RECTO_SRC_SPACE_TOUCH_H

#include "space/space.h"

static inline bool space_touches(const struct space_segment *s)
{
    return s->attr.placement == RECTO_FIRST_TOUCH;
}

/* The words of all granules, in each domain's memory. */
uint64_t space_touch_bytes(const struct space_segment *s);
uint64_t space_touch_offset(const struct space_segment *s); /* alloc.c */

uint64_t space_touch_granules(const struct space_segment *s);
_Atomic uint32_t *space_touch_words(const struct space_segment *s, int domain);
/* Home + 1 of a granule; 0: nobody, or not known here. */
uint32_t space_touch_word(const struct space_segment *s, uint64_t granule);
/* The next stretch of granules that I keep, at or after `from`; false: none. */
bool space_touch_kept(const struct space_segment *s, uint64_t from,
                      uint64_t *first, uint64_t *end);

/* As space_home, space_home_run and space_home_stretch, but for pages below `limit`,
 * and as if none had been moved. */
int space_touch_home(const struct space_segment *s, uint64_t page);
bool space_touch_run(const struct space_segment *s, int rank, uint64_t from,
                     uint64_t limit, uint64_t *first, uint64_t *count);
uint64_t space_touch_stretch(const struct space_segment *s, uint64_t page,
                             uint64_t limit);

void space_touch_init(void); /* registers with net */

/* ---- claims.c: what I home ------------------------------------------------------- */

int space_claims_create(struct space_segment *s); /* local; RECTO_ENOMEM */
void space_claims_free(struct space_segment *s);  /* fine if there are none */
/* I became the home of a granule that another rank keeps: once. Async-signal-safe. */
void space_claims_add(struct space_segment *s, uint64_t granule);
/* The first run of pages that I home in [from, limit), cut there, as of the last
 * space_homes_list. */
bool space_claims_run(const struct space_segment *s, uint64_t from,
                      uint64_t limit, uint64_t *first, uint64_t *count);

#endif
