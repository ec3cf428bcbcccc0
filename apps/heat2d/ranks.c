/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables of ranks in shared memory that no checkpoint holds: their size
 * depends on the number of ranks, which may differ after a restart.
 */
#include "ranks.h"

#include <inttypes.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

static const recto_attr passing = {.flags = RECTO_NO_CHECKPOINT};

static int library_failed(void)
{
    return message_fail("%s", recto_last_error());
}

/* ---- counters ------------------------------------------------------------ */

struct column {
    const char *title;
    size_t offset; /* in recto_counters */
    uint64_t unit;
};

static const struct column columns[] = {
    {"read miss",  offsetof(recto_counters, read_misses),   1   },
    {"write miss", offsetof(recto_counters, write_misses),  1   },
    {"upgrade",    offsetof(recto_counters, upgrades),      1   },
    {"tracked",    offsetof(recto_counters, tracked),       1   },
    {"invalid.",   offsetof(recto_counters, invalidations), 1   },
    {"downgrade",  offsetof(recto_counters, downgrades),    1   },
    {"KiB read",   offsetof(recto_counters, bytes_fetched), 1024},
    {"KiB back",   offsetof(recto_counters, bytes_written), 1024},
    {"messages",   offsetof(recto_counters, messages),      1   },
};

enum {
    COLUMNS = sizeof columns / sizeof columns[0]
};

static void print_table(const recto_counters *of_rank, int ranks)
{
    uint64_t sums[COLUMNS] = {0};
    (void)printf("%5s", "rank");
    for (size_t c = 0; c < COLUMNS; c++) {
        (void)printf(" %10s", columns[c].title);
    }
    (void)printf("\n");
    for (int r = 0; r < ranks; r++) {
        (void)printf("%5d", r);
        for (size_t c = 0; c < COLUMNS; c++) {
            uint64_t value = 0;
            memcpy(&value, (const char *)&of_rank[r] + columns[c].offset,
                   sizeof value);
            sums[c] += value;
            (void)printf(" %10" PRIu64, value / columns[c].unit);
        }
        (void)printf("\n");
    }
    (void)printf("%5s", "all");
    for (size_t c = 0; c < COLUMNS; c++) {
        (void)printf(" %10" PRIu64, sums[c] / columns[c].unit);
    }
    (void)printf("\n");
}

int ranks_print_counters(void)
{
    /* Before the table's own page faults. */
    recto_counters mine;
    if (recto_stats(&mine) != 0) {
        return library_failed();
    }
    recto_counters *table = recto_alloc(
        "ranks/counters", (uint64_t)recto_size() * sizeof mine, &passing);
    if (table == NULL) {
        return library_failed();
    }
    table[recto_rank()] = mine;
    if (recto_barrier() != 0) {
        return library_failed();
    }
    if (recto_rank() == 0) {
        print_table(table, recto_size());
    }
    return recto_free(table) == 0 ? 0 : library_failed();
}

/* ---- process ids --------------------------------------------------------- */

struct process {
    int64_t pid;
    char host[56];
};

static int file_fill(const char *path, const struct process *of_rank, int ranks)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return -1;
    }
    int result = 0;
    for (int r = 0; r < ranks && result == 0; r++) {
        struct process p = of_rank[r]; /* a private copy for stdio */
        if (fprintf(file, "%d %" PRId64 " %s\n", r, p.pid, p.host) < 0) {
            result = -1;
        }
    }
    return fclose(file) == 0 ? result : -1;
}

static int write_table(const char *name, const struct process *of_rank,
                       int ranks)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.tmp", name);
    if (length < 0 || (size_t)length >= sizeof path) {
        return message_fail("%s: name too long", name);
    }
    if (file_fill(path, of_rank, ranks) != 0 || rename(path, name) != 0) {
        return message_fail("%s: cannot be written: %s", name, message_errno());
    }
    return 0;
}

int ranks_write_pids(const char *file)
{
    struct process mine = {.pid = getpid()};
    (void)gethostname(mine.host, sizeof mine.host - 1);
    struct process *table = recto_alloc(
        "ranks/pids", (uint64_t)recto_size() * sizeof mine, &passing);
    if (table == NULL) {
        return library_failed();
    }
    table[recto_rank()] = mine;
    if (recto_barrier() != 0) {
        return library_failed();
    }
    int result = recto_rank() == 0 ? write_table(file, table, recto_size()) : 0;
    if (recto_free(table) != 0) {
        return library_failed();
    }
    return result;
}
