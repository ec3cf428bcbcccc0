/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of runs of indices, [first, end), ascending and apart once they are complete.
 * All zero is the empty list. Not for signal handlers.
 */
#ifndef RECTO_SRC_BASE_RUNS_H
#define RECTO_SRC_BASE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

struct base_run {
    uint64_t first;
    uint64_t end;
};

struct base_runs {
    struct base_run *items;
    uint64_t count;
    uint64_t room;
};

/* Room for so many more; false, and nothing has changed: no memory. */
bool base_runs_reserve(struct base_runs *runs, uint64_t more);
/* Puts a run at the end; where it touches the last it lengthens that. The same. */
bool base_runs_add(struct base_runs *runs, uint64_t first, uint64_t end);
/* For runs that were added in any order: sorts, and joins what touches. True if they
 * are apart. */
bool base_runs_sort(struct base_runs *runs);
/* The run that holds `index`, or the first behind it; NULL: none. */
const struct base_run *base_runs_from(const struct base_runs *runs,
                                      uint64_t index);
/* Empties the list. */
void base_runs_free(struct base_runs *runs);

#endif
