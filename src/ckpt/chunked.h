/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chunked: the arrays of a packed full epoch into an HDF5 file, chunk by chunk, compressed
 * by threads. Who lays the file out (layout.c) calls while HDF5 has it open.
 */
#ifndef RECTO_SRC_CKPT_CHUNKED_H
#define RECTO_SRC_CKPT_CHUNKED_H

#include <hdf5.h>

#include "chunks.h"
#include "deflate.h"

struct ckpt_image;

/* What fills the file that is being laid out. */
struct ckpt_filler {
    int level; /* of deflate, 1 to 9 */
    int (*fill)(hid_t file, void *argument);
    void *argument;
};

/*
 * Lays out a full epoch as ckpt_chunked_open has left it: chunks are what `filler` writes into
 * image->file; objects below CKPT_CHUNKED bytes are in one piece, at their offsets, and
 * HDF5 does not write them. run NULL: the objects and nothing else. Sets the epoch's
 * offsets and length. RECTO_ENOMEM, what filling said.
 */
int ckpt_layout_packed(struct ckpt_epoch *epoch, const char *run,
                       struct ckpt_image *image,
                       const struct ckpt_filler *filler);

struct ckpt_chunked {
    struct ckpt_deflater deflater;
    const struct ckpt_image *image; /* has the status of writes */
    struct ckpt_chunk *rows;        /* of all arrays so far, in order */
    uint64_t done;                  /* rows of those before the one in hand */
    /* the array in hand */
    const struct ckpt_object *object;
    struct ckpt_chunking chunking;
    hid_t set;
    uint64_t number; /* of the chunk that comes in */
    size_t fill;     /* bytes of it that are here */
};

/* Says in a full epoch that its large arrays are in chunks, if it has some, and how many
 * these are. RECTO_ENOMEM, and nothing is to be closed. */
int ckpt_chunked_open(struct ckpt_chunked *c, struct ckpt_epoch *epoch,
                      int level, const struct ckpt_image *image);
void ckpt_chunked_close(struct ckpt_chunked *c);

/* The next array, whose dataset is there; its bytes, from the first to the last; its
 * end, after success or failure. RECTO_EIO. */
int ckpt_chunked_begin(struct ckpt_chunked *c, hid_t file,
                       const struct ckpt_object *object);
int ckpt_chunked_put(struct ckpt_chunked *c, const char *data, size_t bytes);
int ckpt_chunked_end(struct ckpt_chunked *c, int status);

#endif
