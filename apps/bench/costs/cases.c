/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases, see cases.h. */
#include "costs/cases.h"

#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"

enum {
    LINES = 512,   /* statements of all cases */
    PER_CASE = 16, /* of one */
    POLLS = 400,   /* of counts that are not as expected, */
    SAME = 60,     /* or that do not change any more */
    CALM = 3,      /* polls in which nothing changes */
    POLL_US = 5000
};

struct line {
    const char *name; /* of its case */
    const char *what;
    double us; /* the slowest rank's time for the whole case */
    int64_t least;
    int64_t total;
    int64_t most;
    int64_t found;
    int64_t found_most;
    bool broken;
};

static struct line lines[LINES];
static int count;

static struct {
    uint64_t start;
    uint64_t before[TRAFFIC_KINDS];
    struct line lines[PER_CASE];
    enum traffic kinds[PER_CASE];
    int count;
    double us;
} now;

void case_begin(void)
{
    now.count = 0;
    bench_meet();
    traffic_read(now.before);
    PMPI_Barrier(MPI_COMM_WORLD);
    now.start = bench_now();
}

static void add(enum traffic kind, struct line line)
{
    if (now.count == PER_CASE) {
        bench_fail("more than %d expectations of a case", PER_CASE);
    }
    if (now.count == 0) {
        now.us = (double)(bench_now() - now.start) / 1e3;
    }
    line.what = line.what != NULL ? line.what : traffic_name(kind);
    now.kinds[now.count] = kind;
    now.lines[now.count++] = line;
}

void case_expect(enum traffic kind, int64_t total, int64_t most)
{
    add(kind, (struct line){.least = total, .total = total, .most = most});
}

void case_bound(enum traffic kind, int64_t least, int64_t total)
{
    add(kind, (struct line){.least = least, .total = total, .most = CASE_ANY});
}

void case_value(const char *name, int64_t expected, int64_t found)
{
    add(TRAFFIC_KINDS, (struct line){.what = name,
                                     .least = expected,
                                     .total = expected,
                                     .most = CASE_ANY,
                                     .found = found});
}

/* Sums and maxima over all ranks since the case began. */
static void counts_read(int64_t *sums, int64_t *mosts)
{
    uint64_t all[TRAFFIC_KINDS];
    int64_t mine[TRAFFIC_KINDS];
    traffic_read(all);
    for (int i = 0; i < TRAFFIC_KINDS; i++) {
        mine[i] = (int64_t)(all[i] - now.before[i]);
    }
    PMPI_Allreduce(mine, sums, TRAFFIC_KINDS, MPI_INT64_T, MPI_SUM,
                   MPI_COMM_WORLD);
    PMPI_Allreduce(mine, mosts, TRAFFIC_KINDS, MPI_INT64_T, MPI_MAX,
                   MPI_COMM_WORLD);
}

static bool compare(struct line *line, enum traffic kind, const int64_t *sums,
                    const int64_t *mosts)
{
    if (kind != TRAFFIC_KINDS) {
        line->found = sums[kind];
        line->found_most = mosts[kind];
    }
    line->broken = line->found < line->least || line->found > line->total ||
                   (line->most != CASE_ANY && line->found_most != line->most);
    return !line->broken;
}

static bool all_hold(const int64_t *sums, const int64_t *mosts)
{
    bool hold = true;
    for (int i = 0; i < now.count; i++) {
        hold = compare(&now.lines[i], now.kinds[i], sums, mosts) && hold;
    }
    return hold;
}

/* All ranks see the same sums, so all stop after the same poll. */
static void settle(void)
{
    int64_t sums[TRAFFIC_KINDS];
    int64_t last[TRAFFIC_KINDS];
    int64_t mosts[TRAFFIC_KINDS];
    int calm = 0;
    int same_polls = 0;
    counts_read(last, mosts);
    for (int i = 0; i < POLLS && calm < CALM && same_polls < SAME; i++) {
        bench_sleep(POLL_US);
        counts_read(sums, mosts);
        bool same = memcmp(sums, last, sizeof sums) == 0;
        same_polls = same ? same_polls + 1 : 0;
        calm = same && all_hold(sums, mosts) ? calm + 1 : 0;
        memcpy(last, sums, sizeof last);
    }
    (void)all_hold(last, mosts);
}

void case_end(const char *name)
{
    double us = 0;
    PMPI_Allreduce(&now.us, &us, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    settle();
    for (int i = 0; i < now.count; i++) {
        if (count == LINES) {
            bench_fail("more than %d expectations", LINES);
        }
        lines[count] = now.lines[i];
        lines[count].name = name;
        lines[count++].us = us;
    }
}

/* ---- report ---------------------------------------------------------------------- */

static void expected(char *text, size_t size, const struct line *line)
{
    if (line->least == line->total) {
        (void)snprintf(text, size, "%" PRId64, line->total);
    } else {
        (void)snprintf(text, size, "%" PRId64 "..%" PRId64, line->least,
                       line->total);
    }
}

static void table_print(void)
{
    char text[64];
    (void)printf("%-44s %-24s %14s %10s %8s %8s\n", "operation", "count",
                 "predicted", "measured", "busiest", "measured");
    for (int i = 0; i < count; i++) {
        const struct line *l = &lines[i];
        bool again = i > 0 && strcmp(l->name, lines[i - 1].name) == 0;
        expected(text, sizeof text, l);
        (void)printf("%-44s %-24s %14s %10" PRId64, again ? "" : l->name,
                     l->what, text, l->found);
        if (l->most != CASE_ANY) {
            (void)printf(" %8" PRId64 " %8" PRId64, l->most, l->found_most);
        }
        (void)printf("%s\n", l->broken ? "  BROKEN" : "");
    }
}

static void json_write(FILE *f, const char *transport)
{
    (void)fprintf(f,
                  "{\n  \"program\": \"bench-costs\",\n  \"recto\": \"%s\",\n"
                  "  \"ranks\": %d,\n  \"domains\": %d,\n"
                  "  \"transport\": \"%s\",\n  \"protection\": \"%s\",\n"
                  "  \"counts\": [",
                  recto_version(), recto_size(), recto_nodes(), transport,
                  recto_vm_backend());
    for (int i = 0; i < count; i++) {
        const struct line *l = &lines[i];
        (void)fprintf(
            f,
            "%s\n    {\"case\": \"%s\", \"count\": \"%s\", "
            "\"least\": %" PRId64 ", \"most\": %" PRId64
            ", \"measured\": %" PRId64 ", \"busiest_predicted\": %" PRId64
            ", \"busiest\": %" PRId64 ", \"us\": %.1f, \"holds\": %s}",
            i > 0 ? "," : "", l->name, l->what, l->least, l->total, l->found,
            l->most, l->found_most, l->us, l->broken ? "false" : "true");
    }
    (void)fprintf(f, "\n  ]\n}\n");
}

int cases_report(const char *json, const char *transport)
{
    int broken = 0;
    for (int i = 0; i < count; i++) {
        broken += lines[i].broken;
    }
    if (recto_rank() != 0) {
        return broken;
    }
    table_print();
    (void)printf("%d ranks, %s: %d counts, %d broken\n", recto_size(),
                 transport, count, broken);
    if (json != NULL) {
        FILE *f = fopen(json, "we");
        if (f == NULL) {
            bench_fail("%s: cannot be written", json);
        }
        json_write(f, transport);
        if (fclose(f) != 0) {
            bench_fail("%s: cannot be written", json);
        }
    }
    return broken;
}
