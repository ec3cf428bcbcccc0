/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that epochs of older formats, as the project keeps them in data/,
 * restore. For 2 ranks.
 *
 *   v1 write [large]   writes epochs 0 (full), 1 (full), 2 (differential)
 *   v1 read [large]    restarts, compares, prints the epoch
 *
 * `large`: with an array that a packed full epoch has in chunks.
 */
#include <recto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    ROWS = 24,
    COLUMNS = 32,
    COUNTS = 300,
    VALUES = 20,
    LARGE = 2300
};

static double *grid;
static int32_t *counts;
static double *large; /* NULL without */
static float values[VALUES];
static int64_t step;

static int fail(const char *what)
{
    (void)fprintf(stderr, "FAIL: rank %d: %s: %s\n", recto_rank(), what,
                  recto_last_error());
    return 1;
}

static int declare(bool with_large)
{
    static const uint64_t dims[] = {ROWS, COLUMNS};
    static const uint64_t count = COUNTS;
    static const uint64_t many = LARGE;
    grid = recto_array("model/grid", RECTO_DOUBLE, 2, dims, NULL);
    counts = recto_array("counts", RECTO_INT32, 1, &count,
                         &(recto_attr){.placement = RECTO_AT(1)});
    if (with_large) {
        large = recto_array("model/large", RECTO_DOUBLE, 1, &many, NULL);
    }
    return grid == NULL || counts == NULL || (with_large && large == NULL) ||
           recto_protect("model/values", values, RECTO_FLOAT,
                         VALUES - (uint64_t)recto_rank()) != 0 ||
           recto_protect("step", &step, RECTO_INT64, 1) != 0;
}

/* Rows of the second page of the grid stay as they are after step 1. */
static double grid_value(int i, int j, int64_t s)
{
    return 100.0 * i + j + (i < ROWS / 3 || s < 1 ? 0.25 * (double)s : 0.25);
}

/* Its last page changes, and zeros stay. */
static double large_value(int i, int64_t s)
{
    return i < LARGE / 4 ? 0 : i / 10 + (i > LARGE - 100 ? (double)s : 0);
}

static void set(int64_t s)
{
    recto_barrier();
    for (int i = recto_rank(); i < ROWS; i += recto_size()) {
        for (int j = 0; j < COLUMNS; j++) {
            grid[i * COLUMNS + j] = grid_value(i, j, s);
        }
    }
    if (recto_rank() == 0 && s < 2) {
        for (int i = 0; i < COUNTS; i++) {
            counts[i] = (int32_t)(i * 3 + s);
        }
    }
    for (int i = 0; large != NULL && recto_rank() == 0 && i < LARGE; i++) {
        large[i] = large_value(i, s);
    }
    for (int i = 0; i < VALUES; i++) {
        values[i] = (float)(i * (recto_rank() + 1)) + 0.5F * (float)s;
    }
    step = s;
    recto_barrier();
}

static int compare(int64_t s)
{
    int wrong = step != s;
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            wrong += grid[i * COLUMNS + j] != grid_value(i, j, s);
        }
    }
    for (int i = 0; i < COUNTS; i++) {
        wrong += counts[i] != (int32_t)(i * 3 + (s < 2 ? s : 1));
    }
    for (int i = 0; large != NULL && i < LARGE; i++) {
        wrong += large[i] != large_value(i, s);
    }
    for (int i = 0; i < VALUES - recto_rank(); i++) {
        wrong += values[i] != (float)(i * (recto_rank() + 1)) + 0.5F * (float)s;
    }
    if (wrong > 0) {
        (void)fprintf(stderr, "WRONG: rank %d: %d values after step %lld\n",
                      recto_rank(), wrong, (long long)s);
    }
    return wrong > 0;
}

int main(int argc, char **argv)
{
    bool with_large = argc > 2 && strcmp(argv[2], "large") == 0;
    if (recto_init(&argc, &argv) != 0 || declare(with_large) != 0) {
        return fail("start");
    }
    int wrong = 0;
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        for (int s = 0; s < 3; s++) {
            set(s);
            wrong |= recto_checkpoint() != 0 ? fail("checkpoint") : 0;
        }
    } else {
        int64_t epoch = -1;
        wrong = recto_restart(&epoch) != 1 ? fail("restart") : compare(epoch);
        if (recto_rank() == 0) {
            (void)printf("epoch %lld\n", (long long)epoch);
        }
    }
    recto_barrier();
    return recto_finalize() != 0 ? fail("recto_finalize") : wrong;
}
