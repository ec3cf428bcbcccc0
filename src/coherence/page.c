/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank's pages: faults of its threads, and the messages that its service
 * thread gets as a user of pages. See msi.h for the protocol.
 *
 * Invariants
 * 1. A page's word goes from a stable state to IS, IM or SM only by a faulting
 *    thread, which then sends the one request, and never while the page is aged;
 *    every other change is made by the service thread, but for WAITERS and
 *    WANTED.
 * 2. Kernel rights lag: raised before the word says Shared or Modified,
 *    lowered before the word says so and before the answer is sent. A thread
 *    that finds enough rights in the word just tries its access again.
 * 3. Whoever sets a stable state, or ends its being aged, clears MSI_WAITERS and
 *    wakes the waiters.
 * 4. A thread makes room in the cache before it asks for a page, when it waits for
 *    nothing else.
 */
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "coherence/msi.h"

struct msi_counts msi_counts;

/* RECTO_HOLD. Without it, pages can change hands for ever before any thread
 * that asked gets to use one (docs/model, mutant NO_HOLD). */
static uint64_t hold_us;

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static const char *const state_names[MSI_STATES] = {
    "Invalid", "Shared", "Modified", "IS", "IM", "SM", "MI"};
static const char *const message_names[MSI_MESSAGES] = {
    "req_share",  "ack_share",      "req_exclusive", "ack_exclusive",
    "invalidate", "ack_invalidate", "downgrade",     "write_back",
    "done",       "req_evict",      "ack_evict",     "recall",
    "drop",       "shrink",         "revive"};

const char *msi_state_name(enum msi_state state)
{
    return state < MSI_STATES ? state_names[state] : "?";
}

const char *msi_message_name(enum msi_message message)
{
    return message < MSI_MESSAGES ? message_names[message] : "?";
}

/* ---- the state table --------------------------------------------------------------
 * What a message does to a page, for the service thread: the state after it,
 * or STAY; states that are not listed never get the message. */

enum action {
    RAISE_READ,
    RAISE_WRITE,
    LOWER_NONE,
    LOWER_READ,
    KEEP
};

static const struct transition {
    enum msi_message message;
    enum msi_state from;
    enum msi_state to;
    enum action action;
} transitions[] = {
    {MSI_ACK_SHARE,     MSI_IS,       MSI_SHARED,   RAISE_READ },
    {MSI_ACK_EXCLUSIVE, MSI_IM,       MSI_MODIFIED, RAISE_WRITE},
    {MSI_ACK_EXCLUSIVE, MSI_SM,       MSI_MODIFIED, RAISE_WRITE},
    {MSI_INVALIDATE,    MSI_SHARED,   MSI_INVALID,  LOWER_NONE },
    {MSI_INVALIDATE,    MSI_MODIFIED, MSI_INVALID,  LOWER_NONE },
    {MSI_INVALIDATE,    MSI_SM,       MSI_IM,       LOWER_NONE },
    {MSI_DOWNGRADE,     MSI_MODIFIED, MSI_SHARED,   LOWER_READ },
    {MSI_DOWNGRADE,     MSI_SHARED,   MSI_SHARED,   KEEP       },
    {MSI_DOWNGRADE,     MSI_SM,       MSI_SM,       KEEP       },
    {MSI_INVALIDATE,    MSI_MI,       MSI_MI,       KEEP       },
    {MSI_DOWNGRADE,     MSI_MI,       MSI_MI,       KEEP       },
    {MSI_ACK_EVICT,     MSI_MI,       MSI_INVALID,  KEEP       },
};

static const struct transition *transition_find(enum msi_message message,
                                                enum msi_state from)
{
    for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        if (transitions[i].message == message && transitions[i].from == from) {
            return &transitions[i];
        }
    }
    base_fatal("page protocol: %s in state %s", msi_message_name(message),
               msi_state_name(from));
}

/* ---- faults -------------------------------------------------------------------- */

static uint32_t stamp(void)
{
    return (uint32_t)(base_now() / 1000U) << MSI_TIME_SHIFT;
}

static uint32_t age_us(uint32_t word)
{
    uint32_t now = (uint32_t)(base_now() / 1000U) & 0xffffff;
    return (now - (word >> MSI_TIME_SHIFT)) & 0xffffff;
}

static struct net_msg message(struct msi_segment *m, enum msi_message type,
                              uint64_t page, unsigned flags)
{
    return (struct net_msg){.service = NET_SERVICE_COHERENCE,
                            .type = (uint8_t)type,
                            .flags = (uint16_t)flags,
                            .object = m->s->id,
                            .a = page};
}

void msi_post(struct msi_segment *m, int target, enum msi_message type,
              uint64_t page, unsigned flags)
{
    struct net_msg msg = message(m, type, page, flags);
    net_post(target, &msg);
}

void msi_post_page(struct msi_segment *m, int target, enum msi_message type,
                   uint64_t page, unsigned flags, const void *bytes)
{
    struct net_msg msg = message(m, type, page, flags);
    if (net_shares(target)) {
        net_post(target, &msg);
    } else {
        net_post_data(target, &msg, bytes, SPACE_PAGE);
    }
}

static enum trace_fault asked_for(bool write, enum msi_state from)
{
    return !write                ? TRACE_READ_MISS
           : from == MSI_INVALID ? TRACE_WRITE_MISS
                                 : TRACE_UPGRADE;
}

static void ask(struct msi_segment *m, uint64_t page, bool write,
                enum msi_state from)
{
    int home = space_home(m->s, page);
    enum trace_fault what = asked_for(write, from);
    count(what == TRACE_READ_MISS    ? &msi_counts.read_misses
          : what == TRACE_WRITE_MISS ? &msi_counts.write_misses
                                     : &msi_counts.upgrades,
          1);
    if (!net_shares(home)) {
        net_mpi_wait(m->s->recto + page * SPACE_PAGE);
    }
    msi_post(m, home, write ? MSI_REQ_EXCLUSIVE : MSI_REQ_SHARE, page, 0);
}

static void wait_for(struct msi_segment *m, uint64_t page, uint32_t word)
{
    _Atomic uint32_t *at = &m->pages[page];
    if ((word & MSI_WAITERS) == 0 &&
        !atomic_compare_exchange_strong_explicit(at, &word, word | MSI_WAITERS,
                                                 memory_order_relaxed,
                                                 memory_order_relaxed)) {
        return;
    }
    net_await_begin();
    int r = net_futex_wait((const uint32_t *)at, word | MSI_WAITERS,
                           net_timeout(), false);
    net_await_end();
    if (r != 0) {
        int home = space_home(m->s, page);
        base_fatal("page %lu of \"%s\": its home, rank %d on %s, did not "
                   "answer within %lu s (%s)",
                   (unsigned long)page, m->s->name, home, net_host(home),
                   (unsigned long)(net_timeout() / 1000000000U),
                   base_env_name(BASE_ENV_TIMEOUT));
    }
}

/* An aged page gets its right back before anything else happens to it. */
static void revive(struct msi_segment *m, uint64_t page, uint32_t word)
{
    if ((word & MSI_WANTED) != 0) {
        wait_for(m, page, word);
    } else if (atomic_compare_exchange_strong_explicit(
                   &m->pages[page], &word, word | MSI_WANTED,
                   memory_order_relaxed, memory_order_relaxed)) {
        msi_cache_revive(m, page);
    }
}

/* I am about to ask for a page that I have no right to. */
static void room_make(struct msi_segment *m, uint64_t page)
{
    if (net_domain_of(space_home(m->s, page)) != net_domain()) {
        cache_shrink(1);
    }
}

/* Asks for a page that is Invalid or Shared, unless another thread has just done so. */
static bool request(struct msi_segment *m, uint64_t page, uint32_t word,
                    bool write)
{
    enum msi_state state = msi_state_of(word);
    enum msi_state next = !write                ? MSI_IS
                          : state == MSI_SHARED ? MSI_SM
                                                : MSI_IM;
    uint32_t desired = (word & ~(uint32_t)MSI_STATE_MASK) | next;
    if (atomic_compare_exchange_strong_explicit(&m->pages[page], &word, desired,
                                                memory_order_acq_rel,
                                                memory_order_relaxed)) {
        ask(m, page, write, state);
        return true;
    }
    return false;
}

static bool writes(const struct recto_vm_fault *fault, enum msi_state state)
{
    return fault->access == RECTO_VM_ACCESS_WRITE ||
           (fault->access == RECTO_VM_ACCESS_UNKNOWN && state == MSI_SHARED);
}

enum recto_vm_verdict msi_page_fault(const struct recto_vm_fault *fault,
                                     void *segment)
{
    struct msi_segment *m = segment;
    if (fault->signal == SIGBUS) {
        return RECTO_VM_SEARCH; /* no memory */
    }
    uint64_t start = coherence_clock();
    uint64_t page =
        (uint64_t)((char *)fault->address - m->s->recto) / SPACE_PAGE;
    enum trace_fault what = TRACE_RIGHT;
    (void)space_home_claim(m->s, page);
    for (bool room = false;;) {
        /* pairs with the releases of the service thread */
        uint32_t word =
            atomic_load_explicit(&m->pages[page], memory_order_acquire);
        enum msi_state state = msi_state_of(word);
        bool write = writes(fault, state);
        if (word & MSI_AGED) {
            revive(m, page, word);
        } else if (state == MSI_MODIFIED || (state == MSI_SHARED && !write)) {
            coherence_fault_took(fault, what, start);
            return RECTO_VM_CONTINUE;
        } else if (state == MSI_INVALID && !room) {
            room_make(m, page);
            room = true;
        } else if (state == MSI_INVALID || state == MSI_SHARED) {
            if (what != TRACE_RIGHT) { /* had, and lost before it was used */
                coherence_fault_took(fault, what, start);
                start = coherence_clock();
                what = TRACE_RIGHT;
            }
            what =
                request(m, page, word, write) ? asked_for(write, state) : what;
        } else {
            wait_for(m, page, word);
        }
    }
}

/* ---- messages -------------------------------------------------------------------- */

/* Between my domain's copy and the home's master copy. A far home's bytes came with
 * its message. */
static void copy_from_home(struct msi_segment *m, uint64_t page, int home)
{
    char *mine = space_verso(m->s, page);
    count(&msi_counts.bytes_fetched, SPACE_PAGE);
    if (net_shares(home)) {
        memcpy(mine, m->s->versos[net_domain_of(home)] + page * SPACE_PAGE,
               SPACE_PAGE);
    } else {
        size_t bytes = 0;
        const void *data = net_data(&bytes);
        RECTO_ASSERT(bytes == SPACE_PAGE);
        memcpy(mine, data, SPACE_PAGE);
    }
    coherence_fetched(m->s, page, 1, home);
}

/* The page goes home, at once where that is near. */
static void page_home(struct msi_segment *m, uint64_t page, int home)
{
    static const uint32_t whole[] = {0, SPACE_PAGE - 1};
    count(&msi_counts.bytes_written, SPACE_PAGE);
    coherence_sent(m->s, page, home, whole, SPACE_PAGE, base_trace_clock());
    if (net_shares(home)) {
        memcpy(m->s->versos[net_domain_of(home)] + page * SPACE_PAGE,
               space_verso(m->s, page), SPACE_PAGE);
    }
}

static void check(int r, uint64_t page, const struct msi_segment *m)
{
    if (r == RECTO_ENOMEM) {
        space_shortage(m->s->recto + page * SPACE_PAGE, false);
        (void)raise(SIGBUS);
    }
    if (r != 0) {
        base_fatal("page %lu of \"%s\": cannot change its protection: %s",
                   (unsigned long)page, m->s->name, recto_last_error());
    }
}

static void protect(struct msi_segment *m, uint64_t page, enum action action)
{
    switch (action) {
    case RAISE_READ:
        check(recto_vm_unprot(m->s->range, page, 1, RECTO_VM_READ), page, m);
        break;
    case RAISE_WRITE:
        /* the write that asked for it comes next: spare it a second fault */
        recto_vm_dirty_mark(m->s->range, page, 1);
        check(recto_vm_unprot(m->s->range, page, 1, RECTO_VM_WRITE), page, m);
        break;
    case LOWER_NONE:
        check(recto_vm_prot1(m->s->range, page, RECTO_VM_NONE), page, m);
        break;
    case LOWER_READ:
        check(recto_vm_prot1(m->s->range, page, RECTO_VM_READ), page, m);
        break;
    case KEEP: break;
    }
}

void msi_page_raise(struct msi_segment *m, uint64_t page, enum msi_state state)
{
    protect(m, page, state == MSI_MODIFIED ? RAISE_WRITE : RAISE_READ);
}

void msi_page_lower(struct msi_segment *m, uint64_t page)
{
    protect(m, page, LOWER_NONE);
}

/* The answer to my eviction: nobody writes the copy, and if I am the last of my
 * domain to give it up nobody uses its memory. All of that comes before `done`:
 * afterwards the home may grant the page to another rank of my domain, which uses the
 * same memory. */
static void evicted_answer(struct msi_segment *m, const struct net_msg *msg)
{
    uint64_t page = msg->a;
    bool data = (msg->flags & MSI_DATA) != 0;
    _Alignas(8) char bytes[SPACE_PAGE];
    if (data) {
        page_home(m, page, msg->source);
    }
    if (data && !net_shares(msg->source)) {
        memcpy(bytes, space_verso(m->s, page), SPACE_PAGE);
    }
    if ((msg->flags & MSI_LAST) &&
        recto_vm_memory_discard(m->s->fd, page * SPACE_PAGE, SPACE_PAGE) != 0) {
        base_fatal("page %lu of \"%s\": %s", (unsigned long)page, m->s->name,
                   recto_last_error());
    }
    if (data) {
        msi_post_page(m, msg->source, MSI_DONE, page, 0, bytes);
    } else {
        msi_post(m, msg->source, MSI_DONE, page, 0);
    }
}

/* An answer to my request. */
static void granted(struct msi_segment *m, const struct net_msg *msg)
{
    _Atomic uint32_t *at = &m->pages[msg->a];
    uint32_t word = atomic_load_explicit(at, memory_order_acquire);
    const struct transition *t =
        transition_find((enum msi_message)msg->type, msi_state_of(word));
    bool evicted = t->to == MSI_INVALID;
    uint32_t next = stamp() | t->to;
    if (!evicted) {
        if ((msg->flags & MSI_DATA) != 0) {
            copy_from_home(m, msg->a, msg->source);
        }
        next |= net_domain_of(msg->source) != net_domain() ? MSI_COPY : 0;
    }
    protect(m, msg->a, t->action);
    word = atomic_exchange_explicit(at, next, memory_order_acq_rel);
    if (word & MSI_WAITERS) {
        net_futex_wake((const uint32_t *)at, INT32_MAX, false);
    }
    if (evicted) {
        evicted_answer(m, msg);
        msi_cache_gone(m);
        return;
    }
    msi_post(m, msg->source, MSI_DONE, msg->a, 0);
    if (next & ~word & MSI_COPY) {
        msi_cache_add(m, msg->a);
    }
}

bool msi_page_held(uint32_t word)
{
    enum msi_state state = msi_state_of(word);
    return (state == MSI_SHARED || state == MSI_MODIFIED) &&
           (word >> MSI_TIME_SHIFT) != 0 && age_us(word) < hold_us;
}

/* The word after a revocation: who loses the page does not wait for its right. */
static uint32_t revoked_word(uint32_t word, enum msi_state to)
{
    uint32_t lost = (word & MSI_AGED) && to == MSI_INVALID
                        ? MSI_AGED | MSI_WANTED | MSI_WAITERS
                        : 0;
    return (word & ~(lost | MSI_STATE_MASK)) | to;
}

/* The home takes rights for another rank. The word may turn from Shared to SM
 * under our hands, or get WAITERS and WANTED; nothing else changes it but this
 * thread. */
static void revoked(struct msi_segment *m, const struct net_msg *msg)
{
    _Atomic uint32_t *at = &m->pages[msg->a];
    uint32_t word = atomic_load_explicit(at, memory_order_acquire);
    if (msi_page_held(word)) {
        net_defer(msg, base_now() + (hold_us - age_us(word)) * 1000U);
        return;
    }
    const struct transition *t =
        transition_find((enum msi_message)msg->type, msi_state_of(word));
    protect(m, msg->a, t->action);
    uint32_t next = revoked_word(word, t->to);
    while (!atomic_compare_exchange_weak_explicit(
        at, &word, next, memory_order_acq_rel, memory_order_acquire)) {
        t = transition_find((enum msi_message)msg->type, msi_state_of(word));
        next = revoked_word(word, t->to);
    }
    if (word & ~next & MSI_WAITERS) {
        net_futex_wake((const uint32_t *)at, INT32_MAX, false);
    }
    bool invalidate = msg->type == MSI_INVALIDATE;
    count(invalidate ? &msi_counts.invalidations : &msi_counts.downgrades, 1);
    enum msi_message answer = invalidate ? MSI_ACK_INVALIDATE : MSI_WRITE_BACK;
    if (msg->flags & MSI_DATA) {
        page_home(m, msg->a, msg->source);
        msi_post_page(m, msg->source, answer, msg->a, msg->flags,
                      space_verso(m->s, msg->a));
    } else {
        msi_post(m, msg->source, answer, msg->a, msg->flags);
    }
}

void msi_page_receive(struct msi_segment *m, const struct net_msg *msg)
{
    switch ((enum msi_message)msg->type) {
    case MSI_ACK_SHARE:
    case MSI_ACK_EXCLUSIVE:
    case MSI_ACK_EVICT: granted(m, msg); break;
    case MSI_SHRINK:
    case MSI_REVIVE: msi_cache_receive(m, msg); break;
    default: revoked(m, msg); break;
    }
}

int msi_page_init(void)
{
    int r = base_env_u64(BASE_ENV_HOLD, &hold_us);
    memset(&msi_counts, 0, sizeof msi_counts);
    return r;
}
