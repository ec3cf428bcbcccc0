! SPDX-License-Identifier: BSD-3-Clause
!
! recto: the Fortran interface. include/recto.h and what it includes say what each
! function does, who calls it and which errors there are; here is what differs.
!
!   program hello
!     use recto
!     use, intrinsic :: iso_fortran_env, only: int64
!     integer(int64), pointer :: x(:)
!     call recto_init()
!     call recto_array("x", x, [recto_size()], lower=[0])   ! shared by all ranks
!     x(recto_rank()) = 10 * recto_rank()
!     call recto_barrier()
!     if (recto_rank() == 0) print *, x
!     call recto_finalize()
!   end program
!
! Status. What returns an int in C is a subroutine here whose last argument, `status`, may
! be left out: 0 or a RECTO_E... code. Without it an error prints recto_last_error() on
! stderr and stops the program with exit code 1, and mpirun ends the job. Who is not to
! wait (recto_trylock, ...) gets a logical, and no error when it was busy.
!
! Arrays. recto_array(name, x, shape [, lower] [, attr] [, status]) makes shared memory of
! what the pointer x is declared as: integer(int8, int16, int32, int64), real(real32,
! real64) or complex of these, a scalar (without shape) or of rank 1 to 7. Lower bounds are
! 1 or those given; `shape` and `lower` are of one kind, int32 or int64. recto_attach(address,
! x, shape [, lower] [, status]) points x at memory that is there: of recto_malloc, recto_alloc,
! or an address that another rank stored in shared memory. All else (structs, rank 8) goes by
! addresses: the same calls with a type(c_ptr) instead of x, and c_f_pointer.
!
! Order of dimensions. Memory is as Fortran lays it out, the first index running fastest;
! C, and HDF5 on disk, name the same dimensions in reverse: x(3, 5) is 5 x 3 in `recto info`,
! h5dump and h5py, as with HDF5's own Fortran interface. A complex number is a pair of reals:
! one more dimension of 2, the last one on disk. recto_protect_block takes global shape and
! start in Fortran's order, and starts count from 1.
!
! Variables that are passed to recto_protect and its kin must be pointers or have the attribute
! target, so that the compiler knows that Recto may change them. So should dummy arguments
! that are given shared arrays, where the procedure synchronises.
!
! Ranks count from 0, as in MPI. MPI's Fortran calls are not wrapped: pin shared buffers
! (recto_pin), or copy them.
!
! The modules behind it: recto_c, the C interface as it is; recto_base, errors and life
! cycle; recto_memory; recto_sync; recto_ckpt; recto_f08, communicators of mpi_f08.
module recto
  use recto_base, only: recto_init, recto_init_comm, recto_finalize, recto_version, &
    recto_strerror, recto_last_error, recto_stats, recto_check_all
  use recto_c, only: recto_rank, recto_size, recto_node, recto_nodes, recto_epoch, recto_type_size, &
    recto_fetch_add, recto_exchange, recto_cas, recto_load, recto_store
  use recto_c, only: recto_attr, recto_counters, recto_pieces, recto_redistribute, recto_lock_t, &
    recto_rwlock_t, recto_event_t, recto_sem_t, recto_cond_t
  use recto_c, only: &
    RECTO_VERSION_MAJOR, RECTO_VERSION_MINOR, RECTO_VERSION_PATCH, &
    RECTO_OK, RECTO_EINVAL, RECTO_EMISMATCH, RECTO_ESTATE, RECTO_EEXIST, RECTO_ENOENT, &
    RECTO_ETHREAD, RECTO_EUNSUPPORTED, RECTO_EBUSY, RECTO_ENOMEM, RECTO_EADDRESS, RECTO_EIO, &
    RECTO_ENOSPC, RECTO_ELOCKED, RECTO_EMPI, RECTO_EPEER, RECTO_ECORRUPT, RECTO_ECHANGED, &
    RECTO_EVERSION, &
    RECTO_BYTE, RECTO_INT8, RECTO_UINT8, RECTO_INT16, RECTO_UINT16, RECTO_INT32, RECTO_UINT32, &
    RECTO_INT64, RECTO_UINT64, RECTO_FLOAT, RECTO_DOUBLE, RECTO_INT, RECTO_LONG, &
    RECTO_STRUCT_FIRST, RECTO_STRUCT_LAST, &
    RECTO_LABEL_MAX, RECTO_MEMBERS_MAX, RECTO_STRUCT_BYTES_MAX, RECTO_ATTRIBUTES_MAX, &
    RECTO_ATTRIBUTE_TEXT_MAX, RECTO_ATTRIBUTE_NUMBERS_MAX, RECTO_NAME_MAX, RECTO_DIMS_MAX, &
    RECTO_CONSISTENCY_DEFAULT, RECTO_CONSISTENCY_RELEASE, RECTO_SEQUENTIAL, &
    RECTO_BLOCK, RECTO_CYCLIC, RECTO_FIRST_TOUCH, RECTO_AT_BASE, &
    RECTO_NO_CHECKPOINT, RECTO_SPARSE, RECTO_READ, RECTO_WRITE, &
    RECTO_DUE_NO, RECTO_DUE_CHECKPOINT, RECTO_DUE_STOP, RECTO_EXIT_CONTINUE, RECTO_NEWEST
  use recto_memory, only: recto_alloc, recto_array, recto_attach, recto_free, recto_malloc, &
    recto_mfree, recto_at, recto_home, recto_migrate, recto_is_shared, recto_prefetch, &
    recto_pin, recto_unpin, recto_release_range, recto_acquire_range
  use recto_sync
  use recto_ckpt
  include "use_f08.inc"
  implicit none
  public
end module
