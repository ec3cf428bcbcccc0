/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Release consistency: several writers per page, home-based. After P. Keleher
 * et al. (lazy release consistency, twins and diffs: ISCA'92), L. Iftode et al.
 * (home-based protocols: HPCA'96) and R. Stets et al., Cashmere-2L (SOSP'97),
 * from which come the copy shared by the ranks of a domain and two-way diffing.
 *
 * The master copy of a page lies in the memory of its home's domain. Ranks of
 * that domain use it directly (*home ranks*). The ranks of another domain use
 * the one *copy* of their domain, and a *twin* of it while one of them may
 * write.
 *
 *   a rank's right   page of another domain     page of its own domain
 *     NONE           must fetch                 never touched (not eager)
 *     READ           copy valid                 HomeWatched: has remote readers
 *     WRITE          dirty, has a twin          HomeFree, or HomeDirty (flag)
 *
 *   directory        in the home's domain, per page: SHARERS, a set of ranks (exact
 *                    up to 62 ranks, or while few read: sharers.h), LOGGED, and
 *                    NOTICES, how many are on their way by message
 *   inbox            of a rank: write notices, pages its copy of which is old
 *   log              of a domain: pages of its homes that got a reader while
 *                    LOGGED was clear
 *
 *   fetch    SHARERS |= me; if LOGGED is clear: under BUSY, log, then SHARERS |=
 *            me, LOGGED (so LOGGED means logged). Then read the home's bytes:
 *            into the copy; if the page has a twin only those that differ from
 *            it, into copy and twin.
 *   write    first of an interval: twin = copy (if there is none), remember it
 *   release  1. home ranks: each page logged since my last release: take WRITE,
 *               then count it as written
 *            2. each page written: take WRITE; send home the bytes that differ
 *               from the twin; SHARERS &= my domain; tell all that were cleared.
 *               A home page that was found dirty and without remote readers
 *               loses LOGGED and gets WRITE back: it is written without faults.
 *   acquire  each notice in my inbox: if I have written the page, do 2. for it;
 *            take all rights.
 *
 * Across machines the home's service thread registers the reader and answers with
 * the data, if it is little; else the reader gets it by a one-sided operation. A
 * writer packs its differences for a home in one piece, which travels with the
 * message or is got likewise; the home's service thread applies them, sends the
 * notices and answers when they have arrived (rel_far.c, rel_tell.c).
 *
 * Pages change their homes while nobody uses them (rel_move.c).
 *
 * Invariants
 * 1. Page lock, one per domain and page: whoever changes the rights, copy, twin
 *    or flags of a page holds it. Several are taken in ascending order within
 *    one segment, and all are dropped before those of another. Asynchronous
 *    signals are blocked meanwhile. The service thread takes none, so that a
 *    holder may wait for it.
 * 2. A reader is registered, and the page logged, before it reads the home's
 *    bytes; differences are in the home's bytes before SHARERS is cleared; a
 *    notice is in the inbox before the release returns.
 *    That holds also for a notice that another release has caused: a rank is
 *    cleared from SHARERS and its notice posted under BUSY; if notices go by
 *    message, NOTICES counts them until they have arrived, and every release of
 *    the page meanwhile waits for them too (rel_tell.c says why that is enough).
 * 3. So: a copy is as new as every release that happened before the holder's
 *    last acquire, or a notice for it lies in the holder's inbox.
 * 4. WRITE is taken before a page is compared or counted as written, hence
 *    every later write faults and is sent by a later release.
 * 5. A home rank has WRITE without the flag DIRTY only while SHARERS is empty
 *    and NOTICES is 0, or the log has an entry for the page past the rank's cursor.
 * 6. The writers of a page word are the ranks of the domain with DIRTY; the
 *    twin is meaningful while there are some. The holders are those with HELD;
 *    when the last one gives the page up its memory goes.
 * 7. Lock order: a rank's `releasing`, then page locks.
 * 8. A pinned page keeps the rank's right to it: somebody writes or reads it who
 *    cannot fault (rel_pin.c). Pinned for writing it counts as written at every
 *    release, and its twin follows what was sent. A notice for a pinned copy
 *    fetches it anew at once, instead of taking the right.
 */
#ifndef RECTO_SRC_RELEASE_H
#define RECTO_SRC_RELEASE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/set.h"
#include "base/trace.h"
#include "coherence/board.h"
#include "coherence/cache.h"
#include "coherence/coherence.h"
#include "coherence/diff.h"
#include "coherence/sharers.h"
#include "coherence/stream.h"
#include "net/net.h"
#include "space/space.h"

/* ---- words ------------------------------------------------------------------ */

/* A page word, in the domain's memory. */
enum {
    REL_LOCK = 1,
    REL_WAITERS = 2,
    REL_TWINNED = 4, /* there is memory behind the twin */
    REL_WRITER = 1 << 3,
    REL_WRITERS = ((1 << 14) - 1) * REL_WRITER, /* a counter */
    REL_HOLDER = 1 << 17 /* another: the rest of the word */
};

/* SHARERS: a set of ranks (sharers.h), and these. */
#define REL_LOGGED  (UINT64_C(1) << 63)
#define REL_BUSY    (UINT64_C(1) << 62)
#define REL_SHARERS (REL_BUSY - 1)

/* A page's entry in the directory, in the memory of the home's domain. BUSY is
 * a lock: who sets LOGGED, clears bits of SHARERS, or reads or writes the rest,
 * holds it, and waits for nothing meanwhile. Later readers register without. */
struct rel_entry {
    _Atomic uint64_t sharers;
    _Atomic uint32_t notices; /* on their way by message */
    uint32_t
        waiting; /* first of the releases that wait for them (rel_tell.c) */
};

/* Flags of a page, this rank's own. */
enum {
    REL_DIRTY = 1,  /* written since the last release */
    REL_ATOMIC = 4, /* written at the home by recto_fetch_add and its kin */
    REL_HELD = 8,   /* a copy that counts in the cache: is in the ring */
    REL_AGED = 16,  /* valid copy whose rights were taken to see its use */
    REL_LEAVES = 32 /* held, but not after the next rel_cache_forget */
};

enum {
    REL_BATCH = 512,   /* pages locked at once */
    REL_TRANSFER = 256 /* pages fetched at once */
};

struct rel_segment {
    struct space_segment *s;
    _Atomic uint32_t *words;        /* page words of my domain */
    char *twins;                    /* of my domain, by page */
    struct rel_entry **directories; /* by domain; NULL: not shared */
    _Atomic uint8_t *flags;
    /* Pins of my rank: for reading, and for writing times PIN_WRITE; changed
     * under the page's lock. */
    _Atomic uint32_t *pins;
    struct base_set listed; /* pages written; emptied under `releasing` */
    /* The pages held; hands move under `releasing`. */
    struct cache_ring ring;
    struct stream_table streams;
    recto_vm_trap *trap;
    struct rel_segment *next;
};

/* Pages of one segment, ascending, that a thread has locked. */
struct rel_batch {
    struct rel_segment *m;
    uint32_t count;
    uint64_t pages[REL_BATCH];
};

/* ---- this rank ---------------------------------------------------------------- */

struct rel_state {
    int control_fd;
    uint64_t capacity;        /* of boards */
    struct board **inboxes;   /* by rank; NULL where not shared */
    struct board **logs;      /* by domain */
    struct rel_task **tasks;  /* by rank; in memory that comes with the inbox */
    struct rel_joins **joins; /* by domain; with the log */
    size_t *mapped; /* bytes from each inbox on; net has ended when they go */
    uint64_t *domain_sharers; /* SHARERS of all ranks of a domain, if exact */
    struct rel_segment *first;
    /* One release or acquire at a time in a rank: guards batch, staging, the
     * heads of lists and the cursors; segments are linked under it. */
    pthread_mutex_t releasing;
    struct rel_batch batch;
    _Atomic uint64_t inbox_applied; /* my cursor in my inbox */
    _Atomic uint64_t log_cursor;
    _Atomic uint64_t pending; /* pages in lists or on their way home */
    char *staging;      /* differences for homes that are reached by MPI */
    net_window *window; /* over it */
    char *arriving;     /* the service thread's: differences of others */
    char *bounce;       /* pages from far homes that have a twin here */
    _Atomic uint64_t bounce_used;
};
extern struct rel_state rel;

struct rel_counts {
    _Atomic uint64_t read_misses;
    _Atomic uint64_t write_misses;
    _Atomic uint64_t upgrades;
    _Atomic uint64_t invalidations;
    _Atomic uint64_t bytes_fetched;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t notices;
    _Atomic uint64_t
        joins; /* pages whose notices by others a release awaited */
    _Atomic uint64_t diffs;
    _Atomic uint64_t evictions;
};
extern struct rel_counts rel_counts;

static inline void rel_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* ---- release.c: life cycle, release, acquire ------------------------------------ */

int rel_start(void);   /* collective, before the service thread starts */
void rel_end(void);    /* collective, before net ends */
void rel_forget(void); /* after it */
uint64_t rel_memory(const struct space_segment *s);
int rel_attach(struct space_segment *s); /* collective, as all below */
void rel_detach(struct space_segment *s);
int rel_recall(struct space_segment *s, bool drop);
int rel_check(struct space_segment *s); /* at rest */
void rel_release(void);
void rel_acquire(void);
/* Of pages [first, first + count): what I have written goes home; what I have a
 * copy of is fetched anew. */
void rel_release_range(struct rel_segment *m, uint64_t first, uint64_t count);
void rel_drop(struct rel_segment *m, uint64_t first, uint64_t count);

/* The segment with an identifier, or NULL. Under `releasing`. */
struct rel_segment *rel_find(uint32_t id);

/* ---- rel_page.c: page locks, flags, faults ---------------------------------------- */

void rel_lock(struct rel_segment *m, uint64_t page);
bool rel_trylock(struct rel_segment *m, uint64_t page);
void rel_unlock(struct rel_segment *m, uint64_t page);

/* Does my domain keep the page's master copy? */
bool rel_is_home(const struct rel_segment *m, uint64_t page);
/* Number of ranks of my domain that have written the page; under its lock. */
uint32_t rel_writers(const struct rel_segment *m, uint64_t page);
void rel_writer_add(struct rel_segment *m, uint64_t page, int by);
/* Enters the page, under its lock, in the list of pages written. */
void rel_list(struct rel_segment *m, uint64_t page, unsigned flag);
void rel_check_code(struct rel_segment *m, uint64_t page, int code);

enum recto_vm_verdict rel_fault(const struct recto_vm_fault *fault,
                                void *segment);
/* Fetches what I lack of pages [first, first + count). */
void rel_prefetch(struct rel_segment *m, uint64_t first, uint64_t count);

/* Fetches pages of other domains, locked, into the copy, whatever my right. */
void rel_fetch(struct rel_segment *m, uint64_t first, uint64_t count);

/* ---- rel_pin.c ------------------------------------------------------------------------- */

enum {
    REL_PIN_WRITE = 1 << 16
};

static inline bool rel_pinned(const struct rel_segment *m, uint64_t page)
{
    return atomic_load_explicit(&m->pins[page], memory_order_relaxed) != 0;
}

static inline bool rel_pinned_write(const struct rel_segment *m, uint64_t page)
{
    return atomic_load_explicit(&m->pins[page], memory_order_relaxed) >=
           REL_PIN_WRITE;
}

/* Faults a page in by touching its byte p, which stays as it is. */
void rel_touch(char *p, bool write);
/* Pins pages [first, first + count) for writing or reading: faults them in.
 * RECTO_ENOMEM: too many pins. */
int rel_pin(struct rel_segment *m, uint64_t first, uint64_t count, bool write);
/* RECTO_ESTATE, and nothing changes, when one has no such pin. */
int rel_unpin(struct rel_segment *m, uint64_t first, uint64_t count,
              bool write);

/* ---- rel_flush.c --------------------------------------------------------------------- */

/* Asynchronous signals are blocked meanwhile: a handler of the program that
 * faults must not wait for a page that this thread has locked. */
void rel_enter(sigset_t *before); /* takes `releasing` */
void rel_leave(const sigset_t *before);

enum rel_flush {
    REL_WRITTEN, /* send what I have written, keep the copies */
    REL_WATCH,   /* home pages that got a reader: they count as written */
    REL_DROP,    /* send what I have written, take all rights to copies */
    REL_AGE      /* the same, but the copies stay valid */
};

/* Sorts the batch, drops doubles, takes the locks; sends home what I have
 * written and tells the holders; drops the locks. When it returns differences
 * are applied and notices in their inboxes. Under `releasing`. `listed`: the
 * pages come from the list and leave it. Empties the batch. */
void rel_flush(struct rel_batch *b, enum rel_flush how, bool listed);

/* Ascending. */
void rel_sort(uint64_t *values, uint32_t count);

/* ---- rel_cache.c ----------------------------------------------------------------------- */

/* Under the pages' locks: they have become valid copies, and count. */
void rel_cache_add(struct rel_segment *m, uint64_t first, uint64_t count);
/* Gives pages up until there is room for a step. Under `releasing`. */
void rel_cache_shrink(void);
/* Pages that are marked LEAVES, to which I have no right, are not held any more.
 * Under `releasing`; no thread uses the segment. */
void rel_cache_forget(struct rel_segment *m);

/* ---- rel_tell.c: who is told ------------------------------------------------------------ */

/* Tables in shared memory, zero at first: of a rank, by writer; and of a domain. */
struct rel_task;
struct rel_joins;
size_t rel_tasks_bytes(void);
size_t rel_joins_bytes(void);

/* Who tells in the name of a release, and which ranks are to be told by message. */
struct rel_list;
struct rel_teller {
    int writer; /* the releasing rank: this one, or one whose differences came */
    int from;   /* rank that is waited for, for messages */
    struct rel_list *list;
};

/* Between start and finish pages are told. `token`, the writer's struct rel_wait, is
 * settled once all notices have arrived: before finish returns, or later. */
void rel_teller_start(struct rel_teller *teller, int writer, uint64_t token);
/* Sends what rel_tell has put in the list. */
void rel_teller_send(struct rel_segment *m, struct rel_teller *teller);
void rel_teller_finish(struct rel_teller *teller);

/* Registers `rank` as a reader of pages of one home, which shares, in its
 * directory and log; their bytes may be read then. */
void rel_register(struct rel_segment *m, uint64_t first, uint64_t count,
                  int rank);

/* Clears SHARERS but for the domain of the writer (that too if `all`), and
 * gives notice to those that were cleared; joins others' notices of the page that are
 * on their way. If there were none of either and `last`, clears LOGGED and returns
 * true. */
bool rel_tell(struct rel_segment *m, uint64_t page, bool all, bool last,
              struct rel_teller *teller);
/* A page's directory entry, where its home shares. */
struct rel_entry *rel_entry(const struct rel_segment *m, uint64_t page);

/* ---- rel_far.c: what goes by message ----------------------------------------------------- */

/* What a thread waits for; its address goes round in the messages. */
struct rel_wait {
    _Atomic int64_t left;
    _Atomic uint32_t done; /* futex word */
    int from;              /* rank last asked, for messages */
    uint64_t value;
};

int rel_far_start(void); /* registers with net; RECTO_ENOMEM */
void rel_far_forget(void);

/* Registers me at the far home of pages [first, first + count) and gets their
 * bytes into `to`: between begin and end, which waits for all of them. */
void rel_far_begin(struct rel_wait *wait);
void rel_far_fetch(struct rel_segment *m, uint64_t first, uint64_t count,
                   char *to, struct rel_wait *wait);
void rel_far_end(struct rel_wait *wait, struct rel_segment *m);

/* Differences on their way to far homes: a part of the staging area for each
 * message. */
struct rel_stage {
    struct rel_segment *m;
    struct rel_wait wait;
    struct rel_teller teller; /* for the notices that I send myself */
    int home;                 /* of the message that is filled, or -1 */
    size_t start;
    size_t used;
    uint64_t now; /* base_trace_clock */
};
void rel_stage_start(struct rel_stage *stage, struct rel_segment *m);
/* Adds a page, with its difference if I have written it; `all` as in
 * rel_tell. */
void rel_stage_add(struct rel_stage *stage, uint64_t page, bool dirty,
                   bool all);
/* Sends what is left and waits until all is applied and all have been told. */
void rel_stage_finish(struct rel_stage *stage);
size_t rel_stage_bytes(void);

/* Performs an atomic operation at a far home; returns the old value. */
uint64_t rel_far_atomic(struct rel_segment *m, enum coherence_operation op,
                        uint64_t offset, uint64_t operand, uint64_t desired);

/* ---- rel_atomic.c ------------------------------------------------------------------------ */

/* On a word anywhere; returns the old value and sets *now to the new one. */
uint64_t rel_operate(enum coherence_operation op, void *word, uint64_t operand,
                     uint64_t desired, uint64_t *now);
uint64_t rel_atomic(struct rel_segment *m, enum coherence_operation op,
                    uint64_t offset, uint64_t operand, uint64_t desired);

#endif
