/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check: what the versions of heat2d for Recto, MPI and OpenMP check alike: the
 * time step they are asked for, and the result, against a serial solution.
 */
#ifndef HEAT2D_CHECK_H
#define HEAT2D_CHECK_H

#include <stdint.h>

#include "solver.h"

/* The time step: `asked`, if it is stable; 0: one that is. Returns 0, or -1 after
 * a line on stderr. */
int check_dt(double asked, double max_conductivity, double *dt);

/* A run, as it began. */
struct check_run {
    const char *file;
    const char *field;        /* dataset with the temperature at step 0 */
    const char *conductivity; /* dataset with the conductivity */
    struct solver_grid grid;
    bool fixed;
    double dt;
    int64_t steps;
};

/*
 * Makes the whole run again, from the input, by one process in private memory.
 * *different is the number of cells of `result` whose bits differ; the first is
 * reported. Returns 0, or -1 after a line on stderr.
 */
int check_serially(const struct check_run *run, const double *result,
                   size_t *different);

/* Prints "checksum ...", made of all values' bits. */
void check_print_sum(const struct solver_grid *grid, const double *values);

#endif
