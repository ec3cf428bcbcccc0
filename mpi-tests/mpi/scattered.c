/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that a segment of more than 4 GiB, of which a hundred thousand pages all over it
 * are written, is saved and restored: by full epochs, and by one that holds as many
 * scattered pages, all of which are overwritten while it is written.
 *
 *     scattered write|read [PAGES]     in RECTO_CKPT_DIR; PAGES: 100000
 *
 * Page i of those in use is page i * 13 + i % 7 of the array.
 */
#include "own.h"

enum {
    WORDS = 512,
    STRIDE = 13
};

static uint64_t pages = 100000;
static uint64_t *array;

static uint64_t *word_of(uint64_t i, uint64_t round)
{
    return array + (i * STRIDE + i % 7) * WORDS + (i + round) % WORDS;
}

/* Every page by the rank whose turn it is. */
static void write_round(uint64_t round)
{
    for (uint64_t i = 0; i < pages; i++) {
        if ((i + round) % (uint64_t)recto_size() == (uint64_t)recto_rank()) {
            *word_of(i, round) = test_hash(i, round, 1);
        }
    }
    CHECK_OK(recto_barrier());
}

static void expect(uint64_t rounds)
{
    for (uint64_t i = 0; i < pages; i++) {
        for (uint64_t round = 0; round < 5; round++) {
            uint64_t want = round < rounds ? test_hash(i, round, 1) : 0;
            CHECK(*word_of(i, round) == want);
        }
    }
    CHECK_OK(recto_barrier());
}

static void write_epochs(void)
{
    for (uint64_t round = 0; round < 3; round++) {
        write_round(round);
        CHECK_OK(recto_checkpoint()); /* two full ones, then what changed */
    }
    write_round(3); /* while the last one is written */
    CHECK_OK(recto_checkpoint_wait());
}

static void read_epochs(void)
{
    int64_t epoch = -1;
    CHECK(recto_restart(&epoch) == 1 && epoch == 2);
    expect(3);
    write_round(3);
    CHECK_OK(recto_checkpoint());
    CHECK_OK(recto_checkpoint_wait());
    expect(4);
}

int main(int argc, char **argv)
{
    recto_attr attr = {.flags = RECTO_SPARSE};
    test_begin(&argc, &argv);
    if (argc > 2) {
        pages = strtoull(argv[2], NULL, 10);
    }
    uint64_t words = (pages * STRIDE + 7) * WORDS;
    CHECK(pages < 100000 || words * 8 > UINT64_C(4) << 30);
    array = recto_array("scattered", RECTO_UINT64, 1, &words, &attr);
    CHECK(array != NULL);
    if (strcmp(argv[1], "write") == 0) {
        write_epochs();
    } else {
        read_epochs();
    }
    return test_end("scattered");
}
