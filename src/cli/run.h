/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto run`: an MPI job that survives the loss of a node with nobody there.
 *
 * Map
 *   run.c          attempts: start, watch, find out what is left, decide, again
 *   run_options.c  the command line; which words are mpirun's and which the program's
 *   run_hosts.c    hostfile, --host, Slurm's allocation; who takes part in an attempt
 *   run_launch.c   mpirun's arguments and environment; its start
 *   run_watch.c    an attempt from its start to its end: mpirun, its messages, signals,
 *                  the clock
 *   run_probe.c    which hosts answer; ends what a lost attempt left on them
 *   run_log.c      events as text and as JSON
 *
 * Words. An *attempt* is one mpirun. A host *answers* when a command that is given to
 * it by mpirun's own agent ends well within a bounded time; else it is *lost*, until it
 * answers again. A *spare* is a host that answers and is not needed.
 *
 * Invariants
 * 1. There is one attempt at a time: the next one starts when mpirun of the last has
 *    been reaped and every host that answers has been swept of its processes.
 * 2. Every wait has an end of its own but one: for a job that shows no sign of
 *    failure. For that there are the probes of --watch and the time of --stall.
 * 3. All processes of an attempt carry the run's name (`struct run.name`) in their
 *    environment or arguments: whatever carries it can be ended, nothing else is.
 * 4. When `recto run` dies, however, the guard ends mpirun, and mpirun the job.
 */
#ifndef RECTO_SRC_CLI_RUN_H
#define RECTO_SRC_CLI_RUN_H

#include <recto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the shell gets; 128 + N when signal N told it to end. */
enum run_exit {
    RUN_DONE = 0,
    RUN_GAVE_UP = 1,
    RUN_USAGE = 2,
    RUN_NO_NODES = 3,
    RUN_CONTINUE = RECTO_EXIT_CONTINUE,
    RUN_SIGNALLED = 128
};

enum {
    RUN_HOST_MAX = 255, /* bytes of a name */
    RUN_NAME = 32       /* of the run: hexadecimal digits */
};

/* ---- run_options.c ----------------------------------------------------------------- */

struct run_options {
    int ranks; /* 0: not given */
    unsigned retries;
    bool spare;
    bool elastic;
    bool oversubscribe;
    bool term_notice; /* SIGTERM is a notice of the time limit */
    unsigned probe;   /* seconds: for a host to answer */
    unsigned hang;    /* for mpirun to end after the first sign of a failure */
    unsigned grace;   /* for mpirun to end after SIGTERM */
    unsigned watch;   /* between two looks at each host; 0: none */
    unsigned stall;   /* without a new epoch; 0: for ever */
    const char *log;
    const char *hostfile;
    const char *host;   /* --host */
    const char *mpirun; /* the command, as given */
    const char *agent;  /* plm_rsh_agent among mpirun's options */
    const char *folder; /* RECTO_CKPT_DIR among mpirun's options */
    const char *wdir;   /* of the program */
    bool pml;           /* pml and osc are among mpirun's options */
    bool osc;
    char **pass; /* mpirun's options; owned */
    size_t npass;
    char **program; /* of argv, NULL at its end */
};

/* 0, RUN_USAGE after a message, or -1 after --help. */
int run_options_read(int argc, char **argv, struct run_options *o);
void run_options_free(struct run_options *o);
/* A message about the command line; returns RUN_USAGE. */
int run_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- run_hosts.c ------------------------------------------------------------------- */

struct run_host {
    char name[RUN_HOST_MAX + 1];
    int slots;     /* 0: not known */
    int max_slots; /* 0: no limit given */
    bool local;    /* it is this one */
    bool lost;
    bool
        silent; /* found lost beside the attempt: it is not asked again after it */
    bool used; /* in the attempt */
};

struct run_hosts {
    struct run_host *list; /* empty: this machine alone, as mpirun finds it */
    size_t count;
    bool slurm; /* of an allocation: reached by srun */
};

/* From the options, or the allocation. 0, or RUN_USAGE after a message. */
int run_hosts_read(const struct run_options *o, struct run_hosts *hosts);
void run_hosts_free(struct run_hosts *hosts);

/* How an attempt uses the hosts that answer. */
struct run_plan {
    int ranks;     /* 0: as mpirun finds */
    bool crowded;  /* more ranks than slots */
    size_t used;   /* hosts */
    size_t spares; /* hosts that answer and are not used */
    int slots;     /* of the used ones; 0: not known */
    bool fewer;    /* ranks than at first */
};

/*
 * Chooses the hosts of the next attempt of `ranks` ranks (0: as many as there are
 * slots) and marks them used. `fewer`: the count may change. false: what answers has
 * too few slots.
 */
bool run_hosts_choose(struct run_hosts *hosts, const struct run_options *o,
                      int ranks, bool fewer, struct run_plan *plan);

/* "n1 n2 n3", shortened past `size`. */
const char *run_hosts_text(const struct run_hosts *hosts, bool used, char *text,
                           size_t size);

/* ---- run_log.c --------------------------------------------------------------------- */

/* Opens the file of events. 0, or RUN_USAGE after a message. */
int run_log_open(const char *path, const char *run);
void run_log_close(void);

/* One event: `event` names it in JSON, the text is for people. Fields follow:
 * run_log_number, run_log_text, and run_log_end writes it. */
void run_log_begin(const char *event);
void run_log_number(const char *key, double value);
void run_log_text(const char *key, const char *value);
void run_log_end(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- the run ----------------------------------------------------------------------- */

struct run {
    struct run_options options;
    struct run_hosts hosts;
    char name[RUN_NAME + 1];
    char mpirun[4096]; /* resolved */
    char agent[4096];  /* words that go before a host's name; "" for srun */
    char folder[4096]; /* of checkpoints */
    int guard;         /* pipe to the guard; -1: none */
    pid_t guard_pid;
    int signals;      /* signalfd */
    unsigned attempt; /* from 1 */
    int ended_by;     /* a signal that told us to end; 0: none */
    unsigned told;    /* how often: the second time mpirun is killed at once */
    bool notice;      /* the time limit is near: do not start again */
    bool forwarded;   /* and the ranks of this attempt have been told */
};

/* The newest epoch in the folder, -1 for none. */
int64_t run_epoch(const struct run *run);

/* ---- run_probe.c ------------------------------------------------------------------- */

/* A program by its name or path. */
bool run_find_in_path(const char *name, char *path, size_t size);

/* Finds mpirun's agent. 0, or RUN_USAGE after a message. */
int run_agent_find(struct run *run);

/*
 * Asks hosts for an answer, some at a time, each for options.probe seconds at most,
 * and kills on those that answer what carries the run's name, if `sweep`. Sets
 * `lost`. Ends early when a signal told us to end, unless `always`.
 */
void run_probe(struct run *run, bool sweep, bool always);

/* The same beside a running attempt, for its hosts, a few at a time. */
struct run_glance;
/* `sure`: a host is lost when it does not answer twice, not once. */
struct run_glance *run_glance_start(struct run *run, bool sure);
/* Looks after it; false while it runs. *lost: a host that was found so now. */
bool run_glance_step(struct run_glance *glance, const struct run_host **lost);
void run_glance_end(struct run_glance *glance);

/* ---- run_launch.c ------------------------------------------------------------------ */

/* Finds mpirun and the program. 0, or RUN_USAGE after a message. */
int run_programs_find(struct run *run);

/* Starts mpirun; *errors is its stderr. -1 after a message. */
pid_t run_launch(struct run *run, const struct run_plan *plan, int *errors);

/* Starts the guard: a process that ends mpirun when we die. */
int run_guard_start(struct run *run);
void run_guard_tell(const struct run *run, pid_t mpirun);
void run_guard_end(struct run *run);

/* ---- run_watch.c ------------------------------------------------------------------- */

enum run_why {
    RUN_WHY_ENDED,  /* mpirun ended by itself */
    RUN_WHY_HUNG,   /* it did not after a sign of failure */
    RUN_WHY_STALL,  /* no new epoch for too long */
    RUN_WHY_HOST,   /* a host stopped answering */
    RUN_WHY_SIGNAL, /* we were told to end */
    RUN_WHY_EARLY   /* with 0, but the program had not got to recto_finalize */
};

struct run_outcome {
    enum run_why why;
    int code;    /* mpirun's exit code, or -1 */
    int signal;  /* that ended mpirun, or 0 */
    bool killed; /* it had to be killed */
    double seconds;
};

/* Blocks the signals that signals reads. */
int run_signals_open(struct run *run);
/* Takes signals that came; acts on those that concern the run: sets ended_by, notice.
 * SIGUSR2 is passed on to `mpirun` unless that is 0. */
void run_signals_take(struct run *run, pid_t mpirun);

/* Watches an attempt until mpirun is reaped. */
struct run_outcome run_watch(struct run *run, pid_t mpirun, int errors);

/* Sleeps; wakes up when told to end, and then returns true. */
bool run_sleep(struct run *run, double seconds);

double run_now(void);

#endif
