# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the programs in apps/ share: running them, and looking at
what they print."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

BIN = pathlib.Path(os.environ["TEST_BUILD"]) / "bin"
WORK = pathlib.Path(os.environ["TEST_WORK"])
MPIRUN = os.environ["TEST_MPIRUN"]
LIMIT = 100  # seconds for one run: none hangs

# How the recto version is run: (RECTO_NODE, RECTO_TRANSPORT).
SETTINGS = [("auto", "auto"), ("rank", "auto"), ("rank", "mpi"), ("2", "mpi")]


def fresh():
    """An empty folder for this test."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    return WORK


class Run:
    """One run of a program: on `ranks` ranks, or, with None, by itself."""

    def __init__(self, ranks, name, *arguments, **env):
        command = [str(BIN / name), *map(str, arguments)]
        if ranks is not None:
            command = [MPIRUN, str(WORK / "run"), str(ranks), *command]
        self.title = " ".join([f"{k}={v}" for k, v in env.items()] + [
            f"{ranks} x" if ranks else "", name, *map(str, arguments)])
        result = subprocess.run(
            command, env={**os.environ, **env}, cwd=WORK, timeout=LIMIT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        self.code = result.returncode
        self.text = result.stdout

    def expect(self, code, *parts):
        """Ends the test unless the run ended so and printed all of `parts`."""
        missing = [p for p in parts if p not in self.text]
        if self.code != code or missing:
            sys.exit(f"{self.title}: exit code {self.code}, expected {code}; "
                     f"missing: {missing}; it printed\n{self.text}")
        return self

    def find(self, pattern):
        match = re.search(pattern, self.text)
        if match is None:
            sys.exit(f"{self.title}: no {pattern} in\n{self.text}")
        return match.group(1)

    def json(self):
        lines = [l for l in self.text.splitlines() if l.startswith("{")]
        if len(lines) != 1:
            sys.exit(f"{self.title}: {len(lines)} lines of JSON in\n{self.text}")
        return json.loads(lines[0])


def has(name):
    """Was the program built? (The OpenMP versions need such a compiler.)"""
    return (BIN / name).exists()


def versions(program, ranks, arguments, recto=None):
    """Runs all versions of a program and all settings of the recto version on
    so many ranks; each must find its answer right. `recto` is that version's
    name if it is not PROGRAM-recto."""
    runs = [("mpi", Run(ranks, f"{program}-mpi", *arguments, "--json"))]
    if has(f"{program}-omp"):
        runs.append(("omp", Run(None, f"{program}-omp", *arguments, "--json",
                                "--threads", ranks)))
    for node, transport in SETTINGS:
        runs.append(("recto", Run(
            ranks, recto or f"{program}-recto", *arguments, "--json",
            RECTO_NODE=node, RECTO_TRANSPORT=transport)))
    for version, run in runs:
        run.expect(0, "answer ok", "time ")
        line = run.json()
        if (line["program"], line["version"], line["ranks"], line["ok"]) != (
                program, version, ranks, True) or line["seconds"] <= 0:
            sys.exit(f"{run.title}: {line}")
    return [run for _, run in runs]


def same(runs, pattern):
    """What `pattern` finds must be the same in all runs."""
    found = {run.find(pattern) for run in runs}
    if len(found) != 1:
        sys.exit("\n".join(f"{r.title}: {r.find(pattern)}" for r in runs))
    return found.pop()
