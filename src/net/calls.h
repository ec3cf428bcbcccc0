/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program's MPI calls, wrapped (through MPI's profiling interface): buffers in
 * shared memory are lent to MPI, which cannot take page faults, for the length of
 * the call, or until the request is complete. For src/net only.
 *
 *   calls.c       loans, requests, point to point
 *   calls_coll.c  collective calls
 *   calls_file.c  MPI-IO
 */
#ifndef RECTO_SRC_NET_CALLS_H
#define RECTO_SRC_NET_CALLS_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#define WRAPPED __attribute__((visibility("default")))

/* What one call has borrowed. */
struct loans {
    void *loan[2];
    int count;
    bool failed;
    const char *outer; /* the call that this one is in */
};

/* `name` is what a page fault inside is reported with. */
struct loans calls_begin(const char *name);
/* The buffer that MPI is to use, for `count` elements of `type`. */
const void *calls_in(struct loans *l, const void *buffer, int count,
                     MPI_Datatype type);
void *calls_out(struct loans *l, void *buffer, int count, MPI_Datatype type);
/* The same for n parts, at displacements in extents of `type`, or in bytes with a
 * type each; NULL displacements: end to end. */
struct parts {
    int n;
    const int *counts;
    const int *displs;
    MPI_Datatype type;         /* of all, */
    const MPI_Datatype *types; /* or of each */
};
const void *calls_in_parts(struct loans *l, const void *buffer,
                           const struct parts *parts);
void *calls_out_parts(struct loans *l, void *buffer, const struct parts *parts);

/* Before the call itself: may it be made? MPI_SUCCESS or MPI_ERR_NO_MEM. */
int calls_ready(const struct loans *l);
/* After a blocking call. */
int calls_end(struct loans *l, int code);
/* After a nonblocking one: returned when the request completes. */
int calls_keep(struct loans *l, int code, MPI_Request request);

/* Nonblocking file calls must not be left to MPI: see calls_file.c. */
bool calls_files_wait(void);
/* Makes *request one that is complete, with that status. */
int calls_complete(int code, const MPI_Status *status, MPI_Request *request);

/* Between the two halves of a split collective file call: the loans, and the
 * status if it is done already, else NULL. */
int calls_split_begin(struct loans *l, int code, MPI_File file,
                      const MPI_Status *status);
/* Was it done? Then sets the status, and MPI need not be asked to end it. */
bool calls_split_done(MPI_File file, MPI_Status *status);
void calls_split_end(MPI_File file);

#endif
