/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault streams: which faults go on where others ended, so that one fault may move
 * many pages. A stream is the page that would continue it, its stride and how
 * many pages its last fault moved; a table of them is indexed by that page, so
 * hundreds of streams may run side by side (a radix sort writes one per bucket).
 *
 * Strides other than one page are recognised by two equal distances between three
 * faults of a thread.
 *
 * Tables hold guesses: a lost or torn one costs speed only. Async-signal-safe.
 */
#ifndef RECTO_SRC_STREAM_H
#define RECTO_SRC_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    STREAM_SLOTS = 1024 /* a power of two */
};

struct stream_table {
    _Atomic uint64_t slots[STREAM_SLOTS];
};

/* A fault moves pages first, first + stride, ..., `length` of them. */
struct stream {
    uint64_t first;
    int64_t stride;
    uint64_t length;
    bool write;
};

/* What a fault at `page` (below 2^32) should move, at most `most` pages: twice as
 * many as the last fault of the stream that it continues, else one. */
struct stream stream_find(struct stream_table *table, uint64_t page, bool write,
                          uint64_t most);

/* It has moved `moved` of them. */
void stream_note(struct stream_table *table, const struct stream *stream,
                 uint64_t moved);

#endif
