/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto ls` and `recto info`: what the manifest says.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "cli.h"

/* How an epoch's file looks from outside: "ok", "missing", "wrong length". */
static const char *file_state(const struct cli_request *r,
                              const struct ckpt_epoch *e)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct stat status;
    if (!e->has_file) {
        return "ok";
    }
    ckpt_epoch_file(e, name);
    if (fstatat(r->dir.fd, name, &status, 0) != 0) {
        return errno == ENOENT ? "missing" : "unreadable";
    }
    return (uint64_t)status.st_size == e->length ? "ok" : "wrong length";
}

/* What the file system stores of an epoch's file: not its holes. */
static uint64_t disk_bytes(const struct cli_request *r,
                           const struct ckpt_epoch *e)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct stat status;
    ckpt_epoch_file(e, name);
    return e->has_file && fstatat(r->dir.fd, name, &status, 0) == 0
               ? (uint64_t)status.st_blocks * 512
               : 0;
}

static bool state_good(const char *state)
{
    return strcmp(state, "ok") == 0;
}

static void ls_json(const struct cli_request *r)
{
    (void)printf("{\"folder\": ");
    cli_json_string(stdout, r->dir.path);
    (void)printf(", \"run\": \"%s\", \"generation\": %llu, \"epochs\": [",
                 r->manifest->run, (unsigned long long)r->manifest->generation);
    for (uint64_t i = 0; i < r->manifest->nepochs; i++) {
        const struct ckpt_epoch *e = &r->manifest->epochs[i];
        char name[CKPT_FILE_NAME_MAX + 1];
        ckpt_epoch_file(e, name);
        (void)printf(
            "%s\n  {\"epoch\": %llu, \"kind\": \"%s\", \"base\": "
            "%llu, \"ranks\": %llu, \"time\": %llu, \"bytes\": %llu, "
            "\"disk_bytes\": %llu, \"objects\": %llu, \"file\": %s%s%s, \"state\": "
            "\"%s\"}",
            i > 0 ? "," : "", (unsigned long long)e->number,
            e->full ? "full" : "diff", (unsigned long long)e->base,
            (unsigned long long)e->ranks, (unsigned long long)e->time,
            (unsigned long long)e->length, (unsigned long long)disk_bytes(r, e),
            (unsigned long long)e->nobjects, e->has_file ? "\"" : "",
            e->has_file ? name : "null", e->has_file ? "\"" : "",
            file_state(r, e));
    }
    (void)printf("]");
}

static void ls_text(const struct cli_request *r)
{
    (void)printf("%8s  %-4s  %8s  %6s  %-20s  %10s  %7s  %s\n", "EPOCH", "KIND",
                 "BASE", "RANKS", "TIME", "SIZE", "OBJECTS", "FILE");
    for (uint64_t i = 0; i < r->manifest->nepochs; i++) {
        const struct ckpt_epoch *e = &r->manifest->epochs[i];
        const char *state = file_state(r, e);
        char name[CKPT_FILE_NAME_MAX + 1] = "(nothing had changed)";
        char when[32];
        char size[32];
        if (e->has_file) {
            ckpt_epoch_file(e, name);
        }
        (void)printf("%8llu  %-4s  %8llu  %6llu  %-20s  %10s  %7llu  %s%s%s\n",
                     (unsigned long long)e->number, e->full ? "full" : "diff",
                     (unsigned long long)e->base, (unsigned long long)e->ranks,
                     cli_time(e->time, when), cli_size(e->length, size),
                     (unsigned long long)e->nobjects, name,
                     state_good(state) ? "" : "  ",
                     state_good(state) ? "" : state);
    }
}

enum cli_exit cli_ls(const struct cli_request *r)
{
    enum cli_exit local = CLI_GOOD;
    if (r->json) {
        ls_json(r);
    } else {
        ls_text(r);
    }
    if (r->nlocals > 0) {
        (void)fputs(r->json ? ", \"local\": [" : "", stdout);
        local = cli_local(r);
        (void)fputs(r->json ? "]" : "", stdout);
    }
    (void)fputs(r->json ? "}\n" : "", stdout);
    for (uint64_t i = 0; i < r->manifest->nepochs; i++) {
        if (!state_good(file_state(r, &r->manifest->epochs[i]))) {
            return CLI_DAMAGED;
        }
    }
    return local;
}

static void members_json(const struct ckpt_epoch *e,
                         const struct ckpt_struct *s)
{
    (void)printf(", \"element_bytes\": %llu, \"members\": [",
                 (unsigned long long)s->bytes);
    for (uint64_t i = 0; i < s->count; i++) {
        const struct base_member *m = &e->members[s->first + i];
        (void)printf("%s{\"name\": ", i > 0 ? ", " : "");
        cli_json_string(stdout, m->name);
        (void)printf(", \"type\": \"%s\", \"offset\": %llu, \"count\": %llu}",
                     ckpt_type_name((recto_type)m->type),
                     (unsigned long long)m->offset,
                     (unsigned long long)m->count);
    }
    (void)printf("]");
}

/* Of JSON if it is one: a number that is not finite is in quotes. */
static void number_print(const struct ckpt_attribute *a, uint64_t i)
{
    union {
        int8_t i8;
        uint8_t u8;
        int16_t i16;
        uint16_t u16;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        float f;
        double d;
    } v = {.u64 = 0};
    size_t size = recto_type_size((recto_type)a->type);
    memcpy(&v, a->text + i * size, size);
    double real = a->type == RECTO_FLOAT ? (double)v.f : v.d;
    const char *quote = isfinite(real) ? "" : "\"";
    switch (a->type) {
    case RECTO_INT8: (void)printf("%d", v.i8); break;
    case RECTO_BYTE:
    case RECTO_UINT8: (void)printf("%u", v.u8); break;
    case RECTO_INT16: (void)printf("%d", v.i16); break;
    case RECTO_UINT16: (void)printf("%u", v.u16); break;
    case RECTO_INT32: (void)printf("%" PRId32, v.i32); break;
    case RECTO_UINT32: (void)printf("%" PRIu32, v.u32); break;
    case RECTO_INT64: (void)printf("%" PRId64, v.i64); break;
    case RECTO_UINT64: (void)printf("%" PRIu64, v.u64); break;
    case RECTO_FLOAT: (void)printf("%s%.9g%s", quote, real, quote); break;
    default: (void)printf("%s%.17g%s", quote, real, quote); break;
    }
}

static void numbers_print(const struct ckpt_attribute *a)
{
    (void)fputs(a->count > 1 ? "[" : "", stdout);
    for (uint64_t i = 0; i < a->count; i++) {
        (void)fputs(i > 0 ? ", " : "", stdout);
        number_print(a, i);
    }
    (void)fputs(a->count > 1 ? "]" : "", stdout);
}

static void attributes_json(const struct ckpt_epoch *e,
                            const struct ckpt_object *o)
{
    uint64_t count = 0;
    const struct ckpt_attribute *list =
        ckpt_object_attributes(e, o->uid, &count);
    (void)printf(", \"attributes\": {");
    for (uint64_t i = 0; i < count; i++) {
        (void)fputs(i > 0 ? ", " : "", stdout);
        cli_json_string(stdout, list[i].name);
        (void)printf(": ");
        if (list[i].count > 0) {
            numbers_print(&list[i]);
        } else {
            cli_json_string(stdout, list[i].text);
        }
    }
    (void)printf("}");
}

static void object_json(const struct ckpt_epoch *e, const struct ckpt_object *o)
{
    const struct ckpt_struct *s = ckpt_struct_of(e, o->type);
    (void)printf("{\"name\": ");
    cli_json_string(stdout, o->name);
    (void)printf(", \"kind\": \"%s\", \"type\": ",
                 o->kind == CKPT_SHARED ? "shared" : "private");
    cli_json_string(stdout, ckpt_object_type(e, o));
    if (s != NULL) {
        members_json(e, s);
    }
    (void)printf(", \"dims\": [");
    for (int i = 0; i < o->ndims; i++) {
        (void)printf("%s%llu", i > 0 ? ", " : "",
                     (unsigned long long)o->dims[i]);
    }
    (void)printf("], \"bytes\": %llu, \"uid\": %llu, \"address\": %llu",
                 (unsigned long long)o->bytes, (unsigned long long)o->uid,
                 (unsigned long long)o->address);
    attributes_json(e, o);
    (void)printf("}");
}

static void info_json(const struct cli_request *r, uint64_t index)
{
    const struct ckpt_epoch *e = &r->manifest->epochs[index];
    (void)printf("{\"folder\": ");
    cli_json_string(stdout, r->dir.path);
    (void)printf(", \"run\": \"%s\", \"epoch\": %llu, \"kind\": \"%s\", "
                 "\"base\": %llu, \"uuid\": \"%s\", \"ranks\": %llu, \"time\": "
                 "%llu, \"bytes\": %llu, \"restart_bytes\": %llu, "
                 "\"pages_in_log\": %llu, \"state\": \"%s\", \"objects\": [",
                 r->manifest->run, (unsigned long long)e->number,
                 e->full ? "full" : "diff", (unsigned long long)e->base,
                 e->uuid, (unsigned long long)e->ranks,
                 (unsigned long long)e->time, (unsigned long long)e->length,
                 (unsigned long long)ckpt_chain_volume(r->manifest, index),
                 (unsigned long long)e->entries, file_state(r, e));
    for (uint64_t i = 0; i < e->nobjects; i++) {
        (void)printf("%s\n  ", i > 0 ? "," : "");
        object_json(e, &e->objects[i]);
    }
    (void)printf("]}\n");
}

/* Members and attributes, below the object. */
static void object_text(const struct ckpt_epoch *e, const struct ckpt_object *o)
{
    const struct ckpt_struct *s = ckpt_struct_of(e, o->type);
    uint64_t count = 0;
    const struct ckpt_attribute *list =
        ckpt_object_attributes(e, o->uid, &count);
    for (uint64_t i = 0; s != NULL && i < s->count; i++) {
        const struct base_member *m = &e->members[s->first + i];
        char many[32] = "";
        if (m->count > 1) {
            (void)snprintf(many, sizeof many, "[%llu]",
                           (unsigned long long)m->count);
        }
        (void)printf("      .%s: %s%s at %llu\n", m->name,
                     ckpt_type_name((recto_type)m->type), many,
                     (unsigned long long)m->offset);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (list[i].count > 0) {
            (void)printf("      %s = ", list[i].name);
            numbers_print(&list[i]);
            (void)putchar('\n');
        } else {
            (void)printf("      %s = \"%s\"\n", list[i].name, list[i].text);
        }
    }
}

static void info_text(const struct cli_request *r, uint64_t index)
{
    const struct ckpt_epoch *e = &r->manifest->epochs[index];
    char text[32];
    char name[CKPT_FILE_NAME_MAX + 1] = "none (nothing had changed)";
    if (e->has_file) {
        ckpt_epoch_file(e, name);
    }
    (void)printf("folder   %s\nrun      %s\nepoch    %llu (%s)\n", r->dir.path,
                 r->manifest->run, (unsigned long long)e->number,
                 e->full ? "full" : "differential");
    (void)printf("chain   ");
    for (uint64_t i = ckpt_chain_start(r->manifest, index); i <= index; i++) {
        (void)printf(" %llu",
                     (unsigned long long)r->manifest->epochs[i].number);
    }
    (void)printf("\nreads    %s at most at a restart",
                 cli_size(ckpt_chain_volume(r->manifest, index), text));
    (void)printf("\nuuid     %s\nfile     %s, %s\n", e->uuid, name,
                 file_state(r, e));
    (void)printf("size     %s", cli_size(e->length, text));
    (void)printf(", %s on disk\n", cli_size(disk_bytes(r, e), text));
    (void)printf("written  %s by %llu ranks\n", cli_time(e->time, text),
                 (unsigned long long)e->ranks);
    if (!e->full) {
        (void)printf("log      %llu pages of %d bytes%s\n",
                     (unsigned long long)e->entries, CKPT_PAGE,
                     e->packed ? ", compressed" : "");
    }
    (void)printf("objects  %llu\n", (unsigned long long)e->nobjects);
    for (uint64_t i = 0; i < e->nobjects; i++) {
        const struct ckpt_object *o = &e->objects[i];
        char shape[CKPT_SHAPE_MAX];
        (void)printf("  %-7s  %10s  %-24s  %s\n",
                     o->kind == CKPT_SHARED ? "shared" : "private",
                     cli_size(o->bytes, text),
                     ckpt_object_shape(e, o, shape, sizeof shape), o->name);
        object_text(e, o);
    }
}

enum cli_exit cli_info(const struct cli_request *r)
{
    uint64_t index = 0;
    if (!cli_epoch_index(r, &index)) {
        return CLI_NO_CHECKPOINT;
    }
    if (r->json) {
        info_json(r, index);
    } else {
        info_text(r, index);
    }
    return state_good(file_state(r, &r->manifest->epochs[index])) ? CLI_GOOD
                                                                  : CLI_DAMAGED;
}
