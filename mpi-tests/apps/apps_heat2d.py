#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_heat2d.py RANKS | input

heat2d, heat2d-mpi and heat2d-omp get the same bits, those of a serial solution;
wrong input is told.
"""
import filecmp
import sys

from common import WORK, Run, fresh, has, same, versions

fresh()
ROCK = WORK / "rock.h5"
Run(None, "heat2d-input", "--nx", 61, "--ny", 47, ROCK).expect(0)


def check(ranks):
    runs = versions("heat2d", ranks,
                    ["--input", ROCK, "--steps", 33, "--check"],
                    recto="heat2d")
    same(runs, r"checksum (\w+)")
    if has("heat2d-omp"):  # edges that keep their temperature; the file
        one = Run(None, "heat2d-omp", "--input", ROCK, "--fixed", "--check",
                  "--steps", 20, "--output", WORK / "omp.h5")
        two = Run(ranks, "heat2d-mpi", "--input", ROCK, "--fixed", "--check",
                  "--steps", 20, "--output", WORK / "mpi.h5")
        same([one.expect(0, "answer ok"), two.expect(0, "answer ok")],
             r"checksum (\w+)")
        if not filecmp.cmp(WORK / "omp.h5", WORK / "mpi.h5", shallow=False):
            sys.exit("omp.h5 and mpi.h5 differ")


def inputs():
    text = WORK / "text.h5"
    text.write_text("no HDF5\n")
    names = [(2, "heat2d"), (2, "heat2d-mpi")]
    if has("heat2d-omp"):
        names.append((None, "heat2d-omp"))
    for ranks, name in names:
        Run(None, name, "--help").expect(0, "--input FILE")
        Run(ranks, name).expect(2, "--input FILE is missing")
        Run(ranks, name, "--input", text).expect(1, "text.h5")
        Run(ranks, name, "--input", WORK / "none.h5").expect(1, "none.h5")
        Run(ranks, name, "--input", ROCK, "--field", "x").expect(1, "x")
        Run(ranks, name, "--input", ROCK, "--dt", "1e9").expect(
            1, "--dt 1e+09 is unstable")
    Run(None, "heat2d-input", "--nx", 16, "--ny", 16, WORK / "small.h5")
    Run(17, "heat2d-mpi", "--input", WORK / "small.h5").expect(
        1, "16 x 16 cells for 17 ranks: there must be a row for each")


inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
