/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pages that a rank writes into an epoch, and their way into the file, whether the
 * program stands still or goes on.
 *
 * Invariants
 * 1. Every page of `mine` is written once: by the loop over it, or, when the program
 *    was about to overwrite it, from the ring (space/snapshot.h).
 * 2. While the program goes on nothing here allocates memory, calls MPI or waits for a
 *    thread of the program but for one that copies a page: who waits for a place in
 *    the ring may hold malloc's lock, or be inside MPI.
 * 3. What is written is hashed as it is written, from the copy in the sink, before it
 *    is packed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "space/snapshot.h"
#include "state.h"

enum {
    LOOK_PAGES = 16 /* between two looks at the ring */
};

/* ---- parts -------------------------------------------------------------------------- */

/* The part's pages of a run; false: none. */
static bool run_cut(const struct ckpt_part *part, uint64_t first,
                    uint64_t *count)
{
    uint64_t most = first < part->pages ? part->pages - first : 0;
    *count = *count < most ? *count : most;
    return most > 0;
}

int ckpt_runs_add(void *runs, uint64_t first, uint64_t count)
{
    return base_runs_add(runs, first, first + count)
               ? 0
               : base_error(RECTO_ENOMEM, "list of pages written");
}

int ckpt_part_add(struct ckpt_part *part, uint64_t first, uint64_t count)
{
    return run_cut(part, first, &count)
               ? ckpt_runs_add(&part->mine, first, count)
               : 0;
}

int ckpt_part_count(struct ckpt_part *part)
{
    part->before = calloc(part->mine.count + 1, sizeof *part->before);
    if (part->before == NULL) {
        return base_error(RECTO_ENOMEM, "list of pages written");
    }
    for (uint64_t i = 0; i < part->mine.count; i++) {
        part->before[i] = part->written;
        part->written += part->mine.items[i].end - part->mine.items[i].first;
    }
    return 0;
}

/* The place of a page among those that I write; false: it is none of them. */
static bool part_index(const struct ckpt_part *part, uint64_t page,
                       uint64_t *index)
{
    const struct base_run *run = base_runs_from(&part->mine, page);
    if (run == NULL || run->first > page) {
        return false;
    }
    *index = part->before[run - part->mine.items] + page - run->first;
    return true;
}

bool ckpt_home_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count)
{
    return from < part->pages &&
           space_home_run(part->segment, net_rank(), from, first, count) &&
           run_cut(part, *first, count);
}

bool ckpt_part_hole(struct ckpt_part *part, uint64_t page, uint64_t end,
                    uint64_t *stop)
{
    struct space_segment *s = part->segment;
    if (s == NULL) {
        *stop = end;
        return false;
    }
    if (page < part->hole || page >= part->data_end) {
        part->hole = page;
        if (!space_data_run(s, page, &part->hole_end, &part->data_end)) {
            part->hole_end = part->data_end = s->pages;
        }
    }
    bool hole = page < part->hole_end;
    uint64_t alike = hole ? part->hole_end : part->data_end;
    *stop = alike < end ? alike : end;
    return hole;
}

/* ckpt_part_hole of a page that I write into a differential epoch, at the moment of the
 * collection. */
static bool part_empty(const struct ckpt_part *part, uint64_t page,
                       uint64_t end, uint64_t *stop)
{
    *stop = end;
    if (part->segment == NULL || !part->all) {
        return false;
    }
    const struct base_run *run = base_runs_from(&part->data, page);
    bool empty = run == NULL || run->first > page;
    uint64_t alike = run == NULL ? end : empty ? run->first : run->end;
    *stop = alike < end ? alike : end;
    return empty;
}

const char *ckpt_part_page(const struct ckpt_part *part, uint64_t page,
                           size_t *bytes)
{
    *bytes = ckpt_page_bytes(part->bytes, page);
    if (part->segment != NULL) {
        return space_verso(part->segment, page);
    }
    if (part->staging != NULL) {
        return part->staging + (page - part->first) * CKPT_PAGE;
    }
    uint64_t index = 0;
    if (part->copy != NULL && part_index(part, page, &index)) {
        return part->copy + index * CKPT_PAGE;
    }
    return (const char *)part->region->p + page * CKPT_PAGE;
}

/* ---- into the file --------------------------------------------------------------------- */

/* One way into the file: through a sink, or in a packed log into blocks. */
struct stream {
    struct ckpt_sink sink;
    struct ckpt_block_pages block;
};

struct writer {
    struct ckpt_job *job;
    const struct ckpt_format *format;
    bool packed;
    struct ckpt_blocks blocks;
    struct stream sink; /* pages in their order */
    struct stream ring; /* pages that could not wait */
    uint64_t taken;
};

static char *page_room(const struct writer *w, struct stream *to,
                       const struct ckpt_part *part, uint64_t page,
                       uint64_t index)
{
    return w->packed
               ? ckpt_block_room(&to->block,
                                 (unsigned)recto_type_size(part->object->type))
               : ckpt_sink_room(&to->sink,
                                w->format->place(w->job, part, page, index));
}

/* The bytes of a page have come into the stream's room. */
static void page_here(struct writer *w, struct stream *to,
                      struct ckpt_part *part, uint64_t page, uint64_t index,
                      char *copy)
{
    size_t bytes = ckpt_page_bytes(part->bytes, page);
    size_t room = w->format->whole ? (size_t)CKPT_PAGE : bytes;
    memset(copy + bytes, 0, CKPT_PAGE - bytes);
    if (w->packed) {
        ckpt_block_add(&to->block, part->entries_before + index);
    } else {
        ckpt_sink_add(&to->sink, room);
    }
    w->format->note(w->job, part, page, index, copy, bytes);
}

static struct ckpt_part *part_of(const struct ckpt_job *job, uint32_t segment)
{
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        if (job->parts[i].segment != NULL &&
            job->parts[i].segment->id == segment) {
            return &job->parts[i];
        }
    }
    return NULL;
}

/* Empties the ring. A place is free as soon as its page is in the sink. */
static void ring_empty(struct writer *w)
{
    uint32_t segment = 0;
    uint64_t page = 0;
    const char *data = NULL;
    while (space_snapshot_pop(&segment, &page, &data)) {
        struct ckpt_part *part = part_of(w->job, segment);
        uint64_t index = 0;
        if (part != NULL && part_index(part, page, &index)) {
            char *to = page_room(w, &w->ring, part, page, index);
            memcpy(to, data, CKPT_PAGE);
            page_here(w, &w->ring, part, page, index, to);
        }
        space_snapshot_free();
    }
}

static void page_write(struct writer *w, struct ckpt_part *part, uint64_t page,
                       uint64_t index)
{
    if (w->job->concurrent && w->taken++ % LOOK_PAGES == 0 &&
        space_snapshot_presses()) {
        ring_empty(w);
    }
    char *to = page_room(w, &w->sink, part, page, index);
    if (w->job->concurrent && part->segment != NULL) {
        if (!space_snapshot_take(part->segment, page, to)) {
            return;
        }
    } else {
        size_t bytes = 0;
        const char *data = ckpt_part_page(part, page, &bytes);
        memcpy(to, data, bytes);
    }
    page_here(w, &w->sink, part, page, index, to);
}

static void part_write(struct writer *w, struct ckpt_part *part)
{
    for (uint64_t i = 0; i < part->mine.count; i++) {
        const struct base_run *run = &part->mine.items[i];
        uint64_t stop = run->end;
        for (uint64_t page = run->first; page < run->end; page = stop) {
            uint64_t index = part->before[i] + page - run->first;
            if (w->format->empty != NULL &&
                part_empty(part, page, run->end, &stop)) {
                w->format->empty(w->job, part, page, index, stop - page);
                continue;
            }
            for (uint64_t p = page; p < stop; p++) {
                page_write(w, part, p, index + p - page);
            }
        }
    }
}

/* All parts; or, of a program that waits, its private memory, and then the rest. */
static void parts_write(struct writer *w, bool private)
{
    for (uint64_t i = 0; i < w->job->epoch.nobjects; i++) {
        struct ckpt_part *part = &w->job->parts[i];
        if (!w->job->waits || private == (part->segment == NULL)) {
            part_write(w, part);
        }
    }
}

static int writer_open(struct writer *w)
{
    if (!w->packed) {
        int status = ckpt_sink_open(&w->sink.sink, &w->job->file, "data-write");
        return status == 0
                   ? ckpt_sink_open(&w->ring.sink, &w->job->file, "data-write")
                   : status;
    }
    int status = ckpt_blocks_open(&w->blocks, w->job);
    if (status == 0) {
        status = ckpt_block_open(&w->sink.block, &w->blocks);
    }
    return status == 0 ? ckpt_block_open(&w->ring.block, &w->blocks) : status;
}

static int writer_close(struct writer *w)
{
    if (w->packed) {
        ckpt_block_close(&w->sink.block);
        ckpt_block_close(&w->ring.block);
        int status = ckpt_blocks_close(&w->blocks);
        w->job->written += w->blocks.out.written;
        return status;
    }
    int closed = ckpt_sink_close(&w->sink.sink);
    int other = ckpt_sink_close(&w->ring.sink);
    w->job->written += w->sink.sink.written + w->ring.sink.written;
    return closed != 0 ? closed : other;
}

int ckpt_pages_write(struct ckpt_job *job, const struct ckpt_format *format)
{
    struct writer w = {.job = job,
                       .format = format,
                       .packed = format->whole && job->epoch.packed};
    int status = writer_open(&w);
    if (status == 0) {
        parts_write(&w, job->waits);
        if (job->waits) {
            job->private_written();
            parts_write(&w, false);
        }
        if (job->concurrent) {
            ring_empty(&w);
        }
    }
    int closed = writer_close(&w);
    return status != 0 ? status : closed;
}

void ckpt_pages_abandon(const struct ckpt_job *job)
{
    uint32_t segment = 0;
    uint64_t page = 0;
    const char *data = NULL;
    for (uint64_t i = 0; job->parts != NULL && i < job->epoch.nobjects; i++) {
        const struct ckpt_part *part = &job->parts[i];
        for (uint64_t r = 0; part->segment != NULL && r < part->mine.count;
             r++) {
            const struct base_run *run = &part->mine.items[r];
            space_snapshot_drop(part->segment, run->first,
                                run->end - run->first);
        }
    }
    while (space_snapshot_pop(&segment, &page, &data)) {
        space_snapshot_free();
    }
}
