/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the ranks of a job hold for checkpoints, and the steps of one.
 */
#ifndef RECTO_SRC_CKPT_STATE_H
#define RECTO_SRC_CKPT_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <xxhash.h>

#include "base/runs.h"
#include "base/trace.h"
#include "format.h"
#include "io.h"
#include "net/net.h"
#include "pack.h"
#include "space/space.h"
#include "store.h"
#include "tile.h"
#include "watch.h"

/* Private memory under a name, on this rank. */
struct ckpt_region {
    char name[RECTO_NAME_MAX + 1];
    bool present; /* protected now; else kept for what the last epoch holds */
    void *p;
    recto_type type;
    uint64_t count;
    recto_redistribute redistribute; /* NULL: none */
    void *argument;
    bool is_block; /* of a distributed array */
    struct ckpt_tile block;
    /* In the last epoch written or restored: */
    uint64_t uid; /* 0: not in it */
    uint64_t saved_bytes;
    XXH128_hash_t *hashes; /* of its pages, as on disk */
    struct ckpt_watch watch;
};

/* A segment in the last epoch written or restored. */
struct ckpt_known {
    uint32_t segment;
    uint64_t uid;
};

struct ckpt_state {
    bool started;
    bool restarted; /* recto_restart succeeded, or an epoch was written */
    char path[CKPT_PATH_MAX];
    uint64_t full_every;
    struct ckpt_keep keep;
    struct ckpt_packing packing;
    _Atomic int64_t epoch;
    int64_t chosen;          /* to restart from; RECTO_NEWEST */
    struct ckpt_dir dir;     /* every rank */
    struct ckpt_store store; /* rank 0 */
    const char *moving;      /* the name that the program redistributes now */
    struct ckpt_region **regions; /* ascending names */
    size_t nregions;
    struct ckpt_known *known;
    size_t nknown;
    _Atomic uint64_t checkpoints; /* these: recto_stats, by any thread */
    _Atomic uint64_t bytes;
    _Atomic uint64_t restart_bytes; /* read */
    uint64_t
        changed; /* bytes that a differential epoch would have had of mine, in
                         the place of the last one */
};

/* Protects `regions` and what they point to; held through the collective
 * calls. Taken after no other lock. */
extern pthread_mutex_t ckpt_mutex;
extern struct ckpt_state ckpt_state;

/* What this rank has to do for one object of an epoch. */
struct ckpt_part {
    struct ckpt_object *object;
    struct space_segment *segment; /* shared */
    struct ckpt_region *region; /* private, block; NULL: this rank has none */
    uint64_t bytes;             /* of the object; private: of this rank */
    uint64_t pages;
    uint64_t bytes_before; /* private: of lower ranks */
    uint64_t pages_before;
    uint64_t pages_all; /* of all ranks */
    /* Private: all of its pages; block: those of my piece. `hashes` are theirs. */
    uint64_t first;
    uint64_t count;
    bool moved;    /* private, of other ranks: the program redistributes it */
    char *staging; /* block: my piece */
    bool all;      /* every page of mine is written */
    /* Differential, shared: the marks collected, to be restored on failure. */
    struct base_runs dirty;
    struct base_runs mine; /* pages I write */
    uint64_t *before; /* of each of these runs: pages in the runs before it */
    uint64_t written; /* pages in all of them */
    /* Full, shared: bytes of mine that are not written, since a new file is zero
     * there. */
    uint64_t holes;
    /* Differential, all, shared: what of `mine` holds data; the rest is zero. */
    struct base_runs data;
    char *copy; /* private, concurrent: the pages I write, end to end */
    /* At a restart: the last stretch asked for, shared: pages [hole, hole_end) of the
     * domain's memory are holes, [hole_end, data_end) hold data. */
    uint64_t hole;
    uint64_t hole_end;
    uint64_t data_end;
    uint64_t entries_before; /* differential: of my parts before this */
    uint64_t *sums;          /* full: of the pages I write, ascending */
    uint64_t *piece_sums;    /* full, shared: of my piece's pages */
    size_t piece_bytes;
    XXH128_hash_t *hashes; /* private: as the epoch will hold them */
};

/* Is it stored by pages of the whole, not by ranks? */
static inline bool ckpt_part_shared(const struct ckpt_part *part)
{
    return part->object->kind == CKPT_SHARED;
}

/* What the chain is to become after an epoch that makes it too long (merge.h). */
struct ckpt_merge {
    bool due; /* the same on all ranks */
    uint64_t number;
    uint64_t volume; /* of the chain with the epoch */
    /* Rank 0: */
    bool sparse;              /* part of the file will be holes */
    struct ckpt_epoch epoch;  /* a full one, laid out in */
    struct ckpt_image *image; /* this; NULL: that failed */
};

/* One checkpoint, or the declared objects at a restart. */
struct ckpt_job {
    struct ckpt_epoch epoch;
    uint64_t first_new; /* uids from here on are new in this epoch */
    bool same_objects;  /* as in the epoch before */
    bool concurrent;    /* the program goes on meanwhile */
    bool lazy;          /* a restart: parts may come late (lazy.h) */
    bool local;         /* written to the nodes' own folders (level.h) */
    bool waits;         /* but not before its private memory is written */
    void (*private_written)(void); /* called then; NULL: nobody waits */
    uint64_t changed;              /* rank 0: in the last epoch, bytes */
    uint64_t volume;               /* bytes of its chain before it, and */
    uint64_t limit;                /* what is allowed; 0: any */
    struct ckpt_merge merge;
    uint64_t began;          /* base_now */
    uint64_t ended;          /* when it was on disk */
    struct ckpt_part *parts; /* epoch.nobjects */
    struct ckpt_io_file file;
    struct ckpt_image *image; /* rank 0: the file as laid out; may be NULL */
    char run[CKPT_UUID + 1];
    uint64_t written;        /* bytes of bulk extents by this rank */
    uint64_t holes;          /* of them, zeros that the new file has anyway */
    struct ckpt_piece *rows; /* mine, ascending uids */
    uint64_t nrows;
    uint64_t entries_before; /* differential: of lower ranks */
    uint64_t my_entries;
    struct { /* where the page log is in `file` */
        uint64_t pages_at;
        uint64_t index_at;
        uint64_t before; /* entries before mine */
    } log;
    struct ckpt_entry *entries; /* differential: mine */
    struct ckpt_block *blocks;  /* of these, in a packed log */
};
#define CKPT_JOB_NONE                                                          \
    {                                                                          \
        .file = {.fd = -1 }                                                    \
    }

/* ---- checkpoint.c --------------------------------------------------------------- */

/* Bytes of the epoch under way that are with the kernel. */
void ckpt_progress_add(uint64_t bytes);
/* Records in the trace a call that the program waited for; epoch -1: none. */
void ckpt_trace_call(enum trace_kind kind, uint64_t called, int status,
                     int64_t epoch, uint64_t bytes, const void *caller);

/* ---- region.c ------------------------------------------------------------------- */

struct ckpt_region *ckpt_region_find(const char *name);
/* The region's bytes now; of a block the whole array's. */
uint64_t ckpt_region_bytes(const struct ckpt_region *region);
/* Takes the state of an epoch: uid, size and hashes (owned from now on). */
void ckpt_region_adopt(struct ckpt_region *region, uint64_t uid, uint64_t bytes,
                       XXH128_hash_t *hashes);
/* Forgets the epoch's state of regions that are not in it, and regions that
 * are not protected any more. */
void ckpt_regions_settle(const struct ckpt_epoch *epoch);
void ckpt_regions_free(void);
XXH128_hash_t ckpt_region_hash(const void *page, size_t bytes);

/* ---- agree.c -------------------------------------------------------------------- */

/*
 * Makes the list of objects, the same on every rank: checkpointed segments and
 * the union of the ranks' protected names, with uids kept from the last epoch
 * where nothing but content can have changed. Collective. RECTO_EMISMATCH,
 * RECTO_EEXIST, RECTO_ENOMEM.
 */
int ckpt_agree(struct ckpt_job *job);
/* Makes job->parts: what this rank has under the names of the epoch's
 * objects, which are all declared. Local. */
int ckpt_parts_bind(struct ckpt_job *job);
void ckpt_job_free(struct ckpt_job *job);
/* Shares an epoch and its lists, as rank `root` has them. Collective. */
int ckpt_epoch_share(struct ckpt_epoch *epoch, int root);

/* ---- describe.c ----------------------------------------------------------------- */

/* Rank 0: the struct types of the program, all of them, so that their numbers are the
 * program's. RECTO_ENOMEM. */
int ckpt_structs_take(struct ckpt_epoch *epoch);
/* Rank 0: the attributes of the epoch's objects. RECTO_ENOMEM. */
int ckpt_attributes_take(struct ckpt_epoch *epoch);
void ckpt_attributes_free(void);

/* ---- collect.c ------------------------------------------------------------------ */

/* Which pages this rank writes; of a concurrent job the snapshot begins. Collective. */
int ckpt_collect(struct ckpt_job *job);
/* After a failure: gives the marks back. */
void ckpt_collect_undo(struct ckpt_job *job);

/* ---- pages.c -------------------------------------------------------------------- */

/* Appends a run of pages to a list (struct base_runs). RECTO_ENOMEM. */
int ckpt_runs_add(void *runs, uint64_t first, uint64_t count);
/* Appends a run to part->mine, cut to the part's size. RECTO_ENOMEM. */
int ckpt_part_add(struct ckpt_part *part, uint64_t first, uint64_t count);
/* When part->mine is complete: counts it. RECTO_ENOMEM. */
int ckpt_part_count(struct ckpt_part *part);
/* The first run of pages that I home at or after `from`, of a shared part: a heap's
 * segment is larger. False: none. */
bool ckpt_home_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count);
/* Did nobody ever touch the page? It is zero then, and to be left alone: reading it
 * would take memory. *stop: the end of pages alike, at most `end`. */
bool ckpt_part_hole(struct ckpt_part *part, uint64_t page, uint64_t end,
                    uint64_t *stop);
/* Where a page's bytes are, and how many belong to the object. */
const char *ckpt_part_page(const struct ckpt_part *part, uint64_t page,
                           size_t *bytes);

/* How a kind of epoch stores pages. `index`: of the page among those of the part that
 * I write. */
struct ckpt_format {
    uint64_t (*place)(const struct ckpt_job *job, const struct ckpt_part *part,
                      uint64_t page, uint64_t index);
    bool whole; /* a page takes 4096 bytes, whatever belongs to the object */
    /* Its copy, as it is written. */
    void (*note)(struct ckpt_job *job, struct ckpt_part *part, uint64_t page,
                 uint64_t index, const char *copy, size_t bytes);
    /* Pages that are zero in the file anyway; NULL: there are none among mine. */
    void (*empty)(struct ckpt_job *job, struct ckpt_part *part, uint64_t page,
                  uint64_t index, uint64_t count);
};

/* Writes all pages of mine, as they were at the collection. Local. */
int ckpt_pages_write(struct ckpt_job *job, const struct ckpt_format *format);
/* Gives the snapshot up: nobody waits for this rank any more. */
void ckpt_pages_abandon(const struct ckpt_job *job);

/* ---- layout.c ------------------------------------------------------------------- */

struct ckpt_image;

/* Has HDF5 set itself up, so that the first checkpoint need not wait for it. */
void ckpt_layout_init(void);
/* Lays the epoch's file out in the image: fills in offsets and length. In a
 * differential epoch `pieces` comes as the rows per rank and leaves as all. */
int ckpt_layout_create(struct ckpt_epoch *epoch, const char *run,
                       struct ckpt_image *image);
/* Lays out a file with the objects of a full epoch and nothing else. */
int ckpt_layout_plain(struct ckpt_epoch *epoch, struct ckpt_image *image);
/* Writes the image's metadata with the tables of pieces and, of a packed full epoch, of
 * chunks (else NULL) into the file, and sets epoch->meta. */
int ckpt_layout_write(struct ckpt_epoch *epoch, struct ckpt_image *image,
                      const struct ckpt_piece *pieces,
                      const struct ckpt_chunk *chunks,
                      struct ckpt_io_file *file);

/* ---- sink.c: pages on their way to the file -------------------------------------- */

struct ckpt_sink {
    struct ckpt_io_file *file;
    const char *label;
    char *buffer;
    size_t fill;
    uint64_t offset; /* of the buffer's first byte in the file */
    int status;      /* sticks; later pages are only copied */
    uint64_t written;
};

int ckpt_sink_open(struct ckpt_sink *sink, struct ckpt_io_file *file,
                   const char *label);
/* Room for a page at `offset`, of which up to CKPT_PAGE bytes may be stored; what is
 * given with ckpt_sink_add is written, or nothing. The bytes stay until the next
 * call: hashes of them are those of what is written. */
char *ckpt_sink_room(struct ckpt_sink *sink, uint64_t offset);
void ckpt_sink_add(struct ckpt_sink *sink, size_t bytes);
/* Bytes that are elsewhere, at most a block of them. */
void ckpt_sink_put(struct ckpt_sink *sink, const char *data, size_t bytes,
                   uint64_t offset);
int ckpt_sink_close(struct ckpt_sink *sink);

/* ---- blocks.c: pages on their way into a packed log ------------------------------- */

struct ckpt_blocks {
    struct ckpt_packer packer;
    struct ckpt_sink out;
    struct ckpt_block *rows; /* of my pages, by slot */
    uint64_t base;           /* of the log's pages in the file */
    uint64_t at;             /* the next block, from there */
};

/* The pages of the block to come; several may be in the making. */
struct ckpt_block_pages {
    struct ckpt_blocks *blocks;
    char *data;
    unsigned count;
    unsigned element;
    uint64_t slots[CKPT_BLOCK_PAGES];
};

int ckpt_blocks_open(struct ckpt_blocks *blocks, struct ckpt_job *job);
int ckpt_blocks_close(struct ckpt_blocks *blocks);
int ckpt_block_open(struct ckpt_block_pages *pages, struct ckpt_blocks *blocks);
/* Room for a page of elements of so many bytes, which ckpt_block_add makes one of the
 * log, the one of that slot among mine. The bytes stay until the next call. */
char *ckpt_block_room(struct ckpt_block_pages *pages, unsigned element);
void ckpt_block_add(struct ckpt_block_pages *pages, uint64_t slot);
void ckpt_block_close(struct ckpt_block_pages *pages);

/* ---- full.c, log.c --------------------------------------------------------------- */

/* Write this rank's share of the file and fill job->rows. Collective; the
 * status is this rank's own. */
int ckpt_full_write(struct ckpt_job *job);
int ckpt_log_write(struct ckpt_job *job);
/* Reads this rank's share of a full epoch back from the disk. Local. */
int ckpt_full_verify(struct ckpt_job *job);

/* ---- file.c ----------------------------------------------------------------------- */

/* Offsets of the epoch's file, if it has one. Collective, one verdict; in the program's
 * thread. */
int ckpt_job_lay_out(struct ckpt_job *job);
/* Rank 0 makes the epoch's file, all ranks open it. Collective, one verdict. */
int ckpt_job_file_open(struct ckpt_job *job);
/* Rank 0 gets the table of pieces, sorted by (uid, rank); free() it. Collective, one
 * verdict but for MPI's errors. */
int ckpt_job_rows_gather(const struct ckpt_job *job,
                         struct ckpt_piece **sorted);
/* Rank 0: the table of pieces and the metadata into the file. */
int ckpt_job_file_finish(struct ckpt_job *job, const struct ckpt_piece *pieces);
void ckpt_image_drop(struct ckpt_image *image); /* NULL is fine */
/* All of a full or differential epoch into its file. Collective, one verdict. */
int ckpt_job_file_write(struct ckpt_job *job);
/* Reads the metadata back. Local. */
int ckpt_job_meta_verify(const struct ckpt_job *job);
/* Reads this rank's share of a full epoch back, rank 0 the metadata as well. Local. */
int ckpt_job_file_verify(struct ckpt_job *job);

/* ---- checkpoint.c ---------------------------------------------------------------- */

/* Opens this rank's ckpt_state.dir, which rank 0 has. Local. */
int ckpt_dir_join(void);

/* From the layout to the commit, of a job that was agreed and collected. Collective, one
 * verdict. */
int ckpt_epoch_write(struct ckpt_job *job);
/* After the commit: reads a full epoch back, then older ones go. Collective, one verdict:
 * an epoch that reads back wrong does not count. */
int ckpt_epoch_verify(struct ckpt_job *job);
/* What came of it takes effect: the epoch's state, or the marks are given back; frees the
 * job. Takes `known` over. */
void ckpt_job_end(struct ckpt_job *job, struct ckpt_known *known, int status);

/* Opens a collective call: all ranks meet, what this one wrote is home, nobody is inside
 * the heap, no checkpoint is under way. 0, `mine` of some rank, or how the checkpoint
 * under way ended; heap_go() in any case afterwards. */
int ckpt_meet(enum net_call call, const char *text, int mine);

/* The epoch takes effect: what it holds is what the next one builds on.
 * `known` has room for its objects and belongs to the state afterwards. */
void ckpt_settle(struct ckpt_job *job, struct ckpt_known *known);

/* ---- moved.c --------------------------------------------------------------------- */

/* Is it private memory of another number of ranks, for which the program has a function
 * here? */
bool ckpt_moved(const struct ckpt_object *o, const struct ckpt_epoch *e);

/* ---- load.c ---------------------------------------------------------------------- */

/*
 * Restores epoch `index` of the manifest, whose copy is job->epoch, into the
 * parts of `job`. Collective, one verdict; on failure shared memory may hold
 * parts of it (*touched), private memory is as it was. RECTO_ECHANGED when
 * this rank's private sizes differ, before anything is touched.
 */
int ckpt_load(struct ckpt_job *job, const struct ckpt_manifest *manifest,
              uint64_t index, bool *touched);

#endif
