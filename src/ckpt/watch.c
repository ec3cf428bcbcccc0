/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watched private memory, see watch.h.
 *
 * Invariants
 * 1. A page that is not in `maybe` is as it was at the last look, and then as the epoch
 *    on disk has it: pages are added before a look ends and taken only by
 *    ckpt_watch_settle, so an attempt that fails loses none.
 * 2. The kernel's pages are not those of the memory, which may begin anywhere: one of
 *    the kernel's lies in two of ours. What is not in a whole page of the kernel, at
 *    both ends, may always differ.
 */
#include "watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "format.h"

enum {
    LEAST = 64 * CKPT_PAGE /* less is hashed faster than asked about */
};

static uint64_t pages_of(const struct ckpt_watch *w)
{
    return ckpt_pages(w->bytes);
}

/* Bytes before the first whole page of the kernel. */
static uint64_t lead_of(const char *p)
{
    return (uint64_t) - (uintptr_t)p % CKPT_PAGE;
}

static void all_maybe(struct ckpt_watch *w)
{
    base_set_add_run(&w->maybe, 0, pages_of(w));
}

/* Bytes [from, to) may differ. */
static void bytes_maybe(struct ckpt_watch *w, uint64_t from, uint64_t to)
{
    if (from < to) {
        base_set_add_run(&w->maybe, from / CKPT_PAGE, ckpt_pages(to));
    }
}

/* Pages of the watch, which begins at the first whole page of the kernel. */
static void pages_written(uint64_t first, uint64_t count, void *watch)
{
    struct ckpt_watch *w = watch;
    uint64_t lead = lead_of(w->p);
    bytes_maybe(w, lead + first * CKPT_PAGE,
                lead + (first + count) * CKPT_PAGE);
}

static void begin(struct ckpt_watch *w, char *p, uint64_t bytes)
{
    uint64_t lead = lead_of(p);
    uint64_t whole = bytes > lead ? (bytes - lead) / CKPT_PAGE * CKPT_PAGE : 0;
    if (whole < LEAST || !base_env_given(BASE_ENV_DIRTY) ||
        strcmp(base_env(BASE_ENV_DIRTY), "scan") != 0) {
        return;
    }
    w->memory = calloc(1, base_set_bytes(ckpt_pages(bytes)));
    if (w->memory == NULL ||
        recto_vm_watch_create(p + lead, whole, &w->watch) != 0) {
        free(w->memory); /* it will be hashed */
        *w = (struct ckpt_watch){0};
        return;
    }
    w->p = p;
    w->bytes = bytes;
    base_set_place(&w->maybe, w->memory, pages_of(w));
    all_maybe(w);
}

void ckpt_watch_look(struct ckpt_watch *w, void *p, uint64_t bytes)
{
    if (w->watch != NULL && (w->p != p || w->bytes != bytes)) {
        ckpt_watch_end(w);
    }
    if (w->watch == NULL) {
        begin(w, p, bytes);
        return;
    }
    uint64_t lead = lead_of(w->p);
    uint64_t whole = (w->bytes - lead) / CKPT_PAGE * CKPT_PAGE;
    bytes_maybe(w, 0, lead);
    bytes_maybe(w, lead + whole, w->bytes);
    if (recto_vm_watch_scan(w->watch, pages_written, pages_written, w) != 0) {
        ckpt_watch_end(w); /* mapped anew */
        begin(w, p, bytes);
    }
}

void ckpt_watch_settle(struct ckpt_watch *w)
{
    if (w->watch != NULL) {
        base_set_take_run(&w->maybe, 0, pages_of(w));
    }
}

void ckpt_watch_end(struct ckpt_watch *w)
{
    recto_vm_watch_destroy(w->watch);
    free(w->memory);
    *w = (struct ckpt_watch){0};
}
