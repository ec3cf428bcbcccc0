/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of ranks in 62 bits of a word: who reads a page, as its directory entry
 * knows it. A set may take ranks for members that are none, never the other way
 * round. 0 is the empty set.
 *
 *   at most 62 ranks    a bit each: exact
 *   more, few members   their numbers + 1, as many as fit: exact
 *   more, more of them  COARSE, and 61 bits, each for a group of ranks
 *
 * After A. Gupta, W. Weber, T. Mowry, Reducing memory and traffic requirements for
 * scalable directory-based cache coherence schemes (ICPP'90): limited pointers
 * that fall back to a coarse vector. With 10 000 ranks four numbers fit, and a
 * group has 164 ranks.
 *
 * Functions of a word: no memory, no order. Async-signal-safe.
 */
#ifndef RECTO_SRC_SHARERS_H
#define RECTO_SRC_SHARERS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SHARERS_BITS = 62,
    SHARERS_NOBODY = -1
};

/* Constant after sharers_init. */
struct sharers_form {
    int ranks;
    bool exact;         /* a bit each */
    unsigned width;     /* bits of a number */
    unsigned numbers;   /* how many fit */
    unsigned per_group; /* ranks */
};
extern struct sharers_form sharers_form;

/* Tests of few ranks lower these before recto_init. */
struct sharers_limits {
    int exact;        /* ranks that have a bit each */
    unsigned numbers; /* in a set */
    unsigned groups;
};
extern struct sharers_limits sharers_limits;

void sharers_init(int ranks);

/* The set of one rank, if exact. */
static inline uint64_t sharers_bit(int rank)
{
    return UINT64_C(1) << rank;
}

uint64_t sharers_add(uint64_t set, int rank);
bool sharers_has(uint64_t set, int rank);
/* The lowest member at or above `from`, or SHARERS_NOBODY. */
int sharers_next(uint64_t set, int from);
/* Members of either. */
uint64_t sharers_join(uint64_t a, uint64_t b);
/* The members for which `stays` is true; knows no others, where they fit. */
uint64_t sharers_keep(uint64_t set, bool (*stays)(int rank, int argument),
                      int argument);

#endif
