/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read, write and their kin with shared buffers: the kernel does not take our
 * page faults, it returns EFAULT or a short count. Each call here lends the
 * buffer (pin.c) and goes on to the C library's; buffers that are not shared cost
 * a comparison. `_chk` is what programs call that are compiled with
 * _FORTIFY_SOURCE, `64` with large file offsets.
 *
 * Invariants
 * 1. Nothing is lent before recto_init has started coherence, after its end, or
 *    with RECTO_INTERPOSE=off.
 * 2. errno is the call's own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <recto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "net/net.h"

/* glibc declares that read and its kin only write to their buffers; a look at the
 * pointer is not one at them. */
#if defined(__GNUC__) && !defined(__clang__)
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define INTERPOSED __attribute__((visibility("default")))

/* Read by calls of any thread, MPI's own too, which start before us. A stale look
 * is as one before the start or after the end. */
static atomic_bool lends;

static bool lending(void)
{
    return atomic_load_explicit(&lends, memory_order_acquire);
}

static struct {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    size_t (*fread)(void *, size_t, size_t, FILE *);
    size_t (*fwrite)(const void *, size_t, size_t, FILE *);
} next;

static void find(const char *name, void *call)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(call, &symbol, sizeof symbol);
}

/* Also by a call that comes before the constructor: other libraries' may run
 * first. */
__attribute__((constructor)) static void find_all(void)
{
    find("read", (void *)&next.read);
    find("pread", (void *)&next.pread);
    find("pwrite", (void *)&next.pwrite);
    find("readv", (void *)&next.readv);
    find("writev", (void *)&next.writev);
    find("preadv", (void *)&next.preadv);
    find("pwritev", (void *)&next.pwritev);
    find("recv", (void *)&next.recv);
    find("send", (void *)&next.send);
    find("fread", (void *)&next.fread);
    find("fwrite", (void *)&next.fwrite);
    find("write", (void *)&next.write);
}

static void found(void)
{
    if (next.write == NULL) {
        find_all();
    }
}

static bool lendable(const void *p)
{
    found();
    return lending() && coherence_lendable(p);
}

/* Does what `call` says with `b` for the buffer. */
#define LENT(type, failure, buffer, bytes, writes, call)                       \
    do {                                                                       \
        struct coherence_loan *loan = NULL;                                    \
        void *b = (void *)(uintptr_t)(buffer);                                 \
        b = coherence_lend(b, bytes, writes, &loan);                           \
        if (b == NULL) {                                                       \
            errno = ENOMEM;                                                    \
            return failure;                                                    \
        }                                                                      \
        type result = call;                                                    \
        int error = errno;                                                     \
        coherence_return(loan);                                                \
        errno = error;                                                         \
        return result;                                                         \
    } while (0)

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name,
 * performance-no-int-to-ptr): the C library's names of parameters are its own;
 * const goes */

/* ---- one buffer ------------------------------------------------------------------ */

INTERPOSED ssize_t read(int fd, void *buffer, size_t bytes)
{
    if (!lendable(buffer)) {
        return next.read(fd, buffer, bytes);
    }
    LENT(ssize_t, -1, buffer, bytes, true, next.read(fd, b, bytes));
}

INTERPOSED ssize_t write(int fd, const void *buffer, size_t bytes)
{
    if (!lendable(buffer)) {
        return next.write(fd, buffer, bytes);
    }
    LENT(ssize_t, -1, buffer, bytes, false, next.write(fd, b, bytes));
}

INTERPOSED ssize_t pread(int fd, void *buffer, size_t bytes, off_t at)
{
    if (!lendable(buffer)) {
        return next.pread(fd, buffer, bytes, at);
    }
    LENT(ssize_t, -1, buffer, bytes, true, next.pread(fd, b, bytes, at));
}

INTERPOSED ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t at)
{
    if (!lendable(buffer)) {
        return next.pwrite(fd, buffer, bytes, at);
    }
    LENT(ssize_t, -1, buffer, bytes, false, next.pwrite(fd, b, bytes, at));
}

INTERPOSED ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
    if (!lendable(buffer)) {
        return next.recv(fd, buffer, bytes, flags);
    }
    LENT(ssize_t, -1, buffer, bytes, true, next.recv(fd, b, bytes, flags));
}

INTERPOSED ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
    if (!lendable(buffer)) {
        return next.send(fd, buffer, bytes, flags);
    }
    LENT(ssize_t, -1, buffer, bytes, false, next.send(fd, b, bytes, flags));
}

INTERPOSED size_t fread(void *buffer, size_t size, size_t n, FILE *file)
{
    if (!lendable(buffer)) {
        return next.fread(buffer, size, n, file);
    }
    LENT(size_t, 0, buffer, size * n, true, next.fread(b, size, n, file));
}

INTERPOSED size_t fwrite(const void *buffer, size_t size, size_t n, FILE *file)
{
    if (!lendable(buffer)) {
        return next.fwrite(buffer, size, n, file);
    }
    LENT(size_t, 0, buffer, size * n, false, next.fwrite(b, size, n, file));
}

/* ---- the same by other names -------------------------------------------------------- */

_Static_assert(sizeof(off_t) == 8, "off_t is off64_t");

/* NOLINTBEGIN(bugprone-reserved-identifier): the C library's names */
ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off_t at,
                      size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t room, int flags);
size_t __fread_chk(void *buffer, size_t room, size_t size, size_t n,
                   FILE *file);

static void room_check(size_t bytes, size_t room)
{
    if (bytes > room) {
        base_fatal("buffer overflow: %zu bytes into %zu", bytes, room);
    }
}

INTERPOSED ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room)
{
    room_check(bytes, room);
    return read(fd, buffer, bytes);
}

INTERPOSED ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t at,
                               size_t room)
{
    room_check(bytes, room);
    return pread(fd, buffer, bytes, at);
}

INTERPOSED ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off_t at,
                                 size_t room)
{
    room_check(bytes, room);
    return pread(fd, buffer, bytes, at);
}

INTERPOSED ssize_t __recv_chk(int fd, void *buffer, size_t bytes, size_t room,
                              int flags)
{
    room_check(bytes, room);
    return recv(fd, buffer, bytes, flags);
}

INTERPOSED size_t __fread_chk(void *buffer, size_t room, size_t size, size_t n,
                              FILE *file)
{
    room_check(size * n, room);
    return fread(buffer, size, n, file);
}
/* NOLINTEND(bugprone-reserved-identifier) */

INTERPOSED ssize_t pread64(int fd, void *buffer, size_t bytes, off_t at)
{
    return pread(fd, buffer, bytes, at);
}

INTERPOSED ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off_t at)
{
    return pwrite(fd, buffer, bytes, at);
}

/* ---- several buffers -------------------------------------------------------------------- */

struct lent {
    int n;
    struct iovec *parts;
    struct coherence_loan **loans;
};

static bool any_lendable(const struct iovec *parts, int n)
{
    found();
    for (int i = 0; lending() && i < n; i++) {
        if (coherence_lendable(parts[i].iov_base)) {
            return true;
        }
    }
    return false;
}

static void lent_end(struct lent *l)
{
    int error = errno;
    for (int i = 0; l->loans != NULL && i < l->n; i++) {
        coherence_return(l->loans[i]);
    }
    free((void *)l->loans);
    free(l->parts);
    errno = error;
}

/* False, with ENOMEM, when there is no memory. */
static bool lent_begin(struct lent *l, const struct iovec *parts, int n,
                       bool writes)
{
    l->n = n;
    l->parts = calloc((size_t)n, sizeof *parts);
    l->loans = calloc((size_t)n, sizeof(struct coherence_loan *));
    bool good = l->parts != NULL && l->loans != NULL;
    for (int i = 0; good && i < n; i++) {
        l->parts[i] = parts[i];
        l->parts[i].iov_base = coherence_lend(
            parts[i].iov_base, parts[i].iov_len, writes, &l->loans[i]);
        good = l->parts[i].iov_base != NULL || parts[i].iov_base == NULL;
    }
    if (!good) {
        lent_end(l);
        errno = ENOMEM;
    }
    return good;
}

#define VECTOR(name, more, at, writes)                                         \
    INTERPOSED ssize_t name more                                               \
    {                                                                          \
        struct lent l = {0};                                                   \
        if (n <= 0 || parts == NULL || !any_lendable(parts, n)) {              \
            found();                                                           \
            return next.at;                                                    \
        }                                                                      \
        if (!lent_begin(&l, parts, n, writes)) {                               \
            return -1;                                                         \
        }                                                                      \
        parts = l.parts;                                                       \
        ssize_t r = next.at;                                                   \
        lent_end(&l);                                                          \
        return r;                                                              \
    }

VECTOR(readv, (int fd, const struct iovec *parts, int n), readv(fd, parts, n),
       true)
VECTOR(writev, (int fd, const struct iovec *parts, int n), writev(fd, parts, n),
       false)
VECTOR(preadv, (int fd, const struct iovec *parts, int n, off_t offset),
       preadv(fd, parts, n, offset), true)
VECTOR(pwritev, (int fd, const struct iovec *parts, int n, off_t offset),
       pwritev(fd, parts, n, offset), false)

INTERPOSED ssize_t preadv64(int fd, const struct iovec *parts, int n, off_t at)
{
    return preadv(fd, parts, n, at);
}

INTERPOSED ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t at)
{
    return pwritev(fd, parts, n, at);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name,
 * performance-no-int-to-ptr) */

/* ---- life cycle ---------------------------------------------------------------------------- */

static void *lend(void *p, uint64_t bytes, bool write, void **loan)
{
    struct coherence_loan *l = NULL;
    void *use = coherence_lend(p, bytes, write, &l);
    *loan = l;
    return use;
}

static void give(void *loan)
{
    coherence_return(loan);
}

int coherence_calls_start(void)
{
    static const struct net_lender lender = {lendable, lend, give};
    unsigned choice = 0; /* auto|off */
    int status = base_env_choice(BASE_ENV_INTERPOSE, &choice);
    bool on = choice == 0;
    if (status != 0) {
        return status;
    }
    net_lender_set(on ? &lender : NULL);
    /* release: pairs with lending(); what lending needs is there */
    atomic_store_explicit(&lends, on, memory_order_release);
    return 0;
}

void coherence_calls_stop(void)
{
    /* the lender stays: what it lent is given back, and nothing is lent any more */
    atomic_store_explicit(&lends, false, memory_order_release);
}
