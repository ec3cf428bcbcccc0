/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables and the JSON file of a benchmark.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <mpi.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static double report_load(void)
{
    double load = NAN;
    return getloadavg(&load, 1) == 1 ? load : NAN;
}

void report_begin(struct report *r)
{
    r->ranks = recto_size();
    r->domains = recto_nodes();
    r->load_before = report_load();
}

/* ---- numbers ----------------------------------------------------------------- */

/* Which of a round's quantiles. */
enum report_pick {
    REPORT_LOW,
    REPORT_MEDIAN,
    REPORT_HIGH
};

static double report_of_round(const struct bench_measure *m, int round,
                              enum report_pick pick)
{
    if (round >= m->rounds_done) {
        return NAN;
    }
    const struct bench_quantiles *q = &m->rounds[round];
    return pick == REPORT_LOW ? q->low
                              : (pick == REPORT_HIGH ? q->high : q->median);
}

static double report_floor(const struct report *r, const struct report_row *row,
                           int round)
{
    double sum = 0;
    for (int i = 0; i < REPORT_FLOORS && row->floor[i] >= 0; i++) {
        sum +=
            report_of_round(&r->measures[row->floor[i]], round, REPORT_MEDIAN);
    }
    return sum;
}

/* Over the rounds, those without a value left out. */
struct report_summary {
    double least;
    double median;
    double most;
};

static struct report_summary report_over(double *values, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            values[n++] = values[i];
        }
    }
    return (struct report_summary){bench_quantile(values, n, 0),
                                   bench_quantile(values, n, 0.5),
                                   bench_quantile(values, n, 1)};
}

static struct report_summary report_measure(const struct bench_measure *m,
                                            enum report_pick pick)
{
    double *values = bench_memory((size_t)m->rounds_done + 1, sizeof *values);
    for (int i = 0; i < m->rounds_done; i++) {
        values[i] = report_of_round(m, i, pick);
    }
    struct report_summary s = report_over(values, m->rounds_done);
    free(values);
    return s;
}

/* The floor of a row, or the ratio of its figure to it. */
static struct report_summary report_row_over(const struct report *r,
                                             const struct report_row *row,
                                             bool ratio)
{
    const struct bench_measure *figure = &r->measures[row->figure];
    double *values =
        bench_memory((size_t)figure->rounds_done + 1, sizeof *values);
    for (int i = 0; i < figure->rounds_done; i++) {
        double lowest = report_floor(r, row, i);
        values[i] =
            ratio ? report_of_round(figure, i, REPORT_MEDIAN) / lowest : lowest;
    }
    struct report_summary s = report_over(values, figure->rounds_done);
    free(values);
    return s;
}

/* ---- tables ------------------------------------------------------------------ */

/* Right-aligned with four digits that mean something; "-" for no value. */
static void report_number(double value, int width)
{
    if (!isfinite(value)) {
        (void)printf("%*s", width, "-");
        return;
    }
    double size = fabs(value);
    (void)printf("%*.*f", width,
                 size < 10 ? 3 : (size < 100 ? 2 : (size < 1000 ? 1 : 0)),
                 value);
}

static void report_floor_name(const struct report *r,
                              const struct report_row *row, char *name,
                              size_t size)
{
    size_t at = 0;
    name[0] = '\0';
    for (int i = 0; i < REPORT_FLOORS && row->floor[i] >= 0 && at < size; i++) {
        int n = snprintf(name + at, size - at, "%s%s", i > 0 ? " + " : "",
                         r->measures[row->floor[i]].name);
        at += n > 0 ? (size_t)n : 0;
    }
}

static void report_print_row(const struct report *r,
                             const struct report_row *row, bool again)
{
    char name[256];
    const struct bench_measure *m = &r->measures[row->figure];
    struct report_summary ratio = report_row_over(r, row, true);
    report_floor_name(r, row, name, sizeof name);
    if (again) {
        (void)printf("%-42s %9s %-3s", "", "", "");
    } else {
        (void)printf("%-42s ", m->name);
        report_number(report_measure(m, REPORT_MEDIAN).median, 9);
        (void)printf(" %-3s", m->unit);
    }
    report_number(report_row_over(r, row, false).median, 10);
    (void)printf(" %-3s ", m->unit);
    report_number(ratio.median, 7);
    (void)printf("  ");
    report_number(ratio.least, 6);
    (void)printf(" ..");
    report_number(ratio.most, 6);
    (void)printf("  %s\n", name);
}

/* Settings that change what is measured. */
static bool report_setting(const char *variable)
{
    static const char *const kinds[] = {"RECTO_", "OMPI_MCA_mpi_yield",
                                        "OMPI_MCA_hwloc_", "UCX_"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(variable, kinds[i], strlen(kinds[i])) == 0) {
            return strchr(variable, '=') != NULL;
        }
    }
    return false;
}

static void report_print(const struct report *r)
{
    uint64_t size = r->options->size;
    (void)printf("\n%s: %d ranks, %d domains, %" PRIu64
                 " %s, %d rounds, back end %s, load %.1f to %.1f\n",
                 r->program, r->ranks, r->domains,
                 r->size_is != NULL ? size : size / 1024,
                 r->size_is != NULL ? r->size_is : "KiB shared",
                 r->options->rounds, recto_vm_backend(), r->load_before,
                 report_load());
    for (char **e = environ; *e != NULL; e++) {
        if (report_setting(*e) && strncmp(*e, "RECTO_CKPT_DIR", 14) != 0) {
            (void)printf("%s ", *e);
        }
    }
    (void)printf("\n");
    (void)printf("\n%-42s %9s     %9s %9s\n", "measured (median of the rounds)",
                 "median", "10 %", "90 %");
    for (int i = 0; i < r->measures_count; i++) {
        const struct bench_measure *m = &r->measures[i];
        (void)printf("%-42s ", m->name);
        report_number(report_measure(m, REPORT_MEDIAN).median, 9);
        (void)printf(" %-3s ", m->unit);
        report_number(report_measure(m, REPORT_LOW).median, 9);
        report_number(report_measure(m, REPORT_HIGH).median, 10);
        (void)printf("\n");
    }
    (void)printf("\n%-42s %9s    %10s     %7s  %-16s  %s\n", "figure", "median",
                 "floor", "ratio", "least .. most", "the floor is");
    for (int i = 0; i < r->rows_count; i++) {
        bool again = i > 0 && r->rows[i].figure == r->rows[i - 1].figure;
        report_print_row(r, &r->rows[i], again);
    }
    (void)fflush(stdout);
}

/* ---- JSON -------------------------------------------------------------------- */

static void report_json_text(FILE *f, const char *text)
{
    (void)fputc('"', f);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            (void)fprintf(f, "\\%c", *c);
        } else if ((unsigned char)*c < ' ') {
            (void)fprintf(f, "\\u%04x", (unsigned)*c);
        } else {
            (void)fputc(*c, f);
        }
    }
    (void)fputc('"', f);
}

static void report_json_string(FILE *f, const char *key, const char *text)
{
    (void)fprintf(f, "  \"%s\": ", key);
    report_json_text(f, text);
    (void)fprintf(f, ",\n");
}

static void report_json_number(FILE *f, double value)
{
    if (isfinite(value)) {
        (void)fprintf(f, "%.6g", value);
    } else {
        (void)fprintf(f, "null");
    }
}

/* What /proc/cpuinfo calls the processor. */
static void report_processor(char *name, size_t size)
{
    char line[256];
    (void)snprintf(name, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            colon[strcspn(colon, "\n")] = '\0';
            (void)snprintf(name, size, "%s", colon + 2);
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void report_json_machine(FILE *f, const struct report *r)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    struct utsname system;
    time_t now = time(NULL);
    struct tm utc;
    report_json_string(f, "program", r->program);
    report_json_string(f, "recto", recto_version());
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ",
                   gmtime_r(&now, &utc));
    report_json_string(f, "ended", text);
    report_processor(text, sizeof text);
    report_json_string(f, "processor", text);
    (void)fprintf(f, "  \"cores\": %ld,\n  \"memory_bytes\": %" PRIu64 ",\n",
                  sysconf(_SC_NPROCESSORS_ONLN),
                  (uint64_t)sysconf(_SC_PHYS_PAGES) *
                      (uint64_t)sysconf(_SC_PAGESIZE));
    if (uname(&system) == 0) {
        report_json_string(f, "host", system.nodename);
        report_json_string(f, "system", system.sysname);
        report_json_string(f, "kernel", system.release);
        report_json_string(f, "architecture", system.machine);
    }
    MPI_Get_library_version(text, &length);
    text[strcspn(text, "\n")] = '\0';
    report_json_string(f, "mpi", text);
#ifdef __VERSION__
    report_json_string(f, "compiler", __VERSION__);
#endif
    report_json_string(f, "protection", recto_vm_backend());
    report_json_string(f, "dirty_tracking", recto_vm_dirty_method());
    (void)fprintf(f, "  \"ranks\": %d,\n  \"domains\": %d,\n", r->ranks,
                  r->domains);
    (void)fprintf(f, "  \"load_before\": ");
    report_json_number(f, r->load_before);
    (void)fprintf(f, ",\n  \"load_after\": ");
    report_json_number(f, report_load());
    (void)fprintf(f, ",\n");
}

static void report_json_settings(FILE *f, const struct report *r)
{
    const char *comma = "";
    (void)fprintf(f,
                  "  \"options\": {\"quick\": %s, \"rounds\": %d, \"size\": "
                  "%" PRIu64 ", \"private\": %" PRIu64 "},\n",
                  r->options->quick ? "true" : "false", r->options->rounds,
                  r->options->size, r->options->private_size);
    (void)fprintf(f, "  \"environment\": {");
    for (char **e = environ; *e != NULL; e++) {
        if (!report_setting(*e)) {
            continue;
        }
        const char *value = strchr(*e, '=');
        (void)fprintf(f, "%s\n    \"%.*s\": ", comma, (int)(value - *e), *e);
        report_json_text(f, value + 1);
        comma = ",";
    }
    (void)fprintf(f, "\n  },\n");
}

static void report_json_measures(FILE *f, const struct report *r)
{
    (void)fprintf(f, "  \"measures\": [");
    for (int i = 0; i < r->measures_count; i++) {
        const struct bench_measure *m = &r->measures[i];
        (void)fprintf(f, "%s\n    {\"name\": ", i > 0 ? "," : "");
        report_json_text(f, m->name);
        (void)fprintf(f, ", \"unit\": \"%s\", \"median\": ", m->unit);
        report_json_number(f, report_measure(m, REPORT_MEDIAN).median);
        (void)fprintf(f, ", \"rounds\": [");
        for (int k = 0; k < m->rounds_done; k++) {
            (void)fprintf(f, "%s[", k > 0 ? ", " : "");
            report_json_number(f, m->rounds[k].low);
            (void)fprintf(f, ", ");
            report_json_number(f, m->rounds[k].median);
            (void)fprintf(f, ", ");
            report_json_number(f, m->rounds[k].high);
            (void)fprintf(f, "]");
        }
        (void)fprintf(f, "]}");
    }
    (void)fprintf(f, "\n  ],\n");
}

static void report_json_rows(FILE *f, const struct report *r)
{
    char name[256];
    (void)fprintf(f, "  \"rows\": [");
    for (int i = 0; i < r->rows_count; i++) {
        const struct report_row *row = &r->rows[i];
        const struct bench_measure *m = &r->measures[row->figure];
        struct report_summary ratio = report_row_over(r, row, true);
        (void)fprintf(f, "%s\n    {\"figure\": ", i > 0 ? "," : "");
        report_json_text(f, m->name);
        (void)fprintf(f, ", \"floor\": ");
        report_floor_name(r, row, name, sizeof name);
        report_json_text(f, name);
        (void)fprintf(f, ", \"unit\": \"%s\", \"median\": ", m->unit);
        report_json_number(f, report_measure(m, REPORT_MEDIAN).median);
        (void)fprintf(f, ", \"floor_median\": ");
        report_json_number(f, report_row_over(r, row, false).median);
        (void)fprintf(f, ", \"ratio\": ");
        report_json_number(f, ratio.median);
        (void)fprintf(f, ", \"ratio_least\": ");
        report_json_number(f, ratio.least);
        (void)fprintf(f, ", \"ratio_most\": ");
        report_json_number(f, ratio.most);
        (void)fprintf(f, "}");
    }
    (void)fprintf(f, "\n  ]\n");
}

static void report_json(const struct report *r)
{
    FILE *f = fopen(r->options->json, "we");
    if (f == NULL) {
        bench_fail("%s: cannot be written", r->options->json);
    }
    (void)fprintf(f, "{\n");
    report_json_machine(f, r);
    report_json_settings(f, r);
    (void)fprintf(f, "  \"round_is\": [\"10 %%\", \"median\", \"90 %%\"],\n");
    report_json_measures(f, r);
    report_json_rows(f, r);
    (void)fprintf(f, "}\n");
    if (fclose(f) != 0) {
        bench_fail("%s: cannot be written", r->options->json);
    }
}

void report_all(const struct report *r)
{
    if (bench_rank() == 0) {
        report_print(r);
        if (r->options->json != NULL) {
            report_json(r);
        }
    }
}
