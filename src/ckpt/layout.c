/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where things are in an epoch file: HDF5 lays the datasets out in a sparse
 * file in memory (image.c), tells their offsets, and is closed.
 * What it wrote, some KiB of metadata, is then copied into the folder's file
 * by our own I/O.
 *
 * Invariants
 * 1. No HDF5 object is open outside ckpt_layout_create, and no bulk byte passes
 *    through HDF5.
 * 2. Datasets are contiguous, allocated early, without fill values; those of a
 *    page and more begin at a multiple of a page.
 * 3. The metadata checksum covers every byte outside the bulk extents, in file
 *    order, gaps included; stretches of zeros are not written (a new file has
 *    them already).
 */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base.h"
#include "chunked.h"
#include "chunks.h"
#include "h5.h"
#include "image.h"
#include "state.h"

enum {
    COPY_BYTES = 1 << 16,
    META_BLOCK = 1 << 14 /* bytes of metadata that HDF5 takes at a time */
};

/* The open handles of a layout; H5I_INVALID_HID when not. */
struct layout {
    hid_t driver;
    hid_t file;
    hid_t create; /* dataset creation properties: in one piece */
    hid_t link;   /* link creation properties: make groups, UTF-8 */
    hid_t recto;  /* group /recto */
    int level;    /* of deflate, in a packed full epoch */
    bool failed;  /* sticks */
};

static void check(struct layout *l, herr_t result)
{
    l->failed = l->failed || result < 0;
}

/* Makes a dataset; in one piece it tells its offset, 0 when it has no bytes. */
static uint64_t dataset_as(struct layout *l, const char *name, hid_t type,
                           int ndims, const uint64_t *dims, hid_t create)
{
    hsize_t size[RECTO_DIMS_MAX];
    bool placed = create == l->create;
    for (int i = 0; i < ndims; i++) {
        size[i] = dims[i];
        placed = placed && dims[i] > 0;
    }
    if (l->failed) {
        return 0;
    }
    hid_t space = H5Screate_simple(ndims, size, NULL);
    hid_t set =
        H5Dcreate2(l->file, name, type, space, l->link, create, H5P_DEFAULT);
    haddr_t offset = set >= 0 && placed ? H5Dget_offset(set) : 0;
    l->failed = set < 0 || offset == HADDR_UNDEF;
    if (set >= 0) {
        check(l, H5Dclose(set));
    }
    if (space >= 0) {
        check(l, H5Sclose(space));
    }
    return l->failed ? 0 : offset;
}

static uint64_t dataset(struct layout *l, const char *name, hid_t type,
                        int ndims, const uint64_t *dims)
{
    return dataset_as(l, name, type, ndims, dims, l->create);
}

static uint64_t table(struct layout *l, const char *name, hid_t type,
                      uint64_t rows)
{
    return dataset(l, name, type, 1, &rows);
}

static void attribute_u64(struct layout *l, const char *name, uint64_t value)
{
    l->failed = l->failed || !ckpt_h5_attribute(l->recto, ".", name,
                                                H5T_NATIVE_UINT64, 1, &value);
}

static void attribute_text(struct layout *l, const char *name,
                           const char *value)
{
    l->failed = l->failed || !ckpt_h5_text(l->recto, ".", name, value);
}

/* The type of a row of the table of blocks. */
static hid_t block_record(void)
{
    static const char *const bytes[] = {"codec", "element", "pages", "page"};
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(struct ckpt_block));
    bool good = H5Tinsert(type, "offset", offsetof(struct ckpt_block, offset),
                          H5T_NATIVE_UINT64) >= 0 &&
                H5Tinsert(type, "bytes", offsetof(struct ckpt_block, bytes),
                          H5T_NATIVE_UINT32) >= 0;
    for (size_t i = 0; i < 4 && good; i++) {
        good = H5Tinsert(type, bytes[i], offsetof(struct ckpt_block, codec) + i,
                         H5T_NATIVE_UINT8) >= 0;
    }
    if (!good) {
        (void)H5Tclose(type);
    }
    return good ? type : H5I_INVALID_HID;
}

/* The type of a row of the table of chunks. */
static hid_t chunk_record(void)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(struct ckpt_chunk));
    if (H5Tinsert(type, "offset", offsetof(struct ckpt_chunk, offset),
                  H5T_NATIVE_UINT64) >= 0 &&
        H5Tinsert(type, "bytes", offsetof(struct ckpt_chunk, bytes),
                  H5T_NATIVE_UINT32) >= 0 &&
        H5Tinsert(type, "raw", offsetof(struct ckpt_chunk, raw),
                  H5T_NATIVE_UINT32) >= 0) {
        return type;
    }
    (void)H5Tclose(type);
    return H5I_INVALID_HID;
}

/* A compound type of u64 members. */
static hid_t record(const char *const *members, size_t count)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, count * sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        if (H5Tinsert(type, members[i], i * sizeof(uint64_t),
                      H5T_NATIVE_UINT64) < 0) {
            (void)H5Tclose(type);
            return H5I_INVALID_HID;
        }
    }
    return type;
}

static void tables(struct layout *l, struct ckpt_epoch *e, uint64_t pieces)
{
    static const char *const piece[] = {"uid",       "rank", "offset", "bytes",
                                        "first_sum", "sums", "hash"};
    static const char *const entry[] = {"uid", "rank", "page", "sum"};
    _Static_assert(sizeof(struct ckpt_piece) == 7 * sizeof(uint64_t),
                   "rows on disk are the struct");
    _Static_assert(sizeof(struct ckpt_entry) == 4 * sizeof(uint64_t),
                   "rows on disk are the struct");
    _Static_assert(sizeof(struct ckpt_block) == 2 * sizeof(uint64_t),
                   "rows on disk are the struct");
    _Static_assert(sizeof(struct ckpt_chunk) == 2 * sizeof(uint64_t),
                   "rows on disk are the struct");
    hid_t type = record(piece, 7);
    e->pieces = pieces;
    e->pieces_at = table(l, "/recto/pieces", type, pieces);
    check(l, H5Tclose(type));
    if (!e->full) {
        uint64_t dims[2] = {e->entries, CKPT_PAGE};
        type = record(entry, 4);
        e->index_at = table(l, "/recto/log/index", type, e->entries);
        check(l, H5Tclose(type));
        e->pages_at = dataset(l, "/recto/log/pages", H5T_NATIVE_UINT8, 2, dims);
    }
    if (e->packed) {
        type = e->full ? chunk_record() : block_record();
        e->blocks_at = table(l, e->full ? "/recto/chunks" : "/recto/log/blocks",
                             type, e->entries);
        check(l, H5Tclose(type));
    }
}

/* Of an array in chunks, through filters; the library's own, in any HDF5. */
static hid_t chunk_properties(const struct layout *l,
                              const struct ckpt_object *o)
{
    struct ckpt_chunking c = ckpt_chunking_of(o);
    hsize_t size[RECTO_DIMS_MAX];
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    for (int i = 0; i < o->ndims; i++) {
        size[i] = i < c.split ? 1 : i == c.split ? c.rows : o->dims[i];
    }
    bool good = H5Pset_obj_track_times(create, 0) >= 0 &&
                H5Pset_chunk(create, o->ndims, size) >= 0 &&
                (o->element == 1 || H5Pset_shuffle(create) >= 0) &&
                H5Pset_deflate(create, (unsigned)l->level) >= 0;
    if (!good) {
        (void)H5Pclose(create);
    }
    return good ? create : H5I_INVALID_HID;
}

static void chunked_dataset(struct layout *l, const struct ckpt_object *o,
                            hid_t type)
{
    hid_t create = chunk_properties(l, o);
    (void)dataset_as(l, o->name, type, o->ndims, o->dims, create);
    check(l, H5Pclose(create));
}

/* `sums`: with the tables of page sums. */
static void objects(struct layout *l, struct ckpt_epoch *e, bool with_sums)
{
    uint64_t chunks = e->blocks_at; /* where the rows of an array begin */
    for (uint64_t i = 0; i < e->nobjects && !l->failed; i++) {
        struct ckpt_object *o = &e->objects[i];
        char sums[RECTO_NAME_MAX + 16];
        (void)snprintf(sums, sizeof sums, "/recto/sums/%s", o->name);
        hid_t type = ckpt_h5_type(e, o->type);
        if (ckpt_is_chunked(e, o)) {
            chunked_dataset(l, o, type);
            o->data = chunks;
            chunks += ckpt_chunking_of(o).count * sizeof(struct ckpt_chunk);
        } else {
            o->data = dataset(l, o->name, type, o->ndims, o->dims);
        }
        l->failed = l->failed || !ckpt_h5_attributes(l->file, e, o);
        if (type >= 0) {
            check(l, H5Tclose(type));
        }
        o->sums = with_sums ? table(l, sums, H5T_NATIVE_UINT64, o->nsums) : 0;
    }
}

static void describe(struct layout *l, const struct ckpt_epoch *e,
                     const char *run)
{
    attribute_u64(l, "format_major", CKPT_FORMAT_MAJOR);
    attribute_u64(l, "format_minor", CKPT_FORMAT_MINOR);
    attribute_u64(l, "page_size", CKPT_PAGE);
    attribute_u64(l, "epoch", e->number);
    attribute_u64(l, "base", e->base);
    attribute_u64(l, "ranks", e->ranks);
    attribute_text(l, "kind", e->full ? "full" : "diff");
    attribute_text(l, "byte_order",
                   __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "little"
                                                             : "big");
    attribute_text(l, "run", run);
    attribute_text(l, "uuid", e->uuid);
}

/* Chunks lie side by side, and metadata in stretches between them. */
static bool places(const struct layout *l, hid_t access)
{
    return l->level > 0 ? H5Pset_meta_block_size(access, META_BLOCK) >= 0
                        : H5Pset_alignment(access, CKPT_PAGE, CKPT_PAGE) >= 0;
}

static hid_t file_create(struct layout *l, struct ckpt_image *image)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file = H5I_INVALID_HID;
    if (access >= 0 && ckpt_image_driver(image, access, &l->driver) &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        places(l, access) &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0) {
        file = H5Fcreate("epoch", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    }
    (void)H5Pclose(access);
    return file;
}

static void open_handles(struct layout *l, struct ckpt_image *image)
{
    l->file = file_create(l, image);
    l->create = H5Pcreate(H5P_DATASET_CREATE);
    l->link = H5Pcreate(H5P_LINK_CREATE);
    l->failed = l->file < 0 || H5Pset_layout(l->create, H5D_CONTIGUOUS) < 0 ||
                H5Pset_alloc_time(l->create, H5D_ALLOC_TIME_EARLY) < 0 ||
                H5Pset_fill_time(l->create, H5D_FILL_TIME_NEVER) < 0 ||
                H5Pset_obj_track_times(l->create, 0) < 0 ||
                H5Pset_create_intermediate_group(l->link, 1) < 0 ||
                H5Pset_char_encoding(l->link, H5T_CSET_UTF8) < 0;
}

static void recto_group(struct layout *l)
{
    l->recto = l->failed ? H5I_INVALID_HID
                         : H5Gcreate2(l->file, "/recto", l->link, H5P_DEFAULT,
                                      H5P_DEFAULT);
    l->failed = l->failed || l->recto < 0;
}

static void close_handles(struct layout *l)
{
    if (l->recto >= 0) {
        check(l, H5Gclose(l->recto));
    }
    (void)H5Pclose(l->link);
    (void)H5Pclose(l->create);
    if (l->file >= 0) {
        check(l, H5Fclose(l->file));
    }
    if (l->driver >= 0) {
        (void)H5FDunregister(l->driver);
    }
}

/* The number of rows that the ranks will hand in. */
static uint64_t rows_of(const struct ckpt_epoch *e)
{
    return (e->full ? e->nobjects : e->pieces) * e->ranks;
}

static void epoch_lay_out(struct layout *l, struct ckpt_epoch *epoch,
                          const char *run)
{
    recto_group(l);
    describe(l, epoch, run);
    tables(l, epoch, rows_of(epoch));
    if (epoch->full) {
        objects(l, epoch, true);
    }
}

/* run NULL: of the objects alone. `filler`: what writes the chunks of a packed one. */
static int lay_out(struct ckpt_epoch *epoch, const char *run,
                   struct ckpt_image *image, const struct ckpt_filler *filler)
{
    H5E_auto2_t print = NULL;
    void *argument = NULL;
    struct layout l = {.driver = H5I_INVALID_HID,
                       .recto = H5I_INVALID_HID,
                       .level = filler != NULL ? filler->level : 0};
    int status = 0;
    (void)H5Eget_auto2(H5E_DEFAULT, &print, &argument);
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    open_handles(&l, image);
    if (run != NULL) {
        epoch_lay_out(&l, epoch, run);
    } else {
        objects(&l, epoch, false);
    }
    if (filler != NULL && !l.failed) {
        status = filler->fill(l.file, filler->argument);
    }
    close_handles(&l);
    (void)H5Eset_auto2(H5E_DEFAULT, print, argument);
    status = status == 0 ? image->status : status;
    if (status != 0) {
        return status;
    }
    if (l.failed || image->failed) {
        return base_error(RECTO_ENOMEM,
                          "HDF5 cannot lay out epoch %llu: out of memory for "
                          "its metadata?",
                          (unsigned long long)epoch->number);
    }
    epoch->length = image->end;
    return 0;
}

void ckpt_layout_init(void)
{
    struct ckpt_epoch nothing = {.ranks = 1, .entries = 1, .pieces = 1};
    struct ckpt_image image = {.count = 0};
    (void)lay_out(&nothing, "", &image, NULL); /* what fails here fails again */
    ckpt_image_free(&image);
}

int ckpt_layout_create(struct ckpt_epoch *epoch, const char *run,
                       struct ckpt_image *image)
{
    return lay_out(epoch, run, image, NULL);
}

int ckpt_layout_plain(struct ckpt_epoch *epoch, struct ckpt_image *image)
{
    return lay_out(epoch, NULL, image, NULL);
}

int ckpt_layout_packed(struct ckpt_epoch *epoch, const char *run,
                       struct ckpt_image *image,
                       const struct ckpt_filler *filler)
{
    return lay_out(epoch, run, image, filler);
}

/* ---- the image into the file ------------------------------------------------------ */

struct copy {
    const struct ckpt_image *from;
    struct ckpt_io_file *to;
    XXH3_state_t *state;
    char *buffer;
};

static int copy_range(struct copy *c, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t n = to - from < COPY_BYTES ? (size_t)(to - from) : COPY_BYTES;
        int status = 0;
        if (ckpt_image_read(c->from, c->buffer, n, from)) {
            status = ckpt_io_write(c->to, c->buffer, n, from, "meta-write");
        }
        if (status != 0) {
            return status;
        }
        (void)XXH3_64bits_update(c->state, c->buffer, n);
        from += n;
    }
    return 0;
}

int ckpt_layout_write(struct ckpt_epoch *epoch, struct ckpt_image *image,
                      const struct ckpt_piece *pieces,
                      const struct ckpt_chunk *chunks,
                      struct ckpt_io_file *file)
{
    struct ckpt_extent *extents = NULL;
    size_t count = 0;
    int status = ckpt_epoch_extents(epoch, chunks, &extents, &count);
    if (status != 0) {
        return status;
    }
    ckpt_image_write(image, (const char *)pieces,
                     (size_t)epoch->pieces * sizeof *pieces, epoch->pieces_at);
    if (chunks != NULL && epoch->blocks_at != 0) {
        ckpt_image_write(image, (const char *)chunks,
                         (size_t)epoch->entries * sizeof *chunks,
                         epoch->blocks_at);
    }
    struct copy c = {image, file, XXH3_createState(), malloc(COPY_BYTES)};
    if (c.state == NULL || c.buffer == NULL || image->failed) {
        status = base_error(RECTO_ENOMEM, "copy of the metadata");
    } else {
        uint64_t at = 0;
        (void)XXH3_64bits_reset(c.state);
        for (size_t i = 0; i < count && status == 0; i++) {
            status = copy_range(&c, at, extents[i].offset);
            at = extents[i].offset + extents[i].bytes;
        }
        if (status == 0) {
            status = copy_range(&c, at, epoch->length);
        }
        epoch->meta = XXH3_64bits_digest(c.state);
    }
    free(c.buffer);
    (void)XXH3_freeState(c.state);
    free(extents);
    return status;
}
