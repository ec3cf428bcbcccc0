! SPDX-License-Identifier: BSD-3-Clause
!
! checkpoint [STEPS]: checkpoint_before.f90 with checkpoints: five lines are added; two
! declarations get the attribute target, so that the compiler knows that others see the
! variables; and MPI is started and ended by Recto, which needs it to be safe for threads.
! Kill any rank half-way (kill -9) and start the program again: it goes on from its last
! checkpoint.
!
!     mpifort checkpoint.f90 -o checkpoint $(pkg-config --cflags --libs recto-fortran)
!     mpirun -n 3 ./checkpoint
program checkpoint
  use mpi
  use recto
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real64
  implicit none
  integer, parameter :: cells = 100000 ! in all; u(0) and u(cells + 1) are always cold
  ! A wave of so many halves loses the same part of itself in each step.
  real(real64), parameter :: wave = 2000 * acos(-1.0_real64) / (cells + 1)
  real(real64), allocatable, target :: u(:)
  real(real64), allocatable :: next(:)
  real(real64) :: left_over, error
  integer, target :: step
  integer :: steps, first, last, i, rank, ranks, left, right, ierror
  character(20) :: argument

  call recto_init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  call get_command_argument(1, argument)
  steps = 1000
  if (argument /= "") read (argument, *) steps

  ! u(first) to u(last) are mine, the ones beside them copies of the neighbours'.
  first = 1 + int(int(cells, int64) * rank / ranks)
  last = int(int(cells, int64) * (rank + 1) / ranks)
  allocate (u(first - 1:last + 1), source=0.0_real64)
  allocate (next(first:last))
  u(first:last) = [(sin(wave * i), i=first, last)]
  step = 0
  call recto_protect("u", u)
  call recto_protect("step", step)
  call recto_restart()
  if (rank == 0) print "(a, i0)", "from step ", step
  flush (output_unit)
  left = merge(rank - 1, MPI_PROC_NULL, rank > 0)
  right = merge(rank + 1, MPI_PROC_NULL, rank < ranks - 1)
  do while (step < steps)
    call MPI_Sendrecv(u(first), 1, MPI_DOUBLE_PRECISION, left, 0, u(last + 1), 1, &
                      MPI_DOUBLE_PRECISION, right, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    call MPI_Sendrecv(u(last), 1, MPI_DOUBLE_PRECISION, right, 1, u(first - 1), 1, &
                      MPI_DOUBLE_PRECISION, left, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE, ierror)
    do i = first, last
      next(i) = u(i) + (u(i - 1) - 2 * u(i) + u(i + 1)) / 4
    end do
    u(first:last) = next
    step = step + 1
    if (mod(step, 100) == 0) call recto_checkpoint()
  end do

  left_over = (1 - sin(wave / 2)**2)**steps
  error = maxval(abs(u(first:last) - [(left_over * sin(wave * i), i=first, last)]))
  call MPI_Allreduce(MPI_IN_PLACE, error, 1, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD, ierror)
  if (error > 1e-9_real64) error stop "WRONG"
  if (rank == 0) print "(f6.4, a, i0, a)", left_over, " of the heat is left after ", steps, " steps: ok"
  call recto_finalize()
end program
