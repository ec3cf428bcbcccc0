/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * compact: pieces of a full epoch out of a chain. By one process for all ranks
 * (compact.c), or by each rank its own, beside the program (merge.c).
 */
#ifndef RECTO_SRC_CKPT_COMPACT_H
#define RECTO_SRC_CKPT_COMPACT_H

#include "chain.h"

enum {
    CKPT_COPY_PAGES = 256 /* read and written at a time */
};

struct ckpt_copy {
    struct ckpt_chain *chain; /* where pages come from */
    struct ckpt_io_file *file;
    char *buffer; /* CKPT_COPY_PAGES pages */
    /* Called after so many bytes of an object; its error ends the copy. */
    int (*step)(void *argument, uint64_t bytes);
    void *argument;
    /* Takes the object's bytes in order; NULL: they go to their place in the file. */
    int (*put)(void *argument, const char *data, size_t bytes);
};

/* An epoch as a full one: without a log, its objects without their places. The number of
 * page sums of objects is not known here. RECTO_ENOMEM, RECTO_EIO. */
int ckpt_compact_epoch(struct ckpt_epoch *full, const struct ckpt_epoch *epoch);

/* What is to be read for piece k of an object of a full epoch, and its row but for the
 * hash. Shared: */
void ckpt_piece_shared(const struct ckpt_object *o, uint64_t k, uint64_t ranks,
                       struct ckpt_range *range, struct ckpt_piece *row);
/* Private: of so many bytes, behind bytes and page sums of lower ranks. */
void ckpt_piece_private(const struct ckpt_object *o, uint64_t k, uint64_t bytes,
                        uint64_t bytes_before, uint64_t sums_before,
                        struct ckpt_range *range, struct ckpt_piece *row);

/* Reads a piece from the chain and writes it and its sums; the row gets the hash. Pages
 * of zeros are not written to their places: a new file has them. */
int ckpt_piece_copy(const struct ckpt_copy *c, const struct ckpt_range *range,
                    struct ckpt_piece *row);

#endif
