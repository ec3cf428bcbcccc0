! SPDX-License-Identifier: BSD-3-Clause
!
! lock: a bank. All ranks move money between accounts that they share; what several words
! must agree on is done under a lock, what is one word by an atomic operation. Whatever
! the ranks do, no money is lost or made.
!
!     mpifort lock.f90 -o lock $(pkg-config --cflags --libs recto-fortran)
!     mpirun -n 3 ./lock
program lock
  use recto
  use, intrinsic :: iso_fortran_env, only: int64
  implicit none
  integer, parameter :: accounts = 10, transfers = 2000
  integer(int64), parameter :: begin = 100 ! in each account
  integer(int64), pointer :: balance(:), refused
  integer(int64) :: amount, old
  type(recto_lock_t) :: bank
  integer(int64) :: dice
  integer :: from, to, i, rank
  logical :: enough

  call recto_init()
  rank = recto_rank()
  call recto_array("balance", balance, [accounts])
  call recto_array("refused", refused) ! a scalar
  call recto_lock_create(bank)         ! by all ranks: the same lock
  if (rank == 0) balance = begin
  call recto_barrier()

  dice = rank + 1
  do i = 1, transfers
    dice = iand(dice * 1664525_int64 + 1013904223_int64, int(z'ffffffff', int64))
    from = 1 + int(mod(shiftr(dice, 8), int(accounts, int64)))
    to = 1 + int(mod(shiftr(dice, 16), int(accounts, int64)))
    amount = mod(shiftr(dice, 24), 50_int64)

    ! Who has the lock sees all that was written before it was last given back.
    call recto_lock(bank)
    enough = balance(from) >= amount
    if (enough) then
      balance(from) = balance(from) - amount
      balance(to) = balance(to) + amount
    end if
    call recto_unlock(bank)
    if (.not. enough) old = recto_fetch_add(refused, 1_int64) ! needs no lock
  end do
  call recto_barrier()

  if (refused == 0 .or. any(balance < 0) .or. sum(balance) /= accounts * begin) error stop "WRONG"
  if (rank == 0) print "(3(i0, a))", transfers * recto_size(), " transfers, ", refused, &
    " refused, ", sum(balance), " in all accounts: ok"
  call recto_barrier()
  call recto_lock_free(bank)
  call recto_finalize()
end program
