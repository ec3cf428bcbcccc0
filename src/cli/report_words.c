/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words of a report: index ranges, times, names, and the findings.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum {
    RANGE_TEXT = 160
};

/* ---- names -------------------------------------------------------------------------- */

const char *report_time(uint64_t ns, char *text)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {
        {1e9, "s"        },
        {1e6, "ms"       },
        {1e3, "\xc2\xb5s"}
    };
    for (size_t i = 0; i < 3; i++) {
        if ((double)ns >= units[i].unit) {
            double t = (double)ns / units[i].unit;
            (void)snprintf(text, 32, "%.*f %s",
                           t < 10    ? 2
                           : t < 100 ? 1
                                     : 0,
                           t, units[i].name);
            return text;
        }
    }
    (void)snprintf(text, 32, "%" PRIu64 " ns", ns);
    return text;
}

const char *report_fault_name(unsigned what)
{
    static const char *const names[TRACE_FAULTS] = {
        "read miss", "write miss", "upgrade", "tracked", "right only"};
    return what < TRACE_FAULTS ? names[what] : "?";
}

const char *report_site(const struct report *r, uint32_t site)
{
    return site < r->nsites ? r->sites[site].text : "";
}

const char *report_lock_name(const struct report_lock *lock, char *text)
{
    static const char *const names[TRACE_LOCKS] = {"lock", "rwlock", "rwlock",
                                                   "event", "semaphore"};
    (void)snprintf(text, 64, "%s %" PRIx64,
                   lock->what < TRACE_LOCKS ? names[lock->what] : "?",
                   lock->id);
    return text;
}

bool report_is_lock(const struct report_lock *lock)
{
    return lock->what <= TRACE_LOCK_WRITE;
}

/* Flat index -> an index in each dimension. */
static void indices(const struct trace_segment *s, uint64_t flat, uint64_t *at)
{
    for (uint32_t i = s->ndims; i-- > 0;) {
        at[i] = flat % s->dims[i];
        flat /= s->dims[i];
    }
}

__attribute__((format(printf, 3, 4))) static size_t put(char *text, size_t n,
                                                        const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    size_t at = n < RANGE_TEXT ? n : RANGE_TEXT - 1;
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): started above */
    int k = vsnprintf(text + at, RANGE_TEXT - at, format, ap);
    va_end(ap);
    return n + (k > 0 ? (size_t)k : 0);
}

const char *report_range(const struct report *r, uint32_t segment,
                         uint64_t page, uint32_t low, uint32_t high, char *text)
{
    const struct trace_segment *s = &r->segments[segment].s;
    uint64_t last = s->bytes - 1;
    uint64_t from = page * REPORT_PAGE + low;
    uint64_t to = page * REPORT_PAGE + high;
    from = from < last ? from : last;
    to = to < last ? to : last;
    uint64_t a[RECTO_DIMS_MAX] = {0};
    uint64_t b[RECTO_DIMS_MAX] = {0};
    indices(s, from / s->element, a);
    indices(s, to / s->element, b);
    size_t n = put(text, 0, "%.60s", s->name);
    uint32_t i = 0;
    for (; i + 1 < s->ndims && a[i] == b[i]; i++) {
        n = put(text, n, "[%" PRIu64 "]", a[i]);
    }
    if (a[i] == b[i]) {
        n = put(text, n, "[%" PRIu64 "]", a[i]);
    } else {
        n = put(text, n, "[%" PRIu64 "..%" PRIu64 "]", a[i], b[i]);
    }
    /* whole rows, as far as the eye is concerned */
    for (i++; i < s->ndims; i++) {
        n = put(text, n, "[..]");
    }
    return text;
}

/* ---- findings ------------------------------------------------------------------------ */

struct finding {
    uint64_t ns;
    char *text;
};

struct findings {
    struct finding *list;
    size_t count;
    uint64_t time; /* of all ranks together */
};

__attribute__((format(printf, 3, 4))) static void
add(struct findings *f, uint64_t ns, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = report_sentence(format, ap);
    va_end(ap);
    f->list = report_grow(f->list, f->count, sizeof *f->list);
    f->list[f->count++] = (struct finding){ns, text};
}

static double percent(const struct findings *f, uint64_t ns)
{
    return f->time > 0 ? 100.0 * (double)ns / (double)f->time : 0;
}

static void faults_tell(struct findings *f, const struct report *r)
{
    uint64_t count = report_faults(&r->all);
    char time[32];
    char range[RANGE_TEXT];
    if (count == 0) {
        bool one = r->ranks[0].h.domains == 1;
        add(f, 0, "No page fault was recorded%s.",
            one ? ": the ranks are one domain and use the same memory" : "");
        return;
    }
    add(f, r->all.fault_ns,
        "Page faults took %.1f %% of the ranks' time: %" PRIu64
        " faults, %s each.",
        percent(f, r->all.fault_ns), count,
        report_time(r->all.fault_ns / count, time));
    const struct report_page *p = r->npages > 0 ? &r->pages[0] : NULL;
    if (p != NULL && p->ns > f->time / 100) {
        add(f, p->ns,
            "The hottest page, %s, took %.1f %% of the ranks' time in %" PRIu64
            " faults.",
            report_range(r, p->segment, p->page, 0, REPORT_PAGE - 1, range),
            percent(f, p->ns), p->faults);
    }
}

static void false_tell(struct findings *f, const struct report *r)
{
    uint64_t ns = 0;
    const struct report_page *worst = NULL;
    for (size_t i = r->npages; i-- > 0;) {
        if (r->pages[i].false_sharing) {
            worst = &r->pages[i];
            ns += worst->ns;
        }
    }
    if (worst == NULL) {
        return;
    }
    char range[RANGE_TEXT];
    char time[32];
    const struct report_part *p = &r->parts[worst->first];
    while (!report_part_writes(p) || p->site == REPORT_NONE) {
        if (p == &r->parts[worst->first + worst->count - 1]) {
            break;
        }
        p++;
    }
    add(f, ns,
        "False sharing is likely on %" PRIu64
        " page%s (%s in faults): ranks write different parts of one page. The "
        "worst: %s, by %zu ranks, rank %d at %s. Let each rank's part begin "
        "on a page of its own.",
        r->false_pages, r->false_pages == 1 ? "" : "s", report_time(ns, time),
        report_range(r, worst->segment, worst->page, 0, REPORT_PAGE - 1, range),
        worst->writers, p->rank,
        p->site != REPORT_NONE ? report_site(r, p->site) : "?");
}

static void barriers_tell(struct findings *f, const struct report *r)
{
    if (r->all.barrier_ns < f->time / 100) {
        return;
    }
    if ((int64_t)r->nranks < r->size) { /* who came last is not known */
        add(f, r->all.barrier_ns, "Barriers took %.1f %% of the ranks' time.",
            percent(f, r->all.barrier_ns));
        return;
    }
    size_t late = 0;
    for (size_t i = 1; i < r->nranks; i++) {
        late = r->of_rank[i].last > r->of_rank[late].last ? i : late;
    }
    add(f, r->all.barrier_ns,
        "Barriers took %.1f %% of the ranks' time, %.1f %% of it until the "
        "last rank came; rank %d came last most often, to %" PRIu64
        " of %" PRIu64 " barriers.",
        percent(f, r->all.barrier_ns),
        100.0 * (double)r->all.late_ns / (double)r->all.barrier_ns,
        r->ranks[late].h.rank, r->of_rank[late].last,
        r->of_rank[late].barriers);
}

/* The lock, or the event or semaphore, that was waited for longest. */
static const struct report_lock *hottest(const struct report *r, bool lock)
{
    for (size_t i = 0; i < r->nlocks; i++) {
        if (report_is_lock(&r->locks[i]) == lock) {
            return &r->locks[i];
        }
    }
    return NULL;
}

static void waits_tell(struct findings *f, const struct report *r)
{
    const struct report_lock *l = hottest(r, false);
    char name[64];
    if (r->all.told_ns < f->time / 100) {
        return;
    }
    if (l == NULL) {
        add(f, r->all.told_ns,
            "Waits for conditions took %.1f %% of the ranks' time.",
            percent(f, r->all.told_ns));
        return;
    }
    add(f, r->all.told_ns,
        "Waits for events, semaphores and conditions took %.1f %% of the "
        "ranks' time. The longest are for %s, %.1f %%: %" PRIu64
        " by %u ranks, the longest at %s.",
        percent(f, r->all.told_ns), report_lock_name(l, name),
        percent(f, l->wait_ns), l->takes, l->ranks,
        l->site != REPORT_NONE ? report_site(r, l->site) : "?");
}

static void locks_tell(struct findings *f, const struct report *r)
{
    const struct report_lock *l = hottest(r, true);
    char name[64];
    char held[32];
    if (l == NULL || r->all.wait_ns < f->time / 100) {
        return;
    }
    add(f, r->all.wait_ns,
        "Waits for locks took %.1f %% of the ranks' time. The hottest is %s, "
        "%.1f %%: taken %" PRIu64
        " times by %u ranks, held for %s each time, waited for longest at %s.",
        percent(f, r->all.wait_ns), report_lock_name(l, name),
        percent(f, l->wait_ns), l->takes, l->ranks,
        report_time(l->holds > 0 ? l->hold_ns / l->holds : 0, held),
        l->site != REPORT_NONE ? report_site(r, l->site) : "?");
}

static void checkpoints_tell(struct findings *f, const struct report *r)
{
    char each[32];
    if (r->all.stops == 0) {
        return;
    }
    add(f, r->all.stop_ns,
        "Checkpoints stopped the program for %.1f %% of its time: %" PRIu64
        " calls a rank, %s each.",
        percent(f, r->all.stop_ns), r->of_rank[0].stops,
        report_time(r->all.stop_ns / r->all.stops, each));
}

static int by_weight(const void *a, const void *b)
{
    const struct finding *x = a;
    const struct finding *y = b;
    return (y->ns > x->ns) - (y->ns < x->ns);
}

uint64_t report_rank_time(const struct report *r, size_t rank)
{
    const struct report_rank *k = &r->ranks[rank];
    uint64_t end = k->ended > 0 ? k->ended : r->end;
    return end > k->started ? end - k->started : 0;
}

char **report_findings(const struct report *r, size_t *count)
{
    struct findings f = {NULL, 0, 0};
    for (size_t i = 0; i < r->nranks; i++) {
        f.time += report_rank_time(r, i);
    }
    faults_tell(&f, r);
    false_tell(&f, r);
    barriers_tell(&f, r);
    locks_tell(&f, r);
    waits_tell(&f, r);
    checkpoints_tell(&f, r);
    report_sort(f.list, f.count, sizeof *f.list, by_weight);
    char **texts = report_new(f.count, sizeof *texts);
    for (size_t i = 0; i < f.count; i++) {
        texts[i] = f.list[i].text;
    }
    *count = f.count;
    free(f.list);
    return texts;
}
