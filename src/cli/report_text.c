/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A report for a terminal: what strikes most, ranks, segments, pages, locks, lines.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

enum {
    RANKS_MOST = 32, /* rows */
    ROWS = 10
};

static void head(const struct report *r, FILE *out)
{
    char when[32];
    char time[32];
    const struct trace_header *h = &r->ranks[0].h;
    const char *slash = strrchr(h->program, '/');
    (void)fprintf(out,
                  "%s: %d ranks, %d domains, %s from %s; %" PRIu64 " events\n",
                  slash != NULL ? slash + 1 : h->program, r->size, h->domains,
                  report_time(r->end, time),
                  cli_time((uint64_t)(r->real / 1000000000), when), r->nevents);
    for (size_t i = 0; i < r->nproblems; i++) {
        (void)fprintf(out, "note: %s\n", r->problems[i]);
    }
}

static void findings(const struct report *r, FILE *out)
{
    size_t count = 0;
    char **texts = report_findings(r, &count);
    (void)fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(out, "- %s\n", texts[i]);
        free(texts[i]);
    }
    free(texts);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void ranks(const struct report *r, FILE *out)
{
    (void)fprintf(out, "\n%6s %9s %9s %9s %9s %9s %9s %9s %9s %9s %6s host\n",
                  "rank", "faults/s", "fault-s", "in-MiB", "out-MiB", "lock-s",
                  "event-s", "barrier-s", "late-s", "stop-s", "last");
    for (size_t i = 0; i < r->nranks && i < RANKS_MOST; i++) {
        const struct report_numbers *n = &r->of_rank[i];
        double time = seconds(report_rank_time(r, i));
        (void)fprintf(
            out,
            "%6d %9.0f %9.3f %9.1f %9.1f %9.3f %9.3f %9.3f %9.3f %9.3f %6" PRIu64
            " %s\n",
            r->ranks[i].h.rank, time > 0 ? (double)report_faults(n) / time : 0,
            seconds(n->fault_ns), (double)n->in_bytes / 1048576,
            (double)n->out_bytes / 1048576, seconds(n->wait_ns),
            seconds(n->told_ns), seconds(n->barrier_ns), seconds(n->late_ns),
            seconds(n->stop_ns), n->last, r->ranks[i].h.host);
    }
    if (r->nranks > RANKS_MOST) {
        (void)fprintf(out, "   ... %zu ranks more\n", r->nranks - RANKS_MOST);
    }
}

static void segments(const struct report *r, FILE *out)
{
    (void)fprintf(out, "\n%-20s %8s %10s %10s %9s %9s %9s %10s\n", "segment",
                  "pages", "faulted", "faults", "fault-s", "in-MiB", "out-MiB",
                  "faults/s");
    for (size_t i = 0; i < r->nsegments; i++) {
        const struct report_segment *s = &r->segments[i];
        uint64_t faults = report_faults(&s->n);
        if (faults == 0 && s->n.in_bytes == 0) {
            continue;
        }
        (void)fprintf(out,
                      "%-20.60s %8" PRIu64 " %10" PRIu64 " %10" PRIu64
                      " %9.3f %9.1f %9.1f %10.0f\n",
                      s->s.name, s->pages, s->pages_faulted, faults,
                      seconds(s->n.fault_ns), (double)s->n.in_bytes / 1048576,
                      (double)s->n.out_bytes / 1048576,
                      r->end > 0 ? (double)faults / seconds(r->end) : 0);
    }
}

static void parts(const struct report *r, const struct report_page *p,
                  FILE *out)
{
    enum {
        PARTS = 4
    };
    char range[160];
    size_t told = 0;
    for (size_t i = 0; i < p->count && told < PARTS; i++) {
        const struct report_part *q = &r->parts[p->first + i];
        bool writes = report_part_writes(q);
        if (!writes && q->faults < 2) {
            continue;
        }
        told++;
        (void)fprintf(out, "      rank %d: %" PRIu64 " faults, %s%s%s%s\n",
                      q->rank, q->faults, writes ? "writes " : "reads",
                      writes ? report_range(r, p->segment, p->page, q->low,
                                            q->high, range)
                             : "",
                      q->site != REPORT_NONE ? " at " : "",
                      report_site(r, q->site));
    }
    if (told == PARTS && p->count > PARTS) {
        (void)fprintf(out, "      ... and others\n");
    }
}

static void pages(const struct report *r, bool shared, FILE *out)
{
    char range[160];
    char time[32];
    size_t told = 0;
    for (size_t i = 0; i < r->npages && told < ROWS; i++) {
        const struct report_page *p = &r->pages[i];
        if ((shared && !p->false_sharing) || p->faults == 0) {
            continue;
        }
        if (told++ == 0) {
            (void)fprintf(out, shared ? "\nfalse sharing, candidates\n"
                                      : "\npages with most time in faults\n");
        }
        (void)fprintf(
            out, "  %s (page %" PRIu64 "): %" PRIu64 " faults, %s\n",
            report_range(r, p->segment, p->page, 0, REPORT_PAGE - 1, range),
            p->page, p->faults, report_time(p->ns, time));
        if (shared) {
            parts(r, p, out);
        }
    }
}

static void lock(const struct report *r, const struct report_lock *l, FILE *out)
{
    char name[64];
    char wait[32];
    char most[32];
    char hold[32];
    bool holds = report_is_lock(l);
    (void)fprintf(
        out, "  %s: %" PRIu64 " %s by %u ranks, waits %s in all, %s at most",
        report_lock_name(l, name), l->takes, holds ? "takes" : "waits",
        l->ranks, report_time(l->wait_ns, wait),
        report_time(l->wait_most, most));
    if (holds) {
        (void)fprintf(out, ", holds %s", report_time(l->hold_ns, hold));
    }
    if (l->tries > 0) {
        (void)fprintf(out, ", %" PRIu64 " failed tries", l->tries);
    }
    (void)fprintf(out, "%s%s\n", l->site != REPORT_NONE ? ", at " : "",
                  report_site(r, l->site));
}

static void locks(const struct report *r, FILE *out)
{
    if (r->nlocks > 0) {
        (void)fprintf(out, "\nlocks, events, semaphores with longest waits\n");
    }
    for (size_t i = 0; i < r->nlocks && i < ROWS; i++) {
        lock(r, &r->locks[i], out);
    }
}

static int by_text(const void *a, const void *b)
{
    const struct report_site *x = a;
    const struct report_site *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : x->returns - y->returns;
}

static int by_time(const void *a, const void *b)
{
    const struct report_site *x = a;
    const struct report_site *y = b;
    return x->ns != y->ns ? (y->ns > x->ns) - (y->ns < x->ns) : by_text(a, b);
}

struct report_site *report_sites_hot(const struct report *r, size_t *count)
{
    struct report_site *list = report_new(r->nsites, sizeof *list);
    *count = 0;
    if (r->nsites > 0) {
        memcpy(list, r->sites, r->nsites * sizeof *list);
        report_sort(list, r->nsites, sizeof *list, by_text);
    }
    for (size_t i = 0; i < r->nsites; i++) {
        if (*count > 0 && by_text(&list[*count - 1], &list[i]) == 0) {
            list[*count - 1].ns += list[i].ns;
            list[*count - 1].count += list[i].count;
            list[*count - 1].faults += list[i].faults;
        } else {
            list[(*count)++] = list[i];
        }
    }
    report_sort(list, *count, sizeof *list, by_time);
    return list;
}

static void sites(const struct report *r, FILE *out)
{
    char time[32];
    size_t count = 0;
    struct report_site *list = report_sites_hot(r, &count);
    if (count > 0) {
        (void)fprintf(out, "\nlines with most time\n");
    }
    for (size_t i = 0; i < count && i < ROWS; i++) {
        (void)fprintf(out, "  %-11s %9" PRIu64 " %s  %s\n",
                      report_time(list[i].ns, time), list[i].count,
                      list[i].returns ? "calls " : "faults", list[i].text);
    }
    free(list);
}

void report_text(const struct report *r, FILE *out)
{
    head(r, out);
    findings(r, out);
    ranks(r, out);
    segments(r, out);
    pages(r, true, out);
    pages(r, false, out);
    locks(r, out);
    sites(r, out);
}
