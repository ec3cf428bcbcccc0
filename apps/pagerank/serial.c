/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial program. It is meant to be plain, not fast. See serial.h.
 */
#include "serial.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct link {
    uint64_t from; /* ids, then numbers */
    uint64_t to;
};

struct serial {
    struct link *links;
    size_t count;
    uint64_t *ids; /* rising */
    size_t n;
    double *x;
    double moved;
};

static int by_ends(const void *a, const void *b)
{
    const struct link *left = a;
    const struct link *right = b;
    if (left->from != right->from) {
        return left->from < right->from ? -1 : 1;
    }
    return left->to < right->to ? -1 : left->to > right->to;
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void read_links(struct team *t, const char *name, struct serial *s)
{
    FILE *file = fopen(name, "r");
    char *text = NULL;
    size_t size = 0;
    size_t room = 0;
    while (file != NULL && getline(&text, &size, file) >= 0) {
        char *at = text + strspn(text, " \t\r\n");
        if (!isdigit((unsigned char)*at)) {
            continue; /* a comment; what is wrong was told already */
        }
        if (s->count == room) {
            room = room > 0 ? 2 * room : 1024;
            struct link *links = realloc(s->links, room * sizeof *links);
            if (links == NULL) {
                (void)program_fail(t->name, "--check: out of memory");
                t->end();
            }
            s->links = links;
        }
        s->links[s->count].from = strtoull(at, &at, 10);
        s->links[s->count].to = strtoull(at, &at, 10);
        s->count++;
    }
    free(text);
    if (file != NULL) {
        (void)fclose(file);
    }
}

static void number_ids(struct team *t, struct serial *s)
{
    s->ids = team_memory(t, 2 * s->count, sizeof *s->ids);
    for (size_t k = 0; k < s->count; k++) {
        s->ids[2 * k] = s->links[k].from;
        s->ids[2 * k + 1] = s->links[k].to;
    }
    qsort(s->ids, 2 * s->count, sizeof *s->ids, by_id);
    for (size_t i = 0; i < 2 * s->count; i++) {
        if (i == 0 || s->ids[i] != s->ids[i - 1]) {
            s->ids[s->n++] = s->ids[i];
        }
    }
}

static size_t number_of(const struct serial *s, uint64_t id)
{
    const uint64_t *at = bsearch(&id, s->ids, s->n, sizeof id, by_id);
    return at != NULL ? (size_t)(at - s->ids) : 0; /* each id is there */
}

/* Drops loops and what is listed again. */
static void clean(struct serial *s)
{
    size_t kept = 0;
    qsort(s->links, s->count, sizeof *s->links, by_ends);
    for (size_t k = 0; k < s->count; k++) {
        struct link l = s->links[k];
        if (l.from != l.to &&
            (kept == 0 || by_ends(&l, &s->links[kept - 1]) != 0)) {
            s->links[kept++] = l;
        }
    }
    s->count = kept;
    for (size_t k = 0; k < s->count; k++) {
        s->links[k].from = number_of(s, s->links[k].from);
        s->links[k].to = number_of(s, s->links[k].to);
    }
}

/* The equation, as it stands in pagerank.h. */
static void iterate(struct team *t, const struct pagerank_options *o,
                    struct serial *s)
{
    double n = (double)s->n;
    double *next = team_memory(t, s->n, sizeof *next);
    double *degree = team_memory(t, s->n, sizeof *degree);
    s->x = team_memory(t, s->n, sizeof *s->x);
    for (size_t k = 0; k < s->count; k++) {
        degree[s->links[k].from] += 1.0;
    }
    for (size_t v = 0; v < s->n; v++) {
        s->x[v] = 1.0 / n;
    }
    s->moved = INFINITY;
    for (int64_t i = 0; i < o->iterations && s->moved > o->tolerance; i++) {
        double stuck = 0.0;
        for (size_t v = 0; v < s->n; v++) {
            stuck += degree[v] == 0.0 ? s->x[v] : 0.0;
        }
        for (size_t v = 0; v < s->n; v++) {
            next[v] = (1.0 - o->damping + o->damping * stuck) / n;
        }
        for (size_t k = 0; k < s->count; k++) {
            size_t from = s->links[k].from;
            next[s->links[k].to] += o->damping * s->x[from] / degree[from];
        }
        s->moved = 0.0;
        for (size_t v = 0; v < s->n; v++) {
            s->moved += fabs(next[v] - s->x[v]);
            s->x[v] = next[v];
        }
    }
    free(next);
    free(degree);
}

/* ---- comparison ---------------------------------------------------------- */

/* One word of each vertex, of all vertices in order, on worker 0. */
static uint64_t *collect(const struct pagerank_answer *a, const void *words)
{
    struct team *t = a->team;
    size_t size = (size_t)t->size;
    size_t count = a->graph->mine.last - a->graph->mine.first;
    size_t *cut = team_memory(t, 2 * (size + 1), sizeof *cut);
    for (size_t w = 1; w <= size; w++) {
        cut[w] = count; /* all to worker 0 */
    }
    uint64_t *got = t->exchange(t, words, cut, cut + size + 1);
    free(cut);
    return got;
}

static int compare(const struct pagerank_answer *a, const uint64_t *ids,
                   const double *x, double error)
{
    struct team *t = a->team;
    const struct pagerank_options *o = a->state->options;
    struct serial s = {0};
    read_links(t, o->file, &s);
    number_ids(t, &s);
    clean(&s);
    iterate(t, o, &s);
    int result = 0;
    if (s.n != a->graph->n || s.count != a->graph->edges ||
        memcmp(s.ids, ids, s.n * sizeof *ids) != 0) {
        result = program_fail(t->name,
                              "--check: a serial program finds %zu vertices, "
                              "%zu edges, or others",
                              s.n, s.count);
    } else {
        double apart = 0.0;
        for (size_t v = 0; v < s.n; v++) {
            apart += fabs(s.x[v] - x[v]);
        }
        /* its ranks are wrong, too: by what moved last, see pagerank.c */
        double bound = error + s.moved / (1.0 - o->damping);
        (void)printf("check: %.3e from a serial program's ranks, at most "
                     "%.3e\n",
                     apart, bound);
        result = apart <= bound ? 0 : -1;
    }
    free(s.links);
    free(s.ids);
    free(s.x);
    return result;
}

int serial_compare(const struct pagerank_answer *a, double error)
{
    uint64_t *ids = collect(a, a->graph->id);
    uint64_t *ranks = collect(a, a->x);
    bool failed =
        a->team->rank == 0 &&
        compare(a, ids, (const double *)(const void *)ranks, error) != 0;
    free(ids);
    free(ranks);
    return team_failed(a->team, failed) < 0 ? 0 : -1;
}
