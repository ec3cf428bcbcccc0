/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Topology: which ranks are of one machine, of one domain, and share memory.
 *
 * Ranks of one machine pass memory by its descriptor: rank A opens
 * /proc/<pid of B>/fd/<n>. Whether that works is not guessed from host names
 * (containers share them or not): each rank publishes a control memory that
 * begins with a random nonce, and two ranks are of one machine when each finds
 * the other's nonce there.
 *
 * Invariants
 * 1. "Of one machine" is agreed by all ranks concerned: if any pair of a host
 *    fails the proof, each of its ranks is a machine of its own.
 * 2. Domains are numbered in the order of their lowest ranks and lie within a
 *    machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <limits.h>
#include <recto/error.h>
#include <recto/vm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "net/state.h"

/* Whole pages. */
enum {
    CONTROL_BYTES = (sizeof(struct net_control) + 4095) / 4096 * 4096
};

struct card {
    uint64_t nonce;
    int64_t pid;
    int32_t fd;
    int32_t host; /* lowest rank of the host that MPI says we are on */
    int32_t machine;
    int32_t domain_leader;
    char host_name[32];
};

int net_fd_open(int rank, int fd, int *mine)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)net.peers[rank].pid,
             fd);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    if (opened < 0) {
        return base_error(
            RECTO_ESTATE,
            "memory of rank %d: open %s: %s; ranks of one machine must be one "
            "user's, in one namespace of processes",
            rank, path, base_errno_text(errno));
    }
    *mine = opened;
    return 0;
}

static int control_create(void)
{
    void *view = NULL;
    int r =
        recto_vm_memory_create("recto-control", CONTROL_BYTES, &net.control_fd);
    if (r == 0) {
        r = recto_vm_map(net.control_fd, 0, CONTROL_BYTES, NULL, RECTO_VM_WRITE,
                         &view);
    }
    if (r != 0) {
        return r;
    }
    struct net_control *control = view;
    if (getrandom(&control->nonce, sizeof control->nonce, 0) < 0) {
        control->nonce = base_now() ^ ((uint64_t)getpid() << 40);
    }
    net_ring_init(&control->ring);
    net.peers[net.rank].control = control;
    net.peers[net.rank].pid = getpid();
    return 0;
}

/* Maps the control memory of a rank of my host if its nonce is there. */
static bool control_open(int rank, const struct card *card)
{
    int fd = -1;
    net.peers[rank].pid = (pid_t)card->pid;
    if (net_fd_open(rank, card->fd, &fd) != 0) {
        return false;
    }
    struct stat st;
    void *view = NULL;
    bool sound =
        fstat(fd, &st) == 0 && st.st_size >= (off_t)CONTROL_BYTES &&
        recto_vm_map(fd, 0, CONTROL_BYTES, NULL, RECTO_VM_WRITE, &view) == 0;
    close(fd);
    if (sound && ((struct net_control *)view)->nonce != card->nonce) {
        recto_vm_unmap(view, CONTROL_BYTES);
        sound = false;
    }
    net.peers[rank].control = sound ? view : NULL;
    return sound;
}

static void control_close(int rank)
{
    if (net.peers[rank].control != NULL) {
        recto_vm_unmap(net.peers[rank].control, CONTROL_BYTES);
        net.peers[rank].control = NULL;
    }
}

/* Ranks per domain: 1, COUNT, or INT_MAX for the whole machine. */
static int domain_width(int *width)
{
    unsigned choice = 0; /* auto|rank|COUNT */
    uint64_t count = INT_MAX;
    int status = base_env_choice(BASE_ENV_NODE, &choice);
    if (status == 0 && choice == 1) {
        count = 1;
    } else if (status == 0 && choice == 2) {
        status = base_env_u64(BASE_ENV_NODE, &count);
    }
    *width = (int)count;
    return status;
}

static int transport_apart(bool *apart)
{
    unsigned choice = 0; /* auto|shm|mpi */
    int status = base_env_choice(BASE_ENV_TRANSPORT, &choice);
    *apart = choice == 2;
    return status;
}

/* Lowest rank of the host, by MPI's idea of who could share memory. */
static int host_find(int *host)
{
    MPI_Comm local = MPI_COMM_NULL;
    int r = net_mpi_error(MPI_Comm_split_type(net.comm, MPI_COMM_TYPE_SHARED,
                                              net.rank, MPI_INFO_NULL, &local),
                          "MPI_Comm_split_type");
    if (r != 0) {
        return r;
    }
    *host = net.rank;
    r = net_mpi_error(MPI_Bcast(host, 1, MPI_INT, 0, local), "MPI_Bcast");
    MPI_Comm_free(&local);
    return r;
}

/* Opens the controls of my host's ranks; every rank of it must succeed with
 * every other. */
static int machines_prove(struct card *cards)
{
    int64_t *failed = calloc((size_t)net.size, sizeof *failed);
    int r =
        net_verdict(failed != NULL ? 0 : base_error(RECTO_ENOMEM, "topology"));
    if (r != 0) {
        free(failed);
        return r;
    }
    int host = cards[net.rank].host;
    for (int i = 0; i < net.size; i++) {
        if (i != net.rank && cards[i].host == host &&
            !control_open(i, &cards[i])) {
            failed[host] = 1;
        }
    }
    r = net_allreduce_max(failed, net.size);
    for (int i = 0; r == 0 && i < net.size; i++) {
        cards[i].machine = failed[cards[i].host] ? i : cards[i].host;
        net.peers[i].machine = cards[i].machine;
    }
    if (r == 0 && failed[host] != 0 && net.rank == host) {
        base_warn("the ranks of this host cannot open each other's memory "
                  "through /proc; they are reached through MPI");
    }
    free(failed);
    return r;
}

static int domains_number(const struct card *cards)
{
    net.leaders = calloc((size_t)net.size, sizeof *net.leaders);
    int r = net_verdict(
        net.leaders != NULL ? 0 : base_error(RECTO_ENOMEM, "topology"));
    if (r != 0) {
        return r;
    }
    net.domains = 0;
    for (int i = 0; i < net.size; i++) {
        int leader = cards[i].domain_leader;
        if (leader == i) {
            net.leaders[net.domains] = i;
            net.peers[i].domain = net.domains++;
        } else {
            net.peers[i].domain = net.peers[leader].domain;
        }
    }
    net.domain = net.peers[net.rank].domain;
    return 0;
}

/* The lowest rank of a rank's group of `width` neighbours of its machine. */
static int leader_of(const struct card *cards, int rank, int width)
{
    int seen = 0;
    int leader = rank;
    for (int i = 0; i <= rank; i++) {
        if (cards[i].machine == cards[rank].machine) {
            leader = seen % width == 0 ? i : leader;
            seen++;
        }
    }
    return leader;
}

static void shares_find(bool apart)
{
    net.local_ranks = 0;
    net.uses_mpi = false;
    for (int i = 0; i < net.size; i++) {
        struct net_peer *peer = &net.peers[i];
        bool near = peer->machine == net.peers[net.rank].machine;
        peer->shares = near && (!apart || peer->domain == net.domain);
        net.local_ranks += near;
        net.uses_mpi = net.uses_mpi || !peer->shares;
        if (!peer->shares) {
            control_close(i);
        }
    }
}

static void cores_count(void)
{
    hwloc_topology_t topology;
    net.local_cores = 1;
    if (hwloc_topology_init(&topology) != 0) {
        return;
    }
    if (hwloc_topology_load(topology) == 0) {
        int cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
        net.local_cores = cores > 0 ? cores : 1;
    }
    hwloc_topology_destroy(topology);
}

/* Leaders are found by the lowest rank for all at once: cards are equal
 * everywhere, so every rank computes the same domains. */
static int places_find(struct card *cards, int width)
{
    struct card *mine = &cards[net.rank];
    int r = machines_prove(cards);
    if (r != 0) {
        return r;
    }
    mine->domain_leader = leader_of(cards, net.rank, width);
    int32_t leader = mine->domain_leader;
    int32_t *all = calloc((size_t)net.size, sizeof *all);
    r = net_verdict(all != NULL ? 0 : base_error(RECTO_ENOMEM, "topology"));
    if (r == 0) {
        r = net_allgather(&leader, sizeof leader, all);
    }
    for (int i = 0; r == 0 && i < net.size; i++) {
        cards[i].domain_leader = all[i];
    }
    free(all);
    return r == 0 ? domains_number(cards) : r;
}

int net_topology_find(void)
{
    int width = 1;
    bool apart = false;
    struct card *cards = calloc((size_t)net.size, sizeof *cards);
    net.peers = calloc((size_t)net.size, sizeof *net.peers);
    net.control_fd = -1;
    int r = cards != NULL && net.peers != NULL
                ? domain_width(&width)
                : base_error(RECTO_ENOMEM, "topology of %d ranks", net.size);
    r = r == 0 ? transport_apart(&apart) : r;
    r = r == 0 ? control_create() : r;
    r = net_verdict(r);
    struct card mine = {.pid = getpid(), .fd = net.control_fd};
    (void)snprintf(mine.host_name, sizeof mine.host_name, "%s", base_host());
    if (r == 0) {
        mine.nonce = net.peers[net.rank].control->nonce;
        r = host_find(&mine.host);
    }
    r = r == 0 ? net_allgather(&mine, sizeof mine, cards) : r;
    for (int i = 0; r == 0 && i < net.size; i++) {
        memcpy(net.peers[i].host, cards[i].host_name, sizeof mine.host_name);
    }
    r = r == 0 ? places_find(cards, width) : r;
    if (r == 0) {
        shares_find(apart);
        cores_count();
    }
    free(cards);
    return r;
}

void net_topology_forget(void)
{
    for (int i = 0; net.peers != NULL && i < net.size; i++) {
        control_close(i);
    }
    if (net.control_fd >= 0) {
        close(net.control_fd);
        net.control_fd = -1;
    }
    free(net.peers);
    free(net.leaders);
    net.peers = NULL;
    net.leaders = NULL;
}

int net_rank(void)
{
    return net.started ? net.rank : -1;
}

int net_size(void)
{
    return net.size;
}

int net_domain(void)
{
    return net.domain;
}

int net_domains(void)
{
    return net.domains;
}

int net_domain_of(int rank)
{
    return net.peers[rank].domain;
}

int net_domain_leader(int domain)
{
    return net.leaders[domain];
}

const char *net_host(int rank)
{
    return net.peers[rank].host;
}

int net_machine_of(int rank)
{
    return net.peers[rank].machine;
}

bool net_same_machine(int rank)
{
    return net.peers[rank].machine == net.peers[net.rank].machine;
}

bool net_shares(int rank)
{
    return net.peers[rank].shares;
}

int net_local_ranks(void)
{
    return net.local_ranks;
}

int net_local_cores(void)
{
    return net.local_cores;
}
