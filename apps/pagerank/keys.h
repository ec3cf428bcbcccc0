/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keys: sets of 64-bit words, sorted, and how they are dealt to workers.
 *
 * A set that is spread over workers is brought in order by sampling (X. Li et al.,
 * "On the versatility of parallel sorting by regular sampling", Parallel
 * Computing 19, 1993): each worker sorts its words and samples them, the samples of
 * all say where to cut, the pieces are exchanged and sorted again.
 */
#ifndef KEYS_H
#define KEYS_H

#include <stddef.h>
#include <stdint.h>

/* Sorts keys[n] and drops what is there twice; returns how many are left.
 * scratch[n]. */
size_t keys_sort(uint64_t *keys, size_t n, uint64_t *scratch);

enum {
    KEYS_SAMPLES = 255,
    KEYS_ROW = 1 + KEYS_SAMPLES
};

/* A worker's samples of its sorted keys: their number, then KEYS_SAMPLES. */
void keys_sample(const uint64_t *keys, size_t n, uint64_t row[KEYS_ROW]);

/* From all workers' samples: worker w is to have the keys from splitter[w] (but
 * worker 0 from 0) up to splitter[w + 1]. -1: out of memory. */
int keys_split(const uint64_t *rows, int workers, uint64_t *splitter);

/* Where sorted keys are to be cut: cut[workers + 1]. */
void keys_cut(const uint64_t *keys, size_t n, const uint64_t *splitter,
              int workers, size_t *cut);

/* Index of the first of the sorted keys that is not below `key`. */
size_t keys_find(const uint64_t *keys, size_t n, uint64_t key);

#endif
