#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_radix.py RANKS | input

All versions of the radix sort leave the same keys in the same order, also where
keys and ranks do not divide or a rank has none; keys out of order are found; wrong
options are told.
"""
import sys

from common import Run, fresh, has, same, versions


def check(ranks):
    for n in (1, 3, 1000, 12345, 100003):
        runs = versions("radix", ranks, ["--n", n])
        # nor does it depend on the number of ranks
        runs.append(Run(1, "radix-mpi", "--n", n).expect(0, "answer ok"))
        same(runs, r"checksum (\w+)")
        for run in runs:
            run.find(r"time sort ([\d.]+) s")


def inputs():
    names = [(2, "radix-recto"), (2, "radix-mpi")]
    if has("radix-omp"):
        names.append((None, "radix-omp"))
    for ranks, name in names:
        Run(ranks, name, "--n", 5000, "--spoil").expect(
            1, "keys are below the one before them", "answer wrong")
        Run(None, name, "--help").expect(0, f"{name} [OPTION]", "--json")
        Run(ranks, name, "--n", "0").expect(
            2, "--n 0: give a whole number from 1 to")
    name = names[-1][1]
    Run(None, name, "--n", "7x").expect(2, "--n 7x")
    Run(None, name, "file").expect(2, "file: what is this for?")
    Run(2, "radix-mpi", "--n", 1 << 33).expect(1, "give more ranks")


fresh()
inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
