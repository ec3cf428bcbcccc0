/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life cycle of the ground floor, its numbers, alternate stacks, fork.
 *
 * Invariants
 * 1. `life` protects `users` and the choice of back end and tracker, which are
 *    fixed from the first init to the last finalize. Taken before all locks.
 * 2. Counters are spread over stripes, each on cache lines of its own; they are
 *    only ever added to, relaxed: numbers, not synchronisation.
 * 3. In a forked child everything that another thread might have held is free
 *    again and the parent's ranges are dead.
 */
#include "protect.h"
#include "scan.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/trace.h"

#ifndef AT_MINSIGSTKSZ
#    define AT_MINSIGSTKSZ 51
#endif

atomic_uint vm_generation;

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static atomic_bool initialised;

/* ---- small services ------------------------------------------------------ */

/* The kernel's set, one bit a signal; the C library's is larger. */
enum {
    KERNEL_SET_BYTES = 8
};

void vm_signals_block(uint64_t *saved)
{
    uint64_t all = UINT64_MAX;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, saved,
                  KERNEL_SET_BYTES);
}

void vm_signals_restore(const uint64_t *saved)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL,
                  KERNEL_SET_BYTES);
}

void vm_pause(unsigned *tries)
{
    enum {
        SPINS = 64,
        YIELDS = 32
    };
    unsigned n = (*tries)++;
    if (n < SPINS) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    } else if (n < SPINS + YIELDS) {
        (void)sched_yield();
    } else {
        /* Yielding alone never lets a thread of lower priority run. */
        int saved_errno = errno;
        struct timespec time = {.tv_nsec = 50000};
        (void)nanosleep(&time, NULL);
        errno = saved_errno;
    }
}

bool vm_initialised(void)
{
    return atomic_load_explicit(&initialised, memory_order_acquire);
}

/* ---- numbers ------------------------------------------------------------- */

static struct {
    _Alignas(64) _Atomic uint64_t value[VM_COUNTERS];
} counters[VM_STRIPES];

/* Its address differs from thread to thread. Initial-exec, so that reading the
 * address in a handler never allocates. */
static _Thread_local char anchor __attribute__((tls_model("initial-exec")));

unsigned vm_stripe(void)
{
    uint64_t mixed =
        (uint64_t)(uintptr_t)&anchor * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(mixed >> 60) % VM_STRIPES;
}

void vm_count(enum vm_counter counter)
{
    atomic_fetch_add_explicit(&counters[vm_stripe()].value[counter], 1,
                              memory_order_relaxed);
}

static uint64_t total(enum vm_counter counter)
{
    uint64_t sum = 0;
    for (int i = 0; i < VM_STRIPES; i++) {
        sum += atomic_load_explicit(&counters[i].value[counter],
                                    memory_order_relaxed);
    }
    return sum;
}

void recto_vm_stats(struct recto_vm_counters *totals)
{
    *totals = (struct recto_vm_counters){
        .faults = total(VM_FAULTS),
        .read_faults = total(VM_READ_FAULTS),
        .write_faults = total(VM_WRITE_FAULTS),
        .tracked = total(VM_TRACKED),
        .repeated = total(VM_REPEATED),
        .foreign = total(VM_FOREIGN),
        .protect_calls = total(VM_PROTECT_CALLS),
        .coarsened = total(VM_COARSENED),
        .scans = total(VM_SCANS),
        .hashed = total(VM_HASHED),
        .opened = total(VM_OPENED),
        .mappings = vm_mappings(),
    };
}

/* ---- choice of back end and tracker -------------------------------------- */

static const struct vm_backend *const backends[] = {&vm_backend_pte,
                                                    &vm_backend_mprotect};
/* The best first; `auto` takes no other than the first two. */
static const struct vm_tracker *const trackers[] = {
    &vm_tracker_scan, &vm_tracker_fault, &vm_tracker_hash};

static int choose_backend(void)
{
    const char *wish = base_env(BASE_ENV_VM);
    bool any = strcmp(wish, "auto") == 0;
    int code = base_env_good(BASE_ENV_VM);
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (any || strcmp(wish, backends[i]->name) == 0) {
            code = backends[i]->probe();
            if (code == 0) {
                vm_backend = backends[i];
                return 0;
            }
        }
    }
    return code;
}

static int choose_tracker(void)
{
    const char *wish = base_env(BASE_ENV_DIRTY);
    bool any = strcmp(wish, "auto") == 0;
    int code = base_env_good(BASE_ENV_DIRTY);
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < sizeof trackers / sizeof trackers[0]; i++) {
        if (any || strcmp(wish, trackers[i]->name) == 0) {
            code = trackers[i]->probe();
            if (code == 0) {
                vm_tracker = trackers[i];
                return 0;
            }
        }
    }
    return code;
}

const char *recto_vm_backend(void)
{
    return vm_backend->name;
}

const char *recto_vm_dirty_method(void)
{
    return vm_tracker->name;
}

/* ---- fork ---------------------------------------------------------------- */

static void fork_prepare(void)
{
    pthread_mutex_lock(&life);
    vm_scan_fork_prepare();
    vm_registry_fork_prepare();
}

static void fork_parent(void)
{
    vm_registry_fork_parent();
    vm_scan_fork_parent();
    pthread_mutex_unlock(&life);
}

static void fork_child(void)
{
    atomic_fetch_add(&vm_generation, 1);
    base_trace_use(NULL); /* the parent's memory */
    vm_mappings_fork_child();
    if (vm_backend->fork_child != NULL) {
        vm_backend->fork_child();
    }
    vm_owner_fork_child();
    vm_registry_fork_child();
    vm_scan_fork_child();
    pthread_mutex_unlock(&life);
}

/* ---- alternate stacks ---------------------------------------------------- */

static pthread_key_t stack_key;

static size_t stack_bytes(void)
{
    /* Room for several nested faults: each takes one frame of the kernel. */
    enum {
        LEAST = 65536,
        NESTED = 8
    };
    size_t page = recto_vm_page_size();
    size_t bytes = NESTED * (size_t)getauxval(AT_MINSIGSTKSZ);
    bytes = bytes > LEAST ? bytes : LEAST;
    return (bytes + page - 1) / page * page;
}

static void stack_free(void *stack)
{
    size_t page = recto_vm_page_size();
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)stack + page) {
        stack_t none = {.ss_flags = SS_DISABLE};
        (void)sigaltstack(&none, NULL);
    }
    (void)munmap(stack, stack_bytes() + page);
}

int recto_vm_thread_init(void)
{
    if (!vm_initialised()) {
        return base_error(
            RECTO_ESTATE,
            "recto_vm_thread_init before recto_vm_init; call that first");
    }
    vm_owner_unblock();
    stack_t now;
    if (sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) {
        return 0; /* it has one */
    }
    size_t page = recto_vm_page_size();
    size_t bytes = stack_bytes() + page;
    void *stack = NULL;
    int code = recto_vm_table_create(bytes, &stack);
    if (code != 0) {
        return code;
    }
    /* The lowest page is a guard. */
    stack_t wish = {.ss_sp = (char *)stack + page, .ss_size = bytes - page};
    if (mprotect(stack, page, PROT_NONE) != 0 ||
        pthread_setspecific(stack_key, stack) != 0 ||
        sigaltstack(&wish, NULL) != 0) {
        (void)pthread_setspecific(stack_key, NULL);
        (void)munmap(stack, bytes);
        return base_error(RECTO_ENOMEM, "no alternate signal stack");
    }
    return 0;
}

/* ---- life cycle ---------------------------------------------------------- */

static int once(void)
{
    static bool done;
    if (!done) {
        if (pthread_key_create(&stack_key, stack_free) != 0 ||
            pthread_atfork(fork_prepare, fork_parent, fork_child) != 0) {
            return base_error(RECTO_ENOMEM, "recto_vm_init: out of memory");
        }
        done = true;
    }
    return 0;
}

int recto_vm_init(void)
{
    pthread_mutex_lock(&life);
    int code = 0;
    bool first = users == 0;
    if (first) {
        code = once();
        code = code == 0 ? choose_backend() : code;
        code = code == 0 ? choose_tracker() : code;
        code = code == 0 ? vm_mappings_init() : code;
    }
    code = code == 0 ? vm_owner_install() : code;
    if (code != 0 && first) {
        vm_backend->finish();
        vm_scan_finish();
    }
    if (code == 0) {
        users++;
        atomic_store_explicit(&initialised, true, memory_order_release);
    }
    pthread_mutex_unlock(&life);
    return code;
}

int recto_vm_finalize(void)
{
    pthread_mutex_lock(&life);
    int code = 0;
    if (users == 0) {
        code =
            base_error(RECTO_ESTATE, "recto_vm_finalize without recto_vm_init");
    } else if (--users == 0) {
        atomic_store_explicit(&initialised, false, memory_order_release);
        vm_owner_restore();
        if (vm_registry_count_ranges() == 0) {
            vm_backend->finish();
            if (!vm_scan_watches()) {
                vm_scan_finish();
            }
        }
    }
    pthread_mutex_unlock(&life);
    return code;
}
