/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A full epoch out of a chain: HDF5 lays it out as for a checkpoint, its pages come from
 * a view, and the store commits it.
 *
 * Invariants
 * 1. The file is durable, and its metadata read back, before a manifest names it.
 * 2. Pages of zeros are not written: the new file has them. Nor are chunks of zeros, in
 *    an epoch that is packed.
 * 3. Epochs on the nodes' own disks that build on the old one build on the new one.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "chunked.h"
#include "compact.h"
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
    struct ckpt_copy copy;
    struct ckpt_chunked chunked;
    int level; /* of deflate; 0: all is in one piece */
    const struct ckpt_progress *progress;
};

/* ---- pieces ----------------------------------------------------------------------- */

int ckpt_compact_epoch(struct ckpt_epoch *full, const struct ckpt_epoch *epoch)
{
    int status = ckpt_epoch_copy(full, epoch);
    full->full = true;
    full->base = full->number;
    full->has_file = true;
    full->packed = false;
    full->entries = full->pages_at = full->index_at = full->blocks_at = 0;
    return status == 0 ? ckpt_uuid_renew(full->uuid) : status;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The buffer is zero where nothing is read. */
static bool is_zero(void *argument, uint64_t page)
{
    (void)argument;
    (void)page;
    return true;
}

void ckpt_piece_shared(const struct ckpt_object *o, uint64_t k, uint64_t ranks,
                       struct ckpt_range *range, struct ckpt_piece *row)
{
    uint64_t pages = ckpt_pages(o->bytes);
    uint64_t first = ckpt_piece_first(pages, k, ranks);
    uint64_t end = ckpt_piece_first(pages, k + 1, ranks);
    uint64_t start = least(first * CKPT_PAGE, o->bytes);
    *row =
        (struct ckpt_piece){.uid = o->uid,
                            .rank = k,
                            .offset = start,
                            .bytes = least(end * CKPT_PAGE, o->bytes) - start,
                            .first_sum = first,
                            .sums = end - first};
    *range = (struct ckpt_range){.object = o,
                                 .rank = CKPT_NO_RANK,
                                 .bytes = o->bytes,
                                 .is_zero = is_zero};
}

void ckpt_piece_private(const struct ckpt_object *o, uint64_t k, uint64_t bytes,
                        uint64_t bytes_before, uint64_t sums_before,
                        struct ckpt_range *range, struct ckpt_piece *row)
{
    *row = (struct ckpt_piece){.uid = o->uid,
                               .rank = k,
                               .offset = bytes_before,
                               .bytes = bytes,
                               .first_sum = sums_before,
                               .sums = ckpt_pages(bytes)};
    *range = (struct ckpt_range){
        .object = o, .rank = k, .bytes = bytes, .is_zero = is_zero};
}

/* Pages [first, first + count) of a piece, and their sums. */
static int pages_copy(const struct ckpt_copy *c, const struct ckpt_range *r,
                      const struct ckpt_piece *row, uint64_t first,
                      uint64_t count, uint64_t *sums)
{
    size_t size = (size_t)count * CKPT_PAGE;
    bool shared = r->rank == CKPT_NO_RANK;
    memset(c->buffer, 0, size);
    int status = ckpt_chain_read(
        c->chain, r, (shared ? row->first_sum : 0) + first, count, c->buffer);
    size_t bytes = (size_t)least(row->bytes - first * CKPT_PAGE, size);
    for (uint64_t i = 0; i < count && status == 0; i++) {
        sums[i] = ckpt_hash(c->buffer + i * CKPT_PAGE, CKPT_PAGE);
    }
    if (status == 0 && c->put != NULL) {
        status = c->put(c->argument, c->buffer, bytes);
    } else if (status == 0 && !ckpt_is_zero(c->buffer, bytes)) {
        status = ckpt_io_write(
            c->file, c->buffer, bytes,
            r->object->data + row->offset + first * CKPT_PAGE, "compact-write");
    }
    return status == 0 && c->step != NULL ? c->step(c->argument, bytes)
                                          : status;
}

int ckpt_piece_copy(const struct ckpt_copy *c, const struct ckpt_range *range,
                    struct ckpt_piece *row)
{
    size_t size = (size_t)row->sums * sizeof(uint64_t);
    uint64_t *sums = calloc((size_t)row->sums + 1, sizeof *sums);
    uint64_t n = 0;
    int status = sums != NULL ? 0 : base_error(RECTO_ENOMEM, "page sums");
    for (uint64_t i = 0; i < row->sums && status == 0; i += n) {
        n = least(row->sums - i, CKPT_COPY_PAGES);
        status = pages_copy(c, range, row, i, n, sums + i);
    }
    if (status == 0) {
        row->hash = ckpt_hash(sums, size);
    }
    if (status == 0 && size > 0) {
        status =
            ckpt_io_write(c->file, sums, size,
                          range->object->sums + row->first_sum * sizeof *sums,
                          "compact-sums");
    }
    free(sums);
    return status;
}

/* ---- all of them -------------------------------------------------------------------- */

/* What the new epoch is, but for its places. */
static int epoch_make(struct compaction *c, const struct ckpt_epoch *old)
{
    struct ckpt_epoch *e = &c->epoch;
    int status = ckpt_compact_epoch(e, old);
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
    return status;
}

static int tell(void *argument, uint64_t bytes)
{
    const struct compaction *c = argument;
    if (c->progress != NULL) {
        c->progress->tell(c->progress->argument, bytes);
    }
    return 0;
}

static int shared_copy(struct compaction *c, const struct ckpt_object *o,
                       struct ckpt_piece *rows)
{
    struct ckpt_range r;
    int status = 0;
    for (uint64_t k = 0; k < c->epoch.ranks && status == 0; k++) {
        ckpt_piece_shared(o, k, c->epoch.ranks, &r, &rows[k]);
        status = ckpt_piece_copy(&c->copy, &r, &rows[k]);
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
        ckpt_piece_private(o, k, r.bytes, before, sums, &r, &rows[k]);
        status = status == 0 ? ckpt_piece_copy(&c->copy, &r, &rows[k]) : status;
        before += rows[k].bytes;
        sums += rows[k].sums;
    }
    return status;
}

static int object_copy(struct compaction *c, uint64_t i)
{
    const struct ckpt_object *o = &c->epoch.objects[i];
    struct ckpt_piece *rows = &c->pieces[i * c->epoch.ranks];
    return o->kind == CKPT_SHARED ? shared_copy(c, o, rows)
                                  : private_copy(c, o, rows);
}

static int chunk_put(void *argument, const char *data, size_t bytes)
{
    struct compaction *c = argument;
    return ckpt_chunked_put(&c->chunked, data, bytes);
}

/* `file`: of HDF5, if some are in chunks. */
static int objects_copy(hid_t file, void *compaction)
{
    struct compaction *c = compaction;
    int status = 0;
    for (uint64_t i = 0; i < c->epoch.nobjects && status == 0; i++) {
        const struct ckpt_object *o = &c->epoch.objects[i];
        if (!ckpt_is_chunked(&c->epoch, o)) {
            status = object_copy(c, i);
            continue;
        }
        status = ckpt_chunked_begin(&c->chunked, file, o);
        c->copy.put = chunk_put;
        status = status == 0 ? object_copy(c, i) : status;
        c->copy.put = NULL;
        status = ckpt_chunked_end(&c->chunked, status);
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

/* All but the end: the tables and metadata, which wait in the image. */
static int plain_write(struct compaction *c, const char *run)
{
    struct ckpt_epoch *e = &c->epoch;
    int status = ckpt_layout_create(e, run, &c->image);
    if (status == 0) {
        status =
            ckpt_io_allocate(&c->file, e->length, false, "compact-allocate");
    }
    return status == 0 ? objects_copy(H5I_INVALID_HID, c) : status;
}

/* How long it will be is known when all is compressed. */
static int packed_write(struct compaction *c, const char *run)
{
    const struct ckpt_filler filler = {c->level, objects_copy, c};
    c->image.file = &c->file;
    c->image.label = "compact-write";
    int status = ckpt_layout_packed(&c->epoch, run, &c->image, &filler);
    return status == 0 ? ckpt_io_allocate(&c->file, c->epoch.length, false,
                                          "compact-allocate")
                       : status;
}

static int file_write(struct compaction *c, const char *run)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_epoch *e = &c->epoch;
    ckpt_store_temporary(e, name);
    int status = ckpt_io_open(&c->file, &c->store->dir, name,
                              O_RDWR | O_CREAT | O_EXCL, "compact-open");
    if (status == 0) {
        status = c->level > 0 ? packed_write(c, run) : plain_write(c, run);
    }
    if (status == 0) {
        status = ckpt_layout_write(e, &c->image, c->pieces, c->chunked.rows,
                                   &c->file);
    }
    if (status == 0) {
        status = ckpt_io_sync(&c->file, "compact-sync");
    }
    status = status == 0 ? read_back(c) : status;
    ckpt_io_close(&c->file);
    return status;
}

static int buffers_make(struct compaction *c)
{
    struct ckpt_epoch *e = &c->epoch;
    c->pieces = calloc(e->nobjects * e->ranks + 1, sizeof *c->pieces);
    c->copy = (struct ckpt_copy){
        .chain = &c->view.chain,
        .file = &c->file,
        .buffer = malloc((size_t)CKPT_COPY_PAGES * CKPT_PAGE),
        .step = tell,
        .argument = c};
    if (c->pieces == NULL || c->copy.buffer == NULL) {
        return base_error(RECTO_ENOMEM, "table of pieces");
    }
    return c->level > 0 ? ckpt_chunked_open(&c->chunked, e, c->level, &c->image)
                        : 0;
}

static int compact(struct compaction *c, uint64_t index)
{
    struct ckpt_manifest *m = c->store->manifest;
    int status = epoch_make(c, &m->epochs[index]);
    status = status == 0 ? buffers_make(c) : status;
    if (status == 0) {
        status = file_write(c, m->run);
        if (c->level > 0) {
            ckpt_chunked_close(&c->chunked);
        }
        if (status != 0) {
            ckpt_store_abandon(c->store, &c->epoch);
        }
    }
    return status == 0 ? ckpt_store_replace(c->store, index, &c->epoch)
                       : status;
}

/* Is it a full epoch that has nothing to be compressed? */
static bool is_done(const struct ckpt_epoch *e, int deflate)
{
    bool large = false;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        large = large || e->objects[i].bytes >= CKPT_CHUNKED;
    }
    return e->full && (deflate == 0 || e->packed || !large);
}

int ckpt_compact(struct ckpt_store *store, uint64_t index, int deflate,
                 const struct ckpt_progress *progress)
{
    struct compaction c = {.store = store,
                           .progress = progress,
                           .file = {.fd = -1},
                           .level = deflate};
    if (is_done(&store->manifest->epochs[index], deflate)) {
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
    free(c.copy.buffer);
    return status;
}
