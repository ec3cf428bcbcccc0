/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exchange of ghosts. Who needs what is found once: each rank lists the
 * columns that it lacks and tells them to their owners.
 */
#include "halo.h"

#include <mpi.h>
#include <stdlib.h>

static bool own(const struct program_part *mine, size_t column)
{
    return column >= mine->first && column < mine->last;
}

/*
 * Finds the foreign columns, each once, in order; own columns count from 0, ghosts
 * go behind. place[column] + 1 is the place of a column in the vector, 0: not needed.
 */
static uint32_t *list_ghosts(struct halo *h, const struct program_part *mine,
                             uint32_t *place, size_t n, uint32_t *column,
                             size_t entries)
{
    for (size_t k = 0; k < entries; k++) {
        place[column[k]] = 1;
    }
    h->ghosts = 0;
    for (size_t i = 0; i < n; i++) {
        h->ghosts += place[i] != 0 && !own(mine, i);
    }
    uint32_t *ghosts = malloc((h->ghosts + 1) * sizeof *ghosts);
    if (ghosts == NULL) {
        return NULL;
    }
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (own(mine, i)) {
            place[i] = (uint32_t)(i - mine->first) + 1;
        } else if (place[i] != 0) {
            ghosts[at++] = (uint32_t)i;
            place[i] = (uint32_t)h->rows + at;
        }
    }
    for (size_t k = 0; k < entries; k++) {
        column[k] = place[column[k]] - 1;
    }
    return ghosts;
}

/* How many ghosts each rank owns. */
static void count_ghosts(struct halo *h, const struct program_part *parts,
                         const uint32_t *ghosts)
{
    size_t at = 0;
    for (int r = 0; r < h->ranks; r++) {
        h->take_start[r] = (int)at;
        while (at < h->ghosts && ghosts[at] < parts[r].last) {
            at++;
        }
        h->take_count[r] = (int)at - h->take_start[r];
    }
}

/* Tells the owners; learns what others want. */
static int agree(struct halo *h, const struct program_part *mine,
                 const uint32_t *ghosts)
{
    (void)MPI_Alltoall(h->take_count, 1, MPI_INT, h->send_count, 1, MPI_INT,
                       MPI_COMM_WORLD);
    int wanted = 0;
    for (int r = 0; r < h->ranks; r++) {
        h->send_start[r] = wanted;
        wanted += h->send_count[r];
    }
    h->index = malloc(((size_t)wanted + 1) * sizeof *h->index);
    h->outgoing = malloc(((size_t)wanted + 1) * sizeof *h->outgoing);
    if (h->index == NULL || h->outgoing == NULL) {
        return -1;
    }
    (void)MPI_Alltoallv(ghosts, h->take_count, h->take_start, MPI_UINT32_T,
                        h->index, h->send_count, h->send_start, MPI_UINT32_T,
                        MPI_COMM_WORLD);
    for (int k = 0; k < wanted; k++) {
        h->index[k] -= (uint32_t)mine->first;
    }
    return 0;
}

int halo_init(struct halo *h, const struct program_part *parts, int rank,
              int ranks, uint32_t *column, size_t entries)
{
    const struct program_part *mine = &parts[rank];
    size_t count = (size_t)ranks;
    size_t n = parts[ranks - 1].last;
    *h = (struct halo){.rows = mine->last - mine->first, .ranks = ranks};
    h->send_count = calloc(4 * count, sizeof *h->send_count);
    h->requests = malloc(2 * count * sizeof(MPI_Request));
    uint32_t *place = calloc(n + 1, sizeof *place);
    uint32_t *ghosts = NULL;
    int result = -1;
    if (h->send_count != NULL && h->requests != NULL && place != NULL) {
        h->send_start = h->send_count + count;
        h->take_count = h->send_start + count;
        h->take_start = h->take_count + count;
        ghosts = list_ghosts(h, mine, place, n, column, entries);
    }
    if (ghosts != NULL) {
        count_ghosts(h, parts, ghosts);
        result = agree(h, mine, ghosts);
    }
    free(ghosts);
    free(place);
    return result;
}

void halo_free(struct halo *h)
{
    free(h->send_count);
    free(h->index);
    free(h->outgoing);
    free(h->requests);
    *h = (struct halo){0};
}

void halo_exchange(struct halo *h, double *v)
{
    MPI_Request *requests = h->requests;
    int count = 0;
    for (int r = 0; r < h->ranks; r++) {
        if (h->take_count[r] > 0) {
            (void)MPI_Irecv(v + h->rows + h->take_start[r], h->take_count[r],
                            MPI_DOUBLE, r, 0, MPI_COMM_WORLD,
                            &requests[count++]);
        }
    }
    for (int r = 0; r < h->ranks; r++) {
        int first = h->send_start[r];
        for (int k = first; k < first + h->send_count[r]; k++) {
            h->outgoing[k] = v[h->index[k]];
        }
        if (h->send_count[r] > 0) {
            (void)MPI_Isend(h->outgoing + first, h->send_count[r], MPI_DOUBLE,
                            r, 0, MPI_COMM_WORLD, &requests[count++]);
        }
    }
    (void)MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
}
