/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto compact`: an epoch becomes a full one, so that a restart reads one file. It
 * takes the folder's lock, as `recto prune` does.
 */
#include "base/base.h"
#include "ckpt/store.h"
#include "ckpt/view.h"
#include "cli.h"

/* How many files a restart from the epoch reads. */
static uint64_t chain_length(const struct ckpt_manifest *m, uint64_t index)
{
    return index - ckpt_chain_start(m, index) + 1;
}

/* `before`: how many epochs it was made of; 0: it is as it was. */
static void tell(const struct cli_request *r, const struct ckpt_epoch *e,
                 uint64_t before)
{
    unsigned long long number = e->number;
    char file[32];
    char data[32];
    if (r->json) {
        (void)printf("{\"folder\": ");
        cli_json_string(stdout, r->path);
        (void)printf(", \"epoch\": %llu, \"epochs_joined\": %llu, "
                     "\"compressed\": %s, \"file_bytes\": %llu}\n",
                     number, (unsigned long long)(before > 0 ? before : 1),
                     e->packed ? "true" : "false",
                     (unsigned long long)e->length);
        return;
    }
    if (before == 0) {
        (void)printf("%s: epoch %llu is a full one already", r->path, number);
    } else if (before == 1) {
        (void)printf("%s: epoch %llu is compressed now", r->path, number);
    } else {
        (void)printf("%s: epoch %llu is a full one now, made of %llu epochs",
                     r->path, number, (unsigned long long)before);
    }
    if (e->packed) {
        (void)printf(": %s of %s", cli_size(e->length, file),
                     cli_size(cli_epoch_bytes(e), data));
    }
    (void)putchar('\n');
}

static int compact(struct ckpt_store *store, const struct cli_request *r,
                   uint64_t index)
{
    const struct ckpt_epoch *e = &store->manifest->epochs[index];
    uint64_t number = e->number;
    uint64_t before = chain_length(store->manifest, index);
    uint64_t was = store->manifest->generation;
    struct cli_progress progress;
    cli_progress_begin(&progress, "compacting", cli_epoch_bytes(e));
    int status = ckpt_compact(store, index, r->deflate, &progress.told);
    cli_progress_end(&progress);
    before = store->manifest->generation != was ? before : 0;
    if (status == 0) {
        /* files that one which was killed left to be removed */
        store->keep = (struct ckpt_keep){.all = true};
        status = ckpt_store_prune(store);
    }
    struct cli_request done = {.path = r->path,
                               .has_epoch = true,
                               .epoch = number,
                               .manifest = store->manifest};
    if (status == 0 && cli_epoch_index(&done, &index)) {
        tell(r, &store->manifest->epochs[index], before);
    }
    return status;
}

enum cli_exit cli_compact(const struct cli_request *request)
{
    struct ckpt_store store = {.dir = {.fd = -1}};
    struct cli_request r = *request;
    uint64_t index = 0;
    int status = ckpt_io_inject(base_env(BASE_ENV_INJECT));
    if (status == 0) {
        status = ckpt_store_open(&store, r.path, false);
    }
    if (status == 0 && !store.lock.held) {
        status = base_error(RECTO_EIO,
                            "%s cannot be written; ask its owner, or copy it",
                            r.path);
    }
    if (status == 0) {
        status = ckpt_keep_read(base_env(BASE_ENV_CKPT_KEEP), &store.keep);
    }
    r.manifest = store.manifest;
    if (status == 0 && !cli_epoch_index(&r, &index)) {
        ckpt_store_close(&store);
        return CLI_NO_CHECKPOINT;
    }
    if (status == 0) {
        ckpt_store_clean(&store);
        status = compact(&store, &r, index);
    }
    if (status != 0) {
        (void)fprintf(stderr, "%s\n", recto_last_error());
    }
    ckpt_store_close(&store);
    return status == 0 ? CLI_GOOD : CLI_DAMAGED;
}
