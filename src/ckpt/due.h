/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What checkpoints and the life cycle tell recto_checkpoint_due.
 */
#ifndef RECTO_SRC_CKPT_DUE_H
#define RECTO_SRC_CKPT_DUE_H

#include <stdint.h>

/* Reads the settings and takes the signals. RECTO_EINVAL for a bad setting. Local. */
int ckpt_due_init(void);
/* Removes the requests that this run fulfilled and gives the signals back. Local. */
void ckpt_due_finalize(void);
/* The program stood still from `begin` (base_now) on for a checkpoint or a restart,
 * and goes on now; its time counts when `saved`. Local. */
void ckpt_due_reset(uint64_t begin, int saved);
/* A checkpoint was on disk `ns` after its call. Local. */
void ckpt_due_written(uint64_t ns);

/* The best time between checkpoints that cost `cost` where a failure comes every
 * `mtbf`; all in ns. */
uint64_t ckpt_due_best(uint64_t cost, uint64_t mtbf);

#endif
