/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages: how often they were faulted on, by whom, who wrote which of their bytes.
 *
 * What a rank writes to a page is known from two things: the byte at which each fault
 * that writes happened, and, of changes sent home, the first and the last byte that
 * differed. The range from the first to the last of these bytes is taken for what the rank
 * writes. If two ranks or more write a page again and again and no two of these ranges
 * meet, the page is a candidate for false sharing. Who wrote it once, to begin with, does
 * not count; ranks that write bytes in turn, each between those of the others, are not
 * found by that.
 */
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* One access to a page. */
struct touch {
    uint64_t page;
    uint64_t ns;
    uint32_t segment;
    int32_t rank;
    uint32_t site;
    uint16_t low;
    uint16_t high;
    bool fault;
    bool write;
};

/* Faults of one site, of those that write first, together. */
static int by_part(const void *a, const void *b)
{
    const struct touch *x = a;
    const struct touch *y = b;
    return x->segment != y->segment ? report_order(x->segment, y->segment)
           : x->page != y->page     ? report_order(x->page, y->page)
           : x->rank != y->rank     ? (x->rank > y->rank) - (x->rank < y->rank)
           : x->write != y->write   ? y->write - x->write
                                    : report_order(x->site, y->site);
}

static struct touch *touches_list(const struct report *r, size_t *count)
{
    struct touch *list = report_new(r->nevents, sizeof *list);
    *count = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        for (uint64_t j = 0; j < k->nevents; j++) {
            const struct report_event *e = &k->events[j];
            bool fault = e->kind == TRACE_FAULT;
            if (e->segment == REPORT_NONE || (!fault && e->kind != TRACE_OUT)) {
                continue;
            }
            list[(*count)++] = (struct touch){
                .page = e->page,
                .ns = fault ? e->ns : 0,
                .segment = e->segment,
                .rank = k->h.rank,
                .site = e->site,
                .low = (uint16_t)e->low,
                .high = (uint16_t)e->high,
                .fault = fault,
                .write = !fault || (e->flags & TRACE_WRITES) != 0};
        }
    }
    report_sort(list, *count, sizeof *list, by_part);
    return list;
}

/* The site with most touches of a part, writes before reads. */
static void site_choose(struct report_part *p, const struct touch *list,
                        size_t count)
{
    size_t most = 0;
    p->site = REPORT_NONE;
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && list[end].site == list[i].site &&
               list[end].write == list[i].write) {
            end++;
        }
        bool better =
            list[i].site != REPORT_NONE && (end - i > most) &&
            (list[i].write || p->writes == 0 || p->site == REPORT_NONE);
        if (better) {
            most = end - i;
            p->site = list[i].site;
        }
        i = end;
    }
}

static struct report_part part_of(const struct touch *list, size_t count)
{
    struct report_part p = {.rank = list->rank, .low = REPORT_PAGE, .high = 0};
    for (size_t i = 0; i < count; i++) {
        const struct touch *t = &list[i];
        p.faults += t->fault;
        p.ns += t->ns;
        if (t->write) {
            p.writes++;
            p.low = t->low < p.low ? t->low : p.low;
            p.high = t->high > p.high ? t->high : p.high;
        }
    }
    site_choose(&p, list, count);
    return p;
}

static bool meet(const struct report_part *a, const struct report_part *b)
{
    return a->low <= b->high && b->low <= a->high;
}

/* Ranks are few where it is true: the look ends at the first two that meet. */
static bool apart(const struct report_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (report_part_writes(&parts[i]) &&
                report_part_writes(&parts[j]) && meet(&parts[i], &parts[j])) {
                return false;
            }
        }
    }
    return true;
}

static void page_add(struct report *r, const struct touch *list, size_t count)
{
    struct report_page page = {
        .segment = list->segment, .page = list->page, .first = r->nparts};
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && list[end].rank == list[i].rank) {
            end++;
        }
        r->parts = report_grow(r->parts, r->nparts, sizeof *r->parts);
        struct report_part *p = &r->parts[r->nparts++];
        *p = part_of(&list[i], end - i);
        page.faults += p->faults;
        page.ns += p->ns;
        page.writers += report_part_writes(p);
        page.count++;
        i = end;
    }
    page.false_sharing =
        page.writers > 1 && apart(&r->parts[page.first], page.count);
    r->false_pages += page.false_sharing;
    r->segments[page.segment].pages_faulted += page.faults > 0;
    r->pages = report_grow(r->pages, r->npages, sizeof *r->pages);
    r->pages[r->npages++] = page;
}

static int by_time(const void *a, const void *b)
{
    const struct report_page *x = a;
    const struct report_page *y = b;
    return x->ns != y->ns             ? report_order(y->ns, x->ns)
           : x->faults != y->faults   ? report_order(y->faults, x->faults)
           : x->segment != y->segment ? report_order(x->segment, y->segment)
                                      : report_order(x->page, y->page);
}

void report_pages(struct report *r)
{
    size_t count = 0;
    struct touch *list = touches_list(r, &count);
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && list[end].segment == list[i].segment &&
               list[end].page == list[i].page) {
            end++;
        }
        page_add(r, &list[i], end - i);
        i = end;
    }
    free(list);
    report_sort(r->pages, r->npages, sizeof *r->pages, by_time);
}
