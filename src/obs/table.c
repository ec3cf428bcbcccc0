/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of counters that RECTO_STATS=1 asks for, one row per rank. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "net/net.h"
#include "obs/obs.h"

static const struct column {
    const char *title;
    size_t offset;
    uint64_t unit;
} columns[] = {
#define COLUMN(title, field, unit)                                             \
    {                                                                          \
        title, offsetof(recto_counters, field), unit                           \
    }
    COLUMN("read-miss", read_misses, 1),
    COLUMN("write-miss", write_misses, 1),
    COLUMN("upgrade", upgrades, 1),
    COLUMN("tracked", tracked, 1),
    COLUMN("notice-in", invalidations, 1),
    COLUMN("notice-out", notices, 1),
    COLUMN("diffs", diffs, 1),
    COLUMN("evicted", evictions, 1),
    COLUMN("in-KiB", bytes_fetched, 1024),
    COLUMN("out-KiB", bytes_written, 1024),
    COLUMN("messages", messages, 1),
    COLUMN("epochs", checkpoints, 1),
    COLUMN("compact-ms", compact_ns, 1000000),
    COLUMN("fault-ms", fault_ns, 1000000),
    COLUMN("barrier-ms", barrier_ns, 1000000),
#undef COLUMN
};
enum {
    COLUMNS = sizeof columns / sizeof columns[0],
    LINE = 16 * (COLUMNS + 1)
};

static uint64_t value(const recto_counters *c, size_t column)
{
    uint64_t v = 0;
    memcpy(&v, (const char *)c + columns[column].offset, sizeof v);
    return v / columns[column].unit;
}

/* One line in one write, so that lines of other ranks do not mix with it. */
static void print(const recto_counters *of_rank)
{
    char line[LINE];
    int n = snprintf(line, sizeof line, "%6s", "rank");
    for (size_t c = 0; c < COLUMNS; c++) {
        n += snprintf(line + n, sizeof line - (size_t)n, " %10s",
                      columns[c].title);
    }
    (void)fprintf(stderr, "%s\n", line);
    for (int r = 0; r < net_size(); r++) {
        n = snprintf(line, sizeof line, "%6d", r);
        for (size_t c = 0; c < COLUMNS; c++) {
            n += snprintf(line + n, sizeof line - (size_t)n, " %10" PRIu64,
                          value(&of_rank[r], c));
        }
        (void)fprintf(stderr, "%s\n", line);
    }
}

int obs_table(const recto_counters *mine)
{
    uint64_t wanted = 0;
    int r = base_env_u64(BASE_ENV_STATS, &wanted);
    int64_t any = r == 0 && wanted != 0;
    r = net_allreduce_max(&any, 1);
    if (r != 0 || any == 0) {
        return r;
    }
    recto_counters *all =
        net_rank() == 0 ? calloc((size_t)net_size(), sizeof *all) : NULL;
    r = net_verdict(net_rank() != 0 || all != NULL
                        ? 0
                        : base_error(RECTO_ENOMEM, "table of counters"));
    r = r == 0 ? net_gather(mine, sizeof *mine, all, 0) : r;
    if (r == 0 && all != NULL) {
        print(all);
    }
    free(all);
    return r;
}
