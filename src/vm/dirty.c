/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DIRTY: which pages were written since last asked; and the method that finds
 * out by write faults.
 *
 * Invariants (of the method `fault`; protect.c states the first two as well)
 * 1. While a range is armed the kernel gives WRITE to dirty pages only, so the
 *    first write to a clean page faults and marks it before it can succeed.
 * 2. Collecting write-protects a page before it clears the mark. A write that
 *    was not stopped by then is in this answer; a later one faults, waits for
 *    the claim, and marks the page for the next. Never in neither.
 * 3. Intents are not touched: the client's view of rights does not change.
 */
#include "protect.h"

const struct vm_tracker *vm_tracker = &vm_tracker_fault;

/* ---- the method `fault` -------------------------------------------------- */

static int fault_probe(void)
{
    return 0;
}

/* NOLINTBEGIN(readability-non-const-parameter): the change writes there */
static int fault_change(struct recto_vm_range *range, enum vm_change_kind kind,
                        uint64_t first, uint64_t count, uint64_t *bitmap)
{
    struct vm_change change = {.range = range,
                               .at = first,
                               .end = first + count,
                               .kind = kind,
                               .bitmap = bitmap,
                               .origin = first};
    return vm_change_make(&change);
}
/* NOLINTEND(readability-non-const-parameter) */

static int fault_start(struct recto_vm_range *range)
{
    /* Clears marks that came while a former stop was under way. */
    int code = fault_change(range, VM_RELAX, 0, range->pages, NULL);
    if (code == 0) {
        atomic_store_explicit(&range->armed, true, memory_order_relaxed);
        code = fault_change(range, VM_ARM, 0, range->pages, NULL);
    }
    return code;
}

static int fault_stop(struct recto_vm_range *range)
{
    atomic_store_explicit(&range->armed, false, memory_order_relaxed);
    return fault_change(range, VM_RELAX, 0, range->pages, NULL);
}

static int fault_collect(struct recto_vm_range *range, uint64_t first,
                         uint64_t count, uint64_t *bitmap)
{
    return fault_change(range, VM_ARM, first, count, bitmap);
}

static int fault_mark(struct recto_vm_range *range, uint64_t first,
                      uint64_t count)
{
    /* Gives no right: a page that stays read-only faults once and finds its
     * mark, one that is granted afterwards is granted WRITE at once. */
    vm_pages_mark(range, first, first + count);
    return 0;
}

const struct vm_tracker vm_tracker_fault = {
    .name = "fault",
    .probe = fault_probe,
    .start = fault_start,
    .stop = fault_stop,
    .collect = fault_collect,
    .mark = fault_mark,
};

/* ---- DIRTY --------------------------------------------------------------- */

static int check_pages(const char *call, const struct recto_vm_range *range,
                       uint64_t first, uint64_t count)
{
    if (range == NULL || first > range->pages || count > range->pages - first) {
        return base_error(RECTO_EINVAL,
                          "%s: pages %llu + %llu: not in the range", call,
                          (unsigned long long)first, (unsigned long long)count);
    }
    if (!vm_range_alive(range)) {
        return base_error(RECTO_ESTATE, "%s: the range belongs to the parent",
                          call);
    }
    return 0;
}

int recto_vm_dirty_start(recto_vm_range *range)
{
    int code = check_pages("recto_vm_dirty_start", range, 0, 0);
    if (code != 0) {
        return code;
    }
    if (atomic_exchange(&range->tracked, true)) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_dirty_start: writes are tracked already");
    }
    return vm_tracker->start(range);
}

int recto_vm_dirty_stop(recto_vm_range *range)
{
    int code = check_pages("recto_vm_dirty_stop", range, 0, 0);
    if (code != 0 || !atomic_exchange(&range->tracked, false)) {
        return code;
    }
    return vm_tracker->stop(range);
}

int recto_vm_dirty_collect(recto_vm_range *range, uint64_t first,
                           uint64_t count, uint64_t *bitmap)
{
    int code = check_pages("recto_vm_dirty_collect", range, first, count);
    if (code != 0) {
        return code;
    }
    if (bitmap == NULL) {
        return base_error(RECTO_EINVAL, "recto_vm_dirty_collect: no bitmap");
    }
    if (!atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_dirty_collect: writes are not tracked");
    }
    return count == 0 ? 0 : vm_tracker->collect(range, first, count, bitmap);
}

int recto_vm_dirty_mark(recto_vm_range *range, uint64_t first, uint64_t count)
{
    int code = check_pages("recto_vm_dirty_mark", range, first, count);
    if (code != 0 || count == 0 ||
        !atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        return code;
    }
    return vm_tracker->mark(range, first, count);
}
