/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-nodes: what crosses machines. 2 ranks that share no memory: on two nodes, or on
 * one with RECTO_NODE=rank RECTO_TRANSPORT=mpi. Rank 1 is the home, rank 0 is timed.
 *
 *   read miss        a page that the home has written; while rank 1 waits, while it
 *                    computes and never calls MPI, and the same after a pause in which
 *                    its service thread has gone to sleep
 *   read, a MiB      a sum over 1 MiB, page by page, and by recto_prefetch
 *   scattered        256 pages of which every other is read, fetched ahead at once
 *   release          of words in 1, 16 and 256 pages of rank 1, none, few and all of
 *                    their bytes; what is written is there when recto_release returns
 *   lock, fetch_add  that live at rank 1
 *   barrier          with nothing to do
 *   idle thread      share of a core that Recto's and MPI's threads of a rank use which
 *                    sleeps, beside what the rank itself uses
 *
 * Floors of the same run, by MPI in the program's own thread: a message both ways
 * (ping-pong), MPI_Get and MPI_Put with a flush while rank 1 is inside MPI.
 */
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bench.h"
#include "common/floors.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    MIB_PAGES = 256,
    PAGES = 1024, /* reads of a round, and */
    APART = 8     /* how far they lie apart: none goes on where another ended */
};

enum measure {
    PING,
    GET_PAGE,
    GET_MIB,
    PUT_MIB,
    MPI_MEET,
    MISS,
    MISS_BUSY,
    MISS_BUSY_99,
    MISS_BUSY_MOST,
    MISS_ASLEEP,
    MISS_ASLEEP_99,
    MISS_ASLEEP_MOST,
    MSI_MISS,
    MSI_BUSY,
    READ_MIB,
    PREFETCH_MIB,
    SCATTERED,
    RELEASE_1,
    RELEASE_16,
    RELEASE_256,
    RELEASE_MIB,
    LOCK,
    FETCH_ADD,
    BARRIER,
    IDLE,
    MEASURES
};

static struct bench_measure measures[MEASURES] = {
    [PING] = {"MPI message both ways",               .unit = "us"},
    [GET_PAGE] = {"MPI_Get of 4 KiB",                    .unit = "us"},
    [GET_MIB] = {"MPI_Get of 1 MiB",                    .unit = "us"},
    [PUT_MIB] = {"MPI_Put of 1 MiB",                    .unit = "us"},
    [MPI_MEET] = {"MPI_Barrier",                         .unit = "us"},
    [MISS] = {"read miss",                           .unit = "us"},
    [MISS_BUSY] = {"read miss, home computes",            .unit = "us"},
    [MISS_BUSY_99] = {"read miss, home computes, 99 %",      .unit = "us"},
    [MISS_BUSY_MOST] = {"read miss, home computes, longest",   .unit = "us"},
    [MISS_ASLEEP] = {"read miss after a pause",             .unit = "us"},
    [MISS_ASLEEP_99] = {"read miss after a pause, 99 %",       .unit = "us"},
    [MISS_ASLEEP_MOST] = {"read miss after a pause, longest",    .unit = "us"},
    [MSI_MISS] = {"sequential memory: read miss",        .unit = "us"},
    [MSI_BUSY] = {"the same, home computes",             .unit = "us"},
    [READ_MIB] = {"read of 1 MiB",                       .unit = "us"},
    [PREFETCH_MIB] = {"prefetch of 1 MiB",                   .unit = "us"},
    [SCATTERED] = {"prefetch of 128 scattered pages",     .unit = "us"},
    [RELEASE_1] = {"release of a word in 1 page",         .unit = "us"},
    [RELEASE_16] = {"release of words in 16 pages",        .unit = "us"},
    [RELEASE_256] = {"release of words in 256 pages",       .unit = "us"},
    [RELEASE_MIB] = {"release of 1 MiB",                    .unit = "us"},
    [LOCK] = {"lock and unlock",                     .unit = "us"},
    [FETCH_ADD] = {"fetch_add",                           .unit = "us"},
    [BARRIER] = {"barrier",                             .unit = "us"},
    [IDLE] = {"idle rank: its threads, % of a core", .unit = "%" },
};

static const struct report_row rows[] = {
    {MISS,             {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS,             {PING, REPORT_NONE, REPORT_NONE}    },
    {MISS_BUSY,        {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS_BUSY_99,     {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS_BUSY_MOST,   {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS_ASLEEP,      {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS_ASLEEP_99,   {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MISS_ASLEEP_MOST, {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MSI_MISS,         {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {MSI_BUSY,         {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {READ_MIB,         {GET_MIB, REPORT_NONE, REPORT_NONE} },
    {PREFETCH_MIB,     {GET_MIB, REPORT_NONE, REPORT_NONE} },
    {SCATTERED,        {GET_PAGE, REPORT_NONE, REPORT_NONE}},
    {RELEASE_1,        {PING, REPORT_NONE, REPORT_NONE}    },
    {RELEASE_16,       {PING, REPORT_NONE, REPORT_NONE}    },
    {RELEASE_256,      {PING, REPORT_NONE, REPORT_NONE}    },
    {RELEASE_MIB,      {PUT_MIB, REPORT_NONE, REPORT_NONE} },
    {LOCK,             {PING, REPORT_NONE, REPORT_NONE}    },
    {FETCH_ADD,        {PING, REPORT_NONE, REPORT_NONE}    },
    {BARRIER,          {MPI_MEET, REPORT_NONE, REPORT_NONE}},
};

static const char help[] =
    "Usage: mpirun -n 2 bench-nodes [OPTION]...\n"
    "Costs of what crosses machines; 2 ranks that share no memory.\n"
    "\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    uint64_t (*memory)[WORDS];     /* release consistent */
    uint64_t (*sequential)[WORDS]; /* both homed at rank 1 */
    uint64_t (*private)[WORDS];
    MPI_Win window;
    recto_lock_t lock;
    uint64_t *order;
    uint64_t written;
} bench;

static int samples(int most)
{
    return bench.options.quick ? most / 20 : most;
}

/* ---- floors ---------------------------------------------------------------------- */

/* Rank 1 waits inside MPI for the end. */
static void one_sided(struct bench_measure *m, int bytes, bool put, int count)
{
    int end = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; bench_rank() == 0 && i < count; i++) {
        uint64_t start = bench_now();
        if (put) {
            MPI_Put(bench.private, bytes, MPI_BYTE, 1, 0, bytes, MPI_BYTE,
                    bench.window);
        } else {
            MPI_Get(bench.private, bytes, MPI_BYTE, 1, 0, bytes, MPI_BYTE,
                    bench.window);
        }
        MPI_Win_flush(1, bench.window);
        bench_sample_time(m, start, 1);
    }
    MPI_Bcast(&end, 1, MPI_INT, 0, MPI_COMM_WORLD);
    bench_meet();
    bench_round(m, 0);
}

static void floors(void)
{
    floor_message(&measures[PING], samples(1000));
    one_sided(&measures[GET_PAGE], PAGE, false, samples(1000));
    one_sided(&measures[GET_MIB], MIB_PAGES * PAGE, false, samples(100));
    one_sided(&measures[PUT_MIB], MIB_PAGES * PAGE, true, samples(100));
}

/* ---- reads ----------------------------------------------------------------------- */

/* Rank 1 writes all pages; afterwards nobody holds a copy. */
static void written_by_home(uint64_t (*memory)[WORDS])
{
    bench.written++;
    for (uint64_t i = 0; recto_rank() == 1 && i < (uint64_t)PAGES * APART;
         i++) {
        memory[i][0] = bench.written + i;
    }
    BENCH_OK(recto_barrier());
}

/* What rank 1 does until rank 0 has read: it waits, or computes and calls nobody. */
enum home {
    WAITS,
    COMPUTES
};

/* Rank 0 cannot tell the end to a rank that calls nobody: it computes for a given time,
 * and what does not fit in is not read. */
static double compute(double seconds)
{
    double x = 1;
    for (uint64_t end = bench_now() + (uint64_t)(seconds * 1e9);
         bench_now() < end;) {
        for (int i = 0; i < 1000; i++) {
            x = x * 1.0000001 + 1e-9;
        }
    }
    return x;
}

struct reads {
    uint64_t (*memory)[WORDS];
    enum home home;
    long pause_us; /* before each read */
    int count;
    double seconds; /* that the home computes */
    struct bench_measure
        *m; /* and, if it has more, two that follow: 99 %, longest */
    bool tail;
};

static void read_all(const struct reads *r)
{
    uint64_t deadline = bench_now() + (uint64_t)(r->seconds * 0.9e9);
    for (int i = 0; i < r->count; i++) {
        uint64_t page = bench.order[i] * APART;
        if (r->pause_us > 0) {
            bench_sleep(r->pause_us);
        }
        uint64_t start = bench_now();
        if (r->home == COMPUTES && start > deadline) {
            break;
        }
        uint64_t value = *(volatile uint64_t *)&r->memory[page][0];
        bench_sample_time(r->m, start, 1);
        if (value != bench.written + page) {
            bench_fail("page %" PRIu64 ": wrong value", page);
        }
    }
}

static void reads(const struct reads *r)
{
    volatile double result = 0;
    written_by_home(r->memory);
    bench_meet();
    if (bench_rank() == 0) {
        if (r->home == COMPUTES) {
            bench_sleep(20000); /* it computes by now */
        }
        read_all(r);
    } else if (r->home == COMPUTES) {
        result = compute(r->seconds);
    }
    (void)result;
    if (r->tail && bench_rank() == 0) {
        double *sorted = bench_memory(r->m->count + 1, sizeof *sorted);
        memcpy(sorted, r->m->samples, r->m->count * sizeof *sorted);
        bench_sample(r->m + 1, bench_quantile(sorted, r->m->count, 0.99));
        bench_sample(r->m + 2, bench_quantile(sorted, r->m->count, 1));
        free(sorted);
    }
    bench_meet();
    bench_round(r->m, 0);
    if (r->tail) {
        bench_round(r->m + 1, 0);
        bench_round(r->m + 2, 0);
    }
}

static void misses(void)
{
    int count = samples(PAGES);
    const struct reads all[] = {
        {bench.memory,     WAITS,    0,    count, 0,                             &measures[MISS],     false},
        {bench.memory,     COMPUTES, 0,    count, bench.options.quick ? 0.5 : 3,
         &measures[MISS_BUSY],                                                                        true },
        {bench.memory,     COMPUTES, 2000, count, bench.options.quick ? 0.5 : 6,
         &measures[MISS_ASLEEP],                                                                      true },
        {bench.sequential, WAITS,    0,    count, 0,                             &measures[MSI_MISS], false},
        {bench.sequential, COMPUTES, 0,    count, bench.options.quick ? 0.5 : 3,
         &measures[MSI_BUSY],                                                                         false},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        reads(&all[i]);
    }
}

static void sum_check(uint64_t first, uint64_t count, uint64_t step)
{
    uint64_t sum = 0;
    uint64_t right = 0;
    for (uint64_t p = first; p < first + count; p += step) {
        sum += *(volatile uint64_t *)&bench.memory[p][0];
        right += bench.written + p;
    }
    if (sum != right) {
        bench_fail("wrong sum");
    }
}

static void large_reads(void)
{
    for (int k = 0; k < samples(40); k++) {
        written_by_home(bench.memory);
        bench_meet();
        if (bench_rank() == 0) {
            uint64_t start = bench_now();
            sum_check(0, MIB_PAGES, 1);
            bench_sample_time(&measures[READ_MIB], start, 1);
            start = bench_now();
            BENCH_OK(recto_prefetch(bench.memory[MIB_PAGES],
                                    (uint64_t)MIB_PAGES * PAGE));
            bench_sample_time(&measures[PREFETCH_MIB], start, 1);
            sum_check(MIB_PAGES, MIB_PAGES, 1);
            /* every other page is here: what is missing are 128 pieces */
            sum_check((uint64_t)2 * MIB_PAGES, MIB_PAGES, 2);
            start = bench_now();
            BENCH_OK(recto_prefetch(bench.memory[2 * MIB_PAGES],
                                    (uint64_t)MIB_PAGES * PAGE));
            bench_sample_time(&measures[SCATTERED], start, 1);
        }
        bench_meet();
    }
    bench_round(&measures[READ_MIB], 0);
    bench_round(&measures[PREFETCH_MIB], 0);
    bench_round(&measures[SCATTERED], 0);
}

/* ---- writes ---------------------------------------------------------------------- */

static void releases(struct bench_measure *m, uint64_t pages, uint64_t words,
                     int count)
{
    for (int k = 0; k < count; k++) {
        written_by_home(bench.memory);
        if (bench_rank() == 0) {
            BENCH_OK(recto_prefetch(bench.memory, pages * PAGE));
            for (uint64_t p = 0; p < pages; p++) {
                for (uint64_t w = 1; w <= words; w++) {
                    bench.memory[p][w] = bench.written + p + w;
                }
            }
            uint64_t start = bench_now();
            BENCH_OK(recto_release());
            bench_sample_time(m, start, 1);
        }
        BENCH_OK(recto_barrier());
        for (uint64_t p = 0; bench_rank() == 1 && p < pages; p++) {
            if (bench.memory[p][words] != bench.written + p + words) {
                bench_fail("page %" PRIu64 ": a write is not here", p);
            }
        }
        BENCH_OK(recto_barrier());
    }
    bench_round(m, 0);
}

/* ---- synchronisation --------------------------------------------------------------- */

static void synchronise(void)
{
    int count = samples(1000);
    int64_t *word = (int64_t *)bench.memory[PAGES * APART];
    bench_meet();
    for (int i = 0; bench_rank() == 0 && i < count; i++) {
        uint64_t start = bench_now();
        BENCH_OK(recto_lock(bench.lock));
        BENCH_OK(recto_unlock(bench.lock));
        bench_sample_time(&measures[LOCK], start, 1);
        start = bench_now();
        (void)recto_fetch_add_i64(word, 1);
        bench_sample_time(&measures[FETCH_ADD], start, 1);
    }
    bench_meet();
    bench_round(&measures[LOCK], 0);
    bench_round(&measures[FETCH_ADD], 0);
    for (int i = 0; i < count; i++) {
        uint64_t start = bench_now();
        MPI_Barrier(MPI_COMM_WORLD);
        bench_sample_time(&measures[MPI_MEET], start, 1);
        start = bench_now();
        BENCH_OK(recto_barrier());
        bench_sample_time(&measures[BARRIER], start, 1);
    }
    bench_round(&measures[MPI_MEET], 0);
    bench_round(&measures[BARRIER], 0);
}

static uint64_t cpu_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void idle(void)
{
    long us = bench.options.quick ? 200000 : 2000000;
    bench_meet();
    bench_sleep(bench.options.quick ? 10000 : 1500000); /* all is quiet */
    uint64_t cpu = cpu_now();
    uint64_t start = bench_now();
    bench_sleep(us);
    bench_sample(&measures[IDLE], 100.0 * (double)(cpu_now() - cpu) /
                                      (double)(bench_now() - start));
    bench_meet();
    bench_round(&measures[IDLE], 0);
}

/* ---- the program ------------------------------------------------------------------- */

static void round_run(void)
{
    floors();
    misses();
    large_reads();
    releases(&measures[RELEASE_1], 1, 1, samples(200));
    releases(&measures[RELEASE_16], 16, 1, samples(100));
    releases(&measures[RELEASE_256], MIB_PAGES, 1, samples(40));
    releases(&measures[RELEASE_MIB], MIB_PAGES, WORDS - 1, samples(40));
    synchronise();
    idle();
}

static void allocate(void)
{
    recto_attr there = {.placement = RECTO_AT(1)};
    recto_attr strict = {.placement = RECTO_AT(1),
                         .consistency = RECTO_SEQUENTIAL};
    uint64_t bytes = ((uint64_t)PAGES * APART + 1) * PAGE;
    bench.memory = recto_alloc("bench/nodes", bytes, &there);
    bench.sequential = recto_alloc("bench/sequential", bytes, &strict);
    if (bench.memory == NULL || bench.sequential == NULL) {
        bench_fail("%s", recto_last_error());
    }
    /* the first is rank 0's, the second rank 1's */
    BENCH_OK(recto_lock_create(&bench.lock));
    BENCH_OK(recto_lock_create(&bench.lock));
    bench.private = bench_memory(MIB_PAGES, PAGE);
    MPI_Win_create(bench.private, (MPI_Aint)MIB_PAGES * PAGE, 1, MPI_INFO_NULL,
                   MPI_COMM_WORLD, &bench.window);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, bench.window);
    bench.order = bench_order(PAGES, 20261126);
}

int main(int argc, char **argv)
{
    struct bench_options *o = &bench.options;
    bench_options_read(o, argc, argv, help, false);
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    BENCH_OK(recto_init(&argc, &argv));
    if (recto_size() != 2 || recto_nodes() != 2) {
        bench_fail("needs 2 ranks on two nodes; on one machine "
                   "RECTO_NODE=rank RECTO_TRANSPORT=mpi");
    }
    struct report report = {
        .program = "bench-nodes",
        .options = o,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    o->size = (uint64_t)PAGES * APART * PAGE;
    report_begin(&report);
    allocate();
    for (int i = 0; i < o->rounds; i++) {
        round_run();
    }
    report_all(&report);
    MPI_Win_unlock_all(bench.window);
    MPI_Win_free(&bench.window);
    free(bench.private);
    free(bench.order);
    bench_measures_free(measures, MEASURES);
    BENCH_OK(recto_finalize());
    return 0;
}
