/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space: the global address space. Segments (named, typed, collective), where
 * they lie, and which rank is the home of each page.
 *
 * Memory. Every domain has one memory (memfd) per segment, as large as the
 * segment and sparse: pages homed in the domain have their master copy in it,
 * the others the domain's cached copy, each at its offset in the segment. A
 * rank maps its domain's memory twice, as recto (at the agreed address,
 * protected) and as verso, and the memory of every other domain it shares with
 * as verso.
 *
 * Invariants
 * 1. The list of segments has the same order and contents on all ranks; it
 *    changes only inside collective calls.
 * 2. A page belongs to one home from the moment that it is known
 *    (space_home_claim) to a recto_migrate, which changes it on all ranks at once.
 */
#ifndef RECTO_SRC_SPACE_H
#define RECTO_SRC_SPACE_H

#include <recto.h>
#include <recto/vm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"

enum {
    SPACE_PAGE = 4096
}; /* unit of coherence, homes and checkpoints */

struct space_claims;
struct space_moved;

struct space_segment {
    uint32_t id; /* never used again */
    char name[RECTO_NAME_MAX + 1];
    recto_type type;
    int ndims;
    uint64_t dims[RECTO_DIMS_MAX];
    uint64_t bytes; /* as asked for */
    uint64_t pages;
    recto_attr attr;
    uint64_t granule_pages; /* pages per round, or touched together */
    char *recto;            /* the agreed address */
    char **versos;          /* by domain; NULL where not shared */
    int fd;                 /* my domain's memory */
    uint64_t extra_bytes;   /* the protocol's part of that memory */
    uint64_t homed;         /* bytes homed in my domain */
    bool eager;             /* home pages start writable in their domain */
    bool
        lazy; /* pages may come late (lazy.h): their homes start without rights */
    _Atomic bool loading; /* some may not be here yet */
    bool tracking;        /* writes since the last checkpoint are noted */
    bool heap;            /* of recto_malloc: grows, is never settled */
    _Atomic bool
        settled; /* first touch is over: what nobody has is its keeper's */
    struct space_claims *claims; /* first touch: what I home (claims.c) */
    recto_vm_range *range;
    net_window *window; /* over the verso of my domain; may be NULL */
    /* Homes that recto_migrate gave; NULL: none (moved.h). */
    struct space_moved *_Atomic moved;
    void *coherence;      /* the protocol's state */
    _Atomic int64_t pins; /* lazy: pages that this rank has pinned or lent */
    void *lone; /* lazy, one domain: how rights are given (coherence/lone.c) */
    struct space_segment *next;
};

/* Segments in the order of their allocation. One thread, between collective
 * calls; NULL ends. */
struct space_segment *space_segment_first(void);
struct space_segment *space_segment_find(const char *name);
/* By id, for the service thread: lock-free; NULL when freed. */
struct space_segment *space_segment_by_id(uint32_t id);
/* By address, lock-free, async-signal-safe; NULL outside shared memory. */
struct space_segment *space_segment_at(const void *p);

/*
 * Who homes a page. Where the placement says so, every rank knows; of a first-touch
 * segment a rank knows what it homes itself, what it reaches in memory, and what it has
 * asked about (touch.c). What each function needs and tells:
 *
 *   space_home          known pages: whoever has a right to a page, a copy of it or a
 *                       message about it has asked. For others, the keeper, who
 *                       knows and can hand on what was meant for the home
 *   space_home_known    nothing; never waits
 *   space_home_claim    nothing; may wait for the keeper
 *   space_home_ask      the same
 *   space_homes_ask     the same, for many pages by few messages
 *   space_home_stretch  as space_home, for neighbours
 *   space_home_run      of my own: a space_homes_list or _settle since the last claim
 *
 * Never wait: the service thread, and whoever holds a page's lock or a guard.
 */

/* Home rank of a page; the rank that keeps its granule where nobody has touched it
 * yet, or this rank does not know. */
int space_home(const struct space_segment *s, uint64_t page);

/*
 * Runs of neighbouring pages homed by `rank`, ascending: sets [*first,
 * *first + *count) to the first run at or after page `from`. False when there
 * is none. Of first touch my own cost what there is of them; those of another
 * rank, as far as known here, a look at every granule: for checks.
 */
bool space_home_run(const struct space_segment *s, int rank, uint64_t from,
                    uint64_t *first, uint64_t *count);

/* Pages from `page` on, at least 1 and at most `most`, that have its home and are known
 * if it is; there may be more. */
uint64_t space_home_stretch(const struct space_segment *s, uint64_t page,
                            uint64_t most);

/* Home rank; who asks becomes it if nobody is. Before a right to the page is
 * taken or a message about it is sent. Async-signal-safe; not in the service
 * thread. */
int space_home_claim(struct space_segment *s, uint64_t page);
/* The same without a claim. */
int space_home_ask(struct space_segment *s, uint64_t page);
/* Asks for all of these pages that I do not know; what nobody has stays unknown. */
void space_homes_ask(struct space_segment *s, uint64_t first, uint64_t count);
/* Is it decided, as far as this rank knows? */
bool space_home_known(const struct space_segment *s, uint64_t page);
/* Makes me the home of pages that nobody can have touched; whole granules.
 * Waits for their keepers. */
void space_homes_claim(struct space_segment *s, uint64_t first, uint64_t count);
/* The service thread was asked as the page's home. */
void space_home_learn(struct space_segment *s, uint64_t page);

/* Brings the list of what I home up to date; of what nobody has claimed that is what I
 * keep. Local, while no thread accesses the segment. RECTO_ENOMEM. */
int space_homes_list(struct space_segment *s);
/* Also decides that it stays so (but in the heap). On all ranks in one collective
 * call, which no rank leaves before all have done it. */
int space_homes_settle(struct space_segment *s);
/* Do the lists of all ranks make up the segment? Collective. RECTO_ESTATE. */
int space_homes_check(struct space_segment *s);

/* Number of pages homed by `rank`, as space_home_run tells. */
uint64_t space_home_pages(const struct space_segment *s, int rank);
/* Bytes homed in my domain; of first touch as the allocation promised. */
uint64_t space_homed_bytes(const struct space_segment *s);

/* My domain's memory of a page through the verso. */
static inline char *space_verso(const struct space_segment *s, uint64_t page)
{
    return s->versos[net_domain()] + page * SPACE_PAGE;
}

/* Memory of this machine that a job may use: main memory and swap, or the
 * least limit of its cgroups. Local. */
uint64_t space_machine_bytes(void);

/* The first run of pages of [from, limit) whose memory in my domain may hold data; the
 * pages before it are holes. False: all are. */
bool space_data_run(const struct space_segment *s, uint64_t from,
                    uint64_t limit, uint64_t *first, uint64_t *end);
/* The same of a table of `count` entries of `size` bytes in my domain's memory: entries
 * before *first are zero. */
bool space_table_run(const struct space_segment *s, const void *table,
                     size_t size, uint64_t count, uint64_t from,
                     uint64_t *first, uint64_t *end);
/* Tells on stderr, once in a process, that the kernel has no memory behind an
 * address in a view of a segment, or, `broken`, that it failed. Async-signal-safe. */
void space_shortage(const void *address, bool broken);
/* Is it likely that most of it stays untouched? */
bool space_sparse(const struct space_segment *s);

/* The protocol's own part of a domain's memory (space_protocol.memory bytes,
 * page aligned, zero at first); NULL where not shared. */
char *space_extra(const struct space_segment *s, int domain);

/* ---- for checkpoints (src/space/dirty.c) -----------------------------------
 * Pages written since the last collection, over pages that this rank homes,
 * whoever wrote: ranks of my domain through their rectos, other domains
 * through the protocol, the runtime through a verso. */

/* Bytes of a domain's memory, right behind the pages, for its marks and for what is known
 * of the pages. */
uint64_t space_dirty_bytes(const struct space_segment *s);
/* Once, when s->range is new: the ranks of my domain share what theirs know. */
void space_dirty_share(struct space_segment *s);

/* Starts tracking on all segments that do not track yet. Their pages count as
 * clean; the caller saves all of them. Collective. */
int space_dirty_start(struct space_segment *s);
bool space_dirty_tracking(const struct space_segment *s);

/* Takes a run of pages; other than 0 ends the collection, and it keeps its marks. */
typedef int (*space_dirty_run)(void *argument, uint64_t first, uint64_t count);

/* Takes the marks of my home pages, tells them in ascending order by calls of `run`
 * (NULL: nobody), neighbours perhaps as two, and tracks anew. Collective: no thread
 * writes meanwhile (a late write is in the next). The status is this rank's own. */
int space_dirty_collect(struct space_segment *s, space_dirty_run run,
                        void *argument);

/* Takes back a part of a failed collection: pages that I home. Local. */
void space_dirty_restore(struct space_segment *s, uint64_t first,
                         uint64_t count);

/* Marks a page, whose home shares memory with me, as written by another domain
 * or by the runtime. Lock-free, async-signal-safe. */
void space_dirty_mark(struct space_segment *s, uint64_t page);
/* The same for a page whose home is known to be of a domain. */
void space_dirty_mark_in(struct space_segment *s, uint64_t page, int domain);

/* For pages that change their home. Takes my vm marks of them, nothing while not
 * tracking, into my domain's if `keep`; then their new home clears the marks in its
 * domain, and gets those of their old one (space_dirty_mark_in), which then clears
 * them. */
int space_dirty_leave(struct space_segment *s, uint64_t first, uint64_t count,
                      bool keep);
void space_dirty_clear(struct space_segment *s, uint64_t first, uint64_t count);
/* Pages have another home now: what is known of their contents is old. Local. */
void space_dirty_forget(struct space_segment *s, uint64_t first,
                        uint64_t count);
/* Is it marked, in my domain? */
bool space_dirty_is_marked(const struct space_segment *s, uint64_t page);

/* ---- life cycle -------------------------------------------------------------
 * The protocol, one floor up, is given at start: attach after a segment's
 * memory is mapped, detach before it goes. Both are collective. */
struct space_protocol {
    /* bytes that the protocol wants in each domain's memory of a segment */
    uint64_t (*memory)(const struct space_segment *s);
    int (*attach)(struct space_segment *s);
    void (*detach)(struct space_segment *s);
};
/* The segment behind recto_malloc, in granules of `granule` bytes which are homed
 * with who claims them. Collective. */
int space_heap_create(uint64_t bytes, size_t granule,
                      struct space_segment **heap);

int space_init(const struct space_protocol *with);
int space_finalize(void); /* frees all segments; collective */

#endif
