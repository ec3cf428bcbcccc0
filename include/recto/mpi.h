/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/mpi.h: the part of the interface that needs <mpi.h>.
 */
#ifndef RECTO_MPI_H
#define RECTO_MPI_H

#include <mpi.h>
#include <recto.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Settings of a run; NULL and 0 mean the environment or the default. The
 * environment wins over a value given here. */
typedef struct recto_options {
    const char *ckpt_dir; /* as RECTO_CKPT_DIR */
    unsigned ckpt_full;   /* as RECTO_CKPT_FULL */
} recto_options;

/*
 * Starts Recto on the ranks of `comm`, an intracommunicator (duplicated, so
 * that the program may go on using and free it). MPI must be initialised with
 * MPI_THREAD_MULTIPLE. Collective over comm; `options` may be NULL.
 */
int recto_init_comm(MPI_Comm comm, const recto_options *options);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
