/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A report as one HTML page: no script, nothing from elsewhere. Every drawing has its
 * numbers in a table too. Texts of the trace are escaped where they are put in.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

enum {
    ROWS = 25,      /* of a table */
    HEATS = 12,     /* segments that are drawn */
    RANK_ROWS = 256 /* of the table of ranks */
};

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--soft:#5b6675;"
    "--line:#d5dae1;--grid:#f1f3f6;--head:#f6f7f9;--mark:#fff3cd;--on:#000;"
    "--h1:#cfe3f5;--h2:#9cc7e8;--h3:#62a5d8;--h4:#2f7fbf;--h5:#155a94;"
    "--h6:#072f57;--d0:#a0439c;--d1:#0072b2;--d2:#d55e00;--d3:#8a94a3;"
    "--d4:#d9a3d6;--d5:#009e73;--d6:#c06fbc}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12171f;--fg:#e4e9f0;"
    "--soft:#9aa6b5;--line:#344050;--grid:#1b222d;--head:#1a212b;"
    "--mark:#4a3d10;--on:#fff;--h1:#16304a;--h2:#1d4d78;--h3:#2b74ad;--h4:#4c9ad3;"
    "--h5:#8cc4ee;--h6:#dbeeff;--d0:#d07acb;--d1:#4ba3e0;--d2:#f08a3c;"
    "--d3:#6b7686;--d4:#7c4a7a;--d5:#2fbf95;--d6:#9c5a99}}\n"
    "@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;"
    "--grid:#f3f3f3;--head:#f3f3f3;--mark:#f5ecc4;--on:#000;--h1:#cfe3f5;--h2:#9cc7e8;"
    "--h3:#62a5d8;--h4:#2f7fbf;--h5:#155a94;--h6:#072f57;--d0:#a0439c;"
    "--d1:#0072b2;--d2:#d55e00;--d3:#8a94a3;--d4:#d9a3d6;--d5:#009e73;"
    "--d6:#c06fbc}body{max-width:none!important;font-size:10pt!important}"
    "section{break-inside:auto}svg,tr,figure{break-inside:avoid}"
    "h2,h3,caption{break-after:avoid}nav{display:none}.w{overflow:visible}"
    "table{font-size:7.2pt!important}th,td{padding:.1rem .3rem!important;"
    "white-space:normal!important}td.c{font-size:6.8pt!important;"
    "overflow-wrap:anywhere!important;min-width:5em}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}\n"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,"
    "sans-serif;max-width:1040px;margin:2rem auto;padding:0 1.2rem}\n"
    "h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.2rem 0 "
    ".5rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}"
    "h3{font-size:1rem;margin:1.4rem 0 .3rem}p{margin:.4rem 0}\n"
    ".s{color:var(--soft);font-size:.87rem}nav a{margin-right:1rem}"
    "a{color:var(--d1)}ul{padding-left:1.2rem}li{margin:.35rem 0}"
    ".n{background:var(--mark);padding:.4rem .8rem;border-radius:4px}\n"
    ".w{overflow-x:auto}table{border-collapse:collapse;font-size:.87rem;"
    "margin:.5rem 0;font-variant-numeric:tabular-nums}caption{text-align:left;"
    "color:var(--soft);padding:.2rem 0;white-space:nowrap}th,td{padding:.22rem .65rem;"
    "border-bottom:1px solid var(--line);text-align:right;vertical-align:top;"
    "white-space:nowrap}"
    "th{background:var(--head);font-weight:600;white-space:nowrap}"
    ".l{text-align:left}td.c{font-family:ui-monospace,monospace;"
    "font-size:.82rem;text-align:left;white-space:normal;overflow-wrap:break-word}\n"
    "figure{margin:.5rem 0 1rem}svg{width:100%;height:auto;display:block}"
    "svg text{fill:var(--fg);font-size:11px}.t{stroke:var(--soft)}"
    ".g{fill:var(--grid)}\n"
    ".h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}"
    ".h4{fill:var(--h4)}.h5{fill:var(--h5)}.h6{fill:var(--h6)}"
    ".d0{fill:var(--d0)}.d1{fill:var(--d1)}.d2{fill:var(--d2)}"
    ".d3{fill:var(--d3)}.d4{fill:var(--d4)}.d5{fill:var(--d5)}"
    ".d6{fill:var(--d6)}\n"
    ".k{display:inline-block;width:.8em;height:.8em;margin:0 .35em 0 1em;"
    "border-radius:2px}.k0{background:var(--d0)}.k1{background:var(--d1)}"
    ".k2{background:var(--d2)}.k3{background:var(--d3)}"
    ".k4{background:var(--d4)}.k5{background:var(--d5)}"
    ".k6{background:var(--d6)}\n"
    "td.m1{background:var(--h1)}td.m2{background:var(--h2)}"
    "td.m3{background:var(--h3);color:var(--on)}td.m1,td.m2{color:inherit}"
    "td.m{min-width:3.2em}\n";

void report_html_text(FILE *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';
         s++) {
        if (*s == '<' || *s == '>' || *s == '&' || *s == '"' || *s == '\'') {
            (void)fprintf(out, "&#%d;", *s);
        } else if (*s >= 0x20 && *s != 0x7f) {
            (void)fputc(*s, out);
        } else {
            (void)fputs("\xef\xbf\xbd", out);
        }
    }
}

/* ---- tables ------------------------------------------------------------------------- */

/* Titles with ',' between them; '<' before one: its column is text. */
static void table_begin(FILE *out, const char *caption, const char *titles)
{
    (void)fprintf(out,
                  "<div class=\"w\" tabindex=\"0\" role=\"region\" "
                  "aria-label=\"%s\"><table><caption>%s</caption>%s",
                  caption, caption, titles[0] != '\0' ? "<thead><tr>" : "");
    for (const char *at = titles; *at != '\0';) {
        size_t n = strcspn(at, ",");
        bool left = *at == '<';
        (void)fprintf(out, "<th scope=\"col\"%s>%.*s</th>",
                      left ? " class=\"l\"" : "", (int)n - left, at + left);
        at += n + (at[n] == ',');
    }
    (void)fputs(titles[0] != '\0' ? "</tr></thead><tbody>\n" : "<tbody>\n",
                out);
}

static void table_end(FILE *out)
{
    (void)fputs("</tbody></table></div>\n", out);
}

static void left_out(FILE *out, uint64_t all, uint64_t shown)
{
    if (all > shown) {
        (void)fprintf(out,
                      "<p class=\"s\">And %" PRIu64
                      " more; <code>--json</code> has all.</p>\n",
                      all - shown);
    }
}

static void cell_text(FILE *out, const char *text)
{
    (void)fputs("<td class=\"c\">", out);
    report_html_text(out, text);
    (void)fputs("</td>", out);
}

static void cell_number(FILE *out, uint64_t value)
{
    (void)fprintf(out, "<td>%" PRIu64 "</td>", value);
}

static void cell_time(FILE *out, uint64_t ns)
{
    char text[32];
    (void)fprintf(out, "<td>%s</td>", ns > 0 ? report_time(ns, text) : "0");
}

static void cell_bytes(FILE *out, uint64_t bytes)
{
    char text[32];
    (void)fprintf(out, "<td>%s</td>", bytes > 0 ? cli_size(bytes, text) : "0");
}

static void cell_rate(FILE *out, uint64_t count, uint64_t ns)
{
    (void)fprintf(out, "<td>%.0f</td>",
                  ns > 0 ? (double)count / ((double)ns / 1e9) : 0);
}

/* ---- parts of the page ----------------------------------------------------------------- */

static const char *program_of(const struct report *r)
{
    const char *program = r->ranks[0].h.program;
    const char *slash = strrchr(program, '/');
    return slash != NULL ? slash + 1 : program;
}

static void head(FILE *out, const struct report *r)
{
    char when[32];
    char time[32];
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta "
                "charset=\"utf-8\"><meta name=\"viewport\" "
                "content=\"width=device-width,initial-scale=1\"><title>",
                out);
    report_html_text(out, program_of(r));
    (void)fprintf(out, " - recto report</title>\n<style>%s</style></head>\n",
                  style);
    (void)fputs("<body><header><h1>", out);
    report_html_text(out, program_of(r));
    (void)fprintf(out,
                  "</h1><p class=\"s\">%d ranks in %d coherence domains, %s "
                  "from %s, %" PRIu64 " events, recto %d.%d.%d</p>\n",
                  r->size, r->ranks[0].h.domains, report_time(r->end, time),
                  cli_time((uint64_t)(r->real / 1000000000), when), r->nevents,
                  RECTO_VERSION_MAJOR, RECTO_VERSION_MINOR,
                  RECTO_VERSION_PATCH);
    (void)fputs("<nav aria-label=\"Parts\"><a href=\"#ranks\">Ranks</a><a "
                "href=\"#memory\">Memory</a><a href=\"#sharing\">Sharing</a><a "
                "href=\"#pages\">Pages</a><a href=\"#locks\">Locks</a><a "
                "href=\"#lines\">Lines</a><a "
                "href=\"#checkpoints\">Checkpoints</a></nav>"
                "</header>\n<main>\n",
                out);
    for (size_t i = 0; i < r->nproblems; i++) {
        (void)fputs("<p class=\"n\">", out);
        report_html_text(out, r->problems[i]);
        (void)fputs("</p>\n", out);
    }
}

static void findings(FILE *out, const struct report *r)
{
    size_t count = 0;
    char **texts = report_findings(r, &count);
    (void)fputs("<section><h2>What strikes most</h2><ul>\n", out);
    for (size_t i = 0; i < count; i++) {
        (void)fputs("<li>", out);
        report_html_text(out, texts[i]);
        (void)fputs("</li>\n", out);
        free(texts[i]);
    }
    free(texts);
    (void)fputs("</ul></section>\n", out);
}

static void ranks(FILE *out, const struct report *r)
{
    (void)fputs(
        "<section id=\"ranks\"><h2>Ranks</h2>\n<p class=\"s\">Part of the time "
        "in<span class=\"k k1\"></span>page faults<span class=\"k "
        "k2\"></span>locks, events, semaphores<span class=\"k k3\"></span>barriers<span "
        "class=\"k k0\"></span>checkpoints and restarts; empty: the program's "
        "own work</p>\n<figure>\n",
        out);
    report_svg_ranks(r, out);
    (void)fputs("</figure>\n", out);
    table_begin(
        out, "Ranks",
        "rank,<host,time,faults/s,in faults,copied in,sent home,for "
        "locks,for events,in barriers,for late ranks,came last,stopped");
    size_t shown = r->nranks < RANK_ROWS ? r->nranks : RANK_ROWS;
    for (size_t i = 0; i < shown; i++) {
        const struct report_numbers *n = &r->of_rank[i];
        uint64_t time = report_rank_time(r, i);
        (void)fprintf(out, "<tr><th scope=\"row\">%d</th>", r->ranks[i].h.rank);
        cell_text(out, r->ranks[i].h.host);
        cell_time(out, time);
        cell_rate(out, report_faults(n), time);
        cell_time(out, n->fault_ns);
        cell_bytes(out, n->in_bytes);
        cell_bytes(out, n->out_bytes);
        cell_time(out, n->wait_ns);
        cell_time(out, n->told_ns);
        cell_time(out, n->barrier_ns);
        cell_time(out, n->late_ns);
        cell_number(out, n->last);
        cell_time(out, n->stop_ns);
        (void)fputs("</tr>\n", out);
    }
    table_end(out);
    left_out(out, r->nranks, shown);
    (void)fputs("</section>\n", out);
}

struct order {
    uint64_t weight;
    uint32_t segment;
};

static int by_weight(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;
    return x->weight != y->weight
               ? (y->weight > x->weight) - (y->weight < x->weight)
               : (x->segment > y->segment) - (x->segment < y->segment);
}

static struct order *segments_order(const struct report *r)
{
    struct order *list = report_new(r->nsegments, sizeof *list);
    for (size_t i = 0; i < r->nsegments; i++) {
        list[i] = (struct order){report_faults(&r->segments[i].n), (uint32_t)i};
    }
    report_sort(list, r->nsegments, sizeof *list, by_weight);
    return list;
}

static void segment_row(FILE *out, const struct report *r,
                        const struct report_segment *s)
{
    (void)fputs("<tr>", out);
    cell_text(out, s->s.name);
    cell_text(out, s->s.type);
    cell_bytes(out, s->s.bytes);
    cell_number(out, s->pages);
    cell_number(out, s->pages_faulted);
    for (int i = 0; i < TRACE_FAULTS; i++) {
        cell_number(out, s->n.faults[i]);
    }
    cell_rate(out, report_faults(&s->n), r->end);
    cell_time(out, s->n.fault_ns);
    cell_bytes(out, s->n.in_bytes);
    cell_bytes(out, s->n.out_bytes);
    (void)fputs("</tr>\n", out);
}

static void segments(FILE *out, const struct report *r)
{
    struct order *list = segments_order(r);
    (void)fputs("<section id=\"memory\"><h2>Shared memory</h2>\n", out);
    table_begin(out, "Segments, by faults",
                "<segment,<type,size,pages,faulted on,read misses,write "
                "misses,upgrades,tracked,right only,faults/s,in faults,copied "
                "in,sent home");
    size_t shown = r->nsegments < ROWS ? r->nsegments : ROWS;
    for (size_t i = 0; i < shown; i++) {
        segment_row(out, r, &r->segments[list[i].segment]);
    }
    table_end(out);
    left_out(out, r->nsegments, shown);
    for (size_t i = 0; i < r->nsegments && i < HEATS && list[i].weight > 0;
         i++) {
        (void)fputs("<h3>Faults on ", out);
        report_html_text(out, r->segments[list[i].segment].s.name);
        (void)fputs(" by page and time</h3>\n<figure>\n", out);
        report_svg_heat(r, list[i].segment, out);
        (void)fputs("</figure>\n", out);
    }
    free(list);
    (void)fputs("</section>\n", out);
}

static void group_name(FILE *out, const struct report *r, size_t group,
                       const char *scope)
{
    size_t first = group * r->group;
    size_t last = first + r->group - 1;
    last = last < (size_t)r->size ? last : (size_t)r->size - 1;
    (void)fprintf(out, "<th scope=\"%s\">%zu", scope, first);
    if (last > first) {
        (void)fprintf(out, "-%zu", last);
    }
    (void)fputs("</th>", out);
}

static void sharing(FILE *out, const struct report *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < r->groups * r->groups; i++) {
        most = r->shared[i] > most ? r->shared[i] : most;
    }
    (void)fputs("<section id=\"sharing\"><h2>Who shares with whom</h2>\n", out);
    if (most == 0) {
        (void)fputs("<p>Nothing was copied between ranks.</p></section>\n",
                    out);
        return;
    }
    table_begin(out,
                "Copied by the rank of the row from pages whose home is "
                "the rank of the column",
                "");
    (void)fputs("<tr><th scope=\"col\">to \\ from</th>", out);
    for (size_t j = 0; j < r->groups; j++) {
        group_name(out, r, j, "col");
    }
    (void)fputs("</tr>\n", out);
    for (size_t i = 0; i < r->groups; i++) {
        (void)fputs("<tr>", out);
        group_name(out, r, i, "row");
        for (size_t j = 0; j < r->groups; j++) {
            uint64_t bytes = r->shared[i * r->groups + j];
            char size[32];
            unsigned level = bytes == 0         ? 0
                             : bytes > most / 2 ? 3
                             : bytes > most / 8 ? 2
                                                : 1;
            (void)fprintf(out, "<td class=\"m m%u\">%s</td>", level,
                          bytes > 0 ? cli_size(bytes, size) : "");
        }
        (void)fputs("</tr>\n", out);
    }
    table_end(out);
    (void)fputs("</section>\n", out);
}

/* The ranks that write a page, and where. */
static void writers(FILE *out, const struct report *r,
                    const struct report_page *p)
{
    enum {
        PARTS = 6
    };
    char range[160];
    (void)fputs("<td class=\"c\">", out);
    size_t told = 0;
    for (size_t i = 0; i < p->count && told < PARTS; i++) {
        const struct report_part *q = &r->parts[p->first + i];
        bool writes = report_part_writes(q);
        if (!writes && q->faults < 2 && p->count > 1) {
            continue;
        }
        (void)fprintf(out, "%srank %d: %s", told++ > 0 ? "<br>" : "", q->rank,
                      q->writes > 0 ? "writes " : "reads");
        if (q->writes > 0) {
            report_html_text(out, report_range(r, p->segment, p->page, q->low,
                                               q->high, range));
        }
        if (q->site != REPORT_NONE) {
            (void)fputs(" at ", out);
            report_html_text(out, report_site(r, q->site));
        }
    }
    if (told == PARTS && p->count > PARTS) {
        (void)fputs("<br>and others", out);
    }
    (void)fputs("</td>", out);
}

static uint64_t pages_table(FILE *out, const struct report *r, bool shared)
{
    char range[160];
    uint64_t shown = 0;
    for (size_t i = 0; i < r->npages && shown < ROWS; i++) {
        const struct report_page *p = &r->pages[i];
        if ((shared && !p->false_sharing) || p->faults == 0) {
            continue;
        }
        if (shown++ == 0) {
            table_begin(out,
                        shared ? "False sharing, candidates"
                               : "Pages with most time in faults",
                        "<elements,page,faults,in faults,writers,<who and "
                        "where");
        }
        (void)fputs("<tr>", out);
        cell_text(out, report_range(r, p->segment, p->page, 0, REPORT_PAGE - 1,
                                    range));
        cell_number(out, p->page);
        cell_number(out, p->faults);
        cell_time(out, p->ns);
        cell_number(out, p->writers);
        writers(out, r, p);
        (void)fputs("</tr>\n", out);
    }
    if (shown > 0) {
        table_end(out);
    }
    return shown;
}

static void pages(FILE *out, const struct report *r)
{
    (void)fputs("<section id=\"pages\"><h2>Pages</h2>\n<h3>False "
                "sharing</h3>\n<p class=\"s\">Pages that several ranks write, "
                "no two of them the same bytes, as far as was seen.</p>\n",
                out);
    uint64_t shown = pages_table(out, r, true);
    if (shown == 0) {
        (void)fputs("<p>None was found.</p>\n", out);
    }
    left_out(out, r->false_pages, shown);
    (void)fputs("<h3>Hot pages</h3>\n", out);
    shown = pages_table(out, r, false);
    if (shown == 0) {
        (void)fputs("<p>No page fault was recorded.</p>\n", out);
    }
    (void)fputs("</section>\n", out);
}

static void locks(FILE *out, const struct report *r)
{
    char name[64];
    (void)fputs("<section id=\"locks\"><h2>Locks, events, semaphores</h2>\n",
                out);
    if (r->nlocks == 0) {
        (void)fputs("<p>Nobody took or waited for one.</p></section>\n", out);
        return;
    }
    table_begin(out, "Those with longest waits",
                "<what,taken,failed tries,by ranks,waits,longest,holds,a hold,<"
                "waited for longest at");
    size_t shown = r->nlocks < ROWS ? r->nlocks : ROWS;
    for (size_t i = 0; i < shown; i++) {
        const struct report_lock *l = &r->locks[i];
        (void)fputs("<tr>", out);
        cell_text(out, report_lock_name(l, name));
        cell_number(out, l->takes);
        cell_number(out, l->tries);
        cell_number(out, l->ranks);
        cell_time(out, l->wait_ns);
        cell_time(out, l->wait_most);
        cell_time(out, l->hold_ns);
        cell_time(out, l->holds > 0 ? l->hold_ns / l->holds : 0);
        cell_text(out, report_site(r, l->site));
        (void)fputs("</tr>\n", out);
    }
    table_end(out);
    left_out(out, r->nlocks, shown);
    (void)fputs("</section>\n", out);
}

static void lines(FILE *out, const struct report *r)
{
    size_t count = 0;
    struct report_site *list = report_sites_hot(r, &count);
    (void)fputs("<section id=\"lines\"><h2>Lines of source</h2>\n", out);
    table_begin(out, "Where most time was spent in faults and calls",
                "<line,events,faults,time");
    size_t shown = count < ROWS ? count : ROWS;
    for (size_t i = 0; i < shown; i++) {
        (void)fputs("<tr>", out);
        cell_text(out, list[i].text);
        cell_number(out, list[i].count);
        cell_number(out, list[i].faults);
        cell_time(out, list[i].ns);
        (void)fputs("</tr>\n", out);
    }
    table_end(out);
    left_out(out, count, shown);
    free(list);
    (void)fputs("</section>\n", out);
}

/* Of all ranks. */
struct epoch {
    uint64_t number; /* + 1; 0: none was made */
    uint8_t back;    /* TRACE_RESTART, TRACE_RECOVER; 0: it was written */
    bool full;
    bool failed;
    uint64_t at;
    uint64_t stop; /* the longest of a rank, these */
    uint64_t write;
    uint64_t bytes; /* of all */
};

static void epoch_add(struct epoch *p, const struct report_event *e)
{
    bool writes = e->kind == TRACE_FLIGHT;
    uint64_t *most = writes ? &p->write : &p->stop;
    *most = e->ns > *most ? e->ns : *most;
    p->at = e->start < p->at ? e->start : p->at;
    p->bytes += e->bytes;
    p->full = p->full || (e->flags & TRACE_FULL) != 0;
    p->failed = p->failed || (e->flags & TRACE_FAILED) != 0;
}

static bool of_epoch(const struct report_event *e)
{
    return e->kind == TRACE_STOP || e->kind == TRACE_FLIGHT ||
           e->kind == TRACE_RESTART || e->kind == TRACE_RECOVER;
}

static int by_epoch(const void *a, const void *b)
{
    const struct epoch *x = a;
    const struct epoch *y = b;
    return x->back != y->back ? y->back - x->back
           : x->number != y->number
               ? (x->number > y->number) - (x->number < y->number)
               : (x->at > y->at) - (x->at < y->at);
}

/* By their numbers; those that came to nothing are one. */
static struct epoch *epochs_list(const struct report *r, size_t *count)
{
    struct epoch *list = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        for (uint64_t j = 0; j < r->ranks[i].nevents; j++) {
            const struct report_event *e = &r->ranks[i].events[j];
            if (of_epoch(e)) {
                list = report_grow(list, n, sizeof *list);
                list[n] = (struct epoch){.number = e->at, .at = e->start};
                if (e->kind == TRACE_RESTART || e->kind == TRACE_RECOVER) {
                    list[n].back = e->kind;
                }
                epoch_add(&list[n++], e);
            }
        }
    }
    report_sort(list, n, sizeof *list, by_epoch);
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        struct epoch *last = *count > 0 ? &list[*count - 1] : NULL;
        struct epoch now = list[i];
        if (last == NULL || last->number != now.number ||
            last->back != now.back) {
            list[(*count)++] = now;
            continue;
        }
        last->stop = now.stop > last->stop ? now.stop : last->stop;
        last->write = now.write > last->write ? now.write : last->write;
        last->bytes += now.bytes;
        last->full = last->full || now.full;
        last->failed = last->failed || now.failed;
    }
    return list;
}

static void epoch_row(FILE *out, const struct epoch *p)
{
    (void)fprintf(out, "<tr><td class=\"l\">%s%s</td>",
                  p->back == TRACE_RESTART   ? "restart"
                  : p->back == TRACE_RECOVER ? "recover"
                  : p->full                  ? "full"
                  : p->write > 0             ? "differential"
                                             : "",
                  p->failed ? " (failed)" : "");
    if (p->number > 0) {
        cell_number(out, p->number - 1);
    } else {
        (void)fputs("<td></td>", out);
    }
    cell_time(out, p->at);
    cell_time(out, p->stop);
    cell_time(out, p->write);
    cell_bytes(out, p->bytes);
    (void)fputs("</tr>\n", out);
}

static void checkpoints(FILE *out, const struct report *r)
{
    enum {
        EVENTS = 100
    };
    (void)fputs("<section id=\"checkpoints\"><h2>Checkpoints</h2>\n", out);
    if (r->all.stops + r->all.flights == 0 &&
        r->all.restart_ns + r->all.recover_ns == 0) {
        (void)fputs("<p>There were none.</p></section>\n", out);
        return;
    }
    (void)fputs("<p class=\"s\">Above<span class=\"k k0\"></span>the program "
                "stands still; below, beside it,<span class=\"k "
                "k6\"></span>a full epoch is written<span class=\"k "
                "k4\"></span>a differential one<span class=\"k k5\"></span>the "
                "chain is compacted</p>\n<figure>\n",
                out);
    report_svg_checkpoints(r, out);
    (void)fputs("</figure>\n", out);
    table_begin(out, "Checkpoints and restarts, longest times of a rank",
                "<what,epoch,at,stop,writing,of all ranks");
    size_t count = 0;
    struct epoch *list = epochs_list(r, &count);
    for (size_t i = 0; i < count && i < EVENTS; i++) {
        epoch_row(out, &list[i]);
    }
    free(list);
    table_end(out);
    if (count > EVENTS) {
        (void)fprintf(out, "<p class=\"s\">And %zu more.</p>\n",
                      count - EVENTS);
    }
    (void)fputs("</section>\n", out);
}

void report_html(const struct report *r, FILE *out)
{
    head(out, r);
    findings(out, r);
    ranks(out, r);
    segments(out, r);
    sharing(out, r);
    pages(out, r);
    locks(out, r);
    lines(out, r);
    checkpoints(out, r);
    (void)fputs("</main></body></html>\n", out);
}
