/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints in the middle of everything: threads of all ranks write interleaved
 * bytes of arrays of both protocols and all placements, count under locks and by
 * atomics, and keep lists in the heap, phase after phase. After some phases there
 * is a checkpoint, and the program goes on at once. A restart, on any number of
 * ranks, finds exactly what the oracle says of the restored phase, and goes on from
 * there.
 *
 * What memory holds after a phase follows from the phase and the seed alone, not
 * from the number of ranks. argv: LAST, the phase after which to end, or DIE, the
 * phase in which a rank kills itself while the others write. TEST_SEED must be set,
 * to the same in all runs of a series.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 4096,
    BYTES = 9 * PAGE + 321, /* of each array */
    ARRAYS = 6,
    THREADS = 2,
    LOCKS = 5,
    COUNTERS = 40, /* spread over the locks */
    LISTS = 9,
    STEPS = 200, /* of counting, in a phase */
    LENGTH = 6   /* of a list, at most */
};

struct node {
    struct node *next;
    uint64_t mark;
    unsigned char data[];
};

struct shared {
    uint64_t phase;
    int64_t sums[COUNTERS];     /* by atomics */
    uint32_t counted[COUNTERS]; /* under locks */
    struct node *lists[LISTS];
};

static uint64_t seed;
static unsigned char *arrays[ARRAYS];
static struct shared *shared;
static recto_lock_t locks[LOCKS];

static unsigned char oracle[ARRAYS][BYTES];
static int64_t sums[COUNTERS];
static uint32_t counted[COUNTERS];

static uint64_t threads_in_all(void)
{
    return (uint64_t)recto_size() * THREADS;
}

/* ---- what a phase does ------------------------------------------------------------ */

static uint64_t grain(uint64_t a, uint64_t phase)
{
    static const uint64_t grains[] = {1, 3, 8, 64, 500, PAGE};
    return grains[test_hash(a, phase, seed) % 6];
}

/* Bytes that nobody writes in this phase: a third. */
static bool is_written(uint64_t a, uint64_t i, uint64_t phase, uint64_t *by)
{
    *by = test_hash(i / grain(a, phase), phase * ARRAYS + a, seed);
    return *by % 3 != 0;
}

static unsigned char value(uint64_t a, uint64_t i, uint64_t phase)
{
    return (unsigned char)test_hash(i, phase, seed + a);
}

static uint64_t counter_of(uint64_t step, uint64_t phase)
{
    return test_hash(step, phase, seed + 77) % COUNTERS;
}

/* Nodes of a list after a phase: one is added in each, the oldest go. */
static uint64_t length_after(uint64_t phase)
{
    return phase < LENGTH ? phase : LENGTH;
}

static uint64_t mark_of(uint64_t list, uint64_t phase)
{
    return test_hash(list, phase, seed + 99);
}

static size_t bytes_of(uint64_t mark)
{
    return mark % 7 == 0 ? 5000 + mark % 90000 : mark % 700;
}

/* ---- doing it ------------------------------------------------------------------------ */

static void bytes_write(uint64_t me, uint64_t phase)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            uint64_t by = 0;
            if (is_written(a, i, phase, &by) &&
                by / 3 % threads_in_all() == me) {
                arrays[a][i] = value(a, i, phase);
            }
        }
    }
}

static void count(uint64_t me, uint64_t phase)
{
    for (uint64_t step = me; step < STEPS; step += threads_in_all()) {
        uint64_t c = counter_of(step, phase);
        CHECK_OK(recto_lock(locks[c % LOCKS]));
        shared->counted[c] += (uint32_t)(step + 1);
        CHECK_OK(recto_unlock(locks[c % LOCKS]));
        recto_fetch_add_i64(&shared->sums[c], (int64_t)(step * phase));
    }
}

static void list_turn(uint64_t list, uint64_t phase)
{
    uint64_t mark = mark_of(list, phase);
    struct node *n = recto_malloc(sizeof *n + bytes_of(mark));
    CHECK(n != NULL);
    n->mark = mark;
    memset(n->data, (int)(mark & 0xff), bytes_of(mark));
    CHECK_OK(recto_lock(locks[list % LOCKS]));
    n->next = shared->lists[list];
    shared->lists[list] = n;
    struct node **at = &n->next;
    for (int k = 1; k < LENGTH && *at != NULL; k++) {
        at = &(*at)->next;
    }
    struct node *old = *at;
    *at = NULL;
    CHECK_OK(recto_unlock(locks[list % LOCKS]));
    if (old != NULL) {
        CHECK(old->next == NULL);
        CHECK_OK(recto_mfree(old));
    }
}

static void *work(void *argument)
{
    const uint64_t *me = argument;
    bytes_write(me[0], me[1]);
    count(me[0], me[1]);
    for (uint64_t list = 0; list < LISTS; list++) {
        if ((list + me[1]) % threads_in_all() == me[0]) {
            list_turn(list, me[1]);
        }
    }
    return NULL;
}

static void phase_run(uint64_t phase)
{
    pthread_t threads[THREADS];
    uint64_t arguments[THREADS][2];
    for (uint64_t t = 0; t < THREADS; t++) {
        arguments[t][0] = (uint64_t)recto_rank() * THREADS + t;
        arguments[t][1] = phase;
        CHECK_OK(pthread_create(&threads[t], NULL, work, arguments[t]));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
}

/* ---- what must come of it ------------------------------------------------------------- */

static void oracle_advance(uint64_t phase)
{
    uint64_t by = 0;
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            oracle[a][i] = is_written(a, i, phase, &by) ? value(a, i, phase)
                                                        : oracle[a][i];
        }
    }
    for (uint64_t step = 0; step < STEPS; step++) {
        uint64_t c = counter_of(step, phase);
        counted[c] += (uint32_t)(step + 1);
        sums[c] += (int64_t)(step * phase);
    }
}

static void lists_check(uint64_t phase)
{
    for (uint64_t list = 0; list < LISTS; list++) {
        const struct node *n = shared->lists[list];
        for (uint64_t k = 0; k < length_after(phase); k++, n = n->next) {
            CHECK(n != NULL && n->mark == mark_of(list, phase - k));
            for (size_t i = 0; i < bytes_of(n->mark); i++) {
                CHECK(n->data[i] == (n->mark & 0xff));
            }
        }
        CHECK(n == NULL);
    }
}

static void all_check(uint64_t phase)
{
    CHECK(shared->phase == phase);
    for (int a = 0; a < ARRAYS; a++) {
        for (int i = 0; i < BYTES; i++) {
            if (arrays[a][i] != oracle[a][i]) {
                fprintf(stderr, "phase %lu: array %d, byte %d (page %d)\n",
                        (unsigned long)phase, a, i, i / PAGE);
                CHECK(arrays[a][i] == oracle[a][i]);
            }
        }
    }
    CHECK(memcmp(shared->counted, counted, sizeof counted) == 0);
    CHECK(memcmp(shared->sums, sums, sizeof sums) == 0);
    lists_check(phase);
}

/* ---- the program ---------------------------------------------------------------------------- */

static void allocate(void)
{
    static const char *names[ARRAYS] = {"rel/block", "rel/cyclic", "rel/touch",
                                        "seq/block", "seq/last",   "rel/last"};
    static const int placements[ARRAYS] = {RECTO_BLOCK, RECTO_CYCLIC,
                                           RECTO_FIRST_TOUCH, RECTO_BLOCK};
    for (int a = 0; a < ARRAYS; a++) {
        recto_attr attr = {.placement = a < 4 ? placements[a]
                                              : RECTO_AT(recto_size() - 1),
                           .granule = a == 2 ? PAGE : 0,
                           .consistency = names[a][0] == 's' ? RECTO_SEQUENTIAL
                                                             : RECTO_RELEASE};
        arrays[a] = recto_alloc(names[a], BYTES, &attr);
        CHECK(arrays[a] != NULL);
    }
    shared = recto_alloc("shared", sizeof *shared, NULL);
    CHECK(shared != NULL);
    for (int i = 0; i < LOCKS; i++) {
        CHECK_OK(recto_lock_create(&locks[i]));
    }
}

/* In the middle of a phase that is in no checkpoint. */
static void die(uint64_t phase)
{
    uint64_t me[2] = {(uint64_t)recto_rank() * THREADS, phase};
    if (test_hash(phase, seed, 5) % (uint64_t)recto_size() ==
        (uint64_t)recto_rank()) {
        bytes_write(me[0], phase);
        (void)raise(SIGKILL);
    }
    (void)work(me);
    /* it does not come back; over a network MPI may say so before mpirun ends us */
    CHECK(recto_barrier() == RECTO_EMPI);
    exit(1);
}

static uint64_t resume(void)
{
    int64_t epoch = -1;
    int restored = recto_restart(&epoch);
    CHECK(restored >= 0);
    uint64_t phase = restored == 1 ? shared->phase : 0;
    for (uint64_t p = 1; p <= phase; p++) {
        oracle_advance(p);
    }
    if (restored == 1) {
        all_check(phase);
        CHECK_OK(recto_check_all());
    }
    if (recto_rank() == 0) {
        printf("from phase %lu, epoch %ld\n", (unsigned long)phase,
               (long)epoch);
    }
    return phase;
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    CHECK(argc > 2 && getenv("TEST_SEED") != NULL);
    uint64_t last = strtoull(argv[1], NULL, 10);
    uint64_t fatal = strtoull(argv[2], NULL, 10);
    seed = strtoull(getenv("TEST_SEED"), NULL, 10) | 1;
    allocate();
    for (uint64_t phase = resume() + 1; phase <= last; phase++) {
        if (phase == fatal) {
            die(phase);
        }
        phase_run(phase);
        oracle_advance(phase);
        CHECK_OK(recto_barrier());
        if (recto_rank() == 0) {
            shared->phase = phase;
        }
        CHECK_OK(recto_barrier());
        if (test_hash(phase, seed, 4) % 3 != 0) {
            CHECK_OK(recto_checkpoint());
        }
        if (phase % 2 == 0) {
            all_check(phase);
            CHECK_OK(recto_barrier());
        }
    }
    all_check(last);
    CHECK_OK(recto_barrier());
    return test_end("checkpoints midway");
}
