/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a checkpoint holds exactly the memory at the call, while all ranks go on
 * writing to all of it at once: shared arrays of both protocols and all placements, by
 * their homes and by others, atomics, blocks of the heap, private memory.
 *
 *   churn STEPS
 *
 * In each step every rank writes some pages; then comes the checkpoint; then a storm in
 * which every page is overwritten, several times, by ranks in turn, atomics change
 * words, blocks are freed and allocated, an array is freed and pages change their
 * home. When the checkpoint is on disk, the memory is
 * restored from it and compared with what it was at the call.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "mix.h"
#include "must.h"
#include "recto.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    ARRAYS = 6,
    GONE = 5, /* freed while it is written */
    BLOCKS = 40,
    PRIVATE = 30000,
    ROUNDS = 6,
    CHANGE = 3 /* the round in which arrays change */
};

static struct array {
    const char *name;
    uint64_t pages;
    recto_attr attr;
    uint64_t *p;
    int64_t *version; /* of each page: the step of its last write, or -1 */
} arrays[ARRAYS] = {
    {"block",      700, {.placement = RECTO_BLOCK},        NULL, NULL},
    {"cyclic",     300, {.placement = RECTO_CYCLIC},       NULL, NULL},
    {"touch",      400, {.placement = RECTO_FIRST_TOUCH},  NULL, NULL},
    {"one",        100, {.placement = RECTO_AT(0)},        NULL, NULL},
    {"sequential", 60,  {.consistency = RECTO_SEQUENTIAL}, NULL, NULL},
    {"gone",       90,  {.placement = RECTO_CYCLIC},       NULL, NULL},
};

/* In shared memory: where the blocks are, and how large. */
static struct root {
    uint64_t *block[BLOCKS];
    uint64_t words[BLOCKS];
    int64_t step[BLOCKS]; /* written last in */
} * root;
static int64_t *counter; /* a word that all add to */
static unsigned char private[PRIVATE];
static int64_t steps_done = -1; /* private, too */

static uint64_t draw(int64_t step, uint64_t array, uint64_t page)
{
    return mix((uint64_t)step << 40 ^ array << 32 ^ page) >> 16;
}

/* ---- what memory is ------------------------------------------------------------------ */

static void page_fill(uint64_t *p, uint64_t key)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        p[i] = mix(key + i);
    }
}

static uint64_t key_of(uint64_t array, uint64_t page, int64_t step)
{
    return (uint64_t)step << 44 ^ array << 38 ^ page << 12;
}

static int page_check(const uint64_t *p, uint64_t array, uint64_t page,
                      int64_t version)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t want = version < 0 ? 0 : mix(key_of(array, page, version) + i);
        if (p[i] != want) {
            (void)fprintf(stderr,
                          "WRONG: rank %d: %s page %llu word %llu is not as "
                          "after step %lld\n",
                          recto_rank(), arrays[array].name,
                          (unsigned long long)page, (unsigned long long)i,
                          (long long)version);
            return 1;
        }
    }
    return 0;
}

/* ---- a step ---------------------------------------------------------------------------- */

static void arrays_step(int64_t step)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t page = 0; page < arrays[a].pages; page++) {
            uint64_t turn = draw(step, a, page);
            if (turn % 3 != 0) {
                continue;
            }
            arrays[a].version[page] = step;
            if ((int)(turn / 3 % (uint64_t)recto_size()) == recto_rank()) {
                page_fill(arrays[a].p + page * WORDS, key_of(a, page, step));
            }
        }
    }
}

/* Blocks come, go and change: each by the rank whose turn it is. */
static void blocks_step(int64_t step, uint64_t salt)
{
    for (uint64_t b = 0; b < BLOCKS; b++) {
        uint64_t turn = draw(step, 100 + salt, b);
        if ((int)(turn % (uint64_t)recto_size()) != recto_rank() ||
            turn / 64 % 2 == 0) {
            continue;
        }
        if (root->block[b] != NULL) {
            ok(recto_mfree(root->block[b]), "recto_mfree");
        }
        root->words[b] = 1 + turn / 128 % 3000;
        root->block[b] = recto_malloc(root->words[b] * 8);
        if (root->block[b] == NULL) {
            fail("recto_malloc");
        }
        root->step[b] = step;
        for (uint64_t i = 0; i < root->words[b]; i++) {
            root->block[b][i] = mix(key_of(50, b, step) + i);
        }
    }
}

static int blocks_check(void)
{
    for (uint64_t b = 0; b < BLOCKS; b++) {
        for (uint64_t i = 0; root->block[b] != NULL && i < root->words[b];
             i++) {
            if (root->block[b][i] != mix(key_of(50, b, root->step[b]) + i)) {
                (void)fprintf(stderr, "WRONG: rank %d: block %llu\n",
                              recto_rank(), (unsigned long long)b);
                return 1;
            }
        }
    }
    return 0;
}

/* ---- the storm ------------------------------------------------------------------------- */

/* Calls that wait for the checkpoint: pages change their home, an array goes. */
static void change(int64_t step)
{
    uint64_t each = arrays[0].pages / (uint64_t)recto_size();
    if (step % 2 == 0) {
        ok(recto_free(arrays[GONE].p), "recto_free");
    }
    ok(recto_migrate(arrays[0].p + (uint64_t)recto_rank() * each * WORDS,
                     each * PAGE, (recto_rank() + (int)step) % recto_size()),
       "recto_migrate");
}

/* Every page of every array gets nonsense, from another rank in each round. */
static void storm(int64_t step)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t a = 0; a < GONE; a++) {
            for (uint64_t page = 0; page < arrays[a].pages; page++) {
                uint64_t turn = page + (uint64_t)round + a;
                if ((int)(turn % (uint64_t)recto_size()) == recto_rank()) {
                    page_fill(arrays[a].p + page * WORDS,
                              ~key_of(a, page, step + round));
                }
            }
        }
        for (int i = 0; i < 20; i++) {
            (void)recto_fetch_add_i64(counter, 1000);
        }
        memset(private, round, sizeof private);
        steps_done = -round;
        ok(recto_barrier(), "recto_barrier");
        if (round == CHANGE) {
            change(step);
        }
        blocks_step(step, 1 + (uint64_t)round);
        ok(recto_barrier(), "recto_barrier");
    }
}

/* ---- there and back ---------------------------------------------------------------------- */

static void protect(void)
{
    ok(recto_protect("bytes", private, RECTO_UINT8, sizeof private),
       "recto_protect");
    ok(recto_protect("step", &steps_done, RECTO_INT64, 1), "recto_protect");
}

static void restore(void)
{
    int64_t epoch = -1;
    ckpt_finalize();
    ok(ckpt_init(NULL, 0), "ckpt_init");
    protect();
    int status = recto_restart(&epoch);
    ok(status, "recto_restart");
    if (status != 1) {
        fail("nothing was restored");
    }
}

static int compare(int64_t step, int64_t count)
{
    int wrong = 0;
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t page = 0; page < arrays[a].pages && wrong == 0; page++) {
            wrong += page_check(arrays[a].p + page * WORDS, a, page,
                                arrays[a].version[page]);
        }
    }
    for (int i = 0; i < PRIVATE && wrong == 0; i++) {
        wrong += private[i] != (unsigned char)(step * 7 + i);
    }
    if (wrong != 0 || steps_done != step || *counter != count) {
        (void)fprintf(stderr,
                      "WRONG: rank %d: step %lld, counter %lld not %lld\n",
                      recto_rank(), (long long)steps_done, (long long)*counter,
                      (long long)count);
        wrong++;
    }
    return wrong + blocks_check();
}

static void make(struct array *a)
{
    a->p = recto_alloc(a->name, a->pages * PAGE, &a->attr);
    if (a->p == NULL) {
        fail("recto_alloc");
    }
}

static void declare(void)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        make(&arrays[a]);
        arrays[a].version = malloc(arrays[a].pages * sizeof(int64_t));
        if (arrays[a].version == NULL) {
            fail("malloc");
        }
        memset(arrays[a].version, 0xff, arrays[a].pages * sizeof(int64_t));
    }
    root = recto_alloc("root", sizeof *root, NULL);
    counter = recto_alloc("counter", sizeof *counter, NULL);
    if (root == NULL || counter == NULL) {
        fail("recto_alloc");
    }
    protect();
}

int main(int argc, char **argv)
{
    int64_t steps = argc > 1 ? atoi(argv[1]) : 4;
    int64_t count = 0;
    ok(recto_init(&argc, &argv), "recto_init");
    declare();
    for (int64_t step = 0; step < steps; step++) {
        arrays_step(step);
        blocks_step(step, 0);
        (void)recto_fetch_add_i64(counter, 1);
        count += recto_size();
        for (int i = 0; i < PRIVATE; i++) {
            private[i] = (unsigned char)(step * 7 + i);
        }
        steps_done = step;
        ok(recto_checkpoint(), "recto_checkpoint");
        storm(step);
        if (step % 2 == 0) {
            make(&arrays[GONE]);
        }
        ok(recto_checkpoint_wait(), "recto_checkpoint_wait");
        restore();
        int wrong = compare(step, count);
        ok(recto_barrier(), "recto_barrier");
        if (wrong != 0) {
            return 1;
        }
    }
    if (recto_rank() == 0) {
        (void)printf("passed: churn (%d ranks, %d domains)\n", recto_size(),
                     recto_nodes());
    }
    return recto_finalize() != 0;
}
