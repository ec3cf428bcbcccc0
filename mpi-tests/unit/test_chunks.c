/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt/chunks: the chunks of an array are its bytes, each once, in order, none larger than
 * it may be, whatever the dimensions; what the compressing side makes of a chunk comes
 * back; what is cut, longer or changed does not, and nothing is written past its end.
 */
#include <check.h>
#include <ckpt/chunks.h>
#include <ckpt/deflate.h>
#include <stdlib.h>
#include <string.h>

/* ---- how arrays are cut --------------------------------------------------------------- */

static struct ckpt_object array(uint64_t element, int ndims,
                                const uint64_t *dims)
{
    struct ckpt_object o = {
        .kind = CKPT_SHARED, .element = element, .ndims = ndims};
    o.bytes = element;
    for (int i = 0; i < ndims; i++) {
        o.dims[i] = dims[i];
        o.bytes *= dims[i];
    }
    return o;
}

static uint64_t element_offset(const struct ckpt_object *o, const uint64_t *at)
{
    uint64_t n = 0;
    for (int i = 0; i < o->ndims; i++) {
        n = n * o->dims[i] + at[i];
    }
    return n * o->element;
}

static void cut_check(const struct ckpt_object *o)
{
    struct ckpt_chunking c = ckpt_chunking_of(o);
    uint64_t offset = 0;
    ck_assert_uint_le(c.bytes, CKPT_CHUNK);
    for (uint64_t k = 0; k < c.count; k++) {
        uint64_t place[RECTO_DIMS_MAX];
        size_t bytes = ckpt_chunk_bytes(&c, o, k);
        size_t at = 1;
        ck_assert(bytes > 0 && bytes <= c.bytes);
        ckpt_chunk_place(&c, o, k, place);
        ck_assert_uint_eq(element_offset(o, place), offset);
        ck_assert_uint_eq(ckpt_chunk_find(&c, o, offset, &at), k);
        ck_assert_uint_eq(at, 0);
        ck_assert_uint_eq(ckpt_chunk_find(&c, o, offset + bytes - 1, &at), k);
        ck_assert_uint_eq(at, bytes - 1);
        offset += bytes;
    }
    ck_assert_uint_eq(offset, o->bytes);
}

START_TEST(chunks_are_the_array_in_order)
{
    static const struct {
        uint64_t element;
        int ndims;
        uint64_t dims[4];
    } cases[] = {
        {8,     1, {2048}               },
        {1,     1, {(1 << 20) + 1}      },
        {8,     1, {1000003}            },
        {8,     2, {3, 400000}          },
        {8,     2, {400000, 3}          },
        {13,    2, {300, 977}           },
        {65536, 1, {100}                },
        {65521, 2, {7, 33}              },
        {8,     2, {5, 131073}          },
        {4,     3, {3, 700, 701}        },
        {2,     4, {2, 3, 1000001, 1}   },
        {1,     3, {1, 1, 16384}        },
        {8,     4, {64, 64, 64, 3}      },
        {24,    2, {1, 1048576 / 24 + 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ckpt_object o =
            array(cases[i].element, cases[i].ndims, cases[i].dims);
        cut_check(&o);
    }
    unsigned seed = 7;
    for (int round = 0; round < 500; round++) {
        uint64_t dims[3];
        for (int i = 0; i < 3; i++) {
            dims[i] = (uint64_t)(rand_r(&seed) % 300) + 1;
        }
        struct ckpt_object o = array((uint64_t)(rand_r(&seed) % 64) + 1,
                                     rand_r(&seed) % 3 + 1, dims);
        cut_check(&o);
    }
}
END_TEST

/* Of an array of enormous dimensions nothing overflows. */
START_TEST(the_largest_arrays_are_cut)
{
    static const uint64_t dims[] = {1ULL << 40, 1 << 20};
    struct ckpt_object o = array(4, 2, dims);
    struct ckpt_chunking c = ckpt_chunking_of(&o);
    size_t at = 0;
    ck_assert_uint_eq(c.count, 4ULL << 40);
    ck_assert_uint_eq(ckpt_chunk_find(&c, &o, o.bytes - 1, &at), c.count - 1);
    ck_assert_uint_eq(at, CKPT_CHUNK - 1);
}
END_TEST

/* ---- one chunk back ------------------------------------------------------------------ */

static void data_make(char *to, size_t bytes, bool noise)
{
    uint64_t x = 88172645463325252;
    for (size_t i = 0; i < bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        to[i] = (char)(noise ? x >> 24 : i % 8 == 0 ? i / 64 : i % 8);
    }
}

/* A chunk of an array as it is stored. */
static void chunk_store(const struct ckpt_object *o, size_t bytes, bool noise,
                        char *stored, struct ckpt_chunk *row)
{
    struct ckpt_deflater *d = malloc(sizeof *d);
    struct ckpt_deflated out;
    ck_assert_int_eq(ckpt_deflater_open(d, 6, 1), 0);
    data_make(ckpt_deflater_room(d), bytes, noise);
    ckpt_deflater_put(d, bytes, (size_t)o->element, 0);
    ck_assert(ckpt_deflater_get(d, &out));
    ck_assert(out.raw == noise);
    memcpy(stored, out.data, out.bytes);
    *row = (struct ckpt_chunk){.bytes = (uint32_t)out.bytes,
                               .raw = out.raw ? ckpt_chunk_filters(o) : 0};
    ckpt_deflater_close(d);
    free(d);
}

START_TEST(what_was_stored_comes_back)
{
    static char want[CKPT_CHUNK];
    static const uint64_t elements[] = {1, 2, 4, 8, 13, 32, 65536};
    struct ckpt_inflater inflater;
    ck_assert_int_eq(ckpt_inflater_open(&inflater), 0);
    for (size_t i = 0; i < 2 * sizeof elements / sizeof elements[0]; i++) {
        bool noise = i % 2 == 1;
        uint64_t count = CKPT_CHUNK / elements[i / 2];
        struct ckpt_object o = array(elements[i / 2], 1, &count);
        size_t bytes = ckpt_chunking_of(&o).bytes;
        struct ckpt_chunk row;
        chunk_store(&o, bytes, noise, inflater.stored, &row);
        data_make(want, bytes, noise);
        ck_assert(ckpt_inflate(&inflater, &row, &o, bytes));
        ck_assert_mem_eq(inflater.plain, want, bytes);
    }
    ckpt_inflater_close(&inflater);
}
END_TEST

START_TEST(what_was_changed_is_refused)
{
    static char stored[CKPT_CHUNK];
    static char want[CKPT_CHUNK];
    struct ckpt_inflater i;
    struct ckpt_chunk row;
    uint64_t count = 20000;
    int idle = 0;
    struct ckpt_object o = array(8, 1, &count);
    size_t bytes = ckpt_chunking_of(&o).bytes;
    ck_assert_int_eq(ckpt_inflater_open(&i), 0);
    chunk_store(&o, bytes, false, stored, &row);
    data_make(want, bytes, false);
    for (uint32_t n = 0; n < row.bytes; n++) { /* cut, or a byte changed */
        struct ckpt_chunk cut = {.bytes = n};
        memcpy(i.stored, stored, row.bytes);
        ck_assert(!ckpt_inflate(&i, &cut, &o, bytes));
        i.stored[n] = (char)(i.stored[n] ^ 0x20);
        if (ckpt_inflate(&i, &row, &o, bytes)) { /* a bit that means nothing */
            ck_assert_mem_eq(i.plain, want, bytes);
            idle++;
        }
    }
    ck_assert_int_le(idle, 1);
    memcpy(i.stored, stored, row.bytes);
    ck_assert(!ckpt_inflate(&i, &row, &o, bytes - 8));
    ck_assert(!ckpt_inflate(&i, &row, &o, bytes + 8));
    struct ckpt_chunk longer = {.bytes = row.bytes + 1};
    ck_assert(!ckpt_inflate(&i, &longer, &o, bytes));
    static const struct ckpt_chunk raw[] = {{.raw = 1}, {.raw = 3}, {.raw = 7}};
    for (int k = 0; k < 3; k++) {
        struct ckpt_chunk other = raw[k];
        other.bytes = (uint32_t)bytes - (k == 1);
        ck_assert(!ckpt_inflate(&i, &other, &o, bytes));
    }
    ck_assert(
        ckpt_inflate(&i, &row, &o, bytes)); /* it works after all of these */
    ckpt_inflater_close(&i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunks");
    TCase *t = tcase_create("chunks");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, chunks_are_the_array_in_order);
    tcase_add_test(t, the_largest_arrays_are_cut);
    tcase_add_test(t, what_was_stored_comes_back);
    tcase_add_test(t, what_was_changed_is_refused);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
