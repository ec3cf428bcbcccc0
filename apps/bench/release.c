/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-release: what release consistent memory costs between two ranks, each a
 * domain of its own (RECTO_NODE=rank). The segment's home is rank 1, rank 0 uses
 * it; of each figure rank 0 takes the samples.
 *
 *   figure              what rank 0 does                            per
 *   read miss           reads pages that rank 1 wrote, random order  page
 *   the same by two     two threads read every other page; a core    page
 *   threads             each, while rank 1 sleeps
 *   first write         writes one word of each, random order        page
 *   one word home       barrier after that                           page
 *   full pages home     barrier after it wrote all bytes             page
 *   sequential read     reads all bytes in order, rank 1 wrote them  MiB
 *   idle barrier        barrier with nothing to do: no copies held,  call
 *                       and all pages held
 *   kept pages          faults, and bytes fetched, when it reads all  round
 *                       pages after one more barrier and nobody wrote
 *
 * Floors of the same run: the same with recto/vm.h and memcpy alone, by a handler
 * that copies from memory of rank 1's (an MPI shared window) and raises the
 * page's right; copies of the bytes, at once or a MiB at a time which is then
 * read; reading both copies; MPI_Barrier. The back
 * end is the one in the report's first line.
 */
#include <inttypes.h>
#include <mpi.h>
#include <pthread.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdatomic.h>
#include <stdbool.h>
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
    FILL_TRAP,
    TWIN_TRAP,
    COPY_PAGE,
    READ_BOTH,
    COPY_MIB,
    COPY_THEN_READ,
    MPI_MEET,
    READ_MISS,
    READ_MISS_BOTH,
    FIRST_WRITE,
    WORD_HOME,
    FULL_HOME,
    SEQUENTIAL,
    IDLE_EMPTY,
    IDLE_FULL,
    KEPT_FAULTS,
    KEPT_BYTES,
    MEASURES
};

static struct bench_measure measures[MEASURES] = {
    [SIGNAL] = {.name = "signal to itself"},
    [FILL_TRAP] = {.name = "trap, copy by verso, unprot"},
    [TWIN_TRAP] = {.name = "trap, copy to twin, unprot"},
    [COPY_PAGE] = {.name = "copy to the home, per page"},
    [READ_BOTH] = {.name = "reading two copies, per page"},
    [COPY_MIB] = {.name = "copy, per MiB"},
    [COPY_THEN_READ] = {.name = "copy a MiB, then read it"},
    [MPI_MEET] = {.name = "MPI_Barrier"},
    [READ_MISS] = {.name = "read miss"},
    [READ_MISS_BOTH] = {.name = "read misses of two threads, per page"},
    [FIRST_WRITE] = {.name = "first write to a cached page"},
    [WORD_HOME] = {.name = "one word a page home, per page"},
    [FULL_HOME] = {.name = "full pages home, per page"},
    [SEQUENTIAL] = {.name = "sequential read, per MiB"},
    [IDLE_EMPTY] = {.name = "barrier, no page held"},
    [IDLE_FULL] = {.name = "barrier, all pages held"},
    [KEPT_FAULTS] = {.name = "faults on pages nobody wrote"},
    [KEPT_BYTES] = {.name = "bytes fetched of these"},
};

static const struct report_row rows[] = {
    {FILL_TRAP,      {SIGNAL, COPY_PAGE, REPORT_NONE}},
    {READ_MISS,      {FILL_TRAP, REPORT_NONE}        },
    {READ_MISS_BOTH, {READ_MISS, REPORT_NONE}        },
    {FIRST_WRITE,    {TWIN_TRAP, REPORT_NONE}        },
    {WORD_HOME,      {READ_BOTH, REPORT_NONE}        },
    {FULL_HOME,      {COPY_PAGE, REPORT_NONE}        },
    {SEQUENTIAL,     {COPY_MIB, REPORT_NONE}         },
    {SEQUENTIAL,     {COPY_THEN_READ, REPORT_NONE}   },
    {IDLE_EMPTY,     {MPI_MEET, REPORT_NONE}         },
    {IDLE_FULL,      {MPI_MEET, REPORT_NONE}         },
};

static const char help[] =
    "Usage: RECTO_NODE=rank mpirun -n 2 bench-release [OPTION]...\n"
    "Costs of release consistent memory between two ranks, and their floors.\n"
    "\n"
    "  --size BYTES  of the sequential read, e.g. 256M (256M; quick: 8M);\n"
    "                single pages are taken from the first eighth\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    struct floor_shared shared;
    uint64_t pages;  /* touched one by one */
    uint64_t bytes;  /* of the segment */
    uint64_t *order; /* of those pages */
    uint64_t written;
    uint64_t (*segment)[WORDS];
    char *copy; /* private memory of the segment's size */
} bench;

/* ---- floors: the same with vm alone ------------------------------------------ */

struct trapped {
    recto_vm_range *range;
    char *view;
    char *verso;
    char *twin;
    const char *source; /* of what a page is filled with; NULL: it is kept */
};

static enum recto_vm_verdict fill_or_twin(const struct recto_vm_fault *fault,
                                          void *argument)
{
    const struct trapped *t = argument;
    uint64_t page = (uint64_t)((char *)fault->address - t->view) / PAGE;
    char *verso = t->verso + page * PAGE;
    if (t->source != NULL) {
        memcpy(verso, t->source + page * PAGE, PAGE);
    } else {
        memcpy(t->twin + page * PAGE, verso, PAGE);
    }
    return recto_vm_unprot(t->range, page, 1,
                           t->source != NULL ? RECTO_VM_READ
                                             : RECTO_VM_WRITE) == 0
               ? RECTO_VM_CONTINUE
               : RECTO_VM_SEARCH;
}

static void traps_time(struct trapped *t)
{
    for (uint64_t i = 0; i < bench.pages; i++) {
        volatile char *at = t->view + bench.order[i] * PAGE;
        uint64_t start = bench_now();
        char byte = *at;
        bench_sample_time(&measures[FILL_TRAP], start, 1);
        if (byte != 1) {
            bench_fail("trap: wrong data");
        }
    }
    t->source = NULL;
    for (uint64_t i = 0; i < bench.pages; i++) {
        volatile char *at = t->view + bench.order[i] * PAGE;
        uint64_t start = bench_now();
        *at = 2;
        bench_sample_time(&measures[TWIN_TRAP], start, 1);
        if (t->twin[bench.order[i] * PAGE] != 1) {
            bench_fail("trap: wrong twin");
        }
    }
}

static void floor_traps(void)
{
    bench_meet();
    if (recto_rank() == 0 && bench.shared.area != NULL) {
        size_t bytes = bench.pages * PAGE;
        int fd = -1;
        void *view = NULL;
        void *verso = NULL;
        recto_vm_trap *trap = NULL;
        BENCH_OK(recto_vm_memory_create("bench", bytes, &fd));
        BENCH_OK(recto_vm_map(fd, 0, bytes, NULL, RECTO_VM_WRITE, &verso));
        BENCH_OK(recto_vm_map(fd, 0, bytes, NULL, RECTO_VM_NONE, &view));
        memset(verso, 0, bytes);
        struct trapped t = {.view = view,
                            .verso = verso,
                            .twin = bench.copy,
                            .source = bench.shared.area->data};
        BENCH_OK(recto_vm_range_create(view, bytes, RECTO_VM_NONE, &t.range));
        BENCH_OK(recto_vm_trap_add(view, bytes, fill_or_twin, NULL, &t, &trap));
        traps_time(&t);
        recto_vm_trap_remove(trap);
        recto_vm_range_destroy(t.range);
        BENCH_OK(recto_vm_unmap(view, bytes));
        BENCH_OK(recto_vm_unmap(verso, bytes));
        (void)close(fd);
    }
    bench_meet();
    bench_round(&measures[FILL_TRAP], 0);
    bench_round(&measures[TWIN_TRAP], 0);
}

/* Rank 1 has written the memory just now, as before a miss. */
static void area_write(void)
{
    bench_meet();
    if (recto_rank() == 1 && bench.shared.area != NULL) {
        memset(bench.shared.area->data, 1, bench.shared.bytes);
    }
    bench_meet();
}

static uint64_t sum_of(const uint64_t *words, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += words[i];
    }
    return sum;
}

/* What a sequential read does but for protection: every MiB is copied, and read. */
static void floor_copy_then_read(const char *area)
{
    enum {
        PIECE = 1048576
    };
    uint64_t sum = 0;
    uint64_t start = bench_now();
    for (size_t at = 0; at < bench.bytes; at += PIECE) {
        size_t n = bench.bytes - at < PIECE ? bench.bytes - at : PIECE;
        memcpy(bench.copy + at, area + at, n);
        sum += sum_of((const uint64_t *)(const void *)(bench.copy + at), n / 8);
    }
    bench_sample_time(&measures[COPY_THEN_READ], start,
                      (double)bench.bytes / PIECE);
    if (sum != bench.bytes / 8 * UINT64_C(0x0101010101010101)) {
        bench_fail("copy: wrong sum");
    }
}

static void floor_copies(void)
{
    area_write();
    uint64_t bytes = bench.pages * PAGE;
    if (recto_rank() == 0 && bench.shared.area != NULL) {
        char *area = bench.shared.area->data;
        uint64_t start = bench_now();
        memcpy(bench.copy, area, bench.bytes);
        bench_sample_time(&measures[COPY_MIB], start,
                          (double)bench.bytes / 1048576);
        floor_copy_then_read(area);
        start = bench_now();
        memcpy(area, bench.copy, bytes);
        bench_sample_time(&measures[COPY_PAGE], start, (double)bench.pages);
        const uint64_t *a = (const uint64_t *)(const void *)area;
        const uint64_t *b = (const uint64_t *)(const void *)bench.copy;
        uint64_t differ = 0;
        start = bench_now();
        for (uint64_t i = 0; i < bytes / 8; i++) {
            differ |= a[i] ^ b[i];
        }
        bench_sample_time(&measures[READ_BOTH], start, (double)bench.pages);
        if (differ != 0) {
            bench_fail("copy: wrong data");
        }
    }
    bench_meet();
    bench_round(&measures[COPY_MIB], 0);
    bench_round(&measures[COPY_THEN_READ], 0);
    bench_round(&measures[COPY_PAGE], 0);
    bench_round(&measures[READ_BOTH], 0);
}

/* ---- release consistent memory ------------------------------------------------- */

static uint64_t value_of(uint64_t page, uint64_t written)
{
    return page * 1000003U + written + 1;
}

/* Rank 1 writes all pages, so that rank 0 holds none. */
static void home_writes(void)
{
    bench.written++;
    if (recto_rank() == 1) {
        for (uint64_t p = 0; p < bench.bytes / PAGE; p++) {
            for (uint64_t w = 0; w < WORDS; w++) {
                bench.segment[p][w] = value_of(p, bench.written);
            }
        }
    }
    recto_barrier();
    bench_meet();
}

/* The time of a barrier at which rank 1 waits already. */
static void barrier_time(enum measure m, double operations)
{
    bench_meet();
    if (recto_rank() == 0) {
        bench_sleep(500);
    }
    uint64_t start = bench_now();
    recto_barrier();
    if (recto_rank() == 0) {
        bench_sample_time(&measures[m], start, operations);
    }
    bench_meet();
    bench_round(&measures[m], 0);
}

static void pages_read(void)
{
    home_writes();
    for (uint64_t i = 0; recto_rank() == 0 && i < bench.pages; i++) {
        uint64_t page = bench.order[i];
        volatile uint64_t *word = &bench.segment[page][page * 37 % WORDS];
        uint64_t start = bench_now();
        uint64_t value = *word;
        bench_sample_time(&measures[READ_MISS], start, 1);
        if (value != value_of(page, bench.written)) {
            bench_fail("read miss: page %" PRIu64 " holds a wrong value", page);
        }
    }
    bench_meet();
    bench_round(&measures[READ_MISS], 0);
}

static uint64_t page_read(uint64_t i)
{
    uint64_t page = bench.order[i];
    uint64_t value =
        *(volatile uint64_t *)&bench.segment[page][page * 37 % WORDS];
    if (value != value_of(page, bench.written)) {
        bench_fail("threads: page %" PRIu64 " holds a wrong value", page);
    }
    return value;
}

static void *other_half(void *start)
{
    /* pairs with the release in pages_read_by_two */
    while (!atomic_load_explicit((atomic_bool *)start, memory_order_acquire)) {
        bench_sleep(1);
    }
    for (uint64_t i = 1; i < bench.pages; i += 2) {
        (void)page_read(i);
    }
    return NULL;
}

/* Twice as many at a time where faults do not wait for each other. */
static void pages_read_by_two(void)
{
    home_writes();
    if (recto_rank() == 0) {
        pthread_t other;
        atomic_bool start = false;
        if (pthread_create(&other, NULL, other_half, &start) != 0) {
            bench_fail("no thread");
        }
        uint64_t from = bench_now();
        atomic_store_explicit(&start, true, memory_order_release);
        for (uint64_t i = 0; i < bench.pages; i += 2) {
            (void)page_read(i);
        }
        (void)pthread_join(other, NULL);
        bench_sample_time(&measures[READ_MISS_BOTH], from, (double)bench.pages);
    }
    bench_meet();
    bench_round(&measures[READ_MISS_BOTH], 0);
}

/* Rank 1 checks what came home. */
static void home_check(uint64_t word, uint64_t add)
{
    for (uint64_t p = 0; recto_rank() == 1 && p < bench.pages; p++) {
        uint64_t at = word < WORDS ? word : p % WORDS;
        if (bench.segment[p][at] != value_of(p, bench.written) + add) {
            bench_fail("page %" PRIu64 " did not come home", p);
        }
    }
    bench_meet();
}

/* What got its first reader is told to have been written once, since its home
 * may have written before it looked (docs/architecture.md); that is over when
 * the pages are read again. */
static void pages_settle(uint64_t pages)
{
    volatile uint64_t sum = 0;
    recto_barrier();
    for (uint64_t p = 0; recto_rank() == 0 && p < pages; p++) {
        sum += *(volatile uint64_t *)&bench.segment[p][0];
    }
    recto_barrier();
}

static void pages_write(void)
{
    pages_settle(bench.pages);
    for (uint64_t i = 0; recto_rank() == 0 && i < bench.pages; i++) {
        uint64_t page = bench.order[i];
        volatile uint64_t *word = &bench.segment[page][7];
        uint64_t start = bench_now();
        *word = value_of(page, bench.written) + 1;
        bench_sample_time(&measures[FIRST_WRITE], start, 1);
    }
    bench_meet();
    bench_round(&measures[FIRST_WRITE], 0);
    barrier_time(WORD_HOME, (double)bench.pages);
    home_check(7, 1);
    for (uint64_t p = 0; recto_rank() == 0 && p < bench.pages; p++) {
        for (uint64_t w = 0; w < WORDS; w++) {
            bench.segment[p][w] = value_of(p, bench.written) + 2;
        }
    }
    barrier_time(FULL_HOME, (double)bench.pages);
    home_check(WORDS, 2);
}

static void all_read(void)
{
    home_writes();
    if (recto_rank() == 0) {
        uint64_t expected = 0;
        uint64_t start = bench_now();
        uint64_t sum = sum_of(&bench.segment[0][0], bench.bytes / 8);
        bench_sample_time(&measures[SEQUENTIAL], start,
                          (double)bench.bytes / 1048576);
        for (uint64_t p = 0; p < bench.bytes / PAGE; p++) {
            expected += value_of(p, bench.written) * WORDS;
        }
        if (sum != expected) {
            bench_fail("sequential read: wrong sum");
        }
    }
    bench_meet();
    bench_round(&measures[SEQUENTIAL], 0);
}

static void barriers_time(enum measure m)
{
    int count = bench.options.quick ? 100 : 1000;
    bench_meet();
    for (int i = 0; i < count; i++) {
        uint64_t start = bench_now();
        if (m == MPI_MEET) {
            MPI_Barrier(MPI_COMM_WORLD);
        } else {
            recto_barrier();
        }
        bench_sample_time(&measures[m], start, 1);
    }
    bench_meet();
    bench_round(&measures[m], 0);
}

/* All pages were read and nobody writes: they stay. */
static void pages_kept(void)
{
    pages_settle(bench.bytes / PAGE);
    recto_counters before;
    recto_counters after;
    recto_barrier();
    if (recto_rank() == 0) {
        uint64_t sum = 0;
        BENCH_OK(recto_stats(&before));
        for (uint64_t p = 0; p < bench.bytes / PAGE; p++) {
            sum += *(volatile uint64_t *)&bench.segment[p][0];
        }
        BENCH_OK(recto_stats(&after));
        bench_sample(&measures[KEPT_FAULTS],
                     (double)(after.read_misses - before.read_misses));
        bench_sample(&measures[KEPT_BYTES],
                     (double)(after.bytes_fetched - before.bytes_fetched));
        if (sum == 0) {
            bench_fail("kept pages: wrong data");
        }
    }
    bench_meet();
    bench_round(&measures[KEPT_FAULTS], 0);
    bench_round(&measures[KEPT_BYTES], 0);
}

/* ---- the program ------------------------------------------------------------- */

static void round_run(void)
{
    floor_signal(&measures[SIGNAL]);
    floor_copies();
    area_write();
    floor_traps();
    barriers_time(MPI_MEET);
    home_writes();
    barriers_time(IDLE_EMPTY);
    pages_read_by_two();
    pages_read();
    pages_write();
    all_read();
    pages_kept();
    barriers_time(IDLE_FULL);
}

static void prepare(void)
{
    recto_attr at_home = {.placement = RECTO_AT(1)};
    bench.segment = recto_alloc("bench/release", bench.bytes, &at_home);
    if (bench.segment == NULL) {
        bench_fail("%s", recto_last_error());
    }
    bench.order = bench_order(bench.pages, 20260202);
    bench.copy = bench_memory(1, bench.bytes);
    memset(bench.copy, 1, bench.bytes);
    floor_open(&bench.shared, bench.bytes);
}

int main(int argc, char **argv)
{
    struct bench_options *o = &bench.options;
    bench_options_read(o, argc, argv, help, false);
    for (int i = 0; i < MEASURES; i++) {
        measures[i].unit = i >= KEPT_FAULTS ? "count" : "us";
    }
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 8 : 256) << 20;
    bench.pages = (o->size / 8 + PAGE - 1) / PAGE;
    bench.bytes = bench.pages * 8 * PAGE;
    o->size = bench.bytes;
    BENCH_OK(recto_init(&argc, &argv));
    if (recto_size() < 2 || recto_nodes() != recto_size()) {
        bench_fail("needs 2 ranks, each a domain: RECTO_NODE=rank mpirun -n 2");
    }
    if (recto_vm_page_size() != PAGE) {
        bench_fail("written for pages of 4 KiB");
    }
    struct report report = {
        .program = "bench-release",
        .options = o,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    report_begin(&report);
    prepare();
    for (int i = 0; i < o->rounds; i++) {
        round_run();
    }
    report_all(&report);
    floor_close(&bench.shared);
    free(bench.copy);
    free(bench.order);
    bench_measures_free(measures, MEASURES);
    BENCH_OK(recto_finalize());
    return 0;
}
