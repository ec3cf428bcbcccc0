/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One domain, and a segment whose pages a restart may load late (space/lazy.h) and whose
 * writes are tracked by write faults (otherwise recto_vm_hide does it). Pages
 * start without rights; the first access to one by a rank waits until it is present,
 * and gets the right to write it for good. Faults that go on where others ended get
 * longer and longer runs.
 *
 * Invariant: a rank has a right to present pages only.
 */
#include "coherence/lone.h"

#include <signal.h>
#include <stdlib.h>

#include "base/base.h"
#include "coherence/stream.h"
#include "space/lazy.h"

enum {
    MOST = 256 /* pages that one fault grants */
};

struct lone {
    struct space_segment *s;
    recto_vm_trap *trap;
    struct stream_table streams;
};

static enum recto_vm_verdict fault(const struct recto_vm_fault *fault,
                                   void *argument)
{
    struct lone *l = argument;
    struct space_segment *s = l->s;
    if (fault->signal == SIGBUS) {
        return RECTO_VM_SEARCH; /* no memory */
    }
    uint64_t page = (uint64_t)((char *)fault->address - s->recto) / SPACE_PAGE;
    space_before_touch(s, page, 1);
    struct stream stream = stream_find(&l->streams, page, true, MOST);
    uint64_t n = stream.stride == 1 ? stream.length : 1;
    n = n < s->pages - page ? n : s->pages - page;
    n = space_lazy_run(s, page, n);
    int code = recto_vm_unprot(s->range, page, n, RECTO_VM_WRITE);
    if (code == RECTO_ENOMEM) {
        space_shortage(fault->address, false);
        (void)raise(SIGBUS);
    }
    if (code != 0) {
        base_fatal("page %lu of \"%s\": %s", (unsigned long)page, s->name,
                   recto_last_error());
    }
    stream.stride = 1;
    stream_note(&l->streams, &stream, n);
    return RECTO_VM_CONTINUE;
}

int lone_attach(struct space_segment *s)
{
    struct lone *l = calloc(1, sizeof *l);
    int r = l != NULL ? 0 : base_error(RECTO_ENOMEM, "\"%s\"", s->name);
    if (r == 0) {
        l->s = s;
        s->lone = l;
        r = recto_vm_trap_add(s->recto, s->pages * SPACE_PAGE, fault, NULL, l,
                              &l->trap);
    }
    r = net_verdict(r);
    if (r != 0) {
        lone_detach(s);
    }
    return r;
}

void lone_detach(struct space_segment *s)
{
    struct lone *l = s->lone;
    if (l != NULL && l->trap != NULL) {
        recto_vm_trap_remove(l->trap);
    }
    free(l);
    s->lone = NULL;
}
