# SPDX-License-Identifier: BSD-3-Clause
"""Shows that an installed Recto can be moved and used: nothing in it names the folders that
it was built in, installed in or found HDF5 in; the SONAME is right; a program outside the
tree is built and run on two ranks by pkg-config (shared, --static, gcc and clang, C11 and
C++17), by find_package (components, versions, C++ alone), and by the module files where a
module system is there; the examples are built by one command."""
import os
import pathlib
import re
import shutil

from common import BUILD, SOURCE, WORK, fresh, need, say

HERE = pathlib.Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-D_DEFAULT_SOURCE",
          "-DOMPI_SKIP_MPICXX", "-DMPICH_SKIP_MPICXX"]


def run(program, env=None, word="good"):
    """A program on two ranks that share no memory as the protocols see it."""
    settings = {"RECTO_NODE": "rank", "RECTO_CKPT_DIR": str(WORK / "run" / "ckpt")}
    text = say(os.environ["TEST_MPIRUN"], WORK / "run", 2, program,
               env={**settings, **(env or {})})
    need(word in text, f"{program} printed\n{text}")
    print(f"ran {program.relative_to(WORK)}")


def cache(name):
    text = (BUILD / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(rf"^{name}:\w+=(.*)$", text, re.M).group(1)


def install():
    """The prefix, moved to where nothing knows it."""
    first, moved = WORK / "first", WORK / "moved"
    say("cmake", "--install", BUILD, "--prefix", first)
    first.rename(moved)
    return moved


def check_leaks(prefix):
    forbidden = [str(SOURCE), str(BUILD), str(WORK / "first"), cache("CMAKE_INSTALL_PREFIX")]
    forbidden += [str(pathlib.Path(p).parent) for p in re.findall(
        r"^HDF5_C_LIBRARY_\w+:FILEPATH=(/.*)$",
        (BUILD / "CMakeCache.txt").read_text(encoding="utf-8"), re.M)]
    count = 0
    for folder in ["lib/cmake", "lib/pkgconfig", "share/modulefiles", "include"]:
        for file in sorted((prefix / folder).rglob("*")):
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace")
                for path in forbidden:
                    need(path not in text, f"{file} names {path}")
                need(".so" not in re.sub(r"librecto(_fortran)?\.so", "", text) or
                     file.suffix == ".h", f"{file} names a library file")
                count += 1
    need(count > 15, f"only {count} files looked at")
    for name in ["lib/librecto.so", "bin/recto", "bin/recto-files"]:
        text = say("readelf", "-d", prefix / name)
        paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", text)
        for path in forbidden[:3]:
            need(path not in "".join(paths), f"{name}: RPATH {paths}")
    print(f"{count} files name no folder of the build")


def check_soname(prefix):
    version = say(prefix / "bin" / "recto", "--version").split()[1]
    library = prefix / "lib" / "librecto.so"
    need("soname: [librecto.so.0]" in say("readelf", "-d", library), "SONAME")
    need(os.readlink(library) == "librecto.so.0", "librecto.so")
    need(os.readlink(f"{library}.0") == f"librecto.so.{version}", "librecto.so.0")


def pkg_config(prefix, *arguments, module="recto"):
    return say("pkg-config", *arguments, module,
               env={"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}).split()


def check_pkg_config(prefix):
    flags = pkg_config(prefix, "--cflags")
    need(f"-I{prefix}" in "".join(flags), f"--cflags: {flags}")
    libs = pkg_config(prefix, "--libs")
    need(not [f for f in libs if f[:2] == "-l" and f != "-lrecto"], f"--libs: {libs}")
    here = {"LD_LIBRARY_PATH": str(prefix / "lib")}
    for compiler, language, standard in [
            ("gcc", "c", "c11"), ("clang-14", "c", "c11"), ("g++", "c++", "c++17"),
            ("clang++-14", "c++", "c++17")]:
        if shutil.which(compiler) is None:
            print(f"no {compiler}")
            continue
        program = WORK / f"pc-{compiler}"
        say(compiler, f"-std={standard}", *STRICT, *flags, "-x", language,
            HERE / "consumer.c", "-x", "none", "-o", program, *libs,
            *pkg_config_mpi(prefix))
        run(program, here)


def pkg_config_mpi(prefix):
    """The consumer calls MPI itself."""
    return [f for f in pkg_config(prefix, "--static", "--libs") if "mpi" in f and
            "hdf5" not in f]


def check_static(prefix):
    """librecto.a by its own module, and by --static where it is the only one."""
    alone = WORK / "alone"
    shutil.copytree(prefix, alone, symlinks=True)
    for file in (alone / "lib").glob("librecto.so*"):
        file.unlink()
    for name, libs in [("pc-static", pkg_config(prefix, "--libs", module="recto-static")),
                       ("pc-alone", pkg_config(alone, "--static", "--libs"))]:
        program = WORK / name
        say("gcc", "-std=c11", *STRICT, *pkg_config(alone, "--cflags"),
            HERE / "consumer.c", "-o", program, *libs)
        need("librecto" not in say("ldd", program), f"{name} is not static")
        run(program)


def check_cmake(prefix):
    for folder, programs in [("project", ["c-default", "c-static", "cxx-shared"]),
                             ("cxx", ["cxx-alone"])]:
        build = WORK / f"cmake-{folder}"
        say("cmake", "-G", "Ninja", "-S", HERE / folder, "-B", build,
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCONSUMER={HERE / 'consumer.c'}")
        say("cmake", "--build", build)
        for program in programs:
            shared = "librecto.so.0 =>" in say("ldd", build / program)
            need(shared == ("static" not in program), f"{program}: shared is {shared}")
            run(build / program)


def check_examples(prefix):
    """By one command, in Fortran too where the module is; there by pkg-config as well."""
    folder = prefix / "share" / "doc" / "recto" / "examples"
    if not folder.is_dir():
        print("no examples")
        return
    say("sh", "-c", f"cmake -S {folder} -B {WORK}/examples "
        f"-DCMAKE_PREFIX_PATH={prefix} && cmake --build {WORK}/examples")
    run(WORK / "examples" / "hello", word="ok")
    if not (prefix / "include" / "recto" / "fortran").is_dir():
        print("no Fortran module")
        return
    run(WORK / "examples" / "hello_fortran", word="ok")
    program = WORK / "pc-fortran"
    say("gfortran", *pkg_config(prefix, "--cflags", module="recto-fortran"),
        folder / "hello.f90", "-o", program,
        *pkg_config(prefix, "--libs", module="recto-fortran"))
    run(program, {"LD_LIBRARY_PATH": str(prefix / "lib")}, word="ok")


def check_modules(prefix):
    """`module load` gives what a program needs to run and to be built."""
    for systems in [("/usr/share/modules/init/bash",), ("/usr/share/lmod/lmod/init/bash",)]:
        if not os.path.exists(systems[0]):
            continue
        script = (f". {systems[0]}; module use {prefix}/share/modulefiles; "
                  "module load recto && recto --version && pkg-config --modversion recto "
                  "&& echo $LD_LIBRARY_PATH && module unload recto && ! command -v recto")
        text = say("bash", "-c", script, env={"PATH": "/usr/bin:/bin"})
        need(f"{prefix}/lib" in text and "recto 0" in text, text)
        print(f"loaded the module by {systems[0]}")


def main():
    fresh()
    prefix = install()
    check_leaks(prefix)
    check_soname(prefix)
    check_pkg_config(prefix)
    check_static(prefix)
    check_cmake(prefix)
    check_examples(prefix)
    check_modules(prefix)
    print("passed")


main()
