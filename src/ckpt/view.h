/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * view: an epoch as its memory was, seen through its chain: any page of any object,
 * compared with its sum. Knows no MPI. One thread at a time.
 */
#ifndef RECTO_SRC_CKPT_VIEW_H
#define RECTO_SRC_CKPT_VIEW_H

#include "chain.h"

struct ckpt_view {
    struct ckpt_chain chain;
    const struct ckpt_epoch *epoch; /* not owned */
};

/* How far a long work is; called often. */
struct ckpt_progress {
    void (*tell)(void *argument, uint64_t bytes);
    void *argument;
};

/*
 * Opens epoch `index` of the manifest, which must outlive the view: checks metadata,
 * tables and sums of all files of its chain. RECTO_ECORRUPT, RECTO_EIO, RECTO_ENOMEM.
 */
int ckpt_view_open(struct ckpt_view *view, const struct ckpt_dir *dir,
                   const struct ckpt_manifest *manifest, uint64_t index);
void ckpt_view_close(struct ckpt_view *view);

/* An object is one range, or one of each rank, end to end; none if it has no bytes. */
uint64_t ckpt_view_ranges(const struct ckpt_view *view,
                          const struct ckpt_object *object);
/* Range k of them. RECTO_ECORRUPT. */
int ckpt_view_range(const struct ckpt_view *view,
                    const struct ckpt_object *object, uint64_t k,
                    struct ckpt_range *range);

/* Pages [first, first + count) of a range, as ckpt_chain_read. */
int ckpt_view_pages(struct ckpt_view *view, const struct ckpt_range *range,
                    uint64_t first, uint64_t count, char *to);

enum {
    CKPT_VIEW_PAGES = 256 /* are a good number to ask for */
};

/* Calls visit with all bytes of an object, in order, CKPT_VIEW_PAGES pages at most at a
 * time, none across ranges; `offset` is in the object. Ends when it returns another
 * status than 0. */
int ckpt_view_walk(struct ckpt_view *view, const struct ckpt_object *object,
                   int (*visit)(void *argument, uint64_t offset,
                                const char *data, size_t bytes),
                   void *argument);

/* ---- compact.c -------------------------------------------------------------------- */

struct ckpt_store;

/*
 * Puts a new full epoch, of the same number, in the place of epoch `index`, so that it
 * builds on nothing; those after it build on it. What of the epochs before stays is
 * store->keep's word. Committed as a checkpoint is: on failure, or killed, the folder
 * has the old epoch or the new. A full epoch is left as it is. No MPI; nobody else uses
 * the store meanwhile.
 *
 * `deflate`: 0, or 1 to 9, the level at which large arrays are compressed, of a full epoch
 * also that is not yet.
 */
int ckpt_compact(struct ckpt_store *store, uint64_t index, int deflate,
                 const struct ckpt_progress *progress);

/* ---- export.c --------------------------------------------------------------------- */

/* Writes the epoch as a plain HDF5 file: every object under its name, nothing else.
 * `deflate`: 0, or 1 to 9, the level at which its datasets are compressed. RECTO_EEXIST
 * when there is a file of that name. On failure none is left. */
int ckpt_export(struct ckpt_view *view, const char *path, int deflate,
                const struct ckpt_progress *progress);

#endif
