/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hostile packed blocks: an input is codec, bytes of an element, pages, then the block.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ckpt_unpacker unpacker;
    if (unpacker.shuffled == NULL && ckpt_unpacker_open(&unpacker) != 0) {
        abort();
    }
    if (size < 3) {
        return 0;
    }
    size_t bytes = (size_t)(data[2] % (CKPT_BLOCK_PAGES + 1)) * 4096;
    char *block = malloc(size - 3 + 1); /* as large as it is, for ASan to see */
    char *out = malloc(bytes + 1);
    memcpy(block, data + 3, size - 3);
    struct ckpt_packed packed = {(enum ckpt_codec)(data[0] % 4), data[1] % 10,
                                 size - 3, block};
    (void)ckpt_unpack(&unpacker, &packed, out, bytes);
    free(block);
    free(out);
    return 0;
}
