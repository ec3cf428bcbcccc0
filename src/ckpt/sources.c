/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the newest version of each page is that this rank needs: the entries of the
 * chain's page logs. The logs' runs are divided among the ranks, and each entry goes
 * to the rank that needs its page.
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

/* Does the program redistribute the object? */
static bool is_moved(const void *load, uint64_t uid)
{
    const struct ckpt_part *part = part_of(load, uid);
    return part != NULL && part->moved;
}

static bool stays(const void *load, uint64_t uid)
{
    const struct ckpt_part *part = part_of(load, uid);
    return part != NULL && !part->moved;
}

/* Of the log of file f, if it is one: my runs are those of writers k, k + N, ... Calls
 * `visit` for each. */
static int runs_visit(struct load *l,
                      int (*visit)(struct load *, size_t f,
                                   const struct ckpt_piece *run))
{
    int status = 0;
    for (size_t f = 0; f < l->chain.nfiles; f++) {
        const struct ckpt_file *file = &l->chain.files[f];
        const struct ckpt_epoch *e = file->epoch;
        for (uint64_t k = (uint64_t)net_rank();
             !e->full && k < e->ranks && status == 0;
             k += (uint64_t)net_size()) {
            status = visit(l, f, ckpt_file_piece(file, 0, k));
        }
    }
    return status;
}

static int run_announce(struct load *l, size_t f, const struct ckpt_piece *run)
{
    ckpt_file_rows_soon(&l->chain.files[f], run);
    return 0;
}

static int run_read(struct load *l, size_t f, const struct ckpt_piece *run)
{
    const struct ckpt_wanted wanted = {(uint64_t)net_size(), stays, l};
    return ckpt_chain_run_read(&l->chain, f, run, &wanted, &l->chain.sources);
}

static int runs_read(struct load *l)
{
    (void)runs_visit(l, run_announce);
    return runs_visit(l, run_read);
}

/* Who needs the page, or knows who does. */
static int target_of(const struct load *l, const struct ckpt_source *s)
{
    if (s->rank != CKPT_NO_RANK) {
        return (int)s->rank;
    }
    const struct ckpt_part *part = part_of(l, s->uid);
    return part->segment != NULL ? space_home(part->segment, s->page)
                                 : ckpt_tile_owner(s->page, part->pages);
}

/* Groups sources by the rank that they are sent to; of each group the order stays. */
static int targets_group(struct ckpt_sources *list)
{
    size_t ranks = (size_t)net_size();
    uint64_t *next = calloc(ranks + 1, sizeof *next);
    struct ckpt_source *grouped = malloc(list->count * sizeof *grouped + 1);
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

/* Moves what is not for me from `list` to `others`. */
static int others_take(const struct load *l, struct ckpt_sources *list,
                       struct ckpt_sources *others)
{
    uint64_t kept = 0;
    int status = 0;
    for (uint64_t i = 0; i < list->count && status == 0; i++) {
        struct ckpt_source *s = &list->items[i];
        s->to = (uint32_t)target_of(l, s);
        if (s->to != (uint32_t)net_rank()) {
            status = ckpt_sources_add(others, s, 1);
        } else {
            list->items[kept++] = *s;
        }
    }
    list->count = kept;
    return status;
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

/* Sends what is not for me, and adds what others have for me. Collective. */
static int sources_exchange(const struct load *l, struct ckpt_sources *mine)
{
    struct ckpt_sources others = {0};
    struct net_parcels parcels = {0};
    int status = others_take(l, mine, &others);
    status =
        net_verdict(status == 0 ? parcels_make(&others, &parcels) : status);
    if (status == 0) {
        status = net_verdict(
            net_exchange(parcels.items, parcels.count, sources_take, mine));
    }
    free(parcels.items);
    free(others.items);
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

/* All entries of the parts that the program redistributes, on every rank. */
static int old_load(struct load *l)
{
    int status = 0;
    for (size_t f = 0; f < l->chain.nfiles; f++) {
        const struct ckpt_file *file = &l->chain.files[f];
        const struct ckpt_epoch *e = file->epoch;
        const struct ckpt_wanted wanted = {e->ranks, is_moved, l};
        for (uint64_t k = 0; !e->full && k < e->ranks && status == 0; k++) {
            status = ckpt_chain_run_read(
                &l->chain, f, ckpt_file_piece(file, 0, k), &wanted, &l->old);
        }
    }
    return net_verdict(status == 0 ? ckpt_sources_settle(&l->old) : status);
}

int ckpt_sources_load(struct load *l)
{
    struct ckpt_sources *mine = &l->chain.sources;
    int status = net_verdict(runs_read(l));
    status = status == 0 ? sources_exchange(l, mine) : status;
    if (status == 0 && any_touched(l->job)) {
        status = sources_exchange(l, mine); /* from keepers to homes */
    }
    return status == 0 && l->moves ? old_load(l) : status;
}
