/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto doctor`: what of this machine, its MPI and the checkpoint folder Recto can use,
 * what is slow, and what to do about it.
 *
 * Map
 *   doctor.c          command line, findings, their text, JSON and issue
 *   doctor_machine.c  kernel, limits, memory, settings: read here
 *   doctor_folder.c   checkpoint folders
 *   doctor_probe.c    what recto-probe finds, alone and as a job of two ranks; it has MPI,
 *                     HDF5 and hwloc, which this command has not
 *
 * Nothing is changed; every program that is started has an end of its own.
 */
#ifndef RECTO_SRC_CLI_DOCTOR_H
#define RECTO_SRC_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum doctor_grade {
    DOCTOR_GOOD,
    DOCTOR_NOTE,   /* it works, but is slow or has a limit */
    DOCTOR_PROBLEM /* it does not */
};

struct doctor_finding {
    enum doctor_grade grade;
    char *name;
    char *value;
    const char *remedy; /* NULL: nothing to do; of static storage */
};

struct doctor {
    const char *folder; /* of checkpoints; NULL: the environment's */
    const char *mpirun;
    unsigned seconds; /* for each program that is started */
    bool json;
    bool issue;
    struct doctor_finding *findings;
    size_t count;
    size_t room;
};

/* Adds a finding. */
void doctor_add(struct doctor *d, enum doctor_grade grade, const char *name,
                const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The first line of a file without its newline; "" if it cannot be read. */
const char *doctor_line(const char *path, char *text, size_t size);

void doctor_machine(struct doctor *d);
void doctor_folders(struct doctor *d);
void doctor_probes(struct doctor *d);

#endif
