/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front door: starts the floors from the ground up and ends them from the
 * top down. Nothing else happens here.
 *
 * Invariants
 * 1. vm owns SIGSEGV before MPI starts (MPI_Init leaves a handler alone that
 *    is there) and looks again after it.
 * 2. The service thread starts when all floors have registered their
 *    receivers, and no rank returns from recto_init before all have started.
 */
#include <recto.h>
#include <recto/mpi.h>
#include <recto/vm.h>
#include <stdio.h>

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "coherence/coherence.h"
#include "heap/heap.h"
#include "net/net.h"
#include "obs/obs.h"
#include "space/space.h"
#include "sync/sync.h"

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)
#define VERSION                                                                \
    TEXT(RECTO_VERSION_MAJOR)                                                  \
    "." TEXT(RECTO_VERSION_MINOR) "." TEXT(RECTO_VERSION_PATCH)

static bool started;

const char *recto_version(void)
{
    return VERSION;
}

/* From the top down, also what did not start. */
static int floors_end(void)
{
    obs_top_stop();
    ckpt_finalize();
    int r = space_finalize();
    coherence_stop();
    int s = net_finalize();
    heap_finalize();
    sync_finalize();
    coherence_finalize();
    obs_trace_end();
    recto_vm_finalize();
    base_structs_clear();
    return r != 0 ? r : s;
}

static int floors_start(const recto_options *options)
{
    const struct space_protocol *protocol = NULL;
    int r = obs_trace_start(); /* first: collective */
    r = r == 0 ? base_env_all_good() : r;
    /* again: see who took the signals since */
    r = r == 0 ? recto_vm_init() : r;
    if (r == 0) {
        recto_vm_finalize(); /* of this look; the first init holds */
    }
    r = r == 0 ? coherence_init(&protocol) : r;
    r = r == 0 ? space_init(protocol) : r;
    r = net_verdict(r);
    r = r == 0 ? coherence_start() : r;
    r = r == 0 ? sync_init() : r;
    r = r == 0 ? heap_init() : r;
    r = r == 0 ? ckpt_init(options != NULL ? options->ckpt_dir : NULL,
                           options != NULL ? options->ckpt_full : 0)
               : r;
    r = net_verdict(r == 0 ? net_service_start(false) : r);
    return net_verdict(r == 0 ? heap_create() : r);
}

static int start(int *argc, char ***argv, const MPI_Comm *comm,
                 const recto_options *options)
{
    if (started) {
        return base_error(RECTO_ESTATE,
                          "recto_init was called already; call it once");
    }
    int r = recto_vm_init();
    if (r != 0) {
        return r;
    }
    recto_vm_thread_init();
    r = net_init(argc, argv, comm);
    if (r != 0) {
        recto_vm_finalize();
        return r;
    }
    if (net_rank() == 0) {
        base_env_check();
    }
    r = floors_start(options);
    if (r != 0) {
        floors_end();
        return r;
    }
    started = true;
    r = net_verdict(obs_top_start());
    if (r != 0) {
        started = false;
        floors_end();
    }
    return r;
}

int recto_init(int *argc, char ***argv)
{
    return start(argc, argv, NULL, NULL);
}

int recto_init_comm(MPI_Comm comm, const recto_options *options)
{
    return start(NULL, NULL, &comm, options);
}

int recto_finalize(void)
{
    if (!started) {
        return base_error(
            RECTO_ESTATE,
            "recto_finalize without recto_init; call recto_init first");
    }
    int r = net_agree(NET_CALL_FINALIZE, 0, "recto_finalize()");
    if (r != 0) {
        return r;
    }
    recto_counters mine;
    obs_top_stop();
    r = recto_stats(&mine);
    if (r == 0) {
        obs_trace_counters(&mine);
    }
    r = r == 0 ? obs_table(&mine) : r;
    /* blocks that this rank freed of others: nothing is on its way to a heap that
     * goes; all ranks meet before one does */
    heap_stop();
    heap_go();
    started = false;
    int s = floors_end();
    return r != 0 ? r : s;
}

int recto_rank(void)
{
    return net_rank();
}

int recto_size(void)
{
    return started ? net_size() : 0;
}

int recto_node(void)
{
    return started ? net_domain() : -1;
}

int recto_nodes(void)
{
    return started ? net_domains() : 0;
}

int recto_stats(recto_counters *counters)
{
    struct recto_vm_counters vm;
    if (counters == NULL || !started) {
        return base_error(RECTO_EINVAL, "recto_stats(NULL) or before "
                                        "recto_init");
    }
    recto_vm_stats(&vm);
    *counters =
        (recto_counters){.tracked = vm.tracked, .messages = net_messages()};
    coherence_stats(counters);
    heap_stats(counters);
    ckpt_stats(counters);
    return 0;
}
