/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan of a recto_migrate: what comes to my domain, what leaves it, and what I
 * hold of the rest. See migrate.h.
 *
 * Cost. The ranges that the ranks name are joined two by two: P log P steps. Runs are
 * found by one walk over what is wanted for each rank of my domain, beside a walk over
 * its homes; partners and their runs by one pass over these runs (migrate.c). Nothing is
 * looked at once for each rank and run.
 */
#include <stdlib.h>

#include "base/base.h"
#include "coherence/migrate.h"

void migrate_plan_free(struct migrate_plan *plan)
{
    space_moved_free(plan->wanted);
    space_moved_free(plan->homes);
    free(plan->runs);
    base_runs_free(&plan->leaving);
}

/* Room for one more element of `size` bytes. */
static void *grow(void *at, uint64_t count, uint64_t *room, size_t size)
{
    if (count < *room) {
        return at;
    }
    uint64_t more = *room * 2 + 16;
    void *bigger = realloc(at, more * size);
    *room = bigger != NULL ? more : *room;
    return bigger;
}

/* ---- what is wanted -------------------------------------------------------------- */

/* Joins n tables, in twos and twos again; the first of them counts most. They are
 * used up. NULL: no memory. */
static struct space_moved *tables_join(struct space_moved **tables, int n)
{
    bool done = true;
    for (; n > 1; n = (n + 1) / 2) {
        for (int i = 0; i < n; i += 2) {
            struct space_moved *over = tables[i];
            struct space_moved *under = i + 1 < n ? tables[i + 1] : NULL;
            done = done && over != NULL && (i + 1 == n || under != NULL);
            tables[i / 2] = done ? space_moved_join(under, over) : NULL;
            space_moved_free(over);
            space_moved_free(under);
        }
    }
    return tables[0];
}

/* Of the ranges that name a page the lowest rank's counts. */
static struct space_moved *wanted_make(const struct migrate_claim *claims)
{
    int n = net_size();
    struct space_moved **tables =
        calloc((size_t)n, sizeof(struct space_moved *));
    struct space_moved *wanted = NULL;
    if (tables != NULL) {
        for (int r = 0; r < n; r++) {
            const struct migrate_claim *c = &claims[r];
            tables[r] = space_moved_of((struct space_moved_run){
                c->first, c->first + c->count, (int)c->home});
        }
        wanted = tables_join(tables, n);
    }
    free((void *)tables);
    return wanted;
}

/* ---- runs ---------------------------------------------------------------------------- */

static bool mine(int rank)
{
    return net_domain_of(rank) == net_domain();
}

static bool run_add(struct migrate_plan *plan, struct migrate_run run)
{
    void *runs = grow(plan->runs, plan->count, &plan->room, sizeof run);
    if (runs == NULL) {
        return false;
    }
    plan->runs = runs;
    plan->runs[plan->count++] = run;
    return true;
}

/* Pages that come to a rank of my domain, from whomever. */
static bool coming_add(struct migrate_plan *plan,
                       const struct space_moved_run *wanted)
{
    const struct space_segment *s = plan->s;
    for (uint64_t page = wanted->first; page < wanted->end;) {
        int from = space_home(s, page);
        uint64_t count = space_home_stretch(s, page, wanted->end - page);
        bool known = space_home_known(s, page);
        struct migrate_run run = {page, count, known ? from : MIGRATE_NOBODY,
                                  wanted->home};
        if (run.from != run.to && !run_add(plan, run)) {
            return false;
        }
        page += count;
    }
    return true;
}

/* The same of a first-touch segment, whose homes are known one by one. */
static bool touched_add(struct migrate_plan *plan, int rank,
                        const struct space_moved_run *w)
{
    uint64_t count = 0;
    bool done = true;
    for (uint64_t page = w->first; page < w->end && done; page += count) {
        count = space_home_stretch(plan->s, page, w->end - page);
        struct migrate_run run = {page, count, rank, w->home};
        done = space_home(plan->s, page) != rank ||
               !space_home_known(plan->s, page) || run_add(plan, run);
    }
    return done;
}

/* Pages of a rank of my domain that go to others: two ascending lists side by side. */
static bool leaving_add(struct migrate_plan *plan, int rank)
{
    const struct space_moved *wanted = plan->wanted;
    uint64_t at = 0;
    uint64_t first = 0;
    uint64_t count = 0;
    for (uint64_t i = 0; i < wanted->count;) {
        const struct space_moved_run *w = &wanted->runs[i];
        if (plan->s->attr.placement == RECTO_FIRST_TOUCH) {
            if (!mine(w->home) && !touched_add(plan, rank, w)) {
                return false;
            }
            i++;
            continue;
        }
        at = at > w->first ? at : w->first;
        if (at >= w->end || mine(w->home)) {
            i++;
            continue;
        }
        if (!space_home_run(plan->s, rank, at, &first, &count)) {
            return true;
        }
        uint64_t end = first + count < w->end ? first + count : w->end;
        struct migrate_run run = {first, end - first, rank, w->home};
        /* what nobody has touched is not here either */
        if (first < end && space_home_known(plan->s, first) &&
            !run_add(plan, run)) {
            return false;
        }
        at = first < end ? end : first;
    }
    return true;
}

static int by_first(const void *a, const void *b)
{
    uint64_t x = ((const struct migrate_run *)a)->first;
    uint64_t y = ((const struct migrate_run *)b)->first;
    return (x > y) - (x < y);
}

static bool runs_find(struct migrate_plan *plan)
{
    bool done = true;
    for (uint64_t i = 0; i < plan->wanted->count && done; i++) {
        const struct space_moved_run *w = &plan->wanted->runs[i];
        done = !mine(w->home) || coming_add(plan, w);
    }
    for (int r = 0; r < net_size() && done; r++) {
        done = !mine(r) || leaving_add(plan, r);
    }
    if (done && plan->count > 1) {
        qsort(plan->runs, plan->count, sizeof *plan->runs, by_first);
    }
    return done;
}

int migrate_plan_make(struct migrate_plan *plan,
                      const struct migrate_claim *claims)
{
    const struct space_moved *old =
        atomic_load_explicit(&plan->s->moved, memory_order_relaxed);
    plan->wanted = wanted_make(claims);
    plan->homes =
        plan->wanted != NULL ? space_moved_join(old, plan->wanted) : NULL;
    /* within one domain nothing moves but the table */
    bool done =
        plan->homes != NULL && (plan->s->coherence == NULL || runs_find(plan));
    return done ? 0
                : base_error(RECTO_ENOMEM, "the new homes of \"%s\"",
                             plan->s->name);
}

bool migrate_next(const struct migrate_plan *plan, uint64_t *at,
                  enum migrate_group alike, bool all, struct migrate_run *group)
{
    group->count = 0;
    for (; *at < plan->count; (*at)++) {
        const struct migrate_run *run = &plan->runs[*at];
        if (!all && !migrate_crosses(run)) {
            if (group->count > 0) {
                break;
            }
            continue;
        }
        if (group->count == 0) {
            *group = *run;
        } else if (run->first == group->first + group->count &&
                   migrate_crosses(run) == migrate_crosses(group) &&
                   (alike != MIGRATE_FROM || run->from == group->from) &&
                   (alike != MIGRATE_TO || run->to == group->to)) {
            group->count += run->count;
        } else {
            break;
        }
    }
    return group->count > 0;
}

/* ---- what I hold ------------------------------------------------------------------------ */

/* Does a page that I have a copy of move from one other domain to another, or within
 * one if `all`? */
static bool passes(const struct migrate_plan *plan, uint64_t page, bool all)
{
    const struct space_moved_run *w = space_moved_next(plan->wanted, page);
    if (w == NULL || w->first > page || mine(w->home)) {
        return false;
    }
    int from = space_home(plan->s, page);
    return from != w->home &&
           (all || net_domain_of(from) != net_domain_of(w->home));
}

int migrate_pages_find(const struct migrate_plan *plan, struct cache_ring *ring,
                       bool all, struct base_runs *pages)
{
    struct migrate_run run;
    bool done = true;
    pages->count = 0;
    for (uint64_t at = 0;
         done && migrate_next(plan, &at, MIGRATE_ANY, all, &run);) {
        done = base_runs_add(pages, run.first, run.first + run.count);
    }
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    for (uint64_t at = ring->back; done && at < tail; at++) {
        uint64_t page = cache_ring_get(ring, at, false);
        done = !passes(plan, page, all) || base_runs_add(pages, page, page + 1);
    }
    (void)base_runs_sort(pages);
    return done ? 0 : base_error(RECTO_ENOMEM, "moving \"%s\"", plan->s->name);
}

/* A system call costs more than a look at some pages. */
enum {
    GAP = 64
};

static bool rightless(const struct space_segment *s, uint64_t first,
                      uint64_t end)
{
    while (first < end && recto_vm_right_of(s->range, first) == RECTO_VM_NONE) {
        first++;
    }
    return first == end;
}

bool migrate_leaving_next(const struct migrate_plan *plan, uint64_t *at,
                          struct base_run *stretch)
{
    const struct base_runs *pages = &plan->leaving;
    if (*at >= pages->count) {
        return false;
    }
    *stretch = pages->items[(*at)++];
    for (; *at < pages->count; (*at)++) {
        const struct base_run *next = &pages->items[*at];
        if (next->first - stretch->end > GAP ||
            !rightless(plan->s, stretch->end, next->first)) {
            break;
        }
        stretch->end = next->end;
    }
    return true;
}
