/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-pages: what a page fault costs. 2 ranks, each a domain of its own
 * (RECTO_NODE=rank), share a segment whose home is rank 1.
 *
 * Rank 0 is the remote user, rank 1 the home. In each phase one of them
 * touches every page once, in random order, and times each access; the other
 * sleeps, so that its service thread has a core. The phases of a round follow
 * from each other's page states:
 *
 *   phase              rank 0      rank 1 (home)   what is timed
 *   before             Invalid     Modified
 *   rank 0 reads       Shared      Shared          read miss, data from home
 *   rank 0 writes      Modified    Invalid         upgrade
 *   rank 1 reads       Shared      Shared          read miss, data comes back
 *   rank 1 writes      Invalid     Modified        upgrade at the home
 *   rank 0 writes      Modified    Invalid         write miss, data from home
 *   rank 1 writes      Invalid     Modified        write miss, data comes back
 *   rank 0 reads       Shared      Shared          read miss, home computes
 *   rank 1 writes      Invalid     Modified        (not timed)
 *
 * Every access checks its data: a write puts a number that follows from the
 * page and the count of write phases into one word, a read expects it there.
 *
 * The floors of rank 0 alone use recto/vm.h and plain system calls on memory
 * of the same size, in the same random order.
 */
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/floors.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8
};

enum measure {
    SIGNAL,
    MPROTECT,
    COPY,
    LINE,
    WAKE,
    MESSAGE,
    GET,
    HOLD,
    TRAP,
    TRACKED,
    READ_MISS,
    READ_MISS_BUSY,
    READ_BACK,
    UPGRADE,
    UPGRADE_HOME,
    WRITE_MISS,
    WRITE_BACK,
    PING_PONG,
    MEASURES
};

static struct bench_measure measures[MEASURES] = {
    [SIGNAL] = {.name = "signal to itself"},
    [MPROTECT] = {.name = "mprotect of a page"},
    [COPY] = {.name = "copy of 4 KiB"},
    [LINE] = {.name = "cache line, one way"},
    [WAKE] = {.name = "wake-up both ways"},
    [MESSAGE] = {.name = "MPI message both ways"},
    [GET] = {.name = "MPI_Get of 4 KiB"},
    [HOLD] = {.name = "RECTO_HOLD"},
    [TRAP] = {.name = "trap and unprot"},
    [TRACKED] = {.name = "first write to a tracked page"},
    [READ_MISS] = {.name = "read miss"},
    [READ_MISS_BUSY] = {.name = "read miss while the home computes"},
    [READ_BACK] = {.name = "read miss at the home"},
    [UPGRADE] = {.name = "upgrade"},
    [UPGRADE_HOME] = {.name = "upgrade at the home"},
    [WRITE_MISS] = {.name = "write miss"},
    [WRITE_BACK] = {.name = "write miss at the home"},
    [PING_PONG] = {.name = "hand-over of a written page"},
};

static const struct report_row rows[] = {
    {TRAP,           {SIGNAL, MPROTECT, REPORT_NONE}},
    {TRACKED,        {SIGNAL, MPROTECT, REPORT_NONE}},
    {READ_MISS,      {TRAP, WAKE, COPY}             },
    {READ_MISS,      {GET, REPORT_NONE}             },
    {READ_MISS_BUSY, {TRAP, WAKE, COPY}             },
    {READ_BACK,      {TRAP, WAKE, COPY}             },
    {UPGRADE,        {TRAP, WAKE, REPORT_NONE}      },
    {UPGRADE,        {TRAP, MESSAGE, REPORT_NONE}   },
    {UPGRADE_HOME,   {TRAP, WAKE, REPORT_NONE}      },
    {WRITE_MISS,     {TRAP, WAKE, COPY}             },
    {WRITE_BACK,     {TRAP, WAKE, COPY}             },
    {PING_PONG,      {LINE, REPORT_NONE}            },
    {PING_PONG,      {HOLD, REPORT_NONE}            },
};

static const char help[] =
    "Usage: RECTO_NODE=rank mpirun -n 2 bench-pages [OPTION]...\n"
    "Costs of page faults between two ranks, and their floors.\n"
    "\n"
    "  --size BYTES  shared memory, e.g. 16M (16M; quick: 2M)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    struct floor_shared shared;
    uint64_t pages;
    uint64_t *order;
    uint64_t written; /* write phases so far */
    uint64_t (*segment)[WORDS];
    _Atomic uint64_t *turn; /* a page of its own */
    MPI_Win window;
    char *copy; /* private memory of the segment's size */
} bench;

/* ---- recto/vm.h, one rank ------------------------------------------------------ */

static enum recto_vm_verdict give(const struct recto_vm_fault *fault,
                                  void *argument)
{
    recto_vm_range *range = *(recto_vm_range **)argument;
    uint64_t page =
        (uint64_t)((char *)fault->address - *((char **)argument + 1)) / PAGE;
    return recto_vm_unprot(range, page, 1, RECTO_VM_READ) == 0
               ? RECTO_VM_CONTINUE
               : RECTO_VM_SEARCH;
}

/* A view of the segment's size with all pages in memory. */
static char *view_open(enum recto_vm_right right, int *fd)
{
    void *verso = NULL;
    void *view = NULL;
    size_t bytes = bench.pages * PAGE;
    BENCH_OK(recto_vm_memory_create("bench", bytes, fd));
    BENCH_OK(recto_vm_map(*fd, 0, bytes, NULL, RECTO_VM_WRITE, &verso));
    memset(verso, 1, bytes);
    BENCH_OK(recto_vm_unmap(verso, bytes));
    BENCH_OK(recto_vm_map(*fd, 0, bytes, NULL, right, &view));
    return view;
}

static void view_close(char *view, int fd)
{
    BENCH_OK(recto_vm_unmap(view, bench.pages * PAGE));
    (void)close(fd);
}

/* Reads of pages without any right; the handler raises them. */
static void measure_trap(void)
{
    bench_meet();
    if (recto_rank() == 0) {
        int fd = -1;
        size_t bytes = bench.pages * PAGE;
        volatile char *view = view_open(RECTO_VM_NONE, &fd);
        recto_vm_trap *trap = NULL;
        void *argument[2] = {NULL, (void *)view};
        BENCH_OK(recto_vm_range_create((void *)view, bytes, RECTO_VM_NONE,
                                       (recto_vm_range **)&argument[0]));
        BENCH_OK(recto_vm_trap_add((void *)view, bytes, give, NULL, argument,
                                   &trap));
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t start = bench_now();
            char byte = view[bench.order[i] * PAGE];
            bench_sample_time(&measures[TRAP], start, 1);
            if (byte != 1) {
                bench_fail("trap: wrong data");
            }
        }
        recto_vm_trap_remove(trap);
        recto_vm_range_destroy(argument[0]);
        view_close((char *)view, fd);
    }
    bench_meet();
    bench_round(&measures[TRAP], 0);
}

static uint64_t ones(const uint64_t *bitmap, size_t words)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < words; i++) {
        sum += (uint64_t)__builtin_popcountll(bitmap[i]);
    }
    return sum;
}

/* First writes since the marks were collected, as after a checkpoint. */
static void measure_tracked(void)
{
    bench_meet();
    if (recto_rank() == 0) {
        int fd = -1;
        size_t words = (bench.pages + 63) / 64;
        uint64_t *bitmap = bench_memory(words, sizeof *bitmap);
        volatile char *view = view_open(RECTO_VM_WRITE, &fd);
        recto_vm_range *range = NULL;
        BENCH_OK(recto_vm_range_create((void *)view, bench.pages * PAGE,
                                       RECTO_VM_WRITE, &range));
        BENCH_OK(recto_vm_dirty_start(range));
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t start = bench_now();
            view[bench.order[i] * PAGE] = 2;
            bench_sample_time(&measures[TRACKED], start, 1);
        }
        BENCH_OK(recto_vm_dirty_collect(range, 0, bench.pages, bitmap));
        uint64_t marked = ones(bitmap, words);
        if (marked != bench.pages) {
            bench_fail("tracking: %" PRIu64 " of %" PRIu64 " pages marked",
                       marked, bench.pages);
        }
        BENCH_OK(recto_vm_dirty_stop(range));
        recto_vm_range_destroy(range);
        view_close((char *)view, fd);
        free(bitmap);
    }
    bench_meet();
    bench_round(&measures[TRACKED], 0);
}

/* ---- floors of two ranks ----------------------------------------------------- */

/* Rank 1 has written the pages just now, as in a read miss. */
static void floor_copy(void)
{
    struct floor_shared *s = &bench.shared;
    bench_meet();
    if (recto_rank() == 1 && s->area != NULL) {
        memset(s->area->data, 1, s->bytes);
    }
    bench_meet();
    if (recto_rank() == 0 && s->area != NULL) {
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t at = bench.order[i] * PAGE;
            uint64_t start = bench_now();
            memcpy(bench.copy + at, s->area->data + at, PAGE);
            bench_sample_time(&measures[COPY], start, 1);
        }
    }
    bench_meet();
    bench_round(&measures[COPY], 0);
}

static void floor_get(void)
{
    bench_meet();
    if (recto_rank() == 0) {
        MPI_Win_lock(MPI_LOCK_SHARED, 1, 0, bench.window);
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t at = bench.order[i] * PAGE;
            uint64_t start = bench_now();
            MPI_Get(bench.copy + at, PAGE, MPI_BYTE, 1, (MPI_Aint)at, PAGE,
                    MPI_BYTE, bench.window);
            MPI_Win_flush(1, bench.window);
            bench_sample_time(&measures[GET], start, 1);
        }
        MPI_Win_unlock(1, bench.window);
    }
    bench_meet();
    bench_round(&measures[GET], 0);
}

/* A setting, not a measurement: a page just obtained is kept that long. */
static void floor_hold(void)
{
    /* Nobody calls setenv. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *text = getenv("RECTO_HOLD");
    double hold = text != NULL && *text != '\0' ? strtod(text, NULL) : 100;
    bench_sample(&measures[HOLD], hold);
    bench_round(&measures[HOLD], 0);
}

/* ---- page faults between ranks ----------------------------------------------- */

static uint64_t value_of(uint64_t page, uint64_t written)
{
    return page * 1000003U + written + 1;
}

static volatile uint64_t *word_of(uint64_t page)
{
    return &bench.segment[page][page * 37 % WORDS];
}

enum access {
    READS,
    WRITES
};

static uint64_t faults_now(void)
{
    recto_counters c;
    BENCH_OK(recto_stats(&c));
    return c.read_misses + c.write_misses + c.upgrades;
}

/* Rank `who` reads or writes each page once; m NULL: not timed. */
static void phase(int who, enum access access, struct bench_measure *m)
{
    bench_meet();
    bench_sleep(2000); /* past RECTO_HOLD */
    bench.written += access == WRITES;
    if (recto_rank() == who) {
        uint64_t before = faults_now();
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t page = bench.order[i];
            uint64_t expected = value_of(page, bench.written);
            volatile uint64_t *word = word_of(page);
            uint64_t value = expected;
            uint64_t start = bench_now();
            if (access == WRITES) {
                *word = expected;
            } else {
                value = *word;
            }
            if (m != NULL) {
                bench_sample_time(m, start, 1);
            }
            if (value != expected) {
                bench_fail("%s: page %" PRIu64 " holds a wrong value",
                           m != NULL ? m->name : "not timed", page);
            }
        }
        uint64_t faults = faults_now() - before;
        if (m != NULL && faults < bench.pages) {
            (void)fprintf(stderr,
                          "%s: only %" PRIu64 " of %" PRIu64
                          " accesses were faults\n",
                          m->name, faults, bench.pages);
        }
    }
    bench_meet();
    if (m != NULL) {
        bench_round(m, who);
    }
}

/* As a phase of rank 0's reads, while rank 1's program does not sleep. */
static void phase_busy(void)
{
    struct floor_area *area = bench.shared.area;
    struct bench_measure *m = &measures[READ_MISS_BUSY];
    if (area == NULL) {
        bench_round(m, 0);
        return;
    }
    bench_meet();
    bench_sleep(2000);
    if (recto_rank() == 1) {
        volatile double x = 1;
        while (atomic_load_explicit(&area->flag, memory_order_relaxed) == 0) {
            x = x * 0.5 + 1;
        }
        atomic_store(&area->flag, 0);
    } else if (recto_rank() == 0) {
        for (uint64_t i = 0; i < bench.pages; i++) {
            uint64_t page = bench.order[i];
            uint64_t start = bench_now();
            uint64_t value = *word_of(page);
            bench_sample_time(m, start, 1);
            if (value != value_of(page, bench.written)) {
                bench_fail("%s: page %" PRIu64 " holds a wrong value", m->name,
                           page);
            }
        }
        atomic_store(&area->flag, 1);
    }
    bench_meet();
    bench_round(m, 0);
}

/* The ranks write one word in turn, each as soon as it sees the other's. */
static void ping_pong(void)
{
    uint64_t rank = (uint64_t)recto_rank();
    uint64_t end = bench.options.quick ? 100 : 400;
    bench_meet();
    uint64_t first = atomic_load(bench.turn);
    bench_meet();
    uint64_t start = 0;
    for (uint64_t turn = first + rank; rank < 2 && turn < first + end;
         turn += 2) {
        unsigned spins = 0;
        while (atomic_load_explicit(bench.turn, memory_order_acquire) != turn) {
            floor_spin(&spins);
        }
        if (start != 0) {
            bench_sample_time(&measures[PING_PONG], start, 2);
        }
        start = bench_now();
        atomic_store_explicit(bench.turn, turn + 1, memory_order_release);
    }
    bench_meet();
    if (atomic_load(bench.turn) != first + end) {
        bench_fail("hand-over: a turn was lost");
    }
    bench_round(&measures[PING_PONG], 0);
}

/* ---- the program ------------------------------------------------------------- */

static void prepare(void)
{
    uint64_t bytes = bench.pages * PAGE;
    void *base = NULL;
    recto_attr at_home = {.placement = RECTO_AT(1),
                          .consistency = RECTO_SEQUENTIAL};
    bench.segment = recto_alloc("bench/pages", bytes, &at_home);
    bench.turn = recto_alloc("bench/turn", PAGE, &at_home);
    if (bench.segment == NULL || bench.turn == NULL) {
        bench_fail("%s", recto_last_error());
    }
    bench.order = bench_order(bench.pages, 20260101);
    bench.copy = bench_memory(1, bytes);
    memset(bench.copy, 1, bytes);
    floor_open(&bench.shared, bytes);
    MPI_Win_allocate(recto_rank() == 1 ? (MPI_Aint)bytes : 0, 1, MPI_INFO_NULL,
                     MPI_COMM_WORLD, (void *)&base, &bench.window);
    if (recto_rank() == 1) {
        memset(base, 1, bytes);
    }
}

static void round_run(void)
{
    int trips = bench.options.quick ? 200 : 1000;
    floor_signal(&measures[SIGNAL]);
    floor_mprotect(&measures[MPROTECT], bench.pages);
    floor_copy();
    floor_line(&bench.shared, &measures[LINE], 50);
    floor_wake(&bench.shared, &measures[WAKE], trips);
    floor_message(&measures[MESSAGE], trips);
    floor_get();
    floor_hold();
    measure_trap();
    measure_tracked();
    phase(0, READS, &measures[READ_MISS]);
    phase(0, WRITES, &measures[UPGRADE]);
    phase(1, READS, &measures[READ_BACK]);
    phase(1, WRITES, &measures[UPGRADE_HOME]);
    phase(0, WRITES, &measures[WRITE_MISS]);
    phase(1, WRITES, &measures[WRITE_BACK]);
    phase_busy();
    phase(1, WRITES, NULL);
    ping_pong();
}

static void clean_up(void)
{
    MPI_Win_free(&bench.window);
    floor_close(&bench.shared);
    free(bench.copy);
    free(bench.order);
    bench_measures_free(measures, MEASURES);
}

int main(int argc, char **argv)
{
    struct bench_options *o = &bench.options;
    bench_options_read(o, argc, argv, help, false);
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 2 : 16) << 20;
    bench.pages = (o->size + PAGE - 1) / PAGE;
    o->size = bench.pages * PAGE;
    for (int i = 0; i < MEASURES; i++) {
        measures[i].unit = "us";
    }
    BENCH_OK(recto_init(&argc, &argv));
    if (recto_size() < 2 || recto_nodes() != recto_size()) {
        bench_fail("needs 2 ranks, each a domain: RECTO_NODE=rank mpirun -n 2");
    }
    if (recto_vm_page_size() != PAGE) {
        bench_fail("written for pages of 4 KiB");
    }
    struct report report = {
        .program = "bench-pages",
        .options = o,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    report_begin(&report);
    prepare();
    phase(1, WRITES, NULL);
    for (int i = 0; i < o->rounds; i++) {
        round_run();
    }
    report_all(&report);
    clean_up();
    BENCH_OK(recto_finalize());
    return 0;
}
