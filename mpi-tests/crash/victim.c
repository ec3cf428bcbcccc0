/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows, with the drivers around it, that a job that is killed at any moment
 * restarts from an epoch whose memory is exactly that of its moment.
 *
 *   victim run STEPS [MS]    restarts from RECTO_CKPT_DIR, compares all memory,
 *                            then does STEPS steps with a checkpoint after
 *                            each, which is written while the next step is done,
 *                            sleeping up to MS milliseconds in between
 *   victim check FILE        for each folder named in FILE: restarts from it,
 *                            compares, does a step, checkpoints, restarts from
 *                            that, compares; prints "FOLDER EPOCH STEP", or
 *                            "FOLDER error CODE" when it does not restore.
 *                            With RECTO_CKPT_LOCAL domain d's local folder is
 *                            FOLDER.nd
 *
 * Prints "restored EPOCH STEP" or "fresh", then "written EPOCH STEP" when each
 * checkpoint is on disk; exit status 1 for wrong memory or an unexpected error. With
 * VICTIM_KILL the run does not end in order. With RECTO_TEST_PIDS=DIR each rank leaves
 * its pid in DIR/rank, with VICTIM_TIMES "at NANOSECONDS STEP" comes before "written".
 */
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "model.h"
#include "net/net.h"

static int fail(const char *what)
{
    (void)fprintf(stderr, "FAIL: rank %d: %s: %s\n", recto_rank(), what,
                  recto_last_error());
    return 1;
}

static void say(const char *word, int64_t epoch, int64_t step)
{
    if (recto_rank() == 0) {
        (void)printf("%s %lld %lld\n", word, (long long)epoch, (long long)step);
        (void)fflush(stdout);
    }
}

/* When a checkpoint was reported as written, by the clock of records of steps. */
static void say_when(int64_t step)
{
    if (recto_rank() == 0 && getenv("VICTIM_TIMES") != NULL) {
        (void)printf("at %llu %lld\n", (unsigned long long)base_now(),
                     (long long)step);
        (void)fflush(stdout);
    }
}

static void leave_pid(void)
{
    const char *dir = getenv("RECTO_TEST_PIDS");
    char name[4096];
    if (dir != NULL) {
        (void)snprintf(name, sizeof name, "%s/%d", dir, recto_rank());
        FILE *file = fopen(name, "w");
        if (file != NULL) {
            (void)fprintf(file, "%d\n", (int)getpid());
            (void)fclose(file);
        }
    }
}

static void nap(unsigned *seed, int most)
{
    if (most > 0) {
        struct timespec t = {0, (long)(rand_r(seed) % most) * 1000000L};
        (void)nanosleep(&t, NULL);
    }
}

/* Restores and compares; *step is where the program stands then. */
static int resume(int64_t *step)
{
    int64_t epoch = -1;
    int status = recto_restart(&epoch);
    if (status < 0) {
        return fail("recto_restart");
    }
    *step = -1;
    if (status == 0) {
        say("fresh", -1, -1);
        return 0;
    }
    model_clock_read();
    *step = model_clock.step;
    int wrong = model_check(*step);
    say("restored", epoch, *step);
    model_resume(*step);
    return wrong;
}

/* Saves what is after `step`, and does the next one meanwhile, if there is one. */
static int save(int64_t step, bool more)
{
    if (recto_checkpoint() != 0) {
        return fail("recto_checkpoint");
    }
    if (more) {
        model_step(step + 1);
    }
    if (recto_checkpoint_wait() != 0) {
        return fail("recto_checkpoint_wait");
    }
    say_when(step);
    say("written", recto_epoch(), step);
    return 0;
}

static int run(int steps, int most)
{
    unsigned seed = (unsigned)getpid();
    int64_t step = -1;
    leave_pid();
    if (resume(&step) != 0) {
        return 1;
    }
    if (steps > 0) {
        model_step(step + 1);
    }
    for (int i = 0; i < steps; i++) {
        nap(&seed, most);
        if (save(++step, i + 1 < steps) != 0) {
            return 1;
        }
    }
    if (getenv("VICTIM_KILL") != NULL) {
        recto_barrier();
        (void)kill(getpid(), SIGKILL);
    }
    return 0;
}

static int begin(const char *folder)
{
    (void)setenv("RECTO_CKPT_DIR", folder, 1);
    if (getenv("RECTO_CKPT_LOCAL") != NULL) {
        char local[4096 + 8];
        (void)snprintf(local, sizeof local, "%s.n%%d", folder);
        (void)setenv("RECTO_CKPT_LOCAL", local, 1);
    }
    ckpt_finalize();
    if (ckpt_init(NULL, 0) != 0 || model_protect() != 0) {
        return fail("ckpt_init");
    }
    return 0;
}

/* One folder: what a crash left must restore, and be good to go on from. */
static int check_folder(const char *folder)
{
    int64_t epoch = -1;
    model_scramble();
    if (begin(folder) != 0) {
        return 1;
    }
    int status = recto_restart(&epoch);
    int64_t answer = status < 0 ? status : epoch + 1;
    int64_t both[2] = {answer, -answer};
    net_allreduce_min(both, 2);
    if (both[0] != -both[1]) {
        return fail("the ranks disagree");
    }
    if (status < 0) {
        if (recto_rank() == 0) {
            (void)printf("%s error %s\n", folder, base_error_name(status));
            (void)fprintf(stderr, "%s: %s\n", folder, recto_last_error());
        }
        return 0;
    }
    model_clock_read();
    int64_t step = status == 1 ? model_clock.step : -1;
    if (status == 0) {
        model_set(-1);
    }
    int wrong = model_check(step);
    model_resume(step);
    if (recto_rank() == 0) {
        (void)printf("%s %lld %lld\n", folder,
                     (long long)(status == 1 ? epoch : -1), (long long)step);
    }
    model_step(step + 1);
    if (recto_checkpoint() != 0 || recto_checkpoint_wait() != 0) {
        return fail(folder);
    }
    model_scramble();
    if (begin(folder) != 0 || recto_restart(&epoch) != 1) {
        return fail(folder);
    }
    model_clock_read();
    wrong += model_check(step + 1);
    recto_barrier();
    return wrong;
}

static int check(const char *list)
{
    char line[4096];
    int wrong = 0;
    FILE *file = fopen(list, "r");
    if (file == NULL) {
        return fail(list);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        int bad = check_folder(line);
        if (bad != 0) {
            (void)fprintf(stderr, "FAIL: folder %s\n", line);
        }
        wrong += bad;
    }
    (void)fclose(file);
    return wrong != 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: victim run STEPS [MS] | check FILE\n");
        return 2;
    }
    if (recto_init(&argc, &argv) != 0 || model_declare() != 0) {
        return fail("start");
    }
    int result = strcmp(argv[1], "check") == 0
                     ? check(argv[2])
                     : run(atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 0);
    return recto_finalize() != 0 ? fail("recto_finalize") : result;
}
