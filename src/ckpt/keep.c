/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An epoch can be restored as long as the full epoch of its chain and all between are
 * there; so what stays of a chain is always its beginning.
 */
#include "keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum {
    CHAINS = 2, /* the newest ones, which always stay */
    RULE_MAX = 256
};

static bool number(const char *text, uint64_t *value, const char **end)
{
    char *stop = NULL;
    errno = 0;
    *value = strtoull(text, &stop, 10);
    *end = stop;
    return text[0] >= '0' && text[0] <= '9' && errno == 0;
}

static bool seconds(const char *text, uint64_t *value)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {
        {'s', 1    },
        {'m', 60   },
        {'h', 3600 },
        {'d', 86400}
    };
    const char *end = NULL;
    if (!number(text, value, &end) || *value > UINT32_MAX) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (*end == units[i].unit && end[1] == '\0') {
            *value *= units[i].seconds;
            return true;
        }
    }
    return *end == '\0';
}

static bool field(struct ckpt_keep *keep, const char *key, const char *value)
{
    const char *end = "";
    if (strcmp(key, "last") == 0) {
        return number(value, &keep->last, &end) && *end == '\0';
    }
    if (strcmp(key, "every") == 0) {
        return number(value, &keep->every, &end) && *end == '\0';
    }
    return strcmp(key, "age") == 0 && seconds(value, &keep->age);
}

int ckpt_keep_read(const char *text, struct ckpt_keep *keep)
{
    char copy[RULE_MAX];
    char *rest = NULL;
    bool good = strlen(text) < sizeof copy;
    memset(keep, 0, sizeof *keep);
    keep->all = strcmp(text, "all") == 0;
    if (keep->all || strcmp(text, "chains") == 0) {
        return 0;
    }
    if (good) {
        memcpy(copy, text, strlen(text) + 1);
    }
    char *word = good ? strtok_r(copy, ",", &rest) : NULL;
    good = word != NULL;
    for (; good && word != NULL; word = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(word, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        good = value != NULL && field(keep, word, value);
    }
    return good ? 0
                : base_error(RECTO_EINVAL,
                             "\"%.80s\" does not say which epochs to keep: "
                             "chains, all, or some of last=N, every=M and "
                             "age=TIME (3600, 90m, 12h, 7d), with commas",
                             text);
}

static bool wanted(const struct ckpt_keep *keep, const struct ckpt_epoch *e,
                   uint64_t newer, uint64_t now)
{
    return keep->all || newer < keep->last ||
           (keep->every > 0 && e->number % keep->every == 0) ||
           (keep->age > 0 && e->time + keep->age >= now);
}

void ckpt_keep_choose(const struct ckpt_keep *keep,
                      const struct ckpt_epoch *const *epochs, uint64_t count,
                      uint64_t now, bool *stay)
{
    uint64_t chains = 0; /* whole ones, newer than the epoch at hand */
    for (uint64_t i = count; i-- > 0;) {
        bool built_on = i + 1 < count && stay[i + 1] && !epochs[i + 1]->full;
        stay[i] = chains < CHAINS || built_on ||
                  wanted(keep, epochs[i], count - 1 - i, now);
        chains += epochs[i]->full;
    }
}
