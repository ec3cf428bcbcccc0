/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks: how long they were waited for and held. A hold is from a take to the next give
 * of the same lock by the same thread; a reader's lock may be held by many. Events and
 * semaphores: how long they were waited for.
 */
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum {
    HELD_MOST = 1024 /* by one rank at once; those beyond count as not held */
};

/* A take, a wait, a hold, failed tries. */
struct use {
    uint64_t id;
    uint64_t ns;
    int32_t rank;
    uint32_t site;
    uint32_t tries;
    uint8_t what;
    bool hold;
};

struct held {
    uint64_t id;
    uint64_t since;
    uint16_t thread;
};

struct uses {
    struct use *list;
    size_t count;
    struct held held[HELD_MOST];
    size_t nheld;
};

static int by_lock(const void *a, const void *b)
{
    const struct use *x = a;
    const struct use *y = b;
    return x->id != y->id       ? report_order(x->id, y->id)
           : x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank)
                                : report_order(y->ns, x->ns);
}

static void use_add(struct uses *u, struct use use)
{
    u->list = report_grow(u->list, u->count, sizeof *u->list);
    u->list[u->count++] = use;
}

static void taken(struct uses *u, const struct report_event *e)
{
    if (u->nheld < HELD_MOST) {
        u->held[u->nheld++] = (struct held){e->at, e->start + e->ns, e->thread};
    }
}

static void given(struct uses *u, const struct report_event *e, int32_t rank)
{
    for (size_t i = u->nheld; i-- > 0;) {
        struct held *h = &u->held[i];
        if (h->id == e->at && h->thread == e->thread) {
            if (e->start >= h->since) {
                use_add(u, (struct use){.id = e->at,
                                        .ns = e->start - h->since,
                                        .rank = rank,
                                        .site = e->site,
                                        .what = e->what,
                                        .hold = true});
            }
            *h = u->held[--u->nheld];
            return;
        }
    }
}

static void rank_uses(struct uses *u, const struct report_rank *k)
{
    u->nheld = 0;
    for (uint64_t j = 0; j < k->nevents; j++) {
        const struct report_event *e = &k->events[j];
        if (e->kind == TRACE_WAIT || e->kind == TRACE_TRY) {
            bool waits = e->kind == TRACE_WAIT;
            use_add(u, (struct use){.id = e->at,
                                    .ns = waits ? e->ns : 0,
                                    .rank = k->h.rank,
                                    .site = e->site,
                                    .tries = waits ? 0 : e->pages,
                                    .what = e->what});
        } else if (e->kind == TRACE_TAKE) {
            bool waits = (e->flags & TRACE_CONDITION) == 0;
            use_add(u, (struct use){.id = e->at,
                                    .ns = waits ? e->ns : 0,
                                    .rank = k->h.rank,
                                    .site = e->site,
                                    .what = e->what});
            taken(u, e);
        } else if (e->kind == TRACE_GIVE) {
            given(u, e, k->h.rank);
        }
    }
}

static void lock_add(struct report *r, const struct use *list, size_t count)
{
    struct report_lock lock = {
        .id = list->id, .what = list->what, .site = REPORT_NONE};
    for (size_t i = 0; i < count; i++) {
        const struct use *u = &list[i];
        lock.ranks += i == 0 || list[i - 1].rank != u->rank;
        if (u->hold) {
            lock.holds++;
            lock.hold_ns += u->ns;
            continue;
        }
        lock.tries += u->tries;
        lock.takes += u->tries == 0;
        lock.wait_ns += u->ns;
        if (u->ns >= lock.wait_most) {
            lock.wait_most = u->ns;
            lock.site = u->site;
        }
    }
    r->locks = report_grow(r->locks, r->nlocks, sizeof *r->locks);
    r->locks[r->nlocks++] = lock;
}

static int by_wait(const void *a, const void *b)
{
    const struct report_lock *x = a;
    const struct report_lock *y = b;
    return x->wait_ns != y->wait_ns ? report_order(y->wait_ns, x->wait_ns)
                                    : report_order(x->id, y->id);
}

void report_locks(struct report *r)
{
    struct uses *u = report_new(1, sizeof *u);
    for (size_t i = 0; i < r->nranks; i++) {
        uint64_t before = u->count;
        rank_uses(u, &r->ranks[i]);
        for (size_t j = before; j < u->count; j++) {
            r->of_rank[i].hold_ns += u->list[j].hold ? u->list[j].ns : 0;
            r->all.hold_ns += u->list[j].hold ? u->list[j].ns : 0;
        }
    }
    report_sort(u->list, u->count, sizeof *u->list, by_lock);
    for (size_t i = 0; i < u->count;) {
        size_t end = i;
        while (end < u->count && u->list[end].id == u->list[i].id) {
            end++;
        }
        lock_add(r, &u->list[i], end - i);
        i = end;
    }
    report_sort(r->locks, r->nlocks, sizeof *r->locks, by_wait);
    free(u->list);
    free(u);
}
