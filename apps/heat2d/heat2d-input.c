/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heat2d-input: writes an input for heat2d, a cooling magma intrusion.
 *
 * A vertical section through folded layers of rock, broken by a fault and by
 * open fractures; a chamber, a dyke and two sills of magma have just been
 * filled. Conductivities are those of the rocks in W/(m K), temperatures are
 * in degrees Celsius. Smooth noise of a seeded hash keeps it from looking
 * drawn. Only + - * / and sqrt are used, so the same options give the same
 * bytes on every machine.
 *
 * Coordinates: v runs from 0 at the surface to 1 at the bottom, u to the right
 * at the same scale.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "field.h"
#include "message.h"

enum {
    SIDE_MIN = 16,
    SIDE_MAX = 1 << 20,
    FRACTURES = 16
};

static const char help[] =
    "Usage: heat2d-input [OPTION]... FILE\n"
    "Writes an HDF5 file with the datasets temperature and conductivity: a\n"
    "magma intrusion into layered rock. The same options, the same bytes.\n"
    "\n"
    "      --nx N     cells from left to right (224)\n"
    "      --ny N     cells from the surface down (144)\n"
    "      --seed N   of the noise and the fractures (1)\n"
    "  -h, --help     this text\n"
    "      --version  Recto's version\n"
    "\n"
    "Exit codes: 0 done; 1 the file cannot be written; 2 wrong option.\n";

/* ---- noise --------------------------------------------------------------- */

/* A number in [0, 1) that depends on the arguments only. The mixer is that of
 * SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
 * Generators", OOPSLA 2014. */
static double hash(uint64_t seed, uint64_t stream, int64_t i, int64_t j)
{
    const uint64_t words[] = {seed, stream, (uint64_t)i, (uint64_t)j};
    uint64_t z = 0;
    for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
        z += words[k] + UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
    }
    return (double)(z >> 11) * 0x1p-53;
}

static double clamp01(double t)
{
    t = t < 0.0 ? 0.0 : t;
    return t > 1.0 ? 1.0 : t;
}

/* 0 below 0, 1 above 1, smooth between. */
static double smooth(double t)
{
    t = clamp01(t);
    return t * t * (3.0 - 2.0 * t);
}

/* Smooth noise in [-1, 1] that changes over a length of 1. */
static double noise(uint64_t seed, uint64_t stream, double u, double v)
{
    /* u, v >= 0 here, so the conversion rounds down */
    int64_t i = (int64_t)u;
    int64_t j = (int64_t)v;
    double a = smooth(u - (double)i);
    double b = smooth(v - (double)j);
    double top =
        (1.0 - a) * hash(seed, stream, i, j) + a * hash(seed, stream, i + 1, j);
    double bottom = (1.0 - a) * hash(seed, stream, i, j + 1) +
                    a * hash(seed, stream, i + 1, j + 1);
    return 2.0 * ((1.0 - b) * top + b * bottom) - 1.0;
}

/* ---- the section --------------------------------------------------------- */

struct section {
    uint64_t seed;
    double width; /* in units of the depth */
    double cell;  /* side of a cell */
};

struct point {
    double u, v;
};

/* How deep the rock at p was before folding and faulting. */
static double depth_when_laid(const struct section *s, struct point p)
{
    double fold = 0.075 * noise(s->seed, 1, 1.7 * p.u, 0.0) +
                  0.022 * noise(s->seed, 2, 6.0 * p.u, 3.0 * p.v) + 0.05 * p.u;
    /* the fault dips to the right; its right side has slipped down */
    bool beyond = p.u > 0.60 * s->width + 0.28 * p.v;
    return p.v + fold - (beyond ? 0.085 : 0.0);
}

static const struct {
    double bottom;
    double conductivity;
} layers[] = {
    {0.14, 1.1}, /* gravel and clay */
    {0.24, 3.4}, /* sandstone */
    {0.33, 1.3}, /* shale */
    {0.41, 2.7}, /* limestone */
    {0.50, 0.9}, /* coal-bearing shale */
    {0.57, 5.2}, /* rock salt */
    {0.66, 1.5}, /* marl */
    {0.80, 3.6}, /* quartzite */
    {9.99, 2.6}, /* gneiss */
};

/* Distance from p to the segment from a to b. */
static double distance(struct point p, struct point a, struct point b)
{
    double du = b.u - a.u;
    double dv = b.v - a.v;
    double length2 = du * du + dv * dv;
    double along = ((p.u - a.u) * du + (p.v - a.v) * dv) / length2;
    along = clamp01(along);
    double eu = p.u - (a.u + along * du);
    double ev = p.v - (a.v + along * dv);
    return sqrt(eu * eu + ev * ev);
}

/* Is p in an open fracture, a thin crack that hardly conducts? */
static bool fractured(const struct section *s, struct point p)
{
    for (int64_t f = 0; f < FRACTURES; f++) {
        struct point middle = {s->width * hash(s->seed, 10, f, 0),
                               0.20 + 0.70 * hash(s->seed, 10, f, 1)};
        double lean = 0.16 * (hash(s->seed, 10, f, 2) - 0.5);
        double half = 0.05 + 0.09 * hash(s->seed, 10, f, 3);
        struct point top = {middle.u - lean, middle.v - half};
        struct point bottom = {middle.u + lean, middle.v + half};
        if (distance(p, top, bottom) < 0.6 * s->cell) {
            return true;
        }
    }
    return false;
}

static double conductivity(const struct section *s, struct point p)
{
    if (fractured(s, p)) {
        return 0.05;
    }
    double depth = depth_when_laid(s, p);
    size_t layer = 0;
    while (depth > layers[layer].bottom) {
        layer++;
    }
    return layers[layer].conductivity *
           (1.0 + 0.12 * noise(s->seed, 3, 25.0 * p.u, 60.0 * p.v));
}

/* Tubes of magma, each between two points; the chamber is a short fat one. */
static const struct {
    struct point from, to; /* u in units of the width */
    double radius;
    double temperature;
} bodies[] = {
    {{0.40, 0.97}, {0.50, 0.93}, 0.110, 1050.0}, /* chamber */
    {{0.44, 0.92}, {0.33, 0.13}, 0.034, 1120.0}, /* dyke */
    {{0.37, 0.45}, {0.60, 0.41}, 0.042, 1080.0}, /* sill */
    {{0.34, 0.29}, {0.13, 0.33}, 0.036, 1080.0}, /* sill */
    {{0.41, 0.68}, {0.18, 0.66}, 0.033, 1080.0}, /* sill */
    {{0.80, 0.74}, {0.90, 0.66}, 0.095, 1000.0}, /* a younger pluton */
    {{0.88, 0.66}, {0.80, 0.31}, 0.024, 1060.0}, /* its dyke */
};

static double temperature(const struct section *s, struct point p)
{
    double result = 10.0 + 140.0 * p.v; /* what the earth gives */
    /* magma finds no straight way */
    struct point q = {p.u + 0.030 * noise(s->seed, 6, 5.0 * p.u, 9.0 * p.v),
                      p.v + 0.035 * noise(s->seed, 7, 6.0 * p.u, 5.0 * p.v)};
    for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
        struct point from = {bodies[b].from.u * s->width, bodies[b].from.v};
        struct point to = {bodies[b].to.u * s->width, bodies[b].to.v};
        double edge = bodies[b].radius *
                      (1.0 + 0.3 * noise(s->seed, 4, 14.0 * p.u, 14.0 * p.v));
        double inside = (edge - distance(q, from, to)) / 0.012 + 0.5;
        double hot = bodies[b].temperature *
                     (1.0 + 0.03 * noise(s->seed, 5, 30.0 * p.u, 30.0 * p.v));
        if (hot > result) {
            result += smooth(inside) * (hot - result);
        }
    }
    return result;
}

/* ---- the file ------------------------------------------------------------ */

static int write_section(const char *file, size_t ny, size_t nx, uint64_t seed)
{
    const struct solver_grid grid = {.ny = ny, .nx = nx};
    struct section s = {.seed = seed,
                        .width = (double)nx / (double)ny,
                        .cell = 1.0 / (double)ny};
    double *values = malloc(2 * ny * nx * sizeof *values);
    if (values == NULL) {
        return message_fail("%s: out of memory", file);
    }
    double *k = values + ny * nx;
    for (size_t y = 0; y < ny; y++) {
        for (size_t x = 0; x < nx; x++) {
            struct point p = {((double)x + 0.5) * s.cell,
                              ((double)y + 0.5) * s.cell};
            values[y * nx + x] = temperature(&s, p);
            k[y * nx + x] = conductivity(&s, p);
        }
    }
    const struct field_attribute t_unit = {.name = "unit", .text = "degree C"};
    const struct field_attribute k_unit = {.name = "unit", .text = "W/(m K)"};
    const struct field_output outputs[] = {
        {.dataset = "temperature",
         .values = values,
         .attributes = &t_unit,
         .attributes_count = 1},
        {.dataset = "conductivity",
         .values = k,
         .attributes = &k_unit,
         .attributes_count = 1},
    };
    int result = field_write(file, &grid, outputs, 2);
    free(values);
    return result;
}

static bool count(const char *text, int64_t min, int64_t max, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *value = number;
    return end != text && *end == '\0' && errno == 0 && number >= min &&
           number <= max;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"nx",      required_argument, NULL, 'x'},
        {"ny",      required_argument, NULL, 'y'},
        {"seed",    required_argument, NULL, 's'},
        {"help",    no_argument,       NULL, 'h'},
        {"version", no_argument,       NULL, 'v'},
        {NULL,      0,                 NULL, 0  },
    };
    int64_t nx = 224;
    int64_t ny = 144;
    int64_t seed = 1;
    bool right = true;
    int option = 0;
    /* The only thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        switch (option) {
        case 'x':
            right = right && count(optarg, SIDE_MIN, SIDE_MAX, &nx);
            break;
        case 'y':
            right = right && count(optarg, SIDE_MIN, SIDE_MAX, &ny);
            break;
        case 's': right = right && count(optarg, 0, INT64_MAX, &seed); break;
        case 'h': (void)fputs(help, stdout); return 0;
        case 'v':
            (void)printf("heat2d-input (Recto) %s\n", PROGRAM_VERSION);
            return 0;
        default: right = false;
        }
    }
    if (!right || optind != argc - 1) {
        (void)fputs(help, stderr);
        return 2;
    }
    const char *file = argv[optind];
    if (write_section(file, (size_t)ny, (size_t)nx, (uint64_t)seed) != 0) {
        return 1;
    }
    (void)printf("%s: %lld x %lld cells, seed %lld\n", file, (long long)ny,
                 (long long)nx, (long long)seed);
    return 0;
}
