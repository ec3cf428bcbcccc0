/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * field: 2-D datasets in HDF5 files, read and written by one process.
 *
 * `values` may lie in shared memory: every byte passes a private buffer on its
 * way, since neither HDF5 nor the kernel can wait for a page that another rank
 * holds. Functions return 0, or -1 after a line on stderr that names file and
 * dataset.
 */
#ifndef HEAT2D_FIELD_H
#define HEAT2D_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "solver.h"

/* Shape of a dataset, which must be 2-D, numeric, and at least 3 by 3. */
int field_shape(const char *file, const char *dataset,
                struct solver_grid *grid);

enum field_kind {
    FIELD_TEMPERATURE, /* finite */
    FIELD_CONDUCTIVITY /* finite, not negative */
};

/*
 * Reads a dataset of any integer or floating-point type as double. It must
 * have the shape `grid`, and `kind` says which values it may hold.
 */
int field_read(const char *file, const char *dataset, enum field_kind kind,
               const struct solver_grid *grid, double *values);

/* An attribute of a dataset: text if not NULL, else a whole number if `whole`,
 * else a number. */
struct field_attribute {
    const char *name;
    const char *text;
    int whole;
    double number;
    int64_t count;
};

struct field_output {
    const char *dataset;
    const double *values;
    const struct field_attribute *attributes;
    size_t attributes_count;
};

/*
 * Writes a new file with these datasets; it takes the place of an older one
 * only when it is complete. The same data gives the same bytes: no times are
 * stored.
 */
int field_write(const char *file, const struct solver_grid *grid,
                const struct field_output *outputs, size_t outputs_count);

#endif
