/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barrier, release, acquire. A barrier is a release, an agreement, an acquire. The agreement lets ranks which
 * meet in different calls learn of it.
 */
#include <recto.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "net/net.h"

int recto_barrier(void)
{
    if (net_rank() < 0) {
        return base_error(RECTO_ESTATE, "recto_barrier before recto_init");
    }
    uint64_t start = coherence_clock();
    coherence_release();
    int r = net_agree(NET_CALL_BARRIER, 0, "recto_barrier()");
    coherence_acquire();
    coherence_barrier_took(start, __builtin_return_address(0));
    return r;
}

static int started(const char *call)
{
    return net_rank() < 0
               ? base_error(RECTO_ESTATE, "%s before recto_init", call)
               : 0;
}

int recto_release(void)
{
    coherence_release();
    return started("recto_release");
}

int recto_acquire(void)
{
    coherence_acquire();
    return started("recto_acquire");
}

int recto_release_range(const void *p, size_t bytes)
{
    coherence_release_range(p, bytes);
    return started("recto_release_range");
}

/* Notices cannot be told apart by range without losing their order, and cost
 * nothing but for pages that were written: all are applied. */
int recto_acquire_range(const void *p, size_t bytes)
{
    (void)p;
    (void)bytes;
    coherence_acquire();
    return started("recto_acquire_range");
}

int recto_prefetch(const void *p, size_t bytes)
{
    coherence_prefetch(p, bytes);
    return started("recto_prefetch");
}
