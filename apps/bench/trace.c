/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-trace: what RECTO_TRACE costs. Two ranks, each a domain of its own
 * (RECTO_NODE=rank). In each round Recto is started and ended in turn without and with a
 * trace, and does what faults most:
 *
 *   read miss     rank 0 reads pages that rank 1 wrote, random order   page
 *   first write   rank 0 writes one word of each, random order         page
 *   words home    the release after that                               page
 *   lock          takes and gives one that nobody else wants           call
 *
 * Times are processor time of rank 0's thread. The floor of each is the same without a
 * trace; the ratio is the price. No program does these things alone, so its own price
 * is smaller: the last figure, "sweep", is reading, adding up and writing all of these
 * pages, faults and release included. The trace goes to --dir.
 */
#include <mpi.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/bench.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    TURNS = 3, /* in a round */
    LOCKS = 20000
};

enum kind {
    READ,
    WRITE,
    HOME,
    LOCK,
    SWEEP,
    KINDS
};

enum measure {
    TRACED,
    PLAIN = TRACED + KINDS,
    MEASURES = PLAIN + KINDS
};

static struct bench_measure measures[MEASURES] = {
    [TRACED + READ] = {.name = "traced: read miss",   .unit = "us"},
    [TRACED + WRITE] = {.name = "traced: first write", .unit = "us"},
    [TRACED + HOME] = {.name = "traced: words home",  .unit = "us"},
    [TRACED + LOCK] = {.name = "traced: lock",        .unit = "us"},
    [TRACED + SWEEP] = {.name = "traced: sweep",       .unit = "us"},
    [PLAIN + READ] = {.name = "plain: read miss",    .unit = "us"},
    [PLAIN + WRITE] = {.name = "plain: first write",  .unit = "us"},
    [PLAIN + HOME] = {.name = "plain: words home",   .unit = "us"},
    [PLAIN + LOCK] = {.name = "plain: lock",         .unit = "us"},
    [PLAIN + SWEEP] = {.name = "plain: sweep",        .unit = "us"},
};

static const struct report_row rows[] = {
    {TRACED + READ,  {PLAIN + READ, REPORT_NONE} },
    {TRACED + WRITE, {PLAIN + WRITE, REPORT_NONE}},
    {TRACED + HOME,  {PLAIN + HOME, REPORT_NONE} },
    {TRACED + LOCK,  {PLAIN + LOCK, REPORT_NONE} },
    {TRACED + SWEEP, {PLAIN + SWEEP, REPORT_NONE}},
};

static const char help[] =
    "Usage: mpirun -n 2 bench-trace [OPTION]...\n"
    "What recording a trace costs: faults, write-backs and locks with one, over those\n"
    "without. Set RECTO_NODE=rank.\n"
    "\n"
    "  --dir FOLDER     where the trace goes (.); it is removed\n"
    "  --size BYTES     shared memory (64M; quick: 4M)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    int rank;
    uint64_t pages;
    uint64_t *order;
    uint64_t (*array)[WORDS];
    uint64_t value; /* that rank 1 has written */
    char path[4096];
} bench;

/* ---- a turn ----------------------------------------------------------------------- */

/* Processor time of this thread, us. */
static double used(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void pages_read(struct bench_measure *m)
{
    double start = used();
    for (uint64_t i = 0; i < bench.pages; i++) {
        if (bench.array[bench.order[i]][0] != bench.value) {
            bench_fail("a page was read wrongly");
        }
    }
    bench_sample(m, (used() - start) / (double)bench.pages);
}

static void pages_write(struct bench_measure *m)
{
    double start = used();
    for (uint64_t i = 0; i < bench.pages; i++) {
        bench.array[bench.order[i]][8] = bench.value;
    }
    bench_sample(m, (used() - start) / (double)bench.pages);
}

static void words_home(struct bench_measure *m)
{
    double start = used();
    BENCH_OK(recto_release());
    bench_sample(m, (used() - start) / (double)bench.pages);
}

static void lock_take(struct bench_measure *m, recto_lock_t lock)
{
    double start = used();
    for (int i = 0; i < LOCKS; i++) {
        BENCH_OK(recto_lock(lock));
        BENCH_OK(recto_unlock(lock));
    }
    bench_sample(m, (used() - start) / LOCKS);
}

static void sweep(struct bench_measure *m)
{
    double start = used();
    for (uint64_t i = 0; i < bench.pages; i++) {
        uint64_t *page = bench.array[bench.order[i]];
        uint64_t sum = 0;
        for (int w = 0; w < WORDS; w++) {
            sum += page[w];
        }
        for (int w = WORDS / 2; w < WORDS; w++) {
            page[w] += sum;
        }
    }
    BENCH_OK(recto_release());
    bench_sample(m, (used() - start) / (double)bench.pages);
}

/* Rank 1's pages, written by it; nobody else has a copy that holds. */
static void prepare_turn(void)
{
    bench.value++;
    for (uint64_t p = 0; bench.rank == 1 && p < bench.pages; p++) {
        bench.array[p][0] = bench.value;
    }
    BENCH_OK(recto_barrier());
}

static void turn(enum measure base, recto_lock_t lock)
{
    prepare_turn();
    if (bench.rank == 0) {
        pages_read(&measures[base + READ]);
        pages_write(&measures[base + WRITE]);
        words_home(&measures[base + HOME]);
        lock_take(&measures[base + LOCK], lock);
    }
    bench_meet();
    prepare_turn();
    if (bench.rank == 0) {
        sweep(&measures[base + SWEEP]);
    }
    bench_meet();
}

/* ---- rounds ------------------------------------------------------------------------ */

static void run(enum measure base)
{
    recto_attr attr = {.placement = RECTO_AT(1)};
    recto_lock_t lock;
    /* Recto does not run yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    (void)setenv("RECTO_TRACE", base == TRACED ? bench.path : "", 1);
    BENCH_OK(recto_init(NULL, NULL));
    bench.array = recto_alloc("bench/trace", bench.pages * PAGE, &attr);
    if (bench.array == NULL) {
        bench_fail("%s", recto_last_error());
    }
    BENCH_OK(recto_lock_create(&lock));
    for (int i = 0; i < TURNS; i++) {
        turn(base, lock);
    }
    BENCH_OK(recto_finalize());
}

static void round_run(int number)
{
    /* who comes first takes turns */
    run(number % 2 == 0 ? TRACED : PLAIN);
    run(number % 2 == 0 ? PLAIN : TRACED);
    for (int i = 0; i < MEASURES; i++) {
        bench_round(&measures[i], 0);
    }
}

static void prepare(void)
{
    struct bench_options *o = &bench.options;
    const char *dir = o->dir != NULL ? o->dir : ".";
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 9);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 4 : 64) << 20;
    bench.pages = o->size / PAGE;
    bench.order = bench_order(bench.pages, 7);
    if (snprintf(bench.path, sizeof bench.path, "%.4000s/bench-trace", dir) <
        0) {
        bench_fail("path too long");
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): likewise; all of it has room */
    (void)setenv("RECTO_TRACE_SIZE", "256M", 1);
}

static void trace_remove(void)
{
    char path[sizeof bench.path + 16];
    (void)snprintf(path, sizeof path, "%s.%d", bench.path, bench.rank);
    (void)remove(path);
}

int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    int ranks = 0;
    bench_options_read(&bench.options, argc, argv, help, true);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &bench.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks != 2) {
        bench_fail("2 ranks are needed");
    }
    prepare();
    struct report report = {.program = "bench-trace",
                            .options = &bench.options,
                            .measures = measures,
                            .measures_count = MEASURES,
                            .rows = rows,
                            .rows_count = sizeof rows / sizeof rows[0]};
    BENCH_OK(recto_init(NULL, NULL));
    report_begin(&report);
    BENCH_OK(recto_finalize());
    for (int i = 0; i < bench.options.rounds; i++) {
        round_run(i);
    }
    trace_remove();
    report_all(&report);
    bench_measures_free(measures, MEASURES);
    free(bench.order);
    MPI_Finalize();
    return 0;
}
