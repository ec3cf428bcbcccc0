/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events of `recto run`: a line on stderr for people, a line of JSON in a file for
 * programs. An event is put together from begin to end, then written at once, so that
 * it does not mix with the job's own lines.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "run.h"

static struct {
    int fd; /* -1: no file */
    char run[RUN_NAME + 1];
    FILE *line; /* the event being put together */
    char *text;
    size_t size;
    bool failed; /* told once */
} events = {.fd = -1};

int run_log_open(const char *path, const char *run)
{
    (void)snprintf(events.run, sizeof events.run, "%s", run);
    if (path == NULL) {
        return 0;
    }
    events.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return events.fd >= 0
               ? 0
               : run_usage("--log %s: %s", path, strerrordesc_np(errno));
}

void run_log_close(void)
{
    if (events.fd >= 0) {
        (void)close(events.fd);
        events.fd = -1;
    }
}

static void write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            if (fd == events.fd && !events.failed) {
                events.failed = true;
                (void)fprintf(stderr, "recto run: --log: %s\n",
                              strerrordesc_np(errno));
            }
            return;
        }
        data += n;
        bytes -= (size_t)n;
    }
}

void run_log_begin(const char *event)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    events.line = open_memstream(&events.text, &events.size);
    if (events.line != NULL) {
        (void)fprintf(
            events.line,
            "{\"time\": %lld.%03ld, \"run\": \"%s\", \"event\": \"%s\"",
            (long long)now.tv_sec, now.tv_nsec / 1000000, events.run, event);
    }
}

void run_log_number(const char *key, double value)
{
    if (events.line != NULL) {
        (void)fprintf(events.line, ", \"%s\": %.10g", key, value);
    }
}

void run_log_text(const char *key, const char *value)
{
    if (events.line != NULL) {
        (void)fprintf(events.line, ", \"%s\": ", key);
        cli_json_string(events.line, value);
    }
}

void run_log_end(const char *format, ...)
{
    char text[2048];
    char line[2200];
    char clock[16] = "";
    time_t now = time(NULL);
    struct tm tm;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (localtime_r(&now, &tm) != NULL) {
        (void)strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    }
    int n = snprintf(line, sizeof line, "recto run: %s %s\n", clock, text);
    write_all(STDERR_FILENO, line, (size_t)n);
    if (events.line == NULL) {
        return;
    }
    (void)fputs(", \"text\": ", events.line);
    cli_json_string(events.line, text);
    (void)fputs("}\n", events.line);
    bool good = fclose(events.line) == 0;
    events.line = NULL;
    if (good && events.fd >= 0) {
        write_all(events.fd, events.text, events.size);
    }
    free(events.text);
    events.text = NULL;
}
