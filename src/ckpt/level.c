/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Level 1: a differential epoch as one file, its share, in each node's own folder.
 *
 *   write    the node's ranks: pages and index at their places; fsync; verdict
 *            the node's leader: the end of the share, fsync; verdict
 *   commit   leaders: rename, fsync of the folder; verdict
 *   deeper   copies, parity, the shared folder: of all pending epochs that lack them
 *
 * Invariants
 * 1. A share has its name only after all shares of the epoch are on their disks. So an
 *    epoch exists when all of its shares can be had or rebuilt, with no manifest
 *    beside them: each says of which epoch it is, and on which that builds. What is
 *    half renamed is then whole, or is nothing.
 * 2. All ranks have the same list of pending epochs: those that were committed and are
 *    not in the shared folder. Their files go when a newer epoch is there.
 * 3. A deeper level is made of all pending epochs or it promises nothing: they form one
 *    chain. What failed stays marked as lacking and is made up for the next time.
 */
#include "level.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "reader.h"

struct ckpt_level_state ckpt_level = {.dir = {.fd = -1}};

/* ---- settings, nodes ----------------------------------------------------------------- */

int ckpt_level_init(void)
{
    const char *folder = base_env(BASE_ENV_CKPT_LOCAL);
    memset(&ckpt_level, 0, sizeof ckpt_level);
    ckpt_level.dir.fd = -1;
    ckpt_level.inbox.fd = -1;
    ckpt_level.on = folder[0] != '\0';
    ckpt_level.per_domain = strstr(folder, "%d") != NULL;
    return ckpt_levels_read(base_env(BASE_ENV_CKPT_LEVELS),
                            base_env(BASE_ENV_CKPT_SET), &ckpt_level.levels);
}

static void pending_clear(struct ckpt_pending *p)
{
    ckpt_epoch_clear(&p->epoch);
    ckpt_image_drop(p->image);
}

void ckpt_level_finalize(void)
{
    /* The nodes may be another job's soon. */
    if (ckpt_level.levels.every[CKPT_LEVEL_SHARED] > 0 &&
        ckpt_level_flush() != 0) {
        base_error_print();
    }
    for (size_t i = 0; i < ckpt_level.npending; i++) {
        pending_clear(&ckpt_level.pending[i]);
    }
    if (net_window_free(ckpt_level.window) != 0) {
        base_error_print();
    }
    net_memory_free(&ckpt_level.inbox);
    free(ckpt_level.pending);
    free(ckpt_level.leaders);
    ckpt_io_dir_close(&ckpt_level.dir);
    memset(&ckpt_level, 0, sizeof ckpt_level);
    ckpt_level.dir.fd = -1;
}

bool ckpt_level_on(void)
{
    return ckpt_level.on;
}

/* The lowest rank of the rank's node. */
static int leader_of(int rank)
{
    return ckpt_level.per_domain ? net_domain_leader(net_domain_of(rank))
                                 : net_machine_of(rank);
}

static int nodes_find(void)
{
    unsigned n = 0;
    int mine = leader_of(net_rank());
    ckpt_level.leaders = calloc((size_t)net_size(), sizeof *ckpt_level.leaders);
    if (ckpt_level.leaders == NULL) {
        return base_error(RECTO_ENOMEM, "list of nodes");
    }
    for (int r = 0; r < net_size(); r++) {
        if (leader_of(r) == r) {
            ckpt_level.node = r == mine ? n : ckpt_level.node;
            ckpt_level.leaders[n++] = r;
        }
    }
    ckpt_level.ring =
        (struct ckpt_ring){n, ckpt_level.levels.data, ckpt_level.levels.parity};
    return n <= CKPT_NODES_MAX
               ? 0
               : base_error(
                     RECTO_EINVAL,
                     "%s: %u nodes, %d are possible; take fewer nodes, or "
                     "unset it",
                     base_env_name(BASE_ENV_CKPT_LOCAL), n, CKPT_NODES_MAX);
}

/* The folder's name, with the domain's number for %d. */
static int folder_open(bool create)
{
    char path[CKPT_PATH_MAX];
    const char *text = base_env(BASE_ENV_CKPT_LOCAL);
    const char *at = strstr(text, "%d");
    int before = at != NULL ? (int)(at - text) : (int)strlen(text);
    int n = at != NULL ? snprintf(path, sizeof path, "%.*s%d%s", before, text,
                                  net_domain(), at + 2)
                       : snprintf(path, sizeof path, "%s", text);
    if (n < 0 || (size_t)n >= sizeof path) {
        return base_error(RECTO_EINVAL, "%s: name too long; give a shorter one",
                          base_env_name(BASE_ENV_CKPT_LOCAL));
    }
    int status = ckpt_io_dir_open(&ckpt_level.dir, path, create);
    return status == RECTO_ENOENT
               ? base_error(RECTO_EIO,
                            "%s, which rank %d of this node has, is not seen "
                            "here; all ranks of a node must see one folder",
                            path, ckpt_level.leaders[ckpt_level.node])
               : status;
}

int ckpt_level_open(void)
{
    if (ckpt_level.dir.fd >= 0) {
        return net_verdict(0);
    }
    int status = ckpt_level.leaders == NULL ? nodes_find() : 0;
    status = net_verdict(status);
    if (status == 0) {
        status = net_verdict(ckpt_level_leads() ? folder_open(true) : 0);
    }
    if (status == 0) {
        status = net_verdict(ckpt_level_leads() ? 0 : folder_open(false));
    }
    return status;
}

/* The inbox that partners and sets put into. */
static int inbox_create(void)
{
    bool wanted = ckpt_level.levels.every[CKPT_LEVEL_PARTNER] > 0 ||
                  ckpt_level.levels.every[CKPT_LEVEL_SET] > 0;
    if (!wanted || ckpt_level.ring.nodes < 2 ||
        ckpt_level.inbox.views != NULL) {
        return 0;
    }
    int status = net_memory_create(&ckpt_level.inbox, "levels",
                                   2 * (size_t)CKPT_LEVEL_HALF);
    return status == 0 ? net_window_create(ckpt_level.inbox.views[net_rank()],
                                           2 * (uint64_t)CKPT_LEVEL_HALF,
                                           &ckpt_level.window)
                       : status;
}

int ckpt_level_prepare(void)
{
    if (!ckpt_level.on || ckpt_level.ready) {
        return 0;
    }
    int status = ckpt_level_open();
    if (status == 0) {
        status = inbox_create();
    }
    if (status == 0 && net_rank() == 0) {
        memcpy(ckpt_level.run, ckpt_state.store.manifest->run,
               sizeof ckpt_level.run);
    }
    if (status == 0) {
        status = net_bcast(ckpt_level.run, sizeof ckpt_level.run, 0);
    }
    if (status == 0 && ckpt_level_leads()) {
        ckpt_level_clean();
    }
    ckpt_level.ready = status == 0;
    return status;
}

/* ---- files of my node -------------------------------------------------------------------- */

static bool is_pending(const char *name)
{
    unsigned long long number = 0;
    if (sscanf(name, "l%llu-", &number) != 1) { /* NOLINT(cert-err34-c) */
        return false;
    }
    for (size_t i = 0; i < ckpt_level.npending; i++) {
        const struct ckpt_pending *p = &ckpt_level.pending[i];
        const char *uuid = strchr(name, '-');
        if (p->number == number && uuid != NULL &&
            strncmp(uuid + 1, p->uuid, 8) == 0) {
            return true;
        }
    }
    return false;
}

static int clean_one(const char *name, void *argument)
{
    enum ckpt_piece_kind kind;
    (void)argument;
    if (ckpt_share_named(name, ckpt_level.run, &kind) &&
        (kind == CKPT_PIECE_KINDS || !is_pending(name)) &&
        ckpt_io_unlink(&ckpt_level.dir, name, "unlink-local") != 0) {
        base_error_print();
    }
    return 0;
}

void ckpt_level_clean(void)
{
    if (ckpt_folder_scan(&ckpt_level.dir, clean_one, NULL) != 0) {
        base_error_print();
    }
}

int ckpt_level_name_file(struct ckpt_io_file *file, const char *name,
                         const char *sync, const char *rename,
                         const char *folder)
{
    char temporary[CKPT_FILE_NAME_MAX + 1];
    memcpy(temporary, file->name, sizeof temporary);
    int status = ckpt_io_sync(file, sync);
    ckpt_io_close(file);
    if (status == 0) {
        status = ckpt_io_rename(&ckpt_level.dir, temporary, name, rename);
    }
    return status == 0 ? ckpt_io_dir_sync(&ckpt_level.dir, folder) : status;
}

/* ---- writing a share ------------------------------------------------------------------------ */

static void names_of(const struct ckpt_epoch *e, char *name, char *temporary)
{
    ckpt_share_name(ckpt_level.run, e->number, e->uuid, CKPT_PIECE_SHARE,
                    ckpt_level.node, name);
    ckpt_share_temporary(name, temporary);
}

/* What the writing of a share needs at each rank. */
struct share_writer {
    struct ckpt_job *job;
    uint64_t *entries; /* of each rank */
    uint64_t pages;    /* of the node */
    /* leader: */
    struct ckpt_writer *writers;
    uint64_t nwriters;
    struct ckpt_piece *rows;
    uint64_t *filled; /* rows of each writer that are here */
};

/* Places of the node's ranks in its file. */
static int places_find(struct share_writer *w)
{
    uint64_t n = 0;
    size_t ranks = (size_t)net_size();
    w->entries = calloc(ranks, sizeof *w->entries);
    w->writers = calloc(ranks, sizeof *w->writers);
    w->filled = calloc(ranks, sizeof *w->filled);
    bool there = w->entries != NULL && w->writers != NULL && w->filled != NULL;
    int status =
        net_verdict(there ? 0 : base_error(RECTO_ENOMEM, "list of writers"));
    if (status == 0) {
        status = net_allgather(&w->job->my_entries, sizeof n, w->entries);
    }
    for (int r = 0; r < net_size() && status == 0; r++) {
        if (leader_of(r) == ckpt_level.leaders[ckpt_level.node]) {
            w->job->log.before =
                r == net_rank() ? w->pages : w->job->log.before;
            w->writers[w->nwriters++] =
                (struct ckpt_writer){(uint64_t)r, w->pages, w->entries[r]};
            w->pages += w->entries[r];
        }
    }
    w->job->log.pages_at = 0;
    w->job->log.index_at = w->pages * CKPT_PAGE;
    return status;
}

static int share_create(struct share_writer *w)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    names_of(&w->job->epoch, name, temporary);
    int status = 0;
    if (ckpt_level_leads()) {
        status = ckpt_io_open(&w->job->file, &ckpt_level.dir, temporary,
                              O_RDWR | O_CREAT | O_EXCL, "local-open");
        if (status == 0) {
            status = ckpt_io_allocate(
                &w->job->file,
                w->pages * (CKPT_PAGE + sizeof(struct ckpt_entry)), true,
                "local-allocate");
        }
    }
    status = net_verdict(status);
    if (status == 0 && !ckpt_level_leads()) {
        status = ckpt_io_open(&w->job->file, &ckpt_level.dir, temporary, O_RDWR,
                              "local-open");
        status =
            status == RECTO_ENOENT
                ? base_error(
                      RECTO_EIO,
                      "%s/%s is gone; nobody may clean it while a job runs",
                      ckpt_level.dir.path, temporary)
                : status;
    }
    return net_verdict(status);
}

static int rows_take(void *argument, const void *data, size_t bytes)
{
    struct share_writer *w = argument;
    const struct ckpt_piece *rows = data;
    for (size_t i = 0; i < bytes / sizeof *rows; i++) {
        for (uint64_t k = 0; k < w->nwriters; k++) {
            if (w->writers[k].rank == rows[i].rank) {
                w->rows[k * w->job->nrows + w->filled[k]++] = rows[i];
            }
        }
    }
    return 0;
}

/* The leader gets the rows of its node's ranks. Collective. */
static int rows_gather(struct share_writer *w)
{
    struct net_parcels parcels = {0};
    const struct ckpt_job *job = w->job;
    w->rows = calloc(w->nwriters * job->nrows + 1, sizeof *w->rows);
    int status = w->rows != NULL ? 0 : base_error(RECTO_ENOMEM, "rows");
    for (uint64_t i = 0; i < job->nrows && status == 0; i++) {
        status = net_parcels_add(&parcels, ckpt_level.leaders[ckpt_level.node],
                                 &job->rows[i], sizeof *job->rows);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_exchange(parcels.items, parcels.count, rows_take, w);
    }
    free(parcels.items);
    return net_verdict(status);
}

/* Leader: what follows the index. */
static int end_write(const struct share_writer *w, struct ckpt_share_head *head)
{
    size_t list = (size_t)w->nwriters * sizeof *w->writers;
    size_t rows = (size_t)(w->nwriters * w->job->nrows) * sizeof *w->rows;
    char *more = malloc(list + rows + 1);
    if (more == NULL) {
        return base_error(RECTO_ENOMEM, "end of a share");
    }
    memcpy(more, w->writers, list);
    memcpy(more + list, w->rows, rows);
    head->kind = CKPT_PIECE_SHARE;
    head->index = ckpt_level.node;
    head->ring = ckpt_level.ring;
    head->writers = (uint32_t)w->nwriters;
    head->rows = w->job->nrows;
    head->pages = w->pages;
    head->epoch = w->job->epoch;
    (void)snprintf(head->host, sizeof head->host, "%s", net_host(net_rank()));
    memcpy(head->run, ckpt_level.run, sizeof head->run);
    int status = ckpt_share_end(
        &w->job->file, w->pages * (CKPT_PAGE + sizeof(struct ckpt_entry)), head,
        more, list + rows, "local-end");
    free(more);
    return status == 0 ? ckpt_io_sync(&w->job->file, "local-sync") : status;
}

/* What only rank 0 knows: on which epoch this one builds, and when it is. */
static int ancestry(struct ckpt_share_head *head)
{
    const struct ckpt_manifest *m = ckpt_state.store.manifest;
    if (net_rank() == 0) {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        head->stamp =
            (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
        memcpy(head->previous,
               ckpt_level.npending > 0
                   ? ckpt_level.pending[ckpt_level.npending - 1].uuid
                   : m->epochs[m->nepochs - 1].uuid,
               sizeof head->previous);
    }
    return net_bcast(head, sizeof *head, 0);
}

int ckpt_level_write(struct ckpt_job *job)
{
    struct ckpt_share_head head;
    struct share_writer w = {.job = job};
    memset(&head, 0, sizeof head);
    int status = ckpt_epoch_share(&job->epoch, 0);
    if (status == 0) {
        status = ancestry(&head);
    }
    if (status == 0) {
        status = places_find(&w);
    }
    if (status == 0) {
        status = share_create(&w);
    }
    if (status == 0) {
        status = net_verdict(ckpt_log_write(job));
    }
    if (status == 0) {
        status = rows_gather(&w);
    }
    if (status == 0) {
        status = net_verdict(ckpt_level_leads() ? end_write(&w, &head) : 0);
    }
    ckpt_io_close(&job->file);
    free(w.entries);
    free(w.writers);
    free(w.filled);
    free(w.rows);
    return status;
}

void ckpt_level_abandon(const struct ckpt_job *job)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    char message[1024];
    if (!ckpt_level_leads()) {
        return;
    }
    (void)snprintf(message, sizeof message, "%s", recto_last_error());
    names_of(&job->epoch, name, temporary);
    (void)ckpt_io_unlink(&ckpt_level.dir, temporary, "unlink-temporary");
    (void)ckpt_io_unlink(&ckpt_level.dir, name, "unlink-temporary");
    base_error_set(message);
}

/* ---- pending epochs ------------------------------------------------------------------------ */

const struct ckpt_epoch *ckpt_level_newest(uint64_t *next_uid,
                                           uint64_t *pending)
{
    size_t n = ckpt_level.npending;
    *pending = n;
    if (n == 0) {
        return NULL;
    }
    *next_uid = ckpt_level.pending[n - 1].next_uid;
    return &ckpt_level.pending[n - 1].epoch;
}

/* Room for one more, before the shares get their names. */
static int pending_reserve(void)
{
    struct ckpt_pending *more =
        realloc(ckpt_level.pending, (ckpt_level.npending + 1) * sizeof *more);
    if (more == NULL) {
        return base_error(RECTO_ENOMEM, "list of local epochs");
    }
    ckpt_level.pending = more;
    return 0;
}

/* Takes the job's image. */
static int pending_make(struct ckpt_job *job)
{
    int status = pending_reserve();
    if (status != 0) {
        return status;
    }
    struct ckpt_pending *p = &ckpt_level.pending[ckpt_level.npending];
    const struct ckpt_epoch *e = &job->epoch;
    memset(p, 0, sizeof *p);
    p->number = e->number;
    memcpy(p->uuid, e->uuid, sizeof p->uuid);
    ckpt_epoch_bare(&p->epoch, e);
    if (net_rank() == 0) {
        uint64_t before = ckpt_level.npending > 0
                              ? p[-1].next_uid
                              : ckpt_state.store.manifest->next_uid;
        uint64_t last = e->nobjects > 0 ? e->objects[e->nobjects - 1].uid : 0;
        p->next_uid = last >= before ? last + 1 : before;
        status = ckpt_epoch_copy(&p->epoch, e);
    }
    return status;
}

void ckpt_level_supersede(const struct ckpt_epoch *epoch)
{
    size_t gone = 0;
    while (gone < ckpt_level.npending &&
           ckpt_level.pending[gone].number <= epoch->number) {
        pending_clear(&ckpt_level.pending[gone++]);
    }
    if (gone == 0) {
        return;
    }
    ckpt_level.npending -= gone;
    memmove(ckpt_level.pending, ckpt_level.pending + gone,
            ckpt_level.npending * sizeof *ckpt_level.pending);
    if (ckpt_level_leads()) {
        ckpt_level_clean();
    }
}

/* ---- deeper levels ---------------------------------------------------------------------------- */

static void warn_late(enum ckpt_level level, const struct ckpt_pending *p)
{
    if (net_rank() == 0) {
        base_warn("epoch %llu did not reach level %s, which is tried again "
                  "when it is due: %s",
                  (unsigned long long)p->number, ckpt_level_name(level),
                  recto_last_error());
    }
}

/* The oldest pending epoch to the shared folder. */
static int promote_one(void)
{
    struct ckpt_pending *p = &ckpt_level.pending[0];
    struct ckpt_share share = {.io = {.fd = -1}};
    const struct ckpt_share *list[1] = {&share};
    char name[CKPT_FILE_NAME_MAX + 1];
    int status = 0;
    if (ckpt_level_leads()) {
        ckpt_share_name(ckpt_level.run, p->number, p->uuid, CKPT_PIECE_SHARE,
                        ckpt_level.node, name);
        status = ckpt_share_open(&share, &ckpt_level.dir, name);
    }
    status = net_verdict(status);
    if (status == 0) {
        status =
            ckpt_level_promote(&p->epoch, p->image, list, ckpt_level_leads());
    }
    if (ckpt_level_leads()) {
        ckpt_share_close(&share);
    }
    if (status == 0) {
        struct ckpt_epoch done = {.number = p->number};
        ckpt_level_supersede(&done);
    }
    return status;
}

int ckpt_level_flush(void)
{
    int status = 0;
    while (status == 0 && ckpt_level.npending > 0) {
        status = promote_one();
    }
    return status;
}

static void deepen(uint64_t number)
{
    const struct ckpt_levels *l = &ckpt_level.levels;
    bool many = ckpt_level.ring.nodes > 1;
    int status = 0;
    if (ckpt_level_due(l, CKPT_LEVEL_SHARED, number)) {
        status = ckpt_level_flush();
        if (status != 0) {
            warn_late(CKPT_LEVEL_SHARED, &ckpt_level.pending[0]);
        }
    }
    for (size_t i = 0; i < ckpt_level.npending && many; i++) {
        struct ckpt_pending *p = &ckpt_level.pending[i];
        if (ckpt_level_due(l, CKPT_LEVEL_PARTNER, number) && !p->copied) {
            status = ckpt_level_copy(p);
            p->copied = status == 0;
            if (status != 0) {
                warn_late(CKPT_LEVEL_PARTNER, p);
            }
        }
        if (ckpt_level_due(l, CKPT_LEVEL_SET, number) && !p->coded) {
            status = ckpt_level_code(p);
            p->coded = status == 0;
            if (status != 0) {
                warn_late(CKPT_LEVEL_SET, p);
            }
        }
    }
}

/* Leader: the share gets its name. */
static int share_name(const struct ckpt_epoch *e)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    char temporary[CKPT_FILE_NAME_MAX + 1];
    names_of(e, name, temporary);
    int status =
        ckpt_io_rename(&ckpt_level.dir, temporary, name, "local-rename");
    return status == 0 ? ckpt_io_dir_sync(&ckpt_level.dir, "local-dir")
                       : status;
}

int ckpt_level_commit(struct ckpt_job *job)
{
    int status = net_verdict(pending_make(job));
    if (status == 0) {
        status = net_verdict(ckpt_level_leads() ? share_name(&job->epoch) : 0);
    }
    if (status != 0) {
        ckpt_level_abandon(job);
        return status;
    }
    ckpt_level.pending[ckpt_level.npending++].image = job->image;
    job->image = NULL;
    job->ended = base_now();
    deepen(job->epoch.number);
    return 0;
}
