/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks are compressed by threads (deflate.c) and handed by this one, in whose hands alone
 * HDF5 is, to HDF5, which stores them as they are and says where.
 *
 * Invariants
 * 1. A chunk is a stretch of the array's bytes (chunks.h), so that it is cut out of
 *    them as they come.
 * 2. Chunks of zeros are not stored: a reader fills them in. Their rows stay zero.
 * 3. An error of a write is kept in the image, never told to HDF5 (image.c).
 */
#include "chunked.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "image.h"

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

int ckpt_chunked_open(struct ckpt_chunked *c, struct ckpt_epoch *epoch,
                      int level, const struct ckpt_image *image)
{
    epoch->packed = true;
    epoch->entries = ckpt_epoch_chunks(epoch);
    epoch->packed = epoch->entries > 0;
    *c = (struct ckpt_chunked){.image = image, .set = H5I_INVALID_HID};
    c->rows = calloc((size_t)epoch->entries + 1, sizeof *c->rows);
    int status = c->rows != NULL
                     ? ckpt_deflater_open(&c->deflater, level, processors())
                     : base_error(RECTO_ENOMEM, "table of chunks");
    if (status != 0) {
        free(c->rows);
    }
    return status;
}

void ckpt_chunked_close(struct ckpt_chunked *c)
{
    ckpt_deflater_close(&c->deflater);
    free(c->rows);
    c->rows = NULL;
}

int ckpt_chunked_begin(struct ckpt_chunked *c, hid_t file,
                       const struct ckpt_object *object)
{
    c->object = object;
    c->chunking = ckpt_chunking_of(object);
    c->number = 0;
    c->fill = 0;
    c->set = H5Dopen2(file, object->name, H5P_DEFAULT);
    return c->set >= 0 ? 0
                       : base_error(RECTO_ENOMEM, "HDF5 cannot open \"%s\"",
                                    object->name);
}

/* The oldest chunk under way, if there is one. */
static int chunk_write(struct ckpt_chunked *c)
{
    struct ckpt_deflated chunk;
    uint64_t place[RECTO_DIMS_MAX];
    hsize_t at[RECTO_DIMS_MAX];
    hsize_t size = 0;
    unsigned mask = 0;
    haddr_t offset = HADDR_UNDEF;
    if (!ckpt_deflater_get(&c->deflater, &chunk)) {
        return 0;
    }
    mask = chunk.raw ? ckpt_chunk_filters(c->object) : 0;
    ckpt_chunk_place(&c->chunking, c->object, chunk.number, place);
    for (int i = 0; i < c->object->ndims; i++) {
        at[i] = place[i];
    }
    if (H5Dwrite_chunk(c->set, H5P_DEFAULT, mask, at, chunk.bytes, chunk.data) <
            0 ||
        H5Dget_chunk_info_by_coord(c->set, at, &mask, &offset, &size) < 0 ||
        offset == HADDR_UNDEF || size != chunk.bytes) {
        return base_error(RECTO_EIO, "HDF5 cannot write a chunk of \"%s\"",
                          c->object->name);
    }
    c->rows[c->done + chunk.number] =
        (struct ckpt_chunk){offset, (uint32_t)chunk.bytes, mask};
    return c->image->status;
}

/* The chunk in the room is complete. */
static void chunk_end(struct ckpt_chunked *c, char *room)
{
    size_t bytes = c->chunking.bytes;
    memset(room + c->fill, 0, bytes - c->fill);
    if (!ckpt_is_zero(room, bytes)) {
        ckpt_deflater_put(&c->deflater, bytes, (size_t)c->object->element,
                          c->number);
    }
    c->number++;
    c->fill = 0;
}

int ckpt_chunked_put(struct ckpt_chunked *c, const char *data, size_t bytes)
{
    int status = 0;
    while (bytes > 0 && status == 0) {
        if (ckpt_deflater_full(&c->deflater)) {
            status = chunk_write(c);
            continue;
        }
        char *room = ckpt_deflater_room(&c->deflater);
        size_t want =
            ckpt_chunk_bytes(&c->chunking, c->object, c->number) - c->fill;
        size_t n = want < bytes ? want : bytes;
        memcpy(room + c->fill, data, n);
        c->fill += n;
        data += n;
        bytes -= n;
        if (n == want) {
            chunk_end(c, room);
        }
    }
    return status;
}

int ckpt_chunked_end(struct ckpt_chunked *c, int status)
{
    while (status == 0 && c->deflater.got < c->deflater.put) {
        status = chunk_write(c);
    }
    if (c->set >= 0 && H5Dclose(c->set) < 0 && status == 0) {
        status =
            base_error(RECTO_EIO, "HDF5 cannot close \"%s\"", c->object->name);
    }
    c->set = H5I_INVALID_HID;
    c->done += c->chunking.count;
    return status;
}
