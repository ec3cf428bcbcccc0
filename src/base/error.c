/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors: one thread-local message, composed where the error is decided.
 *
 * Invariants
 * 1. A message is complete: who (rank, host), what (object and cause), code.
 * 2. base_fatal and base_assert_failed use write(2) and base_format only, so
 *    they work inside a signal handler.
 */
#include "base.h"

#include "order.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES = 1024
};

static _Thread_local char last_message[MESSAGE_BYTES];
static int my_rank = -1;
static char my_host[64] = "?";

const char *recto_strerror(int code)
{
    switch (code) {
    case RECTO_OK: return "success";
#define ERROR_CASE(name, value, text)                                          \
    case name: return text;
        RECTO_ERROR_LIST(ERROR_CASE)
#undef ERROR_CASE
    default: return "unknown error code";
    }
}

const char *base_error_name(int code)
{
    switch (code) {
#define ERROR_CASE(name, value, text)                                          \
    case name: return #name;
        RECTO_ERROR_LIST(ERROR_CASE)
#undef ERROR_CASE
    default: return "RECTO_E?";
    }
}

const char *recto_last_error(void)
{
    return last_message;
}

void base_identity(int rank, const char *host)
{
    my_rank = rank;
    snprintf(my_host, sizeof my_host, "%s", host);
}

int base_rank(void)
{
    return my_rank;
}

const char *base_host(void)
{
    return my_host;
}

int base_error_record(int code, const char *format, ...)
{
    if (code == 0) {
        return 0;
    }
    int saved = errno;
    char text[MESSAGE_BYTES - 160];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (my_rank >= 0) {
        snprintf(last_message, sizeof last_message,
                 "recto: rank %d on %s: %s (%s)", my_rank, my_host, text,
                 base_error_name(code));
    } else {
        snprintf(last_message, sizeof last_message, "recto: %s (%s)", text,
                 base_error_name(code));
    }
    errno = saved;
    return code;
}

const char *base_errno_text(int error)
{
    static _Thread_local char text[128];
    return strerror_r(error, text, sizeof text);
}

void base_error_set(const char *message)
{
    snprintf(last_message, sizeof last_message, "%s", message);
}

static void write_all(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(STDERR_FILENO, text, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        text += n;
        length -= (size_t)n;
    }
}

void base_error_print(void)
{
    if (base_env(BASE_ENV_QUIET)[0] != '1' && last_message[0] != '\0') {
        char line[MESSAGE_BYTES + 1];
        int n = snprintf(line, sizeof line, "%s\n", last_message);
        write_all(line, (size_t)n);
    }
}

void base_warn(const char *format, ...)
{
    if (base_env(BASE_ENV_QUIET)[0] == '1') {
        return;
    }
    char line[MESSAGE_BYTES];
    int n = my_rank >= 0 ? snprintf(line, sizeof line,
                                    "recto: rank %d on %s: ", my_rank, my_host)
                         : snprintf(line, sizeof line, "recto: ");
    va_list ap;
    va_start(ap, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, ap);
    va_end(ap);
    size_t used = (size_t)n + (size_t)(m > 0 ? m : 0);
    if (used > sizeof line - 2) {
        used = sizeof line - 2;
    }
    line[used] = '\n';
    write_all(line, used + 1);
}

struct output {
    char *at;
    char *end;
};

static void put_char(struct output *out, char c)
{
    if (out->at < out->end) {
        *out->at++ = c;
    }
}

static void put_string(struct output *out, const char *s)
{
    for (s = s ? s : "(null)"; *s != '\0'; s++) {
        put_char(out, *s);
    }
}

static void put_unsigned(struct output *out, uint64_t value, unsigned base)
{
    char digits[24];
    int n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0) {
        put_char(out, digits[--n]);
    }
}

static uint64_t take_unsigned(va_list *ap, int longs)
{
    return longs ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned int);
}

static void put_signed(struct output *out, int64_t value)
{
    if (value < 0) {
        put_char(out, '-');
        put_unsigned(out, (uint64_t)0 - (uint64_t)value, 10);
    } else {
        put_unsigned(out, (uint64_t)value, 10);
    }
}

size_t base_format(char *buffer, size_t size, const char *format, va_list args)
{
    struct output out = {buffer, buffer + size - 1};
    va_list ap;
    va_copy(ap, args);
    for (const char *f = format; *f != '\0'; f++) {
        if (*f != '%') {
            put_char(&out, *f);
            continue;
        }
        int longs = 0;
        while (f[1] == 'l' || f[1] == 'z') {
            longs++;
            f++;
        }
        switch (*++f) {
        case 's': put_string(&out, va_arg(ap, const char *)); break;
        case 'c': put_char(&out, (char)va_arg(ap, int)); break;
        case 'd':
            put_signed(&out, longs ? va_arg(ap, long) : va_arg(ap, int));
            break;
        case 'u': put_unsigned(&out, take_unsigned(&ap, longs), 10); break;
        case 'x': put_unsigned(&out, take_unsigned(&ap, longs), 16); break;
        case 'p':
            put_string(&out, "0x");
            put_unsigned(&out, (uintptr_t)va_arg(ap, void *), 16);
            break;
        case '%': put_char(&out, '%'); break;
        default: put_char(&out, '?'); break;
        }
    }
    va_end(ap);
    *out.at = '\0';
    return (size_t)(out.at - buffer);
}

static size_t line_format(char *line, size_t size, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    size_t n = base_format(line, size, format, ap);
    va_end(ap);
    return n;
}

static void fatal_line(const char *format, ...)
{
    char line[MESSAGE_BYTES];
    va_list ap;
    va_start(ap, format);
    size_t n = base_format(line, sizeof line, format, ap);
    va_end(ap);
    write_all(line, n);
}

void base_report(const char *format, ...)
{
    static char text[MESSAGE_BYTES - 128]; /* a handler's stack is small */
    static char line[MESSAGE_BYTES];
    va_list ap;
    va_start(ap, format);
    base_format(text, sizeof text, format, ap);
    va_end(ap);
    write_all(line, line_format(line, sizeof line, "recto: rank %d on %s: %s\n",
                                my_rank, my_host, text));
}

_Noreturn void base_fatal(const char *format, ...)
{
    char text[MESSAGE_BYTES - 128];
    va_list ap;
    va_start(ap, format);
    base_format(text, sizeof text, format, ap);
    va_end(ap);
    fatal_line("recto: rank %d on %s: fatal: %s\n", my_rank, my_host, text);
    abort();
}

_Noreturn void base_assert_failed(const char *text, const char *file, int line,
                                  const char *function)
{
    fatal_line("recto: rank %d on %s: %s:%d: %s: assertion failed: %s\n",
               my_rank, my_host, file, line, function, text);
    abort();
}

#ifdef BASE_ORDER
char base_order_word;
#endif

uint64_t base_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}
