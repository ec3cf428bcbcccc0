/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power iteration: options, kernels, check and report. See pagerank.h.
 */
#include "pagerank.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "serial.h"

/* ---- the command line ---------------------------------------------------- */

enum {
    OPTIONS = 12,
    TOP_MAX = 1000
};

static struct program_usage usage(struct pagerank_options *o,
                                  struct program_option options[OPTIONS],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Ranks the vertices of a graph (PageRank). FILE has an edge in each "
        "line, \"FROM TO\",\nwhole numbers from 0 to 2^64 - 1; lines that begin "
        "with # or % are comments.\nEdges listed twice count once, those from a "
        "vertex to itself not at all.\npagerank-graph makes such files.\n";
    int i = 0;
#define COUNT(text, field, low, high, words)                                   \
    (struct program_option){.name = (text),                                    \
                            .kind = PROGRAM_COUNT,                             \
                            .value = &o->field,                                \
                            .min = (low),                                      \
                            .max = (high),                                     \
                            .help = (words)}
#define OTHER(text, what, field, words)                                        \
    (struct program_option)                                                    \
    {                                                                          \
        .name = (text), .kind = (what), .value = &o->field, .help = (words)    \
    }
    options[i++] = OTHER("damping", PROGRAM_NUMBER, damping,
                         "probability to follow an edge (0.85)");
    options[i++] = OTHER("tolerance", PROGRAM_NUMBER, tolerance,
                         "of what ranks move in all (1e-9)");
    options[i++] =
        COUNT("iterations", iterations, 1, INT32_MAX, "at most (1000)");
    options[i++] = COUNT("top", top, 0, TOP_MAX, "print so many (10)");
    options[i++] = OTHER("output", PROGRAM_TEXT, output,
                         "write all, lines \"VERTEX RANK\"");
    options[i++] = OTHER("check", PROGRAM_FLAG, check,
                         "compare with a serial program, too");
    if (strstr(name, "recto") != NULL) {
        options[i++] = COUNT("checkpoint-every", checkpoint_every, 0, INT32_MAX,
                             "so many iterations; goes on from the last (0)");
    }
    if (strstr(name, "omp") != NULL) {
        options[i++] =
            COUNT("threads", threads, 1, 4096, "threads (as OpenMP chooses)");
    }
    options[i++] = OTHER("json", PROGRAM_FLAG, json, "end with a line of JSON");
    options[i++] = OTHER("spoil", PROGRAM_FLAG, spoil,
                         "change a rank, to see the check fail");
#undef COUNT
#undef OTHER
    options[i] = (struct program_option){.help = NULL};
    return (struct program_usage){.name = name,
                                  .launch = launch,
                                  .about = about,
                                  .options = options,
                                  .operand = &o->file,
                                  .operand_name = "FILE"};
}

enum program_action pagerank_options_read(struct pagerank_options *o,
                                          const char *name, const char *launch,
                                          int argc, char **argv, char *wrong)
{
    struct program_option options[OPTIONS];
    *o = (struct pagerank_options){
        .damping = 0.85, .tolerance = 1e-9, .iterations = 1000, .top = 10};
    const struct program_usage u = usage(o, options, name, launch);
    enum program_action action = program_read(&u, argc, argv, wrong);
    if (action == PROGRAM_RUN && o->damping >= 1.0) {
        (void)snprintf(wrong, PROGRAM_LINE,
                       "--damping %g: give a number above 0 and below 1",
                       o->damping);
        return PROGRAM_WRONG;
    }
    return action;
}

void pagerank_options_help(const char *name, const char *launch)
{
    struct pagerank_options o;
    struct program_option options[OPTIONS];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

/* ---- kernels ------------------------------------------------------------- */

void pagerank_start(const struct pagerank_rows *rows, const double *x,
                    double *c, struct pagerank_sums *blocks)
{
    size_t count = rows->part.last - rows->part.first;
    for (size_t first = 0; first < count; first += GRAPH_BLOCK) {
        size_t last = first + GRAPH_BLOCK < count ? first + GRAPH_BLOCK : count;
        struct pagerank_sums sums = {0.0, INFINITY};
        for (size_t i = first; i < last; i++) {
            c[i] = rows->degree[i] > 0 ? x[i] / rows->degree[i] : 0.0;
            sums.stuck += rows->degree[i] > 0 ? 0.0 : x[i];
        }
        blocks[first / GRAPH_BLOCK] = sums;
    }
}

void pagerank_step(const struct pagerank_rows *rows,
                   struct pagerank_state *state, const double *restrict z,
                   double *restrict x, double *restrict c,
                   struct pagerank_sums *blocks)
{
    state->iteration++;
    const uint64_t *start = rows->start;
    const uint32_t *source = rows->source;
    double base = state->base;
    double damping = state->options->damping;
    size_t count = rows->part.last - rows->part.first;
    for (size_t first = 0; first < count; first += GRAPH_BLOCK) {
        size_t last = first + GRAPH_BLOCK < count ? first + GRAPH_BLOCK : count;
        struct pagerank_sums sums = {0.0, 0.0};
        for (size_t i = first; i < last; i++) {
            double sum = 0.0;
            for (uint64_t k = start[i]; k < start[i + 1]; k++) {
                sum += z[source[k]];
            }
            double rank = base + damping * sum;
            sums.moved += fabs(rank - x[i]);
            sums.stuck += rows->degree[i] > 0 ? 0.0 : rank;
            c[i] = rows->degree[i] > 0 ? rank / rows->degree[i] : 0.0;
            x[i] = rank;
        }
        blocks[first / GRAPH_BLOCK] = sums;
    }
}

void pagerank_add(struct pagerank_sums *all, const struct pagerank_sums *blocks,
                  size_t count)
{
    for (size_t b = 0; b < count; b++) {
        all->stuck += blocks[b].stuck;
        all->moved += blocks[b].moved;
    }
}

static double base_of(const struct pagerank_state *state,
                      struct pagerank_sums all)
{
    double damping = state->options->damping;
    double n = (double)state->n;
    return (1.0 - damping) / n + damping * all.stuck / n;
}

bool pagerank_next(struct pagerank_state *state, struct pagerank_sums all)
{
    const struct pagerank_options *o = state->options;
    state->base = base_of(state, all);
    state->moved = all.moved;
    return all.moved > o->tolerance && state->iteration < o->iterations;
}

/* ---- check --------------------------------------------------------------- */

/* In a wider format than the iteration. */
struct pagerank_check pagerank_verify(const struct pagerank_rows *rows,
                                      const struct pagerank_state *state,
                                      struct pagerank_sums all, const double *z,
                                      const double *x)
{
    const long double base = base_of(state, all);
    long double total = 0.0L;
    long double residual = 0.0L;
    for (size_t i = 0; i < rows->part.last - rows->part.first; i++) {
        long double sum = 0.0L;
        for (uint64_t k = rows->start[i]; k < rows->start[i + 1]; k++) {
            sum += z[rows->source[k]];
        }
        residual += fabsl(x[i] - (base + state->options->damping * sum));
        total += x[i];
    }
    return (struct pagerank_check){(double)total, (double)residual};
}

void pagerank_spoil(const struct pagerank_rows *rows,
                    const struct pagerank_options *o, double *x)
{
    if (o->spoil && rows->part.first == 0 && rows->part.last > 0) {
        x[0] *= 1.5;
    }
}

/* What rounding may add up to: an iteration adds no more numbers in a row than
 * this, and its errors shrink by d from one to the next. */
static double rounding(const struct pagerank_answer *a)
{
    double terms = (double)a->graph->widest + GRAPH_BLOCK +
                   (double)graph_blocks(a->graph->n) + 8.0;
    return DBL_EPSILON * terms / (1.0 - a->state->options->damping);
}

static bool converged(const struct pagerank_answer *a)
{
    return a->state->moved <= a->state->options->tolerance;
}

/* The residual shrinks by d with each iteration, so it lies below the last
 * movement. */
static bool right(const struct pagerank_answer *a, struct pagerank_check all)
{
    double bound = a->state->options->tolerance + rounding(a);
    return converged(a) && all.residual <= bound &&
           fabs(all.sum - 1.0) <= rounding(a);
}

/* ---- report -------------------------------------------------------------- */

void pagerank_say(const struct program_report *report,
                  const struct pagerank_options *o, const struct graph *g)
{
    (void)printf("pagerank-%s: %s: %zu vertices, %" PRIu64 " edges (%" PRIu64
                 " lines, %" PRIu64 " loops, %" PRIu64 " listed again), %d "
                 "%s\n",
                 report->version, o->file, g->n, g->edges, g->listed, g->loops,
                 g->listed - g->loops - g->edges, report->ranks,
                 strcmp(report->version, "omp") == 0 ? "threads" : "ranks");
    (void)fflush(stdout);
}

static void print_check(const struct pagerank_answer *a,
                        struct pagerank_check all, uint64_t checksum)
{
    const struct pagerank_state *state = a->state;
    const struct pagerank_options *o = state->options;
    (void)printf("iterations %" PRId64 ", moved %.3e, residual %.3e, error at "
                 "most %.3e, sum 1%+.1e\nchecksum %016" PRIx64 "\n",
                 state->iteration, state->moved, all.residual,
                 (all.residual + rounding(a)) / (1.0 - o->damping),
                 all.sum - 1.0, checksum);
    if (!converged(a)) {
        (void)program_fail(a->team->name,
                           "not converged after %" PRId64
                           " iterations: give more of them, or a larger "
                           "--tolerance",
                           state->iteration);
    }
}

int pagerank_finish(const struct pagerank_answer *a,
                    struct program_report *report, struct pagerank_check mine,
                    const double seconds[3])
{
    static const char *const phases[] = {"read", "iterate", "check"};
    const struct pagerank_options *o = a->state->options;
    double sums[] = {mine.sum, mine.residual};
    team_add_doubles(a->team, sums, 2);
    struct pagerank_check all = {sums[0], sums[1]};
    bool ok = right(a, all);
    uint64_t checksum = output_checksum(a);
    if (a->team->rank == 0) {
        for (int i = 0; i < 3; i++) {
            program_phase(report, phases[i], seconds[i]);
        }
        print_check(a, all, checksum);
    }
    if (o->check) {
        double error = all.residual / (1.0 - o->damping) + rounding(a);
        ok = serial_compare(a, error) == 0 && ok;
    }
    output_top(a, (size_t)o->top);
    if (o->output != NULL) {
        ok = output_write(a, o->output) == 0 && ok;
    }
    if (a->team->rank == 0) {
        return program_end(report, "iterate", ok);
    }
    return ok ? PROGRAM_OK : PROGRAM_FAILED;
}
