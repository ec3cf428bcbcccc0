/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that shared memory restarts on any number of ranks, and that private
 * memory whose shape changed is refused with a message that names it.
 *
 *   shapes shared STEPS    shared arrays only: restarts on whatever number of
 *                          ranks there is, compares, does STEPS steps
 *   shapes private         protects private memory and restarts: prints the
 *                          verdict and its message
 *   shapes sizes           one rank's region changes its size between runs
 *   shapes types           two ranks protect a name with different types
 */
#include <stdbool.h>

#include "base/base.h"
#include "ckpt/ckpt.h"
#include "model.h"

static int fail(const char *what)
{
    (void)fprintf(stderr, "FAIL: rank %d: %s: %s\n", recto_rank(), what,
                  recto_last_error());
    return 1;
}

static int check_shared(int64_t s)
{
    int wrong = 0;
    for (int i = 0; i < MODEL_SHARED; i++) {
        const struct model_array *a = &model_arrays[i];
        wrong += model_compare(a->name, a->p, 0, a->bytes, i, s);
    }
    return wrong;
}

/* The step of an epoch is its number: every step is checkpointed once. */
static int shared(int steps)
{
    int64_t step = -1;
    for (int i = 0; i < MODEL_PRIVATE; i++) {
        (void)recto_unprotect(model_regions[i].name);
    }
    (void)recto_unprotect("clock/step");
    int status = recto_restart(&step);
    if (status < 0) {
        return fail("recto_restart");
    }
    int wrong = status == 1 ? check_shared(step) : 0;
    for (int i = 0; i < steps; i++) {
        model_step(++step);
        if (recto_checkpoint() != 0) {
            return fail("recto_checkpoint");
        }
    }
    if (recto_rank() == 0) {
        (void)printf("%lld\n", (long long)step);
    }
    recto_barrier();
    return wrong;
}

/* All ranks must have the same verdict and message; rank 0 prints them. */
static int verdict(int status)
{
    (void)printf("%s: %s\n", status < 0 ? base_error_name(status) : "good",
                 status < 0 ? recto_last_error() : "");
    return 0;
}

static int sizes(void)
{
    static double v[100];
    uint64_t count = 10 + (uint64_t)recto_rank();
    if (recto_protect("v", v, RECTO_DOUBLE, count) != 0 ||
        recto_checkpoint() != 0) {
        return fail("checkpoint");
    }
    ckpt_finalize();
    recto_barrier();
    if (ckpt_init(NULL, 0) != 0 || model_protect() != 0) {
        return fail("ckpt_init");
    }
    /* In all as many as before, so that only the ranks can tell. */
    count = 10 + (uint64_t)(recto_size() - 1 - recto_rank());
    (void)recto_protect("v", v, RECTO_DOUBLE, count);
    return verdict(recto_restart(NULL));
}

static int types(void)
{
    static double v[100];
    bool odd = recto_rank() % 2 == 1;
    (void)recto_protect("v", v, odd ? RECTO_FLOAT : RECTO_DOUBLE, 7);
    return verdict(recto_checkpoint());
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: shapes shared|private|sizes|types\n");
        return 2;
    }
    if (recto_init(&argc, &argv) != 0 || model_declare() != 0) {
        return fail("start");
    }
    int result = strcmp(argv[1], "shared") == 0  ? shared(atoi(argv[2]))
                 : strcmp(argv[1], "sizes") == 0 ? sizes()
                 : strcmp(argv[1], "types") == 0 ? types()
                                                 : verdict(recto_restart(NULL));
    (void)fflush(stdout);
    return recto_finalize() != 0 ? fail("recto_finalize") : result;
}
