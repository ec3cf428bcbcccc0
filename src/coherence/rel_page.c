/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank's pages under release consistency: page locks, and faults. See
 * release.h for the protocol.
 *
 * Invariants
 * 1. A fault handler locks its page, and then only pages that follow it and are
 *    free (rel_trylock), so it never waits for a lock while it holds one. It
 *    makes room in the cache after it has dropped them.
 * 2. Pages of my domain that it gives rights to are present (space/lazy.h).
 * 3. It calls neither MPI nor malloc: what lies across machines is asked of the
 *    service thread.
 */
#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/release.h"
#include "space/lazy.h"

enum {
    SPINS = 100
};

/* ---- page locks ------------------------------------------------------------------- */

bool rel_trylock(struct rel_segment *m, uint64_t page)
{
    uint32_t word = atomic_load_explicit(&m->words[page], memory_order_relaxed);
    return (word & REL_LOCK) == 0 &&
           atomic_compare_exchange_strong_explicit(
               &m->words[page], &word, word | REL_LOCK, memory_order_acquire,
               memory_order_relaxed);
}

static void lock_wait(struct rel_segment *m, uint64_t page)
{
    _Atomic uint32_t *at = &m->words[page];
    uint32_t word = atomic_load_explicit(at, memory_order_relaxed);
    if ((word & REL_LOCK) == 0 ||
        ((word & REL_WAITERS) == 0 &&
         !atomic_compare_exchange_strong_explicit(at, &word, word | REL_WAITERS,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed))) {
        return;
    }
    if (net_futex_wait((const uint32_t *)at, word | REL_WAITERS, net_timeout(),
                       true) != 0) {
        base_fatal("page %lu of \"%s\" is in use by another thread of this "
                   "domain for longer than %s",
                   (unsigned long)page, m->s->name,
                   base_env_name(BASE_ENV_TIMEOUT));
    }
}

void rel_lock(struct rel_segment *m, uint64_t page)
{
    for (unsigned tries = 0; !rel_trylock(m, page); tries++) {
        if (tries > SPINS) {
            lock_wait(m, page);
        }
    }
}

void rel_unlock(struct rel_segment *m, uint64_t page)
{
    uint32_t word = atomic_fetch_and_explicit(
        &m->words[page], ~(uint32_t)(REL_LOCK | REL_WAITERS),
        memory_order_release);
    RECTO_ASSERT(word & REL_LOCK);
    if (word & REL_WAITERS) {
        net_futex_wake((const uint32_t *)&m->words[page], INT32_MAX, true);
    }
}

uint32_t rel_writers(const struct rel_segment *m, uint64_t page)
{
    uint32_t word = atomic_load_explicit(&m->words[page], memory_order_relaxed);
    return (word & REL_WRITERS) / REL_WRITER;
}

void rel_writer_add(struct rel_segment *m, uint64_t page, int by)
{
    atomic_fetch_add_explicit(&m->words[page], (uint32_t)by * REL_WRITER,
                              memory_order_relaxed);
}

/* ---- flags and lists ---------------------------------------------------------------- */

bool rel_is_home(const struct rel_segment *m, uint64_t page)
{
    return net_domain_of(space_home(m->s, page)) == net_domain();
}

void rel_check_code(struct rel_segment *m, uint64_t page, int code)
{
    if (code == RECTO_ENOMEM) {
        space_shortage(m->s->recto + page * SPACE_PAGE, false);
        (void)raise(SIGBUS);
    }
    if (code != 0) {
        base_fatal("page %lu of \"%s\": %s", (unsigned long)page, m->s->name,
                   recto_last_error());
    }
}

void rel_list(struct rel_segment *m, uint64_t page, unsigned flag)
{
    uint8_t flags = atomic_load_explicit(&m->flags[page], memory_order_relaxed);
    if (flags & flag) {
        return; /* listed, or in a batch that waits for the lock */
    }
    atomic_store_explicit(&m->flags[page], (uint8_t)(flags | flag),
                          memory_order_relaxed);
    /* first, so that it never counts too little */
    atomic_fetch_add_explicit(&rel.pending, 1, memory_order_relaxed);
    if (!base_set_add(&m->listed, page)) {
        atomic_fetch_sub_explicit(&rel.pending, 1, memory_order_relaxed);
    }
}

/* ---- fetching ---------------------------------------------------------------------------- */

static char *bounce_take(void)
{
    for (;;) {
        uint64_t used =
            atomic_load_explicit(&rel.bounce_used, memory_order_relaxed);
        if (used != UINT64_MAX) {
            int i = __builtin_ctzll(~used);
            if (atomic_compare_exchange_strong_explicit(
                    &rel.bounce_used, &used, used | (uint64_t)1 << i,
                    memory_order_acquire, memory_order_relaxed)) {
                return rel.bounce + (size_t)i * SPACE_PAGE;
            }
        }
        sched_yield();
    }
}

static void bounce_give(const char *page)
{
    uint64_t i = (uint64_t)(page - rel.bounce) / SPACE_PAGE;
    atomic_fetch_and_explicit(&rel.bounce_used, ~((uint64_t)1 << i),
                              memory_order_release);
}

/* Pages from `first` on that no rank of my domain has written. */
static uint64_t unwritten(const struct rel_segment *m, uint64_t first,
                          uint64_t end)
{
    uint64_t p = first;
    while (p < end && rel_writers(m, p) == 0) {
        p++;
    }
    return p - first;
}

static void fetch_near(struct rel_segment *m, uint64_t first, uint64_t count)
{
    int domain = net_domain_of(space_home(m->s, first));
    const char *home = m->s->versos[domain];
    space_before_touch(m->s, first, count);
    rel_register(m, first, count, net_rank());
    for (uint64_t p = first; p < first + count;) {
        uint64_t n = unwritten(m, p, first + count);
        if (n > 0) {
            diff_copy(space_verso(m->s, p), home + p * SPACE_PAGE,
                      n * SPACE_PAGE);
        } else {
            n = 1;
            diff_patch(space_verso(m->s, p), m->twins + p * SPACE_PAGE,
                       home + p * SPACE_PAGE);
        }
        p += n;
    }
}

/* Asks for those of the pages of a far home that have no twin. */
static void far_ask(struct rel_segment *m, uint64_t first, uint64_t count,
                    struct rel_wait *wait)
{
    for (uint64_t p = first; p < first + count;) {
        uint64_t n = unwritten(m, p, first + count);
        if (n > 0) {
            rel_far_fetch(m, p, n, space_verso(m->s, p), wait);
        }
        p += n > 0 ? n : 1;
    }
}

/* The others, one by one. */
static void far_patch(struct rel_segment *m, uint64_t first, uint64_t count)
{
    for (uint64_t p = first; p < first + count; p++) {
        if (rel_writers(m, p) == 0) {
            continue;
        }
        struct rel_wait wait;
        char *bounce = bounce_take();
        rel_far_begin(&wait);
        rel_far_fetch(m, p, 1, bounce, &wait);
        rel_far_end(&wait, m);
        diff_patch(space_verso(m->s, p), m->twins + p * SPACE_PAGE, bounce);
        bounce_give(bounce);
    }
}

/* Pages from `first` on, at most `most`, that have its home. */
static uint64_t home_stretch(const struct rel_segment *m, uint64_t first,
                             uint64_t most)
{
    return most <= 1 ? 1 : space_home_stretch(m->s, first, most);
}

enum part {
    ASK,  /* far homes, which answer while I copy */
    COPY, /* near homes */
    PATCH /* what is left of the far */
};

static void fetch_part(struct rel_segment *m, uint64_t first, uint64_t count,
                       enum part part, struct rel_wait *wait)
{
    for (uint64_t p = first; p < first + count;) {
        uint64_t n = home_stretch(m, p, first + count - p);
        int home = space_home(m->s, p);
        bool near = net_shares(home);
        if (part == COPY && near) {
            fetch_near(m, p, n);
            coherence_fetched(m->s, p, n, home);
        } else if (part == ASK && !near) {
            far_ask(m, p, n, wait);
            coherence_fetched(m->s, p, n, home);
        } else if (part == PATCH && !near) {
            far_patch(m, p, n);
        }
        p += n;
    }
}

void rel_fetch(struct rel_segment *m, uint64_t first, uint64_t count)
{
    struct rel_wait wait;
    rel_count(&rel_counts.bytes_fetched, count * SPACE_PAGE);
    if (rel.window == NULL) { /* all ranks share */
        fetch_part(m, first, count, COPY, NULL);
        return;
    }
    rel_far_begin(&wait);
    fetch_part(m, first, count, ASK, &wait);
    fetch_part(m, first, count, COPY, NULL);
    rel_far_end(&wait, m);
    fetch_part(m, first, count, PATCH, NULL);
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* I am about to write a page that I may read. */
static void twin_make(struct rel_segment *m, uint64_t page)
{
    if (rel_writers(m, page) == 0) {
        memcpy(m->twins + page * SPACE_PAGE, space_verso(m->s, page),
               SPACE_PAGE);
        atomic_fetch_or_explicit(&m->words[page], REL_TWINNED,
                                 memory_order_relaxed);
    }
    rel_writer_add(m, page, 1);
    rel_list(m, page, REL_DIRTY);
}

/* What a fault finds: my right, and whether the copy is valid without one. */
struct found {
    enum recto_vm_right right;
    bool aged;
};

static struct found find(const struct rel_segment *m, uint64_t page)
{
    uint8_t flags = atomic_load_explicit(&m->flags[page], memory_order_relaxed);
    return (struct found){recto_vm_right_of(m->s->range, page),
                          (flags & REL_AGED) != 0};
}

static bool flag_aged(const struct rel_segment *m, uint64_t page)
{
    return (atomic_load_explicit(&m->flags[page], memory_order_relaxed) &
            REL_AGED) != 0;
}

static bool same(const struct rel_segment *m, uint64_t page, struct found as)
{
    struct found now = find(m, page);
    return now.right == as.right && now.aged == as.aged;
}

/* Pages from `first` on, at most `most`, that a fault may move together: copies of
 * any homes, but of my domain's those of one. */
static uint64_t run_most(const struct rel_segment *m, uint64_t first,
                         uint64_t most)
{
    uint64_t n = home_stretch(m, first, most);
    while (n < most && first + n < m->s->pages && !rel_is_home(m, first) &&
           space_home_known(m->s, first + n) && !rel_is_home(m, first + n)) {
        n += home_stretch(m, first + n, most - n);
    }
    return n;
}

/* Locks pages after `first`, which is locked, as long as they are free and in the
 * same state. Returns how many are locked. */
static uint64_t run_lock(struct rel_segment *m, uint64_t first, uint64_t most,
                         struct found as)
{
    most = run_most(m, first, most);
    uint64_t n = 1;
    while (n < most && rel_trylock(m, first + n)) {
        if (!same(m, first + n, as)) {
            rel_unlock(m, first + n);
            break;
        }
        n++;
    }
    return n;
}

static void run_unlock(struct rel_segment *m, uint64_t first, uint64_t count)
{
    for (uint64_t p = first; p < first + count; p++) {
        rel_unlock(m, p);
    }
}

/* Gives me the right to pages of another domain, locked. */
static void run_grant(struct rel_segment *m, uint64_t first, uint64_t count,
                      struct found had, bool write)
{
    if (had.right == RECTO_VM_NONE) {
        if (!had.aged) {
            rel_fetch(m, first, count);
        }
        rel_cache_add(m, first, count);
    }
    for (uint64_t p = first; write && p < first + count; p++) {
        twin_make(m, p);
    }
    if (write) {
        /* the writes that follow need no second fault to be noted */
        recto_vm_dirty_mark(m->s->range, first, count);
    }
    rel_check_code(m, first,
                   recto_vm_unprot(m->s->range, first, count,
                                   write ? RECTO_VM_WRITE : RECTO_VM_READ));
}

/* The pages of a stream with gaps after its first, one by one; returns how many
 * were had, the first included. */
static uint64_t strided_grant(struct rel_segment *m, const struct stream *s,
                              struct found as)
{
    uint64_t n = 1;
    for (; n < s->length; n++) {
        /* below 0 wraps around */
        uint64_t page = s->first + (uint64_t)s->stride * n;
        if (page >= m->s->pages || rel_is_home(m, page) ||
            !space_home_known(m->s, page) || !rel_trylock(m, page)) {
            break;
        }
        bool alike = same(m, page, as);
        if (alike) {
            run_grant(m, page, 1, as, s->write);
        }
        rel_unlock(m, page);
        if (!alike) {
            break;
        }
    }
    return n;
}

/* What it is to be counted as. */
static enum trace_fault copy_fault(struct rel_segment *m, uint64_t page,
                                   struct found found, bool write)
{
    struct stream s = stream_find(&m->streams, page, write, cache_transfer());
    uint64_t n =
        s.stride == 1 ? run_lock(m, page, s.length, found) : (uint64_t)1;
    enum trace_fault what = found.aged                     ? TRACE_RIGHT
                            : found.right == RECTO_VM_READ ? TRACE_UPGRADE
                            : write                        ? TRACE_WRITE_MISS
                                                           : TRACE_READ_MISS;
    if (!found.aged) {
        rel_count(what == TRACE_UPGRADE      ? &rel_counts.upgrades
                  : what == TRACE_WRITE_MISS ? &rel_counts.write_misses
                                             : &rel_counts.read_misses,
                  1);
    }
    run_grant(m, page, n, found, write);
    run_unlock(m, page, n);
    if (s.stride != 1) {
        n = strided_grant(m, &s, found);
    }
    stream_note(&m->streams, &s, n);
    cache_shrink(0);
    return what;
}

static bool has_readers(const struct rel_segment *m, uint64_t page)
{
    return atomic_load_explicit(&rel_entry(m, page)->sharers,
                                memory_order_seq_cst) != 0;
}

/* Pages of my domain, locked: those that nobody else reads become HomeFree, of
 * the others I am to note that I write them (HomeDirty). */
static void home_write(struct rel_segment *m, uint64_t first, uint64_t count)
{
    for (uint64_t p = first; p < first + count; p++) {
        if (has_readers(m, p)) {
            rel_list(m, p, REL_DIRTY);
            recto_vm_dirty_mark(m->s->range, p, 1);
        }
    }
    rel_check_code(m, first,
                   recto_vm_unprot(m->s->range, first, count, RECTO_VM_WRITE));
}

/* Of pages of my domain, locked, those before the first that others read stay so. */
static uint64_t unread(struct rel_segment *m, uint64_t first, uint64_t count)
{
    uint64_t n = 1;
    while (n < count && !has_readers(m, first + n)) {
        n++;
    }
    run_unlock(m, first + n, count - n);
    return n;
}

/* A page of my domain. Neighbours are in the same state, so a stream of writes
 * goes on in longer and longer runs: some readers may be told for nothing. */
static enum trace_fault home_fault(struct rel_segment *m, uint64_t page,
                                   struct found found, bool write)
{
    bool watched = has_readers(m, page);
    if (watched && !write) { /* HomeWatched */
        rel_check_code(m, page,
                       recto_vm_unprot(m->s->range, page, 1, RECTO_VM_READ));
        rel_unlock(m, page);
        return TRACE_RIGHT;
    }
    rel_count(&rel_counts.upgrades, watched);
    struct stream s = stream_find(&m->streams, page, true, cache_transfer());
    uint64_t n = run_lock(
        m, page, s.stride == 1 ? space_lazy_run(m->s, page, s.length) : 1,
        found);
    n = write ? n : unread(m, page, n);
    home_write(m, page, n);
    run_unlock(m, page, n);
    s.stride = 1;
    stream_note(&m->streams, &s, n);
    return watched ? TRACE_UPGRADE : TRACE_RIGHT;
}

enum recto_vm_verdict rel_fault(const struct recto_vm_fault *fault,
                                void *segment)
{
    struct rel_segment *m = segment;
    if (fault->signal == SIGBUS) {
        return RECTO_VM_SEARCH; /* no memory */
    }
    uint64_t start = coherence_clock();
    uint64_t page =
        (uint64_t)((char *)fault->address - m->s->recto) / SPACE_PAGE;
    (void)space_home_claim(m->s, page);
    if (rel_is_home(m, page)) {
        space_before_touch(m->s, page, 1);
    }
    rel_lock(m, page);
    struct found found = find(m, page);
    enum trace_fault what = TRACE_RIGHT;
    bool write = fault->access == RECTO_VM_ACCESS_WRITE ||
                 (fault->access == RECTO_VM_ACCESS_UNKNOWN &&
                  found.right == RECTO_VM_READ);
    if (found.right == RECTO_VM_WRITE ||
        (found.right == RECTO_VM_READ && !write)) {
        rel_unlock(m, page); /* another thread was quicker */
    } else if (rel_is_home(m, page)) {
        what = home_fault(m, page, found, write);
    } else {
        what = copy_fault(m, page, found, write);
    }
    coherence_fault_took(fault, what, start);
    return RECTO_VM_CONTINUE;
}

/* ---- prefetch -------------------------------------------------------------------------------- */

enum {
    RUNS = 64
};

/* Runs of locked pages that lack a right and are asked for together. */
struct ahead {
    uint64_t first[RUNS];
    uint64_t count[RUNS];
    uint32_t runs;
    uint64_t pages;
};

/* Locks the run of pages from `first` on that I lack, at most `most`, and adds it.
 * Waits for the first page only if nothing is locked yet. Returns how many pages were
 * looked at; 0: busy. */
static uint64_t ahead_add(struct ahead *a, struct rel_segment *m,
                          uint64_t first, uint64_t most)
{
    const struct found lacking = {RECTO_VM_NONE, false};
    if (a->runs > 0) {
        if (!rel_trylock(m, first)) {
            return 0;
        }
    } else {
        rel_lock(m, first);
    }
    if (rel_is_home(m, first) || !space_home_known(m->s, first) ||
        !same(m, first, lacking)) {
        rel_unlock(m, first);
        return 1;
    }
    uint64_t n = run_lock(m, first, most, lacking);
    a->first[a->runs] = first;
    a->count[a->runs] = n;
    a->runs++;
    a->pages += n;
    return n;
}

static void ahead_fetch(const struct ahead *a, struct rel_segment *m)
{
    struct rel_wait wait;
    static const enum part parts[] = {ASK, COPY, PATCH};
    bool far = rel.window != NULL;
    rel_count(&rel_counts.bytes_fetched, a->pages * SPACE_PAGE);
    rel_far_begin(&wait);
    for (size_t k = far ? 0 : 1; k < (far ? 3 : 2); k++) {
        for (uint32_t i = 0; i < a->runs; i++) {
            fetch_part(m, a->first[i], a->count[i], parts[k], &wait);
        }
        if (far && parts[k] == COPY) {
            rel_far_end(&wait, m);
        }
    }
}

/* Aged copies only need their right back, one by one. */
static void revive(struct rel_segment *m, uint64_t page)
{
    rel_lock(m, page);
    struct found found = find(m, page);
    if (!rel_is_home(m, page) && found.right == RECTO_VM_NONE && found.aged) {
        run_grant(m, page, 1, found, false);
    }
    rel_unlock(m, page);
}

/* Some of the pages from `first` on; returns how many were looked at. */
static uint64_t prefetch_some(struct rel_segment *m, uint64_t first,
                              uint64_t count)
{
    struct ahead a = {.runs = 0};
    uint64_t most = cache_transfer();
    uint64_t done = 0;
    while (done < count && a.runs < RUNS && a.pages < most) {
        uint64_t left = most - a.pages;
        uint64_t n = ahead_add(&a, m, first + done,
                               count - done < left ? count - done : left);
        if (n == 0) {
            break;
        }
        done += n;
    }
    if (a.runs > 0) {
        ahead_fetch(&a, m);
    }
    for (uint32_t i = 0; i < a.runs; i++) {
        rel_cache_add(m, a.first[i], a.count[i]);
        rel_check_code(m, a.first[i],
                       recto_vm_unprot(m->s->range, a.first[i], a.count[i],
                                       RECTO_VM_READ));
        run_unlock(m, a.first[i], a.count[i]);
    }
    return done;
}

void rel_prefetch(struct rel_segment *m, uint64_t first, uint64_t count)
{
    /* a signal handler of the program that faults must not find a page locked
     * by the thread it interrupts */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (uint64_t p = first; p < first + count;) {
        uint64_t n = prefetch_some(m, p, first + count - p);
        for (uint64_t q = p; q < p + n; q++) {
            if (flag_aged(m, q)) {
                revive(m, q);
            }
        }
        p += n;
        cache_shrink(0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
