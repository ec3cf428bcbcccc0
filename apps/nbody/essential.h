/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * essential: the part of a rank's tree that another rank may need for the forces
 * on its bodies, its locally essential tree (J. K. Salmon, "Parallel
 * hierarchical N-body methods", thesis, Caltech 1991; M. S. Warren and J. K.
 * Salmon, SC'93). Of nbody-mpi.
 *
 * A cell goes along with its children if one of the receiver's leaves could be so
 * near that it must be opened. That is judged by boxes that contain those leaves,
 * by the same arithmetic, so that what would be missing there never is.
 */
#ifndef ESSENTIAL_H
#define ESSENTIAL_H

#include "tree.h"

/* Pieces of branches, to be sent: of each branch in turn its cells in preorder,
 * which begin with the branch's own. */
struct essential {
    struct nbody_cell *cells;
    struct nbody_point *points;
    size_t cell_count, point_count;
    size_t cell_room, point_room;
};

void essential_free(struct essential *e);

/* Appends what a rank with those branches needs of mine, of which the tree has
 * the counts. Cells count points from the first that is appended here. -1: out of
 * memory. */
int essential_add(struct essential *e, const struct nbody_tree *tree,
                  const struct nbody_branch *theirs, size_t n);

/* Points branches to what was received from their rank. */
void essential_link(struct nbody_branch *theirs, size_t n,
                    const struct nbody_cell *cells,
                    const struct nbody_point *points);

#endif
