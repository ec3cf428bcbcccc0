/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Litmus tests of sequential consistency: MP, SB, LB, CoRR and IRIW, each over
 * thousands of instances. An instance is a pair of words x[i], y[i] on two
 * pages with different homes; a role runs down the instances in order, so all
 * roles fight for the same pages. Outcomes that sequential consistency forbids
 * must never appear; what did appear is printed.
 *
 * A role is a thread; roles are dealt out over the ranks, so that the tests
 * mean something on one rank too. argv[1]: rounds of 512 instances.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "../mpi/test.h"

enum {
    INSTANCES = 512,
    ROLES = 4,
    WORDS = 512, /* of a page */
    SPREAD = 64  /* pages of x, and of y */
};

typedef _Atomic int64_t word;

static word *x;
static word *y;
static int64_t (*seen)[ROLES][2]; /* results: shared, by instance and role */
static uint64_t seed;
static int round_now;

struct litmus {
    const char *name;
    int roles;
    void (*role)(int role, int i);
    int (*forbidden)(int64_t (*s)[2]); /* s[role][0..1] */
};

/* Now and then a role loses its step. */
static void stumble(int role, int i)
{
    if (test_hash(seed, (uint64_t)role, (uint64_t)i) % 16 == 0) {
        usleep((useconds_t)(test_hash(seed, (uint64_t)i, 7) % 60));
    }
}

static void set(int role, int i, int64_t a, int64_t b)
{
    seen[i][role][0] = a;
    seen[i][role][1] = b;
}

/* Where an instance's words lie: side by side, or, so that pages are given up all
 * the time, each on the page after the last one's. */
static int place(int i)
{
    return test_evicts() ? i % SPREAD * WORDS + i / SPREAD : i;
}

static size_t words(void)
{
    return test_evicts() ? (size_t)SPREAD * WORDS : WORDS;
}

static void mp_role(int role, int i)
{
    if (role == 0) {
        atomic_store(&x[place(i)], 1);
        atomic_store(&y[place(i)], 1);
    } else {
        int64_t flag = atomic_load(&y[place(i)]);
        set(role, i, flag, atomic_load(&x[place(i)]));
    }
}

static int mp_forbidden(int64_t (*s)[2])
{
    return s[1][0] == 1 && s[1][1] == 0;
}

static void sb_role(int role, int i)
{
    if (role == 0) {
        atomic_store(&x[place(i)], 1);
        set(role, i, atomic_load(&y[place(i)]), 0);
    } else {
        atomic_store(&y[place(i)], 1);
        set(role, i, atomic_load(&x[place(i)]), 0);
    }
}

static int sb_forbidden(int64_t (*s)[2])
{
    return s[0][0] == 0 && s[1][0] == 0;
}

static void lb_role(int role, int i)
{
    if (role == 0) {
        int64_t r = atomic_load(&x[place(i)]);
        atomic_store(&y[place(i)], 1);
        set(role, i, r, 0);
    } else {
        int64_t r = atomic_load(&y[place(i)]);
        atomic_store(&x[place(i)], 1);
        set(role, i, r, 0);
    }
}

static int lb_forbidden(int64_t (*s)[2])
{
    return s[0][0] == 1 && s[1][0] == 1;
}

static void corr_role(int role, int i)
{
    if (role == 0) {
        atomic_store(&x[place(i)], 1);
        atomic_store(&x[place(i)], 2);
    } else {
        int64_t first = atomic_load(&x[place(i)]);
        set(role, i, first, atomic_load(&x[place(i)]));
    }
}

static int corr_forbidden(int64_t (*s)[2])
{
    return s[1][0] > s[1][1] || s[2][0] > s[2][1];
}

static void iriw_role(int role, int i)
{
    int64_t first;
    switch (role) {
    case 0: atomic_store(&x[place(i)], 1); break;
    case 1: atomic_store(&y[place(i)], 1); break;
    case 2:
        first = atomic_load(&x[place(i)]);
        set(role, i, first, atomic_load(&y[place(i)]));
        break;
    default:
        first = atomic_load(&y[place(i)]);
        set(role, i, first, atomic_load(&x[place(i)]));
        break;
    }
}

static int iriw_forbidden(int64_t (*s)[2])
{
    return s[2][0] == 1 && s[2][1] == 0 && s[3][0] == 1 && s[3][1] == 0;
}

static const struct litmus tests[] = {
    {"MP",   2, mp_role,   mp_forbidden  },
    {"SB",   2, sb_role,   sb_forbidden  },
    {"LB",   2, lb_role,   lb_forbidden  },
    {"CoRR", 3, corr_role, corr_forbidden},
    {"IRIW", 4, iriw_role, iriw_forbidden},
};

struct part {
    const struct litmus *test;
    int role;
};

static void *part_run(void *argument)
{
    struct part *p = argument;
    for (int i = 0; i < INSTANCES; i++) {
        stumble(p->role, i + round_now * INSTANCES);
        p->test->role(p->role, i);
    }
    return NULL;
}

/* Role r of a round belongs to this rank? They go round. */
static int mine(int role)
{
    return (role + round_now) % recto_size() == recto_rank();
}

static void round_run(const struct litmus *t)
{
    struct part parts[ROLES];
    pthread_t threads[ROLES];
    for (int r = 0; r < t->roles; r++) {
        parts[r] = (struct part){t, r};
        if (mine(r)) {
            CHECK_OK(pthread_create(&threads[r], NULL, part_run, &parts[r]));
        }
    }
    for (int r = 0; r < t->roles; r++) {
        if (mine(r)) {
            CHECK_OK(pthread_join(threads[r], NULL));
        }
    }
}

/* Counts the outcomes that differ between the roles' first readings. */
static void judge(const struct litmus *t, long *mixed)
{
    for (int i = 0; i < INSTANCES; i++) {
        if (t->forbidden(seen[i])) {
            fprintf(stderr, "%s: forbidden outcome, round %d instance %d\n",
                    t->name, round_now, i);
        }
        CHECK(!t->forbidden(seen[i]));
        int64_t last = seen[i][t->roles - 1][0];
        *mixed += last != seen[0][t->roles - 1][0];
    }
}

static void test_run(const struct litmus *t, int rounds)
{
    long mixed = 0;
    for (round_now = 0; round_now < rounds; round_now++) {
        if (recto_rank() == round_now % recto_size()) {
            memset((void *)x, 0, words() * sizeof *x);
            memset((void *)y, 0, words() * sizeof *y);
            memset(seen, 0, INSTANCES * sizeof *seen);
        }
        CHECK_OK(recto_barrier());
        round_run(t);
        CHECK_OK(recto_barrier());
        if (recto_rank() == 0) {
            judge(t, &mixed);
        }
        CHECK_OK(recto_barrier());
    }
    if (recto_rank() == 0) {
        printf("%-5s %d instances, none forbidden, %ld differ from the first\n",
               t->name, rounds * INSTANCES, mixed);
    }
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    int rounds = argc > 1 ? atoi(argv[1]) : 8;
    seed = test_seed("seed");
    recto_attr here = {.consistency = RECTO_SEQUENTIAL};
    recto_attr there = {.consistency = RECTO_SEQUENTIAL,
                        .placement = RECTO_AT(recto_size() - 1)};
    x = recto_alloc("x", words() * sizeof *x, &here);
    y = recto_alloc("y", words() * sizeof *y, &there);
    seen = recto_alloc("seen", INSTANCES * sizeof *seen, &here);
    CHECK(x != NULL && y != NULL && seen != NULL);
    for (size_t k = 0; k < sizeof tests / sizeof tests[0]; k++) {
        test_run(&tests[k], rounds);
        CHECK_OK(recto_check_all());
    }
    return test_end("litmus");
}
