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

/* As space_home and space_home_run, but for pages below `limit`, and as if none
 * had been moved. A run's homes are all decided, or none. */
int space_touch_home(const struct space_segment *s, uint64_t page);
bool space_touch_run(const struct space_segment *s, int rank, uint64_t from,
                     uint64_t limit, uint64_t *first, uint64_t *count);

void space_touch_init(void); /* registers with net */

#endif
