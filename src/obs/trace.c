/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trace's file: made before anything happens, mapped, handed to base, cut to its
 * length at the end. Its blocks are reserved at once: a store to a mapped page for which
 * the disk has no room would end the program.
 *
 * Invariants
 * 1. The name is new: a file that another job still maps is unlinked, not cut.
 * 2. Rank 0's clock is the trace's. The lowest rank of each other machine asks it ROUNDS
 *    times what it shows and takes the quickest answer, which is wrong by half of that
 *    one's way there and back at most; the other ranks of the machine take it over. An
 *    answer that cannot be told from "the same as mine" is that: machines may be
 *    containers on one kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <recto/vm.h>

#include "base/base.h"
#include "base/trace.h"
#include "net/net.h"
#include "obs/obs.h"

enum {
    ROUNDS = 8,
    LEAST = 65536, /* bytes of a trace */
    PATH = 4096
};

static struct {
    uint64_t run;
    struct trace_header *header;
    size_t bytes; /* mapped */
    int fd;
    char path[PATH];
} trace = {.fd = -1};

uint64_t obs_run(void)
{
    return trace.run;
}

/* ---- clocks ----------------------------------------------------------------------- */

/* Rank 0 answers one rank. */
static int clock_answer(int rank)
{
    int r = 0;
    for (int i = 0; i < ROUNDS && r == 0; i++) {
        char ask = 0;
        r = net_sendrecv(NULL, 0, -1, &ask, sizeof ask, rank);
        uint64_t now = base_now();
        r = r == 0 ? net_sendrecv(&now, sizeof now, rank, NULL, 0, -1) : r;
    }
    return r;
}

/* Another machine's clock. */
struct clock {
    int64_t offset; /* to rank 0's */
    uint64_t error;
};

static int clock_ask(struct clock *mine)
{
    int r = 0;
    mine->error = UINT64_MAX;
    for (int i = 0; i < ROUNDS && r == 0; i++) {
        char ask = 1;
        uint64_t theirs = 0;
        uint64_t before = base_now();
        r = net_sendrecv(&ask, sizeof ask, 0, NULL, 0, -1);
        r = r == 0 ? net_sendrecv(NULL, 0, -1, &theirs, sizeof theirs, 0) : r;
        uint64_t half = (base_now() - before + 1) / 2;
        if (half < mine->error) {
            mine->error = half;
            mine->offset = (int64_t)(theirs - (before + half));
        }
    }
    if ((uint64_t)llabs(mine->offset) <= mine->error) {
        mine->offset = 0;
    }
    return r;
}

/* From the lowest rank of a machine to its others. */
static int clock_tell(struct clock *mine)
{
    int lowest = net_machine_of(net_rank());
    int r = 0;
    if (net_rank() != lowest) {
        return net_sendrecv(NULL, 0, -1, mine, sizeof *mine, lowest);
    }
    for (int rank = lowest + 1; rank < net_size() && r == 0; rank++) {
        if (net_machine_of(rank) == lowest) {
            r = net_sendrecv(mine, sizeof *mine, rank, NULL, 0, -1);
        }
    }
    return r;
}

static int clocks_align(struct clock *mine)
{
    int r = 0;
    *mine = (struct clock){0, 0};
    for (int rank = 1; rank < net_size() && r == 0; rank++) {
        if (net_machine_of(rank) != rank) {
            continue;
        }
        if (net_rank() == 0) {
            r = clock_answer(rank);
        } else if (net_rank() == rank) {
            r = clock_ask(mine);
        }
    }
    return r == 0 ? clock_tell(mine) : r;
}

/* ---- what the program is made of ---------------------------------------------------- */

static void build_id_find(const struct dl_phdr_info *info,
                          const ElfW(Phdr) * segment, struct trace_module *m)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): the loader says where it is */
    const char *at = (const char *)(info->dlpi_addr + segment->p_vaddr);
    const char *end = at + segment->p_memsz;
    while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        const char *name = at + sizeof *note;
        const char *text = name + ((size_t)note->n_namesz + 3) / 4 * 4;
        if (text > end || note->n_descsz > (size_t)(end - text)) {
            return;
        }
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(name, "GNU", 4) == 0 && note->n_descsz <= TRACE_BUILD_ID) {
            m->build_id_bytes = note->n_descsz;
            memcpy(m->build_id, text, note->n_descsz);
            return;
        }
        at = text + ((size_t)note->n_descsz + 3) / 4 * 4;
    }
}

static int module_add(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct trace_module m = {.low = UINT64_MAX, .bias = info->dlpi_addr};
    (void)size;
    (void)argument;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uint64_t low = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
            m.low = low < m.low ? low : m.low;
            m.high = low + p->p_memsz > m.high ? low + p->p_memsz : m.high;
        } else if (p->p_type == PT_NOTE && m.build_id_bytes == 0) {
            build_id_find(info, p, &m);
        }
    }
    if (info->dlpi_name != NULL && info->dlpi_name[0] != '\0') {
        (void)snprintf(m.path, sizeof m.path, "%s", info->dlpi_name);
    } else { /* the program itself */
        ssize_t n = readlink("/proc/self/exe", m.path, sizeof m.path - 1);
        m.path[n > 0 ? n : 0] = '\0';
    }
    if (m.high > 0) {
        base_trace_define(TRACE_MODULE, &m, sizeof m);
    }
    return 0;
}

/* ---- the file ----------------------------------------------------------------------- */

static int file_error(const char *what, int error)
{
    return base_error(
        error == ENOSPC || error == EDQUOT ? RECTO_ENOSPC : RECTO_EIO,
        "%s=%s: %s %s: %s; give a folder that can be written, or "
        "a smaller %s",
        base_env_name(BASE_ENV_TRACE), base_env(BASE_ENV_TRACE), what,
        trace.path, base_errno_text(error), base_env_name(BASE_ENV_TRACE_SIZE));
}

static int file_make(uint64_t bytes)
{
    struct stat before;
    struct rlimit limit;
    if (snprintf(trace.path, sizeof trace.path, "%s.%d",
                 base_env(BASE_ENV_TRACE), net_rank()) >= PATH) {
        return file_error("name of", ENAMETOOLONG);
    }
    if (lstat(trace.path, &before) == 0 && S_ISREG(before.st_mode)) {
        (void)unlink(trace.path);
    }
    trace.fd = open(trace.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (trace.fd < 0) {
        return file_error("make", errno);
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur) {
        return file_error("reserve", EFBIG); /* it would raise a signal */
    }
    int error = posix_fallocate(trace.fd, 0, (off_t)bytes);
    return error == 0 ? 0 : file_error("reserve", error);
}

static void program_find(char *text, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", text, size - 1);
    text[n > 0 ? n : 0] = '\0';
}

static void header_make(struct trace_header *h, const struct clock *clock)
{
    struct timespec real;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    h->major = TRACE_MAJOR;
    h->minor = TRACE_MINOR;
    h->order = TRACE_ORDER;
    h->slot_bytes = TRACE_SLOT;
    h->slots = (trace.bytes - TRACE_HEADER) / TRACE_SLOT;
    h->run = trace.run;
    h->rank = net_rank();
    h->size = net_size();
    h->domain = net_domain();
    h->domains = net_domains();
    h->pid = (uint32_t)getpid();
    h->page_bytes = (uint32_t)recto_vm_page_size();
    h->started = base_now();
    h->clock_offset = clock->offset;
    h->clock_error = clock->error;
    h->started_real = (int64_t)real.tv_sec * 1000000000 + real.tv_nsec;
    (void)snprintf(h->host, sizeof h->host, "%s", base_host());
    program_find(h->program, sizeof h->program);
    memcpy(h->magic, TRACE_MAGIC, sizeof h->magic); /* last: it is one now */
}

static void file_remove(void)
{
    if (trace.fd >= 0) {
        (void)close(trace.fd);
        (void)unlink(trace.path);
    }
    trace.fd = -1;
}

static int file_start(const struct clock *clock)
{
    uint64_t bytes = 0;
    void *view = NULL;
    int r = base_env_bytes(BASE_ENV_TRACE_SIZE, &bytes);
    if (r == 0 && (bytes < LEAST || bytes > INT64_MAX / 2)) {
        r = base_error(RECTO_EINVAL, "%s=%s: at least 64K is needed",
                       base_env_name(BASE_ENV_TRACE_SIZE),
                       base_env(BASE_ENV_TRACE_SIZE));
    }
    bytes = bytes / TRACE_HEADER * TRACE_HEADER;
    r = r == 0 ? file_make(bytes) : r;
    r = r == 0 ? recto_vm_map(trace.fd, 0, bytes, NULL, RECTO_VM_WRITE, &view)
               : r;
    if (r != 0) {
        file_remove();
        return r;
    }
    trace.bytes = bytes;
    trace.header = view;
    header_make(trace.header, clock);
    return 0;
}

/* ---- life cycle ----------------------------------------------------------------------- */

/* Does any rank record? And the run's number, which rank 0 draws. */
static int agree(bool mine, bool *any)
{
    int64_t values[2] = {mine, 0};
    if (net_rank() == 0 &&
        getrandom(&values[1], sizeof values[1], GRND_NONBLOCK) < 0) {
        values[1] = (int64_t)base_now();
    }
    values[1] &= INT64_MAX;
    int r = net_allreduce_max(values, 2);
    *any = values[0] != 0;
    trace.run = (uint64_t)values[1];
    return r;
}

int obs_trace_start(void)
{
    bool mine = base_env_given(BASE_ENV_TRACE);
    bool any = false;
    struct clock clock;
    int r = agree(mine, &any);
    if (r != 0 || !any) {
        return r;
    }
    r = clocks_align(&clock);
    r = r == 0 && mine ? file_start(&clock) : r;
    r = net_verdict(r);
    if (r != 0 && trace.header != NULL) { /* another rank has none */
        obs_trace_end();
        (void)unlink(trace.path);
    } else if (r == 0 && mine) {
        base_trace_use(trace.header);
        (void)dl_iterate_phdr(module_add, NULL);
    }
    return r;
}

void obs_trace_counters(const recto_counters *mine)
{
    if (trace.header != NULL) {
        memcpy(trace.header->counters, mine, sizeof *mine);
        trace.header->ended = base_now();
    }
}

/* Bytes of the file that hold something. */
static uint64_t used(const struct trace_header *h)
{
    uint64_t claimed = atomic_load_explicit(&h->claimed, memory_order_relaxed);
    return TRACE_HEADER +
           (claimed < h->slots ? claimed : h->slots) * TRACE_SLOT;
}

void obs_trace_end(void)
{
    struct trace_header *h = trace.header;
    if (h == NULL) {
        return;
    }
    base_trace_use(NULL);
    uint64_t bytes = used(h);
    uint64_t claimed = atomic_load_explicit(&h->claimed, memory_order_relaxed);
    if (claimed > h->slots) {
        base_warn("rank %d: %s is full: %" PRIu64 " of %" PRIu64
                  " records were dropped; a larger %s holds them",
                  h->rank, trace.path, claimed - h->slots, claimed,
                  base_env_name(BASE_ENV_TRACE_SIZE));
    }
    trace.header = NULL;
    (void)recto_vm_unmap(h, trace.bytes);
    if (ftruncate(trace.fd, (off_t)bytes) != 0) {
        base_warn("%s: %s", trace.path, base_errno_text(errno));
    }
    (void)close(trace.fd);
    trace.fd = -1;
}
