/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Linked to a test, this gives directory entries of few ranks the form of many:
 * TEST_SHARERS=EXACT,NUMBERS,GROUPS says how many ranks may have a bit each, how
 * many numbers fit, and how many groups there are. Sequential
 * memory gets the form of many ranks with it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "coherence/holders.h"
#include "coherence/sharers.h"

__attribute__((constructor)) static void limit(void)
{
    struct sharers_limits l = sharers_limits;
    const char *text = getenv("TEST_SHARERS");
    if (text == NULL) {
        return;
    }
    /* NOLINTNEXTLINE(cert-err34-c): a wrong one fails here */
    if (sscanf(text, "%d,%u,%u", &l.exact, &l.numbers, &l.groups) != 3 ||
        l.numbers > sharers_limits.numbers ||
        l.groups > sharers_limits.groups || l.groups == 0) {
        (void)fprintf(stderr, "TEST_SHARERS=%s\n", text);
        exit(1);
    }
    sharers_limits = l;
    holders_exact_most = 0;
}
