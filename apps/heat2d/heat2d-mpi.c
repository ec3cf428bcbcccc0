/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heat2d-mpi: heat2d by messages. Every rank holds its rows of the grid and a
 * row of each neighbour's beside them (ghosts), which it receives anew in each
 * step.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "versions.h"

static const char name[] = "heat2d-mpi";
static const char launch[] = "mpirun -n RANKS heat2d-mpi";

static int ranks;
static int rank;

/* What a rank holds: rows origin .. end - 1, of which the slab's are its own. */
struct local {
    struct check_run run;
    struct solver_slab slab;
    struct solver_rows rows;
    size_t end;
    MPI_Datatype row;
    double *temperature[2];
    double *conductivity;
    int *counts, *starts; /* of all ranks, in rows */
};

static void out_of_memory(void)
{
    (void)program_fail(name, "rank %d: out of memory", rank);
    (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
}

static double *row_of(const struct local *l, double *values, size_t y)
{
    return values + (y - l->rows.origin) * l->run.grid.nx;
}

/* The row above and the row below the rank's own. */
static void exchange(const struct local *l, double *values)
{
    const struct solver_rows *rows = &l->rows;
    MPI_Request requests[4];
    int count = 0;
    if (rank > 0) {
        (void)MPI_Irecv(row_of(l, values, rows->first - 1), 1, l->row, rank - 1,
                        0, MPI_COMM_WORLD, &requests[count++]);
    }
    if (rank < ranks - 1) {
        (void)MPI_Irecv(row_of(l, values, rows->last), 1, l->row, rank + 1, 0,
                        MPI_COMM_WORLD, &requests[count++]);
    }
    if (rank > 0) {
        (void)MPI_Isend(row_of(l, values, rows->first), 1, l->row, rank - 1, 0,
                        MPI_COMM_WORLD, &requests[count++]);
    }
    if (rank < ranks - 1) {
        (void)MPI_Isend(row_of(l, values, rows->last - 1), 1, l->row, rank + 1,
                        0, MPI_COMM_WORLD, &requests[count++]);
    }
    (void)MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
}

/* Rank 0's field to all ranks' rows, ghosts included. */
static void scatter(const struct local *l, const double *whole, double *values)
{
    (void)MPI_Scatterv(whole, l->counts, l->starts, l->row,
                       row_of(l, values, l->rows.first), l->counts[rank],
                       l->row, 0, MPI_COMM_WORLD);
    exchange(l, values);
}

/* Cuts the grid, and allocates this rank's part of it. */
static void allocate(struct local *l)
{
    size_t ny = l->run.grid.ny;
    size_t nx = l->run.grid.nx;
    l->counts = malloc(2 * (size_t)ranks * sizeof *l->counts);
    if (l->counts == NULL) {
        out_of_memory();
    }
    l->starts = l->counts + ranks;
    for (int r = 0; r < ranks; r++) {
        size_t first = ny * (size_t)r / (size_t)ranks;
        l->starts[r] = (int)first;
        l->counts[r] = (int)(ny * (size_t)(r + 1) / (size_t)ranks - first);
    }
    l->rows.first = (size_t)l->starts[rank];
    l->rows.last = l->rows.first + (size_t)l->counts[rank];
    l->rows.origin = rank > 0 ? l->rows.first - 1 : 0;
    l->end = rank < ranks - 1 ? l->rows.last + 1 : l->rows.last;
    (void)MPI_Type_contiguous((int)nx, MPI_DOUBLE, &l->row);
    (void)MPI_Type_commit(&l->row);
    size_t cells = (l->end - l->rows.origin) * nx;
    l->temperature[0] = malloc(cells * sizeof(double));
    l->temperature[1] = malloc(cells * sizeof(double));
    l->conductivity = malloc(cells * sizeof(double));
    if (l->temperature[0] == NULL || l->temperature[1] == NULL ||
        l->conductivity == NULL) {
        out_of_memory();
    }
}

static void release(struct local *l)
{
    solver_slab_free(&l->slab);
    free(l->temperature[0]);
    free(l->temperature[1]);
    free(l->conductivity);
    free(l->counts);
    (void)MPI_Type_free(&l->row);
}

static int check_shape(const struct solver_grid *grid)
{
    if ((size_t)ranks > grid->ny || grid->ny > INT32_MAX ||
        grid->nx > INT32_MAX) {
        return program_fail(name,
                            "%zu x %zu cells for %d ranks: there must be a row "
                            "for each, and fewer than 2^31 rows and columns",
                            grid->ny, grid->nx, ranks);
    }
    return 0;
}

/* Rank 0 reads, all get their rows. */
static int prepare(const struct versions_options *o, struct local *l)
{
    double *temperature = NULL;
    double *conductivity = NULL;
    int code = 0;
    if (rank == 0) {
        code = versions_read(o, &l->run, &temperature, &conductivity);
        if (code == 0) {
            code = check_shape(&l->run.grid);
        }
    }
    (void)MPI_Bcast(&code, 1, MPI_INT, 0, MPI_COMM_WORLD);
    /* its pointers are used by rank 0 alone */
    (void)MPI_Bcast(&l->run, sizeof l->run, MPI_BYTE, 0, MPI_COMM_WORLD);
    if (code == 0) {
        allocate(l);
        scatter(l, temperature, l->temperature[0]);
        scatter(l, conductivity, l->conductivity);
        if (solver_slab_init(&l->slab, &l->run.grid, l->rows, l->run.fixed,
                             l->run.dt, l->conductivity) != 0) {
            out_of_memory();
        }
    }
    free(temperature);
    free(conductivity);
    return code;
}

static void advance(struct local *l)
{
    for (int64_t step = 0; step < l->run.steps; step++) {
        double *next = l->temperature[(step + 1) % 2];
        solver_slab_step(&l->slab, l->temperature[step % 2], next);
        exchange(l, next);
    }
}

/* Rank 0 gathers and checks. */
static int finish(const struct versions_options *o, struct local *l,
                  double seconds)
{
    struct program_report report = {"heat2d", "mpi", ranks, o->json, 0, {{0}}};
    size_t cells = l->run.grid.ny * l->run.grid.nx;
    double *whole = NULL;
    int code = PROGRAM_OK;
    if (rank == 0 && (whole = malloc(cells * sizeof *whole)) == NULL) {
        out_of_memory();
    }
    (void)MPI_Gatherv(
        row_of(l, l->temperature[l->run.steps % 2], l->rows.first),
        l->counts[rank], l->row, whole, l->counts, l->starts, l->row, 0,
        MPI_COMM_WORLD);
    if (rank == 0) {
        code = versions_end(o, &l->run, &report, seconds, whole);
    }
    free(whole);
    (void)MPI_Bcast(&code, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return code;
}

static int run(const struct versions_options *o)
{
    struct local l = {.row = MPI_DATATYPE_NULL};
    if (prepare(o, &l) != 0) {
        return PROGRAM_FAILED;
    }
    if (rank == 0) {
        (void)printf("%s: %zu x %zu cells, %d ranks\n", name, l.run.grid.ny,
                     l.run.grid.nx, ranks);
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
    double started = program_now();
    advance(&l);
    (void)MPI_Barrier(MPI_COMM_WORLD);
    int code = finish(o, &l, program_now() - started);
    release(&l);
    return code;
}

int main(int argc, char **argv)
{
    struct versions_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        versions_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        versions_options_help(name, launch);
        return PROGRAM_OK;
    }
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        code = run(&o);
    } else if (rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
