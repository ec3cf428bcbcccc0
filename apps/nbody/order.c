/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of the bodies: root cube, keys, sorting, and where runs begin. See
 * nbody.h.
 *
 * The order is that of (key, id). Runs begin at keys, so bodies with equal keys
 * are in one run. A run should not begin in the middle of a small cell: the more
 * cells have bodies of several runs, the more are made under locks. Therefore a
 * sample does not offer the key of a body as a split, but the coarsest cell that
 * begins near it.
 */
#include "nbody.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory -------------------------------------------------------------- */

/* No split gives a worker more than this many bodies by the samples' count. */
static uint64_t share_limit(uint64_t n, int workers)
{
    return 2 * n / (uint64_t)workers + 1;
}

size_t nbody_capacity(const struct nbody_options *o, int workers)
{
    /* a split falls into a stretch of each worker; stretches have up to
     * 2 / NBODY_SAMPLES of a worker's bodies */
    uint64_t n = (uint64_t)o->n;
    uint64_t most =
        share_limit(n, workers) + 8 * n / NBODY_SAMPLES + 4 * (uint64_t)workers;
    return (size_t)(most < n ? most : n);
}

int nbody_run_init(struct nbody_run *run, const struct nbody_options *o, int me,
                   int workers)
{
    size_t capacity = nbody_capacity(o, workers);
    double softening = nbody_softening(o);
    *run = (struct nbody_run){.options = o,
                              .softening2 = softening * softening,
                              .me = me,
                              .workers = workers,
                              .capacity = capacity};
    run->forces = calloc(capacity, sizeof *run->forces);
    run->pairs = malloc(capacity * sizeof *run->pairs);
    run->scratch = malloc(capacity * sizeof *run->scratch);
    run->keys = malloc(capacity * sizeof *run->keys);
    run->splits = malloc(((size_t)workers + 1) * sizeof *run->splits);
    run->merged = malloc((size_t)workers * NBODY_SAMPLES * sizeof *run->merged);
    return run->forces != NULL && run->pairs != NULL && run->scratch != NULL &&
                   run->keys != NULL && run->splits != NULL &&
                   run->merged != NULL
               ? 0
               : -1;
}

void nbody_run_free(struct nbody_run *run)
{
    free(run->forces);
    free(run->pairs);
    free(run->scratch);
    free(run->keys);
    free(run->splits);
    free(run->merged);
}

/* ---- root cube and keys -------------------------------------------------- */

struct nbody_bounds nbody_bounds_of(const struct nbody_run *run)
{
    struct nbody_bounds b = {
        .low = {DBL_MAX,  DBL_MAX,  DBL_MAX },
        .high = {-DBL_MAX, -DBL_MAX, -DBL_MAX},
    };
    for (size_t i = 0; i < run->count; i++) {
        struct nbody_bounds one;
        memcpy(one.low, run->bodies[i].at.x, sizeof one.low);
        memcpy(one.high, run->bodies[i].at.x, sizeof one.high);
        nbody_bounds_add(&b, &one);
    }
    return b;
}

void nbody_bounds_add(struct nbody_bounds *all, const struct nbody_bounds *more)
{
    for (int k = 0; k < 3; k++) {
        if (more->low[k] < all->low[k]) {
            all->low[k] = more->low[k];
        }
        if (more->high[k] > all->high[k]) {
            all->high[k] = more->high[k];
        }
    }
}

struct nbody_cube nbody_cube_of(const struct nbody_bounds *bounds)
{
    struct nbody_cube cube = {.side = 0.0};
    for (int k = 0; k < 3; k++) {
        double side = bounds->high[k] - bounds->low[k];
        cube.low[k] = bounds->low[k];
        cube.side = side > cube.side ? side : cube.side;
    }
    cube.side = cube.side > 0.0 ? cube.side : 1.0;
    return cube;
}

/* Puts two zero bits before each of the low 21 bits. */
static uint64_t spread(uint64_t x)
{
    x = (x | x << 32) & UINT64_C(0x001f00000000ffff);
    x = (x | x << 16) & UINT64_C(0x001f0000ff0000ff);
    x = (x | x << 8) & UINT64_C(0x100f00f00f00f00f);
    x = (x | x << 4) & UINT64_C(0x10c30c30c30c30c3);
    x = (x | x << 2) & UINT64_C(0x1249249249249249);
    return x;
}

static uint64_t key_of(const struct nbody_cube *cube, const double x[3])
{
    const double cells = 1 << NBODY_LEVELS;
    uint64_t key = 0;
    for (int k = 0; k < 3; k++) {
        double at = (x[k] - cube->low[k]) / cube->side * cells;
        /* the cube's upper faces belong to its outermost cells */
        uint64_t i = at < cells ? (uint64_t)at : (uint64_t)cells - 1;
        key |= spread(i) << k;
    }
    return key;
}

/* ---- sorting ------------------------------------------------------------- */

static bool before(const struct nbody_body *a, const struct nbody_body *b)
{
    return a->key != b->key ? a->key < b->key : a->id < b->id;
}

/* Sorts pairs by key, stably, a byte at a time; returns the sorted array. */
static struct nbody_pair *sort_pairs(struct nbody_pair *pairs,
                                     struct nbody_pair *scratch, size_t n)
{
    for (int shift = 0; shift < 64; shift += 8) {
        size_t next[256] = {0};
        for (size_t i = 0; i < n; i++) {
            next[pairs[i].key >> shift & 255]++;
        }
        if (n > 0 && next[pairs[0].key >> shift & 255] == n) {
            continue; /* all the same */
        }
        size_t start = 0;
        for (int d = 0; d < 256; d++) {
            size_t count = next[d];
            next[d] = start;
            start += count;
        }
        for (size_t i = 0; i < n; i++) {
            scratch[next[pairs[i].key >> shift & 255]++] = pairs[i];
        }
        struct nbody_pair *sorted = scratch;
        scratch = pairs;
        pairs = sorted;
    }
    return pairs;
}

/* Bodies with equal keys, which are few, by id. */
static void sort_equal_keys(struct nbody_body *bodies, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (before(&bodies[i - 1], &bodies[i])) {
            continue;
        }
        struct nbody_body b = bodies[i];
        size_t j = i;
        for (; j > 0 && before(&b, &bodies[j - 1]); j--) {
            bodies[j] = bodies[j - 1];
        }
        bodies[j] = b;
    }
}

/* ---- samples ------------------------------------------------------------- */

/* First of the staged bodies with at least this key. */
static size_t find(const struct nbody_body *bodies, size_t n, uint64_t key)
{
    size_t low = 0;
    size_t high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bodies[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Where the coarsest cell begins that has `b` and not `a`; a < b. */
static uint64_t coarsest(uint64_t a, uint64_t b)
{
    int digit = (63 - __builtin_clzll(a ^ b)) / 3;
    return b >> (3 * digit) << (3 * digit);
}

static void take_sample(const struct nbody_body *staged, size_t n,
                        struct nbody_sample *sample)
{
    size_t stretches = n < NBODY_SAMPLES ? n : NBODY_SAMPLES;
    sample->stretches = 0;
    size_t start = 0;
    for (size_t s = 0; s < stretches; s++) {
        size_t from = s * n / stretches;
        size_t to = (s + 1) * n / stretches;
        struct nbody_stretch *last = &sample->stretch[sample->stretches];
        if (s == 0) {
            *last = (struct nbody_stretch){.key = staged[0].key};
        } else if (staged[from - 1].key < staged[to - 1].key) {
            uint64_t key = coarsest(staged[from - 1].key, staged[to - 1].key);
            *last = (struct nbody_stretch){.key = key, .inner = 1};
        } else {
            continue; /* joins the stretch before */
        }
        size_t begins = s == 0 ? 0 : find(staged, n, last->key);
        if (s > 0) {
            last[-1].count = begins - start;
        }
        start = begins;
        sample->stretches++;
    }
    if (n > 0) {
        sample->stretch[sample->stretches - 1].count = n - start;
    }
    const struct nbody_body *body = staged;
    for (size_t s = 0; s < sample->stretches; s++) {
        for (size_t i = 0; i < sample->stretch[s].count; i++) {
            sample->stretch[s].cost += (body++)->cost;
        }
    }
}

void nbody_stage(struct nbody_run *run, struct nbody_sample *sample)
{
    size_t n = run->count;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = key_of(&run->cube, run->bodies[i].at.x);
        run->bodies[i].key = key;
        run->pairs[i] = (struct nbody_pair){key, i};
    }
    const struct nbody_pair *sorted = sort_pairs(run->pairs, run->scratch, n);
    for (size_t i = 0; i < n; i++) {
        run->staged[i] = run->bodies[sorted[i].index];
    }
    sort_equal_keys(run->staged, n);
    take_sample(run->staged, n, sample);
}

/* ---- splits -------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct nbody_stretch *)a)->key;
    uint64_t y = ((const struct nbody_stretch *)b)->key;
    return (x > y) - (x < y);
}

/* Copies all stretches, ascending, those of one key made one; returns their
 * number. */
static size_t merge_samples(struct nbody_run *run,
                            const struct nbody_sample *samples, size_t stride)
{
    size_t n = 0;
    for (int w = 0; w < run->workers; w++) {
        const struct nbody_sample *sample =
            (const void *)((const char *)samples + (size_t)w * stride);
        memcpy(run->merged + n, sample->stretch,
               sample->stretches * sizeof *run->merged);
        n += sample->stretches;
    }
    qsort(run->merged, n, sizeof *run->merged, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct nbody_stretch s = run->merged[i];
        if (kept > 0 && run->merged[kept - 1].key == s.key) {
            struct nbody_stretch *to = &run->merged[kept - 1];
            to->cost += s.cost;
            to->count += s.count;
            to->inner |= s.inner;
        } else {
            run->merged[kept++] = s;
        }
    }
    return kept;
}

/* What is not dealt yet. */
struct rest {
    uint64_t cost;
    uint64_t count;
};

/* The stretch that the next worker begins with, when `left` workers share those
 * from `at` on. */
static size_t next_split(const struct nbody_stretch *stretch, size_t n,
                         size_t at, struct rest *rest, uint64_t left,
                         uint64_t limit)
{
    uint64_t target = rest->cost / left;
    uint64_t others = (left - 1) * limit;
    uint64_t least = rest->count > others ? rest->count - others : 0;
    uint64_t cost = 0;
    uint64_t count = 0;
    size_t i = at;
    for (; i < n; i++) {
        bool enough = count >= least && cost + stretch[i].cost / 2 >= target;
        bool full = count + stretch[i].count > limit;
        if (i > at && stretch[i].inner != 0 && (enough || full)) {
            break;
        }
        cost += stretch[i].cost;
        count += stretch[i].count;
    }
    rest->cost -= cost;
    rest->count -= count;
    return i;
}

void nbody_split(struct nbody_run *run, const struct nbody_sample *samples,
                 size_t stride, uint32_t *starts)
{
    uint64_t workers = (uint64_t)run->workers;
    uint64_t limit = share_limit((uint64_t)run->options->n, run->workers);
    size_t n = merge_samples(run, samples, stride);
    struct rest rest = {0};
    for (size_t i = 0; i < n; i++) {
        rest.cost += run->merged[i].cost;
        rest.count += run->merged[i].count;
    }
    size_t at = 0;
    run->splits[0] = 0;
    for (uint64_t w = 1; w < workers; w++) {
        at = next_split(run->merged, n, at, &rest, workers - w + 1, limit);
        run->splits[w] = at < n ? run->merged[at].key : NBODY_KEY_END;
    }
    run->splits[workers] = NBODY_KEY_END;
    for (uint64_t w = 0; w <= workers; w++) {
        starts[w] = (uint32_t)find(run->staged, run->count, run->splits[w]);
    }
}

/* ---- the run ------------------------------------------------------------- */

/* The piece with the lowest body, and the next one; NULL: there is none. */
static struct nbody_piece *lowest(struct nbody_piece *pieces, int n,
                                  struct nbody_piece **next)
{
    struct nbody_piece *first = NULL;
    *next = NULL;
    for (int i = 0; i < n; i++) {
        struct nbody_piece *p = &pieces[i];
        if (p->count == 0) {
            continue;
        }
        if (first == NULL || before(p->bodies, first->bodies)) {
            *next = first;
            first = p;
        } else if (*next == NULL || before(p->bodies, (*next)->bodies)) {
            *next = p;
        }
    }
    return first;
}

void nbody_gather(struct nbody_run *run, struct nbody_piece *pieces)
{
    struct nbody_body *to = run->bodies;
    struct nbody_piece *next = NULL;
    for (struct nbody_piece *p = lowest(pieces, run->workers, &next); p != NULL;
         p = lowest(pieces, run->workers, &next)) {
        /* most bodies come from this worker itself, in long runs */
        size_t n = 1;
        while (n < p->count &&
               (next == NULL || before(&p->bodies[n], next->bodies))) {
            n++;
        }
        memcpy(to, p->bodies, n * sizeof *to);
        to += n;
        p->bodies += n;
        p->count -= n;
    }
    run->count = (size_t)(to - run->bodies);
    for (size_t i = 0; i < run->count; i++) {
        run->points[i] = run->bodies[i].at;
        run->keys[i] = run->bodies[i].key;
    }
}
