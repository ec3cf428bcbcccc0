/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbody-mpi: every rank holds its run. Bodies go to their new owners by
 * MPI_Alltoallv; all ranks learn the first cell of each branch, link the tops
 * each for itself, and send each other the parts of their branches that the other
 * may need (essential.h). After that forces need no communication.
 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "essential.h"

static const char name[] = "nbody-mpi";
static const char launch[] = "mpirun -n RANKS nbody-mpi";

static int ranks;
static int rank;

/* A branch as it is sent. */
struct root {
    uint64_t key;
    uint64_t level;
    struct nbody_cell cell; /* its first */
};

/* What is sent to and received from each rank. */
struct counts {
    int *sent, *from; /* by rank; where it begins */
    int *received, *at;
};

struct local {
    struct nbody_run run;
    struct nbody_tree tree;
    struct nbody_sample *samples; /* by rank */
    uint32_t *starts;
    struct nbody_piece *pieces;
    struct nbody_body *arrived; /* bodies, by rank */
    struct root *roots;         /* of all ranks */
    int *root_counts, *root_starts;
    struct nbody_branch *branches; /* of all ranks */
    struct essential sent, received;
    struct counts bodies, cells, points;
    /* Of essential trees: cells and points, sent and then received. */
    int (*sizes)[2];
    struct nbody_probe *probes;
    struct nbody_sums before;
    MPI_Datatype body_type, cell_type, point_type, root_type;
};

static void out_of_memory(void)
{
    (void)program_fail(name, "rank %d: out of memory", rank);
    (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
    abort(); /* not reached */
}

static void *need(size_t bytes)
{
    void *p = calloc(bytes > 0 ? bytes : 1, 1);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

/* ---- memory -------------------------------------------------------------- */

static void counts_init(struct counts *c)
{
    c->sent = need(4 * (size_t)ranks * sizeof(int));
    c->from = c->sent + ranks;
    c->received = c->from + ranks;
    c->at = c->received + ranks;
}

/* Sets starts from counts; returns how many are received. */
static int counts_add(const struct counts *c)
{
    int sent = 0;
    int received = 0;
    for (int r = 0; r < ranks; r++) {
        c->from[r] = sent;
        c->at[r] = received;
        sent += c->sent[r];
        received += c->received[r];
    }
    return received;
}

static MPI_Datatype bytes_type(size_t bytes)
{
    MPI_Datatype type = MPI_DATATYPE_NULL;
    (void)MPI_Type_contiguous((int)bytes, MPI_BYTE, &type);
    (void)MPI_Type_commit(&type);
    return type;
}

static void start(struct local *l, const struct nbody_options *o)
{
    struct nbody_run *run = &l->run;
    struct nbody_tree *tree = &l->tree;
    size_t p = (size_t)ranks;
    if (nbody_run_init(run, o, rank, ranks) != 0) {
        out_of_memory();
    }
    size_t n = run->capacity;
    run->bodies = need(n * sizeof *run->bodies);
    run->staged = need(n * sizeof *run->staged);
    run->points = need(n * sizeof *run->points);
    l->arrived = need(n * sizeof *l->arrived);
    tree->run = run;
    tree->cells = need(2 * n * sizeof *tree->cells);
    tree->pool = need(p * NBODY_TOPS * sizeof *tree->pool);
    tree->root = tree->pool;
    l->samples = need(p * sizeof *l->samples);
    l->starts = need((p + 1) * sizeof *l->starts);
    l->pieces = need(p * sizeof *l->pieces);
    l->roots = need(p * NBODY_BRANCHES * sizeof *l->roots);
    l->branches = need(p * NBODY_BRANCHES * sizeof *l->branches);
    l->root_counts = need(2 * p * sizeof(int));
    l->root_starts = l->root_counts + ranks;
    l->sizes = need(2 * p * sizeof *l->sizes);
    l->probes = need(nbody_probes(o) * sizeof *l->probes);
    counts_init(&l->bodies);
    counts_init(&l->cells);
    counts_init(&l->points);
    l->body_type = bytes_type(sizeof(struct nbody_body));
    l->cell_type = bytes_type(sizeof(struct nbody_cell));
    l->point_type = bytes_type(sizeof(struct nbody_point));
    l->root_type = bytes_type(sizeof(struct root));
    nbody_fill(run);
}

static void stop(struct local *l)
{
    (void)MPI_Type_free(&l->body_type);
    (void)MPI_Type_free(&l->cell_type);
    (void)MPI_Type_free(&l->point_type);
    (void)MPI_Type_free(&l->root_type);
    free(l->run.bodies);
    free(l->run.staged);
    free(l->run.points);
    free(l->tree.cells);
    free(l->tree.pool);
    nbody_run_free(&l->run);
    free(l->samples);
    free(l->starts);
    free(l->pieces);
    free(l->arrived);
    free(l->roots);
    free(l->branches);
    free(l->root_counts);
    free(l->sizes);
    free(l->probes);
    free(l->bodies.sent);
    free(l->cells.sent);
    free(l->points.sent);
    essential_free(&l->sent);
    essential_free(&l->received);
}

/* ---- a step: bodies -------------------------------------------------------- */

static struct nbody_cube cube_of_all(const struct nbody_run *run)
{
    struct nbody_bounds b = nbody_bounds_of(run);
    for (int k = 0; k < 3; k++) {
        b.low[k] = -b.low[k];
    }
    (void)MPI_Allreduce(MPI_IN_PLACE, &b, 6, MPI_DOUBLE, MPI_MAX,
                        MPI_COMM_WORLD);
    for (int k = 0; k < 3; k++) {
        b.low[k] = -b.low[k];
    }
    return nbody_cube_of(&b);
}

/* Every rank says whether what it will get fits; all come to one verdict. */
static int all_fit(size_t count, size_t capacity)
{
    int wrong = count > capacity ? rank : ranks;
    (void)MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT, MPI_MIN,
                        MPI_COMM_WORLD);
    if (wrong == rank) {
        (void)program_fail(name,
                           "rank %d would get %zu bodies, more than its "
                           "share: too many in one place",
                           rank, count);
    }
    return wrong == ranks ? 0 : -1;
}

/* Sends bodies to their new owners. */
static int exchange_bodies(struct local *l)
{
    struct nbody_run *run = &l->run;
    struct nbody_sample *mine = &l->samples[rank];
    nbody_stage(run, mine);
    (void)MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, l->samples,
                        sizeof *mine, MPI_BYTE, MPI_COMM_WORLD);
    nbody_split(run, l->samples, sizeof *mine, l->starts);
    const struct counts *c = &l->bodies;
    for (int r = 0; r < ranks; r++) {
        c->sent[r] = (int)(l->starts[r + 1] - l->starts[r]);
    }
    (void)MPI_Alltoall(c->sent, 1, MPI_INT, c->received, 1, MPI_INT,
                       MPI_COMM_WORLD);
    if (all_fit((size_t)counts_add(c), run->capacity) != 0) {
        return -1;
    }
    /* those that stay are not copied */
    struct nbody_piece own = {run->staged + c->from[rank],
                              (size_t)c->sent[rank]};
    c->sent[rank] = 0;
    c->received[rank] = 0;
    (void)MPI_Alltoallv(run->staged, c->sent, c->from, l->body_type, l->arrived,
                        c->received, c->at, l->body_type, MPI_COMM_WORLD);
    for (int r = 0; r < ranks; r++) {
        l->pieces[r] =
            (struct nbody_piece){l->arrived + c->at[r], (size_t)c->received[r]};
    }
    l->pieces[rank] = own;
    nbody_gather(run, l->pieces);
    return 0;
}

/* ---- a step: the tree -------------------------------------------------------- */

/* Links the branches of all ranks as they are known so far. */
static void join_all(struct local *l)
{
    nbody_root_init(l->tree.root);
    l->tree.pool_used = 1;
    for (int r = 0; r < ranks; r++) {
        nbody_join(&l->tree, r, l->branches + l->root_starts[r],
                   (size_t)l->root_counts[r]);
    }
}

/* All ranks learn the first cells of all branches. */
static void exchange_roots(struct local *l)
{
    struct nbody_tree *tree = &l->tree;
    int mine = (int)tree->branches;
    (void)MPI_Allgather(&mine, 1, MPI_INT, l->root_counts, 1, MPI_INT,
                        MPI_COMM_WORLD);
    int total = 0;
    for (int r = 0; r < ranks; r++) {
        l->root_starts[r] = total;
        total += l->root_counts[r];
    }
    struct root *roots = l->roots + l->root_starts[rank];
    for (size_t b = 0; b < tree->branches; b++) {
        const struct nbody_branch *branch = &tree->branch[b];
        roots[b] =
            (struct root){branch->key, branch->level, *branch->tree.cells};
    }
    (void)MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, l->roots,
                         l->root_counts, l->root_starts, l->root_type,
                         MPI_COMM_WORLD);
    for (int b = 0; b < total; b++) {
        l->branches[b] = (struct nbody_branch){
            l->roots[b].key, l->roots[b].level, {&l->roots[b].cell, NULL}
        };
    }
    join_all(l);
}

/* Makes what the others need of my branches; sets what is sent and received. */
static void pack_essential(struct local *l)
{
    struct essential *e = &l->sent;
    int(*sent)[2] = l->sizes;
    int(*received)[2] = l->sizes + ranks;
    e->cell_count = 0;
    e->point_count = 0;
    for (int r = 0; r < ranks; r++) {
        size_t cells = e->cell_count;
        size_t points = e->point_count;
        if (r != rank &&
            essential_add(e, &l->tree, l->branches + l->root_starts[r],
                          (size_t)l->root_counts[r]) != 0) {
            out_of_memory();
        }
        sent[r][0] = l->cells.sent[r] = (int)(e->cell_count - cells);
        sent[r][1] = l->points.sent[r] = (int)(e->point_count - points);
    }
    (void)MPI_Alltoall(sent, 2, MPI_INT, received, 2, MPI_INT, MPI_COMM_WORLD);
    for (int r = 0; r < ranks; r++) {
        l->cells.received[r] = received[r][0];
        l->points.received[r] = received[r][1];
    }
}

static void exchange_essential(struct local *l)
{
    struct essential *to = &l->received;
    pack_essential(l);
    size_t cells = (size_t)counts_add(&l->cells);
    size_t points = (size_t)counts_add(&l->points);
    if (cells > to->cell_room || points > to->point_room) {
        essential_free(to);
        to->cell_room = cells + cells / 2;
        to->point_room = points + points / 2;
        to->cells = need(to->cell_room * sizeof *to->cells);
        to->points = need(to->point_room * sizeof *to->points);
    }
    (void)MPI_Alltoallv(l->sent.cells, l->cells.sent, l->cells.from,
                        l->cell_type, to->cells, l->cells.received, l->cells.at,
                        l->cell_type, MPI_COMM_WORLD);
    (void)MPI_Alltoallv(l->sent.points, l->points.sent, l->points.from,
                        l->point_type, to->points, l->points.received,
                        l->points.at, l->point_type, MPI_COMM_WORLD);
    for (int r = 0; r < ranks; r++) {
        struct nbody_branch *theirs = l->branches + l->root_starts[r];
        if (r == rank) {
            memcpy(theirs, l->tree.branch, l->tree.branches * sizeof *theirs);
        } else if (l->run.count > 0) {
            essential_link(theirs, (size_t)l->root_counts[r],
                           to->cells + l->cells.at[r],
                           to->points + l->points.at[r]);
        }
    }
    join_all(l);
}

/* Forces on all bodies where they are now. */
static int step(struct local *l)
{
    l->run.cube = cube_of_all(&l->run);
    if (exchange_bodies(l) != 0) {
        return -1;
    }
    nbody_branches(&l->tree);
    exchange_roots(l);
    exchange_essential(l);
    nbody_forces(&l->tree, &l->run);
    return 0;
}

static int steps(struct local *l)
{
    struct nbody_run *run = &l->run;
    if (step(l) != 0) {
        return -1;
    }
    l->before = nbody_sums_of(run, l->tree.interactions, l->tree.missing);
    for (int64_t i = 0; i < run->options->steps; i++) {
        nbody_kick(run, i == 0 ? 0.5 : 1.0);
        nbody_drift(run, 1.0);
        if (step(l) != 0) {
            return -1;
        }
    }
    nbody_kick(run, 0.5);
    (void)MPI_Barrier(MPI_COMM_WORLD);
    return 0;
}

/* ---- the check ----------------------------------------------------------- */

static void add_sums(struct nbody_sums *s)
{
    double sums[5] = {s->kinetic, s->potential, s->momentum[0], s->momentum[1],
                      s->momentum[2]};
    uint64_t counts[3] = {s->checksum, s->interactions, s->missing};
    (void)MPI_Allreduce(MPI_IN_PLACE, sums, 5, MPI_DOUBLE, MPI_SUM,
                        MPI_COMM_WORLD);
    (void)MPI_Allreduce(MPI_IN_PLACE, counts, 3, MPI_UINT64_T, MPI_SUM,
                        MPI_COMM_WORLD);
    *s = (struct nbody_sums){
        sums[0],   sums[1],   {sums[2], sums[3], sums[4]},
        counts[0], counts[1], counts[2]
    };
}

static void check(struct local *l, struct nbody_answer *answer)
{
    struct nbody_run *run = &l->run;
    int count =
        (int)(nbody_probes(run->options) * sizeof *l->probes / sizeof(double));
    if (run->options->spoil) {
        nbody_spoil(run);
    }
    answer->before = l->before;
    answer->after = nbody_sums_of(run, l->tree.interactions, l->tree.missing);
    add_sums(&answer->before);
    add_sums(&answer->after);
    /* each is zero but at one rank */
    nbody_probes_fill(run, l->probes);
    (void)MPI_Allreduce(MPI_IN_PLACE, l->probes, count, MPI_DOUBLE, MPI_SUM,
                        MPI_COMM_WORLD);
    nbody_probes_sum(run, l->probes);
    struct nbody_probe *parts =
        need((size_t)ranks * nbody_probes(run->options) * sizeof *parts);
    (void)MPI_Allgather(l->probes, count, MPI_DOUBLE, parts, count, MPI_DOUBLE,
                        MPI_COMM_WORLD);
    memset(l->probes, 0, (size_t)count * sizeof(double));
    for (int r = 0; r < ranks; r++) {
        nbody_probes_add(run->options, l->probes,
                         parts + (size_t)r * nbody_probes(run->options));
    }
    free(parts);
    answer->probes = l->probes;
}

/* Returns the exit code. */
static int run(const struct nbody_options *o, struct local *l)
{
    struct program_report report = {"nbody", "mpi", ranks, o->json, 0, {{0}}};
    struct nbody_answer answer = {.probes = NULL};
    double started = program_now();
    start(l, o);
    (void)MPI_Barrier(MPI_COMM_WORLD);
    double filled = program_now();
    if (steps(l) != 0) {
        return PROGRAM_FAILED;
    }
    double moved = program_now();
    check(l, &answer);
    if (rank != 0) {
        return nbody_right(o, &answer) ? PROGRAM_OK : PROGRAM_FAILED;
    }
    nbody_say(&report, o);
    program_phase(&report, "fill", filled - started);
    program_phase(&report, "steps", moved - filled);
    program_phase(&report, "check", program_now() - moved);
    return nbody_end(&report, o, &answer);
}

int main(int argc, char **argv)
{
    struct nbody_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        nbody_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        nbody_options_help(name, launch);
        return PROGRAM_OK;
    }
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct local *l = need(sizeof *l);
        code = run(&o, l);
        stop(l);
        free(l);
    } else if (rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
