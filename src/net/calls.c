/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loans of buffers to MPI, requests that hold some, and point-to-point calls.
 *
 * A buffer is lent with all that the call may touch: from the lowest to the
 * highest byte of `count` elements. Memory that is not shared costs a comparison.
 *
 * Invariants
 * 1. A request that holds loans has one entry in the table, from the call that
 *    started it until the one that found it complete. Who asks for completion
 *    takes the entry out first and puts it back if the request goes on: a handle
 *    that MPI gives anew meanwhile is another entry.
 * 2. A persistent request holds its loans until it is freed.
 */
#include "net/calls.h"

#include <pthread.h>
#include <recto/error.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "net/net.h"
#include "net/state.h"

/* ---- the lender ------------------------------------------------------------------ */

/* NULL: nothing is lent. Set before other threads call MPI. */
static _Atomic(const struct net_lender *) lender;
static _Thread_local const char *inside;

static const struct net_lender *lender_now(void)
{
    return atomic_load_explicit(&lender, memory_order_acquire);
}

void net_lender_set(const struct net_lender *with)
{
    atomic_store_explicit(&lender, with, memory_order_release);
}

void net_mpi_wait(const void *address)
{
    if (inside != NULL) {
        base_fatal(
            "page fault at %p inside %s, which needs MPI itself: only "
            "buffers that are arguments of the call are made ready; copy "
            "the memory, or touch it before",
            address, inside);
    }
}

bool net_mpi_inside(void)
{
    return inside != NULL;
}

static bool lendable(const void *p)
{
    const struct net_lender *l = lender_now();
    return l != NULL && l->lendable(p);
}

/* ---- loans of a call ---------------------------------------------------------------- */

struct loans calls_begin(const char *name)
{
    struct loans l = {.outer = inside};
    inside = name;
    return l;
}

/* The bytes of `count` elements at displacement 0, relative to the buffer. */
static void span(int count, MPI_Datatype type, int64_t *from, int64_t *to)
{
    MPI_Aint lb = 0;
    MPI_Aint extent = 0;
    MPI_Aint true_lb = 0;
    MPI_Aint true_extent = 0;
    PMPI_Type_get_extent(type, &lb, &extent);
    PMPI_Type_get_true_extent(type, &true_lb, &true_extent);
    int64_t last = (int64_t)(count - 1) * extent;
    *from = true_lb + (last < 0 ? last : 0);
    *to = true_lb + true_extent + (last > 0 ? last : 0);
}

/* NOLINTBEGIN(performance-no-int-to-ptr): MPI_BOTTOM counts from address 0, and
 * const goes */
/* Lends bytes [from, to) of the buffer. */
static void *lend(struct loans *l, const void *buffer, int64_t from, int64_t to,
                  bool write)
{
    char *p = (char *)((uintptr_t)buffer + (uintptr_t)from);
    if (to <= from || !lendable(p)) {
        return (void *)(uintptr_t)buffer;
    }
    const char *call = inside;
    inside = l->outer; /* a fault here may use MPI */
    char *use =
        lender_now()->lend(p, (uint64_t)(to - from), write, &l->loan[l->count]);
    inside = call;
    if (use == NULL) {
        l->failed = true;
        return NULL;
    }
    l->count += l->loan[l->count] != NULL;
    return (void *)((uintptr_t)use - (uintptr_t)from);
}
/* NOLINTEND(performance-no-int-to-ptr) */

static void *lend_elements(struct loans *l, const void *buffer, int count,
                           MPI_Datatype type, bool write)
{
    int64_t from = 0;
    int64_t to = 0;
    if (lender_now() != NULL && buffer != MPI_IN_PLACE && count > 0 &&
        type != MPI_DATATYPE_NULL &&
        (buffer == MPI_BOTTOM || lendable(buffer))) {
        span(count, type, &from, &to);
    }
    return lend(l, buffer, from, to, write);
}

const void *calls_in(struct loans *l, const void *buffer, int count,
                     MPI_Datatype type)
{
    return lend_elements(l, buffer, count, type, false);
}

void *calls_out(struct loans *l, void *buffer, int count, MPI_Datatype type)
{
    return lend_elements(l, buffer, count, type, true);
}

static void *lend_parts(struct loans *l, const void *buffer,
                        const struct parts *parts, bool write)
{
    int64_t lowest = INT64_MAX;
    int64_t highest = INT64_MIN;
    int64_t next = 0; /* where the next part begins, end to end */
    bool may = lender_now() != NULL && buffer != MPI_IN_PLACE;
    for (int i = 0; may && i < parts->n; i++) {
        MPI_Datatype type =
            parts->types != NULL ? parts->types[i] : parts->type;
        MPI_Aint lb = 0;
        MPI_Aint extent = 1;
        int64_t from = 0;
        int64_t to = 0;
        if (parts->counts[i] <= 0) {
            continue;
        }
        if (parts->types == NULL) {
            PMPI_Type_get_extent(type, &lb, &extent);
        }
        int64_t at =
            parts->displs != NULL ? (int64_t)parts->displs[i] * extent : next;
        next += (int64_t)parts->counts[i] * extent;
        span(parts->counts[i], type, &from, &to);
        lowest = at + from < lowest ? at + from : lowest;
        highest = at + to > highest ? at + to : highest;
    }
    return lowest < highest ? lend(l, buffer, lowest, highest, write)
                            : lend(l, buffer, 0, 0, write);
}

const void *calls_in_parts(struct loans *l, const void *buffer,
                           const struct parts *parts)
{
    return lend_parts(l, buffer, parts, false);
}

void *calls_out_parts(struct loans *l, void *buffer, const struct parts *parts)
{
    return lend_parts(l, buffer, parts, true);
}

static void give_back(struct loans *l)
{
    while (l->count > 0) {
        lender_now()->give(l->loan[--l->count]);
    }
}

int calls_ready(const struct loans *l)
{
    if (l->failed) {
        base_warn("%s: %s", inside, recto_last_error());
    }
    return l->failed ? MPI_ERR_NO_MEM : MPI_SUCCESS;
}

int calls_end(struct loans *l, int code)
{
    inside = l->outer;
    give_back(l);
    return code;
}

/* ---- loans of requests and files ------------------------------------------------------- */

struct entry {
    uintptr_t key;
    bool persistent;
    struct loans loans;
    bool done; /* a split call that was made whole */
    MPI_Status status;
    struct entry *next;
};

static struct {
    pthread_mutex_t mutex;
    struct entry *first;
    _Atomic int count;
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void entry_put(struct entry *e)
{
    pthread_mutex_lock(&held.mutex);
    e->next = held.first;
    held.first = e;
    held.count++;
    pthread_mutex_unlock(&held.mutex);
}

/* `all`: persistent ones too. */
static struct entry *entry_take(uintptr_t key, bool all)
{
    if (held.count == 0) {
        return NULL;
    }
    pthread_mutex_lock(&held.mutex);
    struct entry **at = &held.first;
    while (*at != NULL && ((*at)->key != key || ((*at)->persistent && !all))) {
        at = &(*at)->next;
    }
    struct entry *e = *at;
    if (e != NULL) {
        *at = e->next;
        held.count--;
    }
    pthread_mutex_unlock(&held.mutex);
    return e;
}

static void entry_end(struct entry *e)
{
    if (e != NULL) {
        give_back(&e->loans);
        free(e);
    }
}

static int keep(struct loans *l, int code, uintptr_t key, bool persistent)
{
    inside = l->outer;
    if (l->count == 0 || code != MPI_SUCCESS) {
        give_back(l);
        return code;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL) {
        base_fatal("no memory to note what a request has borrowed");
    }
    e->key = key;
    e->persistent = persistent;
    e->loans = *l;
    entry_put(e);
    return code;
}

static uintptr_t key_of(MPI_Request request)
{
    return (uintptr_t)request;
}

int calls_keep(struct loans *l, int code, MPI_Request request)
{
    return keep(l, code, key_of(request), false);
}

/* ---- files ---------------------------------------------------------------------------- */

bool calls_files_wait(void)
{
    return net.uses_mpi;
}

/* What a complete request says when it is asked. */
static int complete_query(void *extra, MPI_Status *status)
{
    int bytes = 0;
    PMPI_Get_count(extra, MPI_BYTE, &bytes);
    PMPI_Status_set_elements(status, MPI_BYTE, bytes);
    PMPI_Status_set_cancelled(status, 0);
    status->MPI_SOURCE = MPI_UNDEFINED;
    status->MPI_TAG = MPI_UNDEFINED;
    return MPI_SUCCESS;
}

static int complete_free(void *extra)
{
    free(extra);
    return MPI_SUCCESS;
}

static int complete_cancel(void *extra, int complete)
{
    (void)extra;
    (void)complete;
    return MPI_SUCCESS;
}

int calls_complete(int code, const MPI_Status *status, MPI_Request *request)
{
    MPI_Status *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        return code == MPI_SUCCESS ? MPI_ERR_NO_MEM : code;
    }
    *copy = *status;
    if (code == MPI_SUCCESS) {
        code = PMPI_Grequest_start(complete_query, complete_free,
                                   complete_cancel, copy, request);
    }
    if (code != MPI_SUCCESS) {
        free(copy);
        return code;
    }
    return PMPI_Grequest_complete(*request);
}

int calls_split_begin(struct loans *l, int code, MPI_File file,
                      const MPI_Status *status)
{
    inside = l->outer;
    if (code != MPI_SUCCESS || (l->count == 0 && status == NULL)) {
        give_back(l);
        return code;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL) {
        base_fatal("no memory to note what a file call has borrowed");
    }
    e->key = (uintptr_t)file;
    e->loans = *l;
    e->done = status != NULL;
    if (e->done) {
        e->status = *status;
    }
    entry_put(e);
    return code;
}

bool calls_split_done(MPI_File file, MPI_Status *status)
{
    struct entry *e = entry_take((uintptr_t)file, false);
    bool done = e != NULL && e->done;
    if (done && status != MPI_STATUS_IGNORE) {
        *status = e->status;
    }
    if (e != NULL) {
        entry_put(e);
    }
    return done;
}

void calls_split_end(MPI_File file)
{
    entry_end(entry_take((uintptr_t)file, false));
}

/* ---- completion ----------------------------------------------------------------------------- */

/* Entries of requests, taken before MPI is asked about them. */
struct taken {
    int n;
    struct entry *few[16];
    struct entry **entries; /* `few`, or memory; NULL: there are none */
};

static struct taken take(int n, const MPI_Request *requests)
{
    struct taken t = {.n = n};
    return held.count == 0 || n <= 0 || requests == NULL ? (struct taken){0}
                                                         : t;
}

static void take_all(struct taken *t, const MPI_Request *requests)
{
    if (t->n == 0) {
        return;
    }
    t->entries =
        t->n <= 16 ? t->few : calloc((size_t)t->n, sizeof(struct entry *));
    if (t->entries == NULL) {
        base_fatal("no memory for %d requests", t->n);
    }
    for (int i = 0; i < t->n; i++) {
        t->entries[i] = entry_take(key_of(requests[i]), false);
    }
}

/* What goes on is put back, what is complete returned: MPI has set its handle to
 * MPI_REQUEST_NULL. */
static void settle(struct taken *t, const MPI_Request *requests)
{
    for (int i = 0; i < t->n; i++) {
        struct entry *e = t->entries[i];
        if (e != NULL && requests[i] != MPI_REQUEST_NULL) {
            entry_put(e);
        } else {
            entry_end(e);
        }
    }
    if (t->entries != t->few) {
        free(t->entries);
    }
}

#define COMPLETION(n, requests, call)                                          \
    struct loans l = calls_begin(__func__);                                    \
    struct taken t = take(n, requests);                                        \
    take_all(&t, requests);                                                    \
    int code = call;                                                           \
    inside = l.outer;                                                          \
    settle(&t, requests);                                                      \
    return code

WRAPPED int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
    COMPLETION(1, request, PMPI_Wait(request, status));
}

WRAPPED int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
    COMPLETION(1, request, PMPI_Test(request, flag, status));
}

WRAPPED int MPI_Waitall(int n, MPI_Request requests[], MPI_Status statuses[])
{
    COMPLETION(n, requests, PMPI_Waitall(n, requests, statuses));
}

WRAPPED int MPI_Testall(int n, MPI_Request requests[], int *flag,
                        MPI_Status statuses[])
{
    COMPLETION(n, requests, PMPI_Testall(n, requests, flag, statuses));
}

WRAPPED int MPI_Waitany(int n, MPI_Request requests[], int *index,
                        MPI_Status *status)
{
    COMPLETION(n, requests, PMPI_Waitany(n, requests, index, status));
}

WRAPPED int MPI_Testany(int n, MPI_Request requests[], int *index, int *flag,
                        MPI_Status *status)
{
    COMPLETION(n, requests, PMPI_Testany(n, requests, index, flag, status));
}

WRAPPED int MPI_Waitsome(int n, MPI_Request requests[], int *count,
                         int indices[], MPI_Status statuses[])
{
    COMPLETION(n, requests,
               PMPI_Waitsome(n, requests, count, indices, statuses));
}

WRAPPED int MPI_Testsome(int n, MPI_Request requests[], int *count,
                         int indices[], MPI_Status statuses[])
{
    COMPLETION(n, requests,
               PMPI_Testsome(n, requests, count, indices, statuses));
}

/* A request that is freed while active goes on unseen: what it borrowed stays
 * lent. A persistent one is at rest. */
WRAPPED int MPI_Request_free(MPI_Request *request)
{
    uintptr_t key = request != NULL ? key_of(*request) : 0;
    struct entry *e = entry_take(key, true);
    int code = PMPI_Request_free(request);
    if (e != NULL && e->persistent && code == MPI_SUCCESS) {
        entry_end(e);
    } else if (e != NULL) {
        e->key = 0;
        entry_put(e);
    }
    return code;
}

/* ---- point to point ------------------------------------------------------------------------ */

/* NOLINTBEGIN(bugprone-macro-parentheses,readability-function-size): parameters
 * are parts of declarations, and as many as MPI's calls have */
#define CALL(l, call)                                                          \
    (calls_ready(&(l)) == MPI_SUCCESS ? (call) : MPI_ERR_NO_MEM)

#define SEND(kind)                                                             \
    WRAPPED int MPI_##kind(const void *buffer, int count, MPI_Datatype type,   \
                           int to, int tag, MPI_Comm comm)                     \
    {                                                                          \
        struct loans l = calls_begin("MPI_" #kind);                            \
        const void *b = calls_in(&l, buffer, count, type);                     \
        return calls_end(&l,                                                   \
                         CALL(l, PMPI_##kind(b, count, type, to, tag, comm))); \
    }
SEND(Send)
SEND(Ssend)
SEND(Rsend)
SEND(Bsend)

#define ISEND(kind)                                                            \
    WRAPPED int MPI_##kind(const void *buffer, int count, MPI_Datatype type,   \
                           int to, int tag, MPI_Comm comm,                     \
                           MPI_Request *request)                               \
    {                                                                          \
        struct loans l = calls_begin("MPI_" #kind);                            \
        const void *b = calls_in(&l, buffer, count, type);                     \
        int code =                                                             \
            CALL(l, PMPI_##kind(b, count, type, to, tag, comm, request));      \
        return calls_keep(&l, code,                                            \
                          code == MPI_SUCCESS ? *request : MPI_REQUEST_NULL);  \
    }
ISEND(Isend)
ISEND(Issend)
ISEND(Irsend)
ISEND(Ibsend)

/* The loans are pinned while the request exists; sequential memory has copies
 * instead, which a persistent request would not see change. */
#define PERSISTENT(kind, constant, borrow)                                     \
    WRAPPED int MPI_##kind(constant void *buffer, int count,                   \
                           MPI_Datatype type, int rank, int tag,               \
                           MPI_Comm comm, MPI_Request *request)                \
    {                                                                          \
        struct loans l = calls_begin("MPI_" #kind);                            \
        constant void *b = borrow(&l, buffer, count, type);                    \
        if (b != buffer) {                                                     \
            base_warn("MPI_" #kind ": not with sequentially consistent "       \
                      "shared memory: copy through private memory");           \
            return calls_end(&l, MPI_ERR_BUFFER);                              \
        }                                                                      \
        int code =                                                             \
            CALL(l, PMPI_##kind(b, count, type, rank, tag, comm, request));    \
        return keep(&l, code, code == MPI_SUCCESS ? key_of(*request) : 0,      \
                    true);                                                     \
    }
PERSISTENT(Send_init, const, calls_in)
PERSISTENT(Ssend_init, const, calls_in)
PERSISTENT(Rsend_init, const, calls_in)
PERSISTENT(Bsend_init, const, calls_in)
PERSISTENT(Recv_init, , calls_out)

WRAPPED int MPI_Recv(void *buffer, int count, MPI_Datatype type, int from,
                     int tag, MPI_Comm comm, MPI_Status *status)
{
    struct loans l = calls_begin("MPI_Recv");
    void *b = calls_out(&l, buffer, count, type);
    return calls_end(
        &l, CALL(l, PMPI_Recv(b, count, type, from, tag, comm, status)));
}

WRAPPED int MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from,
                      int tag, MPI_Comm comm, MPI_Request *request)
{
    struct loans l = calls_begin("MPI_Irecv");
    void *b = calls_out(&l, buffer, count, type);
    int code = CALL(l, PMPI_Irecv(b, count, type, from, tag, comm, request));
    return calls_keep(&l, code,
                      code == MPI_SUCCESS ? *request : MPI_REQUEST_NULL);
}

WRAPPED int MPI_Mrecv(void *buffer, int count, MPI_Datatype type,
                      MPI_Message *message, MPI_Status *status)
{
    struct loans l = calls_begin("MPI_Mrecv");
    void *b = calls_out(&l, buffer, count, type);
    return calls_end(&l, CALL(l, PMPI_Mrecv(b, count, type, message, status)));
}

WRAPPED int MPI_Imrecv(void *buffer, int count, MPI_Datatype type,
                       MPI_Message *message, MPI_Request *request)
{
    struct loans l = calls_begin("MPI_Imrecv");
    void *b = calls_out(&l, buffer, count, type);
    int code = CALL(l, PMPI_Imrecv(b, count, type, message, request));
    return calls_keep(&l, code,
                      code == MPI_SUCCESS ? *request : MPI_REQUEST_NULL);
}

WRAPPED int MPI_Sendrecv(const void *send, int scount, MPI_Datatype stype,
                         int to, int stag, void *receive, int rcount,
                         MPI_Datatype rtype, int from, int rtag, MPI_Comm comm,
                         MPI_Status *status)
{
    struct loans l = calls_begin("MPI_Sendrecv");
    const void *s = calls_in(&l, send, scount, stype);
    void *r = calls_out(&l, receive, rcount, rtype);
    return calls_end(
        &l, CALL(l, PMPI_Sendrecv(s, scount, stype, to, stag, r, rcount, rtype,
                                  from, rtag, comm, status)));
}

WRAPPED int MPI_Sendrecv_replace(void *buffer, int count, MPI_Datatype type,
                                 int to, int stag, int from, int rtag,
                                 MPI_Comm comm, MPI_Status *status)
{
    struct loans l = calls_begin("MPI_Sendrecv_replace");
    void *b = calls_out(&l, buffer, count, type);
    return calls_end(&l,
                     CALL(l, PMPI_Sendrecv_replace(b, count, type, to, stag,
                                                   from, rtag, comm, status)));
}
/* NOLINTEND(bugprone-macro-parentheses,readability-function-size) */
