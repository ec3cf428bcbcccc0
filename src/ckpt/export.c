/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plain HDF5 file of an epoch: HDF5 lays its datasets out in memory, the bytes come
 * from a view. The file has its name when it is complete and durable, not before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "chunked.h"
#include "image.h"
#include "state.h"
#include "view.h"

struct target {
    struct ckpt_dir dir;
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_io_file file;
    struct ckpt_view *view;
    struct ckpt_epoch epoch; /* as the file has it */
    struct ckpt_image image;
    const struct ckpt_object *object; /* that is being written */
    struct ckpt_chunked chunked;
    const struct ckpt_progress *progress;
};

/* Splits the path into its folder and its name. */
static int target_open(struct target *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char folder[CKPT_PATH_MAX];
    int n = slash == NULL   ? snprintf(folder, sizeof folder, ".")
            : slash == path ? snprintf(folder, sizeof folder, "/")
                            : snprintf(folder, sizeof folder, "%.*s",
                                       (int)(slash - path), path);
    size_t prefix = sizeof CKPT_TEMPORARY - 1;
    if (n >= (int)sizeof folder || name[0] == '\0' ||
        strlen(name) > CKPT_FILE_NAME_MAX - prefix) {
        return base_error(RECTO_EINVAL,
                          "%s: bad length of a file's name; give a shorter one",
                          path);
    }
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    (void)snprintf(t->temporary, sizeof t->temporary, "%s%.*s", CKPT_TEMPORARY,
                   (int)(CKPT_FILE_NAME_MAX - prefix), name);
    int status = ckpt_io_dir_open(&t->dir, folder, false);
    if (status == RECTO_ENOENT) {
        return base_error(RECTO_EIO, "%s: no such folder; make it first",
                          folder);
    }
    if (status == 0 && faccessat(t->dir.fd, name, F_OK, 0) == 0) {
        status = base_error(
            RECTO_EEXIST,
            "%s is there already; give another name, or remove it", path);
    }
    return status == 0 ? ckpt_io_open(&t->file, &t->dir, t->temporary,
                                      O_RDWR | O_CREAT | O_TRUNC, "export-open")
                       : status;
}

static int bytes_put(void *argument, uint64_t offset, const char *data,
                     size_t bytes)
{
    struct target *t = argument;
    if (t->progress != NULL) {
        t->progress->tell(t->progress->argument, bytes);
    }
    if (ckpt_is_chunked(&t->epoch, t->object)) {
        return ckpt_chunked_put(&t->chunked, data, bytes);
    }
    return ckpt_is_zero(data, bytes)
               ? 0
               : ckpt_io_write(&t->file, data, bytes, t->object->data + offset,
                               "export-write");
}

/* `file`: of HDF5, if some are in chunks. */
static int objects_write(hid_t file, void *target)
{
    struct target *t = target;
    int status = 0;
    for (uint64_t i = 0; i < t->epoch.nobjects && status == 0; i++) {
        t->object = &t->epoch.objects[i];
        bool chunked = ckpt_is_chunked(&t->epoch, t->object);
        if (chunked) {
            status = ckpt_chunked_begin(&t->chunked, file, t->object);
        }
        if (status == 0) {
            status = ckpt_view_walk(t->view, t->object, bytes_put, t);
        }
        if (chunked) {
            status = ckpt_chunked_end(&t->chunked, status);
        }
    }
    return status;
}

static int size_set(struct target *t)
{
    return ckpt_io_allocate(&t->file, t->epoch.length, false, "export-size");
}

static int plain_write(struct target *t)
{
    int status = ckpt_layout_plain(&t->epoch, &t->image);
    status = status == 0 ? size_set(t) : status;
    status = status == 0 ? objects_write(H5I_INVALID_HID, t) : status;
    return status == 0
               ? ckpt_layout_write(&t->epoch, &t->image, NULL, NULL, &t->file)
               : status;
}

static int packed_write(struct target *t, int level)
{
    const struct ckpt_filler filler = {level, objects_write, t};
    t->image.file = &t->file;
    t->image.label = "export-write";
    int status = ckpt_chunked_open(&t->chunked, &t->epoch, level, &t->image);
    if (status != 0) {
        return status;
    }
    status = ckpt_layout_packed(&t->epoch, NULL, &t->image, &filler);
    status = status == 0 ? size_set(t) : status;
    if (status == 0) {
        status = ckpt_layout_write(&t->epoch, &t->image, NULL, t->chunked.rows,
                                   &t->file);
    }
    ckpt_chunked_close(&t->chunked);
    return status;
}

/* The epoch as a full one without tables. */
static int epoch_make(struct ckpt_epoch *e, const struct ckpt_epoch *from)
{
    int status = ckpt_epoch_copy(e, from);
    e->full = true;
    e->packed = false;
    e->entries = e->blocks_at = e->pieces = e->pieces_at = 0;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        e->objects[i].nsums = 0;
    }
    return status;
}

int ckpt_export(struct ckpt_view *view, const char *path, int deflate,
                const struct ckpt_progress *progress)
{
    struct target t = {.dir = {.fd = -1},
                       .file = {.fd = -1},
                       .view = view,
                       .progress = progress};
    int status = target_open(&t, path);
    bool made = status == 0;
    status = status == 0 ? epoch_make(&t.epoch, view->epoch) : status;
    if (status == 0) {
        status = deflate > 0 ? packed_write(&t, deflate) : plain_write(&t);
    }
    status = status == 0 ? ckpt_io_sync(&t.file, "export-sync") : status;
    ckpt_io_close(&t.file);
    if (status == 0) {
        status = ckpt_io_rename(&t.dir, t.temporary, t.name, "export-rename");
        status = status == 0 ? ckpt_io_dir_sync(&t.dir, "export-dir") : status;
    } else if (made) {
        char message[1024];
        (void)snprintf(message, sizeof message, "%s", recto_last_error());
        (void)ckpt_io_unlink(&t.dir, t.temporary, "export-unlink");
        base_error_set(message);
    }
    ckpt_image_free(&t.image);
    ckpt_epoch_clear(&t.epoch);
    ckpt_io_dir_close(&t.dir);
    return status;
}
