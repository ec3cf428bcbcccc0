/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ranks agree on the objects of an epoch. Segments are the same on all by
 * construction; protected names are local, so rank 0 gathers every rank's
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
#include "state.h"

/* One rank's word about one name. */
struct row {
    char name[RECTO_NAME_MAX + 1];
    uint64_t count;
    uint32_t type;
    uint32_t rank;
    uint32_t present;
    uint32_t changed; /* its size differs from what the last epoch holds */
    uint32_t is_block;
    struct ckpt_tile block;
};

/* Rank 0's list in the making. */
struct list {
    struct ckpt_object *objects;
    uint64_t count;
    uint64_t next_uid;
    const struct ckpt_epoch *last; /* the epoch to continue; NULL: none */
};

/* ---- private names --------------------------------------------------------------- */

static int my_rows(struct row **rows, uint64_t *count)
{
    struct row *list = calloc(ckpt_state.nregions + 1, sizeof *list);
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "table of protected memory");
    }
    for (size_t i = 0; i < ckpt_state.nregions; i++) {
        const struct ckpt_region *r = ckpt_state.regions[i];
        struct row *row = &list[i];
        memcpy(row->name, r->name, sizeof row->name);
        row->count = r->present ? r->count : 0;
        row->type = (uint32_t)r->type;
        row->rank = (uint32_t)net_rank();
        row->present = r->present;
        row->is_block = r->present && r->is_block;
        row->block = r->block;
        row->changed = ckpt_region_bytes(r) != r->saved_bytes;
    }
    *rows = list;
    *count = ckpt_state.nregions;
    return 0;
}

/* Rank 0 gets the rows of all ranks, *all; others NULL. */
static int rows_gather(struct row **all, uint64_t *count)
{
    struct row *mine = NULL;
    uint64_t n = 0;
    uint64_t *sizes = NULL;
    uint64_t total = 0;
    int status = my_rows(&mine, &n);
    if (net_rank() == 0 && status == 0) {
        sizes = calloc((size_t)net_size(), sizeof *sizes);
        status = sizes != NULL ? 0 : base_error(RECTO_ENOMEM, "sizes");
    }
    *all = NULL;
    status = net_verdict(status);
    uint64_t bytes = n * sizeof *mine;
    if (status == 0) {
        status = net_gather(&bytes, sizeof bytes, sizes, 0);
    }
    if (status == 0 && sizes != NULL) {
        for (int r = 0; r < net_size(); r++) {
            total += sizes[r];
        }
        *all = malloc(total + 1);
        status = *all != NULL ? 0
                              : base_error(RECTO_ENOMEM, "%llu bytes",
                                           (unsigned long long)total);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_gatherv(mine, bytes, *all, sizes, 0);
    }
    *count = total / sizeof *mine;
    free(mine);
    free(sizes);
    return status;
}

static int row_order(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static uint64_t private_uid(struct list *list, const struct ckpt_object *o)
{
    const struct ckpt_epoch *last = list->last;
    for (uint64_t i = 0; last != NULL && i < last->nobjects; i++) {
        const struct ckpt_object *old = &last->objects[i];
        if (old->kind == CKPT_PRIVATE && strcmp(old->name, o->name) == 0) {
            return old->type == o->type && old->bytes == o->bytes
                       ? old->uid
                       : list->next_uid++;
        }
    }
    return list->next_uid++;
}

/* ---- blocks of an array ------------------------------------------------------------- */

static int block_order(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    return (x->block.start[0] > y->block.start[0]) -
           (x->block.start[0] < y->block.start[0]);
}

/* Rows [0, n) of one name: every rank has a block, of the same array. */
static int blocks_same(const struct row *rows, uint64_t n)
{
    const struct row *lead = &rows[0];
    for (uint64_t i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        if (row->present != lead->present || row->is_block != lead->is_block ||
            row->type != lead->type || row->block.ndims != lead->block.ndims ||
            memcmp(row->block.global, lead->block.global,
                   sizeof lead->block.global) != 0) {
            return base_error(RECTO_EMISMATCH,
                              "blocks of \"%s\" on rank %u and rank %u are not "
                              "of the same array",
                              lead->name, lead->rank, row->rank);
        }
    }
    return n == (uint64_t)net_size()
               ? 0
               : base_error(RECTO_EMISMATCH,
                            "%llu of %d ranks protect a block of \"%s\": all "
                            "have to, if only one of no elements",
                            (unsigned long long)n, net_size(), lead->name);
}

/* In the order of their first dimension only neighbours can overlap. */
static int blocks_apart(struct row *rows, uint64_t n)
{
    qsort(rows, n, sizeof *rows, block_order);
    for (uint64_t i = 0; i < n; i++) {
        const struct ckpt_tile *a = &rows[i].block;
        for (uint64_t k = i + 1;
             k < n && rows[k].block.start[0] < a->start[0] + a->local[0]; k++) {
            if (ckpt_tiles_overlap(a, &rows[k].block)) {
                return base_error(
                    RECTO_EMISMATCH,
                    "the blocks of \"%s\" on rank %u and rank %u overlap",
                    rows[i].name, rows[i].rank, rows[k].rank);
            }
        }
    }
    return 0;
}

static uint64_t block_uid(struct list *list, const struct ckpt_object *o)
{
    const struct ckpt_epoch *last = list->last;
    for (uint64_t i = 0; last != NULL && i < last->nobjects; i++) {
        const struct ckpt_object *old = &last->objects[i];
        if (ckpt_is_block(old) && strcmp(old->name, o->name) == 0 &&
            old->type == o->type && old->ndims == o->ndims &&
            memcmp(old->dims, o->dims, sizeof o->dims) == 0) {
            return old->uid;
        }
    }
    return list->next_uid++;
}

static int blocks_merge(struct list *list, struct row *rows, uint64_t n)
{
    bool changed = false;
    int status = blocks_same(rows, n);
    for (uint64_t i = 0; i < n; i++) {
        changed = changed || rows[i].changed;
    }
    struct ckpt_object *o = &list->objects[list->count++];
    memcpy(o->name, rows->name, sizeof o->name);
    o->kind = CKPT_SHARED;
    o->type = (recto_type)rows->type;
    o->ndims = rows->block.ndims;
    memcpy(o->dims, rows->block.global, sizeof o->dims);
    o->bytes = ckpt_tile_count(o->dims, o->ndims) * recto_type_size(o->type);
    o->uid = changed ? list->next_uid++ : block_uid(list, o);
    return status == 0 ? blocks_apart(rows, n) : status;
}

/* Adds the object of rows [0, n), all of one name, if a rank protects it. */
static int rows_merge(struct list *list, const struct row *rows, uint64_t n)
{
    const struct row *lead = NULL;
    bool changed = false;
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) {
        changed = changed || rows[i].changed;
        if (!rows[i].present) {
            continue;
        }
        lead = lead != NULL ? lead : &rows[i];
        if (rows[i].type != lead->type) {
            return base_error(
                RECTO_EMISMATCH,
                "protected memory \"%s\" is %s on rank %u and %s "
                "on rank %u",
                lead->name, ckpt_type_name((recto_type)lead->type), lead->rank,
                ckpt_type_name((recto_type)rows[i].type), rows[i].rank);
        }
        uint64_t size = recto_type_size((recto_type)lead->type);
        if (rows[i].count > (uint64_t)INT64_MAX / size - count) {
            return base_error(RECTO_EINVAL,
                              "protected memory \"%s\" is too large",
                              lead->name);
        }
        count += rows[i].count;
    }
    if (lead == NULL) {
        return 0;
    }
    struct ckpt_object *o = &list->objects[list->count++];
    memcpy(o->name, lead->name, sizeof o->name);
    o->kind = CKPT_PRIVATE;
    o->type = (recto_type)lead->type;
    o->ndims = 1;
    o->dims[0] = count;
    o->bytes = count * recto_type_size(o->type);
    o->uid = changed ? list->next_uid++ : private_uid(list, o);
    return 0;
}

static int private_objects(struct list *list, struct row *rows, uint64_t n)
{
    int status = 0;
    if (rows != NULL && n > 0) {
        qsort(rows, n, sizeof *rows, row_order);
    }
    for (uint64_t i = 0; i < n && status == 0;) {
        uint64_t end = i + 1;
        bool blocks = rows[i].is_block != 0;
        while (end < n && strcmp(rows[i].name, rows[end].name) == 0) {
            blocks = blocks || rows[end].is_block != 0;
            end++;
        }
        status = blocks ? blocks_merge(list, &rows[i], end - i)
                        : rows_merge(list, &rows[i], end - i);
        i = end;
    }
    return status;
}

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
static uint64_t shared_uid(const struct list *list, uint32_t segment,
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

static void shared_object(struct list *list, const struct space_segment *s)
{
    uint64_t bytes = s->heap ? heap_extent() : s->bytes;
    if (bytes == 0) {
        return; /* a heap that was never used */
    }
    struct ckpt_object *o = &list->objects[list->count++];
    memcpy(o->name, s->name, sizeof o->name);
    o->kind = CKPT_SHARED;
    o->type = s->type;
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

static int names_check(const struct list *list)
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
                                "memory",
                                names[i]);
        } else if (group != NULL) {
            status = base_error(RECTO_EEXIST,
                                "\"%s\" cannot lie in \"%s\", which is an "
                                "array itself",
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

static int list_make(struct list *list, struct row *rows, uint64_t nrows)
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
    int status = private_objects(list, rows, nrows);
    if (status == 0) {
        qsort(list->objects, list->count, sizeof *list->objects, object_order);
        status = names_check(list);
    }
    return status;
}

static bool same_objects(const struct list *list)
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
static int epoch_make(struct ckpt_job *job, struct row *rows, uint64_t nrows)
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
    struct list list = {.next_uid = next_uid,
                        .last = ckpt_state.restarted ? newest : NULL};
    job->first_new = list.next_uid;
    int status = list_make(&list, rows, nrows);
    e->objects = list.objects;
    e->nobjects = list.count;
    if (status == 0) {
        status = ckpt_uuid_make(e->uuid);
    }
    if (status != 0) {
        return status;
    }
    e->number = newest != NULL ? newest->number + 1 : 0;
    e->full = newest == NULL || list.last == NULL || new_sparse(job) ||
              pending >= ckpt_state.full_every ||
              ckpt_store_wants_full(store, ckpt_state.full_every - pending);
    e->packed = !e->full && ckpt_state.packing.codec != CKPT_RAW &&
                !ckpt_level_on(); /* shares hold pages as they are */
    e->base = e->full ? e->number : newest->base;
    e->ranks = (uint64_t)net_size();
    e->time = (uint64_t)time(NULL);
    job->same_objects = same_objects(&list);
    if (m != NULL) {
        memcpy(job->run, m->run, sizeof job->run);
    }
    return 0;
}

int ckpt_epoch_share(struct ckpt_epoch *epoch)
{
    struct ckpt_object *mine = epoch->objects;
    uint64_t had = epoch->nobjects;
    int status = net_bcast(epoch, sizeof *epoch, 0);
    epoch->objects = mine;
    if (status == 0 && had != epoch->nobjects) {
        free(mine);
        epoch->objects = calloc(epoch->nobjects + 1, sizeof *mine);
        if (epoch->objects == NULL) {
            status = base_error(RECTO_ENOMEM, "list of objects");
        }
    }
    status = net_verdict(status);
    if (status != 0) {
        if (epoch->objects == NULL) {
            epoch->nobjects = 0;
        }
        return status;
    }
    return net_bcast(epoch->objects, epoch->nobjects * sizeof *mine, 0);
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
        } else {
            part->bytes_before = before[n];
            RECTO_ASSERT((uint64_t)total[n] == part->object->bytes);
            n++;
            part->pages_before = before[n];
            part->object->nsums = job->epoch.full ? (uint64_t)total[n] : 0;
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
    struct row *rows = NULL;
    uint64_t nrows = 0;
    int status = rows_gather(&rows, &nrows);
    if (status == 0 && net_rank() == 0) {
        status = epoch_make(job, rows, nrows);
    }
    free(rows);
    status = net_verdict(status);
    if (status == 0) {
        status = ckpt_epoch_share(&job->epoch);
    }
    if (status == 0) {
        uint64_t header[2] = {job->first_new, job->same_objects};
        status = net_bcast(header, sizeof header, 0);
        job->first_new = header[0];
        job->same_objects = header[1] != 0;
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
