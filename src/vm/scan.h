/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scan: which pages of a part of memory were written, by the kernel's own record
 * (UFFD_FEATURE_WP_ASYNC, PAGEMAP_SCAN). Whole pages; errors are errno values; all but
 * probe and fork are async-signal-safe if `run` is.
 */
#ifndef RECTO_SRC_VM_SCAN_H
#define RECTO_SRC_VM_SCAN_H

#include <stdbool.h>
#include <stdint.h>

/* 0 when it works here, or RECTO_EUNSUPPORTED with a message. */
int vm_scan_probe(void);
void vm_scan_finish(void);
void vm_scan_fork_prepare(void);
void vm_scan_fork_parent(void);
void vm_scan_fork_child(void);
bool vm_scan_watches(void); /* are there any? */

/* A mapping has one userfaultfd: EBUSY where another is registered. Pages count as
 * written until they were scanned once. */
int vm_scan_register(uintptr_t low, uintptr_t high);
void vm_scan_unregister(uintptr_t low, uintptr_t high);

/* Tells pages written since they were last scanned as runs, in ascending order, and
 * arms them. `absent_too`: those without an entry, which then get a marker. After an
 * error some may be armed that were not told of. */
typedef void (*vm_scan_run)(uintptr_t low, uintptr_t high, void *argument);
int vm_scan_written(uintptr_t low, uintptr_t high, bool absent_too,
                    vm_scan_run run, void *argument);
/* The same of pages that have memory behind their entry, and no others. */
int vm_scan_present(uintptr_t low, uintptr_t high, vm_scan_run run,
                    void *argument);

#endif
