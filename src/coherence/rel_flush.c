/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending home what was written: the second step of a release, and what an
 * acquire or the cache does before it takes a page that was written. See
 * release.h.
 *
 *   lock all -> take WRITE in runs -> per page: differences home, then clear
 *   SHARERS and tell -> wait for far homes -> give back or take rights in runs
 *   -> unlock all
 *
 * Invariants
 * 1. From the taking of WRITE to the unlocking no thread of this rank can write
 *    the pages: it faults and waits for the lock.
 * 2. A page keeps REL_DIRTY or REL_ATOMIC until its differences are applied or
 *    staged.
 */
#include <string.h>

#include "base/base.h"
#include "coherence/diff.h"
#include "coherence/release.h"
#include "space/snapshot.h"

/* ---- batches ------------------------------------------------------------------------ */

/* Shell's: batches and lists are mostly in order. */
void rel_sort(uint64_t *values, uint32_t count)
{
    for (uint32_t gap = count / 2; gap > 0; gap /= 2) {
        for (uint32_t i = gap; i < count; i++) {
            uint64_t value = values[i];
            uint32_t at = i;
            for (; at >= gap && values[at - gap] > value; at -= gap) {
                values[at] = values[at - gap];
            }
            values[at] = value;
        }
    }
}

static void order(struct rel_batch *b)
{
    bool sorted = true;
    for (uint32_t i = 1; i < b->count && sorted; i++) {
        sorted = b->pages[i - 1] < b->pages[i];
    }
    if (sorted) {
        return;
    }
    rel_sort(b->pages, b->count);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < b->count; i++) {
        if (b->pages[i] != b->pages[kept - 1]) {
            b->pages[kept++] = b->pages[i];
        }
    }
    b->count = kept;
}

static unsigned flags_of(const struct rel_segment *m, uint64_t page)
{
    return atomic_load_explicit(&m->flags[page], memory_order_relaxed);
}

static void flags_clear(struct rel_segment *m, uint64_t page, unsigned flags)
{
    atomic_fetch_and_explicit(&m->flags[page], (uint8_t)~flags,
                              memory_order_relaxed);
}

static bool written(const struct rel_segment *m, uint64_t page)
{
    return (flags_of(m, page) & (REL_DIRTY | REL_ATOMIC)) != 0;
}

/* What to do to the rights of a page in one sweep over a batch. */
enum sweep {
    TAKE_WRITE, /* of pages written, or of all */
    TAKE_ALL,   /* of copies */
    GIVE_BACK   /* WRITE to home pages without readers */
};

struct flush {
    struct rel_batch *b;
    enum rel_flush how;
    struct rel_stage stage;
    uint64_t diffs;
    uint64_t changed;
    uint64_t free[REL_BATCH / 64]; /* home pages without readers, by index */
    uint64_t far[REL_BATCH / 64];  /* written, of homes that do not share */
};

static bool sweeps(const struct flush *f, enum sweep what, uint32_t i)
{
    struct rel_segment *m = f->b->m;
    uint64_t page = f->b->pages[i];
    switch (what) {
    case TAKE_WRITE:
        return (f->how == REL_WATCH || written(m, page)) &&
               !rel_pinned_write(m, page);
    case TAKE_ALL: return !rel_is_home(m, page) && !rel_pinned(m, page);
    default: return (f->free[i / 64] >> i % 64 & 1) != 0;
    }
}

static void sweep(const struct flush *f, enum sweep what)
{
    struct rel_segment *m = f->b->m;
    const uint64_t *pages = f->b->pages;
    for (uint32_t i = 0; i < f->b->count;) {
        uint32_t n = 0;
        while (i + n < f->b->count && pages[i + n] == pages[i] + n &&
               sweeps(f, what, i + n)) {
            n++;
        }
        if (n == 0) {
            i++;
            continue;
        }
        int r = what == GIVE_BACK
                    ? recto_vm_unprot(m->s->range, pages[i], n, RECTO_VM_WRITE)
                    : recto_vm_protn(m->s->range, pages[i], n,
                                     what == TAKE_ALL ? RECTO_VM_NONE
                                                      : RECTO_VM_READ);
        rel_check_code(m, pages[i], r);
        i += n;
    }
}

/* ---- pages ------------------------------------------------------------------------------ */

/* A page of my domain: its bytes are home already. A page that got readers has
 * been read lately: if another rank of my domain has told them just before,
 * they come back, so it stays watched. */
static void home_flush(struct flush *f, uint32_t i)
{
    bool last =
        f->how != REL_WATCH && !rel_pinned_write(f->b->m, f->b->pages[i]);
    if (rel_tell(f->b->m, f->b->pages[i], false, last, &f->stage.teller)) {
        f->free[i / 64] |= (uint64_t)1 << i % 64;
    }
}

static void near_flush(struct flush *f, uint64_t page, unsigned flags)
{
    struct rel_segment *m = f->b->m;
    int domain = net_domain_of(space_home(m->s, page));
    size_t changed = 0;
    if (flags & REL_DIRTY) {
        space_before_write(m->s, page);
        uint32_t range[2] = {0, 0};
        changed =
            diff_store(m->s->versos[domain] + page * SPACE_PAGE,
                       space_verso(m->s, page), m->twins + page * SPACE_PAGE,
                       rel_writers(m, page) > 1 || rel_pinned_write(m, page),
                       f->stage.now != 0 ? range : NULL);
        rel_writer_add(m, page, rel_pinned_write(m, page) ? 0 : -1);
        f->diffs++;
        f->changed += changed;
        coherence_sent(m->s, page, space_home(m->s, page), range, changed,
                       f->stage.now);
    }
    if (changed > 0) {
        space_dirty_mark(m->s, page);
    }
    if (changed > 0 || (flags & REL_ATOMIC)) {
        (void)rel_tell(m, page, (flags & REL_ATOMIC) != 0, false,
                       &f->stage.teller);
    }
}

static void far_flush(struct flush *f, uint64_t page, unsigned flags)
{
    struct rel_segment *m = f->b->m;
    bool dirty = (flags & REL_DIRTY) != 0;
    rel_stage_add(&f->stage, page, dirty, (flags & REL_ATOMIC) != 0);
    if (dirty) {
        rel_writer_add(m, page, rel_pinned_write(m, page) ? 0 : -1);
        f->diffs++;
    }
}

/* What was written so far is on its way; what is pinned goes on being written. */
static void sent(struct rel_segment *m, uint64_t page)
{
    flags_clear(m, page, REL_DIRTY | REL_ATOMIC);
    if (rel_pinned_write(m, page)) {
        rel_list(m, page, REL_DIRTY);
    }
}

/* Pages of homes that share memory with me, and my own. */
static void near_pages(struct flush *f)
{
    struct rel_segment *m = f->b->m;
    for (uint32_t i = 0; i < f->b->count; i++) {
        uint64_t page = f->b->pages[i];
        unsigned flags = flags_of(m, page);
        if (!written(m, page) && f->how != REL_WATCH) {
            continue;
        }
        if (rel_is_home(m, page)) {
            home_flush(f, i);
        } else if (net_shares(space_home(m->s, page))) {
            near_flush(f, page, flags);
        } else {
            f->far[i / 64] |= (uint64_t)1 << i % 64;
            continue;
        }
        sent(m, page);
    }
}

static bool is_far(const struct flush *f, uint32_t i)
{
    return (f->far[i / 64] >> i % 64 & 1) != 0;
}

/* The others, home by home: one message for all pages of a home. */
static void far_pages(struct flush *f)
{
    struct rel_segment *m = f->b->m;
    for (uint32_t first = 0; first < f->b->count; first++) {
        if (!is_far(f, first)) {
            continue;
        }
        int home = space_home(m->s, f->b->pages[first]);
        for (uint32_t i = first; i < f->b->count; i++) {
            uint64_t page = f->b->pages[i];
            if (is_far(f, i) && space_home(m->s, page) == home) {
                f->far[i / 64] &= ~((uint64_t)1 << i % 64);
                far_flush(f, page, flags_of(m, page));
                sent(m, page);
            }
        }
    }
}

/* Copies that are dropped are not valid any more, those that age are. */
static void copies_mark(const struct flush *f)
{
    struct rel_segment *m = f->b->m;
    for (uint32_t i = 0; i < f->b->count; i++) {
        uint64_t page = f->b->pages[i];
        if (f->how == REL_DROP) {
            flags_clear(m, page, REL_AGED);
        } else if (recto_vm_right_of(m->s->range, page) != RECTO_VM_NONE &&
                   !rel_pinned(m, page)) {
            atomic_fetch_or_explicit(&m->flags[page], REL_AGED,
                                     memory_order_relaxed);
        }
    }
}

/* Copies that cannot be dropped are fetched anew. */
static void pinned_refresh(const struct flush *f)
{
    struct rel_segment *m = f->b->m;
    for (uint32_t i = 0; i < f->b->count; i++) {
        uint64_t page = f->b->pages[i];
        if (rel_pinned(m, page) && !rel_is_home(m, page)) {
            rel_fetch(m, page, 1);
        }
    }
}

void rel_flush(struct rel_batch *b, enum rel_flush how, bool listed)
{
    struct rel_segment *m = b->m;
    struct flush f = {.b = b, .how = how};
    if (b->count == 0) {
        return;
    }
    uint32_t entries = b->count;
    order(b);
    for (uint32_t i = 0; i < b->count; i++) {
        rel_lock(m, b->pages[i]);
    }
    rel_stage_start(&f.stage, m);
    sweep(&f, TAKE_WRITE);
    near_pages(&f);
    far_pages(&f);
    rel_stage_finish(&f.stage);
    rel_count(&rel_counts.diffs, f.diffs);
    rel_count(&rel_counts.bytes_written, f.changed);
    sweep(&f, GIVE_BACK);
    if (how == REL_DROP || how == REL_AGE) {
        copies_mark(&f);
        sweep(&f, TAKE_ALL);
        if (how == REL_DROP) {
            pinned_refresh(&f);
        }
    }
    for (uint32_t i = 0; i < b->count; i++) {
        rel_unlock(m, b->pages[i]);
    }
    if (listed) {
        /* pairs with the acquire in rel_release: what others wait for */
        atomic_fetch_sub_explicit(&rel.pending, entries, memory_order_release);
    }
    b->count = 0;
}
