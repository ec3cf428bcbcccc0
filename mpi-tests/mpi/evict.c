/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bound on copies of other domains' pages (RECTO_CACHE, which this test sets to
 * 256 KiB, 64 pages): more pages than that are read and written by every rank, of
 * sequential, of release consistent memory and of both by turns, in order and at
 * random. What was written must be read, whoever evicted it; a domain's memory must
 * never have more copies than its ranks may hold; something must have been evicted.
 *
 *   evict        runs all of it
 *   evict write  writes, with a checkpoint half-way
 *   evict read   restarts and finds what was written before the checkpoint
 */
#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "test.h"

enum {
    PAGE = 4096,
    BOUND = 64, /* pages of a rank */
    PAGES = 8 * BOUND,
    WORDS = PAGE / 8,
    SLACK = 8 /* per rank: requests and evictions under way, bitmaps */
};

static uint64_t seed;

/* One word per rank in each page; the rest are zero. */
static uint64_t *word(uint64_t *pages, uint64_t page, int rank)
{
    return pages + page * WORDS + (page * 7 + (uint64_t)rank * 5) % WORDS;
}

static int domain_ranks(void)
{
    const char *node = getenv("RECTO_NODE");
    return node == NULL || strcmp(node, "auto") == 0 ? recto_size()
           : strcmp(node, "rank") == 0               ? 1
                                                     : atoi(node);
}

/* Pages of memory behind a segment of mine. */
static uint64_t memory_pages(const char *name)
{
    char want[RECTO_NAME_MAX + 32];
    uint64_t pages = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    snprintf(want, sizeof want, "/memfd:recto:%s (deleted)", name);
    for (struct dirent *e = NULL; (e = readdir(folder)) != NULL;) {
        char at[300];
        char target[RECTO_NAME_MAX + 64] = {0};
        struct stat st;
        snprintf(at, sizeof at, "/proc/self/fd/%s", e->d_name);
        if (readlink(at, target, sizeof target - 1) > 0 &&
            strcmp(target, want) == 0 && stat(at, &st) == 0) {
            pages = (uint64_t)st.st_blocks * 512 / PAGE;
        }
    }
    closedir(folder);
    return pages;
}

/* Ranks of other domains than rank 0's keep the bound in its pages. */
static void bound_check(const char *name, bool release, uint64_t extra)
{
    if (recto_node() == 0) {
        return;
    }
    uint64_t most = (uint64_t)domain_ranks() * (BOUND + SLACK) + extra;
    uint64_t got = memory_pages(name);
    most *= release ? 2 : 1; /* twins */
    if (got > most) {
        fprintf(stderr, "rank %d: \"%s\": %llu pages of memory\n", recto_rank(),
                name, (unsigned long long)got);
    }
    CHECK(got > 0 && got <= most);
}

/* Every rank writes its word of each page, then reads everybody's. */
static void sweep(const char *name, bool release)
{
    recto_attr attr = {.placement = RECTO_AT(0),
                       .consistency =
                           release ? RECTO_RELEASE : RECTO_SEQUENTIAL};
    recto_counters before;
    recto_counters after;
    /* words and directory of the protocol, dirty bitmap */
    uint64_t extra = release ? PAGES * 28 / PAGE + 8 : 2;
    uint64_t *p = recto_alloc(name, (uint64_t)PAGES * PAGE, &attr);
    CHECK(p != NULL);
    CHECK_OK(recto_stats(&before));
    for (uint64_t k = 0; k < 2; k++) {
        for (uint64_t i = 0; i < PAGES; i++) {
            *word(p, i, recto_rank()) = test_hash(i, (uint64_t)recto_rank(), k);
            if (i % BOUND == BOUND - 1) {
                bound_check(name, release, extra);
            }
        }
        CHECK_OK(recto_barrier());
        for (uint64_t i = 0; i < PAGES; i++) {
            for (int r = 0; r < recto_size(); r++) {
                CHECK(*word(p, i, r) == test_hash(i, (uint64_t)r, k));
            }
        }
        bound_check(name, release, extra);
        CHECK_OK(recto_check_all());
    }
    CHECK_OK(recto_stats(&after));
    CHECK(recto_node() == 0 || after.evictions - before.evictions >= PAGES);
    CHECK_OK(recto_free(p));
}

/* Words of two segments by turns, at random: one bound for both. */
static void both(void)
{
    recto_attr attr = {.placement = RECTO_AT(0)};
    uint64_t *p[2];
    uint64_t state = seed + (uint64_t)recto_rank() * 2;
    uint64_t mine[2][PAGES] = {{0}};
    p[0] = recto_alloc("released", (uint64_t)PAGES * PAGE, &attr);
    attr.consistency = RECTO_SEQUENTIAL;
    p[1] = recto_alloc("sequenced", (uint64_t)PAGES * PAGE, &attr);
    CHECK(p[0] != NULL && p[1] != NULL);
    for (uint64_t k = 1; k <= 4 * PAGES; k++) {
        uint64_t which = test_random(&state) >> 8;
        uint64_t page = which / 2 % PAGES;
        uint64_t *at = word(p[which % 2], page, recto_rank());
        CHECK(*at == mine[which % 2][page]);
        *at = mine[which % 2][page] = k;
    }
    if (recto_node() != 0) {
        uint64_t most = 2 * (uint64_t)domain_ranks() * (BOUND + SLACK);
        CHECK(memory_pages("sequenced") <= most);
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p[0]));
    CHECK_OK(recto_free(p[1]));
}

/* All ranks add to words of more pages than they may hold; nothing is lost. */
static void adding(void)
{
    enum {
        ROUNDS = 3000
    };
    recto_attr attr = {.consistency = RECTO_SEQUENTIAL,
                       .placement = RECTO_CYCLIC,
                       .granule = PAGE};
    uint64_t state = seed + (uint64_t)recto_rank() * 2;
    uint64_t most = PAGES / 4;
    int64_t *p = recto_alloc("sums", most * PAGE, &attr);
    CHECK(p != NULL);
    for (int k = 0; k < ROUNDS; k++) {
        uint64_t page = test_random(&state) >> 8;
        (void)recto_fetch_add_i64(p + page % most * WORDS + page / most % 8, 1);
    }
    CHECK_OK(recto_barrier());
    int64_t sum = 0;
    for (uint64_t i = 0; i < most * WORDS; i++) {
        sum += p[i];
    }
    CHECK(sum == (int64_t)ROUNDS * recto_size());
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

static void checkpoint(bool write)
{
    recto_attr attr = {.consistency = RECTO_SEQUENTIAL,
                       .placement = RECTO_CYCLIC,
                       .granule = PAGE};
    uint64_t n = (uint64_t)PAGES * WORDS;
    uint64_t *p = recto_array("p", RECTO_UINT64, 1, &n, &attr);
    CHECK(p != NULL);
    CHECK(recto_restart(NULL) == (write ? 0 : 1));
    uint64_t ranks = (uint64_t)recto_size();
    for (uint64_t k = 1; k <= 3; k++) {
        for (uint64_t i = (uint64_t)recto_rank(); write && i < PAGES;
             i += ranks) {
            /* a page homed in turn by every rank, and not all of them */
            uint64_t page = i * 3 % PAGES;
            if (test_hash(page, k, 0) % 2 == 0 || k == 1) {
                *word(p, page, 0) = test_hash(page, k, 1);
            }
        }
        if (write && k < 3) {
            CHECK_OK(recto_checkpoint()); /* full, then differential */
        }
    }
    for (uint64_t i = 0; i < PAGES && !write; i++) {
        uint64_t k = test_hash(i, 2, 0) % 2 == 0 ? 2 : 1;
        CHECK(*word(p, i, 0) == test_hash(i, k, 1));
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    CHECK_OK(setenv("RECTO_CACHE", "256K", 1));
    test_begin(&argc, &argv);
    if (*what != '\0') {
        checkpoint(strcmp(what, "write") == 0);
        return test_end("eviction and checkpoints");
    }
    seed = test_seed("seed");
    sweep("sequential", false);
    sweep("release", true);
    both();
    adding();
    return test_end("eviction");
}
