/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a manifest must fulfil beyond its syntax, so that a reader may use every
 * number in it: sizes that agree, tables and extents inside their file and
 * apart, names and uids single, chains complete.
 *
 * Invariants
 * 1. No sum or product of numbers from the text is formed before it is known
 *    not to overflow.
 * 2. An offset that a later read uses is inside the file, and no extent of one
 *    object reaches into another's.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "chunks.h"

int ckpt_manifest_corrupt(const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return base_error(RECTO_ECORRUPT, "manifest: %s", text);
}

static bool object_size_good(const struct ckpt_object *o)
{
    uint64_t bytes = o->element;
    for (int i = 0; i < o->ndims; i++) {
        if (o->dims[i] != 0 && bytes > (uint64_t)INT64_MAX / o->dims[i]) {
            return false;
        }
        bytes *= o->dims[i];
    }
    return bytes == o->bytes && (o->kind == CKPT_SHARED || o->ndims == 1);
}

static bool object_good(const struct ckpt_object *o, const struct ckpt_epoch *e,
                        uint64_t next_uid)
{
    if (o->uid == 0 || o->uid >= next_uid || !object_size_good(o)) {
        return false;
    }
    uint64_t pages = ckpt_pages(o->bytes);
    if (!e->full) {
        return o->data == 0 && o->sums == 0 && o->nsums == 0;
    }
    uint64_t most = o->kind == CKPT_SHARED ? pages : pages + e->ranks;
    return o->nsums >= pages && o->nsums <= most &&
           (o->bytes > 0 || (o->data == 0 && o->nsums == 0)) &&
           (o->nsums > 0 || o->sums == 0);
}

static int by_name(const void *a, const void *b)
{
    const struct ckpt_object *const *x = a;
    const struct ckpt_object *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int objects_single(const struct ckpt_epoch *e)
{
    if (e->nobjects == 0) {
        return 0;
    }
    const struct ckpt_object **list = calloc(e->nobjects, sizeof(void *));
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "manifest");
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        list[i] = &e->objects[i];
    }
    bool twice = false;
    qsort(list, e->nobjects, sizeof(void *), by_name);
    for (uint64_t i = 1; i < e->nobjects; i++) {
        twice = twice || strcmp(list[i - 1]->name, list[i]->name) == 0;
    }
    for (uint64_t i = 1; i < e->nobjects; i++) {
        twice = twice || e->objects[i - 1].uid >= e->objects[i].uid;
    }
    free(list);
    return twice
               ? ckpt_manifest_corrupt("epoch %llu holds a name twice or uids "
                                       "out of order",
                                       (unsigned long long)e->number)
               : 0;
}

/* Structs are such as a program may make, attributes such as it may set. */
static int words_good(const struct ckpt_epoch *e)
{
    bool good = e->nstructs <= RECTO_STRUCT_LAST - RECTO_STRUCT_FIRST + 1;
    for (uint64_t i = 0; i < e->nstructs && good; i++) {
        const struct ckpt_struct *s = &e->structs[i];
        good = s->count > 0 &&
               base_struct_check(s->name, s->bytes, e->members + s->first,
                                 s->count) == 0;
    }
    uint64_t of_one = 0;
    for (uint64_t i = 0; i < e->nattributes && good; i++) {
        const struct ckpt_attribute *a = &e->attributes[i];
        bool next = i > 0 && a[-1].uid == a->uid;
        of_one = next ? of_one + 1 : 1;
        good = ckpt_attribute_good(a) && of_one <= RECTO_ATTRIBUTES_MAX &&
               (!next || strcmp(a[-1].name, a->name) < 0);
    }
    return good ? 0
                : ckpt_manifest_corrupt("epoch %llu: a struct or an attribute "
                                        "is out of bounds",
                                        (unsigned long long)e->number);
}

static bool table_inside(const struct ckpt_epoch *e, uint64_t at,
                         uint64_t count, size_t size)
{
    return count <= e->length / size && at <= e->length - count * size;
}

/* Rows of the table of chunks lie in the order of the objects, and are all of it. */
static bool chunks_good(const struct ckpt_epoch *e)
{
    uint64_t at = e->blocks_at;
    uint64_t left = e->entries;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        const struct ckpt_object *o = &e->objects[i];
        if (!ckpt_is_chunked(e, o)) {
            continue;
        }
        uint64_t count = ckpt_chunking_of(o).count;
        if (o->data != at || count > left) {
            return false;
        }
        left -= count;
        at += count * sizeof(struct ckpt_chunk);
    }
    return left == 0 && e->entries > 0;
}

static bool overlaps(const struct ckpt_extent *e, uint64_t at, uint64_t bytes)
{
    return bytes > 0 && e->offset < at + bytes && at < e->offset + e->bytes;
}

/* The tables of pieces and chunks are metadata: inside the file, outside the bulk
 * extents. */
static int tables_apart(const struct ckpt_epoch *e)
{
    struct ckpt_extent *extents = NULL;
    size_t count = 0;
    uint64_t chunks = e->full ? e->entries * sizeof(struct ckpt_chunk) : 0;
    int status = ckpt_epoch_extents(e, NULL, &extents, &count);
    if (status != 0) {
        return status;
    }
    for (size_t i = 0; i < count && status == 0; i++) {
        if (overlaps(&extents[i], e->pieces_at,
                     e->pieces * sizeof(struct ckpt_piece)) ||
            overlaps(&extents[i], e->blocks_at, chunks)) {
            status = ckpt_manifest_corrupt(
                "epoch %llu: the table of pieces or chunks overlaps data",
                (unsigned long long)e->number);
        }
    }
    free(extents);
    return status;
}

static bool log_inside(const struct ckpt_epoch *e)
{
    return table_inside(e, e->pages_at, e->entries, CKPT_PAGE) &&
           table_inside(e, e->index_at, e->entries,
                        sizeof(struct ckpt_entry)) &&
           (!e->packed || table_inside(e, e->blocks_at, e->entries,
                                       sizeof(struct ckpt_block)));
}

static bool chunks_inside(const struct ckpt_epoch *e)
{
    return (e->pages_at | e->index_at) == 0 &&
           (e->packed ? table_inside(e, e->blocks_at, e->entries,
                                     sizeof(struct ckpt_chunk)) &&
                            chunks_good(e)
                      : (e->blocks_at | e->entries) == 0);
}

static int file_good(const struct ckpt_epoch *e)
{
    if (!e->has_file) {
        uint64_t any = e->length | e->meta | e->pieces_at | e->pieces |
                       e->pages_at | e->index_at | e->entries | e->blocks_at;
        return e->full || any != 0
                   ? ckpt_manifest_corrupt("epoch %llu: values without a file",
                                           (unsigned long long)e->number)
                   : 0;
    }
    if (e->length > INT64_MAX ||
        !table_inside(e, e->pieces_at, e->pieces, sizeof(struct ckpt_piece)) ||
        !(e->full ? chunks_inside(e) : log_inside(e))) {
        return ckpt_manifest_corrupt("epoch %llu: a table leaves the file",
                                     (unsigned long long)e->number);
    }
    return tables_apart(e);
}

int ckpt_epoch_check(const struct ckpt_epoch *e, uint64_t next_uid)
{
    if (e->number > INT64_MAX || e->ranks < 1 || e->ranks > INT_MAX) {
        return ckpt_manifest_corrupt("epoch %llu: a number is too large",
                                     (unsigned long long)e->number);
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (!object_good(&e->objects[i], e, next_uid)) {
            return ckpt_manifest_corrupt(
                "epoch %llu: \"%s\" contradicts itself",
                (unsigned long long)e->number, e->objects[i].name);
        }
    }
    int status = words_good(e);
    status = status == 0 ? objects_single(e) : status;
    return status != 0 ? status : file_good(e);
}

static int follows_check(const struct ckpt_manifest *m, uint64_t index)
{
    const struct ckpt_epoch *e = &m->epochs[index];
    const struct ckpt_epoch *before = index > 0 ? e - 1 : NULL;
    bool chained = e->full ? e->base == e->number
                           : before != NULL && before->base == e->base;
    if (!chained || (before != NULL && before->number >= e->number)) {
        return ckpt_manifest_corrupt(
            "epoch %llu does not follow the one before it",
            (unsigned long long)e->number);
    }
    return ckpt_epoch_check(e, m->next_uid);
}

int ckpt_manifest_check(const struct ckpt_manifest *m)
{
    int status = 0;
    for (uint64_t i = 0; i < m->nepochs && status == 0; i++) {
        status = follows_check(m, i);
    }
    return status;
}
