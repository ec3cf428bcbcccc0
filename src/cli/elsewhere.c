/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What needs HDF5 is another program, recto-files, beside this one, so that the rest
 * runs where HDF5 and its MPI are not. It is the same command, with compact.c and
 * export.c in the place of this file.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static enum cli_exit elsewhere(const struct cli_request *r)
{
    char path[PATH_MAX];
    if (cli_beside("recto-files", path, sizeof path)) {
        (void)execv(path, r->argv);
    }
    (void)fprintf(stderr, "recto: %s, which does this, cannot be run: %s\n",
                  path, strerrordesc_np(errno));
    return CLI_DAMAGED;
}

enum cli_exit cli_export(const struct cli_request *r)
{
    return elsewhere(r);
}

enum cli_exit cli_compact(const struct cli_request *r)
{
    return elsewhere(r);
}
