/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A full epoch: every page of every object at its place in the object's
 * dataset, by the rank that homes it or whose memory it is; and the page sums
 * in page order, whatever the placement.
 *
 * Invariants
 * 1. Piece k of a segment, pages [k P / N, (k + 1) P / N), has its sums hashed
 *    and written by rank k; the sums come from the pages' homes.
 * 2. All ranks go through the objects in the same order, also after a failure
 *    of their own: the exchange of sums is collective.
 * 3. Pages that nobody had touched are neither read nor written nor read back: the new
 *    file is zero there. Their sums are those of zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

enum {
    VERIFY_PAGES = 256, /* read back at a time */
    VERIFY_BYTES = VERIFY_PAGES * CKPT_PAGE
};

/* ---- data ------------------------------------------------------------------------- */

static uint64_t place(const struct ckpt_job *job, const struct ckpt_part *part,
                      uint64_t page, uint64_t index)
{
    (void)job;
    (void)index;
    return part->object->data + part->bytes_before + page * CKPT_PAGE;
}

static void note(struct ckpt_job *job, struct ckpt_part *part, uint64_t page,
                 uint64_t index, const char *copy, size_t bytes)
{
    (void)job;
    part->sums[index] = ckpt_page_sum(copy, bytes);
    if (part->hashes != NULL) {
        part->hashes[page - part->first] = ckpt_region_hash(copy, bytes);
    }
}

static int sums_make(struct ckpt_job *job)
{
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        struct ckpt_part *part = &job->parts[i];
        job->holes += part->holes;
        part->sums = calloc(part->written + 1, sizeof *part->sums);
        if (part->sums == NULL) {
            return base_error(RECTO_ENOMEM, "page sums of \"%s\"",
                              part->object->name);
        }
    }
    return 0;
}

static int data_write(struct ckpt_job *job)
{
    static const struct ckpt_format format = {.place = place, .note = note};
    int status = sums_make(job);
    status = status == 0 ? ckpt_pages_write(job, &format) : status;
    job->written += job->holes;
    return status;
}

/* ---- sums of shared objects, from homes to pieces ----------------------------------- */

struct page_sum {
    uint64_t page;
    uint64_t sum;
};

/* Who takes sums: my piece of an object. */
struct piece {
    uint64_t *sums;
    uint64_t first; /* page */
    uint64_t end;
};

static int sums_take(void *mine, const void *data, size_t bytes)
{
    const struct piece *piece = mine;
    const struct page_sum *sums = data;
    for (size_t i = 0; i < bytes / sizeof *sums; i++) {
        RECTO_ASSERT(sums[i].page >= piece->first && sums[i].page < piece->end);
        piece->sums[sums[i].page - piece->first] = sums[i].sum;
    }
    return 0;
}

/* My pages by the rank whose piece holds them; they are in page order, as the
 * pieces are. */
static int sums_pack(const struct ckpt_part *part, struct page_sum *sums,
                     struct net_parcels *parcels)
{
    uint64_t ranks = (uint64_t)net_size();
    uint64_t target = 0;
    uint64_t n = 0;
    int status = 0;
    for (uint64_t i = 0; i < part->mine.count; i++) {
        const struct base_run *run = &part->mine.items[i];
        for (uint64_t page = run->first; page < run->end && status == 0;
             page++) {
            while (page >= ckpt_piece_first(part->pages, target + 1, ranks)) {
                target++;
            }
            sums[n] = (struct page_sum){page, part->sums[n]};
            status =
                net_parcels_add(parcels, (int)target, &sums[n], sizeof *sums);
            n++;
        }
    }
    return status;
}

/* The sums of a piece, of zeros. They are a table, not of malloc: the thread that
 * writes a checkpoint would keep the memory. */
static int piece_make(struct ckpt_part *part, struct piece *piece)
{
    uint64_t pages = piece->end - piece->first;
    uint64_t zero = ckpt_zero_sum();
    void *table = NULL;
    int status =
        recto_vm_table_create((pages + 1) * sizeof *piece->sums, &table);
    if (status != 0) {
        return status;
    }
    part->piece_sums = piece->sums = table;
    part->piece_bytes = (pages + 1) * sizeof *piece->sums;
    for (uint64_t i = 0; i < pages; i++) {
        piece->sums[i] = zero;
    }
    return 0;
}

/* Pieces are of pages, homes of any placement: a home knows whom its pages' sums are
 * for, and nobody needs to know who is whose home. */
static int sums_exchange(struct ckpt_part *part)
{
    uint64_t rank = (uint64_t)net_rank();
    uint64_t ranks = (uint64_t)net_size();
    struct piece piece = {.first = ckpt_piece_first(part->pages, rank, ranks),
                          .end =
                              ckpt_piece_first(part->pages, rank + 1, ranks)};
    struct net_parcels parcels = {0};
    struct page_sum *sums = calloc(part->written + 1, sizeof *sums);
    int status = sums != NULL ? piece_make(part, &piece)
                              : base_error(RECTO_ENOMEM, "page sums");
    status = status == 0 ? sums_pack(part, sums, &parcels) : status;
    status = net_verdict(status);
    if (status == 0) {
        status = net_exchange(parcels.items, parcels.count, sums_take, &piece);
    }
    free(parcels.items);
    free(sums);
    return status;
}

/* ---- sums on disk, rows -------------------------------------------------------------- */

/* The row of my piece of an object. */
static struct ckpt_piece row_of(const struct ckpt_part *part)
{
    struct ckpt_piece row = {.uid = part->object->uid};
    row.rank = (uint64_t)net_rank();
    if (!ckpt_part_shared(part)) {
        row.offset = part->bytes_before;
        row.bytes = part->bytes;
        row.first_sum = part->pages_before;
        row.sums = part->pages;
        row.hash = ckpt_hash(part->sums, row.sums * sizeof(uint64_t));
        return row;
    }
    uint64_t ranks = (uint64_t)net_size();
    uint64_t end = ckpt_piece_first(part->pages, row.rank + 1, ranks);
    row.first_sum = ckpt_piece_first(part->pages, row.rank, ranks);
    row.sums = end - row.first_sum;
    uint64_t start = row.first_sum * CKPT_PAGE;
    uint64_t stop = end * CKPT_PAGE;
    row.offset = start < part->bytes ? start : part->bytes;
    row.bytes = (stop < part->bytes ? stop : part->bytes) - row.offset;
    row.hash = ckpt_hash(part->piece_sums, row.sums * sizeof(uint64_t));
    return row;
}

static const uint64_t *sums_of(const struct ckpt_part *part)
{
    return ckpt_part_shared(part) ? part->piece_sums : part->sums;
}

static int sums_write(struct ckpt_job *job)
{
    int status = 0;
    job->rows = calloc(job->epoch.nobjects + 1, sizeof *job->rows);
    if (job->rows == NULL) {
        return base_error(RECTO_ENOMEM, "table of pieces");
    }
    job->nrows = job->epoch.nobjects;
    for (uint64_t i = 0; i < job->nrows && status == 0; i++) {
        const struct ckpt_part *part = &job->parts[i];
        job->rows[i] = row_of(part);
        const struct ckpt_piece *row = &job->rows[i];
        uint64_t bytes = row->sums * sizeof(uint64_t);
        if (bytes > 0) {
            status = ckpt_io_write(&job->file, sums_of(part), bytes,
                                   part->object->sums +
                                       row->first_sum * sizeof(uint64_t),
                                   "sums-write");
            job->written += bytes;
        }
    }
    return status;
}

int ckpt_full_write(struct ckpt_job *job)
{
    int status = net_verdict(data_write(job));
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (ckpt_part_shared(&job->parts[i])) {
            status = sums_exchange(&job->parts[i]);
        }
    }
    if (status == 0) {
        status = sums_write(job);
    }
    return status == 0 ? ckpt_io_sync(&job->file, "data-sync") : status;
}

/* ---- reading back ---------------------------------------------------------------------- */

static int mismatch(const struct ckpt_job *job, const struct ckpt_part *part,
                    const char *what, uint64_t page)
{
    return base_error(
        RECTO_EIO,
        "epoch %llu: %s %llu of \"%s\" came back from the disk "
        "different from what was written; check the disk, or choose another "
        "folder",
        (unsigned long long)job->epoch.number, what, (unsigned long long)page,
        part->object->name);
}

/* Pages [first, first + count) against sums. */
static int run_verify(const struct ckpt_job *job, const struct ckpt_part *part,
                      uint64_t first, uint64_t count, const uint64_t *sums,
                      char *buffer)
{
    uint64_t at = part->object->data + part->bytes_before;
    for (uint64_t done = 0; done < count;) {
        uint64_t n = count - done < VERIFY_PAGES ? count - done : VERIFY_PAGES;
        uint64_t page = first + done;
        uint64_t last = page + n - 1;
        size_t bytes =
            (size_t)(n - 1) * CKPT_PAGE + ckpt_page_bytes(part->bytes, last);
        int status =
            ckpt_io_read(&job->file, buffer, bytes, at + page * CKPT_PAGE);
        if (status != 0) {
            return status;
        }
        for (uint64_t i = 0; i < n; i++) {
            size_t size = ckpt_page_bytes(part->bytes, page + i);
            if (ckpt_page_sum(buffer + i * CKPT_PAGE, size) != sums[done + i]) {
                return mismatch(job, part, "page", page + i);
            }
        }
        done += n;
    }
    return 0;
}

/* The sums of my piece, as many at a time as there is room for. */
static int sums_verify(const struct ckpt_job *job, const struct ckpt_part *part,
                       const struct ckpt_piece *row, char *buffer)
{
    uint64_t at = part->object->sums + row->first_sum * sizeof(uint64_t);
    uint64_t left = row->sums * sizeof(uint64_t);
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) {
        return base_error(RECTO_ENOMEM, "page sums");
    }
    (void)XXH3_64bits_reset(state);
    int status = 0;
    while (left > 0 && status == 0) {
        size_t n = left < VERIFY_BYTES ? (size_t)left : (size_t)VERIFY_BYTES;
        status = ckpt_io_read(&job->file, buffer, n, at);
        (void)XXH3_64bits_update(state, buffer, n);
        at += n;
        left -= n;
    }
    if (status == 0 && XXH3_64bits_digest(state) != row->hash) {
        status = mismatch(job, part, "checksums of piece", row->rank);
    }
    (void)XXH3_freeState(state);
    return status;
}

static int part_verify(const struct ckpt_job *job, struct ckpt_part *part,
                       const struct ckpt_piece *row, char *buffer)
{
    int status = 0;
    for (uint64_t i = 0; i < part->mine.count && status == 0; i++) {
        const struct base_run *run = &part->mine.items[i];
        status = run_verify(job, part, run->first, run->end - run->first,
                            part->sums + part->before[i], buffer);
    }
    return status == 0 ? sums_verify(job, part, row, buffer) : status;
}

int ckpt_full_verify(struct ckpt_job *job)
{
    char *buffer = malloc(VERIFY_BYTES);
    if (buffer == NULL) {
        return base_error(RECTO_ENOMEM, "buffer to read back");
    }
    int status = 0;
    ckpt_io_forget(&job->file);
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        status = part_verify(job, &job->parts[i], &job->rows[i], buffer);
    }
    free(buffer);
    return status;
}
