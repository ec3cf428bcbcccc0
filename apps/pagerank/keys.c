/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of words: radix sort of a worker's own, splitters from samples of all. See
 * keys.h.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

enum {
    BITS = 8,
    DIGITS = 1 << BITS,
    PASSES = 64 / BITS
};

/* ---- a worker's own keys ------------------------------------------------- */

static unsigned digit_of(uint64_t key, int pass)
{
    return (unsigned)(key >> (pass * BITS)) & (DIGITS - 1);
}

/* One stable pass; false, and nothing is moved, if all have the same digit. */
static int scatter(const uint64_t *from, uint64_t *to, size_t n, int pass,
                   const size_t counts[DIGITS])
{
    size_t at[DIGITS];
    size_t sum = 0;
    for (int d = 0; d < DIGITS; d++) {
        if (counts[d] == n) {
            return 0;
        }
        at[d] = sum;
        sum += counts[d];
    }
    for (size_t i = 0; i < n; i++) {
        to[at[digit_of(from[i], pass)]++] = from[i];
    }
    return 1;
}

size_t keys_sort(uint64_t *keys, size_t n, uint64_t *scratch)
{
    size_t counts[PASSES][DIGITS];
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < n; i++) {
        for (int pass = 0; pass < PASSES; pass++) {
            counts[pass][digit_of(keys[i], pass)]++;
        }
    }
    uint64_t *from = keys;
    uint64_t *to = scratch;
    for (int pass = 0; pass < PASSES; pass++) {
        if (scatter(from, to, n, pass, counts[pass])) {
            uint64_t *other = from;
            from = to;
            to = other;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || from[i] != keys[kept - 1]) {
            keys[kept++] = from[i];
        }
    }
    return kept;
}

size_t keys_find(const uint64_t *keys, size_t n, uint64_t key)
{
    size_t low = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (keys[low + half] < key) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

/* ---- all workers' keys --------------------------------------------------- */

void keys_sample(const uint64_t *keys, size_t n, uint64_t row[KEYS_ROW])
{
    row[0] = n;
    for (size_t i = 0; i < KEYS_SAMPLES; i++) {
        /* the middle of the i-th of equal parts; n may be as large as memory */
        size_t part =
            n / KEYS_SAMPLES * i + n % KEYS_SAMPLES * i / KEYS_SAMPLES;
        row[1 + i] = n > 0 ? keys[part + n / KEYS_SAMPLES / 2] : 0;
    }
}

/* A sample stands for a share of its worker's keys. */
struct sample {
    uint64_t key;
    double weight;
};

static int by_key(const void *a, const void *b)
{
    uint64_t left = ((const struct sample *)a)->key;
    uint64_t right = ((const struct sample *)b)->key;
    return left < right ? -1 : left > right;
}

int keys_split(const uint64_t *rows, int workers, uint64_t *splitter)
{
    size_t all = (size_t)workers * KEYS_SAMPLES;
    struct sample *samples = malloc(all * sizeof *samples);
    if (samples == NULL) {
        return -1;
    }
    size_t count = 0;
    double total = 0.0;
    for (size_t w = 0; w < (size_t)workers; w++) {
        const uint64_t *row = rows + w * KEYS_ROW;
        for (size_t i = 0; i < KEYS_SAMPLES && row[0] > 0; i++) {
            samples[count++] = (struct sample){row[1 + i], (double)row[0]};
            total += (double)row[0];
        }
    }
    qsort(samples, count, sizeof *samples, by_key);
    double sum = 0.0;
    size_t at = 0;
    for (int w = 0; w < workers; w++) {
        while (at + 1 < count &&
               sum + samples[at].weight / 2.0 < total * w / workers) {
            sum += samples[at++].weight;
        }
        splitter[w] = w > 0 && count > 0 ? samples[at].key : 0;
    }
    free(samples);
    return 0;
}

void keys_cut(const uint64_t *keys, size_t n, const uint64_t *splitter,
              int workers, size_t *cut)
{
    cut[0] = 0;
    for (int w = 1; w < workers; w++) {
        cut[w] = keys_find(keys, n, splitter[w]);
    }
    cut[workers] = n;
}
