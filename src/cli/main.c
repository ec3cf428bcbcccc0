/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The `recto` command: looks at checkpoint folders, prunes them, tells their jobs to
 * end; runs jobs, and tells what traces, running jobs, the environment and this machine
 * say. Only `recto run` and `recto doctor` need MPI; a folder in use may be looked at, too.
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
    "       recto verify DIR [EPOCH]\n"
    "                                read every byte and compare checksums\n"
    "       recto diff DIR A B       which elements of which arrays differ "
    "between two epochs\n"
    "       recto export DIR EPOCH FILE\n"
    "                                the epoch as a plain HDF5 file\n"
    "       recto compact DIR [EPOCH]\n"
    "                                makes an epoch a full one, which builds on no "
    "other\n"
    "       recto prune DIR          remove old epochs\n"
    "       recto halt DIR           end the run that checkpoints there, cleanly\n"
    "       recto run [OPTION]... PROGRAM [ARGUMENT]...\n"
    "                                run a job; restart it when a node is lost\n"
    "       recto report TRACE...    what a recorded run spent its time on\n"
    "       recto top                running jobs, live\n"
    "       recto env                the variables that Recto reads\n"
    "       recto doctor             what of this machine and its MPI Recto can use\n"
    "       recto COMMAND --help     its options\n"
    "       recto --help | --version\n"
    "exit status: 0 good; 1 damaged or incomplete; 2 wrong usage;\n"
    "             3 no checkpoint there, or no such epoch\n";

static const char ls_help[] =
    "usage: recto ls DIR [--local FOLDER]... [--json]\n"
    "Lists the epochs of a checkpoint folder: number, kind (full, or diff and the full\n"
    "epoch that it builds on), ranks that wrote it, time, size, objects, and whether its\n"
    "file is there. A folder in use may be looked at.\n"
    "  --local FOLDER  also what is in this folder of a node; repeatable\n"
    "  --json          for programs\n"
    "exit status: 0 good; 1 a file is missing or has another length;\n"
    "             2 wrong usage; 3 no such folder, or no checkpoint there\n";

static const char info_help[] =
    "usage: recto info DIR [EPOCH] [--json]\n"
    "Tells of one epoch, the newest unless EPOCH is given: its chain and file, and its\n"
    "arrays and protected memory with type, members of structs, dimensions, attributes.\n"
    "  --json          for programs\n"
    "exit status: 0 good; 1 its file is missing or has another length;\n"
    "             2 wrong usage; 3 no such folder, checkpoint or epoch\n";

static const char verify_help[] =
    "usage: recto verify DIR [EPOCH] [--json]\n"
    "Reads every byte of all epochs, or of EPOCH and those it builds on, compares\n"
    "checksums, and names each damaged place. Shows how far it is when stderr is a\n"
    "terminal.\n"
    "  --json          for programs\n"
    "exit status: 0 all good; 1 something is damaged; 2 wrong usage;\n"
    "             3 no such folder, checkpoint or epoch\n";

static const char diff_help[] =
    "usage: recto diff DIR A B [--json]\n"
    "Tells which elements of which arrays differ between epochs A and B, by their bytes;\n"
    "the text shows the first 16 ranges of an array, --json all of them.\n"
    "  --json          for programs\n"
    "exit status: 0 compared; 1 an epoch is damaged; 2 wrong usage;\n"
    "             3 no such folder, checkpoint or epoch\n";

static const char export_help[] =
    "usage: recto export DIR EPOCH FILE [--deflate[=LEVEL]] [--json]\n"
    "Writes the epoch, whatever it builds on and however it is packed, as a plain HDF5\n"
    "file: each array under its name with its type, dimensions and attributes. A FILE that\n"
    "is there already is left alone.\n"
    "  --deflate[=LEVEL]  arrays of 16 KiB and more in chunks, with HDF5's filters shuffle\n"
    "                  and deflate, which every HDF5 reads; LEVEL 1 to 9, default 6. All\n"
    "                  processors compress\n"
    "  --json          for programs\n"
    "exit status: 0 done; 1 the epoch is damaged or FILE cannot be written;\n"
    "             2 wrong usage, or FILE is there; 3 no such folder, checkpoint or epoch\n";

static const char compact_help[] =
    "usage: recto compact DIR [EPOCH] [--deflate[=LEVEL]] [--json]\n"
    "Makes an epoch, the newest unless EPOCH is given, a full one: a restart from it reads\n"
    "one file. Epochs before it go unless the environment says otherwise. Not in a folder that\n"
    "a job uses. On failure the folder is as it was.\n"
    "  --deflate[=LEVEL]  arrays of 16 KiB and more in chunks, with HDF5's filters shuffle\n"
    "                  and deflate, which every HDF5 reads, also of an epoch that is full\n"
    "                  already; LEVEL 1 to 9, default 6. All processors compress\n"
    "  --json          for programs\n"
    "exit status: 0 done; 1 the epoch is damaged, the folder in use or not writable;\n"
    "             2 wrong usage; 3 no such folder, checkpoint or epoch\n";

struct command {
    const char *name;
    int least; /* words behind the command */
    int most;
    enum cli_exit (*run)(const struct cli_request *request);
    const char *help;
};

static const struct command commands[] = {
    {"ls",      1, 1, cli_ls,      ls_help     },
    {"info",    1, 2, cli_info,    info_help   },
    {"verify",  1, 2, cli_verify,  verify_help },
    {"diff",    3, 3, cli_diff,    diff_help   },
    {"export",  3, 3, cli_export,  export_help },
    {"compact", 1, 2, cli_compact, compact_help},
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
        {"doctor", cli_doctor},
        {"env",    cli_env   },
        {"halt",   cli_halt  },
        {"prune",  cli_prune },
        {"report", cli_report},
        {"run",    cli_run   },
        {"top",    cli_top   }
    };
    for (size_t i = 0; argc > 1 && i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(argv[1], own[i].name) == 0) {
            return own[i].run;
        }
    }
    return NULL;
}

enum {
    WORDS = 4,
    DEFLATE = 6 /* zlib's own choice */
};

/* A command line taken apart. */
struct line {
    const char *words[WORDS]; /* command, folder, ... */
    int count;
    bool help;
    struct cli_request request;
};

/* "--deflate" or "--deflate=LEVEL". */
static bool deflate_read(const char *text, int *level)
{
    text += sizeof "--deflate" - 1;
    *level = text[0] == '=' ? text[1] - '0' : DEFLATE;
    return text[0] == '\0' || (text[0] == '=' && text[1] >= '1' &&
                               text[1] <= '9' && text[2] == '\0');
}

/* What is wrong with the line; NULL: nothing. */
static const char *line_read(int argc, char **argv, struct line *l)
{
    struct cli_request *r = &l->request;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            l->help = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            r->json = true;
        } else if (strcmp(argv[i], "--local") == 0 && i + 1 < argc) {
            r->locals[r->nlocals++] = argv[++i];
        } else if (strncmp(argv[i], "--deflate", 9) == 0) {
            if (!deflate_read(argv[i], &r->deflate)) {
                return "--deflate=LEVEL: a level from 1 to 9";
            }
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return "unknown option";
        } else if (l->count == WORDS) {
            return "too many arguments";
        } else {
            l->words[l->count++] = argv[i];
        }
    }
    return NULL;
}

/* What is wrong with it for this command; NULL: nothing. */
static const char *line_check(const struct command *command, struct line *l)
{
    int count = l->count - 1;
    if (count < command->least || count > command->most) {
        return count < 1 ? "a checkpoint folder is needed"
                         : "too few or too many arguments";
    }
    if (l->request.nlocals > 0 && command->run != cli_ls) {
        return "--local is for ls";
    }
    if (l->request.deflate > 0 && command->run != cli_export &&
        command->run != cli_compact) {
        return "--deflate is for compact and export";
    }
    return words_read(command, l->words + 1, count, &l->request)
               ? NULL
               : "not an epoch number";
}

static enum cli_exit line_run(struct line *l)
{
    const struct command *command =
        l->count > 0 ? command_find(l->words[0]) : NULL;
    if (l->help) {
        (void)fputs(command != NULL ? command->help : usage_text, stdout);
        return CLI_GOOD;
    }
    if (command == NULL) {
        return usage_error(l->count == 0 ? "a command is needed"
                                         : "unknown command");
    }
    const char *wrong = line_check(command, l);
    if (wrong != NULL) {
        (void)fprintf(stderr, "recto %s: %s; see recto %s --help\n",
                      command->name, wrong, command->name);
        return CLI_USAGE;
    }
    return run(command, &l->request);
}

int main(int argc, char **argv)
{
    struct line line = {.count = 0};
    for (int i = 1; i < argc && i <= 2; i++) { /* behind it is a program's */
        if (strcmp(argv[i], "--version") == 0) {
            (void)printf("recto %d.%d.%d\n", RECTO_VERSION_MAJOR,
                         RECTO_VERSION_MINOR, RECTO_VERSION_PATCH);
            return CLI_GOOD;
        }
    }
    int (*own)(int, char **) = own_find(argc, argv);
    if (own != NULL) {
        return own(argc - 1, argv + 1);
    }
    line.request.argv = argv;
    line.request.locals = calloc((size_t)argc + 1, sizeof *argv);
    if (line.request.locals == NULL) {
        (void)fprintf(stderr, "recto: out of memory\n");
        return CLI_DAMAGED;
    }
    const char *wrong = line_read(argc, argv, &line);
    enum cli_exit result = wrong != NULL ? usage_error(wrong) : line_run(&line);
    free(line.request.locals);
    return result;
}
