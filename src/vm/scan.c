/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's own record of writes: UFFD_FEATURE_WP_ASYNC and PAGEMAP_SCAN (Linux
 * 6.7). A page is *armed* by a bit in its entry, or by a marker where it has none. The
 * first write takes the bit, inside the kernel: no signal, and system calls may write,
 * too. A scan finds pages without the bit and sets it again, page by page in one step.
 *
 * Invariants
 * 1. A page that is not armed counts as written. The kernel takes an entry without the
 *    bit as it likes (reclaim), one with it leaves a marker: so in memory that has
 *    something else behind it than zeros, a page without an entry counts as written.
 * 2. In private anonymous memory it is *absent* instead: zeros, never touched or given
 *    back (MADV_DONTNEED). It is told of, and stays without an entry and a marker.
 * 3. A write at the same time as a scan is in its answer or in the next.
 * 4. What is not registered any more, since somebody mapped something else there, is an
 *    error of the scan, never silence.
 *
 * Watches: `watches` and the list behind it are under `lock`, which is taken after no
 * other lock of vm and is not for the handler.
 */
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protect.h"

/* Newer than the headers of Debian 12 (Linux 6.1). */
#ifndef UFFD_USER_MODE_ONLY
#    define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#    define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#    define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* The kernel's struct page_region and struct pm_scan_arg. */
struct region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct request {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end; /* out: where it stopped */
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;       /* all of these */
    uint64_t category_anyof_mask; /* and one of these */
    uint64_t return_mask;
};

#define SCAN_REQUEST _IOWR('f', 16, struct request)

enum {
    IS_WRITTEN = 1 << 1,
    IS_PRESENT = 1 << 3,
    IS_SWAPPED = 1 << 4, /* markers, too */
    /* arm what is found; fail where a page is not registered */
    ARM = 1 << 0 | 1 << 1,
    REGIONS = 128 /* of an answer */
};

static int uffd = -1;
static int pagemap = -1;

/* ---- the kernel's calls ------------------------------------------------------------ */

static int scan_open(void)
{
    if (uffd >= 0) {
        return 0;
    }
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_WP_ASYNC |
                                         UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    uffd = (int)syscall(SYS_userfaultfd,
                        O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (uffd < 0) {
        return errno;
    }
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int error = pagemap < 0 || ioctl(uffd, UFFDIO_API, &api) != 0 ? errno : 0;
    if (error != 0) {
        vm_scan_finish();
    }
    return error;
}

void vm_scan_finish(void)
{
    if (uffd >= 0) {
        (void)close(uffd);
    }
    if (pagemap >= 0) {
        (void)close(pagemap);
    }
    uffd = pagemap = -1;
}

int vm_scan_register(uintptr_t low, uintptr_t high)
{
    struct uffdio_register enrolment = {
        .range = {.start = low, .len = high - low},
        .mode = UFFDIO_REGISTER_MODE_WP
    };
    return ioctl(uffd, UFFDIO_REGISTER, &enrolment) == 0 ? 0 : errno;
}

void vm_scan_unregister(uintptr_t low, uintptr_t high)
{
    struct uffdio_range pages = {.start = low, .len = high - low};
    (void)ioctl(uffd, UFFDIO_UNREGISTER, &pages);
}

static int scan(struct request what, uintptr_t low, uintptr_t high,
                vm_scan_run run, void *argument)
{
    struct region regions[REGIONS];
    what.size = sizeof what;
    what.vec = (uintptr_t)regions;
    what.vec_len = REGIONS;
    for (uint64_t at = low; at < high; at = what.walk_end) {
        what.start = at;
        what.end = high;
        what.walk_end = at;
        int found = ioctl(pagemap, SCAN_REQUEST, &what);
        if (found < 0 && errno != EINTR) {
            return errno;
        }
        for (int i = 0; i < found && run != NULL; i++) {
            run(regions[i].start, regions[i].end, argument);
        }
    }
    return 0;
}

int vm_scan_written(uintptr_t low, uintptr_t high, bool absent_too,
                    vm_scan_run run, void *argument)
{
    struct request what = {.flags = ARM,
                           .category_mask = IS_WRITTEN,
                           .category_anyof_mask =
                               absent_too ? 0 : IS_PRESENT | IS_SWAPPED,
                           .return_mask = IS_WRITTEN};
    return scan(what, low, high, run, argument);
}

int vm_scan_present(uintptr_t low, uintptr_t high, vm_scan_run run,
                    void *argument)
{
    struct request what = {.flags = ARM,
                           .category_mask = IS_WRITTEN | IS_PRESENT,
                           .return_mask = IS_PRESENT};
    return scan(what, low, high, run, argument);
}

/* Tells pages without an entry and a marker. */
static int scan_absent(uintptr_t low, uintptr_t high, vm_scan_run run,
                       void *argument)
{
    struct request what = {.category_inverted = IS_PRESENT | IS_SWAPPED,
                           .category_mask = IS_PRESENT | IS_SWAPPED,
                           .return_mask = IS_PRESENT | IS_SWAPPED};
    return scan(what, low, high, run, argument);
}

/* ---- self-test --------------------------------------------------------------------- */

enum {
    TRIAL_PAGES = 8
};

struct trial {
    uintptr_t base;
    unsigned found; /* bit i: page i */
};

static void trial_note(uintptr_t low, uintptr_t high, void *argument)
{
    struct trial *trial = argument;
    size_t page = recto_vm_page_size();
    for (; low < high; low += page) {
        trial->found |= 1U << (low - trial->base) / page;
    }
}

static bool trial_finds(struct trial *trial, unsigned expected)
{
    size_t bytes = TRIAL_PAGES * recto_vm_page_size();
    trial->found = 0;
    return vm_scan_written(trial->base, trial->base + bytes, false, trial_note,
                           trial) == 0 &&
           trial->found == expected;
}

static void trial_touch(volatile char *view, unsigned pages)
{
    for (unsigned i = 0; i < TRIAL_PAGES; i++) {
        if (pages >> i & 1) {
            view[i * recto_vm_page_size()] = 1;
        }
    }
}

/* Writes are found once each, and only they are, also across mprotect(2). */
static int trial_run(char *view)
{
    struct trial trial = {.base = (uintptr_t)view};
    size_t bytes = TRIAL_PAGES * recto_vm_page_size();
    int error = vm_scan_register(trial.base, trial.base + bytes);
    if (error != 0) {
        return error;
    }
    trial_touch(view, 0x0a);
    bool good = trial_finds(&trial, 0x0a) && trial_finds(&trial, 0);
    (void)*(volatile char *)(view + recto_vm_page_size());
    trial_touch(view, 0x28);
    good = good && trial_finds(&trial, 0x28);
    good = good && mprotect(view, bytes, PROT_READ) == 0 &&
           mprotect(view, bytes, PROT_READ | PROT_WRITE) == 0;
    trial_touch(view, 0x02);
    good = good && trial_finds(&trial, 0x02) && trial_finds(&trial, 0);
    vm_scan_unregister(trial.base, trial.base + bytes);
    return good ? 0 : ENOTSUP;
}

static int self_test(void)
{
    size_t bytes = TRIAL_PAGES * recto_vm_page_size();
    int fd = -1;
    void *view = NULL;
    int error = ENOMEM;
    if (recto_vm_memory_create("recto-probe", bytes, &fd) != 0) {
        return error;
    }
    if (recto_vm_map(fd, 0, bytes, NULL, RECTO_VM_WRITE, &view) == 0) {
        error = trial_run(view);
        (void)munmap(view, bytes);
    }
    (void)close(fd);
    if (error == 0 && recto_vm_table_create(bytes, &view) == 0) {
        error = trial_run(view);
        (void)munmap(view, bytes);
    }
    return error;
}

int vm_scan_probe(void)
{
    if (uffd >= 0) {
        return 0; /* ranges or watches have outlived the last user */
    }
    int error = scan_open();
    error = error == 0 ? self_test() : error;
    if (error == 0) {
        return 0;
    }
    vm_scan_finish();
    return base_error(RECTO_EUNSUPPORTED,
                      "%s=scan needs userfaultfd and PAGEMAP_SCAN of Linux 6.7 "
                      "or later: %s; fault works everywhere",
                      base_env_name(BASE_ENV_DIRTY), base_errno_text(error));
}

/* ---- what lies at an address --------------------------------------------------------- */

struct mapping {
    uintptr_t low;
    uintptr_t high;
    char rights[5];
    unsigned long inode;
};

static bool mapping_read(FILE *maps, struct mapping *m)
{
    char line[512];
    unsigned long low = 0;
    unsigned long high = 0;
    if (fgets(line, sizeof line, maps) == NULL) {
        return false;
    }
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's text */
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &low, &high, m->rights,
               &m->inode) != 4) {
        return false;
    }
    for (int c = 0; strchr(line, '\n') == NULL && c != '\n' && c != EOF;) {
        c = fgetc(maps); /* the rest of a long name */
    }
    m->low = low;
    m->high = high;
    return true;
}

/* Is all of it private memory? *files: some has a file behind it. */
static bool is_private(uintptr_t low, uintptr_t high, bool *files)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    struct mapping m;
    uintptr_t at = low;
    bool good = maps != NULL;
    *files = false;
    while (good && at < high && mapping_read(maps, &m)) {
        if (m.high > at) {
            good = m.low <= at && m.rights[3] == 'p';
            *files = *files || m.inode != 0;
            at = m.high;
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    return good && at >= high;
}

/* ---- watches -------------------------------------------------------------------------- */

struct recto_vm_watch {
    struct recto_vm_watch *next;
    uintptr_t low;
    uintptr_t high;
    bool files; /* a page without an entry is not zeros (invariant 1) */
    unsigned generation;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct recto_vm_watch *watches;

static bool watch_overlaps(uintptr_t low, uintptr_t high)
{
    for (const struct recto_vm_watch *w = watches; w != NULL; w = w->next) {
        if (w->generation == atomic_load(&vm_generation) && low < w->high &&
            w->low < high) {
            return true;
        }
    }
    return vm_range_overlaps(low, high);
}

static int watch_start(struct recto_vm_watch *w)
{
    if (watch_overlaps(w->low, w->high)) {
        return base_error(RECTO_EINVAL,
                          "recto_vm_watch_create: some of %p to "
                          "%p is watched already, or in a range",
                          /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
                          (void *)w->low, (void *)w->high);
    }
    if (!is_private(w->low, w->high, &w->files)) {
        return base_error(RECTO_EUNSUPPORTED,
                          "recto_vm_watch_create: not private memory");
    }
    int error = vm_scan_register(w->low, w->high);
    if (error == 0) {
        error = vm_scan_written(w->low, w->high, w->files, NULL, NULL);
        if (error != 0) {
            vm_scan_unregister(w->low, w->high);
        }
    }
    return error == 0 ? 0
                      : base_error(RECTO_EUNSUPPORTED,
                                   "recto_vm_watch_create: userfaultfd: %s",
                                   base_errno_text(error));
}

int recto_vm_watch_create(void *base, size_t bytes, recto_vm_watch **watch)
{
    size_t page = recto_vm_page_size();
    uintptr_t low = (uintptr_t)base;
    if (watch == NULL || low % page != 0 || bytes == 0 || bytes % page != 0 ||
        bytes > UINTPTR_MAX - low) {
        return base_error(RECTO_EINVAL,
                          "recto_vm_watch_create: %zu bytes at %p: whole pages "
                          "are needed",
                          bytes, base);
    }
    if (!vm_initialised() || uffd < 0) {
        return base_error(RECTO_EUNSUPPORTED,
                          "recto_vm_watch_create: %s is not scan",
                          base_env_name(BASE_ENV_DIRTY));
    }
    struct recto_vm_watch *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return base_error(RECTO_ENOMEM, "recto_vm_watch_create");
    }
    w->low = low;
    w->high = low + bytes;
    w->generation = atomic_load(&vm_generation);
    (void)pthread_mutex_lock(&lock);
    int code = watch_start(w);
    if (code == 0) {
        w->next = watches;
        watches = w;
    }
    (void)pthread_mutex_unlock(&lock);
    if (code == 0) {
        *watch = w;
    } else {
        free(w);
    }
    return code;
}

void recto_vm_watch_destroy(recto_vm_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    struct recto_vm_watch **at = &watches;
    while (*at != watch) {
        at = &(*at)->next;
    }
    *at = watch->next;
    if (watch->generation == atomic_load(&vm_generation) && uffd >= 0) {
        vm_scan_unregister(watch->low, watch->high);
    }
    (void)pthread_mutex_unlock(&lock);
    free(watch);
}

struct told {
    uintptr_t base;
    recto_vm_dirty_run run;
    void *argument;
};

static void tell(uintptr_t low, uintptr_t high, void *argument)
{
    const struct told *told = argument;
    size_t page = recto_vm_page_size();
    told->run((low - told->base) / page, (high - low) / page, told->argument);
}

int recto_vm_watch_scan(recto_vm_watch *watch, recto_vm_dirty_run written,
                        recto_vm_dirty_run absent, void *argument)
{
    struct told told = {watch->low, written, argument};
    if (watch->generation != atomic_load(&vm_generation)) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_watch_scan: the watch is the parent's");
    }
    int error = vm_scan_written(watch->low, watch->high, watch->files,
                                written != NULL ? tell : NULL, &told);
    if (error == 0 && absent != NULL && !watch->files) {
        told.run = absent;
        error = scan_absent(watch->low, watch->high, tell, &told);
    }
    return error == 0 ? 0
                      : base_error(RECTO_ESTATE,
                                   "recto_vm_watch_scan: %s: is something else "
                                   "mapped there now?",
                                   base_errno_text(error));
}

bool vm_scan_watches(void)
{
    (void)pthread_mutex_lock(&lock);
    bool any = watches != NULL;
    (void)pthread_mutex_unlock(&lock);
    return any;
}

/* ---- fork ------------------------------------------------------------------------------- */

void vm_scan_fork_prepare(void)
{
    (void)pthread_mutex_lock(&lock);
}

void vm_scan_fork_parent(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* The descriptors are of the parent's memory. */
void vm_scan_fork_child(void)
{
    if (uffd >= 0) {
        vm_scan_finish();
        (void)scan_open();
    }
    (void)pthread_mutex_unlock(&lock);
}
