/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every floor stands on: errors with their message, assertions, the table
 * of environment variables, time, output. Knows nothing of MPI or of pages.
 */
#ifndef RECTO_SRC_BASE_H
#define RECTO_SRC_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <recto.h>

/* ---- errors -------------------------------------------------------------- */

/*
 * Records the message of the calling thread's last error, prefixed with rank
 * and host, suffixed with the code's name, and returns `code`. Whoever decides
 * an error calls this, once. With `code` 0 it only returns 0. Not for signal
 * handlers. Keeps errno.
 */
/* NOLINTNEXTLINE(readability-identifier-naming): reads as a function */
#define base_error(code, ...)                                                  \
    base_error_code(base_error_record((code), __VA_ARGS__), (code))
int base_error_record(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Lets compilers and analyzers see that the code comes back. */
static inline int base_error_code(int recorded, int code)
{
    (void)recorded;
    return code;
}

/* The text of an errno value; valid until the thread's next call. */
const char *base_errno_text(int error);

/* The name of a code, "RECTO_EINVAL"; "RECTO_E?" when unknown. */
const char *base_error_name(int code);

/* Replaces the calling thread's last message as it is (another rank's words). */
void base_error_set(const char *message);

/* Who we are in messages. Called by net once known; before it, the pid. */
void base_identity(int rank, const char *host);
int base_rank(void);
const char *base_host(void);

/* Prints the last error to stderr when RECTO_QUIET is unset: for errors that
 * have no caller left to return to. */
void base_error_print(void);

/* ---- assertions ---------------------------------------------------------- */

/*
 * For our own mistakes, never for input. In builds with RECTO_DEBUG a failure
 * writes the place to stderr with write(2) and aborts.
 */
_Noreturn void base_assert_failed(const char *text, const char *file, int line,
                                  const char *function);
#ifdef RECTO_DEBUG
#    define RECTO_ASSERT(x)                                                    \
        ((x) ? (void)0 : base_assert_failed(#x, __FILE__, __LINE__, __func__))
#else
#    define RECTO_ASSERT(x) ((void)sizeof(x))
#endif

/*
 * Ends the process from any context (also inside a signal handler) after one
 * message, for the few states in which memory can no longer be trusted. The
 * launcher then ends the job. Async-signal-safe.
 */
_Noreturn void base_fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* One line to stderr, prefixed as in base_fatal; whatever RECTO_QUIET says: for what
 * ends the process by a signal. Async-signal-safe; one thread at a time. */
void base_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- environment ---------------------------------------------------------
 * X(id, name, default, argument, what it does). The only place where a
 * RECTO_ variable is named; `recto env`, the manual and warnings are made from it.
 *
 * The argument lists what is taken, with | between: words as they are; BYTES, COUNT,
 * MICROSECONDS, NUMBER, PERCENT or SECONDS, each a whole number, with its bounds
 * ("COUNT 1..500") if it has some; other words with capitals are checked by whoever
 * reads the variable. */
#define BASE_ENV_LIST(X)                                                        \
    X(VM, "RECTO_VM", "auto", "auto|mprotect|pte", "page protection back end")  \
    X(DIRTY, "RECTO_DIRTY", "auto", "auto|fault|scan|hash",                     \
      "how writes to shared pages are tracked")                                 \
    X(NODE, "RECTO_NODE", "auto", "auto|rank|COUNT 1..2147483647",              \
      "coherence domain: a machine, a rank, or COUNT neighbouring ranks")       \
    X(TRANSPORT, "RECTO_TRANSPORT", "auto", "auto|shm|mpi",                     \
      "how data crosses domains of one machine")                                \
    X(PROGRESS, "RECTO_PROGRESS", "auto", "auto|thread|poll|off",               \
      "the thread that answers other ranks: where it is needed, always, "       \
      "without ever sleeping, never")                                           \
    X(HOLD, "RECTO_HOLD", "100", "MICROSECONDS 10..1000000",                    \
      "minimum time that a page just obtained is kept")                         \
    X(CACHE, "RECTO_CACHE", "0", "0|BYTES 65536..",                             \
      "bound of a rank's copies of other domains' pages; 0: a quarter of "      \
      "memory, shared by the machine's ranks")                                  \
    X(COMMIT, "RECTO_COMMIT", "check", "check|reserve|sparse",                  \
      "what an allocation asks of memory: that it is there, to be set aside, "  \
      "nothing")                                                                \
    X(HEAP, "RECTO_HEAP", "1G", "0|BYTES 131072..281474976645120",              \
      "heap of recto_malloc, of all ranks together; 0: none")                   \
    X(INBOX, "RECTO_INBOX", "65536", "COUNT 4..4194304",                        \
      "write notices that a rank's inbox holds before all copies are "          \
      "dropped; rounded up to a power of two")                                  \
    X(INTERPOSE, "RECTO_INTERPOSE", "auto", "auto|off",                         \
      "shared buffers are made fit for system calls and MPI")                   \
    X(MAX_MAPPINGS, "RECTO_MAX_MAPPINGS", "0", "COUNT",                         \
      "kernel mappings that protection may use; 0: from vm.max_map_count")      \
    X(TIMEOUT, "RECTO_TIMEOUT", "600", "SECONDS 1..4294967295",                 \
      "longest wait for another rank in a page fault or lock request to it")    \
    X(CKPT_DIR, "RECTO_CKPT_DIR", "recto.ckpt", "FOLDER",                       \
      "where checkpoints are written and looked for")                           \
    X(CKPT_MODE, "RECTO_CKPT_MODE", "concurrent", "concurrent|sync",            \
      "recto_checkpoint returns when the memory is safe from changes, or when " \
      "it is on disk")                                                          \
    X(CKPT_BUSY, "RECTO_CKPT_BUSY", "wait", "wait|refuse",                      \
      "what recto_checkpoint does while the last one is being written")         \
    X(CKPT_BUFFER, "RECTO_CKPT_BUFFER", "256M", "BYTES",                        \
      "copies of pages that are overwritten while a rank writes a checkpoint")  \
    X(CKPT_FULL, "RECTO_CKPT_FULL", "16", "COUNT 1..500",                       \
      "a full epoch at least every COUNT epochs")                               \
    X(CKPT_COMPACT, "RECTO_CKPT_COMPACT", "200", "0|PERCENT 110..100000",       \
      "what a restart reads, at most, in percent of a full epoch: what passes " \
      "it is compacted; 0: no bound")                                           \
    X(CKPT_COMPRESS, "RECTO_CKPT_COMPRESS", "off", "off|lz4|zstd|zstd:LEVEL",   \
      "how the pages of a differential epoch are compressed")                   \
    X(CKPT_KEEP, "RECTO_CKPT_KEEP", "chains", "chains|all|RULE",                \
      "epochs that stay beside the two newest chains: none, all, or some of "   \
      "last=N,every=M,age=TIME")                                                \
    X(CKPT_LOCAL, "RECTO_CKPT_LOCAL", "", "FOLDER",                             \
      "folder of each node's own for epochs between those of the shared "       \
      "folder; %d in it: a folder of each coherence domain; empty: none")       \
    X(CKPT_LEVELS, "RECTO_CKPT_LEVELS", "partner:4,shared:16",                  \
      "LEVEL:COUNT,...",                                                        \
      "which epochs of RECTO_CKPT_LOCAL are copied to a partner node, made "    \
      "parity of in a set of nodes, brought to the shared folder: one in so "   \
      "many")                                                                   \
    X(CKPT_SET, "RECTO_CKPT_SET", "4+1", "K+M",                                 \
      "a set of level `set`: K + M nodes, any M of which may be lost")          \
    X(RESTART, "RECTO_RESTART", "eager", "eager|lazy",                          \
      "recto_restart returns when shared memory is loaded, or lets pages come " \
      "as they are touched")                                                    \
    X(RESTART_EPOCH, "RECTO_RESTART_EPOCH", "newest",                           \
      "newest|NUMBER 0..9223372036854775807",                                   \
      "the epoch that recto_restart and recto_recover take")                    \
    X(CKPT_INTERVAL, "RECTO_CKPT_INTERVAL", "0", "SECONDS 0..4294967295",       \
      "recto_checkpoint_due asks for a checkpoint as often; 0: only when told") \
    X(MTBF, "RECTO_MTBF", "0", "SECONDS 0..4294967295",                         \
      "mean time between failures of the whole job: recto_checkpoint_due asks " \
      "as often as is best for it; 0: unknown")                                 \
    X(WALLTIME, "RECTO_WALLTIME", "0", "SECONDS 0..4294967295",                 \
      "recto_checkpoint_due ends the run so early that it is over as long "     \
      "after recto_init; 0: whenever it is done")                               \
    X(STOP_SIGNAL, "RECTO_STOP_SIGNAL", "usr1", "usr1|term|off",                \
      "recto_checkpoint_due ends the run after SIGUSR1, also after SIGTERM, "   \
      "after neither")                                                          \
    X(STATS, "RECTO_STATS", "0", "0|1",                                         \
      "recto_finalize prints a table of each rank's counters on stderr")        \
    X(TRACE, "RECTO_TRACE", "", "FILE",                                         \
      "each rank records faults, transfers, locks, events, barriers, "          \
      "checkpoints in FILE.RANK, for `recto report`; empty: nothing")           \
    X(TRACE_SIZE, "RECTO_TRACE_SIZE", "32M", "BYTES",                           \
      "bound of a rank's trace; what comes when it is full is counted only")    \
    X(TOP, "RECTO_TOP", "1", "0|1", "`recto top` sees this job")                \
    X(INJECT, "RECTO_INJECT", "", "RULE",                                       \
      "fault injection in checkpoint input/output, for tests")                  \
    X(QUIET, "RECTO_QUIET", "0", "0|1", "no warnings on stderr")

enum base_env {
#define BASE_ENV_ENUM(id, name, fallback, argument, text) BASE_ENV_##id,
    BASE_ENV_LIST(BASE_ENV_ENUM)
#undef BASE_ENV_ENUM
    BASE_ENV_COUNT
};

enum {
    BASE_ENV_NAME = 64, /* bytes of a name; a longer one is cut */
    BASE_ENV_ALLOWED = 256
};

/* The variable's value or its default; never NULL. */
const char *base_env(enum base_env id);
const char *base_env_name(enum base_env id);
/* Is it set, and not empty? */
bool base_env_given(enum base_env id);
/* What it does, its default, and "auto, rank or a whole number from 1" in at least
 * BASE_ENV_ALLOWED bytes. */
const char *base_env_text(enum base_env id);
const char *base_env_default(enum base_env id);
const char *base_env_allowed(enum base_env id, char *text);
/* Is the value, or its default, among what the argument lists? RECTO_EINVAL with a message
 * that says what is. */
int base_env_good(enum base_env id);
/* The same of all variables, whoever reads them in this job. */
int base_env_all_good(void);
/* The value as a number within its bounds; the same. */
int base_env_u64(enum base_env id, uint64_t *value);
/* Which of the words of its argument, from 0, the value is; the same. */
int base_env_choice(enum base_env id, unsigned *choice);
/* As base_env_u64 for bytes, with K, M, G or T behind it. */
int base_env_bytes(enum base_env id, uint64_t *value);

/* The next RECTO_ variable after *at (0 at first) that no table names, into `name`; false:
 * none. *nearest: the name that was meant, or NULL. */
bool base_env_unknown(size_t *at, char name[BASE_ENV_NAME],
                      const char **nearest);
/* Warns on stderr about each of them. */
void base_env_check(void);

/* Takes it out of the environment, that of programs started later too. One thread. */
void base_env_forget(enum base_env id);

/* A copy of the environment for another program, in which those of `count` settings
 * "NAME=value" stand whose name is not set; NULL: out of memory. One free(). */
char **base_env_copy(const char *const *settings, size_t count);
/* The next variable after *at (0 at first) whose name begins so: "NAME=value", or
 * NULL. */
const char *base_env_next(const char *prefix, size_t *at);

/* ---- types and names of objects ------------------------------------------- */

/* RECTO_EINVAL with a message for a name that recto.h does not allow. */
int base_name_check(const char *name);
/* What checkpoints call the heap of recto_malloc. */
#define BASE_HEAP_NAME "recto/heap"
/* "RECTO_DOUBLE", a struct's name; "RECTO_?" for no type. */
const char *base_type_name(recto_type type);

/* Is it a name of a type, a member, an attribute: 1 to RECTO_LABEL_MAX bytes, no control
 * characters? */
bool base_label_good(const char *label);

struct base_member {
    uint64_t offset;
    uint64_t count; /* from 1 */
    uint32_t type;  /* a recto_type, no struct */
    char name[RECTO_LABEL_MAX + 1];
};

struct base_struct {
    uint64_t bytes;
    uint64_t count; /* of members */
    char name[RECTO_LABEL_MAX + 1];
    struct base_member members[RECTO_MEMBERS_MAX];
};

/* RECTO_EINVAL with a message for a struct that is not one: bad names, members that
 * leave it or overlap. Overflows nothing, whatever is in there. */
int base_struct_check(const char *name, uint64_t bytes,
                      const struct base_member *members, uint64_t count);

bool base_member_same(const struct base_member *a, const struct base_member *b);

/* The types that structs of the program have, from RECTO_STRUCT_FIRST on. Added by one
 * thread at a time, read by any. */
/* A struct that is good becomes a type, or is one already. RECTO_EEXIST, RECTO_ENOMEM. */
int base_struct_add(const struct base_struct *s, recto_type *type);
/* NULL: no such type. */
const struct base_struct *base_struct_of(recto_type type);
/* Forgets them all. */
void base_structs_clear(void);

/* ---- time and output ----------------------------------------------------- */

/* Monotonic time in nanoseconds. Async-signal-safe. */
uint64_t base_now(void);

/* One line to stderr in one write(2), prefixed "recto: ". */
void base_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* vsnprintf without locks, locale or allocation for signal handlers:
 * %s %d %u %x %p %zu %ld %lu %lx %llu %c %% only. Returns the length kept. */
size_t base_format(char *buffer, size_t size, const char *format, va_list args);

#endif
