/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page states and how they change.
 *
 * A change claims its pages, works out what the kernel shall give to each,
 * makes one back end call per run of equal rights in which something changes,
 * records the outcome, and releases the claims:
 *
 *   claim [first - 1, end + 1) -> find a run -> count -> set -> record -> ...
 *                                                 |
 *                   too many mappings: release, take rights away, go on here
 *
 * Invariants
 *  1. kernel <= intent for every page, at every moment.
 *  2. While writes are tracked by faults: kernel is WRITE only if dirty, or open
 *     (dirty.c).
 *  3. Only the holder of a page's claim changes its intent and kernel fields
 *     and clears dirty. Anyone may set dirty, at any time, by an atomic or.
 *  4. Claims are taken in ascending order within one range and all dropped
 *     before any are taken in another, so claims never wait in a circle.
 *  5. All signals are blocked while a claim is held, and the code that holds it
 *     touches only page tables, its own stack and the kernel. So a holder is
 *     never interrupted by code that faults, never waits for one who faults,
 *     and runs to its release: spinning on a claim is safe anywhere, in the
 *     signal handler too.
 *     (A back end that splits no mappings, pte.c, is not counted.)
 *  6. Where mappings split a claim covers the pages before and after, so the kernel
 *     mappings that a change makes or frees are counted exactly: a range takes
 *     1 + (neighbours with unequal kernel rights) of them.
 *  7. At the limit rights are taken away (VM_TAKE makes a range one mapping);
 *     intents stay, and the faults that follow give back what is due. A change
 *     never fails for want of mappings and never grants more than the intent.
 *  8. A change goes on where it stopped for room: its own earlier runs, if their
 *     rights were taken, come back by faults. So it ends.
 *  9. A chunk is in `touched` before a state in it is other than 0, and stays there:
 *     who walks the set passes by nothing but zeros. A page is dirty before it is in
 *     `marked`, and who collects takes it from there before he looks whether it is
 *     dirty: so a page that is dirty and not in the set is just being marked.
 * 10. A word that is 0 in a fresh chunk is filled in when it is claimed or marked;
 *     whoever reads one without a claim takes it for VM_FRESH (vm_word).
 */
#include "protect.h"

#include <errno.h>
#include <stdio.h>

const struct vm_backend *vm_backend = &vm_backend_mprotect;

/* Kernel mappings of all ranges. Exact whenever no change is under way. */
static _Atomic uint64_t mappings;
static _Atomic uint64_t budget = 32768;

enum {
    /* An instruction may need several pages at once (two that straddle a page
     * boundary, more in a gather); this many must fit after all else is
     * taken away, or faults would chase each other. */
    MAPPINGS_SLACK = 64
};

/* ---- the mapping limit --------------------------------------------------- */

static uint64_t kernel_limit(void)
{
    unsigned long limit = 65530;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file != NULL) {
        char line[32];
        if (fgets(line, sizeof line, file) != NULL) {
            unsigned long value = 0;
            for (const char *c = line; *c >= '0' && *c <= '9'; c++) {
                value = value * 10 + (unsigned long)(*c - '0');
            }
            limit = value > 0 ? value : limit;
        }
        (void)fclose(file);
    }
    return limit;
}

int vm_mappings_init(void)
{
    uint64_t limit = 0;
    int code = base_env_u64(BASE_ENV_MAX_MAPPINGS, &limit);
    if (code != 0) {
        return code;
    }
    if (limit == 0) {
        /* An eighth stays free for malloc, threads, libraries and MPI. */
        limit = kernel_limit();
        limit -= limit / 8;
    }
    atomic_store_explicit(&budget, limit, memory_order_relaxed);
    return 0;
}

uint64_t vm_mappings(void)
{
    return atomic_load_explicit(&mappings, memory_order_relaxed);
}

void vm_mappings_attach(struct recto_vm_range *range)
{
    atomic_store_explicit(&range->mappings, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&mappings, 1, memory_order_relaxed);
}

void vm_mappings_detach(struct recto_vm_range *range)
{
    uint64_t own = atomic_load_explicit(&range->mappings, memory_order_relaxed);
    atomic_fetch_sub_explicit(&mappings, own, memory_order_relaxed);
}

void vm_mappings_fork_child(void)
{
    atomic_store_explicit(&mappings, 0, memory_order_relaxed);
}

static bool mappings_fit(uint64_t more)
{
    uint64_t limit = atomic_load_explicit(&budget, memory_order_relaxed);
    uint64_t least = vm_registry_count_ranges() + MAPPINGS_SLACK;
    return vm_mappings() + more <= (limit > least ? limit : least);
}

bool vm_mappings_reserve(struct recto_vm_range *range, int64_t more,
                         bool needed)
{
    uint64_t by = (uint64_t)more; /* modulo 2^64: adding it subtracts, too */
    /* Half is left to ranges that cannot do with fewer. */
    if (more > 0 &&
        (!mappings_fit(by) ||
         (!needed &&
          vm_mappings() + by >
              atomic_load_explicit(&budget, memory_order_relaxed) / 2))) {
        return false;
    }
    atomic_fetch_add_explicit(&mappings, by, memory_order_relaxed);
    atomic_fetch_add_explicit(&range->mappings, by, memory_order_relaxed);
    return true;
}

static bool mappings_take(uint64_t more, bool force)
{
    atomic_fetch_add_explicit(&mappings, more, memory_order_relaxed);
    if (force || mappings_fit(0)) {
        return true;
    }
    atomic_fetch_sub_explicit(&mappings, more, memory_order_relaxed);
    return false;
}

/* ---- claims -------------------------------------------------------------- */

static void touch(const struct recto_vm_range *range, uint64_t first,
                  uint64_t end)
{
    for (uint64_t c = first / VM_CHUNK; c * VM_CHUNK < end; c++) {
        base_set_keep(&range->touched, c);
    }
}

static void claim(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    touch(range, first, end);
    for (uint64_t i = first / VM_PAGES_PER_WORD; i * VM_PAGES_PER_WORD < end;
         i++) {
        uint64_t bits = vm_page_mask(i, first, end) & VM_EACH(VM_PAGE_CLAIM);
        uint64_t word =
            atomic_load_explicit(&range->words[i], memory_order_relaxed);
        unsigned tries = 0;
        for (;;) {
            if ((word & bits) != 0) {
                vm_pause(&tries);
                word = atomic_load_explicit(&range->words[i],
                                            memory_order_relaxed);
            } else if (atomic_compare_exchange_weak_explicit(
                           &range->words[i], &word,
                           vm_word(range, i, word) | bits, memory_order_acquire,
                           memory_order_relaxed)) {
                break; /* acquire: pairs with release() */
            }
        }
    }
}

static void release(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    for (uint64_t i = first / VM_PAGES_PER_WORD; i * VM_PAGES_PER_WORD < end;
         i++) {
        uint64_t bits = vm_page_mask(i, first, end) & VM_EACH(VM_PAGE_CLAIM);
        /* release: pairs with claim() and vm_page_state() */
        atomic_fetch_and_explicit(&range->words[i], ~bits,
                                  memory_order_release);
    }
}

/* ---- what a change makes of a page --------------------------------------- */

static unsigned lower_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned higher_of(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* What the kernel should give for an intent (invariants 1 and 2). */
static unsigned right_due(const struct recto_vm_range *range, unsigned intent,
                          unsigned state)
{
    /* Sequentially consistent, as is touch(): who arms a range comes by a chunk that
     * was touched before, and who touches it later sees that writes are tracked. */
    bool armed = atomic_load_explicit(&range->armed, memory_order_seq_cst);
    return armed && (state & VM_PAGE_DIRTY) == 0
               ? lower_of(intent, RECTO_VM_READ)
               : intent;
}

/* The state's intent and kernel fields after the change. */
static unsigned page_next(const struct vm_change *c, unsigned state)
{
    unsigned intent = vm_page_intent(state);
    unsigned kernel = vm_page_kernel(state);
    unsigned before = kernel;
    switch (c->kind) {
    case VM_LOWER:
        intent = lower_of(intent, c->right);
        kernel = lower_of(kernel, intent);
        break;
    case VM_RAISE:
        intent = higher_of(intent, c->right);
        kernel = right_due(c->range, intent, state);
        break;
    case VM_ARM: kernel = lower_of(kernel, RECTO_VM_READ); break;
    case VM_RELAX: kernel = kernel == RECTO_VM_NONE ? kernel : intent; break;
    case VM_FAULT: kernel = right_due(c->range, intent, state); break;
    case VM_TAKE: kernel = RECTO_VM_NONE; break;
    }
    if (c->lazy) {
        kernel = lower_of(kernel, before);
    }
    return intent | kernel << 2;
}

static uint64_t word_next(struct vm_change *c, uint64_t word)
{
    word &= ~VM_EACH(VM_PAGE_CLAIM);
    if (!c->memo_valid || c->memo_in != word) {
        uint64_t next = 0;
        for (unsigned i = 0; i < 64; i += 8) {
            next |= (uint64_t)page_next(c, (unsigned)(word >> i) & 0xff) << i;
        }
        c->memo_in = word;
        c->memo_out = next;
        c->memo_valid = true;
    }
    return c->memo_out;
}

/* ---- runs ---------------------------------------------------------------- */

/* Pages [start, end) that shall all have `right`; of them [low, high) is the
 * least stretch that holds every page whose kernel right changes. */
struct run {
    uint64_t start;
    uint64_t end;
    uint64_t low;
    uint64_t high;
    unsigned right;
};

static void run_find(struct vm_change *c, struct run *run)
{
    run->start = run->low = run->high = c->at;
    run->end = c->end;
    run->right = 0;
    for (uint64_t page = c->at; page < c->end;) {
        uint64_t i = page / VM_PAGES_PER_WORD;
        uint64_t word =
            atomic_load_explicit(&c->range->words[i], memory_order_relaxed);
        uint64_t next = word_next(c, word);
        uint64_t mask = vm_page_mask(i, page, c->end);
        if (page == c->at) {
            run->right = vm_page_kernel(
                (unsigned)(next >> (page % VM_PAGES_PER_WORD * 8)) & 0xff);
        }
        uint64_t other =
            (next ^ VM_EACH(run->right << 2)) & VM_EACH(VM_PAGE_KERNEL) & mask;
        if (other != 0) {
            run->end =
                i * VM_PAGES_PER_WORD + (unsigned)__builtin_ctzll(other) / 8;
            mask = vm_page_mask(i, page, run->end);
        }
        uint64_t changed = (word ^ next) & VM_EACH(VM_PAGE_KERNEL) & mask;
        if (changed != 0) {
            uint64_t base = i * VM_PAGES_PER_WORD;
            if (run->low == run->high) {
                run->low = base + (unsigned)__builtin_ctzll(changed) / 8;
            }
            run->high =
                base + (63U - (unsigned)__builtin_clzll(changed)) / 8 + 1;
        }
        if (other != 0) {
            return;
        }
        page = (i + 1) * VM_PAGES_PER_WORD;
    }
}

/* How many pages of [first, last] differ from the page before them in `field`,
 * of one or two bits; the page before `first` counts as their neighbour. */
static uint64_t edges(const struct recto_vm_range *range, uint64_t first,
                      uint64_t last, unsigned field)
{
    uint64_t count = 0;
    first = first > 0 ? first : 1;
    uint64_t end = last < range->pages ? last + 1 : range->pages;
    for (uint64_t page = first; page < end;) {
        if (page % VM_CHUNK == 0 &&
            !base_set_has(&range->touched, page / VM_CHUNK)) {
            unsigned differ =
                vm_page_state(range, page) ^ vm_page_state(range, page - 1);
            count += (differ & field) != 0;
            page += VM_CHUNK; /* they are all alike */
            continue;
        }
        uint64_t i = page / VM_PAGES_PER_WORD;
        uint64_t word = vm_word(
            range, i,
            atomic_load_explicit(&range->words[i], memory_order_relaxed));
        uint64_t before = word << 8;
        if (page % VM_PAGES_PER_WORD == 0) {
            before |= vm_page_state(range, page - 1);
        }
        uint64_t differ =
            (word ^ before) & VM_EACH(field) & vm_page_mask(i, page, end);
        differ = (differ | differ >> 1) & VM_EACH(field & -field);
        count += (unsigned)__builtin_popcountll(differ);
        page = (i + 1) * VM_PAGES_PER_WORD;
    }
    return count;
}

static uint64_t edge_after(const struct recto_vm_range *range, uint64_t page,
                           unsigned right)
{
    return vm_page_kernel(vm_page_state(range, page)) != right;
}

/* Makes the kernel give run->right in [low, high). Returns 0, EDQUOT when the
 * budget would be passed, or what the back end says. */
static int run_set(struct vm_change *c, const struct run *run)
{
    struct recto_vm_range *range = c->range;
    if (!range->backend->splits) {
        return range->backend->set(range, run->low, run->high - run->low,
                                   (enum recto_vm_right)run->right);
    }
    uint64_t before = edges(range, run->low, run->high, VM_PAGE_KERNEL);
    uint64_t after = 0;
    if (run->low > 0) {
        after += edge_after(range, run->low - 1, run->right);
    }
    if (run->high < range->pages) {
        after += edge_after(range, run->high, run->right);
    }
    if (after > before && !mappings_take(after - before, c->force)) {
        return EDQUOT;
    }
    int error = range->backend->set(range, run->low, run->high - run->low,
                                    (enum recto_vm_right)run->right);
    if (error != 0) {
        if (after > before) {
            atomic_fetch_sub_explicit(&mappings, after - before,
                                      memory_order_relaxed);
        }
        return error;
    }
    if (after < before) {
        atomic_fetch_sub_explicit(&mappings, before - after,
                                  memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&range->mappings, after - before,
                              memory_order_relaxed);
    return 0;
}

static void report(const struct vm_change *c, uint64_t base, uint64_t dirty)
{
    for (; dirty != 0; dirty &= dirty - 1) {
        uint64_t page = base + (unsigned)__builtin_ctzll(dirty) / 8;
        uint64_t bit = page - c->origin;
        c->bitmap[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
}

/* Records what run_set did. Takes the kernel right from the run, not from
 * word_next again: dirty may have been set since (invariant 3). */
static void run_record(struct vm_change *c, const struct run *run)
{
    bool clear = c->kind == VM_ARM || c->kind == VM_RELAX;
    uint64_t i = run->start / VM_PAGES_PER_WORD;
    for (; i * VM_PAGES_PER_WORD < run->end; i++) {
        _Atomic uint64_t *at = &c->range->words[i];
        uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
        uint64_t mask = vm_page_mask(i, run->start, run->end);
        uint64_t next = (word_next(c, word) & VM_EACH(VM_PAGE_INTENT)) |
                        VM_EACH(run->right << 2);
        uint64_t flip = (word ^ next) & mask &
                        (VM_EACH(VM_PAGE_INTENT) | VM_EACH(VM_PAGE_KERNEL));
        if (flip != 0) {
            atomic_fetch_xor_explicit(at, flip, memory_order_relaxed);
        }
        uint64_t dirty = VM_EACH(VM_PAGE_DIRTY) & mask;
        if (clear && (word & dirty) != 0) {
            /* acquire: pairs with vm_pages_mark() */
            dirty &=
                atomic_fetch_and_explicit(at, ~dirty, memory_order_acquire);
            if (c->bitmap != NULL) {
                report(c, i * VM_PAGES_PER_WORD, dirty);
            }
        }
    }
}

/* ---- changes ------------------------------------------------------------- */

/* Under the claim: may this fault be resolved here? Marks a first write. */
static int fault_admit(struct vm_change *c)
{
    unsigned state = vm_page_state(c->range, c->at);
    if (vm_page_intent(state) < c->right) {
        return EACCES;
    }
    if (c->right == RECTO_VM_WRITE &&
        atomic_load_explicit(&c->range->armed, memory_order_seq_cst)) {
        c->tracked = (state & VM_PAGE_DIRTY) == 0;
        if (c->tracked) {
            vm_pages_mark(c->range, c->at, c->end);
        } else {
            /* the thread that made it dirty may not have come to this yet */
            base_set_keep(&c->range->marked, c->at);
        }
    }
    return 0;
}

static int change_run(struct vm_change *c)
{
    struct run run;
    run_find(c, &run);
    int error = 0;
    if (c->kind == VM_TAKE) {
        /* The books may be wrong: a refused call may have done half. */
        run.low = run.start;
        run.high = run.end;
    }
    if (run.low < run.high) {
        error = run_set(c, &run);
    } else if (c->kind == VM_FAULT) {
        /* The right is there by our books. Another thread may just have put
         * it there, or someone changed it behind us: say it again. */
        error = c->range->backend->set(c->range, c->at, 1,
                                       (enum recto_vm_right)run.right);
    }
    if (error == 0) {
        run_record(c, &run);
        c->at = run.end;
    }
    return error;
}

/* Goes as far as room allows. Returns 0 when done, else an errno value. */
static int change_some(struct vm_change *c)
{
    uint64_t around = c->range->backend->splits; /* invariant 6 */
    uint64_t first = c->at > 0 ? c->at - around : 0;
    uint64_t end = c->end < c->range->pages ? c->end + around : c->end;
    claim(c->range, first, end);
    int error = c->kind == VM_FAULT ? fault_admit(c) : 0;
    while (error == 0 && c->at < c->end) {
        error = change_run(c);
    }
    release(c->range, first, end);
    return error;
}

/* Makes a range one mapping: of pages that were never touched the kernel gives
 * nothing. Holds no claim when called. */
static bool take_all(struct recto_vm_range *range)
{
    uint64_t at = 0;
    uint64_t stop = 0;
    if (range->plain) {
        vm_shut_again(range);
    }
    for (; vm_pages_touched(range, &at, range->pages, &stop); at = stop) {
        struct vm_change take = {
            .range = range, .at = at, .end = stop, .kind = VM_TAKE};
        if (change_some(&take) != 0) {
            return false;
        }
    }
    vm_count(VM_COARSENED);
    return true;
}

/* Frees mappings until some are left of the budget, or once when the kernel
 * refused more; the range with the most mappings first. False when nothing is
 * left to take. */
static bool make_room(bool refused)
{
    /* 2: what one run can need */
    while (refused || !mappings_fit(2)) {
        struct recto_vm_range *range = vm_range_pin_largest();
        if (range == NULL) {
            return false;
        }
        bool done = take_all(range);
        vm_range_unpin(range);
        if (!done) {
            return false;
        }
        refused = false;
    }
    return true;
}

/* After a refused call the kernel may have done a part of it: the range is
 * taken whole, which makes the books right again, then others if it was one
 * mapping before. */
static bool recover(struct recto_vm_range *range)
{
    uint64_t had = atomic_load_explicit(&range->mappings, memory_order_relaxed);
    return take_all(range) && (had > 1 || make_room(true));
}

static int change_all(struct vm_change *c)
{
    int error = change_some(c);
    while (error == EDQUOT || error == ENOMEM) {
        if (!(error == ENOMEM ? recover(c->range) : make_room(false))) {
            if (error == EDQUOT && !c->force) {
                c->force = true;
            } else if (c->kind != VM_FAULT && !c->lazy) {
                c->lazy = true;
                c->memo_valid = false;
            } else {
                return error;
            }
        }
        error = change_some(c);
    }
    return error;
}

int vm_change_make(struct vm_change *change)
{
    int saved_errno = errno;
    uint64_t mask = 0;
    vm_signals_block(&mask);
    int error = change_all(change);
    vm_signals_restore(&mask);
    errno = saved_errno;
    switch (error) {
    case 0: return 0;
    case EDQUOT:
    case ENOMEM:
    case ENOSPC: return RECTO_ENOMEM;
    case EACCES: return change->kind == VM_FAULT ? RECTO_ENOENT : RECTO_EINVAL;
    default: return RECTO_EINVAL;
    }
}

bool vm_chunk_untouched(const struct recto_vm_range *range, uint64_t chunk)
{
    uint64_t words = (range->pages + VM_PAGES_PER_WORD - 1) / VM_PAGES_PER_WORD;
    uint64_t i = chunk * VM_CHUNK_WORDS;
    uint64_t end = i + VM_CHUNK_WORDS < words ? i + VM_CHUNK_WORDS : words;
    if (!base_set_has(&range->touched, chunk)) {
        return true;
    }
    while (i < end &&
           atomic_load_explicit(&range->words[i], memory_order_relaxed) == 0) {
        i++;
    }
    return i == end;
}

bool vm_pages_touched(const struct recto_vm_range *range, uint64_t *at,
                      uint64_t end, uint64_t *stop)
{
    uint64_t first = 0;
    uint64_t last = 0;
    if (*at >= end || !base_set_run(&range->touched, *at / VM_CHUNK,
                                    vm_chunks(end), &first, &last)) {
        return false;
    }
    *at = *at > first * VM_CHUNK ? *at : first * VM_CHUNK;
    *stop = last * VM_CHUNK < end ? last * VM_CHUNK : end;
    return true;
}

int vm_change_touched(const struct vm_change *change)
{
    int code = 0;
    uint64_t at = change->at;
    uint64_t stop = 0;
    while (code == 0 &&
           vm_pages_touched(change->range, &at, change->end, &stop)) {
        struct vm_change part = *change;
        part.at = at;
        part.end = stop;
        code = vm_change_make(&part);
        at = stop;
    }
    return code;
}

void vm_pages_mark(struct recto_vm_range *range, uint64_t first, uint64_t end)
{
    touch(range, first, end);
    for (uint64_t i = first / VM_PAGES_PER_WORD; i * VM_PAGES_PER_WORD < end;
         i++) {
        uint64_t bits = vm_page_mask(i, first, end) & VM_EACH(VM_PAGE_DIRTY);
        uint64_t none = 0;
        if (vm_chunk_fresh(range, i / VM_CHUNK_WORDS)) {
            (void)atomic_compare_exchange_strong_explicit(
                &range->words[i], &none, VM_FRESH, memory_order_relaxed,
                memory_order_relaxed);
        }
        /* Release: pairs with run_record(), so that who collects the mark
         * sees what was written before it. Always an operation that writes:
         * a mark that is there already may just be being collected. */
        atomic_fetch_or_explicit(&range->words[i], bits, memory_order_release);
    }
    base_set_add_run(&range->marked, first, end);
}

/* Gives the chunk's pages states of their own, since some will have none. */
static void chunk_settle(struct recto_vm_range *range, uint64_t chunk)
{
    uint64_t words = (range->pages + VM_PAGES_PER_WORD - 1) / VM_PAGES_PER_WORD;
    uint64_t i = chunk * VM_CHUNK_WORDS;
    uint64_t end = i + VM_CHUNK_WORDS < words ? i + VM_CHUNK_WORDS : words;
    if (!vm_chunk_fresh(range, chunk)) {
        return;
    }
    for (; i < end; i++) {
        uint64_t none = 0;
        (void)atomic_compare_exchange_strong_explicit(
            &range->words[i], &none,
            VM_FRESH & vm_page_mask(i, 0, range->pages), memory_order_relaxed,
            memory_order_relaxed);
    }
    base_set_take_run(&range->fresh, chunk, chunk + 1);
}

void vm_pages_own(struct recto_vm_range *range, uint64_t first, uint64_t end,
                  bool own)
{
    touch(range, first, end);
    for (uint64_t i = first / VM_PAGES_PER_WORD; i * VM_PAGES_PER_WORD < end;
         i++) {
        uint64_t bits = VM_EACH(VM_PAGE_OWN) & vm_page_mask(i, first, end);
        if (own) {
            atomic_fetch_or_explicit(&range->words[i], bits,
                                     memory_order_release);
        } else {
            chunk_settle(range, i / VM_CHUNK_WORDS);
            atomic_fetch_and_explicit(&range->words[i], ~bits,
                                      memory_order_release);
        }
    }
}

static uint64_t own_after(const struct recto_vm_range *range, uint64_t page,
                          bool own)
{
    return ((vm_page_state(range, page) & VM_PAGE_OWN) != 0) != own;
}

int64_t vm_pages_own_cost(const struct recto_vm_range *range, uint64_t first,
                          uint64_t end, bool own)
{
    uint64_t before = edges(range, first, end, VM_PAGE_OWN);
    uint64_t after = first > 0 ? own_after(range, first - 1, own) : 0;
    after += end < range->pages ? own_after(range, end, own) : 0;
    return (int64_t)after - (int64_t)before;
}

/* ---- checks -------------------------------------------------------------- */

void vm_pages_check(struct recto_vm_range *range, uint64_t *sum)
{
    uint64_t count = 1;
    bool armed = atomic_load(&range->armed);
    for (uint64_t page = 0; page < range->pages; page++) {
        unsigned state = vm_page_state(range, page);
        enum recto_vm_right kernel = vm_page_kernel(state);
        RECTO_ASSERT((state & VM_PAGE_CLAIM) == 0);
        RECTO_ASSERT(vm_page_intent(state) <= RECTO_VM_WRITE);
        RECTO_ASSERT(kernel <= vm_page_intent(state));
        RECTO_ASSERT(!armed || kernel != RECTO_VM_WRITE ||
                     (state & VM_PAGE_DIRTY) != 0 ||
                     ((state & VM_PAGE_OWN) != 0 &&
                      base_set_has(&range->open, page / VM_CHUNK)));
        RECTO_ASSERT((state & VM_PAGE_DIRTY) == 0 ||
                     base_set_has(&range->marked, page));
        RECTO_ASSERT(atomic_load(&range->words[page / VM_PAGES_PER_WORD]) ==
                         0 ||
                     base_set_has(&range->touched, page / VM_CHUNK));
        RECTO_ASSERT((state & VM_PAGE_OWN) == 0 || kernel != RECTO_VM_NONE);
        if (page > 0) {
            count += edge_after(range, page - 1, kernel);
        }
    }
    RECTO_ASSERT(!range->backend->splits || atomic_load(&range->shut.on) ||
                 count == atomic_load(&range->mappings));
    *sum += atomic_load(&range->mappings);
}
