/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does what an epoch holds fit what the program declares? Names, types and shapes,
 * addresses of arrays, and the number of ranks where memory belongs to ranks. Every
 * message names the first difference. Local; the same on every rank but for what ranks
 * may declare each for itself.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "fit.h"

static int by_name(const void *a, const void *b)
{
    const struct ckpt_object *const *x = a;
    const struct ckpt_object *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool is_heap(const struct ckpt_object *o)
{
    return strcmp(o->name, BASE_HEAP_NAME) == 0;
}

/* All but the heap; *count of them. */
static const struct ckpt_object **sorted(const struct ckpt_epoch *e,
                                         uint64_t *count)
{
    const struct ckpt_object **list = calloc(e->nobjects + 1, sizeof(void *));
    uint64_t n = 0;
    for (uint64_t i = 0; list != NULL && i < e->nobjects; i++) {
        if (!is_heap(&e->objects[i])) {
            list[n++] = &e->objects[i];
        }
    }
    if (list != NULL) {
        qsort(list, n, sizeof(void *), by_name);
    }
    *count = n;
    return list;
}

static const struct ckpt_object *heap_of(const struct ckpt_epoch *e)
{
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (is_heap(&e->objects[i])) {
            return &e->objects[i];
        }
    }
    return NULL;
}

/* The heap is not declared: what the epoch holds of it must fit. */
static int heap_compare(const struct ckpt_epoch *e)
{
    const struct ckpt_object *o = heap_of(e);
    const struct space_segment *s = space_segment_find(BASE_HEAP_NAME);
    unsigned long long number = (unsigned long long)e->number;
    if (o == NULL) {
        return 0;
    }
    if (o->kind != CKPT_SHARED || s == NULL || s->bytes < o->bytes) {
        return base_error(RECTO_ECHANGED,
                          "the heap has %llu bytes in epoch %llu and %llu "
                          "now: set %s to at least as many",
                          (unsigned long long)o->bytes, number,
                          (unsigned long long)(s != NULL ? s->bytes : 0),
                          base_env_name(BASE_ENV_HEAP));
    }
    return o->address == (uint64_t)(uintptr_t)s->recto
               ? 0
               : base_error(RECTO_EADDRESS,
                            "the heap was at 0x%llx in epoch %llu and is at %p "
                            "now, so pointers into it would be wrong",
                            (unsigned long long)o->address, number,
                            (void *)s->recto);
}

/* `declared`: the object is of the program's. */
static int lacking(const struct ckpt_object *o, const struct ckpt_epoch *e,
                   const struct ckpt_epoch *declared)
{
    char shape[CKPT_SHAPE_MAX];
    return base_error(
        RECTO_ECHANGED,
        declared != NULL
            ? "the program declares %s \"%s\" (%s), which epoch %llu "
              "does not hold; declare what it held, or start without its "
              "checkpoints"
            : "%s \"%s\" (%s) of epoch %llu is not declared by the "
              "program; declare what it held, or start without its checkpoints",
        ckpt_kind_words(o->kind), o->name,
        ckpt_object_shape(declared != NULL ? declared : e, o, shape,
                          sizeof shape),
        (unsigned long long)e->number);
}

static const char *what_is(const struct ckpt_object *o)
{
    return ckpt_is_block(o)         ? "a distributed array"
           : o->kind == CKPT_SHARED ? "an array"
                                    : "protected memory";
}

/* Kind, type and shape. */
static int shape_compare(const struct ckpt_object *old,
                         const struct ckpt_object *now,
                         const struct ckpt_epoch *e,
                         const struct ckpt_epoch *declared)
{
    char was[CKPT_SHAPE_MAX];
    char is[CKPT_SHAPE_MAX];
    if (strcmp(what_is(old), what_is(now)) != 0) {
        return base_error(
            RECTO_ECHANGED,
            "\"%s\" is %s in epoch %llu and %s in the program; declare it as "
            "then, or start without its checkpoints",
            old->name, what_is(old), (unsigned long long)e->number,
            what_is(now));
    }
    if (!ckpt_type_same(e, old->type, declared, now->type) ||
        (!ckpt_moved(old, e) &&
         (old->ndims != now->ndims ||
          memcmp(old->dims, now->dims,
                 (size_t)now->ndims * sizeof now->dims[0]) != 0))) {
        return base_error(
            RECTO_ECHANGED,
            "%s \"%s\" has %s in epoch %llu, the program "
            "declares %s; declare it as then, or start without its checkpoints",
            ckpt_kind_words(old->kind), old->name,
            ckpt_object_shape(e, old, was, sizeof was),
            (unsigned long long)e->number,
            ckpt_object_shape(declared, now, is, sizeof is));
    }
    return 0;
}

static int address_compare(const struct ckpt_object *old,
                           const struct ckpt_object *now,
                           const struct ckpt_epoch *e)
{
    return old->kind != CKPT_SHARED || old->address == now->address
               ? 0
               : base_error(
                     RECTO_EADDRESS,
                     "array \"%s\" was at 0x%llx in epoch %llu and is at "
                     "0x%llx now, so pointers stored in shared memory "
                     "would be wrong: allocate in the same order as then",
                     old->name, (unsigned long long)old->address,
                     (unsigned long long)e->number,
                     (unsigned long long)now->address);
}

/* Names the private objects that bind the epoch to its number of ranks. */
static int ranks_compare(const struct ckpt_epoch *e)
{
    char names[400] = "";
    size_t used = 0;
    if (e->ranks == (uint64_t)net_size()) {
        return 0;
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        const struct ckpt_object *o = &e->objects[i];
        if (o->kind == CKPT_PRIVATE && o->bytes > 0 && !ckpt_moved(o, e) &&
            used < sizeof names) {
            int n = snprintf(names + used, sizeof names - used, "%s\"%s\"",
                             used > 0 ? ", " : "", o->name);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return used == 0
               ? 0
               : base_error(RECTO_ECHANGED,
                            "epoch %llu was written by %llu ranks, this "
                            "job has %d: the protected memory %s belongs "
                            "to single ranks; start that many, or register "
                            "a function (recto_protect_redistribute)",
                            (unsigned long long)e->number,
                            (unsigned long long)e->ranks, net_size(), names);
}

static int both_compare(const struct ckpt_object *old,
                        const struct ckpt_object *now,
                        const struct ckpt_epoch *e,
                        const struct ckpt_epoch *declared)
{
    int status = shape_compare(old, now, e, declared);
    return status == 0 ? address_compare(old, now, e) : status;
}

int ckpt_fit(const struct ckpt_epoch *e, const struct ckpt_epoch *declared)
{
    uint64_t nold = 0;
    uint64_t nnow = 0;
    const struct ckpt_object **old = sorted(e, &nold);
    const struct ckpt_object **now = sorted(declared, &nnow);
    uint64_t i = 0;
    uint64_t j = 0;
    int status = old != NULL && now != NULL
                     ? ranks_compare(e)
                     : base_error(RECTO_ENOMEM, "comparison of objects");
    status = status == 0 ? heap_compare(e) : status;
    while (status == 0 && (i < nold || j < nnow)) {
        int order = i == nold ? 1 : j == nnow ? -1 : by_name(&old[i], &now[j]);
        if (order != 0) {
            status = lacking(order < 0 ? old[i] : now[j], e,
                             order > 0 ? declared : NULL);
        } else {
            status = both_compare(old[i++], now[j++], e, declared);
        }
    }
    free(old);
    free(now);
    return status;
}

int ckpt_fit_one(const struct ckpt_epoch *e, const struct ckpt_object *now,
                 const struct ckpt_epoch *declared)
{
    int status = shape_compare(&e->objects[0], now, e, declared);
    return status == 0 ? ranks_compare(e) : status;
}

uint64_t ckpt_fit_heap(const struct ckpt_epoch *e)
{
    const struct ckpt_object *o = heap_of(e);
    return o != NULL ? o->bytes : 0;
}
