/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Levels 2 and 3: the leader of each node reads its share and puts it, in pieces, into
 * the inboxes of others, who write what comes: the partner as it is, those of the set
 * as parity.
 *
 *   round t    read a piece, put it into half t mod 2 of the inbox
 *              verdict: all pieces of the round are there
 *              take what lies in that half, while round t + 1 is put
 *   end        fsync, rename, fsync of the folder; verdict
 *
 * Invariants
 * 1. A half is put into again two rounds later, after a verdict that its owner entered
 *    when it had taken what lay there.
 * 2. Nodes that have nothing more to send or take stay until the last round: every
 *    round is a collective call of all ranks.
 * 3. Memory: two halves and two buffers of CKPT_LEVEL_HALF, whatever the shares have.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base.h"
#include "erasure.h"
#include "level.h"

struct copy {
    struct ckpt_share share;  /* mine, open */
    struct ckpt_io_file file; /* what I make */
    char name[CKPT_FILE_NAME_MAX + 1];
    uint64_t *lengths; /* of all nodes' shares */
    char *buffer;
};

static char *half(uint64_t round)
{
    char *inbox = ckpt_level.inbox.views[net_rank()];
    return inbox + (round % 2) * CKPT_LEVEL_HALF;
}

/* Into a node's inbox. */
static int put(unsigned node, uint64_t round, uint64_t offset, const void *data,
               size_t bytes)
{
    int to = ckpt_level.leaders[node];
    uint64_t at = (round % 2) * CKPT_LEVEL_HALF + offset;
    char *view = ckpt_level.inbox.views[to];
    if (view != NULL) {
        memcpy(view + at, data, bytes);
        return 0;
    }
    return net_window_put(ckpt_level.window, to, at, data, bytes);
}

/* Opens my share and the new file, and learns the lengths of all shares. */
static int begin(struct copy *c, const struct ckpt_pending *p,
                 enum ckpt_piece_kind kind, unsigned index, const char *label)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    uint64_t *all = calloc((size_t)net_size(), sizeof *all);
    c->lengths = calloc(ckpt_level.ring.nodes, sizeof *c->lengths);
    c->buffer = malloc(CKPT_LEVEL_HALF);
    c->share.io.fd = -1;
    c->file.fd = -1;
    int status = all != NULL && c->lengths != NULL && c->buffer != NULL
                     ? 0
                     : base_error(RECTO_ENOMEM, "copy of a share");
    if (status == 0 && ckpt_level_leads()) {
        ckpt_share_name(ckpt_level.run, p->number, p->uuid, CKPT_PIECE_SHARE,
                        ckpt_level.node, name);
        status = ckpt_share_open(&c->share, &ckpt_level.dir, name);
    }
    if (status == 0 && ckpt_level_leads()) {
        ckpt_share_name(ckpt_level.run, p->number, p->uuid, kind, index,
                        c->name);
        ckpt_share_temporary(c->name, temporary);
        status = ckpt_io_open(&c->file, &ckpt_level.dir, temporary,
                              O_RDWR | O_CREAT | O_TRUNC, label);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_allgather(&c->share.length, sizeof *all, all);
    }
    for (unsigned i = 0; i < ckpt_level.ring.nodes && status == 0; i++) {
        c->lengths[i] = all[ckpt_level.leaders[i]];
    }
    free(all);
    return status;
}

/* After a failure the file goes. */
static int end(struct copy *c, int status)
{
    char message[1024];
    if (ckpt_level_leads()) {
        ckpt_share_close(&c->share);
    }
    if (status != 0 && ckpt_level_leads() && c->file.fd >= 0) {
        (void)snprintf(message, sizeof message, "%s", recto_last_error());
        (void)ckpt_io_unlink(&ckpt_level.dir, c->file.name, "unlink-temporary");
        base_error_set(message);
    }
    ckpt_io_close(&c->file);
    free(c->lengths);
    free(c->buffer);
    return status;
}

static uint64_t rounds_of(uint64_t bytes, uint64_t piece)
{
    return bytes / piece + (bytes % piece != 0);
}

/* What this node does in a round, before and after the verdict. Local. */
typedef int (*round_step)(void *argument, uint64_t round);

/* All rounds. Collective, one verdict. */
static int rounds_run(uint64_t rounds, round_step send, round_step take,
                      void *argument)
{
    int status = 0;
    int mine = 0; /* failures of my own are told in the next verdict */
    for (uint64_t t = 0; t < rounds && status == 0; t++) {
        mine = mine == 0 ? send(argument, t) : mine;
        status = net_verdict(mine);
        mine = status == 0 ? take(argument, t) : 0;
    }
    return net_verdict(status == 0 ? mine : status);
}

/* ---- level 2 ---------------------------------------------------------------------------- */

static size_t piece_at(uint64_t length, uint64_t at)
{
    uint64_t left = at < length ? length - at : 0;
    return (size_t)(left < CKPT_LEVEL_HALF ? left : CKPT_LEVEL_HALF);
}

static int copy_put(void *argument, uint64_t round)
{
    struct copy *c = argument;
    uint64_t at = round * CKPT_LEVEL_HALF;
    size_t bytes = ckpt_level_leads() ? piece_at(c->share.length, at) : 0;
    if (bytes == 0) {
        return 0;
    }
    int status = ckpt_share_read(&c->share, at, bytes, c->buffer);
    return status == 0
               ? put(ckpt_ring_partner(&ckpt_level.ring, ckpt_level.node),
                     round, 0, c->buffer, bytes)
               : status;
}

static int copy_take(void *argument, uint64_t round)
{
    struct copy *c = argument;
    uint64_t at = round * CKPT_LEVEL_HALF;
    unsigned ward = ckpt_ring_ward(&ckpt_level.ring, ckpt_level.node);
    size_t bytes = ckpt_level_leads() ? piece_at(c->lengths[ward], at) : 0;
    return bytes > 0 ? ckpt_io_write(&c->file, half(round), bytes, at,
                                     "partner-write")
                     : 0;
}

int ckpt_level_copy(const struct ckpt_pending *p)
{
    struct copy c = {0};
    uint64_t longest = 0;
    int status = begin(&c, p, CKPT_PIECE_COPY,
                       ckpt_ring_ward(&ckpt_level.ring, ckpt_level.node),
                       "partner-open");
    for (unsigned i = 0; i < ckpt_level.ring.nodes && status == 0; i++) {
        longest = c.lengths[i] > longest ? c.lengths[i] : longest;
    }
    if (status == 0) {
        status = rounds_run(rounds_of(longest, CKPT_LEVEL_HALF), copy_put,
                            copy_take, &c);
    }
    if (status == 0 && ckpt_level_leads()) {
        status = ckpt_level_name_file(&c.file, c.name, "partner-sync",
                                      "partner-rename", "partner-dir");
    }
    return end(&c, net_verdict(status));
}

/* ---- level 3 ---------------------------------------------------------------------------- */

struct code {
    struct copy copy;
    struct ckpt_set set;
    struct ckpt_erasure erasure;
    uint64_t segment; /* bytes */
    uint64_t piece;   /* bytes of a round, at most */
    uint64_t per;     /* rounds of a stripe */
    XXH3_state_t *hash;
    uint64_t hashes[CKPT_SET_PARITY];
};

/* What is done in a round: a piece of a stripe. */
struct stripe {
    uint64_t round;
    unsigned stripe;
    unsigned role;   /* mine */
    uint64_t offset; /* in the segment */
    size_t bytes;
};

/* My share's segment to the inboxes of the stripe's parity. */
static int data_put(struct code *c, const struct stripe *s)
{
    int status =
        ckpt_share_read(&c->copy.share, s->role * c->segment + s->offset,
                        s->bytes, c->copy.buffer);
    for (unsigned i = 0; i < c->set.k + c->set.m && status == 0; i++) {
        if (ckpt_set_role(&c->set, s->stripe, i) >= c->set.k) {
            status = put(ckpt_set_node(&c->set, i), s->round,
                         s->role * c->piece, c->copy.buffer, s->bytes);
        }
    }
    return status;
}

/* The stripe's data, which lie in my inbox, become my parity. */
static int parity_take(struct code *c, const struct stripe *s)
{
    unsigned p = s->role - c->set.k;
    struct ckpt_erasure row = c->erasure;
    void *parity[1] = {c->copy.buffer};
    row.m = 1;
    memcpy(row.rows[0], c->erasure.rows[p], sizeof row.rows[0]);
    memset(c->copy.buffer, 0, s->bytes);
    for (unsigned d = 0; d < c->set.k; d++) {
        ckpt_erasure_add(&row, d, half(s->round) + (uint64_t)d * c->piece,
                         parity, s->bytes);
    }
    if (s->offset == 0) {
        (void)XXH3_64bits_reset(c->hash);
    }
    (void)XXH3_64bits_update(c->hash, c->copy.buffer, s->bytes);
    c->hashes[p] = XXH3_64bits_digest(c->hash);
    return ckpt_io_write(&c->copy.file, c->copy.buffer, s->bytes,
                         p * c->segment + s->offset, "parity-write");
}

/* My part in a round; false: none. */
static bool stripe_of(const struct code *c, uint64_t round, struct stripe *s)
{
    unsigned n = c->set.k + c->set.m;
    uint64_t per = c->per > 0 ? c->per : 1;
    s->round = round;
    s->stripe = (unsigned)(round / per);
    s->offset = round % per * c->piece;
    if (!ckpt_level_leads() || c->set.m == 0 || s->stripe >= n) {
        return false;
    }
    uint64_t left = c->segment - s->offset;
    s->bytes = (size_t)(left < c->piece ? left : c->piece);
    s->role = ckpt_set_role(&c->set, s->stripe,
                            ckpt_set_member(&c->set, ckpt_level.node));
    return true;
}

static int code_put(void *argument, uint64_t round)
{
    struct code *c = argument;
    struct stripe s;
    return stripe_of(c, round, &s) && s.role < c->set.k ? data_put(c, &s) : 0;
}

static int code_take(void *argument, uint64_t round)
{
    struct code *c = argument;
    struct stripe s;
    return stripe_of(c, round, &s) && s.role >= c->set.k ? parity_take(c, &s)
                                                         : 0;
}

/* The end of the parity file, and its name. */
static int parity_end(struct code *c)
{
    struct ckpt_share_head head = c->copy.share.head;
    unsigned n = c->set.k + c->set.m;
    uint64_t more[CKPT_SET_MAX + CKPT_SET_PARITY];
    for (unsigned i = 0; i < n; i++) {
        more[i] = c->copy.lengths[ckpt_set_node(&c->set, i)];
    }
    memcpy(more + n, c->hashes, c->set.m * sizeof *more);
    head.kind = CKPT_PIECE_PARITY;
    head.members = n;
    head.segments = c->set.m;
    head.segment = c->segment;
    int status =
        ckpt_share_end(&c->copy.file, c->set.m * c->segment, &head, more,
                       ((size_t)n + c->set.m) * sizeof *more, "parity-end");
    return status == 0 ? ckpt_level_name_file(&c->copy.file, c->copy.name,
                                              "parity-sync", "parity-rename",
                                              "parity-dir")
                       : status;
}

/* Sizes of my set, and how many rounds the largest takes. */
static int sizes_find(struct code *c, int64_t *rounds)
{
    uint64_t longest = 0;
    unsigned n = c->set.k + c->set.m;
    for (unsigned i = 0; i < n; i++) {
        uint64_t length = c->copy.lengths[ckpt_set_node(&c->set, i)];
        longest = length > longest ? length : longest;
    }
    c->segment = rounds_of(rounds_of(longest, c->set.k), CKPT_PAGE) * CKPT_PAGE;
    c->piece = (uint64_t)CKPT_LEVEL_HALF / c->set.k / CKPT_PAGE * CKPT_PAGE;
    c->per = rounds_of(c->segment, c->piece);
    *rounds = c->set.m > 0 ? (int64_t)((uint64_t)n * c->per) : 0;
    return net_allreduce_max(rounds, 1);
}

static int code_open(struct code *c)
{
    c->set = ckpt_ring_set(&ckpt_level.ring, ckpt_level.node);
    c->hash = XXH3_createState();
    int status =
        c->set.m > 0 ? ckpt_erasure_open(&c->erasure, c->set.k, c->set.m) : 0;
    return c->hash != NULL ? status : base_error(RECTO_ENOMEM, "parity");
}

int ckpt_level_code(const struct ckpt_pending *p)
{
    struct code c = {.segment = 0};
    int64_t rounds = 0;
    int status = net_verdict(code_open(&c));
    if (status != 0) {
        (void)XXH3_freeState(c.hash);
        return status;
    }
    status =
        begin(&c.copy, p, CKPT_PIECE_PARITY, ckpt_level.node, "parity-open");
    if (status == 0) {
        status = sizes_find(&c, &rounds);
    }
    if (status == 0) {
        status = rounds_run((uint64_t)rounds, code_put, code_take, &c);
    }
    if (status == 0 && ckpt_level_leads() && c.set.m > 0) {
        status = parity_end(&c);
    }
    (void)XXH3_freeState(c.hash);
    return end(&c.copy, net_verdict(status));
}
