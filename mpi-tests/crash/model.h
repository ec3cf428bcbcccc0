/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that the crash tests checkpoint: shared arrays of several types
 * and placements, private regions of many sizes, and what every byte of it is
 * after step s. A page changes in every third step, so that differential
 * epochs hold some pages and lack others; who writes a page changes from step
 * to step, so that pages are written by ranks that do not home them.
 */
#ifndef RECTO_TESTS_CRASH_MODEL_H
#define RECTO_TESTS_CRASH_MODEL_H

#include <recto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mix.h"

enum {
    MODEL_PAGE = 4096,
    MODEL_SHARED = 4,
    MODEL_PRIVATE = 24,
    MODEL_REGION = 5 * MODEL_PAGE
};

struct model_array {
    const char *name;
    recto_type type;
    int ndims;
    uint64_t dims[3];
    int placement; /* -1: on the last rank */
    unsigned char *p;
    uint64_t bytes;
};

static struct model_array model_arrays[MODEL_SHARED] = {
    {"grid/field", RECTO_DOUBLE, 2, {64, 80},    RECTO_BLOCK,  NULL, 0},
    {"counts",     RECTO_INT32,  1, {5001},      RECTO_CYCLIC, NULL, 0},
    {"cube",       RECTO_UINT64, 3, {7, 10, 11}, -1,           NULL, 0},
    {"raw",        RECTO_BYTE,   1, {9001},      RECTO_BLOCK,  NULL, 0},
};

/* Private regions lie in one block, overlapping and unaligned; `step` is one
 * more, a member of a struct. */
struct model_region {
    char name[32];
    unsigned char *p;
    uint64_t bytes;
};
static struct model_region model_regions[MODEL_PRIVATE];
static unsigned char *model_block;
static struct {
    char before;
    int64_t step; /* the last step done */
    char after;
} model_clock = {'b', -1, 'a'};
static unsigned char *model_scratch; /* left out of checkpoints */
/* With VICTIM_SHARED nothing is private, so that any number of ranks may restart;
 * the step stands here. */
static int64_t *model_shared_step;

static inline void model_clock_set(int64_t s)
{
    model_clock.step = s;
    if (model_shared_step != NULL && recto_rank() == 0) {
        *model_shared_step = s;
    }
}

/* After a restart. */
static inline void model_clock_read(void)
{
    if (model_shared_step != NULL) {
        model_clock.step = *model_shared_step;
    }
}

/* The byte at `offset` of object `id` after step s; 0 before its page's first
 * change. */
static inline unsigned char model_byte(int id, uint64_t offset, int64_t s)
{
    int64_t page = (int64_t)(offset / MODEL_PAGE);
    int64_t changed = s - (s + page) % 3;
    if (s < 0 || changed < 0) {
        return 0;
    }
    uint64_t key = (uint64_t)id << 48 ^ (uint64_t)changed << 24 ^ offset;
    return (unsigned char)(mix(key) >> 40);
}

static inline int model_protect(void)
{
    if (model_shared_step != NULL) {
        return 0;
    }
    int status = recto_protect("clock/step", &model_clock.step, RECTO_INT64, 1);
    for (int i = 0; i < MODEL_PRIVATE && status == 0; i++) {
        struct model_region *r = &model_regions[i];
        /* sizes 0, 1, around a page, and others that differ between ranks */
        static const uint64_t sizes[] = {0,    1,    7,     4095, 4096,
                                         4097, 8191, 12288, 9000};
        uint64_t n = (uint64_t)i;
        (void)snprintf(r->name, sizeof r->name, "private/r%02d", i);
        r->bytes = sizes[n % 9] + (n >= 9 ? n + (uint64_t)recto_rank() : 0);
        r->p = model_block + n * 601;
        status = recto_protect(r->name, r->p, RECTO_UINT8, r->bytes);
    }
    return status;
}

/* Declares everything; 0 or an error. Collective. */
static inline int model_declare(void)
{
    recto_attr none = {.flags = RECTO_NO_CHECKPOINT};
    for (int i = 0; i < MODEL_SHARED; i++) {
        struct model_array *a = &model_arrays[i];
        recto_attr attr = {.placement = a->placement >= 0
                                            ? a->placement
                                            : RECTO_AT(recto_size() - 1)};
        a->p = recto_array(a->name, a->type, a->ndims, a->dims, &attr);
        if (a->p == NULL) {
            return -1;
        }
        a->bytes = recto_type_size(a->type);
        for (int d = 0; d < a->ndims; d++) {
            a->bytes *= a->dims[d];
        }
    }
    model_scratch = recto_alloc("scratch", MODEL_PAGE, &none);
    model_block = calloc(1, MODEL_REGION + MODEL_PRIVATE * 601);
    if (getenv("VICTIM_SHARED") != NULL) {
        model_shared_step = recto_alloc("clock/step", sizeof(int64_t), NULL);
        if (model_shared_step == NULL) {
            return -1;
        }
        model_clock_set(-1);
    }
    return model_scratch == NULL || model_block == NULL ? -1 : model_protect();
}

static inline void model_write(unsigned char *p, uint64_t bytes, int id,
                               int64_t s, int writers, int me)
{
    for (uint64_t page = 0; page * MODEL_PAGE < bytes; page++) {
        int64_t turn = (int64_t)page + s;
        if (turn % 3 != 0 || turn % writers != me) {
            continue;
        }
        uint64_t end = (page + 1) * MODEL_PAGE;
        end = end < bytes ? end : bytes;
        for (uint64_t i = page * MODEL_PAGE; i < end; i++) {
            p[i] = model_byte(id, i, s);
        }
    }
}

/* Private memory is one block for the rule; its regions are windows on it. */
static inline uint64_t model_block_bytes(void)
{
    return MODEL_REGION + MODEL_PRIVATE * 601;
}

/* Takes the memory from step s - 1 to step s. Collective. */
static inline void model_step(int64_t s)
{
    recto_barrier();
    for (int i = 0; i < MODEL_SHARED; i++) {
        model_write(model_arrays[i].p, model_arrays[i].bytes, i, s,
                    recto_size(), recto_rank());
    }
    model_write(model_block, model_block_bytes(), 100 + recto_rank(), s, 1, 0);
    model_clock_set(s);
    recto_barrier();
}

static inline int model_compare(const char *name, const unsigned char *p,
                                uint64_t from, uint64_t bytes, int id,
                                int64_t s)
{
    for (uint64_t i = 0; i < bytes; i++) {
        unsigned char want = model_byte(id, from + i, s);
        if (p[i] != want) {
            (void)fprintf(stderr,
                          "WRONG: rank %d: %s byte %llu is %u, after step %lld "
                          "it should be %u\n",
                          recto_rank(), name, (unsigned long long)i, p[i],
                          (long long)s, want);
            return 1;
        }
    }
    return 0;
}

/* 0 if all memory is as after step s, as far as this rank can see. */
static inline int model_check(int64_t s)
{
    int wrong = 0;
    for (int i = 0; i < MODEL_SHARED; i++) {
        const struct model_array *a = &model_arrays[i];
        wrong += model_compare(a->name, a->p, 0, a->bytes, i, s);
    }
    for (int i = 0; i < MODEL_PRIVATE; i++) {
        const struct model_region *r = &model_regions[i];
        wrong += model_compare(r->name, r->p, (uint64_t)(r->p - model_block),
                               r->bytes, 100 + recto_rank(), s);
    }
    if (model_clock.step != s || model_clock.before != 'b' ||
        model_clock.after != 'a') {
        (void)fprintf(stderr, "WRONG: rank %d: step %lld instead of %lld\n",
                      recto_rank(), (long long)model_clock.step, (long long)s);
        wrong++;
    }
    return wrong;
}

/* Makes the part of the block that no region covers as after step s, too, so
 * that stepping may go on from there. */
static inline void model_resume(int64_t s)
{
    for (uint64_t i = 0; i < model_block_bytes(); i++) {
        model_block[i] = model_byte(100 + recto_rank(), i, s);
    }
}

/* Fills all memory with nonsense, shared memory from one rank. Collective. */
static inline void model_scramble(void)
{
    recto_barrier();
    for (int i = 0; i < MODEL_SHARED; i++) {
        if (recto_rank() == i % recto_size()) {
            memset(model_arrays[i].p, 0xa5, model_arrays[i].bytes);
        }
    }
    memset(model_block, 0x5a, model_block_bytes());
    model_clock_set(-77);
    recto_barrier();
}

/* Sets the memory to what it is after step s, all of it. Collective. */
static inline void model_set(int64_t s)
{
    recto_barrier();
    for (int i = 0; i < MODEL_SHARED; i++) {
        struct model_array *a = &model_arrays[i];
        for (uint64_t b = 0; b < a->bytes; b++) {
            if (recto_rank() == 0) {
                a->p[b] = model_byte(i, b, s);
            }
        }
    }
    model_resume(s);
    model_clock_set(s);
    recto_barrier();
}

#endif
