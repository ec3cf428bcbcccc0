/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which home pages were written since the last checkpoint, whoever wrote.
 *
 * A home page is written by the ranks of its domain through their rectos, each
 * tracked by its own vm range, and by other domains, which the protocol tells
 * when it gives them the page. Both end in the *domain bitmap*: one bit per
 * page of the segment, behind the pages in the domain's memory, so that every
 * rank of the domain reaches it.
 *
 * Invariants
 * 1. A bit is set before the write it stands for can be in a collected page:
 *    vm marks before it grants; the protocol marks before it grants.
 * 2. Only the home of a page clears its bit, or who is about to become it. Bits of
 *    pages homed elsewhere mean nothing.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base.h"
#include "space/space.h"

static _Atomic uint64_t *domain_bitmap(const struct space_segment *s)
{
    return (_Atomic uint64_t *)(void *)space_verso(s, s->pages);
}

int space_dirty_start(struct space_segment *s)
{
    if (s->tracking) {
        return 0;
    }
    int r = net_verdict(recto_vm_dirty_start(s->range));
    if (r == 0) {
        s->tracking = true;
    }
    return r;
}

bool space_dirty_tracking(const struct space_segment *s)
{
    return s->tracking;
}

void space_dirty_mark(struct space_segment *s, uint64_t page)
{
    space_dirty_mark_in(s, page, net_domain_of(space_home(s, page)));
}

void space_dirty_mark_in(struct space_segment *s, uint64_t page, int domain)
{
    _Atomic uint64_t *bitmap =
        (_Atomic uint64_t *)(void *)(s->versos[domain] + s->pages * SPACE_PAGE);
    atomic_fetch_or_explicit(&bitmap[page / 64], (uint64_t)1 << page % 64,
                             memory_order_acq_rel);
}

/* My vm marks into the domain bitmap. */
static int marks_publish(struct space_segment *s)
{
    uint64_t words = (s->pages + 63) / 64;
    uint64_t *marks = calloc(words, sizeof *marks);
    if (marks == NULL) {
        return base_error(RECTO_ENOMEM, "dirty bitmap of \"%s\"", s->name);
    }
    int r = recto_vm_dirty_collect(s->range, 0, s->pages, marks);
    for (uint64_t i = 0; i < words; i++) {
        if (marks[i] != 0) {
            atomic_fetch_or_explicit(&domain_bitmap(s)[i], marks[i],
                                     memory_order_acq_rel);
        }
    }
    free(marks);
    return r;
}

/* Bits [from, to) of a word. */
static uint64_t bits(uint64_t from, uint64_t to)
{
    uint64_t upto = to == 64 ? ~(uint64_t)0 : ((uint64_t)1 << to) - 1;
    return upto & ~(((uint64_t)1 << from) - 1);
}

/* Into `bitmap`, unless it is NULL. */
static void run_take(struct space_segment *s, uint64_t first, uint64_t count,
                     uint64_t *bitmap)
{
    uint64_t end = first + count;
    for (uint64_t page = first; page < end; page = (page / 64 + 1) * 64) {
        uint64_t word = page / 64;
        uint64_t to = end - word * 64 < 64 ? end - word * 64 : 64;
        uint64_t mask = bits(page % 64, to);
        uint64_t old = atomic_fetch_and_explicit(&domain_bitmap(s)[word], ~mask,
                                                 memory_order_acq_rel);
        if (bitmap != NULL) {
            bitmap[word] |= old & mask;
        }
    }
}

int space_dirty_collect(struct space_segment *s, uint64_t *bitmap)
{
    int r =
        net_verdict(marks_publish(s)); /* also: all of my domain published */
    if (r != 0) {
        return r;
    }
    uint64_t word = 0;
    uint64_t end = 0;
    /* what was never written in the bitmap is left alone: it takes no memory */
    while (space_table_run(s, (const void *)domain_bitmap(s), sizeof(uint64_t),
                           (s->pages + 63) / 64, end, &word, &end)) {
        uint64_t stop = end * 64;
        uint64_t first = word * 64;
        uint64_t count = 0;
        while (space_home_run(s, net_rank(), first + count, &first, &count) &&
               first < stop) {
            count = count < stop - first ? count : stop - first;
            run_take(s, first, count, bitmap);
        }
    }
    return 0;
}

void space_dirty_restore(struct space_segment *s, const uint64_t *bitmap)
{
    for (uint64_t i = 0; i < (s->pages + 63) / 64; i++) {
        if (bitmap[i] != 0) {
            atomic_fetch_or_explicit(&domain_bitmap(s)[i], bitmap[i],
                                     memory_order_acq_rel);
        }
    }
}

enum {
    LEAVE_WORDS = 64
};

int space_dirty_leave(struct space_segment *s, uint64_t first, uint64_t count,
                      bool keep)
{
    uint64_t end = first + count;
    int r = 0;
    for (uint64_t at = first; s->tracking && at < end && r == 0;) {
        uint64_t marks[LEAVE_WORDS] = {0};
        uint64_t most = (uint64_t)LEAVE_WORDS * 64;
        uint64_t n = end - at < most ? end - at : most;
        r = recto_vm_dirty_collect(s->range, at, n, marks);
        for (uint64_t i = 0; keep && i < n; i++) {
            if (marks[i / 64] >> i % 64 & 1) {
                space_dirty_mark_in(s, at + i, net_domain());
            }
        }
        at += n;
    }
    return r;
}

void space_dirty_clear(struct space_segment *s, uint64_t first, uint64_t count)
{
    if (s->tracking) {
        run_take(s, first, count, NULL);
    }
}

bool space_dirty_is_marked(const struct space_segment *s, uint64_t page)
{
    return s->tracking && (atomic_load_explicit(&domain_bitmap(s)[page / 64],
                                                memory_order_acquire) >>
                               page % 64 &
                           1) != 0;
}
