/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tree of cells. Each cell is a cube, the set of keys that begin alike, with
 * the bodies in it. A cell with more than NBODY_LEAF bodies has up to eight
 * children, one with fewer is a leaf.
 *
 *              top                      tops: cells that the splits cut, so that
 *             /   \                     several workers may have bodies in them;
 *          top     top                  linked under locks by whoever comes first
 *         /   \    /  \
 *     branch  branch  branch            branches: subtrees of one worker, each an
 *     worker 0    worker 1              array of cells in preorder
 *
 * The tops hang together by pointers; there are less than 43 for each worker.
 * In a branch a cell's first child is the next cell, and `skip` leads past its
 * subtree: a walk goes through memory in one direction.
 *
 * A child that is alone has the parent's centre of mass, and if the parent need
 * not be opened nor must the child be; so chains of single children are left out
 * of branches, and where splits happen to make tops of them no interaction
 * changes.
 *
 * Building tops (nbody_join), after H. Shan and J. P. Singh, "Parallel tree
 * building on a range of shared address space multiprocessors" (IPPS'98), whose
 * method PARTREE it is close to: branches are built without locks, then linked.
 *
 * Invariants
 * 1. A top is changed under its lock only.
 * 2. Each worker whose keys a top's cube has *arrives* there once, after all it
 *    has to do below. The last one to arrive computes the top's centre of mass:
 *    all below is complete, and under the lock it sees what others wrote before.
 * 3. The root is made by worker 0 before any other may come there, any other top
 *    under its parent's lock by the first who needs it, from its own pool.
 */
#ifndef NBODY_TREE_H
#define NBODY_TREE_H

#include "nbody.h"

enum {
    NBODY_LEAF = 32,
    NBODY_TOPS = 48, /* a worker's pool */
    NBODY_BRANCHES = 7 * NBODY_TOPS
};

enum nbody_kind {
    NBODY_NODE,
    NBODY_IS_LEAF,
    NBODY_PRUNED /* whose children are not here, for nobody needs them */
};

struct nbody_cell {
    struct nbody_point at; /* centre of mass */
    double reach2;  /* acts as one mass at distances whose square is larger */
    uint32_t first; /* bodies, counted from the branch's points */
    uint32_t count;
    uint32_t skip; /* cells of its subtree, itself included */
    uint16_t kind;
    uint16_t level; /* the root's is 0 */
};

/* A subtree; `cells` NULL: none. */
struct nbody_subtree {
    const struct nbody_cell *cells;
    const struct nbody_point *points;
};

struct nbody_branch {
    uint64_t key; /* where its cube begins, a child of a top's */
    uint64_t level;
    struct nbody_subtree tree;
};

struct nbody_top {
    struct nbody_cell cell; /* `first` and `skip` have no meaning */
    uint64_t key;
    uint32_t arrived;
    uint32_t lock; /* the number of its lock */
    struct nbody_top *top[8];
    struct nbody_subtree branch[8]; /* a child is a top, a branch or none */
};

/* A worker's view of the tree. */
struct nbody_tree {
    const struct nbody_run *run;
    struct nbody_cell *cells; /* its branches', 2 for each body */
    struct nbody_top *root;
    struct nbody_top *pool;
    uint32_t first_lock; /* of its pool; further ones follow */
    uint32_t pool_used;
    size_t cells_used;
    size_t branches;
    struct nbody_branch branch[NBODY_BRANCHES];
    /* Take and give a top's lock; NULL: nobody else is there. */
    void (*lock)(void *context, uint32_t lock);
    void (*unlock)(void *context, uint32_t lock);
    void *context;
    uint64_t interactions; /* so far */
    uint64_t missing;      /* pruned cells that had to be opened: a fault */
};

/* Worker 0's part of invariant 3. */
void nbody_root_init(struct nbody_top *root);

/* Builds the branches of the run. */
void nbody_branches(struct nbody_tree *tree);

/* Links the branches of `worker`, `n` of them, under the root. When all workers
 * have done so the tree is complete; where points are NULL, with counts but
 * without centres of mass. */
void nbody_join(struct nbody_tree *tree, int worker,
                const struct nbody_branch *branch, size_t n);

/* The top that is a leaf and has the branch; NULL: there is none. */
const struct nbody_top *nbody_leaf_above(const struct nbody_top *root,
                                         const struct nbody_branch *branch);

/* The cube of keys from `key` on, of a cell of that level. */
struct nbody_bounds nbody_cell_bounds(const struct nbody_cube *root,
                                      uint64_t key, uint64_t level);

/* Square of the distance from a box. Never less from a part of the box, rounding
 * included, for every step is monotonic. */
static inline double nbody_distance2(const struct nbody_bounds *box,
                                     const double x[3])
{
    double d2 = 0.0;
    for (int k = 0; k < 3; k++) {
        double below = box->low[k] - x[k];
        double above = x[k] - box->high[k];
        double d = below > above ? below : above;
        d = d > 0.0 ? d : 0.0;
        d2 += d * d;
    }
    return d2;
}

/* The forces on the bodies of the run, and their cost. Those of a leaf have the
 * same interactions: with cells that are far from the leaf's whole cube (J. E.
 * Barnes, J. Comput. Phys. 87, 1990). */
void nbody_forces(struct nbody_tree *tree, struct nbody_run *run);

#endif
