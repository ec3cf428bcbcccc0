/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mpirun's arguments, environment and start, and the guard.
 *
 * What goes to more than one host gets the settings that Open MPI needs there for
 * one-sided operations at MPI_THREAD_MULTIPLE over any network (UCX), unless the
 * program's user or site chose pml or osc; and its daemons notice within seconds that
 * a connection is dead. Settings go by the environment, where a user's own win.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "run.h"

enum {
    SETTINGS = 16,
    PREFIXES = 2,
    GUARD_SECONDS = 6 /* for mpirun to end its job when we are dead */
};

static const char *const passed_on[PREFIXES] = {"RECTO_", "UCX_"};

/* ---- programs ---------------------------------------------------------------------- */

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
           access(path, X_OK) == 0;
}

int run_programs_find(struct run *run)
{
    const struct run_options *o = &run->options;
    const char *program = o->program[0];
    char path[4096];
    if (!run_find_in_path(o->mpirun, run->mpirun, sizeof run->mpirun) ||
        !is_program(run->mpirun)) {
        return run_usage(
            "%s: no such program; is Open MPI's bin folder in PATH? "
            "(--mpirun COMMAND names another)",
            o->mpirun);
    }
    if (strchr(program, '/') == NULL) {
        return run_find_in_path(program, path, sizeof path) ||
                       is_program(program)
                   ? 0
                   : run_usage("%s: no such program in PATH or here", program);
    }
    if (program[0] != '/' && o->wdir != NULL) {
        return 0; /* on the hosts */
    }
    if (access(program, F_OK) != 0) {
        return run_usage("%s: %s", program, strerrordesc_np(errno));
    }
    return is_program(program) ? 0 : run_usage("%s: not a program", program);
}

/* ---- settings ---------------------------------------------------------------------- */

/* Does a file of Open MPI's settings choose `name`? Debian's excludes ("^ucx") what
 * works between hosts; to exclude is not to choose. */
static bool file_chooses(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    bool chooses = false;
    size_t n = strlen(name);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, name, n) == 0) {
            at += n + strspn(at + n, " \t");
            if (*at == '=') {
                at += 1 + strspn(at + 1, " \t");
                chooses = *at != '^' && *at != '\n' && *at != '\0';
            }
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return chooses;
}

/* The site's settings: of this mpirun's installation, or where Debian has them. */
static void site_file(const struct run *run, char *path, size_t size)
{
    static const char name[] = "openmpi-mca-params.conf";
    char *mpirun = realpath(run->mpirun, NULL);
    char *slash = mpirun != NULL ? strrchr(mpirun, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        (void)snprintf(path, size, "%s/../etc/%s", mpirun, name);
    }
    if (slash == NULL || access(path, F_OK) != 0) {
        (void)snprintf(path, size, "/etc/openmpi/%s", name);
    }
    free(mpirun);
}

static bool chosen(const struct run *run)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *home = getenv("HOME");
    bool set = getenv("OMPI_MCA_pml") != NULL || getenv("OMPI_MCA_osc") != NULL;
    /* NOLINTEND(concurrency-mt-unsafe) */
    char mine[4096] = "";
    if (home != NULL) {
        (void)snprintf(mine, sizeof mine, "%s/.openmpi/mca-params.conf", home);
    }
    char site[4096];
    site_file(run, site, sizeof site);
    return set || run->options.pml || run->options.osc ||
           file_chooses(mine, "pml") || file_chooses(mine, "osc") ||
           file_chooses(site, "pml") || file_chooses(site, "osc");
}

/* Is the job to run on hosts other than this one? */
static bool goes_out(const struct run *run)
{
    for (size_t i = 0; i < run->hosts.count; i++) {
        if (run->hosts.list[i].used && !run->hosts.list[i].local) {
            return true;
        }
    }
    return false;
}

struct settings {
    size_t count;
    const char *list[SETTINGS];
    char name[RUN_NAME + 64];
    char *variables; /* OMPI_MCA_mca_base_env_list, if it is set */
};

/* Which variables go to all hosts: by the list, if there is one, for mpirun takes
 * either that or -x. false: out of memory. */
static bool variables_add(struct settings *s, const char *list)
{
    size_t size = 0;
    FILE *out = open_memstream(&s->variables, &size);
    if (out == NULL) {
        return false;
    }
    (void)fprintf(out, "OMPI_MCA_mca_base_env_list=%s", list);
    for (size_t i = 0; i < PREFIXES; i++) {
        size_t at = 0;
        const char *v;
        while ((v = base_env_next(passed_on[i], &at)) != NULL) {
            (void)fprintf(out, ";%.*s", (int)strcspn(v, "="), v);
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        if (strncmp(s->list[i], "UCX_", 4) == 0) {
            (void)fprintf(out, ";%.*s", (int)strcspn(s->list[i], "="),
                          s->list[i]);
        }
    }
    return fclose(out) == 0;
}

static void settings_make(const struct run *run, struct settings *s)
{
    static const char *const network[] = {
        "OMPI_MCA_pml=ucx",
        "OMPI_MCA_osc=ucx",
        "OMPI_MCA_btl=self", /* others leave files of killed ranks in /dev/shm */
        "OMPI_MCA_pml_ucx_tls=any",
        "OMPI_MCA_pml_ucx_devices=any",
        "OMPI_MCA_opal_common_ucx_tls=any",
        "OMPI_MCA_opal_common_ucx_devices=any"};
    /* A daemon that is not heard of for 5 + 3 * 2 s is lost. */
    static const char *const daemons[] = {
        "OMPI_MCA_oob_tcp_keepalive_time=5",
        "OMPI_MCA_oob_tcp_keepalive_intvl=2",
        "OMPI_MCA_oob_tcp_keepalive_probes=3"};
    (void)snprintf(s->name, sizeof s->name, "OMPI_MCA_recto_run=%s", run->name);
    s->list[s->count++] = s->name;
    if (goes_out(run)) {
        for (size_t i = 0; i < sizeof daemons / sizeof daemons[0]; i++) {
            s->list[s->count++] = daemons[i];
        }
    }
    if (goes_out(run) && !chosen(run)) {
        for (size_t i = 0; i < sizeof network / sizeof network[0]; i++) {
            s->list[s->count++] = network[i];
        }
        if (access("/sys/class/infiniband", F_OK) != 0) {
            s->list[s->count++] = "UCX_TLS=tcp,self";
        }
    }
}

/* ---- arguments --------------------------------------------------------------------- */

struct arguments {
    char **
        words; /* NULL after the last; all owned but the program's and passed ones */
    size_t count;
    size_t room;
    bool failed;
};

static void push(struct arguments *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void push(struct arguments *a, const char *format, ...)
{
    char *word = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&word, format, arguments);
    va_end(arguments);
    if (a->count + 2 > a->room) {
        size_t room = 2 * a->room + 64;
        char **words = realloc(a->words, room * sizeof *words);
        a->words = words != NULL ? words : a->words;
        a->room = words != NULL ? room : a->room;
    }
    if (n < 0 || a->count + 2 > a->room) {
        a->failed = true;
        free(n < 0 ? NULL : word);
        return;
    }
    a->words[a->count++] = word;
    a->words[a->count] = NULL;
}

static void arguments_free(struct arguments *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->words[i]);
    }
    free(a->words);
}

/* A hostfile that lasts as long as somebody has it open: its descriptor, or -1. */
static int hostfile(const struct run *run)
{
    int fd = memfd_create("recto-hosts", 0); /* mpirun inherits it */
    for (size_t i = 0; i < run->hosts.count && fd >= 0; i++) {
        const struct run_host *h = &run->hosts.list[i];
        if (!h->used) {
            continue;
        }
        int n = dprintf(fd, "%s", h->name);
        n = n >= 0 && h->slots > 0 ? dprintf(fd, " slots=%d", h->slots) : n;
        n = n >= 0 && h->max_slots > 0
                ? dprintf(fd, " max_slots=%d", h->max_slots)
                : n;
        if (n < 0 || dprintf(fd, "\n") < 0) {
            (void)close(fd);
            return -1;
        }
    }
    return fd;
}

/* In an allocation a list is what Open MPI cuts down to it. */
static void push_hosts(struct arguments *a, const struct run *run, int fd)
{
    if (!run->hosts.slurm) {
        push(a, "--hostfile");
        push(a, "/proc/self/fd/%d", fd);
        return;
    }
    char *list = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&list, &size);
    const char *comma = "";
    for (size_t i = 0; i < run->hosts.count && out != NULL; i++) {
        const struct run_host *h = &run->hosts.list[i];
        if (h->used) {
            (void)fprintf(out, "%s%s:%d", comma, h->name,
                          h->slots > 0 ? h->slots : 1);
            comma = ",";
        }
    }
    if (out != NULL && fclose(out) == 0) {
        push(a, "--host");
        push(a, "%s", list);
    } else {
        a->failed = true;
    }
    free(list);
}

static void push_variables(struct arguments *a, const struct settings *s)
{
    for (size_t i = 0; i < PREFIXES; i++) {
        size_t at = 0;
        const char *v;
        while ((v = base_env_next(passed_on[i], &at)) != NULL) {
            push(a, "-x");
            push(a, "%.*s", (int)strcspn(v, "="), v);
        }
    }
    for (size_t i = 0; i < s->count;
         i++) { /* of the settings, what is not mpirun's */
        if (strncmp(s->list[i], "UCX_", 4) == 0) {
            push(a, "-x");
            push(a, "%.*s", (int)strcspn(s->list[i], "="), s->list[i]);
        }
    }
}

static void arguments_make(struct arguments *a, const struct run *run,
                           const struct run_plan *plan, int hosts,
                           const struct settings *s)
{
    const struct run_options *o = &run->options;
    push(a, "%s", run->mpirun);
    if (s->variables == NULL) {
        push_variables(a, s); /* first: the user's own come later and win */
    }
    for (size_t i = 0; i < o->npass; i++) {
        push(a, "%s", o->pass[i]);
    }
    if (o->oversubscribe || plan->crowded) {
        push(a, "--oversubscribe");
    }
    if (run->hosts.count > 0) {
        push_hosts(a, run, hosts);
    }
    if (plan->ranks > 0) {
        push(a, "-n");
        push(a, "%d", plan->ranks);
    }
    for (char **word = o->program; *word != NULL; word++) {
        push(a, "%s", *word);
    }
}

/* ---- the start --------------------------------------------------------------------- */

/* In the child: mpirun with its stderr in our hands. A terminal stays ours: a process
 * group in the background is stopped when it reads from one. */
static _Noreturn void become(const struct run *run, char **words, char **env,
                             int errors, pid_t parent)
{
    sigset_t none;
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(127);
    }
    if (isatty(STDIN_FILENO) != 0) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        (void)dup2(null, STDIN_FILENO);
    }
    (void)dup2(errors, STDERR_FILENO);
    (void)sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execve(run->mpirun, words, env);
    (void)dprintf(STDERR_FILENO, "recto run: %s: %s\n", run->mpirun,
                  strerrordesc_np(errno));
    _exit(127);
}

static pid_t start(struct run *run, char **words, char **env, int *errors)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(run, words, env, ends[1], parent);
    }
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return -1;
    }
    (void)setpgid(pid, pid);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *errors = ends[0];
    run_guard_tell(run, pid);
    return pid;
}

pid_t run_launch(struct run *run, const struct run_plan *plan, int *errors)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *list = getenv("OMPI_MCA_mca_base_env_list");
    struct settings s = {.count = 0};
    struct arguments a = {.words = NULL};
    pid_t pid = -1;
    bool by_file = run->hosts.count > 0 && !run->hosts.slurm;
    int hosts = by_file ? hostfile(run) : -1;
    char **env = NULL;
    settings_make(run, &s);
    bool good = list == NULL || variables_add(&s, list);
    arguments_make(&a, run, plan, hosts, &s);
    if (good && !a.failed && (hosts >= 0 || !by_file)) {
        env = base_env_copy(s.list, s.count);
        for (size_t i = 0; env != NULL && s.variables != NULL && env[i] != NULL;
             i++) {
            if (strncmp(env[i], "OMPI_MCA_mca_base_env_list=", 27) == 0) {
                env[i] = s.variables;
            }
        }
    }
    if (env != NULL) {
        pid = start(run, a.words, env, errors);
    }
    if (pid < 0) {
        run_log_begin("error");
        run_log_end("mpirun cannot be started: %s", strerrordesc_np(errno));
    }
    free(env);
    free(s.variables);
    arguments_free(&a);
    if (hosts >= 0) {
        (void)close(hosts);
    }
    return pid;
}

/* ---- the guard --------------------------------------------------------------------- */

/*
 * Reads which mpirun runs. When the pipe ends we are dead: mpirun got its SIGTERM from
 * the kernel then, and a second one soon after would keep it from ending its job in
 * order; so it only gets time, then SIGKILL, and its daemons end on losing it.
 */
static _Noreturn void guard(int pipe)
{
    int32_t pid = 0;
    int32_t next = 0;
    int process = -1;
    while (read(pipe, &next, sizeof next) == (ssize_t)sizeof next) {
        if (process >= 0) {
            (void)close(process);
        }
        pid = next;
        process = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    }
    if (process >= 0) {
        struct pollfd ended = {.fd = process, .events = POLLIN};
        if (poll(&ended, 1, GUARD_SECONDS * 1000) == 0) {
            (void)syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
        }
        (void)kill(-pid, SIGKILL); /* what is left of its group */
    }
    _exit(0);
}

int run_guard_start(struct run *run)
{
    int ends[2];
    run->guard = -1;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    run->guard_pid = fork();
    if (run->guard_pid == 0) {
        sigset_t all;
        (void)setsid();
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
        (void)prctl(PR_SET_NAME, "recto-guard");
        (void)close(ends[1]);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; fd <= 2 && null >= 0; fd++) {
            (void)dup2(null, fd); /* no pipe of the caller's is held open */
        }
        guard(ends[0]);
    }
    (void)close(ends[0]);
    if (run->guard_pid < 0) {
        (void)close(ends[1]);
        return -1;
    }
    run->guard = ends[1];
    return 0;
}

void run_guard_tell(const struct run *run, pid_t mpirun)
{
    int32_t pid = (int32_t)mpirun;
    if (run->guard >= 0 &&
        write(run->guard, &pid, sizeof pid) != (ssize_t)sizeof pid) {
        (void)fprintf(stderr,
                      "recto run: the guard is gone: if this process is "
                      "killed now, its job may stay\n");
    }
}

void run_guard_end(struct run *run)
{
    if (run->guard >= 0) {
        run_guard_tell(run, 0);
        (void)close(run->guard);
        run->guard = -1;
        while (waitpid(run->guard_pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}
