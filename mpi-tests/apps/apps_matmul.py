#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_matmul.py RANKS | input

All versions of the matrix product get the same, right product, also where rows,
tiles and ranks do not divide; a wrong element is found; wrong options are told.
"""
import sys

from common import Run, fresh, has, same, versions


def check(ranks):
    for n in (1, 7, 130, 261):
        runs = versions("matmul", ranks, ["--n", n])
        # nor does it depend on the number of ranks
        runs.append(Run(1, "matmul-mpi", "--n", n).expect(0, "answer ok"))
        same(runs, r"checksum (\w+)")
        for run in runs:
            run.find(r"time multiply ([\d.]+) s")


def inputs():
    names = [(2, "matmul-recto"), (2, "matmul-mpi")]
    if has("matmul-omp"):
        names.append((None, "matmul-omp"))
    for ranks, name in names:
        Run(ranks, name, "--n", 50, "--spoil").expect(
            1, "1 of 50 rows are wrong", "answer wrong")
        Run(None, name, "--help").expect(0, f"{name} [OPTION]", "--json")
        Run(ranks, name, "--n", "0").expect(
            2, "--n 0: give a whole number from 1 to")
    name = names[-1][1]
    Run(None, name, "--n", "7x").expect(2, "--n 7x")
    Run(None, name, "--n").expect(2, "the value is missing")
    Run(None, name, "--huge").expect(2, "--huge: no such option")
    Run(None, name, "file").expect(2, "file: what is this for?")


fresh()
inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
