! SPDX-License-Identifier: BSD-3-Clause
!
! What the Fortran tests share, as mpi/test.h: a failed check prints rank, what failed
! and Recto's last message, and ends the whole job at once.
module test
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: error_unit, int32, int64, output_unit
  use recto
  implicit none
  private
  public :: check, equal, test_end, die, argument

  interface
    subroutine exit_now(code) bind(c, name="_exit")
      import :: c_int
      integer(c_int), value :: code
    end subroutine
    function getpid() result(pid) bind(c, name="getpid")
      import :: c_int
      integer(c_int) :: pid
    end function
    function kill(pid, signal) result(code) bind(c, name="kill")
      import :: c_int
      integer(c_int), value :: pid, signal
      integer(c_int) :: code
    end function
  end interface

contains

  subroutine check(condition, what)
    logical, intent(in) :: condition
    character(*), intent(in) :: what

    if (condition) return
    write (error_unit, "(a, i0, 4a)") "rank ", recto_rank(), ": failed: ", what, &
      new_line("a") // "  last error: ", recto_last_error()
    flush (error_unit)
    call exit_now(1_c_int)
  end subroutine

  ! For errors that must come: tells which came instead.
  subroutine equal(status, expected, what)
    integer(c_int), intent(in) :: status, expected
    character(*), intent(in) :: what

    call check(status == expected, what // " gives " // recto_strerror(status) // ", not " // &
               recto_strerror(expected))
  end subroutine

  subroutine test_end(what)
    character(*), intent(in) :: what
    integer :: rank, ranks

    rank = recto_rank()
    ranks = recto_size()
    call recto_check_all()
    call recto_finalize()
    if (rank == 0) print "(3a, i0, a)", "passed: ", what, " (", ranks, " ranks)"
  end subroutine

  ! By SIGKILL.
  subroutine die()
    flush (output_unit)
    call check(kill(getpid(), 9_c_int) == 0, "kill")
  end subroutine

  function argument(i)
    integer, intent(in) :: i
    character(:), allocatable :: argument
    integer :: length

    call get_command_argument(i, length=length)
    allocate (character(length) :: argument)
    call get_command_argument(i, argument)
  end function
end module
