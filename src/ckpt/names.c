/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protected names are local to each rank. Rank 0 gets every rank's table and makes one
 * object of all rows of a name: private memory, all ranks' pieces in their order, or a
 * distributed array, whose blocks must be of one shape and not overlap.
 */
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- private names --------------------------------------------------------------- */

static int my_rows(struct ckpt_name_row **rows, uint64_t *count)
{
    struct ckpt_name_row *list = calloc(ckpt_state.nregions + 1, sizeof *list);
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "table of protected memory");
    }
    for (size_t i = 0; i < ckpt_state.nregions; i++) {
        const struct ckpt_region *r = ckpt_state.regions[i];
        struct ckpt_name_row *row = &list[i];
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

int ckpt_names_gather(struct ckpt_job *job, struct ckpt_name_row **all,
                      uint64_t *count)
{
    struct ckpt_name_row *mine = NULL;
    uint64_t n = 0;
    uint64_t *sizes = NULL;
    uint64_t total = 0;
    int status = my_rows(&mine, &n);
    if (net_rank() == 0 && status == 0) {
        sizes = calloc(2 * (size_t)net_size(), sizeof *sizes);
        status = sizes != NULL ? 0 : base_error(RECTO_ENOMEM, "sizes");
    }
    *all = NULL;
    status = net_verdict(status);
    uint64_t told[2] = {n * sizeof *mine, ckpt_state.changed};
    if (status == 0) {
        status = net_gather(told, sizeof told, sizes, 0);
    }
    if (status == 0 && sizes != NULL) {
        for (size_t r = 0; r < (size_t)net_size(); r++) {
            job->changed += sizes[2 * r + 1];
            sizes[r] = sizes[2 * r];
            total += sizes[r];
        }
        *all = malloc(total + 1);
        status = *all != NULL ? 0
                              : base_error(RECTO_ENOMEM, "%llu bytes",
                                           (unsigned long long)total);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_gatherv(mine, told[0], *all, sizes, 0);
    }
    *count = total / sizeof *mine;
    free(mine);
    free(sizes);
    return status;
}

static int row_order(const void *a, const void *b)
{
    const struct ckpt_name_row *x = a;
    const struct ckpt_name_row *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static uint64_t private_uid(struct ckpt_listing *list,
                            const struct ckpt_object *o)
{
    const struct ckpt_epoch *last = list->last;
    for (uint64_t i = 0; last != NULL && i < last->nobjects; i++) {
        const struct ckpt_object *old = &last->objects[i];
        if (old->kind == CKPT_PRIVATE && strcmp(old->name, o->name) == 0) {
            return ckpt_type_same(last, old->type, list->now, o->type) &&
                           old->bytes == o->bytes
                       ? old->uid
                       : list->next_uid++;
        }
    }
    return list->next_uid++;
}

/* ---- blocks of an array ------------------------------------------------------------- */

static int block_order(const void *a, const void *b)
{
    const struct ckpt_name_row *x = a;
    const struct ckpt_name_row *y = b;
    return (x->block.start[0] > y->block.start[0]) -
           (x->block.start[0] < y->block.start[0]);
}

/* Rows [0, n) of one name: every rank has a block, of the same array. */
static int blocks_same(const struct ckpt_name_row *rows, uint64_t n)
{
    const struct ckpt_name_row *lead = &rows[0];
    for (uint64_t i = 0; i < n; i++) {
        const struct ckpt_name_row *row = &rows[i];
        if (row->present != lead->present || row->is_block != lead->is_block ||
            row->type != lead->type || row->block.ndims != lead->block.ndims ||
            memcmp(row->block.global, lead->block.global,
                   sizeof lead->block.global) != 0) {
            return base_error(
                RECTO_EMISMATCH,
                "blocks of \"%s\" on rank %u and rank %u are not "
                "of the same array; give all ranks the same type and "
                "dimensions",
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
static int blocks_apart(struct ckpt_name_row *rows, uint64_t n)
{
    qsort(rows, n, sizeof *rows, block_order);
    for (uint64_t i = 0; i < n; i++) {
        const struct ckpt_tile *a = &rows[i].block;
        for (uint64_t k = i + 1;
             k < n && rows[k].block.start[0] < a->start[0] + a->local[0]; k++) {
            if (ckpt_tiles_overlap(a, &rows[k].block)) {
                return base_error(
                    RECTO_EMISMATCH,
                    "the blocks of \"%s\" on rank %u and rank %u overlap; "
                    "each element belongs to one rank",
                    rows[i].name, rows[i].rank, rows[k].rank);
            }
        }
    }
    return 0;
}

static uint64_t block_uid(struct ckpt_listing *list,
                          const struct ckpt_object *o)
{
    const struct ckpt_epoch *last = list->last;
    for (uint64_t i = 0; last != NULL && i < last->nobjects; i++) {
        const struct ckpt_object *old = &last->objects[i];
        if (ckpt_is_block(old) && strcmp(old->name, o->name) == 0 &&
            ckpt_type_same(last, old->type, list->now, o->type) &&
            old->ndims == o->ndims &&
            memcmp(old->dims, o->dims, sizeof o->dims) == 0) {
            return old->uid;
        }
    }
    return list->next_uid++;
}

static int blocks_merge(struct ckpt_listing *list, struct ckpt_name_row *rows,
                        uint64_t n)
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
    o->element = recto_type_size(o->type);
    o->bytes = ckpt_tile_count(o->dims, o->ndims) * o->element;
    o->uid = changed ? list->next_uid++ : block_uid(list, o);
    return status == 0 ? blocks_apart(rows, n) : status;
}

static const char *type_words(uint32_t type)
{
    const char *name = ckpt_type_name((recto_type)type);
    return name != NULL ? name : base_type_name((recto_type)type);
}

/* Adds the object of rows [0, n), all of one name, if a rank protects it. */
static int rows_merge(struct ckpt_listing *list,
                      const struct ckpt_name_row *rows, uint64_t n)
{
    const struct ckpt_name_row *lead = NULL;
    bool changed = false;
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) {
        changed = changed || rows[i].changed;
        if (!rows[i].present) {
            continue;
        }
        lead = lead != NULL ? lead : &rows[i];
        if (rows[i].type != lead->type) {
            return base_error(RECTO_EMISMATCH,
                              "protected memory \"%s\" is %s on rank %u and %s "
                              "on rank %u; protect the same on all ranks",
                              lead->name, type_words(lead->type), lead->rank,
                              type_words(rows[i].type), rows[i].rank);
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
    o->element = recto_type_size(o->type);
    o->bytes = count * o->element;
    o->uid = changed ? list->next_uid++ : private_uid(list, o);
    return 0;
}

int ckpt_names_merge(struct ckpt_listing *list, struct ckpt_name_row *rows,
                     uint64_t n)
{
    int status = 0;
    if (rows == NULL || n == 0) {
        return 0;
    }
    qsort(rows, n, sizeof *rows, row_order);
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
