/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RECTO_COMMIT: what an allocation asks of the machine's memory.
 *
 *   check    what all ranks of this machine home of the segment, with what earlier
 *            segments home and have not touched, must fit into what the machine can
 *            give now (limits.c)
 *   reserve  the same, and each rank then makes the kernel allocate what it homes
 *   sparse   nothing: memory is taken by the first touch. RECTO_SPARSE says so of
 *            one segment; the heap of recto_malloc is of this kind.
 *
 * Between check and touch others may take the memory; what happens then is told by
 * shortage.c. A reserved page cannot be taken by anybody.
 *
 * Invariants
 * 1. All ranks check the same segments in the same mode: it is part of the
 *    agreement on the call.
 * 2. The bytes that a domain promised are its home pages as placement has them at
 *    the allocation; first touch counts as block placement. `touched` counts copies
 *    of other domains' pages as well, so what is still promised is a lower bound.
 * 3. Each rank reserves its own home pages, so that they come from its NUMA node
 *    and count for its cgroup. Where first touch decides homes nothing is reserved,
 *    unless there is one domain.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "space/limits.h"
#include "space/table.h"
#include "space/touch.h"

enum {
    PIECE =
        64 << 20, /* reserved at a time: a signal makes the kernel start over */
    MARGIN = 64,  /* of a limit is left, whatever came between */
    BLOCK = 512   /* unit of st_blocks */
};

static const char *const names[] = {
    [SPACE_CHECK] = "check",
    [SPACE_RESERVE] = "reserve",
    [SPACE_SPARSE] = "sparse",
};

static enum space_commit mode;
static struct space_limits limits = {.proc = -1};

int space_commit_init(void)
{
    unsigned choice = 0;
    int status = base_env_choice(BASE_ENV_COMMIT, &choice);
    mode = (enum space_commit)choice;
    space_limits_close(&limits);
    space_limits_open(&limits, "");
    return status;
}

void space_commit_end(void)
{
    space_limits_close(&limits);
}

void space_room(struct space_room *room)
{
    space_limits_room(&limits, room);
}

bool space_overcommit_strict(void)
{
    return space_limits_overcommit(&limits) == 2;
}

uint64_t space_machine_bytes(void)
{
    return space_limits_total(&limits);
}

enum space_commit space_commit_of(const struct space_segment *s)
{
    bool known = net_domains() == 1 || !space_touches(s);
    if ((s->attr.flags & RECTO_SPARSE) != 0) {
        return SPACE_SPARSE;
    }
    if (s->heap) {
        return mode == SPACE_RESERVE && known ? SPACE_RESERVE : SPACE_SPARSE;
    }
    return mode == SPACE_RESERVE && !known ? SPACE_CHECK : mode;
}

bool space_sparse(const struct space_segment *s)
{
    return !s->heap && space_commit_of(s) == SPACE_SPARSE;
}

const char *space_commit_name(const struct space_segment *s)
{
    return names[space_commit_of(s)];
}

/* ---- data and holes ------------------------------------------------------------------- */

bool space_data_run(const struct space_segment *s, uint64_t from,
                    uint64_t limit, uint64_t *first, uint64_t *end)
{
    return recto_vm_range_next(s->range, from, limit, first, end) != 0;
}

bool space_table_run(const struct space_segment *s, const void *table,
                     size_t size, uint64_t count, uint64_t from,
                     uint64_t *first, uint64_t *end)
{
    uint64_t base = (uint64_t)((const char *)table - s->versos[net_domain()]);
    uint64_t at = 0;
    uint64_t bytes = 0;
    if (from >= count ||
        !recto_vm_memory_next(s->fd, base + from * size, base + count * size,
                              &at, &bytes)) {
        return false;
    }
    uint64_t stop = (at + bytes - base + size - 1) / size;
    *first = (at - base) / size;
    *end = stop < count ? stop : count;
    return true;
}

/* ---- check --------------------------------------------------------------------------- */

/* Of a machine, as its domains' leaders tell. */
struct demand {
    uint64_t wanted;
    uint64_t promised; /* to earlier segments, and not touched yet */
};

uint64_t space_touched(const struct space_segment *s)
{
    struct stat st;
    return s->fd >= 0 && fstat(s->fd, &st) == 0 ? (uint64_t)st.st_blocks * BLOCK
                                                : 0;
}

static uint64_t untouched(const struct space_segment *s)
{
    uint64_t touched = space_touched(s);
    return s->homed > touched ? s->homed - touched : 0;
}

static uint64_t promised(void)
{
    uint64_t sum = 0;
    for (const struct space_segment *t = space_segment_first(); t != NULL;
         t = t->next) {
        sum += space_commit_of(t) != SPACE_SPARSE ? untouched(t) : 0;
    }
    return sum;
}

static int demand_check(const struct space_segment *s, const struct demand *d)
{
    struct space_room room;
    space_room(&room);
    if (d->wanted <= room.bytes && d->promised <= room.bytes - d->wanted) {
        return 0;
    }
    return base_error(
        RECTO_ENOMEM,
        "\"%s\" would home %lu bytes on this machine, which can give %lu now "
        "(%s: %lu), of which %lu are promised to earlier arrays: use more nodes "
        "or fewer bytes; memory of which only a part will be touched is had with "
        "the flag RECTO_SPARSE or %s=%s",
        s->name, (unsigned long)d->wanted, (unsigned long)room.bytes, room.name,
        (unsigned long)room.limit, (unsigned long)d->promised,
        base_env_name(BASE_ENV_COMMIT), names[SPACE_SPARSE]);
}

int space_commit_check(struct space_segment *s)
{
    struct demand mine = {0};
    struct demand *all = calloc((size_t)net_size(), sizeof *all);
    struct demand machine = {0};
    int r = net_verdict(all != NULL ? 0 : base_error(RECTO_ENOMEM, "ranks"));
    if (net_domain_leader(net_domain()) == net_rank()) {
        mine = (struct demand){s->homed, promised()};
    }
    r = r == 0 ? net_allgather(&mine, sizeof mine, all) : r;
    for (int i = 0; r == 0 && i < net_size(); i++) {
        if (net_same_machine(i)) {
            machine.wanted += all[i].wanted;
            machine.promised += all[i].promised;
        }
    }
    free(all);
    return r == 0 ? net_verdict(demand_check(s, &machine)) : r;
}

/* ---- reserve --------------------------------------------------------------------------- */

static int piece_reserve(const struct space_segment *s, uint64_t at,
                         uint64_t bytes)
{
    struct space_room room;
    space_room(&room);
    if (bytes + room.limit / MARGIN > room.bytes) {
        /* asking the kernel all the same might have it kill somebody */
        return base_error(RECTO_ENOMEM, "%lu bytes are left (%s)",
                          (unsigned long)room.bytes, room.name);
    }
    return recto_vm_memory_reserve(s->fd, at, bytes);
}

static int bytes_reserve(const struct space_segment *s, uint64_t at,
                         uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        uint64_t n = bytes - done < PIECE ? bytes - done : PIECE;
        int r = piece_reserve(s, at + done, n);
        if (r != 0) {
            char why[400];
            size_t length = strnlen(recto_last_error(), sizeof why - 1);
            memcpy(why, recto_last_error(), length);
            why[length] = '\0';
            return base_error(r,
                              "\"%s\": %s=%s: %lu bytes from %lu cannot be "
                              "reserved: use more nodes or fewer bytes; %s",
                              s->name, base_env_name(BASE_ENV_COMMIT),
                              names[SPACE_RESERVE], (unsigned long)n,
                              (unsigned long)(at + done), why);
        }
        done += n;
    }
    return 0;
}

int space_commit_reserve(const struct space_segment *s)
{
    uint64_t pages = s->pages * SPACE_PAGE;
    uint64_t first = 0;
    uint64_t count = 0;
    int r = 0;
    if (space_commit_of(s) != SPACE_RESERVE) {
        return 0;
    }
    while (r == 0 &&
           space_home_run(s, net_rank(), first + count, &first, &count)) {
        r = bytes_reserve(s, first * SPACE_PAGE, count * SPACE_PAGE);
    }
    if (r == 0 && net_domain_leader(net_domain()) == net_rank()) {
        /* the marks and the homes behind the pages */
        r = bytes_reserve(s, pages,
                          space_touch_offset(s) + space_touch_bytes(s) - pages);
    }
    return r;
}
