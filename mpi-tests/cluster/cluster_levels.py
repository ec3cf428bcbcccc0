#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""cluster_levels.py BIN [--long]

Shows that a job whose nodes die with their disks, at random moments, restarts on
replacement nodes from the newest epoch, when its level promises that, and else from the
shared folder, saying what is lost: local shares alone, copies on a partner, parity for
two lost nodes of four. Two ranks on each of four nodes, that reach each other by TCP."""
import json
import os
import random
import re
import subprocess
import sys
import time

from nodes import AS_ROOT, LIMIT, Cluster, Failure, wait_for

NODES = 6
USED = 4
LOCAL = "/tmp/recto-local"
# levels, set, nodes that die (places in the job), is the newest epoch kept?
CASES = (
    ("partner:1", "4+1", (), True),
    ("partner:1", "4+1", (1,), True),
    ("partner:1", "4+1", (2, 3), True),
    ("partner:1", "4+1", (0, 2), False),
    ("set:1", "2+2", (0, 3), True),
    ("set:1", "3+1", (2,), True),
    ("set:1", "3+1", (1, 2), False),
    ("local:1,shared:4", "4+1", (1,), False),
)


class Job:
    """victim on some nodes."""

    def __init__(self, cluster, victim, nodes, folder, levels, code, steps):
        env = {**os.environ, **AS_ROOT, "RECTO_CKPT_DIR": folder,
               "RECTO_CKPT_LOCAL": LOCAL, "RECTO_CKPT_LEVELS": levels,
               "RECTO_CKPT_SET": code, "RECTO_CKPT_MODE": "sync",
               "RECTO_CKPT_FULL": "100"}
        hosts = ",".join("%s:2" % n for n in nodes)
        self.out = cluster.work / (folder + ".out")
        self.err = cluster.work / (folder + ".err")
        with open(self.out, "w", encoding="utf-8") as out, \
                open(self.err, "w", encoding="utf-8") as err:
            self.process = subprocess.Popen(
                cluster.mpirun(["--host", hosts, "-n", str(2 * len(nodes)),
                                victim, "run", str(steps), "30"]),
                cwd=cluster.work, env=env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err)

    def text(self):
        return self.out.read_text() + self.err.read_text()

    def written(self):
        found = re.findall(r"^written (\d+) \d+$", self.out.read_text(), re.M)
        return int(found[-1]) if found else -1

    def end(self):
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("the job hangs\n" + self.text()) from None


def one(cluster, victim, recto, rng, number):
    levels, code, dying, kept = CASES[number % len(CASES)]
    folder = "ck%d" % number
    used = rng.sample(cluster.names, USED)
    spare = [n for n in cluster.names if n not in used]
    job = Job(cluster, victim, used, folder, levels, code, 10000)
    wait_for("epochs", lambda: job.written() >= 4 or job.process.poll() is not None)
    time.sleep(rng.uniform(0, 1))
    if not dying:
        job.process.terminate()
    for place in dying:
        cluster.crash(used[place])
    job.end()
    for pid in [p for n in cluster.alive() for p in cluster.processes(n)]:
        os.kill(pid, 9)
    last = job.written()
    done = subprocess.run([recto, "--json", "ls", cluster.work / folder], text=True,
                          capture_output=True, timeout=LIMIT, check=False)
    shared = max(e["epoch"] for e in json.loads(done.stdout)["epochs"])
    then = [spare.pop() if place in dying else node for place, node in enumerate(used)]
    again = Job(cluster, victim, then, folder, levels, code, 3)
    ended = again.end()
    for place in dying:
        cluster.start(used[place])
    text = again.text()
    found = re.search(r"^restored (\d+) \d+$", text, re.M)
    got = int(found.group(1)) if found else -1
    what = "%s %s, %s of %s lost: last epoch %d, in the shared folder %d, restored %d" % (
        levels, code, dying or "none", USED, last, shared, got)
    print(what, flush=True)
    # one more may have been committed when the job died
    good = last <= got <= last + 1 if kept else got == shared
    # the moment may be that after an epoch reached the shared folder
    said = last == shared or "is lost: the share of node" in text
    if ended != 0 or "FAIL" in text or not good or (not kept and not said):
        raise Failure("%s: exit code %d\n%s" % (what, ended, text[-4000:]))


def main():
    programs = os.path.abspath(sys.argv[1])
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print("TEST_SEED=%d" % seed, flush=True)
    rng = random.Random(seed)
    times = 5 if "--long" in sys.argv else 1
    with Cluster(NODES) as cluster:
        for number in range(times * len(CASES)):
            one(cluster, os.path.join(programs, "mpi-tests", "victim"),
                os.path.join(programs, "bin", "recto"), rng, number)
    print("%d cases" % (times * len(CASES)))


main()
