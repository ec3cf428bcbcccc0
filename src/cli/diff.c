/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto diff`: which elements of which arrays differ between two epochs. Arrays are
 * compared by name, element by element, by their bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/runs.h"
#include "ckpt/view.h"
#include "cli.h"

enum {
    SHOWN = 16 /* ranges of an array that the text tells of */
};

struct diff {
    const struct cli_request *request;
    struct ckpt_view a;
    struct ckpt_view b;
    char *one;
    char *other;
    struct cli_progress progress;
    uint64_t arrays; /* that differ in any way */
    uint64_t bytes;
};

static const struct ckpt_object *object_named(const struct ckpt_epoch *e,
                                              const char *name)
{
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (strcmp(e->objects[i].name, name) == 0) {
            return &e->objects[i];
        }
    }
    return NULL;
}

/* ---- comparing ---------------------------------------------------------------------- */

static bool alike(const struct diff *d, const struct ckpt_object *a,
                  const struct ckpt_object *b)
{
    return a->kind == b->kind &&
           ckpt_type_same(d->a.epoch, a->type, d->b.epoch, b->type) &&
           a->ndims == b->ndims &&
           memcmp(a->dims, b->dims, (size_t)a->ndims * sizeof a->dims[0]) == 0;
}

/* Adds the elements that differ in `bytes` bytes from byte `at` of the object on. The
 * first and the last may be in part elsewhere, the first be in the list already. */
static int elements_compare(const struct diff *d, size_t bytes, size_t size,
                            uint64_t at, struct base_runs *runs)
{
    if (memcmp(d->one, d->other, bytes) == 0) {
        return 0;
    }
    for (uint64_t i = at / size; i * size < at + bytes; i++) {
        size_t from = i * size > at ? (size_t)(i * size - at) : 0;
        size_t end = (size_t)((i + 1) * size - at);
        end = end < bytes ? end : bytes;
        bool known = runs->count > 0 && runs->items[runs->count - 1].end > i;
        if (memcmp(d->one + from, d->other + from, end - from) != 0 && !known &&
            !base_runs_add(runs, i, i + 1)) {
            return base_error(RECTO_ENOMEM, "list of differences");
        }
    }
    return 0;
}

/* `before`: bytes of the object before the range, which is as long in both epochs. */
static int range_compare(struct diff *d, const struct ckpt_range *a,
                         const struct ckpt_range *b, uint64_t before,
                         struct base_runs *runs)
{
    uint64_t pages = ckpt_pages(a->bytes);
    size_t size = a->object->element;
    uint64_t n = 0;
    int status = 0;
    for (uint64_t page = 0; page < pages && status == 0; page += n) {
        n = pages - page < CKPT_VIEW_PAGES ? pages - page : CKPT_VIEW_PAGES;
        uint64_t rest = a->bytes - page * CKPT_PAGE;
        size_t bytes =
            rest < n * CKPT_PAGE ? (size_t)rest : (size_t)n * CKPT_PAGE;
        status = ckpt_view_pages(&d->a, a, page, n, d->one);
        if (status == 0) {
            status = ckpt_view_pages(&d->b, b, page, n, d->other);
        }
        if (status == 0) {
            status = elements_compare(d, bytes, size, before + page * CKPT_PAGE,
                                      runs);
        }
        d->progress.told.tell(&d->progress, bytes);
    }
    return status;
}

/* *same: the ranks' pieces are as long. */
static int object_compare(struct diff *d, const struct ckpt_object *a,
                          const struct ckpt_object *b, bool *same,
                          struct base_runs *runs)
{
    uint64_t before = 0;
    uint64_t ranges = ckpt_view_ranges(&d->a, a);
    int status = 0;
    *same = ranges == ckpt_view_ranges(&d->b, b);
    for (uint64_t k = 0; k < ranges && *same && status == 0; k++) {
        struct ckpt_range x;
        struct ckpt_range y;
        status = ckpt_view_range(&d->a, a, k, &x);
        if (status == 0) {
            status = ckpt_view_range(&d->b, b, k, &y);
        }
        *same = status == 0 && x.bytes == y.bytes;
        if (*same) {
            status = range_compare(d, &x, &y, before, runs);
            before += x.bytes;
        }
    }
    return status;
}

/* ---- telling --------------------------------------------------------------------------- */

/* "[3, 17]" */
static void print_index(const struct ckpt_object *o, uint64_t element)
{
    uint64_t stride = 1;
    for (int i = 1; i < o->ndims; i++) {
        stride *= o->dims[i];
    }
    (void)printf("[");
    for (int i = 0; i < o->ndims; i++) {
        (void)printf("%s%llu", i > 0 ? ", " : "",
                     (unsigned long long)(element / stride));
        element %= stride;
        stride /= i + 1 < o->ndims ? o->dims[i + 1] : 1;
    }
    (void)printf("]");
}

static void print_run(const struct ckpt_object *o, const struct base_run *run,
                      bool json, bool first)
{
    if (json) {
        (void)printf("%s{\"first\": %llu, \"last\": %llu, \"first_index\": ",
                     first ? "" : ", ", (unsigned long long)run->first,
                     (unsigned long long)run->end - 1);
        print_index(o, run->first);
        (void)printf(", \"last_index\": ");
        print_index(o, run->end - 1);
        (void)printf("}");
        return;
    }
    (void)printf("  ");
    print_index(o, run->first);
    if (run->end - run->first > 1) {
        (void)printf(" to ");
        print_index(o, run->end - 1);
    }
    (void)printf("\n");
}

static void head(struct diff *d, const char *name, const char *what)
{
    if (d->request->json) {
        (void)printf("%s\n  {\"name\": ", d->arrays > 0 ? "," : "");
        cli_json_string(stdout, name);
        (void)printf(", \"difference\": \"%s\"", what);
    }
    d->arrays++;
}

/* An array that cannot be compared. */
static void print_odd(struct diff *d, const char *name, const char *what,
                      const char *text)
{
    head(d, name, what);
    if (d->request->json) {
        (void)printf("}");
    } else {
        (void)printf("%s: %s\n", name, text);
    }
}

static void print_runs(struct diff *d, const struct ckpt_object *o,
                       const struct base_runs *runs)
{
    bool json = d->request->json;
    uint64_t elements = 0;
    char shape[CKPT_SHAPE_MAX];
    for (uint64_t i = 0; i < runs->count; i++) {
        elements += runs->items[i].end - runs->items[i].first;
    }
    uint64_t bytes = elements * o->element;
    d->bytes += bytes;
    head(d, o->name, "content");
    if (json) {
        (void)printf(", \"elements\": %llu, \"bytes\": %llu, \"ranges\": [",
                     (unsigned long long)elements, (unsigned long long)bytes);
    } else {
        (void)printf("%s (%s): %llu elements, %llu bytes, in %llu ranges\n",
                     o->name,
                     ckpt_object_shape(d->a.epoch, o, shape, sizeof shape),
                     (unsigned long long)elements, (unsigned long long)bytes,
                     (unsigned long long)runs->count);
    }
    for (uint64_t i = 0; i < runs->count && (json || i < SHOWN); i++) {
        print_run(o, &runs->items[i], json, i == 0);
    }
    if (json) {
        (void)printf("]}");
    } else if (runs->count > SHOWN) {
        (void)printf("  and %llu more\n",
                     (unsigned long long)(runs->count - SHOWN));
    }
}

static int object_diff(struct diff *d, const struct ckpt_object *a)
{
    const struct ckpt_object *b = object_named(d->b.epoch, a->name);
    struct base_runs runs = {0};
    bool same = false;
    if (b == NULL) {
        print_odd(d, a->name, "removed", "only in the first epoch");
        return 0;
    }
    int status = alike(d, a, b) ? object_compare(d, a, b, &same, &runs) : 0;
    if (status == 0 && !same) {
        print_odd(d, a->name, "shape",
                  "another type, other dimensions or other ranks' sizes");
    } else if (status == 0 && runs.count > 0) {
        print_runs(d, a, &runs);
    }
    base_runs_free(&runs);
    return status;
}

static int epochs_diff(struct diff *d)
{
    const struct ckpt_epoch *a = d->a.epoch;
    const struct ckpt_epoch *b = d->b.epoch;
    int status = 0;
    for (uint64_t i = 0; i < a->nobjects && status == 0; i++) {
        status = object_diff(d, &a->objects[i]);
    }
    for (uint64_t i = 0; i < b->nobjects && status == 0; i++) {
        if (object_named(a, b->objects[i].name) == NULL) {
            print_odd(d, b->objects[i].name, "added",
                      "only in the second epoch");
        }
    }
    return status;
}

static int both_open(struct diff *d, uint64_t a, uint64_t b)
{
    const struct cli_request *r = d->request;
    int status = ckpt_view_open(&d->a, &r->dir, r->manifest, a);
    if (status != 0) {
        return status;
    }
    status = ckpt_view_open(&d->b, &r->dir, r->manifest, b);
    if (status != 0) {
        ckpt_view_close(&d->a);
    }
    return status;
}

static int run(struct diff *d)
{
    size_t size = (size_t)CKPT_VIEW_PAGES * CKPT_PAGE;
    const struct cli_request *r = d->request;
    d->one = malloc(size);
    d->other = malloc(size);
    int status = d->one != NULL && d->other != NULL
                     ? 0
                     : base_error(RECTO_ENOMEM, "buffer of pages");
    cli_progress_begin(&d->progress, "comparing", cli_epoch_bytes(d->a.epoch));
    if (r->json) {
        (void)printf("{\"epochs\": [%llu, %llu], \"objects\": [",
                     (unsigned long long)d->a.epoch->number,
                     (unsigned long long)d->b.epoch->number);
    }
    status = status == 0 ? epochs_diff(d) : status;
    cli_progress_end(&d->progress);
    if (r->json) {
        (void)printf("], \"bytes\": %llu, \"complete\": %s}\n",
                     (unsigned long long)d->bytes,
                     status == 0 ? "true" : "false");
    } else if (status == 0) {
        (void)printf("%llu arrays differ, %llu bytes\n",
                     (unsigned long long)d->arrays,
                     (unsigned long long)d->bytes);
    }
    free(d->one);
    free(d->other);
    ckpt_view_close(&d->a);
    ckpt_view_close(&d->b);
    return status;
}

enum cli_exit cli_diff(const struct cli_request *r)
{
    struct diff d = {.request = r};
    struct cli_request second = *r;
    uint64_t a = 0;
    uint64_t b = 0;
    second.epoch = r->second;
    if (!cli_epoch_index(r, &a) || !cli_epoch_index(&second, &b)) {
        return CLI_NO_CHECKPOINT;
    }
    int status = both_open(&d, a, b);
    status = status == 0 ? run(&d) : status;
    if (status != 0) {
        (void)fprintf(stderr, "%s\n", recto_last_error());
    }
    return status == 0 ? CLI_GOOD : CLI_DAMAGED;
}
