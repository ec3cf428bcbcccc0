/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keep: which epochs of a folder stay. The two newest chains always do, so that two
 * restorable points share no file; of the older ones those that the rule names, with
 * what these build on.
 */
#ifndef RECTO_SRC_CKPT_KEEP_H
#define RECTO_SRC_CKPT_KEEP_H

#include "format.h"

struct ckpt_keep {
    uint64_t last;  /* as many of the newest epochs */
    uint64_t every; /* those whose number is a multiple; 0: none */
    uint64_t age;   /* those not older, seconds; 0: none */
    bool all;
};

/* Reads "chains" (nothing beyond the two), "all", or "last=N,every=M,age=TIME" with any
 * of the three; TIME in seconds, or with s, m, h or d behind. RECTO_EINVAL. */
int ckpt_keep_read(const char *text, struct ckpt_keep *keep);

/* stay[i]: epoch i of `count`, ascending, stays at time `now` (seconds since 1970). */
void ckpt_keep_choose(const struct ckpt_keep *keep,
                      const struct ckpt_epoch *const *epochs, uint64_t count,
                      uint64_t now, bool *stay);

#endif
