#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that a job over several nodes ends, whatever its ranks wait for, when one of
them is lost, and that nothing is left of it: no process, no file in /dev/shm or /tmp.

    kill    the rank dies by SIGKILL
    crash   its node dies, with all that runs there
    cut     nobody reaches its node any more, which runs on: there the job ends as well
    daemon  the process that MPI's launcher started on its node dies by SIGKILL
    stop    the rank is stopped (SIGSTOP): where others wait for its answer, the job
            ends after RECTO_TIMEOUT, with a message that names rank, host and object

mpi-tests/cluster/peers.c has the places where ranks wait. The quick choice takes each
place once, ways and shapes (nodes x ranks) taking turns; --long takes all of each."""
import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
LOSSES = ["kill", "crash", "cut", "daemon"]
SHAPES = ["2x2", "3x1", "4x2"]
PLACES = ["read", "write", "read.sequential", "write.sequential", "owned",
          "atomic", "lock.held", "lock.home", "rwlock", "event", "semaphore",
          "condition", "malloc", "mfree", "barrier", "barriers", "migrate",
          "alloc", "checkpoint", "restart", "finalize", "init"]
# What a message must name where the victim is stopped and owes an answer. (Where a
# page's home waits for the victim, the message names the home.)
OBJECTS = {"read": '"pages"', "write": '"pages"', "atomic": '"word"',
           "read.sequential": '"pages"', "write.sequential": '"pages"',
           "lock.home": "lock", "malloc": "heap"}
START = 60  # seconds for a job to start, on a machine that does other things
END = 30    # seconds for it to end; 5 of them until a cut is noticed
TIMEOUT = 3 # RECTO_TIMEOUT


class Lost(Exception):
    """A case that failed."""


class Cluster:
    def __init__(self, root, nodes):
        self.root = root
        self.nodes = nodes
        self.jobs = root / "jobs"
        env = {**os.environ, "CLUSTER_OWNER": str(os.getpid())}
        up = subprocess.run([HERE / "cluster", "up", root, str(nodes)],
                            env=env, stderr=subprocess.PIPE, text=True,
                            check=False)
        if up.returncode != 0:
            print(up.stderr.strip())
            sys.exit(up.returncode)

    def do(self, command, *words):
        return subprocess.run(
            [HERE / "cluster", command, self.root, *words], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            cwd=self.root).stdout

    def left(self, node, job):
        """What is there of a job: processes, memory and files. The head sees the
        machine's processes: the job's name what it runs, or the cluster's folder."""
        found = self.do("exec", node, "sh", "-c",
                        "ps -ww -e -o pid=,stat=,args=; ls -A /dev/shm /tmp")
        words = "|".join(map(re.escape, job))
        if node == "n0":
            words += "|--wd=" + re.escape(str(self.root)) + "(/| ).*orted"
        else:
            words += "|orted"
        return [line for line in found.splitlines()
                if re.search(words, line)
                or re.match(r"ompi\.|vader|psm|ucx|recto|sem\.", line)]


class Case:
    def __init__(self, cluster, program, place, way, shape, rng):
        self.cluster = cluster
        self.program = program
        self.place = place
        self.way = way
        self.shape = shape
        self.rng = rng
        nodes, width = map(int, shape.split("x"))
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.width = width
        self.ranks = nodes * width
        self.title = f"{place} {way} {shape}"
        self.work = cluster.jobs / self.title.replace(" ", ".")

    def start(self):
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "ready").mkdir(parents=True)
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("RECTO_")}
        env.update(TEST_READY=str(self.work / "ready"), RECTO_HEAP="1M",
                   RECTO_TIMEOUT=str(TIMEOUT if self.way == "stop" else 600))
        hosts = ",".join(f"{n}:{self.width}" for n in self.nodes)
        self.log = open(self.work / "log", "w", encoding="utf-8")
        return subprocess.Popen(
            [HERE / "cluster", "mpirun", self.cluster.root, "--host", hosts,
             "-n", str(self.ranks), self.program, self.place], env=env,
            cwd=self.work, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log)

    def output(self):
        return (self.work / "log").read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, job):
        """(host, pid) of the victim, when all ranks are about to wait."""
        end = time.time() + START
        while time.time() < end and job.poll() is None:
            there = [self.work / "ready" / str(r) for r in range(self.ranks)]
            if all(f.exists() for f in there):
                host, pid = there[-1].read_text().split()
                return host, pid
            time.sleep(0.01)
        raise Lost("the job did not start")

    def lose(self, host, pid):
        if self.way in ("kill", "stop"):
            signal = "-KILL" if self.way == "kill" else "-STOP"
            self.cluster.do("exec", host, "kill", signal, pid)
        elif self.way == "daemon":
            self.cluster.do("exec", host, "pkill", "-KILL", "-x", "orted")
        else:
            self.cluster.do(self.way, host)

    def end(self, job):
        """Seconds until the job ended."""
        start = time.time()
        try:
            code = job.wait(END)
        except subprocess.TimeoutExpired as hang:
            raise Lost(f"a hang: not ended after {END} s") from hang
        if code == 0:
            raise Lost("it ended as if nothing had happened")
        return time.time() - start

    def clean(self, host):
        """Waits until nothing is left on the nodes that live."""
        living = ["n0"] + [n for n in self.nodes
                           if n != host or self.way != "crash"]
        end = time.time() + END
        while True:
            left = {n: self.cluster.left(n, [f"{self.program} {self.place}"])
                    for n in living}
            if self.way == "daemon": # nobody is there to remove its folder
                left[host] = [l for l in left[host] if not l.startswith("ompi.")]
            left = {n: found for n, found in left.items() if found}
            if not left:
                return
            if time.time() > end:
                raise Lost(f"left behind: {left}")
            time.sleep(0.1)

    def told(self, host):
        """The message after RECTO_TIMEOUT."""
        rank = self.ranks - 1
        for line in self.output().splitlines():
            if re.search(rf"^recto: rank \d+ on n\d+: fatal: .*rank {rank} on "
                         rf"{host}\b.*RECTO_TIMEOUT", line):
                if OBJECTS[self.place] in line:
                    return
        raise Lost("no message that names rank, host and object")

    def mend(self, host):
        if self.way == "crash":
            self.cluster.do("start", host)
        elif self.way == "cut":
            self.cluster.do("heal", host)
        for node in self.nodes:
            self.cluster.do("exec", node, "pkill", "-KILL", "-x",
                            pathlib.Path(self.program).name[:15])
        for node in ["n0"] + self.nodes:
            self.cluster.do("exec", node, "sh", "-c",
                            "rm -rf /tmp/ompi.* /dev/shm/*")

    def run(self):
        host = self.nodes[-1]
        job = self.start()
        try:
            host, pid = self.wait_ready(job)
            time.sleep(self.rng.uniform(0, 0.3))
            self.lose(host, pid)
            seconds = self.end(job)
            if self.way == "stop":
                self.told(host)
            self.clean(host)
        finally:
            job.terminate() # mpirun, if it still runs: it ends the job and tidies up
            try:
                job.wait(10)
            except subprocess.TimeoutExpired:
                job.kill()
                job.wait()
            self.log.close()
            self.mend(host)
        return seconds


def choice(everything):
    """The cases: (place, way, shape)."""
    stops = [(p, "stop") for p in OBJECTS]
    if everything:
        return [(p, w, s) for s in SHAPES
                for p, w in [(p, w) for p in PLACES for w in LOSSES] + stops]
    pairs = [(p, LOSSES[(i + i // len(LOSSES)) % len(LOSSES)])
             for i, p in enumerate(PLACES)] + stops
    return [(p, w, SHAPES[i % len(SHAPES)]) for i, (p, w) in enumerate(pairs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="peers, built")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", default="", help="cases that match this")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    root = pathlib.Path(os.environ["TEST_WORK"]).resolve()
    cluster = Cluster(root, 4)
    shutil.rmtree(cluster.jobs, ignore_errors=True)
    print(f"seed {args.seed}", flush=True)
    rng = random.Random(args.seed)
    failed = 0
    cases = 0
    for place, way, shape in choice(args.long) * args.times:
        case = Case(cluster, os.path.abspath(args.program), place, way, shape,
                    rng)
        if not re.search(args.only, case.title):
            continue
        cases += 1
        try:
            print(f"{case.title}: ended after {case.run():.1f} s", flush=True)
        except Lost as problem:
            failed += 1
            print(f"FAIL: {case.title}: {problem}\n{case.output()[-3000:]}",
                  flush=True)
    cluster.do("down")
    print(f"{cases} cases, {failed} failed")
    sys.exit(1 if failed or not cases else 0)


if __name__ == "__main__":
    main()
