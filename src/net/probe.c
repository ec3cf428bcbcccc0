/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be told of MPI and of the machine before MPI starts, for `recto doctor`.
 */
#include <hwloc.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "net/net.h"

void net_library_text(char *text, size_t size)
{
    static char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    int version = 0;
    int part = 0;
    (void)MPI_Get_library_version(library, &length);
    (void)MPI_Get_version(&version, &part);
    library[strcspn(library, "\n")] = '\0';
    (void)snprintf(text, size, "%s, MPI %d.%d", library, version, part);
}

static int count(hwloc_topology_t t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t, type);
    return n > 0 ? n : 0;
}

/* ", 512 pages of 2048 KiB": those beside the smallest, of all NUMA domains. */
static size_t huge_text(hwloc_topology_t t, char *text, size_t size)
{
    hwloc_obj_t node = hwloc_get_obj_by_type(t, HWLOC_OBJ_NUMANODE, 0);
    size_t used = 0;
    for (unsigned i = 1;
         node != NULL && i < node->attr->numanode.page_types_len && used < size;
         i++) {
        unsigned long long pages = 0;
        for (hwloc_obj_t n = node; n != NULL; n = n->next_cousin) {
            pages += i < n->attr->numanode.page_types_len
                         ? n->attr->numanode.page_types[i].count
                         : 0;
        }
        used += (size_t)snprintf(
            text + used, size - used, ", %llu pages of %llu KiB", pages,
            (unsigned long long)node->attr->numanode.page_types[i].size >> 10);
    }
    return used;
}

void net_machine_text(char *text, size_t size)
{
    hwloc_topology_t t;
    (void)snprintf(text, size, "unknown");
    if (hwloc_topology_init(&t) != 0) {
        return;
    }
    if (hwloc_topology_load(t) == 0) {
        int n = snprintf(
            text, size, "%d packages, %d NUMA domains, %d cores, %d threads",
            count(t, HWLOC_OBJ_PACKAGE), count(t, HWLOC_OBJ_NUMANODE),
            count(t, HWLOC_OBJ_CORE), count(t, HWLOC_OBJ_PU));
        (void)huge_text(t, text + n, size - (size_t)n);
    }
    hwloc_topology_destroy(t);
}
