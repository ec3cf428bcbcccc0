/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process takes, for tests of memory. */
#ifndef RECTO_TESTS_OWN_H
#define RECTO_TESTS_OWN_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "test.h"

/* The descriptor of my domain's memory of an array, or -1. */
static inline int own_memory(const char *name)
{
    char label[80];
    int found = -1;
    DIR *fds = opendir("/proc/self/fd");
    CHECK(fds != NULL);
    snprintf(label, sizeof label, "/memfd:recto:%s ", name);
    for (struct dirent *e = readdir(fds); e != NULL; e = readdir(fds)) {
        char target[256] = "";
        if (readlinkat(dirfd(fds), e->d_name, target, sizeof target - 1) > 0 &&
            strncmp(target, label, strlen(label)) == 0) {
            found = (int)strtol(e->d_name, NULL, 10);
        }
    }
    closedir(fds);
    return found;
}

/* KiB that it takes. */
static inline uint64_t own_memory_kib(const char *name)
{
    struct stat st;
    int fd = own_memory(name);
    return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks / 2 : 0;
}

/* A line of /proc/self/status, as "VmPTE:". */
static inline uint64_t own_status_kib(const char *name)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            CHECK(sscanf(line + strlen(name), " %lu", &kib) == 1);
        }
    }
    fclose(f);
    return kib;
}

#endif
