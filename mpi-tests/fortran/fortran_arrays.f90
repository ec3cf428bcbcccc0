! SPDX-License-Identifier: BSD-3-Clause
!
! Shows that shared arrays of every kind and several ranks and bounds are the same memory
! on all ranks, laid out as Fortran does; that pointers attach to memory of the heap and to
! parts of it; homes, pins and ranges; and that wrong calls give their errors on every rank.
program fortran_arrays
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env
  use recto
  use test
  implicit none
  integer :: me, ranks

  call recto_init()
  me = recto_rank()
  ranks = recto_size()
  call numbers()
  call integers()
  call reals()
  call complexes()
  call order_of_dimensions()
  call heap()
  call homes()
  call ranges()
  call files()
  call errors()
  call disagreement()
  call test_end("shared arrays")

contains

  subroutine numbers()
    type(recto_counters) :: counters
    character(20) :: version

    write (version, "(i0, '.', i0, '.', i0)") RECTO_VERSION_MAJOR, RECTO_VERSION_MINOR, &
      RECTO_VERSION_PATCH
    call check(recto_version() == trim(version), "version")
    call check(recto_strerror(RECTO_EIO) == "input/output error", "strerror")
    call check(recto_last_error() == "", "no error yet")
    call check(recto_node() >= 0 .and. recto_node() < recto_nodes(), "node")
    call recto_stats(counters)
    call check(counters%checkpoints == 0 .and. counters%messages >= 0, "counters")
  end subroutine

  ! Each rank writes the elements whose turn is its own; all see all.
  subroutine integers()
    integer(int8), pointer :: a(:)
    integer(int16), pointer :: b(:, :, :, :, :, :, :)
    integer(int32), pointer :: c(:, :, :)
    integer(int64), pointer :: d(:, :)
    integer(int64), pointer :: s
    integer :: i, j

    call recto_array("a", a, [100], lower=[-50])
    call recto_array("b", b, [1, 2, 3, 2, 1, 2, 3], lower=[7, 6, 5, 4, 3, 2, 1])
    call recto_array("c", c, [4_int64, 5_int64, 6_int64], attr=recto_attr(placement=RECTO_CYCLIC))
    call recto_array("groups/d", d, [3, 1000], [0, 1], recto_attr(consistency=RECTO_SEQUENTIAL))
    call recto_array("s", s)
    call check(lbound(a, 1) == -50 .and. ubound(a, 1) == 49, "bounds of a")
    call check(all(lbound(b) == [7, 6, 5, 4, 3, 2, 1]) .and. all(shape(b) == [1, 2, 3, 2, 1, 2, 3]), &
               "bounds of b")
    call check(all(lbound(c) == 1) .and. all(ubound(c) == [4, 5, 6]), "bounds of c")
    call check(all(lbound(d) == [0, 1]) .and. all(ubound(d) == [2, 1000]), "bounds of d")
    call check(all(a == 0) .and. all(b == 0) .and. all(c == 0) .and. all(d == 0) .and. s == 0, "zero")
    call recto_barrier()
    do i = -50 + me, 49, ranks
      a(i) = int(i, int8)
    end do
    do j = 1 + me, 6, ranks
      c(:, :, j) = 100 * j
      c(4, 5, j) = j
    end do
    do j = 1 + me, 1000, ranks
      d(:, j) = [j, 2 * j, 3 * j]
    end do
    if (me == ranks - 1) then
      b = 12
      b(7, 7, 7, 5, 3, 3, 3) = 13
      s = huge(s)
    end if
    call recto_barrier()
    call check(all(a == [(int(i, int8), i=-50, 49)]), "a")
    call check(count(b == 12) == size(b) - 1 .and. b(7, 7, 7, 5, 3, 3, 3) == 13, "b")
    do j = 1, 6
      call check(count(c(:, :, j) == 100 * j) == 19 .and. c(4, 5, j) == j, "c")
    end do
    call check(all(d(0, :) + d(1, :) == d(2, :)) .and. sum(d) == 6 * 500500_int64, "d")
    call check(s == huge(s), "s")
    call recto_barrier()
    call recto_free(a)
    call recto_free(b)
    call recto_free(c)
    call recto_free(d)
    call recto_free(s)
    call check(.not. (associated(a) .or. associated(b) .or. associated(c) .or. associated(d) .or. &
                      associated(s)), "freed")
  end subroutine

  subroutine reals()
    real(real32), pointer :: x(:, :, :, :, :)
    real(real64), pointer :: y(:, :), z(:, :, :, :)
    integer :: j

    call recto_array("x", x, [2, 2, 2, 2, 300])
    call recto_array("y", y, [130, 70], lower=[0, -1])
    call recto_array("z", z, [3, 4, 5, 6])
    do j = 1 + me, 300, ranks
      x(:, :, :, :, j) = real(j)
    end do
    do j = -1 + me, 68, ranks
      y(:, j) = 0.5d0 * j
    end do
    z(:, :, :, 1 + me::ranks) = 1 + me
    call recto_barrier()
    call check(abs(sum(x) - 16 * 45150) < 1, "x")
    call check(abs(y(0, -1) + 0.5d0) < 1d-12 .and. abs(y(129, 68) - 34) < 1d-12, "y")
    call check(abs(sum(y) - 130 * 0.5d0 * (68 * 69 / 2 - 1)) < 1d-9, "sum of y")
    do j = 1, 6
      call check(all(nint(z(:, :, :, j)) == 1 + mod(j - 1, ranks)), "z")
    end do
    call recto_barrier()
    call recto_free(x)
    call recto_free(y)
    call recto_free(z)
  end subroutine

  subroutine complexes()
    complex(real32), pointer :: u(:, :, :, :, :, :)
    complex(real64), pointer :: v(:, :), w

    call recto_array("u", u, [1, 2, 1, 2, 1, 5 * ranks])
    call recto_array("v", v, [4, ranks], lower=[1, 0])
    call recto_array("w", w)
    u(:, :, :, :, :, 1 + me) = cmplx(1, me, real32)
    v(:, me) = cmplx(me, -me, real64)
    if (me == 0) w = (3d0, 4d0)
    call recto_barrier()
    call check(abs(sum(u) - cmplx(4 * ranks, 2 * ranks * (ranks - 1), real32)) < 1e-3, "u")
    call check(abs(sum(v) - cmplx(1, -1, real64) * 2 * ranks * (ranks - 1)) < 1d-9, "v")
    call check(abs(abs(w) - 5) < 1d-12, "w")
    call recto_barrier()
    call recto_free(u)
    call recto_free(v)
    call recto_free(w)
  end subroutine

  integer(int64) function at(address)
    type(c_ptr), intent(in) :: address

    at = transfer(address, at)
  end function

  subroutine order_of_dimensions()
    real(real64), pointer :: x(:, :, :), flat(:)
    type(c_ptr) :: plain
    integer(int32), pointer :: words(:)

    call recto_array("x", x, [3, 5, 7])
    call check(at(c_loc(x(2, 1, 1))) - at(c_loc(x(1, 1, 1))) == 8, "first index")
    call check(at(c_loc(x(1, 2, 1))) - at(c_loc(x(1, 1, 1))) == 24, "second index")
    call check(at(c_loc(x(1, 1, 2))) - at(c_loc(x(1, 1, 1))) == 120, "third index")
    call recto_attach(c_loc(x), flat, [105], lower=[0])
    if (me == 0) x(2, 3, 4) = 42
    call recto_barrier()
    call check(nint(flat(1 + 3 * 2 + 15 * 3)) == 42, "the same memory")
    call recto_barrier()
    call recto_free(x)
    call recto_alloc("plain", plain, 4000_int64)
    call recto_attach(plain, words, [1000_int64])
    if (me == 0) words = 1
    call recto_barrier()
    call check(sum(words) == 1000, "recto_alloc")
    call recto_barrier()
    call recto_free(plain)
    call recto_array("plain", plain, RECTO_INT32, [10, 20])
    call recto_free(plain)
  end subroutine

  ! A block of rank 0's heap, known to the others by its address in shared memory.
  subroutine heap()
    integer(int64), pointer :: address
    real(real64), pointer :: block(:, :)
    type(c_ptr) :: p

    call recto_array("address", address)
    if (me == 0) then
      call recto_malloc(p, 8 * 200_c_size_t)
      call recto_attach(p, block, [10, 20])
      block = 7
      address = transfer(p, address)
    end if
    call recto_barrier()
    call recto_attach(transfer(address, p), block, [10, 20], lower=[1, 0])
    call check(all(nint(block) == 7), "block of the heap")
    call check(recto_is_shared(block), "the heap is shared")
    call recto_barrier()
    if (me == ranks - 1) then
      call recto_mfree(block)
      call check(.not. associated(block), "block freed")
    end if
    call recto_barrier()
    call recto_free(address)
  end subroutine

  subroutine homes()
    integer(int32), pointer :: x(:)
    integer, target :: mine
    integer :: from, to

    call recto_array("x", x, [8192], attr=recto_attr(placement=recto_at(ranks - 1)))
    call check(recto_home(x) == ranks - 1 .and. recto_home(x(8000)) == ranks - 1, "recto_at")
    call check(recto_home(mine) == RECTO_ENOENT .and. .not. recto_is_shared(mine), "not shared")
    call check(recto_is_shared(x(17)), "shared")
    from = 1 + me * 1024
    to = merge(from - 1, from + 1023, me == 1) ! nothing for rank 1
    call recto_barrier()
    call recto_migrate(x(from:to), me)
    call check(recto_home(x(1)) == 0, "home of the first page")
    call check(recto_home(x(1025)) == ranks - 1, "home of the second page")
    call recto_barrier()
    call recto_free(x)
  end subroutine

  subroutine ranges()
    integer(int32), pointer :: x(:, :)
    integer :: status

    call recto_array("x", x, [1024, 8])
    if (me == 0) then
      x(:, 3) = 3
      call recto_release_range(x(:, 3))
    end if
    call recto_barrier()
    call recto_acquire_range(x(:, 3))
    call recto_prefetch(x)
    call recto_pin(x(:, 3:4), RECTO_READ)
    call check(all(x(:, 3) == 3), "prefetched and pinned")
    call recto_unpin(x(:, 3:4), RECTO_READ)
    call recto_unpin(x(:, 3:4), RECTO_READ, status)
    ! ranks that use the same memory have nothing to pin
    call equal(status, merge(RECTO_ESTATE, RECTO_OK, recto_nodes() > 1), "unpin of what is not pinned")
    call recto_pin(x(1, :), RECTO_READ, status)
    call equal(status, RECTO_EINVAL, "pin of a row")
    call check(index(recto_last_error(), "recto_pin") > 0, "the message names the call")
    call recto_migrate(x(1:10, :), 0, status)
    call equal(status, RECTO_EINVAL, "migrate with gaps")
    call recto_barrier()
    call recto_free(x)
  end subroutine

  ! The kernel cannot read into pages that are protected: librecto stands in front of
  ! read, if the program was linked with it before the C library.
  subroutine files()
    interface
      function c_open(path, flags) result(fd) bind(c, name="open")
        import :: c_char, c_int
        character(kind=c_char), intent(in) :: path(*)
        integer(c_int), value :: flags
        integer(c_int) :: fd
      end function
      function c_read(fd, buffer, bytes) result(got) bind(c, name="read")
        import :: c_int, c_ptr, c_size_t
        integer(c_int), value :: fd
        type(c_ptr), value :: buffer
        integer(c_size_t), value :: bytes
        integer(c_size_t) :: got
      end function
    end interface
    real(real64), pointer :: x(:)
    real(real64), allocatable :: mine(:)
    integer(c_size_t) :: got
    integer :: i, unit

    call recto_array("x", x, [200000], attr=recto_attr(placement=recto_at(0)))
    mine = [(sqrt(real(i, real64)), i=1, size(x))]
    if (me == ranks - 1) then
      open (newunit=unit, file="numbers", access="stream", form="unformatted")
      write (unit) mine
      close (unit)
      got = c_read(c_open("numbers" // c_null_char, 0_c_int), c_loc(x), 8 * size(x, kind=c_size_t))
      call check(got == 8 * size(x), "read")
    end if
    call recto_barrier()
    call check(all(abs(x - mine) < 1d-12), "what was read from a file")
    if (me == 0) then
      open (newunit=unit, file="text", action="write")
      write (unit, *) x(1:3)
      close (unit)
    end if
    call recto_barrier()
    call recto_free(x)
  end subroutine

  subroutine errors()
    real(real64), pointer :: x(:, :), y(:, :)
    type(c_ptr) :: p
    integer :: status

    call recto_array("x", x, [2, 3, 4], status=status)
    call equal(status, RECTO_EINVAL, "three numbers for two dimensions")
    call check(.not. associated(x) .and. index(recto_last_error(), '"x"') > 0, "its message")
    call recto_array("x", x, [2, -3], status=status)
    call equal(status, RECTO_EINVAL, "a negative extent")
    call recto_array("recto/x", x, [2, 3], status=status)
    call equal(status, RECTO_EINVAL, "a name of Recto's own")
    call recto_array("x", x, [2, 3])
    call recto_array("x  ", y, [2, 3], status=status)
    call equal(status, RECTO_EEXIST, "a name twice")
    call check(.not. associated(y), "no array")
    call check(index(recto_last_error(), "allocated already") > 0, "the message is C's again")
    call recto_free(y, status)
    call equal(status, RECTO_ENOENT, "free of nothing")
    call recto_free(x)
    call recto_malloc(p, huge(0_c_size_t), status)
    call equal(status, RECTO_ENOMEM, "malloc of everything")
    call recto_init(status)
    call equal(status, RECTO_ESTATE, "init twice")
  end subroutine

  ! One rank is wrong: all get an error, none waits.
  subroutine disagreement()
    integer(int32), pointer :: x(:)
    integer :: status

    call recto_array("x", x, [10 + me], status=status)
    call equal(status, merge(RECTO_OK, RECTO_EMISMATCH, ranks == 1), "different extents")
    if (ranks == 1) call recto_free(x)
    if (me == 0) then
      call recto_array("x", x, [10], lower=[1, 1], status=status)
    else
      call recto_array("x", x, [10], lower=[1], status=status)
    end if
    call check(status < 0 .and. .not. associated(x), "bounds wrong on one rank")
  end subroutine
end program
