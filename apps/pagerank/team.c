/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all versions make of their exchange of words. See team.h.
 */
#include "team.h"

#include <stdlib.h>
#include <string.h>

void *team_memory(struct team *t, size_t count, size_t bytes)
{
    void *p = calloc(count > 0 ? count : 1, bytes);
    if (p == NULL) {
        (void)program_fail(t->name, "%s %d: no memory for %zu x %zu bytes",
                           t->kind, t->rank, count, bytes);
        t->end();
    }
    return p;
}

int team_failed(struct team *t, bool failed)
{
    uint64_t mine = failed;
    uint64_t *all = team_memory(t, (size_t)t->size, sizeof *all);
    t->all(t, &mine, 1, all);
    int lowest = -1;
    for (int w = t->size - 1; w >= 0; w--) {
        lowest = all[w] != 0 ? w : lowest;
    }
    free(all);
    return lowest;
}

void team_add(struct team *t, uint64_t *words, size_t count)
{
    uint64_t *all = team_memory(t, (size_t)t->size * count, sizeof *all);
    t->all(t, words, count, all);
    for (size_t i = 0; i < count; i++) {
        words[i] = 0;
        for (size_t w = 0; w < (size_t)t->size; w++) {
            words[i] += all[w * count + i];
        }
    }
    free(all);
}

void team_add_doubles(struct team *t, double *values, size_t count)
{
    uint64_t *all = team_memory(t, ((size_t)t->size + 1) * count, sizeof *all);
    uint64_t *mine = all + (size_t)t->size * count;
    memcpy(mine, values, count * sizeof *values);
    t->all(t, mine, count, all);
    for (size_t i = 0; i < count; i++) {
        values[i] = 0.0;
        for (size_t w = 0; w < (size_t)t->size; w++) {
            double value = 0.0;
            memcpy(&value, &all[w * count + i], sizeof value);
            values[i] += value;
        }
    }
    free(all);
}
