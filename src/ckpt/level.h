/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Levels below the shared folder (RECTO_CKPT_LOCAL): epochs on the nodes' own disks.
 *
 *   level.c          settings and nodes; level 1: writes shares, commits them
 *   level_copy.c     levels 2 and 3: copies and parity on other nodes
 *   level_promote.c  level 4: brings local epochs to the shared folder
 *   level_restart.c  at a restart: what the nodes have, rebuilds, promotes
 *   level_plan.h     geometry and choice; share.h  the files
 *
 * A local epoch is a differential epoch of the shared folder before it is there: the same
 * number, uuid, entries and table of pieces, its log cut by node. Its chain begins in
 * the shared folder. To promote it is to put the parts together in the file
 * that would have been written there; so nothing that reads epochs knows of levels.
 */
#ifndef RECTO_SRC_CKPT_LEVEL_H
#define RECTO_SRC_CKPT_LEVEL_H

#include "image.h"
#include "level_plan.h"
#include "net/net.h"
#include "share.h"
#include "state.h"

/* ---- hooks of checkpoints and restarts ---------------------------------------------- */

int ckpt_level_init(void);
void ckpt_level_finalize(void); /* collective */
bool ckpt_level_on(void);
/* Before a checkpoint: opens the folders. Collective, one verdict. */
int ckpt_level_prepare(void);
/* Rank 0: the newest epoch that is not in the shared folder, NULL: there is none.
 * *next_uid grows to what is above their uids, *pending says how many there are. */
const struct ckpt_epoch *ckpt_level_newest(uint64_t *next_uid,
                                           uint64_t *pending);
/* Writes the shares of a collected job. Collective, one verdict. */
int ckpt_level_write(struct ckpt_job *job);
void ckpt_level_abandon(const struct ckpt_job *job);
/* Gives the shares their names; then makes the deeper levels that are due, whose
 * failures are warned of and made up for when they are due again. Collective, one
 * verdict, of the former. */
int ckpt_level_commit(struct ckpt_job *job);
/* An epoch is in the shared folder: local ones up to it go. Local. */
void ckpt_level_supersede(const struct ckpt_epoch *epoch);
/* Promotes all that is pending. Collective, one verdict. */
int ckpt_level_flush(void);
/* Promotes what local epochs newer than those of the shared folder can be had.
 * Collective, one verdict. */
int ckpt_level_recover(void);

/* ---- between the files ------------------------------------------------------------------ */

enum {
    CKPT_LEVEL_HALF = 4 << 20 /* bytes of an inbox's half */
};

/* A local epoch that is not in the shared folder yet. */
struct ckpt_pending {
    uint64_t number;
    char uuid[CKPT_UUID + 1];
    bool copied; /* levels that it has */
    bool coded;
    uint64_t next_uid;        /* above all uids of it and those before */
    struct ckpt_epoch epoch;  /* as laid out; objects at rank 0 only */
    struct ckpt_image *image; /* rank 0 */
};

struct ckpt_level_state {
    bool on;
    bool per_domain; /* a node is a coherence domain */
    bool ready;
    struct ckpt_levels levels;
    struct ckpt_ring ring;
    struct ckpt_dir dir;
    unsigned node;
    int *leaders; /* lowest rank of each node */
    struct ckpt_pending *pending;
    size_t npending;
    struct net_memory inbox; /* two halves, used in turn */
    net_window *window;
    char run[CKPT_UUID + 1];
};
extern struct ckpt_level_state ckpt_level;

/* Settles who is a node, opens the folder. Collective, one verdict. */
int ckpt_level_open(void);
static inline bool ckpt_level_leads(void)
{
    return net_rank() == ckpt_level.leaders[ckpt_level.node];
}
/* Removes the files of the run from my node's folder, but for those of epochs that are
 * pending. Local. */
void ckpt_level_clean(void);
/* fsync, rename and fsync of the folder for a file under its temporary name. */
int ckpt_level_name_file(struct ckpt_io_file *file, const char *name,
                         const char *sync, const char *rename,
                         const char *folder);

/* Copies or parity of a pending epoch. Collective, one verdict. */
int ckpt_level_copy(const struct ckpt_pending *p);
int ckpt_level_code(const struct ckpt_pending *p);

/* Commits the epoch to the shared folder, out of shares that ranks have open: each share
 * of it by one rank. Rank 0 has the layout. Collective, one verdict. */
int ckpt_level_promote(const struct ckpt_epoch *epoch, struct ckpt_image *image,
                       const struct ckpt_share *const *shares, size_t count);

#endif
