/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locally essential trees. See essential.h.
 */
#include "essential.h"

#include <stdlib.h>
#include <string.h>

/* Boxes that contain the leaves of a receiver, and one around them all. */
struct target {
    size_t boxes;
    struct nbody_bounds all;
    struct nbody_bounds box[NBODY_BRANCHES];
};

/* One that is appended to. */
struct packing {
    struct essential *e;
    const struct target *target;
    const struct nbody_point *from;
    size_t first_point; /* of this receiver */
};

void essential_free(struct essential *e)
{
    free(e->cells);
    free(e->points);
}

/* ---- what must be opened --------------------------------------------------- */

static void set_target(struct target *t, const struct nbody_tree *tree,
                       const struct nbody_branch *theirs, size_t n)
{
    const struct nbody_cube *cube = &tree->run->cube;
    t->boxes = n;
    for (size_t i = 0; i < n; i++) {
        const struct nbody_top *leaf = nbody_leaf_above(tree->root, &theirs[i]);
        t->box[i] =
            leaf != NULL
                ? nbody_cell_bounds(cube, leaf->key, leaf->cell.level)
                : nbody_cell_bounds(cube, theirs[i].key, theirs[i].level);
        if (i == 0) {
            t->all = t->box[i];
        } else {
            nbody_bounds_add(&t->all, &t->box[i]);
        }
    }
}

static bool must_open(const struct target *t, const struct nbody_cell *cell)
{
    if (nbody_distance2(&t->all, cell->at.x) > cell->reach2) {
        return false;
    }
    for (size_t i = 0; i < t->boxes; i++) {
        if (nbody_distance2(&t->box[i], cell->at.x) <= cell->reach2) {
            return true;
        }
    }
    return false;
}

/* ---- packing --------------------------------------------------------------- */

/* Makes room for `more` items behind `count`; false: out of memory. */
static bool make_room(void *array, size_t *room, size_t count, size_t more,
                      size_t bytes)
{
    if (count + more <= *room) {
        return true;
    }
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    size_t wanted = 2 * (count + more) + 1024;
    void *new = realloc(old, wanted * bytes);
    if (new == NULL) {
        return false;
    }
    memcpy(array, &new, sizeof new);
    *room = wanted;
    return true;
}

static bool pack_points(struct packing *p, struct nbody_cell *packed)
{
    struct essential *e = p->e;
    if (!make_room(&e->points, &e->point_room, e->point_count, packed->count,
                   sizeof *e->points)) {
        return false;
    }
    memcpy(e->points + e->point_count, p->from + packed->first,
           packed->count * sizeof *e->points);
    packed->first = (uint32_t)(e->point_count - p->first_point);
    e->point_count += packed->count;
    return true;
}

/* A cell and what is needed below it; `always`: it is opened whatever its
 * distance. False: out of memory. */
static bool pack(struct packing *p, const struct nbody_cell *cell, bool always)
{
    struct essential *e = p->e;
    if (!make_room(&e->cells, &e->cell_room, e->cell_count, 1,
                   sizeof *e->cells)) {
        return false;
    }
    size_t at = e->cell_count++;
    e->cells[at] = *cell;
    if (!always && !must_open(p->target, cell)) {
        e->cells[at].kind = NBODY_PRUNED;
    } else if (cell->kind == NBODY_IS_LEAF) {
        return pack_points(p, &e->cells[at]);
    } else {
        const struct nbody_cell *end = cell + cell->skip;
        for (const struct nbody_cell *c = cell + 1; c < end; c += c->skip) {
            if (!pack(p, c, false)) {
                return false;
            }
        }
    }
    e->cells[at].skip = (uint32_t)(e->cell_count - at);
    return true;
}

int essential_add(struct essential *e, const struct nbody_tree *tree,
                  const struct nbody_branch *theirs, size_t n)
{
    struct target target;
    struct packing p = {.e = e,
                        .target = &target,
                        .from = tree->run->points,
                        .first_point = e->point_count};
    if (n == 0) {
        return 0; /* it has no bodies */
    }
    set_target(&target, tree, theirs, n);
    for (size_t b = 0; b < tree->branches; b++) {
        const struct nbody_branch *branch = &tree->branch[b];
        /* a leaf that several ranks have is listed as a whole */
        bool always = nbody_leaf_above(tree->root, branch) != NULL;
        if (!pack(&p, branch->tree.cells, always)) {
            return -1;
        }
    }
    return 0;
}

void essential_link(struct nbody_branch *theirs, size_t n,
                    const struct nbody_cell *cells,
                    const struct nbody_point *points)
{
    for (size_t i = 0; i < n; i++) {
        theirs[i].tree = (struct nbody_subtree){cells, points};
        cells += cells->skip;
    }
}
