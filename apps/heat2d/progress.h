/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress: how far a run is, how fast, and for how long still, on stderr.
 */
#ifndef HEAT2D_PROGRESS_H
#define HEAT2D_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

struct progress {
    bool quiet;
    bool line; /* one line, rewritten; else a line every 10 % */
    int64_t first;
    int64_t last;
    double cells; /* per step */
    double started;
    double shown;      /* when the line was last rewritten */
    int64_t next_mark; /* tenth of the run that is shown next */
    int64_t saving;    /* step whose checkpoint is being written, or -1 */
    double saving_since;
    int64_t epoch; /* the newest that was on disk before */
};

/* Seconds of a monotonic clock. */
double progress_now(void);

/* Begins a run from step `first` to `last`. */
void progress_start(struct progress *p, const struct options *o, int64_t first,
                    int64_t last, double cells);
/* Shows `step`, if it is time to; called after every step. */
void progress_step(struct progress *p, int64_t step);
/* A checkpoint of `step` is being written; `epoch` is the newest on disk. */
void progress_saving(struct progress *p, int64_t step, int64_t epoch);
/* The newest epoch on disk: says so if that is the one that is being written. */
void progress_saved(struct progress *p, int64_t epoch);
/* Clears the line. */
void progress_end(struct progress *p);

#endif
