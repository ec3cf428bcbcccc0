/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of the objects each rank writes into an epoch: of a segment those
 * it homes, of private memory its own; in a differential epoch those that
 * changed since the last epoch that succeeded.
 *
 * Invariants
 * 1. The marks of a segment are taken once per attempt and given back when the
 *    attempt fails, so that a page is forgotten only when it is on disk.
 * 2. A segment that is not tracked yet, or whose uid is new, is written whole.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "flight.h"
#include "space/snapshot.h"
#include "state.h"

/* Of a run of pages that I home: what holds data now. */
static int data_find(struct ckpt_part *part, uint64_t first, uint64_t count,
                     struct base_runs *data)
{
    int status = 0;
    uint64_t stop = 0;
    for (uint64_t page = first; page < first + count && status == 0;
         page = stop) {
        if (!ckpt_part_hole(part, page, first + count, &stop)) {
            status = ckpt_runs_add(data, page, stop - page);
        } else {
            part->holes += (stop - page - 1) * CKPT_PAGE +
                           ckpt_page_bytes(part->bytes, stop - 1);
        }
    }
    return status;
}

/* All pages that I home: a full epoch needs those with data only, the log has each. */
static int homes_choose(struct ckpt_part *part, bool full)
{
    uint64_t first = 0;
    uint64_t count = 0;
    int status = 0;
    while (status == 0 && ckpt_home_run(part, first + count, &first, &count)) {
        status = full ? 0 : ckpt_part_add(part, first, count);
        if (status == 0) {
            status =
                data_find(part, first, count, full ? &part->mine : &part->data);
        }
    }
    return status;
}

/* The pages with marks. */
static int marks_choose(struct ckpt_part *part)
{
    int status = 0;
    for (uint64_t i = 0; i < part->dirty.count && status == 0; i++) {
        const struct base_run *run = &part->dirty.items[i];
        status = ckpt_part_add(part, run->first, run->end - run->first);
    }
    return status;
}

static void snapshot_add(const struct ckpt_part *part, bool full)
{
    const struct base_runs *pages =
        part->all && !full ? &part->data : &part->mine;
    for (uint64_t i = 0; i < pages->count; i++) {
        const struct base_run *run = &pages->items[i];
        space_snapshot_add(part->segment, run->first, run->end - run->first);
    }
}

/* Brings the master copies home and takes the marks. Collective. */
static int collect_shared(struct ckpt_job *job, struct ckpt_part *part)
{
    struct space_segment *s = part->segment;
    int status = net_verdict(coherence_recall(s, false));
    if (status != 0) {
        return status;
    }
    bool tracked = space_dirty_tracking(s);
    part->all =
        job->epoch.full || !tracked || part->object->uid >= job->first_new;
    status = tracked ? space_dirty_collect(s, ckpt_runs_add, &part->dirty)
                     : space_dirty_start(s);
    if (status == 0) {
        status = part->all ? homes_choose(part, job->epoch.full)
                           : marks_choose(part);
    }
    status = net_verdict(status == 0 ? ckpt_part_count(part) : status);
    if (status == 0 && job->concurrent) {
        snapshot_add(part, job->epoch.full);
    }
    return status;
}

/* The pages that I write. */
static int region_copy(struct ckpt_part *part)
{
    part->copy = malloc(part->written * CKPT_PAGE + 1);
    if (part->copy == NULL) {
        return base_error(RECTO_ENOMEM, "copy of \"%s\"", part->object->name);
    }
    for (uint64_t i = 0; i < part->mine.count; i++) {
        const struct base_run *run = &part->mine.items[i];
        uint64_t start = run->first * CKPT_PAGE;
        uint64_t end = run->end * CKPT_PAGE;
        memcpy(part->copy + part->before[i] * CKPT_PAGE,
               (const char *)part->region->p + start,
               (end < part->bytes ? end : part->bytes) - start);
    }
    return 0;
}

/* The pages of private memory or of a block that I write: all, or those that changed. */
static int region_choose(const struct ckpt_job *job, struct ckpt_part *part)
{
    struct ckpt_region *r = part->region;
    bool block = ckpt_part_shared(part); /* in pieces of other ranks' memory */
    part->all = job->epoch.full || part->object->uid >= job->first_new;
    part->hashes = calloc(part->count, sizeof *part->hashes);
    if (part->hashes == NULL) {
        return base_error(RECTO_ENOMEM, "hashes of \"%s\"", r->name);
    }
    if (!block) {
        ckpt_watch_look(&r->watch, r->p, part->bytes);
    }
    if (part->all) {
        return ckpt_part_add(part, part->first, part->count);
    }
    RECTO_ASSERT(r->uid == part->object->uid && r->saved_bytes == part->bytes);
    memcpy(part->hashes, r->hashes, part->count * sizeof *part->hashes);
    int status = 0;
    for (uint64_t i = 0; i < part->count && status == 0; i++) {
        size_t bytes = 0;
        if (!block && !ckpt_watch_maybe(&r->watch, i)) {
            continue;
        }
        const char *data = ckpt_part_page(part, part->first + i, &bytes);
        XXH128_hash_t hash = ckpt_region_hash(data, bytes);
        if (!XXH128_isEqual(hash, r->hashes[i])) {
            status = ckpt_part_add(part, part->first + i, 1);
        }
    }
    return status;
}

static int collect_private(const struct ckpt_job *job, struct ckpt_part *part)
{
    int status = part->pages > 0 ? region_choose(job, part) : 0;
    return status == 0 ? ckpt_part_count(part) : status;
}

/* Copies of private memory, since the program goes on writing to its own; as much as
 * the buffer is large, else none: then the program waits until it is written. */
static int private_copy(struct ckpt_job *job)
{
    uint64_t pages = 0;
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        pages += ckpt_part_shared(&job->parts[i]) ? 0 : job->parts[i].written;
    }
    job->waits = pages * CKPT_PAGE > ckpt_flight_buffer();
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0 && !job->waits;
         i++) {
        if (!ckpt_part_shared(&job->parts[i])) {
            status = region_copy(&job->parts[i]);
        }
    }
    return status;
}

/* Writes by this rank's threads pass the snapshot from here on. */
static int segments_shut(const struct ckpt_job *job)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment != NULL) {
            status = space_snapshot_shut(job->parts[i].segment);
        }
    }
    return status;
}

/* Brings my piece of a distributed array together, which is its copy too. Collective. */
static int collect_block(const struct ckpt_job *job, struct ckpt_part *part)
{
    int status = ckpt_tile_gather(part);
    if (status == 0 && part->count > 0) {
        status = region_choose(job, part);
    }
    return net_verdict(status == 0 ? ckpt_part_count(part) : status);
}

int ckpt_collect(struct ckpt_job *job)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment != NULL) {
            status = collect_shared(job, &job->parts[i]);
        } else if (ckpt_part_shared(&job->parts[i])) {
            status = collect_block(job, &job->parts[i]);
        }
    }
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        struct ckpt_part *part = &job->parts[i];
        if (!ckpt_part_shared(part)) {
            status = collect_private(job, part);
        }
    }
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        job->my_entries += job->parts[i].written;
    }
    status = status == 0 && job->concurrent ? private_copy(job) : status;
    if (job->concurrent) {
        space_snapshot_begin();
        status = status == 0 ? segments_shut(job) : status;
    }
    return net_verdict(status);
}

void ckpt_collect_undo(struct ckpt_job *job)
{
    for (uint64_t i = 0; job->parts != NULL && i < job->epoch.nobjects; i++) {
        const struct ckpt_part *part = &job->parts[i];
        for (uint64_t r = 0; part->segment != NULL && r < part->dirty.count;
             r++) {
            const struct base_run *run = &part->dirty.items[r];
            space_dirty_restore(part->segment, run->first,
                                run->end - run->first);
        }
    }
}
