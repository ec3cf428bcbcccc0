/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Service thread: answers other ranks while this one computes, and carries the
 * messages of threads that may not call MPI.
 *
 *   faulting thread --push--> ring of a rank that shares --> its service thread
 *                   --push--> own ring --> own service thread --MPI--> far rank
 *
 * Invariants
 * 1. The thread never waits for another rank's *work*: receivers only change
 *    state, copy pages, send and start one-sided operations.
 * 2. It takes no lock that an application thread may hold while it faults: no
 *    malloc, no stdio. MPI's own locks are the exception, see recto.h.
 * 3. A full ring of another rank never blocks it: the message waits in
 *    `late`, and further messages to that rank wait behind it.
 * 4. It blocks all asynchronous signals, so no handler of the program runs
 *    here.
 */
#include <errno.h>
#include <pthread.h>
#include <recto/error.h>
#include <recto/vm.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/base.h"
#include "net/queue.h"
#include "net/state.h"

enum {
    IDLE_POLL_NS = 500000,   /* between polls of MPI when nothing happens, */
    QUIET_POLL_NS = 2000000, /* and when nothing has for this long: */
    QUIET_NS = 1000000000,
    EAGER_NS = 200000,       /* poll at once for this long after activity */
    AWAIT_EAGER_NS = 300000, /* the same when a thread waits for an answer, */
    AWAIT_POLL_NS = 50000,   /* and between polls after that */
    RETRY_NS = 50000,        /* a full ring is tried again */
    BATCH = 64
};

/* RECTO_PROGRESS */
enum progress {
    AUTO,
    THREAD,
    POLL,
    OFF
};

static struct {
    pthread_t thread;
    bool running;
    enum progress progress;
    const void *data; /* came with the message that is delivered */
    size_t bytes;
    _Atomic uint32_t stop;
    _Atomic int32_t awaited; /* threads that wait for an answer over MPI */
    net_receiver receivers[NET_SERVICE_COUNT];
    struct net_queue held; /* net_defer */
    struct net_queue late; /* messages to full rings, in order */
} service;

static _Atomic uint64_t posted;
static _Thread_local bool on_service_thread;

uint64_t net_messages(void)
{
    return atomic_load_explicit(&posted, memory_order_relaxed);
}

void net_service_receiver(enum net_service which, net_receiver receiver)
{
    service.receivers[which] = receiver;
}

static struct net_ring *my_ring(void)
{
    return &net.peers[net.rank].control->ring;
}

static void deliver(const struct net_msg *msg, const void *data, size_t bytes)
{
    if (msg->target != net.rank) {
        net_carrier_send(msg, NULL,
                         0); /* from a thread that may not call MPI */
        return;
    }
    RECTO_ASSERT(msg->service < NET_SERVICE_COUNT);
    service.data = data;
    service.bytes = bytes;
    service.receivers[msg->service](msg);
    service.data = NULL;
    service.bytes = 0;
}

const void *net_data(size_t *bytes)
{
    *bytes = service.bytes;
    return service.data;
}

void net_await_begin(void)
{
    atomic_fetch_add_explicit(&service.awaited, 1, memory_order_relaxed);
}

void net_await_end(void)
{
    atomic_fetch_sub_explicit(&service.awaited, 1, memory_order_relaxed);
}

/* The ring through which a message to `target` starts. */
static struct net_ring *ring_towards(int target)
{
    return net.peers[target].shares ? &net.peers[target].control->ring
                                    : my_ring();
}

static void push_or_keep(const struct net_msg *msg)
{
    struct net_ring *ring = ring_towards(msg->target);
    if (net_queue_empty(&service.late) && net_ring_push(ring, msg)) {
        net_ring_ring(ring);
    } else {
        net_queue_put(&service.late, msg, 0);
    }
}

/* An application thread waits for room: the receiver's service thread always
 * makes some, unless its process is gone. */
static void push_or_wait(const struct net_msg *msg)
{
    struct net_ring *ring = ring_towards(msg->target);
    uint64_t start = 0;
    while (!net_ring_push(ring, msg)) {
        uint64_t now = base_now();
        start = start == 0 ? now : start;
        if (net.timeout > 0 && now - start > net.timeout) {
            base_fatal("rank %d on %s took no messages within %s; raise it if "
                       "that rank is only slow",
                       msg->target, net_host(msg->target),
                       base_env_name(BASE_ENV_TIMEOUT));
        }
        sched_yield();
    }
    net_ring_ring(ring);
}

void net_post_data(int target, const struct net_msg *msg, const void *data,
                   size_t bytes)
{
    struct net_msg m = *msg;
    RECTO_ASSERT(on_service_thread && !net.peers[target].shares);
    m.source = net.rank;
    m.target = target;
    atomic_fetch_add_explicit(&posted, 1, memory_order_relaxed);
    net_carrier_send(&m, data, bytes);
}

void net_post(int target, const struct net_msg *msg)
{
    RECTO_ASSERT(service.running);
    struct net_msg m = *msg;
    m.source = net.rank;
    m.target = target;
    atomic_fetch_add_explicit(&posted, 1, memory_order_relaxed);
    if (!on_service_thread) {
        push_or_wait(&m);
    } else if (net.peers[target].shares) {
        push_or_keep(&m);
    } else {
        net_carrier_send(&m, NULL, 0);
    }
}

void net_post_masked(int target, const struct net_msg *msg)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    net_post(target, msg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void net_defer(const struct net_msg *msg, uint64_t due)
{
    net_queue_put(&service.held, msg, due);
}

/* Sends what waits, in order, until the first that finds its ring full. */
static bool late_send(void)
{
    struct net_queue *q = &service.late;
    bool moved = false;
    while (!net_queue_empty(q)) {
        struct net_ring *ring = ring_towards(q->entries[q->head].msg.target);
        if (!net_ring_push(ring, &q->entries[q->head].msg)) {
            break;
        }
        struct net_msg sent;
        net_queue_take(q, &sent, 0);
        net_ring_ring(ring);
        moved = true;
    }
    return moved;
}

static bool held_deliver(void)
{
    struct net_msg msg;
    bool moved = false;
    uint64_t now = base_now();
    while (net_queue_take(&service.held, &msg, now)) {
        deliver(&msg, NULL, 0);
        moved = true;
    }
    return moved;
}

static bool ring_deliver(void)
{
    struct net_msg msg;
    int n = 0;
    while (n < BATCH && net_ring_pop(my_ring(), &msg)) {
        deliver(&msg, NULL, 0);
        n++;
    }
    return n > 0;
}

static bool awaited(void)
{
    return atomic_load_explicit(&service.awaited, memory_order_relaxed) > 0;
}

/* How long to sleep at most when nothing has moved since `active`; 0: until a push. */
static uint64_t sleep_limit(uint64_t active)
{
    uint64_t limit = 0;
    if (net.uses_mpi) {
        bool quiet = base_now() - active > QUIET_NS;
        limit = awaited() ? AWAIT_POLL_NS
                : quiet   ? QUIET_POLL_NS
                          : IDLE_POLL_NS;
    }
    uint64_t due = net_queue_due(&service.held);
    if (due != UINT64_MAX) {
        uint64_t now = base_now();
        uint64_t wait = due > now ? due - now : 1;
        limit = limit == 0 || wait < limit ? wait : limit;
    }
    if (!net_queue_empty(&service.late) && (limit == 0 || limit > RETRY_NS)) {
        limit = RETRY_NS;
    }
    return limit;
}

/* Is it too early to sleep, when nothing has moved since `active`? */
static bool eager(uint64_t active)
{
    if (service.progress == POLL) {
        return true;
    }
    if (!net.uses_mpi) {
        return false;
    }
    return net_carrier_busy() ||
           base_now() - active < (awaited() ? AWAIT_EAGER_NS : EAGER_NS);
}

static void *service_main(void *unused)
{
    (void)unused;
    on_service_thread = true;
    (void)prctl(PR_SET_NAME, "recto-service"); /* what top -H shows */
    /* short sleeps end on time: the default slack of 50 us is half a hold */
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    uint64_t active = base_now();
    if (net.uses_mpi) {
        net_carrier_start();
    }
    while (!atomic_load_explicit(&service.stop, memory_order_acquire)) {
        bool moved = ring_deliver();
        moved |= net.uses_mpi && net_carrier_poll(deliver);
        moved |= held_deliver();
        moved |= late_send();
        if (net.uses_mpi) {
            net_carrier_flush();
        }
        if (moved) {
            active = base_now();
        } else if (eager(active)) {
            sched_yield();
        } else {
            net_ring_sleep(my_ring(), sleep_limit(active));
        }
    }
    net_carrier_stop();
    return NULL;
}

static int progress_read(void)
{
    unsigned choice = AUTO;
    int status = base_env_choice(BASE_ENV_PROGRESS, &choice);
    service.progress = (enum progress)choice;
    return status;
}

static int thread_start(void)
{
    int r = net.uses_mpi ? net_carrier_create() : 0;
    if (r != 0) {
        return r;
    }
    atomic_store_explicit(&service.stop, 0, memory_order_relaxed);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    r = pthread_create(&service.thread, NULL, service_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        net_carrier_destroy();
        return base_error(RECTO_ENOMEM, "service thread: %s",
                          base_errno_text(r));
    }
    service.running = true;
    return 0;
}

int net_service_start(bool needed)
{
    if (service.running) {
        return 0;
    }
    int r = progress_read();
    if (r != 0) {
        return r;
    }
    if (service.progress == OFF && (needed || net.uses_mpi)) {
        return base_error(
            RECTO_EINVAL, "%s=off, but %s: set it to auto, or leave it away",
            base_env_name(BASE_ENV_PROGRESS),
            net.uses_mpi ? "ranks are reached by MPI and a thread of each "
                           "must answer"
                         : "sequential memory of several domains needs a "
                           "thread that answers");
    }
    bool wanted = service.progress == THREAD || service.progress == POLL;
    return needed || net.uses_mpi || wanted ? thread_start() : 0;
}

void net_service_stop(void)
{
    if (!service.running) {
        return;
    }
    atomic_store_explicit(&service.stop, 1, memory_order_release);
    struct net_ring *ring = my_ring();
    atomic_fetch_add_explicit(&ring->wake, 1, memory_order_release);
    net_futex_wake((const uint32_t *)&ring->wake, 1, true);
    pthread_join(service.thread, NULL);
    net_queue_free(&service.held);
    net_queue_free(&service.late);
    net_carrier_destroy();
    service.running = false;
}
