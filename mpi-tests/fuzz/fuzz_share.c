/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hostile piece files of epochs on nodes: an input is a byte that says by which name the
 * file goes, four bytes that say how long its end is, and the file but for its trailer.
 * Checksums that an attacker would put right are put right here. Whatever comes in, the
 * readers say no or stay inside of what they were given, and so do the functions that
 * choose what a restart takes.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "ckpt/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FRONT = 1 + sizeof(uint32_t), /* of an input */
    MOST = 64 /* pages of a writer that are asked for at once */
};

static struct ckpt_dir folder = {.fd = -1};
static const char *const names[] = {"l00000001-00000000-00000000.s0000",
                                    "l00000001-00000000-00000000.c0001",
                                    "l00000001-00000000-00000000.p0002"};

static void folder_remove(void)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unlinkat(folder.fd, names[i], 0);
    }
    (void)rmdir(folder.path);
}

static void folder_open(void)
{
    char path[] = "share-XXXXXX";
    if (mkdtemp(path) == NULL || ckpt_io_dir_open(&folder, path, false) != 0 ||
        atexit(folder_remove) != 0) {
        abort();
    }
}

/* With the sizes of this build, and the trailer that vouches for the end. */
static void file_write(const char *name, const uint8_t *data, size_t size,
                       size_t tail)
{
    struct ckpt_share_trailer t = {0x3165726168736365, size - tail, tail, 0};
    char *file = malloc(size + sizeof t);
    uint32_t sizes[] = {sizeof(struct ckpt_share_head),
                        sizeof(struct ckpt_object), sizeof(struct ckpt_piece)};
    int fd =
        openat(folder.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file == NULL || fd < 0) {
        abort();
    }
    memcpy(file, data, size);
    if (tail >= sizeof sizes && data[size - 1] % 16 != 0) {
        memcpy(file + t.at, sizes, sizeof sizes);
    }
    t.hash = ckpt_hash(file + t.at, tail);
    memcpy(file + size, &t, sizeof t);
    if (write(fd, file, size + sizeof t) != (ssize_t)(size + sizeof t)) {
        abort();
    }
    (void)close(fd);
    free(file);
}

/* Puts the hash of a writer's index right, and reads on. */
static void writer_follow(struct ckpt_share *s, unsigned writer)
{
    const struct ckpt_writer *w = &s->writers[writer];
    struct ckpt_piece *row =
        (struct ckpt_piece *)(uintptr_t)&s->rows[writer * s->head.rows];
    size_t bytes = (size_t)w->pages * sizeof(struct ckpt_entry);
    struct ckpt_entry *entries = malloc(bytes + 1);
    char *pages = malloc((size_t)MOST * CKPT_PAGE);
    (void)ckpt_share_entries(s, writer, entries);
    row->hash = ckpt_hash(entries, bytes);
    if (ckpt_share_entries(s, writer, entries) == 0) {
        uint64_t n = w->pages < MOST ? w->pages : MOST;
        (void)ckpt_share_pages(s, w->first, n, entries, pages);
    }
    free(pages);
    free(entries);
}

/* What a restart would choose if this were all there is. */
static void choose(const struct ckpt_share *s, enum ckpt_piece_kind kind)
{
    struct ckpt_holding items[2];
    struct ckpt_holdings all = {items, 2};
    size_t chain[2];
    size_t count = 0;
    long beyond = -1;
    ckpt_share_holding(s, kind, &items[0]);
    items[1] = items[0];
    items[1].kind = CKPT_PIECE_SHARE;
    items[1].index = (items[0].index + 1) % items[0].ring.nodes;
    (void)ckpt_holdings_lacks(&all, 0);
    if (ckpt_holdings_chain(&all, items[0].previous, chain, &count, &beyond) !=
            0 ||
        count > 2) {
        abort();
    }
}

static void follow(struct ckpt_share *s, enum ckpt_piece_kind kind)
{
    char buffer[256];
    (void)ckpt_share_verify(s);
    for (unsigned i = 0; s->writers != NULL && i < s->head.writers; i++) {
        writer_follow(s, i);
    }
    (void)ckpt_share_verify(s);
    (void)ckpt_share_read(s, s->head.segment, sizeof buffer, buffer);
    choose(s, kind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t tail = 0;
    struct ckpt_share share;
    if (folder.fd < 0) {
        folder_open();
    }
    if (size < FRONT + 1) {
        return 0;
    }
    memcpy(&tail, data + 1, sizeof tail);
    enum ckpt_piece_kind kind = data[0] % CKPT_PIECE_KINDS;
    size_t rest = size - FRONT;
    file_write(names[kind], data + FRONT, rest, tail < rest ? tail : rest);
    if (ckpt_share_open(&share, &folder, names[kind]) == 0) {
        follow(&share, kind);
        ckpt_share_close(&share);
    }
    return 0;
}
