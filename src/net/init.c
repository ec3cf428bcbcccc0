/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start and end of net: MPI, communicators, topology, agreement on settings.
 */
#include <recto/error.h>
#include <recto/vm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "net/state.h"

struct net_state net;

static int level_check(void)
{
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_MULTIPLE) {
        static const char *const names[] = {"MPI_THREAD_SINGLE",
                                            "MPI_THREAD_FUNNELED",
                                            "MPI_THREAD_SERIALIZED"};
        return base_error(
            RECTO_ETHREAD,
            "MPI was initialised with %s and Recto needs MPI_THREAD_MULTIPLE: "
            "call MPI_Init_thread(.., MPI_THREAD_MULTIPLE, ..), or let "
            "recto_init initialise MPI",
            level == MPI_THREAD_SINGLE     ? names[0]
            : level == MPI_THREAD_FUNNELED ? names[1]
                                           : names[2]);
    }
    return 0;
}

static int mpi_start(int *argc, char ***argv, const MPI_Comm *comm)
{
    int started = 0;
    MPI_Initialized(&started);
    if (comm != NULL && (!started || *comm == MPI_COMM_NULL)) {
        return base_error(RECTO_EINVAL,
                          "recto_init_comm needs a communicator of an MPI that "
                          "is initialised");
    }
    if (!started) {
        int level = MPI_THREAD_SINGLE;
        int r = net_mpi_error(
            MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &level),
            "MPI_Init_thread");
        if (r != 0) {
            return r;
        }
        net.finalize_mpi = true;
    }
    return level_check();
}

/* Settings that must be the same on all ranks. */
static int settings_agree(void)
{
    char mine[256] = {0};
    char theirs[256];
    snprintf(mine, sizeof mine, "%s=%.60s %s=%.60s",
             base_env_name(BASE_ENV_NODE), base_env(BASE_ENV_NODE),
             base_env_name(BASE_ENV_TRANSPORT), base_env(BASE_ENV_TRANSPORT));
    memcpy(theirs, mine, sizeof theirs);
    int r = net_bcast(theirs, sizeof theirs, 0);
    if (r == 0 && memcmp(mine, theirs, sizeof mine) != 0) {
        r = base_error(RECTO_EMISMATCH,
                       "this rank has %s but rank 0 has %s: pass the "
                       "environment to all ranks (mpirun -x NAME)",
                       mine, theirs);
    }
    return net_verdict(r);
}

static int comms_create(MPI_Comm comm)
{
    int r = net_mpi_error(MPI_Comm_dup(comm, &net.comm), "MPI_Comm_dup");
    r = r == 0 ? net_mpi_error(MPI_Comm_dup(comm, &net.carrier), "MPI_Comm_dup")
               : r;
    if (r == 0) {
        MPI_Comm_set_errhandler(net.comm, MPI_ERRORS_RETURN);
        MPI_Comm_set_errhandler(net.carrier, MPI_ERRORS_RETURN);
        MPI_Comm_rank(net.comm, &net.rank);
        MPI_Comm_size(net.comm, &net.size);
        int world = 0;
        MPI_Comm_size(MPI_COMM_WORLD, &world);
        net.is_world = world == net.size;
        char host[64] = "?";
        gethostname(host, sizeof host - 1);
        base_identity(net.rank, host);
    }
    return r;
}

static void comm_free(MPI_Comm *comm)
{
    if (*comm != MPI_COMM_NULL) {
        MPI_Comm_free(comm);
    }
}

static void undo(void)
{
    net_topology_forget();
    comm_free(&net.background);
    comm_free(&net.carrier);
    comm_free(&net.comm);
}

int net_init(int *argc, char ***argv, const void *comm)
{
    uint64_t seconds = 0;
    net = (struct net_state){.comm = MPI_COMM_NULL,
                             .carrier = MPI_COMM_NULL,
                             .background = MPI_COMM_NULL,
                             .control_fd = -1};
    int r = mpi_start(argc, argv, comm);
    if (r != 0) {
        return r;
    }
    r = comms_create(comm != NULL ? *(const MPI_Comm *)comm : MPI_COMM_WORLD);
    if (r != 0) {
        undo();
        return r;
    }
    r = net_verdict(base_env_u64(BASE_ENV_TIMEOUT, &seconds));
    net.timeout = seconds * 1000000000U;
    r = r == 0 ? settings_agree() : r;
    r = r == 0 ? net_topology_find() : r;
    r = net_verdict(r);
    if (r != 0) {
        undo();
        return r;
    }
    net.started = true;
    return 0;
}

int net_finalize(void)
{
    /* nobody's service thread ends while others may still send to it */
    int r = net_mpi_error(MPI_Barrier(net.comm), "MPI_Barrier");
    net_service_stop();
    bool finalize = net.finalize_mpi;
    undo();
    net.started = false;
    base_identity(-1, "?");
    if (finalize) {
        int s = net_mpi_error(MPI_Finalize(), "MPI_Finalize");
        r = r == 0 ? s : r;
    }
    return r;
}
