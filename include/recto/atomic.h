/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/atomic.h: atomic operations on shared memory. Part of recto.h, which
 * includes it.
 */
#ifndef RECTO_ATOMIC_H
#define RECTO_ATOMIC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Atomic operations on aligned words of shared memory, atomic for all threads of
 * all ranks. They return the old value. p must be shared memory and aligned;
 * they may wait for the page. On sequential memory they are sequentially
 * consistent with all accesses; on release consistent memory they order nothing
 * else, and plain reads of the word by others are right after they have
 * synchronised.
 */
int32_t recto_fetch_add_i32(int32_t *p, int32_t value);
int64_t recto_fetch_add_i64(int64_t *p, int64_t value);
uint32_t recto_fetch_add_u32(uint32_t *p, uint32_t value);
uint64_t recto_fetch_add_u64(uint64_t *p, uint64_t value);
double recto_fetch_add_f64(double *p, double value);
int32_t recto_exchange_i32(int32_t *p, int32_t value);
int64_t recto_exchange_i64(int64_t *p, int64_t value);
uint32_t recto_exchange_u32(uint32_t *p, uint32_t value);
uint64_t recto_exchange_u64(uint64_t *p, uint64_t value);
/* Stores `desired` if *p equals `expected`; returns what *p was. */
int32_t recto_cas_i32(int32_t *p, int32_t expected, int32_t desired);
int64_t recto_cas_i64(int64_t *p, int64_t expected, int64_t desired);
uint32_t recto_cas_u32(uint32_t *p, uint32_t expected, uint32_t desired);
uint64_t recto_cas_u64(uint64_t *p, uint64_t expected, uint64_t desired);
/* The word's value now, for words that are written by these operations: to poll
 * a flag. A load is not a write and leaves the page where it is. */
int32_t recto_load_i32(int32_t *p);
int64_t recto_load_i64(int64_t *p);
uint32_t recto_load_u32(uint32_t *p);
uint64_t recto_load_u64(uint64_t *p);
double recto_load_f64(double *p);
/* Sets the word. */
void recto_store_i32(int32_t *p, int32_t value);
void recto_store_i64(int64_t *p, int64_t value);
void recto_store_u32(uint32_t *p, uint32_t value);
void recto_store_u64(uint64_t *p, uint64_t value);
void recto_store_f64(double *p, double value);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
