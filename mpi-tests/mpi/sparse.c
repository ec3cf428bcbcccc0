/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that an array far larger than memory costs what is touched of it, on every
 * rank: memory of the array, private memory and page tables stay below a bound per
 * touched page when it is allocated, touched here and there by every rank, read by all,
 * checkpointed twice, and, when the program runs again, restored. Prints what it takes.
 *
 *     sparse GIB [sequential]
 *
 * Not free yet, and allowed for: a byte of private memory for each page that a rank's
 * domain homes where RECTO_VM is mprotect, and five where memory is sequential.
 */
#include <malloc.h>

#include <recto/vm.h>

#include "own.h"

enum {
    TOUCHES = 32 /* by each rank */
};

struct cost {
    uint64_t memory; /* KiB of the array's memory of my domain */
    uint64_t private;
    uint64_t tables; /* of pages */
};

static struct cost before;
static uint64_t gib;
static uint64_t allowed; /* KiB of private memory, see above */

static struct cost cost_now(void)
{
    malloc_trim(0); /* what is freed is not used */
    return (struct cost){own_memory_kib("sparse"), own_status_kib("RssAnon:"),
                         own_status_kib("VmPTE:")};
}

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* KiB for each page that somebody has touched: it lies in the memory of a domain or
 * two, and wherever it has an entry in a table it may be the only one in that table's
 * page: directory, page words, states, flags, lists, and page tables of all views. */
static void bounded(const char *when, uint64_t touched)
{
    struct cost now = cost_now();
    uint64_t private = more(now.private, before.private);
    uint64_t tables = more(now.tables, before.tables);
    printf("rank %d %-10s memory %7lu private %7lu tables %7lu KiB\n",
           recto_rank(), when, (unsigned long)now.memory,
           (unsigned long)private, (unsigned long)tables);
    fflush(stdout);
    CHECK(now.memory <= 512 + 32 * touched);
    CHECK(private <= 3072 + allowed + 48 * touched);
    CHECK(tables <= 512 + (uint64_t)(16 + 8 * recto_nodes()) * touched);
}

int main(int argc, char **argv)
{
    recto_attr attr = {.flags = RECTO_SPARSE};
    test_begin(&argc, &argv);
    gib = argc > 1 ? strtoull(argv[1], NULL, 10) : 16;
    if (argc > 2) {
        attr.consistency = RECTO_SEQUENTIAL;
    }
    uint64_t words = gib << 27;
    uint64_t pages_kib = gib << 8; /* a byte a page */
    allowed = argc > 2                                 ? 5 * pages_kib
              : strcmp(recto_vm_backend(), "pte") == 0 ? 0
                                                       : pages_kib;
    before = cost_now();
    uint64_t *p = recto_array("sparse", RECTO_UINT64, 1, &words, &attr);
    CHECK(p != NULL);
    bounded("allocated", 0);
    int64_t epoch = -1;
    int restored = recto_restart(&epoch);
    CHECK(restored >= 0);
    uint64_t n = (uint64_t)recto_size() * TOUCHES;
    bounded(restored ? "restored" : "fresh", n); /* others go on already */
    uint64_t step = words / n / 512 * 512 + 512;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        if (i % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            CHECK(p[at] == (restored ? test_hash(i, 2, 0) : 0));
            p[at] = test_hash(i, 1, 0);
        }
    }
    CHECK_OK(recto_barrier());
    bounded("touched", n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        CHECK(p[at] == test_hash(i, 1, 0));
    }
    bounded("read", n);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait()); /* the writer's buffers are gone */
    bounded("checkpoint", n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = (i * step + i) % words;
        if ((i + 1) % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            p[at] = test_hash(i, 2, 0);
        }
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait()); /* the writer's buffers are gone */
    bounded("second", n);
    CHECK_OK(recto_free(p));
    bounded("freed", 0);
    return test_end("sparse");
}
