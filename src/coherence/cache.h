/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bound on a rank's copies of other domains' pages, RECTO_CACHE, and what the
 * two protocols' caches (rel_cache.c, msi_cache.c) have in common: one count, one
 * policy, a ring per segment.
 *
 * CLOCK with two hands (S. J. Leffler et al., The Design and Implementation of the
 * 4.3BSD UNIX Operating System, 1989), with faults for reference bits (O. Babaoglu
 * and W. Joy, SOSP'81). A segment's ring has the pages held, in the order of their
 * coming:
 *
 *     back hand              front hand                        tail
 *        | aged: rights taken    | as the program left them       | new
 *
 * The front hand takes a page's rights; the copy stays valid and the next access
 * gets it back by a fault without a fetch. The back hand gives up pages that were
 * not accessed since, and puts the others at the tail. New pages are at the tail,
 * so a thread's last faults are safe while the cache holds some pages per thread.
 */
#ifndef RECTO_SRC_CACHE_H
#define RECTO_SRC_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Entries are put by any thread; one thread at a time moves the hands. */
struct cache_ring {
    _Atomic uint64_t *entries; /* page + 1; 0: not yet written */
    uint64_t room;             /* as many as the segment has pages */
    _Atomic uint64_t tail;
    uint64_t front;
    uint64_t back;
};

int cache_ring_create(struct cache_ring *ring, uint64_t pages);
void cache_ring_free(struct cache_ring *ring); /* fine if never created */
void cache_ring_put(struct cache_ring *ring, const uint64_t *pages,
                    uint64_t count);
/* The page at a position below the tail; `take`: its entry goes. */
uint64_t cache_ring_get(struct cache_ring *ring, uint64_t at, bool take);
/* Takes out the pages that `leaves` says leave; the others keep their order, and their
 * side of the front hand. Returns how many left. Nobody puts meanwhile. */
uint64_t cache_ring_forget(struct cache_ring *ring,
                           bool (*leaves)(void *segment, uint64_t page),
                           void *segment);
/* Entries; exact for who moves the hands while nobody puts. */
uint64_t cache_ring_count(const struct cache_ring *ring);
/* How many of them are to lie between the hands. */
uint64_t cache_ring_ahead(const struct cache_ring *ring);

int cache_init(void); /* RECTO_CACHE; RECTO_EINVAL */
/* Copies held, of one protocol, become more or fewer. */
enum cache_kind {
    CACHE_RELEASE,
    CACHE_SEQUENTIAL,
    CACHE_KINDS
};
void cache_count(enum cache_kind kind, int64_t by);
/* Are they more than the bound when `more` come (negative: go)? */
bool cache_full(int64_t more);
int64_t cache_step(void);      /* pages given up at a time, at most */
uint64_t cache_transfer(void); /* pages that one fault may move */

/*
 * Gives copies up until `more` have room, as far as that can be had: what is
 * pinned, in its hold time or used all the time stays. The kind of memory that
 * holds more gives first, so that a few pages in use outlast many that are not.
 * Waits for its own rank's evictions under way. Holds no page lock when called, and no other; also in a
 * fault handler.
 */
void cache_shrink(int64_t more);

#endif
