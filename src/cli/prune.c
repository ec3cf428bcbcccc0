/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto prune`: removes epochs that nobody wants any more, by the rule by which a run
 * keeps them (src/ckpt/keep.h). It takes the folder's lock, so a running job, which
 * does the same with RECTO_CKPT_KEEP, is not disturbed.
 */
#include "ckpt/keep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/store.h"
#include "cli.h"

static const char help[] =
    "usage: recto prune DIR [--keep RULE] [--dry-run] [--json]\n"
    "Removes epochs from a checkpoint folder that no job uses. The two newest chains\n"
    "(a full epoch and those that build on it) always stay; of the older epochs those\n"
    "that RULE names, and what they build on:\n"
    "  chains       none of them (the default, unless the environment says otherwise)\n"
    "  last=N       the newest N epochs\n"
    "  every=M      those whose number is a multiple of M\n"
    "  age=TIME     those that are not older: 3600, 90m, 12h, 7d\n"
    "               of these, several with commas\n"
    "  --dry-run    only says what would go\n"
    "exit status: 0 done; 1 the folder is in use, damaged or cannot be written;\n"
    "             2 wrong usage; 3 no such folder, or no checkpoint there\n";

struct options {
    const char *path;
    const char *rule;
    bool dry;
    bool json;
};

static int wrong(const char *what)
{
    (void)fprintf(stderr, "recto prune: %s; see recto prune --help\n", what);
    return CLI_USAGE;
}

/* 0, CLI_USAGE, or -1 after --help. */
static int read_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.rule = base_env(BASE_ENV_CKPT_KEEP)};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(help, stdout);
            return -1;
        }
        if (strcmp(argv[i], "--dry-run") == 0) {
            o->dry = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--keep") == 0) {
            if (++i == argc) {
                return wrong("--keep: a rule is needed");
            }
            o->rule = argv[i];
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return wrong("unknown option");
        } else if (o->path != NULL) {
            return wrong("one folder at a time");
        } else {
            o->path = argv[i];
        }
    }
    return o->path != NULL ? 0 : wrong("a checkpoint folder is needed");
}

/* What goes, and how many bytes; as the list of what stays follows from it. */
struct going {
    uint64_t count;
    uint64_t bytes;
};

static struct going tell(const struct ckpt_manifest *m, const bool *stay,
                         const struct options *o)
{
    struct going g = {0, 0};
    if (o->json) {
        (void)printf("{\"folder\": ");
        cli_json_string(stdout, o->path);
        (void)printf(", \"removed\": [");
    }
    for (uint64_t i = 0; i < m->nepochs; i++) {
        const struct ckpt_epoch *e = &m->epochs[i];
        char size[32];
        if (stay[i]) {
            continue;
        }
        if (o->json) {
            (void)printf("%s{\"epoch\": %" PRIu64 ", \"bytes\": %" PRIu64 "}",
                         g.count > 0 ? ", " : "", e->number, e->length);
        } else {
            (void)printf("epoch %" PRIu64 " (%s), %s\n", e->number,
                         e->full ? "full" : "diff", cli_size(e->length, size));
        }
        g.count++;
        g.bytes += e->length;
    }
    return g;
}

static void tell_end(const struct going *g, const struct ckpt_manifest *m,
                     const struct options *o)
{
    char size[32];
    uint64_t left = m->nepochs - g->count;
    if (o->json) {
        (void)printf("], \"bytes\": %" PRIu64 ", \"kept\": %" PRIu64
                     ", \"dry_run\": %s}\n",
                     g->bytes, left, o->dry ? "true" : "false");
    } else {
        (void)printf("%s: %" PRIu64 " epochs %s, %s; %" PRIu64 " stay\n",
                     o->path, g->count, o->dry ? "would go" : "removed",
                     cli_size(g->bytes, size), left);
    }
}

static int failed(int status)
{
    (void)fprintf(stderr, "%s\n", recto_last_error());
    return status == RECTO_EINVAL ? CLI_USAGE : CLI_DAMAGED;
}

static int remove_files(struct ckpt_store *store, uint64_t bytes)
{
    struct cli_progress progress;
    cli_progress_begin(&progress, "removing", bytes);
    store->progress = &progress.told;
    int status = ckpt_store_prune(store);
    store->progress = NULL;
    cli_progress_end(&progress);
    return status;
}

static int prune(struct ckpt_store *store, const struct options *o)
{
    bool *stay = NULL;
    if (store->manifest == NULL) {
        (void)fprintf(stderr, "recto prune: %s holds no checkpoint\n", o->path);
        return CLI_NO_CHECKPOINT;
    }
    if (!o->dry && !store->lock.held) {
        return failed(base_error(
            RECTO_EIO, "%s cannot be written; ask its owner", o->path));
    }
    if (!o->dry) {
        ckpt_store_clean(store); /* what a killed job or prune left */
    }
    int status = ckpt_store_keeps(store, &stay);
    if (status == 0) {
        struct going g = tell(store->manifest, stay, o);
        tell_end(&g, store->manifest, o);
        status = o->dry ? 0 : remove_files(store, g.bytes);
    }
    free(stay);
    return status == 0 ? CLI_GOOD : failed(status);
}

int cli_prune(int argc, char **argv)
{
    struct options o;
    struct ckpt_store store = {.dir = {.fd = -1}};
    struct ckpt_keep keep;
    int code = read_options(argc, argv, &o);
    if (code != 0) {
        return code < 0 ? CLI_GOOD : code;
    }
    int status = ckpt_keep_read(o.rule, &keep);
    if (status == 0) {
        status = ckpt_io_inject(base_env(BASE_ENV_INJECT));
    }
    if (status != 0) {
        return failed(status);
    }
    status = ckpt_store_open(&store, o.path, false);
    if (status == RECTO_ENOENT) {
        (void)fprintf(stderr, "recto prune: %s: no such folder\n", o.path);
        return CLI_NO_CHECKPOINT;
    }
    if (status != 0) {
        return failed(status);
    }
    store.keep = keep;
    code = prune(&store, &o);
    ckpt_store_close(&store);
    return fflush(stdout) == 0 ? code : CLI_DAMAGED;
}
