/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One job at a time in a checkpoint folder: an open-file-description lock on
 * the file `lock`, which the kernel gives back however the holder ends.
 *
 * Invariants
 * 1. The content (host, pid, job, time) only informs, unless the file system
 *    has no locks: then a holder counts as alive while its process exists on
 *    this host, or its time is less than STALE_SECONDS old on another.
 * 2. The file is never removed: two jobs could hold locks on two files of one
 *    name.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "store.h"

enum {
    CONTENT_BYTES = 256,
    STALE_SECONDS = 3600
};

struct holder {
    char host[64];
    int pid;
    char job[64];
    long long time; /* seconds since 1970; 0: released */
};

static const char *job_name(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *job = getenv("SLURM_JOB_ID");
    job = job != NULL ? job : getenv("PBS_JOBID");
    /* NOLINTEND(concurrency-mt-unsafe) */
    return job != NULL && job[0] != '\0' && strchr(job, ' ') == NULL ? job
                                                                     : "-";
}

static bool holder_read(const struct ckpt_lock *lock, struct holder *holder)
{
    char text[CONTENT_BYTES + 1] = {0};
    ssize_t n = pread(lock->file.fd, text, CONTENT_BYTES, 0);
    memset(holder, 0, sizeof *holder);
    /* A malformed number reads as some number, which only informs.
     * NOLINTNEXTLINE(cert-err34-c) */
    int fields = sscanf(text, "host=%63s pid=%d job=%63s time=%lld",
                        holder->host, &holder->pid, holder->job, &holder->time);
    return n > 0 && fields == 4;
}

static int holder_write(struct ckpt_lock *lock, time_t now)
{
    char text[CONTENT_BYTES];
    memset(text, ' ', sizeof text);
    int n = snprintf(text, sizeof text, "host=%.63s pid=%d job=%.63s time=%lld",
                     base_host(), (int)getpid(), job_name(), (long long)now);
    text[n] = ' ';
    text[sizeof text - 1] = '\n';
    lock->file.condemned = false; /* it is never fsynced */
    return ckpt_io_write(&lock->file, text, sizeof text, 0, "lock-write");
}

static int refuse(const struct ckpt_lock *lock, const struct holder *h,
                  bool known)
{
    char who[256] = "an unknown process";
    if (known) {
        (void)snprintf(
            who, sizeof who, "process %d on %s (job %s, last seen %lld s ago)",
            h->pid, h->host, h->job, (long long)time(NULL) - h->time);
    }
    return base_error(RECTO_ELOCKED,
                      "%s is in use by %s; wait for it, or give another "
                      "folder in %s%s",
                      lock->file.dir->path, who,
                      base_env_name(BASE_ENV_CKPT_DIR),
                      lock->advisory ? ", or remove the file lock there if "
                                       "that job is gone"
                                     : "");
}

static bool holder_alive(const struct holder *h)
{
    if (h->time == 0) {
        return false;
    }
    if (strcmp(h->host, base_host()) == 0) {
        return h->pid > 0 && h->pid != getpid() &&
               (kill(h->pid, 0) == 0 || errno == EPERM);
    }
    return (long long)time(NULL) - h->time < STALE_SECONDS;
}

/* 0, RECTO_ELOCKED, or RECTO_EIO. */
static int lock_file(struct ckpt_lock *lock)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct holder holder;
    bool known = holder_read(lock, &holder);
    if (fcntl(lock->file.fd, F_OFD_SETLK, &whole) == 0) {
        lock->advisory = false;
        return 0;
    }
    if (errno == EAGAIN || errno == EACCES) {
        return refuse(lock, &holder, known);
    }
    if (errno != ENOLCK && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EINVAL) {
        return ckpt_io_error(errno, "lock", CKPT_LOCK, lock->file.dir);
    }
    lock->advisory = true;
    return known && holder_alive(&holder) ? refuse(lock, &holder, known) : 0;
}

int ckpt_lock_take(struct ckpt_lock *lock, const struct ckpt_dir *dir,
                   bool readonly)
{
    if (lock->held) {
        return 0;
    }
    int status =
        ckpt_io_open(&lock->file, dir, CKPT_LOCK, O_RDWR | O_CREAT, "lock");
    if (status != 0 && readonly &&
        faccessat(dir->fd, ".", W_OK, AT_EACCESS) != 0) {
        return 0;
    }
    if (status != 0) {
        return status;
    }
    status = lock_file(lock);
    if (status == 0) {
        int written = holder_write(lock, time(NULL));
        status = lock->advisory ? written : 0;
    }
    if (status != 0) {
        ckpt_io_close(&lock->file);
        return status;
    }
    lock->held = true;
    return 0;
}

void ckpt_lock_beat(struct ckpt_lock *lock)
{
    if (lock->held) {
        (void)holder_write(lock, time(NULL));
    }
}

void ckpt_lock_release(struct ckpt_lock *lock)
{
    if (lock->held) {
        (void)holder_write(lock, 0);
        ckpt_io_close(&lock->file); /* gives the kernel's lock back */
        lock->held = false;
    }
}

bool ckpt_lock_busy(const struct ckpt_dir *dir, char *who, size_t size)
{
    struct ckpt_lock lock = {0};
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct holder holder;
    who[0] = '\0';
    if (ckpt_io_open(&lock.file, dir, CKPT_LOCK, O_RDWR, "lock") != 0) {
        return false; /* nobody was here yet, or we may not know */
    }
    bool known = holder_read(&lock, &holder);
    bool busy = fcntl(lock.file.fd, F_OFD_GETLK, &whole) == 0
                    ? whole.l_type != F_UNLCK
                    : known && holder_alive(&holder);
    if (busy && known) {
        (void)snprintf(who, size, "process %d on %s", holder.pid, holder.host);
    }
    ckpt_io_close(&lock.file);
    return busy;
}

void ckpt_lock_left(const struct ckpt_dir *dir, char *who, size_t size)
{
    struct ckpt_lock lock = {0};
    struct holder holder;
    who[0] = '\0';
    if (ckpt_io_open(&lock.file, dir, CKPT_LOCK, O_RDONLY, "lock") != 0) {
        return;
    }
    if (holder_read(&lock, &holder) && holder.time != 0) {
        (void)snprintf(who, size, "process %d on %s at %lld", holder.pid,
                       holder.host, holder.time);
    }
    ckpt_io_close(&lock.file);
}
