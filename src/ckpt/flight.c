/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checkpoint beside the program.
 *
 *   program's thread                    thread of the flight
 *     stop: agree, collect                .
 *     start ----------------------------> write, finish, commit, read back, prune
 *     goes on                               (collective calls in the background)
 *     next checkpoint, wait, free, ...:
 *     land: waits for it <--------------- done
 *     settles what the epoch holds, or gives the marks back
 *                                         compacts the chain if it is too long (merge.c)
 *     next checkpoint: end -------------> stops that
 *
 * Invariants
 * 1. There is one flight at a time. Whoever changes segments, homes or the folder, and
 *    the next checkpoint, lands it first.
 * 2. The job and the folder (ckpt_state.dir, .store) are the thread's from start to
 *    land. Regions and what is known of the last epoch are not: they change in land.
 * 3. Each flight ends with a verdict, so it ends alike on all ranks; its error is told
 *    once, by the next collective call that concerns checkpoints.
 * 4. The thread takes no signal. It begins when all ranks have one.
 * 5. The folder is the thread's until the end; after land it touches nothing else.
 * 6. Private memory is copied before the program goes on. What does not fit into the
 *    buffer is not: the thread writes it first, and the program waits until it has.
 */
#include "flight.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "merge.h"
#include "space/snapshot.h"

enum gate {
    GATE_SHUT,
    GATE_OPEN,
    GATE_CLOSED /* for good */
};

static struct {
    bool concurrent;
    bool refuses;
    uint64_t buffer; /* bytes of a ring */
    bool flying;
    bool running; /* the thread, as far as nobody has joined it */
    pthread_t thread;
    struct ckpt_job job;
    struct ckpt_merge merge; /* the job's, whose end it outlives */
    atomic_bool ending;      /* the compaction is not wanted any more */
    struct ckpt_known *known;
    int status; /* of the flight, once it is done */
    atomic_bool done;
    _Atomic int64_t
        epoch; /* committed by a flight that has not landed; or -1 */
    pthread_mutex_t mutex;
    pthread_cond_t may_go;
    enum gate gate; /* before the thread */
    bool waits;     /* the program, for its private memory to be written */
    int told;       /* outcome that nobody was told of; 0: none */
    char message[1024];
} flight = {.epoch = -1,
            .mutex = PTHREAD_MUTEX_INITIALIZER,
            .may_go = PTHREAD_COND_INITIALIZER};

/* ---- settings ----------------------------------------------------------------------- */

int ckpt_flight_init(void)
{
    unsigned mode = 0; /* concurrent|sync */
    unsigned busy = 0; /* wait|refuse */
    int status = base_env_choice(BASE_ENV_CKPT_MODE, &mode);
    status = status == 0 ? base_env_choice(BASE_ENV_CKPT_BUSY, &busy) : status;
    flight.concurrent = mode == 0;
    flight.refuses = busy == 1;
    flight.told = 0;
    atomic_store(&flight.epoch, -1);
    return status == 0 ? base_env_bytes(BASE_ENV_CKPT_BUFFER, &flight.buffer)
                       : status;
}

uint64_t ckpt_flight_buffer(void)
{
    return flight.buffer;
}

bool ckpt_flight_wanted(void)
{
    return flight.concurrent;
}

int ckpt_flight_prepare(void)
{
    int status = net_background_create();
    return status == 0 && flight.concurrent
               ? space_snapshot_create(flight.buffer)
               : status;
}

/* ---- the thread --------------------------------------------------------------------- */

static void private_written(void)
{
    (void)pthread_mutex_lock(&flight.mutex);
    flight.waits = false;
    (void)pthread_cond_broadcast(&flight.may_go);
    (void)pthread_mutex_unlock(&flight.mutex);
}

/* In the program's thread. */
static void private_wait(void)
{
    (void)pthread_mutex_lock(&flight.mutex);
    while (flight.waits) {
        (void)pthread_cond_wait(&flight.may_go, &flight.mutex);
    }
    (void)pthread_mutex_unlock(&flight.mutex);
}

/* Likewise. */
static void done_wait(void)
{
    (void)pthread_mutex_lock(&flight.mutex);
    while (!atomic_load(&flight.done)) {
        (void)pthread_cond_wait(&flight.may_go, &flight.mutex);
    }
    (void)pthread_mutex_unlock(&flight.mutex);
}

/* All ranks have their thread; false: some have not. */
static bool gate_pass(void)
{
    (void)pthread_mutex_lock(&flight.mutex);
    while (flight.gate == GATE_SHUT) {
        (void)pthread_cond_wait(&flight.may_go, &flight.mutex);
    }
    bool open = flight.gate == GATE_OPEN;
    (void)pthread_mutex_unlock(&flight.mutex);
    return open;
}

static void gate_set(enum gate gate)
{
    (void)pthread_mutex_lock(&flight.mutex);
    flight.gate = gate;
    (void)pthread_cond_broadcast(&flight.may_go);
    (void)pthread_mutex_unlock(&flight.mutex);
}

static void *fly(void *argument)
{
    (void)argument;
    if (!gate_pass()) {
        return NULL;
    }
    net_background_enter();
    int status = flight.job.concurrent ? ckpt_epoch_write(&flight.job) : 0;
    if (status == 0) {
        atomic_store(&flight.epoch, (int64_t)flight.job.epoch.number);
        status = ckpt_epoch_verify(&flight.job);
    }
    if (status != 0) {
        (void)snprintf(flight.message, sizeof flight.message, "%s",
                       recto_last_error());
        atomic_store(&flight.epoch, -1);
    }
    flight.status = status;
    atomic_store(&flight.done, true);
    private_written(); /* where it came to an end early; wakes who lands it */
    if (status == 0) {
        ckpt_merge_run(&flight.merge, &flight.ending);
    }
    return NULL;
}

int ckpt_flight_start(struct ckpt_job *job, struct ckpt_known *known)
{
    sigset_t all;
    sigset_t before;
    RECTO_ASSERT(!flight.running);
    flight.job = *job;
    flight.merge = job->merge;
    memset(&flight.job.merge, 0, sizeof flight.job.merge);
    flight.job.private_written = private_written;
    flight.waits = job->waits;
    flight.known = known;
    flight.gate = GATE_SHUT;
    atomic_store(&flight.done, false);
    atomic_store(&flight.ending, false);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&flight.thread, NULL, fly, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    int status = net_verdict(
        error == 0 ? 0
                   : base_error(RECTO_ENOMEM, "thread of the checkpoint: %s",
                                strerrordesc_np(error)));
    if (status == 0 && !flight.job.concurrent) { /* it is on disk */
        atomic_store(&flight.epoch, (int64_t)flight.job.epoch.number);
    }
    if (error == 0) {
        gate_set(status == 0 ? GATE_OPEN : GATE_CLOSED);
    }
    if (error == 0 && status != 0) {
        (void)pthread_join(flight.thread, NULL);
    }
    if (status != 0) {
        return status;
    }
    flight.flying = flight.running = true;
    *job = (struct ckpt_job)CKPT_JOB_NONE;
    private_wait();
    return 0;
}

/* ---- its end --------------------------------------------------------------------------- */

int ckpt_flight_refuse(void)
{
    return flight.flying && flight.refuses && !atomic_load(&flight.done)
               ? base_error(RECTO_EBUSY,
                            "epoch %llu is still being written: wait for it "
                            "(recto_checkpoint_wait), or set %s=wait",
                            (unsigned long long)flight.job.epoch.number,
                            base_env_name(BASE_ENV_CKPT_BUSY))
               : 0;
}

void ckpt_flight_land(void)
{
    if (!flight.flying) {
        return;
    }
    net_background_hurry(true);
    done_wait();
    net_background_hurry(false);
    flight.flying = false;
    (void)pthread_mutex_lock(&ckpt_mutex);
    ckpt_job_end(&flight.job, flight.known, flight.status);
    (void)pthread_mutex_unlock(&ckpt_mutex);
    flight.known = NULL;
    flight.told = flight.status;
    if (!flight.merge.due) {
        ckpt_flight_end();
    }
    atomic_store(&flight.epoch, -1);
}

void ckpt_flight_end(void)
{
    if (!flight.running) {
        return;
    }
    atomic_store(&flight.ending, true);
    net_background_hurry(true);
    (void)pthread_join(flight.thread, NULL);
    net_background_hurry(false);
    flight.running = false;
    ckpt_merge_free(&flight.merge);
}

int ckpt_flight_outcome(void)
{
    int status = flight.told;
    if (status != 0) {
        base_error_set(flight.message);
    }
    flight.told = 0;
    return status;
}

int64_t ckpt_flight_newest(void)
{
    return flight.flying ? (int64_t)flight.job.epoch.number : recto_epoch();
}

int64_t ckpt_flight_epoch(void)
{
    return atomic_load(&flight.epoch);
}
