/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a touch for which the kernel has no memory is told, once, with rank,
 * node, array and remedy, and ends the rank by SIGBUS, instead of a bare signal or a
 * loop: the memory is cut off behind Recto's back, so that the kernel refuses its
 * pages as it does when it has none. shortage.sh starts it and reads what it says.
 *
 *     shortage home|copy|write [sequential]
 *
 * home: the last rank touches its own page; copy: it reads another's; write: it writes
 * a page that it has read. shortage_cgroup.sh uses `refused` and `grow`.
 */
#include "own.h"

enum {
    PAGES = 4096,
    BYTES = PAGES * 4096
};

static void cut(uint64_t bytes)
{
    int fd = own_memory("grid");
    CHECK(fd >= 0);
    CHECK_OK(ftruncate(fd, (off_t)bytes));
}

/* Until the kernel kills. */
static void grow(void)
{
    recto_attr attr = {.flags = RECTO_SPARSE};
    uint64_t bytes = (uint64_t)1 << 30;
    volatile char *p = recto_alloc("grid", bytes, &attr);
    CHECK(p != NULL);
    for (uint64_t i = 0; i < bytes; i += 4096) {
        p[i] = 1;
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "home";
    recto_attr attr = {.placement = RECTO_AT(0)};
    test_begin(&argc, &argv);
    int last = recto_size() - 1;
    attr.consistency = argc > 2 ? RECTO_SEQUENTIAL : RECTO_RELEASE;
    if (strcmp(what, "refused") == 0) {
        CHECK(recto_alloc("grid", (uint64_t)1 << 30, NULL) == NULL);
        CHECK(strstr(recto_last_error(), "cgroup") != NULL);
        CHECK(strstr(recto_last_error(), "RECTO_ENOMEM") != NULL);
        return test_end("refusal by a cgroup");
    }
    if (strcmp(what, "grow") == 0) {
        grow();
    }
    if (strcmp(what, "home") == 0) {
        attr.placement = RECTO_AT(last);
    }
    volatile char *p = recto_alloc("grid", BYTES, &attr);
    CHECK(p != NULL);
    if (recto_rank() == last) {
        CHECK(p[0] == 0);
        cut(2 * 4096);
        if (strcmp(what, "write") == 0) {
            p[0] = 1;
        } else {
            CHECK(p[3000 * 4096] == 0);
        }
        CHECK(!"a page without memory could be used");
    }
    CHECK_OK(recto_barrier());
    CHECK(!"the barrier ended without the last rank");
}
