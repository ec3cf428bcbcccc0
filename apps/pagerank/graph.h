/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * graph: makes the graph of an edge list, by all workers together.
 *
 * Vertices are numbered from 0 in the order of their ids, so a vertex's number
 * does not depend on the workers. Edges that are listed twice count once; loops, from
 * a vertex to itself, are left out (their vertex stays).
 *
 * A worker has a range of vertices and all edges that end there. The ranges are
 * of whole blocks of GRAPH_BLOCK vertices and have about equally many edges.
 */
#ifndef GRAPH_H
#define GRAPH_H

#include "team.h"

enum {
    /* A page of doubles: no two workers write the same page of a vector. */
    GRAPH_BLOCK = 512
};

struct graph {
    size_t n;
    uint64_t edges;       /* different ones, without loops */
    uint64_t listed;      /* lines with an edge */
    uint64_t loops;       /* of which are loops */
    uint64_t widest;      /* most edges that end in a vertex */
    uint64_t fingerprint; /* hash of vertices and edges */
    size_t *bounds;       /* worker w has vertices bounds[w] .. bounds[w+1]-1 */
    /* This worker's. */
    struct program_part mine;
    uint64_t before; /* edges of the workers before it */
    uint64_t *in;    /* its edges: TO << 32 | FROM, rising */
    size_t in_count;
    uint64_t *id;     /* of its vertices */
    uint32_t *degree; /* edges that begin there */
};

/* Reads the file. The lowest worker that fails says why on stderr; the same result,
 * 0 or -1, on all. Collective. */
int graph_build(struct team *t, const char *file, struct graph *g);
void graph_free(struct graph *g);

/* The worker's edges as rows, numbered from `base`: those that end in vertex
 * mine.first + i have numbers start[i] .. start[i + 1] - 1 and come from
 * source[number - base], rising. start[mine.last - mine.first] is not set: it may
 * be the next worker's. */
void graph_rows(const struct graph *g, uint64_t base, uint64_t *start,
                uint32_t *source);

/* The number of blocks that some vertices have, the last perhaps in part. */
static inline size_t graph_blocks(size_t vertices)
{
    return (vertices + GRAPH_BLOCK - 1) / GRAPH_BLOCK;
}

#endif
