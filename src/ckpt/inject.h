/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inject: what tests do to the steps of checkpoint input and output (io.c): kill the
 * process there, make them fail, count them, record them. Local.
 */
#ifndef RECTO_SRC_CKPT_INJECT_H
#define RECTO_SRC_CKPT_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens to the step at hand. */
enum ckpt_action {
    CKPT_ACTION_NONE,
    CKPT_ACTION_KILL,
    CKPT_ACTION_TEAR,
    CKPT_ACTION_EIO,
    CKPT_ACTION_ENOSPC,
    CKPT_ACTION_SHORT,
    CKPT_ACTION_SLOW
};

/* The step `label`, one of those that are counted if `is_point`: whether the rule is for
 * it. */
bool ckpt_inject_chosen(const char *label, bool is_point);
enum ckpt_action ckpt_inject_action(void);
bool ckpt_inject_after(void);
/* Does it: 0 or an errno value, if it is still there. */
int ckpt_inject_fault(void);

/* ---- recording ---------------------------------------------------------------------
 *
 * With trace=FOLDER each rank appends its steps to FOLDER/<rank>: what is needed to
 * make the folder again as it may be after a power cut at any moment. A record is
 * struct ckpt_trace, the name, the second name, the data; without padding, in the
 * machine's byte order.
 */
enum ckpt_trace_kind {
    CKPT_TRACE_MKDIR = 1,
    CKPT_TRACE_OPEN,     /* name, inode, value: flags */
    CKPT_TRACE_ALLOCATE, /* inode, offset: the length that it has then */
    CKPT_TRACE_WRITE,    /* inode, offset, data */
    CKPT_TRACE_SYNC,     /* inode; value 1: of the folder itself */
    CKPT_TRACE_RENAME,   /* both names */
    CKPT_TRACE_UNLINK    /* name */
};

struct ckpt_trace {
    uint64_t begin; /* base_now before and after the call */
    uint64_t end;
    uint64_t kind;
    uint64_t inode;
    uint64_t folder; /* of a name: inode */
    uint64_t offset;
    uint64_t value;
    uint64_t name_bytes;
    uint64_t to_bytes;
    uint64_t data_bytes;
};

/* Is anything recorded? */
bool ckpt_trace_on(void);
/* Appends a record; the sizes are filled in here. NULL: no name. */
void ckpt_trace_add(struct ckpt_trace record, const char *name, const char *to,
                    const void *data, size_t bytes);

#endif
