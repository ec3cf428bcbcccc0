! SPDX-License-Identifier: BSD-3-Clause
!
! recto_sync: barrier, release and acquire, synchronisation objects. Part of module recto.
module recto_sync
  use, intrinsic :: iso_fortran_env, only: int64
  use recto_base, only: finish, finish_try
  use recto_c
  implicit none
  private
  public :: recto_barrier, recto_release, recto_acquire
  public :: recto_lock_create, recto_lock_free, recto_lock_create_many, recto_lock_free_many
  public :: recto_lock, recto_trylock, recto_unlock
  public :: recto_rwlock_create, recto_rwlock_free, recto_rwlock_rdlock, recto_rwlock_wrlock
  public :: recto_rwlock_tryrdlock, recto_rwlock_trywrlock, recto_rwlock_unlock
  public :: recto_event_create, recto_event_free, recto_event_set, recto_event_clear
  public :: recto_event_wait, recto_event_test
  public :: recto_sem_create, recto_sem_free, recto_sem_wait, recto_sem_trywait, recto_sem_post
  public :: recto_cond_create, recto_cond_free, recto_cond_wait, recto_cond_signal
  public :: recto_cond_broadcast

contains

  ! ---- of all ranks ----------------------------------------------------------------

  subroutine recto_barrier(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_barrier(), status)
  end subroutine

  subroutine recto_release(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_release(), status)
  end subroutine

  subroutine recto_acquire(status)
    integer(c_int), intent(out), optional :: status

    call finish(c_acquire(), status)
  end subroutine

  ! ---- locks -----------------------------------------------------------------------

  subroutine recto_lock_create(lock, status)
    type(recto_lock_t), intent(out) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_lock_create(lock), status)
  end subroutine

  subroutine recto_lock_free(lock, status)
    type(recto_lock_t), intent(inout) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_lock_free(lock), status)
  end subroutine

  subroutine recto_lock_create_many(locks, status)
    type(recto_lock_t), intent(inout) :: locks(:)
    integer(c_int), intent(out), optional :: status

    call finish(c_lock_create_many(locks, size(locks, kind=c_size_t)), status)
  end subroutine

  subroutine recto_lock_free_many(locks, status)
    type(recto_lock_t), intent(inout) :: locks(:)
    integer(c_int), intent(out), optional :: status

    call finish(c_lock_free_many(locks, size(locks, kind=c_size_t)), status)
  end subroutine

  subroutine recto_lock(lock, status)
    type(recto_lock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_lock(lock), status)
  end subroutine

  subroutine recto_trylock(lock, taken, status)
    type(recto_lock_t), intent(in) :: lock
    logical, intent(out) :: taken
    integer(c_int), intent(out), optional :: status

    call finish_try(c_trylock(lock), taken, status)
  end subroutine

  subroutine recto_unlock(lock, status)
    type(recto_lock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_unlock(lock), status)
  end subroutine

  ! ---- reader-writer locks ---------------------------------------------------------

  subroutine recto_rwlock_create(lock, status)
    type(recto_rwlock_t), intent(out) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_rwlock_create(lock), status)
  end subroutine

  subroutine recto_rwlock_free(lock, status)
    type(recto_rwlock_t), intent(inout) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_rwlock_free(lock), status)
  end subroutine

  subroutine recto_rwlock_rdlock(lock, status)
    type(recto_rwlock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_rwlock_rdlock(lock), status)
  end subroutine

  subroutine recto_rwlock_wrlock(lock, status)
    type(recto_rwlock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_rwlock_wrlock(lock), status)
  end subroutine

  subroutine recto_rwlock_tryrdlock(lock, taken, status)
    type(recto_rwlock_t), intent(in) :: lock
    logical, intent(out) :: taken
    integer(c_int), intent(out), optional :: status

    call finish_try(c_rwlock_tryrdlock(lock), taken, status)
  end subroutine

  subroutine recto_rwlock_trywrlock(lock, taken, status)
    type(recto_rwlock_t), intent(in) :: lock
    logical, intent(out) :: taken
    integer(c_int), intent(out), optional :: status

    call finish_try(c_rwlock_trywrlock(lock), taken, status)
  end subroutine

  subroutine recto_rwlock_unlock(lock, status)
    type(recto_rwlock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_rwlock_unlock(lock), status)
  end subroutine

  ! ---- events ----------------------------------------------------------------------

  subroutine recto_event_create(event, status)
    type(recto_event_t), intent(out) :: event
    integer(c_int), intent(out), optional :: status

    call finish(c_event_create(event), status)
  end subroutine

  subroutine recto_event_free(event, status)
    type(recto_event_t), intent(inout) :: event
    integer(c_int), intent(out), optional :: status

    call finish(c_event_free(event), status)
  end subroutine

  subroutine recto_event_set(event, status)
    type(recto_event_t), intent(in) :: event
    integer(c_int), intent(out), optional :: status

    call finish(c_event_set(event), status)
  end subroutine

  subroutine recto_event_clear(event, status)
    type(recto_event_t), intent(in) :: event
    integer(c_int), intent(out), optional :: status

    call finish(c_event_clear(event), status)
  end subroutine

  subroutine recto_event_wait(event, status)
    type(recto_event_t), intent(in) :: event
    integer(c_int), intent(out), optional :: status

    call finish(c_event_wait(event), status)
  end subroutine

  subroutine recto_event_test(event, set, status)
    type(recto_event_t), intent(in) :: event
    logical, intent(out) :: set
    integer(c_int), intent(out), optional :: status
    integer(c_int) :: code

    code = c_event_test(event)
    set = code == 1
    call finish(min(code, 0_c_int), status)
  end subroutine

  ! ---- semaphores ------------------------------------------------------------------

  subroutine recto_sem_create(sem, initial, status)
    type(recto_sem_t), intent(out) :: sem
    integer(int64), intent(in) :: initial
    integer(c_int), intent(out), optional :: status

    call finish(c_sem_create(sem, initial), status)
  end subroutine

  subroutine recto_sem_free(sem, status)
    type(recto_sem_t), intent(inout) :: sem
    integer(c_int), intent(out), optional :: status

    call finish(c_sem_free(sem), status)
  end subroutine

  subroutine recto_sem_wait(sem, status)
    type(recto_sem_t), intent(in) :: sem
    integer(c_int), intent(out), optional :: status

    call finish(c_sem_wait(sem), status)
  end subroutine

  subroutine recto_sem_trywait(sem, taken, status)
    type(recto_sem_t), intent(in) :: sem
    logical, intent(out) :: taken
    integer(c_int), intent(out), optional :: status

    call finish_try(c_sem_trywait(sem), taken, status)
  end subroutine

  subroutine recto_sem_post(sem, status)
    type(recto_sem_t), intent(in) :: sem
    integer(c_int), intent(out), optional :: status

    call finish(c_sem_post(sem), status)
  end subroutine

  ! ---- conditions ------------------------------------------------------------------

  subroutine recto_cond_create(cond, status)
    type(recto_cond_t), intent(out) :: cond
    integer(c_int), intent(out), optional :: status

    call finish(c_cond_create(cond), status)
  end subroutine

  subroutine recto_cond_free(cond, status)
    type(recto_cond_t), intent(inout) :: cond
    integer(c_int), intent(out), optional :: status

    call finish(c_cond_free(cond), status)
  end subroutine

  subroutine recto_cond_wait(cond, lock, status)
    type(recto_cond_t), intent(in) :: cond
    type(recto_lock_t), intent(in) :: lock
    integer(c_int), intent(out), optional :: status

    call finish(c_cond_wait(cond, lock), status)
  end subroutine

  subroutine recto_cond_signal(cond, status)
    type(recto_cond_t), intent(in) :: cond
    integer(c_int), intent(out), optional :: status

    call finish(c_cond_signal(cond), status)
  end subroutine

  subroutine recto_cond_broadcast(cond, status)
    type(recto_cond_t), intent(in) :: cond
    integer(c_int), intent(out), optional :: status

    call finish(c_cond_broadcast(cond), status)
  end subroutine
end module
