/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rule of RECTO_INJECT (io.h says how it is written), and records of steps.
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "io.h"

static struct {
    enum ckpt_action action;
    int rank; /* -1: every rank */
    int64_t point;
    int64_t hit;
    int64_t ms;
    bool after;
    char label[32];
    char count[CKPT_PATH_MAX];
    char trace[CKPT_PATH_MAX];
    int64_t points; /* steps so far */
    int64_t hits;   /* steps of the label so far */
} rule;

static int action_of(const char *text)
{
    static const struct {
        const char *name;
        enum ckpt_action action;
    } actions[] = {
        {"kill",   CKPT_ACTION_KILL  },
        {"tear",   CKPT_ACTION_TEAR  },
        {"eio",    CKPT_ACTION_EIO   },
        {"enospc", CKPT_ACTION_ENOSPC},
        {"slow",   CKPT_ACTION_SLOW  },
        {"short",  CKPT_ACTION_SHORT },
    };
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, text) == 0) {
            return (int)actions[i].action;
        }
    }
    return -1;
}

static bool number_of(const char *text, int64_t *number)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *number = value;
    return text[0] != '\0' && *end == '\0' && errno == 0 && value >= 0;
}

static bool rule_field(const char *key, const char *value)
{
    int64_t number = 0;
    if (strcmp(key, "rank") == 0 && number_of(value, &number)) {
        rule.rank = (int)number;
        return true;
    }
    if (strcmp(key, "point") == 0) {
        return number_of(value, &rule.point);
    }
    if (strcmp(key, "hit") == 0) {
        return number_of(value, &rule.hit);
    }
    if (strcmp(key, "ms") == 0) {
        return number_of(value, &rule.ms) && rule.ms < 1000;
    }
    if (strcmp(key, "label") == 0 && strlen(value) < sizeof rule.label) {
        (void)snprintf(rule.label, sizeof rule.label, "%s", value);
        return true;
    }
    if (strcmp(key, "count") == 0 && strlen(value) < sizeof rule.count) {
        (void)snprintf(rule.count, sizeof rule.count, "%s", value);
        return true;
    }
    if (strcmp(key, "trace") == 0 && strlen(value) < sizeof rule.trace) {
        (void)snprintf(rule.trace, sizeof rule.trace, "%s", value);
        return true;
    }
    if (strcmp(key, "when") == 0) {
        rule.after = strcmp(value, "after") == 0;
        return rule.after || strcmp(value, "before") == 0;
    }
    if (strcmp(key, "do") == 0 && action_of(value) >= 0) {
        rule.action = (enum ckpt_action)action_of(value);
        return true;
    }
    return false;
}

int ckpt_io_inject(const char *text)
{
    memset(&rule, 0, sizeof rule);
    rule.rank = -1;
    rule.point = -1;
    rule.hit = 1;
    rule.ms = 20;
    char copy[CKPT_PATH_MAX];
    if (strlen(text) >= sizeof copy) {
        return base_error(RECTO_EINVAL, "%s is too long",
                          base_env_name(BASE_ENV_INJECT));
    }
    (void)snprintf(copy, sizeof copy, "%s", text);
    char *rest = NULL;
    for (char *field = strtok_r(copy, ",", &rest); field != NULL;
         field = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(field, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (value == NULL || !rule_field(field, value)) {
            memset(&rule, 0, sizeof rule);
            return base_error(RECTO_EINVAL,
                              "%s=%s: unknown rule; unset it, it is for tests",
                              base_env_name(BASE_ENV_INJECT), text);
        }
    }
    return 0;
}

static void count_write(const char *label)
{
    int fd = open(rule.count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        char line[96];
        int n = snprintf(line, sizeof line, "%d %lld %s\n", base_rank(),
                         (long long)rule.points, label);
        if (write(fd, line, (size_t)n) != n) {
            base_warn("count=%s: write failed", rule.count);
        }
        (void)close(fd);
    }
}

bool ckpt_inject_chosen(const char *label, bool is_point)
{
    if (rule.count[0] != '\0' && is_point) {
        count_write(label);
    }
    int64_t point = is_point ? rule.points++ : -1;
    bool labelled = rule.label[0] != '\0' && strcmp(rule.label, label) == 0;
    int64_t hit = labelled ? ++rule.hits : 0;
    if (rule.action == CKPT_ACTION_NONE ||
        (rule.rank >= 0 && rule.rank != base_rank())) {
        return false;
    }
    if (rule.label[0] != '\0') {
        return labelled && (rule.hit == 0 || hit == rule.hit);
    }
    return point >= 0 && point == rule.point;
}

enum ckpt_action ckpt_inject_action(void)
{
    return rule.action;
}

bool ckpt_inject_after(void)
{
    return rule.after;
}

int ckpt_inject_fault(void)
{
    const struct timespec slow = {0, rule.ms * 1000000L};
    switch (rule.action) {
    case CKPT_ACTION_KILL: (void)kill(getpid(), SIGKILL); return EIO;
    case CKPT_ACTION_EIO: return EIO;
    case CKPT_ACTION_ENOSPC: return ENOSPC;
    case CKPT_ACTION_SLOW: (void)nanosleep(&slow, NULL); return 0;
    default: return 0;
    }
}

/* ---- recording ---------------------------------------------------------------------- */

bool ckpt_trace_on(void)
{
    return rule.trace[0] != '\0';
}

void ckpt_trace_add(struct ckpt_trace record, const char *name, const char *to,
                    const void *data, size_t bytes)
{
    char path[CKPT_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/%d", rule.trace, base_rank());
    record.name_bytes = name != NULL ? strlen(name) : 0;
    record.to_bytes = to != NULL ? strlen(to) : 0;
    record.data_bytes = bytes;
    struct iovec parts[] = {
        {&record,      sizeof record    },
        {(void *)name, record.name_bytes},
        {(void *)to,   record.to_bytes  },
        {(void *)data, bytes            }
    };
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t all = sizeof record + record.name_bytes + record.to_bytes + bytes;
    if (fd < 0 || writev(fd, parts, 4) != (ssize_t)all) {
        base_fatal("trace=%s: %s", rule.trace, strerrordesc_np(errno));
    }
    (void)close(fd);
}
