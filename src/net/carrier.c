/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Carrier: control messages between service threads over MPI, for ranks that
 * share no memory. Everything here runs on the service thread.
 *
 * Invariants
 * 1. `RECEIVES` receives are always pending, so a poll is an MPI_Test, which
 *    also progresses one-sided operations that target this rank (an
 *    MPI_Iprobe does so every hundredth call only).
 * 2. Receives are posted and completed in turn, so messages are delivered in
 *    the order in which MPI matched them.
 * 3. A message handed over is never lost or refused: when all send slots are
 *    under way it waits in a list that grows by whole chunks of vm tables,
 *    not by malloc (a faulting thread may hold malloc's lock).
 */
#include <recto/error.h>
#include <recto/vm.h>

#include "base/base.h"
#include "base/order.h"
#include "net/queue.h"
#include "net/state.h"

enum {
    RECEIVES = 64,
    SENDS = 256,
    MESSAGE_TAG = 7
};

static struct {
    bool started;
    MPI_Request receive[RECEIVES];
    struct net_msg received[RECEIVES];
    unsigned next; /* the oldest receive */
    MPI_Request send[SENDS];
    struct net_msg sent[SENDS];
    unsigned oldest; /* sends [oldest, newest) are under way */
    unsigned newest;
    struct net_queue waiting;
} carrier;

static void check(int code, const char *what)
{
    if (code != MPI_SUCCESS) {
        base_fatal("service thread: %s failed with MPI error %d", what, code);
    }
}

static void receive_post(unsigned i)
{
    check(MPI_Irecv(&carrier.received[i], sizeof(struct net_msg), MPI_BYTE,
                    MPI_ANY_SOURCE, MESSAGE_TAG, net.carrier,
                    &carrier.receive[i]),
          "MPI_Irecv");
}

int net_carrier_start(void)
{
    for (unsigned i = 0; i < RECEIVES; i++) {
        receive_post(i);
    }
    carrier.next = 0;
    carrier.oldest = 0;
    carrier.newest = 0;
    carrier.started = true;
    return 0;
}

void net_carrier_stop(void)
{
    if (!carrier.started) {
        return;
    }
    for (unsigned i = 0; i < RECEIVES; i++) {
        MPI_Cancel(&carrier.receive[i]);
        /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): receive_post */
        MPI_Wait(&carrier.receive[i], MPI_STATUS_IGNORE);
    }
    for (; carrier.oldest != carrier.newest; carrier.oldest++) {
        MPI_Wait(&carrier.send[carrier.oldest % SENDS], MPI_STATUS_IGNORE);
    }
    net_queue_free(&carrier.waiting);
    carrier.started = false;
}

static void sends_finish(void)
{
    int done = 1;
    while (carrier.oldest != carrier.newest && done) {
        check(MPI_Test(&carrier.send[carrier.oldest % SENDS], &done,
                       MPI_STATUS_IGNORE),
              "MPI_Test");
        carrier.oldest += done != 0;
    }
}

static void send_start(const struct net_msg *msg)
{
    unsigned i = carrier.newest++ % SENDS;
    carrier.sent[i] = *msg;
    base_order_out();
    check(MPI_Isend(&carrier.sent[i], sizeof *msg, MPI_BYTE, msg->target,
                    MESSAGE_TAG, net.carrier, &carrier.send[i]),
          "MPI_Isend");
}

static bool send_room(void)
{
    return carrier.newest - carrier.oldest < SENDS;
}

void net_carrier_send(const struct net_msg *msg)
{
    if (net_queue_empty(&carrier.waiting) && send_room()) {
        send_start(msg);
    } else {
        net_queue_put(&carrier.waiting, msg, 0);
    }
}

bool net_carrier_poll(net_receiver deliver)
{
    bool moved = false;
    sends_finish();
    struct net_msg msg;
    while (send_room() && net_queue_take(&carrier.waiting, &msg, 0)) {
        send_start(&msg);
        moved = true;
    }
    for (;;) {
        int done = 0;
        unsigned i = carrier.next % RECEIVES;
        check(MPI_Test(&carrier.receive[i], &done, MPI_STATUS_IGNORE),
              "MPI_Test");
        if (!done) {
            return moved;
        }
        msg = carrier.received[i];
        receive_post(i);
        carrier.next++;
        base_order_in();
        deliver(&msg);
        moved = true;
    }
}
