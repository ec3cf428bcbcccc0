/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto env`: the variables that Recto reads, as the table in base/base.h has them, with
 * the values that a program started from here would get.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/io.h"
#include "ckpt/keep.h"
#include "ckpt/level_plan.h"
#include "ckpt/pack.h"
#include "cli.h"

static const char help[] =
    "usage: recto env [--json]\n"
    "Prints each variable that Recto reads: its value, whether that is from the environment\n"
    "or the default, and what it does. Names values that Recto does not take, with what it\n"
    "takes, and RECTO_ names that it does not know, with the nearest that it does. What a job\n"
    "gets: mpirun -n 1 [-x NAME=VALUE]... recto env\n"
    "  --json      for programs\n"
    "  --help, --version\n"
    "exit status: 0 good; 1 a value is not taken, or a name not known; 2 wrong usage\n";

int cli_env_good(enum base_env id)
{
    struct ckpt_keep keep;
    struct ckpt_packing packing;
    struct ckpt_levels levels;
    const char *value = base_env(id);
    int status = base_env_good(id);
    if (status != 0) {
        return status;
    }
    switch (id) { /* those that the table leaves to their readers */
    case BASE_ENV_CKPT_KEEP: return ckpt_keep_read(value, &keep);
    case BASE_ENV_CKPT_COMPRESS: return ckpt_packing_read(value, &packing);
    case BASE_ENV_CKPT_LEVELS:
        return ckpt_levels_read(value, base_env_default(BASE_ENV_CKPT_SET),
                                &levels);
    case BASE_ENV_CKPT_SET:
        return ckpt_levels_read(base_env_default(BASE_ENV_CKPT_LEVELS), value,
                                &levels);
    case BASE_ENV_INJECT: return ckpt_io_inject(value);
    default: return 0;
    }
}

/* ---- one variable -------------------------------------------------------------------- */

static void text_print(enum base_env id, bool good)
{
    bool given = base_env_given(id);
    char setting[256];
    (void)snprintf(setting, sizeof setting, "%s=%s", base_env_name(id),
                   base_env(id));
    (void)printf("%-36s %s", setting, given ? "environment" : "default");
    if (given) {
        (void)printf(" (default: %s)", base_env_default(id)[0] != '\0'
                                           ? base_env_default(id)
                                           : "none");
    }
    (void)printf("\n    %s\n", base_env_text(id));
    if (!good) {
        (void)printf("    WRONG: %s\n", cli_last_error());
    }
}

static void member_print(const char *name, const char *value)
{
    (void)printf(", \"%s\": ", name);
    cli_json_string(stdout, value);
}

static void json_print(enum base_env id, bool good)
{
    char allowed[BASE_ENV_ALLOWED];
    (void)printf("%s\n  {\"name\": \"%s\"", (unsigned)id > 0 ? "," : "",
                 base_env_name(id));
    member_print("value", base_env(id));
    member_print("default", base_env_default(id));
    member_print("origin", base_env_given(id) ? "environment" : "default");
    member_print("allowed", base_env_allowed(id, allowed));
    member_print("text", base_env_text(id));
    (void)printf(", \"good\": %s", good ? "true" : "false");
    if (!good) {
        member_print("error", cli_last_error());
    }
    (void)printf("}");
}

/* ---- names that are not known ---------------------------------------------------------- */

static size_t unknown_print(bool json)
{
    char name[BASE_ENV_NAME];
    const char *nearest = NULL;
    size_t at = 0;
    size_t count = 0;
    while (base_env_unknown(&at, name, &nearest)) {
        if (json) {
            (void)printf("%s\n  {\"name\": ", count > 0 ? "," : "");
            cli_json_string(stdout, name);
            member_print("nearest", nearest != NULL ? nearest : "");
            (void)printf("}");
        } else {
            (void)printf("%-36s UNKNOWN%s%s%s\n", name,
                         nearest != NULL ? ": is it " : "",
                         nearest != NULL ? nearest : "",
                         nearest != NULL ? "?" : "");
        }
        count++;
    }
    return count;
}

static int print(bool json)
{
    size_t wrong = 0;
    (void)fputs(json ? "{\"variables\": [" : "", stdout);
    for (int i = 0; i < BASE_ENV_COUNT; i++) {
        enum base_env id = (enum base_env)i;
        bool good = cli_env_good(id) == 0;
        wrong += !good;
        (json ? json_print : text_print)(id, good);
    }
    (void)fputs(json ? "],\n\"unknown\": [" : "", stdout);
    wrong += unknown_print(json);
    (void)fputs(json ? "]}\n" : "", stdout);
    return fflush(stdout) == 0 && wrong == 0 ? CLI_GOOD : CLI_DAMAGED;
}

int cli_env(int argc, char **argv)
{
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(help, stdout);
            return CLI_GOOD;
        }
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else {
            (void)fprintf(stderr,
                          "recto env: %s: unknown argument; see recto env "
                          "--help\n",
                          argv[i]);
            return CLI_USAGE;
        }
    }
    return print(json);
}
