/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hostile manifests and epoch files: an input is the text of a manifest without its
 * last line, a zero byte, and the bytes of the files of its last epoch's chain, end to
 * end, each but the last as long as the manifest says. Checksums that
 * an attacker would put right are put right here. Whatever comes in, the readers say
 * no or stay inside of what they were given; a manifest that is taken would be printed
 * as the same bytes.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/base.h"
#include "ckpt/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ckpt_dir folder = {.fd = -1};

static void folder_remove(void)
{
    (void)rmdir(folder.path);
}

static void folder_open(void)
{
    char path[] = "folder-XXXXXX";
    if (mkdtemp(path) == NULL || ckpt_io_dir_open(&folder, path, false) != 0 ||
        atexit(folder_remove) != 0) {
        abort();
    }
}

/* The body with the line that vouches for it. */
static char *with_sum(const uint8_t *body, size_t bytes, size_t *all)
{
    char *text = malloc(bytes + 32);
    if (text == NULL) {
        abort();
    }
    memcpy(text, body, bytes);
    int n = snprintf(text + bytes, 32, "sum %016llx\n",
                     (unsigned long long)ckpt_hash(body, bytes));
    *all = bytes + (size_t)n;
    return text;
}

static struct ckpt_manifest *manifest_of(const uint8_t *body, size_t bytes)
{
    size_t all = 0;
    char *text = with_sum(body, bytes, &all);
    struct ckpt_manifest *m = NULL;
    char *again = NULL;
    size_t length = 0;
    if (ckpt_manifest_parse(text, all, &m) != 0) {
        m = NULL;
    } else if (ckpt_manifest_print(m, &again, &length) != 0 || length != all ||
               memcmp(text, again, all) != 0 || ckpt_manifest_check(m) != 0) {
        abort();
    }
    free(again);
    free(text);
    return m;
}

/* Reads a run's rows as if their hash were right, then the pages that they lead to. */
static void blocks_follow(const struct ckpt_file *file,
                          const struct ckpt_piece *run)
{
    static char page[CKPT_PAGE];
    struct ckpt_rows rows;
    struct ckpt_piece forged = *run;
    struct ckpt_unpacking unpacking;
    int status = ckpt_file_rows_read(file, run, &rows);
    if (status != 0 && rows.entries != NULL) {
        forged.hash = ckpt_run_hash(rows.entries, rows.blocks, run->sums);
        ckpt_rows_free(&rows);
        status = ckpt_file_rows_read(file, &forged, &rows);
    }
    if (status == 0 && rows.blocks != NULL &&
        ckpt_unpacking_open(&unpacking) == 0) {
        for (uint64_t i = 0; i < run->sums; i++) {
            (void)ckpt_file_block_page(file, &unpacking, &rows.blocks[i], page);
        }
        ckpt_unpacking_close(&unpacking);
    }
    ckpt_rows_free(&rows);
}

/* Reads the bytes of a piece of a full epoch, those of chunks above all. */
static void data_follow(const struct ckpt_file *file,
                        const struct ckpt_object *o, const struct ckpt_piece *p)
{
    static char page[CKPT_PAGE];
    struct ckpt_unpacking unpacking;
    if (ckpt_unpacking_open(&unpacking) != 0) {
        return;
    }
    for (uint64_t i = 0; i < p->sums; i++) {
        (void)ckpt_file_data_read(file, &unpacking, o,
                                  p->offset + i * CKPT_PAGE,
                                  ckpt_page_bytes(p->bytes, i), page);
    }
    ckpt_unpacking_close(&unpacking);
}

/* Reads what the table of pieces leads to. */
static void pieces_follow(const struct ckpt_file *file)
{
    const struct ckpt_epoch *e = file->epoch;
    for (uint64_t i = 0; i < e->pieces; i++) {
        const struct ckpt_piece *p = &file->pieces[i];
        const struct ckpt_object *o = ckpt_epoch_object(e, p->uid);
        if (ckpt_file_piece(file, p->uid, p->rank) != p) {
            abort();
        }
        if (p->uid == 0) {
            blocks_follow(file, p);
        } else if (e->full && o != NULL) {
            uint64_t *sums = malloc(p->sums * sizeof *sums + 1);
            (void)ckpt_file_sums_read(file, o, p, sums);
            free(sums);
            data_follow(file, o, p);
        }
    }
}

/* What the manifest would have to say of the file. */
static uint64_t meta_of(const struct ckpt_extent *extents, size_t count,
                        const uint8_t *bytes, size_t size)
{
    XXH3_state_t *state = XXH3_createState();
    size_t at = 0;
    (void)XXH3_64bits_reset(state);
    for (size_t i = 0; i < count; i++) {
        (void)XXH3_64bits_update(state, bytes + at, extents[i].offset - at);
        at = extents[i].offset + extents[i].bytes;
    }
    (void)XXH3_64bits_update(state, bytes + at, size - at);
    uint64_t sum = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return sum;
}

static int ignore(void *argument, uint64_t offset, const char *data,
                  size_t bytes)
{
    uint64_t *sum = argument;
    *sum += offset + ckpt_hash(data, bytes);
    return 0;
}

/* The last epoch of the manifest, through its chain. */
static void view_read(const struct ckpt_manifest *m)
{
    const struct ckpt_epoch *e = &m->epochs[m->nepochs - 1];
    struct ckpt_view view;
    uint64_t sum = 0;
    if (ckpt_view_open(&view, &folder, m, m->nepochs - 1) == 0) {
        for (uint64_t i = 0; i < e->nobjects; i++) {
            (void)ckpt_view_walk(&view, &e->objects[i], ignore, &sum);
        }
        ckpt_view_close(&view);
    }
}

/* The table of pieces vouches for the index as it is. */
static void runs_forge(const struct ckpt_epoch *e, uint8_t *bytes)
{
    for (uint64_t i = 0; i < e->pieces; i++) {
        struct ckpt_piece row;
        uint8_t *at = bytes + e->pieces_at + i * sizeof row;
        memcpy(&row, at, sizeof row);
        if (row.uid != 0 || row.first_sum > e->entries ||
            row.sums > e->entries - row.first_sum) {
            continue;
        }
        size_t n = (size_t)row.sums;
        struct ckpt_entry *entries = malloc(n * sizeof *entries + 1);
        struct ckpt_block *blocks = malloc(n * sizeof *blocks + 1);
        memcpy(entries, bytes + e->index_at + row.first_sum * sizeof *entries,
               n * sizeof *entries);
        if (e->packed) {
            memcpy(blocks,
                   bytes + e->blocks_at + row.first_sum * sizeof *blocks,
                   n * sizeof *blocks);
        }
        row.hash = ckpt_run_hash(entries, e->packed ? blocks : NULL, n);
        memcpy(at, &row, sizeof row);
        free(entries);
        free(blocks);
    }
}

/* Of an epoch that is good in itself. */
static int extents_find(const struct ckpt_epoch *e, const uint8_t *data,
                        struct ckpt_extent **extents, size_t *count)
{
    struct ckpt_chunk *chunks = NULL;
    if (e->full && e->packed) {
        size_t bytes = (size_t)e->entries * sizeof *chunks;
        chunks = malloc(bytes + 1);
        memcpy(chunks, data + e->blocks_at, bytes);
    }
    int status = ckpt_epoch_extents(e, chunks, extents, count);
    free(chunks);
    return status;
}

/* Writes the file of an epoch, and has the manifest vouch for it. */
static bool file_make(struct ckpt_epoch *e, const uint8_t *data, size_t size)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_extent *extents = NULL;
    size_t count = 0;
    e->length = size;
    ckpt_epoch_file(e, name);
    if (ckpt_epoch_check(e, UINT64_MAX) != 0 ||
        extents_find(e, data, &extents, &count) != 0) {
        return false;
    }
    uint8_t *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    runs_forge(e, bytes);
    e->meta = meta_of(extents, count, bytes, size);
    free(extents);
    int fd = openat(folder.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) {
        abort();
    }
    (void)close(fd);
    free(bytes);
    return true;
}

static void file_read(const struct ckpt_epoch *e)
{
    struct ckpt_file file;
    if (ckpt_file_open(&file, &folder, e) != 0) {
        abort();
    }
    (void)ckpt_file_meta_check(&file);
    if (ckpt_file_pieces_read(&file) == 0) {
        pieces_follow(&file);
    }
    ckpt_file_close(&file);
}

/* The files of the chain of the last epoch, out of what follows the manifest. */
static void chain_read(struct ckpt_manifest *m, const uint8_t *bytes,
                       size_t size)
{
    uint64_t first = m->nepochs - 1;
    bool all = true;
    while (first > 0 && !m->epochs[first].full) {
        first--;
    }
    for (uint64_t i = first; i < m->nepochs && all; i++) {
        struct ckpt_epoch *e = &m->epochs[i];
        bool part = i + 1 < m->nepochs && e->length < size;
        size_t take = part ? (size_t)e->length : size;
        all = !e->has_file || file_make(e, bytes, take);
        if (all && e->has_file) {
            file_read(e);
            bytes += take;
            size -= take;
        }
    }
    if (all) {
        view_read(m);
    }
    for (uint64_t i = first; i < m->nepochs; i++) {
        char name[CKPT_FILE_NAME_MAX + 1];
        ckpt_epoch_file(&m->epochs[i], name);
        (void)unlinkat(folder.fd, name, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t body = end != NULL ? (size_t)(end - data) : size;
    if (folder.fd < 0) {
        folder_open();
    }
    struct ckpt_manifest *m = manifest_of(data, body);
    if (m != NULL && end != NULL && m->nepochs > 0) {
        chain_read(m, end + 1, size - body - 1);
    }
    ckpt_manifest_free(m);
    return 0;
}
