/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of private memory and of blocks of distributed arrays: what each rank says of its
 * own, and the objects that they make together.
 */
#ifndef RECTO_SRC_CKPT_NAMES_H
#define RECTO_SRC_CKPT_NAMES_H

#include "state.h"

/* One rank's word about one name. */
struct ckpt_name_row {
    char name[RECTO_NAME_MAX + 1];
    uint64_t count;
    uint32_t type;
    uint32_t rank;
    uint32_t present;
    uint32_t changed; /* its size differs from what the last epoch holds */
    uint32_t is_block;
    struct ckpt_tile block;
};

/* Rank 0's list in the making. */
struct ckpt_listing {
    struct ckpt_object *objects;
    uint64_t count;
    uint64_t next_uid;
    const struct ckpt_epoch *last; /* the epoch to continue; NULL: none */
    const struct ckpt_epoch *now;  /* whose list it is: its structs */
};

/* Rank 0 gets the rows of all ranks, *all, and what had changed in the last epoch; others
 * NULL. Collective. */
int ckpt_names_gather(struct ckpt_job *job, struct ckpt_name_row **all,
                      uint64_t *count);
/* Rank 0: adds an object for each name of n rows, which get sorted. RECTO_EMISMATCH,
 * RECTO_EINVAL. */
int ckpt_names_merge(struct ckpt_listing *list, struct ckpt_name_row *rows,
                     uint64_t n);

#endif
