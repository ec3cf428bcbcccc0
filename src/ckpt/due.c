/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_checkpoint_due: when to checkpoint, and when to end.
 *
 * Every rank hands in what it knows, and the greatest word is the answer: a rank
 * knows its signals; rank 0 also knows the time since the last checkpoint, when the
 * run is to be over, and the requests in the folder, at which it looks ten times a
 * second at most.
 *
 * How often is best for a given mean time M between failures, where a checkpoint costs
 * D: after J. Daly, "A higher order estimate of the optimum checkpoint interval for
 * restart dumps" (FGCS 22, 2006), whose first term is J. Young's (CACM 17, 1974). D is
 * measured: for how long the program stood still, in the mean of the checkpoints so far,
 * of which the newest count most. No checkpoint is asked for before the last one can be
 * on disk.
 *
 * Invariants
 * 1. The answer is the same on every rank: it is the result of one reduction, which
 *    is the agreement that opens every collective call, too.
 * 2. Once the answer was STOP it stays STOP.
 * 3. A request is removed only by recto_finalize of a run that asked here, and only
 *    if it is due then: a run that dies before is stopped again when it is restarted,
 *    and one that ended does not stop the next.
 * 4. The handler does nothing but store a word; the signal's disposition is ours
 *    only where it was the default.
 */
#include "due.h"

#include <errno.h>
#include <math.h>
#include <recto.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "ckpt.h"
#include "flight.h"
#include "halt.h"
#include "net/net.h"
#include "state.h"

#define SECOND UINT64_C(1000000000)
/* between two looks at the folder */
#define LOOK (SECOND / 10)

/* of a checkpoint, before one was written */
#define FIRST_COST SECOND

enum {
    SIGNALS = 2,
    COST_WEIGHT = 8,   /* the newest checkpoint is an eighth of the mean */
    MARGIN_SECONDS = 1 /* clocks, and what lies between steps and the call */
};

static const int signals[SIGNALS] = {SIGUSR1, SIGTERM};

/* Written by the handler on any thread, read by recto_checkpoint_due: it tells
 * nothing but itself. */
static atomic_int told; /* the signal */

static struct {
    bool taken[SIGNALS];
    bool stop;         /* the answer was STOP */
    bool asked;        /* recto_checkpoint_due was called */
    bool warned;       /* about a request that cannot be read */
    uint64_t interval; /* ns; 0: none */
    uint64_t mtbf;     /* ns; 0: unknown */
    uint64_t walltime; /* when the run is to be over; 0: never */
    uint64_t last;     /* base_now of the last checkpoint */
    uint64_t called;   /* of the last call; 0: none */
    uint64_t looked;   /* at the folder */
    uint64_t gap;      /* longest between two calls, ns */
    uint64_t cost;     /* longest checkpoint until it was on disk, ns */
    uint64_t
        mean; /* the program stood still for a checkpoint, ns; 0: none was */
    uint64_t flight; /* the last one until it was on disk, ns */
    bool halt;       /* the last look found a request that is due */
} due;

/* ---- signals ----------------------------------------------------------------------- */

static void on_signal(int signal)
{
    atomic_store_explicit(&told, signal, memory_order_relaxed);
}

static bool is_ours(int signal)
{
    struct sigaction action;
    return sigaction(signal, NULL, &action) == 0 &&
           (action.sa_flags & SA_SIGINFO) == 0 &&
           action.sa_handler == on_signal;
}

static bool take_signal(int signal)
{
    struct sigaction action;
    if (sigaction(signal, NULL, &action) != 0 ||
        (action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_DFL) {
        return false; /* the program's own, or ignored on purpose */
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(signal, &action, NULL) == 0;
}

static void give_signals(void)
{
    for (int i = 0; i < SIGNALS; i++) {
        if (due.taken[i] && is_ours(signals[i])) {
            (void)signal(signals[i], SIG_DFL);
        }
        due.taken[i] = false;
    }
}

/* ---- life cycle -------------------------------------------------------------------- */

/* A time in seconds, as ns. */
static int seconds_of(enum base_env id, uint64_t *ns)
{
    uint64_t seconds = 0;
    int status = base_env_u64(id, &seconds);
    *ns = seconds * SECOND;
    return status;
}

int ckpt_due_init(void)
{
    unsigned which = 0; /* usr1|term|off */
    uint64_t interval = 0;
    uint64_t mtbf = 0;
    uint64_t walltime = 0;
    int status = base_env_choice(BASE_ENV_STOP_SIGNAL, &which);
    int count = which < 2 ? (int)which + 1 : 0;
    status =
        status == 0 ? seconds_of(BASE_ENV_CKPT_INTERVAL, &interval) : status;
    status = status == 0 ? seconds_of(BASE_ENV_MTBF, &mtbf) : status;
    status = status == 0 ? seconds_of(BASE_ENV_WALLTIME, &walltime) : status;
    if (status != 0) {
        return status;
    }
    memset(&due, 0, sizeof due);
    atomic_store_explicit(&told, 0, memory_order_relaxed);
    due.interval = interval;
    due.mtbf = mtbf;
    due.last = base_now();
    due.walltime = walltime > 0 ? due.last + walltime : 0;
    for (int i = 0; i < count; i++) {
        due.taken[i] = take_signal(signals[i]);
    }
    return 0;
}

void ckpt_due_written(uint64_t ns)
{
    due.flight = ns;
    due.cost = ns > due.cost ? ns : due.cost;
}

void ckpt_due_reset(uint64_t begin, int saved)
{
    due.last = base_now();
    if (!saved) {
        return;
    }
    uint64_t cost = due.last - begin;
    due.mean = due.mean == 0
                   ? cost
                   : (due.mean * (COST_WEIGHT - 1) + cost) / COST_WEIGHT;
}

uint64_t ckpt_due_best(uint64_t cost, uint64_t mtbf)
{
    double d = (double)cost;
    double m = (double)mtbf;
    if (d >= 2 * m) {
        return mtbf;
    }
    double root = sqrt(d / (2 * m));
    double best = sqrt(2 * d * m) * (1 + root / 3 + root * root / 9) - d;
    return best > 0 ? (uint64_t)best : 0;
}

/* Between two checkpoints; 0: none is asked for. */
static uint64_t interval_now(void)
{
    if (due.interval > 0 || due.mtbf == 0) {
        return due.interval;
    }
    uint64_t best =
        ckpt_due_best(due.mean > 0 ? due.mean : FIRST_COST, due.mtbf);
    return best > due.flight ? best : due.flight;
}

/* ---- requests (rank 0) ------------------------------------------------------------- */

/* What a run needs to end: a step and a checkpoint. ns */
static uint64_t margin(void)
{
    return MARGIN_SECONDS * SECOND + due.gap + 2 * due.cost;
}

static uint64_t margin_seconds(void)
{
    return (margin() + SECOND - 1) / SECOND;
}

/* `epoch`: the last one, or the one that is being written, or is about to be anyway. */
static bool is_due(const struct ckpt_halt *halt, int64_t epoch)
{
    switch (halt->when) {
    case CKPT_HALT_NOW: return true;
    case CKPT_HALT_EPOCH: return epoch >= 0 && (uint64_t)epoch >= halt->value;
    case CKPT_HALT_TIME:
        return (uint64_t)time(NULL) + margin_seconds() >= halt->value;
    }
    return false;
}

struct look {
    int64_t epoch;
    bool found;
};

static int look_at(const struct ckpt_halt *halt, void *argument)
{
    struct look *look = argument;
    look->found = look->found || is_due(halt, look->epoch);
    return 0;
}

/* The folder is made here, so that a run can be told to end before its first
 * checkpoint. */
static int folder_open(struct ckpt_dir *dir)
{
    return ckpt_io_dir_open(dir, ckpt_state.path, true);
}

static bool requested(int64_t epoch)
{
    struct look look = {epoch, false};
    struct ckpt_dir dir;
    int status = folder_open(&dir);
    if (status == 0) {
        status = ckpt_halt_each(&dir, look_at, &look);
        ckpt_io_dir_close(&dir);
    }
    if (status != 0 && !due.warned) {
        due.warned = true;
        base_warn("requests of recto halt: %s", recto_last_error());
    }
    return look.found;
}

struct fulfilled {
    const struct ckpt_dir *dir;
    int64_t epoch;
};

static int remove_if_due(const struct ckpt_halt *halt, void *argument)
{
    const struct fulfilled *f = argument;
    return is_due(halt, f->epoch) ? ckpt_halt_remove(f->dir, halt->name) : 0;
}

void ckpt_due_finalize(void)
{
    struct ckpt_dir dir;
    if (due.asked && net_rank() == 0 &&
        ckpt_io_dir_open(&dir, ckpt_state.path, false) == 0) {
        struct fulfilled f = {&dir, recto_epoch()};
        int status = ckpt_halt_each(&dir, remove_if_due, &f);
        if (status != 0 && status != RECTO_ECORRUPT) {
            base_warn("a fulfilled request of recto halt stays, remove it by "
                      "recto halt --undo: %s",
                      recto_last_error());
        }
        ckpt_io_dir_close(&dir);
    }
    due.asked = false;
    give_signals();
}

/* ---- the answer -------------------------------------------------------------------- */

/* What rank 0 knows. */
static int64_t first_word(uint64_t now)
{
    uint64_t every = interval_now();
    bool interval = every > 0 && now - due.last >= every;
    if (due.called != 0 && now - due.called > due.gap) {
        due.gap = now - due.called;
    }
    due.called = now;
    if (due.looked == 0 || now - due.looked >= LOOK || interval) {
        due.looked = now;
        due.halt = requested(ckpt_flight_newest() + (interval ? 1 : 0));
    }
    bool over = due.walltime > 0 && now + margin() >= due.walltime;
    return due.halt || over ? RECTO_DUE_STOP
           : interval       ? RECTO_DUE_CHECKPOINT
                            : RECTO_DUE_NO;
}

int recto_checkpoint_due(void)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE,
                          "recto_checkpoint_due before recto_init");
    }
    int64_t word = net_rank() == 0 ? first_word(base_now()) : RECTO_DUE_NO;
    if (due.stop || atomic_load_explicit(&told, memory_order_relaxed) != 0) {
        word = RECTO_DUE_STOP;
    }
    int status =
        net_agree_max(NET_CALL_CHECKPOINT_DUE, "recto_checkpoint_due()", &word);
    if (status != 0) {
        return status;
    }
    due.asked = true;
    due.stop = word == RECTO_DUE_STOP;
    return (int)word;
}
