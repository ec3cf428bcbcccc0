/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace: what a rank records with RECTO_TRACE, and the form of the file.
 *
 * The file is a header and slots of 64 bytes, in the byte order of the machine. The
 * rank maps it, so what was recorded survives the rank. Who records claims slots by
 * adding to `claimed`, once for each slot: what would lie behind the last slot is
 * dropped, and `claimed` tells how much that was. A slot's kind is written last; a
 * slot whose kind is 0 was claimed by who did not live to fill it.
 *
 *   event       one slot: what, when, how long, where
 *   definition  a first slot (segment, module) and as many slots of kind MORE as its
 *               payload needs, TRACE_BODY bytes in each
 *
 * Invariants
 * 1. A slot is written once, by the thread that claimed it.
 * 2. base_trace_add and base_trace_define are async-signal-safe: they take no lock,
 *    allocate nothing, and make no system call but clock_gettime.
 * 3. Times are of the rank's own CLOCK_MONOTONIC; adding clock_offset, which is the same on
 *    all ranks of a machine, makes them rank 0's, wrong by clock_error at most at the start
 *    (drift is not corrected).
 */
#ifndef RECTO_SRC_BASE_TRACE_H
#define RECTO_SRC_BASE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <recto.h>

/* ---- the file --------------------------------------------------------------------- */

#define TRACE_MAGIC "RECTOTRC"

enum {
    TRACE_MAJOR = 1, /* readers refuse others */
    TRACE_MINOR = 0,
    TRACE_ORDER = 0x01020304,
    TRACE_HEADER = 4096,
    TRACE_SLOT = 64,
    TRACE_BODY = 56,
    TRACE_DEFINITION_MOST = 16, /* slots */
    TRACE_TEXT = 256,
    TRACE_BUILD_ID = 20,
    TRACE_COUNTERS = sizeof(recto_counters) / sizeof(uint64_t)
};

enum trace_kind {
    TRACE_NONE,
    TRACE_SEGMENT, /* definition: struct trace_segment */
    TRACE_MODULE,  /* definition: struct trace_module */
    TRACE_MORE,
    TRACE_SEGMENT_END, /* at: its address */
    TRACE_FAULT,       /* what: enum trace_fault; at: address; pc: the access */
    TRACE_IN, /* copied from a home: at, pages, bytes; peer: its rank. A moment,
                  as the next */
    TRACE_OUT, /* changes sent home: at: the page; low, high: offsets of the first and
                  last byte that changed; bytes: how many; peer: the home */
    TRACE_TAKE,    /* what: enum trace_lock; at: id; ns: waited; pc: caller */
    TRACE_GIVE,    /* the same; ns: publishing and giving */
    TRACE_BARRIER, /* at: how many before; pc: caller */
    TRACE_STOP,   /* checkpoint: the call; at: epoch + 1, 0: none was written */
    TRACE_FLIGHT, /* checkpoint beside the program; bytes: of this rank */
    TRACE_COMPACT, /* compaction of the chain beside the program */
    TRACE_RESTART, /* recto_restart; at: epoch + 1, 0: none; bytes: read */
    TRACE_RECOVER, /* recto_recover; the same */
    TRACE_WAIT, /* for an event or a semaphore; what: enum trace_lock; at: id; ns: waited;
                      pc: caller */
    TRACE_TRY, /* what, at, pc: the same; pages: tries that found it taken; the last's
                      start and ns */
    TRACE_KINDS
};

enum trace_fault {
    TRACE_READ_MISS,  /* fetched data to read it */
    TRACE_WRITE_MISS, /* fetched data to write it */
    TRACE_UPGRADE,    /* first write to a page that could be read */
    TRACE_TRACKED,    /* first write since a checkpoint */
    TRACE_RIGHT, /* only the right was missing: a home's own page, an aged copy,
                         another thread was quicker */
    TRACE_FAULTS
};

enum trace_lock {
    TRACE_LOCK,
    TRACE_LOCK_READ, /* reader-writer locks */
    TRACE_LOCK_WRITE,
    TRACE_EVENT,
    TRACE_SEM,
    TRACE_LOCKS
};

enum trace_flag {
    TRACE_WRITES = 1,   /* fault: the access writes */
    TRACE_FULL = 2,     /* checkpoint: a full epoch */
    TRACE_FAILED = 4,   /* checkpoint, restart, recover: the call failed */
    TRACE_CONDITION = 8 /* take: waited for a condition, too */
};

struct trace_event {
    uint64_t start;
    uint64_t ns;
    uint64_t at;
    uint64_t pc; /* 0: none */
    uint64_t bytes;
    uint32_t low;
    uint32_t high;
    int32_t peer;
    uint32_t pages;
};

/* The first slot of a definition; its payload lies in the slots behind it. */
struct trace_definition {
    uint64_t bytes; /* of the payload */
    uint64_t unused[6];
};

struct trace_segment {
    uint64_t base;
    uint64_t bytes;
    uint64_t birth; /* a time */
    uint64_t dims[RECTO_DIMS_MAX];
    uint32_t ndims;
    uint32_t element; /* bytes */
    char type[64];
    char name[TRACE_TEXT];
};

/* A part of the program: an executable, a shared library. */
struct trace_module {
    uint64_t low;
    uint64_t high; /* one past its last byte */
    uint64_t bias; /* program counter - bias: an address in the file */
    uint32_t build_id_bytes;
    uint8_t build_id[TRACE_BUILD_ID];
    char path[TRACE_TEXT];
};

struct trace_slot {
    _Atomic uint16_t kind; /* enum trace_kind */
    uint8_t what;
    uint8_t flags;   /* enum trace_flag */
    uint32_t thread; /* tells threads of a rank apart */
    union {
        struct trace_event event;
        struct trace_definition definition;
        unsigned char body[TRACE_BODY];
    } u;
};
_Static_assert(sizeof(struct trace_slot) == TRACE_SLOT, "slots are 64 bytes");

struct trace_header {
    char magic[8];
    uint32_t major;
    uint32_t minor;
    uint32_t order;
    uint32_t slot_bytes;
    uint64_t slots;           /* that there are */
    _Atomic uint64_t claimed; /* may be more */
    uint64_t run;             /* the same on all ranks of a run */
    int32_t rank;
    int32_t size;
    int32_t domain;
    int32_t domains;
    uint32_t pid;
    uint32_t page_bytes;
    uint64_t started; /* this rank's clock */
    uint64_t ended;   /* 0: it did not end in order */
    int64_t clock_offset;
    uint64_t clock_error;
    int64_t started_real;              /* CLOCK_REALTIME then, ns */
    uint64_t counters[TRACE_COUNTERS]; /* recto_stats at recto_finalize */
    char host[64];
    char program[TRACE_TEXT];
};
_Static_assert(sizeof(struct trace_header) <= TRACE_HEADER, "header fits");

/* ---- recording -------------------------------------------------------------------- */

extern struct trace_header *_Atomic base_trace;

static inline bool base_tracing(void)
{
    return atomic_load_explicit(&base_trace, memory_order_relaxed) != NULL;
}

/* When the trace that is recorded began, which tells traces apart; 0: none is. */
static inline uint64_t base_trace_began(void)
{
    const struct trace_header *h =
        atomic_load_explicit(&base_trace, memory_order_acquire);
    return h != NULL ? h->started : 0;
}

/* base_now while a trace is recorded, else 0. */
uint64_t base_trace_clock(void);

/* What is recorded; what is not set is 0. `ns` 0: until now. Nothing happens while no
 * trace is recorded, or with `start` 0: it began before the trace did. */
struct base_event {
    enum trace_kind kind;
    unsigned what;
    unsigned flags;
    struct trace_event e;
};
void base_trace_add(const struct base_event *event);
/* Payloads of at most TRACE_BODY * (TRACE_DEFINITION_MOST - 1) bytes. */
void base_trace_define(enum trace_kind kind, const void *payload, size_t bytes);

/* The memory of a file with its header made: recording begins; NULL: it ends. */
void base_trace_use(struct trace_header *header);

#endif
