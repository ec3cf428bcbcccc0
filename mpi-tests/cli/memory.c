/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For valgrind (cli_valgrind.sh): pages of another domain are fetched, and rank 0 makes two
 * mistakes, a decision by memory that nobody has written and a leak.
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    COUNT = 100000,
    ENTRIES = 4
};

static void mistakes(void)
{
    int *volatile lost = malloc(ENTRIES * sizeof *lost);
    if (lost[2] == 7) { /* undefined */
        (void)printf("seven\n");
    }
    lost = NULL;
}

int main(int argc, char **argv)
{
    uint64_t n = COUNT;
    int64_t *x = NULL;
    if (recto_init(&argc, &argv) != 0 ||
        (x = recto_array("x", RECTO_INT64, 1, &n, NULL)) == NULL) {
        return fprintf(stderr, "%s\n", recto_last_error()), 1;
    }
    uint64_t rank = (uint64_t)recto_rank();
    uint64_t size = (uint64_t)recto_size();
    for (uint64_t i = n * rank / size; i < n * (rank + 1) / size; i++) {
        x[i] = (int64_t)i;
    }
    if (recto_barrier() != 0) {
        return 1;
    }
    if (recto_rank() == 0) {
        (void)printf("last %lld\n", (long long)x[n - 1]);
        mistakes();
    }
    return recto_finalize() != 0;
}
