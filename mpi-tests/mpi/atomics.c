/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that recto_* atomics lose nothing and are seen at once by their own
 * thread, in whatever state the rank's copy of the page is.
 *
 *   beside   a rank that has no right to a page adds to a word of it while
 *            another rank of its domain has written another byte and not yet
 *            released: neither change is lost
 *   own      a thread reads what it has added, whether it has the page, has had
 *            it once, or the cache's hand has taken it for a while
 *
 * To be run with RECTO_CACHE=1M, so that the cache's hands move.
 */
#include "test.h"

enum {
    PAGE = 4096,
    TURNS = 64,
    PAGES = 1000 /* of each rank; the cache holds 256 */
};

static int rank(void)
{
    return recto_rank();
}

static void wait_for(int64_t *flag, int64_t value)
{
    while (recto_load_i64(flag) < value) {
        usleep(30);
    }
}

/* ---- beside ---- */

static void beside(void)
{
    /* with RECTO_NODE=2 the last pair of ranks that is a domain */
    int writer = recto_size() / 2 * 2 - 1;
    int adder = writer - 1;
    recto_attr attr = {.placement =
                           RECTO_AT(writer == 1 ? recto_size() - 1 : 0)};
    unsigned char *p = recto_alloc("beside", (uint64_t)TURNS * PAGE, &attr);
    int64_t *flags = recto_alloc("flags", 2 * sizeof *flags, &attr);
    CHECK(p != NULL && flags != NULL);
    for (int turn = 0; turn < TURNS && writer > 0; turn++) {
        unsigned char *page = p + (uint64_t)turn * PAGE;
        if (rank() == writer) {
            page[100] = (unsigned char)(turn + 1);
            recto_store_i64(&flags[0], turn + 1);
            wait_for(&flags[1], turn + 1);
        } else if (rank() == adder) {
            wait_for(&flags[0], turn + 1);
            CHECK(recto_fetch_add_i64((int64_t *)(void *)page, 7) == 0);
            recto_store_i64(&flags[1], turn + 1);
        }
    }
    CHECK_OK(recto_barrier());
    for (int turn = 0; turn < TURNS && writer > 0; turn++) {
        unsigned char *page = p + (uint64_t)turn * PAGE;
        CHECK(page[100] == turn + 1);
        CHECK(*(int64_t *)(void *)page == 7);
        CHECK(recto_load_i64((int64_t *)(void *)page) == 7);
    }
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(flags));
    CHECK_OK(recto_free(p));
}

/* ---- own ---- */

/* Word of page i of a rank; its home is any rank. */
static int64_t *word(char *p, int r, int i)
{
    uint64_t page = (uint64_t)i * (uint64_t)recto_size() + (uint64_t)r;
    return (int64_t *)(void *)(p + page * PAGE);
}

static void own(void)
{
    recto_attr attr = {.placement = RECTO_AT(0)};
    char *p = recto_alloc(
        "own", (uint64_t)PAGES * (uint64_t)recto_size() * PAGE, &attr);
    int64_t *sums = calloc(PAGES, sizeof *sums);
    CHECK(p != NULL && sums != NULL);
    for (int i = 0; i < PAGES; i++) {
        (void)*(volatile int64_t *)word(p, rank(), i);
        /* a page that was read 0 to 300 pages ago */
        int at = i - i * 7 % 301;
        if (at < 0) {
            continue;
        }
        int64_t *w = word(p, rank(), at);
        CHECK(recto_fetch_add_i64(w, i + 1) == sums[at]);
        sums[at] += i + 1;
        CHECK(*(volatile int64_t *)w == sums[at]);
    }
    CHECK_OK(recto_barrier());
    for (int i = 0; i < PAGES; i++) {
        CHECK(*word(p, rank(), i) == sums[i]);
    }
    free(sums);
    CHECK_OK(recto_check_all());
    CHECK_OK(recto_free(p));
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    beside();
    own();
    return test_end("atomics");
}
