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
#include "format.h"
#include "io.h"
#include "space/space.h"
#include "store.h"

/* Private memory under a name, on this rank. */
struct ckpt_region {
    char name[RECTO_NAME_MAX + 1];
    bool present; /* protected now; else kept for what the last epoch holds */
    void *p;
    recto_type type;
    uint64_t count;
    /* In the last epoch written or restored: */
    uint64_t uid; /* 0: not in it */
    uint64_t saved_bytes;
    recto_type saved_type;
    XXH128_hash_t *hashes; /* of its pages, as on disk */
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
    int64_t epoch;
    struct ckpt_dir dir;          /* every rank */
    struct ckpt_store store;      /* rank 0 */
    struct ckpt_region **regions; /* ascending names */
    size_t nregions;
    struct ckpt_known *known;
    size_t nknown;
    uint64_t checkpoints;
    uint64_t bytes;
};

/* Protects `regions` and what they point to; held through the collective
 * calls. Taken after no other lock. */
extern pthread_mutex_t ckpt_mutex;
extern struct ckpt_state ckpt_state;

/* What this rank has to do for one object of an epoch. */
struct ckpt_part {
    struct ckpt_object *object;
    struct space_segment *segment; /* shared */
    struct ckpt_region *region;    /* private; NULL: this rank has none */
    uint64_t bytes;                /* of the object; private: of this rank */
    uint64_t pages;
    uint64_t bytes_before; /* private: of lower ranks */
    uint64_t pages_before;
    bool all; /* every page of mine is written */
    /* Pages to write, unless all; shared: the marks collected, to be restored on
     * failure. */
    struct base_runs dirty;
    uint64_t mine; /* pages I write */
    /* The last stretch asked for, shared: pages [hole, data) of the domain's
     * memory are holes, [data, data_end) hold data. */
    uint64_t hole;
    uint64_t data;
    uint64_t data_end;
    uint64_t *sums;        /* full: of the pages I write, ascending */
    uint64_t *piece_sums;  /* full, shared: of my piece's pages */
    XXH128_hash_t *hashes; /* private: as the epoch will hold them */
};

/* One checkpoint, or the declared objects at a restart. */
struct ckpt_job {
    struct ckpt_epoch epoch;
    uint64_t first_new;      /* uids from here on are new in this epoch */
    bool same_objects;       /* as in the epoch before */
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
};
#define CKPT_JOB_NONE                                                          \
    {                                                                          \
        .file = {.fd = -1 }                                                    \
    }

/* ---- region.c ------------------------------------------------------------------- */

struct ckpt_region *ckpt_region_find(const char *name);
/* The region's bytes now. */
uint64_t ckpt_region_bytes(const struct ckpt_region *region);
/* Takes the state of an epoch: uid, size and hashes (owned from now on). */
void ckpt_region_adopt(struct ckpt_region *region, uint64_t uid,
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
/* Shares job->epoch and its objects, as rank 0 has them. Collective. */
int ckpt_epoch_share(struct ckpt_epoch *epoch);

/* ---- collect.c ------------------------------------------------------------------ */

/* Which pages this rank writes. Collective. */
int ckpt_collect(struct ckpt_job *job);
/* After a failure: gives the marks back. */
void ckpt_collect_undo(struct ckpt_job *job);
/* The first run of pages that I write at or after `from`; false: none. */
bool ckpt_part_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count);
/* The same for pages that I home, of a shared part: a heap's segment is larger. */
bool ckpt_home_run(const struct ckpt_part *part, uint64_t from, uint64_t *first,
                   uint64_t *count);
/* Did nobody ever touch the page? It is zero then, and to be left alone: reading it
 * would take memory. *stop: the end of pages alike, at most `end`. */
bool ckpt_part_hole(struct ckpt_part *part, uint64_t page, uint64_t end,
                    uint64_t *stop);
/* Where a page's bytes are, and how many belong to the object. */
const char *ckpt_part_page(const struct ckpt_part *part, uint64_t page,
                           size_t *bytes);

/* ---- layout.c ------------------------------------------------------------------- */

struct ckpt_image;

/* Lays the epoch's file out in the image: fills in offsets and length. In a
 * differential epoch `pieces` comes as the rows per rank and leaves as all. */
int ckpt_layout_create(struct ckpt_epoch *epoch, const char *run,
                       struct ckpt_image *image);
/* Writes the image's metadata with the table of pieces into the file, and
 * sets epoch->meta. */
int ckpt_layout_write(struct ckpt_epoch *epoch, struct ckpt_image *image,
                      const struct ckpt_piece *pieces,
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
/* Takes `bytes` of a page for `offset`, zeros up to `room`; returns the copy,
 * valid until the next call, whose hashes are those of what is written. */
const char *ckpt_sink_page(struct ckpt_sink *sink, uint64_t offset,
                           const char *data, size_t bytes, size_t room);
int ckpt_sink_close(struct ckpt_sink *sink);

/* ---- full.c, log.c --------------------------------------------------------------- */

/* Write this rank's share of the file and fill job->rows. Collective; the
 * status is this rank's own. */
int ckpt_full_write(struct ckpt_job *job);
int ckpt_log_write(struct ckpt_job *job);
/* Reads this rank's share of a full epoch back from the disk. Local. */
int ckpt_full_verify(struct ckpt_job *job);

/* ---- checkpoint.c ---------------------------------------------------------------- */

/* Opens this rank's ckpt_state.dir, which rank 0 has. Local. */
int ckpt_dir_join(void);

/* The epoch takes effect: what it holds is what the next one builds on.
 * `known` has room for its objects and belongs to the state afterwards. */
void ckpt_settle(struct ckpt_job *job, struct ckpt_known *known);

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
