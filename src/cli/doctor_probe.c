/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto doctor`: recto-probe, alone and as a job of two ranks that mpirun starts, each
 * rank a node of its own whose pages move by MPI.
 *
 * A program that is started is a process group of its own, which is killed when its time
 * is up; of what it prints the first OUTPUT bytes are kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "cli.h"
#include "doctor.h"
#include "run.h"

enum {
    OUTPUT = 16384,
    NOT_STARTED = 127
};

/* ---- a program with an end ------------------------------------------------------------ */

struct program {
    pid_t pid;
    int ends[2];              /* of its stdout and stderr; -1: closed */
    char text[2][OUTPUT + 1]; /* what came from them */
    size_t bytes[2];
    bool late; /* it had to be killed */
    int status;
};

static _Noreturn void execute(char *const *words, char **environment,
                              int pipes[2][2])
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(pipes[0][1], STDOUT_FILENO);
    (void)dup2(pipes[1][1], STDERR_FILENO);
    (void)execve(words[0], words, environment);
    _exit(NOT_STARTED);
}

/* false: it could not be started. */
static bool begin(struct program *p, char *const *words, char **environment)
{
    int pipes[2][2];
    if (pipe2(pipes[0], O_CLOEXEC) != 0) {
        return false;
    }
    if (pipe2(pipes[1], O_CLOEXEC) != 0) {
        (void)close(pipes[0][0]);
        (void)close(pipes[0][1]);
        return false;
    }
    p->pid = fork();
    if (p->pid == 0) {
        execute(words, environment, pipes);
    }
    for (int i = 0; i < 2; i++) {
        (void)close(pipes[i][1]);
        p->ends[i] = pipes[i][0];
    }
    return p->pid > 0;
}

static void take(struct program *p, int i)
{
    char lost[512];
    size_t room = OUTPUT - p->bytes[i];
    ssize_t n = read(p->ends[i], room > 0 ? p->text[i] + p->bytes[i] : lost,
                     room > 0 ? room : sizeof lost);
    if (n > 0) {
        p->bytes[i] += room > 0 ? (size_t)n : 0;
    } else if (n == 0 || errno != EINTR) {
        (void)close(p->ends[i]);
        p->ends[i] = -1;
    }
}

/* Reads until both pipes are closed or the time is up. */
static void follow(struct program *p, unsigned seconds)
{
    double until = run_now() + seconds;
    while (p->ends[0] >= 0 || p->ends[1] >= 0) {
        struct pollfd fds[2] = {
            {p->ends[0], POLLIN, 0},
            {p->ends[1], POLLIN, 0}
        };
        double left = until - run_now();
        if (left <= 0) {
            p->late = true;
            return;
        }
        (void)poll(fds, 2, (int)(left * 1000) + 1);
        for (int i = 0; i < 2; i++) {
            if (p->ends[i] >= 0 && fds[i].revents != 0) {
                take(p, i);
            }
        }
    }
}

static void end(struct program *p)
{
    if (p->pid > 0) {
        (void)kill(-p->pid, p->late ? SIGKILL : SIGTERM);
        while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR) {
        }
    }
    for (int i = 0; i < 2; i++) {
        if (p->ends[i] >= 0) {
            (void)close(p->ends[i]);
        }
    }
}

/* Settings are those of base_env_copy. NULL: it could not be started; else free(). */
static struct program *run(const struct doctor *d, char *const *words,
                           const char *const *settings, size_t count)
{
    struct program *p = calloc(1, sizeof *p);
    char **environment = base_env_copy(settings, count);
    if (p == NULL || environment == NULL) {
        free(p);
        free(environment);
        return NULL;
    }
    p->ends[0] = p->ends[1] = -1;
    if (begin(p, words, environment)) {
        follow(p, d->seconds);
    }
    end(p);
    free(environment);
    if (p->pid < 0) {
        free(p);
        return NULL;
    }
    return p;
}

static bool good(const struct program *p)
{
    return !p->late && WIFEXITED(p->status) && WEXITSTATUS(p->status) == 0;
}

/* ---- what it said --------------------------------------------------------------------- */

/* The value of the last line KEY=VALUE, "" if there is none. */
static const char *value_of(const struct program *p, const char *key,
                            char *text, size_t size)
{
    size_t length = strlen(key);
    text[0] = '\0';
    for (const char *line = p->text[0]; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            (void)snprintf(text, size, "%.*s", (int)(n - length - 1),
                           line + length + 1);
        }
        line += n + (line[n] == '\n');
    }
    return text;
}

/* The line of stderr that says most: the first of Recto's, else the first with words. */
static void complaint(const struct program *p, char *text, size_t size)
{
    const char *line = strstr(p->text[1], "recto: ");
    if (line == NULL) {
        line = p->text[1] + strspn(p->text[1], "-= \n");
    }
    (void)snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static void how_it_ended(const struct doctor *d, const struct program *p,
                         char *text, size_t size)
{
    if (p->late) {
        (void)snprintf(text, size, "it hung: no end in %u s", d->seconds);
    } else if (WIFSIGNALED(p->status)) {
        (void)snprintf(text, size, "it died of signal %d", WTERMSIG(p->status));
    } else if (WEXITSTATUS(p->status) == NOT_STARTED) {
        (void)snprintf(text, size, "it cannot be started");
    } else {
        (void)snprintf(text, size, "it ended with %d", WEXITSTATUS(p->status));
    }
}

/* ---- recto-probe alone ------------------------------------------------------------------ */

static void method(struct doctor *d, const struct program *p, const char *key,
                   const char *name, const char *remedy)
{
    char value[512];
    bool works = strcmp(value_of(p, key, value, sizeof value), "works") == 0;
    const char *said = strncmp(value, "recto: ", 7) == 0 ? value + 7 : value;
    doctor_add(d, works ? DOCTOR_GOOD : DOCTOR_NOTE, name,
               works ? NULL : remedy, "%s: %s", strchr(key, '.') + 1, said);
}

static void libraries(struct doctor *d, const struct program *p)
{
    char value[512];
    doctor_add(d, DOCTOR_GOOD, "MPI library", NULL, "%s",
               value_of(p, "mpi", value, sizeof value));
    doctor_add(d, DOCTOR_GOOD, "HDF5", NULL, "%s",
               value_of(p, "hdf5", value, sizeof value));
    doctor_add(d, DOCTOR_GOOD, "topology", NULL, "%s",
               value_of(p, "topology", value, sizeof value));
    method(
        d, p, "protection.pte", "page protection",
        "faults cost twice as much under mprotect, which serves instead: Linux "
        "6.4, and a container that may call userfaultfd");
    method(d, p, "protection.mprotect", "page protection",
           "no page can be protected: report it");
    method(
        d, p, "tracking.scan", "dirty tracking",
        "each first write is a fault: Linux 6.7, and a container that may call "
        "userfaultfd");
}

static bool alone(struct doctor *d, char *probe)
{
    char machine[] = "--machine";
    char *words[] = {probe, machine, NULL};
    char ended[64];
    char said[512];
    struct program *p = run(d, words, NULL, 0);
    bool fine = p != NULL && good(p);
    if (fine) {
        libraries(d, p);
    } else if (p != NULL) {
        how_it_ended(d, p, ended, sizeof ended);
        complaint(p, said, sizeof said);
        doctor_add(d, DOCTOR_PROBLEM, "recto-probe",
                   "install it and the libraries that it names beside recto",
                   "%s: %s: %s", probe, ended, said);
    }
    free(p);
    return fine;
}

/* ---- as a job --------------------------------------------------------------------------- */

static void job_judge(struct doctor *d, const struct program *p)
{
    char value[512];
    char at[128];
    char ended[64];
    bool alone_again =
        strcmp(value_of(p, "ranks", value, sizeof value), "1") == 0;
    if (alone_again) {
        doctor_add(
            d, DOCTOR_PROBLEM, "mpirun",
            "it belongs to another MPI than Recto's: put that one's mpirun "
            "first in PATH, or --mpirun",
            "%s -n 2 starts jobs of one rank", d->mpirun);
        return;
    }
    if (good(p)) {
        doctor_add(d, DOCTOR_GOOD, "started", NULL, "%s",
                   value_of(p, "chosen", value, sizeof value));
        doctor_add(
            d, DOCTOR_GOOD, "one-sided", NULL,
            "2 ranks at MPI_THREAD_MULTIPLE fetch pages of each other by "
            "MPI, %s us a page in order",
            value_of(p, "fetched", value, sizeof value));
        return;
    }
    how_it_ended(d, p, ended, sizeof ended);
    complaint(p, value, sizeof value);
    value_of(p, "step", at, sizeof at);
    doctor_add(
        d, DOCTOR_PROBLEM, at[0] != '\0' ? "one-sided" : "mpirun",
        at[0] != '\0'
            ? "docs/clusters.md has the settings of Open MPI; try pml and "
              "osc ucx"
            : "a job of two ranks must start: see what mpirun says",
        "%s -n 2 recto-probe: %s%s%s%s%s", d->mpirun, ended,
        at[0] != '\0' ? " in " : "", at, value[0] != '\0' ? ": " : "", value);
}

static void root_note(struct doctor *d)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    if (geteuid() == 0 && getenv("OMPI_ALLOW_RUN_AS_ROOT") == NULL) {
        doctor_add(d, DOCTOR_NOTE, "root",
                   "be a user, or OMPI_ALLOW_RUN_AS_ROOT=1 "
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                   "Open MPI starts no jobs of root");
    }
}

static void job(struct doctor *d, char *probe)
{
    char mpirun[PATH_MAX];
    char agent[PATH_MAX];
    char node[64];
    char transport[64];
    char n[] = "-n";
    char two[] = "2";
    char env[] = "env";
    char *words[] = {mpirun, n, two, env, node, transport, probe, NULL};
    const char *settings[] = {"OMPI_ALLOW_RUN_AS_ROOT=1",
                              "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                              "OMPI_MCA_rmaps_base_oversubscribe=1",
                              "OMPI_MCA_mpi_yield_when_idle=1",
                              "OMPI_MCA_hwloc_base_binding_policy=none",
                              "OMPI_MCA_plm_rsh_agent="};
    size_t count = sizeof settings / sizeof settings[0];
    if (!run_find_in_path(d->mpirun, mpirun, sizeof mpirun)) {
        doctor_add(d, DOCTOR_PROBLEM, "mpirun",
                   "install it, load its module, or --mpirun COMMAND",
                   "no program %s in PATH", d->mpirun);
        return;
    }
    root_note(d);
    if (run_find_in_path("ssh", agent, sizeof agent) ||
        run_find_in_path("rsh", agent, sizeof agent)) {
        count--; /* without either Open MPI asks for one even here */
    }
    (void)snprintf(node, sizeof node, "%s=rank", base_env_name(BASE_ENV_NODE));
    (void)snprintf(transport, sizeof transport, "%s=mpi",
                   base_env_name(BASE_ENV_TRANSPORT));
    struct program *p = run(d, words, settings, count);
    if (p != NULL) {
        job_judge(d, p);
    }
    free(p);
}

void doctor_probes(struct doctor *d)
{
    char probe[PATH_MAX];
    if (!cli_beside("recto-probe", probe, sizeof probe) ||
        access(probe, X_OK) != 0) {
        doctor_add(d, DOCTOR_PROBLEM, "recto-probe",
                   "install it beside recto: without it MPI is not looked at",
                   "%s: %s", probe, base_errno_text(errno));
    } else if (alone(d, probe)) {
        job(d, probe);
    }
}
