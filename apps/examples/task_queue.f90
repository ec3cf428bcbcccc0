! SPDX-License-Identifier: BSD-3-Clause
!
! task_queue: ranks take tasks from a shared queue and put new ones into it, as long as
! there are any; who is fast does more. A task is to count the primes of an interval; one
! that is too long is cut into two tasks instead. A lock keeps the queue in order; who
! finds it empty sleeps on a condition until there is something to do.
!
!     mpifort task_queue.f90 -o task_queue $(pkg-config --cflags --libs recto-fortran)
!     mpirun -n 3 ./task_queue
program task_queue
  use recto
  implicit none
  integer, parameter :: last = 1000000, all_primes = 78498, longest = 5000
  integer, pointer :: tasks(:, :)               ! shared; first and last number of each
  integer, pointer :: waiting, unfinished       ! tasks in the queue; these, and those in work
  integer, pointer :: primes
  type(recto_lock_t) :: lock                    ! of all of it
  type(recto_cond_t) :: changed
  integer :: task(2)

  call recto_init()
  call recto_array("tasks", tasks, [2, 1000])
  call recto_array("waiting", waiting)
  call recto_array("unfinished", unfinished)
  call recto_array("primes", primes)
  call recto_lock_create(lock)
  call recto_cond_create(changed)
  if (recto_rank() == 0) call put(2, last) ! before anybody takes one
  call recto_barrier()

  do while (take(task))
    call work(task)
  end do
  call recto_barrier()

  if (primes /= all_primes) error stop "WRONG"
  if (recto_rank() == 0) print "(i0, a, i0, a)", primes, " primes up to ", last, ": ok"
  call recto_finalize()

contains

  subroutine put(from, to)
    integer, intent(in) :: from, to

    waiting = waiting + 1
    tasks(:, waiting) = [from, to]
    unfinished = unfinished + 1
  end subroutine

  ! Waits for a task, or, false, for the end of all.
  logical function take(task) result(got)
    integer, intent(out) :: task(2)

    call recto_lock(lock)
    do while (waiting == 0 .and. unfinished > 0)
      call recto_cond_wait(changed, lock)
    end do
    got = waiting > 0
    task = 0
    if (got) then
      task = tasks(:, waiting)
      waiting = waiting - 1
    end if
    call recto_unlock(lock)
  end function

  subroutine work(task)
    integer, intent(in) :: task(2)
    integer :: found, middle
    logical :: cut

    cut = task(2) - task(1) >= longest
    found = 0
    if (.not. cut) found = primes_in(task(1), task(2))
    call recto_lock(lock)
    if (cut) then
      middle = sum(task) / 2
      call put(task(1), middle)
      call put(middle + 1, task(2))
    end if
    primes = primes + found
    unfinished = unfinished - 1 ! without this one
    call recto_cond_broadcast(changed)
    call recto_unlock(lock)
  end subroutine

  pure integer function primes_in(from, to) result(found)
    integer, intent(in) :: from, to
    integer :: n, d

    found = 0
    do n = from, to
      d = 2
      do while (d * d <= n .and. mod(n, d) /= 0)
        d = d + 1
      end do
      if (d * d > n) found = found + 1
    end do
  end function
end program
