/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * message: one line on stderr for whoever started the program.
 */
#ifndef HEAT2D_MESSAGE_H
#define HEAT2D_MESSAGE_H

/* Prints "heat2d: ..." to stderr and returns -1, so that a function can
 * complain and fail in one statement. */
int message_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The words for errno. */
const char *message_errno(void);

#endif
