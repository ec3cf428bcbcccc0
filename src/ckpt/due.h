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
/* A checkpoint or a restart that began at `begin` (base_now) has ended, however it
 * ended; its time counts when `written`. Local. */
void ckpt_due_reset(uint64_t begin, int written);

/* The best time between checkpoints that cost `cost` where a failure comes every
 * `mtbf`; all in ns. */
uint64_t ckpt_due_best(uint64_t cost, uint64_t mtbf);

#endif
