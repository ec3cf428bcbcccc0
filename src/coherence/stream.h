/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault streams: which faults go on where others ended, so that one fault may move
 * many pages. A stream is the page that would continue it, its stride and how
 * many pages its last fault moved. They are kept in a table of small sets by that
 * page, so hundreds may run side by side (a radix sort writes one per bucket).
 *
 * Two faults next to each other may be chance, the third moves more: the lengths
 * are 1, 1, 2, 4 and so on. Other strides are recognised by two equal distances
 * between three faults of a thread.
 *
 * Tables hold guesses: a lost or torn one costs speed only. Async-signal-safe.
 */
#ifndef RECTO_SRC_STREAM_H
#define RECTO_SRC_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    STREAM_SETS = 256, /* a power of two */
    STREAM_WAYS = 4
};

struct stream_table {
    _Atomic uint64_t slots[STREAM_SETS][STREAM_WAYS];
};

/* A fault moves pages first, first + stride, ..., `length` of them. */
struct stream {
    uint64_t first;
    int64_t stride;
    uint64_t length;
    bool write;
    bool proven; /* not the first of its stream, as far as that can be known */
};

/* What a fault at `page` (below 2^32) should move, at most `most` pages. */
struct stream stream_find(struct stream_table *table, uint64_t page, bool write,
                          uint64_t most);

/* It has moved `moved` of them. */
void stream_note(struct stream_table *table, const struct stream *stream,
                 uint64_t moved);

#endif
