/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads an epoch back: its chain's full epoch, and over it the newest version
 * of each page that the chain's page logs hold.
 *
 *   open      every rank opens the files; rank 0 checks metadata and tables of
 *             pieces, and sends each rank the rows of writers k, k + N, ... of N
 *             ranks: its own, and those of what it checks
 *   index     the runs of the logs' indexes are divided among the ranks in this way,
 *             checked, and each entry is sent to the rank that needs the page
 *   sums      the pieces' page sums are divided likewise and checked; of what comes late
 *             (lazy.c) not yet, but every rank gets the whole table of the full epoch
 *   shared    each rank reads the pages that it homes into the verso, or has its loader
 *             do so later
 *   blocks    each rank reads its piece of the array; from there to the blocks (tile.c)
 *   private   into a staging area; copied when all ranks are good
 *
 * Invariants
 * 1. A page is read once, from the newest place, and compared with its sum. One
 *    that the sum says is zero, where memory is a hole, is not even read: memory
 *    that was never touched before stays so.
 * 2. Nothing is written to memory before all metadata of all files is good on
 *    all ranks; private memory not before all pages are.
 * 3. No row of a table of pieces counts before rank 0 has checked the whole table
 *    of its file, and only rank 0 ever holds one: of one file at a time; but all do
 *    where the program redistributes private memory (moved.c).
 * 4. The number of ranks may differ from the writers', except for private
 *    memory that the program does not redistribute; pages are addressed by object, not by run.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "lazy.h"
#include "space/lazy.h"

/* ---- the chain's files ------------------------------------------------------------ */

static int files_open(struct load *l, const struct ckpt_manifest *m,
                      uint64_t index)
{
    int status = ckpt_chain_open(&l->chain, &ckpt_state.dir, m, index);
    for (size_t i = 0; i < l->chain.nfiles && status == 0 && net_rank() == 0;
         i++) {
        status = ckpt_file_meta_check(&l->chain.files[i]);
    }
    return status;
}

/* Which rank has to do with the rows of a writer. */
static uint64_t rank_of(uint64_t writer)
{
    return writer % (uint64_t)net_size();
}

/* Lays the rows of a table out by the rank that gets them, in `rows`. */
static int rows_divide(const struct ckpt_file *file, struct ckpt_piece *rows,
                       struct net_parcels *parcels)
{
    uint64_t writers = file->epoch->ranks;
    uint64_t ranks = (uint64_t)net_size();
    uint64_t n = 0;
    int status = 0;
    for (uint64_t to = 0; to < ranks; to++) {
        for (uint64_t at = 0; at < file->npieces; at += writers) {
            for (uint64_t k = to; k < writers && status == 0; k += ranks) {
                rows[n] = file->pieces[at + k];
                status = net_parcels_add(parcels, (int)rank_of(k), &rows[n],
                                         sizeof *rows);
                n++;
            }
        }
    }
    return status;
}

/* Rows come in the order in which they lie in the table. */
static int rows_take(void *to, const void *data, size_t bytes)
{
    struct ckpt_file *file = to;
    uint64_t more = bytes / sizeof *file->pieces;
    struct ckpt_piece *pieces =
        realloc(file->pieces, (file->npieces + more) * sizeof *pieces);
    if (pieces == NULL) {
        return base_error(RECTO_ENOMEM, "table of pieces");
    }
    memcpy(pieces + file->npieces, data, bytes);
    file->pieces = pieces;
    file->npieces += more;
    return 0;
}

/* Rank 0 reads the table of pieces and sends each rank its rows. Collective. */
static int rows_share(struct ckpt_file *file)
{
    struct net_parcels parcels = {0};
    struct ckpt_piece *rows = NULL;
    int status = 0;
    if (net_rank() == 0) {
        status = ckpt_file_pieces_read(file);
        if (status == 0) {
            rows = malloc(file->npieces * sizeof *rows + 1);
            status = rows != NULL ? rows_divide(file, rows, &parcels)
                                  : base_error(RECTO_ENOMEM, "table of pieces");
        }
        free(file->pieces);
        file->pieces = NULL;
        file->npieces = 0;
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(
            net_exchange(parcels.items, parcels.count, rows_take, file));
    }
    free(parcels.items);
    free(rows);
    return status;
}

/* Rank 0 reads the table and sends it to all. Collective. */
static int table_share(struct ckpt_file *file)
{
    int status = net_rank() == 0 ? ckpt_file_pieces_read(file) : 0;
    size_t bytes = (size_t)file->epoch->pieces * sizeof *file->pieces;
    if (net_rank() != 0) {
        file->npieces = file->epoch->pieces;
        file->pieces = malloc(bytes + 1);
        status = file->pieces != NULL
                     ? 0
                     : base_error(RECTO_ENOMEM, "table of pieces");
    }
    status = net_verdict(status);
    return status == 0 ? net_bcast(file->pieces, bytes, 0) : status;
}

static int pieces_share(struct load *l)
{
    int status = 0;
    for (size_t i = 0; i < l->chain.nfiles && status == 0; i++) {
        struct ckpt_file *file = &l->chain.files[i];
        bool whole = l->moves || (l->job->lazy && i == 0);
        status = whole ? table_share(file) : rows_share(file);
    }
    return status;
}

/* Which parts the program redistributes; the same on every rank (fit.c). */
static void moved_find(struct load *l)
{
    for (uint64_t i = 0; i < l->job->epoch.nobjects; i++) {
        struct ckpt_part *part = &l->job->parts[i];
        part->moved = ckpt_moved(part->object, &l->job->epoch);
        part->count = part->moved ? 0 : part->count;
        l->moves = l->moves || part->moved;
    }
    /* the program's functions may look at any memory */
    l->job->lazy = l->job->lazy && !l->moves;
}

/* ---- private sizes ------------------------------------------------------------------ */

static int sizes_check(const struct load *l)
{
    for (uint64_t i = 0; i < l->job->epoch.nobjects; i++) {
        const struct ckpt_part *part = &l->job->parts[i];
        const struct ckpt_object *o = part->object;
        uint64_t bytes = 0;
        if (o->kind == CKPT_SHARED || o->bytes == 0 || part->moved) {
            continue;
        }
        uint64_t size = o->element;
        int status =
            ckpt_chain_size(&l->chain, o, (uint64_t)net_rank(), &bytes);
        if (status != 0) {
            return status;
        }
        if (bytes != part->bytes) {
            return base_error(RECTO_ECHANGED,
                              "protected memory \"%s\" of rank %d has %llu %s "
                              "in epoch %llu, the program protects %llu",
                              o->name, net_rank(),
                              (unsigned long long)(bytes / size),
                              ckpt_object_type(&l->job->epoch, o),
                              (unsigned long long)l->job->epoch.number,
                              (unsigned long long)(part->bytes / size));
        }
    }
    return 0;
}

/* ---- page sums of the full epoch --------------------------------------------------------- */

/* Checks my share of the pieces: those of writers k, k + N, ... */
static int sums_check(const struct load *l)
{
    const struct ckpt_file *full = &l->chain.files[0];
    const struct ckpt_epoch *e = full->epoch;
    int status = 0;
    for (uint64_t i = 0; i < e->nobjects && status == 0; i++) {
        const struct ckpt_object *o = &e->objects[i];
        const struct ckpt_object *now =
            ckpt_epoch_object(&l->job->epoch, o->uid);
        if (now == NULL) {
            continue; /* the epoch has dropped it */
        }
        if (ckpt_lazy_part(l->job,
                           &l->job->parts[now - l->job->epoch.objects])) {
            continue; /* at their first use */
        }
        for (uint64_t k = (uint64_t)net_rank(); k < e->ranks && status == 0;
             k += (uint64_t)net_size()) {
            const struct ckpt_piece *piece = ckpt_file_piece(full, o->uid, k);
            uint64_t *sums = malloc(piece->sums * sizeof *sums + 1);
            status = sums != NULL ? ckpt_file_sums_read(full, o, piece, sums)
                                  : base_error(RECTO_ENOMEM, "page sums");
            free(sums);
        }
    }
    return status;
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* Is the page's memory one that nobody ever touched? */
static bool is_hole(void *argument, uint64_t page)
{
    struct ckpt_part *part = argument;
    uint64_t stop = 0;
    return ckpt_part_hole(part, page, part->pages, &stop);
}

/* Reads pages [first, first + count) of a part to `memory`; the last page's memory is
 * whole. */
static int pages_load(struct load *l, struct ckpt_part *part, uint64_t first,
                      uint64_t count, char *memory)
{
    bool shared = ckpt_part_shared(part);
    struct ckpt_range range = {
        .object = part->object,
        .rank = shared ? CKPT_NO_RANK : (uint64_t)net_rank(),
        .bytes = part->bytes,
        .is_zero = part->segment != NULL ? is_hole : NULL,
        .argument = part};
    return ckpt_chain_read(&l->chain, &range, first, count, memory);
}

static int shared_load(struct load *l, struct ckpt_part *part)
{
    uint64_t first = 0;
    uint64_t count = 0;
    int status = 0;
    while (status == 0 && ckpt_home_run(part, first + count, &first, &count)) {
        status = pages_load(l, part, first, count,
                            space_verso(part->segment, first));
    }
    return status;
}

static int shared_fill(struct load *l, struct ckpt_part *part)
{
    return ckpt_lazy_part(l->job, part) ? space_lazy_begin(part->segment)
                                        : shared_load(l, part);
}

/* Into a new staging area, *staging, with the hashes of its pages. */
static int private_load(struct load *l, struct ckpt_part *part, char **staging)
{
    if (part->count == 0) {
        return 0;
    }
    *staging = malloc((size_t)part->count * CKPT_PAGE);
    part->hashes = calloc(part->count, sizeof *part->hashes);
    if (*staging == NULL || part->hashes == NULL) {
        return base_error(RECTO_ENOMEM, "staging area of \"%s\"",
                          part->object->name);
    }
    int status = pages_load(l, part, part->first, part->count, *staging);
    for (uint64_t i = 0; i < part->count && status == 0; i++) {
        part->hashes[i] =
            ckpt_region_hash(*staging + i * CKPT_PAGE,
                             ckpt_page_bytes(part->bytes, part->first + i));
    }
    return status;
}

/* A rank may have no memory under the name, or none of it. */
static void private_fill(const struct ckpt_part *part, const char *data)
{
    size_t bytes = (size_t)(part->region->count * part->object->element);
    if (bytes > 0) {
        memcpy(part->region->p, data, bytes);
    }
}

/* From the pieces to the blocks. Collective, one verdict. */
static int blocks_load(const struct ckpt_job *job, char **staging)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        const struct ckpt_part *part = &job->parts[i];
        if (part->segment == NULL && ckpt_part_shared(part)) {
            status = ckpt_tile_scatter(part, &staging[i]);
        }
    }
    return status;
}

static int memory_load(struct load *l, bool *touched)
{
    struct ckpt_job *job = l->job;
    int status = 0;
    char **staging = calloc(job->epoch.nobjects + 1, sizeof *staging);
    if (staging == NULL) {
        status = base_error(RECTO_ENOMEM, "staging areas");
    }
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        struct ckpt_part *part = &job->parts[i];
        if (part->segment == NULL) {
            status = private_load(
                l, part, ckpt_part_shared(part) ? &part->staging : &staging[i]);
        }
    }
    status = net_verdict(status);
    status = status == 0 ? blocks_load(job, staging) : status;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment != NULL) {
            *touched = true;
            status = net_verdict(coherence_recall(job->parts[i].segment, true));
            status = status == 0 ? shared_fill(l, &job->parts[i]) : status;
            status = net_verdict(status);
        }
    }
    status = status == 0 ? ckpt_moved_call(l) : status;
    for (uint64_t i = 0; staging != NULL && i < job->epoch.nobjects; i++) {
        if (status == 0 && staging[i] != NULL) {
            private_fill(&job->parts[i], staging[i]);
        }
        free(staging[i]);
    }
    free(staging);
    return status;
}

/* Who homes a page reads it. */
static int homes_settle(const struct ckpt_job *job)
{
    int status = 0;
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        struct space_segment *s = job->parts[i].segment;
        status = s != NULL ? space_homes_settle(s) : 0;
    }
    return status;
}

int ckpt_load_open(struct load *l, const struct ckpt_manifest *manifest,
                   uint64_t index, int status)
{
    status = net_verdict(status == 0 ? files_open(l, manifest, index) : status);
    return status == 0 ? pieces_share(l) : status;
}

int ckpt_load_index(struct load *l)
{
    int status = ckpt_sources_load(l);
    if (status != 0) {
        return status;
    }
    status = ckpt_sources_settle(&l->chain.sources);
    return net_verdict(status == 0 ? sums_check(l) : status);
}

int ckpt_load(struct ckpt_job *job, const struct ckpt_manifest *manifest,
              uint64_t index, bool *touched)
{
    struct load l = {.job = job};
    uint64_t before = ckpt_io_read_bytes();
    moved_find(&l);
    int status = ckpt_load_open(&l, manifest, index, homes_settle(job));
    if (status == 0) {
        status = net_verdict(sizes_check(&l));
    }
    if (status == 0) {
        status = ckpt_load_index(&l);
    }
    if (status == 0) {
        status = memory_load(&l, touched);
    }
    if (status == 0 && job->lazy) {
        status = net_verdict(ckpt_lazy_hold(&l));
    }
    ckpt_state.restart_bytes += ckpt_io_read_bytes() - before;
    free(l.old.items);
    ckpt_chain_close(&l.chain);
    return status;
}
