/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The progress line.
 *
 * Under mpirun stderr of a rank is a pipe to mpirun, whose own stderr may be a
 * terminal, and it passes on what it gets at once. So a rank asks for the
 * launcher's stderr, its parent's descriptor 2, which it finds when both run
 * on one machine. Where it finds nothing, a line every 10 % is right anyhow.
 */
#include "progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double line_interval = 0.2; /* seconds */
static const char clear_line[] = "\r\033[K";

double progress_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Started by mpirun or another PMIx launcher? */
static bool launched(void)
{
    /* Nobody changes the environment. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    return getenv("PMIX_RANK") != NULL;
}

static bool terminal(void)
{
    if (isatty(STDERR_FILENO)) {
        return true;
    }
    if (!launched()) {
        return false;
    }
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/2", (long)getppid());
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool yes = isatty(fd);
    (void)close(fd);
    return yes;
}

static int64_t tenth(const struct progress *p, int64_t step)
{
    int64_t steps = p->last - p->first;
    return steps > 0 ? (step - p->first) * 10 / steps : 10;
}

void progress_start(struct progress *p, const struct options *o, int64_t first,
                    int64_t last, double cells)
{
    *p = (struct progress){.quiet = o->quiet,
                           .first = first,
                           .last = last,
                           .cells = cells,
                           .started = progress_now(),
                           .next_mark = 1,
                           .saving = -1};
    p->shown = p->started; /* a rate needs some time to measure */
    p->line = o->progress == OPTIONS_PROGRESS_LINE ||
              (o->progress == OPTIONS_PROGRESS_AUTO && terminal());
}

/* "1:02:03" or "2:03" */
static void clock_text(double seconds, char *text, size_t size)
{
    long total = (long)(seconds + 0.5);
    if (total >= 3600) {
        (void)snprintf(text, size, "%ld:%02ld:%02ld", total / 3600,
                       total / 60 % 60, total % 60);
    } else {
        (void)snprintf(text, size, "%ld:%02ld", total / 60, total % 60);
    }
}

static void show(const struct progress *p, int64_t step, double now)
{
    double elapsed = now - p->started;
    double rate = elapsed > 0.0 ? (double)(step - p->first) / elapsed : 0.0;
    char left[32] = "?";
    if (rate > 0.0) {
        clock_text((double)(p->last - step) / rate, left, sizeof left);
    }
    int64_t percent = p->last > 0 ? step * 100 / p->last : 100;
    (void)fprintf(stderr,
                  "%sheat2d: step %lld of %lld, %lld %%, %.0f steps/s, "
                  "%.1f M cells/s, %s left%s",
                  p->line ? clear_line : "", (long long)step,
                  (long long)p->last, (long long)percent, rate,
                  rate * p->cells * 1e-6, left, p->line ? "" : "\n");
    (void)fflush(stderr);
}

void progress_step(struct progress *p, int64_t step)
{
    if (p->quiet) {
        return;
    }
    if (p->line) {
        double now = progress_now();
        if (now - p->shown >= line_interval) {
            p->shown = now;
            show(p, step, now);
        }
    } else if (tenth(p, step) >= p->next_mark) {
        p->next_mark = tenth(p, step) + 1;
        show(p, step, progress_now());
    }
}

void progress_saving(struct progress *p, int64_t step, int64_t epoch)
{
    p->saving = step;
    p->epoch = epoch;
    p->saving_since = progress_now();
}

void progress_saved(struct progress *p, int64_t epoch)
{
    if (p->saving < 0 || epoch == p->epoch) {
        return;
    }
    /* On a terminal it would only flicker. */
    if (!p->quiet && !p->line) {
        (void)fprintf(stderr,
                      "heat2d: step %lld is on disk as epoch %lld (%.0f ms)\n",
                      (long long)p->saving, (long long)epoch,
                      1e3 * (progress_now() - p->saving_since));
    }
    p->saving = -1;
}

void progress_end(struct progress *p)
{
    if (!p->quiet && p->line) {
        (void)fputs(clear_line, stderr);
        (void)fflush(stderr);
    }
}
