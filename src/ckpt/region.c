/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protected private memory: recto_protect and recto_unprotect, and what the
 * last epoch holds of each name.
 *
 * Invariants
 * 1. The memory is never made unwritable; which of its pages changed is told
 *    by their hashes.
 * 2. `hashes` describes the bytes on disk, of the newest epoch that succeeded,
 *    never those of an attempt.
 * 3. A name that is unprotected stays in the table while the last epoch holds
 *    it, so that protecting it again can go on from there.
 */
#include <recto.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt.h"
#include "state.h"

/* Recursive: a function of the program's protects memory inside a restart. */
pthread_mutex_t ckpt_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

uint64_t ckpt_region_bytes(const struct ckpt_region *region)
{
    size_t size = recto_type_size(region->type);
    uint64_t count = region->is_block ? ckpt_tile_count(region->block.global,
                                                        region->block.ndims)
                                      : region->count;
    return region->present ? count * size : 0;
}

XXH128_hash_t ckpt_region_hash(const void *page, size_t bytes)
{
    return XXH3_128bits(page, bytes);
}

/* Index of the first region whose name is not below `name`. */
static size_t lower_bound(const char *name)
{
    size_t low = 0;
    size_t high = ckpt_state.nregions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(ckpt_state.regions[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct ckpt_region *ckpt_region_find(const char *name)
{
    size_t i = lower_bound(name);
    return i < ckpt_state.nregions &&
                   strcmp(ckpt_state.regions[i]->name, name) == 0
               ? ckpt_state.regions[i]
               : NULL;
}

static struct ckpt_region *region_add(const char *name)
{
    size_t i = lower_bound(name);
    size_t n = ckpt_state.nregions;
    struct ckpt_region **more =
        realloc(ckpt_state.regions, (n + 1) * sizeof(struct ckpt_region *));
    if (more == NULL) {
        return NULL;
    }
    ckpt_state.regions = more;
    struct ckpt_region *region = calloc(1, sizeof *region);
    if (region == NULL) {
        return NULL;
    }
    memcpy(region->name, name, strlen(name) + 1);
    memmove(more + i + 1, more + i, (n - i) * sizeof(struct ckpt_region *));
    more[i] = region;
    ckpt_state.nregions = n + 1;
    return region;
}

static void region_free(struct ckpt_region *region)
{
    ckpt_watch_end(&region->watch);
    free(region->hashes);
    free(region);
}

static int arguments_check(const char *name, const void *p, recto_type type,
                           uint64_t count)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_protect before recto_init");
    }
    if (name == NULL) {
        return base_error(RECTO_EINVAL, "recto_protect: name is NULL");
    }
    int status = base_name_check(name);
    if (status != 0) {
        return status;
    }
    size_t size = recto_type_size(type);
    if (size == 0) {
        return base_error(
            RECTO_EINVAL,
            "recto_protect(\"%s\"): unknown type %d; give RECTO_INT8 and so "
            "on, or a type of recto_type_create",
            name, (int)type);
    }
    if (count > (uint64_t)INT64_MAX / size || (p == NULL && count > 0)) {
        return base_error(
            RECTO_EINVAL,
            "recto_protect(\"%s\"): %llu elements at %p; give a pointer and a "
            "count that fits",
            name, (unsigned long long)count, p);
    }
    if (count > 0 && (recto_is_shared(p) ||
                      recto_is_shared((const char *)p + count * size - 1))) {
        return base_error(RECTO_EINVAL,
                          "recto_protect(\"%s\"): %p is shared memory, which "
                          "checkpoints hold anyway; leave this call away",
                          name, p);
    }
    if (space_segment_find(name) != NULL) {
        return base_error(
            RECTO_EINVAL,
            "recto_protect(\"%s\"): shared memory has that name; give another "
            "name",
            name);
    }
    return 0;
}

static int moving(const char *call, const char *name)
{
    return base_error(RECTO_ESTATE, "%s(\"%s\") while \"%s\" is redistributed",
                      call, name, ckpt_state.moving);
}

/* `block` NULL: all of the memory is the rank's own. */
static int protect(const char *name, void *p, recto_type type, uint64_t count,
                   const struct ckpt_tile *block)
{
    int status = arguments_check(name, p, type, count);
    if (status != 0) {
        return status;
    }
    (void)pthread_mutex_lock(&ckpt_mutex);
    struct ckpt_region *region = ckpt_region_find(name);
    region =
        region == NULL && ckpt_state.moving == NULL ? region_add(name) : region;
    if (ckpt_state.moving != NULL &&
        (block != NULL || strcmp(name, ckpt_state.moving) != 0)) {
        status = moving("recto_protect", name);
    } else if (region == NULL) {
        status = base_error(RECTO_ENOMEM, "recto_protect(\"%s\")", name);
    } else {
        region->present = true;
        region->p = p;
        region->type = type;
        region->count = count;
        region->is_block = block != NULL;
        if (block != NULL) {
            region->block = *block;
        }
    }
    (void)pthread_mutex_unlock(&ckpt_mutex);
    return status;
}

int recto_protect(const char *name, void *p, recto_type type, uint64_t count)
{
    return protect(name, p, type, count, NULL);
}

/* Fills in the block; bounds of each dimension, and of the whole. */
static int block_make(const char *name, recto_type type, int ndims,
                      const uint64_t *global, const uint64_t *start,
                      const uint64_t *local, struct ckpt_tile *block)
{
    uint64_t most = (uint64_t)INT64_MAX / (recto_type_size(type) + 1);
    block->ndims = ndims;
    for (int i = 0; i < ndims; i++) {
        if (global[i] > most || local[i] > global[i] ||
            start[i] > global[i] - local[i]) {
            return base_error(
                RECTO_EINVAL,
                "recto_protect_block(\"%s\"): %llu elements from %llu on are "
                "not inside dimension %d of %llu",
                name, (unsigned long long)local[i],
                (unsigned long long)start[i], i, (unsigned long long)global[i]);
        }
        most /= global[i] > 0 ? global[i] : 1;
        block->global[i] = global[i];
        block->start[i] = start[i];
        block->local[i] = local[i];
    }
    return 0;
}

int recto_protect_block(const char *name, void *p, recto_type type, int ndims,
                        const uint64_t *global, const uint64_t *start,
                        const uint64_t *local)
{
    struct ckpt_tile block = {0};
    if (ndims < 1 || ndims > RECTO_DIMS_MAX || global == NULL ||
        start == NULL || local == NULL) {
        return base_error(RECTO_EINVAL,
                          "recto_protect_block: %d dimensions, of 1 to %d",
                          ndims, RECTO_DIMS_MAX);
    }
    int status = block_make(name != NULL ? name : "", type, ndims, global,
                            start, local, &block);
    return status == 0
               ? protect(name, p, type, ckpt_tile_count(local, ndims), &block)
               : status;
}

static void region_remove(size_t i)
{
    region_free(ckpt_state.regions[i]);
    ckpt_state.nregions--;
    memmove(ckpt_state.regions + i, ckpt_state.regions + i + 1,
            (ckpt_state.nregions - i) * sizeof(struct ckpt_region *));
}

int recto_unprotect(const char *name)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE, "recto_unprotect before recto_init");
    }
    if (name == NULL) {
        return base_error(RECTO_EINVAL, "recto_unprotect: name is NULL");
    }
    int status = 0;
    (void)pthread_mutex_lock(&ckpt_mutex);
    struct ckpt_region *region = ckpt_region_find(name);
    if (ckpt_state.moving != NULL) {
        status = moving("recto_unprotect", name);
    } else if (region == NULL || !region->present) {
        status = base_error(
            RECTO_ENOENT,
            "recto_unprotect(\"%s\"): not protected; give the name that "
            "recto_protect got",
            name);
    } else if (region->uid == 0) {
        region_remove(lower_bound(name));
    } else {
        ckpt_watch_end(&region->watch);
        region->present = false;
        region->p = NULL;
        region->count = 0;
        region->redistribute = NULL;
    }
    (void)pthread_mutex_unlock(&ckpt_mutex);
    return status;
}

void ckpt_region_adopt(struct ckpt_region *region, uint64_t uid, uint64_t bytes,
                       XXH128_hash_t *hashes)
{
    free(region->hashes);
    ckpt_watch_settle(&region->watch);
    region->hashes = hashes;
    region->uid = uid;
    region->saved_bytes = bytes;
}

void ckpt_regions_settle(const struct ckpt_epoch *epoch)
{
    for (size_t i = ckpt_state.nregions; i-- > 0;) {
        struct ckpt_region *region = ckpt_state.regions[i];
        if (!region->present) {
            region_remove(i);
        } else if (region->uid != 0 &&
                   ckpt_epoch_object(epoch, region->uid) == NULL) {
            ckpt_region_adopt(region, 0, 0, NULL);
        }
    }
}

void ckpt_regions_free(void)
{
    for (size_t i = 0; i < ckpt_state.nregions; i++) {
        region_free(ckpt_state.regions[i]);
    }
    free(ckpt_state.regions);
    ckpt_state.regions = NULL;
    ckpt_state.nregions = 0;
}
