/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protection back end that runs everywhere: mprotect(2).
 *
 * Invariants
 * 1. Each run of equally protected pages is one kernel mapping; protect.c
 *    counts them and takes rights away before the kernel's limit.
 * 2. A call that fails for want of mappings (ENOMEM) may have changed the pages
 *    before the failing point; protect.c then takes the whole range.
 */
#include "protect.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int set_bytes(uintptr_t base, size_t bytes, enum recto_vm_right right)
{
    static const int bits[] = {
        [RECTO_VM_NONE] = PROT_NONE,
        [RECTO_VM_READ] = PROT_READ,
        [RECTO_VM_WRITE] = PROT_READ | PROT_WRITE,
    };
    vm_count(VM_PROTECT_CALLS);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): ranges are kept as numbers */
    return mprotect((void *)base, bytes, bits[right]) == 0 ? 0 : errno;
}

static int mprotect_probe(void)
{
    return 0;
}

/* The pages have `initial` rights already; saying so again shows whether there
 * is a mapping that allows it. */
static int mprotect_attach(struct recto_vm_range *range,
                           enum recto_vm_right initial)
{
    char why[128];
    int error = set_bytes(range->base,
                          (size_t)range->pages << range->page_shift, initial);
    return error == 0 ? 0
                      : base_error(RECTO_EINVAL,
                                   "range of %llu pages at %#llx: mprotect: %s",
                                   (unsigned long long)range->pages,
                                   (unsigned long long)range->base,
                                   strerror_r(error, why, sizeof why));
}

static void mprotect_finish(void)
{
}

static void mprotect_detach(struct recto_vm_range *range)
{
    (void)range;
}

static int mprotect_set(struct recto_vm_range *range, uint64_t first,
                        uint64_t count, enum recto_vm_right right)
{
    return set_bytes(range->base + (uintptr_t)(first << range->page_shift),
                     (size_t)(count << range->page_shift), right);
}

const struct vm_backend vm_backend_mprotect = {
    .name = "mprotect",
    .splits = true,
    .probe = mprotect_probe,
    .finish = mprotect_finish,
    .attach = mprotect_attach,
    .detach = mprotect_detach,
    .set = mprotect_set,
};
