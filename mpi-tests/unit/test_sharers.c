/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a set of ranks in a word never loses a member, whatever is added,
 * joined and kept; that it knows nobody else while its members fit; that, when they
 * do not, it takes whole groups and no more; and that it is exact again when few
 * are kept. TEST_SEED repeats a run.
 */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "coherence/sharers.h"
#include "random.h"

enum {
    MOST = 4000,
    TURNS = 20
};

static uint64_t seed;

static const int jobs[] = {1, 2, 61, 62, 63, 64, 66, 127, 1000, MOST};
enum {
    JOBS = sizeof jobs / sizeof jobs[0]
};

/* Members that were put in, and their number. */
struct model {
    unsigned char in[MOST];
    unsigned count;
};

static uint64_t both_add(uint64_t set, struct model *m, int rank)
{
    m->count += m->in[rank] == 0;
    m->in[rank] = 1;
    return sharers_add(set, rank);
}

/* Is every member there, in ascending order, and nobody whom the form must tell
 * apart? `exact`: members fit. */
static void compare(uint64_t set, const struct model *m, bool exact)
{
    int n = sharers_form.ranks;
    ck_assert_uint_eq(set >> SHARERS_BITS, 0);
    ck_assert_int_eq(set == 0, m->count == 0);
    int next = sharers_next(set, 0);
    for (int r = 0; r < n; r++) {
        bool known = next == r;
        ck_assert_int_eq(sharers_has(set, r), known);
        ck_assert(known || m->in[r] == 0);
        ck_assert(!exact || known == (m->in[r] != 0));
        if (known) {
            next = sharers_next(set, r + 1);
        }
    }
    ck_assert_int_eq(next, SHARERS_NOBODY);
}

/* Members take their groups along, and no others. */
static void compare_groups(uint64_t set, const struct model *m)
{
    unsigned per = sharers_form.per_group;
    for (int r = 0; r < sharers_form.ranks; r++) {
        bool near = false;
        int first = (int)((unsigned)r / per * per);
        for (int i = first; i < first + (int)per && i < sharers_form.ranks;
             i++) {
            near = near || m->in[i] != 0;
        }
        ck_assert(near || !sharers_has(set, r));
    }
}

static bool fits(const struct model *m)
{
    return sharers_form.exact || m->count <= sharers_form.numbers;
}

START_TEST(nobody_is_lost)
{
    static struct model m;
    uint64_t state = seed + (uint64_t)_i;
    sharers_init(jobs[_i]);
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t set = 0;
        memset(&m, 0, sizeof m);
        compare(set, &m, true);
        unsigned adds = (unsigned)(random_next(&state) % 12);
        for (unsigned i = 0; i < adds; i++) {
            int rank = (int)(random_next(&state) % (uint64_t)jobs[_i]);
            set = both_add(set, &m, rank);
            ck_assert_uint_eq(sharers_add(set, rank), set);
        }
        compare(set, &m, fits(&m));
        if (!sharers_form.exact) {
            compare_groups(set, &m);
        }
    }
}
END_TEST

START_TEST(joined)
{
    static struct model m;
    uint64_t state = seed + (uint64_t)_i;
    sharers_init(jobs[_i]);
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t part[2] = {0, 0};
        memset(&m, 0, sizeof m);
        for (unsigned i = 0; i < random_next(&state) % 12; i++) {
            int rank = (int)(random_next(&state) % (uint64_t)jobs[_i]);
            part[i % 2] = both_add(part[i % 2], &m, rank);
        }
        compare(sharers_join(part[0], part[1]), &m, fits(&m));
        ck_assert_uint_eq(sharers_join(part[0], 0), part[0]);
        ck_assert_uint_eq(sharers_join(0, part[1]), part[1]);
    }
}
END_TEST

static bool is_multiple(int rank, int of)
{
    return rank % of == 0;
}

static bool is(int rank, int other)
{
    return rank == other;
}

START_TEST(kept)
{
    static struct model m;
    uint64_t state = seed + (uint64_t)_i;
    sharers_init(jobs[_i]);
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t set = 0;
        int rank = 0;
        memset(&m, 0, sizeof m);
        for (unsigned i = 0; i <= random_next(&state) % 20; i++) {
            rank = (int)(random_next(&state) % (uint64_t)jobs[_i]);
            set = both_add(set, &m, rank);
        }
        uint64_t some = sharers_keep(set, is_multiple, 3);
        for (int r = 0; r < jobs[_i]; r++) {
            ck_assert(m.in[r] == 0 || r % 3 != 0 || sharers_has(some, r));
        }
        /* of many, one is left: the set knows nobody else again */
        uint64_t one = sharers_keep(set, is, rank);
        memset(&m, 0, sizeof m);
        m.in[rank] = 1;
        m.count = 1;
        compare(one, &m, true);
        ck_assert_uint_eq(sharers_keep(one, is, jobs[_i]), 0);
    }
}
END_TEST

START_TEST(forms)
{
    sharers_init(62);
    ck_assert(sharers_form.exact);
    sharers_init(63);
    ck_assert(!sharers_form.exact);
    ck_assert_uint_eq(sharers_form.numbers, 10);
    sharers_init(10000);
    ck_assert_uint_eq(sharers_form.numbers, 4);
    ck_assert_uint_eq(sharers_form.per_group, 164);
    sharers_init(1000000);
    ck_assert_uint_eq(sharers_form.numbers, 3);
}
END_TEST

int main(void)
{
    seed = random_seed();
    Suite *suite = suite_create("sharers");
    TCase *tests = tcase_create("sets");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, nobody_is_lost, 0, JOBS);
    tcase_add_loop_test(tests, joined, 0, JOBS);
    tcase_add_loop_test(tests, kept, 0, JOBS);
    tcase_add_test(tests, forms);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
