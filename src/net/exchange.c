/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_exchange: each rank has parcels for some ranks, and nobody knows what it will
 * get. Nonblocking consensus (Hoefler, Siebert, Lumsdaine: Scalable communication
 * protocols for dynamic sparse data exchange, PPoPP 2010, section 3):
 *
 *   send, each parcel by a synchronous send; take whatever arrives meanwhile
 *   all of mine were taken: enter a barrier, and take what arrives
 *   the barrier is through: all of everybody's were taken
 *
 * A rank sends as many messages as it has parcels, and log2 P for the barrier.
 * Nothing is allocated: a rank that lacks memory cannot keep the others waiting.
 *
 * Invariants
 * 1. A rank that has left may be in the next exchange while others have not seen
 *    that this one's barrier is through; in the one after that it cannot be. So
 *    two tags in turn keep exchanges apart.
 * 2. At most UNDER_WAY parcels of a rank are under way, and who takes one has
 *    a place for it: NET_PARCEL bytes.
 */
#include <recto/error.h>
#include <stdlib.h>

#include "base/base.h"
#include "net/state.h"

enum {
    UNDER_WAY = 64,
    NAP_NS = 100000, /* of a background thread */
    TAG_EXCHANGE = 3 /* and the one after it, in turn */
};

struct exchange {
    const struct net_parcel *parcels;
    size_t count;
    size_t next; /* the first that was not sent */
    net_taker take;
    void *context;
    int tag;
    int taken; /* the first error of `take` */
    MPI_Request sends[UNDER_WAY];
    int busy; /* of these */
};

/* One thread of the program is in a collective call. */
static _Alignas(64) char place[NET_PARCEL];

/* After an error the rest is received, for its senders wait, and dropped. */
static void deliver(struct exchange *x, const void *data, size_t bytes)
{
    if (x->taken == 0) {
        x->taken = x->take(x->context, data, bytes);
    }
}

static int send_next(struct exchange *x, MPI_Request *request)
{
    const struct net_parcel *p = &x->parcels[x->next++];
    RECTO_ASSERT(p->bytes <= NET_PARCEL && p->to >= 0 && p->to < net.size);
    if (p->to == net.rank) {
        deliver(x, p->data, p->bytes);
        return MPI_SUCCESS;
    }
    x->busy++;
    MPI_Request fresh =
        MPI_REQUEST_NULL; /* clang-tidy 14 dies of &x->sends[i] */
    int r = MPI_Issend(p->data, (int)p->bytes, MPI_BYTE, p->to, x->tag,
                       net_channel(), &fresh);
    /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): sends_move tests it */
    *request = fresh;
    return r;
}

/* Finds sends that are through, and starts others in their places. */
static int sends_move(struct exchange *x)
{
    int r = MPI_SUCCESS;
    for (int i = 0; i < UNDER_WAY && r == MPI_SUCCESS; i++) {
        int done = 0;
        if (x->sends[i] != MPI_REQUEST_NULL) {
            r = MPI_Test(&x->sends[i], &done, MPI_STATUS_IGNORE);
            x->busy -= done;
        }
        while (r == MPI_SUCCESS && x->sends[i] == MPI_REQUEST_NULL &&
               x->next < x->count) {
            r = send_next(x, &x->sends[i]);
        }
    }
    return r;
}

/* Takes a parcel if one has come. */
static int receive(struct exchange *x, bool *came)
{
    int here = 0;
    int bytes = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    int r = MPI_Improbe(MPI_ANY_SOURCE, x->tag, net_channel(), &here, &message,
                        &status);
    *came = r == MPI_SUCCESS && here;
    if (!*came) {
        return r;
    }
    r = MPI_Mrecv(place, NET_PARCEL, MPI_BYTE, &message, &status);
    r = r == MPI_SUCCESS ? MPI_Get_count(&status, MPI_BYTE, &bytes) : r;
    if (r == MPI_SUCCESS) {
        deliver(x, place, (size_t)bytes);
    }
    return r;
}

int net_parcels_add(struct net_parcels *list, int to, const void *data,
                    size_t bytes)
{
    struct net_parcel *last =
        list->count > 0 ? &list->items[list->count - 1] : NULL;
    if (last != NULL && last->to == to && last->bytes + bytes <= NET_PARCEL &&
        (const char *)last->data + last->bytes == (const char *)data) {
        last->bytes += bytes;
        return 0;
    }
    if (list->items == NULL || list->count == list->room) {
        size_t room = 2 * list->room + 16;
        struct net_parcel *items = realloc(list->items, room * sizeof *items);
        if (items == NULL) {
            return base_error(RECTO_ENOMEM, "list of %zu parcels", room);
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = (struct net_parcel){to, bytes, data};
    return 0;
}

int net_exchange(const struct net_parcel *parcels, size_t count, net_taker take,
                 void *context)
{
    struct exchange x = {
        .parcels = parcels,
        .count = count,
        .take = take,
        .context = context,
        .tag = TAG_EXCHANGE + (int)(net.exchanges[net_in_background()]++ % 2)};
    for (int i = 0; i < UNDER_WAY; i++) {
        x.sends[i] = MPI_REQUEST_NULL;
    }
    MPI_Request barrier = MPI_REQUEST_NULL;
    bool entered = false;
    int through = 0;
    int r = MPI_SUCCESS;
    while (r == MPI_SUCCESS && !through) {
        bool came = false;
        r = receive(&x, &came);
        r = r == MPI_SUCCESS && !entered ? sends_move(&x) : r;
        if (r == MPI_SUCCESS && !entered && x.busy == 0 && x.next == x.count) {
            r = MPI_Ibarrier(net_channel(), &barrier);
            entered = true;
        }
        if (r == MPI_SUCCESS && entered && !came) {
            r = MPI_Test(&barrier, &through, MPI_STATUS_IGNORE);
        }
        if (!came && !through) {
            net_rest(NAP_NS);
        }
    }
    return r != MPI_SUCCESS ? net_mpi_error(r, "exchange of parcels") : x.taken;
}
