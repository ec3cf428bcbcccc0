/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto/types.h: of what the elements of arrays are, and what is to be said of arrays
 * to those who read checkpoints. Included by recto.h.
 *
 *     struct particle { double x[3]; int32_t kind; };
 *     const recto_member members[] = {
 *         RECTO_MEMBER(struct particle, x, RECTO_DOUBLE, 3),
 *         RECTO_MEMBER(struct particle, kind, RECTO_INT32, 1)};
 *     recto_type particle;
 *     recto_type_create("particle", sizeof(struct particle), members, 2, &particle);
 *     p = recto_array("particles", particle, 1, &n, NULL);
 *     recto_attribute_set("particles", "units", "m");
 *     recto_attribute_numbers("particles", "box", RECTO_DOUBLE, (double[]){0, 1}, 2);
 */
#ifndef RECTO_TYPES_H
#define RECTO_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Element types. The same order on disk; names h5dump users know. */
#define RECTO_TYPE_LIST(X)                                                     \
    X(RECTO_BYTE, 0, 1)                                                        \
    X(RECTO_INT8, 1, 1)                                                        \
    X(RECTO_UINT8, 2, 1)                                                       \
    X(RECTO_INT16, 3, 2)                                                       \
    X(RECTO_UINT16, 4, 2)                                                      \
    X(RECTO_INT32, 5, 4)                                                       \
    X(RECTO_UINT32, 6, 4)                                                      \
    X(RECTO_INT64, 7, 8)                                                       \
    X(RECTO_UINT64, 8, 8)                                                      \
    X(RECTO_FLOAT, 9, 4)                                                       \
    X(RECTO_DOUBLE, 10, 8)

typedef enum recto_type {
#define RECTO_TYPE_ENUM(name, value, bytes) name = (value),
    RECTO_TYPE_LIST(RECTO_TYPE_ENUM)
#undef RECTO_TYPE_ENUM
    RECTO_INT = RECTO_INT32,
    RECTO_LONG = RECTO_INT64,
    RECTO_STRUCT_FIRST = 1024, /* those of recto_type_create */
    RECTO_STRUCT_LAST = 1279
} recto_type;

enum {
    RECTO_LABEL_MAX = 63,   /* bytes of a type's, member's, attribute's name */
    RECTO_MEMBERS_MAX = 64, /* of a struct */
    RECTO_STRUCT_BYTES_MAX = 65536, /* of an element */
    RECTO_ATTRIBUTES_MAX = 32,      /* of a name */
    RECTO_ATTRIBUTE_TEXT_MAX = 255, /* bytes */
    RECTO_ATTRIBUTE_NUMBERS_MAX = 32
};

/* Bytes of one element; 0 for an unknown type. Local. */
size_t recto_type_size(recto_type type);

/* A member of a struct: one element, or an array of `count`. */
typedef struct recto_member {
    const char *name;
    size_t offset;
    recto_type type; /* no struct */
    size_t count;    /* 0 counts as 1 */
} recto_member;
#define RECTO_MEMBER_NAME(member) #member
#define RECTO_MEMBER(record, member, type, count)                              \
    {                                                                          \
        RECTO_MEMBER_NAME(member), offsetof(record, member), (type), (count)   \
    }

/*
 * Makes a type of elements that are structs of `bytes` bytes: for recto_array, recto_protect
 * and recto_protect_block. Full checkpoints and `recto export` store it as a compound
 * type of HDF5. Members do not overlap; bytes of no member, padding, are kept, too. A
 * restart compares structs by their size and members, not by `name`. The same name and
 * members again give the same type; it is valid until recto_finalize. Collective; all
 * arguments equal on all ranks. RECTO_EINVAL, RECTO_EEXIST for the name of another
 * struct, RECTO_ENOMEM past 256 of them, RECTO_EMISMATCH, RECTO_ESTATE.
 */
int recto_type_create(const char *name, size_t bytes,
                      const recto_member *members, int count, recto_type *type);

/*
 * Says something of shared or protected memory `name`, declared or not yet, to readers:
 * "units" = "K", "long_name" = "temperature". From the next checkpoint on epochs
 * have it, full ones and what `recto export` writes as an HDF5 attribute of the dataset.
 * `text`: up to 255 bytes of UTF-8 without control characters; NULL takes the attribute
 * away. It stays with the name when memory is freed or unprotected; a restart
 * does not bring it back. Collective; all arguments equal on all ranks. RECTO_EINVAL,
 * RECTO_ENOENT for an attribute to be taken away that there is not, RECTO_ENOMEM, also
 * past 32 of a name, RECTO_EMISMATCH, RECTO_ESTATE.
 */
int recto_attribute_set(const char *name, const char *attribute,
                        const char *text);

/*
 * The same with numbers, `count` (1 to 32) of a type that is no struct: "valid_range",
 * "scale_factor", "_FillValue". One number is a scalar of HDF5, several are an array of one
 * dimension. An attribute that is there already is replaced, whatever it was;
 * recto_attribute_set with NULL takes it away. The same errors.
 */
int recto_attribute_numbers(const char *name, const char *attribute,
                            recto_type type, const void *numbers,
                            uint64_t count);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
