/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the on-disk form is made of: type and object names, page sums, file
 * names, and the extents of an epoch file.
 *
 * Invariants
 * 1. The sum of a page is over CKPT_PAGE bytes; past the object's end they
 *    count as zero.
 * 2. Bulk extents never overlap; every other byte of the file is metadata and
 *    enters the checksum that the manifest holds.
 */
#include "format.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/base.h"
#include "io.h"

/* Indexed by recto_type. */
static const char *const type_names[] = {
    "byte",   "int8",  "uint8",  "int16",   "uint16",  "int32",
    "uint32", "int64", "uint64", "float32", "float64",
};
enum {
    TYPES = sizeof type_names / sizeof type_names[0],
    UUID_IN_NAME = 8 /* characters, of a file */
};
#define TYPE_VALUE(name, value, bytes) (value),
_Static_assert(sizeof((const char[]){RECTO_TYPE_LIST(TYPE_VALUE)}) == TYPES,
               "every type has a name on disk");
#undef TYPE_VALUE

const char *ckpt_type_name(recto_type type)
{
    return (unsigned)type < TYPES ? type_names[type] : NULL;
}

int ckpt_type_of(const char *name)
{
    for (int i = 0; i < TYPES; i++) {
        if (strcmp(type_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

uint64_t ckpt_hash(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t ckpt_page_sum(const void *data, size_t bytes)
{
    if (bytes == CKPT_PAGE) {
        return XXH3_64bits(data, CKPT_PAGE);
    }
    char page[CKPT_PAGE] = {0};
    memcpy(page, data, bytes);
    return XXH3_64bits(page, CKPT_PAGE);
}

uint64_t ckpt_zero_sum(void)
{
    static const char zeros[CKPT_PAGE];
    return XXH3_64bits(zeros, CKPT_PAGE);
}

bool ckpt_is_zero(const char *data, size_t bytes)
{
    return bytes == 0 ||
           (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

uint64_t ckpt_run_hash(const struct ckpt_entry *entries,
                       const struct ckpt_block *blocks, uint64_t count)
{
    uint64_t hash = XXH3_64bits(entries, count * sizeof *entries);
    return blocks == NULL
               ? hash
               : XXH3_64bits_withSeed(blocks, count * sizeof *blocks, hash);
}

const struct ckpt_struct *ckpt_struct_of(const struct ckpt_epoch *epoch,
                                         recto_type type)
{
    uint64_t index = (uint64_t)type - RECTO_STRUCT_FIRST;
    return type >= RECTO_STRUCT_FIRST && index < epoch->nstructs
               ? &epoch->structs[index]
               : NULL;
}

bool ckpt_type_same(const struct ckpt_epoch *a, recto_type x,
                    const struct ckpt_epoch *b, recto_type y)
{
    const struct ckpt_struct *s = ckpt_struct_of(a, x);
    const struct ckpt_struct *t = ckpt_struct_of(b, y);
    if (s == NULL || t == NULL) {
        return s == t && x == y;
    }
    bool same = s->bytes == t->bytes && s->count == t->count;
    for (uint64_t i = 0; i < s->count && same; i++) {
        same = base_member_same(&a->members[s->first + i],
                                &b->members[t->first + i]);
    }
    return same;
}

const char *ckpt_object_type(const struct ckpt_epoch *epoch,
                             const struct ckpt_object *object)
{
    const struct ckpt_struct *s = ckpt_struct_of(epoch, object->type);
    const char *name = s != NULL ? s->name : ckpt_type_name(object->type);
    return name != NULL ? name : "?";
}

static bool text_good(const char *text)
{
    size_t length = strnlen(text, RECTO_ATTRIBUTE_TEXT_MAX + 1);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return length <= RECTO_ATTRIBUTE_TEXT_MAX;
}

bool ckpt_attribute_good(const struct ckpt_attribute *a)
{
    _Static_assert(sizeof a->text ==
                       RECTO_ATTRIBUTE_NUMBERS_MAX * sizeof(uint64_t),
                   "there is room for as many numbers");
    bool numbers = a->count > 0;
    return base_label_good(a->name) &&
           (numbers ? a->type < TYPES && a->count <= RECTO_ATTRIBUTE_NUMBERS_MAX
                    : a->type == 0 && text_good(a->text));
}

const struct ckpt_attribute *
ckpt_object_attributes(const struct ckpt_epoch *epoch, uint64_t uid,
                       uint64_t *count)
{
    uint64_t low = 0;
    uint64_t high = epoch->nattributes;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (epoch->attributes[middle].uid < uid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *count = 0;
    while (low + *count < epoch->nattributes &&
           epoch->attributes[low + *count].uid == uid) {
        (*count)++;
    }
    return *count > 0 ? &epoch->attributes[low] : NULL;
}

const char *ckpt_object_shape(const struct ckpt_epoch *epoch,
                              const struct ckpt_object *object, char *text,
                              size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < object->ndims && used < size; i++) {
        int n = snprintf(text + used, size - used, "%s%llu", i > 0 ? " x " : "",
                         (unsigned long long)object->dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < size) {
        (void)snprintf(text + used, size - used, " %s",
                       ckpt_object_type(epoch, object));
    }
    return text;
}

const char *ckpt_kind_words(enum ckpt_kind kind)
{
    return kind == CKPT_SHARED ? "array" : "protected memory";
}

void ckpt_epoch_file(const struct ckpt_epoch *epoch, char *name)
{
    (void)snprintf(name, CKPT_FILE_NAME_MAX + 1, "e%08llu-%.8s.h5",
                   (unsigned long long)epoch->number, epoch->uuid);
}

bool ckpt_epoch_file_name(const char *name)
{
    if (name[0] != 'e') {
        return false;
    }
    size_t digits = strspn(name + 1, "0123456789");
    const char *dash = name + 1 + digits;
    return digits >= 8 && digits <= 20 && *dash == '-' &&
           strspn(dash + 1, "0123456789abcdef") == 8 &&
           strcmp(dash + 9, ".h5") == 0;
}

static int object_order(const void *key, const void *object)
{
    uint64_t uid = *(const uint64_t *)key;
    const struct ckpt_object *o = object;
    return (uid > o->uid) - (uid < o->uid);
}

struct ckpt_object *ckpt_epoch_object(const struct ckpt_epoch *epoch,
                                      uint64_t uid)
{
    return epoch->nobjects == 0 ? NULL
                                : bsearch(&uid, epoch->objects, epoch->nobjects,
                                          sizeof *epoch->objects, object_order);
}

static int extent_order(const void *a, const void *b)
{
    const struct ckpt_extent *x = a;
    const struct ckpt_extent *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void extent_add(struct ckpt_extent *extents, size_t *count,
                       uint64_t offset, uint64_t bytes)
{
    if (bytes > 0) {
        extents[(*count)++] = (struct ckpt_extent){offset, bytes};
    }
}

static int extents_check(const struct ckpt_extent *extents, size_t count,
                         const struct ckpt_epoch *epoch)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ckpt_extent *e = &extents[i];
        if (e->offset < end || e->offset > epoch->length ||
            e->bytes > epoch->length - e->offset) {
            return base_error(RECTO_ECORRUPT,
                              "epoch %llu: data at byte %llu overlaps or "
                              "leaves the file",
                              (unsigned long long)epoch->number,
                              (unsigned long long)e->offset);
        }
        end = e->offset + e->bytes;
    }
    return 0;
}

uint64_t ckpt_epoch_volume(const struct ckpt_epoch *epoch)
{
    uint64_t twice = epoch->pieces * sizeof(struct ckpt_piece);
    for (uint64_t i = 0; epoch->full && i < epoch->nobjects; i++) {
        twice += epoch->objects[i].nsums * sizeof(uint64_t);
    }
    return epoch->has_file ? epoch->length + twice : 0;
}

uint64_t ckpt_chain_start(const struct ckpt_manifest *manifest, uint64_t index)
{
    while (index > 0 && !manifest->epochs[index].full) {
        index--;
    }
    return index;
}

uint64_t ckpt_chain_volume(const struct ckpt_manifest *manifest, uint64_t index)
{
    uint64_t bytes = 0;
    for (uint64_t i = ckpt_chain_start(manifest, index); i <= index; i++) {
        bytes += ckpt_epoch_volume(&manifest->epochs[i]);
    }
    return bytes;
}

uint64_t ckpt_chain_measure(const struct ckpt_manifest *manifest,
                            uint64_t index)
{
    const struct ckpt_epoch *e = &manifest->epochs[index];
    uint64_t full = manifest->epochs[ckpt_chain_start(manifest, index)].length;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        bytes += e->objects[i].bytes;
    }
    return bytes > full ? bytes : full;
}

static void full_extents(const struct ckpt_epoch *epoch,
                         const struct ckpt_chunk *chunks,
                         struct ckpt_extent *list, size_t *n)
{
    for (uint64_t i = 0; i < epoch->nobjects; i++) {
        const struct ckpt_object *o = &epoch->objects[i];
        if (!ckpt_is_chunked(epoch, o)) {
            extent_add(list, n, o->data, o->bytes);
        }
        extent_add(list, n, o->sums, o->nsums * sizeof(uint64_t));
    }
    for (uint64_t i = 0; chunks != NULL && i < epoch->entries; i++) {
        extent_add(list, n, chunks[i].offset, chunks[i].bytes);
    }
}

static void log_extents(const struct ckpt_epoch *epoch,
                        struct ckpt_extent *list, size_t *n)
{
    extent_add(list, n, epoch->pages_at, epoch->entries * CKPT_PAGE);
    extent_add(list, n, epoch->index_at,
               epoch->entries * sizeof(struct ckpt_entry));
    if (epoch->packed) {
        extent_add(list, n, epoch->blocks_at,
                   epoch->entries * sizeof(struct ckpt_block));
    }
}

int ckpt_epoch_extents(const struct ckpt_epoch *epoch,
                       const struct ckpt_chunk *chunks,
                       struct ckpt_extent **extents, size_t *count)
{
    size_t n = 0;
    size_t most = 2 * (size_t)epoch->nobjects + 3;
    most += chunks != NULL ? (size_t)epoch->entries : 0;
    struct ckpt_extent *list = calloc(most, sizeof *list);
    if (list == NULL) {
        return base_error(RECTO_ENOMEM, "extents of epoch %llu",
                          (unsigned long long)epoch->number);
    }
    if (epoch->full) {
        full_extents(epoch, chunks, list, &n);
    } else {
        log_extents(epoch, list, &n);
    }
    qsort(list, n, sizeof *list, extent_order);
    int status = extents_check(list, n, epoch);
    if (status != 0) {
        free(list);
        return status;
    }
    *extents = list;
    *count = n;
    return 0;
}

int ckpt_uuid_make(char *uuid)
{
    unsigned char random[CKPT_UUID / 2];
    ssize_t n;
    do {
        n = getrandom(random, sizeof random, 0);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof random) {
        return base_error(RECTO_EIO, "no random numbers for a uuid: %s",
                          strerrordesc_np(errno));
    }
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(uuid + 2 * i, 3, "%02x", random[i]);
    }
    return 0;
}

int ckpt_uuid_renew(char *uuid)
{
    char fresh[CKPT_UUID + 1];
    int status = 0;
    do {
        status = ckpt_uuid_make(fresh);
    } while (status == 0 && memcmp(fresh, uuid, UUID_IN_NAME) == 0);
    if (status == 0) {
        memcpy(uuid, fresh, UUID_IN_NAME);
    }
    return status;
}

bool ckpt_uuid_same(const char *a, const char *b)
{
    return memcmp(a + UUID_IN_NAME, b + UUID_IN_NAME,
                  CKPT_UUID - UUID_IN_NAME) == 0;
}

/* ---- lists of an epoch ----------------------------------------------------------- */

void ckpt_epoch_lists(struct ckpt_epoch *e, struct ckpt_list lists[CKPT_LISTS])
{
    lists[0] = (struct ckpt_list){(void **)&e->objects, &e->nobjects,
                                  sizeof *e->objects};
    lists[1] = (struct ckpt_list){(void **)&e->structs, &e->nstructs,
                                  sizeof *e->structs};
    lists[2] = (struct ckpt_list){(void **)&e->members, &e->nmembers,
                                  sizeof *e->members};
    lists[3] = (struct ckpt_list){(void **)&e->attributes, &e->nattributes,
                                  sizeof *e->attributes};
}

void ckpt_epoch_clear(struct ckpt_epoch *epoch)
{
    free(epoch->objects);
    free(epoch->structs);
    free(epoch->members);
    free(epoch->attributes);
    memset(epoch, 0, sizeof *epoch);
}

void ckpt_epoch_bare(struct ckpt_epoch *to, const struct ckpt_epoch *from)
{
    *to = *from;
    to->objects = NULL;
    to->structs = NULL;
    to->members = NULL;
    to->attributes = NULL;
}

int ckpt_epoch_copy(struct ckpt_epoch *to, const struct ckpt_epoch *from)
{
    struct ckpt_epoch source = *from;
    struct ckpt_list old[CKPT_LISTS];
    struct ckpt_list new[CKPT_LISTS];
    bool good = true;
    ckpt_epoch_bare(to, from);
    ckpt_epoch_lists(&source, old);
    ckpt_epoch_lists(to, new);
    for (int i = 0; i < CKPT_LISTS; i++) {
        size_t bytes = (size_t)*old[i].count * old[i].size;
        void *rows = bytes > 0 && good ? malloc(bytes) : NULL;
        good = good && (bytes == 0 || rows != NULL);
        if (rows != NULL) {
            memcpy(rows, *old[i].rows, bytes);
        }
        *new[i].rows = rows;
        *new[i].count = rows != NULL ? *old[i].count : 0;
    }
    return good ? 0
                : base_error(RECTO_ENOMEM, "epoch %llu",
                             (unsigned long long)from->number);
}
