#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_nbody.py RANKS | input

All versions of the N-body program end with the same bits and the same number of
interactions, whatever the number of workers, also with fewer bodies than workers,
cells that several workers share, and two clusters; a wrong force, energy or
momentum is found; wrong options are told.
"""
import re
import sys

from common import Run, fresh, has, same, versions

CASES = [
    ["--n", 3],
    ["--n", 21, "--steps", 10],  # a leaf of several ranks
    ["--n", 1500, "--steps", 3, "--theta", "1", "--seed", 7],
    ["--n", 4000, "--steps", 3, "--collide", "--theta", "0.5"],
]


def check(ranks):
    for arguments in CASES:
        runs = versions("nbody", ranks, arguments)
        # nor does it depend on the number of ranks
        runs.append(Run(1, "nbody-mpi", *arguments).expect(0, "answer ok"))
        same(runs, r"checksum (\w+)")
        same(runs, r"interactions (\d+)\n")
        for run in runs:
            run.find(r"time steps ([\d.]+) s")


def seeds():
    sums = {Run(2, "nbody-mpi", "--n", 3, "--seed", seed).expect(
        0, "answer ok").find(r"checksum (\w+)") for seed in (1, 2)}
    if len(sums) != 2:
        sys.exit("--seed changes nothing")


def exactly():
    """With hardly any opening angle the tree's forces are the direct sum's."""
    run = Run(2, "nbody-recto", "--n", 500, "--steps", 1, "--theta", "0.001",
              RECTO_NODE="rank")
    run.expect(0, "answer ok")
    if float(run.find(r"error of force ([\d.e+-]+),")) > 1e-13:
        sys.exit(run.text)
    wide = Run(2, "nbody-recto", "--n", 500, "--steps", 1, RECTO_NODE="rank")
    if float(wide.find(r"error of force ([\d.e+-]+),")) < 1e-6:
        sys.exit(f"no cell acts as one mass:\n{wide.text}")


def inputs():
    names = [(2, "nbody-recto"), (2, "nbody-mpi")]
    if has("nbody-omp"):
        names.append((None, "nbody-omp"))
    for ranks, name in names:
        run = Run(ranks, name, "--n", 500, "--steps", 1, "--spoil")
        run.expect(1, "answer wrong")
        for what in ("energy", "momentum", "force"):
            if not re.search(f"error of {what} .*: too large", run.text):
                sys.exit(f"{run.title}: the {what} is not told wrong in\n"
                         f"{run.text}")
        Run(None, name, "--help").expect(0, f"{name} [OPTION]", "--theta")
        Run(ranks, name, "--n", "0").expect(
            2, "--n 0: give a whole number from 1 to")
    name = names[-1][1]
    Run(None, name, "--theta", "1.5").expect(2, "--theta 1.5: give a number up")
    Run(None, name, "--theta", "-1").expect(2, "--theta -1: give a number above")
    Run(None, name, "--dt", "2").expect(2, "--dt 2: give a number up to 1")
    Run(None, name, "--check", "0").expect(2, "--check 0: give a whole number")
    Run(None, name, "--steps", "x").expect(2, "--steps x")
    Run(None, name, "--seed").expect(2, "--seed: the value is missing")
    Run(None, name, "file").expect(2, "file: what is this for?")
    exactly()
    seeds()


fresh()
inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
