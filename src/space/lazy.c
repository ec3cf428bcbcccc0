/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages are loaded, and who waits for some.
 *
 *   who touches a page                       the home's loader
 *     present? go on                           load the page into its memory
 *     one waiter more                          add it to `present`
 *     read `round`; present? go on             waiters? raise `round`, wake all
 *     add the page to `wanted`
 *     wait while `round` is what was read
 *
 * Invariants
 * 1. Pages become present one way, after their memory is complete, in the memory of
 *    their home's domain; the home's loader alone writes to the memory of a page that
 *    is not.
 * 2. While a segment loads, who looks at a page's memory or gives a right to it has
 *    found it present. Copies, twins and differences come from pages that were: only
 *    faults of the home's ranks, fetches and atomics ask.
 * 3. A waiter has counted itself before it looks, a loader looks for waiters after it
 *    has added the page: one of them sees the other. Who finds `round` changed looks,
 *    and asks, again.
 * 4. `loading` is set on all ranks before any goes on, and cleared on one after all
 *    pages of all homes are present.
 */
#include "space/lazy.h"

#include <string.h>

#include "base/base.h"
#include "base/set.h"
#include "net/net.h"

enum {
    LINE = 64
};

/* In the memory of each domain; the sets follow. */
struct head {
    _Atomic uint32_t waiters;
    _Atomic uint32_t round;
};

struct area {
    struct head *head;
    struct base_set present;
    struct base_set wanted;
};

static uint64_t set_bytes(const struct space_segment *s)
{
    return (base_set_bytes(s->pages) + LINE - 1) / LINE * LINE;
}

static struct area area_of(const struct space_segment *s, int domain)
{
    char *at = s->versos[domain] + space_lazy_offset(s);
    struct area a = {.head = (struct head *)(void *)at};
    base_set_place(&a.present, at + LINE, s->pages);
    base_set_place(&a.wanted, at + LINE + set_bytes(s), s->pages);
    return a;
}

static struct area home_area(const struct space_segment *s, uint64_t page)
{
    return area_of(s, net_domain_of(space_home(s, page)));
}

bool space_lazy_wanted(void)
{
    return strcmp(base_env(BASE_ENV_RESTART), "lazy") == 0;
}

bool space_lazy_may(const struct space_segment *s)
{
    return space_lazy_wanted() && !s->heap &&
           (s->attr.flags & RECTO_NO_CHECKPOINT) == 0 &&
           (s->attr.consistency == RECTO_RELEASE || net_domains() == 1);
}

uint64_t space_lazy_bytes(const struct space_segment *s)
{
    return s->lazy ? LINE + 2 * set_bytes(s) : 0;
}

/* ---- the restart ------------------------------------------------------------------- */

/* Usually is. */
static void set_empty(const struct base_set *set, uint64_t pages)
{
    uint64_t first = 0;
    if (base_set_next(set, 0, &first)) {
        base_set_take_run(set, 0, pages);
    }
}

static void before_touch(uint64_t first, uint64_t count, void *segment)
{
    space_before_touch(segment, first, count);
}

int space_lazy_begin(struct space_segment *s)
{
    struct area a = area_of(s, net_domain());
    set_empty(&a.present, s->pages);
    set_empty(&a.wanted, s->pages);
    return recto_vm_hides(s->range)
               ? recto_vm_hide(s->range, before_touch, s)
               : recto_vm_protn(s->range, 0, s->pages, RECTO_VM_NONE);
}

void space_lazy_start(struct space_segment *s)
{
    /* release: pairs with space_lazy_loads */
    atomic_store_explicit(&s->loading, true, memory_order_release);
}

void space_lazy_end(struct space_segment *s)
{
    recto_vm_show(s->range);
    atomic_store_explicit(&s->loading, false, memory_order_release);
}

/* ---- the loader ---------------------------------------------------------------------- */

bool space_lazy_take(const struct space_segment *s, uint64_t *page)
{
    struct area a = area_of(s, net_domain());
    uint64_t at = *page;
    while (base_set_next(&a.wanted, at, &at) && at < s->pages) {
        if (space_home(s, at) == net_rank()) {
            base_set_take_run(&a.wanted, at, at + 1);
            *page = at;
            return true;
        }
        at++; /* of another rank of my domain */
    }
    return false;
}

bool space_lazy_present(const struct space_segment *s, uint64_t page)
{
    struct area a = home_area(s, page);
    return base_set_has(&a.present, page);
}

void space_lazy_arrive(const struct space_segment *s, uint64_t first,
                       uint64_t count)
{
    struct area a = area_of(s, net_domain());
    recto_vm_dirty_learn(s->range, first, count);
    base_set_add_run(&a.present, first, first + count);
    if (atomic_load_explicit(&a.head->waiters, memory_order_seq_cst) > 0) {
        atomic_fetch_add_explicit(&a.head->round, 1, memory_order_seq_cst);
        net_futex_wake((const uint32_t *)&a.head->round, INT32_MAX, true);
    }
}

/* ---- those who touch ------------------------------------------------------------------- */

bool space_lazy_ask(const struct space_segment *s, uint64_t first,
                    uint64_t count)
{
    struct area a;
    int domain = -1;
    bool all = true;
    for (uint64_t page = first; page < first + count; page++) {
        int now = net_domain_of(space_home(s, page));
        if (now != domain) {
            a = area_of(s, now);
            domain = now;
        }
        if (!base_set_has(&a.present, page)) {
            (void)base_set_add(&a.wanted, page);
            all = false;
        }
    }
    return all;
}

static void page_wait(const struct space_segment *s, uint64_t page)
{
    struct area a = home_area(s, page);
    atomic_fetch_add_explicit(&a.head->waiters, 1, memory_order_seq_cst);
    for (;;) {
        uint32_t round =
            atomic_load_explicit(&a.head->round, memory_order_seq_cst);
        if (base_set_has(&a.present, page)) {
            break;
        }
        (void)base_set_add(&a.wanted, page);
        if (net_futex_wait((const uint32_t *)&a.head->round, round,
                           net_timeout(), true) != 0) {
            base_fatal("page %lu of \"%s\" was not loaded within %s; raise it "
                       "if the disk is only slow",
                       (unsigned long)page, s->name,
                       base_env_name(BASE_ENV_TIMEOUT));
        }
    }
    atomic_fetch_sub_explicit(&a.head->waiters, 1, memory_order_relaxed);
}

void space_lazy_wait(const struct space_segment *s, uint64_t first,
                     uint64_t count)
{
    if (space_lazy_ask(s, first, count)) {
        return;
    }
    for (uint64_t page = first; page < first + count; page++) {
        if (!space_lazy_present(s, page)) {
            page_wait(s, page);
        }
    }
}

uint64_t space_lazy_run(const struct space_segment *s, uint64_t first,
                        uint64_t most)
{
    uint64_t n = 0;
    if (!space_lazy_loads(s)) {
        return most;
    }
    int domain = net_domain_of(space_home(s, first));
    struct area a = area_of(s, domain);
    while (n < most && first + n < s->pages &&
           net_domain_of(space_home(s, first + n)) == domain &&
           base_set_has(&a.present, first + n)) {
        n++;
    }
    return n;
}
