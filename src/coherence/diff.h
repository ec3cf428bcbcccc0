/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Differences of a page and its twin, byte by byte. A page is 64 lines of 64
 * bytes; a line's difference is a mask with one bit per byte.
 *
 * Invariants
 * 1. Exactly the bytes that differ are stored anywhere: a neighbouring byte
 *    may be written by somebody else at the same moment.
 * 2. A line of memory that others may be writing is read once; what was read is
 *    compared, stored and kept as twin.
 *
 * All functions are async-signal-safe. Pages are page aligned.
 *
 * With AVX-512BW a line is one load, its mask one comparison, and its changed
 * bytes one masked store, however they are scattered.
 */
#ifndef RECTO_SRC_DIFF_H
#define RECTO_SRC_DIFF_H

#include <stddef.h>
#include <stdint.h>

enum {
    DIFF_LINES = 64,
    DIFF_LINE = 64,
    /* a packed difference: which lines; then per line which bytes, and them */
    DIFF_MOST = 8 + DIFF_LINES * (8 + DIFF_LINE)
};

enum diff_path {
    DIFF_PLAIN,
    DIFF_AVX512
};

/* Takes the quickest path that this processor has, up to `most`, and returns it.
 * Before the other functions are called; until then DIFF_PLAIN. */
enum diff_path diff_init(enum diff_path most);

/* Stores the bytes of `page` that differ from `twin` into `home`, and into
 * `twin` if `keep`. Returns how many. `range`: the offsets of the first and the last
 * one, 0 and 0 where none differs; not looked for if it is NULL. */
size_t diff_store(char *home, const char *page, char *twin, int keep,
                  uint32_t *range);

/* The same packed into `out` (DIFF_MOST bytes); returns its length, 0 when
 * nothing differs. *changed grows by the number of bytes that differ. */
size_t diff_pack(char *out, const char *page, char *twin, int keep,
                 size_t *changed, uint32_t *range);

/* Stores a packed difference into `home`. Returns its length; 0 when more than
 * `most` bytes would be read. */
size_t diff_apply(char *home, const char *packed, size_t most);

/* News from the home under local writers: stores the bytes of `incoming` that
 * differ from `twin` into `page` and `twin`. */
void diff_patch(char *page, char *twin, const char *incoming);

/* Copies whole pages from memory that lies out of the caches: asks for lines
 * ahead across page boundaries, where the processor's own prefetching ends. */
void diff_copy(char *to, const char *from, size_t bytes);

#endif
