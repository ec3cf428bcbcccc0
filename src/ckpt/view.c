/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All of a chain in one process: what ranks divide among themselves at a restart.
 *
 * Invariants
 * 1. Metadata, tables of pieces, indexes and page sums are checked when the view is
 *    opened; pages when they are read.
 * 2. Memory is for the tables, 64 bytes for each page of the chain's logs, and two
 *    buffers.
 */
#include "view.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* A full epoch's sums of what the view's epoch still has. */
static int sums_check(const struct ckpt_view *v)
{
    const struct ckpt_file *full = &v->chain.files[0];
    int status = 0;
    for (uint64_t i = 0; i < full->npieces && status == 0; i++) {
        const struct ckpt_piece *piece = &full->pieces[i];
        const struct ckpt_object *o =
            ckpt_epoch_object(full->epoch, piece->uid);
        if (ckpt_epoch_object(v->epoch, piece->uid) == NULL) {
            continue;
        }
        uint64_t *sums = malloc(piece->sums * sizeof *sums + 1);
        status = sums != NULL ? ckpt_file_sums_read(full, o, piece, sums)
                              : base_error(RECTO_ENOMEM, "page sums");
        free(sums);
    }
    return status;
}

static int file_load(struct ckpt_view *v, size_t f)
{
    struct ckpt_file *file = &v->chain.files[f];
    int status = ckpt_file_meta_check(file);
    if (status == 0) {
        status = ckpt_file_pieces_read(file);
    }
    const struct ckpt_wanted wanted = {.ranks = v->epoch->ranks};
    for (uint64_t k = 0;
         status == 0 && !file->epoch->full && k < file->epoch->ranks; k++) {
        status = ckpt_chain_run_read(&v->chain, f, ckpt_file_piece(file, 0, k),
                                     &wanted, true);
    }
    return status;
}

int ckpt_view_open(struct ckpt_view *v, const struct ckpt_dir *dir,
                   const struct ckpt_manifest *manifest, uint64_t index)
{
    v->epoch = &manifest->epochs[index];
    int status = ckpt_chain_open(&v->chain, dir, manifest, index);
    for (size_t f = 0; f < v->chain.nfiles && status == 0; f++) {
        status = file_load(v, f);
    }
    if (status == 0) {
        status = sums_check(v);
    }
    if (status != 0) {
        ckpt_view_close(v);
    }
    return status;
}

void ckpt_view_close(struct ckpt_view *v)
{
    ckpt_chain_close(&v->chain);
    v->epoch = NULL;
}

uint64_t ckpt_view_ranges(const struct ckpt_view *v,
                          const struct ckpt_object *object)
{
    return object->bytes == 0            ? 0
           : object->kind == CKPT_SHARED ? 1
                                         : v->epoch->ranks;
}

int ckpt_view_range(const struct ckpt_view *v, const struct ckpt_object *object,
                    uint64_t k, struct ckpt_range *range)
{
    bool shared = object->kind == CKPT_SHARED;
    *range = (struct ckpt_range){.object = object,
                                 .rank = shared ? CKPT_NO_RANK : k,
                                 .bytes = object->bytes};
    return shared || object->bytes == 0
               ? 0
               : ckpt_chain_size(&v->chain, object, k, &range->bytes);
}

int ckpt_view_pages(struct ckpt_view *v, const struct ckpt_range *range,
                    uint64_t first, uint64_t count, char *to)
{
    return ckpt_chain_read(&v->chain, range, first, count, to);
}

int ckpt_view_walk(struct ckpt_view *v, const struct ckpt_object *object,
                   int (*visit)(void *argument, uint64_t offset,
                                const char *data, size_t bytes),
                   void *argument)
{
    uint64_t before = 0;
    int status = 0;
    char *buffer = malloc((size_t)CKPT_VIEW_PAGES * CKPT_PAGE);
    if (buffer == NULL) {
        return base_error(RECTO_ENOMEM, "buffer of pages");
    }
    for (uint64_t k = 0; k < ckpt_view_ranges(v, object) && status == 0; k++) {
        struct ckpt_range r;
        status = ckpt_view_range(v, object, k, &r);
        uint64_t pages = ckpt_pages(r.bytes);
        uint64_t n = 0;
        for (uint64_t page = 0; page < pages && status == 0; page += n) {
            uint64_t at = page * CKPT_PAGE;
            n = pages - page < CKPT_VIEW_PAGES ? pages - page : CKPT_VIEW_PAGES;
            status = ckpt_view_pages(v, &r, page, n, buffer);
            if (status == 0) {
                uint64_t rest = r.bytes - at;
                status = visit(argument, before + at, buffer,
                               rest < n * CKPT_PAGE ? (size_t)rest
                                                    : (size_t)n * CKPT_PAGE);
            }
        }
        before += r.bytes;
    }
    free(buffer);
    return status;
}
