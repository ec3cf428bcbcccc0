/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of heat2d: getopt_long, then checks that concern more than
 * one option. Nothing here knows of ranks.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"

static const char help[] =
    "Usage: mpirun -n RANKS heat2d --input FILE [OPTION]...\n"
    "Explicit heat diffusion on a 2-D grid with a conductivity per cell.\n"
    "\n"
    "  -i, --input FILE          HDF5 file with both datasets\n"
    "  -f, --field DATASET       temperature at step 0 (temperature)\n"
    "  -k, --conductivity DATASET  conductivity, not negative (conductivity)\n"
    "  -n, --steps N             time steps in all (1000)\n"
    "  -c, --checkpoint-every K  a checkpoint every K steps; 0: never (0)\n"
    "      --dt DT               time step (0.2 / the largest conductivity)\n"
    "      --boundary KIND       insulated, or fixed: edge cells keep their\n"
    "                            temperature (insulated)\n"
    "  -o, --output FILE         write the temperature to this HDF5 file\n"
    "  -p, --picture FILE        draw it as .png (colour) or .pgm (grey)\n"
    "      --check               compare with a serial solution, bit for bit\n"
    "      --json                with --check: end with a line of JSON\n"
    "      --stats               print what the page faults of each rank did\n"
    "      --progress KIND       line, log (every 10 %), or auto: a line if\n"
    "                            the terminal can show it (auto)\n"
    "  -q, --quiet               no progress, no summary\n"
    "  -h, --help                this text\n"
    "  -V, --version             version of Recto\n"
    "\n"
    "For demonstrations:\n"
    "      --pids FILE           write rank, process id and host of every rank\n"
    "      --crash-at STEP,RANK  RANK kills itself (SIGKILL) at STEP, in a run\n"
    "                            that began at step 0, not in a restarted one\n"
    "      --pause-at STEP,SECONDS  wait at STEP\n"
    "      --slow MICROSECONDS   wait as long at every step\n"
    "\n"
    "A run continues from the newest checkpoint in the folder RECTO_CKPT_DIR\n"
    "(recto.ckpt) if there is one: to restart, give the same command again, or\n"
    "let `recto run` do that. It also checkpoints every RECTO_CKPT_INTERVAL\n"
    "seconds, and ends by a checkpoint after SIGUSR1 or `recto halt`.\n"
    "\n"
    "Exit codes: 0 done; 1 input, output or the library failed; 2 wrong\n"
    "option; 3 --check found a difference; 75 it was told to end and continues\n"
    "when it is started again. mpirun reports a killed rank as 137.\n";

const char *options_help(void)
{
    return help;
}

/* Options without a letter. */
enum {
    OPTION_DT = 256,
    OPTION_BOUNDARY,
    OPTION_CHECK,
    OPTION_JSON,
    OPTION_STATS,
    OPTION_PROGRESS,
    OPTION_PIDS,
    OPTION_CRASH_AT,
    OPTION_PAUSE_AT,
    OPTION_SLOW
};

static const struct option table[] = {
    {"input",            required_argument, NULL, 'i'            },
    {"field",            required_argument, NULL, 'f'            },
    {"conductivity",     required_argument, NULL, 'k'            },
    {"steps",            required_argument, NULL, 'n'            },
    {"checkpoint-every", required_argument, NULL, 'c'            },
    {"dt",               required_argument, NULL, OPTION_DT      },
    {"boundary",         required_argument, NULL, OPTION_BOUNDARY},
    {"output",           required_argument, NULL, 'o'            },
    {"picture",          required_argument, NULL, 'p'            },
    {"check",            no_argument,       NULL, OPTION_CHECK   },
    {"json",             no_argument,       NULL, OPTION_JSON    },
    {"stats",            no_argument,       NULL, OPTION_STATS   },
    {"progress",         required_argument, NULL, OPTION_PROGRESS},
    {"pids",             required_argument, NULL, OPTION_PIDS    },
    {"crash-at",         required_argument, NULL, OPTION_CRASH_AT},
    {"pause-at",         required_argument, NULL, OPTION_PAUSE_AT},
    {"slow",             required_argument, NULL, OPTION_SLOW    },
    {"quiet",            no_argument,       NULL, 'q'            },
    {"help",             no_argument,       NULL, 'h'            },
    {"version",          no_argument,       NULL, 'V'            },
    {NULL,               0,                 NULL, 0              },
};

/* Reads a whole number >= 0 that ends at `stop`; returns what follows it, or
 * NULL. */
static const char *read_count(const char *text, char stop, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != stop || errno != 0 || number < 0) {
        return NULL;
    }
    *value = number;
    return stop == '\0' ? end : end + 1;
}

static bool count(const char *text, int64_t *value)
{
    return read_count(text, '\0', value) != NULL;
}

/* "A,B" */
static bool two_counts(const char *text, int64_t *first, int64_t *second)
{
    const char *rest = read_count(text, ',', first);
    return rest != NULL && count(rest, second);
}

static bool positive(const char *text, double *value)
{
    char *end = NULL;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !isfinite(number) ||
        number <= 0.0) {
        return false;
    }
    *value = number;
    return true;
}

/* Position of `text` among `count` words, or -1. */
static int one_of(const char *text, const char *const *words, int words_count)
{
    for (int i = 0; i < words_count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static bool boundary(const char *text, bool *fixed)
{
    static const char *const kinds[] = {"insulated", "fixed"};
    int kind = one_of(text, kinds, 2);
    *fixed = kind == 1;
    return kind >= 0;
}

static bool progress(const char *text, int *kind)
{
    static const char *const kinds[] = {"auto", "line", "log"};
    *kind = one_of(text, kinds, 3);
    return *kind >= 0;
}

/* One option; false: its argument is wrong. */
static bool take(int option, const char *argument, struct options *o)
{
    switch (option) {
    case 'i': o->input = argument; return true;
    case 'f': o->field = argument; return true;
    case 'k': o->conductivity = argument; return true;
    case 'o': o->output = argument; return true;
    case 'p': o->picture = argument; return true;
    case 'q': o->quiet = true; return true;
    case 'n': return count(argument, &o->steps);
    case 'c': return count(argument, &o->checkpoint_every);
    case OPTION_DT: return positive(argument, &o->dt);
    case OPTION_BOUNDARY: return boundary(argument, &o->fixed_boundary);
    case OPTION_CHECK: o->check = true; return true;
    case OPTION_JSON: o->json = true; return true;
    case OPTION_STATS: o->stats = true; return true;
    case OPTION_PROGRESS: return progress(argument, &o->progress);
    case OPTION_PIDS: o->pids = argument; return true;
    case OPTION_CRASH_AT:
        return two_counts(argument, &o->crash_step, &o->crash_rank);
    case OPTION_PAUSE_AT:
        return two_counts(argument, &o->pause_step, &o->pause_seconds);
    case OPTION_SLOW:
        /* above one second nanosleep would want more care, and nobody does */
        return count(argument, &o->slow) && o->slow < 1000000;
    default: return false;
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t wanted = strlen(end);
    return length > wanted && strcmp(text + length - wanted, end) == 0;
}

/* What one option alone does not show; NULL: nothing is wrong. */
static const char *contradiction(const struct options *o)
{
    if (o->input == NULL) {
        return "--input FILE is missing";
    }
    if (o->picture != NULL && !ends_with(o->picture, ".png") &&
        !ends_with(o->picture, ".pgm")) {
        return "--picture: the name must end in .png or .pgm";
    }
    return NULL;
}

static const char *option_name(int option)
{
    for (const struct option *row = table; row->name != NULL; row++) {
        if (row->val == option) {
            return row->name;
        }
    }
    return "?";
}

enum options_action options_read(int argc, char **argv, struct options *o,
                                 char *wrong, unsigned wrong_size)
{
    *o = (struct options){.field = "temperature",
                          .conductivity = "conductivity",
                          .steps = 1000,
                          .crash_step = -1,
                          .pause_step = -1};
    opterr = 0;
    int option = 0;
    /* No other thread runs yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((option = getopt_long(argc, argv, ":i:f:k:n:c:o:p:qhV", table,
                                 NULL)) != -1) {
        if (option == 'h') {
            return OPTIONS_HELP;
        }
        if (option == 'V') {
            return OPTIONS_VERSION;
        }
        if (option == '?' || option == ':') {
            (void)snprintf(wrong, wrong_size, "%s: %s", argv[optind - 1],
                           option == '?' ? "no such option"
                                         : "the argument is missing");
            return OPTIONS_WRONG;
        }
        if (!take(option, optarg, o)) {
            (void)snprintf(wrong, wrong_size, "--%s %s: wrong argument",
                           option_name(option), optarg);
            return OPTIONS_WRONG;
        }
    }
    if (optind < argc) {
        (void)snprintf(wrong, wrong_size, "%s: what is this for?",
                       argv[optind]);
        return OPTIONS_WRONG;
    }
    const char *text = contradiction(o);
    if (text != NULL) {
        (void)snprintf(wrong, wrong_size, "%s", text);
        return OPTIONS_WRONG;
    }
    return OPTIONS_RUN;
}

/* The folder must take a new file: outputs are renamed into place. */
static int check_folder(const char *option, const char *file)
{
    char folder[4096];
    int length = snprintf(folder, sizeof folder, "%s", file);
    if (length < 0 || (size_t)length >= sizeof folder) {
        return message_fail("%s %s: name too long", option, file);
    }
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[1] = '\0'; /* "/x" is in "/" */
    }
    if (access(slash != NULL ? folder : ".", W_OK | X_OK) != 0) {
        return message_fail("%s %s: %s", option, file, message_errno());
    }
    return 0;
}

int options_check_outputs(const struct options *o)
{
    struct stat in;
    struct stat out;
    if (o->output != NULL && stat(o->input, &in) == 0 &&
        stat(o->output, &out) == 0 && in.st_dev == out.st_dev &&
        in.st_ino == out.st_ino) {
        return message_fail("--output %s would overwrite the input", o->output);
    }
    if ((o->output != NULL && check_folder("--output", o->output) != 0) ||
        (o->picture != NULL && check_folder("--picture", o->picture) != 0)) {
        return -1;
    }
    return 0;
}
