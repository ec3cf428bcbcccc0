/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-costs: does an operation cost what docs/scaling.md says? Each rank is a
 * domain of its own (RECTO_NODE=rank); 2 ranks or more, of one machine. `far` is
 * RECTO_TRANSPORT=mpi: no rank shares memory with another, as between machines.
 *
 * The program does each operation in a known situation and compares what all
 * ranks together, and the busiest one, have sent with the model, the
 * expressions below: exactly where the model is exact, else within bounds. It
 * fails when a count is not as predicted; times are printed and decide nothing.
 *
 *   cases         situation
 *   start         recto_init, recto_alloc, recto_migrate
 *   release       one reader and writer of pages of rank 0; k readers and a writer; one
 *                 page that all write at once
 *   barrier       nothing written; each rank's page held by its neighbour
 *   locks         one lock wanted by all; atomics on one word of rank 0
 *   sequential    pages of rank 0, read and then written
 *   checkpoint    two full epochs and a differential one
 *   heap          blocks taken, and freed by a neighbour
 *   memory        what a rank has mapped of the runtime's shared tables
 *
 * Pages are touched in growing distances, which no stream follows, so each fault
 * moves one page; but for the case of a stream.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <mpi.h>
#include <recto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bench.h"
#include "costs/cases.h"

enum {
    PAGE = 4096,
    WORDS = PAGE / 8,
    PAGES = 16,       /* touched one by one */
    SPAN = 256,       /* pages of the segment that has them */
    STREAM = 64,      /* pages read in order */
    FAULTS = 7,       /* they come in 1, 1, 2, 4, ..., 32 */
    LARGE_FAULTS = 1, /* of them more than travel with a message */
    LARGE_PAGES = 32,
    OWN = 4,      /* pages that a rank homes of the segment in blocks */
    RESTART = 30, /* rounds of a restart beside those of segments and files */
    GRANULE = 16, /* pages that are touched together */
    ENTRIES = 10, /* into a lock, and atomics, of each rank */
    BLOCKS = 100  /* of recto_malloc */
};

/* What things take, in bytes. */
enum {
    MESSAGE = 56,      /* struct net_msg, and how long what follows is */
    AGREEMENT = 56,    /* what net_agree reduces */
    RECORD = 16,       /* in front of a page's difference */
    WORD_DIFF = 24,    /* the difference of one word */
    NAME_ROW = 488,    /* agree.c, per rank and protected name */
    PIECE_ROW = 56,    /* struct ckpt_piece */
    CLAIM = 24,        /* of recto_migrate */
    PIECE_HEAD = 64,   /* in front of 256 pages that move */
    CONTROL = 266240,  /* a rank's queue of messages */
    BOARD = 528384,    /* its inbox, or its domain's log */
    TASK = 16,         /* releases that it tells of, by writer */
    JOIN = 12,         /* those that wait at a page, 512 for each rank */
    JOINS = 12,        /* in front of these */
    OBJECTS = 8392704, /* locks and other objects, and who waits */
    ENTRY = 16,        /* of the directory */
    SNAPSHOT = 1024    /* locks of pages for checkpoints; a bit a page more */
};

static const char help[] =
    "Usage: RECTO_NODE=rank mpirun -n RANKS bench-costs [OPTION]...\n"
    "Compares what operations send with what docs/scaling.md predicts, and fails\n"
    "when a count differs.\n"
    "\n"
    "  --dir FOLDER  where a folder of checkpoints is made and removed (.)\n"
    "  --json FILE   write all counts to FILE as well\n"
    "  --help        this text\n";

typedef int64_t page[WORDS];

static struct {
    struct bench_options options;
    int rank;
    int64_t ranks;
    int64_t last; /* rank */
    bool far;
    char folder[4000];
} bench;

/* Pages of rank 0, touched one by one. */
static page *central;

/* Distances between them grow: 2, 3, 4, ... */
static int64_t nth(int i)
{
    return i * (i + 3) / 2;
}

static volatile int64_t sink;

static void read_some(page *pages)
{
    for (int i = 0; i < PAGES; i++) {
        sink = pages[nth(i)][0];
    }
}

/* One word of each, whose eight bytes all change. */
static void write_some(page *pages)
{
    for (int i = 0; i < PAGES; i++) {
        pages[nth(i)][WORDS / 2] += 0x0101010101010101;
    }
}

static int64_t if_far(int64_t count)
{
    return bench.far ? count : 0;
}

/* Messages of one moment for one rank may travel together. */
static void letters(int64_t messages)
{
    case_bound(SENDS, messages > 0, messages);
}

static page *segment_new(const char *name, int64_t pages, recto_attr attr)
{
    page *p = recto_alloc(name, (uint64_t)pages * PAGE, &attr);
    if (p == NULL) {
        bench_fail("%s", recto_last_error());
    }
    return p;
}

static void central_new(void)
{
    central =
        segment_new("central", SPAN, (recto_attr){.placement = RECTO_AT(0)});
}

static page *blocks_new(void)
{
    return segment_new("blocks", bench.ranks * OWN, (recto_attr){0});
}

/* ---- start and allocation ------------------------------------------------------- */

/* How many meetings it takes may change; that none of them carries more than eight
 * bytes per rank may not. */
static void start(int *argc, char ***argv)
{
    case_begin();
    BENCH_OK(recto_init(argc, argv));
    int64_t p = recto_size();
    case_bound(REDUCES, 20 * p, 60 * p);
    case_bound(REDUCE_BYTES, 8 * p * p, (8 * p + 1024) * p);
    case_bound(ALLGATHERS, p, 12 * p);
    case_bound(ALLGATHER_BYTES, 32 * p, 128 * p);
    case_bound(BCASTS, 0, 4 * p);
    case_end("recto_init");
}

static page *allocation(void)
{
    int64_t p = bench.ranks;
    case_begin();
    page *blocks = blocks_new();
    int64_t reduces = 12 + if_far(2);
    case_expect(REDUCES, reduces * p, reduces);
    case_expect(REDUCE_BYTES, (8 * reduces + AGREEMENT - 8) * p, CASE_ANY);
    case_expect(ALLGATHERS, 2 * p, 2);
    case_expect(ALLGATHER_BYTES, 20 * p, 20);
    case_expect(MESSAGES, 0, 0);
    case_end("recto_alloc");
    return blocks;
}

/* Everybody wants what it wrote; the pages went round the ranks. */
static void migration(void)
{
    int64_t p = bench.ranks;
    page *pages =
        segment_new("round", p * p, (recto_attr){.placement = RECTO_CYCLIC});
    for (int64_t i = 0; i < p; i++) {
        pages[bench.rank * p + i][0] = i + 1;
    }
    BENCH_OK(recto_barrier());
    case_begin();
    BENCH_OK(
        recto_migrate(pages[bench.rank * p], (size_t)p * PAGE, bench.rank));
    case_expect(REDUCES, 10 * p, 10);
    case_expect(ALLGATHER_BYTES, CLAIM * p, CLAIM);
    /* a page from each to each other */
    case_expect(PAIRS, if_far(p * (p - 1)), if_far(p - 1));
    case_expect(PAIR_BYTES, if_far(p * (p - 1) * (PIECE_HEAD + PAGE)),
                CASE_ANY);
    case_end("recto_migrate of p pages each, from p homes");
    for (int64_t i = 0; i < p; i++) {
        if (recto_home(pages[bench.rank * p + i]) != bench.rank ||
            pages[bench.rank * p + i][0] != i + 1) {
            bench_fail("page %" PRId64 " after recto_migrate", i);
        }
    }
    BENCH_OK(recto_free(pages));
}

/* ---- one rank ------------------------------------------------------------------- */

/* A fetch is a request and an answer, which has up to 16 pages with it; more are
 * read by a one-sided operation. */
static void reads(void)
{
    case_begin();
    if (bench.rank == bench.last) {
        read_some(central);
    }
    case_expect(READ_MISSES, PAGES, PAGES);
    case_expect(FETCHED, PAGES * PAGE, PAGES * PAGE);
    case_expect(MESSAGES, if_far(2 * PAGES), if_far(PAGES));
    letters(if_far(2 * PAGES));
    case_expect(SEND_BYTES, if_far(PAGES * (2 * MESSAGE + PAGE)), CASE_ANY);
    case_expect(GETS, 0, 0);
    case_end("read miss of 16 pages");

    page *stream =
        segment_new("stream", STREAM, (recto_attr){.placement = RECTO_AT(0)});
    case_begin();
    for (int i = 0; bench.rank == bench.last && i < STREAM; i++) {
        sink = stream[i][0];
    }
    case_expect(READ_MISSES, FAULTS, FAULTS);
    case_expect(FETCHED, STREAM * PAGE, STREAM * PAGE);
    case_expect(MESSAGES, if_far(2 * FAULTS), if_far(FAULTS));
    case_expect(GETS, if_far(LARGE_FAULTS), CASE_ANY);
    case_expect(GET_BYTES, if_far(LARGE_PAGES * PAGE), CASE_ANY);
    case_end("read of 64 pages in order");
    BENCH_OK(recto_free(stream));
}

/* Differences of a release to one home are one message, which a thread's own service
 * thread sends; those of up to 64 KiB travel with it. */
static void writes(void)
{
    case_begin();
    if (bench.rank == bench.last) {
        write_some(central);
    }
    case_expect(UPGRADES, PAGES, PAGES);
    case_expect(MESSAGES, 0, 0);
    case_end("first write of 16 cached pages");

    case_begin();
    if (bench.rank == bench.last) {
        BENCH_OK(recto_release());
    }
    case_expect(DIFFS, PAGES, PAGES);
    case_expect(WRITTEN, PAGES * 8, PAGES * 8);
    case_expect(NOTICES, 0, 0);
    case_expect(MESSAGES, if_far(3), if_far(2));
    letters(if_far(2));
    case_expect(SEND_BYTES, if_far(2 * MESSAGE + PAGES * (RECORD + WORD_DIFF)),
                CASE_ANY);
    case_expect(GETS, 0, 0);
    case_end("release of 16 pages, nobody else holds them");

    case_begin();
    if (bench.rank == bench.last) {
        BENCH_OK(recto_release());
        BENCH_OK(recto_acquire());
    }
    case_expect(MESSAGES, 0, 0);
    case_end("release and acquire, nothing to do");
}

/* ---- sharers -------------------------------------------------------------------- */

/* Ranks that a release of a page of rank 0 tells when ranks 1 to `sharers` hold it, and
 * the writer if it is not rank 0: those, but of more than 62 ranks the directory
 * knows as many numbers as fit into 61 bits, else 61 groups. */
static int64_t told(int64_t sharers, int64_t writer)
{
    int64_t width = 1;
    while (bench.ranks >> width != 0) {
        width++;
    }
    if (bench.ranks <= 62 || sharers + (writer != 0) <= 61 / width) {
        return sharers;
    }
    int64_t group = (bench.ranks + 60) / 61;
    int64_t count = 0;
    for (int64_t r = 1; r < bench.ranks; r++) {
        int64_t first = r / group * group;
        bool with_writer = writer != 0 && r / group == writer / group;
        count += r != writer && (first <= sharers || with_writer);
    }
    return count;
}

/* Ranks 1 to `sharers` hold the pages, rank 0's releases have told them once. */
static void shared(int64_t sharers)
{
    bool mine = bench.rank >= 1 && bench.rank <= sharers;
    if (mine) {
        read_some(central);
    }
    BENCH_OK(recto_barrier());
    if (mine) {
        read_some(central);
    }
    bench_meet();
}

/* The notices of a release for one rank are a message and its answer. A thread's own
 * service thread sends them; those of a far home are told to the writer together. */
static void home_writes(int64_t sharers)
{
    static char names[64][64];
    static int used;
    char *name = names[used++];
    int64_t n = told(sharers, 0);
    shared(sharers);
    case_begin();
    if (bench.rank == 0) {
        write_some(central);
        BENCH_OK(recto_release());
    }
    case_expect(UPGRADES, PAGES, PAGES);
    case_expect(DIFFS, 0, 0);
    case_expect(NOTICES, n * PAGES, n * PAGES);
    case_expect(MESSAGES, if_far(1 + 2 * n), if_far(1 + n));
    letters(if_far(2 * n));
    (void)snprintf(name, sizeof *names,
                   "release of 16 pages by the home, sharers: %" PRId64,
                   sharers);
    case_end(name);
    name = names[used++];
    case_begin();
    BENCH_OK(recto_acquire());
    case_expect(NOTICES_IN, n * PAGES, PAGES);
    case_expect(MESSAGES, 0, 0);
    (void)snprintf(name, sizeof *names, "acquire, sharers: %" PRId64, sharers);
    case_end(name);
}

static void far_writes(int64_t sharers)
{
    static char names[64][64];
    static int used;
    char *name = names[used++];
    int64_t n = told(sharers, bench.last);
    shared(sharers);
    if (bench.rank == bench.last) {
        read_some(central);
    }
    case_begin();
    if (bench.rank == bench.last) {
        write_some(central);
        BENCH_OK(recto_release());
    }
    case_expect(DIFFS, PAGES, PAGES);
    case_expect(NOTICES, n * PAGES, n * PAGES);
    case_expect(MESSAGES, if_far(3 + 2 * n), if_far(1 + n));
    case_expect(GETS, 0, 0);
    (void)snprintf(name, sizeof *names,
                   "release of 16 pages by another, sharers: %" PRId64,
                   sharers);
    case_end(name);
}

/* Ranks 1 to the last hold a page, write it and release it at once. Whoever comes first
 * has all others told; the next has the first told; the rest wait for these notices and
 * send none. */
static void all_write(void)
{
    int64_t p = bench.ranks;
    int64_t n = p > 2 ? p - 1 : 0;
    page *one = &central[nth(0)];
    shared(p - 1);
    case_begin();
    if (bench.rank > 0) {
        (*one)[bench.rank % WORDS] += 1;
        BENCH_OK(recto_release());
    }
    case_expect(DIFFS, p - 1, 1);
    if (p <= 62) { /* else groups of ranks stay, which are told again */
        case_expect(NOTICES, n, CASE_ANY);
        case_expect(MESSAGES, if_far(3 * (p - 1) + 2 * n),
                    if_far(p > 2 ? p - 1 + n : 2));
    }
    case_end("all but the home write one page, release");
    BENCH_OK(recto_barrier());
}

static void sharers(void)
{
    home_writes(1);
    if (bench.ranks > 3) {
        home_writes(bench.ranks / 2);
    }
    if (bench.ranks > 2) {
        home_writes(bench.ranks - 1);
        far_writes(1);
    }
    if (bench.ranks > 3) {
        far_writes(bench.ranks - 2);
    }
    all_write();
}

/* ---- barrier ---------------------------------------------------------------------- */

static void barriers(page *blocks)
{
    int64_t p = bench.ranks;
    page *mine = &blocks[bench.rank * OWN];
    page *next = &blocks[(bench.rank + 1) % p * OWN];
    BENCH_OK(recto_barrier());
    case_begin();
    BENCH_OK(recto_barrier());
    case_expect(REDUCES, p, 1);
    case_expect(REDUCE_BYTES, p * AGREEMENT, AGREEMENT);
    case_expect(MESSAGES, 0, 0);
    case_end("barrier, nothing written");

    for (int i = 0; i < 2; i++) {
        sink = (*next)[0];
        BENCH_OK(recto_barrier());
    }
    sink = (*next)[0];
    case_begin();
    (*mine)[0] = bench.rank + 1;
    BENCH_OK(recto_barrier());
    case_expect(NOTICES, p, 1);
    case_expect(NOTICES_IN, p, 1);
    case_expect(MESSAGES, if_far(3 * p), if_far(3));
    letters(if_far(2 * p));
    case_expect(REDUCES, p, 1);
    case_end("barrier, a page of each held by its neighbour");
}

/* ---- locks and atomics --------------------------------------------------------------- */

/* Asking and being answered, for the lock and for the unlock; waiting costs
 * nothing more. */
static void locks(void)
{
    int64_t p = bench.ranks;
    recto_lock_t lock;
    BENCH_OK(recto_lock_create(&lock));
    case_begin();
    for (int i = 0; i < ENTRIES; i++) {
        BENCH_OK(recto_lock(lock));
        BENCH_OK(recto_unlock(lock));
    }
    case_expect(MESSAGES, if_far(4 * ENTRIES * (p - 1)), CASE_ANY);
    case_expect(REDUCES, 0, 0);
    case_end("lock and unlock, 10 by each rank");
    BENCH_OK(recto_lock_free(&lock));
}

static void atomics(void)
{
    int64_t p = bench.ranks;
    int64_t *word = (int64_t *)segment_new(
        "word", 1, (recto_attr){.placement = RECTO_AT(0)});
    case_begin();
    for (int i = 0; i < ENTRIES; i++) {
        (void)recto_fetch_add_i64(word, 1);
    }
    case_expect(MESSAGES, if_far(2 * ENTRIES * (p - 1)), CASE_ANY);
    case_end("fetch_add, 10 by each rank");

    case_begin();
    BENCH_OK(recto_release());
    case_expect(NOTICES, 0, 0);
    case_expect(MESSAGES, if_far(3 * (p - 1)), CASE_ANY);
    case_expect(SEND_BYTES, if_far((2 * MESSAGE + RECORD) * (p - 1)), CASE_ANY);
    case_end("release after fetch_add");

    int64_t sum = 0;
    case_begin();
    for (int i = 0; i < ENTRIES; i++) {
        sum = recto_load_i64(word);
    }
    case_expect(MESSAGES, if_far(2 * ENTRIES * (p - 1)), CASE_ANY);
    case_end("load, 10 by each rank");
    if (sum != ENTRIES * p) {
        bench_fail("sum %" PRId64 " of atomics", sum);
    }
    BENCH_OK(recto_free(word));
}

/* ---- sequential memory ---------------------------------------------------------------- */

/* Messages go through service threads whatever the transport. */
static void sequential(void)
{
    int64_t p = bench.ranks;
    page *pages = segment_new("sequential", SPAN,
                              (recto_attr){.placement = RECTO_AT(0),
                                           .consistency = RECTO_SEQUENTIAL});
    case_begin();
    if (bench.rank == bench.last) {
        read_some(pages);
    }
    /* share, downgrade of the home, write_back, ack, done */
    case_expect(MESSAGES, 5 * PAGES, 3 * PAGES);
    case_expect(READ_MISSES, PAGES, PAGES);
    letters(if_far(3 * PAGES));
    case_end("sequential: read miss of 16 pages");

    case_begin();
    if (bench.rank > 0 && bench.rank < bench.last) {
        read_some(pages);
    }
    case_expect(MESSAGES, 3 * PAGES * (p - 2), CASE_ANY);
    case_end("sequential: 16 more of each other rank");

    case_begin();
    if (bench.rank == bench.last) {
        write_some(pages);
    }
    /* exclusive; invalidate and answer of all others; ack, done */
    case_expect(MESSAGES, (3 + 2 * (p - 1)) * PAGES, CASE_ANY);
    letters(if_far((3 + 2 * (p - 2)) * PAGES));
    case_expect(UPGRADES, PAGES, PAGES);
    case_end("sequential: write of 16 pages that all hold");
    BENCH_OK(recto_free(pages));
}

/* ---- checkpoints ------------------------------------------------------------------------ */

static void checkpoint(const char *name, bool full, int64_t segments,
                       bool first)
{
    int64_t p = bench.ranks;
    int64_t objects = segments + 1; /* and one of protected memory */
    /* the wait for it, and what the first one makes */
    int64_t reduces =
        (full ? 26 + 5 * segments : 25 + 4 * segments) + (first ? 3 : 0);
    int64_t row = PIECE_ROW * (full ? objects : 1);
    case_begin();
    BENCH_OK(recto_checkpoint());
    BENCH_OK(recto_checkpoint_wait());
    case_expect(MESSAGES, 0, 0);
    case_expect(REDUCES, reduces * p, reduces);
    case_expect(BCASTS, 5 * p, 5);
    case_expect(GATHERS, 2 * p, 2);
    case_expect(GATHER_BYTES, (16 + row) * p, 16 + row);
    case_expect(ALLGATHERS, first ? p : 0, first ? 1 : 0);
    case_expect(SCANS, (full ? 1 : 2) * p, full ? 1 : 2);
    /* names to rank 0; page sums go to where they are written: those of the array
     * in blocks stay, those of the one that rank 0 homes go to all */
    case_expect(PAIRS, (p - 1) * (full ? 2 : 1), CASE_ANY);
    if (!full) {
        case_expect(PAIR_BYTES, NAME_ROW * (p - 1), CASE_ANY);
    }
    case_end(name);
}

static int64_t state;

static void state_protect(void)
{
    BENCH_OK(recto_protect("state", &state, RECTO_INT64, 1));
}

static page *touched_new(void)
{
    return segment_new("touched", bench.ranks * GRANULE,
                       (recto_attr){.placement = RECTO_FIRST_TOUCH});
}

static void checkpoints(page *blocks)
{
    int64_t p = bench.ranks;
    state_protect();
    for (int i = 0; i < SPAN && bench.rank == 0; i++) {
        central[i][0]++; /* sums of what nobody touched are not sent */
    }
    BENCH_OK(recto_barrier());
    checkpoint("checkpoint, the first: full", true, 2, true);
    checkpoint("checkpoint, full", true, 2, false);
    blocks[bench.rank * OWN][0] = 1;
    state++;
    BENCH_OK(recto_barrier());
    checkpoint("checkpoint, differential", false, 2, false);

    /* homes by first touch: nobody is told of them */
    page *touched = touched_new();
    touched[(bench.rank + 1) % p * GRANULE][0] = 1;
    BENCH_OK(recto_barrier());
    checkpoint("checkpoint, differential, first touch is settled", false, 3,
               false);
    touched[(bench.rank + 1) % p * GRANULE][0] = 2; /* at home: no reader */
    state++;
    BENCH_OK(recto_barrier());
    checkpoint("checkpoint, differential, of first touch", false, 3, false);
}

enum {
    CHAIN = 4 /* files: a full epoch and three differential ones */
};

/* Another run of the program goes on from there. */
static void restart(void)
{
    int64_t p = bench.ranks;
    int64_t segments = 3;
    BENCH_OK(recto_finalize());
    BENCH_OK(recto_init(NULL, NULL));
    central_new();
    (void)blocks_new();
    (void)touched_new();
    state_protect();
    case_begin();
    if (recto_restart(NULL) != 1) {
        bench_fail("%s", recto_last_error());
    }
    case_expect(MESSAGES, 0, 0);
    case_expect(REDUCES, (RESTART + 4 * segments + 2 * CHAIN) * p,
                RESTART + 4 * segments + 2 * CHAIN);
    case_expect(ALLGATHERS, 0, 0);
    case_expect(BCASTS, 6 * p, 6);
    /* names to rank 0, rows of each table from there; pages of `touched` have other
     * homes than when they were written */
    case_expect(PAIRS, (1 + CHAIN) * (p - 1) + p, CASE_ANY);
    case_end("restart, a chain of 4 files");
}

static void folder_make(void)
{
    const char *dir = bench.options.dir != NULL ? bench.options.dir : ".";
    if (bench_rank() == 0) {
        (void)snprintf(bench.folder, sizeof bench.folder,
                       "%.3800s/recto-costs.XXXXXX", dir);
        if (mkdtemp(bench.folder) == NULL) {
            bench_fail("%s: %s", bench.folder, strerrordesc_np(errno));
        }
    }
    PMPI_Bcast(bench.folder, sizeof bench.folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): Recto does not run yet */
    (void)setenv("RECTO_CKPT_DIR", bench.folder, 1);
}

static void folder_remove(void)
{
    DIR *folder = bench.rank == 0 ? opendir(bench.folder) : NULL;
    const struct dirent *entry = NULL;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): this thread's own */
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder != NULL) {
        (void)closedir(folder);
        (void)rmdir(bench.folder);
    }
}

/* ---- heap ---------------------------------------------------------------------------------- */

static void heap(void)
{
    static void *blocks[BLOCKS];
    static uintptr_t mine;
    int64_t p = bench.ranks;
    case_begin();
    blocks[0] = recto_malloc(100);
    /* chunks of rank 0's counter; the keepers of 16 chunks, one or two ranks */
    case_bound(MESSAGES, if_far(2 * (p - 1)), if_far(2 * (p - 1) + 4 * p));
    case_end("recto_malloc, the first of each rank");

    case_begin();
    for (int i = 1; i < BLOCKS; i++) {
        blocks[i] = recto_malloc(100);
        if (blocks[i] == NULL) {
            bench_fail("%s", recto_last_error());
        }
    }
    case_expect(MESSAGES, 0, 0);
    case_end("recto_malloc, 99 more");

    uintptr_t *all = bench_memory((size_t)p, sizeof *all);
    mine = (uintptr_t)blocks[0];
    PMPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE,
                   MPI_COMM_WORLD);
    case_begin();
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): an address, everywhere the same */
    BENCH_OK(recto_mfree((void *)all[(bench.rank + 1) % p]));
    BENCH_OK(recto_release());
    /* the block's home is asked for, once; then it goes there */
    case_bound(MESSAGES, if_far(p), if_far(3 * p));
    case_end("recto_mfree of a neighbour's block, release");
    free(all);
}

/* ---- memory ----------------------------------------------------------------------------------- */

/* Bytes of mappings of memory with a label. */
static int64_t mapped(const char *label)
{
    char line[512];
    int64_t bytes = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    if (f == NULL) {
        bench_fail("/proc/self/maps: %s", strerrordesc_np(errno));
    }
    while (fgets(line, sizeof line, f) != NULL) {
        char *end = NULL;
        const char *name = strstr(line, "/memfd:");
        size_t length = strlen(label);
        if (name != NULL && strncmp(name + 7, label, length) == 0 &&
            name[7 + length] == ' ') {
            uint64_t from = strtoull(line, &end, 16);
            bytes += (int64_t)(strtoull(end + 1, NULL, 16) - from);
        }
    }
    (void)fclose(f);
    return bytes;
}

static int64_t whole(int64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Bytes of address space; memory is taken page by page where it is used. */
static void memory(void)
{
    int64_t views = bench.far ? 1 : bench.ranks;
    int64_t domain = SPAN * PAGE + whole((SPAN + 63) / 64 * 8) +
                     whole(SPAN * 4) + whole(SPAN * ENTRY) + SPAN * PAGE +
                     whole(SNAPSHOT + SPAN / 8);
    int64_t boards = 2 * BOARD + whole(bench.ranks * TASK) +
                     whole(JOINS + bench.ranks * 512 * JOIN);
    case_begin();
    case_value("mapped: queues", views * CONTROL, mapped("recto-control"));
    case_value("mapped: inboxes, logs", views * boards, mapped("recto-inbox"));
    case_value("mapped: objects", views * OBJECTS, mapped("recto-locks"));
    case_value("mapped: a segment of 1 MiB", SPAN * PAGE + views * domain,
               mapped("recto:central"));
    case_end("memory");
}

int main(int argc, char **argv)
{
    bench_options_read(&bench.options, argc, argv, help, true);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &bench.rank);
    folder_make();
    start(&argc, &argv);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it */
    const char *transport = getenv("RECTO_TRANSPORT");
    bench.far = transport != NULL && strcmp(transport, "mpi") == 0;
    bench.rank = recto_rank();
    bench.ranks = recto_size();
    bench.last = bench.ranks - 1;
    if (bench.ranks < 2 || recto_nodes() != recto_size()) {
        bench_fail("2 ranks or more, each a domain of its own: set "
                   "RECTO_NODE=rank");
    }
    central_new();
    page *blocks = allocation();
    memory();
    reads();
    writes();
    sharers();
    barriers(blocks);
    locks();
    atomics();
    sequential();
    migration();
    checkpoints(blocks);
    heap();
    restart();
    int broken = cases_report(bench.options.json, bench.far ? "mpi" : "shm");
    BENCH_OK(recto_finalize());
    folder_remove();
    MPI_Finalize();
    return broken > 0;
}
