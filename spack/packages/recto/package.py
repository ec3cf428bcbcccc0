# SPDX-License-Identifier: BSD-3-Clause
import os

from spack.package import *


class Recto(CMakePackage):
    """User-level virtual memory for MPI programs: one shared address space for
    all ranks, kept coherent by page faults, checkpointed to HDF5."""

    # The repository that this recipe lies in.
    git = "file://" + os.path.realpath(
        os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../..")
    )

    license("BSD-3-Clause")

    version("main", branch="main")
    version("0.1.0", tag="v0.1.0")

    variant("shared", default=True, description="Build a shared library")
    variant("apps", default=True, description="Build the programs on Recto")
    variant("debug", default=False, description="Check invariants at run time")

    depends_on("c", type="build")
    depends_on("cmake@3.20:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10.3: +mpi")
    depends_on("hwloc@2:")
    depends_on("xxhash@0.8:")
    depends_on("lz4@1.9:")
    depends_on("zstd@1.4:")
    depends_on("zlib-api")
    depends_on("isa-l@2.30:")
    depends_on("libpng", when="+apps")
    depends_on("check", type="test")

    conflicts("platform=darwin", msg="Recto needs Linux")
    conflicts("platform=windows", msg="Recto needs Linux")

    def cmake_args(self):
        return [
            self.define_from_variant("BUILD_SHARED_LIBS", "shared"),
            self.define_from_variant("RECTO_BUILD_APPS", "apps"),
            self.define_from_variant("RECTO_DEBUG", "debug"),
            self.define("RECTO_BUILD_TESTS", self.run_tests),
        ]
