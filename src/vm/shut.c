/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes trapped for a while: what a method of tracking that takes no faults does so
 * that the client sees pages before their first write (recto_vm_before_write). The range
 * is one that nothing else protects (recto_vm_own_all), so page states stay as they are.
 * And all accesses, while a range is hidden (recto_vm_hide).
 *
 *   shut: the whole range is read-only, by one call
 *     write fault: `before` for the pages of a group, then the group is writable
 *   hide: the whole range has no rights, by one call
 *     fault: `reveal` for the pages of a group, then the group is writable
 *   open: the whole range is writable again, by one call
 *
 * Invariants
 * 1. While it is shut, a page is writable only if its group is in `opened`, which is
 *    added after `before` was called for all of the group, in this round.
 * 2. Under `lock`: the kernel's rights, `opened`, the mappings. It is held with all
 *    signals blocked, by code that does not fault, and nothing is taken under it: who
 *    waits for it may spin, in the handler too. No claim on pages is held meanwhile.
 * 3. The mappings of a shut range are in the count (protect.c): 1, and one more for each
 *    two neighbouring groups of which one is open. When they run out the range is shut
 *    anew, whose faults then find nothing to save; at last it is opened. A hidden range
 *    is opened at once.
 * 4. A group of a hidden range is shown to the tracker once, just before its pages get
 *    rights: nobody can have written to them through this view.
 */
#include "protect.h"

enum {
    GROUP_LEAST = 4, /* 2^n pages: 64 KiB */
    GROUP_MOST = 9,  /* 2 MiB */
    GROUPS = 4096,   /* of a range, unless they are the largest */
    HIDDEN = 16384,  /* the same: who touches a group waits for all of it */
    FEW = 64         /* mappings that it does not pay to take back */
};

static uint64_t groups(const struct recto_vm_range *range)
{
    unsigned shift = atomic_load(&range->shut.shift);
    return (range->pages + (UINT64_C(1) << shift) - 1) >> shift;
}

/* No group is open. */
static void groups_set(struct recto_vm_range *range, uint64_t most)
{
    unsigned shift = GROUP_LEAST;
    while (shift < GROUP_MOST && range->pages >> shift >= most) {
        shift++;
    }
    atomic_store(&range->shut.shift, shift);
}

static int prepare(struct recto_vm_range *range)
{
    struct vm_shut *shut = &range->shut;
    if (shut->table != NULL) {
        return 0;
    }
    groups_set(range, HIDDEN);
    shut->bytes = base_set_bytes(groups(range));
    int code = recto_vm_table_create(shut->bytes, &shut->table);
    if (code == 0) {
        base_set_place(&shut->opened, shut->table, groups(range));
    }
    return code;
}

static void enter(struct vm_shut *shut, uint64_t *mask)
{
    unsigned tries = 0;
    vm_signals_block(mask);
    while (atomic_exchange_explicit(&shut->lock, 1, memory_order_acquire)) {
        vm_pause(&tries);
    }
}

static void leave(struct vm_shut *shut, const uint64_t *mask)
{
    atomic_store_explicit(&shut->lock, 0, memory_order_release);
    vm_signals_restore(mask);
}

static int set(struct recto_vm_range *range, uint64_t first, uint64_t count,
               enum recto_vm_right right)
{
    return range->backend->set(range, first, count, right);
}

/* One mapping again. Under the lock, as the next. */
static int set_all(struct recto_vm_range *range, enum recto_vm_right right)
{
    int error = set(range, 0, range->pages, right);
    if (error == 0) {
        uint64_t had = atomic_load(&range->mappings);
        base_set_take_run(&range->shut.opened, 0, groups(range));
        (void)vm_mappings_reserve(range, 1 - (int64_t)had, true);
    }
    return error;
}

/* Mappings that come, or go, when a group is opened. */
static int64_t cost(const struct recto_vm_range *range, uint64_t group)
{
    const struct base_set *opened = &range->shut.opened;
    int64_t more = 0;
    if (group > 0) {
        more += base_set_has(opened, group - 1) ? -1 : 1;
    }
    if (group + 1 < groups(range)) {
        more += base_set_has(opened, group + 1) ? -1 : 1;
    }
    return more;
}

/* To the tracker. */
static void show(struct recto_vm_range *range, uint64_t first, uint64_t count)
{
    if (atomic_load_explicit(&range->tracked, memory_order_relaxed) &&
        range->tracker->show != NULL) {
        range->tracker->show(range, first, count);
    }
}

/* Of a hidden range what no fault has shown. */
static void show_rest(struct recto_vm_range *range)
{
    uint64_t n = groups(range);
    uint64_t group = 0;
    while (atomic_load(&range->shut.hidden) && group < n) {
        uint64_t low = n;
        uint64_t high = n;
        (void)base_set_run(&range->shut.opened, group, n, &low, &high);
        unsigned shift = atomic_load(&range->shut.shift);
        uint64_t first = group << shift;
        uint64_t end = low << shift;
        end = end < range->pages ? end : range->pages;
        if (first < end) {
            show(range, first, end - first);
        }
        group = high;
    }
    atomic_store(&range->shut.hidden, false);
}

static int group_open(struct recto_vm_range *range, uint64_t group,
                      uint64_t first, uint64_t count)
{
    if (base_set_has(&range->shut.opened, group)) {
        return 0;
    }
    int64_t more = cost(range, group);
    if (!vm_mappings_reserve(range, more, true)) {
        if (atomic_load(&range->shut.hidden) ||
            atomic_load(&range->mappings) <= FEW ||
            set_all(range, RECTO_VM_READ) != 0) {
            return RECTO_ENOMEM;
        }
        vm_count(VM_COARSENED);
        more = cost(range, group);
        if (!vm_mappings_reserve(range, more, true)) {
            return RECTO_ENOMEM;
        }
    }
    if (atomic_load(&range->shut.hidden)) {
        show(range, first, count);
    }
    if (set(range, first, count, RECTO_VM_WRITE) != 0) {
        (void)vm_mappings_reserve(range, -more, true);
        return RECTO_ENOMEM;
    }
    (void)base_set_add(&range->shut.opened, group);
    return 0;
}

/* ---- shut and open ------------------------------------------------------------------ */

/* To be left: a right that all pages have until a fault opens their group. */
static int close_to(struct recto_vm_range *range, enum recto_vm_right right)
{
    struct vm_shut *shut = &range->shut;
    atomic_fetch_add(&shut->round, 1);
    atomic_store(&shut->on, true);
    int error = set_all(range, right);
    if (error != 0) {
        atomic_store(&shut->on, false);
        atomic_store(&shut->hidden, false);
        return base_error(RECTO_ENOMEM, "shut %llu pages: %s",
                          (unsigned long long)range->pages,
                          base_errno_text(error));
    }
    groups_set(range, right == RECTO_VM_NONE ? HIDDEN : GROUPS);
    return 0;
}

int vm_shut_close(struct recto_vm_range *range)
{
    uint64_t mask = 0;
    int code = prepare(range);
    if (code != 0) {
        return code;
    }
    enter(&range->shut, &mask);
    show_rest(range);
    code = close_to(range, RECTO_VM_READ);
    leave(&range->shut, &mask);
    return code;
}

int vm_shut_hide(struct recto_vm_range *range, recto_vm_before_touch before,
                 void *argument)
{
    struct vm_shut *shut = &range->shut;
    uint64_t mask = 0;
    int code = prepare(range);
    if (code != 0) {
        return code;
    }
    enter(shut, &mask);
    shut->reveal = before;
    shut->reveal_argument = argument;
    atomic_store(&shut->hidden, true);
    code = close_to(range, RECTO_VM_NONE);
    leave(shut, &mask);
    return code;
}

void vm_shut_open(struct recto_vm_range *range)
{
    struct vm_shut *shut = &range->shut;
    uint64_t mask = 0;
    if (!atomic_load(&shut->on)) {
        return;
    }
    enter(shut, &mask);
    if (atomic_load(&shut->on)) {
        show_rest(range);
        /* should it fail, faults give the right page by page (dispatch.c) */
        (void)set_all(range, RECTO_VM_WRITE);
        atomic_store(&shut->on, false);
    }
    leave(shut, &mask);
}

/* The client sees pages before they get rights. */
static void ask(struct recto_vm_range *range, uint64_t first, uint64_t count)
{
    const struct vm_shut *shut = &range->shut;
    if (atomic_load(&shut->hidden)) {
        shut->reveal(first, count, shut->reveal_argument);
    } else {
        vm_before_write(range, first, count);
    }
}

void vm_shut_again(struct recto_vm_range *range)
{
    struct vm_shut *shut = &range->shut;
    uint64_t mask = 0;
    if (atomic_load(&shut->hidden)) {
        ask(range, 0, range->pages);
        vm_shut_open(range);
        return;
    }
    enter(shut, &mask);
    if (atomic_load(&shut->on)) {
        (void)set_all(range, RECTO_VM_READ);
    }
    leave(shut, &mask);
}

void vm_shut_free(struct recto_vm_range *range)
{
    if (range->shut.table != NULL) {
        (void)recto_vm_unmap(range->shut.table, range->shut.bytes);
        range->shut.table = NULL;
    }
}

/* ---- faults --------------------------------------------------------------------------- */

bool vm_shut_fault(struct recto_vm_range *range, uint64_t page, bool write)
{
    struct vm_shut *shut = &range->shut;
    if (!atomic_load(&shut->on) || (!write && !atomic_load(&shut->hidden))) {
        return false;
    }
    int code = RECTO_EBUSY;
    while (code == RECTO_EBUSY && atomic_load(&shut->on)) {
        uint64_t round = atomic_load(&shut->round);
        unsigned shift = atomic_load(&shut->shift);
        uint64_t group = page >> shift;
        uint64_t first = group << shift;
        uint64_t count = UINT64_C(1) << shift;
        uint64_t mask = 0;
        count = count < range->pages - first ? count : range->pages - first;
        ask(range, first, count);
        enter(shut, &mask);
        bool same = atomic_load(&shut->on) &&
                    atomic_load(&shut->round) == round &&
                    atomic_load(&shut->shift) == shift;
        code = same ? group_open(range, group, first, count) : RECTO_EBUSY;
        leave(shut, &mask);
    }
    if (code != 0 && code != RECTO_EBUSY) {
        ask(range, 0, range->pages);
        vm_shut_open(range);
    }
    vm_count(VM_OPENED);
    return true;
}
