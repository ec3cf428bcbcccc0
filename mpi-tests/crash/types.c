/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays of structs with attributes, for crash_types.py to look at.
 *
 *   types run STEPS   restores, compares, does STEPS steps with an epoch each; prints
 *                     the step it restored, or -1; with TYPES_SHARED nothing is of one
 *                     rank, so that any number of them may go on
 *   types die STEPS   the same, and all ranks die
 *   types changed     declares another struct under the same names: prints the verdict
 *   types renamed     the same members in a struct of another name: it restarts
 *   types large       two epochs of arrays of many chunks
 *   types calls       what recto_type_create and recto_attribute_* refuse
 */
#include <recto.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

struct particle {
    double x[3];
    int32_t kind;
    float charge;
};

/* As a file format may have them: no element begins where a number should. */
struct odd {
    int16_t a;
    double b;
    uint8_t c[3];
} __attribute__((packed));

enum {
    PARTICLES = 3000,
    ROWS = 300,
    COLUMNS = 7,
    OWN = 500,
    TILE_ROWS = 40,
    TILE_COLUMNS = 31
};

static recto_type particle;
static recto_type odd;
static char *particles;
static char *mesh;
static char own[(OWN + 64) * sizeof(struct odd)];
static char tile[TILE_ROWS * TILE_COLUMNS * sizeof(struct odd)];
static int64_t step = -1;
static int64_t *clock_of_all; /* the step, from 1 */
static uint64_t tile_first;
static uint64_t tile_rows;

static void fail(const char *what)
{
    (void)fprintf(stderr, "FAIL: rank %d: %s: %s\n", recto_rank(), what,
                  recto_last_error());
    (void)fflush(stderr);
    _exit(1);
}

static void expect(const char *what, int got, int wanted)
{
    if (got != wanted) {
        (void)fprintf(stderr, "%s: %d, not %d\n", what, got, wanted);
        fail(what);
    }
}

/* A byte of an object after a step; a page changes in every second. */
static char value(int object, uint64_t offset, int64_t at)
{
    int64_t page = (int64_t)(offset / 4096);
    uint64_t changed = (uint64_t)(at - (at + page) % 2 + 1);
    return (char)(offset * 131 + (uint64_t)object * 17 + changed * 29 +
                  (offset >> 8) * 3);
}

static void fill(int object, char *p, uint64_t first, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        p[i] = value(object, first + i, step);
    }
}

static void compare(int object, const char *p, uint64_t first, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        if (p[i] != value(object, first + i, step)) {
            (void)fprintf(stderr, "object %d, byte %llu of step %lld\n", object,
                          (unsigned long long)(first + i), (long long)step);
            fail("content");
        }
    }
}

static uint64_t own_count(int rank)
{
    return OWN + (uint64_t)rank;
}

static void types_make(const char *name, int members)
{
    const recto_member p[] = {
        RECTO_MEMBER(struct particle, x, RECTO_DOUBLE, 3),
        RECTO_MEMBER(struct particle, kind, RECTO_INT32, 1),
        {"charge \xc2\xb5", offsetof(struct particle, charge), RECTO_FLOAT, 0},
    };
    const recto_member o[] = {
        {"a", offsetof(struct odd, a), RECTO_INT16,  1},
        {"b", offsetof(struct odd, b), RECTO_DOUBLE, 1},
        {"c", offsetof(struct odd, c), RECTO_UINT8,  3},
    };
    recto_type again = RECTO_BYTE;
    expect("a type", recto_type_create("odd", sizeof(struct odd), o, 3, &odd),
           0);
    expect(
        "a type",
        recto_type_create(name, sizeof(struct particle), p, members, &particle),
        0);
    expect("the type again",
           recto_type_create("odd", sizeof(struct odd), o, 3, &again), 0);
    expect("the same type", again == odd && odd != particle, 1);
    expect("its size", (int)recto_type_size(odd), (int)sizeof(struct odd));
}

static void declare(const char *name, int members)
{
    const uint64_t one[] = {1};
    const uint64_t many[] = {PARTICLES};
    const uint64_t plane[] = {ROWS, COLUMNS};
    const uint64_t tiles[] = {TILE_ROWS, TILE_COLUMNS};
    uint64_t rank = (uint64_t)recto_rank();
    uint64_t size = (uint64_t)recto_size();
    tile_first = TILE_ROWS * rank / size;
    tile_rows = TILE_ROWS * (rank + 1) / size - tile_first;
    const uint64_t start[] = {tile_first, 0};
    const uint64_t local[] = {tile_rows, TILE_COLUMNS};
    types_make(name, members);
    particles = recto_array("particles", particle, 1, many, NULL);
    mesh = recto_array("mesh/odd", odd, 2, plane, NULL);
    clock_of_all = recto_array("clock", RECTO_INT64, 1, one, NULL);
    if (particles == NULL || mesh == NULL || clock_of_all == NULL ||
        recto_protect_block("tiles", tile, odd, 2, tiles, start, local) != 0 ||
        (getenv("TYPES_SHARED") == NULL &&
         recto_protect("own", own, odd, own_count(recto_rank())) != 0)) {
        fail("declarations");
    }
    expect("units", recto_attribute_set("particles", "units", "m"), 0);
    expect("long_name",
           recto_attribute_set("particles", "long_name",
                               "\"where\" \\ \xc3\xa4ther"),
           0);
    expect("box",
           recto_attribute_numbers("particles", "box", RECTO_DOUBLE,
                                   (double[]){-1.5, 0.1}, 2),
           0);
    expect("count",
           recto_attribute_numbers("mesh/odd", "count", RECTO_UINT64,
                                   &(uint64_t){UINT64_MAX}, 1),
           0);
    expect("of a tile", recto_attribute_set("tiles", "units", ""), 0);
    expect("of nothing", recto_attribute_set("nothing", "units", "K"), 0);
}

static void all(void (*each)(int, char *, uint64_t, uint64_t))
{
    size_t size = sizeof(struct odd);
    if (recto_rank() == 0) {
        each(0, particles, 0, PARTICLES * sizeof(struct particle));
        each(1, mesh, 0, ROWS * COLUMNS * size);
    }
    if (getenv("TYPES_SHARED") == NULL) {
        each(10 + recto_rank(), own, 0, own_count(recto_rank()) * size);
    }
    each(3, tile, tile_first * TILE_COLUMNS * size,
         tile_rows * TILE_COLUMNS * size);
    expect("barrier", recto_barrier(), 0);
}

static void compare_each(int object, char *p, uint64_t first, uint64_t bytes)
{
    compare(object, p, first, bytes);
}

static void run(int steps)
{
    int status = recto_restart(NULL);
    if (status < 0) {
        fail("recto_restart");
    }
    if (status == 1) {
        step = *clock_of_all - 1;
        all(compare_each);
    }
    if (recto_rank() == 0) {
        (void)printf("%lld\n", (long long)step);
    }
    for (int i = 0; i < steps; i++) {
        step++;
        if (recto_rank() == 0) {
            *clock_of_all = step + 1;
        }
        all(fill);
        expect("recto_checkpoint", recto_checkpoint(), 0);
    }
    expect("recto_checkpoint_wait", recto_checkpoint_wait(), 0);
}

/* Arrays that are cut at their first, a middle and their last dimension, into chunks that
 * are not alike, of zeros, of noise, of structs that no page begins with. */
static void large(void)
{
    static const struct {
        const char *name;
        recto_type type; /* RECTO_STRUCT_FIRST: odd */
        int ndims;
        uint64_t dims[4];
        uint64_t stop; /* bytes with content */
    } shapes[] = {
        {"tall",   RECTO_DOUBLE,       2, {1000, 999},      UINT64_MAX},
        {"deep",   RECTO_FLOAT,        4, {3, 40, 131, 64}, UINT64_MAX},
        {"wide",   RECTO_INT32,        2, {3, 300001},      UINT64_MAX},
        {"sparse", RECTO_BYTE,         1, {8 << 20},        4096      },
        {"noise",  RECTO_UINT64,       1, {300000},         UINT64_MAX},
        {"record", RECTO_STRUCT_FIRST, 1, {200003},         UINT64_MAX},
    };
    char *records = NULL;
    types_make("particle", 3);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        recto_type type =
            shapes[i].type == RECTO_STRUCT_FIRST ? odd : shapes[i].type;
        uint64_t bytes = recto_type_size(type);
        uint64_t x = 88172645463325252U;
        char *p = recto_array(shapes[i].name, type, shapes[i].ndims,
                              shapes[i].dims, NULL);
        for (int k = 0; k < shapes[i].ndims; k++) {
            bytes *= shapes[i].dims[k];
        }
        bytes = bytes < shapes[i].stop ? bytes : shapes[i].stop;
        for (uint64_t k = 0; p != NULL && recto_rank() == 0 && k < bytes; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            p[k] = shapes[i].type == RECTO_UINT64 ? (char)x
                                                  : (char)(k / 1000 + k % 8);
        }
        expect(shapes[i].name, p != NULL, 1);
        records = p;
    }
    expect("an epoch", recto_checkpoint(), 0);
    /* on both sides of 1 MiB, which no element begins at, and the end */
    for (uint64_t k = 0; records != NULL && recto_rank() == 0 && k < 13; k++) {
        records[80659 * 13 + k]++;
        records[200002 * 13 + k]++;
    }
    expect("an epoch", recto_checkpoint(), 0);
    expect("on disk", recto_checkpoint_wait(), 0);
}

static void verdict(int status)
{
    (void)printf("%s: %s\n", status < 0 ? base_error_name(status) : "good",
                 status < 0 ? recto_last_error() : "");
}

static void types_refused(void)
{
    recto_type type = RECTO_BYTE;
    recto_member m[] = {
        {"a", 0, RECTO_DOUBLE, 1},
        {"b", 8, RECTO_FLOAT,  2}
    };
    const struct {
        const char *what;
        const char *name;
        size_t bytes;
        recto_member second;
        int code;
    } cases[] = {
        {"good",         "s", 16,    {"b", 8, RECTO_FLOAT, 2},    0           },
        {"another",      "s", 24,    {"b", 8, RECTO_FLOAT, 2},    RECTO_EEXIST},
        {"leaves it",    "t", 15,    {"b", 8, RECTO_FLOAT, 2},    RECTO_EINVAL},
        {"overlaps",     "t", 16,    {"b", 4, RECTO_FLOAT, 2},    RECTO_EINVAL},
        {"name twice",   "t", 16,    {"a", 8, RECTO_FLOAT, 2},    RECTO_EINVAL},
        {"no name",      "t", 16,    {"", 8, RECTO_FLOAT, 2},     RECTO_EINVAL},
        {"NULL name",    "t", 16,    {NULL, 8, RECTO_FLOAT, 2},   RECTO_EINVAL},
        {"newline",      "t", 16,    {"b\n", 8, RECTO_FLOAT, 2},  RECTO_EINVAL},
        {"no such type", "t", 16,    {"b", 8, (recto_type)99, 1}, RECTO_EINVAL},
        {"struct in it",
         "t",                 99999,
         {"b", 8, RECTO_STRUCT_FIRST, 1},
         RECTO_EINVAL                                                         },
        {"huge count",
         "t",                 16,
         {"b", 8, RECTO_FLOAT, SIZE_MAX / 2},
         RECTO_EINVAL                                                         },
        {"huge offset",
         "t",                 16,
         {"b", SIZE_MAX - 3, RECTO_FLOAT, 1},
         RECTO_EINVAL                                                         },
        {"too large",    "t", 70000, {"b", 8, RECTO_FLOAT, 2},    RECTO_EINVAL},
        {"unnamed",      "",  16,    {"b", 8, RECTO_FLOAT, 2},    RECTO_EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m[1] = cases[i].second;
        expect(cases[i].what,
               recto_type_create(cases[i].name, cases[i].bytes, m, 2, &type),
               cases[i].code);
    }
    expect("none", recto_type_create("t", 16, m, 0, &type), RECTO_EINVAL);
    expect("NULL", recto_type_create("t", 16, NULL, 2, &type), RECTO_EINVAL);
    m[1] = cases[0].second;
    size_t bytes = recto_rank() == 0 ? 16 : 32;
    if (recto_size() > 1) {
        expect("ranks differ", recto_type_create("u", bytes, m, 2, &type),
               RECTO_EMISMATCH);
    }
    expect("unmade",
           recto_array("x", (recto_type)(type + 1), 1, &(uint64_t){1}, NULL) ==
               NULL,
           1);
}

static void numbers_refused(void)
{
    static const char many[(RECTO_ATTRIBUTE_NUMBERS_MAX + 1) * 8];
    recto_type type = RECTO_DOUBLE;
    expect("most",
           recto_attribute_numbers("n", "a", type, many,
                                   RECTO_ATTRIBUTE_NUMBERS_MAX),
           0);
    expect("too many",
           recto_attribute_numbers("n", "a", type, many,
                                   RECTO_ATTRIBUTE_NUMBERS_MAX + 1),
           RECTO_EINVAL);
    expect("none", recto_attribute_numbers("n", "a", type, many, 0),
           RECTO_EINVAL);
    expect("at NULL", recto_attribute_numbers("n", "a", type, NULL, 1),
           RECTO_EINVAL);
    expect("no type",
           recto_attribute_numbers("n", "a", (recto_type)11, many, 1),
           RECTO_EINVAL);
    expect("a struct",
           recto_attribute_numbers("n", "a", RECTO_STRUCT_FIRST, many, 1),
           RECTO_EINVAL);
    expect("of no name", recto_attribute_numbers("n", NULL, type, many, 1),
           RECTO_EINVAL);
    expect("by a text", recto_attribute_set("n", "a", "text"), 0);
    expect("by numbers", recto_attribute_numbers("n", "a", RECTO_INT8, many, 3),
           0);
    expect("gone", recto_attribute_set("n", "a", NULL), 0);
    if (recto_size() > 1) {
        int64_t mine = recto_rank();
        expect("ranks differ",
               recto_attribute_numbers("n", "a", RECTO_INT64, &mine, 1),
               RECTO_EMISMATCH);
    }
}

static void attributes_refused(void)
{
    char name[16];
    char text[RECTO_ATTRIBUTE_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    text[RECTO_ATTRIBUTE_TEXT_MAX + 1] = '\0';
    expect("too long", recto_attribute_set("v", "a", text), RECTO_EINVAL);
    text[RECTO_ATTRIBUTE_TEXT_MAX] = '\0';
    expect("just not", recto_attribute_set("v", "a", text), 0);
    expect("unnamed", recto_attribute_set("v", "", "x"), RECTO_EINVAL);
    expect("NULL", recto_attribute_set("v", NULL, "x"), RECTO_EINVAL);
    expect("of NULL", recto_attribute_set(NULL, "a", "x"), RECTO_EINVAL);
    expect("escape", recto_attribute_set("v", "a", "\033[2J"), RECTO_EINVAL);
    expect("not there", recto_attribute_set("v", "b", NULL), RECTO_ENOENT);
    expect("gone", recto_attribute_set("v", "a", NULL), 0);
    expect("gone already", recto_attribute_set("v", "a", NULL), RECTO_ENOENT);
    for (int i = 0; i <= RECTO_ATTRIBUTES_MAX; i++) {
        (void)snprintf(name, sizeof name, "a%d", i);
        expect(name, recto_attribute_set("v", name, "x"),
               i < RECTO_ATTRIBUTES_MAX ? 0 : RECTO_ENOMEM);
    }
    expect("set again", recto_attribute_set("v", "a7", "y"), 0);
    if (recto_size() > 1) {
        expect("ranks differ",
               recto_attribute_set("v", "a1", recto_rank() == 0 ? "x" : "y"),
               RECTO_EMISMATCH);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(
            stderr,
            "usage: types run STEPS|die STEPS|changed|renamed|large|calls\n");
        return 2;
    }
    if (recto_init(&argc, &argv) != 0) {
        fail("recto_init");
    }
    if (strcmp(argv[1], "calls") == 0) {
        types_refused();
        attributes_refused();
        numbers_refused();
    } else if (strcmp(argv[1], "large") == 0) {
        large();
    } else if (strcmp(argv[1], "changed") == 0) {
        declare("particle", 2);
        verdict(recto_restart(NULL));
    } else {
        declare(strcmp(argv[1], "renamed") == 0 ? "body" : "particle", 3);
        run(argc > 2 ? atoi(argv[2]) : 0);
    }
    if (strcmp(argv[1], "die") == 0) {
        (void)raise(SIGKILL);
    }
    (void)fflush(stdout);
    return recto_finalize() != 0;
}
