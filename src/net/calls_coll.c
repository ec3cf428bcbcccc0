/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI's collective calls with shared buffers, blocking and nonblocking: each is
 * written once, in BOTH. See calls.h.
 *
 * A buffer that MPI ignores on this rank (the receive buffer of a reduction on
 * ranks that are not its root) is not looked at: it may be anything.
 */
#include "net/calls.h"

#define CALL(l, call)                                                          \
    (calls_ready(&(l)) == MPI_SUCCESS ? (call) : MPI_ERR_NO_MEM)

/* Defines MPI_name(parameters) and MPI_Iname(parameters, request): `borrow` fills
 * in what is passed on as `arguments`. */
#define UNPACK(...) __VA_ARGS__
#define BOTH(name, iname, parameters, borrow, arguments)                       \
    WRAPPED int MPI_##name(UNPACK parameters, MPI_Comm comm)                   \
    {                                                                          \
        struct loans l = calls_begin("MPI_" #name);                            \
        borrow;                                                                \
        return calls_end(&l, CALL(l, PMPI_##name(UNPACK arguments, comm)));    \
    }                                                                          \
    WRAPPED int MPI_##iname(UNPACK parameters, MPI_Comm comm,                  \
                            MPI_Request *request)                              \
    {                                                                          \
        struct loans l = calls_begin("MPI_" #iname);                           \
        borrow;                                                                \
        int code = CALL(l, PMPI_##iname(UNPACK arguments, comm, request));     \
        return calls_keep(&l, code,                                            \
                          code == MPI_SUCCESS ? *request : MPI_REQUEST_NULL);  \
    }

/* Ranks that exchange with this one in a collective call. */
static int others(MPI_Comm comm)
{
    int inter = 0;
    int n = 0;
    if (PMPI_Comm_test_inter(comm, &inter) == MPI_SUCCESS && inter != 0) {
        PMPI_Comm_remote_size(comm, &n);
    } else {
        PMPI_Comm_size(comm, &n);
    }
    return n;
}

/* Ranks whose parts a rank has of a reduction that scatters its result. */
static int own_size(MPI_Comm comm)
{
    int n = 0;
    PMPI_Comm_size(comm, &n);
    return n;
}

static int total(const int *counts, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum += counts[i];
    }
    return sum;
}

/* Is this rank the root? */
static bool rooted(int root, MPI_Comm comm)
{
    int inter = 0;
    int rank = -1;
    PMPI_Comm_test_inter(comm, &inter);
    PMPI_Comm_rank(comm, &rank);
    return inter != 0 ? root == MPI_ROOT : root == rank;
}

/* Does this rank take part with the buffer that all but the root have? */
static bool leaf(int root, MPI_Comm comm)
{
    int inter = 0;
    PMPI_Comm_test_inter(comm, &inter);
    return inter == 0 || (root != MPI_ROOT && root != MPI_PROC_NULL);
}

#define IN(buffer, count, type)  calls_in(&l, buffer, count, type)
#define OUT(buffer, count, type) calls_out(&l, buffer, count, type)
#define IN_PARTS(buffer, ...)                                                  \
    calls_in_parts(&l, buffer, &(struct parts){__VA_ARGS__})
#define OUT_PARTS(buffer, ...)                                                 \
    calls_out_parts(&l, buffer, &(struct parts){__VA_ARGS__})

/* NOLINTBEGIN(readability-function-size,performance-no-int-to-ptr): as many
 * parameters as MPI's calls have; const is taken away for a common name */
BOTH(Bcast, Ibcast, (void *buffer, int count, MPI_Datatype type, int root),
     void *b = rooted(root, comm) ? (void *)(uintptr_t)IN(buffer, count, type)
                                  : OUT(buffer, count, type),
     (b, count, type, root))

BOTH(Reduce, Ireduce,
     (const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op,
      int root),
     const void *s = leaf(root, comm) ? IN(send, count, type) : send;
     void *r = rooted(root, comm) ? OUT(receive, count, type) : receive,
     (s, r, count, type, op, root))

#define REDUCTION(name, iname)                                                 \
    BOTH(name, iname,                                                          \
         (const void *send, void *receive, int count, MPI_Datatype type,       \
          MPI_Op op),                                                          \
         const void *s = IN(send, count, type);                                \
         void *r = OUT(receive, count, type), (s, r, count, type, op))
REDUCTION(Allreduce, Iallreduce)
REDUCTION(Scan, Iscan)
REDUCTION(Exscan, Iexscan)

BOTH(Reduce_scatter, Ireduce_scatter,
     (const void *send, void *receive, const int counts[], MPI_Datatype type,
      MPI_Op op),
     int all = total(counts, own_size(comm));
     const void *s = IN(send, all, type);
     /* in place the receive buffer holds the input */
     void *r = OUT(receive, all, type),
     (s, r, counts, type, op))

BOTH(Reduce_scatter_block, Ireduce_scatter_block,
     (const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op),
     int n = own_size(comm);
     const void *s = IN(send, count *n, type);
     void *r = OUT(receive, send == MPI_IN_PLACE ? count * n : count, type),
     (s, r, count, type, op))

BOTH(Gather, Igather,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      int rcount, MPI_Datatype rtype, int root),
     const void *s = leaf(root, comm) ? IN(send, scount, stype) : send;
     void *r = rooted(root, comm) ? OUT(receive, rcount *others(comm), rtype)
                                  : receive,
     (s, scount, stype, r, rcount, rtype, root))

BOTH(Gatherv, Igatherv,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      const int rcounts[], const int displs[], MPI_Datatype rtype, int root),
     const void *s = leaf(root, comm) ? IN(send, scount, stype) : send;
     void *r = rooted(root, comm)
                   ? OUT_PARTS(receive, .n = others(comm), .counts = rcounts,
                               .displs = displs, .type = rtype)
                   : receive,
     (s, scount, stype, r, rcounts, displs, rtype, root))

BOTH(Scatter, Iscatter,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      int rcount, MPI_Datatype rtype, int root),
     const void *s = rooted(root, comm) ? IN(send, scount *others(comm), stype)
                                        : send;
     void *r = leaf(root, comm) ? OUT(receive, rcount, rtype) : receive,
     (s, scount, stype, r, rcount, rtype, root))

BOTH(Scatterv, Iscatterv,
     (const void *send, const int scounts[], const int displs[],
      MPI_Datatype stype, void *receive, int rcount, MPI_Datatype rtype,
      int root),
     const void *s = rooted(root, comm)
                         ? IN_PARTS(send, .n = others(comm), .counts = scounts,
                                    .displs = displs, .type = stype)
                         : send;
     void *r = leaf(root, comm) ? OUT(receive, rcount, rtype) : receive,
     (s, scounts, displs, stype, r, rcount, rtype, root))

BOTH(Allgather, Iallgather,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      int rcount, MPI_Datatype rtype),
     const void *s = IN(send, scount, stype);
     void *r = OUT(receive, rcount *others(comm), rtype),
     (s, scount, stype, r, rcount, rtype))

BOTH(Allgatherv, Iallgatherv,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      const int rcounts[], const int displs[], MPI_Datatype rtype),
     const void *s = IN(send, scount, stype);
     void *r = OUT_PARTS(receive, .n = others(comm), .counts = rcounts,
                         .displs = displs, .type = rtype),
     (s, scount, stype, r, rcounts, displs, rtype))

BOTH(Alltoall, Ialltoall,
     (const void *send, int scount, MPI_Datatype stype, void *receive,
      int rcount, MPI_Datatype rtype),
     int n = others(comm);
     const void *s = IN(send, scount *n, stype);
     void *r = OUT(receive, rcount *n, rtype),
     (s, scount, stype, r, rcount, rtype))

BOTH(Alltoallv, Ialltoallv,
     (const void *send, const int scounts[], const int sdispls[],
      MPI_Datatype stype, void *receive, const int rcounts[],
      const int rdispls[], MPI_Datatype rtype),
     int n = others(comm);
     const void *s = send == MPI_IN_PLACE
                         ? send
                         : IN_PARTS(send, .n = n, .counts = scounts,
                                    .displs = sdispls, .type = stype);
     void *r = OUT_PARTS(receive, .n = n, .counts = rcounts, .displs = rdispls,
                         .type = rtype),
     (s, scounts, sdispls, stype, r, rcounts, rdispls, rtype))

BOTH(Alltoallw, Ialltoallw,
     (const void *send, const int scounts[], const int sdispls[],
      const MPI_Datatype stypes[], void *receive, const int rcounts[],
      const int rdispls[], const MPI_Datatype rtypes[]),
     int n = others(comm);
     const void *s = send == MPI_IN_PLACE
                         ? send
                         : IN_PARTS(send, .n = n, .counts = scounts,
                                    .displs = sdispls, .types = stypes);
     void *r = OUT_PARTS(receive, .n = n, .counts = rcounts, .displs = rdispls,
                         .types = rtypes),
     (s, scounts, sdispls, stypes, r, rcounts, rdispls, rtypes))
/* NOLINTEND(readability-function-size,performance-no-int-to-ptr) */
