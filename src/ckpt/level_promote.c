/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Level 4: a local epoch becomes an epoch of the shared folder.
 *
 *   open     rank 0 makes the file as it was laid out; all open it
 *   carry    who has a share open copies its writers' pages and index entries to their
 *            places; fsync; verdict
 *   rows     to rank 0: the table of pieces
 *   finish   rank 0: metadata, fsync; commit
 *
 * Invariants
 * 1. The file is the one that the writers would have written: any number of ranks, on
 *    any nodes, may carry it.
 * 2. Every page is compared with its sum on the way, every index with its hash.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "level.h"

enum {
    CARRY_PAGES = 256
};

struct carry {
    struct ckpt_job *job;
    char *buffer;
};

static int pages_carry(const struct carry *c, const struct ckpt_share *s,
                       const struct ckpt_writer *w, uint64_t slot,
                       const struct ckpt_entry *entries)
{
    int status = 0;
    for (uint64_t at = 0; at < w->pages && status == 0; at += CARRY_PAGES) {
        uint64_t n = w->pages - at < CARRY_PAGES ? w->pages - at : CARRY_PAGES;
        status = ckpt_share_pages(s, w->first + at, n, entries + at, c->buffer);
        if (status == 0) {
            status =
                ckpt_io_write(&c->job->file, c->buffer, (size_t)n * CKPT_PAGE,
                              c->job->epoch.pages_at + (slot + at) * CKPT_PAGE,
                              "promote-write");
        }
    }
    return status;
}

static int writer_carry(const struct carry *c, const struct ckpt_share *s,
                        unsigned writer)
{
    const struct ckpt_writer *w = &s->writers[writer];
    const struct ckpt_epoch *e = &c->job->epoch;
    uint64_t slot = s->rows[writer * s->head.rows].first_sum;
    size_t bytes = (size_t)w->pages * sizeof(struct ckpt_entry);
    if (slot > e->entries || w->pages > e->entries - slot) {
        return base_error(RECTO_ECORRUPT, "%s/%s is not of its epoch",
                          s->io.dir->path, s->io.name);
    }
    struct ckpt_entry *entries = malloc(bytes + 1);
    if (entries == NULL) {
        return base_error(RECTO_ENOMEM, "index of %s", s->io.name);
    }
    int status = ckpt_share_entries(s, writer, entries);
    if (status == 0) {
        status = pages_carry(c, s, w, slot, entries);
    }
    if (status == 0 && bytes > 0) {
        status = ckpt_io_write(&c->job->file, entries, bytes,
                               e->index_at + slot * sizeof *entries,
                               "promote-index");
    }
    free(entries);
    return status;
}

static int shares_carry(struct ckpt_job *job,
                        const struct ckpt_share *const *shares, size_t count)
{
    struct carry c = {job, malloc((size_t)CARRY_PAGES * CKPT_PAGE)};
    int status =
        c.buffer != NULL ? 0 : base_error(RECTO_ENOMEM, "buffer of a share");
    for (size_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < shares[i]->head.writers && status == 0; k++) {
            status = writer_carry(&c, shares[i], k);
        }
    }
    free(c.buffer);
    return status == 0 && count > 0 ? ckpt_io_sync(&job->file, "promote-sync")
                                    : status;
}

/* ---- the table of pieces ------------------------------------------------------------- */

struct table {
    struct ckpt_piece *rows;
    uint64_t count;
    uint64_t room;
};

static int rows_take(void *argument, const void *data, size_t bytes)
{
    struct table *t = argument;
    uint64_t n = bytes / sizeof *t->rows;
    if (n > t->room - t->count) {
        return base_error(RECTO_ECORRUPT, "shares hold too many rows");
    }
    memcpy(t->rows + t->count, data, bytes);
    t->count += n;
    return 0;
}

static int row_order(const void *a, const void *b)
{
    const struct ckpt_piece *x = a;
    const struct ckpt_piece *y = b;
    if (x->uid != y->uid) {
        return x->uid < y->uid ? -1 : 1;
    }
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* Rank 0 gets all rows, sorted. Collective. */
static int table_gather(const struct ckpt_job *job,
                        const struct ckpt_share *const *shares, size_t count,
                        struct table *t)
{
    struct net_parcels parcels = {0};
    int status = 0;
    t->room = net_rank() == 0 ? job->epoch.pieces : 0;
    t->rows = malloc(t->room * sizeof *t->rows + 1);
    if (t->rows == NULL) {
        status = base_error(RECTO_ENOMEM, "table of pieces");
    }
    for (size_t i = 0; i < count && status == 0; i++) {
        const struct ckpt_share_head *h = &shares[i]->head;
        for (uint64_t k = 0; k < h->writers * h->rows && status == 0; k++) {
            status = net_parcels_add(&parcels, 0, &shares[i]->rows[k],
                                     sizeof *t->rows);
        }
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_exchange(parcels.items, parcels.count, rows_take, t);
    }
    if (status == 0 && t->count != t->room) {
        status = base_error(RECTO_ECORRUPT, "shares lack rows");
    }
    free(parcels.items);
    if (status == 0 && t->count > 0) {
        qsort(t->rows, t->count, sizeof *t->rows, row_order);
    }
    return net_verdict(status);
}

/* ---- the epoch ------------------------------------------------------------------------- */

static int file_make(struct ckpt_job *job,
                     const struct ckpt_share *const *shares, size_t count)
{
    struct table t = {0};
    int status = ckpt_job_file_open(job);
    if (status == 0) {
        status = net_verdict(shares_carry(job, shares, count));
    }
    if (status == 0) {
        status = table_gather(job, shares, count, &t);
    }
    if (status == 0) {
        status = net_verdict(net_rank() == 0 ? ckpt_job_file_finish(job, t.rows)
                                             : 0);
    }
    free(t.rows);
    ckpt_io_close(&job->file);
    return status;
}

int ckpt_level_promote(const struct ckpt_epoch *epoch, struct ckpt_image *image,
                       const struct ckpt_share *const *shares, size_t count)
{
    struct ckpt_job job = CKPT_JOB_NONE;
    job.image = image;
    int status = 0;
    if (net_rank() == 0) {
        status = ckpt_epoch_copy(&job.epoch, epoch);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = ckpt_epoch_share(&job.epoch, 0);
    }
    bool has_file = status == 0 && job.epoch.has_file;
    if (has_file) {
        status = file_make(&job, shares, count);
    }
    if (status != 0 && has_file && net_rank() == 0) {
        ckpt_store_abandon(&ckpt_state.store, &job.epoch);
    }
    if (status == 0) {
        status = net_verdict(
            net_rank() == 0 ? ckpt_store_commit(&ckpt_state.store, &job.epoch)
                            : 0);
    }
    ckpt_epoch_clear(&job.epoch);
    return status;
}
