/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The `recto` command: looks at checkpoint folders, prunes them, tells their jobs to
 * end, and runs jobs. All but the last needs neither MPI nor a running job; a folder in use
 * may be looked at, too.
 */
#include <errno.h>
#include <recto.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli.h"

static const char usage_text[] =
    "usage: recto ls DIR             list the epochs of a checkpoint folder\n"
    "       recto info DIR [EPOCH]   one epoch (default: the newest) and its "
    "arrays\n"
    "       recto verify DIR [EPOCH] read every byte and compare checksums: of\n"
    "                                all epochs, or of one and those it needs\n"
    "       recto diff DIR A B       which elements of which arrays differ "
    "between two epochs\n"
    "       recto export DIR EPOCH FILE\n"
    "                                the epoch as a plain HDF5 file\n"
    "       recto compact DIR [EPOCH]\n"
    "                                makes an epoch a full one, which builds on no "
    "other\n"
    "       recto prune DIR [OPTION] remove old epochs (--help)\n"
    "       recto halt DIR [OPTION]  end the run that checkpoints there, cleanly "
    "(--help)\n"
    "       recto run [OPTION]... PROGRAM [ARGUMENT]...\n"
    "                                run a job; restart it when a node is lost "
    "(--help)\n"
    "       recto --help | --version\n"
    "options: --local FOLDER         ls: also what is in this folder of a node; "
    "repeatable\n"
    "         --json                 machine-readable output\n"
    "exit status: 0 good; 1 damaged or incomplete; 2 wrong usage;\n"
    "             3 no checkpoint there, or no such epoch\n";

struct command {
    const char *name;
    int least; /* words behind the command */
    int most;
    enum cli_exit (*run)(const struct cli_request *request);
};

static const struct command commands[] = {
    {"ls",      1, 1, cli_ls     },
    {"info",    1, 2, cli_info   },
    {"verify",  1, 2, cli_verify },
    {"diff",    3, 3, cli_diff   },
    {"export",  3, 3, cli_export },
    {"compact", 1, 2, cli_compact},
};

static enum cli_exit usage_error(const char *text)
{
    (void)fprintf(stderr, "recto: %s\n%s", text, usage_text);
    return CLI_USAGE;
}

static bool parse_epoch(const char *text, uint64_t *epoch)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *epoch = value;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static enum cli_exit failed(int status)
{
    (void)fprintf(stderr, "%s\n", recto_last_error());
    return status == RECTO_EIO || status == RECTO_EINVAL ? CLI_NO_CHECKPOINT
                                                         : CLI_DAMAGED;
}

/* What comes behind a command: folder, epoch, then an epoch or a file. */
static bool words_read(const struct command *command, const char **words,
                       int count, struct cli_request *r)
{
    r->path = words[0];
    r->has_epoch = count > 1;
    r->file = words[2];
    return (count < 2 || parse_epoch(words[1], &r->epoch)) &&
           (count < 3 || command->run != cli_diff ||
            parse_epoch(words[2], &r->second));
}

/* Opens the folder, finds the manifest, runs the command. */
static enum cli_exit run(const struct command *command, struct cli_request *r)
{
    int status = ckpt_io_dir_open(&r->dir, r->path, false);
    if (status == RECTO_ENOENT) {
        (void)fprintf(stderr, "recto: %s: no such folder\n", r->path);
        return CLI_NO_CHECKPOINT;
    }
    if (status != 0) {
        return failed(status);
    }
    enum cli_exit result;
    status = ckpt_folder_load(&r->dir, &r->folder);
    if (status != 0) {
        result = failed(status);
    } else if (r->folder.chosen == NULL) {
        (void)fprintf(stderr, "recto: %s holds no checkpoint\n", r->path);
        result = CLI_NO_CHECKPOINT;
    } else {
        r->manifest = r->folder.chosen->manifest;
        result = command->run(r);
    }
    ckpt_folder_clear(&r->folder);
    ckpt_io_dir_close(&r->dir);
    if (fflush(stdout) != 0) {
        (void)fprintf(stderr, "recto: standard output: %s\n",
                      strerrordesc_np(errno));
        return CLI_DAMAGED;
    }
    return result;
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Commands with command lines of their own. */
static int (*own_find(int argc, char **argv))(int, char **)
{
    static const struct {
        const char *name;
        int (*run)(int, char **);
    } own[] = {
        {"halt",  cli_halt },
        {"prune", cli_prune},
        {"run",   cli_run  }
    };
    for (size_t i = 0; argc > 1 && i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(argv[1], own[i].name) == 0) {
            return own[i].run;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct cli_request request;
    const char *words[4] = {NULL, NULL, NULL, NULL};
    int count = 0;
    int (*own)(int, char **) = own_find(argc, argv);
    if (own != NULL) {
        return own(argc - 1, argv + 1);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(usage_text, stdout);
            return CLI_GOOD;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void)printf("recto %d.%d.%d\n", RECTO_VERSION_MAJOR,
                         RECTO_VERSION_MINOR, RECTO_VERSION_PATCH);
            return CLI_GOOD;
        }
        if (strcmp(argv[i], "--json") == 0) {
            request.json = true;
        } else if (strcmp(argv[i], "--local") == 0 && i + 1 < argc) {
            argv[request.nlocals++] = argv[i + 1]; /* places read already */
            i++;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return usage_error("unknown option");
        } else if (count == 4) {
            return usage_error("too many arguments");
        } else {
            words[count++] = argv[i];
        }
    }
    request.argv = argv;
    if (count < 2) {
        return usage_error(count == 0 ? "a command is needed"
                                      : "a checkpoint folder is needed");
    }
    const struct command *command = command_find(words[0]);
    if (command == NULL) {
        return usage_error("unknown command");
    }
    if (count - 1 < command->least || count - 1 > command->most) {
        return usage_error("too few or too many arguments");
    }
    if (request.nlocals > 0 && strcmp(words[0], "ls") != 0) {
        return usage_error("--local is for ls");
    }
    request.locals = argv;
    if (!words_read(command, words + 1, count - 1, &request)) {
        return usage_error("not an epoch number");
    }
    return run(command, &request);
}
