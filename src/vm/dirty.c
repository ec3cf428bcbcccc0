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
 *
 * Own pages of a range whose memory is known (recto_vm_range_memory) are *open* until
 * their chunk has data: they keep WRITE, and a page that is data afterwards counts as
 * written; so may one that was only read. Write-protecting what nobody touched would
 * take page tables for all of it, and state bytes.
 *
 * 4. A chunk that has data is write-protected before it is looked up which of its open
 *    pages are data. So a write that was not stopped is in this answer. One into a
 *    chunk that is found to be a hole is in the next: it stays open.
 */
#include "protect.h"

const struct vm_tracker *vm_tracker = &vm_tracker_fault;

/* ---- the method `fault` -------------------------------------------------- */

static int fault_probe(void)
{
    return 0;
}

/* ---- open pages ----------------------------------------------------------- */

enum {
    STRETCH = VM_SHORT /* armed at a time, where pages may be open */
};

/* The memory behind a range as stretches of pages: [data, end) is the last found. */
struct extent {
    uint64_t data;
    uint64_t end;
};

/* Moves on to the data in [page, end); without any, to its end. */
static void extent_find(const struct recto_vm_range *range, uint64_t page,
                        uint64_t end, struct extent *e)
{
    uint64_t at = 0;
    uint64_t bytes = 0;
    if (page < e->end) {
        return;
    }
    e->data = e->end = end;
    if (recto_vm_memory_next(
            range->fd, range->fd_offset + (page << range->page_shift),
            range->fd_offset + (end << range->page_shift), &at, &bytes)) {
        e->data = (at - range->fd_offset) >> range->page_shift;
        e->end = (at - range->fd_offset + bytes) >> range->page_shift;
    }
}

/* Which of pages [first, end) are open; any at all? */
static bool open_pages(const struct recto_vm_range *range, uint64_t first,
                       uint64_t end, uint64_t *open)
{
    bool any = false;
    for (uint64_t page = first; page < end; page++) {
        unsigned state = vm_page_state(range, page);
        if ((state & VM_PAGE_OWN) != 0 && (state & VM_PAGE_DIRTY) == 0 &&
            vm_page_kernel(state) == RECTO_VM_WRITE) {
            open[(page - first) / 64] |= UINT64_C(1) << (page - first) % 64;
            any = true;
        }
    }
    return any;
}

/* Reports open pages of [first, end) that hold data. */
static void open_report(const struct recto_vm_range *range, uint64_t first,
                        uint64_t end, const uint64_t *open, uint64_t origin,
                        uint64_t *bitmap)
{
    struct extent e = {0, 0};
    for (uint64_t page = first; page < end; page++) {
        extent_find(range, page, end, &e);
        if (page >= e.data && page < e.end &&
            (open[(page - first) / 64] >> (page - first) % 64 & 1) != 0) {
            bitmap[(page - origin) / 64] |= UINT64_C(1) << (page - origin) % 64;
        }
    }
}

/* Arms pages [first, end) of chunks that have data or states. */
static int arm_stretch(struct recto_vm_range *range, uint64_t first,
                       uint64_t end, uint64_t origin, uint64_t *bitmap)
{
    uint64_t open[STRETCH / 64] = {0};
    bool any = bitmap != NULL && open_pages(range, first, end, open);
    struct vm_change change = {.range = range,
                               .at = first,
                               .end = end,
                               .kind = VM_ARM,
                               .bitmap = bitmap,
                               .origin = origin};
    int code = vm_change_make(&change);
    if (code == 0 && any) {
        open_report(range, first, end, open, origin, bitmap);
    }
    return code;
}

/* Where the next chunk after the page's begins, at most `end`. */
static uint64_t chunk_end(uint64_t page, uint64_t end)
{
    uint64_t next = (page / VM_CHUNK + 1) * VM_CHUNK;
    return next < end ? next : end;
}

/* Is there nothing to arm in the page's chunk? */
static bool chunk_skips(const struct recto_vm_range *range, uint64_t page,
                        uint64_t end, struct extent *e)
{
    uint64_t at = page;
    uint64_t stop = 0;
    uint64_t next = chunk_end(page, end);
    if (vm_pages_touched(range, &at, next, &stop)) {
        return false;
    }
    if (!vm_chunk_fresh(range, page / VM_CHUNK)) {
        return true; /* no rights */
    }
    extent_find(range, page, range->pages, e);
    return e->data >= next;
}

static int arm(struct recto_vm_range *range, uint64_t first, uint64_t count,
               uint64_t *bitmap)
{
    struct extent e = {0, 0};
    int code = 0;
    uint64_t end = first + count;
    for (uint64_t page = first; page < end && code == 0;) {
        uint64_t stop = page;
        while (stop < end && stop - page < STRETCH - VM_CHUNK &&
               !chunk_skips(range, stop, end, &e)) {
            stop = chunk_end(stop, end);
        }
        if (stop > page) {
            code = arm_stretch(range, page, stop, first, bitmap);
            page = stop;
        } else {
            page = chunk_end(page, end);
        }
    }
    return code;
}

/* ---- the method ------------------------------------------------------------ */

static int relax(struct recto_vm_range *range)
{
    struct vm_change change = {
        .range = range, .end = range->pages, .kind = VM_RELAX};
    return vm_change_touched(&change);
}

static int fault_collect(struct recto_vm_range *range, uint64_t first,
                         uint64_t count, uint64_t *bitmap)
{
    if (range->fresh != NULL) {
        return arm(range, first, count, bitmap);
    }
    struct vm_change change = {.range = range,
                               .at = first,
                               .end = first + count,
                               .kind = VM_ARM,
                               .bitmap = bitmap,
                               .origin = first};
    return vm_change_touched(&change);
}

static int fault_start(struct recto_vm_range *range)
{
    /* Clears marks that came while a former stop was under way. */
    int code = relax(range);
    if (code == 0) {
        atomic_store_explicit(&range->armed, true, memory_order_relaxed);
        code = fault_collect(range, 0, range->pages, NULL);
    }
    return code;
}

static int fault_stop(struct recto_vm_range *range)
{
    atomic_store_explicit(&range->armed, false, memory_order_relaxed);
    return relax(range);
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
