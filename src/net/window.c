/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: memory that other machines reach by one-sided operations.
 *
 * Invariants
 * 1. A window lies over a verso, never over a recto: a one-sided operation on
 *    a protected page retries without end.
 * 2. One passive epoch for the window's whole life; a request says when the bytes of
 *    a get are here.
 * 3. No MPI accumulates or atomics: they lose updates beside CPU atomics.
 */
#include <recto/error.h>
#include <stdlib.h>

#include "base/base.h"
#include "net/state.h"

struct net_window {
    MPI_Win win;
};

int net_window_create(void *base, uint64_t bytes, net_window **window)
{
    *window = NULL;
    int64_t needed = net.uses_mpi;
    int r = net_allreduce_max(&needed, 1);
    if (r != 0 || needed == 0) {
        return r;
    }
    net_window *w = malloc(sizeof *w);
    r = net_verdict(w != NULL ? 0 : base_error(RECTO_ENOMEM, "window"));
    if (r != 0) {
        free(w);
        return r;
    }
    r = net_turn_take();
    if (r != 0) {
        free(w);
        return r;
    }
    r = net_mpi_error(MPI_Win_create(base, (MPI_Aint)bytes, 1, MPI_INFO_NULL,
                                     net.comm, &w->win),
                      "MPI_Win_create (one-sided operations)");
    net_turn_give();
    if (r == 0) {
        MPI_Win_set_errhandler(w->win, MPI_ERRORS_RETURN);
        r = net_mpi_error(MPI_Win_lock_all(MPI_MODE_NOCHECK, w->win),
                          "MPI_Win_lock_all");
    }
    r = net_verdict(r);
    if (r != 0) {
        free(w);
        return r;
    }
    *window = w;
    return 0;
}

int net_window_free(net_window *window)
{
    if (window == NULL) {
        return 0;
    }
    int r =
        net_mpi_error(MPI_Win_unlock_all(window->win), "MPI_Win_unlock_all");
    int s = net_mpi_error(MPI_Win_free(&window->win), "MPI_Win_free");
    free(window);
    return r != 0 ? r : s;
}

/* Where the kernel has no memory this ends in a signal that says so; MPI, which copies
 * by system calls, tries again for ever. */
static void touch(const volatile char *buffer, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 4096) {
        (void)buffer[i];
    }
    (void)buffer[bytes - 1];
}

bool net_window_get(net_window *window, int target, uint64_t offset,
                    void *buffer, size_t bytes, const struct net_msg *then)
{
    touch(buffer, bytes);
    return net_carrier_get(window->win, target, offset, buffer, bytes, then);
}
