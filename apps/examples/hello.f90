! SPDX-License-Identifier: BSD-3-Clause
!
! hello: each rank leaves a number in memory that all ranks share, and rank 0 reads them.
! Nobody sends a message.
!
!     mpifort hello.f90 -o hello $(pkg-config --cflags --libs recto-fortran)
!     mpirun -n 3 ./hello
program hello
  use recto
  use, intrinsic :: iso_fortran_env, only: int64
  implicit none
  integer(int64), pointer :: squares(:)
  integer :: i, rank, ranks

  ! Errors stop the program with a message that says what to do; a last argument
  ! `status` would get the error code instead.
  call recto_init() ! and MPI, if need be
  rank = recto_rank()
  ranks = recto_size()

  ! All ranks call it and get the same memory, which is zero at first. Ranks count from 0,
  ! and so may the array.
  call recto_array("squares", squares, [ranks], lower=[0])

  squares(rank) = int(rank, int64)**2

  ! After it all ranks see what any of them wrote before.
  call recto_barrier()

  if (rank == 0) then
    do i = 0, ranks - 1
      print "(a, i0, a, i0, a, i0)", "hello from rank ", i, " of ", ranks, ", whose square is ", &
        squares(i)
    end do
    if (any(squares /= [(int(i, int64)**2, i=0, ranks - 1)])) error stop "WRONG"
    print "(a)", "ok"
  end if
  call recto_finalize()
end program
