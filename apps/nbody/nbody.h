/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbody: the motion of N bodies under their own gravity, in three dimensions, by
 * the method of J. Barnes and P. Hut (Nature 324, 1986); the part of it that the
 * versions for Recto, MPI and OpenMP share. This header: the bodies. tree.h: the
 * tree and the forces.
 *
 * Every worker (rank or thread) owns a *run* of the bodies in Morton order, that
 * is, a compact region. One step of time:
 *
 *   1. each worker moves its bodies and says which box they lie in; the boxes
 *      of all give the root cube, that the bodies' keys
 *   2. each worker sorts its bodies by key, *stages* them, and shows a sample:
 *      some keys, and how much work the bodies between them were last time
 *   3. from all samples each computes the same *splits*: the keys at which the
 *      runs of this step begin, with equal work for each worker
 *   4. each gathers from all staged runs the bodies that it owns now
 *   5. each makes the tree of its run; the few cells that several runs share are
 *      linked together under locks
 *   6. each computes the forces on its bodies, which takes other workers' parts
 *      of the tree, and changes their velocities (leapfrog)
 *
 * How workers come by what others have is the one thing in which the versions
 * differ. Where runs begin changes no result: the tree, the order of its sums
 * and the interactions of a body follow from all bodies alone, so every version
 * and every number of workers ends with the same bits.
 *
 * Units: G = 1, the total mass is 1.
 *
 * The answer is checked: energy and momentum change by no more than the bounds
 * below, and the forces on some bodies are those of the sum over all others but
 * for the error that the opening angle allows.
 */
#ifndef NBODY_H
#define NBODY_H

#include <program.h>

enum {
    NBODY_LEVELS = 21, /* of the tree; a key has three bits for each */
    NBODY_SAMPLES = 128,
    NBODY_MAX = 1 << 27,
    NBODY_CHECK_MAX = 4096
};

/* Above all keys. */
#define NBODY_KEY_END (UINT64_C(1) << (3 * NBODY_LEVELS))

struct nbody_options {
    int64_t n;
    int64_t steps;
    int64_t seed;
    int64_t check;   /* bodies whose forces are compared with the direct sum */
    int64_t threads; /* the OpenMP version's */
    double theta;    /* opening angle */
    double dt;
    bool collide; /* two clusters */
    bool json;
    bool spoil; /* for tests: change a body and its force before the check */
};

/* Reads the command line of the program `name`. */
enum program_action nbody_options_read(struct nbody_options *o,
                                       const char *name, const char *launch,
                                       int argc, char **argv, char *wrong);
void nbody_options_help(const char *name, const char *launch);

/* What acts as one mass: a body, or a cell seen from afar. */
struct nbody_point {
    double x[3];
    double mass;
};

struct nbody_body {
    struct nbody_point at;
    double v[3];
    uint64_t key;
    uint32_t id;   /* its number in the input */
    uint32_t cost; /* interactions of the last force */
};

/* Of a body, and its potential, per unit of mass. */
struct nbody_force {
    double a[3];
    double phi;
};

/* ---- what workers tell each other ---------------------------------------- */

struct nbody_bounds {
    double low[3];
    double high[3];
};

/* A stretch of a staged run: from the first body with at least this key on. */
struct nbody_stretch {
    uint64_t key;
    uint64_t cost;
    uint64_t count;
    uint64_t inner; /* not the run's first: the next run may begin here */
};

struct nbody_sample {
    uint64_t stretches;
    struct nbody_stretch stretch[NBODY_SAMPLES];
};

struct nbody_sums {
    double kinetic;
    double potential;
    double momentum[3];
    uint64_t checksum; /* of the bodies, modulo 2^64 */
    uint64_t interactions;
    uint64_t missing; /* cells that were needed and not there */
};

/* A body whose force is checked. */
struct nbody_probe {
    struct nbody_point at;
    double tree[3];   /* acceleration by the tree */
    double direct[3]; /* and by the bodies of one worker, or of all */
};

/* ---- a worker -------------------------------------------------------------- */

/* The cube of all bodies. */
struct nbody_cube {
    double low[3];
    double side;
};

/* The bodies of a worker. What others read is in memory that the version
 * provides, `capacity` bodies each. */
struct nbody_run {
    const struct nbody_options *options;
    double softening2; /* the square of the softening length */
    int me;
    int workers;
    size_t capacity;
    size_t count;
    struct nbody_cube cube;
    struct nbody_body *bodies; /* the run, in the order of (key, id) */
    struct nbody_body *staged;
    struct nbody_point *points; /* of the bodies */
    /* private */
    struct nbody_force *forces; /* of the bodies */
    struct nbody_pair {
        uint64_t key;
        uint64_t index;
    } * pairs, *scratch;
    uint64_t *keys;               /* of the bodies */
    uint64_t *splits;             /* workers + 1 */
    struct nbody_stretch *merged; /* all samples */
};

double nbody_softening(const struct nbody_options *o);

/* Bodies that a worker has room for: no split gives it more, unless many lie in
 * one place. */
size_t nbody_capacity(const struct nbody_options *o, int workers);

/* Allocates what is private; the rest is the caller's. -1: out of memory. */
int nbody_run_init(struct nbody_run *run, const struct nbody_options *o, int me,
                   int workers);
void nbody_run_free(struct nbody_run *run);

/* Makes the bodies of the input that `run` begins with. */
void nbody_fill(struct nbody_run *run);

/* Motion. `kick` and `drift` are parts of a step: v += a kick, x += v drift. */
void nbody_kick(struct nbody_run *run, double kick);
void nbody_drift(struct nbody_run *run, double drift);

/* Step 1. */
struct nbody_bounds nbody_bounds_of(const struct nbody_run *run);
void nbody_bounds_add(struct nbody_bounds *all,
                      const struct nbody_bounds *more);
struct nbody_cube nbody_cube_of(const struct nbody_bounds *bounds);

/* Step 2; the run's cube is set. */
void nbody_stage(struct nbody_run *run, struct nbody_sample *sample);

/* Step 3, from the samples of all workers, which lie `stride` bytes apart: sets
 * run->splits, and starts[workers + 1] to where the staged bodies of each worker
 * begin in this run. */
void nbody_split(struct nbody_run *run, const struct nbody_sample *samples,
                 size_t stride, uint32_t *starts);

/* Step 4: merges staged runs, pieces[workers], into the run. */
struct nbody_piece {
    const struct nbody_body *bodies;
    size_t count;
};
void nbody_gather(struct nbody_run *run, struct nbody_piece *pieces);

/* ---- the check ----------------------------------------------------------- */

struct nbody_sums nbody_sums_of(const struct nbody_run *run,
                                uint64_t interactions, uint64_t missing);
void nbody_sums_add(struct nbody_sums *all, const struct nbody_sums *more);

size_t nbody_probes(const struct nbody_options *o);
/* Fills in those probes whose bodies the run has; others stay as they are. */
void nbody_probes_fill(const struct nbody_run *run, struct nbody_probe *probes);
/* What the run's bodies do to all probes; sets `direct`. */
void nbody_probes_sum(const struct nbody_run *run, struct nbody_probe *probes);

/* Adds the `direct` of one worker. */
void nbody_probes_add(const struct nbody_options *o, struct nbody_probe *all,
                      const struct nbody_probe *part);

void nbody_spoil(struct nbody_run *run);

/* ---- the report ---------------------------------------------------------- */

void nbody_say(const struct program_report *report,
               const struct nbody_options *o);

/* All that a run of the program is judged by. */
struct nbody_answer {
    struct nbody_sums before;
    struct nbody_sums after;
    const struct nbody_probe *probes; /* `direct` by all bodies */
};

bool nbody_right(const struct nbody_options *o, const struct nbody_answer *a);

/* Prints speed, errors, checksum and verdict; returns the exit code. */
int nbody_end(const struct program_report *report,
              const struct nbody_options *o, const struct nbody_answer *a);

#endif
