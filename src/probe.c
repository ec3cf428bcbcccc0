/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recto-probe: what `recto doctor` cannot see without MPI, HDF5 and hwloc. Prints lines
 * KEY=VALUE as soon as it knows them, so that what it was about when it died or hung is
 * known, too.
 *
 *   recto-probe --machine   alone: libraries, page protection, tracking of writes
 *   recto-probe             a rank of a job: each fetches and writes the pages of the next
 *                           one
 */
#include <inttypes.h>
#include <recto.h>
#include <recto/vm.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/h5.h"
#include "net/net.h"
#include "vm/protect.h"

enum {
    PAGES = 256, /* of each rank */
    PAGE = 4096,
    TEXT = 1024
};

static void tell(const char *key, const char *value)
{
    (void)printf("%s=%s\n", key, value);
    (void)fflush(stdout);
}

/* ---- alone ------------------------------------------------------------------------------ */

static void method(const char *kind, const char *name, int (*probe)(void))
{
    char key[64];
    int status = probe();
    (void)snprintf(key, sizeof key, "%s.%s", kind, name);
    tell(key, status == 0 ? "works" : recto_last_error());
}

static int machine(void)
{
    char text[TEXT];
    net_library_text(text, sizeof text);
    tell("mpi", text);
    ckpt_h5_library_text(text, sizeof text);
    tell("hdf5", text);
    net_machine_text(text, sizeof text);
    tell("topology", text);
    method("protection", vm_backend_pte.name, vm_backend_pte.probe);
    method("protection", vm_backend_mprotect.name, vm_backend_mprotect.probe);
    method("tracking", vm_tracker_scan.name, vm_tracker_scan.probe);
    return 0;
}

/* ---- a rank of a job -------------------------------------------------------------------- */

/* Only rank 0 tells. */
static void step(const char *what)
{
    if (recto_rank() <= 0) {
        tell("step", what);
    }
}

static volatile uint64_t *word(char *pages, int rank, int page)
{
    return (volatile uint64_t *)(pages +
                                 ((uint64_t)rank * PAGES + (uint64_t)page) *
                                     PAGE);
}

/* Pages of the next rank are fetched, then written; true: all bytes were as they should
 * be. *fetched: ns. */
static bool exchange(char *pages, uint64_t *fetched)
{
    int me = recto_rank();
    int next = (me + 1) % recto_size();
    bool good = true;
    for (int p = 0; p < PAGES; p++) {
        *word(pages, me, p) = (uint64_t)me * PAGES + (uint64_t)p + 1;
    }
    good = recto_barrier() == 0;
    uint64_t start = base_now();
    for (int p = 0; p < PAGES; p++) {
        good =
            *word(pages, next, p) == (uint64_t)next * PAGES + (uint64_t)p + 1 &&
            good;
    }
    *fetched = base_now() - start;
    good = recto_barrier() == 0 && good;
    for (int p = 0; p < PAGES; p++) {
        *word(pages, next, p) = UINT64_MAX - (uint64_t)p;
    }
    good = recto_barrier() == 0 && good;
    for (int p = 0; p < PAGES; p++) {
        good = *word(pages, me, p) == UINT64_MAX - (uint64_t)p && good;
    }
    return good;
}

static int failed(void)
{
    (void)fprintf(stderr, "%s\n", recto_last_error());
    return 1;
}

static int job(int *argc, char ***argv)
{
    char text[TEXT];
    uint64_t fetched = 0;
    step("recto_init");
    if (recto_init(argc, argv) != 0) {
        return failed();
    }
    if (recto_rank() == 0) {
        (void)snprintf(text, sizeof text, "%d", recto_size());
        tell("ranks", text);
        (void)snprintf(text, sizeof text, "%s, writes tracked by %s",
                       recto_vm_backend(), recto_vm_dirty_method());
        tell("chosen", text);
    }
    step("one-sided access to the memory of other ranks");
    char *pages =
        recto_alloc("probe", (uint64_t)recto_size() * PAGES * PAGE, NULL);
    if (pages == NULL) {
        return failed();
    }
    if (!exchange(pages, &fetched)) {
        (void)fprintf(stderr, "recto-probe: rank %d read wrong bytes\n",
                      recto_rank());
        return 1;
    }
    if (recto_rank() == 0) {
        (void)snprintf(text, sizeof text, "%.1f",
                       (double)fetched / PAGES / 1000.0);
        tell("fetched", text);
    }
    step("recto_finalize");
    if (recto_finalize() != 0) {
        return failed();
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("recto-probe %s\n", recto_version());
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--machine") == 0) {
        return machine();
    }
    if (argc > 1) {
        (void)printf(
            "usage: recto-probe [--machine | --version]\n"
            "What `recto doctor` starts: alone, or as a rank of a job.\n");
        return strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    return job(&argc, &argv);
}
