/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invariants
 * 1. Everything about how an object is cut follows from its dimensions.
 * 2. ckpt_inflate takes no memory: zlib's is in the slab.
 */
#include "chunks.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "shuffle.h"

enum {
    SLAB = 1 << 18 /* several times what zlib takes to inflate */
};

/* ---- how an object is cut --------------------------------------------------------------- */

struct ckpt_chunking ckpt_chunking_of(const struct ckpt_object *o)
{
    struct ckpt_chunking c = {.split = o->ndims - 1, .row_bytes = o->element};
    while (c.split > 0 && c.row_bytes * o->dims[c.split] <= CKPT_CHUNK) {
        c.row_bytes *= o->dims[c.split--];
    }
    uint64_t most = CKPT_CHUNK / c.row_bytes;
    uint64_t rows = o->dims[c.split];
    c.across = (rows + most - 1) / most;
    c.rows = (rows + c.across - 1) / c.across; /* about as many in each */
    c.across = (rows + c.rows - 1) / c.rows;
    c.bytes = (size_t)(c.rows * c.row_bytes);
    c.count = c.across;
    for (int i = 0; i < c.split; i++) {
        c.count *= o->dims[i];
    }
    return c;
}

size_t ckpt_chunk_bytes(const struct ckpt_chunking *c,
                        const struct ckpt_object *o, uint64_t number)
{
    uint64_t rest = o->dims[c->split] - number % c->across * c->rows;
    return (size_t)((rest < c->rows ? rest : c->rows) * c->row_bytes);
}

void ckpt_chunk_place(const struct ckpt_chunking *c,
                      const struct ckpt_object *o, uint64_t number,
                      uint64_t *at)
{
    memset(at, 0, RECTO_DIMS_MAX * sizeof *at);
    at[c->split] = number % c->across * c->rows;
    number /= c->across;
    for (int i = c->split; i-- > 0;) {
        at[i] = number % o->dims[i];
        number /= o->dims[i];
    }
}

uint64_t ckpt_chunk_find(const struct ckpt_chunking *c,
                         const struct ckpt_object *o, uint64_t offset,
                         size_t *at)
{
    uint64_t stretch = o->dims[c->split] * c->row_bytes;
    uint64_t within = offset % stretch;
    *at = (size_t)(within % c->bytes);
    return offset / stretch * c->across + within / c->bytes;
}

uint32_t ckpt_chunk_filters(const struct ckpt_object *o)
{
    return o->element > 1 ? 3 : 1;
}

uint64_t ckpt_epoch_chunks(const struct ckpt_epoch *e)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (ckpt_is_chunked(e, &e->objects[i])) {
            count += ckpt_chunking_of(&e->objects[i]).count;
        }
    }
    return count;
}

/* ---- one chunk back ------------------------------------------------------------------ */

struct zlib {
    z_stream stream;
    size_t used;
    _Alignas(64) char slab[SLAB];
};

static void *slab_take(void *zlib, unsigned count, unsigned size)
{
    struct zlib *z = zlib;
    size_t bytes = ((size_t)count * size + 63) / 64 * 64;
    if (bytes > sizeof z->slab - z->used) {
        return NULL;
    }
    z->used += bytes;
    return z->slab + z->used - bytes;
}

/* All of it goes at the end. */
static void slab_give(void *zlib, void *memory)
{
    (void)zlib;
    (void)memory;
}

static bool zlib_open(struct ckpt_inflater *inflater)
{
    struct zlib *z = aligned_alloc(64, sizeof *z);
    inflater->zlib = z;
    if (z == NULL) {
        return false;
    }
    memset(z, 0, sizeof *z);
    z->stream.zalloc = slab_take;
    z->stream.zfree = slab_give;
    z->stream.opaque = z;
    return inflateInit(&z->stream) == Z_OK;
}

int ckpt_inflater_open(struct ckpt_inflater *inflater)
{
    inflater->stored = malloc(CKPT_CHUNK);
    inflater->sorted = malloc(CKPT_CHUNK);
    inflater->plain = malloc(CKPT_CHUNK);
    if (inflater->stored != NULL && inflater->sorted != NULL &&
        inflater->plain != NULL && zlib_open(inflater)) {
        return 0;
    }
    ckpt_inflater_close(inflater);
    return base_error(RECTO_ENOMEM, "decompression of a checkpoint");
}

void ckpt_inflater_close(struct ckpt_inflater *inflater)
{
    free(inflater->zlib);
    free(inflater->stored);
    free(inflater->sorted);
    free(inflater->plain);
    *inflater = (struct ckpt_inflater){.zlib = NULL};
}

/* All of `in`, to exactly so many bytes. */
static bool inflate_all(struct zlib *z, char *in, size_t bytes_in, char *out,
                        size_t bytes)
{
    z_stream *s = &z->stream;
    s->next_in = (Bytef *)in;
    s->avail_in = (uInt)bytes_in;
    s->next_out = (Bytef *)out;
    s->avail_out = (uInt)bytes;
    return inflateReset(s) == Z_OK && inflate(s, Z_FINISH) == Z_STREAM_END &&
           s->avail_out == 0 && s->avail_in == 0;
}

bool ckpt_inflate(struct ckpt_inflater *i, const struct ckpt_chunk *chunk,
                  const struct ckpt_object *o, size_t bytes)
{
    if (chunk->raw != 0) {
        bool good =
            chunk->bytes == bytes && chunk->raw == ckpt_chunk_filters(o);
        if (good) {
            memcpy(i->plain, i->stored, bytes);
        }
        return good;
    }
    bool sorted = o->element > 1;
    if (!inflate_all(i->zlib, i->stored, chunk->bytes,
                     sorted ? i->sorted : i->plain, bytes)) {
        return false;
    }
    if (sorted) {
        ckpt_unshuffle(i->sorted, i->plain, bytes, (size_t)o->element);
    }
    return true;
}
