/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol of a segment: attach, detach, recall. With one domain there is
 * nothing to keep coherent: every rank uses the same memory, all pages are
 * writable everywhere, no trap is set (but for pages that come late, lone.c) and no
 * message sent.
 *
 * Invariants
 * 1. A transaction may outlive the collective call that follows the access
 *    which started it: only its `done` is under way then. Evictions may start at
 *    any time. Whoever scans or frees a directory stops these and waits for all
 *    that first (rest).
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/lone.h"
#include "coherence/msi.h"
#include "coherence/release.h"
#include "space/snapshot.h"

enum {
    RECALLS = 256
}; /* under way at once */

static void receive(const struct net_msg *msg)
{
    struct space_segment *s = space_segment_by_id(msg->object);
    if (s == NULL) {
        base_fatal("page protocol: %s for a segment that does not exist",
                   msi_message_name((enum msi_message)msg->type));
    }
    switch ((enum msi_message)msg->type) {
    case MSI_ACK_SHARE:
    case MSI_ACK_EXCLUSIVE:
    case MSI_INVALIDATE:
    case MSI_DOWNGRADE:
    case MSI_ACK_EVICT:
    case MSI_SHRINK:
    case MSI_REVIVE: msi_page_receive(s->coherence, msg); break;
    default: msi_home_receive(s->coherence, msg); break;
    }
}

static int tables_create(struct msi_segment *m)
{
    void *pages = NULL;
    void *directory = NULL;
    uint64_t n = m->s->pages;
    int r = recto_vm_table_create(n * sizeof(uint32_t), &pages);
    r = r == 0 ? recto_vm_table_create(n * sizeof *m->directory, &directory)
               : r;
    r = r == 0 ? cache_ring_create(&m->ring, n) : r;
    m->pages = pages;
    m->directory = directory;
    return r;
}

static void tables_free(struct msi_segment *m)
{
    if (m->trap != NULL) {
        recto_vm_trap_remove(m->trap);
    }
    if (m->directory != NULL) {
        recto_vm_unmap(m->directory, m->s->pages * sizeof *m->directory);
    }
    holders_pool_free(&m->holders);
    cache_ring_free(&m->ring);
    if (m->pages != NULL) {
        recto_vm_unmap((void *)m->pages, m->s->pages * sizeof(uint32_t));
    }
    m->s->coherence = NULL;
    free(m);
}

/* The pages that start with rights are those that space granted: if the segment
 * is eager, the ones homed in my domain. */
static void states_start(struct msi_segment *m)
{
    for (uint64_t p = 0; m->s->eager && p < m->s->pages; p++) {
        if (recto_vm_right_of(m->s->range, p) == RECTO_VM_WRITE) {
            atomic_store_explicit(&m->pages[p], MSI_MODIFIED,
                                  memory_order_relaxed);
        }
    }
}

static int msi_attach(struct space_segment *s)
{
    struct msi_segment *m = calloc(1, sizeof *m);
    int r = net_service_start(true);
    if (r != 0) {
        free(m);
        m = NULL;
    } else if (m == NULL) {
        r = base_error(RECTO_ENOMEM, "page states of \"%s\"", s->name);
    } else {
        m->s = s;
        s->coherence = m;
        r = tables_create(m);
    }
    if (r == 0) {
        states_start(m);
        r = recto_vm_trap_add(s->recto, s->pages * SPACE_PAGE, msi_page_fault,
                              NULL, m, &m->trap);
    }
    r = net_verdict(r);
    if (r == 0) {
        msi_cache_link(m);
    } else if (m != NULL) {
        tables_free(m);
    }
    return r;
}

/* Waits for the transactions of my home pages, which wait for `done` only. */
static void quiesce(struct msi_segment *m)
{
    uint64_t start = base_now();
    /* pairs with the release in txn_end */
    while (atomic_load_explicit(&m->busy, memory_order_acquire) > 0) {
        if (net_timeout() > 0 && base_now() - start > net_timeout()) {
            base_fatal("\"%s\": pages are in use for longer than %s: a thread "
                       "accesses shared memory during a collective call, or a "
                       "rank did not answer",
                       m->s->name, base_env_name(BASE_ENV_TIMEOUT));
        }
        sched_yield();
    }
}

/* Nothing is under way in the segment, from any rank, until msi_cache_open. */
static int rest(struct msi_segment *m)
{
    msi_cache_close(m);
    int r = net_verdict(0);
    quiesce(m);
    return r;
}

static void msi_detach(struct space_segment *s)
{
    struct msi_segment *m = s->coherence;
    (void)rest(m);
    /* all homes are quiet before anybody's tables go */
    (void)net_verdict(0);
    msi_cache_unlink(m);
    tables_free(m);
}

static bool needs_recall(struct msi_segment *m, uint64_t page, bool drop)
{
    const struct msi_entry *e = &m->directory[page];
    if (!e->used) {
        return false;
    }
    return e->owner != net_domain() && (drop || e->owner != MSI_OWNER_NONE);
}

static void recall_wait(struct msi_segment *m, uint32_t until)
{
    for (;;) {
        /* pairs with the release in settle */
        uint32_t done =
            atomic_load_explicit(&m->recalled, memory_order_acquire);
        if ((int32_t)(done - until) >= 0) {
            return;
        }
        if (net_futex_wait((const uint32_t *)&m->recalled, done, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": a rank did not give its pages back within "
                       "%s",
                       m->s->name, base_env_name(BASE_ENV_TIMEOUT));
        }
    }
}

int msi_recall_start(struct msi_segment *m)
{
    int r = rest(m);
    m->recalls = atomic_load_explicit(&m->recalled, memory_order_relaxed);
    return r;
}

void msi_recall_run(struct msi_segment *m, uint64_t first, uint64_t count,
                    bool drop)
{
    for (uint64_t p = first; p < first + count; p++) {
        if (needs_recall(m, p, drop)) {
            m->recalls++;
            msi_post(m, net_rank(), drop ? MSI_DROP : MSI_RECALL, p, 0);
            recall_wait(m, m->recalls - RECALLS);
        }
    }
}

void msi_recall_end(struct msi_segment *m)
{
    recall_wait(m, m->recalls);
    quiesce(m);
}

static int msi_recall(struct space_segment *s, bool drop)
{
    struct msi_segment *m = s->coherence;
    uint64_t first = 0;
    uint64_t count = 0;
    int r = msi_recall_start(m);
    while (r == 0 &&
           space_home_run(s, net_rank(), first + count, &first, &count)) {
        msi_recall_run(m, first, count, drop);
    }
    msi_recall_end(m);
    r = net_verdict(r);
    msi_cache_open(m);
    return r;
}

/* ---- both protocols --------------------------------------------------------------- */

static bool releases(const struct space_segment *s)
{
    return s->attr.consistency == RECTO_RELEASE;
}

static uint64_t coherence_memory(const struct space_segment *s)
{
    return net_domains() > 1 && releases(s) ? rel_memory(s) : 0;
}

static int coherence_attach(struct space_segment *s)
{
    s->coherence = NULL;
    if (net_domains() == 1) {
        return s->lazy && !recto_vm_hides(s->range) ? lone_attach(s) : 0;
    }
    return releases(s) ? rel_attach(s) : msi_attach(s);
}

static void coherence_detach(struct space_segment *s)
{
    if (s->lone != NULL) {
        lone_detach(s);
    }
    if (s->coherence != NULL) {
        if (releases(s)) {
            rel_detach(s);
        } else {
            msi_detach(s);
        }
    }
}

int coherence_recall(struct space_segment *s, bool drop)
{
    /* from now on each page has one home, which knows that it is */
    int settled = space_homes_settle(s);
    int r = s->coherence == NULL ? net_verdict(0)
            : releases(s)        ? rel_recall(s, drop)
                                 : msi_recall(s, drop);
    return r == 0 ? settled : r;
}

static struct {
    uint64_t (*begin)(void);
    void (*end)(uint64_t ticket);
} on_release;

void coherence_on_release(uint64_t (*begin)(void), void (*end)(uint64_t))
{
    on_release.begin = begin;
    on_release.end = end;
}

void coherence_release(void)
{
    uint64_t ticket = on_release.begin != NULL ? on_release.begin() : 0;
    rel_release();
    if (ticket != 0) {
        on_release.end(ticket);
    }
}

void coherence_acquire(void)
{
    rel_acquire();
}

/* The pages of a part of release consistent memory; NULL for other memory. */
static struct rel_segment *pages_of(const void *p, uint64_t bytes,
                                    uint64_t *first, uint64_t *count)
{
    struct space_segment *s = net_domains() > 1 ? space_segment_at(p) : NULL;
    if (s == NULL || !releases(s) || bytes == 0) {
        return NULL;
    }
    uint64_t offset = (uint64_t)((const char *)p - s->recto);
    uint64_t most = s->pages * SPACE_PAGE - offset;
    uint64_t end = offset + (bytes < most ? bytes : most);
    *first = offset / SPACE_PAGE;
    *count = (end + SPACE_PAGE - 1) / SPACE_PAGE - *first;
    return s->coherence;
}

void coherence_prefetch(const void *p, uint64_t bytes)
{
    uint64_t first = 0;
    uint64_t count = 0;
    struct rel_segment *m = pages_of(p, bytes, &first, &count);
    if (m != NULL) {
        space_homes_ask(m->s, first, count);
        rel_prefetch(m, first, count);
    }
}

void coherence_release_range(const void *p, uint64_t bytes)
{
    uint64_t first = 0;
    uint64_t count = 0;
    struct rel_segment *m = pages_of(p, bytes, &first, &count);
    if (m != NULL) {
        rel_release_range(m, first, count);
    }
}

void coherence_drop(const void *p, uint64_t bytes)
{
    uint64_t first = 0;
    uint64_t count = 0;
    struct rel_segment *m = pages_of(p, bytes, &first, &count);
    if (m != NULL) {
        rel_drop(m, first, count);
    }
}

/* ---- times ---------------------------------------------------------------------- */

static struct {
    bool measured;
    uint64_t barriers; /* so far: the program's thread */
    _Atomic uint64_t fault_ns;
    _Atomic uint64_t barrier_ns;
} times;

uint64_t coherence_clock(void)
{
    return times.measured || base_tracing() ? base_now() : 0;
}

/* How long it was, not 0; 0: it was not measured. */
static uint64_t took(_Atomic uint64_t *total, uint64_t start)
{
    if (start == 0) {
        return 0;
    }
    uint64_t ns = base_now() - start;
    atomic_fetch_add_explicit(total, ns, memory_order_relaxed);
    return ns > 0 ? ns : 1;
}

void coherence_fault_took(const struct recto_vm_fault *fault,
                          enum trace_fault what, uint64_t start)
{
    uint64_t ns = took(&times.fault_ns, start);
    if (base_tracing()) {
        base_trace_add(&(struct base_event){
            .kind = TRACE_FAULT,
            .what = what,
            .flags = fault->access == RECTO_VM_ACCESS_WRITE ? TRACE_WRITES : 0U,
            .e = {.start = start,
                  .ns = ns,
                  .at = (uintptr_t)fault->address,
                  .pc = (uintptr_t)fault->instruction}
        });
    }
}

void coherence_barrier_took(uint64_t start, const void *caller)
{
    uint64_t ns = took(&times.barrier_ns, start);
    if (base_tracing()) {
        base_trace_add(&(struct base_event){
            .kind = TRACE_BARRIER,
            .e = {.start = start,
                  .ns = ns,
                  .at = times.barriers,
                  .pc = (uintptr_t)caller}
        });
    }
    times.barriers++;
}

void coherence_fetched(const struct space_segment *s, uint64_t page,
                       uint64_t count, int home)
{
    if (base_tracing()) {
        base_trace_add(&(struct base_event){
            .kind = TRACE_IN,
            .e = {.start = base_trace_clock(),
                  .ns = 1,
                  .at = (uintptr_t)s->recto + page * SPACE_PAGE,
                  .bytes = count * SPACE_PAGE,
                  .peer = home,
                  .pages = (uint32_t)count}
        });
    }
}

void coherence_sent(const struct space_segment *s, uint64_t page, int home,
                    const uint32_t *range, uint64_t changed, uint64_t now)
{
    if (changed > 0 && now != 0) {
        base_trace_add(&(struct base_event){
            .kind = TRACE_OUT,
            .e = {.start = now,
                  .ns = 1,
                  .at = (uintptr_t)s->recto + page * SPACE_PAGE,
                  .bytes = changed,
                  .low = range[0],
                  .high = range[1],
                  .peer = home,
                  .pages = 1}
        });
    }
}

uint64_t coherence_written(void)
{
    return atomic_load_explicit(&rel.pending, memory_order_relaxed);
}

static int times_start(void)
{
    uint64_t wanted = 0;
    int r = base_env_u64(BASE_ENV_STATS, &wanted);
    times.measured = wanted != 0;
    times.barriers = 0;
    times.fault_ns = 0;
    times.barrier_ns = 0;
    return r;
}

/* ---- atomics and counters -------------------------------------------------------- */

bool coherence_atomic(enum coherence_operation op, void *p, uint64_t operand,
                      uint64_t desired, uint64_t *old)
{
    struct space_segment *s = net_domains() > 1 ? space_segment_at(p) : NULL;
    if (s == NULL || !releases(s)) {
        return false;
    }
    *old = rel_atomic(s->coherence, op, (uint64_t)((char *)p - s->recto),
                      operand, desired);
    return true;
}

void coherence_stats(recto_counters *c)
{
#define GET(field)                                                             \
    (atomic_load_explicit(&msi_counts.field, memory_order_relaxed) +           \
     atomic_load_explicit(&rel_counts.field, memory_order_relaxed))
    c->read_misses = GET(read_misses);
    c->write_misses = GET(write_misses);
    c->upgrades = GET(upgrades);
    c->invalidations = GET(invalidations);
    c->bytes_fetched = GET(bytes_fetched);
    c->bytes_written = GET(bytes_written);
    c->evictions = GET(evictions);
#undef GET
    c->downgrades =
        atomic_load_explicit(&msi_counts.downgrades, memory_order_relaxed);
    c->fault_ns = atomic_load_explicit(&times.fault_ns, memory_order_relaxed);
    c->barrier_ns =
        atomic_load_explicit(&times.barrier_ns, memory_order_relaxed);
    c->notices =
        atomic_load_explicit(&rel_counts.notices, memory_order_relaxed);
    c->diffs = atomic_load_explicit(&rel_counts.diffs, memory_order_relaxed);
}

int coherence_init(const struct space_protocol **protocol)
{
    static const struct space_protocol both = {
        coherence_memory, coherence_attach, coherence_detach};
    net_service_receiver(NET_SERVICE_COHERENCE, receive);
    *protocol = &both;
    int r = times_start();
    r = r == 0 ? coherence_calls_start() : r;
    return r == 0 ? msi_page_init() : r;
}

int coherence_start(void)
{
    holders_init(net_size());
    return rel_start();
}

void coherence_stop(void)
{
    coherence_calls_stop();
    rel_end();
}

void coherence_finalize(void)
{
    msi_home_finalize();
    rel_forget();
}

/* ---- recto_check_all ----------------------------------------------------------- */

int recto_check_all(void)
{
    int r = net_agree(NET_CALL_CHECK_ALL, 0, "recto_check_all()");
    if (r == 0) {
        space_land(); /* no other thread looks at lists of homes */
    }
    for (struct space_segment *s = space_segment_first(); s != NULL && r == 0;
         s = s->next) {
        r = space_homes_check(s);
        if (r != 0) {
            break;
        }
        if (s->coherence != NULL && releases(s)) {
            r = rel_check(s);
        } else if (s->coherence != NULL) {
            r = rest(s->coherence);
            r = r == 0 ? net_verdict(0) : r;
            r = r == 0 ? net_verdict(msi_check(s->coherence)) : r;
            msi_cache_open(s->coherence);
        }
    }
    return r == 0 ? net_verdict(recto_vm_check()) : r;
}
