/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Homes: the map from pages to ranks. A placement, but for RECTO_FIRST_TOUCH
 * (touch.c), is a pure function of the segment, the same on every rank.
 *
 *   RECTO_BLOCK    rank r homes pages [r * per, (r + 1) * per), per rounded up
 *   RECTO_CYCLIC   granule g (of granule_pages pages) is homed by g mod size
 *   RECTO_AT(r)    all pages by r mod size (so that a checkpoint of more ranks
 *                  restores on fewer)
 *
 * What recto_migrate gave away stands before all of these (moved.c).
 */
#include "base/base.h"
#include "space/moved.h"
#include "space/touch.h"

/* Nobody touches what is not mapped yet. */
static int placement(const struct space_segment *s)
{
    return space_touches(s) && s->versos == NULL ? RECTO_BLOCK
                                                 : s->attr.placement;
}

static uint64_t block_pages(const struct space_segment *s)
{
    uint64_t ranks = (uint64_t)net_size();
    return (s->pages + ranks - 1) / ranks;
}

int space_home(const struct space_segment *s, uint64_t page)
{
    RECTO_ASSERT(page < s->pages);
    const struct space_moved_run *moved = space_moved_at(s, page);
    if (moved != NULL) {
        return moved->home;
    }
    switch (placement(s)) {
    case RECTO_BLOCK: return (int)(page / block_pages(s));
    case RECTO_CYCLIC:
        return (int)(page / s->granule_pages % (uint64_t)net_size());
    case RECTO_FIRST_TOUCH: return space_touch_home(s, page);
    default: return (s->attr.placement - RECTO_AT_BASE) % net_size();
    }
}

/* First page homed by `rank` at or after `from`; s->pages or more if none. */
static uint64_t first_page(const struct space_segment *s, int rank,
                           uint64_t from)
{
    uint64_t r = (uint64_t)rank;
    uint64_t ranks = (uint64_t)net_size();
    if (placement(s) == RECTO_BLOCK) {
        uint64_t start = r * block_pages(s);
        uint64_t end = start + block_pages(s);
        return from >= end ? s->pages : from > start ? from : start;
    }
    if (s->attr.placement == RECTO_CYCLIC) {
        uint64_t granule = from / s->granule_pages;
        uint64_t ahead = (r + ranks - granule % ranks) % ranks;
        return ahead == 0 ? from : (granule + ahead) * s->granule_pages;
    }
    return space_home(s, 0) == rank ? from : s->pages;
}

/* The first run of the placement that begins in [from, limit), cut there. */
static bool placed_run(const struct space_segment *s, int rank, uint64_t from,
                       uint64_t limit, uint64_t *first, uint64_t *count)
{
    if (placement(s) == RECTO_FIRST_TOUCH) {
        return space_touch_run(s, rank, from, limit, first, count);
    }
    uint64_t start = first_page(s, rank, from);
    if (start >= limit) {
        return false;
    }
    uint64_t end = limit;
    if (placement(s) == RECTO_BLOCK) {
        end = ((uint64_t)rank + 1) * block_pages(s);
    } else if (s->attr.placement == RECTO_CYCLIC && net_size() > 1) {
        end = (start / s->granule_pages + 1) * s->granule_pages;
    }
    *first = start;
    *count = (end < limit ? end : limit) - start;
    return true;
}

bool space_home_run(const struct space_segment *s, int rank, uint64_t from,
                    uint64_t *first, uint64_t *count)
{
    for (uint64_t at = from; at < s->pages;) {
        const struct space_moved_run *moved = space_moved_after(s, at);
        uint64_t limit = moved != NULL ? moved->first : s->pages;
        if (at < limit && placed_run(s, rank, at, limit, first, count)) {
            return true;
        }
        if (moved != NULL && moved->home == rank) {
            *first = at > moved->first ? at : moved->first;
            *count = moved->end - *first;
            return true;
        }
        at = moved != NULL ? moved->end : s->pages;
    }
    return false;
}

uint64_t space_home_stretch(const struct space_segment *s, uint64_t page,
                            uint64_t most)
{
    const struct space_moved_run *moved = space_moved_after(s, page);
    uint64_t limit = most < s->pages - page ? page + most : s->pages;
    uint64_t first = 0;
    uint64_t count = 0;
    if (moved != NULL && moved->first <= page) {
        return (moved->end < limit ? moved->end : limit) - page;
    }
    limit = moved != NULL && moved->first < limit ? moved->first : limit;
    if (placement(s) == RECTO_FIRST_TOUCH) {
        return space_touch_stretch(s, page, limit);
    }
    bool found =
        placed_run(s, space_home(s, page), page, limit, &first, &count);
    RECTO_ASSERT(found && first == page);
    return found ? count : 1;
}

uint64_t space_home_pages(const struct space_segment *s, int rank)
{
    if (s->attr.placement == RECTO_CYCLIC && space_moved_after(s, 0) == NULL) {
        uint64_t round = s->granule_pages * (uint64_t)net_size();
        uint64_t before = s->granule_pages * (uint64_t)rank;
        uint64_t rest = s->pages % round;
        uint64_t last = rest > before ? rest - before : 0;
        return s->pages / round * s->granule_pages +
               (last < s->granule_pages ? last : s->granule_pages);
    }
    uint64_t total = 0;
    uint64_t first = 0;
    uint64_t count = 0;
    while (space_home_run(s, rank, first + count, &first, &count)) {
        total += count;
    }
    return total;
}

uint64_t space_homed_bytes(const struct space_segment *s)
{
    uint64_t pages = 0;
    if (placement(s) == RECTO_FIRST_TOUCH) {
        return s->homed;
    }
    for (int r = 0; r < net_size(); r++) {
        pages += net_domain_of(r) == net_domain() ? space_home_pages(s, r) : 0;
    }
    return pages * SPACE_PAGE;
}
