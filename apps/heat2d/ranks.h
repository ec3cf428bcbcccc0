/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ranks: what one rank tells about all of them. Each writes its row of a
 * shared table, one reads it: no message is sent.
 *
 * Both functions are collective. They return 0, or -1 on the rank(s) where
 * something failed, after a line on stderr.
 */
#ifndef HEAT2D_RANKS_H
#define HEAT2D_RANKS_H

/* Rank 0 prints the counters of every rank and their sum to stdout. */
int ranks_print_counters(void);

/* Rank 0 writes a line "rank pid host" for every rank; the file appears when
 * it is complete. */
int ranks_write_pids(const char *file);

#endif
