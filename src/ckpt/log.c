/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A differential epoch: a log of the pages that changed and its index. Each
 * rank's pages form one run, the runs lie in rank order.
 *
 * Invariants
 * 1. A run is sorted by (uid, rank, page): objects are in ascending order of
 *    uid and a rank writes only its own private pages.
 * 2. Pages in the log are whole; past the end of an object they hold zeros.
 * 3. In a packed log a page that nobody has touched takes no bytes: its row says so.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

/* Slot of a page in the file's log. */
static uint64_t slot_of(const struct ckpt_job *job,
                        const struct ckpt_part *part, uint64_t index)
{
    return job->log.before + part->entries_before + index;
}

static uint64_t place(const struct ckpt_job *job, const struct ckpt_part *part,
                      uint64_t page, uint64_t index)
{
    (void)page;
    return job->log.pages_at + slot_of(job, part, index) * CKPT_PAGE;
}

static void note(struct ckpt_job *job, struct ckpt_part *part, uint64_t page,
                 uint64_t index, const char *copy, size_t bytes)
{
    uint64_t rank =
        ckpt_part_shared(part) ? CKPT_NO_RANK : (uint64_t)net_rank();
    job->entries[part->entries_before + index] = (struct ckpt_entry){
        part->object->uid, rank, page, ckpt_hash(copy, CKPT_PAGE)};
    if (part->hashes != NULL) {
        part->hashes[page - part->first] = ckpt_region_hash(copy, bytes);
    }
}

/* A page that is new and that nobody has touched is written like others. */
static void note_empty(struct ckpt_job *job, struct ckpt_part *part,
                       uint64_t page, uint64_t index, uint64_t count)
{
    static const char zeros[CKPT_PAGE];
    static const struct ckpt_block nothing = {.element = 1, .pages = 1};
    for (uint64_t i = 0; i < count; i++) {
        note(job, part, page + i, index + i, zeros,
             ckpt_page_bytes(part->bytes, page + i));
        if (job->blocks != NULL) {
            job->blocks[part->entries_before + index + i] = nothing;
        }
    }
    job->holes += count * CKPT_PAGE;
}

static int pages_write(struct ckpt_job *job)
{
    static const struct ckpt_format format = {
        .place = place, .whole = true, .note = note, .empty = note_empty};
    uint64_t before = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        job->parts[i].entries_before = before;
        before += job->parts[i].written;
    }
    RECTO_ASSERT(before == job->my_entries);
    int status = ckpt_pages_write(job, &format);
    if (job->epoch.packed && status == 0) { /* what was saved was never there */
        job->holes = job->my_entries * CKPT_PAGE - job->written;
    }
    job->written += job->holes;
    return status;
}

/* My run of the log, then how new private objects are divided. */
static int rows_make(struct ckpt_job *job, uint64_t hash)
{
    uint64_t rank = (uint64_t)net_rank();
    job->rows = calloc(job->epoch.nobjects + 1, sizeof *job->rows);
    if (job->rows == NULL) {
        return base_error(RECTO_ENOMEM, "table of pieces");
    }
    job->rows[0] =
        (struct ckpt_piece){.rank = rank,
                            .offset = job->entries_before * CKPT_PAGE,
                            .bytes = job->my_entries * CKPT_PAGE,
                            .first_sum = job->entries_before,
                            .sums = job->my_entries,
                            .hash = hash};
    job->nrows = 1;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        const struct ckpt_part *part = &job->parts[i];
        if (!ckpt_part_shared(part) && part->object->uid >= job->first_new) {
            job->rows[job->nrows++] =
                (struct ckpt_piece){.uid = part->object->uid,
                                    .rank = rank,
                                    .offset = part->bytes_before,
                                    .bytes = part->bytes};
        }
    }
    return 0;
}

static int table_write(struct ckpt_job *job, const void *rows, size_t size,
                       uint64_t at)
{
    uint64_t bytes = job->my_entries * size;
    job->written += bytes;
    return bytes == 0
               ? 0
               : ckpt_io_write(&job->file, rows, bytes,
                               at + job->log.before * size, "index-write");
}

int ckpt_log_write(struct ckpt_job *job)
{
    const struct ckpt_epoch *e = &job->epoch;
    job->entries = malloc(job->my_entries * sizeof *job->entries + 1);
    if (e->packed) {
        job->blocks = calloc(job->my_entries + 1, sizeof *job->blocks);
    }
    if (job->entries == NULL || (e->packed && job->blocks == NULL)) {
        return base_error(RECTO_ENOMEM, "index of the page log");
    }
    int status = pages_write(job);
    if (status == 0) {
        status = rows_make(
            job, ckpt_run_hash(job->entries, job->blocks, job->my_entries));
    }
    if (status == 0) {
        status = table_write(job, job->entries, sizeof *job->entries,
                             job->log.index_at);
    }
    if (status == 0 && e->packed) {
        status =
            table_write(job, job->blocks, sizeof *job->blocks, e->blocks_at);
    }
    return status == 0 ? ckpt_io_sync(&job->file, "data-sync") : status;
}
