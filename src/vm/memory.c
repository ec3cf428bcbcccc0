/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MAP2: memory that can be mapped at several addresses with different rights.
 *
 * Invariants
 * 1. Memory is a memfd: it has no name in any file system, and the kernel frees
 *    it with its last descriptor and mapping, after a kill as well.
 * 2. A view never replaces a mapping (MAP_FIXED_NOREPLACE), reserves no swap
 *    and is not inherited over fork(2).
 */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    NAME_BYTES = 250 /* memfd_create(2): 249 and the terminator */
};

size_t recto_vm_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool whole_pages(uint64_t bytes)
{
    return bytes % recto_vm_page_size() == 0;
}

static const char *describe(int error, char *buffer, size_t size)
{
    return strerror_r(error, buffer, size);
}

/* ---- memory -------------------------------------------------------------- */

/* RLIMIT_FSIZE holds for a memfd too; passing it raises SIGXFSZ. */
static int check_size(const char *name, uint64_t bytes, uint64_t *rounded)
{
    size_t page = recto_vm_page_size();
    if (bytes == 0 || bytes > (uint64_t)INT64_MAX - page) {
        return base_error(RECTO_EINVAL, "memory %s: %llu bytes", name,
                          (unsigned long long)bytes);
    }
    *rounded = (bytes + page - 1) / page * page;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && *rounded > limit.rlim_cur) {
        return base_error(RECTO_EINVAL,
                          "memory %s: %llu bytes are more than the file size "
                          "limit of %llu (ulimit -f), which holds for shared "
                          "memory too; raise it",
                          name, (unsigned long long)*rounded,
                          (unsigned long long)limit.rlim_cur);
    }
    return 0;
}

int recto_vm_memory_create(const char *name, uint64_t bytes, int *fd)
{
    char shown[NAME_BYTES];
    char why[128];
    size_t length = strnlen(name != NULL ? name : "recto", sizeof shown - 1);
    memcpy(shown, name != NULL ? name : "recto", length);
    shown[length] = '\0';
    if (fd == NULL) {
        return base_error(RECTO_EINVAL, "memory %s: no place for fd", shown);
    }
    uint64_t rounded = 0;
    int code = check_size(shown, bytes, &rounded);
    if (code != 0) {
        return code;
    }
    int saved_errno = errno;
    int made = memfd_create(shown, MFD_CLOEXEC);
    if (made < 0) {
        code = errno == ENOSYS ? RECTO_EUNSUPPORTED : RECTO_ENOMEM;
        code = base_error(code, "memory %s: memfd_create: %s", shown,
                          describe(errno, why, sizeof why));
        errno = saved_errno;
        return code;
    }
    if (ftruncate(made, (off_t)rounded) != 0) {
        code = base_error(RECTO_ENOMEM, "memory %s: %llu bytes: %s", shown,
                          (unsigned long long)rounded,
                          describe(errno, why, sizeof why));
        (void)close(made);
        errno = saved_errno;
        return code;
    }
    *fd = made;
    return 0;
}

int recto_vm_memory_reserve(int fd, uint64_t offset, uint64_t bytes)
{
    if (!whole_pages(offset) || !whole_pages(bytes) ||
        offset > (uint64_t)INT64_MAX || bytes > (uint64_t)INT64_MAX - offset) {
        return base_error(RECTO_EINVAL, "recto_vm_memory_reserve: not pages");
    }
    if (bytes == 0) {
        return 0;
    }
    int saved_errno = errno;
    int result = 0;
    do {
        result =
            fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        errno = saved_errno;
        return 0;
    }
    char why[128];
    int code = errno == ENOSPC || errno == ENOMEM ? RECTO_ENOMEM
               : errno == EOPNOTSUPP              ? RECTO_EUNSUPPORTED
                                                  : RECTO_EINVAL;
    code = base_error(code, "reserve %llu bytes: %s", (unsigned long long)bytes,
                      describe(errno, why, sizeof why));
    errno = saved_errno;
    return code;
}

/* Where the data at `data` ends, at most `end`. SEEK_HOLE goes to the next hole, however
 * far: a short stretch is asked page by page instead, so that who asks for one
 * after the other does not go over all that follows each time. */
static off_t data_end(int fd, off_t data, off_t end)
{
    enum {
        SHORT = 4096 /* pages */
    };
    off_t page = (off_t)recto_vm_page_size();
    if (end - data > SHORT * page) {
        off_t hole = lseek(fd, data, SEEK_HOLE);
        return hole < 0 || hole > end ? end : hole;
    }
    off_t at = data + page;
    while (at < end && lseek(fd, at, SEEK_DATA) == at) {
        at += page;
    }
    return at < end ? at : end;
}

int recto_vm_memory_next(int fd, uint64_t from, uint64_t end, uint64_t *first,
                         uint64_t *bytes)
{
    int saved_errno = errno;
    off_t data = lseek(fd, (off_t)from, SEEK_DATA);
    bool known = data >= 0 || errno == ENXIO;
    bool any = data >= 0 && (uint64_t)data < end;
    off_t stop = any ? data_end(fd, data, (off_t)end) : -1;
    errno = saved_errno;
    if (!known) {
        *first = from;
        *bytes = end - from;
        return from < end;
    }
    if (any) {
        *first = (uint64_t)data;
        *bytes = (uint64_t)(stop - data);
    }
    return any;
}

int recto_vm_memory_discard(int fd, uint64_t offset, uint64_t bytes)
{
    if (!whole_pages(offset) || !whole_pages(bytes) ||
        offset > (uint64_t)INT64_MAX || bytes > (uint64_t)INT64_MAX - offset) {
        return base_error(RECTO_EINVAL, "recto_vm_memory_discard: not pages");
    }
    if (bytes == 0) {
        return 0;
    }
    int saved_errno = errno;
    int result = 0;
    do {
        result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)offset, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        errno = saved_errno;
        return 0;
    }
    char why[128];
    int code = errno == EOPNOTSUPP ? RECTO_EUNSUPPORTED : RECTO_EINVAL;
    code = base_error(code, "recto_vm_memory_discard: fd %d: %s", fd,
                      describe(errno, why, sizeof why));
    errno = saved_errno;
    return code;
}

/* ---- views --------------------------------------------------------------- */

static int map_error(int error, size_t bytes, void *want)
{
    char why[128];
    int code = RECTO_EINVAL;
    switch (error) {
    case EEXIST:
        return base_error(RECTO_EADDRESS,
                          "map %zu bytes at %p: something is mapped there",
                          bytes, want);
    case ENOMEM:
    case EAGAIN: code = RECTO_ENOMEM; break;
    default: break;
    }
    return base_error(code, "map %zu bytes at %p: %s", bytes, want,
                      describe(error, why, sizeof why));
}

int recto_vm_map(int fd, uint64_t offset, size_t bytes, void *want,
                 enum recto_vm_right right, void **view)
{
    static const int bits[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    if (view == NULL || bytes == 0 || !whole_pages(bytes) ||
        !whole_pages(offset) || offset > (uint64_t)INT64_MAX ||
        !whole_pages((uintptr_t)want) || (unsigned)right > RECTO_VM_WRITE ||
        (fd < 0 && right != RECTO_VM_NONE)) {
        return base_error(RECTO_EINVAL,
                          "recto_vm_map: fd %d, %zu bytes from %llu at %p, "
                          "right %d",
                          fd, bytes, (unsigned long long)offset, want,
                          (int)right);
    }
    int saved_errno = errno;
    int flags = MAP_NORESERVE;
    flags |= fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    flags |= want != NULL ? MAP_FIXED_NOREPLACE : 0;
    void *at = mmap(want, bytes, bits[right], flags, fd < 0 ? -1 : fd,
                    fd < 0 ? 0 : (off_t)offset);
    int code = 0;
    if (at == MAP_FAILED) {
        code = map_error(errno, bytes, want);
    } else if (want != NULL && at != want) {
        /* Kernels before 4.17 take the address for a hint. */
        (void)munmap(at, bytes);
        code = map_error(EEXIST, bytes, want);
    } else if (madvise(at, bytes, MADV_DONTFORK) != 0) {
        code = map_error(errno, bytes, at);
        (void)munmap(at, bytes);
    } else {
        *view = at;
    }
    errno = saved_errno;
    return code;
}

int recto_vm_unmap(void *view, size_t bytes)
{
    uintptr_t base = (uintptr_t)view;
    size_t page = recto_vm_page_size();
    if (view == NULL || bytes == 0 || bytes > UINTPTR_MAX - base - page) {
        return base_error(RECTO_EINVAL, "recto_vm_unmap: %zu bytes at %p",
                          bytes, view);
    }
    if (vm_range_overlaps(base, base + bytes)) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_unmap: a range is on %zu bytes at %p",
                          bytes, view);
    }
    int saved_errno = errno;
    int code = 0;
    if (munmap(view, bytes) != 0) {
        code = base_error(RECTO_EINVAL, "recto_vm_unmap: %zu bytes at %p",
                          bytes, view);
    }
    errno = saved_errno;
    return code;
}

int recto_vm_table_create(size_t bytes, void **table)
{
    if (bytes == 0 || table == NULL) {
        return base_error(RECTO_EINVAL, "recto_vm_table_create: %zu bytes",
                          bytes);
    }
    int saved_errno = errno;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int code = 0;
    if (at == MAP_FAILED) {
        code = base_error(RECTO_ENOMEM, "table of %zu bytes: out of memory",
                          bytes);
    } else {
        *table = at;
    }
    errno = saved_errno;
    return code;
}
