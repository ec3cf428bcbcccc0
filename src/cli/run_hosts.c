/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hosts of a run: where they are named, and which take part in an attempt.
 *
 * A hostfile is read as Open MPI 4.1 reads it: a host a line, `slots=`, `max_slots=`
 * (also with a dash), comments from '#'; a host named again without `slots=` has a slot
 * more. What is not understood is an error, since a host that mpirun has and we have
 * not could not be left out when it is lost.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

enum {
    SLOTS_MAX = 1000000
};

/* ---- the list ---------------------------------------------------------------------- */

static struct run_host *find(struct run_hosts *hosts, const char *name)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (strcmp(hosts->list[i].name, name) == 0) {
            return &hosts->list[i];
        }
    }
    return NULL;
}

static bool is_local(const char *name)
{
    char mine[RUN_HOST_MAX + 1] = "";
    if (strcmp(name, "localhost") == 0 || strcmp(name, "127.0.0.1") == 0) {
        return true;
    }
    if (gethostname(mine, sizeof mine - 1) != 0) {
        return false;
    }
    size_t shorter = strcspn(mine, "."); /* either may be without the domain */
    return strcmp(name, mine) == 0 ||
           (strcspn(name, ".") == shorter &&
            strncmp(name, mine, shorter) == 0 &&
            (name[shorter] == '\0' || mine[shorter] == '\0'));
}

/* NULL after a message. */
static struct run_host *add(struct run_hosts *hosts, const char *name)
{
    if (name[0] == '\0' || strlen(name) > RUN_HOST_MAX || name[0] == '-') {
        (void)run_usage("\"%s\" is no name of a host", name);
        return NULL;
    }
    struct run_host *list =
        realloc(hosts->list, (hosts->count + 1) * sizeof *list);
    if (list == NULL) {
        (void)run_usage("out of memory");
        return NULL;
    }
    hosts->list = list;
    struct run_host *h = &list[hosts->count++];
    *h = (struct run_host){.local = is_local(name)};
    (void)snprintf(h->name, sizeof h->name, "%s", name);
    return h;
}

void run_hosts_free(struct run_hosts *hosts)
{
    free(hosts->list);
    *hosts = (struct run_hosts){.list = NULL};
}

static bool number(const char *text, int *value)
{
    char *end = NULL;
    errno = 0;
    long n = strtol(text, &end, 10);
    *value = (int)n;
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 &&
           n >= 1 && n <= SLOTS_MAX;
}

/* ---- hostfile ---------------------------------------------------------------------- */

/* "slots = 2" is "slots=2". */
static void join_equals(char *line)
{
    char *to = line;
    for (const char *from = line; *from != '\0'; from++) {
        bool blank = isspace((unsigned char)*from) != 0;
        const char *next = from + strspn(from, " \t");
        if (blank && (*next == '=' || (to > line && to[-1] == '='))) {
            continue;
        }
        *to++ = *from;
    }
    *to = '\0';
}

static bool attribute(struct run_host *h, const char *word)
{
    static const char *const limits[] = {
        "max_slots=", "max-slots=", "slots_max=", "slots-max="};
    static const char *const counts[] = {"slots=", "cpus=", "count="};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t n = strlen(limits[i]);
        if (strncmp(word, limits[i], n) == 0) {
            return number(word + n, &h->max_slots);
        }
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = strlen(counts[i]);
        if (strncmp(word, counts[i], n) == 0) {
            return number(word + n, &h->slots);
        }
    }
    return false;
}

/* A line without its end. */
static int read_line(struct run_hosts *hosts, const char *path, int number_of,
                     char *line)
{
    line[strcspn(line, "#\r\n")] = '\0';
    join_equals(line);
    char *rest = NULL;
    const char *name = strtok_r(line, " \t", &rest);
    if (name == NULL) {
        return 0;
    }
    const char *at =
        strrchr(name, '@'); /* user@host: ssh is to know the user */
    if (at != NULL) {
        return run_usage("%s:%d: %s: give the user in ssh's configuration",
                         path, number_of, name);
    }
    struct run_host *h = find(hosts, name);
    bool again = h != NULL;
    h = again ? h : add(hosts, name);
    if (h == NULL) {
        return RUN_USAGE;
    }
    int slots = h->slots;
    for (const char *word = strtok_r(NULL, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest)) {
        if (!attribute(h, word)) {
            return run_usage(
                "%s:%d: \"%s\": expected slots=N or max_slots=N, N "
                "from 1",
                path, number_of, word);
        }
    }
    if (again && h->slots == slots) {
        h->slots = (slots == 0 ? 1 : slots) + 1;
    }
    if (h->max_slots != 0 && h->max_slots < h->slots) {
        return run_usage("%s:%d: max_slots=%d is less than slots=%d", path,
                         number_of, h->max_slots, h->slots);
    }
    return 0;
}

static int read_file(struct run_hosts *hosts, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return run_usage("--hostfile %s: %s", path, strerrordesc_np(errno));
    }
    char *line = NULL;
    size_t room = 0;
    int status = 0;
    for (int i = 1; status == 0 && getline(&line, &room, file) >= 0; i++) {
        status = read_line(hosts, path, i, line);
    }
    if (status == 0 && ferror(file) != 0) {
        status = run_usage("--hostfile %s: it cannot be read", path);
    }
    free(line);
    (void)fclose(file);
    return status == 0 && hosts->count == 0
               ? run_usage("--hostfile %s: it names no host", path)
               : status;
}

/* ---- --host ------------------------------------------------------------------------ */

/* "n1:2,n2": a slot each time a host is named without a number. */
static int read_list(struct run_hosts *hosts, const char *list)
{
    char *copy = strdup(list);
    int status = copy != NULL ? 0 : run_usage("out of memory");
    char *rest = NULL;
    for (char *word = status == 0 ? strtok_r(copy, ",", &rest) : NULL;
         word != NULL && status == 0; word = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(word, ':');
        int slots = 1;
        if (colon != NULL) {
            *colon = '\0';
            if (!number(colon + 1, &slots)) {
                status =
                    run_usage("--host %s: give NAME:SLOTS, SLOTS from 1", list);
                break;
            }
        }
        struct run_host *h = find(hosts, word);
        h = h != NULL ? h : add(hosts, word);
        status = h != NULL ? 0 : RUN_USAGE;
        if (status == 0) {
            h->slots += slots;
        }
    }
    free(copy);
    return status == 0 && hosts->count == 0
               ? run_usage("--host %s: it names no host", list)
               : status;
}

/* ---- Slurm ------------------------------------------------------------------------- */

/* "2(x3),1" is 2 2 2 1; the count for the i-th node, or 0. */
static int nth_count(const char *text, size_t i)
{
    while (*text != '\0') {
        char *end = NULL;
        long slots = strtol(text, &end, 10);
        long times = 1;
        if (end == text || slots < 1 || slots > SLOTS_MAX) {
            return 0;
        }
        if (strncmp(end, "(x", 2) == 0) {
            times = strtol(end + 2, &end, 10);
            if (*end != ')' || times < 1) {
                return 0;
            }
            end++;
        }
        if (i < (size_t)times) {
            return (int)slots;
        }
        i -= (size_t)times;
        if (*end != '\0' && *end != ',') {
            return 0;
        }
        text = *end == ',' ? end + 1 : end;
    }
    return 0;
}

/* Slurm itself knows best how its lists of hosts are written; the variable holds
 * none of the shell's letters. */
static int read_allocation(struct run_hosts *hosts, const char *nodes)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *tasks = getenv("SLURM_TASKS_PER_NODE");
    const char *cpus = getenv("SLURM_JOB_CPUS_PER_NODE");
    /* NOLINTEND(concurrency-mt-unsafe) */
    const char *counts = tasks != NULL ? tasks : cpus != NULL ? cpus : "";
    for (const char *c = nodes; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("-_.,[]", *c) == NULL) {
            return run_usage("SLURM_JOB_NODELIST=%s: not a list of nodes",
                             nodes);
        }
    }
    char command[65536];
    int n = snprintf(command, sizeof command, "scontrol show hostnames '%s'",
                     nodes);
    FILE *pipe = n > 0 && (size_t)n < sizeof command
                     /* NOLINTNEXTLINE(cert-env33-c): checked above */
                     ? popen(command, "re")
                     : NULL;
    char line[RUN_HOST_MAX + 2];
    int status = 0;
    while (pipe != NULL && status == 0 &&
           fgets(line, sizeof line, pipe) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        struct run_host *h = add(hosts, line);
        if (h == NULL) {
            status = RUN_USAGE;
        } else {
            h->slots = nth_count(counts, hosts->count - 1);
        }
    }
    int closed = pipe != NULL ? pclose(pipe) : -1;
    hosts->slurm = true;
    return status == 0 && (closed != 0 || hosts->count == 0)
               ? run_usage("scontrol show hostnames %s: it failed; give "
                           "--hostfile or --host",
                           nodes)
               : status;
}

int run_hosts_read(const struct run_options *o, struct run_hosts *hosts)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *nodes = getenv("SLURM_JOB_NODELIST");
    *hosts = (struct run_hosts){.list = NULL};
    int status = o->hostfile != NULL ? read_file(hosts, o->hostfile)
                 : o->host != NULL   ? read_list(hosts, o->host)
                 : nodes != NULL && nodes[0] != '\0'
                     ? read_allocation(hosts, nodes)
                     : 0;
    if (status == 0 && nodes != NULL && nodes[0] != '\0') {
        hosts->slurm = true; /* hosts of a file are some of the allocation's */
    }
    bool known = true;
    for (size_t i = 0; i < hosts->count; i++) {
        known = known && hosts->list[i].slots > 0;
    }
    if (status == 0 && !known && (o->spare || o->elastic)) {
        status = run_usage("--spare and --elastic need slots=N for each host");
    }
    if (status == 0 && hosts->count == 0 && (o->spare || o->elastic)) {
        status = run_usage("--spare and --elastic need several hosts: give "
                           "--hostfile or --host");
    }
    return status;
}

/* ---- an attempt -------------------------------------------------------------------- */

bool run_hosts_choose(struct run_hosts *hosts, const struct run_options *o,
                      int ranks, bool fewer, struct run_plan *plan)
{
    *plan = (struct run_plan){.ranks = ranks};
    bool known = hosts->count > 0;
    for (size_t i = 0; i < hosts->count; i++) {
        struct run_host *h = &hosts->list[i];
        h->used = !h->lost && (!o->spare || plan->slots < ranks);
        if (h->used) {
            plan->used++;
            plan->slots += h->slots;
            known = known && h->slots > 0;
        } else if (!h->lost) {
            plan->spares++;
        }
    }
    plan->slots = known ? plan->slots : 0;
    if (hosts->count == 0) {
        return true; /* this machine, and mpirun knows it */
    }
    if (plan->used == 0) {
        return false;
    }
    if (!known) {
        return true;
    }
    if (ranks == 0) {
        plan->ranks = plan->slots;
        return true;
    }
    if (plan->slots >= ranks) {
        return true;
    }
    plan->fewer = fewer;
    plan->crowded = !fewer && o->oversubscribe;
    plan->ranks = fewer ? plan->slots : ranks;
    return plan->fewer || plan->crowded;
}

const char *run_hosts_text(const struct run_hosts *hosts, bool used, char *text,
                           size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < hosts->count; i++) {
        const struct run_host *h = &hosts->list[i];
        if (used ? !h->used : !h->lost) {
            continue;
        }
        size_t n = strlen(h->name);
        if (at + n + 8 > size) {
            (void)snprintf(text + at, size - at, " ...");
            break;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", at > 0 ? " " : "",
                               h->name);
    }
    return text;
}
