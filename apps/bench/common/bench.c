/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options, clock, samples and meeting points of the benchmarks.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- failure ----------------------------------------------------------------- */

int bench_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

void bench_fail(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "rank %d: %s\n", bench_rank(), line);
    (void)fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

void *bench_memory(size_t count, size_t bytes)
{
    void *p = calloc(count, bytes);
    if (p == NULL) {
        bench_fail("no memory for %zu x %zu bytes", count, bytes);
    }
    return p;
}

/* ---- clock ------------------------------------------------------------------- */

uint64_t bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

void bench_sleep(long microseconds)
{
    struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* ---- options ----------------------------------------------------------------- */

/* "64", "16M"; false when it is no size. */
static bool bench_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMG";
    char *end = NULL;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    int shift = unit != NULL ? 10 * (int)(unit - units + 1) : 0;
    if (errno != 0 || end == text || *text == '-' ||
        (unit == NULL ? *end != '\0' : end[1] != '\0') ||
        value > UINT64_MAX >> shift) {
        return false;
    }
    *bytes = value << shift;
    return true;
}

static bool bench_option(struct bench_options *o, int option,
                         const char *argument)
{
    uint64_t value = 0;
    switch (option) {
    case 'q': o->quick = true; return true;
    case 'j': o->json = argument; return true;
    case 'd': o->dir = argument; return true;
    case 's': return bench_size(argument, &o->size) && o->size > 0;
    case 'p': return bench_size(argument, &o->private_size);
    case 'r':
        if (!bench_size(argument, &value) || value < 1 || value > 1000) {
            return false;
        }
        o->rounds = (int)value;
        return true;
    default: return false;
    }
}

void bench_options_read(struct bench_options *o, int argc, char **argv,
                        const char *help, bool files)
{
    static const struct option table[] = {
        {"quick",   no_argument,       NULL, 'q'},
        {"repeat",  required_argument, NULL, 'r'},
        {"size",    required_argument, NULL, 's'},
        {"json",    required_argument, NULL, 'j'},
        {"help",    no_argument,       NULL, 'h'},
        {"version", no_argument,       NULL, 'v'},
        {"dir",     required_argument, NULL, 'd'},
        {"private", required_argument, NULL, 'p'},
        {NULL,      0,                 NULL, 0  }
    };
    int option = 0;
    /* NOLINTBEGIN(concurrency-mt-unsafe): no other thread runs yet */
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (option == 'h') {
            (void)fputs(help, stdout);
            exit(0);
        }
        if (option == 'v') {
            (void)printf("%s (Recto) %s\n", program_invocation_short_name,
                         recto_version());
            exit(0);
        }
        bool other = !files && (option == 'd' || option == 'p');
        if (option == '?' || other || !bench_option(o, option, optarg)) {
            (void)fprintf(stderr, "wrong option or value; see --help\n");
            exit(2);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "%s: not an option; see --help\n", argv[optind]);
        exit(2);
    }
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* ---- meeting ----------------------------------------------------------------- */

void bench_meet(void)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int done = 0;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    for (;;) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done) {
            return;
        }
        bench_sleep(200);
    }
}

/* ---- random order ------------------------------------------------------------ */

/* xorshift64*: the same numbers on every machine. */
static uint64_t bench_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717U;
}

uint64_t *bench_order(uint64_t count, uint64_t seed)
{
    uint64_t *order = bench_memory(count + 1, sizeof *order);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t j = bench_random(&seed) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

/* ---- samples and rounds ------------------------------------------------------ */

void bench_sample(struct bench_measure *m, double value)
{
    if (m->count == m->room) {
        m->room = m->room * 2 + 64;
        m->samples = realloc(m->samples, m->room * sizeof *m->samples);
        if (m->samples == NULL) {
            bench_fail("no memory for samples");
        }
    }
    m->samples[m->count++] = value;
}

/* Nanoseconds in the unit of a measure of time. */
static double bench_unit(const struct bench_measure *m)
{
    return strcmp(m->unit, "ms") == 0 ? 1e6 : 1e3;
}

void bench_sample_time(struct bench_measure *m, uint64_t start,
                       double operations)
{
    uint64_t time = bench_now() - start;
    bench_sample(m, (double)time / bench_unit(m) / operations);
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t count, double part)
{
    if (count == 0) {
        return NAN;
    }
    qsort(values, count, sizeof *values, bench_compare);
    double at = part * (double)(count - 1);
    size_t below = (size_t)at;
    size_t above = below + 1 < count ? below + 1 : below;
    double share = at - (double)below;
    return values[below] * (1 - share) + values[above] * share;
}

void bench_measures_free(struct bench_measure *m, int count)
{
    for (int i = 0; i < count; i++) {
        free(m[i].samples);
        free(m[i].rounds);
    }
}

void bench_round(struct bench_measure *m, int rank)
{
    struct bench_quantiles q = {bench_quantile(m->samples, m->count, 0.1),
                                bench_quantile(m->samples, m->count, 0.5),
                                bench_quantile(m->samples, m->count, 0.9)};
    MPI_Bcast(&q, 3, MPI_DOUBLE, rank, MPI_COMM_WORLD);
    struct bench_quantiles *more =
        realloc(m->rounds, (size_t)(m->rounds_done + 1) * sizeof *m->rounds);
    if (more == NULL) {
        bench_fail("no memory for rounds");
    }
    m->rounds = more;
    m->rounds[m->rounds_done++] = q;
    m->count = 0;
}

void bench_sample_longest(struct bench_measure *m, uint64_t start)
{
    uint64_t mine = bench_now() - start;
    uint64_t longest = 0;
    MPI_Allreduce(&mine, &longest, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    bench_sample(m, (double)longest / bench_unit(m));
}
