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
    bool
        moves; /* some part is redistributed: every rank has all rows, and in `old` */
    struct source *old; /* all entries of these parts, by (uid, rank, page) */
    uint64_t nold;
};

/* Reads the logs' indexes and makes l->sources. Collective, one verdict. */
int ckpt_sources_load(struct load *l);
/* Index of the first source at or after (uid, page). */
uint64_t ckpt_source_after(const struct load *l, uint64_t uid, uint64_t page);

/* Reads pages [first, first + count) of a part to `memory`; the last page's memory is
 * whole. */
int ckpt_load_pages(const struct load *l, struct ckpt_part *part,
                    uint64_t first, uint64_t count, char *memory);
/* moved.c: calls the program's functions. Collective, one verdict. */
int ckpt_moved_call(const struct load *l);

#endif
