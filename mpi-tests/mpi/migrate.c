/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto_migrate: pages that change their homes between data-race-free phases.
 *
 *   random     arrays of each placement and protocol are written by all ranks, read
 *              by all, and moved: whole partitions, pieces to anybody, all to one;
 *              an oracle knows every byte and every home
 *   free       a new home writes its pages without a fault, touched before or not
 *   many       of memory in granules round the ranks more runs go to each partner than
 *              one message carries, by whatever part the ranks name
 *   sparse     what nobody has touched takes no memory after it moved
 *   pinned     what is pinned does not move
 *   wrong      bad arguments of one rank are an error on all, and move nothing
 *
 * These without arguments. With RECTO_MAX_MAPPINGS=100
 *
 *   full       a move for which there are no kernel mappings left fails, and
 *              everything is as before
 *
 * and for migrate_restart.sh
 *
 *   small      an epoch after a move holds what was written since the last, no more
 *   write      epochs between moves
 *   read       and restored on any number of ranks
 *
 * TEST_SEED repeats.
 */
#include <dirent.h>
#include <limits.h>
#include <recto/vm.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "test.h"

enum {
    PAGE = 4096,
    PAGES = 26, /* of an array; its last page is used in part */
    BYTES = (PAGES - 1) * PAGE + 1000,
    ARRAYS = 6,
    STEPS = 14,
    EACH = 40, /* pages of each rank in `free` */
    NOBODY = -1
};

/* consistency, placement, granule */
static const recto_attr attrs[ARRAYS] = {
    {RECTO_RELEASE,    RECTO_BLOCK,       0,        0},
    {RECTO_RELEASE,    RECTO_CYCLIC,      0,        0},
    {RECTO_RELEASE,    RECTO_FIRST_TOUCH, 2 * PAGE, 0},
    {RECTO_SEQUENTIAL, RECTO_BLOCK,       0,        0},
    {RECTO_SEQUENTIAL, RECTO_FIRST_TOUCH, 0,        0},
    {RECTO_SEQUENTIAL, RECTO_CYCLIC,      3 * PAGE, 0},
};

static uint64_t seed;
static unsigned char *arrays[ARRAYS];
static unsigned char oracle[ARRAYS][BYTES];
static int homes[ARRAYS][PAGES]; /* as far as they are known */
static int *node_of;             /* of each rank */
static int64_t *counter;         /* on the pages that move, under a lock */
static recto_lock_t lock;

static uint64_t rank(void)
{
    return (uint64_t)recto_rank();
}

static uint64_t size(void)
{
    return (uint64_t)recto_size();
}

static uint64_t hash(uint64_t a, uint64_t b)
{
    return test_hash(a, b, seed);
}

/* ---- random ---- */

static void arrays_make(void)
{
    for (int a = 0; a < ARRAYS; a++) {
        char name[32];
        snprintf(name, sizeof name, "moves%d", a);
        arrays[a] = recto_alloc(name, BYTES, &attrs[a]);
        CHECK(arrays[a] != NULL);
        for (int p = 0; p < PAGES; p++) {
            homes[a][p] = attrs[a].placement == RECTO_FIRST_TOUCH
                              ? NOBODY
                              : recto_home(arrays[a] + (size_t)p * PAGE);
        }
    }
}

static uint64_t grain(uint64_t a, uint64_t step)
{
    static const uint64_t grains[] = {1, 3, 64, 1000, PAGE, 9999};
    return grains[hash(a + 100, step) % 6];
}

/* Is byte i written in a step; and by whom? */
static bool writes(uint64_t a, uint64_t i, uint64_t step, uint64_t *who)
{
    uint64_t h = hash(i / grain(a, step) * ARRAYS + a, step * 2);
    *who = h / 5 % size();
    return h % 5 < 2;
}

static unsigned char value(uint64_t a, uint64_t i, uint64_t step)
{
    return (unsigned char)hash(i * ARRAYS + a, step * 2 + 1);
}

static void oracle_advance(uint64_t step)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            uint64_t who = 0;
            if (writes(a, i, step, &who)) {
                oracle[a][i] = value(a, i, step);
            }
        }
    }
}

static void write_all(uint64_t step)
{
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            uint64_t who = 0;
            if (writes(a, i, step, &who) && who == rank()) {
                arrays[a][i] = value(a, i, step);
            }
        }
    }
}

static void expect(uint64_t a, uint64_t i, uint64_t step)
{
    if (arrays[a][i] != oracle[a][i]) {
        fprintf(stderr,
                "rank %d, TEST_SEED=%llu, step %llu: array %llu, page %llu + "
                "%llu (home %d) is %u, not %u\n",
                recto_rank(), (unsigned long long)seed,
                (unsigned long long)step, (unsigned long long)a,
                (unsigned long long)(i / PAGE), (unsigned long long)(i % PAGE),
                recto_home(&arrays[a][i]), arrays[a][i], oracle[a][i]);
        CHECK(arrays[a][i] == oracle[a][i]);
    }
}

/* All of it now and then; else here and there, so that copies differ. */
static void read_some(uint64_t step)
{
    uint64_t state = hash(step, rank() + 7) | 1;
    bool all = hash(step, 3) % 4 == 0;
    for (uint64_t a = 0; a < ARRAYS && all; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            expect(a, i, step);
        }
    }
    for (int k = 0; k < 40; k++) {
        uint64_t h = test_random(&state);
        expect(h % ARRAYS, h / ARRAYS % BYTES, step);
    }
}

static void homes_check(uint64_t a)
{
    for (int p = 0; p < PAGES; p++) {
        int home = recto_home(arrays[a] + (size_t)p * PAGE);
        CHECK(home >= 0 && home < recto_size());
        CHECK(homes[a][p] == NOBODY || homes[a][p] == home);
    }
}

/* What a rank names in a move. */
struct part {
    uint64_t first; /* bytes */
    uint64_t bytes;
    int home;
};

static struct part part_of(uint64_t who, uint64_t a, uint64_t step)
{
    uint64_t h = hash(a * 1000 + who, step * 8 + 5);
    struct part part = {0, 0, (int)who};
    switch (hash(a, step * 8 + 6) % 4) {
    case 0: { /* a partition anew, its parts cut anywhere */
        uint64_t shift = hash(a, step * 8 + 7) % size();
        uint64_t mine = (who + shift) % size();
        part.first = BYTES * mine / size();
        part.bytes = BYTES * (mine + 1) / size() - part.first;
        break;
    }
    case 1: /* anything to anybody, over each other */
        part.first = h % BYTES;
        part.bytes = h / BYTES % (BYTES - part.first + 1);
        part.home = (int)(h >> 40) % recto_size();
        break;
    case 2: /* all to one */
        if (who == h % 3 % size()) {
            part.bytes = BYTES;
            part.home = (int)(h >> 40) % recto_size();
        }
        break;
    default: /* a page or two of each rank */
        part.first = h % BYTES / PAGE * PAGE;
        part.bytes = h / BYTES % (part.first < BYTES - PAGE ? PAGE : 1000);
        break;
    }
    return part;
}

/* Of parts that touch a page the lowest rank's counts. */
static void homes_advance(uint64_t a, uint64_t step)
{
    for (uint64_t who = size(); who-- > 0;) {
        struct part part = part_of(who, a, step);
        for (uint64_t p = part.first / PAGE;
             part.bytes > 0 && p <= (part.first + part.bytes - 1) / PAGE; p++) {
            homes[a][p] = part.home;
        }
    }
}

static void move(uint64_t a, uint64_t step)
{
    struct part part = part_of(rank(), a, step);
    CHECK_OK(recto_migrate(arrays[a] + part.first, part.bytes, part.home));
    homes_advance(a, step);
    homes_check(a);
}

static void count_up(void)
{
    CHECK_OK(recto_lock(lock));
    *counter += 1;
    CHECK_OK(recto_unlock(lock));
}

static void random_moves(void)
{
    arrays_make();
    CHECK_OK(recto_lock_create(&lock));
    counter = recto_alloc("counter", 3 * (uint64_t)PAGE, NULL);
    CHECK(counter != NULL);
    for (uint64_t step = 1; step <= STEPS; step++) {
        for (uint64_t a = 0; a < ARRAYS && step > 1; a++) {
            if (hash(a, step * 8 + 4) % 3 != 0) {
                move(a, step);
            }
        }
        CHECK_OK(recto_migrate(counter, (rank() == 0) * 3UL * PAGE,
                               (int)(step % size())));
        CHECK(recto_home(counter) == (int)(step % size()));
        if (step % 3 == 0) {
            CHECK_OK(recto_check_all());
        }
        write_all(step);
        count_up();
        oracle_advance(step);
        CHECK_OK(recto_barrier());
        read_some(step);
        recto_fetch_add_i64(counter + 512, 1);
        CHECK_OK(recto_barrier());
        CHECK(counter[0] == (int64_t)(step * size()));
        CHECK(counter[512] == (int64_t)(step * size()));
        CHECK_OK(recto_barrier());
        if (step % 3 == 1) {
            CHECK_OK(recto_check_all());
        }
    }
    for (uint64_t a = 0; a < ARRAYS; a++) {
        homes_check(a);
        CHECK_OK(recto_free(arrays[a]));
    }
    CHECK_OK(recto_free(counter));
    CHECK_OK(recto_lock_free(&lock));
}

/* ---- free ---- */

static uint64_t faults(void)
{
    struct recto_vm_counters c;
    recto_vm_stats(&c);
    return c.faults;
}

/* My pages of the array, from now on those of the rank before me until now. */
static void free_writes(const recto_attr *attr, bool touched)
{
    uint64_t each = EACH * (uint64_t)PAGE;
    char *p = recto_alloc("free", each * size(), attr);
    CHECK(p != NULL);
    uint64_t before = (rank() + size() - 1) % size();
    char *mine = p + before * each;
    for (uint64_t i = 0; i < each && touched; i += 512) {
        p[rank() * each + i] = (char)(rank() + i / 512);
    }
    CHECK_OK(recto_barrier());
    if (touched) { /* and everybody has copies */
        for (uint64_t i = 0; i < each * size(); i += PAGE) {
            CHECK(p[i] == (char)(i / each + i % each / 512));
        }
        CHECK_OK(recto_barrier());
    }
    bool stays[EACH]; /* what stays in its domain keeps its readers */
    for (uint64_t i = 0; i < EACH; i++) {
        stays[i] = node_of[recto_home(mine + i * PAGE)] == recto_node();
    }
    CHECK_OK(recto_migrate(mine, each, recto_rank()));
    uint64_t had = faults();
    for (uint64_t i = 0; i < each; i += 512) {
        if (!stays[i / PAGE]) {
            CHECK(mine[i] == (touched ? (char)(before + i / 512) : 0));
            mine[i] = (char)(i / 512 + 1);
        }
    }
    CHECK(faults() == had);
    for (uint64_t i = 0; i < each; i += 512) {
        mine[i] = (char)(i / 512 + 1);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < each * size(); i += 512) {
        CHECK(p[i] == (char)(i % each / 512 + 1));
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

/* ---- many ---- */

enum {
    MANY = 1200 /* pages */
};

static int64_t many_value(uint64_t page, uint64_t round)
{
    return (int64_t)(page * 16 + round + 1);
}

/* Some of the pages, which this rank holds copies of afterwards. */
static void many_read(const char *p, uint64_t round)
{
    for (uint64_t i = rank() % 5; i < MANY; i += 5) {
        int64_t found = 0;
        memcpy(&found, p + i * PAGE, sizeof found);
        CHECK(found == many_value(i, round));
    }
}

static void many_write(char *p, uint64_t first, uint64_t step, uint64_t end,
                       uint64_t round)
{
    for (uint64_t i = first; i < end; i += step) {
        int64_t value = many_value(i, round);
        memcpy(p + i * PAGE, &value, sizeof value);
    }
}

static void many(int consistency)
{
    recto_attr attr = {
        .consistency = consistency, .placement = RECTO_CYCLIC, .granule = PAGE};
    char *p = recto_alloc("many", MANY * (uint64_t)PAGE, &attr);
    CHECK(p != NULL);
    many_write(p, rank(), size(), MANY, 0);
    CHECK_OK(recto_barrier());
    many_read(p, 0);
    CHECK_OK(recto_barrier());
    for (uint64_t round = 1; round < 4; round++) {
        /* blocks, blocks the other way round, blocks again */
        uint64_t part = round == 2 ? size() - 1 - rank() : rank();
        uint64_t first = MANY * part / size();
        uint64_t end = MANY * (part + 1) / size();
        CHECK_OK(recto_migrate(p + first * PAGE, (end - first) * PAGE,
                               recto_rank()));
        many_read(p, round - 1);
        CHECK_OK(recto_barrier());
        CHECK(recto_home(p + first * PAGE) == recto_rank());
        CHECK(recto_home(p + end * PAGE - 1) == recto_rank());
        many_write(p, first, 1, end, round);
        CHECK_OK(recto_barrier());
        many_read(p, round);
        CHECK_OK(recto_check_all());
    }
    CHECK_OK(recto_free(p));
}

/* ---- sparse ---- */

/* Bytes of memory behind my domain's part of an array. */
static uint64_t memory_of(const char *name)
{
    char link[PATH_MAX];
    uint64_t bytes = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    for (struct dirent *e = readdir(folder); e != NULL; e = readdir(folder)) {
        struct stat status;
        ssize_t n = readlinkat(dirfd(folder), e->d_name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        if (strstr(link, name) != NULL &&
            fstatat(dirfd(folder), e->d_name, &status, 0) == 0) {
            bytes = (uint64_t)status.st_blocks * 512;
        }
    }
    closedir(folder);
    return bytes;
}

static void sparse(void)
{
    uint64_t bytes = (uint64_t)1 << 30;
    uint64_t step = bytes / 16;
    recto_attr attr = {.placement = RECTO_AT(recto_size() - 1)};
    char *p = recto_alloc("sparse", bytes, &attr);
    CHECK(p != NULL);
    for (uint64_t i = rank(); i < 16; i += size()) {
        memcpy(p + i * step + 5, &i, sizeof i);
    }
    for (int round = 0; round < 2; round++) {
        uint64_t part = (rank() + (uint64_t)round) % size();
        uint64_t first = bytes * part / size();
        uint64_t end = bytes * (part + 1) / size();
        CHECK_OK(recto_migrate(p + first, end - first, recto_rank()));
        for (uint64_t i = 0; i < 16; i++) {
            uint64_t found = 0;
            memcpy(&found, p + i * step + 5, sizeof found);
            CHECK(found == i);
        }
        CHECK(memory_of("recto:sparse") > 0);
        CHECK(memory_of("recto:sparse") < (uint64_t)8 << 20);
        CHECK_OK(recto_barrier());
    }
    CHECK_OK(recto_free(p));
}

/* ---- pinned, wrong ---- */

static void pinned(void)
{
    char *p = recto_alloc("pinned", 8 * (uint64_t)PAGE, NULL);
    CHECK(p != NULL);
    bool one = rank() == size() - 1;
    if (one) {
        CHECK_OK(recto_pin(p + 3 * PAGE, 100, RECTO_WRITE));
        p[3 * PAGE] = 5;
    }
    int home = recto_home(p);
    int r = recto_migrate(p, one * 8UL * PAGE, 0);
    if (recto_nodes() > 1) { /* else nothing has to go anywhere */
        bool moves = home != 0 || recto_home(p + 3 * PAGE) != 0;
        CHECK(r == (moves ? RECTO_EBUSY : 0));
        CHECK(r == 0 || strstr(recto_last_error(), "pinned") != NULL);
    } else {
        CHECK(r == 0);
    }
    if (one) {
        CHECK_OK(recto_unpin(p + 3 * PAGE, 100, RECTO_WRITE));
    }
    CHECK_OK(recto_migrate(p, one * 8UL * PAGE, 0));
    CHECK(p[3 * PAGE] == 5);
    CHECK(recto_home(p + 7 * PAGE) == 0);
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

static void refused(const void *p, size_t bytes, int home, int code)
{
    CHECK(recto_migrate(p, bytes, home) == code);
    CHECK(code == 0 || strstr(recto_last_error(), "recto_migrate") != NULL);
}

static void wrong(void)
{
    char *p = recto_alloc("wrong", 3 * (uint64_t)PAGE, NULL);
    char *q = recto_alloc("other", PAGE, NULL);
    char *own = recto_malloc(100);
    CHECK(p != NULL && q != NULL && own != NULL);
    bool odd = rank() == size() - 1;
    int to = recto_home(p) == 0 ? recto_size() - 1 : 0;
    int before = recto_home(p);
    refused(p, PAGE, odd ? recto_size() : to, RECTO_EINVAL);
    refused(p, PAGE, odd ? -1 : to, RECTO_EINVAL);
    refused(p, odd ? 3UL * PAGE + 1 : PAGE, to, RECTO_EINVAL);
    refused(odd ? p + 1 : p, odd ? SIZE_MAX : PAGE, to, RECTO_EINVAL);
    refused(odd ? own : p, 50, to, RECTO_EUNSUPPORTED);
    refused(odd ? (const char *)&odd : p, 1, to, RECTO_ENOENT);
    refused(odd ? NULL : p, 0, to, RECTO_ENOENT);
    CHECK(recto_home(p) == before);
    CHECK(recto_migrate(odd ? q : p, PAGE, to) ==
          (size() > 1 ? RECTO_EMISMATCH : 0));
    refused(p + 3UL * PAGE, 0, to, 0); /* an empty part at the end */
    CHECK(recto_home(p) == before);
    CHECK_OK(recto_mfree(own));
    CHECK_OK(recto_free(q));
    CHECK_OK(recto_free(p));
}

/* ---- full ---- */

/* Page after page, until the kernel's mappings (RECTO_MAX_MAPPINGS) are used up. */
static void full(void)
{
    uint64_t pages = 400;
    recto_attr attr = {.placement = RECTO_AT(0)};
    unsigned char *p = recto_alloc("full", pages * PAGE, &attr);
    CHECK(p != NULL);
    for (uint64_t i = rank(); i < pages; i += size()) {
        p[i * PAGE] = (unsigned char)(i + 1);
    }
    CHECK_OK(recto_checkpoint());
    int failed = 0;
    for (uint64_t i = 1; i < pages; i += 2) {
        int to = recto_size() - 1;
        int r = recto_migrate(p + i * PAGE, rank() == 0, to);
        CHECK(r == 0 || r == RECTO_ENOMEM);
        failed += r != 0;
        CHECK(recto_home(p + i * PAGE) == (r == 0 ? to : 0));
        CHECK(p[i * PAGE] == (unsigned char)(i + 1));
        CHECK_OK(recto_barrier());
        if (i % size() == rank()) {
            p[i * PAGE] = (unsigned char)(i + 2);
        }
        CHECK_OK(recto_barrier());
        CHECK(p[i * PAGE] == (unsigned char)(i + 2));
        CHECK_OK(recto_barrier());
        if (i % 50 == 1) {
            CHECK_OK(recto_check_all());
        }
    }
    CHECK((failed > 0) ==
          (recto_nodes() > 1 && strcmp(recto_vm_backend(), "pte") == 0));
    CHECK_OK(recto_free(p));
}

/* ---- checkpoints ---- */

static uint64_t epoch_bytes(void)
{
    static int64_t *sum;
    recto_counters c;
    if (sum == NULL) {
        sum =
            recto_alloc("sum", 8, &(recto_attr){.flags = RECTO_NO_CHECKPOINT});
    }
    CHECK_OK(recto_stats(&c));
    int64_t before = (int64_t)c.ckpt_bytes;
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait());
    CHECK_OK(recto_stats(&c));
    if (rank() == 0) {
        *sum = 0;
    }
    CHECK_OK(recto_barrier());
    recto_fetch_add_i64(sum, (int64_t)c.ckpt_bytes - before);
    CHECK_OK(recto_barrier());
    uint64_t total = (uint64_t)*sum;
    CHECK_OK(recto_barrier());
    return total;
}

static void small(void)
{
    uint64_t pages = 600;
    recto_attr attr = {0};
    for (int k = 0; k < 2; k++) {
        attr.consistency = k == 0 ? RECTO_RELEASE : RECTO_SEQUENTIAL;
        char *p = recto_alloc(k == 0 ? "small" : "small2", pages * PAGE, &attr);
        CHECK(p != NULL);
        for (uint64_t i = rank(); i < pages; i += size()) {
            p[i * PAGE] = 1;
        }
        CHECK(epoch_bytes() > pages * PAGE);
        uint64_t nothing = epoch_bytes();
        CHECK_OK(
            recto_migrate(p, (rank() == 0) * pages * PAGE, recto_size() - 1));
        CHECK(epoch_bytes() < nothing + 50UL * PAGE);
        for (uint64_t i = rank() * 7; i < pages; i += size() * 7) {
            p[i * PAGE + 1] = 2;
        }
        CHECK_OK(recto_migrate(p + pages / size() * rank() * PAGE,
                               pages / size() * PAGE, recto_rank()));
        uint64_t some = epoch_bytes();
        CHECK(some >= pages / 7 * PAGE);
        CHECK(some < nothing + pages / 3 * PAGE);
        CHECK_OK(recto_check_all());
    }
}

/* Epochs between moves; the last one is followed by a move that is not saved. */
static void write_epochs(void)
{
    arrays_make();
    for (uint64_t step = 1; step <= STEPS; step++) {
        for (uint64_t a = 0; a < ARRAYS; a++) {
            if (hash(a, step * 8 + 4) % 3 != 0) {
                move(a, step);
            }
        }
        write_all(step);
        oracle_advance(step);
        if (hash(step, 9) % 2 == 0) {
            move(step % ARRAYS, step + 100);
        }
        CHECK_OK(hash(step, 11) % 3 == 0 && step < STEPS ? recto_barrier()
                                                         : recto_checkpoint());
        read_some(step);
        CHECK_OK(recto_check_all());
    }
    for (uint64_t a = 0; a < ARRAYS; a++) {
        move(a, STEPS + 1);
    }
    for (uint64_t a = 0; a < ARRAYS; a++) {
        for (uint64_t i = 0; i < BYTES; i++) {
            expect(a, i, STEPS);
        }
    }
}

/* Restored on homes of their own; then it goes on. */
static void read_epochs(void)
{
    arrays_make();
    for (uint64_t a = 0; a < ARRAYS; a++) { /* before a restart, too */
        move(a, 50);
    }
    CHECK(recto_restart(NULL) == 1);
    for (uint64_t step = 1; step <= STEPS; step++) {
        oracle_advance(step);
    }
    for (uint64_t step = STEPS + 1; step < STEPS + 4; step++) {
        for (uint64_t a = 0; a < ARRAYS; a++) {
            for (uint64_t i = 0; i < BYTES; i++) {
                expect(a, i, step);
            }
        }
        CHECK_OK(recto_barrier());
        for (uint64_t a = 0; a < ARRAYS; a++) {
            move(a, step);
        }
        write_all(step);
        oracle_advance(step);
        CHECK_OK(recto_barrier());
    }
    CHECK_OK(recto_check_all());
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    seed = test_seed("seed");
    const recto_attr unsaved = {.flags = RECTO_NO_CHECKPOINT};
    node_of = recto_alloc("nodes", size() * sizeof *node_of, &unsaved);
    CHECK(node_of != NULL);
    node_of[rank()] = recto_node();
    CHECK_OK(recto_barrier());
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        write_epochs();
        return test_end("migration: checkpoints");
    }
    if (argc > 1 && strcmp(argv[1], "full") == 0) {
        full();
        return test_end("migration without kernel mappings");
    }
    if (argc > 1 && strcmp(argv[1], "small") == 0) {
        small();
        return test_end("migration: differential epochs");
    }
    if (argc > 1 && strcmp(argv[1], "read") == 0) {
        read_epochs();
        return test_end("migration: restart");
    }
    wrong();
    pinned();
    for (int a = 0; a < ARRAYS; a++) {
        free_writes(&attrs[a], true);
        free_writes(&attrs[a], false);
    }
    many(RECTO_RELEASE);
    many(RECTO_SEQUENTIAL);
    sparse();
    random_moves();
    return test_end("migration");
}
