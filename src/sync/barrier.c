/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barrier. Sequentially consistent memory needs no action at a barrier; it is
 * an agreement, so that ranks which meet in different calls learn of it.
 */
#include <recto.h>

#include "base/base.h"
#include "net/net.h"

int recto_barrier(void)
{
    if (net_rank() < 0) {
        return base_error(RECTO_ESTATE, "recto_barrier before recto_init");
    }
    return net_agree(NET_CALL_BARRIER, 0, "recto_barrier()");
}
