/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * output: what is made of the ranks in the end, by all workers together.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "pagerank.h"

/* Hash of all vertices' ids and ranks, to the last bit. Collective. */
uint64_t output_checksum(const struct pagerank_answer *a);

/* Worker 0 prints the `count` vertices of the highest ranks; of equal ones, those of
 * lower ids come first. Collective. */
void output_top(const struct pagerank_answer *a, size_t count);

/* Writes lines "VERTEX RANK" in the order of the ids; 17 digits say a rank exactly.
 * The file appears when it is complete. The lowest worker that fails says why. The
 * same result, 0 or -1, on all. Collective. */
int output_write(const struct pagerank_answer *a, const char *file);

#endif
