/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * versions: command line and report of heat2d-mpi and heat2d-omp. They compute
 * what heat2d computes, by the same solver from the same input, without its
 * checkpoints, pictures and demonstrations.
 */
#ifndef HEAT2D_VERSIONS_H
#define HEAT2D_VERSIONS_H

#include <program.h>

#include "check.h"

struct versions_options {
    const char *input;
    const char *field;
    const char *conductivity;
    const char *output; /* NULL: none */
    int64_t steps;
    int64_t threads;
    double dt; /* 0: the program chooses */
    bool fixed;
    bool check;
    bool json;
};

enum program_action versions_options_read(struct versions_options *o,
                                          const char *name, const char *launch,
                                          int argc, char **argv, char *wrong);
void versions_options_help(const char *name, const char *launch);

/* Reads the input: the run's shape and time step, and both fields, ny x nx,
 * which the caller frees. 0, or -1 after a line on stderr. */
int versions_read(const struct versions_options *o, struct check_run *run,
                  double **temperature, double **conductivity);

/* Writes the output and checks the result, as asked for; prints the report.
 * Returns the exit code. */
int versions_end(const struct versions_options *o, const struct check_run *run,
                 struct program_report *report, double seconds,
                 const double *result);

#endif
