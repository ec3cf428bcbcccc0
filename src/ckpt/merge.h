/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * merge: a chain that has become long is compacted by the job itself, beside the program,
 * so that what a restart reads is bounded (RECTO_CKPT_COMPACT).
 *
 *   checkpoint                          thread of the flight
 *     agree: volume and limit             .
 *     lay out: also the full epoch, if    .
 *       the epoch will pass the limit     .
 *     start ----------------------------> write, commit, read back, prune
 *     goes on                             the epoch is done; ckpt_merge_run:
 *                                           all ranks: their pieces from the disk into a
 *                                             new file, fsync; verdict
 *                                           rank 0: table of pieces, metadata, fsync
 *                                           all: read back; verdict
 *     next checkpoint: ends it -------->    rank 0: commit in the old epoch's place
 */
#ifndef RECTO_SRC_CKPT_MERGE_H
#define RECTO_SRC_CKPT_MERGE_H

#include <stdatomic.h>

#include "state.h"

/* Reads the setting. RECTO_EINVAL. Local. */
int ckpt_merge_init(void);

/* Of an epoch that was written and has not taken effect yet: bytes that a differential
 * one would have had of this rank's, which is how much the next one may have. Local. */
uint64_t ckpt_merge_changed(const struct ckpt_job *job);
/* Rank 0, before an epoch: is it to be full, since the chain has passed its bound, or
 * would by a differential epoch that costs not much less? `changed`: bytes that one of
 * the last epoch would have had. */
bool ckpt_merge_wants_full(const struct ckpt_manifest *manifest,
                           uint64_t changed);
/* Rank 0: bytes that the chain which the job's epoch joins has, and may have. */
void ckpt_merge_plan(struct ckpt_job *job,
                     const struct ckpt_manifest *manifest);

/* Sets job->merge.due, alike on all ranks: of a job that is to be laid out, for the layout
 * leaves numbers on rank 0 that the others do not have. */
void ckpt_merge_decide(struct ckpt_job *job);
/* If it is due rank 0 lays out the epoch that the chain is to become. A failure leaves the
 * chain as it is, with a warning. Calls HDF5. */
void ckpt_merge_prepare(struct ckpt_job *job);
void ckpt_merge_free(struct ckpt_merge *merge);

/*
 * Compacts the chain which ends with the epoch that `merge` was prepared for, committed
 * meanwhile. Reads the disk only. When *stop becomes true on a rank, it ends soon and leaves
 * the folder as it was, as after a failure, which is warned of. Collective, in the
 * background.
 */
void ckpt_merge_run(struct ckpt_merge *merge, const atomic_bool *stop);

/* Sets `compactions` and `compact_ns`. */
void ckpt_merge_stats(recto_counters *counters);

#endif
