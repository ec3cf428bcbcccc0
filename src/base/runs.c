/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of runs, see runs.h. */
#include "base/runs.h"

#include <stdlib.h>

bool base_runs_reserve(struct base_runs *runs, uint64_t more)
{
    if (runs->items != NULL && runs->count + more <= runs->room) {
        return true;
    }
    uint64_t room = 2 * runs->room + 16 + more;
    struct base_run *items = realloc(runs->items, room * sizeof *items);
    if (items == NULL) {
        return false;
    }
    runs->items = items;
    runs->room = room;
    return true;
}

bool base_runs_add(struct base_runs *runs, uint64_t first, uint64_t end)
{
    struct base_run *last =
        runs->count > 0 ? &runs->items[runs->count - 1] : NULL;
    if (last != NULL && last->end == first) {
        last->end = end;
        return true;
    }
    if (!base_runs_reserve(runs, 1)) {
        return false;
    }
    runs->items[runs->count++] = (struct base_run){first, end};
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct base_run *x = a;
    const struct base_run *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

bool base_runs_sort(struct base_runs *runs)
{
    uint64_t n = 0;
    bool apart = true;
    if (runs->count > 0) {
        qsort(runs->items, runs->count, sizeof *runs->items, by_first);
    }
    for (uint64_t i = 0; i < runs->count; i++) {
        apart =
            apart && (n == 0 || runs->items[n - 1].end <= runs->items[i].first);
        if (n > 0 && runs->items[n - 1].end == runs->items[i].first) {
            runs->items[n - 1].end = runs->items[i].end;
        } else {
            runs->items[n++] = runs->items[i];
        }
    }
    runs->count = n;
    return apart;
}

const struct base_run *base_runs_from(const struct base_runs *runs,
                                      uint64_t index)
{
    uint64_t low = 0;
    uint64_t high = runs->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (runs->items[middle].end <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < runs->count ? &runs->items[low] : NULL;
}

void base_runs_free(struct base_runs *runs)
{
    free(runs->items);
    *runs = (struct base_runs){0};
}
