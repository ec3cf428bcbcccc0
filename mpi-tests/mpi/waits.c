/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waits, planted for `recto report`: rank 1 waits for an event, a semaphore, a condition;
 * tries locks that rank 0 holds, two in turn, and a semaphore and an event that nobody
 * has given; both ranks recover an array. Twice: the second trace is to have nothing of
 * the first one's tries.
 */
#include <mpi.h>

#include "test.h"

enum {
    TRIES = 100
};

struct objects {
    recto_lock_t lock;
    recto_rwlock_t rw;
    recto_event_t event;
    recto_sem_t sem;
    recto_cond_t cond;
    int64_t *ready;
};

static void nap(void)
{
    const struct timespec ms150 = {0, 150000000};
    nanosleep(&ms150, NULL);
}

static void make(struct objects *o)
{
    CHECK_OK(recto_lock_create(&o->lock));
    CHECK_OK(recto_rwlock_create(&o->rw));
    CHECK_OK(recto_event_create(&o->event));
    CHECK_OK(recto_sem_create(&o->sem, 0));
    CHECK_OK(recto_cond_create(&o->cond));
    o->ready = recto_alloc("ready", sizeof *o->ready, NULL);
    CHECK(o->ready != NULL);
}

static void tries_make(const struct objects *o)
{
    for (int i = 0; i < TRIES; i++) {
        CHECK(recto_trylock(o->lock) == RECTO_EBUSY); /* planted: try */
        CHECK(recto_rwlock_tryrdlock(o->rw) == RECTO_EBUSY);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(recto_sem_trywait(o->sem) == RECTO_EBUSY);
        CHECK(recto_event_test(o->event) == 0);
    }
}

/* While rank 0 holds the locks. */
static void tries(const struct objects *o)
{
    int holds = recto_rank() == 0;
    if (holds) {
        CHECK_OK(recto_lock(o->lock));
        CHECK_OK(recto_rwlock_wrlock(o->rw));
    }
    CHECK_OK(recto_barrier());
    if (!holds) {
        tries_make(o);
    }
    CHECK_OK(recto_barrier());
    if (holds) {
        CHECK_OK(recto_rwlock_unlock(o->rw));
        CHECK_OK(recto_unlock(o->lock));
    }
    CHECK_OK(recto_barrier());
}

static void got(const struct objects *o)
{
    CHECK_OK(recto_trylock(o->lock));
    CHECK_OK(recto_unlock(o->lock));
    CHECK_OK(recto_rwlock_tryrdlock(o->rw));
    CHECK_OK(recto_rwlock_unlock(o->rw));
}

static void told(const struct objects *o)
{
    CHECK_OK(recto_event_wait(o->event)); /* planted: event */
    CHECK(recto_event_test(o->event) == 1);
    CHECK_OK(recto_sem_wait(o->sem)); /* planted: sem */
    CHECK_OK(recto_lock(o->lock));
    *o->ready = -1;
    while (*o->ready < 0) {
        CHECK_OK(recto_cond_wait(o->cond, o->lock));
    }
    CHECK_OK(recto_unlock(o->lock));
}

static void tell(const struct objects *o)
{
    nap();
    CHECK_OK(recto_event_set(o->event));
    nap();
    CHECK_OK(recto_sem_post(o->sem));
    nap();
    CHECK_OK(recto_lock(o->lock));
    while (*o->ready == 0) { /* rank 1 does not wait yet */
        CHECK_OK(recto_unlock(o->lock));
        nap();
        CHECK_OK(recto_lock(o->lock));
    }
    *o->ready = 1;
    CHECK_OK(recto_cond_signal(o->cond));
    CHECK_OK(recto_unlock(o->lock));
}

static void back(void)
{
    double *x = recto_array("x", RECTO_DOUBLE, 1, (uint64_t[]){1024}, NULL);
    CHECK(x != NULL);
    x[recto_rank()] = 1;
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait());
    x[recto_rank()] = 2;
    CHECK_OK(recto_recover("x")); /* planted: recover */
    CHECK(x[recto_rank()] == 1);
    CHECK(recto_recover("none") == RECTO_ENOENT);
}

int main(int argc, char **argv)
{
    struct objects o;
    int level = MPI_THREAD_SINGLE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    CHECK_OK(recto_init(NULL, NULL));
    make(&o);
    tries(&o);
    CHECK_OK(recto_finalize());
    CHECK_OK(recto_init(NULL, NULL));
    make(&o);
    tries(&o);
    if (recto_rank() == 1) {
        got(&o);
    }
    CHECK_OK(recto_barrier());
    if (recto_rank() == 1) {
        told(&o);
    } else {
        tell(&o);
    }
    CHECK_OK(recto_barrier());
    back();
    int end = test_end("waits");
    MPI_Finalize();
    return end;
}
