/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Types and attributes of objects as HDF5 has them. Local.
 */
#ifndef RECTO_SRC_CKPT_H5_H
#define RECTO_SRC_CKPT_H5_H

#include <hdf5.h>
#include <stdbool.h>

#include "format.h"

/* The type of the epoch's objects of that type, to be closed; H5I_INVALID_HID on
 * failure. */
hid_t ckpt_h5_type(const struct ckpt_epoch *epoch, recto_type type);

/* An attribute of the object `name` of a file or group: one value, or an array. */
bool ckpt_h5_attribute(hid_t at, const char *name, const char *attribute,
                       hid_t type, uint64_t count, const void *values);
bool ckpt_h5_text(hid_t at, const char *name, const char *attribute,
                  const char *text);
/* All of the object's, to the dataset under its name in a file. */
bool ckpt_h5_attributes(hid_t file, const struct ckpt_epoch *epoch,
                        const struct ckpt_object *object);

/* Version of the library, and how it was built. */
void ckpt_h5_library_text(char *text, size_t size);

#endif
