/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The folder in rank 0's hands. The commit, after all ranks agreed that the
 * temporary holds every byte:
 *
 *   rename .tmp-e... -> e...h5     the epoch file has its name
 *   fsync folder
 *   write, fsync .tmp-manifest-...
 *   rename -> manifest             <- the commit point
 *   fsync folder
 *   the same for manifest.copy
 *   unlink what neither names
 *
 * Invariants
 * 1. Before the commit point a failure removes the new file; from the attempt
 *    to rename the manifest on, nothing that either manifest may name is
 *    removed until a later commit has replaced both.
 * 2. Generations only grow, also over failed attempts, so that whichever
 *    manifest survived is older than the next one written.
 * 3. A manifest is parsed again before it is written: what this program would
 *    refuse to read never reaches the disk.
 * 4. The manifest keeps the two newest chains, and what else store->keep says (keep.h).
 */
#include "store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/base.h"
#include "view.h"

/* ---- files that wait for their removal ---------------------------------------- */

int ckpt_store_doom(struct ckpt_store *store, const char *name)
{
    if (store->ndoomed == store->room) {
        size_t room = store->room == 0 ? 8 : 2 * store->room;
        void *more = realloc(store->doomed, room * sizeof *store->doomed);
        if (more == NULL) {
            return base_error(RECTO_ENOMEM, "list of files to remove");
        }
        store->doomed = more;
        store->room = room;
    }
    (void)snprintf(store->doomed[store->ndoomed++], sizeof *store->doomed, "%s",
                   name);
    return 0;
}

static int doom_epoch(struct ckpt_store *store, const struct ckpt_epoch *epoch)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    ckpt_epoch_file(epoch, name);
    return epoch->has_file ? ckpt_store_doom(store, name) : 0;
}

/* Does it wait: may a manifest on disk name it? */
static bool waits(const struct ckpt_store *store, const char *name)
{
    for (size_t i = 0; i < store->ndoomed; i++) {
        if (strcmp(store->doomed[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Removes a file while an error is being reported, whose message stays. */
static void discard(struct ckpt_store *store, const char *name)
{
    char message[1024];
    (void)snprintf(message, sizeof message, "%s", recto_last_error());
    (void)ckpt_io_unlink(&store->dir, name, "unlink-temporary");
    base_error_set(message);
}

static uint64_t length_of(const struct ckpt_store *store, const char *name)
{
    struct stat status;
    return fstatat(store->dir.fd, name, &status, 0) == 0
               ? (uint64_t)status.st_size
               : 0;
}

static bool named(const struct ckpt_manifest *m, const char *name)
{
    for (uint64_t i = 0; m != NULL && i < m->nepochs; i++) {
        char file[CKPT_FILE_NAME_MAX + 1];
        ckpt_epoch_file(&m->epochs[i], file);
        if (m->epochs[i].has_file && strcmp(file, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Once manifest and copy `m` are durable. A name that an attempt left waiting may be in
 * use again: a local epoch keeps its uuid. What fails to go stays for the next job's
 * cleaning. */
static void doomed_unlink(struct ckpt_store *store,
                          const struct ckpt_manifest *m)
{
    const struct ckpt_progress *p = store->progress;
    for (size_t i = 0; i < store->ndoomed; i++) {
        uint64_t bytes = p != NULL ? length_of(store, store->doomed[i]) : 0;
        if (!named(m, store->doomed[i]) &&
            ckpt_io_unlink(&store->dir, store->doomed[i], "unlink-old") != 0) {
            base_error_print();
        }
        if (p != NULL) {
            p->tell(p->argument, bytes);
        }
    }
    store->ndoomed = 0;
}

/* ---- manifests ------------------------------------------------------------------ */

/* The three steps under which a manifest file is written, for injection. */
struct labels {
    const char *open;
    const char *write;
    const char *sync;
    const char *rename;
    const char *dir;
};
static const struct labels main_labels = {"manifest-open", "manifest-write",
                                          "manifest-sync", "manifest-rename",
                                          "manifest-dir"};
static const struct labels copy_labels = {
    "copy-open", "copy-write", "copy-sync", "copy-rename", "copy-dir"};

/* Replaces `name` by the text. *renamed: its rename was attempted, so that
 * the outcome of a failure is unknown. */
static int text_put(struct ckpt_store *store, const char *name,
                    const char *text, size_t bytes, const struct labels *l,
                    bool *renamed)
{
    char temporary[CKPT_FILE_NAME_MAX + 1];
    struct ckpt_io_file file;
    (void)snprintf(temporary, sizeof temporary, CKPT_TEMPORARY "%s", name);
    *renamed = false;
    int status = ckpt_io_open(&file, &store->dir, temporary,
                              O_WRONLY | O_CREAT | O_TRUNC, l->open);
    if (status != 0) {
        return status;
    }
    status = ckpt_io_write(&file, text, bytes, 0, l->write);
    if (status == 0) {
        status = ckpt_io_sync(&file, l->sync);
    }
    ckpt_io_close(&file);
    if (status != 0) {
        discard(store, temporary);
        return status;
    }
    *renamed = true;
    status = ckpt_io_rename(&store->dir, temporary, name, l->rename);
    return status == 0 ? ckpt_io_dir_sync(&store->dir, l->dir) : status;
}

static int manifest_text(const struct ckpt_manifest *m, char **text,
                         size_t *bytes)
{
    int status = ckpt_manifest_print(m, text, bytes);
    if (status != 0) {
        return status;
    }
    struct ckpt_manifest *again = NULL;
    status = ckpt_manifest_parse(*text, *bytes, &again);
    ckpt_manifest_free(again);
    if (status != 0) {
        free(*text);
    }
    return status;
}

/* Writes manifest and copy. *unknown: the manifest on disk may be the new one
 * although the call failed. A failing copy is only warned of: then nothing is
 * unlinked, and the next commit writes it again. */
static int manifest_put(struct ckpt_store *store, const struct ckpt_manifest *m,
                        bool *unknown)
{
    char *text = NULL;
    size_t bytes = 0;
    bool renamed = false;
    *unknown = false;
    int status = manifest_text(m, &text, &bytes);
    if (status != 0) {
        return status;
    }
    status = text_put(store, CKPT_MANIFEST, text, bytes, &main_labels, unknown);
    if (status == 0 && text_put(store, CKPT_MANIFEST_COPY, text, bytes,
                                &copy_labels, &renamed) == 0) {
        doomed_unlink(store, m);
    } else if (status == 0) {
        base_error_print();
    }
    free(text);
    return status;
}

/* ---- opening -------------------------------------------------------------------- */

static int first_manifest(struct ckpt_store *store)
{
    bool unknown = false;
    struct ckpt_manifest *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return base_error(RECTO_ENOMEM, "manifest");
    }
    m->generation = ++store->generation;
    m->next_uid = 1;
    int status = ckpt_uuid_make(m->run);
    if (status == 0) {
        status = manifest_put(store, m, &unknown);
    }
    if (status != 0) {
        ckpt_manifest_free(m);
        return status;
    }
    store->manifest = m;
    return 0;
}

static void warn_damaged(const struct ckpt_candidate *c, const char *name)
{
    if (c->exists && c->status != 0) {
        base_warn("%s is unusable, going by the other one: %s", name,
                  c->message);
    }
}

static int load(struct ckpt_store *store)
{
    struct ckpt_folder folder;
    int status = ckpt_folder_load(&store->dir, &folder);
    if (status == 0 && folder.chosen != NULL) {
        warn_damaged(&folder.main, CKPT_MANIFEST);
        warn_damaged(&folder.copy, CKPT_MANIFEST_COPY);
        struct ckpt_candidate *chosen =
            folder.chosen == &folder.main ? &folder.main : &folder.copy;
        store->manifest = chosen->manifest;
        store->generation = chosen->manifest->generation;
        chosen->manifest = NULL;
    }
    ckpt_folder_clear(&folder);
    return status;
}

int ckpt_store_open(struct ckpt_store *store, const char *path, bool create)
{
    bool loaded = store->manifest != NULL;
    int status = 0;
    if (store->dir.fd < 0) {
        status = ckpt_io_dir_open(&store->dir, path, create);
    }
    if (status == 0) {
        status = ckpt_lock_take(&store->lock, &store->dir, !create);
    }
    if (status == 0 && store->manifest == NULL) {
        status = load(store);
    }
    if (status == 0 && store->manifest == NULL && create) {
        status = first_manifest(store);
    }
    if (status != 0 && !loaded) {
        ckpt_store_close(store);
    }
    return status;
}

void ckpt_store_close(struct ckpt_store *store)
{
    ckpt_lock_release(&store->lock);
    ckpt_manifest_free(store->manifest);
    free(store->doomed);
    ckpt_io_dir_close(&store->dir);
    memset(store, 0, sizeof *store);
    store->dir.fd = -1;
}

/* ---- cleaning ------------------------------------------------------------------- */

struct cleaning {
    struct ckpt_store *store;
    const struct ckpt_folder *folder;
    bool epochs; /* both manifests are known: epoch files may go, too */
};

static int clean_one(const char *name, void *argument)
{
    const struct cleaning *c = argument;
    if (strncmp(name, CKPT_TEMPORARY, sizeof CKPT_TEMPORARY - 1) == 0) {
        return ckpt_io_unlink(&c->store->dir, name, "unlink-stray");
    }
    if (!c->epochs || !ckpt_epoch_file_name(name) ||
        named(c->store->manifest, name)) {
        return 0;
    }
    /* What one of the files on disk still names goes after the next commit. */
    return named(c->folder->main.manifest, name) ||
                   named(c->folder->copy.manifest, name)
               ? ckpt_store_doom(c->store, name)
               : ckpt_io_unlink(&c->store->dir, name, "unlink-stray");
}

void ckpt_store_clean(struct ckpt_store *store)
{
    if (store->cleaned) {
        return;
    }
    store->cleaned = true;
    struct ckpt_folder folder;
    int status = ckpt_folder_load(&store->dir, &folder);
    if (status == 0) {
        struct cleaning c = {store, &folder, false};
        c.epochs = folder.main.exists && folder.main.status == 0 &&
                   (!folder.copy.exists || folder.copy.status == 0);
        status = ckpt_folder_scan(&store->dir, clean_one, &c);
    }
    if (status != 0) {
        base_error_print();
    }
    ckpt_folder_clear(&folder);
}

int ckpt_store_truncate(struct ckpt_store *store, uint64_t from)
{
    struct ckpt_manifest *m = store->manifest;
    while (m->nepochs > from) {
        struct ckpt_epoch *last = &m->epochs[m->nepochs - 1];
        int status = doom_epoch(store, last);
        if (status != 0) {
            return status;
        }
        ckpt_epoch_clear(last);
        m->nepochs--;
    }
    return 0;
}

/* ---- commit --------------------------------------------------------------------- */

bool ckpt_store_wants_full(const struct ckpt_store *store, uint64_t every)
{
    const struct ckpt_manifest *m = store->manifest;
    uint64_t chains = 0;
    uint64_t since = 0; /* epochs of the newest chain */
    for (uint64_t i = 0; i < m->nepochs; i++) {
        chains += m->epochs[i].full;
        since = m->epochs[i].full ? 1 : since + 1;
    }
    return chains < 2 || since >= every;
}

void ckpt_store_temporary(const struct ckpt_epoch *epoch, char *name)
{
    (void)snprintf(name, CKPT_FILE_NAME_MAX + 1,
                   CKPT_TEMPORARY "e%08llu-%.8s.h5",
                   (unsigned long long)epoch->number, epoch->uuid);
}

static uint64_t uid_after(const struct ckpt_epoch *epoch, uint64_t next)
{
    uint64_t n = epoch->nobjects;
    return n > 0 && epoch->objects[n - 1].uid >= next
               ? epoch->objects[n - 1].uid + 1
               : next;
}

#define NEW_LAST UINT64_MAX /* index of an epoch that replaces none */

/* The epochs in force and, unless it is NULL, a new one, last or in the place of epoch
 * `index`; the caller frees the lists. stay[i]: epoch i of *list stays. */
static int choose(const struct ckpt_store *store,
                  const struct ckpt_epoch *epoch, uint64_t index,
                  const struct ckpt_epoch ***list, uint64_t *count, bool **stay)
{
    const struct ckpt_manifest *m = store->manifest;
    uint64_t n = m->nepochs + (epoch != NULL && index == NEW_LAST);
    *list = calloc(n + 1, sizeof(void *));
    *stay = calloc(n + 1, sizeof **stay);
    if (*list == NULL || *stay == NULL) {
        return base_error(RECTO_ENOMEM, "manifest");
    }
    for (uint64_t i = 0; i < n; i++) {
        (*list)[i] = i < m->nepochs && i != index ? &m->epochs[i] : epoch;
    }
    *count = n;
    if (epoch != NULL && epoch->full && index == NEW_LAST) {
        memset(*stay, true, n * sizeof **stay); /* it was not read back yet */
    } else {
        ckpt_keep_choose(&store->keep, *list, n, (uint64_t)time(NULL), *stay);
    }
    return 0;
}

/* Those after a full epoch build on it, also if it took another's place since they were
 * begun. */
static void rebase(struct ckpt_manifest *m)
{
    for (uint64_t i = 1; i < m->nepochs; i++) {
        if (!m->epochs[i].full) {
            m->epochs[i].base = m->epochs[i - 1].base;
        }
    }
}

/* The manifest with the epoch, if it is not NULL, and without those that go, whose files
 * are doomed. */
static int manifest_with(struct ckpt_store *store,
                         const struct ckpt_epoch *epoch, uint64_t index,
                         struct ckpt_manifest **result)
{
    const struct ckpt_manifest *old = store->manifest;
    const struct ckpt_epoch **list = NULL;
    bool *stay = NULL;
    uint64_t count = 0;
    struct ckpt_manifest *m = calloc(1, sizeof *m);
    int status = choose(store, epoch, index, &list, &count, &stay);
    if (m != NULL) {
        m->epochs = calloc(count + 1, sizeof *m->epochs);
    }
    if (status == 0 && (m == NULL || m->epochs == NULL)) {
        status = base_error(RECTO_ENOMEM, "manifest");
    }
    if (status == 0) {
        m->generation = ++store->generation;
        memcpy(m->run, old->run, sizeof m->run);
        m->next_uid =
            epoch != NULL ? uid_after(epoch, old->next_uid) : old->next_uid;
    }
    for (uint64_t i = 0; i < count && status == 0; i++) {
        status = stay[i] ? ckpt_epoch_copy(&m->epochs[m->nepochs++], list[i])
                         : doom_epoch(store, list[i]);
    }
    if (status == 0) {
        rebase(m);
    }
    if (status == 0 && index != NEW_LAST) {
        status = doom_epoch(store, &old->epochs[index]);
    }
    free(list);
    free(stay);
    if (status != 0) {
        ckpt_manifest_free(m);
        return status;
    }
    *result = m;
    return 0;
}

static int file_name(struct ckpt_store *store, const struct ckpt_epoch *epoch)
{
    char temporary[CKPT_FILE_NAME_MAX + 1];
    char name[CKPT_FILE_NAME_MAX + 1];
    if (!epoch->has_file) {
        return 0;
    }
    ckpt_store_temporary(epoch, temporary);
    ckpt_epoch_file(epoch, name);
    int status = ckpt_io_rename(&store->dir, temporary, name, "epoch-rename");
    return status == 0 ? ckpt_io_dir_sync(&store->dir, "epoch-dir") : status;
}

void ckpt_store_abandon(struct ckpt_store *store,
                        const struct ckpt_epoch *epoch)
{
    char name[CKPT_FILE_NAME_MAX + 1];
    if (epoch->has_file) {
        ckpt_store_temporary(epoch, name);
        discard(store, name);
        ckpt_epoch_file(epoch, name);
        if (!waits(store, name)) {
            discard(store, name);
        }
    }
}

static int commit(struct ckpt_store *store, const struct ckpt_epoch *epoch,
                  uint64_t index)
{
    struct ckpt_manifest *m = NULL;
    bool unknown = false;
    size_t doomed = store->ndoomed;
    int status = manifest_with(store, epoch, index, &m);
    if (status == 0) {
        status = file_name(store, epoch);
    }
    if (status == 0) {
        status = manifest_put(store, m, &unknown);
    }
    if (status != 0) {
        ckpt_manifest_free(m);
        store->ndoomed = doomed;
        if (unknown) {
            (void)doom_epoch(store, epoch);
        } else {
            ckpt_store_abandon(store, epoch);
        }
        return status;
    }
    ckpt_manifest_free(store->manifest);
    store->manifest = m;
    ckpt_lock_beat(&store->lock);
    return 0;
}

int ckpt_store_commit(struct ckpt_store *store, const struct ckpt_epoch *epoch)
{
    return commit(store, epoch, NEW_LAST);
}

int ckpt_store_replace(struct ckpt_store *store, uint64_t index,
                       const struct ckpt_epoch *epoch)
{
    return commit(store, epoch, index);
}

int ckpt_store_keeps(const struct ckpt_store *store, bool **stay)
{
    const struct ckpt_epoch **list = NULL;
    uint64_t count = 0;
    int status = choose(store, NULL, NEW_LAST, &list, &count, stay);
    free(list);
    return status;
}

int ckpt_store_prune(struct ckpt_store *store)
{
    struct ckpt_manifest *m = NULL;
    bool unknown = false;
    size_t doomed = store->ndoomed;
    int status = manifest_with(store, NULL, NEW_LAST, &m);
    bool changes = status == 0 && (m->nepochs < store->manifest->nepochs ||
                                   store->ndoomed > 0);
    if (changes) {
        status = manifest_put(store, m, &unknown);
    }
    if (status != 0) {
        ckpt_manifest_free(m);
        store->ndoomed = doomed;
        return status;
    }
    ckpt_manifest_free(store->manifest);
    store->manifest = m;
    return 0;
}
