/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tracking method `scan`: no fault, the kernel's own record (scan.c). For ranges
 * that nothing protects (recto_vm_own_all), since a mapping has one userfaultfd; other
 * ranges are tracked by write faults.
 *
 * Invariants
 * 1. Only memory that holds data is scanned: holes have no entries, and get no markers.
 *    Data without an entry here counts as written (scan.c, 1): it may have been written
 *    through this view and the entry been taken by the kernel. So a page that only
 *    other views have used counts once.
 * 2. What the kernel told of is in `marked` until it is told on.
 * 3. Should a scan fail, all that it was to look at counts as written.
 */
#include "protect.h"
#include "scan.h"

static void note(uintptr_t low, uintptr_t high, void *argument)
{
    const struct recto_vm_range *range = argument;
    base_set_add_run(&range->marked, (low - range->base) >> range->page_shift,
                     (high - range->base) >> range->page_shift);
}

/* Arms pages [first, end); those that were written go into `marked`, or to `run`. */
static void take(struct recto_vm_range *range, uint64_t first, uint64_t end,
                 vm_scan_run run)
{
    uint64_t stop = first;
    while (recto_vm_range_next(range, stop, end, &first, &stop)) {
        uintptr_t low = range->base + (uintptr_t)(first << range->page_shift);
        uintptr_t high = range->base + (uintptr_t)(stop << range->page_shift);
        if (vm_scan_written(low, high, true, run, range) != 0) {
            note(low, high, range);
        }
        vm_count(VM_SCANS);
    }
}

static void present(uintptr_t low, uintptr_t high, void *argument)
{
    const struct recto_vm_range *range = argument;
    vm_dense_learn(range, (low - range->base) >> range->page_shift,
                   (high - range->base) >> range->page_shift);
}

/* All that holds data. To ask the file about what has an entry here would cost more than
 * the scan, so chunks that are full of such pages are done with. */
static void arm_all(struct recto_vm_range *range, uintptr_t end)
{
    uint64_t page = 0;
    (void)vm_scan_present(range->base, end, present, range);
    while (page < range->pages) {
        uint64_t low = vm_chunks(range->pages);
        uint64_t high = low;
        (void)base_set_run(&range->dense, page / VM_CHUNK, low, &low, &high);
        uint64_t stop = low * VM_CHUNK;
        stop = stop < range->pages ? stop : range->pages;
        if (page < stop) {
            take(range, page, stop, NULL);
        }
        page = high * VM_CHUNK;
    }
}

static int scan_start(struct recto_vm_range *range)
{
    uintptr_t end =
        range->base + (uintptr_t)(range->pages << range->page_shift);
    if (!range->plain || vm_scan_register(range->base, end) != 0) {
        return RECTO_EUNSUPPORTED;
    }
    arm_all(range, end);
    base_set_take_run(&range->marked, 0, range->pages);
    return 0;
}

static int scan_stop(struct recto_vm_range *range)
{
    vm_shut_open(range);
    vm_scan_unregister(range->base,
                       range->base +
                           (uintptr_t)(range->pages << range->page_shift));
    return 0;
}

static int scan_collect(struct recto_vm_range *range, uint64_t first,
                        uint64_t count, recto_vm_dirty_run run, void *argument)
{
    take(range, first, first + count, note);
    vm_marks_tell(range, first, first + count, run, argument);
    return 0;
}

static void scan_show(struct recto_vm_range *range, uint64_t first,
                      uint64_t count)
{
    take(range, first, first + count, NULL);
}

static int scan_mark(struct recto_vm_range *range, uint64_t first,
                     uint64_t count)
{
    base_set_add_run(&range->marked, first, first + count);
    return 0;
}

const struct vm_tracker vm_tracker_scan = {
    .name = "scan",
    .plain = true,
    .probe = vm_scan_probe,
    .start = scan_start,
    .stop = scan_stop,
    .collect = scan_collect,
    .mark = scan_mark,
    .shut = vm_shut_close,
    .open = vm_shut_open,
    .show = scan_show,
};
