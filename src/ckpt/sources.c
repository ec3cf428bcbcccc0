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

/* ---- the logs' indexes --------------------------------------------------------------- */

struct source_list {
    struct source *items;
    uint64_t count;
    uint64_t room;
};

static int list_reserve(struct source_list *list, uint64_t more)
{
    if (list->count + more <= list->room) {
        return 0;
    }
    uint64_t room = 2 * list->room + more;
    struct source *items = realloc(list->items, room * sizeof *items);
    if (items == NULL) {
        return base_error(RECTO_ENOMEM, "index of %llu pages",
                          (unsigned long long)room);
    }
    list->items = items;
    list->room = room;
    return 0;
}

static const struct ckpt_part *part_of(const struct load *l, uint64_t uid)
{
    const struct ckpt_object *o = ckpt_epoch_object(&l->job->epoch, uid);
    return o != NULL ? &l->job->parts[o - l->job->epoch.objects] : NULL;
}

/* Who may have written private pages: the ranks there are, or there were. */
static uint64_t ranks_of(const struct load *l, size_t f, bool moved)
{
    return moved ? l->files[f].epoch->ranks : (uint64_t)net_size();
}

/* Adds what a run holds of objects that the epoch still has: of those that the program
 * redistributes, or of the others. */
static int run_add(const struct load *l, size_t f, const struct ckpt_piece *run,
                   bool moved, struct source_list *list)
{
    struct ckpt_entry *entries = malloc(run->sums * sizeof *entries + 1);
    if (entries == NULL) {
        return base_error(RECTO_ENOMEM, "index of the page log");
    }
    int status = ckpt_file_entries_read(&l->files[f], run, entries);
    if (status == 0) {
        status = list_reserve(list, run->sums);
    }
    for (uint64_t i = 0; i < run->sums && status == 0; i++) {
        const struct ckpt_entry *e = &entries[i];
        const struct ckpt_part *part = part_of(l, e->uid);
        if (part == NULL || part->moved != moved) {
            continue;
        }
        const struct ckpt_object *o = part->object;
        bool shared = o->kind == CKPT_SHARED;
        if (e->page >= ckpt_pages(o->bytes) ||
            shared != (e->rank == CKPT_NO_RANK) ||
            (!shared && e->rank >= ranks_of(l, f, moved))) {
            uint64_t slot = run->first_sum + i;
            status = ckpt_file_corrupt(&l->files[f],
                                       "entry %llu of its page log is wrong",
                                       (unsigned long long)slot);
            break;
        }
        list->items[list->count++] = (struct source){.uid = e->uid,
                                                     .page = e->page,
                                                     .sum = e->sum,
                                                     .rank = e->rank,
                                                     .slot = run->first_sum + i,
                                                     .file = (uint32_t)f};
    }
    free(entries);
    return status;
}

/* Reads my share of the runs: those of writers k, k + N, ... */
static int runs_read(const struct load *l, struct source_list *list)
{
    int status = 0;
    for (size_t f = 0; f < l->nfiles; f++) {
        const struct ckpt_epoch *e = l->files[f].epoch;
        for (uint64_t k = (uint64_t)net_rank();
             !e->full && k < e->ranks && status == 0;
             k += (uint64_t)net_size()) {
            status =
                run_add(l, f, ckpt_file_piece(&l->files[f], 0, k), false, list);
        }
    }
    return status;
}

/* Who needs the page, or knows who does. */
static int target_of(const struct load *l, const struct source *s)
{
    if (s->rank != CKPT_NO_RANK) {
        return (int)s->rank;
    }
    const struct ckpt_part *part = part_of(l, s->uid);
    return part->segment != NULL ? space_home(part->segment, s->page)
                                 : ckpt_block_owner(s->page, part->pages);
}

static int target_order(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;
    return (x->to > y->to) - (x->to < y->to);
}

static int sources_take(void *list, const void *data, size_t bytes)
{
    struct source_list *l = list;
    uint64_t n = bytes / sizeof *l->items;
    int r = list_reserve(l, n);
    if (r == 0) {
        memcpy(l->items + l->count, data, bytes);
        l->count += n;
    }
    return r;
}

/* Sends `out` to its targets and adds what comes to `in`. Collective. */
static int sources_send(struct source_list *out, struct source_list *in)
{
    struct net_parcels parcels = {0};
    int status = 0;
    if (out->count > 0) {
        qsort(out->items, out->count, sizeof *out->items, target_order);
    }
    for (uint64_t i = 0; i < out->count && status == 0; i++) {
        status = net_parcels_add(&parcels, (int)out->items[i].to,
                                 &out->items[i], sizeof *out->items);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(
            net_exchange(parcels.items, parcels.count, sources_take, in));
    }
    free(parcels.items);
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

/* Moves what is not for me from `list` to `others`. */
static int others_take(const struct load *l, struct source_list *list,
                       struct source_list *others)
{
    uint64_t kept = 0;
    int status = 0;
    for (uint64_t i = 0; i < list->count && status == 0; i++) {
        struct source *s = &list->items[i];
        s->to = (uint32_t)target_of(l, s);
        if (s->to != (uint32_t)net_rank()) {
            status = sources_take(others, s, sizeof *s);
        } else {
            list->items[kept++] = *s;
        }
    }
    list->count = kept;
    return status;
}

/* Sends each source to the rank that needs its page: where homes are by first touch,
 * by way of the rank that keeps the home. Collective. */
static int sources_route(struct load *l, struct source_list *read)
{
    struct source_list mine = {0};
    struct source_list others = {0};
    for (uint64_t i = 0; i < read->count; i++) {
        read->items[i].to = (uint32_t)target_of(l, &read->items[i]);
    }
    int status = sources_send(read, &mine);
    if (status == 0 && any_touched(l->job)) {
        status = net_verdict(others_take(l, &mine, &others));
        status = status == 0 ? sources_send(&others, &mine) : status;
    }
    free(others.items);
    l->sources = mine.items;
    l->nsources = mine.count;
    return status;
}

static int source_order(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;
    if (x->uid != y->uid) {
        return x->uid < y->uid ? -1 : 1;
    }
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    if (x->page != y->page) {
        return x->page < y->page ? -1 : 1;
    }
    return (x->file < y->file) - (x->file > y->file); /* newest first */
}

/* Sorts, and keeps of each page the newest version. Returns how many. */
static uint64_t sources_settle(struct source *sources, uint64_t count)
{
    uint64_t kept = 0;
    if (count > 0) {
        qsort(sources, count, sizeof *sources, source_order);
    }
    for (uint64_t i = 0; i < count; i++) {
        const struct source *s = &sources[i];
        const struct source *last = kept > 0 ? &sources[kept - 1] : NULL;
        if (last == NULL || last->uid != s->uid || last->rank != s->rank ||
            last->page != s->page) {
            sources[kept++] = *s;
        }
    }
    return kept;
}

/* All entries of the parts that the program redistributes, on every rank. */
static int old_load(struct load *l)
{
    struct source_list list = {0};
    int status = 0;
    for (size_t f = 0; f < l->nfiles; f++) {
        const struct ckpt_epoch *e = l->files[f].epoch;
        for (uint64_t k = 0; !e->full && k < e->ranks && status == 0; k++) {
            status =
                run_add(l, f, ckpt_file_piece(&l->files[f], 0, k), true, &list);
        }
    }
    l->old = list.items;
    l->nold = sources_settle(list.items, list.count);
    return net_verdict(status);
}

int ckpt_sources_load(struct load *l)
{
    struct source_list list = {0};
    int status = net_verdict(runs_read(l, &list));
    if (status == 0) {
        status = sources_route(l, &list);
    }
    if (status == 0) {
        l->nsources = sources_settle(l->sources, l->nsources);
    }
    if (status == 0 && l->moves) {
        status = old_load(l);
    }
    free(list.items);
    return status;
}

uint64_t ckpt_source_after(const struct load *l, uint64_t uid, uint64_t page)
{
    uint64_t low = 0;
    uint64_t high = l->nsources;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct source *s = &l->sources[middle];
        if (s->uid < uid || (s->uid == uid && s->page < page)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
