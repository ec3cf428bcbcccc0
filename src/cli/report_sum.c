/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the events of a trace add up to: by rank, segment and site, at barriers, and
 * who copies from whom.
 */
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum {
    GROUPS_MOST = 32
};

uint64_t report_faults(const struct report_numbers *n)
{
    uint64_t sum = 0;
    for (int i = 0; i < TRACE_FAULTS; i++) {
        sum += n->faults[i];
    }
    return sum;
}

/* ---- sites ------------------------------------------------------------------------------ */

static int by_place(const void *a, const void *b)
{
    const struct report_site *x = a;
    const struct report_site *y = b;
    return x->file != y->file ? (x->file > y->file) - (x->file < y->file)
           : x->address != y->address
               ? (x->address > y->address) - (x->address < y->address)
               : x->returns - y->returns;
}

/* Where in the files of the program an event happened. */
static struct report_site site_of(const struct report_rank *k,
                                  const struct report_event *e)
{
    struct report_site s = {.file = REPORT_NONE,
                            .address = e->pc,
                            .returns = e->kind != TRACE_FAULT};
    for (size_t i = 0; i < k->nmodules; i++) {
        const struct report_module *m = &k->modules[i];
        if (e->pc >= m->m.low && e->pc < m->m.high) {
            s.file = m->file;
            s.address = e->pc - m->m.bias;
            break;
        }
    }
    return s;
}

struct pair {
    uint64_t pc;
    uint32_t site;
    bool returns;
};

static int by_counter(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    return x->pc != y->pc ? (x->pc > y->pc) - (x->pc < y->pc)
                          : x->returns - y->returns;
}

/* The different program counters of a rank, ascending. */
static struct pair *counters_of(const struct report_rank *k, size_t *count)
{
    struct pair *list = report_new(k->nevents, sizeof *list);
    size_t n = 0;
    for (uint64_t i = 0; i < k->nevents; i++) {
        const struct report_event *e = &k->events[i];
        if (e->pc != 0) {
            list[n++] =
                (struct pair){.pc = e->pc, .returns = e->kind != TRACE_FAULT};
        }
    }
    report_sort(list, n, sizeof *list, by_counter);
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        if (*count == 0 || by_counter(&list[*count - 1], &list[i]) != 0) {
            list[(*count)++] = list[i];
        }
    }
    return list;
}

static void sites_unite(struct report *r)
{
    size_t count = 0;
    report_sort(r->sites, r->nsites, sizeof *r->sites, by_place);
    for (size_t i = 0; i < r->nsites; i++) {
        if (count == 0 || by_place(&r->sites[count - 1], &r->sites[i]) != 0) {
            r->sites[count++] = r->sites[i];
        }
    }
    r->nsites = count;
}

static uint32_t site_find(const struct report *r, const struct report_site *s)
{
    const struct report_site *found =
        report_find(s, r->sites, r->nsites, sizeof *r->sites, by_place);
    return found != NULL ? (uint32_t)(found - r->sites) : REPORT_NONE;
}

/* Gives the events of a rank their sites. */
static void sites_give(struct report *r, struct report_rank *k)
{
    size_t count = 0;
    struct pair *list = counters_of(k, &count);
    for (size_t i = 0; i < count; i++) {
        struct report_site s =
            site_of(k, &(struct report_event){
                           .pc = list[i].pc,
                           .kind = list[i].returns ? TRACE_TAKE : TRACE_FAULT});
        list[i].site = site_find(r, &s);
    }
    for (uint64_t i = 0; i < k->nevents; i++) {
        struct report_event *e = &k->events[i];
        struct pair key = {.pc = e->pc, .returns = e->kind != TRACE_FAULT};
        const struct pair *p =
            report_find(&key, list, count, sizeof *list, by_counter);
        e->site = p != NULL ? p->site : REPORT_NONE;
        if (e->site != REPORT_NONE) {
            struct report_site *s = &r->sites[e->site];
            s->count++;
            s->ns += e->ns;
            s->faults += e->kind == TRACE_FAULT;
        }
    }
    free(list);
}

static void sites_find(struct report *r)
{
    for (size_t i = 0; i < r->nranks; i++) {
        size_t count = 0;
        struct pair *list = counters_of(&r->ranks[i], &count);
        for (size_t j = 0; j < count; j++) {
            r->sites = report_grow(r->sites, r->nsites, sizeof *r->sites);
            r->sites[r->nsites++] = site_of(
                &r->ranks[i],
                &(struct report_event){.pc = list[j].pc,
                                       .kind = list[j].returns ? TRACE_TAKE
                                                               : TRACE_FAULT});
        }
        free(list);
    }
    sites_unite(r);
    for (size_t i = 0; i < r->nranks; i++) {
        sites_give(r, &r->ranks[i]);
    }
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* For a lock, or to be told. */
static void wait_add(struct report_numbers *n, const struct report_event *e)
{
    n->takes += e->kind == TRACE_TAKE;
    if (e->kind == TRACE_WAIT || (e->flags & TRACE_CONDITION) != 0) {
        n->waits++;
        n->told_ns += e->ns;
    } else {
        n->wait_ns += e->ns;
    }
}

static void numbers_add(struct report_numbers *n, const struct report_event *e)
{
    switch ((enum trace_kind)e->kind) {
    case TRACE_FAULT:
        n->faults[e->what]++;
        n->fault_ns += e->ns;
        break;
    case TRACE_IN: n->in_bytes += e->bytes; break;
    case TRACE_OUT: n->out_bytes += e->bytes; break;
    case TRACE_TAKE:
    case TRACE_WAIT: wait_add(n, e); break;
    case TRACE_TRY: n->tries += e->pages; break;
    case TRACE_BARRIER:
        n->barriers++;
        n->barrier_ns += e->ns;
        break;
    case TRACE_STOP:
        n->stops++;
        n->stop_ns += e->ns;
        break;
    case TRACE_FLIGHT:
        n->flights += (e->flags & TRACE_FAILED) == 0;
        n->flight_ns += e->ns;
        n->flight_bytes += e->bytes;
        break;
    case TRACE_RESTART: n->restart_ns += e->ns; break;
    case TRACE_RECOVER:
        n->recovers++;
        n->recover_ns += e->ns;
        break;
    default: break;
    }
}

static void numbers_sum(struct report *r)
{
    r->of_rank = report_new(r->nranks, sizeof *r->of_rank);
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        for (uint64_t j = 0; j < k->nevents; j++) {
            const struct report_event *e = &k->events[j];
            numbers_add(&r->all, e);
            numbers_add(&r->of_rank[i], e);
            if (e->segment != REPORT_NONE) {
                numbers_add(&r->segments[e->segment].n, e);
            }
        }
    }
}

/* ---- barriers --------------------------------------------------------------------------------- */

struct arrival {
    uint64_t barrier;
    uint64_t start;
    size_t rank; /* index */
};

static int by_barrier(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;
    return x->barrier != y->barrier
               ? (x->barrier > y->barrier) - (x->barrier < y->barrier)
               : (x->start > y->start) - (x->start < y->start);
}

/* Whoever came last let the others wait. Barriers that some rank's file lacks tell
 * nothing. */
static void barriers_sum(struct report *r)
{
    struct arrival *list = report_new(r->all.barriers, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        for (uint64_t j = 0; j < k->nevents; j++) {
            if (k->events[j].kind == TRACE_BARRIER) {
                list[n++] =
                    (struct arrival){k->events[j].at, k->events[j].start, i};
            }
        }
    }
    report_sort(list, n, sizeof *list, by_barrier);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && list[end].barrier == list[i].barrier) {
            end++;
        }
        const struct arrival *last = &list[end - 1];
        if (end - i == (size_t)r->size && r->size > 1) {
            r->of_rank[last->rank].last++;
            for (size_t j = i; j < end; j++) {
                r->of_rank[list[j].rank].late_ns += last->start - list[j].start;
                r->all.late_ns += last->start - list[j].start;
            }
        }
        i = end;
    }
    free(list);
}

/* ---- who copies from whom ----------------------------------------------------------------------- */

static void sharing_sum(struct report *r)
{
    r->group = ((size_t)r->size + GROUPS_MOST - 1) / GROUPS_MOST;
    r->groups = ((size_t)r->size + r->group - 1) / r->group;
    r->shared = report_new(r->groups * r->groups, sizeof *r->shared);
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        size_t to = (size_t)k->h.rank / r->group;
        for (uint64_t j = 0; j < k->nevents; j++) {
            const struct report_event *e = &k->events[j];
            if (e->kind == TRACE_IN && e->peer >= 0 && e->peer < r->size) {
                r->shared[to * r->groups + (size_t)e->peer / r->group] +=
                    e->bytes;
            }
        }
    }
}

void report_sum(struct report *r)
{
    sites_find(r);
    numbers_sum(r);
    barriers_sum(r);
    sharing_sum(r);
}
