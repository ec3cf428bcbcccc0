/* SPDX-License-Identifier: BSD-3-Clause */
/* Which epoch a restart takes. */
#ifndef RECTO_SRC_CKPT_CHOICE_H
#define RECTO_SRC_CKPT_CHOICE_H

#include "state.h"

/* The choice that RECTO_RESTART_EPOCH makes. RECTO_EINVAL. Local. */
int ckpt_choice_read(int64_t *chosen);

/* "recto_restart(), epoch 3": what the ranks compare, call and choice. */
const char *ckpt_choice_text(const char *call, char *text, size_t size);

/* The folder's manifest on every rank, and the folder open; *manifest is NULL for one
 * without epochs. RECTO_ENOENT if an epoch is chosen that is not there, RECTO_EIO,
 * RECTO_ELOCKED, ... Collective, one verdict. */
int ckpt_choice_open(struct ckpt_manifest **manifest);

/* A manifest of rank 0, to all: *manifest is NULL if `mine` is. `status`: of making it.
 * Collective, one verdict. */
int ckpt_manifest_share(int status, const struct ckpt_manifest *mine,
                        struct ckpt_manifest **manifest);

/* Restores from epoch `index`. Collective, one verdict. */
typedef int (*ckpt_choice_load)(void *argument,
                                const struct ckpt_manifest *manifest,
                                uint64_t index);
/*
 * The chosen epoch, or from the newest on the first that is intact: one that is damaged
 * is skipped with a warning, and older ones also if they do not fit. 0, or what kept
 * the one that had to be taken from being restored; RECTO_ECORRUPT when none is intact.
 * Collective, one verdict.
 */
int ckpt_choice_try(const struct ckpt_manifest *manifest, ckpt_choice_load load,
                    void *argument);

#endif
