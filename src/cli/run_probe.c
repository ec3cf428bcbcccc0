/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which hosts answer. A host is asked as mpirun would reach it: by its rsh agent, in a
 * Slurm allocation by srun; this machine by a shell. What it is asked to do is a
 * shell's line, which ends all processes that carry the run's name and counts them.
 *
 * A question is a child in a process group of its own, which is killed when its time is
 * up. Its answer is its exit code; what it prints is read to its end or to ANSWER bytes,
 * whichever comes first, so that a host that prints without end answers nothing more.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "run.h"

enum {
    AT_ONCE = 64,       /* questions */
    AT_ONCE_BESIDE = 8, /* beside a running job */
    ANSWER = 4096,
    WORDS = 64
};

/* ---- the agent --------------------------------------------------------------------- */

bool run_find_in_path(const char *name, char *path, size_t size)
{
    if (strchr(name, '/') != NULL) {
        (void)snprintf(path, size, "%s", name);
        return strlen(name) < size && access(name, X_OK) == 0;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *folders = getenv("PATH");
    folders = folders != NULL ? folders : "/usr/local/bin:/usr/bin:/bin";
    while (*folders != '\0') {
        size_t n = strcspn(folders, ":");
        int length = snprintf(path, size, "%.*s/%s", n > 0 ? (int)n : 1,
                              n > 0 ? folders : ".", name);
        if (length > 0 && (size_t)length < size && access(path, X_OK) == 0) {
            return true;
        }
        folders += n + (folders[n] == ':' ? 1 : 0);
    }
    return false;
}

/* "ssh -x : rsh": the first whose program is there. */
static bool agent_choose(const char *list, char *agent, size_t size)
{
    char copy[4096];
    char *rest = NULL;
    (void)snprintf(copy, sizeof copy, "%s", list);
    for (char *one = strtok_r(copy, ":", &rest); one != NULL;
         one = strtok_r(NULL, ":", &rest)) {
        char program[4096];
        char path[4096];
        one += strspn(one, " ");
        (void)snprintf(program, sizeof program, "%.*s", (int)strcspn(one, " "),
                       one);
        if (run_find_in_path(program, path, sizeof path)) {
            (void)snprintf(agent, size, "%s", one);
            return true;
        }
    }
    return false;
}

int run_agent_find(struct run *run)
{
    bool far = false;
    for (size_t i = 0; i < run->hosts.count; i++) {
        far = far || !run->hosts.list[i].local;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *set = getenv("OMPI_MCA_plm_rsh_agent");
    const char *list = run->options.agent;
    list = list == NULL && set != NULL && set[0] != '\0' ? set : list;
    if (!far || (run->hosts.slurm && list == NULL)) {
        return 0;
    }
    run->hosts.slurm = false; /* the agent was asked for */
    if (agent_choose(list != NULL ? list : "ssh:rsh", run->agent,
                     sizeof run->agent)) {
        static const char batch[] =
            " -o BatchMode=yes -o StrictHostKeyChecking=accept-new";
        size_t length = strlen(run->agent);
        if (list == NULL && strcmp(run->agent, "ssh") == 0 &&
            length + sizeof batch <= sizeof run->agent) {
            memcpy(run->agent + length, batch, sizeof batch);
        }
        return 0;
    }
    return run_usage("no program \"%s\" to reach other hosts by; set "
                     "OMPI_MCA_plm_rsh_agent",
                     list != NULL ? list : "ssh");
}

/* ---- one question ------------------------------------------------------------------ */

struct question {
    struct run_host *host; /* NULL: none under way */
    pid_t pid;
    int output;
    double began;
    double until;
    size_t bytes;
    char text[ANSWER + 1];
};

/* Ends what carries the name, but not itself: its own arguments hold the name with its
 * first letter in brackets, which does not match. No apostrophes: it is put between
 * some. */
static void sweep_line(const struct run *run, bool sweep, char *line,
                       size_t size)
{
    if (!sweep) {
        (void)snprintf(line, size, "echo recto-answers");
        return;
    }
    (void)snprintf(
        line, size,
        "set -- $(grep -sl \"[%c]%s\" /proc/[0-9]*/environ /proc/[0-9]*/cmdline "
        "| cut -d/ -f3 | sort -u); [ $# -eq 0 ] || kill -KILL \"$@\" "
        "2>/dev/null; echo recto-answers $#",
        run->name[0], run->name + 1);
}

/* Executes the question; in the child. */
static _Noreturn void ask(const struct run *run, const struct run_host *host,
                          const char *line)
{
    char *words[WORDS] = {NULL};
    char agent[sizeof run->agent];
    char quoted[2048];
    size_t n = 0;
    char sh[] = "sh";
    char c[] = "-c";
    if (host->local) {
        words[n++] = sh;
        words[n++] = c;
        words[n++] = (char *)line;
    } else if (run->hosts.slurm) {
        static char srun[] = "srun";
        static char *const fixed[] = {
            (char *)"--overlap",  (char *)"--quiet", (char *)"--input=none",
            (char *)"--mpi=none", (char *)"-N1",     (char *)"-n1",
            (char *)"-w"};
        words[n++] = srun;
        for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
            words[n++] = fixed[i];
        }
        words[n++] = (char *)host->name;
        words[n++] = sh;
        words[n++] = c;
        words[n++] = (char *)line;
    } else {
        char *rest = NULL;
        (void)snprintf(agent, sizeof agent, "%s", run->agent);
        for (char *w = strtok_r(agent, " ", &rest); w != NULL && n < WORDS - 3;
             w = strtok_r(NULL, " ", &rest)) {
            words[n++] = w;
        }
        (void)snprintf(quoted, sizeof quoted, "sh -c '%s'", line);
        words[n++] = (char *)host->name;
        words[n++] = quoted;
    }
    (void)execvp(words[0], words);
    _exit(127);
}

/* Who told us to end does not wait longer than for mpirun. */
static unsigned patience(const struct run *run)
{
    const struct run_options *o = &run->options;
    return run->ended_by != 0 && o->grace < o->probe ? o->grace : o->probe;
}

static void question_begin(struct question *q, const struct run *run,
                           struct run_host *host, bool sweep)
{
    char line[1024];
    int ends[2];
    sweep_line(run, sweep, line, sizeof line);
    *q = (struct question){.host = host,
                           .pid = -1,
                           .output = -1,
                           .began = run_now(),
                           .until = run_now() + patience(run)};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return; /* counts as no answer */
    }
    pid_t parent = getpid();
    q->pid = fork();
    if (q->pid == 0) {
        sigset_t none;
        (void)sigemptyset(&none);
        (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (getppid() != parent || null < 0) {
            _exit(127);
        }
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        ask(run, host, line);
    }
    (void)close(ends[1]);
    if (q->pid < 0) {
        (void)close(ends[0]);
        return;
    }
    (void)setpgid(q->pid, q->pid);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    q->output = ends[0];
}

static void question_end(struct question *q)
{
    if (q->pid > 0) {
        (void)kill(-q->pid, SIGKILL);
        (void)kill(q->pid, SIGKILL);
        while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (q->output >= 0) {
        (void)close(q->output);
    }
    q->host = NULL;
    q->pid = -1;
    q->output = -1;
}

static void question_read(struct question *q)
{
    ssize_t n = 1;
    while (n > 0 && q->bytes < ANSWER) {
        n = read(q->output, q->text + q->bytes, ANSWER - q->bytes);
        q->bytes += n > 0 ? (size_t)n : 0;
    }
    q->text[q->bytes] = '\0';
}

/* false: wait on. *swept: processes that were ended there; -1: no answer. */
static bool question_step(struct question *q, int *swept)
{
    static const char word[] = "recto-answers";
    *swept = -1;
    if (q->pid < 0) {
        return true;
    }
    question_read(q);
    /* The answer is the line, not the end of the agent: some take their time. */
    const char *answer = strstr(q->text, word);
    if (answer != NULL && strchr(answer, '\n') != NULL) {
        *swept = (int)strtol(answer + sizeof word - 1, NULL, 10);
        return true;
    }
    int status = 0;
    if (waitpid(q->pid, &status, WNOHANG) == q->pid) {
        (void)kill(-q->pid, SIGKILL);
        question_read(q);
        answer = strstr(q->text, word);
        q->pid = -1;
        if (answer != NULL) {
            *swept = (int)strtol(answer + sizeof word - 1, NULL, 10);
        }
        return true;
    }
    return run_now() >= q->until;
}

/* ---- all hosts --------------------------------------------------------------------- */

static void answer(struct run *run, struct run_host *h, int swept, double ms)
{
    bool lost = swept < 0;
    if (lost != h->lost || swept > 0) {
        run_log_begin(lost ? "lost" : h->lost ? "back" : "swept");
        run_log_text("host", h->name);
        run_log_number("milliseconds", ms);
        if (swept > 0) {
            run_log_number("processes", swept);
        }
        if (lost) {
            run_log_end("%s does not answer (%u s are given): it is left out",
                        h->name, run->options.probe);
        } else if (h->lost) {
            run_log_end("%s answers again", h->name);
        } else {
            run_log_end("%s: ended %d processes that the attempt had left",
                        h->name, swept);
        }
    }
    h->lost = lost;
    h->silent = false;
}

/* The next one to be asked, or NULL. */
static struct run_host *probe_next(struct run *run, size_t *next)
{
    while (*next < run->hosts.count) {
        struct run_host *h = &run->hosts.list[(*next)++];
        if (!h->silent) {
            return h;
        }
        answer(run, h, -1, 0);
    }
    return NULL;
}

static size_t probe_start(struct run *run, struct question *q, size_t *next,
                          bool sweep)
{
    size_t running = 0;
    for (size_t i = 0; i < AT_ONCE; i++) {
        struct run_host *host = NULL;
        if (q[i].host == NULL && (host = probe_next(run, next)) != NULL) {
            question_begin(&q[i], run, host, sweep);
        }
        running += q[i].host != NULL;
    }
    return running;
}

void run_probe(struct run *run, bool sweep, bool always)
{
    struct run_host here = {.name = "this host", .local = true};
    struct run_hosts saved = run->hosts;
    if (run->hosts.count == 0) { /* one machine: there is only what is left */
        run->hosts = (struct run_hosts){.list = &here, .count = 1};
    }
    struct question *q = calloc(AT_ONCE, sizeof *q);
    size_t next = 0;
    while (q != NULL && probe_start(run, q, &next, sweep) > 0) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            int swept = 0;
            if (q[i].host != NULL && question_step(&q[i], &swept)) {
                answer(run, q[i].host, swept, 1e3 * (run_now() - q[i].began));
                question_end(&q[i]);
            }
        }
        if (run_sleep(run, 0.02) && !always) {
            break;
        }
    }
    for (size_t i = 0; q != NULL && i < AT_ONCE; i++) {
        if (q[i].host != NULL) {
            question_end(&q[i]);
        }
    }
    free(q);
    run->hosts = saved.count == 0 ? saved : run->hosts;
}

/* ---- beside a running attempt ------------------------------------------------------ */

struct run_glance {
    struct run *run;
    bool sure;
    size_t next;
    struct question q[AT_ONCE_BESIDE];
    struct run_host *once; /* did not answer once: it is asked again */
};

struct run_glance *run_glance_start(struct run *run, bool sure)
{
    struct run_glance *g = calloc(1, sizeof *g);
    if (g != NULL) {
        g->run = run;
        g->sure = sure;
    }
    return g;
}

/* The answer of one question; true if its host is lost. */
static bool glance_answer(struct run_glance *g, struct question *q, int swept)
{
    struct run_host *host = q->host;
    question_end(q);
    if (swept >= 0) {
        g->once = g->once == host ? NULL : g->once;
        return false;
    }
    if (!g->sure || g->once == host) {
        return host->silent = true;
    }
    if (g->once == NULL) { /* one at a time: another has its turn next time */
        g->once = host;
        question_begin(q, g->run, host, false);
    }
    return false;
}

bool run_glance_step(struct run_glance *g, const struct run_host **lost)
{
    bool running = false;
    *lost = NULL;
    for (size_t i = 0; i < AT_ONCE_BESIDE; i++) {
        struct question *q = &g->q[i];
        int swept = 0;
        while (q->host == NULL && g->next < g->run->hosts.count) {
            struct run_host *host = &g->run->hosts.list[g->next++];
            if (host->used && !host->local) {
                question_begin(q, g->run, host, false);
            }
        }
        if (q->host != NULL && question_step(q, &swept)) {
            struct run_host *host = q->host;
            if (glance_answer(g, q, swept)) {
                *lost = host;
            }
        }
        running = running || q->host != NULL;
    }
    return !running && g->next >= g->run->hosts.count;
}

void run_glance_end(struct run_glance *g)
{
    for (size_t i = 0; g != NULL && i < AT_ONCE_BESIDE; i++) {
        if (g->q[i].host != NULL) {
            question_end(&g->q[i]);
        }
    }
    free(g);
}
