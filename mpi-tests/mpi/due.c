/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows when recto_checkpoint_due asks for a checkpoint and for the end: the same on
 * all ranks, whichever rank a signal reached; by the interval, given or the best; when
 * the time is over; by a request of
 * `recto halt`, which the run that it ended removes, and a run that was not does not;
 * and that signals with a handler of the program's are left alone.
 */
#include <mpi.h>
#include <recto/mpi.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "test.h"

extern char **environ;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void begin(void)
{
    CHECK_OK(recto_init_comm(MPI_COMM_WORLD, NULL));
}

static void end(void)
{
    CHECK_OK(recto_finalize());
}

/* The answer, which must be that of rank 0. */
static int asked(void)
{
    int mine = recto_checkpoint_due();
    int first = mine;
    MPI_Bcast(&first, 1, MPI_INT, 0, MPI_COMM_WORLD);
    CHECK(mine == first);
    return mine;
}

/* Asks until the answer is `wanted`; any other than that and NO is wrong. */
static void until(int wanted)
{
    double start = now();
    int answer;
    while ((answer = asked()) == RECTO_DUE_NO) {
        CHECK(now() - start < 60);
    }
    CHECK(answer == wanted);
}

/* Nothing is due, for longer than rank 0 takes to look at the folder again. */
static void nothing(void)
{
    int go = 1;
    for (double start = now(); go;) {
        CHECK(asked() == RECTO_DUE_NO);
        go = now() - start < 0.3;
        MPI_Bcast(&go, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
}

/* `recto halt recto.ckpt WORD...` by rank 0; its exit code. */
static void halt(int code, const char *option, const char *value)
{
    char command[4096];
    char *words[] = {command,        (char *)"halt", (char *)"recto.ckpt",
                     (char *)option, (char *)value,  NULL};
    int status = 0;
    pid_t pid = 0;
    if (recto_rank() == 0) {
        snprintf(command, sizeof command, "%s/bin/recto", getenv("TEST_BUILD"));
        CHECK(posix_spawn(&pid, command, NULL, NULL, words, environ) == 0);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == code);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static bool is_default(int signal)
{
    struct sigaction action;
    CHECK(sigaction(signal, NULL, &action) == 0);
    return action.sa_handler == SIG_DFL;
}

static volatile sig_atomic_t seen;

static void see(int signal)
{
    seen = signal;
}

/* ---- the cases --------------------------------------------------------------------- */

static void signalled(int which, int rank)
{
    begin();
    CHECK(asked() == RECTO_DUE_NO);
    if (recto_rank() == rank) {
        CHECK(raise(which) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(asked() == RECTO_DUE_STOP);
    CHECK(asked() == RECTO_DUE_STOP); /* and stays so */
    end();
    CHECK(is_default(which));
}

static void signals(int size)
{
    for (int rank = 0; rank < size; rank++) {
        signalled(SIGUSR1, rank);
    }
    begin();
    CHECK(is_default(SIGTERM));
    end();
    setenv("RECTO_STOP_SIGNAL", "term", 1);
    signalled(SIGTERM, size - 1);
    signalled(SIGUSR1, 0);
    setenv("RECTO_STOP_SIGNAL", "off", 1);
    begin();
    CHECK(is_default(SIGUSR1) && is_default(SIGTERM));
    end();
    setenv("RECTO_STOP_SIGNAL", "sometimes", 1);
    CHECK(recto_init_comm(MPI_COMM_WORLD, NULL) == RECTO_EINVAL);
    unsetenv("RECTO_STOP_SIGNAL");
    signal(SIGUSR1, see); /* the program's own */
    begin();
    CHECK(raise(SIGUSR1) == 0);
    CHECK(seen == SIGUSR1);
    CHECK(asked() == RECTO_DUE_NO);
    end();
    CHECK(!is_default(SIGUSR1));
    signal(SIGUSR1, SIG_DFL);
}

static void interval(void)
{
    setenv("RECTO_CKPT_INTERVAL", "often", 1);
    CHECK(recto_init_comm(MPI_COMM_WORLD, NULL) == RECTO_EINVAL);
    setenv("RECTO_CKPT_INTERVAL", "1", 1);
    begin();
    int *p = recto_alloc("p", sizeof *p, NULL);
    CHECK(p != NULL);
    for (int i = 0; i < 2; i++) {
        until(RECTO_DUE_CHECKPOINT);
        double start = now();
        CHECK_OK(recto_checkpoint());
        int answer = asked();
        /* the time on rank 0 decides: it is not to be too early */
        CHECK(answer == RECTO_DUE_NO || recto_rank() != 0 ||
              now() - start >= 1.0);
    }
    /* The second epoch from now is the last, and is not written twice. */
    CHECK_OK(recto_checkpoint_wait());
    int64_t epoch = recto_epoch();
    halt(0, "--after", "2");
    until(RECTO_DUE_CHECKPOINT);
    CHECK_OK(recto_checkpoint());
    until(RECTO_DUE_STOP);
    CHECK_OK(recto_checkpoint_wait());
    CHECK(recto_epoch() == epoch + 1);
    CHECK_OK(recto_checkpoint());
    end();
    unsetenv("RECTO_CKPT_INTERVAL");
}

/* A checkpoint of next to nothing in a job that fails every 2 s: many a second; and
 * the end comes before four seconds have passed, of which one is kept for it. */
static void rates(void)
{
    setenv("RECTO_MTBF", "-1", 1);
    CHECK(recto_init_comm(MPI_COMM_WORLD, NULL) == RECTO_EINVAL);
    setenv("RECTO_MTBF", "2", 1);
    setenv("RECTO_WALLTIME", "4", 1);
    double start = now();
    begin();
    CHECK(recto_alloc("p", 1, NULL) != NULL);
    int answer;
    int64_t epochs = 0;
    while ((answer = asked()) != RECTO_DUE_STOP) {
        CHECK(now() - start < 60);
        if (answer == RECTO_DUE_CHECKPOINT) {
            CHECK_OK(recto_checkpoint());
            epochs++;
        }
    }
    CHECK(epochs > 0);
    CHECK(recto_rank() != 0 || now() - start > 0.5);
    end();
    unsetenv("RECTO_MTBF");
    unsetenv("RECTO_WALLTIME");
}

static void requests(void)
{
    begin();
    nothing(); /* makes the folder */
    halt(2, "--after", "0");
    halt(2, "--before", "yesterday");
    halt(0, "--undo", NULL);
    halt(0, NULL, NULL);
    until(RECTO_DUE_STOP);
    end();
    begin(); /* who ended by it took it along */
    nothing();
    halt(0, NULL, NULL);
    halt(0, "--undo", NULL);
    nothing();
    halt(0, "--before", "1h");
    nothing();
    halt(0, "--before",
         "3s"); /* replaces it; less than a margin is left soon */
    until(RECTO_DUE_STOP);
    end();
    begin();
    nothing();
    halt(0, "--before", "1h");
    end(); /* ended before, for another reason: the request is for the next */
    begin();
    nothing();
    halt(0, NULL, NULL);
    end(); /* not asked again, but that is an end as well */
    begin();
    nothing();
    end();
}

static void mismatch(int size)
{
    begin();
    if (size > 1) {
        int r = recto_rank() == 0 ? recto_barrier() : recto_checkpoint_due();
        CHECK(r == RECTO_EMISMATCH);
        CHECK(strstr(recto_last_error(), "recto_checkpoint_due()") != NULL);
    }
    end();
    CHECK(recto_checkpoint_due() == RECTO_ESTATE);
}

int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    int size = 0;
    int rank = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    signals(size);
    requests();
    interval();
    rates();
    mismatch(size);
    MPI_Finalize();
    if (rank == 0) {
        printf("passed: due (%d ranks)\n", size);
    }
    return 0;
}
