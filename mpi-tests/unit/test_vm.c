/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows the ground floor's primitives at work in one process: two views of one
 * memory; rights taken and given; traps asked in order, with their three
 * answers; read and write faults told apart; nested faults, eight threads,
 * small alternate stacks, errno; no torn read in 100 000 fills; foreign faults
 * passed to the previous owner or ending in SIGSEGV at their address; handlers
 * and masks set later; dirty pages, none lost; fork.
 *
 * With a sanitizer: ASAN_OPTIONS=allow_user_segv_handler=1 (its default) or
 * handle_segv=0.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <recto/vm.h>

#include "told.h"

#ifndef AT_MINSIGSTKSZ
#    define AT_MINSIGSTKSZ 51
#endif

enum {
    PAGE = 4096
};

/* Assertions are macros with branches; products of small constants fit an int;
 * setenv, getenv and the like run before there are threads. */
/* NOLINTBEGIN(readability-function-cognitive-complexity) */
/* NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTBEGIN(concurrency-mt-unsafe) */

/* ---- helpers ------------------------------------------------------------- */

/* One memory with a protected recto and an open verso. */
struct pages {
    int fd;
    size_t bytes;
    volatile char *recto;
    volatile char *verso;
    recto_vm_range *range;
};

static void pages_open(struct pages *m, size_t count, enum recto_vm_right right)
{
    void *recto = NULL;
    void *verso = NULL;
    m->bytes = count * PAGE;
    ck_assert_int_eq(recto_vm_memory_create("test", m->bytes, &m->fd), 0);
    ck_assert_int_eq(recto_vm_map(m->fd, 0, m->bytes, NULL, right, &recto), 0);
    ck_assert_int_eq(
        recto_vm_map(m->fd, 0, m->bytes, NULL, RECTO_VM_WRITE, &verso), 0);
    ck_assert_int_eq(recto_vm_range_create(recto, m->bytes, right, &m->range),
                     0);
    m->recto = recto;
    m->verso = verso;
}

static void pages_close(struct pages *m)
{
    recto_vm_check();
    recto_vm_range_destroy(m->range);
    ck_assert_int_eq(recto_vm_unmap((void *)m->recto, m->bytes), 0);
    ck_assert_int_eq(recto_vm_unmap((void *)m->verso, m->bytes), 0);
    ck_assert_int_eq(close(m->fd), 0);
}

static void start(void)
{
    ck_assert_msg(recto_vm_init() == 0, "%s", recto_last_error());
}

static size_t page_of(const struct pages *m, const struct recto_vm_fault *fault)
{
    return (size_t)((volatile char *)fault->address - m->recto) / PAGE;
}

/* A handler that grants what the fault wants and counts. */
struct granter {
    struct pages *pages;
    atomic_int reads;
    atomic_int writes;
    void *_Atomic last;
};

static enum recto_vm_verdict grant(const struct recto_vm_fault *fault,
                                   void *argument)
{
    struct granter *g = argument;
    bool write = fault->access == RECTO_VM_ACCESS_WRITE;
    atomic_fetch_add(write ? &g->writes : &g->reads, 1);
    atomic_store_explicit(&g->last, fault->address, memory_order_relaxed);
    int code = recto_vm_unprot(g->pages->range, page_of(g->pages, fault), 1,
                               write ? RECTO_VM_WRITE : RECTO_VM_READ);
    errno = EDOM; /* the dispatcher must undo this */
    return code == 0 ? RECTO_VM_CONTINUE : RECTO_VM_SEARCH;
}

/* A store whose fault changes variables that the compiler thinks untouched. */
static void store(volatile char *at)
{
    *at = 1;
    atomic_signal_fence(memory_order_seq_cst);
}

/* Accesses that may be refused: the previous owner jumps back. */
static sigjmp_buf refused;
static volatile sig_atomic_t owner_calls;
static void *volatile owner_address;

static void owner_jump(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    owner_calls = owner_calls + 1;
    owner_address = info->si_addr;
    siglongjmp(refused, 1);
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *),
                    int flags)
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO | flags};
    ck_assert_int_eq(sigaction(signal, &action, NULL), 0);
}

static bool can_read(const volatile char *at)
{
    if (sigsetjmp(refused, 1) != 0) {
        return false;
    }
    (void)*at;
    return true;
}

static bool can_write(volatile char *at)
{
    if (sigsetjmp(refused, 1) != 0) {
        return false;
    }
    *at = 1;
    return true;
}

/* ---- arguments and MAP2 -------------------------------------------------- */

START_TEST(unknown_methods_are_refused)
{
    setenv("RECTO_VM", "magic", 1);
    ck_assert_int_eq(recto_vm_init(), RECTO_EINVAL);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_VM=magic"));
    setenv("RECTO_VM", "mprotect", 1);
    setenv("RECTO_DIRTY", "guess", 1);
    ck_assert_int_eq(recto_vm_init(), RECTO_EINVAL);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_DIRTY=guess"));
    setenv("RECTO_DIRTY", "fault", 1);
    start();
    ck_assert_str_eq(recto_vm_backend(), "mprotect");
    ck_assert_str_eq(recto_vm_dirty_method(), "fault");
    ck_assert_int_eq(recto_vm_finalize(), 0);
    ck_assert_int_eq(recto_vm_finalize(), RECTO_ESTATE);
}
END_TEST

START_TEST(two_views_show_one_memory)
{
    int fd = -1;
    void *a = NULL;
    void *b = NULL;
    ck_assert_int_eq(recto_vm_memory_create("two", 3 * PAGE - 5, &fd), 0);
    ck_assert_int_eq(recto_vm_map(fd, 0, 3 * PAGE, NULL, RECTO_VM_READ, &a), 0);
    ck_assert_int_eq(recto_vm_map(fd, PAGE, PAGE, NULL, RECTO_VM_WRITE, &b), 0);
    memcpy(b, "verso", sizeof "verso");
    ck_assert_str_eq((char *)a + PAGE, "verso");
    void *c = NULL;
    ck_assert_int_eq(recto_vm_map(fd, 0, PAGE, a, RECTO_VM_READ, &c),
                     RECTO_EADDRESS);
    ck_assert_ptr_null(c);
    ck_assert_int_eq(recto_vm_memory_discard(fd, PAGE, PAGE), 0);
    ck_assert_int_eq(((char *)a)[PAGE], 0);
    ck_assert_int_eq(recto_vm_unmap(a, 3 * PAGE), 0);
    ck_assert_int_eq(recto_vm_unmap(b, PAGE), 0);
    /* its address is free now */
    ck_assert_int_eq(recto_vm_map(fd, 0, PAGE, a, RECTO_VM_READ, &c), 0);
    ck_assert_ptr_eq(c, a);
    ck_assert_int_eq(recto_vm_unmap(c, PAGE), 0);
    close(fd);
}
END_TEST

START_TEST(memory_is_found_between_holes)
{
    int fd = -1;
    void *at = NULL;
    uint64_t first = 0;
    uint64_t bytes = 0;
    ck_assert_int_eq(recto_vm_memory_create("holes", 16 * PAGE, &fd), 0);
    ck_assert_int_eq(recto_vm_map(fd, 0, 16 * PAGE, NULL, RECTO_VM_WRITE, &at),
                     0);
    ck_assert(!recto_vm_memory_next(fd, 0, 16 * PAGE, &first, &bytes));
    memset((char *)at + 5 * PAGE, 1, 3 * PAGE);
    ((char *)at)[15 * PAGE] = 1;
    ck_assert(recto_vm_memory_next(fd, PAGE, 16 * PAGE, &first, &bytes));
    ck_assert_uint_eq(first, 5 * PAGE);
    ck_assert_uint_eq(bytes, 3 * PAGE);
    ck_assert(recto_vm_memory_next(fd, 6 * PAGE, 7 * PAGE, &first, &bytes));
    ck_assert_uint_eq(first, 6 * PAGE);
    ck_assert_uint_eq(bytes, PAGE);
    ck_assert(!recto_vm_memory_next(fd, 8 * PAGE, 15 * PAGE, &first, &bytes));
    ck_assert(recto_vm_memory_next(fd, 8 * PAGE, 16 * PAGE, &first, &bytes));
    ck_assert_uint_eq(first, 15 * PAGE);
    ck_assert_uint_eq(bytes, PAGE);
    ck_assert_int_eq(recto_vm_unmap(at, 16 * PAGE), 0);
    close(fd);
}
END_TEST

START_TEST(reservations_hold_their_addresses)
{
    void *at = NULL;
    void *view = NULL;
    int fd = -1;
    ck_assert_int_eq(
        recto_vm_map(-1, 0, (size_t)1 << 36, NULL, RECTO_VM_NONE, &at), 0);
    ck_assert_int_eq(recto_vm_memory_create("in", PAGE, &fd), 0);
    ck_assert_int_eq(recto_vm_map(fd, 0, PAGE, at, RECTO_VM_READ, &view),
                     RECTO_EADDRESS);
    ck_assert_int_eq(recto_vm_map(-1, 0, PAGE, NULL, RECTO_VM_READ, &view),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_unmap(at, (size_t)1 << 36), 0);
    close(fd);
}
END_TEST

START_TEST(memory_beyond_the_file_limit_is_an_error)
{
    struct rlimit limit = {PAGE, RLIM_INFINITY};
    int fd = -1;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    errno = EXDEV;
    ck_assert_int_eq(recto_vm_memory_create("big", 2 * PAGE, &fd),
                     RECTO_EINVAL);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(recto_vm_memory_create("fits", 1, &fd), 0);
    close(fd);
    ck_assert_int_eq(recto_vm_memory_create("none", 0, &fd), RECTO_EINVAL);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    struct pages m;
    recto_vm_range *other = NULL;
    start();
    pages_open(&m, 4, RECTO_VM_READ);
    char *recto = (char *)m.recto;
    ck_assert_int_eq(
        recto_vm_range_create(recto + PAGE, PAGE, RECTO_VM_READ, &other),
        RECTO_EINVAL);
    ck_assert_int_eq(
        recto_vm_range_create(recto + 1, PAGE, RECTO_VM_READ, &other),
        RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_prot1(m.range, 4, RECTO_VM_NONE), RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_protn(m.range, 1, UINT64_MAX, RECTO_VM_NONE),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_unprot(m.range, 0, 1, (enum recto_vm_right)3),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_unmap(recto, m.bytes), RECTO_ESTATE);
    uint64_t bits = 0;
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 0, 4, &bits),
                     RECTO_ESTATE);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), RECTO_ESTATE);
    pages_close(&m);
}
END_TEST

/* ---- rights and traps ---------------------------------------------------- */

START_TEST(rights_are_enforced)
{
    struct pages m;
    install(SIGSEGV, owner_jump, 0);
    start();
    pages_open(&m, 8, RECTO_VM_WRITE);
    ck_assert(can_write(m.recto));
    ck_assert_int_eq(recto_vm_prot1(m.range, 0, RECTO_VM_READ), 0);
    ck_assert(can_read(m.recto));
    ck_assert(!can_write(m.recto));
    ck_assert_ptr_eq(owner_address, (void *)m.recto);
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 8, RECTO_VM_NONE), 0);
    for (int i = 0; i < 8; i++) {
        ck_assert(!can_read(m.recto + (ptrdiff_t)i * PAGE));
        ck_assert_int_eq(recto_vm_right_of(m.range, (uint64_t)i),
                         RECTO_VM_NONE);
    }
    ck_assert_int_eq(recto_vm_unprot(m.range, 3, 2, RECTO_VM_READ), 0);
    ck_assert(can_read(m.recto + (ptrdiff_t)3 * PAGE));
    ck_assert(can_read(m.recto + (ptrdiff_t)5 * PAGE - 1));
    ck_assert(!can_read(m.recto + (ptrdiff_t)5 * PAGE));
    /* PROT never raises, UNPROT never lowers */
    ck_assert_int_eq(recto_vm_protn(m.range, 0, 8, RECTO_VM_WRITE), 0);
    ck_assert_int_eq(recto_vm_right_of(m.range, 5), RECTO_VM_NONE);
    ck_assert_int_eq(recto_vm_unprot(m.range, 3, 1, RECTO_VM_NONE), 0);
    ck_assert_int_eq(recto_vm_right_of(m.range, 3), RECTO_VM_READ);
    pages_close(&m);
}
END_TEST

START_TEST(faults_tell_reads_from_writes)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    start();
    pages_open(&m, 4, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    memcpy((char *)m.verso + 10, "filled", 6);
    errno = ERANGE;
    ck_assert_int_eq(m.recto[10], 'f');
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_int_eq(atomic_load(&g.reads), 1);
    ck_assert_ptr_eq(atomic_load(&g.last), (void *)(m.recto + 10));
    m.recto[11] = 'I';
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_int_eq(atomic_load(&g.writes), 1);
    ck_assert_int_eq(m.verso[11], 'I');
    m.recto[PAGE] = 1; /* from nothing to writable at once */
    ck_assert_int_eq(atomic_load(&g.writes), 2);
    ck_assert_int_eq(atomic_load(&g.reads), 1);
    struct recto_vm_counters stats;
    recto_vm_stats(&stats);
    ck_assert_uint_eq(stats.faults, 3);
    ck_assert_uint_eq(stats.read_faults, 1);
    ck_assert_uint_eq(stats.write_faults, 2);
    ck_assert_uint_eq(stats.foreign, 0);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

/* Notes who was asked, then answers as told. */
struct link {
    struct pages *pages;
    char name;
    enum recto_vm_verdict answer;
};
static char asked[16];
static size_t asked_count;

static enum recto_vm_verdict answer(const struct recto_vm_fault *fault,
                                    void *argument)
{
    struct link *link = argument;
    asked[asked_count++] = link->name;
    if (link->answer == RECTO_VM_CONTINUE) {
        recto_vm_unprot(link->pages->range, page_of(link->pages, fault), 1,
                        RECTO_VM_WRITE);
    }
    return link->answer;
}

static void fall_back(const struct recto_vm_fault *fault, void *argument)
{
    struct link *link = argument;
    asked[asked_count++] = '!';
    recto_vm_unprot(link->pages->range, page_of(link->pages, fault), 1,
                    RECTO_VM_WRITE);
}

START_TEST(newest_trap_is_asked_first)
{
    struct pages m;
    recto_vm_trap *traps[4];
    install(SIGSEGV, owner_jump, 0);
    start();
    pages_open(&m, 4, RECTO_VM_NONE);
    struct link links[4] = {
        {&m, 'a', RECTO_VM_CONTINUE},
        {&m, 'b', RECTO_VM_SEARCH  },
        {&m, 'c', RECTO_VM_FALLBACK},
        {&m, 'd', RECTO_VM_SEARCH  },
    };
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(recto_vm_trap_add((void *)m.recto, m.bytes, answer,
                                           fall_back, &links[i], &traps[i]),
                         0);
    }
    store(m.recto);
    ck_assert_str_eq(asked, "dc!");
    recto_vm_trap_remove(traps[2]);
    store(m.recto + PAGE);
    ck_assert_str_eq(asked, "dc!dba");
    recto_vm_trap_remove(traps[0]);
    ck_assert(!can_read(m.recto + (ptrdiff_t)2 * PAGE));
    ck_assert_str_eq(asked, "dc!dbadb");
    ck_assert_int_eq(owner_calls, 1);
    ck_assert_ptr_eq(owner_address, (void *)(m.recto + (ptrdiff_t)2 * PAGE));
    recto_vm_trap_remove(traps[1]);
    recto_vm_trap_remove(traps[3]);
    pages_close(&m);
}
END_TEST

/* Touches the next page of the same range before it grants its own. */
static enum recto_vm_verdict grant_nested(const struct recto_vm_fault *fault,
                                          void *argument)
{
    struct granter *g = argument;
    size_t page = page_of(g->pages, fault);
    if ((page + 1) * PAGE < g->pages->bytes) {
        (void)g->pages->recto[(page + 1) * PAGE];
    }
    return grant(fault, argument);
}

START_TEST(handlers_may_fault)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    start();
    ck_assert_int_eq(recto_vm_thread_init(), 0);
    pages_open(&m, 4, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(recto_vm_trap_add((void *)m.recto, m.bytes, grant_nested,
                                       NULL, &g, &trap),
                     0);
    m.recto[0] = 1;
    ck_assert_int_eq(atomic_load(&g.reads), 3);
    ck_assert_int_eq(atomic_load(&g.writes), 1);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

static enum recto_vm_verdict use_stack(const struct recto_vm_fault *fault,
                                       void *argument)
{
    int here = 0;
    stack_t now;
    sigaltstack(NULL, &now);
    char *low = now.ss_sp;
    bool on = (char *)&here >= low && (char *)&here < low + now.ss_size;
    return on ? grant(fault, argument) : RECTO_VM_SEARCH;
}

START_TEST(a_small_alternate_stack_is_enough)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    size_t bytes = getauxval(AT_MINSIGSTKSZ);
    bytes = (bytes > 0 ? bytes : (size_t)MINSIGSTKSZ) + 4096;
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    start();
    char *base = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(base, MAP_FAILED);
    ck_assert_int_eq(mprotect(base, PAGE, PROT_NONE), 0);
    stack_t stack = {.ss_sp = base + PAGE, .ss_size = bytes};
    ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    pages_open(&m, 64, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, use_stack, NULL, &g, &trap),
        0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    for (int i = 0; i < 64; i++) {
        m.recto[(ptrdiff_t)i * PAGE] = 1;
    }
    ck_assert_int_eq(atomic_load(&g.writes), 64);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

enum {
    FILL_PAGES = 2000,
    FILL_ROUNDS = 50
};

/* Fills a page with the round's number through the verso, once per round. */
struct filler {
    struct pages *pages;
    atomic_int round;
    atomic_int taken[FILL_PAGES];
    atomic_int fills;
    atomic_int torn;
    pthread_barrier_t barrier;
};

static enum recto_vm_verdict fill(const struct recto_vm_fault *fault,
                                  void *argument)
{
    struct filler *f = argument;
    size_t page = page_of(f->pages, fault);
    int round = atomic_load(&f->round);
    int before = round - 1;
    if (atomic_compare_exchange_strong(&f->taken[page], &before, round)) {
        volatile uint64_t *words =
            (volatile uint64_t *)(f->pages->verso + page * PAGE);
        for (int i = 0; i < PAGE / 8; i++) {
            words[i] = (uint64_t)round;
        }
        atomic_fetch_add(&f->fills, 1);
        recto_vm_unprot(f->pages->range, page, 1, RECTO_VM_READ);
    }
    return RECTO_VM_CONTINUE; /* the other waits by faulting again */
}

static void read_all(struct filler *f)
{
    uint64_t round = (uint64_t)atomic_load(&f->round);
    for (size_t page = 0; page < FILL_PAGES; page++) {
        volatile uint64_t *words =
            (volatile uint64_t *)(f->pages->recto + page * PAGE);
        uint64_t wrong = 0;
        for (int i = PAGE / 8 - 1; i >= 0; i--) {
            wrong |= words[i] ^ round;
        }
        if (wrong != 0) {
            atomic_fetch_add(&f->torn, 1);
        }
    }
}

static void *read_rounds(void *argument)
{
    struct filler *f = argument;
    for (int i = 0; i < FILL_ROUNDS; i++) {
        pthread_barrier_wait(&f->barrier);
        read_all(f);
        pthread_barrier_wait(&f->barrier);
    }
    return NULL;
}

START_TEST(no_read_is_torn_in_100000_fills)
{
    struct pages m;
    static struct filler f;
    recto_vm_trap *trap = NULL;
    pthread_t second;
    start();
    pages_open(&m, FILL_PAGES, RECTO_VM_NONE);
    f.pages = &m;
    pthread_barrier_init(&f.barrier, NULL, 2);
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, fill, NULL, &f, &trap), 0);
    ck_assert_int_eq(pthread_create(&second, NULL, read_rounds, &f), 0);
    for (int i = 1; i <= FILL_ROUNDS; i++) {
        ck_assert_int_eq(recto_vm_protn(m.range, 0, FILL_PAGES, RECTO_VM_NONE),
                         0);
        atomic_store(&f.round, i);
        pthread_barrier_wait(&f.barrier);
        read_all(&f);
        pthread_barrier_wait(&f.barrier);
    }
    pthread_join(second, NULL);
    ck_assert_int_eq(atomic_load(&f.fills), FILL_PAGES * FILL_ROUNDS);
    ck_assert_int_eq(atomic_load(&f.torn), 0);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

enum {
    THREADS = 8,
    THREAD_PAGES = 512
};

static void *touch_all(void *argument)
{
    struct granter *g = argument;
    recto_vm_thread_init();
    for (size_t i = 0; i < THREAD_PAGES; i++) {
        atomic_fetch_add((atomic_int *)(g->pages->recto + i * PAGE), 1);
    }
    return NULL;
}

START_TEST(eight_threads_fault_at_once)
{
    struct pages m;
    pthread_t threads[THREADS];
    recto_vm_trap *trap = NULL;
    start();
    pages_open(&m, THREAD_PAGES, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, touch_all, &g), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < THREAD_PAGES; i++) {
        ck_assert_int_eq(*(volatile int *)(m.recto + i * PAGE), THREADS);
    }
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

static atomic_bool stop_touching;

/* Maps the same pages away and back so that the other threads keep faulting. */
static void *touch_and_protect(void *argument)
{
    struct granter *g = argument;
    for (unsigned n = 0; !atomic_load(&stop_touching); n++) {
        size_t page = n * 7 % 64;
        /* others store there at the same time */
        __atomic_store_n(&g->pages->recto[page * PAGE], 1, __ATOMIC_RELAXED);
        recto_vm_prot1(g->pages->range, page,
                       n % 2 ? RECTO_VM_NONE : RECTO_VM_READ);
    }
    return NULL;
}

static atomic_int strays;

static enum recto_vm_verdict pass(const struct recto_vm_fault *fault,
                                  void *argument)
{
    (void)fault;
    if (*(int *)argument != 42) { /* freed memory would differ */
        atomic_fetch_add(&strays, 1);
    }
    return RECTO_VM_SEARCH;
}

START_TEST(traps_come_and_go_while_threads_fault)
{
    struct pages m;
    pthread_t threads[3];
    recto_vm_trap *trap = NULL;
    start();
    pages_open(&m, 64, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, touch_and_protect, &g);
    }
    for (int i = 0; i < 2000; i++) {
        recto_vm_trap *extra = NULL;
        int *value = malloc(sizeof *value);
        *value = 42;
        ck_assert_int_eq(recto_vm_trap_add((void *)m.recto, m.bytes, pass, NULL,
                                           value, &extra),
                         0);
        recto_vm_trap_remove(extra);
        *value = 0;
        free(value);
    }
    atomic_store(&stop_touching, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(atomic_load(&strays), 0);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

/* ---- the owner of the signals -------------------------------------------- */

/* Runs `body` in a child that is traced; returns the address of its last
 * SIGSEGV and its wait status. */
static int run_traced(void (*body)(void *), void *argument, void **address)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        body(argument);
        _exit(99);
    }
    int status = 0;
    *address = NULL;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        siginfo_t info;
        int signal = WSTOPSIG(status);
        if (signal == SIGSEGV &&
            ptrace(PTRACE_GETSIGINFO, child, NULL, &info) == 0) {
            *address = info.si_addr;
        }
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): so ptrace wants it */
        ptrace(PTRACE_CONT, child, NULL, (void *)(intptr_t)signal);
    }
    return status;
}

static void quiet(void)
{
    /* no core file, and no report by a sanitizer: the default action */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    (void)signal(SIGSEGV, SIG_DFL);
    (void)signal(SIGBUS, SIG_DFL);
}

static void fault_foreign(void *at)
{
    quiet();
    if (recto_vm_init() == 0) {
        *(volatile char *)at = 1;
    }
}

START_TEST(a_fault_that_nobody_wants_ends_in_sigsegv_at_its_address)
{
    void *at = NULL;
    void *seen = NULL;
    ck_assert_int_eq(recto_vm_map(-1, 0, PAGE, NULL, RECTO_VM_NONE, &at), 0);
    int status = run_traced(fault_foreign, (char *)at + 123, &seen);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_eq(seen, (char *)at + 123);
}
END_TEST

static void kill_self(void *signal)
{
    quiet();
    if (recto_vm_init() == 0) {
        kill(getpid(), *(int *)signal);
        pause();
    }
}

START_TEST(a_signal_sent_by_a_process_keeps_its_default_action)
{
    int signals[] = {SIGSEGV, SIGBUS};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            kill_self(&signals[i]);
            _exit(99);
        }
        int status = 0;
        waitpid(child, &status, 0);
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), signals[i]);
    }
}
END_TEST

static void owner_exit(int signal, siginfo_t *info, void *context)
{
    (void)context;
    _exit(signal == SIGSEGV && info->si_addr == owner_address ? 7 : 8);
}

START_TEST(a_handler_set_later_is_asked_after_the_traps)
{
    struct sigaction old;
    struct pages m;
    recto_vm_trap *trap = NULL;
    install(SIGSEGV, owner_exit, 0);
    start();
    ck_assert_int_eq(sigaction(SIGSEGV, NULL, &old), 0);
    ck_assert(old.sa_sigaction == owner_exit);
    struct sigaction mine = {.sa_sigaction = owner_jump,
                             .sa_flags = SA_SIGINFO};
    ck_assert_int_eq(sigaction(SIGSEGV, &mine, &old), 0);
    ck_assert(old.sa_sigaction == owner_exit);
    pages_open(&m, 2, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, PAGE, grant, NULL, &g, &trap), 0);
    ck_assert(can_write(m.recto));
    ck_assert_int_eq(owner_calls, 0);
    ck_assert(!can_read(m.recto + PAGE));
    ck_assert(!can_read(m.recto + PAGE));
    ck_assert_int_eq(owner_calls, 2);
    recto_vm_trap_remove(trap);
    pages_close(&m);
    ck_assert_int_eq(recto_vm_finalize(), 0);
    ck_assert_int_eq(sigaction(SIGSEGV, NULL, &old), 0);
    ck_assert(old.sa_sigaction == owner_jump);
}
END_TEST

static void touch_twice(void *at)
{
    quiet();
    install(SIGSEGV, owner_jump, (int)SA_RESETHAND);
    if (recto_vm_init() == 0 && !can_read(at) && !can_read(at)) {
        _exit(98); /* the second must not come back */
    }
}

START_TEST(a_one_shot_owner_is_asked_once)
{
    void *at = NULL;
    void *seen = NULL;
    ck_assert_int_eq(recto_vm_map(-1, 0, PAGE, NULL, RECTO_VM_NONE, &at), 0);
    int status = run_traced(touch_twice, at, &seen);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_eq(seen, at);
}
END_TEST

static void owner_plain(int signal)
{
    (void)signal;
    owner_calls = owner_calls + 1;
    siglongjmp(refused, 1);
}

START_TEST(signal_works_as_before)
{
    start();
    void *at = NULL;
    ck_assert_int_eq(recto_vm_map(-1, 0, PAGE, NULL, RECTO_VM_NONE, &at), 0);
    ck_assert(signal(SIGSEGV, owner_plain) != SIG_ERR);
    ck_assert(signal(SIGSEGV, owner_plain) == owner_plain);
    ck_assert(!can_read(at));
    ck_assert_int_eq(owner_calls, 1);
    ck_assert(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
    ck_assert(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
}
END_TEST

static struct granter *alarm_granter;

static void touch_in_handler(int signal)
{
    (void)signal;
    alarm_granter->pages->recto[PAGE] = 1;
}

START_TEST(a_thread_cannot_block_the_faults)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    sigset_t all;
    sigset_t now;
    start();
    pages_open(&m, 3, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    alarm_granter = &g;
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    struct sigaction action = {.sa_handler = touch_in_handler};
    sigfillset(&action.sa_mask);
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(atomic_load(&g.writes), 1);
    sigfillset(&all);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    m.recto[0] = 1;
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &all, NULL), 0);
    m.recto[2 * PAGE] = 1;
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
    ck_assert_int_eq(sigismember(&now, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&now, SIGSEGV), 0);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

START_TEST(a_second_init_takes_the_signals_back)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    start();
    start();
    ck_assert_int_eq(recto_vm_finalize(), 0);
    pages_open(&m, 1, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, PAGE, grant, NULL, &g, &trap), 0);
    m.recto[0] = 1;
    ck_assert_int_eq(atomic_load(&g.writes), 1);
    recto_vm_trap_remove(trap);
    pages_close(&m);
    ck_assert_int_eq(recto_vm_finalize(), 0);
}
END_TEST

/* No memory behind the page: SIGBUS reaches the trap, too. */
static enum recto_vm_verdict extend(const struct recto_vm_fault *fault,
                                    void *argument)
{
    int *fd = argument;
    return fault->signal == SIGBUS && ftruncate(*fd, (off_t)2 * PAGE) == 0
               ? RECTO_VM_CONTINUE
               : RECTO_VM_SEARCH;
}

START_TEST(sigbus_takes_the_same_way)
{
    int fd = -1;
    void *view = NULL;
    recto_vm_range *range = NULL;
    recto_vm_trap *trap = NULL;
    start();
    ck_assert_int_eq(recto_vm_memory_create("short", PAGE, &fd), 0);
    ck_assert_int_eq(
        recto_vm_map(fd, 0, (size_t)2 * PAGE, NULL, RECTO_VM_WRITE, &view), 0);
    ck_assert_int_eq(
        recto_vm_range_create(view, (size_t)2 * PAGE, RECTO_VM_WRITE, &range),
        0);
    ck_assert_int_eq(
        recto_vm_trap_add(view, (size_t)2 * PAGE, extend, NULL, &fd, &trap), 0);
    ((volatile char *)view)[PAGE] = 5;
    ck_assert_int_eq(((volatile char *)view)[PAGE], 5);
    recto_vm_trap_remove(trap);
    recto_vm_range_destroy(range);
    close(fd);
}
END_TEST

/* ---- DIRTY --------------------------------------------------------------- */

START_TEST(dirty_pages_are_those_written)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    uint64_t bits[4] = {0};
    start();
    pages_open(&m, 200, RECTO_VM_WRITE);
    m.recto[0] = 1; /* before tracking */
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    m.recto[(ptrdiff_t)3 * PAGE] = 1;
    m.recto[(ptrdiff_t)3 * PAGE + 1] = 1;
    m.recto[(ptrdiff_t)130 * PAGE] = 1;
    (void)m.recto[(ptrdiff_t)5 * PAGE];
    ck_assert_int_eq(recto_vm_dirty_mark(m.range, 64, 2), 0);
    ck_assert_int_eq(recto_vm_right_of(m.range, 3), RECTO_VM_WRITE);
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 0, 200, bits), 0);
    ck_assert_uint_eq(bits[0], 1U << 3);
    ck_assert_uint_eq(bits[1], 3);
    ck_assert_uint_eq(bits[2], 4);
    memset(bits, 0, sizeof bits);
    m.recto[(ptrdiff_t)3 * PAGE] = 2;
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 4, 196, bits), 0);
    ck_assert_uint_eq(bits[0] | bits[1] | bits[2] | bits[3], 0);
    ck_assert_int_eq(recto_vm_dirty_collect(m.range, 3, 1, bits), 0);
    ck_assert_uint_eq(bits[0], 1);
    /* a handler that marks what it grants saves the second fault */
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    struct recto_vm_counters before;
    struct recto_vm_counters after;
    ck_assert_int_eq(recto_vm_prot1(m.range, 9, RECTO_VM_NONE), 0);
    recto_vm_stats(&before);
    ck_assert_int_eq(recto_vm_dirty_mark(m.range, 9, 1), 0);
    m.recto[(ptrdiff_t)9 * PAGE] = 1;
    recto_vm_stats(&after);
    ck_assert_uint_eq(after.faults - before.faults, 1);
    ck_assert_uint_eq(after.tracked, before.tracked);
    recto_vm_check();
    ck_assert_int_eq(recto_vm_dirty_stop(m.range), 0);
    recto_vm_stats(&before);
    m.recto[0] = 3;
    recto_vm_stats(&after);
    ck_assert_uint_eq(after.faults, before.faults);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

START_TEST(dirty_pages_come_as_runs)
{
    enum {
        COUNT = 20000 /* several stretches that are collected at a time */
    };
    static const uint64_t expected[][2] = {
        {0,         1   },
        {511,       2   },
        {4090,      20  },
        {8192,      4096},
        {COUNT - 1, 1   }
    };
    struct pages m;
    struct told told = {.runs = 0};
    start();
    pages_open(&m, COUNT, RECTO_VM_WRITE);
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, COUNT, tell, &told),
                     RECTO_ESTATE);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 1, COUNT, tell, &told),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, COUNT, tell, &told), 0);
    ck_assert_int_eq(told.runs, 0);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        for (uint64_t page = 0; page < expected[i][1]; page++) {
            m.recto[(expected[i][0] + page) * PAGE] = 1;
        }
    }
    /* of a part */
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 1, 511, tell, &told), 0);
    ck_assert_int_eq(told.runs, 1);
    ck_assert_uint_eq(told.first[0], 511);
    ck_assert_uint_eq(told.count[0], 1);
    m.recto[(ptrdiff_t)511 * PAGE] = 2;
    told.runs = 0;
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, COUNT, tell, &told), 0);
    ck_assert_int_eq(told.runs, 5);
    for (int i = 0; i < told.runs; i++) {
        ck_assert_uint_eq(told.first[i], expected[i][0]);
        ck_assert_uint_eq(told.count[i], expected[i][1]);
    }
    /* nobody wants to know, and then nobody can */
    m.recto[0] = 3;
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, COUNT, NULL, NULL), 0);
    told.runs = 0;
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, COUNT, tell, &told), 0);
    ck_assert_int_eq(told.runs, 0);
    m.recto[0] = 4;
    ck_assert_int_eq(recto_vm_dirty_runs(m.range, 0, 1, tell, &told), 0);
    ck_assert_int_eq(told.runs, 1);
    pages_close(&m);
}
END_TEST

enum {
    RACE_PAGES = 64,
    RACE_ROUNDS = 500 /* of collecting with something to collect */
};

static void *write_on(void *argument)
{
    struct pages *m = argument;
    for (uint64_t n = 1; !atomic_load(&stop_touching); n++) {
        volatile uint64_t *word =
            (volatile uint64_t *)(m->recto + n * 13 % RACE_PAGES * PAGE);
        *word = n;
    }
    return NULL;
}

static bool copy_dirty(struct pages *m, uint64_t *copy)
{
    uint64_t bits = 0;
    ck_assert_int_eq(recto_vm_dirty_collect(m->range, 0, RACE_PAGES, &bits), 0);
    for (size_t i = 0; i < RACE_PAGES; i++) {
        if (bits >> i & 1) {
            copy[i] = *(volatile uint64_t *)(m->verso + i * PAGE);
        }
    }
    return bits != 0;
}

START_TEST(no_write_is_lost_by_collecting)
{
    struct pages m;
    pthread_t writer;
    uint64_t copy[RACE_PAGES] = {0};
    start();
    pages_open(&m, RACE_PAGES, RECTO_VM_WRITE);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_on, &m), 0);
    for (int rounds = 0; rounds < RACE_ROUNDS;) {
        rounds += copy_dirty(&m, copy);
    }
    atomic_store(&stop_touching, true);
    pthread_join(writer, NULL);
    (void)copy_dirty(&m, copy);
    for (size_t i = 0; i < RACE_PAGES; i++) {
        ck_assert_uint_eq(copy[i], *(volatile uint64_t *)(m.verso + i * PAGE));
    }
    pages_close(&m);
}
END_TEST

/* ---- fork ---------------------------------------------------------------- */

static bool child_can_go_on(void)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    pages_open(&m, 4, RECTO_VM_NONE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    m.recto[PAGE] = 1;
    recto_vm_trap_remove(trap);
    pages_close(&m);
    return atomic_load(&g.writes) == 1;
}

static void touch_inherited(void *argument)
{
    struct granter *g = argument;
    quiet();
    bool refused_here =
        recto_vm_unprot(g->pages->range, 0, 1, RECTO_VM_WRITE) == RECTO_ESTATE;
    if (refused_here && child_can_go_on()) {
        g->pages->recto[PAGE] = 1; /* not mapped here: must die */
    }
}

START_TEST(a_forked_child_has_no_views_and_goes_on)
{
    struct pages m;
    recto_vm_trap *trap = NULL;
    void *seen = NULL;
    start();
    pages_open(&m, 4, RECTO_VM_WRITE);
    struct granter g = {.pages = &m};
    ck_assert_int_eq(
        recto_vm_trap_add((void *)m.recto, m.bytes, grant, NULL, &g, &trap), 0);
    ck_assert_int_eq(recto_vm_dirty_start(m.range), 0);
    int status = run_traced(touch_inherited, &g, &seen);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
    ck_assert_ptr_eq(seen, (void *)(m.recto + PAGE));
    m.recto[PAGE] = 1; /* the parent is as it was */
    ck_assert_int_eq(atomic_load(&g.writes), 0);
    recto_vm_trap_remove(trap);
    pages_close(&m);
}
END_TEST

/* ---- the suite ----------------------------------------------------------- */

/* ThreadSanitizer calls a program's handlers from one of its own, with all signals
 * blocked: a fault in a handler is the process's end. */
#ifdef __SANITIZE_THREAD__
enum {
    HANDLERS_MAY_FAULT = 0
};
#else
enum {
    HANDLERS_MAY_FAULT = 1
};
#endif

static TCase *group(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("vm");
    TCase *t = group(suite, "memory");
    tcase_add_test(t, unknown_methods_are_refused);
    tcase_add_test(t, two_views_show_one_memory);
    tcase_add_test(t, memory_is_found_between_holes);
    tcase_add_test(t, reservations_hold_their_addresses);
    tcase_add_test(t, memory_beyond_the_file_limit_is_an_error);
    tcase_add_test(t, wrong_arguments_are_refused);
    t = group(suite, "faults");
    tcase_add_test(t, rights_are_enforced);
    tcase_add_test(t, faults_tell_reads_from_writes);
    tcase_add_test(t, newest_trap_is_asked_first);
    if (HANDLERS_MAY_FAULT) {
        tcase_add_test(t, handlers_may_fault);
    }
    tcase_add_test(t, a_small_alternate_stack_is_enough);
    t = group(suite, "threads");
    tcase_add_test(t, no_read_is_torn_in_100000_fills);
    tcase_add_test(t, eight_threads_fault_at_once);
    tcase_add_test(t, traps_come_and_go_while_threads_fault);
    t = group(suite, "owner");
    tcase_add_test(t, a_fault_that_nobody_wants_ends_in_sigsegv_at_its_address);
    tcase_add_test(t, a_signal_sent_by_a_process_keeps_its_default_action);
    tcase_add_test(t, a_handler_set_later_is_asked_after_the_traps);
    tcase_add_test(t, a_one_shot_owner_is_asked_once);
    tcase_add_test(t, signal_works_as_before);
    if (HANDLERS_MAY_FAULT) {
        tcase_add_test(t, a_thread_cannot_block_the_faults);
    }
    tcase_add_test(t, a_second_init_takes_the_signals_back);
    tcase_add_test(t, sigbus_takes_the_same_way);
    t = group(suite, "dirty");
    tcase_add_test(t, dirty_pages_are_those_written);
    tcase_add_test(t, dirty_pages_come_as_runs);
    tcase_add_test(t, no_write_is_lost_by_collecting);
    t = group(suite, "fork");
    tcase_add_test(t, a_forked_child_has_no_views_and_goes_on);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* NOLINTEND(concurrency-mt-unsafe) */
/* NOLINTEND(bugprone-implicit-widening-of-multiplication-result) */
/* NOLINTEND(readability-function-cognitive-complexity) */
