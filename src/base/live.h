/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `recto top` reads of a running rank: a memfd named LIVE_NAME that is found among
 * the rank's descriptors in /proc, so nothing is left behind when the rank dies, and who
 * may look at the process may read it. The rank fills it in when it is asked: by a byte
 * written into the pipe whose writing end is its descriptor `bell`.
 */
#ifndef RECTO_SRC_BASE_LIVE_H
#define RECTO_SRC_BASE_LIVE_H

#include <stdint.h>

#include <recto.h>

#define LIVE_NAME  "recto-top"
#define LIVE_MAGIC "RECTOTOP"

enum {
    LIVE_VERSION = 1,
    LIVE_COUNTERS = sizeof(recto_counters) / sizeof(uint64_t)
};

struct live_page {
    char magic[8];
    uint32_t version;
    uint32_t pid;
    uint64_t
        serial; /* grows with each answer; equal to `again` when all is written */
    uint64_t run;
    int32_t rank;
    int32_t size;
    int32_t domain;
    int32_t domains;
    int32_t bell;
    uint32_t tracing; /* RECTO_TRACE */
    uint64_t started; /* CLOCK_MONOTONIC of the machine, as `now` */
    uint64_t now;
    uint64_t written;     /* pages written and not yet published */
    int64_t epoch;        /* the last one on disk; -1: none */
    int64_t epoch_on_way; /* being written; -1: none */
    uint64_t on_way_done; /* bytes of this rank's */
    uint64_t on_way_all;
    uint64_t counters[LIVE_COUNTERS]; /* recto_counters */
    char host[64];
    char program[256];
    uint64_t again;
};

#endif
