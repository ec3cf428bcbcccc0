/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The time step. See solver.h for the scheme and for why the result does not
 * depend on the number of ranks.
 */
#include "solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double solver_dt_limit(double max_conductivity)
{
    /* A cell has four faces, none conducts better than max_conductivity. */
    return max_conductivity > 0.0 ? 0.25 / max_conductivity : (double)INFINITY;
}

double solver_max(const struct solver_grid *grid, const double *values)
{
    double max = values[0];
    for (size_t i = 1; i < grid->ny * grid->nx; i++) {
        max = values[i] > max ? values[i] : max;
    }
    return max;
}

double solver_sum(const struct solver_grid *grid, const double *values)
{
    /* Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation
     * endlicher Summen", ZAMM 54 (1974): the error of each addition is summed
     * apart, else it would hide what the scheme loses. */
    double sum = 0.0;
    double error = 0.0;
    for (size_t i = 0; i < grid->ny * grid->nx; i++) {
        double total = sum + values[i];
        error += fabs(sum) >= fabs(values[i]) ? (sum - total) + values[i]
                                              : (values[i] - total) + sum;
        sum = total;
    }
    return sum + error;
}

static double harmonic_mean(double a, double b)
{
    double sum = a + b;
    return sum > 0.0 ? 2.0 * a * b / sum : 0.0;
}

int solver_slab_init(struct solver_slab *slab, const struct solver_grid *grid,
                     struct solver_rows rows, bool fixed, double dt,
                     const double *conductivity)
{
    size_t first = rows.first;
    size_t last = rows.last;
    size_t nx = grid->nx;
    *slab = (struct solver_slab){.grid = *grid, .rows = rows, .fixed = fixed};
    /* zero: the faces at the grid's edges stay so */
    slab->west = calloc(last - first + 1, (nx + 1) * sizeof *slab->west);
    slab->north = calloc(last - first + 1, nx * sizeof *slab->north);
    if (slab->west == NULL || slab->north == NULL) {
        solver_slab_free(slab);
        return -1;
    }
    for (size_t y = first; y < last; y++) {
        const double *k = conductivity + (y - rows.origin) * nx;
        double *west = slab->west + (y - first) * (nx + 1);
        for (size_t x = 1; x < nx; x++) {
            west[x] = dt * harmonic_mean(k[x - 1], k[x]);
        }
    }
    /* One row of faces more: the last row's south is the next one's north. */
    for (size_t y = first; y <= last; y++) {
        if (y == 0 || y == grid->ny) {
            continue;
        }
        const double *k = conductivity + (y - rows.origin) * nx;
        double *north = slab->north + (y - first) * nx;
        for (size_t x = 0; x < nx; x++) {
            north[x] = dt * harmonic_mean(k[x - nx], k[x]);
        }
    }
    return 0;
}

void solver_slab_free(struct solver_slab *slab)
{
    free(slab->west);
    free(slab->north);
    slab->west = NULL;
    slab->north = NULL;
}

/* Old temperatures around a row of cells, and the faces between. */
struct row {
    const double *here, *north, *south;
    const double *west_face; /* nx + 1 of them */
    const double *north_face, *south_face;
};

static inline double cell(const struct row *r, size_t x, double west,
                          double east)
{
    double here = r->here[x];
    return here + ((r->north_face[x] * (r->north[x] - here) +
                    r->south_face[x] * (r->south[x] - here)) +
                   (r->west_face[x] * (west - here) +
                    r->west_face[x + 1] * (east - here)));
}

static void step_row(const struct row *r, size_t nx, double *restrict next)
{
    /* Outside the grid lies the cell itself, behind a face that is 0. */
    next[0] = cell(r, 0, r->here[0], r->here[1]);
    for (size_t x = 1; x < nx - 1; x++) {
        next[x] = cell(r, x, r->here[x - 1], r->here[x + 1]);
    }
    next[nx - 1] = cell(r, nx - 1, r->here[nx - 2], r->here[nx - 1]);
}

void solver_slab_step(const struct solver_slab *slab, const double *now,
                      double *next)
{
    size_t nx = slab->grid.nx;
    size_t ny = slab->grid.ny;
    for (size_t y = slab->rows.first; y < slab->rows.last; y++) {
        size_t row = y - slab->rows.first;
        const double *here = now + (y - slab->rows.origin) * nx;
        struct row r = {
            .here = here,
            .north = y > 0 ? here - nx : here,
            .south = y + 1 < ny ? here + nx : here,
            .west_face = slab->west + row * (nx + 1),
            .north_face = slab->north + row * nx,
            .south_face = slab->north + (row + 1) * nx,
        };
        double *out = next + (y - slab->rows.origin) * nx;
        if (slab->fixed && (y == 0 || y == ny - 1)) {
            memcpy(out, here, nx * sizeof *out);
            continue;
        }
        step_row(&r, nx, out);
        if (slab->fixed) {
            out[0] = here[0];
            out[nx - 1] = here[nx - 1];
        }
    }
}
