/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters: known accesses to release consistent memory count as they should,
 * also those that need no fault; and RECTO_STATS=1 prints a row for each rank.
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
