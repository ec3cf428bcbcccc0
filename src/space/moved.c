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

static struct space_moved *create(uint64_t room)
{
    struct space_moved *m =
        malloc(sizeof *m + room * sizeof(struct space_moved_run));
    if (m != NULL) {
        m->count = 0;
    }
    return m;
}

void space_moved_free(struct space_moved *m)
{
    free(m);
}

/* At the end: behind all runs of m. */
static void append(struct space_moved *m, struct space_moved_run run)
{
    struct space_moved_run *last = m->count > 0 ? &m->runs[m->count - 1] : NULL;
    if (run.first >= run.end) {
        return;
    }
    RECTO_ASSERT(last == NULL || last->end <= run.first);
    if (last != NULL && last->end == run.first && last->home == run.home) {
        last->end = run.end;
    } else {
        m->runs[m->count++] = run;
    }
}

struct space_moved *space_moved_of(struct space_moved_run run)
{
    struct space_moved *m = create(1);
    if (m != NULL) {
        append(m, run);
    }
    return m;
}

/* What lies of the runs from *at on in pages [from, to). A run that goes on behind
 * `to` stays the next. */
static void append_part(struct space_moved *m, const struct space_moved *of,
                        uint64_t *at, uint64_t from, uint64_t to)
{
    for (; *at < of->count && of->runs[*at].first < to; (*at)++) {
        struct space_moved_run run = of->runs[*at];
        bool goes_on = run.end > to;
        run.first = run.first > from ? run.first : from;
        run.end = goes_on ? to : run.end;
        append(m, run);
        if (goes_on) {
            return;
        }
    }
}

struct space_moved *space_moved_join(const struct space_moved *under,
                                     const struct space_moved *over)
{
    static const struct space_moved none;
    under = under != NULL ? under : &none;
    /* each run may cut one of those below in two */
    struct space_moved *m = create(under->count + 2 * over->count);
    uint64_t at = 0;
    uint64_t from = 0;
    for (uint64_t i = 0; m != NULL && i < over->count; i++) {
        append_part(m, under, &at, from, over->runs[i].first);
        append(m, over->runs[i]);
        from = over->runs[i].end;
    }
    if (m == NULL) {
        return NULL;
    }
    append_part(m, under, &at, from, UINT64_MAX);
    struct space_moved *fit =
        realloc(m, sizeof *m + m->count * sizeof(struct space_moved_run));
    return fit != NULL ? fit : m;
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

/* Those of a table: more than have moved just now, but no fewer. */
static void forget(struct space_segment *s, const struct space_moved *m)
{
    for (uint64_t i = 0; m != NULL && i < m->count; i++) {
        space_dirty_forget(s, m->runs[i].first,
                           m->runs[i].end - m->runs[i].first);
    }
}

void space_homes_move(struct space_segment *s, struct space_moved *m)
{
    struct space_moved *old =
        atomic_exchange_explicit(&s->moved, m, memory_order_acq_rel);
    forget(s, old);
    forget(s, m);
    space_moved_free(old);
}
