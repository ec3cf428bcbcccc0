/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Release consistency: life cycle, release and acquire. See release.h.
 *
 * Invariants
 * 1. A release or acquire that finds nothing to do takes no lock.
 * 2. `pending` counts what is listed or on its way; a release that finds it 0
 *    after its fence has nothing of its own thread's in it.
 * 3. A segment is linked and unlinked under `releasing`, so who holds it may
 *    use what it finds in the list.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/release.h"

struct rel_state rel;
struct rel_counts rel_counts;

enum {
    BOUNCE_PAGES = 64
};

/* ---- locks of a rank --------------------------------------------------------------- */

void rel_enter(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
    pthread_mutex_lock(&rel.releasing);
}

void rel_leave(const sigset_t *before)
{
    pthread_mutex_unlock(&rel.releasing);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

struct rel_segment *rel_find(uint32_t id)
{
    struct rel_segment *m = rel.first;
    while (m != NULL && m->s->id != id) {
        m = m->next;
    }
    return m;
}

/* ---- release ------------------------------------------------------------------------ */

static struct rel_batch *batch_start(struct rel_segment *m)
{
    rel.batch.m = m;
    rel.batch.count = 0;
    return &rel.batch;
}

static void batch_add(uint64_t page, enum rel_flush how)
{
    struct rel_batch *b = &rel.batch;
    b->pages[b->count++] = page;
    if (b->count == REL_BATCH) {
        rel_flush(b, how, false);
    }
}

/* The log has lost entries to me: every home page with readers counts as
 * written. */
static void watch_all(void)
{
    for (struct rel_segment *m = rel.first; m != NULL; m = m->next) {
        struct rel_batch *b = batch_start(m);
        const struct rel_entry *mine = m->directories[net_domain()];
        uint64_t end = 0;
        for (uint64_t p = 0; space_table_run(m->s, mine, sizeof *mine,
                                             m->s->pages, end, &p, &end);) {
            for (; p < end; p++) {
                if (rel_is_home(m, p) &&
                    atomic_load_explicit(&rel_entry(m, p)->sharers,
                                         memory_order_seq_cst) != 0) {
                    batch_add(p, REL_WATCH);
                }
            }
        }
        rel_flush(b, REL_WATCH, false);
    }
}

/* Pages of a board's entries [from, to), batch by batch. False when entries were
 * lost. */
static bool board_flush(const struct board *board, uint64_t from, uint64_t to,
                        enum rel_flush how)
{
    struct rel_batch *b = batch_start(NULL);
    for (uint64_t at = from; at < to; at++) {
        struct board_page entry;
        if (to - at > board->capacity || !board_read(board, at, &entry)) {
            rel_flush(b, how, false);
            return false;
        }
        if (b->m == NULL || b->m->s->id != entry.segment) {
            rel_flush(b, how, false);
            b = batch_start(rel_find(entry.segment));
        }
        if (b->m != NULL &&
            rel_is_home(b->m, entry.page) == (how == REL_WATCH)) {
            batch_add(entry.page, how);
        }
    }
    rel_flush(b, how, false);
    return true;
}

static void log_drain(void)
{
    const struct board *log = rel.logs[net_domain()];
    uint64_t tail = board_tail(log);
    uint64_t cursor =
        atomic_load_explicit(&rel.log_cursor, memory_order_relaxed);
    if (!board_flush(log, cursor, tail, REL_WATCH)) {
        watch_all();
    }
    atomic_store_explicit(&rel.log_cursor, tail, memory_order_release);
}

static void list_flush(struct rel_segment *m)
{
    struct rel_batch *b = batch_start(m);
    struct base_set_pass pass = {0};
    while (base_set_pop(&m->listed, &pass, &b->pages[b->count])) {
        if (++b->count == REL_BATCH) {
            rel_flush(b, REL_WRITTEN, true);
        }
    }
    rel_flush(b, REL_WRITTEN, true);
}

static bool nothing_written(void)
{
    /* what was stored before is ordered before the look at the log: a reader
     * that logs later reads it */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&rel.pending, memory_order_acquire) == 0 &&
           board_tail(rel.logs[net_domain()]) ==
               atomic_load_explicit(&rel.log_cursor, memory_order_acquire);
}

/* Under `releasing`. */
static void release_all(void)
{
    log_drain();
    for (struct rel_segment *m = rel.first; m != NULL; m = m->next) {
        list_flush(m);
    }
}

void rel_release(void)
{
    if (rel.logs == NULL || nothing_written()) {
        return;
    }
    sigset_t before;
    rel_enter(&before);
    release_all();
    rel_leave(&before);
}

/* ---- acquire ------------------------------------------------------------------------- */

static bool aged(const struct rel_segment *m, uint64_t page)
{
    /* pairs with the release in rel_cache.c: who sees an aged copy taken up sees
     * the page's lock taken, or the right that came of it */
    return (atomic_load_explicit(&m->flags[page], memory_order_acquire) &
            REL_AGED) != 0;
}

/* Have I a valid copy of another domain's page? */
static bool holds(const struct rel_segment *m, uint64_t page)
{
    return (aged(m, page) ||
            recto_vm_right_of(m->s->range, page) != RECTO_VM_NONE) &&
           !rel_is_home(m, page);
}

/* Or is a thread about to get one? It registered under the page's lock, so a
 * notice that was lost may have been for what it is fetching. The order of these
 * looks matters: a thread that takes up an aged copy locks the page, clears
 * REL_AGED, raises the right and unlocks, and none of us holds that lock. */
static bool may_hold(const struct rel_segment *m, uint64_t page)
{
    return (aged(m, page) ||
            (atomic_load_explicit(&m->words[page], memory_order_acquire) &
             REL_LOCK) != 0 ||
            recto_vm_right_of(m->s->range, page) != RECTO_VM_NONE) &&
           !rel_is_home(m, page);
}

/* Pages whose words were ever used: looking at the others would take memory. */
static bool words_run(const struct rel_segment *m, uint64_t from,
                      uint64_t *first, uint64_t *end)
{
    return space_table_run(m->s, (const void *)m->words, sizeof(uint32_t),
                           m->s->pages, from, first, end);
}

/* The inbox has lost entries: no copy can be trusted. */
static void drop_all(void)
{
    for (struct rel_segment *m = rel.first; m != NULL; m = m->next) {
        struct rel_batch *b = batch_start(m);
        uint64_t end = 0;
        /* a page that somebody fetched was locked before */
        for (uint64_t p = 0; words_run(m, end, &p, &end);) {
            for (; p < end; p++) {
                if (may_hold(m, p)) {
                    batch_add(p, REL_DROP);
                }
            }
        }
        rel_flush(b, REL_DROP, false);
    }
}

static void inbox_drain(void)
{
    const struct board *inbox = rel.inboxes[net_rank()];
    uint64_t tail = board_tail(inbox);
    uint64_t head =
        atomic_load_explicit(&rel.inbox_applied, memory_order_relaxed);
    rel_count(&rel_counts.invalidations, tail - head);
    if (!board_flush(inbox, head, tail, REL_DROP)) {
        drop_all();
    }
    /* pairs with the acquire in rel_acquire: all below it is applied */
    atomic_store_explicit(&rel.inbox_applied, tail, memory_order_release);
}

void rel_acquire(void)
{
    if (rel.logs == NULL) {
        return;
    }
    uint64_t tail = board_tail(rel.inboxes[net_rank()]);
    if (atomic_load_explicit(&rel.inbox_applied, memory_order_acquire) >=
        tail) {
        return;
    }
    sigset_t before;
    rel_enter(&before);
    inbox_drain();
    rel_leave(&before);
}

/* ---- parts of memory --------------------------------------------------------------------- */

void rel_release_range(struct rel_segment *m, uint64_t first, uint64_t count)
{
    sigset_t before;
    if (nothing_written()) {
        return;
    }
    rel_enter(&before);
    log_drain(); /* a new reader may read any page */
    struct rel_batch *b = batch_start(m);
    for (uint64_t p = first; p < first + count; p++) {
        if ((atomic_load_explicit(&m->flags[p], memory_order_acquire) &
             (REL_DIRTY | REL_ATOMIC)) != 0) {
            batch_add(p, REL_WRITTEN);
        }
    }
    rel_flush(b, REL_WRITTEN, false);
    rel_leave(&before);
}

void rel_drop(struct rel_segment *m, uint64_t first, uint64_t count)
{
    sigset_t before;
    rel_enter(&before);
    struct rel_batch *b = batch_start(m);
    for (uint64_t p = first; p < first + count; p++) {
        if (may_hold(m, p)) {
            batch_add(p, REL_DROP);
        }
    }
    rel_flush(b, REL_DROP, false);
    rel_leave(&before);
}

/* ---- segments -------------------------------------------------------------------------- */

static uint64_t pages_up(uint64_t bytes)
{
    return (bytes + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
}

/* words | directory | twins */
uint64_t rel_memory(const struct space_segment *s)
{
    return pages_up(s->pages * sizeof(uint32_t)) +
           pages_up(s->pages * sizeof(struct rel_entry)) +
           s->pages * SPACE_PAGE;
}

static void parts_find(struct rel_segment *m)
{
    const struct space_segment *s = m->s;
    uint64_t words = pages_up(s->pages * sizeof(uint32_t));
    uint64_t directory = pages_up(s->pages * sizeof(struct rel_entry));
    for (int d = 0; d < net_domains(); d++) {
        char *extra = space_extra(s, d);
        m->directories[d] =
            extra != NULL ? (struct rel_entry *)(void *)(extra + words) : NULL;
    }
    char *mine = space_extra(s, net_domain());
    m->words = (_Atomic uint32_t *)(void *)mine;
    m->twins = mine + words + directory;
}

static int tables_create(struct rel_segment *m)
{
    void *flags = NULL;
    void *pins = NULL;
    void *listed = NULL;
    m->directories = calloc((size_t)net_domains(), sizeof(struct rel_entry *));
    int r = m->directories != NULL
                ? recto_vm_table_create(m->s->pages, &flags)
                : base_error(RECTO_ENOMEM, "page states of \"%s\"", m->s->name);
    r = r == 0 ? recto_vm_table_create(base_set_bytes(m->s->pages), &listed)
               : r;
    r = r == 0 ? cache_ring_create(&m->ring, m->s->pages) : r;
    r = r == 0 ? recto_vm_table_create(m->s->pages * sizeof(uint32_t), &pins)
               : r;
    m->flags = flags;
    m->pins = pins;
    if (listed != NULL) {
        base_set_place(&m->listed, listed, m->s->pages);
    }
    if (r == 0) {
        parts_find(m);
    }
    return r;
}

static void tables_free(struct rel_segment *m)
{
    if (m->trap != NULL) {
        recto_vm_trap_remove(m->trap);
    }
    if (m->listed.words != NULL) {
        recto_vm_unmap((void *)m->listed.words, base_set_bytes(m->s->pages));
    }
    cache_ring_free(&m->ring);
    if (m->flags != NULL) {
        recto_vm_unmap((void *)m->flags, m->s->pages);
    }
    if (m->pins != NULL) {
        recto_vm_unmap((void *)m->pins, m->s->pages * sizeof(uint32_t));
    }
    free((void *)m->directories);
    m->s->coherence = NULL;
    free(m);
}

static int limits_check(const struct space_segment *s)
{
    if (s->id >> BOARD_SEGMENT_BITS != 0 || s->pages >> BOARD_PAGE_BITS != 0) {
        return base_error(RECTO_ENOMEM,
                          "\"%s\": release consistency serves %u segments in "
                          "all, of at most %llu bytes; RECTO_SEQUENTIAL has no "
                          "such limit",
                          s->name, 1U << BOARD_SEGMENT_BITS,
                          (unsigned long long)SPACE_PAGE << BOARD_PAGE_BITS);
    }
    return 0;
}

int rel_attach(struct space_segment *s)
{
    struct rel_segment *m = calloc(1, sizeof *m);
    int r = m != NULL
                ? limits_check(s)
                : base_error(RECTO_ENOMEM, "page states of \"%s\"", s->name);
    if (r == 0) {
        m->s = s;
        s->coherence = m;
        r = tables_create(m);
        r = r == 0 ? recto_vm_trap_add(s->recto, s->pages * SPACE_PAGE,
                                       rel_fault, NULL, m, &m->trap)
                   : r;
    }
    r = net_verdict(r);
    if (r != 0) {
        if (m != NULL) {
            m->s = s;
            tables_free(m);
        }
        return r;
    }
    sigset_t before;
    rel_enter(&before);
    m->next = rel.first;
    rel.first = m;
    rel_leave(&before);
    return r;
}

void rel_detach(struct space_segment *s)
{
    struct rel_segment *m = s->coherence;
    struct rel_segment **at = &rel.first;
    /* what was written goes home first, so that the books close */
    rel_release();
    (void)net_verdict(0);
    sigset_t before;
    rel_enter(&before);
    while (*at != m) {
        at = &(*at)->next;
    }
    *at = m->next;
    cache_count(CACHE_RELEASE, -(int64_t)cache_ring_count(&m->ring));
    rel_leave(&before);
    tables_free(m);
}

/* ---- recall ------------------------------------------------------------------------------ */

static void copies_drop(struct rel_segment *m)
{
    struct rel_batch *b = batch_start(m);
    uint64_t end = 0;
    for (uint64_t p = 0; words_run(m, end, &p, &end);) {
        for (; p < end; p++) {
            if (holds(m, p)) {
                batch_add(p, REL_DROP);
            }
        }
    }
    rel_flush(b, REL_DROP, false);
}

int rel_recall(struct space_segment *s, bool drop)
{
    struct rel_segment *m = s->coherence;
    sigset_t before;
    rel_enter(&before);
    release_all();
    if (drop) {
        copies_drop(m);
    }
    rel_leave(&before);
    return net_verdict(0);
}

/* ---- checks ------------------------------------------------------------------------------ */

static int contradiction(const struct rel_segment *m, uint64_t page,
                         const char *what)
{
    return base_error(RECTO_ESTATE, "page %lu of \"%s\", domain %d: %s",
                      (unsigned long)page, m->s->name, net_domain(), what);
}

static int home_check(const struct rel_segment *m, uint64_t page)
{
    uint64_t word = atomic_load_explicit(&rel_entry(m, page)->sharers,
                                         memory_order_seq_cst);
    bool writes = recto_vm_right_of(m->s->range, page) == RECTO_VM_WRITE;
    if (atomic_load_explicit(&rel_entry(m, page)->notices,
                             memory_order_relaxed) != 0 ||
        rel_entry(m, page)->waiting != 0) {
        return contradiction(m, page, "a notice is on its way");
    }
    if ((word & ~REL_LOGGED) != 0 && (word & REL_LOGGED) == 0) {
        return contradiction(m, page, "has readers but is not logged");
    }
    return writes && word != 0
               ? contradiction(m, page, "a home rank may write it unnoticed")
               : 0;
}

/* Does the directory know a reader of my domain? */
static bool known(const struct rel_segment *m, uint64_t page)
{
    uint64_t word = atomic_load_explicit(&rel_entry(m, page)->sharers,
                                         memory_order_seq_cst);
    for (int r = 0; r < net_size(); r++) {
        if (net_domain_of(r) == net_domain() &&
            sharers_has(word & REL_SHARERS, r)) {
            return true;
        }
    }
    return false;
}

static int copy_check(const struct rel_segment *m, uint64_t page)
{
    enum recto_vm_right right = recto_vm_right_of(m->s->range, page);
    int domain = net_domain_of(space_home(m->s, page));
    const char *home = m->s->versos[domain];
    if (!holds(m, page)) {
        return 0;
    }
    if (right == RECTO_VM_WRITE || rel_writers(m, page) > 0) {
        return contradiction(m, page, "written, but not in the list");
    }
    if (home == NULL) {
        return 0; /* on another machine */
    }
    if (!known(m, page)) {
        return contradiction(m, page, "a copy that its home does not know");
    }
    return memcmp(home + page * SPACE_PAGE, space_verso(m->s, page),
                  SPACE_PAGE) != 0
               ? contradiction(m, page, "a copy differs from the home's")
               : 0;
}

static int page_check(const struct rel_segment *m, uint64_t page)
{
    uint32_t word = atomic_load_explicit(&m->words[page], memory_order_acquire);
    if (word & REL_LOCK) {
        return contradiction(m, page, "locked at rest");
    }
    if ((atomic_load_explicit(&m->flags[page], memory_order_acquire) &
         ~(unsigned)(REL_HELD | REL_AGED)) != 0) {
        return contradiction(m, page, "listed after a release");
    }
    /* A chunk's header is written through versos. A copy of it may come along
     * with its neighbours; nobody looks at it. */
    bool unused = m->s->heap && page % m->s->granule_pages == 0;
    return rel_is_home(m, page) ? home_check(m, page)
           : unused             ? 0
                                : copy_check(m, page);
}

int rel_check(struct space_segment *s)
{
    struct rel_segment *m = s->coherence;
    rel_release();
    int r = net_verdict(0);
    rel_acquire();
    r = r == 0 ? net_verdict(0) : r;
    int found = 0;
    for (uint64_t p = 0; p < s->pages && r == 0 && found == 0; p++) {
        found = page_check(m, p);
    }
    return r == 0 ? net_verdict(found) : r;
}

/* ---- life cycle ----------------------------------------------------------------------------- */

/* Of each rank: inbox | tasks; of the leader of a domain then: log | joins. */
static size_t board_pages(void)
{
    return pages_up(board_bytes(rel.capacity));
}

static size_t log_at(void)
{
    return board_pages() + pages_up(rel_tasks_bytes());
}

static bool leads(int rank)
{
    return net_domain_leader(net_domain_of(rank)) == rank;
}

static size_t control_bytes(int rank)
{
    return log_at() +
           (leads(rank) ? board_pages() + pages_up(rel_joins_bytes()) : 0);
}

static void control_use(int rank, char *view)
{
    rel.inboxes[rank] = (struct board *)(void *)view;
    rel.mapped[rank] = control_bytes(rank);
    rel.tasks[rank] = (struct rel_task *)(void *)(view + board_pages());
    if (leads(rank)) {
        char *log = view + log_at();
        int domain = net_domain_of(rank);
        rel.logs[domain] = (struct board *)(void *)log;
        rel.joins[domain] = (struct rel_joins *)(void *)(log + board_pages());
    }
}

static int control_map(int rank, const int *fds)
{
    int fd = rel.control_fd;
    void *view = NULL;
    int r = rank != net_rank() ? net_fd_open(rank, fds[rank], &fd) : 0;
    if (r == 0) {
        r = recto_vm_map(fd, 0, control_bytes(rank), NULL, RECTO_VM_WRITE,
                         &view);
        if (rank != net_rank()) {
            close(fd);
        }
    }
    if (r == 0) {
        control_use(rank, view);
    }
    return r;
}

static int capacity_read(void)
{
    uint64_t entries = 0;
    int r = base_env_u64(BASE_ENV_INBOX, &entries);
    while ((entries & (entries - 1)) != 0) { /* up to a power of two */
        entries += entries & -entries;
    }
    rel.capacity = entries;
    return r;
}

static int control_create(void)
{
    int n = net_size();
    rel.inboxes = calloc((size_t)n, sizeof(struct board *));
    rel.logs = calloc((size_t)net_domains(), sizeof(struct board *));
    rel.tasks = calloc((size_t)n, sizeof(struct rel_task *));
    rel.joins = calloc((size_t)net_domains(), sizeof(struct rel_joins *));
    rel.mapped = calloc((size_t)n, sizeof *rel.mapped);
    rel.domain_sharers =
        calloc((size_t)net_domains(), sizeof *rel.domain_sharers);
    int r = rel.inboxes != NULL && rel.logs != NULL && rel.tasks != NULL &&
                    rel.joins != NULL && rel.mapped != NULL &&
                    rel.domain_sharers != NULL
                ? capacity_read()
                : base_error(RECTO_ENOMEM, "inboxes");
    r = r == 0 ? recto_vm_memory_create(
                     "recto-inbox", control_bytes(net_rank()), &rel.control_fd)
               : r;
    return net_verdict(r);
}

static int control_share(void)
{
    int n = net_size();
    int *fds = calloc((size_t)n, sizeof *fds);
    int r = net_verdict(fds != NULL ? 0 : base_error(RECTO_ENOMEM, "inboxes"));
    r = r == 0 ? net_allgather(&rel.control_fd, sizeof rel.control_fd, fds) : r;
    for (int i = 0; r == 0 && i < n; i++) {
        if (i == net_rank() || net_shares(i)) {
            r = control_map(i, fds);
        }
    }
    free(fds);
    if (r == 0) {
        board_init(rel.inboxes[net_rank()], rel.capacity);
        if (leads(net_rank())) {
            board_init(rel.logs[net_domain()], rel.capacity);
        }
    }
    return net_verdict(r);
}

static int far_create(void)
{
    void *staging = NULL;
    void *arriving = NULL;
    void *bounce = NULL;
    int r = recto_vm_table_create(pages_up(rel_stage_bytes()), &staging);
    r = r == 0 ? recto_vm_table_create(pages_up(rel_stage_bytes()), &arriving)
               : r;
    r = r == 0
            ? recto_vm_table_create((size_t)BOUNCE_PAGES * SPACE_PAGE, &bounce)
            : r;
    rel.staging = staging;
    rel.arriving = arriving;
    rel.bounce = bounce;
    r = net_verdict(r);
    return r == 0 ? net_window_create(staging, pages_up(rel_stage_bytes()),
                                      &rel.window)
                  : r;
}

int rel_start(void)
{
    memset(&rel, 0, sizeof rel);
    memset(&rel_counts, 0, sizeof rel_counts);
    rel.control_fd = -1;
    if (net_domains() == 1) {
        return 0;
    }
    pthread_mutex_init(&rel.releasing, NULL);
    (void)diff_init(DIFF_AVX512);
    int r = net_verdict(rel_far_start());
    r = r == 0 ? control_create() : r;
    r = r == 0 ? control_share() : r;
    r = r == 0 ? net_verdict(cache_init()) : r;
    sharers_init(net_size());
    for (int i = 0; r == 0 && sharers_form.exact && i < net_size(); i++) {
        uint64_t *of = &rel.domain_sharers[net_domain_of(i)];
        *of = sharers_add(*of, i);
    }
    return r == 0 ? far_create() : r;
}

void rel_end(void)
{
    (void)net_window_free(rel.window);
    rel.window = NULL;
}

static void table_free(void *table, size_t bytes)
{
    if (table != NULL) {
        recto_vm_unmap(table, bytes);
    }
}

void rel_forget(void)
{
    for (int i = 0; rel.inboxes != NULL && i < net_size(); i++) {
        table_free(rel.inboxes[i], rel.mapped[i]);
    }
    if (rel.control_fd >= 0 && rel.inboxes != NULL) {
        close(rel.control_fd);
    }
    table_free(rel.staging, pages_up(rel_stage_bytes()));
    table_free(rel.arriving, pages_up(rel_stage_bytes()));
    table_free(rel.bounce, (size_t)BOUNCE_PAGES * SPACE_PAGE);
    rel_far_forget();
    free((void *)rel.inboxes);
    free((void *)rel.logs);
    free((void *)rel.tasks);
    free((void *)rel.joins);
    free(rel.mapped);
    free(rel.domain_sharers);
    memset(&rel, 0, sizeof rel);
    rel.control_fd = -1;
}
