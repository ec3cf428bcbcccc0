/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that recto_prefetch brings what is missing and leaves what is here: ranges of
 * arrays of all placements, of which a random part was read or written before, are
 * fetched ahead; then every byte is right and reading them is no miss.
 */
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    PAGES = 600,
    ROUNDS = 12
};

static uint64_t (*memory)[WORDS];

static uint64_t value(uint64_t round, uint64_t page)
{
    return test_hash(round, page, 7);
}

/* Homes write their pages; everybody else's copies are dropped. */
static void homes_write(uint64_t round)
{
    for (uint64_t p = 0; p < PAGES; p++) {
        if (recto_home(memory[p]) == recto_rank()) {
            memory[p][1] = value(round, p);
        }
    }
    CHECK_OK(recto_barrier());
}

static void round_run(uint64_t round, uint64_t *random)
{
    uint64_t me = (uint64_t)recto_rank();
    recto_counters before;
    recto_counters after;
    homes_write(round);
    uint64_t every = 1 + test_random(random) % 5;
    for (uint64_t p = 0; p < PAGES; p++) {
        uint64_t what = test_random(random) % every;
        if (what == 1) { /* a copy is here */
            CHECK(memory[p][1] == value(round, p));
        } else if (what == 2) { /* and is written: under a twin */
            memory[p][8 + me] = value(round + 100, p);
        }
    }
    uint64_t first = test_random(random) % PAGES;
    uint64_t count = 1 + test_random(random) % (PAGES - first);
    CHECK_OK(recto_prefetch(memory[first], count * PAGE));
    CHECK_OK(recto_stats(&before));
    for (uint64_t p = first; p < first + count; p++) {
        CHECK(memory[p][1] == value(round, p));
    }
    CHECK_OK(recto_stats(&after));
    CHECK(after.read_misses == before.read_misses);
    CHECK(after.bytes_fetched == before.bytes_fetched);
    CHECK_OK(recto_barrier());
}

int main(int argc, char **argv)
{
    const int placements[] = {RECTO_BLOCK, RECTO_CYCLIC, RECTO_AT(0),
                              RECTO_FIRST_TOUCH};
    test_begin(&argc, &argv);
    uint64_t seed = test_seed("seed");
    uint64_t random = seed + (uint64_t)recto_rank() * 77777;
    for (size_t i = 0; i < sizeof placements / sizeof placements[0]; i++) {
        recto_attr attr = {.placement = placements[i]};
        memory = recto_alloc("memory", (uint64_t)PAGES * PAGE, &attr);
        CHECK(memory != NULL);
        for (uint64_t p = (uint64_t)recto_rank(); p < PAGES;
             p += (uint64_t)recto_size()) {
            memory[p][0] = 1; /* first touch is decided */
        }
        CHECK_OK(recto_barrier());
        for (uint64_t k = 0; k < ROUNDS; k++) {
            round_run(k * 1000 + i, &random);
        }
        CHECK_OK(recto_free(memory));
    }
    CHECK(recto_prefetch(NULL, 100) == 0 && recto_prefetch(&seed, 8) == 0);
    return test_end("prefetch");
}
