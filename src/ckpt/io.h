/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O layer: every system call that changes a checkpoint folder, with its
 * error message and its fault injection point. Local; one thread at a time.
 */
#ifndef RECTO_SRC_CKPT_IO_H
#define RECTO_SRC_CKPT_IO_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CKPT_PATH_MAX = 4096,
    CKPT_FILE_NAME_MAX = 63
};

/* A checkpoint folder. */
struct ckpt_dir {
    int fd; /* -1: not open */
    char path[CKPT_PATH_MAX];
};

/* An open file of a folder. */
struct ckpt_io_file {
    int fd;         /* -1: not open */
    bool condemned; /* a write or fsync failed: never fsync it again */
    const struct ckpt_dir *dir;
    char name[CKPT_FILE_NAME_MAX + 1];
};

/*
 * Opens the folder. RECTO_ENOENT without a message when it does not exist and
 * `create` is false; created with mode 0700 when true.
 */
int ckpt_io_dir_open(struct ckpt_dir *dir, const char *path, bool create);
void ckpt_io_dir_close(struct ckpt_dir *dir);

/* Opens a file of the folder with open(2) flags; created with mode 0600.
 * RECTO_ENOENT without a message when it does not exist. */
int ckpt_io_open(struct ckpt_io_file *file, const struct ckpt_dir *dir,
                 const char *name, int flags, const char *label);
void ckpt_io_close(struct ckpt_io_file *file);

/* Sets the length and, if `blocks`, reserves them where the file system can. */
int ckpt_io_allocate(struct ckpt_io_file *file, uint64_t length, bool blocks,
                     const char *label);
int ckpt_io_write(struct ckpt_io_file *file, const void *data, size_t bytes,
                  uint64_t offset, const char *label);
int ckpt_io_sync(struct ckpt_io_file *file, const char *label);
/* RECTO_ECORRUPT when the file ends before. Not an injection point unless a
 * rule names the label "read". */
int ckpt_io_read(const struct ckpt_io_file *file, void *data, size_t bytes,
                 uint64_t offset);
/* Bytes that the calling thread has read with it. */
uint64_t ckpt_io_read_bytes(void);
int ckpt_io_length(const struct ckpt_io_file *file, uint64_t *length);
/* Tells the kernel that these bytes will be read. Advice only. */
void ckpt_io_soon(const struct ckpt_io_file *file, uint64_t offset,
                  uint64_t bytes);
/* Asks the kernel to forget the file's cached pages, so that reading it tells
 * what the disk holds. Advice only. */
void ckpt_io_forget(const struct ckpt_io_file *file);

int ckpt_io_rename(const struct ckpt_dir *dir, const char *from, const char *to,
                   const char *label);
/* A file that is not there counts as unlinked. */
int ckpt_io_unlink(const struct ckpt_dir *dir, const char *name,
                   const char *label);
int ckpt_io_dir_sync(const struct ckpt_dir *dir, const char *label);

/* The whole of a file of at most `limit` bytes, NUL after it; free() it.
 * RECTO_ENOENT without a message. */
int ckpt_io_slurp(const struct ckpt_dir *dir, const char *name, size_t limit,
                  char **data, size_t *bytes);

/* Maps errno to RECTO_ENOSPC or RECTO_EIO, with a remedy in the message. */
int ckpt_io_error(int error, const char *what, const char *name,
                  const struct ckpt_dir *dir);

/* Keeps SIGXFSZ from ending the process between enter and leave. */
struct ckpt_io_guard {
    sigset_t saved;
    bool pending;
};
void ckpt_io_guard_enter(struct ckpt_io_guard *guard);
void ckpt_io_guard_leave(const struct ckpt_io_guard *guard);

/*
 * Sets the injection rule, "" for none, and counts points from 0 again.
 *   rank=R            on this rank only (default: every rank)
 *   point=N           the N-th step of this rank, from 0; or
 *   label=NAME,hit=K  the K-th step of that label, from 1 (0: each of them)
 *   when=before|after around the step (default before)
 *   do=kill|tear|eio|enospc|short|slow
 *                     kill: SIGKILL; tear: half of the write, then SIGKILL;
 *                     eio, enospc: the step reports that error, "after": when
 *                     it has in truth been done; short: a short write; slow: the step
 *                     takes longer by
 *   ms=N              (default 20, at most 999)
 *   count=FILE        no fault: appends "rank point label" of each step
 *   trace=FOLDER      records each step (inject.h)
 * RECTO_EINVAL for anything else.
 */
int ckpt_io_inject(const char *text);

#endif
