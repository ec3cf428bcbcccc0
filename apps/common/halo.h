/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * halo: for MPI versions, the exchange of those elements of a vector that other
 * ranks' rows of a sparse matrix need.
 *
 * A rank's vector has its own elements and behind them a copy of each foreign
 * one that its rows of the matrix refer to (ghosts, ordered by column, hence by
 * owner). halo_init renumbers the matrix's columns accordingly.
 */
#ifndef HALO_H
#define HALO_H

#include <program.h>

struct halo {
    size_t rows;
    size_t ghosts;
    int ranks;
    int *send_count, *send_start; /* by rank, into `index` */
    int *take_count, *take_start; /* by rank, into the ghosts */
    uint32_t *index;              /* own elements to send, from 0 */
    double *outgoing;
    void *requests; /* MPI_Request of 2 * ranks */
};

/* Rank r owns the elements parts[r], one range behind the other from 0; `rank`'s
 * rows refer to column[entries], which is renumbered. -1: out of memory, on this rank
 * alone. Collective. */
int halo_init(struct halo *h, const struct program_part *parts, int rank,
              int ranks, uint32_t *column, size_t entries);
void halo_free(struct halo *h);

/* Fills the ghosts of v, behind its own elements. Collective. */
void halo_exchange(struct halo *h, double *v);

#endif
