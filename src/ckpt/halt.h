/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of `recto halt` in a checkpoint folder: files of their own, so that who
 * fulfilled one removes that one, whatever others were made meanwhile.
 */
#ifndef RECTO_SRC_CKPT_HALT_H
#define RECTO_SRC_CKPT_HALT_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "io.h"

enum ckpt_halt_when {
    CKPT_HALT_NOW,
    CKPT_HALT_EPOCH, /* value: when this epoch has been written */
    CKPT_HALT_TIME   /* value: before this time, seconds since 1970 */
};

struct ckpt_halt {
    char name[CKPT_FILE_NAME_MAX + 1]; /* of its file */
    enum ckpt_halt_when when;
    uint64_t value;
};

/* Writes the request durably and sets its name. RECTO_EIO, RECTO_ENOSPC. */
int ckpt_halt_write(const struct ckpt_dir *dir, struct ckpt_halt *halt);

/*
 * Calls visit for each request in the folder until it returns non-zero, and returns
 * that. A file that is none although its name says so is RECTO_ECORRUPT, with a
 * message, after the others were visited; RECTO_EIO.
 */
int ckpt_halt_each(const struct ckpt_dir *dir,
                   int (*visit)(const struct ckpt_halt *halt, void *argument),
                   void *argument);

/* Removes a request, durably. That it is gone already is fine. */
int ckpt_halt_remove(const struct ckpt_dir *dir, const char *name);

/* Is it a request's file? */
bool ckpt_halt_name(const char *name);

#endif
