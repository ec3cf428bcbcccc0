/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of pages through lz4 and zstd.
 *
 * The shuffle writes the first byte of all elements, then the second of all, and so
 * on. Smooth floating point numbers hardly shrink without it: their high bytes repeat,
 * their low ones do not, and a compressor that works on whole bytes sees neither run.
 *
 * Invariants
 * 1. A block says how it was packed; nothing else is needed to unpack it, and no
 *    setting of the reader counts.
 * 2. Neither packing nor unpacking allocates: contexts are made beforehand. A frame of
 *    one block of the present format is decoded within its context; a context that
 *    compresses, which zstd makes larger and smaller as blocks come, has its memory
 *    from slabs that are large enough for any.
 */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_customMem */
#include "pack.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/base.h"
#include "shuffle.h"

/* ---- settings --------------------------------------------------------------------- */

int ckpt_packing_read(const char *text, struct ckpt_packing *packing)
{
    static const char zstd[] = "zstd";
    char *end = NULL;
    *packing = (struct ckpt_packing){CKPT_RAW, 0};
    if (strcmp(text, "off") == 0) {
        return 0;
    }
    if (strcmp(text, "lz4") == 0) {
        packing->codec = CKPT_LZ4;
        return 0;
    }
    if (strncmp(text, zstd, sizeof zstd - 1) == 0) {
        const char *level = text + sizeof zstd - 1;
        packing->codec = CKPT_ZSTD;
        if (*level == '\0') {
            return 0;
        }
        errno = 0;
        long n = strtol(level + 1, &end, 10);
        packing->level = (int)n;
        if (*level == ':' && end != level + 1 && *end == '\0' && errno == 0 &&
            n >= ZSTD_minCLevel() && n <= ZSTD_maxCLevel() && n != 0) {
            return 0;
        }
    }
    return base_error(RECTO_EINVAL,
                      "%s=%s: give off, lz4, zstd or zstd:LEVEL (%d to %d)",
                      base_env_name(BASE_ENV_CKPT_COMPRESS), text,
                      ZSTD_minCLevel(), ZSTD_maxCLevel());
}

static bool shuffles(unsigned element, size_t bytes)
{
    return (element == 2 || element == 4 || element == 8) &&
           bytes % element == 0;
}

/* ---- packing ---------------------------------------------------------------------- */

static void *slab_take(void *packer, size_t bytes)
{
    struct ckpt_packer *p = packer;
    for (size_t i = 0; i < sizeof p->slabs / sizeof p->slabs[0]; i++) {
        struct ckpt_slab *s = &p->slabs[i];
        if (s->used) {
            continue;
        }
        if (s->bytes < bytes && !p->sealed) {
            free(s->memory);
            s->memory = malloc(bytes);
            s->bytes = s->memory != NULL ? bytes : 0;
        }
        s->used = s->bytes >= bytes;
        return s->used ? s->memory : NULL;
    }
    return NULL;
}

static void slab_give(void *packer, void *memory)
{
    struct ckpt_packer *p = packer;
    for (size_t i = 0; i < sizeof p->slabs / sizeof p->slabs[0]; i++) {
        p->slabs[i].used = p->slabs[i].used && p->slabs[i].memory != memory;
    }
}

/* A context that has seen blocks of all sizes has memory for all. */
static bool zstd_open(struct ckpt_packer *packer)
{
    ZSTD_customMem memory = {slab_take, slab_give, packer};
    packer->zstd = ZSTD_createCCtx_advanced(memory);
    bool good = packer->zstd != NULL;
    memset(packer->shuffled, 0, CKPT_BLOCK);
    for (size_t n = CKPT_BLOCK / CKPT_BLOCK_PAGES; n <= CKPT_BLOCK && good;
         n += CKPT_BLOCK / CKPT_BLOCK_PAGES) {
        good = ZSTD_isError(ZSTD_compressCCtx(packer->zstd, packer->packed,
                                              packer->room, packer->shuffled, n,
                                              packer->packing.level)) == 0;
    }
    packer->sealed = true;
    return good;
}

int ckpt_packer_open(struct ckpt_packer *packer, struct ckpt_packing packing)
{
    size_t zstd = ZSTD_compressBound(CKPT_BLOCK);
    size_t lz4 = (size_t)LZ4_compressBound(CKPT_BLOCK);
    bool good = true;
    *packer = (struct ckpt_packer){.packing = packing,
                                   .room = zstd > lz4 ? zstd : lz4};
    if (packing.codec == CKPT_RAW) {
        return 0;
    }
    packer->shuffled = malloc(CKPT_BLOCK);
    packer->packed = malloc(packer->room);
    good = packer->shuffled != NULL && packer->packed != NULL;
    if (good && packing.codec == CKPT_ZSTD) {
        good = zstd_open(packer);
    } else if (good) {
        packer->lz4 = malloc((size_t)LZ4_sizeofState());
        good = packer->lz4 != NULL;
    }
    if (good) {
        return 0;
    }
    ckpt_packer_close(packer);
    return base_error(RECTO_ENOMEM, "compression of a checkpoint");
}

void ckpt_packer_close(struct ckpt_packer *packer)
{
    (void)ZSTD_freeCCtx(packer->zstd);
    free(packer->slabs[0].memory);
    free(packer->slabs[1].memory);
    free(packer->lz4);
    free(packer->shuffled);
    free(packer->packed);
    *packer = (struct ckpt_packer){
        .packing = {CKPT_RAW, 0}
    };
}

/* Bytes in packer->packed, or 0: it cannot be done. */
static size_t compress(struct ckpt_packer *packer, const char *data,
                       size_t bytes)
{
    if (packer->packing.codec == CKPT_LZ4) {
        int n = LZ4_compress_fast_extState(packer->lz4, data, packer->packed,
                                           (int)bytes, (int)packer->room, 1);
        return n > 0 ? (size_t)n : 0;
    }
    size_t n = ZSTD_compressCCtx(packer->zstd, packer->packed, packer->room,
                                 data, bytes, packer->packing.level);
    return ZSTD_isError(n) != 0 ? 0 : n;
}

struct ckpt_packed ckpt_pack(struct ckpt_packer *packer, const char *data,
                             size_t bytes, unsigned element)
{
    struct ckpt_packed raw = {CKPT_RAW, 1, bytes, data};
    if (packer->packing.codec == CKPT_RAW || bytes > CKPT_BLOCK) {
        return raw;
    }
    const char *in = data;
    element = shuffles(element, bytes) ? element : 1;
    if (element > 1) {
        ckpt_shuffle(data, packer->shuffled, bytes, element);
        in = packer->shuffled;
    }
    size_t n = compress(packer, in, bytes);
    if (n == 0 || n > bytes - bytes / 16) {
        return raw;
    }
    return (struct ckpt_packed){packer->packing.codec, element, n,
                                packer->packed};
}

/* ---- unpacking -------------------------------------------------------------------- */

int ckpt_unpacker_open(struct ckpt_unpacker *unpacker)
{
    unpacker->zstd = ZSTD_createDCtx();
    unpacker->shuffled = malloc(CKPT_BLOCK);
    if (unpacker->zstd != NULL && unpacker->shuffled != NULL) {
        return 0;
    }
    ckpt_unpacker_close(unpacker);
    return base_error(RECTO_ENOMEM, "decompression of a checkpoint");
}

void ckpt_unpacker_close(struct ckpt_unpacker *unpacker)
{
    (void)ZSTD_freeDCtx(unpacker->zstd);
    free(unpacker->shuffled);
    *unpacker = (struct ckpt_unpacker){.zstd = NULL};
}

static bool decompress(const struct ckpt_unpacker *unpacker,
                       const struct ckpt_packed *packed, char *out,
                       size_t bytes)
{
    if (packed->codec == CKPT_LZ4) {
        return packed->bytes <= (size_t)LZ4_MAX_INPUT_SIZE &&
               LZ4_decompress_safe(packed->data, out, (int)packed->bytes,
                                   (int)bytes) == (int)bytes;
    }
    return packed->codec == CKPT_ZSTD &&
           ZSTD_decompressDCtx(unpacker->zstd, out, bytes, packed->data,
                               packed->bytes) == bytes;
}

bool ckpt_unpack(const struct ckpt_unpacker *unpacker,
                 const struct ckpt_packed *packed, char *out, size_t bytes)
{
    if (bytes > CKPT_BLOCK) {
        return false;
    }
    if (packed->codec == CKPT_RAW) {
        if (packed->bytes == bytes && packed->element == 1) {
            memcpy(out, packed->data, bytes);
        }
        return packed->bytes == bytes && packed->element == 1;
    }
    if (packed->element == 1) {
        return decompress(unpacker, packed, out, bytes);
    }
    if (!shuffles(packed->element, bytes) ||
        !decompress(unpacker, packed, unpacker->shuffled, bytes)) {
        return false;
    }
    ckpt_unshuffle(unpacker->shuffled, out, bytes, packed->element);
    return true;
}
