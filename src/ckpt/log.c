/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A differential epoch: a log of the pages that changed and its index. Each
 * rank's pages form one run, the runs lie in rank order.
 *
 * Invariants
 * 1. A run is sorted by (uid, rank, page): objects are in ascending order of
 *    uid and a rank writes only its own private pages.
 * 2. Pages in the log are whole; past the end of an object they hold zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

static void part_log(const struct ckpt_job *job, struct ckpt_part *part,
                     struct ckpt_sink *sink, struct ckpt_entry *entries,
                     uint64_t *done)
{
    uint64_t first = 0;
    uint64_t count = 0;
    uint64_t rank = part->segment != NULL ? CKPT_NO_RANK : (uint64_t)net_rank();
    while (ckpt_part_run(part, first + count, &first, &count)) {
        for (uint64_t page = first; page < first + count; page++) {
            size_t bytes = 0;
            const char *data = ckpt_part_page(part, page, &bytes);
            uint64_t slot = job->entries_before + *done;
            data = ckpt_sink_page(sink, job->epoch.pages_at + slot * CKPT_PAGE,
                                  data, bytes, CKPT_PAGE);
            entries[(*done)++] = (struct ckpt_entry){
                part->object->uid, rank, page, ckpt_hash(data, CKPT_PAGE)};
            if (part->hashes != NULL) {
                part->hashes[page] = ckpt_region_hash(data, bytes);
            }
        }
    }
}

static int pages_write(struct ckpt_job *job, struct ckpt_entry *entries)
{
    struct ckpt_sink sink;
    uint64_t done = 0;
    int status = ckpt_sink_open(&sink, &job->file, "data-write");
    if (status != 0) {
        return status;
    }
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        part_log(job, &job->parts[i], &sink, entries, &done);
    }
    RECTO_ASSERT(done == job->my_entries);
    status = ckpt_sink_close(&sink);
    job->written += sink.written;
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
        if (part->segment == NULL && part->object->uid >= job->first_new) {
            job->rows[job->nrows++] =
                (struct ckpt_piece){.uid = part->object->uid,
                                    .rank = rank,
                                    .offset = part->bytes_before,
                                    .bytes = part->bytes};
        }
    }
    return 0;
}

int ckpt_log_write(struct ckpt_job *job)
{
    uint64_t bytes = job->my_entries * sizeof(struct ckpt_entry);
    struct ckpt_entry *entries = malloc(bytes + 1);
    if (entries == NULL) {
        return base_error(RECTO_ENOMEM, "index of the page log");
    }
    int status = pages_write(job, entries);
    if (status == 0) {
        status = rows_make(job, ckpt_hash(entries, bytes));
    }
    if (status == 0 && bytes > 0) {
        uint64_t at = job->epoch.index_at +
                      job->entries_before * sizeof(struct ckpt_entry);
        status = ckpt_io_write(&job->file, entries, bytes, at, "index-write");
        job->written += bytes;
    }
    free(entries);
    return status == 0 ? ckpt_io_sync(&job->file, "data-sync") : status;
}
