/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * flight: the checkpoint that is being written while the program goes on.
 */
#ifndef RECTO_SRC_CKPT_FLIGHT_H
#define RECTO_SRC_CKPT_FLIGHT_H

#include "state.h"

/* Reads the settings. RECTO_EINVAL. Local. */
int ckpt_flight_init(void);
/* Is the next checkpoint to be written so? */
bool ckpt_flight_wanted(void);
/* Makes what a checkpoint beside the program needs. Collective; nothing from the second
 * time on. */
int ckpt_flight_prepare(void);

/* Bytes of copies that a rank has room for. */
uint64_t ckpt_flight_buffer(void);

/* Takes the job and `known` over and has what is left of the checkpoint done by a thread
 * of its own; waits for what the job wants to be waited for. RECTO_ENOMEM, and the job is
 * still the caller's. Collective, one verdict. */
int ckpt_flight_start(struct ckpt_job *job, struct ckpt_known *known);

/* RECTO_EBUSY if a checkpoint is under way and the program does not want to wait for
 * it, else 0. Local. */
int ckpt_flight_refuse(void);
/* Waits for the checkpoint under way, if there is one, and takes what came of it into
 * account. Local, but in the same order of collective calls on every rank. */
void ckpt_flight_land(void);
/* How the last one ended that nobody was told of yet: 0, or its error with its message;
 * the same on every rank. */
int ckpt_flight_outcome(void);
/* The number of the last epoch that was committed, although its flight has not landed,
 * or -1. Any thread. */
int64_t ckpt_flight_epoch(void);
/* The number of the epoch that is being written, else of the last one; or -1. Program's
 * thread. */
int64_t ckpt_flight_newest(void);

#endif
