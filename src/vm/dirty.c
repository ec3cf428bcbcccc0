/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DIRTY: which pages were written since last asked; and the method that finds
 * out by write faults. (The others: dirty_scan.c, dirty_hash.c.)
 *
 * Invariants (of the method `fault`; protect.c states the first two as well)
 * 1. While a range is armed the kernel gives WRITE to dirty pages only, so the
 *    first write to a clean page faults and marks it before it can succeed.
 * 2. Collecting write-protects a page before it clears dirty. A write that
 *    was not stopped by then is in this answer; a later one faults, waits for
 *    the claim, and marks the page for the next. Never in neither.
 * 3. Intents are not touched: the client's view of rights does not change.
 *
 * Own pages of a range whose memory is known (recto_vm_range_memory) are *open* until
 * their chunk has data: they keep WRITE, and a page that is data afterwards counts as
 * written; so may one that was only read. Write-protecting what nobody touched would
 * take page tables for all of it, and state bytes.
 *
 * 4. A chunk that has data is write-protected before it is looked up which of its open
 *    pages are data. So a write that was not stopped is in this answer. One into a
 *    chunk that is found to be a hole is in the next: it stays open.
 *
 * The cost of collecting is that of the pages marked and of the open chunks that have
 * data, however large the range is:
 *
 * 5. Every dirty page is in `marked`, or just on its way there (protect.c, 9). It is
 *    taken from there before it is write-protected, and put back if that fails.
 * 6. A page that is open is in a chunk of `open`. A chunk leaves that set when all of
 *    it has been write-protected.
 */
#include "protect.h"

#include <errno.h>
#include <unistd.h>

const struct vm_tracker *vm_tracker = &vm_tracker_fault;

enum {
    STRETCH = VM_SHORT, /* pages looked at together when marks are collected */
    WORDS = STRETCH / BASE_SET_BITS
};

/* ---- the method `fault` -------------------------------------------------- */

static int fault_probe(void)
{
    return 0;
}

/* NOLINTBEGIN(readability-non-const-parameter): the change writes to it */
static int arm(struct recto_vm_range *range, uint64_t first, uint64_t end,
               uint64_t origin, uint64_t *bitmap)
/* NOLINTEND(readability-non-const-parameter) */
{
    struct vm_change change = {.range = range,
                               .at = first,
                               .end = end,
                               .kind = VM_ARM,
                               .bitmap = bitmap,
                               .origin = origin};
    return vm_change_make(&change);
}

/* ---- open pages ----------------------------------------------------------- */

/* The memory behind a range as stretches of pages: [data, end) is the last found. */
struct extent {
    uint64_t data;
    uint64_t end;
};

/* Moves on to the data in [page, end); without any, to its end. */
static void extent_find(const struct recto_vm_range *range, uint64_t page,
                        uint64_t end, struct extent *e)
{
    uint64_t at = 0;
    uint64_t bytes = 0;
    if (page < e->end) {
        return;
    }
    e->data = e->end = end;
    if (recto_vm_memory_next(
            range->fd, range->fd_offset + (page << range->page_shift),
            range->fd_offset + (end << range->page_shift), &at, &bytes)) {
        e->data = (at - range->fd_offset) >> range->page_shift;
        e->end = (at - range->fd_offset + bytes) >> range->page_shift;
    }
}

/* The first page at or after `page` behind which there may be data, or far away. */
static uint64_t data_after(const struct recto_vm_range *range, uint64_t page)
{
    int saved_errno = errno;
    uint64_t from = range->fd_offset + (page << range->page_shift);
    off_t at = lseek(range->fd, (off_t)from, SEEK_DATA);
    if (at < 0) { /* for another reason than that nothing follows: there may */
        at = errno == ENXIO ? INT64_MAX : (off_t)from;
    }
    errno = saved_errno;
    return ((uint64_t)at - range->fd_offset) >> range->page_shift;
}

/* The first open chunk at or after `chunk` that has data; far away if none. Costs a
 * system call for each time that data and open chunks take turns. */
static uint64_t open_after(const struct recto_vm_range *range, uint64_t chunk)
{
    while (base_set_next(&range->open, chunk, &chunk)) {
        uint64_t data = data_after(range, chunk * VM_CHUNK) / VM_CHUNK;
        if (data == chunk) {
            return chunk;
        }
        chunk = data;
    }
    return UINT64_MAX / VM_CHUNK;
}

/* Notes which of pages [first, end) are open; any at all? */
static bool open_pages(const struct recto_vm_range *range, uint64_t first,
                       uint64_t end, uint64_t origin, uint64_t *open)
{
    bool any = false;
    for (uint64_t page = first; page < end; page++) {
        unsigned state = vm_page_state(range, page);
        if ((state & VM_PAGE_OWN) != 0 && (state & VM_PAGE_DIRTY) == 0 &&
            vm_page_kernel(state) == RECTO_VM_WRITE) {
            open[(page - origin) / 64] |= UINT64_C(1) << (page - origin) % 64;
            any = true;
        }
    }
    return any;
}

/* Reports open pages of [first, end) that hold data. */
static void open_report(const struct recto_vm_range *range, uint64_t first,
                        uint64_t end, uint64_t origin, const uint64_t *open,
                        uint64_t *bitmap)
{
    struct extent e = {0, 0};
    for (uint64_t page = first; page < end; page++) {
        uint64_t bit = page - origin;
        extent_find(range, page, end, &e);
        if (page >= e.data && page < e.end &&
            (open[bit / 64] >> bit % 64 & 1)) {
            bitmap[bit / 64] |= UINT64_C(1) << bit % 64;
        }
    }
}

/* Pages [first, end) have been write-protected. */
static void open_close(const struct recto_vm_range *range, uint64_t first,
                       uint64_t end)
{
    uint64_t last = end == range->pages ? vm_chunks(end) : end / VM_CHUNK;
    base_set_take_run(&range->open, vm_chunks(first), last);
}

/* ---- collecting ------------------------------------------------------------- */

/* A stretch of at most STRETCH pages; the bits of bitmaps count from `origin`, where a
 * word of the set begins. */
struct stretch {
    uint64_t first;
    uint64_t end;
    uint64_t origin;
    uint64_t taken[WORDS]; /* from the set */
    uint64_t open[WORDS];
    uint64_t dirty[WORDS];
};

/* Bits of word `i` of its bitmaps that are in the stretch. */
static uint64_t stretch_mask(const struct stretch *s, uint64_t i)
{
    uint64_t base = s->origin + i * BASE_SET_BITS;
    return base_set_mask(s->first > base ? s->first - base : 0,
                         s->end - base < BASE_SET_BITS ? s->end - base
                                                       : BASE_SET_BITS);
}

/* Takes its marks; they lie in [*low, *high). */
static void marks_take(const struct recto_vm_range *range, struct stretch *s,
                       uint64_t *low, uint64_t *high)
{
    uint64_t at = s->first;
    *low = *high = s->first;
    while (base_set_next(&range->marked, at, &at) && at < s->end) {
        uint64_t i = (at - s->origin) / BASE_SET_BITS;
        uint64_t base = s->origin + i * BASE_SET_BITS;
        uint64_t bits = base_set_take(&range->marked, base / BASE_SET_BITS,
                                      stretch_mask(s, i));
        if (bits != 0) {
            uint64_t lowest = base + (unsigned)__builtin_ctzll(bits);
            *low = *high == s->first ? lowest : *low;
            *high = base + BASE_SET_BITS - (unsigned)__builtin_clzll(bits);
        }
        s->taken[i] = bits;
        at = base + BASE_SET_BITS;
    }
}

static void marks_put_back(const struct recto_vm_range *range,
                           const struct stretch *s)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        for (uint64_t bits = s->taken[i]; bits != 0; bits &= bits - 1) {
            (void)base_set_add(&range->marked,
                               s->origin + i * BASE_SET_BITS +
                                   (unsigned)__builtin_ctzll(bits));
        }
    }
}

static void dirty_tell(const struct stretch *s, recto_vm_dirty_run run,
                       void *argument)
{
    uint64_t first = 0;
    uint64_t count = 0;
    for (uint64_t i = 0; run != NULL && i < WORDS; i++) {
        for (uint64_t bits = s->dirty[i]; bits != 0; bits &= bits - 1) {
            uint64_t page =
                s->origin + i * BASE_SET_BITS + (unsigned)__builtin_ctzll(bits);
            if (count > 0 && page != first + count) {
                run(first, count, argument);
                count = 0;
            }
            first = count == 0 ? page : first;
            count++;
        }
    }
    if (count > 0) {
        run(first, count, argument);
    }
}

static int stretch_collect(struct recto_vm_range *range, struct stretch *s,
                           recto_vm_dirty_run run, void *argument)
{
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t chunk = 0;
    uint64_t stop = 0;
    bool closes = base_set_run(&range->open, s->first / VM_CHUNK,
                               vm_chunks(s->end), &chunk, &stop);
    marks_take(range, s, &low, &high);
    if (closes) {
        low = s->first;
        high = s->end;
        closes = open_pages(range, low, high, s->origin, s->open);
    }
    int code = low < high ? arm(range, low, high, s->origin, s->dirty) : 0;
    if (code != 0) {
        marks_put_back(range, s);
    } else if (closes) {
        open_report(range, low, high, s->origin, s->open, s->dirty);
    }
    if (code == 0 && high - low == s->end - s->first) {
        open_close(range, s->first, s->end);
    }
    dirty_tell(s, run, argument);
    return code;
}

/* Where there is something to collect. What is found once about open chunks holds for
 * the whole collection: who writes meanwhile is in the next. */
struct search {
    const struct recto_vm_range *range;
    uint64_t open; /* chunk: the first open one with data at or after ... */
    uint64_t from; /* ... this one; 1: nothing is known yet */
};

static uint64_t chunk_after(struct search *search, uint64_t page)
{
    uint64_t chunk = page / VM_CHUNK;
    uint64_t mark = UINT64_MAX;
    if (chunk < search->from || chunk > search->open) {
        search->from = chunk;
        search->open = open_after(search->range, chunk);
    }
    (void)base_set_next(&search->range->marked, page, &mark);
    return mark / VM_CHUNK < search->open ? mark / VM_CHUNK : search->open;
}

/* The next stretch of neighbouring chunks in [page, end). */
static bool stretch_find(struct search *search, uint64_t page, uint64_t end,
                         struct stretch *s)
{
    uint64_t chunk = page < end ? chunk_after(search, page) : UINT64_MAX;
    uint64_t stop = chunk + 1;
    if (chunk >= vm_chunks(end)) {
        return false;
    }
    while (stop - chunk < STRETCH / VM_CHUNK && stop * VM_CHUNK < end &&
           chunk_after(search, stop * VM_CHUNK) == stop) {
        stop++;
    }
    *s = (struct stretch){.first =
                              page > chunk * VM_CHUNK ? page : chunk * VM_CHUNK,
                          .end = stop * VM_CHUNK < end ? stop * VM_CHUNK : end};
    s->origin = s->first / BASE_SET_BITS * BASE_SET_BITS;
    return true;
}

static int fault_collect(struct recto_vm_range *range, uint64_t first,
                         uint64_t count, recto_vm_dirty_run run, void *argument)
{
    struct search search = {.range = range, .from = 1};
    struct stretch s;
    int code = 0;
    for (uint64_t page = first;
         code == 0 && stretch_find(&search, page, first + count, &s);
         page = s.end) {
        code = stretch_collect(range, &s, run, argument);
    }
    return code;
}

/* ---- start and stop --------------------------------------------------------- */

static int relax(struct recto_vm_range *range)
{
    struct vm_change change = {
        .range = range, .end = range->pages, .kind = VM_RELAX};
    return vm_change_touched(&change);
}

/* Write-protects all that is in use. */
static int arm_all(struct recto_vm_range *range)
{
    uint64_t at = 0;
    uint64_t stop = 0;
    int code = 0;
    for (; code == 0 && vm_pages_touched(range, &at, range->pages, &stop);
         at = stop) {
        code = arm(range, at, stop, 0, NULL);
        if (code == 0) {
            open_close(range, at, stop);
        }
    }
    uint64_t chunks = vm_chunks(range->pages);
    for (uint64_t chunk = open_after(range, 0); code == 0 && chunk < chunks;) {
        uint64_t end = chunk;
        uint64_t next = chunk;
        while (next == end && end < chunks) {
            next = open_after(range, ++end);
        }
        at = chunk * VM_CHUNK;
        stop = end * VM_CHUNK < range->pages ? end * VM_CHUNK : range->pages;
        code = arm(range, at, stop, 0, NULL);
        if (code == 0) {
            open_close(range, at, stop);
        }
        chunk = next;
    }
    return code;
}

static int fault_start(struct recto_vm_range *range)
{
    /* Clears marks that came while a former stop was under way. */
    int code = relax(range);
    if (code == 0) {
        atomic_store_explicit(&range->armed, true, memory_order_seq_cst);
        code = arm_all(range);
    }
    return code;
}

static int fault_stop(struct recto_vm_range *range)
{
    atomic_store_explicit(&range->armed, false, memory_order_seq_cst);
    return relax(range);
}

static int fault_mark(struct recto_vm_range *range, uint64_t first,
                      uint64_t count)
{
    /* Gives no right: a page that stays read-only faults once and finds its
     * mark, one that is granted afterwards is granted WRITE at once. */
    vm_pages_mark(range, first, first + count);
    return 0;
}

const struct vm_tracker vm_tracker_fault = {
    .name = "fault",
    .probe = fault_probe,
    .start = fault_start,
    .stop = fault_stop,
    .collect = fault_collect,
    .mark = fault_mark,
};

void vm_marks_tell(struct recto_vm_range *range, uint64_t first, uint64_t end,
                   recto_vm_dirty_run run, void *argument)
{
    uint64_t stop = first;
    while (base_set_run(&range->marked, stop, end, &first, &stop)) {
        base_set_take_run(&range->marked, first, stop);
        if (run != NULL) {
            run(first, stop - first, argument);
        }
    }
}

/* ---- DIRTY --------------------------------------------------------------- */

static int check_pages(const char *call, const struct recto_vm_range *range,
                       uint64_t first, uint64_t count)
{
    if (range == NULL || first > range->pages || count > range->pages - first) {
        return base_error(RECTO_EINVAL,
                          "%s: pages %llu + %llu: not in the range", call,
                          (unsigned long long)first, (unsigned long long)count);
    }
    if (!vm_range_alive(range)) {
        return base_error(RECTO_ESTATE, "%s: the range belongs to the parent",
                          call);
    }
    return 0;
}

int recto_vm_dirty_start(recto_vm_range *range)
{
    int code = check_pages("recto_vm_dirty_start", range, 0, 0);
    if (code != 0) {
        return code;
    }
    if (atomic_exchange(&range->tracked, true)) {
        return base_error(RECTO_ESTATE,
                          "recto_vm_dirty_start: writes are tracked already");
    }
    range->tracker = vm_tracker;
    code = range->tracker->start(range);
    if (code == RECTO_EUNSUPPORTED) {
        range->tracker = &vm_tracker_fault;
        code = range->tracker->start(range);
    }
    return code;
}

int recto_vm_dirty_stop(recto_vm_range *range)
{
    int code = check_pages("recto_vm_dirty_stop", range, 0, 0);
    if (code != 0 || !atomic_exchange(&range->tracked, false)) {
        return code;
    }
    return range->tracker->stop(range);
}

static int collect(const char *call, recto_vm_range *range, uint64_t first,
                   uint64_t count, recto_vm_dirty_run run, void *argument)
{
    int code = check_pages(call, range, first, count);
    if (code == 0 &&
        !atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        code = base_error(RECTO_ESTATE, "%s: writes are not tracked", call);
    }
    return code != 0 || count == 0
               ? code
               : range->tracker->collect(range, first, count, run, argument);
}

int recto_vm_dirty_runs(recto_vm_range *range, uint64_t first, uint64_t count,
                        recto_vm_dirty_run run, void *argument)
{
    return collect("recto_vm_dirty_runs", range, first, count, run, argument);
}

struct bitmap {
    uint64_t origin;
    uint64_t *words;
};

static void bitmap_set(uint64_t first, uint64_t count, void *argument)
{
    const struct bitmap *bitmap = argument;
    for (uint64_t bit = first - bitmap->origin; count > 0; bit++, count--) {
        bitmap->words[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

/* NOLINTBEGIN(readability-non-const-parameter): bitmap_set writes to it */
int recto_vm_dirty_collect(recto_vm_range *range, uint64_t first,
                           uint64_t count, uint64_t *bitmap)
/* NOLINTEND(readability-non-const-parameter) */
{
    struct bitmap into = {first, bitmap};
    int code = check_pages("recto_vm_dirty_collect", range, first, count);
    if (code == 0 && bitmap == NULL) {
        code = base_error(RECTO_EINVAL, "recto_vm_dirty_collect: no bitmap");
    }
    return code != 0 ? code
                     : collect("recto_vm_dirty_collect", range, first, count,
                               bitmap_set, &into);
}

int recto_vm_dirty_mark(recto_vm_range *range, uint64_t first, uint64_t count)
{
    int code = check_pages("recto_vm_dirty_mark", range, first, count);
    if (code != 0 || count == 0 ||
        !atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        return code;
    }
    vm_before_write(range, first, count);
    return range->tracker->mark(range, first, count);
}

void recto_vm_dirty_forget(recto_vm_range *range, uint64_t first,
                           uint64_t count)
{
    if (atomic_load_explicit(&range->tracked, memory_order_relaxed) &&
        range->tracker->forget != NULL) {
        range->tracker->forget(range, first, count);
    }
}

void recto_vm_dirty_learn(recto_vm_range *range, uint64_t first, uint64_t count)
{
    if (atomic_load_explicit(&range->tracked, memory_order_relaxed) &&
        range->tracker->learn != NULL) {
        range->tracker->learn(range, first, count);
    }
}

int recto_vm_dirty_shut(recto_vm_range *range)
{
    int code = check_pages("recto_vm_dirty_shut", range, 0, 0);
    if (code == 0 &&
        !atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        code = base_error(RECTO_ESTATE,
                          "recto_vm_dirty_shut: writes are not tracked");
    }
    return code != 0 || range->tracker->shut == NULL
               ? code
               : range->tracker->shut(range);
}

void recto_vm_dirty_open(recto_vm_range *range)
{
    if (vm_range_alive(range) &&
        atomic_load_explicit(&range->tracked, memory_order_relaxed) &&
        range->tracker->open != NULL) {
        range->tracker->open(range);
    }
}

const char *recto_vm_dirty_method_of(const recto_vm_range *range)
{
    return range->tracker->name;
}

void recto_vm_dirty_before(recto_vm_range *range, recto_vm_before_write before,
                           void *argument)
{
    range->before_argument = argument;
    range->before = before;
}
