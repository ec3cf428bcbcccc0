/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_restart: finds the newest epoch that is intact and fits the program,
 * and loads it.
 *
 * Invariants
 * 1. All ranks work from rank 0's bytes of the manifest; nobody else looks for
 *    files.
 * 2. A candidate is taken or skipped by all ranks alike (one verdict each).
 * 3. RECTO_ECHANGED is decided by the newest epoch, before any memory changes.
 * 4. Epochs newer than the one restored leave the manifest with the next
 *    commit; until then the folder is as it was.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt.h"
#include "coherence/coherence.h"
#include "due.h"
#include "flight.h"
#include "heap/heap.h"
#include "reader.h"
#include "state.h"

/* ---- the manifest on every rank --------------------------------------------------- */

/* *manifest is NULL for a fresh start. Collective. */
static int manifest_share(struct ckpt_manifest **manifest)
{
    char *text = NULL;
    size_t size = 0;
    uint64_t bytes = 0;
    int status = 0;
    *manifest = NULL;
    if (net_rank() == 0) {
        struct ckpt_store *store = &ckpt_state.store;
        status = ckpt_store_open(store, ckpt_state.path, false);
        if (status == 0 && store->manifest != NULL) {
            status = ckpt_manifest_print(store->manifest, &text, &size);
        }
        status = status == RECTO_ENOENT ? 0 : status;
        bytes = size;
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_bcast(&bytes, sizeof bytes, 0);
    }
    if (status != 0 || bytes == 0) {
        free(text);
        return status;
    }
    if (net_rank() != 0) {
        text = malloc(bytes);
        status = text != NULL ? 0 : base_error(RECTO_ENOMEM, "manifest");
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_bcast(text, bytes, 0);
    }
    if (status == 0) {
        status = net_verdict(ckpt_manifest_parse(text, bytes, manifest));
    }
    free(text);
    return status;
}

/* ---- does the program fit? ------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    const struct ckpt_object *const *x = a;
    const struct ckpt_object *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool is_heap(const struct ckpt_object *o)
{
    return strcmp(o->name, BASE_HEAP_NAME) == 0;
}

/* All but the heap; *count of them. */
static const struct ckpt_object **sorted(const struct ckpt_epoch *e,
                                         uint64_t *count)
{
    const struct ckpt_object **list = calloc(e->nobjects + 1, sizeof(void *));
    uint64_t n = 0;
    for (uint64_t i = 0; list != NULL && i < e->nobjects; i++) {
        if (!is_heap(&e->objects[i])) {
            list[n++] = &e->objects[i];
        }
    }
    if (list != NULL) {
        qsort(list, n, sizeof(void *), by_name);
    }
    *count = n;
    return list;
}

static const struct ckpt_object *heap_of(const struct ckpt_epoch *e)
{
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (is_heap(&e->objects[i])) {
            return &e->objects[i];
        }
    }
    return NULL;
}

/* The heap is not declared: what the epoch holds of it must fit. */
static int heap_compare(const struct ckpt_epoch *e)
{
    const struct ckpt_object *o = heap_of(e);
    const struct space_segment *s = space_segment_find(BASE_HEAP_NAME);
    unsigned long long number = (unsigned long long)e->number;
    if (o == NULL) {
        return 0;
    }
    if (o->kind != CKPT_SHARED || s == NULL || s->bytes < o->bytes) {
        return base_error(RECTO_ECHANGED,
                          "the heap has %llu bytes in epoch %llu and %llu "
                          "now: set %s to at least as many",
                          (unsigned long long)o->bytes, number,
                          (unsigned long long)(s != NULL ? s->bytes : 0),
                          base_env_name(BASE_ENV_HEAP));
    }
    return o->address == (uint64_t)(uintptr_t)s->recto
               ? 0
               : base_error(RECTO_EADDRESS,
                            "the heap was at 0x%llx in epoch %llu and is at %p "
                            "now, so pointers into it would be wrong",
                            (unsigned long long)o->address, number,
                            (void *)s->recto);
}

static int lacking(const struct ckpt_object *o, const struct ckpt_epoch *e,
                   bool in_program)
{
    char shape[CKPT_SHAPE_MAX];
    return base_error(
        RECTO_ECHANGED,
        in_program ? "the program declares %s \"%s\" (%s), which epoch %llu "
                     "does not hold"
                   : "%s \"%s\" (%s) of epoch %llu is not declared by the "
                     "program",
        ckpt_kind_words(o->kind), o->name,
        ckpt_object_shape(o, shape, sizeof shape),
        (unsigned long long)e->number);
}

/* One object as the epoch has it and as the program declares it. */
static int object_compare(const struct ckpt_object *old,
                          const struct ckpt_object *now,
                          const struct ckpt_epoch *e)
{
    char was[CKPT_SHAPE_MAX];
    char is[CKPT_SHAPE_MAX];
    if (old->kind != now->kind) {
        const char *what[] = {"an array", "protected memory"};
        return base_error(RECTO_ECHANGED,
                          "\"%s\" is %s in epoch %llu and %s in the program",
                          old->name, what[old->kind],
                          (unsigned long long)e->number, what[now->kind]);
    }
    if (old->type != now->type || old->ndims != now->ndims ||
        memcmp(old->dims, now->dims,
               (size_t)now->ndims * sizeof now->dims[0]) != 0) {
        return base_error(RECTO_ECHANGED,
                          "%s \"%s\" has %s in epoch %llu, the program "
                          "declares %s",
                          ckpt_kind_words(old->kind), old->name,
                          ckpt_object_shape(old, was, sizeof was),
                          (unsigned long long)e->number,
                          ckpt_object_shape(now, is, sizeof is));
    }
    if (old->kind == CKPT_SHARED && old->address != now->address) {
        return base_error(RECTO_EADDRESS,
                          "array \"%s\" was at 0x%llx in epoch %llu and is at "
                          "0x%llx now, so pointers stored in shared memory "
                          "would be wrong: allocate in the same order as then",
                          old->name, (unsigned long long)old->address,
                          (unsigned long long)e->number,
                          (unsigned long long)now->address);
    }
    return 0;
}

/* Names the private objects that bind the epoch to its number of ranks. */
static int ranks_compare(const struct ckpt_epoch *e)
{
    char names[400] = "";
    size_t used = 0;
    if (e->ranks == (uint64_t)net_size()) {
        return 0;
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        const struct ckpt_object *o = &e->objects[i];
        if (o->kind == CKPT_PRIVATE && o->bytes > 0 && used < sizeof names) {
            int n = snprintf(names + used, sizeof names - used, "%s\"%s\"",
                             used > 0 ? ", " : "", o->name);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return used == 0
               ? 0
               : base_error(RECTO_ECHANGED,
                            "epoch %llu was written by %llu ranks, this "
                            "job has %d: the protected memory %s belongs "
                            "to single ranks; start that many",
                            (unsigned long long)e->number,
                            (unsigned long long)e->ranks, net_size(), names);
}

static int epoch_compare(const struct ckpt_epoch *e,
                         const struct ckpt_epoch *declared)
{
    uint64_t nold = 0;
    uint64_t nnow = 0;
    const struct ckpt_object **old = sorted(e, &nold);
    const struct ckpt_object **now = sorted(declared, &nnow);
    uint64_t i = 0;
    uint64_t j = 0;
    int status = old != NULL && now != NULL
                     ? ranks_compare(e)
                     : base_error(RECTO_ENOMEM, "comparison of objects");
    status = status == 0 ? heap_compare(e) : status;
    while (status == 0 && (i < nold || j < nnow)) {
        int order = i == nold ? 1 : j == nnow ? -1 : by_name(&old[i], &now[j]);
        if (order != 0) {
            status = lacking(order < 0 ? old[i] : now[j], e, order > 0);
        } else {
            status = object_compare(old[i++], now[j++], e);
        }
    }
    free(old);
    free(now);
    return status;
}

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

static uint64_t heap_bytes(const struct ckpt_epoch *e)
{
    const struct ckpt_object *o = heap_of(e);
    return o != NULL ? o->bytes : 0;
}

/* Restores epoch `index`. Collective, one verdict. */
static int candidate_load(const struct ckpt_manifest *m, uint64_t index,
                          bool *touched)
{
    struct ckpt_job job = CKPT_JOB_NONE;
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
        status = heap_rebuild(heap_bytes(&job.epoch));
    }
    if (status == 0 && net_rank() == 0) {
        status = ckpt_store_truncate(&ckpt_state.store, index + 1);
    }
    status = net_verdict(status);
    if (status == 0) {
        ckpt_settle(&job, known);
        known = NULL;
    }
    free(known);
    ckpt_job_free(&job);
    return status;
}

static bool unusable(int status)
{
    return status == RECTO_ECORRUPT || status == RECTO_EIO;
}

static void warn_skipped(const struct ckpt_epoch *e)
{
    if (net_rank() == 0) {
        base_warn("epoch %llu is skipped: %s", (unsigned long long)e->number,
                  recto_last_error());
    }
}

/* Holes of pages [first, end) are zero already. */
static void run_zero(const struct space_segment *s, uint64_t first,
                     uint64_t end)
{
    uint64_t stop = 0;
    while (first < end && space_data_run(s, first, &first, &stop) &&
           first < end) {
        stop = stop < end ? stop : end;
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

static int none_intact(const struct ckpt_manifest *m, bool touched)
{
    char last[400];
    (void)snprintf(last, sizeof last, "%s", recto_last_error());
    int status = touched ? memory_zero() : 0;
    return status != 0
               ? status
               : base_error(RECTO_ECORRUPT,
                            "%s: none of %llu epochs can be restored; the "
                            "oldest: %s",
                            ckpt_state.path, (unsigned long long)m->nepochs,
                            last);
}

/* Newest first. 1: restored. */
static int candidates_try(const struct ckpt_manifest *m,
                          const struct ckpt_epoch *declared)
{
    bool touched = false;
    bool newest = true;
    for (uint64_t i = m->nepochs; i-- > 0;) {
        const struct ckpt_epoch *e = &m->epochs[i];
        int status = net_verdict(epoch_compare(e, declared));
        if (status == 0) {
            status = candidate_load(m, i, &touched);
        }
        if (status == 0) {
            return 1;
        }
        bool differs = status == RECTO_ECHANGED || status == RECTO_EADDRESS;
        if (!unusable(status) && !(differs && !newest)) {
            return status;
        }
        newest = false;
        warn_skipped(e);
    }
    return none_intact(m, touched);
}

/* 1: restored, 0: fresh. */
static int restart(void)
{
    struct ckpt_manifest *m = NULL;
    struct ckpt_job declared = CKPT_JOB_NONE;
    int status = manifest_share(&m);
    if (status == 0 && m != NULL && m->nepochs > 0) {
        status = ckpt_agree(&declared);
        if (status == 0) {
            status = net_verdict(ckpt_dir_join());
        }
        if (status == 0) {
            status = candidates_try(m, &declared.epoch);
        }
    }
    ckpt_job_free(&declared);
    ckpt_manifest_free(m);
    return status;
}

int recto_restart(int64_t *epoch)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_restart before recto_init");
    }
    int status = 0;
    ckpt_flight_land();
    if (ckpt_state.restarted) {
        status = base_error(RECTO_ESTATE,
                            "recto_restart after an epoch was written or "
                            "restored");
    }
    status = ckpt_meet(NET_CALL_RESTART, "recto_restart()", status);
    if (status != 0) {
        heap_go();
        return status;
    }
    (void)pthread_mutex_lock(&ckpt_mutex);
    status = restart();
    (void)pthread_mutex_unlock(&ckpt_mutex);
    ckpt_due_reset(0, 0);
    heap_go();
    if (status == 1 && epoch != NULL) {
        *epoch = ckpt_state.epoch;
    }
    return status;
}
