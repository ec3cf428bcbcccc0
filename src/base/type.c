/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Element types and the names of objects: what an allocation accepts, a
 * checkpoint writes and a manifest may hold is decided here, once.
 *
 * Invariants
 * 1. Types of structs are numbered in the order in which they were made, which is the
 *    same on every rank: who makes them agrees on each (src/ckpt/describe.c).
 * 2. A struct never changes once it has a type, and no two have one name.
 */
#include <stdatomic.h>
#include <string.h>

#include "base.h"

int base_name_check(const char *name)
{
    size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0 || length > RECTO_NAME_MAX) {
        return base_error(RECTO_EINVAL, "a name has 1 to %d bytes, not %zu",
                          RECTO_NAME_MAX, length);
    }
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return base_error(RECTO_EINVAL,
                              "a name must not contain control characters");
        }
    }
    const char *part = name;
    for (;;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') ||
            (n == 2 && part[0] == '.' && part[1] == '.') ||
            (part == name && n == 5 && memcmp(part, "recto", 5) == 0)) {
            return base_error(RECTO_EINVAL,
                              "name \"%s\": its parts must not be empty, \".\" "
                              "or \"..\", and the first not \"recto\"",
                              name);
        }
        if (part[n] == '\0') {
            return 0;
        }
        part += n + 1;
    }
}

const char *base_type_name(recto_type type)
{
    const struct base_struct *s = base_struct_of(type);
    if (s != NULL) {
        return s->name;
    }
    switch (type) {
#define TYPE_CASE(name, value, bytes)                                          \
    case value: return #name;
        RECTO_TYPE_LIST(TYPE_CASE)
#undef TYPE_CASE
    default: return "RECTO_?";
    }
}

size_t recto_type_size(recto_type type)
{
    static const unsigned char sizes[] = {
#define TYPE_SIZE(name, value, bytes) [value] = (bytes),
        RECTO_TYPE_LIST(TYPE_SIZE)
#undef TYPE_SIZE
    };
    const struct base_struct *s = base_struct_of(type);
    return s != NULL                       ? s->bytes
           : (unsigned)type < sizeof sizes ? sizes[type]
                                           : 0;
}

/* ---- structs ------------------------------------------------------------------- */

enum {
    STRUCTS_MAX = RECTO_STRUCT_LAST - RECTO_STRUCT_FIRST + 1
};
static struct base_struct structs[STRUCTS_MAX];
static atomic_uint nstructs; /* those below are complete */

bool base_label_good(const char *label)
{
    size_t length = strnlen(label, RECTO_LABEL_MAX + 1);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)label[i] < 0x20 || label[i] == 0x7f) {
            return false;
        }
    }
    return length > 0 && length <= RECTO_LABEL_MAX;
}

static bool member_inside(const struct base_member *m, uint64_t bytes)
{
    size_t size =
        m->type < RECTO_STRUCT_FIRST ? recto_type_size((recto_type)m->type) : 0;
    return size > 0 && m->count > 0 && m->count <= bytes / size &&
           m->offset <= bytes - m->count * size;
}

/* Of members inside. */
static bool members_apart(const struct base_member *a,
                          const struct base_member *b)
{
    uint64_t x = a->offset + a->count * recto_type_size((recto_type)a->type);
    uint64_t y = b->offset + b->count * recto_type_size((recto_type)b->type);
    return (x <= b->offset || y <= a->offset) && strcmp(a->name, b->name) != 0;
}

int base_struct_check(const char *name, uint64_t bytes,
                      const struct base_member *members, uint64_t count)
{
    if (!base_label_good(name) || bytes == 0 ||
        bytes > RECTO_STRUCT_BYTES_MAX || count == 0 ||
        count > RECTO_MEMBERS_MAX) {
        return base_error(RECTO_EINVAL,
                          "a struct has a name of 1 to %d bytes, 1 to %d bytes "
                          "and 1 to %d members",
                          RECTO_LABEL_MAX, RECTO_STRUCT_BYTES_MAX,
                          RECTO_MEMBERS_MAX);
    }
    for (uint64_t i = 0; i < count; i++) {
        bool good = base_label_good(members[i].name) &&
                    member_inside(&members[i], bytes);
        for (uint64_t k = 0; k < i && good; k++) {
            good = members_apart(&members[k], &members[i]);
        }
        if (!good) {
            return base_error(RECTO_EINVAL,
                              "struct \"%s\": member %d has a bad name or "
                              "type, leaves it, overlaps another or has its "
                              "name",
                              name, (int)i);
        }
    }
    return 0;
}

bool base_member_same(const struct base_member *a, const struct base_member *b)
{
    return a->offset == b->offset && a->count == b->count &&
           a->type == b->type && strcmp(a->name, b->name) == 0;
}

static bool struct_same(const struct base_struct *a,
                        const struct base_struct *b)
{
    bool same = a->bytes == b->bytes && a->count == b->count;
    for (uint64_t i = 0; i < a->count && same; i++) {
        same = base_member_same(&a->members[i], &b->members[i]);
    }
    return same;
}

int base_struct_add(const struct base_struct *s, recto_type *type)
{
    unsigned n = atomic_load_explicit(&nstructs, memory_order_relaxed);
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(structs[i].name, s->name) != 0) {
            continue;
        }
        if (!struct_same(&structs[i], s)) {
            return base_error(
                RECTO_EEXIST,
                "another struct is called \"%s\" already; give yours another "
                "name",
                s->name);
        }
        *type = (recto_type)(RECTO_STRUCT_FIRST + i);
        return 0;
    }
    if (n == STRUCTS_MAX) {
        return base_error(RECTO_ENOMEM, "\"%s\": there are %d structs already",
                          s->name, STRUCTS_MAX);
    }
    structs[n] = *s;
    /* pairs with base_struct_of */
    atomic_store_explicit(&nstructs, n + 1, memory_order_release);
    *type = (recto_type)(RECTO_STRUCT_FIRST + n);
    return 0;
}

const struct base_struct *base_struct_of(recto_type type)
{
    unsigned index = (unsigned)type - RECTO_STRUCT_FIRST;
    return index < atomic_load_explicit(&nstructs, memory_order_acquire)
               ? &structs[index]
               : NULL;
}

void base_structs_clear(void)
{
    atomic_store_explicit(&nstructs, 0, memory_order_release);
}
