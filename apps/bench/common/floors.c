/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Costs of the machine and of MPI.
 */
#include "floors.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    FLOOR_PAGE = 4096,
    FLOOR_MAPPINGS = 16384 /* well below vm.max_map_count */
};

/* ---- one rank ---------------------------------------------------------------- */

static void floor_ignore(int signal)
{
    (void)signal;
}

void floor_signal(struct bench_measure *m)
{
    struct sigaction act = {.sa_handler = floor_ignore};
    struct sigaction before;
    bench_meet();
    if (bench_rank() == 0) {
        (void)sigaction(SIGUSR1, &act, &before);
        for (int i = 0; i < 2000; i++) {
            uint64_t start = bench_now();
            (void)pthread_kill(pthread_self(), SIGUSR1);
            bench_sample_time(m, start, 1);
        }
        (void)sigaction(SIGUSR1, &before, NULL);
    }
    bench_meet();
    bench_round(m, 0);
}

void floor_mprotect(struct bench_measure *m, uint64_t pages)
{
    bench_meet();
    if (bench_rank() == 0) {
        pages = pages < FLOOR_MAPPINGS ? pages : FLOOR_MAPPINGS;
        size_t bytes = pages * FLOOR_PAGE;
        uint64_t *order = bench_order(pages, 7);
        char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            bench_fail("no memory");
        }
        memset(memory, 1, bytes);
        for (uint64_t i = 0; i < pages; i++) {
            char *page = memory + order[i] * FLOOR_PAGE;
            uint64_t start = bench_now();
            if (mprotect(page, FLOOR_PAGE, PROT_READ) != 0) {
                bench_fail("mprotect: %s", strerrordesc_np(errno));
            }
            bench_sample_time(m, start, 1);
        }
        (void)munmap(memory, bytes);
        free(order);
    }
    bench_meet();
    bench_round(m, 0);
}

/* The kernel's struct pm_scan_arg and page_region (Linux 6.7). */
struct floor_scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t inverted, mask, any_of, returned;
};
struct floor_region {
    uint64_t start, end, categories;
};
#define FLOOR_PAGEMAP_SCAN _IOWR('f', 16, struct floor_scan)
#define FLOOR_PRESENT      (UINT64_C(1) << 3)

static void page_table_scan(int pagemap, const char *memory, uint64_t pages)
{
    static uint64_t entries[512];
    struct floor_region region;
    uint64_t first = (uint64_t)(uintptr_t)memory;
    struct floor_scan scan = {.size = sizeof scan,
                              .start = first,
                              .end = first + pages * FLOOR_PAGE,
                              .vec = (uint64_t)(uintptr_t)&region,
                              .vec_len = 1,
                              .mask = FLOOR_PRESENT,
                              .returned = FLOOR_PRESENT};
    if (ioctl(pagemap, FLOOR_PAGEMAP_SCAN, &scan) >= 0) {
        return;
    }
    for (uint64_t page = 0; page < pages; page += 512) {
        off_t at = (off_t)((first / FLOOR_PAGE + page) * sizeof entries[0]);
        if (pread(pagemap, entries, sizeof entries, at) < 0) {
            bench_fail("pagemap: %s", strerrordesc_np(errno));
        }
    }
}

void floor_snapshot(struct bench_measure *m, uint64_t pages)
{
    size_t bytes = pages * FLOOR_PAGE;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || pagemap < 0) {
        bench_fail("memory or /proc/self/pagemap: %s", strerrordesc_np(errno));
    }
    memset(memory, 1, bytes);
    for (int i = 0; i < 5; i++) {
        bench_meet();
        MPI_Barrier(MPI_COMM_WORLD);
        uint64_t start = bench_now();
        page_table_scan(pagemap, memory, pages);
        if (mprotect(memory, bytes, PROT_READ) != 0) {
            bench_fail("mprotect: %s", strerrordesc_np(errno));
        }
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Barrier(MPI_COMM_WORLD);
        bench_sample_longest(m, start);
        (void)mprotect(memory, bytes, PROT_READ | PROT_WRITE);
        memset(memory, i, bytes);
    }
    (void)munmap(memory, bytes);
    (void)close(pagemap);
    bench_round(m, 0);
}

/* ---- two ranks: the area ----------------------------------------------------- */

void floor_open(struct floor_shared *s, uint64_t bytes)
{
    int local = 0;
    int world[2] = {0, 1};
    int at[2] = {MPI_UNDEFINED, MPI_UNDEFINED};
    int rank = 0;
    MPI_Group all = MPI_GROUP_NULL;
    MPI_Group here = MPI_GROUP_NULL;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &s->machine);
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Comm_group(s->machine, &here);
    MPI_Group_translate_ranks(all, 2, world, here, at);
    MPI_Group_free(&all);
    MPI_Group_free(&here);
    bool both = at[0] != MPI_UNDEFINED && at[1] != MPI_UNDEFINED;
    MPI_Comm_rank(s->machine, &local);
    void *mine = NULL;
    /* One page more than needed: MPI promises no alignment. */
    MPI_Aint size =
        both && rank == 1
            ? (MPI_Aint)(sizeof(struct floor_area) + bytes + FLOOR_PAGE)
            : 0;
    MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, s->machine, &mine,
                            &s->window);
    s->area = NULL;
    s->bytes = bytes;
    if (both) {
        int unit = 0;
        void *base = NULL;
        MPI_Win_shared_query(s->window, at[1], &size, &unit, &base);
        s->area = (void *)((char *)base +
                           (FLOOR_PAGE - (uintptr_t)base % FLOOR_PAGE));
    }
    if (s->area != NULL && rank == 1) {
        pthread_mutexattr_t shared;
        memset(s->area, 0, sizeof *s->area);
        (void)pthread_mutexattr_init(&shared);
        (void)pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
        (void)pthread_mutex_init(&s->area->mutex, &shared);
        (void)pthread_mutexattr_destroy(&shared);
    }
    bench_meet();
}

void floor_close(struct floor_shared *s)
{
    bench_meet();
    MPI_Win_free(&s->window);
    MPI_Comm_free(&s->machine);
}

/* ---- two ranks: costs -------------------------------------------------------- */

void floor_spin(unsigned *spins)
{
    if (++*spins % 4096 == 0) {
        (void)sched_yield();
    }
}

void floor_line(struct floor_shared *s, struct bench_measure *m, int samples)
{
    enum {
        TRIPS = 100
    };
    bench_meet();
    uint64_t rank = (uint64_t)bench_rank();
    if (rank < 2 && s->area != NULL) {
        _Atomic uint64_t *line = &s->area->line;
        uint64_t end = (uint64_t)samples * TRIPS * 2;
        uint64_t start = bench_now();
        for (uint64_t turn = rank; turn < end; turn += 2) {
            unsigned spins = 0;
            while (atomic_load_explicit(line, memory_order_acquire) != turn) {
                floor_spin(&spins);
            }
            if (rank == 0 && turn > 0 && turn % (TRIPS * (uint64_t)2) == 0) {
                bench_sample_time(m, start, 2 * TRIPS);
                start = bench_now();
            }
            atomic_store_explicit(line, turn + 1, memory_order_release);
        }
    }
    bench_meet();
    if (rank == 1 && s->area != NULL) {
        atomic_store(&s->area->line, 0);
    }
    bench_round(m, 0);
}

static void floor_futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    (void)syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

void floor_wake(struct floor_shared *s, struct bench_measure *m, int samples)
{
    bench_meet();
    uint32_t rank = (uint32_t)bench_rank();
    if (rank < 2 && s->area != NULL) {
        _Atomic uint32_t *word = &s->area->futex;
        uint32_t end = (uint32_t)samples * 2 + 2;
        uint64_t start = 0;
        for (uint32_t turn = rank; turn < end; turn += 2) {
            uint32_t now = 0;
            while ((now = atomic_load(word)) != turn) {
                floor_futex(word, FUTEX_WAIT, now);
            }
            if (rank == 0 && start != 0) {
                bench_sample_time(m, start, 1);
            }
            start = bench_now();
            atomic_store(word, turn + 1);
            floor_futex(word, FUTEX_WAKE, 1);
        }
    }
    bench_meet();
    if (rank == 1 && s->area != NULL) {
        atomic_store(&s->area->futex, 0);
    }
    bench_round(m, 0);
}

void floor_message(struct bench_measure *m, int samples)
{
    char data[64] = {0};
    bench_meet();
    for (int i = 0; i < samples && bench_rank() < 2; i++) {
        uint64_t start = bench_now();
        if (bench_rank() == 0) {
            MPI_Send(data, sizeof data, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
            MPI_Recv(data, sizeof data, MPI_BYTE, 1, 1, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
            bench_sample_time(m, start, 1);
        } else {
            MPI_Recv(data, sizeof data, MPI_BYTE, 0, 1, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
            MPI_Send(data, sizeof data, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
        }
    }
    bench_meet();
    bench_round(m, 0);
}
