# SPDX-License-Identifier: BSD-3-Clause
"""Checks the Spack recipe as far as that goes without Spack: it is read and its methods are
called with stand-ins for Spack's modules, as before and as since Spack 1.0. It uses only
names that both have; CMake options that it sets, with every value of each variant, are
there; version and dependencies are those of the project; it may be found as both want it.
Its stand-alone tests run for real on an installed Recto."""
import ast
import builtins
import contextlib
import os
import re
import shutil
import sys
import types

from common import BUILD, SOURCE, WORK, fresh, need, say

RECIPE = SOURCE / "spack" / "packages" / "recto" / "package.py"

# What CMake looks for, and Spack's names of it.
SPACK = {"MPI": "mpi", "HDF5": "hdf5", "PkgConfig": "pkgconfig", "hwloc": "hwloc",
         "libxxhash": "xxhash", "liblz4": "lz4", "libzstd": "zstd", "libisal": "isa-l",
         "zlib": "zlib-api", "check": "check", "PNG": "libpng"}
WITHOUT = {"Threads", "OpenMP"}  # come with the compiler


class Executable:
    """Spack's, to the extent that the recipe uses it."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, *arguments, output=None, error=None):
        text = say(self.path, *arguments)
        return text if output is str else None


def which(*names, required=False):
    paths = [p for p in (shutil.which(str(name)) for name in names) if p]
    need(paths or not required, f"{names} not found")
    return Executable(paths[0]) if paths else None


class SkipTest(Exception):
    pass


class Prefix(str):
    """A path whose attributes are paths in it."""

    def __getattr__(self, name):
        return Prefix(os.path.join(self, name))


class CMakePackage:
    run_tests = True

    def define(self, name, value):
        return f"-D{name}:BOOL={'ON' if value else 'OFF'}"

    def define_from_variant(self, name, variant):
        return self.define(name, self.values[variant])


class Spec(dict):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def satisfies(self, text):
        return self.values[text[1:]] == (text[0] == "+")


def directives(record):
    """Spack's directives, which note what they are given."""
    def directive(name):
        return lambda *a, **k: record.append((name, a, k))
    return {name: directive(name) for name in
            ["version", "variant", "depends_on", "conflicts", "license", "maintainers"]}


def read_recipe(new):
    """The class, what its directives were given, and what it has from Spack."""
    record = []
    package = types.ModuleType("spack.package")
    names = {**directives(record), "Executable": Executable, "which": which,
             "SkipTest": SkipTest, "working_dir": contextlib.chdir
             if hasattr(contextlib, "chdir") else None}
    modules = {"spack": types.ModuleType("spack"), "spack.package": package}
    if new:
        path = "spack_repo.builtin.build_systems.cmake"
        for n in range(1, 5):
            part = ".".join(path.split(".")[:n])
            modules[part] = types.ModuleType(part)
        modules[path].CMakePackage = CMakePackage
    else:
        names["CMakePackage"] = CMakePackage
    package.__dict__.update(names)
    package.__all__ = list(names)
    text = RECIPE.read_text(encoding="utf-8")
    scope = {"__file__": str(RECIPE), "__name__": "recto"}
    sys.modules.update(modules)
    try:
        exec(compile(text, str(RECIPE), "exec"), scope)  # pylint: disable=exec-used
    finally:
        for name in modules:
            del sys.modules[name]
    known = set(names) | set(scope) | set(dir(builtins))
    tree = ast.parse(text)
    stored = {n.id for n in ast.walk(tree)
              if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    stored |= {a.arg for n in ast.walk(tree) if isinstance(n, ast.arguments) for a in n.args}
    unknown = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - known - stored
    need(not unknown, f"not in spack.package, or not imported: {unknown}")
    return scope["Recto"], record


def given(record, name):
    return [(a, k) for n, a, k in record if n == name]


def check_text(recipe, record):
    need(recipe.__doc__ and recipe.homepage and recipe.git, "docstring, homepage, git")
    need(given(record, "license") == [(("BSD-3-Clause",), {})], "license")
    need(given(record, "maintainers"), "maintainers")
    for path in recipe.sanity_check_is_file:
        need((WORK / "prefix" / path).is_file(), f"sanity_check_is_file: {path}")
    for number, line in enumerate(RECIPE.read_text(encoding="utf-8").splitlines(), 1):
        need(len(line) < 100, f"line {number} of the recipe is too long")


def check_version(record):
    numbers = re.findall(r"^#define RECTO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$",
                         (SOURCE / "include" / "recto.h").read_text(encoding="utf-8"), re.M)
    versions = [a[0] for a, _ in given(record, "version") if a[0] != "main"]
    need(versions[0] == ".".join(numbers), f"newest version {versions[0]} of {numbers}")


def check_options(recipe, record):
    """Each option that is set exists in CMakeLists.txt; each variant sets one."""
    text = (SOURCE / "CMakeLists.txt").read_text(encoding="utf-8")
    defaults = {a[0]: k["default"] for a, k in given(record, "variant")}
    first = None
    for variant in [None, *defaults]:
        package = recipe()
        package.values = {**defaults}
        if variant:
            package.values[variant] = not defaults[variant]
        package.spec = Spec(package.values)
        options = package.cmake_args()
        for option in options:
            name = re.match(r"-D(\w+):BOOL=(ON|OFF)$", option).group(1)
            need(re.search(rf"^(option|set)\({name}\b", text, re.M), f"no option {name}")
        first = first or options
        need(variant is None or options != first, f"variant {variant} sets no option")


def cmake_needs(file, required):
    text = (SOURCE / file).read_text(encoding="utf-8")
    names = set(re.findall(r"find_package\((\w+) " + required, text))
    names |= set(re.findall(r"pkg_check_modules\(\w+ (?:REQUIRED )?IMPORTED_TARGET (\w+)",
                            text))
    unknown = names - WITHOUT - set(SPACK)
    need(not unknown, f"{file}: what is {unknown} in Spack?")
    return {SPACK[name] for name in names - WITHOUT}


def check_dependencies(record):
    found = {}
    for a, k in given(record, "depends_on"):
        found[re.split("[@+ ]", a[0])[0]] = k
        for condition in filter(None, [k.get("when")]):
            need(condition[1:] in {v[0] for v, _ in given(record, "variant")}, condition)
    always = {n for n, k in found.items() if not k.get("when") and k.get("type") != "test"}
    need(always == cmake_needs("CMakeLists.txt", "REQUIRED") | {"c", "cmake"},
         f"dependencies: {always}, CMake: {cmake_needs('CMakeLists.txt', 'REQUIRED')}")
    need({n for n, k in found.items() if k.get("when") == "+apps"} ==
         cmake_needs("apps/CMakeLists.txt", "REQUIRED"), "dependencies of +apps")
    need(cmake_needs("mpi-tests/CMakeLists.txt", "REQUIRED") <=
         {n for n, k in found.items() if k.get("type") == "test"}, "dependencies of tests")
    texts = [a[0] for a, _ in given(record, "depends_on")]
    need([t for t in texts if re.match(r"hdf5@.*\+mpi", t)], "hdf5+mpi")


def check_folders():
    """Where Spack before 1.0, since 1.0, and by the repository's address looks."""
    old = (SOURCE / "spack" / "repo.yaml").read_text(encoding="utf-8")
    need(re.search(r"^repo:\n  namespace: recto\n", old, re.M) and "api" not in old, old)
    folder = SOURCE / "spack" / "spack_repo" / "recto"
    new = (folder / "repo.yaml").read_text(encoding="utf-8")
    need(re.search(r"^repo:\n  namespace: recto\n  api: v2\.0\n", new, re.M), new)
    need(os.readlink(folder / "packages") == "../../packages", "packages is no link")
    need(os.path.samefile(folder / "packages" / "recto" / "package.py", RECIPE), "link")
    index = (SOURCE / "spack-repo-index.yaml").read_text(encoding="utf-8")
    need(re.search(r"^repo_index:\n  paths:\n  - spack/spack_repo/recto\n", index, re.M), index)


def run_tests(recipe):
    """`spack test run recto`."""
    prefix = WORK / "prefix"
    package = recipe()
    package.values = {"shared": True, "fortran": (prefix / "include/recto/fortran").exists()}
    package.spec = Spec(package.values)
    package.prefix = Prefix(prefix)
    folder = WORK / "bin"
    folder.mkdir()
    launcher = folder / "mpirun"
    launcher.write_text(f'#!/bin/sh\nshift 2\nexec {os.environ["TEST_MPIRUN"]} {WORK}/run 2 '
                        f'{WORK}/"$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    package.spec["mpi"] = types.SimpleNamespace(
        prefix=Prefix(WORK), mpicc=shutil.which("mpicc"), mpifc=shutil.which("mpifort"))
    tests = sorted(name for name in dir(recipe) if name.startswith("test_") and
                   callable(getattr(recipe, name)))
    need(len(tests) > 1, "no stand-alone tests")
    for name in tests:
        need(getattr(recipe, name).__doc__, f"{name} has no docstring")
        try:
            getattr(package, name)()
            print(f"{name} passed")
        except SkipTest as reason:
            print(f"{name} skipped: {reason}")


def main():
    fresh()
    say("cmake", "--install", BUILD, "--prefix", WORK / "prefix")
    check_folders()
    for new in [False, True]:
        recipe, record = read_recipe(new)
        check_text(recipe, record)
        check_version(record)
        check_options(recipe, record)
        check_dependencies(record)
    run_tests(recipe)
    print("passed")


main()
