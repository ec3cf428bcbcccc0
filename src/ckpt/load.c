/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads an epoch back: its chain's full epoch, and over it the newest version
 * of each page that the chain's page logs hold.
 *
 *   open      every rank opens the files; rank 0 checks metadata and shares
 *             the tables of pieces
 *   index     the runs of the logs' indexes are divided among the ranks,
 *             checked, and each entry is sent to the rank that needs the page
 *   sums      the pieces' page sums are divided and checked
 *   shared    each rank reads the pages that it homes into the verso
 *   private   into a staging area; copied when all ranks are good
 *
 * Invariants
 * 1. A page is read once, from the newest place, and compared with its sum. One
 *    that the sum says is zero, where memory is a hole, is not even read: memory
 *    that was never touched before stays so.
 * 2. Nothing is written to memory before all metadata of all files is good on
 *    all ranks; private memory not before all pages are.
 * 3. The number of ranks may differ from the writers', except for private
 *    memory; pages are addressed by object, not by run.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "reader.h"
#include "state.h"

enum {
    GROUP_PAGES = 256 /* read at a time */
};

/* Where the newest version of a page is. Sent between ranks as it is. */
struct source {
    uint64_t uid;
    uint64_t page;
    uint64_t sum;
    uint64_t rank; /* CKPT_NO_RANK: shared */
    uint64_t slot; /* in the log of */
    uint32_t file; /* this file of the chain */
    uint32_t to;   /* the rank that it is sent to */
};

struct load {
    struct ckpt_job *job;
    struct ckpt_file *files; /* of the chain; [0] is the full epoch */
    size_t nfiles;
    struct source *sources; /* mine, by (uid, page), newest only */
    uint64_t nsources;
};

/* Pages of a part that lie together: in the full epoch or in one log. */
struct group {
    uint64_t page;
    uint64_t count;
    const struct source *source; /* of the first page; NULL: full epoch */
};

/* ---- the chain's files ------------------------------------------------------------ */

static int files_open(struct load *l, const struct ckpt_manifest *m,
                      uint64_t index)
{
    uint64_t first = index;
    while (first > 0 && !m->epochs[first].full) {
        first--;
    }
    l->files = calloc(index - first + 1, sizeof *l->files);
    if (l->files == NULL) {
        return base_error(RECTO_ENOMEM, "files of the chain");
    }
    int status = 0;
    for (uint64_t i = first; i <= index && status == 0; i++) {
        if (!m->epochs[i].has_file) {
            continue;
        }
        struct ckpt_file *file = &l->files[l->nfiles];
        status = ckpt_file_open(file, &ckpt_state.dir, &m->epochs[i]);
        l->nfiles += status == 0;
        if (status == 0 && net_rank() == 0) {
            status = ckpt_file_meta_check(file);
            status = status == 0 ? ckpt_file_pieces_read(file) : status;
        }
    }
    return status;
}

/* Rank 0 has the tables of pieces. */
static int pieces_share(struct load *l)
{
    int status = 0;
    for (size_t i = 0; i < l->nfiles && status == 0; i++) {
        struct ckpt_file *file = &l->files[i];
        size_t bytes = (size_t)file->epoch->pieces * sizeof *file->pieces;
        if (net_rank() != 0) {
            file->pieces = malloc(bytes + 1);
        }
        status = net_verdict(file->pieces != NULL
                                 ? 0
                                 : base_error(RECTO_ENOMEM, "table of pieces"));
        if (status == 0) {
            status = net_bcast(file->pieces, bytes, 0);
        }
    }
    return status;
}

static void load_close(struct load *l)
{
    for (size_t i = 0; i < l->nfiles; i++) {
        ckpt_file_close(&l->files[i]);
    }
    free(l->files);
    free(l->sources);
}

/* ---- private sizes ------------------------------------------------------------------ */

static int sizes_check(const struct load *l)
{
    for (uint64_t i = 0; i < l->job->epoch.nobjects; i++) {
        const struct ckpt_part *part = &l->job->parts[i];
        const struct ckpt_object *o = part->object;
        const struct ckpt_piece *piece = NULL;
        if (o->kind == CKPT_SHARED || o->bytes == 0) {
            continue;
        }
        for (size_t f = l->nfiles; f-- > 0 && piece == NULL;) {
            piece = ckpt_file_piece(&l->files[f], o->uid, (uint64_t)net_rank());
        }
        uint64_t size = recto_type_size(o->type);
        if (piece == NULL) {
            return ckpt_file_corrupt(&l->files[0],
                                     "no size of \"%s\" in the chain", o->name);
        }
        if (piece->bytes != part->bytes) {
            return base_error(RECTO_ECHANGED,
                              "protected memory \"%s\" of rank %d has %llu %s "
                              "in epoch %llu, the program protects %llu",
                              o->name, net_rank(),
                              (unsigned long long)(piece->bytes / size),
                              ckpt_type_name(o->type),
                              (unsigned long long)l->job->epoch.number,
                              (unsigned long long)(part->bytes / size));
        }
    }
    return 0;
}

/* ---- the logs' indexes --------------------------------------------------------------- */

struct source_list {
    struct source *items;
    uint64_t count;
    uint64_t room;
};

static int list_reserve(struct source_list *list, uint64_t more)
{
    if (list->count + more <= list->room) {
        return 0;
    }
    uint64_t room = 2 * list->room + more;
    struct source *items = realloc(list->items, room * sizeof *items);
    if (items == NULL) {
        return base_error(RECTO_ENOMEM, "index of %llu pages",
                          (unsigned long long)room);
    }
    list->items = items;
    list->room = room;
    return 0;
}

/* Adds what a run holds of objects that the epoch still has. */
static int run_add(const struct load *l, size_t f, const struct ckpt_piece *run,
                   struct source_list *list)
{
    struct ckpt_entry *entries = malloc(run->sums * sizeof *entries + 1);
    if (entries == NULL) {
        return base_error(RECTO_ENOMEM, "index of the page log");
    }
    int status = ckpt_file_entries_read(&l->files[f], run, entries);
    if (status == 0) {
        status = list_reserve(list, run->sums);
    }
    for (uint64_t i = 0; i < run->sums && status == 0; i++) {
        const struct ckpt_entry *e = &entries[i];
        const struct ckpt_object *o = ckpt_epoch_object(&l->job->epoch, e->uid);
        if (o == NULL) {
            continue;
        }
        bool shared = o->kind == CKPT_SHARED;
        if (e->page >= ckpt_pages(o->bytes) ||
            shared != (e->rank == CKPT_NO_RANK) ||
            (!shared && e->rank >= (uint64_t)net_size())) {
            uint64_t slot = run->first_sum + i;
            status = ckpt_file_corrupt(&l->files[f],
                                       "entry %llu of its page log is wrong",
                                       (unsigned long long)slot);
            break;
        }
        list->items[list->count++] = (struct source){.uid = e->uid,
                                                     .page = e->page,
                                                     .sum = e->sum,
                                                     .rank = e->rank,
                                                     .slot = run->first_sum + i,
                                                     .file = (uint32_t)f};
    }
    free(entries);
    return status;
}

/* Reads my share of the runs: those of writers k, k + N, ... */
static int runs_read(const struct load *l, struct source_list *list)
{
    int status = 0;
    for (size_t f = 0; f < l->nfiles; f++) {
        const struct ckpt_epoch *e = l->files[f].epoch;
        for (uint64_t k = (uint64_t)net_rank();
             !e->full && k < e->ranks && status == 0;
             k += (uint64_t)net_size()) {
            status = run_add(l, f, ckpt_file_piece(&l->files[f], 0, k), list);
        }
    }
    return status;
}

/* Who needs the page, or knows who does. */
static int target_of(const struct load *l, const struct source *s)
{
    if (s->rank != CKPT_NO_RANK) {
        return (int)s->rank;
    }
    const struct ckpt_object *o = ckpt_epoch_object(&l->job->epoch, s->uid);
    const struct ckpt_part *part = &l->job->parts[o - l->job->epoch.objects];
    return space_home(part->segment, s->page);
}

static int target_order(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;
    return (x->to > y->to) - (x->to < y->to);
}

static int sources_take(void *list, const void *data, size_t bytes)
{
    struct source_list *l = list;
    uint64_t n = bytes / sizeof *l->items;
    int r = list_reserve(l, n);
    if (r == 0) {
        memcpy(l->items + l->count, data, bytes);
        l->count += n;
    }
    return r;
}

/* Sends `out` to its targets and adds what comes to `in`. Collective. */
static int sources_send(struct source_list *out, struct source_list *in)
{
    struct net_parcels parcels = {0};
    int status = 0;
    if (out->count > 0) {
        qsort(out->items, out->count, sizeof *out->items, target_order);
    }
    for (uint64_t i = 0; i < out->count && status == 0; i++) {
        status = net_parcels_add(&parcels, (int)out->items[i].to,
                                 &out->items[i], sizeof *out->items);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(
            net_exchange(parcels.items, parcels.count, sources_take, in));
    }
    free(parcels.items);
    return status;
}

static bool any_touched(const struct ckpt_job *job)
{
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        const struct space_segment *s = job->parts[i].segment;
        if (s != NULL && s->attr.placement == RECTO_FIRST_TOUCH) {
            return true;
        }
    }
    return false;
}

/* Moves what is not for me from `list` to `others`. */
static int others_take(const struct load *l, struct source_list *list,
                       struct source_list *others)
{
    uint64_t kept = 0;
    int status = 0;
    for (uint64_t i = 0; i < list->count && status == 0; i++) {
        struct source *s = &list->items[i];
        s->to = (uint32_t)target_of(l, s);
        if (s->to != (uint32_t)net_rank()) {
            status = sources_take(others, s, sizeof *s);
        } else {
            list->items[kept++] = *s;
        }
    }
    list->count = kept;
    return status;
}

/* Sends each source to the rank that needs its page: where homes are by first touch,
 * by way of the rank that keeps the home. Collective. */
static int sources_route(struct load *l, struct source_list *read)
{
    struct source_list mine = {0};
    struct source_list others = {0};
    for (uint64_t i = 0; i < read->count; i++) {
        read->items[i].to = (uint32_t)target_of(l, &read->items[i]);
    }
    int status = sources_send(read, &mine);
    if (status == 0 && any_touched(l->job)) {
        status = net_verdict(others_take(l, &mine, &others));
        status = status == 0 ? sources_send(&others, &mine) : status;
    }
    free(others.items);
    l->sources = mine.items;
    l->nsources = mine.count;
    return status;
}

static int source_order(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;
    if (x->uid != y->uid) {
        return x->uid < y->uid ? -1 : 1;
    }
    if (x->page != y->page) {
        return x->page < y->page ? -1 : 1;
    }
    return (x->file < y->file) - (x->file > y->file); /* newest first */
}

/* Sorts, and keeps of each page the newest version. */
static void sources_settle(struct load *l)
{
    uint64_t kept = 0;
    if (l->nsources > 0) {
        qsort(l->sources, l->nsources, sizeof *l->sources, source_order);
    }
    for (uint64_t i = 0; i < l->nsources; i++) {
        const struct source *s = &l->sources[i];
        if (kept == 0 || l->sources[kept - 1].uid != s->uid ||
            l->sources[kept - 1].page != s->page) {
            l->sources[kept++] = *s;
        }
    }
    l->nsources = kept;
}

static int index_load(struct load *l)
{
    struct source_list list = {0};
    int status = net_verdict(runs_read(l, &list));
    if (status == 0) {
        status = sources_route(l, &list);
    }
    if (status == 0) {
        sources_settle(l);
    }
    free(list.items);
    return status;
}

/* ---- page sums of the full epoch --------------------------------------------------------- */

/* Checks my share of the pieces: those of writers k, k + N, ... */
static int sums_check(const struct load *l)
{
    const struct ckpt_file *full = &l->files[0];
    const struct ckpt_epoch *e = full->epoch;
    int status = 0;
    for (uint64_t i = 0; i < e->nobjects && status == 0; i++) {
        const struct ckpt_object *o = &e->objects[i];
        if (ckpt_epoch_object(&l->job->epoch, o->uid) == NULL) {
            continue; /* the epoch has dropped it */
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

/* Index of the first source at or after (uid, page). */
static uint64_t source_after(const struct load *l, uint64_t uid, uint64_t page)
{
    uint64_t low = 0;
    uint64_t high = l->nsources;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct source *s = &l->sources[middle];
        if (s->uid < uid || (s->uid == uid && s->page < page)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest group that begins at `page` and stays below `end`; *at is the
 * first source at or after the page, and moves along. */
static struct group group_of(const struct load *l, uint64_t uid, uint64_t page,
                             uint64_t end, uint64_t *at)
{
    struct group g = {.page = page, .count = 1};
    const struct source *s = &l->sources[*at];
    const struct source *stop = &l->sources[l->nsources];
    end = end - page < GROUP_PAGES ? end : page + GROUP_PAGES;
    if (s == stop || s->uid != uid || s->page != page) {
        uint64_t next =
            s < stop && s->uid == uid && s->page < end ? s->page : end;
        g.count = next - page;
        return g;
    }
    g.source = s;
    while (s + g.count < stop && page + g.count < end &&
           s[g.count].uid == uid && s[g.count].page == page + g.count &&
           s[g.count].file == s->file && s[g.count].slot == s->slot + g.count) {
        g.count++;
    }
    *at += g.count;
    return g;
}

static int bad_page(const struct ckpt_file *file, const struct ckpt_part *part,
                    uint64_t page)
{
    return ckpt_file_corrupt(file, "page %llu of \"%s\" is damaged",
                             (unsigned long long)page, part->object->name);
}

static int log_read(const struct load *l, const struct ckpt_part *part,
                    const struct group *g, char *to)
{
    const struct ckpt_file *file = &l->files[g->source->file];
    int status =
        ckpt_io_read(&file->io, to, (size_t)g->count * CKPT_PAGE,
                     file->epoch->pages_at + g->source->slot * CKPT_PAGE);
    for (uint64_t i = 0; i < g->count && status == 0; i++) {
        if (ckpt_hash(to + i * CKPT_PAGE, CKPT_PAGE) != g->source[i].sum) {
            status = bad_page(file, part, g->page + i);
        }
    }
    return status;
}

/* How many of the pages from `page` on are zero in the epoch, by their sums, and
 * in memory, since nobody ever touched them: there is nothing to read. */
static uint64_t zeros_count(struct ckpt_part *part, uint64_t page,
                            const uint64_t *sums, uint64_t most)
{
    uint64_t n = 0;
    uint64_t stop = 0;
    while (n < most && sums[n] == ckpt_zero_sum() &&
           ckpt_part_hole(part, page + n, page + n + 1, &stop)) {
        n++;
    }
    return n;
}

/* Pages of a full epoch, whose object begins at `data`, in one piece. */
static int data_read(const struct ckpt_file *file, const struct ckpt_part *part,
                     const struct group *g, uint64_t data, const uint64_t *sums,
                     char *to)
{
    size_t bytes = (size_t)(g->count - 1) * CKPT_PAGE +
                   ckpt_page_bytes(part->bytes, g->page + g->count - 1);
    memset(to + bytes, 0, g->count * CKPT_PAGE - bytes);
    int status = ckpt_io_read(&file->io, to, bytes, data + g->page * CKPT_PAGE);
    for (uint64_t i = 0; i < g->count && status == 0; i++) {
        if (ckpt_hash(to + i * CKPT_PAGE, CKPT_PAGE) != sums[i]) {
            status = bad_page(file, part, g->page + i);
        }
    }
    return status;
}

static int full_read(const struct load *l, struct ckpt_part *part,
                     const struct group *g, char *to)
{
    const struct ckpt_file *file = &l->files[0];
    const struct ckpt_object *o =
        ckpt_epoch_object(file->epoch, part->object->uid);
    if (o == NULL || o->bytes != part->object->bytes) {
        return ckpt_file_corrupt(file, "page %llu of \"%s\" is in no epoch",
                                 (unsigned long long)g->page,
                                 part->object->name);
    }
    uint64_t offset = 0;
    uint64_t first = g->page;
    if (part->segment == NULL) {
        const struct ckpt_piece *piece =
            ckpt_file_piece(file, o->uid, (uint64_t)net_rank());
        offset = piece->offset;
        first += piece->first_sum;
    }
    uint64_t sums[GROUP_PAGES];
    int status = ckpt_io_read(&file->io, sums, g->count * sizeof *sums,
                              o->sums + first * sizeof *sums);
    for (uint64_t i = 0; i < g->count && status == 0;) {
        uint64_t n = zeros_count(part, g->page + i, sums + i, g->count - i);
        if (n > 0) {
            i += n;
            continue;
        }
        for (n = 1; i + n < g->count && sums[i + n] != ckpt_zero_sum(); n++) {
        }
        struct group some = {.page = g->page + i, .count = n};
        status = data_read(file, part, &some, o->data + offset, sums + i,
                           to + i * CKPT_PAGE);
        i += n;
    }
    return status;
}

/* Reads pages [first, first + count) of a part to `memory` + page offsets;
 * the last page's memory is whole. */
static int pages_load(const struct load *l, struct ckpt_part *part,
                      uint64_t first, uint64_t count, char *memory)
{
    uint64_t uid = part->object->uid;
    uint64_t at = source_after(l, uid, first);
    int status = 0;
    for (uint64_t page = first; page < first + count && status == 0;) {
        struct group g = group_of(l, uid, page, first + count, &at);
        char *to = memory + page * CKPT_PAGE;
        status = g.source != NULL ? log_read(l, part, &g, to)
                                  : full_read(l, part, &g, to);
        page += g.count;
    }
    return status;
}

static int shared_load(const struct load *l, struct ckpt_part *part)
{
    uint64_t first = 0;
    uint64_t count = 0;
    int status = 0;
    while (status == 0 && ckpt_home_run(part, first + count, &first, &count)) {
        status =
            pages_load(l, part, first, count, space_verso(part->segment, 0));
    }
    return status;
}

/* Into a new staging area, *staging, with the hashes of its pages. */
static int private_load(const struct load *l, struct ckpt_part *part,
                        char **staging)
{
    if (part->pages == 0) {
        return 0;
    }
    *staging = malloc((size_t)part->pages * CKPT_PAGE);
    part->hashes = calloc(part->pages, sizeof *part->hashes);
    if (*staging == NULL || part->hashes == NULL) {
        return base_error(RECTO_ENOMEM, "staging area of \"%s\"",
                          part->object->name);
    }
    int status = pages_load(l, part, 0, part->pages, *staging);
    for (uint64_t i = 0; i < part->pages && status == 0; i++) {
        part->hashes[i] = ckpt_region_hash(*staging + i * CKPT_PAGE,
                                           ckpt_page_bytes(part->bytes, i));
    }
    return status;
}

static int memory_load(const struct load *l, bool *touched)
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
            status = private_load(l, part, &staging[i]);
        }
    }
    status = net_verdict(status);
    for (uint64_t i = 0; i < job->epoch.nobjects && status == 0; i++) {
        if (job->parts[i].segment != NULL) {
            *touched = true;
            status = net_verdict(coherence_recall(job->parts[i].segment, true));
            status = status == 0 ? shared_load(l, &job->parts[i]) : status;
            status = net_verdict(status);
        }
    }
    for (uint64_t i = 0; staging != NULL && i < job->epoch.nobjects; i++) {
        if (status == 0 && staging[i] != NULL) {
            memcpy(job->parts[i].region->p, staging[i],
                   (size_t)job->parts[i].bytes);
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

int ckpt_load(struct ckpt_job *job, const struct ckpt_manifest *manifest,
              uint64_t index, bool *touched)
{
    struct load l = {.job = job};
    int status = homes_settle(job);
    status =
        net_verdict(status == 0 ? files_open(&l, manifest, index) : status);
    if (status == 0) {
        status = pieces_share(&l);
    }
    if (status == 0) {
        status = net_verdict(sizes_check(&l));
    }
    if (status == 0) {
        status = index_load(&l);
    }
    if (status == 0) {
        status = net_verdict(sums_check(&l));
    }
    if (status == 0) {
        status = memory_load(&l, touched);
    }
    load_close(&l);
    return status;
}
