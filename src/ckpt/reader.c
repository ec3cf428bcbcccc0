/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading of one epoch file with pread. The chain of trust: the manifest has
 * the checksum of the metadata bytes; these hold the table of pieces; a piece
 * has the hash of its page sums (or log entries); a sum vouches for a page.
 *
 * Invariants
 * 1. HDF5 is never asked: damaged files must not reach it.
 * 2. Nothing of the table of pieces is used before its bytes are checked and
 *    its rows agree with the epoch's objects, so that later reads stay inside
 *    the extents.
 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base.h"

enum {
    META_CHUNK = 1 << 16 /* bytes read at a time */
};

int ckpt_file_corrupt(const struct ckpt_file *file, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return base_error(RECTO_ECORRUPT, "epoch %llu (%s): %s",
                      (unsigned long long)file->epoch->number, file->io.name,
                      text);
}

int ckpt_file_open(struct ckpt_file *file, const struct ckpt_dir *dir,
                   const struct ckpt_epoch *epoch)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    uint64_t length = 0;
    static atomic_uint_fast64_t opened;
    ckpt_epoch_file(epoch, name);
    file->id = atomic_fetch_add(&opened, 1) + 1;
    file->epoch = epoch;
    file->pieces = NULL;
    file->npieces = 0;
    int status =
        ckpt_io_open(&file->io, dir, name, O_RDONLY | O_NONBLOCK, "read");
    if (status == RECTO_ENOENT) {
        return ckpt_file_corrupt(file, "the file is missing");
    }
    if (status == 0) {
        status = ckpt_io_length(&file->io, &length);
    }
    if (status == 0 && length != epoch->length) {
        status = ckpt_file_corrupt(file, "the file has %llu bytes, not %llu",
                                   (unsigned long long)length,
                                   (unsigned long long)epoch->length);
    }
    if (status != 0) {
        ckpt_io_close(&file->io);
    }
    return status;
}

void ckpt_file_close(struct ckpt_file *file)
{
    ckpt_io_close(&file->io);
    free(file->pieces);
    file->pieces = NULL;
    file->npieces = 0;
}

/* Feeds bytes [from, to) of the file to the checksum. */
static int meta_add(const struct ckpt_file *file, XXH3_state_t *state,
                    char *buffer, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t n = to - from < META_CHUNK ? (size_t)(to - from) : META_CHUNK;
        int status = ckpt_io_read(&file->io, buffer, n, from);
        if (status != 0) {
            return status;
        }
        (void)XXH3_64bits_update(state, buffer, n);
        from += n;
    }
    return 0;
}

static int meta_sum(const struct ckpt_file *file,
                    const struct ckpt_extent *extents, size_t count,
                    uint64_t *sum)
{
    XXH3_state_t *state = XXH3_createState();
    char *buffer = malloc(META_CHUNK);
    int status = 0;
    if (state == NULL || buffer == NULL) {
        status = base_error(RECTO_ENOMEM, "checksum of %s", file->io.name);
    } else {
        (void)XXH3_64bits_reset(state);
        uint64_t at = 0;
        for (size_t i = 0; i < count && status == 0; i++) {
            status = meta_add(file, state, buffer, at, extents[i].offset);
            at = extents[i].offset + extents[i].bytes;
        }
        if (status == 0) {
            status = meta_add(file, state, buffer, at, file->epoch->length);
        }
        *sum = XXH3_64bits_digest(state);
    }
    free(buffer);
    (void)XXH3_freeState(state);
    return status;
}

/* The table of chunks, whose bytes the sum vouches for as well: where it were wrong, the
 * extents would be, and so the sum. *chunks NULL: there is none. */
static int chunks_read(const struct ckpt_file *file, struct ckpt_chunk **chunks)
{
    const struct ckpt_epoch *e = file->epoch;
    size_t bytes = (size_t)e->entries * sizeof **chunks;
    if (!e->full || !e->packed) {
        return 0;
    }
    *chunks = malloc(bytes + 1);
    return *chunks != NULL
               ? ckpt_io_read(&file->io, *chunks, bytes, e->blocks_at)
               : base_error(RECTO_ENOMEM, "table of chunks of %s",
                            file->io.name);
}

int ckpt_file_meta_check(struct ckpt_file *file)
{
    struct ckpt_extent *extents = NULL;
    struct ckpt_chunk *chunks = NULL;
    size_t count = 0;
    uint64_t sum = 0;
    int status = chunks_read(file, &chunks);
    if (status == 0) {
        status = ckpt_epoch_extents(file->epoch, chunks, &extents, &count);
    }
    free(chunks);
    if (status == 0) {
        status = meta_sum(file, extents, count, &sum);
        free(extents);
    }
    if (status == 0 && sum != file->epoch->meta) {
        status = ckpt_file_corrupt(file, "its metadata is damaged");
    }
    return status;
}

/* ---- pieces -------------------------------------------------------------------- */

static bool shared_rows_good(const struct ckpt_object *o,
                             const struct ckpt_piece *rows, uint64_t ranks)
{
    uint64_t pages = ckpt_pages(o->bytes);
    for (uint64_t k = 0; k < ranks; k++) {
        uint64_t first = ckpt_piece_first(pages, k, ranks);
        uint64_t end = ckpt_piece_first(pages, k + 1, ranks);
        uint64_t stop = end * CKPT_PAGE < o->bytes ? end * CKPT_PAGE : o->bytes;
        uint64_t start =
            first * CKPT_PAGE < o->bytes ? first * CKPT_PAGE : o->bytes;
        if (rows[k].offset != start || rows[k].bytes != stop - start ||
            rows[k].first_sum != first || rows[k].sums != end - first) {
            return false;
        }
    }
    return true;
}

/* Private pieces lie end to end; `sums` false in a differential epoch, where
 * the rows only tell how the bytes are divided. */
static bool private_rows_good(const struct ckpt_object *o,
                              const struct ckpt_piece *rows, uint64_t ranks,
                              bool sums)
{
    uint64_t offset = 0;
    uint64_t first = 0;
    for (uint64_t k = 0; k < ranks; k++) {
        uint64_t pages = sums ? ckpt_pages(rows[k].bytes) : 0;
        if (rows[k].offset != offset || rows[k].bytes > o->bytes - offset ||
            rows[k].bytes % o->element != 0 || rows[k].first_sum != first ||
            rows[k].sums != pages) {
            return false;
        }
        offset += rows[k].bytes;
        first += pages;
    }
    return offset == o->bytes && (!sums || first == o->nsums);
}

static bool log_rows_good(const struct ckpt_epoch *e,
                          const struct ckpt_piece *rows)
{
    uint64_t entry = 0;
    for (uint64_t k = 0; k < e->ranks; k++) {
        if (rows[k].first_sum != entry || rows[k].sums > e->entries - entry ||
            rows[k].offset != entry * CKPT_PAGE ||
            rows[k].bytes != rows[k].sums * CKPT_PAGE) {
            return false;
        }
        entry += rows[k].sums;
    }
    return entry == e->entries;
}

/* One object's rows (uid 0: the log's), a row for each rank. */
static bool group_good(const struct ckpt_epoch *e,
                       const struct ckpt_piece *rows)
{
    for (uint64_t k = 0; k < e->ranks; k++) {
        if (rows[k].uid != rows[0].uid || rows[k].rank != k) {
            return false;
        }
    }
    if (rows[0].uid == 0) {
        return !e->full && log_rows_good(e, rows);
    }
    const struct ckpt_object *o = ckpt_epoch_object(e, rows[0].uid);
    if (o == NULL || (!e->full && o->kind == CKPT_SHARED)) {
        return false;
    }
    return o->kind == CKPT_SHARED
               ? shared_rows_good(o, rows, e->ranks)
               : private_rows_good(o, rows, e->ranks, e->full);
}

static bool pieces_good(const struct ckpt_epoch *e,
                        const struct ckpt_piece *pieces)
{
    uint64_t groups = e->pieces / e->ranks;
    if (e->pieces % e->ranks != 0 || (e->full && groups != e->nobjects) ||
        (!e->full && (groups == 0 || pieces[0].uid != 0))) {
        return false;
    }
    for (uint64_t g = 0; g < groups; g++) {
        const struct ckpt_piece *rows = &pieces[g * e->ranks];
        if ((g > 0 && rows[0].uid <= rows[-1].uid) || !group_good(e, rows)) {
            return false;
        }
    }
    return true;
}

int ckpt_file_pieces_read(struct ckpt_file *file)
{
    const struct ckpt_epoch *e = file->epoch;
    size_t bytes = (size_t)e->pieces * sizeof(struct ckpt_piece);
    struct ckpt_piece *pieces = malloc(bytes + 1);
    if (pieces == NULL) {
        return base_error(RECTO_ENOMEM, "table of pieces of %s", file->io.name);
    }
    int status = ckpt_io_read(&file->io, pieces, bytes, e->pieces_at);
    if (status == 0 && !pieces_good(e, pieces)) {
        status = ckpt_file_corrupt(file, "its table of pieces is wrong");
    }
    if (status != 0) {
        free(pieces);
        return status;
    }
    file->pieces = pieces;
    file->npieces = e->pieces;
    return 0;
}

const struct ckpt_piece *ckpt_file_piece(const struct ckpt_file *file,
                                         uint64_t uid, uint64_t rank)
{
    uint64_t low = 0;
    uint64_t high = file->npieces;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct ckpt_piece *p = &file->pieces[middle];
        if (p->uid < uid || (p->uid == uid && p->rank < rank)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct ckpt_piece *p =
        low < file->npieces ? &file->pieces[low] : NULL;
    return p != NULL && p->uid == uid && p->rank == rank ? p : NULL;
}

int ckpt_file_sums_damaged(const struct ckpt_file *file,
                           const struct ckpt_object *object,
                           const struct ckpt_piece *piece)
{
    return ckpt_file_corrupt(file,
                             "the checksums of \"%s\" are damaged (piece %llu)",
                             object->name, (unsigned long long)piece->rank);
}

int ckpt_file_sums_read(const struct ckpt_file *file,
                        const struct ckpt_object *object,
                        const struct ckpt_piece *piece, uint64_t *sums)
{
    size_t bytes = (size_t)piece->sums * sizeof *sums;
    int status = ckpt_io_read(&file->io, sums, bytes,
                              object->sums + piece->first_sum * sizeof *sums);
    return status == 0 && ckpt_hash(sums, bytes) != piece->hash
               ? ckpt_file_sums_damaged(file, object, piece)
               : status;
}

static bool block_good(const struct ckpt_epoch *e, const struct ckpt_block *b)
{
    if (b->bytes == 0) {
        return b->offset == 0 && b->codec == CKPT_RAW && b->element == 1 &&
               b->pages == 1 && b->page == 0;
    }
    uint64_t size = e->entries * CKPT_PAGE;
    return b->codec <= CKPT_ZSTD && b->pages >= 1 &&
           b->pages <= CKPT_BLOCK_PAGES && b->page < b->pages &&
           b->bytes <= (uint32_t)b->pages * CKPT_PAGE && b->offset <= size &&
           b->bytes <= size - b->offset;
}

static int rows_load(const struct ckpt_file *file, const struct ckpt_piece *run,
                     struct ckpt_rows *rows)
{
    const struct ckpt_epoch *e = file->epoch;
    size_t n = (size_t)run->sums;
    rows->entries = malloc(n * sizeof *rows->entries + 1);
    if (e->packed) {
        rows->blocks = malloc(n * sizeof *rows->blocks + 1);
    }
    if (rows->entries == NULL || (e->packed && rows->blocks == NULL)) {
        return base_error(RECTO_ENOMEM, "index of the page log");
    }
    int status =
        ckpt_io_read(&file->io, rows->entries, n * sizeof *rows->entries,
                     e->index_at + run->first_sum * sizeof *rows->entries);
    if (status == 0 && e->packed) {
        status =
            ckpt_io_read(&file->io, rows->blocks, n * sizeof *rows->blocks,
                         e->blocks_at + run->first_sum * sizeof *rows->blocks);
    }
    return status;
}

void ckpt_file_rows_soon(const struct ckpt_file *file,
                         const struct ckpt_piece *run)
{
    const struct ckpt_epoch *e = file->epoch;
    ckpt_io_soon(&file->io,
                 e->index_at + run->first_sum * sizeof(struct ckpt_entry),
                 run->sums * sizeof(struct ckpt_entry));
    if (e->packed) {
        ckpt_io_soon(&file->io,
                     e->blocks_at + run->first_sum * sizeof(struct ckpt_block),
                     run->sums * sizeof(struct ckpt_block));
    }
}

int ckpt_file_rows_read(const struct ckpt_file *file,
                        const struct ckpt_piece *run, struct ckpt_rows *rows)
{
    *rows = (struct ckpt_rows){NULL, NULL};
    int status = rows_load(file, run, rows);
    bool good = status != 0 || ckpt_run_hash(rows->entries, rows->blocks,
                                             run->sums) == run->hash;
    for (uint64_t i = 0; status == 0 && rows->blocks != NULL && i < run->sums;
         i++) {
        good = good && block_good(file->epoch, &rows->blocks[i]);
    }
    return good ? status
                : ckpt_file_corrupt(file,
                                    "the index of the page log is damaged "
                                    "(run of rank %llu)",
                                    (unsigned long long)run->rank);
}

void ckpt_rows_free(struct ckpt_rows *rows)
{
    free(rows->entries);
    free(rows->blocks);
}

/* ---- blocks of a packed log ------------------------------------------------------ */

int ckpt_unpacking_open(struct ckpt_unpacking *u)
{
    *u = (struct ckpt_unpacking){.stored = malloc(CKPT_BLOCK)};
    int status = u->stored != NULL
                     ? ckpt_unpacker_open(&u->unpacker)
                     : base_error(RECTO_ENOMEM, "buffer of a block");
    if (status != 0) {
        ckpt_unpacking_close(u);
    }
    return status;
}

void ckpt_unpacking_close(struct ckpt_unpacking *u)
{
    ckpt_unpacker_close(&u->unpacker);
    free(u->stored);
    for (size_t i = 0; i < CKPT_UNPACKED; i++) {
        free(u->slots[i].plain);
    }
    ckpt_inflater_close(&u->inflater);
    *u = (struct ckpt_unpacking){.stored = NULL};
}

static bool block_same(const struct ckpt_block *a, const struct ckpt_block *b)
{
    return a->offset == b->offset && a->bytes == b->bytes &&
           a->codec == b->codec && a->element == b->element &&
           a->pages == b->pages;
}

static int slot_open(struct ckpt_unpacked *slot)
{
    slot->plain = slot->plain != NULL ? slot->plain : malloc(CKPT_BLOCK);
    return slot->plain != NULL ? 0
                               : base_error(RECTO_ENOMEM, "buffer of a block");
}

static int inflater_need(struct ckpt_unpacking *u)
{
    return u->inflater.zlib != NULL ? 0 : ckpt_inflater_open(&u->inflater);
}

int ckpt_unpacking_reserve(struct ckpt_unpacking *u)
{
    int status = 0;
    for (size_t i = 0; i < CKPT_UNPACKED && status == 0; i++) {
        status = slot_open(&u->slots[i]);
    }
    return status == 0 ? inflater_need(u) : status;
}

static int block_load(const struct ckpt_file *file, struct ckpt_unpacking *u,
                      const struct ckpt_block *block, struct ckpt_unpacked *to)
{
    int status = slot_open(to);
    to->file = 0;
    if (status == 0) {
        status = ckpt_io_read(&file->io, u->stored, block->bytes,
                              file->epoch->pages_at + block->offset);
    }
    struct ckpt_packed packed = {(enum ckpt_codec)block->codec, block->element,
                                 block->bytes, u->stored};
    if (status == 0 && !ckpt_unpack(&u->unpacker, &packed, to->plain,
                                    (size_t)block->pages * CKPT_PAGE)) {
        status = RECTO_ECORRUPT;
    }
    if (status == 0) {
        to->file = file->id;
        to->block = *block;
    }
    return status;
}

int ckpt_file_block_page(const struct ckpt_file *file, struct ckpt_unpacking *u,
                         const struct ckpt_block *block, char *to)
{
    /* files of a chain are opened one after the other */
    struct ckpt_unpacked *slot = &u->slots[file->id % CKPT_UNPACKED];
    int status = 0;
    if (block->bytes == 0) {
        memset(to, 0, CKPT_PAGE);
        return 0;
    }
    if (slot->file != file->id || !block_same(&slot->block, block)) {
        status = block_load(file, u, block, slot);
    }
    if (status == 0) {
        memcpy(to, slot->plain + (size_t)block->page * CKPT_PAGE, CKPT_PAGE);
    }
    return status;
}

/* ---- chunks of a packed full epoch ------------------------------------------------- */

static int row_read(const struct ckpt_file *file, uint64_t at, size_t whole,
                    struct ckpt_chunk *chunk)
{
    uint64_t length = file->epoch->length;
    int status = ckpt_io_read(&file->io, chunk, sizeof *chunk, at);
    bool good = chunk->bytes <= whole && chunk->offset <= length &&
                chunk->bytes <= length - chunk->offset;
    return status == 0 && !good ? RECTO_ECORRUPT : status;
}

/* Into u->inflater.plain, unless it is there. */
static int chunk_load(const struct ckpt_file *file, struct ckpt_unpacking *u,
                      const struct ckpt_object *o, uint64_t row, size_t whole)
{
    struct ckpt_chunk chunk;
    if (u->inflated.file == file->id && u->inflated.row == row) {
        return 0;
    }
    int status = inflater_need(u);
    u->inflated.file = 0;
    status = status == 0 ? row_read(file, row, whole, &chunk) : status;
    if (status != 0) {
        return status;
    }
    if (chunk.bytes == 0) {
        memset(u->inflater.plain, 0, whole);
    } else {
        status = ckpt_io_read(&file->io, u->inflater.stored, chunk.bytes,
                              chunk.offset);
        if (status == 0 && !ckpt_inflate(&u->inflater, &chunk, o, whole)) {
            status = RECTO_ECORRUPT;
        }
    }
    if (status == 0) {
        u->inflated = (struct ckpt_inflated){file->id, row};
    }
    return status;
}

int ckpt_file_data_read(const struct ckpt_file *file, struct ckpt_unpacking *u,
                        const struct ckpt_object *o, uint64_t offset,
                        size_t bytes, char *to)
{
    if (!ckpt_is_chunked(file->epoch, o)) {
        return ckpt_io_read(&file->io, to, bytes, o->data + offset);
    }
    struct ckpt_chunking chunking = ckpt_chunking_of(o);
    int status = 0;
    while (bytes > 0 && status == 0) {
        size_t at = 0;
        uint64_t number = ckpt_chunk_find(&chunking, o, offset, &at);
        size_t n = ckpt_chunk_bytes(&chunking, o, number) - at;
        n = n < bytes ? n : bytes;
        status =
            chunk_load(file, u, o, o->data + number * sizeof(struct ckpt_chunk),
                       chunking.bytes);
        if (status == 0) {
            memcpy(to, u->inflater.plain + at, n);
        }
        to += n;
        offset += n;
        bytes -= n;
    }
    return status;
}
