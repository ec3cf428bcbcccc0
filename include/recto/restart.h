/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/restart.h: which epoch a restart takes, single variables from one, and private
 * memory on another number of ranks. Part of recto.h, which includes it.
 */
#ifndef RECTO_RESTART_H
#define RECTO_RESTART_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum {
    RECTO_NEWEST = -1 /* the newest epoch that is intact */
};

/*
 * Chooses the epoch that recto_restart and recto_recover take from now on: its number,
 * or RECTO_NEWEST. A chosen epoch is restored, or nothing is: they then return
 * RECTO_ENOENT when the folder does not hold it, RECTO_ECORRUPT or RECTO_EIO when it
 * is damaged. The environment's RECTO_RESTART_EPOCH wins over this call. After
 * recto_restart from an epoch the ones after it go with the next checkpoint, which
 * takes the number that follows. Local; the same on every rank, else the call that
 * comes next is RECTO_EMISMATCH. RECTO_EINVAL.
 */
int recto_restart_select(int64_t epoch);

/*
 * Loads one array or one name of protected memory, as the chosen epoch or the newest
 * intact one holds it, into the memory that has the name now; all else stays as it
 * is. At any time from its declaration on, before recto_restart or instead of it, too.
 * An array may lie elsewhere than it did then, its type and dimensions must be those
 * of the epoch, as must a protected region's on each rank, and the number of ranks.
 * Collective: no thread of any rank uses the memory meanwhile. RECTO_ENOENT when the
 * epoch lacks the name, the program does not declare it, or there is no epoch;
 * RECTO_ECHANGED; RECTO_ECORRUPT, after which an array holds parts of what was and of
 * the epoch, and protected memory is as it was.
 */
int recto_recover(const char *name);

/* What the ranks of an epoch had under a name of recto_protect. */
typedef struct recto_pieces {
    const char *name;
    int type;               /* a recto_type */
    int ranks;              /* that wrote the epoch */
    const uint64_t *counts; /* elements of each of them */
    int64_t epoch;
} recto_pieces;

/*
 * Takes of the old pieces what belongs to this rank now. Called by recto_restart and
 * recto_recover, in their thread, on every rank; again, for an older epoch, if this one
 * is found damaged. `pieces` is valid during the call, which may
 * - read of all pieces (recto_pieces_read),
 * - protect the same name anew by recto_protect, with another pointer or count, and no
 *   other name,
 * - ask for recto_rank and recto_size, and do what is the program's own,
 * and touches no shared memory, nor calls recto_malloc or anything collective. 0, or
 * any other number, which makes the restart RECTO_ECHANGED on all ranks.
 */
typedef int (*recto_redistribute)(const recto_pieces *pieces, void *argument);

/*
 * Registers the function for a name that recto_protect has declared, with a count of 0
 * if it is not known yet; all ranks do. It is called where the number of ranks differs
 * from that of the epoch; on the same number the memory is restored as it was. NULL:
 * none. recto_unprotect forgets it. Local. RECTO_ENOENT.
 */
int recto_protect_redistribute(const char *name, recto_redistribute function,
                               void *argument);

/* Elements [first, first + count) of what old rank `rank` had. Local, by the thread that
 * runs the function. RECTO_ESTATE elsewhere, RECTO_EINVAL outside of the piece, RECTO_ECORRUPT, RECTO_EIO,
 * RECTO_ENOMEM. */
int recto_pieces_read(const recto_pieces *pieces, int rank, uint64_t first,
                      uint64_t count, void *to);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
