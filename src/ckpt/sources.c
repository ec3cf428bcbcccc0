/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the newest version of each page is that this rank needs: the entries of the
 * chain's page logs. The logs' runs are divided among the ranks. Each keeps its own as
 * they are (chain.h), since most entries are of its pages, and sends the others to the
 * rank that needs the page.
 *
 * Invariants
 * 1. An entry whose home its reader does not know (first touch) goes to the keeper,
 *    which does, and from there home: two exchanges, and no rank needs to
 *    know the homes of others.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "load.h"

static const struct ckpt_part *part_of(const struct load *l, uint64_t uid)
{
    const struct ckpt_object *o = ckpt_epoch_object(&l->job->epoch, uid);
    return o != NULL ? &l->job->parts[o - l->job->epoch.objects] : NULL;
}

/* Goes over entries; most are of the object of the one before. */
struct route {
    struct load *l;
    uint64_t uid; /* 0: none yet */
    const struct ckpt_part *part;
    struct ckpt_sources others; /* entries that are not for me */
};

static const struct ckpt_part *route_part(struct route *r, uint64_t uid)
{
    if (r->uid != uid) {
        r->part = part_of(r->l, uid);
        r->uid = uid;
    }
    return r->part;
}

/* Who needs the page, or knows who does. */
static int target_of(struct route *r, const struct ckpt_source *s)
{
    const struct ckpt_entry *e = &s->entry;
    if (e->rank != CKPT_NO_RANK) {
        return (int)e->rank;
    }
    const struct ckpt_part *part = route_part(r, e->uid);
    return part->segment != NULL ? space_home(part->segment, e->page)
                                 : ckpt_tile_owner(e->page, part->pages);
}

static int entry_take(void *route, const struct ckpt_source *source)
{
    struct route *r = route;
    struct ckpt_source s = *source;
    s.to = (uint32_t)target_of(r, &s);
    return s.to == (uint32_t)net_rank() ? 0
                                        : ckpt_sources_add(&r->others, &s, 1);
}

static bool stays(const void *route, uint64_t uid)
{
    const struct route *r = route;
    const struct ckpt_part *part = part_of(r->l, uid);
    return part != NULL && !part->moved;
}

/* ---- my runs: those of writers k, k + N, ... ---------------------------------------- */

static int runs_visit(struct route *r,
                      int (*visit)(struct route *, size_t f,
                                   const struct ckpt_piece *run))
{
    const struct ckpt_chain *chain = &r->l->chain;
    int status = 0;
    for (size_t f = 0; f < chain->nfiles; f++) {
        const struct ckpt_epoch *e = chain->files[f].epoch;
        for (uint64_t k = (uint64_t)net_rank();
             !e->full && k < e->ranks && status == 0;
             k += (uint64_t)net_size()) {
            status = visit(r, f, ckpt_file_piece(&chain->files[f], 0, k));
        }
    }
    return status;
}

static int run_announce(struct route *r, size_t f, const struct ckpt_piece *run)
{
    ckpt_file_rows_soon(&r->l->chain.files[f], run);
    return 0;
}

static int run_read(struct route *r, size_t f, const struct ckpt_piece *run)
{
    const struct ckpt_wanted wanted = {(uint64_t)net_size(), stays, entry_take,
                                       r};
    return ckpt_chain_run_read(&r->l->chain, f, run, &wanted, true);
}

static int runs_read(struct route *r)
{
    (void)runs_visit(r, run_announce);
    return runs_visit(r, run_read);
}

/* ---- what is not for me ---------------------------------------------------------------- */

/* Groups sources by the rank that they are sent to; of each group the order stays. */
static int targets_group(struct ckpt_sources *list)
{
    size_t ranks = (size_t)net_size();
    uint64_t *next = calloc(ranks + 1, sizeof *next);
    struct ckpt_source *grouped = calloc(list->count + 1, sizeof *grouped);
    if (next == NULL || grouped == NULL) {
        free(next);
        free(grouped);
        return base_error(RECTO_ENOMEM, "index of %llu pages",
                          (unsigned long long)list->count);
    }
    for (uint64_t i = 0; i < list->count; i++) {
        next[list->items[i].to + 1]++;
    }
    for (size_t rank = 0; rank < ranks; rank++) {
        next[rank + 1] += next[rank];
    }
    for (uint64_t i = 0; i < list->count; i++) {
        grouped[next[list->items[i].to]++] = list->items[i];
    }
    free(next);
    free(list->items);
    list->items = grouped;
    list->room = list->count;
    return 0;
}

static int sources_take(void *list, const void *data, size_t bytes)
{
    return ckpt_sources_add(list, data, bytes / sizeof(struct ckpt_source));
}

static int parcels_make(struct ckpt_sources *others,
                        struct net_parcels *parcels)
{
    int status = others->count > 0 ? targets_group(others) : 0;
    for (uint64_t i = 0; i < others->count && status == 0; i++) {
        status = net_parcels_add(parcels, (int)others->items[i].to,
                                 &others->items[i], sizeof *others->items);
    }
    return status;
}

/* Sends them, unless status is an error, and adds what others have for me. Collective,
 * one verdict. */
static int others_exchange(struct route *r, int status)
{
    struct net_parcels parcels = {0};
    status = status == 0 ? parcels_make(&r->others, &parcels) : status;
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(net_exchange(parcels.items, parcels.count,
                                          sources_take, &r->l->chain.sources));
    }
    free(parcels.items);
    free(r->others.items);
    r->others = (struct ckpt_sources){0};
    return status;
}

/* What has come here may be for others still. */
static int others_take(struct route *r)
{
    struct ckpt_sources came = r->l->chain.sources;
    struct ckpt_sources *mine = &r->l->chain.sources;
    uint64_t kept = 0;
    int status = 0;
    for (uint64_t i = 0; i < came.count && status == 0; i++) {
        uint64_t before = r->others.count;
        status = entry_take(r, &came.items[i]);
        if (r->others.count == before) {
            mine->items[kept++] = came.items[i];
        }
    }
    mine->count = kept;
    return status;
}

static bool any_touched(const struct ckpt_job *job)
{
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        const struct space_segment *s = job->parts[i].segment;
        if (s != NULL && s->attr.placement == RECTO_FIRST_TOUCH) {
            return true;
        }
    }
    return false;
}

/* ---- what the program redistributes ------------------------------------------------------ */

static bool is_moved(const void *load, uint64_t uid)
{
    const struct ckpt_part *part = part_of(load, uid);
    return part != NULL && part->moved;
}

static int old_take(void *load, const struct ckpt_source *source)
{
    struct load *l = load;
    return ckpt_sources_add(&l->old, source, 1);
}

/* All entries of these parts, on every rank. */
static int old_load(struct load *l)
{
    int status = 0;
    for (size_t f = 0; f < l->chain.nfiles; f++) {
        const struct ckpt_file *file = &l->chain.files[f];
        const struct ckpt_epoch *e = file->epoch;
        const struct ckpt_wanted wanted = {e->ranks, is_moved, old_take, l};
        for (uint64_t k = 0; !e->full && k < e->ranks && status == 0; k++) {
            status = ckpt_chain_run_read(
                &l->chain, f, ckpt_file_piece(file, 0, k), &wanted, false);
        }
    }
    return net_verdict(status == 0 ? ckpt_sources_settle(&l->old) : status);
}

int ckpt_sources_load(struct load *l)
{
    struct route r = {.l = l};
    int status = others_exchange(&r, runs_read(&r));
    if (status == 0 && any_touched(l->job)) {
        status =
            others_exchange(&r, others_take(&r)); /* from keepers to homes */
    }
    return status == 0 && l->moves ? old_load(l) : status;
}
