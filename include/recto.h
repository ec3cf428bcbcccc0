/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto.h: user-level virtual memory for MPI programs.
 *
 * Map
 *   life cycle    recto_init recto_init_comm recto_finalize
 *                 recto_rank recto_size recto_node recto_nodes
 *   memory        recto_alloc recto_array recto_free recto_home
 *                 recto_migrate recto_is_shared recto_malloc recto_mfree
 *   synchronise   recto_barrier, recto_release recto_acquire, recto_prefetch,
 *                 recto_pin recto_unpin
 *                 recto/sync.h: recto_lock_* recto_rwlock_* recto_event_*
 *                 recto_sem_* recto_cond_*
 *                 recto/atomic.h: recto_fetch_add_* recto_exchange_* recto_cas_*
 *                 recto_load_* recto_store_*
 *   types         recto/types.h: recto_type_size recto_type_create
 *                 recto_attribute_set recto_attribute_numbers
 *   checkpoints   recto_protect recto_protect_block recto_unprotect
 *                 recto_checkpoint recto_checkpoint_wait
 *                 recto_restart recto_epoch
 *                 recto/due.h: recto_checkpoint_due
 *                 recto/restart.h: recto_restart_select recto_recover
 *                 recto_protect_redistribute recto_pieces_read
 *   numbers       recto_stats recto_version
 * recto/error.h lists the errors, recto/vm.h page protection without MPI.
 *
 * Guarantees
 * - Shared memory lies at the same address on every rank, so pointers into it
 *   may be stored in it. It is zero when allocated.
 * - RECTO_RELEASE, the default: a program whose threads and ranks synchronise by
 *   recto_barrier, recto_lock and recto_unlock, or recto_release and
 *   recto_acquire, and have no data races, behaves as if all accesses were made
 *   one after the other. Ranks may write neighbouring bytes at the same time.
 * - RECTO_SEQUENTIAL: accesses by all threads of all ranks are sequentially
 *   consistent as far as the compiler and the processor keep their order: what
 *   holds between threads of one process holds between ranks, flags made of C11
 *   atomics too. docs/memory-model.md says what each gives.
 * - A checkpoint that recto_checkpoint_wait() reported as written survives a crash
 *   of any rank or of the whole job at any moment, and an unsuccessful one
 *   leaves the previous ones untouched. It is exactly the memory at its call,
 *   whatever is written while it goes to disk.
 * - Every rank gets the same verdict from a collective call.
 *
 * Caveats
 * - Shared buffers may be handed to read(2) and its kin and to MPI's calls but
 *   for windows and Fortran (docs/memory-model.md lists them). Memory that such a
 *   call reaches otherwise must be pinned or copied (recto_pin).
 * - A child of fork(2) has no shared memory.
 * - Collective calls are made by one thread of each rank, in the same order on
 *   all of them. A call that differs is reported on every rank
 *   (RECTO_EMISMATCH).
 * - Ranks that die end the job (mpirun does); restart it from its checkpoint, or
 *   leave that to the command `recto run`.
 *
 * Conventions. Pointers are returned NULL on failure; everything else returns
 * 0 or a negative RECTO_E... code, and recto_last_error() tells rank, host,
 * object, cause and remedy. Outputs come last and are set only on success.
 * "Collective" means: by every rank of the job. Unless they say otherwise
 * functions may be called from any thread after recto_init.
 */
#ifndef RECTO_H
#define RECTO_H

#include <stddef.h>
#include <stdint.h>

#include <recto/atomic.h>
#include <recto/due.h>
#include <recto/error.h>
#include <recto/restart.h>
#include <recto/sync.h>
#include <recto/types.h>

#define RECTO_VERSION_MAJOR 0
#define RECTO_VERSION_MINOR 1
#define RECTO_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Library version as "0.1.0". Local. */
const char *recto_version(void);

/* ---- life cycle ---------------------------------------------------------- */

/*
 * Starts Recto on all ranks of MPI_COMM_WORLD. Initialises MPI with
 * MPI_THREAD_MULTIPLE, or joins an MPI that was initialised with it; a lower
 * level is RECTO_ETHREAD. Collective, once, before any other call.
 * recto_init_comm (recto/mpi.h) starts on another communicator.
 */
int recto_init(int *argc, char ***argv);

/*
 * Ends Recto: frees all shared memory; finalizes MPI if recto_init initialised
 * it. Collective, by the thread that called recto_init.
 */
int recto_finalize(void);

int recto_rank(void);  /* 0 .. recto_size() - 1, or -1 before recto_init */
int recto_size(void);  /* number of ranks */
int recto_node(void);  /* coherence domain of this rank: 0 .. nodes - 1 */
int recto_nodes(void); /* number of coherence domains */

/* ---- shared memory ------------------------------------------------------- */

enum recto_consistency {
    RECTO_CONSISTENCY_DEFAULT = 0, /* RECTO_RELEASE */
    RECTO_RELEASE = 1,   /* race-free programs; several writers of a page */
    RECTO_SEQUENTIAL = 2 /* MSI, sequentially consistent */
};

/* Which rank is the home of a page: keeps its master copy. */
enum recto_placement {
    RECTO_BLOCK = 0,  /* rank r homes the r-th of size() equal parts */
    RECTO_CYCLIC = 1, /* granules go round the ranks */
    /* Whoever accesses a granule first; what is untouched at the first
     * checkpoint or restart, as RECTO_BLOCK. Ranks of one domain use the same
     * memory: with a single domain this is RECTO_BLOCK. */
    RECTO_FIRST_TOUCH = 2,
    RECTO_AT_BASE = 65536
};
#define RECTO_AT(rank) (RECTO_AT_BASE + (rank)) /* all pages on one rank */

enum recto_attr_flag {
    RECTO_NO_CHECKPOINT = 1, /* leave it out of checkpoints */
    RECTO_SPARSE = 2         /* only a part will be touched: may be larger than
                                memory, whatever RECTO_COMMIT says */
};

enum {
    RECTO_NAME_MAX = 255,
    RECTO_DIMS_MAX = 8
};

/* How to allocate; all zero (or NULL) means the defaults. */
typedef struct recto_attr {
    int consistency; /* enum recto_consistency */
    int placement;   /* enum recto_placement or RECTO_AT(rank) */
    size_t granule;  /* bytes per round of RECTO_CYCLIC, or touched together, a
                        multiple of the page size; 0: one page, or 64 KiB */
    unsigned flags;  /* enum recto_attr_flag */
} recto_attr;

/*
 * Allocates `bytes` of zero-filled shared memory under `name`, at the same
 * address on every rank, page aligned. Collective; all arguments equal on all
 * ranks. `name` identifies it in checkpoints: 1 to 255 bytes of UTF-8 without
 * control characters; '/' makes groups, the parts are not empty, "." or "..",
 * and the first is not "recto". NULL: RECTO_EINVAL, RECTO_EEXIST,
 * RECTO_EMISMATCH, RECTO_ENOMEM, RECTO_EADDRESS.
 *
 * Memory is taken when it is touched, by the machine of the page's home and by
 * machines that hold a copy; what nobody touches costs nothing. RECTO_COMMIT says
 * what an allocation asks of each machine:
 *
 *   check    (default) that what its ranks home fits into what it can give now,
 *            with what earlier arrays home and have not touched: the least of
 *            MemAvailable and the rest of each memory cgroup above the rank
 *   reserve  that, and it is set aside at once, so that it cannot run out later
 *            (not where RECTO_FIRST_TOUCH is to decide between domains)
 *   sparse   nothing: so are arrays with the flag RECTO_SPARSE
 *
 * RECTO_ENOMEM on every rank, and nothing is allocated, when it does not hold
 * somewhere. If the kernel has no memory left at a later touch, the rank says so
 * on stderr (rank, host, node, array, address, limit) and dies of SIGBUS; where
 * the kernel kills it by SIGKILL (a cgroup's limit), a warning comes before.
 */
void *recto_alloc(const char *name, uint64_t bytes, const recto_attr *attr);

/*
 * The same for an array of `ndims` (1 to 8) dimensions `dims`, row-major,
 * of elements of `type`; a full checkpoint stores it as such.
 */
void *recto_array(const char *name, recto_type type, int ndims,
                  const uint64_t *dims, const recto_attr *attr);

/* Frees what recto_alloc or recto_array returned. Collective. */
int recto_free(void *p);

/*
 * Memory from the global heap (RECTO_HEAP bytes for all ranks together), release
 * consistent, aligned to 16 bytes, not cleared; its home is the calling rank
 * while that has room. By any thread of any rank at any time, not in signal
 * handlers. Local: it asks another rank only for more memory, or where ranks do
 * not share memory. Up to a quarter larger than asked, and 64 KiB in steps above
 * 30 KiB. NULL: RECTO_ENOMEM when no rank has room.
 * Checkpoints hold the heap: after a restart blocks are where they were, those
 * that were allocated before recto_restart are gone.
 */
void *recto_malloc(size_t bytes);

/*
 * Gives a block back; by any rank, not only the one that allocated it. NULL is
 * ignored. A block whose bytes live with another domain can be had again after
 * the calling rank's next release (barrier, unlock, ...): what it wrote there
 * before never overwrites the next owner's. RECTO_EINVAL, and nothing happens,
 * for what is not the beginning of a block or was freed already; if its home
 * shares no memory with the calling rank, the home warns on stderr instead.
 */
int recto_mfree(void *p);

/* Home rank of the page that holds p (by RECTO_BLOCK if it is to be the one who
 * touches it, and nobody has); RECTO_ENOENT outside shared memory. Local; where
 * RECTO_FIRST_TOUCH decides it may wait for another rank's answer. */
int recto_home(const void *p);

/*
 * Makes `rank` the home of the pages of [p, p + bytes), a part of one array, from
 * now on: for programs that divide their work anew. A home writes its pages without
 * faults while nobody else reads them. Collective, of one array, but each rank
 * names a part of its own, usually the one that it is going to write, and itself as
 * their home; with bytes 0 it names nothing. A page that several parts touch goes with the
 * lowest rank's. The bytes move at once, what was never touched costs nothing;
 * contains a recto_barrier. No thread of any rank uses the array meanwhile.
 * Either all pages move or none, with the same error on every rank: RECTO_EINVAL
 * for a rank or a part that does not exist, RECTO_ENOENT outside shared memory,
 * RECTO_EUNSUPPORTED for memory of recto_malloc, RECTO_EMISMATCH, RECTO_EBUSY while
 * a page is pinned or lent to an MPI call, RECTO_ENOMEM. Checkpoints do not hold
 * homes: after a restart those of the placement count.
 */
int recto_migrate(const void *p, size_t bytes, int rank);

/* 1 if p points into shared memory, else 0. Local, async-signal-safe. */
int recto_is_shared(const void *p);

/* ---- synchronisation ----------------------------------------------------- */

/* Waits until every rank has called it: what any rank wrote before is seen by all
 * afterwards. Collective. */
int recto_barrier(void);

/*
 * For synchronisation of the program's own making (flags by atomics, MPI
 * messages): recto_release before it tells others, recto_acquire after it was
 * told. recto_barrier, recto_lock and recto_unlock contain them. On return of
 * recto_release all that this rank's threads wrote before is at its homes and
 * every rank that holds an older copy has been told; recto_acquire drops the
 * copies of which this rank was told. Local; nothing to do costs nothing.
 * The _range calls do at least that for what lies in [p, p + bytes), and promise
 * nothing about the rest, nor that what others wrote before goes along.
 */
int recto_release(void);
int recto_acquire(void);
int recto_release_range(const void *p, size_t bytes);
int recto_acquire_range(const void *p, size_t bytes);

/* Fetches what this rank lacks of [p, p + bytes), in large pieces. A hint:
 * memory that is not shared is ignored. Local. */
int recto_prefetch(const void *p, size_t bytes);

/*
 * Keeps [p, p + bytes) of one release consistent array accessible to this rank
 * until recto_unpin of the same: for what cannot take page faults, a network card,
 * a device, a library that is not wrapped. RECTO_WRITE (or both): what is written
 * through it goes home with each release. What others release meanwhile is brought
 * in at this rank's next acquire. Pins count; none may be held at a checkpoint.
 * System calls and MPI need none (RECTO_INTERPOSE). Local; may wait for pages.
 * RECTO_EINVAL, RECTO_ENOMEM past 65 535 pins of a page; RECTO_EUNSUPPORTED for
 * sequential memory. recto_unpin: RECTO_ESTATE for what is not pinned.
 */
enum recto_access {
    RECTO_READ = 1,
    RECTO_WRITE = 2
};
int recto_pin(void *p, size_t bytes, int mode);
int recto_unpin(void *p, size_t bytes, int mode);

/* ---- checkpoints --------------------------------------------------------- */

/*
 * Adds private memory of this rank to the checkpoints: `count` elements of
 * `type` at p, any address, alignment and size (0 too); regions may overlap.
 * Protecting a name again replaces it. The memory stays as it is (its pages
 * are never made unwritable); it must be valid at every checkpoint until
 * recto_unprotect. Local: ranks may have different counts, and a rank may lack
 * the name; the type must be the same on all. Names as in recto_alloc, but
 * not that of shared memory. RECTO_EINVAL.
 */
int recto_protect(const char *name, void *p, recto_type type, uint64_t count);

/*
 * Adds this rank's block of an array of `ndims` dimensions `global` that is distributed
 * over the ranks: elements start[i] to start[i] + local[i] - 1 of each dimension i, in
 * private memory at p, in C order. Checkpoints hold the array as a whole, and a
 * restart on any number of ranks, with any blocks, fills each rank's block from it.
 * Local, but all ranks protect a block of the name, if only one of no elements, with
 * the same type and `global`; blocks do not overlap. Else the next recto_checkpoint,
 * recto_restart or recto_recover is RECTO_EMISMATCH. Elements in no block are zero
 * in the checkpoint. A block may change between checkpoints; all else as for
 * recto_protect. RECTO_EINVAL, also for a block that is not inside the array.
 */
int recto_protect_block(const char *name, void *p, recto_type type, int ndims,
                        const uint64_t *global, const uint64_t *start,
                        const uint64_t *local);
/* Leaves a name out from the next checkpoint on. Local. RECTO_ENOENT. */
int recto_unprotect(const char *name);

/*
 * A checkpoint: all shared memory and all protected memory as they are at the
 * call. The first two are full, later ones hold the pages that changed. It returns as
 * soon as the memory may change, and a thread of each rank writes: pages that
 * are overwritten before their turn are copied first, by whoever overwrites them,
 * into a buffer of RECTO_CKPT_BUFFER bytes a rank; who finds it full waits until
 * there is room. Private memory is copied during the call; where it is more than the
 * buffer holds, the call lasts until it is written. With RECTO_CKPT_MODE=sync
 * it lasts until everything is on disk. With RECTO_CKPT_LOCAL that is the nodes' own
 * disks, where the epoch survives the loss of as many nodes as its level says.
 * Collective: no thread of any rank writes shared or protected memory during the call,
 * and no lock is held.
 * While a checkpoint is being written the next one waits for it (with
 * RECTO_CKPT_BUSY=refuse: RECTO_EBUSY, and nothing happens), and so do recto_free,
 * recto_migrate and recto_finalize. If it failed, the next recto_checkpoint,
 * recto_checkpoint_wait or recto_restart returns its error and does nothing else;
 * recto_finalize prints it.
 * On failure (RECTO_EIO, RECTO_ENOSPC, RECTO_ELOCKED, ...; the same on every
 * rank) the previous epochs are intact, and the next checkpoint includes all
 * that this one should have held.
 */
int recto_checkpoint(void);

/*
 * Waits until the checkpoint that is being written is on disk: what it holds survives
 * any crash from then on. 0, also when none is being written; or the error with which
 * it failed, once. Collective; contains a barrier.
 */
int recto_checkpoint_wait(void);

/*
 * Loads the newest epoch in the checkpoint folder that is intact, or the one that was
 * chosen (recto_restart_select, RECTO_RESTART_EPOCH), into the shared and protected memory that the program has declared by now, before it
 * first uses it. 1: restored, *epoch is its number (from 0); 0: the folder
 * holds no checkpoint, a fresh start, nothing is changed. RECTO_ECHANGED when
 * names, types or sizes differ (the message names the first difference; no
 * memory is changed), RECTO_ECORRUPT when epochs exist but none is intact,
 * RECTO_EVERSION, RECTO_ELOCKED. Collective. `epoch` may be NULL.
 *
 * With RECTO_RESTART=lazy, on all ranks from recto_init on, release consistent arrays, and
 * sequential ones where there is one domain, are loaded after it has returned: a
 * page at its first touch, the others by a thread of each rank. RECTO_ESTATE while pages
 * of them are pinned, or lent to a call of MPI that has not ended. The next checkpoint,
 * recto_checkpoint_wait, recto_free, recto_migrate, recto_recover and recto_finalize wait
 * until all is loaded. An error in reading then ends the job, with a message, and the
 * next recto_restart loads everything before it returns.
 */
int recto_restart(int64_t *epoch);

/* Number of the last epoch that is on disk, written or restored by this run, or -1.
 * Local: while a checkpoint ends, ranks may differ. */
int64_t recto_epoch(void);

/* ---- numbers ------------------------------------------------------------- */

/* Counters of this rank since recto_init. RECTO_STATS=1 prints those of all ranks
 * at recto_finalize. */
typedef struct recto_counters {
    uint64_t read_misses;   /* read faults that fetched data */
    uint64_t write_misses;  /* write faults that fetched data */
    uint64_t upgrades;      /* first writes to pages that could be read */
    uint64_t tracked;       /* first writes since a checkpoint that faulted */
    uint64_t invalidations; /* rights lost to another rank's write; with
                               release consistency write notices received */
    uint64_t downgrades;    /* write rights lost to another rank's read */
    uint64_t bytes_fetched; /* page data copied from homes */
    uint64_t bytes_written; /* page data written back to homes */
    uint64_t notices;       /* write notices sent to holders of copies */
    uint64_t diffs;         /* pages compared with their twins */
    uint64_t evictions;     /* copies given up to keep RECTO_CACHE */
    uint64_t heap_bytes;    /* blocks of recto_malloc in use that this rank
                               keeps */
    uint64_t fault_ns;      /* time in page faults, if RECTO_STATS=1 or with
                               RECTO_TRACE */
    uint64_t barrier_ns;    /* time in recto_barrier, likewise */
    uint64_t messages;      /* control messages sent */
    uint64_t checkpoints;   /* epochs written */
    uint64_t ckpt_bytes;    /* bytes this rank wrote for them */
    uint64_t restart_bytes; /* bytes this rank read to restore them */
    uint64_t compactions;   /* chains of epochs compacted beside the program */
    uint64_t compact_ns;    /* time of that */
} recto_counters;

/* Tells them. Local. RECTO_EINVAL. */
int recto_stats(recto_counters *counters);

/*
 * Collective, for debugging: compares page states, protections and
 * directories of all ranks and checks the invariants of the protocols. No
 * thread accesses shared memory meanwhile. 0, or RECTO_ESTATE with the first
 * contradiction.
 */
int recto_check_all(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
