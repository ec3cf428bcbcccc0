/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto report`: what a trace (RECTO_TRACE) says of a run.
 */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: recto report TRACE... [--html FILE] [--perfetto FILE] [--json]\n"
    "Tells what the ranks of a run recorded: faults, transfers, locks, barriers and\n"
    "checkpoints; what took most time, which pages suffer from false sharing, which locks\n"
    "are hot, at which lines. TRACE is the FILE of the variable that had it recorded, which\n"
    "stands for all FILE.RANK, or single files.\n"
    "  --html FILE      also a page for a browser, in one file\n"
    "  --perfetto FILE  also a trace for ui.perfetto.dev or chrome://tracing\n"
    "                   (FILE - is standard output, and nothing else goes there)\n"
    "  --json           the summary for programs\n"
    "exit status: 0 good; 1 a file is missing, damaged or of a run that did not end in\n"
    "             order (what is there is told), or FILE cannot be written;\n"
    "             2 wrong usage; 3 no trace there\n";

struct options {
    char **traces;
    size_t ntraces;
    const char *html;
    const char *perfetto;
    bool json;
};

static int wrong(const char *what)
{
    (void)fprintf(stderr, "recto report: %s; see recto report --help\n", what);
    return CLI_USAGE;
}

/* 0, CLI_USAGE, or -1 after --help. */
static int options_read(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char **file = strcmp(argv[i], "--html") == 0       ? &o->html
                            : strcmp(argv[i], "--perfetto") == 0 ? &o->perfetto
                                                                 : NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(help, stdout);
            return -1;
        }
        if (file != NULL) {
            if (++i == argc) {
                return wrong("a file is needed behind --html and --perfetto");
            }
            *file = argv[i];
        } else if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return wrong("unknown option");
        } else {
            o->traces[o->ntraces++] = argv[i];
        }
    }
    return o->ntraces > 0 ? 0 : wrong("a trace is needed");
}

/* False, with a message: it could not be written. */
static bool file_write(const char *path, const struct report *r,
                       void (*tell)(const struct report *, FILE *))
{
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "we");
    bool good = out != NULL;
    if (good) {
        tell(r, out);
        good = ferror(out) == 0;
        good = (standard ? fflush(out) : fclose(out)) == 0 && good;
    }
    if (!good) {
        (void)fprintf(stderr, "recto report: %s: %s\n", path,
                      strerrordesc_np(errno));
    }
    return good;
}

static bool is_output(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

static int tell(const struct options *o)
{
    struct report r;
    if (!report_read(&r, o->traces, o->ntraces)) {
        report_free(&r);
        return CLI_NO_CHECKPOINT;
    }
    report_sum(&r);
    report_pages(&r);
    report_locks(&r);
    report_lines(&r);
    bool good = o->html == NULL || file_write(o->html, &r, report_html);
    good =
        (o->perfetto == NULL || file_write(o->perfetto, &r, report_perfetto)) &&
        good;
    if (!is_output(o->html) && !is_output(o->perfetto)) {
        good = file_write("-", &r, o->json ? report_json : report_text) && good;
    }
    good = good && r.nproblems == 0;
    report_free(&r);
    return good ? CLI_GOOD : CLI_DAMAGED;
}

int cli_report(int argc, char **argv)
{
    struct options o = {.traces = report_new((size_t)argc, sizeof *argv)};
    int status = options_read(argc, argv, &o);
    status = status == 0 ? tell(&o) : status;
    free(o.traces);
    return status < 0 ? CLI_GOOD : status;
}
