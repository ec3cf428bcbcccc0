/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of a write, and what goes by message, because a home or a holder
 * is reached by MPI. See release.h.
 *
 *   reader                       home's service thread
 *     | fetch(pages) ------------> | registers, logs
 *     |      own service thread <- | page, with the bytes if they are few
 *     |      else gets them        |
 *
 *   writer                       home's service thread        holder's
 *     | diff, with the bytes if -> | else gets them; applies
 *     |   they are few             | notice (pages) ----------> | into its inbox
 *     | <--------- diffed (n) ---- |                            |
 *     |                            | <-------------- noticed ---|
 *     | <--------------- told ---- |                            |
 *
 * A thread of the program cannot send bytes; it hands them to its own service
 * thread (diff_out, tell).
 *
 * Invariants
 * 1. A struct rel_wait is done when `left` reaches 0. Each thing awaited counts
 *    WHOLE until it is known how many notices it caused, and then these; the
 *    waiter itself counts WHOLE until it has sent everything. So the sum is
 *    never 0 before the end, in whatever order answers arrive.
 * 2. The service thread waits for nobody. It has room for the differences of one
 *    message that it gets by itself; further ones wait (net_defer).
 * 3. Notices of one release for one rank travel together. They are noted under
 *    BUSY in `telling` and are sent later, which is as if they were slow.
 */
#include <recto/vm.h>
#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/release.h"
#include "space/snapshot.h"

enum rel_message {
    FETCH,     /* a = first page, b = wait, c = number, d = where to */
    PAGE,      /* the same, back; data = the pages, or none */
    GOT,       /* b = wait: they have been got */
    DIFF_OUT,  /* as DIFF, from a thread to its service thread; d = home */
    DIFF,      /* a = offset in the sender's staging, b = wait, c = bytes;
                  data = the records, or none */
    DIFF_HERE, /* the same: they have been got; source = the writer */
    DIFFED,    /* b = wait, c = notices sent by message */
    TELL,      /* a = list, b = wait, d = writer; to the own service thread */
    NOTICE,    /* b = wait, c = rank that tells, d = writer; data = pages */
    NOTICED,   /* the same, back to the rank that tells */
    TOLD,      /* b = wait; from the home to the writer */
    ATOMIC,    /* flags = operation, a = offset, b = wait, c, d = operands */
    ANSWER     /* b = wait, c = old value */
};

#define WHOLE (INT64_C(1) << 32)

/* A page's difference in the staging area; the packed bytes follow. */
struct record {
    uint64_t page;
    uint32_t bytes; /* packed, a multiple of 8 */
    uint32_t all;   /* as in rel_tell */
};

/* Notices that go by message: rank << 32 | page. Two lists, the releasing thread's
 * and the service thread's. */
enum {
    LIST_MOST = 16384,
    LIST_PAGES = NET_DATA / sizeof(uint32_t) /* in one message */
};

struct rel_list {
    _Atomic uint32_t busy; /* the service thread reads it; futex word */
    uint32_t count;
    uint64_t entries[LIST_MOST];
};

static struct {
    struct rel_list *lists; /* [0]: the releasing thread's */
    bool arriving;          /* rel.arriving is in use */
} far;

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

/* One more answer to come, of rank `from`: a home, or who the releasing rank itself
 * tells. */
static void wait_more(struct rel_wait *w, int from)
{
    w->from = from;
    atomic_fetch_add_explicit(&w->left, WHOLE, memory_order_relaxed);
}

static void wait_end(struct rel_wait *w, struct rel_segment *m)
{
    if (atomic_fetch_sub_explicit(&w->left, WHOLE, memory_order_acq_rel) ==
        WHOLE) {
        return;
    }
    net_await_begin();
    while (atomic_load_explicit(&w->done, memory_order_acquire) == 0) {
        if (net_futex_wait((const uint32_t *)&w->done, 0, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": rank %d on %s, or a rank that it had to tell, "
                       "did not answer within %s",
                       m->s->name, w->from, net_host(w->from),
                       base_env_name(BASE_ENV_TIMEOUT));
        }
    }
    net_await_end();
}

static void post(int target, enum rel_message type, struct net_msg msg)
{
    msg.service = NET_SERVICE_RELEASE;
    msg.type = (uint8_t)type;
    net_post(target, &msg);
}

/* The service thread only. */
static void post_data(int target, enum rel_message type, struct net_msg msg,
                      const void *data, size_t bytes)
{
    msg.service = NET_SERVICE_RELEASE;
    msg.type = (uint8_t)type;
    net_post_data(target, &msg, data, bytes);
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
        return atomic_fetch_or_explicit(&e->sharers, sharers_bit(rank) | flags,
                                        memory_order_seq_cst);
    }
    uint64_t old = atomic_load_explicit(&e->sharers, memory_order_seq_cst);
    uint64_t word = 0;
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

/* ---- notices ------------------------------------------------------------------------------- */

/* The service thread has done with it. It never waits here for itself: its own list
 * is never busy. */
static void list_wait(struct rel_list *list)
{
    while (atomic_load_explicit(&list->busy, memory_order_acquire) != 0) {
        (void)net_futex_wait((const uint32_t *)&list->busy, 1, 0, false);
    }
}

/* Sends the list, on the service thread, a message per rank. Returns how many. */
static int64_t list_send(struct rel_list *list, const struct net_msg *as)
{
    static _Alignas(8) uint32_t pages[LIST_PAGES]; /* the service thread only */
    int64_t sent = 0;
    rel_sort(list->entries, list->count);
    for (uint32_t i = 0; i < list->count; sent++) {
        int rank = (int)(list->entries[i] >> 32);
        uint32_t n = 0;
        for (; i < list->count && n < LIST_PAGES &&
               (int)(list->entries[i] >> 32) == rank;
             i++) {
            pages[n++] = (uint32_t)list->entries[i];
        }
        post_data(rank, NOTICE,
                  (struct net_msg){.object = as->object,
                                   .b = as->b,
                                   .c = (uint64_t)net_rank(),
                                   .d = as->d},
                  pages, n * sizeof *pages);
    }
    list->count = 0;
    return sent;
}

void rel_teller_send(struct rel_segment *m, struct rel_teller *teller)
{
    struct rel_list *list = teller->list;
    struct net_msg msg = {.object = m->s->id,
                          .a = (uintptr_t)list,
                          .b = teller->token,
                          .d = (uint64_t)teller->writer};
    list_wait(list);
    if (list->count == 0) {
        return;
    }
    if (list == &far.lists[1]) {
        teller->sent += list_send(list, &msg);
        return;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it goes round as one */
    wait_more((struct rel_wait *)(uintptr_t)teller->token,
              (int)(list->entries[0] >> 32));
    atomic_store_explicit(&list->busy, 1, memory_order_relaxed);
    post(net_rank(), TELL, msg);
}

/* The releasing thread's list, on the service thread. */
static void tell(const struct net_msg *msg)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    struct rel_list *list = (struct rel_list *)(uintptr_t)msg->a;
    int64_t sent = list_send(list, msg);
    atomic_store_explicit(&list->busy, 0, memory_order_release);
    net_futex_wake((const uint32_t *)&list->busy, 1, false);
    wait_settle(msg->b, WHOLE - sent);
}

/* What to do about the ranks to be told: first, under the entry's lock, those
 * whose inbox is in reach, and what goes by message is noted; then, without the
 * lock, the list of messages, which may be full. */
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
    } else if (what == TELL_FAR && !near) {
        if (teller->list->count == LIST_MOST) {
            rel_teller_send(m, teller);
        }
        list_wait(teller->list);
        teller->list->entries[teller->list->count++] =
            (uint64_t)rank << 32 | page;
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
    uint64_t word = 0;
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

/* Notices that this rank sent have arrived. */
static void noticed(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = 0;
    const uint32_t *pages = net_data(&bytes);
    for (size_t i = 0; i < bytes / sizeof *pages; i++) {
        struct rel_entry *e = rel_entry(m, pages[i]);
        entry_lock(e);
        if (--e->notices == 0) {
            atomic_store_explicit(&e->telling, 0, memory_order_relaxed);
        }
        entry_unlock(e);
    }
    if ((int)msg->d == net_rank()) {
        wait_settle(msg->b, 1);
    } else {
        post((int)msg->d, TOLD, (struct net_msg){.b = msg->b});
    }
}

/* Notices for this rank. */
static void notice_take(const struct net_msg *msg)
{
    size_t bytes = 0;
    const uint32_t *pages = net_data(&bytes);
    for (size_t i = 0; i < bytes / sizeof *pages; i++) {
        board_post(rel.inboxes[net_rank()],
                   (struct board_page){msg->object, pages[i]});
    }
    post_data((int)msg->c, NOTICED, *msg, pages, bytes);
}

/* ---- the faulting or releasing thread ------------------------------------------------------ */

void rel_far_begin(struct rel_wait *wait)
{
    wait_start(wait);
}

void rel_far_fetch(struct rel_segment *m, uint64_t first, uint64_t count,
                   char *to, struct rel_wait *wait)
{
    net_mpi_wait(m->s->recto + first * SPACE_PAGE);
    wait_more(wait, space_home(m->s, first));
    post(space_home(m->s, first), FETCH,
         (struct net_msg){.object = m->s->id,
                          .a = first,
                          .b = (uintptr_t)wait,
                          .c = count,
                          .d = (uintptr_t)to});
}

void rel_far_end(struct rel_wait *wait, struct rel_segment *m)
{
    wait_end(wait, m);
}

uint64_t rel_far_atomic(struct rel_segment *m, enum coherence_operation op,
                        uint64_t offset, uint64_t operand, uint64_t desired)
{
    struct rel_wait wait;
    wait_start(&wait);
    wait_more(&wait, space_home(m->s, offset / SPACE_PAGE));
    post(space_home(m->s, offset / SPACE_PAGE), ATOMIC,
         (struct net_msg){.object = m->s->id,
                          .flags = (uint16_t)op,
                          .a = offset,
                          .b = (uintptr_t)&wait,
                          .c = operand,
                          .d = desired});
    wait_end(&wait, m);
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
                                        .token = (uintptr_t)&stage->wait,
                                        .list = &far.lists[0]};
}

static void stage_send(struct rel_stage *stage)
{
    if (stage->used > stage->start) {
        wait_more(&stage->wait, stage->home);
        post(net_rank(), DIFF_OUT,
             (struct net_msg){.object = stage->m->s->id,
                              .a = stage->start,
                              .b = (uintptr_t)&stage->wait,
                              .c = stage->used - stage->start,
                              .d = (uint64_t)stage->home});
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
    rel_teller_send(stage->m, &stage->teller);
    wait_end(&stage->wait, stage->m);
}

/* ---- the service thread ------------------------------------------------------------------------ */

enum {
    RETRY_NS = 50000 /* too many one-sided operations are under way */
};

static void fetch_serve(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = msg->c * SPACE_PAGE;
    for (uint64_t p = msg->a; p < msg->a + msg->c; p++) {
        space_home_learn(m->s, p);
        rel_register(m, p, 1, msg->source);
    }
    post_data(msg->source, PAGE, *msg, space_verso(m->s, msg->a),
              bytes <= NET_DATA ? bytes : 0);
}

static void page_arrive(struct rel_segment *m, const struct net_msg *msg)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    char *to = (char *)(uintptr_t)msg->d;
    size_t bytes = 0;
    const void *data = net_data(&bytes);
    struct net_msg then = *msg;
    then.type = GOT;
    if (data != NULL) {
        memcpy(to, data, bytes);
        wait_settle(msg->b, WHOLE);
    } else if (!net_window_get(m->s->window, msg->source, msg->a * SPACE_PAGE,
                               to, msg->c * SPACE_PAGE, &then)) {
        net_defer(msg, base_now() + RETRY_NS);
    }
}

/* To a home, on behalf of a thread. */
static void diff_out(const struct net_msg *msg)
{
    post_data((int)msg->d, DIFF, *msg, rel.staging + msg->a,
              msg->c <= NET_DATA ? msg->c : 0);
}

static void diff_serve(struct rel_segment *m, const struct net_msg *msg,
                       const char *records)
{
    struct rel_teller teller = {
        .writer = msg->source, .token = msg->b, .list = &far.lists[1]};
    for (size_t at = 0; at < msg->c;) {
        struct record record;
        memcpy(&record, records + at, sizeof record);
        at += sizeof record;
        RECTO_ASSERT(record.page < m->s->pages && at + record.bytes <= msg->c);
        space_home_learn(m->s, record.page);
        if (record.bytes > 0) {
            space_before_write(m->s, record.page);
            diff_apply(space_verso(m->s, record.page), records + at,
                       record.bytes);
            space_dirty_mark(m->s, record.page);
        }
        at += record.bytes;
        (void)rel_tell(m, record.page, record.all != 0, false, &teller);
    }
    rel_teller_send(m, &teller);
    post(msg->source, DIFFED,
         (struct net_msg){.b = msg->b, .c = (uint64_t)teller.sent});
}

/* Differences that are too many to come along are got, a writer's at a time. */
static void diff_arrive(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = 0;
    const void *data = net_data(&bytes);
    struct net_msg then = *msg;
    then.type = DIFF_HERE;
    RECTO_ASSERT(msg->c <= rel_stage_bytes());
    if (data != NULL) {
        diff_serve(m, msg, data);
    } else if (far.arriving || !net_window_get(rel.window, msg->source, msg->a,
                                               rel.arriving, msg->c, &then)) {
        net_defer(msg, base_now() + RETRY_NS);
    } else {
        far.arriving = true;
    }
}

static void diff_here(struct rel_segment *m, const struct net_msg *msg)
{
    diff_serve(m, msg, rel.arriving);
    far.arriving = false;
}

static void atomic_serve(struct rel_segment *m, const struct net_msg *msg)
{
    uint64_t now = 0;
    uint64_t page = msg->a / SPACE_PAGE;
    space_home_learn(m->s, page);
    space_before_write(m->s, page);
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
    case DIFF: diff_arrive(m, msg); break;
    case DIFF_HERE: diff_here(m, msg); break;
    case NOTICED: noticed(m, msg); break;
    default: atomic_serve(m, msg); break;
    }
}

static void receive(const struct net_msg *msg)
{
    switch ((enum rel_message)msg->type) {
    case DIFFED: wait_settle(msg->b, WHOLE - (int64_t)msg->c); break;
    case TOLD: wait_settle(msg->b, 1); break;
    case GOT: wait_settle(msg->b, WHOLE); break;
    case DIFF_OUT: diff_out(msg); break;
    case TELL: tell(msg); break;
    case NOTICE: notice_take(msg); break;
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

int rel_far_start(void)
{
    void *lists = NULL;
    net_service_receiver(NET_SERVICE_RELEASE, receive);
    far.arriving = false;
    int r = recto_vm_table_create(2 * sizeof(struct rel_list), &lists);
    far.lists = lists;
    return r;
}

void rel_far_forget(void)
{
    if (far.lists != NULL) {
        recto_vm_unmap(far.lists, 2 * sizeof(struct rel_list));
        far.lists = NULL;
    }
}
