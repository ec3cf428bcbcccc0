/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RECTO_RESTART=lazy: recto_restart returns when private memory, blocks, the heap and
 * sequential memory are loaded. The rest of shared memory a thread of each rank, the
 * loader, reads into the pages that the rank homes: what somebody has asked for
 * (space/lazy.h) first, then from the lowest page on.
 *
 * Invariants
 * 1. The loader calls neither MPI nor malloc and takes no lock, so that whoever waits
 *    for it may hold any.
 * 2. A page is compared with its sum before it is present. One that the sum says is zero
 *    is not read, where memory is a hole, once the sums of its piece of the full epoch
 *    have been compared with their checksum, which is done, a little at a time, before
 *    what nobody has asked for is loaded. Metadata and indexes are checked before recto_restart returns.
 * 3. Damage or an error ends the job: it cannot be undone. A file in the folder (the
 *    *mark*) has the next restart load everything before the program goes on, whatever
 *    RECTO_RESTART says, and so find an older epoch if need be. The mark goes with the
 *    next commit.
 * 4. While pages come late no checkpoint begins, and nothing is freed, moved or
 *    recovered: all of these wait for the loaders first. So the files, the homes and the
 *    marks of writes stay.
 */
#include "lazy.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base.h"
#include "space/lazy.h"

#define MARK "lazy.damaged"

enum {
    ASKED = 32, /* pages loaded with one that somebody waits for */
    SWEPT = 64, /* between two looks at what was asked for */
    SUMS = 8192 /* the same */
};

static struct {
    bool held;    /* a chain */
    bool loading; /* the loader has begun; the same on all ranks */
    bool threaded;
    pthread_t thread;
    struct ckpt_chain chain;
    struct ckpt_job job;
    struct ckpt_manifest *manifest; /* what the chain's epochs are in */
    bool *checked; /* by row of the full epoch's table: its sums are good */
    XXH3_state_t *hash;
} lazy;

/* ---- whether ----------------------------------------------------------------------- */

int ckpt_lazy_init(void)
{
    unsigned choice = 0;
    return base_env_choice(BASE_ENV_RESTART, &choice);
}

const char *ckpt_lazy_text(void)
{
    return space_lazy_wanted() ? "recto_restart, lazily" : "recto_restart";
}

static bool is_marked(void)
{
    struct ckpt_io_file file;
    int status =
        ckpt_io_open(&file, &ckpt_state.store.dir, MARK, O_RDONLY, "read");
    if (status == 0) {
        ckpt_io_close(&file);
    }
    return status != RECTO_ENOENT;
}

/* All rights go, those of pinned pages too. */
static int pins_check(void)
{
    struct space_segment *s = space_segment_first();
    for (; s != NULL; s = s->next) {
        if (atomic_load_explicit(&s->pins, memory_order_relaxed) > 0) {
            return base_error(RECTO_ESTATE,
                              "recto_restart with %s=lazy: pages of \"%s\" are "
                              "pinned, or lent to an MPI call that has not "
                              "ended: unpin or wait first",
                              base_env_name(BASE_ENV_RESTART), s->name);
        }
    }
    return 0;
}

int ckpt_lazy_decide(bool *wanted)
{
    bool marked = net_rank() == 0 && is_marked();
    int status = marked ? ckpt_store_doom(&ckpt_state.store, MARK) : 0;
    *wanted = space_lazy_wanted();
    if (!*wanted) {
        return 0; /* the mark may stay: the others do not ask */
    }
    if (marked) {
        base_warn("%s: a lazy restart found damage: this one loads everything "
                  "before the program goes on",
                  ckpt_state.path);
        *wanted = false;
    }
    status = net_verdict(status == 0 ? pins_check() : status);
    return status == 0 ? net_bcast(wanted, sizeof *wanted, 0) : status;
}

/* ---- what is held ------------------------------------------------------------------- */

static bool any_packed(const struct ckpt_chain *chain)
{
    bool any = false;
    for (size_t i = 0; i < chain->nfiles; i++) {
        any = any || chain->files[i].epoch->packed;
    }
    return any;
}

static bool any_late(const struct ckpt_job *job)
{
    bool any = false;
    for (uint64_t i = 0; i < job->epoch.nobjects; i++) {
        any = any || ckpt_lazy_part(job, &job->parts[i]);
    }
    return any;
}

int ckpt_lazy_hold(struct load *l)
{
    if (!any_late(l->job)) {
        return 0;
    }
    lazy.checked = calloc(l->chain.files[0].npieces + 1, sizeof *lazy.checked);
    lazy.hash = XXH3_createState();
    lazy.chain = l->chain;
    l->chain = (struct ckpt_chain){.nfiles = 0};
    lazy.held = true;
    if (lazy.checked == NULL || lazy.hash == NULL) {
        return base_error(RECTO_ENOMEM, "page sums");
    }
    return any_packed(&lazy.chain)
               ? ckpt_unpacking_reserve(&lazy.chain.unpacking)
               : 0;
}

static void chain_drop(void)
{
    if (!lazy.held) {
        return;
    }
    ckpt_chain_close(&lazy.chain);
    free(lazy.checked);
    (void)XXH3_freeState(lazy.hash);
    lazy.checked = NULL;
    lazy.hash = NULL;
    lazy.held = false;
}

void ckpt_lazy_drop(void)
{
    for (struct space_segment *s = space_segment_first(); s != NULL;
         s = s->next) {
        if (s->lazy) {
            space_lazy_end(s);
        }
    }
    chain_drop();
}

struct ckpt_manifest *ckpt_lazy_keep(struct ckpt_manifest *manifest)
{
    if (!lazy.loading) {
        return manifest;
    }
    lazy.manifest = manifest;
    return NULL;
}

/* ---- the loader ------------------------------------------------------------------------ */

static void mark_write(const char *text)
{
    struct ckpt_io_file file;
    int status = ckpt_io_open(&file, &ckpt_state.dir, MARK,
                              O_WRONLY | O_CREAT | O_TRUNC, "mark-open");
    if (status == 0) {
        status = ckpt_io_write(&file, text, strlen(text), 0, "mark-write");
        status = status == 0 ? ckpt_io_sync(&file, "mark-sync") : status;
        ckpt_io_close(&file);
    }
    if (status == 0) {
        status = ckpt_io_dir_sync(&ckpt_state.dir, "mark-dir");
    }
    if (status != 0) {
        base_error_print();
    }
}

static _Noreturn void fail(void)
{
    char message[512];
    (void)snprintf(message, sizeof message, "%s", recto_last_error());
    mark_write(message);
    base_fatal("%s; found while the program runs (%s=lazy): start it again, "
               "which reads all memory before the program goes on, from an "
               "older epoch if it must",
               message, base_env_name(BASE_ENV_RESTART));
}

/* Which of n pieces of an object of `pages` pages has a page. */
static uint64_t piece_of(uint64_t pages, uint64_t page, uint64_t n)
{
    uint64_t low = 0;
    uint64_t high = n;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (ckpt_piece_first(pages, middle, n) <= page) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Does the full epoch hold zeros there? */
static bool reads_zero(const struct ckpt_object *o, uint64_t page)
{
    char data[CKPT_PAGE];
    size_t bytes = ckpt_page_bytes(o->bytes, page);
    return ckpt_file_data_read(&lazy.chain.files[0], &lazy.chain.unpacking, o,
                               page * CKPT_PAGE, bytes, data) == 0 &&
           ckpt_is_zero(data, bytes);
}

/* May a sum be believed that says a page is zero? */
static bool zero_checked(const struct ckpt_part *part, uint64_t page)
{
    const struct ckpt_file *full = &lazy.chain.files[0];
    const struct ckpt_object *o =
        ckpt_epoch_object(full->epoch, part->object->uid);
    if (o == NULL) {
        return true; /* it is in a log */
    }
    uint64_t ranks = full->epoch->ranks;
    const struct ckpt_piece *row = ckpt_file_piece(
        full, o->uid, piece_of(ckpt_pages(o->bytes), page, ranks));
    return lazy.checked[row - full->pieces] || reads_zero(o, page);
}

/* Is the page's memory one that nobody ever touched? */
static bool is_hole(void *part, uint64_t page)
{
    uint64_t stop = 0;
    return ckpt_part_hole(part, page, page + 1, &stop) &&
           zero_checked(part, page);
}

static void run_load(struct ckpt_part *part, uint64_t first, uint64_t end)
{
    const struct ckpt_range range = {.object = part->object,
                                     .rank = CKPT_NO_RANK,
                                     .bytes = part->bytes,
                                     .is_zero = is_hole,
                                     .argument = part};
    if (ckpt_chain_read(&lazy.chain, &range, first, end - first,
                        space_verso(part->segment, first)) != 0) {
        fail();
    }
    space_lazy_arrive(part->segment, first, end - first);
}

/* Of pages [first, end), which I home, those that are not here. */
static void missing_load(struct ckpt_part *part, uint64_t first, uint64_t end)
{
    for (uint64_t page = first; page < end;) {
        bool here = space_lazy_present(part->segment, page);
        uint64_t stop = page + 1;
        while (stop < end && space_lazy_present(part->segment, stop) == here) {
            stop++;
        }
        if (!here) {
            run_load(part, page, stop);
        }
        page = stop;
    }
}

static void asked_load(void)
{
    for (uint64_t i = 0; i < lazy.job.epoch.nobjects; i++) {
        struct ckpt_part *part = &lazy.job.parts[i];
        uint64_t page = 0;
        uint64_t first = 0;
        uint64_t count = 0;
        while (ckpt_lazy_part(&lazy.job, part) &&
               space_lazy_take(part->segment, &page) &&
               ckpt_home_run(part, page, &first, &count)) {
            missing_load(part, page, page + (count < ASKED ? count : ASKED));
            page++;
        }
    }
}

/* Compares the sums of a row, and meanwhile loads what is asked for. */
static void row_check(const struct ckpt_object *o, const struct ckpt_piece *row)
{
    static uint64_t sums[SUMS];
    const struct ckpt_file *full = &lazy.chain.files[0];
    int status = 0;
    (void)XXH3_64bits_reset(lazy.hash);
    for (uint64_t done = 0; done < row->sums && status == 0; done += SUMS) {
        uint64_t n = row->sums - done < SUMS ? row->sums - done : SUMS;
        status = ckpt_io_read(&full->io, sums, n * sizeof *sums,
                              o->sums + (row->first_sum + done) * sizeof *sums);
        (void)XXH3_64bits_update(lazy.hash, sums, n * sizeof *sums);
        asked_load();
    }
    if (status == 0 && XXH3_64bits_digest(lazy.hash) != row->hash) {
        status = ckpt_file_sums_damaged(full, o, row);
    }
    if (status != 0) {
        fail();
    }
    lazy.checked[row - full->pieces] = true;
}

/* Those that the sums of pages [first, end) are in. */
static void rows_check(const struct ckpt_part *part, uint64_t first,
                       uint64_t end)
{
    const struct ckpt_file *full = &lazy.chain.files[0];
    const struct ckpt_epoch *e = full->epoch;
    const struct ckpt_object *o = ckpt_epoch_object(e, part->object->uid);
    uint64_t pages = o != NULL ? ckpt_pages(o->bytes) : 0;
    uint64_t k = o != NULL ? piece_of(pages, first, e->ranks) : e->ranks;
    for (; k < e->ranks && ckpt_piece_first(pages, k, e->ranks) < end; k++) {
        const struct ckpt_piece *row = ckpt_file_piece(full, o->uid, k);
        if (!lazy.checked[row - full->pieces]) {
            row_check(o, row);
        }
    }
}

static void part_sweep(struct ckpt_part *part)
{
    uint64_t first = 0;
    uint64_t count = 0;
    while (ckpt_home_run(part, first + count, &first, &count)) {
        for (uint64_t done = 0; done < count; done += SWEPT) {
            uint64_t n = count - done < SWEPT ? count - done : SWEPT;
            asked_load();
            rows_check(part, first + done, first + done + n);
            missing_load(part, first + done, first + done + n);
        }
    }
}

static void *load_all(void *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < lazy.job.epoch.nobjects; i++) {
        if (ckpt_lazy_part(&lazy.job, &lazy.job.parts[i])) {
            part_sweep(&lazy.job.parts[i]);
        }
    }
    return NULL;
}

/* ---- its life ---------------------------------------------------------------------------- */

static void segments_each(void (*visit)(struct space_segment *))
{
    for (uint64_t i = 0; i < lazy.job.epoch.nobjects; i++) {
        if (ckpt_lazy_part(&lazy.job, &lazy.job.parts[i])) {
            visit(lazy.job.parts[i].segment);
        }
    }
}

int ckpt_lazy_start(struct ckpt_job *job)
{
    sigset_t all;
    sigset_t before;
    if (!lazy.held) {
        return 0;
    }
    lazy.job = *job;
    *job = (struct ckpt_job)CKPT_JOB_NONE;
    lazy.loading = true;
    segments_each(space_lazy_start);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    lazy.threaded = pthread_create(&lazy.thread, NULL, load_all, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!lazy.threaded) {
        (void)load_all(NULL); /* no thread to be had: as if it were eager */
    }
    return net_verdict(0); /* no rank goes on before all look */
}

void ckpt_lazy_land(void)
{
    if (!lazy.loading) {
        return;
    }
    if (lazy.threaded) {
        (void)pthread_join(lazy.thread, NULL);
    }
    (void)net_verdict(0); /* all ranks have all */
    segments_each(space_lazy_end);
    ckpt_job_free(&lazy.job);
    chain_drop();
    ckpt_manifest_free(lazy.manifest);
    lazy.manifest = NULL;
    lazy.loading = false;
}
