/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges, and the calls that change their pages: PROT1, PROTN, UNPROT.
 *
 * Invariants
 * 1. A range is published (registry.c) after its table is complete and freed
 *    after nobody can find or holds it.
 * 2. A range of the parent is dead in a forked child: its views were not
 *    inherited. Calls on it fail there and touch neither memory nor kernel.
 *
 * The protection calls compose a message only for a caller's mistake; in a
 * handler that makes none they are async-signal-safe.
 */
#include "protect.h"

#include <stdlib.h>
#include <sys/mman.h>

/* ---- life of a range ----------------------------------------------------- */

static void table_fill(struct recto_vm_range *range,
                       enum recto_vm_right initial)
{
    if (initial == RECTO_VM_NONE) {
        return; /* leaves the table sparse */
    }
    uint64_t state = VM_EACH((unsigned)initial | (unsigned)initial << 2);
    base_set_add_run(&range->touched, 0, vm_chunks(range->pages));
    for (uint64_t i = 0; i * VM_PAGES_PER_WORD < range->pages; i++) {
        atomic_store_explicit(&range->words[i],
                              state & vm_page_mask(i, 0, range->pages),
                              memory_order_relaxed);
    }
}

/* The tables of a range in one piece of memory: states, then sets. */
static int tables_make(struct recto_vm_range *range)
{
    struct base_set *chunks[] = {&range->touched, &range->fresh, &range->open,
                                 &range->dense};
    size_t sets = sizeof chunks / sizeof chunks[0];
    uint64_t n = vm_chunks(range->pages);
    uint64_t states = (range->pages + VM_PAGES_PER_WORD - 1) &
                      ~(uint64_t)(VM_PAGES_PER_WORD - 1);
    void *table = NULL;
    range->table_bytes = (size_t)(states + sets * base_set_bytes(n) +
                                  base_set_bytes(range->pages));
    int code = recto_vm_table_create(range->table_bytes, &table);
    if (code != 0) {
        return code;
    }
    /* A child, made by whatever call, finds no right and no claim in it.
     * Failing is harmless: vm_range_alive() says the same after fork(2). */
    (void)madvise(table, range->table_bytes, MADV_WIPEONFORK);
    range->words = table;
    char *at = (char *)table + states;
    for (size_t i = 0; i < sets; i++) {
        base_set_place(chunks[i], at, n);
        at += base_set_bytes(n);
    }
    base_set_place(&range->marked, at, range->pages);
    return 0;
}

/* NULL, with the message set, when out of memory. */
static struct recto_vm_range *range_make(uintptr_t base, uint64_t pages)
{
    struct recto_vm_range *range = calloc(1, sizeof *range);
    if (range == NULL) {
        (void)base_error(RECTO_ENOMEM, "range: out of memory");
        return NULL;
    }
    range->fd = -1;
    range->backend = vm_backend;
    range->tracker = &vm_tracker_fault;
    range->base = base;
    range->pages = pages;
    if (tables_make(range) != 0) {
        free(range);
        return NULL;
    }
    range->page_shift = (unsigned)__builtin_ctzll(recto_vm_page_size());
    range->generation =
        atomic_load_explicit(&vm_generation, memory_order_relaxed);
    return range;
}

static void range_free(struct recto_vm_range *range)
{
    vm_shut_free(range);
    if (range->hashes != NULL) {
        (void)recto_vm_unmap(range->hashes, range->hash_bytes);
    }
    (void)recto_vm_unmap((void *)range->words, range->table_bytes);
    free(range);
}

int recto_vm_range_create(void *view, size_t bytes, enum recto_vm_right initial,
                          recto_vm_range **range)
{
    size_t page = recto_vm_page_size();
    uintptr_t base = (uintptr_t)view;
    if (range == NULL || view == NULL || base % page != 0 || bytes == 0 ||
        bytes % page != 0 || bytes > UINTPTR_MAX - base ||
        (unsigned)initial > RECTO_VM_WRITE) {
        return base_error(RECTO_EINVAL,
                          "recto_vm_range_create: %zu bytes at %p, right %d: "
                          "whole pages and a right are needed",
                          bytes, view, (int)initial);
    }
    if (!vm_initialised()) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_range_create before recto_vm_init");
    }
    struct recto_vm_range *made = range_make(base, bytes / page);
    if (made == NULL) {
        return RECTO_ENOMEM;
    }
    table_fill(made, initial);
    vm_mappings_attach(made);
    /* Overlap is found out before the back end touches the pages. */
    int code = vm_registry_add_range(made);
    if (code == 0) {
        code = made->backend->attach(made, initial);
        if (code == RECTO_EUNSUPPORTED) {
            made->backend = &vm_backend_mprotect;
            code = made->backend->attach(made, initial);
        }
        if (code != 0) {
            vm_registry_remove_range(made);
        }
    }
    if (code != 0) {
        vm_mappings_detach(made);
        range_free(made);
        return code;
    }
    *range = made;
    return 0;
}

void recto_vm_range_destroy(recto_vm_range *range)
{
    if (range == NULL) {
        return;
    }
    if (vm_range_alive(range)) {
        (void)recto_vm_dirty_stop(range);
        /* What the kernel gave less than the client granted comes back, since
         * no fault will bring it any more. */
        struct vm_change raise = {.range = range,
                                  .end = range->pages,
                                  .kind = VM_RAISE,
                                  .right = RECTO_VM_NONE};
        (void)vm_change_touched(&raise);
        vm_registry_remove_range(range);
        range->backend->detach(range);
        vm_mappings_detach(range);
    } else {
        vm_registry_remove_range(range);
    }
    range_free(range);
}

/* ---- PROT1, PROTN, UNPROT ------------------------------------------------ */

/* Has it pages with rights that no state was set for? */
static bool any_fresh(const struct recto_vm_range *range,
                      const struct vm_change *change)
{
    uint64_t chunk = 0;
    return base_set_next(&range->fresh, change->at / VM_CHUNK, &chunk) &&
           chunk < vm_chunks(change->end);
}

static int change(const char *call, struct recto_vm_range *range,
                  enum vm_change_kind kind, uint64_t first, uint64_t count,
                  enum recto_vm_right right)
{
    if (range == NULL || first > range->pages || count > range->pages - first ||
        (unsigned)right > RECTO_VM_WRITE) {
        return base_error(RECTO_EINVAL,
                          "%s: pages %llu + %llu, right %d: not in the range",
                          call, (unsigned long long)first,
                          (unsigned long long)count, (int)right);
    }
    if (!vm_range_alive(range)) {
        return base_error(RECTO_ESTATE, "%s: the range belongs to the parent",
                          call);
    }
    if (range->plain && kind == VM_LOWER && right != RECTO_VM_WRITE) {
        return base_error(RECTO_EINVAL,
                          "%s: all pages are own for good (recto_vm_own_all)",
                          call);
    }
    if (count == 0) {
        return 0;
    }
    struct vm_change change = {.range = range,
                               .at = first,
                               .end = first + count,
                               .kind = kind,
                               .right = right};
    return kind == VM_LOWER && count > VM_SHORT && !any_fresh(range, &change)
               ? vm_change_touched(&change)
               : vm_change_make(&change);
}

int recto_vm_prot1(recto_vm_range *range, uint64_t page,
                   enum recto_vm_right right)
{
    return change("recto_vm_prot1", range, VM_LOWER, page, 1, right);
}

int recto_vm_protn(recto_vm_range *range, uint64_t first, uint64_t count,
                   enum recto_vm_right right)
{
    return change("recto_vm_protn", range, VM_LOWER, first, count, right);
}

int recto_vm_unprot(recto_vm_range *range, uint64_t first, uint64_t count,
                    enum recto_vm_right right)
{
    return change("recto_vm_unprot", range, VM_RAISE, first, count, right);
}

static int own_explicit(struct recto_vm_range *range, uint64_t first,
                        uint64_t end)
{
    vm_pages_own(range, first, end, true);
    return change("recto_vm_own", range, VM_RAISE, first, end - first,
                  RECTO_VM_WRITE);
}

/* The end of the chunks from `chunk` on, below `high`, that are alike in whether any
 * state was ever set there; one that has none now goes with the next alone. */
static uint64_t chunks_alike(const struct recto_vm_range *range, uint64_t chunk,
                             uint64_t high, bool *none)
{
    uint64_t next = high;
    bool any = base_set_next(&range->touched, chunk, &next);
    next = any && next < high ? next : high;
    *none = next > chunk || vm_chunk_untouched(range, chunk);
    return next > chunk ? next : chunk + 1;
}

/* Whole chunks get no states: they are fresh, if no page has one yet. The back end has
 * taken no right from them. */
static int own_fresh(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    uint64_t low = (first + VM_CHUNK - 1) / VM_CHUNK;
    uint64_t high = end / VM_CHUNK;
    if (low >= high) {
        return own_explicit(range, first, end);
    }
    int code =
        first < low * VM_CHUNK ? own_explicit(range, first, low * VM_CHUNK) : 0;
    for (uint64_t chunk = low; chunk < high && code == 0;) {
        bool none = false;
        uint64_t stop = chunks_alike(range, chunk, high, &none);
        if (none) {
            base_set_add_run(&range->open, chunk, stop);
            base_set_add_run(&range->fresh, chunk, stop);
        } else {
            code = own_explicit(range, chunk * VM_CHUNK, stop * VM_CHUNK);
        }
        chunk = stop;
    }
    return code == 0 && high * VM_CHUNK < end
               ? own_explicit(range, high * VM_CHUNK, end)
               : code;
}

int recto_vm_own(recto_vm_range *range, uint64_t first, uint64_t count)
{
    int code =
        change("recto_vm_own", range, VM_RAISE, first, 0, RECTO_VM_WRITE);
    if (code == 0 && (count == 0 || count > range->pages - first)) {
        code = base_error(RECTO_EINVAL,
                          "recto_vm_own: %llu pages: not in the range",
                          (unsigned long long)count);
    }
    if (code != 0) {
        return code;
    }
    /* at most two more mappings; worth them where the run is long */
    enum {
        LONG = 16
    };
    if (range->backend->own != NULL &&
        (count == range->pages || count >= LONG)) {
        int64_t cost = vm_pages_own_cost(range, first, first + count, true);
        if (!vm_mappings_reserve(range, cost, false)) {
            return change("recto_vm_own", range, VM_RAISE, first, count,
                          RECTO_VM_WRITE);
        }
        if (range->backend->own(range, first, count) != 0) {
            (void)vm_mappings_reserve(range, -cost, false);
            return base_error(RECTO_ENOMEM,
                              "recto_vm_own: %llu pages: no kernel mappings or "
                              "memory left",
                              (unsigned long long)count);
        }
        /* once writes are tracked, what is there already must not count as one */
        bool armed = atomic_load_explicit(&range->armed, memory_order_relaxed);
        return range->fd >= 0 && !armed
                   ? own_fresh(range, first, first + count)
                   : own_explicit(range, first, first + count);
    }
    return change("recto_vm_own", range, VM_RAISE, first, count,
                  RECTO_VM_WRITE);
}

/* Writable as a whole, by mprotect(2), in fresh chunks: no page has a right yet. */
static int plain_make(struct recto_vm_range *range)
{
    range->backend->detach(range);
    range->backend = &vm_backend_mprotect;
    int error = range->backend->set(range, 0, range->pages, RECTO_VM_WRITE);
    if (error != 0) {
        return base_error(RECTO_ENOMEM, "recto_vm_own_all: mprotect: %s",
                          base_errno_text(error));
    }
    base_set_add_run(&range->open, 0, vm_chunks(range->pages));
    base_set_add_run(&range->fresh, 0, vm_chunks(range->pages));
    range->plain = true;
    return 0;
}

int recto_vm_own_all(recto_vm_range *range)
{
    uint64_t chunk = 0;
    int code = change("recto_vm_own_all", range, VM_RAISE, 0, 0, RECTO_VM_NONE);
    if (code != 0) {
        return code;
    }
    return vm_tracker->plain && range->fd >= 0 &&
                   !base_set_next(&range->touched, 0, &chunk)
               ? plain_make(range)
               : recto_vm_own(range, 0, range->pages);
}

bool recto_vm_hides(const recto_vm_range *range)
{
    return range != NULL && range->plain;
}

int recto_vm_hide(recto_vm_range *range, recto_vm_before_touch before,
                  void *argument)
{
    int code = change("recto_vm_hide", range, VM_RAISE, 0, 0, RECTO_VM_NONE);
    if (code == 0 && (before == NULL || !range->plain)) {
        code = base_error(RECTO_EINVAL,
                          "recto_vm_hide: no function, or recto_vm_hides is "
                          "false");
    }
    return code == 0 ? vm_shut_hide(range, before, argument) : code;
}

void recto_vm_show(recto_vm_range *range)
{
    if (vm_range_alive(range) && atomic_load(&range->shut.hidden)) {
        vm_shut_open(range);
    }
}

/* One run of own pages, which is one kernel mapping or a part of one. */
static int disown_run(struct recto_vm_range *range, uint64_t first,
                      uint64_t end)
{
    int64_t cost = vm_pages_own_cost(range, first, end, false);
    bool room = vm_mappings_reserve(range, cost, true);
    if (!room || range->backend->disown(range, first, end - first) != 0) {
        if (room) {
            (void)vm_mappings_reserve(range, -cost, true);
        }
        return base_error(RECTO_ENOMEM,
                          "recto_vm_disown: %llu pages: no kernel mappings "
                          "left",
                          (unsigned long long)(end - first));
    }
    vm_pages_own(range, first, end, false);
    return 0;
}

int recto_vm_disown(recto_vm_range *range, uint64_t first, uint64_t count)
{
    int code =
        change("recto_vm_disown", range, VM_RAISE, first, 0, RECTO_VM_NONE);
    if (code == 0 && count > range->pages - first) {
        code = base_error(RECTO_EINVAL,
                          "recto_vm_disown: %llu pages: not in the range",
                          (unsigned long long)count);
    }
    uint64_t end = first + count;
    for (uint64_t page = first; code == 0 && page < end;) {
        bool own = (vm_page_state(range, page) & VM_PAGE_OWN) != 0;
        uint64_t stop = page + 1;
        while (stop < end &&
               ((vm_page_state(range, stop) & VM_PAGE_OWN) != 0) == own) {
            stop++;
        }
        code = own ? disown_run(range, page, stop) : 0;
        page = stop;
    }
    return code;
}

int recto_vm_range_memory(recto_vm_range *range, int fd, uint64_t offset)
{
    if (range == NULL || fd < 0 || offset % recto_vm_page_size() != 0) {
        return base_error(RECTO_EINVAL, "recto_vm_range_memory: fd %d", fd);
    }
    range->fd = fd;
    range->fd_offset = offset;
    return 0;
}

size_t recto_vm_found_bytes(uint64_t pages)
{
    return (size_t)base_set_bytes(vm_chunks(pages));
}

void recto_vm_range_share(recto_vm_range *range, void *shared)
{
    base_set_place(&range->dense, shared, vm_chunks(range->pages));
}

/* What somebody discards later counts as data all the same; where pages are protected,
 * that is, where the client discards, nothing is learned. */
void vm_dense_learn(const struct recto_vm_range *range, uint64_t first,
                    uint64_t stop)
{
    uint64_t last = stop == range->pages ? vm_chunks(stop) : stop / VM_CHUNK;
    if (range->plain && vm_chunks(first) < last) {
        base_set_add_run(&range->dense, vm_chunks(first), last);
    }
}

/* `page` is in a dense chunk: those that follow, too. */
static int dense_run(const struct recto_vm_range *range, uint64_t page,
                     uint64_t end, uint64_t *first, uint64_t *stop)
{
    uint64_t chunk = page / VM_CHUNK;
    (void)base_set_run(&range->dense, chunk, vm_chunks(end), &chunk, stop);
    *first = page;
    *stop = *stop * VM_CHUNK < end ? *stop * VM_CHUNK : end;
    return 1;
}

int recto_vm_range_next(const recto_vm_range *range, uint64_t from,
                        uint64_t end, uint64_t *first, uint64_t *stop)
{
    uint64_t known = UINT64_MAX;
    uint64_t data = 0;
    uint64_t bytes = 0;
    unsigned shift = range->page_shift;
    if (from >= end) {
        return 0;
    }
    (void)base_set_next(&range->dense, from / VM_CHUNK, &known);
    if (known == from / VM_CHUNK) {
        return dense_run(range, from, end, first, stop);
    }
    /* what is known does not need to be asked for again */
    uint64_t limit = known < vm_chunks(end) ? known * VM_CHUNK : end;
    if (recto_vm_memory_next(range->fd, range->fd_offset + (from << shift),
                             range->fd_offset + (limit << shift), &data,
                             &bytes) == 0) {
        return limit < end ? dense_run(range, limit, end, first, stop) : 0;
    }
    *first = (data - range->fd_offset) >> shift;
    *stop = *first + (bytes >> shift);
    vm_dense_learn(range, *first, *stop);
    return 1;
}

enum recto_vm_right recto_vm_right_of(const recto_vm_range *range,
                                      uint64_t page)
{
    if (range == NULL || page >= range->pages || !vm_range_alive(range)) {
        return RECTO_VM_NONE;
    }
    return vm_page_intent(vm_page_state(range, page));
}

/* ---- checks -------------------------------------------------------------- */

#ifdef RECTO_DEBUG
static void check_one(struct recto_vm_range *range, void *sum)
{
    vm_pages_check(range, sum);
}
#endif

int recto_vm_check(void)
{
#ifdef RECTO_DEBUG
    uint64_t sum = 0;
    vm_registry_each_range(check_one, &sum);
    RECTO_ASSERT(sum == vm_mappings());
#endif
    return 0;
}
