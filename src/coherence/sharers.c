/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of ranks in a word, see sharers.h.
 *
 * Invariants
 * 1. Numbers fill a word from its low end, each once, without gaps.
 * 2. COARSE is set only in a set that is not empty.
 */
#include "coherence/sharers.h"

#include "base/base.h"

#define COARSE (UINT64_C(1) << (SHARERS_BITS - 1))

enum {
    GROUPS = SHARERS_BITS - 1
};

struct sharers_form sharers_form;
struct sharers_limits sharers_limits = {SHARERS_BITS, GROUPS, GROUPS};

void sharers_init(int ranks)
{
    unsigned width = 1;
    while (ranks >> width != 0) { /* numbers are 1 to `ranks` */
        width++;
    }
    unsigned numbers = GROUPS / width;
    unsigned groups = sharers_limits.groups;
    sharers_form = (struct sharers_form){
        .ranks = ranks,
        .exact = ranks <= sharers_limits.exact,
        .width = width,
        .numbers =
            numbers < sharers_limits.numbers ? numbers : sharers_limits.numbers,
        .per_group = ((unsigned)ranks + groups - 1) / groups};
}

static uint64_t group(int rank)
{
    return UINT64_C(1) << (unsigned)rank / sharers_form.per_group;
}

/* The i-th number, 0 past the last. */
static uint64_t number(uint64_t set, unsigned i)
{
    return set >> i * sharers_form.width &
           ((UINT64_C(1) << sharers_form.width) - 1);
}

static unsigned count(uint64_t set)
{
    unsigned n = 0;
    while (n < sharers_form.numbers && number(set, n) != 0) {
        n++;
    }
    return n;
}

static uint64_t coarse(uint64_t set)
{
    if (set & COARSE) {
        return set;
    }
    uint64_t groups = set != 0 ? COARSE : 0;
    for (unsigned i = 0; i < count(set); i++) {
        groups |= group((int)number(set, i) - 1);
    }
    return groups;
}

bool sharers_has(uint64_t set, int rank)
{
    if (sharers_form.exact) {
        return (set & sharers_bit(rank)) != 0;
    }
    if (set & COARSE) {
        return (set & group(rank)) != 0;
    }
    unsigned n = count(set);
    for (unsigned i = 0; i < n; i++) {
        if (number(set, i) == (uint64_t)rank + 1) {
            return true;
        }
    }
    return false;
}

uint64_t sharers_add(uint64_t set, int rank)
{
    if (sharers_form.exact) {
        return set | sharers_bit(rank);
    }
    if (sharers_has(set, rank)) {
        return set;
    }
    unsigned n = count(set);
    if ((set & COARSE) == 0 && n < sharers_form.numbers) {
        return set | ((uint64_t)rank + 1) << n * sharers_form.width;
    }
    return coarse(set) | COARSE | group(rank);
}

static int next_number(uint64_t set, int from)
{
    int best = SHARERS_NOBODY;
    unsigned n = count(set);
    for (unsigned i = 0; i < n; i++) {
        int rank = (int)number(set, i) - 1;
        if (rank >= from && (best == SHARERS_NOBODY || rank < best)) {
            best = rank;
        }
    }
    return best;
}

int sharers_next(uint64_t set, int from)
{
    if (from >= sharers_form.ranks) {
        return SHARERS_NOBODY;
    }
    if (!sharers_form.exact && (set & COARSE) == 0) {
        return next_number(set, from);
    }
    unsigned per = sharers_form.exact ? 1 : sharers_form.per_group;
    unsigned at = (unsigned)from / per;
    uint64_t left = (sharers_form.exact ? set : set & ~COARSE) >> at;
    if (left == 0) {
        return SHARERS_NOBODY;
    }
    if (left & 1) {
        return from;
    }
    int rank = (int)((at + (unsigned)__builtin_ctzll(left)) * per);
    return rank < sharers_form.ranks ? rank : SHARERS_NOBODY;
}

uint64_t sharers_join(uint64_t a, uint64_t b)
{
    if (sharers_form.exact || b == 0) {
        return a | b;
    }
    if ((a | b) & COARSE) {
        return coarse(a) | coarse(b);
    }
    unsigned n = count(b);
    for (unsigned i = 0; i < n; i++) {
        a = sharers_add(a, (int)number(b, i) - 1);
    }
    return a;
}

uint64_t sharers_keep(uint64_t set, bool (*stays)(int rank, int argument),
                      int argument)
{
    uint64_t kept = 0;
    for (int r = sharers_next(set, 0); r != SHARERS_NOBODY;
         r = sharers_next(set, r + 1)) {
        if (stays(r, argument)) {
            kept = sharers_add(kept, r);
        }
    }
    return kept;
}
