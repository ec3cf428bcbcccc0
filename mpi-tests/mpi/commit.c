/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows what RECTO_COMMIT makes of allocations: more than the machine can give is
 * RECTO_ENOMEM on every rank with segment, bytes and limit, unless the array is
 * sparse; what earlier arrays were promised counts; "reserve" has the kernel allocate
 * home pages at once, and gives all back when it is too much.
 *
 *     commit check|reserve|sparse
 */
#include "own.h"

static uint64_t available(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    CHECK(f != NULL);
    while (kib == 0 && fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "MemAvailable: %lu", &kib);
    }
    fclose(f);
    CHECK(kib > 0);
    return (uint64_t)kib << 10;
}

static void told(const char *name, const char *what)
{
    CHECK(strstr(recto_last_error(), name) != NULL);
    CHECK(strstr(recto_last_error(), what) != NULL);
    CHECK(strstr(recto_last_error(), "RECTO_ENOMEM") != NULL);
}

/* The same number on all ranks. */
static uint64_t agreed(uint64_t bytes)
{
    uint64_t *p = recto_alloc("agreed", 8, NULL);
    CHECK(p != NULL);
    if (recto_rank() == 0) {
        *p = bytes;
    }
    CHECK_OK(recto_barrier());
    uint64_t value = *p;
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
    return value;
}

static void beyond(void)
{
    recto_attr sparse = {.flags = RECTO_SPARSE};
    recto_attr last = {.placement = RECTO_AT(recto_size() - 1)};
    /* of as many machines as there may be */
    uint64_t bytes = agreed(available()) * 2 * (uint64_t)recto_nodes();
    CHECK(recto_alloc("too much", bytes, NULL) == NULL);
    told("\"too much\"", "can give");
    CHECK(strstr(recto_last_error(), "RECTO_SPARSE") != NULL);
    CHECK(recto_alloc("there too", bytes, &last) == NULL);
    told("\"there too\"", "can give");
    char *p = recto_alloc("sparse", bytes, &sparse);
    CHECK(p != NULL);
    p[bytes / 2 + (uint64_t)recto_rank()] = 1;
    CHECK_OK(recto_barrier());
    CHECK(p[bytes / 2] == 1 && p[bytes / 2 + 4096] == 0);
    /* nothing is promised to it */
    CHECK(recto_alloc("small", 1 << 20, NULL) != NULL);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
}

/* Two arrays that fit alone, but not both on one machine. */
static void promised(void)
{
    recto_attr first = {.placement = RECTO_AT(0)};
    uint64_t bytes = agreed(available()) / 4 * 3 / 4096 * 4096;
    char *p = recto_alloc("first", bytes, &first);
    CHECK(p != NULL);
    CHECK(recto_alloc("second", bytes, &first) == NULL);
    told("\"second\"", "promised");
    CHECK_OK(recto_free(p));
    p = recto_alloc("second", bytes, &first);
    CHECK(p != NULL);
    CHECK_OK(recto_free(p));
}

static void reserved(void)
{
    uint64_t n = (uint64_t)recto_size();
    recto_attr cyclic = {.placement = RECTO_CYCLIC, .granule = 3 * 4096};
    recto_attr sparse = {.flags = RECTO_SPARSE};
    uint64_t bytes = n * (12 << 20);
    uint64_t mine = bytes / (uint64_t)recto_nodes() >> 10;
    char *p = recto_alloc("kept", bytes, &cyclic);
    CHECK(p != NULL);
    /* nodes of unequal numbers of ranks home unequal parts */
    CHECK(own_memory_kib("kept") >=
          (n > 2 * (uint64_t)recto_nodes() ? mine / 2 : 12 << 10));
    char *q = recto_alloc("free", bytes, &sparse);
    CHECK(q != NULL && own_memory_kib("free") < 1024);
    for (uint64_t i = 0; i < bytes; i += 4096) {
        CHECK(p[i] == 0);
    }
    CHECK_OK(recto_barrier());
    p[4096 * (uint64_t)recto_rank()] = 7;
    CHECK_OK(recto_barrier());
    for (uint64_t r = 0; r < n; r++) {
        CHECK(p[4096 * r] == 7);
    }
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(q));
    CHECK_OK(recto_free(p));
    CHECK(own_memory_kib("kept") == 0);
    /* what was reserved before a failure goes back: it succeeds again and again */
    for (int i = 0; i < 3; i++) {
        CHECK(recto_alloc("huge",
                          agreed(available()) * 2 * (uint64_t)recto_nodes(),
                          NULL) == NULL);
        told("\"huge\"", "can give");
        p = recto_alloc("kept", bytes, NULL);
        CHECK(p != NULL);
        CHECK_OK(recto_free(p));
    }
}

static void unaccounted(void)
{
    uint64_t bytes = agreed(available()) * 4;
    char *p = recto_alloc("any", bytes, NULL);
    CHECK(p != NULL);
    p[(bytes / (uint64_t)recto_size() + 4096) * (uint64_t)recto_rank() %
      bytes] = 1;
    CHECK_OK(recto_barrier());
    CHECK(own_memory_kib("any") < 4096);
    CHECK_OK(recto_barrier());
    CHECK_OK(recto_free(p));
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "check";
    if (recto_init(&argc, &argv) != 0) {
        /* wrong values are told at the start */
        CHECK(strcmp(mode, "wrong") == 0);
        CHECK(strstr(recto_last_error(), "RECTO_COMMIT=") != NULL);
        return 0;
    }
    CHECK(strcmp(mode, "wrong") != 0);
    if (strcmp(mode, "sparse") == 0) {
        unaccounted();
    } else {
        beyond();
    }
    if (strcmp(mode, "reserve") == 0) {
        reserved();
    } else if (strcmp(mode, "check") == 0) {
        promised();
    }
    return test_end("commitment of memory");
}
