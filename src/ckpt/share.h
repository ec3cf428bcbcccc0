/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Piece files of node-local epochs. A share, whose copy has the same bytes:
 *
 *   pages     of the node's ranks, end to end
 *   index     struct ckpt_entry of each page, in the same order
 *   head      struct ckpt_share_head, the epoch's objects
 *   writers   the node's ranks; the rows of the epoch's table of pieces that are theirs
 *   trailer   struct ckpt_share_trailer
 *
 * A parity file: its segments, head, objects, the lengths of the members' shares, the
 * hashes of the segments, trailer. Structures lie in a file as they do in memory: a piece
 * is read by the build that wrote it, or refused. Local; knows no net.
 */
#ifndef RECTO_SRC_CKPT_SHARE_H
#define RECTO_SRC_CKPT_SHARE_H

#include "io.h"
#include "level_plan.h"

struct ckpt_share_head {
    uint32_t bytes;        /* of this structure, */
    uint32_t object_bytes; /* of struct ckpt_object, */
    uint32_t row_bytes; /* and of struct ckpt_piece: who wrote it is like us */
    uint32_t kind;      /* CKPT_PIECE_SHARE or _PARITY */
    uint32_t index;     /* node */
    uint32_t members;   /* parity: of the set, */
    uint32_t segments;  /* and those in the file */
    struct ckpt_ring ring;
    uint32_t writers;
    uint64_t rows; /* of each of them */
    uint64_t pages;
    uint64_t segment; /* parity: bytes of one */
    uint64_t stamp;
    char run[CKPT_UUID + 1];
    char previous[CKPT_UUID + 1];
    char host[32];
    struct ckpt_epoch epoch; /* but for its list of objects, which follows */
};

/* One of a node's ranks; rows[0] of its rows says which part of the epoch's log its
 * pages are. */
struct ckpt_writer {
    uint64_t rank;
    uint64_t first; /* its first page in the file */
    uint64_t pages;
};

struct ckpt_share_trailer {
    uint64_t magic;
    uint64_t at; /* of the head */
    uint64_t bytes;
    uint64_t hash; /* of head and what follows it */
};

struct ckpt_share {
    struct ckpt_io_file io;
    uint64_t length;
    struct ckpt_share_head head;
    char *tail; /* owned: what the following point into */
    const struct ckpt_object *objects;
    const struct ckpt_writer *writers;
    const struct ckpt_piece *rows; /* writer by writer */
    const uint64_t *lengths;       /* parity: by member */
    const uint64_t *hashes;        /* of the segments */
};

/* "l00000007-1a2b3c4d-5e6f7a8b.s0002": number, uuid and run, kind, node. */
void ckpt_share_name(const char *run, uint64_t number, const char *uuid,
                     enum ckpt_piece_kind kind, unsigned node, char *name);
/* Under which that piece is written. */
void ckpt_share_temporary(const char *name, char *temporary);
/* Is it a piece of the run, or one in the making? *kind of the former, else
 * CKPT_PIECE_KINDS. */
bool ckpt_share_named(const char *name, const char *run,
                      enum ckpt_piece_kind *kind);

/* Writes head and trailer at `at`, and `more` between them. */
int ckpt_share_end(struct ckpt_io_file *file, uint64_t at,
                   struct ckpt_share_head *head,
                   const struct ckpt_object *objects, const void *more,
                   size_t bytes, const char *label);

/* Opens it and reads its end. RECTO_ECORRUPT, RECTO_EVERSION, RECTO_EIO. */
int ckpt_share_open(struct ckpt_share *share, const struct ckpt_dir *dir,
                    const char *name);
/* Reads all of it against its checksums. */
int ckpt_share_verify(const struct ckpt_share *share);
void ckpt_share_close(struct ckpt_share *share);
/* Bytes [at, at + bytes) of the file; zeros past its end. */
int ckpt_share_read(const struct ckpt_share *share, uint64_t at, size_t bytes,
                    char *to);

/* What is to be told of it, if its name says `kind`; but for who has it. */
void ckpt_share_holding(const struct ckpt_share *share,
                        enum ckpt_piece_kind kind, struct ckpt_holding *h);

/* The index entries of a writer, whose hash is compared; `entries` has room for its
 * pages. */
int ckpt_share_entries(const struct ckpt_share *share, unsigned writer,
                       struct ckpt_entry *entries);
/* Reads pages [first, first + count) of the file, and compares them with their entries. */
int ckpt_share_pages(const struct ckpt_share *share, uint64_t first,
                     uint64_t count, const struct ckpt_entry *entries,
                     char *to);

#endif
