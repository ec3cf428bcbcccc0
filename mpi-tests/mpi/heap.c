/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that blocks of recto_malloc hold what was written to them whoever
 * allocates, writes and frees them, in several threads; that nothing leaks, that
 * a block freed with writes on their way is not given to anybody, that a heap
 * that is used up says so and goes on with what is freed, that wrong calls change
 * nothing, and that a restart finds the blocks and can free them.
 * argv: [OPERATIONS]; or "write" or "read": a checkpoint in RECTO_CKPT_DIR, and
 * the restart from it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "test.h"

enum {
    SLOTS = 64,
    THREADS = 3,
    LARGEST = 300000
};

/* A block on its way between ranks, under the slot's lock. */
struct slot {
    unsigned char *p;
    uint64_t bytes;
    uint64_t mark;
};

static struct slot *slots;
static recto_lock_t locks[SLOTS];
static int64_t *total;
static long operations = 20000;
static uint64_t seed;

static unsigned char byte_of(uint64_t mark, uint64_t i)
{
    return (unsigned char)(mark >> i % 8 * 8 ^ i * 31);
}

static void fill(unsigned char *p, uint64_t bytes, uint64_t mark)
{
    for (uint64_t i = 0; i < bytes; i++) {
        p[i] = byte_of(mark, i);
    }
}

static bool holds(const unsigned char *p, uint64_t bytes, uint64_t mark)
{
    for (uint64_t i = 0; i < bytes; i++) {
        if (p[i] != byte_of(mark, i)) {
            fprintf(stderr, "block %p of %lu bytes, byte %lu: %x, not %x\n",
                    (const void *)p, (unsigned long)bytes, (unsigned long)i,
                    p[i], byte_of(mark, i));
            return false;
        }
    }
    return true;
}

/* Mostly small. */
static uint64_t some_bytes(uint64_t *state)
{
    uint64_t r = test_random(state);
    uint64_t most = r % 64 == 0 ? LARGEST : r % 8 == 0 ? 20000 : 300;
    return test_random(state) % most;
}

/* ---- many threads of many ranks ------------------------------------------------ */

static void step(uint64_t *state)
{
    uint64_t i = test_random(state) % SLOTS;
    CHECK_OK(recto_lock(locks[i]));
    struct slot *s = &slots[i];
    if (s->p == NULL) {
        s->bytes = some_bytes(state);
        s->mark = test_random(state);
        s->p = recto_malloc(s->bytes);
        CHECK(s->p != NULL && (uintptr_t)s->p % 16 == 0);
        fill(s->p, s->bytes, s->mark);
    } else {
        CHECK(holds(s->p, s->bytes, s->mark));
        s->mark = test_random(state);
        fill(s->p, s->bytes, s->mark);
        if (s->mark % 3 != 0) {
            /* written and freed in one interval */
            CHECK_OK(recto_mfree(s->p));
            s->p = NULL;
        }
    }
    CHECK_OK(recto_unlock(locks[i]));
}

static void *thread_main(void *number)
{
    uint64_t state =
        test_hash(seed, (uint64_t)recto_rank(), (uintptr_t)number) | 1;
    void *own[8] = {NULL};
    for (long i = 0; i < operations / (recto_size() * THREADS); i++) {
        step(&state);
        void **mine = &own[test_random(&state) % 8];
        CHECK_OK(recto_mfree(*mine));
        *mine = recto_malloc(some_bytes(&state));
        CHECK(*mine != NULL);
    }
    for (int i = 0; i < 8; i++) {
        CHECK_OK(recto_mfree(own[i]));
    }
    return NULL;
}

static int64_t live_now(void)
{
    recto_counters c;
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_stats(&c));
    if (recto_rank() == 0) {
        recto_store_i64(total, 0);
    }
    CHECK_OK(recto_barrier());
    recto_fetch_add_i64(total, (int64_t)c.heap_bytes);
    CHECK_OK(recto_barrier());
    int64_t all = *total;
    CHECK_OK(recto_barrier());
    return all;
}

/* Blocks of ranks that do not share memory are freed a little later. */
static int64_t live_everywhere(void)
{
    int64_t live = live_now();
    for (int i = 0; i < 2000 && live > 0; i++) {
        usleep(1000);
        live = live_now();
    }
    return live;
}

static void torture(void)
{
    pthread_t threads[THREADS];
    for (intptr_t t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_create(&threads[t], NULL, thread_main, (void *)t));
    }
    for (int t = 0; t < THREADS; t++) {
        CHECK_OK(pthread_join(threads[t], NULL));
    }
    CHECK_OK(recto_barrier());
    int64_t live = 0;
    for (int i = 0; i < SLOTS; i++) {
        live += slots[i].p != NULL;
        CHECK(slots[i].p == NULL ||
              holds(slots[i].p, slots[i].bytes, slots[i].mark));
    }
    CHECK(live == 0 || live_now() > 0);
    for (int i = recto_rank(); i < SLOTS; i += recto_size()) {
        CHECK_OK(recto_mfree(slots[i].p));
        slots[i].p = NULL;
    }
    CHECK(live_everywhere() == 0);
}

/* A million blocks, a few at a time, must not need more than a few. */
static void no_leak(void)
{
    enum {
        HELD = 32
    };
    void *held[HELD] = {NULL};
    uint64_t state = test_hash(seed, 5, (uint64_t)recto_rank()) | 1;
    long rounds = operations > 20000 ? 1000000 : 100000;
    for (long i = 0; i < rounds; i++) {
        void **h = &held[i % HELD];
        CHECK_OK(recto_mfree(*h));
        /* together more than the heap has */
        *h = recto_malloc(test_random(&state) % 30000);
        CHECK(*h != NULL);
    }
    for (int i = 0; i < HELD; i++) {
        CHECK_OK(recto_mfree(held[i]));
    }
    CHECK(live_everywhere() == 0);
}

/* ---- one rank's writes are on their way ------------------------------------------- */

/* Rank 0 allocates, the last rank writes and frees without a release. */
static void quarantine(void)
{
    enum {
        BYTES = 5000, /* of their own size */
        TRIES = 200
    };
    int64_t *turn = recto_alloc("turn", 8, NULL);
    unsigned char *tried[TRIES];
    struct slot *s = &slots[0];
    int last = recto_size() - 1;
    CHECK(turn != NULL);
    if (recto_rank() == 0) {
        s->p = recto_malloc(BYTES);
        CHECK(s->p != NULL);
    }
    CHECK_OK(recto_barrier());
    unsigned char *p = s->p;
    if (recto_rank() == last) {
        fill(p, BYTES, 7);
        CHECK_OK(recto_mfree(p));
        recto_store_i64(turn, 1);
        while (recto_load_i64(turn) != 2) {
            usleep(100);
        }
        CHECK_OK(recto_release());
        recto_store_i64(turn, 3);
    }
    bool same = recto_nodes() == 1;
    if (recto_rank() == 0) {
        while (recto_load_i64(turn) == 0) {
            usleep(100);
        }
        for (int i = 0; i < TRIES && !same; i++) {
            tried[i] = recto_malloc(BYTES);
            CHECK(tried[i] != NULL && tried[i] != p);
            fill(tried[i], BYTES, (uint64_t)i);
        }
    }
    if (recto_rank() == 0) {
        recto_store_i64(turn, 2);
        while (recto_load_i64(turn) != 3) {
            usleep(100);
        }
        bool again = same;
        for (int i = 0; i < TRIES && !same; i++) {
            CHECK(holds(tried[i], BYTES, (uint64_t)i));
            CHECK_OK(recto_mfree(tried[i]));
        }
        for (int i = 0; i < TRIES && !same; i++) {
            tried[i] = recto_malloc(BYTES);
            again = again || tried[i] == p;
        }
        CHECK(again); /* it came back */
        for (int i = 0; i < TRIES && !same; i++) {
            CHECK_OK(recto_mfree(tried[i]));
        }
    }
    CHECK_OK(recto_barrier());
    if (recto_rank() == 0) {
        s->p = NULL;
    }
    CHECK(live_everywhere() == 0);
    CHECK_OK(recto_free(turn));
}

/* ---- used up ------------------------------------------------------------------------- */

static long exhausted_by(int rank, uint64_t bytes, bool *full)
{
    long n = 0;
    void **first = NULL; /* a list of blocks in the blocks themselves */
    if (recto_rank() == rank) {
        void **p = NULL;
        while ((p = recto_malloc(bytes)) != NULL) {
            *p = first;
            first = p;
            n++;
        }
        *full = strstr(recto_last_error(), "RECTO_HEAP") != NULL;
    }
    CHECK_OK(recto_barrier());
    if (recto_rank() == rank) {
        slots[0].p = (void *)first;
    }
    CHECK_OK(recto_barrier());
    /* somebody else frees them all */
    if (recto_rank() == (rank + 1) % recto_size()) {
        void **p = (void **)slots[0].p;
        while (p != NULL) {
            void **next = *p;
            CHECK_OK(recto_mfree(p));
            p = next;
        }
    }
    CHECK_OK(recto_barrier());
    CHECK(live_everywhere() == 0);
    return n;
}

/* Runs with a heap of 16 MiB. */
static void used_up(void)
{
    /* each block of another machine is a message or two */
    bool far = test_far();
    const uint64_t sizes[] = {3000000, far ? 15000 : 1500, far ? 20000 : 4000,
                              30000, 500000};
    double heap = 16 << 20;
    for (int round = 0; round < (far ? 1 : 2); round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int rank = (int)i % recto_size();
            bool full = false;
            long n = exhausted_by(rank, sizes[i], &full);
            if (recto_rank() == rank) {
                double got = (double)n * (double)sizes[i] / heap;
                /* blocks that do not divide the room; chunks that other ranks
                 * have taken do not join to large ones */
                double least = sizes[i] > 100000 ? -1 : 0.5;
                printf("%lu bytes: %ld blocks, %.2f of the heap\n",
                       (unsigned long)sizes[i], n, got);
                CHECK(full && got > least && got <= 1);
            }
        }
    }
    if (recto_rank() == 0) {
        slots[0].p = NULL;
    }
    CHECK_OK(recto_barrier());
}

/* ---- wrong use ------------------------------------------------------------------------ */

static bool refused(void *p, const char *why)
{
    return recto_mfree(p) == RECTO_EINVAL &&
           strstr(recto_last_error(), why) != NULL;
}

static void wrong_use(void)
{
    int local = 0;
    CHECK_OK(recto_mfree(NULL));
    CHECK(refused(&local, "not memory of recto_malloc"));
    CHECK(refused(slots, "not memory of recto_malloc"));
    char *p = recto_malloc(100);
    char *q = recto_malloc(200000);
    CHECK(p != NULL && q != NULL && recto_is_shared(p) && recto_is_shared(q));
    CHECK(recto_nodes() == 1 || recto_home(p) == recto_rank());
    CHECK(refused(p + 16, "no block begins there"));
    CHECK(refused(p + 1, "no block begins there"));
    CHECK(refused(q + 4096, "no block begins there"));
    CHECK(refused(q - 4096, "no block begins there"));
    memset(p, 1, 100);
    CHECK_OK(recto_mfree(p));
    CHECK(refused(p, "free already"));
    CHECK_OK(recto_mfree(q));
    CHECK(recto_mfree(q) == RECTO_EINVAL);
    CHECK(recto_malloc((size_t)1 << 50) == NULL);
    CHECK(strstr(recto_last_error(), "RECTO_HEAP") != NULL);
    CHECK_OK(recto_barrier());
    p = recto_malloc(0);
    CHECK(p != NULL);
    CHECK(recto_free(p) == RECTO_EINVAL); /* collective, all the same */
    CHECK_OK(recto_mfree(p));
    CHECK(live_everywhere() == 0);
}

/* ---- checkpoint, restart ------------------------------------------------------------------ */

struct node {
    struct node *next;
    uint64_t bytes;
    uint64_t mark;
    unsigned char data[];
};

enum {
    LISTS = 12, /* list i is made by rank i mod size, changed by another */
    NODES = 40
};

static struct node *node_make(struct node *next, uint64_t *state)
{
    uint64_t bytes = some_bytes(state);
    struct node *n = recto_malloc(sizeof *n + bytes);
    CHECK(n != NULL);
    *n = (struct node){next, bytes, test_random(state)};
    fill(n->data, bytes, n->mark);
    return n;
}

static uint64_t *sums;

static void list_check(struct node *n, uint64_t sum)
{
    uint64_t found = 0;
    for (; n != NULL; n = n->next) {
        CHECK(holds(n->data, n->bytes, n->mark));
        found = test_hash(found, n->mark, n->bytes);
    }
    CHECK(found == sum);
}

static uint64_t list_sum(struct node *n)
{
    uint64_t sum = 0;
    for (; n != NULL; n = n->next) {
        sum = test_hash(sum, n->mark, n->bytes);
    }
    return sum;
}

static struct node **roots;

/* Every list loses each third node and gets new ones. */
static void lists_change(int by, uint64_t round)
{
    for (int i = 0; i < LISTS; i++) {
        if ((i + by) % recto_size() != recto_rank()) {
            continue;
        }
        uint64_t state = test_hash(round, (uint64_t)i, 3) | 1;
        struct node **at = &roots[i];
        for (int k = 0; *at != NULL; k++) {
            struct node *n = *at;
            if (k % 3 == 1) {
                *at = n->next;
                CHECK_OK(recto_mfree(n));
            } else {
                at = &n->next;
            }
        }
        for (int k = 0; k < NODES; k++) {
            roots[i] = node_make(roots[i], &state);
        }
        sums[i] = list_sum(roots[i]);
    }
}

static void lists_check(void)
{
    for (int i = 0; i < LISTS; i++) {
        list_check(roots[i], sums[i]);
    }
    CHECK_OK(recto_barrier());
}

static void write_epochs(void)
{
    CHECK_OK(recto_checkpoint()); /* a heap that was never used */
    for (uint64_t round = 0; round < 5; round++) {
        lists_change((int)round, round);
        CHECK_OK(recto_checkpoint());
        lists_check();
    }
    lists_change(1, 99); /* in no epoch */
    CHECK_OK(recto_barrier());
}

static void read_epochs(void)
{
    /* blocks of this run go */
    void *before = recto_malloc(100000 * (size_t)(recto_rank() + 1));
    CHECK(before != NULL);
    CHECK(recto_restart(NULL) == 1);
    lists_check();
    CHECK_OK(recto_check_all());
    CHECK(live_now() > 0);
    lists_change(2, 7);
    CHECK_OK(recto_barrier());
    lists_check();
    for (int i = 0; i < LISTS; i++) {
        while ((i + 1) % recto_size() == recto_rank() && roots[i] != NULL) {
            struct node *n = roots[i];
            roots[i] = n->next;
            CHECK_OK(recto_mfree(n));
        }
    }
    CHECK(live_everywhere() == 0);
    operations /=
        getenv("TEST_FAR") != NULL ? 40 : 4; /* far ones take longer */
    torture();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool write = strcmp(what, "write") == 0;
    bool read = strcmp(what, "read") == 0;
    if (!write && !read) {
        setenv("RECTO_HEAP", "16M", 1); /* for used_up */
    }
    test_begin(&argc, &argv);
    recto_attr cyclic = {.placement = RECTO_CYCLIC};
    slots = recto_alloc("slots", SLOTS * sizeof *slots, &cyclic);
    total = recto_alloc("total", sizeof *total, NULL);
    roots = recto_alloc("roots", LISTS * sizeof(struct node *), NULL);
    sums = recto_alloc("sums", LISTS * sizeof *sums, NULL);
    CHECK(slots != NULL && total != NULL && roots != NULL && sums != NULL);
    CHECK_OK(recto_lock_create_many(locks, SLOTS));
    if (write || read) {
        (write ? write_epochs : read_epochs)();
        return test_end("heap: checkpoint, restart");
    }
    operations = argc > 1 ? atol(what) : operations;
    seed = test_seed("seed");
    wrong_use();
    if (recto_size() > 1) {
        quarantine();
    }
    torture();
    no_leak();
    used_up();
    torture();
    return test_end("heap");
}
