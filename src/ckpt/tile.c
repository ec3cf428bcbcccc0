/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of a distributed array to pieces of its pages, and back: two-phase input/output
 * (del Rosario, Bordawekar, Choudhary: Improved parallel I/O via a two-phase run-time
 * access strategy, 1993). A message is a list of records: place, bytes, data.
 *
 * Invariants
 * 1. Rank k's piece is pages [k P / N, (k + 1) P / N), as of shared memory; it follows
 *    from the array's size alone.
 * 2. In one round a rank receives no more than WINDOW bytes of data for its piece, and
 *    sends no more than that for each piece; every rank knows the number of rounds.
 * 3. Blocks do not overlap (agree.c), so that no byte of a piece is sent twice.
 */
#include "tile.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

enum {
    WINDOW = 16 << 20,
    RECORD_MAX = 65536 /* bytes of data */
};

/* ---- stretches ---------------------------------------------------------------------- */

uint64_t ckpt_tile_count(const uint64_t *dims, int ndims)
{
    uint64_t count = 1;
    for (int i = 0; i < ndims; i++) {
        count *= dims[i];
    }
    return count;
}

bool ckpt_tiles_overlap(const struct ckpt_tile *a, const struct ckpt_tile *b)
{
    for (int i = 0; i < a->ndims; i++) {
        uint64_t first = a->start[i] > b->start[i] ? a->start[i] : b->start[i];
        if (first >= a->start[i] + a->local[i] ||
            first >= b->start[i] + b->local[i]) {
            return false;
        }
    }
    return true;
}

/* The block as rows: stretches that are contiguous in the array. */
struct rows {
    const struct ckpt_tile *block;
    int split; /* a row has all of the dimensions after this one */
    uint64_t count;
    uint64_t bytes; /* of one */
    uint64_t stride[RECTO_DIMS_MAX];
};

static struct rows rows_of(const struct ckpt_tile *b, size_t element)
{
    struct rows r = {.block = b, .split = b->ndims - 1};
    uint64_t stride = element;
    for (int i = b->ndims; i-- > 0;) {
        r.stride[i] = stride;
        stride *= b->global[i];
    }
    while (r.split > 0 && b->local[r.split] == b->global[r.split]) {
        r.split--;
    }
    r.bytes = b->local[r.split] * r.stride[r.split];
    r.count = r.bytes == 0 ? 0 : ckpt_tile_count(b->local, r.split);
    return r;
}

static uint64_t row_offset(const struct rows *r, uint64_t row)
{
    const struct ckpt_tile *b = r->block;
    uint64_t offset = b->start[r->split] * r->stride[r->split];
    for (int i = r->split; i-- > 0;) {
        offset += (b->start[i] + row % b->local[i]) * r->stride[i];
        row /= b->local[i];
    }
    return offset;
}

/* The first row that ends behind `from`. */
static uint64_t row_from(const struct rows *r, uint64_t from)
{
    uint64_t low = 0;
    uint64_t high = r->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (row_offset(r, middle) + r->bytes <= from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

typedef int (*tile_run)(void *argument, uint64_t offset, uint64_t at,
                        uint64_t bytes);

/*
 * Calls `run` for each stretch of the block that is contiguous in the array, cut to
 * bytes [from, to) of it, in ascending order: `offset` in the array, `at` in the
 * block's memory. The first status that is not 0 ends it and is returned.
 */
static int walk(const struct ckpt_tile *block, size_t element, uint64_t from,
                uint64_t to, tile_run run, void *argument)
{
    struct rows r = rows_of(block, element);
    int status = 0;
    for (uint64_t row = row_from(&r, from); row < r.count && status == 0;
         row++) {
        uint64_t start = row_offset(&r, row);
        uint64_t first = start > from ? start : from;
        uint64_t end = start + r.bytes < to ? start + r.bytes : to;
        if (first >= end) {
            break;
        }
        status =
            run(argument, first, row * r.bytes + first - start, end - first);
    }
    return status;
}

/* ---- pieces ------------------------------------------------------------------------- */

int ckpt_tile_owner(uint64_t page, uint64_t pages)
{
    uint64_t ranks = (uint64_t)net_size();
    uint64_t low = 0;
    uint64_t high = ranks - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (page < ckpt_piece_first(pages, middle + 1, ranks)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (int)low;
}

/* Bytes of the array: those of rank k's piece that are on in a round. */
struct window {
    uint64_t from;
    uint64_t to;
};

static struct window window_of(const struct ckpt_part *part, int k,
                               uint64_t round)
{
    uint64_t ranks = (uint64_t)net_size();
    uint64_t rank = (uint64_t)k;
    uint64_t first = ckpt_piece_first(part->pages, rank, ranks) * CKPT_PAGE;
    uint64_t end = ckpt_piece_first(part->pages, rank + 1, ranks) * CKPT_PAGE;
    struct window w = {first + round * WINDOW, first + (round + 1) * WINDOW};
    end = end < part->bytes ? end : part->bytes;
    w.to = w.to < end ? w.to : end;
    w.from = w.from < w.to ? w.from : w.to;
    return w;
}

static uint64_t rounds_of(const struct ckpt_part *part)
{
    uint64_t most = part->pages / (uint64_t)net_size() + 1;
    return (most * CKPT_PAGE + WINDOW - 1) / WINDOW;
}

static size_t element_of(const struct ckpt_part *part)
{
    return recto_type_size(part->object->type);
}

/* ---- records ------------------------------------------------------------------------ */

struct record {
    uint64_t place; /* where the receiver puts the data */
    uint64_t bytes;
};

/* Records to be sent; counted first, then packed. */
struct pack {
    int to;
    bool blocks; /* data lie as the block does, places are of the piece */
    const char *source; /* its first byte, or that of the piece */
    uint64_t base;      /* of the piece in the array */
    char *buffer;       /* NULL: count */
    size_t used;
    struct net_parcels parcels;
};

static int pack_run(void *argument, uint64_t offset, uint64_t at,
                    uint64_t bytes)
{
    struct pack *p = argument;
    int status = 0;
    for (uint64_t done = 0; done < bytes && status == 0;) {
        uint64_t n = bytes - done < RECORD_MAX ? bytes - done : RECORD_MAX;
        uint64_t in_piece = offset - p->base + done;
        struct record head = {p->blocks ? in_piece : at + done, n};
        if (p->buffer != NULL) {
            char *room = p->buffer + p->used;
            memcpy(room, &head, sizeof head);
            memcpy(room + sizeof head,
                   p->source + (p->blocks ? at + done : in_piece), n);
            status = net_parcels_add(&p->parcels, p->to, room, sizeof head + n);
        }
        p->used += sizeof head + n;
        done += n;
    }
    return status;
}

/* Who receives. */
struct taker {
    char *memory;
    uint64_t bytes;
};

static int records_take(void *context, const void *data, size_t bytes)
{
    const struct taker *t = context;
    const char *at = data;
    while (bytes > 0) {
        struct record head;
        RECTO_ASSERT(bytes >= sizeof head);
        memcpy(&head, at, sizeof head);
        RECTO_ASSERT(head.place + head.bytes <= t->bytes);
        memcpy(t->memory + head.place, at + sizeof head, head.bytes);
        at += sizeof head + head.bytes;
        bytes -= sizeof head + head.bytes;
    }
    return 0;
}

/* What a rank sends in a round. */
typedef int (*round_pack)(const void *plan, uint64_t round, struct pack *p);

/* Sends and takes, round by round. Collective, one verdict. */
static int rounds_run(const struct ckpt_part *part, const void *plan,
                      round_pack pack, struct taker *taker)
{
    int status = 0;
    for (uint64_t i = 0; i < rounds_of(part) && status == 0; i++) {
        struct pack p = {0};
        (void)pack(plan, i, &p);
        p.buffer = malloc(p.used + 1);
        p.used = 0;
        status = p.buffer != NULL
                     ? pack(plan, i, &p)
                     : base_error(RECTO_ENOMEM, "messages of \"%s\"",
                                  part->object->name);
        status = net_verdict(status);
        if (status == 0) {
            status = net_verdict(net_exchange(p.parcels.items, p.parcels.count,
                                              records_take, taker));
        }
        free(p.parcels.items);
        free(p.buffer);
    }
    return status;
}

/* ---- blocks to pieces --------------------------------------------------------------- */

static int gather_pack(const void *plan, uint64_t round, struct pack *p)
{
    const struct ckpt_part *part = plan;
    int status = 0;
    p->blocks = true;
    p->source = part->region->p;
    for (p->to = 0; p->to < net_size() && status == 0; p->to++) {
        struct window w = window_of(part, p->to, round);
        p->base = window_of(part, p->to, 0).from;
        status = walk(&part->region->block, element_of(part), w.from, w.to,
                      pack_run, p);
    }
    return status;
}

int ckpt_tile_gather(struct ckpt_part *part)
{
    part->staging = calloc(part->count + 1, CKPT_PAGE);
    int status = net_verdict(
        part->staging != NULL
            ? 0
            : base_error(RECTO_ENOMEM, "piece of \"%s\"", part->object->name));
    struct taker taker = {part->staging, part->count * CKPT_PAGE};
    return status == 0 ? rounds_run(part, part, gather_pack, &taker) : status;
}

/* ---- pieces to blocks --------------------------------------------------------------- */

/* Whose blocks reach into my piece. */
struct asked {
    int rank;
    struct ckpt_tile block;
};

struct scatter {
    const struct ckpt_part *part;
    struct asked *list;
    size_t count;
};

static int stretch_found(void *argument, uint64_t offset, uint64_t at,
                         uint64_t bytes)
{
    (void)argument;
    (void)offset;
    (void)at;
    (void)bytes;
    return 1;
}

static int asked_take(void *context, const void *data, size_t bytes)
{
    struct scatter *s = context;
    size_t more = bytes / sizeof *s->list;
    struct asked *list = realloc(s->list, (s->count + more) * sizeof *list);
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "list of blocks");
    }
    memcpy(list + s->count, data, bytes);
    s->list = list;
    s->count += more;
    return 0;
}

/* Tells those whose pieces my block reaches into. Collective, one verdict. */
static int ask(struct scatter *s)
{
    const struct ckpt_part *part = s->part;
    struct asked mine = {net_rank(), part->region->block};
    struct net_parcels parcels = {0};
    uint64_t ranks = (uint64_t)net_size();
    int status = 0;
    for (uint64_t k = 0; k < ranks && status == 0; k++) {
        uint64_t from = ckpt_piece_first(part->pages, k, ranks) * CKPT_PAGE;
        uint64_t to = ckpt_piece_first(part->pages, k + 1, ranks) * CKPT_PAGE;
        if (walk(&mine.block, element_of(part), from, to, stretch_found,
                 NULL) != 0) {
            status = net_parcels_add(&parcels, (int)k, &mine, sizeof mine);
        }
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(
            net_exchange(parcels.items, parcels.count, asked_take, s));
    }
    free(parcels.items);
    return status;
}

static int scatter_pack(const void *plan, uint64_t round, struct pack *p)
{
    const struct scatter *s = plan;
    struct window w = window_of(s->part, net_rank(), round);
    int status = 0;
    p->source = s->part->staging;
    p->base = s->part->first * CKPT_PAGE;
    for (size_t i = 0; i < s->count && status == 0; i++) {
        p->to = s->list[i].rank;
        status = walk(&s->list[i].block, element_of(s->part), w.from, w.to,
                      pack_run, p);
    }
    return status;
}

int ckpt_tile_scatter(const struct ckpt_part *part, char **memory)
{
    struct scatter s = {.part = part};
    uint64_t bytes = part->region->count * element_of(part);
    *memory = malloc(bytes + 1);
    int status = net_verdict(
        *memory != NULL
            ? 0
            : base_error(RECTO_ENOMEM, "block of \"%s\"", part->object->name));
    struct taker taker = {*memory, bytes};
    status = status == 0 ? ask(&s) : status;
    status = status == 0 ? rounds_run(part, &s, scatter_pack, &taker) : status;
    free(s.list);
    return status;
}
