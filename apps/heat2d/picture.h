/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * picture: a field as an image with a scale.
 */
#ifndef HEAT2D_PICTURE_H
#define HEAT2D_PICTURE_H

#include "solver.h"

/*
 * Draws the field from its smallest to its largest value, small grids
 * enlarged, large ones averaged, and writes a .png in colour or a .pgm in
 * grey, as the name ends. `values` may lie in shared memory. Returns 0, or -1
 * after a line on stderr.
 */
int picture_write(const char *file, const struct solver_grid *grid,
                  const double *values);

#endif
