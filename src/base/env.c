/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Environment variables: every name, default and meaning stands in
 * BASE_ENV_LIST; this file reads them and warns about names that it lacks. It also
 * makes the environment of programs that the command starts.
 */
#include "base.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static const struct {
    const char *name;
    const char *fallback;
    const char *argument;
    const char *text;
} variables[] = {
#define ENV_ROW(id, name, fallback, argument, text)                            \
    {name, fallback, argument, text},
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

const char *base_env_text(enum base_env id)
{
    return variables[id].text;
}

const char *base_env_default(enum base_env id)
{
    return variables[id].fallback;
}

/* ---- values --------------------------------------------------------------------- */

/* One of what an argument lists. */
struct form {
    enum {
        FORM_WORD,
        FORM_NUMBER,
        FORM_BYTES,
        FORM_OTHER /* its reader knows */
    } kind;
    const char *text;
    size_t length;
    uint64_t least;
    uint64_t most;
};

static int kind_of(const char *text, size_t length)
{
    static const char *const numbers[] = {"BYTES",  "COUNT",   "MICROSECONDS",
                                          "NUMBER", "PERCENT", "SECONDS"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strlen(numbers[i]) == length &&
            memcmp(numbers[i], text, length) == 0) {
            return i == 0 ? FORM_BYTES : FORM_NUMBER;
        }
    }
    for (size_t i = 0; i < length; i++) {
        if (isupper((unsigned char)text[i])) {
            return FORM_OTHER;
        }
    }
    return FORM_WORD;
}

/* Reads the form at `at`; returns the next one, or NULL. */
static const char *form_read(const char *at, struct form *f)
{
    size_t whole = strcspn(at, "|");
    f->text = at;
    f->length = strcspn(at, " |");
    f->kind = kind_of(at, f->length);
    f->least = 0;
    f->most = UINT64_MAX;
    if (f->length < whole) { /* " LEAST..MOST" or " LEAST.." */
        char *end = NULL;
        f->least = strtoull(at + f->length, &end, 10);
        end += 2;
        f->most =
            isdigit((unsigned char)*end) ? strtoull(end, NULL, 10) : UINT64_MAX;
    }
    return at[whole] == '|' ? at + whole + 1 : NULL;
}

/* A whole number, of bytes also with K, M, G or T behind it. */
static bool number_read(const char *text, bool bytes, uint64_t *value)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = bytes && *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10U * (unsigned)(unit - units + 1) : 0;
    if (!isdigit((unsigned char)text[0]) || errno != 0 ||
        end[unit != NULL] != '\0' || number > UINT64_MAX >> shift) {
        return false;
    }
    *value = (uint64_t)number << shift;
    return true;
}

static bool form_takes(const struct form *f, const char *text)
{
    uint64_t value = 0;
    if (f->kind == FORM_WORD) {
        return strlen(text) == f->length &&
               memcmp(f->text, text, f->length) == 0;
    }
    return f->kind == FORM_OTHER ||
           (number_read(text, f->kind == FORM_BYTES, &value) &&
            value >= f->least && value <= f->most);
}

/* Which form the value has, from 0; -1: none. */
static int form_find(enum base_env id, struct form *f)
{
    const char *value = base_env(id);
    const char *at = variables[id].argument;
    for (int index = 0; at != NULL; index++) {
        at = form_read(at, f);
        if (form_takes(f, value)) {
            return index;
        }
    }
    return -1;
}

static size_t form_tell(const struct form *f, char *text, size_t size)
{
    int n = 0;
    if (f->kind == FORM_WORD || f->kind == FORM_OTHER) {
        n = snprintf(text, size, "%.*s", (int)f->length, f->text);
    } else {
        n = snprintf(text, size, "a %s",
                     f->kind == FORM_BYTES
                         ? "number of bytes (K, M, G, T: KiB to TiB)"
                         : "whole number");
    }
    if (f->least > 0 || f->most != UINT64_MAX) {
        n += snprintf(text + n, size - (size_t)n, " from %llu",
                      (unsigned long long)f->least);
    }
    if (f->most != UINT64_MAX) {
        n += snprintf(text + n, size - (size_t)n, " to %llu",
                      (unsigned long long)f->most);
    }
    return (size_t)n;
}

const char *base_env_allowed(enum base_env id, char *text)
{
    const char *at = variables[id].argument;
    size_t used = 0;
    while (at != NULL) {
        struct form f;
        const char *next = form_read(at, &f);
        used += (size_t)snprintf(text + used, BASE_ENV_ALLOWED - used, "%s",
                                 used == 0      ? ""
                                 : next == NULL ? " or "
                                                : ", ");
        used += form_tell(&f, text + used, BASE_ENV_ALLOWED - used);
        at = next;
    }
    return text;
}

static int refused(enum base_env id)
{
    char allowed[BASE_ENV_ALLOWED];
    return base_error(RECTO_EINVAL, "%s=%s: give %s", variables[id].name,
                      base_env(id), base_env_allowed(id, allowed));
}

int base_env_good(enum base_env id)
{
    struct form f;
    return form_find(id, &f) >= 0 ? 0 : refused(id);
}

int base_env_all_good(void)
{
    int status = 0;
    for (int id = 0; id < BASE_ENV_COUNT && status == 0; id++) {
        status = base_env_given((enum base_env)id)
                     ? base_env_good((enum base_env)id)
                     : 0;
    }
    return status;
}

int base_env_u64(enum base_env id, uint64_t *value)
{
    struct form f;
    bool good = form_find(id, &f) >= 0 &&
                number_read(base_env(id), f.kind == FORM_BYTES, value);
    return good ? 0 : refused(id);
}

int base_env_bytes(enum base_env id, uint64_t *value)
{
    return base_env_u64(id, value);
}

int base_env_choice(enum base_env id, unsigned *choice)
{
    struct form f;
    int index = form_find(id, &f);
    if (index < 0) {
        return refused(id);
    }
    *choice = (unsigned)index;
    return 0;
}

/* ---- names that no table has ------------------------------------------------------ */

/* find_package's, and module files': where Recto is installed. */
static const char root[] = "RECTO_ROOT";

static bool known(const char *name)
{
    for (size_t i = 0; i < BASE_ENV_COUNT; i++) {
        if (strcmp(variables[i].name, name) == 0) {
            return true;
        }
    }
    return strcmp(name, root) == 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must be put in, taken out, changed or swapped with their neighbour to
 * make `b` of `a`: optimal string alignment, by rows. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][BASE_ENV_NAME] = {{0}};
    size_t *before = rows[0]; /* the row above the last one */
    size_t *last = rows[1];
    size_t *row = rows[2];
    size_t length = strlen(b);
    for (size_t j = 0; j <= length; j++) {
        last[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(change, 1 + least(last[j], row[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        size_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[length];
}

/* The known name that is nearest, if it is near: at most a third of what follows RECTO_
 * differs. NULL: none is. */
static const char *nearest_to(const char *name)
{
    const char *nearest = NULL;
    size_t best = (strlen(name) - strlen("RECTO_")) / 3 + 1;
    for (size_t i = 0; i < BASE_ENV_COUNT; i++) {
        size_t d = distance(name, variables[i].name);
        if (d < best || (d == best && nearest == NULL)) {
            best = d;
            nearest = variables[i].name;
        }
    }
    return nearest;
}

bool base_env_unknown(size_t *at, char name[BASE_ENV_NAME],
                      const char **nearest)
{
    const char *entry;
    while ((entry = base_env_next("RECTO_", at)) != NULL) {
        size_t length = least(strcspn(entry, "="), BASE_ENV_NAME - 1);
        memcpy(name, entry, length);
        name[length] = '\0';
        if (!known(name)) {
            *nearest = nearest_to(name);
            return true;
        }
    }
    return false;
}

void base_env_check(void)
{
    char name[BASE_ENV_NAME];
    const char *nearest = NULL;
    size_t at = 0;
    while (base_env_unknown(&at, name, &nearest)) {
        if (nearest != NULL) {
            base_warn("unknown environment variable %s: is it %s?", name,
                      nearest);
        } else {
            base_warn("unknown environment variable %s; recto env lists those "
                      "that are known",
                      name);
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
