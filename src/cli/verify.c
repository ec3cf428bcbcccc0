/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto verify`: reads every byte of every epoch (or of one epoch's chain)
 * and compares it with the checksums, from the manifest down to the pages.
 *
 * Invariants
 * 1. It goes on after damage: each damaged place is named, neighbouring pages
 *    of one object as one.
 * 2. Data below a damaged checksum are reported as not checkable, not as good.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli.h"

enum {
    GROUP_PAGES = 256 /* read at a time */
};

struct damage {
    uint64_t epoch;
    bool in_epoch; /* else in the folder */
    bool pages;    /* first and count tell which */
    uint64_t rank; /* of private memory; CKPT_NO_RANK */
    uint64_t first;
    uint64_t count;
    char object[RECTO_NAME_MAX + 1]; /* "" for the file itself */
    char text[640];
};

struct report {
    const struct cli_request *request;
    struct damage *list;
    uint64_t count;
    uint64_t room;
    uint64_t bytes; /* checked */
    uint64_t files;
    struct cli_progress *progress;
    struct ckpt_unpacking unpacking;
    char buffer[GROUP_PAGES * CKPT_PAGE];
};

static void checked(struct report *r, uint64_t bytes)
{
    r->bytes += bytes;
    r->progress->told.tell(r->progress, bytes);
}

static struct damage *damage_add(struct report *r)
{
    if (r->list == NULL || r->count == r->room) {
        uint64_t room = r->room == 0 ? 16 : 2 * r->room;
        struct damage *list = realloc(r->list, room * sizeof *list);
        if (list == NULL) {
            (void)fprintf(stderr, "recto: out of memory\n");
            abort();
        }
        r->list = list;
        r->room = room;
    }
    struct damage *d = &r->list[r->count++];
    memset(d, 0, sizeof *d);
    d->rank = CKPT_NO_RANK;
    return d;
}

/* Takes the last error message as the description. */
static void damage_note(struct report *r, const struct ckpt_epoch *e,
                        const char *object)
{
    const char *message = recto_last_error();
    struct damage *d = damage_add(r);
    d->in_epoch = e != NULL;
    d->epoch = e != NULL ? e->number : 0;
    (void)snprintf(d->object, sizeof d->object, "%s", object);
    (void)snprintf(d->text, sizeof d->text, "%s",
                   strncmp(message, "recto: ", 7) == 0 ? message + 7 : message);
}

static void damage_page(struct report *r, const struct ckpt_epoch *e,
                        const struct ckpt_object *o, uint64_t rank,
                        uint64_t page)
{
    const char *name = o != NULL ? o->name : "?";
    struct damage *last = r->count > 0 ? &r->list[r->count - 1] : NULL;
    if (last != NULL && last->pages && last->epoch == e->number &&
        strcmp(last->object, name) == 0 && last->rank == rank &&
        last->first + last->count == page) {
        last->count++;
        return;
    }
    struct damage *d = damage_add(r);
    d->in_epoch = true;
    d->pages = true;
    d->epoch = e->number;
    d->rank = rank;
    d->first = page;
    d->count = 1;
    (void)snprintf(d->object, sizeof d->object, "%s", name);
}

/* ---- full epochs ---------------------------------------------------------------- */

static void piece_damage(struct report *r, const struct ckpt_file *file,
                         const struct ckpt_object *o,
                         const struct ckpt_piece *piece, uint64_t page)
{
    bool shared = o->kind == CKPT_SHARED;
    damage_page(r, file->epoch, o, shared ? CKPT_NO_RANK : piece->rank,
                (shared ? piece->first_sum : 0) + page);
}

/* Pages [0, piece->sums) of a piece, that are in chunks, against their sums. */
static int chunk_pages(struct report *r, const struct ckpt_file *file,
                       const struct ckpt_object *o,
                       const struct ckpt_piece *piece, const uint64_t *sums)
{
    for (uint64_t i = 0; i < piece->sums; i++) {
        size_t bytes = ckpt_page_bytes(piece->bytes, i);
        int status = ckpt_file_data_read(file, &r->unpacking, o,
                                         piece->offset + i * CKPT_PAGE, bytes,
                                         r->buffer);
        if (status != 0 && status != RECTO_ECORRUPT) {
            return status;
        }
        if (status != 0 || ckpt_page_sum(r->buffer, bytes) != sums[i]) {
            piece_damage(r, file, o, piece, i);
        }
        checked(r, bytes + sizeof *sums);
    }
    return 0;
}

/* The same, that are in one piece. */
static int piece_pages(struct report *r, const struct ckpt_file *file,
                       const struct ckpt_object *o,
                       const struct ckpt_piece *piece, const uint64_t *sums)
{
    for (uint64_t done = 0; done < piece->sums;) {
        uint64_t n =
            piece->sums - done < GROUP_PAGES ? piece->sums - done : GROUP_PAGES;
        uint64_t rest = piece->bytes - done * CKPT_PAGE;
        size_t bytes =
            rest < n * CKPT_PAGE ? (size_t)rest : (size_t)n * CKPT_PAGE;
        int status = ckpt_io_read(&file->io, r->buffer, bytes,
                                  o->data + piece->offset + done * CKPT_PAGE);
        if (status != 0) {
            return status;
        }
        for (uint64_t i = 0; i < n; i++) {
            size_t size = ckpt_page_bytes(piece->bytes, done + i);
            if (ckpt_page_sum(r->buffer + i * CKPT_PAGE, size) !=
                sums[done + i]) {
                piece_damage(r, file, o, piece, done + i);
            }
        }
        checked(r, bytes + n * sizeof *sums);
        done += n;
    }
    return 0;
}

static void object_verify(struct report *r, const struct ckpt_file *file,
                          const struct ckpt_object *o)
{
    for (uint64_t k = 0; k < file->epoch->ranks; k++) {
        const struct ckpt_piece *piece = ckpt_file_piece(file, o->uid, k);
        uint64_t *sums = malloc(piece->sums * sizeof *sums + 1);
        int status = sums != NULL ? ckpt_file_sums_read(file, o, piece, sums)
                                  : base_error(RECTO_ENOMEM, "page sums");
        if (status == 0) {
            status = ckpt_is_chunked(file->epoch, o)
                         ? chunk_pages(r, file, o, piece, sums)
                         : piece_pages(r, file, o, piece, sums);
        }
        if (status != 0) {
            damage_note(r, file->epoch, o->name);
        }
        free(sums);
    }
}

/* ---- differential epochs ------------------------------------------------------------ */

/* Page i of a run: 0 good, 1 damaged, else what reading it said. */
static int block_page(struct report *r, const struct ckpt_file *file,
                      const struct ckpt_rows *rows, uint64_t i)
{
    int status =
        ckpt_file_block_page(file, &r->unpacking, &rows->blocks[i], r->buffer);
    if (status == 0 || status == RECTO_ECORRUPT) {
        return status != 0 ||
               ckpt_hash(r->buffer, CKPT_PAGE) != rows->entries[i].sum;
    }
    return status;
}

static void entry_damage(struct report *r, const struct ckpt_file *file,
                         const struct ckpt_entry *entry)
{
    damage_page(r, file->epoch, ckpt_epoch_object(file->epoch, entry->uid),
                entry->rank, entry->page);
}

static int packed_pages(struct report *r, const struct ckpt_file *file,
                        const struct ckpt_piece *run,
                        const struct ckpt_rows *rows)
{
    int status = 0;
    for (uint64_t i = 0; i < run->sums && status >= 0; i++) {
        status = block_page(r, file, rows, i);
        if (status > 0) {
            entry_damage(r, file, &rows->entries[i]);
        }
        checked(r, CKPT_PAGE + sizeof *rows->entries + sizeof *rows->blocks);
    }
    return status < 0 ? status : 0;
}

static int plain_pages(struct report *r, const struct ckpt_file *file,
                       const struct ckpt_piece *run,
                       const struct ckpt_rows *rows)
{
    for (uint64_t done = 0; done < run->sums;) {
        uint64_t n =
            run->sums - done < GROUP_PAGES ? run->sums - done : GROUP_PAGES;
        int status = ckpt_io_read(&file->io, r->buffer, (size_t)n * CKPT_PAGE,
                                  file->epoch->pages_at + run->offset +
                                      done * CKPT_PAGE);
        if (status != 0) {
            return status;
        }
        for (uint64_t i = 0; i < n; i++) {
            if (ckpt_hash(r->buffer + i * CKPT_PAGE, CKPT_PAGE) !=
                rows->entries[done + i].sum) {
                entry_damage(r, file, &rows->entries[done + i]);
            }
        }
        checked(r, n * (CKPT_PAGE + sizeof *rows->entries));
        done += n;
    }
    return 0;
}

static void log_verify(struct report *r, const struct ckpt_file *file)
{
    for (uint64_t k = 0; k < file->epoch->ranks; k++) {
        const struct ckpt_piece *run = ckpt_file_piece(file, 0, k);
        struct ckpt_rows rows;
        int status = ckpt_file_rows_read(file, run, &rows);
        if (status == 0) {
            status = rows.blocks != NULL ? packed_pages(r, file, run, &rows)
                                         : plain_pages(r, file, run, &rows);
        }
        if (status != 0) {
            damage_note(r, file->epoch, "recto/log");
        }
        ckpt_rows_free(&rows);
    }
}

/* ---- the whole ------------------------------------------------------------------------ */

static void epoch_verify(struct report *r, const struct ckpt_epoch *e)
{
    struct ckpt_file file;
    if (!e->has_file) {
        return;
    }
    if (ckpt_file_open(&file, &r->request->dir, e) != 0) {
        damage_note(r, e, "");
        return;
    }
    r->files++;
    if (ckpt_file_meta_check(&file) != 0) {
        damage_note(r, e, "");
    }
    if (ckpt_file_pieces_read(&file) != 0) {
        damage_note(r, e, "recto/pieces");
        base_error(RECTO_ECORRUPT,
                   "epoch %llu (%s): without its table of pieces its data "
                   "cannot be checked",
                   (unsigned long long)e->number, file.io.name);
        damage_note(r, e, "");
    } else if (e->full) {
        for (uint64_t i = 0; i < e->nobjects; i++) {
            object_verify(r, &file, &e->objects[i]);
        }
    } else {
        log_verify(r, &file);
    }
    ckpt_file_close(&file);
}

/* Epochs [first, last) of the manifest. */
static void epochs_verify(struct report *r, uint64_t first, uint64_t last)
{
    const struct ckpt_epoch *epochs = r->request->manifest->epochs;
    struct cli_progress progress;
    uint64_t bytes = 0;
    for (uint64_t i = first; i < last; i++) {
        bytes += epochs[i].length;
    }
    cli_progress_begin(&progress, "verifying", bytes);
    r->progress = &progress;
    for (uint64_t i = first; i < last; i++) {
        epoch_verify(r, &epochs[i]);
    }
    cli_progress_end(&progress);
    r->progress = NULL;
}

static void manifest_note(struct report *r, const struct ckpt_candidate *c)
{
    if (c->exists && c->status != 0) {
        base_error_set(c->message);
        damage_note(r, NULL, "");
    }
}

static void print_json(const struct report *r)
{
    (void)printf("{\"folder\": ");
    cli_json_string(stdout, r->request->dir.path);
    (void)printf(", \"good\": %s, \"files\": %llu, \"bytes\": %llu, "
                 "\"damage\": [",
                 r->count == 0 ? "true" : "false", (unsigned long long)r->files,
                 (unsigned long long)r->bytes);
    for (uint64_t i = 0; i < r->count; i++) {
        const struct damage *d = &r->list[i];
        (void)printf("%s\n  {", i > 0 ? "," : "");
        if (d->in_epoch) {
            (void)printf("\"epoch\": %llu, ", (unsigned long long)d->epoch);
        }
        (void)printf("\"object\": ");
        cli_json_string(stdout, d->object);
        if (d->pages) {
            (void)printf(", \"first_page\": %llu, \"pages\": %llu",
                         (unsigned long long)d->first,
                         (unsigned long long)d->count);
            if (d->rank != CKPT_NO_RANK) {
                (void)printf(", \"rank\": %llu", (unsigned long long)d->rank);
            }
        } else {
            (void)printf(", \"text\": ");
            cli_json_string(stdout, d->text);
        }
        (void)printf("}");
    }
    (void)printf("]}\n");
}

static void print_text(const struct report *r)
{
    for (uint64_t i = 0; i < r->count; i++) {
        const struct damage *d = &r->list[i];
        if (!d->pages) {
            (void)printf("damaged: %s\n", d->text);
            continue;
        }
        (void)printf("damaged: epoch %llu: \"%s\"",
                     (unsigned long long)d->epoch, d->object);
        if (d->rank != CKPT_NO_RANK) {
            (void)printf(" of rank %llu", (unsigned long long)d->rank);
        }
        if (d->count == 1) {
            (void)printf(", page %llu\n", (unsigned long long)d->first);
        } else {
            (void)printf(", pages %llu to %llu\n", (unsigned long long)d->first,
                         (unsigned long long)(d->first + d->count - 1));
        }
    }
    char size[32];
    (void)printf("%s: %llu files, %s of data checked, ", r->request->dir.path,
                 (unsigned long long)r->files, cli_size(r->bytes, size));
    if (r->count == 0) {
        (void)printf("all good\n");
    } else {
        (void)printf("%llu damaged places\n", (unsigned long long)r->count);
    }
}

enum cli_exit cli_verify(const struct cli_request *request)
{
    const struct ckpt_manifest *m = request->manifest;
    uint64_t first = 0;
    uint64_t last = m->nepochs;
    if (request->has_epoch) {
        if (!cli_epoch_index(request, &last)) {
            return CLI_NO_CHECKPOINT;
        }
        first = ckpt_chain_start(m, last);
        last++;
    }
    struct report *r = calloc(1, sizeof *r);
    if (r == NULL || ckpt_unpacking_open(&r->unpacking) != 0) {
        (void)fprintf(stderr, "recto: out of memory\n");
        free(r);
        return CLI_DAMAGED;
    }
    r->request = request;
    manifest_note(r, &request->folder.main);
    manifest_note(r, &request->folder.copy);
    epochs_verify(r, first, last);
    if (request->json) {
        print_json(r);
    } else {
        print_text(r);
    }
    enum cli_exit result = r->count == 0 ? CLI_GOOD : CLI_DAMAGED;
    ckpt_unpacking_close(&r->unpacking);
    free(r->list);
    free(r);
    return result;
}
