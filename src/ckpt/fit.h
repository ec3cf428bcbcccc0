/* SPDX-License-Identifier: BSD-3-Clause */
/* Does what an epoch holds fit what the program declares? */
#ifndef RECTO_SRC_CKPT_FIT_H
#define RECTO_SRC_CKPT_FIT_H

#include "state.h"

/* All of an epoch against all that is declared. RECTO_ECHANGED, RECTO_EADDRESS,
 * RECTO_ENOMEM. Local. */
int ckpt_fit(const struct ckpt_epoch *e, const struct ckpt_epoch *declared);
/* The one object that `e` was reduced to against one of what is declared: wherever it
 * lies. RECTO_ECHANGED. Local. */
int ckpt_fit_one(const struct ckpt_epoch *e, const struct ckpt_object *now,
                 const struct ckpt_epoch *declared);
/* Bytes of the heap that the epoch holds. */
uint64_t ckpt_fit_heap(const struct ckpt_epoch *e);

#endif
