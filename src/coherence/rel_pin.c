/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pins: pages to which this rank keeps its right, for those who cannot fault: the
 * kernel, a network, a library in the middle of its own locks.
 *
 * A page is faulted in by touching it, as the program would, and pinned under its
 * lock if the right is there still.
 *
 * Invariants
 * 1. A page with a pin has the right that it was pinned for; rel_flush.c and the
 *    cache's hands leave it.
 * 2. Touching for writing changes nothing, and undoes nobody's write: it is an
 *    atomic operation of the processor on memory that the domain shares.
 */
#include "base/base.h"
#include "coherence/release.h"

/* An exchange against what is there: of `or 0`, compilers may make a load. */
/* NOLINTNEXTLINE(readability-non-const-parameter): a write, that changes nothing */
void rel_touch(char *p, bool write)
{
    if (!write) {
        (void)*(volatile char *)p;
        return;
    }
    unsigned char is = 0;
    while (!atomic_compare_exchange_weak_explicit((_Atomic unsigned char *)p,
                                                  &is, is, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* 1: pinned; 0: the right went meanwhile. */
static int pin_try(struct rel_segment *m, uint64_t page, bool write)
{
    uint32_t by = write ? REL_PIN_WRITE : 1;
    rel_lock(m, page);
    enum recto_vm_right right = recto_vm_right_of(m->s->range, page);
    int r = right == RECTO_VM_WRITE || (!write && right == RECTO_VM_READ);
    uint32_t pins = atomic_load_explicit(&m->pins[page], memory_order_relaxed);
    if (r != 0 && (pins / by & UINT16_MAX) == UINT16_MAX) {
        r = RECTO_ENOMEM;
    }
    if (r == 1) {
        atomic_store_explicit(&m->pins[page], pins + by, memory_order_relaxed);
    }
    rel_unlock(m, page);
    return r;
}

static bool unpin_try(struct rel_segment *m, uint64_t page, bool write)
{
    uint32_t by = write ? REL_PIN_WRITE : 1;
    rel_lock(m, page);
    uint32_t pins = atomic_load_explicit(&m->pins[page], memory_order_relaxed);
    bool has = (pins / by & UINT16_MAX) != 0;
    if (has) {
        atomic_store_explicit(&m->pins[page], pins - by, memory_order_relaxed);
    }
    rel_unlock(m, page);
    return has;
}

/* A handler of the program that faults must not find a page locked by the thread
 * it interrupts. */
static void mask(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

static void unpin(struct rel_segment *m, uint64_t first, uint64_t end,
                  bool write)
{
    for (uint64_t p = first; p < end; p++) {
        (void)unpin_try(m, p, write);
    }
}

int rel_pin(struct rel_segment *m, uint64_t first, uint64_t count, bool write)
{
    sigset_t before;
    for (uint64_t p = first; p < first + count; p++) {
        int r = 0;
        while (r == 0) {
            rel_touch(m->s->recto + p * SPACE_PAGE, write);
            mask(&before);
            r = pin_try(m, p, write);
            pthread_sigmask(SIG_SETMASK, &before, NULL);
        }
        if (r < 0) {
            unpin(m, first, p, write);
            return base_error(
                r,
                "page %lu of \"%s\" is pinned too often; unpin what is not "
                "needed",
                (unsigned long)p, m->s->name);
        }
    }
    return 0;
}

int rel_unpin(struct rel_segment *m, uint64_t first, uint64_t count, bool write)
{
    sigset_t before;
    mask(&before);
    int r = 0;
    for (uint64_t p = first; p < first + count && r == 0; p++) {
        uint32_t pins = atomic_load_explicit(&m->pins[p], memory_order_relaxed);
        r = (write ? pins / REL_PIN_WRITE : pins & UINT16_MAX) != 0
                ? 0
                : base_error(RECTO_ESTATE,
                             "page %lu of \"%s\" is not pinned; unpin what was "
                             "pinned, once",
                             (unsigned long)p, m->s->name);
    }
    if (r == 0) {
        unpin(m, first, first + count, write);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}
