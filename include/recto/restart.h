/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/restart.h: which epoch a restart takes, and single variables from one. Part of
 * recto.h, which includes it.
 */
#ifndef RECTO_RESTART_H
#define RECTO_RESTART_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
