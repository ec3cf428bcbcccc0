/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trace for Perfetto and chrome://tracing: the JSON trace event format. A process
 * is a rank, a thread one of its threads, times are microseconds.
 */
#include <inttypes.h>

#include "cli.h"
#include "report.h"

static const char *name_of(const struct report_event *e)
{
    static const char *const names[TRACE_KINDS] = {
        [TRACE_IN] = "copy from home",  [TRACE_OUT] = "changes home",
        [TRACE_TAKE] = "lock",          [TRACE_GIVE] = "unlock",
        [TRACE_BARRIER] = "barrier",    [TRACE_STOP] = "checkpoint",
        [TRACE_FLIGHT] = "write epoch", [TRACE_COMPACT] = "compaction",
        [TRACE_RESTART] = "restart",    [TRACE_RECOVER] = "recover",
        [TRACE_TRY] = "failed try"};
    return e->kind == TRACE_FAULT  ? report_fault_name(e->what)
           : e->kind == TRACE_WAIT ? e->what == TRACE_EVENT
                                         ? "wait for event"
                                         : "wait for semaphore"
           : e->kind < TRACE_KINDS && names[e->kind] != NULL ? names[e->kind]
                                                             : "?";
}

static const char *category_of(const struct report_event *e)
{
    switch ((enum trace_kind)e->kind) {
    case TRACE_FAULT: return "fault";
    case TRACE_IN:
    case TRACE_OUT: return "transfer";
    case TRACE_TAKE:
    case TRACE_GIVE:
    case TRACE_TRY: return "lock";
    case TRACE_WAIT: return "wait";
    case TRACE_BARRIER: return "barrier";
    default: return "checkpoint";
    }
}

static void arguments(FILE *out, const struct report *r,
                      const struct report_event *e)
{
    char range[160];
    const char *comma = "";
    (void)fputs(", \"args\": {", out);
    if (e->segment != REPORT_NONE) {
        (void)fputs("\"elements\": ", out);
        cli_json_string(
            out, report_range(r, e->segment, e->page, e->low, e->high, range));
        (void)fprintf(out, ", \"page\": %" PRIu64, e->page);
        comma = ", ";
    }
    if (e->bytes > 0) {
        (void)fprintf(out, "%s\"bytes\": %" PRIu64, comma, e->bytes);
        comma = ", ";
    }
    if (e->kind == TRACE_IN || e->kind == TRACE_OUT) {
        (void)fprintf(out, "%s\"home\": %d", comma, e->peer);
        comma = ", ";
    }
    if (e->kind == TRACE_TAKE || e->kind == TRACE_GIVE ||
        e->kind == TRACE_WAIT || e->kind == TRACE_TRY) {
        (void)fprintf(out, "%s\"id\": \"%" PRIx64 "\"", comma, e->at);
        comma = ", ";
    }
    if (e->kind == TRACE_TRY) {
        (void)fprintf(out, "%s\"tries\": %u", comma, e->pages);
        comma = ", ";
    }
    if (e->site != REPORT_NONE) {
        (void)fprintf(out, "%s\"where\": ", comma);
        cli_json_string(out, report_site(r, e->site));
    }
    (void)fputc('}', out);
}

static void event(FILE *out, const struct report *r, int32_t rank,
                  const struct report_event *e)
{
    (void)fprintf(out,
                  ",\n{\"ph\": \"X\", \"name\": \"%s\", \"cat\": \"%s\", "
                  "\"pid\": %d, \"tid\": %d, \"ts\": %.3f, \"dur\": %.3f",
                  name_of(e), category_of(e), rank, e->thread,
                  (double)e->start / 1000, (double)e->ns / 1000);
    arguments(out, r, e);
    (void)fputc('}', out);
}

void report_perfetto(const struct report *r, FILE *out)
{
    const char *comma = "";
    char name[128];
    (void)fputs("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [", out);
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        (void)fprintf(out,
                      "%s\n{\"ph\": \"M\", \"name\": \"process_name\", "
                      "\"pid\": %d, \"args\": {\"name\": ",
                      comma, k->h.rank);
        (void)snprintf(name, sizeof name, "rank %d on %s", k->h.rank,
                       k->h.host);
        cli_json_string(out, name);
        (void)fprintf(out,
                      "}},\n{\"ph\": \"M\", \"name\": \"process_sort_index\", "
                      "\"pid\": %d, \"args\": {\"sort_index\": %d}}",
                      k->h.rank, k->h.rank);
        comma = ",";
        for (uint64_t j = 0; j < k->nevents; j++) {
            event(out, r, k->h.rank, &k->events[j]);
        }
    }
    (void)fputs("]}\n", out);
}
