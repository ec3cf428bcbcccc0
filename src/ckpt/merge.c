/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invariants
 * 1. The chain stays as it is until the new file was written, fsynced, read back and
 *    compared by all ranks; then one commit puts the full epoch in the place of the
 *    differential one, of the same number and content (store.c). What the rule of
 *    RECTO_CKPT_KEEP does not name goes after that.
 * 2. Nobody reads the program's memory: every page comes from the newest file that has it,
 *    and is compared with its sum.
 * 3. Rank k makes piece k of every object, so nobody reads or writes more than his share.
 * 4. The program waits for no more than SYNC_BYTES of each rank: the next checkpoint ends
 *    the compaction, and is a full epoch itself. So the chain is as short as
 *    if it had been compacted, however short the intervals are.
 */
#include "merge.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/trace.h"
#include "choice.h"
#include "compact.h"
#include "image.h"
#include "level.h"
#include "load.h"
#include "net/net.h"

enum {
    META_BYTES =
        16384, /* metadata of a differential epoch take less, but for pieces */
    SYNC_BYTES = 32 << 20
};

static struct {
    uint64_t percent; /* 0: off */
    /* Rank 0: */
    uint64_t
        retry_at; /* bytes of the chain, after a failure; 0: there was none */
    _Atomic uint64_t count;
    _Atomic uint64_t ns;
} merging;

/* ---- when ----------------------------------------------------------------------------- */

int ckpt_merge_init(void)
{
    uint64_t percent = 0;
    int status = base_env_u64(BASE_ENV_CKPT_COMPACT, &percent);
    if (status == 0) {
        memset(&merging, 0, sizeof merging);
        merging.percent = percent;
    }
    return status;
}

void ckpt_merge_stats(recto_counters *counters)
{
    counters->compactions = atomic_load(&merging.count);
    counters->compact_ns = atomic_load(&merging.ns);
}

static uint64_t limit_of(uint64_t measure)
{
    return measure / 100 * merging.percent;
}

bool ckpt_merge_wants_full(const struct ckpt_manifest *m, uint64_t changed)
{
    if (merging.percent == 0 || m == NULL || m->nepochs == 0) {
        return false;
    }
    uint64_t volume = ckpt_chain_volume(m, m->nepochs - 1);
    uint64_t measure = ckpt_chain_measure(m, m->nepochs - 1);
    uint64_t limit = limit_of(measure);
    if (volume > limit) { /* the compaction was cut short, or has failed */
        return volume > merging.retry_at;
    }
    merging.retry_at = 0;
    /* With levels a differential epoch stays on the nodes. */
    return !ckpt_level_on() &&
           (measure + changed > limit ||
            (volume + changed > limit && 2 * changed >= measure));
}

void ckpt_merge_plan(struct ckpt_job *job, const struct ckpt_manifest *m)
{
    job->volume = job->limit = 0;
    if (merging.percent == 0 || job->epoch.full) {
        return;
    }
    uint64_t limit = limit_of(ckpt_chain_measure(m, m->nepochs - 1));
    job->limit = limit > merging.retry_at ? limit : merging.retry_at;
    job->volume = ckpt_chain_volume(m, m->nepochs - 1);
    for (size_t i = 0; i < ckpt_level.npending; i++) {
        job->volume += ckpt_epoch_volume(&ckpt_level.pending[i].epoch);
    }
}

static uint64_t run_pages(const struct base_runs *runs)
{
    uint64_t pages = 0;
    for (uint64_t i = 0; i < runs->count; i++) {
        pages += runs->items[i].end - runs->items[i].first;
    }
    return pages;
}

/* In a full epoch all pages are written; which of them had changed is known by marks, or
 * by hashes. */
static uint64_t pages_changed(const struct ckpt_job *job,
                              const struct ckpt_part *part)
{
    const struct ckpt_region *r = part->region;
    uint64_t pages = 0;
    if (!job->epoch.full || part->object->uid >= job->first_new) {
        return part->written;
    }
    if (part->segment != NULL) {
        return run_pages(&part->dirty);
    }
    for (uint64_t i = 0; r != NULL && r->hashes != NULL &&
                         part->hashes != NULL && i < part->count;
         i++) {
        pages += !XXH128_isEqual(r->hashes[i], part->hashes[i]);
    }
    return pages;
}

uint64_t ckpt_merge_changed(const struct ckpt_job *job)
{
    uint64_t pages = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        pages += pages_changed(job, &job->parts[i]);
    }
    return pages * (CKPT_PAGE + sizeof(struct ckpt_entry));
}

/* At least what the epoch will add, as far as all ranks know it. */
static uint64_t growth(const struct ckpt_epoch *e)
{
    uint64_t entry = CKPT_PAGE + sizeof(struct ckpt_entry) +
                     (e->packed ? sizeof(struct ckpt_block) : 0);
    return META_BYTES + e->entries * entry +
           2 * e->pieces * e->ranks * sizeof(struct ckpt_piece);
}

static bool due(const struct ckpt_job *job, uint64_t added)
{
    bool arrives =
        !job->local || ckpt_level_due(&ckpt_level.levels, CKPT_LEVEL_SHARED,
                                      job->epoch.number);
    return job->limit > 0 && arrives && job->volume + added > job->limit;
}

/* ---- the layout, in the program's thread ------------------------------------------------- */

static int lay_out(struct ckpt_job *job)
{
    struct ckpt_merge *m = &job->merge;
    int status = ckpt_compact_epoch(&m->epoch, &job->epoch);
    for (uint64_t i = 0; i < m->epoch.nobjects && status == 0; i++) {
        const struct space_segment *s = job->parts[i].segment;
        m->epoch.objects[i].nsums = job->parts[i].pages_all;
        m->sparse = m->sparse || (s != NULL && space_sparse(s));
    }
    m->image = calloc(1, sizeof *m->image);
    if (status == 0 && m->image == NULL) {
        status = base_error(RECTO_ENOMEM, "layout");
    }
    return status == 0 ? ckpt_layout_create(&m->epoch, job->run, m->image)
                       : status;
}

static void warn(const struct ckpt_merge *m)
{
    base_warn("the chain of epoch %llu stays as it is, and a restart from it "
              "reads more than %s=%llu: %s",
              (unsigned long long)m->number,
              base_env_name(BASE_ENV_CKPT_COMPACT),
              (unsigned long long)merging.percent, recto_last_error());
}

void ckpt_merge_decide(struct ckpt_job *job)
{
    uint64_t added = growth(&job->epoch);
    job->merge.number = job->epoch.number;
    job->merge.volume = job->volume + added;
    job->merge.due = !job->epoch.full && due(job, added);
}

void ckpt_merge_prepare(struct ckpt_job *job)
{
    if (job->merge.due && net_rank() == 0 && lay_out(job) != 0) {
        warn(&job->merge);
        ckpt_image_drop(job->merge.image);
        job->merge.image = NULL;
    }
}

void ckpt_merge_free(struct ckpt_merge *m)
{
    ckpt_image_drop(m->image);
    ckpt_epoch_clear(&m->epoch);
    memset(m, 0, sizeof *m);
}

/* ---- the chain --------------------------------------------------------------------------- */

/* What the ranks share while they compact. */
struct merger {
    struct ckpt_merge *merge;
    const atomic_bool *stop;
    struct ckpt_manifest *chain; /* all ranks; NULL: there is nothing to do */
    struct ckpt_job job;         /* the new epoch, its parts and file */
    struct load load;
    char *buffer;
    uint64_t unsynced;
};

static int stopped(const struct merger *m)
{
    return atomic_load(m->stop)
               ? base_error(RECTO_EBUSY, "the next checkpoint has begun")
               : 0;
}

/* The epochs of the folder's last chain, if it ends with the epoch that was written:
 * with levels it may not be there. Rank 0. */
static bool chain_of(const struct ckpt_merge *merge,
                     struct ckpt_manifest *chain)
{
    const struct ckpt_manifest *m = ckpt_state.store.manifest;
    const struct ckpt_epoch *last = &m->epochs[m->nepochs - 1];
    if (merge->image == NULL || last->full || last->number != merge->number) {
        return false;
    }
    uint64_t first = ckpt_chain_start(m, m->nepochs - 1);
    *chain = *m;
    chain->epochs = m->epochs + first;
    chain->nepochs = m->nepochs - first;
    return true;
}

static int chain_share(struct merger *m)
{
    struct ckpt_manifest chain;
    bool found = net_rank() == 0 && chain_of(m->merge, &chain);
    int status = ckpt_manifest_share(0, found ? &chain : NULL, &m->chain);
    if (status != 0 || m->chain == NULL) {
        return status;
    }
    if (net_rank() == 0) {
        status = ckpt_epoch_copy(&m->job.epoch, &m->merge->epoch);
        m->job.image = m->merge->image;
        memcpy(m->job.run, m->chain->run, sizeof m->job.run);
    }
    status = net_verdict(status);
    return status == 0 ? ckpt_epoch_share(&m->job.epoch, 0) : status;
}

/* ---- pieces -------------------------------------------------------------------------------- */

static int parts_make(struct merger *m)
{
    struct ckpt_epoch *e = &m->job.epoch;
    m->job.nrows = e->nobjects;
    m->job.parts = calloc(e->nobjects + 1, sizeof *m->job.parts);
    m->job.rows = calloc(e->nobjects + 1, sizeof *m->job.rows);
    m->buffer = malloc((size_t)CKPT_COPY_PAGES * CKPT_PAGE);
    if (m->job.parts == NULL || m->job.rows == NULL || m->buffer == NULL) {
        return base_error(RECTO_ENOMEM, "parts of the epoch");
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        struct ckpt_part *part = &m->job.parts[i];
        part->object = &e->objects[i];
        if (ckpt_part_shared(part)) {
            part->bytes = part->object->bytes;
            part->pages = ckpt_pages(part->bytes);
        }
    }
    return 0;
}

/* How much private memory I have, from the chain. */
static int sizes_find(struct merger *m)
{
    int status = 0;
    for (uint64_t i = 0; i < m->job.nrows && status == 0; i++) {
        struct ckpt_part *part = &m->job.parts[i];
        if (!ckpt_part_shared(part) && part->object->bytes > 0) {
            status = ckpt_chain_size(&m->load.chain, part->object,
                                     (uint64_t)net_rank(), &part->bytes);
            part->pages = ckpt_pages(part->bytes);
        }
    }
    return status;
}

/* What lower ranks have of it. Collective. */
static int sizes_place(struct merger *m)
{
    uint64_t n = m->job.nrows;
    uint64_t *before = calloc(2 * (size_t)n + 1, sizeof *before);
    int status =
        net_verdict(before != NULL ? 0 : base_error(RECTO_ENOMEM, "places"));
    for (uint64_t i = 0; i < n && status == 0; i++) {
        before[2 * i] = m->job.parts[i].bytes;
        before[2 * i + 1] = m->job.parts[i].pages;
    }
    if (status == 0 && n > 0) {
        status = net_exscan_sum(before, 2 * (int)n);
    }
    for (uint64_t i = 0; i < n && status == 0; i++) {
        m->job.parts[i].bytes_before = before[2 * i];
        m->job.parts[i].pages_before = before[2 * i + 1];
    }
    free(before);
    return status;
}

static int chain_open(struct merger *m)
{
    m->load.job = &m->job;
    int status = ckpt_load_open(&m->load, m->chain, m->chain->nepochs - 1,
                                parts_make(m));
    if (status == 0) {
        status = net_verdict(sizes_find(m));
    }
    if (status == 0) {
        status = sizes_place(m);
    }
    if (status == 0) {
        status = ckpt_load_index(&m->load);
    }
    return status == 0 ? net_verdict(stopped(m)) : status;
}

/* ---- the new file --------------------------------------------------------------------------- */

static int file_open(struct merger *m)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_job *job = &m->job;
    int make = net_rank() == 0 ? O_CREAT | O_EXCL : 0;
    ckpt_store_temporary(&job->epoch, name);
    int status = ckpt_io_open(&job->file, &ckpt_state.dir, name, O_RDWR | make,
                              "compact-open");
    if (status == RECTO_ENOENT) {
        status = base_error(RECTO_EIO, "%s/%s is not seen here",
                            ckpt_state.path, name);
    }
    return status == 0 && net_rank() == 0
               ? ckpt_io_allocate(&job->file, job->epoch.length,
                                  !m->merge->sparse, "compact-allocate")
               : status;
}

/* So that the last fsync, which nobody can cut short, is a short one. */
static int copied(void *argument, uint64_t bytes)
{
    struct merger *m = argument;
    int status = stopped(m);
    m->unsynced += bytes;
    if (status == 0 && m->unsynced >= SYNC_BYTES) {
        m->unsynced = 0;
        status = ckpt_io_sync(&m->job.file, "compact-sync");
    }
    return status;
}

static void piece_of(const struct merger *m, uint64_t i,
                     struct ckpt_range *range, struct ckpt_piece *row)
{
    const struct ckpt_part *part = &m->job.parts[i];
    uint64_t rank = (uint64_t)net_rank();
    if (ckpt_part_shared(part)) {
        ckpt_piece_shared(part->object, rank, m->job.epoch.ranks, range, row);
    } else {
        ckpt_piece_private(part->object, rank, part->bytes, part->bytes_before,
                           part->pages_before, range, row);
    }
}

static int pieces_copy(struct merger *m)
{
    const struct ckpt_copy copy = {
        &m->load.chain, &m->job.file, m->buffer, copied, m, NULL};
    int status = 0;
    for (uint64_t i = 0; i < m->job.nrows && status == 0; i++) {
        struct ckpt_range range;
        piece_of(m, i, &range, &m->job.rows[i]);
        status = ckpt_piece_copy(&copy, &range, &m->job.rows[i]);
    }
    return status == 0 ? ckpt_io_sync(&m->job.file, "compact-sync") : status;
}

/* Rank 0: the rest of the file. */
static int file_finish(struct merger *m)
{
    struct ckpt_piece *pieces = NULL;
    int status = ckpt_job_rows_gather(&m->job, &pieces);
    if (status == 0) {
        status = net_verdict(
            net_rank() == 0 ? ckpt_job_file_finish(&m->job, pieces) : 0);
    }
    free(pieces);
    return status;
}

/* ---- reading back ---------------------------------------------------------------------------- */

/* A piece of mine, as a restart would read it. */
static int piece_verify(struct merger *m, struct ckpt_chain *back, uint64_t i)
{
    struct ckpt_range range;
    struct ckpt_piece row;
    const struct ckpt_piece *written = &m->job.rows[i];
    uint64_t *sums = malloc((size_t)written->sums * sizeof *sums + 1);
    piece_of(m, i, &range, &row);
    int status = sums != NULL ? ckpt_file_sums_read(&back->files[0],
                                                    range.object, written, sums)
                              : base_error(RECTO_ENOMEM, "page sums");
    uint64_t first = ckpt_part_shared(&m->job.parts[i]) ? row.first_sum : 0;
    uint64_t n = 0;
    for (uint64_t at = 0; at < row.sums && status == 0; at += n) {
        n = row.sums - at < CKPT_COPY_PAGES ? row.sums - at : CKPT_COPY_PAGES;
        status = ckpt_chain_read(back, &range, first + at, n, m->buffer);
        status = status == 0 ? stopped(m) : status;
    }
    free(sums);
    return status;
}

/* All that this rank wrote. */
static int read_back(struct merger *m)
{
    struct ckpt_file file = {.io = m->job.file,
                             .epoch = &m->job.epoch,
                             .pieces = m->job.rows,
                             .npieces = m->job.nrows};
    struct ckpt_chain back = {
        .epoch = &m->job.epoch, .files = &file, .nfiles = 1};
    ckpt_io_forget(&m->job.file);
    int status = net_rank() == 0 ? ckpt_job_meta_verify(&m->job) : 0;
    for (uint64_t i = 0; i < m->job.nrows && status == 0; i++) {
        status = piece_verify(m, &back, i);
    }
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------- */

static int file_make(struct merger *m)
{
    int status = net_verdict(net_rank() == 0 ? file_open(m) : 0);
    if (status == 0) {
        status = net_verdict(net_rank() == 0 ? 0 : file_open(m));
    }
    if (status == 0) {
        status = net_verdict(pieces_copy(m));
    }
    if (status == 0) {
        status = file_finish(m);
    }
    return status == 0 ? net_verdict(read_back(m)) : status;
}

static int commit(struct merger *m)
{
    struct ckpt_store *store = &ckpt_state.store;
    return net_verdict(net_rank() == 0
                           ? ckpt_store_replace(store,
                                                store->manifest->nepochs - 1,
                                                &m->job.epoch)
                           : 0);
}

static int chain_merge(struct merger *m)
{
    int status = chain_share(m);
    if (status != 0 || m->chain == NULL) {
        return status;
    }
    status = chain_open(m);
    if (status == 0) {
        status = file_make(m);
        if (status != 0 && net_rank() == 0) {
            ckpt_store_abandon(&ckpt_state.store, &m->job.epoch);
        }
    }
    return status == 0 ? commit(m) : status;
}

/* Rank 0. The next try comes when the chain has grown by a full epoch more. */
static void failed(const struct merger *m)
{
    const struct ckpt_manifest *chain = m->chain;
    merging.retry_at = m->merge->volume;
    if (chain != NULL) {
        merging.retry_at += ckpt_chain_measure(chain, chain->nepochs - 1);
    }
    warn(m->merge);
}

void ckpt_merge_run(struct ckpt_merge *merge, const atomic_bool *stop)
{
    struct merger m = {.merge = merge, .stop = stop, .job = CKPT_JOB_NONE};
    uint64_t start = base_now();
    if (!merge->due) {
        return;
    }
    int status = chain_merge(&m);
    if (status == 0 && m.chain != NULL) {
        (void)atomic_fetch_add(&merging.ns, base_now() - start);
        (void)atomic_fetch_add(&merging.count, 1);
        base_trace_add(&(struct base_event){
            .kind = TRACE_COMPACT, .flags = TRACE_FULL, .e = {.start = start}});
    } else if (status != 0 && status != RECTO_EBUSY && net_rank() == 0) {
        failed(&m);
    }
    free(m.buffer);
    ckpt_chain_close(&m.load.chain);
    ckpt_manifest_free(m.chain);
    ckpt_job_free(&m.job);
}
