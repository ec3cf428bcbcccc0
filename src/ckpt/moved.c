/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private memory on another number of ranks than wrote it: the program's own function
 * takes what it needs of the old ranks' pieces.
 *
 * Invariants
 * 1. All metadata of all files is good, on all ranks, before a function is called; what
 *    it reads is compared with its sum.
 * 2. Meanwhile the program may protect that one name anew, and no other.
 * 3. The name is new in the next epoch: nothing of its uid or hashes stays.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "load.h"

enum {
    READ_PAGES = 256 /* at a time */
};

struct moved {
    recto_pieces pieces;
    struct ckpt_chain *chain;
    struct ckpt_object *object;
    int status; /* the first error of a read, with its message */
    char message[1024];
};

/* While a function of the program's runs. */
static struct moved *current;

/* ---- the program's word --------------------------------------------------------------- */

int recto_protect_redistribute(const char *name, recto_redistribute function,
                               void *argument)
{
    int status = ckpt_state.started && name != NULL ? 0 : RECTO_ESTATE;
    (void)pthread_mutex_lock(&ckpt_mutex);
    struct ckpt_region *region = status == 0 ? ckpt_region_find(name) : NULL;
    if (region == NULL || !region->present || region->is_block) {
        status = base_error(RECTO_ENOENT,
                            "recto_protect_redistribute(\"%s\"): no protected "
                            "memory has that name; call recto_protect first",
                            name != NULL ? name : "NULL");
    } else {
        region->redistribute = function;
        region->argument = argument;
    }
    (void)pthread_mutex_unlock(&ckpt_mutex);
    return status;
}

bool ckpt_moved(const struct ckpt_object *o, const struct ckpt_epoch *e)
{
    const struct ckpt_region *r = ckpt_region_find(o->name);
    return o->kind == CKPT_PRIVATE && o->bytes > 0 &&
           e->ranks != (uint64_t)net_size() && r != NULL && r->present &&
           r->redistribute != NULL;
}

/* ---- reading -------------------------------------------------------------------------- */

/* Bytes [from, to) of a piece. */
static int bytes_read(const struct moved *m, uint64_t rank, uint64_t bytes,
                      uint64_t from, uint64_t to, char *memory)
{
    const struct ckpt_range range = {
        .object = m->object, .rank = rank, .bytes = bytes};
    char *buffer = malloc((size_t)READ_PAGES * CKPT_PAGE);
    int status = buffer != NULL ? 0 : base_error(RECTO_ENOMEM, "buffer");
    while (from < to && status == 0) {
        uint64_t first = from / CKPT_PAGE;
        uint64_t count = ckpt_pages(to) - first;
        count = count < READ_PAGES ? count : READ_PAGES;
        uint64_t end = (first + count) * CKPT_PAGE;
        end = end < to ? end : to;
        status = ckpt_chain_read(m->chain, &range, first, count, buffer);
        if (status == 0) {
            memcpy(memory, buffer + from % CKPT_PAGE, end - from);
        }
        memory += end - from;
        from = end;
    }
    free(buffer);
    return status;
}

int recto_pieces_read(const recto_pieces *pieces, int rank, uint64_t first,
                      uint64_t count, void *to)
{
    struct moved *m = current;
    if (m == NULL || pieces != &m->pieces) {
        return base_error(RECTO_ESTATE,
                          "recto_pieces_read outside of its function");
    }
    if (rank < 0 || rank >= pieces->ranks || first > pieces->counts[rank] ||
        count > pieces->counts[rank] - first) {
        return base_error(RECTO_EINVAL,
                          "recto_pieces_read of \"%s\": %llu elements from "
                          "%llu on of rank %d",
                          pieces->name, (unsigned long long)count,
                          (unsigned long long)first, rank);
    }
    size_t size = m->object->element;
    int status = bytes_read(m, (uint64_t)rank, pieces->counts[rank] * size,
                            first * size, (first + count) * size, to);
    if (status != 0 && m->status == 0) {
        m->status = status;
        (void)snprintf(m->message, sizeof m->message, "%s", recto_last_error());
    }
    return status;
}

/* ---- the calls ------------------------------------------------------------------------ */

static int counts_make(const struct moved *m, uint64_t *counts)
{
    size_t size = m->object->element;
    for (int r = 0; r < m->pieces.ranks; r++) {
        int status =
            ckpt_chain_size(m->chain, m->object, (uint64_t)r, &counts[r]);
        if (status != 0) {
            return status;
        }
        counts[r] /= size;
    }
    return 0;
}

static int call(struct moved *m, const struct ckpt_region *region)
{
    current = m;
    ckpt_state.moving = region->name;
    int answer = region->redistribute(&m->pieces, region->argument);
    ckpt_state.moving = NULL;
    current = NULL;
    if (m->status != 0) {
        base_error_set(m->message);
        return m->status;
    }
    return answer == 0
               ? 0
               : base_error(RECTO_ECHANGED,
                            "protected memory \"%s\": the program's function "
                            "for another number of ranks failed (%d)",
                            region->name, answer);
}

static int part_move(struct load *l, const struct ckpt_part *part)
{
    const struct ckpt_epoch *e = &l->job->epoch;
    uint64_t *counts = calloc(e->ranks, sizeof *counts);
    struct moved m = {
        .pieces = {.name = part->object->name,
                   .type = (int)part->region->type,
                   .ranks = (int)e->ranks,
                   .counts = counts,
                   .epoch = (int64_t)e->number},
        .chain = &l->chain,
        .object = part->object
    };
    int status = counts != NULL ? counts_make(&m, counts)
                                : base_error(RECTO_ENOMEM, "sizes of \"%s\"",
                                             part->object->name);
    status = status == 0 ? call(&m, part->region) : status;
    free(counts);
    return status;
}

int ckpt_moved_call(struct load *l)
{
    struct ckpt_sources mine = l->chain.sources;
    int status = 0;
    l->chain.sources = l->old;
    for (uint64_t i = 0; i < l->job->epoch.nobjects && status == 0; i++) {
        if (l->job->parts[i].moved) {
            status = net_verdict(part_move(l, &l->job->parts[i]));
        }
    }
    l->chain.sources = mine;
    return status;
}
