/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of indices, as trees of bits: level 0 has a bit for each index that can be in
 * the set; a bit of level l + 1 says that a word of level l may not be zero; the
 * highest level is one word. So going over a set costs what is in it, whatever could
 * be, and memory that is zero at first and taken where it is used (a table of vm's, a
 * file in memory) follows the places that were ever in use.
 *
 * Any thread, in any process that maps the memory, in a signal handler too, adds and
 * takes at any time. All operations on words are sequentially consistent.
 *
 * Invariants
 * 1. Who makes a word other than zero then looks at its bit above, and sets it if it
 *    is clear, up to the root.
 * 2. Who makes a word zero clears its bit above and then looks at the word again: if
 *    somebody has added to it meanwhile, who may have found the bit still set, the
 *    bits above are set again.
 * 3. So at rest all bits above an index in the set are set. Bits above a word that is
 *    zero may be set at any time: they cost a look.
 * 4. Going over a set finds every index that was added before, is not taken, and in
 *    whose word nothing was being taken while it was added. (If something was, the
 *    bit above may be missing for the moment between the two steps of 2.) Who must
 *    find all lets those who add and those who take be done, as the ranks of a
 *    collective call do, or comes again.
 * 5. A bit is set by an operation that writes even if it is there already: it may just
 *    be being taken. So of what is stored before it is added, whoever takes it sees
 *    all.
 */
#ifndef RECTO_SRC_BASE_SET_H
#define RECTO_SRC_BASE_SET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BASE_SET_LEVELS = 8, /* up to 2^48 indices */
    BASE_SET_BITS = 64   /* of a word */
};

struct base_set {
    _Atomic uint64_t *words;             /* of all levels, the lowest first */
    uint64_t start[BASE_SET_LEVELS + 1]; /* where each begins, and all end */
    unsigned levels;
};

/* Bytes of memory that a set of indices below `size`, at least 1, needs. */
uint64_t base_set_bytes(uint64_t size);
/* The set in `memory`, of as many bytes: zeros, or a set of this size, which several
 * processes may use at different addresses. The memory stays the caller's. */
void base_set_place(struct base_set *set, void *memory, uint64_t size);

/* True if it was not there. */
bool base_set_add(const struct base_set *set, uint64_t index);
/* Those of [first, end). */
void base_set_add_run(const struct base_set *set, uint64_t first, uint64_t end);
/* For indices that nobody takes: writes nothing when it is there, so threads that add
 * the same again and again do not disturb each other. */
void base_set_keep(const struct base_set *set, uint64_t index);

static inline bool base_set_has(const struct base_set *set, uint64_t index)
{
    return (atomic_load_explicit(&set->words[index / BASE_SET_BITS],
                                 memory_order_seq_cst) >>
                index % BASE_SET_BITS &
            1) != 0;
}

/* The least index at or after `from`, which may be past the end; false: none. */
bool base_set_next(const struct base_set *set, uint64_t from, uint64_t *index);
/* The first run of neighbours in [from, end), cut there: [*first, *stop). `end` is at
 * most the set's size. */
bool base_set_run(const struct base_set *set, uint64_t from, uint64_t end,
                  uint64_t *first, uint64_t *stop);

/* Takes those of a word's indices, 64 `word` + i for bit i, that are in `mask`;
 * returns which were there. */
uint64_t base_set_take(const struct base_set *set, uint64_t word,
                       uint64_t mask);
/* Takes those of [first, end). */
void base_set_take_run(const struct base_set *set, uint64_t first,
                       uint64_t end);

/* Bits [from, to) of a word, 0 <= from < to <= 64. */
static inline uint64_t base_set_mask(uint64_t from, uint64_t to)
{
    return (to == BASE_SET_BITS ? UINT64_MAX : (UINT64_C(1) << to) - 1) &
           UINT64_MAX << from;
}

/*
 * Empties a set in ascending order, so that neighbours come out together in
 * whatever order they went in. All zero at the start.
 */
struct base_set_pass {
    uint64_t word; /* that is being emptied */
    uint64_t left; /* of it: taken, not yet returned */
    uint64_t next; /* index to go on at */
};

/* The next index of the pass; false at its end. */
bool base_set_pop(const struct base_set *set, struct base_set_pass *pass,
                  uint64_t *index);

#endif
