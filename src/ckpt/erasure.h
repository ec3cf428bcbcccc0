/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * erasure: k pieces of data and m pieces made of them, any k of which give all back.
 *
 * A Reed-Solomon code over GF(2^8) (I. Reed, G. Solomon, 1960), systematic, from a
 * Cauchy matrix whose columns are scaled so that the first row of parity is all ones:
 * with m = 1 the parity is the exclusive or of the data. ISA-L does the arithmetic.
 *
 * Pieces are numbered: data 0 .. k - 1, parity k .. k + m - 1; all have equal length.
 * Local; plans may be used by several threads at once.
 */
#ifndef RECTO_SRC_CKPT_ERASURE_H
#define RECTO_SRC_CKPT_ERASURE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CKPT_ERASURE_DATA = 64,  /* k, at most */
    CKPT_ERASURE_PARITY = 16 /* m */
};

struct ckpt_erasure {
    unsigned k;
    unsigned m;
    unsigned char rows[CKPT_ERASURE_PARITY][CKPT_ERASURE_DATA];
};

/* RECTO_EINVAL for k or m that is 0 or too large. */
int ckpt_erasure_open(struct ckpt_erasure *code, unsigned k, unsigned m);

/* Adds a data piece's part to all parity pieces, which are zero at first: in any
 * order, each once. */
void ckpt_erasure_add(const struct ckpt_erasure *code, unsigned data,
                      const void *bytes, void *const *parity, size_t length);

/* How to make the lost pieces from k others. */
struct ckpt_erasure_plan {
    unsigned k;
    unsigned from[CKPT_ERASURE_DATA]; /* pieces to read, ascending */
    unsigned lost;                    /* how many */
    unsigned to[CKPT_ERASURE_PARITY]; /* which, ascending */
    unsigned char rows[CKPT_ERASURE_PARITY][CKPT_ERASURE_DATA];
};

/* `there[i]`: piece i of k + m is left. RECTO_ENOENT when too few are. */
int ckpt_erasure_plan_make(const struct ckpt_erasure *code, const bool *there,
                           struct ckpt_erasure_plan *plan);

/* Adds the part of piece plan->from[i] to all lost pieces, which are zero at first. */
void ckpt_erasure_rebuild(const struct ckpt_erasure_plan *plan, unsigned i,
                          const void *bytes, void *const *lost, size_t length);

#endif
