/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank's block of a distributed array of N dimensions, C order. In an epoch the array
 * is stored as shared memory is, by pages of the whole: rank k takes piece k of its
 * pages, whatever the blocks are, so that any number of ranks may cut it anew.
 */
#ifndef RECTO_SRC_CKPT_TILE_H
#define RECTO_SRC_CKPT_TILE_H

#include <recto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ckpt_tile {
    int ndims;
    uint64_t global[RECTO_DIMS_MAX];
    uint64_t start[RECTO_DIMS_MAX];
    uint64_t local[RECTO_DIMS_MAX];
};

struct ckpt_part;

/* Elements of `ndims` dimensions. */
uint64_t ckpt_tile_count(const uint64_t *dims, int ndims);

/* Have they elements in common? Of the same array. */
bool ckpt_tiles_overlap(const struct ckpt_tile *a, const struct ckpt_tile *b);

/* The rank that has page `page` of `pages` in its piece. */
int ckpt_tile_owner(uint64_t page, uint64_t pages);

/* Brings my piece of the array, as the ranks' blocks are now, into a new part->staging;
 * what no block holds is zero. Collective, one verdict. */
int ckpt_tile_gather(struct ckpt_part *part);
/* The reverse, from part->staging to a new `memory` of my block's bytes. Collective, one
 * verdict. */
int ckpt_tile_scatter(const struct ckpt_part *part, char **memory);

#endif
