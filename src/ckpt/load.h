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

/* Reads the logs' indexes and makes l->chain.sources. Collective, one verdict. */
int ckpt_sources_load(struct load *l);

/* moved.c: calls the program's functions. Collective, one verdict. */
int ckpt_moved_call(struct load *l);

#endif
