/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that with RECTO_RESTART=lazy every page is right at its first touch, whoever
 * touches it and how: by reads of all ranks in orders of their own, by writes, under
 * locks, by atomics, as a buffer of a system call; and that a checkpoint, a migration,
 * a free and a recovery right after the restart find all of memory. An older epoch is
 * loaded as well; while pages are pinned none is. What was only loaded does not count as
 * written.
 *
 * RECTO_INJECT makes the loader slow, so that most pages are touched before they come.
 */
#include <mpi.h>
#include <recto/atomic.h>
#include <recto/mpi.h>
#include <recto/sync.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "test.h"

enum {
    EPOCHS = 6,
    PAGE = 512, /* elements */
    PAGES = 200,
    COUNT = PAGES * PAGE + 7,
    ARRAYS = 5
};

static const struct {
    const char *name;
    recto_attr attr;
} kinds[ARRAYS] = {
    {"blocks",  {.consistency = RECTO_RELEASE}                       },
    {"cyclic",  {.placement = RECTO_CYCLIC}                          },
    {"touched", {.placement = RECTO_FIRST_TOUCH}                     },
    {"strict",  {.consistency = RECTO_SEQUENTIAL}                    },
    {"coarse",  {.placement = RECTO_CYCLIC, .granule = 64 * PAGE * 8}},
};

static uint64_t *arrays[ARRAYS];
static uint64_t mine[3 * PAGE + 5];
static int64_t last = -1; /* epoch in the folder */
static int64_t held = -1; /* whose values it holds */
static int64_t now = -1;  /* whose values memory holds */
static uint64_t seed;
static bool used; /* memory is written to before the restart */

static void begin(void)
{
    const uint64_t dims[] = {COUNT};
    CHECK_OK(recto_init_comm(MPI_COMM_WORLD, NULL));
    for (int i = 0; i < ARRAYS; i++) {
        arrays[i] =
            recto_array(kinds[i].name, RECTO_UINT64, 1, dims, &kinds[i].attr);
        CHECK(arrays[i] != NULL);
    }
    CHECK_OK(recto_protect("mine", mine, RECTO_UINT64, 3 * PAGE + 5));
}

static void end(void)
{
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_finalize());
}

/* Some pages are never written, the others change in every third epoch. */
static uint64_t value(int object, uint64_t i, int64_t epoch)
{
    int64_t page = (int64_t)(i / PAGE);
    int64_t changed = epoch - (epoch + page) % 3;
    return epoch < 0 || changed < 0 || page % 7 == 5
               ? 0
               : test_hash((uint64_t)object, i, (uint64_t)changed + 1) >> 8;
}

static void write_all(int64_t epoch)
{
    for (int object = 0; object < ARRAYS; object++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t turn = i / PAGE + (uint64_t)epoch;
            bool writes = value(object, i, epoch) != 0;
            if (writes &&
                turn % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
                arrays[object][i] = value(object, i, epoch);
            }
        }
    }
    for (uint64_t i = 0; i < 3 * PAGE + 5; i++) {
        mine[i] = value(10 + recto_rank(), i, epoch);
    }
    now = epoch;
    CHECK_OK(recto_barrier());
}

static void checkpoint(void)
{
    CHECK_OK(recto_checkpoint());
    last++;
    held = now;
}

/* Words that the restart is to replace, by some rank in each page. */
static void spoil(void)
{
    for (uint64_t page = (uint64_t)recto_rank(); page <= PAGES;
         page += (uint64_t)recto_size()) {
        for (int object = 0; object < ARRAYS; object++) {
            arrays[object][page * PAGE + 1] = 1 + page;
        }
    }
    CHECK_OK(recto_barrier());
    for (uint64_t page = 0; page <= PAGES; page++) {
        for (int object = 0; object < ARRAYS; object++) {
            CHECK(arrays[object][page * PAGE + 1] == 1 + page);
        }
    }
    CHECK_OK(recto_barrier());
}

static void restart(void)
{
    int64_t got = -1;
    memset(mine, 0, sizeof mine);
    begin();
    if (used) {
        spoil();
    }
    CHECK(recto_restart(&got) == 1 && got == last);
    now = held;
    for (uint64_t i = 0; i < 3 * PAGE + 5; i++) {
        CHECK(mine[i] == value(10 + recto_rank(), i, now));
    }
}

static void expect_page(int object, uint64_t page, uint64_t added)
{
    for (uint64_t i = page * PAGE; i < (page + 1) * PAGE && i < COUNT; i++) {
        CHECK(arrays[object][i] ==
              value(object, i, now) + (i % PAGE == 3 ? added : 0));
    }
}

/* Pages of all arrays in an order of this rank's own: coprime steps. */
struct walk {
    uint64_t left;
    uint64_t at;
    uint64_t step;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

static struct walk walk_start(uint64_t random)
{
    struct walk w = {.left = (uint64_t)ARRAYS * (PAGES + 1)};
    w.at = random % w.left;
    w.step = random / w.left % w.left;
    while (gcd(w.step, w.left) != 1) {
        w.step++;
    }
    return w;
}

static bool walk_next(struct walk *w, int *object, uint64_t *page)
{
    const uint64_t all = (uint64_t)ARRAYS * (PAGES + 1);
    if (w->left == 0) {
        return false;
    }
    w->left--;
    w->at = (w->at + w->step) % all;
    *object = (int)(w->at % ARRAYS);
    *page = w->at / ARRAYS;
    return true;
}

static struct walk my_walk(void)
{
    return walk_start(test_hash(seed, (uint64_t)recto_rank(), 7));
}

static void expect_all(uint64_t added)
{
    struct walk w = my_walk();
    int object = 0;
    uint64_t page = 0;
    while (walk_next(&w, &object, &page)) {
        /* the last page has 7 elements */
        expect_page(object, page, added);
    }
    CHECK_OK(recto_barrier());
}

/* ---- what is done right after a restart ------------------------------------------- */

static void reads(void)
{
    expect_all(0);
}

static void forwards(void)
{
    for (int object = 0; object < ARRAYS; object++) {
        for (uint64_t page = 0; page <= PAGES; page++) {
            expect_page(object, page, 0);
        }
    }
}

static void atomics(void)
{
    struct walk w = my_walk();
    int object = 0;
    uint64_t page = 0;
    while (walk_next(&w, &object, &page)) {
        CHECK(recto_load_u64(&arrays[object][page * PAGE + 5]) ==
              value(object, page * PAGE + 5, now));
        (void)recto_fetch_add_u64(&arrays[object][page * PAGE + 3], 1);
    }
    CHECK_OK(recto_barrier());
    expect_all((uint64_t)recto_size());
}

static void locks(void)
{
    recto_lock_t lock;
    struct walk w = my_walk();
    int object = 0;
    uint64_t page = 0;
    CHECK_OK(recto_lock_create(&lock));
    CHECK_OK(recto_lock(lock));
    while (walk_next(&w, &object, &page)) {
        arrays[object][page * PAGE + 3]++;
    }
    CHECK_OK(recto_unlock(lock));
    CHECK_OK(recto_barrier());
    expect_all((uint64_t)recto_size());
    CHECK_OK(recto_lock_free(&lock));
}

/* It is there, and after another restart, too. */
static void comes_back(void)
{
    expect_all(0);
    end();
    restart();
    expect_all(0);
}

/* Of what nobody has read. */
static void writes(void)
{
    write_all(now + 1);
    checkpoint();
    comes_back();
}

static void checkpoints(void)
{
    checkpoint();
    forwards();
    CHECK_OK(recto_barrier());
    for (int i = 0; i < 3; i++) {
        write_all(now + 1);
        checkpoint();
    }
    comes_back();
}

static void migrates(void)
{
    for (int object = 0; object < ARRAYS; object++) {
        CHECK_OK(recto_migrate(arrays[object], sizeof(uint64_t) * COUNT / 2,
                               recto_size() - 1));
    }
    expect_all(0);
}

static void frees(void)
{
    for (int object = 0; object < ARRAYS - 1; object++) {
        CHECK_OK(recto_free(arrays[object]));
    }
    for (uint64_t page = 0; page <= PAGES; page++) {
        expect_page(ARRAYS - 1, page, 0);
    }
}

static void recovers(void)
{
    CHECK_OK(recto_recover(kinds[1].name));
    expect_all(0);
}

/* A system call reads what nobody has touched. */
static void calls(void)
{
    uint64_t first = (uint64_t)recto_rank() * PAGE;
    size_t bytes = (COUNT - first) * sizeof(uint64_t);
    for (int object = 0; object < ARRAYS; object++) {
        FILE *file = tmpfile();
        CHECK(file != NULL);
        int fd = fileno(file);
        CHECK(write(fd, arrays[object] + first, bytes) == (ssize_t)bytes);
        const uint64_t *copy = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        CHECK(copy != MAP_FAILED);
        for (uint64_t i = first; i < COUNT; i++) {
            CHECK(copy[i - first] == value(object, i, now));
        }
        (void)munmap((void *)copy, bytes);
        (void)fclose(file);
    }
    CHECK_OK(recto_barrier());
}

static void pins(void)
{
    for (int object = 0; object < ARRAYS; object++) {
        if (recto_nodes() > 1 &&
            kinds[object].attr.consistency == RECTO_SEQUENTIAL) {
            continue;
        }
        CHECK_OK(
            recto_pin(arrays[object], COUNT * sizeof(uint64_t), RECTO_READ));
        CHECK_OK(
            recto_unpin(arrays[object], COUNT * sizeof(uint64_t), RECTO_READ));
    }
    CHECK_OK(recto_prefetch(arrays[0], COUNT * sizeof(uint64_t)));
    expect_all(0);
}

static void waits(void)
{
    CHECK_OK(recto_checkpoint_wait());
    expect_all(0);
}

static void nothing(void)
{
}

static uint64_t checkpoint_bytes(void)
{
    recto_counters before;
    recto_counters after;
    CHECK_OK(recto_stats(&before));
    checkpoint();
    CHECK_OK(recto_checkpoint_wait());
    CHECK_OK(recto_stats(&after));
    uint64_t bytes = after.ckpt_bytes - before.ckpt_bytes;
    MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_UINT64_T, MPI_SUM,
                  MPI_COMM_WORLD);
    return bytes;
}

/* What was loaded, read or not, is as the epoch holds it: the next is small, unless it
 * is a full one. */
static void unwritten(void)
{
    uint64_t least = UINT64_MAX;
    for (int times = 0; times < 3; times++) {
        struct walk w = my_walk();
        int object = 0;
        uint64_t page = 0;
        for (int i = 0; i < 300 && walk_next(&w, &object, &page); i++) {
            if (value(object, page * PAGE, now) != 0) {
                expect_page(object, page, 0);
            }
        }
        if (recto_rank() == 0) {
            volatile uint64_t *word = arrays[0];
            *word = value(0, 0, now);
        }
        uint64_t bytes = checkpoint_bytes();
        least = bytes < least ? bytes : least;
        end();
        restart();
    }
    CHECK(least <= (uint64_t)16 * PAGE * sizeof(uint64_t));
}

/* ---- instead of a restart, or before ---------------------------------------------- */

/* An older epoch; the newest stays the newest while no other is written. */
static void selects(void)
{
    for (int64_t epoch = EPOCHS - 2; epoch >= 0; epoch -= 3) {
        int64_t got = -1;
        begin();
        CHECK_OK(recto_restart_select(epoch));
        CHECK(recto_restart(&got) == 1 && got == epoch);
        now = epoch;
        expect_all(0);
        end();
    }
}

/* What somebody has pinned cannot come late. */
static void refused_while_pinned(void)
{
    int64_t got = -1;
    begin();
    if (recto_rank() == recto_size() - 1) {
        CHECK_OK(recto_pin(arrays[1] + PAGE, 3 * PAGE * 8, RECTO_READ));
    }
    CHECK(recto_restart(&got) == RECTO_ESTATE);
    CHECK(strstr(recto_last_error(), "pinned") != NULL);
    if (recto_rank() == recto_size() - 1) {
        CHECK_OK(recto_unpin(arrays[1] + PAGE, 3 * PAGE * 8, RECTO_READ));
    }
    CHECK(recto_restart(&got) == 1 && got == last);
    now = held;
    expect_all(0);
    end();
}

static void (*const cases[])(void) = {
    reads,    forwards, atomics,  locks, writes,  calls,     pins,
    migrates, frees,    recovers, waits, nothing, unwritten, checkpoints};

int main(int argc, char **argv)
{
    int level = MPI_THREAD_SINGLE;
    int rank = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    setenv("RECTO_CKPT_COMPACT", "0", 1); /* long chains, and old epochs */
    setenv("RECTO_CKPT_FULL", "8", 1);
    setenv("RECTO_CKPT_DIR", "ckpt", 1);
    setenv("RECTO_RESTART", argc > 1 ? argv[1] : "lazy", 1);
    begin();
    calls(); /* of pages without rights */
    seed = test_seed("seed");
    CHECK(recto_restart(NULL) == 0);
    for (int64_t e = 0; e < EPOCHS; e++) {
        write_all(e);
        checkpoint();
    }
    end();
    selects();
    refused_while_pinned();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        restart();
        cases[i]();
        end();
    }
    used = true;
    for (int i = 0; i < 3; i++) {
        restart();
        cases[i]();
        end();
    }
    MPI_Finalize();
    if (rank == 0) {
        printf("passed: lazy\n");
    }
    return 0;
}
