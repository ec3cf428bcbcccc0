/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI: the sequentially consistent protocol, page by page.
 *
 * Who takes part. A *domain* is a set of ranks that use the same memory (the
 * ranks of a machine, or one rank with RECTO_NODE=rank). Each page has a home
 * rank; the home's domain keeps the master copy and the home's service thread
 * keeps the directory: which domain owns the page (OWNER, may write; none when
 * shared) and which ranks have it mapped (HOLDERS). The copy of another domain
 * lies in that domain's memory of the segment, at the same offset.
 *
 *  rank's page state        directory
 *
 *   Invalid  no access      OWNER = d    : holders are ranks of d; the copy of
 *   Shared   read                          d is the page, others are stale
 *   Modified read, write    OWNER = none : holders of any domain read; the
 *                                          master copy is the page
 *   Shared and Modified, aged: no access, but the copy stays (msi_cache.c)
 *
 *            read fault               ack_share
 *   Invalid ------------> IS ------------------------> Shared
 *      |      req_share                   done           | write fault
 *      | write fault         invalidate                  v req_exclusive
 *      +------------> IM <----------------------------- SM
 *       req_exclusive  |         ack_invalidate          |
 *                      | ack_exclusive                   | ack_exclusive
 *                      +-----------> Modified <----------+
 *                           done        |        done
 *     invalidate: Shared, Modified -> Invalid (MI stays), ack_invalidate
 *     downgrade:  Modified -> Shared (Shared, SM, MI stay), write_back
 *
 *       the clock's front hand        back hand            ack_evict
 *   Shared, Modified ------> aged ----------------> MI -----------------> Invalid
 *            ^   a fault      |      req_evict      ^         done
 *            +----------------+                     | back hand
 *                                                Invalid, its copy's memory kept
 *
 * A transaction at the home. A page is Busy from the request that opens a
 * transaction until the `done` that ends it; later requests queue in order.
 *
 *   req_share(r in d)      OWNER is another domain o: `downgrade` to every
 *                          holder, each answers write_back. OWNER = none.
 *   req_exclusive(r in d)  OWNER is not d: `invalidate` to every holder
 *                          outside d, each answers ack_invalidate. OWNER = d.
 *   DATA home              if the owner o is neither d nor the home's domain,
 *                          one of its holders is asked last, when all others
 *                          have answered, with DATA: it copies the page to
 *                          the home before it answers.
 *   req_evict(r in d)      nobody is asked: r has no right any more. ack_evict,
 *                          with DATA if d is the owner and r its last holder: r
 *                          copies the page home; with LAST if d has no other
 *                          holder: r gives the copy's memory back. At `done`
 *                          HOLDERS -= r, and OWNER = none if d was the owner and
 *                          has no holder left.
 *   else                   HOLDERS += r; ack_share / ack_exclusive to r, with
 *                          DATA if d is not the home's domain and had no
 *                          valid copy; r copies the page from the home,
 *                          raises its right, answers `done`.
 *
 * Messages: req_share req_exclusive ack_share ack_exclusive invalidate
 * ack_invalidate downgrade write_back done req_evict ack_evict.
 * docs/model/msi.pml models this file with the same names.
 *
 * Invariants
 * 1. At most one domain has Modified ranks, and then no rank of another domain
 *    has any right.
 * 2. A right is lowered in the kernel before ack_invalidate or write_back is
 *    sent, and raised only after the data is in the domain's memory.
 * 3. A rank has at most one request under way per page (an eviction is one); its
 *    threads wait for the page's state word to settle and look again.
 * 4. The directory is touched by the home's service thread only. (A recall
 *    scans owners from the calling thread while no request is under way.)
 * 5. A rank in IS or IM holds nothing, so it is never sent invalidate or
 *    downgrade; a rank in SM may lose its copy and then waits in IM; a rank in
 *    MI may lose it too, and stays: the home tells it what is left to be done.
 * 6. A page just obtained is kept for RECTO_HOLD microseconds (Fleisch and
 *    Popek, Mirage, SOSP'89): an earlier invalidate or downgrade is put aside
 *    until then, and the service thread goes on with other work. Progress
 *    rests on it: the hold must outlast one access of the thread that waited.
 *    It is a time, never a condition: a condition can wait for itself. Nor is a
 *    page aged before that.
 * 7. An aged page has no right in the kernel; nobody writes it, so the copy that
 *    goes home is the last. Memory of a copy is given back inside a transaction
 *    of its page, when no rank of the domain holds it.
 */
#ifndef RECTO_SRC_MSI_H
#define RECTO_SRC_MSI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "coherence/cache.h"
#include "coherence/coherence.h"
#include "coherence/holders.h"
#include "net/net.h"
#include "space/space.h"

/* ---- states and messages ---------------------------------------------------- */

enum msi_state {
    MSI_INVALID,
    MSI_SHARED,
    MSI_MODIFIED,
    MSI_IS, /* Invalid, asked to share */
    MSI_IM, /* Invalid, asked for exclusive use */
    MSI_SM, /* Shared, asked for exclusive use */
    MSI_MI, /* without rights, asked to give the copy up */
    MSI_STATES
};

enum msi_message {
    MSI_REQ_SHARE,
    MSI_ACK_SHARE,
    MSI_REQ_EXCLUSIVE,
    MSI_ACK_EXCLUSIVE,
    MSI_INVALIDATE,
    MSI_ACK_INVALIDATE,
    MSI_DOWNGRADE,
    MSI_WRITE_BACK,
    MSI_DONE,
    MSI_REQ_EVICT,
    MSI_ACK_EVICT,
    /* from an application thread of the home to its own service thread */
    MSI_RECALL, /* as req_share of the home's domain, with nobody to answer */
    MSI_DROP,   /* as req_exclusive of the home's domain, likewise */
    /* from an application thread to its own service thread */
    MSI_SHRINK, /* the clock's hands move on in this segment */
    MSI_REVIVE, /* a thread wants the right to an aged page back */
    MSI_MESSAGES
};

/* net_msg.flags. DATA: the receiver copies the page (to the home for invalidate,
 * downgrade and ack_evict, from the home for an ack_share and ack_exclusive). Where
 * home and rank share no memory, it travels with the home's ack, or with the answer.
 * LAST: nobody else of the receiver's domain holds it. In messages: object =
 * segment, a = page. */
enum {
    MSI_DATA = 1,
    MSI_LAST = 2
};

const char *msi_state_name(enum msi_state state);
const char *msi_message_name(enum msi_message message);

/* ---- a rank's pages (page.c) --------------------------------------------------
 * One word per page: state, flags, when it was obtained. */
enum {
    MSI_STATE_MASK = 0xf,
    MSI_WAITERS = 0x10, /* threads wait for the word to change */
    MSI_AGED = 0x20,    /* Shared or Modified, but without right */
    MSI_WANTED = 0x40,  /* and a thread has asked for it (MSI_REVIVE) */
    MSI_COPY = 0x80,    /* the page counts in the cache */
    MSI_TIME_SHIFT = 8, /* microseconds modulo 2^24 */
};

/* ---- the directory of the pages homed here (home.c) ---------------------------- */

enum {
    MSI_OWNER_NONE = -1
};

/* Lies in a zero-filled sparse table; an entry that was never used (`used` 0)
 * means: owned by the home's domain, held by all its ranks if the segment is
 * eager, else by none. */
struct msi_entry {
    int32_t owner; /* domain or MSI_OWNER_NONE */
    uint16_t used;
    uint16_t unused;
    uint32_t txn; /* transaction under way + 1, or 0; page is Busy */
    uint32_t unused2;
    uint64_t holders; /* holders.h */
};

struct msi_segment {
    struct space_segment *s;
    _Atomic uint32_t *pages;     /* this rank's page words */
    struct msi_entry *directory; /* by page of the segment */
    struct holders_pool holders; /* the home's: lists of HOLDERS */
    _Atomic uint32_t busy;       /* transactions under way here */
    _Atomic uint32_t recalled;   /* finished recalls and drops, futex word */
    uint32_t recalls;            /* those asked for */
    recto_vm_trap *trap;
    /* the cache, see msi_cache.c */
    struct cache_ring ring;     /* hands: the service thread */
    _Atomic uint64_t copies;    /* pages with MSI_COPY */
    _Atomic uint32_t under_way; /* SHRINK, REVIVE and evictions */
    _Atomic uint32_t shrinking; /* SHRINK is on its way */
    bool closed;                /* no SHRINK; under `releasing` */
    struct msi_segment *next;   /* under `releasing` */
};

struct msi_counts {
    _Atomic uint64_t read_misses;
    _Atomic uint64_t write_misses;
    _Atomic uint64_t upgrades;
    _Atomic uint64_t invalidations;
    _Atomic uint64_t downgrades;
    _Atomic uint64_t bytes_fetched;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t evictions;
};
extern struct msi_counts msi_counts;

/* page.c: this rank as a user of pages */
enum recto_vm_verdict msi_page_fault(const struct recto_vm_fault *fault,
                                     void *segment);
void msi_page_receive(struct msi_segment *m, const struct net_msg *msg);
int msi_page_init(void); /* RECTO_EINVAL */
static inline enum msi_state msi_state_of(uint32_t word)
{
    return (enum msi_state)(word & MSI_STATE_MASK);
}
/* Is a page with this word in its hold time? */
bool msi_page_held(uint32_t word);
/* Service thread: gives the right that the page's state has, takes all rights. */
void msi_page_raise(struct msi_segment *m, uint64_t page, enum msi_state state);
void msi_page_lower(struct msi_segment *m, uint64_t page);
void msi_post(struct msi_segment *m, int target, enum msi_message type,
              uint64_t page, unsigned flags);
/* The same; `bytes` of the page go along to a rank that is reached by MPI. On the
 * service thread. */
void msi_post_page(struct msi_segment *m, int target, enum msi_message type,
                   uint64_t page, unsigned flags, const void *bytes);

/* msi_cache.c: copies are given up */
void msi_cache_link(struct msi_segment *m);
void msi_cache_unlink(struct msi_segment *m); /* closed, nothing under way */
/* Service thread: the page has become a copy that counts (MSI_COPY). */
void msi_cache_add(struct msi_segment *m, uint64_t page);
/* Service thread: an eviction has ended, `done` is sent. */
void msi_cache_gone(struct msi_segment *m);
/* A faulting thread: it waits for a page that is aged and WANTED. */
void msi_cache_revive(struct msi_segment *m, uint64_t page);
void msi_cache_receive(struct msi_segment *m, const struct net_msg *msg);
/* Asks the service thread to give copies up. Under `releasing`. */
void msi_cache_shrink(void);
/* Waits until `more` copies have room or what was under way has ended. */
void msi_cache_wait(int64_t more);
/* No new evictions; waits for none. */
void msi_cache_close(struct msi_segment *m);
void msi_cache_open(struct msi_segment *m);
/* Closed, and nothing under way: copies that `leaves` says leave count no more, and
 * give their memory back. */
void msi_cache_forget(struct msi_segment *m,
                      bool (*leaves)(void *segment, uint64_t page));

/* home.c: this rank as the home of pages */
void msi_home_receive(struct msi_segment *m, const struct net_msg *msg);
struct msi_entry *msi_home_entry(struct msi_segment *m, uint64_t page);
bool msi_home_holds(const struct msi_segment *m, const struct msi_entry *e,
                    int rank);
/* A page that comes to this domain, or whose entry was never used: the domain owns it,
 * and all its ranks hold it or none. */
void msi_home_own(struct msi_segment *m, uint64_t page, bool held);
/* A page that leaves, or may: its entry is as if never used. */
void msi_home_forget(struct msi_segment *m, uint64_t page);
void msi_home_finalize(void);

/* coherence.c: my home pages become the page, as coherence_recall says, run by run
 * between start and end. Nobody uses the segment meanwhile, and its cache is closed
 * (msi_cache_open). */
int msi_recall_start(struct msi_segment *m);
void msi_recall_run(struct msi_segment *m, uint64_t first, uint64_t count,
                    bool drop);
void msi_recall_end(struct msi_segment *m);

/* check.c: compares this rank's pages with its homes' directories */
int msi_check(struct msi_segment *m);

#endif
