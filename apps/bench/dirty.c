/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-dirty: what it costs a program to have its writes tracked, by write faults, by
 * the kernel's scan and by hash (recto/vm.h alone). Any number of ranks, each with
 * memory of its own.
 *
 * The program rewrites all its memory, sweep after sweep, for an interval of 3 s; then
 * the pages written are collected, which all are. Timed are the whole interval, the
 * first sweep of it, and collecting. The share of an interval is what the first sweep
 * takes beyond the others of the interval, and collecting. Floor: the same sweeps over memory that nobody
 * tracks. Every word is checked at the end, and that all pages were told. Times are the
 * thread's on the processor, in the kernel too, so that it hardly matters who else runs.
 */
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8
};

enum way {
    NONE,
    FAULT,
    SCAN,
    HASH,
    WAYS
};

static const char *const methods[WAYS] = {"", "fault", "scan", "hash"};

enum measure {
    SWEEP,
    FIRST = SWEEP + 1,
    INTERVAL = FIRST + WAYS,
    COLLECT = INTERVAL + WAYS,
    SHARE = COLLECT + WAYS,
    MEASURES = SHARE + WAYS
};

static struct bench_measure measures[MEASURES] = {
    [SWEEP] = {.name = "a sweep, not tracked",               .unit = "ms"},
    [FIRST + NONE] = {.name = "first sweep, not tracked",           .unit = "ms"},
    [FIRST + FAULT] = {.name = "first sweep, by write faults",       .unit = "ms"},
    [FIRST + SCAN] = {.name = "first sweep, by scan",               .unit = "ms"},
    [FIRST + HASH] = {.name = "first sweep, by hash",               .unit = "ms"},
    [INTERVAL + NONE] = {.name = "interval, not tracked",              .unit = "ms"},
    [INTERVAL + FAULT] = {.name = "interval, by write faults",          .unit = "ms"},
    [INTERVAL + SCAN] = {.name = "interval, by scan",                  .unit = "ms"},
    [INTERVAL + HASH] = {.name = "interval, by hash",                  .unit = "ms"},
    [COLLECT + NONE] = {.name = "nothing to collect",                 .unit = "ms"},
    [COLLECT + FAULT] = {.name = "collecting, by write faults",        .unit = "ms"},
    [COLLECT + SCAN] = {.name = "collecting, by scan",                .unit = "ms"},
    [COLLECT + HASH] = {.name = "collecting, by hash",                .unit = "ms"},
    [SHARE + NONE] = {.name = "share of an interval, none",         .unit = "%" },
    [SHARE +
        FAULT] = {.name = "share of an interval, write faults", .unit = "%" },
    [SHARE + SCAN] = {.name = "share of an interval, scan",         .unit = "%" },
    [SHARE + HASH] = {.name = "share of an interval, hash",         .unit = "%" },
};

#define ROW(what, way)                                                         \
    {                                                                          \
        (what) + (way),                                                        \
        {                                                                      \
            (what) + NONE, REPORT_NONE                                         \
        }                                                                      \
    }

static const struct report_row rows[] = {
    ROW(INTERVAL, FAULT),
    ROW(INTERVAL, SCAN),
    ROW(INTERVAL, HASH),
    ROW(FIRST, FAULT),
    ROW(FIRST, SCAN),
    ROW(FIRST, HASH),
    {COLLECT + FAULT, {SWEEP, REPORT_NONE}},
    {COLLECT + SCAN,  {SWEEP, REPORT_NONE}},
    {COLLECT + HASH,  {SWEEP, REPORT_NONE}},
};

static const char help[] =
    "Usage: mpirun -n RANKS bench-dirty [OPTION]...\n"
    "What tracking of writes costs a program that rewrites all its memory.\n"
    "\n"
    "  --size BYTES  memory of each rank (128M; quick: 8M)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    uint64_t pages;
    int sweeps; /* of an interval */
} bench;

struct memory {
    int fd;
    uint64_t *words;
    recto_vm_range *range; /* NULL: nobody tracks it */
};

static uint64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* What has passed since `start`. */
static void sample(int measure, uint64_t start)
{
    bench_sample(&measures[measure], (double)(now() - start) / 1e6);
}

static void tell(uint64_t first, uint64_t count, void *argument)
{
    (void)first;
    *(uint64_t *)argument += count;
}

static uint64_t collect(const struct memory *m)
{
    uint64_t told = 0;
    if (m->range != NULL) {
        BENCH_OK(recto_vm_dirty_runs(m->range, 0, bench.pages, tell, &told));
    }
    return told;
}

static void sweep(uint64_t *words)
{
    for (uint64_t i = 0; i < bench.pages * WORDS; i++) {
        words[i] = words[i] * 3 + 1;
    }
}

static void memory_open(struct memory *m, bool tracked)
{
    void *view = NULL;
    size_t bytes = bench.pages * PAGE;
    BENCH_OK(recto_vm_memory_create("bench", bytes, &m->fd));
    BENCH_OK(recto_vm_map(m->fd, 0, bytes, NULL,
                          tracked ? RECTO_VM_NONE : RECTO_VM_WRITE, &view));
    m->words = view;
    m->range = NULL;
    if (tracked) {
        BENCH_OK(recto_vm_range_create(view, bytes, RECTO_VM_NONE, &m->range));
        BENCH_OK(recto_vm_range_memory(m->range, m->fd, 0));
        BENCH_OK(recto_vm_own_all(m->range));
    }
    sweep(m->words);
    if (tracked) {
        BENCH_OK(recto_vm_dirty_start(m->range));
        (void)collect(m);
    }
}

static void memory_close(struct memory *m)
{
    recto_vm_range_destroy(m->range);
    BENCH_OK(recto_vm_unmap(m->words, bench.pages * PAGE));
    (void)close(m->fd);
}

static void interval(struct memory *m, enum way way)
{
    uint64_t expected = 1;
    uint64_t start = now();
    sweep(m->words);
    sample(FIRST + way, start);
    uint64_t second = now();
    for (int i = 1; i < bench.sweeps; i++) {
        sweep(m->words);
    }
    uint64_t stop = now();
    uint64_t told = collect(m);
    sample(COLLECT + way, stop);
    sample(INTERVAL + way, start);
    double first = (double)(second - start);
    double sweeps = (double)(stop - second) / (bench.sweeps - 1);
    double more = first - sweeps + (double)(now() - stop);
    bench_sample(&measures[SHARE + way],
                 100 * more / (first + sweeps * (bench.sweeps - 1)));
    if (told != (way == NONE ? 0 : bench.pages)) {
        bench_fail("%s told %" PRIu64 " of %" PRIu64 " pages", methods[way],
                   told, bench.pages);
    }
    for (int i = 0; i < bench.sweeps; i++) {
        expected = expected * 3 + 1;
    }
    for (uint64_t i = 0; i < bench.pages * WORDS; i++) {
        if (m->words[i] != expected) {
            bench_fail("word %" PRIu64 " is wrong", i);
        }
    }
}

/* With Recto's setting of the method; false: the kernel cannot. */
static bool method_begin(enum way way)
{
    setenv("RECTO_DIRTY", way == NONE ? "fault" : methods[way], 1);
    int code = recto_vm_init();
    if (code != RECTO_EUNSUPPORTED) {
        BENCH_OK(code);
    }
    return code == 0;
}

static void one(enum way way)
{
    struct memory m;
    if (method_begin(way)) {
        memory_open(&m, way != NONE);
        interval(&m, way);
        memory_close(&m);
        BENCH_OK(recto_vm_finalize());
    }
    bench_round(&measures[FIRST + way], 0);
    bench_round(&measures[INTERVAL + way], 0);
    bench_round(&measures[COLLECT + way], 0);
    bench_round(&measures[SHARE + way], 0);
}

/* How many sweeps an interval has; and what one takes. */
static void calibrate(bool first)
{
    double seconds = bench.options.quick ? 0.1 : 3;
    struct memory m;
    uint64_t best = UINT64_MAX;
    BENCH_OK(recto_vm_init());
    memory_open(&m, false);
    for (int i = 0; i < 4; i++) {
        uint64_t start = now();
        sweep(m.words);
        uint64_t took = now() - start;
        best = took < best ? took : best;
        sample(SWEEP, start);
    }
    bench_round(&measures[SWEEP], 0);
    memory_close(&m);
    BENCH_OK(recto_vm_finalize());
    if (first) {
        bench.sweeps = (int)(seconds * 1e9 / (double)best) + 2;
        MPI_Bcast(&bench.sweeps, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    int level = 0;
    struct bench_options *o = &bench.options;
    bench_options_read(o, argc, argv, help, false);
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 8 : 128) << 20;
    bench.pages = (o->size + PAGE - 1) / PAGE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    struct report report = {
        .program = "bench-dirty",
        .options = o,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .size_is = "bytes of a rank",
    };
    BENCH_OK(recto_init(&argc, &argv));
    report_begin(&report);
    BENCH_OK(recto_finalize());
    for (int i = 0; i < o->rounds; i++) {
        calibrate(i == 0);
        for (enum way way = NONE; way < WAYS; way++) {
            bench_meet();
            one(way);
        }
    }
    report_all(&report);
    bench_measures_free(measures, MEASURES);
    MPI_Finalize();
    return 0;
}
