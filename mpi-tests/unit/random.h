/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers of the unit tests' own, the same on every machine; TEST_SEED repeats them. */
#ifndef RECTO_TESTS_RANDOM_H
#define RECTO_TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* xorshift64*; *state is not 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717U;
}

/* TEST_SEED or the time; odd, and printed before Check forks. */
static inline uint64_t random_seed(void)
{
    const char *given = getenv("TEST_SEED");
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed = given != NULL
                        ? strtoull(given, NULL, 10)
                        : (uint64_t)t.tv_sec * 1000003U + (uint64_t)t.tv_nsec;
    seed |= 1;
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return seed;
}

#endif
