/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Carrier: what service threads exchange over MPI, where ranks share no memory:
 * control messages, with up to NET_DATA bytes of data behind them, and larger pieces
 * got by one-sided operations. Everything here runs on the service thread, and
 * nothing waits for another rank's work.
 *
 * Two ways for data, since that is what networks are good at: a page that travels
 * with the answer to its request needs one round trip, a MPI_Get behind it two or,
 * where the target's processor must take part, three. Of large pieces the copies
 * cost more, and a network that can move them by itself should.
 *
 * Messages for one rank that a turn of the service thread brings forth travel
 * together: a letter is closed when it is full enough or the turn ends.
 *
 *   letter   entry | entry | ...
 *   entry    bytes of data, message, data, up to a multiple of 8
 *
 * Invariants
 * 1. `RECEIVES` receives are always pending but for the one that is being
 *    delivered, so a poll is an MPI_Test, which also progresses one-sided operations
 *    that target this rank (an MPI_Iprobe does so every hundredth call only).
 * 2. Receives are posted and completed in turn, so messages are delivered in
 *    the order in which MPI matched them.
 * 3. Letters to a rank are sent in the order in which they were opened, one open at a
 *    time, and what is in them is delivered in order.
 * 4. A message handed over is never lost or refused, and its data is copied. Slots
 *    are taken from the lowest, so that memory is used for as many as were ever
 *    under way at once. Memory is a vm table, not malloc's (a faulting thread may
 *    hold malloc's lock).
 */
#include <recto/error.h>
#include <recto/vm.h>
#include <string.h>

#include "base/base.h"
#include "base/order.h"
#include "net/state.h"

enum {
    RECEIVES = 32,
    SENDS = 4096,
    GETS = 256,
    MESSAGE_TAG = 7,
    ENOUGH = 4096 /* a letter that holds as much does not wait for more */
};

struct entry {
    uint64_t bytes;
    struct net_msg msg;
};

enum {
    LETTER = (sizeof(struct entry) + NET_DATA) / 8 * 8
};

struct letter {
    _Alignas(64) char entries[LETTER];
};

/* A letter that is being written. */
struct open {
    uint16_t slot;
    uint32_t used; /* 0: none */
};

static struct {
    bool started;
    MPI_Request receive[RECEIVES];
    struct letter *received;
    unsigned next; /* the oldest receive */
    MPI_Request send[SENDS];
    struct letter *sent;
    uint16_t order[SENDS]; /* slots under way, oldest first, in a circle */
    unsigned oldest;
    unsigned newest;
    uint16_t free[SENDS]; /* a stack of slots */
    unsigned frees;
    struct open *open; /* by rank */
    int *opened;       /* ranks with an open letter */
    int opened_count;
    MPI_Request get[GETS];
    struct net_msg then[GETS];
    unsigned gets; /* under way: [0, gets) */
} carrier;

static void check(int code, const char *what)
{
    if (code != MPI_SUCCESS) {
        base_fatal("service thread: %s failed with MPI error %d", what, code);
    }
}

static void receive_post(unsigned i)
{
    check(MPI_Irecv(&carrier.received[i], sizeof(struct letter), MPI_BYTE,
                    MPI_ANY_SOURCE, MESSAGE_TAG, net.carrier,
                    &carrier.receive[i]),
          "MPI_Irecv");
}

static size_t tables_bytes(void)
{
    return (RECEIVES + SENDS) * sizeof(struct letter) +
           (size_t)net.size * (sizeof(struct open) + sizeof(int));
}

int net_carrier_create(void)
{
    void *table = NULL;
    int r = recto_vm_table_create(tables_bytes(), &table);
    if (r != 0) {
        return r;
    }
    memset(&carrier, 0, sizeof carrier);
    carrier.received = table;
    carrier.sent = carrier.received + RECEIVES;
    carrier.open = (struct open *)(void *)(carrier.sent + SENDS);
    carrier.opened = (int *)(void *)(carrier.open + net.size);
    for (unsigned i = SENDS; i > 0; i--) {
        carrier.free[carrier.frees++] = (uint16_t)(i - 1);
    }
    return 0;
}

void net_carrier_start(void)
{
    for (unsigned i = 0; i < RECEIVES; i++) {
        receive_post(i);
    }
    carrier.started = true;
}

void net_carrier_stop(void)
{
    for (unsigned i = 0; i < RECEIVES && carrier.started; i++) {
        MPI_Cancel(&carrier.receive[i]);
        /* NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): receive_post */
        MPI_Wait(&carrier.receive[i], MPI_STATUS_IGNORE);
    }
    for (; carrier.started && carrier.oldest != carrier.newest;
         carrier.oldest++) {
        MPI_Wait(&carrier.send[carrier.order[carrier.oldest % SENDS]],
                 MPI_STATUS_IGNORE);
    }
    carrier.started = false;
}

void net_carrier_destroy(void)
{
    if (carrier.received != NULL) {
        recto_vm_unmap(carrier.received, tables_bytes());
        carrier.received = NULL;
    }
}

/* ---- sending ------------------------------------------------------------------- */

static void sends_finish(void)
{
    while (carrier.oldest != carrier.newest) {
        uint16_t slot = carrier.order[carrier.oldest % SENDS];
        int done = 0;
        check(MPI_Test(&carrier.send[slot], &done, MPI_STATUS_IGNORE),
              "MPI_Test");
        if (!done) {
            return;
        }
        carrier.free[carrier.frees++] = slot;
        carrier.oldest++;
    }
}

/* Others take what was sent to them while they wait for room as well: MPI_Test
 * makes progress. */
static void room_wait(int target)
{
    uint64_t start = base_now();
    while (carrier.frees == 0) {
        sends_finish();
        if (net.timeout > 0 && base_now() - start > net.timeout) {
            base_fatal(
                "%d messages wait, the last of them to rank %d on %s: it "
                "or another rank took none within %s; raise it if that rank "
                "is only slow",
                SENDS, target, net_host(target),
                base_env_name(BASE_ENV_TIMEOUT));
        }
    }
}

static void letter_close(int target)
{
    struct open *o = &carrier.open[target];
    base_order_out();
    check(MPI_Isend(&carrier.sent[o->slot], (int)o->used, MPI_BYTE, target,
                    MESSAGE_TAG, net.carrier, &carrier.send[o->slot]),
          "MPI_Isend");
    carrier.order[carrier.newest++ % SENDS] = o->slot;
    o->used = 0;
}

/* Closed letters leave a place in the list. */
static void letters_close(void)
{
    for (int i = 0; i < carrier.opened_count; i++) {
        if (carrier.open[carrier.opened[i]].used > 0) {
            letter_close(carrier.opened[i]);
        }
    }
    carrier.opened_count = 0;
}

static void letter_open(int target)
{
    if (carrier.opened_count == net.size) {
        letters_close();
    }
    room_wait(target);
    carrier.open[target].slot = carrier.free[--carrier.frees];
    carrier.opened[carrier.opened_count++] = target;
}

/* Of a page that is in use: words that others change by atomics are read whole. Both
 * addresses are multiples of 8. */
static void words_copy(char *to, const char *from, size_t bytes)
{
    size_t whole = bytes / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = __atomic_load_n(
            (const uint64_t *)(const void *)(from + i), __ATOMIC_RELAXED);
        memcpy(to + i, &word, sizeof word);
    }
    memcpy(to + whole, from + whole, bytes - whole);
}

void net_carrier_send(const struct net_msg *msg, const void *data, size_t bytes)
{
    struct open *o = &carrier.open[msg->target];
    struct entry entry = {.bytes = bytes, .msg = *msg};
    uint32_t need = (uint32_t)(sizeof entry + (bytes + 7) / 8 * 8);
    RECTO_ASSERT(bytes <= NET_DATA);
    if (o->used > 0 && o->used + need > LETTER) {
        letter_close(msg->target);
    }
    if (o->used == 0) {
        letter_open(msg->target);
    }
    char *at = carrier.sent[o->slot].entries + o->used;
    memcpy(at, &entry, sizeof entry);
    if (bytes > 0) {
        words_copy(at + sizeof entry, data, bytes);
    }
    o->used += need;
    if (o->used >= ENOUGH) {
        letter_close(msg->target);
    }
}

/* ---- one-sided ------------------------------------------------------------------ */

bool net_carrier_get(MPI_Win win, int target, uint64_t offset, void *buffer,
                     size_t bytes, const struct net_msg *then)
{
    if (carrier.gets == GETS) {
        return false;
    }
    check(MPI_Rget(buffer, (int)bytes, MPI_BYTE, target, (MPI_Aint)offset,
                   (int)bytes, MPI_BYTE, win, &carrier.get[carrier.gets]),
          "MPI_Rget");
    carrier.then[carrier.gets++] = *then;
    return true;
}

static bool gets_finish(net_deliver deliver)
{
    bool moved = false;
    for (unsigned i = 0; i < carrier.gets;) {
        int done = 0;
        check(MPI_Test(&carrier.get[i], &done, MPI_STATUS_IGNORE), "MPI_Test");
        if (!done) {
            i++;
            continue;
        }
        struct net_msg then = carrier.then[i];
        carrier.gets--;
        carrier.get[i] = carrier.get[carrier.gets];
        carrier.then[i] = carrier.then[carrier.gets];
        base_order_in();
        deliver(&then, NULL, 0);
        moved = true;
    }
    return moved;
}

/* ---- polling -------------------------------------------------------------------- */

bool net_carrier_busy(void)
{
    return carrier.gets > 0;
}

static void letter_deliver(const char *entries, size_t used,
                           net_deliver deliver)
{
    for (size_t at = 0; at < used;) {
        struct entry entry;
        RECTO_ASSERT(at + sizeof entry <= used);
        memcpy(&entry, entries + at, sizeof entry);
        at += sizeof entry;
        RECTO_ASSERT(entry.bytes <= NET_DATA && at + entry.bytes <= used);
        deliver(&entry.msg, entry.bytes > 0 ? entries + at : NULL, entry.bytes);
        at += (entry.bytes + 7) / 8 * 8;
    }
}

bool net_carrier_poll(net_deliver deliver)
{
    sends_finish();
    bool moved = gets_finish(deliver);
    for (int taken = 0; taken < RECEIVES; taken++) {
        int done = 0;
        int used = 0;
        unsigned i = carrier.next % RECEIVES;
        MPI_Status status;
        check(MPI_Test(&carrier.receive[i], &done, &status), "MPI_Test");
        if (!done) {
            break;
        }
        MPI_Get_count(&status, MPI_BYTE, &used);
        carrier.next++;
        base_order_in();
        letter_deliver(carrier.received[i].entries, (size_t)used, deliver);
        receive_post(i);
        moved = true;
    }
    return moved;
}

void net_carrier_flush(void)
{
    letters_close();
}
