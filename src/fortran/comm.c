/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_init_comm for Fortran, whose communicators are integers: what they are to C
 * only MPI knows.
 */
#include <mpi.h>
#include <recto/mpi.h>

int recto_fortran_init_comm(int comm, const char *ckpt_dir, int ckpt_full);

int recto_fortran_init_comm(int comm, const char *ckpt_dir, int ckpt_full)
{
    const recto_options options = {ckpt_dir, (unsigned)ckpt_full};
    return recto_init_comm(MPI_Comm_f2c(comm), &options);
}
