/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chunks: how arrays of a packed full epoch are cut, and one chunk back from what HDF5's
 * filters shuffle and deflate make of it. Knows no files.
 *
 * A chunk is a stretch of the array in C order: of the dimensions behind `split` it has
 * all, of those before it one. So it is a stretch of the array's bytes.
 */
#ifndef RECTO_SRC_CKPT_CHUNKS_H
#define RECTO_SRC_CKPT_CHUNKS_H

#include "format.h"

struct ckpt_chunking {
    int split;
    uint64_t rows;      /* of dimension `split`, in a chunk */
    uint64_t row_bytes; /* of one of them */
    uint64_t across;    /* chunks of that dimension */
    uint64_t count;     /* all of them */
    size_t bytes;       /* of a whole one: at most CKPT_CHUNK */
};

/* Of an object that has elements. */
struct ckpt_chunking ckpt_chunking_of(const struct ckpt_object *object);
/* Bytes of the array in a chunk: at the end of `split` less than in others, which the
 * file holds as zeros. */
size_t ckpt_chunk_bytes(const struct ckpt_chunking *chunking,
                        const struct ckpt_object *object, uint64_t number);
/* The element at which a chunk begins: RECTO_DIMS_MAX numbers. */
void ckpt_chunk_place(const struct ckpt_chunking *chunking,
                      const struct ckpt_object *object, uint64_t number,
                      uint64_t *at);
/* The chunk that has byte `offset` of the array, and where it has it. */
uint64_t ckpt_chunk_find(const struct ckpt_chunking *chunking,
                         const struct ckpt_object *object, uint64_t offset,
                         size_t *at);
/* HDF5's mask of all filters that the object's chunks pass. */
uint32_t ckpt_chunk_filters(const struct ckpt_object *object);
/* How many rows the table of a packed full epoch's chunks has. */
uint64_t ckpt_epoch_chunks(const struct ckpt_epoch *epoch);

/* ---- one chunk back ------------------------------------------------------------------ */

struct ckpt_inflater {
    void *zlib;
    char *stored; /* CKPT_CHUNK bytes: as they came from the file */
    char *sorted;
    char *plain;
};

/* Takes all the memory that it will ever need. RECTO_ENOMEM. */
int ckpt_inflater_open(struct ckpt_inflater *inflater);
void ckpt_inflater_close(struct ckpt_inflater *inflater);
/* What is in `stored` into `plain`, a whole chunk. False: it is none of the object's. */
bool ckpt_inflate(struct ckpt_inflater *inflater,
                  const struct ckpt_chunk *chunk,
                  const struct ckpt_object *object, size_t bytes);

#endif
