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

/* ---- where the differences begin and end ------------------------------------------ */

/* Two of each function are made, with a range to find and without one. */
#define BOTH static inline __attribute__((always_inline))

/* The first and the last line that differ, one bit per byte. */
struct edges {
    uint64_t first_mask;
    uint64_t last_mask; /* 0: none yet */
    uint32_t first;
    uint32_t last;
};

BOTH void edges_add(struct edges *e, size_t line, uint64_t mask)
{
    if (e->last_mask == 0) {
        e->first = (uint32_t)line;
        e->first_mask = mask;
    }
    e->last = (uint32_t)line;
    e->last_mask = mask;
}

BOTH void edges_range(const struct edges *e, uint32_t *range)
{
    bool any = e->last_mask != 0;
    range[0] = any ? e->first + (uint32_t)__builtin_ctzll(e->first_mask) : 0;
    range[1] = any ? e->last + 63 - (uint32_t)__builtin_clzll(e->last_mask) : 0;
}

/* ---- AVX-512: a line at a time ---------------------------------------------------- */

#if defined(__x86_64__)
#    define WIDE __attribute__((target("avx512f,avx512bw")))

WIDE BOTH size_t wide_store_any(char *home, const char *page, char *twin,
                                int keep, uint32_t *range)
{
    struct edges edges = {0};
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
            if (range != NULL) {
                edges_add(&edges, i, mask);
            }
            changed += (size_t)__builtin_popcountll(mask);
        }
    }
    if (range != NULL) {
        edges_range(&edges, range);
    }
    return changed;
}

WIDE static size_t wide_store(char *home, const char *page, char *twin,
                              int keep, uint32_t *range)
{
    return range != NULL ? wide_store_any(home, page, twin, keep, range)
                         : wide_store_any(home, page, twin, keep, NULL);
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
static size_t wide_store(char *home, const char *page, char *twin, int keep,
                         uint32_t *range)
{
    (void)home, (void)page, (void)twin, (void)keep, (void)range;
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

BOTH size_t store_any(char *home, const char *page, char *twin, int keep,
                      uint32_t *range)
{
    struct edges edges = {0};
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
        if (range != NULL && mask != 0) { /* 0: written back meanwhile */
            edges_add(&edges, i, mask);
        }
        changed += (size_t)__builtin_popcountll(mask);
    }
    if (range != NULL) {
        edges_range(&edges, range);
    }
    return changed;
}

size_t diff_store(char *home, const char *page, char *twin, int keep,
                  uint32_t *range)
{
    return path == DIFF_AVX512 ? wide_store(home, page, twin, keep, range)
           : range != NULL     ? store_any(home, page, twin, keep, range)
                               : store_any(home, page, twin, keep, NULL);
}

BOTH size_t pack_any(char *out, const char *page, char *twin, int keep,
                     size_t *changed, uint32_t *range)
{
    uint64_t lines = 0;
    size_t length = sizeof lines;
    struct edges edges = {0};
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
        if (range != NULL) {
            edges_add(&edges, i, mask);
        }
        *changed += (size_t)__builtin_popcountll(mask);
    }
    if (range != NULL) {
        edges_range(&edges, range);
    }
    memcpy(out, &lines, sizeof lines);
    return lines == 0 ? 0 : length;
}

size_t diff_pack(char *out, const char *page, char *twin, int keep,
                 size_t *changed, uint32_t *range)
{
    return range != NULL ? pack_any(out, page, twin, keep, changed, range)
                         : pack_any(out, page, twin, keep, changed, NULL);
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
