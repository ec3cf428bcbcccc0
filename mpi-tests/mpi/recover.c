/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a restart takes the epoch that was chosen, by the program or by the
 * environment, or says clearly why not; that the epochs after it go; and that one
 * array or protected region is recovered alone, at any time, from the newest or the
 * chosen epoch, and is in the next checkpoint.
 */
#include <mpi.h>
#include <recto/mpi.h>
#include <stdbool.h>

#include "test.h"

enum {
    EPOCHS = 6,
    PAGE = 512, /* elements */
    COUNT = 40 * PAGE + 7
};

static uint64_t *arrays[3]; /* release; sequential, cyclic; first touch */
static uint64_t mine[3 * PAGE + 5];
static int64_t step;

static const char *const names[] = {"relaxed", "strict", "touched"};

static uint64_t my_count(void)
{
    return 2 * PAGE + 5 + (uint64_t)recto_rank() % 3;
}

static void declare(void)
{
    const recto_attr attrs[] = {
        {.consistency = RECTO_RELEASE   },
        {.consistency = RECTO_SEQUENTIAL, .placement = RECTO_CYCLIC},
        {.placement = RECTO_FIRST_TOUCH                              },
    };
    const uint64_t dims[] = {COUNT};
    for (int i = 0; i < 3; i++) {
        arrays[i] = recto_array(names[i], RECTO_UINT64, 1, dims, &attrs[i]);
        CHECK(arrays[i] != NULL);
    }
    CHECK_OK(recto_protect("mine", mine, RECTO_UINT64, my_count()));
    CHECK_OK(recto_protect("step", &step, RECTO_INT64, 1));
}

static void begin(void)
{
    memset(mine, 0, sizeof mine);
    step = -1;
    CHECK_OK(recto_init_comm(MPI_COMM_WORLD, NULL));
    declare();
}

static void end(void)
{
    CHECK_OK(recto_finalize());
}

/* A page changes in every third epoch. */
static uint64_t value(int object, uint64_t i, int64_t epoch)
{
    int64_t page = (int64_t)(i / PAGE);
    int64_t changed = epoch - (epoch + page) % 3;
    return changed < 0 ? 0
                       : test_hash((uint64_t)object, i, (uint64_t)changed + 1);
}

/* Whose turn it is to write a page changes from epoch to epoch. */
static void write_array(int object, int64_t epoch)
{
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t turn = i / PAGE + (uint64_t)epoch;
        if (turn % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            arrays[object][i] = value(object, i, epoch);
        }
    }
}

static void write_mine(int64_t epoch)
{
    for (uint64_t i = 0; i < my_count(); i++) {
        mine[i] = value(10 + recto_rank(), i, epoch);
    }
}

static void write_all(int64_t epoch)
{
    for (int object = 0; object < 3; object++) {
        write_array(object, epoch);
    }
    write_mine(epoch);
    step = epoch;
    CHECK_OK(recto_barrier());
}

static void expect_array(int object, int64_t epoch)
{
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(arrays[object][i] == value(object, i, epoch));
    }
}

static void expect_mine(int64_t epoch)
{
    for (uint64_t i = 0; i < my_count(); i++) {
        CHECK(mine[i] == value(10 + recto_rank(), i, epoch));
    }
}

static void expect_all(int64_t epoch)
{
    for (int object = 0; object < 3; object++) {
        expect_array(object, epoch);
    }
    expect_mine(epoch);
    CHECK(step == epoch);
    CHECK_OK(recto_barrier());
}

static void restart(int64_t epoch)
{
    int64_t got = -1;
    int status = recto_restart(&got);
    CHECK(status == 1 && got == epoch);
    expect_all(epoch);
}

static bool says(const char *what)
{
    return strstr(recto_last_error(), what) != NULL;
}

static void no_epochs(void)
{
    begin();
    CHECK(recto_recover("relaxed") == RECTO_ENOENT && says("no checkpoint"));
    CHECK_OK(recto_restart_select(0));
    CHECK(recto_restart(NULL) == RECTO_ENOENT && says("no checkpoint"));
    CHECK_OK(recto_restart_select(RECTO_NEWEST));
    CHECK(recto_restart(NULL) == 0);
    end();
}

static void epochs_write(void)
{
    begin();
    for (int64_t e = 0; e < EPOCHS; e++) {
        write_all(e);
        CHECK_OK(recto_checkpoint());
    }
    end();
}

/* Nothing is written, so that the folder stays as it is. */
static void choices(void)
{
    for (int64_t e = 0; e < EPOCHS; e++) {
        begin();
        CHECK_OK(recto_restart_select(e));
        restart(e);
        end();
    }
    begin();
    CHECK(recto_restart_select(-2) == RECTO_EINVAL);
    CHECK_OK(recto_restart_select(99));
    CHECK(recto_restart(NULL) == RECTO_ENOENT && says("epoch 99 was chosen") &&
          says("6 epochs from 0 to 5"));
    CHECK_OK(recto_restart_select(RECTO_NEWEST));
    restart(EPOCHS - 1);
    end();
}

static void environment(void)
{
    setenv("RECTO_RESTART_EPOCH", "2", 1);
    begin();
    CHECK_OK(recto_restart_select(4));
    restart(2);
    end();
    setenv("RECTO_RESTART_EPOCH", "second", 1);
    CHECK(recto_init_comm(MPI_COMM_WORLD, NULL) == RECTO_EINVAL &&
          says("RECTO_RESTART_EPOCH=second"));
    setenv("RECTO_RESTART_EPOCH", "newest", 1);
    begin();
    restart(EPOCHS - 1);
    end();
    unsetenv("RECTO_RESTART_EPOCH");
}

static void different(void)
{
    begin();
    if (recto_size() > 1) {
        CHECK_OK(recto_restart_select(recto_rank() == 1 ? 1 : 2));
        CHECK(recto_restart(NULL) == RECTO_EMISMATCH && says("epoch 1") &&
              says("epoch 2"));
        CHECK_OK(recto_restart_select(2));
        CHECK(recto_recover(recto_rank() == 1 ? "mine" : "step") ==
              RECTO_EMISMATCH);
    }
    end();
}

/* Before a restart, and of what does not fit. */
static void recovered_first(void)
{
    const uint64_t dims[] = {COUNT};
    int other = 0;
    begin();
    CHECK_OK(recto_recover("strict"));
    expect_array(1, EPOCHS - 1);
    CHECK(arrays[0][COUNT - 1] == 0 && step == -1);
    CHECK(recto_recover("nobody") == RECTO_ENOENT && says("neither shared"));
    CHECK(recto_recover(NULL) == RECTO_EINVAL);
    uint64_t *late = recto_array("late", RECTO_UINT64, 1, dims, NULL);
    CHECK(late != NULL && recto_recover("late") == RECTO_ENOENT &&
          says("epoch 5 does not hold \"late\""));
    CHECK_OK(recto_protect("step", &other, RECTO_INT32, 1));
    CHECK(recto_recover("step") == RECTO_ECHANGED);
    CHECK_OK(recto_protect("mine", mine, RECTO_UINT64, my_count() - 1));
    CHECK(recto_recover("mine") == RECTO_ECHANGED && says("\"mine\""));
    end();
    CHECK(recto_recover("mine") == RECTO_ESTATE);
    CHECK(recto_restart_select(0) == RECTO_ESTATE);
}

/* While the program runs: what was recovered is in the next epoch. */
static void recovered_later(void)
{
    begin();
    restart(EPOCHS - 1);
    for (int64_t e = EPOCHS; e < EPOCHS + 2; e++) {
        write_all(e);
        CHECK_OK(recto_checkpoint());
    }
    write_array(0, 20);
    write_mine(20);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_recover("relaxed"));
    CHECK_OK(recto_recover("mine"));
    expect_all(EPOCHS + 1);
    CHECK_OK(recto_restart_select(3));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(recto_recover(names[i]));
        expect_array(i, 3);
    }
    CHECK_OK(recto_recover("mine"));
    expect_mine(3);
    CHECK(step == EPOCHS + 1);
    CHECK_OK(recto_recover("step"));
    expect_all(3);
    CHECK_OK(recto_checkpoint());
    CHECK(recto_epoch() <= EPOCHS + 2);
    CHECK_OK(recto_checkpoint_wait());
    CHECK(recto_epoch() == EPOCHS + 2);
    CHECK_OK(recto_check_all());
    end();
    begin();
    int64_t got = 0;
    CHECK(recto_restart(&got) == 1 && got == EPOCHS + 2);
    expect_all(3);
    end();
}

/* A program that goes on from an older epoch drops those after it. */
static void gone_on(void)
{
    begin();
    CHECK_OK(recto_restart_select(4));
    restart(4);
    write_all(5);
    CHECK_OK(recto_checkpoint());
    end();
    begin();
    restart(5);
    CHECK_OK(recto_restart_select(6));
    CHECK(recto_recover("relaxed") == RECTO_ENOENT && says("from 0 to 5"));
    end();
}

int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    int rank = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    setenv("RECTO_CKPT_KEEP", "all", 1);
    setenv("RECTO_CKPT_FULL", "4", 1);
    setenv("RECTO_CKPT_DIR", "ckpt", 1);
    no_epochs();
    epochs_write();
    choices();
    environment();
    different();
    recovered_first();
    recovered_later();
    gone_on();
    MPI_Finalize();
    if (rank == 0) {
        printf("passed: recover\n");
    }
    return 0;
}
