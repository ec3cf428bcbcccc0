/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A full epoch out of a chain: HDF5 lays it out as for a checkpoint, its pages come from
 * a view, and the store commits it.
 *
 * Invariants
 * 1. The file is durable, and its metadata read back, before a manifest names it.
 * 2. Pages of zeros are not written: the new file has them.
 * 3. Epochs on the nodes' own disks that build on the old one build on the new one.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "image.h"
#include "state.h"
#include "view.h"

struct compaction {
    struct ckpt_store *store;
    struct ckpt_view view;
    struct ckpt_epoch epoch; /* the new one */
    struct ckpt_image image;
    struct ckpt_io_file file;
    struct ckpt_piece *pieces;
    char *buffer;
    const struct ckpt_progress *progress;
};

static bool zero(const char *data, size_t bytes)
{
    return bytes == 0 ||
           (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

/* What the new epoch is, but for its places. */
static int epoch_make(struct compaction *c, const struct ckpt_epoch *old)
{
    struct ckpt_epoch *e = &c->epoch;
    int status = ckpt_epoch_copy(e, old);
    e->full = true;
    e->base = e->number;
    e->has_file = true;
    e->packed = false;
    e->entries = e->pages_at = e->index_at = e->blocks_at = 0;
    for (uint64_t i = 0; i < e->nobjects && status == 0; i++) {
        struct ckpt_object *o = &e->objects[i];
        o->nsums = 0;
        for (uint64_t k = 0; k < ckpt_view_ranges(&c->view, o) && status == 0;
             k++) {
            struct ckpt_range r;
            status = ckpt_view_range(&c->view, o, k, &r);
            o->nsums += ckpt_pages(r.bytes);
        }
    }
    return status == 0 ? ckpt_uuid_renew(e->uuid) : status;
}

/* Pages [first, first + count) of a range, which begins `before` bytes into the
 * object, and their sums. */
static int pages_copy(struct compaction *c, const struct ckpt_range *r,
                      uint64_t before, uint64_t first, uint64_t count,
                      uint64_t *sums)
{
    int status = ckpt_view_pages(&c->view, r, first, count, c->buffer);
    uint64_t rest = r->bytes - first * CKPT_PAGE;
    size_t bytes =
        rest < count * CKPT_PAGE ? (size_t)rest : (size_t)count * CKPT_PAGE;
    for (uint64_t i = 0; i < count && status == 0; i++) {
        sums[i] = ckpt_hash(c->buffer + i * CKPT_PAGE, CKPT_PAGE);
    }
    if (status == 0 && !zero(c->buffer, bytes)) {
        status = ckpt_io_write(&c->file, c->buffer, bytes,
                               r->object->data + before + first * CKPT_PAGE,
                               "data-write");
    }
    if (c->progress != NULL) {
        c->progress->tell(c->progress->argument, bytes);
    }
    return status;
}

/* A piece: its pages from page `first` of the range on, its sums, its row. */
static int piece_copy(struct compaction *c, const struct ckpt_range *r,
                      uint64_t before, uint64_t first, struct ckpt_piece *row)
{
    size_t size = (size_t)row->sums * sizeof(uint64_t);
    uint64_t *sums = malloc(size + 1);
    uint64_t n = 0;
    int status = sums != NULL ? 0 : base_error(RECTO_ENOMEM, "page sums");
    for (uint64_t i = 0; i < row->sums && status == 0; i += n) {
        n = row->sums - i < CKPT_VIEW_PAGES ? row->sums - i : CKPT_VIEW_PAGES;
        status = pages_copy(c, r, before, first + i, n, sums + i);
    }
    if (status == 0 && size > 0) {
        row->hash = ckpt_hash(sums, size);
        status = ckpt_io_write(&c->file, sums, size,
                               r->object->sums + row->first_sum * sizeof *sums,
                               "sums-write");
    } else if (status == 0) {
        row->hash = ckpt_hash(sums, 0);
    }
    free(sums);
    return status;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int shared_copy(struct compaction *c, const struct ckpt_object *o,
                       struct ckpt_piece *rows)
{
    struct ckpt_range r;
    uint64_t pages = ckpt_pages(o->bytes);
    int status = ckpt_view_range(&c->view, o, 0, &r);
    for (uint64_t k = 0; k < c->epoch.ranks && status == 0; k++) {
        uint64_t first = ckpt_piece_first(pages, k, c->epoch.ranks);
        uint64_t end = ckpt_piece_first(pages, k + 1, c->epoch.ranks);
        uint64_t start = least(first * CKPT_PAGE, o->bytes);
        rows[k] = (struct ckpt_piece){
            .uid = o->uid,
            .rank = k,
            .offset = start,
            .bytes = least(end * CKPT_PAGE, o->bytes) - start,
            .first_sum = first,
            .sums = end - first};
        status = piece_copy(c, &r, 0, first, &rows[k]);
    }
    return status;
}

static int private_copy(struct compaction *c, const struct ckpt_object *o,
                        struct ckpt_piece *rows)
{
    uint64_t before = 0;
    uint64_t sums = 0;
    int status = 0;
    for (uint64_t k = 0; k < c->epoch.ranks && status == 0; k++) {
        struct ckpt_range r;
        status = ckpt_view_range(&c->view, o, k, &r);
        rows[k] = (struct ckpt_piece){.uid = o->uid,
                                      .rank = k,
                                      .offset = before,
                                      .bytes = r.bytes,
                                      .first_sum = sums,
                                      .sums = ckpt_pages(r.bytes)};
        status = status == 0 ? piece_copy(c, &r, before, 0, &rows[k]) : status;
        before += r.bytes;
        sums += rows[k].sums;
    }
    return status;
}

static int objects_copy(struct compaction *c)
{
    int status = 0;
    for (uint64_t i = 0; i < c->epoch.nobjects && status == 0; i++) {
        const struct ckpt_object *o = &c->epoch.objects[i];
        struct ckpt_piece *rows = &c->pieces[i * c->epoch.ranks];
        status = o->kind == CKPT_SHARED ? shared_copy(c, o, rows)
                                        : private_copy(c, o, rows);
    }
    return status;
}

static int read_back(struct compaction *c)
{
    struct ckpt_file file = {.io = c->file, .epoch = &c->epoch};
    int status = ckpt_file_meta_check(&file);
    if (status == 0) {
        status = ckpt_file_pieces_read(&file);
    }
    free(file.pieces);
    return status;
}

static int file_write(struct compaction *c)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_epoch *e = &c->epoch;
    ckpt_store_temporary(e, name);
    int status = ckpt_io_open(&c->file, &c->store->dir, name,
                              O_RDWR | O_CREAT | O_EXCL, "epoch-open");
    if (status == 0) {
        status = ckpt_io_allocate(&c->file, e->length, false, "epoch-allocate");
    }
    if (status == 0) {
        status = objects_copy(c);
    }
    if (status == 0) {
        status = ckpt_layout_write(e, &c->image, c->pieces, &c->file);
    }
    if (status == 0) {
        status = ckpt_io_sync(&c->file, "data-sync");
    }
    status = status == 0 ? read_back(c) : status;
    ckpt_io_close(&c->file);
    return status;
}

static int compact(struct compaction *c, uint64_t index)
{
    struct ckpt_manifest *m = c->store->manifest;
    int status = epoch_make(c, &m->epochs[index]);
    if (status == 0) {
        status = ckpt_layout_create(&c->epoch, m->run, &c->image);
    }
    if (status == 0) {
        c->pieces = calloc(c->epoch.pieces + 1, sizeof *c->pieces);
        c->buffer = malloc((size_t)CKPT_VIEW_PAGES * CKPT_PAGE);
        status = c->pieces != NULL && c->buffer != NULL
                     ? file_write(c)
                     : base_error(RECTO_ENOMEM, "table of pieces");
        if (status != 0) {
            ckpt_store_abandon(c->store, &c->epoch);
        }
    }
    return status == 0 ? ckpt_store_replace(c->store, index, &c->epoch)
                       : status;
}

int ckpt_compact(struct ckpt_store *store, uint64_t index,
                 const struct ckpt_progress *progress)
{
    struct compaction c = {
        .store = store, .progress = progress, .file = {.fd = -1}};
    if (store->manifest->epochs[index].full) {
        return 0;
    }
    int status = ckpt_view_open(&c.view, &store->dir, store->manifest, index);
    if (status != 0) {
        return status;
    }
    status = compact(&c, index);
    ckpt_view_close(&c.view);
    ckpt_image_free(&c.image);
    ckpt_epoch_clear(&c.epoch);
    free(c.pieces);
    free(c.buffer);
    return status;
}
