/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows how Recto starts: it joins an MPI of the right level on any
 * communicator, refuses a lower level and wrong settings with a clear error on
 * every rank, leaves MPI to who initialised it, and can be started again.
 */
#include <mpi.h>
#include <recto/mpi.h>

#include "test.h"

static void refused(int code, const char *word)
{
    CHECK(recto_init(NULL, NULL) == code);
    CHECK(strstr(recto_last_error(), word) != NULL);
    CHECK(recto_rank() == -1);
}

static void wrong_setting(const char *name, const char *value)
{
    const char *before = getenv(name);
    char kept[64] = "";
    snprintf(kept, sizeof kept, "%s", before != NULL ? before : "");
    setenv(name, value, 1);
    refused(RECTO_EINVAL, name);
    setenv(name, kept, 1);
}

/* Shared memory works, on however many ranks this Recto has. */
static void used(int ranks)
{
    CHECK(recto_size() == ranks);
    CHECK(recto_nodes() >= 1 && recto_node() < recto_nodes());
    int *p = recto_alloc("p", 4096 * (uint64_t)ranks, NULL);
    CHECK(p != NULL);
    recto_fetch_add_i32(p, recto_rank() + 1);
    CHECK_OK(recto_barrier());
    CHECK(*p == ranks * (ranks + 1) / 2);
    CHECK_OK(recto_finalize()); /* frees p */
    CHECK(recto_rank() == -1);
}

/* argv[1]: the level with which the program initialises MPI. */
int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    if (argc > 1 && strcmp(argv[1], "serialized") == 0) {
        MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
        if (level > MPI_THREAD_SERIALIZED) {
            puts("this MPI gives MPI_THREAD_MULTIPLE to who asks for less");
        } else {
            refused(RECTO_ETHREAD, "MPI_THREAD_MULTIPLE");
        }
        MPI_Finalize();
        return 0;
    }
    CHECK(recto_init_comm(MPI_COMM_WORLD, NULL) == RECTO_EINVAL);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    CHECK(level == MPI_THREAD_MULTIPLE);
    int rank = 0;
    int size = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    wrong_setting("RECTO_NODE", "many");
    wrong_setting("RECTO_NODE", "0");
    wrong_setting("RECTO_TRANSPORT", "pigeon");
    wrong_setting("RECTO_TIMEOUT", "-3");
    wrong_setting("RECTO_HOLD", "0");
    wrong_setting("RECTO_VM", "magic");
    wrong_setting("RECTO_DIRTY", "magic");

    CHECK_OK(recto_init(&argc, &argv)); /* joins */
    used(size);

    /* odd and even ranks, in reverse order, each a Recto of its own */
    MPI_Comm half = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, size - rank, &half);
    recto_options options = {.ckpt_dir = "elsewhere", .ckpt_full = 3};
    CHECK_OK(recto_init_comm(half, &options));
    int ranks = 0;
    MPI_Comm_size(half, &ranks);
    MPI_Comm_free(&half);
    used(ranks);

    int last = 0;
    MPI_Allreduce(&rank, &last, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    CHECK(last == size - 1); /* MPI is still ours */
    MPI_Finalize();
    if (rank == 0) {
        printf("passed: start and end (%d ranks)\n", size);
    }
    return 0;
}
