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
#include "state.h"

/* The part's pages of a run; false: none. */
static bool run_cut(const struct ckpt_part *part, uint64_t first,
                    uint64_t *count)
{
    uint64_t most = first < part->pages ? part->pages - first : 0;
    *count = *count < most ? *count : most;
    return most > 0;
}

/* The first run of pages with marks at or after `from`, from there on. */
static bool dirty_run(const struct ckpt_part *part, uint64_t from,
                      uint64_t *first, uint64_t *count)
{
    const struct base_run *run = base_runs_from(&part->dirty, from);
    if (run == NULL) {
        return false;
    }
    *first = run->first > from ? run->first : from;
    *count = run->end - *first;
    return true;
}

bool ckpt_home_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count)
{
    return from < part->pages &&
           space_home_run(part->segment, net_rank(), from, first, count) &&
           run_cut(part, *first, count);
}

bool ckpt_part_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count)
{
    if (!part->all) {
        return dirty_run(part, from, first, count) &&
               run_cut(part, *first, count);
    }
    if (part->segment != NULL) {
        return ckpt_home_run(part, from, first, count);
    }
    *first = from;
    *count = part->pages - from;
    return from < part->pages;
}

bool ckpt_part_hole(struct ckpt_part *part, uint64_t page, uint64_t end,
                    uint64_t *stop)
{
    struct space_segment *s = part->segment;
    if (s == NULL) {
        *stop = end;
        return false;
    }
    if (page < part->hole || page >= part->data_end) {
        part->hole = page;
        if (!space_data_run(s, page, &part->data, &part->data_end)) {
            part->data = part->data_end = s->pages;
        }
    }
    bool hole = page < part->data;
    uint64_t alike = hole ? part->data : part->data_end;
    *stop = alike < end ? alike : end;
    return hole;
}

const char *ckpt_part_page(const struct ckpt_part *part, uint64_t page,
                           size_t *bytes)
{
    *bytes = ckpt_page_bytes(part->bytes, page);
    return part->segment != NULL
               ? space_verso(part->segment, page)
               : (const char *)part->region->p + page * CKPT_PAGE;
}

static int dirty_add(void *runs, uint64_t first, uint64_t count)
{
    return base_runs_add(runs, first, first + count)
               ? 0
               : base_error(RECTO_ENOMEM, "list of pages written");
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
    status = tracked ? space_dirty_collect(s, dirty_add, &part->dirty)
                     : space_dirty_start(s);
    return net_verdict(status);
}

static int collect_private(const struct ckpt_job *job, struct ckpt_part *part)
{
    const struct ckpt_region *r = part->region;
    part->all = job->epoch.full || part->object->uid >= job->first_new;
    if (part->pages == 0) {
        part->all = true;
        return 0;
    }
    part->hashes = calloc(part->pages, sizeof *part->hashes);
    if (part->hashes == NULL) {
        return base_error(RECTO_ENOMEM, "hashes of \"%s\"", r->name);
    }
    if (part->all) {
        return 0;
    }
    RECTO_ASSERT(r->uid == part->object->uid && r->saved_bytes == part->bytes);
    memcpy(part->hashes, r->hashes, part->pages * sizeof *part->hashes);
    int status = 0;
    for (uint64_t page = 0; page < part->pages && status == 0; page++) {
        size_t bytes = 0;
        const char *data = ckpt_part_page(part, page, &bytes);
        XXH128_hash_t hash = ckpt_region_hash(data, bytes);
        if (!XXH128_isEqual(hash, r->hashes[page])) {
            status = dirty_add(&part->dirty, page, 1);
        }
    }
    return status;
}

static uint64_t count_mine(const struct ckpt_part *part)
{
    uint64_t first = 0;
    uint64_t count = 0;
    uint64_t mine = 0;
    while (ckpt_part_run(part, first + count, &first, &count)) {
        mine += count;
    }
    return mine;
}

int ckpt_collect(struct ckpt_job *job)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment != NULL) {
            status = collect_shared(job, &job->parts[i]);
        }
    }
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment == NULL) {
            status = collect_private(job, &job->parts[i]);
        }
    }
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        job->parts[i].mine = count_mine(&job->parts[i]);
        job->my_entries += job->parts[i].mine;
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
