# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the Debian packages depend on the libraries that they use, hold what they should
and no RPATH into the system, and that dpkg installs them into an empty root, where the
commands run, and removes them without a trace."""
import re
import shutil
import sys

from common import BUILD, WORK, fresh, need, say


def make_packages():
    say("cpack", "-G", "DEB", "-B", WORK / "made", "--config", BUILD / "CPackConfig.cmake")
    return {say("dpkg-deb", "-f", file, "Package").strip(): file
            for file in (WORK / "made").glob("*.deb")}


def check_contents(packages):
    need(set(packages) == {"recto", "recto-dev"}, f"packages: {set(packages)}")
    depends = say("dpkg-deb", "-f", packages["recto"], "Depends")
    for library in ["libc6", "hdf5", "hwloc", "isal", "lz4", "xxhash", "zstd", "mpi"]:
        need(library in depends, f"no {library} in {depends}")
    depends = say("dpkg-deb", "-f", packages["recto-dev"], "Depends")
    need(re.match(r"recto \(= [\d.]+\), ", depends), depends)
    runtime = say("dpkg-deb", "-c", packages["recto"])
    for name in ["bin/recto", "bin/recto-files", "librecto.so.0", "modulefiles", "LICENSE"]:
        need(name in runtime, f"no {name} in\n{runtime}")
    need("include" not in runtime and "librecto.a" not in runtime, runtime)
    dev = say("dpkg-deb", "-c", packages["recto-dev"])
    for name in ["recto.h", "librecto.so ->", "librecto.a", "recto.pc", "recto-config.cmake"]:
        need(name in dev, f"no {name} in\n{dev}")


def files_of(root):
    return {str(p.relative_to(root)) for p in root.rglob("*")
            if not p.relative_to(root).as_posix().startswith("var/lib/dpkg")}


def dpkg(root, *arguments):
    """Depends are not there in that root: the loader finds them in the machine's own."""
    return say("dpkg", f"--root={root}", f"--log={root}.log", "--force-depends",
               "--force-not-root", "--force-script-chrootless", *arguments)


def check_install(packages):
    root = WORK / "root"
    (root / "var" / "lib" / "dpkg" / "updates").mkdir(parents=True)
    for name in ["status", "available"]:
        (root / "var" / "lib" / "dpkg" / name).touch()
    before = files_of(root)
    dpkg(root, "-i", *packages.values())
    recto = root / "usr" / "bin" / "recto"
    need(say(recto, "--version").startswith("recto "), "recto --version")
    for name in ["recto", "recto-files", "../lib/librecto.so.0"]:
        file = recto.parent / name
        need("not found" not in say("ldd", file), f"{name}: a library is not found")
        paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", say("readelf", "-d", file))
        need("/usr" not in "".join(paths), f"{name}: RPATH {paths}")
    dpkg(root, "--purge", *packages)
    left = files_of(root) - before
    need(not left, f"left behind: {left}")


def main():
    if not shutil.which("dpkg-shlibdeps"):
        print("skip: no dpkg-shlibdeps")
        sys.exit(77)
    fresh()
    packages = make_packages()
    check_contents(packages)
    check_install(packages)
    print("passed")


main()
