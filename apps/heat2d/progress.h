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
};

/* Seconds of a monotonic clock. */
double progress_now(void);

/* Begins a run from step `first` to `last`. */
void progress_start(struct progress *p, const struct options *o, int64_t first,
                    int64_t last, double cells);
/* Shows `step`, if it is time to; called after every step. */
void progress_step(struct progress *p, int64_t step);
/* Says that an epoch with the state of `step` was written. */
void progress_checkpoint(struct progress *p, int64_t epoch, int64_t step,
                         double seconds);
/* Clears the line. */
void progress_end(struct progress *p);

#endif
