/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Homes that recto_migrate gave to pages, instead of those of their placement.
 *
 * They are kept as runs of pages, so a table costs 24 bytes for each piece of the
 * last partitions, however large they are, and a look-up the logarithm of
 * their number.
 *
 * Invariants
 * 1. Runs are ascending, apart and not empty, and neighbours that touch have
 *    different homes. Where no run is, the placement holds.
 * 2. A segment's table is the same on all ranks and never changes: another takes
 *    its place, inside a collective call, while no thread of any rank, the
 *    service threads included, looks for a home in this segment.
 */
#include "space/moved.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Index of the first run that ends after `page`. */
static uint64_t find(const struct space_moved *m, uint64_t page)
{
    uint64_t low = 0;
    uint64_t high = m->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (m->runs[middle].end <= page) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct space_moved_run *space_moved_next(const struct space_moved *m,
                                               uint64_t page)
{
    uint64_t i = m != NULL ? find(m, page) : 0;
    return m != NULL && i < m->count ? &m->runs[i] : NULL;
}

struct space_moved *space_moved_copy(const struct space_moved *m)
{
    struct space_moved *copy = calloc(1, sizeof *copy);
    if (copy == NULL || m == NULL || m->count == 0) {
        return copy;
    }
    copy->runs = malloc(m->count * sizeof *copy->runs);
    if (copy->runs == NULL) {
        free(copy);
        return NULL;
    }
    memcpy(copy->runs, m->runs, m->count * sizeof *copy->runs);
    copy->count = m->count;
    copy->room = m->count;
    return copy;
}

void space_moved_free(struct space_moved *m)
{
    if (m != NULL) {
        free(m->runs);
        free(m);
    }
}

/* Puts `put` runs in the place of runs [at, at + taken). */
static bool splice(struct space_moved *m, uint64_t at, uint64_t taken,
                   const struct space_moved_run *runs, uint64_t put)
{
    if (m->count - taken + put > m->room) {
        uint64_t room = m->room * 2 + put;
        struct space_moved_run *more = realloc(m->runs, room * sizeof *more);
        if (more == NULL) {
            return false;
        }
        m->runs = more;
        m->room = room;
    }
    memmove(&m->runs[at + put], &m->runs[at + taken],
            (m->count - at - taken) * sizeof *m->runs);
    memcpy(&m->runs[at], runs, put * sizeof *runs);
    m->count = m->count - taken + put;
    return true;
}

bool space_moved_put(struct space_moved *m, uint64_t first, uint64_t end,
                     int home)
{
    struct space_moved_run put[3];
    uint64_t n = 0;
    uint64_t at = find(m, first);
    struct space_moved_run middle = {first, end, home};
    if (at > 0 && m->runs[at - 1].end == first &&
        m->runs[at - 1].home == home) {
        at--; /* it touches the one before */
    }
    uint64_t stop = at;
    while (stop < m->count &&
           (m->runs[stop].first < end ||
            (m->runs[stop].first == end && m->runs[stop].home == home))) {
        stop++;
    }
    if (stop > at && m->runs[at].first < first) {
        if (m->runs[at].home == home) {
            middle.first = m->runs[at].first;
        } else {
            put[n++] = (struct space_moved_run){m->runs[at].first, first,
                                                m->runs[at].home};
        }
    }
    struct space_moved_run last =
        stop > at ? m->runs[stop - 1] : (struct space_moved_run){0};
    if (last.end > end && last.home == home) {
        middle.end = last.end;
    }
    put[n++] = middle;
    if (last.end > end && last.home != home) {
        put[n++] = (struct space_moved_run){end, last.end, last.home};
    }
    return splice(m, at, stop - at, put, n);
}

static const struct space_moved *table(const struct space_segment *s)
{
    /* pairs with the release in space_homes_move */
    return atomic_load_explicit(&s->moved, memory_order_acquire);
}

const struct space_moved_run *space_moved_at(const struct space_segment *s,
                                             uint64_t page)
{
    const struct space_moved_run *run = space_moved_next(table(s), page);
    return run != NULL && run->first <= page ? run : NULL;
}

const struct space_moved_run *space_moved_after(const struct space_segment *s,
                                                uint64_t page)
{
    return space_moved_next(table(s), page);
}

void space_homes_move(struct space_segment *s, struct space_moved *m)
{
    space_moved_free(
        atomic_exchange_explicit(&s->moved, m, memory_order_acq_rel));
}
