/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks the invariants of msi.h over all ranks: each rank tells each home the
 * states of that home's pages, and the home compares them with its directory,
 * and, where it shares memory with a holder, the holder's copy with its own.
 * Runs at rest: no thread accesses the segment, no transaction is under way.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/msi.h"

enum {
    REPORT_AGED = 8 /* beside the state */
};

/* My state of a page and, in the upper half, the right vm granted. */
static unsigned char page_report(struct msi_segment *m, uint64_t page)
{
    uint32_t word = atomic_load_explicit(&m->pages[page], memory_order_acquire);
    unsigned right = (unsigned)recto_vm_right_of(m->s->range, page);
    unsigned aged = word & MSI_AGED ? REPORT_AGED : 0;
    return (unsigned char)((word & MSI_STATE_MASK) | aged | right << 4);
}

static int contradiction(struct msi_segment *m, uint64_t page, int rank,
                         const char *what)
{
    return base_error(RECTO_ESTATE, "page %lu of \"%s\", rank %d: %s",
                      (unsigned long)page, m->s->name, rank, what);
}

static int report_check(struct msi_segment *m, const struct msi_entry *e,
                        uint64_t page, int rank, unsigned char report)
{
    unsigned state = report & (REPORT_AGED - 1U);
    bool aged = (report & REPORT_AGED) != 0;
    unsigned right = report >> 4;
    static const unsigned right_of[] = {RECTO_VM_NONE, RECTO_VM_READ,
                                        RECTO_VM_WRITE};
    if (state > MSI_MODIFIED) {
        return contradiction(m, page, rank, "in a transient state at rest");
    }
    if (right != (aged ? (unsigned)RECTO_VM_NONE : right_of[state])) {
        return contradiction(m, page, rank, "right and state differ");
    }
    if (msi_home_holds(m, e, rank) != (state != MSI_INVALID)) {
        return contradiction(m, page, rank, "directory and state differ");
    }
    if (state != MSI_INVALID && e->owner != MSI_OWNER_NONE &&
        e->owner != net_domain_of(rank)) {
        return contradiction(m, page, rank,
                             "holds a page that another domain owns");
    }
    if (state == MSI_MODIFIED && e->owner != net_domain_of(rank)) {
        return contradiction(m, page, rank, "writes a page it does not own");
    }
    const char *copy = m->s->versos[net_domain_of(rank)];
    if (state != MSI_INVALID && e->owner == MSI_OWNER_NONE && copy != NULL &&
        memcmp(copy + page * SPACE_PAGE, space_verso(m->s, page), SPACE_PAGE) !=
            0) {
        return contradiction(m, page, rank, "a shared copy differs from home");
    }
    return 0;
}

/* My reports on the pages of `home`, in page order. */
static unsigned char *reports_write(struct msi_segment *m, int home,
                                    unsigned char *at)
{
    uint64_t first = 0;
    uint64_t count = 0;
    while (space_home_run(m->s, home, first + count, &first, &count)) {
        for (uint64_t p = first; p < first + count; p++) {
            *at++ = page_report(m, p);
        }
    }
    return at;
}

static int reports_check(struct msi_segment *m, int rank,
                         const unsigned char *reports)
{
    uint64_t first = 0;
    uint64_t count = 0;
    while (space_home_run(m->s, net_rank(), first + count, &first, &count)) {
        for (uint64_t p = first; p < first + count; p++) {
            const struct msi_entry *e = msi_home_entry(m, p);
            int r = e->txn != 0 ? contradiction(m, p, rank, "busy at rest")
                                : report_check(m, e, p, rank, *reports++);
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

/* What counts in the cache is what lies in the ring, and every copy counts. */
static int cache_check(struct msi_segment *m)
{
    uint64_t copies = 0;
    for (uint64_t p = 0; p < m->s->pages; p++) {
        uint32_t word =
            atomic_load_explicit(&m->pages[p], memory_order_acquire);
        bool valid = msi_state_of(word) != MSI_INVALID;
        bool mine = net_domain_of(space_home(m->s, p)) == net_domain();
        copies += (word & MSI_COPY) != 0;
        if ((word & MSI_COPY) ? mine : valid && !mine) {
            return contradiction(m, p, net_rank(), "counts as what it is not");
        }
    }
    return copies == cache_ring_count(&m->ring) &&
                   copies ==
                       atomic_load_explicit(&m->copies, memory_order_relaxed)
               ? 0
               : contradiction(m, 0, net_rank(), "copies lack in the cache");
}

int msi_check(struct msi_segment *m)
{
    int n = net_size();
    space_homes_ask(m->s, 0, m->s->pages);
    int counted = net_verdict(cache_check(m));
    if (counted != 0) {
        return counted;
    }
    uint64_t mine = space_home_pages(m->s, net_rank());
    unsigned char *out = malloc(m->s->pages);
    unsigned char *in = malloc(mine * (uint64_t)n + 1);
    uint64_t *sizes = calloc((size_t)n * 2, sizeof *sizes);
    bool ready = out != NULL && in != NULL && sizes != NULL;
    int r = net_verdict(ready ? 0 : base_error(RECTO_ENOMEM, "page check"));
    if (r == 0) {
        unsigned char *at = out;
        for (int i = 0; i < n; i++) {
            unsigned char *end = reports_write(m, i, at);
            sizes[i] = (uint64_t)(end - at);
            sizes[n + i] = mine;
            at = end;
        }
        r = net_alltoallv(out, sizes, in, sizes + n);
        for (int i = 0; i < n && r == 0; i++) {
            r = reports_check(m, i, in + mine * (uint64_t)i);
        }
    }
    free(out);
    free(in);
    free(sizes);
    return r;
}
