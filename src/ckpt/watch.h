/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watch: which pages of protected private memory may differ from the last epoch, by the
 * kernel's scan, so that only these need be hashed. Used where RECTO_DIRTY=scan asks for
 * it: the kernel does not see what devices write (networks with RDMA).
 */
#ifndef RECTO_SRC_CKPT_WATCH_H
#define RECTO_SRC_CKPT_WATCH_H

#include <recto/vm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/set.h"

struct ckpt_watch {
    recto_vm_watch *watch; /* NULL: nothing is known, any page may differ */
    char *p;
    uint64_t bytes;
    struct base_set maybe; /* pages, from p on, that may differ; in */
    void *memory;
};

/* At the stop: adds to the pages that may differ those written since the last look.
 * Begins to watch [p, p + bytes) if it did not, or watched other memory; then any page may
 * differ. One that cannot be watched stays so. */
void ckpt_watch_look(struct ckpt_watch *w, void *p, uint64_t bytes);
static inline bool ckpt_watch_maybe(const struct ckpt_watch *w, uint64_t page)
{
    return w->watch == NULL || base_set_has(&w->maybe, page);
}
/* The epoch that holds what was at the last look is on disk. */
void ckpt_watch_settle(struct ckpt_watch *w);
void ckpt_watch_end(struct ckpt_watch *w);

#endif
