/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages on their way into the blocks of a packed log. Blocks lie end to end from the
 * beginning of the rank's part of the log, which is as long as its pages: what they
 * leave of it is never written, so the file system stores nothing there. Nobody needs
 * to know a block's size before it is written, and ranks agree on nothing.
 *
 * Invariants
 * 1. Blocks never take more than their pages would: what does not shrink is raw.
 * 2. Nothing is allocated between open and close.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

int ckpt_blocks_open(struct ckpt_blocks *b, struct ckpt_job *job)
{
    memset(b, 0, sizeof *b);
    b->rows = job->blocks;
    b->base = job->epoch.pages_at;
    b->at = job->entries_before * CKPT_PAGE;
    int status = ckpt_sink_open(&b->out, &job->file, "data-write");
    return status == 0 ? ckpt_packer_open(&b->packer, ckpt_state.packing)
                       : status;
}

int ckpt_blocks_close(struct ckpt_blocks *b)
{
    ckpt_packer_close(&b->packer);
    return ckpt_sink_close(&b->out);
}

int ckpt_block_open(struct ckpt_block_pages *p, struct ckpt_blocks *blocks)
{
    memset(p, 0, sizeof *p);
    p->blocks = blocks;
    p->data = malloc(CKPT_BLOCK);
    return p->data != NULL ? 0 : base_error(RECTO_ENOMEM, "output buffer");
}

static void flush(struct ckpt_block_pages *p)
{
    struct ckpt_blocks *b = p->blocks;
    if (p->count == 0) {
        return;
    }
    struct ckpt_packed packed = ckpt_pack(
        &b->packer, p->data, (size_t)p->count * CKPT_PAGE, p->element);
    for (unsigned i = 0; i < p->count; i++) {
        b->rows[p->slots[i]] =
            (struct ckpt_block){.offset = b->at,
                                .bytes = (uint32_t)packed.bytes,
                                .codec = (uint8_t)packed.codec,
                                .element = (uint8_t)packed.element,
                                .pages = (uint8_t)p->count,
                                .page = (uint8_t)i};
    }
    ckpt_sink_put(&b->out, packed.data, packed.bytes, b->base + b->at);
    b->at += packed.bytes;
    p->count = 0;
}

char *ckpt_block_room(struct ckpt_block_pages *p, unsigned element)
{
    if (p->count == CKPT_BLOCK_PAGES || element != p->element) {
        flush(p);
    }
    p->element = element;
    return p->data + (size_t)p->count * CKPT_PAGE;
}

void ckpt_block_add(struct ckpt_block_pages *p, uint64_t slot)
{
    p->slots[p->count++] = slot;
}

void ckpt_block_close(struct ckpt_block_pages *p)
{
    if (p->data != NULL) {
        flush(p);
    }
    free(p->data);
    p->data = NULL;
}
