/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-sparse: what a checkpoint costs of an array that is far larger than what is
 * used of it. Any number of ranks.
 *
 * The ranks share --size bytes of RECTO_SPARSE memory, in blocks. A thousand pages in
 * all, spread over the whole array, are written, and two full epochs too, for two
 * points that share no file must exist; of these nothing is timed: a full epoch has a
 * checksum for each page that there is. Then epochs of what changed:
 *
 *   nothing       nothing was written
 *   again         the same thousand pages were written again
 *   new           another thousand, which nobody had touched
 *
 * The floor of each is the same epoch of an array of just the pages that are ever written: the same
 * bytes go to the same disk. What the ratio has above 1 is the price of the pages that
 * are not used. At the end of a round all is restored and compared.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    USED = 1000, /* pages in all, at a time */
    EPOCHS = 5,  /* of each kind in a round */
    PATH_ROOM = 4096
};

enum kind {
    NOTHING,
    AGAIN,
    NEW,
    KINDS
};

enum measure {
    LARGE,
    SMALL = LARGE + KINDS,
    MEASURES = SMALL + KINDS
};

static struct bench_measure measures[MEASURES] = {
    [LARGE + NOTHING] = {.name = "large array: nothing written", .unit = "ms"},
    [LARGE + AGAIN] = {.name = "large array: pages again",     .unit = "ms"},
    [LARGE + NEW] = {.name = "large array: new pages",       .unit = "ms"},
    [SMALL + NOTHING] = {.name = "small array: nothing written", .unit = "ms"},
    [SMALL + AGAIN] = {.name = "small array: pages again",     .unit = "ms"},
    [SMALL + NEW] = {.name = "small array: new pages",       .unit = "ms"},
};

static const struct report_row rows[] = {
    {LARGE + NOTHING, {SMALL + NOTHING, REPORT_NONE}},
    {LARGE + AGAIN,   {SMALL + AGAIN, REPORT_NONE}  },
    {LARGE + NEW,     {SMALL + NEW, REPORT_NONE}    },
};

static const char help[] =
    "Usage: mpirun -n RANKS bench-sparse [OPTION]...\n"
    "Costs of checkpoints of an array of which little is used, and their floors.\n"
    "\n"
    "  --dir FOLDER     existing folder, on the disk to measure (.); a folder\n"
    "                   recto-sparse.XXXXXX in it is made and removed\n"
    "  --size BYTES     shared memory in all, e.g. 1T (64G; quick: 1G)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    int ranks;
    int rank;
    char folder[PATH_ROOM];
    char epochs[PATH_ROOM];   /* RECTO_CKPT_DIR */
    uint64_t pages;           /* of the array there is now */
    uint64_t (*array)[WORDS]; /* all of it */
} bench;

/* ---- pages ------------------------------------------------------------------------ */

enum {
    GROUPS = EPOCHS + 1, /* group 0 is written again, the others once each */
    PLACES = GROUPS * USED
};

/* Page i of a group: they are spread evenly, but not at even places. */
static uint64_t place(uint64_t group, uint64_t i)
{
    uint64_t n = i * GROUPS + group;
    uint64_t apart = bench.pages / PLACES;
    return n * apart + n % apart;
}

/* Is it homed by this rank? Blocks. */
static bool mine(uint64_t page)
{
    uint64_t ranks = (uint64_t)bench.ranks;
    return page / ((bench.pages + ranks - 1) / ranks) == (uint64_t)bench.rank;
}

static uint64_t value_of(uint64_t page, uint64_t turn)
{
    return (page + 1) * 0x9e3779b97f4a7c15U ^ turn;
}

static void group_write(uint64_t group, uint64_t turn)
{
    for (uint64_t i = 0; i < USED; i++) {
        uint64_t page = place(group, i);
        if (mine(page)) {
            bench.array[page][page % WORDS] = value_of(page, turn);
        }
    }
}

static void group_check(uint64_t group, uint64_t turn)
{
    for (uint64_t i = 0; i < USED; i++) {
        uint64_t page = place(group, i);
        if (mine(page) &&
            bench.array[page][page % WORDS] != value_of(page, turn)) {
            bench_fail("page %" PRIu64 " was restored wrongly", page);
        }
    }
}

/* ---- files ------------------------------------------------------------------------ */

static void epochs_remove(void)
{
    bench_meet();
    DIR *folder = bench.rank == 0 ? opendir(bench.epochs) : NULL;
    const struct dirent *entry = NULL;
    /* The stream is ours alone. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder != NULL) {
        (void)closedir(folder);
        (void)rmdir(bench.epochs);
    }
    bench_meet();
}

static void folder_make(void)
{
    const char *dir = bench.options.dir != NULL ? bench.options.dir : ".";
    if (bench.rank == 0) {
        int n = snprintf(bench.folder, sizeof bench.folder,
                         "%.3800s/recto-sparse.XXXXXX", dir);
        if (n < 0 || mkdtemp(bench.folder) == NULL) {
            bench_fail("%s: %s", bench.folder, strerrordesc_np(errno));
        }
    }
    MPI_Bcast(bench.folder, sizeof bench.folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (snprintf(bench.epochs, sizeof bench.epochs, "%.3900s/epochs",
                 bench.folder) < 0) {
        bench_fail("path too long");
    }
    /* NOLINTBEGIN(concurrency-mt-unsafe): Recto does not run yet */
    (void)setenv("RECTO_CKPT_DIR", bench.epochs, 1);
    /* All epochs after the second one hold what changed. */
    (void)setenv("RECTO_CKPT_FULL", "500", 1);
    (void)setenv("RECTO_CKPT_COMPACT", "0", 1);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* ---- a round ------------------------------------------------------------------------ */

static void declare(uint64_t pages)
{
    recto_attr attr = {.flags = RECTO_SPARSE};
    BENCH_OK(recto_init(NULL, NULL));
    bench.pages = pages;
    bench.array = recto_alloc("bench/sparse", pages * PAGE, &attr);
    if (bench.array == NULL) {
        bench_fail("%s", recto_last_error());
    }
}

static void checkpoint(struct bench_measure *m)
{
    bench_meet();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    BENCH_OK(recto_checkpoint());
    if (m != NULL) {
        bench_sample_longest(m, start);
    }
}

/* The measures of an array begin at `base`. */
static void array_run(uint64_t pages, enum measure base)
{
    declare(pages);
    group_write(0, 0);
    checkpoint(NULL);
    checkpoint(NULL);
    for (uint64_t turn = 1; turn <= EPOCHS; turn++) {
        checkpoint(&measures[base + NOTHING]);
        group_write(0, turn);
        checkpoint(&measures[base + AGAIN]);
        group_write(turn, turn);
        checkpoint(&measures[base + NEW]);
    }
    BENCH_OK(recto_finalize());
    declare(pages);
    int restored = recto_restart(NULL);
    BENCH_OK(restored);
    if (restored != 1) {
        bench_fail("restart found no checkpoint");
    }
    group_check(0, EPOCHS);
    for (uint64_t group = 1; group <= EPOCHS; group++) {
        group_check(group, group);
    }
    BENCH_OK(recto_finalize());
    epochs_remove();
}

static void round_run(void)
{
    array_run(PLACES, SMALL);
    array_run(bench.options.size / PAGE, LARGE);
    for (int i = 0; i < MEASURES; i++) {
        bench_round(&measures[i], 0);
    }
}

/* ---- the program ------------------------------------------------------------------- */

static void prepare(void)
{
    struct bench_options *o = &bench.options;
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 3);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 1 : 64) << 30;
    if (o->size < (uint64_t)PLACES * PAGE) {
        bench_fail("--size: at least %d pages are used", PLACES);
    }
    folder_make();
}

int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    bench_options_read(&bench.options, argc, argv, help, true);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &bench.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &bench.ranks);
    prepare();
    struct report report = {
        .program = "bench-sparse",
        .options = &bench.options,
        .measures = measures,
        .measures_count = MEASURES,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    BENCH_OK(recto_init(&argc, &argv));
    report_begin(&report);
    BENCH_OK(recto_finalize());
    for (int i = 0; i < bench.options.rounds; i++) {
        round_run();
    }
    report_all(&report);
    if (bench.rank == 0) {
        (void)rmdir(bench.folder);
    }
    bench_measures_free(measures, MEASURES);
    MPI_Finalize();
    return 0;
}
