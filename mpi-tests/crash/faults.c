/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a step of a checkpoint that fails (EIO, ENOSPC, a short write,
 * a file size limit) gives every rank the same error, leaves the previous
 * epoch restorable, and loses nothing for the next checkpoint.
 *
 *   faults inject FOLDER [long]   at every labelled step of a first, a
 *                                 differential and a full checkpoint, on rank 0
 *                                 and the last rank, before and after the step
 *   faults levels FOLDER SHARE SEED
 *                                 at every step of an epoch on the nodes' own disks,
 *                                 FOLDER/inject.nd, and of what is made of it, in
 *                                 every rank that does it; of these one in SHARE
 *   faults limit FOLDER           RLIMIT_FSIZE from 0 up
 *   faults space FOLDER           the folder's file system has little room: a
 *                                 ballast file beside it takes the rest
 *
 * Each case twice: going on after the failure and restarting from the epoch
 * that follows, and restarting at once. Prints the number of cases. With levels, a node
 * is lost before the restart in the former: what failed was made up for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/io.h"
#include "ckpt/reader.h"
#include "model.h"
#include "net/net.h"

static int cases;
static int wrong;
static int failed_as_asked; /* checkpoints that reported an error */
static const char *base;
static int lost =
    -1; /* a node whose folder is to go when the next run begins */

static void bad(const char *what, const char *detail)
{
    (void)fprintf(stderr, "FAIL: rank %d: case %d: %s: %s\n", recto_rank(),
                  cases, what, detail);
    wrong++;
}

static void run_command(const char *command)
{
    if (recto_rank() == 0 && system(command) != 0) {
        bad("command", command);
    }
    recto_barrier();
}

static void remove_folders(const char *folder)
{
    char command[8400];
    (void)snprintf(command, sizeof command, "rm -rf '%s' '%s'.n*", folder,
                   folder);
    run_command(command);
}

static void lose_node(const char *folder)
{
    char command[4200];
    (void)snprintf(command, sizeof command, "rm -r '%s'.n%d", folder, lost);
    lost = -1;
    run_command(command);
}

/* A new run of the program as far as checkpoints see it. */
static void begin(const char *folder, unsigned full)
{
    ckpt_finalize();
    recto_barrier();
    if (lost >= 0) {
        lose_node(folder);
    }
    if (ckpt_init(folder, full) != 0 || model_protect() != 0) {
        bad("begin", recto_last_error());
    }
}

/* Restarts from the folder; the memory must be that of one of two steps. */
static void restart_check(const char *folder, int64_t low, int64_t high,
                          const char *what)
{
    model_scramble();
    begin(folder, 0);
    int64_t epoch = -1;
    int status = recto_restart(&epoch);
    if (status < 0) {
        bad(what, recto_last_error());
        return;
    }
    if (status == 0) {
        if (low >= 0) {
            bad(what, "fresh start");
        }
        return;
    }
    int64_t step = model_clock.step;
    if (step < low || step > high || model_check(step) != 0) {
        (void)fprintf(stderr, "step %lld, %lld to %lld wanted\n",
                      (long long)step, (long long)low, (long long)high);
        bad(what, "memory differs");
    }
    recto_barrier();
}

/* Whatever the manifest on disk names must be there. */
static void files_check(const char *folder, const char *what)
{
    struct ckpt_dir dir;
    struct ckpt_folder f;
    recto_barrier();
    if (recto_rank() != 0) {
        return;
    }
    if (ckpt_io_dir_open(&dir, folder, false) != 0 ||
        ckpt_folder_load(&dir, &f) != 0) {
        bad(what, recto_last_error());
        return;
    }
    for (uint64_t i = 0; f.chosen && i < f.chosen->manifest->nepochs; i++) {
        const struct ckpt_epoch *e = &f.chosen->manifest->epochs[i];
        struct ckpt_file file;
        if (e->has_file && (ckpt_file_open(&file, &dir, e) != 0 ||
                            ckpt_file_meta_check(&file) != 0)) {
            bad(what, recto_last_error());
        } else if (e->has_file) {
            ckpt_file_close(&file);
        }
    }
    ckpt_folder_clear(&f);
    ckpt_io_dir_close(&dir);
}

struct scenario {
    const char *name;
    int epochs;    /* written before the fault */
    unsigned full; /* RECTO_CKPT_FULL */
};

/* Writes the epochs before the fault; returns the last step. */
static int64_t prepare(const struct scenario *s, const char *folder)
{
    remove_folders(folder);
    begin(folder, s->full);
    model_set(-1);
    for (int i = 0; i < s->epochs; i++) {
        model_step(i);
        if (recto_checkpoint() != 0) {
            bad("prepare", recto_last_error());
        }
    }
    if (recto_checkpoint_wait() != 0) {
        bad("prepare", recto_last_error());
    }
    return s->epochs - 1;
}

/* A checkpoint until it is on disk, or has failed; step `next` is done while it is
 * written, and in any case. */
static int save(int64_t next)
{
    int status = recto_checkpoint();
    model_step(next);
    return status == 0 ? recto_checkpoint_wait() : status;
}

/* That with a fault in it. `must_fail` 1: an error is wanted. */
static int faulty(const char *rule, int must_fail, int64_t next)
{
    if (ckpt_io_inject(rule) != 0) {
        bad("rule", recto_last_error());
    }
    int status = save(next);
    int64_t both[2] = {status, -status};
    net_allreduce_min(both, 2);
    if (both[0] != -both[1]) {
        bad(rule, "the ranks have different verdicts");
    }
    if (status != 0 && strstr(recto_last_error(), base) == NULL) {
        bad("message without the folder", recto_last_error());
    }
    if (must_fail && status == 0) {
        bad(rule, "the fault was not reported");
    }
    failed_as_asked += status != 0;
    (void)ckpt_io_inject("");
    return status;
}

/* One fault, in both ways to go on. */
static void one_case(const struct scenario *s, const char *rule, int must_fail,
                     int node)
{
    char folder[4096];
    for (int at_once = 0; at_once < 2; at_once++) {
        (void)snprintf(folder, sizeof folder, "%s/inject", base);
        int64_t last = prepare(s, folder);
        model_step(last + 1);
        int status = faulty(rule, must_fail, last + 2);
        files_check(folder, rule);
        if (at_once) {
            restart_check(folder, status == 0 ? last + 1 : last, last + 1,
                          rule);
        } else {
            if (save(last + 3) != 0 || save(last + 4) != 0) {
                bad(rule, recto_last_error());
            }
            lost = node;
            restart_check(folder, last + 3, last + 3, rule);
        }
        cases++;
    }
}

/* What the failing step may do to the checkpoint: 1 it must fail, 0 it may
 * succeed: the epoch is committed before these steps. */
static int must_fail(const char *label, const char *what)
{
    return strncmp(label, "copy-", 5) != 0 &&
           strcmp(label, "lock-write") != 0 &&
           strcmp(label, "unlink-old") != 0 && strcmp(what, "short") != 0;
}

static void inject_all(const struct scenario *s, bool everything)
{
    static const char *const labels[] = {
        "epoch-open",    "epoch-allocate",  "data-write",    "sums-write",
        "index-write",   "data-sync",       "meta-write",    "meta-sync",
        "epoch-rename",  "epoch-dir",       "manifest-open", "manifest-write",
        "manifest-sync", "manifest-rename", "manifest-dir",  "copy-open",
        "copy-write",    "copy-sync",       "copy-rename",   "copy-dir",
        "unlink-old",    "lock-write"};
    static const char quick[] = "epoch-allocate data-write manifest-write";
    static const char *const deeds[] = {"eio", "enospc", "short"};
    char rule[128];
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        bool every_rank = strncmp(labels[i], "data", 4) == 0 ||
                          strcmp(labels[i], "epoch-open") == 0 ||
                          strcmp(labels[i], "sums-write") == 0 ||
                          strcmp(labels[i], "index-write") == 0;
        bool absent = (s->full > 2 && strcmp(labels[i], "unlink-old") == 0) ||
                      strcmp(labels[i], s->full > 2 && s->epochs > 1
                                            ? "sums-write"
                                            : "index-write") == 0;
        for (size_t d = 0; d < 3 && !absent; d++) {
            for (int variant = 0; variant < 4; variant++) {
                int rank = variant % 2 == 0 ? 0 : recto_size() - 1;
                bool after = variant >= 2;
                bool writes = strstr(labels[i], "write") != NULL;
                if ((rank != 0 && !every_rank) ||
                    (d == 2 && (!writes || after)) ||
                    (d == 1 && !everything &&
                     strstr(quick, labels[i]) == NULL)) {
                    continue;
                }
                (void)snprintf(rule, sizeof rule,
                               "rank=%d,label=%s,hit=1,when=%s,do=%s", rank,
                               labels[i], after ? "after" : "before", deeds[d]);
                one_case(s, rule, must_fail(labels[i], deeds[d]), -1);
            }
        }
    }
}

/* The second manifest of a checkpoint is without the epochs that go: that they stay is
 * no failure of it. */
static void inject_prune(const struct scenario *s, bool everything)
{
    static const char *const steps[] = {"open", "write", "sync", "rename",
                                        "dir"};
    char rule[128];
    for (int i = 0; i < 20; i++) {
        for (int d = 0; d < (everything ? 2 : 1); d++) {
            (void)snprintf(
                rule, sizeof rule, "rank=0,label=%s-%s,hit=2,when=%s,do=%s",
                i % 2 == 0 ? "manifest" : "copy", steps[i / 4],
                i % 4 < 2 ? "before" : "after", d == 0 ? "eio" : "enospc");
            one_case(s, rule, 0, -1);
        }
    }
}

static void inject(bool everything)
{
    static const struct scenario scenarios[] = {
        {"first", 0, 16},
        {"diff",  3, 16},
        {"full",  5, 2 }
    };
    for (size_t i = 0; i < 3; i++) {
        inject_all(&scenarios[i], everything);
    }
    inject_prune(&scenarios[2], everything);
}

/* ---- levels ------------------------------------------------------------------------- */

/* A step of an epoch on the nodes' own disks. */
struct level_step {
    const char *label;
    bool leaders;   /* done by the lowest rank of a node only */
    bool root;      /* by rank 0 only */
    bool must_fail; /* else the epoch is committed, and a deeper level waits */
};

/* Is it the rank of this step? Nodes are domains, those of the ranks next to each other. */
static bool does(const struct level_step *step, int rank)
{
    bool leads = net_domain_leader(net_domain_of(rank)) == rank;
    return step->root ? rank == 0 : leads || !step->leaders;
}

static void level_rules(const struct level_step *step, int rank, uint64_t share,
                        uint64_t seed)
{
    static const struct scenario scenario = {"levels", 4, 16};
    static const char *const deeds[] = {"eio", "enospc", "short"};
    static uint64_t number;
    char rule[128];
    for (int variant = 0; variant < 5; variant++) {
        bool after = variant % 2 == 1;
        const char *deed = deeds[variant / 2];
        if (mix(seed + ++number * 977) / 7 % share != 0 ||
            (variant == 4 && strstr(step->label, "-write") == NULL)) {
            continue;
        }
        (void)snprintf(rule, sizeof rule,
                       "rank=%d,label=%s,hit=1,when=%s,do=%s", rank,
                       step->label, after ? "after" : "before", deed);
        one_case(&scenario, rule, step->must_fail && variant != 4,
                 (int)(number % (uint64_t)recto_nodes()));
    }
}

static void levels(uint64_t share, uint64_t seed)
{
    static const struct level_step steps[] = {
        {"local-open",      false, false, true },
        {"local-allocate",  true,  false, true },
        {"data-write",      false, false, true },
        {"index-write",     false, false, true },
        {"data-sync",       false, false, true },
        {"local-end",       true,  false, true },
        {"local-sync",      true,  false, true },
        {"local-rename",    true,  false, true },
        {"local-dir",       true,  false, true },
        {"partner-open",    true,  false, false},
        {"partner-write",   true,  false, false},
        {"partner-sync",    true,  false, false},
        {"partner-rename",  true,  false, false},
        {"partner-dir",     true,  false, false},
        {"parity-open",     true,  false, false},
        {"parity-write",    true,  false, false},
        {"parity-end",      true,  false, false},
        {"parity-sync",     true,  false, false},
        {"parity-rename",   true,  false, false},
        {"parity-dir",      true,  false, false},
        {"epoch-open",      false, false, false},
        {"epoch-allocate",  false, true,  false},
        {"promote-write",   true,  false, false},
        {"promote-index",   true,  false, false},
        {"promote-sync",    true,  false, false},
        {"meta-write",      false, true,  false},
        {"meta-sync",       false, true,  false},
        {"epoch-rename",    false, true,  false},
        {"manifest-write",  false, true,  false},
        {"manifest-rename", false, true,  false},
        {"manifest-dir",    false, true,  false},
        {"copy-write",      false, true,  false},
        {"unlink-local",    true,  false, false},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (int rank = 0; rank < recto_size(); rank++) {
            if (does(&steps[i], rank)) {
                level_rules(&steps[i], rank, share, seed);
            }
        }
    }
}

/* ---- full disks ----------------------------------------------------------------------- */

/* Raises the limit until the checkpoint fits; then what was missed must be in
 * it. */
static void limit(void)
{
    /* in this order: the limit is for memory of several processes, too, and what
     * checkpoints need of that is made by the first one */
    static const struct scenario scenarios[] = {
        {"diff",  3, 16},
        {"first", 0, 16}
    };
    char folder[4096];
    struct rlimit old;
    (void)getrlimit(RLIMIT_FSIZE, &old);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(folder, sizeof folder, "%s/limit", base);
        int64_t step = prepare(&scenarios[i], folder);
        int failures = 0;
        for (rlim_t size = 0;; size += 8192) {
            struct rlimit now = {size, old.rlim_max};
            model_step(++step);
            (void)setrlimit(RLIMIT_FSIZE, &now);
            int status = faulty("", 0, ++step);
            (void)setrlimit(RLIMIT_FSIZE, &old);
            cases++;
            if (status == 0) {
                break;
            }
            failures++;
            if (status != RECTO_ENOSPC) {
                bad("file size limit", recto_last_error());
            }
        }
        if (failures == 0) {
            bad("file size limit", "no checkpoint failed");
        }
        restart_check(folder, step - 1, step - 1, "file size limit");
    }
}

/* Fills the file system but for `room` bytes. */
static void ballast(uint64_t room)
{
    char name[4200];
    (void)snprintf(name, sizeof name, "%s/ballast", base);
    if (recto_rank() == 0) {
        static const char block[4096] = "ballast";
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        off_t size = 0;
        while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
            size += (off_t)sizeof block;
        }
        if (ftruncate(fd, size > (off_t)room ? size - (off_t)room : 0) != 0) {
            bad("ballast", strerror(errno));
        }
        (void)close(fd);
    }
    recto_barrier();
}

static void space(void)
{
    static const struct scenario scenario = {"diff", 3, 16};
    char folder[4096];
    char name[4200];
    (void)snprintf(folder, sizeof folder, "%s/space", base);
    (void)snprintf(name, sizeof name, "%s/ballast", base);
    int64_t step = prepare(&scenario, folder);
    int failures = 0;
    for (uint64_t room = 0;; room += 8192) {
        model_step(++step);
        ballast(room);
        int status = faulty("", 0, ++step);
        cases++;
        if (status == 0) {
            break;
        }
        failures++;
        if (status != RECTO_ENOSPC) {
            bad("full disk", recto_last_error());
        }
    }
    if (failures == 0) {
        bad("full disk", "no checkpoint failed");
    }
    restart_check(folder, step - 1, step - 1, "full disk");
    recto_barrier();
    if (recto_rank() == 0) {
        (void)unlink(name);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr,
                      "usage: faults inject|levels|limit|space FOLDER\n");
        return 2;
    }
    if (recto_init(&argc, &argv) != 0 || model_declare() != 0) {
        (void)fprintf(stderr, "FAIL: %s\n", recto_last_error());
        return 1;
    }
    base = argv[2];
    if (strcmp(argv[1], "inject") == 0) {
        inject(argc > 3);
    } else if (strcmp(argv[1], "levels") == 0 && argc > 4) {
        levels(strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    } else if (strcmp(argv[1], "limit") == 0) {
        limit();
    } else {
        space();
    }
    if (recto_rank() == 0) {
        (void)printf("%d cases, %d checkpoints failed as they should\n", cases,
                     failed_as_asked);
    }
    int64_t total = wrong;
    net_allreduce_sum(&total, 1);
    int status = recto_finalize();
    return status != 0 || total != 0;
}
