/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto top`: running jobs, live, as far as their ranks are on this machine and this user may
 * look at them. base/live.h says how a rank is found and asked.
 *
 * Invariant: what is read of a process is not trusted: texts are ended, descriptors are
 * opened only through /proc and written to only where they are pipes.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/live.h"
#include "cli.h"

static const char help[] =
    "usage: recto top [PID]... [--interval SECONDS] [--once] [--json]\n"
    "Shows the ranks of running jobs on this machine, those of PIDs only if there are any: faults\n"
    "and bytes per second, pages written and not yet published, the checkpoint under way.\n"
    "Ranks on other machines are seen there. Ends when no rank is left, or by Ctrl-C.\n"
    "  --interval SECONDS  between two looks, 0.1 to 3600, default 1\n"
    "  --once              two looks, then one table\n"
    "  --json              the same for programs, one line each time\n"
    "exit status: 0 good; 2 wrong usage; 3 no job that can be seen\n";

enum {
    RANKS_MOST = 65536,
    ANSWER_MS = 500 /* a rank is waited for */
};

struct rank {
    struct live_page page;
    bool answered;
};

struct look {
    struct rank *ranks;
    size_t count;
};

struct options {
    double interval;
    bool once;
    bool json;
    long *pids;
    size_t npids;
};

/* ---- one rank ------------------------------------------------------------------------- */

static bool page_read(int fd, long pid, struct live_page *p)
{
    if (pread(fd, p, sizeof *p, 0) != (ssize_t)sizeof *p ||
        memcmp(p->magic, LIVE_MAGIC, sizeof p->magic) != 0 ||
        p->version != LIVE_VERSION || (long)p->pid != pid) {
        return false;
    }
    p->host[sizeof p->host - 1] = '\0';
    p->program[sizeof p->program - 1] = '\0';
    return true;
}

/* Descriptor of a process that is a page; -1: it has none. */
static int page_open(long pid)
{
    char folder[64];
    char path[sizeof folder + 256];
    char target[64];
    int found = -1;
    struct dirent *e = NULL;
    (void)snprintf(folder, sizeof folder, "/proc/%ld/fd", pid);
    DIR *dir = opendir(folder);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of its own */
    while (dir != NULL && found < 0 && (e = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%.255s", folder, e->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strncmp(target, "/memfd:" LIVE_NAME " ",
                    sizeof "/memfd:" LIVE_NAME) == 0) {
            found = open(path, O_RDONLY | O_CLOEXEC);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

static bool bell_ring(long pid, int bell)
{
    char path[64];
    struct stat s;
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/%d", pid, bell);
    if (stat(path, &s) != 0 || !S_ISFIFO(s.st_mode)) {
        return false;
    }
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    bool rung = fd >= 0 && write(fd, "?", 1) == 1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rung;
}

/* Until it has answered, or does not. */
static bool answer_wait(int fd, long pid, uint64_t serial, struct live_page *p)
{
    for (int i = 0; i < ANSWER_MS; i++) {
        if (!page_read(fd, pid, p)) {
            return false;
        }
        if (p->serial != serial && p->serial == p->again) {
            return true;
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}

static bool rank_look(long pid, struct rank *rank)
{
    int fd = page_open(pid);
    bool good = fd >= 0 && page_read(fd, pid, &rank->page);
    rank->answered = good && bell_ring(pid, rank->page.bell) &&
                     answer_wait(fd, pid, rank->page.serial, &rank->page);
    if (fd >= 0) {
        (void)close(fd);
    }
    return good;
}

/* ---- all of them ------------------------------------------------------------------------ */

static int by_rank(const void *a, const void *b)
{
    const struct live_page *x = &((const struct rank *)a)->page;
    const struct live_page *y = &((const struct rank *)b)->page;
    return x->run != y->run ? (x->run > y->run) - (x->run < y->run)
                            : (x->rank > y->rank) - (x->rank < y->rank);
}

static void rank_add(struct look *l, const struct rank *rank)
{
    struct rank *more = realloc(l->ranks, (l->count + 1) * sizeof *more);
    if (more != NULL && l->count < RANKS_MOST) {
        l->ranks = more;
        l->ranks[l->count++] = *rank;
    }
}

static bool run_wanted(const struct look *l, uint64_t run,
                       const struct options *o)
{
    for (size_t i = 0; i < l->count; i++) {
        for (size_t j = 0; j < o->npids; j++) {
            if (l->ranks[i].page.run == run &&
                (long)l->ranks[i].page.pid == o->pids[j]) {
                return true;
            }
        }
    }
    return o->npids == 0;
}

static void unwanted_drop(struct look *l, const struct options *o)
{
    bool *keep = calloc(l->count + 1, sizeof *keep);
    size_t kept = 0;
    for (size_t i = 0; keep != NULL && i < l->count; i++) {
        keep[i] = run_wanted(l, l->ranks[i].page.run, o);
    }
    for (size_t i = 0; keep != NULL && i < l->count; i++) {
        if (keep[i]) {
            l->ranks[kept++] = l->ranks[i];
        }
    }
    l->count = kept;
    free(keep);
}

static struct look look(const struct options *o)
{
    struct look l = {NULL, 0};
    struct dirent *e = NULL;
    DIR *dir = opendir("/proc");
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of its own */
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        char *end = NULL;
        long pid = strtol(e->d_name, &end, 10);
        struct rank rank;
        if (pid > 0 && *end == '\0' && rank_look(pid, &rank)) {
            rank_add(&l, &rank);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    unwanted_drop(&l, o);
    if (l.count > 0) {
        qsort(l.ranks, l.count, sizeof *l.ranks, by_rank);
    }
    return l;
}

/* ---- tables --------------------------------------------------------------------------------- */

/* Of a rank, between two looks. */
struct rates {
    double faults;
    double in;
    double out;
    double messages;
};

static recto_counters counters_of(const struct rank *rank)
{
    recto_counters c;
    _Static_assert(sizeof c == sizeof rank->page.counters, "one by one");
    memcpy(&c, rank->page.counters, sizeof c);
    return c;
}

static uint64_t faults_of(const recto_counters *c)
{
    return c->read_misses + c->write_misses + c->upgrades + c->tracked;
}

static struct rates rates_of(const struct look *before, const struct rank *now)
{
    const struct rank *was = before->count > 0
                                 ? bsearch(now, before->ranks, before->count,
                                           sizeof *before->ranks, by_rank)
                                 : NULL;
    if (was == NULL || now->page.now <= was->page.now ||
        was->page.pid != now->page.pid) {
        return (struct rates){0, 0, 0, 0};
    }
    double seconds = (double)(now->page.now - was->page.now) / 1e9;
    recto_counters a = counters_of(was);
    recto_counters b = counters_of(now);
    return (struct rates){
        .faults = (double)(faults_of(&b) - faults_of(&a)) / seconds,
        .in = (double)(b.bytes_fetched - a.bytes_fetched) / seconds,
        .out = (double)(b.bytes_written - a.bytes_written) / seconds,
        .messages = (double)(b.messages - a.messages) / seconds};
}

static void progress_text(const struct live_page *p, char *text, size_t size)
{
    if (p->epoch_on_way < 0) {
        (void)snprintf(text, size, "-");
        return;
    }
    double part = p->on_way_all > 0
                      ? 100.0 * (double)p->on_way_done / (double)p->on_way_all
                      : 100;
    (void)snprintf(text, size, "epoch %" PRId64 " %.0f%%", p->epoch_on_way,
                   part);
}

static void job_head(const struct look *l, size_t first)
{
    const struct live_page *p = &l->ranks[first].page;
    const char *slash = strrchr(p->program, '/');
    size_t here = 0;
    for (size_t i = first; i < l->count && l->ranks[i].page.run == p->run;
         i++) {
        here++;
    }
    (void)printf("%s on %s: %zu of %d ranks here, running %.0f s%s\n",
                 slash != NULL ? slash + 1 : p->program, p->host, here, p->size,
                 (double)(base_now() - p->started) / 1e9,
                 p->tracing != 0 ? ", traced" : "");
    (void)printf("%6s %8s %10s %12s %12s %10s %8s %6s %s\n", "rank", "pid",
                 "faults/s", "in/s", "out/s", "messages/s", "written", "epoch",
                 "checkpoint");
}

static void table(const struct look *before, const struct look *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct rank *rank = &l->ranks[i];
        const struct live_page *p = &rank->page;
        struct rates t = rates_of(before, rank);
        char in[32];
        char out[32];
        char progress[64];
        if (i == 0 || l->ranks[i - 1].page.run != p->run) {
            job_head(l, i);
        }
        progress_text(p, progress, sizeof progress);
        (void)printf(
            "%6d %8u %10.0f %12s %12s %10.0f %8" PRIu64 " %6" PRId64 " %s%s\n",
            p->rank, p->pid, t.faults, cli_size((uint64_t)t.in, in),
            cli_size((uint64_t)t.out, out), t.messages, p->written, p->epoch,
            progress, rank->answered ? "" : " (does not answer)");
    }
}

static void json(const struct look *before, const struct look *l)
{
    (void)printf("{\"ranks\": [");
    for (size_t i = 0; i < l->count; i++) {
        const struct live_page *p = &l->ranks[i].page;
        struct rates t = rates_of(before, &l->ranks[i]);
        recto_counters c = counters_of(&l->ranks[i]);
        (void)printf("%s{\"run\": \"%" PRIx64 "\", \"program\": ",
                     i > 0 ? ", " : "", p->run);
        cli_json_string(stdout, p->program);
        (void)printf(", \"host\": ");
        cli_json_string(stdout, p->host);
        (void)printf(
            ", \"rank\": %d, \"size\": %d, \"pid\": %u, \"answered\": %s, "
            "\"faults_per_s\": %.1f, \"in_per_s\": %.1f, \"out_per_s\": %.1f, "
            "\"messages_per_s\": %.1f, \"faults\": %" PRIu64
            ", \"bytes_fetched\": %" PRIu64 ", \"bytes_written\": %" PRIu64
            ", \"pages_written\": %" PRIu64 ", \"checkpoints\": %" PRIu64
            ", \"epoch\": %" PRId64 ", \"epoch_on_way\": %" PRId64
            ", \"on_way_done\": %" PRIu64 ", \"on_way_all\": %" PRIu64 "}",
            p->rank, p->size, p->pid, l->ranks[i].answered ? "true" : "false",
            t.faults, t.in, t.out, t.messages, faults_of(&c), c.bytes_fetched,
            c.bytes_written, p->written, c.checkpoints, p->epoch,
            p->epoch_on_way, p->on_way_done, p->on_way_all);
    }
    (void)printf("]}\n");
}

/* ---- the command line ------------------------------------------------------------------------ */

static int wrong(const char *what)
{
    (void)fprintf(stderr, "recto top: %s; see recto top --help\n", what);
    return CLI_USAGE;
}

static bool interval_read(const char *text, double *seconds)
{
    char *end = NULL;
    *seconds = strtod(text, &end);
    return isdigit((unsigned char)text[0]) && *end == '\0' && *seconds >= 0.1 &&
           *seconds <= 3600;
}

static bool pid_read(const char *text, struct options *o)
{
    char *end = NULL;
    errno = 0;
    o->pids[o->npids] = strtol(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 &&
           o->pids[o->npids++] > 0;
}

/* 0, CLI_USAGE, or -1 after --help. */
static int options_read(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(help, stdout);
            return -1;
        }
        if (strcmp(argv[i], "--once") == 0) {
            o->once = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--interval") == 0) {
            if (++i == argc || !interval_read(argv[i], &o->interval)) {
                return wrong("--interval: seconds, 0.1 to 3600");
            }
        } else if (argv[i][0] == '-') {
            return wrong("unknown option");
        } else if (!pid_read(argv[i], o)) {
            return wrong("not the number of a process");
        }
    }
    return 0;
}

static void show(const struct options *o, const struct look *before,
                 const struct look *now)
{
    if (o->json) {
        json(before, now);
    } else {
        if (!o->once && isatty(1)) {
            (void)fputs("\033[H\033[2J", stdout);
        }
        table(before, now);
        if (!o->once) {
            (void)putchar('\n');
        }
    }
    (void)fflush(stdout);
}

static int watch(const struct options *o)
{
    struct look before = look(o);
    bool any = before.count > 0;
    bool going = any;
    while (going) {
        (void)poll(NULL, 0, (int)(o->interval * 1000));
        struct look now = look(o);
        going = now.count > 0 && !o->once;
        if (now.count > 0) {
            show(o, &before, &now);
        }
        any = any && (!o->once || now.count > 0); /* it ended between them */
        free(before.ranks);
        before = now;
    }
    free(before.ranks);
    if (!any) {
        (void)fprintf(stderr,
                      "recto top: no job that can be seen runs here%s\n",
                      o->npids > 0 ? " with these processes" : "");
    }
    return any ? CLI_GOOD : CLI_NO_CHECKPOINT;
}

int cli_top(int argc, char **argv)
{
    struct options o = {.interval = 1,
                        .pids = calloc((size_t)argc, sizeof *o.pids)};
    if (o.pids == NULL) {
        (void)fprintf(stderr, "recto top: out of memory\n");
        return CLI_DAMAGED;
    }
    int status = options_read(argc, argv, &o);
    status = status == 0 ? watch(&o) : status;
    free(o.pids);
    return status < 0 ? CLI_GOOD : status;
}
