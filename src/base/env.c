/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Environment variables: every name, default and meaning stands in
 * BASE_ENV_LIST; this file reads them and warns about names that it lacks. It also
 * makes the environment of programs that the command starts.
 */
#include "base.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static const struct {
    const char *name;
    const char *fallback;
    const char *argument;
} variables[] = {
#define ENV_ROW(id, name, fallback, argument, text) {name, fallback, argument},
    BASE_ENV_LIST(ENV_ROW)
#undef ENV_ROW
};

/* NULL when unset or empty. */
static const char *given(enum base_env id)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody calls setenv meanwhile */
    const char *value = getenv(variables[id].name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool base_env_given(enum base_env id)
{
    return given(id) != NULL;
}

const char *base_env(enum base_env id)
{
    const char *value = given(id);
    return value != NULL ? value : variables[id].fallback;
}

const char *base_env_name(enum base_env id)
{
    return variables[id].name;
}

void base_env_forget(enum base_env id)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    (void)unsetenv(variables[id].name);
}

int base_env_u64(enum base_env id, uint64_t *value)
{
    const char *text = base_env(id);
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0) {
        return base_error(RECTO_EINVAL, "%s=%s: a whole number is needed",
                          variables[id].name, text);
    }
    *value = number;
    return 0;
}

int base_env_choice(enum base_env id, unsigned *choice)
{
    const char *text = base_env(id);
    size_t length = strlen(text);
    unsigned index = 0;
    for (const char *word = variables[id].argument;; word++, index++) {
        size_t n = strcspn(word, "|");
        if (n == length && memcmp(word, text, n) == 0) {
            *choice = index;
            return 0;
        }
        word += n;
        if (*word == '\0') {
            return base_error(RECTO_EINVAL, "%s=%s: give one of %s",
                              variables[id].name, text, variables[id].argument);
        }
    }
}

int base_env_bytes(enum base_env id, uint64_t *value)
{
    static const char units[] = "KMGT";
    const char *text = base_env(id);
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10U * (unsigned)(unit - units + 1) : 0;
    if (!isdigit((unsigned char)text[0]) || errno != 0 ||
        end[unit != NULL] != '\0' || number > UINT64_MAX >> shift) {
        return base_error(RECTO_EINVAL,
                          "%s=%s: a number of bytes is needed, with K, M, G or "
                          "T for KiB to TiB",
                          variables[id].name, text);
    }
    *value = (uint64_t)number << shift;
    return 0;
}

static bool known(const char *entry, size_t length)
{
    for (size_t i = 0; i < BASE_ENV_COUNT; i++) {
        if (strlen(variables[i].name) == length &&
            memcmp(variables[i].name, entry, length) == 0) {
            return true;
        }
    }
    return false;
}

void base_env_check(void)
{
    for (char **e = environ; *e != NULL; e++) {
        size_t length = strcspn(*e, "=");
        if (strncmp(*e, "RECTO_", 6) == 0 && !known(*e, length)) {
            base_warn("unknown environment variable %.*s", (int)length, *e);
        }
    }
}

/* ---- the environment of others -------------------------------------------------- */

static bool is_set(const char *setting)
{
    size_t length = strcspn(setting, "=") + 1;
    for (char **e = environ; *e != NULL; e++) {
        if (strncmp(*e, setting, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Puts a string behind the others, if there is a vector; returns their size. */
static size_t copy_one(const char *text, char **vector, size_t *used, size_t at)
{
    size_t bytes = strlen(text) + 1;
    if (vector != NULL) {
        vector[(*used)++] = memcpy((char *)vector + at, text, bytes);
    }
    return at + bytes;
}

/* Vector and strings in one piece, or only their size. */
static size_t copy_all(const char *const *settings, size_t count, char **vector,
                       size_t slots)
{
    size_t used = 0;
    size_t at = slots * sizeof *vector; /* strings follow the vector */
    for (char **e = environ; *e != NULL; e++) {
        at = copy_one(*e, vector, &used, at);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_set(settings[i])) {
            at = copy_one(settings[i], vector, &used, at);
        }
    }
    return at;
}

char **base_env_copy(const char *const *settings, size_t count)
{
    size_t slots = count + 1;
    for (char **e = environ; *e != NULL; e++) {
        slots++;
    }
    char **vector = calloc(1, copy_all(settings, count, NULL, slots));
    if (vector != NULL) {
        (void)copy_all(settings, count, vector, slots);
    }
    return vector;
}

const char *base_env_next(const char *prefix, size_t *at)
{
    size_t length = strlen(prefix);
    for (; environ[*at] != NULL; ++*at) {
        if (strncmp(environ[*at], prefix, length) == 0) {
            return environ[(*at)++];
        }
    }
    return NULL;
}
