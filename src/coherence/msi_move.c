/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of sequentially consistent memory change their homes: see migrate.h, and
 * msi.h for the protocol.
 *
 * Invariants
 * 1. After a drop by its home nobody but ranks of the home's domain has a right to a
 *    page, and no transaction of it is under way: the threads that call these
 *    functions may do then what is the service threads' otherwise.
 * 2. The directory lies with the home rank, so pages that change their home within a
 *    domain begin anew as well; only their bytes stay.
 */
#include <string.h>

#include "base/base.h"
#include "coherence/migrate.h"
#include "coherence/msi.h"

int msi_move_ready(struct migrate_plan *plan)
{
    struct msi_segment *m = plan->s->coherence;
    int r = msi_recall_start(m);
    for (uint64_t i = 0; i < plan->count && r == 0; i++) {
        const struct migrate_run *run = &plan->runs[i];
        if (run->from == net_rank()) {
            msi_recall_run(m, run->first, run->count, true);
        }
    }
    msi_recall_end(m);
    /* closed, so the ring stands still */
    r = r == 0 ? migrate_pages_find(plan, &m->ring, true, &plan->leaving) : r;
    return net_verdict(r);
}

void msi_move_end(const struct migrate_plan *plan)
{
    msi_cache_open(plan->s->coherence);
}

static void check(int r, const struct msi_segment *m, uint64_t page)
{
    if (r != 0) {
        base_fatal("page %lu of \"%s\": cannot change its protection: %s",
                   (unsigned long)page, m->s->name, recto_last_error());
    }
}

/* A word that no page has otherwise: of a copy that moves. */
enum {
    LEAVES = MSI_COPY | MSI_WANTED
};

/* Whoever else of this domain has the copy loses it, too. */
static bool leaves(void *segment, uint64_t page)
{
    struct msi_segment *m = segment;
    if (atomic_load_explicit(&m->pages[page], memory_order_relaxed) != LEAVES) {
        return false;
    }
    check(recto_vm_memory_discard(m->s->fd, page * SPACE_PAGE, SPACE_PAGE), m,
          page);
    return true;
}

static bool copies_mark(struct msi_segment *m, const struct base_run *span)
{
    bool some = false;
    for (uint64_t p = span->first; p < span->end; p++) {
        if (atomic_load_explicit(&m->pages[p], memory_order_acquire) &
            MSI_COPY) {
            atomic_store_explicit(&m->pages[p], (uint32_t)LEAVES,
                                  memory_order_relaxed);
            some = true;
        }
    }
    return some;
}

static void states_set(struct msi_segment *m, uint64_t first, uint64_t end,
                       enum msi_state state)
{
    for (uint64_t p = first; p < end; p++) {
        /* pairs with the acquires of faults and of the service thread */
        atomic_store_explicit(&m->pages[p], (uint32_t)state,
                              memory_order_release);
    }
}

int msi_move_leave(const struct migrate_plan *plan)
{
    struct msi_segment *m = plan->s->coherence;
    const struct base_runs *pages = &plan->leaving;
    struct base_run span;
    bool some = false;
    for (uint64_t at = 0; migrate_leaving_next(plan, &at, &span);) {
        int r = recto_vm_protn(m->s->range, span.first, span.end - span.first,
                               RECTO_VM_NONE);
        check(r, m, span.first);
    }
    for (uint64_t i = 0; i < pages->count; i++) {
        some = copies_mark(m, &pages->items[i]) || some;
    }
    if (some) {
        msi_cache_forget(m, leaves);
    }
    for (uint64_t i = 0; i < pages->count; i++) {
        states_set(m, pages->items[i].first, pages->items[i].end, MSI_INVALID);
    }
    return 0;
}

/* Owned by my domain, and held by all its ranks. */
static void entries_set(struct msi_segment *m, const struct migrate_run *run)
{
    for (uint64_t p = run->first; p < run->first + run->count; p++) {
        msi_home_forget(m, p);
        msi_home_own(m, p, true);
    }
}

void msi_move_settle(const struct migrate_plan *plan,
                     const struct migrate_run *run, int home)
{
    struct msi_segment *m = plan->s->coherence;
    if (net_domain_of(home) != net_domain()) {
        return;
    }
    if (home == net_rank()) {
        entries_set(m, run);
    }
    check(recto_vm_unprot(m->s->range, run->first, run->count, RECTO_VM_WRITE),
          m, run->first);
    states_set(m, run->first, run->first + run->count, MSI_MODIFIED);
}
