/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shuffle: the bytes of elements sorted by their place in them, first the first byte of
 * all, then the second, ...; what is left behind the last whole element follows as it is.
 * What is alike in numbers then lies together. HDF5's filter of that name does the same.
 */
#ifndef RECTO_SRC_CKPT_SHUFFLE_H
#define RECTO_SRC_CKPT_SHUFFLE_H

#include <stddef.h>

/* `in` and `out` do not overlap; element: bytes, at least 1. */
void ckpt_shuffle(const char *in, char *out, size_t bytes, size_t element);
void ckpt_unshuffle(const char *in, char *out, size_t bytes, size_t element);

#endif
