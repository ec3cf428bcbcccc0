/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which range and which traps an address has; TRAP.
 *
 * Readers, the signal handler among them, take no lock: they search arrays that
 * never change once published. Writers are ordinary code.
 *
 *   writer: copy the array into the spare with the change -> publish ->
 *           wait for readers of the old -> the old becomes the spare
 *   reader: enter -> load the array -> search -> pin what was found -> leave
 *
 * Invariants
 * 1. A published array is never written. Ranges are ordered by address and do
 *    not overlap; traps from the newest to the oldest.
 * 2. A reader's section covers the search alone: no handler runs in it and it
 *    never faults. So it is short, and a writer may wait for it.
 * 3. What outlives a section is held by a count of its own (`pins`, `running`),
 *    raised inside the section. After the wait nobody can raise it any more.
 * 4. `writer` protects both registries' spare and capacity; taken after the
 *    life cycle's mutex in vm.c, held with asynchronous signals blocked.
 *    Nothing else is locked inside.
 * 5. A removal never fails: the spare is as large as the published array.
 */
#include "protect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uintptr_t low;
    uintptr_t high; /* one past the last byte */
    uint64_t serial;
    void *object;
};

struct array {
    size_t capacity;
    size_t count;
    struct entry entries[];
};

struct registry {
    _Atomic(struct array *) current; /* NULL until the first addition */
    struct array *spare;
};

static struct registry ranges;
static struct registry traps;
static pthread_mutex_t writer = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_serial; /* under writer */
static _Atomic size_t range_count;

/* ---- readers ------------------------------------------------------------- */

/*
 * Readers count themselves in the phase they found. A writer drains both
 * phases, turning new readers to the other one meanwhile, so that they cannot
 * keep it waiting. Why it is safe: a reader that got the old array had counted
 * itself before the new one was published (both sequentially consistent), so
 * its counter is above zero until it leaves, whichever phase it was in.
 */
static struct {
    _Alignas(64) atomic_int inside[2];
} readers[VM_STRIPES];
static atomic_uint phase;

static atomic_int *reader_enter(void)
{
    unsigned now = atomic_load_explicit(&phase, memory_order_relaxed) & 1;
    atomic_int *inside = &readers[vm_stripe()].inside[now];
    atomic_fetch_add_explicit(inside, 1, memory_order_seq_cst);
    return inside;
}

static void reader_leave(atomic_int *inside)
{
    /* release: pairs with drain() */
    atomic_fetch_sub_explicit(inside, 1, memory_order_release);
}

static const struct array *array_load(struct registry *registry)
{
    /* seq_cst: pairs with publish() */
    return atomic_load_explicit(&registry->current, memory_order_seq_cst);
}

static void drain(void)
{
    for (int turn = 0; turn < 2; turn++) {
        unsigned old = atomic_fetch_xor(&phase, 1) & 1;
        for (int i = 0; i < VM_STRIPES; i++) {
            unsigned tries = 0;
            /* seq_cst: pairs with reader_enter() and reader_leave() */
            while (atomic_load(&readers[i].inside[old]) > 0) {
                vm_pause(&tries);
            }
        }
    }
}

/* The first entry whose end lies above the address; count if none. */
static size_t search(const struct array *array, uintptr_t address)
{
    size_t low = 0;
    size_t high = array != NULL ? array->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (array->entries[middle].high > address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct recto_vm_range *vm_range_pin(uintptr_t address)
{
    struct recto_vm_range *found = NULL;
    atomic_int *inside = reader_enter();
    const struct array *array = array_load(&ranges);
    size_t i = search(array, address);
    if (array != NULL && i < array->count && array->entries[i].low <= address) {
        found = array->entries[i].object;
        atomic_fetch_add_explicit(&found->pins, 1, memory_order_relaxed);
    }
    reader_leave(inside);
    return found;
}

struct recto_vm_range *vm_range_pin_largest(void)
{
    struct recto_vm_range *found = NULL;
    uint64_t most = 1;
    atomic_int *inside = reader_enter();
    const struct array *array = array_load(&ranges);
    for (size_t i = 0; array != NULL && i < array->count; i++) {
        struct recto_vm_range *range = array->entries[i].object;
        uint64_t own =
            atomic_load_explicit(&range->mappings, memory_order_relaxed);
        if (own > most && range->backend->splits && vm_range_alive(range)) {
            most = own;
            found = range;
        }
    }
    if (found != NULL) {
        atomic_fetch_add_explicit(&found->pins, 1, memory_order_relaxed);
    }
    reader_leave(inside);
    return found;
}

void vm_range_unpin(struct recto_vm_range *range)
{
    /* release: pairs with wait_zero() */
    atomic_fetch_sub_explicit(&range->pins, 1, memory_order_release);
}

bool vm_range_overlaps(uintptr_t low, uintptr_t high)
{
    atomic_int *inside = reader_enter();
    const struct array *array = array_load(&ranges);
    size_t i = search(array, low);
    bool found = false;
    for (; array != NULL && i < array->count && array->entries[i].low < high;
         i++) {
        found = found || vm_range_alive(array->entries[i].object);
    }
    reader_leave(inside);
    return found;
}

struct recto_vm_trap *vm_trap_pin(uintptr_t address, uint64_t *serial)
{
    struct recto_vm_trap *found = NULL;
    atomic_int *inside = reader_enter();
    const struct array *array = array_load(&traps);
    for (size_t i = 0; array != NULL && i < array->count; i++) {
        const struct entry *e = &array->entries[i];
        if (e->low <= address && address < e->high && e->serial < *serial) {
            found = e->object;
            *serial = e->serial;
            atomic_fetch_add_explicit(&found->running, 1, memory_order_relaxed);
            break;
        }
    }
    reader_leave(inside);
    return found;
}

void vm_trap_unpin(struct recto_vm_trap *trap)
{
    /* release: pairs with wait_zero() */
    atomic_fetch_sub_explicit(&trap->running, 1, memory_order_release);
}

size_t vm_registry_count_ranges(void)
{
    return atomic_load_explicit(&range_count, memory_order_relaxed);
}

/* ---- writers ------------------------------------------------------------- */

static void writer_lock(sigset_t *saved)
{
    sigset_t set;
    sigfillset(&set);
    /* The faults stay deliverable: malloc's memory may be a client's range. */
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &set, saved);
    pthread_mutex_lock(&writer);
}

static void writer_unlock(const sigset_t *saved)
{
    pthread_mutex_unlock(&writer);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* Makes `next` the array that readers see; what they saw is free afterwards. */
static void publish(struct registry *registry, struct array *next)
{
    struct array *old = atomic_exchange(&registry->current, next);
    drain();
    registry->spare = old;
}

/* Makes the spare large enough for one entry more than there are. */
static bool reserve(struct registry *registry)
{
    struct array *now = atomic_load(&registry->current);
    size_t capacity = now != NULL ? now->capacity : 0;
    if (now != NULL && registry->spare != NULL && now->count < capacity) {
        return true;
    }
    capacity = capacity == 0 ? 16 : 2 * capacity;
    size_t bytes = sizeof *now + capacity * sizeof now->entries[0];
    struct array *first = calloc(1, bytes);
    struct array *second = calloc(1, bytes);
    if (first == NULL || second == NULL) {
        free(first);
        free(second);
        return false;
    }
    first->capacity = second->capacity = capacity;
    if (now != NULL) {
        first->count = now->count;
        memcpy(first->entries, now->entries,
               now->count * sizeof now->entries[0]);
    }
    free(registry->spare);
    publish(registry, first);
    free(registry->spare); /* the old array */
    registry->spare = second;
    return true;
}

static void insert(struct registry *registry, size_t at,
                   const struct entry *entry)
{
    const struct array *now = atomic_load(&registry->current);
    struct array *next = registry->spare;
    memcpy(next->entries, now->entries, at * sizeof *entry);
    next->entries[at] = *entry;
    memcpy(next->entries + at + 1, now->entries + at,
           (now->count - at) * sizeof *entry);
    next->count = now->count + 1;
    publish(registry, next);
}

static void withdraw(struct registry *registry, const void *object)
{
    const struct array *now = atomic_load(&registry->current);
    struct array *next = registry->spare;
    size_t kept = 0;
    for (size_t i = 0; now != NULL && i < now->count; i++) {
        if (now->entries[i].object != object) {
            next->entries[kept++] = now->entries[i];
        }
    }
    if (next != NULL) {
        next->count = kept;
        publish(registry, next);
    }
}

static void wait_zero(atomic_int *count)
{
    unsigned tries = 0;
    /* acquire: pairs with vm_range_unpin() and vm_trap_unpin() */
    while (atomic_load_explicit(count, memory_order_acquire) > 0) {
        vm_pause(&tries);
    }
}

/* Takes dead ranges out of the way of a new one (only after a fork). */
static void withdraw_dead(uintptr_t low, uintptr_t high)
{
    const struct array *now = atomic_load(&ranges.current);
    for (size_t i = search(now, low);
         now != NULL && i < now->count && now->entries[i].low < high;) {
        if (vm_range_alive(now->entries[i].object)) {
            i++;
        } else {
            withdraw(&ranges, now->entries[i].object);
            now = atomic_load(&ranges.current);
        }
    }
}

int vm_registry_add_range(struct recto_vm_range *range)
{
    struct entry entry = {
        .low = range->base,
        .high = range->base + (uintptr_t)(range->pages << range->page_shift),
        .object = range};
    int code = 0;
    sigset_t saved;
    writer_lock(&saved);
    withdraw_dead(entry.low, entry.high);
    if (vm_range_overlaps(entry.low, entry.high)) {
        code = RECTO_EINVAL;
    } else if (!reserve(&ranges)) {
        code = RECTO_ENOMEM;
    } else {
        insert(&ranges, search(atomic_load(&ranges.current), entry.low),
               &entry);
        atomic_fetch_add_explicit(&range_count, 1, memory_order_relaxed);
    }
    writer_unlock(&saved);
    return base_error(code,
                      code == RECTO_EINVAL
                          ? "range at %#llx: overlaps another range"
                          : "range at %#llx: out of memory",
                      (unsigned long long)range->base);
}

void vm_registry_remove_range(struct recto_vm_range *range)
{
    sigset_t saved;
    writer_lock(&saved);
    withdraw(&ranges, range);
    if (vm_range_alive(range)) {
        atomic_fetch_sub_explicit(&range_count, 1, memory_order_relaxed);
    }
    writer_unlock(&saved);
    wait_zero(&range->pins);
}

void vm_registry_each_range(void (*visit)(struct recto_vm_range *, void *),
                            void *argument)
{
    sigset_t saved;
    writer_lock(&saved);
    const struct array *now = atomic_load(&ranges.current);
    for (size_t i = 0; now != NULL && i < now->count; i++) {
        if (vm_range_alive(now->entries[i].object)) {
            visit(now->entries[i].object, argument);
        }
    }
    writer_unlock(&saved);
}

/* ---- TRAP ---------------------------------------------------------------- */

int recto_vm_trap_add(void *base, size_t bytes, recto_vm_handler handler,
                      recto_vm_fallback fallback, void *argument,
                      recto_vm_trap **trap)
{
    uintptr_t low = (uintptr_t)base;
    if (bytes == 0 || bytes > UINTPTR_MAX - low || handler == NULL ||
        trap == NULL) {
        return base_error(RECTO_EINVAL, "recto_vm_trap_add: %zu bytes at %p",
                          bytes, base);
    }
    struct recto_vm_trap *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return base_error(RECTO_ENOMEM, "recto_vm_trap_add: out of memory");
    }
    made->low = low;
    made->high = low + bytes;
    made->handler = handler;
    made->fallback = fallback;
    made->argument = argument;
    struct entry entry = {.low = low, .high = low + bytes, .object = made};
    int code = 0;
    sigset_t saved;
    writer_lock(&saved);
    if (reserve(&traps)) {
        entry.serial = ++last_serial;
        *trap = made; /* before a fault can find it */
        insert(&traps, 0, &entry);
    } else {
        code = RECTO_ENOMEM;
    }
    writer_unlock(&saved);
    if (code != 0) {
        free(made);
    }
    return base_error(code, "recto_vm_trap_add: out of memory");
}

void recto_vm_trap_remove(recto_vm_trap *trap)
{
    if (trap == NULL) {
        return;
    }
    sigset_t saved;
    writer_lock(&saved);
    withdraw(&traps, trap);
    writer_unlock(&saved);
    wait_zero(&trap->running);
    free(trap);
}

/* ---- fork ---------------------------------------------------------------- */

void vm_registry_fork_prepare(void)
{
    pthread_mutex_lock(&writer);
}

void vm_registry_fork_parent(void)
{
    pthread_mutex_unlock(&writer);
}

/* The other threads, whatever they were counted in, are not here. */
void vm_registry_fork_child(void)
{
    for (int i = 0; i < VM_STRIPES; i++) {
        atomic_store(&readers[i].inside[0], 0);
        atomic_store(&readers[i].inside[1], 0);
    }
    const struct array *array = atomic_load(&ranges.current);
    for (size_t i = 0; array != NULL && i < array->count; i++) {
        struct recto_vm_range *range = array->entries[i].object;
        atomic_store(&range->pins, 0);
    }
    array = atomic_load(&traps.current);
    for (size_t i = 0; array != NULL && i < array->count; i++) {
        struct recto_vm_trap *trap = array->entries[i].object;
        atomic_store(&trap->running, 0);
    }
    atomic_store(&range_count, 0);
    pthread_mutex_unlock(&writer);
}
