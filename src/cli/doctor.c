/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto doctor`: command line and report.
 */
#include "doctor.h"

#include <errno.h>
#include <recto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: recto doctor [OPTION]...\n"
    "Tells what of this machine, its MPI and the checkpoint folder Recto can use, what is\n"
    "slow, and what to do about it. Starts a job of two ranks that fetch each other's pages.\n"
    "  --dir FOLDER      checkpoint folder (default: as for a program)\n"
    "  --mpirun COMMAND  instead of mpirun from PATH\n"
    "  --time SECONDS    for each program that it starts (30)\n"
    "  --issue           the text of an issue, with the report in it\n"
    "  --json            for programs\n"
    "  --help, --version\n"
    "exit status: 0 good; 1 there are problems; 2 wrong usage\n";

/* ---- findings ------------------------------------------------------------------------ */

static _Noreturn void out_of_memory(void)
{
    (void)fprintf(stderr, "recto doctor: out of memory\n");
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
    exit(CLI_DAMAGED);
}

void doctor_add(struct doctor *d, enum doctor_grade grade, const char *name,
                const char *remedy, const char *format, ...)
{
    if (d->count == d->room) {
        d->room = 2 * d->room + 32;
        d->findings = realloc(d->findings, d->room * sizeof *d->findings);
    }
    char *value = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&value, format, arguments);
    va_end(arguments);
    char *copy = strdup(name);
    if (d->findings == NULL || n < 0 || copy == NULL) {
        out_of_memory();
    }
    d->findings[d->count++] =
        (struct doctor_finding){grade, copy, value, remedy};
}

const char *doctor_line(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (file != NULL) {
        if (fgets(text, (int)size, file) == NULL) {
            text[0] = '\0';
        }
        (void)fclose(file);
    }
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static void clear(struct doctor *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->findings[i].name);
        free(d->findings[i].value);
    }
    free(d->findings);
}

/* ---- report ----------------------------------------------------------------------------- */

static const char *const grades[] = {"good", "note", "problem"};

static size_t how_many(const struct doctor *d, enum doctor_grade grade)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) {
        n += d->findings[i].grade == grade;
    }
    return n;
}

static void text_print(const struct doctor *d)
{
    static const char *const marks[] = {"ok", "note", "PROBLEM"};
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_finding *f = &d->findings[i];
        (void)printf("%-8s %-16s %s\n", marks[f->grade], f->name, f->value);
        if (f->remedy != NULL) {
            (void)printf("%-25s -> %s\n", "", f->remedy);
        }
    }
    (void)printf("%zu problems, %zu notes\n", how_many(d, DOCTOR_PROBLEM),
                 how_many(d, DOCTOR_NOTE));
}

static void issue_print(const struct doctor *d)
{
    (void)printf(
        "### What happened\n\n\n"
        "### What was expected\n\n\n"
        "### How to see it\n\n"
        "<!-- The program, or the smallest part of it that shows it; the command\n"
        "line; all that Recto printed on stderr. -->\n\n"
        "### recto doctor\n\n```\n");
    text_print(d);
    (void)printf("```\n");
}

static void json_print(const struct doctor *d)
{
    (void)printf(
        "{\"version\": \"%d.%d.%d\", \"problems\": %zu, \"notes\": %zu, "
        "\"findings\": [",
        RECTO_VERSION_MAJOR, RECTO_VERSION_MINOR, RECTO_VERSION_PATCH,
        how_many(d, DOCTOR_PROBLEM), how_many(d, DOCTOR_NOTE));
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_finding *f = &d->findings[i];
        (void)printf("%s\n  {\"name\": ", i > 0 ? "," : "");
        cli_json_string(stdout, f->name);
        (void)printf(", \"grade\": \"%s\", \"value\": ", grades[f->grade]);
        cli_json_string(stdout, f->value);
        if (f->remedy != NULL) {
            (void)printf(", \"remedy\": ");
            cli_json_string(stdout, f->remedy);
        }
        (void)printf("}");
    }
    (void)printf("]}\n");
}

/* ---- command line -------------------------------------------------------------------------- */

static int wrong(const char *word, const char *why)
{
    (void)fprintf(stderr, "recto doctor: %s: %s; see recto doctor --help\n",
                  word, why);
    return CLI_USAGE;
}

static bool seconds_read(const char *text, unsigned *seconds)
{
    char *end = NULL;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    *seconds = (unsigned)n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
           n > 0 && n <= 86400;
}

/* 0, CLI_USAGE, or -1 after --help. */
static int parse(int argc, char **argv, struct doctor *d)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool valued = strcmp(word, "--dir") == 0 ||
                      strcmp(word, "--mpirun") == 0 ||
                      strcmp(word, "--time") == 0;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            (void)fputs(help, stdout);
            return -1;
        }
        if (valued && i + 1 == argc) {
            return wrong(word, "the value is missing");
        }
        if (strcmp(word, "--json") == 0) {
            d->json = true;
        } else if (strcmp(word, "--issue") == 0) {
            d->issue = true;
        } else if (!valued) {
            return wrong(word, "unknown argument");
        } else if (word[2] == 'd') {
            d->folder = argv[++i];
        } else if (word[2] == 'm') {
            d->mpirun = argv[++i];
        } else if (!seconds_read(argv[++i], &d->seconds)) {
            return wrong(argv[i],
                         "--time: give a whole number from 1 to 86400");
        }
    }
    return 0;
}

int cli_doctor(int argc, char **argv)
{
    struct doctor d = {.mpirun = "mpirun", .seconds = 30};
    int code = parse(argc, argv, &d);
    if (code != 0) {
        return code < 0 ? CLI_GOOD : code;
    }
    doctor_machine(&d);
    doctor_folders(&d);
    doctor_probes(&d);
    if (d.json) {
        json_print(&d);
    } else if (d.issue) {
        issue_print(&d);
    } else {
        text_print(&d);
    }
    bool good = fflush(stdout) == 0 && how_many(&d, DOCTOR_PROBLEM) == 0;
    clear(&d);
    return good ? CLI_GOOD : CLI_DAMAGED;
}
