#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the nodes of a cluster are nodes: each its own name, /tmp, /dev/shm
and processes, joined by a network that can be cut; that a crashed node loses what
was on it; and that nothing is left when the cluster ends."""
import os
import sys
import time

from nodes import Cluster


def check(condition, what):
    print("ok  " if condition else "FAIL", what, flush=True)
    if not condition:
        sys.exit(1)


def answers(cluster, node):
    """Does the node's network answer the head? A closed port does so by refusing."""
    done = cluster.run("n0", ["timeout", "2", "bash", "-c",
                              "exec 3<>/dev/tcp/%s/9" % node])
    return "refused" in done.stderr


def main():
    with Cluster(2) as cluster:
        names = [cluster.run(n, ["hostname"]).stdout.strip()
                 for n in ("n0", "n1", "n2")]
        check(names == ["n0", "n1", "n2"], "host names %s" % names)
        for folder in ("/tmp", "/dev/shm", str(cluster.root / "local")):
            cluster.run("n1", ["touch", folder + "/mark"])
            seen = [cluster.run(n, ["test", "-e", folder + "/mark"]).returncode
                    for n in ("n0", "n1", "n2")]
            check(seen == [1, 0, 1], "n1's own %s" % folder)
        cluster.run("n1", ["touch", cluster.work / "mark"])
        check((cluster.work / "mark").exists(), "other files are shared")
        check(answers(cluster, "n1"), "the network answers")
        cluster.cut("n1")
        check(not answers(cluster, "n1"), "it does not when cut")
        cluster.heal("n1")
        check(answers(cluster, "n1"), "it does when healed")
        check(cluster.leftovers() == ["n1: /dev/shm/mark"],
              "leftovers are found: %s" % cluster.leftovers())
        cluster.crash("n1")
        check(cluster.alive() == ["n2"], "a crashed node is down")
        check(not answers(cluster, "n1") and answers(cluster, "n2"),
              "a crashed node does not answer, others do")
        cluster.start("n1")
        check(cluster.run("n1", ["ls", "/tmp"]).stdout == "", "it returns empty")
        check(cluster.leftovers() == [], "and idle")
        first = int((cluster.root / "run" / "n2.init").read_text())
    end = time.time() + 10
    while os.path.exists("/proc/%d" % first) and time.time() < end:
        time.sleep(0.05)
    check(not os.path.exists("/proc/%d" % first), "it ends with the test")


main()
