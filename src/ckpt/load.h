/* SPDX-License-Identifier: BSD-3-Clause */
/* A restart from one epoch: what its files share (load.c, sources.c). */
#ifndef RECTO_SRC_CKPT_LOAD_H
#define RECTO_SRC_CKPT_LOAD_H

#include "chain.h"
#include "state.h"

struct load {
    struct ckpt_job *job;
    struct ckpt_chain chain; /* its sources: mine */
    /* Some part is redistributed: every rank has all rows, and here all sources of
     * these parts. */
    bool moves;
    struct ckpt_sources old;
};

/* Opens the chain of epoch `index`, unless status, mine alone, is an error, and gives each
 * rank its rows of the tables of pieces. Collective, one verdict. */
int ckpt_load_open(struct load *l, const struct ckpt_manifest *manifest,
                   uint64_t index, int status);
/* Then: sources, and the full epoch's page sums. Collective, one verdict. */
int ckpt_load_index(struct load *l);
/* Reads the logs' indexes: what I need of them is in l->chain.sources then, yet to be
 * settled. Collective, one verdict. */
int ckpt_sources_load(struct load *l);

/* moved.c: calls the program's functions. Collective, one verdict. */
int ckpt_moved_call(struct load *l);

#endif
