# SPDX-License-Identifier: BSD-3-Clause
"""docs_blocks.py

Compiles and runs every code block of README.md, CONTRIBUTING.md, docs/*.md and the
examples' README, and prints what was done with each. By language:

    c, fortran  a whole program: compiled without a warning, run on 2 ranks
    sh          run by bash in the page's folder, whose blocks follow one another
    cmake       put behind a project with an executable `program`, which is built
    python, gdb run
    output      what the block before printed; "…" stands for anything, in a line or
                alone for lines
    text        not run: drawings, what a file looks like

A comment before the block says otherwise:

    <!-- test: inside             the block is a part of a program that has called
    DECLARATIONS -->              recto_init and has `rank` and `ranks`; what stands in the
                                  comment is put before it
    <!-- test: file NAME -->      it is also written to NAME in the page's folder
    <!-- test: only NAME -->      it is written to NAME, for blocks that follow
    <!-- test: options WHY -->    sh that cannot run here: checked by bash -n, and that programs
                                  and commands have the options that it gives them
    <!-- test: syntax WHY -->     sh that cannot run here: checked by bash -n

A block of another language or rule fails, and so do commands that are indented
instead of fenced. In the page's folder are include/, build/release/bin and lib/ of the
build, and apps/; Recto is installed in $HOME/recto."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

from pages import SOURCE, pages

BUILD = pathlib.Path(os.environ["TEST_BUILD"])
WORK = pathlib.Path(os.environ["TEST_WORK"])
MPIRUN = os.environ["TEST_MPIRUN"]
RANKS = "2"
LIMIT = 100  # seconds for one command: none hangs
COMMANDS = re.compile(
    r"(\$ )?(sudo |\w+=\S+ )*(mpirun|mpicc|cc|cmake|ctest|recto|export|sbatch|srun|spack|bin/\S+|"
    r"\./\S+|pkg-config|find_package|handle|source|git|cd) ")

C_FRAME = """#include <math.h>
#include <mpi.h>
#include <recto.h>
#include <recto/mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{{
    if (recto_init(&argc, &argv) != 0) {{
        return fprintf(stderr, "%s\\n", recto_last_error()), 1;
    }}
    int rank = recto_rank(), ranks = recto_size();
    {given}
#line {line} "{page}"
{text}
    return recto_finalize() != 0;
}}
"""
FORTRAN_FRAME = """program fragment
  use recto
  use, intrinsic :: iso_fortran_env
  implicit none
  integer :: rank, ranks
  {given}
  call recto_init()
  rank = recto_rank()
  ranks = recto_size()
{text}
  call recto_finalize()
end program
"""
CMAKE_FRAME = """cmake_minimum_required(VERSION 3.20)
project(fragment LANGUAGES C)
add_executable(program program.c)
"""
CMAKE_PROGRAM = "#include <recto.h>\nint main(void) { return recto_version()[0] == 0; }\n"


class Wrong(Exception):
    """A block is not as it should be."""


def environment():
    """As cmake/mpirun-test makes it, for blocks that start mpirun themselves."""
    prefix = WORK / "home" / "recto"
    env = {"HOME": str(WORK / "home"),
           "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
           "OMPI_MCA_hwloc_base_binding_policy": "none",
           "OMPI_MCA_btl_base_warn_component_unused": "0",
           "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
           "PATH": f"{prefix}/bin:{os.environ['PATH']}",
           "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig",
           "LD_LIBRARY_PATH": f"{prefix}/lib", "CMAKE_PREFIX_PATH": str(prefix)}
    if not shutil.which("ssh") and not shutil.which("rsh"):
        env["OMPI_MCA_plm_rsh_agent"] = ""
    return {**os.environ, **env}


def say(command, folder):
    """Runs a command that must succeed; what it printed on stdout."""
    try:
        result = subprocess.run(
            list(map(str, command)), cwd=folder, env=environment(), timeout=LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, check=False)
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"{command[0]}: longer than {LIMIT} s") from late
    if result.returncode != 0:
        raise Wrong(f"exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def has_fortran():
    return (WORK / "home" / "recto" / "include" / "recto" / "fortran").is_dir()


# ---- what is done with a block: each returns (what was done, what was printed) ----------


def compile_and_run(block, folder, text, strict):
    """Builds `text` in a folder of its own and runs it on RANKS ranks."""
    here = folder / f"block-{block.line}"
    here.mkdir()
    fortran = block.language == "fortran"
    source = here / ("program.f90" if fortran else "program.c")
    source.write_text(text, encoding="utf-8")
    module = "recto-fortran" if fortran else "recto"
    flags = say(["pkg-config", "--cflags", "--libs", module], here).split()
    words = ["mpifort", "-std=f2018"] if fortran else ["mpicc", "-std=c11", "-D_DEFAULT_SOURCE"]
    say([*words, *strict, source, "-o", here / "program", *flags, "-lm"], here)
    printed = say([MPIRUN, here / "run", RANKS, here / "program"], here)
    return f"compiled, run on {RANKS} ranks", printed


def code(block, folder):
    if block.language == "fortran" and not has_fortran():
        return "not built: no Fortran", None
    whole = r"^\s*(int main\(|program \w)"
    if block.rule == "inside":
        frame = FORTRAN_FRAME if block.language == "fortran" else C_FRAME
        text = frame.format(given=block.given, line=block.line + 1, page=block.page.name,
                            text=block.text)
        return compile_and_run(block, folder, text, ["-Wall", "-Werror", "-Wno-unused"])
    if not re.search(whole, block.text, re.M):
        raise Wrong("no whole program; is it \"test: inside\"?")
    return compile_and_run(block, folder, block.text, ["-Wall", "-Wextra", "-Werror"])


def options(block, folder):
    """Long options of our programs and commands, against their --help."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        for i, word in enumerate(words):
            program = None
            if word == "recto" and i + 1 < len(words) and (i == 0 or words[i - 1] != "load"):
                program, rest = ["recto", words[i + 1]], words[i + 2:]
            elif word.startswith("bin/"):
                program, rest = [f"build/release/{word}"], words[i + 1:]
            if program is None:
                continue
            known = say([*program, "--help"], folder)
            for option in rest:
                if option.startswith("./"):  # the program's own follow
                    break
                name = option.partition("=")[0]
                if name.startswith("--") and not re.search(rf"{name}\b", known):
                    raise Wrong(f"{' '.join(program)} --help does not know {name}")


def shell(block, folder):
    script = folder / f"block-{block.line}.sh"
    script.write_text(block.text, encoding="utf-8")
    kind, _, why = block.rule.partition(" ")
    if kind in ("options", "syntax") and why:
        say(["bash", "-n", script], folder)
        if kind == "options":
            options(block, folder)
        done = "syntax and options" if kind == "options" else "syntax"
        return f"{done} checked, not run: {why}", None
    if block.rule and kind != "file":
        raise Wrong(f"unknown rule: {block.rule}")
    return "run", say(["bash", "-euo", "pipefail", script], folder)


def cmake(block, folder):
    here = folder / f"block-{block.line}"
    here.mkdir()
    (here / "program.c").write_text(CMAKE_PROGRAM, encoding="utf-8")
    (here / "CMakeLists.txt").write_text(CMAKE_FRAME + block.text, encoding="utf-8")
    say(["cmake", "-G", "Ninja", "-S", here, "-B", here / "build"], here)
    say(["cmake", "--build", here / "build"], here)
    say([here / "build" / "program"], here)
    return "built and run in a project", None


def script(words):
    def run(block, folder):
        file = folder / f"block-{block.line}"
        file.write_text(block.text, encoding="utf-8")
        return "run", say([*words, file], folder)
    return run


def output(block, printed):
    """Compares with what the block before printed."""
    if printed is None:
        raise Wrong("the block before printed nothing that could be compared")
    pattern = ""
    for line in block.text.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.rstrip().split("…"))) + r"\s*?\n"
    if not re.fullmatch(pattern, printed.rstrip() + "\n"):
        raise Wrong(f"printed was\n{printed}")
    return "compared"


KINDS = {"c": code, "fortran": code, "sh": shell, "cmake": cmake,
         "python": script([sys.executable, "-B"]), "gdb": script(["gdb", "-batch", "-x"])}


def treat(block, folder, printed):
    kind, _, name = block.rule.partition(" ")
    if block.language == "text":
        return "not run: text", None
    if block.language == "output":
        return output(block, printed), None
    if kind in ("file", "only") and name:
        (folder / name).write_text(block.text, encoding="utf-8")
        if kind == "only":
            return f"written to {name}", None
    elif block.rule and block.rule != "inside" and block.language != "sh":
        raise Wrong(f"unknown rule: {block.rule}")
    if block.language not in KINDS:
        raise Wrong(f"unknown language: {block.language or 'none'}")
    done, printed = KINDS[block.language](block, folder)
    return done + (f"; written to {name}" if kind == "file" else ""), printed


# ---- pages ----------------------------------------------------------------------------------


def folder_of(page):
    """The folder of a page's blocks, with what they may expect: that of the whole tree, or,
    of a page beside programs, that of these."""
    folder = WORK / re.sub(r"\W", "-", page.name)
    (folder / "build" / "release").mkdir(parents=True)
    (folder / "apps").mkdir()
    for name in ["bin", "lib"]:
        (folder / "build" / "release" / name).symlink_to(BUILD / name)
    (folder / "include").symlink_to(SOURCE / "include")
    shutil.copytree(SOURCE / "apps" / "examples", folder / "apps" / "examples")
    (folder / "apps" / "sim").symlink_to(SOURCE / "apps" / "sim")
    return folder / page.path.parent.relative_to(SOURCE) if "apps" in page.name else folder


def check_page(page):
    """The blocks of a page; how many, and what is wrong."""
    wrong = [f"{page.name}:{number}: a command that is not in a fenced block: {line.strip()}"
             for number, line in page.bare
             if line.startswith("    ") and COMMANDS.match(line.strip() + " ")]
    folder = folder_of(page) if page.blocks else None
    printed = None
    for block in page.blocks:
        start = time.monotonic()
        try:
            done, printed = treat(block, folder, printed)
        except Wrong as error:
            done, printed = "WRONG", None
            wrong.append(f"{block.place}: {block.language}: {error}")
        print(f"{block.place:32} {block.language:8} {done} ({time.monotonic() - start:.1f} s)")
    return len(page.blocks), wrong


def main():
    if not (BUILD / "lib" / "librecto.so").exists():
        print("skip: librecto is built as a static library")
        sys.exit(77)
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "home").mkdir(parents=True)
    say(["cmake", "--install", BUILD, "--prefix", WORK / "home" / "recto"], WORK)
    count, wrong = 0, []
    only = sys.argv[1:]
    for page in pages():
        if not only or page.name in only:
            blocks, errors = check_page(page)
            count += blocks
            wrong += errors
    print(f"{count} blocks")
    if wrong:
        sys.exit("\n".join(wrong))


main()
