/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What heat2d-mpi and heat2d-omp share beside the solver. See versions.h.
 */
#include "versions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "message.h"

enum {
    OPTIONS = 11
};

static struct program_usage usage(struct versions_options *o,
                                  struct program_option options[OPTIONS],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Explicit heat diffusion on a 2-D grid with a conductivity per cell.\n"
        "heat2d-input makes an input.\n";
    const struct program_option all[] = {
        {"input",        PROGRAM_TEXT,   &o->input,        0, 0,
         "HDF5 file with both datasets"                                                           },
        {"field",        PROGRAM_TEXT,   &o->field,        0, 0,
         "dataset: temperature at step 0 (temperature)"                                           },
        {"conductivity", PROGRAM_TEXT,   &o->conductivity, 0, 0,
         "dataset: conductivity, not negative (conductivity)"                                     },
        {"steps",        PROGRAM_COUNT,  &o->steps,        0, INT64_MAX, "time steps (1000)"      },
        {"dt",           PROGRAM_NUMBER, &o->dt,           0, 0,
         "time step (0.2 / the largest conductivity)"                                             },
        {"fixed",        PROGRAM_FLAG,   &o->fixed,        0, 0,
         "edge cells keep their temperature"                                                      },
        {"output",       PROGRAM_TEXT,   &o->output,       0, 0,
         "write the temperature to this HDF5 file"                                                },
        {"check",        PROGRAM_FLAG,   &o->check,        0, 0,
         "compare with a serial solution, bit for bit"                                            },
        {"json",         PROGRAM_FLAG,   &o->json,         0, 0,         "end with a line of JSON"},
        {"threads",      PROGRAM_COUNT,  &o->threads,      1, 4096,
         "threads (as OpenMP chooses)"                                                            },
    };
    size_t count = sizeof all / sizeof all[0];
    if (strstr(name, "omp") == NULL) {
        count--; /* threads */
    }
    memcpy(options, all, count * sizeof all[0]);
    options[count] = (struct program_option){.help = NULL};
    return (struct program_usage){
        .name = name, .launch = launch, .about = about, .options = options};
}

enum program_action versions_options_read(struct versions_options *o,
                                          const char *name, const char *launch,
                                          int argc, char **argv, char *wrong)
{
    struct program_option options[OPTIONS];
    *o = (struct versions_options){
        .field = "temperature", .conductivity = "conductivity", .steps = 1000};
    const struct program_usage u = usage(o, options, name, launch);
    enum program_action action = program_read(&u, argc, argv, wrong);
    if (action == PROGRAM_RUN && o->input == NULL) {
        (void)snprintf(wrong, PROGRAM_LINE, "--input FILE is missing");
        action = PROGRAM_WRONG;
    }
    return action;
}

void versions_options_help(const char *name, const char *launch)
{
    struct versions_options o;
    struct program_option options[OPTIONS];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

int versions_read(const struct versions_options *o, struct check_run *run,
                  double **temperature, double **conductivity)
{
    *run = (struct check_run){.file = o->input,
                              .field = o->field,
                              .conductivity = o->conductivity,
                              .fixed = o->fixed,
                              .steps = o->steps};
    *temperature = NULL;
    *conductivity = NULL;
    if (field_shape(o->input, o->field, &run->grid) != 0) {
        return -1;
    }
    size_t cells = run->grid.ny * run->grid.nx;
    *temperature = malloc(cells * sizeof **temperature);
    *conductivity = malloc(cells * sizeof **conductivity);
    if (*temperature == NULL || *conductivity == NULL) {
        return message_fail("%s: out of memory", o->input);
    }
    if (field_read(o->input, o->field, FIELD_TEMPERATURE, &run->grid,
                   *temperature) != 0 ||
        field_read(o->input, o->conductivity, FIELD_CONDUCTIVITY, &run->grid,
                   *conductivity) != 0) {
        return -1;
    }
    return check_dt(o->dt, solver_max(&run->grid, *conductivity), &run->dt);
}

static int write_output(const struct versions_options *o,
                        const struct check_run *run, const double *result)
{
    const struct field_output temperature = {.dataset = "temperature",
                                             .values = result};
    return field_write(o->output, &run->grid, &temperature, 1);
}

int versions_end(const struct versions_options *o, const struct check_run *run,
                 struct program_report *report, double seconds,
                 const double *result)
{
    size_t different = 0;
    program_phase(report, "step", seconds);
    check_print_sum(&run->grid, result);
    if (o->output != NULL && write_output(o, run, result) != 0) {
        return PROGRAM_FAILED;
    }
    if (!o->check) {
        return PROGRAM_OK;
    }
    if (check_serially(run, result, &different) != 0) {
        return PROGRAM_FAILED;
    }
    return program_end(report, "step", different == 0);
}
