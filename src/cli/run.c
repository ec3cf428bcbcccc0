/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto run`: one attempt after the other, until the program is done, wants to be
 * continued another time, or there is no sense in going on.
 *
 *   attempt --0-----------------> done
 *           --75----------------> continue me
 *           --told to end-------> ended, all hosts swept
 *           --anything else-----> failed
 *   failed: ask all hosts, sweep them; then
 *           notice of the time limit came          -> continue me
 *           the program failed twice at one epoch  -> given up
 *           no tries left                          -> given up
 *           too few slots answer                   -> too few nodes
 *           otherwise                              -> the next attempt
 *
 * A failure in which a host was lost says nothing about the program, and is no
 * failure at that epoch.
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "ckpt/reader.h"
#include "ckpt/store.h"
#include "cli.h"

enum {
    LOCK_SECONDS =
        60,         /* for a rank that cannot be reached to let the folder go */
    SAME_EPOCH = 2, /* failures of the program there, then it is given up */
    REPORT = 16,    /* attempts in the report: the last ones */
    RANKS_TEXT = 48
};

/* What became of an attempt. */
struct attempt {
    unsigned number;
    int ranks;
    size_t hosts;
    double seconds;
    int64_t epoch; /* the newest after it */
    char how[128];
};

struct progress {
    struct attempt attempts[REPORT];
    int ranks; /* of the attempts; 0: as mpirun finds */
    unsigned failures;
    unsigned same_epoch; /* failures of the program since the epoch below */
    int64_t epoch;
    uint64_t generation; /* of the manifest at the first attempt */
};

/* ---- the checkpoint folder --------------------------------------------------------- */

static void folder_find(struct run *run)
{
    const struct run_options *o = &run->options;
    const char *name =
        o->folder != NULL ? o->folder : base_env(BASE_ENV_CKPT_DIR);
    const char *before = name[0] != '/' && o->wdir != NULL ? o->wdir : "";
    (void)snprintf(run->folder, sizeof run->folder, "%s%s%s", before,
                   before[0] != '\0' ? "/" : "", name);
}

struct newest {
    int64_t epoch; /* -1: none */
    uint64_t ranks;
    bool
        is_private; /* it holds private memory, of which each rank has its own */
    uint64_t generation; /* of the manifest; 0: none */
};

static struct newest newest(const struct run *run)
{
    struct ckpt_dir dir;
    struct ckpt_folder folder;
    struct newest n = {.epoch = -1};
    if (ckpt_io_dir_open(&dir, run->folder, false) != 0) {
        return n;
    }
    if (ckpt_folder_load(&dir, &folder) == 0 && folder.chosen != NULL &&
        folder.chosen->manifest->nepochs > 0) {
        const struct ckpt_manifest *m = folder.chosen->manifest;
        const struct ckpt_epoch *e = &m->epochs[m->nepochs - 1];
        n.epoch = (int64_t)e->number;
        n.ranks = e->ranks;
        n.generation = m->generation;
        for (uint64_t i = 0; i < e->nobjects; i++) {
            n.is_private = n.is_private || e->objects[i].kind == CKPT_PRIVATE;
        }
    }
    ckpt_folder_clear(&folder);
    ckpt_io_dir_close(&dir);
    return n;
}

int64_t run_epoch(const struct run *run)
{
    return newest(run).epoch;
}

/* The choice of an epoch is for the start: what the run has written since is not to be
 * lost by it again. */
static void choice_forget(const struct run *run, struct progress *p)
{
    uint64_t generation = newest(run).generation;
    if (run->attempt == 1) {
        p->generation = generation;
    } else if (generation != p->generation) {
        base_env_forget(BASE_ENV_RESTART_EPOCH);
    }
}

/* "epoch 7", "no checkpoint" */
static const char *epoch_text(int64_t epoch, char *text, size_t size)
{
    (void)snprintf(text, size, "no checkpoint");
    if (epoch >= 0) {
        (void)snprintf(text, size, "epoch %" PRId64, epoch);
    }
    return text;
}

/* A rank on a host that cannot be reached may live on, and hold the folder. Waits for
 * a while, then leaves it to the program to say who. */
static void folder_wait(struct run *run)
{
    struct ckpt_dir dir;
    char who[128];
    double until = run_now() + LOCK_SECONDS;
    bool told = false;
    if (ckpt_io_dir_open(&dir, run->folder, false) != 0) {
        return;
    }
    while (ckpt_lock_busy(&dir, who, sizeof who) && run_now() < until) {
        if (!told) {
            told = true;
            run_log_begin("locked");
            run_log_text("holder", who);
            run_log_end("%s is still held by %s: waiting up to %d s",
                        run->folder, who[0] != '\0' ? who : "a rank",
                        LOCK_SECONDS);
        }
        if (run_sleep(run, 0.1)) {
            break;
        }
    }
    ckpt_io_dir_close(&dir);
}

/* "4 ranks"; mpirun itself counts when nobody said how many. */
static const char *ranks_text(int ranks, char text[RANKS_TEXT])
{
    (void)snprintf(text, RANKS_TEXT, "as many ranks as mpirun finds slots");
    if (ranks > 0) {
        (void)snprintf(text, RANKS_TEXT, "%d rank%s", ranks,
                       ranks > 1 ? "s" : "");
    }
    return text;
}

/* ---- ends -------------------------------------------------------------------------- */

static int end(enum run_exit code, const char *event, const char *text)
{
    run_log_begin(event);
    run_log_number("code", (double)code);
    run_log_end("%s", text);
    return (int)code;
}

static void report(const struct run *run, const struct progress *p)
{
    unsigned first = run->attempt > REPORT ? run->attempt - REPORT + 1 : 1;
    for (unsigned i = first; i <= run->attempt; i++) {
        const struct attempt *a = &p->attempts[i % REPORT];
        char ranks[RANKS_TEXT];
        char text[64];
        run_log_begin("attempt");
        run_log_number("attempt", a->number);
        run_log_number("ranks", a->ranks);
        run_log_number("hosts", (double)a->hosts);
        run_log_number("seconds", a->seconds);
        run_log_number("epoch", (double)a->epoch);
        run_log_text("how", a->how);
        run_log_end("attempt %u: %s on %zu host%s, %.1f s, %s; then %s",
                    a->number, ranks_text(a->ranks, ranks), a->hosts,
                    a->hosts == 1 ? "" : "s", a->seconds, a->how,
                    epoch_text(a->epoch, text, sizeof text));
    }
}

static int give_up(const struct run *run, const struct progress *p,
                   enum run_exit code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int give_up(const struct run *run, const struct progress *p,
                   enum run_exit code, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report(run, p);
    return end(code, "gave-up", text);
}

static int ended_by_signal(struct run *run)
{
    char text[64];
    int signal = run->ended_by;
    const char *name = sigabbrev_np(signal);
    if (run->attempt > 0) {
        run_probe(run, true, true);
    }
    (void)snprintf(text, sizeof text, "ended by SIG%s",
                   name != NULL ? name : "?");
    return end((enum run_exit)(RUN_SIGNALLED + signal), "end", text);
}

/* ---- an attempt -------------------------------------------------------------------- */

static void say_how(const struct run_outcome *o, char *text, size_t size)
{
    static const char *const whys[] = {
        [RUN_WHY_ENDED] = "mpirun ended with",
        [RUN_WHY_HUNG] = "mpirun hung, and ended with",
        [RUN_WHY_STALL] = "the job stalled; mpirun ended with",
        [RUN_WHY_HOST] = "a host went silent; mpirun ended with",
        [RUN_WHY_SIGNAL] = "told to end; mpirun ended with",
        [RUN_WHY_EARLY] = "no recto_finalize; mpirun ended with"};
    if (o->signal != 0) {
        const char *name = sigabbrev_np(o->signal);
        (void)snprintf(text, size, "%s SIG%s", whys[o->why],
                       name != NULL ? name : "?");
    } else {
        (void)snprintf(text, size, "%s code %d", whys[o->why], o->code);
    }
}

static void say_start(const struct run *run, const struct run_plan *plan,
                      int64_t epoch)
{
    char hosts[1024];
    char ranks[RANKS_TEXT];
    char text[64];
    bool listed = run->hosts.count > 0;
    (void)run_hosts_text(&run->hosts, true, hosts, sizeof hosts);
    run_log_begin("start");
    run_log_number("attempt", run->attempt);
    run_log_number("ranks", plan->ranks);
    run_log_text("hosts", hosts);
    run_log_number("spares", (double)plan->spares);
    run_log_number("epoch", (double)epoch);
    run_log_end("attempt %u: %s on %s%s%s, from %s", run->attempt,
                ranks_text(plan->ranks, ranks), listed ? hosts : "this machine",
                plan->crowded ? " (more ranks than slots)"
                : plan->fewer ? " (fewer ranks)"
                              : "",
                plan->spares > 0 ? ", with spares" : "",
                epoch_text(epoch, text, sizeof text));
}

static int too_few(const struct run *run, const struct progress *p,
                   const struct run_plan *plan)
{
    char lost[512];
    (void)run_hosts_text(&run->hosts, false, lost, sizeof lost);
    return give_up(run, p, RUN_NO_NODES,
                   "too few slots answer: %d of %d%s%s; more hosts, --elastic "
                   "(fewer ranks) or --oversubscribe would help",
                   plan->slots, p->ranks, lost[0] != '\0' ? ", without " : "",
                   lost);
}

/* May the next attempt have fewer ranks than the last? */
static bool may_shrink(const struct run *run)
{
    if (!run->options.elastic) {
        return false;
    }
    struct newest n = newest(run);
    if (n.is_private) {
        run_log_begin("inelastic");
        run_log_number("epoch", (double)n.epoch);
        run_log_end("epoch %" PRId64 " holds private memory of %" PRIu64
                    " ranks: the number of ranks stays",
                    n.epoch, n.ranks);
    }
    return !n.is_private;
}

/* Who took the checkpoint folder and did not give it back; "" for nobody. */
static void folder_left(const struct run *run, char *who, size_t size)
{
    struct ckpt_dir dir;
    who[0] = '\0';
    if (ckpt_io_dir_open(&dir, run->folder, false) == 0) {
        ckpt_lock_left(&dir, who, size);
        ckpt_io_dir_close(&dir);
    }
}

/*
 * Chooses hosts and runs the program on them. 0, or the code to end with.
 *
 * mpirun's 0 alone is not believed: it has been seen when Slurm took a node out of the
 * job, and with it mpirun's daemon there, which ended in good order.
 */
static int attempt(struct run *run, struct progress *p,
                   struct run_outcome *outcome)
{
    struct run_plan plan;
    int errors = -1;
    char before[128];
    char after[128];
    if (!run_hosts_choose(&run->hosts, &run->options, p->ranks, false, &plan) &&
        !(may_shrink(run) && run_hosts_choose(&run->hosts, &run->options,
                                              p->ranks, true, &plan))) {
        return too_few(run, p, &plan);
    }
    if (plan.crowded && may_shrink(run)) { /* fewer ranks come first */
        (void)run_hosts_choose(&run->hosts, &run->options, p->ranks, true,
                               &plan);
    }
    p->ranks = p->ranks > 0 ? p->ranks : plan.ranks;
    run->attempt++;
    struct attempt *a = &p->attempts[run->attempt % REPORT];
    *a = (struct attempt){.number = run->attempt,
                          .ranks = plan.ranks,
                          .hosts = run->hosts.count > 0 ? plan.used : 1};
    say_start(run, &plan, run_epoch(run));
    folder_left(run, before, sizeof before);
    choice_forget(run, p);
    pid_t mpirun = run_launch(run, &plan, &errors);
    if (mpirun < 0) {
        return RUN_GAVE_UP;
    }
    *outcome = run_watch(run, mpirun, errors);
    folder_left(run, after, sizeof after);
    if (outcome->why == RUN_WHY_ENDED && outcome->code == 0 &&
        after[0] != '\0' && strcmp(before, after) != 0) {
        outcome->why = RUN_WHY_EARLY;
    }
    a->seconds = outcome->seconds;
    a->epoch = run_epoch(run);
    say_how(outcome, a->how, sizeof a->how);
    return 0;
}

/* ---- a failure --------------------------------------------------------------------- */

static size_t used_and_lost(const struct run *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->hosts.count; i++) {
        count += run->hosts.list[i].used && run->hosts.list[i].lost;
    }
    return count;
}

static void failed(struct run *run, struct progress *p,
                   const struct run_outcome *outcome)
{
    const struct attempt *a = &p->attempts[run->attempt % REPORT];
    char text[64];
    p->failures++;
    run_log_begin("failed");
    run_log_number("attempt", run->attempt);
    run_log_number("code", outcome->code);
    run_log_number("signal", outcome->signal);
    run_log_number("seconds", outcome->seconds);
    run_log_number("epoch", (double)a->epoch);
    run_log_end("attempt %u failed after %.1f s: %s; there is %s", run->attempt,
                outcome->seconds, a->how,
                epoch_text(a->epoch, text, sizeof text));
    run_probe(run, true, false);
    if (a->epoch != p->epoch) {
        p->epoch = a->epoch;
        p->same_epoch = 0;
    }
    if (used_and_lost(run) > 0) {
        p->same_epoch = 0; /* it was not the program */
    } else {
        p->same_epoch++;
    }
}

/* What follows a failure: 0 to start again, or the code to end with. */
static int judge(struct run *run, const struct progress *p)
{
    char text[64];
    (void)epoch_text(p->epoch, text, sizeof text);
    if (run->ended_by != 0) {
        return ended_by_signal(run);
    }
    if (run->notice) {
        return end(RUN_CONTINUE, "continue",
                   "the time limit is near: not started again; continue later");
    }
    if (p->same_epoch >= SAME_EPOCH) {
        return give_up(run, p, RUN_GAVE_UP,
                       "given up: it failed %u times from %s with all nodes "
                       "there, and wrote no new one",
                       p->same_epoch, text);
    }
    if (p->failures > run->options.retries) {
        return give_up(run, p, RUN_GAVE_UP,
                       "given up after %u failures (--retries %u); there is %s",
                       p->failures, run->options.retries, text);
    }
    folder_wait(run);
    return run->ended_by != 0 ? ended_by_signal(run) : 0;
}

static int attempts(struct run *run)
{
    struct progress p = {.ranks = run->options.ranks, .epoch = INT64_MIN};
    struct run_outcome outcome = {.code = -1};
    if (run->hosts.count > 0) {
        run_probe(run, false, false);
    }
    for (;;) {
        if (run->ended_by != 0) {
            return ended_by_signal(run);
        }
        if (run->notice) {
            return end(RUN_CONTINUE, "continue",
                       "the time limit is near: not started; continue later");
        }
        int code = attempt(run, &p, &outcome);
        if (code != 0) {
            return code;
        }
        if (run->ended_by != 0 && outcome.why == RUN_WHY_SIGNAL) {
            return ended_by_signal(run);
        }
        if (outcome.why == RUN_WHY_ENDED && outcome.code == 0) {
            return end(RUN_DONE, "done", "done");
        }
        if (outcome.code == RECTO_EXIT_CONTINUE) {
            return end(RUN_CONTINUE, "continue",
                       "the program ended by a checkpoint before it was done: "
                       "start it again to continue");
        }
        failed(run, &p, &outcome);
        code = judge(run, &p);
        if (code != 0) {
            return code;
        }
    }
}

/* ---- the command ------------------------------------------------------------------- */

static int prepare(struct run *run)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *crowd = getenv("OMPI_MCA_rmaps_base_oversubscribe");
    run->options.oversubscribe =
        run->options.oversubscribe ||
        (crowd != NULL && crowd[0] != '\0' && strcmp(crowd, "0") != 0 &&
         strcmp(crowd, "false") != 0);
    folder_find(run);
    if (ckpt_uuid_make(run->name) != 0) {
        return run_usage("%s", recto_last_error());
    }
    int status = run_programs_find(run);
    status = status == 0 ? run_hosts_read(&run->options, &run->hosts) : status;
    status = status == 0 ? run_agent_find(run) : status;
    status = status == 0 ? run_log_open(run->options.log, run->name) : status;
    if (status == 0 &&
        (run_guard_start(run) != 0 || run_signals_open(run) != 0)) {
        status = run_usage("%s", strerrordesc_np(errno));
    }
    return status;
}

int cli_run(int argc, char **argv)
{
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return run_usage("out of memory");
    }
    run->guard = run->signals = -1;
    int code = run_options_read(argc, argv, &run->options);
    bool go = code == 0;
    code = go ? prepare(run) : code < 0 ? 0 : code;
    if (go && code == 0) {
        code = attempts(run);
    }
    run_guard_end(run);
    run_log_close();
    run_hosts_free(&run->hosts);
    run_options_free(&run->options);
    free(run);
    return code;
}
