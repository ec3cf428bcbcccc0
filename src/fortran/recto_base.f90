! SPDX-License-Identifier: BSD-3-Clause
!
! recto_base: text and errors, life cycle, numbers. Part of module recto.
module recto_base
  use, intrinsic :: iso_fortran_env, only: error_unit
  use recto_c
  implicit none
  private
  public :: c_text, f_text, refuse, finish, finish_try, finish_pointer
  public :: recto_version, recto_strerror, recto_last_error
  public :: recto_init, recto_init_comm, recto_finalize, recto_stats, recto_check_all

  ! Of this module's own last refusal: the message, and that of C at the time, which
  ! is another one when C has failed since.
  character(:), allocatable, save :: own_message, message_before

  interface recto_init_comm ! with a communicator of module mpi; recto_f08 adds mpi_f08's
    procedure :: init_comm
  end interface

contains

  ! ---- text and errors ------------------------------------------------------------

  ! Trailing blanks are no part of a name.
  pure function c_text(text)
    character(*), intent(in) :: text
    character(len_trim(text) + 1, c_char) :: c_text

    c_text = trim(text) // c_null_char
  end function

  function f_text(text)
    type(c_ptr), intent(in) :: text
    character(:), allocatable :: f_text
    character(kind=c_char), pointer :: c(:)
    integer :: i, length

    call c_f_pointer(text, c, [huge(0)])
    length = 0
    do while (c(length + 1) /= c_null_char)
      length = length + 1
    end do
    allocate(character(length) :: f_text)
    do i = 1, length
      f_text(i:i) = c(i)
    end do
  end function

  function recto_version()
    character(:), allocatable :: recto_version

    recto_version = f_text(c_version())
  end function

  function recto_strerror(code)
    integer(c_int), intent(in) :: code
    character(:), allocatable :: recto_strerror

    recto_strerror = f_text(c_strerror(code))
  end function

  function recto_last_error()
    character(:), allocatable :: recto_last_error

    recto_last_error = f_text(c_last_error())
    if (allocated(own_message)) then
      if (recto_last_error == message_before) recto_last_error = own_message
    end if
  end function

  ! This module's own errors are all the caller's mistakes.
  integer(c_int) function refuse(what, cause) result(code)
    character(*), intent(in) :: what, cause

    message_before = f_text(c_last_error())
    own_message = "recto: " // trim(what) // ": " // cause // " (RECTO_EINVAL)"
    code = RECTO_EINVAL
  end function

  ! The end of every call.
  subroutine finish(code, status)
    integer(c_int), intent(in) :: code
    integer(c_int), intent(out), optional :: status

    if (present(status)) then
      status = code
    else if (code < 0) then
      write (error_unit, "(a)") recto_last_error()
      stop 1, quiet=.true.
    end if
  end subroutine

  ! The end of a call that may be told that it would have to wait.
  subroutine finish_try(code, taken, status)
    integer(c_int), intent(in) :: code
    logical, intent(out) :: taken
    integer(c_int), intent(out), optional :: status

    taken = code == 0
    call finish(merge(0_c_int, code, code == RECTO_EBUSY), status)
  end subroutine

  ! The end of a call to a C function that returns a pointer.
  subroutine finish_pointer(address, status)
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(out), optional :: status

    if (c_associated(address)) then
      call finish(0_c_int, status)
    else
      call finish(code_of_message(), status)
    end if
  end subroutine

  ! The code of a C function that returned NULL: its message ends with the code's name.
  integer(c_int) function code_of_message() result(code)
    integer(c_int), parameter :: codes(*) = [ &
      RECTO_EINVAL, RECTO_EMISMATCH, RECTO_ESTATE, RECTO_EEXIST, RECTO_ENOENT, RECTO_ETHREAD, &
      RECTO_EUNSUPPORTED, RECTO_EBUSY, RECTO_ENOMEM, RECTO_EADDRESS, RECTO_EIO, RECTO_ENOSPC, &
      RECTO_ELOCKED, RECTO_EMPI, RECTO_EPEER, RECTO_ECORRUPT, RECTO_ECHANGED, RECTO_EVERSION]
    character(18), parameter :: names(*) = [character(18) :: &
      "RECTO_EINVAL", "RECTO_EMISMATCH", "RECTO_ESTATE", "RECTO_EEXIST", "RECTO_ENOENT", "RECTO_ETHREAD", &
      "RECTO_EUNSUPPORTED", "RECTO_EBUSY", "RECTO_ENOMEM", "RECTO_EADDRESS", "RECTO_EIO", "RECTO_ENOSPC", &
      "RECTO_ELOCKED", "RECTO_EMPI", "RECTO_EPEER", "RECTO_ECORRUPT", "RECTO_ECHANGED", "RECTO_EVERSION"]
    character(:), allocatable :: message
    integer :: i, from

    message = f_text(c_last_error())
    from = index(message, "(", back=.true.)
    code = RECTO_ENOMEM
    do i = 1, size(codes)
      if (message(from + 1:) == trim(names(i)) // ")") code = codes(i)
    end do
  end function

  ! ---- life cycle -----------------------------------------------------------------

  subroutine recto_init(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_init(c_null_ptr, c_null_ptr), status)
  end subroutine

  subroutine init_comm(comm, ckpt_dir, ckpt_full, status)
    integer, intent(in) :: comm
    character(*), intent(in), optional :: ckpt_dir
    integer, intent(in), optional :: ckpt_full
    integer(c_int), intent(out), optional :: status
    character(:, c_char), allocatable, target :: dir
    type(c_ptr) :: dir_address
    integer(c_int) :: full

    dir_address = c_null_ptr
    if (present(ckpt_dir)) then
      dir = c_text(ckpt_dir)
      dir_address = c_loc(dir)
    end if
    full = 0
    if (present(ckpt_full)) full = ckpt_full
    call finish(c_init_comm(int(comm, c_int), dir_address, full), status)
  end subroutine

  subroutine recto_finalize(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_finalize(), status)
  end subroutine

  ! ---- numbers --------------------------------------------------------------------

  subroutine recto_stats(counters, status)
    type(recto_counters), intent(out) :: counters
    integer(c_int), intent(out), optional :: status

    call finish(c_stats(counters), status)
  end subroutine

  subroutine recto_check_all(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_check_all(), status)
  end subroutine
end module
