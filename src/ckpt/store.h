/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checkpoint folder as rank 0 of a job holds it: its lock, the manifest in
 * force, commit and removal of files. Local, rank 0 only.
 */
#ifndef RECTO_SRC_CKPT_STORE_H
#define RECTO_SRC_CKPT_STORE_H

#include "format.h"
#include "io.h"
#include "keep.h"
#include "reader.h"

struct ckpt_progress;

/* ---- lock.c -------------------------------------------------------------------- */

struct ckpt_lock {
    struct ckpt_io_file file;
    bool held;
    bool advisory; /* the file system has no locks: the content decides */
};

/*
 * Takes the folder for this job: a lock of the kernel on the file `lock`, whose
 * content says who. RECTO_ELOCKED with the holder in the message. With
 * `readonly` a folder that cannot be written is not locked: 0, not held.
 */
int ckpt_lock_take(struct ckpt_lock *lock, const struct ckpt_dir *dir,
                   bool readonly);
/* Renews the time in the content. Never fails: it informs. */
void ckpt_lock_beat(struct ckpt_lock *lock);
void ckpt_lock_release(struct ckpt_lock *lock);
/* Does a job hold the folder? Takes nothing and changes nothing; as far as can be
 * known where the file system has no locks. `who` gets the holder, "process 7 on
 * n1", or "". */
bool ckpt_lock_busy(const struct ckpt_dir *dir, char *who, size_t size);
/* Who took the folder last and did not give it back, by recto_finalize: holds it still, or
 * was killed. Text of pid, host and time; "" when it was given back. */
void ckpt_lock_left(const struct ckpt_dir *dir, char *who, size_t size);

/* ---- store.c ------------------------------------------------------------------- */

struct ckpt_store {
    struct ckpt_dir dir;
    struct ckpt_lock lock;
    struct ckpt_manifest *manifest; /* in force; NULL: not loaded */
    uint64_t generation;            /* highest ever used by us or on disk */
    bool cleaned;
    struct ckpt_keep keep;
    const struct ckpt_progress
        *progress; /* told the bytes of files that went; NULL */
    /* Files to unlink once manifest and copy are durable without them. */
    char (*doomed)[CKPT_FILE_NAME_MAX + 1];
    size_t ndoomed;
    size_t room;
};

/*
 * Opens the folder, takes its lock and loads the manifest. RECTO_ENOENT
 * without a message when there is no folder and `create` is false. With
 * `create` a new folder gets its first manifest, of no epochs; without it,
 * `manifest` stays NULL for a fresh start.
 */
int ckpt_store_open(struct ckpt_store *store, const char *path, bool create);
void ckpt_store_close(struct ckpt_store *store);

/* Removes what a killed job left: temporaries and unreferenced epoch files.
 * Once per job; failures are warned of. */
void ckpt_store_clean(struct ckpt_store *store);

/* A file goes with the next commit; it need not be there. RECTO_ENOMEM. */
int ckpt_store_doom(struct ckpt_store *store, const char *name);

/* Forgets the epochs from index `from` on: damaged ones, after a restart from
 * an older one. Their files go with the next commit. */
int ckpt_store_truncate(struct ckpt_store *store, uint64_t from);

/* True if the next epoch is to be full: fewer than two chains, or `every`
 * epochs since the last full one. */
bool ckpt_store_wants_full(const struct ckpt_store *store, uint64_t every);

/* The name under which the epoch's file is written. */
void ckpt_store_temporary(const struct ckpt_epoch *epoch, char *name);

/*
 * Commits an epoch whose temporary, when it has a file, holds all its bytes,
 * fsynced by their writers: rename, manifest, copy, then removal of what store->keep
 * does not name, but after a full one that is left to ckpt_store_prune. On failure the epoch in
 * force is the one before; the temporary is gone unless a manifest on disk
 * may name it.
 */
int ckpt_store_commit(struct ckpt_store *store, const struct ckpt_epoch *epoch);

/* The same for a full epoch that comes in the place of epoch `index`, of its number and
 * content: those after it build on it from now on, the old file goes. */
int ckpt_store_replace(struct ckpt_store *store, uint64_t index,
                       const struct ckpt_epoch *epoch);

/* (*stay)[i]: does epoch i of the manifest stay, by store->keep? free() it. RECTO_ENOMEM. */
int ckpt_store_keeps(const struct ckpt_store *store, bool **stay);
/* Writes a manifest without the epochs that store->keep does not name, then removes their
 * files, and those that waited for a manifest; nothing is written when there are none. On
 * failure all of them stay, or are in no manifest. */
int ckpt_store_prune(struct ckpt_store *store);

/* Removes an epoch's temporary after a failure before the commit. */
void ckpt_store_abandon(struct ckpt_store *store,
                        const struct ckpt_epoch *epoch);

#endif
