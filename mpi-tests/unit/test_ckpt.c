/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints and restart of one rank: what was saved comes back byte for byte,
 * epoch 0 like any other; epochs hold what changed and only that; a program
 * that differs from its checkpoint is told how; old chains go, two stay; the
 * memory stays usable by the kernel and by MPI.
 *
 * A "new run" ends and starts the checkpoint floor inside one process; segments
 * stay, so that their memory is overwritten before the restart.
 */
#include <base/base.h>
#include <check.h>
#include <ckpt/ckpt.h>
#include <ckpt/reader.h>
#include <mpi.h>
#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    PAGES = 10
};

static char base[64];
static char folder[128];
static unsigned char *shared; /* PAGES pages and a bit */
static const uint64_t shared_bytes = PAGES * PAGE + 100;
static unsigned char heap[5 * PAGE + 7];

static void begin(unsigned full)
{
    ckpt_finalize();
    ck_assert_int_eq(ckpt_init(folder, full), 0);
}

static void setup(void)
{
    (void)unsetenv("RECTO_CKPT_DIR");
    (void)unsetenv("RECTO_CKPT_FULL");
    (void)snprintf(base, sizeof base, "/tmp/recto-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    (void)snprintf(folder, sizeof folder, "%s/ckpt", base);
    ck_assert_int_eq(recto_init(NULL, NULL), 0);
    begin(16);
    shared = recto_alloc("shared", shared_bytes, NULL);
    ck_assert_ptr_nonnull(shared);
}

static void teardown(void)
{
    char command[128];
    ck_assert_int_eq(recto_finalize(), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}

static void fill(unsigned char *p, uint64_t bytes, int seed)
{
    for (uint64_t i = 0; i < bytes; i++) {
        p[i] = (unsigned char)(i * 31 + i / 251 + (uint64_t)seed * 7 + 1);
    }
}

static void is_filled(const unsigned char *p, uint64_t bytes, int seed)
{
    for (uint64_t i = 0; i < bytes; i++) {
        unsigned char want =
            (unsigned char)(i * 31 + i / 251 + (uint64_t)seed * 7 + 1);
        ck_assert_msg(p[i] == want, "byte %llu", (unsigned long long)i);
    }
}

static void checkpoint(void)
{
    int status = recto_checkpoint();
    status = status == 0 ? recto_checkpoint_wait() : status;
    ck_assert_msg(status == 0, "%s", recto_last_error());
}

static void restart(int64_t want)
{
    int64_t epoch = -5;
    int status = recto_restart(&epoch);
    ck_assert_msg(status == 1, "%d: %s", status, recto_last_error());
    ck_assert_int_eq(epoch, want);
    ck_assert_int_eq(recto_epoch(), want);
}

static void protect_heap(void)
{
    ck_assert_int_eq(recto_protect("heap", heap, RECTO_UINT8, sizeof heap), 0);
}

static void says(const char *part)
{
    ck_assert_msg(strstr(recto_last_error(), part) != NULL, "\"%s\" in: %s",
                  part, recto_last_error());
}

/* The folder's manifest, to be freed with ckpt_folder_clear. */
static const struct ckpt_manifest *look(struct ckpt_folder *f)
{
    struct ckpt_dir dir;
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_folder_load(&dir, f), 0);
    ckpt_io_dir_close(&dir);
    ck_assert_ptr_nonnull(f->chosen);
    return f->chosen->manifest;
}

static struct ckpt_epoch newest(void)
{
    struct ckpt_folder f;
    const struct ckpt_manifest *m = look(&f);
    struct ckpt_epoch e = m->epochs[m->nepochs - 1];
    e.objects = NULL;
    ckpt_folder_clear(&f);
    return e;
}

/* ---- round trips ---------------------------------------------------------------- */

START_TEST(a_fresh_start_touches_nothing)
{
    int64_t epoch = -5;
    fill(shared, shared_bytes, 3);
    ck_assert_int_eq(recto_restart(&epoch), 0);
    ck_assert_int_eq(epoch, -5);
    ck_assert_int_eq(recto_epoch(), -1);
    ck_assert_int_ne(access(folder, F_OK), 0);
    is_filled(shared, shared_bytes, 3);
}
END_TEST

START_TEST(epoch_0_restores)
{
    fill(shared, shared_bytes, 1);
    fill(heap, sizeof heap, 2);
    protect_heap();
    checkpoint();
    ck_assert_int_eq(recto_epoch(), 0);
    fill(shared, shared_bytes, 8);
    fill(heap, sizeof heap, 9);
    begin(16);
    protect_heap();
    restart(0);
    is_filled(shared, shared_bytes, 1);
    is_filled(heap, sizeof heap, 2);
}
END_TEST

START_TEST(every_epoch_of_several_runs_restores)
{
    for (int run = 0; run < 4; run++) {
        begin(3);
        protect_heap();
        if (run > 0) {
            fill(shared, shared_bytes, 77);
            fill(heap, sizeof heap, 77);
            restart(run * 5 - 1);
            is_filled(shared, shared_bytes, run * 5 - 1);
            is_filled(heap, sizeof heap, run * 5 - 1);
        }
        for (int i = 0; i < 5; i++) {
            fill(shared, shared_bytes, run * 5 + i);
            fill(heap, sizeof heap, run * 5 + i);
            checkpoint();
            ck_assert_int_eq(recto_epoch(), run * 5 + i);
        }
    }
}
END_TEST

START_TEST(regions_of_any_size_and_place_restore)
{
    enum {
        REGIONS = 300
    };
    static unsigned char block[20 * PAGE];
    static unsigned char again[20 * PAGE];
    unsigned char onstack[33];
    char name[32];
    fill(block, sizeof block, 4);
    fill(onstack, sizeof onstack, 5);
    for (int pass = 0; pass < 2; pass++) {
        ck_assert_int_eq(
            recto_protect("stack", onstack, RECTO_BYTE, sizeof onstack), 0);
        for (int i = 0; i < REGIONS; i++) { /* unaligned, overlapping */
            (void)snprintf(name, sizeof name, "group/%d/r", i);
            ck_assert_int_eq(recto_protect(name, block + i * 13, RECTO_INT8,
                                           (uint64_t)(i * 41 % 9000)),
                             0);
        }
        if (pass == 0) {
            checkpoint();
            memset(block, 0, sizeof block);
            memset(onstack, 0, sizeof onstack);
            begin(16);
        }
    }
    restart(0);
    is_filled(onstack, sizeof onstack, 5);
    fill(again, sizeof again, 4);
    for (int i = 0; i < REGIONS; i++) {
        ck_assert_mem_eq(block + i * 13, again + i * 13, i * 41 % 9000);
    }
}
END_TEST

START_TEST(arrays_of_all_types_restore)
{
    static const uint64_t dims[] = {3, 5, 7};
    unsigned char *arrays[11];
    char name[32];
    for (int type = RECTO_BYTE; type <= RECTO_DOUBLE; type++) {
        (void)snprintf(name, sizeof name, "typed/%d", type);
        arrays[type] = recto_array(name, (recto_type)type, 3, dims,
                                   &(recto_attr){.placement = RECTO_CYCLIC});
        ck_assert_ptr_nonnull(arrays[type]);
        fill(arrays[type], 105 * recto_type_size((recto_type)type), type);
    }
    checkpoint();
    for (int type = RECTO_BYTE; type <= RECTO_DOUBLE; type++) {
        memset(arrays[type], 0, 105 * recto_type_size((recto_type)type));
    }
    begin(16);
    restart(0);
    for (int type = RECTO_BYTE; type <= RECTO_DOUBLE; type++) {
        is_filled(arrays[type], 105 * recto_type_size((recto_type)type), type);
    }
}
END_TEST

START_TEST(nothing_declared_is_a_checkpoint_too)
{
    ck_assert_int_eq(recto_free(shared), 0);
    checkpoint();
    checkpoint();
    checkpoint();
    begin(16);
    restart(2);
}
END_TEST

/* ---- differential ----------------------------------------------------------------- */

START_TEST(an_epoch_holds_the_pages_that_changed)
{
    fill(shared, shared_bytes, 1);
    fill(heap, sizeof heap, 1);
    protect_heap();
    checkpoint();
    checkpoint(); /* the second is full, too: two that share no file */
    ck_assert(newest().full);
    shared[3 * PAGE] ^= 1;
    shared[3 * PAGE + 9] ^= 1;
    shared[shared_bytes - 1] ^= 1;
    heap[PAGE] ^= 1;
    checkpoint();
    ck_assert(!newest().full);
    ck_assert_uint_eq(newest().entries, 3);
    heap[PAGE] ^= 1; /* and back */
    heap[PAGE] ^= 1;
    checkpoint();
    ck_assert(!newest().has_file);
    ck_assert_int_eq(recto_epoch(), 3);
    begin(16);
    protect_heap();
    restart(3);
    shared[3 * PAGE] ^= 1;
    shared[3 * PAGE + 9] ^= 1;
    shared[shared_bytes - 1] ^= 1;
    is_filled(shared, shared_bytes, 1);
    heap[PAGE] ^= 1;
    is_filled(heap, sizeof heap, 1);
    heap[0] ^= 1;
    checkpoint(); /* goes on from the restored chain */
    ck_assert(!newest().full);
    ck_assert_uint_eq(newest().entries, 2 + 2);
}
END_TEST

START_TEST(protecting_again_keeps_what_did_not_change)
{
    static unsigned char other[sizeof heap];
    fill(heap, sizeof heap, 1);
    protect_heap();
    checkpoint();
    checkpoint();
    memcpy(other, heap, sizeof heap);
    other[0] ^= 1;
    ck_assert_int_eq(recto_protect("heap", other, RECTO_UINT8, sizeof other),
                     0);
    checkpoint(); /* the same name elsewhere: one page differs */
    ck_assert_uint_eq(newest().entries, 1);
    ck_assert_int_eq(recto_protect("heap", other, RECTO_UINT8, PAGE + 1), 0);
    checkpoint(); /* another size: all of it */
    ck_assert_uint_eq(newest().entries, 2);
    ck_assert_int_eq(recto_unprotect("heap"), 0);
    ck_assert_int_eq(recto_unprotect("heap"), RECTO_ENOENT);
    checkpoint();
    ck_assert_uint_eq(newest().nobjects, 1);
    ck_assert_int_eq(recto_protect("heap", other, RECTO_UINT16, 8), 0);
    checkpoint();
    ck_assert_uint_eq(newest().entries, 1);
    begin(16);
    ck_assert_int_eq(recto_protect("heap", heap, RECTO_UINT16, 8), 0);
    restart(5);
    ck_assert_mem_eq(heap, other, 16);
}
END_TEST

START_TEST(a_chain_survives_new_and_freed_segments)
{
    fill(shared, shared_bytes, 1);
    checkpoint();
    checkpoint();
    unsigned char *extra = recto_alloc("extra", 3 * PAGE, NULL);
    ck_assert_ptr_nonnull(extra);
    fill(extra, 3 * PAGE, 2);
    checkpoint();
    ck_assert(!newest().full);
    ck_assert_uint_eq(newest().entries, 3);
    ck_assert_int_eq(recto_free(extra), 0);
    checkpoint();
    extra = recto_alloc("extra", PAGE, NULL); /* the name again, smaller */
    fill(extra, PAGE, 3);
    checkpoint();
    ck_assert_uint_eq(newest().entries, 1);
    extra[7] ^= 1;
    checkpoint();
    extra[7] ^= 1;
    memset(extra, 0, PAGE);
    memset(shared, 0, shared_bytes);
    begin(16);
    restart(5);
    is_filled(shared, shared_bytes, 1);
    extra[7] ^= 1;
    is_filled(extra, PAGE, 3);
}
END_TEST

START_TEST(two_chains_stay_and_no_more)
{
    struct ckpt_folder f;
    for (int i = 0; i < 14; i++) {
        shared[0] = (unsigned char)i;
        checkpoint();
        if (i == 0) {
            begin(4);
            restart(0);
        }
    }
    const struct ckpt_manifest *m = look(&f);
    int chains = 0;
    for (uint64_t i = 0; i < m->nepochs; i++) {
        chains += m->epochs[i].full;
    }
    ck_assert_int_eq(chains, 2);
    ck_assert_uint_eq(m->epochs[m->nepochs - 1].number, 13);
    char command[256];
    (void)snprintf(command, sizeof command, "test $(ls -A %s | wc -l) -eq %llu",
                   folder, (unsigned long long)m->nepochs + 3);
    ck_assert_int_eq(system(command), 0);
    ckpt_folder_clear(&f);
}
END_TEST

START_TEST(a_run_that_does_not_restart_goes_on_counting)
{
    checkpoint();
    checkpoint();
    begin(16);
    fill(shared, shared_bytes, 6);
    checkpoint();
    ck_assert_int_eq(recto_epoch(), 2);
    ck_assert(newest().full);
    memset(shared, 0, shared_bytes);
    begin(16);
    restart(2);
    is_filled(shared, shared_bytes, 6);
}
END_TEST

/* ---- what is left out, what is refused --------------------------------------------- */

START_TEST(segments_may_stay_out)
{
    unsigned char *scratch = recto_alloc(
        "scratch", PAGE, &(recto_attr){.flags = RECTO_NO_CHECKPOINT});
    memset(scratch, 1, PAGE);
    checkpoint();
    ck_assert_uint_eq(newest().nobjects, 1);
    memset(scratch, 2, PAGE);
    begin(16);
    restart(0);
    ck_assert_uint_eq(scratch[5], 2);
}
END_TEST

START_TEST(wrong_protections_are_refused)
{
    ck_assert_int_eq(recto_protect(NULL, heap, RECTO_BYTE, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("", heap, RECTO_BYTE, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("a//b", heap, RECTO_BYTE, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("recto/x", heap, RECTO_BYTE, 1),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("a", NULL, RECTO_BYTE, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("a", NULL, RECTO_BYTE, 0), 0);
    ck_assert_int_eq(recto_protect("a", heap, (recto_type)99, 1), RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("a", heap, RECTO_DOUBLE, UINT64_MAX / 4),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("shared", heap, RECTO_BYTE, 1),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_protect("a", shared + 5, RECTO_BYTE, 1),
                     RECTO_EINVAL);
    ck_assert_int_eq(recto_unprotect("none"), RECTO_ENOENT);
}
END_TEST

START_TEST(a_name_is_an_array_or_a_group)
{
    ck_assert_int_eq(recto_protect("g/x", heap, RECTO_BYTE, 1), 0);
    ck_assert_int_eq(recto_protect("g!", heap, RECTO_BYTE, 1), 0);
    checkpoint();
    ck_assert_int_eq(recto_protect("g", heap, RECTO_BYTE, 1), 0);
    ck_assert_int_eq(recto_checkpoint(), RECTO_EEXIST);
    says("\"g/x\"");
    ck_assert_int_eq(recto_unprotect("g"), 0);
    checkpoint();
    ck_assert_int_eq(recto_epoch(), 1);
}
END_TEST

START_TEST(wrong_settings_are_refused)
{
    static const char *const wrong[] = {"0", "501", "-1", "many"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(setenv("RECTO_CKPT_FULL", wrong[i], 1), 0);
        ck_assert_int_eq(ckpt_init(folder, 0), RECTO_EINVAL);
        says("RECTO_CKPT_FULL");
    }
    ck_assert_int_eq(unsetenv("RECTO_CKPT_FULL"), 0);
    ck_assert_int_eq(setenv("RECTO_CKPT_DIR", base, 1), 0); /* wins */
    begin(16);
    checkpoint();
    ck_assert_int_ne(access(folder, F_OK), 0);
}
END_TEST

START_TEST(restart_comes_first)
{
    checkpoint();
    ck_assert_int_eq(recto_restart(NULL), RECTO_ESTATE);
    begin(16);
    restart(0);
    ck_assert_int_eq(recto_restart(NULL), RECTO_ESTATE);
}
END_TEST

/* ---- a changed program ----------------------------------------------------------------- */

/* The restart is refused, names the difference, and changes nothing. */
static void refused(int code, const char *part)
{
    int64_t epoch = -5;
    fill(shared, shared_bytes, 50);
    ck_assert_int_eq(recto_restart(&epoch), code);
    says(part);
    ck_assert_int_eq(epoch, -5);
    is_filled(shared, shared_bytes, 50);
}

START_TEST(a_changed_program_is_told_how)
{
    static const uint64_t dims[] = {8, 16};
    static const uint64_t turned[] = {16, 8};
    double *grid = recto_array("grid", RECTO_DOUBLE, 2, dims, NULL);
    protect_heap();
    checkpoint();
    begin(16);
    refused(RECTO_ECHANGED, "protected memory \"heap\" (20487 uint8) of epoch "
                            "0 is not declared");
    ck_assert_int_eq(recto_protect("heap", heap, RECTO_INT8, sizeof heap), 0);
    refused(RECTO_ECHANGED, "has 20487 uint8 in epoch 0, the program declares "
                            "20487 int8");
    ck_assert_int_eq(recto_protect("heap", heap, RECTO_UINT8, 5), 0);
    refused(RECTO_ECHANGED, "declares 5 uint8");
    protect_heap();
    ck_assert_int_eq(recto_protect("more", heap, RECTO_FLOAT, 2), 0);
    refused(RECTO_ECHANGED, "the program declares protected memory \"more\" "
                            "(2 float32), which epoch 0 does not hold");
    ck_assert_int_eq(recto_unprotect("more"), 0);
    ck_assert_int_eq(recto_free(grid), 0);
    refused(RECTO_ECHANGED, "array \"grid\" (8 x 16 float64) of epoch 0");
    grid = recto_array("grid", RECTO_DOUBLE, 2, turned, NULL);
    refused(RECTO_ECHANGED, "array \"grid\" has 8 x 16 float64 in epoch 0, the "
                            "program declares 16 x 8 float64");
    ck_assert_int_eq(recto_free(grid), 0);
    ck_assert_int_eq(recto_protect("grid", heap, RECTO_DOUBLE, 128), 0);
    refused(RECTO_ECHANGED, "\"grid\" is an array in epoch 0 and protected "
                            "memory in the program");
    ck_assert_int_eq(recto_unprotect("grid"), 0);
    grid = recto_array("grid", RECTO_DOUBLE, 2, dims, NULL);
    ck_assert_ptr_nonnull(grid);
    int64_t epoch = -5; /* as it was: the refusals have harmed nothing */
    int status = recto_restart(&epoch);
    ck_assert(status == 1 || status == RECTO_EADDRESS);
}
END_TEST

START_TEST(another_address_is_refused)
{
    ck_assert_int_eq(recto_free(shared), 0);
    unsigned char *a = recto_alloc("a", PAGE, NULL);
    unsigned char *b = recto_alloc("b", PAGE, NULL);
    checkpoint();
    begin(16);
    ck_assert_int_eq(recto_free(a), 0);
    ck_assert_int_eq(recto_free(b), 0);
    b = recto_alloc("b", PAGE, NULL);
    a = recto_alloc("a", PAGE, NULL);
    ck_assert(a != NULL && b != NULL);
    ck_assert_int_eq(recto_restart(NULL), RECTO_EADDRESS);
    says("array \"a\" was at 0x");
}
END_TEST

/* ---- damage -------------------------------------------------------------------------------- */

static void rewrite(const char *name, const char *from, const char *to)
{
    char command[512];
    (void)snprintf(command, sizeof command, "cd %s && sed -i 's/%s/%s/' %s",
                   folder, from, to, name);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(damaged_manifests_are_no_fresh_start)
{
    checkpoint();
    begin(16);
    rewrite("manifest", "recto-manifest 3", "recto-manifest 4");
    restart(0); /* by the copy */
    begin(16);
    rewrite("manifest.copy", "epoch", "epocH");
    ck_assert_int_eq(recto_restart(NULL), RECTO_ECORRUPT);
    ck_assert_int_eq(recto_checkpoint(), RECTO_ECORRUPT);
    (void)recto_epoch();
    char command[256];
    (void)snprintf(command, sizeof command, "rm %s/manifest*", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(recto_restart(NULL), RECTO_ECORRUPT);
    ck_assert_int_eq(recto_checkpoint(), RECTO_ECORRUPT);
}
END_TEST

START_TEST(a_later_format_is_named)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ckpt_dir dir;
    checkpoint();
    begin(16);
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_io_slurp(&dir, "manifest", 1 << 20, &text, &bytes),
                     0);
    text[15] = '1' + CKPT_FORMAT_MAJOR;
    (void)sprintf(text + bytes - 21, "sum %016llx\n",
                  (unsigned long long)ckpt_hash(text, bytes - 21));
    for (int i = 0; i < 2; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/manifest%s", folder,
                       i == 0 ? "" : ".copy");
        FILE *file = fopen(path, "w");
        ck_assert_uint_eq(fwrite(text, 1, bytes, file), bytes);
        ck_assert_int_eq(fclose(file), 0);
    }
    free(text);
    ckpt_io_dir_close(&dir);
    ck_assert_int_eq(recto_restart(NULL), RECTO_EVERSION);
}
END_TEST

/* The page of an epoch's log, which holds one. */
static void page_read(const struct ckpt_dir *dir, const struct ckpt_epoch *e,
                      struct ckpt_file *file, struct ckpt_unpacking *unpacking)
{
    static char page[PAGE];
    struct ckpt_rows rows;
    ck_assert_uint_eq(e->entries, 1);
    ck_assert_int_eq(ckpt_file_open(file, dir, e), 0);
    ck_assert_int_eq(ckpt_file_pieces_read(file), 0);
    ck_assert_int_eq(
        ckpt_file_rows_read(file, ckpt_file_piece(file, 0, 0), &rows), 0);
    ck_assert_int_eq(ckpt_file_block_page(file, unpacking, rows.blocks, page),
                     0);
    ck_assert_uint_eq(ckpt_hash(page, PAGE), rows.entries->sum);
    ckpt_rows_free(&rows);
    ckpt_file_close(file);
}

/* Blocks of two files at one place and of one size, read one after the other into the
 * same memory. */
START_TEST(a_block_is_of_its_file)
{
    struct ckpt_dir dir;
    struct ckpt_folder f;
    struct ckpt_file file;
    struct ckpt_unpacking unpacking;
    ck_assert_int_eq(setenv("RECTO_CKPT_COMPRESS", "zstd", 1), 0);
    begin(16);
    ck_assert_int_eq(unsetenv("RECTO_CKPT_COMPRESS"), 0);
    for (int i = 0; i < 5; i++) {
        memset(shared, i + 1, PAGE);
        checkpoint();
    }
    const struct ckpt_manifest *m = look(&f);
    ck_assert_int_eq(ckpt_io_dir_open(&dir, folder, false), 0);
    ck_assert_int_eq(ckpt_unpacking_open(&unpacking), 0);
    ck_assert_uint_eq(m->nepochs, 5);
    for (uint64_t i = 2; i < m->nepochs; i++) {
        page_read(&dir, &m->epochs[i], &file, &unpacking);
    }
    ckpt_unpacking_close(&unpacking);
    ckpt_io_dir_close(&dir);
    ckpt_folder_clear(&f);
}
END_TEST

START_TEST(an_unreadable_epoch_is_skipped)
{
    fill(shared, shared_bytes, 1);
    checkpoint();
    fill(shared, shared_bytes, 2);
    checkpoint();
    begin(16);
    ck_assert_int_eq(ckpt_io_inject("label=read,hit=5,do=eio"), 0);
    restart(0);
    is_filled(shared, shared_bytes, 1);
    ck_assert_int_eq(ckpt_io_inject(""), 0);
    checkpoint(); /* takes the number of the one skipped */
    ck_assert_int_eq(recto_epoch(), 1);
    struct ckpt_folder f;
    const struct ckpt_manifest *m = look(&f);
    ck_assert_uint_eq(m->nepochs, 2);
    ckpt_folder_clear(&f);
}
END_TEST

/* ---- the memory stays usable ---------------------------------------------------------------- */

START_TEST(the_kernel_and_mpi_write_to_protected_memory)
{
    int ends[2];
    MPI_Request request;
    fill(heap, sizeof heap, 1);
    protect_heap();
    checkpoint();
    checkpoint();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "from a pipe", 11), 11);
    ck_assert_int_eq(read(ends[0], heap + 2 * PAGE - 4, 11), 11);
    MPI_Irecv(heap + 4 * PAGE, 8, MPI_BYTE, 0, 5, MPI_COMM_WORLD, &request);
    MPI_Send("from MPI", 8, MPI_BYTE, 0, 5, MPI_COMM_WORLD);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    checkpoint();
    ck_assert_uint_eq(newest().entries, 3);
    memset(heap, 0, sizeof heap);
    begin(16);
    protect_heap();
    restart(2);
    ck_assert_mem_eq(heap + 2 * PAGE - 4, "from a pipe", 11);
    ck_assert_mem_eq(heap + 4 * PAGE, "from MPI", 8);
}
END_TEST

START_TEST(counters_count)
{
    recto_counters counters;
    memset(shared, 1, shared_bytes); /* what nobody touched is not written */
    checkpoint();
    checkpoint();
    shared[0]++;
    checkpoint();
    ck_assert_int_eq(recto_stats(&counters), 0);
    ck_assert_uint_eq(counters.checkpoints, 3);
    ck_assert_uint_gt(counters.ckpt_bytes, 2 * shared_bytes + PAGE);
}
END_TEST

int main(void)
{
    /* a chain that is compacted holds other entries */
    (void)setenv("RECTO_CKPT_COMPACT", "0", 1);
    Suite *suite = suite_create("ckpt");
    TCase *t = tcase_create("checkpoints");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_fresh_start_touches_nothing);
    tcase_add_test(t, epoch_0_restores);
    tcase_add_test(t, every_epoch_of_several_runs_restores);
    tcase_add_test(t, regions_of_any_size_and_place_restore);
    tcase_add_test(t, arrays_of_all_types_restore);
    tcase_add_test(t, nothing_declared_is_a_checkpoint_too);
    tcase_add_test(t, an_epoch_holds_the_pages_that_changed);
    tcase_add_test(t, protecting_again_keeps_what_did_not_change);
    tcase_add_test(t, a_chain_survives_new_and_freed_segments);
    tcase_add_test(t, two_chains_stay_and_no_more);
    tcase_add_test(t, a_run_that_does_not_restart_goes_on_counting);
    tcase_add_test(t, segments_may_stay_out);
    tcase_add_test(t, wrong_protections_are_refused);
    tcase_add_test(t, a_name_is_an_array_or_a_group);
    tcase_add_test(t, wrong_settings_are_refused);
    tcase_add_test(t, restart_comes_first);
    tcase_add_test(t, a_changed_program_is_told_how);
    tcase_add_test(t, another_address_is_refused);
    tcase_add_test(t, damaged_manifests_are_no_fresh_start);
    tcase_add_test(t, a_later_format_is_named);
    tcase_add_test(t, a_block_is_of_its_file);
    tcase_add_test(t, an_unreadable_epoch_is_skipped);
    tcase_add_test(t, the_kernel_and_mpi_write_to_protected_memory);
    tcase_add_test(t, counters_count);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
