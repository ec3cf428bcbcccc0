/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cg-laplace: writes a Matrix Market file with the Laplacian of a 2-D or 3-D
 * grid of points, by differences to 4 or 6 neighbours, values 0 outside it.
 * Its smallest eigenvalue, the sum of 4 sin(pi / (2 (n + 1)))^2 over the
 * dimensions, stands in a comment that cg checks its answer by.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <program.h>

static const char name[] = "cg-laplace";

struct grid {
    int64_t n[3]; /* x runs fastest */
    const char *file;
};

enum {
    SIDE_MAX = 1 << 20
};

static double smallest_eigenvalue(const struct grid *g)
{
    const double half_pi = 1.57079632679489661923;
    double sum = 0.0;
    for (int d = 0; d < 3; d++) {
        double sine = sin(half_pi / (double)(g->n[d] + 1));
        sum += d == 2 && g->n[2] == 1 ? 0.0 : 4.0 * sine * sine;
    }
    return sum;
}

/* Points, and their neighbours on one side along each dimension. */
static int64_t points_of(const struct grid *g)
{
    return g->n[0] * g->n[1] * g->n[2];
}

static int64_t entries_of(const struct grid *g)
{
    int64_t points = points_of(g);
    int64_t entries = points;
    for (int d = 0; d < 3; d++) {
        entries += points / g->n[d] * (g->n[d] - 1);
    }
    return entries;
}

/* One row of the lower half. */
static void write_row(FILE *file, const struct grid *g, const int64_t at[3],
                      double diagonal)
{
    const int64_t stride[3] = {1, g->n[0], g->n[0] * g->n[1]};
    int64_t row = at[0] + at[1] * stride[1] + at[2] * stride[2] + 1;
    for (int d = 2; d >= 0; d--) {
        if (at[d] > 0) {
            (void)fprintf(file, "%lld %lld -1\n", (long long)row,
                          (long long)(row - stride[d]));
        }
    }
    (void)fprintf(file, "%lld %lld %g\n", (long long)row, (long long)row,
                  diagonal);
}

static void write_matrix(FILE *file, const struct grid *g)
{
    int dimensions = g->n[2] > 1 ? 3 : 2;
    (void)fprintf(file,
                  "%%%%MatrixMarket matrix coordinate real symmetric\n"
                  "%% Laplacian of a grid of %lld x %lld x %lld points\n"
                  "%% smallest eigenvalue %.17g\n"
                  "%lld %lld %lld\n",
                  (long long)g->n[0], (long long)g->n[1], (long long)g->n[2],
                  smallest_eigenvalue(g), (long long)points_of(g),
                  (long long)points_of(g), (long long)entries_of(g));
    int64_t at[3];
    for (at[2] = 0; at[2] < g->n[2]; at[2]++) {
        for (at[1] = 0; at[1] < g->n[1]; at[1]++) {
            for (at[0] = 0; at[0] < g->n[0]; at[0]++) {
                write_row(file, g, at, 2.0 * dimensions);
            }
        }
    }
}

/* The file appears when it is complete. */
static int write_file(const struct grid *g)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.tmp", g->file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return program_fail(name, "%s: name too long", g->file);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return program_fail(name, "%s: %s", path, program_errno());
    }
    write_matrix(file, g);
    errno = 0;
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    if (failed || rename(path, g->file) != 0) {
        (void)program_fail(name, "%s: cannot be written: %s", g->file,
                           errno != 0 ? program_errno() : "write error");
        (void)unlink(path);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct grid g = {
        .n = {64, 64, 1}
    };
    const struct program_option options[] = {
        {"nx",      PROGRAM_COUNT, &g.n[0], 1, SIDE_MAX, "points along x (64)"},
        {"ny",  PROGRAM_COUNT, &g.n[1], 1, SIDE_MAX, "points along y (64)"},
        {"nz", PROGRAM_COUNT, &g.n[2], 1, SIDE_MAX,
         "points along z (1: a 2-D grid)"},
        {.help = NULL        },
    };
    const struct program_usage usage = {
        .name = name,
        .launch = name,
        .about = "Writes the Laplacian of a grid as a Matrix Market file.\n",
        .options = options,
        .operand = &g.file,
        .operand_name = "FILE"};
    char wrong[PROGRAM_LINE];
    enum program_action action = program_read(&usage, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        program_help(&usage);
        return PROGRAM_OK;
    }
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    /* each side is at most 2^20: no product below overflows before this */
    if (g.n[0] * g.n[1] > INT32_MAX - 1 || points_of(&g) > INT32_MAX - 1) {
        (void)program_fail(name, "more than 2^31 points: give smaller sides");
        return PROGRAM_USAGE;
    }
    if (write_file(&g) != 0) {
        return PROGRAM_FAILED;
    }
    (void)printf("%s: %lld x %lld x %lld points, %lld rows\n", g.file,
                 (long long)g.n[0], (long long)g.n[1], (long long)g.n[2],
                 (long long)points_of(&g));
    return PROGRAM_OK;
}
