/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Costs of the machine and of MPI, for rank 0 alone and for ranks 0 and 1
 * together; rank 0 takes the samples. Ranks with nothing to do sleep.
 *
 * Ranks of one machine share an *area* by MPI's shared windows, none of Recto's
 * doing. Where ranks 0 and 1 do not share memory there is no area and the
 * floors that need it get no samples.
 */
#ifndef RECTO_BENCH_FLOORS_H
#define RECTO_BENCH_FLOORS_H

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

/* ---- one rank ---------------------------------------------------------------- */

/* A signal to the own thread and back, by an empty handler. */
void floor_signal(struct bench_measure *m);

/* mprotect of one page after another in random order; each splits a mapping or
 * joins two. */
void floor_mprotect(struct bench_measure *m, uint64_t pages);

/* What a snapshot of memory cannot do without: of `pages` pages of this rank, all
 * touched, one mprotect of the whole and one scan of the page table (PAGEMAP_SCAN, or
 * where the kernel lacks it a read of the pagemap); and two barriers of all ranks. The
 * longest of the ranks. */
void floor_snapshot(struct bench_measure *m, uint64_t pages);

/* ---- two ranks: the area ----------------------------------------------------- */

/* Each word on a cache line (pair) of its own. */
struct floor_area {
    _Alignas(128) _Atomic uint64_t line;
    _Alignas(128) _Atomic uint32_t futex;
    _Alignas(128) _Atomic uint64_t flag;
    _Alignas(128) _Atomic uint64_t taken;
    _Alignas(128) _Atomic uint64_t stamp;
    _Alignas(128) _Atomic uint64_t word;
    _Alignas(128) uint64_t guarded; /* by the lock under test */
    _Alignas(128) pthread_mutex_t mutex;
    _Alignas(4096) char data[]; /* `bytes` of floor_shared */
};

struct floor_shared {
    MPI_Win window;
    MPI_Comm machine;
    struct floor_area *area; /* NULL: ranks 0 and 1 share no memory */
    uint64_t bytes;
};

/* Collective. `bytes` of data[] lie in rank 1's memory. */
void floor_open(struct floor_shared *s, uint64_t bytes);

void floor_close(struct floor_shared *s);

/* ---- two ranks: costs -------------------------------------------------------- */

/* Spins, but leaves the core now and then, in case there are too few. */
void floor_spin(unsigned *spins);

/* One way of a cache line between the ranks' cores, both spinning. */
void floor_line(struct floor_shared *s, struct bench_measure *m, int samples);

/* There and back: each rank wakes the other, which sleeps in the kernel. */
void floor_wake(struct floor_shared *s, struct bench_measure *m, int samples);

/* A message of 64 bytes there and back. */
void floor_message(struct bench_measure *m, int samples);

#endif
