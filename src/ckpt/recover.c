/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_recover: one array or protected region as an epoch holds it, at any time. A
 * restart whose epoch was reduced to one object, after which the program's epochs go
 * on as they were.
 *
 * Invariants
 * 1. What was loaded differs from the last epoch: pages of an array are marked as
 *    written. Private memory is compared by hashes anyway.
 * 2. Uids, hashes and the folder stay as they are.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "choice.h"
#include "ckpt.h"
#include "fit.h"
#include "heap/heap.h"
#include "level.h"

static const struct ckpt_object *object_named(const struct ckpt_epoch *e,
                                              const char *name)
{
    for (uint64_t i = 0; i < e->nobjects; i++) {
        if (strcmp(e->objects[i].name, name) == 0) {
            return &e->objects[i];
        }
    }
    return NULL;
}

/* Leaves the epoch that object alone. */
static int reduce(struct ckpt_epoch *e, const char *name)
{
    const struct ckpt_object *o = object_named(e, name);
    if (o == NULL) {
        return base_error(
            RECTO_ENOENT,
            "epoch %llu does not hold \"%s\"; recto info shows what it holds",
            (unsigned long long)e->number, name);
    }
    e->objects[0] = *o;
    e->nobjects = 1;
    return 0;
}

/* My pages of a tracked array that hold data now: the others are as in any epoch. */
static void mark(struct ckpt_part *part)
{
    uint64_t first = 0;
    uint64_t count = 0;
    if (part->segment == NULL || !space_dirty_tracking(part->segment)) {
        return;
    }
    while (ckpt_home_run(part, first + count, &first, &count)) {
        uint64_t end = first + count;
        uint64_t stop = 0;
        for (uint64_t page = first; page < end; page = stop) {
            if (!ckpt_part_hole(part, page, end, &stop)) {
                space_dirty_restore(part->segment, page, stop - page);
            }
        }
    }
}

/* What is wanted, as the ranks declare it. */
struct wanted {
    const struct ckpt_epoch *declared;
    const struct ckpt_object *object;
    int64_t epoch; /* that it came from; -1: none yet */
};

static int candidate_recover(void *argument, const struct ckpt_manifest *m,
                             uint64_t index)
{
    struct wanted *wanted = argument;
    struct ckpt_job job = CKPT_JOB_NONE;
    bool touched = false;
    int status = ckpt_epoch_copy(&job.epoch, &m->epochs[index]);
    if (status == 0) {
        status = reduce(&job.epoch, wanted->object->name);
    }
    if (status == 0) {
        status = ckpt_fit_one(&job.epoch, wanted->object, wanted->declared);
    }
    if (status == 0) {
        status = ckpt_parts_bind(&job);
    }
    status = net_verdict(status);
    if (status == 0) {
        status = ckpt_load(&job, m, index, &touched);
    }
    if (touched) {
        mark(&job.parts[0]); /* damage was found late: what came is there */
    }
    ckpt_job_free(&job);
    status = net_verdict(status);
    wanted->epoch = status == 0 ? (int64_t)m->epochs[index].number : -1;
    return status;
}

static int no_checkpoint(void)
{
    return base_error(
        RECTO_ENOENT,
        "%s holds no checkpoint; write one first, or set the folder",
        ckpt_state.path);
}

/* What the ranks declare under a name; NULL: no rank does. */
static int declared_find(struct ckpt_job *job, const char *name,
                         const struct ckpt_object **now)
{
    int status = ckpt_agree(job);
    if (status != 0) {
        return status;
    }
    *now = object_named(&job->epoch, name);
    return *now != NULL
               ? 0
               : base_error(RECTO_ENOENT,
                            "recto_recover(\"%s\"): neither shared "
                            "nor protected; allocate or protect it first",
                            name);
}

static int recover(const char *name, int64_t *epoch)
{
    struct ckpt_manifest *m = NULL;
    struct ckpt_job declared = CKPT_JOB_NONE;
    struct wanted wanted = {&declared.epoch, NULL, -1};
    int status = ckpt_level_flush();
    if (status == 0) {
        status = ckpt_choice_open(&m);
    }
    if (status == 0) {
        status = m != NULL ? declared_find(&declared, name, &wanted.object)
                           : no_checkpoint();
    }
    if (status == 0) {
        status = ckpt_choice_try(m, candidate_recover, &wanted);
    }
    *epoch = status == 0 ? wanted.epoch : -1;
    ckpt_job_free(&declared);
    ckpt_manifest_free(m);
    return status;
}

int recto_recover(const char *name)
{
    char call[RECTO_NAME_MAX + 32];
    char text[RECTO_NAME_MAX + 64];
    uint64_t called = base_trace_clock();
    uint64_t before = ckpt_state.restart_bytes;
    int64_t epoch = -1;
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_recover before recto_init");
    }
    int status = name == NULL ? base_error(RECTO_EINVAL, "recto_recover(NULL)")
                              : base_name_check(name);
    (void)snprintf(call, sizeof call, "recto_recover(\"%.*s\")", RECTO_NAME_MAX,
                   name != NULL ? name : "");
    status = ckpt_meet(NET_CALL_RECOVER,
                       ckpt_choice_text(call, text, sizeof text), status);
    if (status == 0 && name != NULL) {
        (void)pthread_mutex_lock(&ckpt_mutex);
        status = recover(name, &epoch);
        (void)pthread_mutex_unlock(&ckpt_mutex);
    }
    heap_go();
    ckpt_trace_call(TRACE_RECOVER, called, status, epoch,
                    ckpt_state.restart_bytes - before,
                    __builtin_return_address(0));
    return status;
}
