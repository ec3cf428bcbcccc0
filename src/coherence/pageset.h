/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of pages to which any thread adds, a fault handler too, and which one
 * thread at a time empties in ascending order: neighbours come out together,
 * whatever the order in which they went in.
 *
 * A tree of bitmaps, three levels of 64: a bit of `tops` says that a word of
 * `middles` is not zero, and so on. Emptying costs what the set holds and a look
 * at a word for each GiB; memory follows the pages that were ever in it.
 *
 * Invariants
 * 1. add sets the page's bit, then those above where they are clear; take clears
 *    a word from the top down, each by an exchange. All are sequentially
 *    consistent. So who finds a bit above set adds no less than who sets it: the
 *    taker has still to come to the word below.
 * 2. A page that was added before a pass of take begins is returned by it, or was by
 *    an earlier one.
 */
#ifndef RECTO_SRC_PAGESET_H
#define RECTO_SRC_PAGESET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pageset {
    _Atomic uint64_t *leaves; /* a bit per page */
    _Atomic uint64_t *middles;
    _Atomic uint64_t *tops;
    uint64_t words; /* of tops */
    uint64_t bytes; /* of all three */
};

/* For pages 0 to `pages` - 1. RECTO_ENOMEM. */
int pageset_create(struct pageset *set, uint64_t pages);
void pageset_destroy(struct pageset *set);

/* True if it was not there. Async-signal-safe. */
bool pageset_add(struct pageset *set, uint64_t page);

/* A pass over a set, all zero at its start. */
struct pageset_pass {
    uint64_t next;    /* word of `tops` to look at */
    uint64_t at[3];   /* indices of the words that are being emptied */
    uint64_t left[3]; /* what is left of them: taken, not yet returned */
};

/* Takes the next page of the pass; false at its end. */
bool pageset_take(struct pageset *set, struct pageset_pass *pass,
                  uint64_t *page);

#endif
