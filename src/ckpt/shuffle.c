/* SPDX-License-Identifier: BSD-3-Clause */
/* One loop for each size of elements that the compiler knows, so that it uses vectors. */
#include "shuffle.h"

#include <string.h>

static inline void shuffle_by(const char *in, char *out, size_t count,
                              size_t element)
{
    for (size_t byte = 0; byte < element; byte++) {
        for (size_t i = 0; i < count; i++) {
            out[byte * count + i] = in[i * element + byte];
        }
    }
}

static inline void unshuffle_by(const char *in, char *out, size_t count,
                                size_t element)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t byte = 0; byte < element; byte++) {
            out[i * element + byte] = in[byte * count + i];
        }
    }
}

/* What lies behind the last whole element. */
static void rest_copy(const char *in, char *out, size_t bytes, size_t element)
{
    size_t whole = bytes - bytes % element;
    memcpy(out + whole, in + whole, bytes - whole);
}

void ckpt_shuffle(const char *in, char *out, size_t bytes, size_t element)
{
    switch (element) {
    case 2: shuffle_by(in, out, bytes / 2, 2); break;
    case 4: shuffle_by(in, out, bytes / 4, 4); break;
    case 8: shuffle_by(in, out, bytes / 8, 8); break;
    default: shuffle_by(in, out, bytes / element, element); break;
    }
    rest_copy(in, out, bytes, element);
}

void ckpt_unshuffle(const char *in, char *out, size_t bytes, size_t element)
{
    switch (element) {
    case 2: unshuffle_by(in, out, bytes / 2, 2); break;
    case 4: unshuffle_by(in, out, bytes / 4, 4); break;
    case 8: unshuffle_by(in, out, bytes / 8, 8); break;
    default: unshuffle_by(in, out, bytes / element, element); break;
    }
    rest_copy(in, out, bytes, element);
}
