/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksum, best ranks, file. See output.h.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t bits(double value)
{
    uint64_t word = 0;
    memcpy(&word, &value, sizeof word);
    return word;
}

uint64_t output_checksum(const struct pagerank_answer *a)
{
    uint64_t sum = 0;
    const struct program_part *mine = &a->graph->mine;
    for (size_t i = 0; i < mine->last - mine->first; i++) {
        sum += team_mix(team_mix(a->graph->id[i]) ^ bits(a->x[i]));
    }
    team_add(a->team, &sum, 1);
    return sum;
}

/* ---- the best ------------------------------------------------------------ */

/* Exchanged as two words. */
struct best {
    uint64_t id;
    double rank; /* below 0: none */
};

static bool better(struct best a, struct best b)
{
    return a.rank > b.rank || (a.rank == b.rank && a.id < b.id);
}

/* Into a sorted list of the best. */
static void insert(struct best *list, size_t count, struct best one)
{
    if (!better(one, list[count - 1])) {
        return;
    }
    size_t at = count - 1;
    while (at > 0 && better(one, list[at - 1])) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = one;
}

static void clear(struct best *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct best){UINT64_MAX, -1.0};
    }
}

void output_top(const struct pagerank_answer *a, size_t count)
{
    struct team *t = a->team;
    if (count == 0) {
        return;
    }
    struct best *mine = team_memory(t, count, sizeof *mine);
    uint64_t *words = team_memory(t, 2 * count, sizeof *words);
    uint64_t *all = team_memory(t, 2 * count * (size_t)t->size, sizeof *all);
    const struct program_part *part = &a->graph->mine;
    clear(mine, count);
    for (size_t i = 0; i < part->last - part->first; i++) {
        insert(mine, count, (struct best){a->graph->id[i], a->x[i]});
    }
    for (size_t i = 0; i < count; i++) {
        words[2 * i] = mine[i].id;
        words[2 * i + 1] = bits(mine[i].rank);
    }
    t->all(t, words, 2 * count, all);
    if (t->rank == 0) {
        clear(mine, count);
        for (size_t i = 0; i < count * (size_t)t->size; i++) {
            struct best one = {.id = all[2 * i]};
            memcpy(&one.rank, &all[2 * i + 1], sizeof one.rank);
            insert(mine, count, one);
        }
        for (size_t i = 0; i < count && mine[i].rank >= 0.0; i++) {
            (void)printf("top %zu: %" PRIu64 " %.9g\n", i + 1, mine[i].id,
                         mine[i].rank);
        }
    }
    free(mine);
    free(words);
    free(all);
}

/* ---- the file ------------------------------------------------------------ */

enum {
    LINE = 48 /* 20 digits, tab, 24 of a double, newline, zero */
};

/* This worker's lines; to be freed. */
static char *make_lines(const struct pagerank_answer *a, size_t *bytes)
{
    const struct program_part *mine = &a->graph->mine;
    size_t count = mine->last - mine->first;
    char *text = team_memory(a->team, count, LINE);
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        *bytes += (size_t)snprintf(text + *bytes, LINE, "%" PRIu64 "\t%.17g\n",
                                   a->graph->id[i], a->x[i]);
    }
    return text;
}

/* At its place in the file, which worker 0 has made. */
static int write_lines(const char *path, const char *text, size_t bytes,
                       uint64_t offset)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < bytes) {
        ssize_t put =
            pwrite(fd, text + done, bytes - done, (off_t)(offset + done));
        if (put < 0 && errno != EINTR) {
            break;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    if (fd < 0) {
        return -1;
    }
    int error = errno;
    int closed = close(fd);
    if (done < bytes) {
        errno = error;
        return -1;
    }
    return closed;
}

static uint64_t bytes_before(struct team *t, uint64_t bytes)
{
    uint64_t *all = team_memory(t, (size_t)t->size, sizeof *all);
    t->all(t, &bytes, 1, all);
    uint64_t before = 0;
    for (int w = 0; w < t->rank; w++) {
        before += all[w];
    }
    free(all);
    return before;
}

/* A step of all workers: the lowest that failed says why. */
static int agree(struct team *t, const char *path, bool failed)
{
    const char *why = failed ? program_errno() : "";
    int lowest = team_failed(t, failed);
    if (lowest == t->rank) {
        (void)program_fail(t->name, "%s: %s (%s %d)", path, why, t->kind,
                           t->rank);
    }
    return lowest < 0 ? 0 : -1;
}

int output_write(const struct pagerank_answer *a, const char *file)
{
    struct team *t = a->team;
    bool first = t->rank == 0;
    size_t bytes = 0;
    char *text = make_lines(a, &bytes);
    uint64_t offset = bytes_before(t, bytes);
    size_t length = strlen(file) + sizeof ".tmp";
    char *path = team_memory(t, length, 1);
    (void)snprintf(path, length, "%s.tmp", file);
    int fd =
        first ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    int result = agree(t, path, first && fd < 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (result == 0) {
        result = agree(t, path, write_lines(path, text, bytes, offset) != 0);
        if (result == 0) {
            result = agree(t, file, first && rename(path, file) != 0);
        }
        if (result != 0 && first) {
            (void)unlink(path);
        }
    }
    free(text);
    free(path);
    return result;
}
