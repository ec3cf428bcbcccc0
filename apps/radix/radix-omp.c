/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * radix-omp: one process, the threads of an OpenMP team as workers.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "radix.h"

static const char name[] = "radix-omp";
static const char launch[] = "radix-omp";

/* Shared by all threads. */
struct shared {
    size_t n;
    uint64_t *keys, *staged; /* n */
    uint64_t *counts;        /* RADIX_ROW for each thread */
    bool spoil;
    uint64_t hashes;
    struct radix_check check;
    double filled, sorted;
};

static struct program_part part_of(size_t n, int thread)
{
    return program_part(n, sizeof(uint64_t), thread, omp_get_num_threads());
}

static void gather(const struct shared *s, int me, struct program_part mine)
{
    for (int i = 0; i < omp_get_num_threads(); i++) {
        int source = (me + i) % omp_get_num_threads();
        const uint64_t *staged = s->staged + part_of(s->n, source).first;
        struct radix_walk walk;
        struct radix_run run;
        radix_walk_start(&walk, s->counts, omp_get_num_threads(), source, mine);
        while (radix_walk_next(&walk, &run)) {
            memcpy(s->keys + mine.first + run.to, staged + run.from,
                   run.count * sizeof *staged);
        }
    }
}

static void work(struct shared *s)
{
    int me = omp_get_thread_num();
    struct program_part mine = part_of(s->n, me);
    uint64_t hashes = radix_fill(mine, s->keys + mine.first);
#pragma omp atomic
    s->hashes += hashes;
#pragma omp barrier
#pragma omp master
    s->filled = program_now();
    for (int pass = 0; pass < RADIX_PASSES; pass++) {
        radix_stage(s->keys + mine.first, mine.last - mine.first, pass,
                    s->staged + mine.first, s->counts + (size_t)me * RADIX_ROW);
#pragma omp barrier
        gather(s, me, mine);
#pragma omp barrier
    }
#pragma omp master
    {
        s->sorted = program_now();
        if (s->spoil) {
            radix_spoil(mine, s->keys);
        }
    }
#pragma omp barrier
    struct radix_check c = radix_verify(
        mine, s->keys + mine.first,
        mine.first > 0 && mine.first < mine.last ? s->keys[mine.first - 1] : 0);
#pragma omp critical
    radix_check_add(&s->check, &c);
}

static int run(const struct radix_options *o)
{
    size_t n = (size_t)o->n;
    size_t threads = (size_t)omp_get_max_threads();
    struct shared s = {.n = n, .spoil = o->spoil};
    struct program_report report = {"radix", "omp", (int)threads,
                                    o->json, 0,     {{0}}};
    s.keys = malloc(n * sizeof *s.keys);
    s.staged = malloc(n * sizeof *s.staged);
    s.counts = calloc(threads * RADIX_ROW, sizeof *s.counts);
    int code = PROGRAM_FAILED;
    if (s.keys != NULL && s.staged != NULL && s.counts != NULL) {
        radix_say(&report, n);
        double started = program_now();
#pragma omp parallel
        work(&s);
        program_phase(&report, "fill", s.filled - started);
        program_phase(&report, "sort", s.sorted - s.filled);
        program_phase(&report, "check", program_now() - s.sorted);
        code = radix_end(&report, n, s.hashes, &s.check);
    } else {
        (void)program_fail(name, "out of memory");
    }
    free(s.keys);
    free(s.staged);
    free(s.counts);
    return code;
}

int main(int argc, char **argv)
{
    struct radix_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        radix_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        radix_options_help(name, launch);
        return PROGRAM_OK;
    }
    if (action == PROGRAM_WRONG) {
        (void)program_fail(name, "%s; try --help", wrong);
        return PROGRAM_USAGE;
    }
    omp_set_dynamic(0);
    if (o.threads > 0) {
        omp_set_num_threads((int)o.threads);
    }
    return run(&o);
}
