/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O layer of checkpoints: open, fallocate, pwrite, fsync, rename and
 * unlink, each a numbered and labelled step at which a test can kill the
 * process or make the call fail.
 *
 * Invariants
 * 1. Every change of a checkpoint folder passes step_run(): nothing else in
 *    Recto writes there.
 * 2. A file whose write or fsync failed is condemned: a later fsync could
 *    report success for pages that the kernel has dropped, so it is never
 *    asked again.
 * 3. A short write is continued, an interrupted call repeated. SIGXFSZ never
 *    reaches the process: a write past RLIMIT_FSIZE is an error like others.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "inject.h"

enum {
    WRITE_MAX = 1 << 30 /* bytes per pwrite: the kernel's limit is 2 GiB */
};

/* ---- a step ------------------------------------------------------------------ */

/* The arguments of the call; `half` asks a write for a short one. */
struct call {
    enum ckpt_trace_kind kind;
    int fd;
    int dir;
    int flags;
    const char *name;
    const char *to;
    const char *data;
    size_t bytes;
    uint64_t offset;
    bool blocks;
    bool half;
};

/* Does a call once; 0 or errno. */
typedef int (*call_run)(struct call *call);

static void record(const struct call *call, uint64_t begin)
{
    struct ckpt_trace r = {.begin = begin,
                           .end = base_now(),
                           .kind = call->kind,
                           .offset = call->offset,
                           .value = (uint64_t)call->flags};
    struct stat status;
    bool by_name = call->kind == CKPT_TRACE_MKDIR ||
                   call->kind == CKPT_TRACE_RENAME ||
                   call->kind == CKPT_TRACE_UNLINK;
    bool named = call->kind == CKPT_TRACE_OPEN ||
                 call->kind == CKPT_TRACE_RENAME ||
                 call->kind == CKPT_TRACE_UNLINK;
    if (named && fstat(call->dir, &status) == 0) {
        r.folder = status.st_ino;
    }
    if (!by_name && fstat(call->fd, &status) == 0) {
        r.inode = status.st_ino;
        r.value =
            call->kind == CKPT_TRACE_SYNC ? S_ISDIR(status.st_mode) : r.value;
    }
    ckpt_trace_add(r, call->name, call->to, call->data, call->bytes);
}

/* One numbered step: the call between its two injection points. Returns 0 or
 * errno. */
static int step_run(struct call *call, call_run run, const char *label)
{
    bool chosen = ckpt_inject_chosen(label, true);
    if (chosen && (ckpt_inject_action() == CKPT_ACTION_SHORT ||
                   ckpt_inject_action() == CKPT_ACTION_TEAR)) {
        call->half = true;
    } else if (chosen && !ckpt_inject_after()) {
        int error = ckpt_inject_fault();
        if (error != 0) {
            return error;
        }
    }
    struct call asked = *call;
    uint64_t begin = ckpt_trace_on() ? base_now() : 0;
    struct ckpt_io_guard guard;
    ckpt_io_guard_enter(&guard);
    int error = run(call);
    ckpt_io_guard_leave(&guard);
    if (error == 0 && ckpt_trace_on()) {
        asked.fd = call->fd;
        record(&asked, begin);
    }
    if (error == 0 && chosen && ckpt_inject_after()) {
        error = ckpt_inject_fault();
    }
    return error;
}

void ckpt_io_guard_enter(struct ckpt_io_guard *guard)
{
    sigset_t xfsz;
    sigset_t pending;
    (void)sigemptyset(&xfsz);
    (void)sigaddset(&xfsz, SIGXFSZ);
    (void)sigemptyset(&pending);
    (void)sigpending(&pending);
    guard->pending = sigismember(&pending, SIGXFSZ) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &xfsz, &guard->saved);
}

void ckpt_io_guard_leave(const struct ckpt_io_guard *guard)
{
    int saved = errno;
    sigset_t xfsz;
    (void)sigemptyset(&xfsz);
    (void)sigaddset(&xfsz, SIGXFSZ);
    const struct timespec now = {0, 0};
    while (!guard->pending && sigtimedwait(&xfsz, NULL, &now) == SIGXFSZ) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &guard->saved, NULL);
    errno = saved;
}

int ckpt_io_error(int error, const char *what, const char *name,
                  const struct ckpt_dir *dir)
{
    const char *path = dir->path;
    const char *slash = name[0] != '\0' ? "/" : "";
    if (error == EFBIG) {
        return base_error(RECTO_ENOSPC,
                          "%s %s%s%s: file too large; raise the limit on file "
                          "sizes (ulimit -f)",
                          what, path, slash, name);
    }
    if (error == ENOSPC || error == EDQUOT) {
        return base_error(RECTO_ENOSPC,
                          "%s %s%s%s: %s; free space there, or set %s to "
                          "another folder",
                          what, path, slash, name, strerrordesc_np(error),
                          base_env_name(BASE_ENV_CKPT_DIR));
    }
    return base_error(RECTO_EIO, "%s %s%s%s: %s", what, path, slash, name,
                      strerrordesc_np(error));
}

/* ---- the calls ---------------------------------------------------------------- */

static int run_mkdir(struct call *call)
{
    return mkdir(call->name, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

static int run_open(struct call *call)
{
    do {
        call->fd = openat(call->dir, call->name, call->flags | O_CLOEXEC, 0600);
    } while (call->fd < 0 && errno == EINTR);
    return call->fd >= 0 ? 0 : errno;
}

static int run_allocate(struct call *call)
{
    int result = -1;
    errno = EOPNOTSUPP;
    while (call->blocks &&
           (result = fallocate(call->fd, 0, 0, (off_t)call->offset)) != 0 &&
           errno == EINTR) {
    }
    if (result == 0) {
        return 0;
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
        return errno;
    }
    return ftruncate(call->fd, (off_t)call->offset) == 0 ? 0 : errno;
}

static int run_write(struct call *call)
{
    while (call->bytes > 0) {
        size_t want = call->bytes < WRITE_MAX ? call->bytes : WRITE_MAX;
        if (call->half && want > 1) {
            want /= 2;
        }
        ssize_t n = pwrite(call->fd, call->data, want, (off_t)call->offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        if (call->half && ckpt_inject_action() == CKPT_ACTION_TEAR) {
            (void)kill(getpid(), SIGKILL);
        }
        call->half = false;
        call->data += n;
        call->bytes -= (size_t)n;
        call->offset += (uint64_t)n;
    }
    return 0;
}

static int run_sync(struct call *call)
{
    int result;
    do {
        result = fsync(call->fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

static int run_rename(struct call *call)
{
    return renameat(call->dir, call->name, call->dir, call->to) == 0 ? 0
                                                                     : errno;
}

static int run_unlink(struct call *call)
{
    return unlinkat(call->dir, call->name, 0) == 0 || errno == ENOENT ? 0
                                                                      : errno;
}

/* Makes the new folder's entry in its parent durable. */
static int parent_sync(const char *path)
{
    char parent[CKPT_PATH_MAX];
    (void)snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) {
        (void)snprintf(parent, sizeof parent, ".");
    } else {
        slash[slash == parent ? 1 : 0] = '\0';
    }
    struct call call = {
        .kind = CKPT_TRACE_SYNC, .dir = AT_FDCWD, .name = parent};
    call.flags = O_RDONLY | O_DIRECTORY;
    int error = run_open(&call);
    if (error == 0) {
        error = step_run(&call, run_sync, "sync-parent");
        (void)close(call.fd);
    }
    return error;
}

static int dir_create(struct ckpt_dir *dir)
{
    struct call call = {.kind = CKPT_TRACE_MKDIR, .name = dir->path};
    int error = step_run(&call, run_mkdir, "mkdir");
    if (error != 0) {
        return ckpt_io_error(error, "create folder", "", dir);
    }
    error = parent_sync(dir->path);
    return error == 0 || error == EINVAL || error == EACCES
               ? 0
               : ckpt_io_error(error, "sync the folder of", "", dir);
}

int ckpt_io_dir_open(struct ckpt_dir *dir, const char *path, bool create)
{
    dir->fd = -1;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length == 0 || length >= sizeof dir->path - CKPT_FILE_NAME_MAX - 1) {
        return base_error(RECTO_EINVAL, "checkpoint folder: bad name length");
    }
    memcpy(dir->path, path, length);
    dir->path[length] = '\0';
    struct call call = {.dir = AT_FDCWD, .name = dir->path};
    call.flags = O_RDONLY | O_DIRECTORY;
    int error = run_open(&call);
    if (error == ENOENT && !create) {
        return RECTO_ENOENT;
    }
    if (error == ENOENT) {
        int status = dir_create(dir);
        if (status != 0) {
            return status;
        }
        error = run_open(&call);
    }
    if (error != 0) {
        return ckpt_io_error(error, "open folder", "", dir);
    }
    dir->fd = call.fd;
    return 0;
}

void ckpt_io_dir_close(struct ckpt_dir *dir)
{
    if (dir->fd >= 0) {
        (void)close(dir->fd);
        dir->fd = -1;
    }
}

int ckpt_io_open(struct ckpt_io_file *file, const struct ckpt_dir *dir,
                 const char *name, int flags, const char *label)
{
    file->fd = -1;
    file->condemned = false;
    file->dir = dir;
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    struct call call = {
        .kind = CKPT_TRACE_OPEN, .dir = dir->fd, .name = name, .flags = flags};
    call.fd = -1;
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    int error = writes ? step_run(&call, run_open, label) : run_open(&call);
    if (error != 0 && call.fd >= 0) {
        (void)close(call.fd);
    }
    if (error == ENOENT && (flags & O_CREAT) == 0) {
        return RECTO_ENOENT;
    }
    if (error != 0) {
        return ckpt_io_error(error, "open", name, dir);
    }
    file->fd = call.fd;
    return 0;
}

void ckpt_io_close(struct ckpt_io_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
        file->fd = -1;
    }
}

static int file_step(struct ckpt_io_file *file, struct call *call, call_run run,
                     const char *label, const char *what)
{
    if (file->condemned) {
        return base_error(RECTO_EIO, "%s %s/%s: an earlier write failed", what,
                          file->dir->path, file->name);
    }
    call->fd = file->fd;
    int error = step_run(call, run, label);
    if (error != 0) {
        file->condemned = true;
        return ckpt_io_error(error, what, file->name, file->dir);
    }
    return 0;
}

int ckpt_io_allocate(struct ckpt_io_file *file, uint64_t length, bool blocks,
                     const char *label)
{
    struct call call = {
        .kind = CKPT_TRACE_ALLOCATE, .offset = length, .blocks = blocks};
    return file_step(file, &call, run_allocate, label, "reserve space for");
}

int ckpt_io_write(struct ckpt_io_file *file, const void *data, size_t bytes,
                  uint64_t offset, const char *label)
{
    struct call call = {.kind = CKPT_TRACE_WRITE,
                        .data = data,
                        .bytes = bytes,
                        .offset = offset};
    return file_step(file, &call, run_write, label, "write");
}

int ckpt_io_sync(struct ckpt_io_file *file, const char *label)
{
    struct call call = {.kind = CKPT_TRACE_SYNC};
    return file_step(file, &call, run_sync, label, "sync");
}

static _Thread_local uint64_t read_bytes;

int ckpt_io_read(const struct ckpt_io_file *file, void *data, size_t bytes,
                 uint64_t offset)
{
    int error = ckpt_inject_chosen("read", false) ? ckpt_inject_fault() : 0;
    char *at = data;
    while (error == 0 && bytes > 0) {
        size_t want = bytes < WRITE_MAX ? bytes : WRITE_MAX;
        ssize_t n = pread(file->fd, at, want, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 0) {
            return base_error(RECTO_ECORRUPT, "%s/%s ends at byte %llu",
                              file->dir->path, file->name,
                              (unsigned long long)offset);
        }
        if (n < 0) {
            error = errno;
            break;
        }
        at += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
        read_bytes += (uint64_t)n;
    }
    return error == 0 ? 0 : ckpt_io_error(error, "read", file->name, file->dir);
}

uint64_t ckpt_io_read_bytes(void)
{
    return read_bytes;
}

int ckpt_io_length(const struct ckpt_io_file *file, uint64_t *length)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0) {
        return ckpt_io_error(errno, "stat", file->name, file->dir);
    }
    if (!S_ISREG(status.st_mode)) {
        return base_error(RECTO_ECORRUPT, "%s/%s is not a regular file",
                          file->dir->path, file->name);
    }
    *length = (uint64_t)status.st_size;
    return 0;
}

void ckpt_io_soon(const struct ckpt_io_file *file, uint64_t offset,
                  uint64_t bytes)
{
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)bytes,
                        POSIX_FADV_WILLNEED);
}

void ckpt_io_forget(const struct ckpt_io_file *file)
{
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

int ckpt_io_rename(const struct ckpt_dir *dir, const char *from, const char *to,
                   const char *label)
{
    struct call call = {
        .kind = CKPT_TRACE_RENAME, .dir = dir->fd, .name = from, .to = to};
    int error = step_run(&call, run_rename, label);
    return error == 0 ? 0 : ckpt_io_error(error, "rename to", to, dir);
}

int ckpt_io_unlink(const struct ckpt_dir *dir, const char *name,
                   const char *label)
{
    struct call call = {
        .kind = CKPT_TRACE_UNLINK, .dir = dir->fd, .name = name};
    int error = step_run(&call, run_unlink, label);
    return error == 0 ? 0 : ckpt_io_error(error, "remove", name, dir);
}

int ckpt_io_dir_sync(const struct ckpt_dir *dir, const char *label)
{
    struct call call = {.kind = CKPT_TRACE_SYNC, .fd = dir->fd};
    int error = step_run(&call, run_sync, label);
    /* EINVAL: this file system does not sync folders. */
    return error == 0 || error == EINVAL
               ? 0
               : ckpt_io_error(error, "sync folder", "", dir);
}

int ckpt_io_slurp(const struct ckpt_dir *dir, const char *name, size_t limit,
                  char **data, size_t *bytes)
{
    struct ckpt_io_file file;
    uint64_t length = 0;
    char *text = NULL;
    int status = ckpt_io_open(&file, dir, name, O_RDONLY | O_NONBLOCK, "read");
    if (status != 0) {
        return status;
    }
    status = ckpt_io_length(&file, &length);
    if (status == 0 && length > limit) {
        status =
            base_error(RECTO_ECORRUPT, "%s/%s is too long", dir->path, name);
    }
    if (status == 0) {
        text = malloc((size_t)length + 1);
        status = text != NULL
                     ? ckpt_io_read(&file, text, (size_t)length, 0)
                     : base_error(RECTO_ENOMEM, "%s/%s: %llu bytes", dir->path,
                                  name, (unsigned long long)length);
    }
    ckpt_io_close(&file);
    if (status != 0) {
        free(text);
        return status;
    }
    text[length] = '\0';
    *data = text;
    *bytes = (size_t)length;
    return 0;
}
