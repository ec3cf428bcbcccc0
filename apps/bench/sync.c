/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-sync: what synchronisation costs. 2 ranks or more.
 *
 *   barrier    recto_barrier against MPI_Barrier, all ranks
 *   free lock  recto_lock and recto_unlock by rank 0 while nobody else asks;
 *              of two locks, one of each of two ranks when they lie apart
 *   hand-over  from recto_unlock of one rank to the return of recto_lock on
 *              the other, which has been waiting for some time
 *   contended  all ranks take the lock as often as they can; each entry adds
 *              one to a plain word, whose sum is checked
 *   atomic     recto_fetch_add_i64 on a page that this rank may write
 *
 * Floors of the same run: an atomic exchange and a free mutex on private
 * memory, a cache line and a wake-up between ranks 0 and 1, and a mutex and an
 * atomic in memory that all ranks of the machine map (MPI's shared windows).
 * Where ranks 0 and 1 are on different machines the floors in shared memory,
 * and the hand-over, which compares their clocks, have no value.
 */
#include <inttypes.h>
#include <mpi.h>
#include <pthread.h>
#include <recto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/floors.h"
#include "common/report.h"

enum measure {
    LINE,
    WAKE,
    MESSAGE,
    EXCHANGE,
    MUTEX_FREE,
    MUTEX_ALL,
    ATOMIC_ALL,
    MPI_MEET,
    BARRIER,
    LOCK_FIRST,
    LOCK_SECOND,
    HAND_OVER,
    LOCK_ALL,
    FETCH_ADD,
    MEASURES
};

static struct bench_measure measures[MEASURES] = {
    [LINE] = {.name = "cache line, one way"},
    [WAKE] = {.name = "wake-up both ways"},
    [MESSAGE] = {.name = "MPI message both ways"},
    [EXCHANGE] = {.name = "atomic exchange"},
    [MUTEX_FREE] = {.name = "free mutex, lock and unlock"},
    [MUTEX_ALL] = {.name = "mutex wanted by all, per entry"},
    [ATOMIC_ALL] = {.name = "atomic add by all, each"},
    [MPI_MEET] = {.name = "MPI_Barrier"},
    [BARRIER] = {.name = "barrier"},
    [LOCK_FIRST] = {.name = "free lock, lock and unlock"},
    [LOCK_SECOND] = {.name = "free lock of the other rank"},
    [HAND_OVER] = {.name = "lock hand-over to a waiting rank"},
    [LOCK_ALL] = {.name = "lock wanted by all, per entry"},
    [FETCH_ADD] = {.name = "fetch_add on a page held for writing"},
};

static const struct report_row rows[] = {
    {BARRIER,     {MPI_MEET, REPORT_NONE}  },
    {LOCK_FIRST,  {EXCHANGE, REPORT_NONE}  },
    {LOCK_FIRST,  {MUTEX_FREE, REPORT_NONE}},
    {LOCK_SECOND, {EXCHANGE, REPORT_NONE}  },
    {HAND_OVER,   {LINE, REPORT_NONE}      },
    {HAND_OVER,   {WAKE, REPORT_NONE}      },
    {LOCK_ALL,    {MUTEX_ALL, REPORT_NONE} },
    {LOCK_ALL,    {ATOMIC_ALL, REPORT_NONE}},
    {LOCK_ALL,    {WAKE, REPORT_NONE}      },
    {FETCH_ADD,   {EXCHANGE, REPORT_NONE}  },
};

static const char help[] =
    "Usage: mpirun -n RANKS bench-sync [OPTION]...\n"
    "Costs of barrier, locks and atomics between ranks, and their floors.\n"
    "\n"
    "  --size COUNT  operations per sample and kind, e.g. 1K (1000)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    struct floor_shared shared;
    recto_lock_t first;
    recto_lock_t second;
    int64_t *word;
    int samples;
} bench;

/* ---- one rank alone ---------------------------------------------------------- */

static void one_exchange(void *word)
{
    (void)atomic_exchange((_Atomic uint64_t *)word, 1);
}

static void one_mutex(void *mutex)
{
    (void)pthread_mutex_lock(mutex);
    (void)pthread_mutex_unlock(mutex);
}

static void one_lock(void *lock)
{
    BENCH_OK(recto_lock(*(recto_lock_t *)lock));
    BENCH_OK(recto_unlock(*(recto_lock_t *)lock));
}

static void one_fetch_add(void *word)
{
    (void)recto_fetch_add_i64(word, 1);
}

/* Rank 0 does it, all others sleep. */
static void alone(enum measure which, void (*one)(void *), void *argument)
{
    struct bench_measure *m = &measures[which];
    uint64_t count = bench.options.size;
    bench_meet();
    if (recto_rank() == 0) {
        one(argument);
        for (int k = 0; k < bench.samples; k++) {
            uint64_t start = bench_now();
            for (uint64_t i = 0; i < count; i++) {
                one(argument);
            }
            bench_sample_time(m, start, (double)count);
        }
    }
    bench_meet();
    bench_round(m, 0);
}

/* ---- all ranks --------------------------------------------------------------- */

static void meet_mpi(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

static void meet_recto(void)
{
    BENCH_OK(recto_barrier());
}

static void barriers(enum measure which, void (*meet)(void))
{
    struct bench_measure *m = &measures[which];
    uint64_t count = bench.options.size / 5 + 1; /* each is dear */
    bench_meet();
    for (int k = 0; k < bench.samples; k++) {
        meet();
        uint64_t start = bench_now();
        for (uint64_t i = 0; i < count; i++) {
            meet();
        }
        bench_sample_time(m, start, (double)count);
    }
    bench_meet();
    bench_round(m, 0);
}

static void enter_mutex(void)
{
    struct floor_area *area = bench.shared.area;
    (void)pthread_mutex_lock(&area->mutex);
    area->guarded++;
    (void)pthread_mutex_unlock(&area->mutex);
}

static void enter_lock(void)
{
    BENCH_OK(recto_lock(bench.first));
    bench.shared.area->guarded++;
    BENCH_OK(recto_unlock(bench.first));
}

static void enter_atomic(void)
{
    atomic_fetch_add(&bench.shared.area->word, 1);
}

/* Every rank enters as often; the time is that of rank 0 until all are done. */
static void together(enum measure which, void (*enter)(void))
{
    struct bench_measure *m = &measures[which];
    struct floor_area *area = bench.shared.area;
    /* Long enough that the ranks do not miss each other. */
    uint64_t mine = 2 * bench.options.size;
    uint64_t entries = mine * (uint64_t)recto_size();
    for (int k = 0; area != NULL && k < bench.samples / 4 + 1; k++) {
        bench_meet();
        if (recto_rank() == 1) {
            area->guarded = 0;
            atomic_store(&area->word, 0);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        uint64_t start = bench_now();
        for (uint64_t i = 0; i < mine; i++) {
            enter();
        }
        MPI_Barrier(MPI_COMM_WORLD);
        bench_sample_time(m, start, (double)entries);
        uint64_t sum = area->guarded + atomic_load(&area->word);
        if (sum != entries) {
            bench_fail("%s: %" PRIu64 " entries counted of %" PRIu64, m->name,
                       sum, entries);
        }
    }
    bench_meet();
    bench_round(m, 0);
}

/* ---- hand-over --------------------------------------------------------------- */

static void until(_Atomic uint64_t *word, uint64_t value)
{
    unsigned spins = 0;
    while (atomic_load_explicit(word, memory_order_acquire) != value) {
        floor_spin(&spins);
    }
}

/* The holder's turn: gives the lock away when the other rank's request has come for
 * sure, and sees that it got it. It works meanwhile: a core that has slept is slower
 * for a while. */
static void give(struct floor_area *area, uint64_t turn)
{
    const char *transport = getenv("RECTO_TRANSPORT");
    bool far = transport != NULL && strcmp(transport, "mpi") == 0;
    uint64_t arrives = far ? 1000000 : 20000; /* ns */
    until(&area->flag, turn + 1);
    for (uint64_t start = bench_now(); bench_now() - start < arrives;) {
    }
    atomic_store(&area->stamp, bench_now());
    BENCH_OK(recto_unlock(bench.first));
    until(&area->taken, turn + 1);
}

/* The time is from before unlock to after lock. */
static void take(struct floor_area *area, uint64_t turn)
{
    atomic_store_explicit(&area->flag, turn + 1, memory_order_release);
    BENCH_OK(recto_lock(bench.first));
    if (recto_rank() == 0) {
        bench_sample_time(&measures[HAND_OVER], atomic_load(&area->stamp), 1);
    }
    atomic_store_explicit(&area->taken, turn + 1, memory_order_release);
}

/* Ranks 0 and 1 hold the lock in turn; rank 0 takes the samples. */
static void hand_over(void)
{
    struct floor_area *area = bench.shared.area;
    uint64_t rank = (uint64_t)recto_rank();
    uint64_t turns = bench.options.quick ? 100 : 400; /* even */
    bool plays = rank < 2 && area != NULL;
    if (plays && rank == 1) {
        BENCH_OK(recto_lock(bench.first)); /* turn 0 is rank 0's */
    }
    bench_meet();
    for (uint64_t turn = 0; plays && turn < turns; turn++) {
        if (turn % 2 == rank) {
            take(area, turn);
        } else {
            give(area, turn);
        }
    }
    if (plays && rank == 1) {
        BENCH_OK(recto_unlock(bench.first));
    }
    bench_meet();
    if (plays && rank == 1) {
        atomic_store(&area->flag, 0);
        atomic_store(&area->taken, 0);
    }
    bench_round(&measures[HAND_OVER], 0);
}

/* ---- the program ------------------------------------------------------------- */

static void prepare(void)
{
    for (int i = 0; i < MEASURES; i++) {
        measures[i].unit = "us";
    }
    floor_open(&bench.shared, 0);
    BENCH_OK(recto_lock_create(&bench.first));
    BENCH_OK(recto_lock_create(&bench.second));
    bench.word = recto_alloc("bench/word", sizeof *bench.word, NULL);
    if (bench.word == NULL) {
        bench_fail("%s", recto_last_error());
    }
}

static void round_run(void)
{
    static _Atomic uint64_t word;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int trips = bench.options.quick ? 200 : 1000;
    floor_line(&bench.shared, &measures[LINE], 50);
    floor_wake(&bench.shared, &measures[WAKE], trips);
    floor_message(&measures[MESSAGE], trips);
    alone(EXCHANGE, one_exchange, &word);
    alone(MUTEX_FREE, one_mutex, &mutex);
    alone(LOCK_FIRST, one_lock, &bench.first);
    alone(LOCK_SECOND, one_lock, &bench.second);
    alone(FETCH_ADD, one_fetch_add, bench.word);
    barriers(MPI_MEET, meet_mpi);
    barriers(BARRIER, meet_recto);
    hand_over();
    together(ATOMIC_ALL, enter_atomic);
    together(MUTEX_ALL, enter_mutex);
    together(LOCK_ALL, enter_lock);
}

static void clean_up(void)
{
    BENCH_OK(recto_lock_free(&bench.second));
    BENCH_OK(recto_lock_free(&bench.first));
    floor_close(&bench.shared);
    bench_measures_free(measures, MEASURES);
}

int main(int argc, char **argv)
{
    struct bench_options *o = &bench.options;
    bench_options_read(o, argc, argv, help, false);
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 5);
    o->size = o->size > 0 ? o->size : 1000;
    bench.samples = o->quick ? 5 : 20;
    BENCH_OK(recto_init(&argc, &argv));
    if (recto_size() < 2) {
        bench_fail("needs 2 ranks: mpirun -n 2");
    }
    struct report report = {
        .program = "bench-sync",
        .size_is = "operations a sample",
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
    clean_up();
    BENCH_OK(recto_finalize());
    return 0;
}
