/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt/manifest, ckpt/format: a manifest comes back from its text as it was;
 * every truncation and every changed byte is refused, and so are manifests
 * with a good checksum whose content contradicts itself; another version is
 * told apart from damage.
 */
#include <base/base.h>
#include <check.h>
#include <ckpt/format.h>
#include <ckpt/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUM_LINE = 21
};

/* ---- a manifest to work on ------------------------------------------------------ */

static struct ckpt_object object(uint64_t uid, const char *name,
                                 enum ckpt_kind kind)
{
    struct ckpt_object o = {
        .uid = uid, .kind = kind, .type = RECTO_DOUBLE, .element = 8};
    o.ndims = kind == CKPT_SHARED ? 2 : 1;
    o.dims[0] = kind == CKPT_SHARED ? 64 : 1000;
    o.dims[1] = kind == CKPT_SHARED ? 16 : 0;
    o.bytes = kind == CKPT_SHARED ? 64 * 16 * 8 : 8000;
    o.address = kind == CKPT_SHARED ? 0x7e9000000000 : 0;
    (void)snprintf(o.name, sizeof o.name, "%s", name);
    return o;
}

static struct ckpt_manifest *manifest_make(void)
{
    struct ckpt_manifest *m = calloc(1, sizeof *m);
    struct ckpt_epoch *e = calloc(3, sizeof *e);
    m->generation = 7;
    m->next_uid = 12;
    m->nepochs = 3;
    m->epochs = e;
    memset(m->run, 'a', CKPT_UUID);
    for (int i = 0; i < 3; i++) {
        e[i].number = (uint64_t)i + 4;
        e[i].full = i == 0;
        e[i].base = 4;
        e[i].ranks = 2;
        e[i].time = 1700000000;
        memset(e[i].uuid, '0' + i, CKPT_UUID);
        e[i].nobjects = 2;
        e[i].objects = calloc(2, sizeof *e[i].objects);
        e[i].objects[0] = object(3, "grid/\"t\" \\ \xc3\xa4", CKPT_SHARED);
        e[i].objects[1] = object(9, "v", CKPT_PRIVATE);
    }
    e[0].has_file = true;
    e[0].length = 40000;
    e[0].meta = 0x0123456789abcdef;
    e[0].pieces_at = 2048;
    e[0].pieces = 4;
    e[0].objects[0].data = 4096;
    e[0].objects[0].sums = 12288;
    e[0].objects[0].nsums = 2;
    e[0].objects[1].data = 16384;
    e[0].objects[1].sums = 12304;
    e[0].objects[1].nsums = 3;
    e[1].has_file = true;
    e[1].length = 30000;
    e[1].pieces_at = 100;
    e[1].pieces = 2;
    e[1].pages_at = 8192;
    e[1].index_at = 4096;
    e[1].entries = 3;
    return m;
}

static char *print(const struct ckpt_manifest *m, size_t *bytes)
{
    char *text = NULL;
    ck_assert_int_eq(ckpt_manifest_print(m, &text, bytes), 0);
    return text;
}

/* Replaces `from` by `to` once and makes the checksum right again. */
static char *edit(const char *text, size_t size, const char *from,
                  const char *to, size_t *bytes)
{
    char *at = strstr(text, from);
    ck_assert_ptr_nonnull(at);
    char *result = malloc(size + strlen(to) + 1);
    int n = sprintf(result, "%.*s%s%s", (int)(at - text), text, to,
                    at + strlen(from));
    *bytes = (size_t)n;
    uint64_t sum = ckpt_hash(result, *bytes - SUM_LINE);
    (void)sprintf(result + *bytes - SUM_LINE, "sum %016llx\n",
                  (unsigned long long)sum);
    return result;
}

static int parse(const char *text, size_t bytes)
{
    struct ckpt_manifest *m = NULL;
    /* Exactly as long, so that a sanitizer sees reads past the end. */
    char *copy = malloc(bytes + 1);
    memcpy(copy, text, bytes);
    char *exact = realloc(copy, bytes > 0 ? bytes : 1);
    int status = ckpt_manifest_parse(exact, bytes, &m);
    ck_assert(status == 0 || m == NULL);
    ckpt_manifest_free(m);
    free(exact);
    return status;
}

/* ---- tests -------------------------------------------------------------------------- */

START_TEST(a_manifest_comes_back_as_it_was)
{
    size_t bytes = 0;
    struct ckpt_manifest *m = manifest_make();
    struct ckpt_manifest *again = NULL;
    char *text = print(m, &bytes);
    ck_assert_int_eq(ckpt_manifest_parse(text, bytes, &again), 0);
    ck_assert_uint_eq(again->nepochs, 3);
    ck_assert_uint_eq(again->generation, 7);
    ck_assert_str_eq(again->run, m->run);
    for (int i = 0; i < 3; i++) {
        struct ckpt_epoch a = m->epochs[i];
        struct ckpt_epoch b = again->epochs[i];
        ck_assert_mem_eq(a.objects, b.objects, 2 * sizeof *a.objects);
        a.objects = b.objects = NULL;
        ck_assert_uint_eq(a.number, b.number);
        ck_assert_uint_eq(a.full, b.full);
        ck_assert_uint_eq(a.meta, b.meta);
        ck_assert_uint_eq(a.entries, b.entries);
        ck_assert_str_eq(a.uuid, b.uuid);
    }
    ckpt_manifest_free(again);
    free(text);
    m->nepochs = 0; /* the first manifest of a folder */
    text = print(m, &bytes);
    ck_assert_int_eq(parse(text, bytes), 0);
    free(text);
    m->nepochs = 3;
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    size_t bytes = 0;
    struct ckpt_manifest *m = manifest_make();
    char *text = print(m, &bytes);
    for (size_t n = 0; n < bytes; n++) {
        ck_assert_msg(parse(text, n) != 0, "%zu bytes were accepted", n);
        ck_assert_msg(parse(text + bytes - n, n) != 0, "the last %zu", n);
    }
    char *longer = malloc(bytes + 1);
    memcpy(longer, text, bytes);
    longer[bytes] = '\n';
    ck_assert_int_eq(parse(longer, bytes + 1), RECTO_ECORRUPT);
    free(longer);
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(every_changed_byte_is_refused)
{
    size_t bytes = 0;
    struct ckpt_manifest *m = manifest_make();
    char *text = print(m, &bytes);
    for (size_t i = 0; i < bytes; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            ck_assert_msg(parse(text, bytes) != 0, "byte %zu bit %d", i, bit);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
    }
    ck_assert_int_eq(parse(text, bytes), 0);
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(a_good_checksum_does_not_vouch_for_nonsense)
{
    static const char *const edits[][2] = {
        {"generation=7",               "generation=07"                        },
        {"generation=7",               "generation=+7"                        },
        {"generation=7",               "generation=18446744073709551616"      },
        {"epochs=3",                   "epochs=4"                             },
        {"epochs=3",                   "epochs=2"                             },
        {"epochs=3",                   "epochs=18446744073709551615"          },
        {"objects=2",                  "objects=3"                            },
        {"objects=2",                  "objects=1000000000000000"             },
        {"kind=full",                  "kind=diff"                            },
        {"kind=shared",                "kind=both"                            },
        {"type=float64",               "type=float65"                         },
        {"dims=64,16",                 "dims=64,17"                           },
        {"dims=64,16",                 "dims=64,16,1,1,1,1,1,1,1"             },
        {"dims=64,16",                 "dims="                                },
        {"dims=64,16",                 "dims=9223372036854775807,16"          },
        {"bytes=8192",                 "bytes=8191"                           },
        {"uid=3",                      "uid=0"                                },
        {"uid=3",                      "uid=9"                                },
        {"uid=3",                      "uid=11"                               },
        {"next_uid=12",                "next_uid=9"                           },
        {"ranks=2",                    "ranks=0"                              },
        {"ranks=2",                    "ranks=4294967296"                     },
        {"number=4",                   "number=5"                             },
        {"number=5",                   "number=4"                             },
        {"base=4",                     "base=3"                               },
        {"length=40000",               "length=20000"                         },
        {"length=40000",               "length=18446744073709551615"          },
        {"data=4096",                  "data=12280"                           },
        {"data=4096",                  "data=18446744073709551615"            },
        {"pieces_at=2048",             "pieces_at=4000"                       },
        {"pieces=4",                   "pieces=400000000000"                  },
        {"entries=3",                  "entries=4503599627370497"             },
        {"entries=3",                  "entries=6"                            },
        {"log_at=8192",                "log_at=29000"                         },
        {"file=-",                     "file=x"                               },
        {"file=e00000004-00000000.h5", "file=../e00000004-00000000.h5"        },
        {"file=e00000004-00000000.h5", "file=e00000004-00000001.h5"           },
        {"name=\"v\"",                 "name=\"\""                            },
        {"name=\"v\"",                 "name=\"../v\""                        },
        {"name=\"v\"",                 "name=\"recto/v\""                     },
        {"name=\"v\"",                 "name=\"\\v\""                         },
        {"name=\"v\"",                 "name=\"v"                             },
        {"name=\"v\"",                 "name=\"v\x01\""                       },
        {"name=\"v\"",                 "name=\"grid/\\\"t\\\" \\\\ \xc3\xa4\""},
        {"\nepoch number=4",           "\n\nepoch number=4"                   },
        {" time=1700000000",           "  time=1700000000"                    },
        {"meta=0123456789abcdef",      "meta=123456789abcdef"                 },
        {"meta=0123456789abcdef",      "meta=0123456789ABCDEF"                },
    };
    size_t bytes = 0;
    struct ckpt_manifest *m = manifest_make();
    char *text = print(m, &bytes);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        size_t n = 0;
        char *other = edit(text, bytes, edits[i][0], edits[i][1], &n);
        int status = parse(other, n);
        ck_assert_msg(status == RECTO_ECORRUPT, "%s -> %s: %d", edits[i][0],
                      edits[i][1], status);
        free(other);
    }
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(another_version_is_told_from_damage)
{
    size_t bytes = 0;
    size_t n = 0;
    struct ckpt_manifest *m = manifest_make();
    char *text = print(m, &bytes);
    char *other = edit(text, bytes, "recto-manifest 3", "recto-manifest 4", &n);
    ck_assert_int_eq(parse(other, n), RECTO_EVERSION);
    free(other);
    other = edit(text, bytes, "page=4096", "page=16384", &n);
    ck_assert_int_eq(parse(other, n), RECTO_EVERSION);
    free(other);
    text[15] = '1' + CKPT_FORMAT_MAJOR; /* without a right checksum: damage */
    ck_assert_int_eq(parse(text, bytes), RECTO_ECORRUPT);
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

/* Format 1 had no packed logs: its lines lack a field, and it has but one form. */
START_TEST(the_first_format_is_read)
{
    size_t bytes = 0;
    size_t n = 0;
    struct ckpt_manifest *m = manifest_make();
    char *present = print(m, &bytes);
    m->format = 1;
    char *text = print(m, &bytes);
    ck_assert_ptr_null(strstr(text, "blocks_at"));
    ck_assert_ptr_nonnull(strstr(present, "blocks_at"));
    ck_assert_int_eq(parse(text, bytes), 0);
    char *mixed = edit(text, bytes, "recto-manifest 1", "recto-manifest 2", &n);
    ck_assert_int_eq(parse(mixed, n), RECTO_ECORRUPT);
    free(mixed);
    free(text);
    free(present);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(a_packed_log_has_its_table)
{
    size_t bytes = 0;
    size_t n = 0;
    struct ckpt_manifest *again = NULL;
    struct ckpt_manifest *m = manifest_make();
    m->epochs[1].packed = true;
    m->epochs[1].blocks_at = 6000;
    char *text = print(m, &bytes);
    ck_assert_int_eq(ckpt_manifest_parse(text, bytes, &again), 0);
    ck_assert(again->epochs[1].packed && !again->epochs[0].packed);
    ck_assert_uint_eq(again->epochs[1].blocks_at, 6000);
    ckpt_manifest_free(again);
    static const char *const wrong[] = {"blocks_at=8180", "blocks_at=4100",
                                        "blocks_at=29990",
                                        "blocks_at=18446744073709551615"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *other = edit(text, bytes, "blocks_at=6000", wrong[i], &n);
        ck_assert_int_eq(parse(other, n), RECTO_ECORRUPT);
        free(other);
    }
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

/* Its first array in chunks. */
static void pack_first(struct ckpt_manifest *m)
{
    struct ckpt_epoch *e = &m->epochs[0];
    for (int i = 0; i < 3; i++) { /* 2 MiB: two chunks */
        m->epochs[i].objects[0].dims[0] = 16384;
        m->epochs[i].objects[0].bytes = 2 << 20;
    }
    e->objects[0].sums = 40000;
    e->objects[0].nsums = 512;
    e->objects[0].data = e->blocks_at = 48000;
    e->entries = 2;
    e->packed = true;
    e->length = 1 << 20;
}

START_TEST(a_packed_full_epoch_has_its_table)
{
    size_t bytes = 0;
    size_t n = 0;
    struct ckpt_manifest *again = NULL;
    struct ckpt_manifest *m = manifest_make();
    pack_first(m);
    char *text = print(m, &bytes);
    ck_assert_int_eq(ckpt_manifest_parse(text, bytes, &again), 0);
    ck_assert(again->epochs[0].packed && !again->epochs[1].packed);
    ck_assert_uint_eq(again->epochs[0].entries, 2);
    ckpt_manifest_free(again);
    static const char *const wrong[][2] = {
        {"blocks_at=48000",  "blocks_at=48016"               },
        {"blocks_at=48000",  "blocks_at=0"                   },
        {"blocks_at=48000",  "blocks_at=18446744073709551600"},
        {"data=48000",       "data=48016"                    },
        {"data=48000",       "data=0"                        },
        {"sums=40000",       "sums=45000"                    }, /* in the table */
        {"entries=2",        "entries=1"                     },
        {"entries=2",        "entries=3"                     },
        {"entries=2",        "entries=1152921504606846978"   },
        {"log_at=0",         "log_at=4096"                   },
        {"index_at=0",       "index_at=4096"                 },
        {"length=1048576",   "length=48016"                  },
        {"recto-manifest 3", "recto-manifest 2"              },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *other = edit(text, bytes, wrong[i][0], wrong[i][1], &n);
        int status = parse(other, n);
        ck_assert_msg(status == RECTO_ECORRUPT, "%s -> %s: %d", wrong[i][0],
                      wrong[i][1], status);
        free(other);
    }
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

/* Chunks are where their table says, and no metadata. */
START_TEST(chunks_are_extents)
{
    struct ckpt_manifest *m = manifest_make();
    struct ckpt_extent *extents = NULL;
    size_t count = 0;
    pack_first(m);
    struct ckpt_chunk chunks[] = {
        {.offset = 100000, .bytes = 50000},
        {.offset = 0,      .bytes = 0    }
    };
    ck_assert_int_eq(
        ckpt_epoch_extents(&m->epochs[0], chunks, &extents, &count), 0);
    ck_assert_uint_eq(count, 4); /* data of one, sums of two, a chunk */
    ck_assert_uint_eq(extents[3].offset, 100000);
    ck_assert_uint_eq(extents[3].bytes, 50000);
    free(extents);
    static const struct ckpt_chunk wrong[] = {
        {.offset = 140000,     .bytes = 20000},
        {.offset = 90000,      .bytes = 10001},
        {.offset = 16384,      .bytes = 1    },
        {.offset = 1 << 20,    .bytes = 1    },
        {.offset = UINT64_MAX, .bytes = 2    },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        chunks[1] = wrong[i];
        ck_assert_int_eq(
            ckpt_epoch_extents(&m->epochs[0], chunks, &extents, &count),
            RECTO_ECORRUPT);
    }
    ckpt_manifest_free(m);
}
END_TEST

/* Gives the first epoch two structs, of which its first object is the second, and
 * attributes. */
static void describe(struct ckpt_epoch *e)
{
    static const struct ckpt_struct structs[] = {
        {.bytes = 16, .first = 0, .count = 1, .name = "one"       },
        {.bytes = 8,  .first = 1, .count = 2, .name = "a \"b\" \\"}
    };
    static const struct base_member members[] = {
        {.offset = 8, .count = 1, .type = RECTO_DOUBLE, .name = "x"},
        {.offset = 0, .count = 3, .type = RECTO_INT16,  .name = "y"},
        {.offset = 6, .count = 2, .type = RECTO_UINT8,  .name = "z"}
    };
    static const struct ckpt_attribute attributes[] = {
        {.uid = 3,            .name = "long_name", .text = "a \\ \"b\""},
        {.uid = 3,            .name = "units",     .text = ""          },
        {.uid = 9,
         .name = "range",
         .text = "\xff\xff\x07",
         .count = 2,
         .type = RECTO_INT16},
        {.uid = 9, .name = "units",                    .text = "K"                                }
    };
    e->nstructs = 2;
    e->structs = malloc(sizeof structs);
    memcpy(e->structs, structs, sizeof structs);
    e->nmembers = 3;
    e->members = malloc(sizeof members);
    memcpy(e->members, members, sizeof members);
    e->nattributes = 4;
    e->attributes = malloc(sizeof attributes);
    memcpy(e->attributes, attributes, sizeof attributes);
    e->objects[0].type = (recto_type)(RECTO_STRUCT_FIRST + 1);
}

START_TEST(structs_and_attributes_come_back)
{
    size_t bytes = 0;
    uint64_t count = 0;
    struct ckpt_epoch copy;
    struct ckpt_manifest *again = NULL;
    struct ckpt_manifest *m = manifest_make();
    describe(&m->epochs[0]);
    char *text = print(m, &bytes);
    ck_assert_int_eq(ckpt_manifest_parse(text, bytes, &again), 0);
    struct ckpt_epoch *a = &m->epochs[0];
    const struct ckpt_epoch *b = &again->epochs[0];
    ck_assert(b->nstructs == 2 && b->nmembers == 3 && b->nattributes == 4);
    ck_assert_mem_eq(a->structs, b->structs, 2 * sizeof *a->structs);
    ck_assert_mem_eq(a->members, b->members, 3 * sizeof *a->members);
    ck_assert_mem_eq(a->attributes, b->attributes, 4 * sizeof *a->attributes);
    ck_assert_uint_eq(b->objects[0].element, 8);
    ck_assert_str_eq(ckpt_object_type(b, &b->objects[0]), "a \"b\" \\");
    ck_assert_str_eq(ckpt_object_type(b, &b->objects[1]), "float64");
    ck_assert_ptr_eq(ckpt_object_attributes(b, 9, &count), &b->attributes[2]);
    ck_assert_uint_eq(count, 2);
    ck_assert_ptr_null(ckpt_object_attributes(b, 5, &count));
    ck_assert_int_eq(ckpt_epoch_copy(&copy, b), 0);
    ck_assert(copy.structs != b->structs && copy.nattributes == 4);
    recto_type one = RECTO_STRUCT_FIRST;
    recto_type two = (recto_type)(RECTO_STRUCT_FIRST + 1);
    recto_type none = (recto_type)(RECTO_STRUCT_FIRST + 2);
    ck_assert(ckpt_type_same(a, two, &copy, two));
    ck_assert(!ckpt_type_same(a, two, &copy, one));
    ck_assert(!ckpt_type_same(a, two, &copy, RECTO_DOUBLE));
    ck_assert(!ckpt_type_same(a, two, &copy, none));
    (void)strcpy(copy.structs[1].name, "renamed");
    ck_assert(ckpt_type_same(a, two, &copy, two));
    copy.members[2].offset = 7;
    ck_assert(!ckpt_type_same(a, two, &copy, two));
    ckpt_epoch_clear(&copy);
    ckpt_manifest_free(again);
    free(text);
    m->format = 1; /* which has neither: the type is none of its */
    text = print(m, &bytes);
    ck_assert_int_eq(parse(text, bytes), RECTO_ECORRUPT);
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(structs_and_attributes_are_within_bounds)
{
    static const char *const edits[][2] = {
        {"type=struct1",                         "type=struct2"                      },
        {"type=struct1",                         "type=struct01"                     },
        {"type=struct1",                         "type=struct"                       },
        {"type=struct1",                         "type=struct18446744073709551615"   },
        {"type=struct1",                         "type=struct0"                      },
        {"struct bytes=16",                      "struct bytes=15"                   },
        {"struct bytes=16",                      "struct bytes=0"                    },
        {"struct bytes=16",                      "struct bytes=65537"                },
        {"struct bytes=8",                       "struct bytes=9"                    },
        {"struct bytes=8",                       "struct bytes=08"                   },
        {"member offset=8",                      "member offset=9"                   },
        {"member offset=8",                      "member offset=18446744073709551612"},
        {"member offset=6",                      "member offset=5"                   },
        {"count=3",                              "count=0"                           },
        {"count=3",                              "count=4"                           },
        {"count=3",                              "count=9223372036854775811"         },
        {"type=int16",                           "type=struct0"                      },
        {"type=int16",                           "type=int15"                        },
        {"name=\"z\"",                           "name=\"y\""                        },
        {"name=\"z\"",                           "name=\"\""                         },
        {"name=\"z\"",                           "name=\"\n\""                       },
        {"name=\"one\"",                         "name=\"\""                         },
        {"text=\"K\"",                           "text=\"\033\""                     },
        {"text=\"K\"",                           "text=\"\\K\""                      },
        {"text=\"K\"",                           "text=\"K"                          },
        {"\nattribute name=\"units\" text=\"\"",
         "\nattribute name=\"long_name\" text=\"\""                                  },
        {"\nattribute name=\"units\" text=\"\"",
         "\nattribute name=\"a\" text=\"\""                                          },
        {"\nattribute name=\"units\" text=\"\"",
         "\nattribute name=\"\" text=\"\""                                           },
        {"\nstruct bytes=8",
         "\nattribute name=\"a\" text=\"\"\nstruct bytes=8"                          },
        {"\nstruct bytes=16",
         "\nmember offset=0 type=byte count=1 name=\"a\"\nstruct bytes=16"           },
        {"\nstruct bytes=16",
         "\nstruct bytes=1 name=\"empty\"\nstruct bytes=16"                          },
        {"count=2 bytes=",                       "count=3 bytes="                    },
        {"count=2 bytes=",                       "count=1 bytes="                    },
        {"count=2 bytes=",                       "count=0 bytes="                    },
        {"count=2 bytes=",                       "count=33 bytes="                   },
        {"count=2 bytes=",                       "count=18446744073709551615 bytes=" },
        {"bytes=ffff0700",                       "bytes=ffff070"                     },
        {"bytes=ffff0700",                       "bytes=ffff07000"                   },
        {"bytes=ffff0700",                       "bytes=FFFF0700"                    },
        {"bytes=ffff0700",                       "bytes=fffg0700"                    },
        {"bytes=ffff0700",                       "bytes="                            },
        {"type=int16 count=2 bytes=",            "type=struct0 count=2 bytes="       },
        {"type=int16 count=2 bytes=",            "type=int32 count=2 bytes="         },
        {"recto-manifest 3",                     "recto-manifest 2"                  },
    };
    size_t bytes = 0;
    char long_one[400];
    struct ckpt_manifest *m = manifest_make();
    describe(&m->epochs[0]);
    char *text = print(m, &bytes);
    ck_assert_int_eq(parse(text, bytes), 0);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        size_t n = 0;
        char *other = edit(text, bytes, edits[i][0], edits[i][1], &n);
        int status = parse(other, n);
        ck_assert_msg(status == RECTO_ECORRUPT, "%s -> %s: %d", edits[i][0],
                      edits[i][1], status);
        free(other);
    }
    for (int length = 254; length < 258; length++) {
        size_t n = 0;
        (void)sprintf(long_one, "text=\"%0*d\"", length, 0);
        char *other = edit(text, bytes, "text=\"K\"", long_one, &n);
        ck_assert_int_eq(parse(other, n), length <= RECTO_ATTRIBUTE_TEXT_MAX
                                              ? 0
                                              : RECTO_ECORRUPT);
        free(other);
    }
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(random_edits_never_break_the_parser)
{
    size_t bytes = 0;
    unsigned seed = 20261120;
    struct ckpt_manifest *m = manifest_make();
    describe(&m->epochs[0]);
    char *text = print(m, &bytes);
    char *other = malloc(bytes);
    for (int round = 0; round < 20000; round++) {
        memcpy(other, text, bytes);
        for (int edits = rand_r(&seed) % 4; edits >= 0; edits--) {
            size_t at = (size_t)rand_r(&seed) % (bytes - SUM_LINE);
            other[at] = (char)(rand_r(&seed) % 3 == 0
                                   ? rand_r(&seed)
                                   : text[(size_t)rand_r(&seed) % bytes]);
        }
        char line[SUM_LINE + 1];
        (void)sprintf(line, "sum %016llx\n",
                      (unsigned long long)ckpt_hash(other, bytes - SUM_LINE));
        memcpy(other + bytes - SUM_LINE, line, SUM_LINE);
        (void)parse(other, bytes);
    }
    free(other);
    free(text);
    ckpt_manifest_free(m);
}
END_TEST

START_TEST(names_are_those_of_the_manual)
{
    static const char *const good[] = {
        "a", "a/b", "...", ".a", "a.", "rectos", "a/recto", "\xc3\xa4 b\"\\"};
    static const char *const bad[] = {
        "",      "/",    "a/",    "/a",      "a//b", ".",    "..",
        "a/./b", "a/..", "recto", "recto/a", "a\n",  "a\x7f"};
    char name[RECTO_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(base_name_check(good[i]) == 0, "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(base_name_check(bad[i]) != 0, "%s", bad[i]);
    }
    memset(name, 'x', sizeof name);
    name[RECTO_NAME_MAX + 1] = '\0';
    ck_assert(base_name_check(name) != 0);
    name[RECTO_NAME_MAX] = '\0';
    ck_assert(base_name_check(name) == 0);
}
END_TEST

START_TEST(epoch_files_have_names_of_their_own)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_epoch e = {.number = 12, .uuid = "0123456789abcdef"};
    ckpt_epoch_file(&e, name);
    ck_assert_str_eq(name, "e00000012-01234567.h5");
    ck_assert(ckpt_epoch_file_name(name));
    e.number = INT64_MAX;
    ckpt_epoch_file(&e, name);
    ck_assert(ckpt_epoch_file_name(name));
    ck_assert(!ckpt_epoch_file_name("e0000012-01234567.h5"));
    ck_assert(!ckpt_epoch_file_name("e00000012-01234567.h5x"));
    ck_assert(!ckpt_epoch_file_name("e00000012-0123456X.h5"));
    ck_assert(!ckpt_epoch_file_name("E00000012-01234567.h5"));
    ck_assert(!ckpt_epoch_file_name("manifest"));
}
END_TEST

START_TEST(pieces_divide_pages_without_gaps)
{
    for (uint64_t pages = 0; pages < 70; pages++) {
        for (uint64_t n = 1; n < 9; n++) {
            ck_assert_uint_eq(ckpt_piece_first(pages, 0, n), 0);
            ck_assert_uint_eq(ckpt_piece_first(pages, n, n), pages);
            for (uint64_t k = 0; k < n; k++) {
                ck_assert_uint_eq(ckpt_piece_first(pages, k, n), k * pages / n);
            }
        }
    }
}
END_TEST

START_TEST(a_short_page_is_summed_as_if_padded)
{
    char page[CKPT_PAGE] = {0};
    memset(page, 'q', 100);
    ck_assert_uint_eq(ckpt_page_sum(page, 100), ckpt_hash(page, CKPT_PAGE));
    ck_assert_uint_eq(ckpt_page_sum(page, 0),
                      ckpt_hash((char[CKPT_PAGE]){0}, CKPT_PAGE));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ckpt_format");
    TCase *t = tcase_create("manifest");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_manifest_comes_back_as_it_was);
    tcase_add_test(t, every_truncation_is_refused);
    tcase_add_test(t, every_changed_byte_is_refused);
    tcase_add_test(t, a_good_checksum_does_not_vouch_for_nonsense);
    tcase_add_test(t, another_version_is_told_from_damage);
    tcase_add_test(t, the_first_format_is_read);
    tcase_add_test(t, structs_and_attributes_come_back);
    tcase_add_test(t, structs_and_attributes_are_within_bounds);
    tcase_add_test(t, a_packed_log_has_its_table);
    tcase_add_test(t, a_packed_full_epoch_has_its_table);
    tcase_add_test(t, chunks_are_extents);
    tcase_add_test(t, random_edits_never_break_the_parser);
    suite_add_tcase(suite, t);
    t = tcase_create("words");
    tcase_add_test(t, names_are_those_of_the_manual);
    tcase_add_test(t, epoch_files_have_names_of_their_own);
    tcase_add_test(t, pieces_divide_pages_without_gaps);
    tcase_add_test(t, a_short_page_is_summed_as_if_padded);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
