/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chain: the files of an epoch's chain, and which of them has the newest version of
 * each page. Used by restart, where each rank knows its own pages, and by views, which
 * know all. Knows no MPI.
 */
#ifndef RECTO_SRC_CKPT_CHAIN_H
#define RECTO_SRC_CKPT_CHAIN_H

#include "reader.h"

/* Where the newest version of a page is. Sent between ranks as it is. */
struct ckpt_source {
    struct ckpt_entry entry; /* first: runs and sources are looked up alike */
    uint64_t slot;           /* in the log of */
    uint32_t file;           /* this file of the chain */
    uint32_t to;             /* the rank that it is sent to */
    struct ckpt_block block; /* of a packed log */
};

struct ckpt_sources {
    struct ckpt_source *items;
    uint64_t count;
    uint64_t room;
};

/* A run of a log that ckpt_chain_read looks pages up in: as it lies there. */
struct ckpt_run {
    size_t file;
    uint64_t slot; /* of its first page */
    uint64_t count;
    struct ckpt_rows rows;
    uint64_t at; /* where the last look ended */
};

struct ckpt_chain {
    const struct ckpt_epoch *epoch; /* what it ends with; not owned */
    struct ckpt_file *files;        /* [0] is the full epoch */
    size_t nfiles;
    struct ckpt_run *runs; /* of the logs, those that are here */
    size_t nruns;
    struct ckpt_sources
        sources; /* of others: by (uid, rank, page), newest only */
    struct ckpt_unpacking unpacking;
};

/* Opens the files of epoch `index` and of what it builds on; checks nothing but their
 * lengths. Close it in any case. */
int ckpt_chain_open(struct ckpt_chain *chain, const struct ckpt_dir *dir,
                    const struct ckpt_manifest *manifest, uint64_t index);
void ckpt_chain_close(struct ckpt_chain *chain);

/* Adds n sources to a list. RECTO_ENOMEM. */
int ckpt_sources_add(struct ckpt_sources *list,
                     const struct ckpt_source *sources, uint64_t n);
/* What of a log is wanted: pages of some objects, shared or of the first `ranks` ranks. */
struct ckpt_wanted {
    uint64_t ranks;
    bool (*object)(const void *argument, uint64_t uid); /* NULL: all */
    int (*take)(void *argument, const struct ckpt_source *source); /* or NULL */
    void *argument;
};
/* Reads the run of the log of file f, checks what is wanted of it, of objects that the
 * epoch still has, and has it taken. `keep`: ckpt_chain_read finds it from now on. */
int ckpt_chain_run_read(struct ckpt_chain *chain, size_t f,
                        const struct ckpt_piece *piece,
                        const struct ckpt_wanted *wanted, bool keep);
/* Merges runs of ascending pages, and keeps of each page the newest version.
 * RECTO_ENOMEM. */
int ckpt_sources_settle(struct ckpt_sources *list);

/* What is read: an object, or a rank's piece of a private one. */
struct ckpt_range {
    const struct ckpt_object *object;
    uint64_t rank;  /* CKPT_NO_RANK: shared */
    uint64_t bytes; /* of the object or the piece */
    /* Is memory at the page zero, as its sum says that it is to be, so that nothing need
     * be read? NULL: never. */
    bool (*is_zero)(void *argument, uint64_t page);
    void *argument;
};

/*
 * Reads pages [first, first + count) to `to`, whole pages, zeros past the end of the
 * object; each compared with its sum. RECTO_ECORRUPT with the page's name, RECTO_EIO.
 * Uses chain->unpacking: one thread at a time.
 */
int ckpt_chain_read(struct ckpt_chain *chain, const struct ckpt_range *range,
                    uint64_t first, uint64_t count, char *to);

/* How many bytes a rank has of a private object: from the newest table of pieces that
 * knows. RECTO_ECORRUPT: none does. */
int ckpt_chain_size(const struct ckpt_chain *chain,
                    const struct ckpt_object *object, uint64_t rank,
                    uint64_t *bytes);

#endif
