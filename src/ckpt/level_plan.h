/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The levels of a checkpoint: which are due, which nodes stand in for each other, and
 * what can be had from what is left. Pure functions of their arguments; no net, no disk.
 *
 * Words. A *node* is what fails as a whole: a machine. Nodes are numbered 0 .. N - 1. A
 * node's *share* of an epoch is one file; a *copy* of it lies with the node's partner; a
 * *parity* file belongs to a node of a set. All three are *pieces* of the epoch.
 *
 * A set of n = k + m nodes has n stripes. In stripe s, member i stands at r = i - s mod
 * n: the first m are parity r, the others data r - m. So each share is cut into k
 * segments, segment d of which is data d of one stripe, and each parity file has m
 * segments, segment p of which is parity p of one stripe: every node writes as much. Of
 * each stripe a lost node takes one, so any m of the set may be lost.
 */
#ifndef RECTO_SRC_CKPT_LEVEL_PLAN_H
#define RECTO_SRC_CKPT_LEVEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format.h"

/* ---- settings --------------------------------------------------------------------- */

enum ckpt_level {
    CKPT_LEVEL_LOCAL,
    CKPT_LEVEL_PARTNER,
    CKPT_LEVEL_SET,
    CKPT_LEVEL_SHARED,
    CKPT_LEVELS
};

enum {
    CKPT_SET_DATA = 24, /* k that can be asked for, at most */
    CKPT_SET_PARITY = 8,
    CKPT_NODES_MAX = 9999,
    /* a set takes the nodes that are too few for another one */
    CKPT_SET_MAX = 2 * (CKPT_SET_DATA + CKPT_SET_PARITY) - 1
};

struct ckpt_levels {
    uint64_t
        every[CKPT_LEVELS]; /* epochs whose number is a multiple; 0: none */
    unsigned data;          /* k and m of a set */
    unsigned parity;
};

/* "partner", "set", ... */
const char *ckpt_level_name(enum ckpt_level level);
/* "partner:4,set:8,shared:16" and "4+1". What is not named is not used, but for the
 * first level, which is every epoch's. RECTO_EINVAL. */
int ckpt_levels_read(const char *levels, const char *set,
                     struct ckpt_levels *l);
bool ckpt_level_due(const struct ckpt_levels *levels, enum ckpt_level level,
                    uint64_t number);

/* ---- who stands in for whom --------------------------------------------------------- */

/* The nodes of an epoch, and the sets asked for. */
struct ckpt_ring {
    unsigned nodes;
    unsigned data;
    unsigned parity;
};

/* Who keeps the node's copy: half-way round, since neighbours often share a rack. It is
 * the node itself where there is no other. */
unsigned ckpt_ring_partner(const struct ckpt_ring *ring, unsigned node);
/* Whose copy the node keeps. */
unsigned ckpt_ring_ward(const struct ckpt_ring *ring, unsigned node);

/* Member i of a set is node first + i * stride: neighbours are in different sets. */
struct ckpt_set {
    unsigned first;
    unsigned stride;
    unsigned k;
    unsigned m; /* 0: one node alone, no parity */
};
/* The set of a node. With fewer nodes than asked for, k shrinks first, then m. */
struct ckpt_set ckpt_ring_set(const struct ckpt_ring *ring, unsigned node);
static inline unsigned ckpt_set_member(const struct ckpt_set *set,
                                       unsigned node)
{
    return node / set->stride;
}
static inline unsigned ckpt_set_node(const struct ckpt_set *set, unsigned i)
{
    return set->first + i * set->stride;
}
/* What a member is in a stripe: data 0 .. k - 1, parity k .. k + m - 1. */
static inline unsigned ckpt_set_role(const struct ckpt_set *set,
                                     unsigned stripe, unsigned member)
{
    unsigned n = set->k + set->m;
    unsigned r = (member + n - stripe) % n;
    return r < set->m ? set->k + r : r - set->m;
}
/* The stripe in which the member's segment `data` is. */
static inline unsigned ckpt_set_stripe(const struct ckpt_set *set,
                                       unsigned member, unsigned data)
{
    unsigned n = set->k + set->m;
    return (member + n - (data + set->m)) % n;
}

/* ---- what is left --------------------------------------------------------------------- */

enum ckpt_piece_kind {
    CKPT_PIECE_SHARE,
    CKPT_PIECE_COPY,
    CKPT_PIECE_PARITY,
    CKPT_PIECE_KINDS
};

/* An intact piece, as the node tells that has it. */
struct ckpt_holding {
    char uuid[CKPT_UUID + 1];     /* of the epoch */
    char previous[CKPT_UUID + 1]; /* of the epoch that it builds on */
    uint64_t number;
    uint64_t stamp; /* when it was written: of attempts, the later one */
    struct ckpt_ring ring;
    uint32_t kind;
    uint32_t index;                 /* node that it was written for */
    uint32_t rank;                  /* that has it and reads it */
    uint64_t segment;               /* parity: bytes of one */
    uint64_t lengths[CKPT_SET_MAX]; /* parity: of the members' shares */
};

struct ckpt_holdings {
    struct ckpt_holding *items;
    size_t count;
};

/* A piece of the epoch that holding `e` is of: its index, or -1. */
long ckpt_holdings_find(const struct ckpt_holdings *h, size_t e,
                        enum ckpt_piece_kind kind, unsigned node);
/* A node's share, or the copy of it. */
long ckpt_holdings_share(const struct ckpt_holdings *h, size_t e,
                         unsigned node);
/* Which pieces of a stripe can be had, by role. */
void ckpt_holdings_stripe(const struct ckpt_holdings *h, size_t e,
                          const struct ckpt_set *set, unsigned stripe,
                          bool *there);
/* The first node whose share can neither be had nor be rebuilt; -1: all can. */
long ckpt_holdings_lacks(const struct ckpt_holdings *h, size_t e);

/*
 * The epochs that build on the epoch `anchor`, one on the other, as far as each can be
 * had whole: of each, the index of a holding, in chain[*count]; room for h->count.
 * Where several build on one (all but one of them failed attempts) the one that leads
 * to the newest epoch, or was written last. *beyond: a holding of an epoch that builds
 * on the last of these but cannot be had, -1: there is none. RECTO_ENOMEM.
 */
int ckpt_holdings_chain(const struct ckpt_holdings *h, const char *anchor,
                        size_t *chain, size_t *count, long *beyond);

#endif
