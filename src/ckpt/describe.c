/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrays are told to be: types that the program makes of structs, attributes of
 * names.
 *
 * Invariants
 * 1. Both are agreed on when they are set, so that every rank has the same types under
 *    the same numbers; rank 0 alone keeps the attributes.
 * 2. An epoch has the program's structs under the program's numbers. Numbers of an epoch
 *    that comes from a manifest are its own: they are compared by ckpt_type_same.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "state.h"

/* ---- structs -------------------------------------------------------------------- */

static int struct_take(struct base_struct *s, const char *name, size_t bytes,
                       const recto_member *members, int count)
{
    if (name == NULL || members == NULL || count < 1 ||
        count > RECTO_MEMBERS_MAX) {
        return base_error(RECTO_EINVAL,
                          "recto_type_create: no name, or %d members, not 1 to "
                          "%d",
                          count, RECTO_MEMBERS_MAX);
    }
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    s->bytes = bytes;
    s->count = (uint64_t)count;
    bool cut = !base_label_good(name);
    for (int i = 0; i < count; i++) {
        struct base_member *m = &s->members[i];
        const char *label = members[i].name != NULL ? members[i].name : "";
        (void)snprintf(m->name, sizeof m->name, "%s", label);
        m->offset = members[i].offset;
        m->count = members[i].count > 0 ? members[i].count : 1;
        m->type = (uint32_t)members[i].type;
        cut = cut || !base_label_good(label);
    }
    return cut ? base_error(RECTO_EINVAL,
                            "struct \"%.64s\": names of types and members have "
                            "1 to %d bytes and no control characters",
                            name, RECTO_LABEL_MAX)
               : base_struct_check(s->name, s->bytes, s->members, s->count);
}

int recto_type_create(const char *name, size_t bytes,
                      const recto_member *members, int count, recto_type *type)
{
    char text[RECTO_LABEL_MAX + 128];
    struct base_struct s;
    recto_type made = RECTO_BYTE;
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_type_create before recto_init");
    }
    memset(&s, 0, sizeof s);
    int status = type == NULL
                     ? base_error(RECTO_EINVAL, "recto_type_create: no type")
                     : struct_take(&s, name, bytes, members, count);
    (void)snprintf(text, sizeof text,
                   "recto_type_create(\"%s\", %zu bytes, %d members of hash "
                   "%016llx)",
                   s.name, bytes, count,
                   (unsigned long long)ckpt_hash(&s, sizeof s));
    status = net_agree(NET_CALL_TYPE, status, text);
    if (status == 0) {
        status = base_struct_add(&s, &made); /* as on all ranks */
    }
    if (status == 0) {
        *type = made;
    }
    return status;
}

/* The members behind the epoch's. */
static void members_put(struct ckpt_epoch *e, const struct base_struct *s)
{
    struct ckpt_struct *to = &e->structs[e->nstructs++];
    to->bytes = s->bytes;
    to->first = e->nmembers;
    to->count = s->count;
    memcpy(to->name, s->name, sizeof to->name);
    memcpy(e->members + e->nmembers, s->members,
           (size_t)s->count * sizeof *s->members);
    e->nmembers += s->count;
}

int ckpt_structs_take(struct ckpt_epoch *e)
{
    const struct base_struct *s = NULL;
    uint64_t structs = 0;
    uint64_t members = 0;
    while ((s = base_struct_of(
                (recto_type)(RECTO_STRUCT_FIRST + (int)structs))) != NULL) {
        structs++;
        members += s->count;
    }
    e->structs = calloc(structs + 1, sizeof *e->structs);
    e->members = calloc(members + 1, sizeof *e->members);
    if (e->structs == NULL || e->members == NULL) {
        return base_error(RECTO_ENOMEM, "types of structs");
    }
    for (uint64_t i = 0; i < structs; i++) {
        members_put(e,
                    base_struct_of((recto_type)(RECTO_STRUCT_FIRST + (int)i)));
    }
    return 0;
}

/* ---- attributes ----------------------------------------------------------------- */

struct note {
    char object[RECTO_NAME_MAX + 1];
    struct ckpt_attribute attribute; /* of no uid */
};

/* Ascending (object, name); rank 0. */
static struct note *notes;
static size_t nnotes;

static int note_order(const struct note *n, const char *object,
                      const char *name)
{
    int order = strcmp(n->object, object);
    return order != 0 ? order : strcmp(n->attribute.name, name);
}

/* The first note that is not below. */
static size_t note_from(const char *object, const char *name)
{
    size_t i = 0;
    while (i < nnotes && note_order(&notes[i], object, name) < 0) {
        i++;
    }
    return i;
}

static size_t notes_of(const char *object, size_t *first)
{
    size_t count = 0;
    *first = note_from(object, "");
    while (*first + count < nnotes &&
           strcmp(notes[*first + count].object, object) == 0) {
        count++;
    }
    return count;
}

static int note_add(size_t at, const char *object)
{
    size_t first = 0;
    struct note *more = realloc(notes, (nnotes + 1) * sizeof *more);
    if (more == NULL) {
        return base_error(RECTO_ENOMEM, "attributes");
    }
    notes = more;
    if (notes_of(object, &first) == RECTO_ATTRIBUTES_MAX) {
        return base_error(RECTO_ENOMEM, "\"%s\" has %d attributes already",
                          object, RECTO_ATTRIBUTES_MAX);
    }
    memmove(notes + at + 1, notes + at, (nnotes - at) * sizeof *notes);
    nnotes++;
    memset(&notes[at], 0, sizeof notes[at]);
    (void)snprintf(notes[at].object, sizeof notes[at].object, "%s", object);
    return 0;
}

static int note_remove(const char *object, const char *name)
{
    size_t at = note_from(object, name);
    if (at == nnotes || note_order(&notes[at], object, name) != 0) {
        return base_error(
            RECTO_ENOENT,
            "\"%s\" has no attribute \"%s\"; recto info shows those that are "
            "there",
            object, name);
    }
    nnotes--;
    memmove(notes + at, notes + at + 1, (nnotes - at) * sizeof *notes);
    return 0;
}

static int note_set(const char *object, const struct ckpt_attribute *a)
{
    size_t at = note_from(object, a->name);
    bool there = at < nnotes && note_order(&notes[at], object, a->name) == 0;
    int status = there ? 0 : note_add(at, object);
    if (status == 0) {
        notes[at].attribute = *a;
    }
    return status;
}

/* `a` NULL: the attribute `name` goes. One verdict. */
static int note_change(const char *object, const char *name,
                       const struct ckpt_attribute *a)
{
    int status = 0;
    if (net_rank() == 0) {
        (void)pthread_mutex_lock(&ckpt_mutex);
        status = a != NULL ? note_set(object, a) : note_remove(object, name);
        (void)pthread_mutex_unlock(&ckpt_mutex);
    }
    return net_verdict(status);
}

static int attribute_check(const char *object, const char *name,
                           const struct ckpt_attribute *a)
{
    int status = base_name_check(object);
    if (status == 0 && (name == NULL || strlen(name) > RECTO_LABEL_MAX ||
                        !ckpt_attribute_good(a))) {
        status = base_error(
            RECTO_EINVAL,
            "attribute of \"%s\": its name has 1 to %d bytes, its text up to "
            "%d, without control characters, or it is 1 to %d numbers, of a "
            "type that is no struct",
            object, RECTO_LABEL_MAX, RECTO_ATTRIBUTE_TEXT_MAX,
            RECTO_ATTRIBUTE_NUMBERS_MAX);
    }
    return status;
}

/* Of no name, which is none, if it has none. */
static struct ckpt_attribute attribute_named(const char *name)
{
    struct ckpt_attribute a = {.count = 0};
    (void)snprintf(a.name, sizeof a.name, "%s", name != NULL ? name : "");
    return a;
}

static int not_started(void)
{
    return base_error(RECTO_ESTATE, "attributes are set after recto_init");
}

enum {
    CALL_TEXT = RECTO_NAME_MAX + RECTO_LABEL_MAX + RECTO_ATTRIBUTE_TEXT_MAX + 80
};

int recto_attribute_set(const char *name, const char *attribute,
                        const char *text)
{
    char call[CALL_TEXT];
    if (!ckpt_state.started) {
        return not_started();
    }
    struct ckpt_attribute a = attribute_named(attribute);
    size_t length = text != NULL ? strnlen(text, sizeof a.text) : 0;
    memcpy(a.text, text != NULL ? text : "", length); /* with no end: refused */
    int status = attribute_check(name, attribute, &a);
    (void)snprintf(call, sizeof call,
                   "recto_attribute_set(\"%.*s\", \"%.*s\", %s%.*s%s)",
                   RECTO_NAME_MAX, name != NULL ? name : "", RECTO_LABEL_MAX,
                   attribute != NULL ? attribute : "", text != NULL ? "\"" : "",
                   RECTO_ATTRIBUTE_TEXT_MAX, text != NULL ? text : "NULL",
                   text != NULL ? "\"" : "");
    status = net_agree(NET_CALL_ATTRIBUTE, status, call);
    return status == 0 && name != NULL
               ? note_change(name, a.name, text != NULL ? &a : NULL)
               : status;
}

int recto_attribute_numbers(const char *name, const char *attribute,
                            recto_type type, const void *numbers,
                            uint64_t count)
{
    char call[CALL_TEXT];
    if (!ckpt_state.started) {
        return not_started();
    }
    struct ckpt_attribute a = attribute_named(attribute);
    bool good = numbers != NULL && count >= 1 &&
                count <= RECTO_ATTRIBUTE_NUMBERS_MAX &&
                ckpt_type_name(type) != NULL;
    a.count = good ? (uint32_t)count : UINT32_MAX; /* that many are refused */
    a.type = good ? (uint32_t)type : 0;
    if (good) {
        memcpy(a.text, numbers, ckpt_attribute_bytes(&a));
    }
    int status = attribute_check(name, attribute, &a);
    (void)snprintf(call, sizeof call,
                   "recto_attribute_numbers(\"%.*s\", \"%.*s\", %llu numbers "
                   "of type %d, of checksum %016llx)",
                   RECTO_NAME_MAX, name != NULL ? name : "", RECTO_LABEL_MAX,
                   attribute != NULL ? attribute : "",
                   (unsigned long long)count, (int)type,
                   (unsigned long long)ckpt_hash(a.text, sizeof a.text));
    status = net_agree(NET_CALL_ATTRIBUTE, status, call);
    return status == 0 && name != NULL ? note_change(name, a.name, &a) : status;
}

int ckpt_attributes_take(struct ckpt_epoch *e)
{
    e->attributes = calloc(nnotes + 1, sizeof *e->attributes);
    if (e->attributes == NULL) {
        return base_error(RECTO_ENOMEM, "attributes");
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        size_t first = 0;
        size_t count = notes_of(e->objects[i].name, &first);
        for (size_t k = 0; k < count; k++) {
            struct ckpt_attribute *a = &e->attributes[e->nattributes++];
            *a = notes[first + k].attribute;
            a->uid = e->objects[i].uid;
        }
    }
    return 0;
}

void ckpt_attributes_free(void)
{
    free(notes);
    notes = NULL;
    nnotes = 0;
}
