/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program outside the tree, for two ranks, C11 and C++17: uses each public header and
 * what librecto interposes, on pages that the calling rank has not got: a system call, an
 * MPI call, a thread that blocks the signals of page faults. Prints "good" when all came.
 */
#include <inttypes.h>
#include <pthread.h>
#include <recto.h>
#include <recto/mpi.h>
#include <recto/vm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int bad; /* what failed first: a line */

#define MUST(condition) (void)(bad != 0 || (condition) || (bad = __LINE__))

enum {
    N = 1024 /* numbers of a rank: two pages */
};

/* Through a pipe into the other rank's second page. */
static void read_into(int64_t *x, int other)
{
    int64_t number = 40 + recto_rank();
    int ends[2];
    MUST(pipe(ends) == 0);
    MUST(write(ends[1], &number, sizeof number) == (ssize_t)sizeof number);
    MUST(read(ends[0], &x[other * N + N / 2], sizeof number) ==
         (ssize_t)sizeof number);
    MUST(close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* From the other rank's first page to the other rank. */
static void send_from(int64_t *x, int other)
{
    int64_t number = -1;
    MUST(MPI_Sendrecv(&x[other * N], 1, MPI_INT64_T, other, 0, &number, 1,
                      MPI_INT64_T, other, 0, MPI_COMM_WORLD,
                      MPI_STATUS_IGNORE) == MPI_SUCCESS);
    MUST(number == 10 + recto_rank());
}

static void use(int64_t *x, int64_t *sum, int64_t *step)
{
    int me = recto_rank(), other = 1 - me;
    sigset_t all;
    x[me * N] = 10 + me;
    MUST(recto_barrier() == 0);
    (void)sigfillset(&all);
    MUST(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    send_from(x, other);
    read_into(x, other);
    MUST(recto_fetch_add_i64(sum, me + 1) >= 0);
    MUST(recto_barrier() == 0);
    MUST(x[me * N + N / 2] == 40 + other && *sum == 3);
    MUST(recto_checkpoint() == 0 && recto_checkpoint_wait() == 0);
    *step += 1;
    MUST(*step == 1 && recto_is_shared(x));
}

int main(int argc, char **argv)
{
    uint64_t n = 2 * N;
    int64_t step = 0;
    if (recto_init(&argc, &argv) != 0 || recto_size() != 2) {
        return fprintf(stderr, "%s\n", recto_last_error()), 1;
    }
    int64_t *x = (int64_t *)recto_array("x", RECTO_INT64, 1, &n, NULL);
    int64_t *sum = (int64_t *)recto_alloc("sum", sizeof *sum, NULL);
    MUST(x != NULL && sum != NULL);
    MUST(recto_protect("step", &step, RECTO_INT64, 1) == 0);
    char version[32];
    (void)snprintf(version, sizeof version, "%d.%d.%d", RECTO_VERSION_MAJOR,
                   RECTO_VERSION_MINOR, RECTO_VERSION_PATCH);
    MUST(strcmp(version, recto_version()) == 0);
    if (bad == 0) {
        use(x, sum, &step);
    }
    if (bad != 0) {
        return fprintf(stderr, "line %d: %s\n", bad, recto_last_error()), 1;
    }
    if (recto_rank() == 0) {
        printf("good\n");
    }
    return recto_finalize() != 0;
}
