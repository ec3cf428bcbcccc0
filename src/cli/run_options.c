/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of `recto run`. Its own options and mpirun's may be mixed; the
 * first word that is neither an option nor an option's value is the program. For that
 * the options of mpirun are known with the number of their values; any other word is
 * passed on by --pass.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "run.h"

static const char help[] =
    "usage: recto run [OPTION]... [MPIRUN OPTION]... PROGRAM [ARGUMENT]...\n"
    "Runs a program of Recto by mpirun, and starts it again from its newest\n"
    "checkpoint when it fails: without the nodes that do not answer, on spare nodes,\n"
    "with fewer ranks, or with more ranks per node, as these options say.\n"
    "\n"
    "  -n RANKS            number of ranks (default: all slots)\n"
    "  --hostfile FILE     hosts as Open MPI reads them: NAME [slots=N] "
    "[max_slots=N]\n"
    "  --host LIST         NAME[:SLOTS],... ; without either, the nodes of the Slurm\n"
    "                      allocation, or this machine alone\n"
    "  --retries K         starts again at most K times (3)\n"
    "  --spare             nodes beyond those that -n needs wait until one is lost\n"
    "  --elastic           the program may go on with fewer ranks (recto_restart)\n"
    "  --oversubscribe     there may be more ranks than slots\n"
    "  --log FILE          events as lines of JSON, appended\n"
    "  --term-notice       the first SIGTERM says that the time limit is near, as\n"
    "                      SIGUSR1 does\n"
    "  --stall SECONDS     counts as hung without a new epoch for so long; 0: never\n"
    "                      (0)\n"
    "  --watch SECONDS     between two looks at each node of a running job; 0: none\n"
    "                      (30)\n"
    "  --probe SECONDS     for a node to answer (5)\n"
    "  --hang SECONDS      for mpirun to end after its first message of a failure (10)\n"
    "  --grace SECONDS     for mpirun to end the job before it is killed (5)\n"
    "  --mpirun COMMAND    instead of mpirun from PATH\n"
    "  --pass WORD         a word for mpirun that is not known here; repeatable\n"
    "  --help              this text\n"
    "\n"
    "SIGINT, SIGTERM and SIGHUP end the job on all nodes at once. SIGUSR1 tells the\n"
    "program to checkpoint and end (recto_checkpoint_due).\n"
    "Exit status: 0 done; 1 given up; 2 wrong usage; 3 too few nodes answer; 75 the\n"
    "program ended before it was done, by a checkpoint: start it again to go on;\n"
    "128 + N ended by signal N.\n";

int run_usage(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "recto run: %s; see recto run --help\n", text);
    return RUN_USAGE;
}

/* ---- mpirun's options -------------------------------------------------------------- */

/* Open MPI 4.1's, without their dashes: one or two are the same to it. */
static const char *const flags[] = {"allow-run-as-root",
                                    "bind-to-core",
                                    "bind-to-socket",
                                    "bycore",
                                    "bynode",
                                    "byslot",
                                    "debug-daemons",
                                    "debug-daemons-file",
                                    "disable-recovery",
                                    "display-allocation",
                                    "display-devel-allocation",
                                    "display-devel-map",
                                    "display-diffable-map",
                                    "display-map",
                                    "display-topo",
                                    "do-not-resolve",
                                    "get-stack-traces",
                                    "index-argv-by-rank",
                                    "leave-session-attached",
                                    "merge-stderr-to-stdout",
                                    "nolocal",
                                    "nooversubscribe",
                                    "noprefix",
                                    "novm",
                                    "pernode",
                                    "q",
                                    "quiet",
                                    "report-bindings",
                                    "report-child-jobs-separately",
                                    "report-state-on-timeout",
                                    "set-cwd-to-session-dir",
                                    "show-progress",
                                    "tag-output",
                                    "timestamp-output",
                                    "use-hwthread-cpus",
                                    "v",
                                    "verbose",
                                    "xml"};
static const char *const valued[] = {"am",
                                     "bind-to",
                                     "cpu-list",
                                     "cpu-set",
                                     "cpus-per-proc",
                                     "cpus-per-rank",
                                     "launch-agent",
                                     "map-by",
                                     "max-vm-size",
                                     "N",
                                     "npernode",
                                     "npersocket",
                                     "ompi-server",
                                     "output-filename",
                                     "output-proctable",
                                     "path",
                                     "personality",
                                     "ppr",
                                     "prefix",
                                     "preload-files",
                                     "rank-by",
                                     "report-events",
                                     "report-pid",
                                     "report-uri",
                                     "rf",
                                     "rankfile",
                                     "stdin",
                                     "timeout",
                                     "tune",
                                     "wd",
                                     "wdir",
                                     "x",
                                     "xml-file",
                                     "xterm"};
static const char *const paired[] = {"mca", "gmca"};

static bool among(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

#define AMONG(list, name) among(list, sizeof(list) / sizeof(list)[0], name)

/* How many values the option has; -1: it is none of mpirun's. */
static int mpirun_values(const char *name)
{
    return AMONG(flags, name)    ? 0
           : AMONG(valued, name) ? 1
           : AMONG(paired, name) ? 2
                                 : -1;
}

/* What we must know of an option that is passed on. */
static void note_option(struct run_options *o, const char *name, char **values)
{
    if (AMONG(paired, name)) {
        o->pml = o->pml || strcmp(values[0], "pml") == 0;
        o->osc = o->osc || strcmp(values[0], "osc") == 0;
        if (strcmp(values[0], "plm_rsh_agent") == 0 ||
            strcmp(values[0], "orte_rsh_agent") == 0) {
            o->agent = values[1];
        }
    } else if (strcmp(name, "x") == 0) {
        const char *folder = base_env_name(BASE_ENV_CKPT_DIR);
        size_t length = strlen(folder);
        if (strncmp(values[0], folder, length) == 0 &&
            values[0][length] == '=') {
            o->folder = values[0] + length + 1;
        }
    } else if (strcmp(name, "wdir") == 0 || strcmp(name, "wd") == 0) {
        o->wdir = values[0];
    }
}

/* ---- our own ----------------------------------------------------------------------- */

enum kind {
    FLAG,
    NUMBER, /* unsigned */
    RANKS,
    TEXT,
    PASS
};

struct own {
    const char *name;
    enum kind kind;
    void *value;
    unsigned long least;
};

static int take(struct run_options *o, const struct own *own, char *value)
{
    if (own->kind == FLAG) {
        *(bool *)own->value = true;
    } else if (own->kind == TEXT) {
        if (value[0] == '\0') {
            return run_usage("--%s: the value is empty", own->name);
        }
        *(const char **)own->value = value;
    } else if (own->kind == PASS) {
        o->pass[o->npass++] = value;
    } else {
        char *end = NULL;
        errno = 0;
        unsigned long n = strtoul(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 ||
            n < own->least || n > 100000000) {
            return run_usage("--%s %s: give a whole number from %lu", own->name,
                             value, own->least);
        }
        if (own->kind == RANKS) {
            *(int *)own->value = (int)n;
        } else {
            *(unsigned *)own->value = (unsigned)n;
        }
    }
    return 0;
}

/* The option at argv[*at], by its name without dashes. 0 or RUN_USAGE. */
static int take_option(struct run_options *o, int argc, char **argv, int *at)
{
    const struct own ours[] = {
        {"n",             RANKS,  &o->ranks,         1},
        {"np",            RANKS,  &o->ranks,         1},
        {"c",             RANKS,  &o->ranks,         1},
        {"hostfile",      TEXT,   &o->hostfile,      0},
        {"machinefile",   TEXT,   &o->hostfile,      0},
        {"host",          TEXT,   &o->host,          0},
        {"H",             TEXT,   &o->host,          0},
        {"retries",       NUMBER, &o->retries,       0},
        {"spare",         FLAG,   &o->spare,         0},
        {"elastic",       FLAG,   &o->elastic,       0},
        {"oversubscribe", FLAG,   &o->oversubscribe, 0},
        {"term-notice",   FLAG,   &o->term_notice,   0},
        {"log",           TEXT,   &o->log,           0},
        {"stall",         NUMBER, &o->stall,         0},
        {"watch",         NUMBER, &o->watch,         0},
        {"probe",         NUMBER, &o->probe,         1},
        {"hang",          NUMBER, &o->hang,          1},
        {"grace",         NUMBER, &o->grace,         1},
        {"mpirun",        TEXT,   &o->mpirun,        0},
        {"pass",          PASS,   NULL,              0},
    };
    char *word = argv[*at];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(ours[i].name, name) == 0) {
            if (ours[i].kind != FLAG && *at + 1 >= argc) {
                return run_usage("%s: the value is missing", word);
            }
            return take(o, &ours[i], ours[i].kind == FLAG ? NULL : argv[++*at]);
        }
    }
    int values = mpirun_values(name);
    if (values < 0) {
        return run_usage("%s: no option of recto run, and none of mpirun that "
                         "it knows (--pass WORD passes a word on)",
                         word);
    }
    if (*at + values >= argc) {
        return run_usage("%s: a value is missing", word);
    }
    note_option(o, name, argv + *at + 1);
    for (int i = 0; i <= values; i++) {
        o->pass[o->npass++] = argv[*at + i];
    }
    *at += values;
    return 0;
}

static int examine(const struct run_options *o)
{
    if (o->program[0] == NULL) {
        return run_usage("a program is needed");
    }
    for (char **word = o->program; *word != NULL; word++) {
        if (strcmp(*word, ":") == 0) {
            return run_usage("\":\": one program at a time");
        }
    }
    if (o->spare && o->ranks == 0) {
        return run_usage("--spare needs -n: what is not needed is spare");
    }
    if (o->hostfile != NULL && o->host != NULL) {
        return run_usage("--hostfile and --host: give one of them");
    }
    return 0;
}

int run_options_read(int argc, char **argv, struct run_options *o)
{
    *o = (struct run_options){.retries = 3,
                              .probe = 5,
                              .hang = 10,
                              .grace = 5,
                              .watch = 30,
                              .mpirun = "mpirun"};
    o->pass = calloc((size_t)argc + 1, sizeof *o->pass);
    if (o->pass == NULL) {
        return run_usage("out of memory");
    }
    int at = 1;
    for (; at < argc && argv[at][0] == '-' && argv[at][1] != '\0'; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            (void)fputs(help, stdout);
            return -1;
        }
        int status = take_option(o, argc, argv, &at);
        if (status != 0) {
            return status;
        }
    }
    o->program = argv + at;
    return examine(o);
}

void run_options_free(struct run_options *o)
{
    free(o->pass);
    o->pass = NULL;
}
