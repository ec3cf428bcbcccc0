/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-ckpt: what checkpoints and restart cost. Any number of ranks.
 *
 * The ranks share --size bytes, each the home of its part; with --private each
 * also protects as much memory of its own. A round starts from an empty
 * folder:
 *
 *   first     everything is new to the folder: full
 *   second    full again, for two points that share no file must exist
 *   restart   from a full epoch; before, lazily, until the first step is done
 *   0 1 10 50 100 %  of the pages, chosen at random, get one word written;
 *             then a checkpoint of what changed
 *   restart   from the chain of these
 *   20 x 1 %  for the space that a chain takes
 *   restart   from all of this, for what is read: each page once, all indexes
 *
 * A checkpoint is measured until recto_checkpoint returns, the *stop*, and until
 * recto_checkpoint_wait does; with RECTO_CKPT_MODE=sync it is on disk with the former. During the last one before the restart the ranks go on:
 * a unit of work beside it, a sum over memory that nobody writes, is set against
 * the same unit alone.
 *
 * After each restart every page is compared with what it must hold. The first
 * writes before the 100 % epoch are timed one by one.
 *
 * Floors, by the same ranks in the same folder, right before each epoch and
 * restart: write that many bytes from private memory into one new file, in
 * blocks of 1 MiB, fsync by each rank, rename and fsync of the folder by one;
 * the commit alone, which is twice (manifest, copy) a small file written,
 * fsynced and renamed and the folder fsynced; read as many bytes as the shared
 * and protected memory has, into memory that was in use before and into new. Files leave the page cache before they are read,
 * as far as posix_fadvise(2) achieves that, Recto's and the floor's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/floors.h"
#include "common/report.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    BLOCK = 1 << 20,
    PATH_ROOM = 4096,
    UNIT_WORDS = 1 << 18, /* 2 MiB */
    CHAIN = 20
};

/* The epochs of a round. */
enum kind {
    FIRST,
    SECOND,
    DIRTY_0,
    DIRTY_1,
    DIRTY_10,
    DIRTY_50,
    DIRTY_100,
    KINDS
};

static const struct {
    const char *name;
    uint64_t percent;
} kinds[KINDS] = {
    [FIRST] = {"first, full",  100},
      [SECOND] = {"second, full", 100},
    [DIRTY_0] = {"0 % dirty",    0  },
      [DIRTY_1] = {"1 % dirty",    1  },
    [DIRTY_10] = {"10 % dirty",   10 },
      [DIRTY_50] = {"50 % dirty",   50 },
    [DIRTY_100] = {"100 % dirty",  100},
};

/* Those of an epoch: base + kind. */
enum measure {
    SIGNAL,
    MPROTECT,
    COMMIT,
    READ,
    READ_NEW,
    SNAPSHOT,
    UNIT_ALONE,
    WRITE,
    BYTES = WRITE + KINDS,
    CKPT = BYTES + KINDS,
    STOP = CKPT + KINDS,
    DISK = STOP + KINDS,
    FIRST_WRITE = DISK + KINDS,
    RESTART_FULL,
    RESTART_CHAIN,
    LAZY_FULL,
    LAZY_CHAIN,
    LAZY_ALL,
    UNIT_BESIDE,
    CHAIN_DISK,
    CHAIN_BYTES,
    CHAIN_READ,
    CHAIN_VOLUME,
    ALL_BYTES,
    MEASURES
};

static struct bench_measure measures[MEASURES] = {
    [SIGNAL] = {.name = "signal to itself",                    .unit = "us" },
    [MPROTECT] = {.name = "mprotect of a page",                  .unit = "us" },
    [COMMIT] = {.name = "commit alone",                        .unit = "ms" },
    [READ] = {.name = "read of all",                         .unit = "ms" },
    [READ_NEW] = {.name = "read of all into new memory",         .unit = "ms" },
    [SNAPSHOT] = {.name = "protect, scan, two barriers",         .unit = "ms" },
    [UNIT_ALONE] = {.name = "unit of work, alone",                 .unit = "ms" },
    [FIRST_WRITE] = {.name = "first write since a checkpoint",      .unit = "us" },
    [RESTART_FULL] = {.name = "restart from a full epoch",           .unit = "ms" },
    [RESTART_CHAIN] = {.name = "restart from a chain",                .unit = "ms" },
    [LAZY_FULL] = {.name = "first step of a lazy restart, full",  .unit = "ms" },
    [LAZY_CHAIN] = {.name = "first step of a lazy restart, chain",
                .unit = "ms"                                                },
    [LAZY_ALL] = {.name = "until a lazy restart has all, full",  .unit = "ms" },
    [UNIT_BESIDE] = {.name = "unit of work beside a checkpoint",    .unit = "ms" },
    [CHAIN_DISK] = {.name = "disk space: full, 20 x 1 % dirty",    .unit = "MiB"},
    [CHAIN_READ] = {.name = "restart from all epochs",             .unit = "ms" },
    [CHAIN_VOLUME] = {.name = "read from all epochs",                .unit = "MiB"},
    [ALL_BYTES] = {.name = "memory",                              .unit = "MiB"},
    [CHAIN_BYTES] = {.name = "memory: full, 20 x 1 % dirty",        .unit = "MiB"},
};

#define EPOCH(kind)                                                            \
    {                                                                          \
        CKPT + (kind),                                                         \
        {                                                                      \
            WRITE + (kind), COMMIT, REPORT_NONE                                \
        }                                                                      \
    }
#define HALT(kind)                                                             \
    {                                                                          \
        STOP + (kind),                                                         \
        {                                                                      \
            SNAPSHOT, REPORT_NONE                                              \
        }                                                                      \
    }
#define SPACE(kind)                                                            \
    {                                                                          \
        DISK + (kind),                                                         \
        {                                                                      \
            BYTES + (kind), REPORT_NONE                                        \
        }                                                                      \
    }

static const struct report_row rows[] = {
    EPOCH(FIRST),
    {CKPT + FIRST,   {WRITE + FIRST, COMMIT, READ}  }, /* it is read back */
    EPOCH(SECOND),
    {CKPT + SECOND,  {WRITE + SECOND, COMMIT, READ} }, /* it is read back */
    {CKPT + DIRTY_0, {COMMIT, REPORT_NONE}          }, /* it has no file */
    EPOCH(DIRTY_1),
    EPOCH(DIRTY_10),
    EPOCH(DIRTY_50),
    EPOCH(DIRTY_100),
    HALT(FIRST),
    HALT(SECOND),
    HALT(DIRTY_0),
    HALT(DIRTY_1),
    HALT(DIRTY_10),
    HALT(DIRTY_50),
    HALT(DIRTY_100),
    {UNIT_BESIDE,    {UNIT_ALONE, REPORT_NONE}      },
    {RESTART_FULL,   {READ, REPORT_NONE}            },
    {RESTART_FULL,   {READ_NEW, REPORT_NONE}        }, /* as a job's is */
    {RESTART_CHAIN,  {READ, REPORT_NONE}            },
    {RESTART_CHAIN,  {READ_NEW, REPORT_NONE}        },
    {LAZY_FULL,      {RESTART_FULL, REPORT_NONE}    },
    {LAZY_CHAIN,     {RESTART_CHAIN, REPORT_NONE}   },
    {LAZY_ALL,       {RESTART_FULL, REPORT_NONE}    },
    {FIRST_WRITE,    {SIGNAL, MPROTECT, REPORT_NONE}},
    SPACE(SECOND),
    SPACE(DIRTY_1),
    SPACE(DIRTY_10),
    SPACE(DIRTY_50),
    SPACE(DIRTY_100),
    {CHAIN_DISK,     {CHAIN_BYTES, REPORT_NONE}     },
    {CHAIN_VOLUME,   {ALL_BYTES, REPORT_NONE}       },
    {CHAIN_READ,     {READ, REPORT_NONE}            },
};

static const char help[] =
    "Usage: mpirun -n RANKS bench-ckpt [OPTION]...\n"
    "Costs of checkpoints and restart, and their floors.\n"
    "\n"
    "  --dir FOLDER     existing folder, on the disk to measure (.); a folder\n"
    "                   recto-bench.XXXXXX in it is made and removed\n"
    "  --size BYTES     shared memory in all, e.g. 1G (256M; quick: 32M)\n"
    "  --private BYTES  protected private memory of each rank (0)\n" BENCH_OPTIONS_HELP;

static struct {
    struct bench_options options;
    int ranks;
    int rank;
    char folder[PATH_ROOM]; /* our own, inside --dir */
    char epochs[PATH_ROOM]; /* RECTO_CKPT_DIR */
    bool sync;              /* recto_checkpoint returns when it is on disk */
    uint64_t pages;         /* of shared memory that this rank homes */
    uint64_t private_pages;
    uint64_t (*segment)[WORDS]; /* this rank's part */
    uint64_t (*private)[WORDS];
    uint64_t *order;    /* of both kinds of pages, private ones last */
    uint32_t *versions; /* how often each was written */
    char *buffer;       /* as large as both, for the floors */
} bench;

static uint64_t all_pages(void)
{
    return bench.pages + bench.private_pages;
}

/* ---- pages and their content ------------------------------------------------- */

static uint64_t *page_at(uint64_t page)
{
    return page < bench.pages ? bench.segment[page]
                              : bench.private[page - bench.pages];
}

/* Word `word` of a page that was never dirtied. */
static uint64_t filler(uint64_t page, uint64_t word)
{
    return (page + 1) * 0x9e3779b97f4a7c15U + word * 0xc2b2ae3d27d4eb4fU +
           (uint64_t)bench.rank;
}

/* The one word that changes. */
static uint64_t place(uint64_t page)
{
    return page * 37 % WORDS;
}

static uint64_t value_of(uint64_t page)
{
    return filler(page, place(page)) ^ bench.versions[page];
}

static void fill(void)
{
    memset(bench.versions, 0, all_pages() * sizeof *bench.versions);
    for (uint64_t page = 0; page < all_pages(); page++) {
        uint64_t *words = page_at(page);
        for (uint64_t i = 0; i < WORDS; i++) {
            words[i] = filler(page, i);
        }
    }
}

static void check(const char *when)
{
    for (uint64_t page = 0; page < all_pages(); page++) {
        const uint64_t *words = page_at(page);
        for (uint64_t i = 0; i < WORDS; i++) {
            uint64_t expected =
                i == place(page) ? value_of(page) : filler(page, i);
            if (words[i] != expected) {
                bench_fail("%s: page %" PRIu64 " of this rank is wrong at "
                           "word %" PRIu64,
                           when, page, i);
            }
        }
    }
}

static uint64_t dirty_pages(enum kind kind)
{
    return all_pages() * kinds[kind].percent / 100;
}

/* Writes a word into so many pages, in an order of its own. */
static void dirty(enum kind kind)
{
    struct bench_measure *m = kind == DIRTY_100 ? &measures[FIRST_WRITE] : NULL;
    free(bench.order);
    bench.order = bench_order(all_pages(), kinds[kind].percent + 1);
    for (uint64_t i = 0; i < dirty_pages(kind); i++) {
        uint64_t page = bench.order[i];
        bench.versions[page]++;
        volatile uint64_t *word = &page_at(page)[place(page)];
        uint64_t value = value_of(page);
        uint64_t start = bench_now();
        *word = value;
        if (m != NULL && page < bench.pages) {
            bench_sample_time(m, start, 1);
        }
    }
}

/* ---- files ------------------------------------------------------------------- */

static void in_folder(const char *name, char *path)
{
    if (snprintf(path, PATH_ROOM, "%.3900s/%s", bench.folder, name) < 0) {
        bench_fail("path too long");
    }
}

static int file_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0) {
        bench_fail("%s: %s", path, strerrordesc_np(errno));
    }
    return fd;
}

static void file_sync(int fd)
{
    if (fsync(fd) != 0) {
        bench_fail("fsync: %s", strerrordesc_np(errno));
    }
}

static void folder_sync(void)
{
    int fd = file_open(bench.folder, O_RDONLY | O_DIRECTORY);
    file_sync(fd);
    (void)close(fd);
}

/* pread or pwrite of all bytes, in blocks. */
static void transfer(int fd, char *data, uint64_t bytes, uint64_t at,
                     bool writing)
{
    for (uint64_t done = 0; done < bytes;) {
        size_t n = bytes - done < BLOCK ? (size_t)(bytes - done) : BLOCK;
        off_t to = (off_t)(at + done);
        ssize_t r = writing ? pwrite(fd, data + done, n, to)
                            : pread(fd, data + done, n, to);
        if (r <= 0) {
            bench_fail("%s: %s", writing ? "write" : "read",
                       r < 0 ? strerrordesc_np(errno) : "end of file");
        }
        done += (uint64_t)r;
    }
}

/* What to do with each file of a folder; returns bytes to add up. */
typedef uint64_t (*file_visitor)(const char *path);

static uint64_t each_file(const char *folder, file_visitor visit)
{
    uint64_t sum = 0;
    char path[PATH_ROOM];
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return 0; /* not made yet */
    }
    struct dirent *e = NULL;
    /* The stream is ours alone. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            snprintf(path, sizeof path, "%.3800s/%s", folder, e->d_name) > 0) {
            sum += visit(path);
        }
    }
    (void)closedir(dir);
    return sum;
}

static uint64_t file_forget(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
    return 0;
}

static uint64_t file_space(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static uint64_t file_remove(const char *path)
{
    (void)unlink(path);
    return 0;
}

static void forget_cache(void)
{
    bench_meet();
    (void)each_file(bench.epochs, file_forget);
    (void)each_file(bench.folder, file_forget);
    bench_meet();
}

/* ---- floors ------------------------------------------------------------------ */

/* One file, each rank its part, as an epoch's data is written. */
static void floor_write(enum kind kind)
{
    char temporary[PATH_ROOM];
    char name[PATH_ROOM];
    uint64_t bytes = dirty_pages(kind) * PAGE;
    in_folder(".floor", temporary);
    in_folder("floor", name);
    if (bench.rank == 0) {
        (void)unlink(name); /* its removal belongs to no measure */
        (void)close(file_open(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    }
    bench_meet();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    int fd = file_open(temporary, O_WRONLY);
    transfer(fd, bench.buffer, bytes, bytes * (uint64_t)bench.rank, true);
    file_sync(fd);
    (void)close(fd);
    MPI_Barrier(MPI_COMM_WORLD);
    if (bench.rank == 0) {
        if (rename(temporary, name) != 0) {
            bench_fail("rename: %s", strerrordesc_np(errno));
        }
        folder_sync();
    }
    bench_sample_longest(&measures[WRITE + kind], start);
    double mine = (double)bytes * bench.ranks;
    bench_sample(&measures[BYTES + kind], mine / (1 << 20));
}

static void small_file(const char *name)
{
    char path[PATH_ROOM];
    char temporary[PATH_ROOM];
    in_folder(".small", temporary);
    in_folder(name, path);
    int fd = file_open(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    transfer(fd, bench.buffer, PAGE, 0, true);
    file_sync(fd);
    (void)close(fd);
    if (rename(temporary, path) != 0) {
        bench_fail("rename: %s", strerrordesc_np(errno));
    }
    folder_sync();
}

static void floor_commit(void)
{
    bench_meet();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    if (bench.rank == 0) {
        small_file("manifest");
        small_file("copy");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    bench_sample_longest(&measures[COMMIT], start);
}

/* The file of the last full floor_write, into `data`. */
static void floor_read(enum measure which, char *data)
{
    char name[PATH_ROOM];
    uint64_t bytes = all_pages() * PAGE;
    in_folder("floor", name);
    forget_cache();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    int fd = file_open(name, O_RDONLY);
    transfer(fd, data, bytes, bytes * (uint64_t)bench.rank, false);
    (void)close(fd);
    MPI_Barrier(MPI_COMM_WORLD);
    bench_sample_longest(&measures[which], start);
}

/* A restart finds memory that nobody has touched. */
static void floor_read_new(void)
{
    size_t bytes = all_pages() * PAGE;
    char *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        bench_fail("memory: %s", strerrordesc_np(errno));
    }
    floor_read(READ_NEW, data);
    (void)munmap(data, bytes);
}

/* ---- Recto ------------------------------------------------------------------- */

static void declare(void)
{
    uint64_t bytes = bench.pages * PAGE;
    BENCH_OK(recto_init(NULL, NULL));
    uint64_t(*all)[WORDS] =
        recto_alloc("bench/shared", bytes * (uint64_t)bench.ranks, NULL);
    if (all == NULL) {
        bench_fail("%s", recto_last_error());
    }
    bench.segment = all + bench.pages * (uint64_t)bench.rank;
    if (bench.private_pages > 0) {
        memset(bench.private, 0, bench.private_pages * PAGE);
        BENCH_OK(recto_protect("bench/private", bench.private, RECTO_BYTE,
                               bench.private_pages * PAGE));
    }
}

static volatile uint64_t sink; /* so that sums are wanted */

/* Sums up a part of the floors' buffer. */
static void work(void)
{
    const uint64_t *words = (const uint64_t *)(const void *)bench.buffer;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < UNIT_WORDS; i++) {
        sum += words[i] * (i | 1);
    }
    sink = sum;
}

static void work_alone(void)
{
    bench_meet();
    for (int i = 0; i < 50; i++) {
        uint64_t start = bench_now();
        work();
        bench_sample_time(&measures[UNIT_ALONE], start, 1);
    }
    bench_meet();
}

/* While the checkpoint after `epoch` is being written. */
static void work_beside(int64_t epoch)
{
    while (recto_epoch() == epoch) {
        uint64_t start = bench_now();
        work();
        bench_sample_time(&measures[UNIT_BESIDE], start, 1);
    }
}

static void checkpoint(enum kind kind)
{
    uint64_t before = each_file(bench.epochs, file_space);
    bench_meet();
    MPI_Barrier(MPI_COMM_WORLD);
    int64_t epoch = recto_epoch();
    uint64_t start = bench_now();
    BENCH_OK(recto_checkpoint());
    bench_sample_longest(&measures[STOP + kind], start);
    if (kind == DIRTY_100) {
        work_beside(epoch);
    }
    if (!bench.sync) {
        BENCH_OK(recto_checkpoint_wait());
    }
    bench_sample_longest(&measures[CKPT + kind], start);
    BENCH_OK(recto_checkpoint_wait()); /* read back, old epochs gone */
    uint64_t after = each_file(bench.epochs, file_space);
    bench_sample(&measures[DISK + kind],
                 ((double)after - (double)before) / (1 << 20));
}

/* What 20 epochs of 1 % take on disk, with the full one that they build on. */
static void chain(void)
{
    double space = measures[DISK + SECOND].samples[0];
    uint64_t before = each_file(bench.epochs, file_space);
    for (int i = 0; i < CHAIN; i++) {
        dirty(DIRTY_1);
        BENCH_OK(recto_checkpoint());
    }
    BENCH_OK(recto_checkpoint_wait());
    uint64_t after = each_file(bench.epochs, file_space);
    space += ((double)after - (double)before) / (1 << 20);
    uint64_t pages = all_pages() + (uint64_t)CHAIN * dirty_pages(DIRTY_1);
    bench_sample(&measures[CHAIN_DISK], space);
    bench_sample(&measures[CHAIN_BYTES],
                 (double)(pages * PAGE * (uint64_t)bench.ranks) / (1 << 20));
}

static double mebibytes(uint64_t mine)
{
    uint64_t all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    return (double)all / (1 << 20);
}

static void restart(enum measure which)
{
    BENCH_OK(recto_finalize());
    floor_read(READ, bench.buffer);
    floor_read_new();
    declare();
    forget_cache();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    int restored = recto_restart(NULL);
    bench_sample_longest(&measures[which], start);
    BENCH_OK(restored);
    if (restored != 1) {
        bench_fail("restart found no checkpoint");
    }
    check(measures[which].name);
}

static void restart_from_all(void)
{
    recto_counters counters;
    restart(CHAIN_READ);
    BENCH_OK(recto_stats(&counters));
    bench_sample(&measures[CHAIN_VOLUME], mebibytes(counters.restart_bytes));
    bench_sample(&measures[ALL_BYTES], mebibytes(all_pages() * PAGE));
}

/* A word of my last page and one of the next rank's first. */
static void first_step(void)
{
    uint64_t far = ((uint64_t)bench.rank + 1) % (uint64_t)bench.ranks;
    uint64_t(*all)[WORDS] = bench.segment - bench.pages * (uint64_t)bench.rank;
    sink = bench.segment[bench.pages - 1][1] + all[bench.pages * far][1];
    if (bench.segment[bench.pages - 1][1] != filler(bench.pages - 1, 1) &&
        place(bench.pages - 1) != 1) {
        bench_fail("lazy restart: the first step found a wrong word");
    }
}

static void lazy_restart(enum measure which, enum measure all)
{
    BENCH_OK(recto_finalize());
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): Recto does not run */
    (void)setenv("RECTO_RESTART", "lazy", 1);
    declare();
    forget_cache();
    MPI_Barrier(MPI_COMM_WORLD);
    uint64_t start = bench_now();
    int restored = recto_restart(NULL);
    first_step();
    bench_sample_longest(&measures[which], start);
    if (restored != 1) {
        bench_fail("lazy restart: %s", recto_last_error());
    }
    BENCH_OK(recto_checkpoint_wait());
    if (all != MEASURES) {
        bench_sample_longest(&measures[all], start);
    }
    check(measures[which].name);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody reads it now */
    (void)unsetenv("RECTO_RESTART");
}

/* ---- the program ------------------------------------------------------------- */

/* A folder of our own, the same on all ranks. */
static void folder_make(void)
{
    const char *dir = bench.options.dir != NULL ? bench.options.dir : ".";
    struct statvfs fs;
    if (bench.rank == 0) {
        int n = snprintf(bench.folder, sizeof bench.folder,
                         "%.3800s/recto-bench.XXXXXX", dir);
        if (n < 0 || mkdtemp(bench.folder) == NULL) {
            bench_fail("%s: %s", bench.folder, strerrordesc_np(errno));
        }
        /* Two full epochs, all dirty pages once more, and the floor's. */
        uint64_t need = all_pages() * PAGE * (uint64_t)bench.ranks / 10 * 55;
        if (statvfs(bench.folder, &fs) == 0 &&
            (uint64_t)fs.f_bavail * fs.f_frsize < need) {
            (void)rmdir(bench.folder);
            bench_fail("%s: %" PRIu64 " MiB are needed there", dir, need >> 20);
        }
    }
    MPI_Bcast(bench.folder, sizeof bench.folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    in_folder("epochs", bench.epochs);
    /* NOLINTBEGIN(concurrency-mt-unsafe): Recto does not run yet */
    (void)setenv("RECTO_CKPT_DIR", bench.epochs, 1);
    /* All epochs after the second one hold what changed. */
    (void)setenv("RECTO_CKPT_FULL", "500", 1);
    (void)setenv("RECTO_CKPT_COMPACT", "0", 1);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

static void folder_empty(void)
{
    bench_meet();
    if (bench.rank == 0) {
        (void)each_file(bench.epochs, file_remove);
        (void)rmdir(bench.epochs);
        (void)each_file(bench.folder, file_remove);
    }
    bench_meet();
}

/* Pages that each rank may write to: who shares the memory of all, to all of it. */
static uint64_t reached(void)
{
    return recto_nodes() == 1 ? bench.pages * (uint64_t)bench.ranks
                              : bench.pages;
}

static void round_run(void)
{
    floor_signal(&measures[SIGNAL]);
    floor_mprotect(&measures[MPROTECT], bench.pages);
    work_alone();
    declare();
    floor_snapshot(&measures[SNAPSHOT], reached());
    fill();
    for (enum kind kind = FIRST; kind <= SECOND; kind++) {
        floor_write(kind);
        floor_commit();
        checkpoint(kind);
    }
    lazy_restart(LAZY_FULL, LAZY_ALL);
    restart(RESTART_FULL);
    for (enum kind kind = DIRTY_0; kind < KINDS; kind++) {
        floor_write(kind);
        floor_commit();
        dirty(kind);
        checkpoint(kind);
    }
    lazy_restart(LAZY_CHAIN, MEASURES);
    restart(RESTART_CHAIN);
    chain();
    restart_from_all();
    BENCH_OK(recto_finalize());
    folder_empty();
    for (int i = COMMIT; i < MEASURES; i++) {
        if (i != SNAPSHOT) {
            bench_round(&measures[i], 0);
        }
    }
}

static void measures_name(void)
{
    static char names[5 * KINDS][48];
    static const struct {
        int base;
        const char *name;
        const char *unit;
    } groups[] = {
        {WRITE, "write and fsync", "ms" },
        {BYTES, "memory",          "MiB"},
        {CKPT,  "checkpoint",      "ms" },
        {STOP,  "stop",            "ms" },
        {DISK,  "disk space",      "MiB"},
    };
    for (int g = 0; g < 5; g++) {
        for (int k = 0; k < KINDS; k++) {
            char *name = names[g * KINDS + k];
            (void)snprintf(name, sizeof names[0], "%s: %s", groups[g].name,
                           kinds[k].name);
            measures[groups[g].base + k].name = name;
            measures[groups[g].base + k].unit = groups[g].unit;
        }
    }
}

static void prepare(void)
{
    struct bench_options *o = &bench.options;
    uint64_t ranks = (uint64_t)bench.ranks;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it */
    const char *mode = getenv("RECTO_CKPT_MODE");
    bench.sync = mode != NULL && strcmp(mode, "sync") == 0;
    measures_name();
    o->rounds = o->rounds > 0 ? o->rounds : (o->quick ? 2 : 3);
    o->size = o->size > 0 ? o->size : (uint64_t)(o->quick ? 32 : 256) << 20;
    bench.pages = (o->size + PAGE * ranks - 1) / (PAGE * ranks);
    o->size = bench.pages * PAGE * ranks;
    bench.private_pages = (o->private_size + PAGE - 1) / PAGE;
    o->private_size = bench.private_pages * PAGE;
    bench.private = bench_memory(bench.private_pages + 1, PAGE);
    bench.versions = bench_memory(all_pages(), sizeof *bench.versions);
    bench.buffer = bench_memory(all_pages() + UNIT_WORDS / WORDS, PAGE);
    for (uint64_t i = 0; i < all_pages() * WORDS; i++) {
        ((uint64_t *)(void *)bench.buffer)[i] = filler(i, i);
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
        .program = "bench-ckpt",
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
    free(bench.private);
    free(bench.versions);
    free(bench.buffer);
    free(bench.order);
    bench_measures_free(measures, MEASURES);
    MPI_Finalize();
    return 0;
}
