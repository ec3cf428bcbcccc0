/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-scale: whether the cost of an access grows with the segment or with the
 * number of ranks. Run it on 2 ranks and more, each a domain (RECTO_NODE=rank).
 *
 * Segments of 1 MiB to 8 GiB, sparse, homed at rank 1. Of each:
 *
 *   read miss   rank 0 reads pages spread over all of it, in random order
 *   notice      a barrier after rank 1 wrote one page that rank 0 holds; all ranks
 *               wait there already. Less an idle barrier, it is what telling one
 *               reader costs
 *   barrier     with nothing to do, rank 0 holding the pages it read
 *
 * The floor is MPI_Barrier, and of the misses that of the smallest segment.
 */
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    TOUCHED = 256 /* pages: all of the smallest segment */
};

/* name, MiB */
#define SIZES(X)                                                               \
    X("1 MiB", 1)                                                              \
    X("32 MiB", 32)                                                            \
    X("1 GiB", 1024)                                                           \
    X("8 GiB", 8192)

static const uint64_t sizes[] = {
#define MIB(name, mib) mib,
    SIZES(MIB)
#undef MIB
};

enum {
    COUNT = sizeof sizes / sizeof sizes[0],
    MPI_MEET = 0,
    READ_MISS, /* and so on: one of each for each size */
    NOTICE,
    BARRIER,
    KINDS = BARRIER,
    MEASURES = 1 + KINDS * COUNT
};

static const char *const names[] = {
#define NAMES(name, mib)                                                       \
    "read miss, " name, "barrier with a notice, " name, "idle barrier, " name,
    SIZES(NAMES)
#undef NAMES
};

static struct bench_measure measures[MEASURES];

static struct bench_measure *measure(int kind, int size)
{
    return &measures[size * KINDS + kind];
}

static const char help[] =
    "Usage: RECTO_NODE=rank mpirun -n RANKS bench-scale [OPTION]...\n"
    "Costs of accesses to segments of 1 MiB to 8 GiB.\n"
    "\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    uint64_t (*segments[COUNT])[WORDS];
    uint64_t *order;
    uint64_t written;
} bench;

static uint64_t page_of(int size, uint64_t i)
{
    uint64_t pages = sizes[size] * 1048576 / PAGE;
    return bench.order[i] * (pages / TOUCHED);
}

static void misses(int size)
{
    uint64_t(*segment)[WORDS] = bench.segments[size];
    for (uint64_t i = 0; recto_rank() == 1 && i < TOUCHED; i++) {
        segment[page_of(size, i)][0] = bench.written + i;
    }
    recto_barrier();
    bench_meet();
    for (uint64_t i = 0; recto_rank() == 0 && i < TOUCHED; i++) {
        volatile uint64_t *word = &segment[page_of(size, i)][0];
        uint64_t start = bench_now();
        uint64_t value = *word;
        bench_sample_time(measure(READ_MISS, size), start, 1);
        if (value != bench.written + i) {
            bench_fail("%" PRIu64 " MiB: wrong value", sizes[size]);
        }
    }
    bench_meet();
    bench_round(measure(READ_MISS, size), 0);
}

static void notices(int size)
{
    volatile uint64_t *word = &bench.segments[size][page_of(size, 0)][1];
    int count = bench.options.quick ? 5 : 50;
    for (int i = 0; i < count; i++) {
        recto_barrier();
        uint64_t old = recto_rank() == 0 ? *word : 0; /* now it is held */
        bench_meet();
        if (recto_rank() == 1) {
            bench_sleep(500);
            *word += 1;
        }
        uint64_t start = bench_now();
        recto_barrier();
        if (recto_rank() == 1) {
            bench_sample_time(measure(NOTICE, size), start, 1);
        }
        if (recto_rank() == 0 && *word != old + 1) {
            bench_fail("%" PRIu64 " MiB: a notice was lost", sizes[size]);
        }
    }
    bench_meet();
    bench_round(measure(NOTICE, size), 1);
}

static void barriers(struct bench_measure *m)
{
    int count = bench.options.quick ? 20 : 500;
    bench_meet();
    for (int i = 0; i < count; i++) {
        uint64_t start = bench_now();
        if (m == &measures[MPI_MEET]) {
            MPI_Barrier(MPI_COMM_WORLD);
        } else {
            recto_barrier();
        }
        bench_sample_time(m, start, 1);
    }
    bench_meet();
    bench_round(m, 0);
}

static void round_run(void)
{
    bench.written += TOUCHED;
    barriers(&measures[MPI_MEET]);
    for (int size = 0; size < COUNT; size++) {
        misses(size);
        barriers(measure(BARRIER, size));
        notices(size);
    }
}

int main(int argc, char **argv)
{
    struct bench_options *o = &bench.options;
    struct report_row rows[KINDS * COUNT];
    recto_attr at_home = {.placement = RECTO_AT(1)};
    bench_options_read(o, argc, argv, help, false);
    for (int i = 0; i < MEASURES; i++) {
        measures[i].name = i == MPI_MEET ? "MPI_Barrier" : names[i - 1];
        measures[i].unit = "us";
    }
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    BENCH_OK(recto_init(&argc, &argv));
    if (recto_size() < 2 || recto_nodes() != recto_size()) {
        bench_fail("needs 2 ranks, each a domain: RECTO_NODE=rank mpirun -n 2");
    }
    for (int size = 0; size < COUNT; size++) {
        for (int kind = READ_MISS; kind <= BARRIER; kind++) {
            rows[size * KINDS + kind - 1] = (struct report_row){
                .figure = size * KINDS + kind,
                .floor = {kind == READ_MISS ? READ_MISS : MPI_MEET,
                          REPORT_NONE}
            };
        }
    }
    struct report report = {
        .program = "bench-scale",
        .options = o,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = KINDS * COUNT,
        .size_is = "MiB of the largest segment",
    };
    o->size = sizes[COUNT - 1];
    report_begin(&report);
    bench.order = bench_order(TOUCHED, 20260303);
    for (int size = 0; size < COUNT; size++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bench/scale/%" PRIu64, sizes[size]);
        bench.segments[size] =
            recto_alloc(name, sizes[size] * 1048576, &at_home);
        if (bench.segments[size] == NULL) {
            bench_fail("%s", recto_last_error());
        }
    }
    for (int i = 0; i < o->rounds; i++) {
        round_run();
    }
    report_all(&report);
    free(bench.order);
    bench_measures_free(measures, MEASURES);
    BENCH_OK(recto_finalize());
    return 0;
}
