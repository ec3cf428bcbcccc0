/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sparse file in memory and the HDF5 file driver that writes to it. A real
 * file would do as well, but for its limits: HDF5 1.10 leaves a broken handle
 * behind, and crashes at exit, when a write or truncation fails while it closes
 * a file (RLIMIT_FSIZE applies to tmpfs and memfd, too).
 *
 * Invariants
 * 1. No callback reports an error to HDF5: lack of memory sets `failed`, a write that
 *    fails `status`, and the file is then closed in order and thrown away.
 * 2. Only pages that were written take memory.
 */
#include "image.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "format.h"
#include "io.h"
#if H5_VERSION_GE(1, 13, 0)
#    include <H5FDdevelop.h>
#endif

void ckpt_image_free(struct ckpt_image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        free(image->pages[i].data);
    }
    free(image->pages);
    memset(image, 0, sizeof *image);
}

/* Index of the first page whose number is not below `number`. */
static size_t lower_bound(const struct ckpt_image *image, uint64_t number)
{
    size_t low = 0;
    size_t high = image->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->pages[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static char *page_find(const struct ckpt_image *image, uint64_t number)
{
    size_t i = lower_bound(image, number);
    return i < image->count && image->pages[i].number == number
               ? image->pages[i].data
               : NULL;
}

static char *page_make(struct ckpt_image *image, uint64_t number)
{
    size_t i = lower_bound(image, number);
    if (i < image->count && image->pages[i].number == number) {
        return image->pages[i].data;
    }
    if (image->count == image->room) {
        size_t room = image->room == 0 ? 16 : 2 * image->room;
        void *more = realloc(image->pages, room * sizeof *image->pages);
        if (more == NULL) {
            return NULL;
        }
        image->pages = more;
        image->room = room;
    }
    char *data = calloc(1, CKPT_PAGE);
    if (data != NULL) {
        memmove(image->pages + i + 1, image->pages + i,
                (image->count - i) * sizeof *image->pages);
        image->pages[i] = (struct ckpt_image_page){number, data};
        image->count++;
    }
    return data;
}

/* Bytes from `offset` to the end of its page, at most `bytes`. */
static size_t chunk_of(uint64_t offset, size_t bytes)
{
    size_t rest = CKPT_PAGE - (size_t)(offset % CKPT_PAGE);
    return rest < bytes ? rest : bytes;
}

bool ckpt_image_read(const struct ckpt_image *image, char *data, size_t bytes,
                     uint64_t offset)
{
    bool any = false;
    while (bytes > 0) {
        size_t n = chunk_of(offset, bytes);
        const char *page = page_find(image, offset / CKPT_PAGE);
        if (page != NULL) {
            memcpy(data, page + offset % CKPT_PAGE, n);
        } else {
            memset(data, 0, n);
        }
        for (size_t i = 0; i < n && page != NULL && !any; i++) {
            any = data[i] != 0;
        }
        data += n;
        bytes -= n;
        offset += n;
    }
    return any;
}

void ckpt_image_write(struct ckpt_image *image, const char *data, size_t bytes,
                      uint64_t offset)
{
    while (bytes > 0) {
        size_t n = chunk_of(offset, bytes);
        char *page = page_make(image, offset / CKPT_PAGE);
        if (page == NULL) {
            image->failed = true;
            return;
        }
        memcpy(page + offset % CKPT_PAGE, data, n);
        data += n;
        bytes -= n;
        offset += n;
    }
    image->end = image->end > offset ? image->end : offset;
}

/* ---- the HDF5 driver ------------------------------------------------------------ */

/* What HDF5 holds as an open file. */
struct handle {
    H5FD_t base; /* HDF5's part, first */
    struct ckpt_image *image;
    haddr_t allocated;
};

/* HDF5's own property list carries the image to open(). */
struct driver_info {
    struct ckpt_image *image;
};

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access,
                           haddr_t most)
{
    (void)name;
    (void)most;
    const struct driver_info *info = H5Pget_driver_info(access);
    struct handle *handle = info != NULL ? calloc(1, sizeof *handle) : NULL;
    if (handle == NULL) {
        return NULL;
    }
    handle->image = info->image;
    if ((flags & H5F_ACC_TRUNC) != 0) {
        struct ckpt_image *image = handle->image;
        struct ckpt_image empty = {.file = image->file, .label = image->label};
        ckpt_image_free(image);
        *image = empty;
    }
    return &handle->base;
}

static herr_t driver_close(H5FD_t *file)
{
    free(file);
    return 0;
}

static int driver_compare(const H5FD_t *a, const H5FD_t *b)
{
    uintptr_t x = (uintptr_t)((const struct handle *)a)->image;
    uintptr_t y = (uintptr_t)((const struct handle *)b)->image;
    return (x > y) - (x < y);
}

static herr_t driver_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_allocated(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct handle *)file)->allocated;
}

static herr_t driver_allocate(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((struct handle *)file)->allocated = end;
    return 0;
}

static haddr_t driver_end(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct handle *)file)->image->end;
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer,
                          haddr_t at, size_t bytes, void *data)
{
    (void)type;
    (void)transfer;
    (void)ckpt_image_read(((struct handle *)file)->image, data, bytes, at);
    return 0;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer,
                           haddr_t at, size_t bytes, const void *data)
{
    (void)transfer;
    struct ckpt_image *image = ((struct handle *)file)->image;
    if (image->file == NULL || type != H5FD_MEM_DRAW) {
        ckpt_image_write(image, data, bytes, at);
        return 0;
    }
    if (image->status == 0) {
        image->status =
            ckpt_io_write(image->file, data, bytes, at, image->label);
    }
    image->end = image->end > at + bytes ? image->end : at + bytes;
    return 0;
}

static herr_t driver_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer;
    (void)closing;
    struct handle *handle = (struct handle *)file;
    handle->image->end = handle->allocated;
    return 0;
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)600, /* of the range for experiments */
#endif
    .name = "recto-image",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(struct driver_info),
    .open = driver_open,
    .close = driver_close,
    .cmp = driver_compare,
    .query = driver_query,
    .get_eoa = driver_allocated,
    .set_eoa = driver_allocate,
    .get_eof = driver_end,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

bool ckpt_image_driver(struct ckpt_image *image, hid_t access, hid_t *driver)
{
    struct driver_info info = {image};
    *driver = H5FDregister(&driver_class);
    if (*driver < 0) {
        return false;
    }
    if (H5Pset_driver(access, *driver, &info) < 0) {
        (void)H5FDunregister(*driver);
        *driver = H5I_INVALID_HID;
        return false;
    }
    return true;
}
