/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net: the only floor that calls MPI and hwloc. Who is where (topology,
 * domains), collectives, control messages between service threads, memory
 * shared inside a machine, one-sided windows between machines.
 *
 * Words. A *machine* is a set of ranks that proved that they can open each
 * other's memory. A *domain* (coherence node) is a set of ranks of one machine
 * that use the same memory of every segment. Two ranks *share* when they are
 * of one machine and RECTO_TRANSPORT does not keep their domains apart: then
 * each maps the other's memory. Otherwise MPI carries what crosses.
 *
 * Threads. Collectives: one application thread at a time. net_post: any
 * thread, also inside a fault handler. net_post_data, net_window_get: service thread
 * only. MPI is never called in a fault handler.
 */
#ifndef RECTO_SRC_NET_H
#define RECTO_SRC_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- topology (local, after net_init) ------------------------------------ */

int net_rank(void);
int net_size(void);
int net_domain(void);              /* my domain */
int net_domains(void);             /* number of domains */
int net_domain_of(int rank);       /* domain of a rank */
int net_domain_leader(int domain); /* its lowest rank */
const char *net_host(int rank);    /* host of a rank, for messages */
bool net_same_machine(int rank);
int net_machine_of(int rank); /* lowest rank of its machine */
bool net_shares(int rank);    /* reached by loads and stores */
int net_local_ranks(void);    /* ranks on my machine */
int net_local_cores(void);    /* cores of my machine (hwloc) */

/* Library and version of MPI, the machine's processors and large pages; before MPI starts,
 * too. */
void net_library_text(char *text, size_t size);
void net_machine_text(char *text, size_t size);

/* ---- collectives ---------------------------------------------------------
 * By one application thread of every rank, in the same order. Return 0 or
 * RECTO_EMPI. */

int net_bcast(void *data, size_t bytes, int root);
int net_allreduce_min(int64_t *values, int count); /* in place */
int net_allreduce_max(int64_t *values, int count);
int net_allreduce_sum(int64_t *values, int count);
/* Exclusive prefix sums over ranks, in place; rank 0 gets zeros. */
int net_exscan_sum(uint64_t *values, int count);
/* `all` has size() blocks of `bytes`, in rank order. */
int net_allgather(const void *mine, size_t bytes, void *all);
/* `all` is used at the root only. */
int net_gather(const void *mine, size_t bytes, void *all, int root);
/* Blocks of different sizes: bytes[r] from rank r, end to end in rank order. */
int net_gatherv(const void *mine, size_t bytes, void *all,
                const uint64_t *sizes, int root);
/* send_bytes[r] for rank r, end to end in rank order; likewise received. */
int net_alltoallv(const void *send, const uint64_t *send_bytes, void *receive,
                  const uint64_t *receive_bytes);

/*
 * Sends parcels to some ranks; nobody knows what it gets. `take` is called for each
 * parcel that comes, in any order, my own included; the data lie there until it
 * returns. Its first error is this rank's outcome, after all the others have been
 * sent and received. Costs a message per parcel and a barrier.
 */
enum {
    NET_PARCEL = 262144 /* bytes of one, at most */
};
struct net_parcel {
    int to;
    size_t bytes;
    const void *data;
};
typedef int (*net_taker)(void *context, const void *data, size_t bytes);
int net_exchange(const struct net_parcel *parcels, size_t count, net_taker take,
                 void *context);

/* A list of parcels; free(items). */
struct net_parcels {
    struct net_parcel *items;
    size_t count;
    size_t room;
};
/* Adds data, which stay where they are; they join the parcel before them if they are
 * for the same rank and lie behind its own, and are never divided. RECTO_ENOMEM. */
int net_parcels_add(struct net_parcels *list, int to, const void *data,
                    size_t bytes);

/* Sends to one rank and receives from another, at most `most` bytes and less than
 * 2 GiB; -1: nobody. Both call it. */
int net_sendrecv(const void *send, size_t bytes, int to, void *receive,
                 size_t most, int from);

/* The public collective calls, for net_agree. */
enum net_call {
    NET_CALL_BARRIER,
    NET_CALL_ALLOC,
    NET_CALL_FREE,
    NET_CALL_LOCK_CREATE,
    NET_CALL_LOCK_FREE,
    NET_CALL_CHECKPOINT,
    NET_CALL_CHECKPOINT_DUE,
    NET_CALL_CHECKPOINT_WAIT,
    NET_CALL_RESTART,
    NET_CALL_RECOVER,
    NET_CALL_CHECK_ALL,
    NET_CALL_MIGRATE,
    NET_CALL_TYPE,
    NET_CALL_ATTRIBUTE,
    NET_CALL_FINALIZE
};

/*
 * Opens every public collective call: tells whether all ranks made the same
 * call with the same arguments (text describes call and arguments, for
 * messages and comparison) and all are willing: `status` is 0 or the error
 * this rank already found in its arguments (with its message recorded). Also a
 * barrier. 0; or on every rank the same error, with a message that names the
 * ranks, calls and arguments that differ, or the failing rank's message.
 */
static inline int net_agree(enum net_call call, int status, const char *text);
int net_agree_all(enum net_call call, int status, const char *text);
/* The same, and *value becomes the greatest of all ranks: one operation. */
int net_agree_max(enum net_call call, const char *text, int64_t *value);

/*
 * The verdict of a step that every rank took: 0 when all pass 0, else on every
 * rank the error of the lowest failing rank, with its message.
 */
static inline int net_verdict(int status);
int net_verdict_all(int status);

/* Who passes an error gets one: said here where analyzers see it. */
static inline int net_agree(enum net_call call, int status, const char *text)
{
    int r = net_agree_all(call, status, text);
    return r == 0 ? status : r;
}

static inline int net_verdict(int status)
{
    int r = net_verdict_all(status);
    return r == 0 ? status : r;
}

/*
 * One thread of each rank beside the application's may make the collective calls above,
 * in an order of their own. Create is collective, by the application, and does
 * nothing from the second time on; a thread that has entered stays in the background.
 */
int net_background_create(void);
void net_background_enter(void);
/* Does somebody wait for the threads in the background? Else they sleep while they
 * wait. Any thread. */
void net_background_hurry(bool hurry);

/* ---- memory shared inside a machine --------------------------------------- */

/*
 * Opens a descriptor of another rank of my machine: number `fd` there. The
 * returned one is close-on-exec. RECTO_ESTATE with a message.
 */
int net_fd_open(int rank, int fd, int *mine);

/* Memory of each rank, zero at first, that the ranks which share with it map. */
struct net_memory {
    int fd;
    int ranks;
    size_t bytes;
    void **views; /* by rank; NULL where not shared */
};

/* `bytes` of every rank's own. Collective, one verdict; net_memory_free follows
 * failure too. */
int net_memory_create(struct net_memory *m, const char *label, size_t bytes);
void net_memory_free(struct net_memory *m); /* local; fine if never created */

/* ---- control messages ------------------------------------------------------ */

enum net_service {
    NET_SERVICE_SPACE,
    NET_SERVICE_COHERENCE,
    NET_SERVICE_RELEASE,
    NET_SERVICE_SYNC,
    NET_SERVICE_HEAP,
    NET_SERVICE_COUNT
};

struct net_msg {
    uint8_t service; /* enum net_service */
    uint8_t type;
    uint16_t flags;
    int32_t source; /* sending rank, set by net_post */
    int32_t target; /* set by net_post */
    uint32_t object;
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint64_t d;
};

/* Runs in the service thread. Must not wait for another rank. */
typedef void (*net_receiver)(const struct net_msg *msg);

/* Who receives a service's messages; before net_service_start. */
void net_service_receiver(enum net_service which, net_receiver receiver);

/*
 * Starts the service thread, unless it runs: at the start of Recto if ranks are reached
 * by MPI or RECTO_PROGRESS asks for it (`needed` false), or because memory needs it
 * that is allocated now. RECTO_EINVAL when RECTO_PROGRESS forbids what is needed.
 * Local.
 */
int net_service_start(bool needed);

/*
 * Sends a message to a rank's service thread (mine too). Never fails, never
 * blocks on the receiver's work; async-signal-safe unless called by the
 * service thread itself. Messages between two ranks keep their order as far as
 * they are sent by one thread.
 */
void net_post(int target, const struct net_msg *msg);
/* The same outside fault handlers: blocks signals, for a handler that faulted
 * between claim and publication of a message would wait for itself
 * (net/ring.h). */
void net_post_masked(int target, const struct net_msg *msg);

/*
 * Service thread only: net_post to a rank that does not share, with up to NET_DATA
 * bytes of data, 8-byte aligned, which are copied before it returns. The receiver finds them with
 * net_data, where they lie until it returns; NULL: none came with the message.
 */
enum {
    NET_DATA = 65536
};
void net_post_data(int target, const struct net_msg *msg, const void *data,
                   size_t bytes);
const void *net_data(size_t *bytes);

/* Around a wait for what another rank's service thread must answer: mine looks for
 * the answer more often. Async-signal-safe. */
void net_await_begin(void);
void net_await_end(void);

/* Service thread only: delivers msg to its receiver again, not before `due`
 * (base_now). */
void net_defer(const struct net_msg *msg, uint64_t due);

/* ---- waiting --------------------------------------------------------------- */

/* futex on a word: private to the process, or in memory shared inside the
 * machine. Waits while *word == value, at most `timeout_ns` (0: no limit).
 * Async-signal-safe. RECTO_EPEER on timeout, 0 otherwise (also spuriously). */
int net_futex_wait(const uint32_t *word, uint32_t value, uint64_t timeout_ns,
                   bool shared);
void net_futex_wake(const uint32_t *word, int count, bool shared);
/* The same for waiters told apart by `bits`: a wake reaches the waiters that
 * have a bit in common with it. In memory shared inside the machine. */
void net_futex_wait_bits(const uint32_t *word, uint32_t value, uint32_t bits);
void net_futex_wake_bits(const uint32_t *word, uint32_t bits);

/* RECTO_TIMEOUT in nanoseconds; 0: wait for ever. */
uint64_t net_timeout(void);

/* ---- windows ---------------------------------------------------------------- */

typedef struct net_window net_window;

/* Exposes `bytes` at `base` to ranks that are reached by MPI. Collective. No
 * window is made (*window = NULL) when all ranks share. */
int net_window_create(void *base, uint64_t bytes, net_window **window);
int net_window_free(net_window *window); /* collective; NULL is fine */

/* Starts to copy from `offset` in the target's memory; `then` is delivered to its
 * receiver here when the bytes are in `buffer`. False, and nothing happens, when too
 * many are under way: try again later (net_defer). Service thread only. */
bool net_window_get(net_window *window, int target, uint64_t offset,
                    void *buffer, size_t bytes, const struct net_msg *then);

/* Copies to `offset` in the memory of a target that is reached by MPI; there when it
 * returns, to be seen by who then meets this rank in a collective call. By a thread that makes
 * collective calls. */
int net_window_put(net_window *window, int target, uint64_t offset,
                   const void *data, size_t bytes);

/* ---- the program's own MPI calls (src/net/calls.h) ------------------------------ */

/* Who makes buffers fit for MPI: as coherence_lend and its kin. */
struct net_lender {
    bool (*lendable)(const void *p);
    void *(*lend)(void *p, uint64_t bytes, bool write, void **loan);
    void (*give)(void *loan);
};
void net_lender_set(const struct net_lender *with); /* NULL: nobody */

/* A page fault at `address` is about to wait for a rank that MPI reaches. Ends the
 * job with a message when the thread is in an MPI call, whose locks may keep the
 * service thread from answering. Async-signal-safe. */
void net_mpi_wait(const void *address);
/* Is this thread in an MPI call of the program? Async-signal-safe. */
bool net_mpi_inside(void);

/* ---- life cycle (src/net/init.c) -------------------------------------------- */

int net_init(int *argc, char ***argv, const void *comm);
int net_finalize(void);
uint64_t net_messages(void); /* messages posted by this rank */

#endif
