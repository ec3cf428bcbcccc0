! SPDX-License-Identifier: BSD-3-Clause
!
! shared_array: a matrix that all ranks share. Each rank writes a block of columns, then
! adds up a block of rows, most of which others wrote: pages move by themselves, when
! they are touched. All that the program says is when it is time to look: recto_barrier.
!
!     mpifort shared_array.f90 -o shared_array $(pkg-config --cflags --libs recto-fortran)
!     mpirun -n 3 ./shared_array
program shared_array
  use recto
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
  integer, parameter :: rows = 600, columns = 500
  real(real64), pointer :: a(:, :), sums(:)
  integer :: i, j, rank
  logical :: right

  call recto_init()
  rank = recto_rank()

  ! The pointer says type and rank. HDF5 tools show the dimensions in reverse: they name
  ! the last index first, as C does.
  call recto_array("a", a, [rows, columns])
  call recto_array("sums", sums, [rows])

  do j = first(columns, rank), first(columns, rank + 1) - 1
    a(:, j) = [(real(i, real64) * j, i=1, rows)]
  end do
  call recto_barrier()

  ! Ranks may write neighbouring elements, even in one page, at the same time.
  do i = first(rows, rank), first(rows, rank + 1) - 1
    sums(i) = sum(a(i, :))
  end do
  call recto_barrier()

  ! Every rank looks at all of them.
  right = all(abs(sums - [(i * (columns * (columns + 1) / 2.0_real64), i=1, rows)]) < 0.5)
  if (.not. right) error stop "WRONG"
  if (rank == 0) print "(a, f0.0, a)", "the last row's sum is ", sums(rows), " ok"
  call recto_finalize()

contains

  ! The first of n things, from 1, that are rank r's.
  integer function first(n, r)
    integer, intent(in) :: n, r

    first = 1 + n * r / recto_size()
  end function
end program
