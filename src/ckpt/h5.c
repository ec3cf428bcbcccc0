/* SPDX-License-Identifier: BSD-3-Clause */
/* Types and attributes for HDF5, see h5.h. */
#include "h5.h"

#include <string.h>

static hid_t native(recto_type type)
{
    switch (type) {
    case RECTO_BYTE:
    case RECTO_UINT8: return H5T_NATIVE_UINT8;
    case RECTO_INT8: return H5T_NATIVE_INT8;
    case RECTO_INT16: return H5T_NATIVE_INT16;
    case RECTO_UINT16: return H5T_NATIVE_UINT16;
    case RECTO_INT32: return H5T_NATIVE_INT32;
    case RECTO_UINT32: return H5T_NATIVE_UINT32;
    case RECTO_INT64: return H5T_NATIVE_INT64;
    case RECTO_UINT64: return H5T_NATIVE_UINT64;
    case RECTO_FLOAT: return H5T_NATIVE_FLOAT;
    case RECTO_DOUBLE: return H5T_NATIVE_DOUBLE;
    default: return H5I_INVALID_HID;
    }
}

/* An array of several elements is a type of HDF5. */
static bool member_insert(hid_t type, const struct base_member *m)
{
    hid_t element = native((recto_type)m->type);
    hsize_t count = m->count;
    hid_t of = m->count > 1 ? H5Tarray_create2(element, 1, &count) : element;
    bool good = of >= 0 && H5Tinsert(type, m->name, m->offset, of) >= 0;
    if (m->count > 1 && of >= 0) {
        (void)H5Tclose(of);
    }
    return good;
}

hid_t ckpt_h5_type(const struct ckpt_epoch *epoch, recto_type type)
{
    const struct ckpt_struct *s = ckpt_struct_of(epoch, type);
    if (s == NULL) {
        return H5Tcopy(native(type));
    }
    hid_t record = H5Tcreate(H5T_COMPOUND, s->bytes);
    bool good = record >= 0;
    for (uint64_t i = 0; i < s->count && good; i++) {
        good = member_insert(record, &epoch->members[s->first + i]);
    }
    if (!good && record >= 0) {
        (void)H5Tclose(record);
    }
    return good ? record : H5I_INVALID_HID;
}

bool ckpt_h5_attribute(hid_t at, const char *name, const char *attribute,
                       hid_t type, uint64_t count, const void *values)
{
    hsize_t several = count;
    hid_t space = count == 1 ? H5Screate(H5S_SCALAR)
                             : H5Screate_simple(1, &several, NULL);
    hid_t create = H5Pcreate(H5P_ATTRIBUTE_CREATE);
    hid_t made = H5Pset_char_encoding(create, H5T_CSET_UTF8) < 0
                     ? H5I_INVALID_HID
                     : H5Acreate_by_name(at, name, attribute, type, space,
                                         create, H5P_DEFAULT, H5P_DEFAULT);
    bool good = made >= 0 && H5Awrite(made, type, values) >= 0;
    good = (made < 0 || H5Aclose(made) >= 0) && good;
    (void)H5Pclose(create);
    (void)H5Sclose(space);
    return good;
}

static bool ascii(const char *text)
{
    while ((*text & 0x80) == 0 && *text != '\0') {
        text++;
    }
    return *text == '\0';
}

bool ckpt_h5_text(hid_t at, const char *name, const char *attribute,
                  const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    bool good = H5Tset_size(type, strlen(text) + 1) >= 0 &&
                (ascii(text) || H5Tset_cset(type, H5T_CSET_UTF8) >= 0) &&
                ckpt_h5_attribute(at, name, attribute, type, 1, text);
    (void)H5Tclose(type);
    return good;
}

bool ckpt_h5_attributes(hid_t file, const struct ckpt_epoch *epoch,
                        const struct ckpt_object *object)
{
    uint64_t count = 0;
    bool good = true;
    const struct ckpt_attribute *list =
        ckpt_object_attributes(epoch, object->uid, &count);
    for (uint64_t i = 0; i < count && good; i++) {
        const struct ckpt_attribute *a = &list[i];
        good = a->count > 0
                   ? ckpt_h5_attribute(file, object->name, a->name,
                                       native((recto_type)a->type), a->count,
                                       a->text)
                   : ckpt_h5_text(file, object->name, a->name, a->text);
    }
    return good;
}

void ckpt_h5_library_text(char *text, size_t size)
{
    unsigned version[3] = {0, 0, 0};
    hbool_t threads = false;
    (void)H5get_libversion(&version[0], &version[1], &version[2]);
    (void)H5is_library_threadsafe(&threads);
#ifdef H5_HAVE_PARALLEL
    const char *parallel = "parallel";
#else
    const char *parallel = "serial";
#endif
    (void)snprintf(text, size, "%u.%u.%u, %s, %s", version[0], version[1],
                   version[2], parallel,
                   threads ? "thread-safe" : "not thread-safe");
}
