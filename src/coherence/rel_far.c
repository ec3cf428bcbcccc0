/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of a write, and what goes by message, because a home or a holder
 * is reached by MPI. See release.h.
 *
 *   reader                       home's service thread
 *     | fetch(pages) ------------> | registers, logs
 *     |      own service thread <- | page
 *     |      gets the bytes        |
 *
 *   writer                       home's service thread        holder's
 *     | diff(part of staging) ---> | gets the part, applies
 *     |                            | notice ------------------> | into its inbox
 *     | <--------- diffed (n) ---- |                            |
 *     |                            | <-------------- noticed ---|
 *     | <--------------- told ---- |                            |
 *
 * Invariants
 * 1. A struct rel_wait is done when `left` reaches 0. Each thing awaited counts
 *    WHOLE until it is known how many notices it caused, and then these; the
 *    waiter itself counts WHOLE until it has sent everything. So the sum is
 *    never 0 before the end, in whatever order answers arrive.
 * 2. The service thread waits for nobody: it gets bytes by one-sided operations
 *    and posts messages.
 */
#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/release.h"

enum rel_message {
    FETCH,   /* a = first page, b = wait, c = number, d = where to */
    PAGE,    /* the same, back */
    DIFF,    /* a = offset in the sender's staging, b = wait, c = bytes */
    DIFFED,  /* b = wait, c = notices sent by message */
    NOTICE,  /* a = page, b = wait, c = rank that tells, d = writer */
    NOTICED, /* the same, back to the rank that tells */
    TOLD,    /* b = wait; from the home to the writer */
    ATOMIC,  /* flags = operation, a = offset, b = wait, c, d = operands */
    ANSWER   /* b = wait, c = old value */
};

#define WHOLE (INT64_C(1) << 32)

/* A page's difference in the staging area; the packed bytes follow. */
struct record {
    uint64_t page;
    uint32_t bytes; /* packed, a multiple of 8 */
    uint32_t all;   /* as in rel_tell */
};

size_t rel_stage_bytes(void)
{
    return REL_BATCH * (sizeof(struct record) + DIFF_MOST + 8);
}

/* ---- waiting --------------------------------------------------------------------------- */

static void wait_start(struct rel_wait *w)
{
    atomic_store_explicit(&w->left, WHOLE, memory_order_relaxed);
    atomic_store_explicit(&w->done, 0, memory_order_relaxed);
}

static void wait_settle(uint64_t token, int64_t by)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    struct rel_wait *w = (struct rel_wait *)(uintptr_t)token;
    if (atomic_fetch_sub_explicit(&w->left, by, memory_order_acq_rel) == by) {
        /* *w may be gone after the store, so the wake is on an address only;
         * pairs with the acquire in wait_end */
        atomic_store_explicit(&w->done, 1, memory_order_release);
        net_futex_wake((const uint32_t *)&w->done, 1, false);
    }
}

static void wait_end(struct rel_wait *w, int64_t sent, struct rel_segment *m)
{
    if (atomic_fetch_sub_explicit(&w->left, WHOLE - sent,
                                  memory_order_acq_rel) == WHOLE - sent) {
        return;
    }
    while (atomic_load_explicit(&w->done, memory_order_acquire) == 0) {
        if (net_futex_wait((const uint32_t *)&w->done, 0, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": another rank's service thread did not answer "
                       "within %s",
                       m->s->name, base_env_name(BASE_ENV_TIMEOUT));
        }
    }
}

static void post(int target, enum rel_message type, struct net_msg msg)
{
    msg.service = NET_SERVICE_RELEASE;
    msg.type = (uint8_t)type;
    net_post(target, &msg);
}

/* ---- directory --------------------------------------------------------------------------- */

struct rel_entry *rel_entry(const struct rel_segment *m, uint64_t page)
{
    return &m->directories[net_domain_of(space_home(m->s, page))][page];
}

static void entry_lock(struct rel_entry *e)
{
    unsigned tries = 0;
    while (
        atomic_fetch_or_explicit(&e->sharers, REL_BUSY, memory_order_seq_cst) &
        REL_BUSY) {
        if (++tries % 64 == 0) {
            sched_yield();
        }
    }
}

static void entry_unlock(struct rel_entry *e)
{
    atomic_fetch_and_explicit(&e->sharers, ~REL_BUSY, memory_order_release);
}

enum {
    AHEAD = 8 /* entries asked for before they are needed */
};

/* SHARERS |= rank, and flags, in one step; returns the word before. A rank that is
 * found there is told by whoever clears it, which is later. */
static uint64_t reader_add(struct rel_entry *e, int rank, uint64_t flags)
{
    if (sharers_form.exact) {
        return atomic_fetch_or_explicit(
            &e->sharers, sharers_add(0, rank) | flags, memory_order_seq_cst);
    }
    uint64_t old = atomic_load_explicit(&e->sharers, memory_order_seq_cst);
    uint64_t word = old;
    do {
        word =
            sharers_add(old & REL_SHARERS, rank) | (old & ~REL_SHARERS) | flags;
    } while (word != old && !atomic_compare_exchange_weak_explicit(
                                &e->sharers, &old, word, memory_order_seq_cst,
                                memory_order_seq_cst));
    return old;
}

/* LOGGED is set when the entry is in the log: later readers rely on it. */
static void register_one(struct rel_segment *m, struct rel_entry *e,
                         uint64_t page, int rank)
{
    uint64_t old = reader_add(e, rank, 0);
    if ((old & REL_LOGGED) == 0) {
        int domain = net_domain_of(space_home(m->s, page));
        entry_lock(e);
        old = atomic_load_explicit(&e->sharers, memory_order_seq_cst);
        if ((old & REL_LOGGED) == 0) {
            board_post(rel.logs[domain],
                       (struct board_page){m->s->id, (uint32_t)page});
        }
        (void)reader_add(e, rank, REL_LOGGED);
        entry_unlock(e);
    }
}

void rel_register(struct rel_segment *m, uint64_t first, uint64_t count,
                  int rank)
{
    struct rel_entry *entries = rel_entry(m, first);
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(&entries[i + AHEAD], 1);
        register_one(m, &entries[i], first + i, rank);
    }
    atomic_thread_fence(memory_order_seq_cst); /* then the bytes are read */
}

/* What to do about the ranks to be told: first, under the entry's lock, those
 * whose inbox is in reach, and what goes by message is noted; then, without the
 * lock, the messages, for which there may be no room at once. */
enum tell {
    TELL_NEAR,
    TELL_FAR
};

static void notice(struct rel_segment *m, int rank, uint64_t page,
                   enum tell what, struct rel_teller *teller)
{
    struct rel_entry *e = rel_entry(m, page);
    bool near = net_shares(rank);
    if (what == TELL_NEAR && near) {
        board_post(rel.inboxes[rank],
                   (struct board_page){m->s->id, (uint32_t)page});
    } else if (what == TELL_NEAR) {
        uint64_t telling =
            atomic_load_explicit(&e->telling, memory_order_relaxed);
        atomic_store_explicit(&e->telling, sharers_add(telling, rank),
                              memory_order_relaxed);
        e->notices++;
    } else if (!near) {
        teller->sent++;
        post(rank, NOTICE,
             (struct net_msg){.object = m->s->id,
                              .a = page,
                              .b = teller->token,
                              .c = (uint64_t)net_rank(),
                              .d = (uint64_t)teller->writer});
    }
}

/* Goes over the ranks of a set, but those of the home's domain, which have no
 * copies, and of domain `but`. Returns how many there were. */
static uint64_t notices(struct rel_segment *m, uint64_t page, uint64_t set,
                        int but, enum tell what, struct rel_teller *teller)
{
    int home = net_domain_of(space_home(m->s, page));
    uint64_t count = 0;
    for (int r = sharers_next(set, 0); r != SHARERS_NOBODY;
         r = sharers_next(set, r + 1)) {
        int d = net_domain_of(r);
        if (d != home && d != but) {
            notice(m, r, page, what, teller);
            count++;
        }
    }
    return count;
}

static bool in_domain(int rank, int domain)
{
    return net_domain_of(rank) == domain;
}

/* Is there a reader outside a domain (-1: any), as far as a word can tell? */
static bool readers_outside(uint64_t word, int domain)
{
    uint64_t set = word & REL_SHARERS;
    if (sharers_form.exact) {
        return (set & ~(domain < 0 ? 0 : rel.domain_sharers[domain])) != 0;
    }
    for (int r = sharers_next(set, 0); r != SHARERS_NOBODY;
         r = sharers_next(set, r + 1)) {
        if (!in_domain(r, domain)) {
            return true;
        }
    }
    return false;
}

/* Clears SHARERS but for a domain; flags stay. Returns the word before. */
static uint64_t readers_clear(struct rel_entry *e, int domain)
{
    if (sharers_form.exact) {
        uint64_t keep = domain < 0 ? 0 : rel.domain_sharers[domain];
        return atomic_fetch_and_explicit(&e->sharers, keep | ~REL_SHARERS,
                                         memory_order_seq_cst);
    }
    uint64_t old = atomic_load_explicit(&e->sharers, memory_order_seq_cst);
    uint64_t word = old;
    do {
        word = sharers_keep(old & REL_SHARERS, in_domain, domain) |
               (old & ~REL_SHARERS);
    } while (!atomic_compare_exchange_weak_explicit(
        &e->sharers, &old, word, memory_order_seq_cst, memory_order_seq_cst));
    return old;
}

bool rel_tell(struct rel_segment *m, uint64_t page, bool all, bool last,
              struct rel_teller *teller)
{
    struct rel_entry *e = rel_entry(m, page);
    int domain = net_domain_of(teller->writer);
    int but = all ? -1 : domain;
    /* Home ranks do not read copies: a group that names one is no reason to stay. */
    bool home =
        !sharers_form.exact && domain == net_domain_of(space_home(m->s, page));
    /* Nobody to tell and nobody being told, in one moment after the bytes are
     * home: who registers later reads them. The usual case of data that each
     * rank writes for itself. (A group of several ranks may hide others.) */
    atomic_thread_fence(memory_order_seq_cst);
    if (!last) {
        uint64_t word = atomic_load_explicit(&e->sharers, memory_order_seq_cst);
        if ((word & REL_BUSY) == 0 && !readers_outside(word, but) &&
            atomic_load_explicit(&e->telling, memory_order_relaxed) == 0) {
            return false;
        }
    }
    entry_lock(e);
    uint64_t old = readers_clear(e, home ? -1 : but);
    uint64_t told =
        sharers_join(old & REL_SHARERS,
                     atomic_load_explicit(&e->telling, memory_order_relaxed));
    uint64_t count = notices(m, page, told, but, TELL_NEAR, teller);
    uint64_t word = REL_LOGGED | REL_BUSY;
    bool freed = last && told == 0 &&
                 ((old & REL_LOGGED) == 0 ||
                  atomic_compare_exchange_strong_explicit(
                      &e->sharers, &word, REL_BUSY, memory_order_seq_cst,
                      memory_order_seq_cst));
    entry_unlock(e);
    if (count > 0) {
        rel_count(&rel_counts.notices, count);
        notices(m, page, told, but, TELL_FAR, teller);
    }
    return freed;
}

/* A notice that this rank sent has arrived. */
static void noticed(struct rel_segment *m, const struct net_msg *msg)
{
    struct rel_entry *e = rel_entry(m, msg->a);
    entry_lock(e);
    if (--e->notices == 0) {
        atomic_store_explicit(&e->telling, 0, memory_order_relaxed);
    }
    entry_unlock(e);
    if ((int)msg->d == net_rank()) {
        wait_settle(msg->b, 1);
    } else {
        post((int)msg->d, TOLD, (struct net_msg){.b = msg->b});
    }
}

/* ---- the faulting or releasing thread ------------------------------------------------------ */

void rel_far_fetch(struct rel_segment *m, uint64_t first, uint64_t count,
                   char *to)
{
    struct rel_wait wait;
    net_mpi_wait(m->s->recto + first * SPACE_PAGE);
    wait_start(&wait);
    atomic_fetch_add_explicit(&wait.left, WHOLE, memory_order_relaxed);
    post(space_home(m->s, first), FETCH,
         (struct net_msg){.object = m->s->id,
                          .a = first,
                          .b = (uintptr_t)&wait,
                          .c = count,
                          .d = (uintptr_t)to});
    wait_end(&wait, 0, m);
}

uint64_t rel_far_atomic(struct rel_segment *m, enum coherence_operation op,
                        uint64_t offset, uint64_t operand, uint64_t desired)
{
    struct rel_wait wait;
    wait_start(&wait);
    atomic_fetch_add_explicit(&wait.left, WHOLE, memory_order_relaxed);
    post(space_home(m->s, offset / SPACE_PAGE), ATOMIC,
         (struct net_msg){.object = m->s->id,
                          .flags = (uint16_t)op,
                          .a = offset,
                          .b = (uintptr_t)&wait,
                          .c = operand,
                          .d = desired});
    wait_end(&wait, 0, m);
    return wait.value;
}

void rel_stage_start(struct rel_stage *stage, struct rel_segment *m)
{
    wait_start(&stage->wait);
    stage->m = m;
    stage->home = -1;
    stage->start = 0;
    stage->used = 0;
    stage->teller = (struct rel_teller){.writer = net_rank(),
                                        .token = (uintptr_t)&stage->wait};
}

static void stage_send(struct rel_stage *stage)
{
    if (stage->used > stage->start) {
        atomic_fetch_add_explicit(&stage->wait.left, WHOLE,
                                  memory_order_relaxed);
        post(stage->home, DIFF,
             (struct net_msg){.object = stage->m->s->id,
                              .a = stage->start,
                              .b = (uintptr_t)&stage->wait,
                              .c = stage->used - stage->start});
    }
    stage->start = stage->used;
}

void rel_stage_add(struct rel_stage *stage, uint64_t page, bool dirty, bool all)
{
    struct rel_segment *m = stage->m;
    int home = space_home(m->s, page);
    size_t changed = 0;
    struct record record = {.page = page, .all = all};
    char *at = rel.staging + stage->used;
    RECTO_ASSERT(stage->used + sizeof record + DIFF_MOST + 8 <=
                 rel_stage_bytes());
    size_t bytes = 0;
    if (dirty) {
        bytes = diff_pack(at + sizeof record, space_verso(m->s, page),
                          m->twins + page * SPACE_PAGE,
                          rel_writers(m, page) > 1 || rel_pinned_write(m, page),
                          &changed);
    }
    if (bytes == 0 && !all) {
        return; /* written, but nothing changed */
    }
    if (home != stage->home) {
        /* the message that was filled ends before this record */
        stage_send(stage);
        stage->home = home;
    }
    rel_count(&rel_counts.bytes_written, changed);
    record.bytes = (uint32_t)((bytes + 7) / 8 * 8);
    memcpy(at, &record, sizeof record);
    stage->used += sizeof record + record.bytes;
}

void rel_stage_finish(struct rel_stage *stage)
{
    stage_send(stage);
    wait_end(&stage->wait, stage->teller.sent, stage->m);
}

/* ---- the service thread ------------------------------------------------------------------------ */

static void transfer_check(int r, struct rel_segment *m)
{
    if (r != 0) {
        base_fatal("\"%s\": %s", m->s->name, recto_last_error());
    }
}

static void fetch_serve(struct rel_segment *m, const struct net_msg *msg)
{
    for (uint64_t p = msg->a; p < msg->a + msg->c; p++) {
        space_home_learn(m->s, p);
        rel_register(m, p, 1, msg->source);
    }
    post(msg->source, PAGE, *msg);
}

static void page_arrive(struct rel_segment *m, const struct net_msg *msg)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    char *to = (char *)(uintptr_t)msg->d;
    transfer_check(net_window_get(m->s->window, msg->source,
                                  msg->a * SPACE_PAGE, to, msg->c * SPACE_PAGE),
                   m);
    wait_settle(msg->b, WHOLE);
}

static void diff_serve(struct rel_segment *m, const struct net_msg *msg)
{
    struct rel_teller teller = {.writer = msg->source, .token = msg->b};
    RECTO_ASSERT(msg->c <= rel_stage_bytes());
    transfer_check(
        net_window_get(rel.window, msg->source, msg->a, rel.arriving, msg->c),
        m);
    for (size_t at = 0; at < msg->c;) {
        struct record record;
        memcpy(&record, rel.arriving + at, sizeof record);
        at += sizeof record;
        RECTO_ASSERT(record.page < m->s->pages && at + record.bytes <= msg->c);
        space_home_learn(m->s, record.page);
        if (record.bytes > 0) {
            diff_apply(space_verso(m->s, record.page), rel.arriving + at,
                       record.bytes);
            space_dirty_mark(m->s, record.page);
        }
        at += record.bytes;
        (void)rel_tell(m, record.page, record.all != 0, false, &teller);
    }
    post(msg->source, DIFFED,
         (struct net_msg){.b = msg->b, .c = (uint64_t)teller.sent});
}

static void atomic_serve(struct rel_segment *m, const struct net_msg *msg)
{
    uint64_t now = 0;
    uint64_t page = msg->a / SPACE_PAGE;
    space_home_learn(m->s, page);
    uint64_t old =
        rel_operate((enum coherence_operation)msg->flags,
                    space_verso(m->s, 0) + msg->a, msg->c, msg->d, &now);
    space_dirty_mark(m->s, page);
    post(msg->source, ANSWER, (struct net_msg){.b = msg->b, .c = old});
}

static void segment_receive(const struct net_msg *msg)
{
    struct space_segment *s = space_segment_by_id(msg->object);
    if (s == NULL) {
        base_fatal("release protocol: message %d for a segment that does not "
                   "exist",
                   msg->type);
    }
    struct rel_segment *m = s->coherence;
    switch ((enum rel_message)msg->type) {
    case FETCH: fetch_serve(m, msg); break;
    case PAGE: page_arrive(m, msg); break;
    case DIFF: diff_serve(m, msg); break;
    case NOTICED: noticed(m, msg); break;
    default: atomic_serve(m, msg); break;
    }
}

static void receive(const struct net_msg *msg)
{
    switch ((enum rel_message)msg->type) {
    case DIFFED: wait_settle(msg->b, WHOLE - (int64_t)msg->c); break;
    case TOLD: wait_settle(msg->b, 1); break;
    case NOTICE:
        board_post(rel.inboxes[net_rank()],
                   (struct board_page){msg->object, (uint32_t)msg->a});
        post((int)msg->c, NOTICED, *msg);
        break;
    case ANSWER: {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
        struct rel_wait *w = (struct rel_wait *)(uintptr_t)msg->b;
        w->value = msg->c;
        wait_settle(msg->b, WHOLE);
        break;
    }
    default: segment_receive(msg); break;
    }
}

void rel_far_init(void)
{
    net_service_receiver(NET_SERVICE_RELEASE, receive);
}
