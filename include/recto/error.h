/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Error codes of Recto. One list makes the enumerators, their names, the
 * messages of recto_strerror() and the table in the manual.
 *
 * Functions return 0 or one of these negative codes; functions that return a
 * pointer return NULL and leave the code and a full message in
 * recto_last_error(). The groups say what to do about an error.
 */
#ifndef RECTO_ERROR_H
#define RECTO_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* X(name, value, what it means) */
#define RECTO_ERROR_LIST(X)                                                    \
    /* the caller's mistake: correct the call */                               \
    X(RECTO_EINVAL, -1, "invalid argument")                                    \
    X(RECTO_EMISMATCH, -2, "ranks called with different arguments")            \
    X(RECTO_ESTATE, -3, "call not allowed in this state")                      \
    X(RECTO_EEXIST, -4, "name already in use")                                 \
    X(RECTO_ENOENT, -5, "no such object")                                      \
    X(RECTO_ETHREAD, -6, "MPI thread level too low")                           \
    X(RECTO_EUNSUPPORTED, -7, "not supported here")                            \
    /* try again, or give it more */                                           \
    X(RECTO_EBUSY, -20, "busy")                                                \
    X(RECTO_ENOMEM, -21, "out of memory")                                      \
    X(RECTO_EADDRESS, -22, "no address range free on every rank")              \
    X(RECTO_EIO, -23, "input/output error")                                    \
    X(RECTO_ENOSPC, -24, "no space left")                                      \
    X(RECTO_ELOCKED, -25, "checkpoint folder in use by another job")           \
    /* the job or a rank of it is lost: restart from a checkpoint */           \
    X(RECTO_EMPI, -40, "MPI call failed")                                      \
    X(RECTO_EPEER, -41, "rank does not answer")                                \
    /* the checkpoint cannot be used */                                        \
    X(RECTO_ECORRUPT, -60, "checkpoint damaged")                               \
    X(RECTO_ECHANGED, -61, "program differs from the checkpoint")              \
    X(RECTO_EVERSION, -62, "checkpoint of another format version")

enum recto_error {
    RECTO_OK = 0,
#define RECTO_ERROR_ENUM(name, value, text) name = (value),
    RECTO_ERROR_LIST(RECTO_ERROR_ENUM)
#undef RECTO_ERROR_ENUM
};

/* The message of a code: a constant string, never NULL. Local, any thread. */
const char *recto_strerror(int code);

/*
 * The full message of the calling thread's last failed call: rank, host,
 * object, cause and what to do; "" when none failed yet. Valid until the
 * thread's next failing call. Local, any thread.
 */
const char *recto_last_error(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
