/* SPDX-License-Identifier: BSD-3-Clause */
/* Differences of pages, see diff.h. */
#include "coherence/diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

#define PAGE_BYTES ((size_t)DIFF_LINES * DIFF_LINE)

static enum diff_path path = DIFF_PLAIN;

enum diff_path diff_init(enum diff_path most)
{
    path = DIFF_PLAIN;
#if defined(__x86_64__)
    if (most >= DIFF_AVX512 && __builtin_cpu_supports("avx512bw")) {
        path = DIFF_AVX512;
    }
#else
    (void)most;
#endif
    return path;
}

/* ---- AVX-512: a line at a time ---------------------------------------------------- */

#if defined(__x86_64__)
#    define WIDE __attribute__((target("avx512f,avx512bw")))

WIDE static size_t wide_store(char *home, const char *page, char *twin,
                              int keep)
{
    size_t changed = 0;
    for (size_t i = 0; i < PAGE_BYTES; i += DIFF_LINE) {
        __m512i line = _mm512_loadu_si512(page + i);
        __mmask64 mask =
            _mm512_cmpneq_epi8_mask(line, _mm512_loadu_si512(twin + i));
        if (mask != 0) {
            _mm512_mask_storeu_epi8(home + i, mask, line);
            if (keep) {
                _mm512_mask_storeu_epi8(twin + i, mask, line);
            }
            changed += (size_t)__builtin_popcountll(mask);
        }
    }
    return changed;
}

WIDE static void wide_patch(char *page, char *twin, const char *incoming)
{
    for (size_t i = 0; i < PAGE_BYTES; i += DIFF_LINE) {
        __m512i line = _mm512_loadu_si512(incoming + i);
        __mmask64 mask =
            _mm512_cmpneq_epi8_mask(line, _mm512_loadu_si512(twin + i));
        if (mask != 0) {
            _mm512_mask_storeu_epi8(page + i, mask, line);
            _mm512_mask_storeu_epi8(twin + i, mask, line);
        }
    }
}
#else
static size_t wide_store(char *home, const char *page, char *twin, int keep)
{
    (void)home, (void)page, (void)twin, (void)keep;
    return 0; /* never chosen */
}

static void wide_patch(char *page, char *twin, const char *incoming)
{
    (void)page, (void)twin, (void)incoming;
}
#endif

/* ---- everywhere --------------------------------------------------------------------- */

/* One bit per byte of the line in which a and b differ. */
static inline uint64_t line_mask(const char *a, const char *b)
{
    uint64_t equal = 0;
#if defined(__SSE2__)
    for (unsigned i = 0; i < DIFF_LINE; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(a + i));
        __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(b + i));
        unsigned bits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
        equal |= (uint64_t)bits << i;
    }
    return ~equal;
#else
    for (unsigned i = 0; i < DIFF_LINE; i++) {
        equal |= (uint64_t)(a[i] == b[i]) << i;
    }
    return ~equal;
#endif
}

/* Most lines are equal: a cheaper look first. */
static inline int line_differs(const char *a, const char *b)
{
#if defined(__SSE2__)
    const __m128i *x = (const __m128i *)(const void *)a;
    const __m128i *y = (const __m128i *)(const void *)b;
    __m128i d = _mm_xor_si128(_mm_loadu_si128(x), _mm_loadu_si128(y));
    for (int i = 1; i < 4; i++) {
        d = _mm_or_si128(
            d, _mm_xor_si128(_mm_loadu_si128(x + i), _mm_loadu_si128(y + i)));
    }
    return _mm_movemask_epi8(_mm_cmpeq_epi8(d, _mm_setzero_si128())) != 0xffff;
#else
    return memcmp(a, b, DIFF_LINE) != 0;
#endif
}

/* The lowest run of set bits: *from its first, returns its length. */
static inline unsigned run_first(uint64_t mask, unsigned *from)
{
    *from = (unsigned)__builtin_ctzll(mask);
    uint64_t rest = ~(mask >> *from);
    return rest == 0 ? 64 : (unsigned)__builtin_ctzll(rest);
}

static inline uint64_t run_clear(uint64_t mask, unsigned from, unsigned length)
{
    return from + length == 64 ? 0 : mask & ~(uint64_t)0 << (from + length);
}

/* Copies the masked bytes of a line, and no other. */
static inline void line_store(char *to, const char *from, uint64_t mask)
{
    if (mask == ~(uint64_t)0) {
        memcpy(to, from, DIFF_LINE);
        return;
    }
    while (mask != 0) {
        unsigned at = 0;
        unsigned length = run_first(mask, &at);
        if (length == 8) {
            memcpy(to + at, from + at, 8);
        } else {
            memcpy(to + at, from + at, length);
        }
        mask = run_clear(mask, at, length);
    }
}

size_t diff_store(char *home, const char *page, char *twin, int keep)
{
    if (path == DIFF_AVX512) {
        return wide_store(home, page, twin, keep);
    }
    size_t changed = 0;
    char line[DIFF_LINE] __attribute__((aligned(16)));
    for (size_t i = 0; i < PAGE_BYTES; i += DIFF_LINE) {
        if (!line_differs(page + i, twin + i)) {
            continue;
        }
        memcpy(line, page + i, DIFF_LINE);
        uint64_t mask = line_mask(line, twin + i);
        line_store(home + i, line, mask);
        if (keep) {
            line_store(twin + i, line, mask);
        }
        changed += (size_t)__builtin_popcountll(mask);
    }
    return changed;
}

size_t diff_pack(char *out, const char *page, char *twin, int keep,
                 size_t *changed)
{
    uint64_t lines = 0;
    size_t length = sizeof lines;
    char line[DIFF_LINE] __attribute__((aligned(16)));
    for (unsigned n = 0; n < DIFF_LINES; n++) {
        size_t i = (size_t)n * DIFF_LINE;
        if (!line_differs(page + i, twin + i)) {
            continue;
        }
        memcpy(line, page + i, DIFF_LINE);
        uint64_t mask = line_mask(line, twin + i);
        if (mask == 0) {
            continue; /* written back meanwhile */
        }
        lines |= (uint64_t)1 << n;
        memcpy(out + length, &mask, sizeof mask);
        length += sizeof mask;
        for (uint64_t left = mask; left != 0;) {
            unsigned at = 0;
            unsigned run = run_first(left, &at);
            memcpy(out + length, line + at, run);
            length += run;
            left = run_clear(left, at, run);
        }
        if (keep) {
            line_store(twin + i, line, mask);
        }
        *changed += (size_t)__builtin_popcountll(mask);
    }
    memcpy(out, &lines, sizeof lines);
    return lines == 0 ? 0 : length;
}

size_t diff_apply(char *home, const char *packed, size_t most)
{
    uint64_t lines = 0;
    size_t length = sizeof lines;
    if (most < length) {
        return 0;
    }
    memcpy(&lines, packed, sizeof lines);
    for (; lines != 0; lines &= lines - 1) {
        char *line = home + (size_t)__builtin_ctzll(lines) * DIFF_LINE;
        uint64_t mask = 0;
        if (most - length < sizeof mask) {
            return 0;
        }
        memcpy(&mask, packed + length, sizeof mask);
        length += sizeof mask;
        if (most - length < (size_t)__builtin_popcountll(mask)) {
            return 0;
        }
        while (mask != 0) {
            unsigned at = 0;
            unsigned run = run_first(mask, &at);
            memcpy(line + at, packed + length, run);
            length += run;
            mask = run_clear(mask, at, run);
        }
    }
    return length;
}

void diff_patch(char *page, char *twin, const char *incoming)
{
    if (path == DIFF_AVX512) {
        wide_patch(page, twin, incoming);
        return;
    }
    char line[DIFF_LINE] __attribute__((aligned(16)));
    for (size_t i = 0; i < PAGE_BYTES; i += DIFF_LINE) {
        memcpy(line, incoming + i, DIFF_LINE);
        if (!line_differs(line, twin + i)) {
            continue;
        }
        uint64_t mask = line_mask(line, twin + i);
        line_store(page + i, line, mask);
        line_store(twin + i, line, mask);
    }
}

void diff_copy(char *to, const char *from, size_t bytes)
{
    enum {
        AHEAD = 2048
    };
    size_t i = 0;
    for (; i + AHEAD < bytes; i += DIFF_LINE) {
        __builtin_prefetch(from + i + AHEAD, 0);
        __builtin_prefetch(to + i + AHEAD, 1);
        memcpy(to + i, from + i, DIFF_LINE);
    }
    memcpy(to + i, from + i, bytes - i);
}

static bool line_same(const char *a, const char *b)
{
    uint64_t x[DIFF_LINE / 8];
    uint64_t y[DIFF_LINE / 8];
    uint64_t different = 0;
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    for (size_t i = 0; i < DIFF_LINE / 8; i++) {
        different |= x[i] ^ y[i];
    }
    return different == 0;
}

/* Forward, as the comparison that follows goes, which then finds both in the cache. */
void diff_range(const char *page, const char *twin, uint32_t *range)
{
    uint32_t low = DIFF_LINES * DIFF_LINE;
    uint32_t high = 0;
    for (uint32_t at = 0; at < DIFF_LINES * DIFF_LINE; at += DIFF_LINE) {
        if (!line_same(page + at, twin + at)) {
            low = at < low ? at : low;
            high = at + DIFF_LINE;
        }
    }
    /* a byte may become the same again meanwhile */
    while (low < high && page[low] == twin[low]) {
        low++;
    }
    while (high > low && page[high - 1] == twin[high - 1]) {
        high--;
    }
    range[0] = low < high ? low : 0;
    range[1] = low < high ? high - 1 : 0;
}
