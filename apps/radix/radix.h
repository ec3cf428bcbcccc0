/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * radix: sorts 64-bit keys by their digits, the lowest first (LSD radix sort); the
 * part of it that the versions for Recto, MPI and OpenMP share.
 *
 * Every worker (rank or thread) owns a block of the keys. A pass over one digit:
 *
 *   1. each worker sorts its block by the digit into its *staged* block, stably,
 *      and says how many keys of each digit it has
 *   2. each worker gathers, from all staged blocks, the keys whose place in the
 *      order of all keys is in its own block
 *
 * So a worker writes its own blocks only, and reads others'. How it comes by
 * their keys and counts is the one thing in which the versions differ. The order
 * of all keys after a pass: by digit, then by worker, then as they were.
 *
 * Keys follow from their index, so the input does not depend on the number of
 * workers. The answer is checked: the keys ascend, also from block to block, and
 * the sum of a hash of each key is that of the input. The method of counting,
 * exchange and permutation is that of M. Zagha and G. E. Blelloch, "Radix sort
 * for vector multiprocessors" (SC'91).
 */
#ifndef RADIX_H
#define RADIX_H

#include <program.h>

enum {
    RADIX_BITS = 8,
    RADIX_DIGITS = 1 << RADIX_BITS,
    RADIX_PASSES = 64 / RADIX_BITS,
    RADIX_ROW = 512 /* a worker's counts: a page */
};

struct radix_options {
    int64_t n;
    int64_t threads; /* the OpenMP version's */
    bool json;
    bool spoil; /* for tests: exchange two keys before the check */
};

/* Reads the command line of the program `name`. */
enum program_action radix_options_read(struct radix_options *o,
                                       const char *name, const char *launch,
                                       int argc, char **argv, char *wrong);
void radix_options_help(const char *name, const char *launch);

/* Makes the keys first .. last - 1 of the input; returns the sum of their
 * hashes. */
uint64_t radix_fill(struct program_part part, uint64_t *keys);

/* Step 1: a worker's block, `n` keys, into `staged`; counts[RADIX_DIGITS]. */
void radix_stage(const uint64_t *keys, size_t n, int pass, uint64_t *staged,
                 uint64_t *counts);

/*
 * A run of keys of one digit that go from one worker's staged block to another's
 * block: `count` keys from index `from` of the one to index `to` of the other.
 */
struct radix_run {
    size_t from;
    size_t to;
    size_t count;
};

/* Goes over the runs between two workers, in the order of both. */
struct radix_walk {
    const uint64_t *counts; /* RADIX_ROW for each worker */
    int workers;
    int source;
    struct program_part target; /* the receiver's block, in all keys */
    int digit;
    size_t place; /* of the digit's first key of the source, in all keys */
    size_t from;  /* and in its staged block */
};

void radix_walk_start(struct radix_walk *w, const uint64_t *counts, int workers,
                      int source, struct program_part target);
/* False: there are no more. */
bool radix_walk_next(struct radix_walk *w, struct radix_run *run);

/* All keys between two workers, which lie together at the source; 0: none. */
size_t radix_between(const uint64_t *counts, int workers, int source,
                     struct program_part target, size_t *from);

/* What the check of a block adds up to. */
struct radix_check {
    uint64_t hashes;   /* sum over the keys */
    uint64_t checksum; /* of keys and their places */
    uint64_t wrong;    /* keys below the one before them */
};

/* `before`: the last key of the blocks before, 0 for the first block. */
struct radix_check radix_verify(struct program_part part, const uint64_t *keys,
                                uint64_t before);
void radix_check_add(struct radix_check *sum, const struct radix_check *part);

/* Exchanges two unequal keys of a block. */
void radix_spoil(struct program_part part, uint64_t *keys);

/* The line that says what is sorted. */
void radix_say(const struct program_report *report, size_t n);

/* Prints speed, checksum and verdict; returns the exit code. */
int radix_end(const struct program_report *report, size_t n, uint64_t hashes,
              const struct radix_check *check);

#endif
