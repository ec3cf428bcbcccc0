! SPDX-License-Identifier: BSD-3-Clause
!
! Shows that locks, reader-writer locks, events, semaphores, conditions and atomics of all
! kinds do from Fortran what they do from C, among all ranks.
program fortran_sync
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env
  use recto
  use test
  implicit none
  integer, parameter :: rounds = 200
  integer :: me, ranks

  call recto_init()
  me = recto_rank()
  ranks = recto_size()
  call locks()
  call many_locks()
  call tries()
  call readers_and_writers()
  call events()
  call semaphores()
  call conditions()
  call atomics()
  call release_acquire()
  call test_end("synchronisation")

contains

  subroutine locks()
    integer(int64), pointer :: x(:)
    type(recto_lock_t) :: lock
    integer :: i, status

    call recto_array("x", x, [3])
    call recto_lock_create(lock)
    do i = 1, rounds
      call recto_lock(lock)
      x(2) = x(2) + 1
      x(3) = x(3) + x(2)
      call recto_unlock(lock)
    end do
    call recto_barrier()
    call check(x(2) == rounds * ranks, "additions under a lock")
    call check(x(3) == x(2) * (x(2) + 1) / 2, "their order")
    call recto_unlock(lock, status)
    call equal(status, RECTO_ESTATE, "unlock of a lock that nobody holds")
    call recto_barrier()
    call recto_lock_free(lock)
    call recto_free(x)
  end subroutine

  ! One lock for each element.
  subroutine many_locks()
    integer(int32), pointer :: x(:)
    type(recto_lock_t) :: each(8)
    integer :: i, k

    call recto_array("x", x, [8])
    call recto_lock_create_many(each)
    do i = 1, rounds
      k = 1 + mod(i + me, 8)
      call recto_lock(each(k))
      x(k) = x(k) + 1
      call recto_unlock(each(k))
    end do
    call recto_barrier()
    call check(sum(x) == rounds * ranks .and. maxval(x) == rounds * ranks / 8, "eight locks")
    call recto_barrier()
    call recto_lock_free_many(each)
    call recto_free(x)
  end subroutine

  subroutine tries()
    type(recto_lock_t) :: lock
    type(recto_rwlock_t) :: shared_lock
    logical :: taken
    integer :: status

    call recto_lock_create(lock)
    call recto_rwlock_create(shared_lock)
    if (me == 0) call recto_lock(lock)
    if (me == 0) call recto_rwlock_rdlock(shared_lock)
    call recto_barrier()
    call recto_trylock(lock, taken)
    call check(.not. taken, "a lock that is held")
    call recto_rwlock_trywrlock(shared_lock, taken)
    call check(.not. taken, "writing while there is a reader")
    call recto_rwlock_tryrdlock(shared_lock, taken)
    call check(taken, "reading while there is a reader")
    call recto_rwlock_unlock(shared_lock)
    call recto_barrier()
    call recto_lock_free(lock, status)
    call equal(status, RECTO_EBUSY, "free of a lock that is held")
    if (me == 0) call recto_unlock(lock)
    if (me == 0) call recto_rwlock_unlock(shared_lock)
    call recto_barrier()
    if (me == ranks - 1) then
      call recto_trylock(lock, taken)
      call check(taken, "a free lock")
      call recto_unlock(lock)
    end if
    call recto_barrier()
    call recto_lock_free(lock)
    call recto_rwlock_free(shared_lock)
    call recto_lock(recto_lock_t(id=-1), status)
    call equal(status, RECTO_ENOENT, "a lock that there is not")
  end subroutine

  subroutine readers_and_writers()
    integer(int64), pointer :: x(:, :)
    type(recto_rwlock_t) :: lock
    integer :: i

    call recto_array("x", x, [2, 600])
    call recto_rwlock_create(lock)
    do i = 1, rounds / 4
      if (mod(i + me, 4) == 0) then
        call recto_rwlock_wrlock(lock)
        x = x + 1
      else
        call recto_rwlock_rdlock(lock)
        call check(all(x == x(1, 1)), "a reader sees half a write")
      end if
      call recto_rwlock_unlock(lock)
    end do
    call recto_barrier()
    call check(x(1, 1) == sum([(count([(mod(i + me, 4) == 0, i=1, rounds / 4)]), me=0, ranks - 1)]), &
               "writes")
    me = recto_rank()
    call recto_barrier()
    call recto_rwlock_free(lock)
    call recto_free(x)
  end subroutine

  subroutine events()
    integer(int64), pointer :: x
    type(recto_event_t) :: event
    logical :: set

    call recto_array("x", x)
    call recto_event_create(event)
    call recto_event_test(event, set)
    call check(.not. set, "a new event")
    call recto_barrier()
    if (me == ranks - 1) then
      x = 17
      call recto_event_set(event)
    end if
    call recto_event_wait(event)
    call check(x == 17, "what was written before the event was set")
    call recto_event_test(event, set)
    call check(set, "the event")
    call recto_barrier()
    if (me == 0) call recto_event_clear(event)
    call recto_barrier()
    call recto_event_test(event, set)
    call check(.not. set, "cleared")
    call recto_barrier()
    call recto_event_free(event)
    call recto_free(x)
  end subroutine

  ! A semaphore of one is a lock.
  subroutine semaphores()
    integer(int64), pointer :: x
    type(recto_sem_t) :: sem
    logical :: taken
    integer :: i, status

    call recto_array("x", x)
    call recto_sem_create(sem, 1_int64)
    do i = 1, rounds / 4
      call recto_sem_wait(sem)
      x = x + 1
      call recto_sem_post(sem)
    end do
    call recto_barrier()
    call check(x == rounds / 4 * ranks, "additions under a semaphore")
    if (me == 0) then
      call recto_sem_trywait(sem, taken)
      call check(taken, "one")
      call recto_sem_trywait(sem, taken)
      call check(.not. taken, "no more")
    end if
    call recto_barrier()
    call recto_sem_free(sem)
    call recto_sem_create(sem, -1_int64, status)
    call equal(status, RECTO_EINVAL, "a negative semaphore")
    call recto_free(x)
  end subroutine

  ! Ranks take turns.
  subroutine conditions()
    integer(int64), pointer :: turn
    type(recto_lock_t) :: lock
    type(recto_cond_t) :: cond
    integer :: i

    call recto_array("turn", turn)
    call recto_lock_create(lock)
    call recto_cond_create(cond)
    call recto_lock(lock)
    do i = 0, 9
      do while (turn /= i * ranks + me)
        call recto_cond_wait(cond, lock)
      end do
      turn = turn + 1
      call recto_cond_broadcast(cond)
    end do
    call recto_unlock(lock)
    call recto_cond_signal(cond)
    call recto_barrier()
    call check(turn == 10 * ranks, "turns")
    call recto_barrier()
    call recto_cond_free(cond)
    call recto_lock_free(lock)
    call recto_free(turn)
  end subroutine

  subroutine atomics()
    integer(int32), pointer :: a(:)
    integer(int64), pointer :: b(:)
    real(real64), pointer :: c
    integer(int32) :: old
    integer :: i

    call recto_array("a", a, [5], lower=[0])
    call recto_array("b", b, [5])
    call recto_array("c", c)
    do i = 1, rounds
      call check(recto_fetch_add(a(2), 1) >= 0, "fetch and add")
      call check(recto_fetch_add(b(5), -2_int64) <= 0, "fetch and add")
      call check(recto_fetch_add(c, 0.5d0) >= 0, "fetch and add")
      old = recto_load(a(4))
      do while (recto_cas(a(4), old, old + 3) /= old) ! an addition, by hand
        old = recto_load(a(4))
      end do
    end do
    call recto_barrier()
    call check(recto_load(a(2)) == rounds * ranks .and. a(2) == rounds * ranks, "int32")
    call check(recto_load(b(5)) == -2 * rounds * ranks, "int64")
    call check(abs(recto_load(c) - 0.5d0 * rounds * ranks) < 1d-9, "real64")
    call check(a(4) == 3 * rounds * ranks, "compare and swap")
    call recto_barrier()
    if (me == 0) then
      call recto_store(a(0), 5)
      call recto_store(b(1), 6_int64)
      call recto_store(c, 7d0)
      call check(recto_exchange(a(0), 50) == 5 .and. recto_exchange(b(1), 60_int64) == 6, "exchange")
      call check(recto_cas(b(1), 6_int64, 7_int64) == 60, "swap of something else")
    end if
    call recto_barrier()
    call check(a(0) == 50 .and. b(1) == 60 .and. nint(c) == 7, "stored")
    call check(count(a /= 0) == 3 .and. count(b /= 0) == 2, "their neighbours")
    call recto_barrier()
    call recto_free(a)
    call recto_free(b)
    call recto_free(c)
  end subroutine

  ! A flag of the program's own.
  subroutine release_acquire()
    integer(int32), pointer :: flag, x(:)

    call recto_array("flag", flag)
    call recto_array("x", x, [5000])
    if (me == 0) then
      x = 9
      call recto_release()
      call recto_store(flag, 1)
    else
      do while (recto_load(flag) == 0)
      end do
      call recto_acquire()
      call check(all(x == 9), "what was written before the flag")
    end if
    call recto_barrier()
    call recto_free(flag)
    call recto_free(x)
  end subroutine
end program
