! SPDX-License-Identifier: BSD-3-Clause
!
! recto_memory: shared memory: allocation, homes, ranges. Part of module recto.
!
! Invariants
! 1. Each generic name has one procedure for addresses, and one of each kind, or kind and
!    rank: made from kind.f90.in, rank.f90.in and scalar.f90.in by CMakeLists.txt.
! 2. A collective call that this module refuses is made all the same, with an argument
!    that C refuses: the other ranks are not left waiting.
module recto_memory
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use recto_base
  use recto_c
  implicit none
  private
  public :: place_type, place_of, refused
  public :: recto_alloc, recto_array, recto_attach, recto_free, recto_malloc, recto_mfree
  public :: recto_at, recto_home, recto_migrate, recto_is_shared
  public :: recto_prefetch, recto_pin, recto_unpin, recto_release_range, recto_acquire_range

  ! What an array or a variable is to C. A complex element is two parts of a type.
  type place_type
    type(c_ptr) :: address = c_null_ptr
    integer(c_int) :: type
    integer(int64) :: parts, bytes ! of an element
    integer(int64) :: count = 0    ! of elements
    logical :: whole = .true.      ! elements follow each other without gaps
  end type

  character(*), parameter :: wrong_shape = &
    "shape and lower must have as many elements as the pointer has dimensions"

  interface recto_array
    procedure :: array_address, array_address_short
  end interface
  interface recto_free
    procedure :: free_address
  end interface
  interface recto_mfree
    procedure :: mfree_address
  end interface
  interface recto_home
    procedure :: home_address
  end interface
  interface recto_is_shared
    procedure :: is_shared_address
  end interface
  interface recto_migrate
    procedure :: migrate_address
  end interface
  interface recto_prefetch
    procedure :: prefetch_address
  end interface
  interface recto_pin
    procedure :: pin_address
  end interface
  interface recto_unpin
    procedure :: unpin_address
  end interface
  interface recto_release_range
    procedure :: release_range_address
  end interface
  interface recto_acquire_range
    procedure :: acquire_range_address
  end interface
  include "memory_interfaces.inc"

contains

  ! ---- what x is to C -------------------------------------------------------------

  pure integer(c_size_t) function bytes_of(place)
    type(place_type), intent(in) :: place

    bytes_of = place%count * place%bytes
  end function

  ! A local call is refused for what has gaps: C would take what lies between, too.
  logical function refused(place, what, status)
    type(place_type), intent(in) :: place
    character(*), intent(in) :: what
    integer(c_int), intent(out), optional :: status

    refused = .not. place%whole
    if (refused) call finish(refuse(what, "the elements do not follow each other in memory: pass " // &
                                    "whole columns, or a copy"), status)
  end function

  pure logical function fits(rank, shape, lower)
    integer, intent(in) :: rank
    integer(int64), intent(in) :: shape(:)
    integer(int64), intent(in), optional :: lower(:)

    fits = size(shape) == rank
    if (present(lower)) fits = fits .and. size(lower) == rank
  end function

  ! ---- allocation -----------------------------------------------------------------

  subroutine recto_alloc(name, address, bytes, attr, status)
    character(*), intent(in) :: name
    type(c_ptr), intent(out) :: address
    integer(int64), intent(in) :: bytes
    type(recto_attr), intent(in), optional :: attr
    integer(c_int), intent(out), optional :: status

    address = c_alloc(c_text(name), bytes, attr)
    call finish_pointer(address, status)
  end subroutine

  subroutine array_address(name, address, type, shape, attr, status)
    character(*), intent(in) :: name
    type(c_ptr), intent(out) :: address
    integer(c_int), intent(in) :: type
    integer(int64), intent(in) :: shape(:)
    type(recto_attr), intent(in), optional :: attr
    integer(c_int), intent(out), optional :: status

    address = c_array(c_text(name), type, int(size(shape), c_int), shape(size(shape):1:-1), attr)
    call finish_pointer(address, status)
  end subroutine

  subroutine array_address_short(name, address, type, shape, attr, status)
    character(*), intent(in) :: name
    type(c_ptr), intent(out) :: address
    integer(c_int), intent(in) :: type
    integer(int32), intent(in) :: shape(:)
    type(recto_attr), intent(in), optional :: attr
    integer(c_int), intent(out), optional :: status

    call array_address(name, address, type, int(shape, int64), attr, status)
  end subroutine

  ! An array of elements of `parts` numbers.
  subroutine array_parts(name, address, type, parts, shape, attr, code)
    character(*), intent(in) :: name
    type(c_ptr), intent(out) :: address
    integer(c_int), intent(in) :: type
    integer(int64), intent(in) :: parts, shape(:)
    type(recto_attr), intent(in), optional :: attr
    integer(c_int), intent(out) :: code

    if (parts > 1) then
      call array_address(name, address, type, [parts, shape], attr, code)
    else
      call array_address(name, address, type, shape, attr, code)
    end if
  end subroutine

  integer(c_int) function array_refused(name) result(code)
    character(*), intent(in) :: name
    integer(int64) :: no_shape(0)
    type(c_ptr) :: address

    call array_address(name, address, RECTO_BYTE, no_shape, status=code)
    code = refuse("recto_array(""" // trim(name) // """)", wrong_shape)
  end function

  subroutine free_address(address, status)
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(out), optional :: status

    call finish(c_free(address), status)
  end subroutine

  subroutine recto_malloc(address, bytes, status)
    type(c_ptr), intent(out) :: address
    integer(c_size_t), intent(in) :: bytes
    integer(c_int), intent(out), optional :: status

    address = c_malloc(bytes)
    call finish_pointer(address, status)
  end subroutine

  subroutine mfree_address(address, status)
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(out), optional :: status

    call finish(c_mfree(address), status)
  end subroutine

  ! ---- homes ----------------------------------------------------------------------

  ! The placement with all pages on one rank.
  pure integer(c_int) function recto_at(rank)
    integer, intent(in) :: rank

    recto_at = RECTO_AT_BASE + rank
  end function

  ! A rank, or a RECTO_E... code.
  integer function home_address(address) result(home)
    type(c_ptr), intent(in) :: address

    home = c_home(address)
  end function

  logical function is_shared_address(address) result(is_shared)
    type(c_ptr), intent(in) :: address

    is_shared = c_is_shared(address) == 1
  end function

  subroutine migrate_address(address, bytes, rank, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer, intent(in) :: rank
    integer(c_int), intent(out), optional :: status

    call finish(c_migrate(address, bytes, int(rank, c_int)), status)
  end subroutine

  ! A part with gaps is no part: C refuses it on every rank.
  subroutine migrate_place(place, rank, status)
    type(place_type), intent(in) :: place
    integer, intent(in) :: rank
    integer(c_int), intent(out), optional :: status
    integer(c_int) :: ignored

    if (place%whole) then
      call migrate_address(place%address, bytes_of(place), rank, status)
    else
      call migrate_address(c_null_ptr, bytes_of(place), rank, ignored)
      if (refused(place, "recto_migrate", status)) return ! with this message, rather
    end if
  end subroutine

  ! ---- ranges ---------------------------------------------------------------------

  subroutine prefetch_address(address, bytes, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer(c_int), intent(out), optional :: status

    call finish(c_prefetch(address, bytes), status)
  end subroutine

  subroutine release_range_address(address, bytes, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer(c_int), intent(out), optional :: status

    call finish(c_release_range(address, bytes), status)
  end subroutine

  subroutine acquire_range_address(address, bytes, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer(c_int), intent(out), optional :: status

    call finish(c_acquire_range(address, bytes), status)
  end subroutine

  subroutine pin_address(address, bytes, mode, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer, intent(in) :: mode
    integer(c_int), intent(out), optional :: status

    call finish(c_pin(address, bytes, int(mode, c_int)), status)
  end subroutine

  subroutine unpin_address(address, bytes, mode, status)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in) :: bytes
    integer, intent(in) :: mode
    integer(c_int), intent(out), optional :: status

    call finish(c_unpin(address, bytes, int(mode, c_int)), status)
  end subroutine

  include "memory_procedures.inc"
end module
