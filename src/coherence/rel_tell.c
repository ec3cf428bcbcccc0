/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of a write: the directory, notices, and releases that wait for those of
 * others. See release.h.
 *
 *   rel_tell(page), differences are home, under BUSY:
 *     SHARERS is cleared, and each rank that was in it gets a notice: near ones at
 *     once, far ones by a message, which NOTICES of the entry counts;
 *     if others' notices of the page are on their way, the release joins them
 *   noticed(pages), the acknowledgement: NOTICES of each page go down; at 0 all who
 *     have joined go on
 *
 * A release waits for a *task*: the notices that it sent, and pages at which it joined.
 * There is one for each rank at each rank that tells in its name: itself, or the
 * homes that serve its differences. Who ends the last of it answers the writer.
 *
 * Why joining is enough. Let a release find, under BUSY and with its differences home,
 * that rank R is not in SHARERS. All copies of R were registered before SHARERS was
 * cleared of it, and the notice posted which that caused; R's page lock is held
 * from registration to right, so whoever handles that notice ends those copies.
 * The release ends after that notice is in R's inbox: it has been acknowledged, or was
 * joined. So an acquire of R after the release finds it there, or it has been handled;
 * what R registers later has the differences. Of a rank that *is* in SHARERS this is
 * not true: it may have handled the notice, which is not yet acknowledged, and fetched
 * before the differences came. So it gets another (docs/model, JOIN_READERS).
 *
 * No release waits for ever: with NOTICES > 0 every release of the page joins, so each
 * rank causes notices at most twice until there are none.
 *
 * Invariants
 * 1. The service thread waits for nobody, and who waits for a task has sent all its
 *    notices: rel_stage_finish.
 * 2. Notices of one release for one rank travel together. They are counted under
 *    BUSY and are sent later, which is as if they were slow.
 * 3. A rank has one release under way, of at most REL_BATCH pages, which has one
 *    message for a home. So a task is not in use when it starts, and a domain has
 *    at most REL_BATCH joins of each rank.
 * 4. Locks: `lock` of the joins after BUSY. Who holds it waits for nothing.
 */
#include <recto/vm.h>
#include <sched.h>

#include "base/base.h"
#include "coherence/rel_message.h"
#include "coherence/release.h"

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

static struct rel_list *lists; /* [0]: the releasing thread's */

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

/* ---- tasks and joins ----------------------------------------------------------------------- */

/* In the memory of rank `teller`, by writer. */
struct rel_task {
    /* notices not acknowledged, joins, and 1 until all is counted */
    _Atomic uint32_t left;
    uint64_t token; /* the writer's struct rel_wait */
};

/* A release that waits at an entry, until NOTICES is 0. */
struct rel_join {
    uint32_t next; /* number, from 1; of the free ones too */
    uint32_t teller;
    uint32_t writer;
};

/* Of a domain, in its leader's memory. */
struct rel_joins {
    _Atomic uint32_t lock;
    uint32_t free;  /* first of those that were given back */
    uint32_t fresh; /* how many were ever used */
    struct rel_join joins[];
};

size_t rel_tasks_bytes(void)
{
    return (size_t)net_size() * sizeof(struct rel_task);
}

size_t rel_joins_bytes(void)
{
    return sizeof(struct rel_joins) +
           (size_t)net_size() * REL_BATCH * sizeof(struct rel_join);
}

static void task_start(int teller, int writer, uint64_t token)
{
    struct rel_task *task = &rel.tasks[teller][writer];
    RECTO_ASSERT(atomic_load_explicit(&task->left, memory_order_relaxed) == 0);
    task->token = token;
    /* pairs with the decrement of who else settles: it sees the token */
    atomic_store_explicit(&task->left, 1, memory_order_release);
}

static void task_add(int teller, int writer, uint32_t by)
{
    atomic_fetch_add_explicit(&rel.tasks[teller][writer].left, by,
                              memory_order_relaxed);
}

static void task_settle(int teller, int writer)
{
    struct rel_task *task = &rel.tasks[teller][writer];
    if (atomic_fetch_sub_explicit(&task->left, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* the writer starts another when it is answered, not before */
    uint64_t token = task->token;
    if (writer == net_rank()) {
        rel_wait_settle(token);
    } else {
        rel_post(writer, MSG_TOLD, (struct net_msg){.b = token});
    }
}

static void joins_lock(struct rel_joins *all)
{
    unsigned tries = 0;
    while (atomic_exchange_explicit(&all->lock, 1, memory_order_acquire) != 0) {
        if (++tries % 64 == 0) {
            sched_yield();
        }
    }
}

static void joins_unlock(struct rel_joins *all)
{
    atomic_store_explicit(&all->lock, 0, memory_order_release);
}

/* Under the entry's BUSY: the writer's task goes on when all notices of the page that
 * are on their way, its own too, have arrived. */
static void join(struct rel_segment *m, struct rel_entry *e, uint64_t page,
                 struct rel_teller *teller)
{
    int home = space_home(m->s, page);
    struct rel_joins *all = rel.joins[net_domain_of(home)];
    task_add(net_rank(), teller->writer, 1);
    joins_lock(all);
    uint32_t number = all->free;
    if (number == 0) {
        number = ++all->fresh;
        RECTO_ASSERT(number <= (uint32_t)net_size() * REL_BATCH);
    } else {
        all->free = all->joins[number - 1].next;
    }
    joins_unlock(all);
    all->joins[number - 1] =
        (struct rel_join){.next = e->waiting,
                          .teller = (uint32_t)net_rank(),
                          .writer = (uint32_t)teller->writer};
    e->waiting = number;
    teller->from = home;
    rel_count(&rel_counts.joins, 1);
}

/* All that an entry's list named, which is empty now, go on. */
static void joins_answer(int domain, uint32_t number)
{
    struct rel_joins *all = rel.joins[domain];
    while (number != 0) {
        struct rel_join *slot = &all->joins[number - 1];
        struct rel_join join = *slot;
        joins_lock(all);
        slot->next = all->free;
        all->free = number;
        joins_unlock(all);
        /* given back first: the writer may come again at once (invariant 3) */
        task_settle((int)join.teller, (int)join.writer);
        number = join.next;
    }
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

/* Sends the list, on the service thread, a message per rank. */
static void list_send(struct rel_list *list, uint32_t segment, int writer)
{
    static _Alignas(8) uint32_t pages[LIST_PAGES]; /* the service thread only */
    rel_sort(list->entries, list->count);
    for (uint32_t i = 0; i < list->count;) {
        int rank = (int)(list->entries[i] >> 32);
        uint32_t n = 0;
        for (; i < list->count && n < LIST_PAGES &&
               (int)(list->entries[i] >> 32) == rank;
             i++) {
            pages[n++] = (uint32_t)list->entries[i];
        }
        task_add(net_rank(), writer, 1);
        rel_post_data(rank, MSG_NOTICE,
                      (struct net_msg){.object = segment,
                                       .c = (uint64_t)net_rank(),
                                       .d = (uint64_t)writer},
                      pages, n * sizeof *pages);
    }
    list->count = 0;
}

void rel_teller_start(struct rel_teller *teller, int writer, uint64_t token)
{
    *teller = (struct rel_teller){
        .writer = writer, .from = writer, .list = &lists[writer != net_rank()]};
    task_start(net_rank(), writer, token);
}

void rel_teller_send(struct rel_segment *m, struct rel_teller *teller)
{
    struct rel_list *list = teller->list;
    list_wait(list);
    if (list->count == 0) {
        return;
    }
    teller->from = (int)(list->entries[0] >> 32);
    if (list == &lists[1]) {
        list_send(list, m->s->id, teller->writer);
        return;
    }
    task_add(net_rank(), teller->writer, 1);
    atomic_store_explicit(&list->busy, 1, memory_order_relaxed);
    rel_post(net_rank(), MSG_TELL, (struct net_msg){.object = m->s->id});
}

void rel_teller_finish(struct rel_teller *teller)
{
    task_settle(net_rank(), teller->writer);
}

void rel_tell_receive(const struct net_msg *msg)
{
    struct rel_list *list = &lists[0];
    list_send(list, msg->object, net_rank());
    atomic_store_explicit(&list->busy, 0, memory_order_release);
    net_futex_wake((const uint32_t *)&list->busy, 1, false);
    task_settle(net_rank(), net_rank());
}

/* What to do about the ranks to be told: first, under the entry's lock, those
 * whose inbox is in reach, and what goes by message is counted; then, without the
 * lock, the list of messages, which may be full. */
enum tell {
    TELL_NEAR,
    TELL_FAR
};

static void notice(struct rel_segment *m, int rank, uint64_t page,
                   enum tell what, struct rel_teller *teller)
{
    bool near = net_shares(rank);
    if (what == TELL_NEAR && near) {
        board_post(rel.inboxes[rank],
                   (struct board_page){m->s->id, (uint32_t)page});
    } else if (what == TELL_NEAR) {
        /* relaxed: under BUSY; who looks without it sees BUSY, or this */
        atomic_fetch_add_explicit(&rel_entry(m, page)->notices, 1,
                                  memory_order_relaxed);
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
            atomic_load_explicit(&e->notices, memory_order_relaxed) == 0) {
            return false;
        }
    }
    entry_lock(e);
    uint64_t old = readers_clear(e, home ? -1 : but);
    uint64_t told = old & REL_SHARERS;
    bool others = atomic_load_explicit(&e->notices, memory_order_relaxed) > 0;
    uint64_t count = notices(m, page, told, but, TELL_NEAR, teller);
    if (others) {
        join(m, e, page, teller);
    }
    uint64_t word = REL_LOGGED | REL_BUSY;
    bool freed = last && told == 0 && !others &&
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

void rel_noticed_receive(struct rel_segment *m, const struct net_msg *msg)
{
    size_t bytes = 0;
    const uint32_t *pages = net_data(&bytes);
    for (size_t i = 0; i < bytes / sizeof *pages; i++) {
        struct rel_entry *e = rel_entry(m, pages[i]);
        uint32_t waiting = 0;
        entry_lock(e);
        if (atomic_fetch_sub_explicit(&e->notices, 1, memory_order_relaxed) ==
            1) {
            waiting = e->waiting;
            e->waiting = 0;
        }
        entry_unlock(e);
        joins_answer(net_domain_of(space_home(m->s, pages[i])), waiting);
    }
    task_settle(net_rank(), (int)msg->d);
}

void rel_notice_receive(const struct net_msg *msg)
{
    size_t bytes = 0;
    const uint32_t *pages = net_data(&bytes);
    for (size_t i = 0; i < bytes / sizeof *pages; i++) {
        board_post(rel.inboxes[net_rank()],
                   (struct board_page){msg->object, pages[i]});
    }
    rel_post_data((int)msg->c, MSG_NOTICED, *msg, pages, bytes);
}

int rel_tell_start(void)
{
    void *table = NULL;
    int r = recto_vm_table_create(2 * sizeof(struct rel_list), &table);
    lists = table;
    return r;
}

void rel_tell_forget(void)
{
    if (lists != NULL) {
        recto_vm_unmap(lists, 2 * sizeof(struct rel_list));
        lists = NULL;
    }
}
