#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_cg.py RANKS | input

All versions of conjugate gradients solve Laplacians and a matrix without
structure; Matrix Market files are read in all their forms, and wrong ones are
told with file and line.
"""
import random
import sys

from common import WORK, Run, fresh, has, versions

HEAD = "%%MatrixMarket matrix coordinate "


def write(name, text):
    (WORK / name).write_text(text, newline="")
    return WORK / name


def scattered(n, seed):
    """Diagonally dominant, symmetric, any columns: all parts need all others."""
    rng = random.Random(seed)
    entries = {}
    for i in range(n):
        for j in rng.sample(range(n), 3):
            if i != j:
                entries[max(i, j), min(i, j)] = rng.uniform(-1, 1)
    rows = [0.0] * n
    for (i, j), v in entries.items():
        rows[i] += abs(v)
        rows[j] += abs(v)
    lines = [f"{i + 1} {j + 1} {v!r}" for (i, j), v in entries.items()]
    lines += [f"{i + 1} {i + 1} {rows[i] + 0.1!r}" for i in range(n)]
    rng.shuffle(lines)
    return "\n".join([f"{HEAD}real symmetric", f"{n} {n} {len(lines)}"] +
                     lines) + "\n"


def check(ranks):
    flat = WORK / "flat.mtx"
    cube = WORK / "cube.mtx"
    Run(None, "cg-laplace", "--nx", 90, "--ny", 70, flat).expect(0, "6300 rows")
    Run(None, "cg-laplace", "--nx", 9, "--ny", 7, "--nz", 5, cube).expect(0)
    one = write("one.mtx", f"{HEAD}real symmetric\n1 1 1\n1 1 4\n")
    print("seed", seed := random.randrange(1 << 32))
    mixed = write("mixed.mtx", scattered(5000, seed))
    for file in (flat, cube, one, mixed):
        for run in versions("cg", ranks, [file]):
            run.find(r"iterations (\d+), residual ")
            if file in (flat, cube):
                run.expect(0, ", at most ")  # the error has a bound


def forms(ranks, name):
    """One matrix in several forms is one matrix."""
    lower = "1 1 2\n2 1 -1\n2 2 2\n3 2 -1\n3 3 2\n"
    whole = lower + "2 3 -1\n1 2 -1\n"
    files = [
        write("lower.mtx", f"{HEAD}real symmetric\n3 3 5\n{lower}"),
        write("whole.mtx", f"{HEAD}integer general\n% a\n\n3 3 7\n{whole}"),
        write("twice.mtx", f"{HEAD}real symmetric\n3 3 6\n"
              + lower.replace("1 1 2", "1 1 0.5\n1 1 1.5")),
        write("crlf.mtx", (f"{HEAD.upper()}REAL Symmetric\n%c\n 3\t3 5 \n\n"
                           + lower).replace("\n", "\r\n").rstrip("\r\n")),
    ]
    texts = {Run(ranks, name, f).expect(0, "answer ok").find(r"(iterations .*)")
             for f in files}
    if len(texts) != 1:
        sys.exit(f"{name}: forms of one matrix give {texts}")
    # A path of three nodes and a loop: its Laplacian plus the identity.
    Run(ranks, name, write(
        "path.mtx", f"{HEAD}pattern symmetric\n3 3 3\n2 1\n3 2\n3 3\n")).expect(
            0, "answer ok", ", at most ")


# What is wrong, and what is said of it.
WRONG = {
    "": "not a Matrix Market file",
    "hello\n": "not a Matrix Market file",
    "%%MatrixMarket matrix array real general\n2 2\n":
        "the format is array: give a sparse (coordinate) one",
    f"{HEAD}complex symmetric\n1 1 1\n1 1 1 0\n": "the values are complex",
    f"{HEAD}real skew-symmetric\n1 1 0\n": "the matrix is skew-symmetric",
    f"{HEAD}real symmetric\n": ":1: expected the line \"ROWS COLUMNS ENTRIES\"",
    f"{HEAD}real symmetric\n1 1\n": ":2: expected the line",
    f"{HEAD}real symmetric\n2 3 1\n": ":2: the matrix is 2 x 3",
    f"{HEAD}real symmetric\n0 0 0\n": ":2: the matrix is 0 x 0",
    f"{HEAD}real symmetric\n9999999999 9999999999 1\n": ":2: the matrix is",
    f"{HEAD}real symmetric\n1 1 2\n1 1 1\n": "ends after 1 of 2 entries",
    f"{HEAD}real symmetric\n1 1 1\n1 1 1\n1 1 1\n": ":4: more than the 1 entr",
    f"{HEAD}real symmetric\n1 1 1\n1 2 1\n": ":3: entry (1, 2) lies outside",
    f"{HEAD}real symmetric\n2 2 1\n1 2 1\n": ":3: entry (1, 2) lies above",
    f"{HEAD}real symmetric\n1 1 1\n1 1\n": ":3: expected \"ROW COLUMN VALUE\"",
    f"{HEAD}real symmetric\n1 1 1\n1 1 nan\n": ":3: expected",
    f"{HEAD}real symmetric\n1 1 1\n1 1 1 1\n": ":3: expected",
    f"{HEAD}real symmetric\n1 1 1\n-1 1 1\n": ":3: expected",
    f"{HEAD}pattern symmetric\n1 1 1\n1 1 1\n": ":3: expected \"ROW COLUMN\"",
    f"{HEAD}real symmetric\n1 1 1\n1 1 \0\n": "zero byte",
    f"{HEAD}real general\n2 2 3\n1 1 1\n2 2 1\n1 2 .5\n": "is not symmetric",
    f"{HEAD}real symmetric\n2 2 2\n1 1 1\n2 1 .5\n":
        "row 2 has no positive diagonal",
    f"{HEAD}real symmetric\n2 2 2\n1 1 1\n2 2 -1\n":
        "row 2 has no positive diagonal",
    f"{HEAD}real symmetric\n2 2 3\n1 1 1\n2 1 2\n2 2 1\n":
        "the matrix is not positive definite",
}


def inputs():
    names = [(2, "cg-recto"), (2, "cg-mpi")]
    # every case where a run is cheap, some where mpirun starts it
    cheap = "cg-omp" if has("cg-omp") else "cg-mpi"
    for text, said in WRONG.items():
        Run(None, cheap, write("wrong.mtx", text)).expect(1, said)
    for ranks, name in names:
        for text in [*list(WRONG)[::11], *list(WRONG)[-2:]]:
            Run(ranks, name, write("wrong.mtx", text)).expect(1, WRONG[text])
    if has("cg-omp"):
        names.append((None, "cg-omp"))
    Run(None, "cg-laplace", "--nx", 20, "--ny", 20, WORK / "a.mtx").expect(0)
    for ranks, name in names:
        forms(ranks, name)
        Run(None, name, "--help").expect(0, f"{name} [OPTION]... FILE")
        Run(ranks, name).expect(2, "FILE is missing")
        Run(ranks, name, "a.mtx", "--tolerance", "-1").expect(2, "--tolerance")
        Run(ranks, name, WORK / "none.mtx").expect(1, "none.mtx: No such file")
        Run(ranks, name, WORK).expect(1, "cannot be read")
        Run(ranks, name, WORK / "a.mtx", "--iterations", 3).expect(
            1, "not solved after 3 iterations", "answer wrong")
        Run(ranks, name, WORK / "a.mtx", "--spoil").expect(1, "answer wrong")
    Run(None, "cg-laplace", "--nx", "0", "x.mtx").expect(2, "--nx 0")
    Run(None, "cg-laplace", "none/x.mtx").expect(1, "none/x.mtx")
    Run(None, "cg-laplace").expect(2, "FILE is missing")


fresh()
inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
