/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that blocks come back as they were, whatever is in them and however they were
 * packed; that smooth numbers become small and noise stays raw; and that nothing that
 * was not packed here is taken, or written past its end.
 */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <recto/error.h>

#include "ckpt/pack.h"

enum {
    GUARD = 64
};

static const char *const ways[] = {"off", "lz4", "zstd", "zstd:1", "zstd:-5"};
enum {
    WAYS = sizeof ways / sizeof ways[0]
};

static struct ckpt_packer packer;
static struct ckpt_unpacker unpacker;
static char *block;
static char *back; /* with a guard behind it */

static void fresh(void)
{
    block = malloc(CKPT_BLOCK);
    back = malloc(CKPT_BLOCK + GUARD);
    ck_assert(block != NULL && back != NULL);
    ck_assert_int_eq(ckpt_unpacker_open(&unpacker), 0);
}

static void gone(void)
{
    ckpt_unpacker_close(&unpacker);
    free(block);
    free(back);
}

static void packer_open(const char *way)
{
    struct ckpt_packing packing;
    ck_assert_int_eq(ckpt_packing_read(way, &packing), 0);
    ck_assert_int_eq(ckpt_packer_open(&packer, packing), 0);
}

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void noise(char *to, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (char)(draw(&seed) >> 32);
    }
}

static void smooth(char *to, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(double); i++) {
        double x = sin((double)i / 1000) * 100;
        memcpy(to + i * sizeof x, &x, sizeof x);
    }
}

static bool unpack(const struct ckpt_packed *packed, size_t bytes)
{
    size_t beyond = 0;
    memset(back + bytes, 0x5a, GUARD);
    bool good = ckpt_unpack(&unpacker, packed, back, bytes);
    for (size_t i = bytes; i < bytes + GUARD; i++) {
        beyond += back[i] != 0x5a;
    }
    ck_assert_uint_eq(beyond, 0);
    return good;
}

static struct ckpt_packed there_and_back(size_t bytes, unsigned element)
{
    struct ckpt_packed p = ckpt_pack(&packer, block, bytes, element);
    ck_assert_uint_le(p.bytes, bytes);
    ck_assert(unpack(&p, bytes));
    ck_assert_mem_eq(back, block, bytes);
    return p;
}

START_TEST(round_trips)
{
    static const unsigned elements[] = {1, 2, 4, 8};
    packer_open(ways[_i]);
    for (size_t e = 0; e < 4; e++) {
        for (size_t pages = 1; pages <= CKPT_BLOCK_PAGES; pages += 5) {
            size_t bytes = pages * 4096;
            memset(block, 0, bytes);
            (void)there_and_back(bytes, elements[e]);
            noise(block, bytes, 7 + e + pages);
            (void)there_and_back(bytes, elements[e]);
            smooth(block, bytes);
            (void)there_and_back(bytes, elements[e]);
            noise(block, bytes / 3, 9 + e);
            (void)there_and_back(bytes, elements[e]);
        }
    }
    ckpt_packer_close(&packer);
}
END_TEST

START_TEST(pays)
{
    packer_open(ways[_i]);
    bool packs = packer.packing.codec != CKPT_RAW;
    memset(block, 0, CKPT_BLOCK);
    struct ckpt_packed p = there_and_back(CKPT_BLOCK, 8);
    ck_assert(p.bytes < 1000 || !packs);
    smooth(block, CKPT_BLOCK);
    p = there_and_back(CKPT_BLOCK, 8);
    ck_assert_uint_eq(p.codec, packer.packing.codec);
    ck_assert(p.bytes < CKPT_BLOCK * 9 / 10 || !packs);
    struct ckpt_packed flat = there_and_back(CKPT_BLOCK, 1);
    ck_assert(p.bytes < flat.bytes || !packs);
    noise(block, CKPT_BLOCK, 3);
    p = there_and_back(CKPT_BLOCK, 8);
    ck_assert_int_eq(p.codec, CKPT_RAW);
    ck_assert_ptr_eq(p.data, block);
    ckpt_packer_close(&packer);
}
END_TEST

/* Damaged and foreign blocks are refused, or give some bytes, but only where they may. */
START_TEST(damage)
{
    uint64_t seed = 41;
    char *bad = malloc(CKPT_BLOCK);
    ck_assert_ptr_nonnull(bad);
    packer_open(ways[_i]);
    smooth(block, CKPT_BLOCK);
    struct ckpt_packed p = ckpt_pack(&packer, block, CKPT_BLOCK, 8);
    struct ckpt_packed q = p;
    q.data = bad;
    for (int i = 0; i < 3000; i++) {
        memcpy(bad, p.data, p.bytes);
        q = (struct ckpt_packed){p.codec, p.element, p.bytes, bad};
        for (uint64_t n = draw(&seed) % 4; n > 0; n--) {
            bad[draw(&seed) % p.bytes] ^= (char)(1U << draw(&seed) % 8);
        }
        if (draw(&seed) % 4 == 0) {
            q.bytes = draw(&seed) % p.bytes;
        }
        if (draw(&seed) % 8 == 0) {
            q.codec = (enum ckpt_codec)(draw(&seed) % 5);
            q.element = (unsigned)(draw(&seed) % 9);
        }
        (void)unpack(&q, (size_t)(draw(&seed) % 17) * 4096);
    }
    noise(bad, CKPT_BLOCK, 5);
    q = (struct ckpt_packed){CKPT_ZSTD, 8, CKPT_BLOCK, bad};
    ck_assert(!unpack(&q, CKPT_BLOCK));
    q.codec = CKPT_RAW;
    ck_assert(!unpack(&q, CKPT_BLOCK)); /* raw is never shuffled */
    q.element = 1;
    ck_assert(!unpack(&q, CKPT_BLOCK - 4096));
    ck_assert(!ckpt_unpack(&unpacker, &q, NULL, (size_t)CKPT_BLOCK + 1));
    free(bad);
    ckpt_packer_close(&packer);
}
END_TEST

START_TEST(settings)
{
    static const char *const wrong[] = {
        "",        "gzip",  "zstd:", "zstd:x", "zstd:0", "zstd:23",
        "zstd:1 ", "zstdx", "LZ4",   "lz4:1",  "off:1"};
    struct ckpt_packing packing;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(ckpt_packing_read(wrong[i], &packing), RECTO_EINVAL);
        ck_assert_ptr_nonnull(strstr(recto_last_error(), wrong[i]));
    }
    ck_assert_int_eq(ckpt_packing_read("zstd:19", &packing), 0);
    ck_assert_int_eq(packing.codec, CKPT_ZSTD);
    ck_assert_int_eq(packing.level, 19);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pack");
    TCase *tests = tcase_create("blocks");
    tcase_add_checked_fixture(tests, fresh, gone);
    tcase_add_loop_test(tests, round_trips, 0, WAYS);
    tcase_add_loop_test(tests, pays, 0, WAYS);
    tcase_add_loop_test(tests, damage, 0, WAYS);
    tcase_add_test(tests, settings);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
