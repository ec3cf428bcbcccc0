/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of pages, see pageset.h. */
#include "coherence/pageset.h"

#include <recto/vm.h>

static uint64_t words_for(uint64_t bits)
{
    return (bits + 63) / 64;
}

int pageset_create(struct pageset *set, uint64_t pages)
{
    uint64_t leaves = words_for(pages);
    uint64_t middles = words_for(leaves);
    uint64_t tops = words_for(middles);
    void *table = NULL;
    uint64_t bytes = (leaves + middles + tops) * sizeof(uint64_t);
    int r = recto_vm_table_create(bytes, &table);
    if (r == 0) {
        set->leaves = table;
        set->middles = set->leaves + leaves;
        set->tops = set->middles + middles;
        set->words = tops;
        set->bytes = bytes;
    }
    return r;
}

void pageset_destroy(struct pageset *set)
{
    if (set->leaves != NULL) {
        recto_vm_unmap((void *)set->leaves, set->bytes);
    }
    *set = (struct pageset){0};
}

/* Sets a bit; returns whether it was clear. */
static bool bit_set(_Atomic uint64_t *words, uint64_t bit)
{
    uint64_t mask = UINT64_C(1) << bit % 64;
    return (atomic_fetch_or_explicit(&words[bit / 64], mask,
                                     memory_order_seq_cst) &
            mask) == 0;
}

static bool bit_is_set(const _Atomic uint64_t *words, uint64_t bit)
{
    return (atomic_load_explicit(&words[bit / 64], memory_order_seq_cst) >>
            bit % 64 & 1) != 0;
}

bool pageset_add(struct pageset *set, uint64_t page)
{
    uint64_t leaf = page / 64;
    uint64_t middle = leaf / 64;
    bool added = bit_set(set->leaves, page);
    if (!bit_is_set(set->middles, leaf)) {
        (void)bit_set(set->middles, leaf);
    }
    if (!bit_is_set(set->tops, middle)) {
        (void)bit_set(set->tops, middle);
    }
    return added;
}

/* The next bit of a word that is being emptied. */
static uint64_t next_bit(struct pageset_pass *pass, int level)
{
    uint64_t left = pass->left[level];
    pass->left[level] = left & (left - 1);
    return pass->at[level] * 64 + (uint64_t)__builtin_ctzll(left);
}

static void empty(struct pageset_pass *pass, int level, _Atomic uint64_t *words,
                  uint64_t at)
{
    pass->at[level] = at;
    pass->left[level] =
        atomic_exchange_explicit(&words[at], 0, memory_order_seq_cst);
}

bool pageset_take(struct pageset *set, struct pageset_pass *pass,
                  uint64_t *page)
{
    enum {
        TOP,
        MIDDLE,
        LEAF
    };
    while (pass->left[LEAF] == 0) {
        if (pass->left[MIDDLE] != 0) {
            empty(pass, LEAF, set->leaves, next_bit(pass, MIDDLE));
        } else if (pass->left[TOP] != 0) {
            empty(pass, MIDDLE, set->middles, next_bit(pass, TOP));
        } else if (pass->next == set->words) {
            return false;
        } else if (atomic_load_explicit(&set->tops[pass->next++],
                                        memory_order_seq_cst) != 0) {
            empty(pass, TOP, set->tops, pass->next - 1);
        }
    }
    *page = next_bit(pass, LEAF);
    return true;
}
