/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of source. addr2line(1) of the binutils reads debug information; where it, the
 * file or the information is missing, the function's name is told, or the file and the
 * offset in it. A file whose build-id is not that of the trace is not asked.
 *
 * addr2line is given numbers and the path of a regular file, and no shell.
 */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "report.h"

enum {
    AT_ONCE = 256,       /* addresses in one command */
    RESOLVED_MOST = 4096 /* of a file; the others keep their offsets */
};

/* Behind a call the line is that of the call. */
static uint64_t asked_address(const struct report_site *s)
{
    return s->returns && s->address > 0 ? s->address - 1 : s->address;
}

static void offset_text(const struct report *r, struct report_site *s)
{
    if (s->file == REPORT_NONE) {
        (void)snprintf(s->text, sizeof s->text, "0x%llx",
                       (unsigned long long)s->address);
        return;
    }
    const char *path = r->files[s->file].path;
    const char *slash = strrchr(path, '/');
    (void)snprintf(s->text, sizeof s->text, "%.200s+0x%llx",
                   slash != NULL ? slash + 1 : path,
                   (unsigned long long)s->address);
}

static void symbol_text(struct report_site *s, const struct report_elf *elf)
{
    uint64_t offset = 0;
    const char *name = report_elf_symbol(elf, asked_address(s), &offset);
    if (name != NULL) {
        char where[sizeof s->text];
        memcpy(where, s->text, sizeof where);
        (void)snprintf(s->text, sizeof s->text, "%.120s+0x%llx (%.160s)", name,
                       (unsigned long long)offset, where);
    }
}

/* ---- addr2line ------------------------------------------------------------------------- */

/* One line without its end; false: there is none. */
static bool line_get(FILE *in, char *line, int bytes)
{
    if (fgets(line, bytes, in) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* "function" and "/path/file.c:12 (discriminator 3)". */
static void line_text(struct report_site *s, const char *function, char *place)
{
    char *more = strstr(place, " (discriminator");
    if (more != NULL) {
        *more = '\0';
    }
    const char *slash = strrchr(place, '/');
    const char *colon = strrchr(place, ':');
    bool known = colon != NULL && place[0] != '?' && colon[1] != '?' &&
                 strcmp(colon, ":0") != 0;
    if (known) {
        (void)snprintf(s->text, sizeof s->text, "%.100s (%.200s)", function,
                       slash != NULL ? slash + 1 : place);
    }
}

/* Starts it; *out is what it prints. */
static bool command_start(const char *const *words, pid_t *pid, int *out)
{
    int ends[2];
    posix_spawn_file_actions_t actions;
    char **environment = base_env_copy(NULL, 0);
    if (environment == NULL || pipe(ends) != 0) {
        free(environment);
        return false;
    }
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
    (void)posix_spawn_file_actions_addclose(&actions, ends[1]);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", 1, 0);
    bool good = posix_spawnp(pid, words[0], &actions, NULL,
                             (char *const *)words, environment) == 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    free(environment);
    (void)close(ends[1]);
    *out = ends[0];
    if (!good) {
        (void)close(ends[0]);
    }
    return good;
}

static void answers_read(int fd, struct report_site **sites, size_t count)
{
    char function[256];
    char place[1024];
    FILE *in = fdopen(fd, "r");
    for (size_t i = 0; in != NULL && i < count; i++) {
        if (!line_get(in, function, sizeof function) ||
            !line_get(in, place, sizeof place)) {
            break;
        }
        line_text(sites[i], function, place);
    }
    if (in != NULL) {
        (void)fclose(in);
    } else {
        (void)close(fd);
    }
}

static void lines_ask(const char *path, struct report_site **sites,
                      size_t count)
{
    static char numbers[AT_ONCE][24];
    const char *words[AT_ONCE + 6] = {"addr2line", "-f", "-C", "-e", path};
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(numbers[i], sizeof numbers[i], "0x%llx",
                       (unsigned long long)asked_address(sites[i]));
        words[5 + i] = numbers[i];
    }
    words[5 + count] = NULL;
    pid_t pid = 0;
    int out = -1;
    if (command_start(words, &pid, &out)) {
        answers_read(out, sites, count);
        (void)waitpid(pid, NULL, 0);
    }
}

/* ---- a file's sites ------------------------------------------------------------------------ */

static int by_weight(const void *a, const void *b)
{
    const struct report_site *x = *(struct report_site *const *)a;
    const struct report_site *y = *(struct report_site *const *)b;
    return x->ns != y->ns ? (y->ns > x->ns) - (y->ns < x->ns)
                          : (y->count > x->count) - (y->count < x->count);
}

static void file_lines(struct report *r, const struct report_file *f,
                       struct report_site **sites, size_t count)
{
    struct report_elf *elf =
        f->path[0] == '/' ? report_elf_open(f->path) : NULL;
    if (elf != NULL && !report_elf_is(elf, f->build_id, f->build_id_bytes)) {
        report_problem(r,
                       "%s is not the file that the program ran any more; its "
                       "lines of source are not named.",
                       f->path);
        report_elf_close(elf);
        elf = NULL;
    }
    if (elf == NULL) {
        return;
    }
    report_sort(sites, count, sizeof(struct report_site *), by_weight);
    count = count < RESOLVED_MOST ? count : RESOLVED_MOST;
    for (size_t i = 0; i < count; i++) {
        symbol_text(sites[i], elf);
    }
    for (size_t i = 0; i < count; i += AT_ONCE) {
        lines_ask(f->path, sites + i,
                  count - i < AT_ONCE ? count - i : AT_ONCE);
    }
    report_elf_close(elf);
}

void report_lines(struct report *r)
{
    struct report_site **list =
        report_new(r->nsites, sizeof(struct report_site *));
    for (size_t i = 0; i < r->nsites; i++) {
        offset_text(r, &r->sites[i]);
    }
    for (size_t f = 0; f < r->nfiles; f++) {
        size_t count = 0;
        for (size_t i = 0; i < r->nsites; i++) {
            if (r->sites[i].file == f) {
                list[count++] = &r->sites[i];
            }
        }
        if (count > 0) {
            file_lines(r, &r->files[f], list, count);
        }
    }
    free(list);
}
