/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building the tree. See tree.h.
 */
#include "tree.h"

#include <math.h>
#include <string.h>

/* ---- cubes --------------------------------------------------------------- */

/* Keys of a cell of that level. */
static uint64_t keys_at(uint64_t level)
{
    return UINT64_C(1) << (3 * (NBODY_LEVELS - level));
}

/* Every third bit, from bit `k` on. */
static uint64_t unspread(uint64_t key, int k)
{
    uint64_t x = key >> k & UINT64_C(0x1249249249249249);
    x = (x | x >> 2) & UINT64_C(0x10c30c30c30c30c3);
    x = (x | x >> 4) & UINT64_C(0x100f00f00f00f00f);
    x = (x | x >> 8) & UINT64_C(0x001f0000ff0000ff);
    x = (x | x >> 16) & UINT64_C(0x001f00000000ffff);
    x = (x | x >> 32) & UINT64_C(0x00000000001fffff);
    return x;
}

struct nbody_bounds nbody_cell_bounds(const struct nbody_cube *root,
                                      uint64_t key, uint64_t level)
{
    double unit = root->side / (1 << NBODY_LEVELS);
    uint64_t width = UINT64_C(1) << (NBODY_LEVELS - level);
    struct nbody_bounds b;
    for (int k = 0; k < 3; k++) {
        uint64_t i = unspread(key, k) & ~(width - 1);
        b.low[k] = root->low[k] + (double)i * unit;
        b.high[k] = root->low[k] + (double)(i + width) * unit;
    }
    return b;
}

/* The distance beyond which a cell acts as one mass: its side by the opening
 * angle, and how far its centre of mass is from its centre. So with angles up to
 * 1 a cell never acts on a body inside it (J. K. Salmon and M. S. Warren,
 * "Skeletons from the treecode closet", J. Comput. Phys. 111, 1994, show what
 * comes of that). */
static void set_reach(struct nbody_cell *cell, const struct nbody_tree *tree,
                      uint64_t key)
{
    struct nbody_bounds b =
        nbody_cell_bounds(&tree->run->cube, key, cell->level);
    double off2 = 0.0;
    for (int k = 0; k < 3; k++) {
        double off = cell->at.x[k] - 0.5 * (b.low[k] + b.high[k]);
        off2 += off * off;
    }
    double reach =
        (b.high[0] - b.low[0]) / tree->run->options->theta + sqrt(off2);
    cell->reach2 = reach * reach;
}

/* ---- centres of mass ------------------------------------------------------- */

/* Sums, in the order in which points are added. One point is its own centre. */
struct moments {
    double mx[3];
    double mass;
    const struct nbody_point *only;
    size_t points;
};

static void add_point(struct moments *m, const struct nbody_point *p)
{
    for (int k = 0; k < 3; k++) {
        m->mx[k] += p->mass * p->x[k];
    }
    m->mass += p->mass;
    m->only = p;
    m->points++;
}

static struct nbody_point centre(const struct moments *m)
{
    if (m->points == 1) {
        return *m->only;
    }
    return (struct nbody_point){
        .x = {m->mx[0] / m->mass, m->mx[1] / m->mass, m->mx[2] / m->mass},
        .mass = m->mass
    };
}

/* ---- branches ------------------------------------------------------------ */

/* First of the bodies first .. last - 1 with at least this key. */
static size_t find_key(const uint64_t *keys, size_t first, size_t last,
                       uint64_t key)
{
    while (first < last) {
        size_t middle = (first + last) / 2;
        if (keys[middle] < key) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    return first;
}

/* The cell of bodies first .. last - 1, at least one, and all below it. */
static const struct nbody_cell *build(struct nbody_tree *tree, size_t first,
                                      size_t last, uint64_t level)
{
    const struct nbody_run *run = tree->run;
    const uint64_t *keys = run->keys;
    struct nbody_cell *cell = &tree->cells[tree->cells_used++];
    struct moments m = {.mass = 0.0};
    cell->first = (uint32_t)first;
    cell->count = (uint32_t)(last - first);
    uint64_t differ = keys[first] ^ keys[last - 1];
    if (cell->count <= NBODY_LEAF || differ == 0) {
        cell->kind = NBODY_IS_LEAF;
        cell->level =
            (uint16_t)(cell->count <= NBODY_LEAF ? level : NBODY_LEVELS);
        for (size_t i = first; i < last; i++) {
            add_point(&m, &run->points[i]);
        }
    } else {
        /* the smallest cube that has them all */
        unsigned digit = (63 - (unsigned)__builtin_clzll(differ)) / 3;
        cell->kind = NBODY_NODE;
        cell->level = (uint16_t)(NBODY_LEVELS - 1 - digit);
        while (first < last) {
            uint64_t key = (keys[first] >> 3 * digit) + 1;
            size_t end = find_key(keys, first, last, key << 3 * digit);
            const struct nbody_cell *child =
                build(tree, first, end, cell->level + 1U);
            add_point(&m, &child->at);
            first = end;
        }
    }
    cell->skip = (uint32_t)(&tree->cells[tree->cells_used] - cell);
    cell->at = centre(&m);
    set_reach(cell, tree, keys[cell->first]);
    return cell;
}

/* Does a split fall into the cube, so that it is a top? */
static bool is_cut(const struct nbody_run *run, uint64_t key, uint64_t level)
{
    for (int w = 1; w < run->workers; w++) {
        if (run->splits[w] > key && run->splits[w] - key < keys_at(level)) {
            return true;
        }
    }
    return false;
}

/* Has the worker's part of the keys some of the cube's? */
static bool has_part(const struct nbody_run *run, int worker, uint64_t key,
                     uint64_t level)
{
    uint64_t from = run->splits[worker];
    uint64_t to = run->splits[worker + 1];
    return from < to && from < key + keys_at(level) && key < to;
}

/* The branches of bodies first .. last - 1, which lie in a top's cube. */
static void cut_branches(struct nbody_tree *tree, size_t first, size_t last,
                         uint64_t key, uint64_t level)
{
    const struct nbody_run *run = tree->run;
    uint64_t width = keys_at(level + 1);
    for (int o = 0; o < 8 && first < last; o++, key += width) {
        size_t end = find_key(run->keys, first, last, key + width);
        if (first == end) {
            continue;
        }
        if (is_cut(run, key, level + 1)) {
            cut_branches(tree, first, end, key, level + 1);
        } else {
            struct nbody_branch *b = &tree->branch[tree->branches++];
            b->key = key;
            b->level = level + 1;
            b->tree.cells = build(tree, first, end, level + 1);
            b->tree.points = run->points;
        }
        first = end;
    }
}

void nbody_branches(struct nbody_tree *tree)
{
    tree->cells_used = 0;
    tree->branches = 0;
    cut_branches(tree, 0, tree->run->count, 0, 0);
}

/* ---- tops ---------------------------------------------------------------- */

static void top_init(struct nbody_top *top, uint64_t key, uint64_t level,
                     uint32_t lock)
{
    memset(top, 0, sizeof *top);
    top->cell.level = (uint16_t)level;
    top->key = key;
    top->lock = lock;
}

void nbody_root_init(struct nbody_top *root)
{
    top_init(root, 0, 0, 0);
}

static void add_leaf_points(struct moments *m, const struct nbody_top *top)
{
    for (int o = 0; o < 8; o++) {
        const struct nbody_subtree *t = &top->branch[o];
        if (top->top[o] != NULL) {
            add_leaf_points(m, top->top[o]);
        } else if (t->cells != NULL && t->points != NULL) {
            for (uint32_t i = 0; i < t->cells->count; i++) {
                add_point(m, &t->points[t->cells->first + i]);
            }
        }
    }
}

/* All below is complete. */
static void finish_top(const struct nbody_tree *tree, struct nbody_top *top)
{
    struct moments m = {.mass = 0.0};
    top->cell.kind = NBODY_NODE;
    if (top->cell.count <= NBODY_LEAF) {
        top->cell.kind = NBODY_IS_LEAF;
        add_leaf_points(&m, top);
    } else {
        for (int o = 0; o < 8; o++) {
            if (top->top[o] != NULL && top->top[o]->cell.count > 0) {
                add_point(&m, &top->top[o]->cell.at);
            } else if (top->branch[o].cells != NULL) {
                add_point(&m, &top->branch[o].cells->at);
            }
        }
    }
    if (m.points > 0) {
        top->cell.at = centre(&m);
        set_reach(&top->cell, tree, top->key);
    }
}

static void lock_top(const struct nbody_tree *tree, const struct nbody_top *top)
{
    if (tree->lock != NULL) {
        tree->lock(tree->context, top->lock);
    }
}

static void unlock_top(const struct nbody_tree *tree,
                       const struct nbody_top *top)
{
    if (tree->unlock != NULL) {
        tree->unlock(tree->context, top->lock);
    }
}

/* A top of the pool, the child of a locked one. */
static struct nbody_top *new_top(struct nbody_tree *tree, uint64_t key,
                                 uint64_t level)
{
    struct nbody_top *top = &tree->pool[tree->pool_used];
    top_init(top, key, level, tree->first_lock + tree->pool_used);
    tree->pool_used++;
    return top;
}

/* Adds branches to the locked top; `below` are the tops in which the worker has a
 * part. */
static void link_children(struct nbody_tree *tree, struct nbody_top *top,
                          int worker, const struct nbody_branch *branch,
                          size_t n, struct nbody_top *below[8])
{
    uint64_t level = top->cell.level + 1U;
    uint64_t key = top->key;
    for (int o = 0; o < 8; o++, key += keys_at(level)) {
        size_t count = 0;
        while (count < n && branch[count].key < key + keys_at(level)) {
            top->cell.count += branch[count++].tree.cells->count;
        }
        below[o] = NULL;
        if (is_cut(tree->run, key, level)) {
            if (has_part(tree->run, worker, key, level)) {
                if (top->top[o] == NULL) {
                    top->top[o] = new_top(tree, key, level);
                }
                below[o] = top->top[o];
            }
        } else if (count > 0) {
            top->branch[o] = branch->tree;
        }
        branch += count;
        n -= count;
    }
}

/* Under the top's lock. */
static void arrive(const struct nbody_tree *tree, struct nbody_top *top)
{
    uint32_t expected = 0;
    for (int w = 0; w < tree->run->workers; w++) {
        expected += has_part(tree->run, w, top->key, top->cell.level);
    }
    if (++top->arrived == expected) {
        finish_top(tree, top);
    }
}

static void join(struct nbody_tree *tree, struct nbody_top *top, int worker,
                 const struct nbody_branch *branch, size_t n)
{
    struct nbody_top *below[8];
    lock_top(tree, top);
    link_children(tree, top, worker, branch, n, below);
    unlock_top(tree, top);
    for (int o = 0; o < 8; o++) {
        if (below[o] == NULL) {
            continue;
        }
        uint64_t end = below[o]->key + keys_at(below[o]->cell.level);
        while (n > 0 && branch->key < below[o]->key) {
            branch++;
            n--;
        }
        size_t count = 0;
        while (count < n && branch[count].key < end) {
            count++;
        }
        join(tree, below[o], worker, branch, count);
    }
    lock_top(tree, top);
    arrive(tree, top);
    unlock_top(tree, top);
}

void nbody_join(struct nbody_tree *tree, int worker,
                const struct nbody_branch *branch, size_t n)
{
    if (has_part(tree->run, worker, 0, 0)) {
        join(tree, tree->root, worker, branch, n);
    }
}

const struct nbody_top *nbody_leaf_above(const struct nbody_top *root,
                                         const struct nbody_branch *branch)
{
    for (const struct nbody_top *top = root; top != NULL;) {
        if (top->cell.count <= NBODY_LEAF) {
            return top;
        }
        unsigned shift = 3U * (NBODY_LEVELS - 1U - top->cell.level);
        top = top->top[branch->key >> shift & 7];
    }
    return NULL;
}
