/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/vm.h: page protection for user programs, without MPI.
 *
 * The six primitives of A. W. Appel and K. Li, "Virtual Memory Primitives for
 * User Programs" (ASPLOS-IV, 1991):
 *
 *   TRAP    recto_vm_trap_add()            a page fault reaches a handler
 *   PROT1   recto_vm_prot1()               take rights from one page
 *   PROTN   recto_vm_protn()               take rights from many pages at once
 *   UNPROT  recto_vm_unprot()              give rights to pages
 *   DIRTY   recto_vm_dirty_*()             pages written since last asked
 *   MAP2    recto_vm_memory_create(), _map  one page at two addresses
 *
 * A *memory* is a memfd: kernel memory that disappears with its last user. It
 * is mapped at one address as the *recto*, which the program uses and whose
 * pages a *range* protects, and at another as the *verso*, always readable and
 * writable, through which a handler fills a page before any other thread can
 * see it.
 *
 * Guarantees
 * - The kernel never grants more than the client granted. It may grant less
 *   (dirty tracking, coarsening at the kernel's mapping limit); the fault that
 *   follows is resolved inside vm and no handler sees it.
 * - Protection calls are async-signal-safe and may be made inside a handler.
 * - The dispatcher allocates nothing, takes no lock that ordinary code holds
 *   while it may fault, and keeps errno.
 *
 * Caveats
 * - System calls do not fault: read(2) into a protected page returns EFAULT.
 * - recto and verso views are not inherited over fork(2) (MADV_DONTFORK). In a
 *   forked child the parent's ranges are dead: calls on them return
 *   RECTO_ESTATE and a fault in them is passed on as foreign.
 * - While vm is initialised sigaction, signal, sigprocmask and pthread_sigmask
 *   are interposed: SIGSEGV and SIGBUS cannot be blocked, and a handler set for
 *   them is asked after all traps.
 *
 * All functions are local and may be called from any thread unless they say
 * otherwise. They return 0 or a negative RECTO_E... code (recto/error.h).
 */
#ifndef RECTO_VM_H
#define RECTO_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <recto/error.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Rights to a page, ordered: each includes those before it. */
enum recto_vm_right {
    RECTO_VM_NONE = 0,
    RECTO_VM_READ = 1,
    RECTO_VM_WRITE = 2 /* read and write */
};

/* What a fault wanted; UNKNOWN where the machine does not tell. */
enum recto_vm_access {
    RECTO_VM_ACCESS_READ = 1,
    RECTO_VM_ACCESS_WRITE = 2,
    RECTO_VM_ACCESS_UNKNOWN = 3
};

struct recto_vm_fault {
    void *address;               /* the faulting address */
    void *instruction;           /* program counter of the access */
    enum recto_vm_access access; /* read or write */
    int signal; /* SIGSEGV; SIGBUS: no memory behind the page, or it failed */
    int code;   /* si_code of the signal */
    void *context; /* the ucontext_t of the handler */
};

/* A handler's answer. */
enum recto_vm_verdict {
    RECTO_VM_CONTINUE, /* resolved: run the faulting instruction again */
    RECTO_VM_FALLBACK, /* run this trap's fallback, then continue */
    RECTO_VM_SEARCH    /* not mine: ask the next trap, at last the handler
                          that owned the signal before */
};

/*
 * Runs in the faulting thread inside the signal handler: only
 * async-signal-safe calls are allowed. May fault itself (nested faults) and
 * wait, but must return: recto_vm_trap_remove waits for it.
 */
typedef enum recto_vm_verdict (*recto_vm_handler)(
    const struct recto_vm_fault *fault, void *argument);
typedef void (*recto_vm_fallback)(const struct recto_vm_fault *fault,
                                  void *argument);

typedef struct recto_vm_trap recto_vm_trap;
typedef struct recto_vm_range recto_vm_range;

/* ---- life cycle --------------------------------------------------------- */

/*
 * Installs the dispatcher for SIGSEGV and SIGBUS; what was installed before
 * becomes the end of the chain. Called again it checks that the dispatcher is
 * still in place and reinstalls it over whoever replaced it (who then is
 * asked after all traps). Thread-safe; counted: each init needs one finalize.
 * RECTO_EUNSUPPORTED where no protection back end works, RECTO_EINVAL for an
 * unknown RECTO_VM or RECTO_DIRTY.
 */
int recto_vm_init(void);

/* Undoes the matching recto_vm_init; the last one restores the old handlers. */
int recto_vm_finalize(void);

/*
 * Gives the calling thread an alternate signal stack if it has none, so that
 * it survives faults on its own stack; freed at thread exit. Optional.
 */
int recto_vm_thread_init(void);

/* Page size in bytes. */
size_t recto_vm_page_size(void);

/* Name of the protection back end in use ("pte", or "mprotect", which also
 * serves ranges that are not on shared memory) and of the dirty
 * tracking method ("scan", "fault" or "hash"; ranges that it cannot serve take
 * "fault"). Constant strings. */
const char *recto_vm_backend(void);
const char *recto_vm_dirty_method(void);
/* The method that tracks a range, or would. */
const char *recto_vm_dirty_method_of(const recto_vm_range *range);

/* ---- MAP2: memory and its views ------------------------------------------ */

/*
 * Creates zero-filled memory of `bytes` (rounded up to pages, sparse until
 * touched) and returns its descriptor, close-on-exec; close(2) it when done.
 * `name` is shown in /proc/PID/maps. RECTO_ENOMEM; RECTO_EINVAL for 0 bytes
 * or a size beyond RLIMIT_FSIZE (SIGXFSZ does not kill the process).
 */
int recto_vm_memory_create(const char *name, uint64_t bytes, int *fd);

/*
 * Maps `bytes` of memory `fd` from `offset` (both whole pages) with `right`.
 * `want`: the exact address, which must be free (RECTO_EADDRESS), or NULL for
 * any. fd -1 reserves address space with no memory behind it (right must be
 * RECTO_VM_NONE), which recto_vm_map with `want` inside it may not replace.
 */
int recto_vm_map(int fd, uint64_t offset, size_t bytes, void *want,
                 enum recto_vm_right right, void **view);

/* Unmaps a view or a reservation. A range on it must be destroyed before. */
int recto_vm_unmap(void *view, size_t bytes);

/*
 * Anonymous private zero-filled memory for the runtime's own tables: sparse,
 * async-signal-safe (mmap), whole pages; recto_vm_unmap frees it.
 */
int recto_vm_table_create(size_t bytes, void **table);

/*
 * Makes the kernel allocate the memory of whole pages now, so that touching them
 * cannot fail later. RECTO_ENOMEM; some of them may be allocated then.
 */
int recto_vm_memory_reserve(int fd, uint64_t offset, uint64_t bytes);

/*
 * The first stretch of [from, end) that may hold data: 1, or 0 when there is none.
 * The rest is holes, whose memory nobody has touched, and which reading through a
 * view would fill; so is memory that is reserved and was never touched. Whole
 * pages. Async-signal-safe.
 */
int recto_vm_memory_next(int fd, uint64_t from, uint64_t end, uint64_t *first,
                         uint64_t *bytes);

/* Gives the memory behind whole pages back to the kernel; they read as zero
 * afterwards, through every view. */
int recto_vm_memory_discard(int fd, uint64_t offset, uint64_t bytes);

/* ---- PROT1, PROTN, UNPROT ------------------------------------------------ */

/*
 * Puts the pages of a view under protection control. All pages have `initial`
 * rights, which must be those it was mapped with. Ranges do not overlap.
 */
int recto_vm_range_create(void *view, size_t bytes, enum recto_vm_right initial,
                          recto_vm_range **range);

/* Ends protection control; no thread may be faulting on the range. The pages
 * keep the rights they have. */
void recto_vm_range_destroy(recto_vm_range *range);

/* Lowers one page to `right` (no effect where it has less already). */
int recto_vm_prot1(recto_vm_range *range, uint64_t page,
                   enum recto_vm_right right);

/* Lowers pages [first, first + count) to `right`, in as few kernel calls as
 * equal neighbours allow. */
int recto_vm_protn(recto_vm_range *range, uint64_t first, uint64_t count,
                   enum recto_vm_right right);

/* Raises pages to `right`. Pages that had no right must have been filled
 * through the verso before: the moment this returns any thread may read. */
int recto_vm_unprot(recto_vm_range *range, uint64_t first, uint64_t count,
                    enum recto_vm_right right);

/*
 * Raises pages to write that the client will never lower below read, before any
 * thread uses them: their memory is filled by the kernel at the first touch, and
 * system calls may touch them first. Local; RECTO_EINVAL, RECTO_ENOMEM.
 */
int recto_vm_own(recto_vm_range *range, uint64_t first, uint64_t count);

/*
 * The same for all pages of a range that have no right yet, for good: the client lowers
 * none of them, so that writes can be tracked without protection, by the kernel's scan
 * or by hash, where the memory is known (recto_vm_range_memory). Local; RECTO_EINVAL,
 * RECTO_ENOMEM.
 */
int recto_vm_own_all(recto_vm_range *range);

/*
 * Hides a range for a while: until it is shown no page has a right, and the first access
 * to one, of whatever kind, calls `before` for it and some neighbours, with no claim
 * held, in the signal handler (so `before` is async-signal-safe, and may wait); then they
 * have their rights again. Several threads may call it for one page. If writes are
 * tracked, what others put behind pages through views of their own before they are
 * touched here is no write, by the kernel's scan; by hash, recto_vm_dirty_learn says so.
 * Where recto_vm_hides, after recto_vm_own_all: not under write faults. Local;
 * RECTO_EINVAL, RECTO_ENOMEM. Showing does nothing where nothing is hidden.
 */
typedef void (*recto_vm_before_touch)(uint64_t first, uint64_t count,
                                      void *argument);
bool recto_vm_hides(const recto_vm_range *range);
int recto_vm_hide(recto_vm_range *range, recto_vm_before_touch before,
                  void *argument);
void recto_vm_show(recto_vm_range *range);

/*
 * Undoes recto_vm_own, where it was called: the pages keep their rights and may
 * be lowered to none again. No thread uses them meanwhile. Local; RECTO_EINVAL,
 * RECTO_ENOMEM when the kernel has no mappings left for it.
 */
int recto_vm_disown(recto_vm_range *range, uint64_t first, uint64_t count);

/*
 * Tells which memory lies behind a range, from `offset` on, before pages are used; the
 * descriptor must outlive the range. Own pages then cost nothing until they are
 * touched: to track writes to them takes neither page tables nor tables of vm. In
 * return a page that was only read may count as written. Local; RECTO_EINVAL.
 */
int recto_vm_range_memory(recto_vm_range *range, int fd, uint64_t offset);

/*
 * Has the ranges of several processes that lie at the same offset of the same memory share
 * what each of them finds out about where it holds data, in `shared`: memory of
 * recto_vm_found_bytes(pages) that all of them map, zeros at first, and which outlives the
 * range. Before pages are used. Local.
 */
size_t recto_vm_found_bytes(uint64_t pages);
void recto_vm_range_share(recto_vm_range *range, void *shared);

/*
 * recto_vm_memory_next for pages [from, end) of a range whose memory is known:
 * [*first, *stop). Where all pages of an own range (recto_vm_own_all) were found to hold data
 * once, the kernel is not asked again, so memory discarded since may count as data there.
 * Async-signal-safe.
 */
int recto_vm_range_next(const recto_vm_range *range, uint64_t from,
                        uint64_t end, uint64_t *first, uint64_t *stop);

/* The right that the client granted to a page. */
enum recto_vm_right recto_vm_right_of(const recto_vm_range *range,
                                      uint64_t page);

/* ---- TRAP ---------------------------------------------------------------- */

/*
 * Registers `handler` for faults in [base, base + bytes). Traps may overlap:
 * the newest is asked first. A fault that the rights granted in a range
 * already allow never reaches a trap. `fallback` may be NULL if the handler
 * never asks for it.
 */
int recto_vm_trap_add(void *base, size_t bytes, recto_vm_handler handler,
                      recto_vm_fallback fallback, void *argument,
                      recto_vm_trap **trap);

/* Unregisters; waits until no thread runs the handler. Not from inside it. */
void recto_vm_trap_remove(recto_vm_trap *trap);

/* ---- DIRTY --------------------------------------------------------------- */

/*
 * Starts tracking writes to a range: from now on the first write to each page
 * marks it. Pages start clean; by hash, all that hold data count as written until they
 * were collected once. RECTO_ESTATE when tracking already.
 *
 * The method is that of RECTO_DIRTY: write faults; the kernel's scan, where no page is
 * ever protected (recto_vm_own_all); hashes of the contents, where the memory is known.
 * Elsewhere write faults. Without faults a page that was only read may count as written
 * once, and by hash a page that was written with what it held before does not.
 */
int recto_vm_dirty_start(recto_vm_range *range);
int recto_vm_dirty_stop(recto_vm_range *range);

/*
 * Takes the marks of pages [first, first + count): tells them as runs of pages of the
 * range, in ascending order, by calls of `run` (neighbours may come as two), clears
 * them and tracks anew. A write that runs at the same time is in this answer or in
 * the next, never in neither. Costs time by the pages that were written, not by
 * `count`. `run` may do what its thread may, but not call this for the same pages;
 * NULL: nobody wants to know. After an error the marks not told of are still there.
 */
typedef void (*recto_vm_dirty_run)(uint64_t first, uint64_t count,
                                   void *argument);
int recto_vm_dirty_runs(recto_vm_range *range, uint64_t first, uint64_t count,
                        recto_vm_dirty_run run, void *argument);

/* The same into a bitmap, by or: bit i of word i / 64 is page first + i. */
int recto_vm_dirty_collect(recto_vm_range *range, uint64_t first,
                           uint64_t count, uint64_t *bitmap);

/* Marks pages as written: for writes through the verso, and by a handler that
 * grants a page to a write fault. Does nothing while not tracking. */
int recto_vm_dirty_mark(recto_vm_range *range, uint64_t first, uint64_t count);

/* Forgets what is known of the contents of pages (hash): they count as written when they
 * are next collected, if they hold data. For pages that others may have collected. */
void recto_vm_dirty_forget(recto_vm_range *range, uint64_t first,
                           uint64_t count);

/* What pages hold now is what they held when they were last collected (hash): before
 * anybody can write to them. Async-signal-safe. */
void recto_vm_dirty_learn(recto_vm_range *range, uint64_t first,
                          uint64_t count);

/*
 * Calls `before` while writes are tracked and the range is shut (or the method is that
 * of write faults), before a page gets its first write since the marks were last taken:
 * with no claim held, by the thread that writes or marks, in
 * the signal handler (so `before` is async-signal-safe); several threads may call it
 * for one page. What it stores away is the page as it was when the marks were taken.
 * Set before other threads use the range; NULL: nobody.
 */
typedef void (*recto_vm_before_write)(uint64_t first, uint64_t count,
                                      void *argument);
void recto_vm_dirty_before(recto_vm_range *range, recto_vm_before_write before,
                           void *argument);

/*
 * Shuts a range that is tracked: until it is opened `before` is called ahead of every
 * first write, perhaps for neighbours together and more than once, whatever the method.
 * To be called after the marks were taken and before the writes that `before` is to see;
 * costs a system call or two, and a fault for each group of pages that is written
 * meanwhile. RECTO_ENOMEM. Opening does nothing where it is not shut.
 */
int recto_vm_dirty_shut(recto_vm_range *range);
void recto_vm_dirty_open(recto_vm_range *range);

/* ---- DIRTY for memory of the program's own --------------------------------- */

typedef struct recto_vm_watch recto_vm_watch;

/*
 * Watches writes to whole pages of private memory that the program mapped itself
 * (heap, static data, stack) and that no range protects: nothing is ever made
 * unwritable, no fault is taken, system calls and other processes that copy into it
 * (process_vm_writev) are seen. All pages count as clean from here on. Huge pages
 * are split where they are written.
 *
 * RECTO_EUNSUPPORTED where it cannot be: the kernel has no scan or RECTO_DIRTY is
 * fault or hash; shared mappings, since others write through theirs; what has another
 * userfaultfd. RECTO_EINVAL: no whole pages, or some are watched or in a range. Not
 * seen are writes of devices (RDMA, GPUs): hash there.
 */
int recto_vm_watch_create(void *base, size_t bytes, recto_vm_watch **watch);

/* Before the memory is unmapped; NULL: nothing. */
void recto_vm_watch_destroy(recto_vm_watch *watch);

/*
 * Tells the pages written since the last scan, as recto_vm_dirty_runs does (NULL:
 * nobody wants to know), then in anonymous memory, each time, those that are absent:
 * zeros that take no memory, since nobody touched them, or gave them back
 * (MADV_DONTNEED). A page that was only read may count as written once. RECTO_ESTATE:
 * some of it was unmapped or mapped anew; all of it may have been written, and the
 * watch is to be destroyed. Not for one watch in two threads.
 */
int recto_vm_watch_scan(recto_vm_watch *watch, recto_vm_dirty_run written,
                        recto_vm_dirty_run absent, void *argument);

/* ---- numbers ------------------------------------------------------------- */

struct recto_vm_counters {
    uint64_t faults;        /* signals taken for addresses in traps or ranges */
    uint64_t read_faults;   /* of these, reads */
    uint64_t write_faults;  /* of these, writes */
    uint64_t tracked;       /* resolved by dirty tracking */
    uint64_t repeated;      /* resolved because the right was there already */
    uint64_t foreign;       /* passed on to the previous owner */
    uint64_t protect_calls; /* kernel calls to change protection */
    uint64_t coarsened;     /* times rights were taken to free mappings */
    uint64_t scans;         /* stretches of memory that the kernel scanned */
    uint64_t hashed;        /* pages whose contents were hashed */
    uint64_t opened;        /* write faults on ranges that were shut */
    uint64_t mappings;      /* kernel mappings that ranges take now */
};

/* Numbers of this process so far. */
void recto_vm_stats(struct recto_vm_counters *totals);

/* Walks every range and asserts its invariants; debug builds only do work.
 * Call while no thread changes protections. Returns 0. */
int recto_vm_check(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
