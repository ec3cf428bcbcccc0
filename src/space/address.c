/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where segments lie. All ranks choose the same free address: the set of
 * segments is the same everywhere, so the first gap that fits is, too; then
 * each rank tries to map there without replacing anything, and all agree.
 *
 * The candidate areas: the first works natively and under the address and
 * thread sanitizers on x86-64; the others serve when it is taken or too small.
 */
#include "base/base.h"
#include "space/table.h"

#define GIB ((uint64_t)1 << 30)

static const struct {
    uint64_t start;
    uint64_t bytes;
} areas[] = {
    {0x7e9000000000, 440 * GIB  },
    {0x600000000000, 16384 * GIB},
    {0x400000000000, 16384 * GIB},
    {0x100000000000, 32768 * GIB},
};

enum {
    AREAS = sizeof areas / sizeof areas[0],
    TRIES = 16
};

/* Segments start at multiples of this: whole huge pages. */
enum {
    ALIGNMENT = 2 << 20
};

/* Bytes of address space that a segment takes, with a gap behind it. */
static uint64_t span(const struct space_segment *s)
{
    uint64_t bytes = s->pages * SPACE_PAGE + SPACE_PAGE;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The lowest free address in [from, end) for `bytes`; 0 if there is none. */
static uint64_t gap_find(uint64_t from, uint64_t end, uint64_t bytes)
{
    uint64_t at = from;
    const struct space_segment *s = space_segment_first();
    while (s != NULL) {
        uint64_t start = (uintptr_t)s->recto;
        if (start < at + bytes && at < start + span(s)) {
            at = start + span(s);
            s = space_segment_first(); /* the list is not sorted */
        } else {
            s = s->next;
        }
    }
    return at + bytes <= end ? at : 0;
}

static int try_at(struct space_segment *s, uint64_t address)
{
    void *view = NULL;
    int r = recto_vm_map(
        /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
        s->fd, 0, s->pages * SPACE_PAGE, (void *)(uintptr_t)address,
        s->eager && net_domains() == 1 ? RECTO_VM_WRITE : RECTO_VM_NONE, &view);
    int64_t all = r == 0;
    int agreed = net_allreduce_min(&all, 1);
    if (agreed == 0 && all) {
        s->recto = view;
        return 0;
    }
    if (r == 0) {
        recto_vm_unmap(view, s->pages * SPACE_PAGE);
    }
    return agreed != 0 ? agreed : RECTO_EADDRESS;
}

int space_address_map(struct space_segment *s)
{
    for (int i = 0; i < AREAS; i++) {
        uint64_t end = areas[i].start + areas[i].bytes;
        /* the heap lies apart, where its size and theirs leave each other's
         * addresses alone */
        uint64_t from = areas[i].start + (s->heap ? areas[i].bytes / 4 * 3 : 0);
        for (int k = 0; k < TRIES; k++) {
            uint64_t at = gap_find(from, end, span(s));
            if (at == 0) {
                break;
            }
            int r = try_at(s, at);
            if (r != RECTO_EADDRESS) {
                return r;
            }
            from = at + (GIB << k);
        }
    }
    return base_error(RECTO_EADDRESS,
                      "\"%s\": no address range of %lu bytes is free on every "
                      "rank",
                      s->name, (unsigned long)(s->pages * SPACE_PAGE));
}
