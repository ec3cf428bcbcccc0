/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters: known accesses to release consistent memory count as they should,
 * also those that need no fault, and those that faults in order spare; and RECTO_STATS=1 prints a row for each rank.
 */
#include "test.h"

enum {
    PAGE = 4096
};

static recto_counters counters(void)
{
    recto_counters c;
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_stats(&c));
    CHECK_OK(recto_barrier());
    return c;
}

/* Rank 1 of another domain reads and writes a page of rank 0's. */
static void accesses(int remote)
{
    recto_attr attr = {.placement = RECTO_AT(0)};
    unsigned char *p = recto_alloc("p", 16 * (uint64_t)PAGE, &attr);
    CHECK(p != NULL);
    recto_counters before = counters();
    unsigned char got = recto_rank() == 1 ? p[3 * PAGE] : 0;
    recto_counters read = counters();
    CHECK(got == 0);
    CHECK(read.read_misses - before.read_misses == (remote ? 1 : 0));
    CHECK(read.bytes_fetched - before.bytes_fetched == (remote ? PAGE : 0));
    if (recto_rank() == 1) {
        p[3 * PAGE] = 7; /* a twin */
        p[9 * PAGE] = 8; /* a fetch and a twin */
    }
    recto_counters written = counters();
    CHECK(recto_size() == 1 || (p[3 * PAGE] == 7 && p[9 * PAGE] == 8));
    /* page 3 may have been lost to the one notice that new readers get */
    uint64_t writes = written.upgrades - read.upgrades + written.write_misses -
                      read.write_misses;
    CHECK(writes == (remote ? 2 : 0));
    CHECK(written.diffs - read.diffs == (remote ? 2 : 0));
    CHECK(written.bytes_written - read.bytes_written == (remote ? 2 : 0));
    counters();
    CHECK_OK(recto_free(p));
}

static void prefetch(int remote)
{
    recto_attr attr = {.placement = RECTO_AT(0)};
    unsigned char *p = recto_alloc("q", 64 * (uint64_t)PAGE, &attr);
    CHECK(p != NULL);
    recto_counters before = counters();
    if (recto_rank() == 1) {
        CHECK_OK(recto_prefetch(p + 100, 63 * (size_t)PAGE));
        for (size_t i = 0; i < 64; i++) {
            CHECK(p[i * PAGE] == 0);
        }
    }
    recto_counters after = counters();
    CHECK(after.read_misses == before.read_misses);
    CHECK(after.bytes_fetched - before.bytes_fetched ==
          (remote ? 64 * (uint64_t)PAGE : 0));
    CHECK_OK(recto_free(p));
}

/* How many read misses and upgrades or write misses f() cost rank 1. */
static recto_counters cost(int remote, void (*f)(unsigned char *),
                           unsigned char *p)
{
    recto_counters before = counters();
    if (recto_rank() == 1) {
        f(p);
    }
    recto_counters after = counters();
    CHECK(remote || after.bytes_fetched == before.bytes_fetched);
    return (recto_counters){
        .read_misses = after.read_misses - before.read_misses,
        .write_misses = after.write_misses - before.write_misses,
        .upgrades = after.upgrades - before.upgrades,
        .bytes_fetched = after.bytes_fetched - before.bytes_fetched};
}

enum {
    MANY = 1024,
    APART = 8
};

static void read_all(unsigned char *p)
{
    for (size_t i = 0; i < MANY; i++) {
        CHECK(p[i * PAGE] == 0);
    }
}

static void read_apart(unsigned char *p)
{
    for (size_t i = 0; i < MANY; i += APART) {
        CHECK(p[i * PAGE + 1] == 0);
    }
}

/* 37 has no common factor with 1024, and no distance occurs twice in a row */
static void read_scattered(unsigned char *p)
{
    for (size_t i = 0; i < MANY / APART; i++) {
        CHECK(p[i * i * 37 % MANY * PAGE] == 0);
    }
}

static void write_all(unsigned char *p)
{
    for (size_t i = 0; i < MANY; i++) {
        p[i * PAGE + 2] = 1;
    }
}

/* Faults in order, and in equal distances, move more and more pages at a time;
 * others one. */
static void streams(int remote)
{
    recto_attr away = {.placement = RECTO_AT(0)};
    recto_attr mine = {.placement = RECTO_AT(1)};
    static const char *names[] = {"all", "apart", "scattered", "written", "home"};
    unsigned char *p[5];
    for (int i = 0; i < 5; i++) {
        p[i] = recto_alloc(names[i], (uint64_t)MANY * PAGE,
                           i < 4 ? &away : &mine);
        CHECK(p[i] != NULL);
    }
    recto_counters c = cost(remote, read_all, p[0]);
    CHECK(!remote || (c.read_misses > 0 && c.read_misses <= 12));
    CHECK(!remote || c.bytes_fetched == (uint64_t)MANY * PAGE);
    c = cost(remote, read_apart, p[1]);
    CHECK(!remote || (c.read_misses > 0 && c.read_misses <= 12));
    CHECK(!remote || c.bytes_fetched == (uint64_t)MANY / APART * PAGE);
    c = cost(remote, read_scattered, p[2]);
    CHECK(!remote || c.read_misses * PAGE == c.bytes_fetched);
    c = cost(remote, write_all, p[3]);
    CHECK(!remote || (c.write_misses > 0 && c.write_misses <= 12));
    /* pages of rank 1's own that rank 0 reads */
    if (recto_rank() == 0) {
        read_all(p[4]);
    }
    c = cost(remote, write_all, p[4]);
    CHECK(!remote || (c.upgrades > 0 && c.upgrades <= 12));
    for (size_t i = 0; recto_size() > 1 && i < MANY; i++) {
        CHECK(p[3][i * PAGE + 2] == 1 && p[4][i * PAGE + 2] == 1);
    }
    counters();
    for (int i = 0; i < 5; i++) {
        CHECK_OK(recto_free(p[i]));
    }
}

/* Lines of the table on rank 0's stderr, which was sent to `file`. */
static int rows(FILE *file)
{
    char line[1024];
    int found = 0;
    int heads = 0;
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        heads += strstr(line, "read-miss") != NULL;
        found += heads > 0 && atoi(line) == found - 1;
        found += heads == 1 && found == 0;
    }
    return found - 1;
}

int main(int argc, char **argv)
{
    CHECK_OK(setenv("RECTO_STATS", "1", 1));
    test_begin(&argc, &argv);
    int rank = recto_rank();
    int size = recto_size();
    int remote = rank == 1 && recto_nodes() > 1 && recto_node() != 0;
    accesses(remote);
    prefetch(remote);
    streams(remote);
    recto_counters end = counters();
    CHECK(end.barrier_ns > 0);
    CHECK(!remote || end.fault_ns > 0);
    FILE *file = tmpfile();
    int saved = dup(2);
    CHECK(file != NULL && saved >= 0);
    if (rank == 0) {
        CHECK(dup2(fileno(file), 2) == 2);
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_finalize());
    fflush(stderr);
    CHECK(dup2(saved, 2) == 2);
    CHECK(rank != 0 || rows(file) == size);
    if (rank == 0) {
        printf("passed: counters (%d ranks)\n", size);
    }
    return 0;
}
