/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small things that the subcommands of `recto` share: JSON strings, times,
 * sizes, finding an epoch.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

/* Length of the valid UTF-8 sequence at s, 0 if there is none. */
static size_t sequence(const unsigned char *s)
{
    size_t length = s[0] < 0x80   ? 1
                    : s[0] < 0xc2 ? 0
                    : s[0] < 0xe0 ? 2
                    : s[0] < 0xf0 ? 3
                    : s[0] < 0xf5 ? 4
                                  : 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong =
        (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return length > 1 && overlong ? 0 : length;
}

bool cli_beside(const char *name, char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    size_t length = strlen(name);
    if (slash == NULL || (size_t)(slash + 1 - path) + length >= size) {
        errno = n < 0 ? errno : ENAMETOOLONG;
        return false;
    }
    memcpy(slash + 1, name, length + 1);
    return true;
}

void cli_json_string(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    (void)fputc('"', out);
    while (*s != '\0') {
        size_t n = sequence(s);
        if (n == 0) {
            (void)fputs("\\ufffd", out);
            s++;
        } else if (*s == '"' || *s == '\\') {
            (void)fprintf(out, "\\%c", *s++);
        } else if (*s < 0x20 || *s == 0x7f) {
            (void)fprintf(out, "\\u%04x", *s++);
        } else {
            (void)fwrite(s, 1, n, out);
            s += n;
        }
    }
    (void)fputc('"', out);
}

const char *cli_last_error(void)
{
    static const char who[] = "recto: ";
    const char *text = recto_last_error();
    return strncmp(text, who, sizeof who - 1) == 0 ? text + sizeof who - 1
                                                   : text;
}

const char *cli_time(uint64_t seconds, char *text)
{
    time_t t = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&t, &parts) == NULL ||
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        (void)snprintf(text, 32, "?");
    }
    return text;
}

const char *cli_size(uint64_t bytes, char *text)
{
    static const char *const units[] = {"B",   "KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
    double size = (double)bytes;
    size_t unit = 0;
    while (size >= 1024 && unit < 6) {
        size /= 1024;
        unit++;
    }
    (void)snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", size,
                   units[unit]);
    return text;
}

bool cli_epoch_index(const struct cli_request *request, uint64_t *index)
{
    const struct ckpt_manifest *m = request->manifest;
    for (uint64_t i = m != NULL ? m->nepochs : 0; i-- > 0;) {
        if (!request->has_epoch || m->epochs[i].number == request->epoch) {
            *index = i;
            return true;
        }
    }
    if (request->has_epoch) {
        (void)fprintf(stderr,
                      "recto: %s holds no epoch %llu; recto ls %s shows those "
                      "that it holds\n",
                      request->path, (unsigned long long)request->epoch,
                      request->path);
    } else {
        (void)fprintf(stderr, "recto: %s holds no epoch; write one first\n",
                      request->path);
    }
    return false;
}
