/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows when the thread that answers other ranks runs (RECTO_PROGRESS), and that it
 * does answer: ranks that compute and call nobody are read from, written to, locked
 * and asked for memory.
 *
 *   auto    where ranks are reached by MPI, or from the first sequential array of
 *           several domains on
 *   thread  always; poll: the same, and it never sleeps
 *   off     never: what needs it is refused on every rank
 */
#include <dirent.h>
#include <mpi.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "test.h"

/* Is there a thread of the service's name in this process? */
static bool runs(void)
{
    bool found = false;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks)) {
        char path[300];
        char name[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        if (f != NULL) {
            found = (fgets(name, sizeof name, f) != NULL &&
                     strcmp(name, "recto-service\n") == 0) ||
                    found;
            (void)fclose(f);
        }
    }
    (void)closedir(tasks);
    return found;
}

/* A thread is named when it has begun to run. */
static void running(bool should)
{
    for (int tries = 0; runs() != should && tries < 1000; tries++) {
        usleep(10000);
    }
    CHECK(runs() == should);
}

static void *strict(void)
{
    recto_attr attr = {.consistency = RECTO_SEQUENTIAL};
    return recto_alloc("strict", 4096 * (uint64_t)recto_size(), &attr);
}

static void restarted(const char *progress)
{
    CHECK_OK(recto_finalize());
    CHECK(!runs());
    CHECK(setenv("RECTO_PROGRESS", progress, 1) == 0);
    CHECK_OK(recto_init(NULL, NULL));
}

/* Each rank's turn to compute, while the others use what is homed there. */
static void answers(void)
{
    uint64_t size = (uint64_t)recto_size();
    uint64_t me = (uint64_t)recto_rank();
    uint64_t *words = recto_alloc("words", 4096 * size, NULL);
    volatile uint64_t *counts = strict();
    CHECK(words != NULL && counts != NULL);
    recto_lock_t locks[8];
    for (uint64_t i = 0; i < size; i++) {
        CHECK_OK(recto_lock_create(&locks[i]));
    }
    CHECK_OK(recto_barrier());
    for (uint64_t turn = 0; turn < size; turn++) {
        volatile uint64_t *gone = &counts[turn * 512 + 1];
        if (me == turn) {
            /* reads its own page, and nothing of the library */
            while (*gone != size - 1) {
            }
        } else {
            void *block = recto_malloc(100000);
            CHECK(block != NULL);
            CHECK_OK(recto_lock(locks[turn]));
            words[turn * 512] += me;
            CHECK_OK(recto_unlock(locks[turn]));
            (void)recto_fetch_add_u64(&words[turn * 512 + 8], 1);
            CHECK_OK(recto_mfree(block));
            recto_fetch_add_u64((uint64_t *)(uintptr_t)gone, 1);
        }
        CHECK_OK(recto_barrier());
        CHECK(words[turn * 512] == size * (size - 1) / 2 - turn);
        CHECK(words[turn * 512 + 8] == size - 1);
        CHECK_OK(recto_barrier());
    }
    for (uint64_t i = 0; i < size; i++) {
        CHECK_OK(recto_lock_free(&locks[i]));
    }
    CHECK_OK(recto_free((void *)(uintptr_t)counts));
    CHECK_OK(recto_free(words));
}

int main(int argc, char **argv)
{
    int level = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    CHECK_OK(recto_init(&argc, &argv));
    bool several = recto_nodes() > 1;
    const char *node = getenv("RECTO_NODE");
    const char *transport = getenv("RECTO_TRANSPORT");
    /* domains that are machines, or that are kept apart, are reached by MPI */
    bool far =
        several && (getenv("TEST_FAR") != NULL || node == NULL ||
                    strcmp(node, "auto") == 0 ||
                    (transport != NULL && strcmp(transport, "mpi") == 0));

    CHECK(getenv("RECTO_PROGRESS") == NULL);
    running(far);
    void *p = strict();
    CHECK(p != NULL);
    running(several);
    CHECK_OK(recto_free(p));

    restarted("thread");
    running(true);
    answers();
    restarted("poll");
    running(true);
    answers();
    CHECK_OK(recto_finalize());

    CHECK(setenv("RECTO_PROGRESS", "off", 1) == 0);
    if (far) {
        CHECK(recto_init(NULL, NULL) == RECTO_EINVAL);
        CHECK(strstr(recto_last_error(), "RECTO_PROGRESS") != NULL);
    } else {
        CHECK_OK(recto_init(NULL, NULL));
        running(false);
        uint64_t *word = recto_alloc("word", 8, NULL);
        CHECK(word != NULL);
        (void)recto_fetch_add_u64(word, 1);
        CHECK_OK(recto_barrier());
        CHECK(*word == (uint64_t)recto_size());
        p = strict();
        CHECK((p != NULL) == !several);
        CHECK(!several || strstr(recto_last_error(), "RECTO_PROGRESS") != NULL);
        CHECK_OK(recto_barrier()); /* a refusal leaves all as it was */
        CHECK_OK(recto_finalize());
    }
    CHECK(setenv("RECTO_PROGRESS", "sometimes", 1) == 0);
    CHECK(recto_init(NULL, NULL) == RECTO_EINVAL);
    CHECK(strstr(recto_last_error(), "RECTO_PROGRESS") != NULL);

    CHECK(setenv("RECTO_PROGRESS", "auto", 1) == 0);
    CHECK_OK(recto_init(NULL, NULL));
    answers();
    int r = test_end("progress");
    MPI_Finalize();
    return r;
}
