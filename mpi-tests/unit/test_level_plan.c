/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows which epochs the nodes' pieces give back: for all ways to lose nodes of small
 * rings, exactly those that a level promises; that sets and partners are laid out as
 * level_plan.h says for all numbers of nodes; that the newest chain is chosen of several
 * branches; and which settings are taken.
 */
#include <check.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/level_plan.h"

enum {
    NODES = 8,
    MOST = 400
};

static struct ckpt_holding items[MOST];
static struct ckpt_holdings h = {items, 0};

static void piece_add(const char *uuid, const char *previous, uint64_t number,
                      struct ckpt_ring ring, enum ckpt_piece_kind kind,
                      unsigned node)
{
    struct ckpt_holding *p = &items[h.count++];
    memset(p, 0, sizeof *p);
    (void)snprintf(p->uuid, sizeof p->uuid, "%s", uuid);
    (void)snprintf(p->previous, sizeof p->previous, "%s", previous);
    p->number = number;
    p->stamp = h.count;
    p->ring = ring;
    p->kind = (uint32_t)kind;
    p->index = node;
}

/* What is left of an epoch when the nodes of `lost` are. */
static void epoch_add(const char *uuid, const char *previous, uint64_t number,
                      struct ckpt_ring ring, bool copies, bool parity,
                      unsigned lost)
{
    for (unsigned node = 0; node < ring.nodes; node++) {
        if ((lost >> node & 1) != 0) {
            continue;
        }
        piece_add(uuid, previous, number, ring, CKPT_PIECE_SHARE, node);
        if (copies) {
            piece_add(uuid, previous, number, ring, CKPT_PIECE_COPY,
                      ckpt_ring_ward(&ring, node));
        }
        if (parity && ckpt_ring_set(&ring, node).m > 0) {
            piece_add(uuid, previous, number, ring, CKPT_PIECE_PARITY, node);
        }
    }
}

static size_t chain[MOST];
static size_t length;
static long beyond;

static void choose(const char *anchor)
{
    ck_assert_int_eq(ckpt_holdings_chain(&h, anchor, chain, &length, &beyond),
                     0);
}

/* ---- geometry ------------------------------------------------------------------------ */

START_TEST(partners)
{
    for (unsigned n = 1; n <= 40; n++) {
        struct ckpt_ring ring = {n, 4, 1};
        bool kept[40] = {false};
        for (unsigned i = 0; i < n; i++) {
            unsigned p = ckpt_ring_partner(&ring, i);
            ck_assert(p < n && !kept[p] && (p != i || n == 1));
            ck_assert_uint_eq(ckpt_ring_ward(&ring, p), i);
            kept[p] = true;
        }
    }
}
END_TEST

/* Has every member each role once, and its data segments where they are said to be? */
static bool set_good(const struct ckpt_set *set)
{
    unsigned n = set->k + set->m;
    bool good = n <= CKPT_SET_MAX && set->k >= 1;
    for (unsigned s = 0; s < n; s++) {
        bool taken[CKPT_SET_MAX] = {false};
        for (unsigned i = 0; i < n; i++) {
            unsigned role = ckpt_set_role(set, s, i);
            good = good && role < n && !taken[role];
            taken[role] = true;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned d = 0; d < set->k; d++) {
            unsigned stripe = ckpt_set_stripe(set, i, d);
            good = good && ckpt_set_role(set, stripe, i) == d;
        }
    }
    return good;
}

static bool ring_good(const struct ckpt_ring *ring)
{
    bool good = true;
    for (unsigned i = 0; i < ring->nodes && good; i++) {
        struct ckpt_set set = ckpt_ring_set(ring, i);
        unsigned member = ckpt_set_member(&set, i);
        good = ckpt_set_node(&set, member) == i && member < set.k + set.m &&
               ckpt_set_node(&set, set.k + set.m - 1) < ring->nodes &&
               (set.m == ring->parity || (set.k == 1 && set.m < ring->parity));
        good = good && (i >= set.stride || set_good(&set));
    }
    return good;
}

START_TEST(sets)
{
    for (unsigned n = 1; n <= 70; n++) {
        for (unsigned k = 1; k <= CKPT_SET_DATA; k += 3) {
            for (unsigned m = 1; m <= CKPT_SET_PARITY; m++) {
                struct ckpt_ring ring = {n, k, m};
                ck_assert_msg(ring_good(&ring), "%u nodes, %u+%u", n, k, m);
            }
        }
    }
}
END_TEST

/* ---- losses --------------------------------------------------------------------------- */

static bool pair_lost(const struct ckpt_ring *ring, unsigned lost)
{
    for (unsigned i = 0; i < ring->nodes; i++) {
        unsigned p = ckpt_ring_partner(ring, i);
        if ((lost >> i & 1) != 0 && (lost >> p & 1) != 0) {
            return true;
        }
    }
    return false;
}

static bool set_lost(const struct ckpt_ring *ring, unsigned lost)
{
    for (unsigned i = 0; i < ring->nodes; i++) {
        struct ckpt_set set = ckpt_ring_set(ring, i);
        unsigned gone = 0;
        for (unsigned j = 0; j < set.k + set.m; j++) {
            gone += lost >> ckpt_set_node(&set, j) & 1;
        }
        if (gone > set.m) {
            return true;
        }
    }
    return false;
}

/* All subsets of the nodes. */
static bool losses_good(const struct ckpt_ring *ring)
{
    bool good = true;
    for (unsigned lost = 0; lost + 1 < 1U << ring->nodes; lost++) {
        for (int levels = 0; levels < 4; levels++) {
            bool copies = (levels & 1) != 0;
            bool parity = (levels & 2) != 0;
            bool kept = lost == 0 || (copies && !pair_lost(ring, lost)) ||
                        (parity && !set_lost(ring, lost));
            h.count = 0;
            epoch_add("b", "a", 1, *ring, copies, parity, lost);
            good = good &&
                   ckpt_holdings_chain(&h, "a", chain, &length, &beyond) == 0;
            /* copies and parity together may give more than either */
            if (kept || levels != 3) {
                good = good && length == kept && (beyond >= 0) == !kept;
            }
        }
    }
    return good;
}

START_TEST(all_losses)
{
    for (unsigned n = 1; n <= NODES; n++) {
        for (unsigned k = 1; k <= 4; k++) {
            for (unsigned m = 1; m <= 3; m++) {
                struct ckpt_ring ring = {n, k, m};
                ck_assert_msg(losses_good(&ring), "%u nodes, %u+%u", n, k, m);
            }
        }
    }
}
END_TEST

/* ---- chains ------------------------------------------------------------------------------ */

static const struct ckpt_ring two = {2, 4, 1};

START_TEST(chain_ends_at_a_hole)
{
    for (int missing = 1; missing <= 5; missing++) {
        h.count = 0;
        for (int i = 5; i >= 1; i--) {
            char uuid[2] = {(char)('a' + i), 0};
            char previous[2] = {(char)('a' + i - 1), 0};
            epoch_add(uuid, previous, (uint64_t)i, two, false, false,
                      i == missing ? 2 : 0);
        }
        choose("a");
        ck_assert_uint_eq(length, (size_t)missing - 1);
        for (size_t i = 0; i < length; i++) {
            ck_assert_uint_eq(items[chain[i]].number, i + 1);
        }
        ck_assert_int_ge(beyond, 0);
        ck_assert_uint_eq(items[beyond].number, (uint64_t)missing);
    }
}
END_TEST

START_TEST(branches)
{
    /* a failed attempt at 2, written later than the one that was built upon */
    h.count = 0;
    epoch_add("b", "a", 1, two, false, false, 0);
    epoch_add("c", "b", 2, two, false, false, 0);
    epoch_add("d", "c", 3, two, false, false, 0);
    epoch_add("x", "b", 2, two, false, false, 0);
    choose("a");
    ck_assert_uint_eq(length, 3);
    ck_assert_str_eq(items[chain[2]].uuid, "d");
    ck_assert_int_eq(beyond, -1);
    /* of two attempts that nothing builds on the later one */
    h.count = 0;
    epoch_add("b", "a", 1, two, false, false, 0);
    epoch_add("y", "a", 1, two, false, false, 0);
    choose("a");
    ck_assert_uint_eq(length, 1);
    ck_assert_str_eq(items[chain[0]].uuid, "y");
    /* what builds on another anchor */
    choose("z");
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(beyond, -1);
    /* pieces of two attempts do not make one */
    h.count = 0;
    epoch_add("b", "a", 1, two, false, false, 1);
    epoch_add("y", "a", 1, two, false, false, 2);
    choose("a");
    ck_assert_uint_eq(length, 0);
    ck_assert_int_ge(beyond, 0);
    /* a circle, which no run writes */
    h.count = 0;
    epoch_add("a", "b", 1, two, false, false, 0);
    epoch_add("b", "a", 2, two, false, false, 0);
    choose("a");
    ck_assert_uint_le(length, 2);
}
END_TEST

/* ---- settings ------------------------------------------------------------------------------ */

START_TEST(settings)
{
    static const char *const bad[][2] = {
        {"",            "4+1"  },
        {"partner",     "4+1"  },
        {"partner:0",   "4+1"  },
        {"partner:1,",  "4+1"  },
        {"local:2",     "4+1"  },
        {"disk:1",      "4+1"  },
        {"set:-1",      "4+1"  },
        {"set:1,set:2", "4+1"  },
        {"set:1 ",      "4+1"  },
        {"set:1",       "4"    },
        {"set:1",       "4+"   },
        {"set:1",       "0+1"  },
        {"set:1",       "4+0"  },
        {"set:1",       "25+1" },
        {"set:1",       "4+9"  },
        {"set:1",       "4+1+1"},
        {"set:1",       "a+b"  },
        {"set:1",       ""     }
    };
    struct ckpt_levels l;
    ck_assert_int_eq(
        ckpt_levels_read("local:1,partner:4,set:8,shared:16", "10+2", &l), 0);
    ck_assert(l.data == 10 && l.parity == 2);
    ck_assert(ckpt_level_due(&l, CKPT_LEVEL_LOCAL, 3));
    ck_assert(!ckpt_level_due(&l, CKPT_LEVEL_PARTNER, 6));
    ck_assert(ckpt_level_due(&l, CKPT_LEVEL_PARTNER, 8));
    ck_assert(ckpt_level_due(&l, CKPT_LEVEL_SET, 8));
    ck_assert(!ckpt_level_due(&l, CKPT_LEVEL_SHARED, 8));
    ck_assert_int_eq(ckpt_levels_read("set:3", "1+1", &l), 0);
    ck_assert(!ckpt_level_due(&l, CKPT_LEVEL_SHARED, 0));
    ck_assert(ckpt_level_due(&l, CKPT_LEVEL_LOCAL, 1));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(ckpt_levels_read(bad[i][0], bad[i][1], &l),
                         RECTO_EINVAL);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("level_plan");
    TCase *tests = tcase_create("plan");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, partners);
    tcase_add_test(tests, sets);
    tcase_add_test(tests, all_losses);
    tcase_add_test(tests, chain_ends_at_a_hole);
    tcase_add_test(tests, branches);
    tcase_add_test(tests, settings);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
