/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this rank homes of a first-touch segment, as runs of granules: those that it
 * keeps and no other rank claimed, and those that it claimed of other keepers. Nobody
 * needs to be told: who claims a granule learns whether it was the first
 * (touch.c), and a keeper has the words. So work and memory are in
 * proportion to what a rank homes and keeps, whatever the others have, and a
 * checkpoint sends no message for it.
 *
 * Invariants
 * 1. Each granule of another keeper that this rank claimed is in `log` or in
 *    `claimed`, once: the keeper says "you are the first" to one thread, which logs
 *    it. So the log has room for all granules.
 * 2. Lists are made anew by one thread, inside a collective call, while no thread of
 *    the program accesses the segment; then no claim is under way.
 */
#include <stdlib.h>

#include "base/base.h"
#include "base/runs.h"
#include "space/touch.h"

struct space_claims {
    _Atomic uint32_t *log;    /* claims since `claimed` was made */
    _Atomic uint64_t logged;  /* how many */
    struct base_runs claimed; /* ascending, apart; others keep them */
    struct base_runs
        homes; /* the same, with what I keep and no other claimed */
};

/* Runs are of granules. */
static void runs_settle(struct base_runs *runs)
{
    bool apart = base_runs_sort(runs);
    RECTO_ASSERT(apart);
    (void)apart;
}

/* ---- claims ------------------------------------------------------------------------- */

void space_claims_add(struct space_segment *s, uint64_t granule)
{
    struct space_claims *c = s->claims;
    uint64_t i = atomic_fetch_add_explicit(&c->logged, 1, memory_order_relaxed);
    RECTO_ASSERT(i < space_touch_granules(s));
    /* pairs with the acquire in log_read */
    atomic_store_explicit(&c->log[i], (uint32_t)granule, memory_order_release);
}

/* The log becomes part of `claimed`, or stays as it is. */
static bool log_read(struct space_claims *c)
{
    uint64_t n = atomic_load_explicit(&c->logged, memory_order_acquire);
    if (!base_runs_reserve(&c->claimed, n)) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t g = atomic_load_explicit(&c->log[i], memory_order_acquire);
        (void)base_runs_add(&c->claimed, g, g + 1);
    }
    atomic_store_explicit(&c->logged, 0, memory_order_relaxed);
    runs_settle(&c->claimed);
    return true;
}

/* Words [data, end) of my domain have memory, those before `data` from the place
 * asked for on do not: to read them would give them some. */
struct stretch {
    uint64_t from;
    uint64_t data;
    uint64_t end;
};

static void stretch_find(const struct space_segment *s, uint64_t granule,
                         struct stretch *x)
{
    if (granule >= x->from && granule < x->end) {
        return;
    }
    uint64_t n = space_touch_granules(s);
    const void *table = (const void *)space_touch_words(s, net_domain());
    x->from = granule;
    if (!space_table_run(s, table, sizeof(uint32_t), n, granule, &x->data,
                         &x->end)) {
        x->data = x->end = n;
    }
}

/* Of granules [first, end), which I keep, those that no other rank claimed. */
static bool kept_add(const struct space_segment *s, uint64_t first,
                     uint64_t end, struct stretch *x, struct base_runs *to)
{
    uint32_t mine = (uint32_t)net_rank() + 1;
    const _Atomic uint32_t *words = space_touch_words(s, net_domain());
    for (uint64_t g = first; g < end;) {
        stretch_find(s, g, x);
        uint64_t stop = g < x->data ? x->data : g + 1;
        stop = stop < end ? stop : end;
        uint32_t word =
            g < x->data ? 0
                        : atomic_load_explicit(&words[g], memory_order_acquire);
        if ((word == 0 || word == mine) && !base_runs_add(to, g, stop)) {
            return false;
        }
        g = stop;
    }
    return true;
}

int space_homes_list(struct space_segment *s)
{
    struct space_claims *c = s->claims;
    if (c == NULL) {
        return 0;
    }
    bool done = log_read(c);
    struct stretch x = {0, 0, 0};
    uint64_t first = 0;
    uint64_t end = 0;
    c->homes.count = 0;
    while (done && space_touch_kept(s, end, &first, &end)) {
        done = kept_add(s, first, end, &x, &c->homes);
    }
    for (uint64_t i = 0; done && i < c->claimed.count; i++) {
        const struct base_run *run = &c->claimed.items[i];
        done = base_runs_add(&c->homes, run->first, run->end);
    }
    runs_settle(&c->homes);
    return done ? 0 : base_error(RECTO_ENOMEM, "homes of \"%s\"", s->name);
}

bool space_claims_run(const struct space_segment *s, uint64_t from,
                      uint64_t limit, uint64_t *first, uint64_t *count)
{
    uint64_t unit = s->granule_pages;
    const struct base_run *run = base_runs_from(&s->claims->homes, from / unit);
    if (run == NULL || run->first * unit >= limit) {
        return false;
    }
    uint64_t start = run->first * unit;
    uint64_t end = run->end * unit;
    *first = start > from ? start : from;
    *count = (end < limit ? end : limit) - *first;
    return true;
}

/* ---- check -------------------------------------------------------------------------- */

/* Do the words that I have say the same? */
static int claims_check(const struct space_segment *s)
{
    const struct base_runs *r = &s->claims->claimed;
    for (uint64_t i = 0; i < r->count; i++) {
        for (uint64_t g = r->items[i].first; g < r->items[i].end; g++) {
            if (space_touch_word(s, g) != (uint32_t)net_rank() + 1) {
                return base_error(RECTO_ESTATE,
                                  "\"%s\": rank %d counts page %lu as its own, "
                                  "but another homes it",
                                  s->name, net_rank(),
                                  (unsigned long)(g * s->granule_pages));
            }
        }
    }
    return 0;
}

int space_homes_check(struct space_segment *s)
{
    if (s->claims == NULL) {
        return 0;
    }
    int r = space_homes_list(s);
    r = net_verdict(r == 0 ? claims_check(s) : r);
    int64_t homes = 0;
    for (uint64_t i = 0; i < s->claims->homes.count; i++) {
        homes += (int64_t)(s->claims->homes.items[i].end -
                           s->claims->homes.items[i].first);
    }
    r = r == 0 ? net_allreduce_sum(&homes, 1) : r;
    return r != 0 || (uint64_t)homes == space_touch_granules(s)
               ? r
               : base_error(RECTO_ESTATE,
                            "\"%s\": ranks home %ld granules of %lu", s->name,
                            (long)homes,
                            (unsigned long)space_touch_granules(s));
}

/* ---- life cycle ----------------------------------------------------------------------- */

int space_claims_create(struct space_segment *s)
{
    if (!space_touches(s)) {
        return 0;
    }
    void *log = NULL;
    s->claims = calloc(1, sizeof *s->claims);
    int r = s->claims != NULL
                ? recto_vm_table_create(
                      space_touch_granules(s) * sizeof(uint32_t), &log)
                : base_error(RECTO_ENOMEM, "homes of \"%s\"", s->name);
    if (r == 0) {
        s->claims->log = log;
        r = space_homes_list(s);
    }
    return r;
}

void space_claims_free(struct space_segment *s)
{
    struct space_claims *c = s->claims;
    if (c == NULL) {
        return;
    }
    if (c->log != NULL) {
        recto_vm_unmap((void *)c->log,
                       space_touch_granules(s) * sizeof(uint32_t));
    }
    base_runs_free(&c->claimed);
    base_runs_free(&c->homes);
    free(c);
    s->claims = NULL;
}
