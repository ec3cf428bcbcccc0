/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that runs out after the allocation.
 *
 * The kernel says so in one of two ways. Where it refuses a page (strict overcommit;
 * memory that is lost) the access ends in SIGBUS, or a call of the protection back
 * end fails: the trap below, which is asked last, tells rank, host, node, array,
 * address and limits on stderr, once, and the signal goes its usual way. Where a
 * cgroup's limit is passed or the machine is exhausted, it kills by SIGKILL, which
 * nobody can catch: so one thread per domain watches what is left, and warns when
 * that is little and arrays have more to be touched.
 *
 * Invariants
 * 1. The trap is the oldest: whoever knows how to resolve a fault does so first.
 *    It covers all addresses, as a page is filled through versos as well.
 * 2. The watcher reads the list of segments under `watching.lock`, which is held
 *    while the list changes. It takes no other lock.
 * 3. It sleeps as long as filling what is left takes at TOUCH_RATE, so it costs
 *    nothing while there is plenty; it tells once and ends.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "base/base.h"
#include "space/limits.h"
#include "space/table.h"

#define TOUCH_RATE UINT64_C(64) /* bytes per ns: no machine is faster */
#define LOWEST     ((void *)(uintptr_t)0x1000)
#define ADDRESSES  ((size_t)1 << 47)

enum {
    LITTLE = 32,         /* a 32nd of the limit is left */
    NS_LEAST = 1000000,  /* between two looks */
    NS_MOST = 2000000000 /* others may take memory, too */
};

static recto_vm_trap *trap;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* to stop */
    pthread_t thread;
    bool runs;
    bool stop; /* under lock */
} watching = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- telling --------------------------------------------------------------------- */

/* The segment one of whose views holds an address; async-signal-safe. */
static struct space_segment *segment_around(const void *p, uint64_t *page)
{
    struct space_segment *s = space_segment_at(p);
    uintptr_t base = s != NULL ? (uintptr_t)s->recto : 0;
    for (uint32_t i = 0; s == NULL && i < space_table_slots(); i++) {
        struct space_segment *t = space_table_slot(i);
        for (int d = 0; t != NULL && s == NULL && d < net_domains(); d++) {
            base = (uintptr_t)t->versos[d];
            if (base != 0 && (uintptr_t)p - base < space_verso_bytes(t)) {
                s = t;
            }
        }
    }
    *page = ((uintptr_t)p - base) / SPACE_PAGE;
    return s;
}

void space_shortage(const void *address, bool broken)
{
    static atomic_bool told;
    uint64_t page = 0;
    struct space_room room;
    const struct space_segment *s = segment_around(address, &page);
    if (s == NULL || atomic_exchange(&told, true)) {
        return;
    }
    space_room(&room);
    if (broken) {
        base_report("node %d: the machine's memory behind \"%s\", page %lu "
                    "(%p), has failed (SIGBUS); take that node out of the job",
                    net_domain(), s->name, (unsigned long)page, address);
        return;
    }
    base_report(
        "node %d: the kernel has no memory for \"%s\", %s %lu (%p): %lu bytes "
        "are left of %lu (%s)%s; use fewer bytes per node or more nodes; "
        "%s=reserve tells this at the allocation (SIGBUS)",
        net_domain(), s->name, page < s->pages ? "page" : "tables, page",
        (unsigned long)page, address, (unsigned long)room.bytes,
        (unsigned long)room.limit, room.name,
        space_overcommit_strict() ? ", and vm.overcommit_memory is 2" : "",
        base_env_name(BASE_ENV_COMMIT));
}

static enum recto_vm_verdict fault(const struct recto_vm_fault *f, void *unused)
{
    (void)unused;
    if (f->signal == SIGBUS) {
        space_shortage(f->address, f->code == BUS_MCEERR_AR);
    }
    return RECTO_VM_SEARCH;
}

/* ---- watching ---------------------------------------------------------------------- */

static uint64_t untouched(const struct space_segment *s)
{
    uint64_t touched = space_touched(s);
    return s->homed > touched ? s->homed - touched : 0;
}

/* What is left to be touched, and the segment that has the most of it. */
static uint64_t demand(const struct space_segment **largest)
{
    uint64_t sum = 0;
    uint64_t most = 0;
    for (const struct space_segment *s = space_segment_first(); s != NULL;
         s = s->next) {
        uint64_t n = untouched(s);
        sum += n;
        if (n > most) {
            most = n;
            *largest = s;
        }
    }
    return sum;
}

/* True when there was something to tell. */
static bool look(uint64_t *left)
{
    struct space_room room;
    const struct space_segment *largest = NULL;
    space_room(&room);
    *left = room.bytes;
    if (room.bytes >= room.limit / LITTLE) {
        return false;
    }
    uint64_t more = demand(&largest);
    if (largest == NULL || more <= room.bytes) {
        return false;
    }
    base_warn("node %d: memory runs out: %lu bytes are left of %lu (%s), and "
              "%lu that are homed here have not been touched, most of them of "
              "\"%s\". The kernel kills (signal 9) who touches more than is "
              "left; use fewer bytes per node or more nodes; %s=reserve tells "
              "this at the allocation",
              net_domain(), (unsigned long)room.bytes,
              (unsigned long)room.limit, room.name, (unsigned long)more,
              largest->name, base_env_name(BASE_ENV_COMMIT));
    return true;
}

static struct timespec later(uint64_t ns)
{
    struct timespec t;
    ns = ns < NS_LEAST ? NS_LEAST : ns > NS_MOST ? NS_MOST : ns;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

static void *watch(void *unused)
{
    uint64_t left = 0;
    (void)pthread_mutex_lock(&watching.lock);
    while (!watching.stop && !look(&left)) {
        struct timespec until = later(left / TOUCH_RATE);
        (void)pthread_cond_timedwait(&watching.wake, &watching.lock, &until);
    }
    (void)pthread_mutex_unlock(&watching.lock);
    return unused;
}

/* A job can do without it. */
static void watch_start(void)
{
    sigset_t all;
    sigset_t before;
    pthread_condattr_t attr;
    sigfillset(&all);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watching.wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    watching.stop = false;
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    watching.runs = pthread_create(&watching.thread, NULL, watch, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void space_shortage_lock(void)
{
    (void)pthread_mutex_lock(&watching.lock);
}

void space_shortage_unlock(void)
{
    (void)pthread_mutex_unlock(&watching.lock);
}

int space_shortage_start(void)
{
    if (net_domain_leader(net_domain()) == net_rank()) {
        watch_start();
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): all addresses, not an object */
    return recto_vm_trap_add(LOWEST, ADDRESSES, fault, NULL, NULL, &trap);
}

void space_shortage_stop(void)
{
    if (watching.runs) {
        space_shortage_lock();
        watching.stop = true;
        (void)pthread_cond_signal(&watching.wake);
        space_shortage_unlock();
        (void)pthread_join(watching.thread, NULL);
        (void)pthread_cond_destroy(&watching.wake);
        watching.runs = false;
    }
    recto_vm_trap_remove(trap);
    trap = NULL;
}
