/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cg-mpi: every rank holds its rows; ranks exchange the elements of r that
 * others' rows refer to (halo.h), and add their sums by MPI_Allreduce.
 */
#include <halo.h>
#include <mpi.h>
#include <stdlib.h>

#include "cg.h"

static const char name[] = "cg-mpi";
static const char launch[] = "mpirun -n RANKS cg-mpi";

static int ranks;
static int rank;

struct solver {
    const struct cg_options *options;
    struct mtx_matrix m;
    struct cg_vectors v; /* v.r has the ghosts behind the rows */
    struct halo halo;
};

static void out_of_memory(void)
{
    (void)program_fail(name, "rank %d: out of memory", rank);
    (void)MPI_Abort(MPI_COMM_WORLD, PROGRAM_FAILED);
}

static struct cg_sums add(struct cg_sums sums)
{
    (void)MPI_Allreduce(MPI_IN_PLACE, sums.of, CG_SUMS, MPI_DOUBLE, MPI_SUM,
                        MPI_COMM_WORLD);
    return sums;
}

static void multiply(struct solver *s)
{
    halo_exchange(&s->halo, s->v.r);
    cg_multiply(&s->v, &s->m, s->v.r);
}

/* Reads the matrix; the lowest rank that fails says why. 0 if none did. */
static int read_matrix(struct solver *s)
{
    char wrong[PROGRAM_LINE];
    int failed = mtx_read(s->options->file, rank, ranks, &s->m, wrong) == 0
                     ? ranks
                     : rank;
    (void)MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MIN,
                        MPI_COMM_WORLD);
    if (failed == rank) {
        (void)program_fail(name, "%s", wrong);
    }
    return failed == ranks ? 0 : -1;
}

static void make_halo(struct solver *s)
{
    struct program_part *parts = malloc((size_t)ranks * sizeof *parts);
    for (int r = 0; parts != NULL && r < ranks; r++) {
        parts[r] = program_part(s->m.n, sizeof(double), r, ranks);
    }
    if (parts == NULL ||
        halo_init(&s->halo, parts, rank, ranks, s->m.column,
                  s->m.start[s->m.rows.last - s->m.rows.first]) != 0) {
        out_of_memory();
    }
    free(parts);
}

static int prepare(struct solver *s)
{
    if (read_matrix(s) != 0) {
        return -1;
    }
    struct program_part rows = s->m.rows;
    if (cg_vectors_init(&s->v, rows) != 0 ||
        (s->v.r = malloc((rows.last - rows.first + 1) * sizeof(double))) ==
            NULL) {
        out_of_memory();
    }
    cg_start(&s->v, &s->m);
    make_halo(s);
    double *r =
        realloc(s->v.r, (s->halo.rows + s->halo.ghosts + 1) * sizeof *r);
    if (r == NULL) {
        out_of_memory();
    }
    s->v.r = r;
    return 0;
}

static void solve(struct solver *s, struct cg_state *state)
{
    for (;;) {
        multiply(s);
        if (!cg_next(state, add(cg_dots(&s->v)))) {
            return;
        }
        cg_update(&s->v, state);
    }
}

/* x takes the place of r, for A x needs others' rows of it. */
static struct cg_sums check(struct solver *s)
{
    if (s->options->spoil && rank == 0) {
        s->v.x[0] += 1.0;
    }
    for (size_t i = 0; i < s->halo.rows; i++) {
        s->v.r[i] = s->v.x[i];
    }
    multiply(s);
    return add(cg_errors(&s->v));
}

/* Returns the exit code. */
static int run(struct solver *s)
{
    struct program_report report = {"cg", "mpi", ranks, s->options->json,
                                    0,    {{0}}};
    struct cg_state state = {.options = s->options};
    double started = program_now();
    if (prepare(s) != 0) {
        return PROGRAM_FAILED;
    }
    if (rank == 0) {
        cg_say(&report, s->options, &s->m);
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
    double prepared = program_now();
    solve(s, &state);
    double solved = program_now();
    struct cg_sums errors = check(s);
    if (rank != 0) {
        return cg_right(&state, errors, s->m.smallest) ? PROGRAM_OK
                                                       : PROGRAM_FAILED;
    }
    program_phase(&report, "read", prepared - started);
    program_phase(&report, "solve", solved - prepared);
    program_phase(&report, "check", program_now() - solved);
    return cg_end(&report, &state, errors, s->m.smallest);
}

int main(int argc, char **argv)
{
    struct cg_options o;
    char wrong[PROGRAM_LINE];
    enum program_action action =
        cg_options_read(&o, name, launch, argc, argv, wrong);
    if (action == PROGRAM_HELP) {
        cg_options_help(name, launch);
        return PROGRAM_OK;
    }
    (void)MPI_Init(&argc, &argv); /* errors end the job */
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int code = PROGRAM_USAGE;
    if (action == PROGRAM_RUN) {
        struct solver s = {.options = &o};
        code = run(&s);
        free(s.v.r);
        cg_vectors_free(&s.v);
        halo_free(&s.halo);
        mtx_free(&s.m);
    } else if (rank == 0) {
        (void)program_fail(name, "%s; try --help", wrong);
    }
    (void)MPI_Finalize();
    return code;
}
