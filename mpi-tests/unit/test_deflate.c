/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt/deflate: chunks come out in the order in which they went in, as zlib and an
 * unshuffle bring them back; what does not shrink comes as it was; what comes out does not
 * depend on the number of threads.
 */
#include <check.h>
#include <ckpt/deflate.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    CHUNKS = 60
};

/* Smooth, or noise in every seventh chunk. */
static size_t chunk_make(unsigned number, char *to)
{
    size_t bytes = number % 5 == 0 ? CKPT_CHUNK : 1000 + 37 * number;
    unsigned seed = number;
    for (size_t i = 0; i < bytes; i++) {
        to[i] = number % 7 == 3 ? (char)(rand_r(&seed) >> 5)
                                : (char)(i % 13 == 0 ? i / 256 : number);
    }
    return bytes;
}

static size_t element_of(unsigned number)
{
    static const size_t elements[] = {1, 2, 4, 8, 13, 32, 999};
    return elements[number % 7];
}

static void unshuffle(const char *in, char *out, size_t bytes, size_t element)
{
    size_t count = bytes / element;
    for (size_t k = 0; k < count * element; k++) {
        out[k % count * element + k / count] = in[k];
    }
    memcpy(out + count * element, in + count * element, bytes % element);
}

/* Compares a chunk with what it was; returns a sum of its stored bytes. */
static unsigned long chunk_check(const struct ckpt_deflated *chunk)
{
    static char want[CKPT_CHUNK];
    static char sorted[CKPT_CHUNK];
    static char got[CKPT_CHUNK];
    unsigned number = (unsigned)chunk->number;
    size_t bytes = chunk_make(number, want);
    if (chunk->raw) {
        ck_assert_uint_eq(number % 7, 3);
        ck_assert_uint_eq(chunk->bytes, bytes);
        ck_assert_mem_eq(chunk->data, want, bytes);
    } else {
        uLongf length = sizeof sorted;
        ck_assert_uint_lt(chunk->bytes, bytes);
        ck_assert_int_eq(uncompress((Bytef *)sorted, &length,
                                    (const Bytef *)chunk->data, chunk->bytes),
                         Z_OK);
        ck_assert_uint_eq(length, bytes);
        unshuffle(sorted, got, bytes, element_of(number));
        ck_assert_mem_eq(got, want, bytes);
    }
    return crc32(0, (const Bytef *)chunk->data, (uInt)chunk->bytes);
}

/* All chunks through so many threads. */
static unsigned long pass(unsigned threads, int level)
{
    struct ckpt_deflater *d = malloc(sizeof *d);
    struct ckpt_deflated chunk;
    unsigned got = 0;
    unsigned long sum = 0;
    ck_assert_int_eq(ckpt_deflater_open(d, level, threads), 0);
    for (unsigned i = 0; i < CHUNKS;) {
        if (ckpt_deflater_full(d)) {
            ck_assert(ckpt_deflater_get(d, &chunk));
            ck_assert_uint_eq(chunk.number, got++);
            sum = sum * 31 + chunk_check(&chunk);
            continue;
        }
        size_t bytes = chunk_make(i, ckpt_deflater_room(d));
        ckpt_deflater_put(d, bytes, element_of(i), i);
        i++;
    }
    while (ckpt_deflater_get(d, &chunk)) {
        ck_assert_uint_eq(chunk.number, got++);
        sum = sum * 31 + chunk_check(&chunk);
    }
    ck_assert_uint_eq(got, CHUNKS);
    ckpt_deflater_close(d);
    free(d);
    return sum;
}

START_TEST(chunks_come_back_in_order)
{
    unsigned long one = pass(1, 6);
    ck_assert_uint_eq(pass(2, 6), one);
    ck_assert_uint_eq(pass(5, 6), one);
    ck_assert_uint_eq(pass(100, 6), one); /* more than there may be */
    (void)pass(3, 1);
    (void)pass(3, 9);
}
END_TEST

START_TEST(it_ends_with_chunks_under_way)
{
    struct ckpt_deflater *d = malloc(sizeof *d);
    for (int round = 0; round < 50; round++) {
        ck_assert_int_eq(ckpt_deflater_open(d, 6, 3), 0);
        for (unsigned i = 0; i < (unsigned)round % 6; i++) {
            size_t bytes = chunk_make(i, ckpt_deflater_room(d));
            ckpt_deflater_put(d, bytes, 8, i);
        }
        ckpt_deflater_close(d);
    }
    free(d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deflate");
    TCase *t = tcase_create("deflate");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, chunks_come_back_in_order);
    tcase_add_test(t, it_ends_with_chunks_under_way);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
