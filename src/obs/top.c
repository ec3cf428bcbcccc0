/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers of the moment (base/live.h). A thread sleeps in read(2) on a pipe until somebody
 * asks, so who is not watched pays nothing.
 *
 * Invariants
 * 1. The thread takes no signal, touches no shared memory of the program and makes no
 *    MPI call.
 * 2. It ends before the floors do.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <recto/vm.h>

#include "base/base.h"
#include "base/live.h"
#include "base/trace.h"
#include "ckpt/ckpt.h"
#include "coherence/coherence.h"
#include "net/net.h"
#include "obs/obs.h"

static struct {
    bool running;
    atomic_bool ending;
    pthread_t thread;
    int page; /* the memfd */
    int bell[2];
    struct live_page now;
} top = {
    .page = -1, .bell = {-1, -1}
};

static void fill(struct live_page *p)
{
    recto_counters counters;
    if (recto_stats(&counters) == 0) {
        memcpy(p->counters, &counters, sizeof counters);
    }
    p->now = base_now();
    p->written = coherence_written();
    p->epoch = recto_epoch();
    p->epoch_on_way = ckpt_progress(&p->on_way_done, &p->on_way_all);
    p->serial++;
    p->again = p->serial;
}

static void *answer(void *argument)
{
    char asked[64];
    (void)argument;
    while (!atomic_load(&top.ending)) {
        ssize_t n = read(top.bell[0], asked, sizeof asked);
        if ((n <= 0 && errno != EINTR) || atomic_load(&top.ending)) {
            break;
        }
        fill(&top.now);
        if (pwrite(top.page, &top.now, sizeof top.now, 0) < 0) {
            break;
        }
    }
    return NULL;
}

static void page_start(struct live_page *p)
{
    memset(p, 0, sizeof *p);
    memcpy(p->magic, LIVE_MAGIC, sizeof p->magic);
    p->version = LIVE_VERSION;
    p->pid = (uint32_t)getpid();
    p->run = obs_run();
    p->rank = net_rank();
    p->size = net_size();
    p->domain = net_domain();
    p->domains = net_domains();
    p->bell = top.bell[1];
    p->tracing = base_tracing();
    p->started = base_now();
    p->epoch = p->epoch_on_way = -1;
    (void)snprintf(p->host, sizeof p->host, "%s", base_host());
    ssize_t n = readlink("/proc/self/exe", p->program, sizeof p->program - 1);
    p->program[n > 0 ? n : 0] = '\0';
}

static void close_all(void)
{
    for (int i = 0; i < 2; i++) {
        if (top.bell[i] >= 0) {
            (void)close(top.bell[i]);
        }
        top.bell[i] = -1;
    }
    if (top.page >= 0) {
        (void)close(top.page);
    }
    top.page = -1;
}

static int open_all(void)
{
    if (pipe2(top.bell, O_CLOEXEC) != 0) {
        return errno;
    }
    if (recto_vm_memory_create(LIVE_NAME, sizeof top.now, &top.page) != 0) {
        return ENOMEM;
    }
    page_start(&top.now);
    return pwrite(top.page, &top.now, sizeof top.now, 0) < 0 ? errno : 0;
}

static int thread_start(void)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&top.thread, NULL, answer, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int obs_top_start(void)
{
    uint64_t wanted = 0;
    int r = base_env_u64(BASE_ENV_TOP, &wanted);
    if (r != 0 || wanted == 0) {
        return r;
    }
    atomic_store(&top.ending, false);
    int error = open_all();
    error = error == 0 ? thread_start() : error;
    top.running = error == 0;
    if (error != 0) {
        close_all();
        base_warn("recto top will not see rank %d: %s", net_rank(),
                  base_errno_text(error));
    }
    return 0;
}

void obs_top_stop(void)
{
    if (!top.running) {
        return;
    }
    atomic_store(&top.ending, true);
    char end = 0;
    if (write(top.bell[1], &end, 1) != 1) {
        (void)close(top.bell[1]);
        top.bell[1] = -1;
    }
    (void)pthread_join(top.thread, NULL);
    top.running = false;
    close_all();
}
