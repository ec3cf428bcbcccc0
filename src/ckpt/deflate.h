/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deflate: chunks of an array compressed by several threads, as HDF5's filters shuffle
 * and deflate do it, and handed out in the order in which they came. Knows no files.
 * One thread at a time calls.
 */
#ifndef RECTO_SRC_CKPT_DEFLATE_H
#define RECTO_SRC_CKPT_DEFLATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format.h"

enum {
    CKPT_DEFLATE_THREADS = 16
};

enum ckpt_slot_state {
    CKPT_SLOT_FREE,
    CKPT_SLOT_FULL, /* to be compressed */
    CKPT_SLOT_BUSY,
    CKPT_SLOT_DONE
};

struct ckpt_slot {
    enum ckpt_slot_state state;
    char *in;      /* CKPT_CHUNK bytes */
    char *sorted;  /* the same, shuffled */
    char *out;     /* compressed */
    size_t bytes;  /* of the chunk */
    size_t packed; /* 0: it does not shrink */
    size_t element;
    uint64_t number;
};

struct ckpt_deflater {
    int level;
    unsigned nthreads;
    pthread_t threads[CKPT_DEFLATE_THREADS];
    pthread_mutex_t mutex; /* states of slots, `next`, `end` */
    pthread_cond_t full;
    pthread_cond_t done;
    bool end;
    uint64_t next; /* chunk that a thread takes */
    uint64_t put;  /* chunks that came, */
    uint64_t got;  /* and that were handed out */
    unsigned nslots;
    struct ckpt_slot slots[2 * CKPT_DEFLATE_THREADS];
};

/* level: 1 to 9. RECTO_ENOMEM. */
int ckpt_deflater_open(struct ckpt_deflater *d, int level, unsigned threads);
void ckpt_deflater_close(struct ckpt_deflater *d);

/* Is there no room before one was got? */
bool ckpt_deflater_full(const struct ckpt_deflater *d);
/* Room for the next chunk; not when full. */
char *ckpt_deflater_room(struct ckpt_deflater *d);
/* What is in the room is chunk `number`, of so many bytes, at most CKPT_CHUNK, of elements
 * of that size. */
void ckpt_deflater_put(struct ckpt_deflater *d, size_t bytes, size_t element,
                       uint64_t number);

/* A chunk as it is to be stored. */
struct ckpt_deflated {
    uint64_t number;
    const char *data;
    size_t bytes;
    bool raw; /* as it came */
};
/* The oldest chunk that was put and not got; waits for it. False: there is none. Its data
 * stay until the next put. */
bool ckpt_deflater_get(struct ckpt_deflater *d, struct ckpt_deflated *chunk);

#endif
