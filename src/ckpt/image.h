/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sparse file in memory: what HDF5 writes while it lays an epoch out.
 * Rank 0, local.
 */
#ifndef RECTO_SRC_CKPT_IMAGE_H
#define RECTO_SRC_CKPT_IMAGE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ckpt_io_file;

struct ckpt_image_page {
    uint64_t number;
    char *data; /* CKPT_PAGE bytes */
};

struct ckpt_image {
    struct ckpt_image_page *pages; /* ascending numbers; absent ones are zero */
    size_t count;
    size_t room;
    uint64_t end; /* length of the file */
    bool failed;  /* out of memory: the content is not to be used */
    struct ckpt_io_file
        *file;         /* not NULL: raw data go there, and only there, */
    const char *label; /* by writes of this label */
    int status;        /* of the first of them that failed */
};

void ckpt_image_free(struct ckpt_image *image);

/* Copies bytes out; true when some of them are not zero. */
bool ckpt_image_read(const struct ckpt_image *image, char *data, size_t bytes,
                     uint64_t offset);
/* Sets `failed` when there is no memory. */
void ckpt_image_write(struct ckpt_image *image, const char *data, size_t bytes,
                      uint64_t offset);

/* Makes `access` (file access properties) put the file into the image, whatever
 * its name; *driver is to be unregistered with H5FDunregister. */
bool ckpt_image_driver(struct ckpt_image *image, hid_t access, hid_t *driver);

#endif
