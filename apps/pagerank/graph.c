/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From lines to rows:
 *
 *   read      each worker reads its part of the file (edges.h)
 *   number    all ids are sorted by all workers (keys.h), each of which keeps a
 *             *piece* of them; a vertex's number is its place; whoever uses an id is
 *             told its number
 *   deal      edges as words TO << 32 | FROM are sorted in the same way, but cut
 *             between blocks of targets only
 *   degrees   each worker counts the edges from each vertex among its own, and
 *             tells the vertex's worker
 *   ids       go from the pieces to the vertices' workers
 *
 * Whatever one worker tells another goes through team->exchange.
 */
#include "graph.h"

#include <inttypes.h>
#include <stdlib.h>

#include "edges.h"
#include "keys.h"

/* ---- sorting by all workers ---------------------------------------------- */

/* splitter[size], equal on all workers, from all workers' sorted keys. */
static void split(struct team *t, const uint64_t *keys, size_t n,
                  uint64_t *splitter)
{
    size_t size = (size_t)t->size;
    uint64_t *rows = team_memory(t, (size + 1) * KEYS_ROW, sizeof *rows);
    uint64_t *mine = rows + size * KEYS_ROW;
    keys_sample(keys, n, mine);
    t->all(t, mine, KEYS_ROW, rows);
    if (keys_split(rows, t->size, splitter) != 0) {
        (void)program_fail(t->name, "%s %d: out of memory", t->kind, t->rank);
        t->end();
    }
    free(rows);
}

static size_t sort(struct team *t, uint64_t *keys, size_t n)
{
    uint64_t *scratch = team_memory(t, n, sizeof *scratch);
    size_t kept = keys_sort(keys, n, scratch);
    free(scratch);
    return kept;
}

/* ---- read ---------------------------------------------------------------- */

static void say_wrong(struct team *t, const char *file, const struct edges *e,
                      uint64_t lines_before)
{
    if (e->at_line) {
        (void)program_fail(t->name, "%.200s:%" PRIu64 ": %s (%s %d)", file,
                           lines_before + e->lines, e->wrong, t->kind, t->rank);
    } else {
        (void)program_fail(t->name, "%.200s: %s (%s %d)", file, e->wrong,
                           t->kind, t->rank);
    }
}

/* All workers' parts; the lowest that failed says why. */
static int read_edges(struct team *t, const char *file, struct edges *e)
{
    enum {
        FAILED,
        LINES,
        BYTES,
        COUNT,
        WORDS
    };
    int code = edges_read(e, file, t->rank, t->size);
    const uint64_t mine[WORDS] = {code != 0, e->lines, e->bytes, e->count};
    uint64_t *all = team_memory(t, (size_t)t->size * WORDS, sizeof *all);
    t->all(t, mine, WORDS, all);
    int wrong = -1; /* the lowest worker that failed */
    uint64_t lines = 0;
    uint64_t count = 0;
    bool differ = false;
    for (int w = 0; w < t->size && wrong < 0; w++) {
        const uint64_t *row = all + (size_t)w * WORDS;
        differ = differ || row[BYTES] != all[BYTES];
        count += row[COUNT];
        if (row[FAILED] != 0) {
            wrong = w;
        } else {
            lines += row[LINES];
        }
    }
    free(all);
    if (wrong >= 0) {
        if (wrong == t->rank) {
            say_wrong(t, file, e, lines);
        }
        return -1;
    }
    if (differ || count == 0) {
        if (t->rank == 0) {
            (void)program_fail(t->name, "%.200s: %s", file,
                               differ
                                   ? "its size is not the same everywhere: it "
                                     "is being written, or another file"
                                   : "no line has an edge");
        }
        return -1;
    }
    return 0;
}

/* ---- number -------------------------------------------------------------- */

/* A worker's piece of all ids, in order; the first is vertex `base`. */
struct piece {
    uint64_t *id;
    size_t count;
    size_t base;
};

/* Takes what was received as the piece, in place; `got` stays as it is. */
static int place_piece(struct team *t, const uint64_t *got, size_t count,
                       struct piece *piece, struct graph *g)
{
    piece->id = team_memory(t, count, sizeof *piece->id);
    for (size_t i = 0; i < count; i++) {
        piece->id[i] = got[i];
    }
    piece->count = sort(t, piece->id, count);
    uint64_t mine = piece->count;
    uint64_t *all = team_memory(t, (size_t)t->size, sizeof *all);
    t->all(t, &mine, 1, all);
    uint64_t n = 0;
    for (int w = 0; w < t->size; w++) {
        if (w == t->rank) {
            piece->base = n;
        }
        n += all[w];
    }
    free(all);
    g->n = n;
    if (n < UINT32_MAX) {
        return 0;
    }
    if (t->rank == 0) {
        (void)program_fail(t->name, "%" PRIu64 " vertices: more than 2^32 - 2",
                           n);
    }
    return -1;
}

/*
 * The numbers of the sorted ids[count]: each is sent to the worker in whose piece it
 * belongs, which sends back its number. NULL: too many vertices.
 */
static uint64_t *ask_numbers(struct team *t, const uint64_t *ids, size_t count,
                             struct piece *piece, struct graph *g)
{
    size_t size = (size_t)t->size;
    uint64_t *splitter = team_memory(t, size, sizeof *splitter);
    size_t *cut = team_memory(t, 2 * (size + 1), sizeof *cut);
    size_t *from = cut + size + 1;
    uint64_t *numbers = NULL;
    split(t, ids, count, splitter);
    keys_cut(ids, count, splitter, t->size, cut);
    uint64_t *got = t->exchange(t, ids, cut, from);
    if (place_piece(t, got, from[size], piece, g) == 0) {
        for (size_t i = 0; i < from[size]; i++) {
            got[i] = piece->base + keys_find(piece->id, piece->count, got[i]);
        }
        /* answers come in the order of the questions */
        numbers = t->exchange(t, got, from, cut);
    }
    free(got);
    free(splitter);
    free(cut);
    return numbers;
}

/* Gives edges the vertices' numbers instead of local ones. */
static int renumber(struct team *t, struct edges *e, struct piece *piece,
                    struct graph *g)
{
    uint64_t *ids = team_memory(t, e->ids, sizeof *ids);
    for (size_t i = 0; i < e->ids; i++) {
        ids[i] = e->id[i];
    }
    (void)sort(t, ids, e->ids); /* they differ: none is dropped */
    uint64_t *numbers = ask_numbers(t, ids, e->ids, piece, g);
    if (numbers != NULL) {
        uint32_t *by_local = team_memory(t, e->ids, sizeof *by_local);
        for (size_t i = 0; i < e->ids; i++) {
            by_local[i] = (uint32_t)numbers[keys_find(ids, e->ids, e->id[i])];
        }
        for (size_t k = 0; k < e->count; k++) {
            e->list[k].from = by_local[e->list[k].from];
            e->list[k].to = by_local[e->list[k].to];
        }
        free(by_local);
    }
    free(ids);
    free(numbers);
    return numbers != NULL ? 0 : -1;
}

/* ---- deal ---------------------------------------------------------------- */

/* Words of a worker's edges but loops, in order, each once. */
static uint64_t *words_of(struct team *t, const struct edges *e,
                          struct graph *g, size_t *count)
{
    uint64_t *words = team_memory(t, e->count, sizeof *words);
    size_t kept = 0;
    for (size_t k = 0; k < e->count; k++) {
        if (e->list[k].from != e->list[k].to) {
            words[kept++] = (uint64_t)e->list[k].to << 32 | e->list[k].from;
        }
    }
    g->listed = e->count;
    g->loops = e->count - kept;
    *count = sort(t, words, kept);
    return words;
}

/* Cuts lie between blocks. */
static void deal(struct team *t, const struct edges *e, struct graph *g)
{
    size_t size = (size_t)t->size;
    size_t count = 0;
    uint64_t *words = words_of(t, e, g, &count);
    uint64_t *splitter = team_memory(t, size, sizeof *splitter);
    size_t *cut = team_memory(t, 2 * (size + 1), sizeof *cut);
    size_t *from = cut + size + 1;
    split(t, words, count, splitter);
    g->bounds = team_memory(t, size + 1, sizeof *g->bounds);
    for (size_t w = 0; w < size; w++) {
        g->bounds[w] = (size_t)(splitter[w] >> 32) / GRAPH_BLOCK * GRAPH_BLOCK;
        splitter[w] = (uint64_t)g->bounds[w] << 32;
    }
    g->bounds[size] = g->n;
    g->mine = (struct program_part){g->bounds[t->rank], g->bounds[t->rank + 1]};
    keys_cut(words, count, splitter, t->size, cut);
    g->in = t->exchange(t, words, cut, from);
    g->in_count = sort(t, g->in, from[size]);
    free(words);
    free(splitter);
    free(cut);
}

static void count_edges(struct team *t, struct graph *g)
{
    uint64_t *all = team_memory(t, (size_t)t->size, sizeof *all);
    uint64_t mine = g->in_count;
    t->all(t, &mine, 1, all);
    g->edges = 0;
    for (int w = 0; w < t->size; w++) {
        if (w == t->rank) {
            g->before = g->edges;
        }
        g->edges += all[w];
    }
    free(all);
    uint64_t lines[] = {g->listed, g->loops};
    team_add(t, lines, 2);
    g->listed = lines[0];
    g->loops = lines[1];
}

/* ---- degrees and ids ----------------------------------------------------- */

/* Words FROM << 32 | NUMBER, a rising FROM: how many of my edges begin there. */
static uint64_t *count_sources(struct team *t, const struct graph *g,
                               size_t *count)
{
    uint32_t *counts = team_memory(t, g->n, sizeof *counts);
    size_t sources = 0;
    for (size_t k = 0; k < g->in_count; k++) {
        sources += counts[(uint32_t)g->in[k]]++ == 0;
    }
    uint64_t *words = team_memory(t, sources, sizeof *words);
    *count = 0;
    for (size_t v = 0; v < g->n; v++) {
        if (counts[v] != 0) {
            words[(*count)++] = (uint64_t)v << 32 | counts[v];
        }
    }
    free(counts);
    return words;
}

static void learn_degrees(struct team *t, struct graph *g)
{
    size_t size = (size_t)t->size;
    uint64_t *splitter = team_memory(t, size, sizeof *splitter);
    size_t *cut = team_memory(t, 2 * (size + 1), sizeof *cut);
    size_t *from = cut + size + 1;
    size_t count = 0;
    uint64_t *words = count_sources(t, g, &count);
    for (size_t w = 0; w < size; w++) {
        splitter[w] = (uint64_t)g->bounds[w] << 32;
    }
    keys_cut(words, count, splitter, t->size, cut);
    uint64_t *got = t->exchange(t, words, cut, from);
    g->degree = team_memory(t, g->mine.last - g->mine.first, sizeof *g->degree);
    for (size_t i = 0; i < from[size]; i++) {
        g->degree[(got[i] >> 32) - g->mine.first] += (uint32_t)got[i];
    }
    free(words);
    free(got);
    free(splitter);
    free(cut);
}

static void learn_ids(struct team *t, const struct piece *piece,
                      struct graph *g)
{
    size_t size = (size_t)t->size;
    size_t *cut = team_memory(t, 2 * (size + 1), sizeof *cut);
    for (size_t w = 0; w <= size; w++) {
        size_t bound = g->bounds[w] > piece->base ? g->bounds[w] : piece->base;
        cut[w] = bound - piece->base < piece->count ? bound - piece->base
                                                    : piece->count;
    }
    g->id = t->exchange(t, piece->id, cut, cut + size + 1);
    free(cut);
}

/* ---- all ----------------------------------------------------------------- */

static void describe(struct team *t, struct graph *g)
{
    uint64_t sum = 0;
    uint64_t widest = 0;
    uint64_t width = 0;
    for (size_t k = 0; k < g->in_count; k++) {
        sum += team_mix(g->in[k]);
        width = k > 0 && g->in[k] >> 32 == g->in[k - 1] >> 32 ? width + 1 : 1;
        widest = width > widest ? width : widest;
    }
    for (size_t v = g->mine.first; v < g->mine.last; v++) {
        sum += team_mix(team_mix(v) ^ g->id[v - g->mine.first]);
    }
    g->fingerprint = sum;
    team_add(t, &g->fingerprint, 1);
    uint64_t *all = team_memory(t, (size_t)t->size, sizeof *all);
    t->all(t, &widest, 1, all);
    for (int w = 0; w < t->size; w++) {
        g->widest = all[w] > g->widest ? all[w] : g->widest;
    }
    free(all);
}

int graph_build(struct team *t, const char *file, struct graph *g)
{
    struct edges e;
    struct piece piece = {0};
    *g = (struct graph){0};
    int result = read_edges(t, file, &e);
    if (result == 0) {
        result = renumber(t, &e, &piece, g);
    }
    if (result == 0) {
        deal(t, &e, g);
        edges_free(&e);
        count_edges(t, g);
        learn_degrees(t, g);
        learn_ids(t, &piece, g);
        describe(t, g);
    }
    free(piece.id);
    edges_free(&e);
    return result;
}

void graph_free(struct graph *g)
{
    free(g->bounds);
    free(g->in);
    free(g->id);
    free(g->degree);
    *g = (struct graph){0};
}

void graph_rows(const struct graph *g, uint64_t base, uint64_t *start,
                uint32_t *source)
{
    size_t row = 0;
    for (size_t k = 0; k < g->in_count; k++) {
        size_t target = (size_t)(g->in[k] >> 32) - g->mine.first;
        while (row <= target) {
            start[row++] = base + k;
        }
        source[k] = (uint32_t)g->in[k];
    }
    while (row < g->mine.last - g->mine.first) {
        start[row++] = base + g->in_count;
    }
}
