/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits: what the machine and this process's memory cgroup can still give
 * (src/space/limits.c); for the floor itself.
 */
#ifndef RECTO_SRC_SPACE_LIMITS_H
#define RECTO_SRC_SPACE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SPACE_LEVELS = 16,
    SPACE_LIMIT_NAME = 256
};

/* A cgroup from this process's own up to the root of its hierarchy. */
struct space_level {
    int dir; /* descriptor of its folder */
    bool v2;
    char name[SPACE_LIMIT_NAME]; /* the folder; its end, where it is longer */
};

struct space_limits {
    int proc; /* descriptor of /proc, or -1 */
    int levels;
    struct space_level level[SPACE_LEVELS];
};

/* What can be had now, and by which limit that is all. */
struct space_room {
    uint64_t bytes; /* UINT64_MAX where nothing is known */
    uint64_t limit; /* of which they are the rest */
    const char *name;
};

/* Finds /proc and the cgroups below `root` ("" but in tests). What does not
 * exist is no limit. */
void space_limits_open(struct space_limits *limits, const char *root);
void space_limits_close(struct space_limits *limits);

/*
 * The least of MemAvailable and, for each cgroup, its limit less what is used
 * and cannot be reclaimed. Some system calls a level; async-signal-safe.
 */
void space_limits_room(const struct space_limits *limits,
                       struct space_room *room);
/* vm.overcommit_memory, or 0. Async-signal-safe. */
uint64_t space_limits_overcommit(const struct space_limits *limits);
/* The least of main memory with swap, and of the cgroups' limits, used or not. */
uint64_t space_limits_total(const struct space_limits *limits);

#endif
