/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The on-disk form of checkpoints in memory: manifest, epochs, objects, pieces,
 * page log entries. docs/format.md describes the files. Knows no MPI.
 *
 * Words. An *object* is a shared segment or the private memory of all ranks
 * under one name; its *uid* is that of one incarnation: an object that was
 * allocated anew or changed its size has another. A *chain* is a full epoch
 * and the differential epochs that build on it. A *piece* is a part of an
 * object whose page sums are hashed together: pages [k P / N, (k + 1) P / N)
 * of a shared object of P pages written by N ranks, or rank k's private memory.
 */
#ifndef RECTO_SRC_CKPT_FORMAT_H
#define RECTO_SRC_CKPT_FORMAT_H

#include <recto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

enum {
    CKPT_PAGE = 4096,
    CKPT_UUID = 32, /* hexadecimal digits */
    CKPT_FORMAT_MAJOR = 3,
    CKPT_FORMAT_OLDEST = 1, /* that is read */
    CKPT_FORMAT_MINOR = 0,
    CKPT_SHAPE_MAX = 256, /* bytes of a shape as text */
    CKPT_CHUNK =
        1 << 20, /* bytes of an array, at most: what HDF5 caches by default */
    CKPT_CHUNKED =
        16384, /* bytes of an array that is cut in chunks, at least */
    CKPT_MANIFEST_MAX = 1 << 30
};

#define CKPT_MANIFEST      "manifest"
#define CKPT_MANIFEST_COPY "manifest.copy"
#define CKPT_LOCK          "lock"
#define CKPT_HALT          "halt-"
#define CKPT_TEMPORARY     ".tmp-"

enum ckpt_kind {
    CKPT_SHARED,
    CKPT_PRIVATE
};

struct ckpt_object {
    uint64_t uid; /* from 1 */
    enum ckpt_kind kind;
    recto_type type;  /* RECTO_STRUCT_FIRST + i: struct i of its epoch */
    uint64_t element; /* bytes of one */
    int ndims;
    uint64_t dims[RECTO_DIMS_MAX];
    uint64_t bytes; /* private: of all ranks together */
    /* shared only; placement, granule, consistency inform */
    uint64_t placement;
    uint64_t granule;
    uint64_t consistency;
    uint64_t address;
    /* in a full epoch: where data, or the rows of its chunks, and page sums are */
    uint64_t data;
    uint64_t sums;
    uint64_t nsums;
    char name[RECTO_NAME_MAX + 1];
};

/* A struct type of an epoch. */
struct ckpt_struct {
    uint64_t bytes;
    uint64_t first; /* of its members among the epoch's */
    uint64_t count;
    char name[RECTO_LABEL_MAX + 1];
};

/* What is said of an object. */
struct ckpt_attribute {
    uint64_t uid;
    uint32_t count; /* of numbers; 0: it is a text */
    uint32_t type;  /* of numbers, a recto_type; else 0 */
    char name[RECTO_LABEL_MAX + 1];
    char text[RECTO_ATTRIBUTE_TEXT_MAX + 1]; /* or numbers; zeros behind */
};

struct ckpt_epoch {
    uint64_t number;
    bool full;
    uint64_t base; /* number of the full epoch of its chain */
    char uuid[CKPT_UUID + 1];
    bool has_file; /* false: nothing had changed since the epoch before */
    uint64_t length;
    uint64_t meta;  /* XXH3 of the file's bytes outside the bulk extents */
    uint64_t ranks; /* that wrote it */
    uint64_t time;  /* seconds since 1970 */
    uint64_t pieces_at;
    uint64_t pieces;
    /* differential: the page log */
    uint64_t pages_at;
    uint64_t index_at;
    /* the log's pages are in blocks; full: large arrays are in chunks (docs/format.md) */
    bool packed;
    uint64_t blocks_at; /* packed: of their table; else 0 */
    uint64_t entries;   /* pages of the log; full: rows of that table */
    uint64_t nobjects;
    struct ckpt_object *objects; /* ascending uids */
    uint64_t nstructs;
    struct ckpt_struct *structs;
    uint64_t nmembers;
    struct base_member *members;
    uint64_t nattributes;
    struct ckpt_attribute *attributes; /* ascending (uid, name) */
};

/* The lists that an epoch owns, in the order of the structure. */
struct ckpt_list {
    void **rows;
    uint64_t *count;
    size_t size; /* of a row */
};
enum {
    CKPT_LISTS = 4
};

struct ckpt_manifest {
    uint64_t format; /* of its text; 0: the present one */
    uint64_t generation;
    char run[CKPT_UUID + 1];
    uint64_t next_uid;
    uint64_t nepochs;
    struct ckpt_epoch *epochs; /* ascending numbers */
};

/* A row of /recto/pieces, sorted by (uid, rank). uid 0 is a rank's run in the
 * page log: offset and bytes in the pages, first_sum and sums in the index. */
struct ckpt_piece {
    uint64_t uid;
    uint64_t rank;
    uint64_t offset; /* of its data in the object, bytes */
    uint64_t bytes;
    uint64_t first_sum;
    uint64_t sums; /* number of pages */
    uint64_t hash; /* XXH3 of the bytes of its sums (log: index entries) */
};

/* A row of /recto/log/index; row i describes page i of the log. */
struct ckpt_entry {
    uint64_t uid;
    uint64_t rank; /* whose memory; CKPT_NO_RANK when shared */
    uint64_t page; /* of the object, or of the rank's piece of it */
    uint64_t sum;
};
#define CKPT_NO_RANK UINT64_MAX

/* A row of /recto/log/blocks; row i says where page i of a packed log is. Of no bytes:
 * the page is zero. */
struct ckpt_block {
    uint64_t offset; /* of its block, from the first byte of the log's pages */
    uint32_t bytes;  /* of the block as it is stored */
    uint8_t codec;   /* enum ckpt_codec */
    uint8_t element; /* bytes of what was shuffled; 1: nothing was */
    uint8_t pages;   /* in the block */
    uint8_t page;    /* the place of this one among them */
};

/* A row of /recto/chunks: a chunk of an array of a packed full epoch. Of no bytes: it is
 * zero. */
struct ckpt_chunk {
    uint64_t offset; /* in the file */
    uint32_t bytes;  /* as they are stored */
    uint32_t raw;    /* 0, or the mask of HDF5's filters: all were left out */
};

struct ckpt_extent {
    uint64_t offset;
    uint64_t bytes;
};

/* ---- format.c ---------------------------------------------------------------- */

/* "float64"; NULL for no type. */
const char *ckpt_type_name(recto_type type);
/* The type of that name; -1 for none. */
int ckpt_type_of(const char *name);

static inline uint64_t ckpt_pages(uint64_t bytes)
{
    return bytes / CKPT_PAGE + (bytes % CKPT_PAGE != 0);
}

/* Bytes of page `page` of `bytes`: CKPT_PAGE but for the last. */
static inline size_t ckpt_page_bytes(uint64_t bytes, uint64_t page)
{
    uint64_t rest = bytes - page * CKPT_PAGE;
    return rest < CKPT_PAGE ? (size_t)rest : (size_t)CKPT_PAGE;
}

/* First page of piece k of n of a shared object of `pages` pages. */
static inline uint64_t ckpt_piece_first(uint64_t pages, uint64_t k, uint64_t n)
{
    return pages / n * k + pages % n * k / n;
}

/* An array of which each rank has a block: it has no address. */
static inline bool ckpt_is_block(const struct ckpt_object *o)
{
    return o->kind == CKPT_SHARED && o->address == 0;
}

/* Is an object of the epoch cut in chunks? (chunks.h) */
static inline bool ckpt_is_chunked(const struct ckpt_epoch *e,
                                   const struct ckpt_object *o)
{
    return e->full && e->packed && o->bytes >= CKPT_CHUNKED;
}

/* XXH3 of bytes. */
uint64_t ckpt_hash(const void *data, size_t bytes);
/* XXH3 of a page whose bytes past `bytes` are zero. */
uint64_t ckpt_page_sum(const void *data, size_t bytes);
/* That of a page of zeros. */
uint64_t ckpt_zero_sum(void);
/* Are all bytes zero? */
bool ckpt_is_zero(const char *data, size_t bytes);

/* Of a rank's run in the log: of its index rows, and of its block rows unless the log
 * is plain (NULL): XXH3 of these with that of those as seed. */
uint64_t ckpt_run_hash(const struct ckpt_entry *entries,
                       const struct ckpt_block *blocks, uint64_t count);

/* The struct that a type of the epoch is; NULL: none. */
const struct ckpt_struct *ckpt_struct_of(const struct ckpt_epoch *epoch,
                                         recto_type type);
/* Are types of two epochs the same, structs by size and members? */
bool ckpt_type_same(const struct ckpt_epoch *a, recto_type x,
                    const struct ckpt_epoch *b, recto_type y);
/* "float64", a struct's name. */
const char *ckpt_object_type(const struct ckpt_epoch *epoch,
                             const struct ckpt_object *object);
/* "512 x 512 float64". Returns `text`. */
const char *ckpt_object_shape(const struct ckpt_epoch *epoch,
                              const struct ckpt_object *object, char *text,
                              size_t size);
/* Is it such as a program may set, but for its uid? */
bool ckpt_attribute_good(const struct ckpt_attribute *attribute);
/* Of all its numbers, which are good. */
static inline size_t ckpt_attribute_bytes(const struct ckpt_attribute *a)
{
    return (size_t)a->count * recto_type_size((recto_type)a->type);
}
/* The attributes of an object: `count` from the result on. */
const struct ckpt_attribute *
ckpt_object_attributes(const struct ckpt_epoch *epoch, uint64_t uid,
                       uint64_t *count);
/* "array" or "protected memory". */
const char *ckpt_kind_words(enum ckpt_kind kind);

/* "e00000012-1a2b3c4d.h5" into at least CKPT_FILE_NAME_MAX + 1 bytes. */
void ckpt_epoch_file(const struct ckpt_epoch *epoch, char *name);
/* True for names that ckpt_epoch_file makes. */
bool ckpt_epoch_file_name(const char *name);

/* By uid; NULL for none. */
struct ckpt_object *ckpt_epoch_object(const struct ckpt_epoch *epoch,
                                      uint64_t uid);

/* Index of the full epoch that the chain of epoch `index` begins with. */
uint64_t ckpt_chain_start(const struct ckpt_manifest *manifest, uint64_t index);
/* At most so many bytes of the epoch's file are read at a restart: page sums and the
 * table of pieces twice, pages that are newer elsewhere not at all. */
uint64_t ckpt_epoch_volume(const struct ckpt_epoch *epoch);
/* The same of all of the chain that ends with epoch `index`. */
uint64_t ckpt_chain_volume(const struct ckpt_manifest *manifest,
                           uint64_t index);
/* What that is compared with: the bytes of its objects, or of the file of the full epoch
 * that it begins with if these are more. */
uint64_t ckpt_chain_measure(const struct ckpt_manifest *manifest,
                            uint64_t index);

/*
 * The bulk extents of an epoch file (data, sums, log), ascending, those of no
 * bytes left out; free() them. `chunks`: the table of a packed full epoch; NULL: without
 * them. RECTO_ECORRUPT when they overlap or leave the file, RECTO_ENOMEM.
 */
int ckpt_epoch_extents(const struct ckpt_epoch *epoch,
                       const struct ckpt_chunk *chunks,
                       struct ckpt_extent **extents, size_t *count);

/* A random uuid. RECTO_EIO. */
int ckpt_uuid_make(char *uuid);
/* Another one, for a file that takes the place of the epoch's: the part that is in its
 * name changes, by the rest ckpt_uuid_same knows them as one epoch. RECTO_EIO. */
int ckpt_uuid_renew(char *uuid);
bool ckpt_uuid_same(const char *a, const char *b);

/* Where an epoch has its lists. */
void ckpt_epoch_lists(struct ckpt_epoch *epoch,
                      struct ckpt_list lists[CKPT_LISTS]);
/* An epoch without the rows of its lists. */
void ckpt_epoch_bare(struct ckpt_epoch *to, const struct ckpt_epoch *from);
/* Deep copy of an epoch; ckpt_epoch_clear frees what it owns. */
int ckpt_epoch_copy(struct ckpt_epoch *to, const struct ckpt_epoch *from);
void ckpt_epoch_clear(struct ckpt_epoch *epoch);

/* ---- manifest.c ---------------------------------------------------------------- */

/* The text of a manifest; free() it. RECTO_ENOMEM. */
int ckpt_manifest_print(const struct ckpt_manifest *manifest, char **text,
                        size_t *bytes);

/*
 * Parses what ckpt_manifest_print wrote; accepts nothing else: whatever it
 * takes would be printed as the same bytes. Safe on hostile input, memory and
 * time in proportion to `bytes`. RECTO_ECORRUPT with the cause, RECTO_EVERSION
 * for an intact manifest of another version, RECTO_ENOMEM.
 */
int ckpt_manifest_parse(const char *text, size_t bytes,
                        struct ckpt_manifest **manifest);
void ckpt_manifest_free(struct ckpt_manifest *manifest);

/* check.c. RECTO_ECORRUPT with the first contradiction, RECTO_ENOMEM. */
int ckpt_manifest_check(const struct ckpt_manifest *manifest);
/* Of an epoch alone, whose uids are below next_uid: all but how it follows another. */
int ckpt_epoch_check(const struct ckpt_epoch *epoch, uint64_t next_uid);
/* RECTO_ECORRUPT, "manifest: ..." */
int ckpt_manifest_corrupt(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#endif
