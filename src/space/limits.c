/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory can still be had: MemAvailable of /proc/meminfo, and the limit
 * of each memory cgroup from this process's own up to the root.
 *
 *   v2   memory.max             - (memory.current        - file pages)
 *   v1   memory.limit_in_bytes  - (memory.usage_in_bytes - file pages)
 *
 * Pages of files (the page cache) count as used there, but the kernel takes them
 * back before it refuses memory: a job that has just read its input is not out of
 * memory. Memory of segments is shared memory, which is not among them. There is
 * no other limit: the kernel's internal tmpfs, where memfds live, has none.
 *
 * Invariants
 * 1. The folders are opened once, at start; asking opens, reads and closes files in
 *    them, and keeps nothing. So it is async-signal-safe, and any thread may ask.
 * 2. A file that is missing, or says "max", is no limit.
 */
#include "limits.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- numbers in files ---------------------------------------------------------- */

/* Finds the number behind `key` at the start of a line; key "": the first number,
 * if the file starts with it. */
struct scan {
    const char *key;
    size_t matched;
    enum {
        SCAN_KEY,
        SCAN_BLANK,
        SCAN_NUMBER,
        SCAN_SKIP,
        SCAN_DONE
    } state;
    uint64_t value;
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static void scan_number(struct scan *s, char c)
{
    if (digit(c)) {
        s->value = s->value * 10 + (uint64_t)(c - '0');
        s->state = SCAN_NUMBER;
    } else if (s->state == SCAN_NUMBER) {
        s->state = SCAN_DONE;
    } else if (c != ' ' && c != '\t' && c != ':') {
        s->state = SCAN_SKIP;
    }
}

static void scan_char(struct scan *s, char c)
{
    switch (s->state) {
    case SCAN_KEY:
        if (s->key[s->matched] != '\0') {
            bool same = s->key[s->matched] == c;
            s->matched++;
            s->state = same ? SCAN_KEY : SCAN_SKIP;
        } else if (s->matched > 0 && c != ' ' && c != ':' && c != '\t') {
            s->state = SCAN_SKIP; /* a longer word */
        } else {
            s->state = SCAN_BLANK;
            scan_number(s, c);
        }
        break;
    case SCAN_BLANK:
    case SCAN_NUMBER: scan_number(s, c); break;
    case SCAN_SKIP:
    case SCAN_DONE: break;
    }
    if (c == '\n' && s->state != SCAN_DONE) {
        s->state = SCAN_KEY;
        s->matched = 0;
    }
}

static uint64_t number_in(int dir, const char *file, const char *key,
                          uint64_t missing)
{
    char block[256];
    struct scan s = {.key = key};
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return missing;
    }
    ssize_t got = 0;
    while (s.state != SCAN_DONE && (got = read(fd, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < got && s.state != SCAN_DONE; i++) {
            scan_char(&s, block[i]);
        }
    }
    (void)close(fd);
    return s.state == SCAN_DONE || s.state == SCAN_NUMBER ? s.value : missing;
}

/* ---- finding the cgroups --------------------------------------------------------- */

/* Does the list "a,b,c" hold the word? */
static bool lists(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 &&
            (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static void line_end(char *line)
{
    line[strcspn(line, "\n")] = '\0';
}

/* This process's path in the hierarchy: "0::/path" or "4:cpu,memory:/path". */
static bool path_find(FILE *f, bool v2, char *path, size_t size)
{
    char line[PATH_MAX + 256];
    while (fgets(line, sizeof line, f) != NULL) {
        line_end(line);
        char *controllers = strchr(line, ':');
        char *at = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (at == NULL) {
            continue;
        }
        *at = '\0';
        if (v2 ? controllers[1] == '\0' : lists(controllers + 1, "memory")) {
            return (size_t)snprintf(path, size, "%s", at + 1) < size;
        }
    }
    return false;
}

/* Where the hierarchy is mounted, and which of its folders that is:
 * "36 35 98:0 ROOT POINT options - cgroup2 source options". */
static bool mount_find(FILE *f, bool v2, char *mounted, char *point)
{
    char line[2 * PATH_MAX + 512];
    while (fgets(line, sizeof line, f) != NULL) {
        char type[32];
        char options[256];
        line_end(line);
        const char *tail = strstr(line, " - ");
        /* NOLINTBEGIN(cert-err34-c): words only */
        if (tail == NULL ||
            sscanf(tail, " - %31s %*s %255s", type, options) != 2 ||
            strcmp(type, v2 ? "cgroup2" : "cgroup") != 0 ||
            (!v2 && !lists(options, "memory"))) {
            continue;
        }
        if (sscanf(line, "%*s %*s %*s %4095s %4095s", mounted, point) == 2) {
            return true;
        }
        /* NOLINTEND(cert-err34-c) */
    }
    return false;
}

/* The end of a folder's name, where there is no room for all. */
static void name_set(struct space_level *level, const char *path)
{
    size_t length = strlen(path);
    size_t room = sizeof level->name - 1;
    size_t kept = length < room ? length : room;
    memcpy(level->name, path + length - kept, kept + 1);
}

/* Opens `path` and the folders above it, down to its first `least` bytes. */
static void levels_open(struct space_limits *limits, char *path, size_t least,
                        bool v2, size_t hidden)
{
    while (limits->levels < SPACE_LEVELS) {
        struct space_level *level = &limits->level[limits->levels];
        level->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (level->dir >= 0) {
            level->v2 = v2;
            name_set(level, path + hidden);
            limits->levels++;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL || (size_t)(slash - path) < least) {
            return;
        }
        *slash = '\0';
    }
}

static FILE *file_open(const char *root, const char *name)
{
    char path[PATH_MAX];
    return (size_t)snprintf(path, sizeof path, "%s%s", root, name) < sizeof path
               ? fopen(path, "re")
               : NULL;
}

static void hierarchy_open(struct space_limits *limits, const char *root,
                           bool v2)
{
    char path[PATH_MAX];
    char mounted[PATH_MAX];
    char point[PATH_MAX];
    char folder[3 * PATH_MAX];
    FILE *cgroup = file_open(root, "/proc/self/cgroup");
    FILE *mounts = file_open(root, "/proc/self/mountinfo");
    if (cgroup != NULL && mounts != NULL &&
        path_find(cgroup, v2, path, sizeof path) &&
        mount_find(mounts, v2, mounted, point)) {
        /* In a container the mount shows a part of the hierarchy; a path outside
         * it cannot be seen, the mount's own folder can. */
        size_t part = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
        const char *below =
            strncmp(path, mounted, part) == 0 && strstr(path, "/..") == NULL
                ? path + part
                : "";
        int n = snprintf(folder, sizeof folder, "%s%s%s", root, point,
                         strcmp(below, "/") == 0 ? "" : below);
        if (n > 0 && (size_t)n < sizeof folder) {
            size_t hidden = strlen(root);
            levels_open(limits, folder, hidden + strlen(point), v2, hidden);
        }
    }
    if (cgroup != NULL) {
        (void)fclose(cgroup);
    }
    if (mounts != NULL) {
        (void)fclose(mounts);
    }
}

void space_limits_open(struct space_limits *limits, const char *root)
{
    char path[PATH_MAX];
    memset(limits, 0, sizeof *limits);
    (void)snprintf(path, sizeof path, "%s/proc", root);
    limits->proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hierarchy_open(limits, root, true);
    hierarchy_open(limits, root, false);
}

void space_limits_close(struct space_limits *limits)
{
    for (int i = 0; i < limits->levels; i++) {
        (void)close(limits->level[i].dir);
    }
    if (limits->proc >= 0) {
        (void)close(limits->proc);
    }
    limits->levels = 0;
    limits->proc = -1;
}

/* ---- asking ------------------------------------------------------------------------- */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t level_limit(const struct space_level *level)
{
    return number_in(level->dir,
                     level->v2 ? "memory.max" : "memory.limit_in_bytes", "",
                     UINT64_MAX);
}

/* Used, and not to be had back. */
static uint64_t level_used(const struct space_level *level)
{
    static const char *const files[2][2] = {
        {"total_inactive_file", "total_active_file"},
        {"inactive_file",       "active_file"      }
    };
    uint64_t used = number_in(
        level->dir, level->v2 ? "memory.current" : "memory.usage_in_bytes", "",
        0);
    for (int i = 0; i < 2; i++) {
        used = less(
            used, number_in(level->dir, "memory.stat", files[level->v2][i], 0));
    }
    return used;
}

static uint64_t meminfo(const struct space_limits *limits, const char *name,
                        uint64_t missing)
{
    uint64_t kib = limits->proc >= 0
                       ? number_in(limits->proc, "meminfo", name, UINT64_MAX)
                       : UINT64_MAX;
    return kib == UINT64_MAX ? missing : kib * 1024;
}

void space_limits_room(const struct space_limits *limits,
                       struct space_room *room)
{
    room->bytes = meminfo(limits, "MemAvailable", UINT64_MAX);
    room->limit = meminfo(limits, "MemTotal", room->bytes);
    room->name = "MemAvailable of /proc/meminfo";
    for (int i = 0; i < limits->levels; i++) {
        uint64_t limit = level_limit(&limits->level[i]);
        /* without a limit nobody need count */
        uint64_t left = limit == UINT64_MAX
                            ? UINT64_MAX
                            : less(limit, level_used(&limits->level[i]));
        if (left < room->bytes) {
            room->bytes = left;
            room->limit = limit;
            room->name = limits->level[i].name;
        }
    }
}

uint64_t space_limits_overcommit(const struct space_limits *limits)
{
    return limits->proc >= 0
               ? number_in(limits->proc, "sys/vm/overcommit_memory", "", 0)
               : 0;
}

uint64_t space_limits_total(const struct space_limits *limits)
{
    uint64_t total =
        meminfo(limits, "MemTotal", 0) + meminfo(limits, "SwapTotal", 0);
    total = total > 0 ? total : UINT64_MAX;
    for (int i = 0; i < limits->levels; i++) {
        uint64_t limit = level_limit(&limits->level[i]);
        total = limit < total ? limit : total;
    }
    return total;
}
