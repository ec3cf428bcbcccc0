/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt: coordinated, differential checkpoints of shared segments and protected
 * private memory, and restart from them. This header is what the life cycle
 * needs; the public calls stand in recto.h.
 *
 * Map of the folder (src/ckpt)
 *   net-free, also linked by the `recto` command
 *     io.c        every byte on disk; fault injection
 *     format.c    names, types, page sums, extents
 *     manifest.c  the manifest: text <-> struct, strict
 *     check.c     what a manifest must fulfil
 *     reader.c    one epoch file: verified reading
 *     chunks.c    how arrays of packed full epochs are cut, and back
 *     folder.c    which manifest of a folder counts
 *     halt.c      the request of `recto halt`
 *   rank 0 of a job
 *     lock.c      one job at a time
 *     store.c     cleaning, commit, pruning
 *     layout.c    where HDF5 puts the datasets of an epoch file
 *     deflate.c   compresses chunks of arrays, by threads
 *     chunked.c   has HDF5 store them in a packed full epoch
 *     h5.c        types and attributes of objects as HDF5 has them
 *     image.c     the file in memory that it does that in
 *   every rank
 *     region.c    recto_protect, recto_protect_block, hashes of private memory
 *     describe.c  recto_type_create, recto_attribute_*
 *     tile.c      blocks of a distributed array to pieces of its pages, and back
 *     agree.c     which objects an epoch holds
 *     collect.c   which pages each rank writes
 *     sink.c      pages on their way to the file
 *     full.c      writes a full epoch
 *     log.c       writes a differential epoch
 *     checkpoint.c recto_checkpoint
 *     flight.c    what of it is done beside the program
 *     merge.c     compaction beside the program; compact.c pieces out of a chain
 *     load.c      reads a chain of epochs into memory
 *     lazy.c      reads the rest of it while the program goes on
 *     choice.c    which epoch a restart takes
 *     fit.c       does it fit what the program declares?
 *     moved.c     recto_protect_redistribute: private memory on other ranks
 *     restart.c   recto_restart
 *     recover.c   recto_recover: one name of an epoch
 *     due.c       recto_checkpoint_due
 */
#ifndef RECTO_SRC_CKPT_CKPT_H
#define RECTO_SRC_CKPT_CKPT_H

#include <recto.h>

/*
 * Starts the floor; after space_init. `dir` NULL and `full` 0 mean the
 * default; RECTO_CKPT_DIR and RECTO_CKPT_FULL win over them. Touches no file.
 * Local. RECTO_EINVAL for a bad setting.
 */
int ckpt_init(const char *dir, unsigned full);

/* Gives the folder's lock back and forgets all regions. Local; may be followed
 * by another ckpt_init. */
void ckpt_finalize(void);

/* The epoch that is being written, or -1: the bytes that this rank has written, and is to
 * write at most. Any thread. */
int64_t ckpt_progress(uint64_t *done, uint64_t *all);

/* Sets the counters of checkpoints and restarts, leaves the others. */
void ckpt_stats(recto_counters *counters);

#endif
