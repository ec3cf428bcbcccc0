! SPDX-License-Identifier: BSD-3-Clause
!
! recto_c: constants, types and functions of the C interface, as they are there. Module
! recto, which programs use, is made of it; mpi-tests/fortran/same compares it with the
! headers: every value, layout and argument.
!
! Fortran does not tell recto_release from RECTO_RELEASE: that constant is called
! RECTO_CONSISTENCY_RELEASE here. Functions whose arguments are the same in Fortran have
! their names, the others c_ for recto_.
module recto_c
  use, intrinsic :: iso_c_binding
  implicit none
  public

  ! ---- constants ----------------------------------------------------------------

  integer(c_int), parameter :: RECTO_VERSION_MAJOR = 0, RECTO_VERSION_MINOR = 1, &
                               RECTO_VERSION_PATCH = 0

  ! recto/error.h
  integer(c_int), parameter :: RECTO_OK = 0
  integer(c_int), parameter :: RECTO_EINVAL = -1, RECTO_EMISMATCH = -2, RECTO_ESTATE = -3, &
                               RECTO_EEXIST = -4, RECTO_ENOENT = -5, RECTO_ETHREAD = -6, &
                               RECTO_EUNSUPPORTED = -7
  integer(c_int), parameter :: RECTO_EBUSY = -20, RECTO_ENOMEM = -21, RECTO_EADDRESS = -22, &
                               RECTO_EIO = -23, RECTO_ENOSPC = -24, RECTO_ELOCKED = -25
  integer(c_int), parameter :: RECTO_EMPI = -40, RECTO_EPEER = -41
  integer(c_int), parameter :: RECTO_ECORRUPT = -60, RECTO_ECHANGED = -61, RECTO_EVERSION = -62

  ! recto/types.h
  integer(c_int), parameter :: RECTO_BYTE = 0, RECTO_INT8 = 1, RECTO_UINT8 = 2, RECTO_INT16 = 3, &
                               RECTO_UINT16 = 4, RECTO_INT32 = 5, RECTO_UINT32 = 6, &
                               RECTO_INT64 = 7, RECTO_UINT64 = 8, RECTO_FLOAT = 9, &
                               RECTO_DOUBLE = 10, RECTO_INT = RECTO_INT32, RECTO_LONG = RECTO_INT64, &
                               RECTO_STRUCT_FIRST = 1024, RECTO_STRUCT_LAST = 1279
  integer(c_int), parameter :: RECTO_LABEL_MAX = 63, RECTO_MEMBERS_MAX = 64, &
                               RECTO_STRUCT_BYTES_MAX = 65536, RECTO_ATTRIBUTES_MAX = 32, &
                               RECTO_ATTRIBUTE_TEXT_MAX = 255, RECTO_ATTRIBUTE_NUMBERS_MAX = 32

  ! recto.h
  integer(c_int), parameter :: RECTO_CONSISTENCY_DEFAULT = 0, RECTO_CONSISTENCY_RELEASE = 1, &
                               RECTO_SEQUENTIAL = 2
  integer(c_int), parameter :: RECTO_BLOCK = 0, RECTO_CYCLIC = 1, RECTO_FIRST_TOUCH = 2, &
                               RECTO_AT_BASE = 65536
  integer(c_int), parameter :: RECTO_NO_CHECKPOINT = 1, RECTO_SPARSE = 2
  integer(c_int), parameter :: RECTO_NAME_MAX = 255, RECTO_DIMS_MAX = 8
  integer(c_int), parameter :: RECTO_READ = 1, RECTO_WRITE = 2

  ! recto/due.h, recto/restart.h
  integer(c_int), parameter :: RECTO_DUE_NO = 0, RECTO_DUE_CHECKPOINT = 1, RECTO_DUE_STOP = 2, &
                               RECTO_EXIT_CONTINUE = 75
  integer(c_int64_t), parameter :: RECTO_NEWEST = -1

  ! ---- types --------------------------------------------------------------------

  type, bind(c) :: recto_attr
    integer(c_int) :: consistency = RECTO_CONSISTENCY_DEFAULT
    integer(c_int) :: placement = RECTO_BLOCK
    integer(c_size_t) :: granule = 0
    integer(c_int) :: flags = 0
  end type

  type, bind(c) :: recto_counters
    integer(c_int64_t) :: read_misses, write_misses, upgrades, tracked, invalidations
    integer(c_int64_t) :: downgrades, bytes_fetched, bytes_written, notices, diffs, evictions
    integer(c_int64_t) :: heap_bytes, fault_ns, barrier_ns, messages
    integer(c_int64_t) :: checkpoints, ckpt_bytes, restart_bytes, compactions, compact_ns
  end type

  type, bind(c) :: recto_pieces
    type(c_ptr) :: name
    integer(c_int) :: type, ranks
    type(c_ptr) :: counts
    integer(c_int64_t) :: epoch
  end type

  ! recto_member of C
  type, bind(c) :: c_member
    type(c_ptr) :: name
    integer(c_size_t) :: offset
    integer(c_int) :: type
    integer(c_size_t) :: count
  end type

  ! Synchronisation objects may lie in shared memory.
  type, bind(c) :: recto_lock_t
    integer(c_int64_t) :: id = 0
  end type
  type, bind(c) :: recto_rwlock_t
    integer(c_int64_t) :: id = 0
  end type
  type, bind(c) :: recto_event_t
    integer(c_int64_t) :: id = 0
  end type
  type, bind(c) :: recto_sem_t
    integer(c_int64_t) :: id = 0
  end type
  type, bind(c) :: recto_cond_t
    integer(c_int64_t) :: id = 0
  end type

  abstract interface
    function recto_redistribute(pieces, argument) result(code) bind(c)
      import :: recto_pieces, c_ptr, c_int
      type(recto_pieces), intent(in) :: pieces
      type(c_ptr), value :: argument
      integer(c_int) :: code
    end function
  end interface


  ! ---- recto.h ---------------------------------------------------------------------

  interface
    function c_version() result(r) bind(c, name="recto_version")
      import
      type(c_ptr) :: r
    end function
    function c_init(argc, argv) result(r) bind(c, name="recto_init")
      import
      type(c_ptr), value :: argc
      type(c_ptr), value :: argv
      integer(c_int) :: r
    end function
    function c_init_comm(comm, ckpt_dir, ckpt_full) result(r) bind(c, name="recto_fortran_init_comm")
      import
      integer(c_int), value :: comm
      type(c_ptr), value :: ckpt_dir
      integer(c_int), value :: ckpt_full
      integer(c_int) :: r
    end function
    function c_finalize() result(r) bind(c, name="recto_finalize")
      import
      integer(c_int) :: r
    end function
    function recto_rank() result(r) bind(c, name="recto_rank")
      import
      integer(c_int) :: r
    end function
    function recto_size() result(r) bind(c, name="recto_size")
      import
      integer(c_int) :: r
    end function
    function recto_node() result(r) bind(c, name="recto_node")
      import
      integer(c_int) :: r
    end function
    function recto_nodes() result(r) bind(c, name="recto_nodes")
      import
      integer(c_int) :: r
    end function
    function c_alloc(name, bytes, attr) result(r) bind(c, name="recto_alloc")
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), value :: bytes
      type(recto_attr), intent(in), optional :: attr
      type(c_ptr) :: r
    end function
    function c_array(name, type, ndims, dims, attr) result(r) bind(c, name="recto_array")
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int), value :: type
      integer(c_int), value :: ndims
      integer(c_int64_t), intent(in) :: dims(*)
      type(recto_attr), intent(in), optional :: attr
      type(c_ptr) :: r
    end function
    function c_free(p) result(r) bind(c, name="recto_free")
      import
      type(c_ptr), value :: p
      integer(c_int) :: r
    end function
    function c_malloc(bytes) result(r) bind(c, name="recto_malloc")
      import
      integer(c_size_t), value :: bytes
      type(c_ptr) :: r
    end function
    function c_mfree(p) result(r) bind(c, name="recto_mfree")
      import
      type(c_ptr), value :: p
      integer(c_int) :: r
    end function
    function c_home(p) result(r) bind(c, name="recto_home")
      import
      type(c_ptr), value :: p
      integer(c_int) :: r
    end function
    function c_migrate(p, bytes, rank) result(r) bind(c, name="recto_migrate")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int), value :: rank
      integer(c_int) :: r
    end function
    function c_is_shared(p) result(r) bind(c, name="recto_is_shared")
      import
      type(c_ptr), value :: p
      integer(c_int) :: r
    end function
    function c_barrier() result(r) bind(c, name="recto_barrier")
      import
      integer(c_int) :: r
    end function
    function c_release() result(r) bind(c, name="recto_release")
      import
      integer(c_int) :: r
    end function
    function c_acquire() result(r) bind(c, name="recto_acquire")
      import
      integer(c_int) :: r
    end function
    function c_release_range(p, bytes) result(r) bind(c, name="recto_release_range")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int) :: r
    end function
    function c_acquire_range(p, bytes) result(r) bind(c, name="recto_acquire_range")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int) :: r
    end function
    function c_prefetch(p, bytes) result(r) bind(c, name="recto_prefetch")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int) :: r
    end function
    function c_pin(p, bytes, mode) result(r) bind(c, name="recto_pin")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int), value :: mode
      integer(c_int) :: r
    end function
    function c_unpin(p, bytes, mode) result(r) bind(c, name="recto_unpin")
      import
      type(c_ptr), value :: p
      integer(c_size_t), value :: bytes
      integer(c_int), value :: mode
      integer(c_int) :: r
    end function
    function c_protect(name, p, type, count) result(r) bind(c, name="recto_protect")
      import
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), value :: p
      integer(c_int), value :: type
      integer(c_int64_t), value :: count
      integer(c_int) :: r
    end function
    function c_protect_block(name, p, type, ndims, global, start, local) result(r) bind(c, name="recto_protect_block")
      import
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), value :: p
      integer(c_int), value :: type
      integer(c_int), value :: ndims
      integer(c_int64_t), intent(in) :: global(*)
      integer(c_int64_t), intent(in) :: start(*)
      integer(c_int64_t), intent(in) :: local(*)
      integer(c_int) :: r
    end function
    function c_unprotect(name) result(r) bind(c, name="recto_unprotect")
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: r
    end function
    function c_checkpoint() result(r) bind(c, name="recto_checkpoint")
      import
      integer(c_int) :: r
    end function
    function c_checkpoint_wait() result(r) bind(c, name="recto_checkpoint_wait")
      import
      integer(c_int) :: r
    end function
    function c_restart(epoch) result(r) bind(c, name="recto_restart")
      import
      integer(c_int64_t), intent(out) :: epoch
      integer(c_int) :: r
    end function
    function recto_epoch() result(r) bind(c, name="recto_epoch")
      import
      integer(c_int64_t) :: r
    end function
    function c_stats(counters) result(r) bind(c, name="recto_stats")
      import
      type(recto_counters), intent(out) :: counters
      integer(c_int) :: r
    end function
    function c_check_all() result(r) bind(c, name="recto_check_all")
      import
      integer(c_int) :: r
    end function
  end interface

  ! ---- recto/error.h, recto/due.h, recto/restart.h, recto/types.h ------------------

  interface
    function c_strerror(code) result(r) bind(c, name="recto_strerror")
      import
      integer(c_int), value :: code
      type(c_ptr) :: r
    end function
    function c_last_error() result(r) bind(c, name="recto_last_error")
      import
      type(c_ptr) :: r
    end function
    function c_checkpoint_due() result(r) bind(c, name="recto_checkpoint_due")
      import
      integer(c_int) :: r
    end function
    function c_restart_select(epoch) result(r) bind(c, name="recto_restart_select")
      import
      integer(c_int64_t), value :: epoch
      integer(c_int) :: r
    end function
    function c_recover(name) result(r) bind(c, name="recto_recover")
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: r
    end function
    function c_protect_redistribute(name, function, argument) result(r) bind(c, name="recto_protect_redistribute")
      import
      character(kind=c_char), intent(in) :: name(*)
      type(c_funptr), value :: function
      type(c_ptr), value :: argument
      integer(c_int) :: r
    end function
    function c_pieces_read(pieces, rank, first, count, to) result(r) bind(c, name="recto_pieces_read")
      import
      type(recto_pieces), intent(in) :: pieces
      integer(c_int), value :: rank
      integer(c_int64_t), value :: first
      integer(c_int64_t), value :: count
      type(c_ptr), value :: to
      integer(c_int) :: r
    end function
    function recto_type_size(type) result(r) bind(c, name="recto_type_size")
      import
      integer(c_int), value :: type
      integer(c_size_t) :: r
    end function
    function c_type_create(name, bytes, members, count, type) result(r) bind(c, name="recto_type_create")
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_size_t), value :: bytes
      type(c_member), intent(in) :: members(*)
      integer(c_int), value :: count
      integer(c_int), intent(out) :: type
      integer(c_int) :: r
    end function
    function c_attribute_set(name, attribute, text) result(r) bind(c, name="recto_attribute_set")
      import
      character(kind=c_char), intent(in) :: name(*)
      character(kind=c_char), intent(in) :: attribute(*)
      type(c_ptr), value :: text
      integer(c_int) :: r
    end function
    function c_attribute_numbers(name, attribute, type, numbers, count) result(r) bind(c, name="recto_attribute_numbers")
      import
      character(kind=c_char), intent(in) :: name(*)
      character(kind=c_char), intent(in) :: attribute(*)
      integer(c_int), value :: type
      type(c_ptr), value :: numbers
      integer(c_int64_t), value :: count
      integer(c_int) :: r
    end function
  end interface

  ! ---- recto/sync.h ----------------------------------------------------------------

  interface
    function c_lock_create(lock) result(r) bind(c, name="recto_lock_create")
      import
      type(recto_lock_t), intent(out) :: lock
      integer(c_int) :: r
    end function
    function c_lock_free(lock) result(r) bind(c, name="recto_lock_free")
      import
      type(recto_lock_t), intent(inout) :: lock
      integer(c_int) :: r
    end function
    function c_lock_create_many(locks, count) result(r) bind(c, name="recto_lock_create_many")
      import
      type(recto_lock_t), intent(inout) :: locks(*)
      integer(c_size_t), value :: count
      integer(c_int) :: r
    end function
    function c_lock_free_many(locks, count) result(r) bind(c, name="recto_lock_free_many")
      import
      type(recto_lock_t), intent(inout) :: locks(*)
      integer(c_size_t), value :: count
      integer(c_int) :: r
    end function
    function c_lock(lock) result(r) bind(c, name="recto_lock")
      import
      type(recto_lock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_trylock(lock) result(r) bind(c, name="recto_trylock")
      import
      type(recto_lock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_unlock(lock) result(r) bind(c, name="recto_unlock")
      import
      type(recto_lock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_create(lock) result(r) bind(c, name="recto_rwlock_create")
      import
      type(recto_rwlock_t), intent(out) :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_free(lock) result(r) bind(c, name="recto_rwlock_free")
      import
      type(recto_rwlock_t), intent(inout) :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_rdlock(lock) result(r) bind(c, name="recto_rwlock_rdlock")
      import
      type(recto_rwlock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_wrlock(lock) result(r) bind(c, name="recto_rwlock_wrlock")
      import
      type(recto_rwlock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_tryrdlock(lock) result(r) bind(c, name="recto_rwlock_tryrdlock")
      import
      type(recto_rwlock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_trywrlock(lock) result(r) bind(c, name="recto_rwlock_trywrlock")
      import
      type(recto_rwlock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_rwlock_unlock(lock) result(r) bind(c, name="recto_rwlock_unlock")
      import
      type(recto_rwlock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_event_create(event) result(r) bind(c, name="recto_event_create")
      import
      type(recto_event_t), intent(out) :: event
      integer(c_int) :: r
    end function
    function c_event_free(event) result(r) bind(c, name="recto_event_free")
      import
      type(recto_event_t), intent(inout) :: event
      integer(c_int) :: r
    end function
    function c_event_set(event) result(r) bind(c, name="recto_event_set")
      import
      type(recto_event_t), value :: event
      integer(c_int) :: r
    end function
    function c_event_clear(event) result(r) bind(c, name="recto_event_clear")
      import
      type(recto_event_t), value :: event
      integer(c_int) :: r
    end function
    function c_event_wait(event) result(r) bind(c, name="recto_event_wait")
      import
      type(recto_event_t), value :: event
      integer(c_int) :: r
    end function
    function c_event_test(event) result(r) bind(c, name="recto_event_test")
      import
      type(recto_event_t), value :: event
      integer(c_int) :: r
    end function
    function c_sem_create(sem, initial) result(r) bind(c, name="recto_sem_create")
      import
      type(recto_sem_t), intent(out) :: sem
      integer(c_int64_t), value :: initial
      integer(c_int) :: r
    end function
    function c_sem_free(sem) result(r) bind(c, name="recto_sem_free")
      import
      type(recto_sem_t), intent(inout) :: sem
      integer(c_int) :: r
    end function
    function c_sem_wait(sem) result(r) bind(c, name="recto_sem_wait")
      import
      type(recto_sem_t), value :: sem
      integer(c_int) :: r
    end function
    function c_sem_trywait(sem) result(r) bind(c, name="recto_sem_trywait")
      import
      type(recto_sem_t), value :: sem
      integer(c_int) :: r
    end function
    function c_sem_post(sem) result(r) bind(c, name="recto_sem_post")
      import
      type(recto_sem_t), value :: sem
      integer(c_int) :: r
    end function
    function c_cond_create(cond) result(r) bind(c, name="recto_cond_create")
      import
      type(recto_cond_t), intent(out) :: cond
      integer(c_int) :: r
    end function
    function c_cond_free(cond) result(r) bind(c, name="recto_cond_free")
      import
      type(recto_cond_t), intent(inout) :: cond
      integer(c_int) :: r
    end function
    function c_cond_wait(cond, lock) result(r) bind(c, name="recto_cond_wait")
      import
      type(recto_cond_t), value :: cond
      type(recto_lock_t), value :: lock
      integer(c_int) :: r
    end function
    function c_cond_signal(cond) result(r) bind(c, name="recto_cond_signal")
      import
      type(recto_cond_t), value :: cond
      integer(c_int) :: r
    end function
    function c_cond_broadcast(cond) result(r) bind(c, name="recto_cond_broadcast")
      import
      type(recto_cond_t), value :: cond
      integer(c_int) :: r
    end function
  end interface

  ! ---- recto/atomic.h --------------------------------------------------------------

  interface
    function recto_fetch_add_i32(p, value) result(r) bind(c, name="recto_fetch_add_i32")
      import
      integer(c_int32_t), intent(inout) :: p
      integer(c_int32_t), value :: value
      integer(c_int32_t) :: r
    end function
    function recto_fetch_add_i64(p, value) result(r) bind(c, name="recto_fetch_add_i64")
      import
      integer(c_int64_t), intent(inout) :: p
      integer(c_int64_t), value :: value
      integer(c_int64_t) :: r
    end function
    function recto_fetch_add_f64(p, value) result(r) bind(c, name="recto_fetch_add_f64")
      import
      real(c_double), intent(inout) :: p
      real(c_double), value :: value
      real(c_double) :: r
    end function
    function recto_exchange_i32(p, value) result(r) bind(c, name="recto_exchange_i32")
      import
      integer(c_int32_t), intent(inout) :: p
      integer(c_int32_t), value :: value
      integer(c_int32_t) :: r
    end function
    function recto_exchange_i64(p, value) result(r) bind(c, name="recto_exchange_i64")
      import
      integer(c_int64_t), intent(inout) :: p
      integer(c_int64_t), value :: value
      integer(c_int64_t) :: r
    end function
    function recto_cas_i32(p, expected, desired) result(r) bind(c, name="recto_cas_i32")
      import
      integer(c_int32_t), intent(inout) :: p
      integer(c_int32_t), value :: expected
      integer(c_int32_t), value :: desired
      integer(c_int32_t) :: r
    end function
    function recto_cas_i64(p, expected, desired) result(r) bind(c, name="recto_cas_i64")
      import
      integer(c_int64_t), intent(inout) :: p
      integer(c_int64_t), value :: expected
      integer(c_int64_t), value :: desired
      integer(c_int64_t) :: r
    end function
    function recto_load_i32(p) result(r) bind(c, name="recto_load_i32")
      import
      integer(c_int32_t), intent(inout) :: p
      integer(c_int32_t) :: r
    end function
    function recto_load_i64(p) result(r) bind(c, name="recto_load_i64")
      import
      integer(c_int64_t), intent(inout) :: p
      integer(c_int64_t) :: r
    end function
    function recto_load_f64(p) result(r) bind(c, name="recto_load_f64")
      import
      real(c_double), intent(inout) :: p
      real(c_double) :: r
    end function
    subroutine recto_store_i32(p, value) bind(c, name="recto_store_i32")
      import
      integer(c_int32_t), intent(inout) :: p
      integer(c_int32_t), value :: value
    end subroutine
    subroutine recto_store_i64(p, value) bind(c, name="recto_store_i64")
      import
      integer(c_int64_t), intent(inout) :: p
      integer(c_int64_t), value :: value
    end subroutine
    subroutine recto_store_f64(p, value) bind(c, name="recto_store_f64")
      import
      real(c_double), intent(inout) :: p
      real(c_double), value :: value
    end subroutine
  end interface

  interface recto_fetch_add
    procedure :: recto_fetch_add_i32, recto_fetch_add_i64, recto_fetch_add_f64
  end interface
  interface recto_exchange
    procedure :: recto_exchange_i32, recto_exchange_i64
  end interface
  interface recto_cas
    procedure :: recto_cas_i32, recto_cas_i64
  end interface
  interface recto_load
    procedure :: recto_load_i32, recto_load_i64, recto_load_f64
  end interface
  interface recto_store
    procedure :: recto_store_i32, recto_store_i64, recto_store_f64
  end interface
end module
