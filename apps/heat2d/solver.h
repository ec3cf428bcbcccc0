/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * solver: explicit finite volumes for  dT/dt = div(k grad T)  on square cells
 * of side 1 and heat capacity 1.
 *
 * Heat flows through the face between cells a and b at the rate g (Ta - Tb),
 * where g is the harmonic mean of their conductivities: what two layers of
 * half a cell in series let through, and 0 where one of them conducts nothing.
 * One step moves dt times that. With dt <= 0.25 / max(k) every new temperature
 * is a weighted mean of old ones, so nothing overshoots.
 *
 * The same bits for any number of ranks: a cell's new value is one expression
 * of five old values and four faces, evaluated by one function over whole
 * rows, whoever owns the row; nothing is summed over ranks. Compile with
 * -ffp-contract=off, so that it is the same on processors with fused
 * multiply-add.
 */
#ifndef HEAT2D_SOLVER_H
#define HEAT2D_SOLVER_H

#include <stdbool.h>
#include <stddef.h>

/* A grid of ny rows of nx cells, row-major. */
struct solver_grid {
    size_t ny;
    size_t nx;
};

/* Rows first .. last - 1 of a grid, for one rank or thread to compute. Arrays
 * that are given with them begin at row `origin`: 0 for whole grids. */
struct solver_rows {
    size_t first;
    size_t last;
    size_t origin;
};

/* What a rank keeps in private memory for its rows. */
struct solver_slab {
    struct solver_grid grid;
    struct solver_rows rows;
    bool fixed; /* edge cells keep their temperature */
    /* dt times the conductance of faces; 0 at the edges of the grid.
     * west[(y - first) * (nx + 1) + x]: between (y, x - 1) and (y, x)
     * north[(y - first) * nx + x]: between (y - 1, x) and (y, x) */
    double *west;
    double *north;
};

/* The largest stable time step for this largest conductivity; INFINITY for 0.
 */
double solver_dt_limit(double max_conductivity);

/* Largest of the grid's values. */
double solver_max(const struct solver_grid *grid, const double *values);

/* Sum over all cells, in an order that depends on the grid alone. */
double solver_sum(const struct solver_grid *grid, const double *values);

/*
 * Computes the faces of rows first .. last - 1 (none if equal) from the
 * conductivity of rows first - 1 .. last. -1: out of memory, the slab is
 * unusable.
 */
int solver_slab_init(struct solver_slab *slab, const struct solver_grid *grid,
                     struct solver_rows rows, bool fixed, double dt,
                     const double *conductivity);
void solver_slab_free(struct solver_slab *slab);

/* One time step of the slab's rows: reads the rows first - 1 .. last of `now`,
 * writes the rows first .. last - 1 of `next`. */
void solver_slab_step(const struct solver_slab *slab, const double *now,
                      double *next);

#endif
