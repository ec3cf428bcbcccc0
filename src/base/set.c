/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of indices, see set.h, which has the invariants. Async-signal-safe. */
#include "base/set.h"

#include "base/base.h"

enum {
    BITS = BASE_SET_BITS
};

static uint64_t words_for(uint64_t bits)
{
    return (bits + BITS - 1) / BITS;
}

/* Fills in where levels begin; returns their number. */
static unsigned levels_lay(uint64_t size, uint64_t *start)
{
    unsigned level = 0;
    uint64_t words = size;
    start[0] = 0;
    do {
        RECTO_ASSERT(level < BASE_SET_LEVELS);
        words = words_for(words);
        start[level + 1] = start[level] + words;
        level++;
    } while (words > 1);
    return level;
}

uint64_t base_set_bytes(uint64_t size)
{
    uint64_t start[BASE_SET_LEVELS + 1];
    return start[levels_lay(size, start)] * sizeof(uint64_t);
}

void base_set_place(struct base_set *set, void *memory, uint64_t size)
{
    set->words = memory;
    set->levels = levels_lay(size, set->start);
}

/* Word `word` of a level. */
static _Atomic uint64_t *word_at(const struct base_set *set, unsigned level,
                                 uint64_t word)
{
    return &set->words[set->start[level] + word];
}

static uint64_t load(const struct base_set *set, unsigned level, uint64_t word)
{
    return atomic_load_explicit(word_at(set, level, word),
                                memory_order_seq_cst);
}

/* Returns the word as it was. */
static uint64_t bits_set(const struct base_set *set, unsigned level,
                         uint64_t word, uint64_t bits)
{
    return atomic_fetch_or_explicit(word_at(set, level, word), bits,
                                    memory_order_seq_cst);
}

static uint64_t bits_clear(const struct base_set *set, unsigned level,
                           uint64_t word, uint64_t bits)
{
    return atomic_fetch_and_explicit(word_at(set, level, word), ~bits,
                                     memory_order_seq_cst);
}

/* Sets `bit` of `level` and those above it, where they are clear (invariant 1). */
static void up_set(const struct base_set *set, unsigned level, uint64_t bit)
{
    for (; level < set->levels; level++, bit /= BITS) {
        uint64_t mask = UINT64_C(1) << bit % BITS;
        if ((load(set, level, bit / BITS) & mask) == 0) {
            (void)bits_set(set, level, bit / BITS, mask);
        }
    }
}

/* A word of level 0 has become zero (invariant 2). */
static void up_clear(const struct base_set *set, uint64_t word)
{
    for (unsigned level = 1; level < set->levels; level++) {
        uint64_t mask = UINT64_C(1) << word % BITS;
        uint64_t old = bits_clear(set, level, word / BITS, mask);
        if (load(set, level - 1, word) != 0) {
            up_set(set, level, word);
            return;
        }
        if ((old & ~mask) != 0) {
            return;
        }
        word /= BITS;
    }
}

bool base_set_add(const struct base_set *set, uint64_t index)
{
    uint64_t mask = UINT64_C(1) << index % BITS;
    bool added = (bits_set(set, 0, index / BITS, mask) & mask) == 0;
    up_set(set, 1, index / BITS);
    return added;
}

void base_set_keep(const struct base_set *set, uint64_t index)
{
    up_set(set, 0, index);
}

/* Bits of the word of `first` that are in [first, end), which is not empty. */
static uint64_t mask_of(uint64_t first, uint64_t end)
{
    uint64_t base = first / BITS * BITS;
    return base_set_mask(first % BITS, end - base < BITS ? end - base : BITS);
}

void base_set_add_run(const struct base_set *set, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i = (i / BITS + 1) * BITS) {
        (void)bits_set(set, 0, i / BITS, mask_of(i, end));
        up_set(set, 1, i / BITS);
    }
}

bool base_set_next(const struct base_set *set, uint64_t from, uint64_t *index)
{
    unsigned level = 0;
    uint64_t bit = from; /* the answer is at or after it, in this level */
    for (;;) {
        uint64_t word = bit / BITS;
        uint64_t words = set->start[level + 1] - set->start[level];
        uint64_t rest = word < words
                            ? load(set, level, word) & UINT64_MAX << bit % BITS
                            : 0;
        if (rest == 0) {
            if (++level == set->levels) {
                return false;
            }
            bit = word + 1; /* the words after this one */
            continue;
        }
        bit = word * BITS + (unsigned)__builtin_ctzll(rest);
        if (level == 0) {
            *index = bit;
            return true;
        }
        level--;
        bit *= BITS; /* in that word, if it is not zero after all */
    }
}

bool base_set_run(const struct base_set *set, uint64_t from, uint64_t end,
                  uint64_t *first, uint64_t *stop)
{
    uint64_t at = 0;
    if (!base_set_next(set, from, &at) || at >= end) {
        return false;
    }
    *first = at;
    while (at < end) {
        uint64_t zeros = ~load(set, 0, at / BITS) & UINT64_MAX << at % BITS;
        if (zeros != 0) {
            at = at / BITS * BITS + (unsigned)__builtin_ctzll(zeros);
            break;
        }
        at = (at / BITS + 1) * BITS;
    }
    *stop = at < end ? at : end;
    return true;
}

uint64_t base_set_take(const struct base_set *set, uint64_t word, uint64_t mask)
{
    uint64_t old = bits_clear(set, 0, word, mask);
    if (old != 0 && (old & ~mask) == 0) {
        up_clear(set, word);
    }
    return old & mask;
}

void base_set_take_run(const struct base_set *set, uint64_t first, uint64_t end)
{
    uint64_t at = first;
    while (base_set_next(set, at, &at) && at < end) {
        (void)base_set_take(set, at / BITS, mask_of(at, end));
        at = (at / BITS + 1) * BITS;
    }
}

bool base_set_pop(const struct base_set *set, struct base_set_pass *pass,
                  uint64_t *index)
{
    while (pass->left == 0) {
        uint64_t at = 0;
        if (!base_set_next(set, pass->next, &at)) {
            return false;
        }
        pass->word = at / BITS;
        pass->left = base_set_take(set, pass->word, UINT64_MAX);
        pass->next = (pass->word + 1) * BITS;
    }
    *index = pass->word * BITS + (unsigned)__builtin_ctzll(pass->left);
    pass->left &= pass->left - 1;
    return true;
}
