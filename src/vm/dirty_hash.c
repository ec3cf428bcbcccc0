/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tracking method `hash`: a page was written if its contents are not what they were
 * when it was last collected, by XXH3 of 128 bits. Works everywhere, for whoever writes,
 * devices and other processes too, and costs nothing but the time of collecting, which
 * goes with the memory that holds data.
 *
 * Invariants
 * 1. A page has its hash in the table if it is in `hashed`; one that is not counts as
 *    written if it holds data. So the first collection finds all data.
 * 2. Contents decide: marks count for nothing.
 * 3. The memory is read by pread(2): that fills no hole and takes no fault, whatever
 *    the rights to a page.
 */
#include <errno.h>
#include <unistd.h>
#include <xxhash.h>

#include "protect.h"

enum {
    READ_BYTES = 16384 /* at a time, on the stack */
};

static void changed(struct recto_vm_range *range, uint64_t page,
                    const char *data)
{
    size_t bytes = (size_t)1 << range->page_shift;
    XXH128_hash_t *table = range->hashes;
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    vm_count(VM_HASHED);
    if (!base_set_has(&range->hashed, page) ||
        !XXH128_isEqual(hash, table[page])) {
        table[page] = hash;
        (void)base_set_add(&range->hashed, page);
        (void)base_set_add(&range->marked, page);
    }
}

/* Looks at pages that hold data. */
static int data_look(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    _Alignas(64) char buffer[READ_BYTES];
    size_t page_bytes = (size_t)1 << range->page_shift;
    for (uint64_t page = first; page < end;) {
        size_t want = (size_t)(end - page) << range->page_shift;
        want = want < sizeof buffer ? want : sizeof buffer;
        ssize_t got =
            pread(range->fd, buffer, want,
                  (off_t)(range->fd_offset + (page << range->page_shift)));
        if (got < (ssize_t)page_bytes) {
            if (got < 0 && errno == EINTR) {
                continue;
            }
            return base_error(RECTO_EIO, "hash of a range: pread: %s",
                              base_errno_text(got < 0 ? errno : EIO));
        }
        for (size_t at = 0; at + page_bytes <= (size_t)got; at += page_bytes) {
            changed(range, page++, buffer + at);
        }
    }
    return 0;
}

/* What held data and is a hole now. */
static void holes_look(struct recto_vm_range *range, uint64_t first,
                       uint64_t end)
{
    uint64_t low = first;
    uint64_t high = first;
    while (base_set_run(&range->hashed, high, end, &low, &high)) {
        base_set_take_run(&range->hashed, low, high);
        base_set_add_run(&range->marked, low, high);
    }
}

static int look(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    uint64_t stop = range->fd_offset + (end << range->page_shift);
    uint64_t page = first;
    uint64_t bytes = 0;
    uint64_t at = range->fd_offset + (first << range->page_shift);
    int code = 0;
    while (code == 0 &&
           recto_vm_memory_next(range->fd, at, stop, &at, &bytes)) {
        uint64_t data = (at - range->fd_offset) >> range->page_shift;
        holes_look(range, page, data);
        page = data + (bytes >> range->page_shift);
        code = data_look(range, data, page);
        at += bytes;
    }
    if (code == 0) {
        holes_look(range, page, end);
    }
    return code;
}

static int hash_probe(void)
{
    return 0;
}

static void hash_forget(struct recto_vm_range *range, uint64_t first,
                        uint64_t count)
{
    base_set_take_run(&range->hashed, first, first + count);
}

/* Marks mean nothing here (invariant 2). */
static void hash_learn(struct recto_vm_range *range, uint64_t first,
                       uint64_t count)
{
    uint64_t at = range->fd_offset + (first << range->page_shift);
    uint64_t stop = at + (count << range->page_shift);
    uint64_t bytes = 0;
    hash_forget(range, first, count);
    while (recto_vm_memory_next(range->fd, at, stop, &at, &bytes)) {
        uint64_t page = (at - range->fd_offset) >> range->page_shift;
        if (data_look(range, page, page + (bytes >> range->page_shift)) != 0) {
            return; /* the others count as written */
        }
        at += bytes;
    }
}

static int hash_start(struct recto_vm_range *range)
{
    size_t hashes = range->pages * sizeof(XXH128_hash_t);
    if (range->fd < 0) {
        return RECTO_EUNSUPPORTED;
    }
    if (range->hashes == NULL) {
        range->hash_bytes = hashes + base_set_bytes(range->pages);
        int code = recto_vm_table_create(range->hash_bytes, &range->hashes);
        if (code != 0) {
            return code;
        }
        base_set_place(&range->hashed, (char *)range->hashes + hashes,
                       range->pages);
    }
    return 0;
}

static int hash_stop(struct recto_vm_range *range)
{
    vm_tracker_hash.open(range);
    hash_forget(range, 0, range->pages);
    return 0;
}

static int hash_collect(struct recto_vm_range *range, uint64_t first,
                        uint64_t count, recto_vm_dirty_run run, void *argument)
{
    base_set_take_run(&range->marked, first, first + count);
    int code = look(range, first, first + count);
    if (code == 0) {
        vm_marks_tell(range, first, first + count, run, argument);
    } else {
        hash_forget(range, first, count); /* what was found is found again */
    }
    return code;
}

static int hash_mark(struct recto_vm_range *range, uint64_t first,
                     uint64_t count)
{
    return atomic_load_explicit(&range->armed, memory_order_relaxed)
               ? vm_tracker_fault.mark(range, first, count)
               : 0;
}

/* Where rights differ from page to page, write faults trap. */
static int hash_shut(struct recto_vm_range *range)
{
    return range->plain ? vm_shut_close(range) : vm_tracker_fault.start(range);
}

static void hash_open(struct recto_vm_range *range)
{
    if (range->plain) {
        vm_shut_open(range);
    } else if (atomic_load(&range->armed)) {
        (void)vm_tracker_fault.stop(range);
    }
}

const struct vm_tracker vm_tracker_hash = {
    .name = "hash",
    .plain = true,
    .probe = hash_probe,
    .start = hash_start,
    .stop = hash_stop,
    .collect = hash_collect,
    .mark = hash_mark,
    .shut = hash_shut,
    .open = hash_open,
    .forget = hash_forget,
    .learn = hash_learn,
};
