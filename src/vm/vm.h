/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the ground floor share. The map:
 *
 *   vm.c        life cycle, numbers, alternate stacks, fork
 *   memory.c    memfds and their views (MAP2)
 *   range.c     ranges and the protection calls (PROT1, PROTN, UNPROT)
 *   protect.c   page states, claims, runs, the kernel's mapping limit
 *   mprotect.c  the protection back end that uses mprotect(2)
 *   pte.c       the one that uses userfaultfd(2)
 *   dirty.c     DIRTY and the tracking method that uses write faults
 *   scan.c      the kernel's own record of writes; watches
 *   dirty_scan.c, dirty_hash.c  the other methods of tracking
 *   shut.c      writes trapped for a while, for them
 *   registry.c  which range and which traps an address has; TRAP
 *   dispatch.c  the signal handler
 *   interpose.c who owns SIGSEGV and SIGBUS; sigaction and its relatives
 *
 * Lock order: the life cycle's mutex (vm.c), the watches' (scan.c), then the
 * registry's mutex, then
 * claims on pages (protect.c), a range's rights (shut.c) or the owner's spin lock
 * (interpose.c). The handler takes only the last three, one at a time.
 */
#ifndef RECTO_SRC_VM_VM_H
#define RECTO_SRC_VM_VM_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <recto/vm.h>

#include "base/base.h"
#include "base/set.h"

/* ---- ranges and traps ---------------------------------------------------- */

struct vm_backend; /* protect.h */
struct vm_tracker;

/* See shut.c. */
struct vm_shut {
    atomic_bool on;
    atomic_bool hidden; /* reads are trapped, too */
    recto_vm_before_touch reveal;
    void *reveal_argument;
    _Atomic uint32_t lock;
    _Atomic uint64_t round;
    _Atomic unsigned shift; /* 2^shift pages are a group */
    struct base_set opened; /* groups */
    void *table; /* its memory; NULL before the range is first shut */
    size_t bytes;
};

struct recto_vm_range {
    const struct vm_backend *backend;
    uintptr_t base;
    uint64_t pages;
    unsigned page_shift;
    unsigned generation; /* of the process that made it, see vm_generation */
    /* Page states (protect.h), eight to a word, and the sets below: sparse. */
    _Atomic uint64_t *words;
    size_t table_bytes; /* of all of that */
    /* Chunks in which a state was ever set; others are 0 and need no look. */
    struct base_set touched;
    /* Chunks in which a word of 0 means VM_FRESH: become so before any thread uses
     * their pages. */
    struct base_set fresh;
    /* Chunks that may have open pages (dirty.c). */
    struct base_set open;
    /* Chunks of a plain range whose pages all held data when the kernel was asked
     * (recto_vm_range_next), by this process or one that shares the set. */
    struct base_set dense;
    /* Every dirty page, and some that are not dirty any more. */
    struct base_set marked;
    int fd; /* the memory behind the range, or -1; the owner keeps it open */
    uint64_t fd_offset;
    /* Kernel mappings this range takes: changed under claims by protect.c,
     * read by anyone who looks for the largest; a stale read costs a less
     * fitting choice. */
    _Atomic uint64_t mappings;
    /* Users that hold no claim yet; range_destroy waits for zero. Raised inside
     * a reader's section of registry.c. */
    atomic_int pins;
    atomic_bool tracked;              /* between dirty_start and dirty_stop */
    const struct vm_tracker *tracker; /* then */
    /* All pages are own and never lowered; nothing but shut.c protects them. Set
     * before they are used. */
    bool plain;
    struct vm_shut shut;
    /* dirty_hash.c */
    void *hashes;
    size_t hash_bytes;
    struct base_set hashed;
    /* Writes are tracked by write faults: WRITE is given to dirty pages only.
     * Set before and cleared before all pages are claimed once. */
    atomic_bool armed;
    /* recto_vm_dirty_before */
    recto_vm_before_write before;
    void *before_argument;
};

struct recto_vm_trap {
    uintptr_t low;
    uintptr_t high; /* one past the last byte */
    recto_vm_handler handler;
    recto_vm_fallback fallback;
    void *argument;
    /* Threads inside the handler; trap_remove waits for zero. */
    atomic_int running;
};

/*
 * Grows by one in a forked child (pthread_atfork). Ranges of an older
 * generation are dead there: their views were not inherited, so faults in them
 * are foreign and calls on them fail.
 */
extern atomic_uint vm_generation;

static inline bool vm_range_alive(const struct recto_vm_range *range)
{
    return range->generation ==
           atomic_load_explicit(&vm_generation, memory_order_relaxed);
}

/* ---- range.c ------------------------------------------------------------- */

/* Pages [first, stop) hold data: recto_vm_range_next need not ask for their chunks. */
void vm_dense_learn(const struct recto_vm_range *range, uint64_t first,
                    uint64_t stop);

/* ---- registry.c ---------------------------------------------------------- */

/* RECTO_EINVAL when it overlaps another range, RECTO_ENOMEM. */
int vm_registry_add_range(struct recto_vm_range *range);
/* Removes it and waits until no thread can find or holds it. */
void vm_registry_remove_range(struct recto_vm_range *range);
/* Visits the ranges that live in this process; ordinary code only. */
void vm_registry_each_range(void (*visit)(struct recto_vm_range *, void *),
                            void *argument);
size_t vm_registry_count_ranges(void);
/* The range at an address, pinned, or NULL. Async-signal-safe, as all below. */
struct recto_vm_range *vm_range_pin(uintptr_t address);
/* The living range with the most kernel mappings of those whose back end splits
 * them, pinned; NULL when none has more than one. */
struct recto_vm_range *vm_range_pin_largest(void);
void vm_range_unpin(struct recto_vm_range *range);
bool vm_range_overlaps(uintptr_t low, uintptr_t high);
/* The newest trap at an address that is older than *serial, pinned, or NULL;
 * *serial becomes its serial. Start with UINT64_MAX. */
struct recto_vm_trap *vm_trap_pin(uintptr_t address, uint64_t *serial);
void vm_trap_unpin(struct recto_vm_trap *trap);
void vm_registry_fork_prepare(void);
void vm_registry_fork_parent(void);
void vm_registry_fork_child(void);

/* ---- dispatch.c ---------------------------------------------------------- */

void vm_dispatch(int signal, siginfo_t *info, void *context);

/* ---- interpose.c --------------------------------------------------------- */

/* Installs the dispatcher over whoever has the signals; again when replaced. */
int vm_owner_install(void);
void vm_owner_restore(void);
/* Passes a fault to the previous owner; false when there is none: the default
 * action is set and the instruction is to fault again. */
bool vm_owner_call(int signal, siginfo_t *info, void *context);
void vm_owner_fork_child(void);
/* Lets SIGSEGV and SIGBUS through in the calling thread. */
void vm_owner_unblock(void);

/* ---- vm.c ---------------------------------------------------------------- */

bool vm_initialised(void);

/* Blocks every signal in the calling thread by a bare system call, so that
 * nothing can interrupt a holder of claims; then puts the mask back. */
void vm_signals_block(uint64_t *saved);
void vm_signals_restore(const uint64_t *saved);

/* Waits a little, longer with each try; for conditions that another running
 * thread ends soon. Starts with *tries 0. Async-signal-safe. */
void vm_pause(unsigned *tries);

enum vm_counter {
    VM_FAULTS,
    VM_READ_FAULTS,
    VM_WRITE_FAULTS,
    VM_TRACKED,
    VM_REPEATED,
    VM_FOREIGN,
    VM_PROTECT_CALLS,
    VM_COARSENED,
    VM_SCANS,
    VM_HASHED,
    VM_OPENED,
    VM_COUNTERS
};
void vm_count(enum vm_counter counter);

enum {
    VM_STRIPES = 16
};
/* Spreads threads over counters; cheap, no system call, constant per thread. */
unsigned vm_stripe(void);

#endif
