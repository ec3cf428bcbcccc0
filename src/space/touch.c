/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RECTO_FIRST_TOUCH: the rank that first accesses a granule becomes its home.
 *
 * Each granule has a *keeper*, the rank that block placement would make its
 * home (of the heap stripes go round the ranks); the word that decides lies in the memory of the keeper's domain. Ranks
 * that share with the keeper read and claim it by CPU atomics; others ask the
 * keeper's service thread and note the answer in the word at the same place in
 * their own domain's memory:
 *
 *   thread                 its service thread      keeper's service thread
 *     |-- ask, claim or not ------------------------------>| claims for it
 *     | waits                  |<-- home ------------------|
 *     |                        | notes, wakes
 *
 * Invariants
 * 1. A word is 0 (nobody, or not known here) or home + 1, and then stays.
 * 2. A rank asks for the home before it takes a right to a page or sends a
 *    message about it; until then block placement stands in, and the page reads
 *    as zero everywhere.
 * 3. Who gets a message as home of a page is it, even if the answer to its own
 *    claim is still under way (space_home_learn).
 * 4. Nothing is waited for under a lock that the service thread takes.
 */
#include "space/touch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "space/moved.h"

enum touch_message {
    TOUCH_ASK,   /* a = granule, b = wait, c = claim, d = granules */
    TOUCH_ANSWER /* the same, c = word of the first */
};

struct touch_wait {
    _Atomic uint32_t done; /* futex word */
    uint32_t word;
};

static uint64_t granules(const struct space_segment *s)
{
    return (s->pages + s->granule_pages - 1) / s->granule_pages;
}

uint64_t space_touch_bytes(const struct space_segment *s)
{
    return space_touches(s) ? granules(s) * sizeof(uint32_t) : 0;
}

/* ---- keepers: granules in blocks, or in stripes of the heap ----------------------- */

enum {
    STRIPE = 16
};

/* Granules that one rank keeps, at most. */
static uint64_t kept(const struct space_segment *s)
{
    uint64_t unit = s->heap ? STRIPE : 1;
    uint64_t share = unit * (uint64_t)net_size();
    return (granules(s) + share - 1) / share * unit;
}

static int keeper(const struct space_segment *s, uint64_t granule)
{
    return s->heap ? (int)(granule / STRIPE % (uint64_t)net_size())
                   : (int)(granule / kept(s));
}

/* The i-th granule that a rank keeps; it may lie behind the last. */
static uint64_t kept_granule(const struct space_segment *s, uint64_t rank,
                             uint64_t i)
{
    return s->heap ? (i / STRIPE * (uint64_t)net_size() + rank) * STRIPE +
                         i % STRIPE
                   : rank * kept(s) + i;
}

static _Atomic uint32_t *words(const struct space_segment *s, int domain)
{
    return (_Atomic uint32_t *)(void *)(s->versos[domain] +
                                        space_touch_offset(s));
}

static _Atomic uint32_t *word_of(const struct space_segment *s,
                                 uint64_t granule)
{
    int domain = net_domain_of(keeper(s, granule));
    return &words(s,
                  s->versos[domain] != NULL ? domain : net_domain())[granule];
}

/* ---- lookup ---------------------------------------------------------------------- */

static bool decided(const struct space_segment *s, uint64_t page)
{
    return atomic_load_explicit(word_of(s, page / s->granule_pages),
                                memory_order_acquire) != 0;
}

bool space_home_known(const struct space_segment *s, uint64_t page)
{
    return !space_touches(s) || space_moved_at(s, page) != NULL ||
           decided(s, page);
}

int space_touch_home(const struct space_segment *s, uint64_t page)
{
    uint64_t granule = page / s->granule_pages;
    uint32_t word =
        atomic_load_explicit(word_of(s, granule), memory_order_acquire);
    return word != 0 ? (int)word - 1 : keeper(s, granule);
}

bool space_touch_run(const struct space_segment *s, int rank, uint64_t from,
                     uint64_t limit, uint64_t *first, uint64_t *count)
{
    uint64_t page = from;
    while (page < limit && space_touch_home(s, page) != rank) {
        page = (page / s->granule_pages + 1) * s->granule_pages;
    }
    if (page >= limit) {
        return false;
    }
    bool known = decided(s, page);
    *first = page;
    do {
        page = (page / s->granule_pages + 1) * s->granule_pages;
    } while (page < limit && space_touch_home(s, page) == rank &&
             decided(s, page) == known);
    *count = (page < limit ? page : limit) - *first;
    return true;
}

void space_home_learn(struct space_segment *s, uint64_t page)
{
    if (space_touches(s) && space_moved_at(s, page) == NULL) {
        uint32_t nobody = 0;
        atomic_compare_exchange_strong_explicit(
            word_of(s, page / s->granule_pages), &nobody,
            (uint32_t)net_rank() + 1, memory_order_acq_rel,
            memory_order_relaxed);
    }
}

/* ---- claims ------------------------------------------------------------------------- */

/* Where I reach the deciding word. Returns what it is afterwards. */
static uint32_t decide(struct space_segment *s, uint64_t granule, int rank)
{
    uint32_t word = 0;
    uint32_t claim = (uint32_t)rank + 1;
    return atomic_compare_exchange_strong_explicit(word_of(s, granule), &word,
                                                   claim, memory_order_acq_rel,
                                                   memory_order_acquire)
               ? claim
               : word;
}

static void post(int target, enum touch_message type, struct net_msg msg)
{
    msg.service = NET_SERVICE_SPACE;
    msg.type = (uint8_t)type;
    net_post(target, &msg);
}

/* For `count` granules of one keeper; returns the word of the first. */
static uint32_t ask(struct space_segment *s, uint64_t granule, bool claim,
                    uint64_t count)
{
    struct touch_wait wait = {0};
    net_mpi_wait(s->recto + granule * s->granule_pages * SPACE_PAGE);
    int target = keeper(s, granule);
    post(target, TOUCH_ASK,
         (struct net_msg){.object = s->id,
                          .a = granule,
                          .b = (uintptr_t)&wait,
                          .c = claim,
                          .d = count});
    net_await_begin();
    while (atomic_load_explicit(&wait.done, memory_order_acquire) == 0) {
        if (net_futex_wait((const uint32_t *)&wait.done, 0, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": rank %d on %s did not tell the home of page "
                       "%lu within %s",
                       s->name, target, net_host(target),
                       (unsigned long)(granule * s->granule_pages),
                       base_env_name(BASE_ENV_TIMEOUT));
        }
    }
    net_await_end();
    return wait.word;
}

static int find(struct space_segment *s, uint64_t page, bool claim)
{
    uint64_t granule = page / s->granule_pages;
    if (space_home_known(s, page)) {
        return space_home(s, page);
    }
    uint32_t word = 0;
    if (!net_shares(keeper(s, granule))) {
        word = ask(s, granule, claim, 1);
    } else if (claim) {
        word = decide(s, granule, net_rank());
    }
    return word != 0 ? (int)word - 1 : keeper(s, granule);
}

int space_home_claim(struct space_segment *s, uint64_t page)
{
    return space_touches(s) ? find(s, page, true) : space_home(s, page);
}

int space_home_ask(struct space_segment *s, uint64_t page)
{
    return space_touches(s) && net_domains() > 1 ? find(s, page, false)
                                                 : space_home(s, page);
}

void space_homes_claim(struct space_segment *s, uint64_t first, uint64_t count)
{
    uint64_t granule = first / s->granule_pages;
    uint64_t end = granule + count / s->granule_pages;
    if (!space_touches(s)) {
        return;
    }
    while (granule < end) {
        uint64_t run = 1;
        while (granule + run < end &&
               keeper(s, granule + run) == keeper(s, granule)) {
            run++;
        }
        if (!net_shares(keeper(s, granule))) {
            (void)ask(s, granule, true, run);
        }
        for (uint64_t g = granule; g < granule + run; g++) {
            uint32_t word = decide(s, g, net_rank());
            RECTO_ASSERT((int)word == net_rank() + 1);
            (void)word;
        }
        granule += run;
    }
}

static void asked(struct space_segment *s, const struct net_msg *msg)
{
    struct net_msg answer = *msg;
    answer.c = msg->c != 0 ? decide(s, msg->a, msg->source)
                           : atomic_load_explicit(word_of(s, msg->a),
                                                  memory_order_acquire);
    for (uint64_t i = 1; msg->c != 0 && i < msg->d; i++) {
        (void)decide(s, msg->a + i, msg->source);
    }
    post(msg->source, TOUCH_ANSWER, answer);
}

static void receive(const struct net_msg *msg)
{
    struct space_segment *s = space_segment_by_id(msg->object);
    if (s == NULL) {
        base_fatal("first touch: a message for a segment that does not exist");
    }
    if (msg->type == TOUCH_ASK) {
        asked(s, msg);
        return;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    struct touch_wait *w = (struct touch_wait *)(uintptr_t)msg->b;
    if (msg->c != 0) {
        atomic_store_explicit(word_of(s, msg->a), (uint32_t)msg->c,
                              memory_order_release);
    }
    w->word = (uint32_t)msg->c;
    /* *w may be gone after the store, so the wake is on an address only */
    atomic_store_explicit(&w->done, 1, memory_order_release);
    net_futex_wake((const uint32_t *)&w->done, 1, false);
}

void space_touch_init(void)
{
    net_service_receiver(NET_SERVICE_SPACE, receive);
}

/* ---- what all ranks do together ------------------------------------------------------- */

/* The words that I keep, where I reach them myself. */
static void kept_copy(const struct space_segment *s, uint32_t *out, bool settle)
{
    for (uint64_t i = 0; i < kept(s); i++) {
        uint64_t granule = kept_granule(s, (uint64_t)net_rank(), i);
        if (granule >= granules(s)) {
            break;
        }
        _Atomic uint32_t *word = word_of(s, granule);
        uint32_t nobody = 0;
        if (settle) {
            atomic_compare_exchange_strong_explicit(
                word, &nobody, (uint32_t)net_rank() + 1, memory_order_acq_rel,
                memory_order_relaxed);
        }
        out[i] = atomic_load_explicit(word, memory_order_acquire);
    }
}

int space_homes_share(struct space_segment *s, bool settle)
{
    if (!space_touches(s) || s->settled) {
        return 0;
    }
    bool decides = settle && !s->heap;
    uint64_t n = kept(s);
    uint32_t *mine = calloc(n, sizeof *mine);
    uint32_t *all = calloc(n * (uint64_t)net_size(), sizeof *all);
    int r = mine != NULL && all != NULL
                ? 0
                : base_error(RECTO_ENOMEM, "homes of \"%s\"", s->name);
    r = net_verdict(r);
    if (r == 0) {
        kept_copy(s, mine, decides);
        r = net_allgather(mine, n * sizeof *mine, all);
    }
    for (uint64_t i = 0; r == 0 && i < n * (uint64_t)net_size(); i++) {
        if (all[i] != 0) {
            uint64_t g = kept_granule(s, i / n, i % n);
            atomic_store_explicit(word_of(s, g), all[i], memory_order_release);
        }
    }
    free(mine);
    free(all);
    r = net_verdict(r);
    s->settled = r == 0 && decides;
    return r;
}
