/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attempt from its start to its end. mpirun ends its job when a rank or a node dies,
 * but not always: it may wait for a daemon that is gone. So its messages are read as
 * they pass, and after the first one of a failure it gets a bounded time; hosts are
 * asked now and then, for a connection with data under way goes silent without a
 * message; and who asks for it has the newest epoch watched.
 *
 *   running   --mpirun ends------------------------> ended
 *   running   --told to end, or stall--------------> ending (SIGTERM)
 *   running   --sign and hang passes, host lost----> killing
 *   ending    --grace passes, told again-----------> killing (SIGKILL)
 *   ending, killing  --mpirun ends-----------------> ended
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

enum {
    TICK = 50,         /* ms */
    LINE = 1024,       /* of mpirun's messages, as far as they are searched */
    RULE = 60,         /* dashes, at least */
    DRAIN_SECONDS = 1, /* for messages after mpirun's end */
    EPOCH_SECONDS = 1  /* between two looks for a new one */
};

double run_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- signals ----------------------------------------------------------------------- */

int run_signals_open(struct run *run)
{
    static const int taken[] = {SIGINT,  SIGTERM, SIGHUP,
                                SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        (void)sigaddset(&set, taken[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals >= 0 ? 0 : -1;
}

static const char *signal_name(int signal)
{
    const char *name = sigabbrev_np(signal);
    return name != NULL ? name : "?";
}

static void notice(struct run *run, int signal)
{
    if (run->notice) {
        return;
    }
    run->notice = true;
    run_log_begin("notice");
    run_log_text("signal", signal_name(signal));
    run_log_end("SIG%s: the program is told to checkpoint and end",
                signal_name(signal));
}

static void told_to_end(struct run *run, int signal)
{
    if (run->ended_by == 0) {
        run_log_begin("signal");
        run_log_text("signal", signal_name(signal));
        run_log_end("SIG%s: everything ends", signal_name(signal));
    }
    run->ended_by = signal;
    run->told++;
}

void run_signals_take(struct run *run, pid_t mpirun)
{
    struct signalfd_siginfo info;
    while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int signal = (int)info.ssi_signo;
        if (signal == SIGCHLD) {
            continue; /* it only wakes us up */
        }
        if (signal == SIGUSR1 ||
            (signal == SIGTERM && run->options.term_notice && !run->notice)) {
            notice(run, signal);
        } else if (signal == SIGUSR2) {
            if (mpirun > 0) {
                (void)kill(mpirun, SIGUSR2);
            }
        } else {
            told_to_end(run, signal);
        }
    }
}

bool run_sleep(struct run *run, double seconds)
{
    struct pollfd waiting = {.fd = run->signals, .events = POLLIN};
    double until = run_now() + seconds;
    run_signals_take(run, 0);
    while (run_now() < until && run->ended_by == 0) {
        int n = poll(&waiting, 1, (int)(1e3 * (until - run_now())) + 1);
        run_signals_take(run, 0);
        if (n > 0 && seconds < 1) {
            break; /* a child may have ended: the caller looks */
        }
    }
    return run->ended_by != 0;
}

/* Does the process handle SIGUSR1 by now? mpirun dies of it before. */
static bool catches_notice(pid_t pid)
{
    char path[64];
    char line[256];
    unsigned long long caught = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "SigCgt:", 7) == 0) {
            caught = strtoull(line + 7, NULL, 16);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (caught >> (SIGUSR1 - 1) & 1) != 0;
}

/* ---- mpirun's messages ------------------------------------------------------------- */

/* How messages of Open MPI 4.1 begin that are the first sign of a failure. Each stands
 * below a rule of dashes; the ranks' own lines pass here, too, and are not to be taken
 * for them. */
static const char *const signs[] = {
    "ORTE has lost communication with a remote daemon",
    "An ORTE daemon has unexpectedly failed after launch",
    "ORTE was unable to reliably start one or more daemons",
    "A daemon (pid ",
    "Primary job  terminated normally, but",
    "mpirun noticed that process rank",
    "mpirun detected that one or more processes exited with non-zero status",
    "mpirun has exited due to process rank",
    "MPI_ABORT was invoked on rank",
};

struct messages {
    int fd;
    size_t fill;
    char line[LINE + 1]; /* the one that is not complete */
    bool ruled;          /* the line before it is a rule */
    const char *sign;    /* NULL: none yet */
};

static void search(struct messages *m)
{
    m->line[m->fill] = '\0';
    for (size_t i = 0;
         m->ruled && m->sign == NULL && i < sizeof signs / sizeof signs[0];
         i++) {
        if (strncmp(m->line, signs[i], strlen(signs[i])) == 0) {
            m->sign = signs[i];
        }
    }
    m->ruled = m->fill >= RULE && strspn(m->line, "-") == m->fill;
    m->fill = 0;
}

static void search_all(struct messages *m, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] == '\n' || m->fill == LINE) {
            search(m);
        }
        if (data[i] != '\n' && data[i] != '\0') {
            m->line[m->fill++] = data[i];
        }
    }
}

/* Passes on what there is. false at the end. */
static bool relay(struct messages *m)
{
    char data[16384];
    ssize_t n;
    while ((n = read(m->fd, data, sizeof data)) > 0) {
        for (ssize_t at = 0; at < n;) {
            ssize_t w = write(STDERR_FILENO, data + at, (size_t)(n - at));
            if (w < 0 && errno != EINTR) {
                break; /* nobody reads it */
            }
            at += w > 0 ? w : 0;
        }
        search_all(m, data, (size_t)n);
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- an attempt -------------------------------------------------------------------- */

struct watch {
    struct run *run;
    pid_t mpirun;
    struct messages messages;
    struct run_outcome outcome;
    double began;
    double sign_at;  /* 0: none */
    double ended_at; /* SIGTERM was sent; 0: not */
    bool killed;
    double glanced_at;
    struct run_glance *glance;
    double looked_at; /* for a new epoch */
    double epoch_at;  /* it was new */
    int64_t epoch;
};

static void end_job(struct watch *w, enum run_why why)
{
    if (w->ended_at == 0) {
        w->outcome.why = why;
        w->ended_at = run_now();
        (void)kill(w->mpirun, SIGTERM);
    }
}

static void kill_job(struct watch *w)
{
    if (!w->killed) {
        w->killed = true;
        w->outcome.killed = true;
        run_log_begin("kill");
        run_log_end("mpirun does not end: it is killed");
        (void)kill(-w->mpirun, SIGKILL);
        (void)kill(w->mpirun, SIGKILL);
    }
}

/* mpirun ends its job by now, or waits for what will not come: a SIGTERM would add
 * nothing. */
static void kill_hung(struct watch *w)
{
    w->outcome.why = w->ended_at == 0 ? RUN_WHY_HUNG : w->outcome.why;
    w->ended_at = run_now();
    kill_job(w);
}

static void look_for_signs(struct watch *w, double now)
{
    if (w->messages.sign != NULL && w->sign_at == 0) {
        w->sign_at = now;
        if (w->glance == NULL) { /* which hosts are there? */
            w->glance = run_glance_start(w->run, false);
        }
        run_log_begin("sign");
        run_log_text("sign", w->messages.sign);
        run_log_end("mpirun tells of a failure (\"%s\")", w->messages.sign);
    }
    if (w->sign_at != 0 && now - w->sign_at >= w->run->options.hang &&
        !w->killed) {
        run_log_begin("hung");
        run_log_number("seconds", now - w->sign_at);
        run_log_end("mpirun has not ended %.0f s after that", now - w->sign_at);
        kill_hung(w);
    }
}

static void look_for_epoch(struct watch *w, double now)
{
    unsigned stall = w->run->options.stall;
    if (stall == 0 || w->ended_at != 0 || now - w->looked_at < EPOCH_SECONDS) {
        return;
    }
    int64_t epoch = run_epoch(w->run);
    w->looked_at = now;
    if (epoch != w->epoch) {
        w->epoch = epoch;
        w->epoch_at = now;
    } else if (now - w->epoch_at >= stall) {
        run_log_begin("stalled");
        run_log_number("seconds", now - w->epoch_at);
        run_log_end("no new epoch for %.0f s: the job counts as hung",
                    now - w->epoch_at);
        end_job(w, RUN_WHY_STALL);
    }
}

static void look_at_hosts(struct watch *w, double now)
{
    const struct run_host *lost = NULL;
    unsigned every = w->run->options.watch;
    if (w->glance == NULL && every > 0 && w->ended_at == 0 &&
        now - w->glanced_at >= every) {
        w->glance = run_glance_start(w->run, true);
    }
    if (w->glance == NULL) {
        return;
    }
    bool done = run_glance_step(w->glance, &lost);
    if (lost != NULL && w->ended_at == 0) {
        run_log_begin("silent");
        run_log_text("host", lost->name);
        run_log_end("%s does not answer: mpirun would wait for it", lost->name);
        kill_hung(w);
        w->outcome.why = RUN_WHY_HOST;
    }
    if (done) {
        run_glance_end(w->glance);
        w->glance = NULL;
        w->glanced_at = now;
    }
}

static void step(struct watch *w)
{
    double now = run_now();
    run_signals_take(w->run, w->mpirun);
    if (w->run->notice && !w->run->forwarded && catches_notice(w->mpirun)) {
        w->run->forwarded = true;
        (void)kill(w->mpirun, SIGUSR1);
    }
    if (w->run->ended_by != 0) {
        end_job(w, RUN_WHY_SIGNAL);
    }
    look_for_signs(w, now);
    look_for_epoch(w, now);
    look_at_hosts(w, now);
    if (w->ended_at != 0 &&
        (now - w->ended_at >= w->run->options.grace || w->run->told > 1)) {
        kill_job(w);
    }
}

/* Reaps mpirun if it has ended. */
static bool reaped(struct watch *w)
{
    int status = 0;
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)w->mpirun, &info, WEXITED | WNOHANG | WNOWAIT) !=
            0 ||
        info.si_pid != w->mpirun) {
        return false;
    }
    (void)kill(-w->mpirun,
               SIGKILL); /* its agents, while the number is its own */
    pid_t pid = waitpid(w->mpirun, &status, 0);
    w->outcome.code = pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    w->outcome.signal = pid > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return true;
}

struct run_outcome run_watch(struct run *run, pid_t mpirun, int errors)
{
    struct watch w = {.run = run,
                      .mpirun = mpirun,
                      .messages = {.fd = errors},
                      .began = run_now()};
    bool open = true;
    w.glanced_at = w.epoch_at = w.began;
    w.epoch = run->options.stall > 0 ? run_epoch(run) : -1;
    run->forwarded = false;
    while (!reaped(&w)) {
        struct pollfd waiting[] = {
            {.fd = run->signals,       .events = POLLIN},
            {.fd = open ? errors : -1, .events = POLLIN}
        };
        (void)poll(waiting, 2, TICK);
        open = open && relay(&w.messages);
        step(&w);
    }
    w.outcome.seconds = run_now() - w.began;
    run_guard_tell(run, 0);
    /* its last words; a rank that outlives it may keep the pipe open */
    double until = run_now() + DRAIN_SECONDS;
    while (open && run_now() < until) {
        struct pollfd waiting = {.fd = errors, .events = POLLIN};
        (void)poll(&waiting, 1, TICK);
        open = relay(&w.messages);
    }
    /* Who was asked at the first sign need not be asked again from the start. */
    while (w.glance != NULL && w.sign_at != 0 && run->ended_by == 0) {
        const struct run_host *lost = NULL;
        if (run_glance_step(w.glance, &lost) || run_sleep(run, 0.02)) {
            break;
        }
    }
    run_glance_end(w.glance);
    (void)close(errors);
    return w.outcome;
}
