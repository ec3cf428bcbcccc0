! SPDX-License-Identifier: BSD-3-Clause
!
! recto_ckpt: types, protected memory, checkpoints. Part of module recto.
module recto_ckpt
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use recto_base
  use recto_c
  use recto_memory, only: place_type, place_of, refused
  implicit none
  private
  public :: recto_member, recto_type_create, recto_offset
  public :: recto_attribute_set, recto_attribute_numbers
  public :: recto_protect, recto_protect_block, recto_unprotect
  public :: recto_checkpoint, recto_checkpoint_wait, recto_checkpoint_due
  public :: recto_restart, recto_restart_select, recto_recover
  public :: recto_protect_redistribute, recto_pieces_read, recto_pieces_count

  ! A member of a struct: its offset is that of recto_offset.
  type recto_member
    character(RECTO_LABEL_MAX) :: name = ""
    integer(c_size_t) :: offset = 0
    integer(c_int) :: type = RECTO_BYTE
    integer(c_size_t) :: count = 1
  end type

  interface recto_protect
    procedure :: protect_address
  end interface
  interface recto_protect_block
    procedure :: block_address
  end interface
  interface recto_pieces_read
    procedure :: pieces_address
  end interface
  include "ckpt_interfaces.inc"

contains

  ! ---- types ----------------------------------------------------------------------

  subroutine recto_type_create(name, bytes, members, type, status)
    character(*), intent(in) :: name
    integer(c_size_t), intent(in) :: bytes
    type(recto_member), intent(in) :: members(:)
    integer(c_int), intent(out) :: type
    integer(c_int), intent(out), optional :: status
    character(RECTO_LABEL_MAX + 1, c_char), target :: names(size(members))
    type(c_member) :: c_members(size(members))
    integer :: i

    do i = 1, size(members)
      names(i) = c_text(members(i)%name)
      c_members(i) = c_member(c_loc(names(i)), members(i)%offset, members(i)%type, members(i)%count)
    end do
    type = -1
    call finish(c_type_create(c_text(name), bytes, c_members, size(members, kind=c_int), type), status)
  end subroutine

  ! Bytes from the beginning of a record to a member of it: of c_loc(p) and c_loc(p%x).
  pure integer(c_size_t) function recto_offset(record, member)
    type(c_ptr), intent(in) :: record, member

    recto_offset = int(transfer(member, 0_c_intptr_t) - transfer(record, 0_c_intptr_t), c_size_t)
  end function

  ! Without text the attribute is taken away.
  subroutine recto_attribute_set(name, attribute, text, status)
    character(*), intent(in) :: name, attribute
    character(*), intent(in), optional :: text
    integer(c_int), intent(out), optional :: status
    character(:, c_char), allocatable, target :: copy
    type(c_ptr) :: address

    address = c_null_ptr
    if (present(text)) then
      copy = c_text(text)
      address = c_loc(copy)
    end if
    call finish(c_attribute_set(c_text(name), c_text(attribute), address), status)
  end subroutine

  ! ---- protected memory -----------------------------------------------------------

  subroutine protect_address(name, address, type, count, status)
    character(*), intent(in) :: name
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(in) :: type
    integer(int64), intent(in) :: count
    integer(c_int), intent(out), optional :: status

    call finish(c_protect(c_text(name), address, type, count), status)
  end subroutine

  subroutine protect_place(name, place, status)
    character(*), intent(in) :: name
    type(place_type), intent(in) :: place
    integer(c_int), intent(out), optional :: status

    if (refused(place, "recto_protect(""" // trim(name) // """)", status)) return
    call protect_address(name, place%address, place%type, place%parts * place%count, status)
  end subroutine

  ! start counts from 1; all in Fortran's order of dimensions.
  subroutine block_address(name, address, type, global, start, local, status)
    character(*), intent(in) :: name
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(in) :: type
    integer(int64), intent(in) :: global(:), start(:), local(:)
    integer(c_int), intent(out), optional :: status
    integer :: n

    n = size(global)
    if (size(start) /= n .or. size(local) /= n) then
      call finish(refuse("recto_protect_block(""" // trim(name) // """)", &
                         "global, start and the block must have as many dimensions"), status)
      return
    end if
    call finish(c_protect_block(c_text(name), address, type, int(n, c_int), global(n:1:-1), &
                                start(n:1:-1) - 1, local(n:1:-1)), status)
  end subroutine

  subroutine block_place(name, place, local, global, start, status)
    character(*), intent(in) :: name
    type(place_type), intent(in) :: place
    integer(int64), intent(in) :: local(:), global(:), start(:)
    integer(c_int), intent(out), optional :: status

    if (refused(place, "recto_protect_block(""" // trim(name) // """)", status)) return
    if (place%parts > 1) then
      call block_address(name, place%address, place%type, [place%parts, global], &
                         [1_int64, start], [place%parts, local], status)
    else
      call block_address(name, place%address, place%type, global, start, local, status)
    end if
  end subroutine

  subroutine recto_unprotect(name, status)
    character(*), intent(in) :: name
    integer(c_int), intent(out), optional :: status

    call finish(c_unprotect(c_text(name)), status)
  end subroutine

  ! ---- checkpoints ----------------------------------------------------------------

  subroutine recto_checkpoint(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_checkpoint(), status)
  end subroutine

  subroutine recto_checkpoint_wait(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_checkpoint_wait(), status)
  end subroutine

  ! due: RECTO_DUE_NO, RECTO_DUE_CHECKPOINT or RECTO_DUE_STOP.
  subroutine recto_checkpoint_due(due, status)
    integer, intent(out) :: due
    integer(c_int), intent(out), optional :: status
    integer(c_int) :: code

    code = c_checkpoint_due()
    due = max(code, RECTO_DUE_NO)
    call finish(min(code, 0_c_int), status)
  end subroutine

  ! restored: false at a fresh start; epoch is set only if true.
  subroutine recto_restart(restored, epoch, status)
    logical, intent(out), optional :: restored
    integer(int64), intent(inout), optional :: epoch
    integer(c_int), intent(out), optional :: status
    integer(c_int64_t) :: number
    integer(c_int) :: code

    code = c_restart(number)
    if (present(restored)) restored = code == 1
    if (present(epoch) .and. code == 1) epoch = number
    call finish(min(code, 0_c_int), status)
  end subroutine

  subroutine recto_restart_select(epoch, status)
    integer(int64), intent(in) :: epoch
    integer(c_int), intent(out), optional :: status

    call finish(c_restart_select(epoch), status)
  end subroutine

  subroutine recto_recover(name, status)
    character(*), intent(in) :: name
    integer(c_int), intent(out), optional :: status

    call finish(c_recover(c_text(name)), status)
  end subroutine

  ! ---- private memory on another number of ranks ----------------------------------

  ! Without a handler: none from now on. `argument` is handed to it.
  subroutine recto_protect_redistribute(name, handler, argument, status)
    character(*), intent(in) :: name
    procedure(recto_redistribute), optional :: handler
    type(c_ptr), intent(in), optional :: argument
    integer(c_int), intent(out), optional :: status
    type(c_funptr) :: address
    type(c_ptr) :: handed

    address = c_null_funptr
    if (present(handler)) address = c_funloc(handler)
    handed = c_null_ptr
    if (present(argument)) handed = argument
    call finish(c_protect_redistribute(c_text(name), address, handed), status)
  end subroutine

  ! Elements that an old rank, from 0, had.
  integer(int64) function recto_pieces_count(pieces, rank) result(count)
    type(recto_pieces), intent(in) :: pieces
    integer, intent(in) :: rank
    integer(c_int64_t), pointer :: counts(:)

    call c_f_pointer(pieces%counts, counts, [pieces%ranks])
    count = counts(rank + 1)
  end function

  ! first counts from 1.
  subroutine pieces_address(pieces, rank, first, count, address, status)
    type(recto_pieces), intent(in) :: pieces
    integer, intent(in) :: rank
    integer(int64), intent(in) :: first, count
    type(c_ptr), intent(in) :: address
    integer(c_int), intent(out), optional :: status

    call finish(c_pieces_read(pieces, int(rank, c_int), first - 1, count, address), status)
  end subroutine

  subroutine pieces_place(pieces, rank, first, place, status)
    type(recto_pieces), intent(in) :: pieces
    integer, intent(in) :: rank
    integer(int64), intent(in) :: first
    type(place_type), intent(in) :: place
    integer(c_int), intent(out), optional :: status

    if (refused(place, "recto_pieces_read", status)) return
    if (place%bytes /= int(recto_type_size(pieces%type), int64) * place%parts) then
      call finish(refuse("recto_pieces_read", "the elements are of another type"), status)
      return
    end if
    call pieces_address(pieces, rank, (first - 1) * place%parts + 1, place%count * place%parts, &
                        place%address, status)
  end subroutine

  include "ckpt_procedures.inc"
end module
