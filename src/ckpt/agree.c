/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ranks agree on the objects of an epoch. Segments are the same on all by
 * construction; protected names are local (names.c), so rank 0 gathers every rank's
 * table, takes their union and broadcasts the list.
 *
 * Invariants
 * 1. Every rank leaves with the same epoch header and the same objects, in
 *    ascending order of uid.
 * 2. An object keeps its uid only if the last epoch of this run (or the one it
 *    restored) holds it with the same shape and, when private, the same bytes
 *    on every rank. All pages of an object with a new uid are in the epoch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "heap/heap.h"
#include "level.h"
#include "merge.h"
#include "names.h"

/* ---- shared segments -------------------------------------------------------------- */

static int known_order(const void *key, const void *known)
{
    uint32_t id = *(const uint32_t *)key;
    const struct ckpt_known *k = known;
    return (id > k->segment) - (id < k->segment);
}

static bool checkpointed(const struct space_segment *s)
{
    return (s->attr.flags & RECTO_NO_CHECKPOINT) == 0;
}

/* The uid of a segment that the last epoch holds with the same size; 0: none. */
static uint64_t shared_uid(const struct ckpt_listing *list, uint32_t segment,
                           uint64_t bytes)
{
    const struct ckpt_known *known =
        list->last == NULL || ckpt_state.nknown == 0
            ? NULL
            : bsearch(&segment, ckpt_state.known, ckpt_state.nknown,
                      sizeof *known, known_order);
    const struct ckpt_object *old =
        known != NULL ? ckpt_epoch_object(list->last, known->uid) : NULL;
    return old != NULL && old->bytes == bytes ? old->uid : 0;
}

static void shared_object(struct ckpt_listing *list,
                          const struct space_segment *s)
{
    uint64_t bytes = s->heap ? heap_extent() : s->bytes;
    if (bytes == 0) {
        return; /* a heap that was never used */
    }
    struct ckpt_object *o = &list->objects[list->count++];
    memcpy(o->name, s->name, sizeof o->name);
    o->kind = CKPT_SHARED;
    o->type = s->type;
    o->element = recto_type_size(s->type);
    o->ndims = s->ndims;
    memcpy(o->dims, s->dims, sizeof o->dims);
    o->dims[0] = s->heap ? bytes : o->dims[0];
    o->bytes = bytes;
    o->placement = (uint64_t)s->attr.placement;
    o->granule = s->attr.granule;
    o->consistency = (uint64_t)s->attr.consistency;
    o->address = (uint64_t)(uintptr_t)s->recto;
    uint64_t uid = shared_uid(list, s->id, bytes);
    o->uid = uid != 0 ? uid : list->next_uid++;
}

/* ---- the list, on rank 0 ------------------------------------------------------------ */

static int name_order(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

/* HDF5 has no name that is a dataset and a group. */
static const char *name_group(const char **names, uint64_t n, const char *name)
{
    char prefix[RECTO_NAME_MAX + 1];
    const char *key = prefix;
    for (const char *c = strchr(name, '/'); c != NULL; c = strchr(c + 1, '/')) {
        memcpy(prefix, name, (size_t)(c - name));
        prefix[c - name] = '\0';
        const char **found = bsearch(&key, names, n, sizeof *names, name_order);
        if (found != NULL) {
            return *found;
        }
    }
    return NULL;
}

static int names_check(const struct ckpt_listing *list)
{
    const char **names = calloc(list->count + 1, sizeof *names);
    if (names == NULL) {
        return base_error(RECTO_ENOMEM, "names");
    }
    for (uint64_t i = 0; i < list->count; i++) {
        names[i] = list->objects[i].name;
    }
    qsort(names, list->count, sizeof *names, name_order);
    int status = 0;
    for (uint64_t i = 0; i < list->count && status == 0; i++) {
        const char *group = name_group(names, list->count, names[i]);
        if (i > 0 && strcmp(names[i - 1], names[i]) == 0) {
            status = base_error(RECTO_EEXIST,
                                "\"%s\" names shared memory and protected "
                                "memory; give one of them another name",
                                names[i]);
        } else if (group != NULL) {
            status = base_error(RECTO_EEXIST,
                                "\"%s\" cannot lie in \"%s\", which is an "
                                "array itself; give it another name",
                                names[i], group);
        }
    }
    free(names);
    return status;
}

static int object_order(const void *a, const void *b)
{
    const struct ckpt_object *x = a;
    const struct ckpt_object *y = b;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

static int list_make(struct ckpt_listing *list, struct ckpt_name_row *rows,
                     uint64_t nrows)
{
    uint64_t most = nrows;
    const struct space_segment *s;
    for (s = space_segment_first(); s != NULL; s = s->next) {
        most++;
    }
    list->objects = calloc(most + 1, sizeof *list->objects);
    if (list->objects == NULL) {
        return base_error(RECTO_ENOMEM, "list of objects");
    }
    for (s = space_segment_first(); s != NULL; s = s->next) {
        if (checkpointed(s)) {
            shared_object(list, s);
        }
    }
    int status = ckpt_names_merge(list, rows, nrows);
    if (status == 0) {
        qsort(list->objects, list->count, sizeof *list->objects, object_order);
        status = names_check(list);
    }
    return status;
}

static bool same_objects(const struct ckpt_listing *list)
{
    if (list->last == NULL || list->last->nobjects != list->count) {
        return false;
    }
    for (uint64_t i = 0; i < list->count; i++) {
        if (list->objects[i].uid != list->last->objects[i].uid) {
            return false;
        }
    }
    return true;
}

/* A differential epoch holds every page of a new array, touched or not. */
static bool new_sparse(const struct ckpt_job *job)
{
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        const struct ckpt_object *o = &job->epoch.objects[i];
        const struct space_segment *s = space_segment_find(o->name);
        if (o->uid >= job->first_new && s != NULL && space_sparse(s)) {
            return true;
        }
    }
    return false;
}

/* Number, kind and objects of the epoch to come. */
static int epoch_make(struct ckpt_job *job, struct ckpt_name_row *rows,
                      uint64_t nrows)
{
    const struct ckpt_store *store = &ckpt_state.store;
    const struct ckpt_manifest *m = store->manifest;
    struct ckpt_epoch *e = &job->epoch;
    uint64_t next_uid = m != NULL ? m->next_uid : 1;
    uint64_t pending = 0;
    const struct ckpt_epoch *newest = ckpt_level_newest(&next_uid, &pending);
    if (newest == NULL && m != NULL && m->nepochs > 0) {
        newest = &m->epochs[m->nepochs - 1];
    }
    struct ckpt_listing list = {.next_uid = next_uid,
                                .last = ckpt_state.restarted ? newest : NULL,
                                .now = e};
    job->first_new = list.next_uid;
    int status = ckpt_structs_take(e);
    status = status == 0 ? list_make(&list, rows, nrows) : status;
    e->objects = list.objects;
    e->nobjects = list.count;
    if (status == 0) {
        status = ckpt_attributes_take(e);
    }
    if (status == 0) {
        status = ckpt_uuid_make(e->uuid);
    }
    if (status != 0) {
        return status;
    }
    e->number = newest != NULL ? newest->number + 1 : 0;
    e->full = newest == NULL || list.last == NULL || new_sparse(job) ||
              pending >= ckpt_state.full_every ||
              ckpt_store_wants_full(store, ckpt_state.full_every - pending) ||
              ckpt_merge_wants_full(m, job->changed);
    e->packed = !e->full && ckpt_state.packing.codec != CKPT_RAW &&
                !ckpt_level_on(); /* shares hold pages as they are */
    e->base = e->full ? e->number : newest->base;
    ckpt_merge_plan(job, m);
    e->ranks = (uint64_t)net_size();
    e->time = (uint64_t)time(NULL);
    job->same_objects = same_objects(&list);
    if (m != NULL) {
        memcpy(job->run, m->run, sizeof job->run);
    }
    return 0;
}

/* Rows for as many as `epoch` says, those of `mine` where they are as many: what points to
 * them stays. */
static int lists_make(struct ckpt_epoch *epoch, struct ckpt_epoch *mine)
{
    struct ckpt_list old[CKPT_LISTS];
    struct ckpt_list lists[CKPT_LISTS];
    bool good = true;
    ckpt_epoch_lists(mine, old);
    ckpt_epoch_lists(epoch, lists);
    for (int i = 0; i < CKPT_LISTS; i++) {
        void *rows = *old[i].rows;
        if (rows == NULL || *old[i].count != *lists[i].count) {
            free(rows);
            rows = calloc((size_t)*lists[i].count + 1, lists[i].size);
        }
        *lists[i].rows = rows;
        good = good && rows != NULL;
    }
    if (!good) {
        ckpt_epoch_clear(epoch);
    }
    return good ? 0 : base_error(RECTO_ENOMEM, "lists of an epoch");
}

int ckpt_epoch_share(struct ckpt_epoch *epoch, int root)
{
    struct ckpt_epoch mine = *epoch;
    struct ckpt_epoch told = *epoch;
    struct ckpt_list lists[CKPT_LISTS];
    int status = net_bcast(&told, sizeof told, root);
    if (status == 0 && net_rank() != root) {
        *epoch = told;
        status = lists_make(epoch, &mine);
    }
    status = net_verdict(status);
    ckpt_epoch_lists(epoch, lists);
    for (int i = 0; i < CKPT_LISTS && status == 0; i++) {
        if (*lists[i].count > 0) {
            status = net_bcast(*lists[i].rows, *lists[i].count * lists[i].size,
                               root);
        }
    }
    return status;
}

/* ---- parts --------------------------------------------------------------------------- */

/* Tells each rank where its private pieces begin, and everyone the totals. */
static int pieces_place(struct ckpt_job *job)
{
    uint64_t n = 0;
    size_t slots = 2 * (size_t)job->epoch.nobjects + 1;
    uint64_t *before = calloc(slots, sizeof *before);
    int64_t *total = calloc(slots, sizeof *total);
    int status = before != NULL && total != NULL
                     ? 0
                     : base_error(RECTO_ENOMEM, "places of private memory");
    for (uint64_t i = 0; status == 0 && i < job->epoch.nobjects; i++) {
        if (job->parts[i].object->kind == CKPT_PRIVATE) {
            before[n] = job->parts[i].bytes;
            total[n++] = (int64_t)job->parts[i].bytes;
            before[n] = job->parts[i].pages;
            total[n++] = (int64_t)job->parts[i].pages;
        }
    }
    status = net_verdict(status);
    if (status == 0 && n > 0) {
        status = net_exscan_sum(before, (int)n);
    }
    if (status == 0 && n > 0) {
        status = net_allreduce_sum(total, (int)n);
    }
    n = 0;
    for (uint64_t i = 0; status == 0 && i < job->epoch.nobjects; i++) {
        struct ckpt_part *part = &job->parts[i];
        if (part->object->kind == CKPT_SHARED) {
            part->object->nsums = job->epoch.full ? part->pages : 0;
            part->pages_all = part->pages;
        } else {
            part->bytes_before = before[n];
            RECTO_ASSERT((uint64_t)total[n] == part->object->bytes);
            n++;
            part->pages_before = before[n];
            part->pages_all = (uint64_t)total[n];
            part->object->nsums = job->epoch.full ? part->pages_all : 0;
            n++;
        }
    }
    free(before);
    free(total);
    return status;
}

/* Which pages of a distributed array are mine. */
static void piece_bind(struct ckpt_part *part)
{
    uint64_t rank = (uint64_t)net_rank();
    uint64_t ranks = (uint64_t)net_size();
    part->first = ckpt_piece_first(part->pages, rank, ranks);
    part->count = ckpt_piece_first(part->pages, rank + 1, ranks) - part->first;
}

int ckpt_parts_bind(struct ckpt_job *job)
{
    job->parts = calloc(job->epoch.nobjects + 1, sizeof *job->parts);
    if (job->parts == NULL) {
        return base_error(RECTO_ENOMEM, "parts of the epoch");
    }
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        struct ckpt_part *part = &job->parts[i];
        struct ckpt_object *o = &job->epoch.objects[i];
        part->object = o;
        if (o->kind == CKPT_SHARED && !ckpt_is_block(o)) {
            part->segment = space_segment_find(o->name);
            part->bytes = o->bytes;
            RECTO_ASSERT(part->segment != NULL &&
                         part->segment->pages >= ckpt_pages(o->bytes));
        } else {
            struct ckpt_region *r = ckpt_region_find(o->name);
            part->region = r != NULL && r->present ? r : NULL;
            part->bytes = part->region != NULL ? ckpt_region_bytes(r) : 0;
        }
        part->pages = ckpt_pages(part->bytes);
        part->count = part->pages;
        if (ckpt_is_block(o)) {
            RECTO_ASSERT(part->bytes == o->bytes);
            piece_bind(part);
        }
    }
    return 0;
}

int ckpt_agree(struct ckpt_job *job)
{
    struct ckpt_name_row *rows = NULL;
    uint64_t nrows = 0;
    int status = ckpt_names_gather(job, &rows, &nrows);
    if (status == 0 && net_rank() == 0) {
        status = epoch_make(job, rows, nrows);
    }
    free(rows);
    status = net_verdict(status);
    if (status == 0) {
        status = ckpt_epoch_share(&job->epoch, 0);
    }
    if (status == 0) {
        uint64_t header[] = {job->first_new, job->same_objects, job->volume,
                             job->limit};
        status = net_bcast(header, sizeof header, 0);
        job->first_new = header[0];
        job->same_objects = header[1] != 0;
        job->volume = header[2];
        job->limit = header[3];
    }
    if (status == 0) {
        status = net_verdict(ckpt_parts_bind(job));
    }
    return status == 0 ? pieces_place(job) : status;
}

void ckpt_job_free(struct ckpt_job *job)
{
    for (uint64_t i = 0; job->parts != NULL && i < job->epoch.nobjects; i++) {
        struct ckpt_part *part = &job->parts[i];
        base_runs_free(&part->dirty);
        base_runs_free(&part->mine);
        base_runs_free(&part->data);
        free(part->before);
        free(part->copy);
        free(part->staging);
        free(part->sums);
        if (part->piece_sums != NULL) {
            (void)recto_vm_unmap(part->piece_sums, part->piece_bytes);
        }
        free(part->hashes);
    }
    free(job->parts);
    free(job->rows);
    free(job->entries);
    free(job->blocks);
    ckpt_epoch_clear(&job->epoch);
    ckpt_io_close(&job->file);
}
