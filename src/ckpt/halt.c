/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of `recto halt`: a line of text in a file named `halt-UUID`.
 *
 *   recto halt 1 now
 *   recto halt 1 epoch 12
 *   recto halt 1 time 1764133200
 *
 * Invariants
 * 1. A request appears under its name complete and durable, or not at all.
 * 2. Its content never changes, and its name is never used again: whoever removes a
 *    name removes the request that he read.
 */
#include "halt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "reader.h"

enum {
    LINE_MAX_BYTES = 128
};

static const char *const words[] = {
    [CKPT_HALT_NOW] = "now",
    [CKPT_HALT_EPOCH] = "epoch",
    [CKPT_HALT_TIME] = "time",
};

bool ckpt_halt_name(const char *name)
{
    size_t prefix = sizeof CKPT_HALT - 1;
    return strncmp(name, CKPT_HALT, prefix) == 0 &&
           strlen(name) == prefix + CKPT_UUID &&
           strspn(name + prefix, "0123456789abcdef") == CKPT_UUID;
}

/* ---- writing --------------------------------------------------------------------- */

static int line_write(const struct ckpt_dir *dir, const char *name,
                      const char *line)
{
    struct ckpt_io_file file;
    int status =
        ckpt_io_open(&file, dir, name, O_RDWR | O_CREAT | O_EXCL, "halt-open");
    if (status != 0) {
        return status;
    }
    status = ckpt_io_write(&file, line, strlen(line), 0, "halt-write");
    status = status == 0 ? ckpt_io_sync(&file, "halt-sync") : status;
    ckpt_io_close(&file);
    return status;
}

int ckpt_halt_write(const struct ckpt_dir *dir, struct ckpt_halt *halt)
{
    char uuid[CKPT_UUID + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    char line[LINE_MAX_BYTES];
    int status = ckpt_uuid_make(uuid);
    if (status != 0) {
        return status;
    }
    (void)snprintf(halt->name, sizeof halt->name, CKPT_HALT "%s", uuid);
    (void)snprintf(temporary, sizeof temporary, CKPT_TEMPORARY CKPT_HALT "%s",
                   uuid);
    if (halt->when == CKPT_HALT_NOW) {
        (void)snprintf(line, sizeof line, "recto halt 1 now\n");
    } else {
        (void)snprintf(line, sizeof line, "recto halt 1 %s %llu\n",
                       words[halt->when], (unsigned long long)halt->value);
    }
    status = line_write(dir, temporary, line);
    /* A job that starts now may take the temporary for a dead job's: then this
     * fails, and nothing was promised. */
    status = status == 0
                 ? ckpt_io_rename(dir, temporary, halt->name, "halt-rename")
                 : status;
    if (status != 0) {
        (void)ckpt_io_unlink(dir, temporary, "halt-unlink");
        return status;
    }
    return ckpt_io_dir_sync(dir, "halt-dir-sync");
}

int ckpt_halt_remove(const struct ckpt_dir *dir, const char *name)
{
    int status = ckpt_io_unlink(dir, name, "halt-unlink");
    return status == 0 ? ckpt_io_dir_sync(dir, "halt-dir-sync") : status;
}

/* ---- reading --------------------------------------------------------------------- */

/* The words after "recto halt 1 "; strict. */
static bool parse(const char *text, struct ckpt_halt *halt)
{
    static const char head[] = "recto halt 1 ";
    if (strncmp(text, head, sizeof head - 1) != 0) {
        return false;
    }
    text += sizeof head - 1;
    if (strcmp(text, "now\n") == 0) {
        halt->when = CKPT_HALT_NOW;
        halt->value = 0;
        return true;
    }
    const char *space = strchr(text, ' ');
    if (space == NULL || space[1] < '0' || space[1] > '9') {
        return false;
    }
    for (int when = CKPT_HALT_EPOCH; when <= CKPT_HALT_TIME; when++) {
        size_t length = strlen(words[when]);
        if ((size_t)(space - text) == length &&
            memcmp(text, words[when], length) == 0) {
            char *end = NULL;
            errno = 0;
            unsigned long long value = strtoull(space + 1, &end, 10);
            halt->when = (enum ckpt_halt_when)when;
            halt->value = value;
            return errno == 0 && strcmp(end, "\n") == 0;
        }
    }
    return false;
}

struct visit {
    const struct ckpt_dir *dir;
    int (*visit)(const struct ckpt_halt *halt, void *argument);
    void *argument;
    int damaged;
};

static int visit_one(const char *name, void *argument)
{
    struct visit *v = argument;
    struct ckpt_halt halt;
    char *text = NULL;
    size_t bytes = 0;
    if (!ckpt_halt_name(name)) {
        return 0;
    }
    int status = ckpt_io_slurp(v->dir, name, LINE_MAX_BYTES, &text, &bytes);
    if (status == RECTO_ENOENT) {
        return 0; /* fulfilled or undone meanwhile */
    }
    (void)snprintf(halt.name, sizeof halt.name, "%s", name);
    if (status != 0 || strlen(text) != bytes || !parse(text, &halt)) {
        v->damaged = status != 0 ? status
                                 : base_error(RECTO_ECORRUPT,
                                              "%s/%s is no request of recto "
                                              "halt; remove it",
                                              v->dir->path, name);
        status = 0;
    } else {
        status = v->visit(&halt, v->argument);
    }
    free(text);
    return status;
}

int ckpt_halt_each(const struct ckpt_dir *dir,
                   int (*visit)(const struct ckpt_halt *halt, void *argument),
                   void *argument)
{
    struct visit v = {dir, visit, argument, 0};
    int status = ckpt_folder_scan(dir, visit_one, &v);
    return status != 0 ? status : v.damaged;
}
