/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which manifest of a folder counts. There are two files with the same bytes:
 * `manifest`, the commit point, and `manifest.copy`, written after it, which
 * steps in when the first is damaged.
 *
 * Invariants
 * 1. Of the valid ones the higher generation counts: a copy is older when the
 *    job died between the two, and refers to files that are still there,
 *    because files are removed only after the copy is durable.
 * 2. A folder with epoch files or an invalid manifest is never a fresh start:
 *    the first manifest, of no epochs, is written before any epoch file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "reader.h"

int ckpt_folder_scan(const struct ckpt_dir *dir,
                     int (*visit)(const char *name, void *argument),
                     void *argument)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        int error = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return ckpt_io_error(error, "list folder", "", dir);
    }
    int status = 0;
    const struct dirent *entry;
    errno = 0;
    /* The stream is ours alone. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while (status == 0 && (entry = readdir(stream)) != NULL) {
        status = visit(entry->d_name, argument);
        errno = 0;
    }
    if (status == 0 && errno != 0) {
        status = ckpt_io_error(errno, "list folder", "", dir);
    }
    (void)closedir(stream);
    return status;
}

static int note_epoch_file(const char *name, void *argument)
{
    bool *found = argument;
    *found = *found || ckpt_epoch_file_name(name);
    return 0;
}

static void candidate_load(const struct ckpt_dir *dir, const char *name,
                           struct ckpt_candidate *c)
{
    c->status =
        ckpt_io_slurp(dir, name, CKPT_MANIFEST_MAX, &c->text, &c->bytes);
    c->exists = c->status != RECTO_ENOENT;
    if (c->status == 0) {
        c->status = ckpt_manifest_parse(c->text, c->bytes, &c->manifest);
    }
    if (c->exists && c->status != 0) {
        (void)snprintf(c->message, sizeof c->message, "%s", recto_last_error());
    }
}

static bool usable(const struct ckpt_candidate *c)
{
    return c->exists && c->status == 0;
}

static const struct ckpt_candidate *choose(const struct ckpt_folder *f)
{
    if (usable(&f->main) && usable(&f->copy)) {
        return f->copy.manifest->generation > f->main.manifest->generation
                   ? &f->copy
                   : &f->main;
    }
    if (usable(&f->main)) {
        return &f->main;
    }
    return usable(&f->copy) ? &f->copy : NULL;
}

int ckpt_folder_load(const struct ckpt_dir *dir, struct ckpt_folder *f)
{
    memset(f, 0, sizeof *f);
    candidate_load(dir, CKPT_MANIFEST, &f->main);
    candidate_load(dir, CKPT_MANIFEST_COPY, &f->copy);
    int status = ckpt_folder_scan(dir, note_epoch_file, &f->epoch_files);
    if (status != 0) {
        return status;
    }
    f->chosen = choose(f);
    if (f->chosen != NULL ||
        (!f->epoch_files && !f->main.exists && !f->copy.exists)) {
        return 0;
    }
    if (f->main.status == RECTO_EVERSION || f->copy.status == RECTO_EVERSION) {
        base_error_set(f->main.status == RECTO_EVERSION ? f->main.message
                                                        : f->copy.message);
        return RECTO_EVERSION;
    }
    if (f->main.status == RECTO_EIO || f->copy.status == RECTO_EIO) {
        base_error_set(f->main.status == RECTO_EIO ? f->main.message
                                                   : f->copy.message);
        return RECTO_EIO;
    }
    return base_error(RECTO_ECORRUPT,
                      "%s: no valid manifest (%s; copy %s); not taken for a "
                      "fresh start: move the folder away to begin anew",
                      dir->path, f->main.exists ? "damaged" : "missing",
                      f->copy.exists ? "damaged" : "missing");
}

static void candidate_clear(struct ckpt_candidate *c)
{
    ckpt_manifest_free(c->manifest);
    free(c->text);
    memset(c, 0, sizeof *c);
}

void ckpt_folder_clear(struct ckpt_folder *folder)
{
    candidate_clear(&folder->main);
    candidate_clear(&folder->copy);
    folder->chosen = NULL;
}
