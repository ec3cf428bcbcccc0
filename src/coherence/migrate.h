/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migrate: what recto_migrate (migrate.c) asks of the protocols.
 *
 * Between the first of these calls and the last no thread uses the segment, on any
 * rank, and no message about it is under way.
 */
#ifndef RECTO_SRC_MIGRATE_H
#define RECTO_SRC_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/runs.h"
#include "coherence/cache.h"
#include "net/net.h"
#include "space/moved.h"

enum {
    MIGRATE_NOBODY = -1 /* nobody has touched the pages: no bytes, no rights */
};

struct migrate_run {
    uint64_t first;
    uint64_t count;
    int from; /* rank, or MIGRATE_NOBODY */
    int to;
};

/*
 * What moves in a segment. `wanted` and `homes` are the same on all ranks; the runs are
 * those from or to ranks of my domain, ascending, apart: a rank's work and memory grow
 * with what comes and goes, not with what moves elsewhere.
 */
struct migrate_plan {
    struct space_segment *s;
    struct space_moved *wanted; /* what the ranks named */
    struct space_moved *homes;  /* the table to be */
    struct migrate_run *runs;
    uint64_t count;
    uint64_t room;
    struct base_runs leaving; /* what this rank gives up; of `ready` */
};

/* A rank's range: pages [first, first + count), and their home to be. */
struct migrate_claim {
    uint64_t first;
    uint64_t count;
    int64_t home;
};

/* ---- migrate_plan.c -------------------------------------------------------------- */

/* plan->s is set, all else 0; a claim of each rank. Local: RECTO_ENOMEM.
 * migrate_plan_free follows failure too. */
int migrate_plan_make(struct migrate_plan *plan,
                      const struct migrate_claim *claims);
void migrate_plan_free(struct migrate_plan *plan);

/* Do pages go to another domain, and their rights with them? */
static inline bool migrate_crosses(const struct migrate_run *run)
{
    return run->from == MIGRATE_NOBODY ||
           net_domain_of(run->from) != net_domain_of(run->to);
}

enum migrate_group {
    MIGRATE_ANY,  /* whatever their homes */
    MIGRATE_FROM, /* of one old home */
    MIGRATE_TO    /* of one new home */
};

/* The next runs of the plan, from *at on, that touch each other and are alike, as
 * one; only those that cross domains, unless `all`. Start with *at 0; false at the
 * end. */
bool migrate_next(const struct migrate_plan *plan, uint64_t *at,
                  enum migrate_group alike, bool all,
                  struct migrate_run *group);

/* Pages that move and concern this rank: the plan's runs, and, of those between other
 * domains, what is in its ring of copies, which stands still meanwhile; only what
 * crosses domains, unless `all`. *pages had none, or is made anew. RECTO_ENOMEM. */
int migrate_pages_find(const struct migrate_plan *plan, struct cache_ring *ring,
                       bool all, struct base_runs *pages);
/* The next stretch with runs of plan->leaving from *at on, and between them at most a
 * few pages, to which this rank has no right. Start with *at 0; false at the end. */
bool migrate_leaving_next(const struct migrate_plan *plan, uint64_t *at,
                          struct base_run *stretch);

/*
 * Each protocol has three steps, all collective, with one verdict:
 *
 *   ready    master copies are up to date and with their homes; what this rank has
 *            to give up is known. RECTO_EBUSY when a page that moves is pinned
 *   leave    this rank gives up all rights to the pages, and forgets its copies,
 *            even where it fails: RECTO_ENOMEM
 *   settle   `home`, the old or the new one, and its domain begin with the pages
 *            of a run as with new memory: the directory knows no readers, and the
 *            domain's ranks may write. Local.
 */
int rel_move_ready(struct migrate_plan *plan);
int rel_move_leave(const struct migrate_plan *plan);
void rel_move_settle(const struct migrate_plan *plan,
                     const struct migrate_run *run, int home);

int msi_move_ready(struct migrate_plan *plan);
int msi_move_leave(const struct migrate_plan *plan);
void msi_move_end(const struct migrate_plan *plan); /* also after a failure */
void msi_move_settle(const struct migrate_plan *plan,
                     const struct migrate_run *run, int home);

#endif
