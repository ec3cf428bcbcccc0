/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shows that ranks which make different collective calls, or the same with
 * different arguments, all get RECTO_EMISMATCH with a message that names the
 * calls, and that the job goes on afterwards.
 */
#include "test.h"

static void told(const char *a, const char *b)
{
    if (recto_size() > 1) {
        CHECK(strstr(recto_last_error(), "RECTO_EMISMATCH") != NULL);
        CHECK(strstr(recto_last_error(), a) != NULL);
        CHECK(strstr(recto_last_error(), b) != NULL);
    }
}

int main(int argc, char **argv)
{
    test_begin(&argc, &argv);
    int odd = recto_rank() == recto_size() - 1;
    int many = recto_size() > 1;

    void *p = recto_alloc(odd ? "right" : "left", 64, NULL);
    CHECK((p == NULL) == many);
    told("left", "right");
    if (p != NULL) {
        CHECK_OK(recto_free(p));
    }
    p = recto_alloc("same", odd ? 64 : 65, NULL);
    CHECK((p == NULL) == many);
    told(" 64", " 65");
    if (p != NULL) {
        CHECK_OK(recto_free(p));
    }
    recto_attr cyclic = {.placement = RECTO_CYCLIC};
    p = recto_alloc("same", 64, odd ? &cyclic : NULL);
    CHECK((p == NULL) == many);
    if (p != NULL) {
        CHECK_OK(recto_free(p));
    }
    if (many) {
        /* one rank's bad argument is everybody's error */
        CHECK(recto_alloc("same", odd ? 0 : 64, NULL) == NULL);
        CHECK(strstr(recto_last_error(), "RECTO_EINVAL") != NULL);
        CHECK((odd ? recto_barrier() : recto_check_all()) == RECTO_EMISMATCH);
        told("recto_barrier", "recto_check_all");
        void *q = odd ? recto_alloc("q", 8, NULL) : NULL;
        if (!odd) {
            CHECK(recto_barrier() == RECTO_EMISMATCH);
        }
        CHECK(q == NULL);
        told("recto_barrier", "\"q\"");
        CHECK((odd ? recto_finalize() : recto_barrier()) == RECTO_EMISMATCH);
    }
    int *good = recto_alloc("good", 4096, NULL);
    CHECK(good != NULL);
    CHECK_OK(recto_barrier());
    recto_fetch_add_i32(good, 1);
    CHECK_OK(recto_barrier());
    CHECK(*good == recto_size());
    return test_end("mismatched calls");
}
