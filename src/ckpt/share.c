/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Piece files: see share.h.
 *
 * Invariants
 * 1. All bytes are vouched for: the end by the trailer, index and segments by hashes in
 *    the end, pages by the index.
 * 2. Nothing in a file is believed before the trailer's hash was compared, and no size
 *    in it before it was compared with the file's. What can be had of a file that opens
 *    may be used as what a manifest says: nothing in it leads out of an array.
 */
#include "share.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base.h"

enum {
    READ_PAGES = 256
};
static const uint64_t magic_of_ends = 0x3165726168736365; /* "ecshare1" */
static const char kinds[CKPT_PIECE_KINDS + 1] = "scp";

/* ---- names ------------------------------------------------------------------------- */

void ckpt_share_name(const char *run, uint64_t number, const char *uuid,
                     enum ckpt_piece_kind kind, unsigned node, char *name)
{
    (void)snprintf(name, CKPT_FILE_NAME_MAX + 1, "l%08llu-%.8s-%.8s.%c%04u",
                   (unsigned long long)number, uuid, run, kinds[kind], node);
}

void ckpt_share_temporary(const char *name, char *temporary)
{
    (void)snprintf(temporary, CKPT_FILE_NAME_MAX + 1, CKPT_TEMPORARY "%.50s",
                   name);
}

bool ckpt_share_named(const char *name, const char *run,
                      enum ckpt_piece_kind *kind)
{
    *kind = CKPT_PIECE_KINDS;
    size_t n = strlen(CKPT_TEMPORARY);
    bool temporary = strncmp(name, CKPT_TEMPORARY, n) == 0;
    name += temporary ? n : 0;
    const char *dot = strchr(name, '.');
    const char *which = dot != NULL ? strchr(kinds, dot[1]) : NULL;
    if (name[0] != 'l' || which == NULL || dot - name < 9 ||
        strncmp(dot - 8, run, 8) != 0 || dot[1] == '\0') {
        return false;
    }
    if (!temporary) {
        *kind = (enum ckpt_piece_kind)(which - kinds);
    }
    return true;
}

/* ---- writing the end ------------------------------------------------------------------ */

/* Of one row of each list of an epoch, or of all its rows. */
static uint64_t lists_bytes(const struct ckpt_epoch *epoch, bool all)
{
    struct ckpt_epoch e = *epoch;
    struct ckpt_list lists[CKPT_LISTS];
    uint64_t bytes = 0;
    ckpt_epoch_lists(&e, lists);
    for (int i = 0; i < CKPT_LISTS; i++) {
        bytes += (all ? *lists[i].count : 1) * lists[i].size;
    }
    return bytes;
}

int ckpt_share_end(struct ckpt_io_file *file, uint64_t at,
                   struct ckpt_share_head *head, const void *more, size_t bytes,
                   const char *label)
{
    struct ckpt_epoch epoch = head->epoch;
    struct ckpt_list lists[CKPT_LISTS];
    ckpt_epoch_bare(&head->epoch, &epoch);
    ckpt_epoch_lists(&epoch, lists);
    head->bytes = sizeof *head;
    head->list_bytes = (uint32_t)lists_bytes(&epoch, false);
    head->row_bytes = sizeof(struct ckpt_piece);
    size_t size = sizeof *head + (size_t)lists_bytes(&epoch, true) + bytes;
    struct ckpt_share_trailer trailer = {magic_of_ends, at, size, 0};
    char *all = malloc(size + sizeof trailer);
    if (all == NULL) {
        return base_error(RECTO_ENOMEM, "end of %s", file->name);
    }
    char *to = all;
    memcpy(to, head, sizeof *head);
    to += sizeof *head;
    for (int i = 0; i < CKPT_LISTS; i++) {
        size_t list = (size_t)*lists[i].count * lists[i].size;
        if (list > 0) {
            memcpy(to, *lists[i].rows, list);
        }
        to += list;
    }
    memcpy(to, more, bytes);
    trailer.hash = ckpt_hash(all, size);
    memcpy(all + size, &trailer, sizeof trailer);
    int status = ckpt_io_write(file, all, size + sizeof trailer, at, label);
    free(all);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

static int corrupt(const struct ckpt_share *s, const char *what)
{
    return base_error(RECTO_ECORRUPT, "%s/%s: %s", s->io.dir->path, s->io.name,
                      what);
}

/* Are the flags of the epoch what a bool may be? */
static bool flags_good(const char *head)
{
    const char *e = head + offsetof(struct ckpt_share_head, epoch);
    return (unsigned char)e[offsetof(struct ckpt_epoch, full)] <= 1 &&
           (unsigned char)e[offsetof(struct ckpt_epoch, has_file)] <= 1 &&
           (unsigned char)e[offsetof(struct ckpt_epoch, packed)] <= 1;
}

static int end_read(struct ckpt_share *s)
{
    struct ckpt_share_trailer t;
    int status = ckpt_io_length(&s->io, &s->length);
    if (status == 0 && s->length < sizeof t + sizeof s->head) {
        status = corrupt(s, "it is too short");
    }
    if (status == 0) {
        status = ckpt_io_read(&s->io, &t, sizeof t, s->length - sizeof t);
    }
    if (status != 0) {
        return status;
    }
    if (t.magic != magic_of_ends || t.bytes < sizeof s->head ||
        t.bytes > s->length - sizeof t ||
        t.at != s->length - sizeof t - t.bytes) {
        return corrupt(s, "it has no end");
    }
    s->tail = malloc((size_t)t.bytes);
    if (s->tail == NULL) {
        return base_error(RECTO_ENOMEM, "end of %s", s->io.name);
    }
    status = ckpt_io_read(&s->io, s->tail, (size_t)t.bytes, t.at);
    if (status == 0 && ckpt_hash(s->tail, (size_t)t.bytes) != t.hash) {
        status = corrupt(s, "its end is damaged");
    }
    s->length -= sizeof t + t.bytes; /* of what stands before the end */
    if (status == 0 && !flags_good(s->tail)) {
        status = corrupt(s, "its end contradicts itself");
    }
    if (status == 0) {
        memcpy(&s->head, s->tail, sizeof s->head);
        s->head.epoch.uuid[CKPT_UUID] = '\0';
        s->head.previous[CKPT_UUID] = '\0';
        s->head.run[CKPT_UUID] = '\0';
    }
    return status;
}

/* Are nodes, set and kind such as can be written? */
static bool ring_fits(const struct ckpt_share_head *h)
{
    if (h->ring.nodes < 1 || h->ring.nodes > CKPT_NODES_MAX ||
        h->ring.data < 1 || h->ring.data > CKPT_SET_DATA ||
        h->ring.parity < 1 || h->ring.parity > CKPT_SET_PARITY ||
        h->index >= h->ring.nodes) {
        return false;
    }
    struct ckpt_set set = ckpt_ring_set(&h->ring, h->index);
    return h->kind == CKPT_PIECE_SHARE ||
           (h->kind == CKPT_PIECE_PARITY && set.m > 0 &&
            h->members == set.k + set.m && h->segments == set.m);
}

/* The end, of `tail` bytes, holds what the head says, and the rest of the file has its
 * length. */
static bool fits(const struct ckpt_share *s, uint64_t tail)
{
    const struct ckpt_share_head *h = &s->head;
    uint64_t need = sizeof *h;
    uint64_t page = CKPT_PAGE + sizeof(struct ckpt_entry);
    if (!ring_fits(h) || h->epoch.ranks < 1 ||
        h->epoch.nobjects > tail / sizeof(struct ckpt_object) ||
        h->epoch.nstructs > tail / sizeof(struct ckpt_struct) ||
        h->epoch.nmembers > tail / sizeof(struct base_member) ||
        h->epoch.nattributes > tail / sizeof(struct ckpt_attribute) ||
        h->writers > tail / sizeof(struct ckpt_writer) ||
        (h->writers > 0 &&
         h->rows > tail / sizeof(struct ckpt_piece) / h->writers)) {
        return false;
    }
    need += lists_bytes(&h->epoch, true);
    if (h->kind == CKPT_PIECE_SHARE) {
        need += h->writers * (sizeof(struct ckpt_writer) +
                              h->rows * sizeof(struct ckpt_piece));
        return need == tail && h->rows > 0 && s->length % page == 0 &&
               h->pages == s->length / page;
    }
    need += (h->members + (uint64_t)h->segments) * sizeof(uint64_t);
    return need == tail && s->length % h->segments == 0 &&
           h->segment == s->length / h->segments;
}

/* The epoch's lists, which begin there; behind them. */
static const char *lists_take(struct ckpt_epoch *e, char *at)
{
    struct ckpt_list lists[CKPT_LISTS];
    ckpt_epoch_lists(e, lists);
    for (int i = 0; i < CKPT_LISTS; i++) {
        *lists[i].rows = at;
        at += *lists[i].count * lists[i].size;
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        e->objects[i].name[RECTO_NAME_MAX] = '\0';
    }
    for (uint64_t i = 0; i < e->nstructs; i++) {
        e->structs[i].name[RECTO_LABEL_MAX] = '\0';
    }
    for (uint64_t i = 0; i < e->nmembers; i++) {
        e->members[i].name[RECTO_LABEL_MAX] = '\0';
    }
    for (uint64_t i = 0; i < e->nattributes; i++) {
        e->attributes[i].name[RECTO_LABEL_MAX] = '\0';
        if (e->attributes[i].count == 0) {
            e->attributes[i].text[RECTO_ATTRIBUTE_TEXT_MAX] = '\0';
        }
    }
    return at;
}

/* May the epoch be used as one of a manifest? */
static bool epoch_good(const struct ckpt_epoch *e)
{
    for (uint64_t i = 0; i < e->nstructs; i++) {
        const struct ckpt_struct *s = &e->structs[i];
        if (s->first > e->nmembers || s->count > e->nmembers - s->first) {
            return false;
        }
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        const struct ckpt_object *o = &e->objects[i];
        uint32_t kind;
        memcpy(&kind, &o->kind, sizeof kind);
        if (kind > CKPT_PRIVATE || o->ndims < 1 || o->ndims > RECTO_DIMS_MAX ||
            (ckpt_type_name(o->type) == NULL &&
             ckpt_struct_of(e, o->type) == NULL)) {
            return false;
        }
    }
    return !e->full && ckpt_epoch_check(e, UINT64_MAX) == 0;
}

/* Are the writers' pages in the file? */
static bool writers_good(const struct ckpt_share *s)
{
    const struct ckpt_share_head *h = &s->head;
    for (uint64_t i = 0; i < h->writers; i++) {
        const struct ckpt_writer *w = &s->writers[i];
        if (w->first > h->pages || w->pages > h->pages - w->first ||
            s->rows[i * h->rows].sums != w->pages) {
            return false;
        }
    }
    return true;
}

static int end_take(struct ckpt_share *s, uint64_t tail)
{
    const struct ckpt_share_head *h = &s->head;
    if (h->bytes != sizeof *h ||
        h->list_bytes != lists_bytes(&h->epoch, false) ||
        h->row_bytes != sizeof(struct ckpt_piece)) {
        return base_error(
            RECTO_EVERSION,
            "%s/%s was written by another version of Recto; read it by that "
            "one",
            s->io.dir->path, s->io.name);
    }
    if (!fits(s, tail)) {
        return corrupt(s, "its end contradicts itself");
    }
    const char *at = lists_take(&s->head.epoch, s->tail + sizeof *h);
    if (!epoch_good(&s->head.epoch)) {
        return corrupt(s, "its epoch contradicts itself");
    }
    if (h->kind == CKPT_PIECE_SHARE) {
        s->writers = (const void *)at;
        s->rows = (const void *)(s->writers + h->writers);
        if (!writers_good(s)) {
            return corrupt(s, "its writers contradict it");
        }
    } else {
        s->lengths = (const void *)at;
        s->hashes = s->lengths + h->members;
    }
    return 0;
}

int ckpt_share_open(struct ckpt_share *share, const struct ckpt_dir *dir,
                    const char *name)
{
    memset(share, 0, sizeof *share);
    share->io.fd = -1;
    int status = ckpt_io_open(&share->io, dir, name, O_RDONLY, "read");
    uint64_t whole = 0;
    if (status == RECTO_ENOENT) {
        return base_error(RECTO_EIO,
                          "%s/%s is gone; nobody may clean it while a job runs",
                          dir->path, name);
    }
    if (status == 0) {
        status = end_read(share);
    }
    if (status == 0) {
        status = ckpt_io_length(&share->io, &whole);
    }
    if (status == 0 && (share->head.kind == CKPT_PIECE_PARITY) !=
                           (strstr(name, ".p") != NULL)) {
        status = corrupt(share, "it is not what its name says");
    }
    if (status == 0) {
        status = end_take(share, whole - share->length -
                                     sizeof(struct ckpt_share_trailer));
        share->length = whole;
    }
    if (status != 0) {
        ckpt_share_close(share);
    }
    return status;
}

int ckpt_share_read(const struct ckpt_share *s, uint64_t at, size_t bytes,
                    char *to)
{
    uint64_t left = at < s->length ? s->length - at : 0;
    size_t there = left < bytes ? (size_t)left : bytes;
    memset(to + there, 0, bytes - there);
    return ckpt_io_read(&s->io, to, there, at);
}

void ckpt_share_close(struct ckpt_share *share)
{
    ckpt_io_close(&share->io);
    free(share->tail);
    share->tail = NULL;
}

void ckpt_share_holding(const struct ckpt_share *share,
                        enum ckpt_piece_kind kind, struct ckpt_holding *h)
{
    const struct ckpt_share_head *head = &share->head;
    memset(h, 0, sizeof *h);
    memcpy(h->uuid, head->epoch.uuid, sizeof h->uuid);
    memcpy(h->previous, head->previous, sizeof h->previous);
    h->number = head->epoch.number;
    h->stamp = head->stamp;
    h->ring = head->ring;
    h->kind = (uint32_t)kind;
    h->index = head->index;
    h->segment = head->segment;
    if (kind == CKPT_PIECE_PARITY) {
        memcpy(h->lengths, share->lengths, head->members * sizeof *h->lengths);
    }
}

int ckpt_share_entries(const struct ckpt_share *share, unsigned writer,
                       struct ckpt_entry *entries)
{
    const struct ckpt_writer *w = &share->writers[writer];
    const struct ckpt_piece *run = &share->rows[writer * share->head.rows];
    size_t bytes = (size_t)w->pages * sizeof *entries;
    int status = ckpt_io_read(&share->io, entries, bytes,
                              share->head.pages * CKPT_PAGE +
                                  w->first * sizeof *entries);
    if (status == 0 && ckpt_hash(entries, bytes) != run->hash) {
        status = corrupt(share, "its index is damaged");
    }
    return status;
}

int ckpt_share_pages(const struct ckpt_share *share, uint64_t first,
                     uint64_t count, const struct ckpt_entry *entries, char *to)
{
    int status = ckpt_io_read(&share->io, to, (size_t)count * CKPT_PAGE,
                              first * CKPT_PAGE);
    for (uint64_t i = 0; i < count && status == 0; i++) {
        if (ckpt_hash(to + i * CKPT_PAGE, CKPT_PAGE) != entries[i].sum) {
            status = corrupt(share, "a page is damaged");
        }
    }
    return status;
}

static int writer_verify(const struct ckpt_share *share, unsigned writer,
                         char *buffer)
{
    const struct ckpt_writer *w = &share->writers[writer];
    struct ckpt_entry *entries = malloc(w->pages * sizeof *entries + 1);
    if (entries == NULL) {
        return base_error(RECTO_ENOMEM, "index of %s", share->io.name);
    }
    int status = ckpt_share_entries(share, writer, entries);
    for (uint64_t at = 0; at < w->pages && status == 0; at += READ_PAGES) {
        uint64_t n = w->pages - at < READ_PAGES ? w->pages - at : READ_PAGES;
        status =
            ckpt_share_pages(share, w->first + at, n, entries + at, buffer);
    }
    free(entries);
    return status;
}

static int segment_verify(const struct ckpt_share *share, unsigned segment,
                          char *buffer)
{
    uint64_t size = share->head.segment;
    uint64_t most = (uint64_t)READ_PAGES * CKPT_PAGE;
    int status = 0;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) {
        return base_error(RECTO_ENOMEM, "hash of %s", share->io.name);
    }
    (void)XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < size && status == 0; at += most) {
        size_t n = (size_t)(size - at < most ? size - at : most);
        status = ckpt_io_read(&share->io, buffer, n, segment * size + at);
        (void)XXH3_64bits_update(state, buffer, n);
    }
    if (status == 0 && XXH3_64bits_digest(state) != share->hashes[segment]) {
        status = corrupt(share, "a segment is damaged");
    }
    (void)XXH3_freeState(state);
    return status;
}

int ckpt_share_verify(const struct ckpt_share *share)
{
    char *buffer = malloc((size_t)READ_PAGES * CKPT_PAGE);
    int status = buffer != NULL ? 0
                                : base_error(RECTO_ENOMEM, "buffer for %s",
                                             share->io.name);
    bool parity = share->head.kind == CKPT_PIECE_PARITY;
    unsigned parts = parity ? share->head.segments : share->head.writers;
    for (unsigned i = 0; i < parts && status == 0; i++) {
        status = parity ? segment_verify(share, i, buffer)
                        : writer_verify(share, i, buffer);
    }
    free(buffer);
    return status;
}
