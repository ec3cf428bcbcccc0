/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mtx: symmetric positive definite matrices from Matrix Market files (Boisvert,
 * Pozo, Remington, "The Matrix Market Exchange Formats", NISTIR 5935, 1996).
 *
 * Read are coordinate files, real, integer or pattern, symmetric or general. A
 * general one must be symmetric all the same. A pattern has no values: it is
 * taken as a graph, and the matrix is the graph's Laplacian plus the identity
 * (diagonal degree + 1, else -1). Entries given twice are added.
 *
 * Each rank reads the file and keeps its own rows.
 */
#ifndef MTX_H
#define MTX_H

#include <program.h>

/* Rows first .. last - 1 of an n x n matrix; compressed rows, columns rise. */
struct mtx_matrix {
    size_t n;
    struct program_part rows;
    size_t *start;    /* of row first + i in the next two: start[i] */
    uint32_t *column; /* from 0 */
    double *value;
    size_t entries; /* of the whole matrix, as the file counts them */
    /* What the smallest eigenvalue is at least, if the file says it by a comment
     * "% smallest eigenvalue NUMBER", or it is a pattern; else 0. */
    double smallest;
};

/* Reads the rows of `rank` (program_part). 0, or -1 and `wrong`, PROGRAM_LINE
 * bytes, says what is wrong, with the file's name and line. */
int mtx_read(const char *file, int rank, int ranks, struct mtx_matrix *m,
             char *wrong);
void mtx_free(struct mtx_matrix *m);

#endif
