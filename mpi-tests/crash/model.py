# SPDX-License-Identifier: BSD-3-Clause
"""model.h in Python: what every byte of the victim's memory is after a step."""
import os
import sys

from common import skip

try:
    import h5py
    import numpy
except ImportError as missing:
    # The system's Python has Debian's python3-h5py; this may be another one.
    SYSTEM = "/usr/bin/python3"
    if sys.executable != SYSTEM and os.access(SYSTEM, os.X_OK):
        os.execv(SYSTEM, [SYSTEM, "-B"] + sys.argv)
    skip(str(missing))

# As in model.h: name, id, type, dimensions.
ARRAYS = [("grid/field", 0, "<f8", (64, 80)), ("counts", 1, "<i4", (5001,)),
          ("cube", 2, "<u8", (7, 10, 11)), ("raw", 3, "u1", (9001,))]
SIZES = [0, 1, 7, 4095, 4096, 4097, 8191, 12288, 9000]


def mix(x):
    x ^= x >> numpy.uint64(31)
    x *= numpy.uint64(0x9E3779B97F4A7C15)
    x ^= x >> numpy.uint64(29)
    return x * numpy.uint64(0xBF58476D1CE4E5B9)


def model(number, start, count, step):
    """The bytes [start, start + count) of an object after a step."""
    offset = numpy.arange(start, start + count, dtype=numpy.uint64)
    page = (offset // numpy.uint64(4096)).astype(numpy.int64)
    changed = step - (step + page) % 3
    key = (numpy.uint64(number << 48) ^
           (changed.astype(numpy.uint64) << numpy.uint64(24)) ^ offset)
    value = (mix(key) >> numpy.uint64(40)).astype(numpy.uint8)
    return numpy.where(changed < 0, numpy.uint8(0), value)


def region(index, rank):
    extra = index + rank if index >= 9 else 0
    return index * 601, SIZES[index % 9] + extra
