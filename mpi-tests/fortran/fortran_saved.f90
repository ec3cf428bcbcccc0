! SPDX-License-Identifier: BSD-3-Clause
!
! fortran_saved STEPS DIE: what checkpoints hold. STEPS steps are the end; in step DIE
! (0: none) the last rank is killed. | fortran_saved stop: an error without a status
!
! Shows that shared arrays, private scalars and arrays, blocks of a distributed matrix, and
! arrays that a handler distributes come back as they were at the last checkpoint, on other
! numbers of ranks; records and attributes; one array recovered alone. All is a function
! of the step that is in the checkpoint, which the program compares.
module saved
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env
  use recto
  use test
  implicit none
  integer, parameter :: rows = 7, columns = 23, items = 101

  type, bind(c) :: particle
    real(c_double) :: x(3)
    integer(c_int32_t) :: kind
  end type

  integer :: me, ranks
  real(real64), pointer :: u(:, :)
  type(particle), pointer :: p(:)
  complex(real64), pointer :: w(:)
  integer(int64), target :: step = 0
  integer(int16), target :: table(2, 3) = 0
  real(real32), allocatable, target :: block(:, :)        ! my columns of a matrix
  complex(real64), allocatable, target :: half(:, :)      ! my rows of another one
  integer(int64), allocatable, target :: list(:)          ! my part of a list

contains

  ! The first of n things that rank r has.
  pure integer(int64) function first(n, r)
    integer, intent(in) :: n, r

    first = 1 + int(n, int64) * r / ranks
  end function

  subroutine declare()
    type(c_ptr) :: address
    integer :: type_id, status
    type(particle), target :: one

    call recto_array("u", u, [rows, columns], lower=[0, 1])
    call recto_array("w", w, [items])
    call recto_type_create("particle", c_sizeof(one), &
      [recto_member("x", recto_offset(c_loc(one), c_loc(one%x)), RECTO_DOUBLE, 3_c_size_t), &
       recto_member("kind", recto_offset(c_loc(one), c_loc(one%kind)), RECTO_INT32)], type_id)
    call recto_array("p", address, type_id, [items])
    call c_f_pointer(address, p, [items])
    call recto_attribute_set("u", "units", "K")
    call recto_attribute_numbers("u", "scale", 0.5_real64)
    call recto_attribute_numbers("u", "range", [-1, 40], status)
    call equal(status, 0, "an attribute of two numbers")
    call recto_attribute_numbers("u", "none", [integer ::], status)
    call equal(status, RECTO_EINVAL, "an attribute of no number")
    call recto_attribute_set("u", "wrong", "x")
    call recto_attribute_set("u", "wrong")
    call recto_attribute_set("u", "wrong", status=status)
    call equal(status, RECTO_ENOENT, "taking away what there is not")
    allocate (block(rows, first(columns, me):first(columns, me + 1) - 1))
    allocate (half(first(rows, me):first(rows, me + 1) - 1, columns))
    call recto_protect("step", step)
    call recto_protect("table", table)
    call recto_protect_block("block", block, [rows, columns], [1, lbound(block, 2)])
    call recto_protect_block("half", half, [rows, columns], [lbound(half, 1), 1])
    call recto_protect_block("half", half, [rows, columns], [lbound(half, 1), 2], status)
    call equal(status, RECTO_EINVAL, "a block that is not inside")
    call allocate_list()
    call recto_protect_redistribute("list", take_list)
    call recto_protect_redistribute("step", take_first, c_loc(step))
    call recto_protect_redistribute("table", take_first, c_loc(table))
  end subroutine

  subroutine allocate_list()
    if (allocated(list)) deallocate (list)
    allocate (list(first(items, me):first(items, me + 1) - 1))
    list = -1
    call recto_protect("list", list)
  end subroutine

  ! Of what the old ranks had, one after the other, my part now.
  function take_list(pieces, argument) result(code) bind(c)
    type(recto_pieces), intent(in) :: pieces
    type(c_ptr), value :: argument
    integer(c_int) :: code
    integer(int64) :: begin, from, to
    integer :: rank, status

    code = 1
    if (c_associated(argument) .or. pieces%type /= RECTO_INT64) return
    call allocate_list()
    begin = 1
    do rank = 0, pieces%ranks - 1
      from = max(begin, lbound(list, 1, int64))
      to = min(begin + recto_pieces_count(pieces, rank), ubound(list, 1, int64) + 1) - 1
      if (from <= to) then
        call recto_pieces_read(pieces, rank, from - begin + 1, list(from:to), status)
        call check(status == 0, "a piece")
      end if
      begin = begin + recto_pieces_count(pieces, rank)
    end do
    call recto_pieces_read(pieces, 0, 1_int64, block, status)
    call equal(status, RECTO_EINVAL, "a piece of another type")
    code = merge(0, 1, begin == items + 1)
  end function

  ! All ranks have the same: what the first old one had.
  function take_first(pieces, argument) result(code) bind(c)
    type(recto_pieces), intent(in) :: pieces
    type(c_ptr), value :: argument
    integer(c_int) :: code

    call recto_pieces_read(pieces, 0, 1_int64, recto_pieces_count(pieces, 0), argument, code)
  end function

  pure integer function value(i, j, at)
    integer, intent(in) :: i, j
    integer(int64), intent(in) :: at

    value = int(1000 * at) + 30 * i + j
  end function

  ! My part of what the state is in step `at`.
  subroutine write_state(at)
    integer(int64), intent(in) :: at
    integer :: i, j

    do j = int(first(columns, me)), int(first(columns, me + 1)) - 1
      u(:, j) = [(value(i, j, at), i=0, rows - 1)]
      block(:, j) = [(2 * value(i, j, at), i=1, rows)]
    end do
    do i = lbound(half, 1), ubound(half, 1)
      half(i, :) = [(cmplx(value(i, j, at), j, real64), j=1, columns)]
    end do
    do i = int(first(items, me)), int(first(items, me + 1)) - 1
      w(i) = cmplx(i, at, real64)
      p(i) = particle([1d0, 2d0, 3d0] * i, int(at))
      list(i) = i * at
    end do
    table = int(at, int16) + reshape([1_int16, 2_int16, 3_int16, 4_int16, 5_int16, 6_int16], [2, 3])
    step = at
  end subroutine

  subroutine expect_state(at)
    integer(int64), intent(in) :: at
    integer :: i, j

    call check(step == at, "step")
    do j = 1, columns
      call check(all(nint(u(:, j)) == [(value(i, j, at), i=0, rows - 1)]), "u")
    end do
    do j = lbound(block, 2), ubound(block, 2)
      call check(all(nint(block(:, j)) == [(2 * value(i, j, at), i=1, rows)]), "block")
    end do
    do i = lbound(half, 1), ubound(half, 1)
      call check(all(abs(half(i, :) - [(cmplx(value(i, j, at), j, real64), j=1, columns)]) < 1d-9), &
                 "half")
    end do
    do i = 1, items
      call check(abs(w(i) - cmplx(i, at, real64)) < 1d-9, "w")
      call check(p(i)%kind == at .and. all(nint(p(i)%x) == [1, 2, 3] * i), "p")
    end do
    call check(size(list) == first(items, me + 1) - first(items, me), "the length of the list")
    call check(all(list == [(i, i=lbound(list, 1), ubound(list, 1))] * at), "list")
    call check(table(1, 1) == at + 1 .and. table(2, 3) == at + 6, "table")
  end subroutine

  ! Alone, as the newest epoch has it.
  subroutine recover_u(at)
    integer(int64), intent(in) :: at
    integer :: status

    call recto_barrier()
    if (me == 0) u = 0
    call recto_barrier()
    call recto_recover("u")
    call recto_recover("nothing", status)
    call equal(status, RECTO_ENOENT, "recovering what there is not")
    call expect_state(at)
    call recto_restart_select(99_int64)
    call recto_recover("u", status)
    call equal(status, RECTO_ENOENT, "an epoch that there is not")
    call recto_restart_select(RECTO_NEWEST)
  end subroutine

  subroutine steps(last, deadly)
    integer(int64), intent(in) :: last, deadly
    integer(int64) :: at, before
    integer :: due

    do at = step + 1, last
      call recto_barrier()
      call write_state(at)
      call recto_barrier()
      call expect_state(at)
      if (at == deadly .and. me == ranks - 1) call die()
      call recto_checkpoint_due(due)
      call check(due == RECTO_DUE_NO, "nothing is due")
      before = recto_epoch()
      call recto_barrier()
      call recto_checkpoint()
      call recto_checkpoint_wait()
      call check(recto_epoch() == before + 1, "epoch")
    end do
  end subroutine
end module

program fortran_saved
  use, intrinsic :: iso_fortran_env
  use recto
  use saved
  use test
  implicit none
  integer(int64) :: last, deadly, epoch
  logical :: restored
  integer, pointer :: nothing

  call recto_init()
  me = recto_rank()
  ranks = recto_size()
  if (argument(1) == "stop") then
    nullify (nothing)
    call recto_free(nothing)
    call check(.false., "the program goes on")
  end if
  block
    character(:), allocatable :: word
    word = argument(1)
    read (word, *) last
    word = argument(2)
    read (word, *) deadly
  end block
  call declare()
  epoch = -1
  call recto_restart(restored, epoch)
  call check(restored .eqv. epoch >= 0, "restored")
  if (restored) then
    call expect_state(step)
    call recover_u(step)
  end if
  if (me == 0) print "(a, i0)", "from step ", step
  flush (output_unit)
  call steps(last, deadly)
  call recto_unprotect("table")
  call test_end("checkpoints")
end program
