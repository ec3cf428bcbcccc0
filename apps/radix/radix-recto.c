/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * radix-recto: keys, staged keys and counts lie in shared memory, every rank's
 * blocks at home with it; each rank gathers its keys from the others' staged
 * blocks by plain loads.
 *
 * Invariants
 * 1. A rank writes its own blocks only.
 * 2. Between two barriers nobody writes what another rank reads: keys are read
 *    by others never, staged keys and counts after the pass's first barrier.
 */
#include <recto.h>
#include <stdio.h>
#include <string.h>

#include "radix.h"

static const char name[] = "radix-recto";
static const char launch[] = "mpirun -n RANKS radix-recto";

/* Shared by all ranks. */
struct shared {
    uint64_t *keys;   /* n */
    uint64_t *staged; /* n */
    uint64_t *counts; /* RADIX_ROW for each rank */
    uint64_t *ends;   /* likewise: the last key, the hashes of the input */
    struct radix_check *check;
};

/* Collective calls fail on all ranks alike, so one of them says why. */
static int library_failed(void)
{
    if (recto_rank() <= 0) {
        (void)program_fail(name, "%s", recto_last_error());
    }
    return -1;
}

static int barrier(void)
{
    return recto_barrier() == 0 ? 0 : library_failed();
}

static int allocate(struct shared *s, size_t n)
{
    const uint64_t all[] = {n};
    const uint64_t rows[] = {(uint64_t)recto_size(), RADIX_ROW};
    /* NULL: blocks of pages go to the ranks in order, as keys do */
    s->keys = recto_array("keys", RECTO_UINT64, 1, all, NULL);
    s->staged = recto_array("staged", RECTO_UINT64, 1, all, NULL);
    s->counts = recto_array("counts", RECTO_UINT64, 2, rows, NULL);
    s->ends = recto_array("ends", RECTO_UINT64, 2, rows, NULL);
    s->check = recto_alloc("check", sizeof *s->check, NULL);
    return s->keys != NULL && s->staged != NULL && s->counts != NULL &&
                   s->ends != NULL && s->check != NULL
               ? 0
               : library_failed();
}

static struct program_part part_of(size_t n, int rank)
{
    return program_part(n, sizeof(uint64_t), rank, recto_size());
}

static void gather(const struct shared *s, size_t n)
{
    struct program_part mine = part_of(n, recto_rank());
    for (int i = 0; i < recto_size(); i++) {
        /* not all from the same rank at once */
        int source = (recto_rank() + i) % recto_size();
        const uint64_t *staged = s->staged + part_of(n, source).first;
        struct radix_walk walk;
        struct radix_run run;
        size_t from = 0;
        size_t count =
            radix_between(s->counts, recto_size(), source, mine, &from);
        (void)recto_prefetch(staged + from, count * sizeof *staged);
        radix_walk_start(&walk, s->counts, recto_size(), source, mine);
        while (radix_walk_next(&walk, &run)) {
            memcpy(s->keys + mine.first + run.to, staged + run.from,
                   run.count * sizeof *staged);
        }
    }
}

static int sort(const struct shared *s, size_t n)
{
    struct program_part mine = part_of(n, recto_rank());
    uint64_t *counts = s->counts + (size_t)recto_rank() * RADIX_ROW;
    for (int pass = 0; pass < RADIX_PASSES; pass++) {
        radix_stage(s->keys + mine.first, mine.last - mine.first, pass,
                    s->staged + mine.first, counts);
        if (barrier() != 0) {
            return -1;
        }
        gather(s, n);
        if (barrier() != 0) {
            return -1;
        }
    }
    return 0;
}

/* The last key of the blocks before mine. */
static uint64_t key_before(const struct shared *s, size_t n)
{
    for (int r = recto_rank() - 1; r >= 0; r--) {
        struct program_part part = part_of(n, r);
        if (part.first < part.last) {
            return s->ends[(size_t)r * RADIX_ROW];
        }
    }
    return 0;
}

static int check(const struct shared *s, size_t n)
{
    struct program_part mine = part_of(n, recto_rank());
    if (mine.first < mine.last) {
        s->ends[(size_t)recto_rank() * RADIX_ROW] = s->keys[mine.last - 1];
    }
    if (barrier() != 0) {
        return -1;
    }
    struct radix_check c =
        radix_verify(mine, s->keys + mine.first, key_before(s, n));
    (void)recto_fetch_add_u64(&s->check->hashes, c.hashes);
    (void)recto_fetch_add_u64(&s->check->checksum, c.checksum);
    (void)recto_fetch_add_u64(&s->check->wrong, c.wrong);
    return barrier();
}

/* Returns the exit code. */
static int run(const struct radix_options *o)
{
    struct program_report report = {"radix", "recto", recto_size(),
                                    o->json, 0,       {{0}}};
    struct shared s;
    size_t n = (size_t)o->n;
    bool first = recto_rank() == 0;
    if (allocate(&s, n) != 0) {
        return PROGRAM_FAILED;
    }
    if (first) {
        radix_say(&report, n);
    }
    struct program_part mine = part_of(n, recto_rank());
    double started = program_now();
    s.ends[(size_t)recto_rank() * RADIX_ROW + 1] =
        radix_fill(mine, s.keys + mine.first);
    if (barrier() != 0) {
        return PROGRAM_FAILED;
    }
    double filled = program_now();
    if (sort(&s, n) != 0) {
        return PROGRAM_FAILED;
    }
    double sorted = program_now();
    if (o->spoil && first) {
        radix_spoil(mine, s.keys);
    }
    if (check(&s, n) != 0) {
        return PROGRAM_FAILED;
    }
    uint64_t hashes = 0;
    for (int r = 0; r < recto_size(); r++) {
        hashes += s.ends[(size_t)r * RADIX_ROW + 1];
    }
    if (!first) {
        return s.check->wrong == 0 && s.check->hashes == hashes
                   ? PROGRAM_OK
                   : PROGRAM_FAILED;
    }
    program_phase(&report, "fill", filled - started);
    program_phase(&report, "sort", sorted - filled);
    program_phase(&report, "check", program_now() - sorted);
    return radix_end(&report, n, hashes, s.check);
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
    if (recto_init(&argc, &argv) != 0) {
        (void)library_failed();
        return PROGRAM_FAILED;
    }
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        code = run(&o);
    } else if (recto_rank() == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    if (recto_finalize() != 0) {
        (void)library_failed();
        code = PROGRAM_FAILED;
    }
    return code;
}
