/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The home of a page: directory and transactions. See msi.h for the protocol;
 * everything here runs on the home's service thread.
 *
 *            request                 all answered            done
 *   Idle -------------> Revoking --------------> Granting ----------> Idle or
 *          open()          |   revoke the others,    ^   grant()      next
 *                          |   then the last writer  |                request
 *                          +-- nothing to revoke ----+  (an eviction never has)
 *
 * Invariants
 * 1. entry.txn != 0 exactly while a transaction of the page is under way;
 *    requests that arrive meanwhile queue at it, in order.
 * 2. OWNER and HOLDERS change when the answers are in, before the grant is
 *    sent; a holder's rights are never more than they say. An eviction changes
 *    them at its `done`, when the data is here.
 * 3. The rank that must copy the page home is asked last, when no other rank
 *    of its domain can write it any more.
 * 4. A domain other than the home's has a valid copy exactly while one of its
 *    ranks is a holder and (OWNER is none or that domain).
 */
#include <string.h>

#include "base/base.h"
#include "coherence/msi.h"
#include "space/snapshot.h"

enum {
    POOL = 1 << 20,
    NOBODY = -1
};

/* What a transaction does at its end. */
enum kind {
    SHARE,
    EXCLUSIVE,
    RECALL,
    DROP,
    EVICT
};

struct txn {
    struct net_msg request;
    uint64_t page;
    int32_t writer;   /* rank to be asked last for the data, or NOBODY */
    uint32_t waiting; /* answers to come */
    uint8_t kind;     /* enum kind */
    uint8_t granted;
    uint32_t first; /* queued requests: pool index + 1 */
    uint32_t last;
    uint32_t next; /* free list and queue link */
};

/* Transactions and queued requests come from one pool: a sparse table, no
 * malloc on the service thread. Index + 1, 0 is none. */
static struct txn *pool;
static uint32_t pool_free;
static uint32_t pool_used;

static struct txn *txn_at(uint32_t index)
{
    return &pool[index - 1];
}

static uint32_t txn_new(void)
{
    void *table = NULL;
    if (pool == NULL) {
        if (recto_vm_table_create(sizeof(struct txn) * POOL, &table) != 0) {
            base_fatal("no memory for the directory's transactions");
        }
        pool = table;
    }
    uint32_t index = pool_free;
    if (index != 0) {
        pool_free = txn_at(index)->next;
    } else if (pool_used < POOL) {
        index = ++pool_used;
    } else {
        base_fatal("more than %d requests wait at one home", POOL);
    }
    memset(txn_at(index), 0, sizeof(struct txn));
    return index;
}

static void txn_free(uint32_t index)
{
    txn_at(index)->next = pool_free;
    pool_free = index;
}

void msi_home_finalize(void)
{
    if (pool != NULL) {
        recto_vm_unmap(pool, sizeof(struct txn) * POOL);
    }
    pool = NULL;
    pool_free = 0;
    pool_used = 0;
}

/* ---- directory --------------------------------------------------------------- */

static int home_domain(void)
{
    return net_domain();
}

bool msi_home_holds(const struct msi_segment *m, const struct msi_entry *e,
                    int rank)
{
    return holders_has(&m->holders, e->holders, rank);
}

static void holder_add(struct msi_segment *m, struct msi_entry *e, int rank)
{
    e->holders = holders_add(&m->holders, e->holders, rank);
}

static void holder_remove(struct msi_segment *m, struct msi_entry *e, int rank)
{
    e->holders = holders_remove(&m->holders, e->holders, rank);
}

void msi_home_own(struct msi_segment *m, uint64_t page, bool held)
{
    struct msi_entry *e = &m->directory[page];
    e->used = 1;
    e->owner = home_domain();
    for (int r = 0; held && r < net_size(); r++) {
        if (net_domain_of(r) == home_domain()) {
            holder_add(m, e, r);
        }
    }
}

void msi_home_forget(struct msi_segment *m, uint64_t page)
{
    struct msi_entry *e = &m->directory[page];
    RECTO_ASSERT(e->txn == 0);
    holders_clear(&m->holders, e->holders);
    memset(e, 0, sizeof *e);
}

struct msi_entry *msi_home_entry(struct msi_segment *m, uint64_t page)
{
    struct msi_entry *e = &m->directory[page];
    if (!e->used) {
        msi_home_own(m, page, m->s->eager);
    }
    return e;
}

/* The next holder at or after `rank`; -1 if none. */
static int holder_next(const struct msi_segment *m, const struct msi_entry *e,
                       int rank)
{
    return holders_next(&m->holders, e->holders, rank);
}

/* Has a domain a holder other than rank `but`? */
static bool domain_holds(const struct msi_segment *m, const struct msi_entry *e,
                         int domain, int but)
{
    for (int r = holder_next(m, e, 0); r >= 0; r = holder_next(m, e, r + 1)) {
        if (net_domain_of(r) == domain && r != but) {
            return true;
        }
    }
    return false;
}

/* ---- transactions -------------------------------------------------------------- */

static bool exclusive(const struct txn *t)
{
    return t->kind == EXCLUSIVE || t->kind == DROP;
}

static int requester_domain(const struct txn *t)
{
    return net_domain_of(t->request.source);
}

/* Must the transaction take this holder's rights (down)? */
static bool revokes(const struct txn *t, const struct msi_entry *e, int rank)
{
    int domain = net_domain_of(rank);
    if (t->kind == EVICT) {
        return false;
    }
    if (exclusive(t)) {
        return domain != requester_domain(t);
    }
    return domain == e->owner && domain != requester_domain(t);
}

static void revoke(struct msi_segment *m, struct txn *t, int rank,
                   unsigned flags)
{
    t->waiting++;
    msi_post(m, rank, exclusive(t) ? MSI_INVALIDATE : MSI_DOWNGRADE, t->page,
             flags);
}

static void txn_end(struct msi_segment *m, struct msi_entry *e);
static void grant(struct msi_segment *m, struct msi_entry *e, struct txn *t);
static void eviction_grant(struct msi_segment *m, struct msi_entry *e,
                           struct txn *t);

/* All rights are revoked: the directory follows, the requester gets the
 * page. */
static void settle(struct msi_segment *m, struct msi_entry *e, struct txn *t)
{
    if (t->kind == EVICT) {
        eviction_grant(m, e, t);
        return;
    }
    for (int r = holder_next(m, e, 0); exclusive(t) && r >= 0;
         r = holder_next(m, e, r + 1)) {
        if (revokes(t, e, r)) {
            holder_remove(m, e, r);
        }
    }
    if (exclusive(t)) {
        e->owner = requester_domain(t);
    } else if (e->owner != requester_domain(t)) {
        e->owner = MSI_OWNER_NONE;
    }
    if (t->kind == RECALL || t->kind == DROP) {
        /* pairs with the acquire in recall_wait */
        atomic_fetch_add_explicit(&m->recalled, 1, memory_order_release);
        net_futex_wake((const uint32_t *)&m->recalled, 1, false);
        txn_end(m, e);
        return;
    }
    grant(m, e, t);
}

static void grant(struct msi_segment *m, struct msi_entry *e, struct txn *t)
{
    int to = t->request.source;
    int domain = requester_domain(t);
    bool data = domain != home_domain() && !domain_holds(m, e, domain, NOBODY);
    holder_add(m, e, to);
    if (t->kind == EXCLUSIVE && domain != home_domain()) {
        space_before_write(m->s, t->page);
        space_dirty_mark(m->s, t->page);
    }
    t->granted = 1;
    enum msi_message ack =
        t->kind == EXCLUSIVE ? MSI_ACK_EXCLUSIVE : MSI_ACK_SHARE;
    if (data) {
        msi_post_page(m, to, ack, t->page, MSI_DATA,
                      space_verso(m->s, t->page));
    } else {
        msi_post(m, to, ack, t->page, 0);
    }
}

/* The requester, which has no right any more, gives its copy up. It may have lost
 * the page to others since it asked. */
static void eviction_grant(struct msi_segment *m, struct msi_entry *e,
                           struct txn *t)
{
    int from = t->request.source;
    int domain = requester_domain(t);
    unsigned flags = 0;
    RECTO_ASSERT(domain != home_domain());
    if (!domain_holds(m, e, domain, from)) {
        flags = e->owner == domain ? MSI_LAST | MSI_DATA : MSI_LAST;
    }
    t->granted = 1;
    msi_post(m, from, MSI_ACK_EVICT, t->page, flags);
}

/* The copy is given up; if it was the page, it has come home. */
static void eviction_done(struct msi_segment *m, struct msi_entry *e,
                          const struct txn *t)
{
    int domain = requester_domain(t);
    holder_remove(m, e, t->request.source);
    if (e->owner == domain && !domain_holds(m, e, domain, NOBODY)) {
        e->owner = MSI_OWNER_NONE;
    }
}

/* Asks the writer when it alone is left, settles when nobody is. */
static void advance(struct msi_segment *m, struct msi_entry *e, struct txn *t)
{
    if (t->waiting > 0) {
        return;
    }
    if (t->writer != NOBODY) {
        int writer = t->writer;
        t->writer = NOBODY;
        revoke(m, t, writer, MSI_DATA);
        return;
    }
    settle(m, e, t);
}

static void open(struct msi_segment *m, struct msi_entry *e, uint32_t index)
{
    struct txn *t = txn_at(index);
    e->txn = index;
    t->writer = NOBODY;
    bool needs_data = t->kind != EVICT && e->owner != MSI_OWNER_NONE &&
                      e->owner != home_domain() &&
                      e->owner != requester_domain(t);
    for (int r = holder_next(m, e, 0); r >= 0; r = holder_next(m, e, r + 1)) {
        if (!revokes(t, e, r)) {
            continue;
        }
        if (needs_data && t->writer == NOBODY && net_domain_of(r) == e->owner) {
            t->writer = r;
        } else {
            revoke(m, t, r, 0);
        }
    }
    RECTO_ASSERT(!needs_data || t->writer != NOBODY);
    advance(m, e, t);
}

static void txn_end(struct msi_segment *m, struct msi_entry *e)
{
    uint32_t index = e->txn;
    uint32_t next = txn_at(index)->first;
    e->txn = 0;
    if (next != 0) {
        txn_at(next)->first = txn_at(next)->next; /* the rest of the queue */
        txn_at(next)->last = txn_at(index)->last;
        txn_free(index);
        /* `last` may be the one that now opens: then its queue is empty */
        if (txn_at(next)->first == 0) {
            txn_at(next)->last = 0;
        }
        open(m, e, next);
        return;
    }
    txn_free(index);
    /* pairs with the acquire in quiesce: the entry is at rest */
    atomic_fetch_sub_explicit(&m->busy, 1, memory_order_release);
}

static enum kind kind_of(uint8_t type)
{
    return type == MSI_REQ_SHARE       ? SHARE
           : type == MSI_REQ_EXCLUSIVE ? EXCLUSIVE
           : type == MSI_REQ_EVICT     ? EVICT
           : type == MSI_RECALL        ? RECALL
                                       : DROP;
}

static void request(struct msi_segment *m, struct msi_entry *e,
                    const struct net_msg *msg)
{
    uint32_t index = txn_new();
    struct txn *t = txn_at(index);
    t->request = *msg;
    t->page = msg->a;
    t->kind = (uint8_t)kind_of(msg->type);
    if (e->txn == 0) {
        atomic_fetch_add_explicit(&m->busy, 1, memory_order_relaxed);
        open(m, e, index);
        return;
    }
    struct txn *head = txn_at(e->txn);
    if (head->last != 0) {
        txn_at(head->last)->next = index;
    } else {
        head->first = index;
    }
    head->last = index;
}

void msi_home_receive(struct msi_segment *m, const struct net_msg *msg)
{
    space_home_learn(m->s, msg->a);
    RECTO_ASSERT(space_home(m->s, msg->a) == net_rank());
    struct msi_entry *e = msi_home_entry(m, msg->a);
    size_t bytes = 0;
    const void *page = net_data(&bytes);
    if (page != NULL) { /* its last writer's, which is not of my machine */
        RECTO_ASSERT(bytes == SPACE_PAGE);
        memcpy(space_verso(m->s, msg->a), page, SPACE_PAGE);
    }
    switch (msg->type) {
    case MSI_REQ_SHARE:
    case MSI_REQ_EXCLUSIVE:
    case MSI_REQ_EVICT:
    case MSI_RECALL:
    case MSI_DROP: request(m, e, msg); break;
    case MSI_ACK_INVALIDATE:
    case MSI_WRITE_BACK: {
        struct txn *t = txn_at(e->txn);
        RECTO_ASSERT(e->txn != 0 && t->waiting > 0 && !t->granted);
        t->waiting--;
        advance(m, e, t);
        break;
    }
    default:
        RECTO_ASSERT(msg->type == MSI_DONE && e->txn != 0 &&
                     txn_at(e->txn)->granted);
        if (txn_at(e->txn)->kind == EVICT) {
            eviction_done(m, e, txn_at(e->txn));
        }
        txn_end(m, e);
        break;
    }
}
