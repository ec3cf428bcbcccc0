/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of release consistent memory change their homes: see migrate.h, and
 * release.h for the protocol.
 *
 * Invariants
 * 1. After a release by all ranks the home's bytes are the page, wherever there are
 *    copies. So rights and copies may go on all ranks, and SHARERS afterwards.
 * 2. A page that stays in its domain keeps everything: memory, directory and log are
 *    the domain's.
 * 3. A notice or a log entry for a page that moved may still be in an inbox or a
 *    log. It makes its reader drop a copy or watch a page, which is never wrong.
 */
#include <string.h>

#include "base/base.h"
#include "coherence/migrate.h"
#include "coherence/release.h"

static int pins_check(const struct rel_segment *m,
                      const struct base_runs *pages)
{
    for (uint64_t i = 0; i < pages->count; i++) {
        for (uint64_t p = pages->items[i].first; p < pages->items[i].end; p++) {
            if (rel_pinned(m, p)) {
                return base_error(
                    RECTO_EBUSY,
                    "page %lu of \"%s\" is pinned, or lent to an MPI call that "
                    "has not ended: unpin or wait before recto_migrate",
                    (unsigned long)p, m->s->name);
            }
        }
    }
    return 0;
}

/* First with the pages that stay in their domain, for the pins. */
static int pages_find(struct migrate_plan *plan)
{
    struct rel_segment *m = plan->s->coherence;
    sigset_t before;
    rel_enter(&before); /* the ring stands still */
    int r = migrate_pages_find(plan, &m->ring, true, &plan->leaving);
    r = r == 0 ? pins_check(m, &plan->leaving) : r;
    r = r == 0 ? migrate_pages_find(plan, &m->ring, false, &plan->leaving) : r;
    rel_leave(&before);
    return r;
}

int rel_move_ready(struct migrate_plan *plan)
{
    int r = net_verdict(pages_find(plan));
    return r == 0 ? rel_recall(plan->s, false) : r;
}

/* Marks the copies among pages that leave. */
static bool copies_leave(struct rel_segment *m, const struct base_runs *pages)
{
    bool some = false;
    for (uint64_t i = 0; i < pages->count; i++) {
        for (uint64_t p = pages->items[i].first; p < pages->items[i].end; p++) {
            uint8_t flags =
                atomic_load_explicit(&m->flags[p], memory_order_relaxed);
            RECTO_ASSERT((flags & ~(unsigned)(REL_HELD | REL_AGED)) == 0);
            if (flags & REL_HELD) {
                atomic_fetch_or_explicit(&m->flags[p], REL_LEAVES,
                                         memory_order_relaxed);
                some = true;
            }
        }
    }
    return some;
}

int rel_move_leave(const struct migrate_plan *plan)
{
    struct rel_segment *m = plan->s->coherence;
    struct base_run span;
    sigset_t before;
    int code = 0;
    rel_enter(&before);
    bool some = copies_leave(m, &plan->leaving);
    for (uint64_t at = 0; migrate_leaving_next(plan, &at, &span);) {
        uint64_t count = span.end - span.first;
        int r = recto_vm_disown(m->s->range, span.first, count);
        code = code == 0 ? r : code;
        if (r == 0) {
            r = recto_vm_protn(m->s->range, span.first, count, RECTO_VM_NONE);
            rel_check_code(m, span.first, r);
        }
    }
    if (some) {
        rel_cache_forget(m);
    }
    rel_leave(&before);
    return code;
}

/* The directory of pages that are homed here from now on knows nobody. Where nobody
 * has been, it takes no memory. */
static void entries_clear(struct rel_segment *m, const struct migrate_run *run)
{
    struct rel_entry *entries = m->directories[net_domain()];
    char *from = (char *)&entries[run->first];
    char *to = (char *)&entries[run->first + run->count];
    uint64_t start = (uint64_t)(from - space_verso(m->s, 0));
    uint64_t end = (uint64_t)(to - space_verso(m->s, 0));
    uint64_t low = (start + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
    uint64_t high = end / SPACE_PAGE * SPACE_PAGE;
    if (low < high) {
        int r = recto_vm_memory_discard(m->s->fd, low, high - low);
        rel_check_code(m, run->first, r);
        memset(from, 0, low - start);
        memset(to - (end - high), 0, end - high);
    } else {
        memset(from, 0, end - start);
    }
}

void rel_move_settle(const struct migrate_plan *plan,
                     const struct migrate_run *run, int home)
{
    struct rel_segment *m = plan->s->coherence;
    if (!migrate_crosses(run) || net_domain_of(home) != net_domain()) {
        return;
    }
    if (home == net_rank()) {
        entries_clear(m, run);
    }
    if (home == run->from) {
        /* some pages may have kept their rights, and be own still */
        int r = recto_vm_unprot(m->s->range, run->first, run->count,
                                RECTO_VM_WRITE);
        rel_check_code(m, run->first, r);
        return;
    }
    /* Without room for mappings the pages are granted when they are touched. */
    (void)recto_vm_own(m->s->range, run->first, run->count);
}
