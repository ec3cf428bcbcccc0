/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock: a bank. All ranks move money between accounts that they share; what several
 * words must agree on is done under a lock, what is one word by an atomic operation.
 * Whatever the ranks do, no money is lost or made.
 *
 *     mpicc lock.c -o lock $(pkg-config --cflags --libs recto)
 *     mpirun -n 3 ./lock
 */
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ACCOUNTS = 10,
    BEGIN = 100, /* in each account */
    TRANSFERS = 2000
};

static void must(int good)
{
    if (!good) {
        fprintf(stderr, "%s\n", recto_last_error());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    must(recto_init(&argc, &argv) == 0);
    int rank = recto_rank();
    uint64_t accounts = ACCOUNTS;
    int64_t *balance = recto_array("balance", RECTO_INT64, 1, &accounts, NULL);
    int64_t *refused = recto_alloc("refused", sizeof *refused, NULL);
    recto_lock_t lock;
    must(balance != NULL && refused != NULL);
    must(recto_lock_create(&lock) == 0); /* by all ranks: the same lock */

    if (rank == 0) {
        for (int i = 0; i < ACCOUNTS; i++) {
            balance[i] = BEGIN;
        }
    }
    must(recto_barrier() == 0);

    unsigned dice = (unsigned)rank + 1;
    for (int i = 0; i < TRANSFERS; i++) {
        dice = dice * 1664525U + 1013904223U;
        unsigned from = (dice >> 8) % ACCOUNTS;
        unsigned to = (dice >> 16) % ACCOUNTS;
        int64_t sum = (dice >> 24) % 50;

        /* Who has the lock sees all that was written before it was last given back. */
        must(recto_lock(lock) == 0);
        int enough = balance[from] >= sum;
        if (enough) {
            balance[from] -= sum;
            balance[to] += sum;
        }
        must(recto_unlock(lock) == 0);
        if (!enough) {
            recto_fetch_add_i64(refused, 1); /* needs no lock */
        }
    }
    must(recto_barrier() == 0);

    int64_t all = 0;
    int right = *refused > 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        all += balance[i];
        right = right && balance[i] >= 0;
    }
    right = right && all == ACCOUNTS * BEGIN;
    if (rank == 0) {
        printf("%d transfers, %lld refused, %lld in all accounts: %s\n",
               TRANSFERS * recto_size(), (long long)*refused, (long long)all,
               right ? "ok" : "WRONG");
    }
    must(recto_barrier() == 0);
    must(recto_lock_free(&lock) == 0);
    must(recto_finalize() == 0);
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
