/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file of an epoch, from its layout to its metadata; the steps are those of checkpoint.c.
 *
 * Invariants
 * 1. All ranks write at places that follow from the layout and from what the others have
 *    told; a file counts if the sum of what they wrote is what it must hold.
 * 2. Rank 0 alone creates, finishes and removes it; the others open it by name.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/base.h"
#include "image.h"
#include "merge.h"
#include "reader.h"
#include "state.h"

/* Part of the file, nobody knows how much, will be holes. */
static bool sparse(const struct ckpt_job *job)
{
    if (job->epoch.packed) {
        return true;
    }
    for (uint64_t i = 0; job->epoch.full && i < job->epoch.nobjects; i++) {
        const struct space_segment *s = job->parts[i].segment;
        if (s != NULL && space_sparse(s)) {
            return true;
        }
    }
    return false;
}

/* Rank 0: the temporary, its blocks. */
static int file_create(struct ckpt_job *job)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_epoch *e = &job->epoch;
    ckpt_store_temporary(e, name);
    int status = ckpt_io_open(&job->file, &ckpt_state.dir, name,
                              O_RDWR | O_CREAT | O_EXCL, "epoch-open");
    return status == 0 ? ckpt_io_allocate(&job->file, e->length, !sparse(job),
                                          "epoch-allocate")
                       : status;
}

static int file_join(struct ckpt_job *job)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    ckpt_store_temporary(&job->epoch, name);
    int status =
        ckpt_io_open(&job->file, &ckpt_state.dir, name, O_RDWR, "epoch-open");
    return status == RECTO_ENOENT
               ? base_error(RECTO_EIO,
                            "%s/%s, which rank 0 made, is not seen here: the "
                            "folder must be shared by all ranks",
                            ckpt_state.path, name)
               : status;
}

/* Where the ranks' runs lie in the page log; the same total on every rank. */
static int log_place(struct ckpt_job *job)
{
    uint64_t before = job->my_entries;
    int64_t total = (int64_t)job->my_entries;
    int status = net_exscan_sum(&before, 1);
    if (status == 0) {
        status = net_allreduce_sum(&total, 1);
    }
    job->entries_before = before;
    job->epoch.entries = (uint64_t)total;
    job->epoch.packed = job->epoch.packed && total > 0;
    job->epoch.pieces = 1; /* rows that each rank hands in */
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        job->epoch.pieces += !ckpt_part_shared(&job->parts[i]) &&
                             job->parts[i].object->uid >= job->first_new;
    }
    return status;
}

/* Rank 0: offsets. HDF5 is called by the program's thread, since the program may use it,
 * too, and it knows no threads. */
static int image_make(struct ckpt_job *job)
{
    job->image = calloc(1, sizeof *job->image);
    return job->image != NULL
               ? ckpt_layout_create(&job->epoch, job->run, job->image)
               : base_error(RECTO_ENOMEM, "layout");
}

void ckpt_image_drop(struct ckpt_image *image)
{
    if (image != NULL) {
        ckpt_image_free(image);
        free(image);
    }
}

int ckpt_job_lay_out(struct ckpt_job *job)
{
    int status = job->epoch.full ? 0 : log_place(job);
    job->epoch.has_file =
        status == 0 &&
        (job->epoch.full || job->epoch.entries > 0 || !job->same_objects);
    if (status != 0 || !job->epoch.has_file) {
        job->epoch.pieces = 0;
        return status;
    }
    /* before rank 0's epoch has what the others' lack */
    ckpt_merge_decide(job);
    status = net_verdict(net_rank() == 0 ? image_make(job) : 0);
    if (status == 0) {
        ckpt_merge_prepare(job);
    }
    return status;
}

int ckpt_job_file_open(struct ckpt_job *job)
{
    if (!job->epoch.has_file) {
        return 0;
    }
    int status = net_verdict(net_rank() == 0 ? file_create(job) : 0);
    if (status == 0) {
        status = ckpt_epoch_share(&job->epoch, 0);
    }
    return status == 0 ? net_verdict(net_rank() == 0 ? 0 : file_join(job))
                       : status;
}

/* ---- writing ---------------------------------------------------------------------------- */

static uint64_t bulk_bytes(const struct ckpt_epoch *e)
{
    uint64_t bytes = e->entries * (CKPT_PAGE + sizeof(struct ckpt_entry));
    bytes += e->packed ? e->entries * sizeof(struct ckpt_block) : 0;
    for (uint64_t i = 0; e->full && i < e->nobjects; i++) {
        bytes += e->objects[i].bytes + e->objects[i].nsums * sizeof(uint64_t);
    }
    return bytes;
}

static int bytes_agree(const struct ckpt_job *job)
{
    int64_t total = (int64_t)job->written;
    int status = net_allreduce_sum(&total, 1);
    if (status == 0 && (uint64_t)total != bulk_bytes(&job->epoch)) {
        status = base_error(
            RECTO_EIO,
            "epoch %llu: the ranks wrote %lld bytes of %llu; report it",
            (unsigned long long)job->epoch.number, (long long)total,
            (unsigned long long)bulk_bytes(&job->epoch));
    }
    return net_verdict(status);
}

int ckpt_job_rows_gather(const struct ckpt_job *job, struct ckpt_piece **sorted)
{
    size_t ranks = (size_t)net_size();
    size_t n = (size_t)job->nrows;
    struct ckpt_piece *all = NULL;
    int status = 0;
    *sorted = NULL;
    if (net_rank() == 0) {
        all = calloc(ranks * n + 1, sizeof *all);
        *sorted = calloc(ranks * n + 1, sizeof *all);
        if (all == NULL || *sorted == NULL) {
            status = base_error(RECTO_ENOMEM, "table of pieces");
        }
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_gather(job->rows, n * sizeof *all, all, 0);
    }
    for (size_t r = 0; r < ranks && status == 0 && all != NULL; r++) {
        for (size_t i = 0; i < n; i++) {
            (*sorted)[i * ranks + r] = all[r * n + i];
        }
    }
    free(all);
    return status;
}

int ckpt_job_file_finish(struct ckpt_job *job, const struct ckpt_piece *pieces)
{
    int status =
        ckpt_layout_write(&job->epoch, job->image, pieces, NULL, &job->file);
    return status == 0 ? ckpt_io_sync(&job->file, "meta-sync") : status;
}

int ckpt_job_meta_verify(const struct ckpt_job *job)
{
    struct ckpt_file file = {.io = job->file, .epoch = &job->epoch};
    int status = ckpt_file_meta_check(&file);
    if (status == 0) {
        status = ckpt_file_pieces_read(&file);
    }
    free(file.pieces);
    return status;
}

int ckpt_job_file_verify(struct ckpt_job *job)
{
    int status = ckpt_full_verify(job);
    return status == 0 && net_rank() == 0 ? ckpt_job_meta_verify(job) : status;
}

int ckpt_job_file_write(struct ckpt_job *job)
{
    struct ckpt_piece *pieces = NULL;
    job->log.pages_at = job->epoch.pages_at;
    job->log.index_at = job->epoch.index_at;
    job->log.before = job->entries_before;
    int status = net_verdict(job->epoch.full ? ckpt_full_write(job)
                                             : ckpt_log_write(job));
    if (status == 0) {
        status = bytes_agree(job);
    }
    if (status == 0) {
        status = ckpt_job_rows_gather(job, &pieces);
    }
    if (status == 0) {
        status = net_verdict(net_rank() == 0 ? ckpt_job_file_finish(job, pieces)
                                             : 0);
    }
    free(pieces);
    return status;
}
