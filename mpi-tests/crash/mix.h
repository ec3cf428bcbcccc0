/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers that follow from others, the same on every machine. */
#ifndef RECTO_TESTS_CRASH_MIX_H
#define RECTO_TESTS_CRASH_MIX_H

#include <stdint.h>

static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15U;
    x ^= x >> 29;
    return x * 0xbf58476d1ce4e5b9U;
}

#endif
