/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking turns among the parts of a job that make windows (net/state.h says
 * why). On each host the lowest rank of our communicator there holds the
 * host's turn, a name in the abstract socket space, which goes with its holder.
 *
 * Invariants
 * 1. Turns are taken host by host in the order of the hosts' names, the same
 *    for every communicator, so parts that span the same hosts never wait for
 *    each other in a circle.
 * 2. All ranks pass net_turn_take together, or all get the same error.
 */
#include <errno.h>
#include <recto/error.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "net/state.h"

struct place {
    char host[60];
    int32_t rank;
};

static int held = -1; /* the socket that holds this host's turn */

static int by_host(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    int order = strcmp(x->host, y->host);
    return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static void pause_shortly(void)
{
    struct timespec t = {0, 1000000};
    (void)nanosleep(&t, NULL);
}

static int host_take(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    /* from the second byte on: the abstract space */
    int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1,
                     "recto-window-turn-%lu", (unsigned long)geteuid());
    socklen_t bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    uint64_t start = base_now();
    held = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (held < 0) {
        return base_error(RECTO_ENOMEM, "turn to make a window: socket: %s",
                          base_errno_text(errno));
    }
    while (bind(held, (struct sockaddr *)&name, bytes) != 0) {
        if (errno != EADDRINUSE ||
            (net.timeout > 0 && base_now() - start > net.timeout)) {
            int error = errno;
            net_turn_give();
            return base_error(
                RECTO_EBUSY,
                "turn to make a window on this host: %s: another "
                "part of the job keeps it; try again when that has ended",
                base_errno_text(error));
        }
        pause_shortly();
    }
    return 0;
}

int net_turn_take(void)
{
    if (net.is_world) {
        return 0;
    }
    struct place mine = {.rank = net.rank};
    (void)snprintf(mine.host, sizeof mine.host, "%s", base_host());
    struct place *all = calloc((size_t)net.size, sizeof *all);
    int r = net_verdict(
        all != NULL ? 0 : base_error(RECTO_ENOMEM, "turn to make a window"));
    r = r == 0 ? net_allgather(&mine, sizeof mine, all) : r;
    if (r == 0) {
        qsort(all, (size_t)net.size, sizeof *all, by_host);
    }
    for (int i = 0; i < net.size && r == 0; i++) {
        if (i == 0 || strcmp(all[i].host, all[i - 1].host) != 0) {
            r = net_verdict(all[i].rank == net.rank ? host_take() : 0);
        }
    }
    free(all);
    if (r != 0) {
        net_turn_give();
    }
    return r;
}

void net_turn_give(void)
{
    if (held >= 0) {
        close(held);
        held = -1;
    }
}
