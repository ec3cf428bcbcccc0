/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bodies: input, motion, check and report. See nbody.h; order.c sorts them.
 */
#include "nbody.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds of the check, of which measured errors stay below a third. Those of
 * energy and momentum hold for time steps in which a body moves by less than the
 * softening length; see nbody_right. */
static const double energy_bound = 5e-3;
static const double momentum_bound = 2e-3;
static const double force_bound = 0.03; /* times theta^2 */

static const double pi = 3.14159265358979323846;

/* ---- the command line ---------------------------------------------------- */

enum {
    OPTIONS = 11
};

static struct program_usage usage(struct nbody_options *o,
                                  struct program_option options[OPTIONS],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Moves N bodies by their gravity (Barnes-Hut) and checks energy, "
        "momentum\nand forces. They begin as a Plummer sphere.\n";
    const struct program_option all[OPTIONS] = {
        {"n",                   PROGRAM_COUNT, &o->n, 1, NBODY_MAX, "bodies (16384)"},
        {"steps",                PROGRAM_COUNT, &o->steps, 1, 1 << 30, "steps of time (10)"},
        {"dt",            PROGRAM_NUMBER, &o->dt, 0, 0,
         "length of a step, at most 1 (0.01)"},
        {"theta",                     PROGRAM_NUMBER, &o->theta, 0, 0,
         "opening angle, at most 1 (0.8)"},
        {"seed",PROGRAM_COUNT, &o->seed, 0, INT32_MAX,
         "of the random input (1)"},
        {"collide",                    PROGRAM_FLAG, &o->collide, 0, 0,
         "two clusters, which collide"},
        {"check", PROGRAM_COUNT, &o->check, 1, NBODY_CHECK_MAX,
         "bodies whose forces are summed directly (100)"},
        {"json",                  PROGRAM_FLAG, &o->json, 0, 0, "end with a line of JSON"},
        {"spoil",               PROGRAM_FLAG, &o->spoil, 0, 0,
         "change a body, to see the check fail"},
        {"threads",                    PROGRAM_COUNT, &o->threads, 1, 4096,
         "threads (as OpenMP chooses)"},
        {.help = NULL                    },
    };
    memcpy(options, all, sizeof all);
    if (strstr(name, "omp") == NULL) {
        options[OPTIONS - 2] = options[OPTIONS - 1];
    }
    return (struct program_usage){
        .name = name, .launch = launch, .about = about, .options = options};
}

enum program_action nbody_options_read(struct nbody_options *o,
                                       const char *name, const char *launch,
                                       int argc, char **argv, char *wrong)
{
    struct program_option options[OPTIONS];
    *o = (struct nbody_options){.n = 16384,
                                .steps = 10,
                                .dt = 0.01,
                                .theta = 0.8,
                                .seed = 1,
                                .check = 100};
    const struct program_usage u = usage(o, options, name, launch);
    enum program_action action = program_read(&u, argc, argv, wrong);
    if (action == PROGRAM_RUN && (o->theta > 1.0 || o->dt > 1.0)) {
        (void)snprintf(wrong, PROGRAM_LINE, "--%s %g: give a number up to 1",
                       o->theta > 1.0 ? "theta" : "dt",
                       o->theta > 1.0 ? o->theta : o->dt);
        return PROGRAM_WRONG;
    }
    return action;
}

void nbody_options_help(const char *name, const char *launch)
{
    struct nbody_options o;
    struct program_option options[OPTIONS];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

/* ---- the input ----------------------------------------------------------- */

/* Scatters the bits of a number: the finaliser of SplitMix64 (G. L. Steele, D.
 * Lea and C. H. Flood, OOPSLA'14). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The random numbers of a body: they depend on the seed and its id only. */
struct dice {
    uint64_t state;
};

/* From 0 to 1, without either. */
static double throw_dice(struct dice *d)
{
    d->state = mix(d->state);
    return ((double)(d->state >> 12) + 0.5) * 0x1p-52;
}

/* A vector of that length in a random direction. */
static void direction(struct dice *d, double length, double v[3])
{
    double z = 2.0 * throw_dice(d) - 1.0;
    double angle = 2.0 * pi * throw_dice(d);
    double r = sqrt(1.0 - z * z);
    v[0] = length * r * cos(angle);
    v[1] = length * r * sin(angle);
    v[2] = length * z;
}

/* Plummer's model, as S. J. Aarseth, M. Henon and R. Wielen make it (Astron.
 * Astrophys. 37, 1974), for total mass 1 and energy -1/4. The outermost
 * thousandth is left out. */
static void plummer(struct dice *d, double x[3], double v[3])
{
    const double scale = 3.0 * pi / 16.0;
    double u = 0.999 * throw_dice(d);
    double r = 1.0 / sqrt(pow(u, -2.0 / 3.0) - 1.0);
    direction(d, r * scale, x);
    double q = 0.0;
    double g = 0.0;
    do { /* q from the density q^2 (1 - q^2)^(7/2), which is below 0.1 */
        q = throw_dice(d);
        g = 0.1 * throw_dice(d);
    } while (g > q * q * pow(1.0 - q * q, 3.5));
    double escape = sqrt(2.0) * pow(1.0 + r * r, -0.25);
    direction(d, q * escape / sqrt(scale), v);
}

/* Of two clusters, half the mass each, on a parabolic orbit; else of one. */
static void make_body(const struct nbody_options *o, uint32_t id,
                      struct nbody_body *b)
{
    struct dice d = {mix((uint64_t)o->seed << 32 | id)};
    *b = (struct nbody_body){.id = id, .cost = 1};
    plummer(&d, b->at.x, b->v);
    b->at.mass = 1.0 / (double)o->n;
    if (o->collide) {
        const double apart[3] = {4.0, 1.0, 0.0};
        double sign = id % 2 == 0 ? 0.5 : -0.5;
        double approach = sqrt(2.0 / sqrt(17.0));
        for (int k = 0; k < 3; k++) {
            b->at.x[k] += sign * apart[k];
            b->v[k] *= sqrt(0.5);
        }
        b->v[0] -= sign * approach;
    }
}

void nbody_fill(struct nbody_run *run)
{
    uint64_t n = (uint64_t)run->options->n;
    uint64_t first = n * (uint64_t)run->me / (uint64_t)run->workers;
    uint64_t last = n * (uint64_t)(run->me + 1) / (uint64_t)run->workers;
    run->count = last - first;
    for (uint64_t i = first; i < last; i++) {
        make_body(run->options, (uint32_t)i, &run->bodies[i - first]);
    }
}

/* About the best for a Plummer model of n bodies: D. Merritt, Astron. J. 111
 * (1996). */
double nbody_softening(const struct nbody_options *o)
{
    return pow((double)o->n, -0.26);
}

/* ---- motion -------------------------------------------------------------- */

void nbody_kick(struct nbody_run *run, double kick)
{
    double t = kick * run->options->dt;
    for (size_t i = 0; i < run->count; i++) {
        for (int k = 0; k < 3; k++) {
            run->bodies[i].v[k] += t * run->forces[i].a[k];
        }
    }
}

void nbody_drift(struct nbody_run *run, double drift)
{
    double t = drift * run->options->dt;
    for (size_t i = 0; i < run->count; i++) {
        struct nbody_body *b = &run->bodies[i];
        for (int k = 0; k < 3; k++) {
            b->at.x[k] += t * b->v[k];
        }
    }
}

/* ---- the check ----------------------------------------------------------- */

static uint64_t bits(double x)
{
    uint64_t b = 0;
    memcpy(&b, &x, sizeof b);
    return b;
}

static uint64_t body_hash(const struct nbody_body *b)
{
    uint64_t h = mix(b->id);
    for (int k = 0; k < 3; k++) {
        h = mix(h ^ bits(b->at.x[k]));
        h = mix(h ^ bits(b->v[k]));
    }
    return h;
}

struct nbody_sums nbody_sums_of(const struct nbody_run *run,
                                uint64_t interactions, uint64_t missing)
{
    struct nbody_sums s = {.interactions = interactions, .missing = missing};
    for (size_t i = 0; i < run->count; i++) {
        const struct nbody_body *b = &run->bodies[i];
        double m = b->at.mass;
        for (int k = 0; k < 3; k++) {
            s.kinetic += 0.5 * m * b->v[k] * b->v[k];
            s.momentum[k] += m * b->v[k];
        }
        s.potential += 0.5 * m * run->forces[i].phi;
        s.checksum += body_hash(b);
    }
    return s;
}

void nbody_sums_add(struct nbody_sums *all, const struct nbody_sums *more)
{
    all->kinetic += more->kinetic;
    all->potential += more->potential;
    for (int k = 0; k < 3; k++) {
        all->momentum[k] += more->momentum[k];
    }
    all->checksum += more->checksum;
    all->interactions += more->interactions;
    all->missing += more->missing;
}

size_t nbody_probes(const struct nbody_options *o)
{
    return (size_t)(o->check < o->n ? o->check : o->n);
}

/* Probe j is body j n / probes: the body's probe, or none. */
static struct nbody_probe *probe_of(const struct nbody_run *run, uint32_t id,
                                    struct nbody_probe *probes)
{
    uint64_t n = (uint64_t)run->options->n;
    uint64_t count = nbody_probes(run->options);
    uint64_t j = (id * count + n - 1) / n;
    return j < count && j * n / count == id ? &probes[j] : NULL;
}

void nbody_probes_fill(const struct nbody_run *run, struct nbody_probe *probes)
{
    for (size_t i = 0; i < run->count; i++) {
        struct nbody_probe *p = probe_of(run, run->bodies[i].id, probes);
        if (p != NULL) {
            p->at = run->bodies[i].at;
            memcpy(p->tree, run->forces[i].a, sizeof p->tree);
        }
    }
}

void nbody_probes_sum(const struct nbody_run *run, struct nbody_probe *probes)
{
    for (size_t j = 0; j < nbody_probes(run->options); j++) {
        struct nbody_probe *p = &probes[j];
        double a[3] = {0.0};
        for (size_t i = 0; i < run->count; i++) {
            double d[3];
            double r2 = run->softening2;
            for (int k = 0; k < 3; k++) {
                d[k] = run->points[i].x[k] - p->at.x[k];
                r2 += d[k] * d[k];
            }
            double s = run->points[i].mass / (r2 * sqrt(r2));
            for (int k = 0; k < 3; k++) {
                a[k] += s * d[k];
            }
        }
        memcpy(p->direct, a, sizeof a);
    }
}

void nbody_probes_add(const struct nbody_options *o, struct nbody_probe *all,
                      const struct nbody_probe *part)
{
    for (size_t j = 0; j < nbody_probes(o); j++) {
        all[j].at = part[j].at;
        memcpy(all[j].tree, part[j].tree, sizeof all[j].tree);
        for (int k = 0; k < 3; k++) {
            all[j].direct[k] += part[j].direct[k];
        }
    }
}

/* Of the run that has body 0, which is also probe 0. */
void nbody_spoil(struct nbody_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->bodies[i].id == 0) {
            for (int k = 0; k < 3; k++) {
                run->bodies[i].v[k] += (double)run->options->n;
                run->forces[i].a[k] = 100.0 * run->forces[i].a[k] + 100.0;
            }
        }
    }
}

/* Errors, as fractions: of energy of the sum of kinetic and potential energy
 * without signs; of momentum of what it would be if all bodies went one way; of
 * force of the mean, both root mean squares. */
struct errors {
    double energy;
    double momentum;
    double force;
};

/* 0 / 0 is 0: a single body has neither potential nor force. */
static double fraction(double error, double whole)
{
    return error == 0.0 ? 0.0 : error / whole;
}

static struct errors errors_of(const struct nbody_options *o,
                               const struct nbody_answer *a)
{
    const struct nbody_sums *b = &a->before;
    const struct nbody_sums *e = &a->after;
    double wrong2 = 0.0;
    double force2 = 0.0;
    double drift2 = 0.0;
    for (int k = 0; k < 3; k++) {
        double drift = e->momentum[k] - b->momentum[k];
        drift2 += drift * drift;
    }
    for (size_t j = 0; j < nbody_probes(o); j++) {
        const struct nbody_probe *p = &a->probes[j];
        for (int k = 0; k < 3; k++) {
            double d = p->tree[k] - p->direct[k];
            wrong2 += d * d;
            force2 += p->direct[k] * p->direct[k];
        }
    }
    return (struct errors){.energy = fraction(fabs(e->kinetic + e->potential -
                                                   b->kinetic - b->potential),
                                              b->kinetic - b->potential),
                           .momentum =
                               fraction(sqrt(drift2), sqrt(2.0 * b->kinetic)),
                           .force = fraction(sqrt(wrong2), sqrt(force2))};
}

static double force_limit(const struct nbody_options *o)
{
    return force_bound * o->theta * o->theta;
}

bool nbody_right(const struct nbody_options *o, const struct nbody_answer *a)
{
    struct errors e = errors_of(o, a);
    return a->after.missing == 0 && e.energy <= energy_bound &&
           e.momentum <= momentum_bound &&
           e.force <= force_limit(o); /* false for NaN */
}

/* ---- the report ---------------------------------------------------------- */

void nbody_say(const struct program_report *report,
               const struct nbody_options *o)
{
    (void)printf("nbody: %" PRId64 " bodies%s, %" PRId64
                 " steps of %g, opening angle %g, %s, %d workers\n",
                 o->n, o->collide ? " in two clusters" : "", o->steps, o->dt,
                 o->theta, report->version, report->ranks);
    (void)fflush(stdout);
}

static void say_error(const char *what, double error, double bound)
{
    (void)printf("error of %s %.2e, bound %.2e%s\n", what, error, bound,
                 error <= bound ? "" : ": too large");
}

int nbody_end(const struct program_report *report,
              const struct nbody_options *o, const struct nbody_answer *a)
{
    struct errors e = errors_of(o, a);
    for (int i = 0; i < report->phases; i++) {
        if (strcmp(report->phase[i].name, "steps") == 0) {
            (void)printf("speed %.1f million interactions/s\n",
                         (double)a->after.interactions /
                             report->phase[i].seconds / 1e6);
        }
    }
    say_error("energy", e.energy, energy_bound);
    say_error("momentum", e.momentum, momentum_bound);
    say_error("force", e.force, force_limit(o));
    if (a->after.missing > 0) {
        (void)printf("%" PRIu64 " cells were missing\n", a->after.missing);
    }
    (void)printf("interactions %" PRIu64 "\nchecksum %016" PRIx64 "\n",
                 a->after.interactions, a->after.checksum);
    return program_end(report, "steps", nbody_right(o, a));
}
