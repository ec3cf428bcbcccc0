/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * At a restart: brings the newest epochs that the nodes' folders can give to the shared
 * folder, from where they are restored like all others.
 *
 *   anchor   rank 0: the newest epoch of the shared folder
 *   report   leaders read all pieces of the run that are newer; all ranks get the list of
 *            the intact ones
 *   choose   each rank, by the same function of the list (ckpt_holdings_chain)
 *   rebuild  lost shares, each by one leader, into its folder
 *   promote  epoch by epoch, oldest first
 *
 * Invariants
 * 1. No piece is removed: if the restart dies, the next one finds the same, or some of the
 *    epochs in the shared folder already. Files go at the first checkpoint.
 * 2. Nodes are those of now; pieces say of which node of then they are. Any rank count
 *    will do.
 * 3. A piece that is damaged counts as lost.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "erasure.h"
#include "level.h"
#include "reader.h"

enum {
    PARCEL_DATA = 192 << 10 /* of a segment in a parcel */
};

/* The pieces in my folder, if I lead a node. */
struct mine {
    struct ckpt_share *items;
    size_t count;
    size_t room;
};

struct recovery {
    char anchor[CKPT_UUID + 1];
    char run[CKPT_UUID + 1];
    uint64_t number; /* of the anchor */
    bool there;      /* is there one? */
    struct mine mine;
    struct ckpt_holdings all;
    size_t first; /* index in `all` of my first piece */
};

/* ---- report --------------------------------------------------------------------------- */

static int mine_reserve(struct mine *m)
{
    size_t room = 2 * m->room + 8;
    if (m->count < m->room) {
        return 0;
    }
    struct ckpt_share *items = realloc(m->items, room * sizeof *items);
    if (items == NULL) {
        return base_error(RECTO_ENOMEM, "pieces of local epochs");
    }
    m->items = items;
    m->room = room;
    return 0;
}

static int piece_take(const char *name, void *argument)
{
    struct recovery *r = argument;
    struct mine *m = &r->mine;
    enum ckpt_piece_kind kind;
    if (!ckpt_share_named(name, r->run, &kind) || kind == CKPT_PIECE_KINDS) {
        return 0;
    }
    int status = mine_reserve(m);
    if (status != 0) {
        return status;
    }
    struct ckpt_share *s = &m->items[m->count];
    status = ckpt_share_open(s, &ckpt_level.dir, name);
    if (status != 0) {
        base_warn("%s is not used: %s", name, recto_last_error());
        return 0;
    }
    bool newer =
        s->head.epoch.number > r->number && strcmp(s->head.run, r->run) == 0;
    status = newer ? ckpt_share_verify(s) : 0;
    if (status != 0) {
        base_warn("%s is not used: %s", name, recto_last_error());
    }
    if (status != 0 || !newer) {
        ckpt_share_close(s);
        return 0;
    }
    s->head.kind = kind; /* a copy has the bytes of a share */
    m->count++;
    return 0;
}

/* All ranks get the holdings of all nodes, in rank order. Collective. */
static int report_share(struct recovery *r)
{
    const struct mine *m = &r->mine;
    size_t size = sizeof(struct ckpt_holding);
    uint64_t bytes = m->count * size;
    uint64_t *sizes = calloc((size_t)net_size(), sizeof *sizes);
    struct ckpt_holding *list = calloc(m->count + 1, size);
    int status = net_verdict(
        sizes != NULL && list != NULL ? 0 : base_error(RECTO_ENOMEM, "report"));
    if (status == 0) {
        status = net_allgather(&bytes, sizeof bytes, sizes);
    }
    for (int i = 0; i < net_size() && status == 0; i++) {
        r->first = i == net_rank() ? r->all.count : r->first;
        r->all.count += sizes[i] / size;
    }
    if (status == 0) {
        r->all.items = calloc(r->all.count + 1, size);
        status = r->all.items != NULL ? 0 : base_error(RECTO_ENOMEM, "report");
    }
    status = net_verdict(status);
    for (size_t i = 0; i < m->count && status == 0; i++) {
        ckpt_share_holding(&m->items[i], m->items[i].head.kind, &list[i]);
        list[i].rank = (uint32_t)net_rank();
    }
    if (status == 0) {
        status = net_gatherv(list, bytes, r->all.items, sizes, 0);
    }
    if (status == 0) {
        status = net_bcast(r->all.items, r->all.count * size, 0);
    }
    for (size_t i = 0; i < r->all.count && status == 0; i++) {
        struct ckpt_holding *h = &r->all.items[i];
        if (ckpt_uuid_same(h->previous, r->anchor)) { /* it was compacted */
            memcpy(h->previous, r->anchor, sizeof h->previous);
        }
    }
    free(sizes);
    free(list);
    return status;
}

/* ---- rebuilding a share ------------------------------------------------------------------ */

/* One lost share in the making. */
struct rebuild {
    const struct recovery *r;
    size_t e;      /* a holding of the epoch */
    unsigned node; /* whose share */
    int rank;      /* who makes it */
    uint64_t length;
    uint64_t segment;
    struct ckpt_set set;
    struct ckpt_io_file file; /* at that rank */
    /* of the stripe at hand: */
    struct ckpt_erasure_plan plan; /* of the lost segment alone */
    unsigned stripe;
    char *sum; /* a piece of the segment */
    size_t bytes;
};

struct parcel {
    uint64_t from; /* index in plan.from */
    char data[PARCEL_DATA];
};

static int parcel_take(void *argument, const void *data, size_t bytes)
{
    struct rebuild *b = argument;
    const struct parcel *p = data;
    void *lost[1] = {b->sum};
    if (p->from >= b->plan.k || bytes < sizeof p->from + b->bytes) {
        return base_error(RECTO_ECORRUPT, "a piece of a segment is wrong");
    }
    ckpt_erasure_rebuild(&b->plan, (unsigned)p->from, p->data, lost, b->bytes);
    return 0;
}

/* Which piece is read for a role of the stripe, and where the segment begins in it. */
static size_t source_of(const struct rebuild *b, unsigned role, uint64_t *at)
{
    for (unsigned i = 0; i < b->set.k + b->set.m; i++) {
        if (ckpt_set_role(&b->set, b->stripe, i) == role) {
            unsigned node = ckpt_set_node(&b->set, i);
            bool parity = role >= b->set.k;
            *at = (parity ? role - b->set.k : role) * b->segment;
            return (size_t)(parity
                                ? ckpt_holdings_find(&b->r->all, b->e,
                                                     CKPT_PIECE_PARITY, node)
                                : ckpt_holdings_share(&b->r->all, b->e, node));
        }
    }
    return 0;
}

/* What I have of the stripe, to who rebuilds. */
static int pieces_send(const struct rebuild *b, uint64_t offset,
                       struct parcel *room, struct net_parcels *parcels)
{
    int status = 0;
    for (unsigned i = 0; i < b->plan.k && status == 0; i++) {
        uint64_t at = 0;
        size_t h = source_of(b, b->plan.from[i], &at);
        if (b->r->all.items[h].rank != (uint32_t)net_rank()) {
            continue;
        }
        room[i].from = i;
        status = ckpt_share_read(&b->r->mine.items[h - b->r->first],
                                 at + offset, b->bytes, room[i].data);
        if (status == 0) {
            struct net_parcel *one = &parcels->items[parcels->count++];
            *one = (struct net_parcel){b->rank, sizeof room[i].from + b->bytes,
                                       &room[i]};
        }
    }
    return status;
}

static int segment_rebuild(struct rebuild *b, unsigned data,
                           struct parcel *room)
{
    struct net_parcel items[CKPT_SET_MAX];
    uint64_t start = data * b->segment;
    uint64_t end =
        b->length - start < b->segment ? b->length : start + b->segment;
    int status = 0;
    for (uint64_t at = start; at < end && status == 0; at += b->bytes) {
        struct net_parcels parcels = {.items = items};
        b->bytes = (size_t)(end - at < PARCEL_DATA ? end - at : PARCEL_DATA);
        memset(b->sum, 0, b->bytes);
        status = net_verdict(pieces_send(b, at - start, room, &parcels));
        if (status == 0) {
            status = net_exchange(parcels.items, parcels.count, parcel_take, b);
        }
        if (status == 0 && net_rank() == b->rank) {
            status =
                ckpt_io_write(&b->file, b->sum, b->bytes, at, "rebuild-write");
        }
        status = net_verdict(status);
    }
    return status;
}

/* How to make the segment out of what is left of its stripe. */
static int stripe_plan(struct rebuild *b, unsigned data)
{
    bool there[CKPT_SET_MAX];
    struct ckpt_erasure code;
    unsigned member = ckpt_set_member(&b->set, b->node);
    b->stripe = ckpt_set_stripe(&b->set, member, data);
    ckpt_holdings_stripe(&b->r->all, b->e, &b->set, b->stripe, there);
    int status = ckpt_erasure_open(&code, b->set.k, b->set.m);
    if (status == 0) {
        status = ckpt_erasure_plan_make(&code, there, &b->plan);
    }
    for (unsigned i = 0; i < b->plan.lost && status == 0; i++) {
        if (b->plan.to[i] == data) {
            memcpy(b->plan.rows[0], b->plan.rows[i], sizeof b->plan.rows[0]);
            b->plan.lost = 1;
        }
    }
    return status;
}

static int sizes_find(struct rebuild *b)
{
    for (unsigned i = 0; i < b->set.k + b->set.m; i++) {
        long p = ckpt_holdings_find(&b->r->all, b->e, CKPT_PIECE_PARITY,
                                    ckpt_set_node(&b->set, i));
        if (p >= 0) {
            b->segment = b->r->all.items[p].segment;
            b->length =
                b->r->all.items[p].lengths[ckpt_set_member(&b->set, b->node)];
            return 0;
        }
    }
    return base_error(RECTO_ECORRUPT, "no parity of epoch %llu",
                      (unsigned long long)b->r->all.items[b->e].number);
}

/* The share under its name in the rank's folder, open in *share. Collective. */
static int share_rebuild(struct rebuild *b, struct ckpt_share *share)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    const struct ckpt_holding *h = &b->r->all.items[b->e];
    bool mine = net_rank() == b->rank;
    struct parcel *room = malloc(CKPT_SET_MAX * sizeof *room);
    b->sum = malloc(PARCEL_DATA);
    b->file.fd = -1;
    b->set = ckpt_ring_set(&h->ring, b->node);
    ckpt_share_name(b->r->run, h->number, h->uuid, CKPT_PIECE_SHARE, b->node,
                    name);
    ckpt_share_temporary(name, temporary);
    int status = room != NULL && b->sum != NULL
                     ? sizes_find(b)
                     : base_error(RECTO_ENOMEM, "share to rebuild");
    if (status == 0 && mine) {
        status = ckpt_io_open(&b->file, &ckpt_level.dir, temporary,
                              O_RDWR | O_CREAT | O_TRUNC, "rebuild-open");
    }
    status = net_verdict(status);
    for (unsigned d = 0; d < b->set.k && status == 0; d++) {
        if (d * b->segment < b->length) {
            status = stripe_plan(b, d);
            status = net_verdict(status);
            status = status == 0 ? segment_rebuild(b, d, room) : status;
        }
    }
    if (status == 0 && mine) {
        status = ckpt_level_name_file(&b->file, name, "rebuild-sync",
                                      "rebuild-rename", "rebuild-dir");
    }
    if (status == 0 && mine) {
        status = ckpt_share_open(share, &ckpt_level.dir, name);
    }
    ckpt_io_close(&b->file);
    free(b->sum);
    free(room);
    return net_verdict(status);
}

/* ---- an epoch -------------------------------------------------------------------------------- */

/* The shares of an epoch that I carry. */
struct carried {
    const struct ckpt_share **list;
    size_t count;
    struct ckpt_share *rebuilt; /* owned */
    size_t nrebuilt;
};

/* Finds or rebuilds each share. Collective. */
static int shares_find(const struct recovery *r, size_t e, struct carried *c)
{
    unsigned nodes = r->all.items[e].ring.nodes;
    int status = 0;
    c->list = calloc(nodes, sizeof(void *));
    c->rebuilt = calloc(nodes, sizeof *c->rebuilt);
    if (c->list == NULL || c->rebuilt == NULL) {
        status = base_error(RECTO_ENOMEM, "list of shares");
    }
    status = net_verdict(status);
    for (unsigned node = 0; node < nodes && status == 0; node++) {
        long h = ckpt_holdings_share(&r->all, e, node);
        if (h >= 0) {
            if (r->all.items[h].rank == (uint32_t)net_rank()) {
                c->list[c->count++] = &r->mine.items[(size_t)h - r->first];
            }
            continue;
        }
        struct rebuild b = {.r = r, .e = e, .node = node};
        b.rank = ckpt_level.leaders[node % ckpt_level.ring.nodes];
        struct ckpt_share *share = &c->rebuilt[c->nrebuilt];
        share->io.fd = -1;
        status = share_rebuild(&b, share);
        if (status == 0 && net_rank() == b.rank) {
            c->list[c->count++] = share;
            c->nrebuilt++;
        }
    }
    return status;
}

static void carried_free(struct carried *c)
{
    for (size_t i = 0; i < c->nrebuilt; i++) {
        ckpt_share_close(&c->rebuilt[i]);
    }
    free(c->list);
    free(c->rebuilt);
}

/* The epoch as a piece tells of it, to all ranks. Collective. */
static int epoch_get(const struct recovery *r, size_t e,
                     struct ckpt_epoch *epoch)
{
    int root = (int)r->all.items[e].rank;
    int status = 0;
    if (net_rank() == root) {
        status =
            ckpt_epoch_copy(epoch, &r->mine.items[e - r->first].head.epoch);
    }
    status = net_verdict(status);
    return status == 0 ? ckpt_epoch_share(epoch, root) : status;
}

/* Rank 0: the layout, made anew. */
static int image_make(const struct recovery *r, struct ckpt_epoch *epoch,
                      struct ckpt_image **image)
{
    *image = calloc(1, sizeof **image);
    epoch->pieces /= epoch->ranks;
    return *image != NULL ? ckpt_layout_create(epoch, r->run, *image)
                          : base_error(RECTO_ENOMEM, "layout");
}

static int epoch_promote(const struct recovery *r, size_t e)
{
    struct ckpt_epoch epoch = {.number = 0};
    struct ckpt_image *image = NULL;
    struct carried c = {0};
    int status = epoch_get(r, e, &epoch);
    if (status == 0) {
        status = shares_find(r, e, &c);
    }
    if (status == 0 && epoch.has_file) {
        status =
            net_verdict(net_rank() == 0 ? image_make(r, &epoch, &image) : 0);
    }
    if (status == 0) {
        status = ckpt_level_promote(&epoch, image, c.list, c.count);
    }
    ckpt_image_drop(image);
    ckpt_epoch_clear(&epoch);
    carried_free(&c);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static void warn_beyond(const struct recovery *r, long beyond)
{
    const struct ckpt_holding *h = &r->all.items[beyond];
    if (net_rank() == 0) {
        base_warn(
            "epoch %llu is lost: the share of node %ld of %u is on no "
            "node that is left, nor can it be rebuilt; an older epoch is taken",
            (unsigned long long)h->number,
            ckpt_holdings_lacks(&r->all, (size_t)beyond), h->ring.nodes);
    }
}

static int chain_promote(const struct recovery *r)
{
    size_t count = 0;
    long beyond = -1;
    size_t *chain = calloc(r->all.count + 1, sizeof *chain);
    int status = chain != NULL ? ckpt_holdings_chain(&r->all, r->anchor, chain,
                                                     &count, &beyond)
                               : base_error(RECTO_ENOMEM, "chain");
    status = net_verdict(status);
    if (status == 0 && count > 0 && net_rank() == 0) {
        ckpt_store_clean(&ckpt_state.store); /* a killed promotion's file */
    }
    for (size_t i = 0; i < count && status == 0; i++) {
        status = epoch_promote(r, chain[i]);
    }
    if (status == 0 && beyond >= 0) {
        warn_beyond(r, beyond);
    }
    free(chain);
    return status;
}

/* Rank 0 has the shared folder open, if there is one. Collective. */
static int anchor_find(struct recovery *r)
{
    struct ckpt_store *store = &ckpt_state.store;
    int status = 0;
    if (net_rank() == 0) {
        status = ckpt_store_open(store, ckpt_state.path, false);
        status = status == RECTO_ENOENT ? 0 : status;
        store->keep = ckpt_state.keep;
        const struct ckpt_manifest *m = store->manifest;
        if (status == 0 && m != NULL && m->nepochs > 0) {
            const struct ckpt_epoch *newest = &m->epochs[m->nepochs - 1];
            r->there = true;
            r->number = newest->number;
            memcpy(r->anchor, newest->uuid, sizeof r->anchor);
            memcpy(r->run, m->run, sizeof r->run);
        }
    }
    status = net_verdict(status);
    return status == 0 ? net_bcast(r, sizeof *r, 0) : status;
}

int ckpt_level_recover(void)
{
    struct recovery r;
    memset(&r, 0, sizeof r);
    if (!ckpt_level.on) {
        return 0;
    }
    int status = anchor_find(&r);
    if (status != 0 || !r.there) {
        return status;
    }
    status = net_verdict(ckpt_dir_join());
    if (status == 0) {
        status = ckpt_level_open();
    }
    if (status == 0) {
        status =
            net_verdict(ckpt_level_leads()
                            ? ckpt_folder_scan(&ckpt_level.dir, piece_take, &r)
                            : 0);
    }
    if (status == 0) {
        status = report_share(&r);
    }
    if (status == 0) {
        status = chain_promote(&r);
    }
    for (size_t i = 0; i < r.mine.count; i++) {
        ckpt_share_close(&r.mine.items[i]);
    }
    free(r.mine.items);
    free(r.all.items);
    return status;
}
