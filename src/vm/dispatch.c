/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The signal handler: what happens to a page fault.
 *
 *   fault -> 1. the rights granted in a range allow it: vm resolves it (first
 *               write while tracking; a right that was taken for want of
 *               mappings; another thread was quicker)
 *            2. the traps at the address, newest first, until one answers
 *               CONTINUE or FALLBACK
 *            3. whoever owned the signal before; at last the default action,
 *               by running the instruction again, so that the core shows the
 *               fault's own address
 *
 * A signal that a process sent, and an address in a range of which a forked
 * child has no view, go to 3 at once. A fault that is not one of protection (no
 * memory behind the page) skips 1; where userfaultfd reports both alike, 1 finds
 * out, and traps see SIGBUS only where the kernel has no memory.
 *
 * Invariants
 * 1. It allocates nothing, calls no MPI and takes no lock that ordinary code
 *    holds while it may fault. It spins on two things only, both held with all
 *    signals blocked by code that cannot fault: a claim on pages (protect.c)
 *    and the owners' lock (interpose.c).
 * 2. errno is what it was.
 * 3. No claim, no reader's section and no pin on a range is held while a trap's
 *    handler runs; only the trap's `running` count. So a handler may wait for
 *    long, fault itself (SA_NODEFER), and change protections.
 * 4. Handling is idempotent: the kernel may report a fault any number of times.
 * 5. Frames are small (below 1 KiB in all): it works on a stack of
 *    AT_MINSIGSTKSZ + 4 KiB.
 *
 * Every function outside src/vm that is reached from here, each
 * async-signal-safe:
 *   mprotect, madvise, ioctl  one system call; errno kept by the caller
 *   syscall               rt_sigprocmask, gettid, rt_tgsigqueueinfo, nothing else
 *   sched_yield, nanosleep  bare system calls, while another thread holds a claim
 *   sigaction, pthread_sigmask (the C library's, found at start)
 *   sigaddset, getpid     no state; a system call
 *   base_trace_add        stores; clock_gettime
 * and the handlers and fallbacks of traps, and the previous owner's handler,
 * which answer for themselves.
 */
#include "protect.h"

#include <errno.h>
#include <ucontext.h>

#include "base/trace.h"

#if defined(__aarch64__)
#    include <asm/sigcontext.h>
#endif

/* ---- what the machine tells ---------------------------------------------- */

#if defined(__x86_64__)

static void describe_access(struct recto_vm_fault *fault)
{
    enum {
        PAGE_FAULT_WRITE = 2 /* bit 1 of the page fault's error code */
    };
    const ucontext_t *context = fault->context;
    fault->access = (context->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE)
                        ? RECTO_VM_ACCESS_WRITE
                        : RECTO_VM_ACCESS_READ;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a register holds a number */
    fault->instruction = (void *)context->uc_mcontext.gregs[REG_RIP];
}

#elif defined(__aarch64__)

static enum recto_vm_access esr_access(uint64_t esr)
{
    uint64_t class = esr >> 26 & 0x3f;
    if (class == 0x20 || class == 0x21) {
        return RECTO_VM_ACCESS_READ; /* instruction abort */
    }
    if (class != 0x24 && class != 0x25) {
        return RECTO_VM_ACCESS_UNKNOWN; /* not a data abort */
    }
    /* WnR, but cache maintenance (CM) reports a write that needs none */
    bool write = (esr & 1U << 6) != 0 && (esr & 1U << 8) == 0;
    return write ? RECTO_VM_ACCESS_WRITE : RECTO_VM_ACCESS_READ;
}

static void describe_access(struct recto_vm_fault *fault)
{
    const ucontext_t *context = fault->context;
    const unsigned char *at = context->uc_mcontext.__reserved;
    const unsigned char *end = at + sizeof context->uc_mcontext.__reserved;
    fault->access = RECTO_VM_ACCESS_UNKNOWN;
    fault->instruction = (void *)context->uc_mcontext.pc;
    while (at + sizeof(struct _aarch64_ctx) <= end) {
        const struct _aarch64_ctx *record = (const void *)at;
        if (record->magic == ESR_MAGIC) {
            const struct esr_context *esr = (const void *)at;
            fault->access = esr_access(esr->esr);
            return;
        }
        if (record->magic == 0 || record->size < sizeof *record) {
            return;
        }
        at += record->size;
    }
}

#else

static void describe_access(struct recto_vm_fault *fault)
{
    fault->access = RECTO_VM_ACCESS_UNKNOWN;
    fault->instruction = NULL;
}

#endif

/* ---- 1. ranges ----------------------------------------------------------- */

/* What the access needs. Where the machine does not tell: reading first, and
 * writing when it could read already. */
static enum recto_vm_right right_needed(enum recto_vm_access access,
                                        unsigned state)
{
    switch (access) {
    case RECTO_VM_ACCESS_READ: return RECTO_VM_READ;
    case RECTO_VM_ACCESS_WRITE: return RECTO_VM_WRITE;
    case RECTO_VM_ACCESS_UNKNOWN: break;
    }
    return vm_page_kernel(state) == RECTO_VM_NONE ? RECTO_VM_READ
                                                  : RECTO_VM_WRITE;
}

enum outcome {
    RESOLVED,
    REFUSED, /* the intent did not cover the access, when looked at */
    FAILED   /* the kernel did not do what the intent allows */
};

static void trace(const struct recto_vm_fault *fault, uint64_t start)
{
    base_trace_add(&(struct base_event){
        .kind = TRACE_FAULT,
        .what = TRACE_TRACKED,
        .flags = TRACE_WRITES,
        .e = {.start = start,
              .at = (uintptr_t)fault->address,
              .pc = (uintptr_t)fault->instruction}
    });
}

static enum outcome resolve(struct recto_vm_range *range,
                            const struct recto_vm_fault *fault)
{
    uint64_t start = base_trace_clock();
    uintptr_t address = (uintptr_t)fault->address;
    enum recto_vm_access access = fault->access;
    uint64_t page = (address - range->base) >> range->page_shift;
    unsigned state = vm_page_state(range, page);
    enum recto_vm_right needed = right_needed(access, state);
    /* A look without the claim: most faults that vm cannot resolve end here.
     * A stale one costs the handler a fault that finds its right there. */
    if (vm_page_intent(state) < needed) {
        return REFUSED;
    }
    if (vm_shut_fault(range, page, needed == RECTO_VM_WRITE)) {
        return RESOLVED;
    }
    if (needed == RECTO_VM_WRITE && (state & VM_PAGE_DIRTY) == 0) {
        vm_before_write(range, page, 1);
    }
    struct vm_change change = {.range = range,
                               .at = page,
                               .end = page + 1,
                               .kind = VM_FAULT,
                               .right = needed};
    int code = vm_change_make(&change);
    if (code != 0) {
        return code == RECTO_ENOENT ? REFUSED : FAILED;
    }
    vm_count(change.tracked ? VM_TRACKED : VM_REPEATED);
    if (change.tracked && start != 0) {
        trace(fault, start);
    }
    return RESOLVED;
}

/* ---- 2. traps ------------------------------------------------------------ */

static bool ask_trap(struct recto_vm_trap *trap,
                     const struct recto_vm_fault *fault)
{
    switch (trap->handler(fault, trap->argument)) {
    case RECTO_VM_CONTINUE: return true;
    case RECTO_VM_FALLBACK:
        RECTO_ASSERT(trap->fallback != NULL);
        if (trap->fallback == NULL) {
            return false;
        }
        trap->fallback(fault, trap->argument);
        return true;
    case RECTO_VM_SEARCH: break;
    }
    return false;
}

static void count_fault(const struct recto_vm_fault *fault)
{
    vm_count(VM_FAULTS);
    if (fault->access == RECTO_VM_ACCESS_READ) {
        vm_count(VM_READ_FAULTS);
    } else if (fault->access == RECTO_VM_ACCESS_WRITE) {
        vm_count(VM_WRITE_FAULTS);
    }
}

static bool ask_traps(const struct recto_vm_fault *fault, bool counted)
{
    uint64_t serial = UINT64_MAX;
    bool done = false;
    while (!done) {
        struct recto_vm_trap *trap =
            vm_trap_pin((uintptr_t)fault->address, &serial);
        if (trap == NULL) {
            break;
        }
        if (!counted) {
            count_fault(fault);
            counted = true;
        }
        done = ask_trap(trap, fault);
        vm_trap_unpin(trap);
    }
    return done;
}

/* ---- the handler --------------------------------------------------------- */

/* Whether it is a fault of protection. Userfaultfd reports as SIGBUS, as the kernel
 * does where there is no memory; the back end finds that out. */
static bool protection(const struct recto_vm_range *range,
                       const siginfo_t *info)
{
    return info->si_signo == SIGSEGV
               ? info->si_code == SEGV_ACCERR
               : info->si_code == BUS_ADRERR && !range->backend->splits;
}

static bool refused(const struct recto_vm_range *range, uintptr_t address,
                    enum recto_vm_access access)
{
    unsigned state =
        vm_page_state(range, (address - range->base) >> range->page_shift);
    return vm_page_intent(state) < right_needed(access, state);
}

/* The process is to die of SIGSEGV, not of its back end's signal. */
static void expose(uintptr_t address)
{
    struct recto_vm_range *range = vm_range_pin(address);
    if (range != NULL) {
        if (vm_range_alive(range) && range->backend->expose != NULL) {
            range->backend->expose(range, (address - range->base) >>
                                              range->page_shift);
        }
        vm_range_unpin(range);
    }
}

static bool handle(int signal, siginfo_t *info, void *context)
{
    struct recto_vm_fault fault = {.address = info->si_addr,
                                   .signal = signal,
                                   .code = info->si_code,
                                   .context = context};
    describe_access(&fault);
    uintptr_t address = (uintptr_t)info->si_addr;
    struct recto_vm_range *range = vm_range_pin(address);
    if (range != NULL) {
        bool alive = vm_range_alive(range);
        bool done = false;
        if (alive) {
            count_fault(&fault);
            enum outcome outcome =
                protection(range, info) ? resolve(range, &fault) : FAILED;
            done = outcome == RESOLVED;
            if (outcome == REFUSED && signal == SIGBUS) {
                if (refused(range, address, fault.access)) {
                    /* a fault of protection is a SIGSEGV to everybody */
                    info->si_signo = fault.signal = SIGSEGV;
                    info->si_code = fault.code = SEGV_ACCERR;
                } else {
                    done = true; /* it was granted meanwhile: try again */
                }
            }
        }
        vm_range_unpin(range);
        if (done || !alive) {
            return done;
        }
    }
    return ask_traps(&fault, range != NULL);
}

void vm_dispatch(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    /* Only faults carry an address; SI_KERNEL ones (a non-canonical address)
     * do not either. */
    bool fault = info->si_code > 0 && info->si_code != SI_KERNEL;
    if (!fault || !handle(signal, info, context)) {
        vm_count(VM_FOREIGN);
        if (!vm_owner_call(info->si_signo, info, context) &&
            info->si_signo != signal) {
            expose((uintptr_t)info->si_addr);
        }
    }
    errno = saved_errno;
}
