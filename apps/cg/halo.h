/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * halo: for cg-mpi, the exchange of those elements of a vector that other
 * ranks' rows of the matrix need.
 *
 * A rank's vector has its own rows and behind them a copy of each foreign
 * element that its rows of the matrix refer to (ghosts, ordered by row, hence by
 * owner). halo_init renumbers the matrix's columns accordingly.
 */
#ifndef HALO_H
#define HALO_H

#include "mtx.h"

struct halo {
    size_t rows;
    size_t ghosts;
    int ranks;
    int *send_count, *send_start; /* by rank, into `index` */
    int *take_count, *take_start; /* by rank, into the ghosts */
    uint32_t *index;              /* own rows to send, from 0 */
    double *outgoing;
    void *requests; /* MPI_Request of 2 * ranks */
};

/* Collective. -1: out of memory here. */
int halo_init(struct halo *h, struct mtx_matrix *m, int ranks);
void halo_free(struct halo *h);

/* Brings the ghosts of v up to date; collective. */
void halo_exchange(struct halo *h, double *v);

#endif
