/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * team: how the workers (ranks or threads) of pagerank come by each other's words.
 * A version provides three calls; all else that workers do together before and
 * after the iteration is made of them, once for all versions.
 */
#ifndef TEAM_H
#define TEAM_H

#include <program.h>

struct team {
    int rank; /* of this worker */
    int size;
    const char *name; /* of the program, for messages */
    const char *kind; /* of worker: "rank" or "thread" */

    /* Every worker gives `count` words (the same number each) and gets all
     * workers' in order: everyone[size * count]. Collective. */
    void (*all)(struct team *t, const uint64_t *mine, size_t count,
                uint64_t *everyone);

    /* words[cut[w]] .. words[cut[w + 1] - 1] go to worker w. Returns what this
     * worker was sent, to be freed: that of worker w from index from[w] to
     * from[w + 1] - 1; from[size + 1]. Collective. */
    uint64_t *(*exchange)(struct team *t, const uint64_t *words,
                          const size_t *cut, size_t *from);

    /* Ends the job at once, when one worker alone cannot go on. */
    void (*end)(void) __attribute__((noreturn));
};

/* Memory for `count` items, cleared; ends the job if there is none. */
void *team_memory(struct team *t, size_t count, size_t bytes);

/* The lowest worker that failed; -1: none did. Collective. */
int team_failed(struct team *t, bool failed);

/* Sums over all workers, in their order. Collective. */
void team_add(struct team *t, uint64_t *words, size_t count);
void team_add_doubles(struct team *t, double *values, size_t count);

/* Scatters the bits of a word: the finaliser of SplitMix64 (G. L. Steele, D. Lea
 * and C. H. Flood, OOPSLA'14). */
static inline uint64_t team_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

#endif
