/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RECTO_FIRST_TOUCH: the rank that first accesses a granule becomes its home.
 *
 * Each granule has a *keeper*, the rank that block placement would make its
 * home (of the heap stripes go round the ranks); the word that decides lies in the
 * memory of the keeper's domain. Ranks that share with the keeper read and claim it by
 * CPU atomics; others ask the keeper's service thread and note the answer in the word
 * at the same place in their own domain's memory:
 *
 *   thread                 its service thread      keeper's service thread
 *     |-- ask, claim or not ------------------------------>| claims for it
 *     | waits                  |<-- home ------------------|
 *     |                        | notes, wakes
 *
 * The answer brings the words of the granules behind it that the keeper keeps too,
 * so whoever goes through memory that others touched asks once in NEIGHBOURS.
 *
 * A checkpoint or restart *settles* the segment (but not the heap): what nobody has
 * claimed is its keeper's from then on. That is a rule, not a message: in a settled
 * segment word 0 means the keeper to those who reach the deciding word; to others it
 * means what it always does, not known. So a rank holds the words of the granules that
 * it keeps and of those that it asked about, never of all.
 *
 * Invariants
 * 1. A word is 0 or home + 1, and then stays. Where the deciding word is reached, 0 is
 *    nobody, or in a settled segment the keeper; elsewhere, not known here.
 * 2. A rank asks for the home before it takes a right to a page or sends a
 *    message about it; until then the keeper stands in, and the page reads
 *    as zero everywhere.
 * 3. Who gets a message as home of a page is it, even if the answer to its own
 *    claim is still under way (space_home_learn).
 * 4. Nothing is waited for under a lock that the service thread takes, and nothing in
 *    the service thread: both look only for homes of pages that invariant 2 or 3
 *    has made known, or do without those that are not (space_home_known).
 * 5. `settled` changes on all ranks inside one collective call, while nobody claims.
 */
#include "space/touch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "space/moved.h"
#include "space/snapshot.h"

enum touch_message {
    TOUCH_ASK, /* a = granule, b = wait, c = claim, d = granules */
    TOUCH_ANSWER /* a and b the same, c = word of the first, d = the claim made it;
                    with it, the words from the first on, if others are known */
};

enum {
    NEIGHBOURS = 64, /* told unasked */
    WORDS_MOST = NET_DATA / sizeof(uint32_t)
};

struct touch_wait {
    _Atomic uint32_t done; /* futex word */
    uint32_t word;
    bool made; /* by this claim */
};

uint64_t space_touch_granules(const struct space_segment *s)
{
    return (s->pages + s->granule_pages - 1) / s->granule_pages;
}

uint64_t space_touch_bytes(const struct space_segment *s)
{
    return space_touches(s) ? space_touch_granules(s) * sizeof(uint32_t) : 0;
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
    return (space_touch_granules(s) + share - 1) / share * unit;
}

static int keeper(const struct space_segment *s, uint64_t granule)
{
    return s->heap ? (int)(granule / STRIPE % (uint64_t)net_size())
                   : (int)(granule / kept(s));
}

/* Granules from this one on that have its keeper and follow each other. */
static uint64_t keeper_stretch(const struct space_segment *s, uint64_t granule)
{
    uint64_t unit = s->heap ? STRIPE : kept(s);
    uint64_t end = (granule / unit + 1) * unit;
    uint64_t last = space_touch_granules(s);
    return (end < last ? end : last) - granule;
}

bool space_touch_kept(const struct space_segment *s, uint64_t from,
                      uint64_t *first, uint64_t *end)
{
    uint64_t unit = s->heap ? STRIPE : kept(s);
    uint64_t ranks = (uint64_t)net_size();
    uint64_t me = (uint64_t)net_rank();
    uint64_t at = from / unit;
    if (at % ranks != me) { /* a stripe of mine begins behind it */
        at += (me + ranks - at % ranks) % ranks;
        from = at * unit;
    }
    if (from >= space_touch_granules(s) || (!s->heap && at != me)) {
        return false;
    }
    *first = from;
    *end = from + keeper_stretch(s, from);
    return true;
}

_Atomic uint32_t *space_touch_words(const struct space_segment *s, int domain)
{
    return (_Atomic uint32_t *)(void *)(s->versos[domain] +
                                        space_touch_offset(s));
}

/* Do I reach the deciding word? */
static bool reached(const struct space_segment *s, uint64_t granule)
{
    return s->versos[net_domain_of(keeper(s, granule))] != NULL;
}

static _Atomic uint32_t *word_of(const struct space_segment *s,
                                 uint64_t granule)
{
    int domain =
        reached(s, granule) ? net_domain_of(keeper(s, granule)) : net_domain();
    return &space_touch_words(s, domain)[granule];
}

/* ---- lookup ---------------------------------------------------------------------- */

uint32_t space_touch_word(const struct space_segment *s, uint64_t granule)
{
    uint32_t word =
        atomic_load_explicit(word_of(s, granule), memory_order_acquire);
    /* pairs with the release in space_homes_settle */
    return word == 0 && reached(s, granule) &&
                   atomic_load_explicit(&s->settled, memory_order_acquire)
               ? (uint32_t)keeper(s, granule) + 1
               : word;
}

static bool decided(const struct space_segment *s, uint64_t page)
{
    return space_touch_word(s, page / s->granule_pages) != 0;
}

bool space_home_known(const struct space_segment *s, uint64_t page)
{
    return !space_touches(s) || space_moved_at(s, page) != NULL ||
           decided(s, page);
}

int space_touch_home(const struct space_segment *s, uint64_t page)
{
    uint64_t granule = page / s->granule_pages;
    uint32_t word = space_touch_word(s, granule);
    return word != 0 ? (int)word - 1 : keeper(s, granule);
}

uint64_t space_touch_stretch(const struct space_segment *s, uint64_t page,
                             uint64_t limit)
{
    uint64_t start = page;
    int home = space_touch_home(s, page);
    bool known = decided(s, page);
    do {
        page = (page / s->granule_pages + 1) * s->granule_pages;
    } while (page < limit && space_touch_home(s, page) == home &&
             decided(s, page) == known);
    return (page < limit ? page : limit) - start;
}

bool space_touch_run(const struct space_segment *s, int rank, uint64_t from,
                     uint64_t limit, uint64_t *first, uint64_t *count)
{
    if (rank == net_rank()) {
        return space_claims_run(s, from, limit, first, count);
    }
    uint64_t page = from;
    while (page < limit && space_touch_home(s, page) != rank) {
        page = (page / s->granule_pages + 1) * s->granule_pages;
    }
    *first = page;
    *count = page < limit ? space_touch_stretch(s, page, limit) : 0;
    return page < limit;
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

/* This thread made me the home of a granule. Of what I keep the words tell. */
static void claim_note(struct space_segment *s, uint64_t granule)
{
    if (keeper(s, granule) != net_rank()) {
        space_claims_add(s, granule);
    }
}

/* Of the snapshot under way the keeper writes the pages, which were its own. */
static void before_claim(const struct space_segment *s, uint64_t granule)
{
    int home = keeper(s, granule);
    uint64_t first = granule * s->granule_pages;
    for (uint64_t i = 0;
         net_shares(home) && i < s->granule_pages && first + i < s->pages;
         i++) {
        space_before_write_at(s, first + i, home);
    }
}

/* Where the deciding word is reached, or for a note of mine. Returns what it is
 * afterwards; *made: by this. */
static uint32_t decide(struct space_segment *s, uint64_t granule, int rank,
                       bool *made)
{
    uint32_t word = space_touch_word(s, granule);
    uint32_t claim = (uint32_t)rank + 1;
    if (word == 0 && rank != keeper(s, granule)) {
        before_claim(s, granule);
    }
    *made = word == 0 && atomic_compare_exchange_strong_explicit(
                             word_of(s, granule), &word, claim,
                             memory_order_acq_rel, memory_order_acquire);
    return *made ? claim : word;
}

/* About `count` granules of one keeper; returns the word of the first. *made: by
 * this claim. */
static uint32_t ask(struct space_segment *s, uint64_t granule, bool claim,
                    uint64_t count, bool *made)
{
    struct touch_wait wait = {0};
    net_mpi_wait(s->recto + granule * s->granule_pages * SPACE_PAGE);
    int target = keeper(s, granule);
    net_post_masked(target, &(struct net_msg){.service = NET_SERVICE_SPACE,
                                              .type = TOUCH_ASK,
                                              .object = s->id,
                                              .a = granule,
                                              .b = (uintptr_t)&wait,
                                              .c = claim,
                                              .d = count});
    net_await_begin();
    while (atomic_load_explicit(&wait.done, memory_order_acquire) == 0) {
        if (net_futex_wait((const uint32_t *)&wait.done, 0, net_timeout(),
                           false) != 0) {
            base_fatal("\"%s\": rank %d on %s did not tell the home of page "
                       "%lu within %s; raise it if that rank is only slow",
                       s->name, target, net_host(target),
                       (unsigned long)(granule * s->granule_pages),
                       base_env_name(BASE_ENV_TIMEOUT));
        }
    }
    net_await_end();
    *made = wait.made;
    return wait.word;
}

static int find(struct space_segment *s, uint64_t page, bool claim)
{
    uint64_t granule = page / s->granule_pages;
    if (space_home_known(s, page)) {
        return space_home(s, page);
    }
    uint32_t word = 0;
    bool made = false;
    if (!net_shares(keeper(s, granule))) {
        word = ask(s, granule, claim, 1, &made);
    } else if (claim) {
        word = decide(s, granule, net_rank(), &made);
    }
    if (made) {
        claim_note(s, granule);
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

void space_homes_ask(struct space_segment *s, uint64_t first, uint64_t count)
{
    if (!space_touches(s) || net_domains() == 1 || count == 0) {
        return;
    }
    uint64_t end = (first + count - 1) / s->granule_pages + 1;
    for (uint64_t g = first / s->granule_pages; g < end;) {
        uint64_t run = keeper_stretch(s, g);
        run = run < end - g ? run : end - g;
        if (!reached(s, g)) {
            uint64_t known = 0;
            while (known < run && space_touch_word(s, g + known) != 0) {
                known++;
            }
            g += known;
            run -= known;
            run = run < WORDS_MOST ? run : WORDS_MOST;
            bool made = false;
            if (run > 0) {
                (void)ask(s, g, false, run, &made);
            }
        }
        g += run;
    }
}

/* Granules of one keeper, which nobody else can claim: all are new, or all are mine. */
static void run_claim(struct space_segment *s, uint64_t granule, uint64_t count)
{
    bool far = !net_shares(keeper(s, granule));
    bool made = false;
    if (far) {
        (void)ask(s, granule, true, count, &made);
    }
    for (uint64_t g = granule; g < granule + count; g++) {
        /* far: a note; another answer to my domain may have brought it */
        bool noted = false;
        uint32_t word = decide(s, g, net_rank(), &noted);
        RECTO_ASSERT((int)word == net_rank() + 1);
        (void)word;
        if (far ? made : noted) {
            claim_note(s, g);
        }
    }
}

void space_homes_claim(struct space_segment *s, uint64_t first, uint64_t count)
{
    uint64_t granule = first / s->granule_pages;
    uint64_t end = granule + count / s->granule_pages;
    while (space_touches(s) && granule < end) {
        uint64_t run = keeper_stretch(s, granule);
        run = run < end - granule ? run : end - granule;
        run_claim(s, granule, run);
        granule += run;
    }
}

/* ---- the keeper, and the answer ------------------------------------------------------- */

/* Words of the granules that were asked about, and of neighbours. Returns how many of
 * them say something. */
static uint64_t tell(const struct space_segment *s, const struct net_msg *msg,
                     uint32_t *words)
{
    uint64_t wanted = msg->c != 0 ? 1 : msg->d;
    uint64_t most = keeper_stretch(s, msg->a);
    uint64_t n = wanted > NEIGHBOURS ? wanted : NEIGHBOURS;
    uint64_t known = 0;
    n = n < most ? n : most;
    for (uint64_t i = 0; i < n; i++) {
        words[i] = space_touch_word(s, msg->a + i);
        known = words[i] != 0 ? i + 1 : known;
    }
    return known;
}

static void asked(struct space_segment *s, const struct net_msg *msg)
{
    static uint32_t words[WORDS_MOST + 1]; /* the service thread's */
    struct net_msg answer = *msg;
    bool made = false;
    RECTO_ASSERT(msg->d <= WORDS_MOST || msg->c != 0);
    for (uint64_t i = 0; msg->c != 0 && i < msg->d; i++) {
        bool before = made;
        (void)decide(s, msg->a + i, msg->source, &made);
        RECTO_ASSERT(i == 0 || made == before);
        (void)before;
    }
    answer.c = space_touch_word(s, msg->a);
    answer.d = made;
    answer.type = TOUCH_ANSWER;
    /* who claims many knows what they are */
    uint64_t n = msg->c != 0 && msg->d > 1 ? 1 : tell(s, msg, words);
    if (n > 1) {
        words[n] = 0; /* data come in eights */
        net_post_data(msg->source, &answer, words,
                      (n + 1) / 2 * 2 * sizeof *words);
    } else {
        net_post(msg->source, &answer);
    }
}

static void note(const struct space_segment *s, uint64_t granule, uint32_t word)
{
    if (word != 0 && granule < space_touch_granules(s)) {
        atomic_store_explicit(word_of(s, granule), word, memory_order_release);
    }
}

static void answered(struct space_segment *s, const struct net_msg *msg)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
    struct touch_wait *w = (struct touch_wait *)(uintptr_t)msg->b;
    size_t bytes = 0;
    const uint32_t *words = net_data(&bytes);
    for (uint64_t i = 0; words != NULL && i < bytes / sizeof *words; i++) {
        note(s, msg->a + i, words[i]);
    }
    note(s, msg->a, (uint32_t)msg->c);
    w->word = (uint32_t)msg->c;
    w->made = msg->d != 0;
    /* *w may be gone after the store, so the wake is on an address only */
    atomic_store_explicit(&w->done, 1, memory_order_release);
    net_futex_wake((const uint32_t *)&w->done, 1, false);
}

static void receive(const struct net_msg *msg)
{
    struct space_segment *s = space_segment_by_id(msg->object);
    if (s == NULL) {
        base_fatal("first touch: a message for a segment that does not exist");
    }
    if (msg->type == TOUCH_ASK) {
        asked(s, msg);
    } else {
        answered(s, msg);
    }
}

void space_touch_init(void)
{
    net_service_receiver(NET_SERVICE_SPACE, receive);
}

int space_homes_settle(struct space_segment *s)
{
    if (space_touches(s) && !s->heap) {
        atomic_store_explicit(&s->settled, true, memory_order_release);
    }
    return space_homes_list(s);
}
