/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that shared memory which this rank has never touched may be handed to
 * system calls, MPI (point to point, collective, nonblocking, persistent, derived
 * types, files) and HDF5 at any offset, while neighbours write the bytes around
 * it, under both protocols; that recto_pin keeps memory accessible to bare system
 * calls through releases and acquires; and what is refused.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <mpi.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "test.h"

enum {
    BYTES = 9001, /* of a buffer, at an odd place */
    ROOM = 3 * 4096,
    BEFORE = 13
};

static char *memory; /* per rank: what it sends, what it receives */
static const char *current;
static bool sequential;
static int me;
static int size;

static char *out_of(int rank)
{
    return memory + (size_t)rank * 2 * ROOM + BEFORE;
}

static char *in_of(int rank)
{
    return out_of(rank) + ROOM;
}

static int right(void)
{
    return (me + 1) % size;
}

static int left(void)
{
    return (me + size - 1) % size;
}

static char sent(int rank, int i)
{
    return (char)(test_hash((uint64_t)rank, (uint64_t)i, 3) | 1);
}

/* The call under test; then byte i of rank r's input is expected(r, i), 0 where
 * the call writes nothing. */
struct call {
    const char *name;
    void (*make)(char *out, char *in);
    char (*expected)(int rank, int i);
    bool release_only;
};

/* ---- point to point ---------------------------------------------------------------- */

static char ring(int rank, int i)
{
    return sent((rank + size - 1) % size, i);
}

static void sendrecv(char *out, char *in)
{
    MPI_Sendrecv(out, BYTES, MPI_BYTE, right(), 1, in, BYTES, MPI_BYTE, left(),
                 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void isend_waitall(char *out, char *in)
{
    MPI_Request r[4];
    int half = BYTES / 2;
    MPI_Irecv(in, half, MPI_BYTE, left(), 1, MPI_COMM_WORLD, &r[0]);
    MPI_Irecv(in + half, BYTES - half, MPI_BYTE, left(), 2, MPI_COMM_WORLD,
              &r[1]);
    MPI_Isend(out, half, MPI_BYTE, right(), 1, MPI_COMM_WORLD, &r[2]);
    MPI_Issend(out + half, BYTES - half, MPI_BYTE, right(), 2, MPI_COMM_WORLD,
               &r[3]);
    MPI_Waitall(4, r, MPI_STATUSES_IGNORE);
}

static void irecv_test(char *out, char *in)
{
    MPI_Request r[2];
    int done = 0;
    MPI_Irecv(in, BYTES, MPI_BYTE, left(), 1, MPI_COMM_WORLD, &r[0]);
    MPI_Isend(out, BYTES, MPI_BYTE, right(), 1, MPI_COMM_WORLD, &r[1]);
    while (!done) {
        MPI_Test(&r[0], &done, MPI_STATUS_IGNORE);
    }
    MPI_Wait(&r[1], MPI_STATUS_IGNORE);
    CHECK(r[0] == MPI_REQUEST_NULL && r[1] == MPI_REQUEST_NULL);
}

static void some(char *out, char *in)
{
    enum {
        PARTS = 20
    };
    MPI_Request r[2 * PARTS];
    int part = BYTES / PARTS;
    for (int i = 0; i < PARTS; i++) {
        int n = i < PARTS - 1 ? part : BYTES - i * part;
        MPI_Irecv(in + i * part, n, MPI_BYTE, left(), i, MPI_COMM_WORLD, &r[i]);
        MPI_Isend(out + i * part, n, MPI_BYTE, right(), i, MPI_COMM_WORLD,
                  &r[PARTS + i]);
    }
    int left_over = 2 * PARTS;
    int indices[2 * PARTS];
    MPI_Waitany(2 * PARTS, r, indices, MPI_STATUS_IGNORE);
    left_over--;
    while (left_over > 0) {
        int n = 0;
        MPI_Testsome(2 * PARTS, r, &n, indices, MPI_STATUSES_IGNORE);
        left_over -= n;
    }
}

static void persistent(char *out, char *in)
{
    MPI_Request r[2];
    MPI_Send_init(out, BYTES, MPI_BYTE, right(), 1, MPI_COMM_WORLD, &r[0]);
    MPI_Recv_init(in, BYTES, MPI_BYTE, left(), 1, MPI_COMM_WORLD, &r[1]);
    for (int i = 0; i < 3; i++) {
        MPI_Startall(2, r);
        MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
    }
    MPI_Request_free(&r[0]);
    MPI_Request_free(&r[1]);
}

static void probed(char *out, char *in)
{
    MPI_Request r;
    MPI_Message message;
    MPI_Status status;
    MPI_Isend(out, BYTES, MPI_BYTE, right(), 1, MPI_COMM_WORLD, &r);
    MPI_Mprobe(left(), 1, MPI_COMM_WORLD, &message, &status);
    MPI_Mrecv(in, BYTES, MPI_BYTE, &message, &status);
    MPI_Wait(&r, MPI_STATUS_IGNORE);
}

static char striped(int rank, int i)
{
    return i % 6 < 3 && i / 6 < BYTES / 6 ? ring(rank, i) : 0;
}

/* Three bytes of six, as a type. */
static void derived(char *out, char *in)
{
    MPI_Datatype stripes;
    MPI_Type_vector(BYTES / 6, 3, 6, MPI_BYTE, &stripes);
    MPI_Type_commit(&stripes);
    MPI_Sendrecv(out, 1, stripes, right(), 1, in, 1, stripes, left(), 1,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Type_free(&stripes);
}

/* The same with absolute addresses. */
static void bottom(char *out, char *in)
{
    MPI_Datatype from;
    MPI_Datatype to;
    int bytes = BYTES;
    MPI_Aint a = (MPI_Aint)out;
    MPI_Aint b = (MPI_Aint)in;
    MPI_Type_create_hindexed(1, &bytes, &a, MPI_BYTE, &from);
    MPI_Type_create_hindexed(1, &bytes, &b, MPI_BYTE, &to);
    MPI_Type_commit(&from);
    MPI_Type_commit(&to);
    MPI_Sendrecv(MPI_BOTTOM, 1, from, right(), 1, MPI_BOTTOM, 1, to, left(), 1,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Type_free(&from);
    MPI_Type_free(&to);
}

/* ---- collective calls ---------------------------------------------------------------- */

static char from_first(int rank, int i)
{
    return rank == 0 ? 0 : sent(0, i);
}

static void bcast(char *out, char *in)
{
    MPI_Bcast(me == 0 ? out : in, BYTES, MPI_BYTE, 0, MPI_COMM_WORLD);
}

static void ibcast(char *out, char *in)
{
    MPI_Request r;
    MPI_Ibcast(me == 0 ? out : in, BYTES, MPI_BYTE, 0, MPI_COMM_WORLD, &r);
    MPI_Wait(&r, MPI_STATUS_IGNORE);
}

static char any(int rank, int i)
{
    char all = 0;
    (void)rank;
    for (int r = 0; r < size; r++) {
        all |= sent(r, i);
    }
    return all;
}

static void allreduce(char *out, char *in)
{
    MPI_Allreduce(out, in, BYTES, MPI_BYTE, MPI_BOR, MPI_COMM_WORLD);
}

static void iallreduce(char *out, char *in)
{
    MPI_Request r;
    MPI_Iallreduce(out, in, BYTES, MPI_BYTE, MPI_BOR, MPI_COMM_WORLD, &r);
    MPI_Wait(&r, MPI_STATUS_IGNORE);
}

static char any_at_last(int rank, int i)
{
    return rank == size - 1 ? any(rank, i) : 0;
}

static void reduce(char *out, char *in)
{
    /* the receive buffer of the others is none */
    MPI_Reduce(out, me == size - 1 ? in : (char *)8, BYTES, MPI_BYTE, MPI_BOR,
               size - 1, MPI_COMM_WORLD);
}

static char any_below(int rank, int i)
{
    char all = 0;
    for (int r = 0; r <= rank; r++) {
        all |= sent(r, i);
    }
    return all;
}

static void scan(char *out, char *in)
{
    MPI_Scan(out, in, BYTES, MPI_BYTE, MPI_BOR, MPI_COMM_WORLD);
}

static int part(void)
{
    return BYTES / size;
}

static char all_parts(int rank, int i)
{
    (void)rank;
    return i < part() * size ? sent(i / part(), i % part()) : 0;
}

static void allgather(char *out, char *in)
{
    MPI_Allgather(out, part(), MPI_BYTE, in, part(), MPI_BYTE, MPI_COMM_WORLD);
}

static void allgatherv(char *out, char *in)
{
    int *counts = calloc(2 * (size_t)size, sizeof *counts);
    for (int r = 0; r < size; r++) {
        counts[r] = part();
        counts[size + r] = r * part();
    }
    MPI_Allgatherv(out, part(), MPI_BYTE, in, counts, counts + size, MPI_BYTE,
                   MPI_COMM_WORLD);
    free(counts);
}

static char parts_at_first(int rank, int i)
{
    return rank == 0 ? all_parts(rank, i) : 0;
}

static void gather(char *out, char *in)
{
    MPI_Gather(out, part(), MPI_BYTE, in, part(), MPI_BYTE, 0, MPI_COMM_WORLD);
}

static char part_of_first(int rank, int i)
{
    return i < part() ? sent(0, rank * part() + i) : 0;
}

static void scatter(char *out, char *in)
{
    MPI_Scatter(out, part(), MPI_BYTE, in, part(), MPI_BYTE, 0, MPI_COMM_WORLD);
}

static char exchanged(int rank, int i)
{
    return i < part() * size ? sent(i / part(), rank * part() + i % part()) : 0;
}

static void alltoall(char *out, char *in)
{
    MPI_Alltoall(out, part(), MPI_BYTE, in, part(), MPI_BYTE, MPI_COMM_WORLD);
}

static void ialltoallv(char *out, char *in)
{
    MPI_Request r;
    int *counts = calloc(2 * (size_t)size, sizeof *counts);
    for (int k = 0; k < size; k++) {
        counts[k] = part();
        counts[size + k] = k * part();
    }
    MPI_Ialltoallv(out, counts, counts + size, MPI_BYTE, in, counts,
                   counts + size, MPI_BYTE, MPI_COMM_WORLD, &r);
    MPI_Wait(&r, MPI_STATUS_IGNORE);
    free(counts);
}

static char any_of_part(int rank, int i)
{
    return i < part() ? any(rank, rank * part() + i) : 0;
}

static void reduce_scatter(char *out, char *in)
{
    MPI_Reduce_scatter_block(out, in, part(), MPI_BYTE, MPI_BOR,
                             MPI_COMM_WORLD);
}

/* ---- files ----------------------------------------------------------------------------- */

static char own(int rank, int i)
{
    return sent(rank, i);
}

static int file_open(void)
{
    char name[64];
    snprintf(name, sizeof name, "calls.%d", me);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_OK(unlink(name));
    return fd;
}

static void read_write(char *out, char *in)
{
    int fd = file_open();
    CHECK(write(fd, out, BYTES) == BYTES);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(read(fd, in, BYTES) == BYTES);
    CHECK_OK(close(fd));
}

static void pread_pwrite(char *out, char *in)
{
    int fd = file_open();
    CHECK(pwrite(fd, out, BYTES, 5) == BYTES);
    CHECK(pread(fd, in, BYTES + 10, 5) == BYTES); /* a short one */
    CHECK_OK(close(fd));
}

static void vectors(char *out, char *in)
{
    int fd = file_open();
    char middle[100];
    struct iovec w[] = {
        {out,        5000        },
        {out + 5000, BYTES - 5000}
    };
    struct iovec r[] = {
        {in,       100          },
        {middle,   sizeof middle},
        {in + 200, BYTES - 200  }
    };
    CHECK(writev(fd, w, 2) == BYTES);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(readv(fd, r, 3) == BYTES);
    memcpy(in + 100, middle, sizeof middle);
    CHECK_OK(close(fd));
}

static void stdio(char *out, char *in)
{
    FILE *f = fdopen(file_open(), "w+");
    CHECK(f != NULL);
    CHECK(fwrite(out, 1, BYTES, f) == BYTES);
    rewind(f);
    CHECK(fread(in, 1, BYTES, f) == BYTES);
    CHECK_OK(fclose(f));
}

static void pipes(char *out, char *in)
{
    int fd[2];
    CHECK_OK(pipe(fd));
    CHECK(write(fd[1], out, BYTES) == BYTES);
    CHECK(read(fd[0], in, BYTES) == BYTES);
    CHECK_OK(close(fd[0]));
    CHECK_OK(close(fd[1]));
}

static void mpi_file(char *out, char *in)
{
    MPI_File f;
    MPI_Status s;
    CHECK_OK(MPI_File_open(MPI_COMM_WORLD, "calls.mpi",
                           MPI_MODE_CREATE | MPI_MODE_RDWR |
                               MPI_MODE_DELETE_ON_CLOSE,
                           MPI_INFO_NULL, &f));
    CHECK_OK(MPI_File_write_at_all(f, (MPI_Offset)me * BYTES, out, BYTES,
                                   MPI_BYTE, &s));
    CHECK_OK(MPI_File_sync(f));
    CHECK_OK(MPI_Barrier(MPI_COMM_WORLD));
    CHECK_OK(MPI_File_read_at(f, (MPI_Offset)left() * BYTES, in, BYTES,
                              MPI_BYTE, &s));
    CHECK_OK(MPI_File_close(&f));
}

static void mpi_file_later(char *out, char *in)
{
    MPI_File f;
    MPI_Status s;
    MPI_Request r;
    CHECK_OK(MPI_File_open(MPI_COMM_WORLD, "calls.later",
                           MPI_MODE_CREATE | MPI_MODE_RDWR |
                               MPI_MODE_DELETE_ON_CLOSE,
                           MPI_INFO_NULL, &f));
    CHECK_OK(MPI_File_iwrite_at(f, (MPI_Offset)me * BYTES, out, BYTES, MPI_BYTE,
                                &r));
    CHECK_OK(MPI_Wait(&r, &s));
    CHECK_OK(MPI_File_sync(f));
    CHECK_OK(MPI_Barrier(MPI_COMM_WORLD));
    CHECK_OK(MPI_File_read_at_all_begin(f, (MPI_Offset)left() * BYTES, in,
                                        BYTES, MPI_BYTE));
    CHECK_OK(MPI_File_read_at_all_end(f, in, &s));
    CHECK_OK(MPI_File_close(&f));
}

static void hdf5(char *out, char *in)
{
    char name[64];
    hsize_t n = BYTES;
    snprintf(name, sizeof name, "calls.%d.h5", me);
    hid_t f = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &n, NULL);
    hid_t set = H5Dcreate2(f, "d", H5T_NATIVE_CHAR, space, H5P_DEFAULT,
                           H5P_DEFAULT, H5P_DEFAULT);
    CHECK(set >= 0);
    CHECK(H5Dwrite(set, H5T_NATIVE_CHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >=
          0);
    CHECK(H5Fflush(f, H5F_SCOPE_GLOBAL) >= 0);
    CHECK(H5Dread(set, H5T_NATIVE_CHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, in) >=
          0);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(f);
    CHECK_OK(unlink(name));
}

/* ---- all of them ------------------------------------------------------------------------- */

static const struct call calls[] = {
    {"sendrecv",             sendrecv,       ring,           false},
    {"isend, waitall",       isend_waitall,  ring,           false},
    {"irecv, test",          irecv_test,     ring,           false},
    {"waitany, testsome",    some,           ring,           false},
    {"persistent",           persistent,     ring,           true },
    {"mrecv",                probed,         ring,           false},
    {"derived type",         derived,        striped,        false},
    {"MPI_BOTTOM",           bottom,         ring,           false},
    {"bcast",                bcast,          from_first,     false},
    {"ibcast",               ibcast,         from_first,     false},
    {"allreduce",            allreduce,      any,            false},
    {"iallreduce",           iallreduce,     any,            false},
    {"reduce",               reduce,         any_at_last,    false},
    {"scan",                 scan,           any_below,      false},
    {"allgather",            allgather,      all_parts,      false},
    {"allgatherv",           allgatherv,     all_parts,      false},
    {"gather",               gather,         parts_at_first, false},
    {"scatter",              scatter,        part_of_first,  false},
    {"alltoall",             alltoall,       exchanged,      false},
    {"ialltoallv",           ialltoallv,     exchanged,      false},
    {"reduce_scatter_block", reduce_scatter, any_of_part,    false},
    {"read, write",          read_write,     own,            false},
    {"pread, pwrite",        pread_pwrite,   own,            false},
    {"readv, writev",        vectors,        own,            false},
    {"fread, fwrite",        stdio,          own,            false},
    {"pipe",                 pipes,          own,            false},
    {"MPI-IO",               mpi_file,       ring,           false},
    {"MPI-IO, later",        mpi_file_later, ring,           false},
    {"HDF5",                 hdf5,           own,            false},
};

static void one(const struct call *call, const recto_attr *attr)
{
    current = call->name;
    memory = recto_alloc("calls", (uint64_t)size * 2 * ROOM, attr);
    CHECK(memory != NULL);
    char *theirs = out_of(right());
    for (int i = 0; i < BYTES; i++) {
        theirs[i] = sent(right(), i);
    }
    CHECK_OK(recto_barrier());
    call->make(out_of(me), in_of(me));
    /* the bytes around it, meanwhile */
    char *around = in_of(right());
    for (int i = 1; i < BEFORE; i++) {
        around[-i] = (char)i;
        around[BYTES + i] = (char)i;
    }
    CHECK_OK(recto_barrier());
    for (int r = 0; r < size; r++) {
        const char *in = in_of(r);
        for (int i = 0; i < BYTES; i++) {
            if (in[i] != call->expected(r, i)) {
                fprintf(stderr, "%s: byte %d of rank %d is %d, not %d\n",
                        call->name, i, r, in[i], call->expected(r, i));
                CHECK(false);
            }
        }
        for (int i = 1; i < BEFORE; i++) {
            CHECK(in[-i] == i && in[BYTES + i] == i);
        }
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(memory));
}

/* ---- recto_pin ---------------------------------------------------------------------------- */

/* Bare system calls, which nobody wraps, into and out of pinned memory, while
 * others write its neighbours and all synchronise. */
static void pinned(void)
{
    enum {
        ROUNDS = 20
    };
    recto_attr cyclic = {.placement = RECTO_CYCLIC};
    int fd[2];
    char bytes[256];
    memory = recto_alloc("pinned", (uint64_t)size * 2 * ROOM, &cyclic);
    CHECK(memory != NULL);
    CHECK_OK(pipe(fd));
    CHECK_OK(recto_barrier());
    char *in = in_of(me);
    char *out = out_of(me);
    CHECK_OK(recto_pin(in, BYTES, RECTO_WRITE));
    CHECK_OK(recto_pin(out, BYTES, RECTO_READ));
    for (int round = 1; round <= ROUNDS; round++) {
        int at = round * 397;
        /* even bytes of my input by the kernel, through a pipe; others' odd
         * bytes and my output by my neighbour */
        memset(bytes, round, sizeof bytes);
        CHECK(write(fd[1], bytes, sizeof bytes) == sizeof bytes);
        CHECK(syscall(SYS_read, fd[0], in + at, sizeof bytes) == sizeof bytes);
        for (int i = 0; i < 100; i++) {
            in_of(right())[at + 300 + i] = (char)(round + i);
            out_of(right())[i] = (char)(round ^ i);
        }
        CHECK_OK(recto_barrier());
        CHECK(syscall(SYS_write, fd[1], out, 100) == 100);
        CHECK(read(fd[0], bytes, 100) == 100);
        for (int i = 0; i < 100; i++) {
            CHECK(bytes[i] == (char)(round ^ i));
            CHECK(in[at + 300 + i] == (char)(round + i));
        }
        for (int i = 0; i < 256; i++) {
            CHECK(in_of(left())[at + i] == (char)round);
        }
        CHECK_OK(recto_barrier());
    }
    CHECK(recto_unpin(in, BYTES, RECTO_READ) ==
          (recto_nodes() > 1 ? RECTO_ESTATE : 0));
    CHECK_OK(recto_unpin(in, BYTES, RECTO_WRITE));
    CHECK_OK(recto_unpin(out, BYTES, RECTO_READ));
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_check_all());
    CHECK(recto_pin(in, BYTES, 0) == RECTO_EINVAL);
    CHECK(recto_pin(bytes, 1, RECTO_READ) == RECTO_EINVAL);
    CHECK(recto_pin(in, (size_t)1 << 40, RECTO_READ) == RECTO_EINVAL);
    recto_attr strict = {.consistency = RECTO_SEQUENTIAL};
    char *s = recto_alloc("strict", 100, &strict);
    CHECK(recto_pin(s, 100, RECTO_READ) ==
          (recto_nodes() > 1 ? RECTO_EUNSUPPORTED : 0));
    CHECK_OK(recto_free(s));
    CHECK_OK(recto_free(memory));
    CHECK_OK(close(fd[0]));
    CHECK_OK(close(fd[1]));
}

/* While writes are tracked for checkpoints pages are read-only to the kernel. */
static void tracked(const recto_attr *attr)
{
    char *p = recto_alloc("tracked", (uint64_t)size * ROOM, attr);
    CHECK(p != NULL);
    CHECK_OK(recto_checkpoint());
    for (int round = 1; round < 4; round++) {
        char *mine = p + (size_t)me * ROOM + 7;
        int fd[2];
        char bytes[6000];
        CHECK_OK(pipe(fd));
        memset(bytes, round, sizeof bytes);
        CHECK(write(fd[1], bytes, sizeof bytes) == sizeof bytes);
        CHECK(read(fd[0], mine, sizeof bytes) == sizeof bytes);
        CHECK_OK(recto_checkpoint());
        char *theirs = p + (size_t)left() * ROOM + 7;
        for (size_t i = 0; i < sizeof bytes; i++) {
            CHECK(theirs[i] == round);
        }
        CHECK_OK(recto_barrier());
        CHECK_OK(close(fd[0]));
        CHECK_OK(close(fd[1]));
    }
    CHECK_OK(recto_free(p));
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    me = recto_rank();
    size = recto_size();
    for (int s = 0; s < 2; s++) {
        recto_attr attr = {.placement = RECTO_CYCLIC,
                           .consistency = s ? RECTO_SEQUENTIAL : RECTO_RELEASE};
        sequential = s != 0;
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            if (!(calls[i].release_only && sequential && recto_nodes() > 1)) {
                one(&calls[i], &attr);
            }
        }
        tracked(&attr);
    }
    pinned();
    return test_end("shared memory in calls");
}
