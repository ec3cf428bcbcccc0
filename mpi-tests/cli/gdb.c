/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What gdb looks at (cli_gdb.sh): an array in each protocol, some pages written since a
 * checkpoint; with an argument, an access that is the program's own mistake.
 */
#include <recto.h>
#include <stdlib.h>

enum {
    PAGES = 8,
    WORDS = 512
};

void halt_here(volatile uint64_t *grid, volatile uint64_t *board);

/* Where gdb stops. */
__attribute__((noinline)) void halt_here(volatile uint64_t *grid,
                                         volatile uint64_t *board)
{
    __asm__ volatile("" : : "r"(grid), "r"(board) : "memory");
}

int main(int argc, char **argv)
{
    recto_attr sequential = {.consistency = RECTO_SEQUENTIAL,
                             .placement = RECTO_AT(1)};
    if (recto_init(&argc, &argv) != 0) {
        return 1;
    }
    uint64_t n = (uint64_t)PAGES * WORDS;
    volatile uint64_t *grid = recto_array("grid", RECTO_UINT64, 1, &n, NULL);
    volatile uint64_t *board =
        recto_array("board", RECTO_UINT64, 1, &n, &sequential);
    if (grid == NULL || board == NULL || recto_checkpoint() != 0 ||
        recto_checkpoint_wait() != 0) {
        return 1;
    }
    if (recto_rank() == 0) {
        grid[(size_t)2 * WORDS] = 1;
        grid[(size_t)7 * WORDS] = 1;
        board[WORDS] = board[0] + 1;
        halt_here(grid, board);
        if (argc > 1) {
            volatile uintptr_t address = 8; /* compilers must not know */
            volatile int *nowhere = (volatile int *)address;
            *nowhere = 1;
        }
    }
    return recto_finalize() != 0;
}
