/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Element types and the names of objects: what an allocation accepts, a
 * checkpoint writes and a manifest may hold is decided here, once.
 */
#include <string.h>

#include "base.h"

int base_name_check(const char *name)
{
    size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0 || length > RECTO_NAME_MAX) {
        return base_error(RECTO_EINVAL, "a name has 1 to %d bytes, not %zu",
                          RECTO_NAME_MAX, length);
    }
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return base_error(RECTO_EINVAL,
                              "a name must not contain control characters");
        }
    }
    const char *part = name;
    for (;;) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') ||
            (n == 2 && part[0] == '.' && part[1] == '.') ||
            (part == name && n == 5 && memcmp(part, "recto", 5) == 0)) {
            return base_error(RECTO_EINVAL,
                              "name \"%s\": its parts must not be empty, \".\" "
                              "or \"..\", and the first not \"recto\"",
                              name);
        }
        if (part[n] == '\0') {
            return 0;
        }
        part += n + 1;
    }
}

const char *base_type_name(recto_type type)
{
    switch (type) {
#define TYPE_CASE(name, value, bytes)                                          \
    case value: return #name;
        RECTO_TYPE_LIST(TYPE_CASE)
#undef TYPE_CASE
    default: return "RECTO_?";
    }
}

size_t recto_type_size(recto_type type)
{
    static const unsigned char sizes[] = {
#define TYPE_SIZE(name, value, bytes) [value] = (bytes),
        RECTO_TYPE_LIST(TYPE_SIZE)
#undef TYPE_SIZE
    };
    return (unsigned)type < sizeof sizes ? sizes[type] : 0;
}
