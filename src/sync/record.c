/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls on locks, events and semaphores in the trace: record.h. Tries are counted where no
 * other thread looks, of a few objects at a time.
 */
#include "sync/record.h"

#include <recto.h>

#include "base/base.h"

enum {
    ROWS = 8
};

/* Tries of one object in a row. */
struct row {
    uint64_t began;           /* the trace */
    uint64_t count;           /* 0: none */
    struct base_event untold; /* its pages: how many of them are not recorded */
};
static _Thread_local struct row rows[ROWS];

/* Where tries of an object are counted; empty if those there are of an earlier trace. */
static struct row *row_of(uint64_t id)
{
    struct row *row = &rows[id % ROWS];
    uint64_t began = base_trace_began();
    if (row->began != began) {
        *row = (struct row){.began = began};
    }
    return row;
}

static void row_tell(struct row *row)
{
    if (row->untold.e.pages > 0) {
        base_trace_add(&row->untold);
        row->untold.e.pages = 0;
    }
}

static void row_end(struct row *row)
{
    row_tell(row);
    row->count = 0;
}

static void tried(enum trace_lock what, uint64_t id, uint64_t start,
                  const void *caller)
{
    struct row *row = row_of(id);
    if (row->count > 0 && row->untold.e.at != id) {
        row_end(row);
    }
    row->untold = (struct base_event){
        .kind = TRACE_TRY,
        .what = what,
        .e = {.start = start,
              .ns = base_now() - start,
              .at = id,
              .pc = (uintptr_t)caller,
              .pages = row->untold.e.pages + 1}
    };
    row->count++;
    if ((row->count & (row->count - 1)) == 0) {
        row_tell(row);
    }
}

void record_call(enum trace_kind kind, enum trace_lock what, uint64_t id,
                 uint64_t start, int result, const void *caller)
{
    if (start == 0) {
        return;
    }
    if (result == RECTO_EBUSY) {
        tried(what, id, start, caller);
    } else if (result == 0) {
        struct row *row = row_of(id);
        if (row->count > 0 && row->untold.e.at == id) {
            row_end(row);
        }
        base_trace_add(&(struct base_event){
            .kind = kind,
            .what = what,
            .e = {.start = start, .at = id, .pc = (uintptr_t)caller}
        });
    }
}
