/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The radix sort's kernel, its input and its check. See radix.h.
 */
#include "radix.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the command line ---------------------------------------------------- */

static struct program_usage usage(struct radix_options *o,
                                  struct program_option options[5],
                                  const char *name, const char *launch)
{
    static const char about[] =
        "Sorts N random 64-bit keys by radix and checks their order.\n";
    int i = 0;
    options[i++] = (struct program_option){.name = "n",
                                           .kind = PROGRAM_COUNT,
                                           .value = &o->n,
                                           .min = 1,
                                           .max = INT64_C(1) << 36,
                                           .help = "keys (4194304)"};
    if (strstr(name, "omp") != NULL) {
        options[i++] =
            (struct program_option){.name = "threads",
                                    .kind = PROGRAM_COUNT,
                                    .value = &o->threads,
                                    .min = 1,
                                    .max = 4096,
                                    .help = "threads (as OpenMP chooses)"};
    }
    options[i++] = (struct program_option){.name = "json",
                                           .kind = PROGRAM_FLAG,
                                           .value = &o->json,
                                           .help = "end with a line of JSON"};
    options[i++] =
        (struct program_option){.name = "spoil",
                                .kind = PROGRAM_FLAG,
                                .value = &o->spoil,
                                .help = "exchange keys, to see the check fail"};
    options[i] = (struct program_option){.help = NULL};
    return (struct program_usage){
        .name = name, .launch = launch, .about = about, .options = options};
}

enum program_action radix_options_read(struct radix_options *o,
                                       const char *name, const char *launch,
                                       int argc, char **argv, char *wrong)
{
    struct program_option options[5];
    *o = (struct radix_options){.n = 1 << 22};
    const struct program_usage u = usage(o, options, name, launch);
    return program_read(&u, argc, argv, wrong);
}

void radix_options_help(const char *name, const char *launch)
{
    struct radix_options o;
    struct program_option options[5];
    const struct program_usage u = usage(&o, options, name, launch);
    program_help(&u);
}

/* ---- keys ---------------------------------------------------------------- */

/* Scatters the bits of a number: the finaliser of SplitMix64 (G. L. Steele, D.
 * Lea and C. H. Flood, OOPSLA'14). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t radix_fill(struct program_part part, uint64_t *keys)
{
    uint64_t hashes = 0;
    for (size_t i = part.first; i < part.last; i++) {
        /* every eighth is one of a few, so that there are equal keys */
        uint64_t key = mix(i % 8 == 0 ? i % 1024 : i);
        keys[i - part.first] = key;
        hashes += mix(key);
    }
    return hashes;
}

/* ---- a pass -------------------------------------------------------------- */

static unsigned digit_of(uint64_t key, int pass)
{
    return (unsigned)(key >> (pass * RADIX_BITS)) & (RADIX_DIGITS - 1);
}

void radix_stage(const uint64_t *keys, size_t n, int pass, uint64_t *staged,
                 uint64_t *counts)
{
    size_t next[RADIX_DIGITS] = {0};
    for (size_t i = 0; i < n; i++) {
        next[digit_of(keys[i], pass)]++;
    }
    size_t start = 0;
    for (int d = 0; d < RADIX_DIGITS; d++) {
        counts[d] = next[d];
        next[d] = start;
        start += counts[d];
    }
    for (size_t i = 0; i < n; i++) {
        staged[next[digit_of(keys[i], pass)]++] = keys[i];
    }
}

/* Keys of a digit that workers before `end` have. */
static size_t digit_sum(const uint64_t *counts, int end, int digit)
{
    size_t sum = 0;
    for (int w = 0; w < end; w++) {
        sum += counts[(size_t)w * RADIX_ROW + (size_t)digit];
    }
    return sum;
}

void radix_walk_start(struct radix_walk *w, const uint64_t *counts, int workers,
                      int source, struct program_part target)
{
    *w = (struct radix_walk){.counts = counts,
                             .workers = workers,
                             .source = source,
                             .target = target,
                             .place = digit_sum(counts, source, 0)};
}

/* To the next digit: past my keys, those of later workers, and those of earlier
 * workers of the next digit. */
static void walk_step(struct radix_walk *w)
{
    const uint64_t *mine = w->counts + (size_t)w->source * RADIX_ROW;
    size_t all = digit_sum(w->counts, w->workers, w->digit);
    size_t before = digit_sum(w->counts, w->source, w->digit);
    w->from += mine[w->digit];
    w->place += all - before;
    w->digit++;
    if (w->digit < RADIX_DIGITS) {
        w->place += digit_sum(w->counts, w->source, w->digit);
    }
}

bool radix_walk_next(struct radix_walk *w, struct radix_run *run)
{
    const uint64_t *mine = w->counts + (size_t)w->source * RADIX_ROW;
    while (w->digit < RADIX_DIGITS) {
        size_t low = w->place;
        size_t high = w->place + mine[w->digit];
        size_t from = w->from;
        walk_step(w);
        size_t first = low > w->target.first ? low : w->target.first;
        size_t last = high < w->target.last ? high : w->target.last;
        if (first < last) {
            *run = (struct radix_run){.from = from + (first - low),
                                      .to = first - w->target.first,
                                      .count = last - first};
            return true;
        }
    }
    return false;
}

size_t radix_between(const uint64_t *counts, int workers, int source,
                     struct program_part target, size_t *from)
{
    struct radix_walk walk;
    struct radix_run run;
    size_t count = 0;
    *from = 0;
    radix_walk_start(&walk, counts, workers, source, target);
    while (radix_walk_next(&walk, &run)) {
        *from = count == 0 ? run.from : *from;
        count += run.count;
    }
    return count;
}

/* ---- the check ----------------------------------------------------------- */

struct radix_check radix_verify(struct program_part part, const uint64_t *keys,
                                uint64_t before)
{
    struct radix_check c = {0};
    for (size_t i = part.first; i < part.last; i++) {
        uint64_t key = keys[i - part.first];
        c.wrong += key < before;
        c.hashes += mix(key);
        c.checksum += mix(key ^ mix(i));
        before = key;
    }
    return c;
}

void radix_check_add(struct radix_check *sum, const struct radix_check *part)
{
    sum->hashes += part->hashes;
    sum->checksum += part->checksum;
    sum->wrong += part->wrong;
}

void radix_spoil(struct program_part part, uint64_t *keys)
{
    size_t last = part.last - part.first - 1;
    uint64_t key = keys[0];
    keys[0] = keys[last];
    keys[last] = key;
}

/* ---- the report ---------------------------------------------------------- */

void radix_say(const struct program_report *report, size_t n)
{
    (void)printf("radix: %zu keys of 64 bits, %s, %d workers\n", n,
                 report->version, report->ranks);
    (void)fflush(stdout);
}

int radix_end(const struct program_report *report, size_t n, uint64_t hashes,
              const struct radix_check *check)
{
    for (int i = 0; i < report->phases; i++) {
        if (strcmp(report->phase[i].name, "sort") == 0) {
            (void)printf("speed %.1f million keys/s\n",
                         (double)n / report->phase[i].seconds / 1e6);
        }
    }
    (void)printf("checksum %016" PRIx64 "\n", check->checksum);
    if (check->wrong > 0) {
        (void)printf("%" PRIu64 " keys are below the one before them\n",
                     check->wrong);
    }
    if (check->hashes != hashes) {
        (void)printf("the keys are not those of the input\n");
    }
    return program_end(report, "sort",
                       check->wrong == 0 && check->hashes == hashes);
}
