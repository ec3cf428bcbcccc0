/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the example programs have in common. The command line is read by hand,
 * since a table that also makes the text of --help is shorter than getopt_long
 * and two lists that must agree.
 */
#include "program.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the command line ---------------------------------------------------- */

static const struct program_option *find(const struct program_option *options,
                                         const char *name, size_t length)
{
    for (const struct program_option *o = options; o->help != NULL; o++) {
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0) {
            return o;
        }
    }
    return NULL;
}

/* Stores the value of an option that takes one; false: `text` is none. */
static bool take(const struct program_option *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (o->kind == PROGRAM_COUNT) {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || errno != 0 || value < o->min ||
            value > o->max) {
            return false;
        }
        *(int64_t *)o->value = value;
    } else if (o->kind == PROGRAM_NUMBER) {
        double value = strtod(text, &end);
        if (end == text || *end != '\0' || errno != 0 || !isfinite(value) ||
            value <= 0.0) {
            return false;
        }
        *(double *)o->value = value;
    } else {
        *(const char **)o->value = text;
    }
    return true;
}

static enum program_action complain(char *wrong, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum program_action complain(char *wrong, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(wrong, PROGRAM_LINE, format, arguments);
    va_end(arguments);
    return PROGRAM_WRONG;
}

/* "--name", "--name=value", or "--name value", which uses argv[*at + 1]. */
static enum program_action read_option(const struct program_option *options,
                                       int argc, char **argv, int *at,
                                       char *wrong)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct program_option *o = find(options, name, length);
    if (o == NULL) {
        return complain(wrong, "%s: no such option", argv[*at]);
    }
    if (o->kind == PROGRAM_FLAG) {
        *(bool *)o->value = true;
        return equals == NULL ? PROGRAM_RUN
                              : complain(wrong, "--%s takes no value", o->name);
    }
    const char *text = equals != NULL ? equals + 1 : NULL;
    if (text == NULL) {
        if (*at + 1 >= argc) {
            return complain(wrong, "--%s: the value is missing", o->name);
        }
        text = argv[++*at];
    }
    if (take(o, text)) {
        return PROGRAM_RUN;
    }
    return o->kind == PROGRAM_COUNT
               ? complain(wrong,
                          "--%s %s: give a whole number from %" PRId64
                          " to %" PRId64,
                          o->name, text, o->min, o->max)
               : complain(wrong, "--%s %s: give a number above 0", o->name,
                          text);
}

static bool version_asked;

enum program_action program_read(const struct program_usage *usage, int argc,
                                 char **argv, char *wrong)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return PROGRAM_HELP;
        }
        if (strcmp(argv[i], "--version") == 0) {
            version_asked = true;
            return PROGRAM_HELP;
        }
        if (strncmp(argv[i], "--", 2) == 0) {
            enum program_action action =
                read_option(usage->options, argc, argv, &i, wrong);
            if (action != PROGRAM_RUN) {
                return action;
            }
        } else if (usage->operand != NULL && *usage->operand == NULL &&
                   argv[i][0] != '-') {
            *usage->operand = argv[i];
        } else {
            return complain(wrong, "%s: what is this for?", argv[i]);
        }
    }
    if (usage->operand != NULL && *usage->operand == NULL) {
        return complain(wrong, "%s is missing", usage->operand_name);
    }
    return PROGRAM_RUN;
}

void program_help(const struct program_usage *usage)
{
    static const char *const values[] = {"", " N", " NUMBER", " FILE"};
    if (version_asked) {
        (void)printf("%s (Recto) " PROGRAM_VERSION "\n", usage->name);
        return;
    }
    (void)printf("Usage: %s [OPTION]...%s%s\n%s\n", usage->launch,
                 usage->operand != NULL ? " " : "",
                 usage->operand != NULL ? usage->operand_name : "",
                 usage->about);
    for (const struct program_option *o = usage->options; o->help != NULL;
         o++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s", o->name, values[o->kind]);
        (void)printf("  %-22s %s\n", left, o->help);
    }
    (void)printf("  %-22s %s\n"
                 "  %-22s %s\n\n"
                 "Exit codes: 0 the answer is right; 1 it is wrong, or "
                 "something failed; 2 wrong\noption.\n",
                 "--help", "this text", "--version", "Recto's version");
}

/* ---- errors, time, parts ------------------------------------------------- */

int program_fail(const char *name, const char *format, ...)
{
    char line[1024]; /* one write, so that ranks do not mix their lines */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "%s: %s\n", name, line);
    return -1;
}

const char *program_errno(void)
{
    /* One thread of a program prints messages. */
    return strerror(errno); /* NOLINT(concurrency-mt-unsafe) */
}

double program_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct program_part program_part(size_t items, size_t bytes, int rank,
                                 int ranks)
{
    enum {
        PAGE = 4096,
        FEW = 8 /* pages per rank below which equal parts matter more */
    };
    size_t unit = bytes < PAGE && PAGE % bytes == 0 ? PAGE / bytes : 1;
    if (items / unit < (size_t)ranks * FEW) {
        unit = 1;
    }
    size_t units = (items + unit - 1) / unit;
    size_t per = (units + (size_t)ranks - 1) / (size_t)ranks * unit;
    size_t first = per * (size_t)rank;
    size_t last = first + per;
    return (struct program_part){first < items ? first : items,
                                 last < items ? last : items};
}

/* ---- the report of a run ------------------------------------------------- */

void program_phase(struct program_report *report, const char *name,
                   double seconds)
{
    if (report->phases < PROGRAM_PHASES) {
        report->phase[report->phases++] = (struct program_phase){name, seconds};
    }
    (void)printf("time %s %.3f s\n", name, seconds);
    (void)fflush(stdout);
}

int program_end(const struct program_report *report, const char *main_phase,
                bool ok)
{
    double seconds = 0.0;
    for (int i = 0; i < report->phases; i++) {
        if (strcmp(report->phase[i].name, main_phase) == 0) {
            seconds += report->phase[i].seconds;
        }
    }
    (void)printf("time %.3f s\nanswer %s\n", seconds, ok ? "ok" : "wrong");
    if (report->json) {
        (void)printf("{\"program\": \"%s\", \"version\": \"%s\", \"ranks\": "
                     "%d, \"seconds\": %.9f, \"ok\": %s, \"phases\": {",
                     report->program, report->version, report->ranks, seconds,
                     ok ? "true" : "false");
        for (int i = 0; i < report->phases; i++) {
            (void)printf("%s\"%s\": %.9f", i > 0 ? ", " : "",
                         report->phase[i].name, report->phase[i].seconds);
        }
        (void)printf("}}\n");
    }
    (void)fflush(stdout);
    return ok ? PROGRAM_OK : PROGRAM_FAILED;
}
