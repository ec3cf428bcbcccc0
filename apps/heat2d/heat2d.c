/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * heat2d: heat diffusion on a 2-D grid, shared by all ranks of an MPI job as
 * if they were threads. Nothing is sent: a rank reads its neighbours' rows by
 * plain loads. It survives the loss of any rank: the same command again
 * continues from the newest checkpoint.
 *
 * Map
 *   main     starts Recto, reads the options
 *   run      prepare, then every step, then finish
 *   prepare  declares shared and private memory; fills it from a checkpoint
 *            or, in a fresh run, from the input
 *   advance  step, barrier, and now and then a checkpoint
 *   finish   rank 0 writes the results and checks them
 * solver.c computes, check.c compares, field.c does HDF5, picture.c draws, ranks.c tabulates.
 *
 * Invariants
 * 1. The state after step s lies in temperature[s % 2], and the other field is
 *    free to be written by step s + 1.
 * 2. Rank r writes only the rows of its slab; between two barriers nobody
 *    writes what another reads.
 * 3. The private `run` is equal on all ranks: all begin with rank 0's, and each
 *    goes on from its own copy in the checkpoint.
 * 4. Only rank 0 touches files, and tells the others by `verdict` how it went,
 *    so that all end with the same exit code.
 */
#include <inttypes.h>
#include <math.h>
#include <program.h>
#include <recto.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "field.h"
#include "message.h"
#include "options.h"
#include "picture.h"
#include "progress.h"
#include "ranks.h"
#include "solver.h"

enum {
    INPUT_NAME = 256
};

/* What a run needs to go on, beside the fields: private memory. */
struct run {
    int64_t step;
    int64_t fixed_boundary;
    double dt;
    double heat;            /* sum of all temperatures at step 0 */
    char input[INPUT_NAME]; /* whose checkpoint this is */
};

/* What rank 0 tells the others: shared memory outside the checkpoints. */
struct notice {
    int64_t verdict; /* exit code */
    struct solver_grid grid;
    struct run run;
};

struct heat {
    const struct options *options;
    struct notice *notice;
    struct solver_grid grid;
    /* Shared, ny x nx */
    double *temperature[2];
    double *conductivity;
    struct run run;
    int restarted;
    double seconds;          /* that the steps took */
    struct solver_slab slab; /* this rank's rows */
};

/* ---- errors -------------------------------------------------------------- */

/*
 * Reports a failed call of Recto. Collective calls fail on all ranks alike, so
 * one rank prints. When a rank is lost nothing collective can work any more:
 * the process ends here, and mpirun ends the others.
 */
static int library_failed(int code)
{
    if (recto_rank() <= 0) {
        (void)message_fail("%s", recto_last_error());
    }
    if (code == RECTO_EPEER || code == RECTO_EMPI) {
        exit(EXIT_FAILED); /* NOLINT(concurrency-mt-unsafe) */
    }
    return EXIT_FAILED;
}

static void barrier(void)
{
    int code = recto_barrier();
    if (code != 0) {
        exit(library_failed(code)); /* NOLINT(concurrency-mt-unsafe) */
    }
}

/* Rank 0's verdict, for every rank. Collective. */
static int agree(struct heat *h, int verdict)
{
    if (recto_rank() == 0) {
        h->notice->verdict = verdict;
    }
    barrier();
    verdict = (int)h->notice->verdict;
    barrier(); /* nobody overwrites it before all have read it */
    return verdict;
}

/* Prints a line of the summary on rank 0. */
static void say(const struct heat *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct heat *h, const char *format, ...)
{
    if (recto_rank() != 0 || h->options->quiet) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("heat2d: ", stdout);
    (void)vprintf(format, arguments);
    (void)fputs("\n", stdout);
    va_end(arguments);
    (void)fflush(stdout);
}

/* ---- prepare ------------------------------------------------------------- */

/* Every rank learns the shape of the grid from rank 0. */
static int learn_shape(struct heat *h)
{
    const struct options *o = h->options;
    const recto_attr passing = {.flags = RECTO_NO_CHECKPOINT};
    h->notice = recto_alloc("heat2d/notice", sizeof *h->notice, &passing);
    if (h->notice == NULL) {
        return library_failed(0);
    }
    int verdict = EXIT_OK;
    if (recto_rank() == 0) {
        struct solver_grid grid = {0, 0};
        if (field_shape(o->input, o->field, &grid) != 0 ||
            options_check_outputs(o) != 0) {
            verdict = EXIT_FAILED;
        }
        h->notice->grid = grid;
    }
    verdict = agree(h, verdict);
    h->grid = h->notice->grid;
    return verdict;
}

/* Shared memory: rows in equal parts, so that most of what a rank computes
 * has its home there. */
static int declare_shared(struct heat *h)
{
    const uint64_t shape[2] = {h->grid.ny, h->grid.nx};
    const recto_attr rows = {.placement = RECTO_BLOCK};
    h->temperature[0] =
        recto_array("temperature/even", RECTO_DOUBLE, 2, shape, &rows);
    h->temperature[1] =
        recto_array("temperature/odd", RECTO_DOUBLE, 2, shape, &rows);
    h->conductivity =
        recto_array("conductivity", RECTO_DOUBLE, 2, shape, &rows);
    return h->temperature[0] != NULL && h->temperature[1] != NULL &&
                   h->conductivity != NULL
               ? EXIT_OK
               : library_failed(0);
}

/* Private memory: every rank has its own. */
static int declare_private(struct run *run)
{
    int code = recto_protect("run/step", &run->step, RECTO_INT64, 1);
    if (code == 0) {
        code = recto_protect("run/fixed_boundary", &run->fixed_boundary,
                             RECTO_INT64, 1);
    }
    if (code == 0) {
        code = recto_protect("run/dt", &run->dt, RECTO_DOUBLE, 1);
    }
    if (code == 0) {
        code = recto_protect("run/heat", &run->heat, RECTO_DOUBLE, 1);
    }
    if (code == 0) {
        code = recto_protect("run/input", run->input, RECTO_INT8, INPUT_NAME);
    }
    return code == 0 ? EXIT_OK : library_failed(code);
}

/* The run that the options ask for. The input is known by its file's name
 * without the folder, which may have moved, and by the datasets' names. */
static struct run run_wanted(const struct options *o)
{
    struct run run = {.fixed_boundary = o->fixed_boundary, .dt = o->dt};
    const char *slash = strrchr(o->input, '/');
    (void)snprintf(run.input, sizeof run.input, "%s: %s, %s",
                   slash != NULL ? slash + 1 : o->input, o->field,
                   o->conductivity);
    return run;
}

/* Is the restored run the one that the options ask for? */
static int examine_restored(const struct heat *h, const struct run *wanted)
{
    const struct run *run = &h->run;
    static const char remedy[] =
        "give the same options, or another folder in RECTO_CKPT_DIR";
    int result = 0;
    if (strncmp(run->input, wanted->input, INPUT_NAME) != 0) {
        result =
            message_fail("the checkpoint is of a run with %.*s, not %s; %s",
                         INPUT_NAME, run->input, wanted->input, remedy);
    } else if (run->fixed_boundary != wanted->fixed_boundary) {
        result =
            message_fail("the checkpoint is of a run with --boundary %s; "
                         "%s",
                         run->fixed_boundary ? "fixed" : "insulated", remedy);
    } else if (wanted->dt > 0.0 && run->dt != wanted->dt) {
        result = message_fail("the checkpoint is of a run with --dt %.17g; %s",
                              run->dt, remedy);
    } else if (run->step > h->options->steps) {
        result = message_fail("the checkpoint is at step %" PRId64
                              ", --steps %" PRId64 " is before it; %s",
                              run->step, h->options->steps, remedy);
    }
    return result == 0 ? EXIT_OK : EXIT_FAILED;
}

/* A fresh run: reads the input straight into shared memory. */
static int begin(struct heat *h)
{
    const struct options *o = h->options;
    if (field_read(o->input, o->field, FIELD_TEMPERATURE, &h->grid,
                   h->temperature[0]) != 0 ||
        field_read(o->input, o->conductivity, FIELD_CONDUCTIVITY, &h->grid,
                   h->conductivity) != 0 ||
        check_dt(o->dt, solver_max(&h->grid, h->conductivity), &h->run.dt) !=
            0) {
        return EXIT_FAILED;
    }
    h->run.heat = solver_sum(&h->grid, h->temperature[0]);
    return EXIT_OK;
}

/* Fills the memory that has been declared. */
static int restore_or_begin(struct heat *h)
{
    const struct run wanted = run_wanted(h->options);
    h->run = wanted;
    int64_t epoch = -1;
    h->restarted = recto_restart(&epoch);
    if (h->restarted < 0) {
        return library_failed(h->restarted);
    }
    int verdict = EXIT_OK;
    if (recto_rank() == 0) {
        verdict = h->restarted ? examine_restored(h, &wanted) : begin(h);
        h->notice->run = h->run;
    }
    verdict = agree(h, verdict); /* the others wait here */
    if (!h->restarted) {
        h->run = h->notice->run;
    } else if (verdict == EXIT_OK) {
        say(h, "restarted from epoch %" PRId64 " at step %" PRId64, epoch,
            h->run.step);
    }
    return verdict;
}

static int prepare(struct heat *h)
{
    int verdict = learn_shape(h);
    if (verdict == EXIT_OK) {
        verdict = declare_shared(h);
    }
    if (verdict == EXIT_OK) {
        verdict = declare_private(&h->run);
    }
    if (verdict != EXIT_OK) {
        return verdict;
    }
    say(h, "%zu x %zu cells, %d ranks in %d coherence domains", h->grid.ny,
        h->grid.nx, recto_size(), recto_nodes());
    verdict = restore_or_begin(h);
    if (verdict != EXIT_OK) {
        return verdict;
    }

    size_t ranks = (size_t)recto_size();
    size_t rank = (size_t)recto_rank();
    const struct solver_rows rows = {h->grid.ny * rank / ranks,
                                     h->grid.ny * (rank + 1) / ranks, 0};
    if (solver_slab_init(&h->slab, &h->grid, rows, h->run.fixed_boundary,
                         h->run.dt, h->conductivity) != 0) {
        (void)message_fail("rank %zu: out of memory", rank);
        exit(EXIT_FAILED); /* NOLINT(concurrency-mt-unsafe) */
    }
    say(h, "steps %" PRId64 " to %" PRId64 ", dt %g, %s edges", h->run.step,
        h->options->steps, h->run.dt,
        h->run.fixed_boundary ? "fixed" : "insulated");
    return EXIT_OK;
}

/* ---- advance ------------------------------------------------------------- */

static void wait_microseconds(int64_t microseconds)
{
    struct timespec t = {.tv_sec = microseconds / 1000000,
                         .tv_nsec = microseconds % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

/* --slow, --pause-at, --crash-at */
static void demonstrate(const struct heat *h)
{
    const struct options *o = h->options;
    if (o->slow > 0) {
        wait_microseconds(o->slow);
    }
    if (h->run.step == o->pause_step) {
        say(h, "pausing at step %" PRId64 " for %" PRId64 " s", h->run.step,
            o->pause_seconds);
        wait_microseconds(o->pause_seconds * 1000000);
    }
    if (!h->restarted && h->run.step == o->crash_step &&
        recto_rank() == o->crash_rank) {
        (void)raise(SIGKILL);
    }
}

/* How a checkpoint of `step` went. A full disk does not end the run: the epochs before
 * are intact, and the next attempt includes what this one should have held. */
static int checkpoint_verdict(int code, int64_t step)
{
    if (code != RECTO_ENOSPC && code != RECTO_EIO) {
        return code == 0 ? EXIT_OK : library_failed(code);
    }
    if (recto_rank() == 0) {
        (void)message_fail("no checkpoint of step %" PRId64 ", going on: %s",
                           step, recto_last_error());
    }
    return EXIT_OK;
}

/* Waits for the checkpoint under way, if there is one. */
static int checkpoint_end(struct progress *progress)
{
    int code = recto_checkpoint_wait();
    if (recto_rank() == 0) {
        progress_saved(progress, recto_epoch());
    }
    return checkpoint_verdict(code, progress->saving);
}

/* Begins an epoch: it is written while the run goes on. */
static int checkpoint(struct heat *h, struct progress *progress)
{
    int verdict = checkpoint_end(progress);
    if (verdict != EXIT_OK) {
        return verdict;
    }
    progress_saving(progress, h->run.step, recto_epoch());
    return checkpoint_verdict(recto_checkpoint(), h->run.step);
}

/* Writes a checkpoint after a step, if there is to be one. EXIT_CONTINUE: the run is
 * to end here. */
static int look_after(struct heat *h, struct progress *progress)
{
    const struct options *o = h->options;
    int64_t step = h->run.step;
    int due = recto_checkpoint_due();
    if (due < 0) {
        return library_failed(due);
    }
    bool stop = due == RECTO_DUE_STOP && step < o->steps;
    if (due != RECTO_DUE_NO ||
        (o->checkpoint_every > 0 && step % o->checkpoint_every == 0)) {
        int verdict = checkpoint(h, progress);
        if (verdict != EXIT_OK) {
            return verdict;
        }
    }
    return stop ? EXIT_CONTINUE : EXIT_OK;
}

static int advance(struct heat *h)
{
    const struct options *o = h->options;
    struct run *run = &h->run;
    struct progress progress;
    progress_start(&progress, o, run->step, o->steps,
                   (double)h->grid.ny * (double)h->grid.nx);
    int verdict = EXIT_OK;
    while (run->step < o->steps && verdict == EXIT_OK) {
        solver_slab_step(&h->slab, h->temperature[run->step % 2],
                         h->temperature[(run->step + 1) % 2]);
        run->step++;
        barrier();
        demonstrate(h);
        verdict = look_after(h, &progress);
        if (verdict != EXIT_FAILED && recto_rank() == 0) {
            progress_saved(&progress, recto_epoch());
            progress_step(&progress, run->step);
        }
    }
    if (verdict != EXIT_FAILED && checkpoint_end(&progress) != EXIT_OK) {
        verdict = EXIT_FAILED;
    }
    if (recto_rank() == 0) {
        progress_end(&progress);
    }
    if (verdict == EXIT_CONTINUE) {
        say(h,
            "ended at step %" PRId64 " of %" PRId64 ", as it was told; give "
            "the same command again to continue",
            run->step, o->steps);
    }
    if (verdict != EXIT_OK) {
        return verdict;
    }
    h->seconds = progress_now() - progress.started;
    say(h, "step %" PRId64 ", time %g, after %.2f s", run->step,
        (double)run->step * run->dt, h->seconds);
    return EXIT_OK;
}

/* ---- finish (rank 0) ----------------------------------------------------- */

static const double *result(const struct heat *h)
{
    return h->temperature[h->run.step % 2];
}

/* Heat neither appears nor vanishes inside insulated edges. */
static void report_heat(const struct heat *h)
{
    double before = h->run.heat;
    double now = solver_sum(&h->grid, result(h));
    say(h, "heat %.15g, at step 0 %.15g, relative change %.1e%s", now, before,
        before != 0.0 ? (now - before) / fabs(before) : now,
        h->run.fixed_boundary ? " (it flows through the edges)" : "");
}

static int write_output(const struct heat *h)
{
    const struct run *run = &h->run;
    const struct field_attribute attributes[] = {
        {.name = "step", .whole = 1, .count = run->step},
        {.name = "time",              .number = (double)run->step * run->dt          },
        {.name = "dt",              .number = run->dt  },
        {.name = "boundary",
         .text = run->fixed_boundary ? "fixed" : "insulated"    },
    };
    const struct field_output temperature = {
        .dataset = "temperature",
        .values = result(h),
        .attributes = attributes,
        .attributes_count = sizeof attributes / sizeof attributes[0]};
    return field_write(h->options->output, &h->grid, &temperature, 1);
}

static int check(const struct heat *h)
{
    const struct options *o = h->options;
    const struct check_run run = {.file = o->input,
                                  .field = o->field,
                                  .conductivity = o->conductivity,
                                  .grid = h->grid,
                                  .fixed = h->run.fixed_boundary != 0,
                                  .dt = h->run.dt,
                                  .steps = h->run.step};
    size_t different = 0;
    if (check_serially(&run, result(h), &different) != 0) {
        return EXIT_FAILED;
    }
    say(h, "check: %zu of %zu cells differ from the serial solution", different,
        h->grid.ny * h->grid.nx);
    return different == 0 ? EXIT_OK : EXIT_DIFFERS;
}

/* The lines that runners of all versions of the program look for. */
static void report_run(const struct heat *h, bool ok)
{
    struct program_report report = {"heat2d",         "recto", recto_size(),
                                    h->options->json, 0,       {{0}}};
    program_phase(&report, "step", h->seconds);
    check_print_sum(&h->grid, result(h));
    (void)program_end(&report, "step", ok);
}

static int finish(const struct heat *h)
{
    const struct options *o = h->options;
    int verdict = EXIT_OK;
    report_heat(h);
    if (o->output != NULL) {
        if (write_output(h) != 0) {
            verdict = EXIT_FAILED;
        } else {
            say(h, "temperature written to %s", o->output);
        }
    }
    if (o->picture != NULL) {
        if (picture_write(o->picture, &h->grid, result(h)) != 0) {
            verdict = EXIT_FAILED;
        } else {
            say(h, "picture written to %s", o->picture);
        }
    }
    if (o->check) {
        int checked = check(h);
        verdict = checked != EXIT_OK ? checked : verdict;
        if (!o->quiet || o->json) {
            report_run(h, checked == EXIT_OK);
        }
    }
    return verdict;
}

/* ---- the run ------------------------------------------------------------- */

static int run(const struct options *o)
{
    struct heat h = {.options = o};
    int verdict = prepare(&h);
    if (verdict == EXIT_OK && o->pids != NULL) {
        verdict =
            agree(&h, ranks_write_pids(o->pids) == 0 ? EXIT_OK : EXIT_FAILED);
    }
    if (verdict == EXIT_OK) {
        verdict = advance(&h);
    }
    if (verdict == EXIT_OK && o->stats) {
        verdict = ranks_print_counters() == 0 ? EXIT_OK : EXIT_FAILED;
    }
    if (verdict == EXIT_OK) {
        verdict = agree(&h, recto_rank() == 0 ? finish(&h) : EXIT_OK);
    }
    solver_slab_free(&h.slab);
    return verdict;
}

int main(int argc, char **argv)
{
    struct options options;
    char wrong[256];
    enum options_action action =
        options_read(argc, argv, &options, wrong, sizeof wrong);
    if (action == OPTIONS_HELP) {
        (void)fputs(options_help(), stdout);
        return EXIT_OK;
    }
    if (action == OPTIONS_VERSION) {
        (void)printf("heat2d (Recto) %s\n", recto_version());
        return EXIT_OK;
    }

    int code = recto_init(&argc, &argv);
    if (code != 0) {
        return library_failed(code);
    }
    int verdict = EXIT_USAGE;
    if (action == OPTIONS_RUN) {
        verdict = run(&options);
    } else if (recto_rank() == 0) {
        (void)message_fail("%s\nTry heat2d --help.", wrong);
    }
    code = recto_finalize(); /* frees the shared memory, too */
    return code != 0 && verdict == EXIT_OK ? library_failed(code) : verdict;
}
