/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: memory that other machines reach by one-sided operations.
 *
 * Invariants
 * 1. A window lies over a verso, never over a recto: a one-sided operation on
 *    a protected page retries without end.
 * 2. One passive epoch for the window's whole life; a request says when the bytes of
 *    a get are here, a flush when those of a put are there. Only checkpoints put, in a
 *    thread that may wait.
 * 3. The first window is tried out, so that a launch which cannot work ends at
 *    recto_init, with the settings to change, and not in a page fault.
 * 4. No MPI accumulates or atomics: they lose updates beside CPU atomics.
 */
#include <recto/error.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "net/state.h"

struct net_window {
    MPI_Win win;
};

enum {
    PROBE_SECONDS = 30
};

static bool probed; /* one-sided operations have been seen to work */

/* ---- what to say when they do not ------------------------------------------------ */

static bool one_machine(void)
{
    for (int i = 0; i < net.size; i++) {
        if (!net_same_machine(i)) {
            return false;
        }
    }
    return true;
}

static int unusable(const char *cause)
{
    if (one_machine()) {
        return base_error(
            RECTO_EMPI,
            "MPI has no usable one-sided operations between the processes of this "
            "machine (%s): leave %s at its default, or with Open MPI do not set "
            "btl_vader_single_copy_mechanism to none",
            cause, base_env_name(BASE_ENV_TRANSPORT));
    }
    return base_error(
        RECTO_EMPI,
        "MPI has no usable one-sided operations with MPI_THREAD_MULTIPLE over this "
        "network (%s): start the program by `recto run`, or with Open MPI 4 set "
        "OMPI_MCA_pml=ucx OMPI_MCA_osc=ucx, and over TCP also "
        "OMPI_MCA_pml_ucx_tls=any OMPI_MCA_pml_ucx_devices=any "
        "OMPI_MCA_opal_common_ucx_tls=any OMPI_MCA_opal_common_ucx_devices=any "
        "(docs/clusters.md)",
        cause);
}

static int unusable_code(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    char cause[MPI_MAX_ERROR_STRING + 32];
    int length = 0;
    if (code == MPI_SUCCESS) {
        return 0;
    }
    MPI_Error_string(code, text, &length);
    (void)snprintf(cause, sizeof cause, "%s: %s", what, text);
    return unusable(cause);
}

/* ---- the first window is tried out ------------------------------------------------- */

/* A rank of another machine, each rank a different one if there are enough. */
static int far_rank(void)
{
    for (int i = 1; i < net.size; i++) {
        int rank = (net.rank + i) % net.size;
        if (!net.peers[rank].shares) {
            return rank;
        }
    }
    return -1;
}

static int word_get(MPI_Win win, int rank)
{
    int done = 0;
    uint64_t word = 0;
    uint64_t start = base_now();
    MPI_Request request = MPI_REQUEST_NULL;
    int r = unusable_code(MPI_Rget(&word, sizeof word, MPI_BYTE, rank, 0,
                                   sizeof word, MPI_BYTE, win, &request),
                          "MPI_Rget");
    while (r == 0 && !done) {
        r = unusable_code(MPI_Test(&request, &done, MPI_STATUS_IGNORE),
                          "MPI_Rget");
        if (r == 0 && !done &&
            base_now() - start > PROBE_SECONDS * UINT64_C(1000000000)) {
            return unusable("MPI_Rget of 8 bytes did not end");
        }
    }
    return r != 0 || word == (uint64_t)rank + 1
               ? r
               : unusable("MPI_Rget brought wrong data");
}

/* Each rank reads a word of another. The words of the memory are as they were. */
static int probe(MPI_Win win, uint64_t *memory)
{
    uint64_t before = *memory;
    int rank = far_rank();
    *memory = (uint64_t)net.rank + 1;
    int r = net_verdict(0);
    r = r == 0 && rank >= 0 ? word_get(win, rank) : r;
    r = net_verdict(r);
    *memory = before;
    probed = r == 0;
    return r;
}

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
    r = unusable_code(MPI_Win_create(base, (MPI_Aint)bytes, 1, MPI_INFO_NULL,
                                     net.comm, &w->win),
                      "MPI_Win_create");
    net_turn_give();
    if (r == 0) {
        MPI_Win_set_errhandler(w->win, MPI_ERRORS_RETURN);
        r = unusable_code(MPI_Win_lock_all(MPI_MODE_NOCHECK, w->win),
                          "MPI_Win_lock_all");
    }
    r = net_verdict(r);
    r = r == 0 && !probed ? probe(w->win, base) : r;
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

/* Bytes of one put. */
enum {
    PUT_MOST = 1 << 20
};

int net_window_put(net_window *window, int target, uint64_t offset,
                   const void *data, size_t bytes)
{
    const char *from = data;
    int r = MPI_SUCCESS;
    for (size_t at = 0; at < bytes && r == MPI_SUCCESS; at += PUT_MOST) {
        int n = (int)(bytes - at < PUT_MOST ? bytes - at : PUT_MOST);
        r = MPI_Put(from + at, n, MPI_BYTE, target, (MPI_Aint)(offset + at), n,
                    MPI_BYTE, window->win);
    }
    if (r == MPI_SUCCESS) {
        r = MPI_Win_flush(target, window->win);
    }
    return net_mpi_error(r, "MPI_Put");
}
