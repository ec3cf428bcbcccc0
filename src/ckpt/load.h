/* SPDX-License-Identifier: BSD-3-Clause */
/* A restart from one epoch: what its files share (load.c, sources.c). */
#ifndef RECTO_SRC_CKPT_LOAD_H
#define RECTO_SRC_CKPT_LOAD_H

#include "reader.h"
#include "state.h"

/* Where the newest version of a page is. Sent between ranks as it is. */
struct source {
    uint64_t uid;
    uint64_t page;
    uint64_t sum;
    uint64_t rank; /* CKPT_NO_RANK: shared */
    uint64_t slot; /* in the log of */
    uint32_t file; /* this file of the chain */
    uint32_t to;   /* the rank that it is sent to */
};

struct load {
    struct ckpt_job *job;
    struct ckpt_file *files; /* of the chain; [0] is the full epoch */
    size_t nfiles;
    struct source *sources; /* mine, by (uid, page), newest only */
    uint64_t nsources;
};

/* Reads the logs' indexes and makes l->sources. Collective, one verdict. */
int ckpt_sources_load(struct load *l);
/* Index of the first source at or after (uid, page). */
uint64_t ckpt_source_after(const struct load *l, uint64_t uid, uint64_t page);

#endif
