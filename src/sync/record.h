/* SPDX-License-Identifier: BSD-3-Clause */
/* What a trace (base/trace.h) has of locks, events and semaphores. */
#ifndef RECTO_SRC_SYNC_RECORD_H
#define RECTO_SRC_SYNC_RECORD_H

#include <stdint.h>

#include "base/trace.h"

/* Where the program called us. */
/* NOLINTNEXTLINE(readability-identifier-naming): reads as a function */
#define caller() __builtin_return_address(0)

/*
 * A call on an object ended with `result`: 0 is recorded as `kind`, RECTO_EBUSY as a try
 * that found it taken. Of a thread's tries of one object in a row the 1st, 2nd, 4th, 8th,
 * ... is recorded, with the number of those since the one before, as a program may poll
 * so; the rest is once the thread gets the object, or turns to others. `start`:
 * base_trace_clock before the call.
 */
void record_call(enum trace_kind kind, enum trace_lock what, uint64_t id,
                 uint64_t start, int result, const void *caller);

#endif
