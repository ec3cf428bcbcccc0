/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared memory in calls that cannot fault: recto_pin, and loans, by which the
 * wrappers of system calls and MPI hand a buffer on.
 *
 *   memory                            a loan is
 *     not shared, or of one domain      the memory itself (touched, while writes
 *                                       are tracked, or pages come late)
 *     release consistent                the memory itself, pinned
 *     sequential, several domains       private memory, copied in and back: two
 *                                       ranks that keep a page each while they
 *                                       wait for the other would wait for ever
 *
 * Invariant: of a private loan only bytes that the call changed are copied back,
 * so that neighbours may be written meanwhile.
 */
#include <recto.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "coherence/coherence.h"
#include "coherence/release.h"
#include "space/lazy.h"

struct coherence_loan {
    char *p;
    uint64_t bytes;
    bool write;
    struct rel_segment *pinned; /* NULL: a copy */
    char *copy;                 /* and, if it may change, what it was */
};

static uint64_t page_of(const struct space_segment *s, const char *p)
{
    return (uint64_t)(p - s->recto) / SPACE_PAGE;
}

static uint64_t pages_of(const struct space_segment *s, const char *p,
                         uint64_t bytes)
{
    return page_of(s, p + bytes - 1) - page_of(s, p) + 1;
}

static bool protected(const struct space_segment *s)
{
    return s->coherence != NULL || s->lone != NULL || s->tracking;
}

static bool releases(const struct space_segment *s)
{
    return s->attr.consistency == RECTO_RELEASE;
}

/* Memory of one domain: nobody takes a right away but the tracker, which does it
 * in collective calls. */
static void touch_all(const struct space_segment *s, const char *p,
                      uint64_t bytes, bool write)
{
    for (uint64_t i = page_of(s, p); i < page_of(s, p) + pages_of(s, p, bytes);
         i++) {
        char *at = s->recto + i * SPACE_PAGE;
        if (write || s->lone != NULL || space_lazy_loads(s)) {
            rel_touch(at, write);
        }
    }
}

/* Keeps count of what is pinned: a lazy restart takes all rights. */
static void count_pages(struct space_segment *s, int64_t more)
{
    if (s->lazy) {
        atomic_fetch_add_explicit(&s->pins, more, memory_order_relaxed);
    }
}

/* ---- recto_pin ------------------------------------------------------------------- */

static int range_check(const char *call, const void *p, size_t bytes, int mode,
                       struct space_segment **s)
{
    *s = space_segment_at(p);
    if (*s == NULL || bytes == 0 ||
        bytes > (*s)->pages * SPACE_PAGE -
                    (uint64_t)((const char *)p - (*s)->recto)) {
        return base_error(
            RECTO_EINVAL,
            "%s(%p, %zu): not inside one shared array; pin each array by "
            "itself",
            call, p, bytes);
    }
    if (mode <= 0 || (mode & ~(RECTO_READ | RECTO_WRITE)) != 0) {
        return base_error(
            RECTO_EINVAL,
            "%s: mode %d is unknown; give RECTO_READ or RECTO_WRITE", call,
            mode);
    }
    if ((*s)->coherence != NULL && !releases(*s)) {
        return base_error(RECTO_EUNSUPPORTED,
                          "%s: \"%s\" is sequentially consistent, whose pages "
                          "no rank can keep: copy through private memory",
                          call, (*s)->name);
    }
    return 0;
}

int recto_pin(void *p, size_t bytes, int mode)
{
    struct space_segment *s = NULL;
    int r = range_check("recto_pin", p, bytes, mode, &s);
    if (r != 0) {
        return r;
    }
    bool write = (mode & RECTO_WRITE) != 0;
    if (s->coherence != NULL) {
        r = rel_pin(s->coherence, page_of(s, p), pages_of(s, p, bytes), write);
    } else if (protected(s)) {
        touch_all(s, p, bytes, write);
    }
    if (r == 0) {
        count_pages(s, (int64_t)pages_of(s, p, bytes));
    }
    return r;
}

int recto_unpin(void *p, size_t bytes, int mode)
{
    struct space_segment *s = NULL;
    int r = range_check("recto_unpin", p, bytes, mode, &s);
    if (r == 0 && s->coherence != NULL) {
        r = rel_unpin(s->coherence, page_of(s, p), pages_of(s, p, bytes),
                      (mode & RECTO_WRITE) != 0);
    }
    if (r == 0) {
        count_pages(s, -(int64_t)pages_of(s, p, bytes));
    }
    return r;
}

/* ---- loans ------------------------------------------------------------------------- */

static int copy_in(struct coherence_loan *loan)
{
    loan->copy = malloc(loan->bytes * (loan->write ? 2 : 1));
    if (loan->copy == NULL) {
        return base_error(RECTO_ENOMEM, "a copy of %lu bytes",
                          (unsigned long)loan->bytes);
    }
    memcpy(loan->copy, loan->p, loan->bytes);
    if (loan->write) {
        memcpy(loan->copy + loan->bytes, loan->copy, loan->bytes);
    }
    return 0;
}

static void copy_back(const struct coherence_loan *loan)
{
    const char *now = loan->copy;
    const char *was = loan->copy + loan->bytes;
    for (uint64_t i = 0; i < loan->bytes;) {
        uint64_t n = 0;
        while (i + n < loan->bytes && now[i + n] != was[i + n]) {
            n++;
        }
        memcpy(loan->p + i, now + i, n);
        i += n > 0 ? n : 1;
    }
}

bool coherence_lendable(const void *p)
{
    const struct space_segment *s = space_segment_at(p);
    return s != NULL && protected(s);
}

void *coherence_lend(void *p, uint64_t bytes, bool write,
                     struct coherence_loan **loan)
{
    struct space_segment *s = space_segment_at(p);
    *loan = NULL;
    if (s == NULL || bytes == 0 || !protected(s) ||
        bytes > s->pages * SPACE_PAGE - (uint64_t)((char *)p - s->recto)) {
        return p; /* the call will say what is wrong with it */
    }
    if (s->coherence == NULL) {
        touch_all(s, p, bytes, write);
        return p;
    }
    struct coherence_loan *l = calloc(1, sizeof *l);
    int r = l != NULL ? 0 : base_error(RECTO_ENOMEM, "a pin");
    if (r == 0) {
        *l = (struct coherence_loan){.p = p, .bytes = bytes, .write = write};
        l->pinned = releases(s) ? s->coherence : NULL;
        r = l->pinned != NULL ? rel_pin(l->pinned, page_of(s, p),
                                        pages_of(s, p, bytes), write)
                              : copy_in(l);
    }
    if (r != 0) {
        free(l);
        return NULL;
    }
    if (l->pinned != NULL) {
        count_pages(s, (int64_t)pages_of(s, p, bytes));
    }
    *loan = l;
    return l->copy != NULL ? l->copy : p;
}

void coherence_return(struct coherence_loan *loan)
{
    if (loan == NULL) {
        return;
    }
    if (loan->pinned != NULL) {
        struct space_segment *s = loan->pinned->s;
        uint64_t pages = pages_of(s, loan->p, loan->bytes);
        (void)rel_unpin(loan->pinned, page_of(s, loan->p), pages, loan->write);
        count_pages(s, -(int64_t)pages);
    } else if (loan->write) {
        copy_back(loan);
    }
    free(loan->copy);
    free(loan);
}
