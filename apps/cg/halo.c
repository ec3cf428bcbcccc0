/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exchange of ghosts. Who needs what is found once: each rank lists the
 * columns that it lacks and tells them to their owners.
 */
#include "halo.h"

#include <mpi.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static size_t entries_of(const struct mtx_matrix *m)
{
    return m->start[m->rows.last - m->rows.first];
}

static bool own(const struct mtx_matrix *m, uint32_t column)
{
    return column >= m->rows.first && column < m->rows.last;
}

/* The foreign columns, each once, in order; NULL: out of memory. */
static uint32_t *list_ghosts(struct halo *h, const struct mtx_matrix *m)
{
    size_t entries = entries_of(m);
    uint32_t *list = malloc((entries + 1) * sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    size_t count = 0;
    for (size_t k = 0; k < entries; k++) {
        if (!own(m, m->column[k])) {
            list[count++] = m->column[k];
        }
    }
    qsort(list, count, sizeof *list, by_value);
    h->ghosts = 0;
    for (size_t k = 0; k < count; k++) {
        if (k == 0 || list[k] != list[k - 1]) {
            list[h->ghosts++] = list[k];
        }
    }
    return list;
}

/* Own columns from 0, ghosts behind the rows. */
static void renumber(const struct halo *h, struct mtx_matrix *m,
                     const uint32_t *ghosts)
{
    for (size_t k = 0; k < entries_of(m); k++) {
        uint32_t column = m->column[k];
        if (own(m, column)) {
            m->column[k] = (uint32_t)(column - m->rows.first);
        } else {
            const uint32_t *at =
                bsearch(&column, ghosts, h->ghosts, sizeof *ghosts, by_value);
            m->column[k] = (uint32_t)(h->rows + (size_t)(at - ghosts));
        }
    }
}

/* How many ghosts each rank owns. */
static void count_ghosts(struct halo *h, const struct mtx_matrix *m,
                         const uint32_t *ghosts)
{
    size_t at = 0;
    for (int r = 0; r < h->ranks; r++) {
        struct program_part part =
            program_part(m->n, sizeof(double), r, h->ranks);
        h->take_start[r] = (int)at;
        while (at < h->ghosts && ghosts[at] < part.last) {
            at++;
        }
        h->take_count[r] = (int)at - h->take_start[r];
    }
}

/* Tells the owners; learns what others want. */
static int agree(struct halo *h, const struct mtx_matrix *m,
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
        h->index[k] -= (uint32_t)m->rows.first;
    }
    return 0;
}

int halo_init(struct halo *h, struct mtx_matrix *m, int ranks)
{
    size_t count = (size_t)ranks;
    *h = (struct halo){.rows = m->rows.last - m->rows.first, .ranks = ranks};
    h->send_count = calloc(4 * count, sizeof *h->send_count);
    h->requests = malloc(2 * count * sizeof(MPI_Request));
    uint32_t *ghosts = list_ghosts(h, m);
    int result = -1;
    if (h->send_count != NULL && h->requests != NULL && ghosts != NULL) {
        h->send_start = h->send_count + count;
        h->take_count = h->send_start + count;
        h->take_start = h->take_count + count;
        count_ghosts(h, m, ghosts);
        result = agree(h, m, ghosts);
        renumber(h, m, ghosts);
    }
    free(ghosts);
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
