/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that allocations are zero, at one address, homed as asked, of any size
 * and shape, and can be freed and made again; that wrong arguments, exhausted
 * memory and exhausted address space are told on every rank; and that the
 * agreed address gives way when one rank has something else there.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "test.h"

static const uint64_t PAGE = 4096;

/* Every rank fills its own share; every rank then sees all shares. */
static void fill_and_read(const char *name, uint64_t words,
                          const recto_attr *attr)
{
    uint64_t *p = recto_array(name, RECTO_UINT64, 1, &words, attr);
    CHECK(p != NULL);
    uint64_t *zero = recto_alloc("addresses", 8 * (uint64_t)recto_size(), NULL);
    CHECK(zero != NULL);
    zero[recto_rank()] = (uint64_t)(uintptr_t)p;
    CHECK_OK(recto_barrier());
    for (int r = 0; r < recto_size(); r++) {
        CHECK(zero[r] == (uint64_t)(uintptr_t)p);
    }
    for (uint64_t i = 0; i < words; i++) {
        CHECK(p[i] == 0);
    }
    CHECK_OK(recto_barrier());
    uint64_t ranks = (uint64_t)recto_size();
    for (uint64_t i = (uint64_t)recto_rank(); i < words; i += ranks) {
        p[i] = test_hash(i, 1, ranks);
    }
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < words; i++) {
        CHECK(p[i] == test_hash(i, 1, ranks));
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(zero));
    CHECK_OK(recto_free(p));
}

static void placements(void)
{
    int n = recto_size();
    recto_attr cyclic = {.placement = RECTO_CYCLIC};
    recto_attr granules = {.placement = RECTO_CYCLIC, .granule = 4 * PAGE};
    recto_attr last = {.placement = RECTO_AT(n - 1)};
    fill_and_read("a", 5000, NULL);
    fill_and_read("b", 5000, &cyclic);
    fill_and_read("c/d", 20001, &granules);
    fill_and_read("e", 1, &last);
    fill_and_read("f", 5000, &last);

    char *p = recto_alloc("homes", 64 * PAGE, &granules);
    char *q = recto_alloc("homes2", 64 * PAGE, NULL);
    char *s = recto_alloc("homes3", 64 * PAGE, &last);
    CHECK(p != NULL && q != NULL && s != NULL);
    uint64_t per = (64 + (uint64_t)n - 1) / (uint64_t)n;
    for (uint64_t i = 0; i < 64; i++) {
        CHECK(recto_home(p + i * PAGE + 5) == (int)(i / 4 % (uint64_t)n));
        CHECK(recto_home(q + i * PAGE) == (int)(i / per));
        CHECK(recto_home(s + i * PAGE + 4095) == n - 1);
        CHECK(recto_is_shared(p + i * PAGE));
    }
    int local = 0;
    CHECK(!recto_is_shared(&local) && recto_home(&local) == RECTO_ENOENT);
    CHECK_OK(recto_free(q));
    CHECK_OK(recto_free(p));
    CHECK_OK(recto_free(s));
}

/* More than 4 GiB: sparse, touched here and there from every rank. */
static void large(void)
{
    uint64_t dims[] = {5, 1024, 1024, 1024};
    char *p = recto_array("large", RECTO_BYTE, 4, dims, NULL);
    CHECK(p != NULL);
    uint64_t bytes = dims[0] << 30;
    uint64_t step = bytes / 97;
    for (uint64_t i = (uint64_t)recto_rank(); i < 97;
         i += (uint64_t)recto_size()) {
        p[i * step] = (char)(i + 1);
    }
    p[bytes - 1] = 77;
    CHECK_OK(recto_barrier());
    for (uint64_t i = 0; i < 97; i++) {
        CHECK(p[i * step] == (char)(i + 1));
    }
    CHECK(p[bytes - 1] == 77 && p[bytes - 2] == 0);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
}

static void wrong(void)
{
    uint64_t dims[] = {4, 0};
    recto_attr odd = {.granule = 100};
    recto_attr nowhere = {.placement = 17};
    char name[300];
    memset(name, 'x', sizeof name);
    name[299] = '\0';
    CHECK(recto_alloc("", 8, NULL) == NULL);
    CHECK(recto_alloc(name, 8, NULL) == NULL);
    CHECK(recto_alloc("a/../b", 8, NULL) == NULL);
    CHECK(recto_alloc("recto/x", 8, NULL) == NULL);
    CHECK(recto_alloc("a//b", 8, NULL) == NULL);
    CHECK(recto_alloc("a\nb", 8, NULL) == NULL);
    CHECK(recto_alloc(NULL, 8, NULL) == NULL);
    CHECK(recto_alloc("w", 0, NULL) == NULL);
    CHECK(recto_alloc("w", 8, &odd) == NULL);
    CHECK(recto_alloc("w", 8, &nowhere) == NULL);
    CHECK(recto_array("w", RECTO_DOUBLE, 2, dims, NULL) == NULL);
    CHECK(recto_array("w", (recto_type)99, 1, dims, NULL) == NULL);
    CHECK(recto_array("w", RECTO_DOUBLE, 9, dims, NULL) == NULL);
    CHECK(recto_array("w", RECTO_DOUBLE, 1, NULL, NULL) == NULL);
    CHECK(strstr(recto_last_error(), "RECTO_EINVAL") != NULL);
    /* more memory, and more addresses, than there can be */
    CHECK(recto_alloc("w", (uint64_t)1 << 50, NULL) == NULL);
    CHECK(strstr(recto_last_error(), "RECTO_ENOMEM") != NULL);
    CHECK(recto_alloc("w", UINT64_MAX - 5000, NULL) == NULL);

    char *p = recto_alloc("recto2", 8, NULL);
    CHECK(p != NULL);
    CHECK(recto_alloc("recto2", 8, NULL) == NULL);
    CHECK(strstr(recto_last_error(), "RECTO_EEXIST") != NULL);
    CHECK(recto_free(p + 1) == RECTO_ENOENT);
    CHECK_OK(recto_free(p));
    CHECK(recto_free(p) == RECTO_ENOENT);
}

/* Many times over, addresses come back and nothing leaks. */
static void again(void)
{
    void *first = NULL;
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "again%d", i % 7);
        char *p = recto_alloc(name, 3 * PAGE, NULL);
        CHECK(p != NULL && p[5] == 0);
        CHECK_OK(recto_barrier());
        first = first == NULL ? p : first;
        CHECK(p == first);
        p[recto_rank()] = 1;
        CHECK_OK(recto_free(p));
    }
}

/* One rank has its own memory where segments would start. */
static void taken(void)
{
    char *usual = recto_alloc("usual", PAGE, NULL);
    CHECK(usual != NULL);
    CHECK_OK(recto_free(usual));
    void *mine = NULL;
    size_t bytes = (size_t)1 << 30;
    int odd = recto_rank() == recto_size() - 1;
    if (odd) {
        mine = mmap(usual, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                        MAP_FIXED_NOREPLACE,
                    -1, 0);
        CHECK(mine == usual);
        memset(mine, 5, 3 * PAGE);
    }
    fill_and_read("elsewhere", 5000, NULL);
    char *p = recto_alloc("p", PAGE, NULL);
    CHECK(p != NULL && p != usual);
    CHECK_OK(recto_free(p));
    if (odd) {
        CHECK(usual[0] == 5 && usual[3 * PAGE - 1] == 5); /* untouched */
        munmap(mine, bytes);
    }
    CHECK_OK(recto_barrier());
    p = recto_alloc("p", PAGE, NULL);
    CHECK(p == usual);
    CHECK_OK(recto_free(p));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    return pages * PAGE;
}

/* One rank may map no more: all ranks get the error, and go on. */
static void no_space(void)
{
    struct rlimit before;
    CHECK_OK(getrlimit(RLIMIT_AS, &before));
    if (recto_rank() == recto_size() - 1) {
        struct rlimit less = before;
        less.rlim_cur = address_space() + ((rlim_t)64 << 20);
        CHECK_OK(setrlimit(RLIMIT_AS, &less));
    }
    CHECK(recto_alloc("vast", (uint64_t)1 << 30, NULL) == NULL);
    CHECK(strstr(recto_last_error(), "RECTO_ENOMEM") != NULL ||
          strstr(recto_last_error(), "RECTO_EADDRESS") != NULL);
    CHECK_OK(setrlimit(RLIMIT_AS, &before));
    CHECK_OK(recto_barrier());
    fill_and_read("after", 5000, NULL);
}

#else

/* Sanitizers have no address space to give. */
static void no_space(void)
{
}

#endif

int main(int argc, char **argv)
{
    CHECK(recto_rank() == -1 && recto_alloc("early", 8, NULL) == NULL);
    test_begin(&argc, &argv);
    CHECK(recto_init(&argc, &argv) == RECTO_ESTATE);
    placements();
    large();
    wrong();
    again();
    taken();
    no_space();
    return test_end("allocation");
}
