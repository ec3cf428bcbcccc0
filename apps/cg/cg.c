/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conjugate gradients: kernels, scalars and check. See cg.h.
 */
#include "cg.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the command line ---------------------------------------------------- */

enum {
    OPTIONS = 7
};

static struct program_usage usage(struct cg_options *o,
                                  struct program_option options[OPTIONS],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Solves A x = b by conjugate gradients. FILE is a Matrix Market file, "
        "coordinate,\nreal, integer or pattern, with a symmetric positive "
        "definite matrix; a pattern\nstands for its graph's Laplacian plus the "
        "identity. b is A times a known x.\n"
        "cg-laplace makes such files.\n";
    int i = 0;
    options[i++] = (struct program_option){
        .name = "tolerance",
        .kind = PROGRAM_NUMBER,
        .value = &o->tolerance,
        .help = "of the residual, relative to b (1e-8)"};
    options[i++] = (struct program_option){.name = "iterations",
                                           .kind = PROGRAM_COUNT,
                                           .value = &o->iterations,
                                           .min = 1,
                                           .max = INT32_MAX,
                                           .help = "at most (100000)"};
    if (strstr(name, "omp") != NULL) {
        options[i++] =
            (struct program_option){.name = "threads",
                                    .kind = PROGRAM_COUNT,
                                    .value = &o->threads,
                                    .min = 1,
                                    .max = 4096,
                                    .help = "threads (as OpenMP chooses)"};
    }
    if (strstr(name, "recto") != NULL) {
        options[i++] = (struct program_option){
            .name = "checkpoint-every",
            .kind = PROGRAM_COUNT,
            .value = &o->checkpoint_every,
            .min = 0,
            .max = INT32_MAX,
            .help =
                "iterations, and when it is due; go on from the last\n"
                "                         one; 0: none, from the start (0)"};
    }
    options[i++] = (struct program_option){.name = "json",
                                           .kind = PROGRAM_FLAG,
                                           .value = &o->json,
                                           .help = "end with a line of JSON"};
    options[i++] = (struct program_option){
        .name = "spoil",
        .kind = PROGRAM_FLAG,
        .value = &o->spoil,
        .help = "change the solution, to see the check fail"};
    options[i] = (struct program_option){.help = NULL};
    return (struct program_usage){.name = name,
                                  .launch = launch,
                                  .about = about,
                                  .options = options,
                                  .operand = &o->file,
                                  .operand_name = "FILE"};
}

enum program_action cg_options_read(struct cg_options *o, const char *name,
                                    const char *launch, int argc, char **argv,
                                    char *wrong)
{
    struct program_option options[OPTIONS];
    *o = (struct cg_options){.tolerance = 1e-8, .iterations = 100000};
    const struct program_usage u = usage(o, options, name, launch);
    return program_read(&u, argc, argv, wrong);
}

void cg_options_help(const char *name, const char *launch)
{
    struct cg_options o;
    struct program_option options[OPTIONS];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

/* ---- vectors ------------------------------------------------------------- */

int cg_vectors_init(struct cg_vectors *v, struct program_part rows)
{
    size_t count = rows.last - rows.first + 1; /* never empty */
    *v = (struct cg_vectors){.rows = rows};
    v->x = calloc(count, sizeof *v->x);
    v->p = calloc(count, sizeof *v->p);
    v->s = calloc(count, sizeof *v->s);
    v->w = calloc(count, sizeof *v->w);
    v->b = calloc(count, sizeof *v->b);
    return v->x != NULL && v->p != NULL && v->s != NULL && v->w != NULL &&
                   v->b != NULL
               ? 0
               : -1;
}

void cg_vectors_free(struct cg_vectors *v)
{
    free(v->x);
    free(v->p);
    free(v->s);
    free(v->w);
    free(v->b);
    *v = (struct cg_vectors){0};
}

/* x* of row i: between 0.5 and 1.5, by the mixer of SplitMix64 (Steele, Lea,
 * Flood, OOPSLA 2014). */
static double known(size_t i)
{
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return 0.5 + (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

void cg_start(struct cg_vectors *v, const struct mtx_matrix *m)
{
    for (size_t i = v->rows.first; i < v->rows.last; i++) {
        size_t row = i - m->rows.first;
        double sum = 0.0;
        for (size_t k = m->start[row]; k < m->start[row + 1]; k++) {
            sum += m->value[k] * known(m->column[k]);
        }
        v->b[i - v->rows.first] = sum;
        v->r[i - v->rows.first] = sum;
    }
}

void cg_multiply(struct cg_vectors *v, const struct mtx_matrix *m,
                 const double *z)
{
    const size_t *start = m->start + (v->rows.first - m->rows.first);
    const uint32_t *column = m->column;
    const double *value = m->value;
    size_t rows = v->rows.last - v->rows.first;
    for (size_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (size_t k = start[i]; k < start[i + 1]; k++) {
            sum += value[k] * z[column[k]];
        }
        v->w[i] = sum;
    }
}

struct cg_sums cg_dots(const struct cg_vectors *v)
{
    size_t rows = v->rows.last - v->rows.first;
    double rr = 0.0;
    double rw = 0.0;
    for (size_t i = 0; i < rows; i++) {
        rr += v->r[i] * v->r[i];
        rw += v->r[i] * v->w[i];
    }
    return (struct cg_sums){
        {rr, rw}
    };
}

void cg_update(struct cg_vectors *v, const struct cg_state *state)
{
    size_t rows = v->rows.last - v->rows.first;
    double alpha = state->alpha;
    double beta = state->beta;
    double *restrict x = v->x;
    double *restrict p = v->p;
    double *restrict s = v->s;
    double *restrict r = v->r;
    const double *restrict w = v->w;
    for (size_t i = 0; i < rows; i++) {
        p[i] = r[i] + beta * p[i];
        s[i] = w[i] + beta * s[i];
        x[i] += alpha * p[i];
        r[i] -= alpha * s[i];
    }
}

/* ---- scalars ------------------------------------------------------------- */

bool cg_next(struct cg_state *state, struct cg_sums sums)
{
    double gamma = sums.of[0];
    double delta = sums.of[1];
    const struct cg_options *o = state->options;
    if (state->iteration == 0) {
        state->first = gamma;
    }
    double wanted = o->tolerance * o->tolerance * state->first;
    if (gamma <= wanted || state->iteration >= o->iterations) {
        state->gamma = gamma;
        return false;
    }
    state->beta = state->iteration > 0 ? gamma / state->gamma : 0.0;
    double curvature = /* p.A p */
        state->iteration > 0 ? delta - state->beta * gamma / state->alpha
                             : delta;
    state->gamma = gamma;
    if (!(curvature > 0.0) || !isfinite(gamma)) { /* NaN, too */
        state->broken = true;
        return false;
    }
    state->alpha = gamma / curvature;
    state->iteration++;
    return true;
}

/* ---- the check ----------------------------------------------------------- */

struct cg_sums cg_errors(const struct cg_vectors *v)
{
    struct cg_sums sums = {{0.0}};
    for (size_t i = 0; i < v->rows.last - v->rows.first; i++) {
        double residual = v->b[i] - v->w[i];
        double error = v->x[i] - known(v->rows.first + i);
        sums.of[0] += residual * residual;
        sums.of[1] += error * error;
        sums.of[2] += v->b[i] * v->b[i];
    }
    return sums;
}

bool cg_right(const struct cg_state *state, struct cg_sums errors,
              double smallest)
{
    const double rounding = 1e-13; /* of b, which was rounded, too */
    double b = sqrt(errors.of[2]);
    double residual = sqrt(errors.of[0]);
    double bound = (residual + rounding * b) * 1.001;
    return !state->broken &&
           residual <= (2.0 * state->options->tolerance + rounding) * b &&
           (smallest == 0.0 || sqrt(errors.of[1]) <= bound / smallest);
}

void cg_say(const struct program_report *report, const struct cg_options *o,
            const struct mtx_matrix *m)
{
    (void)printf("cg-%s: %s: %zu rows, %zu entries, %d %s\n", report->version,
                 o->file, m->n, m->entries, report->ranks,
                 strcmp(report->version, "omp") == 0 ? "threads" : "ranks");
}

int cg_end(const struct program_report *report, const struct cg_state *state,
           struct cg_sums errors, double smallest)
{
    bool right = cg_right(state, errors, smallest);
    double b = sqrt(errors.of[2]);
    (void)printf("iterations %" PRId64 ", residual %.3e of b, error %.3e",
                 state->iteration, sqrt(errors.of[0]) / b, sqrt(errors.of[1]));
    if (smallest > 0.0) {
        (void)printf(", at most %.3e", sqrt(errors.of[0]) / smallest);
    }
    (void)printf("\n");
    if (state->broken) {
        (void)program_fail("cg", "the matrix is not positive definite");
    } else if (!right && state->iteration >= state->options->iterations) {
        (void)program_fail("cg",
                           "not solved after %" PRId64
                           " iterations: give more of them, or a larger "
                           "--tolerance",
                           state->iteration);
    }
    return program_end(report, "solve", right);
}
