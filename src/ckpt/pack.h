/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pack: pages compressed in blocks, by lz4 or zstd, numbers with their bytes sorted
 * by significance first (a *shuffle*: what is alike in them then lies together).
 * Knows no files. Local; one thread at a time uses a packer or an unpacker.
 */
#ifndef RECTO_SRC_CKPT_PACK_H
#define RECTO_SRC_CKPT_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CKPT_BLOCK_PAGES = 16,
    CKPT_BLOCK =
        CKPT_BLOCK_PAGES * 4096 /* bytes that are packed at a time, at most */
};

/* Values are on disk. */
enum ckpt_codec {
    CKPT_RAW = 0,
    CKPT_LZ4 = 1,
    CKPT_ZSTD = 2
};

struct ckpt_packing {
    enum ckpt_codec codec;
    int level; /* of zstd; 0: its default */
};

/* Reads "off", "lz4", "zstd" or "zstd:LEVEL". RECTO_EINVAL. */
int ckpt_packing_read(const char *text, struct ckpt_packing *packing);

/* ---- packing ---------------------------------------------------------------------- */

struct ckpt_packer {
    struct ckpt_packing packing;
    void *zstd;
    void *lz4;
    char *shuffled;
    char *packed;
    size_t room;
    /* The memory of zstd: once `sealed` it makes do with what it has. */
    struct ckpt_slab {
        void *memory;
        size_t bytes;
        bool used;
    } slabs[2];
    bool sealed;
};

/* Takes all the memory that packing needs; the packer stays where it is. RECTO_ENOMEM. */
int ckpt_packer_open(struct ckpt_packer *packer, struct ckpt_packing packing);
void ckpt_packer_close(struct ckpt_packer *packer);

/* A packed block; `data` is valid until the packer is used again. */
struct ckpt_packed {
    enum ckpt_codec codec;
    unsigned element; /* bytes of what was shuffled; 1: nothing was */
    size_t bytes;
    const char *data;
};

/*
 * Packs `bytes` (up to CKPT_BLOCK) of elements of `element` bytes (1, 2, 4, 8). What
 * does not become smaller by a sixteenth comes back raw, `data` being what came in.
 */
struct ckpt_packed ckpt_pack(struct ckpt_packer *packer, const char *data,
                             size_t bytes, unsigned element);

/* ---- unpacking -------------------------------------------------------------------- */

struct ckpt_unpacker {
    void *zstd;
    char *shuffled;
};

/* Takes all the memory that unpacking needs. RECTO_ENOMEM. */
int ckpt_unpacker_open(struct ckpt_unpacker *unpacker);
void ckpt_unpacker_close(struct ckpt_unpacker *unpacker);

/*
 * Unpacks a block into the `bytes` that it had. false for anything else than what
 * ckpt_pack makes: whatever comes in, nothing outside `out` is written.
 * Async-signal-safe.
 */
bool ckpt_unpack(const struct ckpt_unpacker *unpacker,
                 const struct ckpt_packed *packed, char *out, size_t bytes);

#endif
