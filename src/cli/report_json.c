/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A report for programs: one JSON object, times in nanoseconds, lists whole.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli.h"
#include "report.h"

static void number(FILE *out, const char *name, uint64_t value)
{
    (void)fprintf(out, ", \"%s\": %" PRIu64, name, value);
}

static void string(FILE *out, const char *name, const char *text)
{
    (void)fprintf(out, ", \"%s\": ", name);
    cli_json_string(out, text);
}

static void site(FILE *out, const struct report *r, uint32_t which)
{
    if (which != REPORT_NONE) {
        string(out, "where", report_site(r, which));
    }
}

static void numbers(FILE *out, const struct report_numbers *n)
{
    static const char *const faults[TRACE_FAULTS] = {
        "read_misses", "write_misses", "upgrades", "tracked", "rights"};
    for (int i = 0; i < TRACE_FAULTS; i++) {
        number(out, faults[i], n->faults[i]);
    }
    number(out, "fault_ns", n->fault_ns);
    number(out, "bytes_fetched", n->in_bytes);
    number(out, "bytes_written", n->out_bytes);
}

static void numbers_of_rank(FILE *out, const struct report_numbers *n)
{
    numbers(out, n);
    number(out, "takes", n->takes);
    number(out, "wait_ns", n->wait_ns);
    number(out, "hold_ns", n->hold_ns);
    number(out, "failed_tries", n->tries);
    number(out, "waits", n->waits);
    number(out, "told_ns", n->told_ns);
    number(out, "barriers", n->barriers);
    number(out, "barrier_ns", n->barrier_ns);
    number(out, "late_ns", n->late_ns);
    number(out, "last", n->last);
    number(out, "stops", n->stops);
    number(out, "stop_ns", n->stop_ns);
    number(out, "checkpoints", n->flights);
    number(out, "ckpt_bytes", n->flight_bytes);
    number(out, "write_ns", n->flight_ns);
    number(out, "restart_ns", n->restart_ns);
    number(out, "recovers", n->recovers);
    number(out, "recover_ns", n->recover_ns);
}

static void ranks(FILE *out, const struct report *r)
{
    (void)fprintf(out, ",\n \"ranks\": [");
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        (void)fprintf(out, "%s\n  {\"rank\": %d, \"domain\": %d",
                      i > 0 ? "," : "", k->h.rank, k->h.domain);
        string(out, "host", k->h.host);
        number(out, "started", k->started);
        number(out, "time", report_rank_time(r, i));
        (void)fprintf(out, ", \"ended\": %s", k->ended > 0 ? "true" : "false");
        (void)fprintf(out, ", \"clock_offset\": %" PRId64, k->h.clock_offset);
        number(out, "clock_error", k->h.clock_error);
        number(out, "events", k->nevents);
        number(out, "dropped", k->dropped);
        numbers_of_rank(out, &r->of_rank[i]);
        (void)fprintf(out, ", \"counters\": [");
        for (int c = 0; c < TRACE_COUNTERS; c++) {
            (void)fprintf(out, "%s%" PRIu64, c > 0 ? ", " : "",
                          k->h.counters[c]);
        }
        (void)fputs("]}", out);
    }
    (void)fputc(']', out);
}

static void segments(FILE *out, const struct report *r)
{
    (void)fprintf(out, ",\n \"segments\": [");
    for (size_t i = 0; i < r->nsegments; i++) {
        const struct report_segment *s = &r->segments[i];
        (void)fprintf(out, "%s\n  {\"name\": ", i > 0 ? "," : "");
        cli_json_string(out, s->s.name);
        string(out, "type", s->s.type);
        number(out, "bytes", s->s.bytes);
        number(out, "pages", s->pages);
        number(out, "pages_faulted", s->pages_faulted);
        numbers(out, &s->n);
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void parts(FILE *out, const struct report *r,
                  const struct report_page *p)
{
    char range[160];
    (void)fprintf(out, ", \"ranks\": [");
    for (size_t i = 0; i < p->count; i++) {
        const struct report_part *q = &r->parts[p->first + i];
        (void)fprintf(out, "%s{\"rank\": %d", i > 0 ? ", " : "", q->rank);
        number(out, "faults", q->faults);
        number(out, "writes", q->writes);
        number(out, "ns", q->ns);
        if (q->writes > 0) {
            number(out, "low", q->low);
            number(out, "high", q->high);
            string(
                out, "elements",
                report_range(r, p->segment, p->page, q->low, q->high, range));
        }
        site(out, r, q->site);
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void pages(FILE *out, const struct report *r)
{
    char range[160];
    (void)fprintf(out, ",\n \"pages\": [");
    for (size_t i = 0; i < r->npages; i++) {
        const struct report_page *p = &r->pages[i];
        (void)fprintf(out, "%s\n  {\"page\": %" PRIu64, i > 0 ? "," : "",
                      p->page);
        string(out, "segment", r->segments[p->segment].s.name);
        string(out, "elements",
               report_range(r, p->segment, p->page, 0, REPORT_PAGE - 1, range));
        number(out, "faults", p->faults);
        number(out, "ns", p->ns);
        (void)fprintf(out, ", \"false_sharing\": %s",
                      p->false_sharing ? "true" : "false");
        parts(out, r, p);
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void locks(FILE *out, const struct report *r)
{
    char name[64];
    (void)fprintf(out, ",\n \"locks\": [");
    for (size_t i = 0; i < r->nlocks; i++) {
        const struct report_lock *l = &r->locks[i];
        (void)fprintf(out, "%s\n  {\"name\": ", i > 0 ? "," : "");
        cli_json_string(out, report_lock_name(l, name));
        number(out, "takes", l->takes);
        number(out, "failed_tries", l->tries);
        number(out, "wait_ns", l->wait_ns);
        number(out, "wait_most", l->wait_most);
        number(out, "holds", l->holds);
        number(out, "hold_ns", l->hold_ns);
        number(out, "ranks", l->ranks);
        site(out, r, l->site);
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void sites(FILE *out, const struct report *r)
{
    size_t count = 0;
    struct report_site *list = report_sites_hot(r, &count);
    (void)fprintf(out, ",\n \"lines\": [");
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(out, "%s\n  {\"where\": ", i > 0 ? "," : "");
        cli_json_string(out, list[i].text);
        number(out, "events", list[i].count);
        number(out, "faults", list[i].faults);
        number(out, "ns", list[i].ns);
        (void)fputc('}', out);
    }
    free(list);
    (void)fputc(']', out);
}

static void sharing(FILE *out, const struct report *r)
{
    (void)fprintf(out, ",\n \"copied\": {\"ranks_in_group\": %zu, \"bytes\": [",
                  r->group);
    for (size_t i = 0; i < r->groups; i++) {
        (void)fprintf(out, "%s[", i > 0 ? ", " : "");
        for (size_t j = 0; j < r->groups; j++) {
            (void)fprintf(out, "%s%" PRIu64, j > 0 ? ", " : "",
                          r->shared[i * r->groups + j]);
        }
        (void)fputc(']', out);
    }
    (void)fputs("]}", out);
}

static void texts(FILE *out, const char *name, char **list, size_t count)
{
    (void)fprintf(out, ",\n \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        (void)fputs(i > 0 ? ", " : "", out);
        cli_json_string(out, list[i]);
    }
    (void)fputc(']', out);
}

void report_json(const struct report *r, FILE *out)
{
    size_t count = 0;
    char **findings = report_findings(r, &count);
    (void)fprintf(out, "{\"program\": ");
    cli_json_string(out, r->ranks[0].h.program);
    number(out, "run", r->run);
    number(out, "size", (uint64_t)r->size);
    number(out, "domains", (uint64_t)r->ranks[0].h.domains);
    number(out, "time", r->end);
    number(out, "events", r->nevents);
    number(out, "false_sharing_pages", r->false_pages);
    texts(out, "problems", r->problems, r->nproblems);
    texts(out, "findings", findings, count);
    ranks(out, r);
    segments(out, r);
    pages(out, r);
    locks(out, r);
    sites(out, r);
    sharing(out, r);
    (void)fputs("}\n", out);
    for (size_t i = 0; i < count; i++) {
        free(findings[i]);
    }
    free(findings);
}
