/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A case is an operation with what it must cost. Between case_begin and case_end
 * the ranks do it; then the counts of all ranks are compared with expectations.
 *
 *     case_begin();
 *     ... the operation ...
 *     case_expect(MESSAGES, 2 * pages, 2 * pages); all ranks, the busiest
 *     case_end("read miss");
 *
 * What is counted may lag behind the operation (messages that nobody waits for),
 * so the counts are read until they are as expected and stay so, or stay as they
 * are. Time decides nothing: that of the slowest rank is only printed.
 */
#ifndef RECTO_BENCH_CASES_H
#define RECTO_BENCH_CASES_H

#include <stdint.h>

#include "costs/traffic.h"

enum {
    CASE_ANY = -1 /* no statement about the busiest rank */
};

void case_begin(void);
/* Exactly so many on all ranks together, and on the busiest. */
void case_expect(enum traffic kind, int64_t total, int64_t most);
/* At least and at most so many on all ranks together. */
void case_bound(enum traffic kind, int64_t least, int64_t total);
/* A value that the caller compares itself; the same on all ranks. */
void case_value(const char *name, int64_t expected, int64_t found);
void case_end(const char *name);

/* Prints the table and, with a file name, JSON. Returns how many were broken. */
int cases_report(const char *json, const char *transport);

#endif
