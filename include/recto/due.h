/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/due.h: when to checkpoint, and when to end. Part of recto.h, which
 * includes it.
 */
#ifndef RECTO_DUE_H
#define RECTO_DUE_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* What recto_checkpoint_due asks for. */
enum recto_due {
    RECTO_DUE_NO = 0,
    RECTO_DUE_CHECKPOINT = 1, /* recto_checkpoint now, then go on */
    RECTO_DUE_STOP = 2 /* recto_checkpoint now, then recto_finalize, and end
                                 the process with RECTO_EXIT_CONTINUE */
};

/* The exit code that says "not done: start me again and I go on" (EX_TEMPFAIL of
 * sysexits.h). `recto run` ends with it too. */
#define RECTO_EXIT_CONTINUE 75

/*
 * Is a checkpoint due? For a moment at which one could be written, usually once per
 * step. Collective, the same answer on every rank; costs one reduction of a few
 * words, and orders no accesses to shared memory. An enum recto_due, or an error as
 * of any collective call (RECTO_EMISMATCH, RECTO_EMPI).
 *
 * CHECKPOINT  RECTO_CKPT_INTERVAL seconds passed on rank 0 since the last
 *             recto_checkpoint or recto_restart, or since recto_init; without that,
 *             and with RECTO_MTBF, as often as costs least (Daly's formula, from the
 *             time that checkpoints take here, a second for the first one)
 * STOP        from the first call on after one of these:
 *             - SIGUSR1 reached any rank (with RECTO_STOP_SIGNAL=term also SIGTERM,
 *               with off neither)
 *             - `recto halt` asks for it in the checkpoint folder: at once, after so
 *               many more epochs, or so early that a checkpoint like the longest so
 *               far is written before a given time
 *             - RECTO_WALLTIME seconds after recto_init will soon have passed: time is
 *               left for a step and a checkpoint like the longest so far
 *
 * recto_init handles these signals only where they have their default disposition;
 * a program with handlers of its own keeps them, and is then not stopped by signals.
 * recto_finalize gives them back. A run that is killed before it ended so does it
 * when it is started again; recto_finalize removes a request that was fulfilled.
 */
int recto_checkpoint_due(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
