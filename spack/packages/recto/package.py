# SPDX-License-Identifier: BSD-3-Clause
import os

try:
    from spack_repo.builtin.build_systems.cmake import CMakePackage
except ImportError:  # before Spack 1.0 it comes with spack.package
    pass

from spack.package import *


class Recto(CMakePackage):
    """User-level virtual memory for MPI programs: the ranks share one address
    space, which page faults keep coherent, and which is saved in incremental
    checkpoints (HDF5), from which a job goes on after it lost a node."""

    # Recto has no public home yet: sources come from the repository that this recipe
    # lies in.
    git = "file://" + os.path.realpath(
        os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../..")
    )
    homepage = git

    maintainers()  # GitHub names; none yet

    license("BSD-3-Clause")

    # The stand-alone tests compile programs.
    test_requires_compiler = True

    version("main", branch="main")
    version("0.1.0", tag="v0.1.0")

    variant("shared", default=True, description="Build a shared library, too")
    variant("apps", default=False, description="Build the programs on Recto")
    variant("fortran", default=False, description="Build the Fortran module")
    variant("docs", default=True, description="Install the documentation, with manual pages")
    variant("slurm", default=False, description="Test with a Slurm of the tests' own")
    variant("debug", default=False, description="Check invariants at run time")
    # No variant leaves compression out: what one build writes every other must read.

    depends_on("c", type="build")
    depends_on("fortran", type="build", when="+fortran")
    depends_on("cmake@3.20:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("python@3.7:", type="build", when="+docs")  # manual pages

    depends_on("mpi@3:")
    depends_on("hdf5@1.10.5: +mpi")
    depends_on("hwloc@2:")
    depends_on("xxhash@0.8:")
    depends_on("lz4@1.9:")
    depends_on("zstd@1.4:")
    depends_on("zlib-api")
    depends_on("isa-l@2.30:")
    depends_on("libpng", when="+apps")

    depends_on("check", type="test")
    depends_on("slurm", type="test", when="+slurm")

    conflicts("platform=darwin", msg="Recto needs Linux")
    conflicts("platform=windows", msg="Recto needs Linux")

    sanity_check_is_file = [
        os.path.join("include", "recto.h"),
        os.path.join("bin", "recto"),
        os.path.join("bin", "recto-files"),
    ]

    def cmake_args(self):
        return [
            self.define_from_variant("BUILD_SHARED_LIBS", "shared"),
            self.define_from_variant("RECTO_BUILD_APPS", "apps"),
            self.define_from_variant("RECTO_FORTRAN", "fortran"),
            self.define_from_variant("RECTO_DOCS", "docs"),
            self.define_from_variant("RECTO_SLURM_TESTS", "slurm"),
            self.define_from_variant("RECTO_DEBUG", "debug"),
            self.define("RECTO_BUILD_TESTS", self.run_tests),
        ]

    def check(self):
        """The tests of one process and of some ranks on this machine, minutes; those
        of lost nodes need root, those of all configurations hours."""
        labels = "^(unit|mpi)$" if self.spec.satisfies("~slurm") else "^(unit|mpi|cluster)$"
        with working_dir(self.build_directory):
            ctest = which("ctest")
            ctest("--output-on-failure", "-L", labels, "-L", "^ci$", "-E", "^install\\.")

    # ---- of the installed package: spack test run recto --------------------------------

    program_c = r"""
#include <recto.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    int64_t *x;
    if (recto_init(&argc, &argv) != 0 ||
        (x = (int64_t *)recto_alloc("x", 2 * sizeof *x, NULL)) == NULL) {
        fprintf(stderr, "%s\n", recto_last_error());
        return 1;
    }
    x[recto_rank()] = 20 + recto_rank();
    recto_barrier();
    if (recto_rank() == 0) printf("sum %d\n", (int)(x[0] + x[1]));
    return recto_finalize() != 0;
}
"""

    program_fortran = r"""
program main
  use recto
end program
"""

    def library_flags(self):
        """For a compiler that knows MPI, without HDF5 and the rest."""
        folders = [self.prefix.lib, self.prefix.lib64]
        libs = [folder for folder in folders if os.path.isdir(folder)]
        flags = ["-I" + self.prefix.include, "-I" + self.prefix.include.recto.fortran]
        flags += ["-L" + folder for folder in libs]
        return flags + ["-Wl,-rpath," + folder for folder in libs]

    def run_two_ranks(self, program):
        launcher = which(self.spec["mpi"].prefix.bin.mpirun) or which("mpirun", "srun")
        if launcher is None:
            raise SkipTest("neither mpirun nor srun is here")
        return launcher("-n", "2", program, output=str, error=str)

    def test_command(self):
        """the command says its version"""
        recto = which(self.prefix.bin.recto, required=True)
        output = recto("--version", output=str)
        assert output.startswith("recto ")

    def test_two_ranks(self):
        """compile a program, and run it on two ranks that share memory"""
        if self.spec.satisfies("~shared"):
            raise SkipTest("needs librecto.so")
        with open("two_ranks.c", "w") as f:
            f.write(self.program_c)
        mpicc = Executable(self.spec["mpi"].mpicc)
        mpicc("two_ranks.c", "-o", "two_ranks", *self.library_flags(), "-lrecto")
        assert "sum 41" in self.run_two_ranks("./two_ranks")

    def test_fortran(self):
        """compile a program that uses the Fortran module"""
        if self.spec.satisfies("~fortran") or self.spec.satisfies("~shared"):
            raise SkipTest("needs the Fortran module and librecto.so")
        with open("uses.f90", "w") as f:
            f.write(self.program_fortran)
        mpifc = Executable(self.spec["mpi"].mpifc)
        mpifc(*self.library_flags(), "uses.f90", "-o", "uses", "-lrecto_fortran", "-lrecto")
