/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which levels are due, and what can be rebuilt: see level_plan.h.
 *
 * Invariants
 * 1. Pieces of different uuids never meet: an epoch whose writing failed, or one of
 *    another branch of the run's history, adds nothing to the one that is rebuilt.
 * 2. An epoch is taken only with all on which it builds, down to the anchor. A piece
 *    that is older than the anchor, or of a branch that was left, builds on something
 *    else and is never looked at.
 */
#include "level_plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- settings ----------------------------------------------------------------------- */

static const char *const names[CKPT_LEVELS] = {"local", "partner", "set",
                                               "shared"};

const char *ckpt_level_name(enum ckpt_level level)
{
    return names[level];
}

/* A whole number from 1 on that ends at one of `stops`; *at moves behind it. */
static bool number_take(const char **at, const char *stops, uint64_t *value)
{
    char *end = NULL;
    if (!isdigit((unsigned char)**at)) {
        return false;
    }
    errno = 0;
    *value = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0 && *value > 0 && strchr(stops, *end) != NULL;
}

static bool level_take(const char **at, struct ckpt_levels *l)
{
    for (int i = 0; i < CKPT_LEVELS; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(*at, names[i], n) == 0 && (*at)[n] == ':') {
            *at += n + 1;
            return l->every[i] == 0 && number_take(at, ",", &l->every[i]);
        }
    }
    return false;
}

int ckpt_levels_read(const char *levels, const char *set, struct ckpt_levels *l)
{
    uint64_t k = 0;
    uint64_t m = 0;
    const char *at = levels;
    memset(l, 0, sizeof *l);
    bool good = level_take(&at, l);
    while (good && *at == ',') {
        at++;
        good = level_take(&at, l);
    }
    if (!good || l->every[CKPT_LEVEL_LOCAL] > 1) {
        return base_error(RECTO_EINVAL,
                          "%s=%s: give partner:N, set:N, shared:N, each with "
                          "how many epochs it is made once; local:1 is always",
                          base_env_name(BASE_ENV_CKPT_LEVELS), levels);
    }
    at = set;
    good = number_take(&at, "+", &k) && *at == '+';
    at += good;
    if (!good || !number_take(&at, "", &m) || *at != '\0' ||
        k > CKPT_SET_DATA || m > CKPT_SET_PARITY) {
        return base_error(RECTO_EINVAL,
                          "%s=%s: give K+M, of K + M nodes any M may be lost: "
                          "K to %d, M to %d",
                          base_env_name(BASE_ENV_CKPT_SET), set, CKPT_SET_DATA,
                          CKPT_SET_PARITY);
    }
    l->every[CKPT_LEVEL_LOCAL] = 1;
    l->data = (unsigned)k;
    l->parity = (unsigned)m;
    return 0;
}

bool ckpt_level_due(const struct ckpt_levels *levels, enum ckpt_level level,
                    uint64_t number)
{
    return levels->every[level] > 0 && number % levels->every[level] == 0;
}

/* ---- who stands in for whom ------------------------------------------------------------ */

static unsigned shift(const struct ckpt_ring *ring)
{
    return ring->nodes / 2;
}

unsigned ckpt_ring_partner(const struct ckpt_ring *ring, unsigned node)
{
    return (node + shift(ring)) % ring->nodes;
}

unsigned ckpt_ring_ward(const struct ckpt_ring *ring, unsigned node)
{
    return (node + ring->nodes - shift(ring)) % ring->nodes;
}

struct ckpt_set ckpt_ring_set(const struct ckpt_ring *ring, unsigned node)
{
    unsigned sets = ring->nodes / (ring->data + ring->parity);
    struct ckpt_set set = {.stride = sets > 0 ? sets : 1};
    set.first = node % set.stride;
    unsigned members =
        ring->nodes / set.stride + (set.first < ring->nodes % set.stride);
    set.m = ring->parity < members ? ring->parity : members - 1;
    set.k = members - set.m;
    return set;
}

/* ---- what is left ------------------------------------------------------------------------ */

static bool same_epoch(const struct ckpt_holding *a,
                       const struct ckpt_holding *b)
{
    return strcmp(a->uuid, b->uuid) == 0;
}

long ckpt_holdings_find(const struct ckpt_holdings *h, size_t e,
                        enum ckpt_piece_kind kind, unsigned node)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->items[i].kind == (uint32_t)kind && h->items[i].index == node &&
            same_epoch(&h->items[i], &h->items[e])) {
            return (long)i;
        }
    }
    return -1;
}

long ckpt_holdings_share(const struct ckpt_holdings *h, size_t e, unsigned node)
{
    long i = ckpt_holdings_find(h, e, CKPT_PIECE_SHARE, node);
    return i >= 0 ? i : ckpt_holdings_find(h, e, CKPT_PIECE_COPY, node);
}

void ckpt_holdings_stripe(const struct ckpt_holdings *h, size_t e,
                          const struct ckpt_set *set, unsigned stripe,
                          bool *there)
{
    for (unsigned i = 0; i < set->k + set->m; i++) {
        unsigned role = ckpt_set_role(set, stripe, i);
        unsigned node = ckpt_set_node(set, i);
        there[role] =
            (role < set->k
                 ? ckpt_holdings_share(h, e, node)
                 : ckpt_holdings_find(h, e, CKPT_PIECE_PARITY, node)) >= 0;
    }
}

/* Are k pieces left of each stripe that holds a segment of the node's share? */
static bool rebuilds(const struct ckpt_holdings *h, size_t e, unsigned node)
{
    bool there[CKPT_SET_MAX];
    struct ckpt_set set = ckpt_ring_set(&h->items[e].ring, node);
    for (unsigned d = 0; d < set.k; d++) {
        unsigned left = 0;
        ckpt_holdings_stripe(
            h, e, &set, ckpt_set_stripe(&set, ckpt_set_member(&set, node), d),
            there);
        for (unsigned i = 0; i < set.k + set.m; i++) {
            left += there[i];
        }
        if (left < set.k) {
            return false;
        }
    }
    return true;
}

long ckpt_holdings_lacks(const struct ckpt_holdings *h, size_t e)
{
    for (unsigned node = 0; node < h->items[e].ring.nodes; node++) {
        if (ckpt_holdings_share(h, e, node) < 0 && !rebuilds(h, e, node)) {
            return node;
        }
    }
    return -1;
}

/* An epoch that can be had whole, and the newest that it leads to. */
struct whole {
    size_t e;
    uint64_t number;
    uint64_t reach;
    uint64_t stamp; /* of the epoch that it reaches */
};

static int newest_first(const void *a, const void *b)
{
    const struct whole *x = a;
    const struct whole *y = b;
    return (x->number < y->number) - (x->number > y->number);
}

static bool better(const struct whole *a, const struct whole *b)
{
    return a->reach != b->reach ? a->reach > b->reach : a->stamp > b->stamp;
}

/* Of those that build on `uuid` and are newer than `number`, the one to take. */
static const struct whole *next_of(const struct ckpt_holdings *h,
                                   const struct whole *list, size_t n,
                                   const char *uuid)
{
    const struct whole *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(h->items[list[i].e].previous, uuid) == 0 &&
            (best == NULL || better(&list[i], best))) {
            best = &list[i];
        }
    }
    return best;
}

/* Each epoch once, those that are whole; newest first, with what they reach. */
static size_t wholes_list(const struct ckpt_holdings *h, struct whole *list)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) {
        size_t first = 0;
        while (!same_epoch(&h->items[first], &h->items[i])) {
            first++;
        }
        if (first == i && ckpt_holdings_lacks(h, i) < 0) {
            list[n++] = (struct whole){i, h->items[i].number,
                                       h->items[i].number, h->items[i].stamp};
        }
    }
    if (n > 0) {
        qsort(list, n, sizeof *list, newest_first);
    }
    for (size_t i = 0; i < n; i++) {
        const struct whole *next =
            next_of(h, list, i, h->items[list[i].e].uuid);
        if (next != NULL) {
            list[i].reach = next->reach;
            list[i].stamp = next->stamp;
        }
    }
    return n;
}

int ckpt_holdings_chain(const struct ckpt_holdings *h, const char *anchor,
                        size_t *chain, size_t *count, long *beyond)
{
    struct whole *list = calloc(h->count + 1, sizeof *list);
    *count = 0;
    *beyond = -1;
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "pieces of local epochs");
    }
    size_t n = wholes_list(h, list);
    const char *uuid = anchor;
    const struct whole *next = NULL;
    while (*count < n && (next = next_of(h, list, n, uuid)) != NULL) {
        chain[(*count)++] = next->e;
        uuid = h->items[next->e].uuid;
    }
    for (size_t i = 0; i < h->count && *count < h->count; i++) {
        if (strcmp(h->items[i].previous, uuid) == 0) {
            *beyond = (long)i;
        }
    }
    free(list);
    return 0;
}
