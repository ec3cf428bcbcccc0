/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_restart: finds the newest epoch that is intact and fits the program,
 * and loads it; or has it loaded while the program goes on (lazy.c).
 *
 * Invariants
 * 1. RECTO_ECHANGED is decided by the newest epoch, before any memory changes.
 * 2. Epochs newer than the one restored leave the manifest with the next
 *    commit; until then the folder is as it was.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/trace.h"
#include "choice.h"
#include "ckpt.h"
#include "coherence/coherence.h"
#include "due.h"
#include "fit.h"
#include "heap/heap.h"
#include "lazy.h"
#include "level.h"
#include "reader.h"
#include "state.h"

/* ---- candidates ----------------------------------------------------------------------------- */

/* Tracking begins: the pages are as the epoch holds them. Collective. */
static int tracking_start(const struct ckpt_job *job)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        struct space_segment *s = job->parts[i].segment;
        if (s == NULL || !space_dirty_tracking(s)) {
            status = s != NULL ? space_dirty_start(s) : 0;
            continue;
        }
        status = net_verdict(space_dirty_collect(s, NULL, NULL));
    }
    return status;
}

/* Restores epoch `index`. Collective, one verdict. */
static int candidate_load(const struct ckpt_manifest *m, uint64_t index,
                          bool lazy, bool *touched)
{
    struct ckpt_job job = CKPT_JOB_NONE;
    job.lazy = lazy;
    struct ckpt_known *known = NULL;
    int status = ckpt_epoch_copy(&job.epoch, &m->epochs[index]);
    if (status == 0) {
        status = ckpt_parts_bind(&job);
    }
    if (status == 0) {
        known = calloc(job.epoch.nobjects + 1, sizeof *known);
        status =
            known != NULL ? 0 : base_error(RECTO_ENOMEM, "list of objects");
    }
    status = net_verdict(status);
    if (status == 0) {
        status = ckpt_load(&job, m, index, touched);
    }
    if (status == 0) {
        status = net_verdict(tracking_start(&job));
    }
    if (status == 0) {
        status = heap_rebuild(ckpt_fit_heap(&job.epoch));
    }
    if (status == 0 && net_rank() == 0) {
        status = ckpt_store_truncate(&ckpt_state.store, index + 1);
    }
    status = net_verdict(status);
    if (status == 0) {
        ckpt_settle(&job, known);
        known = NULL;
        status = ckpt_lazy_start(&job);
    } else {
        ckpt_lazy_drop();
    }
    free(known);
    ckpt_job_free(&job);
    return status;
}

/* Holes of pages [first, end) are zero already. */
static void run_zero(const struct space_segment *s, uint64_t first,
                     uint64_t end)
{
    uint64_t stop = 0;
    while (space_data_run(s, first, end, &first, &stop)) {
        memset(space_verso(s, first), 0, (size_t)(stop - first) * SPACE_PAGE);
        first = stop;
    }
}

/* After a candidate that was loaded in part, and no other: as allocated. */
static int memory_zero(void)
{
    int status = heap_rebuild(0);
    struct space_segment *s = space_segment_first();
    for (; s != NULL && status == 0; s = s->next) {
        if ((s->attr.flags & RECTO_NO_CHECKPOINT) != 0 || s->heap) {
            continue; /* blocks of the heap are not cleared anyway */
        }
        status = net_verdict(coherence_recall(s, true));
        uint64_t first = 0;
        uint64_t count = 0;
        while (status == 0 &&
               space_home_run(s, net_rank(), first + count, &first, &count)) {
            run_zero(s, first, first + count);
        }
    }
    return net_verdict(status);
}

struct restart {
    const struct ckpt_epoch *declared;
    bool lazy;
    bool touched; /* shared memory was written to */
};

static int candidate_try(void *argument, const struct ckpt_manifest *m,
                         uint64_t index)
{
    struct restart *r = argument;
    int status = net_verdict(ckpt_fit(&m->epochs[index], r->declared));
    return status == 0 ? candidate_load(m, index, r->lazy, &r->touched)
                       : status;
}

/* 1: restored. */
static int candidates_try(const struct ckpt_manifest *m,
                          const struct ckpt_epoch *declared)
{
    struct restart r = {.declared = declared};
    char message[1024];
    int status = ckpt_lazy_decide(&r.lazy);
    status = status == 0 ? ckpt_choice_try(m, candidate_try, &r) : status;
    if (status == 0 || !r.touched) {
        return status == 0 ? 1 : status;
    }
    (void)snprintf(message, sizeof message, "%s", recto_last_error());
    int zeroed = memory_zero();
    if (zeroed == 0) {
        base_error_set(message);
    }
    return zeroed != 0 ? zeroed : status;
}

/* 1: restored, 0: fresh. */
static int restart(void)
{
    struct ckpt_manifest *m = NULL;
    struct ckpt_job declared = CKPT_JOB_NONE;
    int status = ckpt_level_recover();
    if (status == 0) {
        status = ckpt_choice_open(&m);
    }
    if (status == 0 && m != NULL) {
        status = ckpt_agree(&declared);
        if (status == 0) {
            status = candidates_try(m, &declared.epoch);
        }
    }
    ckpt_job_free(&declared);
    ckpt_manifest_free(ckpt_lazy_keep(m));
    return status;
}

int recto_restart(int64_t *epoch)
{
    char text[96];
    uint64_t called = base_trace_clock();
    uint64_t before = ckpt_state.restart_bytes;
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_restart before recto_init");
    }
    int status =
        ckpt_meet(NET_CALL_RESTART,
                  ckpt_choice_text(ckpt_lazy_text(), text, sizeof text), 0);
    if (status == 0 && ckpt_state.restarted) {
        status = base_error(
            RECTO_ESTATE,
            "recto_restart after an epoch was written or "
            "restored; call it once, before the first recto_checkpoint");
    }
    if (status == 0) {
        (void)pthread_mutex_lock(&ckpt_mutex);
        status = restart();
        (void)pthread_mutex_unlock(&ckpt_mutex);
        ckpt_due_reset(0, 0);
    }
    heap_go();
    ckpt_trace_call(
        TRACE_RESTART, called, status, status == 1 ? ckpt_state.epoch : -1,
        ckpt_state.restart_bytes - before, __builtin_return_address(0));
    if (status == 1 && epoch != NULL) {
        *epoch = ckpt_state.epoch;
    }
    return status;
}
