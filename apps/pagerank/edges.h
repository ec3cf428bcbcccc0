/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * edges: reading a part of a text file with the edges of a graph, as SNAP and
 * others publish them.
 *
 * A line is "FROM TO": two vertices, whole numbers from 0 to 2^64 - 1 with blanks or
 * tabs between and around them. Lines without anything, and those that begin with
 * '#' or '%', count for nothing. Lines end with LF or CR LF; the last need not end.
 *
 * Each worker reads its part of the bytes: the lines that begin there. Vertices get
 * local numbers as they come, so that an edge takes 8 bytes.
 */
#ifndef EDGES_H
#define EDGES_H

#include <program.h>

struct edges {
    struct edge {
        uint32_t from;
        uint32_t to;
    } * list;
    size_t count;
    uint64_t *id; /* of local number i */
    size_t ids;
    uint64_t bytes; /* size of the whole file */
    uint64_t lines; /* that begin in this part, up to a wrong one */
    bool at_line;   /* a wrong line: it is the last of `lines` */
    char wrong[PROGRAM_LINE / 2];
};

/* Reads one of `parts` parts. 0; -1: `wrong` says why not. */
int edges_read(struct edges *e, const char *file, int part, int parts);
void edges_free(struct edges *e);

#endif
