/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forces. The points that act on a leaf's bodies are listed in the order of
 * the tree, and each list is then summed for all the bodies at once, one to a
 * lane of the vector unit: the sum of every body has the same order everywhere.
 */
#include "tree.h"

#include <math.h>
#include <string.h>

enum {
    LANES = 4,   /* bodies summed at once */
    LIST = 1024, /* points, which stay in the cache of first level */
    GROUP = NBODY_LEAF
};

/* Up to GROUP bodies of a leaf, those past `count` copies that fill lanes. */
struct group {
    struct nbody_bounds cube; /* the leaf's */
    size_t count;
    double x[3][GROUP];
    double a[3][GROUP];
    double phi[GROUP];
    double softening2;
    uint64_t cost; /* points so far */
    uint64_t missing;
    size_t listed;
    struct nbody_point list[LIST];
};

/* Adds what the listed points do to bodies i .. i + LANES - 1. */
static void sum_lanes(struct group *g, size_t i)
{
    double x[3][LANES];
    double a[3][LANES];
    double phi[LANES];
    for (int k = 0; k < 3; k++) {
        memcpy(x[k], &g->x[k][i], sizeof x[k]);
        memcpy(a[k], &g->a[k][i], sizeof a[k]);
    }
    memcpy(phi, &g->phi[i], sizeof phi);
    const struct nbody_point *restrict list = g->list;
    size_t n = g->listed;
    double softening2 = g->softening2;
    for (size_t j = 0; j < n; j++) {
        for (int l = 0; l < LANES; l++) {
            double dx = list[j].x[0] - x[0][l];
            double dy = list[j].x[1] - x[1][l];
            double dz = list[j].x[2] - x[2][l];
            double r2 = dx * dx + dy * dy + dz * dz + softening2;
            double inverse = 1.0 / sqrt(r2);
            double potential = list[j].mass * inverse;
            double s = potential * (inverse * inverse);
            a[0][l] += s * dx;
            a[1][l] += s * dy;
            a[2][l] += s * dz;
            phi[l] -= potential;
        }
    }
    for (int k = 0; k < 3; k++) {
        memcpy(&g->a[k][i], a[k], sizeof a[k]);
    }
    memcpy(&g->phi[i], phi, sizeof phi);
}

static void sum_list(struct group *g)
{
    for (size_t i = 0; i < g->count; i += LANES) {
        sum_lanes(g, i);
    }
    g->cost += g->listed;
    g->listed = 0;
}

static void list_points(struct group *g, const struct nbody_point *points,
                        size_t n)
{
    while (n > 0) {
        size_t room = LIST - g->listed;
        size_t now = n < room ? n : room;
        memcpy(&g->list[g->listed], points, now * sizeof *points);
        g->listed += now;
        points += now;
        n -= now;
        if (g->listed == LIST) {
            sum_list(g);
        }
    }
}

/* ---- walks --------------------------------------------------------------- */

static bool is_far(const struct group *g, const struct nbody_cell *cell)
{
    return nbody_distance2(&g->cube, cell->at.x) > cell->reach2;
}

static void walk_cells(struct group *g, const struct nbody_subtree *tree)
{
    const struct nbody_cell *cell = tree->cells;
    const struct nbody_cell *end = cell + cell->skip;
    while (cell < end) {
        if (is_far(g, cell)) {
            list_points(g, &cell->at, 1);
            cell += cell->skip;
        } else {
            if (cell->kind == NBODY_IS_LEAF) {
                list_points(g, tree->points + cell->first, cell->count);
            }
            g->missing += cell->kind == NBODY_PRUNED;
            cell++;
        }
    }
}

static void walk_top(struct group *g, const struct nbody_top *top, bool whole)
{
    if (top->cell.count == 0) {
        return;
    }
    if (!whole && is_far(g, &top->cell)) {
        list_points(g, &top->cell.at, 1);
        return;
    }
    /* the bodies of a leaf are all listed or none */
    whole = whole || top->cell.kind == NBODY_IS_LEAF;
    for (int o = 0; o < 8; o++) {
        const struct nbody_subtree *tree = &top->branch[o];
        if (top->top[o] != NULL) {
            walk_top(g, top->top[o], whole);
        } else if (tree->cells != NULL && whole) {
            list_points(g, tree->points + tree->cells->first,
                        tree->cells->count);
        } else if (tree->cells != NULL) {
            walk_cells(g, tree);
        }
    }
}

/* ---- bodies -------------------------------------------------------------- */

static void load(struct group *g, const struct nbody_point *points,
                 size_t count)
{
    g->count = count;
    g->cost = 0;
    memset(g->a, 0, sizeof g->a);
    memset(g->phi, 0, sizeof g->phi);
    for (size_t i = 0; i < GROUP; i++) {
        for (int k = 0; k < 3; k++) {
            g->x[k][i] = points[i < count ? i : 0].x[k];
        }
    }
}

static void store(const struct group *g, struct nbody_run *run, size_t first)
{
    double softening = sqrt(g->softening2);
    for (size_t i = 0; i < g->count; i++) {
        struct nbody_force *f = &run->forces[first + i];
        for (int k = 0; k < 3; k++) {
            f->a[k] = g->a[k][i];
        }
        /* a body is among its own points: at distance 0, so without force */
        f->phi = g->phi[i] + run->points[first + i].mass / softening;
        run->bodies[first + i].cost = (uint32_t)g->cost;
    }
}

static void leaf_forces(struct nbody_tree *tree, struct nbody_run *run,
                        struct group *g, const struct nbody_cell *leaf)
{
    for (size_t i = 0; i < leaf->count; i += GROUP) {
        size_t rest = leaf->count - i;
        size_t count = rest < GROUP ? rest : GROUP;
        load(g, run->points + leaf->first + i, count);
        walk_top(g, tree->root, false);
        sum_list(g);
        store(g, run, leaf->first + i);
        tree->interactions += g->cost * count;
    }
}

void nbody_forces(struct nbody_tree *tree, struct nbody_run *run)
{
    struct group g = {.softening2 = run->softening2};
    for (size_t b = 0; b < tree->branches; b++) {
        const struct nbody_branch *branch = &tree->branch[b];
        const struct nbody_top *above = nbody_leaf_above(tree->root, branch);
        const struct nbody_cell *cell = branch->tree.cells;
        const struct nbody_cell *end = cell + cell->skip;
        for (; cell < end; cell++) {
            if (cell->kind != NBODY_IS_LEAF) {
                continue;
            }
            g.cube = above != NULL
                         ? nbody_cell_bounds(&run->cube, above->key,
                                             above->cell.level)
                         : nbody_cell_bounds(&run->cube, run->keys[cell->first],
                                             cell->level);
            leaf_forces(tree, run, &g, cell);
        }
    }
    tree->missing += g.missing;
}
