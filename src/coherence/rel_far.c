/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes by message, because a home or a holder is reached by MPI. See
 * release.h.
 *
 *   reader                       home's service thread
 *     | fetch(pages) ------------> | registers, logs
 *     |      own service thread <- | page, with the bytes if they are few
 *     |      else gets them        |
 *
 *   writer                       home's service thread        holder's
 *     | diff, with the bytes if -> | else gets them; applies
 *     |   they are few             | notice (pages) ----------> | into its inbox
 *     |                            | <-------------- noticed ---|
 *     | <--------------- told ---- |   (rel_tell.c)             |
 *
 * A thread of the program cannot send bytes; it hands them to its own service
 * thread (diff_out, tell).
 *
 * Invariants
 * 1. A struct rel_wait is done when `left` reaches 0. The waiter itself counts as
 *    one until it has sent everything, so that is never before the end, in whatever
 *    order answers arrive.
 * 2. The service thread waits for nobody: a request for a page that is not loaded yet
 *    is put off (net_defer). It has room for the differences of one message that it
 *    gets by itself; further ones are put off.
 */
#include <string.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/rel_message.h"
#include "coherence/release.h"
#include "space/lazy.h"
#include "space/snapshot.h"

/* A page's difference in the staging area; the packed bytes follow. */
struct record {
    uint64_t page;
    uint32_t bytes; /* packed, a multiple of 8 */
    uint32_t all;   /* as in rel_tell */
};

/* rel.arriving is in use; the service thread's. */
static bool arriving;

size_t rel_stage_bytes(void)
{
    return REL_BATCH * (sizeof(struct record) + DIFF_MOST + 8);
}

/* ---- waiting --------------------------------------------------------------------------- */

static void wait_start(struct rel_wait *w)
{
    atomic_store_explicit(&w->left, 1, memory_order_relaxed);
    atomic_store_explicit(&w->done, 0, memory_order_relaxed);
}

void rel_wait_settle(uint64_t token)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    struct rel_wait *w = (struct rel_wait *)(uintptr_t)token;
    if (atomic_fetch_sub_explicit(&w->left, 1, memory_order_acq_rel) == 1) {
        /* *w may be gone after the store, so the wake is on an address only;
         * pairs with the acquire in wait_end */
        atomic_store_explicit(&w->done, 1, memory_order_release);
        net_futex_wake((const uint32_t *)&w->done, 1, false);
    }
}

/* One more answer to come, of rank `from`: a home, or whom a release waits for. */
static void wait_more(struct rel_wait *w, int from)
{
    w->from = from;
    atomic_fetch_add_explicit(&w->left, 1, memory_order_relaxed);
}

static void wait_end(struct rel_wait *w, struct rel_segment *m)
{
    if (atomic_fetch_sub_explicit(&w->left, 1, memory_order_acq_rel) == 1) {
        return;
    }
    net_await_begin();
    while (atomic_load_explicit(&w->done, memory_order_acquire) == 0) {
        if (net_futex_wait((const uint32_t *)&w->done, 0, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": rank %d on %s, or a rank that it had to tell, "
                       "did not answer within %s; raise it if that rank is "
                       "only slow",
                       m->s->name, w->from, net_host(w->from),
                       base_env_name(BASE_ENV_TIMEOUT));
        }
    }
    net_await_end();
}

void rel_post(int target, enum rel_message type, struct net_msg msg)
{
    msg.service = NET_SERVICE_RELEASE;
    msg.type = (uint8_t)type;
    net_post(target, &msg);
}

void rel_post_data(int target, enum rel_message type, struct net_msg msg,
                   const void *data, size_t bytes)
{
    msg.service = NET_SERVICE_RELEASE;
    msg.type = (uint8_t)type;
    net_post_data(target, &msg, data, bytes);
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
    rel_post(space_home(m->s, first), MSG_FETCH,
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
    rel_post(space_home(m->s, offset / SPACE_PAGE), MSG_ATOMIC,
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
    stage->now = base_trace_clock();
    stage->home = -1;
    stage->start = 0;
    stage->used = 0;
    rel_teller_start(&stage->teller, net_rank(), (uintptr_t)&stage->wait);
}

static void stage_send(struct rel_stage *stage)
{
    if (stage->used > stage->start) {
        wait_more(&stage->wait, stage->home);
        rel_post(net_rank(), MSG_DIFF_OUT,
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
    uint32_t range[2] = {0, 0};
    struct record record = {.page = page, .all = all};
    char *at = rel.staging + stage->used;
    RECTO_ASSERT(stage->used + sizeof record + DIFF_MOST + 8 <=
                 rel_stage_bytes());
    size_t bytes = 0;
    if (dirty) {
        bytes = diff_pack(at + sizeof record, space_verso(m->s, page),
                          m->twins + page * SPACE_PAGE,
                          rel_writers(m, page) > 1 || rel_pinned_write(m, page),
                          &changed, stage->now != 0 ? range : NULL);
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
    coherence_sent(m->s, page, home, range, changed, stage->now);
    record.bytes = (uint32_t)((bytes + 7) / 8 * 8);
    memcpy(at, &record, sizeof record);
    stage->used += sizeof record + record.bytes;
}

void rel_stage_finish(struct rel_stage *stage)
{
    stage_send(stage);
    rel_teller_send(stage->m, &stage->teller);
    wait_more(&stage->wait,
              stage->home >= 0 ? stage->home : stage->teller.from);
    rel_teller_finish(&stage->teller);
    wait_end(&stage->wait, stage->m);
}

/* ---- the service thread ------------------------------------------------------------------------ */

enum {
    RETRY_NS =
        50000 /* too many one-sided operations are under way; a page that is
                        not loaded yet */
};

static void fetch_serve(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = msg->c * SPACE_PAGE;
    for (uint64_t p = msg->a; p < msg->a + msg->c; p++) {
        space_home_learn(m->s, p);
    }
    if (!space_may_touch(m->s, msg->a, msg->c)) {
        net_defer(msg, base_now() + RETRY_NS);
        return;
    }
    for (uint64_t p = msg->a; p < msg->a + msg->c; p++) {
        rel_register(m, p, 1, msg->source);
    }
    rel_post_data(msg->source, MSG_PAGE, *msg, space_verso(m->s, msg->a),
                  bytes <= NET_DATA ? bytes : 0);
}

static void page_arrive(struct rel_segment *m, const struct net_msg *msg)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    char *to = (char *)(uintptr_t)msg->d;
    size_t bytes = 0;
    const void *data = net_data(&bytes);
    struct net_msg then = *msg;
    then.type = MSG_GOT;
    if (data != NULL) {
        memcpy(to, data, bytes);
        rel_wait_settle(msg->b);
    } else if (!net_window_get(m->s->window, msg->source, msg->a * SPACE_PAGE,
                               to, msg->c * SPACE_PAGE, &then)) {
        net_defer(msg, base_now() + RETRY_NS);
    }
}

/* To a home, on behalf of a thread. */
static void diff_out(const struct net_msg *msg)
{
    rel_post_data((int)msg->d, MSG_DIFF, *msg, rel.staging + msg->a,
                  msg->c <= NET_DATA ? msg->c : 0);
}

static void diff_serve(struct rel_segment *m, const struct net_msg *msg,
                       const char *records)
{
    struct rel_teller teller;
    rel_teller_start(&teller, msg->source, msg->b);
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
    rel_teller_finish(&teller);
}

/* Differences that are too many to come along are got, a writer's at a time. */
static void diff_arrive(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = 0;
    const void *data = net_data(&bytes);
    struct net_msg then = *msg;
    then.type = MSG_DIFF_HERE;
    RECTO_ASSERT(msg->c <= rel_stage_bytes());
    if (data != NULL) {
        diff_serve(m, msg, data);
    } else if (arriving || !net_window_get(rel.window, msg->source, msg->a,
                                           rel.arriving, msg->c, &then)) {
        net_defer(msg, base_now() + RETRY_NS);
    } else {
        arriving = true;
    }
}

static void diff_here(struct rel_segment *m, const struct net_msg *msg)
{
    diff_serve(m, msg, rel.arriving);
    arriving = false;
}

static void atomic_serve(struct rel_segment *m, const struct net_msg *msg)
{
    uint64_t now = 0;
    uint64_t page = msg->a / SPACE_PAGE;
    space_home_learn(m->s, page);
    if (!space_may_touch(m->s, page, 1)) {
        net_defer(msg, base_now() + RETRY_NS);
        return;
    }
    space_before_write(m->s, page);
    uint64_t old =
        rel_operate((enum coherence_operation)msg->flags,
                    space_verso(m->s, 0) + msg->a, msg->c, msg->d, &now);
    space_dirty_mark(m->s, page);
    rel_post(msg->source, MSG_ANSWER, (struct net_msg){.b = msg->b, .c = old});
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
    case MSG_FETCH: fetch_serve(m, msg); break;
    case MSG_PAGE: page_arrive(m, msg); break;
    case MSG_DIFF: diff_arrive(m, msg); break;
    case MSG_DIFF_HERE: diff_here(m, msg); break;
    case MSG_NOTICED: rel_noticed_receive(m, msg); break;
    default: atomic_serve(m, msg); break;
    }
}

static void receive(const struct net_msg *msg)
{
    switch ((enum rel_message)msg->type) {
    case MSG_TOLD:
    case MSG_GOT: rel_wait_settle(msg->b); break;
    case MSG_DIFF_OUT: diff_out(msg); break;
    case MSG_TELL: rel_tell_receive(msg); break;
    case MSG_NOTICE: rel_notice_receive(msg); break;
    case MSG_ANSWER: {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
        struct rel_wait *w = (struct rel_wait *)(uintptr_t)msg->b;
        w->value = msg->c;
        rel_wait_settle(msg->b);
        break;
    }
    default: segment_receive(msg); break;
    }
}

int rel_far_start(void)
{
    net_service_receiver(NET_SERVICE_RELEASE, receive);
    arriving = false;
    return rel_tell_start();
}

void rel_far_forget(void)
{
    rel_tell_forget();
}
