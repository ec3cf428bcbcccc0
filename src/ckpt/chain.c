/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An epoch's pages in the files of its chain: a page comes from the newest log that
 * holds it, else from the full epoch.
 *
 * Invariants
 * 1. A page is read once, from the newest place, and compared with its sum.
 * 2. Rows of tables of pieces and indexes that come in are good (reader.c): what is left
 *    to check is that they agree with the epoch at the chain's end.
 * 3. Memory is for the runs as they lie in the logs, 32 bytes a page or 48 of a packed log,
 *    the sources, 64 bytes each, and a few blocks and a chunk (reader.h).
 * 4. ckpt_chain_read takes no memory, unless a file is packed.
 */
#include "chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum {
    GROUP_PAGES = 256 /* read at a time */
};

/* Pages that lie together: in the full epoch or in one log. */
struct group {
    uint64_t page;
    uint64_t count;
    const struct ckpt_source *source; /* of the first page; NULL: full epoch */
};

/* ---- files ------------------------------------------------------------------------ */

int ckpt_chain_open(struct ckpt_chain *chain, const struct ckpt_dir *dir,
                    const struct ckpt_manifest *m, uint64_t index)
{
    uint64_t first = ckpt_chain_start(m, index);
    *chain = (struct ckpt_chain){.epoch = &m->epochs[index]};
    int status = ckpt_unpacking_open(&chain->unpacking);
    chain->files = calloc(index - first + 1, sizeof *chain->files);
    if (status == 0 && chain->files == NULL) {
        status = base_error(RECTO_ENOMEM, "files of the chain");
    }
    for (uint64_t i = first; i <= index && status == 0; i++) {
        if (m->epochs[i].has_file) {
            status = ckpt_file_open(&chain->files[chain->nfiles], dir,
                                    &m->epochs[i]);
            chain->nfiles += status == 0;
        }
    }
    return status;
}

void ckpt_chain_close(struct ckpt_chain *chain)
{
    for (size_t i = 0; i < chain->nfiles; i++) {
        ckpt_file_close(&chain->files[i]);
    }
    for (size_t i = 0; i < chain->nruns; i++) {
        ckpt_rows_free(&chain->runs[i].rows);
    }
    free(chain->files);
    free(chain->runs);
    free(chain->sources.items);
    ckpt_unpacking_close(&chain->unpacking);
    *chain = (struct ckpt_chain){.nfiles = 0};
}

/* ---- the logs' indexes ------------------------------------------------------------ */

static int list_reserve(struct ckpt_sources *list, uint64_t more)
{
    if (list->count + more <= list->room) {
        return 0;
    }
    uint64_t room = 2 * list->room + more;
    struct ckpt_source *items = realloc(list->items, room * sizeof *items);
    if (items == NULL) {
        return base_error(RECTO_ENOMEM, "index of %llu pages",
                          (unsigned long long)room);
    }
    list->items = items;
    list->room = room;
    return 0;
}

int ckpt_sources_add(struct ckpt_sources *list,
                     const struct ckpt_source *sources, uint64_t n)
{
    int status = n > 0 ? list_reserve(list, n) : 0;
    if (status == 0 && n > 0) {
        memcpy(list->items + list->count, sources, n * sizeof *sources);
        list->count += n;
    }
    return status;
}

static bool entry_good(const struct ckpt_entry *e, const struct ckpt_object *o,
                       uint64_t ranks)
{
    bool shared = o->kind == CKPT_SHARED;
    return e->page < ckpt_pages(o->bytes) &&
           shared == (e->rank == CKPT_NO_RANK) && (shared || e->rank < ranks);
}

static bool is_wanted(const struct ckpt_wanted *wanted,
                      const struct ckpt_object *o)
{
    return o != NULL &&
           (wanted->object == NULL || wanted->object(wanted->argument, o->uid));
}

static struct ckpt_source source_of(const struct ckpt_run *run, uint64_t i)
{
    struct ckpt_source s = {.entry = run->rows.entries[i],
                            .slot = run->slot + i,
                            .file = (uint32_t)run->file};
    if (run->rows.blocks != NULL) {
        s.block = run->rows.blocks[i];
    }
    return s;
}

/* Of pages alone: which object, whose memory, which page. */
static int page_order(const struct ckpt_entry *a, const struct ckpt_entry *b)
{
    if (a->uid != b->uid) {
        return a->uid < b->uid ? -1 : 1;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return (a->page > b->page) - (a->page < b->page);
}

static int rows_take(const struct ckpt_chain *chain, const struct ckpt_run *run,
                     const struct ckpt_wanted *wanted)
{
    const struct ckpt_object *o = NULL;
    bool wants = false;
    int status = 0;
    for (uint64_t i = 0; i < run->count && status == 0; i++) {
        const struct ckpt_entry *e = &run->rows.entries[i];
        if (i == 0 || e->uid != e[-1].uid) {
            o = ckpt_epoch_object(chain->epoch, e->uid);
            wants = is_wanted(wanted, o);
        }
        if ((i > 0 && page_order(e - 1, e) >= 0) ||
            (wants && !entry_good(e, o, wanted->ranks))) {
            unsigned long long slot = run->slot + i;
            return ckpt_file_corrupt(&chain->files[run->file],
                                     "entry %llu of its page log is wrong",
                                     slot);
        }
        if (wants && wanted->take != NULL) {
            struct ckpt_source s = source_of(run, i);
            status = wanted->take(wanted->argument, &s);
        }
    }
    return status;
}

static int run_keep(struct ckpt_chain *chain, const struct ckpt_run *run)
{
    struct ckpt_run *runs =
        realloc(chain->runs, (chain->nruns + 1) * sizeof *runs);
    if (runs == NULL) {
        return base_error(RECTO_ENOMEM, "list of %zu runs of page logs",
                          chain->nruns + 1);
    }
    chain->runs = runs;
    runs[chain->nruns++] = *run;
    return 0;
}

int ckpt_chain_run_read(struct ckpt_chain *chain, size_t f,
                        const struct ckpt_piece *piece,
                        const struct ckpt_wanted *wanted, bool keep)
{
    struct ckpt_run run = {
        .file = f, .slot = piece->first_sum, .count = piece->sums};
    int status = ckpt_file_rows_read(&chain->files[f], piece, &run.rows);
    if (status == 0) {
        status = rows_take(chain, &run, wanted);
    }
    if (status == 0 && keep) {
        status = run_keep(chain, &run);
    }
    if (status != 0 || !keep) {
        ckpt_rows_free(&run.rows);
    }
    return status;
}

/* Where the run of ascending pages that begins at `from` ends. */
static uint64_t run_end(const struct ckpt_sources *list, uint64_t from)
{
    const struct ckpt_source *s = &list->items[from];
    while (++from < list->count && page_order(&s->entry, &s[1].entry) < 0) {
        s++;
    }
    return from;
}

/* from[first, middle) and from[middle, end) into `to`; of a page that both have the newest
 * version. Returns how many there are. */
static uint64_t runs_merge(const struct ckpt_source *from, uint64_t first,
                           uint64_t middle, uint64_t end,
                           struct ckpt_source *to)
{
    uint64_t a = first;
    uint64_t b = middle;
    uint64_t n = 0;
    while (a < middle && b < end) {
        const struct ckpt_source *x = &from[a];
        const struct ckpt_source *y = &from[b];
        int order = page_order(&x->entry, &y->entry);
        bool left = order < 0 || (order == 0 && x->file > y->file);
        to[n++] = left ? *x : *y;
        a += order <= 0;
        b += order >= 0;
    }
    memcpy(to + n, from + a, (middle - a) * sizeof *to);
    n += middle - a;
    memcpy(to + n, from + b, (end - b) * sizeof *to);
    return n + end - b;
}

/* Merges neighbouring runs two by two into `spare`; returns what is spare then. */
static struct ckpt_source *runs_pair(struct ckpt_sources *list,
                                     struct ckpt_source *spare)
{
    struct ckpt_source *from = list->items;
    uint64_t n = 0;
    for (uint64_t first = 0; first < list->count;) {
        uint64_t middle = run_end(list, first);
        uint64_t end = middle < list->count ? run_end(list, middle) : middle;
        n += runs_merge(from, first, middle, end, spare + n);
        first = end;
    }
    *list = (struct ckpt_sources){spare, n, list->count};
    return from;
}

int ckpt_sources_settle(struct ckpt_sources *list)
{
    if (list->count == 0 || run_end(list, 0) == list->count) {
        return 0;
    }
    struct ckpt_source *spare = malloc(list->count * sizeof *spare);
    if (spare == NULL) {
        return base_error(RECTO_ENOMEM, "index of %llu pages",
                          (unsigned long long)list->count);
    }
    while (run_end(list, 0) < list->count) {
        spare = runs_pair(list, spare);
    }
    free(spare);
    return 0;
}

/* ---- where the newest versions of some pages are ----------------------------------- */

static struct ckpt_entry page_key(const struct ckpt_range *r, uint64_t page)
{
    return (struct ckpt_entry){r->object->uid, r->rank, page, 0};
}

/* The first of items [low, high), each of `size` bytes and begun by its entry, at or after
 * a page. */
static uint64_t item_after(const void *items, size_t size, uint64_t low,
                           uint64_t high, const struct ckpt_entry *page)
{
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const void *item = (const char *)items + middle * size;
        if (page_order(item, page) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Of a run; pages are mostly asked for in order. */
static uint64_t entry_after(const struct ckpt_run *run,
                            const struct ckpt_entry *page)
{
    const struct ckpt_entry *e = run->rows.entries;
    uint64_t at = run->at;
    if (at > 0 && page_order(&e[at - 1], page) >= 0) {
        return item_after(e, sizeof *e, 0, at, page);
    }
    return at == run->count || page_order(&e[at], page) >= 0
               ? at
               : item_after(e, sizeof *e, at, run->count, page);
}

/* A window is of a few pages: places[i] is of the i-th; file 0, which is no log: the page
 * is in the full epoch. */
struct window {
    uint64_t page;
    uint64_t count;
    struct ckpt_source places[GROUP_PAGES];
};

static void place_note(struct window *w, const struct ckpt_source *s)
{
    struct ckpt_source *place = &w->places[s->entry.page - w->page];
    if (place->file < s->file) {
        *place = *s;
    }
}

static void window_fill(struct ckpt_chain *chain, const struct ckpt_range *r,
                        struct window *w)
{
    struct ckpt_entry first = page_key(r, w->page);
    struct ckpt_entry end = page_key(r, w->page + w->count);
    for (uint64_t i = 0; i < w->count; i++) {
        w->places[i].file = 0;
    }
    for (size_t k = 0; k < chain->nruns; k++) {
        struct ckpt_run *run = &chain->runs[k];
        uint64_t i = entry_after(run, &first);
        for (; i < run->count && page_order(&run->rows.entries[i], &end) < 0;
             i++) {
            struct ckpt_source s = source_of(run, i);
            place_note(w, &s);
        }
        run->at = i;
    }
    const struct ckpt_sources *list = &chain->sources;
    for (uint64_t i = item_after(list->items, sizeof *list->items, 0,
                                 list->count, &first);
         i < list->count && page_order(&list->items[i].entry, &end) < 0; i++) {
        place_note(w, &list->items[i]);
    }
}

/* The longest group that begins at the i-th page of a window. */
static struct group group_of(const struct window *w, uint64_t i)
{
    const struct ckpt_source *s = &w->places[i];
    struct group g = {
        .page = w->page + i, .count = 1, .source = s->file != 0 ? s : NULL};
    while (i + g.count < w->count && s[g.count].file == s->file &&
           (s->file == 0 || s[g.count].slot == s->slot + g.count)) {
        g.count++;
    }
    return g;
}

/* ---- pages ------------------------------------------------------------------------ */

static int bad_page(const struct ckpt_file *file, const struct ckpt_range *r,
                    uint64_t page)
{
    return ckpt_file_corrupt(file, "page %llu of \"%s\" is damaged",
                             (unsigned long long)page, r->object->name);
}

/* The bytes of a group from one log. */
static int log_bytes(struct ckpt_chain *chain, const struct ckpt_range *r,
                     const struct group *g, char *to)
{
    const struct ckpt_file *file = &chain->files[g->source->file];
    int status = 0;
    if (!file->epoch->packed) {
        return ckpt_io_read(&file->io, to, (size_t)g->count * CKPT_PAGE,
                            file->epoch->pages_at +
                                g->source->slot * CKPT_PAGE);
    }
    for (uint64_t i = 0; i < g->count && status == 0; i++) {
        status = ckpt_file_block_page(file, &chain->unpacking,
                                      &g->source[i].block, to + i * CKPT_PAGE);
        if (status == RECTO_ECORRUPT) {
            status = bad_page(file, r, g->page + i);
        }
    }
    return status;
}

static int log_read(struct ckpt_chain *chain, const struct ckpt_range *r,
                    const struct group *g, char *to)
{
    int status = log_bytes(chain, r, g, to);
    for (uint64_t i = 0; i < g->count && status == 0; i++) {
        if (ckpt_hash(to + i * CKPT_PAGE, CKPT_PAGE) !=
            g->source[i].entry.sum) {
            status = bad_page(&chain->files[g->source->file], r, g->page + i);
        }
    }
    return status;
}

/* How many of the pages from `page` on are zero in the epoch, by their sums, and in
 * memory: there is nothing to read. */
static uint64_t zeros_count(const struct ckpt_range *r, uint64_t page,
                            const uint64_t *sums, uint64_t most)
{
    uint64_t n = 0;
    while (n < most && r->is_zero != NULL && sums[n] == ckpt_zero_sum() &&
           r->is_zero(r->argument, page + n)) {
        n++;
    }
    return n;
}

/* Where a range is in the full epoch. */
struct place {
    const struct ckpt_object *object; /* as that epoch has it */
    uint64_t data;                    /* its first byte, of the object's */
    uint64_t sums;                    /* of its first page, in the file */
};

/* The bytes of a group, in one piece; of chunks page by page, so that the one whose chunk
 * is damaged is known. */
static int data_bytes(struct ckpt_chain *chain, const struct ckpt_range *r,
                      const struct group *g, const struct place *p, char *to)
{
    const struct ckpt_file *file = &chain->files[0];
    size_t bytes = (size_t)(g->count - 1) * CKPT_PAGE +
                   ckpt_page_bytes(r->bytes, g->page + g->count - 1);
    uint64_t from = p->data + g->page * CKPT_PAGE;
    size_t step =
        ckpt_is_chunked(file->epoch, p->object) ? (size_t)CKPT_PAGE : bytes;
    int status = 0;
    memset(to + bytes, 0, g->count * CKPT_PAGE - bytes);
    for (size_t done = 0; done < bytes && status == 0; done += step) {
        size_t n = bytes - done < step ? bytes - done : step;
        status = ckpt_file_data_read(file, &chain->unpacking, p->object,
                                     from + done, n, to + done);
        if (status == RECTO_ECORRUPT) {
            status = bad_page(file, r, g->page + done / CKPT_PAGE);
        }
    }
    return status;
}

static int data_read(struct ckpt_chain *chain, const struct ckpt_range *r,
                     const struct group *g, const struct place *p,
                     const uint64_t *sums, char *to)
{
    int status = data_bytes(chain, r, g, p, to);
    for (uint64_t i = 0; i < g->count && status == 0; i++) {
        if (ckpt_hash(to + i * CKPT_PAGE, CKPT_PAGE) != sums[i]) {
            status = bad_page(&chain->files[0], r, g->page + i);
        }
    }
    return status;
}

static int full_place(const struct ckpt_chain *chain,
                      const struct ckpt_range *r, const struct group *g,
                      struct place *place)
{
    const struct ckpt_file *file = &chain->files[0];
    const struct ckpt_object *o =
        ckpt_epoch_object(file->epoch, r->object->uid);
    const struct ckpt_piece *piece = NULL;
    bool shared = r->rank == CKPT_NO_RANK;
    if (o != NULL && !shared) {
        piece = ckpt_file_piece(file, o->uid, r->rank);
    }
    if (o == NULL || o->bytes != r->object->bytes ||
        o->kind != r->object->kind ||
        (!shared && (piece == NULL || piece->bytes != r->bytes))) {
        return ckpt_file_corrupt(file, "page %llu of \"%s\" is in no epoch",
                                 (unsigned long long)g->page, r->object->name);
    }
    place->object = o;
    place->data = shared ? 0 : piece->offset;
    place->sums = o->sums + (shared ? 0 : piece->first_sum) * sizeof(uint64_t);
    return 0;
}

static int full_read(struct ckpt_chain *chain, const struct ckpt_range *r,
                     const struct group *g, char *to)
{
    uint64_t sums[GROUP_PAGES];
    struct place place = {NULL, 0, 0};
    int status = full_place(chain, r, g, &place);
    if (status == 0) {
        status =
            ckpt_io_read(&chain->files[0].io, sums, g->count * sizeof *sums,
                         place.sums + g->page * sizeof *sums);
    }
    for (uint64_t i = 0; i < g->count && status == 0;) {
        uint64_t n = zeros_count(r, g->page + i, sums + i, g->count - i);
        if (n > 0) {
            i += n;
            continue;
        }
        bool all = r->is_zero == NULL;
        for (n = 1; i + n < g->count && (all || sums[i + n] != ckpt_zero_sum());
             n++) {
        }
        struct group some = {.page = g->page + i, .count = n};
        status =
            data_read(chain, r, &some, &place, sums + i, to + i * CKPT_PAGE);
        i += n;
    }
    return status;
}

static int window_read(struct ckpt_chain *chain, const struct ckpt_range *r,
                       const struct window *w, char *to)
{
    int status = 0;
    for (uint64_t i = 0; i < w->count && status == 0;) {
        struct group g = group_of(w, i);
        char *here = to + i * CKPT_PAGE;
        status = g.source != NULL ? log_read(chain, r, &g, here)
                                  : full_read(chain, r, &g, here);
        i += g.count;
    }
    return status;
}

int ckpt_chain_read(struct ckpt_chain *chain, const struct ckpt_range *r,
                    uint64_t first, uint64_t count, char *to)
{
    struct window w;
    int status = 0;
    for (uint64_t done = 0; done < count && status == 0; done += w.count) {
        w.page = first + done;
        w.count = count - done < GROUP_PAGES ? count - done : GROUP_PAGES;
        window_fill(chain, r, &w);
        status = window_read(chain, r, &w, to + done * CKPT_PAGE);
    }
    return status;
}

int ckpt_chain_size(const struct ckpt_chain *chain, const struct ckpt_object *o,
                    uint64_t rank, uint64_t *bytes)
{
    const struct ckpt_piece *piece = NULL;
    for (size_t f = chain->nfiles; f-- > 0 && piece == NULL;) {
        piece = ckpt_file_piece(&chain->files[f], o->uid, rank);
    }
    if (piece == NULL) {
        return ckpt_file_corrupt(&chain->files[0],
                                 "no size of \"%s\" in the chain", o->name);
    }
    *bytes = piece->bytes;
    return 0;
}
