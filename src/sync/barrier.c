/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barrier: a release, an agreement, an acquire. The agreement lets ranks which
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
    coherence_release();
    int r = net_agree(NET_CALL_BARRIER, 0, "recto_barrier()");
    coherence_acquire();
    return r;
}
