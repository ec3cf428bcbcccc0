/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that RECTO_FIRST_TOUCH makes the rank that accesses a granule first its
 * home, that all ranks agree on it also when they race, that data, atomics and
 * prefetches on such memory are right under both protocols, that a prefetch finds out
 * whose the pages are, and that a checkpoint decides what nobody has touched: all
 * ranks agree on it, also a rank that homes nothing.
 * argv: nothing; or "write" or "read": a checkpoint in RECTO_CKPT_DIR, and the
 * restart from it.
 */
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 4096,
    GRANULE = 65536,
    GRANULES = 48,
    WORDS = GRANULE / 8,
    WRITERS = 3 /* ranks that write the checkpoint */
};

static const recto_attr touch[] = {
    {.placement = RECTO_FIRST_TOUCH  },
    { .placement = RECTO_FIRST_TOUCH, .consistency = RECTO_SEQUENTIAL},
    { .placement = RECTO_FIRST_TOUCH,                 .granule = PAGE}
};

static int toucher(uint64_t g)
{
    return (int)((g * 7 + 3) % (uint64_t)recto_size());
}

static uint64_t value(uint64_t i, uint64_t round)
{
    return test_hash(i, round, 77);
}

/* Ranks write whole granules in a scattered order, then read everything. */
static void scattered(const recto_attr *attr)
{
    uint64_t *p = recto_alloc("scattered", GRANULES * GRANULE, attr);
    CHECK(p != NULL);
    CHECK_OK(recto_barrier());
    for (uint64_t g = 0; g < GRANULES; g++) {
        for (uint64_t i = g * WORDS;
             toucher(g) == recto_rank() && i < (g + 1) * WORDS; i++) {
            CHECK(p[i] == 0);
            p[i] = value(i, 1);
        }
    }
    CHECK_OK(recto_barrier());
    for (uint64_t g = 0; g < GRANULES && recto_nodes() > 1; g++) {
        CHECK(recto_home(p + g * WORDS + WORDS - 1) == toucher(g));
    }
    for (uint64_t round = 2; round < 5; round++) {
        for (uint64_t i = 0; i < GRANULES * WORDS; i++) {
            CHECK(p[i] == value(i, round - 1));
        }
        CHECK_OK(recto_barrier());
        for (uint64_t i = 0; i < GRANULES * WORDS; i++) {
            if ((int)(i / 512 % (uint64_t)recto_size()) == recto_rank()) {
                p[i] = value(i, round);
            }
        }
        CHECK_OK(recto_barrier());
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

/* All ranks rush at the same granules; they see one home each. */
static void raced(const recto_attr *attr)
{
    uint64_t n = (uint64_t)recto_size();
    uint64_t *p = recto_alloc("raced", GRANULES * GRANULE, attr);
    int64_t *seen = recto_alloc("seen", GRANULES * 8 * n, NULL);
    CHECK(p != NULL && seen != NULL);
    CHECK_OK(recto_barrier());
    for (uint64_t g = 0; g < GRANULES; g++) {
        p[g * WORDS + (uint64_t)recto_rank()] = g + 1;
        seen[(uint64_t)recto_rank() * GRANULES + g] = recto_home(p + g * WORDS);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t g = 0; g < GRANULES; g++) {
        for (uint64_t r = 0; r < n; r++) {
            CHECK(p[g * WORDS + r] == g + 1);
            CHECK(seen[r * GRANULES + g] == seen[g]);
        }
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(seen));
    CHECK_OK(recto_free(p));
}

/* Atomics and prefetches on what nobody has touched. */
static void untouched(const recto_attr *attr)
{
    int64_t *p = recto_alloc("untouched", GRANULES * GRANULE, attr);
    CHECK(p != NULL);
    CHECK(recto_home(p + (GRANULES - 1) * WORDS) == recto_size() - 1 ||
          GRANULES % recto_size() != 0);
    CHECK_OK(recto_prefetch(p, GRANULES * GRANULE));
    CHECK_OK(recto_barrier());
    for (int i = 0; i < 100; i++) {
        recto_fetch_add_i64(&p[(uint64_t)(i % GRANULES) * WORDS], 1);
    }
    CHECK_OK(recto_barrier());
    int64_t sum = 0;
    for (uint64_t g = 0; g < GRANULES; g++) {
        sum += p[g * WORDS];
        CHECK(p[g * WORDS + 1] == 0);
    }
    CHECK(sum == 100 * (int64_t)recto_size());
    CHECK_OK(recto_free(p));
}

/* Rank 0 touches all; the others move it by a prefetch, though they never asked whose
 * it is, and so read it without a miss. */
static void ahead(void)
{
    uint64_t *p = recto_alloc("ahead", GRANULES * GRANULE, &touch[0]);
    recto_counters before;
    recto_counters after;
    CHECK(p != NULL);
    for (uint64_t i = 0; recto_rank() == 0 && i < GRANULES * WORDS; i++) {
        p[i] = value(i, 6);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_prefetch(p, GRANULES * GRANULE));
    CHECK_OK(recto_stats(&before));
    for (uint64_t i = 0; i < GRANULES * WORDS; i++) {
        CHECK(p[i] == value(i, 6));
    }
    CHECK_OK(recto_stats(&after));
    CHECK(after.read_misses == before.read_misses);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
}

/* Large, and touched here and there. */
static void sparse(void)
{
    uint64_t bytes = (uint64_t)1 << 30;
    uint64_t step = bytes / 32;
    char *p = recto_alloc("sparse", bytes, &touch[0]);
    CHECK(p != NULL);
    for (uint64_t i = (uint64_t)recto_rank(); i < 32;
         i += (uint64_t)recto_size()) {
        memcpy(p + i * step + 5, &i, sizeof i);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < 32; i++) {
        uint64_t found = 0;
        memcpy(&found, p + i * step + 5, sizeof found);
        CHECK(found == i);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
}

static uint64_t *stored(const recto_attr *attr, const char *name)
{
    uint64_t *p = recto_alloc(name, GRANULES * GRANULE, attr);
    CHECK(p != NULL);
    return p;
}

/* All ranks see the same homes, also of what nobody has touched. */
static void homes_agree(const uint64_t *p)
{
    uint64_t n = (uint64_t)recto_size();
    int64_t *seen = recto_alloc("homes", GRANULES * 8 * n, NULL);
    CHECK(seen != NULL);
    /* each rank in an order of its own: answers tell of neighbours too */
    for (uint64_t i = 0; i < GRANULES; i++) {
        uint64_t g = (i * 5 + (uint64_t)recto_rank()) % GRANULES;
        seen[(uint64_t)recto_rank() * GRANULES + g] = recto_home(p + g * WORDS);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < GRANULES * n; i++) {
        CHECK(seen[i] == seen[i % GRANULES]);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(seen));
}

/* A third of the granules is written before each checkpoint; the first settles those
 * of the others. The last rank homes all of one array, the others nothing. */
static void write_epoch(void)
{
    uint64_t *p[] = {stored(&touch[0], "r"), stored(&touch[1], "s")};
    uint64_t *one = stored(&touch[0], "one");
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < GRANULES * WORDS; i++) {
        if (recto_rank() == recto_size() - 1) {
            one[i] = value(i, 7);
        }
    }
    for (int epoch = 0; epoch < 3; epoch++) {
        for (uint64_t g = (uint64_t)epoch; g < GRANULES; g += 3) {
            for (uint64_t i = g * WORDS;
                 toucher(g) == recto_rank() && i < (g + 1) * WORDS; i++) {
                p[0][i] = value(i, 8);
                p[1][i] = value(i, 9);
            }
        }
        CHECK_OK(recto_checkpoint());
        homes_agree(p[0]);
        homes_agree(p[1]);
        one[(uint64_t)recto_rank() * 512] = 5 + (uint64_t)epoch;
    }
    for (uint64_t g = 0; g < GRANULES && recto_nodes() > 1; g++) {
        CHECK(recto_home(one + g * WORDS) == recto_size() - 1);
    }
    CHECK_OK(recto_check_all());
}

static void read_epoch(void)
{
    uint64_t *p[] = {stored(&touch[0], "r"), stored(&touch[1], "s")};
    uint64_t *one = stored(&touch[0], "one");
    CHECK(recto_restart(NULL) == 1);
    for (uint64_t i = 0; i < GRANULES * WORDS; i++) {
        CHECK(p[0][i] == value(i, 8));
        CHECK(p[1][i] == value(i, 9));
        bool other = i % 512 == 0 && i / 512 < WRITERS;
        CHECK(one[i] == (other ? 6 : value(i, 7)));
    }
    homes_agree(p[0]);
    homes_agree(one);
    CHECK_OK(recto_check_all());
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    if (argc > 1) {
        if (strcmp(argv[1], "write") == 0) {
            CHECK(recto_size() == WRITERS);
            write_epoch();
        } else {
            read_epoch();
        }
        return test_end("first touch: checkpoint, restart");
    }
    for (size_t i = 0; i < sizeof touch / sizeof *touch; i++) {
        if (touch[i].granule == 0) {
            scattered(&touch[i]);
        }
        raced(&touch[i]);
        untouched(&touch[i]);
    }
    ahead();
    sparse();
    return test_end("first touch");
}
