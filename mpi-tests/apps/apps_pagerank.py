#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""apps_pagerank.py RANKS | input

All versions of PageRank give the same ranks, to the last bit, on any number of
ranks, and those of a serial program; graphs whose ranks can be written down have
them; a run goes on from its checkpoint on another number of ranks. Edge lists are read
in all their forms, and wrong ones are told with file, line and rank.
"""
import random
import sys

from common import WORK, Run, fresh, has, same, versions

DAMPING = 0.85


def write(name, text):
    (WORK / name).write_text(text, newline="")
    return WORK / name


def lines(edges):
    return "".join(f"{u} {v}\n" for u, v in edges)


def ranks_of(file):
    """What --output has written."""
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    ids = [int(row[0]) for row in rows]
    if ids != sorted(set(ids)):
        sys.exit(f"{file}: not in the order of the vertices")
    return {int(row[0]): float(row[1]) for row in rows}


def close(run, found, expected, tolerance=1e-10):
    if found.keys() != expected.keys() or any(
            abs(found[v] - x) > tolerance for v, x in expected.items()):
        sys.exit(f"{run.title}: {found}, expected {expected}")


def star(spokes, hub, ids):
    """Edges from all spokes to a hub that has none. The spokes' ranks s and the
    hub's h: h = s (1 + d spokes), spokes s + h = 1."""
    s = 1 / (spokes + 1 + DAMPING * spokes)
    return [(v, hub) for v in ids], {
        **{v: s for v in ids}, hub: s * (1 + DAMPING * spokes)}


def known():
    """(name, edges, ranks) of graphs whose ranks can be written down."""
    d = DAMPING
    ids = [*{random.getrandbits(64) for _ in range(2000)}]
    three = 3 + 2 * d + d * d
    yield "ring", [(v, (v + 1) % 1500) for v in range(1500)], {
        v: 1 / 1500 for v in range(1500)}
    yield "star", *star(len(ids) - 1, ids[0], ids[1:])
    # 0 -> 1 -> 2, from where nothing leads
    yield "chain", [(0, 1), (1, 2)], {
        0: 1 / three, 1: (1 + d) / three, 2: (1 + d + d * d) / three}
    # all vertices dangle: a loop is no edge
    yield "loops", [(7, 7), (2**64 - 1, 2**64 - 1), (0, 0)], {
        7: 1 / 3, 2**64 - 1: 1 / 3, 0: 1 / 3}
    yield "one", [(5, 5)], {5: 1.0}
    # listed twice counts once; a pair among whom all is equal
    yield "twice", [(1, 2), (2, 1), (1, 2), (1, 1)], {1: 0.5, 2: 0.5}


def check_known(ranks):
    for title, edges, expected in known():
        file = write(title, lines(edges))
        names = [(ranks, "pagerank-recto")]
        if has("pagerank-omp"):
            names.append((None, "pagerank-omp"))
        if title in ("star", "loops"):
            names.append((ranks, "pagerank-mpi"))
        for count, name in names:
            out = WORK / f"{title}.out"
            extra = ["--threads", ranks] if count is None else []
            run = Run(count, name, file, "--check", "--tolerance", "1e-11",
                      "--output", out, *extra, RECTO_NODE="rank").expect(
                          0, "answer ok", "from a serial program's ranks")
            close(run, ranks_of(out), expected)


def mixed(seed):
    """Hubs, dangling vertices, huge ids, loops and repetitions, in any order."""
    rng = random.Random(seed)
    ids = [rng.randrange(1 << rng.choice([12, 32, 64])) for _ in range(6000)]
    hubs = rng.sample(ids, 5)
    edges = []
    for u in ids[:5000]:
        edges += [(u, rng.choice(ids)) for _ in range(rng.randrange(6))]
        edges.append((u, rng.choice(hubs)))
    edges += rng.sample(edges, 300)
    edges += [(u, u) for u in rng.sample(ids, 50)]
    rng.shuffle(edges)
    return lines(edges)


def check(ranks):
    rmat = WORK / "rmat"
    Run(None, "pagerank-graph", "--scale", 13, "--degree", 8, rmat).expect(0)
    print("seed", seed := random.randrange(1 << 32))
    for file in (rmat, write("mixed", mixed(seed))):
        runs = versions("pagerank", ranks, [file, "--check"])
        # nor do the ranks depend on the number of ranks
        runs.append(Run(1, "pagerank-mpi", file).expect(0, "answer ok"))
        same(runs, r"checksum (\w+)")
        same(runs, r"iterations (\d+)")
        same(runs, r"(\d+ edges \(.*\))")
        same(runs, r"(?s)(top 1: .*top 10: \S+ \S+)")
    check_known(ranks)
    restart(ranks, rmat)


def begin(ranks, file, **env):
    """Ends a run early, with epochs in the folder `env` names."""
    early = Run(ranks, "pagerank-recto", file, "--checkpoint-every", 3,
                "--iterations", 7, **env).expect(
                    1, "not converged after 7 iterations")
    if "restarted" in early.text:
        sys.exit(f"{early.title}: from what?\n{early.text}")


def restart(ranks, file):
    """Ended early, then continued, by as many ranks and by others."""
    whole = Run(1, "pagerank-mpi", file).expect(0, "answer ok")
    for transport in ("auto", "mpi"):
        env = {"RECTO_NODE": "rank", "RECTO_TRANSPORT": transport,
               "RECTO_CKPT_DIR": str(WORK / f"ckpt-{transport}")}
        begin(ranks, file, **env)
        for count in (ranks, ranks % 4 + 1):
            # the second from an epoch of the first
            late = Run(count, "pagerank-recto", file, "--checkpoint-every", 2,
                       **env).expect(0, "restarted from epoch", "answer ok")
            same([whole, late], r"checksum (\w+)")
            same([whole, late], r"iterations (\d+)")


def strangers(file):
    """A checkpoint of another run is not continued."""
    env = {"RECTO_CKPT_DIR": str(WORK / "ckpt")}
    begin(2, file, **env)
    for arguments, said in (
            ([file, "--damping", "0.5"], "of a run with another --damping"),
            ([file, "--iterations", 2], "past --iterations"),
            ([write("small", "1 2\n")], "RECTO_ECHANGED"),
            ([write("less", file.read_text().rsplit("\n", 2)[0])],
             "of another graph")):
        Run(2, "pagerank-recto", *arguments, "--checkpoint-every", 2,
            **env).expect(1, said)


def forms(ranks, name):
    """One graph in several forms is one graph."""
    plain = "1 2\n2 3\n3 1\n3 18446744073709551615\n"
    texts = [
        plain,
        plain.rstrip("\n"),
        plain.replace("\n", "\r\n"),
        plain.replace("\n", "\r\n").rstrip("\r\n"),
        plain.replace(" ", "\t").replace("\n", " \t \n"),
        "# FromNodeId\tToNodeId\n" + plain,
        "% a\n\n  % b\n" + plain.replace("\n", "\n\n# 9 9\n"),
        "#" + "x" * 3000000 + "\n" + plain + "#" + "y" * 3000000,
        "".join(f"   00{line}\n" for line in plain.splitlines()),
        "3\t1\n" + plain + plain,
    ]
    if ranks is not None:
        texts = [texts[k] for k in (0, 3, 7)]
    runs = [Run(ranks, name, write(f"form{k}", text), "--check").expect(
        0, "answer ok", "4 vertices, 4 edges") for k, text in enumerate(texts)]
    same(runs, r"checksum (\w+)")


NUMBERS = "expected \"FROM TO\", whole numbers from 0 to 2^64 - 1, not "
MORE = "expected \"FROM TO\" and no more (edges have no weights here), not "

# What is wrong, and what is said of it.
WRONG = {
    "": "no line has an edge",
    "# nothing\n\n": "no line has an edge",
    "1\n": f"wrong:1: {NUMBERS}\"1\"",
    "1 2\n1 x\n": f"wrong:2: {NUMBERS}\"1 x\"",
    "1 2\n# 1\n\n1,2\n": f"wrong:4: {NUMBERS}\"1,2\"",
    "1 2 3\n": f"wrong:1: {MORE}\"1 2 3\"",
    "1 2 # c\n": f"wrong:1: {MORE}",
    "1 -2\n": f"wrong:1: {NUMBERS}\"1 -2\"",
    "1 2.5\n": f"wrong:1: {NUMBERS}\"1 2.5\"",
    "1 0x2\n": f"wrong:1: {NUMBERS}",
    "1 18446744073709551616\n": f"wrong:1: {NUMBERS}",
    "1 99999999999999999999999\n": f"wrong:1: {NUMBERS}",
    "1 2\n\0\n": f"wrong:2: {NUMBERS}\"?\"",
    "\ufeff1 2\n": f"wrong:1: {NUMBERS}\"???1 2\"",
    "hello " * 1000: "...",
    "%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 2\n":
        f"wrong:2: {MORE}\"2 2 1\"",
    # of several wrong lines the first is told, whoever reads it
    "1 2\n" * 500 + "a\n" + "1 2\n" * 300 + "b\n" + "1 2\n" * 300: "wrong:501: ",
    "1 2\n" * 900 + "b\n" + "1 2\n" * 10: "wrong:901: ",
}


def inputs():
    names = [(2, "pagerank-recto"), (3, "pagerank-mpi")]
    # every case where a run is cheap, some where mpirun starts it
    cheap = "pagerank-omp" if has("pagerank-omp") else "pagerank-mpi"
    for text, said in WRONG.items():
        for extra in ([], ["--threads", 3]) if "omp" in cheap else ([],):
            Run(None, cheap, write("wrong", text), *extra).expect(1, said)
    for ranks, name in names:
        for text in [*list(WRONG)[::7], *list(WRONG)[-2:]]:
            Run(ranks, name, write("wrong", text)).expect(1, WRONG[text])
    # the rank that found it
    Run(2, "pagerank-mpi", write("wrong", list(WRONG)[-1])).expect(1, "(rank 1)")
    if has("pagerank-omp"):
        names.append((None, "pagerank-omp"))
    Run(None, "pagerank-graph", "--scale", 12, WORK / "a").expect(0)
    for ranks, name in names:
        Run(None, name, "--help").expect(0, f"{name} [OPTION]... FILE")
        Run(ranks, name).expect(2, "FILE is missing")
        Run(ranks, name, "a", "--damping", "1").expect(2, "--damping 1: give")
        Run(ranks, name, WORK / "none").expect(1, "none: No such file")
        Run(ranks, name, WORK).expect(1, "not a regular file")
        Run(ranks, name, WORK / "a", "--iterations", 3).expect(
            1, "not converged after 3 iterations", "answer wrong")
        Run(ranks, name, WORK / "a", "--spoil").expect(1, "answer wrong")
        Run(ranks, name, WORK / "a", "--output", "no/x").expect(1, "no/x.tmp: No such",
                                                         "answer wrong")
    forms(None, cheap)
    for ranks, name in names[:2]:
        forms(ranks, name)
    strangers(WORK / "a")
    graphs()


def graphs():
    """pagerank-graph: the same by the same seed, another by another."""
    def made(*arguments):
        Run(None, "pagerank-graph", "--scale", 9, *arguments,
            WORK / "made").expect(0)
        text = (WORK / "made").read_text()
        edges = [tuple(map(int, line.split()))
                 for line in text.splitlines() if line[0] != "#"]
        if any(v < 0 or v >= 512 for edge in edges for v in edge):
            sys.exit(f"pagerank-graph {arguments}: vertices outside 0 .. 511")
        return edges

    rmat = made("--seed", 3)
    if len(rmat) != 512 * 16 or rmat != made("--seed", 3) or sorted(
            rmat) == sorted(made("--seed", 4)):
        sys.exit(f"pagerank-graph: {len(rmat)} edges, or the seed is no seed")
    targets = sorted(sum(v == t for _, t in rmat) for v in range(512))
    if targets[-1] < 100 or targets[100] > 3:
        sys.exit(f"pagerank-graph: no hubs, no leaves: {targets}")
    if sorted(made("--shape", "ring")) != [
            (v, (v + 1) % 512) for v in range(512)]:
        sys.exit("pagerank-graph: not a ring")
    if made("--shape", "star") != [(v, 0) for v in range(1, 512)]:
        sys.exit("pagerank-graph: not a star")
    Run(None, "pagerank-graph", "--shape", "tree", "x").expect(2, "--shape tree")
    Run(None, "pagerank-graph", "none/x").expect(1, "none/x.tmp: No such file")
    Run(None, "pagerank-graph").expect(2, "FILE is missing")


fresh()
inputs() if sys.argv[1] == "input" else check(int(sys.argv[1]))
