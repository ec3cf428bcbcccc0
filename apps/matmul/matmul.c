/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The matrix product's kernel, its input and its check. See matmul.h.
 */
#include "matmul.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE = 128, /* columns of B packed at once: with a panel's rows, 128 KiB */
    STRIP = 4   /* rows and columns of C held in registers */
};

/* ---- the command line ---------------------------------------------------- */

static struct program_usage usage(struct matmul_options *o,
                                  struct program_option options[5],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Multiplies two dense N x N matrices and checks the product.\n";
    int i = 0;
    options[i++] = (struct program_option){.name = "n",
                                           .kind = PROGRAM_COUNT,
                                           .value = &o->n,
                                           .min = 1,
                                           .max = MATMUL_MAX,
                                           .help = "rows and columns (1024)"};
    if (strstr(name, "omp") != NULL) {
        options[i++] =
            (struct program_option){.name = "threads",
                                    .kind = PROGRAM_COUNT,
                                    .value = &o->threads,
                                    .min = 1,
                                    .max = 4096,
                                    .help = "threads (as OpenMP chooses)"};
    }
    options[i++] = (struct program_option){.name = "json",
                                           .kind = PROGRAM_FLAG,
                                           .value = &o->json,
                                           .help = "end with a line of JSON"};
    options[i++] = (struct program_option){
        .name = "spoil",
        .kind = PROGRAM_FLAG,
        .value = &o->spoil,
        .help = "change the product, to see the check fail"};
    options[i] = (struct program_option){.help = NULL};
    return (struct program_usage){
        .name = name, .launch = launch, .about = about, .options = options};
}

enum program_action matmul_options_read(struct matmul_options *o,
                                        const char *name, const char *launch,
                                        int argc, char **argv, char *wrong)
{
    struct program_option options[5];
    *o = (struct matmul_options){.n = 1024};
    const struct program_usage u = usage(o, options, name, launch);
    return program_read(&u, argc, argv, wrong);
}

void matmul_options_help(const char *name, const char *launch)
{
    struct matmul_options o;
    struct program_option options[5];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

/* ---- the input ----------------------------------------------------------- */

/* A number that depends on the arguments only. The mixer is that of SplitMix64:
 * Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
 * 2014. */
static uint64_t hash(uint64_t stream, uint64_t i)
{
    uint64_t z = (stream << 48) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double element(uint64_t stream, uint64_t i)
{
    return (double)(hash(stream, i) >> 32 & 15) - 8.0 +
           (double)(hash(stream, i) >> 40 & 1);
}

/* Element `v` of row j of X. */
static double vector(size_t j, size_t v)
{
    return (double)(hash(3, j * MATMUL_VECTORS + v) >> 54);
}

int matmul_task_init(struct matmul_task *task, size_t n, int rank, int ranks)
{
    *task = (struct matmul_task){
        .n = n, .rows = program_part(n, n * sizeof(double), rank, ranks)};
    task->pack = malloc(sizeof(double[MATMUL_PANEL][TILE]));
    return task->pack != NULL ? 0 : -1;
}

void matmul_task_free(struct matmul_task *task)
{
    free(task->pack);
    task->pack = NULL;
}

void matmul_fill(const struct matmul_task *task, double *a, double *b,
                 double *c)
{
    size_t n = task->n;
    size_t from = task->rows.first * n;
    size_t count = (task->rows.last - task->rows.first) * n;
    for (size_t i = 0; i < count; i++) {
        a[i] = element(1, from + i);
        b[i] = element(2, from + i);
        c[i] = 0.0;
    }
}

/* ---- the product --------------------------------------------------------- */

struct program_part matmul_panel_at(size_t n, size_t k, int ranks)
{
    /* parts are equal but for the last ones, so k's owner follows from k */
    struct program_part part = program_part(n, n * sizeof(double), 0, ranks);
    size_t owner = k / part.last;
    size_t last = (owner + 1) * part.last;
    last = last < n ? last : n;
    return (struct program_part){k, k + MATMUL_PANEL < last ? k + MATMUL_PANEL
                                                            : last};
}

/* Columns j .. j + width - 1 of the panel, as strips of STRIP columns, each of
 * them depth x STRIP; zeroes fill the last one. */
static void pack_tile(double *restrict pack, const double *b, size_t n,
                      size_t depth, size_t j, size_t width)
{
    for (size_t s = 0; s < width; s += STRIP) {
        size_t columns = width - s < STRIP ? width - s : STRIP;
        for (size_t k = 0; k < depth; k++) {
            for (size_t x = 0; x < STRIP; x++) {
                pack[k * STRIP + x] = x < columns ? b[k * n + j + s + x] : 0.0;
            }
        }
        pack += depth * STRIP;
    }
}

/* sum = 4 rows of A, a[0] to a[3], times a strip. */
static inline void strip_product(const double *const a[STRIP],
                                 const double *restrict strip, size_t depth,
                                 double sum[restrict STRIP][STRIP])
{
    double s[STRIP][STRIP] = {{0.0}};
    for (size_t k = 0; k < depth; k++) {
        const double *b = strip + k * STRIP;
        for (size_t y = 0; y < STRIP; y++) {
            for (size_t x = 0; x < STRIP; x++) {
                s[y][x] += a[y][k] * b[x];
            }
        }
    }
    memcpy(sum, s, sizeof s);
}

/* All rows of the worker times the packed tile. */
static void tile_product(const struct matmul_task *task,
                         struct program_part panel, const double *a, double *c,
                         size_t j, size_t width)
{
    size_t n = task->n;
    size_t count = task->rows.last - task->rows.first;
    size_t depth = panel.last - panel.first;
    for (size_t i = 0; i < count; i += STRIP) {
        size_t rows = count - i < STRIP ? count - i : STRIP;
        const double *row[STRIP];
        for (size_t y = 0; y < STRIP; y++) {
            /* rows past the end: the last one again, and not stored */
            size_t at = y < rows ? i + y : i + rows - 1;
            row[y] = a + at * n + panel.first;
        }
        const double *strip = task->pack;
        for (size_t s = 0; s < width; s += STRIP, strip += depth * STRIP) {
            size_t columns = width - s < STRIP ? width - s : STRIP;
            double sum[STRIP][STRIP];
            strip_product(row, strip, depth, sum);
            for (size_t y = 0; y < rows; y++) {
                for (size_t x = 0; x < columns; x++) {
                    c[(i + y) * n + j + s + x] += sum[y][x];
                }
            }
        }
    }
}

void matmul_panel(const struct matmul_task *task, struct program_part panel,
                  const double *a, const double *b, double *c)
{
    for (size_t j = 0; j < task->n; j += TILE) {
        size_t width = task->n - j < TILE ? task->n - j : TILE;
        pack_tile(task->pack, b, task->n, panel.last - panel.first, j, width);
        tile_product(task, panel, a, c, j, width);
    }
}

/* ---- the check ----------------------------------------------------------- */

void matmul_vectors(const struct matmul_task *task, const double *b, double *y)
{
    size_t rows = task->rows.last - task->rows.first;
    for (size_t i = 0; i < rows; i++) {
        double sum[MATMUL_VECTORS] = {0.0};
        for (size_t j = 0; j < task->n; j++) {
            for (size_t v = 0; v < MATMUL_VECTORS; v++) {
                sum[v] += b[i * task->n + j] * vector(j, v);
            }
        }
        memcpy(y + i * MATMUL_VECTORS, sum, sizeof sum);
    }
}

int64_t matmul_check(const struct matmul_task *task, const double *a,
                     const double *c, const double *y)
{
    size_t rows = task->rows.last - task->rows.first;
    int64_t wrong = 0;
    for (size_t i = 0; i < rows; i++) {
        double have[MATMUL_VECTORS] = {0.0};
        double want[MATMUL_VECTORS] = {0.0};
        for (size_t j = 0; j < task->n; j++) {
            for (size_t v = 0; v < MATMUL_VECTORS; v++) {
                have[v] += c[i * task->n + j] * vector(j, v);
                want[v] += a[i * task->n + j] * y[j * MATMUL_VECTORS + v];
            }
        }
        bool right = true;
        for (size_t v = 0; v < MATMUL_VECTORS; v++) {
            right = right && have[v] == want[v];
        }
        wrong += right ? 0 : 1;
    }
    return wrong;
}

uint64_t matmul_sum(const struct matmul_task *task, const double *c)
{
    size_t from = task->rows.first * task->n;
    size_t count = (task->rows.last - task->rows.first) * task->n;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (uint64_t)(int64_t)c[i] * (hash(4, from + i) | 1);
    }
    return sum;
}

void matmul_say(const struct program_report *report, size_t n)
{
    (void)printf("matmul-%s: %zu x %zu, %d %s\n", report->version, n, n,
                 report->ranks,
                 strcmp(report->version, "omp") == 0 ? "threads" : "ranks");
}

int matmul_end(const struct program_report *report, size_t n, uint64_t sum,
               int64_t wrong_rows)
{
    for (int i = 0; i < report->phases; i++) {
        if (strcmp(report->phase[i].name, "multiply") == 0) {
            (void)printf("speed %.3f GFlop/s\n", 2e-9 * (double)n * (double)n *
                                                     (double)n /
                                                     report->phase[i].seconds);
        }
    }
    (void)printf("checksum %016" PRIx64 "\n", sum);
    if (wrong_rows != 0) {
        (void)program_fail("matmul", "%" PRId64 " of %zu rows are wrong",
                           wrong_rows, n);
    }
    return program_end(report, "multiply", wrong_rows == 0);
}
