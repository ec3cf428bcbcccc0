/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checks. See check.h.
 */
#include "check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "message.h"

int check_dt(double asked, double max_conductivity, double *dt)
{
    double limit = solver_dt_limit(max_conductivity);
    if (asked > limit) {
        return message_fail("--dt %g is unstable: with a conductivity of %g "
                            "it may be %g at most",
                            asked, max_conductivity, limit);
    }
    *dt = asked;
    if (asked == 0.0) {
        *dt = isfinite(limit) ? 0.8 * limit : 1.0;
    }
    return 0;
}

/* temperature[0] and [1], of even and odd steps. */
static int solve(const struct check_run *run, double *temperature[2],
                 double *conductivity)
{
    struct solver_slab whole;
    const struct solver_rows rows = {0, run->grid.ny, 0};
    if (field_read(run->file, run->field, FIELD_TEMPERATURE, &run->grid,
                   temperature[0]) != 0 ||
        field_read(run->file, run->conductivity, FIELD_CONDUCTIVITY, &run->grid,
                   conductivity) != 0) {
        return -1;
    }
    if (solver_slab_init(&whole, &run->grid, rows, run->fixed, run->dt,
                         conductivity) != 0) {
        return message_fail("check: out of memory");
    }
    for (int64_t step = 0; step < run->steps; step++) {
        solver_slab_step(&whole, temperature[step % 2],
                         temperature[(step + 1) % 2]);
    }
    solver_slab_free(&whole);
    return 0;
}

static size_t compare(const struct solver_grid *grid, const double *values,
                      const double *expected)
{
    size_t different = 0;
    for (size_t i = 0; i < grid->ny * grid->nx; i++) {
        /* bits: 0.0 and -0.0 differ, too
         * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
        if (memcmp(&values[i], &expected[i], sizeof *values) == 0) {
            continue;
        }
        if (different++ == 0) {
            (void)message_fail("check: row %zu, column %zu is %.17g, the "
                               "serial solution %.17g",
                               i / grid->nx, i % grid->nx, values[i],
                               expected[i]);
        }
    }
    return different;
}

int check_serially(const struct check_run *run, const double *result,
                   size_t *different)
{
    size_t cells = run->grid.ny * run->grid.nx;
    double *memory = calloc(cells, 3 * sizeof *memory);
    if (memory == NULL) {
        return message_fail("check: out of memory");
    }
    double *temperature[2] = {memory, memory + cells};
    int code = solve(run, temperature, memory + 2 * cells);
    if (code == 0) {
        *different = compare(&run->grid, result, temperature[run->steps % 2]);
    }
    free(memory);
    return code;
}

void check_print_sum(const struct solver_grid *grid, const double *values)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a, by words */
    for (size_t i = 0; i < grid->ny * grid->nx; i++) {
        uint64_t bits = 0;
        memcpy(&bits, &values[i], sizeof bits);
        sum = (sum ^ bits) * UINT64_C(0x100000001b3);
        sum ^= sum >> 32;
    }
    (void)printf("checksum %016" PRIx64 "\n", sum);
}
