/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages on their way to the file: each is copied into a buffer, the buffer is
 * written when it is full or the file position jumps.
 *
 * Invariants
 * 1. Hashes are taken of the copy, so they are those of the bytes written even
 *    when a thread writes to the memory against the rules.
 * 2. The first failure sticks; the rest of the pages is then only copied, so
 *    that callers hash on and stay in step with the other ranks.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

enum {
    SINK_BYTES = 1 << 20
};

int ckpt_sink_open(struct ckpt_sink *sink, struct ckpt_io_file *file,
                   const char *label)
{
    memset(sink, 0, sizeof *sink);
    sink->file = file;
    sink->label = label;
    sink->buffer = malloc(SINK_BYTES);
    return sink->buffer != NULL ? 0 : base_error(RECTO_ENOMEM, "output buffer");
}

static void flush(struct ckpt_sink *sink)
{
    if (sink->fill > 0 && sink->status == 0) {
        sink->status = ckpt_io_write(sink->file, sink->buffer, sink->fill,
                                     sink->offset, sink->label);
        sink->written += sink->fill;
        ckpt_progress_add(sink->fill);
    }
    sink->fill = 0;
}

char *ckpt_sink_room(struct ckpt_sink *sink, uint64_t offset)
{
    if (sink->fill + CKPT_PAGE > SINK_BYTES ||
        offset != sink->offset + sink->fill) {
        flush(sink);
    }
    if (sink->fill == 0) {
        sink->offset = offset;
    }
    return sink->buffer + sink->fill;
}

void ckpt_sink_add(struct ckpt_sink *sink, size_t bytes)
{
    sink->fill += bytes;
}

void ckpt_sink_put(struct ckpt_sink *sink, const char *data, size_t bytes,
                   uint64_t offset)
{
    if (sink->fill + bytes > SINK_BYTES ||
        offset != sink->offset + sink->fill) {
        flush(sink);
    }
    if (sink->fill == 0) {
        sink->offset = offset;
    }
    memcpy(sink->buffer + sink->fill, data, bytes);
    sink->fill += bytes;
}

int ckpt_sink_close(struct ckpt_sink *sink)
{
    flush(sink);
    free(sink->buffer);
    sink->buffer = NULL;
    return sink->status;
}
