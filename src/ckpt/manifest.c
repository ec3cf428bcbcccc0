/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The manifest: the one file that says which epochs exist. Lines of text,
 * closed by a checksum.
 *
 *   recto-manifest 3
 *   order=little page=4096 generation=G run=UUID next_uid=U epochs=N
 *   epoch number=... objects=M        N times, each followed by
 *   struct bytes=... name="..."       a line for each struct type, and its
 *   member offset=... name="..."      members
 *   object uid=... name="..."         M lines, each followed by its
 *   attribute name="..." text="..."   attributes, or
 *   attribute name="..." type=...     those of numbers
 *   sum XXH3
 *
 * Invariants
 * 1. The parser accepts exactly what the printer prints: it prints what it
 *    has read and compares. So no field can be written in two ways.
 * 2. Whatever passes is consistent in itself (check.c). Readers rely on that.
 * 3. Nothing is allocated in proportion to a number in the text, only to the
 *    text itself. No recursion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "format.h"
#include "io.h"

enum {
    SUM_LINE = 21 /* "sum " and 16 digits and the newline */
};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const char *const byte_order = "little";
#else
static const char *const byte_order = "big";
#endif

/* ---- printing ---------------------------------------------------------------- */

/* ` key="text"` */
static void print_text(FILE *out, const char *key, const char *text)
{
    (void)fprintf(out, " %s=\"", key);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc(*c, out);
    }
    (void)fputc('"', out);
}

static void print_structs(FILE *out, const struct ckpt_epoch *e)
{
    for (uint64_t i = 0; i < e->nstructs; i++) {
        const struct ckpt_struct *s = &e->structs[i];
        (void)fprintf(out, "struct bytes=%llu", (unsigned long long)s->bytes);
        print_text(out, "name", s->name);
        (void)fputc('\n', out);
        for (uint64_t k = 0; k < s->count; k++) {
            const struct base_member *m = &e->members[s->first + k];
            (void)fprintf(out, "member offset=%llu type=%s count=%llu",
                          (unsigned long long)m->offset,
                          ckpt_type_name((recto_type)m->type),
                          (unsigned long long)m->count);
            print_text(out, "name", m->name);
            (void)fputc('\n', out);
        }
    }
}

/* Bytes as they are in memory, so that every number comes back as it was. */
static void print_numbers(FILE *out, const struct ckpt_attribute *a)
{
    (void)fprintf(out, " type=%s count=%u bytes=",
                  ckpt_type_name((recto_type)a->type), (unsigned)a->count);
    for (size_t i = 0; i < ckpt_attribute_bytes(a); i++) {
        (void)fprintf(out, "%02x", (unsigned char)a->text[i]);
    }
}

static void print_attributes(FILE *out, const struct ckpt_epoch *e,
                             uint64_t uid)
{
    uint64_t count = 0;
    const struct ckpt_attribute *list = ckpt_object_attributes(e, uid, &count);
    for (uint64_t i = 0; i < count; i++) {
        (void)fputs("attribute", out);
        print_text(out, "name", list[i].name);
        if (list[i].count > 0) {
            print_numbers(out, &list[i]);
        } else {
            print_text(out, "text", list[i].text);
        }
        (void)fputc('\n', out);
    }
}

static void print_type(FILE *out, recto_type type)
{
    if (type >= RECTO_STRUCT_FIRST) {
        (void)fprintf(out, "struct%d", (int)type - RECTO_STRUCT_FIRST);
    } else {
        (void)fputs(ckpt_type_name(type), out);
    }
}

static void print_object(FILE *out, const struct ckpt_object *o)
{
    (void)fprintf(out,
                  "object uid=%llu kind=%s type=", (unsigned long long)o->uid,
                  o->kind == CKPT_SHARED ? "shared" : "private");
    print_type(out, o->type);
    (void)fputs(" dims=", out);
    for (int i = 0; i < o->ndims; i++) {
        (void)fprintf(out, "%s%llu", i > 0 ? "," : "",
                      (unsigned long long)o->dims[i]);
    }
    (void)fprintf(
        out,
        " bytes=%llu placement=%llu granule=%llu consistency=%llu "
        "address=0x%llx data=%llu sums=%llu pages=%llu",
        (unsigned long long)o->bytes, (unsigned long long)o->placement,
        (unsigned long long)o->granule, (unsigned long long)o->consistency,
        (unsigned long long)o->address, (unsigned long long)o->data,
        (unsigned long long)o->sums, (unsigned long long)o->nsums);
    print_text(out, "name", o->name);
    (void)fputc('\n', out);
}

/* Format 1 has no packed logs, structs and attributes, format 2 no packed full epochs and
 * attributes of numbers. */
static void print_epoch(FILE *out, const struct ckpt_epoch *e, uint64_t format)
{
    char blocks[40] = "";
    char file[CKPT_FILE_NAME_MAX + 1] = "-";
    if (e->has_file) {
        ckpt_epoch_file(e, file);
    }
    if (format > 1) {
        (void)snprintf(blocks, sizeof blocks, " blocks_at=%llu",
                       (unsigned long long)e->blocks_at);
    }
    (void)fprintf(
        out,
        "epoch number=%llu kind=%s base=%llu uuid=%s file=%s "
        "length=%llu meta=%016llx ranks=%llu time=%llu "
        "pieces_at=%llu pieces=%llu log_at=%llu index_at=%llu%s "
        "entries=%llu objects=%llu\n",
        (unsigned long long)e->number, e->full ? "full" : "diff",
        (unsigned long long)e->base, e->uuid, file,
        (unsigned long long)e->length, (unsigned long long)e->meta,
        (unsigned long long)e->ranks, (unsigned long long)e->time,
        (unsigned long long)e->pieces_at, (unsigned long long)e->pieces,
        (unsigned long long)e->pages_at, (unsigned long long)e->index_at,
        blocks, (unsigned long long)e->entries,
        (unsigned long long)e->nobjects);
    if (format > 1) {
        print_structs(out, e);
    }
    for (uint64_t i = 0; i < e->nobjects; i++) {
        print_object(out, &e->objects[i]);
        if (format > 1) {
            print_attributes(out, e, e->objects[i].uid);
        }
    }
}

int ckpt_manifest_print(const struct ckpt_manifest *m, char **text,
                        size_t *bytes)
{
    char *body = NULL;
    size_t size = 0;
    uint64_t format = m->format != 0 ? m->format : CKPT_FORMAT_MAJOR;
    FILE *out = open_memstream(&body, &size);
    if (out == NULL) {
        return base_error(RECTO_ENOMEM, "manifest");
    }
    (void)fprintf(
        out,
        "recto-manifest %llu\norder=%s page=%d generation=%llu run=%s "
        "next_uid=%llu epochs=%llu\n",
        (unsigned long long)format, byte_order, CKPT_PAGE,
        (unsigned long long)m->generation, m->run,
        (unsigned long long)m->next_uid, (unsigned long long)m->nepochs);
    for (uint64_t i = 0; i < m->nepochs; i++) {
        print_epoch(out, &m->epochs[i], format);
    }
    if (fflush(out) == 0) {
        (void)fprintf(out, "sum %016llx\n",
                      (unsigned long long)ckpt_hash(body, size));
    }
    int bad = ferror(out);
    if (fclose(out) != 0 || bad) {
        free(body);
        return base_error(RECTO_ENOMEM, "manifest");
    }
    *text = body;
    *bytes = size;
    return 0;
}

/* ---- parsing ------------------------------------------------------------------ */

struct cursor {
    const char *at;
    const char *end;
    bool bad; /* sticks: later takes yield nothing */
};

static void take(struct cursor *c, const char *word)
{
    size_t length = strlen(word);
    if (c->bad || (size_t)(c->end - c->at) < length ||
        memcmp(c->at, word, length) != 0) {
        c->bad = true;
        return;
    }
    c->at += length;
}

static bool looking_at(const struct cursor *c, const char *word)
{
    size_t length = strlen(word);
    return !c->bad && (size_t)(c->end - c->at) >= length &&
           memcmp(c->at, word, length) == 0;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

static uint64_t take_number(struct cursor *c, const char *key, unsigned base)
{
    take(c, key);
    uint64_t value = 0;
    const char *start = c->at;
    while (!c->bad && c->at < c->end && digit_of(*c->at) < (int)base) {
        uint64_t digit = (uint64_t)digit_of(*c->at++);
        if (value > (UINT64_MAX - digit) / base) {
            c->bad = true;
        }
        value = value * base + digit;
    }
    if (c->at == start) {
        c->bad = true;
    }
    return c->bad ? 0 : value;
}

static uint64_t take_u64(struct cursor *c, const char *key)
{
    return take_number(c, key, 10);
}

/* A word up to a blank, of at most size - 1 bytes. */
static void take_word(struct cursor *c, const char *key, char *word,
                      size_t size)
{
    take(c, key);
    size_t n = 0;
    while (!c->bad && c->at < c->end && *c->at != ' ' && *c->at != '\n') {
        if (n + 1 >= size || *c->at == '\0') {
            c->bad = true;
            break;
        }
        word[n++] = *c->at++;
    }
    word[n] = '\0';
}

static void take_uuid(struct cursor *c, const char *key, char *uuid)
{
    take_word(c, key, uuid, CKPT_UUID + 1);
    if (strspn(uuid, "0123456789abcdef") != CKPT_UUID) {
        c->bad = true;
    }
}

/* Of at most `most` bytes behind a key, in quotation marks. */
static void take_text(struct cursor *c, const char *key, char *text,
                      size_t most)
{
    size_t n = 0;
    take(c, key);
    take(c, "\"");
    while (!c->bad && c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            c->at++;
        }
        if (c->at >= c->end || n >= most || *c->at == '\0') {
            c->bad = true;
            break;
        }
        text[n++] = *c->at++;
    }
    text[n] = '\0';
    take(c, "\"");
}

static void take_name(struct cursor *c, char *name)
{
    take_text(c, " name=", name, RECTO_NAME_MAX);
    take(c, "\n");
    if (!c->bad && strcmp(name, BASE_HEAP_NAME) != 0 &&
        base_name_check(name) != 0) {
        c->bad = true;
    }
}

static recto_type take_element(struct cursor *c)
{
    char word[16];
    take_word(c, " type=", word, sizeof word);
    int type = ckpt_type_of(word);
    c->bad = c->bad || type < 0;
    return c->bad ? RECTO_BYTE : (recto_type)type;
}

/* Of an object: an element type, or the number of a struct of its epoch. */
static void take_type(struct cursor *c, const struct ckpt_epoch *e,
                      struct ckpt_object *o)
{
    if (!looking_at(c, " type=struct")) {
        o->type = take_element(c);
        o->element = recto_type_size(o->type);
        return;
    }
    uint64_t index = take_u64(c, " type=struct");
    c->bad = c->bad || index >= e->nstructs;
    if (!c->bad) {
        o->type = (recto_type)(RECTO_STRUCT_FIRST + (int)index);
        o->element = e->structs[index].bytes;
    }
}

static void take_dims(struct cursor *c, struct ckpt_object *o)
{
    o->dims[0] = take_u64(c, " dims=");
    o->ndims = 1;
    while (looking_at(c, ",")) {
        if (o->ndims == RECTO_DIMS_MAX) {
            c->bad = true;
            return;
        }
        o->dims[o->ndims++] = take_u64(c, ",");
    }
}

static void take_object(struct cursor *c, const struct ckpt_epoch *e,
                        struct ckpt_object *o)
{
    char word[16];
    o->uid = take_u64(c, "object uid=");
    take_word(c, " kind=", word, sizeof word);
    o->kind = strcmp(word, "private") == 0 ? CKPT_PRIVATE : CKPT_SHARED;
    take_type(c, e, o);
    take_dims(c, o);
    o->bytes = take_u64(c, " bytes=");
    o->placement = take_u64(c, " placement=");
    o->granule = take_u64(c, " granule=");
    o->consistency = take_u64(c, " consistency=");
    o->address = take_number(c, " address=0x", 16);
    o->data = take_u64(c, " data=");
    o->sums = take_u64(c, " sums=");
    o->nsums = take_u64(c, " pages=");
    take_name(c, o->name);
}

/* Room for one more element in an array that doubles. */
static bool grow(void **array, uint64_t count, uint64_t *room, size_t size)
{
    if (count < *room) {
        return true;
    }
    uint64_t more = *room == 0 ? 4 : *room * 2;
    void *bigger = realloc(*array, (size_t)more * size);
    if (bigger == NULL) {
        return false;
    }
    *array = bigger;
    *room = more;
    return true;
}

/* Rooms of an epoch's lists while they grow. */
struct rooms {
    uint64_t objects;
    uint64_t structs;
    uint64_t members;
    uint64_t attributes;
};

static bool take_member(struct cursor *c, struct ckpt_epoch *e, uint64_t *room)
{
    if (!grow((void **)&e->members, e->nmembers, room, sizeof *e->members)) {
        return false;
    }
    struct base_member *m = &e->members[e->nmembers++];
    memset(m, 0, sizeof *m);
    m->offset = take_u64(c, "member offset=");
    m->type = (uint32_t)take_element(c);
    m->count = take_u64(c, " count=");
    take_text(c, " name=", m->name, RECTO_LABEL_MAX);
    take(c, "\n");
    return true;
}

static bool take_structs(struct cursor *c, struct ckpt_epoch *e,
                         struct rooms *room)
{
    while (looking_at(c, "struct ")) {
        if (!grow((void **)&e->structs, e->nstructs, &room->structs,
                  sizeof *e->structs)) {
            return false;
        }
        struct ckpt_struct *s = &e->structs[e->nstructs++];
        memset(s, 0, sizeof *s);
        s->bytes = take_u64(c, "struct bytes=");
        take_text(c, " name=", s->name, RECTO_LABEL_MAX);
        take(c, "\n");
        s->first = e->nmembers;
        while (looking_at(c, "member ")) {
            if (!take_member(c, e, &room->members)) {
                return false;
            }
        }
        s->count = e->nmembers - s->first;
    }
    return true;
}

static void take_numbers(struct cursor *c, struct ckpt_attribute *a)
{
    a->type = (uint32_t)take_element(c);
    uint64_t count = take_u64(c, " count=");
    take(c, " bytes=");
    c->bad = c->bad || count < 1 || count > RECTO_ATTRIBUTE_NUMBERS_MAX;
    a->count = c->bad ? 0 : (uint32_t)count;
    for (size_t i = 0; !c->bad && i < ckpt_attribute_bytes(a); i++) {
        int high = c->end - c->at < 2 ? 99 : digit_of(c->at[0]);
        int low = high > 15 ? 99 : digit_of(c->at[1]);
        c->bad = high > 15 || low > 15;
        a->text[i] = (char)(c->bad ? 0 : high << 4 | low);
        c->at += c->bad ? 0 : 2;
    }
}

static bool take_attributes(struct cursor *c, struct ckpt_epoch *e,
                            uint64_t uid, uint64_t format, uint64_t *room)
{
    while (looking_at(c, "attribute ")) {
        if (!grow((void **)&e->attributes, e->nattributes, room,
                  sizeof *e->attributes)) {
            return false;
        }
        struct ckpt_attribute *a = &e->attributes[e->nattributes++];
        memset(a, 0, sizeof *a);
        a->uid = uid;
        take_text(c, "attribute name=", a->name, RECTO_LABEL_MAX);
        if (format > 2 && looking_at(c, " type=")) {
            take_numbers(c, a);
        } else {
            take_text(c, " text=", a->text, RECTO_ATTRIBUTE_TEXT_MAX);
        }
        take(c, "\n");
    }
    return true;
}

/* The lists behind an epoch's line. */
static int take_lists(struct cursor *c, struct ckpt_epoch *e, uint64_t objects,
                      uint64_t format)
{
    struct rooms room = {0};
    bool good = take_structs(c, e, &room);
    while (good && !c->bad && e->nobjects < objects) {
        good = grow((void **)&e->objects, e->nobjects, &room.objects,
                    sizeof *e->objects);
        if (good) {
            struct ckpt_object *o = &e->objects[e->nobjects++];
            memset(o, 0, sizeof *o);
            take_object(c, e, o);
            good = take_attributes(c, e, o->uid, format, &room.attributes);
        }
    }
    return good ? 0 : base_error(RECTO_ENOMEM, "manifest");
}

static int take_epoch(struct cursor *c, struct ckpt_epoch *e, uint64_t format)
{
    char word[CKPT_FILE_NAME_MAX + 1];
    e->number = take_u64(c, "epoch number=");
    take_word(c, " kind=", word, sizeof word);
    e->full = strcmp(word, "full") == 0;
    e->base = take_u64(c, " base=");
    take_uuid(c, " uuid=", e->uuid);
    take_word(c, " file=", word, sizeof word);
    e->has_file = strcmp(word, "-") != 0;
    e->length = take_u64(c, " length=");
    e->meta = take_number(c, " meta=", 16);
    e->ranks = take_u64(c, " ranks=");
    e->time = take_u64(c, " time=");
    e->pieces_at = take_u64(c, " pieces_at=");
    e->pieces = take_u64(c, " pieces=");
    e->pages_at = take_u64(c, " log_at=");
    e->index_at = take_u64(c, " index_at=");
    e->blocks_at = format > 1 ? take_u64(c, " blocks_at=") : 0;
    e->packed = e->blocks_at != 0 && (format > 2 || !e->full);
    e->entries = take_u64(c, " entries=");
    uint64_t objects = take_u64(c, " objects=");
    take(c, "\n");
    return take_lists(c, e, objects, format);
}

/* ---- the whole ------------------------------------------------------------------ */

static int sum_check(const char *text, size_t bytes)
{
    struct cursor c = {text + bytes - SUM_LINE, text + bytes, false};
    uint64_t sum = take_number(&c, "sum ", 16);
    take(&c, "\n");
    if (c.bad || c.at != c.end || sum != ckpt_hash(text, bytes - SUM_LINE)) {
        return ckpt_manifest_corrupt("its checksum is wrong");
    }
    return 0;
}

static int version_check(const char *text, size_t bytes)
{
    struct cursor c = {text, text + bytes, false};
    uint64_t version = take_u64(&c, "recto-manifest ");
    take(&c, "\n");
    if (c.bad) {
        return ckpt_manifest_corrupt("it does not begin as one");
    }
    if (version < CKPT_FORMAT_OLDEST || version > CKPT_FORMAT_MAJOR) {
        return base_error(RECTO_EVERSION,
                          "manifest of format %llu; this Recto reads formats "
                          "%d to %d: use the version that wrote it",
                          (unsigned long long)version, CKPT_FORMAT_OLDEST,
                          CKPT_FORMAT_MAJOR);
    }
    return 0;
}

static int body_parse(const char *text, size_t bytes, struct ckpt_manifest *m)
{
    struct cursor c = {text, text + bytes - SUM_LINE, false};
    char order[16];
    m->format = take_u64(&c, "recto-manifest ");
    take_word(&c, "\norder=", order, sizeof order);
    uint64_t page = take_u64(&c, " page=");
    if (!c.bad && (strcmp(order, byte_order) != 0 || page != CKPT_PAGE)) {
        return base_error(RECTO_EVERSION,
                          "manifest of a machine with %s-endian numbers and "
                          "pages of %llu bytes",
                          order, (unsigned long long)page);
    }
    m->generation = take_u64(&c, " generation=");
    take_uuid(&c, " run=", m->run);
    m->next_uid = take_u64(&c, " next_uid=");
    uint64_t epochs = take_u64(&c, " epochs=");
    take(&c, "\n");
    uint64_t room = 0;
    while (!c.bad && m->nepochs < epochs) {
        if (!grow((void **)&m->epochs, m->nepochs, &room, sizeof *m->epochs)) {
            return base_error(RECTO_ENOMEM, "manifest");
        }
        struct ckpt_epoch *e = &m->epochs[m->nepochs++];
        memset(e, 0, sizeof *e);
        int status = take_epoch(&c, e, m->format);
        if (status != 0) {
            return status;
        }
    }
    if (c.bad || c.at != c.end) {
        return ckpt_manifest_corrupt("syntax error at byte %zu",
                                     (size_t)(c.at - text));
    }
    return 0;
}

static int canonical_check(const char *text, size_t bytes,
                           const struct ckpt_manifest *m)
{
    char *again = NULL;
    size_t size = 0;
    int status = ckpt_manifest_print(m, &again, &size);
    if (status != 0) {
        return status;
    }
    if (size != bytes || memcmp(again, text, bytes) != 0) {
        status = ckpt_manifest_corrupt("it is not in the one permitted form");
    }
    free(again);
    return status;
}

int ckpt_manifest_parse(const char *text, size_t bytes,
                        struct ckpt_manifest **manifest)
{
    if (bytes < SUM_LINE) {
        return ckpt_manifest_corrupt("it is cut short");
    }
    int status = sum_check(text, bytes);
    if (status == 0) {
        status = version_check(text, bytes);
    }
    if (status != 0) {
        return status;
    }
    struct ckpt_manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return base_error(RECTO_ENOMEM, "manifest");
    }
    status = body_parse(text, bytes, m);
    if (status == 0) {
        status = ckpt_manifest_check(m);
    }
    if (status == 0) {
        status = canonical_check(text, bytes, m);
    }
    if (status != 0) {
        ckpt_manifest_free(m);
        return status;
    }
    *manifest = m;
    return 0;
}

void ckpt_manifest_free(struct ckpt_manifest *m)
{
    if (m != NULL) {
        for (uint64_t i = 0; i < m->nepochs; i++) {
            ckpt_epoch_clear(&m->epochs[i]);
        }
        free(m->epochs);
        free(m);
    }
}
