/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a rank sends, counted: Recto's own counters, and its calls of MPI, which
 * this program sees because the linker finds its MPI_... before the library's
 * (traffic.c hands them on to PMPI_...).
 *
 * Collectives of MPI count as calls, with the bytes that this rank gives; what
 * MPI makes of them on the network is its own affair.
 */
#ifndef RECTO_BENCH_TRAFFIC_H
#define RECTO_BENCH_TRAFFIC_H

#include <stdint.h>

/* (name, text) */
#define TRAFFIC_LIST(X)                                                        \
    /* counters of recto_stats */                                              \
    X(MESSAGES, "messages")                                                    \
    X(NOTICES, "notices")                                                      \
    X(NOTICES_IN, "notices received")                                          \
    X(DIFFS, "diffs")                                                          \
    X(READ_MISSES, "read misses")                                              \
    X(WRITE_MISSES, "write misses")                                            \
    X(UPGRADES, "upgrades")                                                    \
    X(FETCHED, "bytes fetched")                                                \
    X(WRITTEN, "bytes written home")                                           \
    /* calls of MPI */                                                         \
    X(SENDS, "MPI_Isend")                                                      \
    X(SEND_BYTES, "MPI_Isend, bytes")                                          \
    X(GETS, "one-sided reads")                                                 \
    X(GET_BYTES, "one-sided reads, bytes")                                     \
    X(REDUCES, "MPI_Allreduce")                                                \
    X(REDUCE_BYTES, "MPI_Allreduce, bytes")                                    \
    X(BCASTS, "MPI_Bcast")                                                     \
    X(BCAST_BYTES, "MPI_Bcast, bytes")                                         \
    X(GATHERS, "MPI_Gather")                                                   \
    X(GATHER_BYTES, "MPI_Gather, bytes")                                       \
    X(ALLGATHERS, "MPI_Allgather")                                             \
    X(ALLGATHER_BYTES, "MPI_Allgather, bytes")                                 \
    X(SCANS, "MPI_Exscan")                                                     \
    X(PAIRS, "MPI_Send and its kin")                                           \
    X(PAIR_BYTES, "MPI_Send and its kin, bytes")

enum traffic {
#define TRAFFIC_ENUM(name, text) name,
    TRAFFIC_LIST(TRAFFIC_ENUM)
#undef TRAFFIC_ENUM
    TRAFFIC_KINDS
};

const char *traffic_name(enum traffic kind);

/* This rank's counts since its start. Any thread; Recto runs. */
void traffic_read(uint64_t counts[TRAFFIC_KINDS]);

#endif
