#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""cluster_trace.py BIN

Shows what traces, `recto report` and `recto top` make of a job on two nodes: the files of
all ranks become one report, on one clock, whether the nodes share theirs or not; pages
that cross nodes, and the lines that share one falsely, are named; of files that lie on the
nodes' own disks a part says what is missing; a node shows its own ranks live. Two ranks on
each node, ranks 0 and 2 on n1."""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys

from nodes import AS_ROOT, LIMIT, SOURCE, Cluster, Failure, wait_for

RANKS = 4
ON = {"n1": [0, 2], "n2": [1, 3]}
AHEAD = 1000 # seconds, of n2's clock
STARTED = 72 # where base/trace.h has it in a header
PLANTED = SOURCE / "mpi-tests/mpi/false_sharing.c"
# n2 with a clock of its own
CLOCK = """#!/bin/sh
[ "$(hostname)" = n2 ] || exec "$@"
exec unshare --time --monotonic %d --fork --kill-child -- "$@"
""" % AHEAD


def check(condition, what, *seen):
    if not condition:
        raise Failure("%s: %s" % (what, seen))


class Test:
    def __init__(self, cluster, build):
        self.cluster = cluster
        self.work = cluster.work
        self.program = build / "mpi-tests/mpi_false_sharing"
        self.recto = build / "bin/recto"

    # ---- jobs -------------------------------------------------------------------

    def start(self, words, before=(), **env):
        hosts = ",".join("%s:%d" % (n, len(r)) for n, r in ON.items())
        return subprocess.Popen(
            self.cluster.mpirun(["--host", hosts, "--map-by", "node", "-n", RANKS,
                                 *before, self.program, *words]),
            cwd=self.work, env={**os.environ, **AS_ROOT, **env}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, words, fails=False, **more):
        job = self.start(words, **more)
        out = job.communicate(timeout=LIMIT)[0]
        check((job.returncode != 0) == fails, words, job.returncode, out)
        return out

    def command(self, node, words, code=0):
        done = self.cluster.run(node, [self.recto, *words])
        check(done.returncode == code, words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def report(self, trace, node="n0", code=0):
        return json.loads(self.command(node, ["report", trace, "--json"], code))

    # ---- reports ------------------------------------------------------------------

    def counted(self, r, out):
        """Records add up to the counters that the ranks printed."""
        rows = [line.split() for line in out.splitlines()
                if line.split()[:1] == ["rank"] or re.fullmatch(r"[\s\d]+", line)]
        for row in rows[1:]:
            printed = dict(zip(rows[0], map(int, row)))
            told = r["ranks"][printed["rank"]]
            names = {"read_misses": "read-miss", "write_misses": "write-miss",
                     "upgrades": "upgrade", "tracked": "tracked", "checkpoints": "epochs"}
            for name, title in names.items():
                check(told[name] == printed[title], name, told, printed)
            check(told["bytes_fetched"] >> 10 == printed["in-KiB"], told, printed)
        check(len(rows) == RANKS + 1, "a table", out)

    def crossed(self, r):
        """Who copied from whom: between nodes only, and across them some."""
        copied = r["copied"]["bytes"]
        for to in range(RANKS):
            check(sum(copied[to]) == r["ranks"][to]["bytes_fetched"], "sums", copied)
            check(copied[to][to] == copied[to][(to + 2) % RANKS] == 0,
                  "copies inside a node", copied)
        check(copied[1][0] + copied[3][0] >= 90 * 4096, "by n2 of n1", copied)

    def planted(self, r):
        lines = PLANTED.read_text().splitlines()
        where = ["write_by_%s (false_sharing.c:%d)" % (
            name, next(i for i, line in enumerate(lines, 1) if "planted: " + name in line))
            for name in ("first", "second")]
        pages = [p for p in r["pages"] if p["false_sharing"]]
        check([(p["segment"], p["page"]) for p in pages] == [("grid", 0)], "pages", pages)
        sites = {q["rank"]: q["where"] for q in pages[0]["ranks"] if q["writes"] > 1}
        check(sites == {0: where[0], 1: where[1]}, "lines", sites)

    def aligned(self, trace, error):
        """On one clock, nobody leaves a barrier before all have come."""
        events = json.loads(self.command("n0", ["report", trace, "--perfetto", "-"]))
        barriers = [[e for e in events["traceEvents"]
                     if e["name"] == "barrier" and e["pid"] == rank]
                    for rank in range(RANKS)]
        check(len({len(b) for b in barriers}) == 1 and len(barriers[0]) >= 100, "barriers")
        for met in zip(*barriers):
            last = max(e["ts"] for e in met)
            first = min(e["ts"] + e["dur"] for e in met)
            check(last <= first + error / 1000, "a barrier", met)

    def whole(self, trace, out):
        r = self.report(trace)
        check(not r["problems"], r["problems"])
        check([k["host"] for k in r["ranks"]] == ["n1", "n2"] * 2, r["ranks"])
        self.counted(r, out)
        self.crossed(r)
        return r

    def shared(self):
        """Files on what the nodes share; one clock of all nodes stays one."""
        trace = self.work / "shared"
        out = self.run(["checkpoint"], RECTO_TRACE=str(trace), RECTO_STATS="1",
                       RECTO_CKPT_DIR="ckpt")
        r = self.whole(trace, out)
        self.planted(r)
        check({k["clock_offset"] for k in r["ranks"]} == {0}, "offsets", r["ranks"])
        own = [struct.unpack_from("<Q", (trace.parent / ("shared.%d" % i)).read_bytes(),
                                  STARTED)[0] for i in range(RANKS)]
        check([k["started"] for k in r["ranks"]] == [t - min(own) for t in own],
              "starts", own, r["ranks"])
        self.aligned(trace, 0)
        text = self.command("n0", ["report", trace])
        check(re.search(r"^ +1 .* n2$", text, re.M), "hosts", text)

    def clocks(self):
        """n2's clock is another one."""
        if subprocess.run(["unshare", "--time", "--monotonic", "1", "--fork", "true"],
                          check=False).returncode != 0:
            print("no second clock: this kernel has no time namespaces")
            return
        other = self.work / "other-clock"
        other.write_text(CLOCK)
        other.chmod(0o755)
        trace = self.work / "clocks"
        out = self.run(["sequential"], before=[other], RECTO_TRACE=str(trace),
                       RECTO_STATS="1")
        r = self.whole(trace, out)
        n1, n2 = [[r["ranks"][i] for i in ON[n]] for n in ("n1", "n2")]
        check({k["clock_offset"] for k in n1} == {0}, "offsets of n1", n1)
        check(len({k["clock_offset"] for k in n2}) == 1, "offsets of n2", n2)
        error = n2[0]["clock_error"]
        check(abs(n2[0]["clock_offset"] + AHEAD * 10**9) <= error < 10**9, "offset", n2)
        check(r["time"] < LIMIT * 10**9, "time", r["time"])
        self.aligned(trace, error)

    # ---- the nodes' own disks ---------------------------------------------------------

    def local(self):
        self.run([], RECTO_TRACE="/tmp/own")
        stale = self.work / "shared.0" # of an earlier job whose rank 0 ran on n2
        self.cluster.run("n2", ["cp", stale, "/tmp/own.0"])
        for node, ranks in ON.items():
            r = self.report("/tmp/own", node, code=1)
            check([k["rank"] for k in r["ranks"]] == ranks, node, r["ranks"])
            missing = ", ".join(str(i) for i in range(RANKS) if i not in ranks)
            check(any(p.endswith("Missing: %s." % missing) for p in r["problems"]),
                  r["problems"])
            check(r["pages"] and r["locks"] and all(k["barriers"] >= 100
                                                    for k in r["ranks"]), "what is there")
            check(not any("came last" in f for f in r["findings"]), r["findings"])
            check(any("another run" in p for p in r["problems"]) == (node == "n2"),
                  r["problems"])
        for node, ranks in ON.items():
            for i in ranks:
                self.cluster.run(node, ["cp", "/tmp/own.%d" % i, self.work])
        r = self.report(self.work / "own")
        check(not r["problems"], r["problems"])
        self.planted(r)

    def refused(self):
        """A folder that one node lacks: the job ends, and says which."""
        self.cluster.run("n1", ["mkdir", "/tmp/only"])
        out = self.run([], fails=True, RECTO_TRACE="/tmp/only/t")
        check(re.search(r"rank 1 on n2: .*/tmp/only/t\.1.*RECTO_EIO", out), out)
        left = self.cluster.run("n1", ["ls", "/tmp/only"]).stdout
        check(left == "", "files of a job that did not start", left)

    # ---- top ------------------------------------------------------------------------------

    def seen(self, node):
        done = self.cluster.run(node, [self.recto, "top", "--once", "--json",
                                       "--interval", "0.2"])
        return json.loads(done.stdout)["ranks"] if done.returncode == 0 else []

    def busy(self, node, count):
        """The ranks on a node, once so many of them do something."""
        rows = self.seen(node)
        return rows if sum(k["answered"] and k["faults_per_s"] > 0
                           for k in rows) >= count else []

    def live(self):
        over = self.work / "over"
        job = self.start(["slow", str(over)])
        try:
            for node, ranks in ON.items():
                rows = wait_for("ranks of " + node,
                                lambda n=node, m=len(ranks): self.busy(n, m))
                check([(k["rank"], k["size"], k["host"]) for k in rows] ==
                      [(i, RANKS, node) for i in ranks], node, rows)
                text = self.command(node, ["top", "--once", "--interval", "0.1",
                                           str(rows[0]["pid"])])
                check("on %s: 2 of 4 ranks here" % node in text, text)
                check(len(text.splitlines()) == 4, text)
            check(not any(k["run"] == rows[0]["run"] for k in self.seen("n0")),
                  "who is not on a node sees none of its ranks")
        finally:
            over.touch()
            out = job.communicate(timeout=LIMIT)[0]
        check(job.returncode == 0, out)
        self.command("n1", ["top", "--once"], code=3)


def main():
    with Cluster(2) as cluster:
        test = Test(cluster, pathlib.Path(sys.argv[1]))
        for part in (test.shared, test.clocks, test.local, test.refused, test.live):
            part()
            print("ok:", part.__name__, flush=True)
        cluster.wait_clean()


main()
