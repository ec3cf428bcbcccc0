/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page states, and the interfaces behind which the ways to protect pages and
 * to track writes are exchanged.
 *
 * A page's state is one byte; eight of them are one atomic word, and words are
 * the only unit of access.
 *
 *   bits 0-1  intent  the right that the client granted
 *   bits 2-3  kernel  the right that the kernel gives now
 *   bit 4     claim   a thread changes this page
 *   bit 5     dirty   written since last collected
 *   bit 6     own     never without the right to read (recto_vm_own)
 */
#ifndef RECTO_SRC_VM_PROTECT_H
#define RECTO_SRC_VM_PROTECT_H

#include "vm.h"

enum {
    VM_PAGE_INTENT = 0x03,
    VM_PAGE_KERNEL = 0x0c,
    VM_PAGE_CLAIM = 0x10,
    VM_PAGE_DIRTY = 0x20,
    VM_PAGE_OWN = 0x40,
    VM_PAGES_PER_WORD = 8
};

/* One bit or field in each of a word's eight pages. */
#define VM_EACH(byte) ((uint64_t)(byte)*UINT64_C(0x0101010101010101))

static inline enum recto_vm_right vm_page_intent(unsigned state)
{
    return (enum recto_vm_right)(state & VM_PAGE_INTENT);
}

static inline enum recto_vm_right vm_page_kernel(unsigned state)
{
    return (enum recto_vm_right)((state & VM_PAGE_KERNEL) >> 2);
}

/*
 * Own pages that nobody has changed need no states of their own: in a *fresh* chunk a
 * word of 0 means VM_FRESH, so the table stays sparse. An own page's state is never 0.
 */
enum {
    VM_CHUNK = 512, /* pages: of a page table, on most machines */
    VM_CHUNK_WORDS = VM_CHUNK / VM_PAGES_PER_WORD,
    /* a stretch for whose holes nobody looks before it is write-protected */
    VM_SHORT = 8 * VM_CHUNK
};
#define VM_FRESH                                                               \
    VM_EACH(VM_PAGE_OWN | (unsigned)RECTO_VM_WRITE |                           \
            (unsigned)RECTO_VM_WRITE << 2)

/* The number of a range's chunks; the last may be a part of one. */
static inline uint64_t vm_chunks(uint64_t pages)
{
    return (pages + VM_CHUNK - 1) / VM_CHUNK;
}

static inline bool vm_chunk_fresh(const struct recto_vm_range *range,
                                  uint64_t chunk)
{
    return base_set_has(&range->fresh, chunk);
}

/* What a word read from the table means. */
static inline uint64_t vm_word(const struct recto_vm_range *range,
                               uint64_t index, uint64_t word)
{
    return word == 0 && vm_chunk_fresh(range, index / VM_CHUNK_WORDS) ? VM_FRESH
                                                                      : word;
}

static inline unsigned vm_page_state(const struct recto_vm_range *range,
                                     uint64_t page)
{
    /* Acquire: pairs with the release of a claim in protect.c, so that who
     * sees a granted right sees what the granting thread stored before. */
    uint64_t index = page / VM_PAGES_PER_WORD;
    uint64_t word = vm_word(
        range, index,
        atomic_load_explicit(&range->words[index], memory_order_acquire));
    return (unsigned)(word >> (page % VM_PAGES_PER_WORD * 8)) & 0xff;
}

/* The bytes of word `index` that belong to pages [first, end). */
static inline uint64_t vm_page_mask(uint64_t index, uint64_t first,
                                    uint64_t end)
{
    uint64_t base = index * VM_PAGES_PER_WORD;
    uint64_t mask = UINT64_MAX;
    if (first > base) {
        mask = mask << ((first - base) * 8);
    }
    if (end < base + VM_PAGES_PER_WORD) {
        mask &= (UINT64_C(1) << ((end - base) * 8)) - 1;
    }
    return mask;
}

/* ---- changes of protection ----------------------------------------------- */

enum vm_change_kind {
    VM_LOWER, /* intent and kernel to `right` where they are above it */
    VM_RAISE, /* intent to `right` where it is below, kernel to what is due */
    VM_ARM,   /* kernel to READ at most; report and clear dirty */
    VM_RELAX, /* kernel from READ to intent; clear dirty */
    VM_FAULT, /* one page: kernel to what is due, if intent covers `right` */
    VM_TAKE   /* kernel to NONE */
};

struct vm_change {
    struct recto_vm_range *range;
    uint64_t at; /* the first page not yet done */
    uint64_t end;
    enum vm_change_kind kind;
    enum recto_vm_right right; /* what LOWER and RAISE set, FAULT needs */
    uint64_t *bitmap; /* where ARM reports, or NULL; bit 0 is `origin` */
    uint64_t origin;
    bool tracked; /* out, FAULT: it was the first write since collected */
    bool force;   /* go past the budget: nothing is left to take */
    bool lazy;    /* raise no kernel right: the kernel refuses to */
    /* The last word translated and its outcome: long equal runs cost one
     * comparison a word. */
    uint64_t memo_in;
    uint64_t memo_out;
    bool memo_valid;
};

/*
 * Makes a change, in runs, taking rights elsewhere when mappings run out.
 * Returns 0 or RECTO_EINVAL when the kernel refuses for another reason;
 * FAULT: RECTO_ENOENT when the intent does not cover the access and
 * RECTO_ENOMEM when the page could not be made accessible. Async-signal-safe.
 */
int vm_change_make(struct vm_change *change);

/* Every word of the chunk is 0. */
bool vm_chunk_untouched(const struct recto_vm_range *range, uint64_t chunk);

/*
 * The first stretch at or after *at of pages, below `end`, in whose chunks some state
 * was ever set; *stop is its end. False when none is left. A page outside them has no
 * rights, or is fresh: no change of kind RELAX, nor RAISE to NONE, does anything to
 * it.
 */
bool vm_pages_touched(const struct recto_vm_range *range, uint64_t *at,
                      uint64_t end, uint64_t *stop);
/* The same change, there only. */
int vm_change_touched(const struct vm_change *change);

/* Sets dirty in pages [first, end), and then marks them; no claim needed. */
void vm_pages_mark(struct recto_vm_range *range, uint64_t first, uint64_t end);

/* Sets or clears own in pages [first, end) that no other thread uses. */
void vm_pages_own(struct recto_vm_range *range, uint64_t first, uint64_t end,
                  bool own);
/* Mappings that this adds where own pages are mappings of their own; below 0:
 * frees. */
int64_t vm_pages_own_cost(const struct recto_vm_range *range, uint64_t first,
                          uint64_t end, bool own);

/* Asserts what protect.c says of a range at rest; adds its mappings to *sum. */
void vm_pages_check(struct recto_vm_range *range, uint64_t *sum);

/* The count of mappings that all ranges take, and its limit. */
int vm_mappings_init(void);
uint64_t vm_mappings(void);
void vm_mappings_attach(struct recto_vm_range *range);
void vm_mappings_detach(struct recto_vm_range *range);
void vm_mappings_fork_child(void);
/* Counts mappings that a range takes for good, or gives back (below 0); false
 * when it should not, or must not: `needed`. */
bool vm_mappings_reserve(struct recto_vm_range *range, int64_t more,
                         bool needed);

/* ---- back ends ----------------------------------------------------------- */

struct vm_backend {
    const char *name;
    /* Each run of equally protected pages is a kernel mapping. */
    bool splits;
    /* Whether it works here: 0 or RECTO_EUNSUPPORTED with a message. */
    int (*probe)(void);
    /* Gives back what the probe took. */
    void (*finish)(void);
    /* Takes pages under control, all with `initial`; 0 or a code with message.
     * RECTO_EUNSUPPORTED without one: not this memory, take mprotect. */
    int (*attach)(struct recto_vm_range *range, enum recto_vm_right initial);
    void (*detach)(struct recto_vm_range *range);
    /* Changes what the kernel gives; 0 or an errno value, ENOMEM when mappings
     * ran out. Called under claims; async-signal-safe. */
    int (*set)(struct recto_vm_range *range, uint64_t first, uint64_t count,
               enum recto_vm_right right);
    /* The access that was refused shall end in SIGSEGV when it is made again: the
     * process dies. NULL: it does. */
    void (*expose)(struct recto_vm_range *range, uint64_t page);
    /* In a forked child, where no range of the parent is alive. May be NULL. */
    void (*fork_child)(void);
    /* Prepares pages, unused so far, that will never be NONE; 0 or an errno
     * value. NULL: nothing to prepare. */
    int (*own)(struct recto_vm_range *range, uint64_t first, uint64_t count);
    /* Makes a run of own pages like all others; rights stay. 0 or an errno
     * value, and nothing has changed. NULL together with `own`. */
    int (*disown)(struct recto_vm_range *range, uint64_t first, uint64_t count);
};

extern const struct vm_backend vm_backend_mprotect;
extern const struct vm_backend vm_backend_pte;
/* Chosen by recto_vm_init for ranges whose memory it can protect; the others
 * take mprotect. Never changes while a range exists. */
extern const struct vm_backend *vm_backend;

/* ---- dirty trackers ------------------------------------------------------ */

struct vm_tracker {
    const char *name;
    bool
        plain; /* ranges of own pages only (recto_vm_own_all) do without protection */
    int (*probe)(void);
    /* As recto_vm_dirty_start and so on, arguments checked. RECTO_EUNSUPPORTED of
     * start: not this range, take write faults. start, stop, shut, open are
     * ordinary code; mark is async-signal-safe, and collect if `run`, which may be
     * NULL, is. `run` is called with no claim held. */
    int (*start)(struct recto_vm_range *range);
    int (*stop)(struct recto_vm_range *range);
    int (*collect)(struct recto_vm_range *range, uint64_t first, uint64_t count,
                   recto_vm_dirty_run run, void *argument);
    int (*mark)(struct recto_vm_range *range, uint64_t first, uint64_t count);
    /* As recto_vm_dirty_shut and _open. NULL: the range always is. */
    int (*shut)(struct recto_vm_range *range);
    void (*open)(struct recto_vm_range *range);
    /* As recto_vm_dirty_forget; NULL: there is nothing to. */
    void (*forget)(struct recto_vm_range *range, uint64_t first,
                   uint64_t count);
    /* As recto_vm_dirty_learn; NULL: there is nothing to. Async-signal-safe, as the
     * next. */
    void (*learn)(struct recto_vm_range *range, uint64_t first, uint64_t count);
    /* Pages of a hidden range are about to be shown: what others have put there
     * meanwhile is no write. NULL: it is not anyway. */
    void (*show)(struct recto_vm_range *range, uint64_t first, uint64_t count);
};

/* Asks the client before pages are marked; no claim is held. */
static inline void vm_before_write(const struct recto_vm_range *range,
                                   uint64_t first, uint64_t count)
{
    if (range->before != NULL &&
        atomic_load_explicit(&range->tracked, memory_order_relaxed)) {
        range->before(first, count, range->before_argument);
    }
}

extern const struct vm_tracker vm_tracker_fault;
extern const struct vm_tracker vm_tracker_scan;
extern const struct vm_tracker vm_tracker_hash;
/* Chosen by recto_vm_init. */
extern const struct vm_tracker *vm_tracker;

/* Takes and tells what of [first, end) is in `marked`; both as in
 * recto_vm_dirty_runs. */
void vm_marks_tell(struct recto_vm_range *range, uint64_t first, uint64_t end,
                   recto_vm_dirty_run run, void *argument);

/* ---- shut.c ---------------------------------------------------------------- */

/* Traps writes to a plain range until it is opened; _hide: reads, too. */
int vm_shut_close(struct recto_vm_range *range);
int vm_shut_hide(struct recto_vm_range *range, recto_vm_before_touch before,
                 void *argument);
void vm_shut_open(struct recto_vm_range *range);
/* A fault: true when it is resolved, false when such accesses are not trapped.
 * Async-signal-safe, as the next. */
bool vm_shut_fault(struct recto_vm_range *range, uint64_t page, bool write);
/* Takes back rights that faults gave, for mappings; of a hidden range, which would
 * need them again, it shows the rest, and so may wait. */
void vm_shut_again(struct recto_vm_range *range);
void vm_shut_free(struct recto_vm_range *range);

#endif
