/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank-graph: writes the edge list of a graph of 2^scale vertices.
 *
 *   rmat  edges by recursive choice of a quadrant of the matrix (D. Chakrabarti, Y.
 *         Zhan, C. Faloutsos, "R-MAT: a recursive model for graph mining", SDM
 *         2004), with the probabilities of the Graph500 benchmark, 0.57, 0.19, 0.19,
 *         0.05, and vertices in a scattered order. Few vertices have most of the
 *         edges, many have none and do not appear; edges repeat
 *   ring  an edge from each vertex to the next: all ranks are equal
 *   star  an edge from each vertex to vertex 0, from which none leads
 *
 * An edge follows from the seed and its number alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "team.h"

static const char name[] = "pagerank-graph";

enum {
    SCALE_MAX = 40
};

struct plan {
    int64_t scale;
    int64_t degree; /* edges per vertex of rmat */
    int64_t seed;
    const char *shape;
    const char *file;
};

/* A number in [0, 2^32) for a step of an edge. */
static uint32_t chance(uint64_t edge_seed, unsigned step)
{
    return (uint32_t)(team_mix(edge_seed + step) >> 32);
}

/* Another order of the numbers below 2^scale: odd factors and shifts to the right
 * lose nothing modulo a power of two. */
static uint64_t scatter(uint64_t v, const struct plan *p)
{
    uint64_t mask = (UINT64_C(1) << p->scale) - 1;
    uint64_t key = team_mix((uint64_t)p->seed);
    unsigned half = (unsigned)(p->scale + 1) / 2;
    for (int round = 0; round < 3; round++) {
        v = (v + key) & mask;
        v = (v * UINT64_C(0x9e3779b97f4a7c15)) & mask;
        v ^= v >> half;
    }
    return v;
}

static void write_rmat(FILE *file, const struct plan *p)
{
    const uint32_t a = (uint32_t)(0.57 * 0x1p32);
    const uint32_t ab = (uint32_t)(0.76 * 0x1p32);
    const uint32_t abc = (uint32_t)(0.95 * 0x1p32);
    uint64_t edges = (UINT64_C(1) << p->scale) * (uint64_t)p->degree;
    for (uint64_t k = 0; k < edges; k++) {
        uint64_t from = 0;
        uint64_t to = 0;
        uint64_t seed = team_mix(team_mix((uint64_t)p->seed) ^ k);
        for (unsigned bit = 0; bit < (unsigned)p->scale; bit++) {
            uint32_t u = chance(seed, bit);
            from = 2 * from + (u >= ab);
            to = 2 * to + ((u >= a && u < ab) || u >= abc);
        }
        (void)fprintf(file, "%" PRIu64 "\t%" PRIu64 "\n", scatter(from, p),
                      scatter(to, p));
    }
}

static void write_edges(FILE *file, const struct plan *p)
{
    uint64_t n = UINT64_C(1) << p->scale;
    (void)fprintf(file, "# %s, scale %" PRId64, p->shape, p->scale);
    if (strcmp(p->shape, "rmat") == 0) {
        (void)fprintf(file, ", degree %" PRId64 ", seed %" PRId64 "\n",
                      p->degree, p->seed);
        write_rmat(file, p);
        return;
    }
    (void)fprintf(file, "\n");
    bool ring = strcmp(p->shape, "ring") == 0;
    for (uint64_t v = ring ? 0 : 1; v < n; v++) {
        (void)fprintf(file, "%" PRIu64 "\t%" PRIu64 "\n", v,
                      ring ? (v + 1) & (n - 1) : 0);
    }
}

/* The file appears when it is complete. */
static int write_file(const struct plan *p)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.tmp", p->file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return program_fail(name, "%s: name too long", p->file);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return program_fail(name, "%s: %s", path, program_errno());
    }
    write_edges(file, p);
    errno = 0;
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    if (failed || rename(path, p->file) != 0) {
        (void)program_fail(name, "%s: cannot be written: %s", p->file,
                           errno != 0 ? program_errno() : "write error");
        (void)unlink(path);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct plan p = {.scale = 16, .degree = 16, .seed = 1, .shape = "rmat"};
    const struct program_option options[] = {
        {"scale",        PROGRAM_COUNT, &p.scale, 1, SCALE_MAX, "2^N vertices (16)"},
        {"degree",      PROGRAM_COUNT, &p.degree, 1, 1 << 20,
         "edges per vertex of rmat (16)"},
        {"seed",     PROGRAM_COUNT, &p.seed, 0, INT64_MAX, "of rmat (1)"},
        {"shape",              PROGRAM_TEXT, &p.shape, 0, 0, "rmat, ring or star (rmat)"},
        {.help = NULL},
    };
    const struct program_usage usage = {
        .name = name,
        .launch = name,
        .about = "Writes a graph's edges, lines \"FROM TO\".\n",
        .options = options,
        .operand = &p.file,
        .operand_name = "FILE"};
    char wrong[PROGRAM_LINE];
    enum program_action action = program_read(&usage, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        program_help(&usage);
        return PROGRAM_OK;
    }
    if (action == PROGRAM_RUN && strcmp(p.shape, "rmat") != 0 &&
        strcmp(p.shape, "ring") != 0 && strcmp(p.shape, "star") != 0) {
        (void)snprintf(wrong, sizeof wrong,
                       "--shape %.100s: give rmat, ring or star", p.shape);
        action = PROGRAM_WRONG;
    }
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    return write_file(&p) == 0 ? PROGRAM_OK : PROGRAM_FAILED;
}
