/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data-race-free programs against an oracle, for either protocol. Every rank
 * knows the seed, hence what every byte must be after each barrier.
 *
 *   scatter  ranges down to single bytes, interleaved among all threads of all
 *            ranks, are written by one thread each; then everybody reads
 *   locks    bytes of several locks' data lie side by side in the same pages;
 *            who holds a lock verifies its bytes and writes the next ones
 *   chain    what a rank wrote is seen by all that come after it through a
 *            chain of different locks
 *   homes    homes write their own pages for long, readers come and go
 *   atomics  recto_* atomics beside bytes that are written plainly
 *   hands    recto_release and recto_acquire around flags made of atomics
 *   still    pages that nobody writes cost nothing at synchronisations
 *   passing  arrays come and go between the phases
 *
 * argv[1]: release, sequential or mixed; argv[2]: scale. TEST_SEED repeats.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 4096,
    BYTES = 12 * PAGE + 100, /* of each array */
    ARRAYS = 3,
    THREADS = 2,
    LOCKS = 7,
    LOCKED = 300, /* bytes of a lock's data */
    ROUNDS = 30
};

static uint64_t seed;
static int scale = 1;
static unsigned char *arrays[ARRAYS];
static unsigned char oracle[ARRAYS][BYTES];
static recto_lock_t locks[LOCKS];
static const char *mode;

static uint64_t rank(void)
{
    return (uint64_t)recto_rank();
}

static uint64_t size(void)
{
    return (uint64_t)recto_size();
}

static int consistency(int which)
{
    if (strcmp(mode, "mixed") == 0) {
        return which % 2 == 0 ? RECTO_RELEASE : RECTO_SEQUENTIAL;
    }
    return strcmp(mode, "release") == 0 ? RECTO_RELEASE : RECTO_SEQUENTIAL;
}

static void *allocate(const char *name, uint64_t bytes, int which)
{
    static const int placements[] = {RECTO_BLOCK, RECTO_CYCLIC, 0};
    recto_attr attr = {.consistency = consistency(which),
                       .placement = placements[which % ARRAYS]};
    if (which % ARRAYS == 2) {
        attr.placement = RECTO_AT(recto_size() - 1);
    }
    void *p = recto_alloc(name, bytes, &attr);
    CHECK(p != NULL);
    return p;
}

static void threads_run(void *(*work)(void *), uint64_t phase)
{
    pthread_t threads[THREADS];
    uint64_t arguments[THREADS][2];
    for (uint64_t t = 0; t < THREADS; t++) {
        arguments[t][0] = rank() * THREADS + t;
        arguments[t][1] = phase;
        CHECK_OK(pthread_create(&threads[t], NULL, work, arguments[t]));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
}

static void expect(int a, uint64_t i, const char *phase)
{
    if (arrays[a][i] != oracle[a][i]) {
        fprintf(stderr,
                "rank %d, %s, TEST_SEED=%llu: array %d, byte %llu (page %llu + "
                "%llu) is %u, not %u\n",
                recto_rank(), phase, (unsigned long long)seed, a,
                (unsigned long long)i, (unsigned long long)(i / PAGE),
                (unsigned long long)(i % PAGE), arrays[a][i], oracle[a][i]);
        CHECK(arrays[a][i] == oracle[a][i]);
    }
}

static void expect_all(const char *phase)
{
    for (int a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            expect(a, i, phase);
        }
    }
}

/* ---- scatter ---- */

static uint64_t grain(int a, uint64_t phase)
{
    static const uint64_t grains[] = {1, 2, 3, 8, 61, 64, 1000, PAGE, 9999};
    return grains[test_hash((uint64_t)a, phase, seed) % 9];
}

/* Which thread writes a byte in a phase; nobody for a third of them. */
static uint64_t writer(int a, uint64_t i, uint64_t phase)
{
    uint64_t h =
        test_hash(i / grain(a, phase), phase * ARRAYS + (uint64_t)a, seed);
    return h % 3 == 0 ? UINT64_MAX : h / 3 % (size() * THREADS);
}

static unsigned char value(int a, uint64_t i, uint64_t phase)
{
    return (unsigned char)test_hash(i, phase, seed + (uint64_t)a);
}

static void *scatter_write(void *argument)
{
    const uint64_t *me = argument;
    for (int a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            if (writer(a, i, me[1]) == me[0]) {
                arrays[a][i] = value(a, i, me[1]);
            }
        }
    }
    return NULL;
}

static void *scatter_read(void *argument)
{
    const uint64_t *me = argument;
    uint64_t state = test_hash(seed, me[0], me[1]) | 1;
    for (int k = 0; k < 500; k++) {
        uint64_t h = test_random(&state);
        expect((int)(h % ARRAYS), h / ARRAYS % BYTES, "scatter");
    }
    return NULL;
}

static void oracle_advance(uint64_t phase)
{
    for (int a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            if (writer(a, i, phase) != UINT64_MAX) {
                oracle[a][i] = value(a, i, phase);
            }
        }
    }
}

static void scatter(void)
{
    for (uint64_t phase = 1; phase <= 12 * (uint64_t)scale; phase++) {
        threads_run(scatter_write, phase);
        oracle_advance(phase);
        CHECK_OK(recto_barrier());
        threads_run(scatter_read, phase);
        if (phase % 4 == 0) {
            expect_all("scatter");
        }
        CHECK_OK(recto_barrier());
        if (phase % 4 == 1) {
            CHECK_OK(recto_check_all());
        }
    }
}

/* ---- locks ---- */

/* Byte k of a lock's data lies in array k mod ARRAYS, among other locks'. */
static unsigned char *locked_byte(uint64_t lock, uint64_t k)
{
    return &arrays[k % ARRAYS][2 * PAGE - 300 + k * LOCKS + lock];
}

/* The first four bytes count how often the lock was taken. */
static uint32_t locked_count(uint64_t lock)
{
    uint32_t n = 0;
    for (unsigned k = 0; k < 4; k++) {
        n |= (uint32_t)*locked_byte(lock, k) << 8 * k;
    }
    return n;
}

static void locked_write(uint64_t lock, uint32_t n)
{
    for (unsigned k = 0; k < 4; k++) {
        *locked_byte(lock, k) = (unsigned char)(n >> 8 * k);
    }
    for (uint64_t k = 4; k < LOCKED; k++) {
        /* now and then a byte stays what it was */
        *locked_byte(lock, k) =
            (unsigned char)test_hash(k, n / (k % 3 + 1), lock);
    }
}

static void locked_check(uint64_t lock, uint32_t n)
{
    for (uint64_t k = 4; k < LOCKED; k++) {
        unsigned char want = (unsigned char)test_hash(k, n / (k % 3 + 1), lock);
        if (*locked_byte(lock, k) != want) {
            const unsigned char *p = locked_byte(lock, k);
            fprintf(stderr,
                    "rank %d, TEST_SEED=%llu: lock %llu, taken %u times: byte "
                    "%llu (array %llu, byte %td, home %d) is %u, not %u\n",
                    recto_rank(), (unsigned long long)seed,
                    (unsigned long long)lock, n, (unsigned long long)k,
                    (unsigned long long)k % ARRAYS, p - arrays[k % ARRAYS],
                    recto_home(p), *p, want);
            CHECK(*p == want);
        }
    }
}

static void locked_take(uint64_t lock, int try)
{
    int r = RECTO_EBUSY;
    while (try && r == RECTO_EBUSY) {
        r = recto_trylock(locks[lock]);
        CHECK(r == 0 || r == RECTO_EBUSY);
    }
    if (!try) {
        CHECK_OK(recto_lock(locks[lock]));
    }
}

static void *locks_work(void *argument)
{
    const uint64_t *me = argument;
    uint64_t state = test_hash(seed, me[0], 77) | 1;
    for (int k = 0; k < ROUNDS * scale; k++) {
        uint64_t lock = test_random(&state) % LOCKS;
        locked_take(lock, test_random(&state) % 4 == 0);
        uint32_t n = locked_count(lock);
        locked_check(lock, n);
        locked_write(lock, n + 1);
        CHECK_OK(recto_unlock(locks[lock]));
    }
    return NULL;
}

static void locks_phase(void)
{
    for (uint64_t l = rank(); l < LOCKS; l += size()) {
        locked_write(l, 0);
    }
    CHECK_OK(recto_barrier());
    threads_run(locks_work, 0);
    CHECK_OK(recto_barrier());
    uint64_t total = 0;
    for (uint64_t l = 0; l < LOCKS; l++) {
        locked_check(l, locked_count(l));
        total += locked_count(l);
    }
    CHECK(total == size() * THREADS * ROUNDS * (uint64_t)scale);
    CHECK_OK(recto_check_all());
}

/* ---- chain ---- */

enum {
    APART = 512 /* words: a page */
};

/* Waits until, under my lock, the rank before me has had its turn. */
static void turn_wait(const uint64_t *turn, uint64_t round)
{
    uint64_t before = (rank() + size() - 1) % size();
    uint64_t want = rank() == 0 ? round - 1 : round;
    for (uint64_t seen = want + 1; seen != want; usleep(50)) {
        CHECK_OK(recto_lock(locks[rank() % LOCKS]));
        seen = turn[before];
        CHECK_OK(recto_unlock(locks[rank() % LOCKS]));
        CHECK(seen <= round);
    }
}

static void turn_give(uint64_t *turn, uint64_t round)
{
    uint64_t next = (rank() + 1) % size();
    CHECK_OK(recto_lock(locks[next % LOCKS]));
    turn[rank()] = round;
    CHECK_OK(recto_unlock(locks[next % LOCKS]));
}

/* In its turn a rank finds what all ranks before it have written in this round,
 * each handing over under another lock. */
static void chain(void)
{
    uint64_t *turn = allocate("turn", size() * 8, 0);
    uint64_t *data = allocate("data", size() * APART * 8, 1);
    for (uint64_t round = 1; round <= 20 * (uint64_t)scale; round++) {
        turn_wait(turn, round);
        for (uint64_t r = 0; r < size(); r++) {
            CHECK(data[r * APART] == (r < rank() ? round : round - 1));
        }
        data[rank() * APART] = round;
        turn_give(turn, round);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(turn));
    CHECK_OK(recto_free(data));
}

/* ---- homes ---- */

static void homes(void)
{
    uint64_t pages = 4 * size();
    unsigned char *p = allocate("homes", pages * PAGE, 0);
    for (uint64_t phase = 1; phase <= 16 * (uint64_t)scale; phase++) {
        for (uint64_t g = 0; g < pages; g++) {
            if (recto_home(p + g * PAGE) == recto_rank() &&
                test_hash(g, phase, seed) % 4 != 0) {
                p[g * PAGE + phase % PAGE] = (unsigned char)(phase + g);
                p[g * PAGE + PAGE - 1] = (unsigned char)phase;
            }
        }
        CHECK_OK(recto_barrier());
        /* readers come in some phases only, and not to all pages */
        for (uint64_t g = phase % 3; phase / 4 % 2 == 1 && g < pages; g += 3) {
            uint64_t last = phase;
            while (last > 0 && test_hash(g, last, seed) % 4 == 0) {
                last--;
            }
            CHECK(p[g * PAGE + PAGE - 1] == (unsigned char)last);
            for (uint64_t k = 1; k <= phase; k++) {
                CHECK(p[g * PAGE + k] == (test_hash(g, k, seed) % 4 != 0
                                              ? (unsigned char)(k + g)
                                              : 0));
            }
        }
        CHECK_OK(recto_barrier());
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

/* ---- atomics ---- */

struct words {
    int64_t sum;
    double real;
    uint32_t small;
    uint32_t last;
    uint64_t most;
    unsigned char plain[1]; /* one byte per thread of the job */
};

static struct words *words_of(int a)
{
    return (struct words *)(void *)(arrays[a] + 6 * PAGE);
}

static void *atomics_work(void *argument)
{
    const uint64_t *me = argument;
    for (int k = 0; k < ROUNDS * scale; k++) {
        for (int a = 0; a < ARRAYS; a++) {
            struct words *w = words_of(a);
            w->plain[me[0]] = (unsigned char)(w->plain[me[0]] + 1);
            recto_fetch_add_i64(&w->sum, (int64_t)me[0] + 1);
            recto_fetch_add_f64(&w->real, 0.5);
            recto_fetch_add_u32(&w->small, 3);
            recto_exchange_u32(&w->last, (uint32_t)me[0] + 1);
            uint64_t mine = (uint64_t)k * 1000 + me[0];
            uint64_t seen = recto_cas_u64(&w->most, 0, 0);
            while (seen < mine) {
                uint64_t old = recto_cas_u64(&w->most, seen, mine);
                if (old == seen) {
                    break;
                }
                seen = old;
            }
        }
    }
    return NULL;
}

static void atomics(void)
{
    uint64_t n = size() * THREADS;
    if (rank() == 0) {
        for (int a = 0; a < ARRAYS; a++) {
            memset(words_of(a), 0, sizeof(struct words) + n);
        }
    }
    CHECK_OK(recto_barrier());
    threads_run(atomics_work, 0);
    CHECK_OK(recto_barrier());
    uint64_t rounds = (uint64_t)ROUNDS * (uint64_t)scale;
    for (int a = 0; a < ARRAYS; a++) {
        const struct words *w = words_of(a);
        CHECK(w->sum == (int64_t)(rounds * n * (n + 1) / 2));
        CHECK(w->real == 0.5 * (double)(rounds * n));
        CHECK(w->small == (uint32_t)(3 * rounds * n));
        CHECK(w->last >= 1 && w->last <= n);
        CHECK(w->most == (rounds - 1) * 1000 + n - 1);
        for (uint64_t t = 0; t < n; t++) {
            CHECK(w->plain[t] == (unsigned char)rounds);
        }
    }
    CHECK_OK(recto_check_all());
}

/* ---- hands ---- */

static void hands(void)
{
    uint64_t *flag = allocate("flag", 8, 2);
    uint64_t *data = allocate("hand", 4 * (uint64_t)PAGE, 1);
    uint64_t words = 4 * PAGE / 8;
    uint64_t turns = 10 * size() * (uint64_t)scale;
    for (uint64_t turn = rank(); turn < turns; turn += size()) {
        while ((turn % 2 ? recto_cas_u64(flag, 0, 0) : recto_load_u64(flag)) !=
               turn) {
            usleep(30);
        }
        CHECK_OK(recto_acquire());
        for (uint64_t i = 0; i < words; i += 1 + turn % 5) {
            CHECK(data[i] % (turn + 1) == data[i]);
        }
        for (uint64_t i = turn % 3; i < words; i += 3) {
            data[i] = turn;
        }
        CHECK_OK(recto_release());
        if (turn % 3 == 0) {
            recto_store_u64(flag, turn + 1);
        } else {
            CHECK(recto_exchange_u64(flag, turn + 1) == turn);
        }
    }
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < words; i++) {
        uint64_t last = turns - 1;
        while (last > 0 && last % 3 != i % 3) {
            last--;
        }
        CHECK(data[i] == (last % 3 == i % 3 ? last : 0));
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(flag));
    CHECK_OK(recto_free(data));
}

/* ---- still ---- */

/* Reads all, also when nobody uses the sum. */
static uint64_t sum_all(void)
{
    uint64_t sum = 0;
    for (int a = 0; a < ARRAYS; a++) {
        const volatile uint8_t *bytes = (const volatile uint8_t *)arrays[a];
        for (uint64_t i = 0; i < BYTES; i += 64) {
            sum += bytes[i];
        }
    }
    return sum;
}

static void still(void)
{
    recto_counters before;
    recto_counters after;
    CHECK_OK(recto_barrier());
    (void)sum_all();
    /* a home tells new readers once that it may have written before it knew */
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_barrier());
    uint64_t sum = sum_all();
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_stats(&before));
    for (int k = 0; k < 10; k++) {
        CHECK(sum_all() == sum);
        CHECK_OK(recto_lock(locks[0]));
        CHECK_OK(recto_unlock(locks[0]));
        CHECK_OK(recto_barrier());
    }
    CHECK_OK(recto_stats(&after));
    bool bounded = getenv("RECTO_CACHE") != NULL;
    CHECK(bounded || after.read_misses == before.read_misses);
    CHECK(bounded || after.bytes_fetched == before.bytes_fetched);
    CHECK(after.write_misses == before.write_misses);
    CHECK(after.invalidations == before.invalidations);
    CHECK(recto_nodes() > 1 || after.read_misses + after.upgrades == 0);
}

/* ---- passing ---- */

static void passing(void)
{
    for (int k = 0; k < 6 * scale; k++) {
        uint64_t bytes = test_hash((uint64_t)k, seed, 3) % (9 * PAGE) + 1;
        unsigned char *p = allocate("passing", bytes, k);
        for (uint64_t i = rank(); i < bytes; i += size()) {
            CHECK(p[i] == 0);
            p[i] = (unsigned char)(i + 1);
        }
        if (k % 2 == 0) {
            CHECK_OK(recto_barrier());
            CHECK_OK(recto_prefetch(p, bytes));
            for (uint64_t i = 0; i < bytes; i++) {
                CHECK(p[i] == (unsigned char)(i + 1));
            }
        }
        /* written pages and unread notices may be under way */
        CHECK_OK(recto_free(p));
    }
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    mode = argc > 1 ? argv[1] : "release";
    scale = argc > 2 ? atoi(argv[2]) : 1;
    seed = test_seed("seed");
    static const char *const names[ARRAYS] = {"block", "cyclic", "last"};
    for (int a = 0; a < ARRAYS; a++) {
        arrays[a] = allocate(names[a], BYTES, a);
    }
    for (int l = 0; l < LOCKS; l++) {
        CHECK_OK(recto_lock_create(&locks[l]));
    }
    scatter();
    still();
    passing();
    locks_phase();
    chain();
    homes();
    atomics();
    hands();
    still();
    return test_end("data-race-free programs");
}
