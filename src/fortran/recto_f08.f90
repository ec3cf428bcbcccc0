! SPDX-License-Identifier: BSD-3-Clause
!
! recto_f08: recto_init_comm for a communicator of module mpi_f08. Part of module recto
! where MPI has that.
module recto_f08
  use, intrinsic :: iso_c_binding, only: c_int
  use mpi_f08, only: MPI_Comm
  use recto_base, only: recto_init_comm
  implicit none
  private
  public :: recto_init_comm

  interface recto_init_comm
    procedure :: init_comm_f08
  end interface

contains

  subroutine init_comm_f08(comm, ckpt_dir, ckpt_full, status)
    type(MPI_Comm), intent(in) :: comm
    character(*), intent(in), optional :: ckpt_dir
    integer, intent(in), optional :: ckpt_full
    integer(c_int), intent(out), optional :: status

    call recto_init_comm(comm%MPI_VAL, ckpt_dir, ckpt_full, status)
  end subroutine
end module
