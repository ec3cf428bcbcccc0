/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_checkpoint: one epoch, from the agreement on what it holds to the
 * verdict that every rank returns.
 *
 * A concurrent checkpoint returns after the layout; a thread does the rest (flight.c).
 *
 *   agree    objects, number, kind                        all   (agree.c)
 *   collect  recall, take the marks, hash private memory  all   (collect.c)
 *   lay out  offsets                                      rank 0
 *   open     temporary file, space reserved               rank 0, then all
 *   write    pages, sums, fsync; verdict, byte count      all
 *   finish   table of pieces, metadata, fsync             rank 0
 *   commit   rename, manifest, copy; verdict              rank 0 (store.c)
 *   verify   a full epoch is read back; verdict           all
 *   prune    what the rule does not keep goes             rank 0 (store.c)
 *   compact  a chain that is too long, beside the program all    (merge.c)
 *   settle   hashes and uids of the epoch take effect     all
 *
 * Invariants
 * 1. Every step ends in a verdict: all ranks go on, or all undo.
 * 2. What the ranks remember of the last epoch (uids, hashes, marks) changes
 *    only in settle, after the manifest is durable.
 * 3. A full epoch is read back after its commit, and the chains before the previous one
 *    go only then: two points that share no file are restorable at any moment
 *    after the second epoch. One that reads back wrong has failed: the next epoch holds
 *    what it should have held.
 */
#include <recto.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/trace.h"
#include "choice.h"
#include "ckpt.h"
#include "coherence/coherence.h"
#include "due.h"
#include "flight.h"
#include "heap/heap.h"
#include "lazy.h"
#include "level.h"
#include "merge.h"
#include "space/snapshot.h"
#include "state.h"

enum {
    CHAIN_MAX = 500 /* a restart opens all files of a chain */
};

struct ckpt_state ckpt_state = {
    .epoch = -1, .dir = {.fd = -1}, .store = {.dir = {.fd = -1}}};

/* ---- life cycle --------------------------------------------------------------------- */

static int full_of(unsigned option, uint64_t *every)
{
    *every = option;
    int status = 0;
    if (option == 0 || base_env_given(BASE_ENV_CKPT_FULL)) {
        status = base_env_u64(BASE_ENV_CKPT_FULL, every);
    }
    if (status == 0 && (*every == 0 || *every > CHAIN_MAX)) {
        status = base_error(RECTO_EINVAL, "%s=%llu: give 1 to %d",
                            base_env_name(BASE_ENV_CKPT_FULL),
                            (unsigned long long)*every, CHAIN_MAX);
    }
    return status;
}

/* What is under way comes to its end. */
static void land(void)
{
    ckpt_lazy_land();
    ckpt_flight_land();
}

int ckpt_init(const char *dir, unsigned full)
{
    uint64_t every = 0;
    int64_t chosen = RECTO_NEWEST;
    struct ckpt_keep keep;
    struct ckpt_packing packing;
    const char *path = dir == NULL || base_env_given(BASE_ENV_CKPT_DIR)
                           ? base_env(BASE_ENV_CKPT_DIR)
                           : dir;
    int status = full_of(full, &every);
    if (status == 0) {
        status = ckpt_keep_read(base_env(BASE_ENV_CKPT_KEEP), &keep);
    }
    if (status == 0) {
        status = ckpt_choice_read(&chosen);
    }
    if (status == 0) {
        status = ckpt_packing_read(base_env(BASE_ENV_CKPT_COMPRESS), &packing);
    }
    if (status == 0) {
        status = ckpt_io_inject(base_env(BASE_ENV_INJECT));
    }
    if (status == 0 && strlen(path) >= CKPT_PATH_MAX) {
        status =
            base_error(RECTO_EINVAL,
                       "checkpoint folder: name too long; give a shorter one");
    }
    if (status == 0) {
        status = ckpt_flight_init();
    }
    if (status == 0) {
        status = ckpt_merge_init();
    }
    if (status == 0) {
        status = ckpt_lazy_init();
    }
    if (status == 0) {
        status = ckpt_due_init();
    }
    if (status == 0) {
        status = ckpt_level_init();
    }
    if (status != 0) {
        return status;
    }
    memset(&ckpt_state, 0, sizeof ckpt_state);
    ckpt_state.dir.fd = -1;
    ckpt_state.store.dir.fd = -1;
    ckpt_state.epoch = -1;
    ckpt_state.full_every = every;
    ckpt_state.keep = keep;
    ckpt_state.packing = packing;
    memcpy(ckpt_state.path, path, strlen(path) + 1);
    ckpt_state.chosen = chosen;
    ckpt_state.started = true;
    space_landing_set(land);
    if (net_rank() == 0) {
        ckpt_layout_init();
    }
    return 0;
}

void ckpt_finalize(void)
{
    if (!ckpt_state.started) {
        return;
    }
    land();
    ckpt_flight_end();
    if (ckpt_flight_outcome() != 0) {
        base_error_print();
    }
    space_landing_set(NULL);
    ckpt_due_finalize();
    ckpt_level_finalize();
    (void)pthread_mutex_lock(&ckpt_mutex);
    ckpt_regions_free();
    ckpt_attributes_free();
    free(ckpt_state.known);
    ckpt_state.known = NULL;
    ckpt_state.nknown = 0;
    ckpt_io_dir_close(&ckpt_state.dir);
    ckpt_store_close(&ckpt_state.store);
    ckpt_state.started = false;
    (void)pthread_mutex_unlock(&ckpt_mutex);
}

void ckpt_stats(recto_counters *counters)
{
    counters->checkpoints = ckpt_state.checkpoints;
    counters->ckpt_bytes = ckpt_state.bytes;
    counters->restart_bytes = ckpt_state.restart_bytes;
    ckpt_merge_stats(counters);
}

int64_t recto_epoch(void)
{
    int64_t flown = ckpt_flight_epoch();
    return flown >= 0 ? flown : ckpt_state.epoch;
}

/* ---- opening ------------------------------------------------------------------------ */

int ckpt_dir_join(void)
{
    if (ckpt_state.dir.fd >= 0) {
        return 0;
    }
    int status = ckpt_io_dir_open(&ckpt_state.dir, ckpt_state.path, false);
    return status == RECTO_ENOENT
               ? base_error(RECTO_EIO,
                            "%s, which rank 0 has, is not seen here: set %s to "
                            "a folder that all ranks share",
                            ckpt_state.path, base_env_name(BASE_ENV_CKPT_DIR))
               : status;
}

static int open_all(void)
{
    struct ckpt_store *store = &ckpt_state.store;
    int status = 0;
    if (net_rank() == 0) {
        status = ckpt_store_open(store, ckpt_state.path, true);
        store->keep = ckpt_state.keep;
        if (status == 0 && !ckpt_state.restarted &&
            store->manifest->nepochs > 0) {
            base_warn("%s holds epochs that this run did not restore; they "
                      "go when two newer full ones are written",
                      ckpt_state.path);
        }
        if (status == 0) {
            ckpt_store_clean(store);
        }
    }
    status = net_verdict(status);
    return status == 0 ? net_verdict(ckpt_dir_join()) : status;
}

/* ---- after the verdict --------------------------------------------------------------------- */

static int known_order(const void *a, const void *b)
{
    const struct ckpt_known *x = a;
    const struct ckpt_known *y = b;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

/* The program may have unprotected it meanwhile. */
static void region_settle(struct ckpt_part *part)
{
    struct ckpt_region *region = ckpt_region_find(part->object->name);
    if (region != NULL && part->moved) {
        ckpt_region_adopt(region, 0, 0, NULL);
    } else if (region != NULL) {
        ckpt_region_adopt(region, part->object->uid, part->bytes, part->hashes);
        part->hashes = NULL;
    }
}

void ckpt_settle(struct ckpt_job *job, struct ckpt_known *known)
{
    size_t n = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        struct ckpt_part *part = &job->parts[i];
        if (part->segment != NULL) {
            known[n++] =
                (struct ckpt_known){part->segment->id, part->object->uid};
        } else if (part->region != NULL) {
            region_settle(part);
        }
    }
    qsort(known, n, sizeof *known, known_order);
    free(ckpt_state.known);
    ckpt_state.known = known;
    ckpt_state.nknown = n;
    ckpt_regions_settle(&job->epoch);
    ckpt_state.restarted = true;
    ckpt_state.epoch = (int64_t)job->epoch.number;
}

/* Write, and everybody else may overwrite again. */
static int file_write(struct ckpt_job *job)
{
    if (job->local) {
        return ckpt_level_write(job);
    }
    int status = ckpt_job_file_open(job);
    if (status == 0 && job->epoch.has_file) {
        status = ckpt_job_file_write(job);
    }
    return status;
}

static void abandon(const struct ckpt_job *job)
{
    if (job->local) {
        ckpt_level_abandon(job);
    } else if (net_rank() == 0) {
        ckpt_store_abandon(&ckpt_state.store, &job->epoch);
    }
}

static void snapshot_end(const struct ckpt_job *job)
{
    if (!job->concurrent) {
        return;
    }
    ckpt_pages_abandon(job); /* where it came to an end early */
    space_snapshot_end();
    for (uint64_t i = 0; job->parts != NULL && i < job->epoch.nobjects; i++) {
        if (job->parts[i].segment != NULL) {
            space_snapshot_open(job->parts[i].segment);
        }
    }
}

/* What a rank has written of the epoch under way, for who watches. */
static struct {
    _Atomic int64_t epoch; /* -1: none */
    _Atomic uint64_t all;  /* bytes, as far as they are known beforehand */
    _Atomic uint64_t done;
} under_way = {.epoch = -1};

void ckpt_progress_add(uint64_t bytes)
{
    atomic_fetch_add_explicit(&under_way.done, bytes, memory_order_relaxed);
}

static void progress_start(const struct ckpt_job *job)
{
    uint64_t pages = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        pages += job->parts[i].written - job->parts[i].holes / CKPT_PAGE;
    }
    atomic_store(&under_way.done, 0);
    atomic_store(&under_way.all, pages * CKPT_PAGE);
    atomic_store(&under_way.epoch, (int64_t)job->epoch.number);
}

int64_t ckpt_progress(uint64_t *done, uint64_t *all)
{
    *all = atomic_load(&under_way.all);
    uint64_t some = atomic_load(&under_way.done);
    *done = some < *all ? some : *all;
    return atomic_load(&under_way.epoch);
}

static void trace_epoch(const struct ckpt_job *job, uint64_t start, int status)
{
    base_trace_add(&(struct base_event){
        .kind = TRACE_FLIGHT,
        .flags = (job->epoch.full ? TRACE_FULL : 0U) |
                 (status != 0 ? TRACE_FAILED : 0U),
        .e = {.start = start,
              .at = job->epoch.number + 1,
              .bytes = job->written - job->holes}
    });
}

static int write_all(struct ckpt_job *job)
{
    int status = file_write(job);
    snapshot_end(job);
    if (status == 0 && job->local) {
        return ckpt_level_commit(job);
    }
    if (status != 0) {
        abandon(job);
    } else {
        status = net_verdict(
            net_rank() == 0 ? ckpt_store_commit(&ckpt_state.store, &job->epoch)
                            : 0);
    }
    job->ended = base_now();
    if (status != 0) {
        ckpt_io_close(&job->file);
    }
    return status;
}

int ckpt_epoch_write(struct ckpt_job *job)
{
    uint64_t start = base_trace_clock();
    progress_start(job);
    int status = write_all(job);
    atomic_store(&under_way.epoch, -1);
    trace_epoch(job, start, status);
    return status;
}

/* Rank 0: the epoch is not what was written, and leaves the manifest with the next
 * commit. */
static void disown(void)
{
    struct ckpt_store *store = &ckpt_state.store;
    char message[1024];
    (void)snprintf(message, sizeof message, "%s", recto_last_error());
    (void)ckpt_store_truncate(store, store->manifest->nepochs - 1);
    base_error_set(message);
}

/* Rank 0: older epochs may go. That they stay is no failure of this one. */
static void prune(void)
{
    if (ckpt_store_prune(&ckpt_state.store) != 0) {
        base_warn(
            "older epochs stay until the next one is written: %s; make room, "
            "or look whether it may be written",
            recto_last_error());
    }
}

int ckpt_epoch_verify(struct ckpt_job *job)
{
    int status = 0;
    if (job->local) {
        return 0;
    }
    if (job->epoch.full && job->epoch.has_file) {
        status = net_verdict(ckpt_job_file_verify(job));
    }
    ckpt_io_close(&job->file);
    if (net_rank() == 0 && status != 0) {
        disown();
    } else if (net_rank() == 0 && job->epoch.full) {
        prune();
    }
    if (status == 0) {
        ckpt_level_supersede(&job->epoch);
    }
    return status;
}

void ckpt_job_end(struct ckpt_job *job, struct ckpt_known *known, int status)
{
    if (status == 0) {
        ckpt_state.changed = ckpt_merge_changed(job);
        ckpt_state.bytes += job->written - job->holes;
        ckpt_settle(job, known);
        ckpt_state.checkpoints++;
        ckpt_due_written(job->ended - job->began);
    } else {
        ckpt_collect_undo(job);
        free(known);
    }
    ckpt_image_drop(job->image);
    ckpt_merge_free(&job->merge);
    ckpt_job_free(job);
}

/* The stop: what the epoch holds. */
static int begin(struct ckpt_job *job, struct ckpt_known **known)
{
    int status = open_all();
    if (status == 0) {
        status = ckpt_level_prepare();
    }
    if (status == 0) {
        status = ckpt_flight_prepare();
        job->concurrent = status == 0 && ckpt_flight_wanted();
    }
    if (status == 0) {
        status = ckpt_agree(job);
    }
    if (status != 0) {
        return status;
    }
    job->local = ckpt_level_on() && !job->epoch.full;
    *known = calloc(job->epoch.nobjects + 1, sizeof **known);
    status = net_verdict(
        *known != NULL ? 0 : base_error(RECTO_ENOMEM, "list of objects"));
    if (status == 0) {
        status = ckpt_collect(job);
    }
    return status == 0 ? ckpt_job_lay_out(job) : status;
}

/* Takes off; or writes it here, and a full epoch is read back beside the program. *flies:
 * the job is not ours any more. */
static int go_on(struct ckpt_job *job, struct ckpt_known *known, bool *flies)
{
    int status = job->concurrent ? 0 : ckpt_epoch_write(job);
    *flies = false;
    bool rest = job->concurrent || job->epoch.full || job->merge.due;
    if (status == 0 && rest) {
        status = ckpt_flight_start(job, known);
        *flies = status == 0;
        return status == 0 || job->concurrent ? status : ckpt_epoch_verify(job);
    }
    return status == 0 ? ckpt_epoch_verify(job) : status;
}

static int checkpoint(uint64_t start)
{
    struct ckpt_job job = CKPT_JOB_NONE;
    struct ckpt_known *known = NULL;
    job.began = start;
    int status = begin(&job, &known);
    bool flies = false;
    if (status == 0) {
        status = go_on(&job, known, &flies);
    }
    if (!flies) {
        snapshot_end(&job);
        ckpt_job_end(&job, known, status);
    }
    return status;
}

int ckpt_meet(enum net_call call, const char *text, int mine)
{
    coherence_release();
    heap_stop();
    int status = net_agree(call, mine, text);
    coherence_acquire();
    if (status == 0) {
        land();
        status = ckpt_flight_outcome();
        if (call != NET_CALL_CHECKPOINT_WAIT) {
            ckpt_flight_end();
        }
    }
    return status;
}

void ckpt_trace_call(enum trace_kind kind, uint64_t called, int status,
                     int64_t epoch, uint64_t bytes, const void *caller)
{
    base_trace_add(&(struct base_event){
        .kind = kind,
        .flags = status < 0 ? TRACE_FAILED : 0U,
        .e = {.start = called,
              .at = (uint64_t)(epoch + 1),
              .bytes = bytes,
              .pc = (uintptr_t)caller}
    });
}

int recto_checkpoint(void)
{
    uint64_t called = base_trace_clock();
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_checkpoint before recto_init");
    }
    int status = ckpt_meet(NET_CALL_CHECKPOINT, "recto_checkpoint()",
                           ckpt_flight_refuse());
    if (status == 0) {
        uint64_t start = base_now();
        (void)pthread_mutex_lock(&ckpt_mutex);
        status = checkpoint(start);
        (void)pthread_mutex_unlock(&ckpt_mutex);
        ckpt_due_reset(start, status == 0);
    }
    heap_go();
    ckpt_trace_call(TRACE_STOP, called, status,
                    status < 0 ? -1 : ckpt_flight_newest(), 0,
                    __builtin_return_address(0));
    return status;
}

int recto_checkpoint_wait(void)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE,
                          "recto_checkpoint_wait before recto_init");
    }
    int status =
        ckpt_meet(NET_CALL_CHECKPOINT_WAIT, "recto_checkpoint_wait()", 0);
    heap_go();
    return status;
}
