/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto halt`: asks the run that checkpoints in a folder to end, and takes it back.
 * The request lies in the folder until a run has fulfilled it (src/ckpt/halt.h);
 * recto_checkpoint_due reads it.
 */
#include "ckpt/halt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "ckpt/store.h"
#include "cli.h"

enum {
    FAILED = 1,
    DAY = 86400,
    YEARS = 10, /* of a --before that is meant */
    OTHERS = 16 /* requests that a new one replaces */
};

static const char help[] =
    "usage: recto halt DIR                 end the run at its next step\n"
    "       recto halt DIR --after N       end it when it has written N more "
    "epochs\n"
    "       recto halt DIR --before TIME   end it so early that a checkpoint is\n"
    "                                      written before TIME\n"
    "       recto halt DIR --undo          take the request back\n"
    "DIR is the run's checkpoint folder. The run ends where it calls\n"
    "recto_checkpoint_due: it writes a checkpoint and goes on from there when it is\n"
    "started again. A new request replaces the one before.\n"
    "TIME: 90s, 45m, 1h30m, 2d from now; 18:30 or 18:30:00, the next one; or\n"
    "2027-01-31T18:30[:00], in local time, or with Z in UTC.\n"
    "exit status: 0 done; 1 the folder cannot be written, or is damaged; 2 wrong\n"
    "             usage; 3 no such folder, or no checkpoint folder\n";

static int wrong(const char *what, const char *why)
{
    (void)fprintf(stderr, "recto halt: %s: %s; see recto halt --help\n", what,
                  why);
    return CLI_USAGE;
}

/* ---- TIME -------------------------------------------------------------------------- */

/* "1h30m": seconds, 0 for none. */
static uint64_t duration(const char *text)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {
        {'d', DAY },
        {'h', 3600},
        {'m', 60  },
        {'s', 1   }
    };
    uint64_t sum = 0;
    size_t at = 0; /* units come in this order, each once */
    while (*text != '\0') {
        char *end = NULL;
        errno = 0;
        unsigned long long n = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || errno != 0) {
            return 0;
        }
        while (at < sizeof units / sizeof units[0] && units[at].unit != *end) {
            at++;
        }
        if (at == sizeof units / sizeof units[0] ||
            n > (uint64_t)YEARS * 366 * DAY) {
            return 0;
        }
        sum += n * units[at++].seconds;
        text = end + 1;
    }
    return sum;
}

/* "18:30" or "18:30:00": the next one. 0 for none. */
static time_t clock_time(const char *text, time_t now)
{
    struct tm day;
    struct tm parsed;
    memset(&parsed, 0, sizeof parsed);
    const char *end = strptime(text, "%H:%M:%S", &parsed);
    if (end == NULL) {
        memset(&parsed, 0, sizeof parsed);
        end = strptime(text, "%H:%M", &parsed);
    }
    if (end == NULL || *end != '\0' || localtime_r(&now, &day) == NULL) {
        return 0;
    }
    day.tm_hour = parsed.tm_hour;
    day.tm_min = parsed.tm_min;
    day.tm_sec = parsed.tm_sec;
    day.tm_isdst = -1;
    struct tm next = day;
    time_t t = mktime(&day);
    if (t <= now) {
        next.tm_mday++;
        t = mktime(&next);
    }
    return t;
}

/* "2027-01-31T18:30[:00][Z]". 0 for none. */
static time_t date_time(const char *text)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm parsed;
        memset(&parsed, 0, sizeof parsed);
        const char *end = strptime(text, forms[i], &parsed);
        parsed.tm_isdst = -1;
        if (end != NULL && *end == '\0') {
            return mktime(&parsed);
        }
        if (end != NULL && strcmp(end, "Z") == 0) {
            return timegm(&parsed);
        }
    }
    return 0;
}

static bool parse_time(const char *text, uint64_t *value, const char **why)
{
    time_t now = time(NULL);
    uint64_t seconds = duration(text);
    time_t t = seconds > 0 ? now + (time_t)seconds : clock_time(text, now);
    t = t > 0 ? t : date_time(text);
    if (t <= 0) {
        *why = "not a time";
    } else if (t <= now) {
        *why = "that is past";
    } else if (t > now + (time_t)YEARS * 366 * DAY) {
        *why = "more than ten years ahead";
    } else {
        *value = (uint64_t)t;
        return true;
    }
    return false;
}

/* ---- the folder -------------------------------------------------------------------- */

struct contents {
    bool anything;
    bool ours; /* a manifest, a lock, or a request */
};

static int look(const char *name, void *argument)
{
    struct contents *c = argument;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
        c->anything = true;
        c->ours = c->ours || strcmp(name, CKPT_MANIFEST) == 0 ||
                  strcmp(name, CKPT_MANIFEST_COPY) == 0 ||
                  strcmp(name, CKPT_LOCK) == 0 || ckpt_halt_name(name) ||
                  strncmp(name, CKPT_TEMPORARY, sizeof CKPT_TEMPORARY - 1) == 0;
    }
    return 0;
}

static int failed(void)
{
    (void)fprintf(stderr, "%s\n", recto_last_error());
    return FAILED;
}

/* Opens a folder that holds checkpoints, or nothing yet. */
static int open_folder(struct ckpt_dir *dir, const char *path)
{
    struct contents contents = {false, false};
    int status = ckpt_io_dir_open(dir, path, false);
    if (status == RECTO_ENOENT) {
        (void)fprintf(stderr, "recto halt: %s: no such folder\n", path);
        return CLI_NO_CHECKPOINT;
    }
    if (status != 0) {
        (void)failed();
        return CLI_NO_CHECKPOINT;
    }
    status = ckpt_folder_scan(dir, look, &contents);
    if (status != 0) {
        ckpt_io_dir_close(dir);
        return failed();
    }
    if (contents.anything && !contents.ours) {
        (void)fprintf(stderr, "recto halt: %s is no checkpoint folder\n", path);
        ckpt_io_dir_close(dir);
        return CLI_NO_CHECKPOINT;
    }
    return 0;
}

/* The newest epoch; -1: none yet. */
static int newest(const struct ckpt_dir *dir, int64_t *epoch)
{
    struct ckpt_folder folder;
    int status = ckpt_folder_load(dir, &folder);
    *epoch = -1;
    if (status == 0 && folder.chosen != NULL &&
        folder.chosen->manifest->nepochs > 0) {
        const struct ckpt_manifest *m = folder.chosen->manifest;
        *epoch = (int64_t)m->epochs[m->nepochs - 1].number;
    }
    ckpt_folder_clear(&folder);
    return status;
}

/* The requests that are there. */
struct others {
    size_t count;
    char names[OTHERS][CKPT_FILE_NAME_MAX + 1];
};

/* Readable or not. */
static int note(const char *name, void *argument)
{
    struct others *others = argument;
    if (ckpt_halt_name(name) && others->count < OTHERS) {
        (void)snprintf(others->names[others->count++], sizeof others->names[0],
                       "%s", name);
    }
    return 0;
}

static int remove_others(const struct ckpt_dir *dir,
                         const struct others *others)
{
    int status = 0;
    for (size_t i = 0; i < others->count && status == 0; i++) {
        status = ckpt_halt_remove(dir, others->names[i]);
    }
    return status;
}

/* ---- the request ------------------------------------------------------------------- */

struct request {
    const char *path;
    bool undo;
    bool has_when;
    uint64_t after; /* 0: not given */
    struct ckpt_halt halt;
};

static void say(const struct ckpt_dir *dir, const struct request *r)
{
    char who[128];
    char text[64];
    time_t when = (time_t)r->halt.value;
    struct tm tm;
    if (r->halt.when == CKPT_HALT_NOW) {
        (void)printf("%s: ends at its next step", dir->path);
    } else if (r->halt.when == CKPT_HALT_EPOCH) {
        (void)printf("%s: ends with epoch %" PRIu64, dir->path, r->halt.value);
    } else {
        size_t n = localtime_r(&when, &tm) != NULL
                       ? strftime(text, sizeof text, "%F %T %Z", &tm)
                       : 0;
        (void)printf("%s: ends before %s", dir->path, n > 0 ? text : "?");
    }
    if (ckpt_lock_busy(dir, who, sizeof who)) {
        (void)printf(" (in use by %s)\n", who[0] != '\0' ? who : "a run");
    } else {
        (void)printf(" (not in use now: this holds for the next run)\n");
    }
}

static int ask(const struct ckpt_dir *dir, struct request *r,
               const struct others *others)
{
    int status = 0;
    if (r->after > 0) {
        int64_t epoch = -1;
        status = newest(dir, &epoch);
        r->halt.when = CKPT_HALT_EPOCH;
        r->halt.value = (uint64_t)(epoch + (int64_t)r->after);
    }
    status = status == 0 ? ckpt_halt_write(dir, &r->halt) : status;
    status = status == 0 ? remove_others(dir, others) : status;
    if (status != 0) {
        return failed();
    }
    say(dir, r);
    return 0;
}

static int undo(const struct ckpt_dir *dir, const struct others *others)
{
    if (remove_others(dir, others) != 0) {
        return failed();
    }
    (void)printf(others->count > 0 ? "%s: goes on\n"
                                   : "%s: there was no request\n",
                 dir->path);
    return 0;
}

static int parse_after(const char *text, uint64_t *after)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        n == 0 || n > INT32_MAX) {
        return wrong(text, "give a number of epochs, at least 1");
    }
    *after = n;
    return 0;
}

/* 0, or the exit code. */
static int parse(int argc, char **argv, struct request *r)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool valued =
            strcmp(word, "--after") == 0 || strcmp(word, "--before") == 0;
        if ((valued || strcmp(word, "--undo") == 0) && r->has_when) {
            return wrong(word, "one of --after, --before, --undo");
        }
        if (valued && i + 1 == argc) {
            return wrong(word, "the value is missing");
        }
        const char *why = NULL;
        if (strcmp(word, "--after") == 0) {
            int status = parse_after(argv[++i], &r->after);
            if (status != 0) {
                return status;
            }
        } else if (strcmp(word, "--before") == 0) {
            r->halt.when = CKPT_HALT_TIME;
            if (!parse_time(argv[++i], &r->halt.value, &why)) {
                return wrong(argv[i], why);
            }
        } else if (strcmp(word, "--undo") == 0) {
            r->undo = true;
        } else if (word[0] == '-' && word[1] != '\0') {
            return wrong(word, "unknown option");
        } else if (r->path != NULL) {
            return wrong(word, "one folder only");
        } else {
            r->path = word;
        }
        r->has_when = r->has_when || valued || r->undo;
    }
    return r->path != NULL ? 0 : wrong("DIR", "a checkpoint folder is needed");
}

int cli_halt(int argc, char **argv)
{
    struct request r = {.halt = {.when = CKPT_HALT_NOW}};
    struct others others = {.count = 0};
    struct ckpt_dir dir;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(help, stdout);
            return CLI_GOOD;
        }
    }
    int code = parse(argc, argv, &r);
    code = code == 0 ? open_folder(&dir, r.path) : code;
    if (code != 0) {
        return code;
    }
    if (ckpt_folder_scan(&dir, note, &others) != 0) {
        code = failed();
    } else {
        code = r.undo ? undo(&dir, &others) : ask(&dir, &r, &others);
    }
    ckpt_io_dir_close(&dir);
    return fflush(stdout) == 0 ? code : FAILED;
}
