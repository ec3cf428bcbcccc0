/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that private memory goes to another number of ranks by the program's function,
 * which reads of all old pieces and protects what it takes, from full and differential
 * epochs, in a restart and alone; and what is refused.
 *
 *   redistribute job STEP     restarts from the epoch of this number (-1: none),
 *                             compares, goes on for three steps
 *   redistribute refused      on another number of ranks than wrote the epoch
 */
#include <stdbool.h>

#include "test.h"

enum {
    PAGE = 512,
    ITEMS = 23 * PAGE + 77
};

static uint64_t *items; /* of ITEMS, those of this rank */
static uint64_t first;
static uint64_t count;
static int64_t step =
    -1; /* the same on all ranks: the function takes rank 0's */
static int calls;
static uint64_t *also; /* shared, beside it */

/* A page changes in every third step. */
static uint64_t value(uint64_t i, int64_t s)
{
    int64_t changed = s - (s + (int64_t)(i / PAGE)) % 3;
    return changed < 0 ? 0 : test_hash(7, i, (uint64_t)changed + 1);
}

/* Ranks have ever more of the items. */
static void share(void)
{
    uint64_t n = (uint64_t)recto_size();
    uint64_t r = (uint64_t)recto_rank();
    first = ITEMS * r * r / (n * n);
    count = ITEMS * (r + 1) * (r + 1) / (n * n) - first;
    free(items);
    items = calloc(count, sizeof *items);
    CHECK(items != NULL);
}

static int items_take(const recto_pieces *old, void *argument)
{
    uint64_t start = 0;
    uint64_t end = 0;
    CHECK(argument == &first && strcmp(old->name, "items") == 0);
    CHECK(old->ranks != recto_size() && old->type == RECTO_UINT64);
    calls++;
    share();
    for (int r = 0; r < old->ranks; r++, start = end) {
        end = start + old->counts[r];
        uint64_t from = start > first ? start : first;
        uint64_t to = end < first + count ? end : first + count;
        if (from < to) {
            CHECK_OK(recto_pieces_read(old, r, from - start, to - from,
                                       items + (from - first)));
        }
    }
    CHECK(end == ITEMS);
    return recto_protect("items", items, RECTO_UINT64, count);
}

static int step_take(const recto_pieces *old, void *argument)
{
    (void)argument;
    return recto_pieces_read(old, old->ranks - 1, 0, 1, &step);
}

static void expect(int64_t s)
{
    for (uint64_t i = 0; i < count; i++) {
        CHECK(items[i] == value(first + i, s));
    }
    CHECK(step == s && also[recto_rank()] == 0);
    CHECK(*also == 0 || recto_rank() == 0);
}

static void declare(void)
{
    also = recto_alloc("also", 8 * sizeof *also, NULL);
    CHECK(also != NULL);
    share();
    CHECK_OK(recto_protect("items", items, RECTO_UINT64, count));
    CHECK_OK(recto_protect("step", &step, RECTO_INT64, 1));
}

static void functions(void)
{
    CHECK_OK(recto_protect_redistribute("items", items_take, &first));
    CHECK_OK(recto_protect_redistribute("step", step_take, NULL));
}

static void job(int64_t from)
{
    int64_t got = -1;
    declare();
    functions();
    int status = recto_restart(&got);
    CHECK(status == (from >= 0) && got == from);
    if (status == 1) {
        expect(from);
    }
    for (step = from + 1; step <= from + 3; step++) {
        for (uint64_t i = 0; i < count; i++) {
            items[i] = value(first + i, step);
        }
        CHECK_OK(recto_checkpoint());
    }
    step = -5;
    memset(items, 1, count * sizeof *items);
    CHECK_OK(recto_recover("items"));
    CHECK_OK(recto_recover("step"));
    expect(from + 3);
}

static bool says(const char *what)
{
    return strstr(recto_last_error(), what) != NULL;
}

static int no(const recto_pieces *old, void *argument)
{
    uint64_t one = 0;
    (void)argument;
    CHECK(recto_pieces_read(old, old->ranks, 0, 0, &one) == RECTO_EINVAL);
    CHECK(recto_pieces_read(old, -1, 0, 0, &one) == RECTO_EINVAL);
    CHECK(recto_pieces_read(old, 0, old->counts[0], 1, &one) == RECTO_EINVAL);
    CHECK(recto_pieces_read(old, 0, 1, UINT64_MAX, &one) == RECTO_EINVAL);
    CHECK_OK(recto_pieces_read(old, 0, old->counts[0], 0, &one));
    CHECK(recto_protect("step", &step, RECTO_INT64, 1) == RECTO_ESTATE);
    CHECK(recto_protect("new", &step, RECTO_INT64, 1) == RECTO_ESTATE);
    CHECK(recto_unprotect("items") == RECTO_ESTATE);
    return 7;
}

static void refused(void)
{
    CHECK(recto_protect_redistribute("items", no, NULL) == RECTO_ENOENT);
    declare();
    CHECK(recto_restart(NULL) == RECTO_ECHANGED && says("\"items\"") &&
          says("\"step\"") && says("recto_protect_redistribute"));
    functions();
    if (recto_rank() == recto_size() - 1) { /* one rank lacks it */
        CHECK_OK(recto_protect_redistribute("step", NULL, NULL));
    }
    CHECK(recto_restart(NULL) == RECTO_ECHANGED && says("\"step\"") &&
          !says("\"items\""));
    functions();
    CHECK_OK(recto_protect_redistribute("items", no, NULL));
    int64_t before = step;
    CHECK(recto_restart(NULL) == RECTO_ECHANGED && says("(7)"));
    CHECK(recto_recover("items") == RECTO_ECHANGED && says("(7)"));
    CHECK(step == before && calls == 0);
    functions();
    CHECK(recto_restart(NULL) == 1 && calls == 1 && step >= 0);
    expect(step);
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    if (argc == 3 && strcmp(argv[1], "job") == 0) {
        job(strtoll(argv[2], NULL, 10));
    } else {
        refused();
    }
    return test_end("redistribute");
}
