/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of heat2d and heat2d-input.
 */
#include "message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int message_fail(const char *format, ...)
{
    char line[1024]; /* one write, so that ranks do not mix their lines */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "heat2d: %s\n", line);
    return -1;
}

const char *message_errno(void)
{
    /* One thread of this program prints messages. */
    return strerror(errno); /* NOLINT(concurrency-mt-unsafe) */
}
