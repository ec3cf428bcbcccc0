/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * obs: what Recto tells about itself.
 *
 *   table.c  the table of counters at the end (RECTO_STATS)
 *   trace.c  the file that base/trace.h records into (RECTO_TRACE)
 *   top.c    numbers of the moment, for `recto top` (base/live.h)
 */
#ifndef RECTO_SRC_OBS_H
#define RECTO_SRC_OBS_H

#include <recto.h>

/* With RECTO_STATS=1 on any rank, prints the counters of all ranks on rank 0's
 * stderr. Collective. */
int obs_table(const recto_counters *mine);

/* With RECTO_TRACE on any rank, aligns the clocks, and those ranks record from now on.
 * Also finds the number that the run has on all ranks. Collective, after net_init.
 * RECTO_EINVAL, RECTO_EIO, RECTO_ENOSPC. */
int obs_trace_start(void);
/* The program is done: the counters that the records up to now add up to. Local. */
void obs_trace_counters(const recto_counters *mine);
/* Nothing is recorded any more; the file is cut to what was. Local; fine if nothing was. */
void obs_trace_end(void);

/* Lets `recto top` see this rank, unless RECTO_TOP is 0. Local. RECTO_EINVAL; that it
 * cannot be seen is warned of only. */
int obs_top_start(void);
void obs_top_stop(void);
/* A number of the run, the same on all ranks. */
uint64_t obs_run(void);

#endif
