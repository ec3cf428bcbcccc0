/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HDF5 input and output, a block of rows at a time.
 *
 * HDF5 prints a stack of its own words on every error. It is silenced here:
 * each function knows what it was about and says that.
 */
#include "field.h"

#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

enum {
    BLOCK_BYTES = 1 << 20, /* private buffer; at least one row */
    PATH_BYTES = 4096,
    SIDE_MIN = 3
};
/* More cells than any address space holds, few enough to multiply. */
static const hsize_t cells_max = (hsize_t)1 << 44;

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows that go through the private buffer at once. */
static size_t block_rows(const struct solver_grid *grid)
{
    /* nx is not 0: NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
    size_t rows = BLOCK_BYTES / (grid->nx * sizeof(double));
    return rows == 0 ? 1 : min_size(rows, grid->ny);
}

/* Moves `rows` rows from `first` on between the dataset and the buffer. */
static int block_transfer(hid_t dataset, const struct solver_grid *grid,
                          size_t first, size_t rows, double *buffer, bool write)
{
    hsize_t start[2] = {first, 0};
    hsize_t count[2] = {rows, grid->nx};
    int result = -1;
    hid_t memory = H5Screate_simple(2, count, NULL);
    hid_t space = H5Dget_space(dataset);
    if (memory >= 0 && space >= 0 &&
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >=
            0) {
        result = write ? H5Dwrite(dataset, H5T_NATIVE_DOUBLE, memory, space,
                                  H5P_DEFAULT, buffer)
                       : H5Dread(dataset, H5T_NATIVE_DOUBLE, memory, space,
                                 H5P_DEFAULT, buffer);
    }
    (void)H5Sclose(space);
    (void)H5Sclose(memory);
    return result < 0 ? -1 : 0;
}

/* ---- reading ------------------------------------------------------------- */

struct source {
    hid_t file;
    hid_t dataset;
    struct solver_grid grid;
};

static void source_close(struct source *s)
{
    if (s->dataset >= 0) {
        (void)H5Dclose(s->dataset);
    }
    if (s->file >= 0) {
        (void)H5Fclose(s->file);
    }
}

static bool numeric(hid_t dataset)
{
    hid_t type = H5Dget_type(dataset);
    H5T_class_t class = H5Tget_class(type);
    (void)H5Tclose(type);
    return class == H5T_INTEGER || class == H5T_FLOAT;
}

/* Type and shape of an open dataset. */
static int source_examine(struct source *s, const char *file, const char *name)
{
    if (!numeric(s->dataset)) {
        return message_fail("%s: dataset %s holds neither integers nor "
                            "floating-point numbers",
                            file, name);
    }
    hid_t space = H5Dget_space(s->dataset);
    int dimensions = H5Sget_simple_extent_ndims(space);
    hsize_t side[2] = {0, 0};
    if (dimensions == 2) {
        (void)H5Sget_simple_extent_dims(space, side, NULL);
    }
    (void)H5Sclose(space);
    if (dimensions != 2) {
        return message_fail("%s: dataset %s has %d dimensions, 2 are needed",
                            file, name, dimensions);
    }
    if (side[0] < SIDE_MIN || side[1] < SIDE_MIN) {
        return message_fail("%s: dataset %s has %llu x %llu cells, at least "
                            "%d x %d are needed",
                            file, name, (unsigned long long)side[0],
                            (unsigned long long)side[1], SIDE_MIN, SIDE_MIN);
    }
    if (side[0] > cells_max / side[1]) {
        return message_fail("%s: dataset %s is too large", file, name);
    }
    s->grid = (struct solver_grid){.ny = side[0], .nx = side[1]};
    return 0;
}

static int source_open(struct source *s, const char *file, const char *name)
{
    *s = (struct source){.file = -1, .dataset = -1};
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (access(file, R_OK) != 0) {
        return message_fail("%s: %s", file, message_errno());
    }
    s->file = H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (s->file < 0) {
        return message_fail("%s: not an HDF5 file, or a damaged one", file);
    }
    s->dataset = H5Dopen2(s->file, name, H5P_DEFAULT);
    if (s->dataset < 0) {
        (void)message_fail("%s: no dataset %s in it", file, name);
    } else if (source_examine(s, file, name) == 0) {
        return 0;
    }
    source_close(s);
    return -1;
}

int field_shape(const char *file, const char *dataset, struct solver_grid *grid)
{
    struct source source;
    if (source_open(&source, file, dataset) != 0) {
        return -1;
    }
    *grid = source.grid;
    source_close(&source);
    return 0;
}

/* Names the first value that the kind forbids. */
static int values_check(const char *file, const char *dataset,
                        enum field_kind kind, size_t first_row, size_t rows,
                        size_t nx, const double *values)
{
    for (size_t i = 0; i < rows * nx; i++) {
        bool bad = !isfinite(values[i]) ||
                   (kind == FIELD_CONDUCTIVITY && values[i] < 0.0);
        if (bad) {
            return message_fail(
                "%s: dataset %s, row %zu, column %zu: %g is no %s", file,
                dataset, first_row + i / nx, i % nx, values[i],
                kind == FIELD_CONDUCTIVITY ? "conductivity" : "temperature");
        }
    }
    return 0;
}

static int source_read(const struct source *s, const char *file,
                       const char *name, enum field_kind kind, double *values)
{
    const struct solver_grid *grid = &s->grid;
    size_t rows = block_rows(grid);
    double *buffer = malloc(rows * grid->nx * sizeof *buffer);
    if (buffer == NULL) {
        return message_fail("%s: out of memory", file);
    }
    int result = 0;
    for (size_t y = 0; y < grid->ny && result == 0; y += rows) {
        size_t n = min_size(rows, grid->ny - y);
        if (block_transfer(s->dataset, grid, y, n, buffer, false) != 0) {
            result = message_fail("%s: dataset %s: cannot read rows %zu to %zu",
                                  file, name, y, y + n - 1);
            break;
        }
        result = values_check(file, name, kind, y, n, grid->nx, buffer);
        memcpy(values + y * grid->nx, buffer, n * grid->nx * sizeof *buffer);
    }
    free(buffer);
    return result;
}

int field_read(const char *file, const char *dataset, enum field_kind kind,
               const struct solver_grid *grid, double *values)
{
    struct source source;
    if (source_open(&source, file, dataset) != 0) {
        return -1;
    }
    int result = 0;
    if (source.grid.ny != grid->ny || source.grid.nx != grid->nx) {
        result = message_fail(
            "%s: dataset %s has %zu x %zu cells, not %zu x %zu as the other",
            file, dataset, source.grid.ny, source.grid.nx, grid->ny, grid->nx);
    } else {
        result = source_read(&source, file, dataset, kind, values);
    }
    source_close(&source);
    return result;
}

/* ---- writing ------------------------------------------------------------- */

static int attribute_write(hid_t dataset, const struct field_attribute *a)
{
    hid_t type = H5T_NATIVE_DOUBLE;
    const void *value = &a->number;
    if (a->text != NULL) {
        type = H5Tcopy(H5T_C_S1);
        (void)H5Tset_size(type, strlen(a->text) + 1);
        value = a->text;
    } else if (a->whole) {
        type = H5T_NATIVE_INT64;
        value = &a->count;
    }
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute =
        H5Acreate2(dataset, a->name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int result = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
    (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    if (a->text != NULL) {
        (void)H5Tclose(type);
    }
    return result < 0 ? -1 : 0;
}

/* Creates a dataset without times, with its attributes. */
static hid_t dataset_create(hid_t file, const struct solver_grid *grid,
                            const struct field_output *out)
{
    hsize_t side[2] = {grid->ny, grid->nx};
    hid_t space = H5Screate_simple(2, side, NULL);
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_obj_track_times(properties, false);
    hid_t dataset = H5Dcreate2(file, out->dataset, H5T_IEEE_F64LE, space,
                               H5P_DEFAULT, properties, H5P_DEFAULT);
    (void)H5Pclose(properties);
    (void)H5Sclose(space);
    for (size_t i = 0; dataset >= 0 && i < out->attributes_count; i++) {
        if (attribute_write(dataset, &out->attributes[i]) != 0) {
            (void)H5Dclose(dataset);
            return -1;
        }
    }
    return dataset;
}

static int dataset_write(hid_t file, const struct solver_grid *grid,
                         const struct field_output *out, double *buffer)
{
    hid_t dataset = dataset_create(file, grid, out);
    if (dataset < 0) {
        return -1;
    }
    size_t rows = block_rows(grid);
    int result = 0;
    for (size_t y = 0; y < grid->ny && result == 0; y += rows) {
        size_t n = min_size(rows, grid->ny - y);
        memcpy(buffer, out->values + y * grid->nx,
               n * grid->nx * sizeof *buffer);
        result = block_transfer(dataset, grid, y, n, buffer, true);
    }
    if (H5Dclose(dataset) < 0) {
        result = -1;
    }
    return result;
}

static int file_fill(const char *path, const struct solver_grid *grid,
                     const struct field_output *outputs, size_t count)
{
    double *buffer = malloc(block_rows(grid) * grid->nx * sizeof *buffer);
    if (buffer == NULL) {
        return -1;
    }
    int result = -1;
    errno = 0;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (file >= 0) {
        result = 0;
        for (size_t i = 0; i < count && result == 0; i++) {
            result = dataset_write(file, grid, &outputs[i], buffer);
        }
        if (H5Fclose(file) < 0) {
            result = -1;
        }
    }
    free(buffer);
    return result;
}

int field_write(const char *file, const struct solver_grid *grid,
                const struct field_output *outputs, size_t outputs_count)
{
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s.tmp", file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return message_fail("%s: name too long", file);
    }
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (file_fill(path, grid, outputs, outputs_count) != 0 ||
        rename(path, file) != 0) {
        int cause = errno;
        (void)unlink(path);
        errno = cause;
        return message_fail("%s: cannot be written: %s", file,
                            cause != 0 ? message_errno() : "HDF5 failed");
    }
    return 0;
}
