/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serial: the answer compared with that of a straightforward serial program, which
 * shares no code with the others: it reads the whole file by itself and pushes
 * ranks along the list of edges.
 */
#ifndef SERIAL_H
#define SERIAL_H

#include "pagerank.h"

/* Worker 0 compares all ranks, whose error is at most `error`, and says how far
 * apart they are. The same result, 0 or -1, on all. Collective. */
int serial_compare(const struct pagerank_answer *a, double error);

#endif
