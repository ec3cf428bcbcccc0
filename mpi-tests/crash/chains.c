/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes long chains of epochs, which the job compacts while all ranks go on writing.
 *
 *   chains run SEED STEPS     after each epoch and its compaction: the chain is within its
 *                             bound; after some: a restart gives the memory of the call,
 *                             and reads no more than the bound
 *   chains write SEED STEPS   without restarts; from the step after the folder's newest on
 *   chains hurry SEED STEPS   the same, and the next checkpoint comes at once
 *   chains bear SEED STEPS    the same, and it comes after a while if the chain stays long
 *   chains names SEED STEPS   what passes the bound is many new names, of one rank
 *   chains check SEED         the folder's newest epoch is the memory of its step
 *
 * In each step a share of the pages drawn by the seed is written, then comes the
 * checkpoint, then all ranks overwrite other pages, over and over, until the chain is
 * short.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "ckpt/flight.h"
#include "ckpt/reader.h"
#include "mix.h"
#include "must.h"
#include "net/net.h"
#include "recto.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    ARRAYS = 4,
    PRIVATE = 50000,
    PATIENCE = 60 /* seconds */
};

static struct array {
    const char *name;
    uint64_t pages;
    recto_attr attr;
    uint64_t *p;
    int64_t *version; /* of each page: the key of its last write, or -1 */
} arrays[ARRAYS] = {
    {"block",      600, {.placement = RECTO_BLOCK},        NULL, NULL},
    {"cyclic",     301, {.placement = RECTO_CYCLIC},       NULL, NULL},
    {"touch",      200, {.placement = RECTO_FIRST_TOUCH},  NULL, NULL},
    {"sequential", 60,  {.consistency = RECTO_SEQUENTIAL}, NULL, NULL},
};
static unsigned char private[PRIVATE];
static int64_t private_key = -1;
static uint64_t seed;
static uint64_t percent;

static uint64_t draw(int64_t key, uint64_t array, uint64_t page)
{
    return mix(seed << 48 ^ (uint64_t)key << 24 ^ array << 20 ^ page) >> 16;
}

/* ---- what memory is ------------------------------------------------------------------ */

/* Every other page has few values, which compression likes. */
static uint64_t word(uint64_t array, uint64_t page, int64_t key, uint64_t i)
{
    uint64_t base = (uint64_t)key << 40 ^ array << 32 ^ page << 10;
    return key < 0 ? 0 : mix(base ^ (page % 2 == 0 ? i : i / 128));
}

/* Percent of the pages that a key writes: mostly few. */
static uint64_t share(int64_t key)
{
    static const uint64_t shares[] = {0, 1, 3, 5, 8, 10, 15, 20, 30, 60, 100};
    return shares[draw(key, 9, 0) % (sizeof shares / sizeof shares[0])];
}

static bool written(int64_t key, uint64_t array, uint64_t page)
{
    return draw(key, array, page) % 100 < share(key);
}

static void versions_set(int64_t key)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t page = 0; page < arrays[a].pages; page++) {
            if (written(key, a, page)) {
                arrays[a].version[page] = key;
            }
        }
    }
    private_key = key % 3 == 0 ? key : private_key;
}

/* Each page by the rank whose turn it is. */
static void pages_write(int64_t key)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t page = 0; page < arrays[a].pages; page++) {
            uint64_t turn = draw(key, a, page) / 128;
            if (!written(key, a, page) ||
                (int)(turn % (uint64_t)recto_size()) != recto_rank()) {
                continue;
            }
            for (uint64_t i = 0; i < WORDS; i++) {
                arrays[a].p[page * WORDS + i] = word(a, page, key, i);
            }
        }
    }
    if (key % 3 == 0) {
        memset(private, (int)(key * 5 + recto_rank()), sizeof private);
    }
    versions_set(key);
    ok(recto_barrier(), "recto_barrier");
}

/* What was written before the checkpoint of a step. */
static void versions_at(int64_t step)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        memset(arrays[a].version, 0xff, arrays[a].pages * sizeof(int64_t));
    }
    private_key = -1;
    for (int64_t key = 0; key <= 2 * step; key++) {
        versions_set(key);
    }
}

static void compare(int64_t step)
{
    uint64_t wrong = 0;
    versions_at(step);
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t k = 0; k < arrays[a].pages * WORDS; k++) {
            uint64_t page = k / WORDS;
            wrong += arrays[a].p[k] !=
                     word(a, page, arrays[a].version[page], k % WORDS);
        }
    }
    for (int i = 0; i < PRIVATE; i++) {
        wrong += private[i] != (unsigned char)(private_key * 5 + recto_rank());
    }
    if (wrong > 0) {
        (void)fprintf(stderr, "WRONG: rank %d: %llu words after step %lld\n",
                      recto_rank(), (unsigned long long)wrong, (long long)step);
        exit(1);
    }
    ok(recto_barrier(), "recto_barrier");
}

/* ---- the chain on disk ----------------------------------------------------------------- */

struct chain {
    uint64_t volume;
    uint64_t limit;
    uint64_t full; /* is the newest epoch? */
};

/* As rank 0 finds it. Collective. */
static struct chain chain_look(void)
{
    struct chain c = {0, 0, 0};
    struct ckpt_dir dir;
    struct ckpt_folder folder;
    if (recto_rank() == 0) {
        ok(ckpt_io_dir_open(&dir, base_env(BASE_ENV_CKPT_DIR), false),
           "folder");
        ok(ckpt_folder_load(&dir, &folder), "manifest");
        const struct ckpt_manifest *m = folder.chosen->manifest;
        uint64_t last = m->nepochs - 1;
        c.volume = ckpt_chain_volume(m, last);
        c.limit = ckpt_chain_measure(m, last) / 100 * percent;
        c.full = m->epochs[last].full;
        ckpt_folder_clear(&folder);
        ckpt_io_dir_close(&dir);
    }
    ok(net_bcast(&c, sizeof c, 0), "net_bcast");
    return c;
}

/* Everybody writes until the chain is within its bound. */
static void storm(int64_t key, bool bears)
{
    uint64_t start = base_now();
    struct chain c;
    do {
        pages_write(key);
        c = chain_look();
        int64_t seconds = (int64_t)((base_now() - start) / 1000000000U);
        ok(net_allreduce_min(&seconds, 1), "net_allreduce_min");
        if (bears && seconds > 0) {
            return;
        }
        if (seconds > PATIENCE) {
            (void)fprintf(stderr,
                          "FAIL: a restart reads up to %llu bytes, and %llu "
                          "are allowed\n",
                          (unsigned long long)c.volume,
                          (unsigned long long)c.limit);
            exit(1);
        }
    } while (c.volume > c.limit);
}

/* What all ranks read for the restart. */
static void reads_check(struct chain c)
{
    recto_counters counters;
    ok(recto_stats(&counters), "recto_stats");
    int64_t bytes = (int64_t)counters.restart_bytes;
    ok(net_allreduce_sum(&bytes, 1), "net_allreduce_sum");
    if ((uint64_t)bytes > c.limit || bytes == 0) {
        (void)fprintf(
            stderr,
            "FAIL: the restart read %lld bytes, %llu are allowed, the "
            "chain has %llu\n",
            (long long)bytes, (unsigned long long)c.limit,
            (unsigned long long)c.volume);
        exit(1);
    }
    if (recto_rank() == 0) {
        (void)printf("restart: %lld of %llu bytes\n", (long long)bytes,
                     (unsigned long long)c.limit);
    }
}

/* ---- modes -------------------------------------------------------------------------------- */

static void protect(void)
{
    ok(recto_protect("bytes", private, RECTO_UINT8, sizeof private),
       "recto_protect");
}

static void declare(void)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        struct array *array = &arrays[a];
        array->p = recto_alloc(array->name, array->pages * PAGE, &array->attr);
        array->version = malloc(array->pages * sizeof(int64_t));
        if (array->p == NULL || array->version == NULL) {
            fail("recto_alloc");
        }
    }
    protect();
}

static void restore(int64_t step)
{
    int64_t epoch = -1;
    struct chain c = chain_look();
    ckpt_finalize();
    ok(ckpt_init(NULL, 0), "ckpt_init");
    protect();
    int status = recto_restart(&epoch);
    ok(status, "recto_restart");
    if (status != 1 || epoch != step) {
        fail("another epoch was restored");
    }
    reads_check(c);
    compare(step);
    pages_write(2 * step + 1); /* once more */
}

static void steps_write(int64_t from, int64_t to, const char *mode)
{
    bool patient = strcmp(mode, "hurry") != 0;
    bool restarts = strcmp(mode, "run") == 0;
    bool bears = strcmp(mode, "bear") == 0;
    int64_t compactions = 0;
    for (int64_t step = from; step < to; step++) {
        recto_counters counters;
        pages_write(2 * step);
        ok(recto_checkpoint(), "recto_checkpoint");
        pages_write(2 * step + 1);
        if (patient) {
            ok(recto_checkpoint_wait(), "recto_checkpoint_wait");
            storm(2 * step + 1, bears);
            ckpt_flight_end(); /* it is counted */
        }
        ok(recto_stats(&counters), "recto_stats");
        if (restarts && draw(step, 8, 0) % 4 == 0) {
            compactions += (int64_t)counters.compactions;
            restore(step);
        }
        if (recto_rank() == 0 && patient) {
            (void)printf("step %lld %s %llu\n", (long long)step,
                         chain_look().full != 0 ? "full" : "diff",
                         (unsigned long long)counters.compactions);
            (void)fflush(stdout);
        } else if (patient) {
            (void)chain_look();
        }
    }
    recto_counters counters;
    ok(recto_stats(&counters), "recto_stats");
    compactions += (int64_t)counters.compactions;
    if (recto_rank() == 0) {
        (void)printf("compactions %lld\n", (long long)compactions);
    }
}

/* New names take metadata for all ranks: all must agree on when that is too much. */
static void names_write(int64_t steps)
{
    enum {
        NAMES = 60
    };
    static int32_t cells[NAMES];
    recto_counters counters;
    for (int64_t step = 0; step < steps; step++) {
        for (int i = 0; i < NAMES && recto_rank() == 0; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "n%d-%d", (int)step, i);
            ok(recto_protect(name, &cells[i], RECTO_INT32, 1), "recto_protect");
        }
        ok(recto_checkpoint(), "recto_checkpoint");
        ok(recto_checkpoint_wait(), "recto_checkpoint_wait");
        storm(2 * step + 1, false);
        ckpt_flight_end();
    }
    ok(recto_stats(&counters), "recto_stats");
    if (recto_rank() == 0) {
        (void)printf("compactions %llu\n",
                     (unsigned long long)counters.compactions);
    }
}

/* The step of the newest epoch, -1: none. */
static int64_t resume(void)
{
    int64_t epoch = -1;
    int status = recto_restart(&epoch);
    ok(status, "recto_restart");
    if (status == 1) {
        compare(epoch);
        pages_write(2 * epoch + 1);
    } else {
        versions_at(-1);
    }
    return epoch;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "run";
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int64_t steps = argc > 3 ? atoi(argv[3]) : 20;
    ok(recto_init(&argc, &argv), "recto_init");
    ok(base_env_u64(BASE_ENV_CKPT_COMPACT, &percent), "percent");
    declare();
    int64_t epoch = resume();
    if (recto_rank() == 0) {
        (void)printf("restored %lld\n", (long long)epoch);
    }
    if (strcmp(mode, "names") == 0) {
        names_write(steps);
    } else if (strcmp(mode, "check") != 0) {
        steps_write(epoch + 1, epoch + 1 + steps, mode);
    }
    if (recto_rank() == 0) {
        (void)printf("passed: chains %s %llu\n", mode,
                     (unsigned long long)seed);
    }
    for (uint64_t a = 0; a < ARRAYS; a++) {
        free(arrays[a].version);
    }
    return recto_finalize() != 0;
}
