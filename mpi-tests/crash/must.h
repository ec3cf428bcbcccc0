/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that end, and with them their job, at the first call that fails. */
#ifndef RECTO_TESTS_CRASH_MUST_H
#define RECTO_TESTS_CRASH_MUST_H

#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

static inline _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "FAIL: rank %d: %s: %s\n", recto_rank(), what,
                  recto_last_error());
    exit(1);
}

static inline void ok(int status, const char *what)
{
    if (status < 0) {
        fail(what);
    }
}

#endif
