/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heat2d-omp: heat2d in one process, its rows dealt to the threads of an OpenMP
 * team.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "versions.h"

static const char name[] = "heat2d-omp";
static const char launch[] = "heat2d-omp";

/* Shared by all threads. */
struct heat {
    struct check_run run;
    double *temperature[2];
    double *conductivity;
    int failed; /* threads without memory */
    double seconds;
};

static void advance(struct heat *h, const struct solver_slab *slab)
{
    double started = program_now();
    for (int64_t step = 0; step < h->run.steps; step++) {
        solver_slab_step(slab, h->temperature[step % 2],
                         h->temperature[(step + 1) % 2]);
#pragma omp barrier
    }
#pragma omp master
    h->seconds = program_now() - started;
}

static void team(struct heat *h)
{
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads();
        size_t thread = (size_t)omp_get_thread_num();
        size_t ny = h->run.grid.ny;
        const struct solver_rows rows = {ny * thread / threads,
                                         ny * (thread + 1) / threads, 0};
        struct solver_slab slab;
        if (solver_slab_init(&slab, &h->run.grid, rows, h->run.fixed, h->run.dt,
                             h->conductivity) != 0) {
#pragma omp atomic
            h->failed++;
        }
#pragma omp barrier
        if (h->failed == 0) { /* the same for all threads */
            advance(h, &slab);
        }
        solver_slab_free(&slab);
    }
}

/* Returns the exit code. */
static int run(const struct versions_options *o, struct heat *h)
{
    struct program_report report = {"heat2d", "omp", omp_get_max_threads(),
                                    o->json,  0,     {{0}}};
    if (versions_read(o, &h->run, &h->temperature[0], &h->conductivity) != 0) {
        return PROGRAM_FAILED;
    }
    const struct solver_grid *grid = &h->run.grid;
    h->temperature[1] = malloc(grid->ny * grid->nx * sizeof(double));
    if (h->temperature[1] != NULL) {
        (void)printf("%s: %zu x %zu cells, %d threads\n", name, grid->ny,
                     grid->nx, report.ranks);
        team(h);
    } else {
        h->failed = 1;
    }
    if (h->failed != 0) {
        (void)program_fail(name, "out of memory");
        return PROGRAM_FAILED;
    }
    return versions_end(o, &h->run, &report, h->seconds,
                        h->temperature[h->run.steps % 2]);
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
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    omp_set_dynamic(0);
    if (o.threads > 0) {
        omp_set_num_threads((int)o.threads);
    }
    struct heat h = {.failed = 0};
    int code = run(&o, &h);
    free(h.temperature[0]);
    free(h.temperature[1]);
    free(h.conductivity);
    return code;
}
