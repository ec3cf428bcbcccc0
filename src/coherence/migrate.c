/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_migrate: pages get another home, at a moment when nobody uses them.
 *
 *   agree     release, meet, acquire; everybody learns everybody's range
 *   plan      the table of homes to be, the same on all ranks; runs of pages by old
 *             and new home, of those that come to my domain or leave it
 *   ready     the protocol brings master copies home (migrate.h)
 *   leave     nobody has a right to, or a copy of, what moves; marks of writes since
 *             the last checkpoint are with the old home
 *   clear     the new home's domain gives up what lies at the pages' place
 *   carry     the old home stores bytes and marks in the new home's domain, or
 *             sends them
 *   settle    the new table holds; the old home's domain gives its memory back
 *
 * Each step ends with a verdict. Until the last one the old homes have everything,
 * so a failure ends with the pages settling where they were.
 *
 * Invariants
 * 1. A page's bytes are copied when no rank has a right to it.
 * 2. A page without memory behind it (never touched) has none afterwards.
 * 3. A page that was written since the last checkpoint counts as written at its new
 *    home, others do not.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "coherence/migrate.h"
#include "space/snapshot.h"

/* ---- what the ranks name ------------------------------------------------------- */

static struct space_segment *segment_of(const void *p, size_t bytes)
{
    struct space_segment *s = space_segment_at(p);
    /* a part of no bytes may begin where the array ends */
    return s == NULL && bytes == 0 && p != NULL
               ? space_segment_at((const char *)p - 1)
               : s;
}

static int claim_make(const struct space_segment *s, const void *p,
                      size_t bytes, int rank, struct migrate_claim *claim)
{
    if (s == NULL) {
        return base_error(
            RECTO_ENOENT,
            "recto_migrate(%p): not shared memory; give an address that "
            "recto_alloc or recto_array returned, or one behind it",
            p);
    }
    if (s->heap) {
        return base_error(
            RECTO_EUNSUPPORTED,
            "recto_migrate(%p): memory of recto_malloc stays with "
            "the rank that allocated it",
            p);
    }
    if (rank < 0 || rank >= net_size()) {
        return base_error(
            RECTO_EINVAL,
            "recto_migrate(\"%s\"): rank %d of a job of %d ranks; give a rank "
            "below that",
            s->name, rank, net_size());
    }
    uint64_t offset = (uint64_t)((const char *)p - s->recto);
    if (bytes > 0 && (offset >= s->bytes || bytes > s->bytes - offset)) {
        return base_error(RECTO_EINVAL,
                          "recto_migrate(\"%s\"): %zu bytes from byte %" PRIu64
                          " on: the array has %" PRIu64,
                          s->name, bytes, offset, s->bytes);
    }
    if (bytes > 0) {
        uint64_t end = (offset + bytes + SPACE_PAGE - 1) / SPACE_PAGE;
        claim->first = offset / SPACE_PAGE;
        claim->count = end - claim->first;
    }
    claim->home = rank;
    return 0;
}

/* ---- carry: bytes and marks ---------------------------------------------------------- */

enum {
    PIECE_PAGES = 256
};

/* What one rank sends another at a time: of each page whether it has memory and was
 * written since the last checkpoint; then the pages that have memory. */
struct piece {
    uint64_t present[PIECE_PAGES / 64];
    uint64_t written[PIECE_PAGES / 64];
    char bytes[PIECE_PAGES][SPACE_PAGE];
};

enum {
    PIECE_HEAD = offsetof(struct piece, bytes)
};

/* Has a page of mine memory? Asks the kernel once for each stretch. */
struct memory {
    const struct space_segment *s;
    uint64_t asked; /* pages [asked, end) are as ... */
    uint64_t first; /* ... those from here on, which have memory */
    uint64_t end;
};

static bool has_memory(struct memory *k, uint64_t page)
{
    if (page < k->asked || page >= k->end) {
        k->asked = page;
        if (!space_data_run(k->s, page, k->s->pages, &k->first, &k->end)) {
            k->first = k->end = k->s->pages;
        }
    }
    return page >= k->first;
}

/* To a home that shares memory with me. */
static void carry_near(const struct migrate_plan *plan,
                       const struct migrate_run *run, struct memory *k)
{
    struct space_segment *s = plan->s;
    int domain = net_domain_of(run->to);
    for (uint64_t p = run->first; p < run->first + run->count; p++) {
        if (has_memory(k, p)) {
            memcpy(s->versos[domain] + p * SPACE_PAGE, space_verso(s, p),
                   SPACE_PAGE);
        }
        if (space_dirty_is_marked(s, p)) {
            space_dirty_mark_in(s, p, domain);
        }
    }
}

/* A run of the plan that goes to, or comes from, the rank so far from me. */
struct way {
    int distance;
    uint64_t run;
};

/* What goes by MPI: ways by distance, each distance's in the order of the pages. */
struct carrier {
    struct piece *pieces; /* one that goes and one that comes */
    struct way *out;
    struct way *in;
    uint64_t outs;
    uint64_t ins;
};

static int by_distance(const void *a, const void *b)
{
    const struct way *x = a;
    const struct way *y = b;
    return x->distance != y->distance ? (x->distance > y->distance ? 1 : -1)
                                      : (x->run > y->run) - (x->run < y->run);
}

static void carrier_free(struct carrier *c)
{
    free(c->pieces);
    free(c->out);
    free(c->in);
}

/* Partners, and their runs, in one pass over the plan. */
static void ways_find(const struct migrate_plan *plan, struct carrier *c)
{
    int me = net_rank();
    int n = net_size();
    for (uint64_t i = 0; i < plan->count; i++) {
        const struct migrate_run *run = &plan->runs[i];
        if (run->from == me && !net_shares(run->to)) {
            c->out[c->outs++] = (struct way){(run->to - me + n) % n, i};
        } else if (run->to == me && run->from != MIGRATE_NOBODY &&
                   !net_shares(run->from)) {
            c->in[c->ins++] = (struct way){(me - run->from + n) % n, i};
        }
    }
    if (c->outs > 1) {
        qsort(c->out, c->outs, sizeof *c->out, by_distance);
    }
    if (c->ins > 1) {
        qsort(c->in, c->ins, sizeof *c->in, by_distance);
    }
}

static int carrier_make(const struct migrate_plan *plan, struct carrier *c)
{
    c->pieces = malloc(2 * sizeof *c->pieces);
    c->out = malloc((plan->count + 1) * sizeof *c->out);
    c->in = malloc((plan->count + 1) * sizeof *c->in);
    if (c->pieces == NULL || c->out == NULL || c->in == NULL) {
        return base_error(RECTO_ENOMEM, "moving \"%s\"", plan->s->name);
    }
    ways_find(plan, c);
    return 0;
}

/* The pages that go from one rank to another, in their order. */
struct pair {
    const struct migrate_plan *plan;
    const struct way *ways;
    uint64_t left; /* of them */
    uint64_t offset;
    uint32_t count; /* of the piece */
    uint64_t pages[PIECE_PAGES];
};

/* The ways of a distance, from *at on. */
static struct pair pair_start(const struct migrate_plan *plan,
                              const struct way *ways, uint64_t count,
                              uint64_t *at, int distance)
{
    struct pair pair = {.plan = plan, .ways = &ways[*at]};
    while (*at < count && ways[*at].distance == distance) {
        pair.left++;
        (*at)++;
    }
    return pair;
}

/* The pages of the next piece; false when there is none. */
static bool pair_next(struct pair *pair)
{
    pair->count = 0;
    while (pair->left > 0 && pair->count < PIECE_PAGES) {
        const struct migrate_run *run = &pair->plan->runs[pair->ways->run];
        while (pair->offset < run->count && pair->count < PIECE_PAGES) {
            pair->pages[pair->count++] = run->first + pair->offset++;
        }
        if (pair->offset == run->count) {
            pair->ways++;
            pair->left--;
            pair->offset = 0;
        }
    }
    return pair->count > 0;
}

static size_t piece_pack(struct piece *piece, const struct pair *pair,
                         struct memory *k)
{
    const struct space_segment *s = pair->plan->s;
    size_t n = 0;
    memset(piece, 0, PIECE_HEAD);
    for (uint32_t i = 0; i < pair->count; i++) {
        uint64_t page = pair->pages[i];
        uint64_t bit = (uint64_t)1 << i % 64;
        if (has_memory(k, page)) {
            piece->present[i / 64] |= bit;
            memcpy(piece->bytes[n++], space_verso(s, page), SPACE_PAGE);
        }
        if (space_dirty_is_marked(s, page)) {
            piece->written[i / 64] |= bit;
        }
    }
    return PIECE_HEAD + n * SPACE_PAGE;
}

static void piece_unpack(const struct piece *piece, const struct pair *pair)
{
    struct space_segment *s = pair->plan->s;
    size_t n = 0;
    for (uint32_t i = 0; i < pair->count; i++) {
        uint64_t page = pair->pages[i];
        if (piece->present[i / 64] >> i % 64 & 1) {
            memcpy(space_verso(s, page), piece->bytes[n++], SPACE_PAGE);
        }
        if (piece->written[i / 64] >> i % 64 & 1) {
            space_dirty_mark_in(s, page, net_domain());
        }
    }
}

/* With one rank that I send to and one that I receive from, as far from each other,
 * piece by piece. */
static int carry_far(struct pair *out, struct pair *in, int distance,
                     struct memory *k, struct piece *pieces)
{
    int n = net_size();
    int to = (net_rank() + distance) % n;
    int from = (net_rank() - distance + n) % n;
    for (int r = 0;;) {
        bool sends = pair_next(out);
        bool receives = pair_next(in);
        if (r != 0 || (!sends && !receives)) {
            return r;
        }
        size_t bytes = sends ? piece_pack(&pieces[0], out, k) : 0;
        r = net_sendrecv(&pieces[0], bytes, sends ? to : -1, &pieces[1],
                         sizeof pieces[1], receives ? from : -1);
        if (r == 0 && receives) {
            piece_unpack(&pieces[1], in);
        }
    }
}

static int nearer(const struct carrier *c, uint64_t out, uint64_t in)
{
    int a = out < c->outs ? c->out[out].distance : INT_MAX;
    int b = in < c->ins ? c->in[in].distance : INT_MAX;
    return a < b ? a : b;
}

/* All ranks go from near to far, so nobody waits in a circle. */
static int carry(const struct migrate_plan *plan, const struct carrier *c)
{
    struct memory k = {.s = plan->s};
    uint64_t out = 0;
    uint64_t in = 0;
    int r = 0;
    for (uint64_t i = 0; i < plan->count; i++) {
        const struct migrate_run *run = &plan->runs[i];
        if (run->from == net_rank() && migrate_crosses(run) &&
            net_shares(run->to)) {
            carry_near(plan, run, &k);
        }
    }
    while (r == 0 && (out < c->outs || in < c->ins)) {
        int distance = nearer(c, out, in);
        struct pair to = pair_start(plan, c->out, c->outs, &out, distance);
        struct pair from = pair_start(plan, c->in, c->ins, &in, distance);
        r = carry_far(&to, &from, distance, &k, c->pieces);
    }
    return r;
}

/* ---- the steps -------------------------------------------------------------------------- */

static bool releases(const struct migrate_plan *plan)
{
    return plan->s->attr.consistency == RECTO_RELEASE;
}

static int ready(struct migrate_plan *plan)
{
    return releases(plan) ? rel_move_ready(plan) : msi_move_ready(plan);
}

static int leave(const struct migrate_plan *plan)
{
    struct migrate_run run;
    int code = 0;
    for (uint64_t at = 0; migrate_next(plan, &at, MIGRATE_FROM, false, &run);) {
        bool keep = run.from != MIGRATE_NOBODY &&
                    net_domain_of(run.from) == net_domain();
        int r = space_dirty_leave(plan->s, run.first, run.count, keep);
        code = code == 0 ? r : code;
    }
    int r = releases(plan) ? rel_move_leave(plan) : msi_move_leave(plan);
    return code == 0 ? r : code;
}

static int discard(const struct migrate_plan *plan,
                   const struct migrate_run *run)
{
    return recto_vm_memory_discard(plan->s->fd, run->first * SPACE_PAGE,
                                   run->count * SPACE_PAGE);
}

static int clear(const struct migrate_plan *plan)
{
    struct migrate_run run;
    int r = 0;
    for (uint64_t at = 0;
         r == 0 && migrate_next(plan, &at, MIGRATE_TO, false, &run);) {
        if (run.to == net_rank()) {
            space_dirty_clear(plan->s, run.first, run.count);
            r = discard(plan, &run);
        }
    }
    return r;
}

/* The pages settle with their new homes, or with their old ones again. */
static void settle(const struct migrate_plan *plan, bool moved)
{
    struct migrate_run run;
    enum migrate_group alike = moved ? MIGRATE_TO : MIGRATE_FROM;
    for (uint64_t at = 0; migrate_next(plan, &at, alike, true, &run);) {
        int home = moved ? run.to : run.from;
        if (home != MIGRATE_NOBODY && releases(plan)) {
            rel_move_settle(plan, &run, home);
        } else if (home != MIGRATE_NOBODY) {
            msi_move_settle(plan, &run, home);
        }
    }
}

/* Nothing remains but memory that costs memory. */
static void give_back(const struct migrate_plan *plan)
{
    struct migrate_run run;
    for (uint64_t at = 0; migrate_next(plan, &at, MIGRATE_FROM, false, &run);) {
        if (run.from == net_rank()) {
            space_dirty_clear(plan->s, run.first, run.count);
            (void)discard(plan, &run);
        }
    }
}

static int steps(const struct migrate_plan *plan, const struct carrier *c)
{
    int r = net_verdict(leave(plan));
    r = r == 0 ? net_verdict(clear(plan)) : r;
    r = r == 0 ? net_verdict(carry(plan, c)) : r;
    settle(plan, r == 0);
    if (r == 0) {
        give_back(plan);
    }
    return r;
}

/* Between domains. */
static int pages_move(struct migrate_plan *plan, const struct carrier *c)
{
    int r = ready(plan);
    r = r == 0 ? steps(plan, c) : r;
    if (!releases(plan)) {
        msi_move_end(plan);
    }
    return r;
}

/* Sets *moves: does any page? */
static int prepare(struct migrate_plan *plan,
                   const struct migrate_claim *claims, struct carrier *c,
                   bool *moves)
{
    bool apart = plan->s->coherence != NULL;
    int r = migrate_plan_make(plan, claims);
    r = net_verdict(r == 0 && apart ? carrier_make(plan, c) : r);
    /* within one domain all may become true but the table */
    int64_t some = r == 0 && (apart ? plan->count : plan->wanted->count) > 0;
    r = r == 0 ? net_allreduce_max(&some, 1) : r;
    *moves = some != 0;
    return r;
}

/* Among all ranks; what each of them wants is in `claims`. */
static int segment_move(struct space_segment *s,
                        const struct migrate_claim *claims)
{
    struct migrate_plan plan = {.s = s};
    struct carrier carrier = {0};
    bool moves = false;
    for (int i = 0; i < net_size(); i++) {
        if (net_domain_of((int)claims[i].home) == net_domain()) {
            space_homes_ask(s, claims[i].first, claims[i].count);
        }
    }
    int r = prepare(&plan, claims, &carrier, &moves);
    if (r == 0 && moves) {
        r = s->coherence != NULL ? pages_move(&plan, &carrier) : 0;
        if (r == 0) {
            space_homes_move(s, plan.homes);
            s->homed = space_homed_bytes(s);
            plan.homes = NULL;
        }
        /* nobody uses a page before all know its home */
        int all = net_verdict(0);
        r = r == 0 ? all : r;
    }
    carrier_free(&carrier);
    migrate_plan_free(&plan);
    return r;
}

static int claims_gather(struct space_segment *s,
                         const struct migrate_claim *mine)
{
    struct migrate_claim *claims = calloc((size_t)net_size(), sizeof *claims);
    int r = net_verdict(
        claims != NULL ? 0 : base_error(RECTO_ENOMEM, "recto_migrate"));
    r = r == 0 ? net_allgather(mine, sizeof *mine, claims) : r;
    r = r == 0 ? segment_move(s, claims) : r;
    free(claims);
    return r;
}

int recto_migrate(const void *p, size_t bytes, int rank)
{
    if (net_rank() < 0) {
        return base_error(RECTO_ESTATE, "recto_migrate before recto_init");
    }
    char text[RECTO_NAME_MAX + 32];
    struct migrate_claim claim = {0};
    struct space_segment *s = segment_of(p, bytes);
    int r = claim_make(s, p, bytes, rank, &claim);
    snprintf(text, sizeof text, "recto_migrate(\"%s\")",
             s != NULL ? s->name : "?");
    coherence_release();
    r = net_agree(NET_CALL_MIGRATE, r, text);
    coherence_acquire();
    if (r == 0) {
        space_land();
    }
    return r == 0 ? claims_gather(s, &claim) : r;
}
