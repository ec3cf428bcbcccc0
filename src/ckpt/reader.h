/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verified reading of epoch files and of a folder's manifests. Used by restart
 * and by the `recto` command; knows no MPI.
 */
#ifndef RECTO_SRC_CKPT_READER_H
#define RECTO_SRC_CKPT_READER_H

#include "chunks.h"
#include "format.h"
#include "io.h"
#include "pack.h"

/* ---- reader.c: one epoch file ------------------------------------------------- */

struct ckpt_file {
    uint64_t id; /* that no other file of this process ever has; from 1 */
    struct ckpt_io_file io;
    const struct ckpt_epoch *epoch; /* not owned */
    struct ckpt_piece *pieces;      /* owned; sorted by (uid, rank) */
    uint64_t npieces;               /* all of the table, or some rows of it */
};

/* Opens the file and compares its length. RECTO_ECORRUPT, RECTO_EIO. */
int ckpt_file_open(struct ckpt_file *file, const struct ckpt_dir *dir,
                   const struct ckpt_epoch *epoch);
void ckpt_file_close(struct ckpt_file *file);

/* Reads every metadata byte and compares the checksum with the manifest's. */
int ckpt_file_meta_check(struct ckpt_file *file);

/* Reads the table of pieces and checks that it fits the epoch's objects. Call
 * after ckpt_file_meta_check, which vouches for its bytes. */
int ckpt_file_pieces_read(struct ckpt_file *file);

/* A rank's piece of an object (uid 0: its run in the log); NULL for none, or if its
 * row is not here. */
const struct ckpt_piece *ckpt_file_piece(const struct ckpt_file *file,
                                         uint64_t uid, uint64_t rank);

/* Reads the page sums of a piece and compares their hash. */
int ckpt_file_sums_damaged(const struct ckpt_file *file,
                           const struct ckpt_object *object,
                           const struct ckpt_piece *piece);
int ckpt_file_sums_read(const struct ckpt_file *file,
                        const struct ckpt_object *object,
                        const struct ckpt_piece *piece, uint64_t *sums);

/* Where pages of a log are, and what they are. */
struct ckpt_rows {
    struct ckpt_entry *entries;
    struct ckpt_block *blocks; /* NULL: of a plain log */
};

/* Tells the kernel that a run's rows will be read. */
void ckpt_file_rows_soon(const struct ckpt_file *file,
                         const struct ckpt_piece *run);
/* Reads the index and block rows of a run, compares their hash, and checks that blocks
 * lie in the log. Free with ckpt_rows_free in any case. */
int ckpt_file_rows_read(const struct ckpt_file *file,
                        const struct ckpt_piece *run, struct ckpt_rows *rows);
void ckpt_rows_free(struct ckpt_rows *rows);

/* For the pages of packed logs: the last block that was unpacked of each file, as long as
 * no other takes its slot. Pages are asked for in order, but come from all files of a
 * chain in turn. */
enum {
    CKPT_UNPACKED = 16
};
struct ckpt_unpacked {
    uint64_t file; /* its id; 0: none */
    struct ckpt_block block;
    char *plain; /* NULL: the slot was never used */
};
/* And the last chunk of a packed full epoch, of which a chain has one. */
struct ckpt_inflated {
    uint64_t file; /* its id; 0: none */
    uint64_t row;  /* offset of the chunk's row */
};
struct ckpt_unpacking {
    struct ckpt_unpacker unpacker;
    char *stored;
    struct ckpt_unpacked slots[CKPT_UNPACKED];
    struct ckpt_inflater inflater; /* .zlib NULL: not used yet */
    struct ckpt_inflated inflated;
};

/* RECTO_ENOMEM. */
int ckpt_unpacking_open(struct ckpt_unpacking *u);
/* Takes all the memory that it may ever need. RECTO_ENOMEM. */
int ckpt_unpacking_reserve(struct ckpt_unpacking *u);
void ckpt_unpacking_close(struct ckpt_unpacking *u);

/* Reads a page of a packed log; its sum is to be compared, too. RECTO_ECORRUPT without a
 * message when the block does not unpack, RECTO_EIO, RECTO_ENOMEM. */
int ckpt_file_block_page(const struct ckpt_file *file, struct ckpt_unpacking *u,
                         const struct ckpt_block *block, char *to);

/* Reads bytes [offset, offset + bytes) of an object of a full epoch, whose sums are to be
 * compared, too. The same errors, of chunks. */
int ckpt_file_data_read(const struct ckpt_file *file, struct ckpt_unpacking *u,
                        const struct ckpt_object *object, uint64_t offset,
                        size_t bytes, char *to);

/* RECTO_ECORRUPT, "epoch 3 (file): ..." */
int ckpt_file_corrupt(const struct ckpt_file *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- folder.c: a folder's manifests --------------------------------------------- */

/* What one of the two manifest files is. */
struct ckpt_candidate {
    bool exists;
    int status;                     /* of reading and parsing it */
    struct ckpt_manifest *manifest; /* when status is 0 and it exists */
    char *text;
    size_t bytes;
    char message[512]; /* why status is not 0 */
};

struct ckpt_folder {
    struct ckpt_candidate main;
    struct ckpt_candidate copy;
    const struct ckpt_candidate *chosen; /* NULL: no checkpoint here */
    bool epoch_files;                    /* some are there */
};

/*
 * Reads both manifests and chooses the valid one with the higher generation.
 * 0 with `chosen` NULL when the folder holds neither manifest nor epoch files;
 * RECTO_ECORRUPT when there is no valid manifest although something is there,
 * RECTO_EVERSION, RECTO_EIO. Free with ckpt_folder_clear in any case.
 */
int ckpt_folder_load(const struct ckpt_dir *dir, struct ckpt_folder *folder);
void ckpt_folder_clear(struct ckpt_folder *folder);

/* Calls visit for each name in the folder; stops when it returns non-zero and
 * returns that. */
int ckpt_folder_scan(const struct ckpt_dir *dir,
                     int (*visit)(const char *name, void *argument),
                     void *argument);

#endif
