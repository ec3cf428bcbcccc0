/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protection back end that never splits a kernel mapping: userfaultfd, on
 * shared memory, with its faults delivered as SIGBUS in the faulting thread.
 *
 * The kernel mapping of a range is readable and writable as a whole; what a page
 * allows is in its page-table entry:
 *
 *   right   pages of the client           own pages (recto_vm_own)
 *   NONE    no entry: every access faults  never
 *   READ    entry with the WP bit          entry or marker with the WP bit
 *   WRITE   entry without it               entry without it, or none: the kernel
 *                                          fills it at the first touch
 *
 *   NONE -> READ, WRITE   UFFDIO_CONTINUE, with or without the WP bit: the memory
 *                         was filled through the verso, and all threads see
 *                         the whole page or fault
 *   READ <-> WRITE        UFFDIO_WRITEPROTECT
 *   any -> NONE           MADV_DONTNEED, which takes entries, not memory
 *
 * What is never touched takes neither entries nor markers, where the memory is known
 * (recto_vm_range_memory): dirty.c leaves own pages of holes open, and the client's
 * have no entries.
 *
 * Invariants
 * 1. Entries give at most the kernel right in the books of protect.c. They may
 *    give less: a page that was granted as part of a long run, or whose entry
 *    the kernel took, has none. The fault that follows sets the right again.
 * 2. Registration precedes the widening of the mapping, and rights are taken
 *    by mprotect(2) before it ends.
 * 3. When a call fails half-way, the entries of the client's pages are dropped, so
 *    that invariant 1 holds whatever the books say.
 * 4. A short run, and the first page of a long one, are made present: a hole in
 *    the memory is filled with zeros. The rest of a long run stays sparse.
 * 5. ENOMEM means to protect.c that mappings ran out, which happens to no range
 *    of this back end; want of memory is ENOSPC.
 *
 * An access that the client refuses is passed on as SIGSEGV (dispatch.c); if
 * nobody wants that, its page is narrowed so that it dies of the usual signal.
 *
 * System calls do not wait for userfaultfd here (UFFD_USER_MODE_ONLY, which
 * needs no privilege): on the client's pages without an entry they return EFAULT,
 * as on any protected page. On own pages they work as usual.
 */
#include "protect.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12 (Linux 6.1). */
#ifndef UFFD_USER_MODE_ONLY
#    define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_MINOR_SHMEM
#    define UFFD_FEATURE_MINOR_SHMEM (1 << 10)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#    define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef MADV_POPULATE_READ
#    define MADV_POPULATE_READ 22
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP
#    define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

#ifndef MADV_POPULATE_WRITE
#    define MADV_POPULATE_WRITE 23
#endif

enum {
    FILL_PAGES = 256, /* invariant 4: what is short */
    MAKE_PAGES = 4    /* a run worth make_writable */
};

static int uffd = -1;
static void *zeros; /* FILL_PAGES pages that nobody writes */

/* ---- the kernel's calls ---------------------------------------------------- */

static uintptr_t address(const struct recto_vm_range *range, uint64_t page)
{
    return range->base + (uintptr_t)(page << range->page_shift);
}

static struct uffdio_range span(const struct recto_vm_range *range,
                                uint64_t first, uint64_t end)
{
    return (struct uffdio_range){.start = address(range, first),
                                 .len = (end - first) << range->page_shift};
}

static int call(unsigned long request, void *argument)
{
    vm_count(VM_PROTECT_CALLS);
    return ioctl(uffd, request, argument) == 0 ? 0 : errno;
}

static int no_room(int error)
{
    return error == ENOMEM ? ENOSPC : error;
}

/* Sets or clears the WP bit; where there is no entry, of the marker. */
static int write_protect_all(const struct recto_vm_range *range, uint64_t first,
                             uint64_t end, enum recto_vm_right right)
{
    int error = EAGAIN;
    while (error == EAGAIN) {
        struct uffdio_writeprotect wp = {
            .range = span(range, first, end),
            .mode = right == RECTO_VM_READ ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
        error = call(UFFDIO_WRITEPROTECT, &wp);
    }
    return no_room(error);
}

/* The same; but a page of the client that nobody has filled needs no marker, since it
 * has no entry and faults anyway. */
static int write_protect(const struct recto_vm_range *range, uint64_t first,
                         uint64_t end, enum recto_vm_right right)
{
    if (range->fd < 0 || end - first <= VM_SHORT ||
        (vm_page_state(range, first) & VM_PAGE_OWN) != 0) {
        return write_protect_all(range, first, end, right);
    }
    uint64_t at = range->fd_offset + (first << range->page_shift);
    uint64_t stop = range->fd_offset + (end << range->page_shift);
    uint64_t bytes = 0;
    int error = 0;
    while (error == 0 &&
           recto_vm_memory_next(range->fd, at, stop, &at, &bytes)) {
        uint64_t page = (at - range->fd_offset) >> range->page_shift;
        error = write_protect_all(range, page,
                                  page + (bytes >> range->page_shift), right);
        at += bytes;
    }
    return error;
}

/* Is there data behind all of the pages, as far as is known? */
static bool is_data(const struct recto_vm_range *range, uint64_t first,
                    uint64_t end)
{
    uint64_t from = range->fd_offset + (first << range->page_shift);
    uint64_t stop = range->fd_offset + (end << range->page_shift);
    uint64_t at = 0;
    uint64_t bytes = 0;
    return range->fd < 0 ||
           (recto_vm_memory_next(range->fd, from, stop, &at, &bytes) &&
            at == from && bytes == stop - from);
}

/* Without the WP bit an entry is still read-only, and the kernel takes a fault of
 * its own at the first write. For a run one call is cheaper: 0.3 us a page, not
 * 0.9. It would fill holes. A hint: it may fail, and then does nothing. */
static void make_writable(const struct recto_vm_range *range, uint64_t first,
                          uint64_t end)
{
    if (end - first >= MAKE_PAGES && end - first <= FILL_PAGES &&
        is_data(range, first, end)) {
        struct uffdio_range pages = span(range, first, end);
        vm_count(VM_PROTECT_CALLS);
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): as in drop */
        (void)madvise((void *)(uintptr_t)pages.start, pages.len,
                      MADV_POPULATE_WRITE);
    }
}

static int drop(const struct recto_vm_range *range, uint64_t first,
                uint64_t end)
{
    struct uffdio_range pages = span(range, first, end);
    vm_count(VM_PROTECT_CALLS);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): ranges are kept as numbers */
    return madvise((void *)(uintptr_t)pages.start, pages.len, MADV_DONTNEED) ==
                   0
               ? 0
               : no_room(errno);
}

/* Fills holes of the memory from *page on. */
static int fill(const struct recto_vm_range *range, uint64_t *page,
                uint64_t end, enum recto_vm_right right)
{
    struct uffdio_range pages = span(range, *page, end);
    struct uffdio_copy copy = {
        .dst = pages.start,
        .src = (uintptr_t)zeros,
        .len = pages.len,
        .mode = right == RECTO_VM_READ ? UFFDIO_COPY_MODE_WP : 0};
    int error = call(UFFDIO_COPY, &copy);
    uint64_t done = copy.copy > 0 ? (uint64_t)copy.copy : 0;
    *page += done >> range->page_shift;
    /* EEXIST: somebody filled it, so that it can be mapped now */
    /* EFAULT: behind the end of the memory, which somebody has cut off */
    return done > 0 || error == EEXIST || error == EAGAIN ? 0
           : error == EFAULT                              ? ENOSPC
                                                          : no_room(error);
}

/* Has the kernel memory for a page of ours? It filled it, or was to have done so. */
static int present(const struct recto_vm_range *range, uint64_t page)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): ranges are kept as numbers */
    void *at = (void *)address(range, page);
    int error =
        madvise(at, (size_t)1 << range->page_shift, MADV_POPULATE_READ) == 0
            ? 0
            : errno;
    return error == EFAULT || error == ENOMEM ? ENOSPC : 0;
}

/* Makes entries for pages that have none; those that have one get the right. */
static int install(const struct recto_vm_range *range, uint64_t first,
                   uint64_t end, enum recto_vm_right right)
{
    uint64_t fill_end = end - first <= FILL_PAGES ? end : first + 1;
    int error = 0;
    for (uint64_t page = first; page < end && error == 0;) {
        struct uffdio_continue map = {
            .range = span(range, page, end),
            .mode = right == RECTO_VM_READ ? UFFDIO_CONTINUE_MODE_WP : 0};
        int refused = call(UFFDIO_CONTINUE, &map);
        if (map.mapped > 0) {
            page += (uint64_t)map.mapped >> range->page_shift;
            continue; /* what stopped it shows at the next page */
        }
        switch (refused) {
        case EAGAIN: break;
        case EEXIST:
            error = write_protect(range, page, page + 1, right);
            page++;
            break;
        case EFAULT: /* a hole */
            if (page >= fill_end) {
                return 0;
            }
            error = fill(range, &page, fill_end, right);
            break;
        default: error = refused == 0 ? EIO : no_room(refused);
        }
    }
    return error;
}

/* ---- rights ---------------------------------------------------------------- */

/* The end of the pages from `first` on that are equal in `bits`. */
static uint64_t kind_end(const struct recto_vm_range *range, uint64_t first,
                         uint64_t end, unsigned bits)
{
    uint64_t kind = VM_EACH(vm_page_state(range, first) & bits);
    for (uint64_t page = first; page < end;) {
        uint64_t i = page / VM_PAGES_PER_WORD;
        uint64_t word =
            atomic_load_explicit(&range->words[i], memory_order_relaxed);
        uint64_t other =
            (word ^ kind) & VM_EACH(bits) & vm_page_mask(i, page, end);
        if (other != 0) {
            return i * VM_PAGES_PER_WORD + (unsigned)__builtin_ctzll(other) / 8;
        }
        page = (i + 1) * VM_PAGES_PER_WORD;
    }
    return end;
}

static int set_equal(const struct recto_vm_range *range, uint64_t first,
                     uint64_t end, enum recto_vm_right right)
{
    unsigned state = vm_page_state(range, first);
    enum recto_vm_right had = vm_page_kernel(state);
    bool own = (state & VM_PAGE_OWN) != 0;
    if (right == RECTO_VM_NONE) {
        return own ? EPERM : drop(range, first, end);
    }
    if (!own && (had == RECTO_VM_NONE || had == right)) {
        return install(range, first, end, right);
    }
    int error = write_protect(range, first, end, right);
    if (error == 0 && had == RECTO_VM_READ && right == RECTO_VM_WRITE) {
        make_writable(range, first, end);
    }
    /* Said again of one page, which faults all the same: by bad luck, or for want
     * of memory. */
    return error == 0 && own && had == right && end - first == 1
               ? present(range, first)
               : error;
}

static int pte_set(struct recto_vm_range *range, uint64_t first, uint64_t count,
                   enum recto_vm_right right)
{
    int error = 0;
    uint64_t end = first + count;
    /* dropping takes whatever is there */
    unsigned bits =
        right == RECTO_VM_NONE ? VM_PAGE_OWN : VM_PAGE_OWN | VM_PAGE_KERNEL;
    for (uint64_t page = first; page < end && error == 0;) {
        uint64_t stop = kind_end(range, page, end, bits);
        /* Equal rights inside a run need nothing; at its start they say that
         * the right is to be set again. */
        if (page == first || right == RECTO_VM_NONE ||
            vm_page_kernel(vm_page_state(range, page)) != right) {
            error = set_equal(range, page, stop, right);
        }
        page = stop;
    }
    for (uint64_t page = first; page < end && error != 0;) {
        uint64_t stop = kind_end(range, page, end, VM_PAGE_OWN);
        if ((vm_page_state(range, page) & VM_PAGE_OWN) == 0) {
            (void)drop(range, page, stop);
        }
        page = stop;
    }
    return error;
}

/* ---- ranges ---------------------------------------------------------------- */

static int enrol(const struct recto_vm_range *range, uint64_t first,
                 uint64_t end, uint64_t mode)
{
    struct uffdio_register enrolment = {.range = span(range, first, end),
                                        .mode = mode};
    return ioctl(uffd, UFFDIO_REGISTER, &enrolment) == 0 ? 0 : errno;
}

static int discharge(const struct recto_vm_range *range, uint64_t first,
                     uint64_t end)
{
    struct uffdio_range pages = span(range, first, end);
    return ioctl(uffd, UFFDIO_UNREGISTER, &pages) == 0 ? 0 : errno;
}

enum {
    CLIENT_MODE = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR |
                  UFFDIO_REGISTER_MODE_WP
};

static int widen(const struct recto_vm_range *range, uint64_t first,
                 uint64_t end, enum recto_vm_right right)
{
    static const int bits[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    struct uffdio_range pages = span(range, first, end);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): ranges are kept as numbers */
    return mprotect((void *)(uintptr_t)pages.start, pages.len, bits[right]) == 0
               ? 0
               : errno;
}

static int pte_attach(struct recto_vm_range *range, enum recto_vm_right initial)
{
    int error = enrol(range, 0, range->pages, CLIENT_MODE);
    if (error == 0) {
        switch (initial) {
        case RECTO_VM_NONE: error = drop(range, 0, range->pages); break;
        case RECTO_VM_READ:
            error = write_protect(range, 0, range->pages, RECTO_VM_READ);
            break;
        case RECTO_VM_WRITE: break;
        }
        error =
            error == 0 ? widen(range, 0, range->pages, RECTO_VM_WRITE) : error;
        if (error != 0) {
            (void)discharge(range, 0, range->pages);
        }
    }
    /* Memory that is not shared, or whose mapping may not be written. */
    return error == 0 ? 0 : RECTO_EUNSUPPORTED;
}

/* What the client granted to a page; *end: of pages that have as much, though more
 * may follow. */
static enum recto_vm_right intent_alike(const struct recto_vm_range *range,
                                        uint64_t page, uint64_t *end)
{
    uint64_t chunk = page / VM_CHUNK;
    uint64_t stop = vm_chunks(range->pages);
    uint64_t at = stop;
    if (base_set_has(&range->touched, chunk)) {
        *end = page + 1;
        return vm_page_intent(vm_page_state(range, page));
    }
    stop = base_set_next(&range->touched, chunk, &at) ? at : stop;
    bool fresh = vm_chunk_fresh(range, chunk);
    if (fresh) {
        (void)base_set_run(&range->fresh, chunk, stop, &at, &stop);
    } else {
        stop =
            base_set_next(&range->fresh, chunk, &at) && at < stop ? at : stop;
    }
    *end = stop * VM_CHUNK < range->pages ? stop * VM_CHUNK : range->pages;
    return fresh ? RECTO_VM_WRITE : RECTO_VM_NONE;
}

/* Pages keep the rights that the client granted; they lose some if the kernel has
 * no mappings left. */
static void pte_detach(struct recto_vm_range *range)
{
    for (uint64_t page = 0; page < range->pages;) {
        uint64_t end = 0;
        uint64_t stop = 0;
        enum recto_vm_right right = intent_alike(range, page, &end);
        while (end < range->pages && intent_alike(range, end, &stop) == right) {
            end = stop;
        }
        if (right != RECTO_VM_WRITE && widen(range, page, end, right) != 0) {
            (void)widen(range, 0, range->pages, RECTO_VM_NONE);
            break;
        }
        page = end;
    }
    (void)discharge(range, 0, range->pages);
}

static void pte_expose(struct recto_vm_range *range, uint64_t page)
{
    enum recto_vm_right right = vm_page_intent(vm_page_state(range, page));
    if (widen(range, page, page + 1, right) != 0) {
        (void)widen(range, 0, range->pages, RECTO_VM_NONE);
    }
}

static int pte_own(struct recto_vm_range *range, uint64_t first, uint64_t count)
{
    /* Registering again with fewer modes would change nothing. */
    int error = discharge(range, first, first + count);
    error = error == 0
                ? enrol(range, first, first + count, UFFDIO_REGISTER_MODE_WP)
                : error;
    if (error != 0 && enrol(range, first, first + count, CLIENT_MODE) != 0) {
        (void)widen(range, first, first + count, RECTO_VM_NONE);
    }
    return no_room(error);
}

/* More modes are added to those that are there, and the WP bits stay. Pages that
 * nobody has touched have no entry; their next access faults and gets one. */
static int pte_disown(struct recto_vm_range *range, uint64_t first,
                      uint64_t count)
{
    return enrol(range, first, first + count, CLIENT_MODE);
}

/* ---- probe ----------------------------------------------------------------- */

/* A page of shared memory gets an entry with the WP bit: Linux 6.4 or later. */
static int try_it(void)
{
    struct recto_vm_range range = {
        .pages = 1,
        .page_shift = (unsigned)__builtin_ctzll(recto_vm_page_size())};
    int fd = -1;
    void *view = NULL;
    int code = recto_vm_memory_create("recto-probe", recto_vm_page_size(), &fd);
    if (code != 0) {
        return ENOMEM;
    }
    int error = recto_vm_map(fd, 0, recto_vm_page_size(), NULL, RECTO_VM_WRITE,
                             &view) == 0
                    ? 0
                    : ENOMEM;
    if (error == 0) {
        range.base = (uintptr_t)view;
        *(volatile char *)view = 1;
        error = enrol(&range, 0, 1, CLIENT_MODE);
        error = error == 0 ? drop(&range, 0, 1) : error;
        struct uffdio_continue map = {.range = span(&range, 0, 1),
                                      .mode = UFFDIO_CONTINUE_MODE_WP};
        error = error == 0 ? call(UFFDIO_CONTINUE, &map) : error;
        error =
            error == 0 ? write_protect(&range, 0, 1, RECTO_VM_WRITE) : error;
        (void)munmap(view, recto_vm_page_size());
    }
    (void)close(fd);
    return error;
}

static int open_uffd(void)
{
    uffd = (int)syscall(SYS_userfaultfd,
                        O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (uffd < 0) {
        return errno;
    }
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_SIGBUS |
                                         UFFD_FEATURE_MINOR_SHMEM |
                                         UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    return ioctl(uffd, UFFDIO_API, &api) == 0 ? 0 : errno;
}

/* The descriptor is the parent's, and calls through it would change the parent's
 * pages. Without one ranges take mprotect. */
static void pte_fork_child(void)
{
    if (uffd >= 0) {
        (void)close(uffd);
        if (open_uffd() != 0 && uffd >= 0) {
            (void)close(uffd);
            uffd = -1;
        }
    }
}

static void pte_finish(void)
{
    if (uffd >= 0) {
        (void)close(uffd);
        uffd = -1;
    }
    if (zeros != NULL) {
        (void)munmap(zeros, FILL_PAGES * recto_vm_page_size());
        zeros = NULL;
    }
}

static int pte_probe(void)
{
    if (uffd >= 0) {
        return 0; /* ranges have outlived the last user */
    }
    int error =
        recto_vm_table_create(FILL_PAGES * recto_vm_page_size(), &zeros) == 0
            ? open_uffd()
            : ENOMEM;
    error = error == 0 ? try_it() : error;
    if (error == 0) {
        return 0;
    }
    pte_finish();
    char why[128];
    return base_error(RECTO_EUNSUPPORTED,
                      "%s=pte needs userfaultfd of Linux 6.4 or later: %s; "
                      "mprotect works everywhere",
                      base_env_name(BASE_ENV_VM),
                      strerror_r(error, why, sizeof why));
}

const struct vm_backend vm_backend_pte = {
    .name = "pte",
    .splits = false,
    .probe = pte_probe,
    .finish = pte_finish,
    .attach = pte_attach,
    .detach = pte_detach,
    .set = pte_set,
    .expose = pte_expose,
    .fork_child = pte_fork_child,
    .own = pte_own,
    .disown = pte_disown,
};
