/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which home pages were written since the last checkpoint, whoever wrote.
 *
 * A home page is written by the ranks of its domain through their rectos, each
 * tracked by its own vm range, and by other domains, which the protocol tells
 * when it gives them the page. Both end in the *marks* of the domain, a set
 * (base/set.h) behind the pages in the domain's memory, so that every rank that shares
 * it reaches it. What the ranks' ranges find out about where the memory holds data
 * lies behind the marks.
 *
 * Invariants
 * 1. A mark is set before the write it stands for can be in a collected page:
 *    vm marks before it grants; the protocol marks before it grants.
 * 2. Only the home of a page takes its mark, or who is about to become it. Marks are of
 *    pages homed in the domain.
 * 3. In a collection the ranks of a domain have added what their ranges had before any
 *    of them takes (a verdict lies between), so each finds all that it homes.
 * 4. What a collection costs a rank grows with the marks of its domain, not with the
 *    pages of the segment.
 *
 * By hash (RECTO_DIRTY=hash) a rank looks at the contents of the pages that it homes,
 * and at no others:
 *
 * 5. A rank knows hashes only of pages whose home it was when they were last collected:
 *    those that get another home are forgotten. Otherwise a page that comes back as it
 *    was long ago would pass for one that nobody has written since.
 */
#include <string.h>

#include "base/set.h"
#include "space/space.h"
#include "space/touch.h"

uint64_t space_dirty_bytes(const struct space_segment *s)
{
    return base_set_bytes(s->pages) + recto_vm_found_bytes(s->pages);
}

void space_dirty_share(struct space_segment *s)
{
    recto_vm_range_share(s->range, s->versos[net_domain()] +
                                       s->pages * SPACE_PAGE +
                                       base_set_bytes(s->pages));
}

static struct base_set marks_of(const struct space_segment *s, int domain)
{
    struct base_set marks;
    base_set_place(&marks, s->versos[domain] + s->pages * SPACE_PAGE, s->pages);
    return marks;
}

static bool by_hash(const struct space_segment *s)
{
    return strcmp(recto_vm_dirty_method_of(s->range), "hash") == 0;
}

int space_dirty_start(struct space_segment *s)
{
    if (s->tracking) {
        return 0;
    }
    int r = net_verdict(recto_vm_dirty_start(s->range));
    if (r == 0) {
        s->tracking = true;
        r = by_hash(s) ? space_dirty_collect(s, NULL, NULL) : 0;
    }
    return r;
}

bool space_dirty_tracking(const struct space_segment *s)
{
    return s->tracking;
}

void space_dirty_mark(struct space_segment *s, uint64_t page)
{
    space_dirty_mark_in(s, page, net_domain_of(space_home(s, page)));
}

void space_dirty_mark_in(struct space_segment *s, uint64_t page, int domain)
{
    struct base_set marks = marks_of(s, domain);
    (void)base_set_add(&marks, page);
}

/* ---- what my range has --------------------------------------------------------- */

struct publish {
    const struct space_segment *s;
    struct base_set marks;
};

/* Of the pages [first, first + count) those that my domain homes. */
static void publish_run(uint64_t first, uint64_t count, void *argument)
{
    const struct publish *p = argument;
    uint64_t end = first + count;
    for (uint64_t page = first; page < end;) {
        bool mine = net_domain_of(space_home(p->s, page)) == net_domain();
        uint64_t stop = page + 1;
        while (stop < end && mine == (net_domain_of(space_home(p->s, stop)) ==
                                      net_domain())) {
            stop++;
        }
        if (mine) {
            base_set_add_run(&p->marks, page, stop);
        }
        page = stop;
    }
}

/* Of the pages in [first, end), which hold data, those that I home. */
static int homed_publish(struct publish *p, uint64_t first, uint64_t end)
{
    int r = 0;
    for (uint64_t page = first; page < end && r == 0;) {
        bool mine = space_home(p->s, page) == net_rank();
        uint64_t stop = page + 1;
        while (stop < end && mine == (space_home(p->s, stop) == net_rank())) {
            stop++;
        }
        r = mine ? recto_vm_dirty_runs(p->s->range, page, stop - page,
                                       publish_run, p)
                 : 0;
        page = stop;
    }
    return r;
}

static int marks_publish(struct space_segment *s)
{
    struct publish p = {s, marks_of(s, net_domain())};
    uint64_t first = 0;
    uint64_t end = 0;
    int r = 0;
    if (!by_hash(s)) {
        return recto_vm_dirty_runs(s->range, 0, s->pages, publish_run, &p);
    }
    while (r == 0 && space_data_run(s, end, s->pages, &first, &end)) {
        r = homed_publish(&p, first, end);
    }
    return r;
}

/* ---- what I home ------------------------------------------------------------------ */

/* Pages at or after `page`, which has a mark, that I home: [*first, *end), of which the
 * first may be far away. False: none. */
static bool homes_after(const struct space_segment *s, uint64_t page,
                        uint64_t *first, uint64_t *end)
{
    if (space_touches(s)) {
        /* runs of such pages are not found quickly */
        *first = space_home(s, page) == net_rank() ? page : page + 1;
        *end = page + 1;
        return true;
    }
    bool any = space_home_run(s, net_rank(), page, first, end);
    *end += *first;
    return any;
}

static int marks_take(const struct base_set *marks, uint64_t first,
                      uint64_t end, space_dirty_run run, void *argument)
{
    uint64_t stop = first;
    int r = 0;
    while (r == 0 && base_set_run(marks, stop, end, &first, &stop)) {
        base_set_take_run(marks, first, stop);
        r = run != NULL ? run(argument, first, stop - first) : 0;
        if (r != 0) {
            base_set_add_run(marks, first, stop);
        }
    }
    return r;
}

int space_dirty_collect(struct space_segment *s, space_dirty_run run,
                        void *argument)
{
    int r =
        net_verdict(marks_publish(s)); /* also: all of my domain published */
    if (r != 0) {
        return r;
    }
    struct base_set marks = marks_of(s, net_domain());
    uint64_t page = 0;
    uint64_t first = 0;
    uint64_t end = 0;
    while (r == 0 && base_set_next(&marks, page, &page) &&
           homes_after(s, page, &first, &end)) {
        if (first == page) {
            r = marks_take(&marks, first, end, run, argument);
            page = end;
        } else {
            page = first;
        }
    }
    return r;
}

void space_dirty_restore(struct space_segment *s, uint64_t first,
                         uint64_t count)
{
    struct base_set marks = marks_of(s, net_domain());
    base_set_add_run(&marks, first, first + count);
}

/* ---- pages that move ------------------------------------------------------------- */

static void leave_run(uint64_t first, uint64_t count, void *argument)
{
    space_dirty_restore(argument, first, count);
}

int space_dirty_leave(struct space_segment *s, uint64_t first, uint64_t count,
                      bool keep)
{
    int r = s->tracking ? recto_vm_dirty_runs(s->range, first, count,
                                              keep ? leave_run : NULL, s)
                        : 0;
    space_dirty_forget(s, first, count);
    return r;
}

void space_dirty_forget(struct space_segment *s, uint64_t first, uint64_t count)
{
    recto_vm_dirty_forget(s->range, first, count);
}

void space_dirty_clear(struct space_segment *s, uint64_t first, uint64_t count)
{
    struct base_set marks = marks_of(s, net_domain());
    base_set_take_run(&marks, first, first + count);
}

bool space_dirty_is_marked(const struct space_segment *s, uint64_t page)
{
    struct base_set marks = marks_of(s, net_domain());
    return s->tracking && base_set_has(&marks, page);
}
