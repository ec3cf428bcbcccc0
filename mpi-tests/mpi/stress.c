/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random stress of the page protocol against an oracle. Each phase ends with
 * recto_check_all(): page states, rights, directories and copies of all ranks
 * agree.
 *
 *   owners    each word is written by one thread, chosen by hash; after a
 *             barrier everybody reads words at random and knows what is there
 *   pingpong  two words of one page, written in turn by all ranks
 *   crowd     everyone adds to random words of all pages; nothing is lost
 *   order     one writer advances a, then b, on pages of different homes; no
 *             reader ever finds b ahead of a
 *   swarm     all threads of all ranks enter the same untouched page at once
 *
 * argv[1]: scale (1 is quick). The seed is printed; TEST_SEED repeats it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

enum {
    PAGES = 24,
    PER_PAGE = 512,
    THREADS = 3
};

static uint64_t seed;
static uint64_t scale = 1;
static uint64_t *data;
static _Atomic uint64_t *line; /* order, ping-pong */

static uint64_t threads_total(void)
{
    return (uint64_t)recto_size() * THREADS;
}

static void threads_run(void *(*work)(void *), uint64_t phase)
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

/* ---- owners ---- */

static void *owner_writes(void *argument)
{
    const uint64_t *a = argument;
    uint64_t state = test_hash(seed, a[0], a[1]) | 1;
    uint64_t start = test_random(&state) % (PAGES * PER_PAGE);
    /* prime to 24 x 512, so that every word is met */
    uint64_t stride = 6 * (test_random(&state) % 2000) + 1;
    for (uint64_t k = 0; k < PAGES * PER_PAGE; k++) {
        uint64_t i = (start + k * stride) % (PAGES * PER_PAGE);
        /* an eighth of the words changes hands in a phase */
        if (test_hash(i, a[1], seed) % 8 == 0 &&
            test_hash(i, a[1], seed + 1) % threads_total() == a[0]) {
            data[i] = test_hash(i, a[1], seed + 2);
        }
    }
    return NULL;
}

static uint64_t expected(uint64_t i, uint64_t phase)
{
    for (uint64_t p = phase; p > 0; p--) {
        if (test_hash(i, p, seed) % 8 == 0) {
            return test_hash(i, p, seed + 2);
        }
    }
    return 0;
}

static void *owner_reads(void *argument)
{
    const uint64_t *a = argument;
    uint64_t state = test_hash(seed, a[0], ~a[1]) | 1;
    for (int k = 0; k < 2000; k++) {
        uint64_t i = test_random(&state) % (PAGES * PER_PAGE);
        CHECK(data[i] == expected(i, a[1]));
    }
    return NULL;
}

static void owners(void)
{
    for (uint64_t phase = 1; phase <= 3 * scale; phase++) {
        threads_run(owner_writes, phase);
        CHECK_OK(recto_barrier());
        threads_run(owner_reads, phase);
        CHECK_OK(recto_check_all());
    }
}

/* ---- ping-pong ---- */

static void pingpong(void)
{
    uint64_t n = (uint64_t)recto_size();
    uint64_t turns = 60 * scale * n;
    for (;;) {
        uint64_t now = atomic_load(&line[0]);
        if (now >= turns) {
            break;
        }
        if (now % n == (uint64_t)recto_rank()) {
            CHECK(atomic_load(&line[100]) == 3 * now);
            atomic_store(&line[100], 3 * (now + 1));
            atomic_store(&line[0], now + 1);
        } else {
            usleep(20);
        }
    }
    CHECK_OK(recto_check_all());
}

/* ---- crowd ---- */

static void *crowd_adds(void *argument)
{
    const uint64_t *a = argument;
    uint64_t state = test_hash(seed, a[0], 4711) | 1;
    for (uint64_t k = 0; k < 150 * scale; k++) {
        uint64_t i = test_random(&state) % (PAGES * PER_PAGE);
        uint64_t by = test_random(&state) % 1000;
        recto_fetch_add_u64(&data[i], by);
        recto_fetch_add_u64((uint64_t *)&line[200], by);
    }
    return NULL;
}

static void crowd(void)
{
    if (recto_rank() == recto_size() - 1) {
        memset(data, 0, PAGES * PER_PAGE * sizeof *data);
    }
    CHECK_OK(recto_barrier());
    threads_run(crowd_adds, 0);
    CHECK_OK(recto_barrier());
    uint64_t sum = 0;
    for (uint64_t i = 0; i < PAGES * PER_PAGE; i++) {
        sum += data[i];
    }
    CHECK(sum == atomic_load(&line[200]));
    CHECK_OK(recto_check_all());
}

/* ---- order ---- */

static void order(void)
{
    _Atomic uint64_t *a = &line[0];
    _Atomic uint64_t *b = &line[PER_PAGE]; /* the next page, another home */
    uint64_t steps = 300 * scale;
    int writer = recto_size() / 2;
    CHECK_OK(recto_barrier());
    if (recto_rank() == writer) {
        for (uint64_t k = 1; k <= steps; k++) {
            atomic_store(a, (1U << 20) + k);
            atomic_store(b, (1U << 20) + k);
        }
        atomic_store(&line[2 * PER_PAGE], 1);
    } else {
        uint64_t last = 0;
        while (atomic_load(&line[2 * PER_PAGE]) == 0) {
            uint64_t second = atomic_load(b);
            uint64_t first = atomic_load(a);
            CHECK(second <= first || second == 0);
            CHECK(first >= last || last == 0);
            last = first;
            usleep(10);
        }
    }
    CHECK_OK(recto_barrier());
    CHECK(atomic_load(b) == (1U << 20) + steps);
    CHECK_OK(recto_check_all());
}

/* ---- swarm ---- */

static void *swarm_enters(void *argument)
{
    const uint64_t *a = argument;
    for (uint64_t p = 0; p < PAGES; p++) {
        uint64_t *at = data + p * PER_PAGE;
        if (a[0] % 2 == 0) {
            at[a[0] % PER_PAGE] = a[1] + p;
        }
        CHECK(at[PER_PAGE - 1] == 0);
    }
    return NULL;
}

static void swarm(void)
{
    recto_attr away = {.consistency = RECTO_SEQUENTIAL,
                       .placement = RECTO_CYCLIC};
    for (uint64_t k = 0; k < 2 * scale; k++) {
        uint64_t *kept = data;
        data = recto_alloc("swarm", PAGES * PER_PAGE * sizeof *data, &away);
        CHECK(data != NULL);
        threads_run(swarm_enters, k);
        CHECK_OK(recto_barrier());
        for (uint64_t t = 0; t < threads_total(); t += 2) {
            CHECK(data[t] == k && data[PER_PAGE + t] == k + 1);
        }
        CHECK_OK(recto_check_all());
        CHECK_OK(recto_free(data));
        data = kept;
    }
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    seed = test_seed("seed");
    recto_attr block = {.consistency = RECTO_SEQUENTIAL};
    recto_attr cyclic = {.consistency = RECTO_SEQUENTIAL,
                         .placement = RECTO_CYCLIC};
    data = recto_alloc("data", PAGES * PER_PAGE * sizeof *data, &block);
    line = recto_alloc("line", 3 * PER_PAGE * sizeof *line, &cyclic);
    CHECK(data != NULL && line != NULL);
    owners();
    pingpong();
    crowd();
    order();
    swarm();
    return test_end("random stress");
}
