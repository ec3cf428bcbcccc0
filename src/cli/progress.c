/* SPDX-License-Identifier: BSD-3-Clause */
/* A bar on stderr for long work, when that is a terminal. */
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "cli.h"

enum {
    WIDTH = 40,
    EVERY = 100000000 /* ns between two drawings */
};

static void tell(void *argument, uint64_t bytes)
{
    struct cli_progress *p = argument;
    uint64_t now = base_now();
    p->done += bytes;
    if (!p->shown || now - p->drawn < EVERY) {
        return;
    }
    char bar[WIDTH + 1];
    char size[32];
    uint64_t part = p->done < p->all ? p->done : p->all;
    int n = p->all > 0 ? (int)((double)part / (double)p->all * WIDTH) : WIDTH;
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)n);
    bar[WIDTH] = '\0';
    (void)fprintf(stderr, "\r%s [%s] %s\033[K", p->what, bar,
                  cli_size(p->done, size));
    (void)fflush(stderr);
    p->drawn = now;
}

void cli_progress_begin(struct cli_progress *p, const char *what, uint64_t all)
{
    *p = (struct cli_progress){.what = what,
                               .all = all,
                               .shown = isatty(STDERR_FILENO) == 1,
                               .drawn = base_now()};
    p->told = (struct ckpt_progress){tell, p};
}

void cli_progress_end(const struct cli_progress *p)
{
    if (p->shown) {
        (void)fputs("\r\033[K", stderr);
    }
}

uint64_t cli_epoch_bytes(const struct ckpt_epoch *e)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < e->nobjects; i++) {
        bytes += e->objects[i].bytes;
    }
    return bytes;
}
