/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that shared arrays of both protocols and all placements, the heap and blocks of
 * distributed arrays restart on other numbers of ranks than wrote them, more and fewer,
 * with other blocks, and are differential from there; and what is refused of blocks.
 *
 *   elastic job STEP SEED   restarts from the epoch of this number (-1: none), compares,
 *                           and goes on for STEPS steps, with random cuts
 *   elastic refused         what is refused; gaps between blocks
 *   elastic write           an array that does not go in one round, by columns
 *   elastic read            the same by rows
 */
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 512, /* elements of 8 bytes */
    SHARED = 11 * PAGE + 3,
    HEAP = 12,  /* blocks */
    ARRAYS = 5, /* distributed */
    STEPS = 2   /* of a job */
};

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    return test_random(&seed) % below;
}

/* A page changes in every third step. */
static uint64_t value(int object, uint64_t i, int64_t step)
{
    int64_t page = (int64_t)(i / PAGE);
    int64_t changed = step - (step + page) % 3;
    return changed < 0 ? 0
                       : test_hash((uint64_t)object, i, (uint64_t)changed + 1);
}

/* ---- shared ------------------------------------------------------------------------ */

static uint64_t *shared[3];
static uint64_t *roots; /* addresses of blocks of the heap */

static uint64_t heap_count(int i)
{
    return 3 + (uint64_t)i * 701; /* up to several pages */
}

static void shared_declare(void)
{
    const recto_attr attrs[] = {
        {.consistency = RECTO_RELEASE   },
        {.consistency = RECTO_SEQUENTIAL, .placement = RECTO_CYCLIC},
        {.placement = RECTO_FIRST_TOUCH                              },
    };
    const char *names[] = {"relaxed", "strict", "touched"};
    const uint64_t dims[] = {SHARED};
    for (int i = 0; i < 3; i++) {
        shared[i] = recto_array(names[i], RECTO_UINT64, 1, dims, &attrs[i]);
        CHECK(shared[i] != NULL);
    }
    roots = recto_alloc("roots", HEAP * sizeof *roots, NULL);
    CHECK(roots != NULL);
}

static void shared_write(int64_t step)
{
    uint64_t n = (uint64_t)recto_size();
    for (int object = 0; object < 3; object++) {
        for (uint64_t i = 0; i < SHARED; i++) {
            if ((i / PAGE + (uint64_t)step) % n == (uint64_t)recto_rank()) {
                shared[object][i] = value(object, i, step);
            }
        }
    }
    for (int i = recto_rank(); i < HEAP; i += recto_size()) {
        if (roots[i] == 0 || (i + step) % 4 == 0) {
            CHECK_OK(roots[i] != 0 ? recto_mfree((void *)roots[i]) : 0);
            roots[i] = (uint64_t)recto_malloc(8 * heap_count(i));
            CHECK(roots[i] != 0);
        }
        for (uint64_t k = 0; k < heap_count(i); k++) {
            ((uint64_t *)roots[i])[k] = value(10 + i, k, step);
        }
    }
}

static void shared_expect(int64_t step)
{
    for (int object = 0; object < 3; object++) {
        for (uint64_t i = 0; i < SHARED; i++) {
            CHECK(shared[object][i] == value(object, i, step));
        }
    }
    for (int i = 0; i < HEAP; i++) {
        for (uint64_t k = 0; k < heap_count(i); k++) {
            CHECK(((uint64_t *)roots[i])[k] == value(10 + i, k, step));
        }
    }
}

/* ---- blocks ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    recto_type type;
    int ndims;
    uint64_t dims[4];
} arrays[ARRAYS] = {
    {"line",  RECTO_UINT64, 1, {9001}      },
    {"plane", RECTO_FLOAT,  2, {131, 77}   },
    {"bytes", RECTO_BYTE,   2, {97, 401}   },
    {"cube",  RECTO_DOUBLE, 3, {19, 23, 29}},
    {"small", RECTO_INT16,  4, {3, 2, 1, 5}},
};

static struct {
    unsigned char *p;
    uint64_t start[4];
    uint64_t local[4];
} blocks[ARRAYS];

static uint64_t block_count(int a)
{
    uint64_t count = 1;
    for (int d = 0; d < arrays[a].ndims; d++) {
        count *= blocks[a].local[d];
    }
    return count;
}

/* Cuts the array in two, and again, until each rank has its part, some none. At each
 * cut those concerned draw the same numbers. */
static void cut(int a, uint64_t cuts)
{
    uint64_t *start = blocks[a].start;
    uint64_t *local = blocks[a].local;
    int first = 0; /* of the ranks that share what is left */
    int n = recto_size();
    memset(start, 0, sizeof blocks[a].start);
    memcpy(local, arrays[a].dims, sizeof blocks[a].local);
    while (n > 1) {
        uint64_t state = test_hash(cuts, (uint64_t)n, (uint64_t)first) | 1;
        int d = (int)(test_random(&state) % (uint64_t)arrays[a].ndims);
        int left = 1 + (int)(test_random(&state) % ((uint64_t)n - 1));
        uint64_t at = test_random(&state) % (local[d] + 1);
        if (recto_rank() < first + left) {
            local[d] = at;
            n = left;
        } else {
            start[d] += at;
            local[d] -= at;
            n -= left;
            first += left;
        }
    }
}

static void block_declare(int a, uint64_t cuts)
{
    cut(a, cuts);
    free(blocks[a].p);
    blocks[a].p = calloc(block_count(a) + 1, recto_type_size(arrays[a].type));
    CHECK(blocks[a].p != NULL);
    CHECK_OK(recto_protect_block(arrays[a].name, blocks[a].p, arrays[a].type,
                                 arrays[a].ndims, arrays[a].dims,
                                 blocks[a].start, blocks[a].local));
}

static void blocks_declare(void)
{
    for (int a = 0; a < ARRAYS; a++) {
        block_declare(a, test_random(&seed));
    }
}

/* The place in the array of element i of the block. */
static uint64_t place(int a, uint64_t i)
{
    uint64_t index = 0;
    uint64_t stride = 1;
    for (int d = arrays[a].ndims; d-- > 0;) {
        index += (blocks[a].start[d] + i % blocks[a].local[d]) * stride;
        i /= blocks[a].local[d];
        stride *= arrays[a].dims[d];
    }
    return index;
}

/* The bytes of an element: they need not be a number of its type. */
static void blocks_do(int64_t step, bool write)
{
    for (int a = 0; a < ARRAYS; a++) {
        uint64_t bytes = recto_type_size(arrays[a].type);
        for (uint64_t i = 0; i < block_count(a); i++) {
            uint64_t is = value(100 + a, place(a, i), step);
            if (write) {
                memcpy(blocks[a].p + i * bytes, &is, bytes);
            }
            CHECK(memcmp(blocks[a].p + i * bytes, &is, bytes) == 0);
        }
    }
}

/* ---- jobs -------------------------------------------------------------------------- */

static void job(int64_t step)
{
    int64_t got = -1;
    shared_declare();
    blocks_declare();
    int status = recto_restart(&got);
    CHECK(status == (step >= 0) && got == step);
    if (status == 1) {
        shared_expect(step);
        blocks_do(step, false);
        CHECK_OK(recto_barrier());
    }
    for (int i = 0; i < STEPS; i++) {
        ++step;
        if (draw(2) == 0) {
            blocks_declare(); /* cut anew between two checkpoints */
        }
        shared_write(step);
        blocks_do(step, true);
        CHECK_OK(recto_checkpoint());
    }
    if (draw(2) == 0) { /* and alone */
        blocks_declare();
        for (int a = 0; a < ARRAYS; a++) {
            CHECK_OK(recto_recover(arrays[a].name));
        }
        blocks_do(step, false);
    }
}

/* ---- what is refused --------------------------------------------------------------- */

static bool says(const char *what)
{
    return strstr(recto_last_error(), what) != NULL;
}

static int line(uint64_t global, uint64_t start, uint64_t local,
                recto_type type)
{
    static double memory[100];
    return recto_protect_block("l", memory, type, 1, &global, &start, &local);
}

static void refused(void)
{
    uint64_t rank = (uint64_t)recto_rank();
    uint64_t n = (uint64_t)recto_size();
    CHECK(line(10, 8, 3, RECTO_DOUBLE) == RECTO_EINVAL && says("dimension 0"));
    CHECK(line(10, 11, 0, RECTO_DOUBLE) == RECTO_EINVAL);
    CHECK(line(UINT64_MAX / 8, 0, 1, RECTO_DOUBLE) == RECTO_EINVAL);
    CHECK(recto_protect_block("l", &rank, RECTO_BYTE, 0, &n, &n, &n) ==
          RECTO_EINVAL);
    if (n > 1) {
        CHECK_OK(line(10, 2, 3 + rank % 2, RECTO_DOUBLE));
        CHECK(recto_checkpoint() == RECTO_EMISMATCH && says("overlap"));
        CHECK_OK(line(10 + rank % 2, 4 * (rank % 2), 0, RECTO_DOUBLE));
        CHECK(recto_checkpoint() == RECTO_EMISMATCH && says("same array"));
        CHECK_OK(line(10, 0, 0, rank == 1 ? RECTO_INT64 : RECTO_DOUBLE));
        CHECK(recto_checkpoint() == RECTO_EMISMATCH && says("same array"));
        CHECK_OK(line(10, 0, 0, RECTO_DOUBLE));
        CHECK_OK(rank == 1 ? recto_unprotect("l") : 0);
        CHECK(recto_checkpoint() == RECTO_EMISMATCH && says("all have to"));
        CHECK_OK(rank == 1 ? recto_protect("l", &n, RECTO_DOUBLE, 1) : 0);
        CHECK(recto_checkpoint() == RECTO_EMISMATCH);
        CHECK_OK(recto_unprotect("l"));
    }
}

/* Elements in no block are zero; memory of another kind does not fit. */
static void gaps(void)
{
    double memory[4] = {1, 2, 3, 4};
    uint64_t global = 50;
    uint64_t start = (uint64_t)recto_rank() * 6 + 1;
    uint64_t local = 4;
    CHECK_OK(recto_protect_block("g", memory, RECTO_DOUBLE, 1, &global, &start,
                                 &local));
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait());
    start--;
    CHECK_OK(recto_protect_block("g", memory, RECTO_DOUBLE, 1, &global, &start,
                                 &local));
    CHECK_OK(recto_recover("g"));
    CHECK(memory[0] == 0 && memory[1] == 1 && memory[3] == 3);
    CHECK_OK(recto_protect("g", memory, RECTO_DOUBLE, 4));
    CHECK(recto_recover("g") == RECTO_ECHANGED && says("distributed array"));
}

/* ---- more than goes in one round ---------------------------------------------------- */

enum {
    ROWS = 6000,
    COLUMNS = 8192
};

static void big(bool write, bool columns)
{
    uint64_t global[2] = {ROWS, COLUMNS};
    uint64_t start[2] = {0, 0};
    uint64_t local[2] = {ROWS, COLUMNS};
    uint64_t n = (uint64_t)recto_size();
    start[columns] = global[columns] * (uint64_t)recto_rank() / n;
    local[columns] =
        global[columns] * (uint64_t)(recto_rank() + 1) / n - start[columns];
    unsigned char *p = malloc(local[0] * local[1]);
    CHECK(p != NULL);
    CHECK_OK(
        recto_protect_block("big", p, RECTO_UINT8, 2, global, start, local));
    CHECK(recto_restart(NULL) == !write);
    for (uint64_t i = 0; i < local[0] * local[1]; i++) {
        uint64_t row = start[0] + i / local[1];
        uint64_t column = start[1] + i % local[1];
        unsigned char is = (unsigned char)(row * 31 + column * 7 + row / 255);
        p[i] = write ? is : p[i];
        CHECK(p[i] == is);
    }
    CHECK_OK(write ? recto_checkpoint() : 0);
    CHECK_OK(recto_checkpoint_wait());
    free(p);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    test_begin(&argc, &argv);
    if (strcmp(what, "job") == 0 && argc == 4) {
        seed = strtoull(argv[3], NULL, 10) | 1;
        job(strtoll(argv[2], NULL, 10));
    } else if (strcmp(what, "refused") == 0) {
        refused();
        gaps();
    } else {
        big(strcmp(what, "write") == 0, strcmp(what, "write") == 0);
    }
    return test_end("elastic");
}
