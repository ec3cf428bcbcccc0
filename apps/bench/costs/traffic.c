/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of MPI that Recto makes, counted and handed on. A definition in the
 * program comes before those of shared libraries, so librecto's calls arrive
 * here; buffers are private memory, so nothing is lost of what librecto does
 * in front of MPI.
 */
#include "costs/traffic.h"

#include <mpi.h>
#include <recto.h>
#include <stdatomic.h>

static _Atomic uint64_t calls[TRAFFIC_KINDS];

static void count(enum traffic kind, uint64_t by)
{
    atomic_fetch_add_explicit(&calls[kind], by, memory_order_relaxed);
}

static uint64_t bytes_of(int n, MPI_Datatype type)
{
    int size = 0;
    PMPI_Type_size(type, &size);
    return (uint64_t)n * (uint64_t)size;
}

const char *traffic_name(enum traffic kind)
{
    static const char *const names[TRAFFIC_KINDS] = {
#define TRAFFIC_NAME(name, text) [name] = (text),
        TRAFFIC_LIST(TRAFFIC_NAME)
#undef TRAFFIC_NAME
    };
    return names[kind];
}

void traffic_read(uint64_t counts[TRAFFIC_KINDS])
{
    recto_counters c;
    for (int i = 0; i < TRAFFIC_KINDS; i++) {
        counts[i] = atomic_load_explicit(&calls[i], memory_order_relaxed);
    }
    if (recto_stats(&c) != 0) {
        return;
    }
    counts[MESSAGES] = c.messages;
    counts[NOTICES] = c.notices;
    counts[NOTICES_IN] = c.invalidations;
    counts[DIFFS] = c.diffs;
    counts[READ_MISSES] = c.read_misses;
    counts[WRITE_MISSES] = c.write_misses;
    counts[UPGRADES] = c.upgrades;
    counts[FETCHED] = c.bytes_fetched;
    counts[WRITTEN] = c.bytes_written;
}

/* ---- MPI ------------------------------------------------------------------------ */

int MPI_Isend(const void *buffer, int n, MPI_Datatype type, int to, int tag,
              MPI_Comm comm, MPI_Request *request)
{
    count(SENDS, 1);
    count(SEND_BYTES, bytes_of(n, type));
    return PMPI_Isend(buffer, n, type, to, tag, comm, request);
}

int MPI_Issend(const void *buffer, int n, MPI_Datatype type, int to, int tag,
               MPI_Comm comm, MPI_Request *request)
{
    count(PAIRS, to != MPI_PROC_NULL);
    count(PAIR_BYTES, to != MPI_PROC_NULL ? bytes_of(n, type) : 0);
    return PMPI_Issend(buffer, n, type, to, tag, comm, request);
}

int MPI_Get(void *buffer, int n, MPI_Datatype type, int from, MPI_Aint at,
            int m, MPI_Datatype there, MPI_Win window)
{
    count(GETS, 1);
    count(GET_BYTES, bytes_of(n, type));
    return PMPI_Get(buffer, n, type, from, at, m, there, window);
}

int MPI_Rget(void *buffer, int n, MPI_Datatype type, int from, MPI_Aint at,
             int m, MPI_Datatype there, MPI_Win window, MPI_Request *request)
{
    count(GETS, 1);
    count(GET_BYTES, bytes_of(n, type));
    return PMPI_Rget(buffer, n, type, from, at, m, there, window, request);
}

int MPI_Allreduce(const void *out, void *in, int n, MPI_Datatype type,
                  MPI_Op operation, MPI_Comm comm)
{
    count(REDUCES, 1);
    count(REDUCE_BYTES, bytes_of(n, type));
    return PMPI_Allreduce(out, in, n, type, operation, comm);
}

int MPI_Bcast(void *buffer, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    count(BCASTS, 1);
    count(BCAST_BYTES, bytes_of(n, type));
    return PMPI_Bcast(buffer, n, type, root, comm);
}

int MPI_Iallreduce(const void *out, void *in, int n, MPI_Datatype type,
                   MPI_Op operation, MPI_Comm comm, MPI_Request *request)
{
    count(REDUCES, 1);
    count(REDUCE_BYTES, bytes_of(n, type));
    return PMPI_Iallreduce(out, in, n, type, operation, comm, request);
}

int MPI_Ibcast(void *buffer, int n, MPI_Datatype type, int root, MPI_Comm comm,
               MPI_Request *request)
{
    count(BCASTS, 1);
    count(BCAST_BYTES, bytes_of(n, type));
    return PMPI_Ibcast(buffer, n, type, root, comm, request);
}

int MPI_Igather(const void *out, int n, MPI_Datatype type, void *in, int m,
                MPI_Datatype in_type, int root, MPI_Comm comm,
                MPI_Request *request)
{
    count(GATHERS, 1);
    count(GATHER_BYTES, bytes_of(n, type));
    return PMPI_Igather(out, n, type, in, m, in_type, root, comm, request);
}

int MPI_Iallgather(const void *out, int n, MPI_Datatype type, void *in, int m,
                   MPI_Datatype in_type, MPI_Comm comm, MPI_Request *request)
{
    count(ALLGATHERS, 1);
    count(ALLGATHER_BYTES, bytes_of(n, type));
    return PMPI_Iallgather(out, n, type, in, m, in_type, comm, request);
}

int MPI_Iexscan(const void *out, void *in, int n, MPI_Datatype type,
                MPI_Op operation, MPI_Comm comm, MPI_Request *request)
{
    count(SCANS, 1);
    return PMPI_Iexscan(out, in, n, type, operation, comm, request);
}
