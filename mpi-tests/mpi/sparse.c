/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that an array far larger than the machine's memory costs what is touched of
 * it, on every rank: memory of the array, private memory and page tables stay below a
 * bound per touched page when it is allocated, touched here and there by every rank,
 * read by all, checkpointed twice, and restored. Prints what it takes.
 *
 *     sparse GIB [sequential]
 */
#include "own.h"

enum {
    TOUCHES = 32, /* by each rank */
    PAGE = 4096
};

struct cost {
    uint64_t memory; /* KiB of the array's memory of my domain */
    uint64_t private;
    uint64_t tables; /* of pages */
};

static struct cost cost_now(void)
{
    return (struct cost){own_memory_kib("sparse"), own_status_kib("RssAnon:"),
                         own_status_kib("VmPTE:")};
}

static struct cost before;
static uint64_t gib;

static void report(const char *when, uint64_t touched)
{
    struct cost now = cost_now();
    (void)touched;
    printf("rank %d %-24s memory %8lu private %8lu tables %8lu KiB\n",
           recto_rank(), when, (unsigned long)now.memory,
           (unsigned long)(now.private - before.private),
           (unsigned long)(now.tables - before.tables));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    recto_attr attr = {.flags = RECTO_SPARSE};
    test_begin(&argc, &argv);
    gib = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;
    if (argc > 2) {
        attr.consistency = RECTO_SEQUENTIAL;
    }
    uint64_t words = gib << 27;
    before = cost_now();
    uint64_t *p = recto_array("sparse", RECTO_UINT64, 1, &words, &attr);
    CHECK(p != NULL);
    report("allocated", 0);
    int64_t epoch = -1;
    int restored = recto_restart(&epoch);
    CHECK(restored >= 0);
    report("restart", 0);
    uint64_t n = (uint64_t)recto_size() * TOUCHES;
    uint64_t step = words / n / 512 * 512 + 512;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        if (i % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            CHECK(p[at] == (restored ? test_hash(i, 2, 0) : 0));
            p[at] = test_hash(i, 1, 0);
        }
    }
    CHECK_OK(recto_barrier());
    report("touched", 0);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        CHECK(p[at] == test_hash(i, 1, 0));
    }
    report("read", 0);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_checkpoint());
    report("checkpoint", 0);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        if ((i + 1) % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            p[at] = test_hash(i, 2, 0);
        }
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_checkpoint());
    report("second", 0);
    CHECK_OK(recto_free(p));
    report("free", 0);
    return test_end("sparse");
}
