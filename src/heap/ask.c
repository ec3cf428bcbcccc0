/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ranks ask each other: chunks that nobody had, of rank 0, who counts them;
 * and of a rank that does not share, what chunk.c does for those who do.
 *
 *   thread                        the other's service thread
 *     |-- NEXT, TAKE, FENCE ----------->| does it; aside while a guard is taken
 *     | waits     |<------- ANSWER -----|
 *     |-- FREE, GIVE ------------------>| no answer; a fence follows them
 *
 * Invariants
 * 1. The service thread waits for no guard and allocates nothing.
 * 2. An answer arrives exactly once: the waiter's address goes round.
 * 3. A fence is answered when all that came before it is done, what was put aside
 *    included: who finalizes takes the heap away, a checkpoint keeps it.
 */
#include "base/base.h"
#include "heap/chunk.h"
#include "net/net.h"
#include "sync/wait.h"

enum heap_message {
    HEAP_NEXT,  /* a = chunks */
    HEAP_TAKE,  /* a = bytes */
    HEAP_FREE,  /* a = offset; its bytes are home */
    HEAP_READY, /* the second half of FREE, put aside */
    HEAP_GIVE,  /* a = first chunk, c = chunks */
    HEAP_FENCE, /* what came before from the same rank is done */
    HEAP_ANSWER /* a = code, c = value; b in all: the waiter */
};

enum {
    RETRY_NS = 2000,
    ASIDE = 1 /* flag of a message: it was put aside, and nobody waits for it */
};

static uint64_t aside; /* so many are; the service thread's */

struct answer {
    sync_word come;
    int32_t code;
    uint64_t value;
};

static int ask(int rank, enum heap_message type, uint64_t a, uint64_t *value)
{
    struct answer answer = {0};
    sync_word_start(&answer.come);
    struct net_msg msg = {.service = NET_SERVICE_HEAP,
                          .type = (uint8_t)type,
                          .a = a,
                          .b = (uintptr_t)&answer};
    net_post_masked(rank, &msg);
    net_await_begin();
    if (!sync_word_wait_for(&answer.come, false, net_timeout())) {
        base_fatal("heap of recto_malloc: rank %d on %s did not answer within "
                   "%s",
                   rank, net_host(rank), base_env_name(BASE_ENV_TIMEOUT));
    }
    net_await_end();
    *value = answer.value;
    return answer.code;
}

static void tell(int rank, enum heap_message type, uint64_t a, uint64_t c)
{
    struct net_msg msg = {
        .service = NET_SERVICE_HEAP, .type = (uint8_t)type, .a = a, .c = c};
    net_post_masked(rank, &msg);
}

/* ---- at the other end ------------------------------------------------------------- */

/* In rank 0's table, by any rank that shares with it. */
static uint64_t next_take(uint64_t count)
{
    _Atomic uint64_t *next = &heap.tables[0]->next;
    uint64_t first = atomic_load_explicit(next, memory_order_relaxed);
    do {
        if (count > heap.chunks - first) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(next, &first, first + count,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return first;
}

static int taken(uint64_t bytes, uint64_t *offset)
{
    int r = table_take(net_rank(), bytes, false, offset);
    if (r == HEAP_NONE) {
        r = table_collect(net_rank(), false);
        r = r == HEAP_DONE ? table_take(net_rank(), bytes, false, offset) : r;
    }
    return r;
}

/* The freeing rank has gone on, so its error is told here. */
static int freed(struct net_msg *msg)
{
    enum block_fault fault =
        msg->type == HEAP_FREE ? block_free(net_rank(), msg->a) : BLOCK_FREED;
    if (fault != BLOCK_FREED) {
        base_warn("recto_mfree(%p) by rank %d: %s", heap.s->recto + msg->a,
                  (int)msg->source,
                  fault == BLOCK_NOT ? "no block begins there"
                                     : "the block is free already");
        return HEAP_DONE;
    }
    msg->type = HEAP_READY;
    return block_ready(net_rank(), msg->a, false);
}

static int perform(struct net_msg *msg, uint64_t *value)
{
    switch ((enum heap_message)msg->type) {
    case HEAP_NEXT: *value = next_take(msg->a); return HEAP_DONE;
    case HEAP_TAKE: return taken(msg->a, value);
    case HEAP_FREE:
    case HEAP_READY: return freed(msg);
    case HEAP_FENCE: return aside > 0 ? HEAP_BUSY : HEAP_DONE;
    default: return pool_give(net_rank(), msg->a, msg->c, false);
    }
}

static void receive(const struct net_msg *msg)
{
    if (msg->type == HEAP_ANSWER) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it went round as one */
        struct answer *answer = (struct answer *)(uintptr_t)msg->b;
        answer->code = (int32_t)(int64_t)msg->a;
        answer->value = msg->c;
        sync_word_end(&answer->come, false);
        return;
    }
    uint64_t value = 0;
    struct net_msg m = *msg;
    int r = perform(&m, &value);
    if (r == HEAP_BUSY) {
        if (msg->b == 0 && (msg->flags & ASIDE) == 0) {
            m.flags |= ASIDE;
            aside++;
        }
        net_defer(&m, base_now() + RETRY_NS);
        return;
    }
    aside -= msg->flags & ASIDE;
    if (msg->b != 0) {
        struct net_msg answer = {.service = NET_SERVICE_HEAP,
                                 .type = HEAP_ANSWER,
                                 .a = (uint64_t)(int64_t)r,
                                 .b = msg->b,
                                 .c = value};
        net_post(msg->source, &answer);
    }
}

/* ---- calls --------------------------------------------------------------------------- */

uint64_t heap_next(uint64_t count)
{
    uint64_t first = 0;
    if (heap.tables[0] != NULL) {
        first = next_take(count);
    } else {
        (void)ask(0, HEAP_NEXT, count, &first);
    }
    if (first != 0) {
        space_homes_claim(heap.s, first * CHUNK_PAGES, count * CHUNK_PAGES);
    }
    return first;
}

int heap_far_take(int rank, uint64_t bytes, uint64_t *offset)
{
    return ask(rank, HEAP_TAKE, bytes, offset);
}

void heap_far_free(int rank, uint64_t offset)
{
    tell(rank, HEAP_FREE, offset, 0);
}

void heap_far_fence(int rank)
{
    uint64_t none = 0;
    (void)ask(rank, HEAP_FENCE, 0, &none);
}

void heap_far_give(int rank, uint64_t first, uint64_t count)
{
    tell(rank, HEAP_GIVE, first, count);
}

void heap_ask_init(void)
{
    aside = 0;
    net_service_receiver(NET_SERVICE_HEAP, receive);
}
