/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * radix-mpi: every rank holds its block; a pass sends each rank, by MPI_Alltoallv,
 * the keys whose places are its own. What a rank sends to another lies together in
 * its staged block, since both are in the order of all keys.
 */
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "radix.h"

static const char name[] = "radix-mpi";
static const char launch[] = "mpirun -n RANKS radix-mpi";

static int ranks;
static int rank;

struct local {
    uint64_t *keys, *staged, *arrived; /* a block each */
    uint64_t *counts;                  /* RADIX_ROW for each rank */
    int *sizes;                        /* sent, from; received, at: by rank */
};

static struct program_part part_of(size_t n, int r)
{
    return program_part(n, sizeof(uint64_t), r, ranks);
}

static int allocate(struct local *l, size_t n)
{
    struct program_part mine = part_of(n, rank);
    size_t bytes = (mine.last - mine.first + 1) * sizeof(uint64_t);
    l->keys = malloc(bytes);
    l->staged = malloc(bytes);
    l->arrived = malloc(bytes);
    l->counts = malloc((size_t)ranks * RADIX_ROW * sizeof(uint64_t));
    l->sizes = malloc(4 * (size_t)ranks * sizeof(int));
    return l->keys != NULL && l->staged != NULL && l->arrived != NULL &&
                   l->counts != NULL && l->sizes != NULL
               ? 0
               : -1;
}

static void release(struct local *l)
{
    free(l->keys);
    free(l->staged);
    free(l->arrived);
    free(l->counts);
    free(l->sizes);
}

static void exchange(const struct local *l, size_t n)
{
    int *sent = l->sizes;
    int *from = sent + ranks;
    int *received = from + ranks;
    int *at = received + ranks;
    size_t arrived = 0;
    for (int r = 0; r < ranks; r++) {
        size_t start = 0;
        sent[r] =
            (int)radix_between(l->counts, ranks, rank, part_of(n, r), &start);
        from[r] = (int)start;
        received[r] =
            (int)radix_between(l->counts, ranks, r, part_of(n, rank), &start);
        at[r] = (int)arrived;
        arrived += (size_t)received[r];
    }
    (void)MPI_Alltoallv(l->staged, sent, from, MPI_UINT64_T, l->arrived,
                        received, at, MPI_UINT64_T, MPI_COMM_WORLD);
    for (int r = 0; r < ranks; r++) {
        const uint64_t *keys = l->arrived + at[r];
        struct radix_walk walk;
        struct radix_run run;
        radix_walk_start(&walk, l->counts, ranks, r, part_of(n, rank));
        while (radix_walk_next(&walk, &run)) {
            memcpy(l->keys + run.to, keys, run.count * sizeof *keys);
            keys += run.count;
        }
    }
}

static void sort(const struct local *l, size_t n)
{
    struct program_part mine = part_of(n, rank);
    for (int pass = 0; pass < RADIX_PASSES; pass++) {
        radix_stage(l->keys, mine.last - mine.first, pass, l->staged,
                    l->counts + (size_t)rank * RADIX_ROW);
        (void)MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, l->counts,
                            RADIX_ROW, MPI_UINT64_T, MPI_COMM_WORLD);
        exchange(l, n);
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
}

static struct radix_check check(const struct local *l, size_t n)
{
    struct program_part mine = part_of(n, rank);
    size_t count = mine.last - mine.first;
    uint64_t last = count > 0 ? l->keys[count - 1] : 0;
    uint64_t before = 0;
    /* blocks ascend, so the last key before mine is the largest */
    (void)MPI_Exscan(&last, &before, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    struct radix_check c = radix_verify(mine, l->keys, rank > 0 ? before : 0);
    uint64_t sums[] = {c.hashes, c.checksum, c.wrong};
    (void)MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_UINT64_T, MPI_SUM,
                        MPI_COMM_WORLD);
    return (struct radix_check){sums[0], sums[1], sums[2]};
}

/* Returns the exit code. */
static int run(const struct radix_options *o, const struct local *l)
{
    struct program_report report = {"radix", "mpi", ranks, o->json, 0, {{0}}};
    size_t n = (size_t)o->n;
    struct program_part mine = part_of(n, rank);
    if (rank == 0) {
        radix_say(&report, n);
    }
    double started = program_now();
    uint64_t hashes = radix_fill(mine, l->keys);
    (void)MPI_Allreduce(MPI_IN_PLACE, &hashes, 1, MPI_UINT64_T, MPI_SUM,
                        MPI_COMM_WORLD);
    double filled = program_now();
    sort(l, n);
    double sorted = program_now();
    if (o->spoil && rank == 0) {
        radix_spoil(mine, l->keys);
    }
    struct radix_check c = check(l, n);
    if (rank != 0) {
        return c.wrong == 0 && c.hashes == hashes ? PROGRAM_OK : PROGRAM_FAILED;
    }
    program_phase(&report, "fill", filled - started);
    program_phase(&report, "sort", sorted - filled);
    program_phase(&report, "check", program_now() - sorted);
    return radix_end(&report, n, hashes, &c);
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
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN && part_of((size_t)o.n, 0).last > INT_MAX) {
        code = PROGRAM_FAILED;
        if (rank == 0) {
            (void)program_fail(name,
                               "--n %lld: MPI counts %d keys a rank at "
                               "most; give more ranks",
                               (long long)o.n, INT_MAX);
        }
    } else if (action == PROGRAM_RUN) {
        struct local l = {0};
        if (allocate(&l, (size_t)o.n) != 0) {
            (void)program_fail(name, "rank %d: out of memory", rank);
            (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
        }
        code = run(&o, &l);
        release(&l);
    } else if (rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
