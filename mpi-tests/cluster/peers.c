/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A job in which every rank waits for one, the victim, in the place that the argument
 * names, for ever: cluster_peers.py ends the victim, or stops it, and shows that the
 * job ends. Each rank leaves its host and pid in TEST_READY/RANK when it is about to
 * wait. The victim is the last rank.
 *
 *   peers PLACE
 *
 * A place is something that the victim holds or does not do, or a loop of calls that
 * need the victim each time, so that sooner or later all wait for it.
 */
#include <mpi.h>
#include <recto/mpi.h>
#include <stdbool.h>

#include "../mpi/test.h"

enum {
    PAGE = 4096,
    PAGES = 1 << 18,
    BLOCKS = 64
};

static int victim;
static uint64_t seed;

static void ready(void)
{
    char name[4096];
    char made[4200];
    char host[64] = {0};
    int rank = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    CHECK(getenv("TEST_READY") != NULL && gethostname(host, 63) == 0);
    snprintf(name, sizeof name, "%s/%d", getenv("TEST_READY"), rank);
    snprintf(made, sizeof made, "%s.new", name);
    FILE *f = fopen(made, "w");
    CHECK(f != NULL && fprintf(f, "%s %d\n", host, (int)getpid()) > 0 &&
          fclose(f) == 0 && rename(made, name) == 0);
}

static bool is_victim(void)
{
    return recto_rank() == victim;
}

static void rest(void)
{
    for (;;) {
        pause();
    }
}

/* Everybody is ready; the victim does nothing more, but its service thread does. */
static void part(void)
{
    ready();
    if (is_victim()) {
        rest();
    }
}

static char *pages_of(int rank, enum recto_consistency how)
{
    recto_attr attr = {.consistency = how,
                       .placement = RECTO_AT(rank),
                       .flags = RECTO_SPARSE | RECTO_NO_CHECKPOINT};
    char *p = recto_alloc("pages", (uint64_t)PAGES * PAGE, &attr);
    CHECK(p != NULL);
    return p;
}

static char *any(char *pages)
{
    return pages + test_random(&seed) % PAGES * PAGE;
}

/* ---- page faults ------------------------------------------------------------------ */

static void read_pages(enum recto_consistency how)
{
    volatile char *p = NULL;
    char *pages = pages_of(victim, how);
    part();
    for (;;) {
        p = any(pages);
        (void)*p;
    }
}

static void write_pages(enum recto_consistency how)
{
    char *pages = pages_of(victim, how);
    part();
    for (int i = 0;; i++) {
        any(pages)[recto_rank()] = 1;
        if (i % 100 == 99) {
            CHECK_OK(recto_release()); /* what was written goes to the victim */
        }
    }
}

static void read_release(void)
{
    read_pages(RECTO_RELEASE);
}

static void write_release(void)
{
    write_pages(RECTO_RELEASE);
}

static void read_sequential(void)
{
    read_pages(RECTO_SEQUENTIAL);
}

static void write_sequential(void)
{
    write_pages(RECTO_SEQUENTIAL);
}

/* The victim owns pages of others. */
static void owned(void)
{
    enum {
        OWNED = 4096
    };
    char *pages = pages_of(0, RECTO_SEQUENTIAL);
    for (int i = 0; is_victim() && i < OWNED; i++) {
        pages[i * PAGE] = 1;
    }
    CHECK_OK(recto_barrier());
    part();
    for (int i = 0;; i++) {
        volatile char *p = pages + i % OWNED * PAGE;
        (void)*p;
        if (i >= OWNED) { /* all are here: wait for the job's end, at least */
            CHECK_OK(recto_barrier());
        }
    }
}

static void atomics(void)
{
    recto_attr attr = {.placement = RECTO_AT(victim)};
    int64_t *p = recto_alloc("word", sizeof *p, &attr);
    CHECK(p != NULL);
    part();
    for (;;) {
        (void)recto_fetch_add_i64(p, 1);
    }
}

/* ---- synchronisation objects ------------------------------------------------------ */

/* The place of an object of the victim's among as many objects as ranks. */
static int at_victim(uint64_t first)
{
    int size = recto_size();
    return (victim - (int)((uint32_t)first % (uint32_t)size) + size) % size;
}

static recto_lock_t victims_lock(void)
{
    recto_lock_t locks[64];
    CHECK_OK(recto_lock_create_many(locks, (size_t)recto_size()));
    return locks[at_victim(locks[0].id)];
}

/* Held by a victim that is not the lock's home, too. */
static void lock_held(void)
{
    recto_lock_t lock;
    CHECK_OK(recto_lock_create(&lock));
    if (is_victim()) {
        CHECK_OK(recto_lock(lock));
    }
    CHECK_OK(recto_barrier());
    part();
    CHECK_OK(recto_lock(lock));
    CHECK(false);
}

/* The victim is the home only. */
static void lock_home(void)
{
    recto_lock_t lock = victims_lock();
    part();
    for (;;) {
        CHECK_OK(recto_lock(lock));
        CHECK_OK(recto_unlock(lock));
    }
}

static void rwlock(void)
{
    recto_rwlock_t lock;
    CHECK_OK(recto_rwlock_create(&lock));
    if (is_victim()) {
        CHECK_OK(recto_rwlock_wrlock(lock));
    }
    CHECK_OK(recto_barrier());
    part();
    CHECK_OK(recto_rank() == 0 ? recto_rwlock_wrlock(lock)
                               : recto_rwlock_rdlock(lock));
    CHECK(false);
}

static void event(void)
{
    recto_event_t e;
    CHECK_OK(recto_event_create(&e));
    part();
    CHECK_OK(recto_event_wait(e));
    CHECK(false);
}

static void semaphore(void)
{
    recto_sem_t s;
    CHECK_OK(recto_sem_create(&s, 0));
    part();
    CHECK_OK(recto_sem_wait(s));
    CHECK(false);
}

static void condition(void)
{
    recto_lock_t lock;
    recto_cond_t c;
    CHECK_OK(recto_lock_create(&lock));
    CHECK_OK(recto_cond_create(&c));
    part();
    CHECK_OK(recto_lock(lock));
    CHECK_OK(recto_cond_wait(c, lock));
    CHECK(false);
}

/* ---- the heap --------------------------------------------------------------------- */

/* A heap that is used up: each call asks everyone. */
static void allocate(void)
{
    part();
    for (;;) {
        (void)recto_malloc(50000);
    }
}

static void give_back(void)
{
    void **blocks = recto_alloc("blocks", BLOCKS * sizeof *blocks, NULL);
    CHECK(blocks != NULL);
    for (int i = 0; is_victim() && i < BLOCKS; i++) {
        blocks[i] = recto_malloc(100);
        CHECK(blocks[i] != NULL);
    }
    CHECK_OK(recto_barrier());
    part();
    for (int i = recto_rank(); i < BLOCKS; i += recto_size()) {
        CHECK_OK(recto_mfree(blocks[i])); /* tells the owner, and goes on */
    }
    for (;;) {
        (void)recto_malloc(50000);
    }
}

/* ---- collective calls ------------------------------------------------------------- */

static void barrier(void)
{
    part();
    CHECK_OK(recto_barrier());
    CHECK(false);
}

static void barriers(void)
{
    ready();
    for (;;) {
        CHECK_OK(recto_barrier());
    }
}

static void migrate(void)
{
    char *p = recto_alloc("moves", 64 * PAGE, NULL);
    CHECK(p != NULL);
    memset(p + (size_t)recto_rank() * PAGE, 1, PAGE);
    ready();
    for (int i = 0;; i++) {
        int to = (recto_rank() + i) % recto_size();
        CHECK_OK(recto_migrate(p + (size_t)recto_rank() * PAGE, PAGE, to));
    }
}

static void allocs(void)
{
    ready();
    for (;;) {
        void *p = recto_alloc("again", 64 * PAGE, NULL);
        CHECK(p != NULL);
        CHECK_OK(recto_free(p));
    }
}

static void checkpoint(void)
{
    char *p = recto_alloc("saved", 1 << 20, NULL);
    CHECK(p != NULL);
    ready();
    for (size_t i = 0;; i++) {
        p[(i * PAGE + (size_t)recto_rank()) % (1 << 20)]++;
        CHECK_OK(recto_checkpoint());
    }
}

static void restart(void)
{
    char *p = recto_alloc("saved", 1 << 20, NULL);
    CHECK(p != NULL);
    CHECK_OK(recto_checkpoint());
    ready();
    for (;;) {
        CHECK(recto_restart(NULL) == 1);
    }
}

static void finalize(void)
{
    part();
    (void)recto_finalize();
    CHECK(false);
}

/* The victim has not yet come to recto_init. */
static void init(int *argc, char ***argv)
{
    int level = 0;
    int rank = -1;
    int size = 0;
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    ready();
    if (rank == size - 1) {
        rest();
    }
    (void)recto_init(argc, argv);
    CHECK(false);
}

static const struct {
    const char *name;
    void (*go)(void);
} places[] = {
    {"read",             read_release    },
    {"write",            write_release   },
    {"read.sequential",  read_sequential },
    {"write.sequential", write_sequential},
    {"owned",            owned           },
    {"atomic",           atomics         },
    {"lock.held",        lock_held       },
    {"lock.home",        lock_home       },
    {"rwlock",           rwlock          },
    {"event",            event           },
    {"semaphore",        semaphore       },
    {"condition",        condition       },
    {"malloc",           allocate        },
    {"mfree",            give_back       },
    {"barrier",          barrier         },
    {"barriers",         barriers        },
    {"migrate",          migrate         },
    {"alloc",            allocs          },
    {"checkpoint",       checkpoint      },
    {"restart",          restart         },
    {"finalize",         finalize        }
};

int main(int argc, char **argv)
{
    const char *place = argc > 1 ? argv[1] : "";
    if (strcmp(place, "init") == 0) {
        init(&argc, &argv);
    }
    test_begin(&argc, &argv);
    victim = recto_size() - 1;
    /* ranks of one node take the same pages: they wait for each other, too */
    seed = (uint64_t)recto_node() + 1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(places[i].name, place) == 0) {
            places[i].go();
        }
    }
    fprintf(stderr, "no place \"%s\"\n", place);
    return 2;
}
