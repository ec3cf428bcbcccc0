/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives of the application threads, and agreement.
 *
 * A thread beside them may have collectives of its own (net_background_enter): the same
 * calls, on another communicator, waited for by looking now and then, so that a rank
 * that is early leaves the cores to those that compute.
 *
 * Invariants
 * 1. net_agree opens every public collective call, so that ranks which make
 *    different calls meet in the same MPI operation, all learn of it, and none
 *    waits in another.
 * 2. net_agree and net_verdict return the same code on every rank.
 */
#include <limits.h>
#include <recto/error.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/order.h"
#include "net/state.h"

enum {
    CHUNK = 1 << 30,
    TEXT = 640,
    TAG_ALL = 1,
    TAG_PAIR = 2,
    LOOK_FIRST = 20000, /* ns between two looks of a background thread */
    LOOK_LAST = 500000
};

static _Thread_local bool background;
static atomic_bool hurried;

/* ---- the background channel ------------------------------------------------- */

int net_background_create(void)
{
    if (net.background != MPI_COMM_NULL) {
        return 0;
    }
    return net_verdict(
        net_mpi_error(MPI_Comm_dup(net.comm, &net.background), "MPI_Comm_dup"));
}

void net_background_enter(void)
{
    background = true;
}

MPI_Comm net_channel(void)
{
    return background ? net.background : net.comm;
}

bool net_in_background(void)
{
    return background;
}

void net_background_hurry(bool hurry)
{
    atomic_store_explicit(&hurried, hurry, memory_order_relaxed);
}

void net_rest(long ns)
{
    struct timespec pause = {0, ns};
    if (!background || atomic_load_explicit(&hurried, memory_order_relaxed)) {
        (void)sched_yield();
    } else {
        (void)nanosleep(&pause, NULL);
    }
}

/* In the background: until MPI_Wait will not wait. */
static void sleep_for(MPI_Request request)
{
    long pause = LOOK_FIRST;
    int done = 0;
    while (background &&
           MPI_Request_get_status(request, &done, MPI_STATUS_IGNORE) ==
               MPI_SUCCESS &&
           !done) {
        net_rest(pause);
        pause = pause < LOOK_LAST / 2 ? 2 * pause : LOOK_LAST;
    }
}

/* The end of an operation that began with `began`. */
static int ended(int began, int waited)
{
    return began != MPI_SUCCESS ? began : waited;
}

/* ---- collectives ------------------------------------------------------------ */

int net_mpi_error(int code, const char *what)
{
    if (code == MPI_SUCCESS) {
        return 0;
    }
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return base_error(RECTO_EMPI, "%s: %s", what, text);
}

static size_t piece(size_t left)
{
    return left < CHUNK ? left : CHUNK;
}

/* Nonblocking collectives are slower: only where one must sleep. */
static int bcast(void *data, int bytes, int root)
{
    MPI_Request request = MPI_REQUEST_NULL;
    if (!background) {
        return MPI_Bcast(data, bytes, MPI_BYTE, root, net.comm);
    }
    int r = MPI_Ibcast(data, bytes, MPI_BYTE, root, net.background, &request);
    sleep_for(request);
    return ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
}

int net_bcast(void *data, size_t bytes, int root)
{
    int r = MPI_SUCCESS;
    for (size_t at = 0; at < bytes && r == MPI_SUCCESS; at += CHUNK) {
        r = bcast((char *)data + at, (int)piece(bytes - at), root);
    }
    return net_mpi_error(r, "MPI_Bcast");
}

static int late_reduce(int64_t *values, int count, MPI_Op op)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int r = MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_INT64_T, op,
                           net.background, &request);
    sleep_for(request);
    return ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
}

static int allreduce(int64_t *values, int count, MPI_Op op)
{
    base_order_out();
    int r = background ? late_reduce(values, count, op)
                       : MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_INT64_T,
                                       op, net.comm);
    base_order_in();
    return net_mpi_error(r, "MPI_Allreduce");
}

int net_allreduce_min(int64_t *values, int count)
{
    return allreduce(values, count, MPI_MIN);
}

int net_allreduce_max(int64_t *values, int count)
{
    return allreduce(values, count, MPI_MAX);
}

int net_allreduce_sum(int64_t *values, int count)
{
    return allreduce(values, count, MPI_SUM);
}

int net_exscan_sum(uint64_t *values, int count)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int r = MPI_Iexscan(MPI_IN_PLACE, values, count, MPI_UINT64_T, MPI_SUM,
                        net_channel(), &request);
    sleep_for(request);
    /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): knows no MPI_Iexscan */
    r = ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
    if (net.rank == 0) {
        memset(values, 0, (size_t)count * sizeof *values);
    }
    return net_mpi_error(r, "MPI_Exscan");
}

/* Point to point in chunks: MPI 3 counts are ints. */
static int transfer(bool sending, void *data, size_t bytes, int peer)
{
    int r = MPI_SUCCESS;
    for (size_t at = 0; at < bytes && r == MPI_SUCCESS; at += CHUNK) {
        char *p = (char *)data + at;
        int n = (int)piece(bytes - at);
        MPI_Request request = MPI_REQUEST_NULL;
        r = sending
                ? MPI_Issend(p, n, MPI_BYTE, peer, 0, net_channel(), &request)
                : MPI_Irecv(p, n, MPI_BYTE, peer, 0, net_channel(), &request);
        sleep_for(request);
        r = ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
    }
    return net_mpi_error(r, sending ? "MPI_Send" : "MPI_Recv");
}

int net_allgather(const void *mine, size_t bytes, void *all)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int n = (int)bytes;
    int r = MPI_Iallgather(mine, n, MPI_BYTE, all, n, MPI_BYTE, net_channel(),
                           &request);
    sleep_for(request);
    r = ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
    return net_mpi_error(r, "MPI_Allgather");
}

int net_gather(const void *mine, size_t bytes, void *all, int root)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int n = (int)bytes;
    int r = MPI_Igather(mine, n, MPI_BYTE, all, n, MPI_BYTE, root,
                        net_channel(), &request);
    sleep_for(request);
    r = ended(r, MPI_Wait(&request, MPI_STATUS_IGNORE));
    return net_mpi_error(r, "MPI_Gather");
}

int net_gatherv(const void *mine, size_t bytes, void *all,
                const uint64_t *sizes, int root)
{
    if (net.rank != root) {
        return transfer(true, (void *)mine, bytes, root);
    }
    char *at = all;
    for (int i = 0; i < net.size; i++) {
        if (i == root) {
            memcpy(at, mine, bytes);
        } else {
            int r = transfer(false, at, sizes[i], i);
            if (r != 0) {
                return r;
            }
        }
        at += sizes[i];
    }
    return 0;
}

/* Sends to one rank and receives from another; below 0: nobody. */
static int exchange(const void *send, size_t bytes, int to, void *receive,
                    size_t most, int from, int tag)
{
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int r =
        MPI_Irecv(receive, (int)most, MPI_BYTE, from < 0 ? MPI_PROC_NULL : from,
                  tag, net_channel(), &requests[0]);
    if (r == MPI_SUCCESS) {
        r = MPI_Issend(send, (int)bytes, MPI_BYTE, to < 0 ? MPI_PROC_NULL : to,
                       tag, net_channel(), &requests[1]);
        if (r != MPI_SUCCESS) {
            (void)MPI_Cancel(&requests[0]);
        }
    }
    sleep_for(requests[0]);
    r = ended(r, MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
    sleep_for(requests[1]);
    /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): null where it never began */
    return ended(r, MPI_Wait(&requests[1], MPI_STATUS_IGNORE));
}

/* Shifts by one rank at a time: rank r sends to r + k and receives from
 * r - k, so that no more than one pair of messages is under way per rank. */
int net_alltoallv(const void *send, const uint64_t *send_bytes, void *receive,
                  const uint64_t *receive_bytes)
{
    uint64_t *send_at = calloc((size_t)net.size * 2, sizeof *send_at);
    if (send_at == NULL) {
        return base_error(RECTO_ENOMEM, "exchange with %d ranks", net.size);
    }
    uint64_t *receive_at = send_at + net.size;
    for (int i = 1; i < net.size; i++) {
        send_at[i] = send_at[i - 1] + send_bytes[i - 1];
        receive_at[i] = receive_at[i - 1] + receive_bytes[i - 1];
    }
    int r = MPI_SUCCESS;
    for (int k = 0; k < net.size && r == MPI_SUCCESS; k++) {
        int to = (net.rank + k) % net.size;
        int from = (net.rank - k + net.size) % net.size;
        uint64_t sent = 0;
        uint64_t received = 0;
        while ((sent < send_bytes[to] || received < receive_bytes[from]) &&
               r == MPI_SUCCESS) {
            size_t s = piece(send_bytes[to] - sent);
            size_t g = piece(receive_bytes[from] - received);
            const char *source = (const char *)send + send_at[to] + sent;
            char *target = (char *)receive + receive_at[from] + received;
            r = exchange(source, s, s > 0 ? to : -1, target, g,
                         g > 0 ? from : -1, TAG_ALL);
            sent += s;
            received += g;
        }
    }
    free(send_at);
    return net_mpi_error(r, "exchange of all ranks");
}

int net_sendrecv(const void *send, size_t bytes, int to, void *receive,
                 size_t most, int from)
{
    RECTO_ASSERT(bytes <= INT_MAX && most <= INT_MAX);
    return net_mpi_error(
        exchange(send, bytes, to, receive, most, from, TAG_PAIR),
        "exchange of two ranks");
}

/* FNV-1a: only to compare texts that are exchanged in full when it differs. */
static int64_t hash_text(const char *text)
{
    uint64_t h = 14695981039346656037U;
    for (; *text != '\0'; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211U;
    }
    return (int64_t)(h >> 2);
}

/* Everybody takes over the message of `rank`. */
static int share_message(int rank, int code)
{
    char text[1024];
    snprintf(text, sizeof text, "%s", recto_last_error());
    int r = net_bcast(text, sizeof text, rank);
    if (r != 0) {
        return r;
    }
    if (rank != net.rank) {
        base_error_set(text);
    }
    return code;
}

static int report_mismatch(const char *text)
{
    char mine[TEXT];
    snprintf(mine, sizeof mine, "%s", text);
    char *all = malloc((size_t)net.size * TEXT);
    if (net_verdict(all != NULL
                        ? 0
                        : base_error(RECTO_ENOMEM, "mismatched calls")) != 0) {
        free(all);
        return RECTO_EMISMATCH;
    }
    int r = net_allgather(mine, TEXT, all);
    if (r == 0) {
        int other = 0;
        while (other < net.size - 1 &&
               strcmp(all, all + (size_t)other * TEXT) == 0) {
            other++;
        }
        r = base_error(RECTO_EMISMATCH,
                       "ranks disagree: rank 0 called %.300s, rank %d called "
                       "%.300s; every rank must make the same call",
                       all, other, all + (size_t)other * TEXT);
    }
    free(all);
    return r;
}

/* Every agreement is this one operation, whatever the calls are. */
static int agree(enum net_call call, int status, const char *text, int64_t *max)
{
    int64_t hash = hash_text(text);
    int64_t v[] = {call,  -(int64_t)call, hash,
                   -hash, status,         status != 0 ? net.rank : INT_MAX,
                   -*max};
    int r = net_allreduce_min(v, 7);
    if (r != 0) {
        return r;
    }
    *max = -v[6];
    if (v[0] != -v[1] || (v[4] == 0 && v[2] != -v[3])) {
        return report_mismatch(text);
    }
    if (v[4] == 0) {
        return 0;
    }
    int code = status;
    r = net_bcast(&code, sizeof code, (int)v[5]);
    return r != 0 ? r : share_message((int)v[5], code);
}

int net_agree_all(enum net_call call, int status, const char *text)
{
    int64_t none = 0;
    return agree(call, status, text, &none);
}

int net_agree_max(enum net_call call, const char *text, int64_t *value)
{
    return agree(call, 0, text, value);
}

int net_verdict_all(int status)
{
    int64_t rank = status != 0 ? net.rank : INT_MAX;
    int r = net_allreduce_min(&rank, 1);
    if (r != 0 || rank == INT_MAX) {
        return r;
    }
    int code = status;
    r = net_bcast(&code, sizeof code, (int)rank);
    return r != 0 ? r : share_message((int)rank, code);
}
