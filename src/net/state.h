/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of net share: who we are, the communicators, the inboxes.
 * Set by net_init, constant afterwards but for a counter, cleared by net_finalize.
 */
#ifndef RECTO_SRC_NET_STATE_H
#define RECTO_SRC_NET_STATE_H

#include <mpi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/net.h"
#include "net/ring.h"

/* Lies at the start of each rank's control memory, which the ranks of its
 * machine map. */
struct net_control {
    uint64_t nonce; /* proves that an opened descriptor is the one meant */
    struct net_ring ring;
};

struct net_peer {
    int machine; /* lowest rank of its machine */
    int domain;
    bool shares;                 /* reached by loads and stores */
    pid_t pid;                   /* valid on my machine */
    char host[32];               /* for messages; cut off there */
    struct net_control *control; /* mapped when it shares, and mine */
};

struct net_state {
    bool started;
    bool finalize_mpi; /* recto_init initialised MPI */
    bool uses_mpi;     /* some rank is reached by MPI only */
    bool is_world;     /* as many ranks as MPI_COMM_WORLD */
    int rank;
    int size;
    int domain;
    int domains;
    int local_ranks;
    int local_cores;
    int *leaders; /* lowest rank of each domain */
    struct net_peer *peers;
    int control_fd;
    uint64_t timeout;      /* RECTO_TIMEOUT in ns */
    unsigned exchanges[2]; /* net_exchange so far, and in the background */
    MPI_Comm comm;         /* application threads' collectives, windows */
    MPI_Comm carrier;      /* service threads' messages */
    MPI_Comm background;   /* MPI_COMM_NULL: none yet */
};

extern struct net_state net;

/* Records RECTO_EMPI for a failed MPI call; 0 for MPI_SUCCESS. */
int net_mpi_error(int code, const char *what);

/* The communicator of this thread's collectives, and whether it waits for them by
 * looking now and then (collective.c). */
MPI_Comm net_channel(void);
bool net_in_background(void);
/* Leaves the core for a moment: in the background for `ns`, unless there is hurry. */
void net_rest(long ns);

int net_topology_find(void); /* fills peers, domains; opens controls */
void net_topology_forget(void);

/*
 * Open MPI before 5.0 names the files that its windows share in a machine by a
 * number that disjoint communicators have in common (open-mpi/ompi issue 9492):
 * windows made at the same time by two parts of a job may read each other's
 * memory. So on less than MPI_COMM_WORLD windows are made one at a time on each
 * machine. Collective; nothing to do on the whole world.
 */
int net_turn_take(void);
void net_turn_give(void);

/* The service thread's MPI side (carrier.c). Only the service thread calls these but
 * for create and destroy. */
typedef void (*net_deliver)(const struct net_msg *msg, const void *data,
                            size_t bytes);
int net_carrier_create(void); /* RECTO_ENOMEM */
void net_carrier_destroy(void);
void net_carrier_start(void);
void net_carrier_stop(void);
void net_carrier_send(const struct net_msg *msg, const void *data,
                      size_t bytes);
/* Sends what was handed over in this turn. */
void net_carrier_flush(void);
/* As net_window_get. */
bool net_carrier_get(MPI_Win win, int target, uint64_t offset, void *buffer,
                     size_t bytes, const struct net_msg *then);
/* Delivers what arrived; true if anything moved. */
bool net_carrier_poll(net_deliver deliver);
bool net_carrier_busy(void); /* one-sided operations are under way */

void net_service_stop(void);

#endif
