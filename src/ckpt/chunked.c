/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An epoch as a compressed HDF5 file: chunked datasets with the filters shuffle and
 * deflate, which every HDF5 has. Chunks are compressed by threads (deflate.c) and written
 * as they are by this one, in whose hands alone HDF5 is.
 *
 * Invariants
 * 1. A chunk is a stretch of the array in C order: of the dimensions behind `split` it
 *    has all, of those before it one. So it comes out of the view as it is.
 * 2. Chunks of zeros are not stored: a reader fills them in.
 * 3. Raw data go to the file and nowhere else, metadata also to the image, where
 *    HDF5 reads them. An error of a write is kept in the image, never told to HDF5.
 */
#include <hdf5.h>
#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "deflate.h"
#include "h5.h"
#include "image.h"
#include "state.h"
#include "view.h"

enum {
    SMALL = 16384 /* bytes of an array that is stored as it is */
};

struct chunked {
    struct ckpt_image image;
    hid_t driver;
    hid_t file;
    hid_t link;
    struct ckpt_deflater deflater;
    int level;
    const struct ckpt_epoch *epoch;
    const struct ckpt_progress *progress;
    /* the array in hand */
    const struct ckpt_object *object;
    hid_t set;
    int split;
    uint64_t rows;      /* of dimension `split`, in a chunk */
    uint64_t row_bytes; /* of one of them */
    uint64_t chunks;    /* of that dimension */
    uint64_t number;    /* of the chunk that comes in */
    uint64_t fill;      /* bytes of it that are here */
};

/* ---- chunks ------------------------------------------------------------------------ */

static void plan(struct chunked *c, const struct ckpt_object *o)
{
    c->object = o;
    c->split = o->ndims - 1;
    c->row_bytes = o->element;
    while (c->split > 0 && c->row_bytes * o->dims[c->split] <= CKPT_CHUNK) {
        c->row_bytes *= o->dims[c->split--];
    }
    uint64_t most = CKPT_CHUNK / c->row_bytes;
    uint64_t rows = o->dims[c->split];
    c->chunks = (rows + most - 1) / most;
    c->rows = (rows + c->chunks - 1) / c->chunks; /* about as many in each */
    c->chunks = (rows + c->rows - 1) / c->rows;
    c->number = 0;
    c->fill = 0;
}

/* The element at which a chunk begins. */
static void chunk_place(const struct chunked *c, uint64_t number, hsize_t *at)
{
    memset(at, 0, RECTO_DIMS_MAX * sizeof *at);
    at[c->split] = number % c->chunks * c->rows;
    number /= c->chunks;
    for (int i = c->split; i-- > 0;) {
        at[i] = number % c->object->dims[i];
        number /= c->object->dims[i];
    }
}

/* Bytes of the array in a chunk: at the end of `split` less than in others. */
static uint64_t chunk_bytes(const struct chunked *c, uint64_t number)
{
    uint64_t rest = c->object->dims[c->split] - number % c->chunks * c->rows;
    return (rest < c->rows ? rest : c->rows) * c->row_bytes;
}

/* The oldest chunk under way, if there is one. */
static int chunk_write(struct chunked *c)
{
    struct ckpt_deflated chunk;
    hsize_t at[RECTO_DIMS_MAX];
    if (!ckpt_deflater_get(&c->deflater, &chunk)) {
        return 0;
    }
    unsigned filters = c->object->element > 1 ? 2 : 1;
    uint32_t skipped = chunk.raw ? (1U << filters) - 1 : 0;
    chunk_place(c, chunk.number, at);
    if (H5Dwrite_chunk(c->set, H5P_DEFAULT, skipped, at, chunk.bytes,
                       chunk.data) < 0) {
        return base_error(RECTO_EIO, "HDF5 cannot write a chunk of \"%s\"",
                          c->object->name);
    }
    return c->image.status;
}

static bool zero(const char *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

/* The chunk in the room is complete. */
static void chunk_end(struct chunked *c, char *room)
{
    size_t bytes = (size_t)(c->rows * c->row_bytes);
    memset(room + c->fill, 0, bytes - c->fill);
    if (!zero(room, bytes)) {
        ckpt_deflater_put(&c->deflater, bytes, c->object->element, c->number);
    }
    c->number++;
    c->fill = 0;
}

/* The next bytes of the array. */
static int bytes_cut(void *argument, uint64_t offset, const char *data,
                     size_t bytes)
{
    struct chunked *c = argument;
    int status = 0;
    (void)offset;
    if (c->progress != NULL) {
        c->progress->tell(c->progress->argument, bytes);
    }
    while (bytes > 0 && status == 0) {
        if (ckpt_deflater_full(&c->deflater)) {
            status = chunk_write(c);
            continue;
        }
        char *room = ckpt_deflater_room(&c->deflater);
        uint64_t want = chunk_bytes(c, c->number) - c->fill;
        size_t n = want < bytes ? (size_t)want : bytes;
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

/* ---- datasets ----------------------------------------------------------------------- */

static hid_t properties(const struct chunked *c, bool small)
{
    hsize_t size[RECTO_DIMS_MAX];
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    const struct ckpt_object *o = c->object;
    bool good = create >= 0 && H5Pset_obj_track_times(create, 0) >= 0;
    if (small) {
        return good && H5Pset_layout(create, H5D_CONTIGUOUS) >= 0 &&
                       H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY) >= 0 &&
                       H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0
                   ? create
                   : H5I_INVALID_HID;
    }
    for (int i = 0; i < o->ndims; i++) {
        size[i] = i < c->split ? 1 : i == c->split ? c->rows : o->dims[i];
    }
    good = good && H5Pset_chunk(create, o->ndims, size) >= 0 &&
           (o->element == 1 || H5Pset_shuffle(create) >= 0) &&
           H5Pset_deflate(create, (unsigned)c->level) >= 0;
    return good ? create : H5I_INVALID_HID;
}

static int set_create(struct chunked *c, bool small)
{
    const struct ckpt_object *o = c->object;
    hsize_t size[RECTO_DIMS_MAX];
    for (int i = 0; i < o->ndims; i++) {
        size[i] = o->dims[i];
    }
    hid_t type = ckpt_h5_type(c->epoch, o->type);
    hid_t space = H5Screate_simple(o->ndims, size, NULL);
    hid_t create = properties(c, small);
    c->set = type < 0 || space < 0 || create < 0
                 ? H5I_INVALID_HID
                 : H5Dcreate2(c->file, o->name, type, space, c->link, create,
                              H5P_DEFAULT);
    (void)H5Pclose(create);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    return c->set >= 0 && ckpt_h5_attributes(c->file, c->epoch, o)
               ? 0
               : base_error(RECTO_ENOMEM, "HDF5 cannot make the dataset \"%s\"",
                            o->name);
}

/* A small array: where HDF5 has put it. */
struct placed {
    struct chunked *c;
    haddr_t at;
};

static int bytes_put(void *argument, uint64_t offset, const char *data,
                     size_t bytes)
{
    const struct placed *p = argument;
    if (p->c->progress != NULL) {
        p->c->progress->tell(p->c->progress->argument, bytes);
    }
    return ckpt_io_write(p->c->image.file, data, bytes, p->at + offset,
                         "export-write");
}

static int object_write(struct chunked *c, struct ckpt_view *view,
                        const struct ckpt_object *o)
{
    bool small = o->bytes < SMALL;
    if (small) {
        c->object = o;
    } else {
        plan(c, o);
    }
    int status = set_create(c, small);
    if (status == 0 && small) {
        struct placed p = {c, o->bytes > 0 ? H5Dget_offset(c->set) : 0};
        status = ckpt_view_walk(view, o, bytes_put, &p);
    } else if (status == 0) {
        status = ckpt_view_walk(view, o, bytes_cut, c);
    }
    while (status == 0 && c->deflater.got < c->deflater.put) {
        status = chunk_write(c);
    }
    if (c->set >= 0 && H5Dclose(c->set) < 0 && status == 0) {
        status = base_error(RECTO_EIO, "HDF5 cannot close \"%s\"", o->name);
    }
    return status;
}

/* ---- the file ----------------------------------------------------------------------- */

static int file_open(struct chunked *c)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    c->link = H5Pcreate(H5P_LINK_CREATE);
    if (access >= 0 && ckpt_image_driver(&c->image, access, &c->driver) &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_create_intermediate_group(c->link, 1) >= 0 &&
        H5Pset_char_encoding(c->link, H5T_CSET_UTF8) >= 0) {
        c->file = H5Fcreate("export", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    }
    (void)H5Pclose(access);
    return c->file >= 0 ? 0
                        : base_error(RECTO_ENOMEM, "HDF5 cannot make a file");
}

/* What HDF5 keeps until then is written now. */
static int file_close(struct chunked *c, int status)
{
    bool good = c->file < 0 || H5Fclose(c->file) >= 0;
    (void)H5Pclose(c->link);
    if (c->driver >= 0) {
        (void)H5FDunregister(c->driver);
    }
    if (status == 0 && (!good || c->image.failed)) {
        status = base_error(RECTO_ENOMEM, "HDF5 cannot close the file: out of "
                                          "memory for its metadata?");
    }
    return status == 0 ? c->image.status : status;
}

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

static int objects_write(struct chunked *c, struct ckpt_view *view)
{
    int status = file_open(c);
    for (uint64_t i = 0; i < c->epoch->nobjects && status == 0; i++) {
        status = object_write(c, view, &c->epoch->objects[i]);
    }
    return file_close(c, status);
}

int ckpt_chunked_write(struct ckpt_view *view, struct ckpt_io_file *file,
                       int level, const struct ckpt_progress *progress)
{
    H5E_auto2_t print = NULL;
    void *argument = NULL;
    struct chunked c = {.image = {.file = file},
                        .driver = H5I_INVALID_HID,
                        .file = H5I_INVALID_HID,
                        .level = level,
                        .epoch = view->epoch,
                        .progress = progress};
    int status = ckpt_deflater_open(&c.deflater, level, processors());
    if (status != 0) {
        return status;
    }
    (void)H5Eget_auto2(H5E_DEFAULT, &print, &argument);
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    status = objects_write(&c, view);
    (void)H5Eset_auto2(H5E_DEFAULT, print, argument);
    ckpt_deflater_close(&c.deflater);
    if (status == 0) {
        status = ckpt_io_allocate(file, c.image.end, false, "export-size");
    }
    ckpt_image_free(&c.image);
    return status;
}
