/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI-IO with shared buffers: see calls.h.
 *
 * Open MPI's nonblocking file calls end in MPI's progress, which is not safe for
 * them in several threads (seen with 4.1: heap corruption within a few hundred
 * calls while another thread calls MPI_Test). Where Recto's service thread uses
 * MPI they are therefore made at once, and return requests that are complete.
 */
#include "net/calls.h"

#include <stddef.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): parts of declarations */
#define CALL(l, call)                                                          \
    (calls_ready(&(l)) == MPI_SUCCESS ? (call) : MPI_ERR_NO_MEM)

/* At the file pointer, or at an offset: `where` is empty or the offset. */
#define UNPACK(...) __VA_ARGS__
#define BLOCKING(name, constant, borrow, where, at)                            \
    WRAPPED int MPI_File_##name(MPI_File file,                                 \
                                UNPACK where constant void *buffer, int count, \
                                MPI_Datatype type, MPI_Status *status)         \
    {                                                                          \
        struct loans l = calls_begin("MPI_File_" #name);                       \
        constant void *b = borrow(&l, buffer, count, type);                    \
        return calls_end(&l, CALL(l, PMPI_File_##name(file, UNPACK at b,       \
                                                      count, type, status)));  \
    }
#define NONBLOCKING(name, blocking, constant, borrow, where, at)               \
    WRAPPED int MPI_File_##name(MPI_File file,                                 \
                                UNPACK where constant void *buffer, int count, \
                                MPI_Datatype type, MPI_Request *request)       \
    {                                                                          \
        struct loans l = calls_begin("MPI_File_" #name);                       \
        MPI_Status status;                                                     \
        constant void *b = borrow(&l, buffer, count, type);                    \
        if (calls_files_wait()) {                                              \
            int made = CALL(l, PMPI_File_##blocking(file, UNPACK at b, count,  \
                                                    type, &status));           \
            return calls_complete(calls_end(&l, made), &status, request);      \
        }                                                                      \
        int code = CALL(                                                       \
            l, PMPI_File_##name(file, UNPACK at b, count, type, request));     \
        return calls_keep(&l, code,                                            \
                          code == MPI_SUCCESS ? *request : MPI_REQUEST_NULL);  \
    }
/* name_begin and name_end; a file has one at a time. */
#define SPLIT(name, unused, constant, borrow, where, at)                       \
    WRAPPED int MPI_File_##name##_begin(MPI_File file,                         \
                                        UNPACK where constant void *buffer,    \
                                        int count, MPI_Datatype type)          \
    {                                                                          \
        struct loans l = calls_begin("MPI_File_" #name "_begin");              \
        MPI_Status status;                                                     \
        bool whole = calls_files_wait();                                       \
        constant void *b = borrow(&l, buffer, count, type);                    \
        int code = whole ? CALL(l, PMPI_File_##name(file, UNPACK at b, count,  \
                                                    type, &status))            \
                         : CALL(l, PMPI_File_##name##_begin(file, UNPACK at b, \
                                                            count, type));     \
        return calls_split_begin(&l, code, file, whole ? &status : NULL);      \
    }                                                                          \
    WRAPPED int MPI_File_##name##_end(MPI_File file, constant void *buffer,    \
                                      MPI_Status *status)                      \
    {                                                                          \
        struct loans l = calls_begin("MPI_File_" #name "_end");                \
        int code = calls_split_done(file, status)                              \
                       ? MPI_SUCCESS                                           \
                       : PMPI_File_##name##_end(file, buffer, status);         \
        code = calls_end(&l, code);                                            \
        calls_split_end(file);                                                 \
        return code;                                                           \
    }

#define HERE   ()
#define OFFSET (MPI_Offset offset, )
#define AT     (offset, )

#define READS(name, where, at)  BLOCKING(name, , calls_out, where, at)
#define WRITES(name, where, at) BLOCKING(name, const, calls_in, where, at)
#define LATER_READS(how, name, blocking, where, at)                            \
    how(name, blocking, , calls_out, where, at)
#define LATER_WRITES(how, name, blocking, where, at)                           \
    how(name, blocking, const, calls_in, where, at)

READS(read, HERE, ())
READS(read_all, HERE, ())
READS(read_shared, HERE, ())
READS(read_ordered, HERE, ())
READS(read_at, OFFSET, AT)
READS(read_at_all, OFFSET, AT)
WRITES(write, HERE, ())
WRITES(write_all, HERE, ())
WRITES(write_shared, HERE, ())
WRITES(write_ordered, HERE, ())
WRITES(write_at, OFFSET, AT)
WRITES(write_at_all, OFFSET, AT)
LATER_READS(NONBLOCKING, iread, read, HERE, ())
LATER_READS(NONBLOCKING, iread_all, read_all, HERE, ())
LATER_READS(NONBLOCKING, iread_shared, read_shared, HERE, ())
LATER_READS(NONBLOCKING, iread_at, read_at, OFFSET, AT)
LATER_READS(NONBLOCKING, iread_at_all, read_at_all, OFFSET, AT)
LATER_WRITES(NONBLOCKING, iwrite, write, HERE, ())
LATER_WRITES(NONBLOCKING, iwrite_all, write_all, HERE, ())
LATER_WRITES(NONBLOCKING, iwrite_shared, write_shared, HERE, ())
LATER_WRITES(NONBLOCKING, iwrite_at, write_at, OFFSET, AT)
LATER_WRITES(NONBLOCKING, iwrite_at_all, write_at_all, OFFSET, AT)
LATER_READS(SPLIT, read_all, , HERE, ())
LATER_READS(SPLIT, read_ordered, , HERE, ())
LATER_READS(SPLIT, read_at_all, , OFFSET, AT)
LATER_WRITES(SPLIT, write_all, , HERE, ())
LATER_WRITES(SPLIT, write_ordered, , HERE, ())
LATER_WRITES(SPLIT, write_at_all, , OFFSET, AT)
/* NOLINTEND(bugprone-macro-parentheses) */
