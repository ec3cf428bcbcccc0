/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that the machine of sync/slot.h keeps its contract, alone and without
 * threads or MPI: each kind's rule of admission, the order of service, whom a lock
 * prefers and for how long, that no reader overtakes a waiting writer, the bounds
 * of a semaphore, a pool without waiters, stale ids; and, in a random run, that it
 * does what a plain reference of the contract does. TEST_SEED repeats a run.
 *
 * slot.c is compiled into this test once more, under other names, over the test's
 * own pool of waiters and its own machines and domains (CMakeLists.txt).
 */
#include <check.h>
#include <recto.h>
#include <stdbool.h>
#include <string.h>

#include "random.h"
#include "sync/slot.h"
#include "sync/wait.h"

enum {
    RANKS = 24,
    PER_DOMAIN = 3,
    PER_MACHINE = 6,
    WAITERS = 1 << 16, /* as many as a rank's pool has */
    TURNS = 200000,
    GENERATION = 7
};

/* ---- what the machine stands on ----------------------------------------------- */

static struct waiter pool[WAITERS + 1]; /* by id; 0 is none */
static uint64_t unused[WAITERS];
static size_t unused_count;

struct waiter *waiter_at(uint64_t id)
{
    /* not an assertion of Check, which reports each to its parent */
    return id > 0 && id <= WAITERS ? &pool[id] : NULL;
}

uint64_t waiter_begin(void)
{
    return unused_count > 0 ? unused[--unused_count] : 0;
}

void waiter_end(uint64_t id)
{
    unused[unused_count++ % WAITERS] = id; /* tests compare the count */
}

int slot_nearness(int rank, int other)
{
    return rank / PER_DOMAIN == other / PER_DOMAIN     ? 2
           : rank / PER_MACHINE == other / PER_MACHINE ? 1
                                                       : 0;
}

/* ---- operations ------------------------------------------------------------------- */

static struct slot slot;
static struct slot_outcome outcome;

static void start(enum slot_kind kind, int64_t value)
{
    slot = (struct slot){
        .generation = GENERATION, .kind = (int32_t)kind, .value = value};
    unused_count = 0;
    for (uint64_t id = WAITERS; id > 0; id--) {
        unused[unused_count++] = id;
    }
}

static int operate(enum slot_operation operation, int rank)
{
    struct slot_request q = {.operation = operation,
                             .kind = (enum slot_kind)slot.kind,
                             .generation = slot.generation,
                             .rank = rank};
    return slot_operate(&slot, &q, &outcome);
}

/* Does it, and expects the caller to be admitted or to be put in the queue. */
static void admitted(enum slot_operation operation, int rank)
{
    ck_assert_int_eq(operate(operation, rank), 0);
    ck_assert_ptr_null(outcome.queued);
}

static uint64_t queued(enum slot_operation operation, int rank)
{
    ck_assert_int_eq(operate(operation, rank), 0);
    ck_assert_ptr_nonnull(outcome.queued);
    ck_assert_ptr_eq(outcome.queued, waiter_at(outcome.waiter));
    ck_assert_int_eq(outcome.queued->rank, rank);
    ck_assert_uint_eq(outcome.admitted, 0);
    return outcome.waiter;
}

/* The next of the waiters that the last operation has admitted, which ends: its
 * rank, or -1. */
static int next(void)
{
    uint64_t id = outcome.admitted;
    if (id == 0) {
        return -1;
    }
    outcome.admitted = waiter_at(id)->next;
    waiter_end(id);
    return waiter_at(id)->rank;
}

static void give(int next_rank)
{
    ck_assert_int_eq(operate(SLOT_GIVE, 0), 0);
    ck_assert_int_eq(next(), next_rank);
    ck_assert_int_eq(next(), -1);
}

/* ---- locks -------------------------------------------------------------------------- */

START_TEST(a_lock_goes_to_those_who_wait_in_their_order)
{
    start(SLOT_LOCK, 0);
    ck_assert_int_eq(operate(SLOT_GIVE, 0), RECTO_ESTATE); /* nobody has it */
    admitted(SLOT_WAIT, 0);
    ck_assert_int_eq(operate(SLOT_TRY, 0), RECTO_EBUSY);
    for (int i = 1; i < 4; i++) { /* a machine each */
        queued(SLOT_WAIT, i * PER_MACHINE % RANKS);
    }
    ck_assert_int_eq(operate(SLOT_TRY, 1), RECTO_EBUSY);
    for (int i = 1; i < 4; i++) {
        give(i * PER_MACHINE % RANKS);
    }
    give(-1);
    ck_assert(!slot_busy(&slot));
    ck_assert_int_eq(operate(SLOT_GIVE, 0), RECTO_ESTATE);
    admitted(SLOT_TRY, 1);
    ck_assert(slot_busy(&slot));
    ck_assert_uint_eq(unused_count, WAITERS);
}
END_TEST

START_TEST(a_lock_prefers_the_domain_and_then_the_machine)
{
    start(SLOT_LOCK, 0);
    admitted(SLOT_WAIT, 0);
    queued(SLOT_WAIT, 2 * PER_MACHINE); /* elsewhere */
    queued(SLOT_WAIT, PER_DOMAIN);      /* same machine */
    queued(SLOT_WAIT, 2);               /* same domain */
    queued(SLOT_WAIT, 1);
    give(2); /* the earlier one of the domain */
    give(1);
    give(PER_DOMAIN);
    give(2 * PER_MACHINE);
    give(-1);
}
END_TEST

/* Number `behind` of the queue, from 0, is of the holder's domain, or machine. */
START_TEST(a_lock_looks_at_the_first_sixteen)
{
    for (int near = 1; near <= PER_DOMAIN; near += PER_DOMAIN - 1) {
        for (int behind = 1; behind < SLOT_LOOK + 2; behind++) {
            start(SLOT_LOCK, 0);
            admitted(SLOT_WAIT, 0);
            for (int i = 0; i < behind; i++) {
                queued(SLOT_WAIT, PER_MACHINE + i % PER_MACHINE);
            }
            queued(SLOT_WAIT, near);
            give(behind < SLOT_LOOK ? near : PER_MACHINE);
        }
    }
}
END_TEST

/* Those of the domain come back at once, and never let go of the lock. */
START_TEST(a_lock_passes_over_the_oldest_64_times)
{
    int far[] = {PER_MACHINE, 2 * PER_MACHINE, 3 * PER_MACHINE};
    start(SLOT_LOCK, 0);
    admitted(SLOT_WAIT, 0);
    for (int i = 0; i < 3; i++) {
        queued(SLOT_WAIT, far[i]);
    }
    queued(SLOT_WAIT, 1);
    for (int i = 0; i < SLOT_PASSES; i++) {
        give(1);
        queued(SLOT_WAIT, 1);
    }
    give(far[0]);
    /* it has no neighbours: order of arrival, and the count starts anew */
    queued(SLOT_WAIT, far[0] + 1);
    for (int i = 0; i < SLOT_PASSES; i++) {
        give(far[0] + 1);
        queued(SLOT_WAIT, far[0] + 1);
    }
    give(far[1]);
}
END_TEST

/* Invariant 3: number n, from 0, after at most (n + 1) * (SLOT_PASSES + 1)
 * hand-overs, though a neighbour of whoever gets it comes each time. */
START_TEST(a_lock_is_had_in_bounded_time)
{
    enum {
        LENGTH = 12
    };
    uint64_t ids[LENGTH];
    int served = 0;
    int passes = 0;
    start(SLOT_LOCK, 0);
    admitted(SLOT_WAIT, 0);
    for (int i = 0; i < LENGTH; i++) {
        ids[i] = queued(SLOT_WAIT, (2 + i % 2) * PER_MACHINE);
    }
    queued(SLOT_WAIT, 1);
    for (int k = 1; served < LENGTH; k++) {
        ck_assert_int_le(k, LENGTH * (SLOT_PASSES + 1));
        ck_assert_int_eq(operate(SLOT_GIVE, 0), 0);
        uint64_t id = outcome.admitted;
        bool old = false;
        for (int n = 0; n < LENGTH; n++) {
            if (ids[n] == id) {
                ck_assert_int_le(k, (n + 1) * (SLOT_PASSES + 1));
                ids[n] = 0;
                old = true;
            }
        }
        served += old;
        passes += !old;
        int holder = next();
        queued(SLOT_WAIT, holder - holder % PER_DOMAIN + (holder + 1) % 3);
    }
    ck_assert_int_gt(passes, SLOT_PASSES); /* else this shows nothing */
}
END_TEST

/* ---- reader-writer locks ---------------------------------------------------------------- */

START_TEST(no_reader_overtakes_a_waiting_writer)
{
    start(SLOT_RWLOCK, 0);
    admitted(SLOT_WAIT_SHARED, 0);
    admitted(SLOT_TRY_SHARED, 1); /* readers are together */
    ck_assert_int_eq(operate(SLOT_TRY, 2), RECTO_EBUSY);
    queued(SLOT_WAIT, 2); /* a writer */
    queued(SLOT_WAIT_SHARED, 1);
    ck_assert_int_eq(operate(SLOT_TRY_SHARED, 0), RECTO_EBUSY);
    queued(SLOT_WAIT_SHARED, 0);
    queued(SLOT_WAIT, 3);
    queued(SLOT_WAIT_SHARED, 4);
    give(-1); /* one reader is left */
    give(2);
    ck_assert_int_eq(operate(SLOT_GIVE, 2), 0); /* both that stood in between */
    ck_assert_int_eq(next(), 1);
    ck_assert_int_eq(next(), 0);
    ck_assert_int_eq(next(), -1);
    give(-1);
    give(3);
    give(4);
    give(-1);
    ck_assert(!slot_busy(&slot));
    ck_assert_int_eq(operate(SLOT_GIVE, 0), RECTO_ESTATE);
    admitted(SLOT_TRY, 5);
    ck_assert_int_eq(operate(SLOT_TRY_SHARED, 0), RECTO_EBUSY);
}
END_TEST

/* ---- semaphores ------------------------------------------------------------------------------ */

START_TEST(a_semaphore_counts_up_to_its_bounds)
{
    start(SLOT_SEM, 2);
    admitted(SLOT_WAIT, 0);
    admitted(SLOT_TRY, 0);
    ck_assert_int_eq(operate(SLOT_TRY, 0), RECTO_EBUSY);
    queued(SLOT_WAIT, 9);
    queued(SLOT_WAIT, 1); /* nearer, but no lock: in order */
    give(9);
    give(1);
    give(-1);
    ck_assert_int_eq(slot.value, 1);
    ck_assert(!slot_busy(&slot)); /* a count is not held */
    slot.value = INT64_MAX - 1;
    give(-1);
    ck_assert_int_eq(operate(SLOT_GIVE, 0), RECTO_ESTATE);
    ck_assert_int_eq(slot.value, INT64_MAX);
    admitted(SLOT_WAIT, 0);
    give(-1);
}
END_TEST

/* ---- events and conditions ------------------------------------------------------------------- */

START_TEST(an_event_lets_all_pass_until_it_is_cleared)
{
    start(SLOT_EVENT, 0);
    ck_assert_int_eq(operate(SLOT_TRY, 0), RECTO_EBUSY);
    for (int r = 0; r < RANKS; r++) {
        queued(SLOT_WAIT, r);
    }
    ck_assert(slot_busy(&slot));
    ck_assert_int_eq(operate(SLOT_GIVE, 0), 0);
    for (int r = 0; r < RANKS; r++) {
        ck_assert_int_eq(next(), r);
    }
    ck_assert_int_eq(next(), -1);
    admitted(SLOT_WAIT, 1);
    give(-1); /* set twice is set */
    admitted(SLOT_TRY, 2);
    ck_assert_int_eq(operate(SLOT_CLEAR, 0), 0);
    ck_assert_int_eq(operate(SLOT_TRY, 0), RECTO_EBUSY);
    ck_assert(!slot_busy(&slot));
}
END_TEST

START_TEST(a_condition_wakes_those_who_wait_and_remembers_nothing)
{
    start(SLOT_COND, 0);
    give(-1);
    ck_assert_int_eq(operate(SLOT_GIVE_ALL, 0), 0);
    ck_assert_int_eq(next(), -1);
    for (int r = 0; r < 5; r++) {
        queued(SLOT_WAIT, r * PER_MACHINE % RANKS);
    }
    give(0);
    give(PER_MACHINE);
    ck_assert_int_eq(operate(SLOT_GIVE_ALL, 0), 0);
    for (int r = 2; r < 5; r++) {
        ck_assert_int_eq(next(), r * PER_MACHINE % RANKS);
    }
    ck_assert_int_eq(next(), -1);
    ck_assert_int_eq(slot.value, 0);
    queued(SLOT_WAIT, 0); /* what was broadcast is gone */
}
END_TEST

static int leave(uint64_t waiter, uint64_t token, int rank)
{
    struct slot_request q = {.operation = SLOT_LEAVE,
                             .kind = SLOT_COND,
                             .generation = GENERATION,
                             .rank = rank,
                             .token = token,
                             .waiter = waiter};
    return slot_operate(&slot, &q, &outcome);
}

START_TEST(who_leaves_a_condition_is_gone_or_was_woken)
{
    for (int which = 0; which < 4; which++) { /* first, in the middle, last */
        uint64_t ids[4];
        start(SLOT_COND, 0);
        for (int r = 0; r < 4; r++) {
            struct slot_request q = {.operation = SLOT_WAIT,
                                     .kind = SLOT_COND,
                                     .generation = GENERATION,
                                     .rank = r,
                                     .token = r % 2 == 0 ? 0 : 100};
            ck_assert_int_eq(slot_operate(&slot, &q, &outcome), 0);
            ids[r] = outcome.waiter;
        }
        /* a token is of its rank: others have the same */
        ck_assert_int_eq(leave(0, 100, 0), RECTO_EBUSY);
        uint64_t token = which % 2 == 0 ? 0 : 100;
        uint64_t id = token == 0 ? ids[which] : 0;
        ck_assert_int_eq(leave(id, token, which), 0);
        ck_assert_uint_eq(unused_count, WAITERS - 3);
        for (int r = 0; r < 4; r++) {
            if (r != which) {
                give(r);
            }
        }
        ck_assert_int_eq(leave(id, token, which), RECTO_EBUSY);
        ck_assert(!slot_busy(&slot));
        queued(SLOT_WAIT, 5); /* first and last are consistent again */
        queued(SLOT_WAIT, 6);
        give(5);
        give(6);
    }
}
END_TEST

/* ---- errors ------------------------------------------------------------------------------------ */

START_TEST(a_pool_without_waiters_is_told_and_changes_nothing)
{
    start(SLOT_SEM, 0);
    for (int i = 0; i < WAITERS; i++) {
        queued(SLOT_WAIT, i % RANKS);
    }
    ck_assert_uint_eq(unused_count, 0);
    struct slot before = slot;
    ck_assert_int_eq(operate(SLOT_WAIT, 3), RECTO_ENOMEM);
    ck_assert_ptr_null(outcome.queued);
    ck_assert_uint_eq(outcome.admitted, 0);
    ck_assert_mem_eq(&slot, &before, sizeof slot);
    ck_assert_int_eq(operate(SLOT_TRY, 3), RECTO_EBUSY);
    give(0);
    queued(SLOT_WAIT, 3); /* there is room again */
    int wrong = 0;
    for (int i = 1; i < WAITERS; i++) {
        wrong += operate(SLOT_GIVE, 0) != 0 || next() != i % RANKS;
    }
    ck_assert_int_eq(wrong, 0);
    give(3);
    give(-1);
    ck_assert_uint_eq(unused_count, WAITERS);
}
END_TEST

START_TEST(a_stale_id_or_another_kind_is_refused)
{
    for (int kind = SLOT_LOCK; kind < SLOT_KINDS; kind++) {
        start((enum slot_kind)kind, 1);
        struct slot before = slot;
        for (int o = 0; o < SLOT_OPERATIONS; o++) {
            struct slot_request q = {.operation = (enum slot_operation)o,
                                     .kind = (enum slot_kind)kind,
                                     .generation = GENERATION - 1};
            ck_assert_int_eq(slot_operate(&slot, &q, &outcome), RECTO_ENOENT);
            q.generation = GENERATION + 1;
            ck_assert_int_eq(slot_operate(&slot, &q, &outcome), RECTO_ENOENT);
            q.generation = GENERATION;
            q.kind = kind == SLOT_LOCK ? SLOT_SEM : SLOT_LOCK;
            ck_assert_int_eq(slot_operate(&slot, &q, &outcome), RECTO_ENOENT);
            ck_assert_mem_eq(&slot, &before, sizeof slot);
            ck_assert_uint_eq(unused_count, WAITERS);
        }
    }
}
END_TEST

/* ---- at random, against a reference --------------------------------------------------------------- */

enum {
    MOST = 60 /* waiters of the reference */
};

struct waiting {
    int rank;
    bool shared;
    uint64_t token; /* all different */
};

/* The contract of slot.h, by arrays. */
static struct {
    enum slot_kind kind;
    bool locked;    /* lock: held; rwlock: by a writer; event: set */
    uint64_t count; /* readers; semaphore */
    int holder;
    struct waiting queue[MOST];
    int length;
    int passed;
    struct waiting woken[MOST];
    int woken_count;
} reference;

static bool may_enter(bool shared)
{
    switch (reference.kind) {
    case SLOT_LOCK: return !reference.locked;
    case SLOT_RWLOCK:
        return !reference.locked && (shared || reference.count == 0);
    case SLOT_EVENT: return reference.locked;
    case SLOT_SEM: return reference.count > 0;
    default: return false;
    }
}

static void do_enter(int rank, bool shared)
{
    switch (reference.kind) {
    case SLOT_LOCK:
        reference.locked = true;
        reference.holder = rank;
        break;
    case SLOT_RWLOCK:
        reference.locked = !shared;
        reference.count += shared;
        break;
    case SLOT_SEM: reference.count--; break;
    default: break;
    }
}

static struct waiting take(int at)
{
    struct waiting w = reference.queue[at];
    reference.length--;
    memmove(&reference.queue[at], &reference.queue[at + 1],
            (size_t)(reference.length - at) * sizeof w);
    reference.passed = at == 0 ? 0 : reference.passed + 1;
    return w;
}

static void wake(int at)
{
    struct waiting w = take(at);
    do_enter(w.rank, w.shared);
    reference.woken[reference.woken_count++] = w;
}

/* The nearest among the first sixteen, the earliest of equals. */
static int preferred(void)
{
    int best = 0;
    for (int i = 1; i < reference.length && i < SLOT_LOOK; i++) {
        best =
            slot_nearness(reference.holder, reference.queue[i].rank) >
                    slot_nearness(reference.holder, reference.queue[best].rank)
                ? i
                : best;
    }
    return reference.passed < SLOT_PASSES ? best : 0;
}

static void wake_all(void)
{
    while (reference.length > 0 && may_enter(reference.queue[0].shared)) {
        wake(reference.kind == SLOT_LOCK ? preferred() : 0);
    }
}

static int reference_give(bool all)
{
    int left = all ? reference.length : 1;
    switch (reference.kind) {
    case SLOT_COND:
        while (left-- > 0 && reference.length > 0) {
            reference.woken[reference.woken_count++] = take(0);
        }
        return 0;
    case SLOT_EVENT: reference.locked = true; break;
    case SLOT_SEM: reference.count++; break;
    default:
        if (!reference.locked && reference.count == 0) {
            return RECTO_ESTATE;
        }
        reference.count -= reference.locked ? 0 : 1;
        reference.locked = false;
    }
    wake_all();
    return 0;
}

static int reference_leave(uint64_t token)
{
    for (int i = 0; i < reference.length; i++) {
        if (reference.queue[i].token == token) {
            int passed = reference.passed;
            (void)take(i);
            reference.passed = i == 0 ? 0 : passed;
            return 0;
        }
    }
    return RECTO_EBUSY;
}

static int reference_operate(const struct slot_request *q, bool *waits)
{
    bool shared =
        q->operation == SLOT_WAIT_SHARED || q->operation == SLOT_TRY_SHARED;
    *waits = false;
    switch (q->operation) {
    case SLOT_GIVE: return reference_give(false);
    case SLOT_GIVE_ALL: return reference_give(true);
    case SLOT_CLEAR: reference.locked = false; return 0;
    case SLOT_LEAVE: return reference_leave(q->token);
    default: break;
    }
    if (reference.length == 0 && may_enter(shared)) {
        do_enter(q->rank, shared);
        return 0;
    }
    if (q->operation == SLOT_TRY || q->operation == SLOT_TRY_SHARED) {
        return RECTO_EBUSY;
    }
    *waits = true;
    reference.queue[reference.length++] =
        (struct waiting){q->rank, shared, q->token};
    return 0;
}

static uint64_t state;

static uint64_t number(uint64_t below)
{
    return (random_next(&state) >> 33) % below;
}

/* Operations that the public calls make on a kind. */
static enum slot_operation random_operation(enum slot_kind kind, uint64_t turn)
{
    static const enum slot_operation of_kind[SLOT_KINDS][4] = {
        [SLOT_LOCK] = {SLOT_TRY,      SLOT_TRY,        SLOT_TRY,         SLOT_TRY  },
        [SLOT_RWLOCK] = {SLOT_TRY,      SLOT_TRY_SHARED, SLOT_WAIT_SHARED,
                       SLOT_WAIT_SHARED                                            },
        [SLOT_EVENT] = {SLOT_TRY,      SLOT_CLEAR,      SLOT_CLEAR,       SLOT_CLEAR},
        [SLOT_COND] = {SLOT_GIVE_ALL, SLOT_LEAVE,      SLOT_LEAVE,       SLOT_LEAVE},
        [SLOT_SEM] = {SLOT_TRY,      SLOT_TRY,        SLOT_TRY,         SLOT_TRY  },
    };
    /* queues become long, and short again */
    uint64_t gives = reference.length > MOST - 2 ? 100
                     : turn / 500 % 2 == 0       ? 20
                                                 : 60;
    uint64_t roll = number(100);
    return roll < gives       ? SLOT_GIVE
           : number(100) < 30 ? of_kind[kind][number(4)]
                              : SLOT_WAIT;
}

/* Both must have woken the same waiters in the same order. */
static bool woken_agree(void)
{
    int i = 0;
    uint64_t id = outcome.admitted;
    for (; id != 0 && i < reference.woken_count; i++) {
        const struct waiter *w = waiter_at(id);
        if (w->token != reference.woken[i].token ||
            w->rank != reference.woken[i].rank) {
            return false;
        }
        id = w->next;
    }
    bool same = id == 0 && i == reference.woken_count;
    while (same && next() >= 0) {
    }
    return same;
}

static bool agree(uint64_t turn)
{
    bool waits = false;
    reference.woken_count = 0;
    struct slot_request q = {.operation =
                                 random_operation(reference.kind, turn),
                             .kind = reference.kind,
                             .generation = GENERATION,
                             .rank = (int32_t)number(RANKS),
                             .token = turn + 1};
    if (q.operation == SLOT_LEAVE && reference.length > 0) {
        const struct waiting *w =
            &reference.queue[number((uint64_t)reference.length)];
        q.token = number(4) > 0 ? w->token : q.token;
        q.rank = w->rank;
    }
    int want = reference_operate(&q, &waits);
    int got = slot_operate(&slot, &q, &outcome);
    bool holds =
        (reference.kind == SLOT_LOCK || reference.kind == SLOT_RWLOCK) &&
        (reference.locked || reference.count > 0);
    return got == want && (outcome.queued != NULL) == waits && woken_agree() &&
           slot_busy(&slot) == (reference.length > 0 || holds) &&
           unused_count == (size_t)(WAITERS - reference.length);
}

START_TEST(does_what_the_reference_does)
{
    enum slot_kind kind = (enum slot_kind)_i;
    int64_t value = kind == SLOT_SEM ? 3 : 0;
    start(kind, value);
    memset(&reference, 0, sizeof reference);
    reference.kind = kind;
    reference.count = (uint64_t)value;
    int longest = 0;
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        if (!agree(turn)) {
            ck_abort_msg("kind %d, turn %llu", _i, (unsigned long long)turn);
        }
        longest = reference.length > longest ? reference.length : longest;
    }
    ck_assert_int_gt(longest, SLOT_LOOK); /* else the run showed little */
}
END_TEST

int main(void)
{
    state = random_seed();
    Suite *suite = suite_create("slot");
    TCase *tests = tcase_create("slot");
    tcase_add_test(tests, a_lock_goes_to_those_who_wait_in_their_order);
    tcase_add_test(tests, a_lock_prefers_the_domain_and_then_the_machine);
    tcase_add_test(tests, a_lock_looks_at_the_first_sixteen);
    tcase_add_test(tests, a_lock_passes_over_the_oldest_64_times);
    tcase_add_test(tests, a_lock_is_had_in_bounded_time);
    tcase_add_test(tests, no_reader_overtakes_a_waiting_writer);
    tcase_add_test(tests, a_semaphore_counts_up_to_its_bounds);
    tcase_add_test(tests, an_event_lets_all_pass_until_it_is_cleared);
    tcase_add_test(tests,
                   a_condition_wakes_those_who_wait_and_remembers_nothing);
    tcase_add_test(tests, who_leaves_a_condition_is_gone_or_was_woken);
    tcase_add_test(tests, a_pool_without_waiters_is_told_and_changes_nothing);
    tcase_add_test(tests, a_stale_id_or_another_kind_is_refused);
    tcase_add_loop_test(tests, does_what_the_reference_does, SLOT_LOCK,
                        SLOT_KINDS);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
