/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who owns SIGSEGV and SIGBUS.
 *
 * While vm is initialised the kernel calls the dispatcher for both, and the
 * handler that the program (or MPI, or a sanitizer) believes to be installed is
 * kept here as the *owner*, asked after all traps. sigaction and signal are
 * interposed to read and write the owner; sigprocmask and pthread_sigmask to
 * leave both signals deliverable, since a thread that blocks them dies at its
 * first fault. All four behave as the C library's otherwise, and in full while
 * vm is not initialised.
 *
 * Invariants
 * 1. `active` is set exactly while the dispatcher is installed.
 * 2. `owners` is read and written under `lock` only, a spin lock held for a few
 *    copies (at installation: for one system call a signal) with all signals
 *    blocked. No holder can fault or be interrupted, so spinning is safe in
 *    the handler. It is taken after everything else.
 * 3. The dispatcher is never its own owner.
 * 4. `next` is complete before the dispatcher is installed, so the handler
 *    never calls dlsym.
 *
 * Not seen: masks set by sigsuspend, ppoll, pselect, epoll_pwait, by
 * pthread_attr_setsigmask_np, by bare system calls, and the sa_mask of handlers
 * installed before vm.
 */
#include "vm.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default")))

typedef int (*sigaction_call)(int, const struct sigaction *,
                              struct sigaction *);
typedef int (*sigmask_call)(int, const sigset_t *, sigset_t *);
typedef void (*handler_call)(int);
typedef handler_call (*signal_call)(int, handler_call);

static struct {
    sigaction_call sigaction;
    signal_call signal;
    sigmask_call sigprocmask;
    sigmask_call pthread_sigmask;
} next;

static atomic_bool active;
static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct sigaction owners[2]; /* SIGSEGV, SIGBUS */

static bool ours(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS;
}

static struct sigaction *owner_of(int signal)
{
    return &owners[signal == SIGBUS];
}

static void owners_lock(uint64_t *mask)
{
    unsigned tries = 0;
    vm_signals_block(mask);
    /* acquire: pairs with owners_unlock() */
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
        vm_pause(&tries);
    }
}

static void owners_unlock(const uint64_t *mask)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
    vm_signals_restore(mask);
}

/* ---- the calls behind ours ----------------------------------------------- */

static void find(const char *name, void *call)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(call, &symbol, sizeof symbol);
}

/* Also called by an interposed call that comes before the constructor; finding
 * them twice at once stores the same values. */
__attribute__((constructor)) static void find_all(void)
{
    if (next.pthread_sigmask == NULL) {
        find("sigaction", (void *)&next.sigaction);
        find("signal", (void *)&next.signal);
        find("sigprocmask", (void *)&next.sigprocmask);
        find("pthread_sigmask", (void *)&next.pthread_sigmask);
    }
}

static bool is_dispatcher(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 &&
           action->sa_sigaction == vm_dispatch;
}

static sigset_t without_ours(const sigset_t *set)
{
    sigset_t copy = *set;
    sigdelset(&copy, SIGSEGV);
    sigdelset(&copy, SIGBUS);
    return copy;
}

/* ---- installation -------------------------------------------------------- */

static int install_one(int signal)
{
    struct sigaction action = {.sa_sigaction = vm_dispatch,
                               .sa_flags =
                                   SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction before;
    /* Faults of the handlers themselves stay deliverable. */
    static const int open[] = {SIGSEGV, SIGBUS,  SIGILL,
                               SIGFPE,  SIGTRAP, SIGABRT};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        sigdelset(&action.sa_mask, open[i]);
    }
    if (next.sigaction(signal, NULL, &before) != 0) {
        return errno;
    }
    if (is_dispatcher(&before)) {
        return 0;
    }
    *owner_of(signal) = before;
    return next.sigaction(signal, &action, NULL) == 0 ? 0 : errno;
}

int vm_owner_install(void)
{
    uint64_t mask = 0;
    find_all();
    owners_lock(&mask);
    int error = install_one(SIGSEGV);
    error = error == 0 ? install_one(SIGBUS) : error;
    /* release: pairs with the loads in the interposed calls */
    atomic_store_explicit(&active, error == 0, memory_order_release);
    owners_unlock(&mask);
    if (error != 0) {
        return base_error(
            RECTO_EUNSUPPORTED,
            "cannot install the fault handler: error %d; report it", error);
    }
    vm_owner_unblock();
    return 0;
}

void vm_owner_restore(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS};
    uint64_t mask = 0;
    owners_lock(&mask);
    atomic_store_explicit(&active, false, memory_order_release);
    for (int i = 0; i < 2; i++) {
        struct sigaction now;
        if (next.sigaction(signals[i], NULL, &now) == 0 &&
            is_dispatcher(&now)) {
            (void)next.sigaction(signals[i], owner_of(signals[i]), NULL);
        }
    }
    owners_unlock(&mask);
}

void vm_owner_unblock(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigaddset(&set, SIGBUS);
    find_all();
    (void)next.pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void vm_owner_fork_child(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* ---- passing a fault on -------------------------------------------------- */

static void default_action(int signal, siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)next.sigaction(signal, &action, NULL);
    if (info->si_code <= 0) {
        /* Sent by a process, not by an instruction that would fault again:
         * sent on with all it carried. */
        (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid),
                      signal, info);
    }
}

bool vm_owner_call(int signal, siginfo_t *info, void *context)
{
    uint64_t mask = 0;
    owners_lock(&mask);
    struct sigaction owner = *owner_of(signal);
    if ((owner.sa_flags & (int)SA_RESETHAND) != 0) {
        *owner_of(signal) = (struct sigaction){.sa_handler = SIG_DFL};
    }
    owners_unlock(&mask);

    if (owner.sa_handler == SIG_IGN && info->si_code <= 0) {
        return true;
    }
    if (owner.sa_handler == SIG_DFL || owner.sa_handler == SIG_IGN) {
        /* The instruction faults again, at its own address. */
        default_action(signal, info);
        return false;
    }
    sigset_t before;
    if ((owner.sa_flags & SA_NODEFER) == 0) {
        /* A fault inside the owner's handler ends the process, as it would
         * without us; otherwise it would call itself without end. */
        sigaddset(&owner.sa_mask, signal);
    }
    (void)next.pthread_sigmask(SIG_BLOCK, &owner.sa_mask, &before);
    if ((owner.sa_flags & SA_SIGINFO) != 0) {
        owner.sa_sigaction(signal, info, context);
    } else {
        owner.sa_handler(signal);
    }
    (void)next.pthread_sigmask(SIG_SETMASK, &before, NULL);
    return true;
}

/* ---- the interposed calls ------------------------------------------------ */

/* Reads and replaces the owner; false when vm is not (any longer) active. */
static bool owner_exchange(int signal, const struct sigaction *action,
                           struct sigaction *before)
{
    uint64_t mask = 0;
    owners_lock(&mask);
    bool done = atomic_load_explicit(&active, memory_order_relaxed);
    if (done) {
        *before = *owner_of(signal);
        if (action != NULL && !is_dispatcher(action)) {
            *owner_of(signal) = *action;
        }
    }
    owners_unlock(&mask);
    return done;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C
 * library's headers use reserved names */

INTERPOSED int sigaction(int signal, const struct sigaction *restrict action,
                         struct sigaction *restrict old)
{
    find_all();
    /* acquire: pairs with vm_owner_install() */
    if (!atomic_load_explicit(&active, memory_order_acquire)) {
        return next.sigaction(signal, action, old);
    }
    struct sigaction copy;
    if (action != NULL) {
        copy = *action;
    }
    if (ours(signal)) {
        struct sigaction before;
        if (owner_exchange(signal, action != NULL ? &copy : NULL, &before)) {
            if (old != NULL) {
                *old = before;
            }
            return 0;
        }
    } else if (action != NULL) {
        copy.sa_mask = without_ours(&copy.sa_mask);
    }
    return next.sigaction(signal, action != NULL ? &copy : NULL, old);
}

INTERPOSED handler_call signal(int signal, handler_call handler)
{
    find_all();
    if (!ours(signal) || !atomic_load_explicit(&active, memory_order_acquire)) {
        return next.signal(signal, handler);
    }
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigaction old;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, signal);
    if (sigaction(signal, &action, &old) != 0) {
        return SIG_ERR;
    }
    return old.sa_handler;
}

static int set_mask(sigmask_call call, int how, const sigset_t *set,
                    sigset_t *old)
{
    if (set == NULL || how == SIG_UNBLOCK ||
        !atomic_load_explicit(&active, memory_order_acquire)) {
        return call(how, set, old);
    }
    sigset_t copy = without_ours(set);
    return call(how, &copy, old);
}

INTERPOSED int sigprocmask(int how, const sigset_t *restrict set,
                           sigset_t *restrict old)
{
    find_all();
    return set_mask(next.sigprocmask, how, set, old);
}

INTERPOSED int pthread_sigmask(int how, const sigset_t *restrict set,
                               sigset_t *restrict old)
{
    find_all();
    return set_mask(next.pthread_sigmask, how, set, old);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
