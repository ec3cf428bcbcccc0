#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that the nodes of a cluster are nodes: each its own name, /tmp, /dev/shm
and processes, joined by a network that can be cut; that a crashed node loses what
was on it; when a cluster ends, and that nothing is left of it then."""
import os
import shutil
import subprocess
import sys
import time

from nodes import Cluster, wait_for


def check(condition, what):
    print("ok  " if condition else "FAIL", what, flush=True)
    if not condition:
        sys.exit(1)


def answers(cluster, node, seconds=30):
    """Does the node's network answer the head, in that time? A closed port does so by
    refusing."""
    done = cluster.run("n0", ["timeout", str(seconds), "bash", "-c",
                              "exec 3<>/dev/tcp/%s/9" % node])
    return "refused" in done.stderr


def ended(pids, seconds=30):
    """Do all of these processes end?"""
    end = time.time() + seconds
    while True:
        gone = not any(os.path.exists("/proc/%d" % p) for p in pids)
        if gone or time.time() > end:
            return gone
        time.sleep(0.05)


def firsts(cluster):
    return [cluster.number(n) for n in ["n0"] + cluster.names]


def nodes(cluster):
    names = [cluster.run(n, ["hostname"]).stdout.strip() for n in ("n0", "n1", "n2")]
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
    check(not answers(cluster, "n1", 1), "it does not when cut")
    cluster.heal("n1")
    check(answers(cluster, "n1"), "it does when healed")
    check(cluster.leftovers() == ["n1: /dev/shm/mark"],
          "leftovers are found: %s" % cluster.leftovers())
    cluster.crash("n1")
    check(cluster.alive() == ["n2"], "a crashed node is down")
    check(not answers(cluster, "n1", 1) and answers(cluster, "n2"),
          "a crashed node does not answer, others do")
    cluster.start("n1")
    check(cluster.run("n1", ["ls", "/tmp"]).stdout == "", "it returns empty")
    check(cluster.leftovers() == [], "and idle")


def lost():
    """A cluster whose owner has just ended: its nodes' first processes."""
    with subprocess.Popen(["sleep", "1000"]) as owner:
        try:
            cluster = Cluster(2, owner=owner.pid)
            cluster.__enter__()
            return firsts(cluster)
        finally:
            owner.kill()


def ends():
    """A cluster ends with the test, with its owner, and with its folder, and takes what
    runs on it along; not the one that follows it in the same folder."""
    with Cluster(2) as cluster:
        nodes(cluster)
        first = firsts(cluster)
    check(ended(first), "it ends with the test")
    with Cluster(2) as cluster, subprocess.Popen(
            cluster.command("n0", ["sleep", "1000"]), cwd=cluster.work) as job:
        pids = firsts(cluster)
        wait_for("a job on the head", lambda: job.pid in cluster.processes("n0"))
        shutil.rmtree(cluster.root, ignore_errors=True) # but for what is mounted
        check(ended(pids), "it ends with its folder")
        check(job.wait(30) != 0, "and what ran on the head does")
    check(ended(lost()), "it ends with its owner")
    before = lost()
    with Cluster(2) as cluster:
        check(ended(before), "or when another is to take its place")
        time.sleep(2) # in which its keeper would look, had it survived
        check(not ended(firsts(cluster), 0), "which stays")


ends()
