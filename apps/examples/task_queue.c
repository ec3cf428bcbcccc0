/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * task_queue: ranks take tasks from a shared queue and put new ones into it, as long as
 * there are any; who is fast does more. A task is to count the primes of an interval; one
 * that is too long is cut into two tasks instead. A lock keeps the queue in order; who
 * finds it empty sleeps on a condition until there is something to do.
 *
 *     mpicc task_queue.c -o task_queue $(pkg-config --cflags --libs recto)
 *     mpirun -n 3 ./task_queue
 */
#include <recto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    END = 1000000,
    PRIMES = 78498, /* below END */
    LONGEST = 5000  /* interval that is not cut */
};

struct task {
    int from, end;
};
static struct queue { /* shared; all of it under the lock */
    int waiting;      /* tasks in it */
    int unfinished;   /* these, and those in work */
    long primes;
    struct task tasks[1000];
} * queue;
static recto_lock_t lock;
static recto_cond_t changed;

static void must(int good)
{
    if (!good) {
        fprintf(stderr, "%s\n", recto_last_error());
        exit(EXIT_FAILURE);
    }
}

static void put(int from, int end)
{
    queue->tasks[queue->waiting++] = (struct task){from, end};
    queue->unfinished++;
}

/* Waits for a task, or, false, for the end of all. */
static bool take(struct task *task)
{
    must(recto_lock(lock) == 0);
    while (queue->waiting == 0 && queue->unfinished > 0) {
        must(recto_cond_wait(changed, lock) == 0);
    }
    bool got = queue->waiting > 0;
    if (got)
        *task = queue->tasks[--queue->waiting];
    must(recto_unlock(lock) == 0);
    return got;
}

static long primes_in(struct task task)
{
    long primes = 0;
    for (int n = task.from; n < task.end; n++) {
        int d = 2;
        while (d * d <= n && n % d != 0)
            d++;
        primes += d * d > n;
    }
    return primes;
}

static void work(struct task task)
{
    int middle = task.from + (task.end - task.from) / 2;
    bool cut = task.end - task.from > LONGEST;
    long primes = cut ? 0 : primes_in(task);
    must(recto_lock(lock) == 0);
    if (cut)
        put(task.from, middle);
    if (cut)
        put(middle, task.end);
    queue->primes += primes;
    queue->unfinished--; /* without this one */
    must(recto_cond_broadcast(changed) == 0 && recto_unlock(lock) == 0);
}

int main(int argc, char **argv)
{
    must(recto_init(&argc, &argv) == 0);
    queue = recto_alloc("queue", sizeof *queue, NULL);
    must(queue != NULL && recto_lock_create(&lock) == 0);
    must(recto_cond_create(&changed) == 0);
    if (recto_rank() == 0)
        put(2, END); /* before anybody takes one */
    must(recto_barrier() == 0);
    for (struct task task; take(&task);)
        work(task);
    must(recto_barrier() == 0);

    bool right = queue->primes == PRIMES;
    if (recto_rank() == 0) {
        printf("%ld primes below %d: %s\n", queue->primes, END,
               right ? "ok" : "WRONG");
    }
    must(recto_finalize() == 0);
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
